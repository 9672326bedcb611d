//! Rows of an archive that never was: N studies, 3 N series and 5 N instances, for measuring what size costs.
//!
//! The rows are made by the server out of numbers and a few small tables of names, a thousand studies a statement, and
//! are the same on every run and every server. Nothing lies on disk behind them. Study and series counts are the sums
//! that the archive would have written itself.

#[path = "rows/words.rs"]
mod words;

use dicom_dictionary_std::uids;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Params, Result, Value, params};

use words::PARTS;

/// Studies, series and instances of one round; every round has the same shape.
const STUDIES: u64 = 1000;
const SERIES: u64 = 3 * STUDIES;
const INSTANCES: u64 = 5 * STUDIES;
/// Patients who are new in a round; a study is of one of them or of an earlier one.
const PATIENTS: u64 = 400;
/// Rounds between two commits.
const ROUNDS_PER_COMMIT: u64 = 20;
/// Devices in the archive.
const DEVICES: usize = 60;
/// Days over which the studies arrive, from 2014 on.
const DAYS: u64 = 4383;

/// Fills the tables of an empty archive with `studies` studies; where that is no multiple of a thousand, there are
/// about, not exactly, three series and five instances of each. `progress` is told the table, its rows, and how many
/// there will be.
///
/// # Errors
///
/// Where the archive holds a study already, and where the server refuses a statement. Rows of an earlier commit stay.
pub async fn fill(conn: &mut Conn, studies: u64, mut progress: impl FnMut(&str, u64, u64)) -> Result<()> {
    let held: Option<u64> = conn.query_first("SELECT study_key FROM study LIMIT 1").await?;
    if held.is_some() {
        return Err(Error::Other("the archive is not empty".into()));
    }
    // The rows are right by construction, so the server need not look each of them up again.
    conn.query_drop("SET SESSION foreign_key_checks = 0, unique_checks = 0").await?;
    make_ingredients(conn).await?;
    equipment(conn).await?;
    let rounds = studies.div_ceil(STUDIES);
    for (table, statement, per_round) in [
        ("patient", patient_rows(), PATIENTS),
        ("study", study_rows(), STUDIES),
        ("series", series_rows(), SERIES),
        ("instance", instance_rows(), INSTANCES),
    ] {
        conn.query_drop("START TRANSACTION").await?;
        for round in 0..rounds {
            let rest = (studies - round * STUDIES).min(STUDIES);
            conn.exec_drop(&statement, parameters(&statement, round, rest, studies)).await?;
            if round % ROUNDS_PER_COMMIT == ROUNDS_PER_COMMIT - 1 || round + 1 == rounds {
                conn.query_drop("COMMIT AND CHAIN").await?;
                progress(table, (round + 1) * per_round, rounds * per_round);
            }
        }
        conn.query_drop("COMMIT").await?;
    }
    for (table, _) in INGREDIENTS {
        conn.query_drop(format!("DROP TEMPORARY TABLE {table}")).await?;
    }
    conn.query_drop("SET SESSION foreign_key_checks = 1, unique_checks = 1").await?;
    // The optimizer's numbers, which the server would only gather some time later.
    conn.query_drop("ANALYZE TABLE patient, study, series, instance").await
}

/// Those of the parameters that the statement names: the server's side of the protocol takes no others.
fn parameters(statement: &str, round: u64, rest: u64, studies: u64) -> Params {
    let every = [("round", round), ("rest", rest), ("studies", studies)];
    let named = every.iter().filter(|(name, _)| statement.contains(&format!(":{name}")));
    Params::from(named.map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect::<Vec<_>>())
}

/// Small tables from which the rows are put together. They go away with the connection.
const INGREDIENTS: [(&str, &str); 8] = [
    ("of_study", "series INT NOT NULL, instances INT NOT NULL"),
    ("of_series", "study INT NOT NULL, position INT NOT NULL, instances INT NOT NULL"),
    ("of_instance", "series INT NOT NULL, position INT NOT NULL"),
    ("family", "name VARCHAR(64) NOT NULL, folded VARCHAR(64) NOT NULL"),
    ("given", "name VARCHAR(64) NOT NULL, folded VARCHAR(64) NOT NULL"),
    ("physician", "name VARCHAR(64) NOT NULL, folded VARCHAR(64) NOT NULL"),
    (
        "exam",
        "label VARCHAR(64) NOT NULL, first VARCHAR(16) NOT NULL, second VARCHAR(16) NOT NULL,
         both_of_them VARCHAR(64) NOT NULL, first_class VARCHAR(64) NOT NULL, second_class VARCHAR(64) NOT NULL,
         both_classes VARCHAR(200) NOT NULL",
    ),
    ("part", "name VARCHAR(64) NOT NULL"),
];

async fn make_ingredients(conn: &mut Conn) -> Result<()> {
    for (table, columns) in INGREDIENTS {
        conn.query_drop(format!(
            "CREATE TEMPORARY TABLE {table} (i INT NOT NULL, {columns}, PRIMARY KEY (i))
                DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin"
        ))
        .await?;
    }
    let round = Round::new();
    put(
        conn,
        "of_study",
        round.studies.iter().map(|&(series, instances)| vec![series.into(), instances.into()]),
    )
    .await?;
    put(
        conn,
        "of_series",
        round
            .series
            .iter()
            .map(|&(study, position, instances)| vec![study.into(), position.into(), instances.into()]),
    )
    .await?;
    put(
        conn,
        "of_instance",
        round.instances.iter().map(|&(series, position)| vec![series.into(), position.into()]),
    )
    .await?;
    let named =
        |name: String| vec![Value::from(folded(&name)), Value::from(name)].into_iter().rev().collect();
    put(conn, "family", families().into_iter().map(named)).await?;
    put(conn, "given", givens().into_iter().map(named)).await?;
    put(conn, "physician", physicians().into_iter().map(named)).await?;
    put(conn, "exam", exams()).await?;
    put(conn, "part", PARTS.iter().map(|&part| vec![part.into()])).await
}

/// Inserts rows that are numbered from 0 on.
async fn put(conn: &mut Conn, table: &str, rows: impl IntoIterator<Item = Vec<Value>>) -> Result<()> {
    let rows: Vec<Vec<Value>> = rows.into_iter().collect();
    for (chunk, rows) in rows.chunks(500).enumerate() {
        let width = rows.first().map_or(0, Vec::len);
        let row = format!("(?{})", ", ?".repeat(width));
        let values = rows.iter().enumerate().flat_map(|(at, row)| {
            std::iter::once(Value::from(chunk * 500 + at)).chain(row.iter().cloned()).collect::<Vec<_>>()
        });
        let values: Vec<Value> = values.collect();
        let sql = format!("INSERT INTO {table} VALUES {}", vec![row.as_str(); rows.len()].join(", "));
        conn.exec_drop(sql, Params::Positional(values)).await?;
    }
    Ok(())
}

async fn equipment(conn: &mut Conn) -> Result<()> {
    for device in 0..DEVICES {
        conn.exec_drop(
            "INSERT INTO equipment (
                 equipment_key, identity, manufacturer, manufacturer_model_name, station_name,
                 institution_name, device_serial_number, received_at)
             VALUES (
                 :device, UNHEX(SHA2(CONCAT('equipment', :device), 256)), :manufacturer,
                 CONCAT('Model ', :device), CONCAT('STATION', :device), 'Practice', CONCAT('SN', :device),
                 '2014-01-01')",
            params! {
                "device" => device + 1,
                "manufacturer" => ["Alpha Medical", "Beta Imaging", "Gamma Systems"][device % 3],
            },
        )
        .await?;
    }
    Ok(())
}

/// What a round is made of: which study has how many series and instances.
struct Round {
    /// Number of series and of instances, by study.
    studies: Vec<(u64, u64)>,
    /// Study, number within it, number of instances, by series.
    series: Vec<(u64, u64, u64)>,
    /// Series and number within it, by instance.
    instances: Vec<(u64, u64)>,
}

impl Round {
    /// A few studies have hundreds of instances and most have a handful.
    fn new() -> Round {
        let mut round = Round { studies: Vec::new(), series: Vec::new(), instances: Vec::new() };
        let spare = INSTANCES - SERIES;
        let weights: u64 = (1..=STUDIES).map(|rank| 1_000_000 / rank).sum();
        let mut left = spare;
        for study in 0..STUDIES {
            // Ranks are spread over the round; 613 and 1000 have no divisor in common.
            let rank = 1 + study * 613 % STUDIES;
            let extra = match study + 1 == STUDIES {
                true => left,
                false => (spare * (1_000_000 / rank) / weights).min(left),
            };
            left -= extra;
            let series = 1 + study % 5;
            for position in 0..series {
                let instances = 1 + if position == 0 { extra } else { 0 };
                let key = round.series.len() as u64;
                round.series.push((study, position, instances));
                round.instances.extend((0..instances).map(|number| (key, number)));
            }
            round.studies.push((series, series + extra));
        }
        assert!(round.series.len() as u64 == SERIES && round.instances.len() as u64 == INSTANCES);
        round
    }
}

/// A number that looks random, below `below`, of `key` and of what it is for.
fn spread(what: &str, key: &str, below: &str) -> String {
    format!("(CRC32(CONCAT('{what}', {key})) MOD {below})")
}

/// A UID that looks random.
fn uid(what: &str, key: &str) -> String {
    let hash = format!("SHA2(CONCAT('{what}', {key}), 256)");
    format!("CONCAT('2.25.', CONV(LEFT({hash}, 15), 16, 10), CONV(SUBSTR({hash}, 16, 15), 16, 10))")
}

/// When study number `key` (from 0) of `:studies` came.
fn received(key: &str) -> String {
    format!("(TIMESTAMP('2014-01-01 06:00:00') + INTERVAL ({key} * {} DIV :studies) SECOND)", DAYS * 86_400)
}

// What is known of patient number `p`. Common names are common: the square of a random number is mostly small.
// Whole numbers all the way: a quotient has four decimals on one server and more on another.
const FAMILY: &str =
    "(CRC32(CONCAT('f', p)) DIV 65536) * (CRC32(CONCAT('f', p)) DIV 65536) * 2000 DIV 4294967296";
const GIVEN: &str = "CRC32(CONCAT('g', p)) MOD 500";
const PATIENT_ID: &str = "CONCAT('P', LPAD(p * 48271 MOD 2147483647, 10, '0'))";
const BIRTH_DATE: &str = "IF(CRC32(CONCAT('b', p)) MOD 97 = 0, NULL, DATE('1930-01-01') + INTERVAL (CRC32(CONCAT('b', p)) MOD 32000) DAY)";
const SEX: &str = "ELT(CRC32(CONCAT('s', p)) MOD 21 DIV 10 + 1, 'F', 'M', '')";

fn patient_rows() -> String {
    format!(
        "INSERT INTO patient (
             patient_key, patient_id, patient_name, patient_birth_date, patient_sex, received_at)
         SELECT STRAIGHT_JOIN
                p + 1, {PATIENT_ID}, CONCAT(family.name, '^', given.name), {BIRTH_DATE}, {SEX}, {received}
           FROM (SELECT :round * {PATIENTS} + i AS p FROM of_study WHERE i < {PATIENTS} ORDER BY i LIMIT {PATIENTS}) AS person
           JOIN family ON family.i = {FAMILY}
           JOIN given ON given.i = {GIVEN}
          ORDER BY p",
        received = received(&format!("(p * {STUDIES} DIV {PATIENTS})")),
    )
}

fn study_rows() -> String {
    let n = "n";
    format!(
        "INSERT INTO study (
             study_key, patient_key, study_instance_uid, patient_id, patient_name, patient_name_folded,
             patient_name_sort, patient_birth_date, patient_sex, study_date, study_time, study_id,
             accession_number, study_description, referring_physician_name, referring_physician_name_folded,
             institution_name, modalities_in_study, sop_classes_in_study, number_of_study_related_series,
             number_of_study_related_instances, size_bytes, received_at, changed_at)
         SELECT STRAIGHT_JOIN
                n + 1, p + 1, {uid}, {PATIENT_ID},
                CONCAT(family.name, '^', given.name),
                CONCAT(family.folded, ' ', given.folded),
                CONCAT(family.folded, ' ', given.folded),
                {BIRTH_DATE}, {SEX},
                CASE
                  WHEN {odd} = 0 THEN NULL
                  WHEN {odd} < 10 THEN DATE('2014-01-01') + INTERVAL {day} DAY
                  ELSE DATE(received)
                END,
                IF({odd} < 2, NULL, SEC_TO_TIME(25200 + {second})),
                CONCAT('S', n + 1),
                IF({blank} = 0, '', CONCAT('A', LPAD((n + 1) * 16807 MOD 2147483647, 10, '0'))),
                IF({blank} = 1, '', CONCAT(exam.label, ' ', part.name)),
                IF({blank} = 2, '', physician.name),
                IF({blank} = 2, '', physician.folded),
                'Practice',
                IF(series > 1, exam.both_of_them, exam.first),
                IF(series > 1, exam.both_classes, exam.first_class),
                series, instances, instances * 526000, received, received + INTERVAL 5 MINUTE
           FROM (SELECT i, series, instances, :round * {STUDIES} + i AS n,
                        CRC32(CONCAT('patient', :round * {STUDIES} + i)) * {PATIENTS} * (:round + 1) DIV 4294967296 AS p,
                        {received} AS received
                   FROM of_study WHERE i < :rest ORDER BY i LIMIT {STUDIES}) AS made
           JOIN family ON family.i = {FAMILY}
           JOIN given ON given.i = {GIVEN}
           JOIN physician ON physician.i = {physician}
           JOIN exam ON exam.i = {exam}
           JOIN part ON part.i = {part}
          ORDER BY n",
        uid = uid("study", n),
        odd = spread("odd", n, "200"),
        day = spread("day", n, &DAYS.to_string()),
        second = spread("second", n, "43200"),
        blank = spread("blank", n, "50"),
        physician = spread("physician", n, "300"),
        exam = spread("exam", n, "100"),
        part = spread("part", n, &PARTS.len().to_string()),
        received = received(&format!("(:round * {STUDIES} + i)")),
    )
}

fn series_rows() -> String {
    format!(
        "INSERT INTO series (
             series_key, study_key, equipment_key, series_instance_uid, modality, series_number,
             series_description, body_part_examined, protocol_name, number_of_series_related_instances,
             size_bytes, received_at, changed_at)
         SELECT STRAIGHT_JOIN
                k + 1, n + 1, {device} + 1, {uid},
                IF(position = 1, exam.second, exam.first),
                position + 1,
                CONCAT(exam.label, ' ', ELT(position + 1, 'axial', 'second', 'coronal', 'sagittal', 'oblique')),
                UPPER(part.name), CONCAT('Routine ', part.name), instances, instances * 526000,
                received, received + INTERVAL 5 MINUTE
           FROM (SELECT position, instances, :round * {SERIES} + i AS k, :round * {STUDIES} + study AS n,
                        {received} AS received
                   FROM of_series WHERE study < :rest ORDER BY i LIMIT {SERIES}) AS made
           JOIN exam ON exam.i = {exam}
           JOIN part ON part.i = {part}
          ORDER BY k",
        device = spread("device", "n", &DEVICES.to_string()),
        uid = uid("series", "k"),
        exam = spread("exam", "n", "100"),
        part = spread("part", "n", &PARTS.len().to_string()),
        received = received(&format!("(:round * {STUDIES} + study)")),
    )
}

fn instance_rows() -> String {
    format!(
        "INSERT INTO instance (
             instance_key, series_key, sop_instance_uid, sop_class_uid, transfer_syntax_uid, instance_number,
             image_type, `rows`, `columns`, number_of_frames, bits_allocated, photometric_interpretation,
             slice_position, path, size_bytes, data_set_offset, data_set_sha256, pixel_data_offset,
             pixel_data_length, source_ae_title, source_address, received_at)
         SELECT STRAIGHT_JOIN
                j + 1, k + 1, {uid}, class, '1.2.840.10008.1.2.1', number, 'ORIGINAL\\\\PRIMARY\\\\AXIAL',
                IF(is_report, NULL, 512), IF(is_report, NULL, 512), IF(is_report, 0, 1),
                IF(is_report, NULL, 16), IF(is_report, '', 'MONOCHROME2'), number * 2.5,
                CONCAT('archive/', DATE_FORMAT(received, '%Y%m%d'), '/', LEFT(SHA2(n, 256), 2), '/', LPAD(HEX(j), 24, '0'), '.dcm'),
                526000, 1000, UNHEX(SHA2(CONCAT('data', j), 256)), IF(is_report, NULL, 1712),
                IF(is_report, NULL, 524288), 'MODALITY', '192.0.2.1', received
           FROM (SELECT STRAIGHT_JOIN
                        :round * {INSTANCES} + of_instance.i AS j, :round * {SERIES} + of_series.i AS k, :round * {STUDIES} + study AS n,
                        of_instance.position + 1 AS number,
                        IF(of_series.position = 1, exam.second_class, exam.first_class) AS class,
                        IF(of_series.position = 1, exam.second IN ('SR', 'KO', 'PR'), FALSE) AS is_report,
                        {received} AS received
                   FROM of_instance
                   JOIN of_series ON of_series.i = of_instance.series
                   JOIN exam ON exam.i = {exam}
                  WHERE study < :rest ORDER BY of_instance.i LIMIT {INSTANCES}) AS made
          ORDER BY j",
        uid = uid("instance", "j"),
        exam = spread("exam", &format!("(:round * {STUDIES} + study)"), "100"),
        received = received(&format!("(:round * {STUDIES} + study)")),
    )
}

/// 2,000 family names, some with umlauts.
fn families() -> Vec<String> {
    const BEGINNINGS: [&str; 20] = [
        "Al",
        "Bau",
        "Ber",
        "Dör",
        "Eng",
        "Fal",
        "Gr\u{fc}n",
        "Hof",
        "J\u{e4}",
        "Kr\u{fc}",
        "Lan",
        "Mül",
        "Neu",
        "Ost",
        "Pfei",
        "Rei",
        "Sch\u{f6}",
        "Stein",
        "Vo",
        "Wei",
    ];
    const MIDDLES: [&str; 10] = ["", "de", "ber", "ge", "len", "mer", "ne", "ri", "sel", "ter"];
    const ENDINGS: [&str; 10] =
        ["bach", "berg", "er", "feld", "hardt", "ke", "mann", "ner", "stra\u{df}er", "wald"];
    every(&BEGINNINGS, &MIDDLES, &ENDINGS)
}

/// 500 given names, some with accents.
fn givens() -> Vec<String> {
    const BEGINNINGS: [&str; 10] = ["An", "Be", "Ca", "Da", "E", "Jo", "Ka", "Ma", "Re", "S\u{f6}"];
    const MIDDLES: [&str; 5] = ["", "la", "ri", "n\u{e9}", "to"];
    const ENDINGS: [&str; 10] = ["a", "as", "e", "el", "ia", "ine", "ke", "na", "ren", "s"];
    every(&BEGINNINGS, &MIDDLES, &ENDINGS)
}

/// One of the referring physicians, as studies name them.
pub fn a_physician() -> String {
    physicians().into_iter().nth(100).unwrap_or_default()
}

/// 300 referring physicians.
fn physicians() -> Vec<String> {
    let families = families().into_iter().step_by(6).zip(givens().into_iter().cycle().step_by(3));
    families.take(300).map(|(family, given)| format!("{family}^{given}^^Dr.")).collect()
}

/// Each beginning with each middle and each ending, in an order in which neighbours differ.
fn every(beginnings: &[&str], middles: &[&str], endings: &[&str]) -> Vec<String> {
    let whole = |(middle, ending): (&str, &str)| {
        beginnings.iter().map(move |beginning| format!("{beginning}{middle}{ending}")).collect::<Vec<_>>()
    };
    let pairs = middles.iter().flat_map(|&middle| endings.iter().map(move |&ending| (middle, ending)));
    pairs.flat_map(whole).collect()
}

/// As the archive folds these names: it knows more letters than there are here.
fn folded(name: &str) -> String {
    let mut folded = String::new();
    for c in name.to_lowercase().chars() {
        match c {
            'ä' => folded.push('a'),
            'ö' => folded.push('o'),
            'ü' => folded.push('u'),
            'é' => folded.push('e'),
            'ß' => folded.push_str("ss"),
            '^' | '.' if !folded.ends_with(' ') => folded.push(' '),
            '^' | '.' => {}
            c => folded.push(c),
        }
    }
    folded.trim_end().to_owned()
}

const CT: &str = uids::CT_IMAGE_STORAGE;
const MR: &str = uids::MR_IMAGE_STORAGE;
const US: &str = uids::ULTRASOUND_IMAGE_STORAGE;
const CR: &str = uids::COMPUTED_RADIOGRAPHY_IMAGE_STORAGE;
const DX: &str = uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION;
const MG: &str = uids::DIGITAL_MAMMOGRAPHY_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION;
const XA: &str = uids::X_RAY_ANGIOGRAPHIC_IMAGE_STORAGE;
const NM: &str = uids::NUCLEAR_MEDICINE_IMAGE_STORAGE;
const PT: &str = uids::POSITRON_EMISSION_TOMOGRAPHY_IMAGE_STORAGE;
const SR: &str = uids::BASIC_TEXT_SR_STORAGE;

/// What a study may be.
struct Exam {
    /// In how many of a hundred studies.
    percent: usize,
    label: &'static str,
    /// Modality and SOP class of its series.
    first: (&'static str, &'static str),
    /// And of its second one.
    second: (&'static str, &'static str),
}

const fn exam(
    percent: usize,
    label: &'static str,
    first: (&'static str, &'static str),
    second: (&'static str, &'static str),
) -> Exam {
    Exam { percent, label, first, second }
}

const EXAMS: [Exam; 16] = [
    exam(14, "CT", ("CT", CT), ("CT", CT)),
    exam(8, "CT with report", ("CT", CT), ("SR", SR)),
    exam(14, "MR", ("MR", MR), ("MR", MR)),
    exam(4, "MR with report", ("MR", MR), ("SR", SR)),
    exam(12, "US", ("US", US), ("US", US)),
    exam(4, "US with report", ("US", US), ("SR", SR)),
    exam(10, "X-ray", ("CR", CR), ("CR", CR)),
    exam(12, "Digital X-ray", ("DX", DX), ("DX", DX)),
    exam(6, "Mammography", ("MG", MG), ("MG", MG)),
    exam(2, "Mammography and ultrasound", ("MG", MG), ("US", US)),
    exam(3, "Angiography", ("XA", XA), ("XA", XA)),
    exam(1, "Angiography and CT", ("XA", XA), ("CT", CT)),
    exam(3, "Scintigraphy", ("NM", NM), ("NM", NM)),
    exam(1, "SPECT", ("NM", NM), ("CT", CT)),
    exam(5, "PET", ("PT", PT), ("CT", CT)),
    exam(1, "Report", ("SR", SR), ("SR", SR)),
];

/// A row for each of a hundred studies.
fn exams() -> Vec<Vec<Value>> {
    let both = |first: &str, second: &str| {
        let mut both = [first, second];
        both.sort_unstable();
        if first == second { first.to_owned() } else { both.join(",") }
    };
    let rows = EXAMS.iter().flat_map(|Exam { percent, label, first, second }| {
        let row: Vec<Value> = vec![
            (*label).into(),
            first.0.into(),
            second.0.into(),
            both(first.0, second.0).into(),
            first.1.into(),
            second.1.into(),
            both(first.1, second.1).into(),
        ];
        vec![row; *percent]
    });
    rows.collect()
}
