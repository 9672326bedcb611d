//! What goes wrong when asking another AE, in words for the person who set it up.

use std::io;
use std::time::Duration;

use dicom_ul::pdu::{
    AbortRQServiceProviderReason as AbortReason, AbortRQSource, AssociationRJ, AssociationRJResult,
    AssociationRJServiceProviderASCEReason as AsceReason,
    AssociationRJServiceProviderPresentationReason as PresentationReason,
    AssociationRJServiceUserReason as UserReason, AssociationRJSource, PresentationContextResultReason,
};
use thiserror::Error;

use super::MAXIMUM_PRESENTATION_CONTEXTS;
use crate::dicom::sop_class;
use crate::tls::{is_tls, words};

/// Why the peer did not do it. After all but [`Error::NotAccepted`] the association is over.
#[derive(Debug, Error)]
pub enum Error {
    /// The name is unknown, nothing listens there, no route.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// As it was given.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// The connection is there, but it cannot be made secure.
    #[error("cannot connect to {address} by TLS: {reason}")]
    Tls {
        /// As it was given.
        address: String,
        /// In words.
        reason: String,
    },
    /// The proposal cannot be written down.
    #[error(
        "{0} presentation contexts are proposed, and an association has at most {MAXIMUM_PRESENTATION_CONTEXTS}"
    )]
    TooManyPresentationContexts(usize),
    /// A-ASSOCIATE-RJ, PS3.8 section 9.3.4.
    #[error("the peer refused the association {}: {reason}", if *.transient { "for now" } else { "for good" })]
    Rejected {
        /// Trying again later may help.
        transient: bool,
        /// In words.
        reason: String,
    },
    /// The peer took the association, and nothing we proposed for it.
    #[error("the peer accepted the association, but nothing of what was proposed: {0}")]
    NothingAccepted(String),
    /// The peer did not take this one of the proposed presentation contexts. The association goes on.
    #[error("the peer does not take {}{}: {reason}", named(.abstract_syntax), in_syntax(.transfer_syntax))]
    NotAccepted {
        /// SOP Class UID.
        abstract_syntax: String,
        /// Transfer Syntax UID, where it has to be that one.
        transfer_syntax: Option<String>,
        /// In words.
        reason: String,
    },
    /// A-ABORT, PS3.8 section 9.3.8.
    #[error("the peer aborted the association: {0}")]
    Aborted(String),
    /// A-RELEASE-RQ while it owes an answer.
    #[error("the peer ended the association instead of answering")]
    Released,
    /// Somebody here wants its end.
    #[error("the association was ended on the peers page")]
    Ended,
    /// The connection is gone without A-ABORT.
    #[error("the peer closed the connection")]
    Closed,
    /// A deadline has passed.
    #[error("the peer did not {what} within {} s", (.after.as_secs_f64() * 10.0).ceil() / 10.0)]
    TimedOut {
        /// What was awaited of it.
        what: &'static str,
        /// How long.
        after: Duration,
    },
    /// What came is not DICOM, or not an answer to what was asked.
    #[error("the peer sent {0}")]
    Unexpected(String),
    /// The connection failed.
    #[error("the connection to the peer failed: {0}")]
    Connection(io::Error),
    /// The data set to be sent cannot be read.
    #[error("cannot read the data set to send: {0}")]
    Source(io::Error),
}

fn named(sop_class_uid: &str) -> String {
    let name = sop_class_uid.parse().ok().and_then(|uid| sop_class::name(&uid));
    name.map_or_else(|| format!("SOP class {sop_class_uid}"), str::to_owned)
}

fn in_syntax(transfer_syntax: &Option<String>) -> String {
    transfer_syntax.as_ref().map(|uid| format!(" in transfer syntax {uid}")).unwrap_or_default()
}

impl Error {
    /// A connection that failed. In TLS 1.3 a peer that does not want our certificate says so only after the handshake.
    pub(super) fn connection(err: io::Error) -> Error {
        match is_tls(&err) {
            true => Error::Connection(io::Error::new(err.kind(), words(&err))),
            false => Error::Connection(err),
        }
    }

    /// PS3.8 Table 9-21.
    pub(super) fn rejected(rejection: &AssociationRJ) -> Error {
        let reason = match &rejection.source {
            AssociationRJSource::ServiceUser(UserReason::NoReasonGiven)
            | AssociationRJSource::ServiceProviderASCE(AsceReason::NoReasonGiven) => {
                "it gives no reason".to_owned()
            }
            AssociationRJSource::ServiceUser(UserReason::ApplicationContextNameNotSupported) => {
                "it does not know the DICOM application context".to_owned()
            }
            AssociationRJSource::ServiceUser(UserReason::CallingAETitleNotRecognized) => {
                "it does not know the calling AE title".to_owned()
            }
            AssociationRJSource::ServiceUser(UserReason::CalledAETitleNotRecognized) => {
                "the called AE title is not its own".to_owned()
            }
            AssociationRJSource::ServiceProviderASCE(AsceReason::ProtocolVersionNotSupported) => {
                "it does not support this protocol version".to_owned()
            }
            AssociationRJSource::ServiceProviderPresentation(PresentationReason::TemporaryCongestion) => {
                "it is too busy".to_owned()
            }
            AssociationRJSource::ServiceProviderPresentation(PresentationReason::LocalLimitExceeded) => {
                "it has as many associations as it allows".to_owned()
            }
            AssociationRJSource::ServiceUser(UserReason::Reserved(code))
            | AssociationRJSource::ServiceProviderPresentation(PresentationReason::Reserved(code)) => {
                format!("for a reason the standard does not know, {code}")
            }
        };
        Error::Rejected { transient: rejection.result == AssociationRJResult::Transient, reason }
    }

    /// PS3.8 Table 9-26.
    pub(super) fn aborted(source: &AbortRQSource) -> Error {
        let reason = match source {
            AbortRQSource::ServiceUser => "its program wants no more of it",
            AbortRQSource::ServiceProvider(AbortReason::UnrecognizedPdu) => "it did not recognize a PDU",
            AbortRQSource::ServiceProvider(AbortReason::UnexpectedPdu) => "it did not expect this PDU",
            AbortRQSource::ServiceProvider(AbortReason::UnrecognizedPduParameter) => {
                "it did not recognize a parameter of a PDU"
            }
            AbortRQSource::ServiceProvider(AbortReason::UnexpectedPduParameter) => {
                "it did not expect a parameter of a PDU"
            }
            AbortRQSource::ServiceProvider(AbortReason::InvalidPduParameter) => {
                "it found a parameter of a PDU invalid"
            }
            AbortRQSource::ServiceProvider(AbortReason::ReasonNotSpecified | AbortReason::Reserved)
            | AbortRQSource::Reserved => "it gives no reason",
        };
        Error::Aborted(reason.to_owned())
    }
}

/// PS3.8 Table 9-18, Result/Reason.
pub(super) fn refusal(reason: &PresentationContextResultReason) -> &'static str {
    match reason {
        PresentationContextResultReason::Acceptance => "it was accepted",
        PresentationContextResultReason::UserRejection => "its program does not want it",
        PresentationContextResultReason::NoReason => "it gives no reason",
        PresentationContextResultReason::AbstractSyntaxNotSupported => "it does not support the SOP class",
        PresentationContextResultReason::TransferSyntaxesNotSupported => {
            "it supports none of the transfer syntaxes"
        }
    }
}
