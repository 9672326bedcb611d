//! Why a frame has no picture, in words for the place where the picture would be.

/// What stood in the way of decoding a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A required attribute is not there or cannot be read.
    #[error("the image has no usable {0}")]
    Missing(&'static str),

    /// An attribute has a value nobody can draw.
    #[error("{attribute} is {value}, which filmroom cannot show")]
    Unsupported {
        /// Name of the attribute, as PS3.6 prints it.
        attribute: &'static str,
        /// Its value.
        value: String,
    },

    /// One frame would need more memory than is allowed.
    #[error("one frame would need {0} bytes, more than the limit of {limit}", limit = crate::codec::format::MAX_FRAME_BYTES)]
    TooLarge(u64),

    /// Fewer bytes than the attributes promise.
    #[error("the pixel data is cut short: {expected} bytes expected, {found} found")]
    Short {
        /// Bytes (or samples) the attributes ask for.
        expected: u64,
        /// Bytes (or samples) that are there.
        found: u64,
    },

    /// Codestream and attributes speak of different pictures.
    #[error(
        "the {format} data holds a picture of {found_columns} x {found_rows} pixels, but the attributes say {columns} x {rows}"
    )]
    SizeMismatch {
        /// Name of the compression.
        format: &'static str,
        /// Columns in the codestream.
        found_columns: u32,
        /// Rows in the codestream.
        found_rows: u32,
        /// Columns (0028,0011).
        columns: u32,
        /// Rows (0028,0010).
        rows: u32,
    },

    /// Codestream and attributes disagree about grey and colour.
    #[error("the {format} data has {found} components, but the attributes say {expected}")]
    ComponentMismatch {
        /// Name of the compression.
        format: &'static str,
        /// Components in the codestream.
        found: u32,
        /// Samples per Pixel (0028,0002).
        expected: u32,
    },

    /// The compressed data breaks its own rules.
    #[error("the {format} data is damaged: {reason}")]
    Damaged {
        /// Name of the compression.
        format: &'static str,
        /// What the codec said.
        reason: String,
    },

    /// The compressed data uses a part of its standard that the codec lacks.
    #[error("the {format} data uses {feature}, which filmroom cannot decode")]
    Feature {
        /// Name of the compression.
        format: &'static str,
        /// The part that is missing.
        feature: String,
    },

    /// The frames are a video; there are no single pictures in it.
    #[error("this is a video; download the instance to play it")]
    Video,

    /// The pixels are elsewhere (JPIP).
    #[error("the pixels are not in the instance but on another server (JPIP)")]
    Elsewhere,

    /// Neither the transfer syntax nor the data tells how it is compressed.
    #[error("the pixel data is compressed in a way filmroom does not know (transfer syntax {0})")]
    UnknownCompression(String),

    /// The codec took too long.
    #[error("decoding the {0} data took too long and was stopped")]
    TimedOut(&'static str),

    /// The codec died, or asked for more memory than it may have.
    #[error("decoding the {0} data failed inside the codec; the data is probably damaged")]
    Crashed(&'static str),

    /// No worker became free in time.
    #[error("too many pictures are being decoded; try again in a moment")]
    Busy,

    /// The decode worker could not be started.
    #[error("the decode worker cannot be started: {0}")]
    NoWorker(String),
}
