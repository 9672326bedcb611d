//! Grey pictures: stored values to 8 bits through one table a picture.

use std::sync::OnceLock;

use dicom_dictionary_std::tags;

use super::View;
use super::geometry::Grid;
use super::modality::Modality;
use super::padding::Padding;
use super::voi::Voi;
use crate::codec::{Decoded, Photometric, Samples};
use crate::dicom::data_set::DataSet;

/// Values in a page of the table.
const PAGE: usize = 256;

/// Everything between a stored value and its grey.
pub struct Grey {
    modality: Modality,
    /// None until the range of the frame is known, where that decides.
    voi: Option<Voi>,
    padding: Option<Padding>,
    invert: bool,
    /// The greys of all samples of 16 bits, each page made when the first of its values is met.
    pages: Vec<OnceLock<[u8; PAGE]>>,
}

impl Grey {
    /// For frames with samples like these. [`set_range`](Self::set_range) has to follow where it
    /// [`needs_range`](Self::needs_range).
    pub fn new(sample: &Decoded, attributes: &DataSet, frame0: usize, view: &View) -> Self {
        let signed = matches!(sample.samples, Samples::I16(_) | Samples::I32(_));
        let inverse = sample.photometric == Photometric::Monochrome1
            || attributes.text(tags::PRESENTATION_LUT_SHAPE).as_deref() == Some("INVERSE");
        Grey {
            modality: Modality::of_frame(attributes, frame0, signed),
            voi: Voi::choose(attributes, frame0, view, signed).or_else(|| known_range(sample, attributes)),
            padding: Padding::read(attributes, signed),
            invert: inverse != view.invert,
            pages: (0..PAGE).map(|_| OnceLock::new()).collect(),
        }
    }

    /// Whether neither the view nor the instance says what is black and white.
    pub fn needs_range(&self) -> bool {
        self.voi.is_none()
    }

    /// The lowest and highest value of the modality in a part of a frame; infinite where there is none.
    pub fn range(&self, samples: &Samples, grid: &Grid) -> (f64, f64) {
        match samples {
            Samples::U8(samples) => self.range_of_small(&grid.pick(samples)),
            Samples::U16(samples) => self.range_of_small(&grid.pick(samples)),
            Samples::I16(samples) => self.range_of_small(&grid.pick(samples)),
            Samples::U32(samples) => self.range_of(floats(&grid.pick(samples))),
            Samples::I32(samples) => self.range_of(floats(&grid.pick(samples))),
            Samples::F32(samples) => self.range_of(floats(&grid.pick(samples))),
            Samples::F64(samples) => self.range_of(floats(&grid.pick(samples))),
        }
    }

    /// Makes the whole scale go from the lowest to the highest value of all parts.
    pub fn set_range(&mut self, ranges: Vec<(f64, f64)>) {
        let (lowest, highest) = widest(ranges.into_iter());
        self.voi = Some(Voi::Range { lowest, highest });
    }

    /// The grey pixels of the grid, 0 is black.
    pub fn draw(&self, samples: &Samples, grid: &Grid) -> Vec<u8> {
        match samples {
            Samples::U8(samples) => self.by_table(&grid.pick(samples)),
            Samples::U16(samples) => self.by_table(&grid.pick(samples)),
            Samples::I16(samples) => self.by_table(&grid.pick(samples)),
            Samples::U32(samples) => self.by_value(&grid.pick(samples)),
            Samples::I32(samples) => self.by_value(&grid.pick(samples)),
            Samples::F32(samples) => self.by_value(&grid.pick(samples)),
            Samples::F64(samples) => self.by_value(&grid.pick(samples)),
        }
    }

    fn by_table<T: Small>(&self, samples: &[T]) -> Vec<u8> {
        let Some((lowest, highest)) = extremes(samples) else { return Vec::new() };
        let mut table = [0u8; PAGE * PAGE];
        // Low 16 bits of a value are its entry, so the pages from the lowest to the highest value may wrap round.
        let (first, last) = (lowest.into().div_euclid(256), highest.into().div_euclid(256));
        for page in first..=last {
            let entries = page.rem_euclid(256);
            let Ok(number) = usize::try_from(entries) else { continue };
            let greys = self.pages.get(number).map(|greys| greys.get_or_init(|| self.page(page * 256)));
            let place = table.get_mut(number * PAGE..(number + 1) * PAGE);
            if let Some((place, greys)) = place.zip(greys) {
                place.copy_from_slice(greys);
            }
        }
        // An entry is a u16 and there are 65536 of them.
        samples.iter().map(|sample| table[usize::from(sample.entry())]).collect()
    }

    /// The greys of a page's values, from this one on.
    fn page(&self, first: i32) -> [u8; PAGE] {
        let mut greys = [0; PAGE];
        for (grey, value) in greys.iter_mut().zip(first..) {
            *grey = self.grey(f64::from(value));
        }
        greys
    }

    fn by_value<T: Copy + Into<f64>>(&self, samples: &[T]) -> Vec<u8> {
        samples.iter().map(|sample| self.grey((*sample).into())).collect()
    }

    fn range_of_small<T: Small>(&self, samples: &[T]) -> (f64, f64) {
        let Some((lowest, highest)) = extremes(samples) else { return widest([].into_iter()) };
        let (lowest, highest) = (lowest.into(), highest.into());
        let linear = matches!(self.modality, Modality::Rescale { .. });
        if linear && self.padding.is_none() {
            return self.range_of([lowest, highest].into_iter().map(f64::from));
        }
        let mut used = vec![false; PAGE * PAGE];
        for sample in samples {
            if let Some(entry) = used.get_mut(usize::from(sample.entry())) {
                *entry = true;
            }
        }
        // The low 16 bits of a value are its entry.
        let is_used = |value: &i32| {
            let entry = usize::try_from(value.rem_euclid(65_536)).unwrap_or_default();
            used.get(entry) == Some(&true)
        };
        self.range_of((lowest..=highest).filter(is_used).map(f64::from))
    }

    /// Padding and what is no number stays out; a frame of nothing else is black.
    fn range_of(&self, stored: impl Iterator<Item = f64>) -> (f64, f64) {
        let is_padding = |value: &f64| self.padding.is_some_and(|padding| padding.contains(*value));
        let values = stored
            .filter(|value| value.is_finite() && !is_padding(value))
            .map(|value| self.modality.apply(value));
        widest(values.map(|value| (value, value)))
    }

    fn grey(&self, stored: f64) -> u8 {
        // Padding is background, whichever end of the scale is white.
        if self.padding.is_some_and(|padding| padding.contains(stored)) {
            return 0;
        }
        let value = self.modality.apply(stored);
        let grey = self.voi.as_ref().map_or(0, |voi| voi.apply(value));
        if self.invert { 255 - grey } else { grey }
    }
}

fn floats<T: Copy + Into<f64>>(samples: &[T]) -> impl Iterator<Item = f64> {
    samples.iter().map(|sample| (*sample).into())
}

fn widest(ranges: impl Iterator<Item = (f64, f64)>) -> (f64, f64) {
    ranges.fold((f64::INFINITY, f64::NEG_INFINITY), |(lowest, highest), (low, high)| {
        (lowest.min(low), highest.max(high))
    })
}

/// The lowest and highest sample.
fn extremes<T: Small>(samples: &[T]) -> Option<(T, T)> {
    let first = *samples.first()?;
    // By value, not by reference, so that the compiler compares many at once.
    Some(
        samples
            .iter()
            .fold((first, first), |(lowest, highest), sample| (lowest.min(*sample), highest.max(*sample))),
    )
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
}

impl Small for u8 {
    fn entry(self) -> u16 {
        self.into()
    }
}

impl Small for u16 {
    fn entry(self) -> u16 {
        self
    }
}

impl Small for i16 {
    fn entry(self) -> u16 {
        self.cast_unsigned()
    }
}
