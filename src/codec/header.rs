//! What the header of a codestream says, and whether it fits the attributes.

use super::{Error, FrameFormat, Photometric};

/// The codecs that run in a child process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// ITU-T T.81: baseline, extended, progressive, lossless; 2 to 16 bits.
    Jpeg,
    /// ITU-T T.87.
    JpegLs,
    /// ITU-T T.800 and T.814 (HTJ2K).
    Jpeg2000,
    /// ISO/IEC 18181.
    JpegXl,
}

impl Codec {
    /// Its name in sentences.
    pub fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "JPEG",
            Self::JpegLs => "JPEG-LS",
            Self::Jpeg2000 => "JPEG 2000",
            Self::JpegXl => "JPEG XL",
        }
    }
}

/// The header of a codestream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Rows of pixels.
    pub rows: u32,
    /// Columns of pixels.
    pub columns: u32,
    /// Samples of a pixel.
    pub components: u16,
    /// Bits of a sample, 1 to 16.
    pub precision: u16,
    /// Whether the codec returns one plane a component instead of pixels.
    pub planar: bool,
    /// What the samples mean after the codec, where the codestream knows better than the attributes.
    pub photometric: Option<Photometric>,
}

impl Header {
    /// Bits Allocated of what the codec returns.
    pub fn container_bits(&self) -> u16 {
        if self.precision <= 8 { 8 } else { 16 }
    }

    /// Bytes the codec must return.
    pub fn decoded_bytes(&self) -> u64 {
        u64::from(self.rows)
            .saturating_mul(u64::from(self.columns))
            .saturating_mul(u64::from(self.components))
            .saturating_mul(u64::from(self.container_bits() / 8))
    }

    /// Refuses a codestream of another shape than the attributes promise, before anything is decoded.
    pub fn check(&self, codec: Codec, format: &FrameFormat) -> Result<(), Error> {
        let name = codec.name();
        if (self.rows, self.columns) != (format.rows, format.columns) {
            return Err(Error::SizeMismatch {
                format: name,
                found_columns: self.columns,
                found_rows: self.rows,
                columns: format.columns,
                rows: format.rows,
            });
        }
        if self.components != format.samples_per_pixel {
            return Err(Error::ComponentMismatch {
                format: name,
                found: u32::from(self.components),
                expected: u32::from(format.samples_per_pixel),
            });
        }
        if !(1..=16).contains(&self.precision) {
            return Err(Error::Feature {
                format: name,
                feature: format!("{} bits a sample", self.precision),
            });
        }
        Ok(())
    }
}

/// Reads big endian numbers off the front of a codestream; nothing when it ends early.
pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    /// The next `length` bytes.
    pub fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }

    /// The next byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    /// The next two bytes.
    pub fn u16(&mut self) -> Option<u16> {
        self.take(2)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
    }

    /// The next four bytes.
    pub fn u32(&mut self) -> Option<u32> {
        self.take(4)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
    }
}
