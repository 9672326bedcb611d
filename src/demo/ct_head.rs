//! A CT of the head with a bleeding: a localizer, axial slices in two kernels, and a coronal reformation.
//! PS3.3 A.3 and C.8.2.

use std::sync::Arc;

use dicom_dictionary_std::{tags, uids};

use super::Instance;
use super::exam::{Draft, Exam, Layout, Series};
use super::grid::Grid;
use super::head::{Head, Look};
use super::noise::Random;

/// Hounsfield units by [`super::head::Tissue`].
const LOOK: [Look; 1] =
    [[-1000.0, 45.0, -95.0, 55.0, 1450.0, 520.0, 6.0, 39.0, 28.0, 56.0, 9.0, 85.0, 170.0, 68.0, 19.0, 28.0]];

/// The volume everything is cut out of: cubes a little less than a millimetre wide, two thirds of that high.
const SIDE: usize = 256;
const WIDTH: f32 = 0.935;
const SLABS: usize = 90;
const HEIGHT: f32 = 5.0 / 3.0;
/// Of the lowest slab, mm.
const LOWEST: f32 = -48.0;
/// The middle of the picture is a little in front of the middle of the brain.
const CENTRE_Y: f32 = -6.0;

const MATRIX: usize = 512;
const SPACING: f32 = WIDTH * SIDE as f32 / MATRIX as f32;
const AXIAL: usize = SLABS / 3;
const CORONAL: usize = 38;
const CORONAL_ROWS: usize = 320;

/// How many instances [`instances`] makes.
pub const COUNT: usize = 1 + 2 * AXIAL + CORONAL;

/// Hounsfield units of every cube, slab after slab from below.
struct Volume(Vec<Grid>);

impl Volume {
    fn of(head: &Head) -> Volume {
        let slab = |at: usize| {
            let z = LOWEST + HEIGHT * at as f32;
            let middle = SIDE as f32 / 2.0 - 0.5;
            Grid::of(SIDE, SIDE, |x, y| {
                let point = [(x - middle) * WIDTH, (y - middle) * WIDTH + CENTRE_Y, z];
                let [hu] = head.look_at(point, &LOOK);
                hu.max(holder(point))
            })
        };
        Volume((0..SLABS).map(slab).collect())
    }

    /// The mean of three slabs, which is 5 mm.
    fn axial(&self, number: usize) -> Grid {
        let mut mean = Grid::filled(SIDE, SIDE, 0.0);
        for slab in self.0.iter().skip(number * 3).take(3) {
            mean = mean.plus(slab, 1.0 / 3.0);
        }
        mean.resized(MATRIX, MATRIX)
    }

    /// Rows from the top, columns as in the axial slices; the mean of three.
    fn coronal(&self, row: usize) -> Grid {
        let slice = Grid::of(SIDE, SLABS, |x, z| {
            let slab = self.0.get(SLABS - 1 - z as usize);
            let at = |y: usize| slab.map_or(-1000.0, |slab| slab.at(x as isize, y as isize));
            (at(row.saturating_sub(1)) + at(row) + at(row + 1)) / 3.0
        });
        slice.resized(MATRIX, CORONAL_ROWS)
    }

    /// What the detector sees from the side: the logarithm is already taken.
    fn lateral(&self) -> Grid {
        let sum = Grid::of(SIDE, SLABS, |y, z| {
            let slab = self.0.get(SLABS - 1 - z as usize);
            let row = slab.and_then(|slab| slab.data.chunks_exact(SIDE).nth(y as usize));
            row.map_or(0.0, |row| row.iter().map(|hu| (hu + 1000.0) / 1000.0).sum::<f32>()) * WIDTH
        });
        sum.resized(MATRIX, CORONAL_ROWS).map(|path| -1000.0 + path * 5.5)
    }
}

/// The holder the head lies in: a thin shell of carbon fibre.
fn holder([x, y, z]: [f32; 3]) -> f32 {
    let r = ((x * 0.92).powi(2) + (y - 6.0).powi(2)).sqrt();
    if y < 42.0 || z > 70.0 {
        return -1000.0;
    }
    let shell = 1.0 - ((r - 106.0).abs() - 1.2).clamp(0.0, 1.0);
    -1000.0 + 780.0 * shell
}

/// All instances of the study.
pub fn instances(exam: Exam) -> impl Iterator<Item = Instance> {
    std::iter::once_with(|| {
        let head = Head { seed: 7, age: 1.3, bleeding: true, plaques: false };
        Arc::new(Volume::of(&head))
    })
    .flat_map(move |volume| {
        let mut work: Vec<(Kind, usize)> = vec![(Kind::Localizer, 0)];
        for (kind, count) in [(Kind::Brain, AXIAL), (Kind::Bone, AXIAL), (Kind::Coronal, CORONAL)] {
            work.extend((0..count).map(|number| (kind, number)));
        }
        work.into_iter().map(move |(kind, number)| kind.instance(&exam, &volume, number))
    })
}

#[derive(Clone, Copy)]
enum Kind {
    Localizer,
    Brain,
    Bone,
    Coronal,
}

impl Kind {
    fn series(self) -> Series {
        let (number, description) = match self {
            Kind::Localizer => (1, "Localizer lateral"),
            Kind::Brain => (2, "Head 5.0 Hr40 brain"),
            Kind::Bone => (3, "Head 5.0 Hr68 bone"),
            Kind::Coronal => (4, "Head coronal 4.0 Hr40"),
        };
        Series {
            number,
            modality: "CT",
            description,
            body_part: "HEAD",
            protocol: "Head routine",
            laterality: "",
            after: number,
        }
    }

    fn instance(self, exam: &Exam, volume: &Volume, number: usize) -> Instance {
        let instance_number = number as u32 + 1;
        let mut draft = exam.instance(&self.series(), uids::CT_IMAGE_STORAGE, instance_number);
        let mut random = Random::new(self.series().number as u64 * 1000 + number as u64);
        let left = f64::from(-(MATRIX as f32) / 2.0 * SPACING + SPACING / 2.0);
        let front = left + f64::from(CENTRE_Y);
        let top = f64::from(LOWEST + HEIGHT * (SLABS as f32 - 0.5) - SPACING / 2.0);
        let grid = match self {
            Kind::Localizer => {
                draft.text(tags::IMAGE_TYPE, "ORIGINAL\\PRIMARY\\LOCALIZER");
                place(&mut draft, [0.0, front, top], [0.0, 1.0, 0.0, 0.0, 0.0, -1.0], 0.6, 0.0);
                window(&mut draft, "-300", "1300", "SCOUT");
                grain(volume.lateral(), &mut random, 6.0, 0.6)
            }
            Kind::Brain | Kind::Bone => {
                let z = f64::from(LOWEST + HEIGHT * (number as f32 * 3.0 + 1.0));
                draft.text(tags::IMAGE_TYPE, "ORIGINAL\\PRIMARY\\AXIAL");
                place(&mut draft, [left, front, z], [1.0, 0.0, 0.0, 0.0, 1.0, 0.0], 5.0, z);
                let slice = volume.axial(number);
                if matches!(self, Kind::Brain) {
                    draft.text(tags::CONVOLUTION_KERNEL, "Hr40f");
                    window(&mut draft, "38\\600", "80\\2800", "BRAIN\\BONE");
                    grain(slice.blurred(0.9), &mut random, 2.8, 1.1)
                } else {
                    draft.text(tags::CONVOLUTION_KERNEL, "Hr68f");
                    window(&mut draft, "600\\38", "2800\\90", "BONE\\BRAIN");
                    let sharp = slice.clone().plus(&slice, 1.1).plus(&slice.blurred(1.7), -1.1);
                    grain(sharp, &mut random, 24.0, 0.6)
                }
            }
            Kind::Coronal => {
                let row = 36 + number * 5;
                let y = f64::from((row as f32 - SIDE as f32 / 2.0 + 0.5) * WIDTH + CENTRE_Y);
                draft.text(tags::IMAGE_TYPE, "DERIVED\\SECONDARY\\MPR");
                draft.text(tags::CONVOLUTION_KERNEL, "Hr40f");
                place(&mut draft, [left, y, top], [1.0, 0.0, 0.0, 0.0, 0.0, -1.0], 4.0, y);
                window(&mut draft, "38\\600", "80\\2800", "BRAIN\\BONE");
                grain(volume.coronal(row).blurred(1.0), &mut random, 2.8, 1.3)
            }
        };
        technique(&mut draft, exam, self);
        let layout = Layout {
            rows: grid.height,
            columns: grid.width,
            bits_stored: 16,
            signed: true,
            photometric: "MONOCHROME2",
        };
        draft.pixels(&layout, grid.map(|hu| hu + 1024.0).words(0.0, 4095.0));
        draft.finish()
    }
}

/// Image plane, PS3.3 C.7.6.2: where the first pixel is, and which way rows and columns go.
fn place(draft: &mut Draft, position: [f64; 3], orientation: [f64; 6], thickness: f64, location: f64) {
    draft
        .numbers(tags::IMAGE_POSITION_PATIENT, &position)
        .numbers(tags::IMAGE_ORIENTATION_PATIENT, &orientation)
        .numbers(tags::PIXEL_SPACING, &[f64::from(SPACING), f64::from(SPACING)])
        .numbers(tags::SLICE_LOCATION, &[location])
        .numbers(tags::SLICE_THICKNESS, &[thickness]);
}

fn window(draft: &mut Draft, centers: &str, widths: &str, explanations: &str) {
    draft
        .text(tags::WINDOW_CENTER, centers)
        .text(tags::WINDOW_WIDTH, widths)
        .text(tags::WINDOW_CENTER_WIDTH_EXPLANATION, explanations);
}

fn technique(draft: &mut Draft, exam: &Exam, kind: Kind) {
    let acquisition = if matches!(kind, Kind::Localizer) { 1.0 } else { 2.0 };
    draft
        .text(tags::FRAME_OF_REFERENCE_UID, &exam.uid("frame of reference"))
        .text(tags::POSITION_REFERENCE_INDICATOR, "")
        .text(tags::PATIENT_POSITION, "HFS")
        .numbers(tags::ACQUISITION_NUMBER, &[acquisition])
        .numbers(tags::KVP, &[120.0])
        .numbers(tags::X_RAY_TUBE_CURRENT, &[if acquisition > 1.0 { 310.0 } else { 35.0 }])
        .numbers(tags::EXPOSURE_TIME, &[1000.0])
        .numbers(tags::GANTRY_DETECTOR_TILT, &[0.0])
        .numbers(tags::TABLE_HEIGHT, &[142.0])
        .text(tags::ROTATION_DIRECTION, "CW")
        .numbers(tags::DATA_COLLECTION_DIAMETER, &[500.0])
        .numbers(tags::RECONSTRUCTION_DIAMETER, &[f64::from(SPACING * MATRIX as f32)])
        .numbers(tags::RESCALE_INTERCEPT, &[-1024.0])
        .numbers(tags::RESCALE_SLOPE, &[1.0]);
    if acquisition > 1.0 {
        draft.text(tags::RESCALE_TYPE, "HU"); // a projection has no Hounsfield units
    }
}

/// What a detector adds: noise, as fine as the kernel leaves it, this many HU strong.
fn grain(grid: Grid, random: &mut Random, strength: f32, sigma: f32) -> Grid {
    let noise = Grid::noise(grid.width, grid.height, random).blurred(sigma);
    let spread = (noise.data.iter().map(|value| value * value).sum::<f32>() / noise.data.len() as f32).sqrt();
    grid.plus(&noise, strength / spread.max(1e-6))
}
