//! C-FIND: a patient, a name with a wild card, all studies, and the instances of a series; of 4,000 studies beside the
//! peers, and of filmroom's index of 1,000,000.

use std::io;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;

use super::data::{DataSet, Instance};
use super::known::make_known;
use super::report::{Better, Of, median};
use super::requestor::{Requestor, Until};
use super::server::Server;
use super::{Bench, TINY, list, store};

const SECTION: &str = "C-FIND";
/// How often each is asked, or for how long where that comes first.
const ASKED: usize = 30;
const LONG_ENOUGH: Duration = Duration::from_secs(8);

/// What rows are about: what is asked the first, the second, the nth time, and how much matches.
struct Question<'a> {
    title: String,
    identifier: &'a dyn Fn(usize) -> DataSet,
    matches: RangeInclusive<u64>,
}

/// Queries of the 4,000 studies of the tiny instances.
pub fn of_tiny(bench: &mut Bench, server: &Server) -> io::Result<()> {
    bench.say(&format!("{}: queries", server.product.name()));
    let mut requestor = Requestor::to(server)?;
    let total = u64::from(TINY.studies);
    for question in [
        Question {
            title: format!("exact Patient ID, {total} studies"),
            identifier: &|number| studies("", &store::tiny_patient_id(number as u32 * 67)),
            matches: 1..=3,
        },
        Question {
            title: format!("name Smith*, 64 of {total} studies"),
            identifier: &|_| studies("Smith*", ""),
            matches: 64..=64,
        },
        Question {
            title: format!("all {total} studies"),
            identifier: &|_| studies("", ""),
            matches: total..=total,
        },
    ] {
        measure(bench, server, &mut requestor, &question, Until::Last)?;
    }
    requestor.release()
}

/// A query of the instances of one series.
pub fn of_series(bench: &mut Bench, server: &Server, slices: &[Instance]) -> io::Result<()> {
    let [first, ..] = slices else { return Err(io::Error::other("there are no slices")) };
    let mut requestor = Requestor::to(server)?;
    let count = slices.len() as u64;
    for question in [
        Question {
            title: format!("the {count} instances of a series"),
            identifier: &|_| instances(&first.study, &first.series),
            matches: count..=count,
        },
        // For Orthanc, which keeps no more of an instance in its index and opens its file for other keys.
        Question {
            title: format!("the {count} instances of a series, UIDs and numbers alone"),
            identifier: &|_| numbers(&first.study, &first.series),
            matches: count..=count,
        },
    ] {
        measure(bench, server, &mut requestor, &question, Until::Last)?;
    }
    requestor.release()
}

/// The same of filmroom's index with this many studies.
pub fn at_size(bench: &mut Bench, server: &Server, total: u64) -> io::Result<()> {
    bench.say(&format!("filmroom: queries of {total} studies"));
    let database = list::database_of(total);
    make_known(bench, server, &database)?;
    let mut conn = bench.database.connect(&database)?;
    let patients: Vec<String> = bench.database.run(conn.query(format!(
        "SELECT patient_id
           FROM study
          WHERE MOD(study_key, {}) = 7
          LIMIT {}",
        total / (ASKED as u64 + 2),
        ASKED + 1
    )))?;
    // A family name and the first letter of a given one.
    let name: Option<String> = bench.database.run(conn.query_first(
        "SELECT CONCAT(LEFT(patient_name, LOCATE('^', patient_name) + 1), '*') AS wild_card
           FROM study
          WHERE patient_name REGEXP '^[A-Za-z]+\\\\^'
          GROUP BY wild_card
         HAVING COUNT(*) = 64
          LIMIT 1",
    ))?;
    let name = name.ok_or_else(|| io::Error::other("no name has 64 studies"))?;
    let series: Option<(String, String, u64)> = bench.database.run(conn.query_first(
        "SELECT study_instance_uid, series_instance_uid, number_of_series_related_instances
           FROM series
           JOIN study USING (study_key)
          ORDER BY number_of_series_related_instances DESC
          LIMIT 1",
    ))?;
    let (study, series, count) = series.ok_or_else(|| io::Error::other("there is no series"))?;
    let mut requestor = Requestor::to(server)?;
    for question in [
        Question {
            title: format!("exact Patient ID, {total} studies"),
            identifier: &|number| studies("", patients.get(number).map_or("", String::as_str)),
            matches: 1..=100,
        },
        Question {
            title: format!("name with a wild card, 64 of {total} studies"),
            identifier: &|_| studies(&name, ""),
            matches: 64..=64,
        },
        Question {
            title: format!("the {count} instances of a series, {total} studies"),
            identifier: &|_| instances(&study, &series),
            matches: count..=count,
        },
    ] {
        measure(bench, server, &mut requestor, &question, Until::Last)?;
    }
    let all = Question {
        title: format!("all {total} studies"),
        identifier: &|_| studies("", ""),
        matches: 1..=total,
    };
    measure(bench, server, &mut requestor, &all, Until::First)?;
    requestor.release()
}

fn measure(
    bench: &mut Bench,
    server: &Server,
    requestor: &mut Requestor,
    question: &Question,
    until: Until,
) -> io::Result<()> {
    let (mut first, mut whole) = (Vec::new(), Vec::new());
    let mut start = Instant::now();
    // The first is not measured: what the program makes once is made with it.
    for number in 0..=ASKED {
        let found = requestor.find(&(question.identifier)(number), until)?;
        if !question.matches.contains(&found.matches) {
            return Err(io::Error::other(format!("{}: {} matches", question.title, found.matches)));
        }
        if number == 0 {
            start = Instant::now();
            continue;
        }
        first.push(found.first.as_secs_f64() * 1e3);
        whole.push(found.elapsed.as_secs_f64() * 1e3);
        if start.elapsed() > LONG_ENOUGH {
            break;
        }
    }
    let of = Of::Product(server.product);
    let title = &question.title;
    let mut add = |what: &str, value| {
        bench.report.add(SECTION, format!("{title}: {what}"), "ms", Better::Lower, of, value);
    };
    add("first response", median(&first));
    add("first response, 95th percentile", percentile_95(&mut first));
    if until == Until::Last {
        add("all responses", median(&whole));
        add("all responses, 95th percentile", percentile_95(&mut whole));
    }
    Ok(())
}

fn percentile_95(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() * 95 / 100).copied().unwrap_or(f64::NAN)
}

/// What a workstation asks of studies, by name or by ID where given.
fn studies(patient_name: &str, patient_id: &str) -> DataSet {
    let mut identifier = DataSet::default();
    identifier.text(0x0008, 0x0020, b"DA", "");
    identifier.text(0x0008, 0x0030, b"TM", "");
    identifier.text(0x0008, 0x0050, b"SH", "");
    identifier.text(0x0008, 0x0052, b"CS", "STUDY");
    identifier.text(0x0008, 0x0061, b"CS", "");
    identifier.text(0x0008, 0x0090, b"PN", "");
    identifier.text(0x0008, 0x1030, b"LO", "");
    identifier.text(0x0010, 0x0010, b"PN", patient_name);
    identifier.text(0x0010, 0x0020, b"LO", patient_id);
    identifier.text(0x0010, 0x0030, b"DA", "");
    identifier.text(0x0010, 0x0040, b"CS", "");
    identifier.text(0x0020, 0x000D, b"UI", "");
    identifier.text(0x0020, 0x0010, b"SH", "");
    identifier.text(0x0020, 0x1206, b"IS", "");
    identifier.text(0x0020, 0x1208, b"IS", "");
    identifier
}

/// What a workstation asks of the instances of a series.
fn instances(study: &str, series: &str) -> DataSet {
    let mut identifier = DataSet::default();
    identifier.text(0x0008, 0x0016, b"UI", "");
    identifier.0.extend(numbers(study, series).0);
    identifier.text(0x0028, 0x0008, b"IS", "");
    identifier
}

/// The least that is asked of them.
fn numbers(study: &str, series: &str) -> DataSet {
    let mut identifier = DataSet::default();
    identifier.text(0x0008, 0x0018, b"UI", "");
    identifier.text(0x0008, 0x0052, b"CS", "IMAGE");
    identifier.text(0x0020, 0x000D, b"UI", study);
    identifier.text(0x0020, 0x000E, b"UI", series);
    identifier.text(0x0020, 0x0013, b"IS", "");
    identifier
}
