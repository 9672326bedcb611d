//! Keeps one server process running: starts it, starts it again when it dies, stops it.

use super::install::{as_root, option};
use super::program::{Kind, Program};
use super::{Error, Layout};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tracing::{error, info, warn};

/// How long a server may take to write everything before it is ended by force. InnoDB recovers from that.
const STOP: Duration = Duration::from_secs(60);
/// How long one that takes no calls may take to start taking them, or to end by itself.
const STOP_SILENT: Duration = Duration::from_secs(10);
/// How soon the end of a server is noticed.
const LOOK: Duration = Duration::from_millis(200);

/// The thread that is parent to the server.
///
/// It is a thread of its own because Linux ends the child with the thread that started it (see [`child`]), and the
/// runtime's threads come and go.
pub(super) struct Keeper {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    socket: String,
}

struct State {
    child: Option<Child>,
    stopping: bool,
    ended: Option<ExitStatus>,
}

impl Shared {
    /// The state is whole after every statement, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keeper {
    /// Starts the process; whether the server in it comes up is another question.
    pub fn start(program: &Program, layout: &Layout, log: File) -> io::Result<Keeper> {
        let state = State { child: None, stopping: false, ended: None };
        let socket = layout.socket.clone();
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new(), socket });
        let (started, wait) = mpsc::channel();
        let spawn = {
            let (program, arguments, pid) =
                (program.path.clone(), arguments(program, layout), layout.pid.clone());
            move || child(&program, &arguments, &log, &pid)
        };
        let thread = thread::Builder::new().name("private-database".into()).spawn({
            let shared = Arc::clone(&shared);
            move || {
                match spawn() {
                    Ok(child) => shared.lock().child = Some(child),
                    Err(err) => {
                        // The starter waits for this, and its end of the channel outlives it.
                        drop(started.send(Err(err)));
                        return;
                    }
                }
                drop(started.send(Ok(())));
                keep(&shared, spawn);
            }
        })?;
        wait.recv().map_err(io::Error::other)??;
        Ok(Keeper { shared, thread })
    }

    pub fn pid(&self) -> Option<u32> {
        self.shared.lock().child.as_ref().map(Child::id)
    }

    /// How the process ended, if it ever did.
    pub fn has_ended(&self) -> Option<ExitStatus> {
        self.shared.lock().ended
    }

    pub fn stop(self) {
        self.shared.lock().stopping = true;
        self.shared.changed.notify_all();
        if self.thread.join().is_err() {
            error!("the keeper of the private database server panicked");
        }
    }
}

fn keep(shared: &Shared, spawn: impl Fn() -> io::Result<Child>) {
    let mut pause = Duration::from_secs(1);
    loop {
        let begun = Instant::now();
        let Some(status) = wait(shared) else { return };
        error!("the private database server ended ({status}); starting it again");
        if begun.elapsed() > Duration::from_secs(60) {
            pause = Duration::from_secs(1);
        }
        loop {
            let state = shared.lock();
            let not_yet = |state: &mut State| !state.stopping;
            let (mut state, _) = shared
                .changed
                .wait_timeout_while(state, pause, not_yet)
                .unwrap_or_else(PoisonError::into_inner);
            if state.stopping {
                return;
            }
            pause = (pause * 2).min(Duration::from_secs(30));
            match spawn() {
                Ok(child) => {
                    state.child = Some(child);
                    break;
                }
                Err(err) => error!("cannot start the private database server again: {err}"),
            }
        }
    }
}

/// Waits until the process has ended by itself (its status) or was told to (none).
fn wait(shared: &Shared) -> Option<ExitStatus> {
    let mut told: Option<Termination> = None;
    loop {
        let mut state = shared.lock();
        let child = state.child.as_mut()?;
        match child.try_wait() {
            Ok(None) => {}
            Ok(Some(status)) => {
                state.child = None;
                state.ended = Some(status);
                return if told.is_some() || state.stopping { None } else { Some(status) };
            }
            Err(err) => {
                error!("cannot watch the private database server: {err}");
                return None;
            }
        }
        if state.stopping
            && let Some(child) = &state.child
        {
            told.get_or_insert_with(Termination::begin).urge(child.id(), &shared.socket);
        }
        let pause = if told.is_some() { LOOK / 20 } else { LOOK };
        drop(shared.changed.wait_timeout(state, pause));
    }
}

/// Asks a server to stop, and ends it by force when it does not.
///
/// MariaDB hangs for good when it is asked while it starts. So it is asked when it answers calls, and one that answers
/// none for a while is ended: it starts without end, or was asked too early by another.
struct Termination {
    begun: Instant,
    asked: bool,
}

impl Termination {
    fn begin() -> Termination {
        Termination { begun: Instant::now(), asked: false }
    }

    /// To be called again and again until the process is gone.
    fn urge(&mut self, pid: u32, socket: &str) {
        let ask = !self.asked && greets(socket);
        let patience = if self.asked { STOP } else { STOP_SILENT };
        let signal = if ask {
            self.asked = true;
            libc::SIGTERM
        } else if self.begun.elapsed() > patience {
            warn!("the private database server does not stop and is ended by force");
            libc::SIGKILL
        } else {
            return;
        };
        if let Ok(pid) = i32::try_from(pid) {
            // SAFETY: kill takes any numbers; the process is a child not yet waited for, or was just recognised.
            unsafe { libc::kill(pid, signal) };
        }
    }
}

fn child(program: &Path, arguments: &[std::ffi::OsString], log: &File, pid: &Path) -> io::Result<Child> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?);
    // In a group of its own: Ctrl-C is for filmroom, which stops the server when it no longer needs it.
    command.process_group(0);
    #[cfg(target_os = "linux")]
    {
        let parent = std::process::id();
        let die_with_parent = move || {
            // SAFETY: prctl and getppid are async-signal-safe and touch no memory of ours.
            let orphan = unsafe {
                if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) != 0 {
                    return Err(io::Error::last_os_error());
                }
                libc::getppid()
            };
            // The parent may have died before it could be watched.
            if i32::try_from(parent).is_ok_and(|parent| parent == orphan) {
                Ok(())
            } else {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        };
        // SAFETY: the closure allocates nothing and takes no lock.
        unsafe { command.pre_exec(die_with_parent) };
    }
    let child = command.spawn()?;
    fs::write(pid, child.id().to_string())?;
    Ok(child)
}

fn arguments(program: &Program, layout: &Layout) -> Vec<std::ffi::OsString> {
    let mut all: Vec<std::ffi::OsString> = vec![
        "--no-defaults".into(),
        option("--datadir=", &layout.data),
        option("--socket=", Path::new(&layout.socket)),
        option("--pid-file=", &layout.pid),
        option("--tmpdir=", &layout.tmp),
    ];
    let common = [
        "--skip-networking",
        "--skip-name-resolve",
        "--skip-log-bin",
        "--innodb-flush-log-at-trx-commit=1",
        "--innodb-doublewrite=ON",
        "--innodb-buffer-pool-size=64M",
        "--character-set-server=utf8mb4",
        "--max-allowed-packet=64M",
        "--max-connections=100",
        "--performance-schema=OFF",
        "--local-infile=OFF",
        "--key-buffer-size=1M",
    ];
    all.extend(common.map(Into::into));
    let own: &[&str] = match program.kind {
        Kind::MariaDb => &["--innodb-log-file-size=32M", "--aria-pagecache-buffer-size=8M"],
        Kind::MySql => &["--mysqlx=OFF", "--secure-file-priv=NULL"],
    };
    all.extend(own.iter().chain(as_root().iter()).map(Into::into));
    all
}

/// Whether a server answers who calls, as it does once it is ready: a packet that begins with protocol version 10, or
/// an error when it is full.
pub(super) fn greets(socket: &str) -> bool {
    let greeting = || -> io::Result<[u8; 5]> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        let mut start = [0; 5];
        stream.read_exact(&mut start)?;
        Ok(start)
    };
    matches!(greeting(), Ok([_, _, _, _, 10 | 0xFF]))
}

/// Stops the server that an earlier filmroom left behind when it was killed. We hold the lock on the folder, so
/// nobody else looks after it.
pub(super) fn stop_earlier(layout: &Layout) -> Result<(), Error> {
    let Ok(noted) = fs::read_to_string(&layout.pid) else { return Ok(()) };
    let Ok(pid) = noted.trim().parse::<u32>() else { return Ok(()) };
    if !is_ours(pid, &layout.data) {
        return Ok(());
    }
    info!(pid, "stopping the private database server of an earlier run");
    let mut termination = Termination::begin();
    while is_ours(pid, &layout.data) {
        if termination.begun.elapsed() > STOP * 2 {
            return Err(Error::StillRunning { pid });
        }
        termination.urge(pid, &layout.socket);
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Whether the process is a server on this data folder: numbers of processes are used again. A process that has
/// ended but was not waited for has no command line, and is none.
fn is_ours(pid: u32, data: &Path) -> bool {
    let datadir = option("--datadir=", data);
    match fs::read(PathBuf::from(format!("/proc/{pid}/cmdline"))) {
        Ok(command) => {
            command.split(|byte| *byte == 0).any(|argument| argument == datadir.as_encoded_bytes())
        }
        Err(_) if Path::new("/proc/self").exists() => false,
        Err(_) => {
            let asked = Command::new("ps").args(["-o", "command=", "-p", &pid.to_string()]).output();
            asked.is_ok_and(|asked| {
                let command = String::from_utf8_lossy(&asked.stdout).into_owned();
                command.contains(datadir.to_string_lossy().as_ref())
            })
        }
    }
}
