//! Lines with a thickness, drawn into a grid: bones, vessels and wires as an X-ray sees them.

use super::grid::Grid;
use super::noise::Random;

/// A place in a picture, mm from its upper left.
pub type Place = (f32, f32);

/// A curve with a radius at each place.
pub struct Stroke(Vec<(Place, f32)>);

impl Stroke {
    /// A quadratic Bézier curve, the radius changing evenly.
    pub fn curve(from: Place, over: Place, to: Place, radii: (f32, f32)) -> Stroke {
        let length = (over.0 - from.0).hypot(over.1 - from.1) + (to.0 - over.0).hypot(to.1 - over.1);
        let steps = (length * 5.0).clamp(12.0, 400.0) as usize;
        let points = (0..=steps).map(|step| {
            let t = step as f32 / steps as f32;
            let mix =
                |a: f32, b: f32, c: f32| (1.0 - t) * (1.0 - t) * a + 2.0 * t * (1.0 - t) * b + t * t * c;
            ((mix(from.0, over.0, to.0), mix(from.1, over.1, to.1)), radii.0 + t * (radii.1 - radii.0))
        });
        Stroke(points.collect())
    }

    /// A straight line.
    pub fn line(from: Place, to: Place, radii: (f32, f32)) -> Stroke {
        Stroke::curve(from, ((from.0 + to.0) / 2.0, (from.1 + to.1) / 2.0), to, radii)
    }

    /// The same curve with another radius, a function of how far along it is, 0 to 1.
    pub fn shaped(mut self, radius: impl Fn(f32) -> f32) -> Stroke {
        let last = (self.0.len().max(2) - 1) as f32;
        self.0.iter_mut().enumerate().for_each(|(at, (_, r))| *r = radius(at as f32 / last));
        self
    }

    /// Adds to the grid, of which a pixel is `spacing` mm: `profile` of the distance from the middle, 0 to 1 at the
    /// edge, and of the radius.
    pub fn add(&self, grid: &mut Grid, spacing: f32, profile: impl Fn(f32, f32) -> f32) {
        let reach = self.0.iter().map(|(_, radius)| *radius).fold(0.0, f32::max) + spacing;
        let (xs, ys) = (self.0.iter().map(|(p, _)| p.0), self.0.iter().map(|(p, _)| p.1));
        let low = |values: &mut dyn Iterator<Item = f32>| {
            ((values.fold(f32::MAX, f32::min) - reach) / spacing).floor() as isize
        };
        let high = |values: &mut dyn Iterator<Item = f32>| {
            ((values.fold(f32::MIN, f32::max) + reach) / spacing).ceil() as isize
        };
        let (left, right) = (low(&mut xs.clone()), high(&mut xs.clone()));
        let (top, bottom) = (low(&mut ys.clone()), high(&mut ys.clone()));
        let size = |from: isize, to: isize| usize::try_from(to - from + 1).unwrap_or(0);
        // The nearest point of the curve, relative to its radius there, for every pixel of the box around it.
        let mut nearest = Grid::filled(size(left, right), size(top, bottom), 9.0);
        let mut radii = nearest.clone();
        for ((x, y), radius) in &self.0 {
            let (cx, cy, r) = (x / spacing, y / spacing, radius.max(spacing * 0.5) / spacing);
            for row in (cy - r) as isize..=(cy + r) as isize + 1 {
                for column in (cx - r) as isize..=(cx + r) as isize + 1 {
                    let distance = ((column as f32 - cx).powi(2) + (row as f32 - cy).powi(2)).sqrt() / r;
                    let (at_x, at_y) = (column - left, row - top);
                    if distance < 1.0 && distance < nearest.at(at_x, at_y) {
                        nearest.change(at_x, at_y, |value| *value = distance);
                        radii.change(at_x, at_y, |value| *value = *radius);
                    }
                }
            }
        }
        for row in top..=bottom {
            for column in left..=right {
                let distance = nearest.at(column - left, row - top);
                if distance < 1.0 {
                    let added = profile(distance, radii.at(column - left, row - top));
                    grid.change(column, row, |value| *value += added);
                }
            }
        }
    }
}

/// How much of a round rod an X-ray crosses, by the distance from its middle.
pub fn rod(distance: f32, radius: f32) -> f32 {
    2.0 * radius * (1.0 - distance * distance).max(0.0).sqrt()
}

/// The same for a tube with a wall: bright edges.
pub fn tube(distance: f32, radius: f32, wall: f32) -> f32 {
    let hollow = (1.0 - wall / radius).max(0.05);
    rod(distance, radius) - hollow * rod((distance / hollow).min(1.0), radius)
}

/// A tree of vessels: from here in this direction, branching until it is thin.
pub fn vessels(random: &mut Random, from: Place, angle: f32, radius: f32) -> Vec<Stroke> {
    let mut tree = Vec::new();
    let mut growing = vec![(from, angle, radius)];
    while let Some((from, angle, radius)) = growing.pop() {
        if radius < 0.36 || tree.len() > 250 {
            continue;
        }
        let length = radius * random.between(6.0, 9.0) + 5.0;
        let bend = random.between(-0.35, 0.35);
        let along = |angle: f32, length: f32| (from.0 + length * angle.cos(), from.1 + length * angle.sin());
        let (over, to) = (along(angle, length * 0.5), along(angle + bend, length));
        tree.push(Stroke::curve(from, over, to, (radius, radius * 0.8)));
        let spread = random.between(0.25, 0.6);
        let (thick, thin) = (radius * random.between(0.74, 0.84), radius * random.between(0.55, 0.76));
        growing.push((to, angle + bend * 1.5 + spread * 0.5, thick));
        growing.push((to, angle + bend * 1.5 - spread, thin));
    }
    tree
}
