//! Table `quarantine`, reading: other content that arrived under a SOP Instance UID the archive already holds.

use chrono::NaiveDateTime;
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, FromRowError, Result, Row, params};

use super::row::{column, parsed};
use super::study::bound;
use super::visibility::Visibility;
use crate::dicom::uid::{SopClassUid, SopInstanceUid, StudyInstanceUid, TransferSyntaxUid};

/// An instance in quarantine, beside the one the archive keeps under the same SOP Instance UID.
#[derive(Debug, Clone, PartialEq)]
pub struct Quarantined {
    /// Our own number.
    pub quarantine_key: u64,
    /// (0008,0018), of both
    pub sop_instance_uid: SopInstanceUid,
    /// The one that came second.
    pub second: Version,
    /// The one the archive keeps.
    pub first: Version,
    /// (0020,000D) of the study that holds the first
    pub study_instance_uid: StudyInstanceUid,
}

/// One of the two instances.
#[derive(Debug, Clone, PartialEq)]
pub struct Version {
    /// (0008,0016)
    pub sop_class_uid: SopClassUid,
    /// (0002,0010)
    pub transfer_syntax_uid: TransferSyntaxUid,
    /// (0010,0020)
    pub patient_id: String,
    /// (0010,0010)
    pub patient_name: String,
    /// (0028,0008); 0 where there are no pixels
    pub number_of_frames: u32,
    /// of the file, below the data folder
    pub path: String,
    /// of the file, bytes
    pub size_bytes: u64,
    /// where the data set begins in the file, bytes
    pub data_set_offset: u32,
    /// calling AE title
    pub source_ae_title: String,
    /// its IP address
    pub source_address: String,
    /// UTC
    pub received_at: NaiveDateTime,
}

impl Version {
    fn from_row(row: &Row, prefix: &str) -> std::result::Result<Version, FromRowError> {
        let name = |column: &str| format!("{prefix}_{column}");
        Ok(Version {
            sop_class_uid: parsed(row, &name("sop_class_uid"))?,
            transfer_syntax_uid: parsed(row, &name("transfer_syntax_uid"))?,
            patient_id: column(row, &name("patient_id"))?,
            patient_name: column(row, &name("patient_name"))?,
            number_of_frames: column(row, &name("number_of_frames"))?,
            path: column(row, &name("path"))?,
            size_bytes: column(row, &name("size_bytes"))?,
            data_set_offset: column(row, &name("data_set_offset"))?,
            source_ae_title: column(row, &name("source_ae_title"))?,
            source_address: column(row, &name("source_address"))?,
            received_at: column(row, &name("received_at"))?,
        })
    }
}

impl FromRow for Quarantined {
    fn from_row_opt(row: Row) -> std::result::Result<Quarantined, FromRowError> {
        Ok(Quarantined {
            quarantine_key: column(&row, "quarantine_key")?,
            sop_instance_uid: parsed(&row, "sop_instance_uid")?,
            second: Version::from_row(&row, "second")?,
            first: Version::from_row(&row, "first")?,
            study_instance_uid: parsed(&row, "study_instance_uid")?,
        })
    }
}

/// The columns of [`Quarantined`] and where they come from.
macro_rules! select {
    () => {
        "SELECT quarantine.quarantine_key,
                quarantine.sop_instance_uid,
                quarantine.sop_class_uid       AS second_sop_class_uid,
                quarantine.transfer_syntax_uid AS second_transfer_syntax_uid,
                quarantine.patient_id          AS second_patient_id,
                quarantine.patient_name        AS second_patient_name,
                quarantine.number_of_frames    AS second_number_of_frames,
                quarantine.path                AS second_path,
                quarantine.size_bytes          AS second_size_bytes,
                quarantine.data_set_offset     AS second_data_set_offset,
                quarantine.source_ae_title     AS second_source_ae_title,
                quarantine.source_address      AS second_source_address,
                quarantine.received_at         AS second_received_at,
                instance.sop_class_uid         AS first_sop_class_uid,
                instance.transfer_syntax_uid   AS first_transfer_syntax_uid,
                study.patient_id               AS first_patient_id,
                study.patient_name             AS first_patient_name,
                instance.number_of_frames      AS first_number_of_frames,
                instance.path                  AS first_path,
                instance.size_bytes            AS first_size_bytes,
                instance.data_set_offset       AS first_data_set_offset,
                instance.source_ae_title       AS first_source_ae_title,
                instance.source_address        AS first_source_address,
                instance.received_at           AS first_received_at,
                study.study_instance_uid
           FROM quarantine
           JOIN instance ON instance.sop_instance_uid = quarantine.sop_instance_uid
           JOIN series ON series.series_key = instance.series_key
           JOIN study ON study.study_key = series.study_key
         "
    };
}

/// What is in quarantine for visible studies, the last to arrive first, at most `limit`.
pub async fn list(conn: &mut Conn, visibility: &Visibility, limit: u64) -> Result<Vec<Quarantined>> {
    let visible = visibility.of_many();
    let sql = format!(
        concat!(
            select!(),
            "WHERE {} ORDER BY quarantine.received_at DESC, quarantine.quarantine_key DESC LIMIT ?"
        ),
        visible.sql
    );
    conn.exec(sql, bound(visible.params, vec![limit.into()])).await
}

/// The instance in quarantine with this number, if the study that holds the first one is visible.
pub async fn by_key(
    conn: &mut Conn,
    quarantine_key: u64,
    visibility: &Visibility,
) -> Result<Option<Quarantined>> {
    let visible = visibility.of_one();
    let sql = format!(concat!(select!(), "WHERE quarantine.quarantine_key = ? AND {}"), visible.sql);
    conn.exec_first(sql, bound([quarantine_key.into()], visible.params)).await
}

/// The numbers of what is in quarantine for instances of this study, the last to arrive first, at most `limit`.
pub async fn of_study(conn: &mut Conn, study_key: u64, limit: u64) -> Result<Vec<u64>> {
    conn.exec(
        "SELECT quarantine.quarantine_key
           FROM quarantine
           JOIN instance ON instance.sop_instance_uid = quarantine.sop_instance_uid
           JOIN series ON series.series_key = instance.series_key
          WHERE series.study_key = :study_key
          ORDER BY quarantine.received_at DESC, quarantine.quarantine_key DESC
          LIMIT :limit",
        params! { "study_key" => study_key, "limit" => limit },
    )
    .await
}

/// How many instances are in quarantine.
pub async fn count(conn: &mut Conn) -> Result<u64> {
    let count: Option<u64> = conn.query_first("SELECT COUNT(*) FROM quarantine").await?;
    Ok(count.unwrap_or(0))
}

/// Takes an instance out of quarantine and tells where its file is, which is to be removed once this is committed.
/// `None` if it was not there.
pub async fn remove(conn: &mut impl Queryable, quarantine_key: u64) -> Result<Option<String>> {
    let path: Option<String> = conn
        .exec_first(
            "SELECT path FROM quarantine WHERE quarantine_key = :quarantine_key FOR UPDATE",
            params! { "quarantine_key" => quarantine_key },
        )
        .await?;
    if path.is_some() {
        conn.exec_drop(
            "DELETE FROM quarantine WHERE quarantine_key = :quarantine_key",
            params! { "quarantine_key" => quarantine_key },
        )
        .await?;
    }
    Ok(path)
}
