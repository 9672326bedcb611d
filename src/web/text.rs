//! How values read on a page: names, dates, sizes, UIDs. Pure.

use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime};

use crate::dicom::person_name::PersonName;

/// A person's name, ready to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// `Doe, Jane`; the ideographic group where there is no alphabetic one; "No name" where there is none at all.
    pub name: String,
    /// The ideographic group, or else the phonetic one, where it is not already in `name`.
    pub other: Option<String>,
}

impl Person {
    /// From the value of a PN attribute, all component groups.
    pub fn of(value: &str) -> Person {
        let name = PersonName::parse(value);
        match name.display() {
            shown if shown.is_empty() => Person { name: "No name".to_owned(), other: None },
            shown => Person { name: shown, other: name.display_others().into_iter().next() },
        }
    }
}

/// A physician's name in one line, empty where there is none.
pub fn physician(value: &str) -> String {
    if value.trim_matches(['^', '=', ' ']).is_empty() { String::new() } else { Person::of(value).name }
}

/// `2026-11-22`, empty where there is none.
pub fn date(date: Option<NaiveDate>) -> String {
    date.map(|date| date.format("%Y-%m-%d").to_string()).unwrap_or_default()
}

/// `14:05`, empty where there is none.
pub fn time(time: Option<NaiveTime>) -> String {
    time.map(|time| time.format("%H:%M").to_string()).unwrap_or_default()
}

/// `2026-11-22 14:05`.
pub fn date_time(at: NaiveDateTime) -> String {
    at.format("%Y-%m-%d %H:%M").to_string()
}

/// `Female`, `Male`, `Other`; what else a device wrote, as it is.
pub fn sex(code: &str) -> &str {
    match code {
        "F" => "Female",
        "M" => "Male",
        "O" => "Other",
        other => other,
    }
}

/// Age on a day: `46 y`, `7 months`, `12 days`. From the birth date, or else Patient's Age (0010,1010).
pub fn age(birth: Option<NaiveDate>, on: Option<NaiveDate>, written: &str) -> String {
    match (birth, on) {
        (Some(birth), Some(on)) if birth <= on => age_between(birth, on),
        _ => written_age(written),
    }
}

fn age_between(birth: NaiveDate, on: NaiveDate) -> String {
    let mut months = (on.year() - birth.year()) * 12 + (on.month0() as i32 - birth.month0() as i32);
    if on.day() < birth.day() {
        months -= 1;
    }
    match months {
        ..1 => counted((on - birth).num_days().unsigned_abs(), "day", "days"),
        1..24 => counted(months.unsigned_abs().into(), "month", "months"),
        _ => format!("{} y", months / 12),
    }
}

/// `045Y` as `45 y`.
fn written_age(text: &str) -> String {
    let text = text.trim();
    let Some((number, unit)) = text.char_indices().next_back().map(|(at, _)| text.split_at(at)) else {
        return String::new();
    };
    let Ok(number) = number.parse::<u64>() else { return text.to_owned() };
    match unit {
        "Y" => format!("{number} y"),
        "M" => counted(number, "month", "months"),
        "W" => counted(number, "week", "weeks"),
        "D" => counted(number, "day", "days"),
        _ => text.to_owned(),
    }
}

/// `1 image`, `4,034 images`.
pub fn counted(number: u64, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{} {many}", thousands(number)) }
}

/// `4,034`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `12.3 MB`, `0.1 MB`; from 10,000 MB on `12.3 GB`. Decimal, as disks are sold.
pub fn size(bytes: u64) -> String {
    let tenths = |unit: u64| {
        let tenths = bytes.saturating_add(unit / 20) / (unit / 10);
        format!("{}.{}", thousands(tenths / 10), tenths % 10)
    };
    match bytes {
        0 => "0 MB".to_owned(),
        1..100_000 => "0.1 MB".to_owned(),
        100_000..10_000_000_000 => format!("{} MB", tenths(1_000_000)),
        _ => format!("{} GB", tenths(1_000_000_000)),
    }
}

/// A UID with its middle cut out: `1.2.826.0.1…0017.3`. The end is what tells UIDs of one device apart.
pub fn cut(uid: &impl ToString) -> String {
    let uid = uid.to_string();
    let length = uid.chars().count();
    if length <= 24 {
        return uid;
    }
    let start: String = uid.chars().take(11).collect();
    let end: String = uid.chars().skip(length - 10).collect();
    format!("{start}…{end}")
}

/// How long ago or for how long: `12 minutes`, `3 hours`, `5 days`.
pub fn duration(seconds: i64) -> String {
    let seconds = seconds.max(0).unsigned_abs();
    match seconds {
        ..60 => counted(seconds, "second", "seconds"),
        60..3600 => counted(seconds / 60, "minute", "minutes"),
        3600..172_800 => counted(seconds / 3600, "hour", "hours"),
        _ => counted(seconds / 86_400, "day", "days"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(year: i32, month: u32, day: u32) -> Option<NaiveDate> {
        NaiveDate::from_ymd_opt(year, month, day)
    }

    #[test]
    fn names_read_family_first_with_the_other_group_beneath() {
        let person =
            |name: &str, other: Option<&str>| Person { name: name.into(), other: other.map(Into::into) };
        assert_eq!(Person::of("Doe^Jane"), person("Doe, Jane", None));
        assert_eq!(
            Person::of("Yamada^Tarou=山田^太郎=やまだ^たろう"),
            person("Yamada, Tarou", Some("山田 太郎"))
        );
        assert_eq!(Person::of("=山田^太郎"), person("山田 太郎", None));
        assert_eq!(Person::of("Doe^Jane^Mary^Dr."), person("Doe, Dr. Jane Mary", None));
        assert_eq!(Person::of("^^"), person("No name", None));
        assert_eq!(physician("^^"), "");
    }

    #[test]
    fn ages_are_in_the_unit_one_would_say() {
        assert_eq!(age(day(1980, 3, 1), day(2026, 2, 28), ""), "45 y");
        assert_eq!(age(day(1980, 3, 1), day(2026, 3, 1), ""), "46 y");
        assert_eq!(age(day(2026, 1, 10), day(2026, 1, 11), ""), "1 day");
        assert_eq!(age(day(2025, 1, 10), day(2026, 1, 11), ""), "12 months");
        assert_eq!(age(None, day(2026, 1, 1), "045Y"), "45 y");
        assert_eq!(age(day(2027, 1, 1), day(2026, 1, 1), "003W"), "3 weeks");
        assert_eq!(age(None, None, "é"), "é");
        assert_eq!(age(None, None, ""), "");
    }

    #[test]
    fn numbers_and_sizes_are_grouped_and_rounded() {
        assert_eq!(thousands(4_034), "4,034");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(size(12_345_678), "12.3 MB");
        assert_eq!(size(1), "0.1 MB");
        assert_eq!(size(12_345_678_901), "12.3 GB");
        assert_eq!(counted(1, "image", "images"), "1 image");
    }

    #[test]
    fn long_uids_keep_both_ends() {
        assert_eq!(cut(&"1.2.840.10008.1.2"), "1.2.840.10008.1.2");
        assert_eq!(
            cut(&"1.2.826.0.1.3680043.8.498.45787841905473114233124723359129632652"),
            "1.2.826.0.1…9129632652"
        );
    }
}
