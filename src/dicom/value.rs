//! Values that are written as text: DA, TM, DT, IS and DS of PS3.5 section 6.2, read as generously as one can
//! without guessing.

use std::ops::RangeInclusive;

use chrono::{FixedOffset, NaiveDate, NaiveDateTime, NaiveTime};

/// The years that a date may have: what a column of type DATE holds. Others come from devices that fill in zeros.
const YEARS: RangeInclusive<u32> = 1000..=9999;

/// A date: `20260102`, or `2026.01.02` as ACR-NEMA wrote it. Hyphens and slashes are seen too. `None` for what is no
/// day of the calendar, and for years before 1000.
pub fn date(text: &str) -> Option<NaiveDate> {
    let text = trimmed(text);
    let (year, month, day) = if text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        (text.get(..4)?, text.get(4..6)?, text.get(6..)?)
    } else {
        let mut parts = text.split(['.', '-', '/']);
        let parts = (parts.next()?, parts.next()?, parts.next()?, parts.next());
        match parts {
            (year, month, day, None) if year.len() == 4 && month.len() <= 2 && day.len() <= 2 => {
                (year, month, day)
            }
            _ => return None,
        }
    };
    let year = digits(year).filter(|year| YEARS.contains(year))?;
    NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, digits(month)?, digits(day)?)
}

/// A time of day: `HH`, `HHMM`, `HHMMSS`, `HHMMSS.FFFFFF`, or with colons as ACR-NEMA wrote it. The leap second 60
/// becomes 59.999999, which a database column can hold.
pub fn time(text: &str) -> Option<NaiveTime> {
    let text = trimmed(text);
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    let clock: String = clock.chars().filter(|&c| c != ':').collect();
    if !clock.is_ascii() || !matches!(clock.len(), 2 | 4 | 6) {
        return None;
    }
    let part = |from: usize| clock.get(from..from + 2).map_or(Some(0), digits);
    let (hour, minute, second) = (part(0)?, part(2)?, part(4)?);
    let microsecond = match fraction {
        "" => 0,
        // A longer fraction than the standard's six digits is cut.
        _ if fraction.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits(&fraction.chars().chain("000000".chars()).take(6).collect::<String>())?
        }
        _ => return None,
    };
    if second == 60 {
        return NaiveTime::from_hms_micro_opt(hour, minute, 59, 999_999);
    }
    NaiveTime::from_hms_micro_opt(hour, minute, second, microsecond)
}

/// A date with time, PS3.5 section 6.2 VR DT: `YYYYMMDDHHMMSS.FFFFFF&ZZXX`, from the year on as much as there is,
/// and the offset from UTC if it is given. What is missing is the first month, day or zero.
pub fn date_time(text: &str) -> Option<(NaiveDateTime, Option<FixedOffset>)> {
    let text = trimmed(text);
    if !text.is_ascii() {
        return None;
    }
    let (local, offset) = match text.rfind(['+', '-']) {
        Some(at) if at >= 4 => (text.get(..at)?, Some(utc_offset(text.get(at..)?)?)),
        _ => (text, None),
    };
    let whole = local.split('.').next()?.len();
    let day = match whole {
        4 => date(&format!("{local}0101")),
        6 => date(&format!("{local}01")),
        8.. => date(local.get(..8)?),
        _ => None,
    }?;
    let clock = match local.get(8..) {
        None | Some("") => NaiveTime::MIN,
        Some(clock) => time(clock)?,
    };
    Some((day.and_time(clock), offset))
}

/// An integer string. A fraction of zero or more digits is cut off: devices write `1.0` into Series Number.
pub fn integer(text: &str) -> Option<i64> {
    let text = trimmed(text);
    let plain = text.strip_prefix('+').unwrap_or(text);
    plain.parse().ok().or_else(|| whole(decimal(text)?))
}

/// A decimal string; a decimal comma is read as the point it should be. `None` for anything that is no finite number.
pub fn decimal(text: &str) -> Option<f64> {
    let text = trimmed(text);
    // `parse` would also take "inf" and "nan".
    if !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b',' | b'e' | b'E')) {
        return None;
    }
    let number: f64 = match text.contains(',') {
        true => text.replacen(',', ".", 1).parse().ok()?,
        false => text.parse().ok()?,
    };
    number.is_finite().then_some(number)
}

/// The whole part of a number, if it fits exactly enough to be one.
pub fn whole(number: f64) -> Option<i64> {
    // 2^53: beyond it neighbouring whole numbers are the same f64.
    (number.abs() <= 9_007_199_254_740_992.0).then(|| number.trunc() as i64)
}

fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\0'])
}

/// One or more decimal digits, without the sign that `parse` would take.
fn digits(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// `+0100`, `-0530`.
fn utc_offset(text: &str) -> Option<FixedOffset> {
    let minutes = digits(text.get(1..3)?)? * 60 + digits(text.get(3..)?)?;
    let seconds = i32::try_from(minutes.checked_mul(60)?).ok()?;
    match text.starts_with('-') {
        true => FixedOffset::west_opt(seconds),
        false => FixedOffset::east_opt(seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(year: i32, month: u32, day: u32) -> Option<NaiveDate> {
        NaiveDate::from_ymd_opt(year, month, day)
    }

    #[test]
    fn dates_of_both_standards_are_read_and_impossible_ones_are_not() {
        assert_eq!(date("20240229"), day(2024, 2, 29));
        assert_eq!(date("1997.04.24"), day(1997, 4, 24));
        assert_eq!(date("2024-1-9 "), day(2024, 1, 9));
        assert_eq!((date("10000101"), date("99991231")), (day(1000, 1, 1), day(9999, 12, 31)));
        assert_eq!([date("00010101"), date("0000.01.01"), date("0999-12-31")], [None; 3]);
        for text in
            ["", "20230229", "2024", "00000000", "+0240101", "19970424x", "1997.04.24.1", "日本語日本語日本"]
        {
            assert_eq!(date(text), None, "{text:?}");
        }
    }

    #[test]
    fn times_of_every_precision_are_read_and_a_leap_second_is_kept_in_its_minute() {
        let at = |h, m, s, us| NaiveTime::from_hms_micro_opt(h, m, s, us);
        assert_eq!(time("07"), at(7, 0, 0, 0));
        assert_eq!(time("0715"), at(7, 15, 0, 0));
        assert_eq!(time("071530.5"), at(7, 15, 30, 500_000));
        assert_eq!(time("071530.123456789"), at(7, 15, 30, 123_456));
        assert_eq!(time("07:15:30 "), at(7, 15, 30, 0));
        assert_eq!(time("235960.3"), at(23, 59, 59, 999_999));
        for text in ["", "7", "2400", "0760", "071599", "+1", "071530.x", "12:3"] {
            assert_eq!(time(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_date_time_may_stop_after_any_part_and_carry_an_offset() {
        let at = |text: &str| date_time(text).map(|(local, offset)| (local.to_string(), offset));
        assert_eq!(at("2024"), Some(("2024-01-01 00:00:00".into(), None)));
        assert_eq!(at("202402"), Some(("2024-02-01 00:00:00".into(), None)));
        assert_eq!(at("2024022907"), Some(("2024-02-29 07:00:00".into(), None)));
        assert_eq!(
            at("20240229071530.250000-0530"),
            Some(("2024-02-29 07:15:30.250".into(), FixedOffset::west_opt(5 * 3600 + 1800)))
        );
        for text in ["", "20", "20240230", "20240229+99999", "20240229x"] {
            assert_eq!(at(text), None, "{text:?}");
        }
    }

    #[test]
    fn integers_and_decimals_are_read_and_words_are_not() {
        assert_eq!(integer(" +12 "), Some(12));
        assert_eq!(integer("-3"), Some(-3));
        assert_eq!(integer("1.0"), Some(1));
        assert_eq!(integer("1A"), None);
        assert_eq!(integer("4000000000"), Some(4_000_000_000));
        assert_eq!(decimal("1,5"), Some(1.5));
        assert_eq!(decimal(" -1.5e-3\0"), Some(-0.0015));
        for text in ["", "nan", "inf", "1.2.3", "0x10", "1e999"] {
            assert_eq!(decimal(text), None, "{text:?}");
        }
    }
}
