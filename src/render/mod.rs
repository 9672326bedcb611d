//! From samples to a picture a browser can show: PS3.3 C.7.6.3, C.11.1, C.11.2, C.11.6 and C.9.2.
//!
//! Stored values go through the modality LUT, the VOI LUT or window and the presentation LUT to 8 bits, or
//! through a palette or colour transformation to RGB; overlays are drawn on top, and the picture is brought
//! to square pixels and the wanted size. Everything here is a function of its arguments: no clock, no files.

mod colour;
mod encode;
mod functional_groups;
mod geometry;
mod grey;
mod lut;
mod modality;
mod overlay;
mod padding;
mod palette;
mod presets;
mod voi;

pub use encode::png;
pub use presets::presets;
pub use voi::{NamedWindow, VoiFunction, windows};

use crate::codec::{Decoded, Photometric};
use crate::dicom::data_set::DataSet;
use geometry::Grid;

/// What to show of a frame, and how. The default is what the instance itself asks for, in its full size.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct View {
    /// A window to use instead of the instance's.
    pub window: Option<Window>,
    /// Which of the instance's [`windows`] to use, from 0; beyond the last one, the first.
    pub window_index: Option<usize>,
    /// Black becomes white.
    pub invert: bool,
    /// Largest width in pixels.
    pub width: Option<u32>,
    /// Largest height in pixels.
    pub height: Option<u32>,
    /// Whether the overlays of the 60xx groups are drawn.
    pub overlays: bool,
}

/// Window Center (0028,1050) and Window Width (0028,1051), in the units that come out of the modality LUT.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// The value that becomes middle grey.
    pub center: f64,
    /// How many values lie between black and white.
    pub width: f64,
}

/// A picture with square pixels, 8 bits a channel, rows from the top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// The pixels.
    pub pixels: Pixels,
}

/// The pixels of a [`Picture`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pixels {
    /// A byte a pixel, 0 is black.
    Grey(Vec<u8>),
    /// Three bytes a pixel.
    Rgb(Vec<u8>),
}

/// Why samples cannot become a picture, in words for the place where it would be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// PALETTE COLOR without a palette.
    #[error("the image is in palette colours, but its palette is missing or unreadable")]
    NoPalette,
    /// The samples are not what rows, columns and samples per pixel promise.
    #[error("the decoded frame has {found} samples where {expected} are needed")]
    Samples {
        /// Rows times columns times samples per pixel.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// The picture could not be resized.
    #[error("the picture cannot be brought to {width} x {height} pixels")]
    Resize {
        /// Wanted width.
        width: u32,
        /// Wanted height.
        height: u32,
    },
}

/// Renders frame `frame0` (from 0), which has been decoded to `decoded`, with the instance's attributes.
pub fn picture(
    decoded: &Decoded,
    attributes: &DataSet,
    frame0: usize,
    view: &View,
) -> Result<Picture, Error> {
    let expected =
        u64::from(decoded.rows) * u64::from(decoded.columns) * u64::from(decoded.samples_per_pixel);
    let found = u64::try_from(decoded.samples.len()).unwrap_or(u64::MAX);
    if expected != found || expected == 0 {
        return Err(Error::Samples { expected, found });
    }
    let aspect = geometry::pixel_aspect(attributes, frame0);
    let target = geometry::target(decoded.rows, decoded.columns, aspect, view.width, view.height);
    let grid = Grid::for_target(decoded.rows, decoded.columns, target);

    let mut pixels = match decoded.photometric {
        Photometric::Monochrome1 | Photometric::Monochrome2 => {
            let grey = grey::render(decoded, attributes, frame0, view, &grid);
            match palette::supplemental(attributes, decoded.photometric) {
                Some(palette) => Pixels::Rgb(palette.supplement(&grey, &decoded.samples, &grid)),
                None => Pixels::Grey(grey),
            }
        }
        Photometric::PaletteColor => {
            let palette = palette::Palette::read(attributes).ok_or(Error::NoPalette)?;
            Pixels::Rgb(colour::inverted(palette.apply(&decoded.samples, &grid), view.invert))
        }
        _ => Pixels::Rgb(colour::inverted(colour::to_rgb(decoded, &grid), view.invert)),
    };
    if view.overlays {
        for plane in overlay::planes(attributes, decoded, frame0) {
            plane.draw(&mut pixels, &grid);
        }
    }
    geometry::resize(pixels, &grid, target)
}
