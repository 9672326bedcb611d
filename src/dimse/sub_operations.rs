//! What C-GET and C-MOVE have in common: what is to be retrieved, how the sub-operations are counted, and how the
//! operation ends, PS3.4 C.4.2 and C.4.3.

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};

use super::Error;
use super::association::Association;
use super::command::{CommandSet, DATA_SET_FOLLOWS};
use super::negotiation::PresentationContext;
use super::scp::{Caller, LONGEST_IDENTIFIER, read_data_set};
use super::status::Status;
use crate::archive::retrieve::selection::Selection;
use crate::archive::{self, Archive};
use crate::db::audit::{Action, Entry};
use crate::db::visibility::Visibility;
use crate::dicom::prescan::Encoding;
use crate::dicom::query::identifier::Identifier;
use crate::dicom::service::Model;
use crate::dicom::writer::Writer;

/// A UI value of an explicit VR has a length of two bytes.
const FAILED_UIDS_BYTES: usize = 65_000;

/// What was asked to be retrieved.
pub struct Retrieval {
    /// The instances.
    pub selection: Selection,
    /// How many of the sub-operations ended how.
    pub tally: Tally,
}

/// How many sub-operations ended how.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    remaining: u64,
    completed: u64,
    failed: u64,
    warning: u64,
    failed_uids: Vec<String>,
    /// Why the first one that failed did so.
    first_failure: Option<String>,
}

/// How a sub-operation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The receiver has the instance.
    Completed,
    /// It has it, and said something about it.
    Warning,
    /// It has not, in words.
    Failed(String),
}

impl Ended {
    /// Whether the receiver has the instance.
    pub fn is_done(&self) -> bool {
        matches!(self, Ended::Completed | Ended::Warning)
    }

    /// By the status of a C-STORE response, PS3.4 Table B.2-1.
    pub fn of(status: u16, comment: Option<&str>) -> Ended {
        match Status(status) {
            Status::SUCCESS => Ended::Completed,
            status if status.is_done() => Ended::Warning,
            status => Ended::Failed(match comment {
                Some(comment) => format!("The receiver refused with {status}: {comment}"),
                None => format!("The receiver refused with {status}"),
            }),
        }
    }
}

impl Tally {
    /// So many are to be done.
    pub fn of(total: u64) -> Tally {
        Tally { remaining: total, ..Tally::default() }
    }

    /// Counts one that has ended.
    pub fn count(&mut self, sop_instance_uid: &str, ended: &Ended) {
        self.remaining = self.remaining.saturating_sub(1);
        match ended {
            Ended::Completed => self.completed += 1,
            Ended::Warning => self.warning += 1,
            Ended::Failed(why) => {
                self.failed += 1;
                let bytes: usize = self.failed_uids.iter().map(|uid| uid.len() + 1).sum();
                if bytes + sop_instance_uid.len() <= FAILED_UIDS_BYTES {
                    self.failed_uids.push(sop_instance_uid.to_owned());
                }
                self.first_failure.get_or_insert_with(|| why.clone());
            }
        }
    }

    /// The rest cannot be had, for this reason.
    pub fn give_up(&mut self, why: &str) {
        self.failed += std::mem::take(&mut self.remaining);
        self.first_failure.get_or_insert_with(|| why.to_owned());
    }

    /// How many the receiver has got.
    pub fn arrived(&self) -> u64 {
        self.completed + self.warning
    }

    /// How many it has not, though it was tried.
    pub fn failed(&self) -> u64 {
        self.failed
    }

    /// The status of the final response, PS3.4 Tables C.4-2 and C.4-3.
    fn status(&self, is_cancelled: bool) -> Status {
        if is_cancelled {
            Status::CANCEL
        } else if self.failed > 0 && self.arrived() == 0 {
            Status::UNABLE_TO_PERFORM_SUB_OPERATIONS
        } else if self.failed + self.warning > 0 {
            Status::SUB_OPERATIONS_WITH_FAILURES
        } else {
            Status::SUCCESS
        }
    }

    fn put_into(&self, response: &mut CommandSet) {
        for (tag, count) in [
            (tags::NUMBER_OF_COMPLETED_SUBOPERATIONS, self.completed),
            (tags::NUMBER_OF_FAILED_SUBOPERATIONS, self.failed),
            (tags::NUMBER_OF_WARNING_SUBOPERATIONS, self.warning),
        ] {
            response.set_u16(tag, at_most_u16(count));
        }
    }

    /// A Pending response.
    pub fn pending(&self, request: &CommandSet) -> CommandSet {
        let mut response = CommandSet::response_to(request, Status::PENDING);
        self.put_into(&mut response);
        response.set_u16(tags::NUMBER_OF_REMAINING_SUBOPERATIONS, at_most_u16(self.remaining));
        response
    }

    /// The final response, and the data set behind it where something failed.
    pub fn end(
        &self,
        request: &CommandSet,
        is_cancelled: bool,
        encoding: Encoding,
    ) -> (CommandSet, Option<Vec<u8>>) {
        let status = self.status(is_cancelled);
        let mut response = CommandSet::response_to(request, status);
        self.put_into(&mut response);
        if is_cancelled {
            response.set_u16(tags::NUMBER_OF_REMAINING_SUBOPERATIONS, at_most_u16(self.remaining));
        }
        if let Some(why) = &self.first_failure {
            response.set_error_comment(why);
        }
        if self.failed_uids.is_empty() {
            return (response, None);
        }
        response.set_u16(tags::COMMAND_DATA_SET_TYPE, DATA_SET_FOLLOWS);
        let mut identifier = Writer::new(encoding);
        let uids = self.failed_uids.join("\\");
        identifier.put_as(tags::FAILED_SOP_INSTANCE_UID_LIST, VR::UI, uids.as_bytes());
        (response, Some(identifier.finish()))
    }
}

/// The field has no more bits.
fn at_most_u16(count: u64) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}

/// How data sets of messages over this context are written.
pub fn encoding(context: &PresentationContext) -> Encoding {
    match context.transfer_syntax.as_str() {
        uids::IMPLICIT_VR_LITTLE_ENDIAN => Encoding::ImplicitVrLittleEndian,
        _ => Encoding::ExplicitVrLittleEndian,
    }
}

/// Reads what is to be retrieved and looks it up. A response in place of it refuses.
pub async fn asked(
    association: &mut Association,
    archive: &Archive,
    context: &PresentationContext,
    command: &CommandSet,
) -> Result<Result<Retrieval, CommandSet>, Error> {
    let data_set = match read_data_set(association, context, command, LONGEST_IDENTIFIER).await? {
        Ok(data_set) => data_set,
        Err(sentence) => return Ok(Err(refusal(command, Status::UNABLE_TO_PROCESS, sentence))),
    };
    let Some(model) = Model::of(&context.abstract_syntax) else {
        return Ok(Err(refusal(command, Status::SOP_CLASS_NOT_SUPPORTED, "This is no retrieve")));
    };
    let query =
        Identifier::parse(model, context.options, &data_set).and_then(|identifier| identifier.retrieval());
    let query = match query {
        Ok(query) => query,
        Err(refused) => {
            tracing::warn!("refused a retrieve: {refused}");
            let mut response = refusal(command, Status::IDENTIFIER_DOES_NOT_MATCH, &refused.sentence);
            response.set_tags(tags::OFFENDING_ELEMENT, &[refused.tag]);
            return Ok(Err(response));
        }
    };
    match archive.select(query, &Visibility::All).await {
        Ok(selection) => {
            let tally = Tally::of(selection.total());
            Ok(Ok(Retrieval { selection, tally }))
        }
        Err(err) => {
            tracing::error!(err = &err as &dyn std::error::Error, "a retrieve failed");
            Ok(Err(failure(command, &err)))
        }
    }
}

/// Writes into the audit trail that these studies leave, before they do.
pub async fn record(
    archive: &Archive,
    caller: &Caller,
    selection: &Selection,
    to: &str,
) -> Result<(), archive::Error> {
    let studies = selection.studies();
    let entries = studies.iter().map(|study| Entry::of(caller.actor(), Action::Send, to).study(*study));
    archive.record(entries.collect()).await
}

/// A response that refuses, and says why.
pub fn refusal(request: &CommandSet, status: Status, comment: &str) -> CommandSet {
    let mut response = CommandSet::response_to(request, status);
    response.set_error_comment(comment);
    response
}

/// PS3.4 Tables C.4-2 and C.4-3: the number of matches cannot be found out.
pub fn failure(request: &CommandSet, err: &archive::Error) -> CommandSet {
    let comment = match err {
        archive::Error::Database(_) => "The archive's database does not answer, ask again later",
        archive::Error::TimedOut => "The archive's database is too slow, ask again later",
        archive::Error::File(_) | archive::Error::DiskFull => "The archive cannot read, see its log",
        archive::Error::Stopping => "The archive is being stopped, ask again later",
    };
    refusal(request, Status::UNABLE_TO_CALCULATE_MATCHES, comment)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> CommandSet {
        let mut request = CommandSet::new();
        request.set_u16(tags::COMMAND_FIELD, super::super::command::C_GET_RQ);
        request.set_u16(tags::MESSAGE_ID, 7);
        request
    }

    fn tally(total: u64, ended: &[Ended]) -> Tally {
        let mut tally = Tally::of(total);
        for (number, ended) in ended.iter().enumerate() {
            tally.count(&format!("1.2.{number}"), ended);
        }
        tally
    }

    #[test]
    fn the_final_status_says_whether_all_some_or_none_arrived() {
        let failed = || Ended::Failed("no".to_owned());
        let status = |ended: &[Ended]| tally(2, ended).status(false).0;
        assert_eq!(status(&[Ended::Completed, Ended::Completed]), 0x0000);
        assert_eq!(status(&[Ended::Completed, Ended::Warning]), 0xB000);
        assert_eq!(status(&[Ended::Completed, failed()]), 0xB000);
        assert_eq!(status(&[failed(), failed()]), 0xA702);
        assert_eq!(status(&[]), 0x0000, "nothing matched");
        assert_eq!(tally(2, &[Ended::Completed]).status(true).0, 0xFE00);
    }

    #[test]
    fn counts_stand_in_every_response_and_remaining_ones_only_where_there_may_be_some() {
        let ended = [Ended::Completed, Ended::Warning, Ended::Failed("no".to_owned())];
        let tally = tally(5, &ended);
        let pending = tally.pending(&request());
        let count = |response: &CommandSet, tag| response.u16(tag);
        assert_eq!(count(&pending, tags::NUMBER_OF_REMAINING_SUBOPERATIONS), Some(2));
        assert_eq!(count(&pending, tags::NUMBER_OF_COMPLETED_SUBOPERATIONS), Some(1));
        let (end, identifier) = tally.end(&request(), false, Encoding::ExplicitVrLittleEndian);
        assert_eq!(count(&end, tags::NUMBER_OF_REMAINING_SUBOPERATIONS), None);
        assert_eq!(count(&end, tags::NUMBER_OF_FAILED_SUBOPERATIONS), Some(1));
        assert_eq!(count(&end, tags::NUMBER_OF_WARNING_SUBOPERATIONS), Some(1));
        assert!(end.has_data_set());
        let identifier = identifier.expect("a list of what failed");
        assert!(identifier.ends_with(b"1.2.2\0"), "{identifier:?}");
    }

    #[test]
    fn more_failures_than_the_list_can_hold_are_counted_all_the_same() {
        let mut tally = Tally::of(70_000);
        for number in 0..70_000 {
            tally.count(&format!("1.2.826.0.1.3680043.2.{number}"), &Ended::Failed("no".to_owned()));
        }
        let (end, identifier) = tally.end(&request(), false, Encoding::ExplicitVrLittleEndian);
        assert_eq!(end.u16(tags::NUMBER_OF_FAILED_SUBOPERATIONS), Some(u16::MAX));
        assert!(identifier.expect("a list").len() <= 65_534 + 8);
    }
}
