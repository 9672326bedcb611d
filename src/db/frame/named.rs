//! What an address names by UIDs: a study, a series of it or an instance of that, as far as it is visible.

use mysql_async::prelude::{FromRow, Queryable};

use super::{STORED, StoredRow};
use crate::db::study::bound;
use crate::db::visibility::Visibility;
use crate::dicom::uid::{SeriesInstanceUid, SopInstanceUid, StudyInstanceUid};

/// The instances of a study in the order they are read, if it is visible: all of them, those of one series, or the one
/// that is named.
pub async fn instances_of(
    conn: &mut impl Queryable,
    study: &StudyInstanceUid,
    series: Option<&SeriesInstanceUid>,
    instance: Option<&SopInstanceUid>,
    visibility: &Visibility,
) -> mysql_async::Result<Vec<StoredRow>> {
    let visible = visibility.of_one();
    let (conditions, named) = named(study, series, instance);
    let sql = format!(
        "SELECT {STORED}
           FROM study
           JOIN series ON series.study_key = study.study_key
           JOIN instance ON instance.series_key = series.series_key
          WHERE {conditions}
            AND {}
          ORDER BY series.series_number, series.series_key, instance.instance_number, instance.instance_key",
        visible.sql
    );
    conn.exec(sql, bound(named, visible.params)).await
}

/// What instances of a series there are, so that it shows when others are there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, FromRow)]
pub struct ExtentRow {
    /// (0020,000D)
    pub study_instance_uid: String,
    /// (0020,000E)
    pub series_instance_uid: String,
    /// So many.
    pub instances: u64,
    /// The greatest of their keys, which count up.
    pub newest: u64,
    /// The sum of their keys.
    pub keys: u64,
    /// Of the beginnings of their hashes.
    pub hashes: u64,
}

/// What [`instances_of`] would give, a row for each series.
pub async fn extents_of(
    conn: &mut impl Queryable,
    study: &StudyInstanceUid,
    series: Option<&SeriesInstanceUid>,
    instance: Option<&SopInstanceUid>,
    visibility: &Visibility,
) -> mysql_async::Result<Vec<ExtentRow>> {
    let visible = visibility.of_one();
    let (conditions, named) = named(study, series, instance);
    let sql = format!(
        "SELECT study.study_instance_uid,
                series.series_instance_uid,
                COUNT(*) AS instances,
                MAX(instance.instance_key) AS newest,
                CAST(SUM(instance.instance_key) AS UNSIGNED) AS `keys`,
                BIT_XOR(CAST(CONV(HEX(LEFT(instance.data_set_sha256, 8)), 16, 10) AS UNSIGNED)) AS hashes
           FROM study
           JOIN series ON series.study_key = study.study_key
           JOIN instance ON instance.series_key = series.series_key
          WHERE {conditions}
            AND {}
          GROUP BY series.series_key, study.study_instance_uid, series.series_instance_uid
          ORDER BY series.series_key",
        visible.sql
    );
    conn.exec(sql, bound(named, visible.params)).await
}

/// The condition that names a study, a series or an instance, and its parameters.
fn named(
    study: &StudyInstanceUid,
    series: Option<&SeriesInstanceUid>,
    instance: Option<&SopInstanceUid>,
) -> (String, Vec<mysql_async::Value>) {
    let mut named: Vec<mysql_async::Value> = vec![study.as_str().into()];
    let mut conditions = "study.study_instance_uid = ?".to_owned();
    if let Some(series) = series {
        conditions.push_str("\n            AND series.series_instance_uid = ?");
        named.push(series.as_str().into());
    }
    if let Some(instance) = instance {
        conditions.push_str("\n            AND instance.sop_instance_uid = ?");
        named.push(instance.as_str().into());
    }
    (conditions, named)
}
