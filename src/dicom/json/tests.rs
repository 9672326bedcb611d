//! Data sets of every encoding as JSON, and their bulk data found again.

use std::io::{self, Cursor, Read, Seek, SeekFrom};

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use proptest::prelude::*;

use super::*;
use crate::dicom::fixtures::{
    SEQUENCE_END, deflated, explicit, implicit, item, lying, open_item, open_sequence,
};
use crate::dicom::prescan::{self, Fragment, Limits};

const EXPLICIT: Encoding = Encoding::ExplicitVrLittleEndian;
const PRIVATE: Tag = Tag(0x0029, 0x1010);

fn try_write(bytes: &[u8], encoding: Encoding, added: &[(Tag, String)]) -> Result<String, Error> {
    let mut out = b"[".to_vec();
    let uri = |path: &ElementPath| format!("bulk/{path}");
    let result = write(Cursor::new(bytes), bytes.len() as u64, encoding, added, uri, &mut out);
    let text = String::from_utf8(out.split_off(1)).expect("UTF-8");
    if result.is_err() {
        assert_eq!(text, "", "nothing is left of what failed");
    } else {
        serde_json::from_str::<serde_json::Value>(&text).unwrap_or_else(|err| panic!("{text}: {err}"));
    }
    result.map(|()| text)
}

fn json(bytes: &[u8], encoding: Encoding) -> String {
    try_write(bytes, encoding, &[]).expect("a data set")
}

fn found(bytes: &[u8], encoding: Encoding, path: &str) -> Option<BulkData> {
    bulk_data(Cursor::new(bytes), bytes.len() as u64, encoding, &path.parse().unwrap()).unwrap()
}

fn native(vr: VR, swapped: usize, offset: u64, length: u64) -> Option<BulkData> {
    Some(BulkData { vr, swapped, place: Place::Native { offset, length } })
}

/// The same element in both byte orders needs its header turned.
fn big_endian(tag: Tag, vr: &str, value: &[u8]) -> Vec<u8> {
    let mut bytes = [tag.group().to_be_bytes(), tag.element().to_be_bytes()].concat();
    bytes.extend(vr.as_bytes());
    if matches!(vr, "OB" | "OW" | "SQ" | "UN") {
        bytes.extend([0, 0]);
        bytes.extend((value.len() as u32).to_be_bytes());
    } else {
        bytes.extend((value.len() as u16).to_be_bytes());
    }
    bytes.extend(value);
    bytes
}

#[test]
fn an_empty_data_set_is_an_empty_object() {
    assert_eq!(json(b"", EXPLICIT), "{}");
}

#[test]
fn attributes_are_named_by_their_tags_and_say_their_vr() {
    let bytes = [
        explicit(tags::MODALITY, "CS", b"CT"),
        explicit(tags::PATIENT_NAME, "PN", b"Doe^Jane"),
        explicit(tags::PATIENT_ID, "LO", b""),
        explicit(tags::ROWS, "US", &[0, 2]),
        explicit(tags::PIXEL_SPACING, "DS", b"0.50\\0.5 "),
        explicit(PRIVATE, "OB", &[1, 2]),
    ]
    .concat();
    let expected = concat!(
        r#"{"00080060":{"vr":"CS","Value":["CT"]},"#,
        r#""00100010":{"vr":"PN","Value":[{"Alphabetic":"Doe^Jane"}]},"#,
        r#""00100020":{"vr":"LO"},"#,
        r#""00280010":{"vr":"US","Value":[512]},"#,
        r#""00280030":{"vr":"DS","Value":[0.50,0.5]},"#,
        r#""00291010":{"vr":"OB","InlineBinary":"AQI="}}"#,
    );
    assert_eq!(json(&bytes, EXPLICIT), expected);
    assert_eq!(json(&deflated(&bytes), Encoding::Deflated), expected);
}

#[test]
fn without_a_vr_the_dictionary_tells_and_private_elements_are_unknown() {
    let bytes = [
        implicit(tags::MODALITY, b"CT"),
        implicit(tags::PIXEL_REPRESENTATION, &[1, 0]),
        implicit(tags::SMALLEST_IMAGE_PIXEL_VALUE, &[0xFF, 0xFF]),
        implicit(Tag(0x0029, 0x0010), b"MINE"),
        implicit(PRIVATE, b"ab"),
    ]
    .concat();
    let expected = concat!(
        r#"{"00080060":{"vr":"CS","Value":["CT"]},"#,
        r#""00280103":{"vr":"US","Value":[1]},"#,
        r#""00280106":{"vr":"SS","Value":[-1]},"#,
        r#""00290010":{"vr":"LO","Value":["MINE"]},"#,
        r#""00291010":{"vr":"UN","InlineBinary":"YWI="}}"#,
    );
    assert_eq!(json(&bytes, Encoding::ImplicitVrLittleEndian), expected);
}

#[test]
fn big_endian_is_read_and_little_endian_written() {
    let bytes = [
        big_endian(tags::ROWS, "US", &[2, 0]),
        big_endian(PRIVATE, "OW", &[1, 2, 3, 4]),
        // UN is little endian everywhere, PS3.5 section 6.2.2.
        big_endian(tags::IMAGE_POSITION_PATIENT, "UN", b"1\\2\\3 "),
        big_endian(tags::PIXEL_DATA, "OW", &[0; 4]),
    ]
    .concat();
    let expected = concat!(
        r#"{"00200032":{"vr":"DS","Value":[1,2,3]},"#,
        r#""00280010":{"vr":"US","Value":[512]},"#,
        r#""00291010":{"vr":"OW","InlineBinary":"AgEEAw=="},"#,
        r#""7FE00010":{"vr":"OW","BulkDataURI":"bulk/7FE00010"}}"#,
    );
    assert_eq!(json(&bytes, Encoding::ExplicitVrBigEndian), expected);
    let pixels = bytes.len() as u64 - 4;
    assert_eq!(found(&bytes, Encoding::ExplicitVrBigEndian, "7FE00010"), native(VR::OW, 2, pixels, 4));
}

#[test]
fn sequences_are_arrays_of_objects() {
    let step = explicit(tags::SCHEDULED_PROCEDURE_STEP_ID, "SH", b"S1");
    let inner = explicit(
        tags::SCHEDULED_PROTOCOL_CODE_SEQUENCE,
        "SQ",
        &item(&explicit(tags::CODE_VALUE, "SH", b"T1")),
    );
    let items = [item(&step), item(b""), open_item(&inner)].concat();
    let value = concat!(
        r#"[{"00400009":{"vr":"SH","Value":["S1"]}},{},"#,
        r#"{"00400008":{"vr":"SQ","Value":[{"00080100":{"vr":"SH","Value":["T1"]}}]}}]"#,
    );
    let expected = format!(r#"{{"00400275":{{"vr":"SQ","Value":{value}}}}}"#);
    assert_eq!(json(&explicit(tags::REQUEST_ATTRIBUTES_SEQUENCE, "SQ", &items), EXPLICIT), expected);
    assert_eq!(json(&open_sequence(tags::REQUEST_ATTRIBUTES_SEQUENCE, "SQ", &items), EXPLICIT), expected);

    let after = explicit(PRIVATE, "LO", b"x ");
    for empty in [
        explicit(tags::REFERENCED_IMAGE_SEQUENCE, "SQ", b""),
        open_sequence(tags::REFERENCED_IMAGE_SEQUENCE, "SQ", b""),
    ] {
        assert_eq!(
            json(&[empty, after.clone()].concat(), EXPLICIT),
            r#"{"00081140":{"vr":"SQ"},"00291010":{"vr":"LO","Value":["x"]}}"#
        );
    }
}

#[test]
fn an_unknown_vr_is_what_the_dictionary_knows() {
    let code = implicit(tags::CODE_VALUE, b"T1");
    let bytes = [
        explicit(tags::REFERENCED_IMAGE_SEQUENCE, "UN", b"no items"),
        explicit(tags::ROWS, "UN", &[0, 2]),
        explicit(PRIVATE, "UN", &[1]),
        open_sequence(Tag(0x0029, 0x1011), "UN", &item(&code)),
        explicit(tags::REQUEST_ATTRIBUTES_SEQUENCE, "UN", &item(&code)),
    ]
    .concat();
    let expected = concat!(
        r#"{"00081140":{"vr":"UN","InlineBinary":"bm8gaXRlbXM="},"#,
        r#""00280010":{"vr":"US","Value":[512]},"#,
        r#""00291010":{"vr":"UN","InlineBinary":"AQ=="},"#,
        r#""00291011":{"vr":"SQ","Value":[{"00080100":{"vr":"SH","Value":["T1"]}}]},"#,
        r#""00400275":{"vr":"SQ","Value":[{"00080100":{"vr":"SH","Value":["T1"]}}]}}"#,
    );
    assert_eq!(json(&bytes, EXPLICIT), expected);
}

#[test]
fn group_lengths_file_meta_information_and_commands_are_left_out() {
    let hidden = explicit(Tag(0x0009, 0x0000), "SQ", &item(&explicit(tags::MODALITY, "CS", b"CT")));
    let items =
        item(&[explicit(Tag(0x0010, 0), "UL", &[0; 4]), explicit(tags::PATIENT_ID, "LO", b"1 ")].concat());
    let bytes = [
        explicit(tags::TRANSFER_SYNTAX_UID, "UI", b"1.2\0"),
        explicit(Tag(0x0008, 0), "UL", &[0; 4]),
        explicit(tags::MODALITY, "CS", b"MR"),
        hidden,
        open_sequence(Tag(0x0009, 0x0000), "UN", &item(&implicit(tags::MODALITY, b"CT"))),
        lying(Tag(0x0029, 0x0000), "OB", 0xFFFF_FFFF, &[item(b"ab"), SEQUENCE_END.to_vec()].concat()),
        explicit(tags::REFERENCED_PATIENT_SEQUENCE, "SQ", &items),
        explicit(tags::DATA_SET_TRAILING_PADDING, "OB", &[0; 2]),
    ]
    .concat();
    let expected = concat!(
        r#"{"00080060":{"vr":"CS","Value":["MR"]},"#,
        r#""00081120":{"vr":"SQ","Value":[{"00100020":{"vr":"LO","Value":["1"]}}]},"#,
        r#""FFFCFFFC":{"vr":"OB","InlineBinary":"AAA="}}"#,
    );
    assert_eq!(json(&bytes, EXPLICIT), expected);
    assert_eq!(found(&bytes, EXPLICIT, "00290000"), None);
    assert_eq!(found(&bytes, EXPLICIT, "00090000/1/00080060"), None);
}

#[test]
fn added_attributes_stand_in_their_places_and_replace_what_was_there() {
    let bytes = [
        explicit(tags::MODALITY, "CS", b"CT"),
        explicit(tags::AVAILABLE_TRANSFER_SYNTAX_UID, "UI", b"9.9\0"),
        explicit(tags::PATIENT_ID, "LO", b"1 "),
        explicit(tags::REQUEST_ATTRIBUTES_SEQUENCE, "SQ", &item(&explicit(PRIVATE, "LO", b"x "))),
    ]
    .concat();
    let added = [
        (tags::NUMBER_OF_SERIES_RELATED_INSTANCES, "12".to_owned()),
        (tags::AVAILABLE_TRANSFER_SYNTAX_UID, "1.2\\1.3".to_owned()),
        (tags::RETRIEVE_URL, "http://é/a\\b".to_owned()),
        (tags::REQUEST_ATTRIBUTES_SEQUENCE, String::new()),
        (tags::ROWS, "512".to_owned()),
    ];
    let expected = concat!(
        r#"{"00080060":{"vr":"CS","Value":["CT"]},"#,
        r#""00081190":{"vr":"UR","Value":["http://é/a\\b"]},"#,
        r#""00083002":{"vr":"UI","Value":["1.2","1.3"]},"#,
        r#""00100020":{"vr":"LO","Value":["1"]},"#,
        r#""00201209":{"vr":"IS","Value":[12]},"#,
        r#""00280010":{"vr":"US","Value":[512]},"#,
        r#""00400275":{"vr":"SQ"}}"#,
    );
    assert_eq!(try_write(&bytes, EXPLICIT, &added).unwrap(), expected);
}

#[test]
fn each_item_has_its_character_set_and_the_text_is_utf8() {
    let greek = [
        explicit(tags::SPECIFIC_CHARACTER_SET, "CS", b"ISO_IR 126"),
        explicit(tags::PATIENT_ID, "LO", &[0xE1, b' ']),
    ]
    .concat();
    let items = [item(&greek), item(&explicit(tags::PATIENT_ID, "LO", &[0xE9, b' ']))].concat();
    let bytes = [
        explicit(tags::SPECIFIC_CHARACTER_SET, "CS", b"ISO_IR 100"),
        explicit(tags::REFERENCED_PATIENT_SEQUENCE, "SQ", &items),
        explicit(tags::PATIENT_ID, "LO", &[0xE9, b' ']),
    ]
    .concat();
    let expected = concat!(
        r#"{"00080005":{"vr":"CS","Value":["ISO_IR 192"]},"#,
        r#""00081120":{"vr":"SQ","Value":[{"00080005":{"vr":"CS","Value":["ISO_IR 192"]},"#,
        r#""00100020":{"vr":"LO","Value":["α"]}},{"00100020":{"vr":"LO","Value":["é"]}}]},"#,
        r#""00100020":{"vr":"LO","Value":["é"]}}"#,
    );
    assert_eq!(json(&bytes, EXPLICIT), expected);
    let empty = explicit(tags::SPECIFIC_CHARACTER_SET, "CS", b"");
    assert_eq!(json(&empty, EXPLICIT), r#"{"00080005":{"vr":"CS"}}"#);
}

#[test]
fn long_binary_values_are_bulk_data_and_are_found_again() {
    let document = vec![7; 1025];
    let short = vec![7; 1024];
    let steps = [
        item(&explicit(tags::SCHEDULED_PROCEDURE_STEP_ID, "SH", b"S1")),
        open_item(
            &[
                explicit(tags::ENCAPSULATED_DOCUMENT, "OB", &document),
                explicit(tags::MIME_TYPE_OF_ENCAPSULATED_DOCUMENT, "LO", b"a "),
            ]
            .concat(),
        ),
    ]
    .concat();
    let bytes = [
        explicit(PRIVATE, "UN", &document),
        explicit(Tag(0x0029, 0x1011), "OW", &short),
        explicit(Tag(0x0029, 0x1012), "UT", &[b'x'; 2000]),
        explicit(tags::REQUEST_ATTRIBUTES_SEQUENCE, "SQ", &steps),
    ]
    .concat();
    let text = json(&bytes, EXPLICIT);
    let uris: Vec<&str> =
        text.split("\"BulkDataURI\":\"bulk/").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(uris, ["00291010", "00400275/2/00420011"]);
    for (path, vr) in [("00291010", VR::UN), ("00400275/2/00420011", VR::OB)] {
        let Some(BulkData { vr: has, swapped: 1, place: Place::Native { offset, length: 1025 } }) =
            found(&bytes, EXPLICIT, path)
        else {
            panic!("{path}")
        };
        let from = usize::try_from(offset).unwrap();
        assert_eq!((has, &bytes[from..from + 1025]), (vr, &document[..]));
        assert_eq!(
            found(&deflated(&bytes), Encoding::Deflated, path),
            native(vr, 1, offset, 1025),
            "counted in what was inflated"
        );
    }
    for nowhere in [
        "00400275",
        "00400275/1/00420011",
        "00400275/3/00420011",
        "00420011",
        "00400275/2/00400275/1/00420011",
    ] {
        assert_eq!(found(&bytes, EXPLICIT, nowhere), None, "{nowhere}");
    }
}

#[test]
fn pixel_data_is_bulk_data_whatever_its_length() {
    let pixels = explicit(tags::PIXEL_DATA, "OW", &[1, 2]);
    assert_eq!(json(&pixels, EXPLICIT), r#"{"7FE00010":{"vr":"OW","BulkDataURI":"bulk/7FE00010"}}"#);
    assert_eq!(found(&pixels, EXPLICIT, "7FE00010"), native(VR::OW, 1, 12, 2));
    let none = explicit(tags::PIXEL_DATA, "OW", b"");
    assert_eq!(json(&none, EXPLICIT), r#"{"7FE00010":{"vr":"OW"}}"#);

    let undeclared = [implicit(tags::PIXEL_DATA, b""), item(b""), SEQUENCE_END.to_vec()].concat();
    let undeclared = [&undeclared[..4], &[0xFF; 4], &undeclared[8..]].concat();
    assert_eq!(
        json(&undeclared, Encoding::ImplicitVrLittleEndian),
        r#"{"7FE00010":{"vr":"OB","BulkDataURI":"bulk/7FE00010"}}"#
    );

    let fragments = [item(&[0; 4]), item(b"abcd"), item(b"efghij"), SEQUENCE_END.to_vec()].concat();
    let encapsulated = lying(tags::PIXEL_DATA, "OB", 0xFFFF_FFFF, &fragments);
    let icon = explicit(tags::ICON_IMAGE_SEQUENCE, "SQ", &item(&encapsulated));
    let bytes = [icon, encapsulated, explicit(tags::DATA_SET_TRAILING_PADDING, "OB", &[0; 2])].concat();
    let expected = concat!(
        r#"{"00880200":{"vr":"SQ","Value":[{"7FE00010":{"vr":"OB","BulkDataURI":"bulk/00880200/1/7FE00010"}}]},"#,
        r#""7FE00010":{"vr":"OB","BulkDataURI":"bulk/7FE00010"},"#,
        r#""FFFCFFFC":{"vr":"OB","InlineBinary":"AAA="}}"#,
    );
    assert_eq!(json(&bytes, EXPLICIT), expected);
    for (path, start) in [("00880200/1/7FE00010", 12 + 8), ("7FE00010", 12 + 8 + 12 + fragments.len() as u64)]
    {
        let at = |offset, length| Fragment { offset: start + 12 + offset, length };
        let place = Place::Encapsulated(vec![at(8, 4), at(20, 4), at(32, 6)]);
        assert_eq!(found(&bytes, EXPLICIT, path), Some(BulkData { vr: VR::OB, swapped: 1, place }), "{path}");
    }
}

/// A source that counts what is read of it.
struct Counted<R>(R, u64);

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(into)?;
        self.1 += count as u64;
        Ok(count)
    }
}

impl<R: Seek> Seek for Counted<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

#[test]
fn bulk_data_is_not_read() {
    let megabytes = vec![0; 8 << 20];
    let bytes = [
        explicit(tags::MODALITY, "CS", b"CT"),
        explicit(PRIVATE, "OB", &megabytes),
        explicit(Tag(0x0029, 0x1011), "UT", &megabytes),
        explicit(tags::PIXEL_DATA, "OW", &megabytes),
    ]
    .concat();
    let mut source = Counted(Cursor::new(&bytes), 0);
    let mut out = Vec::new();
    write(&mut source, bytes.len() as u64, EXPLICIT, &[], |_| "x".to_owned(), &mut out).unwrap();
    assert_eq!(out.split(|&byte| byte == b'{').count() - 1, 5, "{}", String::from_utf8_lossy(&out));
    assert!(source.1 < 100_000, "{} bytes are read", source.1);
}

#[test]
fn elements_in_disorder_are_put_in_order_and_the_first_of_two_stays() {
    let bytes = [
        explicit(tags::PATIENT_ID, "LO", b"1 "),
        explicit(tags::MODALITY, "CS", b"CT"),
        explicit(tags::PATIENT_ID, "LO", b"2 "),
    ]
    .concat();
    let added = [(tags::RETRIEVE_URL, "u".to_owned())];
    let expected = concat!(
        r#"{"00080060":{"vr":"CS","Value":["CT"]},"#,
        r#""00081190":{"vr":"UR","Value":["u"]},"#,
        r#""00100020":{"vr":"LO","Value":["1"]}}"#,
    );
    assert_eq!(try_write(&bytes, EXPLICIT, &added).unwrap(), expected);
}

#[test]
fn a_sequence_that_contradicts_itself_ends_there_and_nothing_else_does() {
    let good = item(&explicit(tags::CODE_VALUE, "SH", b"T1"));
    let bad = item(&[explicit(tags::CODE_MEANING, "LO", b"ok"), lying(PRIVATE, "OB", 5000, b"")].concat());
    let inner = open_sequence(tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE, "SQ", &[&good[..], &bad].concat());
    let bytes = [
        explicit(tags::REFERENCED_IMAGE_SEQUENCE, "SQ", &item(&inner)),
        explicit(tags::PATIENT_ID, "LO", b"1 "),
    ]
    .concat();
    let expected = concat!(
        r#"{"00081140":{"vr":"SQ","Value":[{"0040A170":{"vr":"SQ","Value":["#,
        r#"{"00080100":{"vr":"SH","Value":["T1"]}},{"00080104":{"vr":"LO","Value":["ok"]}}]}}]},"#,
        r#""00100020":{"vr":"LO","Value":["1"]}}"#,
    );
    assert_eq!(json(&bytes, EXPLICIT), expected);
    assert_eq!(json(&deflated(&bytes), Encoding::Deflated), expected);
    let at = bytes.len() as u64 - 2;
    assert_eq!(found(&bytes, EXPLICIT, "00100020"), native(VR::LO, 1, at, 2));
}

#[test]
fn a_data_set_that_cannot_be_followed_leaves_nothing() {
    let cut = [explicit(tags::MODALITY, "CS", b"CT"), lying(PRIVATE, "OB", 500, b"x")].concat();
    assert!(matches!(try_write(&cut, EXPLICIT, &[]), Err(Error::LengthBeyondEnd { .. })));
    let stump = [explicit(tags::PIXEL_DATA, "OW", &[1, 2]), vec![0xFC, 0xFF]].concat();
    assert_eq!(json(&stump, EXPLICIT), r#"{"7FE00010":{"vr":"OW","BulkDataURI":"bulk/7FE00010"}}"#);
    let mut deep = Vec::new();
    for _ in 0..=prescan::MAX_DEPTH {
        deep = open_sequence(tags::REFERENCED_IMAGE_SEQUENCE, "SQ", &open_item(&deep));
    }
    assert!(matches!(try_write(&deep, EXPLICIT, &[]), Err(Error::TooDeep { .. })));
}

#[test]
fn a_text_that_grows_without_end_is_refused() {
    // Of one byte in the file six in the text.
    let bytes = explicit(PRIVATE, "UT", &[1; 1000]);
    let within = |limit| {
        let mut out = Vec::new();
        let source = Cursor::new(&bytes);
        write_within(limit, source, bytes.len() as u64, EXPLICIT, &[], |_| String::new(), &mut out)
    };
    assert!(within(6100).is_ok());
    assert!(matches!(within(6000), Err(Error::TooLarge { limit: 6000 })));
}

fn any_part() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        (
            prop::sample::select(vec![
                tags::MODALITY,
                tags::ROWS,
                PRIVATE,
                tags::PIXEL_DATA,
                tags::CODE_VALUE
            ]),
            prop::sample::select(vec!["CS", "US", "DS", "PN", "UN", "OB", "OW", "FD", "AT", "zz"]),
            prop::collection::vec(any::<u8>(), 0..12)
        )
            .prop_map(|(tag, vr, value)| explicit(tag, vr, &value)),
        prop::collection::vec(any::<u8>(), 0..12),
        Just(SEQUENCE_END.to_vec()),
    ];
    leaf.prop_recursive(4, 40, 4, |inner| {
        let items = prop::collection::vec(inner, 0..4).prop_map(|parts| parts.concat());
        prop_oneof![
            items.clone().prop_map(|bytes| item(&bytes)),
            items.clone().prop_map(|bytes| open_item(&bytes)),
            items.clone().prop_map(|bytes| open_sequence(tags::REFERENCED_IMAGE_SEQUENCE, "SQ", &bytes)),
            items.clone().prop_map(|bytes| explicit(tags::REQUEST_ATTRIBUTES_SEQUENCE, "UN", &bytes)),
            items.prop_map(|bytes| lying(PRIVATE, "OB", 0xFFFF_FFFF, &bytes)),
        ]
    })
}

proptest! {
    /// What the scan of received bytes lets through is JSON, and every address in it leads to a value.
    #[test]
    fn whatever_can_be_scanned_can_be_written(
        parts in prop::collection::vec(any_part(), 0..6),
        encoding in prop::sample::select(vec![EXPLICIT, Encoding::ImplicitVrLittleEndian, Encoding::ExplicitVrBigEndian]),
    ) {
        let bytes = parts.concat();
        let scanned = prescan::scan(Cursor::new(&bytes), bytes.len() as u64, encoding, &Limits::default());
        let written = try_write(&bytes, encoding, &[]);
        if scanned.is_ok() {
            let text = written.unwrap();
            for rest in text.split("\"BulkDataURI\":\"bulk/").skip(1) {
                let path = rest.split('"').next().unwrap();
                prop_assert!(found(&bytes, encoding, path).is_some(), "{} in {}", path, text);
            }
        }
    }
}
