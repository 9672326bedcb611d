//! The committer: the one place where instances get their rows. It takes whatever is waiting, writes it in one
//! transaction and answers all of it (group commit), so that associations never fight over locks and a burst costs
//! few fsyncs of the database.

use std::time::Duration;

use mysql_async::{Conn, TxOpts};
use tokio::sync::{mpsc, oneshot};

use super::Error;
use super::activity::{Activity, Event};
pub use crate::db::ingest::{NewInstance, Outcome};
use crate::db::{self, Pool, ingest};

/// The most instances in one transaction: enough to make its cost small, few enough that the first does not wait
/// long for the last.
const BATCH: usize = 128;

/// How often a transaction is tried: deadlocks and lost connections pass.
const ATTEMPTS: u32 = 10;

/// Why an instance got no rows.
#[derive(Debug)]
pub struct Failure {
    /// What went wrong.
    pub error: Error,
    /// False where the answer to a COMMIT was lost and could not be asked for again: the rows may be there, so
    /// the file must stay.
    pub nothing_was_committed: bool,
}

/// Gives instances to the committer. Cheap to clone.
#[derive(Clone)]
pub struct Committer {
    queue: mpsc::Sender<Waiting>,
}

struct Waiting {
    pending: NewInstance,
    answer: oneshot::Sender<Result<Outcome, Failure>>,
}

impl Committer {
    /// Starts the task that commits. It ends when the last `Committer` is dropped.
    pub fn start(runtime: &tokio::runtime::Handle, pool: Pool, activity: Activity) -> Committer {
        let (queue, waiting) = mpsc::channel(BATCH);
        runtime.spawn(run(waiting, pool, activity));
        Committer { queue }
    }

    /// Returns when the rows of the instance are durable, or cannot be.
    pub async fn commit(&self, pending: NewInstance) -> Result<Outcome, Failure> {
        let stopping = |nothing_was_committed| Failure { error: Error::Stopping, nothing_was_committed };
        #[cfg(debug_assertions)]
        if acknowledges_early() {
            let (answer, _) = oneshot::channel();
            self.queue.send(Waiting { pending, answer }).await.map_err(|_| stopping(true))?;
            return Ok(Outcome::Stored);
        }
        let (answer, answered) = oneshot::channel();
        self.queue.send(Waiting { pending, answer }).await.map_err(|_| stopping(true))?;
        answered.await.map_err(|_| stopping(false))?
    }
}

/// For the negative control of the tests of durability, and only in a build for tests: answer before the commit.
#[cfg(debug_assertions)]
fn acknowledges_early() -> bool {
    std::env::var_os("FILMROOM_TEST_ACKNOWLEDGE_BEFORE_COMMIT").is_some()
}

async fn run(mut queue: mpsc::Receiver<Waiting>, pool: Pool, activity: Activity) {
    let mut worker = Worker { pool, conn: None, keys: ingest::Keys::default() };
    let mut batch = Vec::with_capacity(BATCH);
    while queue.recv_many(&mut batch, BATCH).await > 0 {
        let (pending, answers): (Vec<_>, Vec<_>) = batch.drain(..).map(|w| (w.pending, w.answer)).unzip();
        match worker.commit(&pending).await {
            Ok(outcomes) => {
                let mut told: Vec<&str> = Vec::new();
                for (pending, outcome) in pending.iter().zip(&outcomes) {
                    let uid = pending.attributes.study.study_instance_uid.as_str();
                    if *outcome == Outcome::Stored && !told.contains(&uid) {
                        told.push(uid);
                        activity.tell(Event::Stored { study_instance_uid: uid.to_owned() });
                    }
                }
                for (answer, outcome) in answers.into_iter().zip(outcomes) {
                    let _ = answer.send(Ok(outcome)); // its association may have ended meanwhile
                }
            }
            Err((err, nothing_was_committed)) => {
                tracing::error!(
                    err = &err as &dyn std::error::Error,
                    count = pending.len(),
                    "cannot commit instances"
                );
                let mut answers = answers.into_iter();
                if let Some(first) = answers.next() {
                    let _ = first.send(Err(Failure { error: err.into(), nothing_was_committed }));
                }
                for answer in answers {
                    let error = db::Error::Busy.into();
                    let _ = answer.send(Err(Failure { error, nothing_was_committed }));
                }
            }
        }
    }
}

struct Worker {
    pool: Pool,
    conn: Option<Conn>,
    /// Keys of rows seen before, so that the next slice of a series costs no look-ups.
    keys: ingest::Keys,
}

impl Worker {
    /// Writes a batch. Trying again is safe even after a COMMIT whose answer was lost: an instance that is found
    /// with its own path was committed.
    async fn commit(&mut self, batch: &[NewInstance]) -> Result<Vec<Outcome>, (db::Error, bool)> {
        let mut nothing_was_committed = true;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let mut commit_sent = false;
            let err = match self.try_commit(batch, &mut commit_sent).await {
                Ok(outcomes) => return Ok(outcomes),
                Err(err) => err,
            };
            // Neither the connection nor the keys can be trusted any more.
            self.conn = None;
            self.keys = ingest::Keys::default();
            nothing_was_committed &= !commit_sent;
            if attempt >= ATTEMPTS || !err.is_transient() {
                return Err((err, nothing_was_committed));
            }
            tracing::warn!(err = &err as &dyn std::error::Error, attempt, "trying a transaction again");
            let jitter = u64::from(getrandom::u32().unwrap_or(0) % 20);
            tokio::time::sleep(Duration::from_millis(u64::from(attempt * attempt) * 10 + jitter)).await;
        }
    }

    async fn try_commit(
        &mut self,
        batch: &[NewInstance],
        commit_sent: &mut bool,
    ) -> Result<Vec<Outcome>, db::Error> {
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => db::acquire(&self.pool).await?,
        };
        let mut tx = conn.start_transaction(TxOpts::default()).await?;
        let outcomes = ingest::batch(&mut tx, &mut self.keys, batch).await?;
        *commit_sent = true;
        tx.commit().await?;
        self.conn = Some(conn);
        Ok(outcomes)
    }
}
