//! Data sets as XML and back.

use dicom_core::Tag;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const HEAD: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM" xml:space="preserve">"#;

fn written(object: &str) -> String {
    let mut out = b"before ".to_vec();
    write(object.as_bytes(), &mut out).unwrap_or_else(|err| panic!("{object}: {err}"));
    let text = String::from_utf8(out.split_off(7)).expect("UTF-8");
    let inner = text.strip_prefix(HEAD).and_then(|text| text.strip_suffix("</NativeDicomModel>"));
    inner.unwrap_or_else(|| panic!("{text}")).to_owned()
}

fn document(inner: &str) -> String {
    format!("{HEAD}{inner}</NativeDicomModel>")
}

fn parsed(inner: &str) -> Value {
    read(document(inner).as_bytes()).unwrap_or_else(|err| panic!("{inner}: {err}"))
}

fn refused(document: &str) -> String {
    read(document.as_bytes()).expect_err(document).to_string()
}

/// Written as this, and read again as it was.
fn both_ways(object: &str, xml: &str) {
    assert_eq!(written(object), xml);
    assert_eq!(parsed(xml), serde_json::from_str::<Value>(object).expect("JSON"));
}

#[test]
fn attributes_have_their_tag_vr_keyword_and_values() {
    both_ways("{}", "");
    both_ways(
        r#"{"00080008":{"vr":"CS","Value":["ORIGINAL",null,"AXIAL"]},"00100020":{"vr":"LO"}}"#,
        concat!(
            r#"<DicomAttribute tag="00080008" vr="CS" keyword="ImageType"><Value number="1">ORIGINAL</Value>"#,
            r#"<Value number="2"></Value><Value number="3">AXIAL</Value></DicomAttribute>"#,
            r#"<DicomAttribute tag="00100020" vr="LO" keyword="PatientID"></DicomAttribute>"#,
        ),
    );
    both_ways(
        r#"{"00020010":{"vr":"UI","Value":["1.2"]},"00100021":{"vr":"LO","Value":[" & <>\"'ä"]}}"#,
        concat!(
            r#"<DicomAttribute tag="00020010" vr="UI" keyword="TransferSyntaxUID"><Value number="1">1.2</Value>"#,
            r#"</DicomAttribute><DicomAttribute tag="00100021" vr="LO" keyword="IssuerOfPatientID">"#,
            r#"<Value number="1"> &amp; &lt;&gt;&quot;'ä</Value></DicomAttribute>"#,
        ),
    );
}

#[test]
fn numbers_keep_their_digits_and_are_numbers_again() {
    let value = |vr: &str, json: &str, text: &str| {
        both_ways(
            &format!(r#"{{"00291010":{{"vr":"{vr}","Value":[{json}]}}}}"#),
            &format!(
                r#"<DicomAttribute tag="00291010" vr="{vr}"><Value number="1">{text}</Value></DicomAttribute>"#
            ),
        );
    };
    value("DS", "1.50", "1.50");
    value("DS", "1e+05", "1e+05");
    value("DS", "\"nan\"", "nan");
    value("IS", "-0", "-0");
    value("IS", "\"9007199254740994\"", "9007199254740994");
    value("UV", "\"18446744073709551615\"", "18446744073709551615");
    value("UV", "9007199254740992", "9007199254740992");
    value("FD", "1.7976931348623157e308", "1.7976931348623157e308");
    value("US", "65535", "65535");
    value("AT", "\"001000AB\"", "001000AB");
    value("LO", "\"12\"", "12");
}

#[test]
fn names_are_in_groups_and_components() {
    both_ways(
        r#"{"00100010":{"vr":"PN","Value":[{"Alphabetic":"Yamada^Tarou","Ideographic":"山田^太郎","Phonetic":"やまだ^たろう"}]}}"#,
        concat!(
            r#"<DicomAttribute tag="00100010" vr="PN" keyword="PatientName"><PersonName number="1">"#,
            "<Alphabetic><FamilyName>Yamada</FamilyName><GivenName>Tarou</GivenName></Alphabetic>",
            "<Ideographic><FamilyName>山田</FamilyName><GivenName>太郎</GivenName></Ideographic>",
            "<Phonetic><FamilyName>やまだ</FamilyName><GivenName>たろう</GivenName></Phonetic>",
            "</PersonName></DicomAttribute>",
        ),
    );
    for name in ["Doe", "^Jane", "Doe^Jane^Q^Dr.^MD", "Doe^J^^^", "a^b^c^d^e^f", "^^^^"] {
        let object = json!({ "00100010": { "vr": "PN", "Value": [{ "Alphabetic": name }, null] } });
        assert_eq!(parsed(&written(&object.to_string())), object, "{name}");
    }
    let sparse = r#"<DicomAttribute tag="00100010" vr="PN"><PersonName number="1"><SingleByte>
        <NameSuffix>MD</NameSuffix><FamilyName>Doe</FamilyName></SingleByte></PersonName></DicomAttribute>"#;
    assert_eq!(parsed(sparse)["00100010"]["Value"], json!([{ "Alphabetic": "Doe^^^^MD" }]));
}

#[test]
fn sequences_are_items_and_bulk_data_is_an_address() {
    both_ways(
        r#"{"00081140":{"vr":"SQ","Value":[{"00081155":{"vr":"UI","Value":["1.2"]}},{}]},"00400275":{"vr":"SQ"}}"#,
        concat!(
            r#"<DicomAttribute tag="00081140" vr="SQ" keyword="ReferencedImageSequence"><Item number="1">"#,
            r#"<DicomAttribute tag="00081155" vr="UI" keyword="ReferencedSOPInstanceUID"><Value number="1">1.2</Value>"#,
            r#"</DicomAttribute></Item><Item number="2"></Item></DicomAttribute>"#,
            r#"<DicomAttribute tag="00400275" vr="SQ" keyword="RequestAttributesSequence"></DicomAttribute>"#,
        ),
    );
    both_ways(
        r#"{"00420011":{"vr":"OB","InlineBinary":"AQI="},"7FE00010":{"vr":"OW","BulkDataURI":"http://x/?a&b"}}"#,
        concat!(
            r#"<DicomAttribute tag="00420011" vr="OB" keyword="EncapsulatedDocument"><InlineBinary>AQI=</InlineBinary>"#,
            r#"</DicomAttribute><DicomAttribute tag="7FE00010" vr="OW" keyword="PixelData">"#,
            r#"<BulkData uri="http://x/?a&amp;b"/></DicomAttribute>"#,
        ),
    );
    let uuid = r#"<DicomAttribute tag="7FE00010" vr="OW"><BulkData uuid="4c3b8792"/></DicomAttribute>"#;
    assert_eq!(parsed(uuid)["7FE00010"]["BulkDataURI"], "urn:uuid:4c3b8792");
}

#[test]
fn private_attributes_are_told_by_their_creator() {
    both_ways(
        concat!(
            r#"{"00290010":{"vr":"LO","Value":["MINE"]},"00290011":{"vr":"LO","Value":["OTHER & CO"]},"#,
            r#""00290012":{"vr":"LO","Value":["MINE"]},"00291001":{"vr":"LO","Value":["a"]},"#,
            r#""00291101":{"vr":"SQ","Value":[{"00291101":{"vr":"UN","InlineBinary":"AA=="}}]},"#,
            r#""00291201":{"vr":"LO","Value":["b"]},"00291301":{"vr":"LO","Value":["c"]}}"#,
        ),
        concat!(
            r#"<DicomAttribute tag="00290010" vr="LO"><Value number="1">MINE</Value></DicomAttribute>"#,
            r#"<DicomAttribute tag="00290011" vr="LO"><Value number="1">OTHER &amp; CO</Value></DicomAttribute>"#,
            r#"<DicomAttribute tag="00290012" vr="LO"><Value number="1">MINE</Value></DicomAttribute>"#,
            r#"<DicomAttribute tag="00290001" vr="LO" privateCreator="MINE"><Value number="1">a</Value></DicomAttribute>"#,
            r#"<DicomAttribute tag="00290001" vr="SQ" privateCreator="OTHER &amp; CO"><Item number="1">"#,
            // An item has blocks of its own.
            r#"<DicomAttribute tag="00291101" vr="UN"><InlineBinary>AA==</InlineBinary></DicomAttribute></Item></DicomAttribute>"#,
            r#"<DicomAttribute tag="00291201" vr="LO" privateCreator="MINE"><Value number="1">b</Value></DicomAttribute>"#,
            r#"<DicomAttribute tag="00291301" vr="LO"><Value number="1">c</Value></DicomAttribute>"#,
        ),
    );
    // As others write: without the creators, the block to be chosen.
    let left_out = r#"<DicomAttribute tag="00291001" vr="LO"/>
        <DicomAttribute tag="00290001" vr="CS" privateCreator="A"><Value number="1">x</Value></DicomAttribute>
        <DicomAttribute tag="00290002" vr="CS" privateCreator="B"/>
        <DicomAttribute tag="00290003" vr="CS" privateCreator="A"/>"#;
    assert_eq!(
        parsed(left_out),
        json!({
            "00290011": { "vr": "LO", "Value": ["A"] }, "00290012": { "vr": "LO", "Value": ["B"] },
            "00291001": { "vr": "LO" }, "00291101": { "vr": "CS", "Value": ["x"] },
            "00291103": { "vr": "CS" }, "00291202": { "vr": "CS" },
        })
    );
    let many: String = (0..0xF1)
        .map(|n| format!(r#"<DicomAttribute tag="00290001" vr="CS" privateCreator="{n}"/>"#))
        .collect();
    assert_eq!(refused(&document(&many)), "group 0029 has no block left for a private creator");
}

#[test]
fn line_ends_and_control_characters_survive_or_are_replaced() {
    both_ways(
        r#"{"00104000":{"vr":"LT","Value":["a\r\n\tb"]}}"#,
        concat!(
            r#"<DicomAttribute tag="00104000" vr="LT" keyword="PatientComments">"#,
            r#"<Value number="1">a&#13;&#10;&#9;b</Value></DicomAttribute>"#,
        ),
    );
    let object = r#"{"00104000":{"vr":"LT","Value":["a\u0000\u0008\u001f\uffff\ufffe\u007fb"]}}"#;
    assert!(written(object).contains(">a\u{FFFD}\u{FFFD}\u{FFFD}\u{FFFD}\u{FFFD}\u{7F}b<"));
    let ends = "<DicomAttribute tag=\"00104000\" vr=\"LT\"><Value number=\"1\">a\r\nb<![CDATA[<c>]]></Value></DicomAttribute>";
    assert_eq!(parsed(ends)["00104000"]["Value"][0], "a\nb<c>");
}

#[test]
fn what_others_write_is_read() {
    let text = "\u{FEFF}<?xml version='1.0' encoding='utf-8'?><!-- a --><?b c?>\n\
        <d:NativeDicomModel xmlns:d='x'>\n <d:DicomAttribute vr='IS' tag='00200013'>\n  <d:Value number=' 3 '> 7 </d:Value>\n\
        <d:Value number='1'>1</d:Value></d:DicomAttribute>\n<d:DicomAttribute tag='00100020'><d:Value number='1'>&#x41;&amp;</d:Value>\
        </d:DicomAttribute></d:NativeDicomModel>\n<!-- z -->\n";
    assert_eq!(
        read(text.as_bytes()).unwrap(),
        json!({
            "00100020": { "vr": "LO", "Value": ["A&"] }, "00200013": { "vr": "IS", "Value": [1, null, 7] },
        })
    );
    let lines = "<DicomAttribute tag=\"00420011\" vr=\"OB\"><InlineBinary>\n AQ\n I=\n</InlineBinary></DicomAttribute>";
    assert_eq!(parsed(lines)["00420011"]["InlineBinary"], "AQI=");
}

#[test]
fn what_is_no_such_document_is_refused_in_words() {
    let attribute = |inner: &str| {
        document(&format!(r#"<DicomAttribute tag="00100020" vr="LO">{inner}</DicomAttribute>"#))
    };
    for (document, words) in [
        (String::new(), "the end of the document cannot stand in the document"),
        ("text".to_owned(), "text cannot stand in the document"),
        ("<a/>".to_owned(), "an element a cannot stand in the document"),
        (HEAD.to_owned(), "the end of the document cannot stand in NativeDicomModel"),
        (format!("{HEAD}</a>"), "it is not well-formed XML"),
        (format!("{}<a/>", document("")), "an element a cannot stand in the document"),
        (
            "<?xml version='1.0' encoding='ISO-8859-1'?><NativeDicomModel/>".to_owned(),
            "its characters are not UTF-8",
        ),
        (document("x"), "text cannot stand in NativeDicomModel"),
        (document("<Value/>"), "an element Value cannot stand in NativeDicomModel"),
        (document("<DicomAttribute/>"), "DicomAttribute has no usable tag"),
        (document("<DicomAttribute tag='0010002' vr='LO'/>"), "DicomAttribute has no usable tag"),
        (document("<DicomAttribute tag='+0100020' vr='LO'/>"), "DicomAttribute has no usable tag"),
        (document("<DicomAttribute tag='00100020' vr='XX'/>"), "DicomAttribute has no usable vr"),
        (document("<DicomAttribute tag='00291010'/>"), "DicomAttribute has no usable vr"),
        (
            document("<DicomAttribute tag='00100020'/><DicomAttribute tag='00100020'/>"),
            "(0010,0020) is there twice",
        ),
        (document("<DicomAttribute tag=00100020 vr='LO'/>"), "it is not well-formed XML"),
        (attribute("x"), "text cannot stand in DicomAttribute (0010,0020) of VR LO"),
        (attribute("<Value>x</Value>"), "Value has no usable number"),
        (attribute("<Value number='0'>x</Value>"), "Value has no usable number"),
        (attribute("<Value number='-1'>x</Value>"), "Value has no usable number"),
        (attribute("<Value number='1'/><Value number='1'/>"), "Value 1 of (0010,0020) is there twice"),
        (attribute("<Value number='70000'>x</Value>"), "too many values are left out"),
        (attribute("<Value number='18446744073709551615'>x</Value>"), "too many values are left out"),
        (attribute("<Value number='1'><b/></Value>"), "an element b cannot stand in Value"),
        (attribute("<Item number='1'/>"), "an element Item cannot stand in"),
        (attribute("<PersonName number='1'/>"), "an element PersonName cannot stand in"),
        (attribute("<BulkData/>"), "BulkData has no usable uri"),
        (attribute("<BulkData uri='a'/><Value number='1'/>"), "an element Value cannot stand in"),
        (attribute("<Value number='1'/><BulkData uri='a'/>"), "an element BulkData cannot stand in"),
        (attribute("<InlineBinary/><InlineBinary/>"), "an element InlineBinary cannot stand in"),
        (attribute("<Value number='1'>&nbsp;</Value>"), "an entity that is not one of XML's own"),
        (attribute("<Value number='&x;'/>"), "an entity that is not one of XML's own"),
        (attribute("<Value number='1'>&#0;</Value>"), "it is not well-formed XML"),
        (attribute("<Value number='1'>&#xFFFFFFFF;</Value>"), "it is not well-formed XML"),
    ] {
        let sentence = refused(&document);
        assert!(sentence.contains(words), "{document}: {sentence}");
    }
    assert!(matches!(read(&[0xFF, 0xFE, b'<', 0]), Err(Error::Encoding)));
}

#[test]
fn no_document_type_and_no_depth_without_end() {
    let laughs = "<?xml version='1.0'?><!DOCTYPE lolz [<!ENTITY a 'ha'><!ENTITY b '&a;&a;'>]>\
        <NativeDicomModel><DicomAttribute tag='00100020'><Value number='1'>&b;</Value></DicomAttribute></NativeDicomModel>";
    assert_eq!(refused(laughs), "it has a document type declaration");
    let nested = |depth: usize| {
        let begin = r#"<DicomAttribute tag="00081140" vr="SQ"><Item number="1">"#.repeat(depth);
        document(&(begin + &"</Item></DicomAttribute>".repeat(depth)))
    };
    assert!(read(nested(64).as_bytes()).is_ok());
    for depth in [65, 100_000] {
        assert_eq!(refused(&nested(depth)), "sequences are nested more than 64 deep");
    }
    let nested = |depth: usize| {
        let mut out = Vec::new();
        let begin = r#"{"00081140":{"vr":"SQ","Value":["#.repeat(depth);
        write((begin + "{}" + &"]}}".repeat(depth)).as_bytes(), &mut out).map(|()| out)
    };
    assert_eq!(read(&nested(64).unwrap()).unwrap()["00081140"]["vr"], "SQ");
    assert!(nested(65).unwrap_err().to_string().contains("nested more than 64 deep"));
    assert!(nested(100_000).is_err());
}

#[test]
fn what_is_no_data_set_in_json_leaves_nothing() {
    for text in [
        "",
        "[]",
        "{",
        "{}{}",
        r#"{"x":{"vr":"LO"}}"#,
        r#"{"00100020":{}}"#,
        r#"{"00100020":{"Value":[]}}"#,
        r#"{"00100020":{"vr":"LO","Value":["x",{]}}"#,
    ] {
        let mut out = b"before".to_vec();
        assert!(write(text.as_bytes(), &mut out).is_err(), "{text}");
        assert_eq!(out, b"before");
    }
}

#[test]
fn blocks_are_those_of_private_groups() {
    assert_eq!(created_block(Tag(0x0029, 0x0010)), Some(0x10));
    assert_eq!(created_block(Tag(0x0029, 0x000F)), None);
    assert_eq!(created_block(Tag(0x0029, 0x0100)), None);
    assert_eq!(created_block(Tag(0x0028, 0x0010)), None);
    assert_eq!(block(Tag(0x0029, 0xFF01)), Some(0xFF));
    assert_eq!(block(Tag(0x0029, 0x0F01)), None);
    assert_eq!(in_block(Tag(0x0029, 0xFF01), 0x10), Tag(0x0029, 0x1001));
}

proptest! {
    #[test]
    fn any_text_comes_back_as_far_as_xml_can_hold_it(text in any::<String>()) {
        let object = json!({ "00104000": { "vr": "UT", "Value": [format!("x{text}")] } });
        let is_held = |c: &char| !matches!(c, '\0'..='\u{8}' | '\u{B}' | '\u{C}' | '\u{E}'..='\u{1F}' | '\u{FFFE}' | '\u{FFFF}');
        let held: String = text.chars().map(|c| if is_held(&c) { c } else { '\u{FFFD}' }).collect();
        prop_assert_eq!(&parsed(&written(&object.to_string()))["00104000"]["Value"][0], &json!(format!("x{held}")));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0_usize..400) {
        let whole = document(r#"<DicomAttribute tag="00100010" vr="PN"><PersonName number="1"><Alphabetic><FamilyName>x</FamilyName>
            </Alphabetic></PersonName></DicomAttribute><DicomAttribute tag="00081140" vr="SQ"><Item number="1"/></DicomAttribute>"#);
        let mut whole = whole.into_bytes();
        let at = at.min(whole.len());
        whole.splice(at..(at + bytes.len() / 20).min(whole.len()), bytes.iter().copied().take(5));
        let _ = read(&whole);
        let _ = read(&bytes);
    }
}

#[test]
fn a_document_that_grows_too_long_is_not_written() {
    let items = vec!["{}"; 1000].join(",");
    for object in [
        format!(r#"{{"00081140":{{"vr":"SQ","Value":[{items}]}}}}"#),
        format!(r#"{{"00280009":{{"vr":"US","Value":[{}]}}}}"#, vec!["1"; 1000].join(",")),
        format!(r#"{{"00081048":{{"vr":"PN","Value":[{}]}}}}"#, vec!["null"; 1000].join(",")),
    ] {
        let mut out = b"before".to_vec();
        super::write::write_within(1 << 20, object.as_bytes(), &mut out).expect("a document");
        assert!(out.len() > 24_000);
        let mut out = b"before".to_vec();
        let refused = super::write::write_within(10_000, object.as_bytes(), &mut out);
        assert!(refused.expect_err("too long").is_data());
        assert_eq!(out, b"before");
        assert!(out.capacity() < 24_000, "and it was not made either");
    }
}
