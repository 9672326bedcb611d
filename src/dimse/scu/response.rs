//! What a peer answers, PS3.7 Annex C.

use std::fmt::Display;

use dicom_dictionary_std::tags;

use super::association::Message;
use super::{Association, Error};
use crate::dimse::command::{self, CommandSet};

/// What the peer answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Status (0000,0900).
    pub status: u16,
    /// Error Comment (0000,0902), in the peer's words.
    pub error_comment: Option<String>,
}

impl Response {
    /// More of them follow, PS3.7 C.1.3: FF00H, and FF01H where a key was not understood.
    pub fn is_pending(&self) -> bool {
        matches!(self.status, 0xFF00 | 0xFF01)
    }

    /// What a refusal means, for a person: from the tables of PS3.4 (B.2-1, C.4-1 to C.4-3) and PS3.7 Annex C.
    pub fn in_words(&self) -> String {
        let meaning = match self.status {
            0x0000 => "it was done",
            0x0105 | 0x0106 | 0x0115 | 0x0120 | 0x0121 => "it finds an attribute of it wrong",
            0x0110 => "it failed to process it",
            0x0111 => "it has that instance already",
            0x0112 | 0x0117 => "it does not know such an instance",
            0x0118 | 0x0122 => "it does not support the SOP class",
            0x0124 => "it does not allow us to do this",
            0x0210 | 0x0212 | 0x0213 => "it finds something wrong with the request",
            0x0211 => "it does not offer this service",
            0xA701 => "it is too short of resources to count the matches",
            0xA702 => "it could not send the instances on",
            0xA700..=0xA7FF => "it is out of resources",
            0xA801 => "it does not know the destination",
            0xA900..=0xA9FF => "it finds that the data set does not fit its SOP class",
            0xB000..=0xBFFF => "it was done with warnings",
            0xC000..=0xCFFF => "it cannot understand or process it",
            0xFE00 => "it was cancelled",
            _ => "it refused",
        };
        match &self.error_comment {
            Some(comment) => format!("{meaning} ({:04X}H: {comment})", self.status),
            None => format!("{meaning} ({:04X}H)", self.status),
        }
    }

    /// Success, or done with a warning, PS3.7 Annex C: 0000H, 0001H, 0107H, 0116H and Bxxx.
    pub fn is_done(&self) -> bool {
        matches!(self.status, 0x0000 | 0x0001 | 0x0107 | 0x0116 | 0xB000..=0xBFFF)
    }
}

impl Display for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "status {:04X}H", self.status)?;
        match &self.error_comment {
            Some(comment) => write!(f, " ({comment})"),
            None => Ok(()),
        }
    }
}

impl Association {
    /// The response to this message.
    pub(super) async fn response(&mut self, command_field: u16, message_id: u16) -> Result<Response, Error> {
        let message = self.receive_message(self.response_timeout()).await?;
        self.response_of(&message, command_field, message_id).await
    }

    /// The message as the response it has to be.
    pub(super) async fn response_of(
        &mut self,
        message: &Message,
        command_field: u16,
        message_id: u16,
    ) -> Result<Response, Error> {
        let response = &message.command;
        let (answers, to) =
            (response.u16(tags::COMMAND_FIELD), response.u16(tags::MESSAGE_ID_BEING_RESPONDED_TO));
        if answers != Some(command_field) || to != Some(message_id) {
            let message = "a response to something that was not asked";
            return Err(self.fail(Error::Unexpected(message.to_owned())).await);
        }
        let Some(status) = response.u16(tags::STATUS) else {
            return Err(self.fail(Error::Unexpected("a response without a status".to_owned())).await);
        };
        let comment = response.text(tags::ERROR_COMMENT);
        // It goes to terminals and logs.
        let printable = |text: String| text.chars().filter(|c| !c.is_control()).collect();
        Ok(Response { status, error_comment: comment.map(printable) })
    }

    /// C-CANCEL, PS3.7 section 9.3.2.3: has no response of its own.
    pub(super) async fn send_cancel(&mut self, context: u8, message_id: u16) -> Result<(), Error> {
        let mut cancel = CommandSet::new();
        cancel.set_u16(tags::COMMAND_FIELD, command::C_CANCEL_RQ);
        cancel.set_u16(tags::MESSAGE_ID_BEING_RESPONDED_TO, message_id);
        cancel.set_u16(tags::COMMAND_DATA_SET_TYPE, command::NO_DATA_SET);
        self.send_command(context, &cancel).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_done_and_a_failure_is_not() {
        let done = |status| Response { status, error_comment: None }.is_done();
        assert!([0x0000, 0x0107, 0xB000, 0xB007].into_iter().all(done));
        assert!(![0xA700, 0xA900, 0xC000, 0x0110, 0x0122, 0xFE00].into_iter().any(done));
    }

    #[test]
    fn a_refusal_reads_as_a_sentence_with_its_number() {
        let refused = Response { status: 0xA801, error_comment: Some("Unknown AE".to_owned()) };
        assert_eq!(refused.in_words(), "it does not know the destination (A801H: Unknown AE)");
        assert!(Response { status: 0xFF01, error_comment: None }.is_pending());
    }
}
