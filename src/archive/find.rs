//! What the archive holds: lists and details for people who look for studies.
//!
//! The number of statements does not depend on the number of rows: a list of studies is at most six selects, a study
//! page is seven selects. Nor does what a list costs grow with the archive: see [`super::waypoints`] for the list of
//! everything. A search is counted up to [`MOST_COUNTED`], and where it finds fewer, those alone are sorted.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use mysql_async::Conn;

use super::{Archive, Error};
use crate::db::commitment::{self, StoredAt};
use crate::db::instance::Document;
use crate::db::patient::Patient;
use crate::db::series::Series;
use crate::db::study::{Study, Totals, list};
use crate::db::visibility::Visibility;
use crate::db::{instance, patient, quarantine, series, study};
use crate::dicom::query::{Page, Query};
use crate::dicom::uid::StudyInstanceUid;

/// Studies of one patient that a page lists.
const STUDIES_OF_PATIENT: u64 = 500;
/// Documents of one study that a page lists.
const DOCUMENTS_OF_STUDY: u64 = 1000;
/// Instances in quarantine that a page lists.
const QUARANTINED: u64 = 500;

/// Matches of a search that are counted; where there are more, nobody turns to the last page.
pub const MOST_COUNTED: u64 = 10_000;
/// Totals that took longer than this are kept, and for how long.
const TOTALS_ARE_CHEAP: Duration = Duration::from_millis(50);
const TOTALS_ARE_KEPT: Duration = Duration::from_secs(60);

/// The last totals that took long to add up, and when that was.
pub(super) type KeptTotals = Mutex<Option<(Instant, Totals)>>;

/// How many studies match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matches {
    /// This many.
    Exactly(u64),
    /// More than this.
    MoreThan(u64),
}

/// One page of a search.
#[derive(Debug, Clone)]
pub struct Found {
    /// The studies, in the query's order.
    pub studies: Vec<Study>,
    /// How many match altogether.
    pub matches: Matches,
    /// The page that was read: the last one where the query asked for one behind it.
    pub page: Page,
    /// Whether there is a page behind it.
    pub more_follow: bool,
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
    /// What each peer has said of the instances that were sent to it.
    pub stored_at: Vec<StoredAt>,
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
    /// The visible studies that match, one page of them.
    pub async fn find_studies(&self, mut query: Query, visibility: &Visibility) -> Result<Found, Error> {
        let (archive, visibility) = (self.clone(), visibility.clone());
        self.with_connection(async move |mut conn| {
            let sees_all = visibility == Visibility::All;
            let modalities = match sees_all {
                true => series::modalities(&mut conn).await?,
                false => study::modalities(&mut conn, &visibility).await?,
            };
            // For somebody who does not see all, the number of the newest of all would tell how many there are.
            let newest = list::newest_visible(&mut conn, &visibility).await?;
            query.page.as_of = Some(query.page.as_of.unwrap_or(newest).min(newest));
            let (matches, studies) = match query.matches_everything() && sees_all {
                true => archive.page_of_all(&mut conn, &mut query, newest).await?,
                false => page_of_matches(&mut conn, &mut query, &visibility).await?,
            };
            Ok(found(query.page, matches, studies, modalities))
        })
        .await
    }

    /// A page of all studies, and one study more where there is one.
    async fn page_of_all(
        &self,
        conn: &mut Conn,
        query: &mut Query,
        newest: u64,
    ) -> Result<(Matches, Vec<Study>), Error> {
        let waypoints = &self.inner.waypoints;
        waypoints.keep_up(&self.inner.runtime, &self.inner.pool, query.sort.by, newest);
        let total = match waypoints.total(conn, query.page.as_of.unwrap_or(newest)).await? {
            Some(total) => total,
            None => list::count(conn, query, &Visibility::All).await?,
        };
        query.page.number = within(query.page, total);
        let studies = match waypoints.page(conn, query, total).await? {
            Some(studies) => studies,
            None => list::find(conn, query, &Visibility::All, query.page.offset(), query.page.size).await?,
        };
        Ok((Matches::Exactly(total), studies))
    }

    /// The study with this UID, if it is visible.
    pub async fn study(
        &self,
        uid: &StudyInstanceUid,
        visibility: &Visibility,
    ) -> Result<Option<Study>, Error> {
        let (uid, visibility) = (uid.clone(), visibility.clone());
        self.with_connection(async move |mut conn| Ok(study::by_uid(&mut conn, &uid, &visibility).await?))
            .await
    }

    /// Those of the studies with these UIDs that are here and visible, in no order.
    pub async fn studies(&self, uids: Vec<String>, visibility: &Visibility) -> Result<Vec<Study>, Error> {
        let visibility = visibility.clone();
        self.with_connection(async move |mut conn| Ok(study::by_uids(&mut conn, &uids, &visibility).await?))
            .await
    }

    /// The study with this UID and all that its page shows, if it is visible.
    pub async fn study_details(
        &self,
        uid: StudyInstanceUid,
        visibility: &Visibility,
    ) -> Result<Option<StudyDetails>, Error> {
        let visibility = visibility.clone();
        self.with_connection(async move |mut conn| {
            let Some(study) = study::by_uid(&mut conn, &uid, &visibility).await? else { return Ok(None) };
            let key = study.study_key;
            let patients = patient::of_study(&mut conn, key).await?;
            let series = series::of_study(&mut conn, key).await?;
            let documents = instance::documents(&mut conn, key, DOCUMENTS_OF_STUDY).await?;
            let quarantined = quarantine::of_study(&mut conn, key, QUARANTINED).await?;
            let stored_at = commitment::of_study(&mut conn, uid.as_str()).await?;
            let mut others =
                study::of_patient(&mut conn, study.patient_key, &visibility, STUDIES_OF_PATIENT).await?;
            others.retain(|other| other.study_key != key);
            Ok(Some(StudyDetails { study, patients, series, documents, quarantined, stored_at, others }))
        })
        .await
    }

    /// The patient with this number and their visible studies, if there is one.
    pub async fn patient_details(
        &self,
        patient_key: u64,
        visibility: &Visibility,
    ) -> Result<Option<PatientDetails>, Error> {
        let visibility = visibility.clone();
        self.with_connection(async move |mut conn| {
            let Some(patient) = patient::by_key(&mut conn, patient_key, &visibility).await? else {
                return Ok(None);
            };
            let studies = study::of_patient(&mut conn, patient_key, &visibility, STUDIES_OF_PATIENT).await?;
            Ok(Some(PatientDetails { patient, studies }))
        })
        .await
    }

    /// How much the archive holds, and how many instances are in quarantine.
    pub async fn totals(&self) -> Result<(Totals, u64), Error> {
        let archive = self.clone();
        self.with_connection(async move |mut conn| {
            let quarantined = quarantine::count(&mut conn).await?;
            Ok((archive.totals_of_studies(&mut conn).await?, quarantined))
        })
        .await
    }

    /// Adds them up, unless that took long and was done within the last minute.
    async fn totals_of_studies(&self, conn: &mut Conn) -> Result<Totals, Error> {
        let kept = || self.inner.totals.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, totals)) = *kept()
            && at.elapsed() < TOTALS_ARE_KEPT
        {
            return Ok(totals);
        }
        let began = Instant::now();
        let totals = study::totals(conn).await?;
        *kept() = (began.elapsed() > TOTALS_ARE_CHEAP).then_some((began, totals));
        Ok(totals)
    }

    /// What is in quarantine for visible studies, the last to arrive first.
    pub async fn list_quarantine(
        &self,
        visibility: &Visibility,
    ) -> Result<Vec<quarantine::Quarantined>, Error> {
        let visibility = visibility.clone();
        self.with_connection(async move |mut conn| {
            Ok(quarantine::list(&mut conn, &visibility, QUARANTINED).await?)
        })
        .await
    }

    /// Of these Study Instance UIDs, those of visible studies.
    pub async fn visible_among(
        &self,
        uids: Vec<String>,
        visibility: &Visibility,
    ) -> Result<Vec<String>, Error> {
        if *visibility == Visibility::All {
            return Ok(uids);
        }
        let visibility = visibility.clone();
        self.with_connection(async move |mut conn| {
            Ok(study::visible_among(&mut conn, &uids, &visibility).await?)
        })
        .await
    }
}

/// A page of what a search finds, and one study more where there is one and not all are counted.
async fn page_of_matches(
    conn: &mut Conn,
    query: &mut Query,
    visibility: &Visibility,
) -> Result<(Matches, Vec<Study>), Error> {
    let keys = list::matching_keys(conn, query, visibility, MOST_COUNTED + 1).await?;
    let counted = u64::try_from(keys.len()).unwrap_or(u64::MAX);
    let size = query.page.size;
    if counted <= MOST_COUNTED {
        query.page.number = within(query.page, counted);
        let studies = list::of_keys(conn, &keys, query.sort, query.page.offset(), size).await?;
        return Ok((Matches::Exactly(counted), studies));
    }
    // So many match that those of a page are soon found on the way along the order.
    let matches = Matches::MoreThan(MOST_COUNTED);
    let studies = list::find(conn, query, visibility, query.page.offset(), size.saturating_add(1)).await?;
    if !studies.is_empty() {
        return Ok((matches, studies));
    }
    let total = list::count(conn, query, visibility).await?;
    query.page.number = within(query.page, total);
    Ok((Matches::Exactly(total), list::find(conn, query, visibility, query.page.offset(), size).await?))
}

/// The number of this page, or of the last one where it is behind that.
fn within(page: Page, total: u64) -> u64 {
    page.number.clamp(1, total.div_ceil(page.size.max(1)).max(1))
}

/// What was found, of which one study too many only tells that there are more.
fn found(page: Page, matches: Matches, mut studies: Vec<Study>, modalities: Vec<String>) -> Found {
    let size = usize::try_from(page.size).unwrap_or(usize::MAX);
    let more_follow = match matches {
        Matches::Exactly(total) => page.number.saturating_mul(page.size) < total,
        Matches::MoreThan(_) => studies.len() > size,
    };
    studies.truncate(size);
    Found { studies, matches, page, more_follow, modalities }
}
