//! Tables `peer` and `unknown_caller`: the remote AEs that the administrator knows, and those that called anyway.

mod refused;

use std::fmt;
use std::net::IpAddr;

use chrono::NaiveDateTime;
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, FromRowError, Result, Row, Value, params};

pub use self::refused::{
    ELSEWHERE, EXPOSED, NOT_A_PEER, OTHER_CALLED, Refused, UnknownCaller, forget_unknown, may_not,
    note_refused, refused, unknown,
};
use super::row::{column, parsed};
use crate::dicom::ae_title::AeTitle;
use crate::dicom::service::{Service, Services};
use crate::tls::Fingerprint;

/// A remote AE that the administrator knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Our own number.
    pub peer_key: u64,
    /// Its AE title.
    pub ae_title: AeTitle,
    /// Name or IP address it calls from; empty: from anywhere.
    pub host: String,
    /// Where it listens, if it does.
    pub port: Option<u16>,
    /// What it may use here.
    pub services: Services,
    /// Whether a C-MOVE may name it as its destination.
    pub is_destination: bool,
    /// Whether it is asked for storage commitment after we have sent to it.
    pub offers_commitment: bool,
    /// How it has to be connected.
    pub encryption: Encryption,
    /// Its certificate, where one has been shown to us.
    pub certificate: Option<Fingerprint>,
    /// The administrator's own words.
    pub description: String,
    /// UTC.
    pub created_at: NaiveDateTime,
    /// UTC, its last association.
    pub last_seen_at: Option<NaiveDateTime>,
}

/// How a peer has to be connected, beside what the port is that it calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encryption {
    /// In plain or by TLS.
    #[default]
    Optional,
    /// By TLS.
    Required,
    /// By TLS with its pinned certificate. Where none is pinned, nobody is let in.
    Certificate,
}

impl Encryption {
    /// The word of the column, the form and the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Encryption::Optional => "optional",
            Encryption::Required => "required",
            Encryption::Certificate => "certificate",
        }
    }
}

impl std::str::FromStr for Encryption {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Encryption, String> {
        match text {
            "optional" => Ok(Encryption::Optional),
            "required" => Ok(Encryption::Required),
            "certificate" => Ok(Encryption::Certificate),
            _ => Err(format!("must be optional, required or certificate, not {text:?}")),
        }
    }
}

/// What the administrator decides of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerDetails {
    /// Its AE title.
    pub ae_title: AeTitle,
    /// Name or IP address it calls from; empty: from anywhere.
    pub host: String,
    /// Where it listens, if it does.
    pub port: Option<u16>,
    /// What it may use here.
    pub services: Services,
    /// Whether a C-MOVE may name it as its destination.
    pub is_destination: bool,
    /// Whether it is asked for storage commitment after we have sent to it.
    pub offers_commitment: bool,
    /// How it has to be connected.
    pub encryption: Encryption,
    /// Its certificate, where one has been shown to us.
    pub certificate: Option<Fingerprint>,
    /// The administrator's own words.
    pub description: String,
}

impl Peer {
    /// What the administrator decided of it.
    pub fn details(&self) -> PeerDetails {
        PeerDetails {
            ae_title: self.ae_title.clone(),
            host: self.host.clone(),
            port: self.port,
            services: self.services,
            is_destination: self.is_destination,
            offers_commitment: self.offers_commitment,
            encryption: self.encryption,
            certificate: self.certificate,
            description: self.description.clone(),
        }
    }
}

impl PeerDetails {
    /// Whether we are to send something to it, for which it needs a host and a port.
    pub fn is_sent_to(&self) -> bool {
        self.is_destination || self.offers_commitment
    }
}

/// In words, for the audit trail.
impl fmt::Display for PeerDetails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = if self.host.is_empty() { "anywhere" } else { &self.host };
        write!(f, "{} at {host}", self.ae_title)?;
        if let Some(port) = self.port {
            write!(f, " port {port}")?;
        }
        match self.services {
            Services::NONE => f.write_str(", may do nothing")?,
            services => write!(f, ", may {}", services.verbs("and"))?,
        }
        if self.is_destination {
            f.write_str(", is a destination")?;
        }
        if self.offers_commitment {
            f.write_str(", is asked for storage commitment")?;
        }
        match self.encryption {
            Encryption::Optional => Ok(()),
            other => write!(f, ", encryption {}", other.as_str()),
        }
    }
}

/// The columns of [`Peer`].
macro_rules! columns {
    () => {
        "peer_key, ae_title, host, port, may_echo, may_store, may_find, may_get, may_move, may_commit,
                is_destination, offers_commitment, tls, certificate_sha256, description, created_at, last_seen_at"
    };
}

impl FromRow for Peer {
    fn from_row_opt(row: Row) -> std::result::Result<Peer, FromRowError> {
        Ok(Peer {
            peer_key: column(&row, "peer_key")?,
            ae_title: parsed(&row, "ae_title")?,
            host: column(&row, "host")?,
            port: column(&row, "port")?,
            services: services(&row)?,
            is_destination: column(&row, "is_destination")?,
            offers_commitment: column(&row, "offers_commitment")?,
            encryption: parsed(&row, "tls")?,
            certificate: fingerprint(&row)?,
            description: column(&row, "description")?,
            created_at: column(&row, "created_at")?,
            last_seen_at: column(&row, "last_seen_at")?,
        })
    }
}

/// The column of each service.
fn service_column(service: Service) -> &'static str {
    match service {
        Service::Echo => "may_echo",
        Service::Store => "may_store",
        Service::Find => "may_find",
        Service::Get => "may_get",
        Service::Move => "may_move",
        Service::Commit => "may_commit",
    }
}

fn services(row: &Row) -> std::result::Result<Services, FromRowError> {
    let mut services = Services::NONE;
    for service in Service::ALL {
        if column::<bool>(row, service_column(service))? {
            services = services.with(service);
        }
    }
    Ok(services)
}

fn fingerprint(row: &Row) -> std::result::Result<Option<Fingerprint>, FromRowError> {
    let bytes: Option<Vec<u8>> = column(row, "certificate_sha256")?;
    bytes.map(|bytes| Fingerprint::try_from(bytes).map_err(|_| FromRowError(row.clone()))).transpose()
}

/// Whether this can be the name or the IP address of a machine, RFC 1123 section 2.1. Underscores are seen too.
pub fn is_host(text: &str) -> bool {
    if text.parse::<IpAddr>().is_ok() {
        return true;
    }
    let mut labels = text.split('.');
    let is_number = |label: &str| label.chars().all(|c| c.is_ascii_digit());
    let is_label = |label: &str| {
        let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        (1..=63).contains(&label.len()) && label.chars().all(is_letter)
    };
    // A last part of digits alone makes it an IP address, and it is none.
    let ends_in_a_name = text.rsplit('.').next().is_some_and(|last| !is_number(last));
    text.len() <= 253 && ends_in_a_name && labels.all(is_label)
}

/// All peers, by AE title.
pub async fn list(conn: &mut Conn) -> Result<Vec<Peer>> {
    conn.exec(
        concat!(
            "SELECT ",
            columns!(),
            "
           FROM peer
          ORDER BY ae_title"
        ),
        (),
    )
    .await
}

/// The peer with this AE title.
pub async fn by_ae_title(conn: &mut impl Queryable, ae_title: &AeTitle) -> Result<Option<Peer>> {
    conn.exec_first(
        concat!(
            "SELECT ",
            columns!(),
            "
           FROM peer
          WHERE ae_title = :ae_title"
        ),
        params! { "ae_title" => ae_title.as_str() },
    )
    .await
}

/// The peer with this number.
pub async fn by_key(conn: &mut impl Queryable, peer_key: u64) -> Result<Option<Peer>> {
    conn.exec_first(
        concat!(
            "SELECT ",
            columns!(),
            "
           FROM peer
          WHERE peer_key = :peer_key"
        ),
        params! { "peer_key" => peer_key },
    )
    .await
}

/// Adds a peer. A second one with the same AE title is a duplicate, see [`super::is_duplicate`].
/// What it was refused before and may now is forgotten.
pub async fn add(conn: &mut impl Queryable, peer: &PeerDetails) -> Result<()> {
    conn.exec_drop(
        "INSERT INTO peer (ae_title, host, port, may_echo, may_store, may_find, may_get, may_move, may_commit,
                           is_destination, offers_commitment, tls, certificate_sha256, description, created_at)
         VALUES (:ae_title, :host, :port, :may_echo, :may_store, :may_find, :may_get, :may_move, :may_commit,
                 :is_destination, :offers_commitment, :tls, :certificate_sha256, :description, UTC_TIMESTAMP(6))",
        values(peer),
    )
    .await?;
    refused::settle(conn, peer).await
}

/// What is written of a peer, by the names that stand in the statements.
fn values(peer: &PeerDetails) -> Vec<(String, Value)> {
    let mut values: Vec<(String, Value)> = Service::ALL
        .into_iter()
        .map(|service| (service_column(service).to_owned(), peer.services.has(service).into()))
        .collect();
    let certificate = peer.certificate.as_ref().map(Fingerprint::as_bytes);
    for (name, value) in [
        ("ae_title", peer.ae_title.as_str().into()),
        ("host", (&peer.host).into()),
        ("port", peer.port.into()),
        ("is_destination", peer.is_destination.into()),
        ("offers_commitment", peer.offers_commitment.into()),
        ("tls", peer.encryption.as_str().into()),
        ("certificate_sha256", certificate.into()),
        ("description", (&peer.description).into()),
    ] {
        values.push((name.to_owned(), value));
    }
    values
}

/// Changes what the administrator decided of a peer. False if there is no such peer any more. What it was refused before
/// and may now is forgotten.
pub async fn update(conn: &mut impl Queryable, peer_key: u64, peer: &PeerDetails) -> Result<bool> {
    // An update to the same values touches no row, so existence is asked for.
    if by_key(conn, peer_key).await?.is_none() {
        return Ok(false);
    }
    let mut values = values(peer);
    values.push(("peer_key".to_owned(), peer_key.into()));
    conn.exec_drop(
        "UPDATE peer
            SET ae_title = :ae_title, host = :host, port = :port, may_echo = :may_echo, may_store = :may_store,
                may_find = :may_find, may_get = :may_get, may_move = :may_move, may_commit = :may_commit,
                is_destination = :is_destination, offers_commitment = :offers_commitment, tls = :tls,
                certificate_sha256 = :certificate_sha256, description = :description
          WHERE peer_key = :peer_key",
        values,
    )
    .await?;
    refused::settle(conn, peer).await?;
    Ok(true)
}

/// Removes a peer. False if there was none.
pub async fn remove(conn: &mut impl Queryable, peer_key: u64) -> Result<bool> {
    let removed = conn
        .exec_iter("DELETE FROM peer WHERE peer_key = :peer_key", params! { "peer_key" => peer_key })
        .await?;
    Ok(removed.affected_rows() > 0)
}

/// Notes that a peer has called.
pub async fn seen(conn: &mut Conn, peer_key: u64) -> Result<()> {
    conn.exec_drop(
        "UPDATE peer SET last_seen_at = UTC_TIMESTAMP(6) WHERE peer_key = :peer_key",
        params! { "peer_key" => peer_key },
    )
    .await
}
