//! The acceptor's end of an association: the upper layer of PS3.8 section 9, read as a stream of fragments so that
//! a message of any size takes the memory of one PDU.
//!
//! dicom-ul reads and writes every PDU but P-DATA-TF, which is taken apart here without copying it.

use std::io::Read;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use dicom_dictionary_std::tags;
use dicom_ul::pdu::{
    AbortRQServiceProviderReason as AbortReason, AbortRQSource, AssociationAC, AssociationRJ, AssociationRQ,
    UserVariableItem,
};
use dicom_ul::{Pdu, read_pdu, write_pdu};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::command::{self, CommandSet};
use super::negotiation::{MAXIMUM_PDU_LENGTH, PresentationContext};
use super::stream::Stream;
use super::{Error, Timeouts};

/// PDU type and length, PS3.8 section 9.3.
const PDU_HEADER: usize = 6;
/// Length, context ID and message control header of a PDV, PS3.8 section 9.3.5.1 and Annex E.
const PDV_HEADER: usize = 6;
const P_DATA_TF: u8 = 0x04;
/// Message control header, PS3.8 Annex E.2.
const COMMAND: u8 = 0b01;
const LAST: u8 = 0b10;
/// Bytes of messages that wait to be sent in one write.
const MOST_QUEUED: usize = 256 * 1024;
/// What no PDU begins with, but a connection by TLS does, RFC 8446 section 5.1.
const TLS_HANDSHAKE: u8 = 0x16;

/// A request of 128 contexts with 40 transfer syntaxes each is about 150 KB.
const MAXIMUM_ASSOCIATE_LENGTH: u32 = 512 * 1024;

/// A message that trickles in slower than this runs out of time: bytes in a second.
const SLOWEST_MESSAGE: u64 = 16 * 1024;

/// What is read at once, where the peer has sent that much: room for a whole PDU and most of the next.
const READ_AHEAD: usize = 256 * 1024;

/// No operation takes longer.
const LONGEST_OPERATION: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a peer gets to close the connection after our last PDU, PS3.8 section 9.1.5 (ARTIM).
const LINGER: Duration = Duration::from_secs(2);

/// A connection on which an association may be, or is, established.
pub struct Association {
    stream: Stream,
    buffer: BytesMut,
    /// Fragments of the PDU read last that nobody has taken yet.
    fragments: Bytes,
    contexts: Vec<PresentationContext>,
    /// Longest P-DATA-TF PDU the peer takes.
    peer_maximum: usize,
    timeouts: Timeouts,
    stage: watch::Receiver<Stage>,
    /// When the message being read began, and how much of it has come.
    message_began: Instant,
    message_bytes: u64,
    /// What has come of a command while an operation is under way.
    early: Vec<u8>,
    /// Messages that wait to be sent together.
    queued: Vec<u8>,
    /// A PDU has begun to be sent; where that was given up, part of it may have been.
    is_sending: bool,
}

/// How far the server is with being stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It is not.
    Running,
    /// What is in flight is finished; an association that is silent between two messages is over.
    Finishing,
    /// Everything is over.
    Ending,
}

/// A fragment of a message.
#[derive(Debug)]
pub struct Fragment {
    /// Presentation context ID.
    pub context_id: u8,
    /// Part of the command set, else of the data set.
    pub is_command: bool,
    /// The last fragment of its command set or data set.
    pub is_last: bool,
    /// The bytes.
    pub data: Bytes,
}

/// What comes between two messages.
#[derive(Debug)]
pub enum Request {
    /// A command set; where it says so, its data set follows.
    Message {
        /// The presentation context it came over.
        context: PresentationContext,
        /// The command.
        command: CommandSet,
    },
    /// A-RELEASE-RQ.
    Release,
}

impl Association {
    /// Takes over a connection.
    pub fn new(stream: Stream, timeouts: Timeouts, stage: watch::Receiver<Stage>) -> Association {
        Association {
            stream,
            buffer: BytesMut::new(),
            fragments: Bytes::new(),
            contexts: Vec::new(),
            peer_maximum: 0,
            timeouts,
            stage,
            message_began: Instant::now(),
            message_bytes: 0,
            early: Vec::new(),
            queued: Vec::new(),
            is_sending: false,
        }
    }

    /// Waits for the A-ASSOCIATE-RQ: all of it until the deadline, however it trickles (Sta2, ARTIM).
    pub async fn requested(&mut self, deadline: Instant) -> Result<AssociationRQ, Error> {
        let (kind, bytes) = self
            .read_pdu_bytes(deadline, MAXIMUM_ASSOCIATE_LENGTH)
            .await
            .map_err(|err| err.named("waiting for the association request"))?;
        match decode(kind, &bytes)? {
            Pdu::AssociationRQ(rq) => Ok(rq),
            Pdu::AbortRQ { .. } => Err(Error::Aborted),
            _ => Err(Error::protocol(
                AbortReason::UnexpectedPdu,
                "something else came before an association request",
            )),
        }
    }

    /// Opens the association.
    pub async fn accept(
        &mut self,
        rq: &AssociationRQ,
        ac: AssociationAC,
        contexts: Vec<PresentationContext>,
    ) -> Result<(), Error> {
        let asked = rq.user_variables.iter().find_map(|item| match item {
            UserVariableItem::MaxLength(length) => Some(*length),
            _ => None,
        });
        // 0 and nothing mean no limit, PS3.8 D.1.
        let asked = asked.filter(|length| *length != 0).unwrap_or(MAXIMUM_PDU_LENGTH).min(MAXIMUM_PDU_LENGTH);
        self.peer_maximum = usize::try_from(asked).unwrap_or(0).max(PDV_HEADER + 2);
        self.contexts = contexts;
        self.send_pdu(&Pdu::AssociationAC(ac)).await
    }

    /// Answers the request with A-ASSOCIATE-RJ and ends the connection.
    pub async fn reject(mut self, rj: AssociationRJ) -> Result<(), Error> {
        self.send_pdu(&Pdu::AssociationRJ(rj)).await?;
        self.linger().await;
        Ok(())
    }

    /// Waits for the next message. While the server is being stopped an association that stays silent is over.
    pub async fn next_request(&mut self) -> Result<Request, Error> {
        let idle_until = Instant::now() + self.timeouts.idle;
        let mut bytes = Vec::new();
        let mut context_id = None;
        loop {
            if self.fragments.is_empty() {
                let deadline = if context_id.is_some() { self.message_deadline() } else { idle_until };
                let what = if context_id.is_some() { "within a command" } else { "between messages" };
                let pdu =
                    self.read_pdu_until(Stage::Finishing, deadline).await.map_err(|err| err.named(what))?;
                match pdu {
                    Some(Pdu::ReleaseRQ) if context_id.is_none() => return Ok(Request::Release),
                    Some(Pdu::AbortRQ { .. }) => return Err(Error::Aborted),
                    Some(_) => {
                        return Err(Error::protocol(
                            AbortReason::UnexpectedPdu,
                            "this PDU may not come here",
                        ));
                    }
                    None => continue,
                }
            }
            let fragment = self.take_fragment()?;
            if context_id.is_none() {
                self.message_began = Instant::now();
                self.message_bytes = 0;
            }
            self.message_bytes += fragment.data.len() as u64;
            if !fragment.is_command || context_id.is_some_and(|id| id != fragment.context_id) {
                return Err(Error::protocol(
                    AbortReason::UnexpectedPduParameter,
                    "a fragment that belongs to no command",
                ));
            }
            context_id = Some(fragment.context_id);
            if bytes.len() + fragment.data.len() > super::command::MAXIMUM_LENGTH {
                return Err(Error::protocol(
                    AbortReason::InvalidPduParameter,
                    "a command set of more than 64 KiB",
                ));
            }
            bytes.extend_from_slice(&fragment.data);
            if fragment.is_last {
                let Some(context) = self.contexts.iter().find(|context| context.id == fragment.context_id)
                else {
                    let id = fragment.context_id;
                    let text = format!("a message over presentation context {id}, which was not accepted");
                    return Err(Error::protocol(AbortReason::InvalidPduParameter, text));
                };
                let context = context.clone();
                let command = CommandSet::parse(&bytes)
                    .map_err(|err| Error::protocol(AbortReason::InvalidPduParameter, err.to_string()))?;
                return Ok(Request::Message { context, command });
            }
        }
    }

    /// The next fragment of the data set of the message being read.
    pub async fn next_data(&mut self, context_id: u8) -> Result<Fragment, Error> {
        while self.fragments.is_empty() {
            let deadline = self.message_deadline();
            match self
                .read_pdu_until(Stage::Ending, deadline)
                .await
                .map_err(|err| err.named("within a data set"))?
            {
                None => {}
                Some(Pdu::AbortRQ { .. }) => return Err(Error::Aborted),
                Some(_) => {
                    return Err(Error::protocol(AbortReason::UnexpectedPdu, "another PDU within a data set"));
                }
            }
        }
        let fragment = self.take_fragment()?;
        if fragment.is_command || fragment.context_id != context_id {
            return Err(Error::protocol(
                AbortReason::UnexpectedPduParameter,
                "a fragment of another message within a data set",
            ));
        }
        self.message_bytes += fragment.data.len() as u64;
        Ok(fragment)
    }

    /// The presentation contexts that were accepted.
    pub fn contexts(&self) -> &[PresentationContext] {
        &self.contexts
    }

    /// Sends a command set that no data set follows.
    pub async fn send_command(&mut self, context_id: u8, command: &CommandSet) -> Result<(), Error> {
        self.queue(context_id, &command.encode(), None);
        self.flush().await
    }

    /// Puts a message behind those that [`Association::flush`] will send: an encoded command set, and the data set
    /// that follows it.
    pub fn queue(&mut self, context_id: u8, command: &[u8], data_set: Option<&[u8]>) {
        self.queue_fragments(context_id, COMMAND, command);
        if let Some(data_set) = data_set {
            self.queue_fragments(context_id, 0, data_set);
        }
    }

    /// Bytes that wait for [`Association::flush`].
    pub fn queued(&self) -> usize {
        self.queued.len()
    }

    /// Sends what was queued in one write.
    pub async fn flush(&mut self) -> Result<(), Error> {
        let mut queued = std::mem::take(&mut self.queued);
        let sent = self.send(&queued).await;
        queued.clear();
        self.queued = queued;
        sent
    }

    /// Sends a data set behind what is queued, in PDUs as long as the peer takes, as it is read. Never more of it is in
    /// memory than [`MOST_QUEUED`] and a PDU. Reading blocks.
    ///
    /// # Errors
    /// The association's. What keeps the data set from being read is told apart, because the peer waits for the rest
    /// of it then and nothing but an abort can end that.
    pub async fn send_data_set(
        &mut self,
        context_id: u8,
        data_set: &mut impl Read,
    ) -> Result<Result<(), std::io::Error>, Error> {
        let room = u64::try_from(self.peer_maximum - PDV_HEADER).unwrap_or(u64::MAX);
        // Where the header of the last fragment stands: it is the last one until another follows.
        let mut last = None;
        loop {
            let start = self.queued.len();
            self.queued.resize(start + PDU_HEADER + PDV_HEADER, 0);
            let length = match data_set.take(room).read_to_end(&mut self.queued) {
                Ok(length) => length,
                Err(err) => return Ok(Err(err)),
            };
            let control = if length == 0 { LAST } else { 0 };
            let at = match (length, last) {
                (0, Some(at)) => {
                    self.queued.truncate(start);
                    at
                }
                _ => start,
            };
            let filled =
                if length == 0 { start.saturating_sub(at + PDU_HEADER + PDV_HEADER) } else { length };
            let header = fragment_header(filled, context_id, control);
            if let Some(place) = self.queued.get_mut(at..at + header.len()) {
                place.copy_from_slice(&header);
            }
            if length == 0 {
                return self.flush().await.map(Ok);
            }
            last = Some(start);
            if start >= MOST_QUEUED {
                // The last fragment stays, because it may have to say that it is the last.
                let mut queued = std::mem::take(&mut self.queued);
                let (before, fragment) = queued.split_at_checked(start).unwrap_or((&queued, &[]));
                self.send(before).await?;
                let kept = fragment.len();
                queued.copy_within(start.., 0);
                queued.truncate(kept);
                self.queued = queued;
                last = Some(0);
            }
        }
    }

    /// As many PDUs as the peer's maximum needs, PS3.8 section 9.3.5 and Annex E.
    fn queue_fragments(&mut self, context_id: u8, kind: u8, bytes: &[u8]) {
        let room = self.peer_maximum - PDV_HEADER;
        let mut rest = bytes;
        loop {
            let (fragment, after) = rest.split_at_checked(room).unwrap_or((rest, &[]));
            rest = after;
            let control = if rest.is_empty() { kind | LAST } else { kind };
            self.queued.extend_from_slice(&fragment_header(fragment.len(), context_id, control));
            self.queued.extend_from_slice(fragment);
            if rest.is_empty() {
                return;
            }
        }
    }

    /// Waits for a command that comes while an operation is under way: a cancel, or the response to a sub-operation.
    /// Cancel-safe: what has been read of it stays with the association.
    pub async fn interruption(&mut self) -> Result<CommandSet, Error> {
        loop {
            while self.fragments.is_empty() {
                // How long an operation may take is for the operation to say.
                let deadline = Instant::now() + LONGEST_OPERATION;
                match self.read_pdu_until(Stage::Ending, deadline).await {
                    Ok(None) => {}
                    Ok(Some(Pdu::AbortRQ { .. })) => return Err(Error::Aborted),
                    Ok(Some(_)) => {
                        let text = "this PDU may not come while an operation is under way";
                        return Err(Error::protocol(AbortReason::UnexpectedPdu, text));
                    }
                    Err(err) => return Err(err.named("while an operation is under way")),
                }
            }
            let fragment = self.take_fragment()?;
            if !fragment.is_command || self.early.len() + fragment.data.len() > super::command::MAXIMUM_LENGTH
            {
                let text = "a fragment that belongs to no command while an operation is under way";
                return Err(Error::protocol(AbortReason::UnexpectedPduParameter, text));
            }
            self.early.extend_from_slice(&fragment.data);
            if fragment.is_last {
                let bytes = std::mem::take(&mut self.early);
                let command = CommandSet::parse(&bytes)
                    .map_err(|err| Error::protocol(AbortReason::InvalidPduParameter, err.to_string()))?;
                if command.has_data_set() {
                    let text = "a request while another operation is under way";
                    return Err(Error::protocol(AbortReason::UnexpectedPduParameter, text));
                }
                return Ok(command);
            }
        }
    }

    /// Waits until the peer has said something, which is read by whoever asks next. Cancel-safe: all that has come stays.
    pub async fn speaks(&mut self) -> Result<(), Error> {
        if !self.fragments.is_empty() || !self.buffer.is_empty() {
            return Ok(());
        }
        self.buffer.reserve(PDU_HEADER);
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) => Err(Error::Closed),
            Ok(_) => Ok(()),
            Err(err) => Err(Error::Io(err)),
        }
    }

    /// Waits for the peer to cancel the operation with this message ID, PS3.7 section 9.3.2.3. Cancel-safe.
    pub async fn cancelled(&mut self, message_id: u16) -> Result<(), Error> {
        loop {
            let command = self.interruption().await?;
            match command.u16(tags::COMMAND_FIELD) {
                Some(command::C_CANCEL_RQ)
                    if command.u16(tags::MESSAGE_ID_BEING_RESPONDED_TO) == Some(message_id) =>
                {
                    return Ok(());
                }
                // Of an operation that is over: it came too late, and needs no answer.
                Some(command::C_CANCEL_RQ) => {}
                _ => {
                    let text = "another message while an operation is under way";
                    return Err(Error::protocol(AbortReason::UnexpectedPduParameter, text));
                }
            }
        }
    }

    /// Whether the peer has cancelled the operation with this message ID, as far as what it sent has come.
    pub async fn is_cancelled(&mut self, message_id: u16) -> Result<bool, Error> {
        tokio::select! {
            biased;
            cancelled = self.cancelled(message_id) => cancelled.map(|()| true),
            () = std::future::ready(()) => Ok(false),
        }
    }

    /// Answers A-RELEASE-RQ and ends the connection.
    pub async fn released(mut self) -> Result<(), Error> {
        self.send_pdu(&Pdu::ReleaseRP).await?;
        self.linger().await;
        Ok(())
    }

    /// Ends the association with A-ABORT where the peer may still listen.
    pub async fn abort(mut self, error: &Error) {
        if self.is_sending {
            return; // within another PDU it would be no A-ABORT
        }
        let source = match error {
            Error::Protocol { reason, .. } => AbortRQSource::ServiceProvider(reason.clone()),
            Error::Timeout(_) => AbortRQSource::ServiceProvider(AbortReason::ReasonNotSpecified),
            Error::Stopping | Error::Ended | Error::Unreadable(_) => AbortRQSource::ServiceUser,
            Error::Aborted | Error::Closed | Error::Io(_) => return,
        };
        if self.send_pdu(&Pdu::AbortRQ { source }).await.is_ok() {
            self.linger().await;
        }
    }

    /// Until when the message being read may take: a fixed time, and more as more of it comes.
    fn message_deadline(&self) -> Instant {
        let earned = Duration::from_secs(self.message_bytes / SLOWEST_MESSAGE);
        (self.message_began + self.timeouts.message + earned).min(Instant::now() + self.timeouts.idle)
    }

    /// As [`Self::read_pdu`], but over when the server is being stopped and has reached `last`. Cancel-safe, since
    /// what has been read stays in the buffer.
    async fn read_pdu_until(&mut self, last: Stage, deadline: Instant) -> Result<Option<Pdu>, Error> {
        let mut stage = self.stage.clone();
        let over = async move {
            if stage.wait_for(|now| *now == Stage::Ending || *now == last).await.is_err() {
                std::future::pending::<()>().await; // the listener is gone, and drops us too
            }
            // A peer that goes on with its next instance at once is not silent.
            tokio::time::sleep(Duration::from_millis(500)).await;
        };
        tokio::select! {
            biased;
            pdu = self.read_pdu(deadline) => pdu,
            () = over => Err(Error::Stopping),
        }
    }

    /// Reads one PDU: the fragments of a P-DATA-TF become ready to be taken (`None`), any other one is returned.
    async fn read_pdu(&mut self, deadline: Instant) -> Result<Option<Pdu>, Error> {
        let (kind, bytes) = self.read_pdu_bytes(deadline, MAXIMUM_PDU_LENGTH).await?;
        if kind == P_DATA_TF {
            self.fragments = bytes.slice(PDU_HEADER..);
            return Ok(None);
        }
        decode(kind, &bytes).map(Some)
    }

    /// Reads the bytes of one PDU, header included.
    async fn read_pdu_bytes(&mut self, deadline: Instant, maximum: u32) -> Result<(u8, Bytes), Error> {
        let mut needed = PDU_HEADER;
        loop {
            if let Some((&[kind, _, l0, l1, l2, l3], _)) = self.buffer.split_first_chunk::<PDU_HEADER>() {
                let length = u32::from_be_bytes([l0, l1, l2, l3]);
                if kind == TLS_HANDSHAKE {
                    let text = "a TLS handshake, which has a port of its own (--dicom-tls-listen)";
                    return Err(Error::protocol(AbortReason::UnrecognizedPdu, text));
                }
                if !(0x01..=0x07).contains(&kind) {
                    let text = format!("bytes that are no DICOM PDU (type {kind:02X}H)");
                    return Err(Error::protocol(AbortReason::UnrecognizedPdu, text));
                }
                if length > maximum {
                    let text = format!("a PDU of {length} bytes, where {maximum} are the most");
                    return Err(Error::protocol(AbortReason::InvalidPduParameter, text));
                }
                needed = PDU_HEADER + usize::try_from(length).unwrap_or(usize::MAX - PDU_HEADER);
                if self.buffer.len() >= needed {
                    return Ok((kind, self.buffer.split_to(needed).freeze()));
                }
            }
            // Nothing is reserved on a length's word alone: what is read ahead is the most a buffer ever holds, but
            // for an association request that needs more.
            if self.buffer.capacity() < needed {
                self.buffer.reserve(READ_AHEAD.max(needed) - self.buffer.len());
            }
            match timeout_at(deadline, self.stream.read_buf(&mut self.buffer)).await {
                Err(_) => return Err(Error::Timeout("reading")),
                Ok(Ok(0)) => return Err(Error::Closed),
                Ok(Ok(_)) => {}
                Ok(Err(err)) => return Err(Error::Io(err)),
            }
        }
    }

    /// The next fragment of the PDU read last, PS3.8 Annex E.
    fn take_fragment(&mut self) -> Result<Fragment, Error> {
        let Some((&[l0, l1, l2, l3, context_id, control], _)) =
            self.fragments.split_first_chunk::<PDV_HEADER>()
        else {
            return Err(Error::protocol(
                AbortReason::InvalidPduParameter,
                "a P-DATA-TF that ends within a fragment",
            ));
        };
        let length = usize::try_from(u32::from_be_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
        if length < 2 || length.saturating_add(4) > self.fragments.len() {
            let text = format!("a fragment that says it has {length} bytes");
            return Err(Error::protocol(AbortReason::InvalidPduParameter, text));
        }
        self.fragments.advance(PDV_HEADER);
        let data = self.fragments.split_to(length - 2);
        Ok(Fragment { context_id, is_command: control & 0b01 != 0, is_last: control & 0b10 != 0, data })
    }

    async fn send_pdu(&mut self, pdu: &Pdu) -> Result<(), Error> {
        let mut bytes = Vec::with_capacity(256);
        write_pdu(&mut bytes, pdu).map_err(|err| Error::Io(std::io::Error::other(err)))?;
        self.send(&bytes).await
    }

    /// One write, so that no peer waits for the second half of a PDU.
    async fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let deadline = Instant::now() + self.timeouts.association;
        let sent = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        self.is_sending = true;
        match timeout_at(deadline, sent).await {
            Err(_) => Err(Error::Timeout("sending a response")),
            Ok(Err(err)) => Err(Error::Io(err)),
            Ok(Ok(())) => {
                self.is_sending = false;
                Ok(())
            }
        }
    }

    /// Lets the peer close first, so that our last PDU is not lost to a reset. What it still sends is thrown away.
    async fn linger(&mut self) {
        let deadline = Instant::now() + LINGER;
        if self.stream.shutdown().await.is_err() {
            return; // the peer is gone, which is all we wait for
        }
        let mut rest = [0u8; 16 * 1024];
        while let Ok(Ok(1..)) = timeout_at(deadline, self.stream.read(&mut rest)).await {}
    }
}

/// What stands before a fragment that has a PDU of its own, PS3.8 section 9.3.5.
fn fragment_header(length: usize, context_id: u8, control: u8) -> [u8; PDU_HEADER + PDV_HEADER] {
    // Both lengths are at most the peer's maximum, which fits u32.
    let value = u32::try_from(length + 2).unwrap_or(u32::MAX);
    let [p0, p1, p2, p3] = value.saturating_add(4).to_be_bytes();
    let [v0, v1, v2, v3] = value.to_be_bytes();
    [P_DATA_TF, 0, p0, p1, p2, p3, v0, v1, v2, v3, context_id, control]
}

/// Decodes a PDU that is no P-DATA-TF. The codec has panicked on malformed PDUs before, and a panic of one
/// association is to stay one association.
fn decode(kind: u8, bytes: &[u8]) -> Result<Pdu, Error> {
    let pdu = std::panic::catch_unwind(AssertUnwindSafe(|| read_pdu(bytes, MAXIMUM_ASSOCIATE_LENGTH, false)));
    match pdu {
        Ok(Ok(Some(pdu))) => Ok(pdu),
        Ok(Ok(None)) | Err(_) => {
            let text = format!("a PDU of type {kind:02X}H that cannot be read");
            Err(Error::protocol(AbortReason::InvalidPduParameter, text))
        }
        Ok(Err(err)) => {
            let text = format!("a PDU of type {kind:02X}H that cannot be read: {err}");
            Err(Error::protocol(AbortReason::InvalidPduParameter, text))
        }
    }
}
