//! A radiograph of the left hand on an imaging plate, with a fine crack in the fifth metacarpal. PS3.3 A.2.

use dicom_dictionary_std::{tags, uids};

use super::Instance;
use super::exam::{Exam, Layout, Series};
use super::grid::Grid;
use super::letters;
use super::noise::{Random, fractal, noise, step};
use super::stroke::{Place, Stroke, rod, tube};

const COLUMNS: usize = 1430;
const ROWS: usize = 1910;
/// Of a pixel, mm.
const SPACING: f32 = 0.125;
/// Anatomy is drawn half as fine.
const COARSE: f32 = 0.25;

/// Each finger: where its bones begin and end, from the wrist out, and how thick they are, mm.
const RAYS: [(&[Place], f32); 5] = [
    (&[(58.0, 158.0), (41.0, 128.0), (28.0, 103.0), (21.0, 83.0)], 5.4),
    (&[(74.0, 146.0), (65.0, 92.0), (58.0, 54.0), (54.5, 32.0), (52.5, 16.0)], 4.9),
    (&[(85.0, 144.0), (84.0, 88.0), (83.0, 46.0), (82.5, 20.0), (82.0, 4.0)], 4.9),
    (&[(95.0, 146.0), (102.0, 95.0), (107.0, 56.0), (110.0, 32.0), (111.5, 16.0)], 4.5),
    (&[(104.0, 150.0), (118.0, 106.0), (127.0, 77.0), (132.0, 60.0), (135.0, 46.0)], 4.1),
];

/// The eight bones of the wrist: place, half axes, lean.
const CARPALS: [(Place, Place, f32); 8] = [
    ((70.0, 172.0), (10.5, 6.5), 0.9),
    ((86.0, 174.5), (7.5, 8.0), 0.0),
    ((99.0, 173.0), (6.5, 7.0), 0.4),
    ((104.0, 169.5), (4.6, 4.8), 0.0),
    ((62.0, 162.0), (6.5, 5.5), 0.5),
    ((73.5, 157.0), (5.5, 5.5), 0.0),
    ((85.0, 160.0), (6.5, 9.5), 0.1),
    ((97.0, 160.0), (6.8, 7.6), -0.5),
];

/// The one instance of the study.
pub fn instance(exam: &Exam) -> Instance {
    let series = Series {
        number: 1,
        modality: "CR",
        description: "Hand PA left",
        body_part: "HAND",
        protocol: "Hand 2 views",
        laterality: "L",
        after: 3,
    };
    let mut draft = exam.instance(&series, uids::COMPUTED_RADIOGRAPHY_IMAGE_STORAGE, 1);
    draft
        .text(tags::IMAGE_TYPE, "DERIVED\\PRIMARY")
        .text(tags::PATIENT_ORIENTATION, "R\\F")
        .text(tags::VIEW_POSITION, "PA")
        .text(tags::PLATE_TYPE, "High resolution")
        .text(tags::CASSETTE_SIZE, "18CMX24CM")
        .text(tags::LOSSY_IMAGE_COMPRESSION, "00")
        .numbers(tags::IMAGER_PIXEL_SPACING, &[f64::from(SPACING), f64::from(SPACING)])
        .numbers(tags::ACQUISITION_NUMBER, &[1.0])
        .numbers(tags::KVP, &[50.0])
        .numbers(tags::EXPOSURE, &[3.0])
        .numbers(tags::WINDOW_CENTER, &[2048.0])
        .numbers(tags::WINDOW_WIDTH, &[3900.0]);
    let layout =
        Layout { rows: ROWS, columns: COLUMNS, bits_stored: 12, signed: false, photometric: "MONOCHROME1" };
    draft.pixels(&layout, picture().words(0.0, 4095.0));
    draft.finish()
}

fn picture() -> Grid {
    let (width, height) = (COLUMNS / 2, ROWS / 2);
    let flesh = flesh(width, height);
    let mut path = flesh.clone();
    let mut bone = Grid::filled(width, height, 0.0);
    for (places, thick) in RAYS {
        for (at, pair) in places.windows(2).enumerate() {
            let &[from, to] = pair else { continue };
            let thinner = 1.0 - 0.14 * at as f32;
            long_bone(&mut bone, from, to, thick * thinner, at + 2 == places.len());
        }
    }
    for (place, axes, lean) in CARPALS {
        carpal(&mut bone, place, axes, lean);
    }
    forearm(&mut bone);
    let crack = Stroke::curve((107.0, 123.0), (113.5, 125.5), (118.0, 121.5), (0.45, 0.35));
    let mut line = Grid::filled(width, height, 0.0);
    crack.add(&mut line, COARSE, |d, _| step(1.0, 0.2, d));
    for at in 0..path.data.len() {
        let (x, y) = ((at % width) as f32 * COARSE, (at / width) as f32 * COARSE);
        if let (Some(path), Some(bone), Some(line)) =
            (path.data.get_mut(at), bone.data.get(at), line.data.get(at))
        {
            let mesh = 1.0 + 0.16 * fractal(x / 0.9, y / 1.5, 0.0, 3, 5);
            *path += bone * mesh * (1.0 - 0.5 * line);
        }
    }
    for (x, y) in letters::dots("L", 5) {
        path.change(x + 30, y + 640, |value| *value += 9.0);
    }
    let mut random = Random::new(21);
    let fine = path.blurred(0.6).resized(COLUMNS, ROWS);
    let grain = Grid::noise(COLUMNS, ROWS, &mut random).blurred(0.7);
    // The plate is stored as it was read: more on the way, a smaller number, MONOCHROME1.
    fine.plus(&grain, 0.05).map(|value| 60.0 + 4000.0 * (-value.max(0.0) * 0.27).exp())
}

/// Skin and muscle: sticks around every finger, joined in the palm.
fn flesh(width: usize, height: usize) -> Grid {
    let mut parts: Vec<(Place, Place, f32, f32)> = Vec::new();
    for (places, thick) in RAYS {
        for pair in places.windows(2) {
            if let &[from, to] = pair {
                parts.push((from, to, thick * 1.95, thick * 1.72));
            }
        }
    }
    parts.push(((74.0, 150.0), (70.0, 108.0), 19.0, 14.0));
    parts.push(((98.0, 150.0), (104.0, 112.0), 19.0, 14.0));
    parts.push(((86.0, 150.0), (85.0, 106.0), 19.0, 15.0));
    parts.push(((84.0, 170.0), (84.0, 260.0), 28.0, 31.0));
    parts.push(((62.0, 150.0), (46.0, 132.0), 15.0, 10.0));
    Grid::of(width, height, |column, row| {
        let (x, y) = (column * COARSE, row * COARSE);
        let mut sum = 0.0;
        for ((ax, ay), (bx, by), from, to) in &parts {
            let (px, py, dx, dy) = (x - ax, y - ay, bx - ax, by - ay);
            let t = ((px * dx + py * dy) / (dx * dx + dy * dy)).clamp(0.0, 1.0);
            let distance = ((px - t * dx).powi(2) + (py - t * dy).powi(2)).sqrt() - (from + t * (to - from));
            sum += (-distance / 2.2).exp();
        }
        let depth = 2.2 * sum.ln() + 0.5 * noise(x / 9.0, y / 9.0, 0.0, 3);
        if depth < -1.5 {
            return 0.0;
        }
        let thick = 1.0 - (-(depth.max(0.0)) / 5.5).exp();
        2.6 * thick * step(-0.3, 0.8, depth) + 0.12 * fractal(x / 12.0, y / 22.0, 2.0, 3, 4) * thick
    })
}

/// A tube, waisted in the middle, with knuckles at its ends.
fn long_bone(bone: &mut Grid, from: Place, to: Place, thick: f32, last: bool) {
    let length = ((to.0 - from.0).powi(2) + (to.1 - from.1).powi(2)).sqrt();
    let gap = 0.5 + thick * 0.98;
    let at = |t: f32| (from.0 + t * (to.0 - from.0), from.1 + t * (to.1 - from.1));
    let (start, end) = (at(gap / length), at(1.0 - if last { 0.25 } else { gap } / length));
    let shape = move |t: f32| {
        let base = (-(t / 0.16).powi(2)).exp();
        let knuckle = (-((1.0 - t) / 0.14).powi(2)).exp();
        let far = if last { 0.10 - 0.35 * step(0.55, 1.0, t) } else { 0.30 };
        thick * (0.78 + 0.34 * base + far * knuckle)
    };
    Stroke::line(start, end, (thick, thick)).shaped(shape).add(bone, COARSE, move |d, r| {
        let shaft = step(0.9, 0.6, r / thick);
        let wall = 0.5 + 1.0 * shaft;
        0.34 * tube(d, r, wall * thick / 4.6) + 0.15 * rod(d, r)
    });
}

fn carpal(bone: &mut Grid, (cx, cy): Place, (a, b): Place, lean: f32) {
    let (a, b) = (a * 1.12, b * 1.12);
    let reach = a.max(b) * 1.3;
    let cells = |from: f32, to: f32| (from / COARSE) as isize..=(to / COARSE) as isize;
    for row in cells(cy - reach, cy + reach) {
        for column in cells(cx - reach, cx + reach) {
            let (x, y) = (column as f32 * COARSE - cx, row as f32 * COARSE - cy);
            let (u, v) = (x * lean.cos() + y * lean.sin(), y * lean.cos() - x * lean.sin());
            let lumps = 0.12 * noise(x / 5.0 + cx, y / 5.0 + cy, 0.0, 9);
            let d = ((u / a).abs().powf(2.6) + (v / b).abs().powf(2.6)).powf(1.0 / 2.6) + lumps;
            let rim = step(1.0, 0.96, d) * step(0.78, 0.95, d);
            let body = step(1.0, 0.9, d) * (1.6 + 0.5 * (1.0 - d * d).max(0.0));
            bone.change(column, row, |value| *value += 0.62 * body + 0.75 * rim);
        }
    }
}

/// The ends of radius and ulna.
fn forearm(bone: &mut Grid) {
    let mut radius = Grid::filled(bone.width, bone.height, 0.0);
    let shape = |t: f32| 6.8 + 7.2 * (-(t / 0.34).powi(2)).exp();
    let shaft = Stroke::line((80.0, 194.0), (72.0, 262.0), (14.0, 6.5)).shaped(shape);
    shaft.add(&mut radius, COARSE, |d, r| 0.20 * tube(d, r, 1.3 + step(9.0, 7.0, r)) + 0.065 * rod(d, r));
    // The joint is cut across, with a bright plate along the cut.
    let joint = |x: f32| 189.5 - 0.10 * (x - 80.0) - 0.012 * (x - 80.0).powi(2);
    for at in 0..radius.data.len() {
        let (x, y) = ((at % radius.width) as f32 * COARSE, (at / radius.width) as f32 * COARSE);
        if let (Some(from), Some(to)) = (radius.data.get(at), bone.data.get_mut(at)) {
            let beyond = y - joint(x);
            let plate = 1.1 * step(1.6, 0.6, (beyond - 0.9).abs()) * step(0.0, 0.8, *from);
            *to += (from + plate) * step(-0.4, 0.4, beyond);
        }
    }
    let ulna = Stroke::line((103.0, 192.0), (101.0, 262.0), (6.0, 5.0));
    let ulna = ulna.shaped(|t| 5.2 + 2.6 * (-(t / 0.12).powi(2)).exp());
    ulna.add(bone, COARSE, |d, r| 0.26 * tube(d, r, 1.2) + 0.08 * rod(d, r));
    let styloid = Stroke::line((107.5, 185.5), (106.5, 191.0), (1.4, 2.6));
    styloid.add(bone, COARSE, |d, r| 0.2 * rod(d, r));
}
