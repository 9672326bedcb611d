//! The requestor's side of an association: PS3.8 section 7 and Annex E of PS3.8 for how messages become PDUs.
//!
//! Each PDU leaves in one write, no longer than the peer allows. Whatever goes wrong, the peer gets an A-ABORT; so it
//! does when an association is dropped that was not released.

mod messages;

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Display;
use std::future::Future;
use std::io;
use std::time::Duration;

use bytes::BytesMut;
use dicom_dictionary_std::uids;
use dicom_ul::association::{Error as WireError, read_pdu_from_wire_async};
use dicom_ul::pdu::{
    AbortRQSource, AssociationAC, AssociationRQ, PDataValue, PresentationContextProposed,
    PresentationContextResultReason, ReadError, RequestorRoles, UserVariableItem,
};
use dicom_ul::{Pdu, write_pdu};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::ToSocketAddrs;
use tokio::time::timeout;

pub use self::messages::Message;
use super::connection::connect;
use super::error::refusal;
use super::{Error, MAXIMUM_PRESENTATION_CONTEXTS, Parameters, Proposal, Role, Timeouts};
use crate::dicom::implementation::{IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME};
use crate::dicom::query::identifier::Options;
use crate::dicom::service::Service;
use crate::dicom::uid::Encoding;
use crate::dimse::command::CommandSet;
use crate::dimse::negotiation::PresentationContext;
use crate::dimse::pace::Pace;
use crate::dimse::stream::Stream;

/// PS3.7 A.2.1, the only one there is.
const APPLICATION_CONTEXT: &str = "1.2.840.10008.3.1.1.1";
/// What we receive at most, and send at most, whatever the peer could take: bytes after the PDU header.
const MAXIMUM_PDU: usize = 128 * 1024;
/// PDU header, PDV length, presentation context ID, message control header: what stands before a fragment.
const FRAGMENT_HEADER: usize = 12;
/// Of these, the ones that count as part of the PDU.
const PDV_HEADER: usize = 6;
/// Message control header, PS3.8 Annex E.2: bit 0 command, bit 1 last fragment.
const COMMAND: u8 = 0b01;
const LAST: u8 = 0b10;

/// An association with another AE that we asked for.
#[derive(Debug)]
pub struct Association {
    stream: Stream,
    unread: BytesMut,
    unread_values: VecDeque<PDataValue>,
    /// What has come of a command that is not whole yet.
    unread_command: Vec<u8>,
    contexts: Vec<Context>,
    fragment_length: usize,
    last_message_id: u16,
    timeouts: Timeouts,
    open: bool,
}

/// A presentation context, and what the peer said of it.
#[derive(Debug)]
struct Context {
    id: u8,
    proposal: Proposal,
    result: Result<String, &'static str>, // the transfer syntax, or why not
}

impl Association {
    /// Connects and negotiates. The address may be a `SocketAddr` or `host:port`.
    pub async fn request(
        address: impl ToSocketAddrs + Display,
        parameters: Parameters,
    ) -> Result<Association, Error> {
        let proposed = parameters.presentation_contexts.len();
        if proposed > MAXIMUM_PRESENTATION_CONTEXTS {
            return Err(Error::TooManyPresentationContexts(proposed));
        }
        let stream = connect(address, parameters.tls.as_ref(), parameters.timeouts.connect).await?;

        let mut association = Association {
            stream,
            unread: BytesMut::new(),
            unread_values: VecDeque::new(),
            unread_command: Vec::new(),
            contexts: Vec::new(),
            fragment_length: 0,
            last_message_id: 0,
            timeouts: parameters.timeouts,
            open: true,
        };
        let deadline = parameters.timeouts.association;
        let negotiated =
            within(deadline, "answer the association request", association.negotiate(parameters)).await;
        match negotiated.and_then(|negotiated| negotiated) {
            Ok(()) => Ok(association),
            Err(err) => Err(association.fail(err).await),
        }
    }

    async fn negotiate(&mut self, parameters: Parameters) -> Result<(), Error> {
        let ids = (1..=u8::MAX).step_by(2);
        let proposals: Vec<(u8, Proposal)> = ids.zip(parameters.presentation_contexts).collect();
        let request = AssociationRQ {
            protocol_version: 1,
            calling_ae_title: parameters.calling_ae_title.to_string(),
            called_ae_title: parameters.called_ae_title.to_string(),
            application_context_name: APPLICATION_CONTEXT.to_owned(),
            presentation_contexts: proposals.iter().map(proposed).collect(),
            user_variables: user_information(&proposals),
        };
        self.send(&Pdu::AssociationRQ(request)).await?;
        let accepted = match self.receive().await? {
            Pdu::AssociationAC(accepted) => accepted,
            Pdu::AssociationRJ(rejection) => {
                self.open = false;
                return Err(Error::rejected(&rejection));
            }
            _ => return Err(Error::Unexpected("something else than an answer to the request".to_owned())),
        };
        self.fragment_length = fragment_length(&accepted)?;
        self.contexts =
            proposals.into_iter().map(|(id, proposal)| answered(id, proposal, &accepted)).collect();
        if self.contexts.iter().any(|context| context.result.is_ok()) {
            return Ok(());
        }
        let reasons = self.contexts.first().and_then(|context| context.result.as_ref().err());
        Err(Error::NothingAccepted(reasons.copied().unwrap_or("nothing was proposed").to_owned()))
    }

    /// A-RELEASE, PS3.8 section 7.2: waits for the peer's answer, so that it is known to have seen everything.
    pub async fn release(mut self) -> Result<(), Error> {
        let deadline = self.timeouts.association;
        let released = within(deadline, "answer the release request", async {
            self.send(&Pdu::ReleaseRQ).await?;
            loop {
                match self.receive().await? {
                    Pdu::ReleaseRP => return Ok(()),
                    // Both asked at once: PS3.8 section 7.2.2.7, the requestor answers first.
                    Pdu::ReleaseRQ => self.send(&Pdu::ReleaseRP).await?,
                    Pdu::PData { .. } => {} // nobody waits for it any more
                    _ => return Err(Error::Unexpected("something else than a release".to_owned())),
                }
            }
        })
        .await;
        match released.and_then(|released| released) {
            Ok(()) => {
                self.open = false;
                Ok(())
            }
            Err(err) => Err(self.fail(err).await),
        }
    }

    /// A-ABORT: ends the association at once.
    pub async fn abort(mut self) {
        self.end().await;
    }

    /// The accepted presentation context for this SOP class, and this transfer syntax if it has to be that one.
    pub(super) fn context_for(
        &self,
        abstract_syntax: &str,
        transfer_syntax: Option<&str>,
    ) -> Result<u8, Error> {
        let wants = |syntax: &String| transfer_syntax.is_none_or(|wanted| wanted == syntax);
        let mut reason = "it was not proposed";
        for context in self.contexts.iter().filter(|c| c.proposal.abstract_syntax == abstract_syntax) {
            match &context.result {
                Ok(accepted) if wants(accepted) => return Ok(context.id),
                _ if !context.proposal.transfer_syntaxes.iter().any(wants) => {}
                Ok(_) => reason = "it chose another of the proposed transfer syntaxes",
                Err(refused) => reason = refused,
            }
        }
        Err(Error::NotAccepted {
            abstract_syntax: abstract_syntax.to_owned(),
            transfer_syntax: transfer_syntax.map(str::to_owned),
            reason: reason.to_owned(),
        })
    }

    /// Whether the peer has accepted this transfer syntax for this SOP class.
    pub fn takes(&self, sop_class: &str, transfer_syntax: &str) -> bool {
        self.context_for(sop_class, Some(transfer_syntax)).is_ok()
    }

    /// The accepted context for the messages of a query or retrieve SOP class, and how their data sets are written.
    pub(super) fn message_context(&self, sop_class: &str) -> Result<(u8, Encoding), Error> {
        let id = self.context_for(sop_class, None)?;
        let syntax = self.accepted(id).map(|(_, syntax)| syntax);
        let encoding = match syntax {
            Some(uids::EXPLICIT_VR_LITTLE_ENDIAN) => Encoding::ExplicitVrLittleEndian,
            _ => Encoding::ImplicitVrLittleEndian, // nothing else was proposed
        };
        Ok((id, encoding))
    }

    /// The context over which the peer sends what is retrieved, as an acceptor of C-STORE sees one.
    pub(super) fn presented(&self, id: u8) -> Option<PresentationContext> {
        let (abstract_syntax, transfer_syntax) = self.accepted(id)?;
        Some(PresentationContext {
            id,
            abstract_syntax: abstract_syntax.to_owned(),
            transfer_syntax: transfer_syntax.to_owned(),
            service: Service::Store,
            requestor_is_scu: false,
            requestor_is_scp: true,
            options: Options::default(),
        })
    }

    /// The transfer syntaxes in which the peer takes instances of this SOP class.
    pub fn transfer_syntaxes_for<'a>(&'a self, sop_class: &'a str) -> impl Iterator<Item = &'a str> {
        let contexts =
            self.contexts.iter().filter(move |context| context.proposal.abstract_syntax == sop_class);
        contexts.filter_map(|context| context.result.as_deref().ok())
    }

    fn accepted(&self, id: u8) -> Option<(&str, &str)> {
        let context = self.contexts.iter().find(|context| context.id == id)?;
        Some((&context.proposal.abstract_syntax, context.result.as_deref().ok()?))
    }

    /// How long a response may take.
    pub(super) fn response_timeout(&self) -> Duration {
        self.timeouts.response
    }

    /// How long a retrieve may say nothing.
    pub(super) fn operation_timeout(&self) -> Duration {
        self.timeouts.operation
    }

    /// Message IDs are unique among the operations that are under way; these are unique for 65,535 messages.
    pub(super) fn next_message_id(&mut self) -> u16 {
        self.last_message_id = self.last_message_id.checked_add(1).unwrap_or(1);
        self.last_message_id
    }

    /// Sends a command.
    pub(super) async fn send_command(&mut self, context: u8, command: &CommandSet) -> Result<(), Error> {
        let bytes = command.encode();
        self.send_fragments(context, COMMAND, bytes.as_slice()).await
    }

    /// Sends a data set of a length known only at its end.
    pub(super) async fn send_data_set(
        &mut self,
        context: u8,
        source: impl AsyncRead + Unpin,
    ) -> Result<(), Error> {
        self.send_fragments(context, 0, source).await
    }

    async fn send_fragments(
        &mut self,
        context: u8,
        kind: u8,
        mut source: impl AsyncRead + Unpin,
    ) -> Result<(), Error> {
        // One fragment is read ahead, because the last one says so of itself.
        let mut fragment = match self.fragment(&mut source).await {
            Ok(fragment) => fragment,
            Err(err) => return Err(self.fail(Error::Source(err)).await),
        };
        let mut pace = Pace::begin(self.timeouts.send);
        loop {
            let next = match self.fragment(&mut source).await {
                Ok(next) => next,
                Err(err) => return Err(self.fail(Error::Source(err)).await),
            };
            let is_last = next.len() == FRAGMENT_HEADER;
            let control = if is_last { kind | LAST } else { kind };
            frame(&mut fragment, context, control);
            if let Err(err) = self.write(&fragment, pace.left(self.timeouts.send)).await {
                return Err(self.explain(err).await);
            }
            pace.add(fragment.len());
            if is_last {
                return Ok(());
            }
            fragment = next;
        }
    }

    /// The next fragment with room for its header before it; only the header at the end of the source.
    async fn fragment(&self, source: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
        let mut fragment = Vec::with_capacity(FRAGMENT_HEADER + self.fragment_length);
        fragment.resize(FRAGMENT_HEADER, 0);
        let limit = u64::try_from(self.fragment_length).unwrap_or(u64::MAX);
        source.take(limit).read_to_end(&mut fragment).await?;
        Ok(fragment)
    }

    /// The next PDU; an A-ABORT is an error. The caller sets the deadline.
    async fn receive(&mut self) -> Result<Pdu, Error> {
        if !self.open {
            return Err(Error::Closed);
        }
        let (stream, unread) = (&mut self.stream, &mut self.unread);
        match read_pdu_from_wire_async(stream, unread, pdu_length(MAXIMUM_PDU), true).await {
            Ok(Pdu::AbortRQ { source }) => {
                self.open = false;
                Err(Error::aborted(&source))
            }
            Ok(pdu) => Ok(pdu),
            Err(WireError::ConnectionClosed { .. }) => {
                self.open = false;
                Err(Error::Closed)
            }
            Err(WireError::ReceivePdu { source: ReadError::ReadPdu { source, .. }, .. }) => {
                self.open = false;
                Err(Error::connection(source))
            }
            Err(err) => Err(Error::Unexpected(format!("what is no answer: {}", with_causes(&err)))),
        }
    }

    async fn send(&mut self, pdu: &Pdu) -> Result<(), Error> {
        let mut bytes = Vec::new();
        write_pdu(&mut bytes, pdu).map_err(|err| Error::Connection(io::Error::other(with_causes(&err))))?;
        self.write(&bytes, self.timeouts.send).await
    }

    async fn write(&mut self, pdu: &[u8], deadline: Duration) -> Result<(), Error> {
        if !self.open {
            return Err(Error::Closed);
        }
        let taken = async {
            self.stream.write_all(pdu).await?;
            self.stream.flush().await
        };
        within(deadline, "take what it is sent", taken).await?.map_err(Error::connection)
    }

    /// A write that failed often means that the peer has aborted, and its A-ABORT still waits to be read.
    async fn explain(&mut self, err: Error) -> Error {
        if !matches!(err, Error::Connection(_)) {
            return self.fail(err).await;
        }
        let said = timeout(Duration::from_secs(1), self.receive()).await;
        self.open = false;
        match said {
            Ok(Err(aborted @ Error::Aborted(_))) => aborted,
            _ => err,
        }
    }

    /// Ends the association because of this.
    pub(super) async fn fail(&mut self, err: Error) -> Error {
        self.end().await;
        err
    }

    async fn end(&mut self) {
        if !self.open {
            return;
        }
        let abort = Pdu::AbortRQ { source: AbortRQSource::ServiceUser };
        let _ = timeout(Duration::from_secs(1), self.send(&abort)).await; // it ends either way
        self.open = false;
    }
}

impl Drop for Association {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        let mut bytes = Vec::new();
        if write_pdu(&mut bytes, &Pdu::AbortRQ { source: AbortRQSource::ServiceUser }).is_ok() {
            let _ = self.stream.try_write(&bytes); // the peer sees the end of the connection otherwise
        }
    }
}

fn user_information(proposals: &[(u8, Proposal)]) -> Vec<UserVariableItem> {
    let mut items = vec![
        UserVariableItem::MaxLength(pdu_length(MAXIMUM_PDU)),
        UserVariableItem::ImplementationClassUID(IMPLEMENTATION_CLASS_UID.to_owned()),
        UserVariableItem::ImplementationVersionName(IMPLEMENTATION_VERSION_NAME.to_owned()),
    ];
    let of_scp = proposals.iter().filter(|(_, proposal)| proposal.role == Role::Scp);
    let classes: BTreeSet<&str> = of_scp.map(|(_, proposal)| proposal.abstract_syntax.as_str()).collect();
    items.extend(classes.into_iter().map(|class| {
        let roles = RequestorRoles { scu: false, scp: true };
        UserVariableItem::ScuScpRoleSelectionSubItem(class.to_owned(), roles)
    }));
    items
}

async fn within<T>(
    deadline: Duration,
    what: &'static str,
    future: impl Future<Output = T>,
) -> Result<T, Error> {
    timeout(deadline, future).await.map_err(|_| Error::TimedOut { what, after: deadline })
}

fn proposed((id, proposal): &(u8, Proposal)) -> PresentationContextProposed {
    PresentationContextProposed {
        id: *id,
        abstract_syntax: proposal.abstract_syntax.clone(),
        transfer_syntaxes: proposal.transfer_syntaxes.clone(),
    }
}

fn answered(id: u8, proposal: Proposal, answer: &AssociationAC) -> Context {
    let result = match answer.presentation_contexts.iter().find(|context| context.id == id) {
        None => Err("it did not answer to the proposal"),
        Some(context) if context.reason != PresentationContextResultReason::Acceptance => {
            Err(refusal(&context.reason))
        }
        Some(context) if proposal.transfer_syntaxes.contains(&context.transfer_syntax) => {
            Ok(context.transfer_syntax.clone())
        }
        Some(_) => Err("it chose a transfer syntax that was not proposed"),
    };
    Context { id, proposal, result }
}

/// How long a fragment may be: an even number of bytes within the peer's Maximum Length, PS3.8 D.1. Without one, or
/// with 0 for any, ours.
fn fragment_length(answer: &AssociationAC) -> Result<usize, Error> {
    let declared = answer.user_variables.iter().find_map(|item| match item {
        UserVariableItem::MaxLength(length) => usize::try_from(*length).ok(),
        _ => None,
    });
    let maximum = declared.filter(|length| *length != 0).unwrap_or(MAXIMUM_PDU).min(MAXIMUM_PDU);
    match maximum.saturating_sub(PDV_HEADER) & !1 {
        0 => Err(Error::Unexpected(format!("a maximum PDU length of {maximum} bytes, which holds nothing"))),
        length => Ok(length),
    }
}

/// Fills in the P-DATA-TF header in front of a fragment, PS3.8 section 9.3.5.
fn frame(fragment: &mut [u8], context: u8, control: u8) {
    let value = fragment.len().saturating_sub(FRAGMENT_HEADER);
    let pdu = pdu_length(value.saturating_add(PDV_HEADER)).to_be_bytes();
    let pdv = pdu_length(value.saturating_add(2)).to_be_bytes();
    if let Some(header) = fragment.first_chunk_mut::<FRAGMENT_HEADER>() {
        *header = [0x04, 0, pdu[0], pdu[1], pdu[2], pdu[3], pdv[0], pdv[1], pdv[2], pdv[3], context, control];
    }
}

/// Lengths here are at most [`MAXIMUM_PDU`].
fn pdu_length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn with_causes(err: &dyn std::error::Error) -> String {
    let mut text = err.to_string();
    let mut cause = err.source();
    while let Some(err) = cause {
        text.push_str(&format!(": {err}"));
        cause = err.source();
    }
    text
}

#[cfg(test)]
mod tests;
