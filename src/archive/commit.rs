//! The committer: the one place where instances get their rows. It takes whatever is waiting, writes it in one
//! transaction and answers all of it (group commit), so that associations never fight over locks and a burst costs
//! few fsyncs of the database.

use std::io;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::{mpsc, oneshot};

use super::Error;
use super::activity::{Activity, Event};
use crate::db::audit::{self, Entry};
use crate::db::ingest::Held;
pub use crate::db::ingest::{NewInstance, Outcome};
use crate::db::{self, Pool, ingest};

/// The most instances in one transaction: enough to make its cost small, few enough that the first does not wait
/// long for the last.
const BATCH: usize = 128;

/// How many batches are asked for after one that held what the archive has already.
const ASKING: u32 = 64;

/// How often a transaction is tried: deadlocks and lost connections pass.
const ATTEMPTS: u32 = 10;

/// No attempt is begun after this long: senders wait for their answer, and some give up after 30 seconds.
const ENOUGH: Duration = Duration::from_secs(10);

/// How long one attempt may take before its connection is given up.
const PATIENCE: Duration = Duration::from_secs(60);

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
    durable: Durable,
    answer: oneshot::Sender<Result<Outcome, Failure>>,
}

/// Whether the file of an instance is on the disk. Nothing is committed before that is certain.
pub enum Durable {
    /// It is.
    Yes,
    /// It is being made so meanwhile; a sender that is dropped says that it could not be.
    Soon(oneshot::Receiver<()>),
    /// It could not be.
    No,
}

impl Durable {
    async fn is_durable(&mut self) -> bool {
        if let Durable::Soon(told) = self {
            *self = if told.await.is_ok() { Durable::Yes } else { Durable::No };
        }
        matches!(self, Durable::Yes)
    }
}

impl Committer {
    /// Starts what commits, on a thread of its own: each statement is a wait, and waking one thread costs less than
    /// waking whichever of several is free. It ends when the last `Committer` is dropped.
    pub fn start(pool: Pool, activity: Activity) -> io::Result<Committer> {
        let (queue, waiting) = mpsc::channel(BATCH);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let committing = move || runtime.block_on(run(waiting, pool, activity));
        std::thread::Builder::new().name("committer".into()).spawn(committing)?;
        Ok(Committer { queue })
    }

    /// Puts an instance into the queue. What is returned completes when its rows are durable, or cannot be.
    pub async fn commit(
        &self,
        pending: NewInstance,
        durable: Durable,
    ) -> impl Future<Output = Result<Outcome, Failure>> + use<> {
        let stopping = |nothing_was_committed| Failure { error: Error::Stopping, nothing_was_committed };
        let (answer, answered) = oneshot::channel();
        let queued = self.queue.send(Waiting { pending, durable, answer }).await;
        async move {
            queued.map_err(|_| stopping(true))?;
            #[cfg(debug_assertions)]
            if acknowledges_early() {
                return Ok(Outcome::Stored);
            }
            answered.await.map_err(|_| stopping(false))?
        }
    }
}

/// For the negative control of the tests of durability, and only in a build for tests: answer before the commit.
#[cfg(debug_assertions)]
fn acknowledges_early() -> bool {
    std::env::var_os("FILMROOM_TEST_ACKNOWLEDGE_BEFORE_COMMIT").is_some()
}

async fn run(mut queue: mpsc::Receiver<Waiting>, pool: Pool, activity: Activity) {
    let mut worker =
        Worker { pool, conn: None, asking: 0, keys: ingest::Keys::default(), audit: audit::Head::default() };
    let mut batch = Vec::with_capacity(BATCH);
    while queue.recv_many(&mut batch, BATCH).await > 0 {
        let mut pending = Vec::with_capacity(batch.len());
        let mut durable = Vec::with_capacity(batch.len());
        let mut answers = Vec::with_capacity(batch.len());
        for waiting in batch.drain(..) {
            pending.push(waiting.pending);
            durable.push(waiting.durable);
            answers.push(waiting.answer);
        }
        let results = worker.commit_each(&pending, &mut durable).await;
        let mut told: Vec<&str> = Vec::new();
        for (pending, result) in pending.iter().zip(&results) {
            let uid = pending.attributes.study.study_instance_uid.as_str();
            if matches!(result, Ok(Outcome::Stored)) && !told.contains(&uid) {
                told.push(uid);
                activity.tell(Event::Stored { study_instance_uid: uid.to_owned() });
            }
        }
        for (answer, result) in answers.into_iter().zip(results) {
            let _ = answer.send(result); // its association may have ended meanwhile
        }
    }
}

/// Why a transaction was not committed.
enum Trouble {
    Database(db::Error),
    /// A file in it is not on the disk.
    NotDurable,
}

impl From<db::Error> for Trouble {
    fn from(err: db::Error) -> Trouble {
        Trouble::Database(err)
    }
}

struct Worker {
    pool: Pool,
    conn: Option<db::Writer>,
    /// Batches that are still to be asked for: a sender that repeats one instance mostly repeats its study.
    asking: u32,
    /// Keys of rows seen before, so that the next slice of a series costs no look-ups.
    keys: ingest::Keys,
    /// Where the audit trail ends, unless somebody else has written to it.
    audit: audit::Head,
}

impl Worker {
    /// Writes a batch, and where that fails for what is in it, each instance by itself: a row that the database
    /// refuses is to cost one instance, not those that happened to wait beside it.
    async fn commit_each(
        &mut self,
        batch: &[NewInstance],
        durable: &mut [Durable],
    ) -> Vec<Result<Outcome, Failure>> {
        let err = match self.commit(batch, durable, true).await {
            Ok(outcomes) => return outcomes.into_iter().map(Ok).collect(),
            Err(err) => err,
        };
        tracing::error!(
            err = &err.error as &dyn std::error::Error,
            count = batch.len(),
            "cannot commit instances"
        );
        if batch.len() == 1 {
            return vec![Err(err)];
        }
        if matches!(&err.error, Error::Database(cause) if cause.is_transient()) {
            // Nobody's rows are to blame, so trying one by one would only take longer.
            let nothing_was_committed = err.nothing_was_committed;
            let again = || Err(Failure { error: db::Error::Busy.into(), nothing_was_committed });
            return batch.iter().map(|_| again()).collect();
        }
        let mut results = Vec::with_capacity(batch.len());
        for (new, durable) in batch.iter().zip(durable) {
            let (new, durable) = (std::slice::from_ref(new), std::slice::from_mut(durable));
            results.push(match self.commit(new, durable, err.nothing_was_committed).await {
                Ok(outcomes) => outcomes
                    .first()
                    .copied()
                    .ok_or(Failure { error: db::Error::Busy.into(), nothing_was_committed: false }),
                // The batch as a whole may have been committed, and only the answer lost.
                Err(failure) => Err(Failure {
                    nothing_was_committed: failure.nothing_was_committed && err.nothing_was_committed,
                    ..failure
                }),
            });
        }
        results
    }

    /// Writes a batch. Trying again is safe even after a COMMIT whose answer was lost: an instance that is found
    /// with its own path was committed, and so was an entry of the audit trail that is found.
    async fn commit(
        &mut self,
        batch: &[NewInstance],
        durable: &mut [Durable],
        mut nothing_was_committed: bool,
    ) -> Result<Vec<Outcome>, Failure> {
        let mut attempt = 0;
        let began = Instant::now();
        loop {
            attempt += 1;
            let remembered = !self.keys.is_empty();
            let mut commit_sent = false;
            // A value that a library panics on is to cost one instance, and never the committer.
            let trying = self.try_commit(batch, durable, nothing_was_committed, &mut commit_sent);
            let trying = AssertUnwindSafe(trying).catch_unwind();
            let tried = match tokio::time::timeout(PATIENCE, trying).await {
                Ok(tried) => tried.unwrap_or(Err(Trouble::Database(db::Error::Panicked))),
                Err(_) => Err(Trouble::Database(db::Error::Busy)),
            };
            let err = match tried {
                Ok(outcomes) => return Ok(outcomes),
                Err(Trouble::Database(err)) => err,
                Err(Trouble::NotDurable) => {
                    self.conn = None;
                    self.keys = ingest::Keys::default();
                    self.audit = audit::Head::default();
                    let error = io::Error::other("the file could not be made durable");
                    return Err(Failure { error: error.into(), nothing_was_committed });
                }
            };
            // Neither the connection nor the keys can be trusted any more, nor that nothing was committed.
            self.conn = None;
            self.asking = ASKING;
            self.keys = ingest::Keys::default();
            self.audit = audit::Head::default();
            nothing_was_committed &= !commit_sent;
            // A key that is remembered may be of a row that somebody has deleted since.
            let may_help = err.is_transient() || err.is_duplicate() || remembered;
            if attempt >= ATTEMPTS || began.elapsed() > ENOUGH || !may_help {
                return Err(Failure { error: err.into(), nothing_was_committed });
            }
            tracing::warn!(err = &err as &dyn std::error::Error, attempt, "trying a transaction again");
            let jitter = u64::from(getrandom::u32().unwrap_or(0) % 20);
            tokio::time::sleep(Duration::from_millis(u64::from(attempt * attempt) * 10 + jitter)).await;
        }
    }

    async fn try_commit(
        &mut self,
        batch: &[NewInstance],
        durable: &mut [Durable],
        nothing_was_committed: bool,
        commit_sent: &mut bool,
    ) -> Result<Vec<Outcome>, Trouble> {
        let mut writer = match self.conn.take() {
            Some(writer) => writer,
            None => db::Writer::open(&self.pool).await?,
        };
        let outcomes = match self.write(&mut writer, batch).await {
            Err(err) if err.is_duplicate() && self.asking == 0 => {
                writer.rollback().await?;
                self.keys = ingest::Keys::default();
                self.asking = ASKING;
                self.write(&mut writer, batch).await?
            }
            outcomes => outcomes?,
        };
        for file in durable {
            if !file.is_durable().await {
                return Err(Trouble::NotDurable);
            }
        }
        // Last, because whoever else writes to the trail waits from here to the COMMIT.
        let mut entries: Vec<Entry> = batch.iter().filter_map(|new| new.audit.clone()).collect();
        if !nothing_was_committed {
            entries = audit::not_recorded(writer.conn(), entries).await.map_err(db::Error::from)?;
        }
        audit::append_behind(writer.conn(), &mut self.audit, &entries).await.map_err(db::Error::from)?;
        *commit_sent = true;
        writer.commit().await?;
        self.asking = self.asking.saturating_sub(1);
        self.conn = Some(writer);
        Ok(outcomes)
    }

    async fn write(
        &mut self,
        writer: &mut db::Writer,
        batch: &[NewInstance],
    ) -> Result<Vec<Outcome>, db::Error> {
        let asking = if self.asking > 0 { Held::Ask } else { Held::AssumeNone };
        ingest::batch(writer.conn(), &mut self.keys, batch, asking).await
    }
}
