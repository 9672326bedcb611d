//! Deflated Image Frame Compression, PS3.5 section 8.2.16 and A.4.13: each frame its own deflate stream.

use std::io::Read;

use flate2::read::DeflateDecoder;

use super::format::{ByteOrder, FrameFormat};
use super::{Decoded, Error, native};

const NAME: &str = "deflated";

/// Inflates one frame, never to more than the attributes promise.
pub fn decode(format: &FrameFormat, encoded: &[u8]) -> Result<Decoded, Error> {
    let expected = format.native_frame_bytes();
    let mut bytes = Vec::new();
    DeflateDecoder::new(encoded)
        .take(expected)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::Damaged { format: NAME, reason: error.to_string() })?;
    native::decode(format, ByteOrder::Little, false, &bytes, 0)
}

#[cfg(test)]
mod tests {
    use super::super::Samples;
    use super::*;
    use flate2::{Compression, write::DeflateEncoder};
    use std::io::Write;

    fn deflate(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_deflated_frame_is_inflated() {
        let decoded = decode(&FrameFormat::grey(1, 3, 8, 8), &deflate(&[1, 2, 3])).unwrap();
        assert_eq!(decoded.samples, Samples::U8(vec![1, 2, 3]));
    }

    #[test]
    fn a_bomb_stops_at_the_size_of_the_frame() {
        let decoded = decode(&FrameFormat::grey(1, 2, 8, 8), &deflate(&[9; 1_000_000])).unwrap();
        assert_eq!(decoded.samples, Samples::U8(vec![9, 9]));
    }

    #[test]
    fn too_little_is_refused() {
        let error = decode(&FrameFormat::grey(1, 3, 8, 8), &deflate(&[1])).unwrap_err();
        assert_eq!(error, Error::Short { expected: 3, found: 1 });
    }
}
