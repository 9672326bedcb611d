//! DICOM on the wire, PS3.7 and PS3.8: a file per service.

pub mod access;
mod association;
mod c_echo;
mod c_find;
mod c_get;
mod c_move;
mod c_store;
pub mod command;
pub mod listener;
mod n_action;
mod n_event_report;
mod negotiation;
mod pace;
mod scp;
pub mod scu;
pub mod status;
mod stream;
mod sub_operations;

use std::time::Duration;

use dicom_ul::pdu::AbortRQServiceProviderReason;

/// How long peers may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// From the connection to the last byte of the association request; also for a peer to take a response.
    pub association: Duration,
    /// For a message, to which a second is added for each 16 KiB that have come.
    pub message: Duration,
    /// Between two messages, and of silence within one.
    pub idle: Duration,
}

/// Why an association is over before its release.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The peer aborted.
    #[error("the peer aborted the association")]
    Aborted,
    /// The connection was closed without release.
    #[error("the peer closed the connection without releasing the association")]
    Closed,
    /// The connection broke.
    #[error("the connection broke")]
    Io(#[source] std::io::Error),
    /// The peer took too long.
    #[error("the peer took too long {0}")]
    Timeout(&'static str),
    /// The peer sent what the protocol does not allow.
    #[error("the peer sent {text}")]
    Protocol {
        /// For the A-ABORT, PS3.8 section 9.3.8.
        reason: AbortRQServiceProviderReason,
        /// What it sent, in words.
        text: String,
    },
    /// An administrator ended it.
    #[error("an administrator aborted the association")]
    Ended,
    /// What was being sent cannot be read any more.
    #[error("the archive cannot go on with what it was sending")]
    Unreadable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// This server is being stopped.
    #[error("the server is stopping")]
    Stopping,
}

impl Error {
    fn protocol(reason: AbortRQServiceProviderReason, text: impl Into<String>) -> Error {
        Error::Protocol { reason, text: text.into() }
    }

    /// A message that has no place here.
    fn unexpected(text: &'static str) -> Error {
        Error::protocol(AbortRQServiceProviderReason::UnexpectedPduParameter, text)
    }

    /// Says of a time-out what it was that took too long.
    fn named(self, what: &'static str) -> Error {
        match self {
            Error::Timeout(_) => Error::Timeout(what),
            other => other,
        }
    }
}
