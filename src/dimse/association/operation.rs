//! What may come while an operation is under way, PS3.7 section 9.3: its cancel, and the responses to its
//! sub-operations.

use std::time::Duration;

use dicom_dictionary_std::tags;
use dicom_ul::Pdu;
use dicom_ul::pdu::AbortRQServiceProviderReason as AbortReason;
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

use super::{Association, PDU_HEADER, Stage};
use crate::dimse::Error;
use crate::dimse::command::{self, CommandSet};

/// No operation takes longer.
const LONGEST_OPERATION: Duration = Duration::from_secs(24 * 60 * 60);

impl Association {
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
            let (context_id, bytes) = self.early.get_or_insert((fragment.context_id, Vec::new()));
            if !fragment.is_command
                || *context_id != fragment.context_id
                || bytes.len() + fragment.data.len() > command::MAXIMUM_LENGTH
            {
                let text = "a fragment that belongs to no command while an operation is under way";
                return Err(Error::protocol(AbortReason::UnexpectedPduParameter, text));
            }
            bytes.extend_from_slice(&fragment.data);
            if fragment.is_last {
                let (context_id, bytes) = self.early.take().unwrap_or_default();
                let command = CommandSet::parse(&bytes)
                    .map_err(|err| Error::protocol(AbortReason::InvalidPduParameter, err.to_string()))?;
                if command.has_data_set() {
                    let text = "a request while another operation is under way";
                    return Err(Error::protocol(AbortReason::UnexpectedPduParameter, text));
                }
                // Of an operation of ours, which may be under way beside that of the peer.
                let is_of_a_report = command.u16(tags::COMMAND_FIELD) == Some(command::N_EVENT_REPORT_RSP);
                if is_of_a_report && self.put_aside.is_none() {
                    self.put_aside = Some((context_id, command));
                    continue;
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
}
