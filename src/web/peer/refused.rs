//! Those that were refused: why, and what lets them in. `POST /admin/callers/allow` grants what was asked for and no
//! more, `POST /admin/callers/forget` takes a line off the page.

use actix_web::{HttpResponse, web};
use serde::Deserialize;

use crate::db;
use crate::db::audit::{self, Action};
use crate::db::peer::{self, ELSEWHERE, EXPOSED, Encryption, OTHER_CALLED, Peer, PeerDetails, UnknownCaller};
use crate::dicom::ae_title::AeTitle;
use crate::dicom::service::{Service, Services};
use crate::web::access::{Caller, Posted};
use crate::web::error::Error;
use crate::web::{App, page, text};

/// One that was refused, as its row shows it.
pub struct Row {
    pub ae_title: String,
    pub address: String,
    /// The services in words, and where nothing is known of them, nothing.
    pub asked_to: String,
    /// What its last call proposed.
    pub asked_for: String,
    pub called: String,
    /// Where it is not ours.
    pub is_called_otherwise: bool,
    pub refusal: String,
    /// What can be done about it.
    pub note: String,
    pub button: Option<Button>,
    pub link: Option<Link>,
    pub calls: String,
    pub seen: String,
}

/// Lets it in. What it does is said as it was shown, so that nothing else is done where things have changed.
pub struct Button {
    pub label: &'static str,
    pub remedy: &'static str,
    pub services: String,
}

/// Leads to the form in which it is let in.
pub struct Link {
    pub label: String,
    pub href: String,
}

/// What would end the refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Remedy {
    /// A peer is made of it.
    Add,
    /// The peer gets the right to these too.
    Widen(Services),
    /// The peer gets this address, and the right to these too.
    Move(Services),
    /// A form, in which the peer is made a destination.
    Destination,
    /// A form, in which the peer may come as it came.
    Expose,
    /// A change at the device.
    Device,
    /// Nothing is left to do.
    Nothing,
}

impl Remedy {
    fn of(caller: &UnknownCaller, known: Option<&Peer>) -> Remedy {
        if caller.refusal == OTHER_CALLED {
            return Remedy::Device;
        }
        if caller.is_destination() {
            return if known.is_some_and(|peer| peer.is_destination) {
                Remedy::Nothing
            } else {
                Remedy::Destination
            };
        }
        let Some(peer) = known else { return Remedy::Add };
        let missing = caller.services.without(peer.services);
        match caller.refusal_by(&peer.details()) {
            Some(refusal) if refusal == ELSEWHERE => Remedy::Move(missing),
            // Whether a host name is that of its address, only its call has shown.
            _ if caller.refusal == ELSEWHERE => Remedy::Move(missing),
            Some(refusal) if refusal.starts_with(EXPOSED) => Remedy::Expose,
            Some(_) => Remedy::Widen(missing),
            None => Remedy::Nothing,
        }
    }

    /// The word in the form of its button, if it has one.
    fn word(&self) -> Option<&'static str> {
        match self {
            Remedy::Add => Some("add"),
            Remedy::Widen(_) => Some("widen"),
            Remedy::Move(_) => Some("move"),
            Remedy::Destination | Remedy::Expose | Remedy::Device | Remedy::Nothing => None,
        }
    }

    /// What can be done, in sentences.
    fn note(&self, caller: &UnknownCaller, known: Option<&Peer>, our_ae_title: &str) -> String {
        let (title, address) = (&caller.calling_ae_title, &caller.address);
        let too = |missing: &Services| match *missing {
            Services::NONE => String::new(),
            missing => format!(" and lets it {} too", missing.verbs("and")),
        };
        match self {
            Remedy::Add => {
                let may = caller.services.with(Service::Echo).verbs("and");
                format!("Allow makes it a peer at {address} that may {may}.")
            }
            Remedy::Widen(missing) => format!("Allow lets the peer {title} {} too.", missing.verbs("and")),
            Remedy::Move(missing) => {
                let host = known.map_or("", |peer| peer.host.as_str());
                format!(
                    "Change host moves the peer {title} from {host} to {address}{}. Do so only if the device has moved: \
                     another one could call itself {title}.",
                    too(missing)
                )
            }
            Remedy::Destination => "It can be added with its host and port.".to_owned(),
            Remedy::Expose => "Change this at the device, or change what the peer has to use.".to_owned(),
            Remedy::Device => format!("At the device, enter {our_ae_title} as the called AE title."),
            Remedy::Nothing => "It would not be refused any more.".to_owned(),
        }
    }

    fn button(&self, caller: &UnknownCaller) -> Option<Button> {
        let label = match self {
            Remedy::Move(_) => "Change host",
            _ => "Allow",
        };
        let services = caller.services.to_string();
        self.word().map(|remedy| Button { label, remedy, services })
    }

    fn link(&self, caller: &UnknownCaller, known: Option<&Peer>) -> Option<Link> {
        let title = caller.calling_ae_title.as_str();
        match (self, known) {
            (Remedy::Destination, Some(peer)) => Some(Link {
                label: "Make it a destination".to_owned(),
                href: format!("/admin/peers/{}?destination=on", peer.peer_key),
            }),
            (Remedy::Destination, None) => {
                let query = [("ae_title", title), ("destination", "on")];
                let query = serde_urlencoded::to_string(query).unwrap_or_default();
                Some(Link {
                    label: "Add as destination".to_owned(),
                    href: format!("/admin/peers?{query}#add"),
                })
            }
            (Remedy::Expose, Some(peer)) => Some(Link {
                label: "Change peer".to_owned(),
                href: format!("/admin/peers/{}", peer.peer_key),
            }),
            _ => None,
        }
    }
}

/// The row of one that was refused, and what is known under its AE title.
pub fn row(caller: &UnknownCaller, known: Option<&Peer>, our_ae_title: &str) -> Row {
    let remedy = Remedy::of(caller, known);
    Row {
        ae_title: caller.calling_ae_title.to_string(),
        address: caller.address.clone(),
        asked_to: match caller.services {
            _ if caller.is_destination() => "be a destination".to_owned(),
            Services::NONE => String::new(),
            services => services.verbs("and"),
        },
        asked_for: caller.asked_for.clone(),
        called: caller.called_ae_title.clone(),
        is_called_otherwise: caller.refusal == OTHER_CALLED,
        refusal: caller.refusal.clone(),
        note: remedy.note(caller, known, our_ae_title),
        button: remedy.button(caller),
        link: remedy.link(caller, known),
        calls: text::counted(caller.calls.into(), "time", "times"),
        seen: page::ago(caller.last_seen_at),
    }
}

/// Which line a button is about, and what it was said to do.
#[derive(Deserialize)]
pub struct CallerForm {
    calling_ae_title: String,
    address: String,
    #[serde(default)]
    remedy: String,
    #[serde(default)]
    services: String,
}

impl CallerForm {
    fn ae_title(&self) -> Result<AeTitle, Error> {
        self.calling_ae_title.parse().map_err(|_| Error::Invalid("This is not an AE title.".into()))
    }
}

/// `POST /admin/callers/allow`
pub async fn allow(
    caller: Caller,
    form: Posted<CallerForm>,
    app: web::Data<App>,
) -> Result<HttpResponse, Error> {
    let ae_title = form.ae_title()?;
    let seen: Services = form.services.parse().map_err(Error::Invalid)?;
    let has_changed = || {
        let sentence =
            format!("What is known of {ae_title} has changed since this page was read. Read it again.");
        Error::Invalid(sentence)
    };
    let mut conn = db::acquire(&app.pool).await?;
    let mut change = conn.start_transaction(Default::default()).await?;
    let refused = peer::refused(&mut change, &ae_title, &form.address).await?.ok_or_else(has_changed)?;
    let known = peer::by_ae_title(&mut change, &ae_title).await?;
    let remedy = Remedy::of(&refused, known.as_ref());
    if remedy.word() != Some(form.remedy.as_str()) {
        return Err(has_changed());
    }
    // It may have called again meanwhile, and asked for more than whoever pressed the button was shown.
    let granted = refused.services.only(seen);
    let (details, words) = match (&remedy, &known) {
        (Remedy::Add, _) => {
            let details = stranger(ae_title.clone(), &refused.address, granted);
            let added = peer::add(&mut change, &details).await;
            if added.as_ref().is_err_and(db::is_duplicate) {
                return Err(has_changed());
            }
            added?;
            let words = format!("allowed {details}");
            (details, words)
        }
        (Remedy::Widen(_) | Remedy::Move(_), Some(known)) => {
            let mut details = known.details();
            details.services = details.services.and(granted);
            if let Remedy::Move(_) = remedy {
                details.host = refused.address.clone();
            }
            if !peer::update(&mut change, known.peer_key, &details).await? {
                return Err(has_changed());
            }
            let words = format!("{ae_title} is now {details}");
            (details, words)
        }
        _ => return Err(has_changed()),
    };
    audit::append(&mut change, &[caller.did(Action::ChangePeer, words)]).await?;
    change.commit().await?;
    tracing::info!(ae_title = %details.ae_title, host = %details.host, "a caller was allowed");
    Ok(page::see_other("/admin/peers"))
}

/// A stranger as a peer: where it called from, with what it asked for, and it may see whether we answer.
fn stranger(ae_title: AeTitle, address: &str, services: Services) -> PeerDetails {
    PeerDetails {
        ae_title,
        host: address.to_owned(),
        port: None,
        services: services.with(Service::Echo),
        is_destination: false,
        offers_commitment: false,
        encryption: Encryption::Optional,
        certificate: None,
        description: String::new(),
    }
}

/// `POST /admin/callers/forget`
pub async fn forget(
    caller: Caller,
    form: Posted<CallerForm>,
    app: web::Data<App>,
) -> Result<HttpResponse, Error> {
    let ae_title = form.ae_title()?;
    let mut conn = db::acquire(&app.pool).await?;
    let mut change = conn.start_transaction(Default::default()).await?;
    peer::forget_unknown(&mut change, &ae_title, &form.address).await?;
    let words = match form.address.as_str() {
        "" => format!("forgot that {ae_title} was named as a destination"),
        address => format!("forgot that {ae_title} called from {address}"),
    };
    audit::append(&mut change, &[caller.did(Action::ChangePeer, words)]).await?;
    change.commit().await?;
    Ok(page::see_other("/admin/peers"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::peer::{NOT_A_PEER, may_not};

    fn refused(address: &str, services: &str, refusal: &str) -> UnknownCaller {
        UnknownCaller {
            calling_ae_title: "CT01".parse().expect("an AE title"),
            address: address.into(),
            called_ae_title: "FILMROOM".into(),
            asked_for: String::new(),
            services: services.parse().expect("services"),
            refusal: refusal.into(),
            calls: 1,
            last_seen_at: Default::default(),
        }
    }

    fn known(host: &str, services: &str) -> Peer {
        Peer {
            peer_key: 7,
            ae_title: "CT01".parse().expect("an AE title"),
            host: host.into(),
            port: None,
            services: services.parse().expect("services"),
            is_destination: false,
            offers_commitment: false,
            encryption: Encryption::Optional,
            certificate: None,
            description: String::new(),
            created_at: Default::default(),
            last_seen_at: None,
        }
    }

    #[test]
    fn each_refusal_has_its_remedy() {
        let find: Services = "find".parse().expect("a service");
        let stranger = refused("10.0.0.9", "store, find", NOT_A_PEER);
        let lacking = refused("10.0.0.9", "store, find", &may_not(find));
        let elsewhere = refused("10.0.0.9", "store, find", ELSEWHERE);
        let wrong = refused("10.0.0.9", "store", OTHER_CALLED);
        assert_eq!(Remedy::of(&stranger, None), Remedy::Add);
        assert_eq!(Remedy::of(&lacking, Some(&known("10.0.0.9", "store"))), Remedy::Widen(find));
        assert_eq!(Remedy::of(&lacking, None), Remedy::Add, "the peer was removed meanwhile");
        assert_eq!(Remedy::of(&lacking, Some(&known("", "store, find"))), Remedy::Nothing);
        for host in ["10.0.0.7", "ct01.local"] {
            assert_eq!(Remedy::of(&elsewhere, Some(&known(host, "store"))), Remedy::Move(find), "{host}");
        }
        assert_eq!(Remedy::of(&wrong, None), Remedy::Device);
        assert_eq!(Remedy::of(&wrong, Some(&known("", "store"))), Remedy::Device);
        let exposed = refused("10.0.0.9", "store", "This peer has to use TLS, and it called in plain.");
        let secured = Peer { encryption: Encryption::Required, ..known("", "store") };
        assert_eq!(Remedy::of(&exposed, Some(&secured)), Remedy::Expose);
    }

    #[test]
    fn a_destination_is_added_by_the_form_and_not_by_a_button() {
        let named =
            refused("", "", "It was named as the destination of a C-MOVE and is not among the peers.");
        let unknown = row(&named, None, "FILMROOM");
        assert!(unknown.button.is_none());
        let link = unknown.link.expect("a link");
        assert_eq!(link.href, "/admin/peers?ae_title=CT01&destination=on#add");
        let peer = row(&named, Some(&known("", "store")), "FILMROOM").link.expect("a link");
        assert_eq!(peer.href, "/admin/peers/7?destination=on");
    }

    #[test]
    fn a_device_that_calls_somebody_else_is_told_what_to_enter() {
        let wrong = row(&refused("10.0.0.9", "store", OTHER_CALLED), None, "FILMROOM");
        assert!(wrong.button.is_none() && wrong.link.is_none());
        assert_eq!(wrong.note, "At the device, enter FILMROOM as the called AE title.");
    }

    #[test]
    fn to_change_an_address_is_said_in_full() {
        let moved =
            row(&refused("10.0.0.9", "store", ELSEWHERE), Some(&known("10.0.0.7", "store")), "FILMROOM");
        assert!(moved.note.contains("moves the peer CT01 from 10.0.0.7 to 10.0.0.9. "), "{}", moved.note);
        assert_eq!(moved.button.expect("a button").label, "Change host");
    }
}
