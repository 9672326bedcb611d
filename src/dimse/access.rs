//! Who may call and for what: called AE title, calling AE title and address against the peers.

use std::net::IpAddr;

use dicom_dictionary_std::uids;
use dicom_ul::pdu::{AssociationRJServiceUserReason, AssociationRQ};

use super::negotiation::{proposed_services, trim};
use crate::db::peer::{self, Encryption, Peer};
use crate::dicom::service::{Service, Services};
use crate::tls::Fingerprint;

/// What happens to callers that are not among the peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnknownPeers {
    /// C-ECHO is answered; anything else is refused and shown on the peers page.
    #[default]
    Ask,
    /// C-STORE is accepted too.
    Store,
    /// The association is rejected.
    Deny,
}

impl UnknownPeers {
    /// The word of the setting.
    pub fn as_str(self) -> &'static str {
        match self {
            UnknownPeers::Ask => "ask",
            UnknownPeers::Store => "store",
            UnknownPeers::Deny => "deny",
        }
    }
}

impl std::str::FromStr for UnknownPeers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "ask" => Ok(UnknownPeers::Ask),
            "store" => Ok(UnknownPeers::Store),
            "deny" => Ok(UnknownPeers::Deny),
            _ => Err(format!("must be ask, store or deny, not {text:?}")),
        }
    }
}

/// What the peer table says of a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// No peer has this AE title.
    No,
    /// A peer has this AE title, but it calls from another address than the one on record.
    Elsewhere,
    /// A peer, but it calls in another way than it has to.
    Exposed(Exposed),
    /// A peer, calling from where and as it should, and what it may use.
    Yes(Services),
}

/// How a caller is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// Anybody in between can read along, and be the caller.
    Plain,
    /// By TLS; the certificate whose key it holds, if it showed one.
    Tls(Option<Fingerprint>),
}

/// Why a connection is not good enough for the peer that a caller says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Exposed {
    /// It has to use TLS.
    #[error("this peer has to use TLS, and it called in plain")]
    Plain,
    /// It has to show its certificate.
    #[error("this peer has to show its certificate, and it showed none")]
    NoCertificate,
    /// Somebody else, or a renewed certificate.
    #[error("this peer has to show its certificate, and it showed another one (SHA-256 {0})")]
    OtherCertificate(Fingerprint),
}

impl Channel {
    /// Whether the peer may call like this.
    pub fn check(self, peer: &Peer) -> Result<(), Exposed> {
        match (peer.encryption, self) {
            (Encryption::Optional, _) | (Encryption::Required, Channel::Tls(_)) => Ok(()),
            (Encryption::Required | Encryption::Certificate, Channel::Plain) => Err(Exposed::Plain),
            (Encryption::Certificate, Channel::Tls(None)) => Err(Exposed::NoCertificate),
            (Encryption::Certificate, Channel::Tls(Some(shown))) if peer.certificate == Some(shown) => Ok(()),
            (Encryption::Certificate, Channel::Tls(Some(shown))) => Err(Exposed::OtherCertificate(shown)),
        }
    }
}

/// The decision, and what of it an administrator should be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What it may use, or why it is rejected.
    pub access: Result<Services, AssociationRJServiceUserReason>,
    /// Goes onto the peers page with the caller: why it, or part of what it asked for, is refused.
    pub refusal: Option<String>,
}

const ECHO: Services = Services::NONE.with(Service::Echo);
const ECHO_AND_STORE: Services = ECHO.with(Service::Store);

/// Decides on a request, PS3.8 section 9.3.4 for the reasons.
pub fn decide(rq: &AssociationRQ, our_ae_title: &str, known: Known, unknown_peers: UnknownPeers) -> Decision {
    let asked = proposed_services(rq);
    let rejected = |refusal: &str| Decision {
        access: Err(AssociationRJServiceUserReason::CallingAETitleNotRecognized),
        refusal: Some(refusal.to_owned()),
    };
    if rq.called_ae_title.trim() != our_ae_title {
        return Decision {
            access: Err(AssociationRJServiceUserReason::CalledAETitleNotRecognized),
            refusal: Some(peer::OTHER_CALLED.to_owned()),
        };
    }
    match known {
        Known::Yes(services) => {
            let missing = asked.without(services);
            let refusal = (!missing.is_empty()).then(|| peer::may_not(missing));
            Decision { access: Ok(services), refusal }
        }
        Known::Elsewhere => rejected(peer::ELSEWHERE),
        Known::Exposed(exposed) => rejected(&sentence(&exposed.to_string())),
        Known::No => {
            let unknown = peer::NOT_A_PEER;
            match unknown_peers {
                UnknownPeers::Store => {
                    let refusal = match asked.without(ECHO_AND_STORE) {
                        Services::NONE => unknown.to_owned(),
                        missing => format!("{unknown} {}", peer::may_not(missing)),
                    };
                    Decision { access: Ok(ECHO_AND_STORE), refusal: Some(refusal) }
                }
                UnknownPeers::Deny => rejected(unknown),
                // A caller that only wants to store learns at once, in the words its screen has for it, that it is
                // not known; one that also verifies gets that far.
                UnknownPeers::Ask if proposes_verification(rq) => {
                    let refusal = (!proposes_only_verification(rq)).then(|| unknown.to_owned());
                    Decision { access: Ok(ECHO), refusal }
                }
                UnknownPeers::Ask => rejected(unknown),
            }
        }
    }
}

/// A capital letter and a full stop.
fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", characters.as_str())
}

/// What a request proposes, in words for the peers page.
pub fn asked_for(rq: &AssociationRQ) -> String {
    let mut names: Vec<String> = Vec::new();
    for context in &rq.presentation_contexts {
        let uid = trim(&context.abstract_syntax);
        let name = uid
            .parse()
            .ok()
            .and_then(|uid| crate::dicom::sop_class::name(&uid))
            .map_or_else(|| printable(uid), str::to_owned);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let more = names.len().saturating_sub(3);
    names.truncate(3);
    let mut text = names.join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text.chars().take(255).collect()
}

/// Whether the address a peer has on record is the one it calls from. A host name is looked up each time, so that
/// a device with a changing address keeps working.
pub async fn calls_from(host: &str, address: IpAddr) -> bool {
    if host.is_empty() {
        return true;
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        return ip.to_canonical() == address.to_canonical();
    }
    match tokio::net::lookup_host((host, 0)).await {
        Ok(mut found) => found.any(|found| found.ip().to_canonical() == address.to_canonical()),
        Err(err) => {
            tracing::warn!(host, %err, "cannot look up the host of a peer, so its call is refused");
            false
        }
    }
}

fn proposes_verification(rq: &AssociationRQ) -> bool {
    rq.presentation_contexts.iter().any(|context| trim(&context.abstract_syntax) == uids::VERIFICATION)
}

fn proposes_only_verification(rq: &AssociationRQ) -> bool {
    rq.presentation_contexts.iter().all(|context| trim(&context.abstract_syntax) == uids::VERIFICATION)
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_graphic() { c } else { '?' }).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dicom_ul::pdu::PresentationContextProposed;

    fn request(called: &str, abstract_syntaxes: &[&str]) -> AssociationRQ {
        AssociationRQ {
            protocol_version: 1,
            calling_ae_title: "CT01".into(),
            called_ae_title: called.into(),
            application_context_name: String::new(),
            presentation_contexts: abstract_syntaxes
                .iter()
                .map(|uid| PresentationContextProposed {
                    id: 1,
                    abstract_syntax: (*uid).into(),
                    transfer_syntaxes: vec![],
                })
                .collect(),
            user_variables: vec![],
        }
    }

    const CALLING: AssociationRJServiceUserReason =
        AssociationRJServiceUserReason::CallingAETitleNotRecognized;
    const CALLED: AssociationRJServiceUserReason = AssociationRJServiceUserReason::CalledAETitleNotRecognized;

    #[test]
    fn another_called_ae_title_is_rejected_even_from_a_peer_and_shown() {
        let decision = decide(
            &request("OTHER", &[uids::VERIFICATION]),
            "FILMROOM",
            Known::Yes(ECHO_AND_STORE),
            UnknownPeers::Store,
        );
        assert_eq!(decision.access, Err(CALLED));
        assert_eq!(decision.refusal.as_deref(), Some("It called another AE title than ours."));
    }

    #[test]
    fn ask_answers_an_unknown_echo_and_shows_an_unknown_store() {
        let echo = request("FILMROOM", &[uids::VERIFICATION]);
        let store = request("FILMROOM", &[uids::CT_IMAGE_STORAGE]);
        let both = request("FILMROOM", &[uids::VERIFICATION, uids::CT_IMAGE_STORAGE]);
        let ask = |rq| {
            let decision = decide(rq, "FILMROOM", Known::No, UnknownPeers::Ask);
            (decision.access, decision.refusal.is_some())
        };
        assert_eq!(ask(&echo), (Ok(ECHO), false));
        assert_eq!(ask(&store), (Err(CALLING), true));
        assert_eq!(ask(&both), (Ok(ECHO), true));
    }

    #[test]
    fn an_unknown_caller_that_may_store_may_not_query() {
        let find = request(
            "FILMROOM",
            &[uids::CT_IMAGE_STORAGE, uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND],
        );
        let decision = decide(&find, "FILMROOM", Known::No, UnknownPeers::Store);
        assert_eq!(decision.access, Ok(ECHO_AND_STORE));
        assert_eq!(decision.refusal.as_deref(), Some("It is not among the peers. It may not search."));
    }

    #[test]
    fn a_peer_without_the_right_it_asks_for_is_shown() {
        let find = request("FILMROOM", &[uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND]);
        let decision = decide(&find, "FILMROOM", Known::Yes(ECHO_AND_STORE), UnknownPeers::Ask);
        assert_eq!(decision.access, Ok(ECHO_AND_STORE), "what it may is not taken from it");
        assert_eq!(decision.refusal.as_deref(), Some("It may not search."));
        let may = decide(&find, "FILMROOM", Known::Yes(ECHO.with(Service::Find)), UnknownPeers::Ask);
        assert_eq!(may.refusal, None);
    }

    #[test]
    fn a_known_title_from_another_address_is_rejected_and_shown() {
        let rq = request("FILMROOM", &[uids::VERIFICATION]);
        let decision = decide(&rq, "FILMROOM", Known::Elsewhere, UnknownPeers::Store);
        assert_eq!((decision.access, decision.refusal.is_some()), (Err(CALLING), true));
    }

    fn peer(encryption: Encryption, certificate: Option<Fingerprint>) -> Peer {
        Peer {
            peer_key: 1,
            ae_title: "CT01".parse().unwrap(),
            host: String::new(),
            port: None,
            services: ECHO_AND_STORE,
            is_destination: false,
            offers_commitment: false,
            encryption,
            certificate,
            description: String::new(),
            created_at: Default::default(),
            last_seen_at: None,
        }
    }

    #[test]
    fn a_peer_has_to_call_as_its_setting_says() {
        let [own, other] = [1, 2].map(|byte| Fingerprint::try_from(vec![byte; 32]).unwrap());
        let channels =
            [Channel::Plain, Channel::Tls(None), Channel::Tls(Some(other)), Channel::Tls(Some(own))];
        let outcomes = |encryption, pinned| {
            let peer = peer(encryption, pinned);
            channels.map(|channel| channel.check(&peer))
        };
        let another = Err(Exposed::OtherCertificate(other));
        assert_eq!(outcomes(Encryption::Optional, Some(own)), [Ok(()); 4]);
        assert_eq!(outcomes(Encryption::Required, Some(own)), [Err(Exposed::Plain), Ok(()), Ok(()), Ok(())]);
        assert_eq!(
            outcomes(Encryption::Certificate, Some(own)),
            [Err(Exposed::Plain), Err(Exposed::NoCertificate), another, Ok(())]
        );
        assert!(outcomes(Encryption::Certificate, None).iter().all(Result::is_err), "nothing is pinned");
    }

    #[test]
    fn a_peer_that_calls_in_plain_and_must_not_is_rejected_and_told_why_on_the_page() {
        let rq = request("FILMROOM", &[uids::VERIFICATION]);
        let decision = decide(&rq, "FILMROOM", Known::Exposed(Exposed::Plain), UnknownPeers::Store);
        assert_eq!(decision.access, Err(CALLING));
        assert_eq!(decision.refusal.as_deref(), Some("This peer has to use TLS, and it called in plain."));
        for exposed in
            [Exposed::NoCertificate, Exposed::OtherCertificate(Fingerprint::try_from(vec![1; 32]).unwrap())]
        {
            assert!(sentence(&exposed.to_string()).starts_with(peer::EXPOSED));
        }
    }

    #[tokio::test]
    async fn a_peer_without_a_host_calls_from_anywhere_and_one_with_an_address_from_there() {
        let here: IpAddr = "127.0.0.1".parse().unwrap();
        let mapped: IpAddr = "::ffff:127.0.0.1".parse().unwrap();
        assert!(calls_from("", here).await);
        assert!(calls_from("127.0.0.1", mapped).await);
        assert!(!calls_from("127.0.0.2", here).await);
    }
}
