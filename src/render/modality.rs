//! The modality LUT, PS3.3 C.11.1: from stored values to the units of the modality.

use dicom_dictionary_std::tags;

use super::functional_groups::of_frame;
use super::lut::Lut;
use crate::dicom::data_set::DataSet;

/// How stored values become values of the modality (HU, Gy, counts ...).
#[derive(Debug, Clone, PartialEq)]
pub enum Modality {
    /// `slope * stored + intercept`; 1 and 0 where nothing is said.
    Rescale {
        /// Rescale Slope (0028,1053) or Dose Grid Scaling (3004,000E).
        slope: f64,
        /// Rescale Intercept (0028,1052).
        intercept: f64,
    },
    /// Modality LUT Sequence (0028,3000).
    Table(Lut),
}

impl Modality {
    /// The transformation for a frame: its functional groups, else the image's attributes.
    pub fn of_frame(attributes: &DataSet, frame0: usize, signed: bool) -> Self {
        let group = of_frame(attributes, frame0, tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE);
        if let Some(rescale) = group.and_then(rescale) {
            return rescale;
        }
        let table =
            attributes.first_item(tags::MODALITY_LUT_SEQUENCE).and_then(|item| Lut::read(item, signed));
        if let Some(lut) = table {
            return Self::Table(lut);
        }
        if let Some(rescale) = rescale(attributes) {
            return rescale;
        }
        let dose = attributes.number(tags::DOSE_GRID_SCALING).filter(|scale| usable(*scale));
        Self::Rescale { slope: dose.unwrap_or(1.0), intercept: 0.0 }
    }

    /// The value of the modality for a stored value.
    pub fn apply(&self, stored: f64) -> f64 {
        match self {
            Self::Rescale { slope, intercept } => stored * slope + intercept,
            Self::Table(lut) => lut.apply(stored),
        }
    }
}

fn rescale(item: &DataSet) -> Option<Modality> {
    let slope = item.number(tags::RESCALE_SLOPE);
    let intercept = item.number(tags::RESCALE_INTERCEPT).filter(|intercept| intercept.is_finite());
    if slope.is_none() && intercept.is_none() {
        return None;
    }
    let slope = slope.filter(|slope| usable(*slope)).unwrap_or(1.0);
    Some(Modality::Rescale { slope, intercept: intercept.unwrap_or(0.0) })
}

/// A factor of 0 would make every picture black.
fn usable(factor: f64) -> bool {
    factor.is_finite() && factor != 0.0
}
