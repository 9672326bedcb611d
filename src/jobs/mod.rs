//! Work that outlives a request: what people ask to be sent and retrieved, as rows of `job` and `job_item`, worked off by
//! a few threads. What is asked and reported of storage commitment has a thread of its own, [`commitment`].
//!
//! A job is claimed with a lease that is renewed while somebody works on it; one whose lease is over is taken up again,
//! so a crash loses none. Sending is at least once: what was acknowledged is written in batches, and a crash sends the
//! last few again, which changes nothing at the other end. Items are tried independently of each other. What will never
//! work fails by itself; what may work later is tried again with growing pauses until the job's patience ends.

mod attempt;
pub mod commitment;
mod ledger;
mod retrieve;
mod send;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::{Mutex, Notify, oneshot, watch};

use crate::archive::Archive;
use crate::db::job::turn::{self, Lease};
use crate::db::job::{self, Job};
use crate::db::{self, Pool};
use crate::dimse::scu::Requestor;

/// Jobs that ended so many days ago are forgotten.
const KEPT_DAYS: u32 = 30;
/// How often that is looked after.
const FORGET_EVERY: Duration = Duration::from_secs(3600);

/// When things are tried.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// Jobs that are worked on at once, each for another peer.
    pub workers: usize,
    /// Pauses after attempts in a row that brought nothing; the last one goes on.
    pub pauses: Vec<Duration>,
    /// For how long a job is tried.
    pub patience: Duration,
    /// How long a job stays somebody's that is not heard of.
    pub lease: Duration,
    /// How often the table is looked at, unless somebody says that there is something new.
    pub look: Duration,
    /// How long an instance that is under way gets when the job or the program is to end.
    pub grace: Duration,
    /// When storage commitment is asked for and reported.
    pub commitment: commitment::Times,
}

impl Default for Schedule {
    fn default() -> Schedule {
        Schedule {
            workers: 2,
            pauses: [10, 30, 60, 120, 300, 600, 900].map(Duration::from_secs).to_vec(),
            patience: Duration::from_secs(24 * 3600),
            // Longer than any instance takes to be converted.
            lease: Duration::from_secs(300),
            look: Duration::from_secs(2),
            grace: Duration::from_secs(10),
            commitment: commitment::Times::default(),
        }
    }
}

impl Schedule {
    /// The pause after so many attempts in a row that brought nothing.
    fn pause(&self, attempts: u32) -> Duration {
        let at = usize::try_from(attempts).unwrap_or(usize::MAX).saturating_sub(1);
        let last = self.pauses.len().saturating_sub(1);
        self.pauses.get(at.min(last)).copied().unwrap_or(Duration::from_secs(60))
    }
}

/// What the threads work with.
#[derive(Clone)]
struct Tools {
    archive: Archive,
    pool: Pool,
    requestor: Requestor,
    schedule: Arc<Schedule>,
    /// Somebody has made a job.
    news: Arc<Notify>,
    /// Of two that look at once, only one is to find that nobody is busy with a peer.
    claiming: Arc<Mutex<()>>,
    stopping: watch::Receiver<bool>,
}

/// The threads.
pub struct Jobs {
    ended: Vec<oneshot::Receiver<()>>,
}

impl Jobs {
    /// Starts them. Each is a thread with a small runtime of its own, because what is retrieved waits for the disk. They
    /// end soon after `stopping` becomes true.
    pub fn start(
        schedule: Schedule,
        requestor: Requestor,
        archive: Archive,
        pool: Pool,
        news: Arc<Notify>,
        stopping: watch::Receiver<bool>,
    ) -> io::Result<Jobs> {
        let workers = schedule.workers;
        let tools = Tools {
            archive,
            pool,
            requestor,
            schedule: Arc::new(schedule),
            news,
            claiming: Arc::default(),
            stopping,
        };
        let mut ended =
            vec![thread("commitment", tools.clone(), async |tools| commitment::work(tools).await)?];
        for _ in 0..workers {
            ended.push(thread("jobs", tools.clone(), async |tools| work(tools).await)?);
        }
        Ok(Jobs { ended })
    }

    /// Waits for their end.
    pub async fn ended(self) {
        for ended in self.ended {
            if ended.await.is_err() {
                tracing::error!("a thread that works on jobs ended in a panic");
            }
        }
    }
}

/// Takes over what the program left behind when it last ended. Only one program serves a database, so before the threads
/// start nobody works on anything.
pub async fn take_over(pool: &Pool) -> Result<(), db::Error> {
    let mut conn = db::acquire(pool).await?;
    let left = turn::abandon_all(&mut conn).await?;
    if left > 0 {
        tracing::warn!(count = left, "took up {left} jobs that were under way when filmroom last ended");
    }
    Ok(())
}

/// A thread that does this with a runtime of its own. What is returned tells of its end.
fn thread(
    name: &str,
    tools: Tools,
    work: impl AsyncFnOnce(&Tools) + Send + 'static,
) -> io::Result<oneshot::Receiver<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (end, told) = oneshot::channel();
    let working = move || {
        runtime.block_on(work(&tools));
        drop(tools);
        let _ = end.send(()); // whoever waited for it has gone
    };
    std::thread::Builder::new().name(name.into()).spawn(working)?;
    Ok(told)
}

async fn work(tools: &Tools) {
    let mut stopping = tools.stopping.clone();
    let mut forgotten: Option<Instant> = None;
    while !*stopping.borrow() {
        match claim(tools).await {
            Ok(Some((job, lease))) => {
                attempt::run(tools, job, lease).await;
                continue;
            }
            Ok(None) => {}
            Err(err) => {
                tracing::warn!(err = format!("{err:#}"), "cannot look for jobs");
            }
        }
        if forgotten.is_none_or(|at| at.elapsed() > FORGET_EVERY) {
            forgotten = Some(Instant::now());
            if let Err(err) = forget(tools).await {
                tracing::warn!(err = &err as &dyn std::error::Error, "cannot forget old jobs");
            }
        }
        // Cancel-safe, all three.
        tokio::select! {
            () = tools.news.notified() => {}
            () = tokio::time::sleep(tools.schedule.look) => {}
            // Whoever could say so being gone says it too.
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
    }
}

async fn claim(tools: &Tools) -> anyhow::Result<Option<(Job, Lease)>> {
    let mut lease = Lease::default();
    getrandom::fill(&mut lease).map_err(io::Error::other).context("cannot make random bytes")?;
    let _one_at_a_time = tools.claiming.lock().await;
    let mut conn = db::acquire(&tools.pool).await?;
    let claimed = async {
        let mut change = conn.start_transaction(Default::default()).await?;
        let claimed = turn::claim(&mut change, &lease, tools.schedule.lease).await?;
        change.commit().await?;
        Ok(claimed)
    };
    let claimed: Option<Job> = claimed.await.map_err(db::Error::Sql)?;
    Ok(claimed.map(|job| (job, lease)))
}

async fn forget(tools: &Tools) -> Result<(), db::Error> {
    let mut conn = db::acquire(&tools.pool).await?;
    loop {
        let mut change = conn.start_transaction(Default::default()).await?;
        let forgotten = job::forget(&mut change, KEPT_DAYS).await?;
        change.commit().await?;
        if forgotten == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_the_last_one_goes_on() {
        let schedule = Schedule::default();
        let pauses: Vec<u64> = (1..=9).map(|attempts| schedule.pause(attempts).as_secs()).collect();
        assert_eq!(pauses, [10, 30, 60, 120, 300, 600, 900, 900, 900]);
        assert_eq!(schedule.pause(0).as_secs(), 10);
    }
}
