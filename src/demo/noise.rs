//! Chance that is the same every time: random numbers, lattice noise, and the pictures made of it.

/// SplitMix64 (Steele, Lea, Flood 2014): small, fast, and the same on every machine.
pub struct Random(u64);

impl Random {
    /// Equal seeds give equal numbers.
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(0x1234_5678))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Even between 0 and 1.
    pub fn uniform(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 24) as f32
    }

    /// Even between these two.
    pub fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.uniform()
    }

    /// About normal, mean 0, standard deviation 1: four even ones added, which has no tails to speak of.
    pub fn normal(&mut self) -> f32 {
        let bits = self.next();
        let sum = (bits & 0xFFFF) + ((bits >> 16) & 0xFFFF) + ((bits >> 32) & 0xFFFF) + (bits >> 48);
        (sum as f32 / 65_536.0 - 2.0) * 1.732
    }
}

fn hash(x: i32, y: i32, z: i32, seed: u32) -> u32 {
    let mut h = seed
        ^ (x as u32).wrapping_mul(0x8DA6_B343)
        ^ (y as u32).wrapping_mul(0xD816_3841)
        ^ (z as u32).wrapping_mul(0xCB1A_B31F);
    h = (h ^ (h >> 15)).wrapping_mul(0x2C1B_3C6D);
    h = (h ^ (h >> 12)).wrapping_mul(0x297A_2D39);
    h ^ (h >> 15)
}

/// One of the twelve directions to the middles of a cube's edges, times the offset (Perlin 2002).
fn gradient(h: u32, x: f32, y: f32, z: f32) -> f32 {
    match h % 12 {
        0 => x + y,
        1 => y - x,
        2 => x - y,
        3 => -x - y,
        4 => x + z,
        5 => z - x,
        6 => x - z,
        7 => -x - z,
        8 => y + z,
        9 => z - y,
        10 => y - z,
        _ => -y - z,
    }
}

/// Gradient noise, smooth, about -1 to 1, one hill or valley for each unit of length.
pub fn noise(x: f32, y: f32, z: f32, seed: u32) -> f32 {
    // The planes between the cubes are flatter than the rest, and round numbers would lie on them.
    let (x, y, z) = (x + 0.217, y + 0.331, z + 0.413);
    let (fx, fy, fz) = (x.floor(), y.floor(), z.floor());
    let (i, j, k) = (fx as i32, fy as i32, fz as i32);
    let (x, y, z) = (x - fx, y - fy, z - fz);
    let fade = |t: f32| t * t * t * (t * (t * 6.0 - 15.0) + 10.0);
    let (u, v, w) = (fade(x), fade(y), fade(z));
    let corner = |a: i32, b: i32, c: i32| {
        gradient(hash(i + a, j + b, k + c, seed), x - a as f32, y - b as f32, z - c as f32)
    };
    let mix = |a: f32, b: f32, t: f32| a + (b - a) * t;
    let low = mix(mix(corner(0, 0, 0), corner(1, 0, 0), u), mix(corner(0, 1, 0), corner(1, 1, 0), u), v);
    let high = mix(mix(corner(0, 0, 1), corner(1, 0, 1), u), mix(corner(0, 1, 1), corner(1, 1, 1), u), v);
    mix(low, high, w)
}

/// Noise with finer noise on it, each octave half as long and half as strong.
pub fn fractal(x: f32, y: f32, z: f32, octaves: u32, seed: u32) -> f32 {
    let (mut sum, mut scale, mut strength) = (0.0, 1.0, 1.0);
    for octave in 0..octaves {
        sum += strength * noise(x * scale, y * scale, z * scale, seed.wrapping_add(octave));
        scale *= 2.03;
        strength *= 0.5;
    }
    sum
}

/// 0 below `low`, 1 above `high`, smooth between.
pub fn step(low: f32, high: f32, value: f32) -> f32 {
    let t = ((value - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}
