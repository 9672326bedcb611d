//! The executable: hands its arguments to the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Children that decode frames are this executable too, and must not pay for anything else.
    if std::env::args_os().nth(1).is_some_and(|argument| argument == "decode-worker") {
        filmroom::codec::worker_main()
    }
    filmroom::cli::main()
}
