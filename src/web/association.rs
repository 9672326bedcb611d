//! Associations that are open: their rows on the peers page, the events that refresh it, and the end of one,
//! `POST /admin/associations/{association}/abort`.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::App;
use super::access::{Caller, Posted};
use super::error::Error;
use super::peer::Confirmed;
use super::{events, page, text};
use crate::archive::activity::{Association, Counts};
use crate::db::audit::Action;
use crate::db::role::Right;
use crate::dicom::service::Service;

/// How long changes are gathered before the page is told, longer than an association between two messages is still said
/// to be busy: what the page reads then is how things stay until it is told again.
const GATHER: Duration = Duration::from_secs(1);
/// How long the end of an association is waited for before the page is shown again.
const END: Duration = Duration::from_secs(2);

/// An association as its row shows it.
pub struct Row {
    pub id: u64,
    pub ae_title: String,
    pub address: String,
    pub is_tls: bool,
    pub doing: &'static str,
    pub counts: String,
    /// UTC.
    pub since: String,
    pub lasts: String,
    pub is_ending: bool,
}

/// The associations that are open, oldest first.
pub fn rows(app: &App) -> Vec<Row> {
    app.archive.activity().associations().into_iter().map(row).collect()
}

fn row(association: Association) -> Row {
    let since = association.since.naive_utc();
    Row {
        id: association.id,
        ae_title: association.requestor.ae_title,
        address: association.requestor.address,
        is_tls: association.requestor.is_tls,
        doing: doing(association.service),
        counts: counted(association.counts),
        since: text::date_time(since),
        lasts: page::ago(since),
        is_ending: association.is_ending,
    }
}

fn doing(service: Option<Service>) -> &'static str {
    match service {
        None => "Idle",
        Some(Service::Echo) => "Verifies",
        Some(Service::Store) => "Stores",
        Some(Service::Find) => "Searches",
        Some(Service::Get) => "Fetches",
        Some(Service::Move) => "Has studies sent",
        Some(Service::Commit) => "Asks for storage commitment",
    }
}

fn counted(counts: Counts) -> String {
    let parts = [
        (counts.stored, "instance stored", "instances stored"),
        (counts.matches, "match", "matches"),
        (counts.sent, "instance sent", "instances sent"),
    ];
    let parts = parts.into_iter().filter(|(number, ..)| *number > 0);
    parts.map(|(number, one, many)| text::counted(number, one, many)).collect::<Vec<_>>().join(", ")
}

/// `POST /admin/associations/{association}/abort`: ends it by A-ABORT, PS3.8 section 7.3.
pub async fn abort(
    caller: Caller,
    id: web::Path<String>,
    _form: Posted<Confirmed>,
    app: web::Data<App>,
) -> Result<HttpResponse, Error> {
    let id: u64 = id.parse().map_err(|_| Error::NotFound)?;
    let activity = app.archive.activity();
    // One that is over by itself is what was wanted.
    if let Some(association) = activity.association(id).filter(|association| !association.is_ending) {
        let requestor = &association.requestor;
        let words = format!("{} from {}, {}", requestor.ae_title, requestor.address, details(&association));
        caller.record(&app, caller.did(Action::AbortAssociation, words)).await?;
        if activity.abort(id) {
            tracing::info!(calling = %requestor.ae_title, address = %requestor.address, "an association was aborted");
        }
        // Where an instance is just being put into the archive it goes after that, and the page says so.
        drop(timeout(END, activity.gone(id)).await);
    }
    Ok(page::see_other("/admin/peers"))
}

fn details(association: &Association) -> String {
    match counted(association.counts) {
        counts if counts.is_empty() => "nothing was sent".to_owned(),
        counts => counts,
    }
}

/// `GET /admin/associations/events`: an event each time the peers page should be read again.
pub async fn events(caller: Caller, app: web::Data<App>) -> HttpResponse {
    let mut changes = app.archive.activity().changes();
    // What changed since the page was read is not known.
    changes.mark_changed();
    let listener = Listener { changes, stopping: app.stopping.clone(), caller, app, has_greeted: false };
    events::answer(stream::unfold(listener, async |mut listener| {
        let chunk = listener.next().await?;
        Some((Ok(Bytes::from(chunk)), listener))
    }))
}

struct Listener {
    changes: watch::Receiver<()>,
    stopping: watch::Receiver<bool>,
    caller: Caller,
    app: web::Data<App>,
    has_greeted: bool,
}

impl Listener {
    /// The next chunk; `None` at the end. Cancel-safe: a client that goes away drops it wherever it waits.
    async fn next(&mut self) -> Option<String> {
        if !self.has_greeted {
            self.has_greeted = true;
            return Some("retry: 3000\n\n".to_owned());
        }
        let mut stopping = self.stopping.clone();
        tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => None,
            chunk = self.news() => chunk,
        }
    }

    async fn news(&mut self) -> Option<String> {
        let changed = timeout(events::HEARTBEAT, self.changes.changed()).await;
        // Whoever was signed out meanwhile hears nothing more.
        if !self.caller.is_still_in(&self.app, Right::Administer).await {
            return None;
        }
        match changed {
            Err(_) => return Some(": still here\n\n".to_owned()),
            Ok(Err(_)) => return None,
            Ok(Ok(())) => sleep(GATHER).await,
        }
        let open = self.app.archive.activity().associations().len();
        Some(events::event("associations", &open.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_over_an_association_is_counted_by_its_kind() {
        assert_eq!(counted(Counts::default()), "");
        assert_eq!(counted(Counts { stored: 1, matches: 0, sent: 0 }), "1 instance stored");
        let all = Counts { stored: 1_214, matches: 12, sent: 1 };
        assert_eq!(counted(all), "1,214 instances stored, 12 matches, 1 instance sent");
    }
}
