//! Sending: `GET /send?study=…` asks where to, `POST /send` makes a job of it.

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;

use super::App;
use super::access::{Caller, Fields};
use super::error::Error;
use super::page::{self, Layout};
use super::remote::{PeerChoice, callable, choices};
use super::study::StudyRow;
use super::text;
use crate::db;
use crate::db::audit::{self, Action};
use crate::db::job::{self, Kind, NewJob};
use crate::db::series::Series;
use crate::dicom::uid::StudyInstanceUid;
use crate::people::trail::Shown;

/// Studies that are sent at once.
const MOST_STUDIES: usize = 200;

/// A series that can be chosen.
struct SeriesChoice {
    uid: String,
    number: String,
    modality: String,
    description: String,
    count: String,
    chosen: bool,
}

#[derive(Template)]
#[template(path = "send/show.html")]
struct SendPage {
    layout: Layout,
    studies: Vec<StudyRow>,
    /// Of the one study; none where there are several.
    series: Vec<SeriesChoice>,
    peers: Vec<PeerChoice>,
    /// `2 studies, 412 images`
    extent: String,
    mistake: Option<&'static str>,
}

/// `GET /send`
pub async fn show(
    caller: Caller,
    layout: Layout,
    request: HttpRequest,
    app: web::Data<App>,
) -> Result<HttpResponse, Error> {
    let asked: Vec<(String, String)> = serde_urlencoded::from_str(request.query_string()).unwrap_or_default();
    let values = |wanted: &str| -> Vec<String> {
        asked.iter().filter(|(name, _)| name == wanted).map(|(_, value)| value.clone()).collect()
    };
    let page = send_page(&caller, layout, &app, &values("study"), Chosen::All, None).await?;
    page::html(&page)
}

/// Which series are ticked.
enum Chosen<'a> {
    All,
    These(&'a [String]),
}

async fn send_page(
    caller: &Caller,
    layout: Layout,
    app: &App,
    uids: &[String],
    chosen: Chosen<'_>,
    mistake: Option<&'static str>,
) -> Result<SendPage, Error> {
    let uids = checked(uids)?;
    let wanted: Vec<String> = uids.iter().map(ToString::to_string).collect();
    let mut studies = app.archive.studies(wanted.clone(), &caller.visibility).await?;
    studies.sort_by_key(|study| wanted.iter().position(|uid| uid == study.study_instance_uid.as_str()));
    if studies.is_empty() {
        return Err(Error::NotFound);
    }
    for study in &studies {
        let uid = study.study_instance_uid.as_str();
        let entry = caller.did(Action::ViewStudy, "to send it").study(uid);
        caller.show_once(app, &[Shown::Study(uid.to_owned()), Shown::Listed(uid.to_owned())], entry).await?;
    }
    let series = match studies.as_slice() {
        [study] => {
            let uid = study.study_instance_uid.clone();
            let details = app.archive.study_details(uid, &caller.visibility).await?.ok_or(Error::NotFound)?;
            details.series.iter().map(|series| choice(series, &chosen)).collect()
        }
        _ => Vec::new(),
    };
    let images = studies.iter().map(|study| u64::from(study.number_of_study_related_instances)).sum();
    let count = u64::try_from(studies.len()).unwrap_or(u64::MAX);
    Ok(SendPage {
        layout,
        extent: format!(
            "{}, {}",
            text::counted(count, "study", "studies"),
            text::counted(images, "instance", "instances")
        ),
        studies: studies.iter().map(StudyRow::of).collect(),
        series,
        peers: choices(&callable(app).await?, ""),
        mistake,
    })
}

fn checked(uids: &[String]) -> Result<Vec<StudyInstanceUid>, Error> {
    if uids.is_empty() {
        return Err(Error::Invalid("Tick at least one study to send.".to_owned()));
    }
    let parsed: Result<Vec<StudyInstanceUid>, _> =
        uids.iter().take(MOST_STUDIES).map(|uid| uid.parse()).collect();
    parsed.map_err(|_| Error::NotFound)
}

fn choice(series: &Series, chosen: &Chosen<'_>) -> SeriesChoice {
    let uid = series.series_instance_uid.to_string();
    let description = match series.series_description.as_str() {
        "" => "No description".to_owned(),
        description => description.to_owned(),
    };
    SeriesChoice {
        chosen: match chosen {
            Chosen::All => true,
            Chosen::These(uids) => uids.contains(&uid),
        },
        number: series.series_number.map(|number| number.to_string()).unwrap_or_default(),
        modality: series.modality.clone(),
        description,
        count: text::counted(series.number_of_series_related_instances.into(), "instance", "instances"),
        uid,
    }
}

/// `POST /send`
pub async fn send(
    caller: Caller,
    layout: Layout,
    fields: Fields,
    app: web::Data<App>,
) -> Result<HttpResponse, Error> {
    let user = caller.signed_in()?;
    let all = |name: &str| -> Vec<String> { fields.all(name).map(str::to_owned).collect() };
    let (uids, series) = (all("study"), all("series"));
    let studies = checked(&uids)?;
    let is_by_series = fields.has("by_series") && studies.len() == 1;
    if is_by_series && series.is_empty() {
        let mistake = Some("Tick at least one series.");
        let page = send_page(&caller, layout, &app, &uids, Chosen::These(&series), mistake).await?;
        return page::html(&page);
    }
    let peers = callable(&app).await?;
    let peer = peers.iter().find(|peer| peer.ae_title.as_str() == fields.first("peer"));
    let peer = peer.ok_or_else(|| Error::Invalid("Choose a peer to send to.".to_owned()))?;
    let new = NewJob {
        kind: Kind::Send,
        ae_title: &peer.ae_title,
        method: None,
        asked_by: user.name.as_str(),
        patience: app.job_patience.as_secs(),
    };
    let mut conn = db::acquire(&app.pool).await?;
    let mut change = conn.start_transaction(Default::default()).await?;
    let job_key = job::add(&mut change, &new).await?;
    let mut entries = Vec::new();
    let chosen: &[String] = if is_by_series { &series } else { &[] };
    for study in &studies {
        let added = job::add_instances(&mut change, job_key, study, chosen, &caller.visibility).await?;
        if added > 0 {
            let instances = text::counted(added, "instance", "instances");
            let details = format!("{instances} to {}, job {job_key}", peer.ae_title);
            let mut entry = caller.did(Action::Send, details).study(study.as_str());
            if let ([series], true) = (chosen, is_by_series) {
                entry = entry.series(series);
            }
            entries.push(entry);
        }
    }
    if entries.is_empty() {
        change.rollback().await?;
        return Err(Error::NotFound);
    }
    job::count(&mut change, job_key).await?;
    audit::append(&mut change, &entries).await?;
    change.commit().await?;
    app.new_job.notify_one();
    tracing::info!(job = job_key, peer = %peer.ae_title, studies = entries.len(), "studies are to be sent");
    Ok(page::see_other(&format!("/jobs/{job_key}")))
}
