//! filmroom beside its peers: the same data, the same senders, the same disk and database server, in turns.
//!
//! `make bench` runs all of it, `make bench ONLY=store` a part: `store`, `tiny`, `list`, `query`, `retrieve`, `web`, `stow`,
//! `picture`, `size`. Three rounds (`ROUNDS=5` for another number), every product in each, so that what the machine does
//! meanwhile hits all alike; the figures are medians. `PEERS=no` measures filmroom alone. The table goes to standard
//! output, and everything that was measured to `target/bench/results.json`.

mod data;
mod database;
mod floor;
mod http;
mod known;
mod list;
mod people;
mod picture;
mod process;
mod query;
mod report;
mod requestor;
mod retrieve;
mod rows;
mod sender;
mod server;
mod sink;
mod store;
mod stow;
mod web;
mod wire;

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use database::Database;
use report::Report;
use server::{Product, Server};
use sink::Destination;

/// All that a part of the run needs.
struct Bench {
    database: Database,
    /// Where everything is stored, on the disk that is measured.
    place: PathBuf,
    /// Where C-MOVE goes.
    destination: Destination,
    report: Report,
    /// What is said below the table.
    notes: Vec<String>,
    rounds: usize,
    progress: ProgressBar,
    start: Instant,
}

/// The many small studies.
struct Tiny {
    studies: u32,
    instances: u32,
}

const TINY: Tiny = Tiny { studies: 4000, instances: 5 };
const SIZES: [u64; 2] = [100_000, 1_000_000];
const PARTS: [&str; 9] = ["store", "tiny", "list", "query", "retrieve", "web", "stow", "picture", "size"];

impl Bench {
    /// Says what is done now.
    fn say(&self, what: &str) {
        let seconds = self.start.elapsed().as_secs();
        self.progress.set_message(what.to_owned());
        if self.progress.is_hidden() {
            eprintln!("{:2}:{:02}  {what}", seconds / 60, seconds % 60);
        }
    }

    /// What a peer cannot do is said and not counted; what filmroom cannot do ends the run.
    fn allow_for(&mut self, product: Product, result: io::Result<()>) -> io::Result<()> {
        match result {
            Err(err) if product != Product::Filmroom => {
                let note = format!("{}: {err}", product.name());
                if !self.notes.contains(&note) {
                    self.notes.push(note);
                }
                Ok(())
            }
            result => result,
        }
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("the bench cannot go on: {err}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    let only = std::env::var("ONLY").unwrap_or_default();
    let parts: Vec<&str> = only.split([',', ' ']).filter(|part| !part.is_empty()).collect();
    if let Some(unknown) = parts.iter().find(|part| !PARTS.contains(part)) {
        return Err(io::Error::other(format!("ONLY={unknown} is no part; there are {}", PARTS.join(", "))));
    }
    let wants = |part: &str| parts.is_empty() || parts.contains(&part);
    let wants_tiny = ["tiny", "list", "query", "retrieve", "web"].into_iter().any(wants);
    let with_peers = std::env::var("PEERS").map_or(true, |peers| peers != "no");
    let rounds = std::env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(3);

    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench");
    if place.exists() {
        std::fs::remove_dir_all(&place)?;
    }
    std::fs::create_dir_all(&place)?;
    let style =
        ProgressStyle::with_template("{elapsed_precise} {spinner} {msg}").map_err(io::Error::other)?;
    let progress = ProgressBar::new_spinner().with_style(style);
    progress.enable_steady_tick(Duration::from_millis(200));
    let database = Database::start(&place)?;
    let mut bench = Bench {
        database,
        place,
        destination: Destination::start()?,
        report: Report::default(),
        notes: Vec::new(),
        rounds,
        progress,
        start: Instant::now(),
    };
    for round in 1..=rounds {
        bench.say(&format!("round {round} of {rounds}"));
        if wants("store") {
            store::limits(&mut bench)?;
        }
        if wants("retrieve") {
            retrieve::limits(&mut bench)?;
        }
        for product in Product::ALL {
            if product != Product::Filmroom && !with_peers {
                continue;
            }
            if wants("store") {
                let result = store::images(&mut bench, product);
                bench.allow_for(product, result)?;
            }
            if wants_tiny {
                let result = store::tiny(&mut bench, product).and_then(|server| match product.has_http() {
                    true => on_tiny(&mut bench, &server, wants),
                    false => Ok(()),
                });
                bench.allow_for(product, result)?;
            }
            if wants("stow") && product.has_http() {
                let result = stow::all(&mut bench, product);
                bench.allow_for(product, result)?;
            }
            if wants("picture") && product.has_http() {
                let result = picture::all(&mut bench, product);
                bench.allow_for(product, result)?;
            }
        }
    }
    for studies in SIZES {
        at_size(&mut bench, studies, wants)?;
    }
    if wants("size") {
        list::store_at_size(&mut bench, SIZES[1])?;
    }
    finish(bench)
}

/// What is asked of a server with the tiny studies. The slices come last, because they are a study more.
fn on_tiny(bench: &mut Bench, server: &Server, wants: impl Fn(&str) -> bool) -> io::Result<()> {
    if wants("list") {
        list::of_tiny(bench, server)?;
    }
    if wants("web") {
        web::of_tiny(bench, server)?;
    }
    if !["query", "retrieve", "web"].into_iter().any(&wants) {
        return Ok(());
    }
    known::make_known(bench, server, server::DATABASE)?;
    if wants("query") {
        query::of_tiny(bench, server)?;
    }
    let slices = retrieve::store_series(server)?;
    if wants("query") {
        query::of_series(bench, server, &slices)?;
    }
    if wants("web") {
        web::of_series(bench, server, &slices)?;
    }
    if wants("retrieve") {
        retrieve::all(bench, server, &slices)?;
    }
    Ok(())
}

/// What is asked of filmroom with an index of this size: lists of each, queries of the largest.
fn at_size(bench: &mut Bench, studies: u64, wants: impl Fn(&str) -> bool) -> io::Result<()> {
    let is_queried = wants("query") && Some(&studies) == SIZES.last();
    if !wants("size") && !is_queried {
        return Ok(());
    }
    let server = list::filled(bench, studies)?;
    if wants("size") {
        list::at_size(bench, &server, studies)?;
    }
    if is_queried {
        query::at_size(bench, &server, studies)?;
    }
    Ok(())
}

fn finish(bench: Bench) -> io::Result<()> {
    bench.progress.finish_and_clear();
    let machine = machine(&bench.database)?;
    println!(
        "{}, {} rounds, medians, {} s",
        machine.join(", "),
        bench.rounds,
        bench.start.elapsed().as_secs()
    );
    println!("{}", bench.report.table());
    for note in &bench.notes {
        println!("- {note}");
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target").join("bench");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("results.json");
    let results = json!({
        "machine": machine,
        "date": chrono::Utc::now().to_rfc3339(),
        "rounds": bench.rounds,
        "rows": bench.report.json(),
        "notes": bench.notes,
    });
    std::fs::write(&file, serde_json::to_string_pretty(&results).map_err(io::Error::other)?)?;
    println!("\nEvery measurement: {}", file.display());
    let place = bench.place.clone();
    drop(bench);
    std::fs::remove_dir_all(place)
}

/// The machine and the versions of what was measured.
fn machine(database: &Database) -> io::Result<Vec<String>> {
    let cpus = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let memory = std::fs::read_to_string("/proc/meminfo")?;
    let kilobytes = memory.split_whitespace().nth(1).and_then(|total| total.parse::<u64>().ok()).unwrap_or(0);
    Ok(vec![
        chrono::Utc::now().format("%Y-%m-%d").to_string(),
        format!("{cores} cores {}", model.map_or("unknown", |(_, model)| model)),
        format!("{} GB", kilobytes / 1_000_000),
        format!("filmroom {}", env!("CARGO_PKG_VERSION")),
        version("Orthanc"),
        version("dcmqrscp"),
        format!("MariaDB {}", database.version()?),
    ])
}

fn version(program: &str) -> String {
    let output = Command::new(program).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or(program).trim_start_matches(['$', ' ']).to_owned()
}
