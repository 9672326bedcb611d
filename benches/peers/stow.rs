//! STOW-RS: CT slices over one and four connections, one and many in a request.

use std::io;
use std::time::Instant;

use filmroom::dicom::file_meta;

use super::Bench;
use super::data::{Instance, Kind, Place};
use super::floor;
use super::http::Http;
use super::report::{Better, Of};
use super::server::{Product, Server};

const SECTION: &str = "STOW-RS";
const KIND: &str = "multipart/related; type=\"application/dicom\"; boundary=gap";
/// Connections, requests of each, and instances in a request.
const ROWS: [(usize, usize, usize); 4] = [(1, 200, 1), (4, 100, 1), (1, 8, 50), (4, 4, 50)];

/// What filmroom or a peer reaches, on an empty store.
pub fn all(bench: &mut Bench, product: Product) -> io::Result<()> {
    let server = Server::start(product, &bench.place, &bench.database)?;
    for (row, (connections, requests, instances)) in ROWS.into_iter().enumerate() {
        let title = format!("CT 512x512, {instances} in a request, {connections} at once");
        bench.say(&format!("{}: {title}", product.name()));
        floor::settle();
        let start = Instant::now();
        let all: Vec<io::Result<()>> = std::thread::scope(|scope| {
            let senders: Vec<_> = (0..connections)
                .map(|connection| {
                    let server = &server;
                    scope.spawn(move || send(server, row * 10 + connection, requests, instances))
                })
                .collect();
            senders.into_iter().filter_map(|sender| sender.join().ok()).collect()
        });
        all.into_iter().collect::<io::Result<()>>()?;
        let stored = (connections * requests * instances) as f64;
        let rate = stored / start.elapsed().as_secs_f64();
        bench.report.add(SECTION, title, "instances/s", Better::Higher, Of::Product(product), rate);
    }
    Ok(())
}

/// Sends requests of so many slices, in a study of its own.
fn send(server: &Server, study: usize, requests: usize, instances: usize) -> io::Result<()> {
    let mut http = Http::to(server)?;
    let kind = Kind::ct();
    let study = u32::try_from(study).map_err(io::Error::other)?;
    let mut number = 0;
    for _ in 0..requests {
        let mut slices = Vec::with_capacity(instances);
        for _ in 0..instances {
            number += 1;
            let slice = kind.at(Place { run: 9, patient: study, study, series: 1, instance: number });
            slices.push((head(&slice)?, slice));
        }
        let mut body: Vec<&[u8]> = Vec::new();
        for (head, slice) in &slices {
            body.extend([&head[..], &slice.header, &slice.pixels, b"\r\n"]);
        }
        body.push(b"--gap--\r\n");
        let answer = http.post("/dicom-web/studies", KIND, &body)?;
        if answer.status != 200 {
            let text: String = String::from_utf8_lossy(&answer.body).chars().take(300).collect();
            return Err(io::Error::other(format!("{} {text}", answer.status)));
        }
    }
    Ok(())
}

/// What stands before the data set: the boundary, and the head of the file.
fn head(of: &Instance) -> io::Result<Vec<u8>> {
    let class = of.sop_class_uid.parse().map_err(io::Error::other)?;
    let instance = of.sop_instance_uid.parse().map_err(io::Error::other)?;
    let syntax = "1.2.840.10008.1.2.1".parse().map_err(io::Error::other)?;
    let file = file_meta::head(Some(&class), Some(&instance), &syntax, "")?;
    Ok([b"--gap\r\nContent-Type: application/dicom\r\n\r\n", &file[..]].concat())
}
