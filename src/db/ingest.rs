//! What storing instances writes: patient, study, equipment, series, instance, frame index, quarantine and counts,
//! for a batch of instances within one transaction.
//!
//! Rows are always made in the order patient, study, equipment, series, instance, and only one transaction of this
//! kind runs at a time (the committer's), so that there is exactly one row of each, whoever sends at once.

mod rows;

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use mysql_async::prelude::Queryable;
use mysql_async::{Params, Value, params};

use self::rows::{
    insert, insert_frame_indexes, insert_instances, insert_series, insert_study, inserted, update_series,
    update_studies,
};
use super::Error;
use crate::dicom::attributes::Attributes;
use crate::dicom::person_name::PersonName;

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

/// Rows that were seen before, so that the next slice of a series costs no look-ups. It holds for as long as one
/// committer is the only writer and each of its transactions is committed; after a failure a new one is needed.
#[derive(Debug, Default)]
pub struct Keys {
    patients: HashMap<Identity, Patient>,
    studies: HashMap<String, Study>,
    equipment: HashMap<[u8; 32], u64>,
    series: HashMap<(u64, String), u64>,
    conflicts: HashSet<(u64, u64)>,
}

/// More rows than this are not remembered: about 10 MB.
const REMEMBERED: usize = 20_000;

/// (PatientID, IssuerOfPatientID), or the study where there is no PatientID.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Identity {
    patient_id: String,
    issuer_of_patient_id: String,
    unidentified_study: String,
}

#[derive(Debug, Clone)]
struct Patient {
    patient_key: u64,
    name_folded: String,
    birth_date: Option<NaiveDate>,
    sex: String,
}

#[derive(Debug, Clone)]
struct Study {
    study_key: u64,
    patient_key: u64,
    patient_name_folded: String,
    modalities: Vec<String>,
    sop_classes: Vec<String>,
}

/// What a batch adds to the counts of a study or series.
#[derive(Debug, Default)]
struct Added {
    series: u32,
    instances: u32,
    bytes: u64,
    received_at: Option<NaiveDateTime>,
    /// Of a study: ModalitiesInStudy or SOPClassesInStudy grew.
    grew: bool,
}

impl Keys {
    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.patients.is_empty() && self.studies.is_empty() && self.series.is_empty()
    }

    fn forget_if_many(&mut self) {
        if self.series.len() + self.studies.len() + self.patients.len() > REMEMBERED {
            *self = Keys::default();
        }
    }
}

/// Writes the rows of a batch and tells what became of each instance, in its order. The caller commits.
pub async fn batch(
    conn: &mut impl Queryable,
    keys: &mut Keys,
    batch: &[NewInstance],
) -> Result<Vec<Outcome>, Error> {
    keys.forget_if_many();
    let held = held(conn, batch).await?;
    let mut own: HashMap<&str, [u8; 32]> = HashMap::new();
    let mut outcomes = Vec::with_capacity(batch.len());
    let mut rows: Vec<(u64, &NewInstance)> = Vec::new();
    let mut studies: HashMap<String, Added> = HashMap::new();
    let mut series_added: HashMap<u64, Added> = HashMap::new();
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
                let (series_key, study_is_new_to_series) = place(conn, keys, new).await?;
                count(keys, new, series_key, study_is_new_to_series, &mut studies, &mut series_added);
                rows.push((series_key, new));
                Outcome::Stored
            }
        };
        outcomes.push(outcome);
    }
    insert_instances(conn, &rows).await?;
    insert_frame_indexes(conn, &rows).await?;
    update_series(conn, &series_added).await?;
    update_studies(conn, keys, &studies).await?;
    Ok(outcomes)
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

/// Splits into slices of a few fixed sizes, so that there are few different statements to prepare.
fn in_sizes<T>(mut items: &[T]) -> Vec<(usize, &[T])> {
    let mut slices = Vec::new();
    for size in [64, 16, 4, 1] {
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

/// Finds or makes patient, study, equipment and series of an instance. Returns the series, and whether it is new.
async fn place(conn: &mut impl Queryable, keys: &mut Keys, new: &NewInstance) -> Result<(u64, bool), Error> {
    let study = study(conn, keys, new).await?;
    let uid = new.attributes.series.series_instance_uid.as_str();
    let name = (study.study_key, uid.to_owned());
    if let Some(series_key) = keys.series.get(&name) {
        return Ok((*series_key, false));
    }
    let found: Option<u64> = conn
        .exec_first(
            "SELECT series_key
               FROM series
              WHERE study_key = :study_key AND series_instance_uid = :uid",
            params! { "study_key" => study.study_key, "uid" => uid },
        )
        .await?;
    let (series_key, is_new) = match found {
        Some(series_key) => (series_key, false),
        None => {
            let equipment_key = equipment(conn, keys, new).await?;
            (insert_series(conn, study.study_key, equipment_key, new).await?, true)
        }
    };
    keys.series.insert(name, series_key);
    Ok((series_key, is_new))
}

async fn patient(conn: &mut impl Queryable, keys: &mut Keys, new: &NewInstance) -> Result<Patient, Error> {
    let attributes = &new.attributes.patient;
    let identity = Identity {
        patient_id: attributes.patient_id.clone(),
        issuer_of_patient_id: attributes.issuer_of_patient_id.clone(),
        unidentified_study: attributes.unidentified_study.clone(),
    };
    if let Some(patient) = keys.patients.get(&identity) {
        return Ok(patient.clone());
    }
    let found: Option<(u64, String, Option<NaiveDate>, String)> = conn
        .exec_first(
            "SELECT patient_key, patient_name, patient_birth_date, patient_sex
               FROM patient
              WHERE patient_id = :patient_id
                AND issuer_of_patient_id = :issuer
                AND unidentified_study = :unidentified_study",
            params! {
                "patient_id" => &identity.patient_id,
                "issuer" => &identity.issuer_of_patient_id,
                "unidentified_study" => &identity.unidentified_study,
            },
        )
        .await?;
    let patient = match found {
        Some((patient_key, name, birth_date, sex)) => Patient {
            patient_key,
            name_folded: cut(&PersonName::parse(&name).folded(), 1000),
            birth_date,
            sex,
        },
        None => {
            let result = conn
                .exec_iter(
                    "INSERT INTO patient (
                         patient_id, issuer_of_patient_id, unidentified_study,
                         patient_name, patient_birth_date, patient_sex, received_at)
                     VALUES (?, ?, ?, ?, ?, ?, ?)",
                    Params::Positional(vec![
                        identity.patient_id.as_str().into(),
                        identity.issuer_of_patient_id.as_str().into(),
                        identity.unidentified_study.as_str().into(),
                        attributes.patient_name.as_str().into(),
                        attributes.patient_birth_date.into(),
                        attributes.patient_sex.as_str().into(),
                        new.received_at.naive_utc().into(),
                    ]),
                )
                .await?;
            let patient_key = inserted(result.last_insert_id())?;
            result.drop_result().await?;
            Patient {
                patient_key,
                name_folded: new.attributes.study.patient_name_folded.clone(),
                birth_date: attributes.patient_birth_date,
                sex: attributes.patient_sex.clone(),
            }
        }
    };
    keys.patients.insert(identity, patient.clone());
    Ok(patient)
}

async fn study(conn: &mut impl Queryable, keys: &mut Keys, new: &NewInstance) -> Result<Study, Error> {
    let uid = new.attributes.study.study_instance_uid.as_str();
    let known = match keys.studies.get(uid) {
        Some(study) => Some(study.clone()),
        None => find_study(conn, uid).await?,
    };
    let name_folded = &new.attributes.study.patient_name_folded;
    let study = match known {
        Some(study) => {
            // An instance without Patient ID says nothing of who it is of, unless its name does.
            let silent = new.attributes.patient.patient_id.is_empty()
                && (name_folded.is_empty() || *name_folded == study.patient_name_folded);
            if !silent {
                let patient = patient(conn, keys, new).await?;
                if patient.patient_key != study.patient_key {
                    note_conflict(conn, keys, &study, patient.patient_key, new).await?;
                }
            }
            study
        }
        None => {
            let patient = patient(conn, keys, new).await?;
            let study_key = insert_study(conn, &patient, new).await?;
            Study {
                study_key,
                patient_key: patient.patient_key,
                patient_name_folded: name_folded.clone(),
                modalities: Vec::new(),
                sop_classes: Vec::new(),
            }
        }
    };
    keys.studies.entry(uid.to_owned()).or_insert_with(|| study.clone());
    Ok(study)
}

async fn find_study(conn: &mut impl Queryable, uid: &str) -> Result<Option<Study>, Error> {
    let found: Option<(u64, u64, String, String, String)> = conn
        .exec_first(
            "SELECT study_key, patient_key, patient_name_folded, modalities_in_study, sop_classes_in_study
               FROM study
              WHERE study_instance_uid = :uid",
            params! { "uid" => uid },
        )
        .await?;
    Ok(found.map(|(study_key, patient_key, patient_name_folded, modalities, sop_classes)| Study {
        study_key,
        patient_key,
        patient_name_folded,
        modalities: split(&modalities),
        sop_classes: split(&sop_classes),
    }))
}

async fn note_conflict(
    conn: &mut impl Queryable,
    keys: &mut Keys,
    study: &Study,
    patient_key: u64,
    new: &NewInstance,
) -> Result<(), Error> {
    if !keys.conflicts.insert((study.study_key, patient_key)) {
        return Ok(());
    }
    conn.exec_drop(
        // Not INSERT IGNORE, which would also ignore that one of the two is not there any more.
        "INSERT INTO patient_conflict (study_key, patient_key, sop_instance_uid, received_at)
         VALUES (?, ?, ?, ?)
             ON DUPLICATE KEY UPDATE study_key = study_key",
        Params::Positional(vec![
            study.study_key.into(),
            patient_key.into(),
            new.attributes.instance.sop_instance_uid.as_str().into(),
            new.received_at.naive_utc().into(),
        ]),
    )
    .await?;
    Ok(())
}

async fn equipment(conn: &mut impl Queryable, keys: &mut Keys, new: &NewInstance) -> Result<u64, Error> {
    let equipment = &new.attributes.equipment;
    let identity = equipment.identity();
    if let Some(equipment_key) = keys.equipment.get(&identity) {
        return Ok(*equipment_key);
    }
    let found: Option<u64> = conn
        .exec_first(
            "SELECT equipment_key FROM equipment WHERE identity = :identity",
            params! { "identity" => &identity[..] },
        )
        .await?;
    let equipment_key = match found {
        Some(equipment_key) => equipment_key,
        None => {
            let columns = vec![
                ("identity", Value::from(&identity[..])),
                ("manufacturer", equipment.manufacturer.as_str().into()),
                ("manufacturer_model_name", equipment.manufacturer_model_name.as_str().into()),
                ("station_name", equipment.station_name.as_str().into()),
                ("institution_name", equipment.institution_name.as_str().into()),
                ("institution_address", equipment.institution_address.as_str().into()),
                ("institutional_department_name", equipment.institutional_department_name.as_str().into()),
                ("device_serial_number", equipment.device_serial_number.as_str().into()),
                ("software_versions", equipment.software_versions.as_str().into()),
                ("received_at", new.received_at.naive_utc().into()),
            ];
            insert(conn, "equipment", columns).await?
        }
    };
    keys.equipment.insert(identity, equipment_key);
    Ok(equipment_key)
}

/// Adds an instance to what the batch will add to the counts, and to what its study is known to hold.
fn count(
    keys: &mut Keys,
    new: &NewInstance,
    series_key: u64,
    series_is_new: bool,
    studies: &mut HashMap<String, Added>,
    series: &mut HashMap<u64, Added>,
) {
    let uid = new.attributes.study.study_instance_uid.as_str();
    let study = studies.entry(uid.to_owned()).or_default();
    study.series += u32::from(series_is_new);
    for added in [&mut *study, series.entry(series_key).or_default()] {
        added.instances += 1;
        added.bytes += new.size_bytes;
        added.received_at = added.received_at.max(Some(new.received_at.naive_utc()));
    }
    if let Some(known) = keys.studies.get_mut(uid) {
        let modality = &new.attributes.series.modality;
        if !modality.is_empty() && !known.modalities.contains(modality) {
            known.modalities.push(modality.clone());
            known.modalities.sort();
            study.grew = true;
        }
        let sop_class = new.attributes.instance.sop_class_uid.as_str();
        if known.sop_classes.iter().all(|known| known != sop_class) {
            known.sop_classes.push(sop_class.to_owned());
            known.sop_classes.sort();
            study.grew = true;
        }
    }
}

fn split(list: &str) -> Vec<String> {
    list.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// The first `characters` of a text: what its column holds.
fn cut(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}
