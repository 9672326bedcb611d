//! One association from its first request to its end: every message gets exactly one final response.

use dicom_dictionary_std::tags;
use dicom_ul::pdu::AbortRQServiceProviderReason;

use super::association::{Association, Request};
use super::command::{self, CommandSet, NO_DATA_SET};
use super::negotiation::PresentationContext;
use super::status::Status;
use super::{Error, c_echo, c_store};
use crate::archive::Archive;
use crate::archive::activity::Presence;
use crate::archive::receive::Audited;
use crate::dicom::service::Service;

/// Who is at the other end.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Calling AE title.
    pub ae_title: String,
    /// IP address.
    pub address: String,
    /// What of it stands in the audit trail.
    pub audited: Audited,
}

/// Serves messages until the release; an error means that the association is over without one.
pub async fn serve(
    association: &mut Association,
    archive: &Archive,
    caller: &Caller,
    presence: &Presence,
) -> Result<(), Error> {
    loop {
        presence.waits();
        let (context, command) = match association.next_request().await? {
            Request::Message { context, command } => (context, command),
            Request::Release => return Ok(()),
        };
        presence.serves(context.service);
        match (command.u16(tags::COMMAND_FIELD), context.service) {
            (Some(command::C_ECHO_RQ), _) => {
                drain(association, &context, &command).await?;
                association.send_command(context.id, &c_echo::respond(&command)).await?;
            }
            (Some(command::C_STORE_RQ), Service::Store) if context.requestor_is_scu => {
                c_store::serve(association, archive, caller, presence, &context, &command).await?;
            }
            // There is nothing under way that could be cancelled, and a cancel has no response, PS3.7 9.3.2.3.
            (Some(command::C_CANCEL_RQ), _) => drain(association, &context, &command).await?,
            (Some(field), service) if field & command::RESPONSE == 0 => {
                drain(association, &context, &command).await?;
                let status = match (field, service) {
                    (command::C_STORE_RQ, _) => Status::SOP_CLASS_NOT_SUPPORTED,
                    _ => Status::UNRECOGNIZED_OPERATION,
                };
                association.send_command(context.id, &refusal(field, &command, status)).await?;
            }
            (Some(_), _) => {
                return Err(Error::protocol(
                    AbortRQServiceProviderReason::UnexpectedPduParameter,
                    "a response to a request that was never made",
                ));
            }
            (None, _) => {
                return Err(Error::protocol(
                    AbortRQServiceProviderReason::InvalidPduParameter,
                    "a command set without a Command Field",
                ));
            }
        }
    }
}

/// Reads a data set nobody wants, so that the next message can be read.
pub async fn drain(
    association: &mut Association,
    context: &PresentationContext,
    command: &CommandSet,
) -> Result<(), Error> {
    if command.has_data_set() {
        while !association.next_data(context.id).await?.is_last {}
    }
    Ok(())
}

fn refusal(field: u16, request: &CommandSet, status: Status) -> CommandSet {
    let mut response = CommandSet::new();
    if let Some(uid) = request.uid(tags::AFFECTED_SOP_CLASS_UID) {
        response.set_uid(tags::AFFECTED_SOP_CLASS_UID, &uid);
    }
    response.set_u16(tags::COMMAND_FIELD, field | command::RESPONSE);
    response.set_u16(tags::MESSAGE_ID_BEING_RESPONDED_TO, request.u16(tags::MESSAGE_ID).unwrap_or(0));
    response.set_u16(tags::COMMAND_DATA_SET_TYPE, NO_DATA_SET);
    response.set_u16(tags::STATUS, status.0);
    response.set_error_comment("This service is not offered here");
    response
}
