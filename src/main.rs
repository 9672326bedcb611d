fn main() {
    if std::env::args().nth(1).as_deref() == Some("decode-worker") {
        filmroom::codec::worker_main()
    }
}
