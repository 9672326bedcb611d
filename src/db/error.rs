//! What can go wrong between us and the database, in the words of the person who can mend it.

use super::server::ServerInfo;
use super::url::{DatabaseUrl, account, pattern, quoted};
use crate::tls;
use mysql_async::{DriverError, IoError, ServerError, TlsError};
use std::io;

/// The codes of MySQL's and MariaDB's error messages that the program acts on.
mod code {
    pub const TABLE_EXISTS: u16 = 1050;
    pub const DUPLICATE_COLUMN: u16 = 1060;
    pub const DUPLICATE_KEY_NAME: u16 = 1061;
    pub const DUPLICATE_ENTRY: u16 = 1062;
    pub const CANNOT_DROP: u16 = 1091;
    pub const DUPLICATE_CONSTRAINT: u16 = 1826;

    pub const TOO_MANY_CONNECTIONS: u16 = 1040;
    pub const SHUTDOWN: u16 = 1053;
    /// Interrupted, connection killed, and a statement beyond its time: MySQL's number and MariaDB's.
    pub const KILLED: [u16; 4] = [1317, 1927, 3024, 1969];
    pub const LOCK_WAIT_TIMEOUT: u16 = 1205;
    pub const DEADLOCK: u16 = 1213;

    pub const DATABASE_DENIED: u16 = 1044;
    pub const ACCESS_DENIED: u16 = 1045;
    pub const UNKNOWN_DATABASE: u16 = 1049;
    /// A table, a column, and "you need (at least one of) the … privilege".
    pub const DENIED: [u16; 3] = [1142, 1143, 1227];
    pub const ACCESS_DENIED_NO_PASSWORD: u16 = 1698;
    pub const HOST_NOT_PRIVILEGED: u16 = 1130;
    /// `--read-only`, `--super-read-only`, and InnoDB's own.
    pub const READ_ONLY: [u16; 3] = [1290, 1836, 1874];
}

/// Why the database did not do what it was asked. `Display` is a sentence for the administrator and never holds a
/// password or a value of a row.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens there, or nobody can be reached.
    #[error("no MySQL server answers at {place} ({reason}): is it running, and are host and port right?")]
    Unreachable {
        /// host:port, or the path of the socket
        place: String,
        /// the system's word for it
        reason: String,
    },
    /// Somebody took the call and said nothing.
    #[error("whatever listens at {place} did not greet us as a MySQL server does within 10 seconds")]
    Silent {
        /// host:port, or the path of the socket
        place: String,
    },
    /// The connection is to be encrypted, and the server cannot.
    #[error(
        "the MySQL server at {place} offers no TLS: give it a certificate (ssl-cert and ssl-key), or leave ssl-mode out \
         of the database URL"
    )]
    NoTls {
        /// host:port
        place: String,
    },
    /// No handshake, or not the server that it should be.
    #[error("the MySQL server at {place} cannot be spoken to by TLS: {reason}")]
    Tls {
        /// host:port
        place: String,
        /// of the server, in words
        reason: String,
    },
    /// Error 1045 and its kin.
    #[error(
        "the MySQL server at {place} refuses user {user}: the password is wrong, or the account may not \
         sign in from this machine"
    )]
    WrongPassword {
        /// host:port, or the path of the socket
        place: String,
        /// as the server names the account
        user: String,
    },
    /// Error 1049.
    #[error(
        "the MySQL server at {place} has no database {database}; its administrator makes it with: \
         CREATE DATABASE {database} CHARACTER SET utf8mb4; GRANT ALL PRIVILEGES ON {pattern}.* TO {account};"
    )]
    NoDatabase {
        /// host:port, or the path of the socket
        place: String,
        /// in backquotes
        database: String,
        /// the database as GRANT takes it
        pattern: String,
        /// the account as GRANT takes it
        account: String,
    },
    /// Errors 1044, 1142 and their kin.
    #[error(
        "{account} has not all rights in database {database} of the MySQL server at {place}; its administrator \
         gives them with: CREATE DATABASE IF NOT EXISTS {database} CHARACTER SET utf8mb4; \
         GRANT ALL PRIVILEGES ON {pattern}.* TO {account};"
    )]
    NoRights {
        /// host:port, or the path of the socket
        place: String,
        /// in backquotes
        database: String,
        /// the database as GRANT takes it
        pattern: String,
        /// the account as GRANT takes it
        account: String,
    },
    /// The server takes no changes from anybody.
    #[error("the MySQL server at {place} is read-only: filmroom must be able to write to it")]
    ReadOnly {
        /// host:port, or the path of the socket
        place: String,
    },
    /// A server we cannot work with.
    #[error("the database server is {0}, and filmroom needs MySQL 8.0 or later or MariaDB 10.6 or later")]
    TooOld(ServerInfo),
    /// See [`super::schema`].
    #[error(transparent)]
    Schema(#[from] super::schema::Unfit),
    /// No connection came free in time.
    #[error("the database is busy: no connection became free within 10 seconds")]
    Busy,
    /// A defect of ours, or of a library.
    #[error("filmroom failed while it spoke to the database; the panic in its log says where")]
    Panicked,
    /// The runtime that owns the connections is gone.
    #[error("the program is stopping")]
    Stopping,
    /// A statement failed. The cause is no `source`, because its text can hold a patient's name.
    #[error("{}", spoken(.0))]
    Sql(mysql_async::Error),
}

impl From<mysql_async::Error> for Error {
    fn from(err: mysql_async::Error) -> Self {
        Error::Sql(err)
    }
}

impl Error {
    /// Whether trying again from the start of the transaction can help: a deadlock, a lock that took too long, a
    /// connection that was lost, a server that stops or is full.
    pub fn is_transient(&self) -> bool {
        match self {
            Error::Sql(err) => is_transient(err),
            Error::Busy | Error::Unreachable { .. } | Error::Silent { .. } => true,
            Error::WrongPassword { .. }
            | Error::NoTls { .. }
            | Error::Tls { .. }
            | Error::NoDatabase { .. }
            | Error::NoRights { .. }
            | Error::ReadOnly { .. }
            | Error::TooOld(_)
            | Error::Schema(_)
            | Error::Panicked
            | Error::Stopping => false,
        }
    }

    /// Whether a row with this key was there already (error 1062).
    pub fn is_duplicate(&self) -> bool {
        matches!(self, Error::Sql(err) if is_duplicate(err))
    }

    /// The error in the words for whoever set up `url`.
    pub(super) fn at(url: &DatabaseUrl, err: mysql_async::Error) -> Error {
        let place = url.place();
        let unreachable =
            |err: &io::Error| Error::Unreachable { place: url.place(), reason: reason(url, err) };
        match err {
            mysql_async::Error::Server(err) => from_server(url, err),
            mysql_async::Error::Io(IoError::Io(err)) if tls::is_tls(&err) => {
                Error::Tls { place, reason: tls::words(&err) }
            }
            mysql_async::Error::Io(IoError::Tls(err)) => Error::Tls { place, reason: set_up(url, &err) },
            mysql_async::Error::Driver(DriverError::NoClientSslFlagFromServer) => Error::NoTls { place },
            mysql_async::Error::Io(IoError::Io(err)) => match unreadable(url, &err) {
                Some(reason) => Error::Tls { place, reason },
                None => unreachable(&err),
            },
            mysql_async::Error::Driver(
                DriverError::UnexpectedPacket { .. } | DriverError::PacketOutOfOrder,
            ) => Error::Silent { place },
            err => Error::Sql(err),
        }
    }
}

/// The driver reads the file of the authorities when it connects. No connection over TCP fails in these ways.
fn unreadable(url: &DatabaseUrl, err: &io::Error) -> Option<String> {
    let file = url.authorities()?.display();
    matches!(
        err.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::IsADirectory
    )
    .then(|| format!("the file of its authority (ssl-ca) {file} cannot be read: {err}"))
}

/// What is wrong on our side, before the first word to the server.
fn set_up(url: &DatabaseUrl, err: &TlsError) -> String {
    match (err, url.authorities()) {
        (TlsError::InvalidDnsName(_), _) => "its name is none that a certificate can be for".into(),
        (err, Some(file)) => format!("the authorities in {} cannot be used ({err})", file.display()),
        (err, None) => err.to_string(),
    }
}

fn from_server(url: &DatabaseUrl, err: ServerError) -> Error {
    let place = url.place();
    let database = quoted(url.database());
    let pattern = pattern(&database);
    let account = account_in(&err.message).unwrap_or_else(|| {
        let host = if url.is_socket() { "localhost" } else { "%" };
        account(url.user(), host)
    });
    match err.code {
        code::ACCESS_DENIED | code::ACCESS_DENIED_NO_PASSWORD | code::HOST_NOT_PRIVILEGED => {
            Error::WrongPassword { place, user: account }
        }
        code::UNKNOWN_DATABASE => Error::NoDatabase { place, database, pattern, account },
        code::DATABASE_DENIED => Error::NoRights { place, database, pattern, account },
        denied if code::DENIED.contains(&denied) => Error::NoRights { place, database, pattern, account },
        denied if code::READ_ONLY.contains(&denied) => Error::ReadOnly { place },
        _ => Error::Sql(mysql_async::Error::Server(err)),
    }
}

/// The account that the server speaks of: `... for user 'name'@'host' ...`.
fn account_in(message: &str) -> Option<String> {
    let (before, after) = message.split_once("'@'")?;
    let (_, user) = before.rsplit_once('\'')?;
    let (host, _) = after.split_once('\'')?;
    Some(account(user, host))
}

fn reason(url: &DatabaseUrl, err: &io::Error) -> String {
    match err.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".into(),
        io::ErrorKind::NotFound if url.is_socket() => "there is no such socket".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        io::ErrorKind::UnexpectedEof => "it closed the connection".into(),
        _ => err.to_string(),
    }
}

/// Whether the same transaction may succeed when it is tried again.
pub fn is_transient(err: &mysql_async::Error) -> bool {
    match err {
        mysql_async::Error::Io(_) => true,
        mysql_async::Error::Driver(err) => {
            matches!(err, DriverError::ConnectionClosed | DriverError::PoolDisconnected)
        }
        mysql_async::Error::Server(err) => {
            let again = [code::DEADLOCK, code::LOCK_WAIT_TIMEOUT, code::TOO_MANY_CONNECTIONS, code::SHUTDOWN];
            again.contains(&err.code) || code::KILLED.contains(&err.code)
        }
        mysql_async::Error::Other(_) | mysql_async::Error::Url(_) => false,
    }
}

/// Whether a row with this key was there already (error 1062).
pub fn is_duplicate(err: &mysql_async::Error) -> bool {
    matches!(err, mysql_async::Error::Server(err) if err.code == code::DUPLICATE_ENTRY)
}

/// Whether a change of the schema failed because it had been made already.
pub(super) fn is_already_there(err: &mysql_async::Error) -> bool {
    let there = [
        code::TABLE_EXISTS,
        code::DUPLICATE_COLUMN,
        code::DUPLICATE_KEY_NAME,
        code::CANNOT_DROP,
        code::DUPLICATE_CONSTRAINT,
    ];
    matches!(err, mysql_async::Error::Server(err) if there.contains(&err.code))
}

/// The error without the values that servers like to quote: those are a patient's.
fn spoken(err: &mysql_async::Error) -> String {
    match err {
        mysql_async::Error::Server(err) => {
            let what = err.message.split(['\'', '"']).next().unwrap_or("").trim_end();
            let place = [" for key ", " for column ", " for table "]
                .iter()
                .find_map(|mark| err.message.rsplit_once(mark).map(|(_, place)| format!("{mark}{place}")));
            format!("the database says: {what}{} (error {})", place.unwrap_or_default(), err.code)
        }
        mysql_async::Error::Io(err) => format!("the connection to the database failed: {err}"),
        mysql_async::Error::Driver(DriverError::FromValue { .. } | DriverError::FromRow { .. }) => {
            "the database sent a row of another shape than was asked for".into()
        }
        mysql_async::Error::Driver(DriverError::UnexpectedPacket { .. }) => {
            "the database sent something that is not MySQL's protocol".into()
        }
        err => format!("the database connection: {err}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: u16, message: &str) -> mysql_async::Error {
        mysql_async::Error::Server(ServerError { code, message: message.into(), state: "HY000".into() })
    }

    fn url() -> DatabaseUrl {
        "mysql://film_room:secret@db:3306/film_room".parse().expect("url")
    }

    #[test]
    fn values_of_rows_are_not_shown() {
        let err =
            Error::Sql(server(1062, "Duplicate entry 'O'Hara^Scarlett-1' for key 'patient_by_identity'"));
        assert_eq!(
            err.to_string(),
            "the database says: Duplicate entry for key 'patient_by_identity' (error 1062)"
        );
        let err = Error::Sql(server(
            1292,
            "Incorrect date value: '19450101x' for column `d`.`patient`.`b` at row 1",
        ));
        assert!(!err.to_string().contains("1945"), "{err}");
        assert!(err.to_string().contains("`patient`"), "{err}");
        assert!(std::error::Error::source(&err).is_none());
    }

    #[test]
    fn a_missing_database_is_answered_with_the_lines_that_make_it() {
        let err = Error::at(&url(), server(1049, "Unknown database 'film_room'"));
        let text = err.to_string();
        assert!(text.contains("CREATE DATABASE `film_room` CHARACTER SET utf8mb4;"), "{text}");
        assert!(text.contains("GRANT ALL PRIVILEGES ON `film\\_room`.* TO 'film_room'@'%';"), "{text}");
        assert!(!text.contains("secret"));
    }

    #[test]
    fn missing_rights_are_answered_with_the_grant_for_the_account_the_server_named() {
        for (code, message) in [
            (1044, "Access denied for user 'film_room'@'10.0.%' to database 'film_room'"),
            (1142, "CREATE command denied to user 'film_room'@'10.0.%' for table 'patient'"),
        ] {
            let text = Error::at(&url(), server(code, message)).to_string();
            assert!(text.contains("TO 'film_room'@'10.0.%';"), "{text}");
        }
    }

    #[test]
    fn deadlocks_and_lost_connections_may_be_tried_again_and_duplicates_not() {
        assert!(is_transient(&server(1213, "Deadlock found")));
        assert!(is_transient(&server(1205, "Lock wait timeout exceeded")));
        assert!(is_transient(&mysql_async::Error::Io(IoError::Io(io::ErrorKind::BrokenPipe.into()))));
        assert!(!is_transient(&server(1062, "Duplicate entry")));
        assert!(is_duplicate(&server(1062, "Duplicate entry")));
        assert!(!Error::Sql(server(1064, "You have an error")).is_transient());
    }
}
