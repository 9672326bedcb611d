//! The service class user: what filmroom asks of other AEs. Verification (PS3.4 A.4) and Storage (PS3.4 B.2) stand
//! here on [`Association`], the requestor's side of an association (PS3.8 section 7), which sends commands and data
//! sets and waits for answers, each within a deadline.

mod association;
mod called;
mod connection;
mod error;

use std::fmt::Display;
use std::time::Duration;

use dicom_dictionary_std::{tags, uids};
use tokio::io::AsyncRead;

pub use self::association::Association;
pub use self::called::{Called, Requestor, Unreachable};
pub use self::error::Error;
use crate::dicom::ae_title::AeTitle;
use crate::dicom::uid::{SopClassUid, SopInstanceUid, TransferSyntaxUid};
use crate::dimse::command::{self, CommandSet};
pub use crate::tls::Client as Tls;

/// An association has presentation context IDs 1, 3, … 255, PS3.8 section 9.3.2.2.
pub const MAXIMUM_PRESENTATION_CONTEXTS: usize = 128;

/// What an association is asked for with.
#[derive(Debug, Clone)]
pub struct Parameters {
    /// Who we say we are.
    pub calling_ae_title: AeTitle,
    /// Whom we want.
    pub called_ae_title: AeTitle,
    /// What we want to do with them; at most [`MAXIMUM_PRESENTATION_CONTEXTS`].
    pub presentation_contexts: Vec<Proposal>,
    /// With what the connection is made secure; without, it is plain.
    pub tls: Option<Tls>,
    /// How long we wait.
    pub timeouts: Timeouts,
}

/// One presentation context: a SOP class in any of these transfer syntaxes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The SOP class, by its UID.
    pub abstract_syntax: String,
    /// The peer chooses one of these.
    pub transfer_syntaxes: Vec<String>,
}

/// How long each step may take as a whole.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// From looking up the name to an open connection, which may be a secure one.
    pub connect: Duration,
    /// From the request to the answer, and likewise for the release.
    pub association: Duration,
    /// For the peer to take one PDU: what it may be slow in, of at most 128 KiB.
    pub send: Duration,
    /// From the end of a message to the end of the response.
    pub response: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            connect: Duration::from_secs(10),
            association: Duration::from_secs(30),
            send: Duration::from_secs(30),
            response: Duration::from_secs(60),
        }
    }
}

impl Proposal {
    /// What C-ECHO needs.
    pub fn verification() -> Proposal {
        Proposal {
            abstract_syntax: uids::VERIFICATION.to_owned(),
            transfer_syntaxes: vec![uids::IMPLICIT_VR_LITTLE_ENDIAN.to_owned()],
        }
    }

    /// What it needs to send instances as they are: a context for each pair of SOP class and transfer syntax, so
    /// that the peer cannot choose another syntax than the one an instance has.
    pub fn for_instances<'a>(
        instances: impl IntoIterator<Item = (&'a SopClassUid, &'a TransferSyntaxUid)>,
    ) -> Vec<Proposal> {
        let mut proposals = Vec::new();
        for (sop_class, transfer_syntax) in instances {
            let proposal = Proposal {
                abstract_syntax: sop_class.as_str().to_owned(),
                transfer_syntaxes: vec![transfer_syntax.as_str().to_owned()],
            };
            if !proposals.contains(&proposal) {
                proposals.push(proposal);
            }
        }
        proposals
    }
}

/// A C-STORE request, PS3.7 section 9.1.1.1.
#[derive(Debug, Clone)]
pub struct StoreRequest<'a> {
    /// Affected SOP Class UID.
    pub sop_class_uid: &'a SopClassUid,
    /// Affected SOP Instance UID.
    pub sop_instance_uid: &'a SopInstanceUid,
    /// How the data set is encoded. It is sent as it is, so the peer must have accepted this.
    pub transfer_syntax_uid: &'a TransferSyntaxUid,
    /// The C-MOVE this is a sub-operation of, if it is one.
    pub move_originator: Option<MoveOriginator>,
}

/// Who asked for the C-MOVE, and in which message.
#[derive(Debug, Clone)]
pub struct MoveOriginator {
    /// Move Originator Application Entity Title.
    pub ae_title: AeTitle,
    /// Move Originator Message ID.
    pub message_id: u16,
}

/// What the peer answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Status (0000,0900).
    pub status: u16,
    /// Error Comment (0000,0902), in the peer's words.
    pub error_comment: Option<String>,
}

impl Response {
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
    /// C-ECHO, PS3.7 section 9.1.5.
    pub async fn echo(&mut self) -> Result<Response, Error> {
        let context = self.context_for(uids::VERIFICATION, None)?;
        let message_id = self.next_message_id();
        let mut request = CommandSet::new();
        request.set_uid(tags::AFFECTED_SOP_CLASS_UID, uids::VERIFICATION);
        request.set_u16(tags::COMMAND_FIELD, command::C_ECHO_RQ);
        request.set_u16(tags::MESSAGE_ID, message_id);
        request.set_u16(tags::COMMAND_DATA_SET_TYPE, command::NO_DATA_SET);

        self.send_command(context, &request).await?;
        self.response(command::C_ECHO_RSP, message_id).await
    }

    /// C-STORE, PS3.7 section 9.1.1. Sends the data set as it comes from `data_set`, never more of it in memory than
    /// two PDUs, and waits for the response. Whether the status is a good one is for the caller to see.
    ///
    /// Only after [`Error::NotAccepted`] may the association still be used.
    pub async fn store(
        &mut self,
        request: &StoreRequest<'_>,
        data_set: impl AsyncRead + Unpin,
    ) -> Result<Response, Error> {
        let (class, syntax) = (request.sop_class_uid.as_str(), request.transfer_syntax_uid.as_str());
        let context = self.context_for(class, Some(syntax))?;
        let message_id = self.next_message_id();

        self.send_command(context, &store_command(request, message_id)).await?;
        self.send_data_set(context, data_set).await?;
        self.response(command::C_STORE_RSP, message_id).await
    }

    async fn response(&mut self, command_field: u16, message_id: u16) -> Result<Response, Error> {
        let response = self.receive_command().await?;
        let (answers, to) =
            (response.u16(tags::COMMAND_FIELD), response.u16(tags::MESSAGE_ID_BEING_RESPONDED_TO));
        if answers != Some(command_field) || to != Some(message_id) {
            let message = "a response to something that was not asked";
            return Err(self.fail(Error::Unexpected(message.to_owned())).await);
        }
        let Some(status) = response.u16(tags::STATUS) else {
            return Err(self.fail(Error::Unexpected("a response without a status".to_owned())).await);
        };
        Ok(Response { status, error_comment: response.text(tags::ERROR_COMMENT) })
    }
}

fn store_command(request: &StoreRequest<'_>, message_id: u16) -> CommandSet {
    let mut command = CommandSet::new();
    command.set_uid(tags::AFFECTED_SOP_CLASS_UID, request.sop_class_uid.as_str());
    command.set_u16(tags::COMMAND_FIELD, command::C_STORE_RQ);
    command.set_u16(tags::MESSAGE_ID, message_id);
    command.set_u16(tags::PRIORITY, command::PRIORITY_MEDIUM);
    command.set_u16(tags::COMMAND_DATA_SET_TYPE, command::DATA_SET_FOLLOWS);
    command.set_uid(tags::AFFECTED_SOP_INSTANCE_UID, request.sop_instance_uid.as_str());
    if let Some(originator) = &request.move_originator {
        command.set_text(tags::MOVE_ORIGINATOR_APPLICATION_ENTITY_TITLE, originator.ae_title.as_str());
        command.set_u16(tags::MOVE_ORIGINATOR_MESSAGE_ID, originator.message_id);
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uid<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
        text.parse().expect("a UID")
    }

    #[test]
    fn each_pair_of_sop_class_and_transfer_syntax_is_proposed_once() {
        let (ct, mr): (SopClassUid, SopClassUid) = (uid(uids::CT_IMAGE_STORAGE), uid(uids::MR_IMAGE_STORAGE));
        let (explicit, jpeg): (TransferSyntaxUid, TransferSyntaxUid) =
            (uid(uids::EXPLICIT_VR_LITTLE_ENDIAN), uid(uids::JPEG_BASELINE8_BIT));

        let proposals =
            Proposal::for_instances([(&ct, &explicit), (&mr, &explicit), (&ct, &explicit), (&ct, &jpeg)]);

        let seen: Vec<_> =
            proposals.iter().map(|p| (p.abstract_syntax.as_str(), p.transfer_syntaxes.join(" "))).collect();
        assert_eq!(
            seen,
            [
                (uids::CT_IMAGE_STORAGE, uids::EXPLICIT_VR_LITTLE_ENDIAN.to_owned()),
                (uids::MR_IMAGE_STORAGE, uids::EXPLICIT_VR_LITTLE_ENDIAN.to_owned()),
                (uids::CT_IMAGE_STORAGE, uids::JPEG_BASELINE8_BIT.to_owned()),
            ]
        );
    }

    #[test]
    fn a_sub_operation_names_who_asked_for_the_move() {
        let request = StoreRequest {
            sop_class_uid: &uid(uids::CT_IMAGE_STORAGE),
            sop_instance_uid: &uid("1.2.3"),
            transfer_syntax_uid: &uid(uids::EXPLICIT_VR_LITTLE_ENDIAN),
            move_originator: Some(MoveOriginator { ae_title: uid("VIEWER"), message_id: 9 }),
        };

        let command = store_command(&request, 3);

        let originator = command.text(tags::MOVE_ORIGINATOR_APPLICATION_ENTITY_TITLE);
        assert_eq!(originator.as_deref(), Some("VIEWER"));
        assert_eq!(command.u16(tags::MOVE_ORIGINATOR_MESSAGE_ID), Some(9));
        assert_eq!(command.u16(tags::MESSAGE_ID), Some(3));
        assert!(command.has_data_set());
    }

    #[test]
    fn a_warning_is_done_and_a_failure_is_not() {
        let done = |status| Response { status, error_comment: None }.is_done();
        assert!([0x0000, 0x0107, 0xB000, 0xB007].into_iter().all(done));
        assert!(![0xA700, 0xA900, 0xC000, 0x0110, 0x0122, 0xFE00].into_iter().any(done));
    }
}
