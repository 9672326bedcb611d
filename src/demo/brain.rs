//! What is inside of the skull: folds, ventricles, deep grey matter, cerebellum, and what is wrong with it.

use super::head::{Head, Painter, Tissue, behind_the_ridge};
use super::noise::{fractal, noise, step};
use super::shape::{Point, cover, ellipsoid, joined, length, stick};

/// Lays everything inside of the dura. `m` is the point with both sides folded together, `depth` how far inside of the
/// inner table it is, `above` how far above the base of the skull.
pub fn lay<const N: usize>(
    paint: &mut Painter<'_, N>,
    head: &Head,
    p: Point,
    m: Point,
    depth: f32,
    above: f32,
) {
    paint.lay(Tissue::Fluid, 1.0);
    let under_tent = tentorium(m) - p[2];
    let behind = behind_the_ridge(m) + 8.0;
    if behind > 0.0 && under_tent > -1.5 {
        cerebellum(paint, head, p, m, depth.min(above).min(under_tent - 1.2).min(behind) - 1.0);
        paint.lay(Tissue::Dura, 0.8 * cover(under_tent.abs() - 0.7));
    } else {
        let over_tent = (-under_tent).max(-behind - 1.0);
        cerebrum(paint, head, p, m, depth, above, over_tent);
    }
    brainstem(paint, m);
    if p[2] > -30.0 {
        ventricles(paint, head, p, m);
    }
    midline(paint, p, m, depth);
    disease(paint, head, p, m);
}

/// The roof over the cerebellum, mm.
fn tentorium(m: Point) -> f32 {
    let ridge = -2.0 - 0.30 * (m[1] - 28.0).max(0.0);
    ridge - 0.58 * ((m[0] * m[0] + 12.0).sqrt() - 3.5)
}

/// How far outside of the corpus callosum and what it covers, mm: there the two halves are apart.
fn fissure(p: Point) -> f32 {
    let e = (((p[1] - 3.0) / 43.0).powi(2) + ((p[2] - 6.0) / 27.0).powi(2)).sqrt();
    (e - 1.0) * 32.0
}

fn cerebrum<const N: usize>(
    paint: &mut Painter<'_, N>,
    head: &Head,
    p: Point,
    m: Point,
    depth: f32,
    above: f32,
    over_tent: f32,
) {
    let [x, y, z] = p;
    let r = length(p).max(1.0);
    let apart = fissure(p);
    let bend = 1.2 * noise(y / 16.0, z / 16.0, 0.0, head.seed + 40);
    let (across, into) = (((x - bend).abs() - 0.9 * head.age).max(0.0), (-apart).max(0.0));
    let halves = (across * across + into * into).sqrt() - 0.1;
    let gap = 1.0 + 0.9 * (head.age - 0.6) * (1.0 + step(0.0, -0.8, y / r));
    let surface = (depth - gap).min(above - 1.0).min(halves).min(over_tent - 1.0);

    // Sulci run inwards from the surface: they depend on the direction, and wander a little with the depth.
    let mut cortex = surface;
    if depth < 30.0 || halves < 16.0 {
        let wander = |offset: f32| 0.30 * noise(x / 9.0 + offset, y / 9.0, z / 9.0, head.seed + 41);
        let (u, v, w) = (x / r * 6.8 + wander(0.0), y / r * 6.8 + wander(31.0), z / r * 6.8 + wander(67.0));
        let folds = noise(u, v, w, head.seed + 42)
            .abs()
            .min(0.02 + noise(u * 0.8, v * 0.8, w * 0.8, head.seed + 43).abs());
        let aside = folds * r / 6.8;
        let reach = 18.0 + 8.0 * noise(u * 0.5, v * 0.5, w * 0.5, head.seed + 44);
        let from = depth.min(halves + 9.0);
        let open = 0.75 * head.age * (1.0 - 0.7 * from / reach).max(0.25);
        let below = (from - reach).max(0.0);
        let sulcus = (aside * aside + below * below).sqrt() - open;
        cortex = cortex.min(sulcus);
    }
    let sylvian =
        stick([m[0], y, (z + 2.0 - 0.25 * y) * 0.22], [70.0, -16.0, 0.0], [39.0, -4.0, 0.0], 1.6, 1.1)
            .min(stick([m[0], y, (z - 2.0) * 0.20], [38.5, -14.0, 0.0], [37.5, 14.0, 0.0], 1.0, 0.9));
    cortex = cortex
        .min(sylvian - 0.5 * (head.age - 1.0) + 0.5 * noise(y / 5.0, z / 5.0, x / 30.0, head.seed + 45));

    paint.lay(Tissue::White, cover(-cortex));
    let thick = 3.0 + 0.6 * noise(x / 6.0, y / 6.0, z / 6.0, head.seed + 46);
    paint.lay(Tissue::Grey, cover(-cortex) * cover(cortex - thick));
    // White matter is not all the same.
    let patches = 0.10 + 0.14 * noise(x / 13.0, y / 13.0, z / 13.0, head.seed + 47);
    paint.lay(Tissue::Grey, cover(-cortex) * patches.max(0.0));
    deep_grey(paint, p, m);
}

fn deep_grey<const N: usize>(paint: &mut Painter<'_, N>, p: Point, m: Point) {
    if p[2] < -14.0 || p[2] > 44.0 || m[0] > 46.0 {
        return;
    }
    let caudate = ellipsoid(m, [13.5, -19.0, 15.0], [5.0, 10.0, 10.0]).min(stick(
        m,
        [14.0, -14.0, 20.0],
        [18.0, 22.0, 27.0],
        4.0,
        2.0,
    ));
    let lean = [m[0] - 0.22 * (m[1] + 2.0), m[1], m[2]];
    let lentiform = ellipsoid(lean, [24.0, -3.0, 8.0], [6.8, 16.0, 10.0]);
    let thalamus = ellipsoid([m[0] - 0.15 * (m[1] - 15.0), m[1], m[2]], [10.5, 15.0, 9.0], [8.5, 13.0, 9.5]);
    let deep = caudate.min(lentiform).min(thalamus);
    paint.lay(Tissue::Grey, 0.9 * cover(deep * 0.7));
    let claustrum = ((m[0] - 34.0 + 0.006 * (m[1] * m[1])).abs() - 0.7).max((m[1]).abs() - 14.0);
    paint.lay(Tissue::Grey, 0.6 * cover(claustrum.max((p[2] - 8.0).abs() - 9.0)));
}

fn cerebellum<const N: usize>(paint: &mut Painter<'_, N>, head: &Head, p: Point, m: Point, surface: f32) {
    // In front of it lie the brainstem and the cisterns beside it, below it the foramen.
    let front = m[1] - 20.0 - 0.10 * m[0] + 14.0 * step(20.0, 40.0, m[0]);
    let notch = 3.5 - ellipsoid(m, [0.0, 78.0, -52.0], [7.0, 16.0, 16.0]).min(3.0) - 0.5;
    let inside = surface.min(front).min(2.0 - notch + 6.0);
    paint.lay(Tissue::Grey, cover(-inside));
    // Folia: thin leaves about parallel to the surface of each half.
    let centre = [m[0] - 14.0, m[1] - 22.0, (m[2] + 34.0) * 1.3];
    let ring = length(centre) + 2.5 * fractal(p[0] / 14.0, p[1] / 14.0, p[2] / 14.0, 2, head.seed + 50);
    let leaves = (ring * 0.95).sin();
    let outer = cover(inside - 14.0);
    paint.lay(Tissue::Fluid, 0.55 * head.age * step(0.80, 0.99, leaves) * outer * cover(1.0 - inside));
    paint.lay(Tissue::White, 0.5 * step(0.3, -0.6, leaves) * cover(3.5 - inside));
    let core = ellipsoid(m, [20.0, 40.0, -36.0], [14.0, 12.0, 10.0]);
    paint.lay(
        Tissue::White,
        cover((core + 3.0 * noise(p[0] / 6.0, p[1] / 6.0, p[2] / 6.0, head.seed + 51)) * 0.6),
    );
}

fn brainstem<const N: usize>(paint: &mut Painter<'_, N>, m: Point) {
    if m[2] > 2.0 || m[0] > 30.0 {
        return;
    }
    let stem = joined(
        ellipsoid(m, [0.0, 11.0, -32.0], [16.0, 12.5, 14.0]),
        stick(m, [0.0, 19.0, -40.0], [0.0, 26.0, -75.0], 8.0, 6.5),
        5.0,
    );
    let midbrain = joined(
        ellipsoid(m, [9.0, 6.0, -13.0], [7.5, 10.0, 9.0]),
        ellipsoid(m, [0.0, 16.0, -12.0], [11.0, 9.0, 10.0]),
        3.0,
    );
    let peduncle = stick(m, [12.0, 16.0, -33.0], [22.0, 30.0, -36.0], 6.0, 5.0);
    let all = stem.min(midbrain).min(peduncle);
    // Interpeduncular, ambient and prepontine cisterns are what stays of the fluid around it.
    paint.lay(Tissue::Fluid, cover(all - 3.2) * step(-2.0, -8.0, m[2]) * cover(12.0 - m[1] - 8.0));
    paint.lay(Tissue::White, cover(all));
    paint.lay(Tissue::Fluid, cover(ellipsoid(m, [0.0, 25.5, -8.0], [1.0, 1.4, 9.0])));
    let suprasellar = ellipsoid(m, [0.0, -9.0, -12.0], [10.0, 8.0, 4.5]).min(stick(
        m,
        [7.0, -12.0, -12.0],
        [19.0, -17.0, -11.0],
        2.6,
        1.4,
    ));
    paint.lay(Tissue::Fluid, cover(suprasellar.max(-all)));
}

fn ventricles<const N: usize>(paint: &mut Painter<'_, N>, head: &Head, p: Point, m: Point) {
    let wide = 0.8 * (head.age - 1.0);
    let ripple = 0.8 * noise(p[0] / 8.0, p[1] / 8.0, p[2] / 8.0, head.seed + 60);
    let frontal = stick(m, [7.5, -33.0, 13.0], [6.0, -6.0, 21.0], 3.0, 4.0).min(stick(
        [m[0] * 1.0, m[1], m[2]],
        [11.5, -34.0, 15.0],
        [7.0, -26.0, 19.0],
        2.0,
        3.0,
    ));
    let body = stick(m, [6.0, -6.0, 22.0], [12.0, 24.0, 25.0], 4.2, 5.0);
    let atrium = joined(
        stick(m, [13.0, 24.0, 24.0], [23.0, 37.0, 12.0], 4.4, 6.0),
        stick(m, [23.0, 38.0, 11.0], [17.0, 60.0, 9.0], 4.8, 1.4),
        3.0,
    );
    let temporal = stick(m, [25.0, 33.0, 4.0], [31.0, 4.0, -14.0], 2.8, 1.8);
    let lateral = joined(joined(frontal, body, 3.0), joined(atrium, temporal, 2.0), 3.0) - wide + ripple;
    paint.lay(Tissue::Fluid, cover(lateral));
    let third = ellipsoid(m, [0.0, 6.0, 4.0], [1.7 + 0.4 * wide, 15.0, 9.5]);
    let fourth = ellipsoid(m, [0.0, 30.0, -31.0], [8.0, 4.5, 8.0]);
    let quadrigeminal = ellipsoid(m, [0.0, 31.0, 1.0 + 0.02 * m[0] * m[0]], [13.0, 3.4, 3.6]);
    paint.lay(Tissue::Fluid, cover(third.min(fourth).min(quadrigeminal)));
    // The septum between the frontal horns, and the plexus, which holds chalk at this age.
    let septum = (m[0] - 0.6).max((p[1] + 12.0).abs() - 18.0).max((p[2] - 19.0).abs() - 5.0);
    paint.lay(Tissue::White, cover(septum));
    let plexus = ellipsoid(m, [22.5, 35.0, 13.0], [2.4, 5.0, 3.6]) + ripple;
    paint.lay(Tissue::Grey, cover(plexus));
    paint.lay(Tissue::Calcification, step(0.9, 1.4, head.age) * 0.8 * cover(plexus + 1.3));
    paint.lay(
        Tissue::Calcification,
        step(0.8, 1.2, head.age) * cover(ellipsoid(p, [0.6, 29.0, 4.0], [1.6, 2.4, 1.8])),
    );
}

/// Falx and the sinus along its edge.
fn midline<const N: usize>(paint: &mut Painter<'_, N>, p: Point, m: Point, depth: f32) {
    let apart = step(-1.0, 1.0, fissure(p)) * step(tentorium(m) - 1.0, tentorium(m) + 1.0, p[2]);
    let bend = 0.5 * noise(p[1] / 25.0, p[2] / 25.0, 0.0, 77);
    let reach = step(1.0, -2.0, depth - if p[1] > 0.0 { 60.0 } else { 34.0 });
    paint.lay(Tissue::Dura, apart * reach * cover((p[0] - bend).abs() - 0.55));
    let sinus = (m[0] * 1.4 + (depth - 1.0).abs()) - 4.5;
    if p[2] > 20.0 || p[1] > 40.0 {
        paint.lay(Tissue::Dura, 0.9 * cover(sinus));
    }
}

fn disease<const N: usize>(paint: &mut Painter<'_, N>, head: &Head, p: Point, m: Point) {
    if head.bleeding {
        let lumps = 2.2 * fractal(p[0] / 7.0, p[1] / 7.0, p[2] / 7.0, 2, head.seed + 70);
        let clot = ellipsoid(p, [-27.0, -1.0, 10.0], [7.5, 13.0, 11.0]) + lumps;
        paint.lay(Tissue::Oedema, 0.9 * step(6.5, 0.5, clot + 1.2 * lumps));
        paint.lay(Tissue::Blood, cover(clot * 0.6));
    }
    if head.plaques && m[0] < 45.0 && p[2] > 2.0 && p[2] < 50.0 {
        let spots: [(Point, Point); 9] = [
            ([16.0, -30.0, 24.0], [6.0, 3.0, 3.0]),
            ([-19.0, -24.0, 27.0], [7.0, 2.6, 3.4]),
            ([22.0, 6.0, 32.0], [7.5, 2.8, 4.0]),
            ([-20.0, 12.0, 30.0], [6.5, 3.2, 4.0]),
            ([-24.0, -2.0, 34.0], [5.0, 2.4, 3.0]),
            ([29.0, 34.0, 20.0], [5.0, 4.0, 4.0]),
            ([-32.0, 38.0, 16.0], [4.0, 5.5, 4.5]),
            ([30.0, -22.0, 36.0], [3.4, 3.4, 3.4]),
            ([-34.0, 18.0, 40.0], [3.0, 4.0, 3.0]),
        ];
        let ragged = noise(p[0] / 4.0, p[1] / 4.0, p[2] / 4.0, head.seed + 71);
        for (centre, radii) in spots {
            paint.lay(Tissue::Plaque, 0.9 * cover((ellipsoid(p, centre, radii) + ragged) * 0.6));
        }
    }
}
