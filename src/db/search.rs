//! What matches a query, on any level and as DICOM writes it: for C-FIND and whatever else asks for attributes and not
//! for a page of the study list.

use chrono::{NaiveDate, NaiveTime, Timelike};
use mysql_async::prelude::Queryable;
use mysql_async::{BinaryProtocol, Conn, QueryResult, Result, Row, Value, from_value_opt};

use super::matching;
use super::visibility::Visibility;
use crate::dicom::query::{Attribute, Kind, Level, Query};

/// A SELECT, and what its question marks stand for.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    sql: String,
    params: Vec<Value>,
}

impl Statement {
    /// With question marks.
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// What they stand for, in their order.
    pub fn params(&self) -> Vec<Value> {
        self.params.clone()
    }
}

/// The statement that finds at most `query.page.size` matches, in no order, with these attributes of each.
pub fn statement(query: &Query, wanted: &[Attribute], visibility: &Visibility) -> Statement {
    let conditions = matching::conditions(query, visibility);
    let values = wanted.iter().map(|attribute| matching::value_of(*attribute, query.level));
    let values = values.collect::<Vec<_>>().join(",\n       ");
    let sql = format!(
        "SELECT {values}
           FROM {}
          WHERE {}
          LIMIT ?",
        matching::tables(query.level),
        conditions.sql()
    );
    let mut params = conditions.params();
    params.push(query.page.size.into());
    Statement { sql, params }
}

/// The statement that finds a page of the matches, from number `offset` on, which is counted from 0, in an order that
/// stays: studies in the query's, series and instances by theirs and then by their numbers.
pub fn page(query: &Query, wanted: &[Attribute], visibility: &Visibility, offset: u64) -> Statement {
    let conditions = matching::conditions(query, visibility);
    let values = wanted.iter().map(|attribute| matching::value_of(*attribute, query.level));
    let values = values.collect::<Vec<_>>().join(",\n       ");
    let (tables, order) = (matching::tables(query.level), matching::order_of(query.level, query.sort));
    // Rows of studies are wide and their indexes narrow, so only those of the page are read.
    let sql = match query.level {
        Level::Study => format!(
            "SELECT {values}
               FROM (SELECT study.study_key
                       FROM study {index}
                      WHERE {conditions}
                      ORDER BY {order}
                      LIMIT ? OFFSET ?) AS page
               JOIN study ON study.study_key = page.study_key
              ORDER BY {order}",
            index = match query.matches_everything() && *visibility == Visibility::All {
                true => format!("FORCE INDEX ({})", matching::index(query.sort.by)),
                false => String::new(),
            },
            conditions = conditions.sql(),
        ),
        _ => format!(
            "SELECT {values}
               FROM {tables}
              WHERE {}
              ORDER BY {order}
              LIMIT ? OFFSET ?",
            conditions.sql()
        ),
    };
    let mut params = conditions.params();
    params.extend([query.page.size.into(), offset.into()]);
    Statement { sql, params }
}

/// How many match, and no more than `most` of them.
pub async fn count(
    conn: &mut impl Queryable,
    query: &Query,
    visibility: &Visibility,
    most: u64,
) -> Result<u64> {
    let conditions = matching::conditions(query, visibility);
    let sql = format!(
        "SELECT COUNT(*)
           FROM (SELECT 1
                   FROM {}
                  WHERE {}
                  LIMIT ?) AS found",
        matching::tables(query.level),
        conditions.sql()
    );
    let mut params = conditions.params();
    params.push(most.into());
    Ok(conn.exec_first(sql, params).await?.unwrap_or(0))
}

/// Matches as the server sends them.
pub struct Matches<'a> {
    result: QueryResult<'a, 'static, BinaryProtocol>,
    wanted: &'a [Attribute],
}

/// Runs the statement.
pub async fn start<'a>(
    conn: &'a mut Conn,
    statement: &Statement,
    wanted: &'a [Attribute],
) -> Result<Matches<'a>> {
    let result = conn.exec_iter(statement.sql(), statement.params()).await?;
    Ok(Matches { result, wanted })
}

impl Matches<'_> {
    /// The next match: a text for each attribute, empty where there is none.
    pub async fn next(&mut self) -> Result<Option<Vec<String>>> {
        Ok(self.result.next().await?.map(|row| texts(row, self.wanted)))
    }
}

/// Ends the statement that the connection with this number is running.
pub async fn kill(conn: &mut Conn, connection: u32) -> Result<()> {
    conn.query_drop(format!("KILL QUERY {connection}")).await
}

fn texts(row: Row, wanted: &[Attribute]) -> Vec<String> {
    row.unwrap().into_iter().zip(wanted).map(|(value, attribute)| text(value, *attribute)).collect()
}

/// A value of a column as the value representation of its attribute writes it, PS3.5 section 6.2.
fn text(value: Value, attribute: Attribute) -> String {
    match (attribute.kind(), value) {
        (_, Value::NULL) => String::new(),
        (Kind::Date, value) => from_value_opt::<NaiveDate>(value)
            .map(|date| date.format("%Y%m%d").to_string())
            .unwrap_or_default(),
        (Kind::Time, value) => from_value_opt::<NaiveTime>(value).map(time).unwrap_or_default(),
        (_, Value::Int(number)) => number.to_string(),
        (_, Value::UInt(number)) => number.to_string(),
        (_, Value::Double(number)) => decimal(number),
        (_, Value::Float(number)) => decimal(number.into()),
        (_, Value::Bytes(bytes)) => {
            let text = String::from_utf8(bytes)
                .unwrap_or_else(|err| String::from_utf8_lossy(err.as_bytes()).into_owned());
            match attribute {
                // The columns have commas, for FIND_IN_SET.
                Attribute::ModalitiesInStudy | Attribute::SopClassesInStudy => text.replace(',', "\\"),
                _ => text,
            }
        }
        (_, Value::Date(..) | Value::Time(..)) => String::new(), // no column of another kind has one
    }
}

fn time(time: NaiveTime) -> String {
    match time.nanosecond() {
        0 => time.format("%H%M%S").to_string(),
        _ => time.format("%H%M%S%.6f").to_string(),
    }
}

/// A decimal string has at most 16 characters.
fn decimal(number: f64) -> String {
    let exact = number.to_string();
    if exact.len() <= 16 {
        return exact;
    }
    let fixed = (0..=14).map(|digits| format!("{number:.digits$}"));
    let with_exponent = (0..=9).map(|digits| format!("{number:.digits$e}"));
    let error = |text: &String| text.parse::<f64>().map_or(f64::INFINITY, |read| (read - number).abs());
    let fitting = fixed.chain(with_exponent).filter(|text| text.len() <= 16);
    fitting.min_by(|one, other| error(one).total_cmp(&error(other))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_their_representations_say() {
        let bytes = |text: &str| Value::Bytes(text.as_bytes().to_vec());
        for (value, attribute, expected) in [
            (Value::NULL, Attribute::StudyDate, ""),
            (Value::Date(2026, 1, 2, 0, 0, 0, 0), Attribute::StudyDate, "20260102"),
            (Value::Time(false, 0, 9, 5, 1, 0), Attribute::StudyTime, "090501"),
            (Value::Time(false, 0, 9, 5, 1, 250_000), Attribute::StudyTime, "090501.250000"),
            (Value::Int(-3), Attribute::SeriesNumber, "-3"),
            (Value::UInt(512), Attribute::Rows, "512"),
            (Value::Double(1.25), Attribute::SliceThickness, "1.25"),
            (bytes("CT,MR"), Attribute::ModalitiesInStudy, "CT\\MR"),
            (bytes("Head, neck"), Attribute::StudyDescription, "Head, neck"),
        ] {
            assert_eq!(text(value.clone(), attribute), expected, "{value:?}");
        }
    }

    #[test]
    fn a_decimal_fits_its_sixteen_characters() {
        for number in [0.1, 1.0 / 3.0, -123_456.789_012_345_6, 1e-30, -1.234_567_890_123e-12, 6.02e23, 1e300]
        {
            let text = decimal(number);
            assert!(text.len() <= 16, "{text}");
            let read: f64 = text.parse().expect("a number");
            assert!((read - number).abs() <= number.abs() * 1e-6, "{text} of {number}");
        }
    }
}
