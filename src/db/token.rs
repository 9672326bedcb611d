//! Table `token`: what programs sign in with.

use chrono::NaiveDateTime;
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{FromRowError, Result, Row, params};

use super::role::Rights;
use super::row::column;
use super::user::{User, user_columns};

/// A token that is good, and whose it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    /// Our own number.
    pub token_key: u64,
    /// What it is for.
    pub name: String,
    /// What it may do, as far as its person may.
    pub scope: Rights,
    /// The one study it is for; none: all that its person sees.
    pub study_key: Option<u64>,
    /// Whose it is.
    pub user: User,
    /// Whether it is a minute since the last use was noted.
    pub is_to_be_noted: bool,
}

/// A token as the list of one's tokens shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// Our own number.
    pub token_key: u64,
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub scope: Rights,
    /// For one study alone.
    pub is_for_a_study: bool,
    /// UTC
    pub created_at: NaiveDateTime,
    /// UTC
    pub expires_at: NaiveDateTime,
    /// Past that, or not used in time.
    pub is_expired: bool,
    /// UTC, to the minute
    pub last_used_at: Option<NaiveDateTime>,
}

impl FromRow for Token {
    fn from_row_opt(row: Row) -> std::result::Result<Token, FromRowError> {
        Ok(Token {
            token_key: column(&row, "token_key")?,
            name: column(&row, "token_name")?,
            scope: Rights::of_words(&column::<String>(&row, "scope")?),
            study_key: column(&row, "study_key")?,
            is_to_be_noted: column(&row, "is_to_be_noted")?,
            user: User::from_columns(&row)?,
        })
    }
}

impl FromRow for Listed {
    fn from_row_opt(row: Row) -> std::result::Result<Listed, FromRowError> {
        Ok(Listed {
            token_key: column(&row, "token_key")?,
            name: column(&row, "name")?,
            scope: Rights::of_words(&column::<String>(&row, "scope")?),
            is_for_a_study: column(&row, "is_for_a_study")?,
            created_at: column(&row, "created_at")?,
            expires_at: column(&row, "expires_at")?,
            is_expired: column(&row, "is_expired")?,
            last_used_at: column(&row, "last_used_at")?,
        })
    }
}

/// Whether a token is good, as a condition on `token`.
macro_rules! is_good {
    () => {
        "token.expires_at > UTC_TIMESTAMP(6)
                 AND (token.first_use_by IS NULL
                      OR token.last_used_at IS NOT NULL
                      OR token.first_use_by > UTC_TIMESTAMP(6))"
    };
}

/// Makes a token that lasts this many days.
pub async fn add(
    conn: &mut impl Queryable,
    hash: &[u8; 32],
    user_key: u64,
    name: &str,
    scope: Rights,
    days: u32,
) -> Result<()> {
    conn.exec_drop(
        "INSERT INTO token (token_hash, user_key, name, scope, created_at, expires_at)
         VALUES (:hash, :user_key, :name, :scope, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6) + INTERVAL :days DAY)",
        params! {
            "hash" => hash.as_slice(),
            "user_key" => user_key,
            "name" => name,
            "scope" => scope.words(),
            "days" => days,
        },
    )
    .await
}

/// Makes a token for one study: it has to be used within ten minutes, and lasts eight hours. Those that this person had
/// before and that are over, are forgotten.
pub async fn add_for_study(
    conn: &mut impl Queryable,
    hash: &[u8; 32],
    user_key: u64,
    name: &str,
    scope: Rights,
    study_key: u64,
) -> Result<()> {
    conn.exec_drop(
        concat!(
            "DELETE FROM token
              WHERE user_key = :user_key
                AND study_key IS NOT NULL
                AND ((study_key = :study_key AND last_used_at IS NULL) OR NOT (",
            is_good!(),
            "))"
        ),
        params! { "user_key" => user_key, "study_key" => study_key },
    )
    .await?;
    conn.exec_drop(
        "INSERT INTO token (token_hash, user_key, name, scope, study_key, created_at, expires_at, first_use_by)
         VALUES (:hash, :user_key, :name, :scope, :study_key, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6) + INTERVAL 8 HOUR,
                 UTC_TIMESTAMP(6) + INTERVAL 10 MINUTE)",
        params! {
            "hash" => hash.as_slice(),
            "user_key" => user_key,
            "name" => name,
            "scope" => scope.words(),
            "study_key" => study_key,
        },
    )
    .await
}

/// The token with this hash that has not expired, of somebody who may sign in.
pub async fn by_hash(conn: &mut impl Queryable, hash: &[u8; 32]) -> Result<Option<Token>> {
    conn.exec_first(
        concat!(
            "SELECT token.token_key,
                    token.name AS token_name,
                    token.scope,
                    token.study_key,
                    COALESCE(token.last_used_at < UTC_TIMESTAMP(6) - INTERVAL 1 MINUTE, TRUE) AS is_to_be_noted, ",
            user_columns!(),
            " FROM token
                JOIN user ON user.user_key = token.user_key
                JOIN role ON role.role = user.role
               WHERE token.token_hash = :hash
                 AND ",
            is_good!(),
            " AND NOT user.is_disabled"
        ),
        params! { "hash" => hash.as_slice() },
    )
    .await
}

/// Notes that a token is used.
pub async fn used(conn: &mut impl Queryable, token_key: u64) -> Result<()> {
    conn.exec_drop(
        "UPDATE token SET last_used_at = UTC_TIMESTAMP(6) WHERE token_key = :token_key",
        params! { "token_key" => token_key },
    )
    .await
}

/// The tokens of this person, the newest first.
pub async fn of_user(conn: &mut impl Queryable, user_key: u64) -> Result<Vec<Listed>> {
    conn.exec(
        concat!(
            "SELECT token_key, name, scope, created_at, expires_at, last_used_at,
                    study_key IS NOT NULL AS is_for_a_study,
                    NOT (",
            is_good!(),
            ") AS is_expired
               FROM token
              WHERE user_key = :user_key
              ORDER BY study_key IS NOT NULL, token_key DESC
              LIMIT 200"
        ),
        params! { "user_key" => user_key },
    )
    .await
}

/// Takes a token of this person back, and tells what it was called.
pub async fn remove(conn: &mut impl Queryable, token_key: u64, user_key: u64) -> Result<Option<String>> {
    let name: Option<String> = conn
        .exec_first(
            "SELECT name FROM token WHERE token_key = :token_key AND user_key = :user_key",
            params! { "token_key" => token_key, "user_key" => user_key },
        )
        .await?;
    if name.is_some() {
        conn.exec_drop(
            "DELETE FROM token WHERE token_key = :token_key",
            params! { "token_key" => token_key },
        )
        .await?;
    }
    Ok(name)
}

/// Takes all tokens of this person back.
pub async fn remove_all(conn: &mut impl Queryable, user_key: u64) -> Result<()> {
    conn.exec_drop("DELETE FROM token WHERE user_key = :user_key", params! { "user_key" => user_key }).await
}

/// Whose this token is, while it is good.
pub async fn owner(conn: &mut impl Queryable, token_key: u64) -> Result<Option<User>> {
    conn.exec_first(
        concat!(
            "SELECT ",
            user_columns!(),
            " FROM token
                JOIN user ON user.user_key = token.user_key
                JOIN role ON role.role = user.role
               WHERE token.token_key = :token_key
                 AND ",
            is_good!(),
            " AND NOT user.is_disabled"
        ),
        params! { "token_key" => token_key },
    )
    .await
}
