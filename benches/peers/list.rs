//! The study list: filmroom's page with 4,000, 100,000 and 1,000,000 studies, beside QIDO-RS of the peers with 4,000,
//! and what an index of 5,000,000 instances costs a store.

use std::io;
use std::time::Duration;

use filmroom::db::role::Role;

use super::data::Kind;
use super::floor::{self, loads};
use super::http::Http;
use super::report::{Better, Of, median};
use super::sender;
use super::server::{Product, Server};
use super::{Bench, TINY, rows, store};

const SECTION: &str = "Study list";
const AT_SIZE: &str = "Index at size";
const ASKED: usize = 15;
/// How long filmroom gets, after its start, for the survey of the list that it makes in the background.
const SURVEY: Duration = Duration::from_secs(12);

/// The list of the 4,000 studies of the tiny instances.
pub fn of_tiny(bench: &mut Bench, server: &Server) -> io::Result<()> {
    let product = server.product;
    bench.say(&format!("{}: study list", product.name()));
    let mut http = Http::to(server)?;
    for (title, rows, page) in [("first", 25, 1), ("first", 100, 1), ("80th", 25, 80)] {
        let address = match product {
            Product::Filmroom => format!("/studies?rows={rows}&page={page}"),
            _ => format!(
                "/dicom-web/studies?limit={rows}&offset={}&includefield=00081030,00080061,00201206,00201208",
                rows * (page - 1)
            ),
        };
        let title = format!("{title} page of {rows}, by date, {} studies", TINY.studies);
        let accept = if product == Product::Filmroom { "text/html" } else { "application/dicom+json" };
        ask(bench, Of::Product(product), &mut http, SECTION, title, &address, accept)?;
    }
    Ok(())
}

/// filmroom with this many studies, three series and five instances a study in the index.
pub fn filled(bench: &mut Bench, studies: u64) -> io::Result<Server> {
    let name = database_of(studies);
    fill(bench, &name, studies)?;
    let folder = bench.place.join("size");
    std::fs::create_dir_all(&folder)?;
    bench.database.settle()?;
    let server = Server::start_on(Product::Filmroom, &folder, &bench.database, &name)?;
    std::thread::sleep(SURVEY);
    Ok(server)
}

/// The database of the index with this many studies.
pub fn database_of(studies: u64) -> String {
    format!("bench_{studies}")
}

/// Its list.
pub fn at_size(bench: &mut Bench, server: &Server, studies: u64) -> io::Result<()> {
    bench.say(&format!("filmroom: study list with {studies} studies"));
    let mut http = Http::to(server)?;
    let last = studies / 25;
    let of = Of::Product(Product::Filmroom);
    for sort in ["date", "patient"] {
        for (title, rows, page) in [
            ("first", 25, 1),
            ("first", 100, 1),
            ("1,000th", 25, 1000),
            ("middle", 25, last / 2),
            ("last", 25, last),
        ] {
            let address = format!("/studies?sort={sort}&rows={rows}&page={page}");
            let title = format!("{title} page of {rows}, by {sort}, {studies} studies");
            ask(bench, of, &mut http, SECTION, title, &address, "text/html")?;
        }
    }
    let (slowest, address) = slowest(&mut http, last)?;
    bench.notes.push(format!("slowest page with {studies} studies: {address}, {slowest:.1} ms"));
    let title = format!("slowest of all sorts, both orders, six pages each, {studies} studies");
    bench.report.add(SECTION, title, "ms", Better::Lower, of, slowest);
    // People who see their own studies: one physician of 300, and a practice of many.
    let physician = rows::a_physician();
    for (who, names) in [("one physician", physician.as_str()), ("all physicians with B", "B*")] {
        let session = super::people::session(&bench.database, &database_of(studies), Role::Referrer, names)?;
        let mut http = Http::signed_in(server.http, Some(&session))?;
        for (title, address) in [
            ("first page of 25, by date", "/studies"),
            ("first page of 100, by patient", "/studies?sort=patient&rows=100"),
            ("search for a word", "/studies?q=anna"),
        ] {
            let title = format!("{title}, own studies of {who}, {studies} studies");
            ask(bench, of, &mut http, SECTION, title, address, "text/html")?;
        }
    }
    Ok(())
}

/// Stores beside an index that is full and one that is empty, in turns.
pub fn store_at_size(bench: &mut Bench, studies: u64) -> io::Result<()> {
    let name = database_of(studies);
    for round in 1..=bench.rounds {
        for (title, database) in [("an empty index", "bench_empty"), ("5,000,000 instances", name.as_str())] {
            bench.say(&format!("round {round}: filmroom: store into {title}"));
            if database == "bench_empty" {
                bench.database.recreate(database)?;
            }
            let folder = bench.place.join(format!("size-{round}-{database}"));
            std::fs::create_dir_all(&folder)?;
            let server = Server::start_on(Product::Filmroom, &folder, &bench.database, database)?;
            let of = Of::Product(Product::Filmroom);
            bench.database.settle()?;
            std::thread::sleep(SURVEY);
            floor::settle();
            let sent = sender::send(server.dicom, server.ae_title(), loads(&Kind::ct(), 1, 400))?;
            let what = format!("CT, 1 association, into {title}");
            bench.report.add(AT_SIZE, what, "instances/s", Better::Higher, of, sent.per_second());
            floor::settle();
            let sent = sender::send(server.dicom, server.ae_title(), store::tiny_loads(4000, round))?;
            let what = format!("4,000 tiny in 800 studies, 4 associations, into {title}");
            bench.report.add(AT_SIZE, what, "instances/s", Better::Higher, of, sent.per_second());
        }
    }
    Ok(())
}

/// A database with rows in it, made once.
fn fill(bench: &mut Bench, name: &str, studies: u64) -> io::Result<()> {
    bench.database.recreate(name)?;
    let folder = bench.place.join("size");
    std::fs::create_dir_all(&folder)?;
    // filmroom makes the tables.
    drop(Server::start_on(Product::Filmroom, &folder, &bench.database, name)?);
    bench.say(&format!("rows of {studies} studies"));
    let start = std::time::Instant::now();
    let mut conn = bench.database.connect(name)?;
    let progress = bench.progress.clone();
    bench.database.run(rows::fill(&mut conn, studies, |what, done, of| {
        progress.set_message(format!("{what}: {done} of {of}"));
    }))?;
    bench.notes.push(format!("{studies} studies' rows made in {:.0} s", start.elapsed().as_secs_f64()));
    let size = bench.database.size(name)? as f64 / 1e6;
    let title = format!("index of {studies} studies, {} instances", studies * 5);
    bench.report.add(AT_SIZE, title, "MB", Better::Lower, Of::Product(Product::Filmroom), size);
    Ok(())
}

pub fn ask(
    bench: &mut Bench,
    of: Of,
    http: &mut Http,
    section: &'static str,
    title: String,
    address: &str,
    accept: &str,
) -> io::Result<()> {
    // The first is not measured: what the program makes once is made with it.
    http.get_ok(address, accept)?;
    let mut times = Vec::new();
    for _ in 0..ASKED {
        times.push(http.get_ok(address, accept)?.elapsed.as_secs_f64() * 1e3);
    }
    bench.report.add(section, title, "ms", Better::Lower, of, median(&times));
    Ok(())
}

/// The slowest page over every sort and both orders, medians of five, and its address.
fn slowest(http: &mut Http, last: u64) -> io::Result<(f64, String)> {
    let mut slowest = (0.0, String::new());
    for sort in SORTS {
        for order in ["asc", "desc"] {
            for page in [1, 1000, last / 4, last / 2, last * 3 / 4, last] {
                let address = format!("/studies?sort={sort}&order={order}&page={page}");
                let mut times = Vec::new();
                for _ in 0..5 {
                    times.push(http.get_ok(&address, "text/html")?.elapsed.as_secs_f64() * 1e3);
                }
                let time = median(&times);
                if time > slowest.0 {
                    slowest = (time, address);
                }
            }
        }
    }
    Ok(slowest)
}

/// Every order the list offers.
const SORTS: [&str; 8] =
    ["patient", "born", "date", "modality", "description", "referring", "accession", "images"];
