//! What stands behind the question mark of a search, PS3.18 sections 8.3.4 and 10.6.1.2: keys and what they are to
//! match, attributes that are to be returned, and which part of the matches.

use std::collections::BTreeSet;

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags};

use crate::dicom::charset::CharacterSet;
use crate::dicom::data_set::{DataSet, Element, Value};
use crate::dicom::dictionary;
use crate::dicom::query::{Attribute, Direction, InRequest, Level, Sort, SortKey};

/// Matches in one answer.
pub const MOST: u64 = 5000;
/// Text is in UTF-8.
const UTF8: &str = "ISO_IR 192";
/// Pairs of names and values.
const MOST_PAIRS: usize = 1000;

/// A search.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameters {
    /// Keys, of the data set and of the item of Request Attributes Sequence.
    pub keys: Vec<(Vec<Tag>, String)>,
    /// Attributes that are returned beside the usual ones.
    pub fields: BTreeSet<Tag>,
    /// All that there are.
    pub all_fields: bool,
    /// At most so many matches.
    pub limit: Option<u64>,
    /// Behind so many.
    pub offset: u64,
    /// Matching that is more than literal is wanted, which we do not do.
    pub fuzzy: bool,
    /// The order, where it is said. Not in the standard.
    pub order: Option<Sort>,
    /// The form of the answer.
    pub accept: Option<String>,
}

impl Parameters {
    /// Reads them, or says in a sentence what is wrong.
    pub fn parse(query_string: &str) -> Result<Parameters, String> {
        let mut parsed = Parameters {
            keys: Vec::new(),
            fields: BTreeSet::new(),
            all_fields: false,
            limit: None,
            offset: 0,
            fuzzy: false,
            order: None,
            accept: None,
        };
        for (number, (name, value)) in url::form_urlencoded::parse(query_string.as_bytes()).enumerate() {
            if number == MOST_PAIRS {
                return Err(format!("A search has at most {MOST_PAIRS} parameters."));
            }
            parsed.take(&name, &value)?;
        }
        Ok(parsed)
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "limit" => self.limit = Some(whole("limit", value)?),
            "offset" => self.offset = whole("offset", value)?,
            "fuzzymatching" => {
                self.fuzzy =
                    value.parse().map_err(|_| "fuzzymatching is either true or false.".to_owned())?;
            }
            "includefield" => {
                for field in value.split(',').map(str::trim).filter(|field| !field.is_empty()) {
                    match field {
                        "all" => self.all_fields = true,
                        // Of a sequence all of it is returned.
                        field => self.fields.extend(path(field)?.first()),
                    }
                }
            }
            "orderby" => self.order = Some(order(value)?),
            "accept" => self.accept = Some(value.to_owned()),
            // Not for us: who asks says so in a header.
            "access_token" | "token" => {}
            name => {
                let path = path(name)?;
                if path.len() > 2 {
                    return Err(format!(
                        "{name} is further within sequences than anything that can be asked for."
                    ));
                }
                self.keys.push((path, value.to_owned()));
            }
        }
        Ok(())
    }

    /// The identifier that asks the same by C-FIND, and the keys that the index does not know.
    pub fn identifier(&self, level: Level, of_path: &[(Tag, &str)], usual: &[Tag]) -> (DataSet, Vec<Tag>) {
        let mut unknown = Vec::new();
        let mut keys: Vec<(Tag, Value)> = vec![
            (tags::SPECIFIC_CHARACTER_SET, text(UTF8)),
            (tags::QUERY_RETRIEVE_LEVEL, text(level.as_str())),
        ];
        // What the address names counts before what stands behind it.
        keys.extend(of_path.iter().map(|(tag, value)| (*tag, text(value))));
        let mut items: Vec<(Tag, Value)> = Vec::new();
        for (path, value) in &self.keys {
            match path.as_slice() {
                [tag] if is_known(*tag, level) => keys.push((*tag, text(&listed(*tag, value)))),
                [tags::REQUEST_ATTRIBUTES_SEQUENCE, tag]
                    if level >= Level::Series && Attribute::of(*tag, InRequest::Yes).is_some() =>
                {
                    items.push((*tag, text(value)));
                }
                // An attribute that is only returned is no key.
                [tag, ..] if value.is_empty() => keys.push((*tag, text(""))),
                path => unknown.extend(path.last()),
            }
        }
        if !items.is_empty() {
            let both = [tags::SCHEDULED_PROCEDURE_STEP_ID, tags::REQUESTED_PROCEDURE_ID];
            items.extend(both.map(|tag| (tag, text(""))));
            let item = data_set(items);
            keys.push((tags::REQUEST_ATTRIBUTES_SEQUENCE, Value::Sequence(vec![item])));
        }
        let asked = usual.iter().chain(&self.fields).copied();
        keys.extend(asked.map(|tag| (tag, text(""))));
        if self.all_fields {
            let all = Attribute::ALL.iter().filter(|attribute| attribute.level() <= level);
            keys.extend(
                all.filter(|attribute| !attribute.in_request()).map(|attribute| (attribute.tag(), text(""))),
            );
        }
        (data_set(keys), unknown)
    }
}

/// Whether the index can be asked for it on this level.
fn is_known(tag: Tag, level: Level) -> bool {
    Attribute::of(tag, InRequest::No).is_some_and(|attribute| attribute.level() <= level)
}

/// Where commas stand between several values, PS3.18 section 8.3.4.1, and where they are part of one.
fn listed(tag: Tag, value: &str) -> String {
    match dictionary::vr(tag, false) {
        VR::UI | VR::CS => value.replace(',', "\\"),
        _ => value.to_owned(),
    }
}

/// Of several elements with one tag the first counts, which is the one with the value.
fn data_set(mut elements: Vec<(Tag, Value)>) -> DataSet {
    elements.sort_by_key(|(tag, _)| *tag);
    elements.dedup_by_key(|(tag, _)| *tag);
    let mut set = DataSet::new(CharacterSet::from_value(UTF8.as_bytes()), false);
    for (tag, value) in elements {
        let vr = match value {
            Value::Sequence(_) => VR::SQ,
            _ => dictionary::vr(tag, false),
        };
        set.push(Element { tag, vr, value });
    }
    set
}

fn text(value: &str) -> Value {
    Value::Bytes(value.as_bytes().into())
}

/// `PatientID`, `00100020`, `RequestAttributesSequence.ScheduledProcedureStepID`.
fn path(name: &str) -> Result<Vec<Tag>, String> {
    let path: Option<Vec<Tag>> = name.split('.').map(tag).collect();
    path.ok_or_else(|| {
        format!("{name} is no attribute: name it as PS3.6 does, or by eight hexadecimal digits.")
    })
}

fn tag(name: &str) -> Option<Tag> {
    if name.len() == 8 && name.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        let number = u32::from_str_radix(name, 16).ok()?;
        let group = u16::try_from(number >> 16).ok()?;
        return Some(Tag(group, u16::try_from(number & 0xFFFF).ok()?));
    }
    StandardDataDictionary.by_name(name).map(|entry| entry.tag())
}

fn order(value: &str) -> Result<Sort, String> {
    let (name, direction) = match value.strip_prefix('-') {
        Some(name) => (name, Direction::Descending),
        None => (value, Direction::Ascending),
    };
    let by = match tag(name) {
        Some(tags::PATIENT_NAME) => SortKey::PatientName,
        Some(tags::PATIENT_BIRTH_DATE) => SortKey::PatientBirthDate,
        Some(tags::STUDY_DATE) => SortKey::StudyDate,
        Some(tags::MODALITIES_IN_STUDY) => SortKey::Modality,
        Some(tags::STUDY_DESCRIPTION) => SortKey::StudyDescription,
        Some(tags::REFERRING_PHYSICIAN_NAME) => SortKey::ReferringPhysicianName,
        Some(tags::ACCESSION_NUMBER) => SortKey::AccessionNumber,
        Some(tags::NUMBER_OF_STUDY_RELATED_INSTANCES) => SortKey::Instances,
        _ => return Err(format!("Nothing is ordered by {name}.")),
    };
    Ok(Sort { by, direction })
}

fn whole(name: &str, value: &str) -> Result<u64, String> {
    value.parse().map_err(|_| format!("{name} must be a whole number, not {value:?}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Parameters {
        Parameters::parse(text).expect("parameters")
    }

    #[test]
    fn names_are_keywords_tags_and_paths() {
        let parameters = parsed(
            "PatientName=M%C3%BCller*&00100020=P1&0008103e=&RequestAttributesSequence.00401001=RP1&limit=5&offset=7",
        );
        let keys: Vec<(&[Tag], &str)> =
            parameters.keys.iter().map(|(path, value)| (path.as_slice(), value.as_str())).collect();
        assert_eq!(
            keys,
            [
                (&[tags::PATIENT_NAME][..], "Müller*"),
                (&[tags::PATIENT_ID], "P1"),
                (&[tags::SERIES_DESCRIPTION], ""),
                (&[tags::REQUEST_ATTRIBUTES_SEQUENCE, tags::REQUESTED_PROCEDURE_ID], "RP1"),
            ]
        );
        assert_eq!((parameters.limit, parameters.offset), (Some(5), 7));
        for (wrong, words) in [
            ("Shoesize=12", "Shoesize is no attribute"),
            ("limit=many", "limit must be"),
            ("offset=-1", "offset must be"),
            ("fuzzymatching=maybe", "either true or false"),
            ("includefield=Shoesize", "no attribute"),
            ("orderby=Rows", "Nothing is ordered by Rows"),
            ("a.b.c=1", "no attribute"),
        ] {
            assert!(Parameters::parse(wrong).is_err_and(|err| err.contains(words)), "{wrong}");
        }
    }

    #[test]
    fn fields_come_in_lists_and_repeated() {
        let parameters = parsed("includefield=00081030,PatientAge&includefield=all&orderby=-PatientName");
        assert_eq!(parameters.fields, [tags::STUDY_DESCRIPTION, tags::PATIENT_AGE].into());
        assert!(parameters.all_fields);
        assert_eq!(
            parameters.order,
            Some(Sort { by: SortKey::PatientName, direction: Direction::Descending })
        );
    }

    #[test]
    fn commas_separate_uids_and_codes_and_nothing_else() {
        let parameters =
            parsed("StudyInstanceUID=1.2,1.3&ModalitiesInStudy=CT,MR&PatientName=Doe,Jane&Rows=12");
        let (identifier, unknown) = parameters.identifier(Level::Study, &[], &[]);
        assert_eq!(identifier.texts(tags::STUDY_INSTANCE_UID), ["1.2", "1.3"]);
        assert_eq!(identifier.texts(tags::MODALITIES_IN_STUDY), ["CT", "MR"]);
        assert_eq!(identifier.text(tags::PATIENT_NAME).as_deref(), Some("Doe,Jane"));
        assert_eq!(unknown, [tags::ROWS], "a study has none");
        assert_eq!(identifier.text(tags::QUERY_RETRIEVE_LEVEL).as_deref(), Some("STUDY"));
    }
}
