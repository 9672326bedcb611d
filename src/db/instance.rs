//! Table `instance`, reading: what of a study is read rather than looked at, and what is verified.

use chrono::{NaiveDate, NaiveTime};
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, FromRowError, Result, Row, params};

use super::row::{column, parsed};
use crate::dicom::uid::{SopClassUid, SopInstanceUid, TransferSyntaxUid};

/// An instance of a study that is read rather than looked at: without frames, or a video.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// (0008,0018)
    pub sop_instance_uid: SopInstanceUid,
    /// (0008,0016)
    pub sop_class_uid: SopClassUid,
    /// (0002,0010)
    pub transfer_syntax_uid: TransferSyntaxUid,
    /// (0008,0023)
    pub content_date: Option<NaiveDate>,
    /// (0008,0033)
    pub content_time: Option<NaiveTime>,
    /// (0028,0008)
    pub number_of_frames: u32,
    /// (0042,0010), or the meaning of the concept name, or the content label
    pub document_title: String,
    /// (0040,A493)
    pub verification_flag: String,
    /// of the file, bytes
    pub size_bytes: u64,
    /// (0008,0060) of its series
    pub modality: String,
    /// (0020,0011) of its series
    pub series_number: Option<i32>,
    /// (0008,103E) of its series
    pub series_description: String,
}

impl FromRow for Document {
    fn from_row_opt(row: Row) -> std::result::Result<Document, FromRowError> {
        Ok(Document {
            sop_instance_uid: parsed(&row, "sop_instance_uid")?,
            sop_class_uid: parsed(&row, "sop_class_uid")?,
            transfer_syntax_uid: parsed(&row, "transfer_syntax_uid")?,
            content_date: column(&row, "content_date")?,
            content_time: column(&row, "content_time")?,
            number_of_frames: column(&row, "number_of_frames")?,
            document_title: column(&row, "document_title")?,
            verification_flag: column(&row, "verification_flag")?,
            size_bytes: column(&row, "size_bytes")?,
            modality: column(&row, "modality")?,
            series_number: column(&row, "series_number")?,
            series_description: column(&row, "series_description")?,
        })
    }
}

/// The documents and videos of a study, in the order of their series, at most `limit`.
pub async fn documents(conn: &mut Conn, study_key: u64, limit: u64) -> Result<Vec<Document>> {
    conn.exec(
        "SELECT instance.sop_instance_uid,
                instance.sop_class_uid,
                instance.transfer_syntax_uid,
                instance.content_date,
                instance.content_time,
                instance.number_of_frames,
                instance.document_title,
                instance.verification_flag,
                instance.size_bytes,
                series.modality,
                series.series_number,
                series.series_description
           FROM instance
           JOIN series ON series.series_key = instance.series_key
          WHERE series.study_key = :study_key
            AND (instance.number_of_frames = 0
                 OR instance.transfer_syntax_uid LIKE '1.2.840.10008.1.2.4.10_%')
          ORDER BY series.series_number IS NULL,
                   series.series_number,
                   series.series_key,
                   instance.instance_number,
                   instance.instance_key
          LIMIT :limit",
        params! { "study_key" => study_key, "limit" => limit },
    )
    .await
}

/// An instance as its file has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// (0008,0018)
    pub sop_instance_uid: SopInstanceUid,
    /// (0008,0016)
    pub sop_class_uid: SopClassUid,
    /// Of the file, below the data folder.
    pub path: String,
    /// Of the file, bytes.
    pub size_bytes: u64,
    /// Where the data set begins in the file.
    pub data_set_offset: u32,
    /// Of the data set as received.
    pub data_set_sha256: Vec<u8>,
}

impl FromRow for Kept {
    fn from_row_opt(row: Row) -> std::result::Result<Kept, FromRowError> {
        Ok(Kept {
            sop_instance_uid: parsed(&row, "sop_instance_uid")?,
            sop_class_uid: parsed(&row, "sop_class_uid")?,
            path: column(&row, "path")?,
            size_bytes: column(&row, "size_bytes")?,
            data_set_offset: column(&row, "data_set_offset")?,
            data_set_sha256: column(&row, "data_set_sha256")?,
        })
    }
}

/// Those of these instances that are there, in no order. Not for lists of more than a few hundred.
pub async fn kept(conn: &mut Conn, sop_instance_uids: &[&str]) -> Result<Vec<Kept>> {
    if sop_instance_uids.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT sop_instance_uid, sop_class_uid, path, size_bytes, data_set_offset, data_set_sha256
           FROM instance
          WHERE sop_instance_uid IN ({})",
        vec!["?"; sop_instance_uids.len()].join(", ")
    );
    conn.exec(sql, sop_instance_uids.iter().map(mysql_async::Value::from).collect::<Vec<_>>()).await
}
