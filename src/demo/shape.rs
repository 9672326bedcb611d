//! Signed distances to simple bodies, in mm, negative inside: what the phantoms are put together from.

/// A point: x to the patient's left, y to the back, z to the head, PS3.3 C.7.6.2.1.1.
pub type Point = [f32; 3];

fn minus(a: Point, b: Point) -> Point {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

fn dot(a: Point, b: Point) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// The length of a vector.
pub fn length(a: Point) -> f32 {
    dot(a, a).sqrt()
}

/// An ellipsoid by centre and half axes; near the surface this is the distance, far away about that.
pub fn ellipsoid(p: Point, centre: Point, radii: Point) -> f32 {
    let q = minus(p, centre);
    let k0 = length([q[0] / radii[0], q[1] / radii[1], q[2] / radii[2]]);
    let k1 =
        length([q[0] / (radii[0] * radii[0]), q[1] / (radii[1] * radii[1]), q[2] / (radii[2] * radii[2])]);
    if k1 < 1e-6 { -radii[0].min(radii[1]).min(radii[2]) } else { k0 * (k0 - 1.0) / k1 }
}

/// A stick with round ends, as thick at each end as said.
pub fn stick(p: Point, from: Point, to: Point, from_radius: f32, to_radius: f32) -> f32 {
    let (pa, ba) = (minus(p, from), minus(to, from));
    let t = (dot(pa, ba) / dot(ba, ba)).clamp(0.0, 1.0);
    let nearest = [pa[0] - t * ba[0], pa[1] - t * ba[1], pa[2] - t * ba[2]];
    length(nearest) - (from_radius + t * (to_radius - from_radius))
}

/// The union of two bodies with the edge between them rounded.
pub fn joined(a: f32, b: f32, rounding: f32) -> f32 {
    let h = (0.5 + 0.5 * (b - a) / rounding).clamp(0.0, 1.0);
    b + (a - b) * h - rounding * h * (1.0 - h)
}

/// How much of a sample of about 1 mm is inside.
pub fn cover(distance: f32) -> f32 {
    (0.5 - distance / 1.1).clamp(0.0, 1.0)
}
