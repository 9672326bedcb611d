//! Person names (PS3.5 section 6.2.1): three component groups of five components, and the folded text they are
//! searched by.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// A person's name as a value of PN has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PersonName {
    /// The first group: letters, mostly Latin ones.
    pub alphabetic: Components,
    /// The second group: Han characters, or Hangul.
    pub ideographic: Components,
    /// The third group: Hiragana, Katakana or Hangul.
    pub phonetic: Components,
}

/// The five components of a group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Components {
    /// The family name, or all of the name where a device does not part it.
    pub family: String,
    /// Given names.
    pub given: String,
    /// Middle names.
    pub middle: String,
    /// "Dr."
    pub prefix: String,
    /// "MD"
    pub suffix: String,
}

impl PersonName {
    /// Reads one value. Nothing is refused; a sixth component or a fourth group is kept with the one before.
    pub fn parse(text: &str) -> Self {
        let mut groups = text.splitn(3, '=').map(Components::parse);
        let mut next = || groups.next().unwrap_or_default();
        Self { alphabetic: next(), ideographic: next(), phonetic: next() }
    }

    /// "Doe, John Quincy", or the first group there is: "山田 太郎".
    pub fn display(&self) -> String {
        if !self.alphabetic.is_empty() {
            self.alphabetic.display()
        } else if !self.ideographic.is_empty() {
            self.ideographic.display()
        } else {
            self.phonetic.display()
        }
    }

    /// The groups that [`display`](Self::display) does not show, for a line beneath it.
    pub fn display_others(&self) -> Vec<String> {
        let groups = [&self.alphabetic, &self.ideographic, &self.phonetic];
        groups.into_iter().filter(|group| !group.is_empty()).skip(1).map(Components::display).collect()
    }

    /// The name for searching: each group that there is folded, its components with a blank between, `|` between the
    /// groups.
    pub fn folded(&self) -> String {
        let groups = [&self.alphabetic, &self.ideographic, &self.phonetic];
        let folded = groups.map(|group| fold(&group.in_order().join(" ")));
        folded.into_iter().filter(|group| !group.is_empty()).collect::<Vec<_>>().join("|")
    }
}

impl Components {
    fn parse(text: &str) -> Self {
        let mut parts = text.splitn(5, '^').map(|part| part.trim_matches([' ', '\0']).to_owned());
        let mut next = || parts.next().unwrap_or_default();
        Self { family: next(), given: next(), middle: next(), prefix: next(), suffix: next() }
    }

    fn in_order(&self) -> [&str; 5] {
        [&self.family, &self.given, &self.middle, &self.prefix, &self.suffix]
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.in_order().iter().all(|part| part.trim_matches('^').is_empty())
    }

    /// The group as a person reads it.
    pub fn display(&self) -> String {
        let join = |parts: &[&str], between: &str| {
            parts.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(between)
        };
        // Han, Kana and Hangul names are written without a comma.
        let between = if self.family.chars().any(is_east_asian) { " " } else { ", " };
        let given = join(&[&self.prefix, &self.given, &self.middle], " ");
        let name = join(&[&self.family, &given], between);
        join(&[&name, self.suffix.trim_end_matches('^')], ", ")
    }
}

fn is_east_asian(c: char) -> bool {
    matches!(c, '\u{1100}'..='\u{11FF}' | '\u{2E80}'..='\u{9FFF}' | '\u{AC00}'..='\u{D7AF}' | '\u{F900}'..='\u{FAFF}'
        | '\u{FF66}'..='\u{FFDC}' | '\u{20000}'..='\u{3FFFF}')
}

/// The text as it is compared when somebody searches: one width, lower case, without accents and punctuation, single
/// blanks. Two texts a person takes for the same word fold to the same; Kana keep their voicing marks, and what is no
/// letter of Latin, Greek or Cyrillic script keeps its form.
pub fn fold(text: &str) -> String {
    // An apostrophe is dropped without a gap: O'Neill is ONeill. The acute and the grave accent typed for one go before
    // the compatibility forms, which would part them into a blank and an accent.
    let text = text.chars().filter(|c| !is_apostrophe(*c));
    // Compatibility forms first: half-width Kana and full-width Latin become ordinary.
    let lower = text.nfkc().flat_map(char::to_lowercase);
    let mut plain = String::new();
    for c in lower.nfd() {
        match c {
            // The accents of Latin, Greek and Cyrillic letters; the signs of Kana, Hangul and Indic scripts are others.
            '\u{300}'..='\u{36F}' => {}
            c if is_apostrophe(c) => {}
            c if c.is_alphanumeric() || is_combining_mark(c) => match without_stroke(c) {
                Some(letters) => plain.push_str(letters),
                None => plain.push(c),
            },
            _ => plain.push(' '),
        }
    }
    // Composed last, so that signs which only now stand together come into their one order.
    let mut folded = String::with_capacity(plain.len());
    for word in plain.split(' ').filter(|word| !word.is_empty()) {
        if !folded.is_empty() {
            folded.push(' ');
        }
        folded.extend(word.nfc());
    }
    folded
}

fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '’' | '‘' | 'ʼ' | '`' | '´')
}

/// Letters that have no decomposition into a letter and an accent, as they are spelt without them.
fn without_stroke(c: char) -> Option<&'static str> {
    Some(match c {
        'ß' => "ss",
        'æ' => "ae",
        'œ' => "oe",
        'ø' => "o",
        'ł' => "l",
        'đ' | 'ð' => "d",
        'þ' => "th",
        'ħ' => "h",
        'ŧ' => "t",
        'ŋ' => "n",
        'ı' => "i",
        'ȷ' => "j",
        'ƒ' => "f",
        'ς' => "σ",
        'ҁ' => "с",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_is_shown_family_first() {
        let shown = |text| PersonName::parse(text).display();
        assert_eq!(shown("Doe^John"), "Doe, John");
        assert_eq!(shown("Doe^John^Q^Dr.^MD"), "Doe, Dr. John Q, MD");
        assert_eq!(shown("Doe"), "Doe");
        assert_eq!(shown("^John"), "John");
        assert_eq!(shown("=山田^太郎=やまだ^たろう"), "山田 太郎");
        assert_eq!(shown("^^^^"), "");
        assert_eq!(shown(""), "");
        assert_eq!(
            PersonName::parse("Yamada^Tarou=山田^太郎=やまだ^たろう").display_others(),
            ["山田 太郎", "やまだ たろう"]
        );
        assert_eq!(PersonName::parse("Hong^Gildong=洪^吉洞=").display_others(), ["洪 吉洞"]);
    }

    #[test]
    fn each_group_is_folded_to_contiguous_text() {
        let folded = |text| PersonName::parse(text).folded();
        assert_eq!(folded("Yamada^Tarou=山田^太郎=やまだ^たろう"), "yamada tarou|山田 太郎|やまだ たろう");
        assert_eq!(folded("DOE^JOHN^^^"), "doe john");
        assert_eq!(folded("=洪^吉洞="), "洪 吉洞");
        assert_eq!(folded("^^"), "");
    }

    #[test]
    fn accents_case_and_punctuation_do_not_count() {
        for (text, folded) in [
            ("Ærø", "aero"),
            ("AERO", "aero"),
            ("Jérôme", "jerome"),
            ("Müller-Lüdenscheidt", "muller ludenscheidt"),
            ("STRASSE", "strasse"),
            ("Straße", "strasse"),
            ("GROẞ", "gross"),
            ("İstanbul", "istanbul"),
            ("Işık", "isik"),
            ("O'Neill", "oneill"),
            ("O’Neill", "oneill"),
            ("O´Neill", "oneill"),
            ("O＇Neill", "oneill"),
            ("Łódź", "lodz"),
            ("Đặng Thị", "dang thi"),
            ("ΔΙΟΝΎΣΙΟΣ", "διονυσιοσ"),
            ("Διονύσιος", "διονυσιοσ"),
            ("Ёлкин", "елкин"),
            ("Йод", "иод"),
            ("  a..b,,c  ", "a b c"),
            ("\u{FB01}n", "fin"),
            ("Ｄｏｅ", "doe"),
        ] {
            assert_eq!(fold(text), folded, "{text}");
        }
    }

    #[test]
    fn kana_hangul_han_and_indic_keep_what_makes_them_words() {
        for (text, folded) in [
            ("ﾔﾏﾀﾞ", "ヤマダ"),
            ("ヤマダ", "ヤマダ"),
            ("やまた\u{3099}", "やまだ"),
            ("ﾊﾟｰｶｰ", "パーカー"),
            ("홍길동", "홍길동"),
            ("\u{1112}\u{1169}\u{11BC}", "홍"),
            ("山田・太郎", "山田 太郎"),
            ("佐々木", "佐々木"),
            ("สมชาย ใจดี", "สมชาย ใจดี"),
            ("प्रिया", "प्रिया"),
            ("قباني", "قباني"),
        ] {
            assert_eq!(fold(text), folded, "{text}");
        }
    }

    #[test]
    fn every_letter_is_folded_once_and_for_all() {
        for c in '\0'..=char::MAX {
            let once = fold(&format!("a{c}b"));
            assert_eq!(fold(&once), once, "{c:?}");
        }
    }

    proptest! {
        #[test]
        fn folding_twice_changes_nothing(text in "\\PC{0,40}") {
            let once = fold(&text);
            prop_assert_eq!(fold(&once), once.clone());
            prop_assert!(!once.contains("  ") && once.trim() == once);
        }

        #[test]
        fn any_text_is_a_name(text in any::<String>()) {
            let name = PersonName::parse(&text);
            prop_assert!(name.display().chars().count() <= text.chars().count() + 8);
            prop_assert!(name.folded().split('|').count() <= 3);
        }
    }
}
