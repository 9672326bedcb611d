//! Peers: `GET /admin/peers` with those that are known, those that were refused and the associations that are open, and
//! forms to add a peer, to change one and to see whether it answers.

pub mod echo;
mod form;
pub mod refused;

use std::collections::BTreeMap;

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::access::{Caller, Posted};
use super::error::Error;
use super::page::{self, Layout};
use super::{App, association};
use crate::db;
use crate::db::audit::{self, Action, Entry};
use crate::db::peer::{self, Encryption, Peer, PeerDetails};
use crate::db::role::Right;
use crate::dicom::ae_title::AeTitle;
use crate::dicom::service::Service;
use crate::tls::Fingerprint;

use self::form::{Mistakes, PeerForm, details};

/// A peer as its row shows it.
struct Row {
    key: u64,
    ae_title: String,
    host: String,
    port: String,
    /// What it may, in words.
    may: String,
    is_destination: bool,
    offers_commitment: bool,
    encryption: &'static str,
    description: String,
    seen: String,
    /// Where it can be called.
    is_somewhere: bool,
}

/// What has just been done, above the page.
struct Notice {
    is_good: bool,
    text: String,
    /// More of it is there.
    link: Option<&'static str>,
}

#[derive(Template)]
#[template(path = "peer/list.html")]
struct ListPage {
    layout: Layout,
    notice: Option<Notice>,
    peers: Vec<Row>,
    callers: Vec<refused::Row>,
    associations: Vec<association::Row>,
    unknown_peers: &'static str,
    /// Nothing is stored of a peer that is being added.
    pinned: Option<Fingerprint>,
    form: PeerForm,
    mistakes: Mistakes,
}

impl ListPage {
    /// Whether Echo is missing in a row.
    fn is_somebody_nowhere(&self) -> bool {
        self.peers.iter().any(|peer| !peer.is_somewhere)
    }
}

#[derive(Template)]
#[template(path = "peer/edit.html")]
struct EditPage {
    layout: Layout,
    key: u64,
    /// As it is stored.
    ae_title: String,
    pinned: Option<Fingerprint>,
    form: PeerForm,
    mistakes: Mistakes,
}

#[derive(Template)]
#[template(path = "peer/remove.html")]
struct RemovePage {
    layout: Layout,
    peer: Row,
}

/// `GET /admin`
pub async fn home(caller: Caller) -> HttpResponse {
    page::see_other(if caller.may(Right::Administer) { "/admin/users" } else { "/admin/quarantine" })
}

/// What of the form of a new peer is filled in.
#[derive(Deserialize)]
pub struct Suggestion {
    #[serde(default)]
    ae_title: String,
    /// Present where it is to be a destination.
    destination: Option<String>,
}

/// `GET /admin/peers?ae_title=CT01&destination=on`
pub async fn list(
    _: Caller,
    layout: Layout,
    suggestion: web::Query<Suggestion>,
    app: web::Data<App>,
) -> Result<HttpResponse, Error> {
    let Suggestion { ae_title, destination } = suggestion.into_inner();
    let mut form = PeerForm::proposed();
    if destination.is_some() {
        form.tick([Service::Echo].into_iter().collect());
    }
    // What is no AE title is not worth filling in.
    form.ae_title = ae_title.parse().map(|title: AeTitle| title.to_string()).unwrap_or_default();
    form.is_destination = destination;
    list_with(layout, &app, form, Mistakes::default(), None).await
}

async fn list_with(
    mut layout: Layout,
    app: &App,
    form: PeerForm,
    mistakes: Mistakes,
    notice: Option<Notice>,
) -> Result<HttpResponse, Error> {
    // Also where this answers a form: one can come back to it.
    layout.here = "/admin/peers".to_owned();
    let mut conn = db::acquire(&app.pool).await?;
    let peers = peer::list(&mut conn).await.map_err(db::Error::from)?;
    let callers = peer::unknown(&mut conn).await.map_err(db::Error::from)?;
    let by_title: BTreeMap<&str, &Peer> = peers.iter().map(|peer| (peer.ae_title.as_str(), peer)).collect();
    let callers = callers
        .iter()
        .map(|caller| {
            let known = by_title.get(caller.calling_ae_title.as_str()).copied();
            refused::row(caller, known, &layout.ae_title)
        })
        .collect();
    let wrong = Notice {
        is_good: false,
        text: "The peer was not added. What is wrong stands beside the fields:".to_owned(),
        link: Some("Add a peer"),
    };
    page::html(&ListPage {
        notice: if mistakes.any() { Some(wrong) } else { notice },
        layout,
        peers: peers.iter().map(row).collect(),
        callers,
        associations: association::rows(app),
        unknown_peers: app.about.unknown_peers,
        pinned: None,
        form,
        mistakes,
    })
}

/// `POST /admin/peers`
pub async fn add(
    caller: Caller,
    layout: Layout,
    form: Posted<PeerForm>,
    app: web::Data<App>,
) -> Result<HttpResponse, Error> {
    let details = match details(&form, None) {
        Ok(details) => details,
        Err(mistakes) => return list_with(layout, &app, form.clone(), mistakes, None).await,
    };
    let entry = caller.did(Action::ChangePeer, format!("added {details}"));
    match added(&app, &details, entry).await {
        Ok(()) => {
            tracing::info!(ae_title = %details.ae_title, "a peer was added");
            Ok(page::see_other("/admin/peers"))
        }
        Err(err) if err.is_duplicate() => list_with(layout, &app, form.clone(), taken(&details), None).await,
        Err(err) => Err(err.into()),
    }
}

/// `GET /admin/peers/{peer_key}?destination=on`
pub async fn edit(
    _: Caller,
    layout: Layout,
    key: web::Path<String>,
    suggestion: web::Query<Suggestion>,
    app: web::Data<App>,
) -> Result<HttpResponse, Error> {
    let peer = stored(&app, &key).await?;
    let mut form = PeerForm::from(&peer);
    if suggestion.destination.is_some() {
        form.is_destination = Some("on".to_owned());
    }
    page::html(&edit_page(layout, &peer, form, Mistakes::default()))
}

fn edit_page(layout: Layout, peer: &Peer, form: PeerForm, mistakes: Mistakes) -> EditPage {
    let ae_title = peer.ae_title.to_string();
    EditPage { layout, key: peer.peer_key, ae_title, pinned: peer.certificate, form, mistakes }
}

/// `POST /admin/peers/{peer_key}`
pub async fn change(
    caller: Caller,
    layout: Layout,
    key: web::Path<String>,
    form: Posted<PeerForm>,
    app: web::Data<App>,
) -> Result<HttpResponse, Error> {
    let peer = stored(&app, &key).await?;
    let again = |mistakes| page::html(&edit_page(layout, &peer, form.clone(), mistakes));
    let details = match details(&form, peer.certificate) {
        Ok(details) => details,
        Err(mistakes) => return again(mistakes),
    };
    let mut conn = db::acquire(&app.pool).await?;
    let mut change = conn.start_transaction(Default::default()).await?;
    match peer::update(&mut change, peer.peer_key, &details).await {
        Ok(true) => {
            let entry = caller.did(Action::ChangePeer, format!("{} is now {details}", peer.ae_title));
            audit::append(&mut change, &[entry]).await?;
            change.commit().await?;
            tracing::info!(ae_title = %details.ae_title, "a peer was changed");
            Ok(page::see_other("/admin/peers"))
        }
        Ok(false) => Err(Error::NotFound),
        Err(err) if db::is_duplicate(&err) => again(taken(&details)),
        Err(err) => Err(err.into()),
    }
}

/// `GET /admin/peers/{peer_key}/remove`
pub async fn ask_to_remove(
    _: Caller,
    layout: Layout,
    key: web::Path<String>,
    app: web::Data<App>,
) -> Result<HttpResponse, Error> {
    let peer = stored(&app, &key).await?;
    page::html(&RemovePage { layout, peer: row(&peer) })
}

/// A form without fields of its own.
#[derive(Deserialize)]
pub struct Confirmed {}

/// `POST /admin/peers/{peer_key}/remove`
pub async fn remove(
    caller: Caller,
    key: web::Path<String>,
    _form: Posted<Confirmed>,
    app: web::Data<App>,
) -> Result<HttpResponse, Error> {
    let peer = stored(&app, &key).await?;
    let mut conn = db::acquire(&app.pool).await?;
    let mut change = conn.start_transaction(Default::default()).await?;
    if peer::remove(&mut change, peer.peer_key).await? {
        let entry = caller.did(Action::ChangePeer, format!("removed {}", peer.ae_title));
        audit::append(&mut change, &[entry]).await?;
        change.commit().await?;
        tracing::info!(ae_title = %peer.ae_title, "a peer was removed");
    }
    Ok(page::see_other("/admin/peers"))
}

/// Makes a peer, with its line of the audit trail.
async fn added(app: &App, details: &PeerDetails, entry: Entry) -> Result<(), db::Error> {
    let mut conn = db::acquire(&app.pool).await?;
    let mut change = conn.start_transaction(Default::default()).await?;
    peer::add(&mut change, details).await?;
    audit::append(&mut change, &[entry]).await?;
    Ok(change.commit().await?)
}

fn parsed(key: &str) -> Result<u64, Error> {
    key.parse().map_err(|_| Error::NotFound)
}

async fn stored(app: &App, key: &str) -> Result<Peer, Error> {
    let mut conn = db::acquire(&app.pool).await?;
    let peer = peer::by_key(&mut conn, parsed(key)?).await.map_err(db::Error::from)?;
    peer.ok_or(Error::NotFound)
}

fn row(peer: &Peer) -> Row {
    Row {
        key: peer.peer_key,
        ae_title: peer.ae_title.to_string(),
        host: peer.host.clone(),
        port: peer.port.map(|port| port.to_string()).unwrap_or_default(),
        may: peer.services.verbs("and"),
        is_destination: peer.is_destination,
        offers_commitment: peer.offers_commitment,
        encryption: match peer.encryption {
            Encryption::Optional => "Plain or TLS",
            Encryption::Required => "TLS",
            Encryption::Certificate => "TLS, its certificate",
        },
        description: peer.description.clone(),
        seen: peer.last_seen_at.map_or_else(|| "never".to_owned(), page::ago),
        is_somewhere: !peer.host.is_empty() && peer.port.is_some(),
    }
}

fn taken(details: &PeerDetails) -> Mistakes {
    let sentence = format!("There is a peer {} already.", details.ae_title);
    Mistakes { ae_title: Some(sentence), ..Mistakes::default() }
}
