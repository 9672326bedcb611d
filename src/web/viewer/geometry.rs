//! Where a frame lies in the patient: the Plane modules (PS3.3 C.7.6.2, and C.7.6.16.2.3 for functional groups), the
//! letters at the edges of the picture (PS3.3 C.7.6.1.1.1), and the length of a pixel.

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use serde::Serialize;

use crate::dicom::data_set::DataSet;

/// What stands at the four edges of the picture; empty where it is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Letters {
    /// At the left edge.
    pub left: String,
    /// At the right edge.
    pub right: String,
    /// At the top.
    pub top: String,
    /// At the bottom.
    pub bottom: String,
}

/// The length of a pixel in mm, down a column and along a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spacing {
    /// Between the centres of two rows.
    pub down: f64,
    /// Between the centres of two columns.
    pub along: f64,
}

/// The letters for a frame: from its orientation, or else from Patient Orientation (0020,0020).
pub fn letters(attributes: &DataSet, frame0: usize) -> Letters {
    if let Some((row, column)) = orientation(attributes, frame0) {
        return Letters {
            right: towards(row),
            left: towards(row.map(|part| -part)),
            bottom: towards(column),
            top: towards(column.map(|part| -part)),
        };
    }
    match attributes.texts(tags::PATIENT_ORIENTATION).as_slice() {
        [row, column] if is_direction(row) && is_direction(column) => {
            Letters { right: row.clone(), left: opposite(row), bottom: column.clone(), top: opposite(column) }
        }
        _ => Letters::default(),
    }
}

/// Position along the normal of the slice in mm, or else Slice Location.
pub fn position(attributes: &DataSet, frame0: usize) -> Option<f64> {
    let at = functional(attributes, frame0, tags::PLANE_POSITION_SEQUENCE)
        .unwrap_or(attributes)
        .numbers(tags::IMAGE_POSITION_PATIENT);
    match (at.as_slice(), orientation(attributes, frame0)) {
        (&[x, y, z], Some(([a, b, c], [d, e, f]))) => {
            Some(x * (b * f - c * e) + y * (c * d - a * f) + z * (a * e - b * d))
        }
        _ => attributes.number(tags::SLICE_LOCATION),
    }
}

/// Slice Thickness in mm.
pub fn thickness(attributes: &DataSet, frame0: usize) -> Option<f64> {
    functional(attributes, frame0, tags::PIXEL_MEASURES_SEQUENCE)
        .unwrap_or(attributes)
        .number(tags::SLICE_THICKNESS)
        .filter(|thickness| *thickness > 0.0)
}

/// Pixel Spacing; else Imager Pixel Spacing (at the detector), Nominal Scanned Pixel Spacing, or the calibration of
/// an ultrasound whose regions agree.
pub fn spacing(attributes: &DataSet, frame0: usize) -> Option<Spacing> {
    let pair = |data_set: &DataSet, tag: Tag| match data_set.numbers(tag).as_slice() {
        &[down, along] if down > 0.0 && along > 0.0 && down.is_finite() && along.is_finite() => {
            Some(Spacing { down, along })
        }
        _ => None,
    };
    functional(attributes, frame0, tags::PIXEL_MEASURES_SEQUENCE)
        .and_then(|measures| pair(measures, tags::PIXEL_SPACING))
        .or_else(|| pair(attributes, tags::PIXEL_SPACING))
        .or_else(|| pair(attributes, tags::IMAGER_PIXEL_SPACING))
        .or_else(|| pair(attributes, tags::NOMINAL_SCANNED_PIXEL_SPACING))
        .or_else(|| ultrasound(attributes))
}

/// Sequence of Ultrasound Regions (0018,6011), PS3.3 C.8.5.5: unit 3 is cm.
fn ultrasound(attributes: &DataSet) -> Option<Spacing> {
    const CENTIMETRE: i64 = 3;
    let mut found: Option<Spacing> = None;
    for region in attributes.items(tags::SEQUENCE_OF_ULTRASOUND_REGIONS) {
        let in_cm = region.integer(tags::PHYSICAL_UNITS_X_DIRECTION) == Some(CENTIMETRE)
            && region.integer(tags::PHYSICAL_UNITS_Y_DIRECTION) == Some(CENTIMETRE);
        if !in_cm {
            continue;
        }
        let down = region.number(tags::PHYSICAL_DELTA_Y)?.abs() * 10.0;
        let along = region.number(tags::PHYSICAL_DELTA_X)?.abs() * 10.0;
        let spacing = Spacing { down, along };
        if !(down > 0.0 && along > 0.0) || found.is_some_and(|other| other != spacing) {
            return None;
        }
        found = Some(spacing);
    }
    found
}

/// Direction cosines of a row and of a column.
fn orientation(attributes: &DataSet, frame0: usize) -> Option<([f64; 3], [f64; 3])> {
    let cosines = functional(attributes, frame0, tags::PLANE_ORIENTATION_SEQUENCE)
        .unwrap_or(attributes)
        .numbers(tags::IMAGE_ORIENTATION_PATIENT);
    let &[a, b, c, d, e, f] = cosines.as_slice() else { return None };
    let is_unit = |[x, y, z]: [f64; 3]| (0.5..1.5).contains(&(x * x + y * y + z * z));
    let (row, column) = ([a, b, c], [d, e, f]);
    (is_unit(row) && is_unit(column)).then_some((row, column))
}

/// The item of a functional group macro for this frame, or the one that all frames share, PS3.3 C.7.6.16.
pub fn functional(attributes: &DataSet, frame0: usize, macro_sequence: Tag) -> Option<&DataSet> {
    let own = attributes.items(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).get(frame0);
    own.and_then(|groups| groups.first_item(macro_sequence)).or_else(|| {
        attributes.first_item(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE)?.first_item(macro_sequence)
    })
}

/// Letters for a direction in the patient, the main one first: `L`, `PL`, `HAR`.
fn towards(direction: [f64; 3]) -> String {
    /// A part this small is set-up of the patient, not orientation of the slice.
    const NEGLIGIBLE: f64 = 0.2;
    let names = [('L', 'R'), ('P', 'A'), ('H', 'F')];
    let mut parts: Vec<(f64, char)> = direction
        .into_iter()
        .zip(names)
        .map(|(part, (plus, minus))| (part.abs(), if part > 0.0 { plus } else { minus }))
        .filter(|(size, _)| *size > NEGLIGIBLE)
        .collect();
    parts.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    parts.into_iter().map(|(_, letter)| letter).collect()
}

fn is_direction(text: &str) -> bool {
    (1..=3).contains(&text.len()) && text.chars().all(|letter| "LRAPHF".contains(letter))
}

fn opposite(direction: &str) -> String {
    direction
        .chars()
        .map(|letter| match letter {
            'L' => 'R',
            'R' => 'L',
            'A' => 'P',
            'P' => 'A',
            'H' => 'F',
            'F' => 'H',
            other => other,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::data_set::{Element, Value};
    use dicom_core::VR;

    fn text(tag: Tag, vr: VR, value: &str) -> Element {
        Element { tag, vr, value: Value::Bytes(value.as_bytes().to_vec()) }
    }

    fn sequence(tag: Tag, items: Vec<DataSet>) -> Element {
        Element { tag, vr: VR::SQ, value: Value::Sequence(items) }
    }

    fn oriented(cosines: &str) -> DataSet {
        DataSet::of([text(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, cosines)])
    }

    fn edges(letters: &Letters) -> [&str; 4] {
        [&letters.left, &letters.right, &letters.top, &letters.bottom]
    }

    #[test]
    fn an_axial_slice_has_the_patients_right_at_the_left() {
        assert_eq!(edges(&letters(&oriented(r"1\0\0\0\1\0"), 0)), ["R", "L", "A", "P"]);
        assert_eq!(edges(&letters(&oriented(r"0\1\0\0\0\-1"), 0)), ["A", "P", "H", "F"]);
    }

    #[test]
    fn an_oblique_slice_has_the_main_direction_first() {
        let letters = letters(&oriented(r"0.8\0.6\0\0\0.1\-0.99"), 0);
        assert_eq!(edges(&letters), ["RA", "LP", "H", "F"]);
    }

    #[test]
    fn patient_orientation_serves_where_there_is_no_plane() {
        let attributes = DataSet::of([text(tags::PATIENT_ORIENTATION, VR::CS, r"A\FR")]);
        assert_eq!(edges(&letters(&attributes, 0)), ["P", "A", "HL", "FR"]);
        let nonsense = DataSet::of([text(tags::PATIENT_ORIENTATION, VR::CS, r"UP\DOWN")]);
        assert_eq!(letters(&nonsense, 0), Letters::default());
    }

    #[test]
    fn a_frames_own_functional_group_comes_before_the_shared_one() {
        let plane = |cosines: &str| {
            DataSet::of([sequence(tags::PLANE_ORIENTATION_SEQUENCE, vec![oriented(cosines)])])
        };
        let attributes = DataSet::of([
            sequence(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, vec![plane(r"1\0\0\0\1\0")]),
            sequence(
                tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE,
                vec![DataSet::default(), plane(r"0\1\0\0\0\-1")],
            ),
        ]);
        assert_eq!(letters(&attributes, 0).left, "R");
        assert_eq!(letters(&attributes, 1).left, "A");
        assert_eq!(letters(&attributes, 9).left, "R");
    }

    #[test]
    fn position_is_along_the_normal() {
        let attributes = DataSet::of([
            text(tags::IMAGE_POSITION_PATIENT, VR::DS, r"-100\-80\-43.5"),
            text(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, r"1\0\0\0\1\0"),
        ]);
        assert_eq!(position(&attributes, 0), Some(-43.5));
        let located = DataSet::of([text(tags::SLICE_LOCATION, VR::DS, "12.5")]);
        assert_eq!(position(&located, 0), Some(12.5));
    }

    #[test]
    fn a_spacing_of_nothing_is_no_spacing() {
        let spaced = |value| spacing(&DataSet::of([text(tags::PIXEL_SPACING, VR::DS, value)]), 0);
        assert_eq!(spaced(r"0.5\0.25"), Some(Spacing { down: 0.5, along: 0.25 }));
        for bad in [r"0\0", "1", r"-1\1", ""] {
            assert_eq!(spaced(bad), None, "{bad}");
        }
    }
}
