//! The embedded default: a database server of our own, for whoever has not set one up.
//!
//! Without a database URL `filmroom serve` runs a private `mariadbd` (else `mysqld`) with its data in
//! `<data-dir>/mysql`. It listens on a Unix socket in a folder that only this user can enter, and on no port; that
//! is also why its accounts have no password: who can reach the socket could read the files as well.
//!
//! What holds whatever is cut off when: a half-made data folder is never taken for a whole one (it is made under
//! another name and renamed); two servers never run on one folder (a lock is held for as long as we live, and a
//! server that outlived its filmroom is stopped before another starts); a server that dies is started again.

mod install;
mod keeper;
mod program;

use crate::db::{self, DatabaseUrl};
use keeper::Keeper;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// The database inside the private server.
const DATABASE: &str = "filmroom";
/// The account that filmroom works with, in that database alone.
const ACCOUNT: &str = "filmroom";
/// The path of a Unix socket has room for 107 bytes on Linux and for 103 on macOS.
const SOCKET_PATH: usize = 103;
/// How long a server may take to recover from a crash before we give up on it.
const READY: Duration = Duration::from_secs(300);
/// The log is begun anew when it is larger than this, in bytes. The one before is kept.
const LOG_SIZE: u64 = 10 << 20;

/// Where the private server keeps its data and where its program is looked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// filmroom's data folder; the server has `mysql` in it
    pub data_dir: PathBuf,
    /// folders that may hold `mariadbd` or `mysqld`
    pub search: Vec<PathBuf>,
}

impl Options {
    /// Looks on the PATH and in the usual places.
    pub fn new(data_dir: &Path) -> Options {
        Options { data_dir: data_dir.into(), search: program::usual_places() }
    }
}

/// Why there is no private server. `Display` says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing to start.
    #[error(
        "no MySQL or MariaDB server is installed for filmroom's private database: install one (Debian, Ubuntu: \
         apt-get install mariadb-server-core mariadb-client-core; Fedora: dnf install mariadb-server; macOS: brew install \
         mariadb), or name an existing server with --database-url"
    )]
    NotInstalled,
    /// The data came from the other family of servers.
    #[error(
        "the private database in {folder} was made by {made_by}, and only another kind of server is installed: \
         install {made_by} again"
    )]
    OtherKind {
        /// the data folder of the server
        folder: PathBuf,
        /// `MariaDB` or `MySQL`
        made_by: &'static str,
    },
    /// Another filmroom lives on this data folder.
    #[error("another filmroom (process {pid}) runs on the data folder {folder}: stop it first")]
    InUse {
        /// filmroom's data folder
        folder: PathBuf,
        /// as it noted itself
        pid: String,
    },
    /// A server from before does not go away.
    #[error(
        "the private database server of an earlier run (process {pid}) does not stop: end it with kill {pid}, then \
         start filmroom again"
    )]
    StillRunning {
        /// its process
        pid: u32,
    },
    /// A file or folder could not be made.
    #[error("cannot {what} {path} for the private database: {reason}")]
    File {
        /// a verb
        what: &'static str,
        /// the file or folder
        path: PathBuf,
        /// the system's word for it
        reason: io::Error,
    },
    /// The data folder of the server could not be made.
    #[error("cannot make the private database in {folder}: {reason}")]
    Install {
        /// the data folder of the server
        folder: PathBuf,
        /// from its output
        reason: String,
    },
    /// The server came up and went away, or never answered.
    #[error("the private database server {program} does not start: {reason} (its log: {log})")]
    Start {
        /// what was started
        program: PathBuf,
        /// from its log
        reason: String,
        /// the whole log
        log: PathBuf,
    },
    /// It runs, but filmroom's database could not be made in it.
    #[error("the private database server runs, but {0}")]
    Database(#[from] db::Error),
}

/// A database server of our own that runs until [`PrivateServer::stop`].
///
/// Dropping it stops the server, too, and waits for that: a server must not be left behind by an early return.
pub struct PrivateServer {
    keeper: Option<Keeper>,
    socket: String,
    /// Made only to have a short path.
    socket_folder: Option<PathBuf>,
    /// Holds the lock on the folder until the server is gone, so it stands after the keeper.
    _lock: File,
}

/// Starts the private server of this data folder, making its database first where there is none.
pub async fn start(data_dir: &Path) -> Result<PrivateServer, Error> {
    Options::new(data_dir).start().await
}

/// filmroom's database in the private server of this data folder, while another filmroom runs it.
pub fn running(data_dir: &Path) -> Result<DatabaseUrl, Error> {
    Ok(DatabaseUrl::on_socket(&layout(data_dir)?.socket, ACCOUNT, DATABASE))
}

impl Options {
    /// See [`start`].
    pub async fn start(self) -> Result<PrivateServer, Error> {
        // Waiting for files, processes and the socket, all of it without a single await.
        let begun = Instant::now();
        let server = tokio::task::spawn_blocking(move || launch(&self)).await.unwrap_or_else(|failed| {
            std::panic::resume_unwind(failed.into_panic());
        })?;
        db::create_database(&server.administrator_url(), DATABASE, ACCOUNT).await?;
        info!(milliseconds = begun.elapsed().as_millis(), "started the private database server");
        Ok(server)
    }
}

impl PrivateServer {
    /// filmroom's database in it.
    pub fn url(&self) -> DatabaseUrl {
        DatabaseUrl::on_socket(&self.socket, ACCOUNT, DATABASE)
    }

    /// The account that may do everything, in no database.
    pub fn administrator_url(&self) -> DatabaseUrl {
        DatabaseUrl::on_socket(&self.socket, "root", "")
    }

    /// Makes the tables, or brings them up to date, and lets filmroom's account do what serving takes, no more.
    pub async fn prepare(&self) -> Result<(), Error> {
        let administrator = self.administrator_url();
        db::schema::prepare(&administrator.with_database(DATABASE)).await?;
        db::restrict(&administrator, DATABASE, ACCOUNT).await?;
        Ok(())
    }

    /// The process of the server, while there is one.
    pub fn pid(&self) -> Option<u32> {
        self.keeper.as_ref().and_then(Keeper::pid)
    }

    /// Stops the server and waits until it has written everything.
    pub async fn stop(mut self) {
        let stopped = tokio::task::spawn_blocking(move || self.stop_now()).await;
        if let Err(failed) = stopped {
            std::panic::resume_unwind(failed.into_panic());
        }
    }

    /// [`PrivateServer::stop`] for where there is no runtime. Blocks for as long as the server takes.
    pub fn stop_now(&mut self) {
        let Some(keeper) = self.keeper.take() else { return };
        keeper.stop();
        if let Some(folder) = &self.socket_folder
            && let Err(err) = fs::remove_dir_all(folder)
        {
            warn!("cannot remove {}: {err}", folder.display());
        }
    }
}

impl Drop for PrivateServer {
    fn drop(&mut self) {
        self.stop_now();
    }
}

/// Where everything is, below `<data-dir>/mysql`.
struct Layout {
    folder: PathBuf,
    data: PathBuf,
    tmp: PathBuf,
    log: PathBuf,
    pid: PathBuf,
    socket: String,
}

fn launch(options: &Options) -> Result<PrivateServer, Error> {
    let layout = layout(&options.data_dir)?;
    let lock = lock(&options.data_dir, &layout.folder)?;
    keeper::stop_others(&layout, None)?;
    let program = program::choose(&options.search, &layout.data)?;
    let mut log = open_log(&layout.log)?;
    install::install(&program, &layout, &log)?;
    let begin = log.seek(SeekFrom::End(0)).map_err(|err| file("read", &layout.log, err))?;
    let keeper = Keeper::start(&program, &layout, log).map_err(|err| file("start", &program.path, err))?;
    if let Err(failed) = wait_until_ready(&keeper, &layout) {
        keeper.stop();
        return Err(match failed {
            Failed::Silent(what) => {
                let text = read_from(&layout.log, begin);
                let reason = program::reason(&text, &program, &layout.folder).unwrap_or(what);
                Error::Start { program: program.path, reason, log: layout.log }
            }
            Failed::Other(err) => err,
        });
    }
    let socket_folder = Path::new(&layout.socket).parent().filter(|parent| *parent != layout.folder);
    Ok(PrivateServer {
        keeper: Some(keeper),
        socket_folder: socket_folder.map(Path::to_path_buf),
        socket: layout.socket,
        _lock: lock,
    })
}

fn layout(data_dir: &Path) -> Result<Layout, Error> {
    private_folder(data_dir)?;
    let data_dir = data_dir.canonicalize().map_err(|err| file("find", data_dir, err))?;
    let folder = data_dir.join("mysql");
    private_folder(&folder)?;
    // It may have been made by hand, and its mode is what guards the socket.
    fs::set_permissions(&folder, Permissions::from_mode(0o700))
        .map_err(|err| file("protect", &folder, err))?;
    let tmp = folder.join("tmp");
    private_folder(&tmp)?;
    let socket = match folder.join("socket").into_os_string().into_string() {
        Ok(path) if path.len() <= SOCKET_PATH => path,
        _ => short_socket(&folder)?,
    };
    let (data, log, pid) = (folder.join("data"), folder.join("error.log"), folder.join("pid"));
    Ok(Layout { folder, data, tmp, log, pid, socket })
}

/// A socket elsewhere for a data folder whose path is too long: in a folder that nobody else could have made or
/// can enter, of the same name every time.
fn short_socket(folder: &Path) -> Result<String, Error> {
    let mut hash = DefaultHasher::new();
    folder.hash(&mut hash);
    // SAFETY: geteuid has no preconditions and cannot fail.
    let me = unsafe { libc::geteuid() };
    let name = format!("filmroom-{me}-{:016x}", hash.finish());
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    for parent in runtime.into_iter().chain([std::env::temp_dir(), PathBuf::from("/tmp")]) {
        let place = parent.join(&name);
        let Some(path) = place.join("socket").to_str().map(str::to_owned) else { continue };
        if path.len() > SOCKET_PATH || !parent.is_dir() {
            continue;
        }
        private_folder(&place)?;
        let found = place.symlink_metadata().map_err(|err| file("read", &place, err))?;
        if !found.is_dir() || found.uid() != me || found.mode() & 0o077 != 0 {
            let reason = io::Error::new(io::ErrorKind::PermissionDenied, "it belongs to somebody else");
            return Err(file("use", &place, reason));
        }
        return Ok(path);
    }
    let reason = io::Error::new(io::ErrorKind::InvalidFilename, "its path is too long for a Unix socket");
    Err(file("use", folder, reason))
}

fn private_folder(path: &Path) -> Result<(), Error> {
    let made = DirBuilder::new().mode(0o700).recursive(true).create(path);
    made.map_err(|err| file("make", path, err))
}

/// One filmroom per folder, for as long as the file is open.
fn lock(data_dir: &Path, folder: &Path) -> Result<File, Error> {
    let path = folder.join("lock");
    let failed = |err| file("lock", &path, err);
    let mut options = OpenOptions::new();
    let mut lock = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let read = lock.read_to_string(&mut pid);
            let pid = if read.is_ok() && !pid.is_empty() { pid } else { "unknown".into() };
            return Err(Error::InUse { folder: data_dir.into(), pid });
        }
        Err(TryLockError::Error(err)) => return Err(failed(err)),
    }
    lock.set_len(0).map_err(failed)?;
    lock.write_all(std::process::id().to_string().as_bytes()).map_err(failed)?;
    Ok(lock)
}

/// The server writes to what we opened, so that even what it says before it has read its options is kept.
fn open_log(path: &Path) -> Result<File, Error> {
    if path.metadata().is_ok_and(|found| found.len() > LOG_SIZE) {
        fs::rename(path, path.with_extension("log.1")).map_err(|err| file("rename", path, err))?;
    }
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(0o600).open(path).map_err(|err| file("open", path, err))
}

fn read_from(path: &Path, begin: u64) -> String {
    let read = || -> io::Result<String> {
        let mut log = File::open(path)?;
        log.seek(SeekFrom::Start(begin))?;
        let mut text = Vec::new();
        log.take(1 << 20).read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    };
    read().unwrap_or_default()
}

enum Failed {
    /// What to say when the log says nothing.
    Silent(String),
    Other(Error),
}

/// Waits until our server answers calls. A process is hard to see in the moment of its birth, so a server that an
/// earlier filmroom started just before it was killed may turn up, and even answer in our server's place, now.
fn wait_until_ready(keeper: &Keeper, layout: &Layout) -> Result<(), Failed> {
    let begun = Instant::now();
    let (mut looked, mut told) = (begun, begun);
    loop {
        if keeper::greets(&layout.socket) && !keeper::has_others(layout, keeper.pid()) {
            return Ok(());
        }
        if looked.elapsed() > Duration::from_secs(1) {
            looked = Instant::now();
            keeper::stop_others(layout, keeper.pid()).map_err(Failed::Other)?;
        }
        if let Some(status) = keeper.has_ended() {
            return Err(Failed::Silent(format!("it ended at once ({status})")));
        }
        if begun.elapsed() > READY {
            return Err(Failed::Silent(format!("it did not answer within {} seconds", READY.as_secs())));
        }
        if told.elapsed() > Duration::from_secs(10) {
            told = Instant::now();
            info!("the private database server is still starting; after a crash this can take minutes");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn file(what: &'static str, path: &Path, reason: io::Error) -> Error {
    Error::File { what, path: path.into(), reason }
}
