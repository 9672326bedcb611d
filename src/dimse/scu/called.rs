//! Who asks and who is asked: our own name and certificate, and where a peer is and how it has to be connected.

use std::net::IpAddr;

use super::{Association, Error, Parameters, Proposal, Timeouts, Tls};
use crate::db::peer::{Encryption, Peer};
use crate::dicom::ae_title::AeTitle;
use crate::tls::Identity;

/// What we ask others with.
#[derive(Debug, Clone)]
pub struct Requestor {
    /// What we call ourselves.
    pub ae_title: AeTitle,
    /// Our certificate, for peers that want to see one.
    pub identity: Option<Identity>,
    /// How long we wait.
    pub timeouts: Timeouts,
}

/// Whom we ask.
#[derive(Debug, Clone)]
pub struct Called {
    /// Its AE title.
    pub ae_title: AeTitle,
    /// Name or IP address of its machine.
    pub host: String,
    /// Where it listens.
    pub port: u16,
    /// With what the connection is made secure.
    pub tls: Option<Tls>,
}

/// Why a peer cannot be asked anything.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// It only calls.
    #[error("{0} has no host and port to be called at: an administrator can give them on the peers page")]
    NoAddress(AeTitle),
    /// It has to be connected by TLS and we do not know how to tell that it is it.
    #[error(
        "{0} has to be connected by TLS, and no certificate of it is known: an administrator can pin it on the peers page"
    )]
    NoCertificate(AeTitle),
    /// An address of the link, where machines of a cloud keep what they tell nobody else.
    #[error("{0} is at a link-local address, which is never called")]
    LinkLocal(AeTitle),
    /// A fault of ours.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}

impl Requestor {
    /// Where this peer is.
    pub fn called(&self, peer: &Peer) -> Result<Called, Unreachable> {
        let ae_title = peer.ae_title.clone();
        let (host, port) = match (peer.host.as_str(), peer.port) {
            ("", _) | (_, None) => return Err(Unreachable::NoAddress(ae_title)),
            (host, Some(port)) => (host.to_owned(), port),
        };
        if host.parse().is_ok_and(is_link_local) {
            return Err(Unreachable::LinkLocal(ae_title));
        }
        let tls = match (peer.encryption, peer.certificate) {
            (Encryption::Optional, _) => None,
            (Encryption::Required | Encryption::Certificate, Some(fingerprint)) => {
                let client = Tls::pinned(fingerprint, self.identity.as_ref());
                Some(client.map_err(|err| Unreachable::Tls(err.to_string()))?)
            }
            (Encryption::Required | Encryption::Certificate, None) => {
                return Err(Unreachable::NoCertificate(ae_title));
            }
        };
        Ok(Called { ae_title, host, port, tls })
    }

    /// Asks for an association with this.
    pub async fn associate(
        &self,
        called: &Called,
        presentation_contexts: Vec<Proposal>,
    ) -> Result<Association, Error> {
        let parameters = Parameters {
            calling_ae_title: self.ae_title.clone(),
            called_ae_title: called.ae_title.clone(),
            presentation_contexts,
            tls: called.tls.clone(),
            timeouts: self.timeouts,
        };
        Association::request(called.address(), parameters).await
    }
}

impl Called {
    /// `host:port`, an IPv6 address in brackets.
    pub fn address(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

/// 169.254.0.0/16, RFC 3927, and fe80::/10, RFC 4291.
fn is_link_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// `AE@host:port`, for peers that stand in no table.
impl std::str::FromStr for Called {
    type Err = String;

    fn from_str(text: &str) -> Result<Called, String> {
        let wrong = || format!("{text:?} is not an AE title with an address, such as PACS@10.0.0.7:104");
        let (ae_title, address) = text.split_once('@').ok_or_else(wrong)?;
        let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(wrong());
        }
        Ok(Called {
            ae_title: ae_title.parse().map_err(|err| format!("{ae_title:?}: {err}"))?,
            host: host.to_owned(),
            port: port.parse().map_err(|_| wrong())?,
            tls: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_behind_the_ae_title() {
        let called: Called = "PACS@10.0.0.7:104".parse().unwrap();
        assert_eq!((called.ae_title.as_str(), called.address().as_str()), ("PACS", "10.0.0.7:104"));
        let called: Called = "PACS@[::1]:104".parse().unwrap();
        assert_eq!(called.address(), "[::1]:104");
        for wrong in ["PACS", "PACS@host", "@host:104", "PACS@:104", "PACS@host:x", "PACS@host:70000"] {
            assert!(wrong.parse::<Called>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_peer_is_called_where_it_is_and_as_it_wants_to_be() {
        let requestor = Requestor {
            ae_title: "FILMROOM".parse().unwrap(),
            identity: None,
            timeouts: Timeouts::default(),
        };
        let peer = |host: &str, port, encryption| Peer {
            peer_key: 1,
            ae_title: "PACS".parse().unwrap(),
            host: host.to_owned(),
            port,
            services: Default::default(),
            is_destination: false,
            offers_commitment: false,
            encryption,
            certificate: None,
            description: String::new(),
            created_at: Default::default(),
            last_seen_at: None,
        };
        let why = |peer: Peer| requestor.called(&peer).err().map(|err| err.to_string()).unwrap_or_default();
        assert_eq!(why(peer("10.0.0.7", Some(104), Encryption::Optional)), "");
        assert!(why(peer("", Some(104), Encryption::Optional)).contains("no host and port"));
        assert!(why(peer("10.0.0.7", None, Encryption::Optional)).contains("no host and port"));
        assert!(why(peer("10.0.0.7", Some(104), Encryption::Required)).contains("no certificate"));
        assert!(why(peer("169.254.169.254", Some(80), Encryption::Optional)).contains("link-local"));
        assert!(why(peer("fe80::1", Some(80), Encryption::Optional)).contains("link-local"));
    }
}
