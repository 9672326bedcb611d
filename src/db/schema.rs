//! The shape of the database: made in an empty one, brought up to date in an older one, refused in a newer one.
//!
//! `schema_version` is the first table to be made and gets its row last. So a database in which that table is
//! there and empty was left half-made by a creation that was cut off; nothing was ever stored in it, and it is
//! made again from the start. An upgrade is one statement that either server does wholly or not at all, and the
//! version goes up after each, so that a cut-off upgrade goes on where it stopped.

use super::error::is_already_there;
use super::lock;
use super::upgrades::UPGRADES;
use super::{DatabaseUrl, Error, open, server_info};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, params};
use std::collections::BTreeSet;
use std::time::Duration;
use tracing::{info, warn};

/// The shape this program works with.
pub const CURRENT: Shape<'static> = Shape { create: include_str!("../../schema.sql"), upgrades: UPGRADES };

/// How the tables are made, and how older ones become the same.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'a> {
    /// the statements that make everything in an empty database, the row of `schema_version` last
    pub create: &'a str,
    /// statement number n brings version n to version n + 1
    pub upgrades: &'a [&'a str],
}

/// What was done to the database before it was fit to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prepared {
    /// it was as it should be
    Unchanged,
    /// it was empty, or its creation had been cut off
    Created,
    /// it had an older version
    Upgraded {
        /// the version it had
        from: u32,
    },
}

/// Why this database cannot be filmroom's.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Unfit {
    /// A later program was here.
    #[error(
        "database {database} was made by a newer filmroom (its schema has version {found}, this program knows up \
         to {known}): run that filmroom, or restore the backup from before the update"
    )]
    Newer {
        /// its name
        database: String,
        /// the version it has
        found: u32,
        /// the version this program makes
        known: u32,
    },
    /// Somebody else's tables are in it.
    #[error(
        "database {database} holds tables that are not filmroom's ({tables}): give filmroom a database of its own, \
         which it will fill itself"
    )]
    Foreign {
        /// its name
        database: String,
        /// the first few of them
        tables: String,
    },
    /// A table that should be there is not.
    #[error("database {database} lacks filmroom's tables {tables}: restore them from a backup")]
    Damaged {
        /// its name
        database: String,
        /// what is missing
        tables: String,
    },
    /// Another program is making or upgrading the tables and does not come to an end.
    #[error("another filmroom is preparing database {database}: wait until it is done")]
    BeingPrepared {
        /// its name
        database: String,
    },
    /// Another `serve` works on it.
    #[error(
        "another filmroom already serves database {database}: stop it first, or give this one a database of its own"
    )]
    InUse {
        /// its name
        database: String,
    },
}

/// Makes the database fit for this program, or says why it cannot be.
pub async fn prepare(url: &DatabaseUrl) -> Result<Prepared, Error> {
    CURRENT.prepare(url).await
}

impl Shape<'_> {
    /// The version a database has after [`Shape::prepare`].
    pub fn version(&self) -> u32 {
        u32::try_from(self.upgrades.len()).map_or(u32::MAX, |upgrades| upgrades.saturating_add(1))
    }

    /// Makes the database have this shape. Two programs that do so at once do it one after the other.
    pub async fn prepare(&self, url: &DatabaseUrl) -> Result<Prepared, Error> {
        let mut conn = open(url).await?;
        // The lock goes with the connection, which is of its own and closed on every way out.
        if !lock::take(&mut conn, "prepare", Duration::from_secs(60))
            .await
            .map_err(|err| Error::at(url, err))?
        {
            return Err(Unfit::BeingPrepared { database: url.database().into() }.into());
        }
        let server = server_info(&mut conn).await.map_err(|err| Error::at(url, err))?;
        server.check()?;
        let prepared = self.prepare_locked(&mut conn, url).await?;
        conn.disconnect().await.map_err(|err| Error::at(url, err))?;
        Ok(prepared)
    }

    async fn prepare_locked(&self, conn: &mut Conn, url: &DatabaseUrl) -> Result<Prepared, Error> {
        let sql = |err| Error::at(url, err);
        let create = statements(self.create);
        let prepared = match self.state(conn, url, &create).await? {
            State::Empty => {
                self.create(conn, url, &create).await?;
                Prepared::Created
            }
            State::HalfMade(tables) => {
                warn!(
                    "the creation of database {} was cut off; it is made again from the start",
                    url.database()
                );
                forget(conn, &tables).await.map_err(sql)?;
                self.create(conn, url, &create).await?;
                Prepared::Created
            }
            State::Made(found) if found > self.version() => {
                let database = url.database().into();
                return Err(Unfit::Newer { database, found, known: self.version() }.into());
            }
            State::Made(found) if found == self.version() => Prepared::Unchanged,
            State::Made(from) => {
                self.upgrade(conn, from).await.map_err(sql)?;
                info!(from, to = self.version(), "upgraded database {}", url.database());
                Prepared::Upgraded { from }
            }
        };
        self.check_tables(conn, url, &create).await?;
        check_rights(conn).await.map_err(sql)?;
        Ok(prepared)
    }

    /// What the database holds before anything is done to it.
    async fn state(&self, conn: &mut Conn, url: &DatabaseUrl, create: &[String]) -> Result<State, Error> {
        let sql = |err| Error::at(url, err);
        let present = tables(conn).await.map_err(sql)?;
        if present.is_empty() {
            return Ok(State::Empty);
        }
        let ours = created_tables(create);
        let foreign = |tables: Vec<&String>| {
            let mut names: Vec<&str> = tables.iter().map(|table| table.as_str()).take(4).collect();
            if tables.len() > names.len() {
                names.push("…");
            }
            Error::from(Unfit::Foreign { database: url.database().into(), tables: names.join(", ") })
        };
        if !has_version_table(conn).await.map_err(sql)? {
            return Err(foreign(present.iter().collect()));
        }
        let version: Option<u32> =
            conn.query_first("SELECT MAX(version) FROM schema_version").await.map_err(sql)?.flatten();
        if let Some(version) = version {
            return Ok(State::Made(version));
        }
        let strangers: Vec<&String> = present.difference(&ours).collect();
        if !strangers.is_empty() {
            return Err(foreign(strangers));
        }
        let filled = filled(conn, &present).await.map_err(sql)?;
        if !filled.is_empty() {
            return Err(foreign(filled.iter().collect()));
        }
        Ok(State::HalfMade(present))
    }

    async fn create(&self, conn: &mut Conn, url: &DatabaseUrl, create: &[String]) -> Result<(), Error> {
        for statement in create {
            conn.query_drop(statement).await.map_err(|err| Error::at(url, err))?;
        }
        info!(version = self.version(), "made the tables in database {}", url.database());
        Ok(())
    }

    async fn upgrade(&self, conn: &mut Conn, from: u32) -> mysql_async::Result<()> {
        for (version, statement) in (2_u32..).zip(self.upgrades) {
            if version <= from {
                continue;
            }
            match conn.query_drop(*statement).await {
                Err(err) if is_already_there(&err) => {}
                done => done?,
            }
            conn.exec_drop(
                "UPDATE schema_version
                    SET version = :version, upgraded_at = UTC_TIMESTAMP(6)",
                params! { "version" => version },
            )
            .await?;
        }
        Ok(())
    }

    /// A table that somebody dropped is told here, and not by the first modality that needs it.
    async fn check_tables(&self, conn: &mut Conn, url: &DatabaseUrl, create: &[String]) -> Result<(), Error> {
        let present = tables(conn).await.map_err(|err| Error::at(url, err))?;
        let missing: Vec<String> = created_tables(create).difference(&present).cloned().collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(Unfit::Damaged { database: url.database().into(), tables: missing.join(", ") }.into())
    }
}

enum State {
    Empty,
    /// With the tables made so far, all of them ours and empty.
    HalfMade(BTreeSet<String>),
    Made(u32),
}

/// The names of all tables and views. Names are folded because a server on a file system without case folds them.
async fn tables(conn: &mut Conn) -> mysql_async::Result<BTreeSet<String>> {
    let names: Vec<String> = conn
        .query(
            "SELECT CAST(table_name AS CHAR)
               FROM information_schema.tables
              WHERE table_schema = DATABASE()
              ORDER BY table_name",
        )
        .await?;
    Ok(names.into_iter().map(|name| name.to_lowercase()).collect())
}

/// Whether there is a `schema_version` with our columns, for other programs call a table that, too.
async fn has_version_table(conn: &mut Conn) -> mysql_async::Result<bool> {
    let columns: Vec<String> = conn
        .query(
            "SELECT CAST(column_name AS CHAR)
               FROM information_schema.columns
              WHERE table_schema = DATABASE()
                AND table_name = 'schema_version'
              ORDER BY ordinal_position",
        )
        .await?;
    Ok(columns == ["version", "upgraded_at"])
}

/// Those of the tables that hold a row.
async fn filled(conn: &mut Conn, tables: &BTreeSet<String>) -> mysql_async::Result<Vec<String>> {
    let mut filled = Vec::new();
    for table in tables {
        let row: Option<u8> =
            conn.query_first(format!("SELECT 1 FROM {} LIMIT 1", super::url::quoted(table))).await?;
        if row.is_some() {
            filled.push(table.clone());
        }
    }
    Ok(filled)
}

/// Drops what a cut-off creation left, `schema_version` last so that a second cut leaves a half-made database again.
async fn forget(conn: &mut Conn, tables: &BTreeSet<String>) -> mysql_async::Result<()> {
    conn.query_drop("SET SESSION foreign_key_checks = 0").await?;
    let version = "schema_version";
    let others = tables.iter().map(String::as_str).filter(|table| *table != version);
    for table in others.chain([version]) {
        conn.query_drop(format!("DROP TABLE IF EXISTS {}", super::url::quoted(table))).await?;
    }
    conn.query_drop("SET SESSION foreign_key_checks = 1").await
}

/// Statements that change nothing, but that a server refuses to an account that may not write.
async fn check_rights(conn: &mut Conn) -> mysql_async::Result<()> {
    conn.query_drop(
        "INSERT INTO setting (name, value, changed_at)
         SELECT name, value, changed_at
           FROM setting
          WHERE FALSE",
    )
    .await?;
    conn.query_drop("UPDATE setting SET value = '' WHERE FALSE").await?;
    conn.query_drop("DELETE FROM setting WHERE FALSE").await
}

/// The statements of a script without their comments and final semicolons.
fn statements(script: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut statement = String::new();
    let mut characters = script.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\'' | '"' | '`' => {
                statement.push(c);
                while let Some(inner) = characters.next() {
                    statement.push(inner);
                    if inner == '\\' && c != '`' {
                        statement.extend(characters.next());
                    } else if inner == c {
                        break;
                    }
                }
            }
            '-' if characters.peek() == Some(&'-') => {
                let _comment = characters.by_ref().find(|c| *c == '\n');
                statement.push('\n');
            }
            ';' => found.push(std::mem::take(&mut statement)),
            c => statement.push(c),
        }
    }
    found.push(statement);
    found
        .iter()
        .map(|statement| statement.trim().to_owned())
        .filter(|statement| !statement.is_empty())
        .collect()
}

/// The names of the tables that the statements make.
fn created_tables(statements: &[String]) -> BTreeSet<String> {
    let name = |statement: &String| {
        let name = statement.strip_prefix("CREATE TABLE ")?.split([' ', '(']).next()?;
        Some(name.trim_matches('`').to_lowercase())
    };
    statements.iter().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_cut_at_its_semicolons_and_nowhere_else() {
        let script = "-- it's a comment; not a statement\nCREATE TABLE `a;b` (x INT COMMENT 'one; it''s \\'two\\'');\n\
                      INSERT INTO t VALUES (\"--;\"); -- end\n";
        assert_eq!(
            statements(script),
            ["CREATE TABLE `a;b` (x INT COMMENT 'one; it''s \\'two\\'')", "INSERT INTO t VALUES (\"--;\")"]
        );
    }

    #[test]
    fn the_version_table_is_made_first_and_gets_its_row_last() {
        let create = statements(CURRENT.create);
        assert!(create.first().is_some_and(|first| first.starts_with("CREATE TABLE schema_version (")));
        let last = create.last().cloned().unwrap_or_default();
        let row =
            format!("INSERT INTO schema_version (version, upgraded_at) VALUES ({}, ", CURRENT.version());
        assert!(last.starts_with(&row), "{last} does not insert version {}", CURRENT.version());
        assert!(created_tables(&create).contains("instance"));
    }

    #[test]
    fn every_statement_of_the_schema_is_one_that_needs_no_special_right() {
        for statement in statements(CURRENT.create) {
            assert!(
                statement.starts_with("CREATE TABLE ") || statement.starts_with("INSERT INTO schema_version"),
                "{statement}"
            );
        }
    }
}
