//! Writes a data set in Explicit VR Little Endian, PS3.5 section 7.1, text in the character set of its patient.

use std::collections::BTreeMap;

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry, VirtualVr};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags};

use super::people::CharacterSet;

/// A data set, or an item of a sequence, that is being written.
pub struct DataSet {
    character_set: CharacterSet,
    elements: BTreeMap<Tag, (VR, Vec<u8>)>,
}

impl DataSet {
    /// An empty one. Specific Character Set (0008,0005) is put by the one who writes the outermost.
    pub fn new(character_set: CharacterSet) -> DataSet {
        DataSet { character_set, elements: BTreeMap::new() }
    }

    /// An empty item in the same character set.
    pub fn item(&self) -> DataSet {
        DataSet::new(self.character_set)
    }

    /// Puts a text with the VR the dictionary knows. A backslash separates values; an empty text is an empty value.
    pub fn text(&mut self, tag: Tag, text: &str) -> &mut DataSet {
        let vr = vr(tag);
        let mut bytes = self.character_set.encode(text);
        if bytes.len() % 2 == 1 {
            bytes.push(if vr == VR::UI { 0 } else { b' ' });
        }
        self.bytes(tag, vr, bytes)
    }

    /// Puts numbers, as text or binary, whichever the VR is.
    pub fn numbers(&mut self, tag: Tag, numbers: &[f64]) -> &mut DataSet {
        let each = |number: &f64| -> Vec<u8> {
            match vr(tag) {
                VR::US => (*number as u16).to_le_bytes().to_vec(),
                VR::SS => (*number as i16).to_le_bytes().to_vec(),
                VR::UL => (*number as u32).to_le_bytes().to_vec(),
                VR::FL => (*number as f32).to_le_bytes().to_vec(),
                _ => number.to_le_bytes().to_vec(),
            }
        };
        match vr(tag) {
            VR::DS | VR::IS => {
                let texts: Vec<String> = numbers.iter().map(|number| decimal(*number)).collect();
                self.text(tag, &texts.join("\\"))
            }
            vr => self.bytes(tag, vr, numbers.iter().flat_map(each).collect()),
        }
    }

    /// Puts one number.
    pub fn number(&mut self, tag: Tag, number: f64) -> &mut DataSet {
        self.numbers(tag, &[number])
    }

    /// Puts a sequence.
    pub fn sequence(&mut self, tag: Tag, items: Vec<DataSet>) -> &mut DataSet {
        let mut bytes = Vec::new();
        for item in items {
            let item = item.encode();
            bytes.extend_from_slice(&[0xFE, 0xFF, 0x00, 0xE0]);
            bytes.extend_from_slice(&length(&item));
            bytes.extend_from_slice(&item);
        }
        self.bytes(tag, VR::SQ, bytes)
    }

    /// Puts a one-item sequence with a code: value, scheme, meaning.
    pub fn code(&mut self, tag: Tag, value: &str, scheme: &str, meaning: &str) -> &mut DataSet {
        let mut code = self.item();
        code.text(tags::CODE_VALUE, value);
        code.text(tags::CODING_SCHEME_DESIGNATOR, scheme);
        code.text(tags::CODE_MEANING, meaning);
        self.sequence(tag, vec![code])
    }

    /// Puts a value as it is.
    pub fn bytes(&mut self, tag: Tag, vr: VR, mut bytes: Vec<u8>) -> &mut DataSet {
        if bytes.len() % 2 == 1 {
            bytes.push(0);
        }
        self.elements.insert(tag, (vr, bytes));
        self
    }

    /// The bytes of it all.
    pub fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.elements.values().map(|(_, value)| value.len() + 12).sum());
        for (tag, (vr, value)) in self.elements {
            bytes.extend_from_slice(&tag.group().to_le_bytes());
            bytes.extend_from_slice(&tag.element().to_le_bytes());
            bytes.extend_from_slice(&vr.to_bytes());
            if matches!(vr, VR::OB | VR::OW | VR::SQ | VR::UN | VR::UT | VR::UC) {
                bytes.extend_from_slice(&[0, 0]);
                bytes.extend_from_slice(&length(&value));
            } else {
                bytes.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_le_bytes());
            }
            bytes.extend_from_slice(&value);
        }
        bytes
    }
}

fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes()
}

fn vr(tag: Tag) -> VR {
    match StandardDataDictionary.by_tag(tag).map(|entry| entry.vr()) {
        Some(VirtualVr::Exact(vr)) => vr,
        Some(VirtualVr::Xs) => VR::US,
        Some(VirtualVr::Ox | VirtualVr::Px | VirtualVr::Lt) => VR::OW,
        _ => VR::UN,
    }
}

/// A decimal string of at most 16 characters.
fn decimal(number: f64) -> String {
    let text = format!("{number:.5}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_stand_in_the_order_of_their_tags_and_have_even_lengths() {
        let mut data_set = DataSet::new(CharacterSet::Latin1);
        data_set.number(tags::ROWS, 512.0).text(tags::PATIENT_ID, "abc").text(tags::SOP_CLASS_UID, "1.2");

        let mut expected = Vec::new();
        expected.extend_from_slice(b"\x08\0\x16\0UI\x04\x001.2\0");
        expected.extend_from_slice(b"\x10\0\x20\0LO\x04\0abc ");
        expected.extend_from_slice(b"\x28\0\x10\0US\x02\0\0\x02");
        assert_eq!(data_set.encode(), expected);
    }

    #[test]
    fn a_sequence_has_its_length_and_that_of_each_item() {
        let mut data_set = DataSet::new(CharacterSet::Latin1);
        data_set.code(tags::VIEW_CODE_SEQUENCE, "1", "SCT", "x");

        let bytes = data_set.encode();

        assert_eq!(bytes.get(..12), Some(&b"\x54\0\x20\x02SQ\0\0\x28\0\0\0"[..]));
        assert_eq!(bytes.get(12..20), Some(&b"\xFE\xFF\0\xE0\x20\0\0\0"[..]));
        assert_eq!(bytes.len(), 12 + 0x28);
    }

    #[test]
    fn decimal_strings_are_short_and_exact_enough() {
        assert_eq!(decimal(0.48828125), "0.48828");
        assert_eq!(decimal(-0.000001), "0");
        assert_eq!(decimal(-1024.0), "-1024");
    }
}
