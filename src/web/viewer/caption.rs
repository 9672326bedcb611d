//! The words around a frame: where it lies, its window, its size, the letters and the scale. Made of its attributes
//! alone, for the page and, as JSON, for the script that goes on from there.

use dicom_dictionary_std::tags;
use serde::Serialize;

use super::geometry::{self, Letters, Spacing};
use super::state::{Windowing, tidy};
use crate::dicom::cine::Cine;
use crate::dicom::data_set::DataSet;
use crate::render::{self, Window};

/// The words around a frame.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Caption {
    /// Why there is no picture.
    pub problem: Option<String>,
    /// Columns of pixels.
    pub columns: u32,
    /// Rows of pixels.
    pub rows: u32,
    /// Width on a screen at 1:1.
    pub width: u32,
    /// Height on a screen at 1:1, with the pixels' aspect ratio applied.
    pub height: u32,
    /// `512 × 512`
    pub size: String,
    /// `Position -43.5 mm, thickness 5 mm`
    pub position: String,
    /// Colours have no window.
    pub has_window: bool,
    /// The window where none was chosen; empty for colours.
    pub window_line: String,
    /// Its centre and width, where they are known.
    pub window_range: Option<(f64, f64)>,
    /// The windows in the image.
    pub windows: Vec<ImageWindow>,
    /// At the edges.
    pub letters: Letters,
    /// A ruler.
    pub scale: Option<Scale>,
    /// How fast a clip was made to be played.
    pub frames_per_second: u32,
}

/// A window in the image.
#[derive(Debug, Clone, Serialize)]
pub struct ImageWindow {
    /// What the device calls it, or its number.
    pub label: String,
    /// Centre.
    pub center: f64,
    /// Width.
    pub width: f64,
}

/// A ruler of a round length, in the picture's own pixels.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scale {
    /// An SVG path.
    pub path: String,
    /// `5 cm`
    pub label: String,
    /// Where the label ends.
    pub x: f64,
    /// Its base line.
    pub text_y: f64,
    /// Its size on a large screen.
    pub size_wide: f64,
    /// Its size on a phone.
    pub size_narrow: f64,
}

/// The words around a frame of an image with these attributes.
pub fn caption(attributes: &DataSet, frame0: usize) -> Caption {
    let side = |tag| attributes.integer(tag).and_then(|side| u32::try_from(side).ok()).unwrap_or(0);
    let (columns, rows) = (side(tags::COLUMNS), side(tags::ROWS));
    let (width, height) = render::full_size(attributes, frame0, rows, columns);
    let windows: Vec<ImageWindow> = render::windows(attributes, frame0)
        .into_iter()
        .enumerate()
        .map(|(index, window)| ImageWindow {
            label: named(&window.explanation, index),
            center: window.center,
            width: window.width,
        })
        .collect();
    let has_window = attributes.integer(tags::SAMPLES_PER_PIXEL).unwrap_or(1) == 1
        && attributes.text(tags::PHOTOMETRIC_INTERPRETATION).as_deref() != Some("PALETTE COLOR");
    let window_range = windows.first().map(|window| (window.center, window.width));
    let spacing = geometry::spacing(attributes, frame0);
    Caption {
        problem: None,
        columns,
        rows,
        width,
        height,
        size: if columns > 0 { format!("{columns} × {rows}") } else { String::new() },
        position: position(attributes, frame0),
        has_window,
        window_line: if has_window { window_line(&Windowing::AsStored, &windows) } else { String::new() },
        window_range,
        windows,
        letters: geometry::letters(attributes, frame0),
        scale: spacing.and_then(|spacing| scale(spacing, columns, rows, width, height)),
        frames_per_second: frames_per_second(attributes),
    }
}

fn named(explanation: &str, index: usize) -> String {
    let explanation = explanation.trim();
    if explanation.is_empty() { format!("Window {} of the image", index + 1) } else { explanation.to_owned() }
}

/// `C 40  W 400`, and what the image calls it.
pub fn window_line(windowing: &Windowing, windows: &[ImageWindow]) -> String {
    let line = |center: f64, width: f64| format!("C {}  W {}", tidy(center), tidy(width));
    let of_image = |index: usize| windows.get(index).map(|window| line(window.center, window.width));
    match windowing {
        Windowing::Typed(window) => line(window.center, window.width),
        Windowing::OfImage(index) => of_image(*index).unwrap_or_default(),
        Windowing::AsStored => of_image(0).unwrap_or_else(|| "Full range".to_owned()),
    }
}

/// `C 40  W 400`
pub fn of_typed_window(window: Window) -> String {
    window_line(&Windowing::Typed(window), &[])
}

fn position(attributes: &DataSet, frame0: usize) -> String {
    let position = geometry::position(attributes, frame0).map(|at| format!("Position {} mm", tenths(at)));
    let thickness = geometry::thickness(attributes, frame0).map(|mm| format!("thickness {} mm", tenths(mm)));
    match (position, thickness) {
        (Some(position), Some(thickness)) => format!("{position}, {thickness}"),
        (Some(position), None) => position,
        (None, Some(thickness)) => thickness.replacen('t', "T", 1),
        (None, None) => String::new(),
    }
}

fn tenths(mm: f64) -> String {
    format!("{}", (mm * 10.0).round() / 10.0 + 0.0)
}

/// A ruler at the right of the picture, the longest round length of at most a third of its height.
fn scale(spacing: Spacing, columns: u32, rows: u32, width: u32, height: u32) -> Option<Scale> {
    const LENGTHS: [f64; 10] = [200.0, 100.0, 50.0, 20.0, 10.0, 5.0, 2.0, 1.0, 0.5, 0.1];
    if columns == 0 || rows == 0 || width == 0 || height == 0 {
        return None;
    }
    let (width, height) = (f64::from(width), f64::from(height));
    let pixels_per_mm = height / (f64::from(rows) * spacing.down);
    let length = LENGTHS.into_iter().find(|mm| mm * pixels_per_mm <= height / 3.0)?;
    let parts = 5;
    let x = width * 0.955;
    let tick = width.min(height) / 80.0;
    let top = height * 0.6;
    let mut path = format!("M{x:.1} {top:.1}V{:.1}", top + length * pixels_per_mm);
    for part in 0..=parts {
        let y = top + length * pixels_per_mm * f64::from(part) / f64::from(parts);
        let long = if part == 0 || part == parts { 2.0 } else { 1.0 };
        path.push_str(&format!("M{:.1} {y:.1}H{x:.1}", x - tick * long));
    }
    let label = if length >= 10.0 { format!("{} cm", length / 10.0) } else { format!("{length} mm") };
    Some(Scale {
        path,
        label,
        x: (x * 10.0).round() / 10.0,
        text_y: ((top - tick) * 10.0).round() / 10.0,
        size_wide: (height / 64.0 * 10.0).round() / 10.0,
        size_narrow: (width.max(height) / 28.0 * 10.0).round() / 10.0,
    })
}

fn frames_per_second(attributes: &DataSet) -> u32 {
    const USUAL: f64 = 15.0;
    let rate = Cine::read(attributes).frame_time.map_or(USUAL, |milliseconds| 1000.0 / milliseconds);
    rate.clamp(1.0, 60.0).round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::data_set::{Element, Value};
    use dicom_core::{Tag, VR};

    fn text(tag: Tag, vr: VR, value: &str) -> Element {
        Element { tag, vr, value: Value::Bytes(value.as_bytes().to_vec()) }
    }

    #[test]
    fn the_ruler_has_a_round_length_within_the_picture() {
        let scale = scale(Spacing { down: 0.5, along: 0.5 }, 512, 512, 512, 512).unwrap();
        assert_eq!(scale.label, "5 cm");
        assert!(scale.path.starts_with("M489.0 307.2V407.2"), "{}", scale.path);
        assert_eq!(super::scale(Spacing { down: 0.5, along: 0.5 }, 0, 512, 0, 512), None);
    }

    #[test]
    fn a_clip_plays_as_fast_as_it_was_made() {
        let rate = |elements: Vec<Element>| frames_per_second(&DataSet::of(elements));
        assert_eq!(rate(vec![text(tags::CINE_RATE, VR::IS, "25")]), 25);
        assert_eq!(rate(vec![text(tags::FRAME_TIME, VR::DS, "33.333")]), 30);
        assert_eq!(rate(vec![text(tags::FRAME_TIME_VECTOR, VR::DS, r"0\100\100\100")]), 10);
        assert_eq!(rate(vec![text(tags::FRAME_TIME, VR::DS, "0")]), 15);
        assert_eq!(rate(vec![text(tags::CINE_RATE, VR::IS, "9999")]), 60);
    }

    #[test]
    fn position_and_thickness_are_said_where_they_are_known() {
        let both =
            [text(tags::SLICE_THICKNESS, VR::DS, "5.0"), text(tags::SLICE_LOCATION, VR::DS, "-43.4999")];
        assert_eq!(position(&DataSet::of(both), 0), "Position -43.5 mm, thickness 5 mm");
        assert_eq!(position(&DataSet::default(), 0), "");
    }
}
