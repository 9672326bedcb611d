//! Native pixel data: PS3.5 section 8.1.1 and Annex D, and what is left to do after lossless codecs.

use super::format::{ByteOrder, FrameFormat, Number};
use super::{Decoded, Error, Photometric, Samples};

/// Decodes a native frame.
///
/// `bytes` cover the frame, which begins `first_bit` bits into them: 1-bit frames of an odd size begin in
/// the middle of a byte, and 8-bit frames in swapped 16-bit words may begin in the middle of a word.
pub fn decode(
    format: &FrameFormat,
    order: ByteOrder,
    swapped_bytes: bool,
    bytes: &[u8],
    first_bit: u8,
) -> Result<Decoded, Error> {
    let swapped;
    let bytes = if swapped_bytes {
        swapped = swap_pairs(bytes);
        &swapped
    } else {
        bytes
    };
    if format.bits_allocated == 1 {
        return one_bit(format, bytes, first_bit);
    }
    let bytes = bytes.get(usize::from(first_bit / 8)..).unwrap_or_default();
    let expected = format.native_frame_bytes();
    let bytes = usize::try_from(expected)
        .ok()
        .and_then(|length| bytes.get(..length))
        .ok_or(Error::Short { expected, found: u64::try_from(bytes.len()).unwrap_or(u64::MAX) })?;
    let (samples, unused_bits) = samples(format, order, bytes)?;
    arrange(format, samples, unused_bits)
}

/// Bytes of a container of the format's Bits Allocated to stored values.
pub fn samples(
    format: &FrameFormat,
    order: ByteOrder,
    bytes: &[u8],
) -> Result<(Samples, Option<Vec<u16>>), Error> {
    let big = order == ByteOrder::Big;
    let mut unused = None;
    let samples =
        match (format.number, format.bits_allocated) {
            (Number::Float, 32) => Samples::F32(words(bytes, |word| {
                if big { f32::from_be_bytes(word) } else { f32::from_le_bytes(word) }
            })),
            (Number::Double, 64) => Samples::F64(words(bytes, |word| {
                if big { f64::from_be_bytes(word) } else { f64::from_le_bytes(word) }
            })),
            (Number::Integer, 8) => eight(format, bytes),
            (Number::Integer, 16) => {
                if format.keep_unused_bits {
                    unused = Some(words(bytes, if big { u16::from_be_bytes } else { u16::from_le_bytes }));
                }
                // Two calls, so that each loop knows its byte order.
                if big {
                    sixteen(format, bytes, u16::from_be_bytes)
                } else {
                    sixteen(format, bytes, u16::from_le_bytes)
                }
            }
            (Number::Integer, 32) => {
                thirty_two(format, bytes, if big { u32::from_be_bytes } else { u32::from_le_bytes })
            }
            (_, allocated) => {
                return Err(Error::Unsupported { attribute: "Bits Allocated", value: allocated.to_string() });
            }
        };
    Ok((samples, unused))
}

/// Brings planes and sub-sampled colour into pixel order and wraps the frame up.
pub fn arrange(
    format: &FrameFormat,
    samples: Samples,
    unused_bits: Option<Vec<u16>>,
) -> Result<Decoded, Error> {
    let (samples, photometric) = if is_sub_sampled(format, &samples) {
        let Samples::U8(samples) = samples else {
            return Err(Error::Unsupported {
                attribute: "Bits Allocated",
                value: format!("{} with sub-sampled colour", format.bits_allocated),
            });
        };
        let full = match format.photometric {
            Photometric::YbrFull422 => Photometric::YbrFull,
            other => other,
        };
        (Samples::U8(expand_422(&samples)), full)
    } else if format.planar && format.samples_per_pixel == 3 {
        (interleave(samples), format.photometric)
    } else {
        (samples, format.photometric)
    };
    Ok(Decoded {
        rows: format.rows,
        columns: format.columns,
        samples_per_pixel: format.samples_per_pixel,
        bits_stored: format.bits_stored,
        photometric,
        samples,
        unused_bits,
    })
}

/// Whether there are two samples a pixel, as sub-sampled native frames have; RLE frames never do.
fn is_sub_sampled(format: &FrameFormat, samples: &Samples) -> bool {
    format.photometric.is_422()
        && u64::try_from(samples.len()).is_ok_and(|length| length == format.pixels() * 2)
}

/// RRR GGG BBB to RGB RGB RGB.
pub fn interleave(samples: Samples) -> Samples {
    fn planes<T: Copy>(planes: &[T]) -> Vec<T> {
        let size = planes.len() / 3;
        let (first, rest) = planes.split_at(size);
        let (second, third) = rest.split_at(size);
        first.iter().zip(second).zip(third).flat_map(|((a, b), c)| [*a, *b, *c]).collect()
    }
    match samples {
        Samples::U8(samples) => Samples::U8(planes(&samples)),
        Samples::U16(samples) => Samples::U16(planes(&samples)),
        Samples::I16(samples) => Samples::I16(planes(&samples)),
        Samples::U32(samples) => Samples::U32(planes(&samples)),
        Samples::I32(samples) => Samples::I32(planes(&samples)),
        Samples::F32(samples) => Samples::F32(planes(&samples)),
        Samples::F64(samples) => Samples::F64(planes(&samples)),
    }
}

/// Y1 Y2 B R to Y1 B R Y2 B R, PS3.3 C.7.6.3.1.2.
fn expand_422(samples: &[u8]) -> Vec<u8> {
    let (groups, _) = samples.as_chunks::<4>();
    groups.iter().flat_map(|&[first, second, blue, red]| [first, blue, red, second, blue, red]).collect()
}

/// A 1-bit frame, the first pixel in the lowest bit: PS3.5 section 8.1.1.
pub fn one_bit(format: &FrameFormat, bytes: &[u8], first_bit: u8) -> Result<Decoded, Error> {
    let first = usize::from(first_bit);
    let pixels = usize::try_from(format.pixels()).map_err(|_| Error::TooLarge(format.pixels()))?;
    let available = bytes.len().saturating_mul(8).saturating_sub(first);
    if available < pixels || format.samples_per_pixel != 1 {
        return Err(Error::Short {
            expected: format.pixels().div_ceil(8),
            found: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        });
    }
    let samples = bytes
        .iter()
        .flat_map(|byte| (0..8u8).map(move |bit| (byte >> bit) & 1))
        .skip(first)
        .take(pixels)
        .collect();
    Ok(Decoded {
        rows: format.rows,
        columns: format.columns,
        samples_per_pixel: 1,
        bits_stored: 1,
        photometric: format.photometric,
        samples: Samples::U8(samples),
        unused_bits: None,
    })
}

/// `convert` should own what it captures, so that the compiler sees that it stays the same and does many at once.
fn words<const N: usize, T>(bytes: &[u8], convert: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (words, _) = bytes.as_chunks::<N>();
    words.iter().map(|word| convert(*word)).collect()
}

fn swap_pairs(bytes: &[u8]) -> Vec<u8> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let mut swapped: Vec<u8> = pairs.iter().flat_map(|&[a, b]| [b, a]).collect();
    swapped.extend_from_slice(rest);
    swapped
}

/// Position and number of the bits in use, for a container of `allocated` bits.
fn window(format: &FrameFormat, allocated: u32) -> (u32, u32) {
    let stored = u32::from(format.bits_stored).clamp(1, allocated);
    let shift = (u32::from(format.high_bit) + 1).saturating_sub(stored).min(allocated - stored);
    (shift, stored)
}

fn eight(format: &FrameFormat, bytes: &[u8]) -> Samples {
    let (shift, stored) = window(format, 8);
    if format.signed {
        let up = 8 - stored - shift;
        let extend = move |byte: &u8| i16::from(byte.wrapping_shl(up).cast_signed() >> (8 - stored));
        return Samples::I16(bytes.iter().map(extend).collect());
    }
    if stored == 8 {
        return Samples::U8(bytes.to_vec());
    }
    let mask = u8::MAX >> (8 - stored);
    Samples::U8(bytes.iter().map(move |byte| (byte >> shift) & mask).collect())
}

fn sixteen(format: &FrameFormat, bytes: &[u8], read: impl Fn([u8; 2]) -> u16) -> Samples {
    let (shift, stored) = window(format, 16);
    if format.signed {
        let up = 16 - stored - shift;
        return Samples::I16(words(bytes, move |word| {
            read(word).wrapping_shl(up).cast_signed() >> (16 - stored)
        }));
    }
    if stored == 16 {
        return Samples::U16(words(bytes, read));
    }
    let mask = u16::MAX >> (16 - stored);
    Samples::U16(words(bytes, move |word| (read(word) >> shift) & mask))
}

fn thirty_two(format: &FrameFormat, bytes: &[u8], read: impl Fn([u8; 4]) -> u32) -> Samples {
    let (shift, stored) = window(format, 32);
    if format.signed {
        let up = 32 - stored - shift;
        return Samples::I32(words(bytes, move |word| {
            read(word).wrapping_shl(up).cast_signed() >> (32 - stored)
        }));
    }
    let mask = u32::MAX >> (32 - stored);
    Samples::U32(words(bytes, move |word| (read(word) >> shift) & mask))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode_le(format: &FrameFormat, bytes: &[u8]) -> Samples {
        decode(format, ByteOrder::Little, false, bytes, 0).unwrap().samples
    }

    #[test]
    fn twelve_bits_stored_hide_what_stands_above_them() {
        let format = FrameFormat::grey(1, 2, 16, 12);
        assert_eq!(decode_le(&format, &[0x34, 0xF2, 0xFF, 0x0F]), Samples::U16(vec![0x234, 0xFFF]));
    }

    #[test]
    fn the_sign_is_extended_from_the_highest_stored_bit() {
        let format = FrameFormat { signed: true, ..FrameFormat::grey(1, 2, 16, 12) };
        assert_eq!(decode_le(&format, &[0xFF, 0x0F, 0xFF, 0x07]), Samples::I16(vec![-1, 2047]));
    }

    #[test]
    fn a_high_bit_of_fifteen_with_twelve_stored_shifts_down() {
        let format = FrameFormat { high_bit: 15, ..FrameFormat::grey(1, 1, 16, 12) };
        assert_eq!(decode_le(&format, &[0x4F, 0x12]), Samples::U16(vec![0x124]));
    }

    #[test]
    fn signed_bytes_are_signed() {
        let format = FrameFormat { signed: true, ..FrameFormat::grey(1, 2, 8, 8) };
        assert_eq!(decode_le(&format, &[0xFF, 0x7F]), Samples::I16(vec![-1, 127]));
    }

    #[test]
    fn big_endian_words_are_read_from_the_other_end() {
        let format = FrameFormat::grey(1, 1, 16, 16);
        let decoded = decode(&format, ByteOrder::Big, false, &[0x12, 0x34], 0).unwrap();
        assert_eq!(decoded.samples, Samples::U16(vec![0x1234]));
    }

    #[test]
    fn an_eight_bit_frame_may_begin_in_the_middle_of_a_swapped_word() {
        let format = FrameFormat::grey(1, 3, 8, 8);
        let decoded = decode(&format, ByteOrder::Big, true, &[2, 1, 4, 3], 8).unwrap();
        assert_eq!(decoded.samples, Samples::U8(vec![2, 3, 4]));
    }

    #[test]
    fn a_one_bit_frame_may_begin_in_the_middle_of_a_byte() {
        let format = FrameFormat::grey(1, 5, 1, 1);
        let decoded = decode(&format, ByteOrder::Little, false, &[0b1010_0000, 0b0000_0011], 5).unwrap();
        assert_eq!(decoded.samples, Samples::U8(vec![1, 0, 1, 1, 1]));
    }

    #[test]
    fn planes_become_pixels() {
        let format = FrameFormat { planar: true, ..FrameFormat::colour(1, 2) };
        assert_eq!(decode_le(&format, &[1, 2, 3, 4, 5, 6]), Samples::U8(vec![1, 3, 5, 2, 4, 6]));
    }

    #[test]
    fn two_pixels_share_their_chrominance() {
        let format = FrameFormat { photometric: Photometric::YbrFull422, ..FrameFormat::colour(1, 2) };
        let decoded = decode(&format, ByteOrder::Little, false, &[10, 20, 30, 40], 0).unwrap();
        assert_eq!(decoded.samples, Samples::U8(vec![10, 30, 40, 20, 30, 40]));
        assert_eq!(decoded.photometric, Photometric::YbrFull);
    }

    #[test]
    fn a_short_frame_is_refused() {
        let format = FrameFormat::grey(2, 2, 16, 16);
        let error = decode(&format, ByteOrder::Little, false, &[0; 7], 0).unwrap_err();
        assert_eq!(error, Error::Short { expected: 8, found: 7 });
    }

    #[test]
    fn overlay_bits_are_kept_when_asked_for() {
        let format = FrameFormat { keep_unused_bits: true, ..FrameFormat::grey(1, 1, 16, 12) };
        let decoded = decode(&format, ByteOrder::Little, false, &[0x01, 0x80], 0).unwrap();
        assert_eq!((decoded.samples, decoded.unused_bits), (Samples::U16(vec![1]), Some(vec![0x8001])));
    }
}
