//! What a PACS does with instances: store, find, retrieve. The only writer of patients, studies, series and
//! instances; it opens the transactions in which the functions of `db` run.

pub mod activity;
pub mod commit;
pub mod commitment;
pub mod find;
pub mod import;
pub mod metadata;
pub mod quarantine;
pub mod receive;
pub mod retrieve;
pub mod search;
mod verify;
pub mod waypoints;

use std::future::Future;
use std::io;
use std::sync::Arc;

use mysql_async::Conn;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::codec::Decoder;
use crate::db::audit::{Entry, Journal};
use crate::db::{self, Pool};
use crate::storage::Storage;
use activity::Activity;
use waypoints::Waypoints;

/// The archive of this server. Cheap to clone; every clone is the same archive.
#[derive(Clone)]
pub struct Archive {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Pool,
    storage: Storage,
    runtime: Handle,
    activity: Activity,
    committer: commit::Committer,
    headers: retrieve::Headers,
    waypoints: Waypoints,
    searches: search::Limits,
    totals: find::KeptTotals,
    journal: Journal,
    decoder: Decoder,
    /// Threads that put what came over HTTP into the archive.
    finishing: Arc<Semaphore>,
}

/// Of them at once.
const FINISHING: usize = 24;

/// What kept the archive from doing what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database could not be reached or refused.
    #[error("the database cannot be used")]
    Database(#[from] db::Error),
    /// A file of the data folder could not be read or written.
    #[error("a file of the data folder cannot be used")]
    File(#[from] io::Error),
    /// Too little space is left on the disk of the data folder to take more.
    #[error("the disk of the data folder is full")]
    DiskFull,
    /// The database had more to do for this than it was given time for.
    #[error("the database took too long")]
    TimedOut,
    /// The program is being stopped.
    #[error("the server is stopping")]
    Stopping,
}

impl From<mysql_async::Error> for Error {
    fn from(err: mysql_async::Error) -> Self {
        Error::Database(err.into())
    }
}

impl Archive {
    /// The archive in this data folder and database; `decoder` reads pixels that have to be sent in another way than they
    /// are stored. `runtime` is where its database work runs, whoever waits for
    /// it: a caller that goes away never leaves a connection in the middle of an answer.
    pub fn new(pool: Pool, storage: Storage, decoder: Decoder, runtime: Handle) -> io::Result<Archive> {
        let activity = Activity::default();
        let committer = commit::Committer::start(pool.clone(), activity.clone())?;
        let waypoints = Waypoints::default();
        waypoints.survey_all(&runtime, &pool);
        let (headers, totals) = Default::default();
        let journal = Journal::new(pool.clone());
        let inner = Inner {
            pool,
            storage,
            runtime,
            activity,
            committer,
            headers,
            waypoints,
            searches: search::Limits::default(),
            totals,
            journal,
            decoder,
            finishing: Arc::new(Semaphore::new(FINISHING)),
        };
        Ok(Archive { inner: Arc::new(inner) })
    }

    /// Who is sending now, and what has just arrived.
    pub fn activity(&self) -> &Activity {
        &self.inner.activity
    }

    /// The files.
    pub fn storage(&self) -> &Storage {
        &self.inner.storage
    }

    /// Writes rows of the audit trail. When this returns `Ok`, they are committed.
    pub async fn record(&self, entries: Vec<Entry>) -> Result<(), Error> {
        let archive = self.clone();
        let writing = async move { archive.inner.journal.write(&entries).await };
        Ok(self.inner.runtime.spawn(writing).await.map_err(|_| Error::Stopping)??)
    }

    /// Runs `work` with a database connection on the program's own runtime and waits for it.
    async fn with_connection<T, F, Fut>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(Conn) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, Error>> + Send,
    {
        let pool = self.inner.pool.clone();
        self.inner
            .runtime
            .spawn(async move {
                let conn = db::acquire(&pool).await?;
                work(conn).await
            })
            .await
            .map_err(|_| Error::Stopping)?
    }

    /// Runs blocking `work` (files, decoding) off the async threads and waits for it.
    async fn blocking<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, Error> + Send + 'static,
    {
        self.inner.runtime.spawn_blocking(work).await.map_err(|_| Error::Stopping)?
    }
}
