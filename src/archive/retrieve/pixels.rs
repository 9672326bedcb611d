//! The bytes of one frame: never more of the file than these.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use flate2::read::DeflateDecoder;

use super::super::{Archive, Error};
use super::{Header, Holding, Unreadable};
use crate::dicom::prescan::{self, Encoding, PixelData};

/// No encoded frame is longer.
const MAX_FRAME_BYTES: u64 = 512 << 20;

/// Where the bytes of a frame are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// So many bytes, so far into a native Pixel Data value. What is missing at its end is left out.
    Native {
        /// Bytes from the start of the value.
        offset: u64,
        /// Bytes to read.
        length: u64,
    },
    /// The fragments of an encapsulated frame, counted from 0.
    Encapsulated(usize),
}

/// A stretch of native pixels in an open file, read piece by piece.
#[derive(Debug)]
pub struct NativePixels {
    file: File,
    start: u64,
    length: u64,
}

impl NativePixels {
    /// `length` bytes from `offset` on, counted from the start of the stretch. Blocks.
    pub fn read(&self, offset: u64, length: u64) -> Result<Vec<u8>, Error> {
        let end = offset.checked_add(length).filter(|end| *end <= self.length);
        let bytes = end.and_then(|_| usize::try_from(length).ok()).ok_or(io::ErrorKind::UnexpectedEof);
        let mut bytes = vec![0; bytes.map_err(io::Error::from)?];
        self.file.read_exact_at(&mut bytes, self.start.saturating_add(offset))?;
        Ok(bytes)
    }
}

impl Archive {
    /// The bytes of a frame as stored. Blocks.
    pub fn frame_bytes(
        &self,
        holding: &Holding,
        header: &Header,
        frame: Frame,
    ) -> Result<Vec<u8>, Unreadable> {
        let file = self.open(holding)?;
        match frame {
            Frame::Native { offset, length } => native_bytes(&file, holding, header, offset, length),
            Frame::Encapsulated(frame0) => encapsulated_bytes(&file, header, frame0),
        }
    }

    /// A native frame to be read in pieces, where all of it stands in the file as it is: not where the data set is
    /// deflated or ends before the frame does. Blocks shortly.
    pub fn native_pixels(
        &self,
        holding: &Holding,
        header: &Header,
        offset: u64,
        length: u64,
    ) -> Result<Option<NativePixels>, Error> {
        let Some(PixelData { offset: value, length: Some(total), .. }) = header.pixel_data else {
            return Ok(None);
        };
        if holding.encoding() == Encoding::Deflated || length > total.saturating_sub(offset) {
            return Ok(None);
        }
        let file = self.open(holding)?;
        let start = holding.start().saturating_add(value).saturating_add(offset);
        let there = file.metadata()?.len().saturating_sub(start);
        Ok((length <= there).then_some(NativePixels { file, start, length }))
    }
}

fn native_bytes(
    file: &File,
    holding: &Holding,
    header: &Header,
    offset: u64,
    length: u64,
) -> Result<Vec<u8>, Unreadable> {
    let Some(PixelData { offset: value, length: Some(total), .. }) = header.pixel_data else {
        return Ok(Vec::new());
    };
    let length = length.min(total.saturating_sub(offset));
    if length > MAX_FRAME_BYTES {
        return Err(Unreadable::TooLong(length));
    }
    if let Some(inflated) = &header.inflated {
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(inflated.len());
        let to = usize::try_from(offset.saturating_add(length)).unwrap_or(usize::MAX).min(inflated.len());
        return Ok(inflated.get(from..to).unwrap_or_default().to_vec());
    }
    let offset = value.saturating_add(offset);
    if holding.encoding() == Encoding::Deflated {
        return inflate(file, holding, offset, length);
    }
    let mut bytes = Vec::new();
    append(file, holding.start().saturating_add(offset), length, &mut bytes)?;
    Ok(bytes)
}

fn encapsulated_bytes(file: &File, header: &Header, frame0: usize) -> Result<Vec<u8>, Unreadable> {
    let index = header.index.as_ref().ok_or(Unreadable::NoFrame(frame0.saturating_add(1)))?;
    let index = index.as_ref().map_err(|words| Unreadable::Frames(words.clone()))?;
    let fragments = index.frame(frame0).ok_or(Unreadable::NoFrame(frame0.saturating_add(1)))?;
    let total: u64 = fragments.iter().map(|fragment| u64::from(fragment.length)).sum();
    if total > MAX_FRAME_BYTES {
        return Err(Unreadable::TooLong(total));
    }
    let mut bytes = Vec::new();
    for fragment in fragments {
        append(file, fragment.offset, u64::from(fragment.length), &mut bytes)?;
    }
    Ok(bytes)
}

/// Reads what is there of `length` bytes at `offset`; memory grows with the bytes, not with the promise.
fn append(file: &File, offset: u64, length: u64, bytes: &mut Vec<u8>) -> Result<(), Error> {
    let there = file.metadata()?.len().saturating_sub(offset).min(length);
    let start = bytes.len();
    bytes.resize(start.saturating_add(usize::try_from(there).unwrap_or(0)), 0);
    if let Some(fresh) = bytes.get_mut(start..) {
        file.read_exact_at(fresh, offset)?;
    }
    Ok(())
}

/// Bytes of a deflated data set, from an offset in what it inflates to. Costs the way there.
pub(super) fn inflate(
    file: &File,
    holding: &Holding,
    offset: u64,
    length: u64,
) -> Result<Vec<u8>, Unreadable> {
    let mut source = file;
    source.seek(SeekFrom::Start(holding.start())).map_err(Error::File)?;
    let mut inflated = DeflateDecoder::new(source.take(holding.length()));
    let damaged = |_: io::Error| Unreadable::DataSet(prescan::Error::Inflate);
    io::copy(&mut inflated.by_ref().take(offset), &mut io::sink()).map_err(damaged)?;
    let mut bytes = Vec::new();
    inflated.take(length).read_to_end(&mut bytes).map_err(damaged)?;
    Ok(bytes)
}
