//! What the data dictionary (PS3.6) knows of an attribute: its value representation and its name in words.

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry, VirtualVr};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::StandardDataDictionary;

/// The value representation of an attribute when the data set does not say it, `VR::UN` when nobody knows.
/// `signed` decides "US or SS": it is Pixel Representation (0028,0103) of the data set or of one around it.
pub fn vr(tag: Tag, signed: bool) -> VR {
    match StandardDataDictionary.by_tag(tag).map(|entry| entry.vr()) {
        Some(VirtualVr::Exact(vr)) => vr,
        Some(VirtualVr::Xs) if signed => VR::SS,
        Some(VirtualVr::Xs) => VR::US,
        Some(VirtualVr::Ox | VirtualVr::Px | VirtualVr::Lt) => VR::OW,
        _ => VR::UN,
    }
}

/// The attribute's name for a person: "Request Attributes Sequence", "Private (0029,1010)".
pub fn name(tag: Tag) -> String {
    match StandardDataDictionary.by_tag(tag) {
        Some(entry) if entry.alias() == "GenericGroupLength" => "Group Length".to_owned(),
        Some(entry) => words(entry.alias()),
        None if tag.group() % 2 == 1 => format!("Private {tag}"),
        None => format!("Unknown {tag}"),
    }
}

/// The keyword without spaces, as programs write it: "PatientName". `None` for what the dictionary does not hold.
pub fn keyword(tag: Tag) -> Option<&'static str> {
    StandardDataDictionary.by_tag(tag).map(|entry| entry.alias)
}

/// "SOPInstanceUID" as "SOP Instance UID": a space where a lower-case letter or digit meets a capital, and before
/// the last capital of a run that a lower-case letter follows.
fn words(keyword: &str) -> String {
    let letters: Vec<char> = keyword.chars().collect();
    let mut text = String::with_capacity(keyword.len() + 8);
    for (at, &letter) in letters.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| letters.get(at));
        let after = letters.get(at + 1);
        if let Some(before) = before
            && letter.is_ascii_uppercase()
            && (!before.is_ascii_uppercase() || after.is_some_and(char::is_ascii_lowercase))
        {
            text.push(' ');
        }
        text.push(letter);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use dicom_dictionary_std::tags;

    #[test]
    fn keywords_become_words() {
        assert_eq!(name(tags::REQUEST_ATTRIBUTES_SEQUENCE), "Request Attributes Sequence");
        assert_eq!(name(tags::SOP_INSTANCE_UID), "SOP Instance UID");
        assert_eq!(name(tags::PATIENT_NAME), "Patient Name");
        assert_eq!(name(Tag(0x0029, 0x1010)), "Private (0029,1010)");
        assert_eq!(name(Tag(0x0029, 0x0010)), "Private Creator");
        assert_eq!(name(Tag(0x0010, 0x0000)), "Group Length");
        assert_eq!(name(Tag(0x0010, 0xFFF0)), "Unknown (0010,FFF0)");
    }

    #[test]
    fn us_or_ss_follows_pixel_representation() {
        assert_eq!(vr(tags::PIXEL_PADDING_VALUE, true), VR::SS);
        assert_eq!(vr(tags::PIXEL_PADDING_VALUE, false), VR::US);
        assert_eq!(vr(Tag(0x6002, 0x3000), false), VR::OW);
        assert_eq!(vr(Tag(0x0029, 0x1010), false), VR::UN);
    }
}
