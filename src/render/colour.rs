//! Colour samples to RGB of 8 bits, PS3.3 C.7.6.3.1.2.

use super::geometry::Grid;
use crate::codec::{Decoded, Photometric, Samples};

/// RGB pixels of the grid.
pub fn to_rgb(decoded: &Decoded, grid: &Grid) -> Vec<u8> {
    let bits = u32::from(decoded.bits_stored);
    let pixels = match &decoded.samples {
        Samples::U8(samples) if bits == 8 => grid.pick_pixels(samples),
        Samples::U8(samples) => scale(&grid.pick_pixels(samples), bits),
        Samples::U16(samples) => scale(&grid.pick_pixels(samples), bits),
        Samples::I16(samples) => {
            scale(&grid.pick_pixels(samples).iter().map(|s| s.cast_unsigned()).collect::<Vec<_>>(), bits)
        }
        Samples::U32(samples) => scale(&grid.pick_pixels(samples), bits),
        Samples::I32(samples) => {
            scale(&grid.pick_pixels(samples).iter().map(|s| s.cast_unsigned()).collect::<Vec<_>>(), bits)
        }
        Samples::F32(samples) => floats(&grid.pick_pixels(samples)),
        Samples::F64(samples) => floats(&grid.pick_pixels(samples)),
    };
    match decoded.photometric {
        Photometric::YbrFull | Photometric::YbrFull422 => ybr_to_rgb(pixels, &FULL),
        Photometric::YbrPartial422 | Photometric::YbrPartial420 => ybr_to_rgb(pixels, &PARTIAL),
        _ => pixels,
    }
}

/// White becomes black where that is wanted.
pub fn inverted(mut pixels: Vec<u8>, invert: bool) -> Vec<u8> {
    if invert {
        pixels.iter_mut().for_each(|byte| *byte = 255 - *byte);
    }
    pixels
}

fn scale<T: Copy + Into<u32>>(samples: &[T], bits: u32) -> Vec<u8> {
    let largest = u32::MAX >> (32 - bits.clamp(1, 32));
    let byte = |sample: &T| {
        let sample = (*sample).into() & largest;
        let value = if bits > 8 { sample >> (bits.min(32) - 8) } else { sample * 255 / largest };
        u8::try_from(value).unwrap_or(u8::MAX)
    };
    samples.iter().map(byte).collect()
}

/// Colour in floating point has no defined range; 0 to 1 is what there is in practice.
fn floats<T: Copy + Into<f64>>(samples: &[T]) -> Vec<u8> {
    samples.iter().map(|sample| ((*sample).into() * 255.0).round() as u8).collect()
}

/// Factors of 1/65536 for luminance, and for red, green (two) and blue from the chrominance.
struct Factors {
    black: i32,
    luminance: i32,
    red: i32,
    green_blue: i32,
    green_red: i32,
    blue: i32,
}

/// R = Y + 1.402 Cr, G = Y - 0.344136 Cb - 0.714136 Cr, B = Y + 1.772 Cb
const FULL: Factors = Factors {
    black: 0,
    luminance: 65_536,
    red: 91_881,
    green_blue: 22_554,
    green_red: 46_802,
    blue: 116_130,
};

/// The same from 16 to 235 and 240: 255/219 for the luminance, 255/224 for the chrominance.
const PARTIAL: Factors = Factors {
    black: 16,
    luminance: 76_309,
    red: 104_597,
    green_blue: 25_675,
    green_red: 53_279,
    blue: 132_201,
};

fn ybr_to_rgb(mut pixels: Vec<u8>, factors: &Factors) -> Vec<u8> {
    let byte = |value: i32| u8::try_from(((value + 32_768) >> 16).clamp(0, 255)).unwrap_or(0);
    let (triples, _) = pixels.as_chunks_mut::<3>();
    for pixel in triples {
        let [y, blue, red] = pixel.map(i32::from);
        let (blue, red) = (blue - 128, red - 128);
        let grey = (y - factors.black) * factors.luminance;
        *pixel = [
            byte(grey + factors.red * red),
            byte(grey - factors.green_blue * blue - factors.green_red * red),
            byte(grey + factors.blue * blue),
        ];
    }
    pixels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_range_red_is_red() {
        assert_eq!(ybr_to_rgb(vec![76, 85, 255], &FULL), [254, 0, 0]);
        assert_eq!(ybr_to_rgb(vec![128, 128, 128], &FULL), [128, 128, 128]);
    }

    #[test]
    fn partial_range_has_its_own_black_and_white() {
        assert_eq!(ybr_to_rgb(vec![16, 128, 128, 235, 128, 128], &PARTIAL), [0, 0, 0, 255, 255, 255]);
    }

    #[test]
    fn deep_samples_keep_their_highest_bits() {
        assert_eq!(scale(&[0xFFFFu16, 0x8000, 0x00FF], 16), [255, 128, 0]);
        assert_eq!(scale(&[1u8, 0], 1), [255, 0]);
        assert_eq!(scale(&[u32::MAX], 32), [255]);
    }
}
