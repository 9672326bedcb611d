//! What storing instances writes: patient, study, equipment, series, instance, frame index, quarantine and counts,
//! for a batch of instances within one transaction.
//!
//! Rows are always made in the order patient, study, equipment, series, instance, and only one transaction of this
//! kind runs at a time (the committer's), so that there is exactly one row of each, whoever sends at once.

mod place;
mod rows;

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use mysql_async::prelude::Queryable;
use mysql_async::{Params, Value, params};

pub use self::place::Keys;
use self::rows::{add_counts, insert_frame_indexes, insert_instances};
use super::Error;
use super::audit::Entry;
use crate::dicom::attributes::Attributes;

/// An instance whose file is durable and whose rows are not written yet.
#[derive(Debug, Clone)]
pub struct NewInstance {
    /// Everything the rows say of it.
    pub attributes: Attributes,
    /// Its file, below the data folder.
    pub path: String,
    /// Of the file, bytes.
    pub size_bytes: u64,
    /// Where the data set begins in the file, bytes.
    pub data_set_offset: u32,
    /// Of the data set as received.
    pub data_set_sha256: [u8; 32],
    /// Where the value of Pixel Data begins in the file, bytes.
    pub pixel_data_offset: Option<u64>,
    /// Its length in bytes, where it is native.
    pub pixel_data_length: Option<u64>,
    /// Where the frames are, where it is encapsulated: an encoded `FrameIndex`.
    pub frame_index: Option<Vec<u8>>,
    /// UID of its transfer syntax.
    pub transfer_syntax_uid: String,
    /// Calling AE title.
    pub source_ae_title: String,
    /// Its IP address.
    pub source_address: String,
    /// When it began to arrive.
    pub received_at: DateTime<Utc>,
    /// The line of the audit trail that is to be committed with it: for the first of a study in an association.
    pub audit: Option<Entry>,
}

/// What became of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is new, and its rows are there.
    Stored,
    /// The archive holds this very content already; nothing changes.
    AlreadyHeld,
    /// The archive holds other content under its SOP Instance UID; this is kept in quarantine.
    Quarantined,
    /// As before, and this very content is in quarantine already; nothing changes.
    AlreadyQuarantined,
}

impl Outcome {
    /// Whether the file that came with the instance is now a row's. If not, nobody needs it.
    pub fn keeps_file(self) -> bool {
        matches!(self, Outcome::Stored | Outcome::Quarantined)
    }
}

/// Whether the archive is asked which instances of a batch it holds before they are written. Most are new, and the
/// question costs as much as half their rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// It is asked.
    Ask,
    /// It is not: where one is held after all, writing fails as a duplicate, and the transaction is begun again with
    /// asking.
    AssumeNone,
}

/// Writes the rows of a batch and tells what became of each instance, in its order. The caller commits.
pub async fn batch(
    conn: &mut impl Queryable,
    keys: &mut Keys,
    batch: &[NewInstance],
    asking: Held,
) -> Result<Vec<Outcome>, Error> {
    keys.forget_if_many();
    let held = match asking {
        Held::Ask => held(conn, batch).await?,
        Held::AssumeNone => HashMap::new(),
    };
    let mut own: HashMap<&str, [u8; 32]> = HashMap::new();
    let mut outcomes = Vec::with_capacity(batch.len());
    let mut stored: Vec<&NewInstance> = Vec::with_capacity(batch.len());
    for new in batch {
        let uid = new.attributes.instance.sop_instance_uid.as_str();
        let known = held
            .get(uid)
            .map(|(hash, path)| (*hash, *path == new.path))
            .or_else(|| own.get(uid).map(|hash| (*hash, false)));
        let outcome = match known {
            // Found with its own path: an earlier attempt was committed and only its answer was lost.
            Some((_, true)) => Outcome::Stored,
            Some((hash, false)) if hash == new.data_set_sha256 => Outcome::AlreadyHeld,
            Some((_, false)) => quarantine(conn, new).await?,
            None => {
                own.insert(uid, new.data_set_sha256);
                stored.push(new);
                Outcome::Stored
            }
        };
        outcomes.push(outcome);
    }
    let mut rows = Vec::with_capacity(stored.len());
    let mut counts = Vec::new();
    for (_, instances) in groups(&stored, |new| new.attributes.study.study_instance_uid.as_str()) {
        place::study(conn, keys, &instances, &mut rows, &mut counts).await?;
    }
    add_counts(conn, &counts).await?;
    insert_instances(conn, &rows).await?;
    insert_frame_indexes(conn, &rows).await?;
    Ok(outcomes)
}

/// What shares a name, in the order in which the names first come.
fn groups<'a>(
    instances: &[&'a NewInstance],
    name: impl Fn(&'a NewInstance) -> &'a str,
) -> Vec<(&'a str, Vec<&'a NewInstance>)> {
    let mut groups: Vec<(&str, Vec<&NewInstance>)> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for &new in instances {
        let place = *places.entry(name(new)).or_insert(groups.len());
        match groups.get_mut(place) {
            Some((_, group)) => group.push(new),
            None => groups.push((name(new), vec![new])),
        }
    }
    groups
}

/// The instances of a batch that the archive holds: hash and path by SOP Instance UID.
async fn held(
    conn: &mut impl Queryable,
    batch: &[NewInstance],
) -> Result<HashMap<String, ([u8; 32], String)>, Error> {
    let uids: Vec<&str> = batch.iter().map(|new| new.attributes.instance.sop_instance_uid.as_str()).collect();
    let mut held = HashMap::new();
    for (statement_size, uids) in in_sizes(&uids) {
        let marks = vec!["?"; statement_size].join(", ");
        let sql = format!(
            "SELECT sop_instance_uid, data_set_sha256, path
               FROM instance
              WHERE sop_instance_uid IN ({marks})"
        );
        let parameters: Vec<Value> = uids.iter().map(|uid| Value::from(*uid)).collect();
        let found: Vec<(String, Vec<u8>, String)> = conn.exec(sql, Params::Positional(parameters)).await?;
        for (uid, hash, path) in found {
            held.insert(uid, (<[u8; 32]>::try_from(hash).unwrap_or_default(), path));
        }
    }
    Ok(held)
}

/// Splits into slices of a few sizes, so that there are few different statements to prepare and few to send.
fn in_sizes<T>(mut items: &[T]) -> Vec<(usize, &[T])> {
    let mut slices = Vec::new();
    for size in [64, 32, 16, 8, 4, 2, 1] {
        while items.len() >= size {
            let (now, later) = items.split_at(size);
            slices.push((size, now));
            items = later;
        }
    }
    slices
}

/// Keeps other content under a known SOP Instance UID.
async fn quarantine(conn: &mut impl Queryable, new: &NewInstance) -> Result<Outcome, Error> {
    let instance = &new.attributes.instance;
    let before: Option<String> = conn
        .exec_first(
            "SELECT path
               FROM quarantine
              WHERE sop_instance_uid = :uid AND data_set_sha256 = :hash",
            params! { "uid" => instance.sop_instance_uid.as_str(), "hash" => &new.data_set_sha256[..] },
        )
        .await?;
    if let Some(path) = before {
        return Ok(if path == new.path { Outcome::Quarantined } else { Outcome::AlreadyQuarantined });
    }
    conn.exec_drop(
        "INSERT INTO quarantine (
             sop_instance_uid, sop_class_uid, study_instance_uid, series_instance_uid, transfer_syntax_uid,
             patient_id, patient_name, number_of_frames, path, size_bytes, data_set_offset, data_set_sha256,
             source_ae_title, source_address, received_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        Params::Positional(vec![
            instance.sop_instance_uid.as_str().into(),
            instance.sop_class_uid.as_str().into(),
            new.attributes.study.study_instance_uid.as_str().into(),
            new.attributes.series.series_instance_uid.as_str().into(),
            new.transfer_syntax_uid.as_str().into(),
            new.attributes.patient.patient_id.as_str().into(),
            new.attributes.patient.patient_name.as_str().into(),
            instance.number_of_frames.into(),
            new.path.as_str().into(),
            new.size_bytes.into(),
            new.data_set_offset.into(),
            Value::from(&new.data_set_sha256[..]),
            new.source_ae_title.as_str().into(),
            new.source_address.as_str().into(),
            new.received_at.naive_utc().into(),
        ]),
    )
    .await?;
    Ok(Outcome::Quarantined)
}

/// The first `characters` of a text: what its column holds.
fn cut(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}
