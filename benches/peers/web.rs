//! DICOMweb: searches of the 4,000 studies and of a series, metadata of 200 slices, the series itself and one frame.

use std::io;

use super::Bench;
use super::data::Instance;
use super::http::Http;
use super::list::ask;
use super::report::{Better, Of, median};
use super::server::Server;

const SECTION: &str = "DICOMweb";
const JSON: &str = "application/dicom+json";
const FILES: &str = "multipart/related; type=\"application/dicom\"; transfer-syntax=*";
const FRAMES: &str = "multipart/related; type=\"application/octet-stream\"; transfer-syntax=*";
/// How often the series is retrieved.
const RETRIEVED: usize = 5;

/// Searches for studies, with what a viewer lists of them.
pub fn of_tiny(bench: &mut Bench, server: &Server) -> io::Result<()> {
    bench.say(&format!("{}: QIDO-RS", server.product.name()));
    let mut http = Http::to(server)?;
    for (limit, offset) in [(25, 0), (100, 0), (25, 2000)] {
        let fields = "includefield=00081030,00080061,00201206,00201208";
        let address = format!("/dicom-web/studies?limit={limit}&offset={offset}&{fields}");
        let title = format!("search, {limit} of 4,000 studies behind {offset}");
        ask(bench, Of::Product(server.product), &mut http, SECTION, title, &address, JSON)?;
    }
    Ok(())
}

/// The series of these slices.
pub fn of_series(bench: &mut Bench, server: &Server, slices: &[Instance]) -> io::Result<()> {
    bench.say(&format!("{}: WADO-RS", server.product.name()));
    let [first, ..] = slices else { return Err(io::Error::other("there are no slices")) };
    let of = Of::Product(server.product);
    let count = slices.len();
    let series = format!("/dicom-web/studies/{}/series/{}", first.study, first.series);
    let mut http = Http::to(server)?;
    let metadata = format!("{series}/metadata");
    let made = http.get_ok(&metadata, JSON)?;
    let title = format!("metadata of {count} slices, first");
    bench.report.add(SECTION, title, "ms", Better::Lower, of, made.elapsed.as_secs_f64() * 1e3);
    let title = format!("metadata of {count} slices, again");
    ask(bench, of, &mut http, SECTION, title, &metadata, JSON)?;
    let title = format!("search, the {count} instances of a series");
    ask(bench, of, &mut http, SECTION, title, &format!("{series}/instances"), JSON)?;
    let frame = format!("{series}/instances/{}/frames/1", first.sop_instance_uid);
    ask(bench, of, &mut http, SECTION, "one frame of 512x512".to_owned(), &frame, FRAMES)?;
    let expected: usize = slices.iter().map(Instance::len).sum();
    for connections in [1, 2] {
        let mut rates = Vec::new();
        // The first is not measured: what the program makes once is made with it.
        for number in 0..=RETRIEVED {
            let start = std::time::Instant::now();
            let bytes = retrieve(server, &series, connections)?;
            let elapsed = start.elapsed().as_secs_f64();
            if bytes < expected * connections {
                return Err(io::Error::other(format!("a series of {bytes} bytes")));
            }
            if number > 0 {
                rates.push(bytes as f64 / 1e6 / elapsed);
            }
        }
        let title = format!("series of {count} slices, {connections} at once");
        bench.report.add(SECTION, title, "MB/s", Better::Higher, of, median(&rates));
    }
    Ok(())
}

/// Bytes of the series, over so many connections at once.
fn retrieve(server: &Server, series: &str, connections: usize) -> io::Result<usize> {
    let one = || Http::to(server)?.get_length(series, FILES);
    let all: Vec<io::Result<usize>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..connections).map(|_| scope.spawn(one)).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    all.into_iter().sum()
}
