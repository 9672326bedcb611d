//! What matches a query, as it is found: for peers that ask by C-FIND.
//!
//! The statement runs on a connection of its own and what it finds comes in batches, so that the first answer leaves
//! before the last match is found, and a peer that reads slowly slows down the statement and takes no memory. Whoever
//! drops a [`Search`] ends its statement on the server, too.

use std::time::Duration;

use mysql_async::Conn;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{Archive, Error};
use crate::db::visibility::Visibility;
use crate::db::{self, Pool, search};
use crate::dicom::query::{Attribute, Query};

/// Matches that travel together.
const BATCH: usize = 64;
/// Batches that may wait for the peer.
const WAITING: usize = 32;
/// How long the database gets for the next match.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a match waits for others to travel with.
const MOMENT: Duration = Duration::from_millis(5);

/// The attributes of a match, as text, in the order they were asked for.
pub type Match = Vec<String>;

type Found = Result<Vec<Match>, Error>;

/// Matches on their way. Dropped, it ends the search.
#[derive(Debug)]
pub struct Search(mpsc::Receiver<Found>);

impl Search {
    /// The next matches; none when there are no more. Cancel-safe.
    pub async fn next(&mut self) -> Option<Found> {
        self.0.recv().await
    }
}

impl Archive {
    /// Looks for what matches, at most `query.page.size` of it, in no order.
    pub fn search(&self, query: &Query, wanted: Vec<Attribute>, visibility: &Visibility) -> Search {
        let (sender, receiver) = mpsc::channel(WAITING);
        let statement = search::statement(query, &wanted, visibility);
        let pool = self.inner.pool.clone();
        self.inner.runtime.spawn(async move {
            let found = find(&pool, &statement, &wanted, &sender).await;
            if let Err(err) = found {
                // Nobody listens any more where the peer has gone.
                drop(sender.send(Err(err)).await);
            }
        });
        Search(receiver)
    }
}

async fn find(
    pool: &Pool,
    statement: &search::Statement,
    wanted: &[Attribute],
    sender: &mpsc::Sender<Found>,
) -> Result<(), Error> {
    let mut conn = db::acquire(pool).await?;
    let number = conn.id();
    let outcome = tokio::select! {
        biased;
        () = sender.closed() => None,
        ended = send_all(&mut conn, statement, wanted, sender) => Some(ended),
    };
    match outcome {
        Some(Ok(())) => return Ok(()),
        Some(Err(Error::TimedOut)) | None => {
            // Otherwise the server would go on, and the connection wait for it.
            let mut other = db::acquire(pool).await?;
            search::kill(&mut other, number).await?;
        }
        Some(Err(_)) => {}
    }
    outcome.unwrap_or(Ok(()))
}

/// Sends what is found, in batches; what has been found does not wait for more than a moment.
async fn send_all(
    conn: &mut Conn,
    statement: &search::Statement,
    wanted: &[Attribute],
    sender: &mpsc::Sender<Found>,
) -> Result<(), Error> {
    let started = timeout(PATIENCE, search::start(conn, statement, wanted)).await;
    let mut matches = started.map_err(|_| Error::TimedOut)??;
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let next = timeout(PATIENCE, matches.next());
        tokio::pin!(next);
        let next = tokio::select! {
            biased;
            next = &mut next => next,
            () = tokio::time::sleep(MOMENT), if !batch.is_empty() => {
                if sender.send(Ok(std::mem::take(&mut batch))).await.is_err() {
                    return Ok(());
                }
                next.await
            }
        };
        match next.map_err(|_| Error::TimedOut)?? {
            Some(found) => batch.push(found),
            None => break,
        }
        if batch.len() >= BATCH {
            let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH));
            if sender.send(Ok(full)).await.is_err() {
                return Ok(());
            }
        }
    }
    // Nobody listens any more where the peer has gone.
    drop(sender.send(Ok(batch)).await);
    Ok(())
}
