//! Small instances in other transfer syntaxes: what becomes of their pixels, and what cannot be converted.

use std::io::Write;

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use proptest::prelude::*;

use super::super::{Place, read_header};
use super::*;
use crate::db::frame::StoredRow;
use crate::dicom::data_set::{DataSet, Value};
use crate::dicom::fixtures::{explicit, implicit, item, lying, open_sequence};
use crate::dicom::prescan::{Encoding, Limits};

const BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";

/// Attributes of an image: number of frames, rows, columns, and whatever else.
struct Image {
    photometric: &'static str,
    samples: u8,
    frames: &'static str,
    rows: u8,
    columns: u8,
    allocated: u8,
    stored: u8,
    high: u8,
    planar: u8,
}

const GREY: Image = Image {
    photometric: "MONOCHROME2 ",
    samples: 1,
    frames: "1 ",
    rows: 1,
    columns: 2,
    allocated: 8,
    stored: 8,
    high: 7,
    planar: 0,
};

impl Image {
    fn explicit(&self) -> Vec<u8> {
        let number = |tag, value| explicit(tag, "US", &[value, 0]);
        [
            explicit(tags::MODALITY, "CS", b"OT"),
            number(tags::SAMPLES_PER_PIXEL, self.samples),
            explicit(tags::PHOTOMETRIC_INTERPRETATION, "CS", self.photometric.as_bytes()),
            number(tags::PLANAR_CONFIGURATION, self.planar),
            explicit(tags::NUMBER_OF_FRAMES, "IS", self.frames.as_bytes()),
            number(tags::ROWS, self.rows),
            number(tags::COLUMNS, self.columns),
            number(tags::BITS_ALLOCATED, self.allocated),
            number(tags::BITS_STORED, self.stored),
            number(tags::HIGH_BIT, self.high),
            number(tags::PIXEL_REPRESENTATION, 0),
        ]
        .concat()
    }

    /// With each frame a fragment.
    fn encapsulated(&self, frames: &[&[u8]]) -> Vec<u8> {
        let fragments: Vec<u8> = frames.iter().flat_map(|frame| item(frame)).collect();
        let value = [item(&[]), fragments].concat();
        [self.explicit(), open_sequence(tags::PIXEL_DATA, "OB", &value)].concat()
    }
}

/// An instance in a file as it is read by the archive.
fn stored(data_set: &[u8], transfer_syntax: &str) -> (tempfile::NamedTempFile, Holding) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    // The data set does not begin where the file does.
    file.write_all(&[9; 7]).unwrap();
    file.write_all(data_set).unwrap();
    let row = StoredRow {
        holding_key: 1,
        study_instance_uid: "1.2".into(),
        series_instance_uid: "1.2.3".into(),
        sop_instance_uid: "1.2.3.4".into(),
        sop_class_uid: uids::SECONDARY_CAPTURE_IMAGE_STORAGE.into(),
        transfer_syntax_uid: transfer_syntax.into(),
        number_of_frames: 1,
        path: String::new(),
        size_bytes: data_set.len() as u64 + 7,
        data_set_offset: 7,
        data_set_sha256: Vec::new(),
        pixel_data_offset: None,
        pixel_data_length: None,
    };
    (file, Holding::new(Place::Archive(1), row).unwrap())
}

fn transcode(data_set: &[u8], transfer_syntax: &str, target: Target) -> Result<Vec<u8>, String> {
    let (file, holding) = stored(data_set, transfer_syntax);
    let open = || Ok(File::open(file.path())?);
    let header = Arc::new(read_header(&open().unwrap(), &holding, None).map_err(|err| err.to_string())?);
    let decoder = Decoder::new(1, "/nonexistent".into());
    let converted = Transcoded::new(open, &decoder, &holding, &header, target);
    let mut bytes = Vec::new();
    converted.map_err(|err| err.to_string())?.read_to_end(&mut bytes).map_err(|err| err.to_string())?;
    Ok(bytes)
}

/// All attributes after conversion to Explicit VR Little Endian, and the value of Pixel Data.
fn native(data_set: &[u8], transfer_syntax: &str) -> Result<(DataSet, VR, Vec<u8>), String> {
    let bytes = transcode(data_set, transfer_syntax, Target::ExplicitVrLittleEndian)?;
    let source = io::Cursor::new(bytes.as_slice());
    let encoding = Encoding::ExplicitVrLittleEndian;
    let scan = prescan::scan(source, bytes.len() as u64, encoding, &Limits::default()).unwrap();
    let pixels = scan.pixel_data.unwrap();
    let (start, length) = (pixels.offset as usize, pixels.length.unwrap() as usize);
    Ok((scan.data_set, pixels.vr, bytes[start..start + length].to_vec()))
}

/// One frame, PS3.5 annex G, each segment a literal run.
fn rle(segments: &[&[u8]]) -> Vec<u8> {
    let mut header = [0_u32; 16];
    header[0] = segments.len() as u32;
    let mut offset = 64;
    let mut bytes = Vec::new();
    for (slot, segment) in header[1..].iter_mut().zip(segments) {
        *slot = offset;
        bytes.push(segment.len() as u8 - 1);
        bytes.extend_from_slice(segment);
        offset += segment.len() as u32 + 1;
    }
    let mut bytes = [header.iter().flat_map(|word| word.to_le_bytes()).collect(), bytes].concat();
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    bytes
}

fn numbers(data_set: &DataSet, tags: [Tag; 4]) -> [Option<i64>; 4] {
    tags.map(|tag| data_set.integer(tag))
}

const DEPTHS: [Tag; 4] =
    [tags::BITS_ALLOCATED, tags::BITS_STORED, tags::HIGH_BIT, tags::PLANAR_CONFIGURATION];

#[test]
fn frames_stand_one_behind_the_other_and_the_value_is_even() {
    let image = Image { frames: "3 ", columns: 1, ..GREY };
    let frames = [rle(&[&[1]]), rle(&[&[2]]), rle(&[&[3]])];
    let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    let (data_set, vr, pixels) = native(&image.encapsulated(&frames), uids::RLE_LOSSLESS).unwrap();
    assert_eq!((vr, pixels), (VR::OB, vec![1, 2, 3, 0]));
    assert_eq!(data_set.text(tags::PHOTOMETRIC_INTERPRETATION).as_deref(), Some("MONOCHROME2"));
    assert_eq!(data_set.element(tags::LOSSY_IMAGE_COMPRESSION), None);
}

#[test]
fn words_are_little_endian_and_ow() {
    let image = Image { allocated: 16, stored: 12, high: 11, ..GREY };
    let bytes = image.encapsulated(&[&rle(&[&[0x0A, 0x0B], &[1, 2]])]);
    let (data_set, vr, pixels) = native(&bytes, uids::RLE_LOSSLESS).unwrap();
    assert_eq!((vr, pixels), (VR::OW, vec![1, 0x0A, 2, 0x0B]));
    assert_eq!(numbers(&data_set, DEPTHS), [Some(16), Some(12), Some(11), Some(0)]);
}

#[test]
fn samples_that_stood_high_in_their_words_stand_low_and_say_so() {
    let image = Image { allocated: 16, stored: 12, high: 15, ..GREY };
    let bytes = image.encapsulated(&[&rle(&[&[0x12, 0x56], &[0x30, 0x70]])]);
    let (data_set, _, pixels) = native(&bytes, uids::RLE_LOSSLESS).unwrap();
    assert_eq!(pixels, [0x23, 0x01, 0x67, 0x05]);
    assert_eq!(numbers(&data_set, DEPTHS), [Some(16), Some(12), Some(11), Some(0)]);
}

#[test]
fn colour_is_by_pixel_and_never_sub_sampled() {
    for (photometric, expected) in
        [("RGB ", "RGB"), ("YBR_FULL", "YBR_FULL"), ("YBR_FULL_422", "YBR_FULL"), ("YBR_RCT ", "RGB")]
    {
        let image = Image { photometric, samples: 3, planar: 1, ..GREY };
        let bytes = image.encapsulated(&[&rle(&[&[1, 2], &[3, 4], &[5, 6]])]);
        let (data_set, vr, pixels) = native(&bytes, uids::RLE_LOSSLESS).unwrap();
        assert_eq!((vr, pixels), (VR::OB, vec![1, 3, 5, 2, 4, 6]), "{photometric}");
        assert_eq!(data_set.text(tags::PHOTOMETRIC_INTERPRETATION).as_deref(), Some(expected));
        assert_eq!(data_set.integer(tags::PLANAR_CONFIGURATION), Some(0), "{photometric}");
    }
}

#[test]
fn the_narrow_range_of_video_becomes_the_full_one() {
    let image = Image { photometric: "YBR_PARTIAL_422 ", samples: 3, ..GREY };
    let bytes = image.encapsulated(&[&rle(&[&[16, 235], &[128, 240], &[16, 128]])]);
    let (data_set, _, pixels) = native(&bytes, uids::RLE_LOSSLESS).unwrap();
    assert_eq!(pixels, [0, 128, 1, 255, 255, 128]);
    assert_eq!(data_set.text(tags::PHOTOMETRIC_INTERPRETATION).as_deref(), Some("YBR_FULL"));
}

#[test]
fn single_bits_are_packed_across_frames() {
    let image = Image { frames: "2 ", rows: 1, columns: 5, allocated: 1, stored: 1, high: 0, ..GREY };
    let syntax = uids::ENCAPSULATED_UNCOMPRESSED_EXPLICIT_VR_LITTLE_ENDIAN;
    let bytes = image.encapsulated(&[&[0b10101, 0], &[0b11110, 0]]);
    let (data_set, vr, pixels) = native(&bytes, syntax).unwrap();
    assert_eq!((vr, pixels), (VR::OB, vec![0b1101_0101, 0b11]));
    assert_eq!(data_set.integer(tags::BITS_ALLOCATED), Some(1));
}

#[test]
fn overlays_in_unused_bits_stay_where_they_are() {
    let image = Image { allocated: 16, stored: 12, high: 11, ..GREY };
    let overlay = explicit(Tag(0x6000, 0x0100), "US", &[16, 0]);
    let value = [item(&[]), item(&rle(&[&[0x8A, 0x0B], &[1, 2]]))].concat();
    let bytes = [image.explicit(), overlay, open_sequence(tags::PIXEL_DATA, "OB", &value)].concat();
    let (data_set, _, pixels) = native(&bytes, uids::RLE_LOSSLESS).unwrap();
    assert_eq!(pixels, [1, 0x8A, 2, 0x0B]);
    assert_eq!(numbers(&data_set, DEPTHS), [Some(16), Some(12), Some(11), Some(0)]);
}

#[test]
fn floating_point_pixels_stay_what_they_are() {
    let syntax = uids::ENCAPSULATED_UNCOMPRESSED_EXPLICIT_VR_LITTLE_ENDIAN;
    let image = Image { allocated: 32, stored: 32, high: 31, ..GREY };
    let value = [1.5_f32, -2.0].map(f32::to_le_bytes).concat();
    let fragments = [item(&[]), item(&value)].concat();
    let bytes = [image.explicit(), open_sequence(tags::FLOAT_PIXEL_DATA, "OF", &fragments)].concat();
    let (_, vr, pixels) = native(&bytes, syntax).unwrap();
    assert_eq!((vr, pixels), (VR::OF, value));
}

#[test]
fn the_big_endian_pixels_in_an_implicit_data_set_of_ge_are_turned() {
    let attributes = implicit(tags::BITS_ALLOCATED, &[16, 0]);
    let bytes = [attributes.clone(), implicit(tags::PIXEL_DATA, &[1, 2, 3, 4])].concat();
    let out = transcode(&bytes, "1.2.840.113619.5.2", Target::ImplicitVrLittleEndian).unwrap();
    assert_eq!(out, [attributes, implicit(tags::PIXEL_DATA, &[2, 1, 4, 3])].concat());
}

#[test]
fn instances_without_pixels_are_only_written_anew() {
    let report = [explicit(tags::MODALITY, "CS", b"SR"), explicit(tags::TEXT_VALUE, "UT", b"well")].concat();
    let expected = [implicit(tags::MODALITY, b"SR"), implicit(tags::TEXT_VALUE, b"well")].concat();
    for syntax in [uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::JPEG_BASELINE8_BIT] {
        assert_eq!(transcode(&report, syntax, Target::ImplicitVrLittleEndian).unwrap(), expected);
    }
}

#[test]
fn big_endian_pixels_are_turned_by_their_size() {
    let big = |tag: Tag, vr: &str, value: &[u8]| {
        let mut bytes = [tag.group().to_be_bytes(), tag.element().to_be_bytes()].concat();
        bytes.extend(vr.as_bytes());
        match vr {
            "US" => bytes.extend((value.len() as u16).to_be_bytes()),
            _ => bytes.extend([&[0, 0], &(value.len() as u32).to_be_bytes()[..]].concat()),
        }
        [bytes, value.to_vec()].concat()
    };
    for (allocated, vr, expected) in [
        (8, "OB", [1, 2, 3, 4]),
        (8, "OW", [2, 1, 4, 3]),
        (1, "OW", [2, 1, 4, 3]),
        (16, "OW", [2, 1, 4, 3]),
        (32, "OW", [4, 3, 2, 1]),
    ] {
        let bytes =
            [big(tags::BITS_ALLOCATED, "US", &[0, allocated]), big(tags::PIXEL_DATA, vr, &[1, 2, 3, 4])]
                .concat();
        let out = transcode(&bytes, BIG_ENDIAN, Target::ImplicitVrLittleEndian).unwrap();
        let written =
            [implicit(tags::BITS_ALLOCATED, &[allocated, 0]), implicit(tags::PIXEL_DATA, &expected)];
        assert_eq!(out, written.concat(), "{allocated} bits, {vr}");
    }
}

#[test]
fn what_has_no_native_form_is_refused_in_words() {
    let bytes = GREY.encapsulated(&[&[0, 0]]);
    for (syntax, sentence) in [
        ("1.2.840.10008.1.2.4.102", "a video has no uncompressed form"),
        ("1.2.840.10008.1.2.4.94", "the pixels are not in the instance but on another server (JPIP)"),
        ("1.2.3.4", "filmroom cannot convert from the transfer syntax 1.2.3.4"),
    ] {
        assert_eq!(targets(&syntax.parse().unwrap()), [], "{syntax}");
        for target in [Target::ExplicitVrLittleEndian, Target::ImplicitVrLittleEndian] {
            assert_eq!(transcode(&bytes, syntax, target).unwrap_err(), sentence);
        }
    }
}

#[test]
fn pixels_that_lie_are_refused_in_words() {
    let (one, two) = (rle(&[&[1, 2]]), rle(&[&[3]]));
    let many = Image { frames: "99", ..GREY };
    let twins = Image { frames: "2 ", ..GREY };
    let huge = Image { rows: 255, columns: 255, frames: "1 ", ..GREY };
    let cases: [(Vec<u8>, &str); 6] = [
        (many.encapsulated(&[&one]), "99 frames are declared, and 1 fragments do not show where each begins"),
        (twins.encapsulated(&[&one, &two]), "frame 2 cannot be decoded: the pixel data is cut short"),
        (twins.encapsulated(&[&two, &one]), "frame 1 cannot be decoded: the pixel data is cut short"),
        (huge.encapsulated(&[&one]), "frame 1 cannot be decoded: the pixel data is cut short"),
        (GREY.encapsulated(&[]), "the pixel data has no fragments"),
        (
            Image { allocated: 12, ..GREY }.encapsulated(&[&one]),
            "the pixel data cannot be decoded: Bits Allocated is 12, which filmroom cannot show",
        ),
    ];
    for (bytes, part) in cases {
        let sentence = native(&bytes, uids::RLE_LOSSLESS).unwrap_err();
        assert!(sentence.starts_with(part), "{sentence}");
    }
}

#[test]
fn more_than_an_element_can_hold_is_refused_before_it_is_decoded() {
    let form = |rows, columns| {
        let format = crate::codec::FrameFormat::grey(rows, columns, 16, 16);
        let decoded = codec::Decoded {
            rows,
            columns,
            samples_per_pixel: 1,
            bits_stored: 16,
            photometric: codec::Photometric::Monochrome2,
            samples: codec::Samples::U16(Vec::new()),
            unused_bits: None,
        };
        native::NativeForm::of(&format, &decoded)
    };
    assert_eq!(form(65_535, 65_535).bytes(usize::MAX), u64::MAX.div_ceil(8));
    assert_eq!(form(1 << 15, 1 << 15).bytes(2), 1 << 32);
}

#[test]
fn a_target_is_known_by_its_uid() {
    for target in [Target::ExplicitVrLittleEndian, Target::ImplicitVrLittleEndian] {
        assert_eq!(Target::of(&target.uid().parse().unwrap()), Some(target));
        assert!(!targets(&target.uid().parse().unwrap()).contains(&target));
    }
    assert_eq!(Target::of(&BIG_ENDIAN.parse().unwrap()), None);
}

#[test]
fn long_pixel_data_passes_through_little_memory() {
    const LENGTH: u32 = 64 << 20;
    let header = lying(tags::PIXEL_DATA, "OW", LENGTH, &[]);
    let bytes = [GREY.explicit(), header].concat();
    let (file, mut holding) = stored(&bytes, uids::EXPLICIT_VR_LITTLE_ENDIAN);
    holding.row.size_bytes += u64::from(LENGTH);
    file.as_file().set_len(holding.row.size_bytes).unwrap();
    let open = || Ok(File::open(file.path())?);
    let header = Arc::new(read_header(&open().unwrap(), &holding, None).unwrap());
    let decoder = Decoder::new(1, "/nonexistent".into());
    let target = Target::ImplicitVrLittleEndian;
    let mut converted = Transcoded::new(open, &decoder, &holding, &header, target).unwrap();
    let (mut piece, mut total) = (vec![0; 1 << 20], 0);
    loop {
        match converted.read(&mut piece).unwrap() {
            0 => break,
            count => total += count,
        }
        assert!(converted.buffer.capacity() < 256 << 10);
    }
    assert!(total > LENGTH as usize);
}

#[test]
fn a_file_that_was_cut_short_is_an_error_and_no_end() {
    let bytes = [GREY.explicit(), explicit(tags::PIXEL_DATA, "OB", &[7; 100_000])].concat();
    let (file, holding) = stored(&bytes, uids::EXPLICIT_VR_LITTLE_ENDIAN);
    let open = || Ok(File::open(file.path())?);
    let header = Arc::new(read_header(&open().unwrap(), &holding, None).unwrap());
    let decoder = Decoder::new(1, "/nonexistent".into());
    let target = Target::ImplicitVrLittleEndian;
    let mut converted = Transcoded::new(open, &decoder, &holding, &header, target).unwrap();
    file.as_file().set_len(50_000).unwrap();
    let mut out = Vec::new();
    let err = converted.read_to_end(&mut out).unwrap_err();
    assert!(err.get_ref().is_some_and(|err| err.is::<Unconvertible>()), "{err}");
    assert!(converted.read(&mut [0; 8]).is_err());
}

#[test]
fn lossy_attributes_are_added_once_and_together() {
    let text = |tag, vr, text: &str| crate::dicom::data_set::Element {
        tag,
        vr,
        value: Value::Bytes(text.as_bytes().to_vec()),
    };
    let ratio = |value| text(tags::LOSSY_IMAGE_COMPRESSION_RATIO, VR::DS, value);
    let method = |value| text(tags::LOSSY_IMAGE_COMPRESSION_METHOD, VR::CS, value);
    let yes = text(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "01");
    let cases = [
        (vec![], vec![yes.clone(), ratio("7.50"), method("ISO_10918_1")]),
        (
            vec![text(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "00"), ratio("3")],
            vec![yes.clone(), method("ISO_10918_1")],
        ),
        (vec![yes.clone(), ratio("3\\4")], vec![]),
        (vec![yes.clone(), ratio("3"), method("ISO_15444_1")], vec![]),
    ];
    for (there, added) in cases {
        let attributes = DataSet::of(there);
        assert_eq!(frames::lossy(&attributes, "ISO_10918_1", 7.5), added, "{attributes:?}");
    }
}

proptest! {
    #[test]
    fn a_damaged_instance_is_converted_or_refused(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let frames = [rle(&[&[1, 2], &[3, 4], &[5, 6]]), rle(&[&[6, 5], &[4, 3], &[2, 1]])];
        let image = Image { photometric: "YBR_FULL", samples: 3, frames: "2 ", ..GREY };
        let mut bytes = image.encapsulated(&[&frames[0], &frames[1]]);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.index(bytes.len() * 2));
        for target in [Target::ExplicitVrLittleEndian, Target::ImplicitVrLittleEndian] {
            match transcode(&bytes, uids::RLE_LOSSLESS, target) {
                Ok(out) => prop_assert!(out.len() < 4 * bytes.len() + 1024, "{} bytes", out.len()),
                Err(sentence) => prop_assert!(!sentence.is_empty()),
            }
        }
    }
}
