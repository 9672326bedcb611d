//! What a decoder hands to the renderer.

use super::Photometric;

/// The samples of one frame in reading order, the samples of a pixel beside each other.
///
/// Stored values: bits outside Bits Stored are cleared and the sign is extended, nothing else has happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Samples {
    /// Up to 8 bits, unsigned; a 1-bit frame is 0 and 1.
    U8(Vec<u8>),
    /// Up to 16 bits, unsigned.
    U16(Vec<u16>),
    /// Up to 16 bits, signed.
    I16(Vec<i16>),
    /// Up to 32 bits, unsigned.
    U32(Vec<u32>),
    /// Up to 32 bits, signed.
    I32(Vec<i32>),
    /// Float Pixel Data (7FE0,0008).
    F32(Vec<f32>),
    /// Double Float Pixel Data (7FE0,0009).
    F64(Vec<f64>),
}

impl Samples {
    /// How many samples there are.
    pub fn len(&self) -> usize {
        match self {
            Self::U8(samples) => samples.len(),
            Self::U16(samples) => samples.len(),
            Self::I16(samples) => samples.len(),
            Self::U32(samples) => samples.len(),
            Self::I32(samples) => samples.len(),
            Self::F32(samples) => samples.len(),
            Self::F64(samples) => samples.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory the samples take, for caches with a byte bound.
    pub fn bytes(&self) -> usize {
        match self {
            Self::U8(samples) => samples.len(),
            Self::U16(samples) => samples.len().saturating_mul(2),
            Self::I16(samples) => samples.len().saturating_mul(2),
            Self::U32(samples) => samples.len().saturating_mul(4),
            Self::I32(samples) => samples.len().saturating_mul(4),
            Self::F32(samples) => samples.len().saturating_mul(4),
            Self::F64(samples) => samples.len().saturating_mul(8),
        }
    }
}

/// One decoded frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// Rows of pixels.
    pub rows: u32,
    /// Columns of pixels.
    pub columns: u32,
    /// 1 or 3.
    pub samples_per_pixel: u16,
    /// Bits that are in use in a sample.
    pub bits_stored: u16,
    /// What the samples mean now; colour is never sub-sampled any more.
    pub photometric: Photometric,
    /// The samples themselves, `rows * columns * samples_per_pixel` of them.
    pub samples: Samples,
    /// The unmasked words of a frame whose unused bits carry overlays (retired, PS3.5 section 8.1.2).
    pub unused_bits: Option<Vec<u16>>,
}

impl Decoded {
    /// Bytes of memory the frame takes, for caches with a byte bound.
    pub fn bytes(&self) -> usize {
        let words = self.unused_bits.as_ref().map_or(0, |words| words.len().saturating_mul(2));
        self.samples.bytes().saturating_add(words)
    }
}
