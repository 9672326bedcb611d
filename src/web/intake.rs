//! Bodies on their way into the archive: read where waiting is allowed, while the connection brings more.

use std::sync::Arc;
use std::time::Duration;

use actix_web::web::{Payload, block};
use futures_util::StreamExt;
use moka::sync::Cache;
use tokio::sync::{Semaphore, mpsc};

use super::access::Caller;
use super::error::Error;
use super::multipart::Body;
use super::upload::pieces::Uploads;
use crate::archive;
use crate::archive::commit::Outcome;
use crate::archive::receive::{Audited, Refusal, Source, Stored};

/// Bodies that are read at once; others wait.
const AT_ONCE: usize = 32;
/// For how long.
const PATIENCE: Duration = Duration::from_secs(20);
/// Pieces of a body that wait to be read. A piece has at most 64 KiB.
const WAITING: usize = 32;
/// For so long what somebody sends of a study is one receipt in the audit trail.
const ONE_RECEIPT: Duration = Duration::from_secs(600);

/// What all that is put in over HTTP shares.
pub struct Intakes {
    places: Arc<Semaphore>,
    receipts: Cache<String, Audited>,
    /// Files that come in pieces.
    pub uploads: Uploads,
}

impl Default for Intakes {
    fn default() -> Self {
        let receipts = Cache::builder().max_capacity(1000).time_to_live(ONE_RECEIPT).build();
        Intakes { places: Arc::new(Semaphore::new(AT_ONCE)), receipts, uploads: Uploads::default() }
    }
}

impl Intakes {
    /// Reads a body with `read`, on a thread that may wait.
    pub async fn read<T: Send + 'static>(
        &self,
        mut payload: Payload,
        read: impl FnOnce(Body) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let busy = || Error::Unavailable("too much is being put in at once".into());
        let place = tokio::time::timeout(PATIENCE, self.places.clone().acquire_owned()).await;
        let place = place.map_err(|_| busy())?.map_err(|_| busy())?;
        let (sender, body) = mpsc::channel(WAITING);
        let reading = block(move || {
            let _place = place;
            read(body)
        });
        let bringing = async move {
            while let Some(piece) = payload.next().await {
                let piece = piece.map_err(|err| err.to_string());
                let is_last = piece.is_err();
                // Who reads no further has seen enough.
                if sender.send(piece).await.is_err() || is_last {
                    break;
                }
            }
        };
        // The reader may be done before the body is, and the body before the reader.
        let (read, ()) = futures_util::future::join(reading, bringing).await;
        read.map_err(|err| Error::Unavailable(err.into()))
    }

    /// Who sends, for the archive.
    pub fn source(&self, caller: &Caller) -> Source {
        let actor = caller.actor();
        let key = format!("{} {} {}", actor.kind.as_str(), actor.name, actor.address);
        let audited = self.receipts.get_with(key, Audited::default);
        Source { address: actor.address.clone(), actor, ae_title: String::new(), audited }
    }
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
