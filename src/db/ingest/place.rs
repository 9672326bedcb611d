//! Where an instance belongs: the rows of its patient, study, equipment and series, found or made, with their counts.
//!
//! A study or series that is new is written once, with all that the batch brings for it. One that was there gets one
//! UPDATE.

use std::collections::{HashMap, HashSet};

use chrono::{NaiveDate, NaiveDateTime};
use mysql_async::prelude::Queryable;
use mysql_async::{Params, Value, params};

use super::rows::{
    Counts, insert, insert_series, insert_study, inserted, update_contents, update_series, update_study,
};
use super::{NewInstance, cut, groups};
use crate::db::Error;
use crate::dicom::person_name::PersonName;

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
pub(super) struct Patient {
    pub(super) patient_key: u64,
    pub(super) name_folded: String,
    pub(super) birth_date: Option<NaiveDate>,
    pub(super) sex: String,
}

#[derive(Debug, Clone)]
struct Study {
    study_key: u64,
    patient_key: u64,
    patient_name_folded: String,
    contents: Contents,
}

/// What a batch adds to the counts of a study or series.
#[derive(Debug, Default)]
pub(super) struct Added {
    /// Of a study.
    pub(super) series: u32,
    pub(super) instances: u32,
    pub(super) bytes: u64,
    /// Of the last instance.
    pub(super) received_at: Option<NaiveDateTime>,
}

impl Added {
    fn of(instances: &[&NewInstance]) -> Added {
        let mut added = Added::default();
        for new in instances {
            added.instances += 1;
            added.bytes += new.size_bytes;
            added.received_at = added.received_at.max(Some(new.received_at.naive_utc()));
        }
        added
    }
}

/// ModalitiesInStudy and SOPClassesInStudy.
#[derive(Debug, Clone, Default)]
pub(super) struct Contents {
    modalities: Vec<String>,
    sop_classes: Vec<String>,
}

impl Contents {
    /// Takes in what these instances are. Says whether anything was new.
    fn grow(&mut self, instances: &[&NewInstance]) -> bool {
        let mut grew = false;
        for new in instances {
            let modality = new.attributes.series.modality.as_str();
            let sop_class = new.attributes.instance.sop_class_uid.as_str();
            for (list, name) in [(&mut self.modalities, modality), (&mut self.sop_classes, sop_class)] {
                if !name.is_empty() && list.iter().all(|known| known != name) {
                    list.push(name.to_owned());
                    list.sort();
                    grew = true;
                }
            }
        }
        grew
    }

    /// As its column has it, commas between.
    pub(super) fn modalities(&self) -> String {
        cut(&self.modalities.join(","), 255)
    }

    /// As its column has it, commas between.
    pub(super) fn sop_classes(&self) -> String {
        self.sop_classes.join(",")
    }
}

impl Keys {
    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.patients.is_empty() && self.studies.is_empty() && self.series.is_empty()
    }

    pub(super) fn forget_if_many(&mut self) {
        if self.series.len() + self.studies.len() + self.patients.len() > REMEMBERED {
            *self = Keys::default();
        }
    }
}

/// Finds or makes everything above these instances of one study. Each gets its series in `rows`, and what the counts of
/// the study and of one series of it grow by goes into `counts`.
pub(super) async fn study<'a>(
    conn: &mut impl Queryable,
    keys: &mut Keys,
    instances: &[&'a NewInstance],
    rows: &mut Vec<(u64, &'a NewInstance)>,
    counts: &mut Vec<Counts>,
) -> Result<(), Error> {
    let Some(first) = instances.first() else { return Ok(()) };
    let uid = first.attributes.study.study_instance_uid.as_str();
    let series = groups(instances, |new| new.attributes.series.series_instance_uid.as_str());
    let mut added = Added::of(instances);
    let (study, is_new) = match keys.studies.get(uid) {
        Some(study) => (study.clone(), false),
        None => find_or_make_study(conn, keys, first, instances, &mut added).await?,
    };
    for new in instances {
        note_conflict(conn, keys, &study, new).await?;
    }
    let mut before: Vec<(u64, Added)> = Vec::new();
    for (series_uid, instances) in &series {
        let found = match is_new {
            true => None,
            false => find_series(conn, keys, study.study_key, series_uid).await?,
        };
        let series_added = Added::of(instances);
        let series_key = match (found, instances.first()) {
            (None, Some(first)) => {
                added.series += u32::from(!is_new);
                let equipment_key = equipment(conn, keys, first).await?;
                insert_series(conn, study.study_key, equipment_key, first, &series_added).await?
            }
            (None, None) => continue,
            (Some(series_key), _) => {
                before.push((series_key, series_added));
                series_key
            }
        };
        keys.series.insert((study.study_key, (*series_uid).to_owned()), series_key);
        rows.extend(instances.iter().map(|&new| (series_key, new)));
    }
    let study = keys.studies.entry(uid.to_owned()).or_insert(study);
    if is_new {
        return Ok(());
    }
    let mut before = before.into_iter();
    match before.next() {
        Some((series_key, series_added)) => {
            counts.push(Counts { series_key, series: series_added, study: added });
        }
        None => update_study(conn, study.study_key, &added).await?,
    }
    for (series_key, series_added) in before {
        update_series(conn, series_key, &series_added).await?;
    }
    if study.contents.grow(instances) {
        update_contents(conn, study.study_key, &study.contents).await?;
    }
    Ok(())
}

/// The study of these instances, the first of which is `first`, and whether it is new: then its row has all that they
/// bring, and `added` says how many series those are.
///
/// A study that was not seen lately is new more often than not, and asking first costs as much as making it. Where the
/// first names no patient it is asked all the same, since such an instance may only make a patient with its study.
async fn find_or_make_study(
    conn: &mut impl Queryable,
    keys: &mut Keys,
    first: &NewInstance,
    instances: &[&NewInstance],
    added: &mut Added,
) -> Result<(Study, bool), Error> {
    let attributes = &first.attributes.study;
    let uid = attributes.study_instance_uid.as_str();
    if first.attributes.patient.patient_id.is_empty()
        && let Some(study) = find_study(conn, uid).await?
    {
        return Ok((study, false));
    }
    let patient = patient(conn, keys, first).await?;
    let mut contents = Contents::default();
    contents.grow(instances);
    let series = groups(instances, |new| new.attributes.series.series_instance_uid.as_str()).len();
    added.series = u32::try_from(series).unwrap_or(u32::MAX);
    match insert_study(conn, &patient, first, added, &contents).await {
        Ok(study_key) => {
            let patient_name_folded = attributes.patient_name_folded.clone();
            Ok((Study { study_key, patient_key: patient.patient_key, patient_name_folded, contents }, true))
        }
        Err(err) if err.is_duplicate() => {
            added.series = 0;
            let study = find_study(conn, uid).await?.ok_or(err)?;
            Ok((study, false))
        }
        Err(err) => Err(err),
    }
}

async fn find_series(
    conn: &mut impl Queryable,
    keys: &Keys,
    study_key: u64,
    uid: &str,
) -> Result<Option<u64>, Error> {
    if let Some(series_key) = keys.series.get(&(study_key, uid.to_owned())) {
        return Ok(Some(*series_key));
    }
    let found = conn
        .exec_first(
            "SELECT series_key
               FROM series
              WHERE study_key = :study_key AND series_instance_uid = :uid",
            params! { "study_key" => study_key, "uid" => uid },
        )
        .await?;
    Ok(found)
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
        contents: Contents { modalities: split(&modalities), sop_classes: split(&sop_classes) },
    }))
}

/// Notes that an instance came under another patient than its study is filed under, if so.
async fn note_conflict(
    conn: &mut impl Queryable,
    keys: &mut Keys,
    study: &Study,
    new: &NewInstance,
) -> Result<(), Error> {
    // An instance without Patient ID says nothing of who it is of, unless its name does.
    let name_folded = &new.attributes.study.patient_name_folded;
    let is_silent = new.attributes.patient.patient_id.is_empty()
        && (name_folded.is_empty() || *name_folded == study.patient_name_folded);
    if is_silent {
        return Ok(());
    }
    let patient_key = patient(conn, keys, new).await?.patient_key;
    if patient_key == study.patient_key {
        return Ok(());
    }
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

fn split(list: &str) -> Vec<String> {
    list.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect()
}
