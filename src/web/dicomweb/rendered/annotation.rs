//! The words that are burned into a picture, PS3.18 section 8.3.5.1.1: who it is of at the upper left, what it shows in
//! the other corners.

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::asked::Annotation;
use crate::dicom::data_set::DataSet;
use crate::dicom::value;
use crate::render::{Corners, View};
use crate::web::text::{self, Person};
use crate::web::viewer::caption::{caption, of_typed_window};

/// What stands in the corners of the picture of a frame.
pub fn corners(
    attributes: &DataSet,
    frame0: u32,
    frames: u32,
    view: &View,
    annotation: Annotation,
) -> Corners {
    let mut corners = Corners::default();
    if annotation.patient {
        corners.top_left = patient(attributes);
    }
    if !annotation.technique {
        return corners;
    }
    let text = |tag: Tag| attributes.text(tag).unwrap_or_default();
    corners.top_right = said([
        date(attributes, tags::STUDY_DATE),
        text(tags::STUDY_DESCRIPTION),
        format!("{} {}", text(tags::MODALITY), text(tags::SERIES_DESCRIPTION)),
    ]);
    let caption = caption(attributes, usize::try_from(frame0).unwrap_or(usize::MAX));
    let frame =
        if frames > 1 { format!("Frame {} of {frames}", frame0.saturating_add(1)) } else { String::new() };
    let number = attributes.integer(tags::INSTANCE_NUMBER);
    corners.bottom_left = said([number.map(|number| format!("Image {number}")).unwrap_or_default(), frame]);
    corners
        .bottom_left
        .extend(caption.position.split(", ").filter(|line| !line.is_empty()).map(str::to_owned));
    let window = match view.window {
        Some(window) if caption.has_window => of_typed_window(window),
        _ => caption.window_line,
    };
    corners.bottom_right = said([window]);
    corners
}

/// Name, identifier, birth date and sex.
pub fn patient(attributes: &DataSet) -> Vec<String> {
    let text = |tag: Tag| attributes.text(tag).unwrap_or_default();
    let birth = date(attributes, tags::PATIENT_BIRTH_DATE);
    let birth = if birth.is_empty() { birth } else { format!("born {birth}") };
    said([
        Person::of(&text(tags::PATIENT_NAME)).name,
        text(tags::PATIENT_ID),
        format!("{birth} {}", text::sex(&text(tags::PATIENT_SEX))),
    ])
}

/// A date as the pages write it, or as it is stored where it is none.
pub fn date(attributes: &DataSet, tag: Tag) -> String {
    let stored = attributes.text(tag).unwrap_or_default();
    value::date(&stored).map_or(stored, |date| text::date(Some(date)))
}

fn said<const N: usize>(lines: [String; N]) -> Vec<String> {
    lines.into_iter().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::data_set::{Element, Value};
    use crate::render::Window;
    use dicom_core::VR;

    #[test]
    fn the_corners_say_what_was_asked_for() {
        let element = |(tag, value): (Tag, &str)| Element {
            tag,
            vr: VR::LO,
            value: Value::Bytes(value.as_bytes().to_vec()),
        };
        let attributes = DataSet::of(
            [
                (tags::STUDY_DATE, "20261122"),
                (tags::MODALITY, "CT"),
                (tags::SERIES_DESCRIPTION, "Axial"),
                (tags::PATIENT_NAME, "Doe^Jane"),
                (tags::PATIENT_ID, "P1"),
                (tags::PATIENT_BIRTH_DATE, "19700101"),
                (tags::INSTANCE_NUMBER, "5"),
                (tags::WINDOW_CENTER, "40"),
                (tags::WINDOW_WIDTH, "400"),
            ]
            .map(element),
        );
        let window = Window { center: 50.0, width: 100.0 };
        let view = View { window: Some(window), ..View::default() };
        let who = corners(&attributes, 0, 1, &view, Annotation { patient: true, technique: false });
        assert_eq!(who.top_left.len(), 3, "{who:?}");
        assert!(who.top_left[1] == "P1" && who.top_right.is_empty() && who.bottom_left.is_empty());
        let what = corners(&attributes, 2, 9, &view, Annotation { patient: false, technique: true });
        assert!(what.top_left.is_empty());
        assert_eq!(what.top_right[1], "CT Axial");
        assert_eq!(what.bottom_left, ["Image 5", "Frame 3 of 9"]);
        assert_eq!(what.bottom_right, ["C 50  W 100"]);
        let stored =
            corners(&attributes, 0, 1, &View::default(), Annotation { patient: false, technique: true });
        assert_eq!(stored.bottom_right, ["C 40  W 400"]);
    }
}
