//! The queue of storage commitment, PS3.4 annex J: reports to peers that asked us and could not be told at once, and
//! questions to peers about what was sent to them. One thread looks after all of it. It calls several peers at once, each
//! with one thing after the other, and no peer waits for another; one that cannot be reached keeps what is due for later.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::MissedTickBehavior;

use super::{FORGET_EVERY, Tools};
use crate::db::commitment::{self, Commitment, State, turn};
use crate::db::peer::{self, Peer};
use crate::db::{self};
use crate::dicom::ae_title::AeTitle;
use crate::dicom::commitment::Request;
use crate::dicom::uid::TransactionUid;
use crate::dimse::scu::commitment::Reported;
use crate::dimse::scu::{Called, Error, Proposal};

/// Instances in one question to a peer.
pub const ASKED_AT_ONCE: u64 = 1000;
/// Peers that are called at once.
const PEERS_AT_ONCE: usize = 16;
/// The longest a peer is waited for before it is asked again.
const LONGEST_PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// When storage commitment is asked for and reported.
#[derive(Debug, Clone)]
pub struct Times {
    /// Pauses after attempts that brought nothing; the last one goes on.
    pub pauses: Vec<Duration>,
    /// How long a report is waited for over the association that asked for it.
    pub on_the_spot: Duration,
    /// After how long a peer that has not reported is asked again; twice as long the next time, and so on.
    pub answer: Duration,
}

impl Default for Times {
    fn default() -> Times {
        Times {
            pauses: [10, 30, 60, 300, 900, 1800, 3600].map(Duration::from_secs).to_vec(),
            on_the_spot: Duration::from_secs(5),
            answer: Duration::from_secs(3600),
        }
    }
}

impl Times {
    fn pause(&self, attempts: u32) -> Duration {
        let at = usize::try_from(attempts).unwrap_or(usize::MAX);
        let last = self.pauses.len().saturating_sub(1);
        self.pauses.get(at.min(last)).copied().unwrap_or(Duration::from_secs(60))
    }

    /// How long a report may take that is asked for the so-manieth time.
    fn patience(&self, attempts: u32) -> Duration {
        self.answer.saturating_mul(1 << attempts.min(16)).min(LONGEST_PATIENCE.max(self.answer))
    }
}

/// How a turn ended.
enum End {
    /// The peer has the report, or we have it.
    Done,
    /// We asked, and the report is to come.
    Asked,
    /// It may work later; why not now, in words.
    Later(String),
    /// The peer cannot be reached, so nothing else of it need be tried now, in words.
    Away(String),
    /// We may have asked or not. A Transaction UID is used once, so the next question has another. In words.
    Unknown(String),
    /// It will not work, in words.
    Never(String),
}

/// Looks after the queue until the program stops. What is under way then is dropped and done again after the next start:
/// a report that comes twice changes nothing, and a question is put again under another Transaction UID.
pub(super) async fn work(tools: &Tools) {
    let mut stopping = tools.stopping.clone();
    let mut forgotten: Option<Instant> = None;
    let mut busy: BTreeSet<AeTitle> = BTreeSet::new();
    let mut turns = FuturesUnordered::new();
    let mut look = tokio::time::interval(tools.schedule.look);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            _ = stopping.wait_for(|stopping| *stopping) => return,
            Some((ae_title, ended)) = turns.next() => {
                busy.remove(&ae_title);
                told("cannot go on with storage commitment", ended);
            }
            _ = look.tick() => {
                match due(tools, &busy).await {
                    Ok(peers) => for ae_title in peers {
                        busy.insert(ae_title.clone());
                        turns.push(async {
                            let ended = of_peer(tools, &ae_title).await;
                            (ae_title, ended)
                        });
                    },
                    Err(err) => told("cannot look for storage commitment", Err(err)),
                }
                if forgotten.is_none_or(|at| at.elapsed() > FORGET_EVERY) {
                    forgotten = Some(Instant::now());
                    told("cannot forget old storage commitment", forget(tools).await);
                }
            }
        }
    }
}

fn told(what: &str, result: Result<(), db::Error>) {
    if let Err(err) = result {
        tracing::warn!(err = &err as &dyn std::error::Error, "{what}");
    }
}

/// Peers of which something is due and that nobody is busy with.
async fn due(tools: &Tools, busy: &BTreeSet<AeTitle>) -> Result<Vec<AeTitle>, db::Error> {
    let mut conn = db::acquire(&tools.pool).await?;
    let mut peers = turn::peers_due(&mut conn).await?;
    peers.retain(|ae_title| !busy.contains(ae_title));
    peers.truncate(PEERS_AT_ONCE.saturating_sub(busy.len()));
    Ok(peers)
}

/// Does what is due of a peer, until nothing is or the peer is away.
async fn of_peer(tools: &Tools, ae_title: &AeTitle) -> Result<(), db::Error> {
    loop {
        let mut conn = db::acquire(&tools.pool).await?;
        let Some(one) = turn::next_due(&mut conn, ae_title).await? else { return Ok(()) };
        let peer = peer::by_ae_title(&mut conn, ae_title).await?;
        drop(conn);
        let span =
            tracing::info_span!("commitment", peer = %ae_title, transaction_uid = %one.transaction_uid);
        let turn = async {
            let end = match one.state {
                State::Asked => {
                    ask_again(tools, &one).await?;
                    return Ok(true);
                }
                _ => attempt(tools, &one, peer.as_ref()).await,
            };
            let is_there = !matches!(end, End::Away(_));
            settle(tools, &one, end).await?;
            Ok::<bool, db::Error>(is_there)
        };
        if !tracing::Instrument::instrument(turn, span).await? {
            let mut conn = db::acquire(&tools.pool).await?;
            let pause = tools.schedule.commitment.pause(one.attempts);
            return Ok(turn::put_off(&mut conn, ae_title, pause).await?);
        }
    }
}

async fn attempt(tools: &Tools, one: &Commitment, peer: Option<&Peer>) -> End {
    let Some(peer) = peer else { return End::Never(format!("{} is no peer any more", one.ae_title)) };
    let called = match tools.requestor.called(peer) {
        Ok(called) => called,
        Err(err) => return End::Later(err.to_string()),
    };
    let ended = match one.is_ours {
        true => ask(tools, one, &called).await,
        false => report(tools, one, &called).await,
    };
    ended.unwrap_or_else(|err| End::Later(err.to_string()))
}

/// Tells a peer what became of the instances it asked about.
async fn report(tools: &Tools, one: &Commitment, called: &Called) -> anyhow::Result<End> {
    let report = tools
        .archive
        .verify_commitment(one.commitment_key, &one.transaction_uid, &tools.requestor.ae_title)
        .await?;
    let contexts = vec![Proposal::reporting_commitment()];
    let mut association = match tools.requestor.associate(called, contexts).await {
        Ok(association) => association,
        Err(err) => return Ok(End::Away(err.to_string())),
    };
    let response = association.report_commitment(&report).await?;
    released(association.release().await);
    if !response.is_done() {
        return Ok(End::Later(format!("the peer did not take the report: {}", response.in_words())));
    }
    tracing::info!(
        failed = report.failed(),
        "reported storage commitment of {} instances over another association",
        report.committed()
    );
    Ok(End::Done)
}

/// Asks a peer about instances that were sent to it, and takes the report that it may have ready.
async fn ask(tools: &Tools, one: &Commitment, called: &Called) -> anyhow::Result<End> {
    let mut conn = db::acquire(&tools.pool).await?;
    let items = commitment::items(&mut conn, one.commitment_key).await.map_err(db::Error::from)?;
    drop(conn);
    let request = Request {
        transaction_uid: one.transaction_uid.clone(),
        references: items.into_iter().map(|item| item.reference).collect(),
    };
    let contexts = vec![Proposal::asking_for_commitment()];
    let mut association = match tools.requestor.associate(called, contexts).await {
        Ok(association) => association,
        Err(err) => return Ok(End::Away(err.to_string())),
    };
    // Before it is asked, so that a crash in between asks nothing twice.
    let mut conn = db::acquire(&tools.pool).await?;
    let patience = tools.schedule.commitment.patience(one.attempts);
    turn::asked(&mut conn, one.commitment_key, patience).await.map_err(db::Error::from)?;
    drop(conn);
    let (response, reported) =
        match association.ask_for_commitment(&request, &tools.archive, &one.ae_title).await {
            Ok(answered) => answered,
            Err(err) => return Ok(End::Unknown(err.to_string())),
        };
    if reported == Reported::Taken {
        released(association.release().await);
        return Ok(End::Done);
    }
    if !response.is_done() {
        released(association.release().await);
        return Ok(End::Later(format!("the peer would not be asked: {}", response.in_words())));
    }
    tracing::info!("asked for storage commitment of {} instances", request.references.len());
    let patience = tools.schedule.commitment.on_the_spot;
    match association.take_commitment_report(&tools.archive, &one.ae_title, patience).await {
        Ok(Reported::Taken) => {
            released(association.release().await);
            Ok(End::Done)
        }
        Ok(Reported::Later) => {
            released(association.release().await);
            Ok(End::Asked)
        }
        Err(Error::Released) => Ok(End::Asked),
        Err(err) => {
            tracing::info!(%err, "the association ended, and the report is waited for");
            Ok(End::Asked)
        }
    }
}

fn released(released: Result<(), Error>) {
    if let Err(err) = released {
        tracing::debug!(%err, "everything was said, but the association did not end well");
    }
}

/// A peer has not reported in its time.
async fn ask_again(tools: &Tools, one: &Commitment) -> Result<(), db::Error> {
    let mut conn = db::acquire(&tools.pool).await?;
    if one.is_last {
        let error = "The peer was asked and never reported";
        tracing::warn!("gives up a storage commitment: {error}");
        turn::give_up(&mut conn, one.commitment_key, error).await?;
        return Ok(());
    }
    let uid = transaction_uid();
    tracing::info!(new = %uid, "the peer has not reported, and is asked again");
    let mut change = conn.start_transaction(Default::default()).await?;
    turn::give_up(&mut change, one.commitment_key, "The peer did not report and was asked again").await?;
    turn::again(&mut change, one.commitment_key, &uid).await?;
    Ok(change.commit().await?)
}

async fn settle(tools: &Tools, one: &Commitment, end: End) -> Result<(), db::Error> {
    let times = &tools.schedule.commitment;
    let mut conn = db::acquire(&tools.pool).await?;
    match end {
        End::Done => turn::end(&mut conn, one.commitment_key).await?,
        // That stands in its row already.
        End::Asked => {}
        End::Unknown(error) => {
            let pause = times.pause(one.attempts);
            tracing::warn!(error, "asking for storage commitment anew in {} s", pause.as_secs_f64());
            turn::asked(&mut conn, one.commitment_key, pause).await?;
        }
        End::Later(error) | End::Away(error) if one.is_last => {
            let error = format!("Given up; the last attempt ended like this: {error}");
            tracing::warn!(error, "gives up a storage commitment");
            turn::give_up(&mut conn, one.commitment_key, &error).await?;
        }
        End::Later(error) | End::Away(error) => {
            let pause = times.pause(one.attempts);
            tracing::warn!(error, "trying storage commitment again in {} s", pause.as_secs_f64());
            turn::later(&mut conn, one.commitment_key, pause, &error).await?;
        }
        End::Never(error) => {
            tracing::warn!(error, "gives up a storage commitment");
            turn::give_up(&mut conn, one.commitment_key, &error).await?;
        }
    }
    Ok(())
}

async fn forget(tools: &Tools) -> Result<(), db::Error> {
    let mut conn = db::acquire(&tools.pool).await?;
    loop {
        let mut change = conn.start_transaction(Default::default()).await?;
        let forgotten = turn::forget(&mut change).await?;
        change.commit().await?;
        if forgotten == 0 {
            return Ok(());
        }
    }
}

/// A new one, of random bits. Where the system has none to give, the time tells one from the next.
pub(super) fn transaction_uid() -> TransactionUid {
    let mut bits = [0; 16];
    if let Err(err) = getrandom::fill(&mut bits) {
        tracing::error!(%err, "cannot make random bytes");
        bits = chrono::Utc::now().timestamp_nanos_opt().map_or(bits, |now| i128::from(now).to_be_bytes());
    }
    TransactionUid::of_random(u128::from_be_bytes(bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_does_not_report_is_asked_ever_less_often() {
        let times = Times::default();
        let hours: Vec<u64> = (0..7).map(|attempts| times.patience(attempts).as_secs() / 3600).collect();
        assert_eq!(hours, [1, 2, 4, 8, 16, 24, 24]);
        assert_eq!(times.patience(u32::MAX).as_secs() / 3600, 24);
    }

    #[test]
    fn pauses_grow_and_the_last_one_goes_on() {
        let times = Times::default();
        assert_eq!(times.pause(0).as_secs(), 10);
        assert_eq!(times.pause(99).as_secs(), 3600);
    }

    #[test]
    fn no_two_transaction_uids_are_the_same() {
        assert_ne!(transaction_uid(), transaction_uid());
    }
}
