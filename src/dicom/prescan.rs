//! A walk over the elements of a data set, PS3.5 section 7 and annex A: every byte a peer, an upload or a stored file
//! gives us is looked at here first.
//!
//! No declared length is believed: it is compared with the bytes that are there before anything is read, and memory
//! grows with the bytes read. Sequences are followed [`MAX_DEPTH`] deep. What the tree holds is bounded by
//! [`Limits`]. Within that the walk is generous, because devices are not exact: the VR may be missing where it should
//! stand and the reverse, delimiters may be missing at the end, lengths may be odd, a sequence of
//! known length may contradict itself inside, Pixel Data need not come last.

use std::io::{self, Read, Seek};

use dicom_core::{Tag, VR};

use self::source::{Inflated, Plain};
use self::walk::Walk;
use super::data_set::DataSet;
use super::dictionary;
pub use super::uid::Encoding;

pub(super) mod header;
pub(super) mod reader;
pub(super) mod source;
#[cfg(test)]
mod tests;
mod walk;

/// How deep sequences may be nested, whatever the caller's limit: the walk uses the stack.
pub const MAX_DEPTH: usize = 64;

pub(super) const ITEM: Tag = Tag(0xFFFE, 0xE000);
pub(super) const ITEM_DELIMITER: Tag = Tag(0xFFFE, 0xE00D);
pub(super) const SEQUENCE_DELIMITER: Tag = Tag(0xFFFE, 0xE0DD);

/// What a scan may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Nested sequences, at most [`MAX_DEPTH`].
    pub depth: usize,
    /// Values of more bytes are passed over.
    pub value_bytes: u64,
    /// Memory of the whole tree. A sequence that would break it is passed over; more elements than fit are an error.
    pub tree_bytes: u64,
    /// How long a deflated data set may become.
    pub inflated_bytes: u64,
    /// How many times its length a deflated data set may become, beyond the first 16 MiB.
    pub inflate_ratio: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth: MAX_DEPTH,
            value_bytes: 4 << 20,
            tree_bytes: 64 << 20,
            inflated_bytes: 2 << 30,
            inflate_ratio: 250,
        }
    }
}

/// What a scan found.
#[derive(Debug, Clone, PartialEq)]
pub struct Scan {
    /// All elements; Pixel Data among them as [`Omitted`](super::data_set::Value::Omitted).
    pub data_set: DataSet,
    /// Where the pixels are, if there are any.
    pub pixel_data: Option<PixelData>,
    /// Sequences of defined length whose inside contradicts itself: they hold the items before the first mistake.
    pub damaged: Vec<Tag>,
    /// Bytes of the data set, inflated if it was deflated.
    pub length: u64,
}

/// Where Pixel Data, Float Pixel Data or Double Float Pixel Data is. Offsets count from where the source stood when
/// it was handed in, for a deflated data set from the start of the inflated bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PixelData {
    /// Which of the three.
    pub tag: Tag,
    /// Its value representation.
    pub vr: VR,
    /// Where the value begins: the pixels, or the first item of encapsulated ones.
    pub offset: u64,
    /// Bytes of native pixels; `None` where they are encapsulated.
    pub length: Option<u64>,
    /// The fragments of encapsulated pixels without the offset table, PS3.5 A.4.
    pub fragments: Vec<Fragment>,
    /// Basic Offset Table: for each frame the distance of its first item from the first item after the table.
    pub basic_offset_table: Vec<u32>,
    /// Extended Offset Table (7FE0,0001), likewise.
    pub extended_offset_table: Vec<u64>,
}

/// A run of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment {
    /// Where it begins.
    pub offset: u64,
    /// Bytes.
    pub length: u32,
}

/// Why a data set cannot be read. Each is a sentence for the technician whose device sent it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// More nesting than any real device writes.
    #[error("sequences are nested more than {limit} deep at {}", named(*.tag))]
    TooDeep {
        /// The sequence that is too deep.
        tag: Tag,
        /// The limit.
        limit: usize,
    },
    /// The bytes end within the header of an element.
    #[error("the data set is cut off after {position} bytes, behind {}", named(*.tag))]
    Truncated {
        /// The last element that was whole.
        tag: Tag,
        /// Where the bytes end.
        position: u64,
    },
    /// A length says more than there is.
    #[error("{} declares {declared} bytes, but only {available} follow", named(*.tag))]
    LengthBeyondEnd {
        /// The element with that length.
        tag: Tag,
        /// What it says.
        declared: u64,
        /// What is there, up to the end of the data set or of the item around it.
        available: u64,
    },
    /// An item or a fragment where none can be.
    #[error("the data set is malformed at byte {position}: {tag} cannot stand there")]
    Unexpected {
        /// What was found.
        tag: Tag,
        /// Where.
        position: u64,
    },
    /// Not deflate.
    #[error("the deflated data set is damaged")]
    Inflate,
    /// The deflated stream has no end.
    #[error("the deflated data set is cut off")]
    InflateTruncated,
    /// More than any real data set swells.
    #[error("the deflated data set grows without end: {deflated} bytes became {inflated}")]
    InflatedTooLarge {
        /// Bytes read.
        deflated: u64,
        /// Bytes they became.
        inflated: u64,
    },
    /// More elements than the caller's memory limit takes.
    #[error("the data set has more elements than fit into {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// The source failed.
    #[error("cannot read the data set")]
    Io(#[from] io::Error),
}

/// An element in a sentence.
pub(super) fn named(tag: Tag) -> String {
    match tag {
        ITEM => "an item".to_owned(),
        tag if tag.group() % 2 == 1 => format!("the private element {tag}"),
        tag => format!("{} {tag}", dictionary::name(tag)),
    }
}

/// Walks over `length` bytes of `source`, from where it stands, that hold a data set without file meta information.
///
/// # Errors
/// See [`Error`]. After complete native pixel data a cut-off rest is no error; lengths that lie always are.
pub fn scan<R: Read + Seek>(
    source: R,
    length: u64,
    encoding: Encoding,
    limits: &Limits,
) -> Result<Scan, Error> {
    let (explicit, big_endian) = match encoding {
        Encoding::ImplicitVrLittleEndian => (false, false),
        Encoding::ExplicitVrLittleEndian => (true, false),
        Encoding::ExplicitVrBigEndian => (true, true),
        Encoding::Deflated => {
            return Walk::new(Inflated::new(source, length, limits), limits).run(true, false);
        }
    };
    Walk::new(Plain::new(source, length), limits).run(explicit, big_endian)
}
