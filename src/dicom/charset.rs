//! Specific Character Set (0008,0005) and its code extensions, PS3.5 section 6.1.2 and annexes H, I, J and K.
//!
//! A text begins in the sets that the first value names: G0 for bytes below 80H, G1 for those above. Escape sequences
//! put other sets there, and a delimiter puts the first ones back. UTF-8, GB18030 and GBK know no escapes. Devices
//! misspell the terms, leave out escapes and use sets they did not name, so every known escape is obeyed wherever it
//! stands, and bytes that fit nothing become U+FFFD.

mod encode;

pub use self::encode::Writing;
use encoding_rs::{
    EUC_JP, EUC_KR, Encoding, GB18030, ISO_8859_2, ISO_8859_3, ISO_8859_4, ISO_8859_5, ISO_8859_6,
    ISO_8859_7, ISO_8859_8, ISO_8859_15, SHIFT_JIS, UTF_8, WINDOWS_874, WINDOWS_1252, WINDOWS_1254,
};

/// The character sets in force in a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CharacterSet {
    /// UTF-8, GB18030 or GBK: there are no escapes, and nothing else counts.
    whole: Option<&'static Encoding>,
    /// What bytes above 80H are at the start of a text and after a delimiter; `None` is the default repertoire,
    /// which has no such bytes.
    upper: Option<Upper>,
    /// The first set of two-byte characters for bytes above 80H among the further values, for devices that forget
    /// its escape sequence.
    forgotten: Option<Upper>,
}

/// What is designated as G0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lower {
    /// ISO-IR 6, and ISO-IR 14, whose yen sign and overline are written as backslash and tilde, as everybody does.
    Ascii,
    /// ISO-IR 87, JIS X 0208: two bytes a character.
    Kanji,
    /// ISO-IR 159, JIS X 0212: two bytes a character.
    SupplementaryKanji,
}

/// What is designated as G1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Upper {
    encoding: &'static Encoding,
    two_bytes: bool,
}

const fn one_byte(encoding: &'static Encoding) -> Upper {
    Upper { encoding, two_bytes: false }
}

const KOREAN: Upper = Upper { encoding: EUC_KR, two_bytes: true };
/// GB 2312 as G1 has the bytes it has in GB18030.
const CHINESE: Upper = Upper { encoding: GB18030, two_bytes: true };

/// A defined term of PS3.3 C.12.1.1.2.
enum Term {
    Whole(&'static Encoding),
    OneByte(Upper),
    TwoBytes(Upper),
    /// The default repertoire, and the Japanese sets that only escapes bring in.
    Default,
}

impl Term {
    /// The term without the signs devices mix up: `ISO_IR 100`, `ISO 2022 IR 100`, `ISO-IR 100`, `ISO IR100` and
    /// `ISO_8859-1` are one.
    fn from_text(text: &str) -> Self {
        let plain: String =
            text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect();
        let term = plain.strip_prefix("ISO").unwrap_or(&plain);
        let term = term.strip_prefix("2022").unwrap_or(term);
        let term = term.strip_prefix("IR").unwrap_or(term);
        match term {
            "100" | "88591" | "LATIN1" | "WINDOWS1252" => Self::OneByte(one_byte(WINDOWS_1252)),
            "101" | "88592" | "LATIN2" => Self::OneByte(one_byte(ISO_8859_2)),
            "109" | "88593" => Self::OneByte(one_byte(ISO_8859_3)),
            "110" | "88594" => Self::OneByte(one_byte(ISO_8859_4)),
            "144" | "88595" => Self::OneByte(one_byte(ISO_8859_5)),
            "127" | "88596" => Self::OneByte(one_byte(ISO_8859_6)),
            "126" | "88597" => Self::OneByte(one_byte(ISO_8859_7)),
            "138" | "88598" => Self::OneByte(one_byte(ISO_8859_8)),
            "148" | "88599" => Self::OneByte(one_byte(WINDOWS_1254)),
            "203" | "885915" | "LATIN9" => Self::OneByte(one_byte(ISO_8859_15)),
            "166" | "885911" | "TIS620" => Self::OneByte(one_byte(WINDOWS_874)),
            "13" | "SHIFTJIS" | "SJIS" => Self::OneByte(one_byte(SHIFT_JIS)),
            "149" | "EUCKR" => Self::TwoBytes(KOREAN),
            "58" | "GB2312" => Self::TwoBytes(CHINESE),
            "192" | "UTF8" | "10646" => Self::Whole(UTF_8),
            "GB18030" | "GBK" => Self::Whole(GB18030),
            // No term of the standard, but what the rest of the world calls a character set.
            _ => match Encoding::for_label(text.as_bytes()) {
                Some(encoding) if encoding.is_ascii_compatible() => Self::Whole(encoding),
                _ => Self::Default,
            },
        }
    }
}

impl CharacterSet {
    /// Reads the value of Specific Character Set. A term nobody knows is the default repertoire.
    pub fn from_value(value: &[u8]) -> Self {
        let text = String::from_utf8_lossy(value);
        let mut terms = text.split('\\').map(|term| Term::from_text(term.trim_matches([' ', '\0'])));
        let mut charset = Self::default();
        match terms.next() {
            Some(Term::Whole(encoding)) => return Self { whole: Some(encoding), ..charset },
            Some(Term::OneByte(upper) | Term::TwoBytes(upper)) => charset.upper = Some(upper),
            Some(Term::Default) | None => {}
        }
        charset.forgotten = terms.find_map(|term| match term {
            Term::TwoBytes(upper) => Some(upper),
            Term::Whole(_) | Term::OneByte(_) | Term::Default => None,
        });
        charset
    }

    /// A text of one value, as ST, LT and UT have it: the backslash is a letter like others.
    pub fn decode(&self, bytes: &[u8]) -> String {
        if let Some(text) = self.plain(bytes) {
            return text;
        }
        let mut decoder = Decoder::new(self);
        decoder.run(bytes, &mut |text, c| text.push(c));
        decoder.text
    }

    /// The values of a text that a backslash separates. A backslash that is half of a two-byte character does not.
    pub fn decode_values(&self, bytes: &[u8]) -> Vec<String> {
        if let Some(text) = self.plain(bytes) {
            return text.split('\\').map(str::to_owned).collect();
        }
        let mut values = Vec::new();
        let mut decoder = Decoder::new(self);
        decoder.run(bytes, &mut |text, c| match c {
            '\\' => values.push(std::mem::take(text)),
            c => text.push(c),
        });
        values.push(decoder.text);
        values
    }

    /// Text without escapes: ASCII, or in an encoding that has none.
    fn plain(&self, bytes: &[u8]) -> Option<String> {
        if let Some(encoding) = self.whole {
            return Some(encoding.decode_without_bom_handling(bytes).0.into_owned());
        }
        if bytes.contains(&ESCAPE) {
            return None;
        }
        if bytes.is_ascii() {
            return String::from_utf8(bytes.to_vec()).ok();
        }
        match self.upper {
            // One byte above 80H a character, or two that the encoding pairs as the standard does.
            Some(upper) => Some(upper.encoding.decode_without_bom_handling(bytes).0.into_owned()),
            None if self.forgotten.is_none() => Some(undeclared(bytes)),
            None => None,
        }
    }
}

const ESCAPE: u8 = 0x1B;

/// Bytes above 80H where none are allowed: UTF-8 if they are that, else Latin-1.
fn undeclared(bytes: &[u8]) -> String {
    match str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => WINDOWS_1252.decode_without_bom_handling(bytes).0.into_owned(),
    }
}

/// What an escape sequence designates, PS3.3 tables C.12-3 and C.12-4.
enum Designation {
    Lower(Lower),
    Upper(Upper),
}

/// The designation at the start of these bytes, and how many bytes it has. `None` for an unknown one.
fn designation(bytes: &[u8]) -> Option<(Designation, usize)> {
    use Designation::{Lower as G0, Upper as G1};
    Some(match bytes {
        [ESCAPE, b'(', b'B' | b'J', ..] => (G0(Lower::Ascii), 3),
        [ESCAPE, b'$', b'(', b'D', ..] => (G0(Lower::SupplementaryKanji), 4),
        [ESCAPE, b'$', b'(', b'B' | b'@', ..] => (G0(Lower::Kanji), 4),
        [ESCAPE, b'$', b'B' | b'@', ..] => (G0(Lower::Kanji), 3),
        [ESCAPE, b'$', b')', b'C', ..] => (G1(KOREAN), 4),
        [ESCAPE, b'$', b')', b'A', ..] => (G1(CHINESE), 4),
        [ESCAPE, b')', b'I', ..] => (G1(one_byte(SHIFT_JIS)), 3),
        [ESCAPE, b'-', set, ..] => {
            let encoding = match set {
                b'A' => WINDOWS_1252,
                b'B' => ISO_8859_2,
                b'C' => ISO_8859_3,
                b'D' => ISO_8859_4,
                b'L' => ISO_8859_5,
                b'G' => ISO_8859_6,
                b'F' => ISO_8859_7,
                b'H' => ISO_8859_8,
                b'M' => WINDOWS_1254,
                b'T' => WINDOWS_874,
                b'b' => ISO_8859_15,
                _ => return None,
            };
            (G1(one_byte(encoding)), 3)
        }
        _ => return None,
    })
}

struct Decoder<'a> {
    charset: &'a CharacterSet,
    lower: Lower,
    upper: Option<Upper>,
    /// The last G1 of this text that an escape brought in, for devices that do not repeat it after a delimiter.
    last_upper: Option<Upper>,
    text: String,
}

impl<'a> Decoder<'a> {
    fn new(charset: &'a CharacterSet) -> Self {
        let last_upper = charset.forgotten;
        Self { charset, lower: Lower::Ascii, upper: charset.upper, last_upper, text: String::new() }
    }

    /// Decodes `bytes`. ASCII characters go through `ascii`, which may take the text so far away.
    fn run(&mut self, mut bytes: &[u8], ascii: &mut dyn FnMut(&mut String, char)) {
        while let Some((&first, rest)) = bytes.split_first() {
            bytes = match first {
                ESCAPE => self.designate(bytes, rest),
                0x21..=0x7E if self.lower != Lower::Ascii => self.kanji(first, rest, ascii),
                0x00..=0x7F => {
                    self.ascii(first, ascii);
                    rest
                }
                0x80.. => {
                    let end = bytes.iter().position(|&byte| byte < 0x80).unwrap_or(bytes.len());
                    let (run, rest) = bytes.split_at_checked(end).unwrap_or((bytes, &[]));
                    self.above(run, rest)
                }
            };
        }
    }

    fn designate<'b>(&mut self, bytes: &'b [u8], rest: &'b [u8]) -> &'b [u8] {
        let Some((designation, length)) = designation(bytes) else {
            self.text.push(char::REPLACEMENT_CHARACTER);
            return rest;
        };
        match designation {
            Designation::Lower(lower) => self.lower = lower,
            Designation::Upper(upper) => {
                self.upper = Some(upper);
                self.last_upper = Some(upper);
            }
        }
        bytes.get(length..).unwrap_or_default()
    }

    /// A character of two bytes below 80H: EUC-JP has them with the high bit set. A byte without a second one is
    /// taken for the delimiter of a device that did not escape back to ASCII.
    fn kanji<'b>(&mut self, first: u8, rest: &'b [u8], ascii: &mut dyn FnMut(&mut String, char)) -> &'b [u8] {
        let Some((&second @ 0x21..=0x7E, after)) = rest.split_first() else {
            self.ascii(first, ascii);
            return rest;
        };
        let pair = [0x8F, first | 0x80, second | 0x80];
        let pair = match self.lower {
            Lower::SupplementaryKanji => &pair[..],
            Lower::Kanji | Lower::Ascii => pair.get(1..).unwrap_or_default(),
        };
        self.text.push_str(&EUC_JP.decode_without_bom_handling(pair).0);
        after
    }

    fn ascii(&mut self, byte: u8, ascii: &mut dyn FnMut(&mut String, char)) {
        ascii(&mut self.text, char::from(byte));
        // PS3.5 section 6.1.2.5.3: between values, name components and lines the first sets are in force again.
        if matches!(byte, b'\\' | b'^' | b'=' | b'\t' | b'\n' | b'\r' | 0x0C) {
            self.lower = Lower::Ascii;
            self.upper = self.charset.upper;
        }
    }

    /// A run of bytes above 80H, and what follows it.
    fn above<'b>(&mut self, run: &[u8], rest: &'b [u8]) -> &'b [u8] {
        match self.upper.or(self.last_upper) {
            // A half character at the end would take the next byte with it.
            Some(upper) if upper.two_bytes && run.len() % 2 == 1 => {
                let (whole, _) = run.split_at_checked(run.len() - 1).unwrap_or((run, &[]));
                self.text.push_str(&upper.encoding.decode_without_bom_handling(whole).0);
                self.text.push(char::REPLACEMENT_CHARACTER);
            }
            Some(upper) => self.text.push_str(&upper.encoding.decode_without_bom_handling(run).0),
            None => self.text.push_str(&undeclared(run)),
        }
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decoded(charset: &[u8], text: &[u8]) -> String {
        CharacterSet::from_value(charset).decode_values(text).join("\\")
    }

    /// The names of pydicom's charset files, which show every kind of Specific Character Set, as pydicom reads them.
    #[test]
    fn names_of_every_script_are_read() {
        for &(charset, bytes, name) in NAMES {
            assert_eq!(decoded(charset, bytes).trim_end_matches([' ', '=']), name);
        }
    }

    const NAMES: &[(&[u8], &[u8], &str)] = &[
        // Arabic, French, German, Greek.
        (b"ISO_IR 127", b"\xe2\xc8\xc7\xe6\xea^\xe4\xe6\xd2\xc7\xd1 ", "قباني^لنزار"),
        (b"ISO_IR 100", b"Buc^J\xe9r\xf4me", "Buc^Jérôme"),
        (b"ISO_IR 100", b"\xc4neas^R\xfcdiger ", "Äneas^Rüdiger"),
        (b"ISO_IR 126", b"\xc4\xe9\xef\xed\xf5\xf3\xe9\xef\xf2 ", "Διονυσιος"),
        // Japanese, PS3.5 annexes H.3.1 and H.3.2.
        (
            b"\\ISO 2022 IR 87",
            b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
            "Yamada^Tarou=山田^太郎=やまだ^たろう",
        ),
        (
            b"ISO 2022 IR 13\\ISO 2022 IR 87",
            b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J=\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J",
            "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
        ),
        (
            b"ISO 2022 IR 13\\ISO 2022 IR 87 ",
            b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
            "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
        ),
        (b"ISO 2022 IR 6\\ISO 2022 IR 87", b"\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B ", "やまだ^たろう"),
        // Hebrew, Russian.
        (b"ISO_IR 138", b"\xf9\xf8\xe5\xef^\xe3\xe1\xe5\xf8\xe4", "שרון^דבורה"),
        (b"ISO_IR 144", b"\xbb\xee\xdace\xdc\xd1yp\xd3", "Люкceмбypг"),
        // Korean, PS3.5 annex I.2.
        (
            b"\\ISO 2022 IR 149",
            b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
            "Hong^Gildong=洪^吉洞=홍^길동",
        ),
        (b"\\ISO 2022 IR 149", b"\x1b$)C\xb1\xe8\xc8\xf1\xc1\xdf\x1b(B ", "김희중"),
        // Chinese, PS3.5 annexes J and K.
        (
            b"ISO_IR 192",
            b"Wang^XiaoDong=\xe7\x8e\x8b^\xe5\xb0\x8f\xe6\x9d\xb1= ",
            "Wang^XiaoDong=王^小東",
        ),
        (b"GB18030", b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab=", "Wang^XiaoDong=王^小东"),
        (
            b"\\ISO 2022 IR 58",
            b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=",
            "Zhang^XiaoDong=张^小东",
        ),
    ];

    #[test]
    fn every_one_byte_set_has_its_term_and_its_escape() {
        let sets: [(&str, u8, u8, char); 11] = [
            ("100", b'A', 0xE9, 'é'),
            ("101", b'B', 0xB1, 'ą'),
            ("109", b'C', 0xB1, 'ħ'),
            ("110", b'D', 0xBF, 'ŋ'),
            ("144", b'L', 0xD6, 'ж'),
            ("127", b'G', 0xC8, 'ب'),
            ("126", b'F', 0xE1, 'α'),
            ("138", b'H', 0xE0, 'א'),
            ("148", b'M', 0xFD, 'ı'),
            ("166", b'T', 0xA1, 'ก'),
            ("203", b'b', 0xA4, '€'),
        ];
        for (number, escape, byte, letter) in sets {
            let expected = format!("x{letter}");
            for term in
                [format!("ISO_IR {number}"), format!("ISO 2022 IR {number}"), format!("ISO-IR {number} ")]
            {
                assert_eq!(decoded(term.as_bytes(), &[b'x', byte]), expected, "{term}");
            }
            let other = if number == "100" { "ISO 2022 IR 101" } else { "ISO 2022 IR 100" };
            assert_eq!(decoded(other.as_bytes(), &[ESCAPE, b'-', escape, b'x', byte]), expected, "{number}");
        }
        assert_eq!(decoded(b"ISO_IR 13", &[0xD4, 0xCF, 0xC0, 0xDE]), "ﾔﾏﾀﾞ");
        assert_eq!(decoded(b"", &[ESCAPE, b')', b'I', 0xD4]), "ﾔ");
    }

    #[test]
    fn names_of_other_worlds_are_understood() {
        assert_eq!(decoded(b"windows-1251", b"\xc8\xe2\xe0\xed"), "Иван");
        assert_eq!(decoded(b"UTF-8", "Иван".as_bytes()), "Иван");
        assert_eq!(decoded(b"ISO_8859-5", b"\xb8\xd2\xd0\xdd"), "Иван");
        assert_eq!(decoded(b"utf-16", b"ab"), "ab");
    }

    #[test]
    fn a_delimiter_puts_the_first_sets_back() {
        let text = b"\x1b-F\xe1^\xe9";
        assert_eq!(decoded(b"ISO 2022 IR 100\\ISO 2022 IR 126", text), "α^é");
        assert_eq!(decoded(b"ISO 2022 IR 100\\ISO 2022 IR 126", b"\x1b-F\xe1\r\n\xe9"), "α\r\né");
    }

    #[test]
    fn half_of_a_two_byte_character_is_no_delimiter() {
        // JIS X 0208 has 5C and 3D as second bytes, GBK and Shift JIS have 5C.
        assert_eq!(decoded(b"\\ISO 2022 IR 87", b"\x1b$B!\\=(\x1b(B\\x"), "＋秀\\x");
        let values = |charset: &[u8], text: &[u8]| CharacterSet::from_value(charset).decode_values(text);
        assert_eq!(values(b"\\ISO 2022 IR 87", b"\x1b$B!\\\x1b(B"), ["＋"]);
        assert_eq!(values(b"GBK", &[0x8E, 0x5C, b'\\', b'x']), ["嶾", "x"]);
        assert_eq!(values(b"GB18030", &[0x8E, 0x5C, b'\\', b'x']), ["嶾", "x"]);
        assert_eq!(values(b"ISO_IR 13", &[0x95, 0x5C, b'\\', b'x']), ["表", "x"]);
        assert_eq!(values(b"ISO_IR 192", "é\\ü".as_bytes()), ["é", "ü"]);
    }

    #[test]
    fn supplementary_kanji_are_read() {
        assert_eq!(decoded(b"\\ISO 2022 IR 87\\ISO 2022 IR 159", b"\x1b$(D0!\x1b(B"), "丂");
    }

    #[test]
    fn in_a_text_of_one_value_the_backslash_stays() {
        let charset = CharacterSet::from_value(b"\\ISO 2022 IR 149");
        assert_eq!(charset.decode(b"a\\\x1b$)C\xfb\xf3"), "a\\洪");
    }

    #[test]
    fn a_forgotten_escape_is_guessed_and_an_unknown_one_shown() {
        assert_eq!(decoded(b"\\ISO 2022 IR 149", b"\xfb\xf3"), "洪");
        assert_eq!(decoded(b"\\ISO 2022 IR 149", b"\x1b$)C\xfb\xf3^\xd1\xce"), "洪^吉");
        assert_eq!(decoded(b"", b"\x1b$)C\xfb\xf3"), "洪");
        assert_eq!(decoded(b"", b"a\x1b%Gb"), "a\u{FFFD}%Gb");
    }

    #[test]
    fn undeclared_letters_are_utf8_or_latin1() {
        assert_eq!(decoded(b"", "Jérôme".as_bytes()), "Jérôme");
        assert_eq!(decoded(b"", b"J\xe9r\xf4me"), "Jérôme");
        assert_eq!(decoded(b"NO SUCH SET", b"J\xe9r\xf4me"), "Jérôme");
    }

    #[test]
    fn bad_bytes_become_replacement_characters() {
        assert_eq!(decoded(b"ISO_IR 192", b"a\xff\xfeb"), "a\u{FFFD}\u{FFFD}b");
        assert_eq!(decoded(b"\\ISO 2022 IR 149", b"\x1b$)C\xfb\xf3\xfb x"), "洪\u{FFFD} x");
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_set_end_in_text(
            charset in prop::sample::select(vec![
                &b""[..], b"ISO_IR 100", b"\\ISO 2022 IR 87\\ISO 2022 IR 159", b"ISO 2022 IR 13\\ISO 2022 IR 87",
                b"\\ISO 2022 IR 149", b"\\ISO 2022 IR 58", b"GB18030", b"ISO_IR 192", b"ISO_IR 166",
            ]),
            parts in prop::collection::vec(prop_oneof![
                prop::collection::vec(any::<u8>(), 0..6),
                prop::sample::select(vec![b"\x1b$B".to_vec(), b"\x1b(B".to_vec(), b"\x1b$)C".to_vec(), b"\x1b$(D".to_vec(), b"\x1b-".to_vec()]),
            ], 0..20),
        ) {
            let bytes = parts.concat();
            let charset = CharacterSet::from_value(charset);
            prop_assert!(charset.decode(&bytes).len() <= bytes.len() * 3);
            prop_assert!(!charset.decode_values(&bytes).is_empty());
        }
    }
}
