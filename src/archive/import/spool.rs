//! Bytes that wait on the disk until what they belong to is known.

use std::io;
use std::os::unix::fs::FileExt;

use bytes::Bytes;

use super::super::receive::file_error;
use crate::archive::{Archive, Error};
use crate::storage::Incoming;

/// How much is read at a time, bytes.
const PIECE: usize = 256 << 10;

/// A file that is gone when this is dropped. Its methods wait for the disk.
pub struct Spool {
    archive: Archive,
    /// Made with the first bytes.
    incoming: Option<Incoming>,
    length: u64,
    failed: Option<Error>,
}

impl Spool {
    pub(super) fn new(archive: &Archive) -> Spool {
        Spool { archive: archive.clone(), incoming: None, length: 0, failed: None }
    }

    /// Bytes that have come.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Appends bytes. What goes wrong is told where they are read.
    pub fn append(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        if self.failed.is_none()
            && let Err(err) = self.try_append(bytes)
        {
            self.failed = Some(err);
        }
    }

    fn try_append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let storage = &self.archive.inner.storage;
        if !storage.has_room()? {
            return Err(Error::DiskFull);
        }
        if self.incoming.is_none() {
            self.incoming = Some(storage.begin()?);
        }
        match &mut self.incoming {
            Some(incoming) => incoming.append(bytes).map_err(file_error),
            None => Ok(()),
        }
    }

    /// Reads a part of it, piece by piece.
    pub fn read(&self, start: u64, length: u64, mut each: impl FnMut(Bytes)) -> io::Result<()> {
        if let Some(err) = &self.failed {
            return Err(io::Error::other(err.to_string()));
        }
        let Some(incoming) = &self.incoming else { return Ok(()) };
        let end = start.saturating_add(length);
        let mut at = start;
        while at < end {
            let wanted = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
            let mut bytes = vec![0; wanted];
            incoming.as_file().read_exact_at(&mut bytes, at)?;
            each(bytes.into());
            at += wanted as u64;
        }
        Ok(())
    }
}
