//! Size and shape: square pixels (PS3.3 C.7.6.3.1.7), fitting into a box, thumbnails.

use std::ops::Range;

use dicom_dictionary_std::tags;
use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use super::functional_groups::of_frame;
use super::{Error, Picture, Pixels, View};
use crate::codec::Samples;
use crate::dicom::data_set::DataSet;

/// Pixels that are more than this many times as high as wide, or the reverse, are taken for a mistake.
const MAX_ASPECT: f64 = 16.0;
/// Non-square pixels are made square by enlarging one side, unless the picture would have more pixels.
const MAX_PIXELS: f64 = 64e6;
/// A picture that is made larger has at most so many pixels.
const MAX_ENLARGED: f64 = 16e6;
/// A picture that is made smaller keeps this many samples a pixel in each direction before it is smoothed.
const SAMPLES_A_PIXEL: u32 = 3;

/// Height of a pixel divided by its width: spacing where there is one, else Pixel Aspect Ratio, else 1.
pub fn pixel_aspect(attributes: &DataSet, frame0: usize) -> f64 {
    let measures = of_frame(attributes, frame0, tags::PIXEL_MEASURES_SEQUENCE);
    let ratio = |numbers: Vec<f64>| match *numbers.as_slice() {
        [vertical, horizontal, ..] if vertical > 0.0 && horizontal > 0.0 => Some(vertical / horizontal),
        _ => None,
    };
    measures
        .and_then(|item| ratio(item.numbers(tags::PIXEL_SPACING)))
        .or_else(|| ratio(attributes.numbers(tags::PIXEL_SPACING)))
        .or_else(|| ratio(attributes.numbers(tags::IMAGER_PIXEL_SPACING)))
        .or_else(|| ratio(attributes.numbers(tags::NOMINAL_SCANNED_PIXEL_SPACING)))
        .or_else(|| ratio(attributes.numbers(tags::PIXEL_ASPECT_RATIO)))
        .filter(|ratio| (1.0 / MAX_ASPECT..=MAX_ASPECT).contains(ratio))
        .unwrap_or(1.0)
}

/// A part of a frame, in whole pixels of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// Columns before it.
    pub left: u32,
    /// Rows above it.
    pub top: u32,
    /// Its columns.
    pub columns: u32,
    /// Its rows.
    pub rows: u32,
}

impl Region {
    /// What of it lies in a frame of this size, at least a pixel.
    pub fn within(self, rows: u32, columns: u32) -> Region {
        let (left, top) = (self.left.min(columns.saturating_sub(1)), self.top.min(rows.saturating_sub(1)));
        let size = |wanted: u32, there: u32| wanted.min(there).max(1);
        Region { left, top, columns: size(self.columns, columns - left), rows: size(self.rows, rows - top) }
    }
}

/// Width and height of the picture: square pixels, fitting into the box, and enlarged only where that is wanted.
pub fn target(rows: u32, columns: u32, aspect: f64, view: &View) -> (u32, u32) {
    let (mut across, mut down) = (f64::from(columns), f64::from(rows));
    // Spacing is written with few digits: what would change no pixel is left alone.
    if (aspect - 1.0).abs() > 0.001 {
        let enlarged = across * down * aspect.max(1.0 / aspect);
        match (aspect > 1.0, enlarged <= MAX_PIXELS) {
            (true, true) | (false, false) => down *= aspect,
            (true, false) | (false, true) => across /= aspect,
        }
        if enlarged > MAX_PIXELS {
            (across, down) = if aspect > 1.0 {
                (f64::from(columns) / aspect, f64::from(rows))
            } else {
                (f64::from(columns), f64::from(rows) * aspect)
            };
        }
    }
    let limit =
        |side: Option<u32>, length: f64| side.map_or(f64::INFINITY, |side| f64::from(side.max(1)) / length);
    let fitting = limit(view.width, across).min(limit(view.height, down));
    let most = if view.enlarge { (MAX_ENLARGED / (across * down)).sqrt().max(1.0) } else { 1.0 };
    let scale = if fitting.is_finite() { fitting.min(most) } else { 1.0 };
    let whole = |length: f64| (length * scale).round().max(1.0) as u32;
    (whole(across), whole(down))
}

/// The samples that take part in a picture: all of them, or every n-th of every n-th row for a small one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// Rows of the frame.
    rows: u32,
    /// Columns of the frame.
    columns: usize,
    /// Every how many samples one is taken.
    step: usize,
    /// Columns and rows of the picture before it is resized.
    picked_columns: usize,
    picked_rows: usize,
}

impl Grid {
    /// The grid for a frame that ends up as a picture of this width and height.
    pub fn for_target(rows: u32, columns: u32, target: (u32, u32)) -> Self {
        let (width, height) = target;
        let step = (columns / width.max(1)).min(rows / height.max(1)) / SAMPLES_A_PIXEL;
        let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let step = size(step.max(1));
        let (columns, picked_rows) = (size(columns), size(rows).div_ceil(step));
        Self { rows, columns, step, picked_columns: columns.div_ceil(step), picked_rows }
    }

    /// The samples of the grid, one a pixel, of every [`step`](Self::step)-th row.
    pub fn pick<'a, T: Copy>(&self, samples: &'a [T]) -> std::borrow::Cow<'a, [T]> {
        if self.step == 1 {
            return samples.into();
        }
        let rows = samples.chunks_exact(self.columns.max(1));
        rows.flat_map(|row| row.iter().step_by(self.step).copied()).collect::<Vec<_>>().into()
    }

    /// The samples of the grid, three a pixel.
    pub fn pick_pixels<T: Copy>(&self, samples: &[T]) -> Vec<T> {
        if self.step == 1 {
            return samples.to_vec();
        }
        let (pixels, _) = samples.as_chunks::<3>();
        self.pick(pixels).as_flattened().to_vec()
    }

    /// The samples of the grid as numbers, for a palette.
    pub fn indices(&self, samples: &Samples) -> Vec<i32> {
        fn all<T: Copy + Into<i32>>(grid: &Grid, samples: &[T]) -> Vec<i32> {
            grid.pick(samples).iter().map(|sample| (*sample).into()).collect()
        }
        match samples {
            Samples::U8(samples) => all(self, samples),
            Samples::U16(samples) => all(self, samples),
            Samples::I16(samples) => all(self, samples),
            Samples::I32(samples) => all(self, samples),
            Samples::U32(samples) => {
                self.pick(samples).iter().map(|sample| i32::try_from(*sample).unwrap_or(i32::MAX)).collect()
            }
            Samples::F32(samples) => self.pick(samples).iter().map(|sample| *sample as i32).collect(),
            Samples::F64(samples) => self.pick(samples).iter().map(|sample| *sample as i32).collect(),
        }
    }

    /// Columns and rows of the picture before it is resized.
    pub fn size(&self) -> (u32, u32) {
        let small = |size: usize| u32::try_from(size).unwrap_or(0);
        (small(self.picked_columns), small(self.picked_rows))
    }

    /// Every how many rows and columns of the frame one is taken.
    pub fn step(&self) -> usize {
        self.step
    }

    /// The rows of the frame that these rows of the grid stand for; every [`step`](Self::step)-th is drawn.
    pub fn frame_rows(&self, rows: &Range<u32>) -> Range<u32> {
        let step = u32::try_from(self.step).unwrap_or(u32::MAX);
        rows.start.saturating_mul(step)..rows.end.saturating_mul(step).min(self.rows)
    }

    /// Which pixel of these rows of the grid shows a row and column of the frame.
    pub fn position(&self, row: i64, column: i64, rows: &Range<u32>) -> Option<usize> {
        let row = u32::try_from(usize::try_from(row).ok()? / self.step).ok()?;
        let column = usize::try_from(column).ok()? / self.step;
        if !rows.contains(&row) || column >= self.picked_columns {
            return None;
        }
        Some(usize::try_from(row.checked_sub(rows.start)?).ok()? * self.picked_columns + column)
    }
}

/// Brings the pixels of a grid to the size of the picture.
pub fn resize(pixels: Pixels, grid: &Grid, target: (u32, u32)) -> Result<Picture, Error> {
    let (width, height) = target;
    let (columns, rows) = grid.size();
    if (columns, rows) == target {
        return Ok(Picture { width, height, pixels });
    }
    let scaled = |bytes: &[u8], kind: PixelType| {
        let failed = || Error::Resize { width, height };
        let source = ImageRef::new(columns, rows, bytes, kind).map_err(|_| failed())?;
        let mut picture = Image::new(width, height, kind);
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
        Resizer::new().resize(&source, &mut picture, &options).map_err(|_| failed())?;
        Ok(picture.into_vec())
    };
    let pixels = match pixels {
        Pixels::Grey(bytes) => Pixels::Grey(scaled(&bytes, PixelType::U8)?),
        Pixels::Rgb(bytes) => Pixels::Rgb(scaled(&bytes, PixelType::U8x3)?),
    };
    Ok(Picture { width, height, pixels })
}

/// A picture seen in a mirror, upside down, or both.
pub fn flipped(picture: Picture, mirror: bool, upside_down: bool) -> Picture {
    fn turned(bytes: &[u8], row: usize, pixel: usize, mirror: bool, upside_down: bool) -> Vec<u8> {
        let mut rows: Vec<&[u8]> = bytes.chunks_exact(row.max(1)).collect();
        if upside_down {
            rows.reverse();
        }
        if !mirror {
            return rows.concat();
        }
        rows.iter().flat_map(|row| row.rchunks_exact(pixel)).flatten().copied().collect()
    }
    let columns = usize::try_from(picture.width).unwrap_or(usize::MAX);
    let pixels = match picture.pixels {
        Pixels::Grey(bytes) => Pixels::Grey(turned(&bytes, columns, 1, mirror, upside_down)),
        Pixels::Rgb(bytes) => Pixels::Rgb(turned(&bytes, columns.saturating_mul(3), 3, mirror, upside_down)),
    };
    Picture { pixels, ..picture }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(rows: u32, columns: u32, aspect: f64, width: Option<u32>, height: Option<u32>) -> (u32, u32) {
        super::target(rows, columns, aspect, &View { width, height, ..View::default() })
    }

    #[test]
    fn a_picture_is_enlarged_where_that_is_wanted_and_up_to_a_bound() {
        let enlarged = |width, height| {
            let view = View { width: Some(width), height: Some(height), enlarge: true, ..View::default() };
            super::target(64, 32, 1.0, &view)
        };
        assert_eq!(enlarged(320, 320), (160, 320));
        assert_eq!(enlarged(16, 16), (8, 16));
        let (width, height) = enlarged(8192, 8192);
        assert!(width > 2000 && height > 5000 && u64::from(width) * u64::from(height) < 16_100_000);
    }

    #[test]
    fn a_region_is_of_its_frame() {
        let region = Region { left: 5, top: 90, columns: 100, rows: 10 };
        assert_eq!(region.within(60, 20), Region { left: 5, top: 59, columns: 15, rows: 1 });
        assert_eq!(region.within(200, 200), region);
    }

    #[test]
    fn a_picture_is_flipped_by_whole_pixels() {
        let picture = Picture { width: 2, height: 2, pixels: Pixels::Grey(vec![1, 2, 3, 4]) };
        let grey = |mirror, upside_down| flipped(picture.clone(), mirror, upside_down).pixels.into_bytes();
        assert_eq!((grey(true, false), grey(false, true)), (vec![2, 1, 4, 3], vec![3, 4, 1, 2]));
        assert_eq!((grey(true, true), grey(false, false)), (vec![4, 3, 2, 1], vec![1, 2, 3, 4]));
        let colour = Picture { width: 2, height: 1, pixels: Pixels::Rgb(vec![1, 2, 3, 4, 5, 6]) };
        assert_eq!(flipped(colour, true, true).pixels.into_bytes(), [4, 5, 6, 1, 2, 3]);
    }

    #[test]
    fn tall_pixels_make_a_tall_picture() {
        assert_eq!(target(100, 200, 2.0, None, None), (200, 200));
        assert_eq!(target(100, 200, 0.5, None, None), (400, 100));
    }

    #[test]
    fn a_picture_fits_into_its_box_and_is_not_enlarged() {
        assert_eq!(target(2500, 2000, 1.0, Some(160), Some(160)), (128, 160));
        assert_eq!(target(64, 64, 1.0, Some(160), None), (64, 64));
        assert_eq!(target(1, 60_000, 1.0, Some(100), Some(100)), (100, 1));
    }

    #[test]
    fn a_huge_picture_is_made_square_by_shrinking() {
        assert_eq!(target(8000, 8000, 2.0, None, None), (4000, 8000));
        assert_eq!(target(8000, 8000, 0.5, None, None), (8000, 4000));
    }

    #[test]
    fn a_small_picture_of_a_large_frame_takes_every_nth_sample() {
        let grid = Grid::for_target(12, 12, (1, 1));
        let rows = grid.frame_rows(&(0..3)).step_by(grid.step());
        let samples: Vec<u32> = rows.flat_map(|row| row * 12..row * 12 + 12).collect();
        assert_eq!(grid.pick(&samples).as_ref(), [0, 4, 8, 48, 52, 56, 96, 100, 104]);
        assert_eq!(grid.position(5, 11, &(0..3)), Some(5));
        assert_eq!(grid.position(5, 11, &(1..3)), Some(2));
        assert_eq!(grid.position(5, 11, &(2..3)), None);
        assert_eq!(grid.position(-1, 0, &(0..3)), None);
        assert_eq!(grid.frame_rows(&(2..3)), 8..12);
    }
}
