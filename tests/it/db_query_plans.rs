//! By which index each shape of a C-FIND is answered, on every level: none reads a whole table.

use filmroom::db::search;
use filmroom::db::visibility::Visibility;
use filmroom::dicom::query::{Attribute, Direction, Key, Level, Matching, Page, Query, Sort, SortKey};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};

use crate::rows;
use crate::support::TestServer;

/// Studies in the archive of this test.
const STUDIES: u64 = 5000;

/// What a workstation wants of a match.
fn wanted(level: Level) -> Vec<Attribute> {
    Attribute::ALL.iter().copied().filter(|attribute| attribute.level() <= level).collect()
}

/// Table, access and index of each step that reads a table of the archive.
async fn plan(conn: &mut Conn, level: Level, keys: &[(Attribute, &str)]) -> Vec<(String, String, String)> {
    let keys = keys.iter().map(|(attribute, text)| Key {
        attribute: *attribute,
        matching: Matching::of(attribute.kind(), text).expect("a key"),
    });
    let query = Query {
        level,
        words: Vec::new(),
        keys: keys.collect(),
        sort: Sort { by: SortKey::StudyDate, direction: Direction::Descending },
        page: Page { number: 1, size: 50_001, as_of: None },
    };
    let statement = search::statement(&query, &wanted(level), &Visibility::All);
    let sql = format!("EXPLAIN FORMAT = TRADITIONAL {}", statement.sql());
    let rows: Vec<Row> = conn.exec(sql, statement.params()).await.expect("a plan");
    let text = |row: &Row, column: &str| {
        row.get::<Option<String>, _>(column).expect("a column of that name").unwrap_or_default()
    };
    let steps = rows.iter().map(|row| (text(row, "table"), text(row, "type"), text(row, "key")));
    steps.filter(|(table, ..)| ["patient", "study", "series", "instance"].contains(&table.as_str())).collect()
}

#[tokio::test]
async fn each_shape_of_a_query_is_answered_by_an_index() {
    let pacs = TestServer::start().await;
    let mut conn = pacs.database.connect().await;
    rows::fill(&mut conn, STUDIES, |_, _, _| {}).await.expect("rows");
    let row: Option<(String, String, String, String, String)> = conn
        .query_first(
            "SELECT study_instance_uid, series_instance_uid, sop_instance_uid, patient_id, patient_name_sort
               FROM instance JOIN series USING (series_key) JOIN study USING (study_key)
              WHERE study_key = 7",
        )
        .await
        .expect("a study");
    let (study, series, instance, patient, name) = row.expect("a study");
    let begins: String = format!("{name}*");
    let uid = Attribute::StudyInstanceUid;
    let mut wrong = Vec::new();
    for (level, keys, table, indexes) in [
        (Level::Study, vec![(Attribute::PatientId, patient.as_str())], "study", "study_by_patient_id"),
        (Level::Study, vec![(Attribute::PatientName, begins.as_str())], "study", "study_by_name"),
        (Level::Study, vec![(Attribute::PatientName, name.as_str())], "study", "study_by_name"),
        (
            Level::Study,
            vec![(Attribute::AccessionNumber, "A0000016807")],
            "study",
            "study_by_accession_number",
        ),
        (Level::Study, vec![(uid, study.as_str())], "study", "study_by_uid"),
        (Level::Study, vec![(uid, "1.2.3\\1.2.4")], "study", "study_by_uid"),
        (Level::Study, vec![(Attribute::StudyDate, "20140501-20140503")], "study", "study_by_date"),
        (Level::Study, vec![(Attribute::PatientBirthDate, "19500102")], "study", "study_by_birth_date"),
        (
            Level::Study,
            vec![(Attribute::StudyDescription, "nothing like it")],
            "study",
            "study_by_description",
        ),
        (Level::Series, vec![(uid, study.as_str())], "series", "series_of_study_by_uid"),
        (Level::Series, vec![(Attribute::SeriesInstanceUid, series.as_str())], "series", "series_by_uid"),
        (
            Level::Image,
            vec![(uid, study.as_str()), (Attribute::SeriesInstanceUid, series.as_str())],
            "instance",
            "instance_of_series",
        ),
        (Level::Image, vec![(Attribute::SopInstanceUid, instance.as_str())], "instance", "instance_by_uid"),
        (Level::Patient, vec![(Attribute::PatientId, patient.as_str())], "patient", "patient_by_identity"),
        (Level::Patient, vec![(Attribute::PatientName, begins.as_str())], "study", "study_by_name"),
    ] {
        let steps = plan(&mut conn, level, &keys).await;
        // A statement for which the server has read the one row while it planned has no such step.
        let is_read = steps.iter().any(|(of, _, index)| of == table && index.contains(indexes));
        let is_gone = !steps.iter().any(|(of, ..)| of == table);
        let whole = steps.iter().any(|(_, access, _)| access == "ALL");
        if whole || !(is_read || is_gone) {
            wrong.push(format!("{level:?} {keys:?}, not by {indexes}: {steps:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
