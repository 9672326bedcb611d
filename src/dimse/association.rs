//! The acceptor's end of an association: the upper layer of PS3.8 section 9, read as a stream of fragments so that
//! a message of any size takes the memory of one PDU.
//!
//! dicom-ul reads and writes every PDU but P-DATA-TF, which is taken apart here without copying it.

mod operation;
mod sending;

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use dicom_ul::pdu::{
    AbortRQServiceProviderReason as AbortReason, AbortRQSource, AssociationAC, AssociationRJ, AssociationRQ,
    UserVariableItem,
};
use dicom_ul::{Pdu, read_pdu, write_pdu};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::command::CommandSet;
use super::negotiation::{MAXIMUM_PDU_LENGTH, PresentationContext};
use super::pace::Pace;
use super::stream::Stream;
use super::{Error, Timeouts};

/// PDU type and length, PS3.8 section 9.3.
const PDU_HEADER: usize = 6;
/// Length, context ID and message control header of a PDV, PS3.8 section 9.3.5.1 and Annex E.
const PDV_HEADER: usize = 6;
const P_DATA_TF: u8 = 0x04;
/// What no PDU begins with, but a connection by TLS does, RFC 8446 section 5.1.
const TLS_HANDSHAKE: u8 = 0x16;

/// A request of 128 contexts with 40 transfer syntaxes each is about 150 KB.
const MAXIMUM_ASSOCIATE_LENGTH: u32 = 512 * 1024;

/// What is read at once, where the peer has sent that much: room for a whole PDU and most of the next.
const READ_AHEAD: usize = 256 * 1024;

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
    /// Of the message being read.
    pace: Pace,
    /// What has come of a command while an operation is under way, and the context it comes over.
    early: Option<(u8, Vec<u8>)>,
    /// A response to a report of ours that came while an operation was under way; the next message.
    put_aside: Option<(u8, CommandSet)>,
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
            pace: Pace::begin(timeouts.message),
            early: None,
            put_aside: None,
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
        // Fragments have an even length, PS3.8 Annex E.2 and what some receivers insist on.
        self.peer_maximum = (usize::try_from(asked).unwrap_or(0) & !1).max(PDV_HEADER + 2);
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
        if let Some((context_id, command)) = self.put_aside.take() {
            return Ok(Request::Message { context: self.context(context_id)?, command });
        }
        let idle_until = Instant::now() + self.timeouts.idle;
        let (mut context_id, mut bytes) = match self.early.take() {
            Some((id, bytes)) => (Some(id), bytes),
            None => (None, Vec::new()),
        };
        if context_id.is_some() {
            self.pace = Pace::begin(self.timeouts.message);
        }
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
                self.pace = Pace::begin(self.timeouts.message);
            }
            self.pace.add(fragment.data.len());
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
                let context = self.context(fragment.context_id)?;
                let command = CommandSet::parse(&bytes)
                    .map_err(|err| Error::protocol(AbortReason::InvalidPduParameter, err.to_string()))?;
                return Ok(Request::Message { context, command });
            }
        }
    }

    fn context(&self, id: u8) -> Result<PresentationContext, Error> {
        let context = self.contexts.iter().find(|context| context.id == id).cloned();
        context.ok_or_else(|| {
            let text = format!("a message over presentation context {id}, which was not accepted");
            Error::protocol(AbortReason::InvalidPduParameter, text)
        })
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
        self.pace.add(fragment.data.len());
        Ok(fragment)
    }

    /// The presentation contexts that were accepted.
    pub fn contexts(&self) -> &[PresentationContext] {
        &self.contexts
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

    /// Until when more of the message being read has to have come.
    fn message_deadline(&self) -> Instant {
        self.pace.deadline().min(Instant::now() + self.timeouts.idle)
    }

    /// As [`Self::read_pdu`], but over when the server is being stopped and has reached `last`. Cancel-safe, since
    /// what has been read stays in the buffer.
    async fn read_pdu_until(&mut self, last: Stage, deadline: Instant) -> Result<Option<Pdu>, Error> {
        // Also a peer that is never silent hears of it.
        if *self.stage.borrow() == Stage::Ending {
            return Err(Error::Stopping);
        }
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
