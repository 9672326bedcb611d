//! The audit trail of people and programs: each action has its row before it is answered.
//!
//! A picture series is hundreds of requests and one action. So the trail remembers for a while what somebody was shown:
//! the first request for something of a series writes the row that the others find written, or wait for.
//!
//! Rows are written by tasks of their own: a browser that hangs up ends its request, and not what is written of it.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use tokio::runtime::Handle;
use tokio::sync::OnceCell;

use crate::db::audit::{Entry, Journal};
use crate::db::{self, Pool};

/// What was shown is shown anew after this long without a request.
const REMEMBERED: Duration = Duration::from_secs(30 * 60);
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
    /// A study in a list, by its UID.
    Listed(String),
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
    journal: Arc<Journal>,
    /// What was shown to whom; a cell is filled when its row is committed.
    shown: Cache<(WayIn, Shown), Arc<OnceCell<()>>>,
    /// Of the program; those of the web server's threads end before it.
    runtime: Handle,
}

impl Trail {
    /// The trail in this database. Runs within the program's runtime.
    pub fn new(pool: Pool) -> Trail {
        let shown = Cache::builder().max_capacity(MOST).time_to_idle(REMEMBERED).build();
        Trail { journal: Arc::new(Journal::new(pool)), shown, runtime: Handle::current() }
    }

    /// Writes a row. When this returns `Ok`, it is committed.
    pub async fn record(&self, entry: Entry) -> Result<(), db::Error> {
        let journal = self.journal.clone();
        self.finish(async move { journal.write(&[entry]).await }).await
    }

    /// Carries on where whoever waits for it gives up.
    async fn finish(
        &self,
        writing: impl Future<Output = Result<(), db::Error>> + Send + 'static,
    ) -> Result<(), db::Error> {
        self.runtime.spawn(writing).await.unwrap_or(Err(db::Error::Stopping))
    }

    /// Writes a row for what is shown, however often it was before.
    pub async fn show(&self, way_in: WayIn, shown: Shown, entry: Entry) -> Result<(), db::Error> {
        self.record(entry).await?;
        self.remember(way_in, shown);
        Ok(())
    }

    /// Writes a row for what is shown, unless one of these was shown by the same way in a short while ago. Of requests
    /// that come at once one writes it, and the others wait for that.
    pub async fn show_once(&self, way_in: WayIn, any_of: &[Shown], entry: Entry) -> Result<(), db::Error> {
        let is_known = |shown: &Shown| {
            self.shown.get(&(way_in, shown.clone())).is_some_and(|written| written.initialized())
        };
        if any_of.iter().any(is_known) {
            return Ok(());
        }
        let Some(shown) = any_of.first() else { return self.record(entry).await };
        let written = self.shown.get_with((way_in, shown.clone()), Arc::default);
        let journal = self.journal.clone();
        self.finish(async move {
            written.get_or_try_init(async || journal.write(&[entry]).await).await?;
            Ok(())
        })
        .await
    }

    /// Remembers that this was shown, for which a row is there.
    pub fn remember(&self, way_in: WayIn, shown: Shown) {
        self.shown.insert((way_in, shown), Arc::new(OnceCell::new_with(Some(()))));
    }
}
