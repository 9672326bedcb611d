//! The header of a JPEG 2000 or HTJ2K codestream, ITU-T T.800 Annex A.

use super::header::{Bytes, Header};
use super::{Error, FrameFormat, Photometric};

const NAME: &str = "JPEG 2000";
const SOC_SIZ: [u8; 4] = [0xFF, 0x4F, 0xFF, 0x51];

/// The codestream itself: DICOM wants it bare, but some devices wrap it into a JP2 file.
pub fn codestream(encoded: &[u8]) -> Option<&[u8]> {
    if encoded.starts_with(&SOC_SIZ) {
        return Some(encoded);
    }
    let mut boxes = Bytes(encoded);
    if !encoded.starts_with(b"\0\0\0\x0CjP  ") {
        return None;
    }
    loop {
        let rest = boxes.0;
        let length = boxes.u32()?;
        let kind = boxes.u32()?.to_be_bytes();
        let header = if length == 1 { 16 } else { 8 };
        let length = match length {
            0 => rest.len(),
            1 => usize::try_from((u64::from(boxes.u32()?) << 32) | u64::from(boxes.u32()?)).ok()?,
            length => usize::try_from(length).ok()?,
        };
        if &kind == b"jp2c" {
            return rest.get(header..length.min(rest.len())).filter(|stream| stream.starts_with(&SOC_SIZ));
        }
        boxes = Bytes(rest.get(length.max(header)..)?);
    }
}

/// Reads the SIZ segment. The multiple component transformation is undone by the decoder.
pub fn header(format: &FrameFormat, stream: &[u8]) -> Result<Header, Error> {
    let cut = || Error::Damaged { format: NAME, reason: "it ends in its header".to_owned() };
    let feature = |feature: String| Error::Feature { format: NAME, feature };
    let mut bytes = Bytes(stream);
    // SOC, SIZ, Lsiz, Rsiz
    bytes.take(8).ok_or_else(cut)?;
    let mut next = || bytes.u32().ok_or_else(cut);
    let (right, bottom, left, top) = (next()?, next()?, next()?, next()?);
    // XTsiz, YTsiz, XTOsiz, YTOsiz
    bytes.take(16).ok_or_else(cut)?;
    let components = bytes.u16().ok_or_else(cut)?;
    let mut precision = 0;
    for index in 0..components {
        let [bits, x, y] = *bytes.take(3).and_then(<[u8]>::first_chunk::<3>).ok_or_else(cut)?;
        let bits = u16::from(bits & 0x7F) + 1;
        if index > 0 && bits != precision {
            return Err(feature("components of different depth".to_owned()));
        }
        if (x, y) != (1, 1) {
            return Err(feature("sub-sampled components".to_owned()));
        }
        precision = bits;
    }
    // PS3.5 section 8.2.4: what was transformed for compression is RGB again afterwards.
    let photometric = match format.photometric {
        Photometric::YbrIct | Photometric::YbrRct => Some(Photometric::Rgb),
        other if components == 3 && other.is_ybr() && has_component_transform(bytes.0) => {
            Some(Photometric::Rgb)
        }
        other if other.is_ybr() => Some(Photometric::YbrFull),
        _ => None,
    };
    Ok(Header {
        rows: bottom.saturating_sub(top),
        columns: right.saturating_sub(left),
        components,
        precision,
        planar: false,
        photometric,
    })
}

/// Whether the colours were transformed before the wavelets were.
fn has_component_transform(after_siz: &[u8]) -> bool {
    coding_style(after_siz).and_then(|style| style.get(4)) == Some(&1)
}

/// Whether the wavelet is the irreversible one, table A.20.
pub fn is_lossy(stream: &[u8]) -> bool {
    let mut bytes = Bytes(stream);
    // SOC and SIZ, whose length counts itself
    let siz = bytes.take(4).and_then(|_| bytes.u16()).and_then(|length| usize::from(length).checked_sub(2));
    let after_siz = siz.and_then(|length| bytes.take(length)).map(|_| bytes.0);
    after_siz.and_then(coding_style).and_then(|style| style.get(9)) == Some(&0)
}

/// The body of the COD marker segment in the main header.
fn coding_style(after_siz: &[u8]) -> Option<&[u8]> {
    let mut bytes = Bytes(after_siz);
    loop {
        let marker = bytes.u16()?;
        let length = usize::from(bytes.u16()?).checked_sub(2)?;
        let body = bytes.take(length)?;
        match marker {
            0xFF52 => return Some(body),
            0xFF90 => return None,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn siz(components: &[u8]) -> Vec<u8> {
        let mut bytes = SOC_SIZ.to_vec();
        bytes.extend_from_slice(&[0, 0, 0, 0]);
        for number in [5u32, 4, 1, 1, 4, 3, 1, 1] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(&u16::try_from(components.len()).unwrap().to_be_bytes());
        components.iter().for_each(|depth| bytes.extend_from_slice(&[*depth, 1, 1]));
        bytes
    }

    #[test]
    fn the_origin_is_taken_off_the_size() {
        let header = header(&FrameFormat::grey(3, 4, 16, 12), &siz(&[0x8B])).unwrap();
        assert_eq!((header.rows, header.columns, header.precision), (3, 4, 12));
    }

    #[test]
    fn every_cut_is_an_error_and_not_a_panic() {
        let bytes = siz(&[7, 7, 7]);
        for length in 0..bytes.len() {
            assert!(header(&FrameFormat::colour(3, 4), &bytes[..length]).is_err());
        }
    }

    #[test]
    fn a_codestream_inside_a_jp2_file_is_found() {
        let mut file = b"\0\0\0\x0CjP  \r\n\x87\n\0\0\0\0jp2c".to_vec();
        file.extend_from_slice(&siz(&[7]));
        assert_eq!(codestream(&file), Some(siz(&[7]).as_slice()));
    }

    #[test]
    fn the_wavelet_says_whether_something_was_lost() {
        let with_wavelet = |transform: u8| {
            let mut bytes = siz(&[7]);
            let length = u16::try_from(bytes.len() - 4).unwrap();
            bytes[4..6].copy_from_slice(&length.to_be_bytes());
            bytes.extend([0xFF, 0x52, 0, 12, 0, 0, 0, 1, 0, 5, 4, 4, 0, transform]);
            bytes
        };
        assert!(is_lossy(&with_wavelet(0)));
        assert!(!is_lossy(&with_wavelet(1)));
    }

    #[test]
    fn sub_sampled_components_are_named_as_the_reason() {
        let mut bytes = siz(&[7, 7, 7]);
        let last = bytes.len() - 1;
        bytes[last] = 2;
        let error = header(&FrameFormat::colour(3, 4), &bytes).unwrap_err();
        assert!(error.to_string().contains("sub-sampled components"));
    }
}
