//! The markers of a JPEG codestream, ITU-T T.81 Annex B, and what its colours mean, PS3.5 section 8.2.1.
//!
//! The decoder is told to leave the components as they are: the colour markers are taken out of the stream
//! and one is put in that says "no transform". Which colours they are is decided here, as pydicom does,
//! because libjpeg guesses and does not know the attributes.

use super::header::{Bytes, Header};
use super::{Error, FrameFormat, Photometric};

const NAME: &str = "JPEG";
/// APP14 "Adobe", version 100, no flags, transform 0.
const NO_TRANSFORM: [u8; 16] = [0xFF, 0xEE, 0, 14, b'A', b'd', b'o', b'b', b'e', 0, 100, 0, 0, 0, 0, 0];

/// What stands in the codestream before the first scan.
#[derive(Debug, Default)]
struct Markers<'a> {
    frame: Option<Frame>,
    jfif: bool,
    adobe_transform: Option<u8>,
    /// The segments to keep, markers included.
    kept: Vec<&'a [u8]>,
    /// From the first start of scan on.
    scans: &'a [u8],
}

#[derive(Debug)]
struct Frame {
    precision: u8,
    rows: u16,
    columns: u16,
    component_ids: Vec<u8>,
    /// Which of the kept segments it is.
    position: usize,
}

/// The header, and the codestream to hand to the decoder.
pub fn prepare(format: &FrameFormat, encoded: &[u8]) -> Result<(Header, Vec<u8>), Error> {
    let markers = read(encoded)?;
    let frame = markers.frame.as_ref().ok_or_else(|| damaged("it has no frame header"))?;
    let components = u16::try_from(frame.component_ids.len()).unwrap_or(u16::MAX);
    // T.81 B.2.2: zero lines means the height follows in a DNL marker, which libjpeg cannot read.
    let rows = if frame.rows == 0 { format.rows } else { u32::from(frame.rows) };
    let header = Header {
        rows,
        columns: u32::from(frame.columns),
        components,
        precision: u16::from(frame.precision),
        planar: false,
        photometric: (components == 3).then(|| colours(&markers, frame, format.photometric)),
    };

    let mut stream = Vec::with_capacity(encoded.len().saturating_add(32));
    stream.extend_from_slice(&[0xFF, 0xD8]);
    stream.extend_from_slice(&NO_TRANSFORM);
    for (position, segment) in markers.kept.iter().enumerate() {
        let start = stream.len();
        stream.extend_from_slice(segment);
        // Marker, length, precision, then the two bytes of the height.
        if position == frame.position
            && frame.rows == 0
            && let Some(height) = stream.get_mut(start + 5..start + 7)
            && let Ok(rows) = u16::try_from(rows)
        {
            height.copy_from_slice(&rows.to_be_bytes());
        }
    }
    stream.extend_from_slice(markers.scans);
    if !markers.scans.windows(2).rev().take(64).any(|pair| pair == [0xFF, 0xD9]) {
        stream.extend_from_slice(&[0xFF, 0xD9]);
    }
    Ok((header, stream))
}

/// Every process but the lossless one, SOF3, loses something.
pub fn is_lossy(encoded: &[u8]) -> bool {
    let Ok(markers) = read(encoded) else { return false };
    let start = markers.frame.as_ref().and_then(|frame| markers.kept.get(frame.position));
    start.is_some_and(|segment| segment.get(1) != Some(&0xC3))
}

/// Component names first, then what an encoder has declared, then the attribute.
fn colours(markers: &Markers<'_>, frame: &Frame, attribute: Photometric) -> Photometric {
    let declared_ybr = markers.jfif || markers.adobe_transform == Some(1);
    match frame.component_ids.as_slice() {
        b"RGB" | b"rgb" => Photometric::Rgb,
        _ if declared_ybr || attribute.is_ybr() => Photometric::YbrFull,
        _ => Photometric::Rgb,
    }
}

fn read(encoded: &[u8]) -> Result<Markers<'_>, Error> {
    let cut = || damaged("it ends in its header");
    let mut bytes = Bytes(encoded);
    if bytes.u16() != Some(0xFFD8) {
        return Err(damaged("it does not begin with a start of image"));
    }
    let mut markers = Markers::default();
    loop {
        let segment_start = bytes.0;
        if bytes.u8().ok_or_else(cut)? != 0xFF {
            return Err(damaged("a marker is missing in its header"));
        }
        let marker = bytes.u8().ok_or_else(cut)?;
        match marker {
            // A fill byte: the 0xFF just read may be the first of a marker.
            0xFF => {
                bytes = Bytes(segment_start);
                bytes.u8();
                continue;
            }
            // Markers without a length.
            0x01 | 0xD0..=0xD8 => continue,
            0xD9 => return Err(damaged("it ends before its first scan")),
            0xDA => {
                markers.scans = segment_start;
                return Ok(markers);
            }
            _ => {}
        }
        let length = usize::from(bytes.u16().ok_or_else(cut)?);
        let body = length.checked_sub(2).and_then(|length| bytes.take(length)).ok_or_else(cut)?;
        let segment = segment_start.get(..length + 2).ok_or_else(cut)?;
        match marker {
            0xE0 if body.starts_with(b"JFIF") => {
                markers.jfif = true;
                continue;
            }
            0xEE if body.starts_with(b"Adobe") => {
                markers.adobe_transform = body.get(11).copied();
                continue;
            }
            // SOF0 to SOF15 without DHT, JPG and DAC.
            0xC0..=0xCF if !matches!(marker, 0xC4 | 0xC8 | 0xCC) => {
                if markers.frame.is_some() {
                    return Err(damaged("it has two frame headers"));
                }
                if !matches!(marker, 0xC0 | 0xC1 | 0xC2 | 0xC3 | 0xC9 | 0xCA) {
                    return Err(Error::Feature {
                        format: NAME,
                        feature: format!("process SOF{}", marker & 15),
                    });
                }
                markers.frame = Some(frame(body, markers.kept.len()).ok_or_else(cut)?);
            }
            _ => {}
        }
        markers.kept.push(segment);
    }
}

fn frame(body: &[u8], position: usize) -> Option<Frame> {
    let mut bytes = Bytes(body);
    let precision = bytes.u8()?;
    let rows = bytes.u16()?;
    let columns = bytes.u16()?;
    let components = bytes.u8()?;
    let mut component_ids = Vec::new();
    for _ in 0..components {
        component_ids.push(bytes.take(3)?.first().copied()?);
    }
    Some(Frame { precision, rows, columns, component_ids, position })
}

fn damaged(reason: &str) -> Error {
    Error::Damaged { format: NAME, reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stream(before: &[u8], ids: [u8; 3]) -> Vec<u8> {
        let mut bytes = vec![0xFF, 0xD8];
        bytes.extend_from_slice(before);
        bytes.extend_from_slice(&[0xFF, 0xC0, 0, 17, 8, 0, 2, 0, 3, 3]);
        ids.iter().for_each(|id| bytes.extend_from_slice(&[*id, 0x11, 0]));
        bytes.extend_from_slice(&[0xFF, 0xDA, 0, 2, 1, 2, 3]);
        bytes
    }

    fn photometric(before: &[u8], ids: [u8; 3], attribute: Photometric) -> Photometric {
        let format = FrameFormat { photometric: attribute, ..FrameFormat::colour(2, 3) };
        prepare(&format, &stream(before, ids)).unwrap().0.photometric.unwrap()
    }

    const JFIF: [u8; 18] = *b"\xFF\xE0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0";

    #[test]
    fn rgb_without_a_colour_marker_is_rgb() {
        assert_eq!(photometric(&[], [1, 2, 3], Photometric::Rgb), Photometric::Rgb);
    }

    #[test]
    fn a_jfif_marker_says_ybr_whatever_the_attribute() {
        assert_eq!(photometric(&JFIF, [1, 2, 3], Photometric::Rgb), Photometric::YbrFull);
    }

    #[test]
    fn components_named_rgb_are_rgb_whatever_the_attribute() {
        assert_eq!(photometric(&JFIF, *b"RGB", Photometric::YbrFull422), Photometric::Rgb);
    }

    #[test]
    fn the_stream_for_the_decoder_has_one_colour_marker_and_an_end() {
        let (header, prepared) = prepare(&FrameFormat::colour(2, 3), &stream(&JFIF, [1, 2, 3])).unwrap();
        assert_eq!((header.rows, header.columns, header.components), (2, 3, 3));
        assert!(!prepared.windows(4).any(|four| four == b"JFIF"));
        assert_eq!(prepared.windows(5).filter(|five| five == b"Adobe").count(), 1);
        assert!(prepared.ends_with(&[0xFF, 0xD9]));
    }

    #[test]
    fn a_height_that_follows_later_is_taken_from_the_attributes() {
        let mut bytes = stream(&[], [1, 2, 3]);
        bytes[7..9].copy_from_slice(&[0, 0]);
        let (header, prepared) = prepare(&FrameFormat::colour(2, 3), &bytes).unwrap();
        assert_eq!(header.rows, 2);
        assert_eq!(prepared, prepare(&FrameFormat::colour(2, 3), &stream(&[], [1, 2, 3])).unwrap().1);
    }

    #[test]
    fn the_lossless_process_loses_nothing() {
        let mut bytes = stream(&JFIF, [1, 2, 3]);
        assert!(is_lossy(&bytes));
        bytes[2 + JFIF.len() + 1] = 0xC3;
        assert!(!is_lossy(&bytes));
    }

    proptest! {
        #[test]
        fn no_header_whatever_makes_it_panic(position in 0usize..40, byte in any::<u8>(), cut in 0usize..40) {
            let mut bytes = stream(&JFIF, [1, 2, 3]);
            bytes[position] = byte;
            bytes.truncate(bytes.len().saturating_sub(cut));
            if let Ok((header, _)) = prepare(&FrameFormat::colour(2, 3), &bytes) {
                prop_assert!(header.components <= 255);
            }
        }
    }
}
