//! A frame being drawn: everything that is the same for all of its rows, decided once.

use std::ops::Range;

use super::colour;
use super::encode::{self, Shape};
use super::geometry::{self, Grid, Region};
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
    /// The part of the frame that is drawn; the grid lies on it.
    region: Region,
    grid: Grid,
    target: (u32, u32),
    ink: Ink,
    planes: Vec<Plane>,
    mirror: bool,
    upside_down: bool,
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
        let whole = Region { left: 0, top: 0, columns: frame.columns, rows: frame.rows };
        let region = view.region.unwrap_or(whole).within(frame.rows, frame.columns);
        let target = geometry::target(region.rows, region.columns, aspect, view);
        let grid = Grid::for_target(region.rows, region.columns, target);
        // The first row shows what kind of samples there are.
        let sample = frame.read(0..1, 1)?;
        let ink = match sample.photometric {
            Photometric::Monochrome1 | Photometric::Monochrome2 => {
                let mut grey = Grey::new(&sample, attributes, frame0, view);
                if grey.needs_range() {
                    // What is black and white does not depend on the part that is shown.
                    let of_all = Grid::for_target(frame.rows, frame.columns, (frame.columns, frame.rows));
                    let grid = if region == whole { grid } else { of_all };
                    let parts = parts(frame, &grid);
                    let ranges = parallel::each(parts.len(), |number| {
                        let rows = parts.get(number).cloned().unwrap_or_default();
                        Ok::<_, E>(grey.range(&frame.picked(&grid, whole, rows)?.samples, &grid))
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
            let planes = overlay::planes(attributes, frame.columns, bits, frame0);
            planes.into_iter().map(|plane| plane.on(region)).collect()
        } else {
            Vec::new()
        };
        let View { mirror, upside_down, .. } = *view;
        Ok(Drawing { frame, region, grid, target, ink, planes, mirror, upside_down })
    }

    /// The picture as a PNG file.
    pub fn png(&self) -> Result<Vec<u8>, E> {
        if self.grid.size() == self.target && !self.mirror && !self.upside_down {
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
        let picture = geometry::resize(pixels, &self.grid, self.target)?;
        Ok(if self.mirror || self.upside_down {
            geometry::flipped(picture, self.mirror, self.upside_down)
        } else {
            picture
        })
    }

    /// What is drawn, before it is brought to its size.
    fn shape(&self) -> Shape {
        let (width, height) = self.grid.size();
        let channels = if matches!(self.ink, Ink::Grey(_, None)) { 1 } else { 3 };
        Shape { width, height, channels }
    }

    /// Some rows of the grid.
    fn rows(&self, rows: Range<u32>) -> Result<Pixels, E> {
        let band = self.frame.picked(&self.grid, self.region, rows.clone())?;
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
    /// What these rows of a grid on a part of the frame need, one row behind the other.
    fn picked(&self, grid: &Grid, region: Region, rows: Range<u32>) -> Result<Decoded, E> {
        let Range { start, end } = grid.frame_rows(&rows);
        let band = self.read(start + region.top..end + region.top, grid.step())?;
        let is_whole = region.columns == self.columns;
        Ok(if is_whole { band } else { band.part(region.left..region.left + region.columns) })
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
