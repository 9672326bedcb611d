//! The bytes of a data set, header by header: what every walk over one does alike, whatever it does with the values.

use dicom_core::Tag;

use super::Error;
use super::header::{Header, Scope};
use super::source::{Input, Stream};

/// A stream with the last element that was read from it.
pub(in crate::dicom) struct Reader<S> {
    input: Input<S>,
    /// The last element seen, to name the place of an error.
    pub(in crate::dicom) last: Tag,
}

impl<S: Stream> Reader<S> {
    pub(in crate::dicom) fn new(stream: S) -> Self {
        Self { input: Input::new(stream), last: Tag(0, 0) }
    }

    /// Bytes consumed so far.
    pub(in crate::dicom) fn position(&self) -> u64 {
        self.input.position()
    }

    /// Bytes that follow, if that is known.
    pub(in crate::dicom) fn left(&self) -> Option<u64> {
        self.input.left()
    }

    /// The next `N` bytes without consuming them, and how many of them exist.
    pub(in crate::dicom) fn peek<const N: usize>(&mut self) -> Result<([u8; N], usize), Error> {
        self.input.peek::<N>()
    }

    /// Passes over a header that was seen.
    pub(in crate::dicom) fn pass(&mut self, size: u64) -> Result<(), Error> {
        self.input.skip(size).map(|_| ())
    }

    /// Whether the elements of this data set carry their VR, as their first one shows it, whatever was declared.
    pub(in crate::dicom) fn settle(&mut self, scope: &mut Scope) -> Result<(), Error> {
        let (bytes, count) = self.input.peek::<8>()?;
        if count == 8 {
            scope.settle(bytes, self.room(scope));
        }
        Ok(())
    }

    /// The next header, without consuming it; `None` at the end. Fewer than eight zeros at the end are padding.
    pub(in crate::dicom) fn header(&mut self, scope: &Scope) -> Result<Option<Header>, Error> {
        let (bytes, found) = self.input.peek::<12>()?;
        let room = self.room(scope);
        let count = room.map_or(found, |room| usize::try_from(room).unwrap_or(usize::MAX).min(found));
        if count < 8 && bytes.iter().take(count).all(|&byte| byte == 0) {
            self.input.skip(count as u64)?;
            return Ok(None);
        }
        match Header::read(bytes, count, room, scope) {
            None => Err(Error::Truncated { tag: self.last, position: self.input.position() + count as u64 }),
            header => Ok(header),
        }
    }

    /// Some writers fill the last block of a file with zeros.
    pub(in crate::dicom) fn padding(&mut self) -> Result<(), Error> {
        loop {
            let position = self.input.position();
            let bytes = self.input.take(4096)?;
            if bytes.is_empty() {
                return Ok(());
            }
            if bytes.iter().any(|&byte| byte != 0) {
                return Err(Error::Unexpected { tag: Tag(0, 0), position });
            }
        }
    }

    /// Bytes up to the end of the data set the walk is in, if that is known.
    fn room(&self, scope: &Scope) -> Option<u64> {
        let left = self.input.left();
        let to_end = scope.end.map(|end| end.saturating_sub(self.input.position()));
        match (left, to_end) {
            (Some(left), Some(to_end)) => Some(left.min(to_end)),
            (left, to_end) => left.or(to_end),
        }
    }

    /// No length is believed: whether there is room for it is asked before anything is read.
    pub(in crate::dicom) fn expect(&self, scope: &Scope, tag: Tag, declared: u64) -> Result<(), Error> {
        match self.room(scope) {
            Some(available) if declared > available => {
                Err(Error::LengthBeyondEnd { tag, declared, available })
            }
            _ => Ok(()),
        }
    }

    /// A sequence or item of defined length must have been there to its end. Only where the length of the whole is
    /// not known, in a deflated data set, can this be seen so late.
    pub(in crate::dicom) fn is_through(&self, scope: &Scope, tag: Tag, start: u64) -> Result<(), Error> {
        match scope.end {
            Some(end) if !scope.delimited && self.input.position() < end => Err(Error::LengthBeyondEnd {
                tag,
                declared: end - start,
                available: self.input.position() - start,
            }),
            _ => Ok(()),
        }
    }

    /// All of a value.
    pub(in crate::dicom) fn take(&mut self, tag: Tag, length: u64) -> Result<Vec<u8>, Error> {
        let bytes = self.input.take(length)?;
        match bytes.len() as u64 {
            available if available < length => {
                Err(Error::LengthBeyondEnd { tag, declared: length, available })
            }
            _ => Ok(bytes),
        }
    }

    /// Passes over all of a value.
    pub(in crate::dicom) fn skip(&mut self, tag: Tag, length: u64) -> Result<(), Error> {
        match self.input.skip(length)? {
            available if available < length => {
                Err(Error::LengthBeyondEnd { tag, declared: length, available })
            }
            _ => Ok(()),
        }
    }
}
