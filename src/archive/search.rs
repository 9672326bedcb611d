//! What matches a query, as it is found: for peers that ask by C-FIND.
//!
//! The statement runs on a connection of its own and what it finds comes in batches, so that the first answer leaves
//! before the last match is found, and a peer that reads slowly slows down the statement and takes no memory. Whoever
//! drops a [`Search`] ends its statement on the server, too.

use std::sync::Arc;
use std::time::Duration;

use mysql_async::Conn;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

use super::find::MOST_COUNTED;
use super::{Archive, Error};
use crate::db::study::list;
use crate::db::visibility::Visibility;
use crate::db::{self, Pool, search};
use crate::dicom::query::{Attribute, Level, Query};

/// Matches that travel together.
const BATCH: usize = 64;
/// Batches that may wait for their peers, of all searches together: some 100,000 matches, about 70 MB. A statement does
/// not wait for a peer that reads slowly until these are used up, so that its connection is soon free again.
const WAITING: usize = 1600;
/// Statements at a time. Others need connections too.
const AT_ONCE: usize = 8;
/// How long the database gets for the next match.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a match waits for others to travel with.
const MOMENT: Duration = Duration::from_millis(5);

/// The attributes of a match, as text, in the order they were asked for.
pub type Match = Vec<String>;

type Found = Result<Vec<Match>, Error>;
type Sender = mpsc::UnboundedSender<(Found, Option<OwnedSemaphorePermit>)>;

/// Matches on their way. Dropped, it ends the search.
#[derive(Debug)]
pub struct Search(mpsc::UnboundedReceiver<(Found, Option<OwnedSemaphorePermit>)>);

/// What all searches together may take.
#[derive(Clone)]
pub struct Limits {
    statements: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { statements: Arc::new(Semaphore::new(AT_ONCE)), waiting: Arc::new(Semaphore::new(WAITING)) }
    }
}

impl Search {
    /// The next matches; none when there are no more. Cancel-safe.
    pub async fn next(&mut self) -> Option<Found> {
        let (found, _permit) = self.0.recv().await?;
        Some(found)
    }
}

impl Archive {
    /// Looks for what matches, at most `query.page.size` of it, in no order.
    pub fn search(&self, query: &Query, wanted: Vec<Attribute>, visibility: &Visibility) -> Search {
        let (sender, receiver) = mpsc::unbounded_channel();
        let statement = search::statement(query, &wanted, visibility);
        let (pool, limits) = (self.inner.pool.clone(), self.inner.searches.clone());
        self.inner.runtime.spawn(async move {
            let found = find(&pool, &limits, &statement, &wanted, &sender).await;
            if let Err(err) = found {
                // Nobody listens any more where the peer has gone.
                drop(sender.send((Err(err), None)));
            }
        });
        Search(receiver)
    }
}

/// A part of what matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageOfMatches {
    /// In their order.
    pub matches: Vec<Match>,
    /// How many there are altogether, where that can be told soon.
    pub total: Option<u64>,
}

impl Archive {
    /// At most `query.page.size` of what matches, in an order that stays, from number `offset` on, which is counted from
    /// 0.
    pub async fn page(
        &self,
        query: Query,
        wanted: Vec<Attribute>,
        visibility: &Visibility,
        offset: u64,
    ) -> Result<PageOfMatches, Error> {
        let (archive, visibility) = (self.clone(), visibility.clone());
        let page = self.with_connection(async move |mut conn| {
            let statement = search::page(&query, &wanted, &visibility, offset);
            let mut found = search::start(&mut conn, &statement, &wanted).await?;
            let mut matches = Vec::new();
            while let Some(one) = found.next().await? {
                matches.push(one);
            }
            drop(found);
            let shown = u64::try_from(matches.len()).unwrap_or(u64::MAX);
            let is_end = shown < query.page.size && (shown > 0 || offset == 0);
            let total = match is_end {
                true => Some(offset.saturating_add(shown)),
                false => archive.count(&mut conn, &query, &visibility).await?,
            };
            Ok(PageOfMatches { matches, total })
        });
        timeout(PATIENCE, page).await.map_err(|_| Error::TimedOut)?
    }

    async fn count(
        &self,
        conn: &mut Conn,
        query: &Query,
        visibility: &Visibility,
    ) -> Result<Option<u64>, Error> {
        if query.level == Level::Study && query.matches_everything() && *visibility == Visibility::All {
            let newest = list::newest(conn).await?;
            let waypoints = &self.inner.waypoints;
            waypoints.keep_up(&self.inner.runtime, &self.inner.pool, query.sort.by, newest);
            if let Some(total) = waypoints.total(conn, newest).await? {
                return Ok(Some(total));
            }
        }
        let total = search::count(conn, query, visibility, MOST_COUNTED + 1).await?;
        Ok((total <= MOST_COUNTED).then_some(total))
    }
}

async fn find(
    pool: &Pool,
    limits: &Limits,
    statement: &search::Statement,
    wanted: &[Attribute],
    sender: &Sender,
) -> Result<(), Error> {
    let turn = tokio::select! {
        biased;
        () = sender.closed() => return Ok(()),
        turn = timeout(PATIENCE, limits.statements.acquire()) => turn,
    };
    let _turn = turn.map_err(|_| Error::TimedOut)?.map_err(|_| Error::Stopping)?;
    let mut conn = db::acquire(pool).await?;
    let number = conn.id();
    let outcome = tokio::select! {
        biased;
        () = sender.closed() => None,
        ended = send_all(&mut conn, limits, statement, wanted, sender) => Some(ended),
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
    limits: &Limits,
    statement: &search::Statement,
    wanted: &[Attribute],
    sender: &Sender,
) -> Result<(), Error> {
    let send = async |batch: Vec<Match>| {
        let permit = limits.waiting.clone().acquire_owned().await.map_err(|_| Error::Stopping)?;
        // Nobody listens any more where the peer has gone; then this is dropped.
        drop(sender.send((Ok(batch), Some(permit))));
        Ok::<(), Error>(())
    };
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
                send(std::mem::take(&mut batch)).await?;
                next.await
            }
        };
        match next.map_err(|_| Error::TimedOut)?? {
            Some(found) => batch.push(found),
            None => break,
        }
        if batch.len() >= BATCH {
            send(std::mem::replace(&mut batch, Vec::with_capacity(BATCH))).await?;
        }
    }
    send(batch).await
}
