//! C-FIND SCU, PS3.4 C.4.1 and PS3.7 section 9.1.2.

use std::io::Cursor;
use std::time::Duration;

use dicom_dictionary_std::tags;
use tokio::time::Instant;

use super::{Association, Error, Response};
use crate::dicom::data_set::DataSet;
use crate::dicom::prescan::{self, Limits};
use crate::dicom::query::remote::Identifier;
use crate::dicom::service::Service;
use crate::dicom::uid::Encoding;
use crate::dimse::command::{self, CommandSet};

/// Bytes of one answer: a few hundred are usual.
const LONGEST_ANSWER: usize = 256 * 1024;

/// How long a peer gets to end an operation that was cancelled.
pub(super) const CANCEL_PATIENCE: Duration = Duration::from_secs(5);

/// What is read of an answer.
const LIMITS: Limits = Limits {
    depth: 8,
    value_bytes: 64 * 1024,
    tree_bytes: 2 * 1024 * 1024,
    inflated_bytes: 1024 * 1024,
    inflate_ratio: 250,
};

/// When enough was found.
#[derive(Debug, Clone, Copy)]
pub struct FindLimits {
    /// After so many matches.
    pub matches: usize,
    /// At this time.
    pub until: Instant,
}

/// How a query ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Everything that matches was told.
    All,
    /// There were as many matches as were wanted, and it was cancelled.
    Enough,
    /// The time was over, and it was cancelled.
    Late,
    /// The peer refused it, or gave up.
    Refused(Response),
}

impl Association {
    /// C-FIND: tells each match as it comes, until the peer or a limit ends it.
    pub async fn find(
        &mut self,
        identifier: &Identifier,
        limits: FindLimits,
        mut on_match: impl FnMut(DataSet),
    ) -> Result<Found, Error> {
        let (context, encoding) = self.message_context(identifier.sop_class(Service::Find))?;
        let message_id = self.next_message_id();
        let request = request(identifier.sop_class(Service::Find), command::C_FIND_RQ, message_id);
        self.send_command(context, &request).await?;
        self.send_data_set(context, identifier.encode(encoding).as_slice()).await?;

        let mut matches = 0;
        loop {
            let left = limits.until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return self.give_up(context, message_id, Found::Late).await;
            }
            let patience = self.response_timeout();
            // Cancel-safe: what has come of a command stays.
            let message = tokio::select! {
                biased;
                message = self.receive_message(patience) => message?,
                () = tokio::time::sleep(left) => {
                    return self.give_up(context, message_id, Found::Late).await;
                }
            };
            let response = self.response_of(&message, command::C_FIND_RSP, message_id).await?;
            if !response.is_pending() {
                return Ok(if response.is_done() { Found::All } else { Found::Refused(response) });
            }
            if message.command.has_data_set() {
                let bytes = self.receive_data_set(message.context, LONGEST_ANSWER).await?;
                match read(bytes, encoding) {
                    Ok(answer) => on_match(answer),
                    Err(err) => tracing::warn!(%err, "left out an answer that cannot be read"),
                }
            }
            matches += 1;
            if matches >= limits.matches {
                return self.give_up(context, message_id, Found::Enough).await;
            }
        }
    }

    /// C-CANCEL, PS3.7 section 9.3.2.3, and waits for the end. A peer that goes on for long is not listened to.
    async fn give_up(&mut self, context: u8, message_id: u16, found: Found) -> Result<Found, Error> {
        self.send_cancel(context, message_id).await?;
        let until = Instant::now() + CANCEL_PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(message) = self.receive_message(left).await else { return Ok(found) };
            let response = self.response_of(&message, command::C_FIND_RSP, message_id).await?;
            if message.command.has_data_set() {
                self.receive_data_set(message.context, LONGEST_ANSWER).await?;
            }
            if !response.is_pending() {
                // One that ended by itself meanwhile has told everything.
                return Ok(if response.status == 0 && found == Found::Late { Found::All } else { found });
            }
        }
    }
}

fn read(bytes: Vec<u8>, encoding: Encoding) -> Result<DataSet, prescan::Error> {
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    Ok(prescan::scan(Cursor::new(bytes), length, encoding, &LIMITS)?.data_set)
}

/// The command of a query or retrieve, PS3.7 Table 9.3-3 and following.
pub(super) fn request(sop_class: &str, command_field: u16, message_id: u16) -> CommandSet {
    let mut request = CommandSet::new();
    request.set_uid(tags::AFFECTED_SOP_CLASS_UID, sop_class);
    request.set_u16(tags::COMMAND_FIELD, command_field);
    request.set_u16(tags::MESSAGE_ID, message_id);
    request.set_u16(tags::PRIORITY, command::PRIORITY_MEDIUM);
    request.set_u16(tags::COMMAND_DATA_SET_TYPE, command::DATA_SET_FOLLOWS);
    request
}
