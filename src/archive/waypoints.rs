//! Any page of the whole study list, and how many studies there are, without passing over the studies before it.
//!
//! A server finds the 500,000th entry of an index by reading 500,000 entries, and counts by reading them all. So for
//! an archive that is large the place of every 1,024th study in each order is kept in memory, about 100 bytes each:
//! a chain of waypoints. It is made in the background by stepping along the order's index, of the studies that were
//! there at that moment. What came since is told from the rest by its number, and counted: the newest few thousand
//! studies are a short stretch of the table. So totals are exact, and so is every page, with one allowance: a study
//! whose modalities or number of images have changed since the chain was made may still be passed at its old place,
//! in those two orders, in the middle of the list. While there is no chain, the list is read the plain way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use mysql_async::{Conn, IsolationLevel, TxOpts};
use tokio::runtime::Handle;
use tracing::{debug, warn};

use crate::db::study::Study;
use crate::db::study::list;
use crate::db::study::waypoint::{self, Waypoint};
use crate::db::{self, Pool};
use crate::dicom::query::{Direction, Query, SortKey};

/// Studies from one waypoint to the next.
const STEP: u64 = 1024;
/// Smaller archives are read the plain way.
const LARGE: u64 = 20_000;
/// A chain serves for pages of lists that are at most this many study numbers newer or older than itself.
const REACH: u64 = 5000;
/// And for their totals at most this many: counting what came since is all that those cost.
const REACH_OF_TOTALS: u64 = 10 * REACH;
/// A chain that is this many study numbers behind is made again.
const BEHIND: u64 = 2000;
/// A chain that is this old is made again when it is used: rows may have been changed by hand.
const OLD: Duration = Duration::from_secs(60);

/// The chains of an archive. Cheap to clone.
#[derive(Clone, Default)]
pub struct Waypoints {
    inner: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    chains: HashMap<SortKey, Arc<Chain>>,
    is_surveying: bool,
}

/// The waypoints of one order.
struct Chain {
    /// The newest study that was there.
    as_of: u64,
    /// Studies that were there.
    total: u64,
    /// Number n stands (n + 1) * [`STEP`] studies behind the beginning.
    waypoints: Vec<Waypoint>,
    made_at: Instant,
    took: Duration,
}

/// Where an ascending read begins.
struct Place<'a> {
    from: Option<&'a Waypoint>,
    /// Studies before it.
    rank: u64,
}

impl Waypoints {
    /// How many studies there are up to number `as_of`, if a chain knows.
    pub async fn total(&self, conn: &mut Conn, as_of: u64) -> mysql_async::Result<Option<u64>> {
        let chains: Vec<Arc<Chain>> = self.lock().chains.values().cloned().collect();
        match chains.iter().min_by_key(|chain| chain.as_of.abs_diff(as_of)) {
            Some(chain) if chain.is_within(REACH_OF_TOTALS, as_of) => {
                Ok(Some(chain.total(conn, as_of).await?))
            }
            _ => Ok(None),
        }
    }

    /// The page of the whole list that `query` asks for; none where it is read as well from the beginning of the
    /// order, and where there is no chain. `total` is the number of studies up to the query's `as_of`.
    pub async fn page(
        &self,
        conn: &mut Conn,
        query: &Query,
        total: u64,
    ) -> mysql_async::Result<Option<Vec<Study>>> {
        let (by, Some(as_of)) = (query.sort.by, query.page.as_of) else { return Ok(None) };
        let (offset, chain) = (query.page.offset(), self.lock().chains.get(&by).cloned());
        let Some(chain) = chain.filter(|chain| offset > STEP && chain.is_within(REACH, as_of)) else {
            return Ok(None);
        };
        let size = query.page.size.min(total.saturating_sub(offset));
        let first = match query.sort.direction {
            Direction::Ascending => offset,
            Direction::Descending => total.saturating_sub(offset).saturating_sub(size),
        };
        let place = chain.place(conn, by, as_of, first).await?;
        let behind = first.saturating_sub(place.rank);
        let mut studies = waypoint::page(conn, by, as_of, place.from, behind, size).await?;
        if query.sort.direction == Direction::Descending {
            studies.reverse();
        }
        Ok(Some(studies))
    }

    /// Makes the chain of this order, whatever the size of the archive.
    pub async fn survey(&self, conn: &mut Conn, by: SortKey) -> mysql_async::Result<()> {
        survey(&Arc::downgrade(&self.inner), conn, by).await
    }

    /// Makes every chain in the background, one after the other, if the archive is large.
    pub(super) fn survey_all(&self, runtime: &Handle, pool: &Pool) {
        self.survey_these(runtime, pool, SortKey::ALL.to_vec());
    }

    /// Makes the chain of this order again in the background, if that is due. `newest` is the newest study.
    pub(super) fn keep_up(&self, runtime: &Handle, pool: &Pool, by: SortKey, newest: u64) {
        let is_due = self.lock().chains.get(&by).is_none_or(|chain| chain.is_due(newest));
        if is_due && newest >= LARGE {
            self.survey_these(runtime, pool, vec![by]);
        }
    }

    fn survey_these(&self, runtime: &Handle, pool: &Pool, orders: Vec<SortKey>) {
        if std::mem::replace(&mut self.lock().is_surveying, true) {
            return;
        }
        // Nothing waits for a survey: it ends when the archive does.
        let (inner, pool) = (Arc::downgrade(&self.inner), pool.clone());
        runtime.spawn(async move {
            if let Err(err) = survey_in_background(&inner, &pool, &orders).await {
                warn!(%err, "the study list stays slow: its orders could not be surveyed");
            }
            if let Some(inner) = inner.upgrade() {
                lock(&inner).is_surveying = false;
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.inner)
    }
}

fn lock(inner: &Mutex<State>) -> MutexGuard<'_, State> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn survey_in_background(
    inner: &Weak<Mutex<State>>,
    pool: &Pool,
    orders: &[SortKey],
) -> Result<(), db::Error> {
    let mut conn = db::acquire(pool).await?;
    if list::newest(&mut conn).await? < LARGE {
        return Ok(());
    }
    for by in orders {
        survey(inner, &mut conn, *by).await?;
    }
    Ok(())
}

/// Steps along the index of an order within one snapshot, for as long as the archive is there.
async fn survey(inner: &Weak<Mutex<State>>, conn: &mut Conn, by: SortKey) -> mysql_async::Result<()> {
    let made_at = Instant::now();
    let mut snapshot = TxOpts::default();
    snapshot.with_isolation_level(IsolationLevel::RepeatableRead).with_consistent_snapshot(true);
    let mut conn = conn.start_transaction(snapshot).await?;
    let as_of = list::newest(&mut conn).await?;
    let mut waypoints: Vec<Waypoint> = Vec::new();
    while inner.strong_count() > 0
        && let Some(next) = waypoint::next(&mut conn, by, as_of, waypoints.last(), STEP).await?
    {
        waypoints.push(next);
    }
    let rest = waypoint::rest(&mut conn, by, as_of, waypoints.last(), STEP).await?;
    conn.rollback().await?;
    let Some(inner) = inner.upgrade() else { return Ok(()) };
    let took = made_at.elapsed();
    let total = STEP * u64::try_from(waypoints.len()).unwrap_or(u64::MAX) + rest;
    debug!(?by, total, ?took, "surveyed the study list");
    lock(&inner).chains.insert(by, Arc::new(Chain { as_of, total, waypoints, made_at, took }));
    Ok(())
}

impl Chain {
    fn is_within(&self, reach: u64, as_of: u64) -> bool {
        self.as_of.abs_diff(as_of) <= reach
    }

    /// Whether it should be made again, without the server doing little else where that takes long.
    fn is_due(&self, newest: u64) -> bool {
        let age = self.made_at.elapsed();
        let is_behind = newest.saturating_sub(self.as_of) > BEHIND && age > 10 * self.took;
        is_behind || age > OLD.max(60 * self.took)
    }

    /// How many studies there are up to number `as_of`.
    async fn total(&self, conn: &mut Conn, as_of: u64) -> mysql_async::Result<u64> {
        let (low, high) = (self.as_of.min(as_of), self.as_of.max(as_of));
        let between = match low == high {
            true => 0,
            false => waypoint::between(conn, low, high).await?,
        };
        Ok(self.corrected(self.total, between, as_of))
    }

    /// The last waypoint that surely does not stand behind the study which has `rank` studies up to number `as_of`
    /// before it.
    async fn place(
        &self,
        conn: &mut Conn,
        by: SortKey,
        as_of: u64,
        rank: u64,
    ) -> mysql_async::Result<Place<'_>> {
        // Each study that came since may stand before the waypoint; each that is not to be there only helps.
        let surely = rank.saturating_sub(as_of.saturating_sub(self.as_of)) / STEP;
        let at = usize::try_from(surely).unwrap_or(usize::MAX).min(self.waypoints.len());
        let Some(from) = at.checked_sub(1).and_then(|at| self.waypoints.get(at)) else {
            return Ok(Place { from: None, rank: 0 });
        };
        let (low, high) = (self.as_of.min(as_of), self.as_of.max(as_of));
        let before = match low == high {
            true => 0,
            false => waypoint::before(conn, by, from, low, high).await?,
        };
        let rank = self.corrected(STEP * u64::try_from(at).unwrap_or(u64::MAX), before, as_of);
        Ok(Place { from: Some(from), rank })
    }

    /// A count of studies that were there, as it is up to number `as_of`.
    fn corrected(&self, counted: u64, between: u64, as_of: u64) -> u64 {
        if as_of >= self.as_of { counted.saturating_add(between) } else { counted.saturating_sub(between) }
    }
}
