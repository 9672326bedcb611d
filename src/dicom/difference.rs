//! Which attributes of two data sets differ, for a person who decides which of two instances is right.
//!
//! Values are compared as they are understood, so padding and byte order make no difference, nor do group lengths.
//! What the data sets do not hold, Pixel Data and other long values, is compared by its length; the caller knows
//! whether the bytes are equal.

use std::collections::BTreeMap;

use dicom_core::{Tag, VR};

use super::data_set::{DataSet, Element, Value};
use super::dictionary;

/// More are not listed: two data sets that have nothing in common differ in everything.
pub const MOST: usize = 1_000;

/// Longer values are shown by their beginning, characters.
const SHOWN: usize = 200;

/// An attribute that is not the same in both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Where it is: "Request Attributes Sequence > item 1 > Scheduled Procedure Step ID".
    pub path: String,
    /// Its tag.
    pub tag: Tag,
    /// Its name in words.
    pub name: String,
    /// Its value in the first data set; `None` where it is absent.
    pub first: Option<String>,
    /// Its value in the second.
    pub second: Option<String>,
}

/// The attributes in which two data sets differ, by tag, items of sequences one by one. At most [`MOST`].
pub fn differences(a: &DataSet, b: &DataSet) -> Vec<Difference> {
    let mut found = Vec::new();
    compare(a, b, "", &mut found);
    found
}

fn compare(a: &DataSet, b: &DataSet, path: &str, found: &mut Vec<Difference>) {
    let mut pairs: BTreeMap<Tag, (Option<&Element>, Option<&Element>)> = BTreeMap::new();
    for element in a.elements().iter().filter(|element| matters(element.tag)) {
        pairs.entry(element.tag).or_default().0.get_or_insert(element);
    }
    for element in b.elements().iter().filter(|element| matters(element.tag)) {
        pairs.entry(element.tag).or_default().1.get_or_insert(element);
    }
    for (tag, (first, second)) in pairs {
        if found.len() >= MOST {
            return;
        }
        let name = dictionary::name(tag);
        let path = format!("{path}{name}");
        match (first.map(|element| &element.value), second.map(|element| &element.value)) {
            (Some(Value::Sequence(first)), Some(Value::Sequence(second))) => {
                compare_items(first, second, &path, tag, found);
            }
            _ if same(a, first, b, second) => {}
            _ => {
                let first = first.map(|element| shown(a, element));
                let second = second.map(|element| shown(b, element));
                found.push(Difference { path, tag, name, first, second });
            }
        }
    }
}

fn compare_items(a: &[DataSet], b: &[DataSet], path: &str, tag: Tag, found: &mut Vec<Difference>) {
    for at in 0..a.len().max(b.len()) {
        if found.len() >= MOST {
            return;
        }
        let path = format!("{path} > item {}", at + 1);
        match (a.get(at), b.get(at)) {
            (Some(first), Some(second)) => compare(first, second, &format!("{path} > "), found),
            (first, second) => {
                let words = |item: &DataSet| match item.elements().len() {
                    1 => "1 attribute".to_owned(),
                    count => format!("{count} attributes"),
                };
                let (first, second) = (first.map(words), second.map(words));
                found.push(Difference { path, tag, name: dictionary::name(tag), first, second });
            }
        }
    }
}

/// Group lengths and trailing padding say nothing of the instance.
fn matters(tag: Tag) -> bool {
    tag.element() != 0 && tag != Tag(0xFFFC, 0xFFFC)
}

fn same(a: &DataSet, first: Option<&Element>, b: &DataSet, second: Option<&Element>) -> bool {
    let (Some(first), Some(second)) = (first, second) else {
        return false;
    };
    match (&first.value, &second.value) {
        (Value::Bytes(one), Value::Bytes(other)) => {
            let alike = a.is_big_endian() == b.is_big_endian() && a.charset() == b.charset();
            // Of long binary values only a part would be compared as text.
            (alike && one == other) || (!is_binary(first.vr) && a.texts(first.tag) == b.texts(second.tag))
        }
        (Value::Omitted { length: one }, Value::Omitted { length: other }) => one == other,
        (Value::Omitted { length }, Value::Bytes(bytes))
        | (Value::Bytes(bytes), Value::Omitted { length }) => *length == bytes.len() as u64,
        _ => false,
    }
}

fn is_binary(vr: VR) -> bool {
    matches!(vr, VR::OB | VR::OD | VR::OF | VR::OL | VR::OV | VR::OW | VR::UN)
}

fn shown(data_set: &DataSet, element: &Element) -> String {
    let text = data_set.value_texts(element).join("\\");
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::charset::CharacterSet;
    use dicom_dictionary_std::tags;

    fn element(tag: Tag, vr: VR, bytes: &[u8]) -> Element {
        Element { tag, vr, value: Value::Bytes(bytes.to_vec()) }
    }

    fn sequence(tag: Tag, items: Vec<DataSet>) -> Element {
        Element { tag, vr: VR::SQ, value: Value::Sequence(items) }
    }

    fn step(id: &[u8]) -> DataSet {
        DataSet::of([element(tags::SCHEDULED_PROCEDURE_STEP_ID, VR::SH, id)])
    }

    fn lines(a: &DataSet, b: &DataSet) -> Vec<(String, Option<String>, Option<String>)> {
        differences(a, b).into_iter().map(|found| (found.path, found.first, found.second)).collect()
    }

    #[test]
    fn changed_added_and_removed_attributes_are_listed_by_tag() {
        let a = DataSet::of([
            element(tags::MODALITY, VR::CS, b"CT"),
            element(tags::PATIENT_NAME, VR::PN, b"Doe^Jane"),
            element(tags::PATIENT_ID, VR::LO, b"1"),
        ]);
        let b = DataSet::of([
            element(tags::PATIENT_NAME, VR::PN, b"Doe^Joan"),
            element(tags::PATIENT_ID, VR::LO, b"1 "),
            element(tags::STUDY_ID, VR::SH, b"7"),
        ]);
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            lines(&a, &b),
            [
                ("Modality".into(), text("CT"), None),
                ("Patient Name".into(), text("Doe^Jane"), text("Doe^Joan")),
                ("Study ID".into(), None, text("7")),
            ]
        );
    }

    #[test]
    fn differences_inside_items_say_where_they_are() {
        let a = DataSet::of([sequence(tags::REQUEST_ATTRIBUTES_SEQUENCE, vec![step(b"S1"), step(b"S2")])]);
        let b = DataSet::of([sequence(
            tags::REQUEST_ATTRIBUTES_SEQUENCE,
            vec![step(b"S1 "), step(b"S3"), step(b"")],
        )]);
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            lines(&a, &b),
            [
                (
                    "Request Attributes Sequence > item 2 > Scheduled Procedure Step ID".into(),
                    text("S2"),
                    text("S3")
                ),
                ("Request Attributes Sequence > item 3".into(), None, text("1 attribute")),
            ]
        );
    }

    #[test]
    fn padding_byte_order_and_encoding_of_the_same_value_make_no_difference() {
        let little = DataSet::of([
            element(tags::SPECIFIC_CHARACTER_SET, VR::CS, b"ISO_IR 100"),
            element(tags::PATIENT_NAME, VR::PN, b"J\xe9r\xf4me "),
            element(tags::ROWS, VR::US, &[0, 2]),
            element(Tag(0x0028, 0x0000), VR::UL, &[1, 0, 0, 0]),
        ]);
        let mut big = DataSet::new(CharacterSet::default(), true);
        big.push(element(tags::SPECIFIC_CHARACTER_SET, VR::CS, b"ISO_IR 192"));
        big.push(element(tags::PATIENT_NAME, VR::PN, "Jérôme".as_bytes()));
        big.push(element(tags::ROWS, VR::US, &[2, 0]));
        assert_eq!(lines(&little, &big).len(), 1, "only the character set itself");
    }

    #[test]
    fn long_binary_values_are_compared_whole_and_omitted_ones_by_length() {
        let tag = Tag(0x0029, 0x1010);
        let (mut one, mut other) = (vec![0; 500], vec![0; 500]);
        one.push(1);
        other.push(2);
        let set = |bytes: &[u8]| DataSet::of([element(tag, VR::OB, bytes)]);
        assert_eq!(lines(&set(&one), &set(&other)).len(), 1);
        assert_eq!(lines(&set(&one), &set(&one)), []);
        let omitted = |length| {
            DataSet::of([Element { tag: tags::PIXEL_DATA, vr: VR::OW, value: Value::Omitted { length } }])
        };
        assert_eq!(lines(&omitted(5), &omitted(5)), []);
        assert_eq!(
            lines(&omitted(5), &omitted(6)),
            [("Pixel Data".into(), Some("5 bytes".into()), Some("6 bytes".into()))]
        );
    }

    #[test]
    fn long_texts_are_cut_and_the_list_ends() {
        let a = DataSet::of([element(tags::PATIENT_COMMENTS, VR::LT, "é".repeat(5_000).as_bytes())]);
        let found = differences(&a, &DataSet::default());
        assert_eq!(found[0].first.as_ref().unwrap().chars().count(), 201);
        let many = DataSet::of((1..5_000).map(|number| element(Tag(0x0009, number), VR::LO, b"x")));
        assert_eq!(differences(&many, &DataSet::default()).len(), MOST);
    }
}
