//! The bytes of a data set as the walk sees them: a small look ahead, bounded reads, and skipping
//! that seeks where it can. A deflated data set (PS3.5 A.5) is inflated on the way, with an end to how far it may
//! swell.

use std::io::{self, Read, Seek, SeekFrom};

use flate2::{Decompress, FlushDecompress, Status};

use super::{Error, Limits};

/// What is read at once. Larger would be read in vain between the fragments of a multi-frame instance.
const BUFFER: usize = 16 * 1024;

/// Inflated bytes that no ratio is asked of: small bombs hurt nobody, and blank images compress well.
const RATIO_FREE: u64 = 16 * 1024 * 1024;

/// Where bytes come from, one after the other.
pub(in crate::dicom) trait Stream {
    /// Reads some bytes; 0 only at the end.
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Error>;
    /// Passes over up to `count` bytes and says over how many.
    fn skip(&mut self, count: u64) -> Result<u64, Error>;
    /// How many bytes there are in all, if that is known.
    fn length(&self) -> Option<u64>;
}

impl<S: Stream + ?Sized> Stream for Box<S> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Error> {
        (**self).read(into)
    }

    fn skip(&mut self, count: u64) -> Result<u64, Error> {
        (**self).skip(count)
    }

    fn length(&self) -> Option<u64> {
        (**self).length()
    }
}

/// A source as it is.
pub(in crate::dicom) struct Plain<R> {
    source: R,
    length: u64,
    left: u64,
}

impl<R> Plain<R> {
    pub(in crate::dicom) fn new(source: R, length: u64) -> Self {
        Self { source, length, left: length }
    }
}

impl<R: Read + Seek> Stream for Plain<R> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Error> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(into.len());
        let count = read_some(&mut self.source, into.get_mut(..most).unwrap_or_default())?;
        self.left = self.left.saturating_sub(count as u64);
        Ok(count)
    }

    fn skip(&mut self, count: u64) -> Result<u64, Error> {
        let count = count.min(self.left);
        let distance = i64::try_from(count).map_err(|_| io::Error::other("a file cannot be that long"))?;
        self.source.seek(SeekFrom::Current(distance)).map_err(Error::Io)?;
        self.left -= count;
        Ok(count)
    }

    fn length(&self) -> Option<u64> {
        Some(self.length)
    }
}

/// A source that is inflated while it is read.
pub(in crate::dicom) struct Inflated<R> {
    source: R,
    left: u64,
    deflated: Vec<u8>,
    from: usize,
    inflater: Decompress,
    ended: bool,
    limits: Limits,
}

impl<R: Read> Inflated<R> {
    pub(in crate::dicom) fn new(source: R, length: u64, limits: &Limits) -> Self {
        let inflater = Decompress::new(false);
        Self { source, left: length, deflated: Vec::new(), from: 0, inflater, ended: false, limits: *limits }
    }

    fn refill(&mut self) -> Result<(), Error> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(BUFFER);
        self.deflated.resize(most, 0);
        let count = read_some(&mut self.source, &mut self.deflated)?;
        self.deflated.truncate(count);
        self.from = 0;
        self.left = if count == 0 { 0 } else { self.left.saturating_sub(count as u64) };
        Ok(())
    }

    fn check_swelling(&self) -> Result<(), Error> {
        let (before, after) = (self.inflater.total_in(), self.inflater.total_out());
        let ratio_broken = after > RATIO_FREE && after / before.max(1) > self.limits.inflate_ratio;
        match after > self.limits.inflated_bytes || ratio_broken {
            true => Err(Error::InflatedTooLarge { deflated: before, inflated: after }),
            false => Ok(()),
        }
    }
}

impl<R: Read> Stream for Inflated<R> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Error> {
        while !self.ended && !into.is_empty() {
            if self.from >= self.deflated.len() {
                self.refill()?;
            }
            let (before, after) = (self.inflater.total_in(), self.inflater.total_out());
            let input = self.deflated.get(self.from..).unwrap_or_default();
            let at_end = input.is_empty();
            let status =
                self.inflater.decompress(input, into, FlushDecompress::None).map_err(|_| Error::Inflate)?;
            let taken = self.inflater.total_in() - before;
            self.from = self.from.saturating_add(usize::try_from(taken).unwrap_or(usize::MAX));
            self.ended = status == Status::StreamEnd;
            self.check_swelling()?;
            let made = self.inflater.total_out() - after;
            if made > 0 {
                return Ok(usize::try_from(made).unwrap_or(into.len()));
            }
            if at_end && !self.ended {
                return Err(Error::InflateTruncated);
            }
        }
        Ok(0)
    }

    fn skip(&mut self, count: u64) -> Result<u64, Error> {
        let mut waste = [0; BUFFER];
        let mut left = count;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(BUFFER);
            match self.read(waste.get_mut(..most).unwrap_or_default())? {
                0 => break,
                made => left = left.saturating_sub(made as u64),
            }
        }
        Ok(count - left)
    }

    fn length(&self) -> Option<u64> {
        None
    }
}

fn read_some(source: &mut impl Read, into: &mut [u8]) -> Result<usize, Error> {
    loop {
        match source.read(into) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::Io(error)),
            Ok(count) => return Ok(count.min(into.len())),
        }
    }
}

/// A stream with a look ahead and a position.
pub(in crate::dicom) struct Input<S> {
    stream: S,
    buffer: Vec<u8>,
    from: usize,
    to: usize,
    position: u64,
}

impl<S: Stream> Input<S> {
    pub(in crate::dicom) fn new(stream: S) -> Self {
        Self { stream, buffer: vec![0; BUFFER], from: 0, to: 0, position: 0 }
    }

    /// Bytes consumed so far.
    pub(in crate::dicom) fn position(&self) -> u64 {
        self.position
    }

    /// Bytes that follow, if that is known.
    pub(in crate::dicom) fn left(&self) -> Option<u64> {
        self.stream.length().map(|length| length.saturating_sub(self.position))
    }

    /// The next `N` bytes without consuming them, and how many of them exist; the rest are zero.
    pub(in crate::dicom) fn peek<const N: usize>(&mut self) -> Result<([u8; N], usize), Error> {
        while self.to - self.from < N {
            if self.buffer.len() - self.from < N {
                self.buffer.copy_within(self.from..self.to, 0);
                self.to -= self.from;
                self.from = 0;
            }
            match self.stream.read(self.buffer.get_mut(self.to..).unwrap_or_default())? {
                0 => break,
                count => self.to += count,
            }
        }
        let mut bytes = [0; N];
        let found = self.buffer.get(self.from..self.to).unwrap_or_default();
        let count = found.len().min(N);
        for (byte, found) in bytes.iter_mut().zip(found) {
            *byte = *found;
        }
        Ok((bytes, count))
    }

    /// Passes over up to `count` bytes and says over how many.
    pub(in crate::dicom) fn skip(&mut self, count: u64) -> Result<u64, Error> {
        let buffered = (self.to - self.from) as u64;
        let skipped = if count <= buffered {
            self.from += usize::try_from(count).unwrap_or_default();
            count
        } else {
            self.from = 0;
            self.to = 0;
            buffered + self.stream.skip(count - buffered)?
        };
        self.position += skipped;
        Ok(skipped)
    }

    /// The next up to `count` bytes. Memory grows with what is really there, not with what was promised.
    pub(in crate::dicom) fn take(&mut self, count: u64) -> Result<Vec<u8>, Error> {
        let first = usize::try_from(count).unwrap_or(usize::MAX).min(BUFFER);
        let mut bytes = Vec::with_capacity(first);
        let mut left = count;
        while left > 0 {
            if self.from == self.to {
                self.from = 0;
                self.to = self.stream.read(&mut self.buffer)?;
                if self.to == 0 {
                    break;
                }
            }
            let found = self.buffer.get(self.from..self.to).unwrap_or_default();
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(found.len());
            bytes.extend_from_slice(found.get(..most).unwrap_or_default());
            self.from += most;
            self.position += most as u64;
            left -= most as u64;
        }
        Ok(bytes)
    }
}
