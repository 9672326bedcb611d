//! Pixel Padding Value and Range Limit, PS3.3 C.7.5.1.1.2: pixels that are no part of the image.

use dicom_dictionary_std::tags;

use crate::dicom::data_set::DataSet;

/// The stored values, from the first to the last, that mean "nothing here".
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Padding {
    lowest: f64,
    highest: f64,
}

impl Padding {
    /// Reads (0028,0120) and (0028,0121); the VR may have lost their sign.
    pub fn read(attributes: &DataSet, signed: bool) -> Option<Self> {
        let correct = |value: f64| match value {
            value if signed && value > 32_767.0 && value <= 65_535.0 => value - 65_536.0,
            value if !signed && value < 0.0 => value + 65_536.0,
            value => value,
        };
        let integer = attributes.number(tags::PIXEL_PADDING_VALUE).map(correct);
        let limit = attributes.number(tags::PIXEL_PADDING_RANGE_LIMIT).map(correct);
        let float = |tag| attributes.number(tag);
        let value = integer
            .or_else(|| float(tags::FLOAT_PIXEL_PADDING_VALUE))
            .or_else(|| float(tags::DOUBLE_FLOAT_PIXEL_PADDING_VALUE))?;
        let limit = limit
            .or_else(|| float(tags::FLOAT_PIXEL_PADDING_RANGE_LIMIT))
            .or_else(|| float(tags::DOUBLE_FLOAT_PIXEL_PADDING_RANGE_LIMIT))
            .unwrap_or(value);
        Some(Self { lowest: value.min(limit), highest: value.max(limit) })
    }

    /// Whether a stored value is padding.
    pub fn contains(&self, stored: f64) -> bool {
        (self.lowest..=self.highest).contains(&stored)
    }
}
