//! A colour Doppler loop of the heart from its apex, one beat long: PS3.3 A.7 and C.8.5.

use std::f32::consts::TAU;

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};

use super::Instance;
use super::exam::{Exam, Series};
use super::grid::Grid;
use super::letters;
use super::noise::{Random, noise, step};

const COLUMNS: usize = 640;
const ROWS: usize = 480;
const FRAMES: usize = 32;
/// Milliseconds from one frame to the next.
const FRAME_TIME: f64 = 30.0;
/// Where the transducer is.
const APEX: (f32, f32) = (312.0, 34.0);
/// Pixels of a centimetre.
const SCALE: f32 = 25.0;
/// As far as we see, cm.
const DEPTH: f32 = 16.0;
/// Half of the angle we see.
const HALF_ANGLE: f32 = 0.70;
const BEAMS: usize = 220;
const RANGES: usize = 400;

type Colour = [u8; 3];

/// The one instance of the study.
pub fn instance(exam: &Exam) -> Instance {
    let series = Series {
        number: 1,
        modality: "US",
        description: "Apical four chamber, colour",
        body_part: "HEART",
        protocol: "TTE adult",
        laterality: "",
        after: 6,
    };
    let mut draft = exam.instance(&series, uids::ULTRASOUND_MULTI_FRAME_IMAGE_STORAGE, 1);
    let mut region = draft.data_set.item();
    let (left, right) =
        (APEX.0 - DEPTH * SCALE * HALF_ANGLE.sin(), APEX.0 + DEPTH * SCALE * HALF_ANGLE.sin());
    region
        .number(tags::REGION_SPATIAL_FORMAT, 1.0)
        .number(tags::REGION_DATA_TYPE, 2.0)
        .number(tags::REGION_FLAGS, 2.0)
        .number(tags::REGION_LOCATION_MIN_X0, f64::from(left.max(0.0)))
        .number(tags::REGION_LOCATION_MIN_Y0, f64::from(APEX.1))
        .number(tags::REGION_LOCATION_MAX_X1, f64::from(right))
        .number(tags::REGION_LOCATION_MAX_Y1, f64::from(APEX.1 + DEPTH * SCALE))
        .number(tags::PHYSICAL_UNITS_X_DIRECTION, 3.0)
        .number(tags::PHYSICAL_UNITS_Y_DIRECTION, 3.0)
        .number(tags::PHYSICAL_DELTA_X, f64::from(1.0 / SCALE))
        .number(tags::PHYSICAL_DELTA_Y, f64::from(1.0 / SCALE));
    draft
        .text(tags::IMAGE_TYPE, "ORIGINAL\\PRIMARY\\TTE\\0011")
        .text(tags::PATIENT_ORIENTATION, "")
        .text(tags::LOSSY_IMAGE_COMPRESSION, "00")
        .text(tags::BURNED_IN_ANNOTATION, "NO")
        .text(tags::TRANSDUCER_TYPE, "SECTOR_PHASED")
        .numbers(tags::HEART_RATE, &[62.0])
        .numbers(tags::ULTRASOUND_COLOR_DATA_PRESENT, &[1.0])
        .numbers(tags::NUMBER_OF_FRAMES, &[FRAMES as f64])
        .numbers(tags::FRAME_TIME, &[FRAME_TIME])
        .numbers(tags::CINE_RATE, &[33.0])
        .numbers(tags::RECOMMENDED_DISPLAY_FRAME_RATE, &[33.0])
        .numbers(tags::START_TRIM, &[1.0])
        .numbers(tags::STOP_TRIM, &[FRAMES as f64])
        .numbers(tags::SAMPLES_PER_PIXEL, &[3.0])
        .text(tags::PHOTOMETRIC_INTERPRETATION, "RGB")
        .numbers(tags::PLANAR_CONFIGURATION, &[0.0])
        .numbers(tags::ROWS, &[ROWS as f64])
        .numbers(tags::COLUMNS, &[COLUMNS as f64])
        .numbers(tags::BITS_ALLOCATED, &[8.0])
        .numbers(tags::BITS_STORED, &[8.0])
        .numbers(tags::HIGH_BIT, &[7.0])
        .numbers(tags::PIXEL_REPRESENTATION, &[0.0]);
    draft
        .data_set
        .bytes(tags::FRAME_INCREMENT_POINTER, VR::AT, vec![0x18, 0x00, 0x63, 0x10])
        .sequence(tags::SEQUENCE_OF_ULTRASOUND_REGIONS, vec![region])
        .bytes(tags::PIXEL_DATA, VR::OB, frames());
    draft.finish()
}

/// All frames, one after the other.
fn frames() -> Vec<u8> {
    let scanner = Scanner::new();
    let mut pixels = Vec::with_capacity(FRAMES * ROWS * COLUMNS * 3);
    for frame in 0..FRAMES {
        let mut canvas = Canvas { pixels: vec![0; ROWS * COLUMNS * 3] };
        let heart = Heart::at(frame as f32 / FRAMES as f32);
        scanner.draw(&heart, frame, &mut canvas);
        furniture(&mut canvas, frame);
        pixels.extend_from_slice(&canvas.pixels);
    }
    pixels
}

struct Canvas {
    pixels: Vec<u8>,
}

impl Canvas {
    fn put(&mut self, x: isize, y: isize, colour: Colour) {
        let inside = (0..COLUMNS as isize).contains(&x) && (0..ROWS as isize).contains(&y);
        let at = (y * COLUMNS as isize + x) * 3;
        if let Some(pixel) = usize::try_from(at).ok().and_then(|at| self.pixels.get_mut(at..at + 3))
            && inside
        {
            pixel.copy_from_slice(&colour);
        }
    }

    fn write(&mut self, x: isize, y: isize, scale: isize, colour: Colour, text: &str) {
        for (dx, dy) in letters::dots(text, scale) {
            self.put(x + dx, y + dy, colour);
        }
    }
}

/// The heart at one moment, in cm: across from the middle of the picture, and down from the transducer.
struct Heart {
    /// How far it has contracted, 0 to 1.
    squeezed: f32,
    /// Speed through the mitral valve, towards us positive; leaking in systole.
    inflow: f32,
    leak: f32,
    /// How far the valves are open.
    open: f32,
    phase: f32,
}

/// What an echo comes from.
struct Echo {
    strength: f32,
    blood: bool,
}

fn bump(phase: f32, middle: f32, width: f32) -> f32 {
    let d = (phase - middle + 0.5).rem_euclid(1.0) - 0.5;
    (-(d / width).powi(2)).exp()
}

impl Heart {
    fn at(phase: f32) -> Heart {
        let squeezed = 0.5 - 0.5 * (TAU * (phase - 0.02).clamp(0.0, 1.0).powf(0.75)).cos();
        let inflow = 0.8 * bump(phase, 0.58, 0.09) + 0.55 * bump(phase, 0.90, 0.06);
        Heart { squeezed, inflow, leak: bump(phase, 0.20, 0.15), open: (inflow * 1.3).min(1.0), phase }
    }

    /// Signed distance to a chamber's inside, cm.
    fn chamber(&self, x: f32, y: f32, centre: (f32, f32), radii: (f32, f32), lean: f32) -> f32 {
        let (dx, dy) = (x - centre.0, y - centre.1);
        let (u, v) = (dx * lean.cos() + dy * lean.sin(), dy * lean.cos() - dx * lean.sin());
        let k = ((u / radii.0).powi(2) + (v / radii.1).powi(2)).sqrt();
        (k - 1.0) * radii.0.min(radii.1)
    }

    /// Both valves lie here, and are pulled to the apex when the heart contracts.
    fn base(&self) -> f32 {
        9.2 - 1.1 * self.squeezed
    }

    fn left_ventricle(&self, x: f32, y: f32) -> f32 {
        let s = self.squeezed;
        let middle = (2.9 + self.base()) / 2.0 + 0.2;
        let body = self.chamber(x, y, (1.55, middle), (1.95 - 0.75 * s, middle - 2.9), 0.10);
        body.max(y - self.base())
    }

    fn right_ventricle(&self, x: f32, y: f32) -> f32 {
        let middle = (4.3 + self.base()) / 2.0;
        let body =
            self.chamber(x, y, (-2.2, middle + 0.3), (1.35 - 0.3 * self.squeezed, middle - 3.8), -0.30);
        body.max(y - self.base() - 0.1)
    }

    fn atria(&self, x: f32, y: f32) -> f32 {
        let full = 0.75 + 0.25 * self.squeezed;
        let left = self.chamber(x, y, (1.75, self.base() + 2.15), (1.9 * full, 2.0), 0.0);
        let right = self.chamber(x, y, (-2.1, self.base() + 2.0), (1.75 * full, 1.9), 0.0);
        left.min(right).max(self.base() + 0.12 - 0.3 * self.open - y)
    }

    /// Leaflets, from the sides of the valve to where they meet or stand open.
    fn leaflet(&self, x: f32, y: f32) -> f32 {
        let mut nearest = 9.0_f32;
        for (middle, half) in [(1.6_f32, 1.45_f32), (-2.1, 1.15)] {
            for side in [-1.0_f32, 1.0] {
                let from = (middle + side * half, self.base());
                let to = (middle + side * half * 0.75 * self.open, self.base() - 0.35 - 1.15 * self.open);
                let (dx, dy) = (to.0 - from.0, to.1 - from.1);
                let t = (((x - from.0) * dx + (y - from.1) * dy) / (dx * dx + dy * dy)).clamp(0.0, 1.0);
                nearest = nearest.min((x - from.0 - t * dx).hypot(y - from.1 - t * dy));
            }
        }
        nearest
    }

    fn echo(&self, x: f32, y: f32) -> Echo {
        let ventricles = self.left_ventricle(x, y).min(self.right_ventricle(x, y));
        let cavity = ventricles.min(self.atria(x, y));
        let leaflet = self.leaflet(x, y);
        // The heart's outline moves little; beyond it lies lung.
        let outline = self.chamber(x, y, (-0.1, 8.2), (4.75 - 0.18 * self.squeezed, 6.7), 0.04);
        let strength = if leaflet < 0.10 {
            0.85
        } else if cavity < 0.0 {
            0.012 + 0.03 * step(-0.3, 0.0, cavity)
        } else if outline < 0.0 {
            let lining = 0.40 * step(0.22, 0.03, cavity);
            let fibres = 0.10 * noise(x * 3.0, y * 1.2, 0.0, 61);
            0.27 + lining + fibres + 0.55 * step(-0.16, -0.02, outline)
        } else {
            0.16 * step(2.2, 0.0, outline) + 0.62 * step(0.22, 0.02, outline)
        };
        Echo { strength, blood: cavity < -0.02 && leaflet > 0.12 }
    }

    /// Blood's speed towards the transducer, in parts of the largest the colours can show; more than 1 folds over.
    fn velocity(&self, x: f32, y: f32, frame: usize) -> f32 {
        let below = y - self.base();
        let swirl = noise(x * 3.0, y * 3.0, frame as f32 * 1.7, 63);
        let mut speed = 0.0;
        if below > 0.0 {
            // The leak: a narrow, turbulent jet along the inner wall of the atrium.
            let path = 1.35 - 0.12 * below * below;
            let width = 0.22 + 0.20 * below;
            let jet =
                (-((x - path) / width).powi(2)).exp() * step(4.2 * self.leak + 0.1, 3.0 * self.leak, below);
            speed -= self.leak * jet * (1.35 + 0.7 * swirl);
        }
        let entry = (-((x - 1.6) / (0.75 + 0.1 * below.abs())).powi(2)).exp();
        let reach = step(-4.6, -2.0, below) * step(2.8, 0.4, below);
        speed += self.inflow * entry * reach * (0.78 + 0.25 * swirl);
        let out = (-((x - 0.55) / 0.5).powi(2)).exp() * step(-3.0, -0.6, below) * step(0.3, -0.1, below);
        speed - bump(self.phase, 0.18, 0.12) * out * 0.55
    }
}

/// Beams, speckle, and the way from them to pixels.
struct Scanner {
    speckle: Grid,
    haze: Grid,
}

impl Scanner {
    fn new() -> Scanner {
        let mut random = Random::new(97);
        let mut field = || {
            let grid = Grid::noise(BEAMS * 2, RANGES + 40, &mut random).blurred(1.25);
            let power = grid.data.iter().map(|value| value * value).sum::<f32>() / grid.data.len() as f32;
            grid.map(move |value| value / power.sqrt())
        };
        let (real, imaginary) = (field(), field());
        let mut speckle = real;
        for (value, other) in speckle.data.iter_mut().zip(&imaginary.data) {
            *value = (*value * *value + other * other).sqrt() * 0.8;
        }
        Scanner { speckle, haze: field() }
    }

    fn draw(&self, heart: &Heart, frame: usize, canvas: &mut Canvas) {
        let place = |beam: f32, range: f32| {
            let angle = (beam / (BEAMS - 1) as f32 * 2.0 - 1.0) * HALF_ANGLE;
            let r = range / (RANGES - 1) as f32 * DEPTH;
            (r * angle.sin(), r * angle.cos(), angle, r)
        };
        let mut colours: Vec<Option<Colour>> = Vec::with_capacity(BEAMS * RANGES);
        // Columns are beams, so that the blur along a row is the width of a beam.
        let echoes = Grid::of(BEAMS, RANGES, |beam, range| {
            let (x, y, angle, r) = place(beam, range);
            let echo = heart.echo(x, y);
            let boxed = angle > -0.12 && angle < 0.46 && r > 5.6 && r < 14.2;
            colours.push(if boxed && echo.blood { colour(heart.velocity(x, y, frame)) } else { None });
            // Tissue takes its speckle along when it moves; blood never looks the same twice.
            let along = range + heart.squeezed * 16.0 * step(13.0, 4.0, y);
            let grain = if echo.blood {
                self.speckle.at(beam as isize + 170, ((range as usize + frame * 37) % RANGES) as isize)
            } else {
                self.speckle.at(beam as isize, along as isize)
            };
            let near = 0.55 * step(1.1, 0.1, r);
            let gain = step(0.0, 1.0, r) * (1.12 - 0.035 * r) * (1.0 - 0.25 * step(0.5, 0.70, angle.abs()));
            (echo.strength * gain + near) * grain + 0.012 * self.haze.at(beam as isize, range as isize).abs()
        });
        let echoes = echoes.blurred(0.75).map(|value| (1.0 + 60.0 * value.max(0.0)).ln() / 4.35);
        for row in 0..ROWS {
            for column in 0..COLUMNS {
                let (dx, dy) = (column as f32 - APEX.0, row as f32 - APEX.1);
                let (angle, r) = (dx.atan2(dy), dx.hypot(dy) / SCALE);
                if angle.abs() > HALF_ANGLE || !(0.25..DEPTH).contains(&r) {
                    continue;
                }
                let beam = (angle / HALF_ANGLE + 1.0) / 2.0 * (BEAMS - 1) as f32;
                let range = r / DEPTH * (RANGES - 1) as f32;
                let grey = (between(&echoes, beam, range).clamp(0.0, 1.0) * 235.0) as u8;
                let at = range.round() as usize * BEAMS + beam.round() as usize;
                let flow = colours.get(at).copied().flatten();
                canvas.put(column as isize, row as isize, flow.unwrap_or([grey, grey, grey]));
            }
        }
        outline(canvas);
    }
}

fn between(grid: &Grid, x: f32, y: f32) -> f32 {
    let (i, j) = (x.floor(), y.floor());
    let (u, v) = (x - i, y - j);
    let (i, j) = (i as isize, j as isize);
    let top = grid.at(i, j) * (1.0 - u) + grid.at(i + 1, j) * u;
    top * (1.0 - v) + (grid.at(i, j + 1) * (1.0 - u) + grid.at(i + 1, j + 1) * u) * v
}

/// Red and yellow come to us, blue and cyan go away; what is too fast folds over to the other end.
fn colour(velocity: f32) -> Option<Colour> {
    if velocity.abs() < 0.16 {
        return None;
    }
    let folded = (velocity + 1.0).rem_euclid(2.0) - 1.0;
    let strong = folded.abs().powf(0.8);
    let (base, light) = ((110.0 + 145.0 * strong) as u8, (230.0 * step(0.35, 1.0, strong)) as u8);
    Some(if folded > 0.0 { [base, light, 16] } else { [16, light, base] })
}

/// The box in which colours are looked for.
fn outline(canvas: &mut Canvas) {
    let dot = |canvas: &mut Canvas, angle: f32, r: f32| {
        let (x, y) = (APEX.0 + r * SCALE * angle.sin(), APEX.1 + r * SCALE * angle.cos());
        canvas.put(x.round() as isize, y.round() as isize, [210, 210, 210]);
    };
    for at in 0..=400 {
        let t = at as f32 / 400.0;
        for angle in [-0.12, 0.46] {
            dot(canvas, angle, 5.6 + t * 8.6);
        }
        for r in [5.6, 14.2] {
            dot(canvas, -0.12 + t * 0.58, r);
        }
    }
}

/// What stands around the picture: settings, scales, the bar of colours, and the ECG.
fn furniture(canvas: &mut Canvas, frame: usize) {
    let (white, dim): (Colour, Colour) = ([225, 225, 225], [150, 160, 170]);
    for (line, text) in
        ["TTE ADULT", "X5-1", "33HZ", "16CM", "", "2D", "HGEN", "GN 58", "C 50", "", "CF", "61%", "2.5MHZ"]
            .iter()
            .enumerate()
    {
        canvas.write(12, 34 + line as isize * 12, 1, if line < 4 { white } else { dim }, text);
    }
    canvas.write(12, 12, 1, white, "FILMROOM PHANTOM");
    canvas.write(500, 12, 1, white, "TIS 0.8  MI 1.2");
    for centimetre in 0..=DEPTH as isize {
        let y = APEX.1 as isize + centimetre * SCALE as isize;
        let length = if centimetre % 5 == 0 { 7 } else { 3 };
        (0..length).for_each(|x| canvas.put(598 + x, y, white));
        if centimetre % 5 == 0 && centimetre > 0 {
            canvas.write(610, y - 3, 1, dim, &centimetre.to_string());
        }
    }
    canvas.write(608, 42, 1, white, "+62");
    canvas.write(608, 142, 1, white, "-62");
    canvas.write(602, 30, 1, dim, "CM/S");
    for y in 0..84 {
        let velocity = 1.0 - y as f32 / 41.5;
        let shade = colour(velocity * 0.999).unwrap_or([0, 0, 0]);
        (0..14).for_each(|x| canvas.put(610 + x, 54 + y, shade));
    }
    let mut last = 452.0_f32;
    for x in 0..520 {
        let phase = (x as f32 / 174.0 + 0.2).fract();
        let wave = 5.0 * bump(phase, 0.86, 0.03) + 26.0 * bump(phase, 0.98, 0.010)
            - 7.0 * bump(phase, 0.955, 0.008)
            - 8.0 * bump(phase, 0.005, 0.010)
            + 8.0 * bump(phase, 0.28, 0.05);
        let y = 458.0 - wave;
        let (from, to) = (last.min(y) as isize, last.max(y) as isize);
        (from..=to).for_each(|row| canvas.put(60 + x, row, [70, 210, 110]));
        last = y;
    }
    let now = 60 + (frame as f32 / FRAMES as f32 * 174.0 + 174.0 * 0.8 + 174.0) as isize;
    (428..470).for_each(|row| canvas.put(now, row, [235, 200, 60]));
    canvas.write(588, 452, 1, [70, 210, 110], "62 BPM");
}
