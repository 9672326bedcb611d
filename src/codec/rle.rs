//! RLE compression, PS3.5 Annex G.

use super::format::{ByteOrder, FrameFormat};
use super::{Decoded, Error, native};

const NAME: &str = "RLE";

/// Decodes one RLE frame.
pub fn decode(format: &FrameFormat, encoded: &[u8]) -> Result<Decoded, Error> {
    let sample_bytes = usize::from(format.bits_allocated).div_ceil(8);
    let planes = usize::from(format.samples_per_pixel).saturating_mul(sample_bytes);
    let plane_bytes = if format.bits_allocated == 1 { format.pixels().div_ceil(8) } else { format.pixels() };
    let plane_bytes = usize::try_from(plane_bytes).map_err(|_| Error::TooLarge(plane_bytes))?;

    let segments = segments(encoded)?;
    if segments.len() < planes {
        return Err(damaged(format!("it has {} segments where {planes} are needed", segments.len())));
    }

    // One buffer a plane (the most significant byte first, G.2), then the bytes are put together.
    let mut bytes = vec![0; plane_bytes.saturating_mul(planes)];
    let mut plane = Vec::with_capacity(plane_bytes);
    for (index, segment) in segments.into_iter().take(planes).enumerate() {
        plane.clear();
        unpack(segment, plane_bytes, &mut plane);
        if plane.len() < plane_bytes {
            return Err(Error::Short { expected: wide(plane_bytes), found: wide(plane.len()) });
        }
        let sample = index / sample_bytes;
        let byte = sample_bytes - 1 - index % sample_bytes;
        let first = sample * sample_bytes + byte;
        for (to, from) in bytes.iter_mut().skip(first).step_by(planes).zip(&plane) {
            *to = *from;
        }
    }

    if format.bits_allocated == 1 {
        return native::one_bit(format, &bytes, 0);
    }
    let (samples, unused_bits) = native::samples(format, ByteOrder::Little, &bytes)?;
    // The planes are pixels already, whatever Planar Configuration says.
    native::arrange(&FrameFormat { planar: false, ..format.clone() }, samples, unused_bits)
}

/// The segments named in the header, G.5: a count and up to 15 offsets.
fn segments(encoded: &[u8]) -> Result<Vec<&[u8]>, Error> {
    let (header, _) = encoded.split_at_checked(64).ok_or_else(|| damaged("its header is cut short"))?;
    let (words, _) = header.as_chunks::<4>();
    let mut words = words.iter().map(|word| usize::try_from(u32::from_le_bytes(*word)).unwrap_or(usize::MAX));
    let count = words.next().unwrap_or_default();
    if !(1..=15).contains(&count) {
        return Err(damaged(format!("it claims to have {count} segments")));
    }
    let starts: Vec<usize> = words.take(count).collect();
    starts
        .iter()
        .enumerate()
        .map(|(index, &start)| {
            let end = starts.get(index + 1).copied().unwrap_or(encoded.len()).min(encoded.len());
            encoded
                .get(start..end)
                .filter(|_| start >= 64)
                .ok_or_else(|| damaged(format!("segment {} lies outside the frame", index + 1)))
        })
        .collect()
}

/// G.3.2: the PackBits scheme. Stops at `limit` bytes; what follows is padding.
fn unpack(mut segment: &[u8], limit: usize, plane: &mut Vec<u8>) {
    while plane.len() < limit {
        let Some((&control, rest)) = segment.split_first() else { return };
        let room = limit - plane.len();
        match control {
            0..=127 => {
                let run = (usize::from(control) + 1).min(rest.len());
                let (literal, after) = rest.split_at(run);
                plane.extend_from_slice(literal.get(..room.min(run)).unwrap_or_default());
                segment = after;
            }
            128 => segment = rest,
            129..=255 => {
                let Some((&byte, after)) = rest.split_first() else { return };
                plane.resize(plane.len() + (257 - usize::from(control)).min(room), byte);
                segment = after;
            }
        }
    }
}

fn damaged(reason: impl Into<String>) -> Error {
    Error::Damaged { format: NAME, reason: reason.into() }
}

fn wide(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::Samples;
    use super::*;
    use proptest::prelude::*;

    fn frame(segments: &[&[u8]]) -> Vec<u8> {
        let mut header = [0u32; 16];
        header[0] = u32::try_from(segments.len()).unwrap();
        let mut offset = 64;
        for (slot, segment) in header[1..].iter_mut().zip(segments) {
            *slot = offset;
            offset += u32::try_from(segment.len()).unwrap();
        }
        let mut bytes: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
        segments.iter().for_each(|segment| bytes.extend_from_slice(segment));
        bytes
    }

    #[test]
    fn runs_and_literals_alternate() {
        let decoded = decode(&FrameFormat::grey(1, 6, 8, 8), &frame(&[&[2, 7, 8, 9, 0xFE, 5]])).unwrap();
        assert_eq!(decoded.samples, Samples::U8(vec![7, 8, 9, 5, 5, 5]));
    }

    #[test]
    fn the_most_significant_byte_comes_in_the_first_segment() {
        let decoded = decode(&FrameFormat::grey(1, 1, 16, 16), &frame(&[&[0, 0x12], &[0, 0x34]])).unwrap();
        assert_eq!(decoded.samples, Samples::U16(vec![0x1234]));
    }

    #[test]
    fn thirty_two_bits_take_four_segments() {
        let segments: [&[u8]; 4] = [&[0, 1], &[0, 2], &[0, 3], &[0, 4]];
        let decoded = decode(&FrameFormat::grey(1, 1, 32, 32), &frame(&segments)).unwrap();
        assert_eq!(decoded.samples, Samples::U32(vec![0x0102_0304]));
    }

    #[test]
    fn colour_planes_become_pixels_whatever_the_planar_configuration() {
        let format = FrameFormat { planar: true, ..FrameFormat::colour(1, 2) };
        let decoded = decode(&format, &frame(&[&[1, 1, 2], &[1, 3, 4], &[1, 5, 6]])).unwrap();
        assert_eq!(decoded.samples, Samples::U8(vec![1, 3, 5, 2, 4, 6]));
    }

    #[test]
    fn a_two_byte_frame_is_damaged_not_a_panic() {
        assert!(matches!(decode(&FrameFormat::grey(1, 1, 8, 8), &[0, 0]), Err(Error::Damaged { .. })));
    }

    #[test]
    fn a_short_segment_is_refused() {
        let error = decode(&FrameFormat::grey(1, 4, 8, 8), &frame(&[&[0, 1]])).unwrap_err();
        assert_eq!(error, Error::Short { expected: 4, found: 1 });
    }

    proptest! {
        #[test]
        fn no_bytes_whatever_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), count in 0u8..17, start in any::<u8>()) {
            let mut bytes = bytes;
            if let Some(first) = bytes.get_mut(..8) {
                first.copy_from_slice(&[count, 0, 0, 0, start, 0, 0, 0]);
            }
            let _unused = decode(&FrameFormat::grey(3, 5, 16, 12), &bytes).map(|decoded| {
                assert_eq!(decoded.samples.len(), 15);
            });
        }
    }
}
