//! Radiographs of the chest, from behind: PS3.3 A.26 (DX) and A.2 (CR). What the detector sees is the sum of what is
//! on the way, so everything here adds to or takes from a path length.

use dicom_dictionary_std::{tags, uids};

use super::Instance;
use super::exam::{Exam, Layout, Series};
use super::grid::Grid;
use super::letters;
use super::noise::{Random, fractal, noise, step};
use super::stroke::{Place, Stroke, rod, tube, vessels};

/// Of the detector, mm.
const WIDTH: f32 = 344.0;
const HEIGHT: f32 = 420.0;
/// Of the grid in which anatomy is drawn, mm; pixels are half of it.
const COARSE: f32 = 0.336;

/// What differs between one chest and another.
pub struct Chest {
    /// Vessels and ribs of different seeds differ.
    pub seed: u32,
    /// Radius of a nodule in the right upper lobe, mm; 0 for none.
    pub nodule: f32,
    /// How wide the heart is, 1 for healthy.
    pub heart: f32,
    /// A pacemaker, and fluid on the left.
    pub paced: bool,
    /// Taken on an imaging plate: fewer pixels, and dark is dense.
    pub plate: bool,
}

/// The one instance of the study.
pub fn instance(exam: &Exam, chest: &Chest) -> Instance {
    let (modality, class) = if chest.plate {
        ("CR", uids::COMPUTED_RADIOGRAPHY_IMAGE_STORAGE)
    } else {
        ("DX", uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION)
    };
    let series = Series {
        number: 1,
        modality,
        description: if chest.paced { "Chest AP" } else { "Chest PA" },
        body_part: "CHEST",
        protocol: "Chest",
        laterality: "",
        after: 2,
    };
    let (columns, rows) = if chest.plate { (1760, 2140) } else { (2048, 2500) };
    let spacing = f64::from(WIDTH) / columns as f64;
    let mut draft = exam.instance(&series, class, 1);
    draft
        .text(tags::IMAGE_TYPE, if chest.plate { "DERIVED\\PRIMARY" } else { "ORIGINAL\\PRIMARY" })
        .text(tags::PATIENT_ORIENTATION, "L\\F")
        .text(tags::VIEW_POSITION, if chest.paced { "AP" } else { "PA" })
        .text(tags::BURNED_IN_ANNOTATION, "NO")
        .text(tags::LOSSY_IMAGE_COMPRESSION, "00")
        .text(tags::PRESENTATION_LUT_SHAPE, if chest.plate { "INVERSE" } else { "IDENTITY" })
        .numbers(tags::IMAGER_PIXEL_SPACING, &[spacing, spacing])
        .numbers(tags::ACQUISITION_NUMBER, &[1.0])
        .numbers(tags::KVP, &[125.0])
        .numbers(tags::EXPOSURE, &[2.0])
        .numbers(tags::EXPOSURE_TIME, &[8.0])
        .numbers(tags::DISTANCE_SOURCE_TO_DETECTOR, &[1800.0])
        .text(tags::WINDOW_CENTER, "2048\\2300")
        .text(tags::WINDOW_WIDTH, "4096\\2600")
        .text(tags::WINDOW_CENTER_WIDTH_EXPLANATION, "NORMAL\\HARDER");
    if chest.plate {
        draft.text(tags::PLATE_TYPE, "General purpose").text(tags::CASSETTE_SIZE, "35CMX43CM");
    } else {
        draft
            .text(tags::PRESENTATION_INTENT_TYPE, "FOR PRESENTATION")
            .text(tags::IMAGE_LATERALITY, "U")
            .text(tags::PIXEL_INTENSITY_RELATIONSHIP, "LOG")
            .numbers(tags::PIXEL_INTENSITY_RELATIONSHIP_SIGN, &[1.0])
            .numbers(tags::RESCALE_INTERCEPT, &[0.0])
            .numbers(tags::RESCALE_SLOPE, &[1.0])
            .text(tags::RESCALE_TYPE, "US")
            .text(tags::DETECTOR_TYPE, "DIRECT")
            .text(tags::POSITIONER_TYPE, "COLUMN");
        draft.data_set.sequence(tags::ACQUISITION_CONTEXT_SEQUENCE, Vec::new());
        draft.data_set.code(tags::ANATOMIC_REGION_SEQUENCE, "51185008", "SCT", "Chest");
        draft.data_set.code(tags::VIEW_CODE_SEQUENCE, "399348003", "SCT", "Postero-anterior projection");
    }
    let layout = Layout {
        rows,
        columns,
        bits_stored: 12,
        signed: false,
        photometric: if chest.plate { "MONOCHROME1" } else { "MONOCHROME2" },
    };
    let picture = chest.picture(columns, rows);
    let picture = if chest.plate { picture.map(|value| 4095.0 - value) } else { picture };
    draft.pixels(&layout, picture.words(0.0, 4095.0));
    draft.finish()
}

impl Chest {
    fn picture(&self, columns: usize, rows: usize) -> Grid {
        let (width, height) = ((WIDTH / COARSE) as usize, (HEIGHT / COARSE) as usize);
        let mut path = Grid::of(width, height, |x, y| self.soft_tissue(x * COARSE - WIDTH / 2.0, y * COARSE));
        self.lung_vessels(&mut path);
        self.bones(&mut path);
        if self.paced {
            pacemaker(&mut path);
        }
        let mut random = Random::new(u64::from(self.seed));
        let marker = letters::dots("L", (9.0 / 7.0 / COARSE) as isize);
        for (x, y) in marker {
            let (left, top) = (((WIDTH - 34.0) / COARSE) as isize, (26.0 / COARSE) as isize);
            path.change(left + x, top + y, |value| *value += 22.0);
        }
        let scatter = path.blurred(14.0);
        let path = path.plus(&scatter, -0.22).blurred(0.7).resized(columns, rows);
        let grain = Grid::noise(columns, rows, &mut random);
        let mut picture = path.plus(&grain.blurred(0.6), 0.16);
        // The curve of a film: steep in the middle, flat at both ends.
        picture.data.iter_mut().for_each(|value| *value = 4095.0 / (1.0 + (-(*value - 9.6) * 0.30).exp()));
        picture
    }

    /// What is on the way besides bone, cm of water.
    fn soft_tissue(&self, x: f32, y: f32) -> f32 {
        let side = x.signum();
        let ax = x.abs();
        let sway = 3.0 * noise(x / 60.0, y / 60.0, 0.0, self.seed);
        // Neck, shoulders, trunk.
        let half =
            52.0 + 160.0 * step(22.0, 82.0, y) - 46.0 * step(95.0, 190.0, y) + 6.0 * step(260.0, 400.0, y);
        let edge = ((half - ax + sway) / half).clamp(0.0, 1.0);
        let mut path = 17.0 * edge.powf(0.42) * (1.0 - 0.18 * step(60.0, 150.0, ax));
        path -= 2.6 * step(110.0, 30.0, y) * edge;

        let air = self.lung(x, y);
        let markings = 0.35 * fractal(x / 13.0, y / 13.0, 0.0, 4, self.seed + 3);
        path -= air * (7.9 + markings);
        // Aorta, pulmonary trunk, heart.
        let knob = ((x - 26.0) / 15.0).powi(2) + ((y - 128.0) / 17.0).powi(2);
        path += 3.2 * (-knob).exp();
        let descending = ((x - 23.0 - 4.0 * ((y - 190.0) / 70.0).powi(2)) / 11.0).powi(2);
        path += 1.4 * (-descending).exp() * step(118.0, 135.0, y) * step(310.0, 270.0, y);
        for hilum in [-32.0_f32, 37.0] {
            let spot = ((x - hilum) / 14.0).powi(2) + ((y - 182.0 + hilum * 0.1) / 21.0).powi(2);
            path += 2.6 * (-spot).exp() * (1.0 + 0.5 * noise(x / 5.0, y / 5.0, 1.0, self.seed + 4));
        }
        // Windpipe and main bronchi hold air.
        let windpipe = (x + 2.0 + 3.0 * step(90.0, 150.0, y)).abs();
        path -= 2.3 * step(10.0, 5.5, windpipe) * step(158.0, 148.0, y) * step(4.0, 14.0, y);
        for (slope, reach) in [(0.75_f32, -24.0_f32), (0.60, 34.0)] {
            let middle = (y - 150.0) / slope * reach.signum() - 3.0;
            let inside = (x - middle).abs() * slope.min(1.0);
            path -= 1.3
                * step(7.0, 3.5, inside)
                * step(0.0, 5.0, y - 148.0)
                * step(reach.abs() + 8.0, reach.abs(), ax);
        }
        if self.paced && side > 0.0 {
            // Fluid stands higher at the wall than in the middle.
            let level = 262.0 - 0.0040 * (ax - 60.0).max(0.0).powi(2);
            path += 6.0 * step(level - 6.0, level + 10.0, y) * air;
        }
        if self.nodule > 0.0 {
            let (dx, dy) = (x + 84.0, y - 152.0);
            let ragged = 1.0 + 0.18 * noise(dy.atan2(dx) * 2.0, 0.0, 0.0, self.seed + 6);
            let d = (dx * dx + dy * dy).sqrt() / (self.nodule * ragged);
            path += 0.42 * self.nodule * step(1.15, 0.45, d);
        }
        path.max(0.0)
    }

    /// How much of the way leads through lung, 0 to 1.
    fn lung(&self, x: f32, y: f32) -> f32 {
        let left = x > 0.0;
        let ax = x.abs();
        let outer = 2.5 * noise(x / 40.0, y / 40.0, 5.0, self.seed + 7);
        let e = ((ax - 69.0) / (67.0 + outer)).powi(2) + ((y - 262.0) / 198.0).powi(2);
        let dome = if left { 304.0 } else { 292.0 };
        let dome = dome + 0.0075 * (ax - 66.0 + 14.0).powi(2) - 7.0 * step(70.0, 20.0, ax);
        let above = step(3.0, -3.0, y - dome);
        let middle = 25.0 + 7.0 * step(110.0, 60.0, y) + 5.0 * step(200.0, 280.0, y);
        let beside = step(middle - 5.0, middle + 5.0, ax);
        let behind_heart =
            0.42 * (1.0 - self.heart_shadow(x, y)) + 0.58 * (1.0 - step(0.05, 0.3, self.heart_shadow(x, y)));
        (1.0 - e).max(0.0).powf(0.36) * above * beside * behind_heart
    }

    fn heart_shadow(&self, x: f32, y: f32) -> f32 {
        let (dx, dy) = (x - 20.0 * self.heart, y - 246.0);
        let (u, v) = (0.80 * dx + 0.60 * dy, -0.60 * dx + 0.80 * dy);
        let ventricle = (u / (66.0 * self.heart)).powi(2) + (v / (50.0 * self.heart)).powi(2);
        let atrium = ((x + 14.0) / (31.0 * self.heart)).powi(2) + ((y - 244.0) / 46.0).powi(2);
        step(1.14, 0.84, ventricle).max(step(1.18, 0.80, atrium))
    }

    fn lung_vessels(&self, path: &mut Grid) {
        let mut random = Random::new(u64::from(self.seed) + 77);
        for side in [-1.0_f32, 1.0] {
            let mut drawn = Grid::filled(path.width, path.height, 0.0);
            for turn in 0..9 {
                let angle = -1.45 + turn as f32 * 0.36 + random.between(-0.1, 0.1);
                let angle = if side > 0.0 { angle } else { std::f32::consts::PI - angle };
                let from = (WIDTH / 2.0 + side * 34.0, 172.0 + turn as f32 * 3.0);
                let radius = random.between(2.3, 3.4);
                for branch in vessels(&mut random, from, angle, radius) {
                    branch.cover(&mut drawn, COARSE, |d, r| 0.50 * rod(d, r));
                }
            }
            for (at, (value, vessel)) in path.data.iter_mut().zip(&drawn.data).enumerate() {
                if *vessel > 0.0 {
                    let (x, y) = (
                        (at % drawn.width) as f32 * COARSE - WIDTH / 2.0,
                        (at / drawn.width) as f32 * COARSE,
                    );
                    *value += vessel.min(2.6) * self.lung(x, y).powf(0.5);
                }
            }
        }
    }

    fn bones(&self, path: &mut Grid) {
        let mut random = Random::new(u64::from(self.seed) + 5);
        let place = |side: f32, x: f32, y: f32| -> Place { (WIDTH / 2.0 + side * x, y) };
        for side in [-1.0_f32, 1.0] {
            for rib in 0..11 {
                let n = rib as f32;
                let start = 66.0 + 22.5 * n + random.between(-1.5, 1.5);
                let out = 70.0 + 74.0 * (1.0 - (-n / 2.6).exp());
                let turn = start + 20.0 + 4.4 * n;
                let radius = 4.6 + 0.12 * n;
                let behind = Stroke::curve(
                    place(side, 15.0, start),
                    place(side, out * 0.80, start - 24.0 + 2.2 * n),
                    place(side, out, turn),
                    (radius * 0.85, radius),
                );
                let rib_shape = behind.shaped(|t| radius * (0.55 + 0.45 * step(0.0, 0.25, t)));
                // Behind it is seen well; in front it turns to cartilage, which is not.
                let (whole, seen): (Stroke, fn(f32) -> f32) = if rib < 8 {
                    let front = Stroke::curve(
                        place(side, out, turn),
                        place(side, out * 1.02, turn + 34.0),
                        place(side, 52.0 + 5.0 * n, turn + 52.0 + 2.0 * n),
                        (radius, radius * 1.3),
                    );
                    (rib_shape.then(front), |t| (1.0 - 0.45 * step(0.45, 0.62, t)) * step(1.0, 0.82, t))
                } else {
                    (rib_shape, |t| step(1.0, 0.9, t))
                };
                whole.fading(seen).add(path, COARSE, |d, r| 0.42 * tube(d, r, 1.5) + 0.06 * rod(d, r));
            }
            let collar = Stroke::curve(
                place(side, 13.0, 96.0),
                place(side, 62.0, 92.0),
                place(side, 132.0, 62.0),
                (6.2, 5.0),
            );
            let collar = collar.shaped(|t| 4.8 + 2.0 * (2.0 * t - 1.0).powi(4));
            collar.add(path, COARSE, |d, r| 0.36 * tube(d, r, 1.6) + 0.08 * rod(d, r));
            let blade = Stroke::line(place(side, 128.0, 84.0), place(side, 126.0, 186.0), (19.0, 7.0));
            blade.add(path, COARSE, |d, _| {
                0.5 * step(1.0, 0.9, d) + 0.5 * step(0.86, 0.95, d) * step(1.0, 0.97, d)
            });
            let spine = Stroke::line(place(side, 104.0, 88.0), place(side, 150.0, 70.0), (3.0, 6.0));
            spine.add(path, COARSE, |d, r| 0.3 * tube(d, r, 1.4));
            let arm = Stroke::line(place(side, 164.0, 90.0), place(side, 182.0, 220.0), (22.0, 14.0));
            let arm = arm.shaped(|t| 12.0 + 12.0 * (1.0 - t).powi(6));
            arm.add(path, COARSE, |d, r| 0.42 * tube(d, r, 3.0) + 0.05 * rod(d, r));
        }
        for vertebra in 0..17 {
            let n = vertebra as f32;
            let (top, height) = (14.0 + 21.0 * n + 0.12 * n * n, 17.5 + 0.35 * n);
            let (half, middle) = (13.0 + 0.45 * n, WIDTH / 2.0 + 0.4 * noise(n, 0.0, 0.0, self.seed));
            spine_bone(path, middle, top, half, height);
        }
    }
}

/// A vertebral body with its end plates, the pedicles and the spinous process seen end on.
fn spine_bone(path: &mut Grid, middle: f32, top: f32, half: f32, height: f32) {
    let cells = |from: f32, to: f32| (from / COARSE) as isize..=(to / COARSE) as isize;
    for row in cells(top - 3.0, top + height + 3.0) {
        for column in cells(middle - half - 4.0, middle + half + 4.0) {
            let (x, y) = (column as f32 * COARSE - middle, row as f32 * COARSE - top);
            let waist = half - 2.0 * (1.0 - ((y / height - 0.5) * 2.0).powi(2));
            let inside = step(0.8, -0.8, (x.abs() - waist).max(-y).max(y - height));
            let plate = step(1.6, 0.2, y.abs().min((height - y).abs())) * inside;
            let wall = step(1.8, 0.3, (waist - x.abs()).abs()) * inside;
            let pedicle = ((x.abs() - half * 0.62) / 3.0).powi(2) + ((y - height * 0.35) / 4.2).powi(2);
            let ring = step(0.5, 0.9, pedicle) * step(1.5, 1.1, pedicle);
            let process = (x / 2.6).powi(2) + ((y - height * 0.75) / 6.0).powi(2);
            let bone = 1.5 * inside + 0.8 * plate + 0.6 * wall + 0.9 * ring + 0.9 * step(1.3, 0.8, process);
            let added = 0.5 * bone;
            path.change(column, row, |value| *value += added);
        }
    }
}

/// The can below the left collar bone, and two leads to the heart.
fn pacemaker(path: &mut Grid) {
    let x = WIDTH / 2.0;
    let can = Stroke::line((x + 88.0, 130.0), (x + 101.0, 126.0), (15.0, 15.0));
    can.add(path, COARSE, |d, _| 8.0 * step(1.0, 0.94, d));
    for (to, over) in [((x + 48.0, 286.0), (x - 34.0, 296.0)), ((x - 12.0, 222.0), (x - 44.0, 240.0))] {
        let parts = [
            Stroke::curve((x + 84.0, 112.0), (x + 52.0, 84.0), (x + 14.0, 112.0), (0.8, 0.8)),
            Stroke::curve((x + 14.0, 112.0), (x - 30.0, 136.0), (x - 30.0, 190.0), (0.8, 0.8)),
            Stroke::curve((x - 30.0, 190.0), over, to, (0.8, 0.8)),
            Stroke::line((to.0 - 5.0, to.1), to, (1.5, 1.5)),
        ];
        for part in parts {
            part.add(path, COARSE, |d, _| 3.4 * step(1.0, 0.5, d));
        }
    }
}
