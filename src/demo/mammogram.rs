//! A pair of mammograms, cranio-caudal: PS3.3 A.27 and C.8.11.7. The left one has a mass and a little chalk.

use dicom_dictionary_std::{tags, uids};

use super::Instance;
use super::exam::{Exam, Layout, Series};
use super::grid::Grid;
use super::letters;
use super::noise::{Random, fractal, noise, step};
use super::stroke::{Stroke, rod, vessels};

const COLUMNS: usize = 2560;
const ROWS: usize = 3328;
/// Of a pixel, mm.
const SPACING: f32 = 0.07;
/// Tissue is drawn half as fine.
const COARSE: f32 = 0.14;

/// How many instances [`instances`] makes.
pub const COUNT: usize = 2;

/// Both instances of the study.
pub fn instances(exam: Exam) -> impl Iterator<Item = Instance> {
    [Side::Right, Side::Left].into_iter().map(move |side| instance(&exam, side))
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Right,
    Left,
}

fn instance(exam: &Exam, side: Side) -> Instance {
    let (number, letter, orientation, description) = match side {
        Side::Right => (1, "R", "P\\L", "R CC"),
        Side::Left => (2, "L", "A\\R", "L CC"),
    };
    let series = Series {
        number,
        modality: "MG",
        description,
        body_part: "BREAST",
        protocol: "Screening CC",
        laterality: "", // of each image, not of the series
        after: number * 2,
    };
    let class = uids::DIGITAL_MAMMOGRAPHY_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION;
    let mut draft = exam.instance(&series, class, 1);
    draft
        .text(tags::IMAGE_TYPE, "DERIVED\\PRIMARY")
        .text(tags::PRESENTATION_INTENT_TYPE, "FOR PRESENTATION")
        .text(tags::PRESENTATION_LUT_SHAPE, "IDENTITY")
        .text(tags::IMAGE_LATERALITY, letter)
        .text(tags::PATIENT_ORIENTATION, orientation)
        .text(tags::VIEW_POSITION, "CC")
        .text(tags::POSITIONER_TYPE, "MAMMOGRAPHIC")
        .text(tags::ORGAN_EXPOSED, "BREAST")
        .text(tags::BREAST_IMPLANT_PRESENT, "NO")
        .text(tags::PARTIAL_VIEW, "NO")
        .text(tags::BURNED_IN_ANNOTATION, "NO")
        .text(tags::LOSSY_IMAGE_COMPRESSION, "00")
        .text(tags::DETECTOR_TYPE, "DIRECT")
        .text(tags::PIXEL_INTENSITY_RELATIONSHIP, "LOG")
        .numbers(tags::PIXEL_INTENSITY_RELATIONSHIP_SIGN, &[-1.0])
        .numbers(tags::IMAGER_PIXEL_SPACING, &[f64::from(SPACING), f64::from(SPACING)])
        .numbers(tags::ACQUISITION_NUMBER, &[1.0])
        .numbers(tags::KVP, &[29.0])
        .numbers(tags::EXPOSURE, &[88.0])
        .numbers(tags::BODY_PART_THICKNESS, &[54.0])
        .numbers(tags::COMPRESSION_FORCE, &[92.0])
        .numbers(tags::ORGAN_DOSE, &[0.0145])
        .text(tags::ANODE_TARGET_MATERIAL, "TUNGSTEN")
        .text(tags::FILTER_MATERIAL, "RHODIUM")
        .numbers(tags::RESCALE_INTERCEPT, &[0.0])
        .numbers(tags::RESCALE_SLOPE, &[1.0])
        .text(tags::RESCALE_TYPE, "US")
        .text(tags::WINDOW_CENTER, "2048\\2500")
        .text(tags::WINDOW_WIDTH, "4096\\2400")
        .text(tags::WINDOW_CENTER_WIDTH_EXPLANATION, "NORMAL\\HARDER");
    draft.data_set.code(tags::ANATOMIC_REGION_SEQUENCE, "76752008", "SCT", "Breast");
    let mut view = draft.data_set.item();
    view.text(tags::CODE_VALUE, "399162004")
        .text(tags::CODING_SCHEME_DESIGNATOR, "SCT")
        .text(tags::CODE_MEANING, "cranio-caudal")
        .sequence(tags::VIEW_MODIFIER_CODE_SEQUENCE, Vec::new());
    draft
        .data_set
        .sequence(tags::VIEW_CODE_SEQUENCE, vec![view])
        .sequence(tags::ACQUISITION_CONTEXT_SEQUENCE, Vec::new());
    let layout =
        Layout { rows: ROWS, columns: COLUMNS, bits_stored: 12, signed: false, photometric: "MONOCHROME2" };
    draft.pixels(&layout, picture(side).words(0.0, 4095.0));
    draft.finish()
}

/// Drawn with the chest wall on the left, and turned over for the right breast.
fn picture(side: Side) -> Grid {
    let (width, height) = (COLUMNS / 2, ROWS / 2);
    let seed = if side == Side::Left { 31 } else { 47 };
    let mut breast = Grid::of(width, height, |x, y| tissue(x * COARSE, y * COARSE, side, seed));
    let mut random = Random::new(u64::from(seed));
    let mut veins = Grid::filled(width, height, 0.0);
    for start in [70.0, 118.0, 160.0] {
        let angle = random.between(-0.3, 0.3);
        for vein in vessels(&mut random, (0.0, start), angle, 1.5) {
            vein.cover(&mut veins, COARSE, |d, r| 0.10 * rod(d, r));
        }
    }
    for at in 0..breast.data.len() {
        let (x, y) = ((at % width) as f32 * COARSE, (at / width) as f32 * COARSE);
        if let (Some(value), Some(vein)) = (breast.data.get_mut(at), veins.data.get(at)) {
            *value += vein.min(0.25) * step(0.0, 12.0, inside(x, y, seed));
        }
    }
    if side == Side::Left {
        lesions(&mut breast, &mut random);
    }
    let mut breast = breast.blurred(0.6);
    let label = if side == Side::Left { "L CC" } else { "R CC" };
    if side == Side::Right {
        breast.data.chunks_exact_mut(width).for_each(<[f32]>::reverse);
    }
    let left = if side == Side::Left { width as isize - 260 } else { 60 };
    for (x, y) in letters::dots(label, 8) {
        breast.change(left + x, 90 + y, |value| *value = 3.2);
    }
    let grain = Grid::noise(COLUMNS, ROWS, &mut random).blurred(0.7);
    let fine = breast.resized(COLUMNS, ROWS).plus(&grain, 0.035);
    fine.map(|value| 4095.0 * step(0.02, 3.3, value))
}

/// How deep inside of the skin line, mm.
fn inside(x: f32, y: f32, seed: u32) -> f32 {
    let half = 96.0 + 2.0 * noise(y / 50.0, 0.0, 0.0, seed);
    let v = (y - 114.0) / half;
    let nipple = 4.0 * (-((y - 116.0) / 4.2).powi(2)).exp();
    let bulge = 128.0 * (1.0 - v * v).max(0.0).powf(0.56) + nipple;
    let slope = 1.0 + 1.4 * v.abs().powi(3);
    (bulge - x) / slope
}

fn tissue(x: f32, y: f32, side: Side, seed: u32) -> f32 {
    let depth = inside(x, y, seed);
    if depth < -0.5 {
        return 0.0;
    }
    let roll = 1.0 - (-depth.max(0.0) / 9.0).exp();
    let mut value = 0.98 * roll * step(-0.4, 0.6, depth);
    value += 0.30 * step(2.4, 1.2, depth) * step(-0.3, 0.4, depth);

    // Glandular tissue fans out from the nipple; strands of it follow the fan.
    let (nx, ny) = (128.0 - x, y - 116.0);
    let (far, turn) = ((nx * nx + ny * ny).sqrt(), ny.atan2(nx.max(1.0)));
    let warp = 0.9 * fractal(x / 26.0, y / 26.0, 3.0, 3, seed + 1);
    let lobes = fractal(far / 34.0 + warp, turn * 3.2 + warp, 0.0, 4, seed + 2);
    let strands = fractal(far / 15.0 + warp, turn * 16.0 + 2.0 * warp, 1.0, 4, seed + 3);
    let zone = step(118.0, 60.0, far + 20.0 * warp) * step(0.95, 0.45, turn.abs()) * step(6.0, 20.0, depth);
    let density = step(-0.35, 0.75, lobes + 0.4 * strands) * zone;
    value += 1.45 * density + 0.20 * strands.max(0.0) * zone;
    // Cooper's ligaments: thin curved lines through the fat.
    let ligament = noise(x / 17.0 + 1.5 * warp, y / 17.0, 0.0, seed + 4).abs();
    value += 0.13 * step(0.07, 0.0, ligament) * step(-0.1, 0.5, warp) * roll;
    value += 0.10 * fractal(x / 5.0, y / 5.0, 0.0, 3, seed + 5) * roll;
    // Chest muscle at the edge.
    let muscle = 7.0 * (1.0 - ((y - 112.0) / 58.0).powi(2)).max(0.0).sqrt();
    value += 0.85 * step(muscle + 2.5, muscle - 2.5, x);
    value += 0.35 * step(6.0, 1.0, far) * step(-0.4, 0.6, depth);
    if side == Side::Left {
        let (dx, dy) = (x - 74.0, y - 84.0);
        let (r, turn) = ((dx * dx + dy * dy).sqrt(), dy.atan2(dx));
        let spikes = 1.0 + 0.30 * noise(turn * 4.2, 0.0, 0.0, seed + 6);
        value += 0.95 * step(1.15, 0.55, r / (6.2 * spikes));
        let waver = turn + 0.22 * noise(x / 5.0, y / 5.0, 0.0, seed + 8);
        let rays = noise(waver * 5.5, r / 22.0, 0.0, seed + 7).abs();
        value += 0.30 * step(0.22, 0.0, rays) * step(17.0, 6.0, r) * step(3.0, 6.0, r);
    }
    value
}

/// A group of small bright grains beside the mass.
fn lesions(breast: &mut Grid, random: &mut Random) {
    for _ in 0..26 {
        let (x, y) = (88.0 + 3.2 * random.normal(), 97.0 + 2.6 * random.normal());
        let (length, angle) = (random.between(0.05, 0.4), random.between(0.0, 3.1));
        let to = (x + length * angle.cos(), y + length * angle.sin());
        let size = random.between(0.16, 0.30);
        Stroke::line((x, y), to, (size, size)).add(breast, COARSE, |d, _| 1.3 * step(1.0, 0.1, d));
    }
}
