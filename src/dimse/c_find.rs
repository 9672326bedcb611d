//! C-FIND SCP, PS3.4 C.4.1 and PS3.7 section 9.3.2: one Pending response for each match, until the last one or until
//! the peer cancels, and then exactly one final response.

use dicom_dictionary_std::{tags, uids};

use super::Error;
use super::association::Association;
use super::command::{CommandSet, DATA_SET_FOLLOWS};
use super::negotiation::PresentationContext;
use super::scp::{Caller, LONGEST_IDENTIFIER, read_data_set};
use super::status::Status;
use crate::archive::activity::Presence;
use crate::archive::search::Match;
use crate::archive::{self, Archive};
use crate::db::audit::{Action, Entry};
use crate::db::visibility::Visibility;
use crate::dicom::prescan::Encoding;
use crate::dicom::query::identifier::{Identifier, Refused};
use crate::dicom::service::Model;

/// Matches that are answered with. A peer that asked for more has to ask for less.
const MOST_MATCHES: u64 = 50_000;

/// Responses are sent together up to this many bytes.
const WORTH_SENDING: usize = 64 * 1024;

/// How a query ended.
enum End {
    /// With so many matches, all of them.
    Complete(u64),
    /// There are more than are answered with.
    TooMany,
    /// The peer wants no more of it.
    Cancelled,
    Failed(archive::Error),
}

/// Answers one query.
pub async fn serve(
    association: &mut Association,
    archive: &Archive,
    presence: &Presence,
    caller: &Caller,
    context: &PresentationContext,
    command: &CommandSet,
) -> Result<(), Error> {
    let Some(model) = Model::of(&context.abstract_syntax) else {
        let response = refusal(command, Status::SOP_CLASS_NOT_SUPPORTED, "This is no query");
        return association.send_command(context.id, &response).await;
    };
    let identifier = match read_data_set(association, context, command, LONGEST_IDENTIFIER).await? {
        Ok(data_set) => Identifier::parse(model, context.options, &data_set),
        Err(sentence) => {
            let response = refusal(command, Status::UNABLE_TO_PROCESS, sentence);
            return association.send_command(context.id, &response).await;
        }
    };
    let identifier = match identifier {
        Ok(identifier) => identifier,
        Err(Refused { tag, sentence }) => {
            tracing::warn!("refused a query: {sentence}");
            let mut response = refusal(command, Status::IDENTIFIER_DOES_NOT_MATCH, &sentence);
            response.set_tags(tags::OFFENDING_ELEMENT, &[tag]);
            return association.send_command(context.id, &response).await;
        }
    };
    let end = answer(association, archive, presence, caller, context, command, &identifier).await?;
    let response = match &end {
        End::Complete(_) => CommandSet::response_to(command, Status::SUCCESS),
        End::TooMany => {
            let comment = format!("More than {MOST_MATCHES} match, ask for less");
            refusal(command, Status::OUT_OF_RESOURCES, &comment)
        }
        End::Cancelled => CommandSet::response_to(command, Status::CANCEL),
        End::Failed(err) => {
            tracing::error!(err = err as &dyn std::error::Error, "a query failed");
            let (status, comment) = failed(err);
            refusal(command, status, comment)
        }
    };
    tracing::info!(level = identifier.level.as_str(), "answered a query {end}");
    association.send_command(context.id, &response).await
}

async fn answer(
    association: &mut Association,
    archive: &Archive,
    presence: &Presence,
    caller: &Caller,
    context: &PresentationContext,
    command: &CommandSet,
    identifier: &Identifier,
) -> Result<End, Error> {
    let message_id = command.u16(tags::MESSAGE_ID).unwrap_or(0);
    let encoding = match context.transfer_syntax.as_str() {
        uids::IMPLICIT_VR_LITTLE_ENDIAN => Encoding::ImplicitVrLittleEndian,
        _ => Encoding::ExplicitVrLittleEndian,
    };
    let pending = match identifier.is_supported {
        true => Status::PENDING,
        false => Status::PENDING_WITH_UNSUPPORTED_KEYS,
    };
    let mut pending = CommandSet::response_to(command, pending);
    pending.set_u16(tags::COMMAND_DATA_SET_TYPE, DATA_SET_FOLLOWS);
    let pending = pending.encode();

    let query = identifier.query(MOST_MATCHES + 1);
    let mut search = archive.search(&query, identifier.wanted.clone(), &Visibility::All);
    // The search is under way meanwhile, and nothing of it leaves before this is written.
    let entry = Entry::of(caller.actor(), Action::Query, identifier.in_words());
    if let Err(err) = archive.record(vec![entry]).await {
        return Ok(End::Failed(err));
    }
    let mut count = 0;
    loop {
        let found: Vec<Match> = tokio::select! {
            biased;
            cancelled = association.cancelled(message_id) => {
                cancelled?;
                return Ok(End::Cancelled);
            }
            found = search.next() => match found {
                None => return Ok(End::Complete(count)),
                Some(Err(err)) => return Ok(End::Failed(err)),
                Some(Ok(found)) => found,
            },
        };
        for found in &found {
            if count == MOST_MATCHES {
                association.flush().await?;
                return Ok(End::TooMany);
            }
            count += 1;
            let answer = identifier.answer(found, caller.called_ae_title.as_str(), encoding);
            association.queue(context.id, &pending, Some(&answer));
            if association.queued() >= WORTH_SENDING {
                association.flush().await?;
                if association.is_cancelled(message_id).await? {
                    return Ok(End::Cancelled);
                }
            }
        }
        association.flush().await?;
        presence.matched(u64::try_from(found.len()).unwrap_or_default());
    }
}

/// PS3.4 Table C.4-1.
fn failed(err: &archive::Error) -> (Status, &'static str) {
    match err {
        archive::Error::Database(err) if err.is_transient() => {
            (Status::OUT_OF_RESOURCES, "The archive's database does not answer, ask again later")
        }
        archive::Error::Database(_) => {
            (Status::UNABLE_TO_PROCESS, "The archive's database failed, see its log")
        }
        archive::Error::TimedOut => {
            (Status::OUT_OF_RESOURCES, "This query takes too long here, ask for less")
        }
        archive::Error::File(_) | archive::Error::DiskFull => {
            (Status::UNABLE_TO_PROCESS, "The archive cannot read, see its log")
        }
        archive::Error::Stopping => {
            (Status::OUT_OF_RESOURCES, "The archive is being stopped, ask again later")
        }
    }
}

fn refusal(request: &CommandSet, status: Status, comment: &str) -> CommandSet {
    let mut response = CommandSet::response_to(request, status);
    response.set_error_comment(comment);
    response
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            End::Complete(1) => f.write_str("with 1 match"),
            End::Complete(count) => write!(f, "with {count} matches"),
            End::TooMany => f.write_str("in part, because too much matches"),
            End::Cancelled => f.write_str("until it was cancelled"),
            End::Failed(_) => f.write_str("with a failure"),
        }
    }
}
