//! N-EVENT-REPORT of the Storage Commitment Push Model where we are the SCU, PS3.4 J.3.3 and PS3.7 section 10.1.1: a peer
//! reports over an association of its own what became of the instances we asked about.

use dicom_dictionary_std::tags;

use super::Error;
use super::association::Association;
use super::command::CommandSet;
use super::negotiation::PresentationContext;
use super::scp::{Caller, LONGEST_LIST, read_data_set};
use super::status::Status;
use crate::archive::Archive;
use crate::dicom::ae_title::AeTitle;
use crate::dicom::commitment::Report;

/// PS3.4 Table J.3-2: all are committed, and some are not.
const EVENT_TYPES: [u16; 2] = [1, 2];

/// Takes one report.
pub async fn serve(
    association: &mut Association,
    archive: &Archive,
    caller: &Caller,
    context: &PresentationContext,
    command: &CommandSet,
) -> Result<(), Error> {
    let report = match read_data_set(association, context, command, LONGEST_LIST).await? {
        Ok(data_set) => Report::parse(&data_set).map_err(|invalid| invalid.to_string()),
        Err(sentence) => Err(sentence.to_owned()),
    };
    let (status, comment) = match (report, caller.ae_title.parse()) {
        (Ok(report), Ok(ae_title)) => take(archive, &ae_title, command, report).await,
        (Err(sentence), _) => (Status::INVALID_ARGUMENT_VALUE, sentence),
        (_, Err(_)) => (Status::PROCESSING_FAILURE, "The calling AE title was never asked".to_owned()),
    };
    if status != Status::SUCCESS {
        tracing::warn!(%status, "refused a report of storage commitment: {comment}");
    }
    association.send_command(context.id, &response(command, status, &comment)).await
}

/// Writes down what a peer reports, and what it is answered: that it was taken only when it is committed.
pub(super) async fn take(
    archive: &Archive,
    ae_title: &AeTitle,
    command: &CommandSet,
    report: Report,
) -> (Status, String) {
    if !command.u16(tags::EVENT_TYPE_ID).is_some_and(|event| EVENT_TYPES.contains(&event)) {
        return (Status::NO_SUCH_EVENT_TYPE, "The Event Type ID is neither 1 nor 2".to_owned());
    }
    let transaction_uid = report.transaction_uid.clone();
    match archive.take_commitment(ae_title, report).await {
        Ok(Some(taken)) => {
            tracing::info!(
                peer = %ae_title,
                transaction_uid = %transaction_uid,
                failed = taken.failed,
                "{} instances are safely stored there",
                taken.committed
            );
            (Status::SUCCESS, String::new())
        }
        Ok(None) => {
            (Status::INVALID_ARGUMENT_VALUE, "Nothing was asked under this Transaction UID".to_owned())
        }
        Err(err) => {
            tracing::error!(err = &err as &dyn std::error::Error, "cannot write down a report of a peer");
            (Status::RESOURCE_LIMITATION, "The archive's database failed, report again later".to_owned())
        }
    }
}

/// PS3.7 Table 10.3-2.
pub(super) fn response(request: &CommandSet, status: Status, comment: &str) -> CommandSet {
    let mut response = CommandSet::response_to(request, status);
    if let Some(uid) = request.uid(tags::AFFECTED_SOP_INSTANCE_UID).filter(|uid| uid.len() <= 64) {
        response.set_uid(tags::AFFECTED_SOP_INSTANCE_UID, &uid);
    }
    if let Some(event) = request.u16(tags::EVENT_TYPE_ID) {
        response.set_u16(tags::EVENT_TYPE_ID, event);
    }
    if !comment.is_empty() {
        response.set_error_comment(comment);
    }
    response
}
