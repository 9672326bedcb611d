//! An MR of the brain, T1 and T2 weighted, with plaques beside the ventricles. PS3.3 A.4 and C.8.3.

use dicom_dictionary_std::{tags, uids};

use super::Instance;
use super::exam::{Exam, Layout, Series};
use super::grid::Grid;
use super::head::{Head, Look};
use super::noise::{Random, noise};

const MATRIX: usize = 256;
const SPACING: f32 = 0.9;
const SLICES: usize = 24;
const THICKNESS: f32 = 5.0;
/// From one slice to the next, mm.
const BETWEEN: f32 = 5.5;
const LOWEST: f32 = -42.0;

/// How many instances [`instances`] makes.
pub const COUNT: usize = 2 * SLICES;

/// What tells the two series apart.
struct Weighting {
    number: u32,
    description: &'static str,
    repetition_time: f64,
    echo_time: f64,
    echo_train: f64,
    flip_angle: f64,
    window: (f64, f64),
}

const WEIGHTINGS: [Weighting; 2] = [
    Weighting {
        number: 2,
        description: "T2 TSE axial",
        repetition_time: 4800.0,
        echo_time: 98.0,
        echo_train: 11.0,
        flip_angle: 150.0,
        window: (520.0, 1040.0),
    },
    Weighting {
        number: 3,
        description: "T1 SE axial",
        repetition_time: 520.0,
        echo_time: 12.0,
        echo_train: 1.0,
        flip_angle: 90.0,
        window: (430.0, 760.0),
    },
];

/// Signal by weighting and [`super::head::Tissue`].
const LOOKS: [Look; 2] = [
    [
        0.0, 330.0, 560.0, 165.0, 25.0, 260.0, 1020.0, 450.0, 320.0, 120.0, 1040.0, 160.0, 40.0, 200.0,
        800.0, 760.0,
    ],
    [
        0.0, 420.0, 900.0, 370.0, 30.0, 480.0, 130.0, 430.0, 570.0, 360.0, 130.0, 300.0, 90.0, 620.0, 330.0,
        340.0,
    ],
];

/// All instances of the study.
pub fn instances(exam: Exam) -> impl Iterator<Item = Instance> {
    (0..SLICES).flat_map(move |slice| {
        let pairs: Vec<Instance> = WEIGHTINGS
            .iter()
            .zip(signals(height_of(slice)))
            .map(|(weighting, signal)| instance(&exam, weighting, slice, signal))
            .collect();
        pairs
    })
}

fn height_of(slice: usize) -> f32 {
    LOWEST + BETWEEN * slice as f32
}

fn instance(exam: &Exam, weighting: &Weighting, slice: usize, signal: Grid) -> Instance {
    let series = Series {
        number: weighting.number,
        modality: "MR",
        description: weighting.description,
        body_part: "BRAIN",
        protocol: "Brain routine",
        laterality: "",
        after: weighting.number * 4,
    };
    let mut draft = exam.instance(&series, uids::MR_IMAGE_STORAGE, slice as u32 + 1);
    let z = height_of(slice);
    let corner = f64::from(-(MATRIX as f32) / 2.0 * SPACING + SPACING / 2.0);
    draft
        .text(tags::IMAGE_TYPE, "ORIGINAL\\PRIMARY\\M\\ND")
        .text(tags::FRAME_OF_REFERENCE_UID, &exam.uid("frame of reference"))
        .text(tags::POSITION_REFERENCE_INDICATOR, "")
        .text(tags::PATIENT_POSITION, "HFS")
        .numbers(tags::IMAGE_POSITION_PATIENT, &[corner, corner - 4.0, f64::from(z)])
        .numbers(tags::IMAGE_ORIENTATION_PATIENT, &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0])
        .numbers(tags::PIXEL_SPACING, &[f64::from(SPACING), f64::from(SPACING)])
        .numbers(tags::SLICE_THICKNESS, &[f64::from(THICKNESS)])
        .numbers(tags::SPACING_BETWEEN_SLICES, &[f64::from(BETWEEN)])
        .numbers(tags::SLICE_LOCATION, &[f64::from(z)])
        .numbers(tags::ACQUISITION_NUMBER, &[1.0])
        .text(tags::SCANNING_SEQUENCE, "SE")
        .text(tags::SEQUENCE_VARIANT, "SK")
        .text(tags::SCAN_OPTIONS, "")
        .text(tags::MR_ACQUISITION_TYPE, "2D")
        .numbers(tags::REPETITION_TIME, &[weighting.repetition_time])
        .numbers(tags::ECHO_TIME, &[weighting.echo_time])
        .numbers(tags::ECHO_TRAIN_LENGTH, &[weighting.echo_train])
        .numbers(tags::FLIP_ANGLE, &[weighting.flip_angle])
        .numbers(tags::MAGNETIC_FIELD_STRENGTH, &[1.5])
        .numbers(tags::IMAGING_FREQUENCY, &[63.68])
        .text(tags::IMAGED_NUCLEUS, "1H")
        .text(tags::RECEIVE_COIL_NAME, "Head 16")
        .numbers(tags::WINDOW_CENTER, &[weighting.window.0])
        .numbers(tags::WINDOW_WIDTH, &[weighting.window.1]);
    let layout =
        Layout { rows: MATRIX, columns: MATRIX, bits_stored: 12, signed: false, photometric: "MONOCHROME2" };
    draft.pixels(&layout, received(signal, weighting, slice).words(0.0, 4095.0));
    draft.finish()
}

/// The same slice in both weightings.
fn signals(z: f32) -> [Grid; 2] {
    let head = Head { seed: 19, age: 0.75, bleeding: false, plaques: true };
    let middle = MATRIX as f32 / 2.0 - 0.5;
    let mut second = Grid::filled(MATRIX, MATRIX, 0.0);
    let mut pixels = second.data.iter_mut();
    let first = Grid::of(MATRIX, MATRIX, |column, row| {
        let (x, y) = ((column - middle) * SPACING, (row - middle) * SPACING - 4.0);
        let [low, high] = [-0.25, 0.25].map(|part| head.look_at([x, y, z + part * THICKNESS], &LOOKS));
        // The coil hears better what is near to it.
        let coil = 0.46 + 0.05 * (y / 90.0).powi(2) + 0.04 * noise(x / 80.0, y / 80.0, z / 80.0, 3);
        if let Some(pixel) = pixels.next() {
            *pixel = coil * (low[1] + high[1]);
        }
        coil * (low[0] + high[0])
    });
    [first, second]
}

/// With the noise of the receiver.
fn received(signal: Grid, weighting: &Weighting, slice: usize) -> Grid {
    let mut random = Random::new(u64::from(weighting.number) * 100 + slice as u64);
    let (real, imaginary) =
        (Grid::noise(MATRIX, MATRIX, &mut random), Grid::noise(MATRIX, MATRIX, &mut random));
    // A magnitude is never negative: noise is Rician, also in the air.
    let mut noisy = signal.blurred(0.55);
    for (value, (re, im)) in noisy.data.iter_mut().zip(real.data.iter().zip(&imaginary.data)) {
        *value = ((*value + 14.0 * re).powi(2) + (14.0 * im).powi(2)).sqrt();
    }
    noisy
}
