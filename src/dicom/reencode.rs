//! A data set written anew in a native little endian transfer syntax (PS3.5 annex A.1 and A.2) while it is read.
//!
//! Element by element: memory holds one header and a piece of one value, however long either data set is. Sequences
//! and items are written with delimiters, because their new lengths are known only at their end (PS3.5 section 7.5).
//! Group lengths (retired) and Data Set Trailing Padding are left out. Odd lengths are padded. What has no native
//! form is left out too: encapsulated values other than the Pixel Data of the instance; an Icon Image Sequence with
//! one in it, as a whole. The inside of a sequence is read as [`prescan`](super::prescan) reads it; what cannot be
//! followed there ends that sequence.
//!
//! Encapsulated Pixel Data is the caller's: [`Step::Pixels`] says when its native value has to follow.

use std::io::{Read, Seek};

use dicom_core::{Tag, VR};
use dicom_dictionary_std::uids;

use super::data_set::Element;
use super::prescan::{Encoding, Error};
use super::uid::TransferSyntaxUid;
pub(super) use output::{Delimiter, ValueHeader, delimiter, item, unit};
pub use walk::Reencoding;
pub(super) use walk::is_pixel_data;

mod output;
#[cfg(test)]
mod tests;
mod walk;

/// A transfer syntax that data sets are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// Explicit VR Little Endian, PS3.5 A.2.
    ExplicitVrLittleEndian,
    /// Implicit VR Little Endian, PS3.5 A.1: what every application entity takes.
    ImplicitVrLittleEndian,
}

impl Target {
    /// The target that is this transfer syntax, as a presentation context names it.
    pub fn of(transfer_syntax: &TransferSyntaxUid) -> Option<Target> {
        match transfer_syntax.as_str() {
            uids::EXPLICIT_VR_LITTLE_ENDIAN => Some(Target::ExplicitVrLittleEndian),
            uids::IMPLICIT_VR_LITTLE_ENDIAN => Some(Target::ImplicitVrLittleEndian),
            _ => None,
        }
    }

    /// Its Transfer Syntax UID.
    pub fn uid(self) -> &'static str {
        match self {
            Target::ExplicitVrLittleEndian => uids::EXPLICIT_VR_LITTLE_ENDIAN,
            Target::ImplicitVrLittleEndian => uids::IMPLICIT_VR_LITTLE_ENDIAN,
        }
    }

    /// The same as what names the syntax of an instance.
    pub fn transfer_syntax(self) -> TransferSyntaxUid {
        TransferSyntaxUid::standard(self.uid())
    }
}

/// What becomes of the Pixel Data of the instance, or of Float or Double Float Pixel Data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pixels {
    /// It is native, or not there.
    Native {
        /// How it is written in Explicit VR.
        vr: VR,
        /// So many bytes each change their order; 1 if none do.
        swapped: usize,
    },
    /// It is encapsulated, and the caller gives the native value.
    Decoded {
        /// Which of the three.
        tag: Tag,
        /// How it is written in Explicit VR.
        vr: VR,
        /// Bytes that the caller gives.
        length: u32,
    },
}

/// What is new in the data set beside its encoding.
#[derive(Debug, Clone)]
pub struct Changes {
    /// Elements of the data set itself in little endian. They take the place of those with their tags.
    pub elements: Vec<Element>,
    /// The pixels.
    pub pixels: Pixels,
}

/// What has to be known of the whole before its beginning is written.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// Values other than the Pixel Data of the instance that are compressed, and are left out.
    pub compressed: usize,
    /// Sequences that contradict themselves, and end where they begin to.
    pub damaged: usize,
    /// Where the headers of elements stand that have no native form, in ascending order.
    left_out: Vec<u64>,
}

/// What a step has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Some bytes were written, or passed over.
    Bytes,
    /// The header of Pixel Data was written: its value is to follow now, of the length that was agreed.
    Pixels,
    /// All is written.
    End,
}

/// Walks over `length` bytes of `source`, from where it stands, as [`Reencoding`] will.
///
/// # Errors
/// Those of [`prescan`](super::prescan): what passes here can be written.
pub fn survey<R: Read + Seek + Send + 'static>(
    source: R,
    length: u64,
    encoding: Encoding,
) -> Result<Survey, Error> {
    let changes = Changes { elements: Vec::new(), pixels: Pixels::Native { vr: VR::OW, swapped: 1 } };
    let target = Target::ImplicitVrLittleEndian;
    let walk = Reencoding::new(source, length, encoding, Survey::default(), target, changes)?;
    walk.survey()
}
