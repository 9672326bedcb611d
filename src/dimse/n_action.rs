//! N-ACTION SCP of the Storage Commitment Push Model, PS3.4 J.3.2 and PS3.7 section 10.1.4: a request is written down and
//! answered, and its report goes back over the same association where it is soon ready and the peer says nothing else
//! meanwhile. What becomes of it otherwise is the queue's, by an association of our own.

use std::time::Duration;

use dicom_dictionary_std::{tags, uids};
use tokio::time::timeout;

use super::Error;
use super::association::Association;
use super::command::{self, CommandSet, DATA_SET_FOLLOWS};
use super::negotiation::PresentationContext;
use super::scp::{Caller, LONGEST_LIST, drain, read_data_set};
use super::status::Status;
use super::sub_operations::encoding;
use crate::archive::commitment::Noted;
use crate::archive::{self, Archive};
use crate::dicom::commitment::{Invalid, Report, Request};

/// PS3.4 Table J.3-1: Request Storage Commitment.
pub(super) const REQUEST_STORAGE_COMMITMENT: u16 = 1;
/// How long the instances may take to be verified while the peer waits.
const PROMPT: Duration = Duration::from_secs(5);

/// A report that is due to the peer of an association.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reported {
    commitment_key: u64,
    /// Of the N-EVENT-REPORT that is not answered yet.
    message_id: u16,
}

/// Takes one request, and reports if it can be soon.
pub async fn serve(
    association: &mut Association,
    archive: &Archive,
    caller: &Caller,
    context: &PresentationContext,
    command: &CommandSet,
    reported: &mut Option<Reported>,
) -> Result<(), Error> {
    let request = match asked(association, context, command).await? {
        Ok(request) => request,
        Err((status, sentence)) => {
            tracing::warn!(%status, "refused a request for storage commitment: {sentence}");
            return association.send_command(context.id, &response(command, status, &sentence)).await;
        }
    };
    let (transaction_uid, count) = (request.transaction_uid.clone(), request.references.len());
    let noted = match note(archive, caller, request).await {
        Ok(noted) => noted,
        Err((status, sentence)) => {
            return association.send_command(context.id, &response(command, status, sentence)).await;
        }
    };
    tracing::info!(
        transaction_uid = %transaction_uid,
        is_duplicate = noted.is_duplicate,
        "asked for storage commitment of {count} instances"
    );
    let due =
        Reported { commitment_key: noted.commitment_key, message_id: message_id_behind(*reported, command) };
    let is_busy = reported.is_some();
    // Whatever ends the association from here on, the queue is told.
    let before = reported.replace(due);
    association.send_command(context.id, &response(command, Status::SUCCESS, "")).await?;
    let report = match is_busy {
        true => None, // one operation at a time, PS3.7 D.3.3.3
        false => tokio::select! {
            biased;
            spoken = association.speaks() => {
                spoken?;
                None
            }
            report = timeout(PROMPT, archive.verify_commitment(
                due.commitment_key,
                &transaction_uid,
                &caller.called_ae_title,
            )) => report.ok(),
        },
    };
    match report {
        Some(Ok(report)) => send(association, context, &report, due.message_id).await,
        other => {
            if let Some(Err(err)) = other {
                tracing::error!(
                    err = &err as &dyn std::error::Error,
                    "cannot verify what is to be committed"
                );
            }
            *reported = before;
            queue(archive, due).await;
            Ok(())
        }
    }
}

/// The request, or why it is none.
async fn asked(
    association: &mut Association,
    context: &PresentationContext,
    command: &CommandSet,
) -> Result<Result<Request, (Status, String)>, Error> {
    let refused = match (
        command.uid(tags::REQUESTED_SOP_CLASS_UID).as_deref(),
        command.uid(tags::REQUESTED_SOP_INSTANCE_UID).as_deref(),
        command.u16(tags::ACTION_TYPE_ID),
    ) {
        (class, ..) if class != Some(uids::STORAGE_COMMITMENT_PUSH_MODEL) => {
            (Status::NO_SUCH_SOP_CLASS, "The Requested SOP Class UID is not that of the context")
        }
        (_, instance, _) if instance != Some(uids::STORAGE_COMMITMENT_PUSH_MODEL_INSTANCE) => {
            (Status::NO_SUCH_SOP_INSTANCE, "The Requested SOP Instance UID is not 1.2.840.10008.1.20.1.1")
        }
        (.., action) if action != Some(REQUEST_STORAGE_COMMITMENT) => {
            (Status::NO_SUCH_ACTION, "The Action Type ID is not 1")
        }
        _ => {
            let data_set = match read_data_set(association, context, command, LONGEST_LIST).await? {
                Ok(data_set) => data_set,
                Err(sentence) => return Ok(Err((Status::INVALID_ARGUMENT_VALUE, sentence.to_owned()))),
            };
            return Ok(Request::parse(&data_set).map_err(|invalid| (status(&invalid), invalid.to_string())));
        }
    };
    drain(association, context, command).await?;
    Ok(Err((refused.0, refused.1.to_owned())))
}

fn status(invalid: &Invalid) -> Status {
    match invalid {
        Invalid::TransactionUid | Invalid::Empty | Invalid::Item(_) => Status::INVALID_ARGUMENT_VALUE,
        Invalid::TooMany(_) => Status::RESOURCE_LIMITATION,
    }
}

async fn note(archive: &Archive, caller: &Caller, request: Request) -> Result<Noted, (Status, &'static str)> {
    let Ok(ae_title) = caller.ae_title.parse() else {
        return Err((Status::PROCESSING_FAILURE, "The calling AE title cannot be called back"));
    };
    archive.note_commitment(&ae_title, request).await.map_err(|err| {
        tracing::error!(err = &err as &dyn std::error::Error, "cannot write down a request for commitment");
        match err {
            archive::Error::Database(_) | archive::Error::TimedOut => {
                (Status::RESOURCE_LIMITATION, "The archive's database does not answer, ask again later")
            }
            archive::Error::Stopping => {
                (Status::RESOURCE_LIMITATION, "The archive is being stopped, ask again later")
            }
            archive::Error::File(_) | archive::Error::DiskFull => {
                (Status::PROCESSING_FAILURE, "The archive failed, see its log")
            }
        }
    })
}

/// N-EVENT-REPORT, PS3.7 section 10.3.1 and PS3.4 J.3.3.
async fn send(
    association: &mut Association,
    context: &PresentationContext,
    report: &Report,
    message_id: u16,
) -> Result<(), Error> {
    tracing::info!(
        transaction_uid = %report.transaction_uid,
        failed = report.failed(),
        "reports storage commitment of {} instances over the same association",
        report.committed()
    );
    let request = report_request(report, message_id);
    association.queue(context.id, &request.encode(), Some(&report.write(encoding(context))));
    association.flush().await
}

/// The command of an N-EVENT-REPORT, PS3.7 Table 10.3-1.
pub(super) fn report_request(report: &Report, message_id: u16) -> CommandSet {
    let mut request = CommandSet::new();
    request.set_uid(tags::AFFECTED_SOP_CLASS_UID, uids::STORAGE_COMMITMENT_PUSH_MODEL);
    request.set_u16(tags::COMMAND_FIELD, command::N_EVENT_REPORT_RQ);
    request.set_u16(tags::MESSAGE_ID, message_id);
    request.set_u16(tags::COMMAND_DATA_SET_TYPE, DATA_SET_FOLLOWS);
    request.set_uid(tags::AFFECTED_SOP_INSTANCE_UID, uids::STORAGE_COMMITMENT_PUSH_MODEL_INSTANCE);
    request.set_u16(tags::EVENT_TYPE_ID, report.event_type());
    request
}

/// Message IDs are ours to give here, and differ from those of the operations that are under way.
fn message_id_behind(reported: Option<Reported>, command: &CommandSet) -> u16 {
    let operation = command.u16(tags::MESSAGE_ID).unwrap_or(0);
    let first = operation.wrapping_add(1);
    match reported {
        Some(before) if before.message_id == first => first.wrapping_add(1),
        _ => first,
    }
}

/// Whether this response is that to the report.
pub fn answers(reported: Option<Reported>, command: &CommandSet) -> bool {
    let to = command.u16(tags::MESSAGE_ID_BEING_RESPONDED_TO);
    reported.is_some_and(|reported| Some(reported.message_id) == to)
}

/// The peer has answered a report.
pub async fn reported(archive: &Archive, reported: Option<Reported>, command: &CommandSet) {
    let Some(reported) = reported else { return };
    let status = command.u16(tags::STATUS).map(Status);
    if !status.is_some_and(Status::is_done) {
        let status = status.map(|status| status.to_string()).unwrap_or_default();
        tracing::warn!(status, "the peer did not take the report of a storage commitment; it is sent again");
        return queue(archive, reported).await;
    }
    // Where this fails the report is sent once more, which changes nothing for the peer.
    if let Err(err) = archive.end_commitment(reported.commitment_key).await {
        tracing::error!(err = &err as &dyn std::error::Error, "cannot write down that a report was taken");
    }
}

/// Leaves a report to the queue.
pub async fn queue(archive: &Archive, reported: Reported) {
    // Where this fails the queue takes it a little later.
    if let Err(err) = archive.queue_commitment(reported.commitment_key).await {
        tracing::error!(err = &err as &dyn std::error::Error, "cannot put a report into the queue at once");
    }
}

/// PS3.7 Table 10.3-7.
fn response(request: &CommandSet, status: Status, comment: &str) -> CommandSet {
    let mut response = CommandSet::response_to(request, status);
    for (tag, requested) in [
        (tags::AFFECTED_SOP_CLASS_UID, tags::REQUESTED_SOP_CLASS_UID),
        (tags::AFFECTED_SOP_INSTANCE_UID, tags::REQUESTED_SOP_INSTANCE_UID),
    ] {
        if let Some(uid) = request.uid(requested).filter(|uid| uid.len() <= 64) {
            response.set_uid(tag, &uid);
        }
    }
    if let Some(action) = request.u16(tags::ACTION_TYPE_ID) {
        response.set_u16(tags::ACTION_TYPE_ID, action);
    }
    if !comment.is_empty() {
        response.set_error_comment(comment);
    }
    response
}
