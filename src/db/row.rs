//! Columns of a row by their names, for rows that are wider than a tuple should be.

use mysql_async::prelude::FromValue;
use mysql_async::{FromRowError, Row};
use std::str::FromStr;

/// The value of a column as a `T`.
pub fn column<T: FromValue>(row: &Row, name: &str) -> Result<T, FromRowError> {
    match row.get_opt(name) {
        Some(Ok(value)) => Ok(value),
        Some(Err(_)) | None => Err(FromRowError(row.clone())),
    }
}

/// The value of a column that holds a UID or another text with a type of its own.
pub fn parsed<T: FromStr>(row: &Row, name: &str) -> Result<T, FromRowError> {
    let text: String = column(row, name)?;
    text.parse().map_err(|_| FromRowError(row.clone()))
}
