//! Table `study`, reading: what a study is to a list, and what is asked of one study. The lists are in [`list`], what
//! makes any page of the longest one cheap in [`waypoint`].

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, FromRowError, Result, Row, Value};

use super::row::{column, parsed};
use super::visibility::Visibility;
use crate::dicom::uid::StudyInstanceUid;

/// A study as a list shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Study {
    /// Our own number.
    pub study_key: u64,
    /// The patient it is filed under.
    pub patient_key: u64,
    /// (0020,000D)
    pub study_instance_uid: StudyInstanceUid,
    /// (0010,0020), as this study says
    pub patient_id: String,
    /// (0010,0021), as this study says
    pub issuer_of_patient_id: String,
    /// (0010,0010), as this study says
    pub patient_name: String,
    /// (0010,0030), as this study says
    pub patient_birth_date: Option<NaiveDate>,
    /// (0010,0040), as this study says
    pub patient_sex: String,
    /// (0010,1010)
    pub patient_age: String,
    /// (0008,0020)
    pub study_date: Option<NaiveDate>,
    /// (0008,0030)
    pub study_time: Option<NaiveTime>,
    /// (0020,0010)
    pub study_id: String,
    /// (0008,0050)
    pub accession_number: String,
    /// (0008,1030)
    pub study_description: String,
    /// (0008,0090)
    pub referring_physician_name: String,
    /// (0008,0080)
    pub institution_name: String,
    /// (0008,0061), commas between
    pub modalities_in_study: String,
    /// (0020,1206)
    pub number_of_study_related_series: u32,
    /// (0020,1208)
    pub number_of_study_related_instances: u32,
    /// of all its files, bytes
    pub size_bytes: u64,
    /// Name, birth date or sex are not those of the patient row.
    pub demographics_differ: bool,
    /// UTC, of the last instance
    pub changed_at: NaiveDateTime,
}

/// The columns of [`Study`].
macro_rules! columns {
    () => {
        "study.study_key,
         study.patient_key,
         study.study_instance_uid,
         study.patient_id,
         study.issuer_of_patient_id,
         study.patient_name,
         study.patient_birth_date,
         study.patient_sex,
         study.patient_age,
         study.study_date,
         study.study_time,
         study.study_id,
         study.accession_number,
         study.study_description,
         study.referring_physician_name,
         study.institution_name,
         study.modalities_in_study,
         study.number_of_study_related_series,
         study.number_of_study_related_instances,
         study.size_bytes,
         study.demographics_differ,
         study.changed_at"
    };
}

pub mod list;
pub mod waypoint;

impl FromRow for Study {
    fn from_row_opt(row: Row) -> std::result::Result<Study, FromRowError> {
        Ok(Study {
            study_key: column(&row, "study_key")?,
            patient_key: column(&row, "patient_key")?,
            study_instance_uid: parsed(&row, "study_instance_uid")?,
            patient_id: column(&row, "patient_id")?,
            issuer_of_patient_id: column(&row, "issuer_of_patient_id")?,
            patient_name: column(&row, "patient_name")?,
            patient_birth_date: column(&row, "patient_birth_date")?,
            patient_sex: column(&row, "patient_sex")?,
            patient_age: column(&row, "patient_age")?,
            study_date: column(&row, "study_date")?,
            study_time: column(&row, "study_time")?,
            study_id: column(&row, "study_id")?,
            accession_number: column(&row, "accession_number")?,
            study_description: column(&row, "study_description")?,
            referring_physician_name: column(&row, "referring_physician_name")?,
            institution_name: column(&row, "institution_name")?,
            modalities_in_study: column(&row, "modalities_in_study")?,
            number_of_study_related_series: column(&row, "number_of_study_related_series")?,
            number_of_study_related_instances: column(&row, "number_of_study_related_instances")?,
            size_bytes: column(&row, "size_bytes")?,
            demographics_differ: column(&row, "demographics_differ")?,
            changed_at: column(&row, "changed_at")?,
        })
    }
}

/// The study with this UID, if we hold it and it is visible.
pub async fn by_uid(
    conn: &mut Conn,
    uid: &StudyInstanceUid,
    visibility: &Visibility,
) -> Result<Option<Study>> {
    let visible = visibility.of_one();
    let sql = format!(
        concat!("SELECT ", columns!(), " FROM study WHERE study.study_instance_uid = ? AND {}"),
        visible.sql
    );
    conn.exec_first(sql, bound([uid.as_str().into()], visible.params)).await
}

/// Those of these studies that we hold and that are visible, in no order.
pub async fn by_uids(conn: &mut Conn, uids: &[String], visibility: &Visibility) -> Result<Vec<Study>> {
    if uids.is_empty() {
        return Ok(Vec::new());
    }
    let visible = visibility.of_one();
    let sql = format!(
        concat!("SELECT ", columns!(), " FROM study WHERE study.study_instance_uid IN ({}) AND {}"),
        vec!["?"; uids.len()].join(", "),
        visible.sql
    );
    conn.exec(sql, bound(uids.iter().map(Value::from), visible.params)).await
}

/// The visible studies filed under this patient and those that came under it too, latest first, at most `limit`.
pub async fn of_patient(
    conn: &mut Conn,
    patient_key: u64,
    visibility: &Visibility,
    limit: u64,
) -> Result<Vec<Study>> {
    let visible = visibility.of_one();
    let sql = format!(
        concat!(
            "SELECT ",
            columns!(),
            " FROM (SELECT study_key FROM study WHERE patient_key = ?
                     UNION
                    SELECT study_key FROM patient_conflict WHERE patient_key = ?) AS named
              JOIN study ON study.study_key = named.study_key
             WHERE {}
             ORDER BY study.study_date DESC, study.study_time DESC, study.study_key DESC
             LIMIT ?"
        ),
        visible.sql
    );
    let mut params = bound([patient_key.into(), patient_key.into()], visible.params);
    params.push(limit.into());
    conn.exec(sql, params).await
}

/// The modalities of the visible studies, for the study list's chips.
pub async fn modalities(conn: &mut Conn, visibility: &Visibility) -> Result<Vec<String>> {
    let visible = visibility.of_many();
    let sql = format!("SELECT DISTINCT study.modalities_in_study FROM study WHERE {}", visible.sql);
    let sets: Vec<String> = conn.exec(sql, visible.params).await?;
    let all = sets.iter().flat_map(|set| set.split(',')).filter(|modality| !modality.is_empty());
    let mut modalities: Vec<String> = all.map(str::to_owned).collect();
    modalities.sort();
    modalities.dedup();
    modalities.truncate(40);
    Ok(modalities)
}

/// Of these studies, those that are visible.
pub async fn visible_among(conn: &mut Conn, uids: &[String], visibility: &Visibility) -> Result<Vec<String>> {
    if uids.is_empty() {
        return Ok(Vec::new());
    }
    let visible = visibility.of_one();
    let sql = format!(
        "SELECT study.study_instance_uid FROM study WHERE study.study_instance_uid IN ({}) AND {}",
        vec!["?"; uids.len()].join(", "),
        visible.sql
    );
    conn.exec(sql, bound(uids.iter().map(Value::from), visible.params)).await
}

/// The values of a statement, its own before those of the condition that follows.
pub(super) fn bound(own: impl IntoIterator<Item = Value>, visible: Vec<Value>) -> Vec<Value> {
    own.into_iter().chain(visible).collect()
}

/// How many patients, studies, series and instances there are, and the bytes of all files.
pub async fn totals(conn: &mut Conn) -> Result<Totals> {
    let row: Option<(u64, u64, u64, u64, u64)> = conn
        .query_first(
            "SELECT (SELECT COUNT(*) FROM patient),
                    COUNT(*),
                    CAST(COALESCE(SUM(number_of_study_related_series), 0) AS UNSIGNED),
                    CAST(COALESCE(SUM(number_of_study_related_instances), 0) AS UNSIGNED),
                    CAST(COALESCE(SUM(size_bytes), 0) AS UNSIGNED)
               FROM study",
        )
        .await?;
    let (patients, studies, series, instances, size_bytes) = row.unwrap_or_default();
    Ok(Totals { patients, studies, series, instances, size_bytes })
}

/// What the archive holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Patients.
    pub patients: u64,
    /// Studies.
    pub studies: u64,
    /// Series.
    pub series: u64,
    /// Instances.
    pub instances: u64,
    /// Of all files, bytes.
    pub size_bytes: u64,
}
