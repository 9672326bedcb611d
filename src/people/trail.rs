//! The audit trail of people and programs: each action has its row before it is answered.
//!
//! A picture series is hundreds of requests and one action. So the trail remembers for a while what somebody was shown:
//! the first request for something of a series writes the row that the others find written.

use std::time::Duration;

use moka::sync::Cache;
use tokio::sync::Mutex;

use crate::db::audit::{self, Entry, Head};
use crate::db::{self, Pool};

/// What was shown is shown anew after this long without a request.
const REMEMBERED: Duration = Duration::from_secs(30 * 60);
/// How often a row is tried where the server ends it in favour of another.
const ATTEMPTS: u32 = 5;
/// How many things that were shown are remembered.
const MOST: u64 = 200_000;

/// Somebody's way in: a session, a token, a visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WayIn {
    /// `session.session_key`
    Session(u64),
    /// `token.token_key`
    Token(u64),
    /// `user.user_key` of whoever sends a password each time
    Password(u64),
    /// `visit.visit_key`
    Visit(u64),
}

/// What somebody is shown.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Shown {
    /// Any list of studies.
    List,
    /// This search, as its address says.
    Search(String),
    /// A study, by its UID.
    Study(String),
    /// Pictures of a series, by study and series.
    Series(String, String),
    /// What is in quarantine under this number.
    Quarantined(u64),
}

/// Where rows are written.
pub struct Trail {
    pool: Pool,
    /// One writes at a time, and finds the end of the chain where it left it.
    head: Mutex<Head>,
    shown: Cache<(WayIn, Shown), ()>,
}

impl Trail {
    /// The trail in this database.
    pub fn new(pool: Pool) -> Trail {
        let shown = Cache::builder().max_capacity(MOST).time_to_idle(REMEMBERED).build();
        Trail { pool, head: Mutex::new(Head::default()), shown }
    }

    /// Writes a row. When this returns `Ok`, it is committed.
    pub async fn record(&self, entry: Entry) -> Result<(), db::Error> {
        let mut conn = db::acquire(&self.pool).await?;
        let mut head = self.head.lock().await;
        let mut attempt = 1;
        loop {
            match audit::append_behind(&mut conn, &mut head, std::slice::from_ref(&entry)).await {
                // Where somebody gave up the number that several waited for, the server ends all but one of them.
                Err(err) if db::is_transient(&err) && attempt < ATTEMPTS => attempt += 1,
                written => return Ok(written?),
            }
        }
    }

    /// Writes a row for what is shown, however often it was before.
    pub async fn show(&self, way_in: WayIn, shown: Shown, entry: Entry) -> Result<(), db::Error> {
        self.record(entry).await?;
        self.remember(way_in, shown);
        Ok(())
    }

    /// Writes a row for what is shown, unless one of these was shown by the same way in a short while ago.
    pub async fn show_once(&self, way_in: WayIn, any_of: &[Shown], entry: Entry) -> Result<(), db::Error> {
        let known = |shown: &Shown| self.shown.contains_key(&(way_in, shown.clone()));
        if any_of.iter().any(known) {
            return Ok(());
        }
        let Some(shown) = any_of.first() else { return self.record(entry).await };
        // Of requests that come at once, one finds it new.
        let key = (way_in, shown.clone());
        if !self.shown.entry(key.clone()).or_insert(()).is_fresh() {
            return Ok(());
        }
        let recorded = self.record(entry).await;
        if recorded.is_err() {
            self.shown.invalidate(&key);
        }
        recorded
    }

    /// Remembers that this was shown, for which a row is there.
    pub fn remember(&self, way_in: WayIn, shown: Shown) {
        self.shown.insert((way_in, shown), ());
    }
}
