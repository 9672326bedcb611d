//! The data set of an instance as it is to be sent.

use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use super::transcode::{Target, Transcoded, Unconvertible, targets};
use super::{Holding, Unreadable};
use crate::archive::{Archive, Error};
use crate::codec;
use crate::storage::Incoming;

/// What is converted is held in memory up to this many bytes, and in a file beyond.
const IN_MEMORY: usize = 8 << 20;

/// A data set to be read in order. Reading blocks, for no longer than the disk takes: what had to be converted has been,
/// so that nothing but the disk can fail half-way.
pub struct Sendable(Source);

enum Source {
    Stored(io::Take<std::fs::File>),
    Converted(Cursor<Vec<u8>>),
    /// A file that goes when this is dropped.
    Spooled(Box<Incoming>),
    /// Known to end well.
    Converting(Box<Transcoded>),
}

impl Read for Sendable {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Source::Stored(file) => file.read(into),
            Source::Converted(bytes) => bytes.read(into),
            Source::Spooled(spool) => spool.file().read(into),
            Source::Converting(converting) => converting.read(into),
        }
    }
}

impl Sendable {
    /// The data set of a Part 10 file, which begins there. Blocks.
    pub fn of_file(path: &Path, data_set_offset: u64) -> io::Result<Sendable> {
        let mut file = std::fs::File::open(path)?;
        file.seek(SeekFrom::Start(data_set_offset))?;
        Ok(Sendable(Source::Stored(file.take(u64::MAX))))
    }

    /// A conversion that was seen to end well once.
    pub(super) fn converting(converting: Transcoded) -> Sendable {
        Sendable(Source::Converting(Box::new(converting)))
    }
}

/// Why an instance cannot be sent to a receiver.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Unsendable {
    /// In words.
    pub why: String,
    /// It is not the instance's fault, and trying again later may help.
    pub is_passing: bool,
}

impl Unsendable {
    fn for_good(why: String) -> Unsendable {
        Unsendable { why, is_passing: false }
    }
}

impl From<&Error> for Unsendable {
    fn from(err: &Error) -> Unsendable {
        let is_of_the_file = |err: &io::Error| match err.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => true,
            _ => err.raw_os_error() == Some(libc::EIO),
        };
        let is_passing = match err {
            Error::Database(err) => err.is_transient(),
            Error::File(err) => !is_of_the_file(err),
            Error::DiskFull | Error::TimedOut | Error::Stopping => true,
        };
        let cause = std::error::Error::source(err).map(|cause| format!(": {cause}")).unwrap_or_default();
        Unsendable { why: format!("{err}{cause}"), is_passing }
    }
}

impl From<Error> for Unsendable {
    fn from(err: Error) -> Unsendable {
        Unsendable::from(&err)
    }
}

impl From<Unconvertible> for Unsendable {
    fn from(err: Unconvertible) -> Unsendable {
        match &err {
            Unconvertible::Unreadable(Unreadable::Archive(err)) => err.into(),
            Unconvertible::Frame { err: codec::Error::Busy | codec::Error::NoWorker(_), .. } => {
                Unsendable { why: err.to_string(), is_passing: true }
            }
            _ => Unsendable::for_good(err.to_string()),
        }
    }
}

impl From<Unreadable> for Unsendable {
    fn from(err: Unreadable) -> Unsendable {
        Unconvertible::from(err).into()
    }
}

impl From<io::Error> for Unsendable {
    fn from(err: io::Error) -> Unsendable {
        match err.downcast::<Unconvertible>() {
            Ok(err) => err.into(),
            Err(err) => Error::File(err).into(),
        }
    }
}

/// To which of the transfer syntaxes that `is_taken` says are taken an instance is converted, or why to none, in words.
pub(super) fn target_of(holding: &Holding, is_taken: impl Fn(&str) -> bool) -> Result<Target, Unsendable> {
    let stored = holding.transfer_syntax();
    let target = targets(stored).iter().copied().find(|target| is_taken(target.uid()));
    target.ok_or_else(|| {
        Unsendable::for_good(match targets(stored) {
            [] => format!("{stored} is not taken, and has no native form"),
            _ => format!("{stored} is not taken, nor is anything native"),
        })
    })
}

impl Archive {
    /// The data set as it is stored. Blocks.
    pub fn as_stored(&self, holding: &Holding) -> Result<Sendable, Unsendable> {
        let stored = || {
            let mut file = self.open(holding)?;
            file.seek(SeekFrom::Start(holding.start()))?;
            let there = file.metadata()?.len().saturating_sub(holding.start());
            if there != holding.length() {
                let words = "the file is not as long as it was";
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, words).into());
            }
            Ok::<Sendable, Error>(Sendable(Source::Stored(file.take(there))))
        };
        stored().map_err(|err| self.judged(err.into()))
    }

    /// Where the whole folder is away, nothing of it is lost for good.
    fn judged(&self, err: Unsendable) -> Unsendable {
        Unsendable { is_passing: err.is_passing || !self.storage().is_there(), ..err }
    }

    /// Tells the system that the file of this instance will be read soon. Only a hint.
    pub fn read_ahead(&self, holding: &Holding) {
        #[cfg(target_os = "linux")]
        if let Ok(file) = self.open(holding) {
            use std::os::fd::AsRawFd;
            // SAFETY: asks for something on an open file and touches no memory of ours.
            unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_WILLNEED) };
        }
    }

    /// The data set converted to one of the transfer syntaxes that `is_taken` says are taken, and which that is.
    ///
    /// Converts all of it on another thread first, because what fails half-way must fail before anything was sent.
    pub async fn converted(
        &self,
        holding: &Holding,
        is_taken: impl Fn(&str) -> bool,
    ) -> Result<(Sendable, Target), Unsendable> {
        let target = target_of(holding, is_taken)?;
        let converted = self.converted_to(holding, target).await;
        Ok((converted.map_err(|err| self.judged(err.into()))?, target))
    }

    /// The same to one of its [`targets`].
    pub async fn converted_to(&self, holding: &Holding, target: Target) -> Result<Sendable, Unconvertible> {
        let header = self.header(holding).await?;
        let (archive, holding) = (self.clone(), holding.clone());
        let convert = move || {
            let decoder = &archive.inner.decoder;
            let converting = archive.transcode(decoder, &holding, &header, target);
            Ok(converting.and_then(|mut all| archive.spool(&mut all)))
        };
        Ok(Sendable(self.blocking(convert).await??))
    }

    /// Reads all of it.
    fn spool(&self, converting: &mut impl Read) -> Result<Source, Unconvertible> {
        let why = |err: io::Error| match err.downcast::<Unconvertible>() {
            Ok(err) => err,
            Err(err) => Error::File(err).into(),
        };
        let mut bytes = Vec::new();
        let limit = u64::try_from(IN_MEMORY).unwrap_or(u64::MAX);
        converting.take(limit).read_to_end(&mut bytes).map_err(why)?;
        if bytes.len() < IN_MEMORY {
            return Ok(Source::Converted(Cursor::new(bytes)));
        }
        let mut spool = self.storage().begin().map_err(Error::from)?;
        while !bytes.is_empty() {
            if !self.storage().has_room().map_err(Error::from)? {
                return Err(Error::DiskFull.into());
            }
            spool.append(&bytes).map_err(Error::from)?;
            bytes.clear();
            converting.take(limit).read_to_end(&mut bytes).map_err(why)?;
        }
        spool.file().rewind().map_err(Error::from)?;
        Ok(Source::Spooled(Box::new(spool)))
    }
}
