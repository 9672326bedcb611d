//! What stands in a picture's place where there is none: a dark tile with a sign, so that `<img>` shows something.
//! The words belong to the page around it.

use crate::render::{Picture, Pixels, encode};

/// What the sign on the tile says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// A report or another document: a page with lines.
    Document,
    /// A video: a triangle to play.
    Video,
    /// Curves over time.
    Waveform,
    /// Anything else that is no picture: a stack of layers.
    Other,
    /// A picture that cannot be made: a frame with a stroke through it.
    Broken,
}

const PAPER: u8 = 0x16;
const INK: f32 = 0x6e as f32;
/// The signs are drawn on a square of this many units.
const GRID: f32 = 20.0;

/// A square tile of this side, as PNG.
pub fn tile(sign: Sign, side: u32) -> Vec<u8> {
    let side = side.clamp(16, 512);
    let mut grey = Vec::new();
    // The sign takes the middle half.
    let unit = GRID / (side as f32 / 2.0);
    for y in 0..side {
        for x in 0..side {
            let at = |pixel: u32| (pixel as f32 + 0.5) * unit - GRID / 2.0;
            let ink = coverage(sign, at(x), at(y), unit);
            grey.push((f32::from(PAPER) + (INK - f32::from(PAPER)) * ink) as u8);
        }
    }
    encode(&Picture { width: side, height: side, pixels: Pixels::Grey(grey) })
}

/// How much of a pixel the strokes cover, 0 to 1: by its distance from the nearest line.
fn coverage(sign: Sign, x: f32, y: f32, unit: f32) -> f32 {
    const HALF_STROKE: f32 = 0.7;
    let nearest = strokes(sign).iter().map(|line| distance(x, y, line)).fold(f32::MAX, f32::min);
    ((HALF_STROKE - nearest) / unit + 0.5).clamp(0.0, 1.0)
}

/// Lines from (x1, y1) to (x2, y2).
fn strokes(sign: Sign) -> &'static [[f32; 4]] {
    match sign {
        Sign::Document => &[
            [4.0, 2.0, 12.0, 2.0],
            [12.0, 2.0, 16.0, 6.0],
            [16.0, 6.0, 16.0, 18.0],
            [16.0, 18.0, 4.0, 18.0],
            [4.0, 18.0, 4.0, 2.0],
            [7.0, 9.0, 13.0, 9.0],
            [7.0, 12.0, 13.0, 12.0],
            [7.0, 15.0, 11.0, 15.0],
        ],
        Sign::Video => &[
            [2.0, 3.0, 18.0, 3.0],
            [18.0, 3.0, 18.0, 17.0],
            [18.0, 17.0, 2.0, 17.0],
            [2.0, 17.0, 2.0, 3.0],
            [8.0, 7.0, 13.0, 10.0],
            [13.0, 10.0, 8.0, 13.0],
            [8.0, 13.0, 8.0, 7.0],
        ],
        Sign::Waveform => &[
            [1.0, 11.0, 5.0, 11.0],
            [5.0, 11.0, 6.5, 9.0],
            [6.5, 9.0, 8.0, 11.0],
            [8.0, 11.0, 9.0, 4.0],
            [9.0, 4.0, 11.0, 16.0],
            [11.0, 16.0, 12.5, 11.0],
            [12.5, 11.0, 19.0, 11.0],
        ],
        Sign::Other => &[
            [10.0, 3.0, 18.0, 7.0],
            [18.0, 7.0, 10.0, 11.0],
            [10.0, 11.0, 2.0, 7.0],
            [2.0, 7.0, 10.0, 3.0],
            [2.0, 11.0, 10.0, 15.0],
            [10.0, 15.0, 18.0, 11.0],
        ],
        Sign::Broken => &[
            [3.0, 4.0, 17.0, 4.0],
            [17.0, 4.0, 17.0, 16.0],
            [17.0, 16.0, 3.0, 16.0],
            [3.0, 16.0, 3.0, 4.0],
            [3.0, 16.0, 17.0, 4.0],
        ],
    }
}

fn distance(x: f32, y: f32, &[x1, y1, x2, y2]: &[f32; 4]) -> f32 {
    let (dx, dy) = (x2 - x1, y2 - y1);
    let along = (((x - x1) * dx + (y - y1) * dy) / (dx * dx + dy * dy)).clamp(0.0, 1.0);
    (x - x1 - along * dx).hypot(y - y1 - along * dy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sign_is_drawn_and_no_two_are_alike() {
        let signs = [Sign::Document, Sign::Video, Sign::Waveform, Sign::Other, Sign::Broken];
        let mut tiles: Vec<Vec<u8>> = signs.iter().map(|&sign| tile(sign, 64)).collect();
        assert!(tiles.iter().all(|tile| tile.starts_with(b"\x89PNG")));
        tiles.sort();
        tiles.dedup();
        assert_eq!(tiles.len(), signs.len());
    }

    #[test]
    fn a_tile_is_never_larger_than_it_needs_to_be() {
        assert_eq!(tile(Sign::Broken, 100_000), tile(Sign::Broken, 512));
    }
}
