//! C-STORE SCP, PS3.4 Annex B and PS3.7 section 9.3.1.

use chrono::Utc;
use dicom_dictionary_std::tags;

use super::Error;
use super::association::Association;
use super::command::CommandSet;
use super::negotiation::PresentationContext;
use super::scp::{Caller, drain};
use super::status::Status;
use crate::archive::activity::Presence;
use crate::archive::commit::Outcome;
use crate::archive::receive::{Provenance, Refusal, Said, Source, Stored};
use crate::archive::{self, Archive};
use crate::db::audit::{Actor, ActorKind};
use crate::dicom::uid::SopInstanceUid;

/// Receives one instance and answers. Every failure that is not the association's is a status.
pub async fn serve(
    association: &mut Association,
    archive: &Archive,
    caller: &Caller,
    presence: &Presence,
    context: &PresentationContext,
    command: &CommandSet,
) -> Result<(), Error> {
    let provenance = match provenance(caller, context, command) {
        Ok(provenance) => provenance,
        Err((status, comment)) => {
            drain(association, context, command).await?;
            tracing::warn!(%status, comment, "refused an instance");
            return association.send_command(context.id, &response(command, status, &comment)).await;
        }
    };
    let said = provenance.said.clone();
    let mut reception = archive.receive(provenance);
    loop {
        let fragment = association.next_data(context.id).await?;
        reception.push(fragment.data);
        if fragment.is_last {
            break;
        }
    }
    let result = presence.guarded(reception.finish()).await;
    if let Ok(stored) = &result {
        presence.stored(&stored.study_instance_uid);
    }
    let (status, comment) = outcome(&result, context, said.sop_instance());
    association.send_command(context.id, &response(command, status, &comment)).await
}

/// What the sender is told.
pub(super) fn outcome(
    result: &Result<Stored, Refusal>,
    context: &PresentationContext,
    sop_instance_uid: Option<&SopInstanceUid>,
) -> (Status, String) {
    let sop_instance_uid = sop_instance_uid.map_or("", SopInstanceUid::as_str);
    match result {
        Ok(stored) => {
            let (status, comment) = done(stored, context);
            if status != Status::SUCCESS {
                tracing::warn!(sop_instance_uid, %status, comment, "stored an instance with a warning");
            }
            (status, comment)
        }
        Err(refusal) => {
            let (status, comment) = failed(refusal);
            tracing::warn!(sop_instance_uid, %status, err = refusal as &dyn std::error::Error, "refused an instance");
            (status, comment)
        }
    }
}

/// What the command says of the instance, or the status that says why it cannot be one.
pub(super) fn provenance(
    caller: &Caller,
    context: &PresentationContext,
    command: &CommandSet,
) -> Result<Provenance, (Status, String)> {
    if !command.has_data_set() {
        return Err((Status::MISTYPED_ARGUMENT, "The C-STORE request has no data set".into()));
    }
    let sop_class =
        command.uid(tags::AFFECTED_SOP_CLASS_UID).unwrap_or_else(|| context.abstract_syntax.clone());
    let sop_class = sop_class.parse().map_err(|_| unusable("Affected SOP Class UID"))?;
    let sop_instance = command.uid(tags::AFFECTED_SOP_INSTANCE_UID).unwrap_or_default();
    let sop_instance = sop_instance.parse().map_err(|_| unusable("Affected SOP Instance UID"))?;
    let actor =
        Actor { kind: ActorKind::Peer, name: caller.ae_title.clone(), address: caller.address.clone() };
    Ok(Provenance {
        said: Said::ByCommand(sop_class, sop_instance),
        transfer_syntax: context.transfer_syntax.parse().map_err(|_| unusable("The transfer syntax"))?,
        source: Source {
            actor,
            details: String::new(),
            ae_title: caller.ae_title.clone(),
            address: caller.address.clone(),
            audited: caller.audited.clone(),
        },
        only_study: None,
        received_at: Utc::now(),
    })
}

fn unusable(what: &str) -> (Status, String) {
    (Status::CANNOT_UNDERSTAND, format!("{what} cannot be used as a UID"))
}

/// PS3.4 Table B.2-1, success and warnings.
fn done(stored: &Stored, context: &PresentationContext) -> (Status, String) {
    match stored.outcome {
        Outcome::Quarantined | Outcome::AlreadyQuarantined => (
            Status::COERCION_OF_DATA_ELEMENTS,
            "Kept in quarantine: other content has this SOP Instance UID".into(),
        ),
        Outcome::Stored | Outcome::AlreadyHeld => match (stored.notes.first(), &stored.other_sop_class) {
            (Some(note), _) => (Status::DATA_SET_DOES_NOT_MATCH_WARNING, note.to_string()),
            // Kept all the same: what the data set says of itself is what it is.
            (None, Some(uid)) if uid.as_str() != context.abstract_syntax => {
                (Status::DATA_SET_DOES_NOT_MATCH_WARNING, "The data set is of another SOP class".into())
            }
            (None, _) if stored.other_sop_instance.is_some() => {
                (Status::DATA_SET_DOES_NOT_MATCH_WARNING, "The request named another SOP Instance UID".into())
            }
            (None, _) => (Status::SUCCESS, String::new()),
        },
    }
}

/// PS3.4 Table B.2-1, failures. The comment is for the screen of the device that sent it.
fn failed(refusal: &Refusal) -> (Status, String) {
    match refusal {
        Refusal::Unreadable(err) => (Status::CANNOT_UNDERSTAND, err.to_string()),
        Refusal::Unusable(err) => (Status::CANNOT_UNDERSTAND, err.to_string()),
        Refusal::OtherInstance => {
            (Status::DATA_SET_DOES_NOT_MATCH, "SOP Instance UID differs between command and data set".into())
        }
        Refusal::OtherStudy => (Status::DATA_SET_DOES_NOT_MATCH, refusal.to_string()),
        Refusal::NotDicom | Refusal::Directory | Refusal::Metadata(_) | Refusal::NotUnzipped(_) => {
            (Status::CANNOT_UNDERSTAND, refusal.to_string())
        }
        Refusal::TooLong => (Status::OUT_OF_RESOURCES, "The instance is longer than 16 GiB".into()),
        Refusal::Archive(err) => {
            let comment = match err {
                archive::Error::Database(err) if err.is_transient() => {
                    "The archive's database does not answer, send again later"
                }
                archive::Error::Database(_) => "The archive's database refuses this instance, see its log",
                archive::Error::File(_) => "The archive cannot write its files, send again later",
                archive::Error::TimedOut => "The archive's database is too slow, send again later",
                archive::Error::DiskFull => "The archive's disk is full",
                archive::Error::Stopping => "The archive is being stopped, send again later",
            };
            (Status::OUT_OF_RESOURCES, comment.into())
        }
    }
}

/// The response to a C-STORE request.
pub(super) fn response(request: &CommandSet, status: Status, comment: &str) -> CommandSet {
    let mut response = CommandSet::response_to(request, status);
    if let Some(uid) = request.uid(tags::AFFECTED_SOP_INSTANCE_UID).filter(|uid| uid.len() <= 64) {
        response.set_uid(tags::AFFECTED_SOP_INSTANCE_UID, &uid);
    }
    if !comment.is_empty() {
        response.set_error_comment(comment);
    }
    response
}
