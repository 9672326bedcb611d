//! A picture of real numbers, and what is done to it before it becomes pixels.

use super::noise::Random;

/// Rows of numbers.
#[derive(Clone)]
pub struct Grid {
    /// Of a row.
    pub width: usize,
    /// How many rows.
    pub height: usize,
    /// Row after row from the top.
    pub data: Vec<f32>,
}

impl Grid {
    /// All of it this value.
    pub fn filled(width: usize, height: usize, value: f32) -> Grid {
        Grid { width, height, data: vec![value; width * height] }
    }

    /// A function of column and row.
    pub fn of(width: usize, height: usize, mut value: impl FnMut(f32, f32) -> f32) -> Grid {
        let mut data = Vec::with_capacity(width * height);
        for y in 0..height {
            for x in 0..width {
                data.push(value(x as f32, y as f32));
            }
        }
        Grid { width, height, data }
    }

    /// Normal noise.
    pub fn noise(width: usize, height: usize, random: &mut Random) -> Grid {
        Grid { width, height, data: (0..width * height).map(|_| random.normal()).collect() }
    }

    /// The value there, that of the nearest edge outside.
    pub fn at(&self, x: isize, y: isize) -> f32 {
        let x = x.clamp(0, self.width as isize - 1) as usize;
        let y = y.clamp(0, self.height as isize - 1) as usize;
        self.data.get(y * self.width + x).copied().unwrap_or(0.0)
    }

    /// Changes the value there, if there is one.
    pub fn change(&mut self, x: isize, y: isize, change: impl FnOnce(&mut f32)) {
        if let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y))
            && x < self.width
            && let Some(value) = self.data.get_mut(y * self.width + x)
        {
            change(value);
        }
    }

    /// Every value through a function.
    pub fn map(mut self, change: impl Fn(f32) -> f32) -> Grid {
        self.data.iter_mut().for_each(|value| *value = change(*value));
        self
    }

    /// This plus so much of the other.
    pub fn plus(mut self, other: &Grid, weight: f32) -> Grid {
        self.data.iter_mut().zip(&other.data).for_each(|(value, other)| *value += weight * other);
        self
    }

    /// Blurred by a Gaussian of this standard deviation in pixels.
    pub fn blurred(&self, sigma: f32) -> Grid {
        let reach = (sigma * 2.5).ceil() as usize;
        let kernel: Vec<f32> =
            (0..=2 * reach).map(|at| (-0.5 * ((at as f32 - reach as f32) / sigma).powi(2)).exp()).collect();
        let sum: f32 = kernel.iter().sum();
        let kernel: Vec<f32> = kernel.iter().map(|weight| weight / sum).collect();
        let mut across = Grid::filled(self.width, self.height, 0.0);
        let mut padded = vec![0.0; self.width + 2 * reach];
        for (row, out) in self.data.chunks_exact(self.width).zip(across.data.chunks_exact_mut(self.width)) {
            for (x, value) in padded.iter_mut().enumerate() {
                *value = row.get(x.saturating_sub(reach).min(self.width - 1)).copied().unwrap_or(0.0);
            }
            for (window, out) in padded.windows(kernel.len()).zip(out) {
                *out = window.iter().zip(&kernel).map(|(value, weight)| value * weight).sum();
            }
        }
        let taps = (0..self.height).map(|y| (y as isize - reach as isize, kernel.as_slice()));
        across.rows_combined(self.height, taps)
    }

    /// Each row of the result is a weighted sum of rows of this, from the one named.
    fn rows_combined<'a>(&self, height: usize, taps: impl Iterator<Item = (isize, &'a [f32])>) -> Grid {
        let mut result = Grid::filled(self.width, height, 0.0);
        for ((first, weights), out) in taps.zip(result.data.chunks_exact_mut(self.width)) {
            for (weight, y) in weights.iter().zip(first..) {
                let y = y.clamp(0, self.height as isize - 1) as usize;
                let row = self.data.get(y * self.width..).unwrap_or_default();
                out.iter_mut().zip(row).for_each(|(out, value)| *out += weight * value);
            }
        }
        result
    }

    /// Another size, by Catmull-Rom cubic interpolation.
    pub fn resized(&self, width: usize, height: usize) -> Grid {
        let mut across = Grid::filled(width, self.height, 0.0);
        let taps = cubic_taps(self.width, width);
        let last = self.width - 1;
        for (row, out) in self.data.chunks_exact(self.width).zip(across.data.chunks_exact_mut(width)) {
            for ((first, weights), out) in taps.iter().zip(out) {
                let at = |offset: isize| row.get((first + offset).clamp(0, last as isize) as usize).copied();
                let values =
                    weights.iter().zip(0..).map(|(weight, offset)| weight * at(offset).unwrap_or(0.0));
                *out = values.sum();
            }
        }
        let taps = cubic_taps(self.height, height);
        across.rows_combined(height, taps.iter().map(|(first, weights)| (*first, weights.as_slice())))
    }

    /// As 16-bit words, rounded and kept within these.
    pub fn words(&self, low: f32, high: f32) -> Vec<u8> {
        self.data
            .iter()
            .flat_map(|value| (value.clamp(low, high).round() as i32 as u16).to_le_bytes())
            .collect()
    }
}

/// For each of `to` places, the first of the four of `from` that it lies between, and their Catmull-Rom weights.
fn cubic_taps(from: usize, to: usize) -> Vec<(isize, [f32; 4])> {
    let scale = from as f32 / to as f32;
    let tap = |place: usize| {
        let at = (place as f32 + 0.5) * scale - 0.5;
        let t = at - at.floor();
        let weights = [
            0.5 * (-t + 2.0 * t * t - t * t * t),
            0.5 * (2.0 - 5.0 * t * t + 3.0 * t * t * t),
            0.5 * (t + 4.0 * t * t - 3.0 * t * t * t),
            0.5 * (t * t * t - t * t),
        ];
        (at.floor() as isize - 1, weights)
    };
    (0..to).map(tap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blurring_and_resizing_keep_the_mean_and_the_shape() {
        let grid = Grid::of(40, 30, |x, y| x + 2.0 * y);
        let mean = |grid: &Grid| grid.data.iter().sum::<f32>() / grid.data.len() as f32;

        let blurred = grid.blurred(1.5);
        assert_eq!((blurred.width, blurred.height), (40, 30));
        assert!((mean(&blurred) - mean(&grid)).abs() < 0.1);
        assert!((blurred.at(20, 15) - 50.0).abs() < 0.01);

        let larger = grid.resized(80, 60);
        assert_eq!((larger.width, larger.height), (80, 60));
        assert!((larger.at(40, 30) - (19.75 + 2.0 * 14.75)).abs() < 0.01, "{}", larger.at(40, 30));
    }

    #[test]
    fn words_are_little_endian_and_twos_complement() {
        let grid = Grid { width: 3, height: 1, data: vec![-1.0, 258.4, 9999.0] };
        assert_eq!(grid.words(-1024.0, 4095.0), [0xFF, 0xFF, 0x02, 0x01, 0xFF, 0x0F]);
    }
}
