//! From samples to a picture a browser can show: PS3.3 C.7.6.3, C.11.1, C.11.2, C.11.6 and C.9.2.
//!
//! Stored values go through the modality LUT, the VOI LUT or window and the presentation LUT to 8 bits, or
//! through a palette or colour transformation to RGB; overlays are drawn on top, and the picture is brought
//! to square pixels and the wanted size. A frame is drawn in bands of rows, which several threads share, so that
//! what is done to a band stays in the cache of a processor. Everything here is a function of its arguments: no clock,
//! no files, and the same bytes however many threads there are.

mod annotation;
mod colour;
mod drawing;
mod encode;
#[cfg(test)]
mod fixtures;
mod functional_groups;
mod geometry;
mod grey;
mod lut;
mod modality;
mod overlay;
mod padding;
mod palette;
mod parallel;
mod presets;
mod strip;
mod voi;

pub use annotation::{Corners, annotate};
pub use encode::encode;
pub use geometry::Region;
pub use presets::presets;
pub use voi::{NamedWindow, VoiFunction, windows};

use std::ops::Range;

use crate::codec::Decoded;
use crate::dicom::data_set::DataSet;
use drawing::Drawing;

/// What to show of a frame, and how. The default is the instance's own look without overlays, in its full size.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct View {
    /// A window to use instead of the instance's.
    pub window: Option<Window>,
    /// How that window becomes grey; as the instance says, where this does not.
    pub function: Option<VoiFunction>,
    /// Which of the instance's [`windows`] to use, from 0; beyond the last one, the first.
    pub window_index: Option<usize>,
    /// Black becomes white.
    pub invert: bool,
    /// Largest width in pixels.
    pub width: Option<u32>,
    /// Largest height in pixels.
    pub height: Option<u32>,
    /// A picture that is smaller than these is made larger.
    pub enlarge: bool,
    /// A part of the frame instead of all of it.
    pub region: Option<Region>,
    /// Left and right change places.
    pub mirror: bool,
    /// Top and bottom change places.
    pub upside_down: bool,
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

impl Pixels {
    /// The bytes, whatever they mean.
    pub fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Grey(bytes) | Self::Rgb(bytes) => bytes,
        }
    }
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

/// Width and height of the picture of a frame of this many rows and columns in its full size.
pub fn full_size(attributes: &DataSet, frame0: usize, rows: u32, columns: u32) -> (u32, u32) {
    geometry::target(rows, columns, geometry::pixel_aspect(attributes, frame0), &View::default())
}

/// A frame whose samples are had a few rows at a time, any of them at any time, also on several threads at once.
pub struct Frame<'a, E> {
    /// Rows (0028,0010).
    pub rows: u32,
    /// Columns (0028,0011).
    pub columns: u32,
    /// The samples of every n-th row of a range.
    pub read: &'a (dyn Fn(Range<u32>, usize) -> Result<Decoded, E> + Sync),
}

/// Draws frame `frame0` (from 0) with the instance's attributes as a PNG file.
///
/// # Errors
/// What reading the frame says, and [`Error`].
pub fn png<E: From<Error> + Send>(
    frame: &Frame<'_, E>,
    attributes: &DataSet,
    frame0: usize,
    view: &View,
) -> Result<Vec<u8>, E> {
    Drawing::new(frame, attributes, frame0, view)?.png()
}

#[cfg(test)]
mod tests {
    use super::fixtures::{Is, attributes, row};
    use super::*;
    use crate::codec::{Photometric, Samples};
    use dicom_core::Tag;
    use dicom_dictionary_std::tags;

    fn picture(
        decoded: &Decoded,
        attributes: &DataSet,
        frame0: usize,
        view: &View,
    ) -> Result<Picture, Error> {
        let read = |rows: Range<u32>, step| Ok::<_, Error>(decoded.band(rows, step));
        let frame = Frame { rows: decoded.rows, columns: decoded.columns, read: &read };
        Drawing::new(&frame, attributes, frame0, view)?.picture()
    }

    /// The grey or RGB bytes of a picture in its full size.
    fn pixels(decoded: &Decoded, attributes: &DataSet, view: &View) -> Vec<u8> {
        picture(decoded, attributes, 0, view).unwrap().pixels.into_bytes()
    }

    fn shown(decoded: &Decoded, attributes: &DataSet) -> Vec<u8> {
        pixels(decoded, attributes, &View::default())
    }

    fn grey16(samples: &[u16]) -> Decoded {
        row(Photometric::Monochrome2, 16, Samples::U16(samples.to_vec()))
    }

    fn signed(samples: &[i16]) -> Decoded {
        row(Photometric::Monochrome2, 16, Samples::I16(samples.to_vec()))
    }

    const WINDOW: [(Tag, &str); 2] = [(tags::WINDOW_CENTER, "50"), (tags::WINDOW_WIDTH, "100")];

    #[test]
    fn the_window_applies_after_the_rescale() {
        let [center, width] = WINDOW.map(|(tag, text)| (tag, Is::Text(text)));
        let ct = attributes([
            center,
            width,
            (tags::RESCALE_INTERCEPT, Is::Text("-1024")),
            (tags::RESCALE_SLOPE, Is::Text("1")),
        ]);
        assert_eq!(shown(&grey16(&[1024, 1074, 1123]), &ct), [0, 129, 255]);
    }

    #[test]
    fn without_a_window_the_frame_uses_the_whole_scale() {
        assert_eq!(shown(&signed(&[-1000, 0, 1000]), &attributes([])), [0, 128, 255]);
    }

    #[test]
    fn padding_is_black_and_does_not_take_part_in_the_scale() {
        let padded = attributes([(tags::PIXEL_PADDING_VALUE, Is::Words(vec![0xF830]))]);
        assert_eq!(shown(&signed(&[-2000, 0, 100]), &padded), [0, 0, 255]);
        let range = attributes([
            (tags::PIXEL_PADDING_VALUE, Is::Words(vec![900])),
            (tags::PIXEL_PADDING_RANGE_LIMIT, Is::Words(vec![1000])),
        ]);
        let inverted = View { invert: true, ..View::default() };
        assert_eq!(pixels(&grey16(&[0, 100, 950]), &range, &inverted), [255, 0, 0]);
    }

    #[test]
    fn monochrome1_shows_its_lowest_value_white() {
        let decoded = row(Photometric::Monochrome1, 8, Samples::U8(vec![0, 255]));
        assert_eq!(shown(&decoded, &attributes([])), [255, 0]);
        let inverted = View { invert: true, ..View::default() };
        assert_eq!(pixels(&decoded, &attributes([]), &inverted), [0, 255]);
    }

    #[test]
    fn the_inverse_presentation_of_monochrome1_is_not_inverted_twice() {
        let inverse = attributes([(tags::PRESENTATION_LUT_SHAPE, Is::Text("INVERSE"))]);
        let decoded = row(Photometric::Monochrome1, 8, Samples::U8(vec![0, 255]));
        assert_eq!(shown(&decoded, &inverse), [255, 0]);
        assert_eq!(shown(&grey16(&[0, 9]), &inverse), [255, 0]);
    }

    #[test]
    fn a_modality_table_replaces_stored_values() {
        let item = attributes([
            (tags::LUT_DESCRIPTOR, Is::Words(vec![3, 10, 16])),
            (tags::LUT_DATA, Is::Words(vec![0, 1000, 500])),
        ]);
        let cr = attributes([(tags::MODALITY_LUT_SEQUENCE, Is::Items(vec![item]))]);
        assert_eq!(shown(&grey16(&[9, 10, 11, 12, 13]), &cr), [0, 0, 255, 128, 128]);
    }

    #[test]
    fn a_voi_table_comes_before_a_window_unless_the_window_is_asked_for() {
        let item = attributes([
            (tags::LUT_DESCRIPTOR, Is::Words(vec![2, 0, 8])),
            (tags::LUT_DATA, Is::Words(vec![255, 0])),
        ]);
        let mg = attributes([
            (tags::WINDOW_CENTER, Is::Text("1")),
            (tags::WINDOW_WIDTH, Is::Text("2")),
            (tags::VOILUT_SEQUENCE, Is::Items(vec![item])),
        ]);
        assert_eq!(shown(&grey16(&[0, 1]), &mg), [255, 0]);
        let first = View { window_index: Some(0), ..View::default() };
        assert_eq!(pixels(&grey16(&[0, 1]), &mg, &first), [0, 255]);
    }

    #[test]
    fn a_frame_has_its_own_rescale_and_window() {
        let frame = |intercept, center| {
            let value = attributes([
                (tags::RESCALE_INTERCEPT, Is::Text(intercept)),
                (tags::RESCALE_SLOPE, Is::Text("1")),
            ]);
            let voi =
                attributes([(tags::WINDOW_CENTER, Is::Text(center)), (tags::WINDOW_WIDTH, Is::Text("1"))]);
            attributes([
                (tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE, Is::Items(vec![value])),
                (tags::FRAME_VOILUT_SEQUENCE, Is::Items(vec![voi])),
            ])
        };
        let frames = vec![frame("0", "5"), frame("100", "105")];
        let enhanced = attributes([(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, Is::Items(frames))]);
        for frame in 0..2 {
            let picture = picture(&grey16(&[4, 5]), &enhanced, frame, &View::default()).unwrap();
            assert_eq!(picture.pixels, Pixels::Grey(vec![0, 255]), "frame {frame}");
        }
        assert_eq!(windows(&enhanced, 1)[0].center, 105.0);
    }

    #[test]
    fn windows_keep_their_names() {
        let item = attributes([
            (tags::WINDOW_CENTER, Is::Text("40\\-600")),
            (tags::WINDOW_WIDTH, Is::Text("400\\1500")),
            (tags::WINDOW_CENTER_WIDTH_EXPLANATION, Is::Text("SOFT\\LUNG")),
        ]);
        let windows = windows(&item, 0);
        assert_eq!(windows.len(), 2);
        assert_eq!((windows[1].explanation.as_ref(), windows[1].width), ("LUNG", 1500.0));
    }

    #[test]
    fn a_window_of_width_zero_is_not_offered() {
        let item = attributes([(tags::WINDOW_CENTER, Is::Text("40")), (tags::WINDOW_WIDTH, Is::Text("0"))]);
        assert_eq!(windows(&item, 0), []);
        assert_eq!(shown(&grey16(&[10, 20]), &item), [0, 255]);
    }

    #[test]
    fn a_mask_is_white_on_black_even_where_it_is_empty() {
        let frame = |bits: &[u8]| row(Photometric::Monochrome2, 1, Samples::U8(bits.to_vec()));
        assert_eq!(shown(&frame(&[0, 0]), &attributes([])), [0, 0]);
        assert_eq!(shown(&frame(&[1, 1]), &attributes([])), [255, 255]);
    }

    #[test]
    fn dose_and_floats_use_the_range_of_the_frame() {
        let dose = attributes([(tags::DOSE_GRID_SCALING, Is::Text("0.001"))]);
        let decoded = row(Photometric::Monochrome2, 32, Samples::U32(vec![0, 4_000_000_000]));
        assert_eq!(shown(&decoded, &dose), [0, 255]);
        let map = row(Photometric::Monochrome2, 32, Samples::F32(vec![f32::NAN, -1.5, 0.0, 1.5]));
        assert_eq!(shown(&map, &attributes([])), [0, 0, 128, 255]);
    }

    fn palette_attributes() -> DataSet {
        let table = |colours: [u16; 2]| Is::Words(colours.to_vec());
        let descriptor = || Is::Words(vec![2, 100, 16]);
        attributes([
            (tags::PIXEL_PRESENTATION, Is::Text("COLOR")),
            (tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR, descriptor()),
            (tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR, descriptor()),
            (tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR, descriptor()),
            (tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA, table([0xFFFF, 0])),
            (tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA, table([0, 0x8000])),
            (tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA, table([0, 0xFFFF])),
        ])
    }

    #[test]
    fn palette_indices_become_colours() {
        let decoded = row(Photometric::PaletteColor, 8, Samples::U8(vec![100, 101]));
        assert_eq!(shown(&decoded, &palette_attributes()), [255, 0, 0, 0, 128, 255]);
    }

    #[test]
    fn a_supplemental_palette_colours_only_its_own_values() {
        let decoded = row(Photometric::Monochrome2, 8, Samples::U8(vec![0, 100]));
        assert_eq!(shown(&decoded, &palette_attributes()), [0, 0, 0, 255, 0, 0]);
    }

    #[test]
    fn palette_colour_without_a_palette_is_an_error_in_words() {
        let decoded = row(Photometric::PaletteColor, 8, Samples::U8(vec![1]));
        let error = picture(&decoded, &attributes([]), 0, &View::default()).unwrap_err();
        assert!(error.to_string().contains("palette"));
    }

    fn overlay(origin: [u16; 2], bits: u8) -> DataSet {
        attributes([
            (Tag(0x6000, 0x0010), Is::Words(vec![1])),
            (Tag(0x6000, 0x0011), Is::Words(vec![2])),
            (Tag(0x6000, 0x0050), Is::Words(origin.to_vec())),
            (Tag(0x6000, 0x0100), Is::Words(vec![1])),
            (Tag(0x6000, 0x0102), Is::Words(vec![0])),
            (Tag(0x6000, 0x3000), Is::Bytes(vec![bits, 0])),
        ])
    }

    #[test]
    fn overlays_are_drawn_in_white_when_wanted() {
        let view = View { overlays: true, ..View::default() };
        let decoded = grey16(&[0, 0, 0, 9]);
        assert_eq!(pixels(&decoded, &overlay([1, 2], 0b01), &view), [0, 255, 0, 255]);
        assert_eq!(shown(&decoded, &overlay([1, 2], 0b01)), [0, 0, 0, 255]);
    }

    #[test]
    fn an_overlay_may_hang_over_the_edge() {
        let view = View { overlays: true, ..View::default() };
        assert_eq!(pixels(&grey16(&[0, 0, 9]), &overlay([1, 3], 0b11), &view), [0, 0, 255]);
    }

    #[test]
    fn an_overlay_in_the_unused_bits_is_drawn() {
        let view = View { overlays: true, ..View::default() };
        let embedded = attributes([
            (Tag(0x6000, 0x0100), Is::Words(vec![16])),
            (Tag(0x6000, 0x0102), Is::Words(vec![15])),
        ]);
        let decoded = Decoded { unused_bits: Some(vec![0x8000, 0, 9]), ..grey16(&[0, 0, 9]) };
        assert_eq!(pixels(&decoded, &embedded, &view), [255, 0, 255]);
    }

    #[test]
    fn a_part_has_the_greys_and_the_overlays_it_has_in_the_whole() {
        // Two rows of four: the darkest and the lightest are not in the part.
        let decoded = Decoded { rows: 2, columns: 4, ..grey16(&[0, 10, 20, 30, 40, 50, 60, 70]) };
        let view = View { overlays: true, ..View::default() };
        let whole = pixels(&decoded, &overlay([2, 3], 0b01), &view);
        let part = |mirror, upside_down| {
            let region = Some(Region { left: 1, top: 0, columns: 2, rows: 2 });
            let view = View { region, mirror, upside_down, ..view.clone() };
            pixels(&decoded, &overlay([2, 3], 0b01), &view)
        };
        assert_eq!(part(false, false), [whole[1], whole[2], whole[5], whole[6]]);
        assert_eq!(part(true, true), [whole[6], whole[5], whole[2], whole[1]]);
        assert_eq!((whole[1], whole[6]), (36, 255), "the range of all, and the overlay");
    }

    #[test]
    fn a_small_picture_of_a_part_takes_its_samples_from_there() {
        let samples: Vec<u16> = (0..600).flat_map(|row| (0..600).map(move |column| row + column)).collect();
        let decoded = Decoded { rows: 600, columns: 600, ..grey16(&samples) };
        let window = Some(Window { center: 600.0, width: 1200.0 });
        let region = Some(Region { left: 300, top: 240, columns: 240, rows: 240 });
        let view = View { window, region, width: Some(24), height: Some(24), ..View::default() };
        let small = picture(&decoded, &attributes([]), 0, &view).unwrap();
        assert_eq!((small.width, small.height), (24, 24));
        for (at, grey) in small.pixels.into_bytes().into_iter().enumerate() {
            let (row, column) = (240 + at / 24 * 10 + 5, 300 + at % 24 * 10 + 5);
            let expected = (row + column) as f64 / 1199.0 * 255.0;
            assert!((f64::from(grey) - expected).abs() < 3.0, "{row}, {column}: {grey}, not {expected}");
        }
    }

    #[test]
    fn the_function_of_a_window_is_the_one_asked_for() {
        let sigmoid = attributes([(tags::VOILUT_FUNCTION, Is::Text("SIGMOID"))]);
        let shown = |function| {
            let view =
                View { window: Some(Window { center: 50.0, width: 100.0 }), function, ..View::default() };
            pixels(&grey16(&[0, 50, 100]), &sigmoid, &view)
        };
        assert_eq!(shown(None), [30, 128, 225]);
        assert_eq!(shown(Some(VoiFunction::Linear)), [0, 129, 255]);
        assert_eq!(shown(Some(VoiFunction::LinearExact)), [0, 128, 255]);
    }

    #[test]
    fn ybr_becomes_rgb() {
        let decoded = row(Photometric::YbrFull, 8, Samples::U8(vec![76, 85, 255]));
        assert_eq!(shown(&decoded, &attributes([])), [254, 0, 0]);
    }

    #[test]
    fn a_thumbnail_keeps_its_shape_and_its_grey() {
        let decoded = Decoded { rows: 300, columns: 200, ..grey16(&vec![7; 60_000]) };
        let view = View {
            width: Some(20),
            height: Some(20),
            window: Some(Window { center: 7.5, width: 2.0 }),
            ..View::default()
        };
        let thumbnail = picture(&decoded, &attributes([]), 0, &view).unwrap();
        assert_eq!((thumbnail.width, thumbnail.height), (13, 20));
        assert_eq!(thumbnail.pixels, Pixels::Grey(vec![128; 260]));
    }

    #[test]
    fn too_few_samples_are_an_error() {
        let decoded = Decoded { rows: 2, ..grey16(&[1, 2]) };
        let error = picture(&decoded, &attributes([]), 0, &View::default()).unwrap_err();
        assert_eq!(error, Error::Samples { expected: 4, found: 2 });
    }
}
