//! Words burned into the corners of a picture, white with a dark edge, so that they are read on black and on white.

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

use super::{Picture, Pixels};

/// What stands in place of a letter that the font does not have.
const UNKNOWN: char = '?';
/// Letters of a line that was cut, at its end.
const CUT: &str = "..";

/// Lines of text for each corner, from the top.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Corners {
    /// Upper left.
    pub top_left: Vec<String>,
    /// Upper right.
    pub top_right: Vec<String>,
    /// Lower left.
    pub bottom_left: Vec<String>,
    /// Lower right.
    pub bottom_right: Vec<String>,
}

/// Burns words into a picture. The font has the letters of Latin scripts; others become question marks. A line that is
/// longer than half of the picture is cut and says so.
pub fn annotate(picture: &mut Picture, corners: &Corners) {
    let (width, height) = (side(picture.width), side(picture.height));
    let size = match width.min(height) {
        ..512 => RasterHeight::Size16,
        512..1024 => RasterHeight::Size24,
        _ => RasterHeight::Size32,
    };
    let (across, down) = (get_raster_width(FontWeight::Bold, size), size.val());
    let margin = down / 3;
    let fitting = (width / 2).saturating_sub(margin) / across;
    let mut ink = Ink { coverage: vec![0; width.saturating_mul(height)], width, height };
    let places = [
        (&corners.top_left, false, false),
        (&corners.top_right, true, false),
        (&corners.bottom_left, false, true),
        (&corners.bottom_right, true, true),
    ];
    for (lines, is_right, is_bottom) in places {
        let block = lines.len().saturating_mul(down);
        let top = if is_bottom { height.saturating_sub(block.saturating_add(margin)) } else { margin };
        for (number, line) in lines.iter().enumerate() {
            let line = cut(line, fitting);
            let length = line.chars().count().saturating_mul(across);
            let left = if is_right { width.saturating_sub(length.saturating_add(margin)) } else { margin };
            ink.write(&line, left, top.saturating_add(number.saturating_mul(down)), size);
        }
    }
    ink.put_on(&mut picture.pixels);
}

fn side(length: u32) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

fn cut(line: &str, fitting: usize) -> String {
    if line.chars().count() <= fitting {
        return line.to_owned();
    }
    let kept = line.chars().take(fitting.saturating_sub(CUT.len()));
    kept.chain(CUT.chars().take(fitting)).collect()
}

/// How much of each pixel of a picture letters cover, 0 to 255.
struct Ink {
    coverage: Vec<u8>,
    width: usize,
    height: usize,
}

impl Ink {
    fn write(&mut self, line: &str, left: usize, top: usize, size: RasterHeight) {
        let mut left = left;
        for letter in line.chars() {
            let letter = if letter.is_whitespace() { ' ' } else { letter };
            let raster = get_raster(letter, FontWeight::Bold, size)
                .or_else(|| get_raster(UNKNOWN, FontWeight::Bold, size));
            let Some(raster) = raster else { continue };
            for (y, row) in (top..self.height).zip(raster.rows()) {
                for (x, covered) in (left..self.width).zip(row) {
                    if let Some(pixel) = self.coverage.get_mut(y * self.width + x) {
                        *pixel = (*pixel).max(*covered);
                    }
                }
            }
            left = left.saturating_add(raster.width());
        }
    }

    /// The most that letters cover of a pixel and of those around it.
    fn edge(&self, x: usize, y: usize) -> u8 {
        let columns = x.saturating_sub(1)..(x + 2).min(self.width);
        let rows = y.saturating_sub(1)..(y + 2).min(self.height);
        let row = |y: usize| self.coverage.get(y * self.width + columns.start..y * self.width + columns.end);
        rows.filter_map(row).flatten().copied().max().unwrap_or(0)
    }

    fn put_on(&self, pixels: &mut Pixels) {
        let (bytes, channels) = match pixels {
            Pixels::Grey(bytes) => (bytes, 1),
            Pixels::Rgb(bytes) => (bytes, 3),
        };
        for (at, pixel) in bytes.chunks_exact_mut(channels).enumerate() {
            let edge = self.edge(at % self.width.max(1), at / self.width.max(1));
            if edge == 0 {
                continue;
            }
            let covered = self.coverage.get(at).copied().unwrap_or(0);
            for byte in pixel {
                *byte = mixed(mixed(*byte, 0, edge), 255, covered);
            }
        }
    }
}

/// A colour over another, 0 of it to 255.
fn mixed(below: u8, above: u8, share: u8) -> u8 {
    let (below, above, share) = (u32::from(below), u32::from(above), u32::from(share));
    u8::try_from((below * (255 - share) + above * share) / 255).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotated(grey: u8, corners: &Corners) -> Vec<u8> {
        let mut picture = Picture { width: 200, height: 100, pixels: Pixels::Grey(vec![grey; 20_000]) };
        annotate(&mut picture, corners);
        picture.pixels.into_bytes()
    }

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn words_are_light_on_black_and_have_a_dark_edge_on_white() {
        let corners = Corners { top_left: lines(&["Müller"]), ..Corners::default() };
        let black = annotated(0, &corners);
        assert!(black.iter().filter(|&&grey| grey > 200).count() > 50);
        assert!(black[50 * 200..].iter().all(|&grey| grey == 0), "the rest is as it was");
        let white = annotated(255, &corners);
        assert!(white.iter().filter(|&&grey| grey < 50).count() > 50);
        assert!(white[50 * 200..].iter().all(|&grey| grey == 255), "the rest is as it was");
    }

    #[test]
    fn each_corner_has_its_own() {
        let corners = Corners { bottom_right: lines(&["a", "b"]), ..Corners::default() };
        let picture = annotated(0, &corners);
        let is_inked = |x: usize, y: usize| picture[y * 200 + x] > 0;
        let inked: Vec<(usize, usize)> =
            (0..100).flat_map(|y| (0..200).map(move |x| (x, y))).filter(|&(x, y)| is_inked(x, y)).collect();
        assert!(!inked.is_empty() && inked.iter().all(|&(x, y)| x > 180 && y > 60), "{inked:?}");
    }

    #[test]
    fn what_does_not_fit_is_cut_and_what_is_not_in_the_font_is_asked_about() {
        assert_eq!(cut("A very long name", 8), "A very..");
        assert_eq!((cut("short", 8), cut("short", 1)), ("short".to_owned(), ".".to_owned()));
        let unknown = Corners { top_left: lines(&["山"]), ..Corners::default() };
        let question = Corners { top_left: lines(&["?"]), ..Corners::default() };
        assert!(annotated(0, &unknown) == annotated(0, &question));
    }

    #[test]
    fn a_picture_that_is_too_small_has_no_words() {
        let mut picture = Picture { width: 4, height: 3, pixels: Pixels::Rgb(vec![7; 36]) };
        annotate(&mut picture, &Corners { top_left: lines(&["Doe"]), ..Corners::default() });
        assert_eq!(picture.pixels.into_bytes(), [7; 36]);
    }
}
