//! C-GET SCP, PS3.4 C.4.3 and PS3.7 section 9.3.3: what was asked for is sent back over the same association, over the
//! contexts for which the requestor took the role of SCP.

use std::time::Duration;

use dicom_dictionary_std::tags;
use tokio::time::{Instant, timeout_at};

use super::Error;
use super::association::Association;
use super::command::{self, CommandSet, DATA_SET_FOLLOWS, PRIORITY_MEDIUM};
use super::negotiation::PresentationContext;
use super::scp::Caller;
use super::sub_operations::{Ended, Retrieval, asked, encoding, failure, record};
use crate::archive::Archive;
use crate::archive::activity::Presence;
use crate::archive::retrieve::Holding;
use crate::archive::retrieve::sendable::{Sendable, Unsendable};

/// How long the requestor may take to answer a sub-operation.
const PATIENCE: Duration = Duration::from_secs(60);

/// Serves one C-GET.
pub async fn serve(
    association: &mut Association,
    archive: &Archive,
    presence: &Presence,
    caller: &Caller,
    context: &PresentationContext,
    command: &CommandSet,
) -> Result<(), Error> {
    let mut retrieval = match asked(association, archive, context, command).await? {
        Ok(retrieval) => retrieval,
        Err(response) => return association.send_command(context.id, &response).await,
    };
    let to = format!("retrieved by {}", caller.ae_title);
    if let Err(err) = record(archive, caller, &retrieval.selection, &to).await {
        return association.send_command(context.id, &failure(command, &err)).await;
    }
    let is_cancelled = send_all(association, archive, presence, context, command, &mut retrieval).await?;
    let tally = &retrieval.tally;
    tracing::info!(failed = tally.failed(), is_cancelled, "sent {} instances by C-GET", tally.arrived());
    let (response, identifier) = tally.end(command, is_cancelled, encoding(context));
    association.queue(context.id, &response.encode(), identifier.as_deref());
    association.flush().await
}

/// Sends what was selected; whether it was cancelled.
async fn send_all(
    association: &mut Association,
    archive: &Archive,
    presence: &Presence,
    context: &PresentationContext,
    command: &CommandSet,
    retrieval: &mut Retrieval,
) -> Result<bool, Error> {
    let operation = command.u16(tags::MESSAGE_ID).unwrap_or(0);
    // Message IDs are ours to give here, and differ from that of the operation that is under way.
    let mut message_id = operation;
    loop {
        let holdings = match archive.next_of(&mut retrieval.selection).await {
            Ok(holdings) => holdings,
            Err(err) => {
                tracing::error!(err = &err as &dyn std::error::Error, "a retrieve ended early");
                retrieval.tally.give_up(&format!("The archive does not know what comes next: {err}"));
                return Ok(false);
            }
        };
        if holdings.is_empty() {
            return Ok(false);
        }
        let mut next = holdings.iter().skip(1);
        for holding in &holdings {
            if association.is_cancelled(operation).await? {
                return Ok(true);
            }
            message_id = message_id.wrapping_add(1);
            let ended = match prepare(association, archive, holding).await {
                Ok((over, mut data_set)) => {
                    let request = store_request(holding, message_id);
                    association.queue(over, &request.encode(), None);
                    if let Err(err) = association.send_data_set(over, &mut data_set).await? {
                        return Err(Error::Unreadable(err.into()));
                    }
                    // The disk works while the peer does.
                    if let Some(next) = next.next() {
                        archive.read_ahead(next);
                    }
                    let (ended, is_cancelled) = response(association, operation, message_id).await?;
                    if is_cancelled {
                        retrieval.tally.count(&holding.row().sop_instance_uid, &ended);
                        return Ok(true);
                    }
                    ended
                }
                Err(Unsendable { why, .. }) => {
                    next.next();
                    Ended::Failed(why)
                }
            };
            if let Ended::Failed(why) = &ended {
                tracing::warn!(
                    sop_instance_uid = holding.row().sop_instance_uid,
                    "a sub-operation failed: {why}"
                );
            }
            if ended.is_done() {
                presence.sent();
            }
            retrieval.tally.count(&holding.row().sop_instance_uid, &ended);
            association.queue(context.id, &retrieval.tally.pending(command).encode(), None);
        }
        association.flush().await?;
    }
}

/// The context to send an instance over, and its data set as that wants it.
async fn prepare(
    association: &Association,
    archive: &Archive,
    holding: &Holding,
) -> Result<(u8, Sendable), Unsendable> {
    let row = holding.row();
    let contexts: Vec<(u8, &str)> = association
        .contexts()
        .iter()
        .filter(|context| context.requestor_is_scp && context.abstract_syntax == row.sop_class_uid)
        .map(|context| (context.id, context.transfer_syntax.as_str()))
        .collect();
    if contexts.is_empty() {
        let why = format!("No context is there for the SOP class {}", row.sop_class_uid);
        return Err(Unsendable { why, is_passing: false });
    }
    let over = |syntax: &str| contexts.iter().find(|(_, taken)| *taken == syntax).map(|(id, _)| *id);
    if let Some(id) = over(&row.transfer_syntax_uid) {
        return Ok((id, archive.as_stored(holding)?));
    }
    let (data_set, target) = archive.converted(holding, |syntax| over(syntax).is_some()).await?;
    let id = over(target.uid()).ok_or_else(|| Unsendable {
        why: "No context is there for what it was converted to".to_owned(),
        is_passing: false,
    })?;
    Ok((id, data_set))
}

/// Waits for the response to a sub-operation, and for the cancel that may come before it.
async fn response(
    association: &mut Association,
    operation: u16,
    message_id: u16,
) -> Result<(Ended, bool), Error> {
    let mut is_cancelled = false;
    let until = Instant::now() + PATIENCE;
    loop {
        let command = timeout_at(until, association.interruption())
            .await
            .map_err(|_| Error::Timeout("to answer a sub-operation"))??;
        let answers = command.u16(tags::MESSAGE_ID_BEING_RESPONDED_TO);
        match command.u16(tags::COMMAND_FIELD) {
            Some(command::C_CANCEL_RQ) => is_cancelled |= answers == Some(operation),
            Some(command::C_STORE_RSP) if answers == Some(message_id) => {
                let comment = command.text(tags::ERROR_COMMENT);
                let ended = match command.u16(tags::STATUS) {
                    Some(status) => Ended::of(status, comment.as_deref()),
                    None => Ended::Failed("The response had no status".to_owned()),
                };
                return Ok((ended, is_cancelled));
            }
            _ => {
                return Err(Error::unexpected(
                    "another message where the response to a sub-operation was due",
                ));
            }
        }
    }
}

/// PS3.7 section 9.3.1.1.
fn store_request(holding: &Holding, message_id: u16) -> CommandSet {
    let row = holding.row();
    let mut request = CommandSet::new();
    request.set_uid(tags::AFFECTED_SOP_CLASS_UID, &row.sop_class_uid);
    request.set_u16(tags::COMMAND_FIELD, command::C_STORE_RQ);
    request.set_u16(tags::MESSAGE_ID, message_id);
    request.set_u16(tags::PRIORITY, PRIORITY_MEDIUM);
    request.set_u16(tags::COMMAND_DATA_SET_TYPE, DATA_SET_FOLLOWS);
    request.set_uid(tags::AFFECTED_SOP_INSTANCE_UID, &row.sop_instance_uid);
    request
}
