//! The header of a JPEG XL codestream, ISO/IEC 18181-1 Annex D.

use super::header::{Bytes, Header};
use super::{Error, FrameFormat, Photometric};

const NAME: &str = "JPEG XL";
const CONTAINER: &[u8] = b"\0\0\0\x0CJXL \r\n\x87\n";

/// Whether a frame begins like JPEG XL, bare or in its container.
pub fn is_jpeg_xl(encoded: &[u8]) -> bool {
    encoded.starts_with(&[0xFF, 0x0A]) || encoded.starts_with(CONTAINER)
}

/// Reads size and depth.
pub fn header(format: &FrameFormat, encoded: &[u8]) -> Result<Header, Error> {
    let cut = || Error::Damaged { format: NAME, reason: "its header cannot be read".to_owned() };
    let stream = codestream(encoded).and_then(|stream| stream.strip_prefix(&[0xFF, 0x0A])).ok_or_else(cut)?;
    let mut bits = Bits { bytes: stream, position: 0 };
    let (rows, columns) = size(&mut bits).ok_or_else(cut)?;
    let depth = depth(&mut bits).ok_or_else(cut)?;
    let Depth::Integer(precision) = depth else {
        return Err(Error::Feature { format: NAME, feature: "floating point samples".to_owned() });
    };
    let grey = format.samples_per_pixel == 1;
    Ok(Header {
        rows,
        columns,
        // The number of channels is known only further inside; the length of what comes back is checked.
        components: format.samples_per_pixel,
        precision,
        planar: false,
        photometric: if grey { None } else { Some(Photometric::Rgb) },
    })
}

/// Whether the colour space is XYB, which only lossy encoding uses, or a JPEG codestream stands inside. Where extra
/// channels hide the answer, nothing is said to be lost.
pub fn is_lossy(encoded: &[u8]) -> bool {
    fn is_xyb(stream: &[u8]) -> Option<bool> {
        const EXTRA_CHANNELS: [(u32, u32); 4] = [(0, 0), (1, 0), (2, 4), (1, 12)];
        let mut bits = Bits { bytes: stream.strip_prefix(&[0xFF, 0x0A])?, position: 0 };
        size(&mut bits)?;
        let start = bits.position;
        let is_default = bits.flag()?;
        if is_default {
            return Some(true);
        }
        bits.position = start;
        depth(&mut bits)?;
        // modular_16_bit_buffers
        bits.flag()?;
        if bits.choice(EXTRA_CHANNELS)? > 0 {
            return None;
        }
        bits.flag()
    }
    let is_recompressed = encoded.starts_with(CONTAINER) && has_box(encoded, b"jbrd");
    is_recompressed || codestream(encoded).and_then(is_xyb) == Some(true)
}

fn has_box(encoded: &[u8], wanted: &[u8; 4]) -> bool {
    fn find(encoded: &[u8], wanted: &[u8; 4]) -> Option<()> {
        let mut boxes = Bytes(encoded);
        loop {
            let rest = boxes.0;
            let length = usize::try_from(boxes.u32()?).ok()?;
            if boxes.take(4)? == wanted {
                return Some(());
            }
            boxes = Bytes(rest.get(length.max(8)..)?);
        }
    }
    find(encoded, wanted).is_some()
}

/// The start of the codestream, which the container may have put into a box.
fn codestream(encoded: &[u8]) -> Option<&[u8]> {
    if !encoded.starts_with(CONTAINER) {
        return Some(encoded);
    }
    let mut boxes = Bytes(encoded);
    loop {
        let rest = boxes.0;
        let length = usize::try_from(boxes.u32()?).ok()?;
        let kind = boxes.u32()?.to_be_bytes();
        match &kind {
            b"jxlc" => return rest.get(8..),
            b"jxlp" => return rest.get(12..),
            _ if length < 8 => return None,
            _ => boxes = Bytes(rest.get(length..)?),
        }
    }
}

/// Bits from the lowest of each byte on.
struct Bits<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl Bits<'_> {
    fn read(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for bit in 0..count {
            let byte = self.bytes.get(self.position / 8)?;
            value |= u32::from((byte >> (self.position % 8)) & 1) << bit;
            self.position += 1;
        }
        Some(value)
    }

    fn flag(&mut self) -> Option<bool> {
        Some(self.read(1)? == 1)
    }

    /// U32 with four choices of (base, bits).
    fn choice(&mut self, choices: [(u32, u32); 4]) -> Option<u32> {
        let index = usize::try_from(self.read(2)?).ok()?;
        let (base, count) = *choices.get(index)?;
        base.checked_add(self.read(count)?)
    }
}

const SIDE: [(u32, u32); 4] = [(1, 9), (1, 13), (1, 18), (1, 30)];

/// D.2, and the preview's header has the same form with other numbers.
fn size(bits: &mut Bits<'_>) -> Option<(u32, u32)> {
    let small = bits.flag()?;
    let rows = if small { (bits.read(5)? + 1) * 8 } else { bits.choice(SIDE)? };
    let columns = match bits.read(3)? {
        0 if small => (bits.read(5)? + 1) * 8,
        0 => bits.choice(SIDE)?,
        ratio => by_ratio(rows, ratio)?,
    };
    Some((rows, columns))
}

fn by_ratio(rows: u32, ratio: u32) -> Option<u32> {
    let (over, under) = match ratio {
        1 => (1, 1),
        2 => (12, 10),
        3 => (4, 3),
        4 => (3, 2),
        5 => (16, 9),
        6 => (5, 4),
        _ => (2, 1),
    };
    u32::try_from(u64::from(rows) * over / under).ok()
}

enum Depth {
    Integer(u16),
    Float,
}

/// D.3 up to the bit depth.
fn depth(bits: &mut Bits<'_>) -> Option<Depth> {
    if bits.flag()? {
        return Some(Depth::Integer(8));
    }
    if bits.flag()? {
        bits.read(3)?;
        if bits.flag()? {
            size(bits)?;
        }
        if bits.flag()? {
            preview(bits)?;
        }
        if bits.flag()? {
            animation(bits)?;
        }
    }
    if bits.flag()? {
        return Some(Depth::Float);
    }
    let precision = bits.choice([(8, 0), (10, 0), (12, 0), (1, 6)])?;
    u16::try_from(precision).ok().map(Depth::Integer)
}

fn preview(bits: &mut Bits<'_>) -> Option<()> {
    const EIGHTHS: [(u32, u32); 4] = [(16, 0), (32, 0), (1, 5), (33, 9)];
    const PIXELS: [(u32, u32); 4] = [(1, 6), (65, 8), (321, 10), (1345, 12)];
    let sides = if bits.flag()? { EIGHTHS } else { PIXELS };
    bits.choice(sides)?;
    if bits.read(3)? == 0 {
        bits.choice(sides)?;
    }
    Some(())
}

fn animation(bits: &mut Bits<'_>) -> Option<()> {
    bits.choice([(100, 0), (1000, 0), (1, 10), (1, 30)])?;
    bits.choice([(1, 0), (1001, 0), (1, 8), (1, 10)])?;
    bits.choice([(0, 0), (0, 3), (0, 16), (0, 32)])?;
    bits.flag()?;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bits written from the lowest of each byte on, after the signature.
    fn stream(fields: &[(u32, u32)]) -> Vec<u8> {
        let mut bytes = vec![0xFF, 0x0A];
        let mut bit = 0;
        for (value, count) in fields {
            for index in 0..*count {
                if bit % 8 == 0 {
                    bytes.push(0);
                }
                *bytes.last_mut().unwrap() |= u8::try_from((value >> index) & 1).unwrap() << (bit % 8);
                bit += 1;
            }
        }
        bytes
    }

    #[test]
    fn small_squares_and_eight_bits_are_the_short_form() {
        let bytes = stream(&[(1, 1), (3, 5), (1, 3), (1, 1)]);
        let header = header(&FrameFormat::grey(32, 32, 8, 8), &bytes).unwrap();
        assert_eq!((header.rows, header.columns, header.precision), (32, 32, 8));
    }

    #[test]
    fn xyb_says_that_something_was_lost() {
        let size = [(1, 1), (3, 5), (1, 3)];
        let stored = |xyb| [(0, 1), (0, 1), (0, 1), (0, 2), (1, 1), (0, 2), (xyb, 1)];
        assert!(is_lossy(&stream(&[&size[..], &[(1, 1)]].concat())));
        assert!(is_lossy(&stream(&[&size[..], &stored(1)].concat())));
        assert!(!is_lossy(&stream(&[&size[..], &stored(0)].concat())));
    }

    #[test]
    fn twelve_bits_are_told_from_sixteen() {
        let bytes =
            stream(&[(0, 1), (0, 2), (99, 9), (0, 3), (0, 2), (49, 9), (0, 1), (0, 1), (0, 1), (2, 2)]);
        let header = header(&FrameFormat::grey(100, 50, 16, 12), &bytes).unwrap();
        assert_eq!((header.rows, header.columns, header.precision), (100, 50, 12));
    }

    #[test]
    fn every_cut_is_an_error_and_not_a_panic() {
        let bytes = stream(&[
            (0, 1),
            (3, 2),
            (99, 30),
            (0, 3),
            (0, 2),
            (49, 9),
            (0, 1),
            (0, 1),
            (0, 1),
            (3, 2),
            (15, 6),
        ]);
        for length in 0..bytes.len() {
            assert!(header(&FrameFormat::grey(100, 50, 16, 16), &bytes[..length]).is_err());
        }
    }
}
