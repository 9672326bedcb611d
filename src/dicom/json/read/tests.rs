//! Objects as data sets, and back.

use std::io::Cursor;

use dicom_core::VR;
use dicom_dictionary_std::tags;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::dicom::fixtures::{SEQUENCE_END, explicit, lying, open_item, open_sequence};
use crate::dicom::json;
use crate::dicom::prescan::Encoding;

/// The data set of an object without bulk data.
fn bytes(object: &Value) -> Vec<u8> {
    let plan = plan(object).unwrap_or_else(|err| panic!("{object}: {err}"));
    match plan.pieces.as_slice() {
        [] => Vec::new(),
        [Piece::Bytes(bytes)] => bytes.clone(),
        pieces => panic!("{object}: {pieces:?}"),
    }
}

fn refused(object: &Value) -> String {
    plan(object).expect_err(&object.to_string()).to_string()
}

/// The value field of one private element.
fn value(vr: &str, values: Value) -> Vec<u8> {
    let all = bytes(&json!({ "00291010": { "vr": vr, "Value": values } }));
    let is_long = matches!(vr, "SV" | "UV" | "UC" | "UR" | "UT");
    assert_eq!(&all[4..6], vr.as_bytes());
    all[if is_long { 12 } else { 8 }..].to_vec()
}

fn why(vr: &str, content: &Value) -> String {
    let mut attribute = content.clone();
    attribute["vr"] = vr.into();
    refused(&json!({ "00291010": attribute }))
}

/// What our own writer makes of a data set.
fn again(data_set: &[u8]) -> Value {
    let mut out = Vec::new();
    let (source, length) = (Cursor::new(data_set), data_set.len() as u64);
    json::write(source, length, Encoding::ExplicitVrLittleEndian, &[], |path| path.to_string(), &mut out)
        .unwrap();
    serde_json::from_slice(&out).expect("JSON")
}

#[test]
fn elements_stand_in_ascending_order_with_their_padding() {
    let object = json!({
        "7fe00010": { "vr": "OW", "InlineBinary": "AQID" },
        "00100020": { "vr": "LO", "Value": ["odd"] },
        "0020000D": { "vr": "UI", "Value": ["1.2.3"] },
        "00080008": { "vr": "CS", "Value": ["A", null, "B"] },
        "00100010": { "vr": "PN" },
        "00100000": { "vr": "UL", "Value": [12] },
        "00083002": { "vr": "UI", "Value": ["1.2"] },
        "00081190": { "vr": "UR", "Value": ["http://x"] },
    });
    let mut expected = explicit(tags::IMAGE_TYPE, "CS", b"A\\\\B");
    expected.extend(lying(tags::RETRIEVE_URL, "UR", 8, b"http://x"));
    expected.extend(explicit(tags::AVAILABLE_TRANSFER_SYNTAX_UID, "UI", b"1.2\0"));
    expected.extend(explicit(tags::PATIENT_NAME, "PN", b""));
    expected.extend(explicit(tags::PATIENT_ID, "LO", b"odd "));
    expected.extend(explicit(tags::STUDY_INSTANCE_UID, "UI", b"1.2.3\0"));
    expected.extend(explicit(tags::PIXEL_DATA, "OW", &[1, 2, 3, 0]));
    assert_eq!(bytes(&object), expected);
    assert_eq!(plan(&json!({})).unwrap(), Plan::default());
}

#[test]
fn file_meta_information_is_taken_out() {
    let plan = plan(&json!({
        "00020001": { "vr": "OB", "InlineBinary": "AAE=" },
        "00020010": { "vr": "UI", "Value": ["1.2.840.10008.1.2.4.90"] },
        "00020016": { "vr": "AE", "Value": ["CT1"] },
        "00080060": { "vr": "CS", "Value": ["CT"] },
    }))
    .unwrap();
    assert_eq!(plan.transfer_syntax_uid(), Some("1.2.840.10008.1.2.4.90"));
    assert_eq!(plan.file_meta.len(), 2);
    assert_eq!(plan.pieces, [Piece::Bytes(explicit(tags::MODALITY, "CS", b"CT"))]);
}

#[test]
fn numbers_are_binary_whether_as_numbers_or_as_text() {
    assert_eq!(value("US", json!([0, 65535, "513"])), [0, 0, 0xFF, 0xFF, 1, 2]);
    assert_eq!(value("US", json!([5.0])), [5, 0]);
    assert_eq!(value("SS", json!([-1, "-32768"])), [0xFF, 0xFF, 0, 0x80]);
    assert_eq!(value("UL", json!([4_294_967_295_u32])), [0xFF; 4]);
    assert_eq!(value("SL", json!([-2_147_483_648_i32])), [0, 0, 0, 0x80]);
    assert_eq!(value("UV", json!([u64::MAX, "18446744073709551615"])), [0xFF; 16]);
    assert_eq!(value("SV", json!([i64::MIN, "-1"])), [i64::MIN.to_le_bytes(), [0xFF; 8]].concat());
    let singles = [0.1_f32, f32::INFINITY, f32::NEG_INFINITY, 1e-45, 3.0];
    let values = json!([0.1, "Infinity", "-Infinity", 1e-45, 3]);
    assert_eq!(value("FL", values), singles.map(f32::to_le_bytes).concat());
    let doubles = [0.1, -0.0, f64::MAX, f64::INFINITY];
    assert_eq!(value("FD", json!([0.1, -0.0, f64::MAX, "inf"])), doubles.map(f64::to_le_bytes).concat());
    let nan = value("FD", json!(["NaN"]));
    assert!(f64::from_le_bytes(nan.try_into().unwrap()).is_nan());
    assert_eq!(value("AT", json!(["001000AB", "7fe00010"])), [0x10, 0, 0xAB, 0, 0xE0, 0x7F, 0x10, 0]);
    assert_eq!(value("US", json!([null])), [0; 0]);
    assert_eq!(value("US", json!([])), [0; 0]);
    assert_eq!(value("US", json!(null)), [0; 0]);
}

#[test]
fn decimal_and_integer_strings_are_text_of_at_most_sixteen_characters() {
    assert_eq!(value("IS", json!([12, "-3", null, 4])), b"12\\-3\\\\4");
    assert_eq!(value("DS", json!([1.5, "1.50", 100000.0, 1e300])), b"1.5\\1.50\\100000.0\\1e300 ");
    for (number, text) in [
        (json!(0.123_456_789_012_345), &b".123456789012345"[..]),
        (json!(-0.1 - 0.2), b"-.30000000000000 "),
        (json!(1.0 / 3.0), b".333333333333333"),
        (json!(-12_345.678_901_234_567), b"-12345.678901235"),
        (json!(-1.234_567_890_123_456e-7), b"-1.234567890e-7 "),
        (json!(18_446_744_073_709_551_615_u64), b"1.8446744074e19 "),
    ] {
        let written = value("DS", json!([number]));
        assert!(written.len() <= 16, "{number}: {}", String::from_utf8_lossy(&written));
        let read = |text: &[u8]| std::str::from_utf8(text).unwrap().trim().parse::<f64>().unwrap();
        let (given, expected) = (number.as_f64().unwrap(), read(text));
        assert!(
            (read(&written) - given).abs() <= (expected - given).abs(),
            "{}",
            String::from_utf8_lossy(&written)
        );
    }
}

#[test]
fn names_have_their_groups() {
    let yamada =
        json!([{ "Phonetic": "やまだ^たろう", "Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎" }]);
    let object = json!({ "00100010": { "vr": "PN", "Value": yamada } });
    let name = "Yamada^Tarou=山田^太郎=やまだ^たろう";
    let charset = explicit(tags::SPECIFIC_CHARACTER_SET, "CS", b"ISO_IR 192");
    let padded = if name.len() % 2 == 1 { format!("{name} ") } else { name.to_owned() };
    assert_eq!(bytes(&object), [charset, explicit(tags::PATIENT_NAME, "PN", padded.as_bytes())].concat());
    for (values, expected) in [
        (json!([{ "Alphabetic": "Doe^J" }]), &b"Doe^J "[..]),
        (json!([{ "Ideographic": "x" }]), b"=x"),
        (json!([{ "Phonetic": "xy" }]), b"==xy"),
        (json!([{ "Alphabetic": "a", "Phonetic": "b" }]), b"a==b"),
        (
            json!([{ "Alphabetic": "a", "Ideographic": "", "Phonetic": null }, null, {}, "b^c"]),
            b"a\\\\\\b^c ",
        ),
    ] {
        assert_eq!(value("PN", values), expected);
    }
}

#[test]
fn text_is_utf8_and_says_so_where_that_matters() {
    let written = |object: Value| again(&bytes(&object));
    let (latin, plain) =
        (json!({ "vr": "LO", "Value": ["Müller"] }), json!({ "vr": "LO", "Value": ["Miller"] }));
    let named = |value: &str| json!({ "vr": "CS", "Value": [value] });
    let (none, utf8) = (json!({ "vr": "CS" }), named("ISO_IR 192"));

    assert_eq!(written(json!({ "00100020": plain })), json!({ "00100020": plain }));
    assert_eq!(written(json!({ "00100020": latin })), json!({ "00080005": utf8, "00100020": latin }));
    for said in
        [named("ISO_IR 100"), named("ISO_IR 192"), json!({ "vr": "CS", "Value": [null, "ISO 2022 IR 87"] })]
    {
        let object = json!({ "00080005": said, "00100020": plain });
        assert_eq!(written(object), json!({ "00080005": utf8, "00100020": plain }));
    }
    assert_eq!(
        written(json!({ "00080005": none, "00100020": plain })),
        json!({ "00080005": none, "00100020": plain })
    );
    assert_eq!(
        written(json!({ "00080005": none, "00100020": latin })),
        json!({ "00080005": utf8, "00100020": latin })
    );
    // An item that names one needs none around it.
    let item = json!({ "00080005": utf8, "00100020": latin });
    let object = json!({ "00081120": { "vr": "SQ", "Value": [item] }, "00100020": plain });
    assert_eq!(written(object.clone()), object);
    let item = json!({ "00100020": latin });
    let object = json!({ "00081120": { "vr": "SQ", "Value": [item] } });
    assert_eq!(written(object.clone())["00080005"], utf8);
    // An address is none of its text.
    let plan = plan(&json!({ "00420011": { "vr": "OB", "BulkDataURI": "http://ü" } })).unwrap();
    assert!(matches!(plan.pieces.as_slice(), [Piece::BulkData(_)]));
}

#[test]
fn sequences_have_no_lengths_and_items_are_data_sets() {
    let object = json!({ "00081140": { "vr": "SQ", "Value": [
        { "00081155": { "vr": "UI", "Value": ["1.2"] }, "00081150": { "vr": "UI", "Value": ["1.4"] } }, {}, null,
    ] }, "00400275": { "vr": "SQ" }, "00081115": { "vr": "SQ", "Value": [] } });
    let first = [
        explicit(tags::REFERENCED_SOP_CLASS_UID, "UI", b"1.4\0"),
        explicit(tags::REFERENCED_SOP_INSTANCE_UID, "UI", b"1.2\0"),
    ]
    .concat();
    let items = [open_item(&first), open_item(b""), open_item(b"")].concat();
    let expected = [
        explicit(tags::REFERENCED_SERIES_SEQUENCE, "SQ", b""),
        open_sequence(tags::REFERENCED_IMAGE_SEQUENCE, "SQ", &items),
        explicit(tags::REQUEST_ATTRIBUTES_SEQUENCE, "SQ", b""),
    ];
    assert_eq!(bytes(&object), expected.concat());

    let nested = |depth: usize| {
        (0..depth).fold(json!({}), |inner, _| json!({ "00081140": { "vr": "SQ", "Value": [inner] } }))
    };
    assert!(plan(&nested(64)).is_ok());
    assert_eq!(
        refused(&nested(65)),
        "sequences are nested more than 64 deep at Referenced Image Sequence (0008,1140)"
    );
}

#[test]
fn bulk_data_is_left_to_the_caller_wherever_it_is() {
    let document =
        json!({ "00420011": { "vr": "OB", "BulkDataURI": "a" }, "00420012": { "vr": "LO", "Value": ["x"] } });
    let object = json!({
        "00080060": { "vr": "CS", "Value": ["CT"] },
        "00400275": { "vr": "SQ", "Value": [{}, document] },
        "7FE00010": { "vr": "OW", "BulkDataURI": "b" },
    });
    let pieces = plan(&object).unwrap().pieces;
    let [Piece::Bytes(start), Piece::BulkData(inner), Piece::Bytes(end), Piece::BulkData(pixels)] =
        pieces.as_slice()
    else {
        panic!("{pieces:?}")
    };
    assert_eq!(
        (inner.path.to_string().as_str(), inner.vr, inner.uri.as_str()),
        ("00400275/2/00420011", VR::OB, "a")
    );
    assert_eq!((pixels.path.to_string().as_str(), pixels.vr, pixels.uri.as_str()), ("7FE00010", VR::OW, "b"));

    let inside = inner.native(3).unwrap();
    let fragments = [Around::fragment(0).unwrap(), Around::fragment(5).unwrap()];
    let whole = pixels.encapsulated();
    let all = [
        &start[..],
        &inside.before,
        b"abc",
        &inside.after,
        end,
        &whole.before,
        &fragments[0].before,
        &fragments[0].after,
        &fragments[1].before,
        b"12345",
        &fragments[1].after,
        &whole.after,
    ]
    .concat();
    let inner = [
        explicit(tags::ENCAPSULATED_DOCUMENT, "OB", b"abc\0"),
        explicit(tags::MIME_TYPE_OF_ENCAPSULATED_DOCUMENT, "LO", b"x "),
    ];
    let items = [open_item(b""), open_item(&inner.concat())].concat();
    let fragments = [crate::dicom::fixtures::item(b""), crate::dicom::fixtures::item(b"12345\0")].concat();
    let expected = [
        explicit(tags::MODALITY, "CS", b"CT"),
        open_sequence(tags::REQUEST_ATTRIBUTES_SEQUENCE, "SQ", &items),
        // PS3.5 A.4: encapsulated, it is OB.
        lying(tags::PIXEL_DATA, "OB", 0xFFFF_FFFF, &[&fragments[..], &SEQUENCE_END].concat()),
    ];
    assert_eq!(all, expected.concat());

    let native = pixels.native(4).unwrap();
    assert_eq!([native.before, native.after].concat(), lying(tags::PIXEL_DATA, "OW", 4, b""));
    assert!(pixels.native(0xFFFF_FFFE).is_ok() && Around::fragment(0xFFFF_FFFE).is_some());
    assert_eq!(
        pixels.native(0xFFFF_FFFF).unwrap_err().to_string(),
        "Pixel Data (7FE0,0010) is 4294967295 bytes long, which no element can be"
    );
    assert_eq!(Around::fragment(0xFFFF_FFFF), None);
    assert_eq!(Around::fragment(u64::MAX - 1), None);
}

#[test]
fn what_is_too_long_for_its_vr_is_unknown() {
    let numbers = vec![json!(1.5); 30_000];
    let all = bytes(&json!({ "30060050": { "vr": "DS", "Value": numbers } }));
    assert_eq!(&all[4..8], b"UN\0\0");
    let read = again(&all);
    assert_eq!(
        (&read["30060050"]["vr"], read["30060050"]["Value"].as_array().unwrap().len()),
        (&json!("DS"), 30_000)
    );
}

#[test]
fn what_is_no_data_set_is_refused_in_words() {
    for (object, sentence) in [
        (json!([]), "the data set is no object of attributes"),
        (json!({ "PatientID": {} }), "\"PatientID\" is no tag of eight hexadecimal digits"),
        (json!({ "00100020": [] }), "an attribute is no object of attributes"),
        (json!({ "00100020": { "vr": "XX" } }), "Patient ID (0010,0020) has no usable vr"),
        (json!({ "00100020": { "vr": 5 } }), "Patient ID (0010,0020) has no usable vr"),
        (json!({ "00291010": {} }), "the private element (0029,1010) has no usable vr"),
        (json!({ "0020000D": {}, "0020000d": {} }), "Study Instance UID (0020,000D) is there twice"),
        (json!({ "FFFEE000": { "vr": "OB" } }), "(FFFE,E000) cannot be in a data set"),
        (json!({ "00000100": { "vr": "US" } }), "(0000,0100) cannot be in a data set"),
    ] {
        assert_eq!(refused(&object), sentence);
    }
    for (vr, content, words) in [
        ("LO", json!({ "Value": "x" }), "Value is no array"),
        ("LO", json!({ "Value": [{}] }), "a value is no text"),
        ("LO", json!({ "Value": [true] }), "a value is no text"),
        (
            "LO",
            json!({ "Value": ["x"], "BulkDataURI": "y" }),
            "it has several values: Value, InlineBinary, BulkDataURI",
        ),
        ("OB", json!({ "Value": ["x"] }), "it is made of bytes, which cannot stand in Value"),
        ("UN", json!({ "InlineBinary": "A*" }), "InlineBinary is not in base64"),
        ("UN", json!({ "InlineBinary": 1 }), "InlineBinary is no text"),
        ("UN", json!({ "BulkDataURI": 1 }), "BulkDataURI is no text"),
        ("SQ", json!({ "Value": ["x"] }), "an item is no object"),
        ("SQ", json!({ "InlineBinary": "AAAA" }), "it is not made of items"),
        ("SQ", json!({ "BulkDataURI": "x" }), "it is not made of items"),
        ("US", json!({ "Value": [65536] }), "a number is out of range"),
        ("US", json!({ "Value": [-1] }), "a number is out of range"),
        ("US", json!({ "Value": [1.5] }), "a value is no whole number"),
        ("US", json!({ "Value": ["x"] }), "a value is no whole number"),
        ("US", json!({ "Value": [1, null] }), "a binary value cannot be empty beside others"),
        ("US", json!({ "Value": [{}] }), "a value is no number"),
        ("SV", json!({ "Value": [u64::MAX] }), "a number is out of range"),
        ("FL", json!({ "Value": [1e39] }), "a number is out of range"),
        ("FD", json!({ "Value": ["1e999"] }), "a number is out of range"),
        ("FD", json!({ "Value": ["x"] }), "a value is no number"),
        ("DS", json!({ "Value": [{}] }), "a value is no number"),
        ("AT", json!({ "Value": ["0010"] }), "a value is no tag"),
        ("AT", json!({ "Value": [12] }), "a value is no tag"),
        ("PN", json!({ "Value": [5] }), "a value is no name"),
        ("PN", json!({ "Value": [{ "Alphabetic": 5 }] }), "a component group is no text"),
    ] {
        assert_eq!(why(vr, &content), format!("the private element (0029,1010) of VR {vr}: {words}"));
    }
}

fn any_attribute() -> impl Strategy<Value = Value> {
    let text = || {
        "[ -\\[\\]-~äλ山]{1,12}"
            .prop_map(|text| text.trim().to_owned())
            .prop_filter("empty", |text| !text.is_empty())
    };
    let with = |vr: &'static str| move |values: Vec<Value>| json!({ "vr": vr, "Value": values });
    let many = |of: BoxedStrategy<Value>| prop::collection::vec(of, 1..4);
    prop_oneof![
        many(text().prop_map(Value::from).boxed()).prop_map(with("LO")),
        many(text().prop_map(Value::from).boxed()).prop_map(with("UC")),
        text().prop_map(|text| json!({ "vr": "LT", "Value": [text] })),
        many(text().prop_map(|text| json!({ "Alphabetic": text.replace('=', ""), "Phonetic": "x" })).boxed())
            .prop_filter("empty", |names| names
                .iter()
                .all(|name| name["Alphabetic"].as_str().is_some_and(|t| t == t.trim() && !t.is_empty())))
            .prop_map(with("PN")),
        many(any::<u16>().prop_map(Value::from).boxed()).prop_map(with("US")),
        many(any::<i32>().prop_map(Value::from).boxed()).prop_map(with("SL")),
        many(any::<i32>().prop_map(Value::from).boxed()).prop_map(with("IS")),
        many(prop::num::f64::NORMAL.prop_map(Value::from).boxed()).prop_map(with("FD")),
        many(any::<u64>().prop_map(|n| if n <= 1 << 53 { json!(n) } else { json!(n.to_string()) }).boxed())
            .prop_map(with("UV")),
        prop::sample::select(vec!["LO", "US", "SQ", "UN", "PN"]).prop_map(|vr| json!({ "vr": vr })),
        prop::collection::vec(any::<u8>(), 1..20).prop_map(|mut bytes| {
            use base64::Engine;
            bytes.extend(vec![0; bytes.len() % 2]);
            json!({ "vr": "OB", "InlineBinary": base64::engine::general_purpose::STANDARD.encode(bytes) })
        }),
    ]
}

fn any_object() -> impl Strategy<Value = Value> {
    let tags = || prop::sample::select(vec!["00291001", "00291002", "00291003", "00291004", "00291005"]);
    let leaf = prop::collection::btree_map(tags(), any_attribute(), 0..4);
    let object = |attributes: std::collections::BTreeMap<&str, Value>| json!(attributes);
    leaf.prop_map(object).prop_recursive(4, 30, 3, move |inner| {
        let sequence =
            prop::collection::vec(inner, 1..4).prop_map(|items| json!({ "vr": "SQ", "Value": items }));
        let attribute = prop_oneof![any_attribute(), sequence];
        prop::collection::btree_map(tags(), attribute, 0..4).prop_map(object)
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_again_as_it_was(mut object in any_object()) {
        let data_set = bytes(&object);
        let read = again(&data_set);
        if let Some(charset) = read.get("00080005") {
            object["00080005"] = charset.clone();
        }
        prop_assert_eq!(read, object);
    }
}
