//! The header of a JPEG-LS codestream, ITU-T T.87 Annex C.

use super::header::{Bytes, Header};
use super::{Error, FrameFormat};

const NAME: &str = "JPEG-LS";

/// Whether a stream that begins like JPEG is JPEG-LS: its frame header is SOF55.
pub fn is_jpeg_ls(encoded: &[u8]) -> bool {
    frame_header(encoded).is_some()
}

/// Reads the header.
pub fn header(_format: &FrameFormat, encoded: &[u8]) -> Result<Header, Error> {
    let cut = || Error::Damaged { format: NAME, reason: "it ends in its header".to_owned() };
    let mut bytes = Bytes(frame_header(encoded).ok_or_else(cut)?);
    bytes.u16().ok_or_else(cut)?;
    let precision = u16::from(bytes.u8().ok_or_else(cut)?);
    let rows = u32::from(bytes.u16().ok_or_else(cut)?);
    let columns = u32::from(bytes.u16().ok_or_else(cut)?);
    let components = u16::from(bytes.u8().ok_or_else(cut)?);
    for _ in 0..components {
        let [_, sampling, _] = *bytes.take(3).and_then(<[u8]>::first_chunk::<3>).ok_or_else(cut)?;
        if sampling != 0x11 {
            return Err(Error::Feature { format: NAME, feature: "sub-sampled components".to_owned() });
        }
    }
    // Interleave mode 0: one scan a component, and CharLS returns planes.
    let planar = components > 1 && scan_parameters(bytes.0).ok_or_else(cut)?.1 == 0;
    Ok(Header { rows, columns, components, precision, planar, photometric: None })
}

/// What follows the SOF55 marker.
fn frame_header(encoded: &[u8]) -> Option<&[u8]> {
    segment(encoded.strip_prefix(&[0xFF, 0xD8])?, 0xF7)
}

/// Whether samples may differ from what they were: NEAR is not zero.
pub fn is_lossy(encoded: &[u8]) -> bool {
    let mut bytes = Bytes(frame_header(encoded).unwrap_or_default());
    let frame = bytes.u16().and_then(|length| bytes.take(usize::from(length).checked_sub(2)?));
    frame.and_then(|_| scan_parameters(bytes.0)).is_some_and(|(near, _)| near != 0)
}

/// NEAR and the interleave mode of the first scan, C.2.3.
fn scan_parameters(after_frame: &[u8]) -> Option<(u8, u8)> {
    let mut bytes = Bytes(segment(after_frame, 0xDA)?);
    bytes.u16()?;
    let components = usize::from(bytes.u8()?);
    bytes.take(components.checked_mul(2)?)?;
    Some((bytes.u8()?, bytes.u8()?))
}

/// Walks marker segments up to the wanted one and returns what follows its marker.
fn segment(rest: &[u8], wanted: u8) -> Option<&[u8]> {
    let mut bytes = Bytes(rest);
    loop {
        if bytes.u8()? != 0xFF {
            return None;
        }
        let mut marker = bytes.u8()?;
        while marker == 0xFF {
            marker = bytes.u8()?;
        }
        if marker == wanted {
            return Some(bytes.0);
        }
        if matches!(marker, 0xD9 | 0xDA) {
            return None;
        }
        let length = usize::from(bytes.u16()?).checked_sub(2)?;
        bytes.take(length)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLOUR: &[u8] = &[
        0xFF, 0xD8, 0xFF, 0xF7, 0, 17, 8, 0, 2, 0, 3, 3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0, 0xFF, 0xDA, 0,
        12, 3, 1, 0, 2, 0, 3, 0, 0, 2, 0,
    ];

    #[test]
    fn size_and_interleave_mode_are_read() {
        let header = header(&FrameFormat::colour(2, 3), COLOUR).unwrap();
        assert_eq!((header.rows, header.columns, header.components, header.precision), (2, 3, 3, 8));
        assert!(!header.planar);
    }

    #[test]
    fn one_scan_a_component_means_planes() {
        let mut bytes = COLOUR.to_vec();
        bytes[33] = 0;
        assert!(header(&FrameFormat::colour(2, 3), &bytes).unwrap().planar);
    }

    #[test]
    fn a_near_of_zero_loses_nothing() {
        let mut bytes = COLOUR.to_vec();
        assert!(!is_lossy(&bytes));
        bytes[32] = 2;
        assert!(is_lossy(&bytes));
    }

    #[test]
    fn every_cut_is_an_error_and_not_a_panic() {
        for length in 0..COLOUR.len() - 1 {
            assert!(header(&FrameFormat::colour(2, 3), &COLOUR[..length]).is_err());
        }
    }
}
