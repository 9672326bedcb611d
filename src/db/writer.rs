//! The connection the archive writes with: the one place of `db` that knows of COMMIT, for `archive` to call.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::{CONNECT, Error, Pool};

/// A connection of the committer's own, which is always within a transaction: the first statement after a COMMIT begins
/// the next one, so that beginning costs no round trip. Dropping it rolls back.
pub struct Writer(Conn);

impl Writer {
    /// Opens it.
    pub async fn open(pool: &Pool) -> Result<Writer, Error> {
        let opened = tokio::time::timeout(CONNECT, Conn::new(pool.options.clone())).await;
        let mut conn = opened.map_err(|_| Error::Busy)?.map_err(Error::Sql)?;
        conn.query_drop("SET SESSION autocommit = 0").await?;
        Ok(Writer(conn))
    }

    /// For statements within the transaction.
    pub fn conn(&mut self) -> &mut Conn {
        &mut self.0
    }

    /// Makes what was written durable.
    pub async fn commit(&mut self) -> Result<(), Error> {
        Ok(self.0.query_drop("COMMIT").await?)
    }

    /// Forgets what was written.
    pub async fn rollback(&mut self) -> Result<(), Error> {
        Ok(self.0.query_drop("ROLLBACK").await?)
    }
}
