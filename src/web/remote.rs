//! Other archives: `GET /remote` asks a peer for studies with the form of the study list, `POST /remote/retrieve` makes a
//! job of those that were chosen.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use chrono::Local;
use tokio::time::{Instant, timeout_at};

use super::App;
use super::access::{Caller, Fields};
use super::error::Error;
use super::filters::{Filters, Period};
use super::page::{self, Layout};
use super::study::Choice;
use super::text::{self, Person};
use crate::db;
use crate::db::audit::{self, Action};
use crate::db::job::{self, Kind, Method, NewJob};
use crate::db::peer::{self, Peer};
use crate::db::study::Study;
use crate::dicom::query::Query;
use crate::dicom::query::remote::{self, Identifier, RemoteStudy};
use crate::dicom::service::Service;
use crate::dicom::uid::StudyInstanceUid;
use crate::dimse::scu::{self, FindLimits, Found, Proposal};

/// How long a peer gets for its answers, all of them.
const PATIENCE: Duration = Duration::from_secs(20);
/// Answers that are looked at.
const MOST_ANSWERS: usize = 500;
/// What the form offers: nobody knows what another archive holds.
const MODALITIES: [&str; 10] = ["CR", "CT", "DX", "MG", "MR", "NM", "PT", "RF", "US", "XA"];

/// A peer that can be asked.
pub(super) struct PeerChoice {
    pub(super) ae_title: String,
    pub(super) description: String,
    pub(super) chosen: bool,
}

/// A study of another archive as its row shows it.
struct Row {
    uid: String,
    person: Person,
    patient_id: String,
    birth_date: String,
    sex: String,
    date: String,
    time: String,
    modalities: Vec<String>,
    description: String,
    accession: String,
    images: String,
    /// Where it is shown, and how much of it is here.
    here: Option<Here>,
}

/// A study that is here, too.
struct Here {
    words: String,
    /// All of it, as far as the peer says how much that is.
    is_whole: bool,
}

/// What a peer answered.
struct Answer {
    rows: Vec<Row>,
    /// `12 studies`, or that there are more.
    count: String,
    /// Why it is not all, or nothing.
    trouble: Option<String>,
}

#[derive(Template)]
#[template(path = "remote/show.html")]
struct RemotePage {
    layout: Layout,
    filters: Filters,
    periods: Vec<Choice>,
    modalities: Vec<Choice>,
    peers: Vec<PeerChoice>,
    peer: String,
    answer: Option<Answer>,
}

/// `GET /remote`
pub async fn show(
    caller: Caller,
    layout: Layout,
    request: HttpRequest,
    app: web::Data<App>,
) -> Result<HttpResponse, Error> {
    let filters = Filters::parse(request.query_string());
    let asked: Vec<(String, String)> = serde_urlencoded::from_str(request.query_string()).unwrap_or_default();
    let peer = asked.into_iter().find(|(name, _)| name == "peer").map(|(_, value)| value).unwrap_or_default();
    let peers = callable(&app).await?;
    let chosen = peers.iter().find(|known| known.ae_title.as_str() == peer);
    let answer = match chosen {
        Some(peer) if filters.mistake().is_none() => Some(answer(&caller, &app, peer, &filters).await?),
        _ => None,
    };
    page::html(&RemotePage {
        periods: Period::choices(&filters),
        modalities: modalities(&filters),
        peers: choices(&peers, &peer),
        peer,
        answer,
        filters,
        layout,
    })
}

/// The peers that can be called.
pub(super) async fn callable(app: &App) -> Result<Vec<Peer>, Error> {
    let mut conn = db::acquire(&app.pool).await?;
    let mut peers = peer::list(&mut conn).await?;
    peers.retain(|peer| !peer.host.is_empty() && peer.port.is_some());
    Ok(peers)
}

/// The first one is chosen where none was.
pub(super) fn choices(peers: &[Peer], chosen: &str) -> Vec<PeerChoice> {
    let choice = |peer: &Peer| PeerChoice {
        ae_title: peer.ae_title.to_string(),
        description: peer.description.clone(),
        chosen: peer.ae_title.as_str() == chosen,
    };
    peers.iter().map(choice).collect()
}

fn modalities(filters: &Filters) -> Vec<Choice> {
    let others = filters.modalities.iter().map(String::as_str).filter(|name| !MODALITIES.contains(name));
    let choice = |name: &str| Choice {
        value: name.to_owned(),
        label: name.to_owned(),
        chosen: filters.modalities.iter().any(|chosen| chosen == name),
    };
    MODALITIES.into_iter().chain(others).map(choice).collect()
}

/// Asks, after a row of the audit trail says so.
async fn answer(caller: &Caller, app: &App, peer: &Peer, filters: &Filters) -> Result<Answer, Error> {
    let entry = caller.did(Action::QueryRemote, format!("{}: {}", peer.ae_title, filters.in_words()));
    caller.record(app, entry).await?;
    let query = filters.query(Local::now().date_naive());
    let (mut studies, trouble) = ask(app, peer, &query).await;
    remote::sort(&mut studies, &query);
    let uids = studies.iter().map(|study| study.study_instance_uid.to_string()).collect();
    let here = app.archive.studies(uids, &caller.visibility).await?;
    let here: BTreeMap<&str, &Study> =
        here.iter().map(|study| (study.study_instance_uid.as_str(), study)).collect();
    let rows: Vec<Row> = studies
        .iter()
        .map(|study| row(study, here.get(study.study_instance_uid.as_str()).copied()))
        .collect();
    let count = text::counted(u64::try_from(rows.len()).unwrap_or(u64::MAX), "study", "studies");
    Ok(Answer { rows, count, trouble })
}

/// The studies that match, each once, and why they are not all.
async fn ask(app: &App, peer: &Peer, query: &Query) -> (Vec<RemoteStudy>, Option<String>) {
    let mut found = BTreeMap::new();
    let until = Instant::now() + PATIENCE;
    let identifiers = remote::identifiers(query);
    let asked = ask_each(app, peer, &identifiers, until, |study| {
        if study.matches(query) {
            found.insert(study.study_instance_uid.to_string(), study);
        }
    });
    let trouble = match timeout_at(until + Duration::from_secs(10), asked).await {
        Ok(trouble) => trouble,
        Err(_) => Some(late(peer)),
    };
    (found.into_values().collect(), trouble)
}

async fn ask_each(
    app: &App,
    peer: &Peer,
    identifiers: &[Identifier],
    until: Instant,
    mut on_study: impl FnMut(RemoteStudy),
) -> Option<String> {
    let first = identifiers.first()?;
    let called = match app.requestor.called(peer) {
        Ok(called) => called,
        Err(err) => return Some(page::sentence(&err.to_string())),
    };
    let contexts = vec![Proposal::asking(first.sop_class(Service::Find))];
    let mut association = match app.requestor.associate(&called, contexts).await {
        Ok(association) => association,
        Err(err) => return Some(page::sentence(&err.to_string())),
    };
    let mut answers = 0;
    for identifier in identifiers {
        let limits = FindLimits { matches: MOST_ANSWERS - answers, until };
        let found = association.find(identifier, limits, |answer| {
            answers += 1;
            if let Some(study) = RemoteStudy::of(&answer) {
                on_study(study);
            }
        });
        match found.await {
            Ok(Found::All) => {}
            Ok(Found::Enough) => {
                released(association.release().await);
                return Some(format!(
                    "More than {MOST_ANSWERS} studies match. Narrow the search to see the others."
                ));
            }
            Ok(Found::Late) => return Some(late(peer)),
            Ok(Found::Refused(response)) => {
                released(association.release().await);
                return Some(format!("{} did not answer: {}.", peer.ae_title, response.in_words()));
            }
            Err(err) => return Some(page::sentence(&err.to_string())),
        }
        if answers >= MOST_ANSWERS {
            break;
        }
    }
    released(association.release().await);
    None
}

fn released(released: Result<(), scu::Error>) {
    if let Err(err) = released {
        tracing::info!(%err, "a query did not end with a release");
    }
}

fn late(peer: &Peer) -> String {
    let seconds = PATIENCE.as_secs();
    format!("{} did not come to an end within {seconds} seconds. Narrow the search.", peer.ae_title)
}

fn row(study: &RemoteStudy, here: Option<&Study>) -> Row {
    let count = |number: Option<u64>| number.map(text::thousands).unwrap_or_default();
    let images = match (study.number_of_series, study.number_of_instances) {
        (None, instances) => count(instances),
        (series, instances) => format!("{} / {}", count(series), count(instances)),
    };
    Row {
        uid: study.study_instance_uid.to_string(),
        person: Person::of(&study.patient_name),
        patient_id: study.patient_id.clone(),
        birth_date: text::date(study.patient_birth_date),
        sex: study.patient_sex.clone(),
        date: text::date(study.study_date),
        time: text::time(study.study_time),
        modalities: study.modalities_in_study.clone(),
        description: study.study_description.clone(),
        accession: study.accession_number.clone(),
        images,
        here: here.map(|held| how_much(held, study.number_of_instances)),
    }
}

fn how_much(held: &Study, there: Option<u64>) -> Here {
    let have = u64::from(held.number_of_study_related_instances);
    match there {
        Some(there) if have < there => Here {
            words: format!("{} of {} here", text::thousands(have), text::thousands(there)),
            is_whole: false,
        },
        _ => Here { words: "Here".to_owned(), is_whole: true },
    }
}

/// `POST /remote/retrieve`
pub async fn retrieve(caller: Caller, fields: Fields, app: web::Data<App>) -> Result<HttpResponse, Error> {
    let user = caller.signed_in()?;
    let method: Method = fields.first("method").parse().unwrap_or(Method::Get);
    let mut studies: Vec<StudyInstanceUid> = Vec::new();
    for uid in fields.all("study").filter_map(|uid| uid.parse().ok()).take(MOST_ANSWERS) {
        if !studies.contains(&uid) {
            studies.push(uid);
        }
    }
    if studies.is_empty() {
        return Err(Error::Invalid("Tick at least one study to retrieve.".to_owned()));
    }
    let peers = callable(&app).await?;
    let peer = peers.iter().find(|peer| peer.ae_title.as_str() == fields.first("peer"));
    let peer = peer.ok_or_else(|| Error::Invalid("There is no such peer.".to_owned()))?;
    let new = NewJob {
        kind: Kind::Retrieve,
        ae_title: &peer.ae_title,
        method: Some(method),
        asked_by: user.name.as_str(),
        patience: app.job_patience.as_secs(),
    };
    let mut conn = db::acquire(&app.pool).await?;
    let mut change = conn.start_transaction(Default::default()).await?;
    let job_key = job::add(&mut change, &new).await?;
    job::add_studies(&mut change, job_key, &studies).await?;
    job::count(&mut change, job_key).await?;
    let how = match method {
        Method::Get => "C-GET",
        Method::Move => "C-MOVE",
    };
    let entry = |uid: &StudyInstanceUid| {
        let details = format!("from {} by {how}, job {job_key}", peer.ae_title);
        caller.did(Action::Retrieve, details).study(uid.as_str())
    };
    let entries: Vec<_> = studies.iter().map(entry).collect();
    audit::append(&mut change, &entries).await?;
    change.commit().await?;
    app.new_job.notify_one();
    tracing::info!(job = job_key, peer = %peer.ae_title, studies = studies.len(), "studies are to be retrieved");
    Ok(page::see_other(&format!("/jobs/{job_key}")))
}
