//! The service class user: what filmroom asks of other AEs. Verification (PS3.4 A.4) and Storage (PS3.4 B.2) stand
//! here on [`Association`], the requestor's side of an association (PS3.8 section 7), which sends commands and data
//! sets and waits for answers, each within a deadline.

mod association;
mod called;
pub mod commitment;
mod connection;
mod error;
mod find;
mod proposal;
mod receiver;
mod response;
mod retrieve;
pub mod send;

use std::time::Duration;

use dicom_dictionary_std::{tags, uids};
use tokio::io::AsyncRead;

pub use self::association::Association;
pub use self::called::{Called, Requestor, Unreachable};
pub use self::error::Error;
pub use self::find::{FindLimits, Found};
pub use self::proposal::{Proposal, Role};
pub use self::receiver::Receiver;
pub use self::response::Response;
pub use self::retrieve::{Progress, Retrieved};
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
    /// For a retrieve to say how far it is, which a peer need not do, PS3.7 section 9.3.4.
    pub operation: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            connect: Duration::from_secs(10),
            association: Duration::from_secs(30),
            send: Duration::from_secs(30),
            response: Duration::from_secs(60),
            operation: Duration::from_secs(600),
        }
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
}
