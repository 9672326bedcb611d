//! Tables `series` and `equipment`, reading.

use chrono::{NaiveDate, NaiveTime};
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, FromRowError, Result, Row, params};

use super::row::{column, parsed};
use crate::dicom::uid::SeriesInstanceUid;

/// A series of a study, with the device it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Our own number.
    pub series_key: u64,
    /// (0020,000E)
    pub series_instance_uid: SeriesInstanceUid,
    /// (0008,0060)
    pub modality: String,
    /// (0020,0011)
    pub series_number: Option<i32>,
    /// (0008,103E)
    pub series_description: String,
    /// (0008,0021)
    pub series_date: Option<NaiveDate>,
    /// (0008,0031)
    pub series_time: Option<NaiveTime>,
    /// (0018,0015)
    pub body_part_examined: String,
    /// (0018,1030)
    pub protocol_name: String,
    /// (0020,0060)
    pub laterality: String,
    /// (0020,1209)
    pub number_of_series_related_instances: u32,
    /// of all its files, bytes
    pub size_bytes: u64,
    /// (0008,0070)
    pub manufacturer: String,
    /// (0008,1090)
    pub manufacturer_model_name: String,
    /// (0008,1010)
    pub station_name: String,
    /// Instances that are looked at as pictures.
    pub pictures: u64,
    /// Frames of those, together.
    pub frames: u64,
}

impl FromRow for Series {
    fn from_row_opt(row: Row) -> std::result::Result<Series, FromRowError> {
        Ok(Series {
            series_key: column(&row, "series_key")?,
            series_instance_uid: parsed(&row, "series_instance_uid")?,
            modality: column(&row, "modality")?,
            series_number: column(&row, "series_number")?,
            series_description: column(&row, "series_description")?,
            series_date: column(&row, "series_date")?,
            series_time: column(&row, "series_time")?,
            body_part_examined: column(&row, "body_part_examined")?,
            protocol_name: column(&row, "protocol_name")?,
            laterality: column(&row, "laterality")?,
            number_of_series_related_instances: column(&row, "number_of_series_related_instances")?,
            size_bytes: column(&row, "size_bytes")?,
            manufacturer: column(&row, "manufacturer")?,
            manufacturer_model_name: column(&row, "manufacturer_model_name")?,
            station_name: column(&row, "station_name")?,
            pictures: column(&row, "pictures")?,
            frames: column(&row, "frames")?,
        })
    }
}

/// The series of a study in the order they are read: by number, those without one last, then by time.
/// Video (transfer syntaxes 1.2.840.10008.1.2.4.100 to 109) does not count as a picture.
pub async fn of_study(conn: &mut Conn, study_key: u64) -> Result<Vec<Series>> {
    conn.exec(
        "SELECT series.series_key,
                series.series_instance_uid,
                series.modality,
                series.series_number,
                series.series_description,
                series.series_date,
                series.series_time,
                series.body_part_examined,
                series.protocol_name,
                series.laterality,
                series.number_of_series_related_instances,
                series.size_bytes,
                equipment.manufacturer,
                equipment.manufacturer_model_name,
                equipment.station_name,
                COALESCE(shown.pictures, 0) AS pictures,
                COALESCE(shown.frames, 0)   AS frames
           FROM series
           JOIN equipment ON equipment.equipment_key = series.equipment_key
           LEFT JOIN (SELECT instance.series_key,
                             COUNT(*)                                        AS pictures,
                             CAST(SUM(instance.number_of_frames) AS UNSIGNED) AS frames
                        FROM instance
                        JOIN series AS mine ON mine.series_key = instance.series_key
                       WHERE mine.study_key = :study_key
                         AND instance.number_of_frames > 0
                         AND instance.transfer_syntax_uid NOT LIKE '1.2.840.10008.1.2.4.10_%'
                       GROUP BY instance.series_key) AS shown
                  ON shown.series_key = series.series_key
          WHERE series.study_key = :study_key
          ORDER BY series.series_number IS NULL,
                   series.series_number,
                   series.series_date,
                   series.series_time,
                   series.series_key",
        params! { "study_key" => study_key },
    )
    .await
}

/// The modalities of which the archive holds a series, for the study list's chips.
pub async fn modalities(conn: &mut Conn) -> Result<Vec<String>> {
    conn.query(
        "SELECT modality
           FROM series
          WHERE modality <> ''
          GROUP BY modality
          ORDER BY modality
          LIMIT 40",
    )
    .await
}
