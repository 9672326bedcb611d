//! What an administrator changes while the program runs: names and values.

use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{FromRowError, Result, Row, params};

use super::row::column;

/// Administrators sign in with a second factor, unless the value is `no`.
const SECOND_FACTOR: &str = "second-factor-for-administrators";
/// Programs may send a name and a password with each request, unless the value is `no`.
const BASIC: &str = "basic-authentication";

/// What an administrator has set for signing in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Administrators need a second factor.
    pub second_factor_for_administrators: bool,
    /// Programs may send a name and a password with each request.
    pub basic: bool,
}

/// The columns of [`Rules`], of any table.
macro_rules! rules_columns {
    () => {
        "NOT EXISTS (SELECT 1 FROM setting WHERE setting.name = 'second-factor-for-administrators' AND setting.value = 'no')
             AS rule_second_factor,
         NOT EXISTS (SELECT 1 FROM setting WHERE setting.name = 'basic-authentication' AND setting.value = 'no')
             AS rule_basic"
    };
}
pub(super) use rules_columns;

impl Rules {
    pub(super) fn from_columns(row: &Row) -> std::result::Result<Rules, FromRowError> {
        Ok(Rules {
            second_factor_for_administrators: column(row, "rule_second_factor")?,
            basic: column(row, "rule_basic")?,
        })
    }
}

impl FromRow for Rules {
    fn from_row_opt(row: Row) -> std::result::Result<Rules, FromRowError> {
        Rules::from_columns(&row)
    }
}

/// What is set for signing in.
pub async fn rules(conn: &mut impl Queryable) -> Result<Rules> {
    let found = conn.query_first(concat!("SELECT ", rules_columns!())).await?;
    Ok(found.unwrap_or(Rules { second_factor_for_administrators: true, basic: true }))
}

/// Sets the rules for signing in.
pub async fn set_rules(conn: &mut impl Queryable, rules: Rules) -> Result<()> {
    let word = |is_on| if is_on { "yes" } else { "no" };
    set(conn, SECOND_FACTOR, word(rules.second_factor_for_administrators)).await?;
    set(conn, BASIC, word(rules.basic)).await
}

/// The value of a setting, if one was ever given.
pub async fn get(conn: &mut impl Queryable, name: &str) -> Result<Option<String>> {
    conn.exec_first(
        "SELECT value
           FROM setting
          WHERE name = :name",
        params! { "name" => name },
    )
    .await
}

/// Gives a setting a value, whether it had one or not.
pub async fn set(conn: &mut impl Queryable, name: &str, value: &str) -> Result<()> {
    conn.exec_drop(
        "INSERT INTO setting (name, value, changed_at)
         VALUES (:name, :value, UTC_TIMESTAMP(6))
             ON DUPLICATE KEY UPDATE value = :value, changed_at = UTC_TIMESTAMP(6)",
        params! { "name" => name, "value" => value },
    )
    .await
}

/// Takes a setting back to its default.
pub async fn remove(conn: &mut impl Queryable, name: &str) -> Result<()> {
    conn.exec_drop(
        "DELETE FROM setting
          WHERE name = :name",
        params! { "name" => name },
    )
    .await
}
