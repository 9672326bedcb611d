//! A database for each test, on one private server for all of them.
//!
//! `FILMROOM_TEST_DATABASE_URL` names another server instead, for an account that may create and drop databases; the
//! database in the URL is not touched.

use filmroom::db::{self, DatabaseUrl};
use filmroom::private_server::{Options, PrivateServer};
use mysql_async::prelude::Queryable;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::OnceCell;

/// An empty database that goes away with this.
pub struct TestDatabase {
    pub url: DatabaseUrl,
    pub name: String,
}

impl TestDatabase {
    /// A connection to it, to look at what the program has done.
    pub async fn connect(&self) -> mysql_async::Conn {
        db::open(&self.url).await.unwrap_or_else(|err| panic!("{err}"))
    }
}

/// A database without tables. Fails the test where there is no server.
pub async fn fresh() -> TestDatabase {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("filmroom_test_{}_{number}", std::process::id());
    let administrator = administrator().await;
    statement(&administrator, &format!("CREATE DATABASE {name} CHARACTER SET utf8mb4")).await;
    TestDatabase { url: administrator.with_database(&name), name }
}

/// The account that may do everything on the tests' server, in no database.
pub async fn administrator() -> DatabaseUrl {
    static SERVER: OnceCell<Result<DatabaseUrl, String>> = OnceCell::const_new();
    match SERVER.get_or_init(server).await {
        Ok(url) => url.clone(),
        Err(sentence) => panic!("the tests need a database server: {sentence}"),
    }
}

/// Runs one statement as this account.
pub async fn statement(url: &DatabaseUrl, statement: &str) {
    let mut conn = db::open(url).await.unwrap_or_else(|err| panic!("{err}"));
    conn.query_drop(statement).await.unwrap_or_else(|err| panic!("{statement}: {err}"));
    conn.disconnect().await.unwrap_or_else(|err| panic!("{err}"));
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (url, name) = (self.url.with_database(""), self.name.clone());
        // A runtime of its own: the test's cannot be waited on from here, and may be gone.
        let dropped = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(drop_database(&url, &name));
        });
        if dropped.join().is_err() && !std::thread::panicking() {
            panic!("the database of this test could not be dropped");
        }
    }
}

/// Ends what is still connected first: a transaction that was left open would be waited for.
async fn drop_database(administrator: &DatabaseUrl, name: &str) {
    let mut conn = db::open(administrator).await.unwrap_or_else(|err| panic!("{err}"));
    for id in connected_to(&mut conn, name).await {
        // It may have ended by itself.
        drop(conn.query_drop(format!("KILL {id}")).await);
    }
    let dropped = conn.query_drop(format!("DROP DATABASE IF EXISTS {name}")).await;
    dropped.unwrap_or_else(|err| panic!("{err}"));
    conn.disconnect().await.unwrap_or_else(|err| panic!("{err}"));
}

/// The connections to this database.
async fn connected_to(conn: &mut mysql_async::Conn, name: &str) -> Vec<u64> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let connected =
            conn.exec("SELECT id FROM information_schema.processlist WHERE db = ?", (name,)).await;
        match connected {
            // MySQL fails where a statement that any connection is running has a character of four bytes in it.
            Err(mysql_async::Error::Server(err)) if err.code == 3854 && attempt < 50 => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            connected => return connected.unwrap_or_else(|err| panic!("{err}")),
        }
    }
}

async fn server() -> Result<DatabaseUrl, String> {
    if let Ok(url) = std::env::var("FILMROOM_TEST_DATABASE_URL") {
        let url: DatabaseUrl = url.parse().map_err(|err| format!("FILMROOM_TEST_DATABASE_URL: {err}"))?;
        return Ok(url.with_database(""));
    }
    let tests = Path::new(env!("CARGO_TARGET_TMPDIR"));
    sweep(tests);
    let folder = tests.join(format!("database-{}", std::process::id()));
    let server = Options::new(&folder).start().await.map_err(|err| err.to_string())?;
    let url = server.administrator_url();
    *RUNNING.lock().expect("nobody panics with this lock") = Some((server, folder));
    // The test harness ends the process without dropping statics. Where it is killed instead, the server goes
    // with its parent.
    // SAFETY: the function is registered once and lives as long as the program.
    unsafe { libc::atexit(stop) };
    Ok(url)
}

static RUNNING: Mutex<Option<(PrivateServer, PathBuf)>> = Mutex::new(None);

extern "C" fn stop() {
    let running = RUNNING.lock().ok().and_then(|mut running| running.take());
    if let Some((mut server, folder)) = running {
        server.stop_now();
        if let Err(err) = std::fs::remove_dir_all(&folder) {
            eprintln!("cannot remove {}: {err}", folder.display());
        }
    }
}

/// Removes what test runs that were killed have left.
fn sweep(tests: &Path) {
    let Ok(entries) = std::fs::read_dir(tests) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(pid) = name.strip_prefix("database-").and_then(|pid| pid.parse::<i32>().ok()) else {
            continue;
        };
        // SAFETY: signal 0 only asks whether the process is there.
        if unsafe { libc::kill(pid, 0) } != 0
            && let Err(err) = std::fs::remove_dir_all(entry.path())
        {
            eprintln!("cannot remove {name}: {err}");
        }
    }
}
