//! Table `session`: people who are signed in with a browser.

use chrono::NaiveDateTime;
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{FromRowError, Result, Row, params};

use super::row::column;
use super::user::{User, user_columns};

/// A session may not be used this long before it is over, minutes.
pub const IDLE_MINUTES: u32 = 30;
/// And lasts this long at the most, hours.
pub const ABSOLUTE_HOURS: u32 = 12;

/// A session and whose it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    /// Our own number.
    pub session_key: u64,
    /// Who is signed in.
    pub user: User,
    /// Whether it is a minute since the last use was noted.
    pub is_to_be_noted: bool,
}

/// A session as the list of one's sessions shows it.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct Listed {
    /// Our own number.
    pub session_key: u64,
    /// IP address at sign-in.
    pub address: String,
    /// As the browser calls itself.
    pub user_agent: String,
    /// UTC
    pub created_at: NaiveDateTime,
    /// UTC, to the minute
    pub last_used_at: NaiveDateTime,
}

impl FromRow for Session {
    fn from_row_opt(row: Row) -> std::result::Result<Session, FromRowError> {
        Ok(Session {
            session_key: column(&row, "session_key")?,
            is_to_be_noted: column(&row, "is_to_be_noted")?,
            user: User::from_columns(&row)?,
        })
    }
}

/// Begins a session.
pub async fn begin(
    conn: &mut impl Queryable,
    hash: &[u8; 32],
    user_key: u64,
    address: &str,
    user_agent: &str,
) -> Result<()> {
    conn.exec_drop(
        "INSERT INTO session (session_hash, user_key, address, user_agent, created_at, last_used_at)
         VALUES (:hash, :user_key, :address, :user_agent, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6))",
        params! {
            "hash" => hash.as_slice(),
            "user_key" => user_key,
            "address" => address,
            "user_agent" => user_agent.chars().take(255).collect::<String>(),
        },
    )
    .await
}

/// The session with this hash that is not over, of somebody who may sign in.
pub async fn by_hash(conn: &mut impl Queryable, hash: &[u8; 32]) -> Result<Option<Session>> {
    conn.exec_first(
        concat!(
            "SELECT session.session_key,
                    session.last_used_at < UTC_TIMESTAMP(6) - INTERVAL 1 MINUTE AS is_to_be_noted, ",
            user_columns!(),
            " FROM session
                JOIN user ON user.user_key = session.user_key
                JOIN role ON role.role = user.role
               WHERE session.session_hash = :hash
                 AND session.last_used_at > UTC_TIMESTAMP(6) - INTERVAL :idle MINUTE
                 AND session.created_at > UTC_TIMESTAMP(6) - INTERVAL :absolute HOUR
                 AND NOT user.is_disabled"
        ),
        params! { "hash" => hash.as_slice(), "idle" => IDLE_MINUTES, "absolute" => ABSOLUTE_HOURS },
    )
    .await
}

/// Whether this session is there, which it stays until the end of the transaction.
pub async fn hold(conn: &mut impl Queryable, session_key: u64) -> Result<bool> {
    let held: Option<u64> = conn
        .exec_first(
            "SELECT session_key FROM session WHERE session_key = :session_key FOR UPDATE",
            params! { "session_key" => session_key },
        )
        .await?;
    Ok(held.is_some())
}

/// Notes that a session is used.
pub async fn used(conn: &mut impl Queryable, session_key: u64) -> Result<()> {
    conn.exec_drop(
        "UPDATE session SET last_used_at = UTC_TIMESTAMP(6) WHERE session_key = :session_key",
        params! { "session_key" => session_key },
    )
    .await
}

/// The sessions of this person that are not over, the last used first.
pub async fn of_user(conn: &mut impl Queryable, user_key: u64) -> Result<Vec<Listed>> {
    conn.exec(
        "SELECT session_key, address, user_agent, created_at, last_used_at
           FROM session
          WHERE user_key = :user_key
            AND last_used_at > UTC_TIMESTAMP(6) - INTERVAL :idle MINUTE
            AND created_at > UTC_TIMESTAMP(6) - INTERVAL :absolute HOUR
          ORDER BY last_used_at DESC, session_key DESC
          LIMIT 200",
        params! { "user_key" => user_key, "idle" => IDLE_MINUTES, "absolute" => ABSOLUTE_HOURS },
    )
    .await
}

/// Ends a session of this person. False where there was none such.
pub async fn end(conn: &mut impl Queryable, session_key: u64, user_key: u64) -> Result<bool> {
    let ended = conn.exec_iter(
        "DELETE FROM session
          WHERE session_key = :session_key AND user_key = :user_key",
        params! { "session_key" => session_key, "user_key" => user_key },
    );
    Ok(ended.await?.affected_rows() > 0)
}

/// Ends the sessions of this person but this one, and tells how many those were.
pub async fn end_others(conn: &mut impl Queryable, session_key: u64, user_key: u64) -> Result<u64> {
    let ended = conn.exec_iter(
        "DELETE FROM session
          WHERE user_key = :user_key AND session_key <> :session_key",
        params! { "session_key" => session_key, "user_key" => user_key },
    );
    Ok(ended.await?.affected_rows())
}

/// Ends all sessions of this person.
pub async fn end_all(conn: &mut impl Queryable, user_key: u64) -> Result<()> {
    conn.exec_drop("DELETE FROM session WHERE user_key = :user_key", params! { "user_key" => user_key }).await
}

/// Ends all sessions of the people of this role, but not this one.
pub async fn end_all_of_role(conn: &mut impl Queryable, role: super::role::Role, but_not: u64) -> Result<()> {
    conn.exec_drop(
        "DELETE session
           FROM session
           JOIN user ON user.user_key = session.user_key
          WHERE user.role = :role
            AND session.session_key <> :but_not",
        params! { "role" => role.as_str(), "but_not" => but_not },
    )
    .await
}

/// Forgets the sessions and visits that are over.
pub async fn sweep(conn: &mut impl Queryable) -> Result<()> {
    conn.exec_drop(
        "DELETE FROM session
          WHERE last_used_at < UTC_TIMESTAMP(6) - INTERVAL :absolute HOUR",
        params! { "absolute" => ABSOLUTE_HOURS },
    )
    .await?;
    conn.exec_drop(
        "DELETE FROM visit
          WHERE last_used_at < UTC_TIMESTAMP(6) - INTERVAL :absolute HOUR",
        params! { "absolute" => ABSOLUTE_HOURS },
    )
    .await
}
