//! Text into the character set that somebody asked in, where it fits: PS3.5 section 6.1.2.

use encoding_rs::{EUC_KR, Encoding, GBK, ISO_2022_JP, SHIFT_JIS, UTF_8};

use super::{ESCAPE, Term};

/// A character set to write in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Writing {
    /// The value of Specific Character Set (0008,0005); empty for none.
    value: String,
    /// What the first value names.
    first: First,
    /// What further values bring in by escapes.
    escaped: Vec<Escaped>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    /// The default repertoire, and nothing else.
    Ascii,
    /// One byte a character.
    OneByte(&'static Encoding),
    /// UTF-8, GB18030, GBK.
    Whole(&'static Encoding),
}

/// Two bytes a character, after an escape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escaped {
    /// ISO 2022 IR 87.
    Kanji,
    /// ISO 2022 IR 149.
    Korean,
    /// ISO 2022 IR 58.
    Chinese,
}

impl Writing {
    /// The default repertoire: text of anything else does not fit.
    pub fn plain() -> Writing {
        Writing { value: String::new(), first: First::Ascii, escaped: Vec::new() }
    }

    /// UTF-8, into which everything fits.
    pub fn utf8() -> Writing {
        Writing { value: "ISO_IR 192".to_owned(), first: First::Whole(UTF_8), escaped: Vec::new() }
    }

    /// What the value of a Specific Character Set says; as far as we can write it.
    pub fn of(value: &[u8]) -> Writing {
        let text = String::from_utf8_lossy(value);
        let text = text.trim_matches([' ', '\0']);
        let mut terms = text.split('\\').map(str::trim);
        let first = match Term::from_text(terms.next().unwrap_or_default()) {
            Term::Whole(encoding) if text.contains("GBK") || encoding.name() == "GBK" => First::Whole(GBK),
            Term::Whole(encoding) => First::Whole(encoding),
            Term::OneByte(upper) => First::OneByte(upper.encoding),
            Term::TwoBytes(_) | Term::Default => First::Ascii,
        };
        let escaped = text.split('\\').filter_map(|term| {
            let digits: String = term.chars().filter(char::is_ascii_digit).collect();
            match digits.strip_prefix("2022").unwrap_or(&digits) {
                "87" => Some(Escaped::Kanji),
                "149" => Some(Escaped::Korean),
                "58" => Some(Escaped::Chinese),
                _ => None,
            }
        });
        Writing { value: text.to_owned(), first, escaped: escaped.collect() }
    }

    /// The value of Specific Character Set (0008,0005); empty where there is to be none.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The text in it; `None` where it does not fit.
    pub fn encode(&self, text: &str) -> Option<Vec<u8>> {
        if text.is_ascii() {
            return Some(text.as_bytes().to_vec());
        }
        match self.first {
            First::Whole(encoding) => {
                let (bytes, _, unmappable) = encoding.encode(text);
                (!unmappable).then(|| bytes.into_owned())
            }
            First::OneByte(_) | First::Ascii => self.with_escapes(text),
        }
    }

    /// Each stretch between two delimiters by itself, because they end what an escape brought in.
    fn with_escapes(&self, text: &str) -> Option<Vec<u8>> {
        let mut bytes = Vec::with_capacity(text.len() + 16);
        let mut rest = text;
        while !rest.is_empty() {
            let end = rest.find(is_delimiter).unwrap_or(rest.len());
            let (stretch, after) = rest.split_at(end);
            if stretch.is_ascii() {
                bytes.extend_from_slice(stretch.as_bytes());
            } else {
                let in_first = match self.first {
                    First::OneByte(encoding) => one_byte(encoding, stretch),
                    First::Ascii | First::Whole(_) => None,
                };
                let in_others = || self.escaped.iter().find_map(|set| set.encode(stretch));
                bytes.extend(in_first.or_else(in_others)?);
            }
            let mut characters = after.chars();
            if let Some(delimiter) = characters.next() {
                bytes.extend(u8::try_from(delimiter).ok());
            }
            rest = characters.as_str();
        }
        Some(bytes)
    }
}

impl Escaped {
    fn encode(self, stretch: &str) -> Option<Vec<u8>> {
        // JIS X 0208 has no half-width Kana, and would get full-width ones.
        if self == Escaped::Kanji && stretch.chars().any(|c| ('\u{FF61}'..='\u{FF9F}').contains(&c)) {
            return None;
        }
        let (encoding, escape): (&'static Encoding, &[u8]) = match self {
            // Its own escapes are those of the standard, back to ASCII at the end included.
            Escaped::Kanji => (ISO_2022_JP, &[]),
            Escaped::Korean => (EUC_KR, &[ESCAPE, b'$', b')', b'C']),
            Escaped::Chinese => (GBK, &[ESCAPE, b'$', b')', b'A']),
        };
        let (encoded, _, unmappable) = encoding.encode(stretch);
        // What these encodings have beyond the standard's sets is outside of its bytes.
        let is_within = self == Escaped::Kanji || in_pairs_above(&encoded);
        (!unmappable && is_within).then(|| [escape, &encoded].concat())
    }
}

/// Whether each byte above 7FH is one of a pair within A1H to FEH.
fn in_pairs_above(bytes: &[u8]) -> bool {
    let runs = bytes.split(u8::is_ascii);
    let is_set = |byte: &u8| (0xA1..=0xFE).contains(byte);
    // A second byte below 80H would end a run in the middle of a character.
    runs.into_iter().all(|run| run.len() % 2 == 0 && run.iter().all(is_set))
}

fn one_byte(encoding: &'static Encoding, text: &str) -> Option<Vec<u8>> {
    let (bytes, _, unmappable) = encoding.encode(text);
    // Bytes from 80H to 9FH are control characters in DICOM, whatever else the encodings of the web have there.
    let is_one_each = bytes.len() == text.chars().count();
    let is_within = encoding == SHIFT_JIS || bytes.iter().all(|byte| !(0x80..=0x9F).contains(byte));
    (!unmappable && is_one_each && is_within).then(|| bytes.into_owned())
}

fn is_delimiter(c: char) -> bool {
    matches!(c, '^' | '=' | '\\' | '\r' | '\n' | '\t' | '\u{C}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::charset::CharacterSet;

    /// What fits comes back as it was; the rest is said not to fit.
    #[test]
    fn what_fits_is_read_again_as_it_was_written() {
        for (set, text, fits) in [
            ("", "Doe^Jane", true),
            ("", "Müller", false),
            ("ISO_IR 100", "Müller^Jörg", true),
            ("ISO_IR 100", "Łukasz", false),
            ("ISO_IR 100", "10 €", false),
            ("ISO_IR 101", "Łukasz", true),
            ("ISO_IR 144", "Люкceмбypг", true),
            ("ISO_IR 126", "Διονυσιος", true),
            ("ISO_IR 166", "สมชาย", true),
            ("ISO_IR 13", "ﾔﾏﾀﾞ^ﾀﾛｳ", true),
            ("ISO_IR 13", "山田", false),
            ("ISO_IR 192", "山田^太郎 Łukasz Müller", true),
            ("GB18030", "王^小东 €", true),
            ("GBK", "王^小东", true),
            ("\\ISO 2022 IR 87", "Yamada^Tarou=山田^太郎=やまだ^たろう", true),
            ("\\ISO 2022 IR 87", "김희중", false),
            ("ISO 2022 IR 13\\ISO 2022 IR 87", "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう", true),
            ("\\ISO 2022 IR 149", "Hong^Gildong=洪^吉洞=홍^길동", true),
            ("\\ISO 2022 IR 149", "山田^ﾀﾛｳ", false),
            ("\\ISO 2022 IR 58", "Zhang^XiaoDong=张^小东", true),
            ("ISO 2022 IR 100\\ISO 2022 IR 149", "Müller=홍^길동", true),
            ("nobody knows", "Müller", false),
        ] {
            let written = Writing::of(set.as_bytes()).encode(text);
            assert_eq!(written.is_some(), fits, "{text} in {set}");
            if let Some(bytes) = written {
                let read = CharacterSet::from_value(set.as_bytes()).decode(&bytes);
                assert_eq!(read, text, "{set}: {bytes:02X?}");
            }
        }
    }

    #[test]
    fn the_standards_own_examples_are_written_byte_for_byte() {
        let korean = Writing::of(b"\\ISO 2022 IR 149").encode("Hong^Gildong=洪^吉洞=홍^길동");
        let expected =
            b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf";
        assert_eq!(korean.as_deref(), Some(&expected[..]), "PS3.5 I.2");
        let japanese = Writing::of(b"\\ISO 2022 IR 87").encode("Yamada^Tarou=山田^太郎");
        let expected = b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B";
        assert_eq!(japanese.as_deref(), Some(&expected[..]), "PS3.5 H.3.1");
    }
}
