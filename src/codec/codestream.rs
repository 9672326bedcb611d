//! Which codec a codestream is for: its first bytes say, whatever the transfer syntax claims.

use super::header::{Codec, Header};
use super::native::{arrange, samples};
use super::{ByteOrder, Decoded, Error, FrameFormat, jpeg, jpeg_2000, jpeg_ls, jpeg_xl};

/// A codestream whose header has been read and found to fit the attributes.
pub struct Prepared {
    /// The codec that has to decode it.
    pub codec: Codec,
    /// What the codec must return.
    pub header: Header,
    /// What the codec gets.
    pub stream: Vec<u8>,
}

/// Finds the codec, reads the header and checks it against the attributes.
pub fn prepare(format: &FrameFormat, encoded: &[u8]) -> Result<Prepared, Error> {
    let (codec, header, stream) = if encoded.starts_with(&[0xFF, 0xD8]) {
        if jpeg_ls::is_jpeg_ls(encoded) {
            (Codec::JpegLs, jpeg_ls::header(format, encoded)?, encoded.to_vec())
        } else {
            let (header, stream) = jpeg::prepare(format, encoded)?;
            (Codec::Jpeg, header, stream)
        }
    } else if let Some(stream) = jpeg_2000::codestream(encoded) {
        (Codec::Jpeg2000, jpeg_2000::header(format, stream)?, stream.to_vec())
    } else if jpeg_xl::is_jpeg_xl(encoded) {
        (Codec::JpegXl, jpeg_xl::header(format, encoded)?, encoded.to_vec())
    } else {
        return Err(Error::UnknownCompression(format.transfer_syntax.clone()));
    };
    header.check(codec, format)?;
    Ok(Prepared { codec, header, stream })
}

/// What the codec returned (little endian, 8 or 16 bits a sample) as stored values.
///
/// JPEG and JPEG-LS know no sign, and JPEG 2000 streams are often written with the wrong one: the attribute
/// decides, and the sign bit is the highest of the codestream's bits (for JPEG, of Bits Stored).
pub fn finish(format: &FrameFormat, codec: Codec, header: &Header, bytes: &[u8]) -> Result<Decoded, Error> {
    let bits_stored = match codec {
        // Overlays above the stored bits were compressed with them.
        _ if format.keep_unused_bits => format.bits_stored.min(header.precision),
        Codec::Jpeg => format.bits_stored.min(header.container_bits()),
        Codec::JpegLs | Codec::Jpeg2000 | Codec::JpegXl => header.precision,
    };
    let format = FrameFormat {
        bits_allocated: header.container_bits(),
        bits_stored,
        high_bit: bits_stored.saturating_sub(1),
        photometric: header.photometric.unwrap_or(format.photometric),
        planar: header.planar,
        ..format.clone()
    };
    let (samples, unused_bits) = samples(&format, ByteOrder::Little, bytes)?;
    arrange(&format, samples, unused_bits)
}
