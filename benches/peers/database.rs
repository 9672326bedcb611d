//! The database server that filmroom and its peers share: durable settings, a gigabyte of buffers, no binary log.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder};

/// A running MariaDB that ends with this.
pub struct Database {
    child: Child,
    folder: PathBuf,
    socket: PathBuf,
    runtime: tokio::runtime::Runtime,
}

impl Database {
    /// Makes a server in `folder`, or takes the one that is there.
    pub fn start(folder: &Path) -> io::Result<Database> {
        let data = folder.join("mariadb");
        let socket = folder.join("mariadb.sock");
        let user = format!("--user={}", current_user()?);
        if !data.join("mysql").exists() {
            std::fs::create_dir_all(&data)?;
            let made = program("mariadb-install-db")
                .args([&user, "--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"])
                .arg(format!("--datadir={}", data.display()))
                .stdout(Stdio::null())
                .status()?;
            if !made.success() {
                return Err(io::Error::other("mariadb-install-db failed"));
            }
        }
        let log = std::fs::File::create(folder.join("mariadb.log"))?;
        let child = program("mariadbd")
            .args(["--no-defaults", &user, "--skip-networking", "--skip-log-bin", "--skip-name-resolve"])
            .args(["--innodb-flush-log-at-trx-commit=1", "--innodb-buffer-pool-size=1G"])
            .args(["--innodb-log-file-size=512M", "--max-connections=200"])
            .arg(format!("--datadir={}", data.display()))
            .arg(format!("--socket={}", socket.display()))
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut database = Database { child, folder: folder.to_owned(), socket, runtime };
        database.wait()?;
        Ok(database)
    }

    fn wait(&mut self) -> io::Result<()> {
        let start = Instant::now();
        loop {
            match self.connect("") {
                Ok(_) => return Ok(()),
                Err(err) if self.child.try_wait()?.is_some() || start.elapsed() > Duration::from_secs(60) => {
                    let log = self.folder.join("mariadb.log");
                    return Err(io::Error::other(format!(
                        "MariaDB does not start ({err}): see {}",
                        log.display()
                    )));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    /// Where its Unix socket is.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The URL of one of its databases.
    pub fn url(&self, database: &str) -> String {
        format!("mysql://root@/{database}?socket={}", self.socket.display())
    }

    fn options(&self, database: &str) -> Opts {
        let name = Some(database).filter(|name| !name.is_empty());
        let socket = self.socket.display().to_string();
        OptsBuilder::default().user(Some("root")).socket(Some(socket)).db_name(name).into()
    }

    /// A connection to one of its databases, for [`run`](Self::run).
    pub fn connect(&self, database: &str) -> io::Result<Conn> {
        self.run(Conn::new(self.options(database)))
    }

    /// Waits for something asked of the server.
    pub fn run<T>(&self, asked: impl Future<Output = mysql_async::Result<T>>) -> io::Result<T> {
        self.runtime.block_on(asked).map_err(io::Error::other)
    }

    /// Makes `database` anew, empty.
    pub fn recreate(&self, database: &str) -> io::Result<()> {
        let mut conn = self.connect("")?;
        self.run(conn.query_drop(format!("DROP DATABASE IF EXISTS {database}")))?;
        self.run(conn.query_drop(format!("CREATE DATABASE {database} CHARACTER SET utf8mb4")))
    }

    /// Bytes of the table files of `database`, once what is pending is written.
    pub fn size(&self, database: &str) -> io::Result<u64> {
        let mut conn = self.connect(database)?;
        let tables: Vec<String> = self.run(conn.query("SHOW TABLES"))?;
        self.run(conn.query_drop(format!("FLUSH TABLES `{}` FOR EXPORT", tables.join("`, `"))))?;
        let size = folder_size(&self.folder.join("mariadb").join(database));
        self.run(conn.query_drop("UNLOCK TABLES"))?;
        size
    }

    /// Waits until what was written before is in its files, so that no row pays for the one before it.
    pub fn settle(&self) -> io::Result<()> {
        let mut conn = self.connect("")?;
        let usual: Option<f64> = self.run(conn.query_first("SELECT @@innodb_max_dirty_pages_pct"))?;
        self.run(conn.query_drop("SET GLOBAL innodb_max_dirty_pages_pct = 0"))?;
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(60) {
            let dirty: Option<(String, u64)> =
                self.run(conn.query_first("SHOW GLOBAL STATUS LIKE 'Innodb_buffer_pool_pages_dirty'"))?;
            if dirty.is_none_or(|(_, pages)| pages < 100) {
                break;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        let usual = usual.unwrap_or(90.0);
        self.run(conn.query_drop(format!("SET GLOBAL innodb_max_dirty_pages_pct = {usual}")))
    }

    /// Its version, as it says.
    pub fn version(&self) -> io::Result<String> {
        let mut conn = self.connect("")?;
        Ok(self.run(conn.query_first("SELECT VERSION()"))?.unwrap_or_default())
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        super::process::end(&mut self.child);
    }
}

/// A program of the database server's packages, which are not on everybody's PATH.
fn program(name: &str) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let places = format!("{path}:/usr/sbin:/usr/libexec:/usr/local/sbin");
    let found = places.split(':').map(|place| Path::new(place).join(name)).find(|place| place.exists());
    Command::new(found.unwrap_or_else(|| name.into()))
}

fn current_user() -> io::Result<String> {
    let output = Command::new("id").arg("-un").output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Bytes of all files below `folder`.
pub fn folder_size(folder: &Path) -> io::Result<u64> {
    let mut size = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        size += if metadata.is_dir() { folder_size(&entry.path())? } else { metadata.len() };
    }
    Ok(size)
}
