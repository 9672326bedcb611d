//! The form of a peer: what was typed, what it means, and what is wrong with it.

use serde::Deserialize;

use crate::db::peer::{self, Encryption, Peer, PeerDetails};
use crate::dicom::ae_title::AeTitle;
use crate::dicom::service::{Service, Services};
use crate::tls::Fingerprint;
use crate::web::page;

/// The form of a peer, as it was sent, and as it is shown again with what is wrong with it.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct PeerForm {
    /// As it was typed; so are the others.
    #[serde(default)]
    pub ae_title: String,
    #[serde(default)]
    pub host: String,
    #[serde(default)]
    pub port: String,
    #[serde(default)]
    pub description: String,
    /// Present where the box is ticked; so are the others of its kind.
    pub may_echo: Option<String>,
    pub may_store: Option<String>,
    pub may_find: Option<String>,
    pub may_get: Option<String>,
    pub may_move: Option<String>,
    pub may_commit: Option<String>,
    pub is_destination: Option<String>,
    pub offers_commitment: Option<String>,
    /// `optional`, `required` or `certificate`; empty: optional.
    #[serde(default)]
    pub tls: String,
    /// PEM; empty: the one that is stored.
    #[serde(default)]
    pub certificate: String,
}

impl PeerForm {
    /// Of a new peer: most are modalities.
    pub fn proposed() -> PeerForm {
        let mut form = PeerForm::default();
        form.tick([Service::Echo, Service::Store, Service::Commit].into_iter().collect());
        form
    }

    /// The services whose boxes are ticked.
    pub fn services(&self) -> Services {
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
    pub fn tick(&mut self, services: Services) {
        let ticked = |service| services.has(service).then(|| "on".to_owned());
        self.may_echo = ticked(Service::Echo);
        self.may_store = ticked(Service::Store);
        self.may_find = ticked(Service::Find);
        self.may_get = ticked(Service::Get);
        self.may_move = ticked(Service::Move);
        self.may_commit = ticked(Service::Commit);
    }
}

/// The form of a peer that is stored.
impl From<&Peer> for PeerForm {
    fn from(peer: &Peer) -> PeerForm {
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
        form
    }
}

/// What is wrong, beside the field it is wrong in.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Mistakes {
    pub ae_title: Option<String>,
    pub host: Option<&'static str>,
    pub port: Option<&'static str>,
    pub description: Option<&'static str>,
    pub tls: Option<String>,
    pub certificate: Option<String>,
}

impl Mistakes {
    /// Whether anything is wrong.
    pub fn any(&self) -> bool {
        *self != Mistakes::default()
    }
}

/// The form as values, or everything that is wrong with it at once. A certificate that is `pinned` already stays where
/// no other one was pasted.
pub fn details(form: &PeerForm, pinned: Option<Fingerprint>) -> Result<PeerDetails, Mistakes> {
    let ae_title = form.ae_title.parse::<AeTitle>();
    let host = form.host.trim();
    // Whoever calls may come from anywhere; whom we call has to be somewhere.
    let is_sent_to = form.is_destination.is_some() || form.offers_commitment.is_some();
    let host_mistake = match host {
        "" if is_sent_to => Some("Say where we send to: a name or an IP address."),
        "" => None,
        host => (!peer::is_host(host)).then_some("This is not a host name or an IP address."),
    };
    let port = match form.port.trim() {
        "" if is_sent_to => Err("Say on which port it listens, because we send to it."),
        "" => Ok(None),
        text => text
            .parse::<u16>()
            .ok()
            .filter(|port| *port > 0)
            .map(Some)
            .ok_or("Port must be between 1 and 65535."),
    };
    let description = form.description.trim();
    let encryption = match form.tls.as_str() {
        "" => Ok(Encryption::default()),
        text => text.parse::<Encryption>(),
    };
    let certificate = match form.certificate.trim() {
        "" if encryption == Ok(Encryption::Certificate) && pinned.is_none() => {
            Err("Paste the certificate that the device shows.".to_owned())
        }
        "" if is_sent_to && encryption == Ok(Encryption::Required) && pinned.is_none() => {
            Err("Paste the certificate that the device shows: by it we know whom we send to.".to_owned())
        }
        "" => Ok(pinned),
        text => Fingerprint::from_pem(text).map(Some).map_err(|err| page::sentence(&err.to_string())),
    };
    let mistakes = Mistakes {
        ae_title: ae_title.as_ref().err().map(|err| page::sentence(&err.to_string())),
        host: host_mistake,
        port: port.err(),
        description: (description.chars().count() > 255).then_some("At most 255 characters."),
        tls: encryption.as_ref().err().map(|err| page::sentence(err)),
        certificate: certificate.as_ref().err().cloned(),
    };
    match (ae_title, port, encryption, certificate) {
        (Ok(ae_title), Ok(port), Ok(encryption), Ok(certificate)) if !mistakes.any() => Ok(PeerDetails {
            ae_title,
            host: host.to_owned(),
            port,
            services: form.services(),
            is_destination: form.is_destination.is_some(),
            offers_commitment: form.offers_commitment.is_some(),
            encryption,
            certificate,
            description: description.to_owned(),
        }),
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
    fn whom_we_send_to_has_a_host_and_a_port() {
        let ticked = || Some("on".to_owned());
        let destination = |host: &str, port: &str| {
            details(&PeerForm { is_destination: ticked(), ..form("CT01", host, port) }, None)
        };
        let mistakes = destination("", " ").expect_err("nowhere");
        assert!(mistakes.host.is_some_and(|text| text.contains("where we send to")));
        assert!(mistakes.port.is_some_and(|text| text.contains("on which port")));
        assert!(destination("10.0.0.7", "").expect_err("no port").host.is_none());
        assert!(destination("10.0.0.7", "104").expect("good").is_sent_to());
        let secured =
            PeerForm { is_destination: ticked(), tls: "required".into(), ..form("CT01", "10.0.0.7", "104") };
        assert!(details(&secured, None).expect_err("it may be anybody").certificate.is_some());
        let committing = PeerForm { offers_commitment: ticked(), ..form("CT01", "", "") };
        assert!(details(&committing, None).is_err(), "it is asked for commitment there");
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
