//! Grey pictures: stored values to 8 bits through one table a picture.

use dicom_dictionary_std::tags;

use super::View;
use super::geometry::Grid;
use super::modality::Modality;
use super::padding::Padding;
use super::voi::Voi;
use crate::codec::{Decoded, Photometric, Samples};
use crate::dicom::data_set::DataSet;

/// Everything between a stored value and its grey.
struct Pipeline {
    modality: Modality,
    voi: Option<Voi>,
    padding: Option<Padding>,
    invert: bool,
}

/// The grey pixels of the grid, 0 is black.
pub fn render(decoded: &Decoded, attributes: &DataSet, frame0: usize, view: &View, grid: &Grid) -> Vec<u8> {
    let signed = matches!(decoded.samples, Samples::I16(_) | Samples::I32(_));
    let inverse = decoded.photometric == Photometric::Monochrome1
        || attributes.text(tags::PRESENTATION_LUT_SHAPE).as_deref() == Some("INVERSE");
    let pipeline = Pipeline {
        modality: Modality::of_frame(attributes, frame0, signed),
        voi: Voi::choose(attributes, frame0, view, signed).or_else(|| known_range(decoded, attributes)),
        padding: Padding::read(attributes, signed),
        invert: inverse != view.invert,
    };
    match &decoded.samples {
        Samples::U8(samples) => pipeline.by_table(samples, grid),
        Samples::U16(samples) => pipeline.by_table(samples, grid),
        Samples::I16(samples) => pipeline.by_table(samples, grid),
        Samples::U32(samples) => pipeline.by_value(samples, grid),
        Samples::I32(samples) => pipeline.by_value(samples, grid),
        Samples::F32(samples) => pipeline.by_value(samples, grid),
        Samples::F64(samples) => pipeline.by_value(samples, grid),
    }
}

/// Segmentations: 0 is black and full occupancy is white, also in a frame that has none or only some of it.
fn known_range(decoded: &Decoded, attributes: &DataSet) -> Option<Voi> {
    let highest = if decoded.bits_stored == 1 {
        1.0
    } else {
        attributes.number(tags::MAXIMUM_FRACTIONAL_VALUE).filter(|value| *value > 0.0)?
    };
    Some(Voi::Range { lowest: 0.0, highest })
}

/// A sample that has at most 65536 values.
trait Small: Copy + Ord + Into<i32> {
    /// The sample's own entry in a table of all values.
    fn entry(self) -> u16;
    /// The sample with this entry.
    fn value(entry: u16) -> i32;
}

impl Small for u8 {
    fn entry(self) -> u16 {
        self.into()
    }
    fn value(entry: u16) -> i32 {
        entry.into()
    }
}

impl Small for u16 {
    fn entry(self) -> u16 {
        self
    }
    fn value(entry: u16) -> i32 {
        entry.into()
    }
}

impl Small for i16 {
    fn entry(self) -> u16 {
        self.cast_unsigned()
    }
    fn value(entry: u16) -> i32 {
        entry.cast_signed().into()
    }
}

impl Pipeline {
    fn by_table<T: Small>(&self, samples: &[T], grid: &Grid) -> Vec<u8> {
        let samples = grid.pick(samples);
        let Some(first) = samples.first() else { return Vec::new() };
        // By value, not by reference, so that the compiler compares many at once.
        let (lowest, highest) = samples
            .iter()
            .fold((*first, *first), |(lowest, highest), sample| (lowest.min(*sample), highest.max(*sample)));
        let (lowest, highest) = (lowest.into(), highest.into());
        let voi = match &self.voi {
            Some(voi) => voi.clone(),
            None => self.range_of_small(&samples, lowest, highest),
        };
        let mut table = [0u8; 65_536];
        for value in lowest..=highest {
            // `lowest..=highest` lies within what T can hold, so its low 16 bits are its entry.
            let [low, high, ..] = value.to_le_bytes();
            if let Some(grey) = table.get_mut(usize::from(u16::from_le_bytes([low, high]))) {
                *grey = self.grey(&voi, f64::from(value));
            }
        }
        // An entry is a u16 and there are 65536 of them.
        samples.iter().map(|sample| table[usize::from(sample.entry())]).collect()
    }

    /// The lowest and highest value of the modality in the frame.
    fn range_of_small<T: Small>(&self, samples: &[T], lowest: i32, highest: i32) -> Voi {
        let linear = matches!(self.modality, Modality::Rescale { .. });
        if linear && self.padding.is_none() {
            return self.range([lowest, highest].into_iter().map(f64::from));
        }
        let mut used = vec![false; 65_536];
        for sample in samples {
            if let Some(entry) = used.get_mut(usize::from(sample.entry())) {
                *entry = true;
            }
        }
        let values = (0..=u16::MAX).zip(used).filter(|(_, used)| *used);
        self.range(values.map(|(entry, _)| f64::from(T::value(entry))))
    }

    fn by_value<T: Copy + Into<f64>>(&self, samples: &[T], grid: &Grid) -> Vec<u8> {
        let samples = grid.pick(samples);
        let voi = match &self.voi {
            Some(voi) => voi.clone(),
            None => self.range(samples.iter().map(|sample| (*sample).into())),
        };
        samples.iter().map(|sample| self.grey(&voi, (*sample).into())).collect()
    }

    /// Padding and what is no number stays out; a frame of nothing else is black.
    fn range(&self, stored: impl Iterator<Item = f64>) -> Voi {
        let is_padding = |value: &f64| self.padding.is_some_and(|padding| padding.contains(*value));
        let (lowest, highest) = stored
            .filter(|value| value.is_finite() && !is_padding(value))
            .map(|value| self.modality.apply(value))
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        Voi::Range { lowest, highest }
    }

    fn grey(&self, voi: &Voi, stored: f64) -> u8 {
        // Padding is background, whichever end of the scale is white.
        if self.padding.is_some_and(|padding| padding.contains(stored)) {
            return 0;
        }
        let grey = voi.apply(self.modality.apply(stored));
        if self.invert { 255 - grey } else { grey }
    }
}
