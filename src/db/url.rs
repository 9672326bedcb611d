//! Where the database is: `mysql://user:password@host:port/database`, with `?ssl-mode=…&ssl-ca=/path` behind it for an
//! encrypted connection, or `mysql://user:password@/database?socket=/path` for a Unix socket.

use super::encryption::Encryption;
use mysql_async::OptsBuilder;
use percent_encoding::percent_decode_str;
use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;

/// Where the database is and who we are there. Neither `Debug` nor `Display` shows the password.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    user: String,
    password: String,
    server: Server,
    database: String,
}

#[derive(Clone, PartialEq, Eq)]
enum Server {
    Tcp { host: String, port: u16, encryption: Encryption },
    Socket(String),
}

/// What is wrong with a database URL, in words and without its password.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the database URL {0}")]
pub struct InvalidUrl(String);

const FORM: &str = "mysql://user:password@host:3306/database";
const OPTIONS: &str = "socket, ssl-mode and ssl-ca";
const ENCODE: &str = "in a user name or password, write % as %25, / as %2F, ? as %3F, # as %23 and @ as %40";

impl DatabaseUrl {
    /// The account on a server that listens on a Unix socket.
    pub fn on_socket(socket: &str, user: &str, database: &str) -> DatabaseUrl {
        DatabaseUrl {
            user: user.into(),
            password: String::new(),
            server: Server::Socket(socket.into()),
            database: database.into(),
        }
    }

    /// The same account on the same server, in another database.
    pub fn with_database(&self, database: &str) -> DatabaseUrl {
        DatabaseUrl { database: database.into(), ..self.clone() }
    }

    /// The name of the database.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The name of the account.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The whole URL, with the password: for handing it to another process, never for a log.
    pub fn with_password(&self) -> String {
        let credentials = match self.password.as_str() {
            "" => encoded(&self.user),
            password => format!("{}:{}", encoded(&self.user), encoded(password)),
        };
        self.text(&credentials)
    }

    /// The server, as an administrator would name it.
    pub(super) fn place(&self) -> String {
        match &self.server {
            Server::Tcp { host, port, .. } if host.contains(':') => format!("[{host}]:{port}"),
            Server::Tcp { host, port, .. } => format!("{host}:{port}"),
            Server::Socket(path) => path.clone(),
        }
    }

    /// Whether what is asked and answered goes to another machine in plain.
    pub fn is_exposed(&self) -> bool {
        let is_here = |host: &str| {
            let address = host.parse::<IpAddr>();
            host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|ip| ip.to_canonical().is_loopback())
        };
        matches!(&self.server, Server::Tcp { host, encryption: Encryption::Disabled, .. } if !is_here(host))
    }

    /// The file of the authorities that the server's certificate may be from.
    pub(super) fn authorities(&self) -> Option<&Path> {
        match &self.server {
            Server::Tcp { encryption, .. } => encryption.words().and_then(|(_, file)| file),
            Server::Socket(_) => None,
        }
    }

    pub(super) fn is_socket(&self) -> bool {
        matches!(self.server, Server::Socket(_))
    }

    pub(super) fn options(&self) -> OptsBuilder {
        let builder = OptsBuilder::default()
            .user(Some(&self.user))
            .pass(Some(&self.password).filter(|password| !password.is_empty()))
            .db_name(Some(&self.database).filter(|database| !database.is_empty()));
        match &self.server {
            Server::Tcp { host, port, encryption } => {
                builder.ip_or_hostname(host).tcp_port(*port).ssl_opts(encryption.options())
            }
            Server::Socket(path) => builder.socket(Some(path)),
        }
    }

    fn text(&self, credentials: &str) -> String {
        let database = encoded(&self.database);
        match &self.server {
            Server::Tcp { encryption, .. } => {
                let options = match encryption.words() {
                    None => String::new(),
                    Some((mode, None)) => format!("?ssl-mode={mode}"),
                    Some((mode, Some(file))) => format!("?ssl-mode={mode}&ssl-ca={}", encoded_path(file)),
                };
                format!("mysql://{credentials}@{}/{database}{options}", self.place())
            }
            Server::Socket(path) => {
                format!("mysql://{credentials}@/{database}?socket={}", encoded_path(Path::new(path)))
            }
        }
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(&encoded(&self.user)))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

impl FromStr for DatabaseUrl {
    type Err = InvalidUrl;

    /// Taken apart by hand: the password must not be lost in, nor shown by, somebody else's error, and
    /// `mysql://user@/database?socket=...` is no URL to a general parser.
    fn from_str(text: &str) -> Result<DatabaseUrl, InvalidUrl> {
        let text = text.trim();
        if text.is_empty() {
            return Err(invalid(format!("is empty; it has the form {FORM}")));
        }
        let rest = match text.split_once("://") {
            Some(("mysql" | "mariadb", rest)) => rest,
            Some((scheme, _)) if scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+.-".contains(c)) => {
                return Err(invalid(format!("begins with {scheme}://, but filmroom needs mysql://")));
            }
            _ => return Err(invalid(format!("does not begin with mysql://; it has the form {FORM}"))),
        };
        if rest.contains('#') {
            return Err(invalid(format!("has a # in it; {ENCODE}")));
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = match rest.split_once('/') {
            Some((_, database)) if database.contains('/') => {
                return Err(invalid(format!("has more than one / after the host; {ENCODE}")));
            }
            Some(parts) => parts,
            None => (rest, ""),
        };
        let (credentials, address) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
        let server = server(address, query)?;
        let user = match (decoded(user)?, &server) {
            (user, Server::Socket(_)) if user.is_empty() => system_user()?,
            (user, _) if user.is_empty() => {
                return Err(invalid(format!("names no user; it has the form {FORM}")));
            }
            (user, _) => user,
        };
        let database = checked_database(decoded(database)?)?;
        Ok(DatabaseUrl { user, password: decoded(password)?, server, database })
    }
}

fn server(address: &str, query: &str) -> Result<Server, InvalidUrl> {
    let (mut socket, mut mode, mut authorities) = (None, None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("socket", path)) => socket = Some(decoded(path)?),
            Some(("ssl-mode", text)) => mode = Some(decoded(text)?),
            Some(("ssl-ca", path)) => authorities = Some(decoded(path)?),
            Some((name, _)) if name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c)) => {
                return Err(invalid(format!("has the option {name}, but only {OPTIONS} are known")));
            }
            _ => return Err(invalid(format!("has something else than {OPTIONS} after the ?; {ENCODE}"))),
        }
    }
    let encryption = Encryption::of(mode.as_deref(), authorities).map_err(invalid)?;
    if socket.is_some() && encryption != Encryption::Disabled {
        return Err(invalid("has an ssl-mode, but a socket needs none: nobody can listen there"));
    }
    if let Some(path) = socket {
        return match address {
            "" | "localhost" if path.starts_with('/') => Ok(Server::Socket(path)),
            "" | "localhost" => Err(invalid("needs a socket path that begins with /")),
            _ => Err(invalid("names a host and a socket; leave out one of them")),
        };
    }
    let (host, port) = match address.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((host, port))) => (host, port),
        Some(None) => return Err(invalid("has a [ without its ]")),
        None => match address.find(':') {
            Some(colon) => address.split_at(colon),
            None => (address, ""),
        },
    };
    if host.is_empty() {
        return Err(invalid(format!("names no host; it has the form {FORM}")));
    }
    let known = |c: char| c.is_alphanumeric() || "._-:%".contains(c);
    if !host.chars().all(known) {
        return Err(invalid(format!("has a host that is no host name or IP address; {ENCODE}")));
    }
    let port = match port {
        "" => 3306,
        port => port
            .strip_prefix(':')
            .and_then(|port| port.parse().ok())
            .filter(|port| *port != 0)
            .ok_or_else(|| invalid(format!("has a port that is no number from 1 to 65535; {ENCODE}")))?,
    };
    Ok(Server::Tcp { host: host.into(), port, encryption })
}

fn checked_database(name: String) -> Result<String, InvalidUrl> {
    match name.to_ascii_lowercase().as_str() {
        "" => Err(invalid(format!("names no database; it has the form {FORM}"))),
        "mysql" | "sys" | "information_schema" | "performance_schema" => Err(invalid(format!(
            "names {name}, which is the server's own; filmroom needs a database to itself"
        ))),
        _ if name.chars().count() > 64 => Err(invalid("names a database of more than 64 characters")),
        _ if name.chars().any(|c| c.is_control() || "`'\"\\/. ".contains(c)) => {
            Err(invalid("names a database with a space, a dot, a quote or a slash in it"))
        }
        _ => Ok(name),
    }
}

/// Who runs this process: what `mysql` on the command line signs in as, too.
fn system_user() -> Result<String, InvalidUrl> {
    let named =
        ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()));
    // SAFETY: geteuid has no preconditions and cannot fail.
    let is_root = || (unsafe { libc::geteuid() } == 0).then(|| "root".to_owned());
    named.or_else(is_root).ok_or_else(|| invalid("names no user, and the environment has no USER either"))
}

fn invalid(what: impl Into<String>) -> InvalidUrl {
    InvalidUrl(what.into())
}

fn decoded(text: &str) -> Result<String, InvalidUrl> {
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        let digits = rest.get(at + 1..at + 3).unwrap_or("");
        if digits.len() != 2 || !digits.chars().all(|c| c.is_ascii_hexdigit()) {
            return Err(invalid(format!("has a % that is not followed by two digits; {ENCODE}")));
        }
        rest = rest.get(at + 3..).unwrap_or("");
    }
    let text = percent_decode_str(text).decode_utf8();
    text.map(Into::into).map_err(|_| invalid("has a percent-encoded character that is not UTF-8"))
}

fn encoded(text: &str) -> String {
    const KEPT: percent_encoding::AsciiSet =
        percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');
    percent_encoding::utf8_percent_encode(text, &KEPT).to_string()
}

fn encoded_path(path: &Path) -> String {
    encoded(&path.to_string_lossy()).replace("%2F", "/")
}

/// An identifier in backquotes.
pub(super) fn quoted(identifier: &str) -> String {
    format!("`{}`", identifier.replace('`', "``"))
}

/// The name of a database as GRANT takes it, where _ and % stand for other characters.
pub(super) fn pattern(quoted: &str) -> String {
    quoted.replace('_', "\\_").replace('%', "\\%")
}

/// An account as GRANT takes it.
pub(super) fn account(user: &str, host: &str) -> String {
    let literal = |text: &str| text.replace('\\', "\\\\").replace('\'', "''");
    format!("'{}'@'{}'", literal(user), literal(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> DatabaseUrl {
        text.parse().expect(text)
    }

    fn sentence(text: &str) -> String {
        text.parse::<DatabaseUrl>().expect_err(text).to_string()
    }

    #[test]
    fn a_url_names_user_password_server_and_database() {
        let url = parse("mysql://film%40room:p%2F%25w:x@db.local:3307/archive");
        assert_eq!(url.user, "film@room");
        assert_eq!(url.password, "p/%w:x");
        assert_eq!(url.place(), "db.local:3307");
        assert_eq!(url.database(), "archive");
        assert_eq!(parse("mysql://u@h/d").place(), "h:3306");
        assert_eq!(parse("mariadb://u@[::1]:4000/d").place(), "[::1]:4000");
    }

    #[test]
    fn a_url_can_name_a_socket() {
        let url = parse("mysql://u:p@/d?socket=/run/my%20sql/s.sock");
        assert_eq!(url.place(), "/run/my sql/s.sock");
        assert!(url.is_socket());
        assert!(!parse("mysql:///d?socket=/s").user().is_empty());
    }

    #[test]
    fn what_is_written_is_read_back() {
        for text in [
            "mysql://a%40b:p%2Fq@h:3306/d_1",
            "mysql://u@/d?socket=/a%20b",
            "mysql://u@[::1]:1/d",
            "mysql://u:p@h:3306/d?ssl-mode=REQUIRED",
            "mysql://u:p@h:3306/d?ssl-mode=VERIFY_CA&ssl-ca=/a%20b/ca.pem",
            "mysql://u:p@h:3306/d?ssl-mode=VERIFY_IDENTITY",
            "mysql://u:p@h:3306/d?ssl-mode=VERIFY_IDENTITY&ssl-ca=/ca.pem",
        ] {
            assert_eq!(parse(text).with_password(), text);
            assert_eq!(parse(&parse(text).to_string()).place(), parse(text).place());
        }
    }

    #[test]
    fn a_mode_is_written_in_any_case_and_disabled_is_the_default() {
        assert_eq!(parse("mysql://u@h/d?ssl-mode=disabled"), parse("mysql://u@h/d"));
        let any = parse("mysql://u@h/d?ssl-mode=Verify_Ca&ssl-ca=/c");
        assert_eq!(any, parse("mysql://u@h/d?ssl-ca=/c&ssl-mode=VERIFY_CA"));
        assert_eq!(any.to_string(), "mysql://u@h:3306/d?ssl-mode=VERIFY_CA&ssl-ca=/c");
        assert_eq!(any.with_database("e").to_string(), "mysql://u@h:3306/e?ssl-mode=VERIFY_CA&ssl-ca=/c");
    }

    #[test]
    fn a_plain_connection_to_another_machine_is_exposed() {
        for text in ["mysql://u@db/d", "mysql://u@10.0.0.1/d", "mysql://u@[fe80::1]/d?ssl-mode=DISABLED"] {
            assert!(parse(text).is_exposed(), "{text}");
        }
        for text in [
            "mysql://u@localhost/d",
            "mysql://u@127.0.0.1:13306/d",
            "mysql://u@[::1]/d",
            "mysql://u@/d?socket=/s",
            "mysql://u@db/d?ssl-mode=REQUIRED",
        ] {
            assert!(!parse(text).is_exposed(), "{text}");
        }
    }

    #[test]
    fn the_password_is_never_shown() {
        let url = parse("mysql://u:geheim@h/d");
        assert!(!format!("{url} {url:?}").contains("geheim"));
        for wrong in [
            "mysql://u:geheim@h:port/d",
            "mysql://u:gehe/im@h/d",
            "mysql://u:geheim#1@h/d",
            "mysql://u:geheim%zz@h/d",
            "mysql://u:geheim@h",
            "mysql://u:geheim@h/d?tls=geheim",
            "u:geheim@h/d",
            "mysql:u:geheim@h/d",
            "mysql://u:geh?eim@h/d",
        ] {
            assert!(!sentence(wrong).contains("geh"), "{}", sentence(wrong));
        }
    }

    #[test]
    fn each_mistake_has_its_sentence() {
        for (wrong, says) in [
            ("", "is empty"),
            ("postgres://u@h/d", "begins with postgres://"),
            ("localhost/filmroom", "does not begin with mysql://"),
            ("mysql://u:p@h", "names no database"),
            ("mysql://h/d", "names no user"),
            ("mysql://u:p@/d", "names no host"),
            ("mysql://u:p@h:99999/d", "port that is no number"),
            ("mysql://u:p/q@h/d", "more than one /"),
            ("mysql://u:p#q@h/d", "has a #"),
            ("mysql://u:50%@h/d", "two digits"),
            ("mysql://u:p@h/d?compress=1", "option compress"),
            (
                "mysql://u:p@h/d?ssl-mode=PREFERRED",
                "none of DISABLED, REQUIRED, VERIFY_CA and VERIFY_IDENTITY",
            ),
            ("mysql://u:p@h/d?ssl-mode=", "none of DISABLED"),
            ("mysql://u:p@h/d?ssl-mode=VERIFY_CA", "without the file of the authority"),
            ("mysql://u:p@h/d?ssl-mode=REQUIRED&ssl-ca=/c", "VERIFY_IDENTITY alone"),
            ("mysql://u:p@h/d?ssl-ca=/c", "VERIFY_IDENTITY alone"),
            ("mysql://u:p@h/d?ssl-mode=VERIFY_CA&ssl-ca=c", "ssl-ca path that begins with /"),
            ("mysql://u:p@/d?socket=/s&ssl-mode=REQUIRED", "a socket needs none"),
            ("mysql://u:p@h/mysql", "server's own"),
            ("mysql://u:p@h/my db", "space"),
            ("mysql://u:p@h/d?socket=/s", "a host and a socket"),
        ] {
            assert!(sentence(wrong).contains(says), "{wrong}: {}", sentence(wrong));
        }
    }
}
