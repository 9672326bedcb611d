//! Identifiers of queries: what a C-FIND asks for becomes a [`Query`], and what was found becomes the answers,
//! PS3.4 C.4.1.1.3 and C.6.

mod answer;
mod level;

use chrono::{NaiveDateTime, NaiveTime};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

pub use self::level::level;
use self::level::levels;
use super::{Attribute, Direction, InRequest, Key, Kind, Level, Matching, Page, Query, Sort, SortKey, Word};
use crate::dicom::charset::Writing;
use crate::dicom::data_set::{DataSet, Element, Value};
use crate::dicom::dictionary;
use crate::dicom::service::Model;

/// Values in one key. Each is a condition of its own, and a statement has room for 65,535.
const MOST_VALUES: usize = 10_000;

/// What was agreed on for queries, PS3.4 C.5.1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Keys of any level, without the unique keys of those above.
    pub relational: bool,
    /// A date and the time beside it are one.
    pub combined_date_time: bool,
    /// Person names match by their words.
    pub fuzzy: bool,
}

/// What is asked for, and how it is to be answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Identifier {
    /// Patients, studies, series or instances.
    pub level: Level,
    /// What they are to match.
    pub keys: Vec<Key>,
    /// The attributes that answers need, in the order of the values that [`Identifier::answer`] is given.
    pub wanted: Vec<Attribute>,
    /// Whether all that is asked for is known here: if not, the answers say so.
    pub is_supported: bool,
    returns: Vec<Return>,
    writing: Writing,
    /// The keys as they were written.
    asked: Vec<String>,
}

/// An element of every answer.
#[derive(Debug, Clone, PartialEq)]
struct Return {
    tag: Tag,
    vr: VR,
    value: Returned,
}

#[derive(Debug, Clone, PartialEq)]
enum Returned {
    /// The value with this number.
    Held(usize),
    Level,
    RetrieveAeTitle,
    Availability,
    /// One item.
    Item(Vec<Return>),
    /// We have none.
    Nothing,
}

/// Why an identifier cannot be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct Refused {
    /// The attribute it is about.
    pub tag: Tag,
    /// What is wrong with it.
    pub sentence: String,
}

impl Refused {
    fn of(tag: Tag, sentence: impl Into<String>) -> Refused {
        Refused { tag, sentence: sentence.into() }
    }
}

impl Identifier {
    /// Reads an identifier of this model.
    pub fn parse(model: Model, options: Options, identifier: &DataSet) -> Result<Identifier, Refused> {
        let level = level(model, identifier)?;
        let mut parsed = Identifier {
            level,
            keys: Vec::new(),
            wanted: Vec::new(),
            is_supported: true,
            returns: vec![
                Return { tag: tags::QUERY_RETRIEVE_LEVEL, vr: VR::CS, value: Returned::Level },
                // The standard wants it in every answer, asked for or not.
                Return { tag: tags::RETRIEVE_AE_TITLE, vr: VR::AE, value: Returned::RetrieveAeTitle },
            ],
            writing: match identifier.bytes(tags::SPECIFIC_CHARACTER_SET) {
                Some(value) => Writing::of(value),
                None => Writing::plain(),
            },
            asked: Vec::new(),
        };
        // Without the unique keys an answer could not be asked further about.
        for above in levels(model).iter().filter(|above| **above <= level) {
            parsed.want(above.unique_key());
        }
        for element in identifier.elements() {
            parsed.take(element, identifier, options)?;
        }
        if !options.relational {
            parsed.check_unique_keys(model)?;
        }
        if options.combined_date_time {
            parsed.combine_dates_with_times();
        }
        parsed.returns.sort_by_key(|element| element.tag);
        parsed.returns.dedup_by_key(|element| element.tag);
        Ok(parsed)
    }

    /// What is asked for, to be read: `SERIES: Study Instance UID 1.2.3, Modality CT`.
    pub fn in_words(&self) -> String {
        let asked = if self.asked.is_empty() { "everything".to_owned() } else { self.asked.join(", ") };
        format!("{}: {asked}", self.level.as_str())
    }

    /// What is looked for. At most `most` of it are wanted.
    pub fn query(&self, most: u64) -> Query {
        Query {
            level: self.level,
            words: Vec::new(),
            keys: self.keys.clone(),
            sort: Sort { by: SortKey::StudyDate, direction: Direction::Descending },
            page: Page { number: 1, size: most, as_of: None },
        }
    }

    /// The instances that a retrieve of this is about, PS3.4 C.4.2.1.4.1: unique keys alone count, and the one of the
    /// level has to be there, with one value or several.
    pub fn retrieval(&self) -> Result<Query, Refused> {
        let unique = self.level.unique_key();
        let is_unique = |key: &Key| Level::ALL.iter().any(|level| level.unique_key() == key.attribute);
        let is_exact = |key: &Key| match &key.matching {
            Matching::SingleValue(_) | Matching::ListOfUid(_) => true,
            Matching::MultipleValue(values) => values.iter().all(|value| !value.contains(['*', '?'])),
            _ => false,
        };
        let keys: Vec<Key> = self.keys.iter().filter(|key| is_unique(key)).cloned().collect();
        if let Some(key) = keys.iter().find(|key| !is_exact(key)) {
            let name = dictionary::name(key.attribute.tag());
            return Err(Refused::of(key.attribute.tag(), format!("What is retrieved must be named: {name}")));
        }
        if !keys.iter().any(|key| key.attribute == unique) {
            let sentence = format!("There is no {}", dictionary::name(unique.tag()));
            return Err(Refused::of(unique.tag(), sentence));
        }
        Ok(Query { level: Level::Image, keys, ..self.query(u64::MAX) })
    }

    fn take(&mut self, element: &Element, identifier: &DataSet, options: Options) -> Result<(), Refused> {
        let Element { tag, vr, value } = element;
        match *tag {
            tags::SPECIFIC_CHARACTER_SET | tags::QUERY_RETRIEVE_LEVEL | tags::RETRIEVE_AE_TITLE => {
                return Ok(());
            }
            tag if tag.element() == 0 => return Ok(()), // the length of a group
            tags::INSTANCE_AVAILABILITY => {
                self.returns.push(Return { tag: *tag, vr: VR::CS, value: Returned::Availability });
                return Ok(());
            }
            tags::REQUEST_ATTRIBUTES_SEQUENCE if self.level >= Level::Series => {
                return self.take_request(identifier, options);
            }
            _ => {}
        }
        match Attribute::of(*tag, InRequest::No) {
            Some(attribute) if attribute.level() <= self.level => {
                self.want(attribute);
                self.add_key(attribute, &written(identifier, element), options)
            }
            known => {
                // What belongs to a level below is known, and has no place here.
                self.is_supported &= known.is_some();
                let vr = match (value, dictionary::vr(*tag, false)) {
                    (Value::Sequence(_), _) | (_, VR::SQ) => VR::SQ,
                    (_, VR::UN) => *vr,
                    (_, known) => known,
                };
                self.returns.push(Return { tag: *tag, vr, value: Returned::Nothing });
                Ok(())
            }
        }
    }

    /// C.2.2.2.6: the keys of the one item. Without any, all that we have is returned.
    fn take_request(&mut self, identifier: &DataSet, options: Options) -> Result<(), Refused> {
        let item = identifier.first_item(tags::REQUEST_ATTRIBUTES_SEQUENCE);
        let elements = item.map(DataSet::elements).unwrap_or_default();
        let mut returns = Vec::new();
        for element in elements {
            match Attribute::of(element.tag, InRequest::Yes) {
                Some(attribute) => {
                    returns.push(self.held(attribute));
                    let text = item.map(|item| written(item, element)).unwrap_or_default();
                    self.add_key(attribute, &text, options)?;
                }
                None => {
                    self.is_supported = false;
                    let vr = dictionary::vr(element.tag, false);
                    let vr = if vr == VR::UN { element.vr } else { vr };
                    returns.push(Return { tag: element.tag, vr, value: Returned::Nothing });
                }
            }
        }
        if returns.is_empty() {
            let both = [Attribute::ScheduledProcedureStepId, Attribute::RequestedProcedureId];
            returns.extend(both.map(|attribute| self.held(attribute)));
        }
        let value = Returned::Item(returns);
        self.returns.push(Return { tag: tags::REQUEST_ATTRIBUTES_SEQUENCE, vr: VR::SQ, value });
        Ok(())
    }

    fn add_key(&mut self, attribute: Attribute, text: &str, options: Options) -> Result<(), Refused> {
        if text.split('\\').nth(MOST_VALUES).is_some() {
            let name = dictionary::name(attribute.tag());
            return Err(Refused::of(attribute.tag(), format!("{name} has more than {MOST_VALUES} values")));
        }
        let Some(matching) = Matching::of(attribute.kind(), text) else {
            let what = match attribute.kind() {
                Kind::Date => "a date or a range of dates",
                Kind::Time => "a time or a range of times",
                _ => "a number",
            };
            let name = dictionary::name(attribute.tag());
            return Err(Refused::of(attribute.tag(), format!("{name} is not {what}")));
        };
        let matching = match matching {
            Matching::Universal => return Ok(()),
            Matching::Empty => Matching::Empty,
            // Of several names each is one as it stands.
            _ if options.fuzzy && attribute.kind() == Kind::PersonName && !text.contains('\\') => {
                Matching::Words(Word::all(text))
            }
            matching => matching,
        };
        self.asked.push(format!("{} {text}", dictionary::name(attribute.tag())));
        self.keys.push(Key { attribute, matching });
        Ok(())
    }

    fn want(&mut self, attribute: Attribute) {
        let element = self.held(attribute);
        if !self.returns.iter().any(|known| known.tag == element.tag) {
            self.returns.push(element);
        }
    }

    fn held(&mut self, attribute: Attribute) -> Return {
        let known = self.wanted.iter().position(|wanted| *wanted == attribute);
        let at = known.unwrap_or_else(|| {
            self.wanted.push(attribute);
            self.wanted.len() - 1
        });
        Return { tag: attribute.tag(), vr: attribute.vr(), value: Returned::Held(at) }
    }

    /// C.4.1.2.1: a query goes down from the top of the model by one entity of each level.
    fn check_unique_keys(&self, model: Model) -> Result<(), Refused> {
        for above in levels(model).iter().filter(|above| **above < self.level) {
            let unique = above.unique_key();
            let is_one =
                |key: &Key| key.attribute == unique && matches!(key.matching, Matching::SingleValue(_));
            if !self.keys.iter().any(is_one) {
                let name = dictionary::name(unique.tag());
                let sentence = format!("At {} level there must be one {name}", self.level.as_str());
                return Err(Refused::of(unique.tag(), sentence));
            }
        }
        Ok(())
    }

    /// C.2.2.2.5.3: with that agreed on, the ends of both ranges belong together.
    fn combine_dates_with_times(&mut self) {
        let times: Vec<(Attribute, Option<NaiveTime>, Option<NaiveTime>)> = self
            .keys
            .iter()
            .filter_map(|key| match key.matching {
                Matching::TimeRange(from, to) => Some((key.attribute, from, to)),
                _ => None,
            })
            .collect();
        for (time, time_from, time_to) in times {
            let date = self.keys.iter_mut().find(|key| key.attribute.time() == Some(time));
            let Some(Key { matching, .. }) = date else { continue };
            let Matching::Range(from, to) = *matching else { continue };
            let last = NaiveTime::from_hms_micro_opt(23, 59, 59, 999_999).unwrap_or_default();
            *matching = Matching::DateTimeRange(
                from.map(|date| NaiveDateTime::new(date, time_from.unwrap_or_default())),
                to.map(|date| NaiveDateTime::new(date, time_to.unwrap_or(last))),
            );
            self.keys.retain(|key| key.attribute != time);
        }
    }
}

/// The value of a key as text, backslashes between its values.
fn written(identifier: &DataSet, element: &Element) -> String {
    match element.vr {
        VR::US | VR::UL | VR::SS | VR::SL => {
            identifier.integer(element.tag).map(|number| number.to_string()).unwrap_or_default()
        }
        _ => identifier.texts(element.tag).join("\\"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::prescan::{self, Limits};
    use crate::dicom::uid::Encoding;

    fn element(tag: Tag, value: &str) -> Element {
        let vr = dictionary::vr(tag, false);
        Element { tag, vr, value: Value::Bytes(value.as_bytes().to_vec()) }
    }

    fn asked(elements: &[(Tag, &str)]) -> DataSet {
        DataSet::of(elements.iter().map(|(tag, value)| element(*tag, value)))
    }

    fn parse(model: Model, elements: &[(Tag, &str)]) -> Result<Identifier, Refused> {
        Identifier::parse(model, Options::default(), &asked(elements))
    }

    const STUDY: (Tag, &str) = (tags::QUERY_RETRIEVE_LEVEL, "STUDY");
    const SERIES: (Tag, &str) = (tags::QUERY_RETRIEVE_LEVEL, "SERIES");

    #[test]
    fn each_model_has_its_levels() {
        let answers = |model| {
            ["PATIENT", "STUDY", "SERIES", "IMAGE", "FRAME", ""]
                .map(|text| level(model, &asked(&[(tags::QUERY_RETRIEVE_LEVEL, text)])).is_ok())
        };
        assert_eq!(answers(Model::PatientRoot), [true, true, true, true, false, false]);
        assert_eq!(answers(Model::StudyRoot), [false, true, true, true, false, false]);
        assert_eq!(answers(Model::PatientStudyOnly), [true, true, false, false, false, false]);
    }

    #[test]
    fn a_query_goes_down_by_one_entity_of_each_level() {
        let uid = (tags::STUDY_INSTANCE_UID, "1.2");
        let missing = parse(Model::StudyRoot, &[SERIES]).expect_err("no study");
        assert_eq!(missing.tag, tags::STUDY_INSTANCE_UID);
        assert_eq!(missing.sentence, "At SERIES level there must be one Study Instance UID");
        assert!(parse(Model::StudyRoot, &[SERIES, (tags::STUDY_INSTANCE_UID, "1.2\\1.3")]).is_err());
        assert!(parse(Model::StudyRoot, &[SERIES, uid]).is_ok());
        let missing = parse(Model::PatientRoot, &[SERIES, uid]).expect_err("no patient");
        assert_eq!(missing.tag, tags::PATIENT_ID);
        let relational = Options { relational: true, ..Options::default() };
        assert!(Identifier::parse(Model::PatientRoot, relational, &asked(&[SERIES])).is_ok());
    }

    #[test]
    fn what_is_no_date_is_said_to_be_none() {
        let wrong = parse(Model::StudyRoot, &[STUDY, (tags::STUDY_DATE, "soon")]).expect_err("no date");
        assert_eq!(
            (wrong.tag, wrong.sentence.as_str()),
            (tags::STUDY_DATE, "Study Date is not a date or a range of dates")
        );
    }

    #[test]
    fn an_answer_has_what_was_asked_for_in_order_and_the_rest_empty() {
        let identifier = parse(
            Model::StudyRoot,
            &[
                STUDY,
                (tags::STUDY_DATE, ""),
                (tags::MODALITIES_IN_STUDY, "CT"),
                (tags::PROCEDURE_CODE_SEQUENCE, ""),
                (tags::SERIES_DESCRIPTION, ""),
                (tags::PATIENT_NAME, "D*"),
                (tags::OCCUPATION, ""),
            ],
        )
        .expect("an identifier");
        assert!(!identifier.is_supported, "Occupation is not in the index");
        let values: Vec<String> = identifier
            .wanted
            .iter()
            .map(|attribute| match attribute {
                Attribute::StudyInstanceUid => "1.2.3".to_owned(),
                Attribute::StudyDate => "20260102".to_owned(),
                Attribute::ModalitiesInStudy => "CT\\MR".to_owned(),
                Attribute::PatientName => "Doe^Jane".to_owned(),
                other => panic!("{other:?} is not wanted"),
            })
            .collect();
        for encoding in [Encoding::ImplicitVrLittleEndian, Encoding::ExplicitVrLittleEndian] {
            let bytes = identifier.answer(&values, "FILMROOM", encoding);
            let length = u64::try_from(bytes.len()).unwrap();
            let answer = prescan::scan(std::io::Cursor::new(bytes), length, encoding, &Limits::default())
                .expect("an answer that can be read")
                .data_set;
            let tags_of: Vec<Tag> = answer.elements().iter().map(|element| element.tag).collect();
            assert!(tags_of.is_sorted(), "{tags_of:?}");
            assert_eq!(answer.text(tags::QUERY_RETRIEVE_LEVEL).as_deref(), Some("STUDY"));
            assert_eq!(answer.text(tags::RETRIEVE_AE_TITLE).as_deref(), Some("FILMROOM"));
            assert_eq!(answer.text(tags::STUDY_INSTANCE_UID).as_deref(), Some("1.2.3"), "unasked");
            assert_eq!(answer.texts(tags::MODALITIES_IN_STUDY), ["CT", "MR"]);
            for empty in [tags::PROCEDURE_CODE_SEQUENCE, tags::SERIES_DESCRIPTION, tags::OCCUPATION] {
                assert!(answer.element(empty).is_some() && answer.text(empty).is_none(), "{empty}");
            }
            assert!(answer.element(tags::SPECIFIC_CHARACTER_SET).is_none(), "it was not needed");
        }
    }

    #[test]
    fn answers_are_in_the_character_set_of_the_question_where_they_fit() {
        let answered = |set: &str, name: &str| {
            let identifier = parse(
                Model::StudyRoot,
                &[(tags::SPECIFIC_CHARACTER_SET, set), STUDY, (tags::PATIENT_NAME, "")],
            )
            .expect("an identifier");
            let values = ["1.2".to_owned(), name.to_owned()];
            let bytes = identifier.answer(&values, "FILMROOM", Encoding::ImplicitVrLittleEndian);
            let length = u64::try_from(bytes.len()).unwrap();
            let scan = prescan::scan(
                std::io::Cursor::new(bytes),
                length,
                Encoding::ImplicitVrLittleEndian,
                &Limits::default(),
            );
            let set = scan.expect("an answer").data_set;
            assert_eq!(set.text(tags::PATIENT_NAME).as_deref(), Some(name));
            set.text(tags::SPECIFIC_CHARACTER_SET)
        };
        assert_eq!(answered("ISO_IR 100", "Müller").as_deref(), Some("ISO_IR 100"));
        assert_eq!(answered("ISO_IR 100", "山田").as_deref(), Some("ISO_IR 192"));
        assert_eq!(answered("", "Müller").as_deref(), Some("ISO_IR 192"));
        assert_eq!(answered("", "Doe"), None);
    }

    #[test]
    fn request_attributes_are_matched_and_returned_within_their_sequence() {
        let mut set = asked(&[SERIES, (tags::STUDY_INSTANCE_UID, "1.2")]);
        let item = asked(&[(tags::REQUESTED_PROCEDURE_ID, "RP1"), (tags::SCHEDULED_PROCEDURE_STEP_ID, "")]);
        set.push(Element {
            tag: tags::REQUEST_ATTRIBUTES_SEQUENCE,
            vr: VR::SQ,
            value: Value::Sequence(vec![item]),
        });
        let identifier =
            Identifier::parse(Model::StudyRoot, Options::default(), &set).expect("an identifier");
        let of_request = Key {
            attribute: Attribute::RequestedProcedureId,
            matching: Matching::SingleValue("RP1".to_owned()),
        };
        assert!(identifier.keys.contains(&of_request));
        let values: Vec<String> =
            identifier.wanted.iter().map(|attribute| format!("{attribute:?}")).collect();
        let bytes = identifier.answer(&values, "FILMROOM", Encoding::ExplicitVrLittleEndian);
        let length = u64::try_from(bytes.len()).unwrap();
        let scan = prescan::scan(
            std::io::Cursor::new(bytes),
            length,
            Encoding::ExplicitVrLittleEndian,
            &Limits::default(),
        );
        let answer = scan.expect("an answer").data_set;
        let item = answer.first_item(tags::REQUEST_ATTRIBUTES_SEQUENCE).expect("an item");
        assert_eq!(item.text(tags::REQUESTED_PROCEDURE_ID).as_deref(), Some("RequestedProcedureId"));
    }

    #[test]
    fn a_date_and_its_time_are_one_where_that_was_agreed_on() {
        let set = asked(&[STUDY, (tags::STUDY_DATE, "20260101-20260102"), (tags::STUDY_TIME, "1800-0600")]);
        let apart = Identifier::parse(Model::StudyRoot, Options::default(), &set).expect("an identifier");
        assert_eq!(apart.keys.len(), 2);
        let options = Options { combined_date_time: true, ..Options::default() };
        let combined = Identifier::parse(Model::StudyRoot, options, &set).expect("an identifier");
        let [Key { attribute: Attribute::StudyDate, matching: Matching::DateTimeRange(from, to) }] =
            combined.keys.as_slice()
        else {
            panic!("{:?}", combined.keys)
        };
        assert_eq!(from.unwrap().to_string(), "2026-01-01 18:00:00");
        assert_eq!(to.unwrap().to_string(), "2026-01-02 06:00:59.999999");
    }
}
