//! What data sets become, token by token and as a whole.

use std::io::Cursor;

use proptest::prelude::*;

use dicom_dictionary_std::tags;

use super::walk::PIECE;
use super::*;
use crate::dicom::data_set::{DataSet, Value};
use crate::dicom::fixtures::{
    SEQUENCE_END, deflated, explicit, implicit, item, lying, open_item, open_sequence,
};
use crate::dicom::prescan::header::UNDEFINED;
use crate::dicom::prescan::{self, Limits, Scan};

const EXPLICIT: Encoding = Encoding::ExplicitVrLittleEndian;
const IMPLICIT: Encoding = Encoding::ImplicitVrLittleEndian;
const BIG: Encoding = Encoding::ExplicitVrBigEndian;
const TARGETS: [(Target, Encoding); 2] =
    [(Target::ExplicitVrLittleEndian, EXPLICIT), (Target::ImplicitVrLittleEndian, IMPLICIT)];
const REQUEST: Tag = tags::REQUEST_ATTRIBUTES_SEQUENCE;
const STEP_ID: Tag = tags::SCHEDULED_PROCEDURE_STEP_ID;
const PRIVATE: Tag = Tag(0x0029, 0x1010);
const AS_STORED: Pixels = Pixels::Native { vr: VR::OW, swapped: 1 };

/// Writes an element of this tag, representation and value.
type Write = dyn Fn(Tag, &str, &[u8]) -> Vec<u8>;

fn changed(bytes: &[u8], from: Encoding, to: Target, changes: Changes) -> Result<Vec<u8>, Error> {
    let (source, length) = (Cursor::new(bytes.to_vec()), bytes.len() as u64);
    let survey = survey(source.clone(), length, from)?;
    let mut reencoding = Reencoding::new(source, length, from, survey, to, changes)?;
    let mut out = Vec::new();
    loop {
        let before = out.len();
        match reencoding.step(&mut out)? {
            Step::Bytes => assert!(out.len() - before <= 2 * PIECE as usize, "memory is bounded"),
            Step::Pixels => out.extend(b"PIXELS"),
            Step::End => return Ok(out),
        }
    }
}

fn converted(bytes: &[u8], from: Encoding, to: Target) -> Result<Vec<u8>, Error> {
    changed(bytes, from, to, Changes { elements: Vec::new(), pixels: AS_STORED })
}

fn to_explicit(bytes: &[u8], from: Encoding) -> Vec<u8> {
    converted(bytes, from, Target::ExplicitVrLittleEndian).unwrap()
}

fn to_implicit(bytes: &[u8], from: Encoding) -> Vec<u8> {
    converted(bytes, from, Target::ImplicitVrLittleEndian).unwrap()
}

fn scanned(bytes: &[u8], encoding: Encoding) -> Result<Scan, Error> {
    prescan::scan(Cursor::new(bytes), bytes.len() as u64, encoding, &Limits::default())
}

/// An element in explicit VR big endian.
fn big(tag: Tag, vr: &str, value: &[u8]) -> Vec<u8> {
    let mut bytes = [tag.group().to_be_bytes(), tag.element().to_be_bytes()].concat();
    bytes.extend(vr.as_bytes());
    if matches!(vr, "OB" | "OD" | "OF" | "OL" | "OV" | "OW" | "SQ" | "SV" | "UN" | "UV") {
        bytes.extend([0, 0]);
        bytes.extend((value.len() as u32).to_be_bytes());
    } else {
        bytes.extend((value.len() as u16).to_be_bytes());
    }
    bytes.extend(value);
    bytes
}

#[test]
fn representations_come_from_the_dictionary_and_go_with_implicit() {
    let cases: [(Tag, &str, &[u8]); 5] = [
        (tags::MODALITY, "CS", b"CT"),
        (tags::PATIENT_NAME, "PN", b"Doe^Jane"),
        (tags::ROWS, "US", &[0, 2]),
        (Tag(0x0029, 0x0010), "LO", b"ACME"),
        (PRIVATE, "UN", &[1, 2, 3, 4]),
    ];
    for (tag, vr, value) in cases {
        assert_eq!(to_explicit(&implicit(tag, value), IMPLICIT), explicit(tag, vr, value), "{tag}");
        assert_eq!(to_implicit(&explicit(tag, vr, value), EXPLICIT), implicit(tag, value), "{tag}");
    }
}

#[test]
fn us_or_ss_follows_pixel_representation_also_in_sequences() {
    for (signed, vr) in [(0, "US"), (1, "SS")] {
        let padding = |write: &Write| {
            let lut = write(tags::LUT_DESCRIPTOR, vr, &[0, 1, 0, 0, 16, 0]);
            [
                write(tags::PIXEL_REPRESENTATION, "US", &[signed, 0]),
                write(tags::PIXEL_PADDING_VALUE, vr, &[1, 0]),
                open_sequence_of(write, tags::MODALITY_LUT_SEQUENCE, &open_item(&lut)),
            ]
            .concat()
        };
        let bare = padding(&|tag, _, value| implicit(tag, value));
        assert_eq!(to_explicit(&bare, IMPLICIT), padding(&explicit), "Pixel Representation {signed}");
    }
}

fn open_sequence_of(write: &Write, tag: Tag, items: &[u8]) -> Vec<u8> {
    // In implicit VR the eight bytes of the header hold no VR.
    if write(tag, "SQ", &[]).len() == 8 {
        let mut bytes = implicit(tag, &[]);
        bytes[4..].fill(0xFF);
        [bytes, items.to_vec(), SEQUENCE_END.to_vec()].concat()
    } else {
        open_sequence(tag, "SQ", items)
    }
}

#[test]
fn sequences_of_every_kind_are_written_with_delimiters() {
    let step = explicit(STEP_ID, "SH", b"S1");
    let expected = open_sequence(REQUEST, "SQ", &[open_item(&step), open_item(&[])].concat());
    for sequence in [
        explicit(REQUEST, "SQ", &[item(&step), item(&[])].concat()),
        explicit(REQUEST, "SQ", &[open_item(&step), open_item(&[])].concat()),
        open_sequence(REQUEST, "SQ", &[item(&step), item(&[])].concat()),
        expected.clone(),
        // Its delimiter is missing, and the data set ends.
        expected[..expected.len() - 8].to_vec(),
    ] {
        assert_eq!(to_explicit(&sequence, EXPLICIT), expected, "{sequence:x?}");
    }
}

#[test]
fn what_is_unknown_and_of_undefined_length_is_an_implicit_sequence() {
    let inside = open_item(&implicit(STEP_ID, b"S1"));
    let expected = open_sequence(PRIVATE, "SQ", &open_item(&explicit(STEP_ID, "SH", b"S1")));
    assert_eq!(to_explicit(&open_sequence(PRIVATE, "UN", &inside), EXPLICIT), expected);
    let kept = explicit(PRIVATE, "UN", &item(&implicit(STEP_ID, b"S1")));
    assert_eq!(to_explicit(&kept, EXPLICIT), kept);
}

#[test]
fn big_endian_values_are_turned_by_their_representation() {
    let eight = [1, 2, 3, 4, 5, 6, 7, 8];
    let cases = [
        (tags::PATIENT_NAME, "PN", eight),
        (PRIVATE, "OB", eight),
        (PRIVATE, "UN", eight),
        (PRIVATE, "AT", [2, 1, 4, 3, 6, 5, 8, 7]),
        (PRIVATE, "US", [2, 1, 4, 3, 6, 5, 8, 7]),
        (PRIVATE, "SS", [2, 1, 4, 3, 6, 5, 8, 7]),
        (PRIVATE, "OW", [2, 1, 4, 3, 6, 5, 8, 7]),
        (PRIVATE, "UL", [4, 3, 2, 1, 8, 7, 6, 5]),
        (PRIVATE, "SL", [4, 3, 2, 1, 8, 7, 6, 5]),
        (PRIVATE, "FL", [4, 3, 2, 1, 8, 7, 6, 5]),
        (PRIVATE, "OL", [4, 3, 2, 1, 8, 7, 6, 5]),
        (PRIVATE, "OF", [4, 3, 2, 1, 8, 7, 6, 5]),
        (PRIVATE, "FD", [8, 7, 6, 5, 4, 3, 2, 1]),
        (PRIVATE, "OD", [8, 7, 6, 5, 4, 3, 2, 1]),
        (PRIVATE, "OV", [8, 7, 6, 5, 4, 3, 2, 1]),
        (PRIVATE, "SV", [8, 7, 6, 5, 4, 3, 2, 1]),
        (PRIVATE, "UV", [8, 7, 6, 5, 4, 3, 2, 1]),
    ];
    for (tag, vr, turned) in cases {
        let expected = implicit(tag, &turned);
        assert_eq!(to_implicit(&big(tag, vr, &eight), BIG), expected, "{vr}");
        let items = [vec![0xFF, 0xFE, 0xE0, 0x00, 0xFF, 0xFF, 0xFF, 0xFF], big(tag, vr, &eight)].concat();
        let nested = big(REQUEST, "SQ", &items);
        let expected =
            open_sequence_of(&|tag, _, value| implicit(tag, value), REQUEST, &open_item(&expected));
        assert_eq!(to_implicit(&nested, BIG), expected, "{vr} in a sequence");
    }
    // A value that is no whole number of numbers keeps its rest.
    assert_eq!(to_implicit(&big(PRIVATE, "US", &[1, 2, 3]), BIG), implicit(PRIVATE, &[2, 1, 3, 0]));
}

#[test]
fn a_long_value_is_turned_in_pieces_and_comes_out_whole() {
    let words: Vec<u8> = (0..3 * PIECE + 2).map(|at| (at / 2 % 251) as u8 + (at % 2) as u8).collect();
    let turned: Vec<u8> = words.chunks_exact(2).flat_map(|pair| [pair[1], pair[0]]).collect();
    assert_eq!(to_implicit(&big(PRIVATE, "OW", &words), BIG), implicit(PRIVATE, &turned));
}

#[test]
fn values_too_long_for_their_length_field_become_unknown() {
    let tag = tags::STUDY_DESCRIPTION;
    for (length, vr) in [(65_534, "LO"), (65_535, "UN"), (70_000, "UN")] {
        let mut value = vec![b'x'; length];
        let bytes = implicit(tag, &value);
        value.resize(length.next_multiple_of(2), b' ');
        assert_eq!(to_explicit(&bytes, IMPLICIT), explicit(tag, vr, &value), "{length} bytes");
    }
}

#[test]
fn odd_lengths_are_padded_as_their_representation_wants() {
    for (tag, vr, padding) in [
        (tags::STUDY_ID, "SH", b' '),
        (tags::STUDY_INSTANCE_UID, "UI", 0),
        (PRIVATE, "OB", 0),
        (PRIVATE, "UN", 0),
    ] {
        let expected = explicit(tag, vr, &[b'1', b'2', b'3', padding]);
        assert_eq!(to_explicit(&explicit(tag, vr, b"123"), EXPLICIT), expected, "{vr}");
    }
}

#[test]
fn group_lengths_padding_and_what_is_not_of_a_data_set_are_left_out() {
    let modality = explicit(tags::MODALITY, "CS", b"CT");
    let bytes = [
        explicit(tags::TRANSFER_SYNTAX_UID, "UI", b"1.2\0"),
        explicit(Tag(0x0008, 0x0000), "UL", &[10, 0, 0, 0]),
        modality.clone(),
        explicit(Tag(0x0029, 0x0000), "UL", &[0; 4]),
        open_sequence(Tag(0x0029, 0x0000), "UN", &open_item(&implicit(STEP_ID, b"S1"))),
        explicit(tags::DATA_SET_TRAILING_PADDING, "OB", &[0; 6]),
        vec![0; 700],
    ]
    .concat();
    assert_eq!(to_explicit(&bytes, EXPLICIT), modality);
}

#[test]
fn deflated_data_sets_are_inflated() {
    let bytes = [explicit(tags::MODALITY, "CS", b"CT"), explicit(PRIVATE, "OB", &[7; 100_000])].concat();
    assert_eq!(to_explicit(&deflated(&bytes), Encoding::Deflated), bytes);
}

#[test]
fn new_elements_stand_where_their_tags_belong() {
    let bytes = [explicit(tags::ROWS, "US", &[1, 0]), explicit(tags::BITS_ALLOCATED, "US", &[8, 0])].concat();
    let put = |tag, value: u8| Element { tag, vr: VR::US, value: Value::Bytes(vec![value, 0]) };
    let elements =
        vec![put(tags::WINDOW_CENTER, 5), put(tags::BITS_ALLOCATED, 16), put(tags::SAMPLES_PER_PIXEL, 3)];
    let changes = Changes { elements, pixels: AS_STORED };
    let expected = [
        explicit(tags::SAMPLES_PER_PIXEL, "US", &[3, 0]),
        explicit(tags::ROWS, "US", &[1, 0]),
        explicit(tags::BITS_ALLOCATED, "US", &[16, 0]),
        explicit(tags::WINDOW_CENTER, "US", &[5, 0]),
    ]
    .concat();
    assert_eq!(changed(&bytes, EXPLICIT, Target::ExplicitVrLittleEndian, changes).unwrap(), expected);
}

#[test]
fn the_callers_pixels_stand_where_the_fragments_were() {
    let fragments = [item(&[]), item(&[1; 20]), item(&[2; 30])].concat();
    let trailing = explicit(PRIVATE_LAST, "LO", b"end ");
    let bytes = [
        explicit(tags::EXTENDED_OFFSET_TABLE, "OV", &[0; 8]),
        explicit(tags::EXTENDED_OFFSET_TABLE_LENGTHS, "OV", &[0; 8]),
        open_sequence(tags::PIXEL_DATA, "OB", &fragments),
        trailing.clone(),
    ]
    .concat();
    let pixels = Pixels::Decoded { tag: tags::PIXEL_DATA, vr: VR::OW, length: 6 };
    let changes = Changes { elements: Vec::new(), pixels };
    let expected = [explicit(tags::PIXEL_DATA, "OW", b"PIXELS"), trailing].concat();
    assert_eq!(changed(&bytes, EXPLICIT, Target::ExplicitVrLittleEndian, changes).unwrap(), expected);
}

const PRIVATE_LAST: Tag = Tag(0x7FE1, 0x0010);

#[test]
fn a_compressed_icon_is_left_out_and_a_native_one_is_kept() {
    let rows = explicit(tags::ROWS, "US", &[1, 0]);
    let modality = explicit(tags::MODALITY, "CS", b"CT");
    let native = [rows.clone(), explicit(tags::PIXEL_DATA, "OB", &[1, 2])].concat();
    let compressed =
        [rows, open_sequence(tags::PIXEL_DATA, "OB", &[item(&[]), item(&[1; 4])].concat())].concat();
    for (icon, kept) in [(native, true), (compressed, false)] {
        let icon = open_sequence(tags::ICON_IMAGE_SEQUENCE, "SQ", &open_item(&icon));
        let nested = open_sequence(REQUEST, "SQ", &open_item(&icon));
        let expected = match kept {
            true => [modality.clone(), icon.clone(), nested.clone()].concat(),
            false => [modality.clone(), open_sequence(REQUEST, "SQ", &open_item(&[]))].concat(),
        };
        let bytes = [modality.clone(), icon, nested].concat();
        assert_eq!(to_explicit(&bytes, EXPLICIT), expected);
        let survey = survey(Cursor::new(bytes.clone()), bytes.len() as u64, EXPLICIT).unwrap();
        assert_eq!((survey.compressed, survey.damaged), (if kept { 0 } else { 2 }, 0));
    }
}

#[test]
fn a_sequence_that_contradicts_itself_ends_before_its_mistake() {
    let step = explicit(STEP_ID, "SH", b"S1");
    let lie = lying(PRIVATE, "OB", 5000, &[1, 2, 3]);
    let after = explicit(tags::PATIENT_ID, "LO", b"4711");
    let bytes = [explicit(REQUEST, "SQ", &item(&[step.clone(), lie].concat())), after.clone()].concat();
    let expected = [open_sequence(REQUEST, "SQ", &open_item(&step)), after].concat();
    assert_eq!(to_explicit(&bytes, EXPLICIT), expected);
    assert_eq!(survey(Cursor::new(bytes.clone()), bytes.len() as u64, EXPLICIT).unwrap().damaged, 1);
}

#[test]
fn lengths_that_lie_and_nesting_without_end_are_errors() {
    let lie = lying(tags::PIXEL_DATA, "OB", 0xFFFF_FFF0, &[1, 2, 3]);
    let mut deep = Vec::new();
    for _ in 0..100_000 {
        deep.extend(lying(REQUEST, "SQ", UNDEFINED, &[]));
        deep.extend([0xFE, 0xFF, 0x00, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF]);
    }
    for (target, _) in TARGETS {
        let err = converted(&lie, EXPLICIT, target).unwrap_err();
        assert_eq!(err.to_string(), "Pixel Data (7FE0,0010) declares 4294967280 bytes, but only 3 follow");
        assert!(matches!(converted(&deep, EXPLICIT, target), Err(Error::TooDeep { .. })));
    }
}

/// A data set with a little of everything.
fn sample() -> Vec<u8> {
    let step = explicit(STEP_ID, "SH", b"S1");
    let icon = [explicit(tags::ROWS, "US", &[1, 0]), explicit(tags::PIXEL_DATA, "OB", &[1, 2])].concat();
    [
        explicit(tags::MODALITY, "CS", b"CT"),
        explicit(tags::PATIENT_NAME, "PN", b"Doe^Jane"),
        explicit(tags::PIXEL_REPRESENTATION, "US", &[1, 0]),
        explicit(tags::PIXEL_PADDING_VALUE, "SS", &[0xFF, 0xFF]),
        explicit(PRIVATE, "FD", &1.5_f64.to_le_bytes()),
        explicit(REQUEST, "SQ", &[item(&step), open_item(&step)].concat()),
        open_sequence(tags::ICON_IMAGE_SEQUENCE, "SQ", &item(&icon)),
        open_sequence(Tag(0x0091, 0x1010), "UN", &open_item(&implicit(STEP_ID, b"S1"))),
        explicit(tags::PIXEL_DATA, "OW", &[3; 64]),
    ]
    .concat()
}

/// Tags and values, and those of items; representations change on the way through implicit VR.
fn values(data_set: &DataSet) -> Vec<(Tag, Vec<u8>, Vec<String>)> {
    let value = |element: &Element| match &element.value {
        Value::Bytes(bytes) => (element.tag, bytes.clone(), Vec::new()),
        Value::Sequence(items) => {
            (element.tag, Vec::new(), items.iter().map(|item| format!("{:?}", values(item))).collect())
        }
        Value::Omitted { length } => (element.tag, length.to_le_bytes().to_vec(), Vec::new()),
    };
    data_set.elements().iter().map(value).collect()
}

#[test]
fn explicit_to_implicit_and_back_keeps_every_value() {
    let original = scanned(&sample(), EXPLICIT).unwrap().data_set;
    let implicit = to_implicit(&sample(), EXPLICIT);
    assert_eq!(values(&scanned(&implicit, IMPLICIT).unwrap().data_set), values(&original));
    let back = to_explicit(&implicit, IMPLICIT);
    assert_eq!(values(&scanned(&back, EXPLICIT).unwrap().data_set), values(&original));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn values_of_any_kind_and_length_are_kept_there_and_back(
        elements in prop::collection::vec((0..7_usize, prop::collection::vec(any::<u8>(), 0..300)), 0..12),
        nest in 0..4_usize,
    ) {
        const VRS: [&str; 7] = ["LO", "UI", "US", "FD", "OB", "OW", "UN"];
        let mut bytes = Vec::new();
        for (at, (vr, value)) in elements.into_iter().enumerate() {
            bytes.extend(explicit(Tag(0x0029, 0x1000 + at as u16), VRS[vr], &value));
        }
        for _ in 0..nest {
            bytes = explicit(REQUEST, "SQ", &[item(&bytes), item(&[])].concat());
        }
        let there = converted(&bytes, EXPLICIT, Target::ImplicitVrLittleEndian).unwrap();
        let back = to_explicit(&there, IMPLICIT);
        prop_assert_eq!(to_implicit(&back, EXPLICIT), there);
    }

    #[test]
    fn a_damaged_data_set_becomes_one_that_can_be_read_or_an_error(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
        from in prop::sample::select(vec![EXPLICIT, IMPLICIT, BIG, Encoding::Deflated]),
    ) {
        let mut bytes = sample();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.index(bytes.len() * 2));
        if from == Encoding::Deflated {
            bytes = deflated(&bytes);
        }
        for (target, encoding) in TARGETS {
            if let Ok(out) = converted(&bytes, from, target) {
                prop_assert!(scanned(&out, encoding).is_ok(), "{out:x?}");
            }
        }
    }

    #[test]
    fn any_bytes_end_in_a_result(bytes in prop::collection::vec(any::<u8>(), 0..2000), from in prop::sample::select(vec![EXPLICIT, IMPLICIT, BIG])) {
        for (target, _) in TARGETS {
            if let Ok(out) = converted(&bytes, from, target) {
                prop_assert!(out.len() <= 2 * bytes.len() + 64);
            }
        }
    }
}
