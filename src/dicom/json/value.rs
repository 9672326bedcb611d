//! Value fields in the data types of JSON, PS3.18 Table F.2.3-1.
//!
//! Nothing is refused. What should be a number and is none becomes a string; binary numbers that JSON has no number
//! for, or that are cut, become InlineBinary, which the standard knows for values of other VRs too (F.2.7).

use std::fmt::Display;
use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dicom_core::{Tag, VR};

use super::object::name;
use crate::dicom::charset::CharacterSet;
use crate::dicom::data_set::{Number, numeric};
use crate::dicom::reencode::unit;

/// Whole numbers up to here are the same for everybody who reads JSON, RFC 8259 section 6.
const MOST_EXACT: u64 = 1 << 53;

/// VRs whose value is bytes, not values.
pub(super) fn is_binary(vr: VR) -> bool {
    matches!(vr, VR::OB | VR::OD | VR::OF | VR::OL | VR::OV | VR::OW | VR::UN)
}

/// Writes what an attribute has beside its VR; nothing for an empty value (F.2.5).
pub(super) fn write(vr: VR, mut bytes: Vec<u8>, big_endian: bool, charset: CharacterSet, out: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    let is_written = match vr {
        vr if is_binary(vr) => false,
        VR::AT => tags(&bytes, big_endian, out),
        vr if numeric(vr).is_some() => numbers(vr, &bytes, big_endian, out),
        vr => {
            texts(vr, &bytes, charset, out);
            true
        }
    };
    if !is_written {
        if big_endian && unit(vr) > 1 {
            bytes.chunks_exact_mut(unit(vr)).for_each(<[u8]>::reverse);
        }
        out.extend_from_slice(b",\"InlineBinary\":\"");
        out.extend_from_slice(STANDARD.encode(&bytes).as_bytes());
        out.push(b'"');
    }
}

/// Writes a value as the address where it can be had (F.2.6).
pub(super) fn write_bulk_data_uri(uri: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"BulkDataURI\":");
    string(uri, out);
}

/// Writes values that are text, or are numbers written as text.
pub(super) fn texts(vr: VR, bytes: &[u8], charset: CharacterSet, out: &mut Vec<u8>) {
    let mut array = Array::begin(out);
    match vr {
        VR::LT | VR::ST | VR::UR | VR::UT => match plain(bytes) {
            Some(text) => array.text(vr, text),
            None => array.text(vr, &charset.decode(bytes)),
        },
        vr => match plain(bytes) {
            Some(text) => text.split('\\').for_each(|text| array.text(vr, text)),
            None => charset.decode_values(bytes).iter().for_each(|text| array.text(vr, text)),
        },
    }
    array.end();
}

/// ASCII without escapes is itself in every character set there is.
fn plain(bytes: &[u8]) -> Option<&str> {
    const ESCAPE: u8 = 0x1B;
    let is_plain = bytes.is_ascii() && !bytes.contains(&ESCAPE);
    str::from_utf8(bytes).ok().filter(|_| is_plain)
}

/// Attribute tags (F.2.3). `false`: there is not one whole.
fn tags(bytes: &[u8], big_endian: bool, out: &mut Vec<u8>) -> bool {
    let (tags, _) = bytes.as_chunks::<4>();
    if tags.is_empty() {
        return false;
    }
    let order = if big_endian { u16::from_be_bytes } else { u16::from_le_bytes };
    let mut array = Array::begin(out);
    for &[a, b, c, d] in tags {
        let out = array.value();
        out.push(b'"');
        name(Tag(order([a, b]), order([c, d])), out);
        out.push(b'"');
    }
    array.end();
    true
}

/// Binary numbers. `false`: there is not one whole, or one that JSON does not know.
fn numbers(vr: VR, bytes: &[u8], big_endian: bool, out: &mut Vec<u8>) -> bool {
    let Some(kind) = numeric(vr) else { return false };
    let values = || kind.values(bytes, big_endian);
    if values().next().is_none() || values().any(|number| !number.as_f64().is_finite()) {
        return false;
    }
    let mut array = Array::begin(out);
    for number in values() {
        let out = array.value();
        match number {
            Number::Unsigned(number) => whole(number, number, out),
            Number::Signed(number) => whole(number, number.unsigned_abs(), out),
            // With an exponent where it would be long.
            Number::Single(number) => put(format_args!("{number:?}"), out),
            Number::Double(number) => put(format_args!("{number:?}"), out),
        }
    }
    array.end();
    true
}

fn whole(number: impl Display, magnitude: u64, out: &mut Vec<u8>) {
    match magnitude {
        ..=MOST_EXACT => put(number, out),
        _ => put(format_args!("\"{number}\""), out),
    }
}

fn put(value: impl Display, out: &mut Vec<u8>) {
    // A vector takes whatever is written.
    let _ = write!(out, "{value}");
}

/// The array "Value" under construction.
struct Array<'o> {
    out: &'o mut Vec<u8>,
    /// How long the text was before it.
    start: usize,
    count: usize,
    /// Whether any of its values is not empty.
    is_filled: bool,
}

impl<'o> Array<'o> {
    fn begin(out: &'o mut Vec<u8>) -> Self {
        let start = out.len();
        out.extend_from_slice(b",\"Value\":[");
        Array { out, start, count: 0, is_filled: false }
    }

    /// Where the next value is to be written.
    fn value(&mut self) -> &mut Vec<u8> {
        self.between();
        self.is_filled = true;
        self.out
    }

    fn between(&mut self) {
        if self.count > 0 {
            self.out.push(b',');
        }
        self.count += 1;
    }

    /// A value as this VR has it, without its padding.
    fn text(&mut self, vr: VR, text: &str) {
        let padding = [' ', '\0'];
        let text = text.trim_end_matches(padding);
        // PS3.5 Table 6.2-1: of these leading spaces mean something.
        let text = match vr {
            VR::LT | VR::ST | VR::UC | VR::UT => text,
            _ => text.trim_start_matches(padding),
        };
        if text.is_empty() {
            self.between();
            self.out.extend_from_slice(b"null");
            return;
        }
        match vr {
            VR::PN => self.person_name(text),
            vr if matches!(vr, VR::DS | VR::IS) || numeric(vr).is_some() => {
                let out = self.value();
                if !decimal(vr, text, out) {
                    string(text, out);
                }
            }
            _ => string(text, self.value()),
        }
    }

    /// The component groups that are not empty, PS3.5 section 6.2.1.
    fn person_name(&mut self, text: &str) {
        const GROUPS: [&str; 3] = ["Alphabetic", "Ideographic", "Phonetic"];
        let groups = GROUPS.into_iter().zip(text.splitn(3, '='));
        let groups = groups.map(|(group, text)| (group, text.trim_matches([' ', '\0'])));
        let mut groups = groups.filter(|(_, text)| !text.is_empty()).peekable();
        if groups.peek().is_none() {
            self.between();
            self.out.extend_from_slice(b"null");
            return;
        }
        let out = self.value();
        let mut before = b'{';
        for (group, text) in groups {
            out.push(before);
            string(group, out);
            out.push(b':');
            string(text, out);
            before = b',';
        }
        out.push(b'}');
    }

    /// One value that is empty is none (F.2.5).
    fn end(self) {
        if self.count <= 1 && !self.is_filled {
            self.out.truncate(self.start);
        } else {
            self.out.push(b']');
        }
    }
}

/// Writes a decimal or integer string as a number with the digits it has: JSON wants one before the point and one
/// behind it, no plus sign and no zeros in front. `false`: it is none, or one that would not arrive as it was sent.
fn decimal(vr: VR, text: &str, out: &mut Vec<u8>) -> bool {
    let (sign, unsigned) = match text.as_bytes() {
        [b'-', rest @ ..] => (&b"-"[..], rest),
        [b'+', rest @ ..] => (&b""[..], rest),
        rest => (&b""[..], rest),
    };
    let (before, rest) = digits(unsigned);
    let (behind, rest) = match rest {
        [b'.', rest @ ..] => digits(rest),
        rest => (&b""[..], rest),
    };
    let (exponent_sign, exponent, rest) = match rest {
        [b'e' | b'E', sign @ (b'+' | b'-'), rest @ ..] => {
            let (exponent, rest) = digits(rest);
            (Some(*sign), exponent, rest)
        }
        [b'e' | b'E', rest @ ..] => {
            let (exponent, rest) = digits(rest);
            (None, exponent, rest)
        }
        rest => (None, &b""[..], rest),
    };
    // All that is left over, and all that is missing, `parse` refuses too.
    let Some(number) = text.parse::<f64>().ok().filter(|number| number.is_finite()) else { return false };
    let is_exact = vr != VR::IS || number.abs() <= MOST_EXACT as f64;
    if !rest.is_empty() || (before.is_empty() && behind.is_empty()) || !is_exact {
        return false;
    }
    let zeros = before.iter().take_while(|&&digit| digit == b'0').count();
    out.extend_from_slice(sign);
    match before.get(zeros..).unwrap_or_default() {
        [] => out.push(b'0'),
        before => out.extend_from_slice(before),
    }
    if !behind.is_empty() {
        out.push(b'.');
        out.extend_from_slice(behind);
    }
    if !exponent.is_empty() {
        out.push(b'e');
        out.extend(exponent_sign);
        out.extend_from_slice(exponent);
    }
    true
}

/// The number that a text is where the JSON of this VR has one; strings are what JSON has no number for.
pub(in crate::dicom) fn number(vr: VR, text: &str) -> Option<serde_json::Number> {
    if !matches!(vr, VR::DS | VR::IS) && numeric(vr).is_none() {
        return None;
    }
    let mut digits = Vec::new();
    let is_number = decimal(vr, text.trim_matches([' ', '\0']), &mut digits);
    let number = serde_json::from_slice::<serde_json::Number>(&digits).ok().filter(|_| is_number)?;
    let is_exact = number.as_f64().is_some_and(|number| number.abs() <= MOST_EXACT as f64);
    (!matches!(vr, VR::SV | VR::UV) || is_exact).then_some(number)
}

fn digits(bytes: &[u8]) -> (&[u8], &[u8]) {
    let count = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    bytes.split_at_checked(count).unwrap_or((bytes, &[]))
}

/// Writes a JSON string, RFC 8259 section 7.
fn string(text: &str, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|&byte| matches!(byte, b'"' | b'\\' | 0..=0x1F)) {
        let (run, after) = rest.split_at_checked(at).unwrap_or((rest, &[]));
        out.extend_from_slice(run);
        let Some((&byte, after)) = after.split_first() else { break };
        match byte {
            b'"' | b'\\' => out.extend([b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            byte => {
                let digit = |of: u8| DIGITS.get(usize::from(of)).copied().unwrap_or(b'0');
                out.extend_from_slice(b"\\u00");
                out.extend([digit(byte >> 4), digit(byte & 0xF)]);
            }
        }
        rest = after;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(vr: VR, bytes: &[u8]) -> String {
        in_charset(vr, b"", bytes)
    }

    fn in_charset(vr: VR, charset: &[u8], bytes: &[u8]) -> String {
        let mut out = Vec::new();
        write(vr, bytes.to_vec(), false, CharacterSet::from_value(charset), &mut out);
        let text = String::from_utf8(out).expect("UTF-8");
        let whole = format!("{{\"vr\":\"{vr}\"{text}}}");
        serde_json::from_str::<serde_json::Value>(&whole).unwrap_or_else(|err| panic!("{whole}: {err}"));
        match text.strip_prefix(",\"Value\":") {
            Some(values) => values.to_owned(),
            None => text,
        }
    }

    #[test]
    fn decimal_and_integer_strings_are_numbers_with_their_digits() {
        for (text, json) in [
            ("1.50 ", "[1.50]"),
            ("+1", "[1]"),
            (".5", "[0.5]"),
            ("-.5", "[-0.5]"),
            ("5.", "[5]"),
            ("007", "[7]"),
            ("000", "[0]"),
            ("-0", "[-0]"),
            ("00.10", "[0.10]"),
            ("1E5", "[1e5]"),
            (" 1.e+05\0", "[1e+05]"),
            ("-2.5e-3", "[-2.5e-3]"),
            ("1\\2.0\\ 3 ", "[1,2.0,3]"),
            ("1\\\\3", "[1,null,3]"),
            ("\\", "[null,null]"),
            (" ", ""),
            ("0.1234567890123456789", "[0.1234567890123456789]"),
            // None of these is a number of JSON.
            ("1e999", "[\"1e999\"]"),
            ("1,5", "[\"1,5\"]"),
            ("1.2.3", "[\"1.2.3\"]"),
            ("1e", "[\"1e\"]"),
            ("e5", "[\"e5\"]"),
            (".", "[\".\"]"),
            ("-", "[\"-\"]"),
            ("--1", "[\"--1\"]"),
            ("0x10", "[\"0x10\"]"),
            ("nan", "[\"nan\"]"),
            ("inf", "[\"inf\"]"),
            ("infinity", "[\"infinity\"]"),
            ("1 2", "[\"1 2\"]"),
            ("\u{661}", "[\"\u{661}\"]"),
        ] {
            assert_eq!(in_charset(VR::DS, b"ISO_IR 192", text.as_bytes()), json, "{text}");
        }
        assert_eq!(written(VR::IS, b"12\\-3 \\1A"), "[12,-3,\"1A\"]");
        assert_eq!(
            written(VR::IS, b"9007199254740992\\9007199254740994"),
            "[9007199254740992,\"9007199254740994\"]"
        );
        assert_eq!(written(VR::DS, b"9007199254740994"), "[9007199254740994]");
    }

    #[test]
    fn binary_numbers_are_numbers() {
        assert_eq!(written(VR::US, &[1, 2, 0xFF, 0xFF]), "[513,65535]");
        assert_eq!(written(VR::SS, &[0xFF, 0xFF]), "[-1]");
        assert_eq!(written(VR::UL, &[0xFF; 4]), "[4294967295]");
        assert_eq!(written(VR::SL, &[0, 0, 0, 0x80]), "[-2147483648]");
        assert_eq!(written(VR::FL, &0.1_f32.to_le_bytes()), "[0.1]");
        assert_eq!(written(VR::FD, &0.1_f64.to_le_bytes()), "[0.1]");
        assert_eq!(written(VR::FD, &(-0.0_f64).to_le_bytes()), "[-0.0]");
        assert_eq!(written(VR::FD, &f64::MAX.to_le_bytes()), "[1.7976931348623157e308]");
        assert_eq!(written(VR::FL, &f32::from_bits(1).to_le_bytes()), "[1e-45]");
        assert_eq!(written(VR::UV, &(1_u64 << 53).to_le_bytes()), "[9007199254740992]");
        assert_eq!(written(VR::UV, &u64::MAX.to_le_bytes()), "[\"18446744073709551615\"]");
        assert_eq!(written(VR::SV, &i64::MIN.to_le_bytes()), "[\"-9223372036854775808\"]");
        assert_eq!(written(VR::AT, &[0x10, 0, 0xAB, 0, 0xE0, 0x7F, 0x10, 0]), "[\"001000AB\",\"7FE00010\"]");
    }

    #[test]
    fn numbers_that_are_none_and_values_that_are_cut_are_binary() {
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let bytes = [1.0_f64.to_le_bytes(), number.to_le_bytes()].concat();
            let expected = format!(",\"InlineBinary\":\"{}\"", STANDARD.encode(&bytes));
            assert_eq!(written(VR::FD, &bytes), expected);
        }
        assert_eq!(written(VR::FL, &f32::NAN.to_le_bytes()), ",\"InlineBinary\":\"AADAfw==\"");
        assert_eq!(written(VR::US, &[7]), ",\"InlineBinary\":\"Bw==\"");
        assert_eq!(written(VR::US, &[1, 2, 3]), "[513]");
        assert_eq!(written(VR::AT, &[1, 2]), ",\"InlineBinary\":\"AQI=\"");
    }

    #[test]
    fn big_endian_values_are_turned() {
        for (vr, bytes, json) in [
            (VR::US, &[1, 2][..], ",\"Value\":[258]"),
            (VR::AT, &[0, 0x10, 0, 0x20], ",\"Value\":[\"00100020\"]"),
            (VR::OW, &[1, 2, 3, 4], ",\"InlineBinary\":\"AgEEAw==\""),
            (VR::OF, &[1, 2, 3, 4], ",\"InlineBinary\":\"BAMCAQ==\""),
            (VR::OB, &[1, 2, 3, 4], ",\"InlineBinary\":\"AQIDBA==\""),
            (VR::FL, &[0x7F, 0xC0, 0, 0], ",\"InlineBinary\":\"AADAfw==\""),
        ] {
            let mut out = Vec::new();
            write(vr, bytes.to_vec(), true, CharacterSet::default(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), json);
        }
    }

    #[test]
    fn texts_lose_their_padding_and_nothing_else() {
        assert_eq!(written(VR::UI, b"1.2.3\\1.4\0"), "[\"1.2.3\",\"1.4\"]");
        assert_eq!(written(VR::LO, b" a b \\\\ c"), "[\"a b\",null,\"c\"]");
        assert_eq!(written(VR::UC, b" a\\ b "), "[\" a\",\" b\"]");
        assert_eq!(written(VR::LT, b" a\\b\r\n\x0C "), "[\" a\\\\b\\r\\n\\u000c\"]");
        assert_eq!(written(VR::UR, b"http://x/?a=\\ "), "[\"http://x/?a=\\\\\"]");
        assert_eq!(written(VR::ST, b" \0"), "");
        assert_eq!(written(VR::CS, b""), "");
        assert_eq!(written(VR::SH, b"a\0b\"\x7F\x01"), "[\"a\\u0000b\\\"\x7F\\u0001\"]");
        assert_eq!(written(VR::UN, b"ab"), ",\"InlineBinary\":\"YWI=\"");
    }

    #[test]
    fn texts_are_decoded_in_their_character_set() {
        assert_eq!(in_charset(VR::LO, b"ISO_IR 100", b"J\xe9r\xf4me\\x"), "[\"Jérôme\",\"x\"]");
        assert_eq!(in_charset(VR::LO, b"\\ISO 2022 IR 87", b"\x1b$B!\\\x1b(B\\x"), "[\"＋\",\"x\"]");
        assert_eq!(in_charset(VR::LT, b"GB18030", &[0x8E, 0x5C, b'\\']), "[\"嶾\\\\\"]");
        assert_eq!(in_charset(VR::CS, b"", b"\xc3\xa9"), "[\"é\"]");
        assert_eq!(in_charset(VR::LO, b"ISO_IR 192", b"a\xff"), "[\"a\u{FFFD}\"]");
    }

    #[test]
    fn names_are_objects_of_the_groups_they_have() {
        assert_eq!(
            in_charset(VR::PN, b"ISO_IR 192", "Yamada^Tarou=山田^太郎=やまだ^たろう".as_bytes()),
            r#"[{"Alphabetic":"Yamada^Tarou","Ideographic":"山田^太郎","Phonetic":"やまだ^たろう"}]"#
        );
        assert_eq!(
            in_charset(VR::PN, b"ISO_IR 192", "=洪^吉洞=".as_bytes()),
            r#"[{"Ideographic":"洪^吉洞"}]"#
        );
        assert_eq!(
            written(VR::PN, b"Doe^J^^^ \\\\=\\ ==x "),
            r#"[{"Alphabetic":"Doe^J^^^"},null,null,{"Phonetic":"x"}]"#
        );
        assert_eq!(written(VR::PN, b"=="), "");
    }

    proptest! {
        #[test]
        fn any_bytes_of_any_representation_are_json(
            vr in prop::sample::select(vec![
                VR::AE, VR::AS, VR::AT, VR::CS, VR::DA, VR::DS, VR::DT, VR::FL, VR::FD, VR::IS, VR::LO, VR::LT, VR::OB,
                VR::OW, VR::PN, VR::SH, VR::SL, VR::SQ, VR::SS, VR::SV, VR::UI, VR::UN, VR::UR, VR::US, VR::UT, VR::UV,
            ]),
            bytes in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            written(vr, &bytes);
        }

        #[test]
        fn a_string_is_read_again_as_it_was(text in any::<String>()) {
            let mut out = Vec::new();
            string(&text, &mut out);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }

        #[test]
        fn a_number_means_what_its_digits_mean(text in "[+-]?[0-9]{0,4}\\.?[0-9]{0,4}([eE][+-]?[0-9]{1,3})?") {
            let mut out = Vec::new();
            let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
            prop_assert_eq!(decimal(VR::DS, &text, &mut out), number.is_some());
            if let Some(number) = number {
                prop_assert_eq!(String::from_utf8(out).unwrap().parse::<f64>().unwrap(), number);
            }
        }
    }
}
