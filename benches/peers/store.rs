//! C-STORE: slices over one, four and eight associations, large instances, and twenty thousand tiny ones.

use std::io;

use super::data::{self, Instance, Kind, Place};
use super::database::Database;
use super::floor::{self, loads};
use super::process;
use super::report::{Better, Of, Report};
use super::sender::{self, Sent};
use super::server::{Product, Server};
use super::sink::ThrowAway;
use super::{Bench, TINY};

const SECTION: &str = "C-STORE";
/// Associations and instances of the rows with CT slices; 2,000 together.
const CT: [(usize, usize); 3] = [(1, 400), (4, 800), (8, 800)];
const LARGE: usize = 24;

/// What filmroom or a peer reaches with images.
pub fn images(bench: &mut Bench, product: Product) -> io::Result<()> {
    let server = Server::start(product, &bench.place, &bench.database)?;
    for (associations, instances) in CT {
        bench.say(&format!("{}: CT over {associations}", product.name()));
        measure(
            &mut bench.report,
            &server,
            &bench.database,
            &ct(associations),
            loads(&Kind::ct(), associations, instances),
        )?;
    }
    let resident = server.resident_bytes()? as f64 / 1e6;
    let of = Of::Product(product);
    bench.report.add(SECTION, "memory after 2,000 CT", "MB", Better::Lower, of, resident);
    for (title, kind) in [("CR 10 MB, 1 association", Kind::cr()), ("US 27 MB, 1 association", Kind::us())] {
        bench.say(&format!("{}: {title}", product.name()));
        floor::settle();
        let sent = send(&server, loads(&kind, 1, LARGE))?;
        note_failures(&server, title, &sent);
        bench.report.add(SECTION, title, "MB/s", Better::Higher, of, sent.megabytes_per_second());
    }
    Ok(())
}

fn ct(associations: usize) -> String {
    format!("CT 512x512, {associations} association{}", if associations == 1 { "" } else { "s" })
}

/// Twenty thousand tiny instances in 4,000 studies; then the study list on them.
pub fn tiny(bench: &mut Bench, product: Product) -> io::Result<Server> {
    let server = Server::start(product, &bench.place, &bench.database)?;
    bench.say(&format!("{}: tiny instances", product.name()));
    measure(
        &mut bench.report,
        &server,
        &bench.database,
        TINY_TITLE,
        tiny_loads(TINY.studies * TINY.instances, 2),
    )?;
    let size = server.index_size(&bench.database)? as f64 / 1e6;
    bench.report.add(SECTION, "index of these", "MB", Better::Lower, Of::Product(product), size);
    Ok(server)
}

const TINY_TITLE: &str = "20,000 tiny in 4,000 studies, 4 associations";

/// Tiny instances, five a study, for four associations. `run` tells their UIDs from those of other runs.
pub fn tiny_loads(instances: u32, run: usize) -> Vec<impl Iterator<Item = Instance> + Send> {
    let kind = Kind::tiny();
    let each = instances / 4;
    let list = |association: u32| {
        let kind = kind.clone();
        (association * each..(association + 1) * each).map(move |number| {
            let (study, instance) = (number / TINY.instances, number % TINY.instances + 1);
            kind.at(Place {
                run: TINY_RUN + run as u32,
                patient: patient_of(study),
                study,
                series: 1,
                instance,
            })
        })
    };
    (0..4).map(list).collect()
}

const TINY_RUN: u32 = 100;

/// The patient of a tiny study. There are two thirds as many as studies; 32 are called Smith and have two studies each.
fn patient_of(study: u32) -> u32 {
    match study * 2 / 3 {
        patient if data::is_called_smith(patient) && patient >= 1280 => patient + 1,
        patient => patient,
    }
}

/// Patient ID of the patient of this tiny study, as [`tiny`] stores it.
pub fn tiny_patient_id(study: u32) -> String {
    data::patient_id(TINY_RUN + 2, patient_of(study % TINY.studies))
}

/// What the sender and the machine reach.
pub fn limits(bench: &mut Bench) -> io::Result<()> {
    for (associations, instances) in CT {
        bench.say(&format!("the sender and the disk with {associations}"));
        let title = ct(associations);
        let ceiling = floor::ceiling(&Kind::ct(), associations, instances)?.per_second();
        bench.report.add(SECTION, &title, "instances/s", Better::Higher, Of::Ceiling, ceiling);
        floor::settle();
        let files = floor::files(&bench.place, associations)?;
        let commits = floor::commits(&bench.database, associations)?;
        let of = Of::Floor;
        bench.report.add(
            MACHINE,
            format!("write and fsync 525 KB, {associations}×"),
            "files/s",
            Better::Higher,
            of,
            files,
        );
        bench.report.add(
            MACHINE,
            format!("commit a row, {associations}×"),
            "commits/s",
            Better::Higher,
            of,
            commits,
        );
        floor::settle();
        let reached = match associations {
            1 => floor::serial(&Kind::ct(), &bench.place, &bench.database, 400)?.per_second(),
            _ => files,
        };
        bench.report.add(SECTION, &title, "instances/s", Better::Higher, of, reached);
    }
    for (title, kind) in [("CR 10 MB, 1 association", Kind::cr()), ("US 27 MB, 1 association", Kind::us())] {
        let ceiling = floor::ceiling(&kind, 1, LARGE)?.megabytes_per_second();
        bench.report.add(SECTION, title, "MB/s", Better::Higher, Of::Ceiling, ceiling);
        floor::settle();
        let serial = floor::serial(&kind, &bench.place, &bench.database, LARGE)?.megabytes_per_second();
        bench.report.add(SECTION, title, "MB/s", Better::Higher, Of::Floor, serial);
    }
    let ceiling =
        sender::send_to_sink(tiny_loads(TINY.studies * TINY.instances, 2), |_| Ok(ThrowAway))?.per_second();
    bench.report.add(SECTION, TINY_TITLE, "instances/s", Better::Higher, Of::Ceiling, ceiling);
    let loopback = floor::loopback()?;
    bench.report.add(MACHINE, "loopback, 1 connection", "MB/s", Better::Higher, Of::Floor, loopback);
    Ok(())
}

const MACHINE: &str = "The machine";

fn measure<I: Iterator<Item = Instance> + Send>(
    report: &mut Report,
    server: &Server,
    database: &Database,
    title: &str,
    loads: Vec<I>,
) -> io::Result<()> {
    floor::settle();
    let of = Of::Product(server.product);
    let before = (server.cpu_seconds()?, process::cpu_seconds(database.pid())?);
    let sent = send(server, loads)?;
    let after = (server.cpu_seconds()?, process::cpu_seconds(database.pid())?);
    note_failures(server, title, &sent);
    report.add(SECTION, title, "instances/s", Better::Higher, of, sent.per_second());
    let thousands = sent.stored as f64 / 1000.0;
    let of_database = if server.uses_database() { after.1 - before.1 } else { 0.0 };
    for (what, seconds) in [
        ("CPU, server", after.0 - before.0),
        ("CPU, database", of_database),
        ("CPU, both", after.0 - before.0 + of_database),
    ] {
        report.add(SECTION, format!("{title}: {what}"), "s/1000", Better::Lower, of, seconds / thousands);
    }
    for (what, share) in [("median", 0.5), ("95th percentile", 0.95)] {
        let index = (sent.latencies.len() as f64 * share) as usize;
        let latency = sent.latencies.get(index).copied().unwrap_or_default();
        let title = format!("{title}: latency, {what}");
        report.add(SECTION, title, "ms", Better::Lower, of, latency.as_secs_f64() * 1e3);
    }
    Ok(())
}

fn send<I: Iterator<Item = Instance> + Send>(server: &Server, loads: Vec<I>) -> io::Result<Sent> {
    sender::send(server.dicom, server.ae_title(), loads)
}

/// A store that was refused is not in the figure; that it was is said.
fn note_failures(server: &Server, title: &str, sent: &Sent) {
    if sent.failed > 0 {
        eprintln!("{}: {title}: {} instances were not stored", server.product.name(), sent.failed);
    }
}
