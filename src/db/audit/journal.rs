//! Who writes rows of the audit trail one after the other, and remembers where its end is.

use tokio::sync::Mutex;

use super::{Entry, Head, append_behind};
use crate::db::{self, Pool};

/// How often a row is tried where the server ends it in favour of another.
const ATTEMPTS: u32 = 5;

/// One writes at a time, and finds the end of the chain where it left it.
pub struct Journal {
    pool: Pool,
    head: Mutex<Head>,
}

impl Journal {
    /// For the trail in this database.
    pub fn new(pool: Pool) -> Journal {
        Journal { pool, head: Mutex::new(Head::default()) }
    }

    /// Writes rows. When this returns `Ok`, they are committed.
    pub async fn write(&self, entries: &[Entry]) -> Result<(), db::Error> {
        let mut head = self.head.lock().await;
        let mut conn = db::acquire(&self.pool).await?;
        let mut attempt = 1;
        loop {
            match append_behind(&mut conn, &mut head, entries).await {
                // Where somebody gave up the number that several waited for, the server ends all but one of them.
                Err(err) if db::is_transient(&err) && attempt < ATTEMPTS => attempt += 1,
                written => return Ok(written?),
            }
        }
    }
}
