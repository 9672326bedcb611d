//! Locks by name, which the server ties to a connection: of two programs only one prepares a database, and only one
//! serves it.

use super::schema::Unfit;
use super::{DatabaseUrl, Error, open};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, params};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

/// Takes the lock of this name for this database and this connection. Names of locks are one space for the whole
/// server and at most 64 characters, so the database stands in it as a hash.
pub(super) async fn take(conn: &mut Conn, purpose: &str, wait: Duration) -> mysql_async::Result<bool> {
    let taken: Option<Option<u8>> = conn
        .exec_first(
            "SELECT GET_LOCK(CONCAT('filmroom ', :purpose, ' ', LEFT(SHA2(DATABASE(), 256), 40)), :seconds)",
            params! { "purpose" => purpose, "seconds" => wait.as_secs() },
        )
        .await?;
    Ok(taken.flatten() == Some(1))
}

/// The right to serve a database, which one program at a time has: two would not know of each other's files.
///
/// It is a lock that the server ties to one connection. When that connection is lost, another is opened and the lock
/// taken again; where another program was faster, [`ServeLock::lost`] returns.
pub struct ServeLock {
    keeper: JoinHandle<()>,
    state: watch::Receiver<Held>,
    release: watch::Sender<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    Yes,
    /// The connection is gone and there is no other yet.
    Unknown,
    /// Another program has it.
    No,
}

/// How often the connection that holds the lock is used, so that its end is noticed.
const PING: Duration = Duration::from_secs(5);
/// How long a silent connection keeps the lock on the server: a machine that lost its power does not say goodbye.
const SILENCE_SECONDS: u32 = 30;
/// How long a new program waits for one that is just going away.
const WAIT: Duration = Duration::from_secs(3);

impl ServeLock {
    /// Takes the lock, or says that another program has it.
    pub async fn acquire(url: &DatabaseUrl) -> Result<ServeLock, Error> {
        let conn = open_and_take(url).await?;
        let (state, seen) = watch::channel(Held::Yes);
        let (release, released) = watch::channel(false);
        let keeper = tokio::spawn(keep(url.clone(), conn, state, released));
        Ok(ServeLock { keeper, state: seen, release })
    }

    /// Whether this program still has it, as far as it knows.
    pub fn is_held(&self) -> bool {
        *self.state.borrow() == Held::Yes
    }

    /// Returns when another program has taken the database over: this one must stop storing.
    /// Cancel-safe.
    pub async fn lost(&self) {
        let mut state = self.state.clone();
        // The keeper ends only when the lock is released or lost, and the sender with it.
        if state.wait_for(|held| *held == Held::No).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Gives it back.
    pub async fn release(self) {
        let ServeLock { keeper, release, state: _ } = self;
        release.send_replace(true);
        if let Err(err) = keeper.await {
            warn!("the keeper of the database lock ended badly: {err}");
        }
    }
}

async fn open_and_take(url: &DatabaseUrl) -> Result<Conn, Error> {
    let sql = |err| Error::at(url, err);
    let mut conn = open(url).await?;
    conn.query_drop(format!("SET SESSION wait_timeout = {SILENCE_SECONDS}")).await.map_err(sql)?;
    if take(&mut conn, "serve", WAIT).await.map_err(sql)? {
        return Ok(conn);
    }
    Err(Unfit::InUse { database: url.database().into() }.into())
}

/// Uses the connection every few seconds, and replaces it when it is gone.
async fn keep(url: DatabaseUrl, conn: Conn, state: watch::Sender<Held>, mut released: watch::Receiver<bool>) {
    let mut held = Some(conn);
    loop {
        // Cancel-safe: sleeping and waiting for a change of a value.
        tokio::select! {
            () = tokio::time::sleep(PING) => {}
            _ = released.wait_for(|released| *released) => break,
        }
        held = match held {
            Some(mut conn) => match tokio::time::timeout(PING, conn.ping()).await {
                Ok(Ok(())) => Some(conn),
                Ok(Err(_)) | Err(_) => {
                    warn!("lost the connection that holds the lock of database {}", url.database());
                    state.send_replace(Held::Unknown);
                    None
                }
            },
            None => None,
        };
        if held.is_some() {
            continue;
        }
        match open_and_take(&url).await {
            Ok(conn) => {
                info!("holds the lock of database {} again", url.database());
                state.send_replace(Held::Yes);
                held = Some(conn);
            }
            Err(Error::Schema(unfit)) => {
                error!("{unfit}");
                state.send_replace(Held::No);
                return;
            }
            Err(err) => warn!("cannot take the lock of database {} again: {err}", url.database()),
        }
    }
    if let Some(conn) = held
        && let Err(err) = conn.disconnect().await
    {
        warn!("the connection that held the database lock ended badly: {err}");
    }
}
