//! An ICC profile that says sRGB (IEC 61966-2-1) in as few bytes as ICC.1:2010 (version 4) allows.

/// Tags that each have a value of their own.
const TAGS: usize = 9;
const HEADER: usize = 128;

/// The profile.
pub fn srgb() -> Vec<u8> {
    let curve = curve();
    let values: [(&[u8; 4], Vec<u8>); TAGS] = [
        (b"desc", text("sRGB")),
        (b"cprt", text("No copyright")),
        // D50, the white of the connection space.
        (b"wtpt", xyz([0.9642, 1.0, 0.8249])),
        // The colours of sRGB, brought from D65 to D50 (Bradford).
        (b"rXYZ", xyz([0.43607, 0.22249, 0.01392])),
        (b"gXYZ", xyz([0.38515, 0.71687, 0.09708])),
        (b"bXYZ", xyz([0.14307, 0.06061, 0.7141])),
        (b"rTRC", curve.clone()),
        (b"gTRC", curve.clone()),
        (b"bTRC", curve),
    ];
    let mut table = number(TAGS).to_vec();
    let mut data = Vec::new();
    let start = HEADER + 4 + 12 * TAGS;
    for (name, value) in &values {
        table.extend_from_slice(*name);
        table.extend(number(start + data.len()));
        table.extend(number(value.len()));
        data.extend_from_slice(value);
        data.resize(data.len().next_multiple_of(4), 0);
    }
    [header(start + data.len()), table, data].concat()
}

/// ICC.1:2010 section 7.2.
fn header(length: usize) -> Vec<u8> {
    let mut header = number(length).to_vec();
    header.extend([0; 4]);
    header.extend([4, 0x20, 0, 0]);
    header.extend_from_slice(b"mntrRGB XYZ ");
    // A date that never changes.
    header.extend([2026, 1, 1, 0, 0, 0_u16].iter().flat_map(|part| part.to_be_bytes()));
    header.extend_from_slice(b"acsp");
    header.resize(68, 0);
    header.extend([0.9642, 1.0, 0.8249].iter().flat_map(|value| fixed(*value)));
    header.resize(HEADER, 0);
    header
}

fn number(value: usize) -> [u8; 4] {
    u32::try_from(value).unwrap_or(u32::MAX).to_be_bytes()
}

/// s15Fixed16Number
fn fixed(value: f64) -> [u8; 4] {
    // A few units at most.
    #[allow(clippy::cast_possible_truncation)]
    let scaled = (value * 65_536.0).round() as i32;
    scaled.to_be_bytes()
}

fn xyz(values: [f64; 3]) -> Vec<u8> {
    let mut bytes = b"XYZ \0\0\0\0".to_vec();
    bytes.extend(values.iter().flat_map(|value| fixed(*value)));
    bytes
}

/// multiLocalizedUnicodeType with one text.
fn text(text: &str) -> Vec<u8> {
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let mut bytes = b"mluc\0\0\0\0".to_vec();
    bytes.extend(number(1));
    bytes.extend(number(12));
    bytes.extend_from_slice(b"enUS");
    bytes.extend(number(utf16.len()));
    bytes.extend(number(28));
    bytes.extend(utf16);
    bytes
}

/// parametricCurveType, function 3: (ax + b)^g above d, cx below.
fn curve() -> Vec<u8> {
    let mut bytes = b"para\0\0\0\0\0\x03\0\0".to_vec();
    bytes.extend(
        [2.4, 1.0 / 1.055, 0.055 / 1.055, 1.0 / 12.92, 0.04045].iter().flat_map(|value| fixed(*value)),
    );
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_its_own_length_and_where_its_values_are() {
        let profile = srgb();
        let at =
            |at: usize| usize::try_from(u32::from_be_bytes(profile[at..at + 4].try_into().unwrap())).unwrap();
        assert_eq!(at(0), profile.len());
        assert_eq!(&profile[36..40], b"acsp");
        assert_eq!(at(HEADER), TAGS);
        for tag in 0..TAGS {
            let entry = HEADER + 4 + tag * 12;
            assert!(at(entry + 4).is_multiple_of(4) && at(entry + 4) + at(entry + 8) <= profile.len());
        }
    }

    #[test]
    fn its_colours_make_white() {
        let sum = |place: usize| {
            [[0.43607, 0.22249, 0.01392], [0.38515, 0.71687, 0.09708], [0.14307, 0.06061, 0.7141]]
                .iter()
                .map(|colour| colour[place])
                .sum::<f64>()
        };
        for (place, white) in [0.9642, 1.0, 0.8249].into_iter().enumerate() {
            assert!((sum(place) - white).abs() < 0.0005, "{place}");
        }
    }
}
