//! Storage commitment over associations that we ask for, PS3.4 annex J: as SCU we ask a peer (N-ACTION, PS3.7 section
//! 10.1.4) and take the report it may send at once; as SCP we report to a peer that asked us (N-EVENT-REPORT, section
//! 10.1.1).

use std::time::Duration;

use dicom_dictionary_std::{tags, uids};
use tokio::time::{Instant, timeout_at};

use super::association::Message;
use super::{Association, Error, Proposal, Response, Role};
use crate::archive::Archive;
use crate::dicom::ae_title::AeTitle;
use crate::dicom::commitment::{Report, Request};
use crate::dicom::prescan::{self, Limits};
use crate::dicom::uid::Encoding;
use crate::dimse::command::{self, CommandSet};
use crate::dimse::status::Status;
use crate::dimse::{n_action, n_event_report};

/// A report of 20,000 instances is some 4 MB.
const LONGEST_REPORT: usize = 8 << 20;

/// How a report ended that a peer sent over the association we asked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reported {
    /// It came and is written down.
    Taken,
    /// None came in time, or not one for us: it may come later, over an association of the peer.
    Later,
}

impl Proposal {
    /// What it needs to ask for storage commitment.
    pub fn asking_for_commitment() -> Proposal {
        Proposal::asking(uids::STORAGE_COMMITMENT_PUSH_MODEL)
    }

    /// What it needs to report it.
    pub fn reporting_commitment() -> Proposal {
        Proposal { role: Role::Scp, ..Proposal::asking_for_commitment() }
    }
}

impl Association {
    /// N-ACTION: asks whether these instances are safely stored. A good response says that a report will come; a peer
    /// that sends it before its response has said everything.
    pub async fn ask_for_commitment(
        &mut self,
        request: &Request,
        archive: &Archive,
        peer: &AeTitle,
    ) -> Result<(Response, Reported), Error> {
        let (context, encoding) = self.message_context(uids::STORAGE_COMMITMENT_PUSH_MODEL)?;
        let message_id = self.next_message_id();
        let mut command = CommandSet::new();
        command.set_uid(tags::REQUESTED_SOP_CLASS_UID, uids::STORAGE_COMMITMENT_PUSH_MODEL);
        command.set_u16(tags::COMMAND_FIELD, command::N_ACTION_RQ);
        command.set_u16(tags::MESSAGE_ID, message_id);
        command.set_u16(tags::COMMAND_DATA_SET_TYPE, command::DATA_SET_FOLLOWS);
        command.set_uid(tags::REQUESTED_SOP_INSTANCE_UID, uids::STORAGE_COMMITMENT_PUSH_MODEL_INSTANCE);
        command.set_u16(tags::ACTION_TYPE_ID, n_action::REQUEST_STORAGE_COMMITMENT);

        self.send_command(context, &command).await?;
        self.send_data_set(context, request.write(encoding).as_slice()).await?;
        let mut reported = Reported::Later;
        let until = Instant::now() + self.response_timeout();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let message = self.receive_message(left).await?;
            if message.command.u16(tags::COMMAND_FIELD) != Some(command::N_EVENT_REPORT_RQ) {
                let response = self.response_of(&message, command::N_ACTION_RSP, message_id).await?;
                return Ok((response, reported));
            }
            let Message { context, command } = message;
            if self.take_report(context, &command, encoding, archive, peer).await? == Status::SUCCESS {
                reported = Reported::Taken;
            }
        }
    }

    /// Waits so long for the report, and takes it. Without one, the association goes on. What the peer reports of something
    /// else is refused.
    pub async fn take_commitment_report(
        &mut self,
        archive: &Archive,
        peer: &AeTitle,
        patience: Duration,
    ) -> Result<Reported, Error> {
        let (_, encoding) = self.message_context(uids::STORAGE_COMMITMENT_PUSH_MODEL)?;
        let until = Instant::now() + patience;
        loop {
            // Cancel-safe: what has come of a command stays. Its own limit is only there not to be reached.
            let next = self.receive_message(patience.saturating_mul(2));
            let Ok(message) = timeout_at(until, next).await else { return Ok(Reported::Later) };
            let Message { context, command } = message?;
            if self.take_report(context, &command, encoding, archive, peer).await? == Status::SUCCESS {
                return Ok(Reported::Taken);
            }
        }
    }

    async fn take_report(
        &mut self,
        context: u8,
        command: &CommandSet,
        encoding: Encoding,
        archive: &Archive,
        peer: &AeTitle,
    ) -> Result<Status, Error> {
        if command.u16(tags::COMMAND_FIELD) != Some(command::N_EVENT_REPORT_RQ) || !command.has_data_set() {
            let what = "something else than a report of storage commitment".to_owned();
            return Err(self.fail(Error::Unexpected(what)).await);
        }
        let bytes = self.receive_data_set(context, LONGEST_REPORT).await?;
        let (status, comment) = match read(bytes, encoding) {
            Ok(report) => n_event_report::take(archive, peer, command, report).await,
            Err(sentence) => (Status::INVALID_ARGUMENT_VALUE, sentence),
        };
        if status != Status::SUCCESS {
            tracing::warn!(peer = %peer, %status, "refused a report of storage commitment: {comment}");
        }
        self.send_command(context, &n_event_report::response(command, status, &comment)).await?;
        Ok(status)
    }

    /// N-EVENT-REPORT: tells a peer what became of the instances it asked about.
    pub async fn report_commitment(&mut self, report: &Report) -> Result<Response, Error> {
        let (context, encoding) = self.message_context(uids::STORAGE_COMMITMENT_PUSH_MODEL)?;
        let message_id = self.next_message_id();
        self.send_command(context, &n_action::report_request(report, message_id)).await?;
        self.send_data_set(context, report.write(encoding).as_slice()).await?;
        self.response(command::N_EVENT_REPORT_RSP, message_id).await
    }
}

fn read(bytes: Vec<u8>, encoding: Encoding) -> Result<Report, String> {
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let limits = Limits { tree_bytes: 64 << 20, ..Limits::default() };
    let scan = prescan::scan(std::io::Cursor::new(bytes), length, encoding, &limits)
        .map_err(|err| err.to_string())?;
    Report::parse(&scan.data_set).map_err(|invalid| invalid.to_string())
}
