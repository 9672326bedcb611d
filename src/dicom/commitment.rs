//! What is said about storage commitment, PS3.4 annex J: the request (Table J.3-1) and the report (Table J.3-2), read
//! from data sets and written as such.

use std::fmt;

use dicom_core::VR;
use dicom_dictionary_std::tags;

use super::ae_title::AeTitle;
use super::data_set::DataSet;
use super::uid::{Encoding, SopClassUid, SopInstanceUid, TransactionUid};
use super::writer::Writer;

/// Instances in one request. More would take more memory and time than one question is worth.
pub const MOST_INSTANCES: usize = 20_000;

/// An instance that is asked about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    /// Referenced SOP Class UID (0008,1150).
    pub sop_class_uid: SopClassUid,
    /// Referenced SOP Instance UID (0008,1155).
    pub sop_instance_uid: SopInstanceUid,
}

/// Failure Reason (0008,1197), PS3.3 C.14.1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FailureReason(pub u16);

impl FailureReason {
    /// A general failure in processing the operation was encountered.
    pub const PROCESSING_FAILURE: FailureReason = FailureReason(0x0110);
    /// One or more of the elements in the Referenced SOP Instance Sequence was not available.
    pub const NO_SUCH_OBJECT_INSTANCE: FailureReason = FailureReason(0x0112);
    /// The SCP does not currently have enough resources to store the requested SOP Instances.
    pub const RESOURCE_LIMITATION: FailureReason = FailureReason(0x0213);
    /// Storage commitment was requested for an instance of a SOP class that is not supported.
    pub const REFERENCED_SOP_CLASS_NOT_SUPPORTED: FailureReason = FailureReason(0x0122);
    /// The SOP class is not the one that was registered for the instance.
    pub const CLASS_INSTANCE_CONFLICT: FailureReason = FailureReason(0x0119);
    /// The Transaction UID of the request is already in use.
    pub const DUPLICATE_TRANSACTION_UID: FailureReason = FailureReason(0x0131);
}

impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04X}H", self.0)
    }
}

/// What became of an instance.
pub type Verdict = Result<(), FailureReason>;

/// Somebody wants to know whether these are safely stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Names the request in its report.
    pub transaction_uid: TransactionUid,
    /// The instances, at least one.
    pub references: Vec<Reference>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Of the request.
    pub transaction_uid: TransactionUid,
    /// Where what is committed can be retrieved from, if the SCP says so.
    pub retrieve_ae_title: Option<AeTitle>,
    /// What became of each instance.
    pub verdicts: Vec<(Reference, Verdict)>,
}

/// Why a data set is no request or no report.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// (0008,1195)
    #[error("It has no usable Transaction UID")]
    TransactionUid,
    /// (0008,1199), and (0008,1198) of a report.
    #[error("It names no instance")]
    Empty,
    /// Of [`MOST_INSTANCES`].
    #[error("It names {0} instances, {MOST_INSTANCES} are the most")]
    TooMany(usize),
    /// The item, from 1.
    #[error("Item {0} names no instance with its SOP class")]
    Item(usize),
}

impl Request {
    /// Reads the Action Information of an N-ACTION.
    pub fn parse(data_set: &DataSet) -> Result<Request, Invalid> {
        let transaction_uid = transaction_uid(data_set)?;
        let items = data_set.items(tags::REFERENCED_SOP_SEQUENCE);
        if items.is_empty() {
            return Err(Invalid::Empty);
        }
        if items.len() > MOST_INSTANCES {
            return Err(Invalid::TooMany(items.len()));
        }
        let numbered = (1..).zip(items);
        let references = numbered.map(|(number, item)| reference(item).ok_or(Invalid::Item(number)));
        Ok(Request { transaction_uid, references: references.collect::<Result<_, _>>()? })
    }

    /// Writes it.
    pub fn write(&self, encoding: Encoding) -> Vec<u8> {
        let mut writer = Writer::new(encoding);
        writer.put_as(tags::TRANSACTION_UID, VR::UI, self.transaction_uid.as_str().as_bytes());
        let items = self.references.iter().map(|reference| item(reference, encoding));
        writer.put_sequence(tags::REFERENCED_SOP_SEQUENCE, items);
        writer.finish()
    }
}

impl Report {
    /// Event Type ID (0000,1002), PS3.4 Table J.3-2: 1 where everything is committed, else 2.
    pub fn event_type(&self) -> u16 {
        if self.failed() == 0 { 1 } else { 2 }
    }

    /// How many instances are committed.
    pub fn committed(&self) -> usize {
        self.verdicts.len() - self.failed()
    }

    /// How many are not.
    pub fn failed(&self) -> usize {
        self.verdicts.iter().filter(|(_, verdict)| verdict.is_err()).count()
    }

    /// Reads the Event Information of an N-EVENT-REPORT, whatever its type says.
    pub fn parse(data_set: &DataSet) -> Result<Report, Invalid> {
        let transaction_uid = transaction_uid(data_set)?;
        let committed = data_set.items(tags::REFERENCED_SOP_SEQUENCE);
        let failed = data_set.items(tags::FAILED_SOP_SEQUENCE);
        let total = committed.len() + failed.len();
        match total {
            0 => return Err(Invalid::Empty),
            1..=MOST_INSTANCES => {}
            total => return Err(Invalid::TooMany(total)),
        }
        let mut verdicts = Vec::with_capacity(total);
        for (number, item) in (1..).zip(committed.iter().chain(failed)) {
            let reference = reference(item).ok_or(Invalid::Item(number))?;
            let verdict = match number <= committed.len() {
                true => Ok(()),
                false => Err(reason(item)),
            };
            verdicts.push((reference, verdict));
        }
        let retrieve_ae_title = data_set.text(tags::RETRIEVE_AE_TITLE).and_then(|title| title.parse().ok());
        Ok(Report { transaction_uid, retrieve_ae_title, verdicts })
    }

    /// Writes it. A sequence without an item is left out: its type is 1C, and an empty one is invalid.
    pub fn write(&self, encoding: Encoding) -> Vec<u8> {
        let mut writer = Writer::new(encoding);
        if let Some(title) = &self.retrieve_ae_title {
            writer.put_as(tags::RETRIEVE_AE_TITLE, VR::AE, title.as_str().as_bytes());
        }
        writer.put_as(tags::TRANSACTION_UID, VR::UI, self.transaction_uid.as_str().as_bytes());
        let failed = self.verdicts.iter().filter_map(|(reference, verdict)| {
            let FailureReason(reason) = verdict.err()?;
            let mut item = item(reference, encoding);
            item.put_as(tags::FAILURE_REASON, VR::US, &reason.to_le_bytes());
            Some(item)
        });
        let failed: Vec<Writer> = failed.collect();
        if !failed.is_empty() {
            writer.put_sequence(tags::FAILED_SOP_SEQUENCE, failed);
        }
        let committed = self.verdicts.iter().filter(|(_, verdict)| verdict.is_ok());
        let committed: Vec<Writer> = committed.map(|(reference, _)| item(reference, encoding)).collect();
        if !committed.is_empty() {
            writer.put_sequence(tags::REFERENCED_SOP_SEQUENCE, committed);
        }
        writer.finish()
    }
}

fn transaction_uid(data_set: &DataSet) -> Result<TransactionUid, Invalid> {
    let text = data_set.text(tags::TRANSACTION_UID).unwrap_or_default();
    text.parse().map_err(|_| Invalid::TransactionUid)
}

fn reference(item: &DataSet) -> Option<Reference> {
    Some(Reference {
        sop_class_uid: item.text(tags::REFERENCED_SOP_CLASS_UID)?.parse().ok()?,
        sop_instance_uid: item.text(tags::REFERENCED_SOP_INSTANCE_UID)?.parse().ok()?,
    })
}

/// Why an instance failed. One that failed without a reason, or with that of a success, has failed all the same.
fn reason(item: &DataSet) -> FailureReason {
    let code = item.integer(tags::FAILURE_REASON).and_then(|code| u16::try_from(code).ok());
    match code {
        None | Some(0) => FailureReason::PROCESSING_FAILURE,
        Some(code) => FailureReason(code),
    }
}

fn item(reference: &Reference, encoding: Encoding) -> Writer {
    let mut item = Writer::new(encoding);
    item.put_as(tags::REFERENCED_SOP_CLASS_UID, VR::UI, reference.sop_class_uid.as_str().as_bytes());
    item.put_as(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, reference.sop_instance_uid.as_str().as_bytes());
    item
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::prescan::{self, Limits};
    use dicom_dictionary_std::uids;

    fn reference(number: usize) -> Reference {
        Reference {
            sop_class_uid: uids::CT_IMAGE_STORAGE.parse().unwrap(),
            sop_instance_uid: format!("1.2.3.{number}").parse().unwrap(),
        }
    }

    fn read(bytes: Vec<u8>, encoding: Encoding) -> DataSet {
        let length = u64::try_from(bytes.len()).unwrap();
        prescan::scan(std::io::Cursor::new(bytes), length, encoding, &Limits::default()).unwrap().data_set
    }

    fn request(instances: usize) -> Request {
        let references = (1..=instances).map(reference).collect();
        Request { transaction_uid: "1.2.3".parse().unwrap(), references }
    }

    #[test]
    fn requests_and_reports_are_read_as_they_were_written() {
        let mixed = Report {
            transaction_uid: "1.2.3".parse().unwrap(),
            retrieve_ae_title: Some("FILMROOM".parse().unwrap()),
            verdicts: vec![
                (reference(1), Ok(())),
                (reference(2), Err(FailureReason::NO_SUCH_OBJECT_INSTANCE)),
            ],
        };
        let good = Report { verdicts: vec![(reference(1), Ok(()))], ..mixed.clone() };
        assert_eq!((good.event_type(), mixed.event_type()), (1, 2));
        assert_eq!((mixed.committed(), mixed.failed()), (1, 1));
        for encoding in [Encoding::ExplicitVrLittleEndian, Encoding::ImplicitVrLittleEndian] {
            assert_eq!(Request::parse(&read(request(3).write(encoding), encoding)), Ok(request(3)));
            for report in [&good, &mixed] {
                assert_eq!(Report::parse(&read(report.write(encoding), encoding)).as_ref(), Ok(report));
            }
            let elements = |report: &Report| read(report.write(encoding), encoding).elements().len();
            assert_eq!((elements(&good), elements(&mixed)), (3, 4), "no sequence is there and empty");
        }
    }

    #[test]
    fn what_names_nothing_or_too_much_is_refused_in_words_that_fit_a_comment() {
        let encoding = Encoding::ExplicitVrLittleEndian;
        let parse = |request: &Request| Request::parse(&read(request.write(encoding), encoding));
        assert_eq!(parse(&request(0)), Err(Invalid::Empty));
        assert!(parse(&request(MOST_INSTANCES)).is_ok());
        assert_eq!(parse(&request(MOST_INSTANCES + 1)), Err(Invalid::TooMany(MOST_INSTANCES + 1)));
        assert_eq!(Request::parse(&DataSet::default()), Err(Invalid::TransactionUid));
        let mut nameless = Writer::new(encoding);
        nameless.put_as(tags::TRANSACTION_UID, VR::UI, b"1.2.3");
        nameless.put_sequence(tags::REFERENCED_SOP_SEQUENCE, [Writer::new(encoding)]);
        assert_eq!(Request::parse(&read(nameless.finish(), encoding)), Err(Invalid::Item(1)));
        for invalid in
            [Invalid::TransactionUid, Invalid::Empty, Invalid::TooMany(4_000_000), Invalid::Item(20_000)]
        {
            assert!(invalid.to_string().len() <= 64, "{invalid}");
        }
    }

    #[test]
    fn a_failure_without_a_reason_is_a_failure() {
        let encoding = Encoding::ExplicitVrLittleEndian;
        let mut writer = Writer::new(encoding);
        writer.put_as(tags::TRANSACTION_UID, VR::UI, b"1.2.3");
        writer.put_sequence(tags::FAILED_SOP_SEQUENCE, [item(&reference(1), encoding)]);
        let report = Report::parse(&read(writer.finish(), encoding)).unwrap();
        assert_eq!(report.verdicts, [(reference(1), Err(FailureReason::PROCESSING_FAILURE))]);
    }
}
