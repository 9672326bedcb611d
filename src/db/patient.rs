//! Tables `patient` and `patient_conflict`, reading.

use chrono::NaiveDate;
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, FromRowError, Result, Row, params};

use super::row::column;
use super::study::bound;
use super::visibility::Visibility;

/// A patient, as the first instance told of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patient {
    /// Our own number.
    pub patient_key: u64,
    /// (0010,0020)
    pub patient_id: String,
    /// (0010,0021)
    pub issuer_of_patient_id: String,
    /// (0010,0010)
    pub patient_name: String,
    /// (0010,0030)
    pub patient_birth_date: Option<NaiveDate>,
    /// (0010,0040)
    pub patient_sex: String,
}

impl FromRow for Patient {
    fn from_row_opt(row: Row) -> std::result::Result<Patient, FromRowError> {
        Ok(Patient {
            patient_key: column(&row, "patient_key")?,
            patient_id: column(&row, "patient_id")?,
            issuer_of_patient_id: column(&row, "issuer_of_patient_id")?,
            patient_name: column(&row, "patient_name")?,
            patient_birth_date: column(&row, "patient_birth_date")?,
            patient_sex: column(&row, "patient_sex")?,
        })
    }
}

/// The patient with this number, if a study that is filed under them or came under them is visible.
pub async fn by_key(conn: &mut Conn, patient_key: u64, visibility: &Visibility) -> Result<Option<Patient>> {
    let visible = visibility.of_one();
    let sql = format!(
        "SELECT patient_key, patient_id, issuer_of_patient_id, patient_name, patient_birth_date, patient_sex
           FROM patient
          WHERE patient_key = ?
            AND {}",
        match visibility {
            Visibility::All => visible.sql,
            Visibility::Study { .. } | Visibility::OneOf { .. } | Visibility::Own { .. } => format!(
                "EXISTS (SELECT 1
                           FROM (SELECT study_key FROM study WHERE patient_key = ?
                                  UNION
                                 SELECT study_key FROM patient_conflict WHERE patient_key = ?) AS named
                           JOIN study ON study.study_key = named.study_key
                          WHERE {})",
                visible.sql
            ),
        }
    );
    let times = if *visibility == Visibility::All { 1 } else { 3 };
    conn.exec_first(sql, bound(vec![patient_key.into(); times], visible.params)).await
}

/// The patient a study is filed under, then every other one it came under, in the order they came.
pub async fn of_study(conn: &mut Conn, study_key: u64) -> Result<Vec<Patient>> {
    conn.exec(
        "SELECT patient.patient_key,
                patient.patient_id,
                patient.issuer_of_patient_id,
                patient.patient_name,
                patient.patient_birth_date,
                patient.patient_sex
           FROM (SELECT patient_key, 0 AS later, received_at
                   FROM study
                  WHERE study_key = :study_key
                  UNION ALL
                 SELECT patient_key, 1 AS later, received_at
                   FROM patient_conflict
                  WHERE study_key = :study_key) AS named
           JOIN patient ON patient.patient_key = named.patient_key
          ORDER BY named.later, named.received_at, patient.patient_key
          LIMIT 20",
        params! { "study_key" => study_key },
    )
    .await
}
