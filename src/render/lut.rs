//! Look-up tables as modality and VOI LUT sequences hold them, PS3.3 C.11.1.1 and C.11.2.1.1.

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

use crate::dicom::data_set::DataSet;

/// LUT Descriptor: how many entries, for which values, how deep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// Number of entries, 1 to 65536.
    pub entries: usize,
    /// The value that is mapped to the first entry.
    pub first: i32,
    /// Bits of an entry.
    pub bits: u16,
}

impl Descriptor {
    /// Reads a descriptor. The first mapped value is signed when its VR is SS or the pixels are signed.
    pub fn read(item: &DataSet, tag: Tag, signed: bool) -> Option<Self> {
        let numbers = item.numbers(tag);
        let [entries, first, bits] = *numbers.first_chunk::<3>()?;
        // Implicit VR leaves open whether the three are signed; the first and last never are.
        let unsigned = |number: f64| if number < 0.0 { number + 65_536.0 } else { number };
        let entries = match unsigned(entries) as usize {
            0 => 65_536,
            entries => entries,
        };
        let is_signed = signed || item.element(tag).is_some_and(|element| element.vr == VR::SS);
        let first = if is_signed && first > 32_767.0 { first - 65_536.0 } else { first };
        Some(Self { entries, first: first as i32, bits: unsigned(bits) as u16 })
    }
}

/// The entries of a table, whether they stand in words or, with 8 bits, two in a word.
pub fn entries(words: &[u16], descriptor: Descriptor) -> Vec<u16> {
    if words.len() < descriptor.entries && words.len() >= descriptor.entries.div_ceil(2) {
        return words.iter().flat_map(|word| [word & 0xFF, word >> 8]).take(descriptor.entries).collect();
    }
    words.iter().copied().take(descriptor.entries).collect()
}

/// A table from stored or modality values to numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Lut {
    first: i32,
    values: Vec<u16>,
    /// The largest number that may come out.
    pub largest: u16,
}

impl Lut {
    /// Reads LUT Descriptor (0028,3002) and LUT Data (0028,3006) of an item; nothing if they are unusable.
    pub fn read(item: &DataSet, signed: bool) -> Option<Self> {
        let descriptor = Descriptor::read(item, tags::LUT_DESCRIPTOR, signed)?;
        let values = entries(&item.words(tags::LUT_DATA), descriptor);
        let highest = values.iter().copied().max()?;
        let bits = u32::from(descriptor.bits).clamp(1, 16).max(16 - highest.leading_zeros());
        Some(Self { first: descriptor.first, values, largest: u16::MAX >> (16 - bits) })
    }

    /// The entry for a value; values off either end get the entry at that end.
    pub fn apply(&self, value: f64) -> f64 {
        let index = (value.round() - f64::from(self.first)).max(0.0) as usize;
        self.values.get(index).or(self.values.last()).map_or(0.0, |entry| f64::from(*entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lut(first: i32, values: &[u16]) -> Lut {
        Lut { first, values: values.to_vec(), largest: 255 }
    }

    #[test]
    fn values_off_the_ends_get_the_entries_at_the_ends() {
        let lut = lut(-1, &[10, 20, 30]);
        let of = |value| lut.apply(value);
        assert_eq!((of(-9.0), of(-1.0), of(0.0), of(1.0), of(7.0)), (10.0, 10.0, 20.0, 30.0, 30.0));
    }

    #[test]
    fn eight_bit_entries_may_be_packed_two_in_a_word() {
        let descriptor = Descriptor { entries: 3, first: 0, bits: 8 };
        assert_eq!(entries(&[0x0201, 0x0003], descriptor), [1, 2, 3]);
        assert_eq!(entries(&[1, 2, 3], descriptor), [1, 2, 3]);
    }
}
