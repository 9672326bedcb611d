//! What an administrator changes while the program runs: names and values.

use mysql_async::prelude::Queryable;
use mysql_async::{Result, params};

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

/// Every setting that was given a value.
pub async fn all(conn: &mut impl Queryable) -> Result<Vec<(String, String)>> {
    conn.query("SELECT name, value FROM setting").await
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
