//! What a decoder hands to the renderer.

use std::ops::Range;

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
    /// Every `step`-th of these rows alone; fewer, or none, where the frame ends before them.
    pub fn band(&self, rows: Range<u32>, step: usize) -> Self {
        fn part<T: Copy>(samples: &[T], row: usize, rows: &Range<u32>, step: usize) -> Vec<T> {
            let at = |number: u32| {
                let number = usize::try_from(number).unwrap_or(usize::MAX);
                number.saturating_mul(row).min(samples.len())
            };
            let samples = samples.get(at(rows.start)..at(rows.end)).unwrap_or_default();
            if step <= 1 {
                return samples.to_vec();
            }
            samples.chunks(row.max(1)).step_by(step).flatten().copied().collect()
        }
        let row = u64::from(self.columns) * u64::from(self.samples_per_pixel);
        let row = usize::try_from(row).unwrap_or(usize::MAX);
        let samples = match &self.samples {
            Samples::U8(samples) => Samples::U8(part(samples, row, &rows, step)),
            Samples::U16(samples) => Samples::U16(part(samples, row, &rows, step)),
            Samples::I16(samples) => Samples::I16(part(samples, row, &rows, step)),
            Samples::U32(samples) => Samples::U32(part(samples, row, &rows, step)),
            Samples::I32(samples) => Samples::I32(part(samples, row, &rows, step)),
            Samples::F32(samples) => Samples::F32(part(samples, row, &rows, step)),
            Samples::F64(samples) => Samples::F64(part(samples, row, &rows, step)),
        };
        let unused_bits = self.unused_bits.as_ref().map(|words| part(words, row, &rows, step));
        let rows = rows.end.min(self.rows).saturating_sub(rows.start);
        let rows = rows.div_ceil(u32::try_from(step.max(1)).unwrap_or(u32::MAX));
        Self { rows, samples, unused_bits, ..*self }
    }

    /// These columns alone; fewer, or none, where the frame ends before them.
    pub fn part(&self, columns: Range<u32>) -> Self {
        fn part<T: Copy>(samples: &[T], row: usize, within: Range<usize>) -> Vec<T> {
            let rows = samples.chunks_exact(row.max(1));
            rows.flat_map(|row| row.get(within.clone()).unwrap_or_default()).copied().collect()
        }
        let columns = columns.start.min(self.columns)..columns.end.min(self.columns);
        let at = |columns: u32, samples: u16| {
            usize::try_from(u64::from(columns) * u64::from(samples)).unwrap_or(usize::MAX)
        };
        let cut =
            |samples: u16| (at(self.columns, samples), at(columns.start, samples)..at(columns.end, samples));
        let (row, within) = cut(self.samples_per_pixel);
        let samples = match &self.samples {
            Samples::U8(samples) => Samples::U8(part(samples, row, within)),
            Samples::U16(samples) => Samples::U16(part(samples, row, within)),
            Samples::I16(samples) => Samples::I16(part(samples, row, within)),
            Samples::U32(samples) => Samples::U32(part(samples, row, within)),
            Samples::I32(samples) => Samples::I32(part(samples, row, within)),
            Samples::F32(samples) => Samples::F32(part(samples, row, within)),
            Samples::F64(samples) => Samples::F64(part(samples, row, within)),
        };
        let unused_bits = self.unused_bits.as_ref().map(|words| {
            let (row, within) = cut(self.samples_per_pixel);
            part(words, row, within)
        });
        Self { columns: columns.end.saturating_sub(columns.start), samples, unused_bits, ..*self }
    }

    /// Bytes of memory the frame takes, for caches with a byte bound.
    pub fn bytes(&self) -> usize {
        let words = self.unused_bits.as_ref().map_or(0, |words| words.len().saturating_mul(2));
        self.samples.bytes().saturating_add(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_band_has_its_rows_and_no_others() {
        let decoded = Decoded {
            rows: 5,
            columns: 2,
            samples_per_pixel: 1,
            bits_stored: 8,
            photometric: Photometric::Monochrome2,
            samples: Samples::U8((0..10).collect()),
            unused_bits: Some((0..10).collect()),
        };
        let band = |rows, step| {
            let band = decoded.band(rows, step);
            (band.rows, band.samples, band.unused_bits)
        };
        assert_eq!(band(1..3, 1), (2, Samples::U8(vec![2, 3, 4, 5]), Some(vec![2, 3, 4, 5])));
        assert_eq!(band(0..5, 2), (3, Samples::U8(vec![0, 1, 4, 5, 8, 9]), Some(vec![0, 1, 4, 5, 8, 9])));
        assert_eq!(band(4..9, 1), (1, Samples::U8(vec![8, 9]), Some(vec![8, 9])));
        assert_eq!(band(7..9, 1), (0, Samples::U8(vec![]), Some(vec![])));
        let part = decoded.part(1..9);
        assert_eq!((part.columns, part.samples), (1, Samples::U8(vec![1, 3, 5, 7, 9])));
        assert_eq!(part.unused_bits, Some(vec![1, 3, 5, 7, 9]));
    }
}
