//! Overlay planes of the groups 6000 to 601E, PS3.3 C.9.2.

use std::ops::Range;

use dicom_core::{Tag, VR};

use super::Pixels;
use super::geometry::{Grid, Region};
use crate::dicom::data_set::DataSet;

/// Origins are SS; what is farther away is nonsense.
const FARTHEST: f64 = 32_768.0;

/// The white pixels of one overlay on one frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plane {
    /// Row and column in the image of the overlay's first pixel, from 0; may be negative.
    top: i64,
    left: i64,
    columns: u32,
    bits: Vec<bool>,
}

/// Whether an instance says anything about overlays.
pub fn any(attributes: &DataSet) -> bool {
    attributes.elements().iter().any(|element| (0x6000..=0x601E).contains(&element.tag.0))
}

/// The overlays that belong on a frame of this many columns, and of these words where its unused bits carry some.
pub fn planes(attributes: &DataSet, columns: u32, unused_bits: Option<&[u16]>, frame0: usize) -> Vec<Plane> {
    let groups = (0x6000..=0x601E).step_by(2);
    groups.filter_map(|group| plane(attributes, columns, unused_bits, frame0, group)).collect()
}

fn plane(
    attributes: &DataSet,
    frame_columns: u32,
    unused_bits: Option<&[u16]>,
    frame0: usize,
    group: u16,
) -> Option<Plane> {
    let size = |element| u32::try_from(attributes.integer(Tag(group, element))?).ok();
    // Origin and size of overlays in the pixels are those of the image where they are not given.
    let rows = size(0x0010);
    let columns = size(0x0011);
    let origin = attributes.numbers(Tag(group, 0x0050));
    let start =
        |index: usize| origin.get(index).map_or(0, |value| value.clamp(-FARTHEST, FARTHEST) as i64 - 1);
    let (top, left) = (start(0), start(1));

    let data = bytes(attributes, Tag(group, 0x3000));
    if data.is_empty() {
        let position = u32::try_from(attributes.integer(Tag(group, 0x0102))?).ok()?;
        let words = unused_bits?;
        let bits = words.iter().map(|word| word.checked_shr(position).is_some_and(|word| word & 1 == 1));
        return Some(Plane { top: 0, left: 0, columns: frame_columns, bits: bits.collect() });
    }
    let (rows, columns) = (rows?, columns?);
    let pixels = usize::try_from(u64::from(rows) * u64::from(columns)).ok()?;
    let frame = overlay_frame(attributes, group, frame0)?;
    let first = frame.checked_mul(pixels)?;
    if columns == 0 || data.len().checked_mul(8)? < first.checked_add(pixels)? {
        return None;
    }
    let bits = data.get(first / 8..)?.iter().flat_map(|byte| (0..8).map(move |bit| (byte >> bit) & 1 == 1));
    Some(Plane { top, left, columns, bits: bits.skip(first % 8).take(pixels).collect() })
}

/// Which frame of the overlay lies on the frame of the image, C.9.3; an overlay of one frame lies on all.
fn overlay_frame(attributes: &DataSet, group: u16, frame0: usize) -> Option<usize> {
    let frames = attributes.integer(Tag(group, 0x0015)).unwrap_or(1);
    if frames <= 1 && attributes.integer(Tag(group, 0x0051)).is_none() {
        return Some(0);
    }
    let origin = attributes.integer(Tag(group, 0x0051)).unwrap_or(1);
    let frame = i64::try_from(frame0).ok()?.checked_sub(origin.checked_sub(1)?)?;
    usize::try_from(frame).ok().filter(|_| frame < frames)
}

/// Overlay Data in reading order, whichever byte of its words stood first.
fn bytes(attributes: &DataSet, tag: Tag) -> Vec<u8> {
    let words = attributes.element(tag).is_some_and(|element| element.vr == VR::OW);
    if words && attributes.is_big_endian() {
        return attributes.words(tag).into_iter().flat_map(u16::to_le_bytes).collect();
    }
    attributes.bytes(tag).unwrap_or_default().to_vec()
}

impl Plane {
    /// The plane on a part of the frame.
    pub fn on(self, region: Region) -> Plane {
        let (top, left) = (self.top - i64::from(region.top), self.left - i64::from(region.left));
        Plane { top, left, ..self }
    }

    /// Draws the plane in white on rows of the grid, of which `pixels` has no others.
    pub fn draw(&self, pixels: &mut Pixels, grid: &Grid, rows: Range<u32>) {
        let columns = usize::try_from(self.columns).unwrap_or(usize::MAX).max(1);
        let frame_rows = grid.frame_rows(&rows);
        // The lines above these rows are passed over, and those below not looked at.
        let first = i64::from(frame_rows.start).saturating_sub(self.top).max(0);
        let lines = self.bits.chunks(columns).skip(usize::try_from(first).unwrap_or(usize::MAX));
        for (row, line) in (self.top.saturating_add(first)..i64::from(frame_rows.end)).zip(lines) {
            for (column, _) in (self.left..).zip(line).filter(|(_, set)| **set) {
                let Some(position) = grid.position(row, column, &rows) else { continue };
                let (bytes, width) = match pixels {
                    Pixels::Grey(bytes) => (bytes, 1),
                    Pixels::Rgb(bytes) => (bytes, 3),
                };
                let start = position.saturating_mul(width);
                if let Some(pixel) = bytes.get_mut(start..start + width) {
                    pixel.fill(255);
                }
            }
        }
    }
}
