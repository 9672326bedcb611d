//! One turn of a job: the work, with somebody beside it who renews the lease, writes down how far it is, and ends it when
//! it is cancelled or the program stops.

use std::pin::pin;

use chrono::Utc;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::ledger::Ledger;
use super::{Tools, commitment, retrieve, send};
use crate::db::job::turn::{self, End, Lease, Renewed};
use crate::db::job::{Job, Kind};
use crate::db::{self};

/// Why a turn ended before everything was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// It may pass, in words.
    ForNow(String),
    /// It will not.
    ForGood(String),
}

/// What ended the work from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Halt {
    /// Nothing did.
    No,
    /// Somebody wants the job to end.
    Cancelled,
    /// The program stops.
    Stopping,
}

/// Works on a job until its items are settled, trouble comes, or it is ended.
pub async fn run(tools: &Tools, job: Job, lease: Lease) {
    let span = tracing::info_span!("job", job = job.job_key, kind = job.kind.as_str(), peer = %job.ae_title);
    let ledger = Ledger::default();
    let watched = tracing::Instrument::instrument(watch_over(tools, &job, &lease, &ledger), span.clone());
    let Some((halt, trouble)) = watched.await else {
        span.in_scope(|| tracing::warn!("somebody else has taken the job up"));
        return;
    };
    let settled = async {
        write(tools, &job, &ledger).await?;
        let end = end(tools, &job, &ledger, halt, trouble).await?;
        give_back(tools, &job, &lease, &end).await?;
        Ok::<End, db::Error>(end)
    };
    match settled.await {
        Ok(End::Later { after, error, .. }) if !error.is_empty() => {
            span.in_scope(|| tracing::warn!(error, "trying again in {} s", after.as_secs_f64()));
        }
        Ok(End::Failed(error)) => span.in_scope(|| tracing::warn!(error, "failed")),
        Ok(end) => span.in_scope(|| tracing::info!(?end, "a turn is over")),
        // Its lease runs out, and then it is taken up again.
        Err(err) => span.in_scope(|| {
            tracing::error!(err = &err as &dyn std::error::Error, "cannot write down how a job ended");
        }),
    }
}

/// None where the job is somebody else's by now.
async fn watch_over(
    tools: &Tools,
    job: &Job,
    lease: &Lease,
    ledger: &Ledger,
) -> Option<(Halt, Option<Trouble>)> {
    let (ending, mut to_end) = watch::channel(false);
    let mut stopping = tools.stopping.clone();
    let mut work = pin!(async {
        match job.kind {
            Kind::Send => send::attempt(tools, job, ledger, &mut to_end).await,
            Kind::Retrieve => retrieve::attempt(tools, job, ledger, &mut to_end).await,
        }
    });
    let mut tick = interval((tools.schedule.lease / 10).min(std::time::Duration::from_secs(1)));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut halt = Halt::No;
    let mut deadline = None;
    loop {
        // All are cancel-safe: the work goes on where it was, and the others only look and wait.
        tokio::select! {
            biased;
            trouble = &mut work => return Some((halt, trouble)),
            _ = stopping.wait_for(|stopping| *stopping), if halt == Halt::No => halt = Halt::Stopping,
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                return Some((halt, None));
            }
            _ = tick.tick() => match look_after(tools, job, lease, ledger).await {
                Ok(Renewed::Held) => {}
                Ok(Renewed::Cancelled) if halt == Halt::No => halt = Halt::Cancelled,
                Ok(Renewed::Cancelled) => {}
                Ok(Renewed::Lost) => return None,
                Err(err) => {
                    tracing::warn!(err = &err as &dyn std::error::Error, "cannot write down how far a job is");
                }
            },
        }
        if halt != Halt::No && deadline.is_none() {
            ending.send_replace(true);
            deadline = Some(Instant::now() + tools.schedule.grace);
        }
    }
}

async fn look_after(tools: &Tools, job: &Job, lease: &Lease, ledger: &Ledger) -> Result<Renewed, db::Error> {
    let mut conn = db::acquire(&tools.pool).await?;
    let renewed = turn::renew(&mut conn, job.job_key, lease, tools.schedule.lease).await?;
    drop(conn);
    if renewed != Renewed::Lost {
        write(tools, job, ledger).await?;
    }
    Ok(renewed)
}

/// Carries the ledger to the table.
async fn write(tools: &Tools, job: &Job, ledger: &Ledger) -> Result<(), db::Error> {
    let taken = ledger.take();
    if taken.is_empty() {
        return Ok(());
    }
    let written = async {
        let mut conn = db::acquire(&tools.pool).await?;
        let mut change = conn.start_transaction(Default::default()).await?;
        turn::settle(&mut change, job.job_key, &taken).await?;
        Ok(change.commit().await?)
    };
    let written: Result<(), db::Error> = written.await;
    if written.is_err() {
        ledger.put_back(taken);
    }
    written
}

/// Gives a job back. The peer is to be asked whether what was sent so far is safely stored: that stands in the same
/// transaction, so that neither is there without the other, and holds also where somebody ends a job between two turns.
async fn give_back(tools: &Tools, job: &Job, lease: &Lease, end: &End) -> Result<(), db::Error> {
    let mut conn = db::acquire(&tools.pool).await?;
    let mut change = conn.start_transaction(Default::default()).await?;
    let given = turn::give_back(&mut change, job.job_key, lease, end).await?;
    if given && job.kind == Kind::Send {
        let most = commitment::ASKED_AT_ONCE;
        let uids = commitment::transaction_uid;
        db::commitment::add_of_job(&mut change, job.job_key, &job.ae_title, most, uids).await?;
    }
    Ok(change.commit().await?)
}

/// What follows from how a turn went.
async fn end(
    tools: &Tools,
    job: &Job,
    ledger: &Ledger,
    halt: Halt,
    trouble: Option<Trouble>,
) -> Result<End, db::Error> {
    let mut conn = db::acquire(&tools.pool).await?;
    let (waiting, failed) = turn::open_items(&mut conn, job.job_key).await?;
    if waiting == 0 {
        return Ok(match failed {
            0 => End::Done,
            failed => End::Failed(summary(job, failed, &turn::reasons(&mut conn, job.job_key).await?)),
        });
    }
    Ok(match (halt, trouble) {
        (Halt::Cancelled, _) => End::Cancelled,
        (Halt::Stopping, _) => End::Later {
            after: std::time::Duration::ZERO,
            attempts: job.attempts,
            error: job.last_error.clone(),
        },
        (Halt::No, Some(Trouble::ForGood(error))) => End::Failed(error),
        (Halt::No, Some(Trouble::ForNow(error))) if job.gives_up_at < Utc::now().naive_utc() => {
            End::Failed(format!("Given up; the last attempt ended like this: {error}"))
        }
        (Halt::No, Some(Trouble::ForNow(error))) => {
            let attempts = if ledger.has_brought() { 1 } else { job.attempts.saturating_add(1) };
            End::Later { after: tools.schedule.pause(attempts), attempts, error }
        }
        // There were more items than one turn takes.
        (Halt::No, None) => {
            End::Later { after: std::time::Duration::ZERO, attempts: 0, error: String::new() }
        }
    })
}

/// `3 of 200 instances were not sent: it cannot understand or process it (C000H)`
fn summary(job: &Job, failed: u64, reasons: &[String]) -> String {
    let reasons = reasons.join("; ");
    match job.kind {
        Kind::Send if job.expected == 1 => format!("The instance was not sent: {reasons}"),
        Kind::Send => format!("{failed} of {} instances were not sent: {reasons}", job.expected),
        Kind::Retrieve if job.studies == 1 => format!("The study was not retrieved: {reasons}"),
        Kind::Retrieve => format!("{failed} of {} studies were not retrieved: {reasons}", job.studies),
    }
}
