//! Table `unknown_caller`: the AEs that were refused, and why, so that the page can offer to allow them.

use std::net::IpAddr;

use chrono::NaiveDateTime;
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, FromRowError, Result, Row, params};

use super::{Encryption, PeerDetails};
use crate::db::row::{column, parsed};
use crate::dicom::ae_title::AeTitle;
use crate::dicom::service::Services;

/// Strangers of whom the page shows a line; the oldest make room for new ones.
const CALLERS_KEPT: u64 = 200;

/// Why: no peer has this AE title.
pub const NOT_A_PEER: &str = "It is not among the peers.";
/// Why: it is not us that it called.
pub const OTHER_CALLED: &str = "It called another AE title than ours.";
/// Why: the peer of this AE title has another address.
pub const ELSEWHERE: &str = "It is a peer, and called from another address than the peer has.";
/// How it begins where a peer is not connected as it has to be.
pub const EXPOSED: &str = "This peer has to ";

/// Why: it asked for these services, and has no right to them.
pub fn may_not(missing: Services) -> String {
    format!("It may not {}.", missing.verbs("or"))
}

/// An AE that was refused: it called, or a C-MOVE named it as its destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownCaller {
    /// What it calls itself.
    pub calling_ae_title: AeTitle,
    /// Its IP address; empty where it did not call.
    pub address: String,
    /// What it called us.
    pub called_ae_title: String,
    /// What its last call proposed, in words.
    pub asked_for: String,
    /// Of which services that is.
    pub services: Services,
    /// Why it was refused, in words.
    pub refusal: String,
    /// How often it called.
    pub calls: u32,
    /// UTC.
    pub last_seen_at: NaiveDateTime,
}

impl FromRow for UnknownCaller {
    fn from_row_opt(row: Row) -> std::result::Result<UnknownCaller, FromRowError> {
        Ok(UnknownCaller {
            calling_ae_title: parsed(&row, "calling_ae_title")?,
            address: column(&row, "address")?,
            called_ae_title: column(&row, "called_ae_title")?,
            asked_for: column(&row, "asked_for")?,
            services: parsed(&row, "services")?,
            refusal: column(&row, "refusal")?,
            calls: column(&row, "calls")?,
            last_seen_at: column(&row, "last_seen_at")?,
        })
    }
}

/// An AE that was refused: it called, or a C-MOVE named it as its destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused<'a> {
    /// What it calls itself.
    pub ae_title: &'a AeTitle,
    /// Its IP address; empty where it did not call.
    pub address: &'a str,
    /// What it called us.
    pub called: &'a str,
    /// What it proposed, in words.
    pub asked_for: &'a str,
    /// Of which services that is.
    pub services: Services,
    /// Why it was refused, in words.
    pub refusal: &'a str,
}

/// Notes that an AE was refused, so that the page can offer to allow it. At most two hundred are kept: whoever can
/// reach the port could otherwise fill the table with names.
pub async fn note_refused(conn: &mut Conn, refused: &Refused<'_>) -> Result<()> {
    let cut = |text: &str, length| text.chars().take(length).collect::<String>();
    conn.exec_drop(
        "INSERT INTO unknown_caller
                (calling_ae_title, address, called_ae_title, asked_for, services, refusal, calls, first_seen_at,
                 last_seen_at)
         VALUES (:calling, :address, :called, :asked_for, :services, :refusal, 1, UTC_TIMESTAMP(6),
                 UTC_TIMESTAMP(6))
             ON DUPLICATE KEY UPDATE
                called_ae_title = :called,
                asked_for = :asked_for,
                services = :services,
                refusal = :refusal,
                calls = LEAST(calls + 1, 4294967295),
                last_seen_at = UTC_TIMESTAMP(6)",
        params! {
            "calling" => refused.ae_title.as_str(),
            "address" => cut(refused.address, 64),
            "called" => cut(refused.called, 16),
            "asked_for" => cut(refused.asked_for, 255),
            "services" => refused.services.to_string(),
            "refusal" => cut(refused.refusal, 255),
        },
    )
    .await?;
    let surplus: Option<NaiveDateTime> = conn
        .exec_first(
            "SELECT last_seen_at FROM unknown_caller ORDER BY last_seen_at DESC LIMIT 1 OFFSET :kept",
            params! { "kept" => CALLERS_KEPT },
        )
        .await?;
    match surplus {
        Some(newest) => {
            conn.exec_drop(
                "DELETE FROM unknown_caller WHERE last_seen_at <= :newest",
                params! { "newest" => newest },
            )
            .await
        }
        None => Ok(()),
    }
}

/// The AEs that called and are not among the peers, the last to call first.
pub async fn unknown(conn: &mut Conn) -> Result<Vec<UnknownCaller>> {
    conn.exec(
        "SELECT calling_ae_title, address, called_ae_title, asked_for, services, refusal, calls,
                last_seen_at
           FROM unknown_caller
          ORDER BY last_seen_at DESC, calling_ae_title, address
          LIMIT :kept",
        params! { "kept" => CALLERS_KEPT },
    )
    .await
}

/// The AE that was refused under this title, from this address.
pub async fn refused(
    conn: &mut impl Queryable,
    calling: &AeTitle,
    address: &str,
) -> Result<Option<UnknownCaller>> {
    conn.exec_first(
        "SELECT calling_ae_title, address, called_ae_title, asked_for, services, refusal, calls, last_seen_at
           FROM unknown_caller
          WHERE calling_ae_title = :calling AND address = :address",
        params! { "calling" => calling.as_str(), "address" => address },
    )
    .await
}

/// Forgets that this AE called.
pub async fn forget_unknown(conn: &mut impl Queryable, calling: &AeTitle, address: &str) -> Result<()> {
    conn.exec_drop(
        "DELETE FROM unknown_caller
          WHERE calling_ae_title = :calling AND address = :address",
        params! { "calling" => calling.as_str(), "address" => address },
    )
    .await
}

/// Forgets what was refused to a peer that may now, and says of the rest why it still would be.
pub(super) async fn settle(conn: &mut impl Queryable, peer: &PeerDetails) -> Result<()> {
    let refused: Vec<UnknownCaller> = conn
        .exec(
            "SELECT calling_ae_title, address, called_ae_title, asked_for, services, refusal, calls, last_seen_at
               FROM unknown_caller
              WHERE calling_ae_title = :calling
              LIMIT :kept",
            params! { "calling" => peer.ae_title.as_str(), "kept" => CALLERS_KEPT },
        )
        .await?;
    for caller in refused {
        match caller.refusal_by(peer) {
            None => forget_unknown(conn, &caller.calling_ae_title, &caller.address).await?,
            Some(refusal) if refusal == caller.refusal => {}
            Some(refusal) => {
                conn.exec_drop(
                    "UPDATE unknown_caller
                        SET refusal = :refusal
                      WHERE calling_ae_title = :calling AND address = :address",
                    params! {
                        "refusal" => refusal,
                        "calling" => caller.calling_ae_title.as_str(),
                        "address" => &caller.address,
                    },
                )
                .await?;
            }
        }
    }
    Ok(())
}

impl UnknownCaller {
    /// Whether it has not called itself, but was named as the destination of a C-MOVE.
    pub fn is_destination(&self) -> bool {
        self.address.is_empty()
    }

    /// Why the same would be refused again to a peer like this, if it would be. Where the peer has a host name nobody can
    /// tell without asking for its address; then the next call tells.
    pub fn refusal_by(&self, peer: &PeerDetails) -> Option<String> {
        let stays = || Some(self.refusal.clone());
        if self.is_destination() {
            return if peer.is_destination { None } else { stays() };
        }
        if self.refusal == OTHER_CALLED {
            return stays();
        }
        if is_elsewhere(&peer.host, &self.address) {
            return Some(ELSEWHERE.to_owned());
        }
        if self.refusal.starts_with(EXPOSED) && peer.encryption != Encryption::Optional {
            return stays();
        }
        match self.services.without(peer.services) {
            Services::NONE => None,
            missing => Some(may_not(missing)),
        }
    }
}

/// Whether the host is an IP address, and not this one.
fn is_elsewhere(host: &str, address: &str) -> bool {
    let ip = |text: &str| text.parse::<IpAddr>().map(|ip| ip.to_canonical()).ok();
    ip(host).is_some_and(|host| ip(address) != Some(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(address: &str, services: &str, refusal: &str) -> UnknownCaller {
        UnknownCaller {
            calling_ae_title: "CT01".parse().expect("an AE title"),
            address: address.into(),
            called_ae_title: "FILMROOM".into(),
            asked_for: String::new(),
            services: services.parse().expect("services"),
            refusal: refusal.into(),
            calls: 1,
            last_seen_at: Default::default(),
        }
    }

    fn peer(host: &str, services: &str) -> PeerDetails {
        PeerDetails {
            ae_title: "CT01".parse().expect("an AE title"),
            host: host.into(),
            port: None,
            services: services.parse().expect("services"),
            is_destination: false,
            offers_commitment: false,
            encryption: Encryption::Optional,
            certificate: None,
            description: String::new(),
        }
    }

    #[test]
    fn what_a_peer_may_now_is_refused_no_more_and_the_rest_says_why() {
        let stranger = caller("10.0.0.7", "store, find", NOT_A_PEER);
        let refusal = |peer: &PeerDetails| stranger.refusal_by(peer);
        assert_eq!(refusal(&peer("", "store, find")), None);
        assert_eq!(refusal(&peer("10.0.0.7", "store, find, move")), None);
        assert_eq!(refusal(&peer("ct01.local", "store, find")), None, "its next call tells");
        assert_eq!(refusal(&peer("", "echo, store")).as_deref(), Some("It may not search."));
        assert_eq!(refusal(&peer("10.0.0.8", "store, find")).as_deref(), Some(ELSEWHERE));
    }

    #[test]
    fn what_no_right_of_a_peer_cures_stays() {
        let all: PeerDetails = peer("", "echo, store, find, get, move, commit");
        assert_eq!(caller("10.0.0.7", "echo", OTHER_CALLED).refusal_by(&all).as_deref(), Some(OTHER_CALLED));
        let exposed = caller("10.0.0.7", "echo", "This peer has to use TLS, and it called in plain.");
        let secured = PeerDetails { encryption: Encryption::Required, ..all.clone() };
        assert_eq!(exposed.refusal_by(&secured), Some(exposed.refusal.clone()));
        assert_eq!(exposed.refusal_by(&all), None);
    }

    #[test]
    fn a_destination_that_is_one_now_is_refused_no_more() {
        let named = caller("", "", "It was named as the destination of a C-MOVE and is not among the peers.");
        let plain = peer("10.0.0.7", "echo");
        assert_eq!(named.refusal_by(&plain), Some(named.refusal.clone()));
        assert_eq!(named.refusal_by(&PeerDetails { is_destination: true, ..plain }), None);
    }
}
