//! Lines with a thickness, drawn into a grid: bones, vessels and wires as an X-ray sees them.

use super::grid::Grid;
use super::noise::Random;

/// A place in a picture, mm from its upper left.
pub type Place = (f32, f32);

/// A curve.
pub struct Stroke(Vec<Point>);

#[derive(Clone, Copy)]
struct Point {
    place: Place,
    /// mm.
    radius: f32,
    /// How much of it is there.
    strength: f32,
}

impl Stroke {
    /// A quadratic Bézier curve, the radius changing evenly.
    pub fn curve(from: Place, over: Place, to: Place, radii: (f32, f32)) -> Stroke {
        let length = (over.0 - from.0).hypot(over.1 - from.1) + (to.0 - over.0).hypot(to.1 - over.1);
        let steps = (length * 5.0).clamp(12.0, 400.0) as usize;
        let points = (0..=steps).map(|step| {
            let t = step as f32 / steps as f32;
            let mix =
                |a: f32, b: f32, c: f32| (1.0 - t) * (1.0 - t) * a + 2.0 * t * (1.0 - t) * b + t * t * c;
            let place = (mix(from.0, over.0, to.0), mix(from.1, over.1, to.1));
            Point { place, radius: radii.0 + t * (radii.1 - radii.0), strength: 1.0 }
        });
        Stroke(points.collect())
    }

    /// A straight line.
    pub fn line(from: Place, to: Place, radii: (f32, f32)) -> Stroke {
        Stroke::curve(from, ((from.0 + to.0) / 2.0, (from.1 + to.1) / 2.0), to, radii)
    }

    /// This and then the other, as one.
    pub fn then(mut self, other: Stroke) -> Stroke {
        self.0.extend(other.0);
        self
    }

    /// The same curve with another radius, a function of how far along it is, 0 to 1.
    pub fn shaped(mut self, radius: impl Fn(f32) -> f32) -> Stroke {
        self.along(|t, point| point.radius = radius(t));
        self
    }

    /// The same curve, here and there fainter, a function of how far along it is, 0 to 1.
    pub fn fading(mut self, strength: impl Fn(f32) -> f32) -> Stroke {
        self.along(|t, point| point.strength = strength(t));
        self
    }

    fn along(&mut self, change: impl Fn(f32, &mut Point)) {
        let last = (self.0.len().max(2) - 1) as f32;
        self.0.iter_mut().enumerate().for_each(|(at, point)| change(at as f32 / last, point));
    }

    /// Adds to the grid, of which a pixel is `spacing` mm: `profile` of the distance from the middle, 1 at the edge,
    /// and of the radius.
    pub fn add(&self, grid: &mut Grid, spacing: f32, profile: impl Fn(f32, f32) -> f32) {
        self.draw(grid, spacing, profile, |there, new| there + new);
    }

    /// Like [`Stroke::add`], but where there is more already, that stays.
    pub fn cover(&self, grid: &mut Grid, spacing: f32, profile: impl Fn(f32, f32) -> f32) {
        self.draw(grid, spacing, profile, f32::max);
    }

    fn draw(
        &self,
        grid: &mut Grid,
        spacing: f32,
        profile: impl Fn(f32, f32) -> f32,
        combine: impl Fn(f32, f32) -> f32,
    ) {
        let mut area = Area::around(&self.0, spacing);
        for point in &self.0 {
            area.mark(point, spacing);
        }
        for (row, cells) in (area.top..).zip(area.cells.chunks_exact(area.width)) {
            for (column, cell) in (area.left..).zip(cells) {
                if cell.distance < 1.0 {
                    let new = cell.strength * profile(cell.distance, cell.radius);
                    grid.change(column, row, |value| *value = combine(*value, new));
                }
            }
        }
    }
}

/// The pixels around a curve, each with the nearest point of it.
struct Area {
    left: isize,
    top: isize,
    width: usize,
    cells: Vec<Cell>,
}

#[derive(Clone, Copy)]
struct Cell {
    /// In radii of the nearest point.
    distance: f32,
    radius: f32,
    strength: f32,
}

impl Area {
    fn around(points: &[Point], spacing: f32) -> Area {
        let reach = points.iter().map(|point| point.radius).fold(0.0, f32::max) + 2.0 * spacing;
        let span = |coordinate: fn(&Point) -> f32| {
            let low = points.iter().map(coordinate).fold(f32::MAX, f32::min);
            let high = points.iter().map(coordinate).fold(f32::MIN, f32::max);
            let first = ((low - reach) / spacing).floor() as isize;
            (first, (((high + reach) / spacing).ceil() as isize - first + 1).max(1) as usize)
        };
        let ((left, width), (top, height)) = (span(|point| point.place.0), span(|point| point.place.1));
        let far = Cell { distance: 9.0, radius: 0.0, strength: 0.0 };
        Area { left, top, width, cells: vec![far; width * height] }
    }

    fn mark(&mut self, point: &Point, spacing: f32) {
        let (x, y) = (point.place.0 / spacing, point.place.1 / spacing);
        let radius = (point.radius / spacing).max(0.5);
        for row in (y - radius) as isize..=(y + radius) as isize + 1 {
            let first = (x - radius) as isize;
            let at = (row - self.top) * self.width as isize + first - self.left;
            let length = (2.0 * radius) as usize + 3;
            let Some(cells) = usize::try_from(at).ok().and_then(|at| self.cells.get_mut(at..at + length))
            else {
                continue;
            };
            let dy = row as f32 - y;
            for (column, cell) in (first..).zip(cells) {
                let dx = column as f32 - x;
                let distance = (dx * dx + dy * dy).sqrt() / radius;
                if distance < 1.0 && distance < cell.distance {
                    *cell = Cell { distance, radius: point.radius, strength: point.strength };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_as_wide_as_said_and_covers_itself_once() {
        let mut grid = Grid::filled(40, 40, 0.0);
        let line = || Stroke::line((5.0, 10.0), (15.0, 10.0), (2.0, 2.0));
        line().cover(&mut grid, 0.5, |_, _| 1.0);
        line().cover(&mut grid, 0.5, |_, _| 1.0);

        let column: Vec<f32> = (0..40).map(|y| grid.at(20, y)).collect();
        let wide = column.iter().filter(|value| **value == 1.0).count();
        assert_eq!(wide, 7, "2 mm to each side are less than 4 pixels: {column:?}");
        assert_eq!(grid.at(4, 20), 0.0, "it begins at 5 mm less its radius");
        assert_eq!(grid.at(7, 20), 1.0);
    }
}
