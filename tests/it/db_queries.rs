//! What the lists and pages cost the database when the archive is no longer small: rows that are read, and the index
//! they are read by.

use filmroom::db::study::list;
use filmroom::db::visibility::Visibility;
use filmroom::db::{instance, matching, patient, quarantine, schema, series, study};
use filmroom::dicom::query::{Attribute, Direction, Key, Level, Matching, Page, Query, Sort, SortKey, Word};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};

use crate::support::database::{self, TestDatabase};

/// Studies in the archive of these tests, each with one series and one instance; ten of each patient.
const STUDIES: u64 = 10_000;
const PAGE: u64 = 25;

/// Numbers from 0 to 9,999, on every server that filmroom works with.
fn numbers() -> String {
    let digits = (0..10).map(|digit| format!("SELECT {digit} AS d")).collect::<Vec<_>>().join(" UNION ALL ");
    format!(
        "(SELECT a.d + 10 * b.d + 100 * c.d + 1000 * e.d AS n
            FROM ({digits}) AS a CROSS JOIN ({digits}) AS b CROSS JOIN ({digits}) AS c CROSS JOIN ({digits}) AS e) AS number"
    )
}

/// An archive of many studies, and a connection to it.
async fn large_archive() -> (TestDatabase, Conn) {
    let database = database::fresh().await;
    schema::prepare(&database.url).await.expect("tables");
    let mut conn = database.connect().await;
    let numbers = numbers();
    for statement in [
        format!(
            "INSERT INTO patient (patient_key, patient_id, patient_name, received_at)
             SELECT n + 1, CONCAT('P', n), CONCAT('Doe^Jane', n), UTC_TIMESTAMP(6) FROM {numbers} WHERE n < 1000"
        ),
        format!(
            "INSERT INTO study (study_key, patient_key, study_instance_uid, patient_id, patient_name,
                 patient_name_folded, patient_name_sort, patient_birth_date, study_date, study_time,
                 accession_number, study_description, referring_physician_name, modalities_in_study,
                 sop_classes_in_study, number_of_study_related_series, number_of_study_related_instances,
                 received_at, changed_at)
             SELECT n + 1, n MOD 1000 + 1, CONCAT('1.2.', n), CONCAT('P', n MOD 1000),
                 CONCAT('Doe^Jane', n MOD 1000), CONCAT('doe jane', n MOD 1000), CONCAT('doe jane', n MOD 1000),
                 '1950-01-01' + INTERVAL (n MOD 9000) DAY, '2020-01-01' + INTERVAL (n DIV 10) DAY,
                 SEC_TO_TIME(n MOD 86400), CONCAT('ACC', n), CONCAT('Head ', n MOD 300),
                 CONCAT('House^', n MOD 200), ELT(n MOD 4 + 1, 'CT', 'MR', 'US', 'CT,MR'), '', 1, n MOD 700,
                 UTC_TIMESTAMP(6), UTC_TIMESTAMP(6)
               FROM {numbers}"
        ),
        "INSERT INTO equipment (equipment_key, identity, received_at) VALUES (1, '', UTC_TIMESTAMP(6))".to_owned(),
        "INSERT INTO series (series_key, study_key, equipment_key, series_instance_uid, modality, received_at, changed_at)
         SELECT study_key, study_key, 1, CONCAT(study_instance_uid, '.1'), LEFT(modalities_in_study, 2),
                received_at, changed_at FROM study"
            .to_owned(),
        "INSERT INTO instance (series_key, sop_instance_uid, sop_class_uid, transfer_syntax_uid, number_of_frames,
             path, size_bytes, data_set_offset, data_set_sha256, received_at)
         SELECT series_key, CONCAT(series_instance_uid, '.1'), '1.2.840.10008.5.1.4.1.1.2', '1.2.840.10008.1.2.1', 1,
                CONCAT('archive/', series_key), 1, 1, '', received_at FROM series"
            .to_owned(),
        "ANALYZE TABLE patient, study, series, instance".to_owned(),
    ] {
        let rows: Vec<Row> = conn.query(&statement).await.unwrap_or_else(|err| panic!("{statement}: {err}"));
        drop(rows);
    }
    (database, conn)
}

fn query(keys: Vec<Key>, by: SortKey, direction: Direction) -> Query {
    let page = Page { number: 1, size: PAGE, as_of: Some(STUDIES) };
    Query { level: Level::Study, words: Vec::new(), keys, sort: Sort { by, direction }, page }
}

fn key(attribute: Attribute, matching: Matching) -> Vec<Key> {
    vec![Key { attribute, matching }]
}

const LATEST_FIRST: (SortKey, Direction) = (SortKey::StudyDate, Direction::Descending);

/// Rows and index entries that this connection has read since it was asked last.
async fn rows_read(conn: &mut Conn) -> u64 {
    let status: Vec<(String, u64)> =
        conn.query("SHOW SESSION STATUS LIKE 'Handler_read%'").await.expect("a status");
    // Rows that are kept for a sort, or joined from one, are read once more from where they are kept.
    let tables =
        ["first", "key", "last", "next", "prev", "rnd_next"].map(|name| format!("Handler_read_{name}"));
    let read = status.iter().filter(|(name, _)| tables.contains(name)).map(|(_, count)| count).sum();
    conn.query_drop("FLUSH STATUS").await.expect("a new count");
    read
}

/// The index that EXPLAIN names for a page of the study list.
async fn index_of(conn: &mut Conn, query: &Query) -> Option<String> {
    let conditions = matching::conditions(query, &Visibility::All);
    let sql = format!(
        "EXPLAIN FORMAT = TRADITIONAL SELECT study.* FROM study WHERE {} ORDER BY {} LIMIT ? OFFSET ?",
        conditions.sql(),
        matching::order(query.sort)
    );
    let mut params = conditions.params();
    params.extend([PAGE.into(), 0.into()]);
    let row: Row = conn.exec_first(sql, params).await.expect("a plan").expect("a row");
    row.get::<Option<String>, _>("key").expect("a column of that name")
}

#[tokio::test]
async fn a_page_in_any_order_reads_little_more_than_itself() {
    let (_database, mut conn) = large_archive().await;
    let mut costly = Vec::new();
    for (by, index) in [
        (SortKey::StudyDate, "study_by_date"),
        (SortKey::PatientName, "study_by_name"),
        (SortKey::PatientBirthDate, "study_by_birth_date"),
        (SortKey::AccessionNumber, "study_by_accession_number"),
        (SortKey::Instances, "study_by_images"),
        (SortKey::Modality, "study_by_modality"),
        (SortKey::StudyDescription, "study_by_description"),
        (SortKey::ReferringPhysicianName, "study_by_referring_physician"),
    ] {
        for direction in [Direction::Ascending, Direction::Descending] {
            let query = query(Vec::new(), by, direction);
            rows_read(&mut conn).await;
            assert_eq!(
                list::find(&mut conn, &query, &Visibility::All, 0, PAGE).await.expect("studies").len(),
                25
            );
            let read = rows_read(&mut conn).await;
            let used = index_of(&mut conn, &query).await;
            if read > 5 * PAGE || used.as_deref() != Some(index) {
                costly.push(format!("{by:?} {direction:?}: {read} rows read by {used:?}, not {index}"));
            }
        }
    }
    assert!(costly.is_empty(), "of {STUDIES} studies:\n{}", costly.join("\n"));
}

#[tokio::test]
async fn an_exact_id_number_or_uid_and_a_few_days_are_read_by_their_index() {
    let (_database, mut conn) = large_archive().await;
    let exact = |text: &str| Matching::SingleValue(text.to_owned());
    let day = |day| chrono::NaiveDate::from_ymd_opt(2022, 3, day);
    for (attribute, matching, found, index) in [
        (Attribute::PatientId, exact("P7"), 10, "study_by_patient_id"),
        (Attribute::AccessionNumber, exact("ACC4711"), 1, "study_by_accession_number"),
        (Attribute::StudyInstanceUid, exact("1.2.4711"), 1, "study_by_uid"),
        (
            Attribute::StudyInstanceUid,
            Matching::ListOfUid(vec!["1.2.1".into(), "1.2.2".into()]),
            2,
            "study_by_uid",
        ),
        (Attribute::StudyDate, Matching::Range(day(1), day(2)), 20, "study_by_date"),
    ] {
        let query = query(key(attribute, matching), LATEST_FIRST.0, LATEST_FIRST.1);
        rows_read(&mut conn).await;
        let keys = list::matching_keys(&mut conn, &query, &Visibility::All, 1000).await.expect("numbers");
        let counting = rows_read(&mut conn).await;
        assert_eq!(keys.len(), found, "{attribute:?}");
        let studies = list::of_keys(&mut conn, &keys, query.sort, 0, PAGE).await.expect("studies");
        let page = rows_read(&mut conn).await;
        assert_eq!(
            studies,
            list::find(&mut conn, &query, &Visibility::All, 0, PAGE).await.expect("studies"),
            "{attribute:?}"
        );
        assert!(page < 4 * PAGE && counting < 4 * PAGE, "{attribute:?}: {page} and {counting} rows are read");
        assert_eq!(index_of(&mut conn, &query).await.as_deref(), Some(index), "{attribute:?}");
    }
}

#[tokio::test]
async fn a_search_for_a_name_passes_over_the_studies_once() {
    let (_database, mut conn) = large_archive().await;
    let mut named = query(Vec::new(), LATEST_FIRST.0, LATEST_FIRST.1);
    named.words = Word::all("jane777");
    rows_read(&mut conn).await;
    assert_eq!(
        list::matching_keys(&mut conn, &named, &Visibility::All, 1000).await.expect("numbers").len(),
        10
    );
    let read = rows_read(&mut conn).await;
    assert!(read < 2 * STUDIES, "{read} rows are read");
    // A name that many have is found on the way through the order.
    named.words = Word::all("doe");
    assert_eq!(list::find(&mut conn, &named, &Visibility::All, 0, PAGE).await.expect("studies").len(), 25);
    let read = rows_read(&mut conn).await;
    assert!(read < 5 * PAGE, "{read} rows are read");
}

#[tokio::test]
async fn the_page_of_a_study_and_of_a_patient_read_their_own_rows_alone() {
    let (_database, mut conn) = large_archive().await;
    let mut read = Vec::new();
    rows_read(&mut conn).await;
    let uid = "1.2.4711".parse().expect("a UID");
    let found = study::by_uid(&mut conn, &uid, &Visibility::All).await.expect("a study").expect("a study");
    read.push(("the study", rows_read(&mut conn).await));
    assert_eq!(patient::of_study(&mut conn, found.study_key).await.expect("patients").len(), 1);
    read.push(("its patients", rows_read(&mut conn).await));
    assert_eq!(series::of_study(&mut conn, found.study_key).await.expect("series").len(), 1);
    read.push(("its series", rows_read(&mut conn).await));
    assert!(instance::documents(&mut conn, found.study_key, 100).await.expect("documents").is_empty());
    read.push(("its documents", rows_read(&mut conn).await));
    assert!(quarantine::of_study(&mut conn, found.study_key, 100).await.expect("quarantine").is_empty());
    read.push(("what is in quarantine for it", rows_read(&mut conn).await));
    assert_eq!(
        study::of_patient(&mut conn, found.patient_key, &Visibility::All, 100).await.expect("studies").len(),
        10
    );
    read.push(("the studies of its patient", rows_read(&mut conn).await));
    assert_eq!(series::modalities(&mut conn).await.expect("modalities"), ["CT", "MR", "US"]);
    read.push(("the modalities there are", rows_read(&mut conn).await));

    let costly: Vec<_> = read.iter().filter(|(_, rows)| *rows > 100).collect();
    assert!(costly.is_empty(), "of {STUDIES} studies: {costly:?}");
}
