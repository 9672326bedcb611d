//! A frame being drawn: everything that is the same for all of its rows, decided once.

use std::ops::Range;

use super::colour;
use super::encode::{self, Shape};
use super::geometry::{self, Grid};
use super::grey::Grey;
use super::overlay::{self, Plane};
use super::palette::{self, Palette};
use super::parallel;
use super::{Error, Frame, Picture, Pixels, View};
use crate::codec::{Decoded, Photometric};
use crate::dicom::data_set::DataSet;

/// A frame and the way its samples become pixels.
pub struct Drawing<'a, E> {
    frame: &'a Frame<'a, E>,
    grid: Grid,
    target: (u32, u32),
    ink: Ink,
    planes: Vec<Plane>,
}

enum Ink {
    /// Grey, and colour for the values above the grey ones where there is a supplemental palette.
    Grey(Grey, Option<Palette>),
    Palette(Palette, Inverted),
    Colour(Inverted),
}

type Inverted = bool;

impl<'a, E: From<Error> + Send> Drawing<'a, E> {
    /// Looks at the attributes, and at the samples where their range decides what is black and white.
    pub fn new(frame: &'a Frame<'a, E>, attributes: &DataSet, frame0: usize, view: &View) -> Result<Self, E> {
        let aspect = geometry::pixel_aspect(attributes, frame0);
        let target = geometry::target(frame.rows, frame.columns, aspect, view.width, view.height);
        let grid = Grid::for_target(frame.rows, frame.columns, target);
        // The first row shows what kind of samples there are.
        let sample = frame.read(0..1, 1)?;
        let ink = match sample.photometric {
            Photometric::Monochrome1 | Photometric::Monochrome2 => {
                let mut grey = Grey::new(&sample, attributes, frame0, view);
                if grey.needs_range() {
                    let parts = parts(frame, &grid);
                    let ranges = parallel::each(parts.len(), |number| {
                        let rows = parts.get(number).cloned().unwrap_or_default();
                        Ok::<_, E>(grey.range(&frame.picked(&grid, rows)?.samples, &grid))
                    })?;
                    grey.set_range(ranges);
                }
                Ink::Grey(grey, palette::supplemental(attributes, sample.photometric))
            }
            Photometric::PaletteColor => {
                Ink::Palette(Palette::read(attributes).ok_or(Error::NoPalette)?, view.invert)
            }
            _ => Ink::Colour(view.invert),
        };
        let planes = if view.overlays && overlay::any(attributes) {
            // Bits above the samples are taken from all of them.
            let whole = if sample.unused_bits.is_some() { Some(frame.read(0..frame.rows, 1)?) } else { None };
            let bits = whole.as_ref().and_then(|whole| whole.unused_bits.as_deref());
            overlay::planes(attributes, frame.columns, bits, frame0)
        } else {
            Vec::new()
        };
        Ok(Drawing { frame, grid, target, ink, planes })
    }

    /// The picture as a PNG file.
    pub fn png(&self) -> Result<Vec<u8>, E> {
        if self.grid.size() == self.target {
            return encode::encode_rows(self.shape(), |rows| Ok(self.rows(rows)?.into_bytes()));
        }
        Ok(encode::encode(&self.picture()?))
    }

    /// The picture.
    pub fn picture(&self) -> Result<Picture, E> {
        let parts = parts(self.frame, &self.grid);
        let drawn = parallel::each(parts.len(), |number| {
            Ok::<_, E>(self.rows(parts.get(number).cloned().unwrap_or_default())?.into_bytes())
        })?;
        let bytes = drawn.concat();
        let pixels = if self.shape().channels == 1 { Pixels::Grey(bytes) } else { Pixels::Rgb(bytes) };
        Ok(geometry::resize(pixels, &self.grid, self.target)?)
    }

    /// What is drawn, before it is brought to its size.
    fn shape(&self) -> Shape {
        let (width, height) = self.grid.size();
        let channels = if matches!(self.ink, Ink::Grey(_, None)) { 1 } else { 3 };
        Shape { width, height, channels }
    }

    /// Some rows of the grid.
    fn rows(&self, rows: Range<u32>) -> Result<Pixels, E> {
        let band = self.frame.picked(&self.grid, rows.clone())?;
        let (samples, grid) = (&band.samples, &self.grid);
        let bytes = match &self.ink {
            Ink::Grey(grey, None) => grey.draw(samples, grid),
            Ink::Grey(grey, Some(palette)) => palette.supplement(&grey.draw(samples, grid), samples, grid),
            Ink::Palette(palette, invert) => colour::inverted(palette.apply(samples, grid), *invert),
            Ink::Colour(invert) => colour::inverted(colour::to_rgb(&band, grid), *invert),
        };
        let mut pixels = if self.shape().channels == 1 { Pixels::Grey(bytes) } else { Pixels::Rgb(bytes) };
        for plane in &self.planes {
            plane.draw(&mut pixels, &self.grid, rows.clone());
        }
        Ok(pixels)
    }
}

/// The rows of a grid in parts that a processor's cache holds.
fn parts<E>(frame: &Frame<'_, E>, grid: &Grid) -> Vec<Range<u32>> {
    let (_, height) = grid.size();
    encode::strips(Shape { width: frame.columns, height, channels: 1 })
}

impl<E: From<Error>> Frame<'_, E> {
    /// The rows of the frame that these rows of a grid need, one behind the other.
    fn picked(&self, grid: &Grid, rows: Range<u32>) -> Result<Decoded, E> {
        self.read(grid.frame_rows(&rows), grid.step())
    }

    /// Every `step`-th of these rows of the frame, and no others.
    fn read(&self, rows: Range<u32>, step: usize) -> Result<Decoded, E> {
        let count = u64::try_from(rows.len().div_ceil(step)).unwrap_or(u64::MAX);
        let band = (self.read)(rows, step)?;
        let expected = count * u64::from(self.columns) * u64::from(band.samples_per_pixel);
        let found = u64::try_from(band.samples.len()).unwrap_or(u64::MAX);
        if expected != found || expected == 0 {
            return Err(Error::Samples { expected, found }.into());
        }
        Ok(band)
    }
}
