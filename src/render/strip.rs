//! A zlib stream (RFC 1950, 1951) in strips that are compressed apart from each other, on as many threads as there are.
//!
//! fdeflate makes one stream with one block out of each strip. Its end is brought to a full byte by an empty stored
//! block, as a sync flush of zlib does, so that the strips follow each other as the blocks of one stream. The bytes
//! depend on the data and not on who has compressed which strip.

use std::io;

/// What stands before the strips: deflate with a window of 32 KiB.
pub const HEADER: [u8; 2] = [0x78, 0x01];
/// An empty stored block, the last one of a stream.
const LAST_BLOCK: [u8; 5] = [0x01, 0x00, 0x00, 0xFF, 0xFF];
/// Length and its complement of an empty stored block.
const EMPTY: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];
/// Longest stored block.
const STORED: usize = 65_535;
/// Modulus of Adler-32.
const ADLER: u64 = 65_521;

/// A compressed part of a stream, a whole number of bytes.
#[derive(Debug)]
pub struct Strip {
    /// Its blocks; none of them is the last one of the stream.
    pub blocks: Vec<u8>,
    adler: u32,
    length: usize,
}

impl Strip {
    /// Compresses a part; noise that would grow is stored as it is.
    pub fn of(data: &[u8]) -> io::Result<Strip> {
        let mut compressor = fdeflate::Compressor::new(Vec::with_capacity(data.len() / 2 + 64))?;
        compressor.write_data(data)?;
        let mut blocks = compressor.finish()?;
        let adler = blocks.split_off(blocks.len().saturating_sub(4));
        let adler = adler.first_chunk().map_or(1, |bytes| u32::from_be_bytes(*bytes));
        blocks.drain(..HEADER.len().min(blocks.len()));
        // The first bit says whether the block is the last one.
        if let Some(first) = blocks.first_mut() {
            *first &= !1;
        }
        // The code that ends fdeflate's block (1111 1111 0001) ends in a 1, so what follows the last 1 is unused.
        // A stored block begins with three bits 0 and goes on with the next full byte.
        let unused = blocks.last().map_or(0, |last| last.leading_zeros());
        if unused < 3 {
            blocks.push(0);
        }
        blocks.extend_from_slice(&EMPTY);
        if blocks.len() > data.len() + data.len().div_ceil(STORED) * 5 {
            blocks = stored(data);
        }
        Ok(Strip { blocks, adler, length: data.len() })
    }
}

fn stored(data: &[u8]) -> Vec<u8> {
    let mut blocks = Vec::with_capacity(data.len() + 64);
    for part in data.chunks(STORED) {
        let length = u16::try_from(part.len()).unwrap_or(u16::MAX);
        blocks.push(0);
        blocks.extend_from_slice(&length.to_le_bytes());
        blocks.extend_from_slice(&(!length).to_le_bytes());
        blocks.extend_from_slice(part);
    }
    blocks
}

/// What stands behind the strips: the last block, and the checksum of everything.
pub fn trailer(strips: &[Strip]) -> Vec<u8> {
    let adler = strips.iter().fold(1, |sum, strip| combined(sum, strip.adler, strip.length));
    [LAST_BLOCK.as_slice(), &adler.to_be_bytes()].concat()
}

/// Adler-32 of two parts put together, from those of the parts and the length of the second.
fn combined(first: u32, second: u32, length: usize) -> u32 {
    let halves = |sum: u32| (u64::from(sum & 0xFFFF), u64::from(sum >> 16));
    let ((low1, high1), (low2, high2)) = (halves(first), halves(second));
    let length = u64::try_from(length).unwrap_or(0) % ADLER;
    // Both begin with 1, which counts once.
    let low = (low1 + low2 + ADLER - 1) % ADLER;
    let high = (high1 + high2 + length * (low1 + ADLER - 1)) % ADLER;
    u32::try_from(high << 16 | low).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Read;

    fn inflated(parts: &[&[u8]]) -> Vec<u8> {
        let strips: Vec<Strip> = parts.iter().map(|part| Strip::of(part).unwrap()).collect();
        let mut stream = HEADER.to_vec();
        strips.iter().for_each(|strip| stream.extend_from_slice(&strip.blocks));
        stream.extend(trailer(&strips));
        let mut data = Vec::new();
        let mut decoder = flate2::read::ZlibDecoder::new(stream.as_slice());
        decoder.read_to_end(&mut data).expect("a zlib stream");
        data
    }

    #[test]
    fn strips_end_at_any_bit() {
        // One more byte a strip moves its end by a few bits: all eight places are met.
        let data: Vec<u8> = (0..200_u8).collect();
        let parts: Vec<&[u8]> = (0..100).map(|length| &data[..length]).collect();
        assert_eq!(inflated(&parts), parts.concat());
    }

    #[test]
    fn nothing_is_a_stream_too() {
        assert!(inflated(&[]).is_empty());
        assert!(inflated(&[&[]]).is_empty());
    }

    #[test]
    fn noise_is_stored_and_hardly_grows() {
        let mut state = 1_u32;
        let noise: Vec<u8> = (0..200_000)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state.to_be_bytes()[0]
            })
            .collect();
        assert_eq!(inflated(&[&noise, &noise]), [noise.clone(), noise.clone()].concat());
        assert!(Strip::of(&noise).unwrap().blocks.len() <= noise.len() + 20);
    }

    proptest! {
        #[test]
        fn strips_are_one_stream(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8)) {
            let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(inflated(&parts), parts.concat());
        }
    }
}
