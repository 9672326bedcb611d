//! Palette colour, PS3.3 C.7.6.3.1.5 and C.7.9, segmented palettes C.7.9.2, supplemental ones C.7.6.19.

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::geometry::Grid;
use super::lut::{Descriptor, entries};
use crate::codec::{Photometric, Samples};
use crate::dicom::data_set::DataSet;

/// A palette has no more entries.
const MAX_ENTRIES: usize = 65_536;

/// Colours for stored values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Palette {
    first: i32,
    colours: Vec<[u8; 3]>,
}

/// The palette for the values above the grey ones, where the image has both.
pub fn supplemental(attributes: &DataSet, photometric: Photometric) -> Option<Palette> {
    let presentation = attributes.text(tags::PIXEL_PRESENTATION)?;
    let coloured = matches!(presentation.as_str(), "COLOR" | "MIXED" | "TRUE_COLOR");
    (photometric == Photometric::Monochrome2 && coloured).then(|| Palette::read(attributes))?
}

impl Palette {
    /// Reads the three tables; nothing if one is missing or unreadable.
    pub fn read(attributes: &DataSet) -> Option<Self> {
        let signed = attributes.integer(tags::PIXEL_REPRESENTATION) == Some(1);
        let channel = |descriptor: Tag, data: Tag, segmented: Tag| {
            let descriptor = Descriptor::read(attributes, descriptor, signed)?;
            let values = match attributes.element(data) {
                Some(_) => entries(&attributes.words(data), descriptor),
                None => expand(&attributes.words(segmented), descriptor)?,
            };
            (!values.is_empty()).then(|| (descriptor.first, to_bytes(&values, descriptor.bits)))
        };
        let (first, red) = channel(
            tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
            tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
            tags::SEGMENTED_RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
        )?;
        let (_, green) = channel(
            tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
            tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
            tags::SEGMENTED_GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
        )?;
        let (_, blue) = channel(
            tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
            tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
            tags::SEGMENTED_BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
        )?;
        let colours = red.iter().zip(&green).zip(&blue).map(|((r, g), b)| [*r, *g, *b]).collect();
        Some(Self { first, colours })
    }

    /// RGB pixels of the grid.
    pub fn apply(&self, samples: &Samples, grid: &Grid) -> Vec<u8> {
        grid.indices(samples).into_iter().flat_map(|index| self.colour(index)).collect()
    }

    /// Grey pixels, and palette colours for the values from the first mapped one on.
    pub fn supplement(&self, grey: &[u8], samples: &Samples, grid: &Grid) -> Vec<u8> {
        let indices = grid.indices(samples);
        grey.iter()
            .zip(indices)
            .flat_map(|(grey, index)| if index >= self.first { self.colour(index) } else { [*grey; 3] })
            .collect()
    }

    /// Values off either end get the colour at that end.
    fn colour(&self, stored: i32) -> [u8; 3] {
        let index = usize::try_from(stored.saturating_sub(self.first)).unwrap_or(0);
        self.colours.get(index).or(self.colours.last()).copied().unwrap_or_default()
    }
}

/// Entries of 16 bits lose their lower half, unless a writer has put 8-bit values into 16-bit entries.
fn to_bytes(values: &[u16], bits: u16) -> Vec<u8> {
    let deep = values.iter().any(|value| *value > 255);
    let shift = match bits {
        _ if !deep => 0,
        9..=15 => bits - 8,
        _ => 8,
    };
    values.iter().map(|value| u8::try_from(value >> shift).unwrap_or(u8::MAX)).collect()
}

/// Segmented palette data to plain entries; nothing if it is malformed.
fn expand(words: &[u16], descriptor: Descriptor) -> Option<Vec<u16>> {
    let packed: Vec<u16>;
    let words = if descriptor.bits <= 8 {
        packed = words.iter().flat_map(|word| [word & 0xFF, word >> 8]).collect();
        &packed
    } else {
        words
    };
    let mut values = Vec::new();
    let mut rest = words;
    while values.len() < descriptor.entries {
        let Some((&opcode, after)) = rest.split_first() else { break };
        let Some((&length, after)) = after.split_first() else { break };
        rest = if opcode == 2 {
            // An indirect segment names segments further up; those are never indirect themselves.
            let [low, high] = *after.first_chunk::<2>()?;
            let offset = usize::try_from(u32::from(low) | (u32::from(high) << 16)).ok()?;
            let unit = if descriptor.bits <= 8 { 1 } else { 2 };
            let mut copied = words.get(offset / unit..)?;
            for _ in 0..length {
                let (&opcode, after) = copied.split_first()?;
                let (&length, after) = after.split_first()?;
                copied = segment(opcode, length, after, &mut values)?;
            }
            after.get(2..)?
        } else {
            segment(opcode, length, after, &mut values)?
        };
    }
    values.truncate(descriptor.entries);
    Some(values)
}

/// A discrete (0) or linear (1) segment; returns what follows it.
fn segment<'a>(opcode: u16, length: u16, data: &'a [u16], values: &mut Vec<u16>) -> Option<&'a [u16]> {
    let count = usize::from(length);
    // Empty segments would let a few kilobytes of indirect ones keep us busy for hours.
    if count == 0 || values.len().saturating_add(count) > MAX_ENTRIES * 2 {
        return None;
    }
    match opcode {
        0 => {
            let (entries, rest) = data.split_at_checked(count)?;
            values.extend_from_slice(entries);
            Some(rest)
        }
        1 => {
            let (&end, rest) = data.split_first()?;
            let start = f64::from(*values.last()?);
            let step = (f64::from(end) - start) / f64::from(length);
            values.extend((1..=length).map(|index| (start + step * f64::from(index)).round() as u16));
            Some(rest)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIXTEEN: Descriptor = Descriptor { entries: 6, first: 0, bits: 16 };

    #[test]
    fn a_linear_segment_runs_from_the_last_value_to_its_own() {
        assert_eq!(expand(&[0, 2, 10, 20, 1, 4, 60], SIXTEEN).unwrap(), [10, 20, 30, 40, 50, 60]);
    }

    #[test]
    fn an_indirect_segment_repeats_an_earlier_one() {
        assert_eq!(expand(&[0, 3, 1, 2, 3, 2, 1, 0, 0], SIXTEEN).unwrap(), [1, 2, 3, 1, 2, 3]);
    }

    #[test]
    fn a_segment_without_data_or_start_is_no_palette() {
        assert_eq!(expand(&[0, 9, 1], SIXTEEN), None);
        assert_eq!(expand(&[1, 4, 60], SIXTEEN), None);
        assert_eq!(expand(&[7, 1, 1], SIXTEEN), None);
        assert_eq!(expand(&[0, 0, 0, 0], SIXTEEN), None);
    }

    #[test]
    fn values_off_the_ends_get_the_colours_at_the_ends() {
        let palette = Palette { first: 1, colours: vec![[1; 3], [2; 3]] };
        assert_eq!(
            [palette.colour(-5), palette.colour(1), palette.colour(2), palette.colour(9)],
            [[1; 3], [1; 3], [2; 3], [2; 3]]
        );
    }

    proptest::proptest! {
        #[test]
        fn no_palette_data_whatever_makes_it_panic(words in proptest::collection::vec(0u16..4, 0..64), bits in 8u16..17) {
            if let Some(values) = expand(&words, Descriptor { entries: 32, first: 0, bits }) {
                proptest::prop_assert!(values.len() <= 32);
            }
        }
    }
}
