//! `GET /events`: server-sent events for pages that are open (HTML standard, section 9.2).
//!
//! A stream sleeps until something happens, then waits half a second for more of the same, so that a thousand
//! instances are a few events. A comment every twenty seconds keeps proxies from hanging up and finds out clients
//! that have gone. The stream ends when the program is to stop; the browser comes back when it is there again.

use std::collections::BTreeSet;
use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{broadcast, watch};
use tokio::time::{sleep, timeout};

use super::App;
use super::access::Caller;
use super::text;
use crate::archive::activity::{Activity, Event, Live};
use crate::db::role::Right;
use crate::db::visibility::Visibility;

/// A comment is sent after this long without an event.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(20);
/// How long events are gathered before they are sent.
const GATHER: Duration = Duration::from_millis(500);
/// Studies named in one event; a client that sees more reads the list again anyway.
const MOST_STUDIES: usize = 20;

/// `GET /events`
pub async fn stream(caller: Caller, app: web::Data<App>) -> HttpResponse {
    let activity = app.archive.activity().clone();
    let receiving = receiving_for(&caller, &activity.live());
    let listener = Listener {
        events: activity.subscribe(),
        stopping: app.stopping.clone(),
        greeting: Some(format!("retry: 3000\n\n{}", event("receiving", &receiving))),
        caller,
        app,
        activity,
    };
    answer(listener.into_stream())
}

/// The answer that events go out in.
pub(super) fn answer(events: impl Stream<Item = Result<Bytes, actix_web::Error>> + 'static) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/event-stream; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::CONTENT_ENCODING, "identity"))
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(events)
}

/// Who is sending now, in one line, for somebody who sees all studies; what is sent may be none of theirs otherwise.
pub fn receiving_for(caller: &Caller, live: &[Live]) -> String {
    if caller.visibility == Visibility::All { receiving(live) } else { String::new() }
}

/// Who is sending now, in one line; empty when nobody is.
pub fn receiving(live: &[Live]) -> String {
    const NAMED: usize = 3;
    let line = |live: &Live| {
        format!("{}: {}", live.calling_ae_title, text::counted(live.instances, "image", "images"))
    };
    if live.is_empty() {
        return String::new();
    }
    let mut parts: Vec<String> = live.iter().take(NAMED).map(line).collect();
    if live.len() > NAMED {
        parts.push(format!("{} more", live.len() - NAMED));
    }
    format!("Receiving {}", parts.join(", "))
}

struct Listener {
    events: broadcast::Receiver<Event>,
    stopping: watch::Receiver<bool>,
    activity: Activity,
    greeting: Option<String>,
    caller: Caller,
    app: web::Data<App>,
}

/// What a stream tells next.
#[derive(Default)]
struct News {
    studies: BTreeSet<String>,
    receiving: bool,
    is_over: bool,
}

impl Listener {
    fn into_stream(self) -> impl Stream<Item = Result<Bytes, actix_web::Error>> {
        stream::unfold(self, async |mut listener| {
            let chunk = match listener.greeting.take() {
                Some(greeting) => greeting,
                None => listener.next().await?,
            };
            Some((Ok(Bytes::from(chunk)), listener))
        })
    }

    /// The next chunk; `None` at the end. Cancel-safe: a client that goes away drops it wherever it waits.
    async fn next(&mut self) -> Option<String> {
        let mut stopping = self.stopping.clone();
        tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => None,
            chunk = self.news() => chunk,
        }
    }

    async fn news(&mut self) -> Option<String> {
        let first = timeout(HEARTBEAT, self.events.recv()).await;
        // Whoever was signed out meanwhile hears nothing more.
        if !self.caller.is_still_in(&self.app, Right::View).await {
            return None;
        }
        let Ok(first) = first else { return Some(": still here\n\n".to_owned()) };
        let mut news = News::default();
        news.take(first);
        sleep(GATHER).await;
        loop {
            match self.events.try_recv() {
                Ok(event) => news.take(Ok(event)),
                Err(TryRecvError::Lagged(missed)) => news.take(Err(RecvError::Lagged(missed))),
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        if news.is_over {
            return None;
        }
        let uids = news.studies.iter().cloned().collect();
        match self.app.archive.visible_among(uids, &self.caller.visibility).await {
            Ok(visible) => {
                // The empty one stands for what was missed: the page looks again, and finds what it may.
                news.studies.retain(|uid| uid.is_empty() || visible.contains(uid));
                let receiving = news.receiving.then(|| receiving_for(&self.caller, &self.activity.live()));
                Some(news.written(receiving))
            }
            Err(err) => {
                tracing::warn!(%err, "cannot tell which arrivals somebody may see");
                None
            }
        }
    }
}

impl News {
    fn take(&mut self, event: Result<Event, RecvError>) {
        match event {
            Ok(Event::Stored { study_instance_uid }) => {
                self.studies.insert(study_instance_uid);
            }
            Ok(Event::Receiving) => self.receiving = true,
            // What was missed may have been anything: let the page look again.
            Err(RecvError::Lagged(_)) => {
                self.studies.insert(String::new());
                self.receiving = true;
            }
            Err(RecvError::Closed) => self.is_over = true,
        }
    }

    fn written(&self, receiving: Option<String>) -> String {
        let mut written = String::new();
        if let Some(receiving) = receiving {
            written.push_str(&event("receiving", &receiving));
        }
        if !self.studies.is_empty() {
            let uids: Vec<&str> = self.studies.iter().take(MOST_STUDIES).map(String::as_str).collect();
            written.push_str(&event("stored", &uids.join(" ")));
        }
        written
    }
}

/// One event. The data are a single line: AE titles and UIDs have no line breaks, and what had would be cut here.
pub(super) fn event(name: &str, data: &str) -> String {
    let line = data.lines().next().unwrap_or_default();
    format!("event: {name}\ndata: {line}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(title: &str, instances: u64) -> Live {
        Live {
            calling_ae_title: title.into(),
            address: "127.0.0.1".into(),
            instances,
            study_instance_uid: "1.2".into(),
        }
    }

    #[test]
    fn the_line_names_three_senders_and_counts_the_others() {
        assert_eq!(receiving(&[]), "");
        assert_eq!(receiving(&[live("CT01", 214)]), "Receiving CT01: 214 images");
        let five = ["A", "B", "C", "D", "E"].map(|title| live(title, 1));
        assert_eq!(receiving(&five), "Receiving A: 1 image, B: 1 image, C: 1 image, 2 more");
    }

    #[test]
    fn an_event_cannot_be_broken_into_two() {
        assert_eq!(event("stored", "1.2\nevent: x"), "event: stored\ndata: 1.2\n\n");
    }

    #[test]
    fn a_listener_that_fell_behind_is_told_to_look_again() {
        let mut news = News::default();
        news.take(Err(RecvError::Lagged(1000)));
        assert!(news.written(None).contains("event: stored\n"));
    }
}
