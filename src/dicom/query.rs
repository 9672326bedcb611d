//! What is looked for: keys and how each matches, PS3.4 C.2.2.2, with an order and a page.
//!
//! The study list's form becomes a [`Query`] (`web::filters`), as a C-FIND identifier and a QIDO-RS address can.
//! `db::matching` turns it into SQL. Values are parsed here once and not looked at again.

mod attribute;
pub mod identifier;
pub mod remote;

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};

pub use self::attribute::{Attribute, InRequest, Kind, Level};
use super::value;

/// What is looked for, in which order, and which page of it. It matches when every word and every key does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Patients, studies, series or instances.
    pub level: Level,
    /// Words of which each is in the patient's name, in the Patient ID or in the Accession Number.
    pub words: Vec<Word>,
    /// Attributes and what they are to match.
    pub keys: Vec<Key>,
    /// The order.
    pub sort: Sort,
    /// The part of the matches that is wanted.
    pub page: Page,
}

/// An attribute and what it is to match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Which attribute.
    pub attribute: Attribute,
    /// What it is to match.
    pub matching: Matching,
}

/// How a key matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Matching {
    /// C.2.2.2.3: anything does.
    Universal,
    /// C.2.2.2.1: this value.
    SingleValue(String),
    /// C.2.2.2.2: one of these UIDs.
    ListOfUid(Vec<String>),
    /// C.2.2.2.4: `*` stands for any characters, `?` for one.
    WildCard(String),
    /// C.2.2.2.5: a date from the first to the second, both included; without one, open on that side.
    Range(Option<NaiveDate>, Option<NaiveDate>),
    /// Likewise a time of day.
    TimeRange(Option<NaiveTime>, Option<NaiveTime>),
    /// Likewise a date and the time beside it as one.
    DateTimeRange(Option<NaiveDateTime>, Option<NaiveDateTime>),
    /// A number, however it is written.
    Number(i64),
    /// C.2.2.2.7: no value.
    Empty,
    /// C.2.2.2.8: one of these values.
    MultipleValue(Vec<String>),
    /// Not in the standard: the value contains this, whatever the case; `*` and `?` as above.
    Contains(String),
    /// Person names, each word somewhere in any component group, folded. What C.2.2.2.1 leaves to us as fuzzy
    /// semantic matching.
    Words(Vec<Word>),
}

/// One word as it was typed, without blanks around it and never empty. May hold the wild cards `*` and `?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word(String);

impl Word {
    /// At most this many are looked at: each costs a comparison per row.
    const MOST: usize = 8;

    /// The words of `text`, the first eight.
    pub fn all(text: &str) -> Vec<Word> {
        text.split(|c: char| c.is_whitespace() || matches!(c, ',' | '^' | '='))
            .filter(|word| !word.is_empty())
            .take(Word::MOST)
            .map(|word| Word(word.chars().take(64).collect()))
            .collect()
    }

    /// The word.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The order of the matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sort {
    /// By what.
    pub by: SortKey,
    /// Which way.
    pub direction: Direction,
}

/// What can be sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SortKey {
    /// Patient's name, folded.
    PatientName,
    /// Patient's birth date.
    PatientBirthDate,
    /// Study date and time.
    StudyDate,
    /// Modalities in the study.
    Modality,
    /// Study description.
    StudyDescription,
    /// Referring physician's name.
    ReferringPhysicianName,
    /// Accession number.
    AccessionNumber,
    /// Number of study related instances.
    Instances,
}

impl SortKey {
    /// Every one of them, the order that is asked for most first.
    pub const ALL: [SortKey; 8] = [
        SortKey::StudyDate,
        SortKey::PatientName,
        SortKey::PatientBirthDate,
        SortKey::Modality,
        SortKey::StudyDescription,
        SortKey::ReferringPhysicianName,
        SortKey::AccessionNumber,
        SortKey::Instances,
    ];
}

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Smallest, earliest, A first.
    Ascending,
    /// Largest, latest, Z first.
    Descending,
}

/// A part of the matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// From 1.
    pub number: u64,
    /// Matches on a page.
    pub size: u64,
    /// The newest study that page 1 counted, by our own number: what arrives while a person turns pages does not
    /// push studies from one page to the next.
    pub as_of: Option<u64>,
}

impl Query {
    /// Whether every study matches, because nothing is asked of it.
    pub fn matches_everything(&self) -> bool {
        self.words.is_empty() && self.keys.iter().all(|key| key.matching == Matching::Universal)
    }
}

impl Page {
    /// Matches on the pages before this one.
    pub fn offset(&self) -> u64 {
        self.number.saturating_sub(1).saturating_mul(self.size)
    }
}

impl Matching {
    /// What the standard makes of the value of a key, by the kind of its attribute. `None` where a date is none, a time
    /// or a number.
    pub fn of(kind: Kind, text: &str) -> Option<Matching> {
        let text = text.trim_matches(['\0', ' ']);
        match text {
            "" => return Some(Matching::Universal),
            "\"\"" => return Some(Matching::Empty),
            _ => {}
        }
        match kind {
            Kind::Uid if text.contains('\\') => {
                Some(Matching::ListOfUid(text.split('\\').map(|uid| uid.trim().to_owned()).collect()))
            }
            Kind::Uid => Some(Matching::SingleValue(text.to_owned())),
            Kind::Date => Matching::of_date(text),
            Kind::Time => Matching::of_time(text),
            Kind::Number => number(text).map(Matching::Number),
            Kind::PersonName | Kind::Text if text.chars().all(|c| c == '*') => Some(Matching::Universal),
            Kind::PersonName | Kind::Text if text.contains('\\') => {
                let values = text.split('\\').map(str::trim).filter(|value| !value.is_empty());
                Some(Matching::MultipleValue(values.map(str::to_owned).collect()))
            }
            Kind::PersonName | Kind::Text if text.contains(['*', '?']) => {
                Some(Matching::WildCard(text.to_owned()))
            }
            Kind::PersonName | Kind::Text => Some(Matching::SingleValue(text.to_owned())),
        }
    }

    /// `20260101`, `20260101-`, `-20260131`, `20260101-20260131`.
    fn of_date(text: &str) -> Option<Matching> {
        let bound = |text: &str| match text.trim() {
            "" => Some(None),
            text => value::date(text).map(Some),
        };
        // A hyphen within a date, as some write it, is not one between two.
        if let Some(date) = value::date(text) {
            return Some(Matching::Range(Some(date), Some(date)));
        }
        let (from, to) = text.split_once('-')?;
        Some(Matching::Range(bound(from)?, bound(to)?))
    }

    /// `1030` is the whole minute; so are the ends of a range.
    fn of_time(text: &str) -> Option<Matching> {
        let first = |text: &str| match text.trim() {
            "" => Some(None),
            text => value::time(text).map(Some),
        };
        let last = |text: &str| match text.trim() {
            "" => Some(None),
            text => last_moment(text).map(Some),
        };
        match text.split_once('-') {
            Some((from, to)) => Some(Matching::TimeRange(first(from)?, last(to)?)),
            None => Some(Matching::TimeRange(first(text)?, last(text)?)),
        }
    }
}

/// The last microsecond of a time that is written to the hour, the minute, the second or a fraction.
fn last_moment(text: &str) -> Option<NaiveTime> {
    let begin = value::time(text)?;
    let digits = text.chars().filter(char::is_ascii_digit).count();
    let exact = match text.split_once('.') {
        Some((_, fraction)) => 10_i64.pow(6_u32.saturating_sub(u32::try_from(fraction.len()).unwrap_or(6))),
        None => match digits {
            2 => 3_600_000_000,
            4 => 60_000_000,
            _ => 1_000_000,
        },
    };
    Some(begin.overflowing_add_signed(chrono::TimeDelta::microseconds(exact - 1)).0)
}

/// An integer as IS and US have it, or a DS that is one.
fn number(text: &str) -> Option<i64> {
    match text.parse() {
        Ok(number) => Some(number),
        Err(_) => text.parse::<f64>().ok().filter(|number| number.fract() == 0.0).and_then(whole),
    }
}

/// Within what an index column holds.
fn whole(number: f64) -> Option<i64> {
    (number.abs() < 9e15).then(|| format!("{number:.0}").parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(day: u32) -> Option<NaiveDate> {
        NaiveDate::from_ymd_opt(2026, 1, day)
    }

    #[test]
    fn an_empty_value_and_a_lone_star_match_anything() {
        assert_eq!(Matching::of(Kind::Text, ""), Some(Matching::Universal));
        assert_eq!(Matching::of(Kind::PersonName, "*"), Some(Matching::Universal));
        assert_eq!(Matching::of(Kind::Uid, " \0"), Some(Matching::Universal));
    }

    #[test]
    fn wild_cards_are_for_text_and_not_for_uids() {
        assert_eq!(Matching::of(Kind::Text, "CT*"), Some(Matching::WildCard("CT*".into())));
        assert_eq!(Matching::of(Kind::PersonName, "DOE^J?NE"), Some(Matching::WildCard("DOE^J?NE".into())));
        assert_eq!(Matching::of(Kind::Uid, "1.2.*"), Some(Matching::SingleValue("1.2.*".into())));
    }

    #[test]
    fn a_backslash_between_uids_makes_a_list() {
        let list = Matching::ListOfUid(vec!["1.2".into(), "1.3".into()]);
        assert_eq!(Matching::of(Kind::Uid, "1.2\\1.3"), Some(list));
    }

    #[test]
    fn dates_are_ranges_open_or_closed() {
        assert_eq!(Matching::of(Kind::Date, "20260102"), Some(Matching::Range(day(2), day(2))));
        assert_eq!(Matching::of(Kind::Date, "20260102-"), Some(Matching::Range(day(2), None)));
        assert_eq!(Matching::of(Kind::Date, "-20260103"), Some(Matching::Range(None, day(3))));
        assert_eq!(Matching::of(Kind::Date, "20260102-20260103"), Some(Matching::Range(day(2), day(3))));
        assert_eq!(Matching::of(Kind::Date, "2026-01-02"), Some(Matching::Range(day(2), day(2))));
        assert_eq!(Matching::of(Kind::Date, "yesterday"), None);
    }

    #[test]
    fn a_time_lasts_as_long_as_it_is_written_exactly() {
        let at = |text| value::time(text);
        let of = |text| Matching::of(Kind::Time, text);
        assert_eq!(of("10"), Some(Matching::TimeRange(at("10"), at("105959.999999"))));
        assert_eq!(of("1030"), Some(Matching::TimeRange(at("1030"), at("103059.999999"))));
        assert_eq!(of("103015.5"), Some(Matching::TimeRange(at("103015.5"), at("103015.599999"))));
        assert_eq!(of("103015.123456"), Some(Matching::TimeRange(at("103015.123456"), at("103015.123456"))));
        assert_eq!(of("1000-1200"), Some(Matching::TimeRange(at("1000"), at("120059.999999"))));
        assert_eq!(of("-12"), Some(Matching::TimeRange(None, at("125959.999999"))));
        assert_eq!(of("noon"), None);
    }

    #[test]
    fn numbers_are_compared_as_numbers_and_two_quotation_marks_are_nothing() {
        assert_eq!(Matching::of(Kind::Number, " 007 "), Some(Matching::Number(7)));
        assert_eq!(Matching::of(Kind::Number, "1e2"), Some(Matching::Number(100)));
        assert_eq!(Matching::of(Kind::Number, "1*"), None);
        assert_eq!(Matching::of(Kind::Text, "\"\""), Some(Matching::Empty));
    }

    #[test]
    fn several_values_of_a_text_are_alternatives() {
        let either = Matching::MultipleValue(vec!["CT".into(), "MR*".into()]);
        assert_eq!(Matching::of(Kind::Text, "CT\\MR*"), Some(either));
    }

    #[test]
    fn words_are_cut_at_blanks_and_at_what_stands_between_the_parts_of_a_name() {
        let words = |text| Word::all(text).iter().map(|word| word.as_str().to_owned()).collect::<Vec<_>>();
        assert_eq!(words(" Doe,  Jane "), ["Doe", "Jane"]);
        assert_eq!(words("Yamada^Tarou=山田^太郎"), ["Yamada", "Tarou", "山田", "太郎"]);
        assert_eq!(words("PID-4711"), ["PID-4711"]);
        assert!(words(" , ").is_empty());
        assert_eq!(words(&"x ".repeat(100)).len(), 8);
    }
}
