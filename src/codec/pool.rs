//! The pool of decode workers: started when first needed, kept while idle, replaced when they die.

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Error;
use super::codestream::Prepared;
use super::wire::{ANSWER_HEAD, MAX_REASON, Request, decode_answer};
use super::worker::MEMORY;

/// What one frame may cost.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Address space of a worker in bytes.
    pub memory: u64,
    /// From the first byte sent to a worker to the last byte received.
    pub time: Duration,
    /// For a worker to become free.
    pub wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory: MEMORY, time: Duration::from_secs(15), wait: Duration::from_secs(30) }
    }
}

/// A bounded number of workers; a caller has one to itself while it decodes.
#[derive(Debug)]
pub struct Pool {
    workers: usize,
    exe: PathBuf,
    limits: Limits,
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Debug, Default)]
struct State {
    idle: Vec<Worker>,
    lent: usize,
}

impl Pool {
    /// A pool of at most `workers` children; none is started yet.
    pub fn new(workers: usize, exe: PathBuf, limits: Limits) -> Self {
        Self { workers: workers.max(1), exe, limits, state: Mutex::default(), returned: Condvar::new() }
    }

    /// Has a worker decode a frame; blocks until it is done, has failed or the time is up.
    pub fn decode(&self, prepared: &Prepared) -> Result<Vec<u8>, Error> {
        let mut place = self.borrow()?;
        let mut worker = match place.worker.take() {
            Some(worker) => worker,
            None => Worker::start(&self.exe, self.limits.memory)
                .map_err(|error| Error::NoWorker(error.to_string()))?,
        };
        let name = prepared.codec.name();
        match worker.decode(prepared, Instant::now() + self.limits.time) {
            Ok(answer) => {
                place.worker = Some(worker);
                answer.map_err(|reason| Error::Damaged { format: name, reason })
            }
            // Whatever it was doing, a worker that broke the conversation is not trusted again: dropping kills it.
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(Error::TimedOut(name)),
            Err(_) => Err(Error::Crashed(name)),
        }
    }

    /// A place in the pool, with an idle worker if there is a living one.
    fn borrow(&self) -> Result<Place<'_>, Error> {
        let busy = |state: &mut State| state.lent >= self.workers;
        let (mut state, timeout) = self
            .returned
            .wait_timeout_while(self.state(), self.limits.wait, busy)
            .unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            return Err(Error::Busy);
        }
        state.lent += 1;
        let mut worker = None;
        while worker.is_none()
            && let Some(mut idle) = state.idle.pop()
        {
            if idle.is_alive() {
                worker = Some(idle);
            }
        }
        Ok(Place { pool: self, worker })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to use one worker; given back when dropped.
struct Place<'a> {
    pool: &'a Pool,
    worker: Option<Worker>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.state();
        state.lent = state.lent.saturating_sub(1);
        state.idle.extend(self.worker.take());
        drop(state);
        self.pool.returned.notify_one();
    }
}

/// A child process; killed when dropped.
#[derive(Debug)]
struct Worker {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Both fail only when the child is gone already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Worker {
    fn start(exe: &PathBuf, memory: u64) -> io::Result<Self> {
        let mut child = Command::new(exe)
            .arg("decode-worker")
            .arg(memory.to_string())
            // The environment may hold the database's password, which a codec has no business with.
            .env_clear()
            .current_dir("/")
            // A Ctrl-C at the terminal is for the archive alone.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let Some((input, output)) = pipes else {
            child.kill()?;
            child.wait()?;
            return Err(io::Error::other("its pipes are missing"));
        };
        let worker = Self { child, input, output };
        prepare_pipe(worker.input.as_raw_fd())?;
        prepare_pipe(worker.output.as_raw_fd())?;
        Ok(worker)
    }

    fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// One request and its answer. The outer error means that the worker is of no use any more.
    fn decode(&mut self, prepared: &Prepared, deadline: Instant) -> io::Result<Result<Vec<u8>, String>> {
        let request = Request::new(prepared.codec, &prepared.header, &prepared.stream);
        self.send(&request.encode(), deadline)?;
        self.send(&prepared.stream, deadline)?;

        let mut head = [0; ANSWER_HEAD];
        self.receive(&mut head, deadline)?;
        let (decoded, length) = decode_answer(&head);
        // The child may have been taken over: nothing it says decides how much memory is taken here.
        let expected = prepared.header.decoded_bytes();
        if decoded && length != expected {
            let reason = format!("{length} bytes came out where {expected} were expected");
            return if length > expected {
                Err(io::Error::other(reason))
            } else {
                self.skip(length, deadline, reason)
            };
        }
        let limit = if decoded { expected } else { u64::try_from(MAX_REASON).unwrap_or(0) };
        let length = Some(length)
            .filter(|length| *length <= limit)
            .and_then(|length| usize::try_from(length).ok())
            .ok_or_else(|| io::Error::other("an answer without end"))?;
        let mut bytes = vec![0; length];
        self.receive(&mut bytes, deadline)?;
        Ok(if decoded { Ok(bytes) } else { Err(String::from_utf8_lossy(&bytes).into_owned()) })
    }

    /// Reads away an answer of the wrong length, so that the worker can go on.
    fn skip(
        &mut self,
        length: u64,
        deadline: Instant,
        reason: String,
    ) -> io::Result<Result<Vec<u8>, String>> {
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        self.receive(&mut bytes, deadline)?;
        Ok(Err(reason))
    }

    fn send(&mut self, mut bytes: &[u8], deadline: Instant) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.input.write(bytes) {
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    wait(self.input.as_raw_fd(), libc::POLLOUT, deadline)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn receive(&mut self, mut bytes: &mut [u8], deadline: Instant) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.output.read(bytes) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => bytes = bytes.get_mut(read..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    wait(self.output.as_raw_fd(), libc::POLLIN, deadline)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Waits until the pipe is ready, the other end is closed or the deadline has passed.
fn wait(fd: RawFd, events: libc::c_short, deadline: Instant) -> io::Result<()> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let milliseconds = libc::c_int::try_from(left.as_millis()).unwrap_or(libc::c_int::MAX).max(1);
    let mut poll = libc::pollfd { fd, events, revents: 0 };
    // SAFETY: one pollfd, valid for the call. Its result does not matter: the caller tries again and sees.
    unsafe { libc::poll(&raw mut poll, 1, milliseconds) };
    Ok(())
}

/// Makes our end non-blocking, and the pipe large enough that a frame needs few turns.
fn prepare_pipe(fd: RawFd) -> io::Result<()> {
    // SAFETY: the descriptor is open and ours; the calls take no pointers.
    unsafe {
        let flags = libc::fcntl(fd, libc::F_GETFL);
        if flags < 0 || libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK) < 0 {
            return Err(io::Error::last_os_error());
        }
        // Refused where the user has too many large pipes already; the small one works too.
        #[cfg(target_os = "linux")]
        libc::fcntl(fd, libc::F_SETPIPE_SZ, 1 << 20);
    }
    Ok(())
}
