//! `POST /admin/peers/{peer_key}/echo`: whether a peer answers a C-ECHO, PS3.4 annex A, and after how long.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use actix_web::{HttpResponse, web};

use super::form::{Mistakes, PeerForm};
use super::{Confirmed, Notice, list_with, stored};
use crate::db::peer::{Encryption, Peer};
use crate::dicom::ae_title::AeTitle;
use crate::dimse::scu::{self, Association, Parameters, Proposal, Timeouts, Tls};
use crate::tls::Identity;
use crate::web::App;
use crate::web::access::{Caller, Posted};
use crate::web::error::Error;
use crate::web::page::Layout;

/// Somebody waits for the page.
const DEADLINE: Duration = Duration::from_secs(5);
/// A step that takes longer is told by its name.
const STEP: Duration = Duration::from_secs(4);

/// `POST /admin/peers/{peer_key}/echo`
pub async fn ask(
    _: Caller,
    layout: Layout,
    key: web::Path<String>,
    _form: Posted<Confirmed>,
    app: web::Data<App>,
) -> Result<HttpResponse, Error> {
    let peer = stored(&app, &key).await?;
    let notice = match peer.port {
        Some(port) if !peer.host.is_empty() => {
            let ours = app.about.ae_title.parse::<AeTitle>().map_err(Error::internal)?;
            match tokio::time::timeout(DEADLINE, echo(&peer, port, ours, app.identity.as_ref())).await {
                Ok(notice) => notice,
                Err(_) => bad(format!("{} did not answer within {} s.", peer.ae_title, DEADLINE.as_secs())),
            }
        }
        _ => bad(format!("{} has no host or no port, so it cannot be called.", peer.ae_title)),
    };
    list_with(layout, &app, PeerForm::proposed(), Mistakes::default(), Some(notice)).await
}

async fn echo(peer: &Peer, port: u16, ours: AeTitle, identity: Option<&Identity>) -> Notice {
    let title = &peer.ae_title;
    let began = Instant::now();
    let answered = match tls(peer, identity) {
        Ok(tls) => answer(peer, port, ours, tls).await,
        Err(err) => return bad(format!("{title} cannot be called by TLS: {err}.")),
    };
    match answered {
        Ok((response, association)) => {
            let took = began.elapsed().as_millis();
            // It has answered, however it parts.
            if let Err(err) = association.release().await {
                tracing::debug!(
                    err = &err as &dyn std::error::Error,
                    "a peer that answered was not released"
                );
            }
            if response.status != 0 {
                return bad(format!("{title} answered after {took} ms with {response}."));
            }
            let how = match (peer.encryption, peer.certificate) {
                (Encryption::Optional, _) => "",
                (_, Some(_)) => " by TLS, with its certificate",
                (_, None) => " by TLS. Whose certificate it showed was not checked, because none is stored",
            };
            Notice { is_good: true, text: format!("{title} answered after {took} ms{how}."), link: None }
        }
        Err(err) => bad(format!("{title} did not answer: {}.", words(&err, peer, port))),
    }
}

async fn answer(
    peer: &Peer,
    port: u16,
    ours: AeTitle,
    tls: Option<Tls>,
) -> Result<(scu::Response, Association), scu::Error> {
    let parameters = Parameters {
        calling_ae_title: ours,
        called_ae_title: peer.ae_title.clone(),
        presentation_contexts: vec![Proposal::verification()],
        tls,
        timeouts: Timeouts {
            connect: STEP,
            association: STEP,
            send: STEP,
            response: STEP,
            ..Timeouts::default()
        },
    };
    let mut association = Association::request(address(&peer.host, port), parameters).await?;
    let response = association.echo().await?;
    Ok((response, association))
}

/// As the peer has to be connected itself. Without its certificate anybody could answer for it, which an echo shows
/// nothing to.
fn tls(peer: &Peer, identity: Option<&Identity>) -> Result<Option<Tls>, crate::tls::ClientError> {
    match (peer.encryption, peer.certificate) {
        (Encryption::Optional, _) => Ok(None),
        (Encryption::Required | Encryption::Certificate, Some(pinned)) => {
            Tls::pinned(pinned, identity).map(Some)
        }
        (Encryption::Required | Encryption::Certificate, None) => Tls::unchecked(identity).map(Some),
    }
}

/// `10.0.0.7:104`, `[fe80::1]:104`.
fn address(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// What went wrong, of the commonest mistakes in plain words.
fn words(err: &scu::Error, peer: &Peer, port: u16) -> String {
    match err {
        scu::Error::Connect { source, .. } => match source.kind() {
            ErrorKind::ConnectionRefused => format!("nothing listens at {} on port {port}", peer.host),
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                format!("there is no way to {}", peer.host)
            }
            _ if peer.host.parse::<std::net::IpAddr>().is_err() && source.raw_os_error().is_none() => {
                format!("no machine with the name {} is known", peer.host)
            }
            _ => err.to_string(),
        },
        err => err.to_string(),
    }
}

fn bad(text: String) -> Notice {
    Notice { is_good: false, text, link: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_version_6_stands_in_brackets() {
        assert_eq!(address("fe80::1", 104), "[fe80::1]:104");
        assert_eq!(address("ct01.local", 104), "ct01.local:104");
    }
}
