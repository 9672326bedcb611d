//! The database: connections, sessions and errors; a file per table family beside this one.
//!
//! All SQL of the program stands in this folder and in `schema.sql`. Functions here take a connection and never
//! commit; the caller owns the transaction. The same SQL runs on MySQL 8.0 and later and MariaDB 10.6 and later,
//! because every session is set to the same time zone, isolation, strictness and character set.
//!
//! Three rules keep a connection trustworthy. State of a session (locks by name, temporary tables, variables) is
//! only made on a connection of its own, because connections go back to the pool without a reset, which keeps
//! their prepared statements. A connection on which a statement was given up (a timeout, a cancelled future) is
//! dropped, never used again: the answer to the old statement would be read as the answer to the next one. And no
//! statement is put together from input: the protocol would run a second one after a semicolon.

pub mod audit;
pub mod commitment;
mod encryption;
mod error;
pub mod frame;
pub mod group;
pub mod ingest;
pub mod instance;
pub mod job;
mod lock;
pub mod matching;
pub mod patient;
pub mod peer;
pub mod quarantine;
pub mod role;
mod row;
pub mod schema;
pub mod search;
pub mod series;
mod server;
pub mod session;
pub mod setting;
pub mod share;
pub mod study;
pub mod token;
mod upgrades;
mod url;
pub mod user;
pub mod visibility;
mod writer;

pub use self::error::{Error, is_duplicate, is_transient};
pub use self::lock::ServeLock;
pub use self::server::{ServerInfo, ServerKind, Warning, durability, server_info};
pub use self::url::{DatabaseUrl, InvalidUrl};
pub use self::writer::Writer;

use mysql_async::{Conn, Opts, OptsBuilder, PoolConstraints, PoolOpts, prelude::Queryable};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// How long a caller waits for a connection before it is told that the database is busy.
const ACQUIRE: Duration = Duration::from_secs(10);
/// How long a new connection may take, greeting and password included.
const CONNECT: Duration = Duration::from_secs(10);
/// How long one statement may run on the server. Nothing a page or a peer asks for takes this long.
const STATEMENT: Duration = Duration::from_secs(60);

/// Connections to one database. Cheap to clone.
///
/// A connection belongs to the runtime that opened it and dies with it, and HTTP workers have a runtime each.
/// So connections are opened on the runtime of [`connect`], whichever thread asks.
#[derive(Clone)]
pub struct Pool {
    connections: mysql_async::Pool,
    /// How one more connection outside the pool is opened.
    options: Opts,
    home: Handle,
    server: Arc<ServerInfo>,
}

impl Pool {
    /// The server at the other end, as it described itself when the pool was made.
    pub fn server(&self) -> &ServerInfo {
        &self.server
    }

    /// Says goodbye to the server. Waits for the connections that are still in use.
    pub async fn close(self) -> mysql_async::Result<()> {
        self.connections.disconnect().await
    }
}

/// A pool for this database, after one connection has shown that the address, the password, the rights to the
/// database and the version of the server are good.
pub async fn connect(url: &DatabaseUrl) -> Result<Pool, Error> {
    let mut first = open(url).await?;
    let server = server_info(&mut first).await.map_err(|err| Error::at(url, err))?;
    first.disconnect().await.map_err(|err| Error::at(url, err))?;
    server.check()?;

    let constraints = PoolConstraints::new(4, 32).unwrap_or_default();
    let pool = PoolOpts::new()
        .with_constraints(constraints)
        .with_inactive_connection_ttl(Duration::from_secs(60))
        .with_ttl_check_interval(Duration::from_secs(30))
        .with_reset_connection(false);
    let single = options(url, STATEMENT);
    Ok(Pool {
        connections: mysql_async::Pool::new(Opts::from(single.clone().pool_opts(pool))),
        options: Opts::from(single),
        home: Handle::current(),
        server: Arc::new(server),
    })
}

/// A connection from the pool, within ten seconds.
pub async fn acquire(pool: &Pool) -> Result<Conn, Error> {
    let get = tokio::time::timeout(ACQUIRE, pool.connections.get_conn());
    let got = if Handle::current().id() == pool.home.id() {
        get.await
    } else {
        let connections = pool.connections.clone();
        let get = async move { tokio::time::timeout(ACQUIRE, connections.get_conn()).await };
        pool.home.spawn(get).await.map_err(|_| Error::Stopping)?
    };
    got.map_err(|_| Error::Busy)?.map_err(Error::Sql)
}

/// A connection of its own, outside any pool: for locks by name and for changes of the schema.
/// Its statements may run for as long as they need.
pub async fn open(url: &DatabaseUrl) -> Result<Conn, Error> {
    let options = Opts::from(options(url, Duration::ZERO));
    match tokio::time::timeout(CONNECT, Conn::new(options)).await {
        Ok(Ok(conn)) => Ok(conn),
        Ok(Err(err)) => Err(Error::at(url, err)),
        Err(_) => Err(Error::Silent { place: url.place() }),
    }
}

/// `statement_limit` zero means none.
fn options(url: &DatabaseUrl, statement_limit: Duration) -> OptsBuilder {
    url.options()
        .prefer_socket(false)
        .tcp_keepalive(Some(Duration::from_secs(30)))
        .stmt_cache_size(256)
        .setup(session(statement_limit))
}

/// Makes both servers' sessions alike. What only one of them knows stands in a comment that the other skips.
/// `ONLY_FULL_GROUP_BY` is left out because the two disagree about what it forbids.
fn session(statement_limit: Duration) -> Vec<String> {
    let seconds = statement_limit.as_secs();
    let milliseconds = statement_limit.as_millis();
    vec![
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED".into(),
        format!(
            "SET NAMES utf8mb4 COLLATE utf8mb4_unicode_520_ci,
                 SESSION time_zone = '+00:00',
                 SESSION sql_mode = 'STRICT_TRANS_TABLES,STRICT_ALL_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,\
                                     ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION',
                 SESSION autocommit = 1,
                 SESSION foreign_key_checks = 1,
                 SESSION unique_checks = 1,
                 SESSION sql_auto_is_null = 0,
                 SESSION sql_safe_updates = 0,
                 SESSION group_concat_max_len = 1048576,
                 SESSION innodb_lock_wait_timeout = 15,
                 SESSION lock_wait_timeout = 60
                 /*!80000 , SESSION max_execution_time = {milliseconds} */
                 /*M!100600 , SESSION max_statement_time = {seconds} */"
        ),
    ]
}

/// Creates what a server of our own needs: a database and an account in it. What that may do, [`restrict`] says.
pub async fn create_database(
    administrator: &DatabaseUrl,
    database: &str,
    account: &str,
) -> Result<(), Error> {
    let mut conn = open(administrator).await?;
    let database = url::quoted(database);
    let account = url::account(account, "localhost");
    let statements = [
        format!("CREATE DATABASE IF NOT EXISTS {database} CHARACTER SET utf8mb4"),
        format!("CREATE USER IF NOT EXISTS {account}"),
        format!("GRANT SELECT, INSERT ON {}.* TO {account}", url::pattern(&database)),
    ];
    for statement in statements {
        conn.query_drop(statement).await.map_err(|err| Error::at(administrator, err))?;
    }
    conn.disconnect().await.map_err(|err| Error::at(administrator, err))
}

/// Tables of which the program changes no row that is there: the audit trail, and the version, which goes up as the
/// tables are upgraded.
const APPEND_ONLY: [&str; 2] = ["audit", "schema_version"];

/// Lets the account of a server of our own do in the database what serving takes, and nothing more: rows of the audit
/// trail are put in and read. The tables have to be there.
pub async fn restrict(administrator: &DatabaseUrl, database: &str, account: &str) -> Result<(), Error> {
    let at = |err| Error::at(administrator, err);
    let mut conn = open(administrator).await?;
    let account = url::account(account, "localhost");
    let tables: Vec<String> = conn
        .exec(
            "SELECT CAST(table_name AS CHAR)
               FROM information_schema.tables
              WHERE table_schema = ? AND table_type = 'BASE TABLE'",
            (database,),
        )
        .await
        .map_err(at)?;
    let database = url::quoted(database);
    let mut statements = vec![
        format!("REVOKE ALL PRIVILEGES, GRANT OPTION FROM {account}"),
        format!("GRANT SELECT, INSERT ON {}.* TO {account}", url::pattern(&database)),
    ];
    for table in tables.iter().filter(|table| !APPEND_ONLY.contains(&table.as_str())) {
        statements.push(format!("GRANT UPDATE, DELETE ON {database}.{} TO {account}", url::quoted(table)));
    }
    for statement in statements {
        conn.query_drop(statement).await.map_err(at)?;
    }
    conn.disconnect().await.map_err(at)
}
