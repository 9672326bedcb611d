//! What reading pictures and showing a viewer needs of the index: where an instance's bytes are, the series of a
//! study with what they hold, and the order of the instances within one.
//!
//! Read only. The order within a series is the same everywhere: Instance Number, then the position along the
//! normal of the slices, then the UID, so that a number in an address always means the same picture.

mod named;

pub use self::named::{ExtentRow, extents_of, instances_of};
use super::matching;
use super::study::bound;
use super::visibility::Visibility;
use chrono::{NaiveDate, NaiveTime};
use mysql_async::params;
use mysql_async::prelude::{FromRow, Queryable};

use crate::dicom::query::{Level, Query};
use crate::dicom::uid::{SeriesInstanceUid, SopInstanceUid, StudyInstanceUid};

/// An instance or a quarantined file: where its bytes are and what identifies them.
#[derive(Debug, Clone, FromRow)]
pub struct StoredRow {
    /// Key of the `instance` row, or of the `quarantine` row.
    pub holding_key: u64,
    /// (0020,000D)
    pub study_instance_uid: String,
    /// (0020,000E)
    pub series_instance_uid: String,
    /// (0008,0018)
    pub sop_instance_uid: String,
    /// (0008,0016)
    pub sop_class_uid: String,
    /// (0002,0010)
    pub transfer_syntax_uid: String,
    /// (0028,0008), 0 where there are no pixels.
    pub number_of_frames: u32,
    /// Of the file, below the data folder.
    pub path: String,
    /// Of the file.
    pub size_bytes: u64,
    /// Where the data set begins in the file.
    pub data_set_offset: u32,
    /// SHA-256 of the data set as received.
    pub data_set_sha256: Vec<u8>,
    /// Where the value of Pixel Data begins in the file, if the row knows.
    pub pixel_data_offset: Option<u64>,
    /// Length of that value; none where it is encapsulated or unknown.
    pub pixel_data_length: Option<u64>,
}

/// The columns of a [`StoredRow`] of an instance.
const STORED: &str = "instance.instance_key AS holding_key,
                study.study_instance_uid,
                series.series_instance_uid,
                instance.sop_instance_uid,
                instance.sop_class_uid,
                instance.transfer_syntax_uid,
                instance.number_of_frames,
                instance.path,
                instance.size_bytes,
                instance.data_set_offset,
                instance.data_set_sha256,
                instance.pixel_data_offset,
                instance.pixel_data_length";

/// The patient and study lines of the viewer.
#[derive(Debug, Clone, FromRow)]
pub struct StudyRow {
    /// Key of the `study` row.
    pub study_key: u64,
    /// Key of the `patient` row it is filed under.
    pub patient_key: u64,
    /// (0010,0010), all component groups.
    pub patient_name: String,
    /// (0010,0020)
    pub patient_id: String,
    /// (0010,0030)
    pub patient_birth_date: Option<NaiveDate>,
    /// (0010,0040)
    pub patient_sex: String,
    /// (0008,0020)
    pub study_date: Option<NaiveDate>,
    /// (0008,0030)
    pub study_time: Option<NaiveTime>,
    /// (0008,1030)
    pub study_description: String,
    /// (0008,0050)
    pub accession_number: String,
}

/// A series of the strip, with what its instances add up to.
#[derive(Debug, Clone, FromRow)]
pub struct SeriesRow {
    /// Key of the `series` row.
    pub series_key: u64,
    /// (0020,000E)
    pub series_instance_uid: String,
    /// (0008,0060)
    pub modality: String,
    /// (0020,0011)
    pub series_number: Option<i32>,
    /// (0008,103E)
    pub series_description: String,
    /// Instances of any kind.
    pub instances: u64,
    /// Instances with pixels.
    pub images: u64,
    /// Frames of those together.
    pub frames: u64,
    /// Images whose Image Type says LOCALIZER.
    pub localizers: u64,
    /// Last arrival, as text, for addresses and tags that must change with it.
    pub changed: String,
    /// SOP Class of one of the instances.
    pub sop_class_uid: String,
    /// Title of one of the documents, empty where there is none.
    pub document_title: String,
}

/// One instance in the order of its series.
#[derive(Debug, Clone, FromRow)]
pub struct StackRow {
    /// (0008,0018)
    pub sop_instance_uid: String,
    /// (0008,0016)
    pub sop_class_uid: String,
    /// (0020,0013)
    pub instance_number: Option<i32>,
    /// (0028,0008), 0 where there are no pixels.
    pub number_of_frames: u32,
    /// (0028,0010)
    pub rows: Option<u32>,
    /// (0028,0011)
    pub columns: Option<u32>,
    /// Title of a document, empty where it has none.
    pub document_title: String,
}

/// Which device made a series, for the corner of the viewer.
#[derive(Debug, Clone, FromRow)]
pub struct EquipmentRow {
    /// (0008,0080)
    pub institution_name: String,
    /// (0008,0070)
    pub manufacturer: String,
    /// (0008,1090)
    pub manufacturer_model_name: String,
    /// (0008,1010)
    pub station_name: String,
}

/// The instance with this UID, if we hold it and its study is visible.
pub async fn instance(
    conn: &mut impl Queryable,
    uid: &SopInstanceUid,
    visibility: &Visibility,
) -> mysql_async::Result<Option<StoredRow>> {
    let visible = visibility.of_one();
    let sql = format!(
        "SELECT {STORED}
           FROM instance
           JOIN series ON series.series_key = instance.series_key
           JOIN study ON study.study_key = series.study_key
          WHERE instance.sop_instance_uid = ?
            AND {}",
        visible.sql
    );
    conn.exec_first(sql, bound([uid.as_str().into()], visible.params)).await
}

/// How many instances of one SOP class, transfer syntax and study.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct KindRow {
    /// (0008,0016)
    pub sop_class_uid: String,
    /// (0002,0010)
    pub transfer_syntax_uid: String,
    /// (0020,000D)
    pub study_instance_uid: String,
    /// So many.
    pub instances: u64,
}

/// The newest instance by our own number; 0 where there is none.
pub async fn newest(conn: &mut impl Queryable) -> mysql_async::Result<u64> {
    let newest: Option<Option<u64>> = conn.query_first("SELECT MAX(instance_key) FROM instance").await?;
    Ok(newest.flatten().unwrap_or(0))
}

/// What kinds of instances match, up to the instance with this number.
pub async fn kinds(
    conn: &mut impl Queryable,
    query: &Query,
    visibility: &Visibility,
    newest: u64,
) -> mysql_async::Result<Vec<KindRow>> {
    let conditions = matching::conditions(query, visibility);
    let sql = format!(
        "SELECT instance.sop_class_uid,
                instance.transfer_syntax_uid,
                study.study_instance_uid,
                COUNT(*) AS instances
           FROM {}
          WHERE {}
            AND instance.instance_key + 0 <= ?
          GROUP BY study.study_instance_uid, instance.sop_class_uid, instance.transfer_syntax_uid",
        matching::tables(Level::Image),
        conditions.sql()
    );
    let mut params = conditions.params();
    params.push(newest.into());
    conn.exec(sql, params).await
}

/// The instances that match, by our own number, behind the first number and up to the second; at most `limit` of them.
pub async fn holdings(
    conn: &mut impl Queryable,
    query: &Query,
    visibility: &Visibility,
    (after, newest): (u64, u64),
    limit: u64,
) -> mysql_async::Result<Vec<StoredRow>> {
    let conditions = matching::conditions(query, visibility);
    let sql = format!(
        "SELECT {STORED}
           FROM {}
          WHERE {}
            AND instance.instance_key + 0 > ?
            AND instance.instance_key + 0 <= ?
          ORDER BY instance.instance_key
          LIMIT ?",
        matching::tables(Level::Image),
        conditions.sql()
    );
    let mut params = conditions.params();
    params.extend([after.into(), newest.into(), limit.into()]);
    conn.exec(sql, params).await
}

/// Those of these instances that we hold, in no order.
pub async fn instances(
    conn: &mut impl Queryable,
    sop_instance_uids: &[String],
) -> mysql_async::Result<Vec<StoredRow>> {
    if sop_instance_uids.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT {STORED}
           FROM instance
           JOIN series ON series.series_key = instance.series_key
           JOIN study ON study.study_key = series.study_key
          WHERE instance.sop_instance_uid IN ({})",
        vec!["?"; sop_instance_uids.len()].join(", ")
    );
    conn.exec(sql, sop_instance_uids.iter().map(mysql_async::Value::from).collect::<Vec<_>>()).await
}

/// The quarantined file with this key, if it is still there and the study that holds the first one is visible.
pub async fn quarantined(
    conn: &mut impl Queryable,
    key: u64,
    visibility: &Visibility,
) -> mysql_async::Result<Option<StoredRow>> {
    let visible = visibility.of_one();
    let sql = format!(
        "SELECT quarantine.quarantine_key AS holding_key,
                quarantine.study_instance_uid,
                quarantine.series_instance_uid,
                quarantine.sop_instance_uid,
                quarantine.sop_class_uid,
                quarantine.transfer_syntax_uid,
                quarantine.number_of_frames,
                quarantine.path,
                quarantine.size_bytes,
                quarantine.data_set_offset,
                quarantine.data_set_sha256,
                NULL AS pixel_data_offset,
                NULL AS pixel_data_length
           FROM quarantine
           JOIN instance ON instance.sop_instance_uid = quarantine.sop_instance_uid
           JOIN series ON series.series_key = instance.series_key
           JOIN study ON study.study_key = series.study_key
          WHERE quarantine.quarantine_key = ?
            AND {}",
        visible.sql
    );
    conn.exec_first(sql, bound([key.into()], visible.params)).await
}

/// The encoded frame index of an encapsulated instance, where it has one.
pub async fn frame_index(
    conn: &mut impl Queryable,
    instance_key: u64,
) -> mysql_async::Result<Option<Vec<u8>>> {
    conn.exec_first(
        "SELECT fragments
           FROM frame_index
          WHERE instance_key = :instance_key",
        params! { "instance_key" => instance_key },
    )
    .await
}

/// The patient and study lines, if we hold the study and it is visible.
pub async fn study(
    conn: &mut impl Queryable,
    uid: &StudyInstanceUid,
    visibility: &Visibility,
) -> mysql_async::Result<Option<StudyRow>> {
    let visible = visibility.of_one();
    let sql = format!(
        "SELECT study_key,
                patient_key,
                patient_name,
                patient_id,
                patient_birth_date,
                patient_sex,
                study_date,
                study_time,
                study_description,
                accession_number
           FROM study
          WHERE study_instance_uid = ?
            AND {}",
        visible.sql
    );
    conn.exec_first(sql, bound([uid.as_str().into()], visible.params)).await
}

/// The series of a study: by number, then by time, then by UID.
pub async fn series_of_study(
    conn: &mut impl Queryable,
    study_key: u64,
) -> mysql_async::Result<Vec<SeriesRow>> {
    conn.exec(
        "SELECT series.series_key,
                MIN(series.series_instance_uid) AS series_instance_uid,
                MIN(series.modality) AS modality,
                MIN(series.series_number) AS series_number,
                MIN(series.series_description) AS series_description,
                COUNT(*) AS instances,
                COUNT(CASE WHEN instance.number_of_frames > 0 THEN 1 END) AS images,
                CAST(SUM(instance.number_of_frames) AS UNSIGNED) AS frames,
                COUNT(CASE WHEN instance.image_type LIKE '%LOCALIZER%' THEN 1 END) AS localizers,
                DATE_FORMAT(MIN(series.changed_at), '%Y%m%d%H%i%s%f') AS changed,
                MIN(instance.sop_class_uid) AS sop_class_uid,
                MAX(instance.document_title) AS document_title
           FROM series
           JOIN instance ON instance.series_key = series.series_key
          WHERE series.study_key = :study_key
          GROUP BY series.series_key
          ORDER BY MIN(series.series_number) IS NULL,
                   MIN(series.series_number),
                   MIN(series.series_date),
                   MIN(series.series_time),
                   MIN(series.series_instance_uid)",
        params! { "study_key" => study_key },
    )
    .await
}

/// Where a series is: its key, and when it last changed. A Series Instance UID that two studies share belongs,
/// without the study, to the first that is visible.
pub async fn series_key(
    conn: &mut impl Queryable,
    uid: &SeriesInstanceUid,
    study: Option<&StudyInstanceUid>,
    visibility: &Visibility,
) -> mysql_async::Result<Option<(u64, String)>> {
    let visible = visibility.of_one();
    let sql = format!(
        "SELECT series.series_key,
                DATE_FORMAT(series.changed_at, '%Y%m%d%H%i%s%f')
           FROM series
           JOIN study ON study.study_key = series.study_key
          WHERE series.series_instance_uid = ?
            AND (? IS NULL OR study.study_instance_uid = ?)
            AND {}
          ORDER BY series.series_key
          LIMIT 1",
        visible.sql
    );
    let study = study.map(StudyInstanceUid::as_str);
    conn.exec_first(sql, bound([uid.as_str().into(), study.into(), study.into()], visible.params)).await
}

/// How many instances of a series are images.
pub async fn images_of_series(conn: &mut impl Queryable, series_key: u64) -> mysql_async::Result<u64> {
    let images = conn.exec_first(
        "SELECT COUNT(*)
           FROM instance
          WHERE series_key = :series_key
            AND number_of_frames > 0",
        params! { "series_key" => series_key },
    );
    Ok(images.await?.unwrap_or(0))
}

/// The instances of a series in their order, light enough for a series of ten thousand.
pub async fn stack(conn: &mut impl Queryable, series_key: u64) -> mysql_async::Result<Vec<StackRow>> {
    conn.exec(
        "SELECT sop_instance_uid,
                sop_class_uid,
                instance_number,
                number_of_frames,
                `rows`,
                `columns`,
                document_title
           FROM instance
          WHERE series_key = :series_key
          ORDER BY instance_number IS NULL,
                   instance_number,
                   slice_position,
                   sop_instance_uid
          LIMIT 50000",
        params! { "series_key" => series_key },
    )
    .await
}

/// The instance in the middle of a series of so many images: of those, or of everything where there are none.
pub async fn middle(
    conn: &mut impl Queryable,
    series_key: u64,
    images: u64,
) -> mysql_async::Result<Option<StoredRow>> {
    let sql = format!(
        "SELECT {STORED}
           FROM instance
           JOIN series ON series.series_key = instance.series_key
           JOIN study ON study.study_key = series.study_key
          WHERE instance.series_key = :series_key
            AND (instance.number_of_frames > 0 OR :no_images)
          ORDER BY instance.instance_number IS NULL,
                   instance.instance_number,
                   instance.slice_position,
                   instance.sop_instance_uid
          LIMIT 1 OFFSET :middle"
    );
    conn.exec_first(
        sql,
        params! { "series_key" => series_key, "no_images" => images == 0, "middle" => images / 2 },
    )
    .await
}

/// The device that made a series.
pub async fn equipment(
    conn: &mut impl Queryable,
    series_key: u64,
) -> mysql_async::Result<Option<EquipmentRow>> {
    conn.exec_first(
        "SELECT equipment.institution_name,
                equipment.manufacturer,
                equipment.manufacturer_model_name,
                equipment.station_name
           FROM series
           JOIN equipment ON equipment.equipment_key = series.equipment_key
          WHERE series.series_key = :series_key",
        params! { "series_key" => series_key },
    )
    .await
}
