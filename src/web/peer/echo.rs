//! `POST /admin/peers/{peer_key}/echo`: whether a peer answers a C-ECHO, PS3.4 annex A, and after how long.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use actix_web::{HttpResponse, web};
use tokio::time::timeout;

use super::form::{Mistakes, PeerForm};
use super::{Confirmed, Notice, list_with, stored};
use crate::dimse::scu::{self, Association, Called, Proposal, Requestor, Timeouts};
use crate::web::App;
use crate::web::access::{Caller, Posted};
use crate::web::error::Error;
use crate::web::page::{self, Layout};

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
    let step = Timeouts { connect: STEP, association: STEP, send: STEP, response: STEP, operation: STEP };
    let requestor = Requestor { timeouts: step, ..app.requestor.clone() };
    let notice = match requestor.called(&peer) {
        Ok(called) => match timeout(DEADLINE, echo(&requestor, &called)).await {
            Ok(notice) => notice,
            Err(_) => bad(format!("{} did not answer within {} s.", peer.ae_title, DEADLINE.as_secs())),
        },
        Err(err) => bad(page::sentence(&err.to_string())),
    };
    list_with(layout, &app, PeerForm::proposed(), Mistakes::default(), Some(notice)).await
}

async fn echo(requestor: &Requestor, called: &Called) -> Notice {
    let title = &called.ae_title;
    let began = Instant::now();
    match answer(requestor, called).await {
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
            let how = if called.tls.is_some() { " by TLS, with its certificate" } else { "" };
            Notice { is_good: true, text: format!("{title} answered after {took} ms{how}."), link: None }
        }
        Err(err) => bad(format!("{title} did not answer: {}.", words(&err, called))),
    }
}

async fn answer(requestor: &Requestor, called: &Called) -> Result<(scu::Response, Association), scu::Error> {
    let mut association = requestor.associate(called, vec![Proposal::verification()]).await?;
    let response = association.echo().await?;
    Ok((response, association))
}

/// What went wrong, of the commonest mistakes in plain words.
fn words(err: &scu::Error, called: &Called) -> String {
    match err {
        scu::Error::Connect { source, .. } => match source.kind() {
            ErrorKind::ConnectionRefused => {
                format!("nothing listens at {} on port {}", called.host, called.port)
            }
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                format!("there is no way to {}", called.host)
            }
            _ if called.host.parse::<std::net::IpAddr>().is_err() && source.raw_os_error().is_none() => {
                format!("no machine with the name {} is known", called.host)
            }
            _ => err.to_string(),
        },
        err => err.to_string(),
    }
}

fn bad(text: String) -> Notice {
    Notice { is_good: false, text, link: None }
}
