//! C-GET and C-MOVE of a series of slices, and the memory that eight C-GETs of large instances take.

use std::io;

use super::Bench;
use super::data::{DataSet, Instance, Kind, Place};
use super::floor;
use super::report::{Better, Of, median};
use super::requestor::Requestor;
use super::sender;
use super::server::Server;

const SECTION: &str = "C-GET and C-MOVE";
const SLICES: u32 = 200;
/// How often the series is retrieved.
const ASKED: usize = 10;
const LARGE: u32 = 2;
/// Associations that retrieve large instances at once.
const ASSOCIATIONS: usize = 8;

/// A series of CT slices, in the server from now on.
pub fn store_series(server: &Server) -> io::Result<Vec<Instance>> {
    store(server, &Kind::ct(), 1, SLICES)
}

/// What the receiver could take.
pub fn limits(bench: &mut Bench) -> io::Result<()> {
    let sent = floor::ceiling(&Kind::ct(), 1, SLICES as usize)?;
    for way in ["C-GET", "C-MOVE"] {
        add(bench, Of::Ceiling, way, sent.per_second(), sent.megabytes_per_second());
    }
    Ok(())
}

/// What filmroom or a peer, which knows the bench, reaches with these slices.
pub fn all(bench: &mut Bench, server: &Server, slices: &[Instance]) -> io::Result<()> {
    let of = Of::Product(server.product);
    let [first, ..] = slices else { return Err(io::Error::other("there are no slices")) };
    let series = identifier(first);
    let expected = slices.iter().map(|slice| slice.len() as u64).sum::<u64>();
    let mut requestor = Requestor::to(server)?;
    for way in ["C-GET", "C-MOVE"] {
        bench.say(&format!("{}: {way}", server.product.name()));
        let mut times = Vec::new();
        // The first is not measured: what the program makes once is made with it.
        for number in 0..=ASKED {
            let (instances, bytes, elapsed) = if way == "C-GET" {
                let got = requestor.get(&series)?;
                (got.instances, got.bytes, got.elapsed)
            } else {
                let elapsed = requestor.move_to_destination(&series)?;
                let (instances, bytes) = bench.destination.taken();
                (instances, bytes, elapsed)
            };
            // A server may leave out what it adds, such as group lengths, but no pixels.
            if instances != u64::from(SLICES) || bytes.abs_diff(expected) > expected / 100 {
                return Err(io::Error::other(format!("{way} brought {instances} instances, {bytes} bytes")));
            }
            if number > 0 {
                times.push(elapsed.as_secs_f64());
            }
        }
        let time = median(&times);
        add(bench, of, way, f64::from(SLICES) / time, expected as f64 / 1e6 / time);
    }
    requestor.release()?;
    memory(bench, server)
}

fn add(bench: &mut Bench, of: Of, way: &str, instances: f64, megabytes: f64) {
    for (unit, value) in [("instances/s", instances), ("MB/s", megabytes)] {
        let title = format!("{way}, {SLICES} CT 512x512, {unit}");
        bench.report.add(SECTION, title, unit, Better::Higher, of, value);
    }
}

fn memory(bench: &mut Bench, server: &Server) -> io::Result<()> {
    bench.say(&format!("{}: C-GET of large instances", server.product.name()));
    let large = store(server, &Kind::long_cine(), 2, LARGE)?;
    let [first, ..] = large.as_slice() else { return Err(io::Error::other("there is nothing large")) };
    let identifier = identifier(first);
    let before = server.resident_bytes()?;
    server.forget_peak()?;
    let results: Vec<io::Result<()>> = std::thread::scope(|scope| {
        let requestors: Vec<_> = (0..ASSOCIATIONS)
            .map(|_| {
                scope.spawn(|| {
                    let mut requestor = Requestor::to(server)?;
                    match requestor.get(&identifier)?.instances {
                        instances if instances == u64::from(LARGE) => requestor.release(),
                        instances => Err(io::Error::other(format!("C-GET brought {instances} instances"))),
                    }
                })
            })
            .collect();
        requestors.into_iter().filter_map(|requestor| requestor.join().ok()).collect()
    });
    let peak = server.peak_resident_bytes()?;
    results.into_iter().collect::<io::Result<()>>()?;
    let of = Of::Product(server.product);
    for (what, bytes) in [("before", before), ("at most, while", peak)] {
        let title = format!("memory {what} {ASSOCIATIONS} associations C-GET instances of 105 MB");
        bench.report.add(SECTION, title, "MB", Better::Lower, of, bytes as f64 / 1e6);
    }
    Ok(())
}

/// Instances of this kind in one series.
fn store(server: &Server, kind: &Kind, study: u32, count: u32) -> io::Result<Vec<Instance>> {
    let instances = || {
        let kind = kind.clone();
        (1..=count)
            .map(move |instance| kind.at(Place { run: 5, patient: 41 + study, study, series: 1, instance }))
    };
    let sent = sender::send(server.dicom, server.ae_title(), vec![instances()])?;
    match sent.failed {
        0 => Ok(instances().collect()),
        failed => Err(io::Error::other(format!("{failed} instances were not stored"))),
    }
}

/// The series of this instance, PS3.4 C.4.2.1.4.
fn identifier(instance: &Instance) -> DataSet {
    let mut identifier = DataSet::default();
    identifier.text(0x0008, 0x0052, b"CS", "SERIES");
    identifier.text(0x0020, 0x000D, b"UI", &instance.study);
    identifier.text(0x0020, 0x000E, b"UI", &instance.series);
    identifier
}
