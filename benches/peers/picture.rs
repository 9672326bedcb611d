//! Pictures on demand: a frame as a PNG that nobody asked for before, the same again, a frame far into a cine, and
//! thumbnails. The peers' are DICOMweb's `rendered`.

use std::io;
use std::time::Instant;

use super::Bench;
use super::data::{Instance, Kind, Place};
use super::http::Http;
use super::report::{Better, Of, median};
use super::sender;
use super::server::{Product, Server};

const SECTION: &str = "Pictures";
const PNG: &str = "image/png";
const JPEG: &str = "image/jpeg";
/// Connections that ask for thumbnails at once.
const VIEWERS: usize = 4;

/// What filmroom or a peer reaches.
pub fn all(bench: &mut Bench, product: Product) -> io::Result<()> {
    let server = Server::start(product, &bench.place, &bench.database)?;
    for (number, (title, kind, count)) in [
        ("CT 512x512", Kind::ct(), 30),
        ("CR 2048x2500", Kind::cr(), 10),
        ("MG 2560x3328", Kind::mg(), 8),
        ("US RGB 640x480, frame 1", Kind::us(), 6),
    ]
    .into_iter()
    .enumerate()
    {
        bench.say(&format!("{}: {title}", product.name()));
        // Half of them for the program's own pages, half for DICOMweb.
        let mut stored = store(&server, &kind, number as u32, 2 * count)?;
        let rendered = stored.split_off(count as usize);
        let mut http = Http::to(&server)?;
        // The first of all is not measured: threads and caches of the program come to life with it.
        let (_, measured) = stored.split_at(1);
        let (new, again) = times(&mut http, product, measured, 1, PNG)?;
        bench.add_picture(product, format!("{title}, PNG, new"), new);
        bench.add_picture(product, format!("{title}, PNG, again, until it begins"), again.began);
        bench.add_picture(product, format!("{title}, PNG, again, whole"), again.whole);
        let (by_dicomweb, as_jpeg) = rendered.split_at(rendered.len() / 2);
        for (accept, instances) in [(PNG, by_dicomweb), (JPEG, as_jpeg)] {
            let mut new = Vec::new();
            for instance in instances {
                new.push(http.get_ok(&rendered_address(instance, 1), accept)?.elapsed.as_secs_f64() * 1e3);
            }
            bench.add_picture(product, format!("{title}, {accept} by DICOMweb, new"), median(&new));
        }
    }
    bench.say(&format!("{}: a cine of 200 frames", product.name()));
    // An instance of its own for each frame, so that none is known when it is asked for.
    let runs = store(&server, &Kind::cine(), 7, 4)?;
    let mut http = Http::to(&server)?;
    for frame in [1, 150] {
        let (mut new, mut again) = (Vec::new(), Vec::new());
        for run in &runs {
            // A neighbour first: a viewer comes to a frame of a run it has opened.
            picture(&mut http, product, run, frame + 20, PNG)?;
            new.push(picture(&mut http, product, run, frame, PNG)?.whole);
            again.push(picture(&mut http, product, run, frame, PNG)?.whole);
        }
        bench.add_picture(product, format!("XA frame {frame} of 200, PNG, new"), median(&new));
        bench.add_picture(product, format!("XA frame {frame} of 200, PNG, again"), median(&again));
    }
    let slices = store(&server, &Kind::ct(), 8, 120)?;
    bench.say(&format!("{}: thumbnails", product.name()));
    let rate = thumbnails(&server, &slices)?;
    let of = Of::Product(product);
    bench.report.add(SECTION, "thumbnails of CT, new, 4 connections", "1/s", Better::Higher, of, rate);
    Ok(())
}

impl Bench {
    fn add_picture(&mut self, product: Product, title: String, milliseconds: f64) {
        self.report.add(SECTION, title, "ms", Better::Lower, Of::Product(product), milliseconds);
    }
}

/// Instances of this kind, each in a study of its own.
fn store(server: &Server, kind: &Kind, kind_number: u32, count: u32) -> io::Result<Vec<Instance>> {
    let instances = move |kind: &Kind| {
        let kind = kind.clone();
        (0..count).map(move |number| {
            let study = kind_number * 1000 + number;
            kind.at(Place { run: 3, patient: study, study, series: 1, instance: 1 })
        })
    };
    let sent = sender::send(server.dicom, server.ae_title(), vec![instances(kind)])?;
    match sent.failed {
        0 => Ok(instances(kind).collect()),
        failed => Err(io::Error::other(format!("{failed} instances were not stored"))),
    }
}

/// Milliseconds until an answer began, and until all of it was there.
struct Times {
    began: f64,
    whole: f64,
}

/// How long the first look takes, and the second, medians.
fn times(
    http: &mut Http,
    product: Product,
    instances: &[Instance],
    frame: u32,
    accept: &str,
) -> io::Result<(f64, Times)> {
    let (mut new, mut began, mut whole) = (Vec::new(), Vec::new(), Vec::new());
    for instance in instances {
        new.push(picture(http, product, instance, frame, accept)?.whole);
    }
    for instance in instances {
        let again = picture(http, product, instance, frame, accept)?;
        began.push(again.began);
        whole.push(again.whole);
    }
    Ok((median(&new), Times { began: median(&began), whole: median(&whole) }))
}

fn picture(http: &mut Http, product: Product, of: &Instance, frame: u32, accept: &str) -> io::Result<Times> {
    let address = match product {
        Product::Filmroom => format!("/instances/{}/frames/{frame}.png", of.sop_instance_uid),
        _ => rendered_address(of, frame),
    };
    let answer = http.get_ok(&address, accept)?;
    Ok(Times { began: answer.began.as_secs_f64() * 1e3, whole: answer.elapsed.as_secs_f64() * 1e3 })
}

fn rendered_address(of: &Instance, frame: u32) -> String {
    let Instance { study, series, sop_instance_uid, .. } = of;
    format!("/dicom-web/studies/{study}/series/{series}/instances/{sop_instance_uid}/frames/{frame}/rendered")
}

fn thumbnails(server: &Server, instances: &[Instance]) -> io::Result<f64> {
    let start = Instant::now();
    let results: Vec<io::Result<()>> = std::thread::scope(|scope| {
        let viewers: Vec<_> = instances
            .chunks(instances.len().div_ceil(VIEWERS))
            .map(|part| {
                scope.spawn(move || {
                    let mut http = Http::to(server)?;
                    for Instance { study, series, sop_instance_uid, .. } in part {
                        let address = match server.product {
                            Product::Filmroom => format!("/series/{series}/thumbnail.png?study={study}"),
                            _ => format!(
                                "/dicom-web/studies/{study}/series/{series}/instances/{sop_instance_uid}/rendered\
                                 ?viewport=160,160"
                            ),
                        };
                        http.get_ok(&address, PNG)?;
                    }
                    Ok(())
                })
            })
            .collect();
        viewers.into_iter().filter_map(|viewer| viewer.join().ok()).collect()
    });
    results.into_iter().collect::<io::Result<()>>()?;
    Ok(instances.len() as f64 / start.elapsed().as_secs_f64())
}
