//! What storing instances writes: patient, study, equipment, series, instance, frame index, quarantine and counts,
//! for a batch of instances within one transaction.
//!
//! Rows are always made in the order patient, study, equipment, series, instance, and only one transaction of this
//! kind runs at a time (the committer's), so that there is exactly one row of each, whoever sends at once.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use mysql_async::prelude::Queryable;
use mysql_async::{Params, Value, params};

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

async fn insert_study(conn: &mut impl Queryable, patient: &Patient, new: &NewInstance) -> Result<u64, Error> {
    let person = &new.attributes.patient;
    let study = &new.attributes.study;
    let differs = patient.name_folded != study.patient_name_folded
        || patient.birth_date != person.patient_birth_date
        || patient.sex != person.patient_sex;
    let received_at = new.received_at.naive_utc();
    let columns: Vec<(&str, Value)> = vec![
        ("patient_key", patient.patient_key.into()),
        ("study_instance_uid", study.study_instance_uid.as_str().into()),
        ("patient_id", person.patient_id.as_str().into()),
        ("issuer_of_patient_id", person.issuer_of_patient_id.as_str().into()),
        ("patient_name", person.patient_name.as_str().into()),
        ("patient_name_folded", study.patient_name_folded.as_str().into()),
        ("patient_name_sort", study.patient_name_sort.as_str().into()),
        ("patient_birth_date", person.patient_birth_date.into()),
        ("patient_birth_time", study.patient_birth_time.into()),
        ("patient_sex", person.patient_sex.as_str().into()),
        ("patient_age", study.patient_age.as_str().into()),
        ("patient_size", study.patient_size.into()),
        ("patient_weight", study.patient_weight.into()),
        ("patient_comments", study.patient_comments.as_str().into()),
        ("study_date", study.study_date.into()),
        ("study_time", study.study_time.into()),
        ("study_id", study.study_id.as_str().into()),
        ("accession_number", study.accession_number.as_str().into()),
        ("study_description", study.study_description.as_str().into()),
        ("referring_physician_name", study.referring_physician_name.as_str().into()),
        ("referring_physician_name_folded", study.referring_physician_name_folded.as_str().into()),
        ("physicians_of_record", study.physicians_of_record.as_str().into()),
        ("name_of_physicians_reading_study", study.name_of_physicians_reading_study.as_str().into()),
        ("admitting_diagnoses_description", study.admitting_diagnoses_description.as_str().into()),
        ("institution_name", study.institution_name.as_str().into()),
        ("sop_classes_in_study", "".into()),
        ("demographics_differ", differs.into()),
        ("received_at", received_at.into()),
        ("changed_at", received_at.into()),
    ];
    insert(conn, "study", columns).await
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

async fn insert_series(
    conn: &mut impl Queryable,
    study_key: u64,
    equipment_key: u64,
    new: &NewInstance,
) -> Result<u64, Error> {
    let series = &new.attributes.series;
    let received_at = new.received_at.naive_utc();
    let columns: Vec<(&str, Value)> = vec![
        ("study_key", study_key.into()),
        ("equipment_key", equipment_key.into()),
        ("series_instance_uid", series.series_instance_uid.as_str().into()),
        ("modality", series.modality.as_str().into()),
        ("series_number", series.series_number.into()),
        ("series_description", series.series_description.as_str().into()),
        ("series_date", series.series_date.into()),
        ("series_time", series.series_time.into()),
        ("body_part_examined", series.body_part_examined.as_str().into()),
        ("protocol_name", series.protocol_name.as_str().into()),
        ("laterality", series.laterality.as_str().into()),
        ("patient_position", series.patient_position.as_str().into()),
        ("performing_physician_name", series.performing_physician_name.as_str().into()),
        ("operators_name", series.operators_name.as_str().into()),
        ("frame_of_reference_uid", series.frame_of_reference_uid.as_str().into()),
        ("performed_procedure_step_start_date", series.performed_procedure_step_start_date.into()),
        ("performed_procedure_step_start_time", series.performed_procedure_step_start_time.into()),
        ("performed_procedure_step_id", series.performed_procedure_step_id.as_str().into()),
        ("requested_procedure_id", series.requested_procedure_id.as_str().into()),
        ("scheduled_procedure_step_id", series.scheduled_procedure_step_id.as_str().into()),
        ("received_at", received_at.into()),
        ("changed_at", received_at.into()),
    ];
    insert(conn, "series", columns).await
}

/// Inserts one row; table and column names are literals of this file.
async fn insert(
    conn: &mut impl Queryable,
    table: &'static str,
    columns: Vec<(&'static str, Value)>,
) -> Result<u64, Error> {
    let (names, values): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    let marks = vec!["?"; names.len()].join(", ");
    let sql = format!("INSERT INTO {table} ({}) VALUES ({marks})", names.join(", "));
    let result = conn.exec_iter(sql, Params::Positional(values)).await?;
    let key = inserted(result.last_insert_id())?;
    result.drop_result().await?;
    Ok(key)
}

fn inserted(last_insert_id: Option<u64>) -> Result<u64, Error> {
    last_insert_id.ok_or_else(|| Error::Sql(mysql_async::Error::Other("an insert gave no key".into())))
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

const INSTANCE_COLUMNS: usize = 31;

async fn insert_instances(conn: &mut impl Queryable, rows: &[(u64, &NewInstance)]) -> Result<(), Error> {
    for (size, rows) in in_sizes(rows) {
        let row = format!("({})", vec!["?"; INSTANCE_COLUMNS].join(", "));
        let sql = format!(
            "INSERT INTO instance (
                 series_key, sop_instance_uid, sop_class_uid, transfer_syntax_uid, instance_number,
                 content_date, content_time, acquisition_date, acquisition_time, acquisition_number,
                 image_type, `rows`, `columns`, number_of_frames, bits_allocated,
                 photometric_interpretation, slice_thickness, slice_location, slice_position, completion_flag,
                 verification_flag, document_title, path, size_bytes, data_set_offset,
                 data_set_sha256, pixel_data_offset, pixel_data_length, source_ae_title, source_address,
                 received_at)
             VALUES {}",
            vec![row.as_str(); size].join(", ")
        );
        let mut values = Vec::with_capacity(size * INSTANCE_COLUMNS);
        for (series_key, new) in rows {
            instance_values(&mut values, *series_key, new);
        }
        conn.exec_drop(sql, Params::Positional(values)).await?;
    }
    Ok(())
}

fn instance_values(values: &mut Vec<Value>, series_key: u64, new: &NewInstance) {
    let instance = &new.attributes.instance;
    values.extend::<[Value; INSTANCE_COLUMNS]>([
        series_key.into(),
        instance.sop_instance_uid.as_str().into(),
        instance.sop_class_uid.as_str().into(),
        new.transfer_syntax_uid.as_str().into(),
        instance.instance_number.into(),
        instance.content_date.into(),
        instance.content_time.into(),
        instance.acquisition_date.into(),
        instance.acquisition_time.into(),
        instance.acquisition_number.into(),
        instance.image_type.as_str().into(),
        instance.rows.into(),
        instance.columns.into(),
        instance.number_of_frames.into(),
        instance.bits_allocated.into(),
        instance.photometric_interpretation.as_str().into(),
        instance.slice_thickness.into(),
        instance.slice_location.into(),
        instance.slice_position.into(),
        instance.completion_flag.as_str().into(),
        instance.verification_flag.as_str().into(),
        instance.document_title.as_str().into(),
        new.path.as_str().into(),
        new.size_bytes.into(),
        new.data_set_offset.into(),
        Value::from(&new.data_set_sha256[..]),
        new.pixel_data_offset.into(),
        new.pixel_data_length.into(),
        new.source_ae_title.as_str().into(),
        new.source_address.as_str().into(),
        new.received_at.naive_utc().into(),
    ]);
}

/// The frame index of a long cine is some 100 KB, so these go one by one.
async fn insert_frame_indexes(conn: &mut impl Queryable, rows: &[(u64, &NewInstance)]) -> Result<(), Error> {
    for (_, new) in rows {
        if let Some(frame_index) = &new.frame_index {
            conn.exec_drop(
                "INSERT INTO frame_index (instance_key, fragments)
                 SELECT instance_key, ?
                   FROM instance
                  WHERE sop_instance_uid = ?",
                (frame_index, new.attributes.instance.sop_instance_uid.as_str()),
            )
            .await?;
        }
    }
    Ok(())
}

async fn update_series(conn: &mut impl Queryable, added: &HashMap<u64, Added>) -> Result<(), Error> {
    for (series_key, added) in added {
        conn.exec_drop(
            "UPDATE series
                SET number_of_series_related_instances = number_of_series_related_instances + :instances,
                    size_bytes = size_bytes + :bytes,
                    changed_at = GREATEST(changed_at, :received_at)
              WHERE series_key = :series_key",
            params! {
                "instances" => added.instances,
                "bytes" => added.bytes,
                "received_at" => added.received_at,
                "series_key" => series_key,
            },
        )
        .await?;
    }
    Ok(())
}

async fn update_studies(
    conn: &mut impl Queryable,
    keys: &Keys,
    added: &HashMap<String, Added>,
) -> Result<(), Error> {
    for (uid, added) in added {
        let Some(study) = keys.studies.get(uid) else { continue };
        conn.exec_drop(
            "UPDATE study
                SET number_of_study_related_series = number_of_study_related_series + :series,
                    number_of_study_related_instances = number_of_study_related_instances + :instances,
                    size_bytes = size_bytes + :bytes,
                    changed_at = GREATEST(changed_at, :received_at)
              WHERE study_key = :study_key",
            params! {
                "series" => added.series,
                "instances" => added.instances,
                "bytes" => added.bytes,
                "received_at" => added.received_at,
                "study_key" => study.study_key,
            },
        )
        .await?;
        if added.grew {
            conn.exec_drop(
                "UPDATE study
                    SET modalities_in_study = :modalities,
                        sop_classes_in_study = :sop_classes
                  WHERE study_key = :study_key",
                params! {
                    "modalities" => cut(&study.modalities.join(","), 255),
                    "sop_classes" => study.sop_classes.join(","),
                    "study_key" => study.study_key,
                },
            )
            .await?;
        }
    }
    Ok(())
}

fn split(list: &str) -> Vec<String> {
    list.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// The first `characters` of a text: what its column holds.
fn cut(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}
