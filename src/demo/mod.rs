//! Synthetic studies, made of mathematics, so that a newcomer has something to look at and nobody's images are shown.
//!
//! The same day gives the same bytes, UIDs included. Recent studies carry dates shortly before the day they are made
//! for, and their UIDs depend on their dates, so that running it again stores the same instances on the same day, and
//! others on another day; the priors have fixed dates.
//!
//! `head` and `brain` say what tissue is where, `ct_head` and `mr_brain` take pictures of it; `chest`, `hand`,
//! `mammogram` and `ultrasound` draw what their devices see; `exam` and `people` write everything that is no pixel.

mod brain;
mod chest;
mod ct_head;
mod data_set;
mod exam;
mod fill;
mod grid;
mod hand;
mod head;
mod letters;
mod mammogram;
mod mr_brain;
mod noise;
mod people;
mod reports;
mod schedule;
mod shape;
mod stroke;
mod ultrasound;

use chrono::NaiveDate;

pub use self::fill::{Summary, fill};
use crate::dicom::uid::{SopClassUid, SopInstanceUid, TransferSyntaxUid};

/// An instance that is ready to be sent.
pub struct Instance {
    /// SOP Class UID (0008,0016).
    pub sop_class_uid: SopClassUid,
    /// SOP Instance UID (0008,0018).
    pub sop_instance_uid: SopInstanceUid,
    /// How `data_set` is encoded.
    pub transfer_syntax_uid: TransferSyntaxUid,
    /// The data set, without preamble and group 0002.
    pub data_set: Vec<u8>,
    /// What it is, for a progress bar.
    pub label: String,
}

/// All instances, as if the newest had been taken on this day. Each is made when it is asked for; the largest takes
/// some 30 MB and a second or two.
pub fn studies(today: NaiveDate) -> impl Iterator<Item = Instance> + Send {
    schedule::studies(today).into_iter().flatten()
}

/// How many instances [`studies`] makes.
pub fn count() -> usize {
    schedule::COUNT
}
