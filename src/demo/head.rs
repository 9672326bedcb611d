//! A head made of ellipsoids, sticks and noise: what tissue is where. CT and MR look at the same one.
//!
//! Coordinates are the patient's in mm, PS3.3 C.7.6.2.1.1, the origin in the middle of the brain.

use super::brain;
use super::noise::{fractal, noise, step};
use super::shape::{Point, cover, ellipsoid, joined, length, stick};

/// What a point of the head is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tissue {
    Air,
    Skin,
    Fat,
    Muscle,
    Bone,
    Marrow,
    Fluid,
    Grey,
    White,
    Dura,
    Vitreous,
    Lens,
    Calcification,
    Blood,
    Oedema,
    Plaque,
}

/// What each tissue looks like: Hounsfield units, or an MR signal; by the order of [`Tissue`].
pub type Look = [f32; 16];

/// A person's head.
pub struct Head {
    /// Two heads of different seeds differ in every fold.
    pub seed: u32,
    /// How far the folds of the brain stand open: 1 in the middle of life.
    pub age: f32,
    /// A fresh bleeding in the right basal ganglia.
    pub bleeding: bool,
    /// Bright spots beside the ventricles in T2.
    pub plaques: bool,
}

/// The looks of one point while tissues are laid over each other.
pub struct Painter<'a, const N: usize> {
    looks: &'a [Look; N],
    values: [f32; N],
}

impl<const N: usize> Painter<'_, N> {
    /// Covers so much of the point with this tissue.
    pub fn lay(&mut self, tissue: Tissue, coverage: f32) {
        if coverage > 0.0 {
            for (value, look) in self.values.iter_mut().zip(self.looks) {
                let look = look.get(tissue as usize).copied().unwrap_or(0.0);
                *value += (look - *value) * coverage.min(1.0);
            }
        }
    }
}

impl Head {
    /// How this point looks, in each of these ways.
    pub fn look_at<const N: usize>(&self, p: Point, looks: &[Look; N]) -> [f32; N] {
        let mut paint = Painter { looks, values: [0.0; N] };
        paint.lay(Tissue::Air, 1.0);
        let r = length(p);
        if r > 132.0 {
            return paint.values;
        }
        let [x, y, z] = p;
        // Nobody is symmetric.
        let sway = 2.0 * noise(x / 50.0, y / 50.0, z / 50.0, self.seed);
        let p = [x + sway, y, z + 0.5 * sway];
        let m: Point = [p[0].abs(), p[1], p[2]];

        let vault = Vault::at(p, r, self.seed);
        let skin = outline(m, &vault);
        if skin > 1.0 {
            return paint.values;
        }
        self.soft_tissue(&mut paint, p, m, skin, &vault);
        let above = p[2] - floor(m);
        self.vault_bone(&mut paint, p, &vault, above);
        if vault.depth > -1.0 && above > -5.0 {
            let inside = cover(-vault.depth) * cover(-above);
            if inside > 0.0 {
                let before = paint.values;
                brain::lay(&mut paint, self, p, m, vault.depth, above);
                for (value, before) in paint.values.iter_mut().zip(before) {
                    *value = before + (*value - before) * inside;
                }
            }
        }
        self.base(&mut paint, p, m, &vault, above);
        if z < 8.0 && y < -10.0 {
            self.face(&mut paint, p, m);
        }
        paint.values
    }

    /// Skin, the fat under it, and muscle.
    fn soft_tissue<const N: usize>(
        &self,
        paint: &mut Painter<'_, N>,
        p: Point,
        m: Point,
        skin: f32,
        vault: &Vault,
    ) {
        paint.lay(Tissue::Skin, cover(skin));
        paint.lay(Tissue::Fat, cover(skin + 1.8));
        let outside_bone = -vault.depth - vault.thickness;
        // The scalp's own muscle is a thin layer on the bone; the temporal muscle is a thick one.
        paint.lay(Tissue::Muscle, cover(outside_bone - 0.8 - vault.temporal * 7.0) * 0.8);
        if p[2] < -12.0 {
            let strands = fractal(p[0] / 9.0, p[1] / 9.0, p[2] / 14.0, 2, self.seed + 5);
            let deep = cover(skin + 5.0) * step(-12.0, -20.0, p[2]);
            paint.lay(Tissue::Muscle, deep * step(-0.35, -0.1, strands));
        }
        let pinna = ellipsoid(m, [79.0 + (m[1] - 18.0) * 0.25, 20.0, -18.0], [3.2, 13.0, 21.0]);
        paint.lay(Tissue::Skin, cover(pinna) * step(0.0, 2.0, skin + 9.0));
    }

    /// The vault: an outer and an inner table with marrow between, and sutures.
    fn vault_bone<const N: usize>(&self, paint: &mut Painter<'_, N>, p: Point, vault: &Vault, above: f32) {
        let (outside, inside) = (-vault.depth - vault.thickness, vault.depth);
        if outside > 1.0 || inside > 1.0 {
            return;
        }
        let there = step(-9.0, -5.0, above);
        paint.lay(Tissue::Bone, cover(outside) * cover(inside) * there);
        let grain = fractal(p[0] / 2.2, p[1] / 2.2, p[2] / 2.2, 2, self.seed + 11);
        let tables = 1.5 + 0.6 * noise(p[0] / 12.0, p[1] / 12.0, p[2] / 12.0, self.seed + 12);
        let marrow = cover(outside + tables) * cover(inside + tables) * there;
        paint.lay(Tissue::Marrow, marrow * (0.75 + 0.5 * grain));
        // Coronal and lambdoid suture, each a ragged line.
        let jag = 2.2 * noise(p[0] / 3.0, p[2] / 3.0, 0.5, self.seed + 13);
        let coronal = (p[1] + 18.0 - 0.25 * p[2] + jag).abs() + if p[2] > 10.0 { 0.0 } else { 9.0 };
        let lambdoid = (p[1] - 62.0 + 0.5 * p[2] + 0.3 * p[0].abs() + jag).abs();
        let suture = coronal.min(lambdoid);
        paint.lay(Tissue::Muscle, 0.75 * cover(suture - 0.4) * cover(outside) * cover(inside) * there);
    }

    /// The base of the skull: its floor, the petrous bones with their air cells, the sphenoid.
    fn base<const N: usize>(
        &self,
        paint: &mut Painter<'_, N>,
        p: Point,
        m: Point,
        vault: &Vault,
        above: f32,
    ) {
        if p[2] > 0.0 {
            return;
        }
        let within = cover(-vault.depth - vault.thickness);
        let floor = (above + 2.2).abs() - 2.2;
        paint.lay(Tissue::Bone, cover(floor) * within * step(4.0, -4.0, p[2]));

        let petrous = joined(
            stick(m, [60.0, 24.0, -27.0], [15.0, -4.0, -25.0], 9.5, 4.0),
            ellipsoid(m, [56.0, 28.0, -34.0], [11.0, 14.0, 17.0]),
            5.0,
        );
        if petrous < 1.0 {
            paint.lay(Tissue::Bone, cover(petrous));
            let cells = noise(p[0] / 3.4, p[1] / 3.4, p[2] / 3.4, self.seed + 21).abs();
            let mastoid = ellipsoid(m, [57.0, 28.0, -34.0], [8.0, 11.0, 14.0]);
            paint.lay(Tissue::Air, cover(mastoid) * step(0.10, 0.2, cells));
            paint.lay(Tissue::Fluid, cover(ellipsoid(m, [30.0, 2.0, -26.0], [2.6, 2.2, 2.4])));
            paint.lay(Tissue::Fluid, cover(stick(m, [10.0, 7.0, -26.0], [25.0, 7.0, -26.0], 2.4, 1.6)));
            paint.lay(Tissue::Air, cover(ellipsoid(m, [42.0, 5.0, -27.0], [4.0, 4.5, 5.0])));
        }
        let canal = stick(m, [78.0, 11.0, -28.0], [44.0, 6.0, -27.0], 4.0, 2.6);
        paint.lay(Tissue::Air, cover(canal));

        let wing = stick(m, [57.0, -40.0, -12.0], [15.0, -25.0, -15.0], 3.4, 2.4);
        paint.lay(Tissue::Bone, cover(wing) * within);
        let body = ellipsoid(m, [0.0, -16.0, -26.0], [17.0, 19.0, 13.0]);
        paint.lay(Tissue::Bone, cover(body));
        paint.lay(Tissue::Marrow, cover(body + 2.0) * step(-14.0, -6.0, p[1]));
        let sinus = ellipsoid(p, [1.5, -24.0, -27.0], [12.0, 9.5, 9.0]);
        let septum = cover((p[0] - 2.0 + 0.1 * p[1]).abs() - 0.5);
        paint.lay(Tissue::Air, cover(sinus) * (1.0 - septum));
    }

    /// Eyes, orbits, the air spaces of nose and cheek.
    fn face<const N: usize>(&self, paint: &mut Painter<'_, N>, p: Point, m: Point) {
        let frontal = ellipsoid(m, [10.0, -90.5, -7.0], [10.0, 4.2, 9.0]);
        paint.lay(Tissue::Bone, cover(frontal - 1.6));
        paint.lay(Tissue::Air, cover(frontal) * (1.0 - cover((p[0] - 1.0).abs() - 0.5)));
        if p[2] > -10.0 {
            return;
        }
        let orbit = ellipsoid(m, [30.0 + (m[1] + 60.0) * -0.35, -61.0, -31.0], [17.0, 30.0, 17.0]);
        let rim = stick(m, [50.0, -66.0, -30.0], [57.0, -38.0, -32.0], 3.6, 2.6);
        paint.lay(Tissue::Bone, cover(rim));
        paint.lay(Tissue::Bone, cover((orbit - 0.6).abs() - 0.7) * step(-82.0, -76.0, m[1]));

        let cells = noise(p[0] / 7.0, p[1] / 7.0, p[2] / 9.0, self.seed + 31).abs();
        let ethmoid = ellipsoid(m, [0.0, -58.0, -33.0], [13.0, 25.0, 15.0]).max(-orbit - 1.4);
        paint.lay(Tissue::Bone, cover(ethmoid));
        let septa = step(0.04, 0.09, cells) * (1.0 - cover(m[0] - 0.5));
        paint.lay(Tissue::Air, cover(ethmoid + 1.0) * septa);
        let antrum = ellipsoid(m, [27.0, -60.0, -60.0], [14.0, 18.0, 14.0]);
        paint.lay(Tissue::Bone, cover(antrum.abs() - 0.9));
        paint.lay(Tissue::Air, cover(antrum + 0.9));
        let nose = ellipsoid(m, [0.0, -68.0, -55.0], [11.0, 30.0, 12.0]);
        let turbinate = ellipsoid(m, [7.0, -62.0, -56.0], [3.0, 18.0, 6.0]);
        paint.lay(Tissue::Air, cover(nose) * (1.0 - cover(m[0] - 0.8)) * (1.0 - cover(turbinate)));

        let eye = ellipsoid(m, [32.0, -73.0, -31.0], [12.2, 12.2, 12.2]);
        paint.lay(Tissue::Fat, cover(orbit.max(-eye)));
        let apex = [15.0, -33.0, -29.0];
        for side in [[20.0, -66.0, -31.0], [43.0, -64.0, -31.0], [31.0, -66.0, -20.0], [31.0, -66.0, -42.0]] {
            paint.lay(Tissue::Muscle, cover(stick(m, apex, side, 1.6, 2.0)) * 0.95);
        }
        paint.lay(Tissue::Muscle, cover(stick(m, apex, [30.5, -62.0, -31.0], 1.9, 2.2)));
        paint.lay(Tissue::Muscle, cover(eye));
        paint.lay(Tissue::Vitreous, cover(eye + 1.2));
        paint.lay(Tissue::Lens, cover(ellipsoid(m, [32.0, -81.5, -31.0], [4.6, 2.2, 4.6])));
    }
}

/// The brain case around a point.
struct Vault {
    /// How far inside of the inner table, mm.
    depth: f32,
    /// Of the bone, mm.
    thickness: f32,
    /// Of the scalp, mm.
    scalp: f32,
    /// 0 to 1: how much this is the side of the head, where the temporal muscle lies.
    temporal: f32,
}

impl Vault {
    fn at(p: Point, r: f32, seed: u32) -> Vault {
        let [x, y, z] = p;
        let width = 68.5 * (1.0 - 0.10 * ((y - 20.0) / 86.0).powi(2));
        let height = if z > 0.0 { 84.0 } else { 104.0 };
        let q = ((x / width).powi(2) + (y / 86.0).powi(2) + (z / height).powi(2)).sqrt().max(1e-3);
        let (dx, dy, dz) = (x / r.max(1.0), y / r.max(1.0), z / r.max(1.0));
        let lumps = noise(dx * 3.0, dy * 3.0, dz * 3.0, seed + 1);
        let temporal = step(0.62, 0.85, dx.abs()) * step(30.0, 5.0, (y + 22.0).abs()) * step(42.0, 18.0, z);
        let brow = step(24.0, 8.0, x.abs()) * step(-60.0, -76.0, y) * step(16.0, 6.0, (z + 7.0).abs());
        let thickness = 6.2 + 1.6 * lumps + 2.4 * step(0.75, 0.98, dy.abs()) + 4.0 * brow
            - 2.0 * step(0.75, 0.95, dx.abs());
        let scalp = 5.2 + lumps + 3.6 * temporal + 2.0 * step(0.6, 0.95, dy) * step(20.0, -30.0, z);
        Vault { depth: -(q - 1.0) * r / q, thickness, scalp, temporal }
    }
}

/// The skin.
fn outline(m: Point, vault: &Vault) -> f32 {
    let vault = -vault.depth - vault.thickness - vault.scalp;
    if m[2] > 20.0 {
        return vault;
    }
    let face = ellipsoid(m, [0.0, -42.0, -54.0], [61.0, 53.0, 64.0]);
    let nose = ellipsoid(m, [0.0, -98.0, -46.0], [10.0, 17.0, 20.0]);
    let lid = ellipsoid(m, [32.0, -73.0, -31.0], [15.0, 14.6, 15.0]);
    let pinna = ellipsoid(m, [79.0 + (m[1] - 18.0) * 0.25, 20.0, -18.0], [3.2, 13.0, 21.0]);
    joined(joined(vault, face, 8.0), joined(nose, lid, 3.0), 4.0).min(pinna)
}

/// How far behind the ridge of the petrous bone, which runs outwards and back, mm.
pub fn behind_the_ridge(m: Point) -> f32 {
    m[1] - 0.45 * m[0]
}

/// How high the base of the skull reaches, mm: three steps down from the front, with the sella and clivus between.
fn floor(m: Point) -> f32 {
    let [x, y, _] = m;
    let roof = 7.0 * (-((x - 29.0) / 15.0).powi(2) - ((y + 58.0) / 20.0).powi(2)).exp();
    let bowl = 0.010 * (x - 38.0) * (x - 38.0) + 0.012 * (y + 6.0) * (y + 6.0);
    let behind = step(-10.0, 2.0, behind_the_ridge(m));
    let side = -21.0 + roof - (21.0 - bowl) * step(-36.0, -24.0, y) * (1.0 - behind) - 37.0 * behind;
    let middle = -22.0 + 8.0 * step(-34.0, -22.0, y) - 46.0 * step(-8.0, 20.0, y);
    side + (middle - side) * step(22.0, 12.0, x)
}
