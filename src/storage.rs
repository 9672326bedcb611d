//! Files of the archive: a temporary file while an instance arrives, then a final path that is never reused.
//!
//! ```text
//! <data-dir>/lock                         held while filmroom runs
//! <data-dir>/incoming/<id>.part            being received; swept at start-up
//! <data-dir>/archive/<day>/<hhmm>/<id>.dcm stored: Part 10, group 0002 ours, data set as received
//! ```
//! `<id>` is 128 random bits of our own, `<day>` and `<hhmm>` are the UTC day and minute of receipt, so that what
//! arrives together shares a directory and its fsync. No received text is ever part of a path.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};

/// The disk is full for us while this much of it is still free: the database, and everything else, lives on.
const RESERVE_BYTES: u64 = 256 * 1024 * 1024;

/// The folder that holds every instance.
#[derive(Debug, Clone)]
pub struct Storage {
    root: PathBuf,
    /// Held for as long as any clone of this lives, so that no second filmroom sweeps what this one receives.
    _lock: Arc<File>,
    /// Directories of which this process knows that they are on the disk.
    durable: Arc<Mutex<HashSet<PathBuf>>>,
}

/// Directories that are remembered: there is one a minute.
const REMEMBERED: usize = 100;

/// A file that is being written and has no final name yet. Dropping it removes it.
#[derive(Debug)]
pub struct Incoming {
    file: File,
    path: PathBuf,
    id: String,
    placed: bool,
}

/// A file under its final name that may not be on the disk yet. Dropping it removes it.
#[derive(Debug)]
pub struct Placed {
    incoming: Incoming,
    directory: PathBuf,
    stored: StoredPath,
}

/// Where a stored file is: relative to the data folder, as the `path` columns hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPath(String);

impl StoredPath {
    /// The text that goes into the `path` columns.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Storage {
    /// Opens the folder, making what is missing, and removes what was being received when the program last ended.
    /// Returns how many unfinished files were removed.
    pub fn open(data_dir: &Path) -> io::Result<(Storage, usize)> {
        make_dir(data_dir)?;
        let lock = File::create(data_dir.join("lock"))?;
        lock.try_lock().map_err(|err| match err {
            TryLockError::WouldBlock => io::Error::other("another filmroom is using it"),
            TryLockError::Error(err) => err,
        })?;
        let storage = Storage { root: data_dir.to_owned(), _lock: Arc::new(lock), durable: Arc::default() };
        make_dir(&storage.root.join("archive"))?;
        make_dir(&storage.incoming())?;
        // A folder that cannot be written must be found now, not at the first instance.
        storage.begin()?;
        let mut swept = 0;
        for entry in fs::read_dir(storage.incoming())? {
            fs::remove_file(entry?.path())?;
            swept += 1;
        }
        Ok((storage, swept))
    }

    /// Starts a new file.
    pub fn begin(&self) -> io::Result<Incoming> {
        let id = random_id()?;
        let path = self.incoming().join(format!("{id}.part"));
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o640).open(&path)?;
        Ok(Incoming { file, path, id, placed: false })
    }

    /// Gives a complete file its final name. Nothing is durable before [`Placed::sync`].
    pub fn place(&self, mut incoming: Incoming, received_at: DateTime<Utc>) -> io::Result<Placed> {
        let relative = received_at.format("archive/%Y-%m-%d/%H%M").to_string();
        let directory = self.root.join(&relative);
        self.make_durable_dirs(&directory)?;
        let relative = format!("{relative}/{}.dcm", incoming.id);
        let target = self.root.join(&relative);
        fs::rename(&incoming.path, &target)?;
        incoming.path = target;
        Ok(Placed { incoming, directory, stored: StoredPath(relative) })
    }

    /// The data folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Opens a stored file for reading, by the text of its `path` column.
    pub fn read(&self, path: &str) -> io::Result<File> {
        File::open(self.root.join(path))
    }

    /// Removes a stored file that no row refers to.
    pub fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.root.join(path))
    }

    /// Bytes that an ordinary user may still write on the disk of the data folder.
    pub fn free_bytes(&self) -> io::Result<u64> {
        Ok(self.statvfs()?.0)
    }

    /// Whether the folder of stored files is there: a disk that is not mounted is no fault of a file.
    pub fn is_there(&self) -> bool {
        self.root.join("archive").is_dir()
    }

    /// Whether there is room for more without taking what the database and the system need.
    pub fn has_room(&self) -> io::Result<bool> {
        Ok(self.free_bytes()? >= RESERVE_BYTES)
    }

    /// Size in bytes of the disk of the data folder.
    pub fn total_bytes(&self) -> io::Result<u64> {
        Ok(self.statvfs()?.1)
    }

    fn statvfs(&self) -> io::Result<(u64, u64)> {
        use std::os::unix::ffi::OsStrExt;
        let path = std::ffi::CString::new(self.root.as_os_str().as_bytes())?;
        let mut stat = std::mem::MaybeUninit::<libc::statvfs>::zeroed();
        // SAFETY: `path` is a NUL-terminated string and `stat` is a writable statvfs that outlive the call.
        let result = unsafe { libc::statvfs(path.as_ptr(), stat.as_mut_ptr()) };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: statvfs returned 0, so it filled the structure, which was zeroed before in any case.
        let stat = unsafe { stat.assume_init() };
        Ok((stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize))
    }

    /// Where files are that are not complete; a start removes them.
    pub fn incoming(&self) -> PathBuf {
        self.root.join("incoming")
    }

    /// Whoever comes second waits: a directory that another thread has just made may not be on the disk yet.
    fn make_durable_dirs(&self, directory: &Path) -> io::Result<()> {
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        if durable.contains(directory) {
            return Ok(());
        }
        let day = directory.parent().unwrap_or(&self.root);
        let archive = self.root.join("archive");
        make_dir(day)?;
        sync_dir(&archive)?;
        make_dir(directory)?;
        sync_dir(day)?;
        if durable.len() >= REMEMBERED {
            durable.clear();
        }
        durable.insert(directory.to_owned());
        Ok(())
    }
}

impl Incoming {
    /// The open file, positioned at its end while it is written.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// The open file, to be read at places of it.
    pub fn as_file(&self) -> &File {
        &self.file
    }

    /// Appends bytes.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Lets the disk begin with what has been appended, so that less is left to wait for. Only a hint: a system that
    /// does not know it loses time, nothing else.
    pub fn begin_writing(&self) {
        #[cfg(target_os = "linux")]
        {
            use std::os::fd::AsRawFd;
            // SAFETY: asks for something on an open file and touches no memory of ours.
            unsafe { libc::sync_file_range(self.file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
        }
    }
}

impl Placed {
    /// Where it will be.
    pub fn path(&self) -> &StoredPath {
        &self.stored
    }

    /// Makes the file and its directory entry durable. The entry was made before, so that the file system can write both
    /// at once. After an error nothing is left under the name.
    pub fn sync(mut self) -> io::Result<StoredPath> {
        self.incoming.file.sync_all()?;
        sync_dir(&self.directory)?;
        self.incoming.placed = true;
        Ok(self.stored.clone())
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.placed
            && let Err(err) = fs::remove_file(&self.path)
        {
            // The next start sweeps it; under its final name it is a file without a row.
            tracing::warn!(path = %self.path.display(), %err, "cannot remove an unfinished file");
        }
    }
}

/// What of a file is in memory from there on, at most so many bytes. The disk is not waited for: nothing may come
/// although there is more.
pub fn read_from_memory(file: &File, offset: u64, most: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(most);
    #[cfg(target_os = "linux")]
    {
        use std::os::fd::AsRawFd;
        let room = bytes.spare_capacity_mut();
        let part = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: most.min(room.len()) };
        let Ok(offset) = libc::off_t::try_from(offset) else { return bytes };
        // SAFETY: the vector is of one part, which is spare capacity of `bytes` and stays so during the call.
        let read = unsafe { libc::preadv2(file.as_raw_fd(), &part, 1, offset, libc::RWF_NOWAIT) };
        if let Ok(read) = usize::try_from(read) {
            // SAFETY: `bytes` is empty, and so many bytes of its capacity were written.
            unsafe { bytes.set_len(read) };
        }
    }
    bytes
}

fn random_id() -> io::Result<String> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(hex::encode(bytes))
}

fn make_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o750).create(path)
}

fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
