//! The study list of an archive that is no longer small: the same pages and totals as the plain way gives, for the
//! price of a few index entries.

use filmroom::archive::waypoints::Waypoints;
use filmroom::db::study::list;
use filmroom::db::visibility::Visibility;
use filmroom::db::{schema, study};
use filmroom::dicom::person_name::PersonName;
use filmroom::dicom::query::{Attribute, Direction, Key, Level, Matching, Page, Query, Sort, SortKey};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::rows;
use crate::support::TestServer;
use crate::support::database::{self, TestDatabase};
use crate::web_study::{all, texts};

/// Index entries and rows that a page may cost where there are many more.
const FEW: u64 = 2500;

/// An archive of this many studies, and a connection to it.
async fn archive_of(studies: u64) -> (TestDatabase, Conn) {
    let database = database::fresh().await;
    schema::prepare(&database.url).await.expect("tables");
    let mut conn = database.connect().await;
    rows::fill(&mut conn, studies, |_, _, _| {}).await.expect("rows");
    (database, conn)
}

/// Every tenth study comes again under another UID, in no order.
async fn more_arrive(conn: &mut Conn, round: u32) {
    conn.exec_drop(
        "INSERT INTO study (patient_key, study_instance_uid, patient_name, patient_name_folded, patient_name_sort,
             patient_birth_date, study_date, study_time, accession_number, study_description,
             referring_physician_name, modalities_in_study, sop_classes_in_study, received_at, changed_at)
         SELECT patient_key, CONCAT('1.2.', ?, '.', study_key), patient_name, patient_name_folded, patient_name_sort,
                patient_birth_date, study_date, study_time, accession_number, study_description,
                referring_physician_name, modalities_in_study, sop_classes_in_study, received_at, changed_at
           FROM study
          WHERE study_key MOD 10 = ?
          ORDER BY SHA2(study_key, 256)",
        (round, round),
    )
    .await
    .expect("more studies");
}

fn whole_list(by: SortKey, direction: Direction, number: u64, size: u64, as_of: u64) -> Query {
    let page = Page { number, size, as_of: Some(as_of) };
    Query { level: Level::Study, words: Vec::new(), keys: Vec::new(), sort: Sort { by, direction }, page }
}

fn keys(studies: &[study::Study]) -> Vec<u64> {
    studies.iter().map(|study| study.study_key).collect()
}

/// Compares pages all over the list, in every order, up to each of these numbers.
async fn assert_same_pages(conn: &mut Conn, waypoints: &Waypoints, as_of: &[u64]) {
    let mut random: u64 = 4711;
    for &as_of in as_of {
        let counted: Option<u64> = conn
            .exec_first("SELECT COUNT(*) FROM study WHERE study_key <= ?", (as_of,))
            .await
            .expect("a count");
        let total = waypoints.total(conn, as_of).await.expect("a total").expect("a chain that reaches");
        assert_eq!(Some(total), counted, "up to {as_of}");
        for by in SortKey::ALL {
            for direction in [Direction::Ascending, Direction::Descending] {
                for size in [25, 100] {
                    random = random
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    let pages = total.div_ceil(size);
                    let first = 1024 / size + 2;
                    for number in [first, first + (random >> 33) % (pages - first), pages] {
                        let query = whole_list(by, direction, number, size, as_of);
                        let page = waypoints.page(conn, &query, total).await.expect("a page");
                        let page = page.expect("a page from a waypoint");
                        let plain = list::find(conn, &query, &Visibility::All, query.page.offset(), size)
                            .await
                            .expect("a page");
                        assert_eq!(
                            keys(&page),
                            keys(&plain),
                            "page {number} of {size}, {by:?} {direction:?}, up to {as_of} of {total}"
                        );
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn pages_and_totals_from_waypoints_are_the_plain_ones_while_studies_arrive() {
    let (_database, mut conn) = archive_of(5000).await;
    // Keys that are not there: studies that were discarded, and attempts that were rolled back.
    conn.query_drop("DELETE FROM instance").await.expect("deleted");
    conn.query_drop("DELETE FROM series").await.expect("deleted");
    conn.query_drop("DELETE FROM study WHERE study_key MOD 7 = 0").await.expect("deleted");
    let waypoints = Waypoints::default();
    for by in SortKey::ALL {
        waypoints.survey(&mut conn, by).await.expect("a survey");
    }
    assert_same_pages(&mut conn, &waypoints, &[5000, 4321]).await;
    for round in 1..=2 {
        more_arrive(&mut conn, round).await;
    }
    let newest = list::newest(&mut conn).await.expect("a number");
    assert!(newest > 5700, "{newest}");
    assert_same_pages(&mut conn, &waypoints, &[newest, 5300, 5000, 4321]).await;
    // A list that somebody turns since before the chain was made again.
    for by in SortKey::ALL {
        waypoints.survey(&mut conn, by).await.expect("a survey");
    }
    assert_same_pages(&mut conn, &waypoints, &[newest, 5300, 4900]).await;
}

#[tokio::test]
async fn studies_that_share_their_sort_value_are_each_on_one_page() {
    let (_database, mut conn) = archive_of(4000).await;
    conn.query_drop(
        "UPDATE study SET study_date = NULL, study_time = NULL, patient_name_sort = '', accession_number = ''
          WHERE study_key > 700",
    )
    .await
    .expect("studies without a date, name and number");
    let waypoints = Waypoints::default();
    for by in [SortKey::StudyDate, SortKey::PatientName, SortKey::AccessionNumber] {
        waypoints.survey(&mut conn, by).await.expect("a survey");
        let mut seen = Vec::new();
        for number in 1..=40 {
            let query = whole_list(by, Direction::Ascending, number, 100, 4000);
            seen.extend(match waypoints.page(&mut conn, &query, 4000).await.expect("a page") {
                Some(page) => keys(&page),
                None => keys(
                    &list::find(&mut conn, &query, &Visibility::All, query.page.offset(), 100)
                        .await
                        .expect("a page"),
                ),
            });
        }
        seen.sort_unstable();
        assert_eq!(seen, (1..=4000).collect::<Vec<u64>>(), "{by:?}");
    }
}

#[tokio::test]
async fn a_total_and_a_deep_page_read_little_of_the_index() {
    let (_database, mut conn) = archive_of(12_000).await;
    let waypoints = Waypoints::default();
    for by in SortKey::ALL {
        waypoints.survey(&mut conn, by).await.expect("a survey");
    }
    more_arrive(&mut conn, 1).await;
    let newest = list::newest(&mut conn).await.expect("a number");
    let mut costly = Vec::new();
    for by in SortKey::ALL {
        for direction in [Direction::Ascending, Direction::Descending] {
            for (number, as_of, total, few) in [
                (50, 12_000, 12_000, (10, 1500)),
                (240, 12_000, 12_000, (10, 1500)),
                (479, 12_000, 12_000, (10, 1500)),
                (240, newest, 13_200, (1500, 4500)),
                (500, newest, 13_200, (1500, 4500)),
            ] {
                let query = whole_list(by, direction, number, 25, as_of);
                rows_read(&mut conn).await;
                let counted = waypoints.total(&mut conn, as_of).await.expect("a total").expect("a chain");
                let counting = rows_read(&mut conn).await;
                let page =
                    waypoints.page(&mut conn, &query, total).await.expect("a page").expect("a waypoint");
                let reading = rows_read(&mut conn).await;
                assert_eq!((counted, page.len()), (total, 25));
                if counting > few.0 || reading > few.1 {
                    costly.push(format!(
                        "{by:?} {direction:?} page {number} up to {as_of}: {counting} and {reading}"
                    ));
                }
            }
        }
    }
    assert!(costly.is_empty(), "of 12,000 studies are read:\n{}", costly.join("\n"));
}

/// Rows and index entries that this connection has read since it was asked last.
async fn rows_read(conn: &mut Conn) -> u64 {
    let status: Vec<(String, u64)> =
        conn.query("SHOW SESSION STATUS LIKE 'Handler_read%'").await.expect("a status");
    conn.query_drop("FLUSH STATUS").await.expect("a new count");
    status.iter().filter(|(name, _)| !name.ends_with("deleted")).map(|(_, count)| count).sum()
}

#[tokio::test]
async fn a_sum_of_modalities_costs_no_scan() {
    let (_database, mut conn) = archive_of(3000).await;
    for (modality, found) in [("XX", false), ("NM", true)] {
        let keys = vec![Key {
            attribute: Attribute::ModalitiesInStudy,
            matching: Matching::MultipleValue(vec![modality.to_owned()]),
        }];
        let query = Query { keys, ..whole_list(SortKey::StudyDate, Direction::Descending, 1, 25, 3000) };
        let plain: Option<u64> = conn
            .exec_first("SELECT COUNT(*) FROM study WHERE FIND_IN_SET(?, modalities_in_study)", (modality,))
            .await
            .expect("a count");
        rows_read(&mut conn).await;
        let keys = list::matching_keys(&mut conn, &query, &Visibility::All, 5000).await.expect("numbers");
        let read = rows_read(&mut conn).await;
        assert_eq!((Some(keys.len() as u64), !keys.is_empty()), (plain, found), "{modality}");
        assert!(read < keys.len() as u64 * 2 + 200, "{modality}: {read} read for {}", keys.len());
    }
}

#[tokio::test]
async fn the_rows_of_the_generator_are_what_the_archive_would_have_written() {
    let (_database, mut conn) = archive_of(2000).await;
    let counted: Option<(u64, u64, u64)> = conn
        .query_first(
            "SELECT (SELECT COUNT(*) FROM study), (SELECT COUNT(*) FROM series), (SELECT COUNT(*) FROM instance)",
        )
        .await
        .expect("counts");
    assert_eq!(counted, Some((2000, 6000, 10_000)));
    for wrong in [
        "study WHERE number_of_study_related_series <> (SELECT COUNT(*) FROM series WHERE series.study_key = study.study_key)",
        "study WHERE (number_of_study_related_instances, size_bytes) <> (SELECT SUM(number_of_series_related_instances),
             SUM(size_bytes) FROM series WHERE series.study_key = study.study_key)",
        "series WHERE (number_of_series_related_instances, size_bytes) <> (SELECT COUNT(*), SUM(size_bytes) FROM instance
             WHERE instance.series_key = series.series_key)",
        "study WHERE modalities_in_study <> (SELECT GROUP_CONCAT(DISTINCT modality ORDER BY modality) FROM series
             WHERE series.study_key = study.study_key)",
        "study WHERE sop_classes_in_study <> (SELECT GROUP_CONCAT(DISTINCT sop_class_uid ORDER BY sop_class_uid)
             FROM instance JOIN series ON series.series_key = instance.series_key
             WHERE series.study_key = study.study_key)",
        "study JOIN patient ON patient.patient_key = study.patient_key WHERE study.patient_name <> patient.patient_name
             OR NOT study.patient_birth_date <=> patient.patient_birth_date OR study.patient_id <> patient.patient_id",
        "series LEFT JOIN equipment ON equipment.equipment_key = series.equipment_key
             WHERE equipment.equipment_key IS NULL",
    ] {
        let found: Option<u64> =
            conn.query_first(format!("SELECT COUNT(*) FROM {wrong}")).await.unwrap_or_else(|err| panic!("{wrong}: {err}"));
        assert_eq!(found, Some(0), "{wrong}");
    }
    let names: Vec<(String, String, String, String)> = conn
        .query(
            "SELECT DISTINCT patient_name, patient_name_folded, referring_physician_name,
                    referring_physician_name_folded FROM study",
        )
        .await
        .expect("names");
    for (name, folded, physician, physician_folded) in names {
        assert_eq!(PersonName::parse(&name).folded(), folded);
        assert_eq!(PersonName::parse(&physician).folded(), physician_folded);
    }
    let again = rows::fill(&mut conn, 1, |_, _, _| {}).await;
    assert!(again.is_err_and(|err| err.to_string().contains("not empty")));
}

/// Rows and index entries that a page costs. Other tests share the server, so the least of many tries is its own.
async fn read_for(pacs: &TestServer, path: &str) -> u64 {
    let mut conn = pacs.database.connect().await;
    let mut least = u64::MAX;
    for _ in 0..25 {
        let mut counted = async || {
            let read: Vec<(String, u64)> =
                conn.query("SHOW GLOBAL STATUS LIKE 'Handler_read_%next'").await.expect("a status");
            read.iter().map(|(_, count)| count).sum::<u64>()
        };
        let before = counted().await;
        pacs.page(path).await;
        least = least.min(counted().await - before);
    }
    least
}

#[tokio::test]
async fn the_list_of_a_large_archive_is_counted_and_turned_without_a_scan() {
    let pacs = TestServer::start().await;
    let mut conn = pacs.database.connect().await;
    rows::fill(&mut conn, 25_000, |_, _, _| {}).await.expect("rows");
    pacs.page("/studies?sort=patient").await;
    let mut surveyed = false;
    for _ in 0..100 {
        surveyed = read_for(&pacs, "/studies?sort=patient&page=500").await < FEW;
        if surveyed {
            break;
        }
    }
    assert!(surveyed, "page 500 of 25,000 studies is still read from the beginning");

    for (address, position) in [
        ("/studies?sort=patient", "1 to 25 of 25,000"),
        ("/studies?sort=patient&page=500", "12,476 to 12,500 of 25,000"),
        ("/studies?sort=patient&order=desc&page=700", "17,476 to 17,500 of 25,000"),
        ("/studies?sort=patient&page=99999", "24,976 to 25,000 of 25,000"),
    ] {
        assert_eq!(texts(&pacs.page(address).await, ".list-status .position"), [position], "{address}");
        let read = read_for(&pacs, address).await;
        assert!(read < FEW, "{address}: {read} entries are read");
    }
    let page = pacs.page("/studies?sort=patient&order=desc&page=700").await;
    let shown: Vec<_> = all(&page, "[data-study]").iter().filter_map(|row| row.attr("data-study")).collect();
    let plain: Vec<String> = conn
        .query("SELECT study_instance_uid FROM study ORDER BY patient_name_sort DESC, study_key DESC LIMIT 25 OFFSET 17475")
        .await
        .expect("studies");
    assert_eq!(shown, plain);
}

#[tokio::test]
async fn a_search_that_finds_very_many_counts_ten_thousand_and_can_be_turned_to_its_end() {
    let pacs = TestServer::start().await;
    let mut conn = pacs.database.connect().await;
    rows::fill(&mut conn, 12_000, |_, _, _| {}).await.expect("rows");
    let dated: Option<u64> = conn
        .query_first("SELECT COUNT(*) FROM study WHERE study_date >= '2014-01-01'")
        .await
        .expect("a count");
    let dated = dated.expect("a count");
    assert!(dated > 11_000, "{dated}");

    let page = pacs.page("/studies?from=2014-01-01").await;
    assert_eq!(texts(&page, ".list-status .position"), ["1 to 25 of more than 10,000"]);
    let page = pacs.page("/studies?from=2014-01-01&page=430").await;
    assert_eq!(texts(&page, ".list-status .position"), ["10,726 to 10,750 of more than 10,000"]);
    assert_eq!(all(&page, "a[rel=next]").len(), 1);
    // Behind the end it is counted after all.
    let last = pacs.page("/studies?from=2014-01-01&page=99999").await;
    let position = texts(&last, ".list-status .position").concat();
    let total = format!("{},{:03}", dated / 1000, dated % 1000);
    assert!(position.ends_with(&format!("to {total} of {total}")), "{position}");
    assert!(all(&last, "a[rel=next]").is_empty());
    // And the last page that is turned to has no next one.
    let last = pacs.page(&format!("/studies?from=2014-01-01&page={}", dated.div_ceil(25))).await;
    assert!(all(&last, "a[rel=next]").is_empty());
    assert!(!all(&last, "[data-study]").is_empty());
    // Fewer are counted.
    let page = pacs.page("/studies?from=2014-01-01&to=2014-12-31").await;
    let some: Option<u64> = conn
        .query_first("SELECT COUNT(*) FROM study WHERE study_date BETWEEN '2014-01-01' AND '2014-12-31'")
        .await
        .expect("a count");
    let position = texts(&page, ".list-status .position").concat();
    let some = some.expect("a count");
    let some = if some < 1000 { some.to_string() } else { format!("{},{:03}", some / 1000, some % 1000) };
    assert_eq!(position, format!("1 to 25 of {some}"));
}
