//! Pictures as PNG files. The fastest settings: pictures are made for every look, and the network is near.
//!
//! A picture is encoded in strips of rows, each compressed by itself, so that a large one occupies several processors
//! and none has to be in memory as a whole. Within a strip rows differ from the one above (filter Up); the first row
//! of a strip differs from its own left (Sub), so that a strip needs nothing but its rows.

use std::convert::Infallible;
use std::ops::Range;

use png::chunk::IDAT;
use png::{BitDepth, ColorType, Encoder, EncodingError, Filter};

use super::parallel;
use super::strip::{HEADER, Strip, trailer};
use super::{Picture, Pixels};

/// Bytes of pixels in a strip: what is done to it stays in the cache of a processor.
const STRIP_BYTES: usize = 128 << 10;

/// Size and kind of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bytes of a pixel: 1 for grey, 3 for RGB.
    pub channels: usize,
}

/// Rows of a picture for one strip after the other.
pub fn strips(shape: Shape) -> Vec<Range<u32>> {
    let rows = u32::try_from(STRIP_BYTES / shape.row_bytes().max(1)).unwrap_or(u32::MAX).max(1);
    let count = shape.height.div_ceil(rows);
    (0..count).map(|strip| strip * rows..(strip * rows).saturating_add(rows).min(shape.height)).collect()
}

/// The picture as a PNG file.
pub fn encode(picture: &Picture) -> Vec<u8> {
    let (channels, bytes) = match &picture.pixels {
        Pixels::Grey(bytes) => (1, bytes),
        Pixels::Rgb(bytes) => (3, bytes),
    };
    let shape = Shape { width: picture.width, height: picture.height, channels };
    let rows = |rows: Range<u32>| {
        let at = |row: u32| usize::try_from(row).unwrap_or(usize::MAX).saturating_mul(shape.row_bytes());
        Ok::<_, Infallible>(bytes.get(at(rows.start)..at(rows.end)).unwrap_or_default().to_vec())
    };
    match encode_rows(shape, rows) {
        Ok(file) => file,
        Err(never) => match never {},
    }
}

/// A PNG file of the rows that `draw` draws, any of them at any time.
///
/// # Errors
/// What `draw` says.
pub fn encode_rows<E: Send>(
    shape: Shape,
    draw: impl Fn(Range<u32>) -> Result<Vec<u8>, E> + Sync,
) -> Result<Vec<u8>, E> {
    let parts = strips(shape);
    let strips = parallel::each(parts.len(), |number| {
        let rows = parts.get(number).cloned().unwrap_or_default();
        let height = rows.len();
        let pixels = draw(rows)?;
        let fits = pixels.len() == height.saturating_mul(shape.row_bytes());
        Ok(if fits { Strip::of(&filtered(&pixels, shape)).ok() } else { None })
    })?;
    // Writing to memory cannot fail, and pictures from this module have the bytes their size promises; what was put
    // together wrongly elsewhere becomes an empty file.
    let strips: Option<Vec<Strip>> = strips.into_iter().collect();
    Ok(strips.and_then(|strips| file(shape, &strips).ok()).unwrap_or_default())
}

impl Shape {
    fn row_bytes(self) -> usize {
        usize::try_from(self.width).unwrap_or(usize::MAX).saturating_mul(self.channels)
    }
}

/// Rows with their filter types before them, PNG section 9.
fn filtered(pixels: &[u8], shape: Shape) -> Vec<u8> {
    let length = shape.row_bytes().max(1);
    let mut bytes = Vec::with_capacity(pixels.len() + pixels.len() / length);
    let mut above: &[u8] = &[];
    for row in pixels.chunks_exact(length) {
        if above.is_empty() {
            bytes.push(Filter::Sub as u8);
            let (first, rest) = row.split_at(shape.channels.min(length));
            bytes.extend_from_slice(first);
            bytes.extend(rest.iter().zip(row).map(|(byte, left)| byte.wrapping_sub(*left)));
        } else {
            bytes.push(Filter::Up as u8);
            bytes.extend(row.iter().zip(above).map(|(byte, above)| byte.wrapping_sub(*above)));
        }
        above = row;
    }
    bytes
}

fn file(shape: Shape, strips: &[Strip]) -> Result<Vec<u8>, EncodingError> {
    let length: usize = strips.iter().map(|strip| strip.blocks.len() + 12).sum();
    let mut file = Vec::with_capacity(length + 128);
    let mut encoder = Encoder::new(&mut file, shape.width, shape.height);
    encoder.set_color(if shape.channels == 1 { ColorType::Grayscale } else { ColorType::Rgb });
    encoder.set_depth(BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_chunk(IDAT, &HEADER)?;
    for strip in strips {
        writer.write_chunk(IDAT, &strip.blocks)?;
    }
    writer.write_chunk(IDAT, &trailer(strips))?;
    writer.finish()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(file: &[u8]) -> (u32, u32, Vec<u8>) {
        let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut bytes).unwrap();
        (info.width, info.height, bytes)
    }

    /// Noise on a slope, another in each picture.
    fn picture(width: u32, height: u32, channels: usize) -> Picture {
        let length = width as usize * height as usize * channels;
        let mut state = width ^ height.rotate_left(16);
        let pixels = (0..length).map(|at| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((at / 1000) as u8).wrapping_add(state.to_be_bytes()[0] >> 5)
        });
        let pixels = pixels.collect();
        Picture {
            width,
            height,
            pixels: if channels == 1 { Pixels::Grey(pixels) } else { Pixels::Rgb(pixels) },
        }
    }

    #[test]
    fn grey_and_colour_come_out_as_they_went_in() {
        let grey = Picture { width: 3, height: 2, pixels: Pixels::Grey(vec![0, 1, 2, 253, 254, 255]) };
        assert_eq!(decoded(&encode(&grey)), (3, 2, vec![0, 1, 2, 253, 254, 255]));
        let colour = Picture { width: 1, height: 2, pixels: Pixels::Rgb(vec![9, 8, 7, 6, 5, 4]) };
        assert_eq!(decoded(&encode(&colour)), (1, 2, vec![9, 8, 7, 6, 5, 4]));
    }

    #[test]
    fn every_size_comes_out_as_it_went_in() {
        // One row and column, strips of exactly full size and one more or less, rows longer than a strip.
        let sizes = [(1, 1), (1, 300_000), (300_000, 1), (1024, 128), (1024, 129), (1024, 256), (1024, 383)];
        for (width, height) in sizes.into_iter().chain([(1000, 700), (140_000, 5), (2, 65_536)]) {
            for channels in [1, 3] {
                let picture = picture(width, height, channels);
                let (Pixels::Grey(bytes) | Pixels::Rgb(bytes)) = &picture.pixels;
                let (found_width, found_height, found) = decoded(&encode(&picture));
                assert_eq!((found_width, found_height), (width, height));
                assert!(found == *bytes, "{width} x {height} x {channels}");
            }
        }
    }

    #[test]
    fn the_same_picture_is_the_same_file() {
        let picture = picture(1500, 1500, 1);
        let first = encode(&picture);
        assert!((0..5).all(|_| encode(&picture) == first));
    }

    #[test]
    fn strips_cover_every_row_once() {
        let shape = Shape { width: 2048, height: 2500, channels: 1 };
        let rows: Vec<u32> = strips(shape).into_iter().flatten().collect();
        assert_eq!(rows, (0..2500).collect::<Vec<_>>());
    }

    #[test]
    fn a_picture_with_too_few_pixels_is_an_empty_file() {
        assert!(encode(&Picture { width: 5, height: 5, pixels: Pixels::Grey(vec![1]) }).is_empty());
    }

    #[test]
    fn what_cannot_be_drawn_is_an_error() {
        let shape = Shape { width: 2048, height: 2500, channels: 1 };
        let draw = |rows: Range<u32>| {
            if rows.start > 1000 { Err(rows.start) } else { Ok(vec![0; rows.len() * 2048]) }
        };
        assert!(encode_rows(shape, draw).is_err_and(|row| row > 1000));
    }
}
