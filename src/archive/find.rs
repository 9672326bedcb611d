//! What the archive holds: lists and details for people who look for studies.
//!
//! The number of statements does not depend on the number of rows: a list of studies is a count and a select, a
//! study page is six selects.

use super::{Archive, Error};
use crate::db::instance::Document;
use crate::db::patient::Patient;
use crate::db::series::Series;
use crate::db::study::{Study, Totals};
use crate::db::{instance, patient, quarantine, series, study};
use crate::dicom::query::{Page, Query};
use crate::dicom::uid::StudyInstanceUid;

/// Studies of one patient that a page lists.
const STUDIES_OF_PATIENT: u64 = 500;
/// Documents of one study that a page lists.
const DOCUMENTS_OF_STUDY: u64 = 1000;
/// Instances in quarantine that a page lists.
const QUARANTINED: u64 = 500;

/// One page of a search.
#[derive(Debug, Clone)]
pub struct Found {
    /// The studies, in the query's order.
    pub studies: Vec<Study>,
    /// How many match altogether.
    pub total: u64,
    /// The page that was read: the last one where the query asked for one behind it.
    pub page: Page,
    /// Modalities of which the archive holds a series.
    pub modalities: Vec<String>,
}

/// All that the page of a study shows.
#[derive(Debug, Clone)]
pub struct StudyDetails {
    /// The study.
    pub study: Study,
    /// The patient it is filed under, then every other one it came under.
    pub patients: Vec<Patient>,
    /// Its series, in the order they are read.
    pub series: Vec<Series>,
    /// What in it is read rather than looked at.
    pub documents: Vec<Document>,
    /// Numbers of what is in quarantine for its instances.
    pub quarantined: Vec<u64>,
    /// Other studies of the patient, latest first.
    pub others: Vec<Study>,
}

/// A patient and what is filed under them.
#[derive(Debug, Clone)]
pub struct PatientDetails {
    /// The patient.
    pub patient: Patient,
    /// Latest first; those filed under another patient came under this one too.
    pub studies: Vec<Study>,
}

impl Archive {
    /// The studies that match, one page of them.
    pub async fn find_studies(&self, mut query: Query) -> Result<Found, Error> {
        self.with_connection(async move |mut conn| {
            let modalities = series::modalities(&mut conn).await?;
            let (total, newest) = study::count(&mut conn, &query).await?;
            let last = total.div_ceil(query.page.size.max(1)).max(1);
            query.page.number = query.page.number.clamp(1, last);
            query.page.as_of.get_or_insert(newest);
            let studies = match total {
                0 => Vec::new(),
                _ => study::find(&mut conn, &query).await?,
            };
            Ok(Found { studies, total, page: query.page, modalities })
        })
        .await
    }

    /// The study with this UID and all that its page shows.
    pub async fn study_details(&self, uid: StudyInstanceUid) -> Result<Option<StudyDetails>, Error> {
        self.with_connection(async move |mut conn| {
            let Some(study) = study::by_uid(&mut conn, &uid).await? else { return Ok(None) };
            let key = study.study_key;
            let patients = patient::of_study(&mut conn, key).await?;
            let series = series::of_study(&mut conn, key).await?;
            let documents = instance::documents(&mut conn, key, DOCUMENTS_OF_STUDY).await?;
            let quarantined = quarantine::of_study(&mut conn, key, QUARANTINED).await?;
            let mut others = study::of_patient(&mut conn, study.patient_key, STUDIES_OF_PATIENT).await?;
            others.retain(|other| other.study_key != key);
            Ok(Some(StudyDetails { study, patients, series, documents, quarantined, others }))
        })
        .await
    }

    /// The patient with this number, and their studies.
    pub async fn patient_details(&self, patient_key: u64) -> Result<Option<PatientDetails>, Error> {
        self.with_connection(async move |mut conn| {
            let Some(patient) = patient::by_key(&mut conn, patient_key).await? else { return Ok(None) };
            let studies = study::of_patient(&mut conn, patient_key, STUDIES_OF_PATIENT).await?;
            Ok(Some(PatientDetails { patient, studies }))
        })
        .await
    }

    /// How much the archive holds, and how many instances are in quarantine.
    pub async fn totals(&self) -> Result<(Totals, u64), Error> {
        self.with_connection(async move |mut conn| {
            Ok((study::totals(&mut conn).await?, quarantine::count(&mut conn).await?))
        })
        .await
    }

    /// What is in quarantine, the last to arrive first.
    pub async fn list_quarantine(&self) -> Result<Vec<quarantine::Quarantined>, Error> {
        self.with_connection(async move |mut conn| Ok(quarantine::list(&mut conn, QUARANTINED).await?)).await
    }
}
