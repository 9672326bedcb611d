//! A structured report as text: the content tree of PS3.3 C.17.3, read from top to bottom.

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use crate::dicom::data_set::DataSet;
use crate::dicom::value;
use crate::web::text::{self, Person};

/// Content items that are shown.
const MOST: usize = 5_000;

/// A piece of the report, in the order of reading: lists are opened and closed around what is in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// A list begins.
    Open,
    /// An item of a list, without what it contains.
    Item(Item),
    /// An item ends.
    EndItem,
    /// A list ends.
    Close,
}

/// A content item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Concept Name, empty where there is none.
    pub name: String,
    /// The value in words.
    pub value: String,
    /// A heading of what is in it.
    pub is_container: bool,
    /// SOP Instance UID of an image or another instance it refers to.
    pub instance: Option<String>,
}

/// The title of the document and its parts; nothing where the data set has no content tree.
pub fn report(data_set: &DataSet) -> Option<(String, Vec<Part>)> {
    let content = data_set.items(tags::CONTENT_SEQUENCE);
    if content.is_empty() {
        return None;
    }
    let mut parts = Vec::new();
    list(content, &mut parts);
    Some((meaning(data_set, tags::CONCEPT_NAME_CODE_SEQUENCE), parts))
}

/// Recursion is bounded by the depth the scan allows.
fn list(content: &[DataSet], parts: &mut Vec<Part>) {
    parts.push(Part::Open);
    for item in content {
        if parts.len() >= MOST * 2 {
            break;
        }
        parts.push(Part::Item(self::item(item)));
        let below = item.items(tags::CONTENT_SEQUENCE);
        if !below.is_empty() {
            list(below, parts);
        }
        parts.push(Part::EndItem);
    }
    parts.push(Part::Close);
}

fn item(data_set: &DataSet) -> Item {
    let kind = data_set.text(tags::VALUE_TYPE).unwrap_or_default();
    let plain = |tag| data_set.text(tag).unwrap_or_default();
    let referenced = data_set.first_item(tags::REFERENCED_SOP_SEQUENCE);
    let value = match kind.as_str() {
        "TEXT" => plain(tags::TEXT_VALUE),
        "CODE" => meaning(data_set, tags::CONCEPT_CODE_SEQUENCE),
        "NUM" => measured(data_set),
        "PNAME" => data_set.text(tags::PERSON_NAME).map(|name| Person::of(&name).name).unwrap_or_default(),
        "DATE" => match data_set.text(tags::DATE).as_deref().and_then(value::date) {
            Some(date) => text::date(Some(date)),
            None => plain(tags::DATE),
        },
        "TIME" => match data_set.text(tags::TIME).as_deref().and_then(value::time) {
            Some(time) => text::time(Some(time)),
            None => plain(tags::TIME),
        },
        "DATETIME" => plain(tags::DATE_TIME),
        "UIDREF" => plain(tags::UID),
        "IMAGE" => "An image".to_owned(),
        "WAVEFORM" => "A waveform".to_owned(),
        "COMPOSITE" => "Another instance".to_owned(),
        "SCOORD" | "SCOORD3D" => format!("A mark ({})", plain(tags::GRAPHIC_TYPE).to_lowercase()),
        "TCOORD" => "A time in a clip or curve".to_owned(),
        _ => String::new(),
    };
    Item {
        name: meaning(data_set, tags::CONCEPT_NAME_CODE_SEQUENCE),
        value,
        is_container: kind == "CONTAINER",
        instance: referenced.and_then(|item| item.text(tags::REFERENCED_SOP_INSTANCE_UID)),
    }
}

/// Code Meaning of the first item, or its code.
fn meaning(data_set: &DataSet, sequence: Tag) -> String {
    let Some(code) = data_set.first_item(sequence) else { return String::new() };
    code.text(tags::CODE_MEANING).or_else(|| code.text(tags::CODE_VALUE)).unwrap_or_default()
}

fn measured(data_set: &DataSet) -> String {
    let Some(measured) = data_set.first_item(tags::MEASURED_VALUE_SEQUENCE) else {
        return "No value".to_owned();
    };
    let number = measured.text(tags::NUMERIC_VALUE).unwrap_or_default();
    let unit = measured.first_item(tags::MEASUREMENT_UNITS_CODE_SEQUENCE);
    let unit =
        unit.and_then(|unit| unit.text(tags::CODE_VALUE)).filter(|unit| unit != "1").unwrap_or_default();
    format!("{number} {unit}").trim().to_owned()
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

    fn code(tag: Tag, meaning: &str) -> Element {
        sequence(tag, vec![DataSet::of([text(tags::CODE_MEANING, VR::LO, meaning)])])
    }

    #[test]
    fn a_report_reads_from_top_to_bottom() {
        let finding = DataSet::of([
            text(tags::VALUE_TYPE, VR::CS, "TEXT"),
            code(tags::CONCEPT_NAME_CODE_SEQUENCE, "Finding"),
            text(tags::TEXT_VALUE, VR::UT, "No nodule."),
        ]);
        let findings = DataSet::of([
            text(tags::VALUE_TYPE, VR::CS, "CONTAINER"),
            code(tags::CONCEPT_NAME_CODE_SEQUENCE, "Findings"),
            sequence(tags::CONTENT_SEQUENCE, vec![finding]),
        ]);
        let document = DataSet::of([
            code(tags::CONCEPT_NAME_CODE_SEQUENCE, "Chest report"),
            sequence(tags::CONTENT_SEQUENCE, vec![findings]),
        ]);
        let (title, parts) = report(&document).unwrap();
        assert_eq!(title, "Chest report");
        let words: Vec<String> = parts
            .iter()
            .map(|part| match part {
                Part::Open => "(".to_owned(),
                Part::Item(item) => format!("{}={}", item.name, item.value),
                Part::EndItem => ";".to_owned(),
                Part::Close => ")".to_owned(),
            })
            .collect();
        assert_eq!(words.join(" "), "( Findings= ( Finding=No nodule. ; ) ; )");
        assert_eq!(report(&DataSet::default()), None);
    }

    #[test]
    fn a_measurement_has_its_unit() {
        let unit = DataSet::of([text(tags::CODE_VALUE, VR::SH, "mm")]);
        let value = DataSet::of([
            sequence(tags::MEASUREMENT_UNITS_CODE_SEQUENCE, vec![unit]),
            text(tags::NUMERIC_VALUE, VR::DS, "12.5"),
        ]);
        let item = DataSet::of([
            text(tags::VALUE_TYPE, VR::CS, "NUM"),
            sequence(tags::MEASURED_VALUE_SEQUENCE, vec![value]),
        ]);
        assert_eq!(self::item(&item).value, "12.5 mm");
    }
}
