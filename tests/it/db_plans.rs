//! How the server means to answer each statement that pages and senders cost: by which index.
//!
//! The statements are not copied here. The server's own log tells which ones the program sent.

use std::collections::BTreeMap;

use filmroom::archive::waypoints::Waypoints;
use filmroom::db::role::Role;
use filmroom::db::study::list;
use filmroom::db::visibility::Visibility;
use filmroom::db::{self, DatabaseUrl};
use filmroom::dicom::query::{Attribute, Direction, Key, Level, Matching, Page, Query, Sort, SortKey};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};

use crate::rows;
use crate::support::TestServer;
use crate::support::database::{administrator, statement};
use crate::support::instance::{Instance, slice};

/// Studies in the archive of this test.
const STUDIES: u64 = 5000;

/// The tables that grow with the archive, and the other names statements give them.
const TABLES: [&str; 11] = [
    "patient",
    "study",
    "series",
    "mine",
    "equipment",
    "instance",
    "shown",
    "frame_index",
    "patient_conflict",
    "referred",
    "theirs",
];

/// What is looked for in the middle of a text no index can tell: the table is passed over once.
const IN_THE_MIDDLE: &str = " LIKE '%";
/// The totals of the system page, which keeps them for a while where the archive is large.
const ADDED_UP: &str = "SUM(number_of_study_related_series)";
/// The whole list is counted so where there are no waypoints, and they end in counting their last stretch.
const COUNTED: &str = "SELECT COUNT(*) FROM ";

/// The index of each order of the study list. It is named in the statements, and must be read as is said there: along
/// the order from its beginning, and as ranges from a waypoint on.
const ORDERS: [&str; 8] = [
    "study_by_date",
    "study_by_name",
    "study_by_birth_date",
    "study_by_modality",
    "study_by_description",
    "study_by_referring_physician",
    "study_by_accession_number",
    "study_by_images",
];

/// The index by which a table is read, in each statement that has these words.
const EXPECTED: &[(&str, &str, &str)] = &[
    // What is found and then sorted.
    ("AS found JOIN study ON study.study_key = found.study_key", "study", "PRIMARY"),
    ("WHERE study.study_date >= ", "study", "study_by_date"),
    ("WHERE study.modalities_in_study IN (SELECT held.modalities", "study", "study_by_modality"),
    ("WHERE study.patient_id IN (", "study", "study_by_patient_id"),
    ("WHERE study.accession_number IN (", "study", "study_by_accession_number"),
    ("WHERE study.study_instance_uid IN (", "study", "study_by_uid"),
    ("SELECT modality FROM series", "series", "series_by_modality"),
    // A study, a patient, a viewer, a picture.
    ("FROM study WHERE study.study_instance_uid = ", "study", "study_by_uid"),
    ("FROM (SELECT study_key FROM study WHERE patient_key = ", "study", "study_by_patient"),
    (
        "SELECT study_key FROM patient_conflict WHERE patient_key = ",
        "patient_conflict",
        "patient_conflict_by_patient",
    ),
    ("FROM (SELECT patient_key, 0 AS later", "patient", "PRIMARY"),
    ("COALESCE(shown.pictures, 0)", "series", "series_of_study_by_uid"),
    ("instance.document_title, instance.verification_flag", "series", "series_of_study_by_uid"),
    ("instance.document_title, instance.verification_flag", "instance", "instance_of_series"),
    ("MIN(series.series_instance_uid) AS series_instance_uid", "series", "series_of_study_by_uid"),
    ("MIN(series.series_instance_uid) AS series_instance_uid", "instance", "instance_of_series"),
    ("FROM instance WHERE series_key = ", "instance", "instance_of_series"),
    ("WHERE instance.sop_instance_uid = ", "instance", "instance_by_uid"),
    ("AND (NULL IS NULL OR study.study_instance_uid = NULL)", "series", "series_by_uid"),
    // Whose studies somebody sees.
    (
        "FROM study AS referred WHERE (referred.referring_physician",
        "referred",
        "study_by_referring_physician_folded",
    ),
    // What storing looks up and changes.
    ("FROM instance WHERE sop_instance_uid IN (", "instance", "instance_by_uid"),
    ("FROM patient WHERE patient_id = ", "patient", "patient_by_identity"),
    ("FROM series WHERE study_key = ", "series", "series_of_study_by_uid"),
    ("UPDATE series JOIN study ON study.study_key = series.study_key", "series", "PRIMARY"),
    ("UPDATE series JOIN study ON study.study_key = series.study_key", "study", "PRIMARY"),
    ("UPDATE study SET number_of_study_related_series = ", "study", "PRIMARY"),
];

/// A table of a statement, as EXPLAIN tells of it.
#[derive(Debug)]
struct Step {
    table: String,
    access: String,
    index: Option<String>,
}

/// The statements that the connections to one database have sent.
struct Sent {
    administrator: DatabaseUrl,
    conn: Conn,
}

impl Sent {
    async fn record() -> Sent {
        let administrator = administrator().await;
        for set in ["SET GLOBAL log_output = 'TABLE'", "SET GLOBAL general_log = 1"] {
            statement(&administrator, set).await;
        }
        let conn = db::open(&administrator).await.expect("a connection");
        Sent { administrator, conn }
    }

    /// One of each kind that was sent by the connections to this database which are still open.
    async fn to(mut self, database: &str) -> Vec<String> {
        statement(&self.administrator, "SET GLOBAL general_log = 0").await;
        let sent: Vec<Vec<u8>> = self
            .conn
            .exec(
                "SELECT DISTINCT CAST(argument AS BINARY)
                   FROM mysql.general_log
                  WHERE command_type IN ('Execute', 'Query')
                    AND thread_id IN (SELECT id FROM information_schema.processlist WHERE db = ?)",
                (database,),
            )
            .await
            .expect("a log");
        statement(&self.administrator, "TRUNCATE TABLE mysql.general_log").await;
        let sent = sent.iter().map(|sent| String::from_utf8_lossy(sent));
        let plain = sent.map(|sent| sent.split_whitespace().collect::<Vec<_>>().join(" "));
        // A statement of a thread that looks for work now and then may be executed while the log is switched, and stands
        // there without its values.
        let is_explained = |sent: &String| {
            (sent.starts_with("SELECT") || sent.starts_with("UPDATE")) && !sent.ends_with("LIMIT ?")
        };
        plain
            .filter(is_explained)
            .map(|sent| (kind(&sent), sent))
            .collect::<BTreeMap<_, _>>()
            .into_values()
            .collect()
    }
}

/// The statement without the values in it.
fn kind(sent: &str) -> String {
    let without_texts: String = sent.split('\'').step_by(2).collect();
    without_texts.chars().filter(|c| !c.is_ascii_digit()).collect()
}

async fn explained(conn: &mut Conn, sent: &str) -> Vec<Step> {
    let rows: Vec<Row> = conn
        .query(format!("EXPLAIN FORMAT = TRADITIONAL {sent}"))
        .await
        .unwrap_or_else(|err| panic!("{sent}: {err}"));
    let text = |row: &Row, column: &str| row.get::<Option<String>, _>(column).expect("a column of that name");
    rows.iter()
        .map(|row| Step {
            table: text(row, "table").unwrap_or_default(),
            access: text(row, "type").unwrap_or_default(),
            index: text(row, "key"),
        })
        .collect()
}

/// Opens every page and asks for all that can be asked for.
async fn look_around(pacs: &TestServer, (study, series, instance): &(String, String, String)) {
    let orders = ["date", "patient", "born", "modality", "description", "referring", "accession", "images"]
        .iter()
        .flat_map(|by| ["asc", "desc"].map(|order| format!("/studies?sort={by}&order={order}")));
    let pages = [
        "/studies?q=bach+anna".to_owned(),
        "/studies?modality=CT".to_owned(),
        "/studies?modality=CT&modality=MR&from=2014-05-01&to=2014-05-03".to_owned(),
        "/studies?id=P&accession=A1&description=knee&referring=x&institution=p".to_owned(),
        "/studies?from=2014-05-01&to=2014-05-03".to_owned(),
        "/patients/7".to_owned(),
        "/admin/system".to_owned(),
        format!("/studies/{study}"),
        format!("/studies/{study}/viewer?series={series}"),
        format!("/studies/{study}/thumbnail.png"),
        format!("/series/{series}/thumbnail.png?study={study}"),
        format!("/series/{series}/thumbnail.png"),
        // There are rows and no files; what is asked of the database is the same.
        format!("/instances/{instance}"),
        format!("/instances/{instance}/frames/1.png"),
    ];
    // As an administrator, and as a physician who sees own studies.
    let referrer = pacs.referring("referrer", Role::Referrer, &rows::a_physician()).await;
    for page in orders.chain(pages) {
        pacs.get(&page).await;
        referrer.get(&page).await;
    }
}

/// Reads deep pages by waypoints, and finds what a peer would ask for.
async fn look_closer(conn: &mut Conn) {
    let waypoints = Waypoints::default();
    let query = |keys, by, number| {
        let page = Page { number, size: 25, as_of: Some(STUDIES - 10) };
        Query {
            level: Level::Study,
            words: Vec::new(),
            keys,
            sort: Sort { by, direction: Direction::Ascending },
            page,
        }
    };
    for by in SortKey::ALL {
        waypoints.survey(conn, by).await.expect("a survey");
        let total = waypoints.total(conn, STUDIES - 10).await.expect("a total").expect("a chain");
        waypoints.page(conn, &query(Vec::new(), by, 150), total).await.expect("a page").expect("a waypoint");
    }
    let value = |text: &str| Matching::SingleValue(text.to_owned());
    for (attribute, matching) in [
        (Attribute::PatientId, value("P0000048271")),
        (Attribute::AccessionNumber, value("A0000016807")),
        (Attribute::StudyInstanceUid, Matching::ListOfUid(vec!["1.2.3".to_owned(), "1.2.4".to_owned()])),
    ] {
        let query = query(vec![Key { attribute, matching }], SortKey::StudyDate, 1);
        list::matching_keys(conn, &query, &Visibility::All, 100).await.expect("numbers");
    }
}

#[tokio::test]
async fn every_statement_that_the_archive_costs_names_its_index() {
    let pacs = TestServer::start().await;
    let mut conn = pacs.database.connect().await;
    rows::fill(&mut conn, STUDIES, |_, _, _| {}).await.expect("rows");
    let uids: Option<(String, String, String)> = conn
        .query_first(
            "SELECT study_instance_uid, series_instance_uid, sop_instance_uid
               FROM instance JOIN series USING (series_key) JOIN study USING (study_key)
              WHERE study_key = 7",
        )
        .await
        .expect("a study");

    let sent = Sent::record().await;
    look_around(&pacs, &uids.expect("a study")).await;
    look_closer(&mut conn).await;
    // A study, more of its series, another series, another study, and one that is held already.
    let stored: Vec<Instance> = [(1, 1, 1), (1, 1, 2), (1, 2, 3), (2, 1, 1), (1, 1, 1)]
        .map(|(study, series, number)| slice(1, study, series, number).build())
        .into();
    assert!(pacs.store_all(&stored).await.iter().all(|answer| answer.is_success()));
    let sent = sent.to(&pacs.database.name).await;

    let orders = ORDERS.map(|index| {
        let from_the_beginning = format!("FROM study FORCE INDEX ({index}) WHERE study.study_key + 0 <= ");
        let from_a_waypoint =
            format!("FROM study FORCE INDEX ({index}) WHERE study.study_key <= 4990 AND ((");
        [(from_the_beginning, "study", index, "index"), (from_a_waypoint, "study", index, "range")]
    });
    let others = EXPECTED.iter().map(|&(words, table, index)| (words.to_owned(), table, index, ""));
    let expected: Vec<_> = orders.into_iter().flatten().chain(others).collect();

    let mut wrong = Vec::new();
    let mut seen = vec![false; expected.len()];
    for sent in sent {
        let steps = explained(&mut conn, &sent).await;
        for ((words, table, index, access), seen) in expected.iter().zip(&mut seen) {
            let of_table: Vec<&Step> = steps.iter().filter(|step| step.table == *table).collect();
            // A statement for which the server has read the rows while it planned has no such step.
            if !sent.contains(words) || of_table.is_empty() {
                continue;
            }
            *seen = true;
            let is_as_expected =
                |step: &&Step| step.index.as_deref() == Some(index) && step.access.starts_with(access);
            if !of_table.iter().any(is_as_expected) {
                wrong.push(format!("not {access} of {index}: {of_table:?}\n  {words} in {sent}"));
            }
        }
        for step in steps.iter().filter(|step| TABLES.contains(&step.table.as_str())) {
            let whole = [IN_THE_MIDDLE, ADDED_UP].iter().any(|words| sent.contains(words));
            let whole_index = sent.contains(" LIMIT ") || sent.starts_with(COUNTED);
            match step.access.as_str() {
                "ALL" if !whole => wrong.push(format!("reads the whole table: {step:?}\n  {sent}")),
                "index" if !whole && !whole_index => {
                    wrong.push(format!("reads the whole index: {step:?}\n  {sent}"));
                }
                _ => {}
            }
        }
    }
    let unseen = expected.iter().zip(seen).filter(|(_, seen)| !seen);
    wrong.extend(unseen.map(|((words, ..), _)| format!("never sent: {words}")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
