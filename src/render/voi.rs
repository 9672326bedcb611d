//! The VOI LUT, PS3.3 C.11.2: which values of the modality are black, white and between.

use std::borrow::Cow;

use dicom_dictionary_std::tags;

use super::functional_groups::of_frame;
use super::lut::Lut;
use super::{View, Window};
use crate::dicom::data_set::DataSet;

/// VOI LUT Function (0028,1056).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VoiFunction {
    /// C.11.2.1.2.1
    #[default]
    Linear,
    /// C.11.2.1.3.2
    LinearExact,
    /// C.11.2.1.3.1
    Sigmoid,
}

impl VoiFunction {
    fn read(item: &DataSet) -> Self {
        match item.text(tags::VOILUT_FUNCTION).as_deref() {
            Some("LINEAR_EXACT") => Self::LinearExact,
            Some("SIGMOID") => Self::Sigmoid,
            _ => Self::Linear,
        }
    }

    /// Whether the function is defined for a window of this width.
    fn allows(self, width: f64) -> bool {
        width.is_finite() && if self == Self::Linear { width >= 1.0 } else { width > 0.0 }
    }

    /// 0 for black to 1 for white.
    fn apply(self, window: Window, value: f64) -> f64 {
        let Window { center, width } = window;
        match self {
            Self::Linear if width <= 1.0 => f64::from(u8::from(value > center - 0.5)),
            Self::Linear => ((value - (center - 0.5)) / (width - 1.0) + 0.5).clamp(0.0, 1.0),
            Self::LinearExact => ((value - center) / width + 0.5).clamp(0.0, 1.0),
            Self::Sigmoid => 1.0 / (1.0 + (-4.0 * (value - center) / width).exp()),
        }
    }
}

/// A window with a name a person can choose it by.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedWindow {
    /// Window Center (0028,1050).
    pub center: f64,
    /// Window Width (0028,1051).
    pub width: f64,
    /// Window Center & Width Explanation (0028,1055), empty where there is none.
    pub explanation: Cow<'static, str>,
    /// VOI LUT Function (0028,1056).
    pub function: VoiFunction,
}

/// The windows an instance offers for a frame, in its order; unusable ones are left out.
pub fn windows(attributes: &DataSet, frame0: usize) -> Vec<NamedWindow> {
    let item = voi_item(attributes, frame0);
    let function = VoiFunction::read(item);
    let explanations = item.texts(tags::WINDOW_CENTER_WIDTH_EXPLANATION);
    item.numbers(tags::WINDOW_CENTER)
        .into_iter()
        .zip(item.numbers(tags::WINDOW_WIDTH))
        .enumerate()
        .filter(|(_, (center, width))| center.is_finite() && function.allows(*width))
        .map(|(index, (center, width))| NamedWindow {
            center,
            width,
            explanation: explanations.get(index).cloned().unwrap_or_default().into(),
            function,
        })
        .collect()
}

/// The Frame VOI LUT macro of the frame where there is one, else the image's own attributes.
fn voi_item(attributes: &DataSet, frame0: usize) -> &DataSet {
    of_frame(attributes, frame0, tags::FRAME_VOILUT_SEQUENCE).unwrap_or(attributes)
}

/// How values of the modality become grey.
#[derive(Debug, Clone, PartialEq)]
pub enum Voi {
    /// A window.
    Window(Window, VoiFunction),
    /// VOI LUT Sequence (0028,3010).
    Table(Lut),
    /// From the lowest to the highest value, where nothing is said.
    Range {
        /// Becomes black.
        lowest: f64,
        /// Becomes white.
        highest: f64,
    },
}

impl Voi {
    /// What the view asks for, else the instance; nothing where the range of the frame has to decide.
    ///
    /// An instance with both a table and windows (mammography) is shown with the table first, as the
    /// table is what the window approximates.
    pub fn choose(attributes: &DataSet, frame0: usize, view: &View, signed: bool) -> Option<Self> {
        let item = voi_item(attributes, frame0);
        if let Some(window) = view.window {
            let function = view.function.unwrap_or_else(|| VoiFunction::read(item));
            return Some(Self::Window(window, function));
        }
        if view.window_index.is_none()
            && let Some(lut) = item.first_item(tags::VOILUT_SEQUENCE).and_then(|item| Lut::read(item, signed))
        {
            return Some(Self::Table(lut));
        }
        let windows = windows(attributes, frame0);
        let chosen = windows.get(view.window_index.unwrap_or(0)).or(windows.first())?;
        Some(Self::Window(Window { center: chosen.center, width: chosen.width }, chosen.function))
    }

    /// 0 for black to 255 for white.
    pub fn apply(&self, value: f64) -> u8 {
        let fraction = match self {
            Self::Window(window, function) => function.apply(*window, value),
            Self::Table(lut) => lut.apply(value) / f64::from(lut.largest),
            Self::Range { lowest, highest } if highest > lowest => (value - lowest) / (highest - lowest),
            Self::Range { .. } => 0.0,
        };
        // A float becomes a byte by saturation; NaN becomes 0.
        (fraction * 255.0).round() as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(function: VoiFunction, center: f64, width: f64, value: f64) -> u8 {
        Voi::Window(Window { center, width }, function).apply(value)
    }

    #[test]
    fn linear_maps_the_example_of_the_standard() {
        // C.11.2.1.2.1: center 2048, width 4096 is the identity over 12 bits.
        assert_eq!(grey(VoiFunction::Linear, 2048.0, 4096.0, 0.0), 0);
        assert_eq!(grey(VoiFunction::Linear, 2048.0, 4096.0, 4095.0), 255);
        // Center 0, width 100: black at and below -50, white above 49.
        assert_eq!(grey(VoiFunction::Linear, 0.0, 100.0, -50.0), 0);
        assert_eq!(grey(VoiFunction::Linear, 0.0, 100.0, 49.0), 255);
    }

    #[test]
    fn linear_exact_reaches_its_ends_at_half_the_width() {
        assert_eq!(grey(VoiFunction::LinearExact, 0.0, 100.0, -50.0), 0);
        assert_eq!(grey(VoiFunction::LinearExact, 0.0, 100.0, 0.0), 128);
        assert_eq!(grey(VoiFunction::LinearExact, 0.0, 100.0, 50.0), 255);
    }

    #[test]
    fn sigmoid_is_half_at_the_center() {
        assert_eq!(grey(VoiFunction::Sigmoid, 40.0, 80.0, 40.0), 128);
        assert_eq!(grey(VoiFunction::Sigmoid, 40.0, 80.0, 1e9), 255);
    }

    #[test]
    fn a_window_of_width_one_is_a_threshold() {
        assert_eq!(grey(VoiFunction::Linear, 10.0, 1.0, 9.0), 0);
        assert_eq!(grey(VoiFunction::Linear, 10.0, 1.0, 10.0), 255);
    }

    #[test]
    fn a_flat_range_is_black_and_no_number_is_black() {
        assert_eq!(Voi::Range { lowest: 5.0, highest: 5.0 }.apply(5.0), 0);
        assert_eq!(Voi::Range { lowest: 0.0, highest: 1.0 }.apply(f64::NAN), 0);
    }
}
