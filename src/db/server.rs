//! Which server this is, and whether its settings keep what it was given.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Result};
use std::collections::HashMap;
use std::fmt;

/// The two families that speak this protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerKind {
    /// Oracle's, and what is built from it
    MySql,
    /// MariaDB
    MariaDb,
}

/// What the server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerInfo {
    /// MySQL or MariaDB
    pub kind: ServerKind,
    /// major, minor, patch
    pub version: (u16, u16, u16),
    /// the version in its own words
    pub text: String,
}

/// A setting of the server under which the archive's promises do not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// name of the server variable
    pub setting: &'static str,
    /// the value it has
    pub value: String,
    /// the value it should have
    pub wanted: &'static str,
    /// what can happen
    pub risk: &'static str,
}

impl fmt::Display for ServerInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ServerKind::MySql => "MySQL",
            ServerKind::MariaDb => "MariaDB",
        };
        write!(f, "{kind} {}", self.text)
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, and should be {}: {}", self.setting, self.value, self.wanted, self.risk)
    }
}

impl ServerInfo {
    /// Reads what `SELECT VERSION()` answers, such as `8.4.6`, `9.7.4-2` or `10.11.11-MariaDB-0+deb12u1`.
    fn from_version(text: &str) -> ServerInfo {
        let kind = if text.to_ascii_lowercase().contains("mariadb") {
            ServerKind::MariaDb
        } else {
            ServerKind::MySql
        };
        let digits =
            |part: &str| part.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok();
        let mut parts = text.split('.').map(|part| digits(part).unwrap_or(0));
        let mut next = || parts.next().unwrap_or(0);
        ServerInfo { kind, version: (next(), next(), next()), text: text.into() }
    }

    /// Refuses a server without what the program relies on: atomic changes of the schema, `SKIP LOCKED`, window
    /// functions.
    pub(super) fn check(&self) -> std::result::Result<(), super::Error> {
        let oldest = match self.kind {
            ServerKind::MySql => (8, 0, 0),
            ServerKind::MariaDb => (10, 6, 0),
        };
        if self.version < oldest { Err(super::Error::TooOld(self.clone())) } else { Ok(()) }
    }
}

/// Asks the server which one it is.
pub async fn server_info(conn: &mut Conn) -> Result<ServerInfo> {
    let text: Option<String> = conn.query_first("SELECT VERSION()").await?;
    Ok(ServerInfo::from_version(&text.unwrap_or_default()))
}

/// The settings of the server that can lose what was answered with Success, or that cannot take what we send.
pub async fn durability(conn: &mut Conn) -> Result<Vec<Warning>> {
    let rows: Vec<(String, String)> = conn
        .query(
            "SHOW GLOBAL VARIABLES
              WHERE Variable_name IN ('innodb_flush_log_at_trx_commit', 'innodb_doublewrite', 'log_bin',
                                      'sync_binlog', 'max_allowed_packet', 'innodb_force_recovery', 'innodb_flush_method')",
        )
        .await?;
    let rows = rows.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    Ok(warnings(&rows))
}

fn warnings(values: &HashMap<String, String>) -> Vec<Warning> {
    let value = |name: &str, absent| values.get(name).map_or(absent, String::as_str).to_ascii_uppercase();
    let mut warnings = Vec::new();
    let mut warn = |setting, wanted, risk| {
        let value = values.get(setting).cloned().unwrap_or_default();
        warnings.push(Warning { setting, value, wanted, risk });
    };
    if value("innodb_flush_log_at_trx_commit", "1") != "1" {
        warn(
            "innodb_flush_log_at_trx_commit",
            "1",
            "a power cut can lose images that were answered with Success",
        );
    }
    if value("log_bin", "OFF") != "OFF" && value("sync_binlog", "1") != "1" {
        warn("sync_binlog", "1", "a power cut can lose changes from the binary log, and so from a replica");
    }
    if ["OFF", "0", "DETECT_ONLY"].contains(&value("innodb_doublewrite", "ON").as_str()) {
        warn("innodb_doublewrite", "ON", "a power cut can damage a page of the database beyond repair");
    }
    if ["NOSYNC", "LITTLESYNC"].contains(&value("innodb_flush_method", "").as_str()) {
        warn(
            "innodb_flush_method",
            "O_DIRECT",
            "a power cut can lose images that were answered with Success",
        );
    }
    if value("innodb_force_recovery", "0") != "0" {
        warn(
            "innodb_force_recovery",
            "0",
            "the server was started to rescue a damaged database, not to be written to",
        );
    }
    let packet = values.get("max_allowed_packet").and_then(|value| value.parse::<u64>().ok());
    if packet.is_some_and(|bytes| bytes < 16 << 20) {
        warn("max_allowed_packet", "16777216 or more", "instances with very many frames cannot be indexed");
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_are_told_apart_and_their_versions_read() {
        let info = |text| ServerInfo::from_version(text);
        assert_eq!(info("9.7.4-2").version, (9, 7, 4));
        assert_eq!(info("8.0.36-0ubuntu0.22.04.1").kind, ServerKind::MySql);
        assert_eq!(info("10.11.11-MariaDB-0+deb12u1").version, (10, 11, 11));
        assert_eq!(info("10.11.11-MariaDB-0+deb12u1").kind, ServerKind::MariaDb);
        assert_eq!(info("8.0.mysql_aurora.3.04").version, (8, 0, 0));
    }

    #[test]
    fn an_old_server_is_refused_by_name() {
        for (text, good) in [
            ("5.7.44", false),
            ("8.0.11", true),
            ("9.7.4-2", true),
            ("10.5.29-MariaDB", false),
            ("10.6.0-MariaDB", true),
            ("12.1.2-MariaDB", true),
            ("nonsense", false),
        ] {
            let checked = ServerInfo::from_version(text).check();
            assert_eq!(checked.is_ok(), good, "{text}");
            if let Err(err) = checked {
                assert!(err.to_string().contains(text), "{err}");
            }
        }
    }

    #[test]
    fn each_lax_setting_is_one_warning() {
        let with = |pairs: &[(&str, &str)]| {
            let values = pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            warnings(&values).into_iter().map(|warning| warning.setting).collect::<Vec<_>>()
        };
        assert!(
            with(&[("innodb_flush_log_at_trx_commit", "1"), ("log_bin", "OFF"), ("sync_binlog", "0")])
                .is_empty()
        );
        assert_eq!(with(&[("innodb_flush_log_at_trx_commit", "2")]), ["innodb_flush_log_at_trx_commit"]);
        assert_eq!(with(&[("log_bin", "ON"), ("sync_binlog", "0")]), ["sync_binlog"]);
        assert_eq!(with(&[("innodb_doublewrite", "OFF")]), ["innodb_doublewrite"]);
        assert_eq!(with(&[("max_allowed_packet", "1048576")]), ["max_allowed_packet"]);
        assert_eq!(with(&[("innodb_flush_method", "nosync")]), ["innodb_flush_method"]);
    }
}
