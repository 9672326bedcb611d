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

/// Rows that begin farther apart than this, bytes, are read one by one.
const FAR_APART: usize = 16 << 10;

/// A stretch of native pixels in an open file, read piece by piece.
#[derive(Debug)]
pub struct NativePixels {
    file: File,
    start: u64,
    length: u64,
}

impl NativePixels {
    /// `count` rows of so many bytes, of which every `step`-th is wanted, from `offset` on; counted from the start of
    /// the stretch. Blocks.
    pub fn read_every(&self, offset: u64, row: u64, step: usize, count: usize) -> Result<Vec<u8>, Error> {
        let cut = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let small = |bytes: u64| usize::try_from(bytes).map_err(|_| cut());
        let (row_bytes, last) = (small(row)?, count.saturating_sub(1).saturating_mul(step));
        let distance = row_bytes.saturating_mul(step);
        let all = last.saturating_mul(row_bytes).saturating_add(row_bytes);
        let end = offset.saturating_add(u64::try_from(all).unwrap_or(u64::MAX));
        if end > self.length || count == 0 || row_bytes == 0 {
            return Err(cut().into());
        }
        let start = self.start.saturating_add(offset);
        if step > 1 && distance > FAR_APART {
            let mut bytes = vec![0; row_bytes.saturating_mul(count)];
            let places = (start..).step_by(distance);
            for (row, place) in bytes.chunks_exact_mut(row_bytes).zip(places) {
                self.file.read_exact_at(row, place)?;
            }
            return Ok(bytes);
        }
        let mut bytes = vec![0; all];
        self.file.read_exact_at(&mut bytes, start)?;
        if step > 1 {
            bytes = bytes.chunks(row_bytes).step_by(step).flatten().copied().collect();
        }
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

pub(super) fn encapsulated_bytes(file: &File, header: &Header, frame0: usize) -> Result<Vec<u8>, Unreadable> {
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
pub(super) fn append(file: &File, offset: u64, length: u64, bytes: &mut Vec<u8>) -> Result<(), Error> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_the_same_however_far_they_are_apart() {
        for row in [3, 10_000] {
            let bytes: Vec<u8> = (0..row * 10).map(|at: usize| (at % 251) as u8).collect();
            let mut file = tempfile::tempfile().unwrap();
            std::io::Write::write_all(&mut file, &[&[9; 7], bytes.as_slice()].concat()).unwrap();
            let pixels = NativePixels { file, start: 7, length: bytes.len() as u64 };
            for (first, step, count) in [(0, 1, 10), (0, 3, 4), (1, 2, 4), (9, 5, 1)] {
                let expected = bytes.chunks(row).skip(first).step_by(step).take(count).collect::<Vec<_>>();
                let read = pixels.read_every((first * row) as u64, row as u64, step, count).unwrap();
                assert!(read == expected.concat(), "{count} rows of {row}, every {step}");
            }
            assert!(pixels.read_every(0, row as u64, 1, 11).is_err());
            assert!(pixels.read_every(0, row as u64, usize::MAX, 2).is_err());
            assert!(pixels.read_every(u64::MAX, row as u64, 1, 1).is_err());
        }
    }
}
