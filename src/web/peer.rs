//! Peers: `GET /admin/peers`, a form to add one and to change one, and those that called and are not among them.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::App;
use super::access::{Caller, Posted};
use super::error::Error;
use super::page::{self, Layout};
use super::text;
use crate::db;
use crate::db::audit::{self, Action, Entry};
use crate::db::peer::{self, Encryption, Peer, PeerDetails, UnknownCaller};
use crate::db::role::Right;
use crate::dicom::ae_title::AeTitle;
use crate::dicom::service::{Service, Services};
use crate::tls::Fingerprint;

/// A peer as its row shows it.
struct Row {
    key: u64,
    ae_title: String,
    host: String,
    port: String,
    services: String,
    encryption: &'static str,
    description: String,
    seen: String,
}

/// A stranger as its row shows it.
struct CallerRow {
    ae_title: String,
    address: String,
    called: String,
    asked_for: String,
    calls: String,
    seen: String,
}

/// The form of a peer, as it was sent, and as it is shown again with what is wrong with it.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct PeerForm {
    #[serde(default)]
    ae_title: String,
    #[serde(default)]
    host: String,
    #[serde(default)]
    port: String,
    #[serde(default)]
    description: String,
    /// Present where the box is ticked; so are the others of its kind.
    may_echo: Option<String>,
    may_store: Option<String>,
    may_find: Option<String>,
    may_get: Option<String>,
    may_move: Option<String>,
    may_commit: Option<String>,
    is_destination: Option<String>,
    offers_commitment: Option<String>,
    /// `optional`, `required` or `certificate`; empty: optional.
    #[serde(default)]
    tls: String,
    /// PEM; empty: the one that is stored.
    #[serde(default)]
    certificate: String,
}

impl PeerForm {
    /// The services whose boxes are ticked.
    fn services(&self) -> Services {
        let ticked = [
            (Service::Echo, &self.may_echo),
            (Service::Store, &self.may_store),
            (Service::Find, &self.may_find),
            (Service::Get, &self.may_get),
            (Service::Move, &self.may_move),
            (Service::Commit, &self.may_commit),
        ];
        ticked.into_iter().filter(|(_, box_)| box_.is_some()).map(|(service, _)| service).collect()
    }

    /// Ticks the boxes of these services.
    fn tick(&mut self, services: Services) {
        let ticked = |service| services.has(service).then(|| "on".to_owned());
        self.may_echo = ticked(Service::Echo);
        self.may_store = ticked(Service::Store);
        self.may_find = ticked(Service::Find);
        self.may_get = ticked(Service::Get);
        self.may_move = ticked(Service::Move);
        self.may_commit = ticked(Service::Commit);
    }
}

/// What is wrong, beside the field it is wrong in.
#[derive(Debug, Default, PartialEq, Eq)]
struct Mistakes {
    ae_title: Option<String>,
    host: Option<&'static str>,
    port: Option<&'static str>,
    description: Option<&'static str>,
    tls: Option<String>,
    certificate: Option<String>,
}

#[derive(Template)]
#[template(path = "peer/list.html")]
struct ListPage {
    layout: Layout,
    peers: Vec<Row>,
    callers: Vec<CallerRow>,
    unknown_peers: &'static str,
    /// Nothing is stored of a peer that is being added.
    pinned: Option<Fingerprint>,
    form: PeerForm,
    mistakes: Mistakes,
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

/// `GET /admin/peers`
pub async fn list(_: Caller, layout: Layout, app: web::Data<App>) -> Result<HttpResponse, Error> {
    let mut form = PeerForm::default();
    form.tick([Service::Echo, Service::Store, Service::Commit].into_iter().collect());
    list_with(layout, &app, form, Mistakes::default()).await
}

async fn list_with(
    layout: Layout,
    app: &App,
    form: PeerForm,
    mistakes: Mistakes,
) -> Result<HttpResponse, Error> {
    let mut conn = db::acquire(&app.pool).await?;
    let peers = peer::list(&mut conn).await.map_err(db::Error::from)?;
    let callers = peer::unknown(&mut conn).await.map_err(db::Error::from)?;
    page::html(&ListPage {
        layout,
        peers: peers.iter().map(row).collect(),
        callers: callers.iter().map(caller_row).collect(),
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
        Err(mistakes) => return list_with(layout, &app, form.clone(), mistakes).await,
    };
    let entry = caller.did(Action::ChangePeer, format!("added {}", in_words(&details)));
    match added(&app, &details, entry).await {
        Ok(()) => {
            tracing::info!(ae_title = %details.ae_title, "a peer was added");
            Ok(page::see_other("/admin/peers"))
        }
        Err(err) if err.is_duplicate() => list_with(layout, &app, form.clone(), taken(&details)).await,
        Err(err) => Err(err.into()),
    }
}

/// `GET /admin/peers/{peer_key}`
pub async fn edit(
    _: Caller,
    layout: Layout,
    key: web::Path<String>,
    app: web::Data<App>,
) -> Result<HttpResponse, Error> {
    let peer = stored(&app, &key).await?;
    let ticked = |is_so: bool| is_so.then(|| "on".to_owned());
    let mut form = PeerForm {
        ae_title: peer.ae_title.to_string(),
        host: peer.host.clone(),
        port: peer.port.map(|port| port.to_string()).unwrap_or_default(),
        description: peer.description.clone(),
        is_destination: ticked(peer.is_destination),
        offers_commitment: ticked(peer.offers_commitment),
        tls: peer.encryption.as_str().into(),
        ..PeerForm::default()
    };
    form.tick(peer.services);
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
            let entry =
                caller.did(Action::ChangePeer, format!("{} is now {}", peer.ae_title, in_words(&details)));
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

/// Which stranger a button is about.
#[derive(Deserialize)]
pub struct CallerForm {
    calling_ae_title: String,
    address: String,
}

/// `POST /admin/callers/allow`: makes a peer of it, that may store from where it called.
pub async fn allow(
    caller: Caller,
    form: Posted<CallerForm>,
    app: web::Data<App>,
) -> Result<HttpResponse, Error> {
    let ae_title = called_itself(&form)?;
    let mut conn = db::acquire(&app.pool).await?;
    let called = peer::refused(&mut conn, &ae_title, &form.address).await?.ok_or(Error::NotFound)?;
    let details = PeerDetails {
        ae_title,
        host: form.address.clone(),
        port: None,
        services: called.services.with(Service::Echo),
        is_destination: false,
        offers_commitment: false,
        encryption: Encryption::Optional,
        certificate: None,
        description: String::new(),
    };
    let entry = caller.did(Action::ChangePeer, format!("allowed {}", in_words(&details)));
    match added(&app, &details, entry).await {
        Ok(()) => tracing::info!(ae_title = %details.ae_title, host = %details.host, "a caller was allowed"),
        Err(err) if err.is_duplicate() => return Err(Error::Invalid(elsewhere(&details.ae_title))),
        Err(err) => return Err(err.into()),
    }
    Ok(page::see_other("/admin/peers"))
}

/// `POST /admin/callers/forget`
pub async fn forget(
    caller: Caller,
    form: Posted<CallerForm>,
    app: web::Data<App>,
) -> Result<HttpResponse, Error> {
    let ae_title = called_itself(&form)?;
    let mut conn = db::acquire(&app.pool).await?;
    let mut change = conn.start_transaction(Default::default()).await?;
    peer::forget_unknown(&mut change, &ae_title, &form.address).await?;
    let entry =
        caller.did(Action::ChangePeer, format!("forgot that {ae_title} called from {}", form.address));
    audit::append(&mut change, &[entry]).await?;
    change.commit().await?;
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

/// What an administrator decided of a peer, for the audit trail.
fn in_words(details: &PeerDetails) -> String {
    let host = if details.host.is_empty() { "anywhere" } else { &details.host };
    let port = details.port.map(|port| format!(" port {port}")).unwrap_or_default();
    let may = match details.services {
        Services::NONE => "may do nothing".to_owned(),
        services => format!("may {services}"),
    };
    let encryption = match details.encryption {
        Encryption::Optional => String::new(),
        other => format!(", encryption {}", other.as_str()),
    };
    format!("{} at {host}{port}, {may}{encryption}", details.ae_title)
}

fn called_itself(form: &CallerForm) -> Result<AeTitle, Error> {
    form.calling_ae_title.parse().map_err(|_| Error::Invalid("This is not an AE title.".into()))
}

fn elsewhere(ae_title: &AeTitle) -> String {
    format!(
        "{ae_title} is a peer already, but is expected from another address. \
         Change the address of the peer {ae_title} instead."
    )
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
        services: peer.services.to_string(),
        encryption: match peer.encryption {
            Encryption::Optional => "Plain or TLS",
            Encryption::Required => "TLS",
            Encryption::Certificate => "TLS, its certificate",
        },
        description: peer.description.clone(),
        seen: peer.last_seen_at.map_or_else(|| "never".to_owned(), page::ago),
    }
}

fn caller_row(caller: &UnknownCaller) -> CallerRow {
    CallerRow {
        ae_title: caller.calling_ae_title.to_string(),
        address: caller.address.clone(),
        called: caller.called_ae_title.clone(),
        asked_for: caller.asked_for.clone(),
        calls: text::counted(caller.calls.into(), "call", "calls"),
        seen: page::ago(caller.last_seen_at),
    }
}

fn taken(details: &PeerDetails) -> Mistakes {
    let sentence = format!("There is a peer {} already.", details.ae_title);
    Mistakes { ae_title: Some(sentence), ..Mistakes::default() }
}

/// The form as values, or everything that is wrong with it at once. A certificate that is `pinned` already stays where
/// no other one was pasted.
fn details(form: &PeerForm, pinned: Option<Fingerprint>) -> Result<PeerDetails, Mistakes> {
    let ae_title = form.ae_title.parse::<AeTitle>();
    let port = match form.port.trim() {
        "" => Ok(None),
        text => text
            .parse::<u16>()
            .ok()
            .filter(|port| *port > 0)
            .map(Some)
            .ok_or("Port must be between 1 and 65535."),
    };
    let host = form.host.trim();
    let host_is_wrong = !host.is_empty() && !peer::is_host(host);
    let description = form.description.trim();
    let encryption = match form.tls.as_str() {
        "" => Ok(Encryption::default()),
        text => text.parse::<Encryption>(),
    };
    let certificate = match form.certificate.trim() {
        "" if encryption == Ok(Encryption::Certificate) && pinned.is_none() => {
            Err("Paste the certificate that the device shows.".to_owned())
        }
        "" => Ok(pinned),
        text => Fingerprint::from_pem(text).map(Some).map_err(|err| page::sentence(&err.to_string())),
    };
    let mistakes = Mistakes {
        ae_title: ae_title.as_ref().err().map(|err| page::sentence(&err.to_string())),
        host: host_is_wrong.then_some("This is not a host name or an IP address."),
        port: port.err(),
        description: (description.chars().count() > 255).then_some("At most 255 characters."),
        tls: encryption.as_ref().err().map(|err| page::sentence(err)),
        certificate: certificate.as_ref().err().cloned(),
    };
    match (ae_title, port, encryption, certificate) {
        (Ok(ae_title), Ok(port), Ok(encryption), Ok(certificate)) if mistakes == Mistakes::default() => {
            Ok(PeerDetails {
                ae_title,
                host: host.to_owned(),
                port,
                services: form.services(),
                is_destination: form.is_destination.is_some(),
                offers_commitment: form.offers_commitment.is_some(),
                encryption,
                certificate,
                description: description.to_owned(),
            })
        }
        _ => Err(mistakes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(ae_title: &str, host: &str, port: &str) -> PeerForm {
        PeerForm {
            ae_title: ae_title.into(),
            host: host.into(),
            port: port.into(),
            may_store: Some("on".into()),
            ..PeerForm::default()
        }
    }

    #[test]
    fn a_good_form_is_a_peer() {
        let peer = details(&form(" CT01 ", "ct.local", "104"), None).expect("good");
        assert_eq!((peer.ae_title.as_str(), peer.port), ("CT01", Some(104)));
        assert_eq!(peer.services.to_string(), "store");
        assert_eq!(details(&form("CT01", "", ""), None).expect("good").port, None);
    }

    #[test]
    fn all_mistakes_are_said_at_once_beside_their_fields() {
        let mistakes = details(&form("A\\B", "a b", "70000"), None).expect_err("bad");
        assert!(mistakes.ae_title.is_some_and(|text| text.starts_with("An AE title is made of")));
        assert!(mistakes.host.is_some());
        assert_eq!(mistakes.port, Some("Port must be between 1 and 65535."));
        assert!(details(&form("", "", "0"), None).is_err());
    }

    #[test]
    fn a_certificate_is_pinned_kept_and_asked_for() {
        let made = rcgen::generate_simple_self_signed(["ct01".to_owned()]).expect("a certificate");
        let own = Fingerprint::of(made.cert.der());
        let asked = |tls: &str, certificate: &str, pinned| {
            let form = PeerForm { tls: tls.into(), certificate: certificate.into(), ..form("CT01", "", "") };
            details(&form, pinned).map(|peer| (peer.encryption, peer.certificate))
        };
        assert_eq!(asked("", "", None), Ok((Encryption::Optional, None)));
        assert_eq!(asked("certificate", &made.cert.pem(), None), Ok((Encryption::Certificate, Some(own))));
        assert_eq!(asked("certificate", " ", Some(own)), Ok((Encryption::Certificate, Some(own))));
        assert_eq!(asked("required", "", Some(own)), Ok((Encryption::Required, Some(own))));
        let missing = asked("certificate", "", None).expect_err("no certificate");
        assert!(missing.certificate.is_some_and(|text| text.starts_with("Paste the certificate")));
        let key = asked("required", &made.signing_key.serialize_pem(), None).expect_err("a key");
        assert!(key.certificate.is_some_and(|text| text.starts_with("It is a private key")));
        assert!(asked("sometimes", "", None).expect_err("no such word").tls.is_some());
    }

    #[test]
    fn a_host_is_a_name_or_an_address() {
        for host in ["ct1", "ct_1.local", "röntgen.local", "3d.example.org", "10.0.0.7", "::1", "fe80::1"] {
            let is_wrong = details(&form("CT01", host, ""), None).is_err();
            assert_eq!(is_wrong, !host.is_ascii(), "{host}");
        }
        for host in
            ["10.0.0.300", "10.0.0", "a..b", ".a", "a.", "http://ct1", "ct1:104", "a/b", &"h".repeat(64)]
        {
            assert!(details(&form("CT01", host, ""), None).is_err(), "{host}");
        }
    }
}
