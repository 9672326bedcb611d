//! Where each frame of encapsulated pixel data is (PS3.5 A.4), so that showing one frame reads one frame.
//!
//! Stored as the column `frame_index.fragments`: a version byte, the number of frames, and for each frame the number
//! of its fragments and for each of those how far behind the end of the one before it begins and how long it is. All
//! numbers are LEB128, seven bits a byte, low ones first. The offsets count from where the caller's do.

use std::io;

use super::prescan::{Fragment, PixelData};

/// The frames of an instance, each a run of fragments.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FrameIndex {
    fragments: Vec<Fragment>,
    /// For each frame the number of fragments up to its end.
    ends: Vec<usize>,
}

/// Why frames cannot be told apart, or the stored index not read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The pixels are native: frames are equal parts of them.
    #[error("the pixel data is not encapsulated")]
    NotEncapsulated,
    /// There is nothing in the pixel data.
    #[error("the pixel data has no fragments")]
    Empty,
    /// Neither tables nor end markers show where frames begin.
    #[error("{frames} frames are declared, and {fragments} fragments do not show where each begins")]
    Ambiguous {
        /// Number of Frames.
        frames: u32,
        /// How many fragments there are.
        fragments: usize,
    },
    /// The stored index is not one of ours.
    #[error("the stored frame index is damaged")]
    Damaged,
    /// The file failed while the ends of its fragments were looked at.
    #[error("cannot read the pixel data")]
    Io(#[from] io::Error),
}

const VERSION: u8 = 1;

/// The longest end marker with padding that is looked for: FFD9 and what writers append.
const TAIL: usize = 10;

impl FrameIndex {
    /// Tells the frames apart: by the extended offset table, else the basic one, else one fragment a frame, else all
    /// fragments where there is one frame, else by the end markers of JPEG streams. A table that does not fit the
    /// fragments is not believed. `read_at` fills a buffer with the bytes at an offset of `pixel_data`'s, and is
    /// asked only for the markers.
    ///
    /// # Errors
    /// The first four kinds of [`Error`] and what `read_at` says.
    pub fn build(
        pixel_data: &PixelData,
        number_of_frames: u32,
        mut read_at: impl FnMut(u64, &mut [u8]) -> io::Result<()>,
    ) -> Result<Self, Error> {
        if pixel_data.length.is_some() {
            return Err(Error::NotEncapsulated);
        }
        let fragments = &pixel_data.fragments;
        let frames = usize::try_from(number_of_frames.max(1)).unwrap_or(usize::MAX);
        if fragments.is_empty() {
            return Err(Error::Empty);
        }
        let ends = if frames == 1 {
            vec![fragments.len()]
        } else if let Some(ends) =
            by_table(fragments, frames, pixel_data.extended_offset_table.iter().copied())
        {
            ends
        } else if let Some(ends) =
            by_table(fragments, frames, pixel_data.basic_offset_table.iter().map(|&entry| u64::from(entry)))
        {
            ends
        } else if fragments.len() == frames {
            (1..=frames).collect()
        } else {
            let ends =
                if fragments.len() > frames { by_markers(fragments, &mut read_at)? } else { Vec::new() };
            if ends.len() != frames {
                return Err(Error::Ambiguous { frames: number_of_frames, fragments: fragments.len() });
            }
            ends
        };
        Ok(Self { fragments: fragments.clone(), ends })
    }

    /// The index with all offsets increased: from the data set's start to the file's.
    #[must_use]
    pub fn moved_by(mut self, distance: u64) -> Self {
        for fragment in &mut self.fragments {
            fragment.offset = fragment.offset.saturating_add(distance);
        }
        self
    }

    /// How many frames there are.
    pub fn frames(&self) -> usize {
        self.ends.len()
    }

    /// The fragments of a frame, counted from 0; put one behind the other they are its encoded picture.
    pub fn frame(&self, number: usize) -> Option<&[Fragment]> {
        let end = *self.ends.get(number)?;
        let start = match number.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        self.fragments.get(start..end)
    }

    /// As it is stored.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        let mut position = 0_u64;
        push_number(&mut bytes, self.frames() as u64);
        for number in 0..self.frames() {
            let fragments = self.frame(number).unwrap_or_default();
            push_number(&mut bytes, fragments.len() as u64);
            for fragment in fragments {
                // Fragments follow each other in the file, so the distance is small and never negative.
                push_number(&mut bytes, fragment.offset.wrapping_sub(position));
                push_number(&mut bytes, u64::from(fragment.length));
                position = fragment.offset.wrapping_add(u64::from(fragment.length));
            }
        }
        bytes
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// [`Error::Damaged`] for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        Self::decoded(bytes).ok_or(Error::Damaged)
    }

    fn decoded(bytes: &[u8]) -> Option<Self> {
        let (&VERSION, mut rest) = bytes.split_first()? else {
            return None;
        };
        let mut index = Self::default();
        let mut position = 0_u64;
        for _ in 0..take_number(&mut rest)? {
            for _ in 0..take_number(&mut rest)? {
                let offset = position.wrapping_add(take_number(&mut rest)?);
                let length = u32::try_from(take_number(&mut rest)?).ok()?;
                position = offset.checked_add(u64::from(length))?;
                index.fragments.push(Fragment { offset, length });
            }
            index.ends.push(index.fragments.len());
        }
        rest.is_empty().then_some(index)
    }
}

/// The ends of the frames by a table of where they begin: for each frame the distance of an item from the first one.
/// `None` unless there is an entry a frame and each hits an item behind the one before.
fn by_table(
    fragments: &[Fragment],
    frames: usize,
    table: impl ExactSizeIterator<Item = u64>,
) -> Option<Vec<usize>> {
    if table.len() != frames || frames > fragments.len() {
        return None;
    }
    let first = fragments.first()?.offset;
    let mut starts = Vec::with_capacity(frames);
    let mut at = 0;
    for distance in table {
        let offset = first.checked_add(distance)?;
        let rest = fragments.get(at..)?;
        let found = at + rest.binary_search_by_key(&offset, |fragment| fragment.offset).ok()?;
        starts.push(found);
        at = found + 1;
    }
    (starts.first() == Some(&0)).then(|| starts.into_iter().skip(1).chain([fragments.len()]).collect())
}

/// The ends of the frames by EOI, which ends JPEG, JPEG-LS and JPEG 2000 streams alike.
fn by_markers(
    fragments: &[Fragment],
    read_at: &mut impl FnMut(u64, &mut [u8]) -> io::Result<()>,
) -> io::Result<Vec<usize>> {
    let mut ends = Vec::new();
    for (number, fragment) in fragments.iter().enumerate() {
        let mut buffer = [0; TAIL];
        let length = usize::try_from(fragment.length).unwrap_or(TAIL).min(TAIL);
        let tail = buffer.get_mut(..length).unwrap_or_default();
        let before = u64::from(fragment.length).saturating_sub(length as u64);
        read_at(fragment.offset.saturating_add(before), tail)?;
        if tail.windows(2).any(|pair| pair == [0xFF, 0xD9]) {
            ends.push(number + 1);
        }
    }
    // What follows the last marker is no frame of its own.
    if let Some(end) = ends.last_mut() {
        *end = fragments.len();
    }
    Ok(ends)
}

fn push_number(bytes: &mut Vec<u8>, mut number: u64) {
    loop {
        let [low, ..] = (number & 0x7F).to_le_bytes();
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}

fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7F);
        number |= bits << shift;
        if byte & 0x80 == 0 {
            // The tenth byte has room for one bit.
            return (bits << shift >> shift == bits).then_some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use dicom_core::VR;
    use dicom_dictionary_std::tags;
    use proptest::prelude::*;

    /// Fragments of these lengths as they follow each other in a file, each behind its item header.
    fn encapsulated(lengths: &[u32]) -> PixelData {
        let mut offset = 1000;
        let mut fragments = Vec::new();
        for &length in lengths {
            offset += 8;
            fragments.push(Fragment { offset, length });
            offset += u64::from(length);
        }
        PixelData {
            tag: tags::PIXEL_DATA,
            vr: VR::OB,
            offset: 992,
            length: None,
            fragments,
            basic_offset_table: Vec::new(),
            extended_offset_table: Vec::new(),
        }
    }

    fn no_reading(_: u64, _: &mut [u8]) -> io::Result<()> {
        Err(io::Error::other("not to be read"))
    }

    fn lengths(index: &FrameIndex) -> Vec<Vec<u32>> {
        (0..index.frames())
            .map(|number| index.frame(number).unwrap().iter().map(|fragment| fragment.length).collect())
            .collect()
    }

    #[test]
    fn tables_tell_frames_of_several_fragments_apart() {
        let mut pixel_data = encapsulated(&[10, 20, 30, 40]);
        pixel_data.basic_offset_table = vec![0, 46];
        let index = FrameIndex::build(&pixel_data, 2, no_reading).unwrap();
        assert_eq!(lengths(&index), [vec![10, 20], vec![30, 40]]);
        pixel_data.extended_offset_table = vec![0, 18];
        let index = FrameIndex::build(&pixel_data, 2, no_reading).unwrap();
        assert_eq!(lengths(&index), [vec![10], vec![20, 30, 40]]);
        assert_eq!(index.frame(2), None);
    }

    #[test]
    fn a_table_that_lies_is_not_believed() {
        for table in [
            vec![0, 0, 0],
            vec![0, 7, 18],
            vec![18, 0, 46],
            vec![0, u32::MAX, 46],
            vec![0, 18],
            vec![8, 18, 46],
        ] {
            let mut pixel_data = encapsulated(&[10, 20, 30]);
            pixel_data.basic_offset_table = table.clone();
            pixel_data.extended_offset_table = vec![u64::MAX; 3];
            let index = FrameIndex::build(&pixel_data, 3, no_reading).unwrap();
            assert_eq!(lengths(&index), [[10], [20], [30]], "{table:?}");
        }
    }

    #[test]
    fn one_frame_has_all_fragments() {
        let index = FrameIndex::build(&encapsulated(&[10, 20, 30]), 1, no_reading).unwrap();
        assert_eq!(lengths(&index), [[10, 20, 30]]);
        assert_eq!(FrameIndex::build(&encapsulated(&[10]), 0, no_reading).unwrap().frames(), 1);
    }

    #[test]
    fn without_a_table_jpeg_end_markers_tell() {
        let pixel_data = encapsulated(&[10, 20, 1, 40]);
        let ends = [pixel_data.fragments[1], pixel_data.fragments[3]].map(|f| f.offset + u64::from(f.length));
        let read_at = |offset: u64, into: &mut [u8]| {
            if ends.contains(&(offset + into.len() as u64)) {
                into[7..10].copy_from_slice(&[0xFF, 0xD9, 0]);
            }
            Ok(())
        };
        let index = FrameIndex::build(&pixel_data, 2, read_at).unwrap();
        assert_eq!(lengths(&index), [vec![10, 20], vec![1, 40]]);
        let error = FrameIndex::build(&pixel_data, 3, read_at).unwrap_err();
        assert_eq!(error.to_string(), "3 frames are declared, and 4 fragments do not show where each begins");
    }

    #[test]
    fn a_frame_count_that_lies_costs_nothing() {
        let error = FrameIndex::build(&encapsulated(&[10]), 4_000_000_000, no_reading).unwrap_err();
        assert!(matches!(error, Error::Ambiguous { frames: 4_000_000_000, fragments: 1 }));
        assert!(matches!(FrameIndex::build(&encapsulated(&[]), 1, no_reading), Err(Error::Empty)));
        let native = PixelData { length: Some(9), ..encapsulated(&[]) };
        assert!(matches!(FrameIndex::build(&native, 1, no_reading), Err(Error::NotEncapsulated)));
    }

    #[test]
    fn a_frame_of_usual_size_costs_five_bytes() {
        let index = FrameIndex::build(&encapsulated(&[100_000; 1000]), 1000, no_reading).unwrap();
        assert!(index.encode().len() <= 5 * 1000 + 5);
    }

    proptest! {
        #[test]
        fn what_is_stored_is_read_again(lengths in prop::collection::vec(any::<u32>(), 1..40), distance in 0..u64::MAX / 2) {
            let pixel_data = encapsulated(&lengths);
            let index = FrameIndex::build(&pixel_data, lengths.len() as u32, no_reading).unwrap().moved_by(distance);
            prop_assert_eq!(index.frame(0).unwrap()[0].offset, 1008 + distance);
            prop_assert_eq!(FrameIndex::decode(&index.encode()).unwrap(), index);
        }

        #[test]
        fn any_bytes_are_an_index_or_damaged(bytes in prop::collection::vec(any::<u8>(), 0..100), version in 0..2_u8) {
            let bytes = [vec![version], bytes].concat();
            if let Ok(index) = FrameIndex::decode(&bytes) {
                for number in 0..index.frames() {
                    prop_assert!(index.frame(number).is_some());
                }
            }
        }
    }
}
