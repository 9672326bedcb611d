//! Bodies on their way into the archive: read where waiting is allowed, while the connection brings more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::web::{Payload, block};
use futures_util::StreamExt;
use moka::sync::Cache;
use tokio::sync::{AcquireError, Semaphore, mpsc};

use super::App;
use super::access::Caller;
use super::error::Error;
use super::multipart::{Arrival, Body};
use super::upload::pieces::Uploads;
use crate::archive;
use crate::archive::commit::Outcome;
use crate::archive::receive::{Audited, Refusal, Source, Stored};
use crate::db::audit::{Action, Actor};
use crate::db::role::Right;

/// Bodies that are read at once; others wait.
const AT_ONCE: usize = 24;
/// Of them, of one who sends.
const AT_ONCE_OF_ONE: usize = 8;
/// For how long.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often it is asked whether somebody may still put something in.
const LOOKING: Duration = Duration::from_secs(5);
/// Pieces of a body that wait to be read. A piece has at most 64 KiB.
const WAITING: usize = 32;
/// For so long what somebody sends of a study is one receipt in the audit trail.
const ONE_RECEIPT: Duration = Duration::from_secs(600);

/// What all that is put in over HTTP shares.
pub struct Intakes {
    places: Arc<Semaphore>,
    of_one: Cache<String, Arc<Semaphore>>,
    receipts: Cache<String, Audited>,
    /// Files that come in pieces.
    pub uploads: Uploads,
}

impl Default for Intakes {
    fn default() -> Self {
        Intakes {
            places: Arc::new(Semaphore::new(AT_ONCE)),
            of_one: Cache::builder().max_capacity(1000).time_to_idle(ONE_RECEIPT).build(),
            receipts: Cache::builder().max_capacity(1000).time_to_live(ONE_RECEIPT).build(),
            uploads: Uploads::default(),
        }
    }
}

impl Intakes {
    /// Reads a body with `read`, on a thread that may wait, for as long as the caller may put something in.
    pub async fn read<T: Send + 'static>(
        &self,
        app: &App,
        caller: &Caller,
        mut payload: Payload,
        read: impl FnOnce(Body) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let busy = || Error::Unavailable("too much is being put in at once".into());
        let own = self.of_one.get_with(key_of(caller), || Arc::new(Semaphore::new(AT_ONCE_OF_ONE)));
        let places = async { Ok((own.acquire_owned().await?, self.places.clone().acquire_owned().await?)) };
        let places = tokio::time::timeout(PATIENCE, places).await.map_err(|_| busy())?;
        let places = places.map_err(|_: AcquireError| busy())?;
        let (sender, arrivals) = mpsc::channel(WAITING);
        let reading = block(move || {
            let _places = places;
            read(Body::new(arrivals))
        });
        let bringing = async move {
            let mut looked = Instant::now();
            loop {
                let arrival = match payload.next().await {
                    Some(Ok(piece)) => Arrival::Piece(piece),
                    Some(Err(err)) => Arrival::Lost(err.to_string()),
                    None => Arrival::End,
                };
                let mut is_last = !matches!(arrival, Arrival::Piece(_));
                // Who reads no further has seen enough.
                is_last |= sender.send(arrival).await.is_err();
                if !is_last && looked.elapsed() > LOOKING {
                    looked = Instant::now();
                    if !caller.is_still_in(app, Right::Upload).await {
                        let why = "the right to it was taken back".to_owned();
                        let _ = sender.send(Arrival::Lost(why)).await; // it has ended either way
                        is_last = true;
                    }
                }
                if is_last {
                    return;
                }
            }
        };
        // The reader may be done before the body is, and the body before the reader.
        let (read, ()) = futures_util::future::join(reading, bringing).await;
        read.map_err(|err| Error::Unavailable(err.into()))
    }

    /// Who sends, for the archive.
    pub fn source(&self, caller: &Caller) -> Source {
        let entry = caller.did(Action::Receive, "");
        let audited = self.receipts.get_with(key_of(caller), Audited::default);
        let address = entry.actor.address.clone();
        Source { address, actor: entry.actor, details: entry.details, ae_title: String::new(), audited }
    }
}

/// Whoever sends, by which way in.
fn key_of(caller: &Caller) -> String {
    let entry = caller.did(Action::Receive, "");
    let Actor { kind, name, address } = entry.actor;
    format!("{} {name} {address} {}", kind.as_str(), entry.details)
}

/// What became of a file, for the one who sent it.
pub fn in_words(result: &Result<Stored, Refusal>) -> String {
    match result {
        Ok(stored) => match (stored.outcome, stored.notes.first()) {
            (Outcome::Stored, None) => "Stored.".to_owned(),
            (Outcome::Stored, Some(note)) => format!("Stored. {note}."),
            (Outcome::AlreadyHeld, _) => "Was here already, and is the same.".to_owned(),
            (Outcome::Quarantined | Outcome::AlreadyQuarantined, _) => {
                "Kept in quarantine: another instance with the same SOP Instance UID was here first."
                    .to_owned()
            }
        },
        Err(Refusal::Archive(err)) => match err {
            archive::Error::DiskFull => "Not stored: the disk of the archive is full.".to_owned(),
            archive::Error::Database(err) if !err.is_transient() => {
                "Not stored: the database refuses it. The log says why.".to_owned()
            }
            _ => "Not stored: the archive cannot be reached at the moment. Try again in a minute.".to_owned(),
        },
        Err(refusal) => format!("Not stored: {refusal}."),
    }
}

/// Whether sending it again may help.
pub fn may_pass(result: &Result<Stored, Refusal>) -> bool {
    matches!(result, Err(Refusal::Archive(_)))
}
