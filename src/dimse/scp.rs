//! One association from its first request to its end: every message gets exactly one final response.

use dicom_dictionary_std::{tags, uids};
use dicom_ul::pdu::AbortRQServiceProviderReason;

use super::association::{Association, Request};
use super::command::{self, CommandSet};
use super::n_action::Reported;
use super::negotiation::PresentationContext;
use super::scu::Requestor;
use super::status::Status;
use super::{Error, c_echo, c_find, c_get, c_move, c_store, n_action, n_event_report};
use crate::archive::Archive;
use crate::archive::activity::Presence;
use crate::archive::receive::Audited;
use crate::db::Pool;
use crate::db::audit::{Actor, ActorKind};
use crate::dicom::ae_title::AeTitle;
use crate::dicom::data_set::DataSet;
use crate::dicom::prescan::{self, Encoding, Limits};
use crate::dicom::service::Service;

/// A request for the commitment of 20,000 instances is some 4 MB.
pub const LONGEST_LIST: usize = 8 << 20;
/// An identifier of 10,000 UIDs is some 650 KB.
pub const LONGEST_IDENTIFIER: usize = 1 << 20;

/// With what services are performed.
pub struct Provider {
    /// What is stored, found and sent.
    pub archive: Archive,
    /// Where the peers are.
    pub pool: Pool,
    /// As whom, and how, others are called.
    pub requestor: Requestor,
}

/// Who is at the other end, and whom it called.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Our AE title.
    pub called_ae_title: AeTitle,
    /// Calling AE title.
    pub ae_title: String,
    /// IP address.
    pub address: String,
    /// What of it stands in the audit trail.
    pub audited: Audited,
}

impl Caller {
    /// The caller as the audit trail names it.
    pub fn actor(&self) -> Actor {
        Actor { kind: ActorKind::Peer, name: self.ae_title.clone(), address: self.address.clone() }
    }
}

/// Serves messages until the release; an error means that the association is over without one.
pub async fn serve(
    association: &mut Association,
    provider: &Provider,
    caller: &Caller,
    presence: &Presence,
) -> Result<(), Error> {
    let mut reported = None;
    let served = messages(association, provider, caller, presence, &mut reported).await;
    // What the peer did not wait for goes to it by another association.
    if let Some(reported) = reported {
        n_action::queue(&provider.archive, reported).await;
    }
    served
}

async fn messages(
    association: &mut Association,
    provider: &Provider,
    caller: &Caller,
    presence: &Presence,
    reported: &mut Option<Reported>,
) -> Result<(), Error> {
    let archive = &provider.archive;
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
            (Some(command::C_FIND_RQ), Service::Find) => {
                c_find::serve(association, archive, presence, caller, &context, &command).await?;
            }
            (Some(command::C_GET_RQ), Service::Get) => {
                c_get::serve(association, archive, presence, caller, &context, &command).await?;
            }
            (Some(command::C_MOVE_RQ), Service::Move) => {
                c_move::serve(association, provider, presence, caller, &context, &command).await?;
            }
            (Some(command::N_ACTION_RQ), Service::Commit) if context.requestor_is_scu => {
                n_action::serve(association, archive, caller, &context, &command, reported).await?;
            }
            (Some(command::N_EVENT_REPORT_RSP), Service::Commit)
                if n_action::answers(*reported, &command) =>
            {
                drain(association, &context, &command).await?;
                n_action::reported(archive, reported.take(), &command).await;
            }
            (Some(command::N_EVENT_REPORT_RQ), Service::Commit) if context.requestor_is_scp => {
                n_event_report::serve(association, archive, caller, &context, &command).await?;
            }
            // There is nothing under way that could be cancelled, and a cancel has no response, PS3.7 9.3.2.3.
            (Some(command::C_CANCEL_RQ), _) => drain(association, &context, &command).await?,
            (Some(field), service) if field & command::RESPONSE == 0 => {
                drain(association, &context, &command).await?;
                let status = match (field, service) {
                    (command::C_STORE_RQ, _) => Status::SOP_CLASS_NOT_SUPPORTED,
                    _ => Status::UNRECOGNIZED_OPERATION,
                };
                association.send_command(context.id, &refusal(&command, status)).await?;
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

/// The data set of a request that is no instance: a query, a list of instances; of at most so many bytes.
pub async fn read_data_set(
    association: &mut Association,
    context: &PresentationContext,
    command: &CommandSet,
    most: usize,
) -> Result<Result<DataSet, &'static str>, Error> {
    if !command.has_data_set() {
        return Ok(Err("The request has no data set"));
    }
    let mut bytes = Vec::new();
    let mut is_too_long = false;
    loop {
        let fragment = association.next_data(context.id).await?;
        is_too_long |= bytes.len() + fragment.data.len() > most;
        if !is_too_long {
            bytes.extend_from_slice(&fragment.data);
        }
        if fragment.is_last {
            break;
        }
    }
    if is_too_long {
        return Ok(Err("The data set of the request is too long"));
    }
    let encoding = match context.transfer_syntax.as_str() {
        uids::IMPLICIT_VR_LITTLE_ENDIAN => Encoding::ImplicitVrLittleEndian,
        _ => Encoding::ExplicitVrLittleEndian,
    };
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let limits = Limits { tree_bytes: 64 << 20, ..Limits::default() };
    let scan = prescan::scan(std::io::Cursor::new(bytes), length, encoding, &limits);
    Ok(scan.map(|scan| scan.data_set).map_err(|err| {
        tracing::warn!(err = &err as &dyn std::error::Error, "the data set of a request cannot be read");
        "The data set of the request cannot be read"
    }))
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

fn refusal(request: &CommandSet, status: Status) -> CommandSet {
    let mut response = CommandSet::response_to(request, status);
    response.set_error_comment("This service is not offered here");
    response
}
