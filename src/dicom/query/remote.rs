//! Queries to other AEs, PS3.4 C.4.1.1.3.1: identifiers to be sent, the form of the study list as one or more of them,
//! and the studies of the answers.
//!
//! The form knows more than the standard: "name, ID or accession number" is one field, case does not matter, a word
//! may stand anywhere. So it becomes several identifiers whose answers are put together, and what a peer matched too
//! generously is left out here.

use std::collections::BTreeMap;

use chrono::{NaiveDate, NaiveTime};
use dicom_core::Tag;
use dicom_dictionary_std::{tags, uids};

use super::{Attribute, Direction, Level, Matching, Query, SortKey, Word};
use crate::dicom::data_set::DataSet;
use crate::dicom::person_name::{PersonName, fold};
use crate::dicom::service::Service;
use crate::dicom::uid::{Encoding, StudyInstanceUid};
use crate::dicom::value;
use crate::dicom::writer::Writer;

/// Identifiers that one search becomes at most: each is a round trip to the peer.
const MOST_IDENTIFIERS: usize = 12;

/// What is wanted of the studies of another AE.
const STUDY_KEYS: [Tag; 15] = [
    tags::STUDY_DATE,
    tags::STUDY_TIME,
    tags::ACCESSION_NUMBER,
    tags::MODALITIES_IN_STUDY,
    tags::REFERRING_PHYSICIAN_NAME,
    tags::STUDY_DESCRIPTION,
    tags::PATIENT_NAME,
    tags::PATIENT_ID,
    tags::ISSUER_OF_PATIENT_ID,
    tags::PATIENT_BIRTH_DATE,
    tags::PATIENT_SEX,
    tags::STUDY_INSTANCE_UID,
    tags::STUDY_ID,
    tags::NUMBER_OF_STUDY_RELATED_SERIES,
    tags::NUMBER_OF_STUDY_RELATED_INSTANCES,
];

/// What is asked of another AE: keys with what they are to match, and keys that are only to be returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identifier {
    level: Level,
    keys: BTreeMap<Tag, String>,
}

impl Identifier {
    /// Nothing is asked yet but that the unique key of the level is returned.
    pub fn new(level: Level) -> Identifier {
        Identifier { level, keys: BTreeMap::new() }.returning(level.unique_key().tag())
    }

    /// The study with this UID, for a retrieve: nothing else may stand in it, PS3.4 C.4.2.1.4.1.
    pub fn study(uid: &str) -> Identifier {
        Identifier::new(Level::Study).matching(tags::STUDY_INSTANCE_UID, uid)
    }

    /// A series of a study, likewise.
    pub fn series(study: &str, series: &str) -> Identifier {
        Identifier::new(Level::Series)
            .matching(tags::STUDY_INSTANCE_UID, study)
            .matching(tags::SERIES_INSTANCE_UID, series)
    }

    /// With a key that has to match.
    pub fn matching(mut self, tag: Tag, value: &str) -> Identifier {
        self.keys.insert(tag, value.to_owned());
        self
    }

    /// With a key that matches anything and is returned.
    pub fn returning(mut self, tag: Tag) -> Identifier {
        self.keys.entry(tag).or_default();
        self
    }

    /// Of what it is.
    pub fn level(&self) -> Level {
        self.level
    }

    /// The keys, by ascending tag.
    pub fn keys(&self) -> impl Iterator<Item = Tag> {
        self.keys.keys().copied()
    }

    /// The SOP class to ask with: studies and what is below by Study Root, which everybody offers, patients by
    /// Patient Root, PS3.4 C.6.
    pub fn sop_class(&self, service: Service) -> &'static str {
        match (service, self.level) {
            (Service::Move, Level::Patient) => uids::PATIENT_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_MOVE,
            (Service::Move, _) => uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_MOVE,
            (Service::Get, Level::Patient) => uids::PATIENT_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_GET,
            (Service::Get, _) => uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_GET,
            (_, Level::Patient) => uids::PATIENT_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND,
            (_, _) => uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND,
        }
    }

    /// The data set. Text that is not ASCII is UTF-8, and only then a character set is named: some SCPs refuse
    /// identifiers with one they do not know.
    pub fn encode(&self, encoding: Encoding) -> Vec<u8> {
        let mut keys: BTreeMap<Tag, &str> =
            self.keys.iter().map(|(tag, value)| (*tag, value.as_str())).collect();
        keys.insert(tags::QUERY_RETRIEVE_LEVEL, self.level.as_str());
        if self.keys.values().any(|value| !value.is_ascii()) {
            keys.insert(tags::SPECIFIC_CHARACTER_SET, "ISO_IR 192");
        }
        let mut writer = Writer::new(encoding);
        for (tag, value) in keys {
            writer.put(tag, value.as_bytes());
        }
        writer.finish()
    }
}

/// The identifiers whose answers together hold the studies that match.
pub fn identifiers(query: &Query) -> Vec<Identifier> {
    let word = longest(&query.words);
    let for_word = word.map_or(1, |word| 2 + spellings(word).len());
    let mut all = vec![STUDY_KEYS.into_iter().fold(Identifier::new(Level::Study), Identifier::returning)];
    for key in &query.keys {
        let room = MOST_IDENTIFIERS / (all.len() * for_word);
        let mut alternatives = match &key.matching {
            // Several values of one key are more than what every peer understands, PS3.4 C.2.2.2.8.
            Matching::MultipleValue(values) if values.len() <= room => values.clone(),
            Matching::MultipleValue(_) => vec![String::new()],
            Matching::Words(words) => longest(words).map(spelt_anywhere).unwrap_or_default(),
            Matching::Contains(text) => spelt_anywhere(text),
            matching => in_identifier(matching).into_iter().collect(),
        };
        alternatives.truncate(room.max(1));
        if !alternatives.is_empty() {
            all = each_with(&all, key.attribute.tag(), &alternatives);
        }
    }
    let Some(word) = word else { return all };
    let mut named: Vec<Identifier> = Vec::new();
    let names = spellings(word).into_iter().map(|name| (tags::PATIENT_NAME, name));
    let rest = [tags::PATIENT_ID, tags::ACCESSION_NUMBER].map(|tag| (tag, word.to_owned()));
    for (tag, word) in rest.into_iter().chain(names) {
        named.extend(each_with(&all, tag, &[anywhere(&word)]));
    }
    named
}

fn each_with(all: &[Identifier], tag: Tag, values: &[String]) -> Vec<Identifier> {
    let one = |value: &String| all.iter().map(|identifier| identifier.clone().matching(tag, value)).collect();
    values.iter().flat_map(|value| -> Vec<Identifier> { one(value) }).collect()
}

/// The word that leaves least to be matched.
fn longest(words: &[Word]) -> Option<&str> {
    words.iter().map(Word::as_str).max_by_key(|word| word.chars().count())
}

/// Wherever it stands. A backslash would begin a second value.
fn anywhere(word: &str) -> String {
    format!("*{}*", word.replace('\\', "?"))
}

/// The ways to write it, wherever it stands.
fn spelt_anywhere(text: &str) -> Vec<String> {
    spellings(text).iter().map(|spelling| anywhere(spelling)).collect()
}

/// As typed, in capitals, and with a capital letter in front: peers compare text in its case, PS3.4 C.2.2.2.1.
fn spellings(word: &str) -> Vec<String> {
    let mut letters = word.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    let capital = format!("{first}{}", letters.as_str().to_lowercase());
    let mut spellings = vec![word.to_owned()];
    for spelling in [word.to_uppercase(), capital] {
        if !spellings.contains(&spelling) {
            spellings.push(spelling);
        }
    }
    spellings
}

/// The value of a key, where the standard has one for it.
fn in_identifier(matching: &Matching) -> Option<String> {
    let day = |day: &Option<NaiveDate>| day.map(|day| day.format("%Y%m%d").to_string()).unwrap_or_default();
    match matching {
        Matching::SingleValue(value) | Matching::WildCard(value) => Some(value.clone()),
        Matching::ListOfUid(uids) => Some(uids.join("\\")),
        Matching::Number(number) => Some(number.to_string()),
        Matching::Range(Some(from), Some(to)) if from == to => Some(day(&Some(*from))),
        Matching::Range(from, to) => Some(format!("{}-{}", day(from), day(to))),
        _ => None,
    }
}

/// A study that another AE has, as it answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteStudy {
    /// (0020,000D)
    pub study_instance_uid: StudyInstanceUid,
    /// (0010,0010)
    pub patient_name: String,
    /// (0010,0020)
    pub patient_id: String,
    /// (0010,0030)
    pub patient_birth_date: Option<NaiveDate>,
    /// (0010,0040)
    pub patient_sex: String,
    /// (0008,0020)
    pub study_date: Option<NaiveDate>,
    /// (0008,0030)
    pub study_time: Option<NaiveTime>,
    /// (0008,0050)
    pub accession_number: String,
    /// (0008,1030)
    pub study_description: String,
    /// (0008,0090)
    pub referring_physician_name: String,
    /// (0008,0061)
    pub modalities_in_study: Vec<String>,
    /// (0020,1206), where it says so
    pub number_of_series: Option<u64>,
    /// (0020,1208), where it says so
    pub number_of_instances: Option<u64>,
}

impl RemoteStudy {
    /// The study of an answer. None where it has no UID that can be used.
    pub fn of(answer: &DataSet) -> Option<RemoteStudy> {
        let text = |tag| answer.text(tag).unwrap_or_default();
        let count = |tag| answer.integer(tag).and_then(|count| u64::try_from(count).ok());
        let modalities = answer.texts(tags::MODALITIES_IN_STUDY);
        Some(RemoteStudy {
            study_instance_uid: text(tags::STUDY_INSTANCE_UID).parse().ok()?,
            patient_name: text(tags::PATIENT_NAME),
            patient_id: text(tags::PATIENT_ID),
            patient_birth_date: value::date(&text(tags::PATIENT_BIRTH_DATE)),
            patient_sex: text(tags::PATIENT_SEX),
            study_date: value::date(&text(tags::STUDY_DATE)),
            study_time: value::time(&text(tags::STUDY_TIME)),
            accession_number: text(tags::ACCESSION_NUMBER),
            study_description: text(tags::STUDY_DESCRIPTION),
            referring_physician_name: text(tags::REFERRING_PHYSICIAN_NAME),
            modalities_in_study: modalities.into_iter().filter(|name| !name.is_empty()).collect(),
            number_of_series: count(tags::NUMBER_OF_STUDY_RELATED_SERIES),
            number_of_instances: count(tags::NUMBER_OF_STUDY_RELATED_INSTANCES),
        })
    }

    /// Whether it is what the form asks for, as far as the answer tells: a peer may match more than it was asked.
    pub fn matches(&self, query: &Query) -> bool {
        let name = PersonName::parse(&self.patient_name).folded();
        let others = [&self.patient_id, &self.accession_number].map(|text| text.to_lowercase());
        let has_word = |word: &Word| {
            has_in_order(&name, &word.as_str().split(['*', '?']).map(fold).collect::<Vec<_>>())
                || others.iter().any(|text| has_in_order(text, &lower_parts(word.as_str())))
        };
        query.words.iter().all(has_word)
            && query.keys.iter().all(|key| self.has(key.attribute, &key.matching))
    }

    fn has(&self, attribute: Attribute, matching: &Matching) -> bool {
        let text = match attribute {
            Attribute::StudyDescription => &self.study_description,
            Attribute::AccessionNumber => &self.accession_number,
            Attribute::PatientId => &self.patient_id,
            Attribute::ModalitiesInStudy => {
                let Matching::MultipleValue(wanted) = matching else { return true };
                let own = &self.modalities_in_study;
                return own.is_empty() || own.iter().any(|modality| wanted.contains(modality));
            }
            Attribute::ReferringPhysicianName => {
                let Matching::Words(words) = matching else { return true };
                let name = PersonName::parse(&self.referring_physician_name).folded();
                let has = |word: &Word| {
                    has_in_order(&name, &word.as_str().split(['*', '?']).map(fold).collect::<Vec<_>>())
                };
                return words.iter().all(has);
            }
            Attribute::StudyDate => {
                let (Matching::Range(from, to), Some(date)) = (matching, self.study_date) else {
                    return true;
                };
                return from.is_none_or(|from| from <= date) && to.is_none_or(|to| date <= to);
            }
            _ => return true,
        };
        match matching {
            Matching::Contains(part) => has_in_order(&text.to_lowercase(), &lower_parts(part)),
            _ => true,
        }
    }
}

fn lower_parts(text: &str) -> Vec<String> {
    text.to_lowercase().split(['*', '?']).map(str::to_owned).collect()
}

/// Whether the parts stand in the text one behind the other.
fn has_in_order(text: &str, parts: &[String]) -> bool {
    let mut rest = text;
    for part in parts.iter().filter(|part| !part.is_empty()) {
        let Some((_, after)) = rest.split_once(part.as_str()) else { return false };
        rest = after;
    }
    true
}

/// Puts studies into the order that was asked for.
pub fn sort(studies: &mut [RemoteStudy], query: &Query) {
    let name = |study: &RemoteStudy| PersonName::parse(&study.patient_name).folded();
    studies.sort_by(|a, b| {
        let order = match query.sort.by {
            SortKey::PatientName => name(a).cmp(&name(b)),
            SortKey::PatientBirthDate => a.patient_birth_date.cmp(&b.patient_birth_date),
            SortKey::StudyDate => (a.study_date, a.study_time).cmp(&(b.study_date, b.study_time)),
            SortKey::Modality => a.modalities_in_study.cmp(&b.modalities_in_study),
            SortKey::StudyDescription => a.study_description.cmp(&b.study_description),
            SortKey::ReferringPhysicianName => a.referring_physician_name.cmp(&b.referring_physician_name),
            SortKey::AccessionNumber => a.accession_number.cmp(&b.accession_number),
            SortKey::Instances => a.number_of_instances.cmp(&b.number_of_instances),
        };
        let order = match query.sort.direction {
            Direction::Ascending => order,
            Direction::Descending => order.reverse(),
        };
        order.then_with(|| a.study_instance_uid.cmp(&b.study_instance_uid))
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::query::{Key, Page, Sort};

    fn query(text: &str, keys: Vec<Key>) -> Query {
        let sort = Sort { by: SortKey::StudyDate, direction: Direction::Descending };
        let page = Page { number: 1, size: 25, as_of: None };
        Query { level: Level::Study, words: Word::all(text), keys, sort, page }
    }

    fn study(name: &str, id: &str) -> RemoteStudy {
        RemoteStudy {
            study_instance_uid: "1.2.3".parse().unwrap(),
            patient_name: name.to_owned(),
            patient_id: id.to_owned(),
            patient_birth_date: None,
            patient_sex: String::new(),
            study_date: NaiveDate::from_ymd_opt(2026, 11, 22),
            study_time: None,
            accession_number: "ACC7".to_owned(),
            study_description: "CT Head".to_owned(),
            referring_physician_name: "House^Gregory".to_owned(),
            modalities_in_study: vec!["CT".to_owned()],
            number_of_series: None,
            number_of_instances: None,
        }
    }

    fn values(query: &Query, tag: Tag) -> Vec<String> {
        identifiers(query).into_iter().filter_map(|mut one| one.keys.remove(&tag)).collect()
    }

    #[test]
    fn an_identifier_is_ascending_and_names_a_character_set_where_it_needs_one() {
        let plain = Identifier::study("1.2").encode(Encoding::ImplicitVrLittleEndian);
        assert_eq!(plain, b"\x08\0\x52\0\x06\0\0\0STUDY \x20\0\x0D\0\x04\0\0\x001.2\0",);
        let named = Identifier::new(Level::Study).matching(tags::PATIENT_NAME, "Müller*");
        let bytes = named.encode(Encoding::ImplicitVrLittleEndian);
        assert!(bytes.starts_with(b"\x08\0\x05\0\x0A\0\0\0ISO_IR 192"));
    }

    #[test]
    fn one_field_becomes_a_question_about_the_name_the_id_and_the_accession_number() {
        let asked = query("doe jane4711", vec![]);
        assert_eq!(values(&asked, tags::PATIENT_NAME).len(), 5);
        let all = identifiers(&asked);
        let with = |tag| -> Vec<&str> {
            let value = |one: &'_ Identifier| one.keys.get(&tag).filter(|value| !value.is_empty()).is_some();
            all.iter()
                .filter(|one| value(one))
                .filter_map(|one| one.keys.get(&tag))
                .map(String::as_str)
                .collect()
        };
        assert_eq!(with(tags::PATIENT_NAME), ["*jane4711*", "*JANE4711*", "*Jane4711*"]);
        assert_eq!(with(tags::PATIENT_ID), ["*jane4711*"]);
        assert_eq!(with(tags::ACCESSION_NUMBER), ["*jane4711*"]);
    }

    #[test]
    fn each_modality_is_a_question_of_its_own() {
        let modalities = |names: &[&str]| Key {
            attribute: Attribute::ModalitiesInStudy,
            matching: Matching::MultipleValue(names.iter().map(|name| (*name).to_owned()).collect()),
        };
        let asked = query("", vec![modalities(&["CT", "MR"])]);
        assert_eq!(values(&asked, tags::MODALITIES_IN_STUDY), ["CT", "MR"]);
        assert!(study("Doe", "1").matches(&asked));
        assert!(!study("Doe", "1").matches(&query("", vec![modalities(&["US"])])));
        // With a word that is asked for in five ways there is less room.
        assert_eq!(
            values(&query("doe", vec![modalities(&["CT", "MR"])]), tags::MODALITIES_IN_STUDY).len(),
            10
        );
        let three = query("doe", vec![modalities(&["CT", "MR", "US"])]);
        assert_eq!(values(&three, tags::MODALITIES_IN_STUDY), [""; 5]);
        let many: Vec<String> = (0..20).map(|n| format!("M{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(values(&query("", vec![modalities(&many)]), tags::MODALITIES_IN_STUDY), [""]);
    }

    #[test]
    fn text_is_asked_for_in_the_usual_spellings() {
        let key =
            Key { attribute: Attribute::StudyDescription, matching: Matching::Contains("head".to_owned()) };
        let asked = values(&query("", vec![key]), tags::STUDY_DESCRIPTION);
        assert_eq!(asked, ["*head*", "*HEAD*", "*Head*"]);
    }

    #[test]
    fn dates_are_written_as_ranges() {
        let day = |day| NaiveDate::from_ymd_opt(2026, 1, day);
        let date = |from, to| {
            let key = Key { attribute: Attribute::StudyDate, matching: Matching::Range(from, to) };
            values(&query("", vec![key]), tags::STUDY_DATE)
        };
        assert_eq!(date(day(2), day(3)), ["20260102-20260103"]);
        assert_eq!(date(day(2), day(2)), ["20260102"]);
        assert_eq!(date(day(2), None), ["20260102-"]);
        assert_eq!(date(None, day(3)), ["-20260103"]);
    }

    #[test]
    fn what_a_peer_matched_too_generously_is_left_out() {
        assert!(study("DOE^JANE", "P1").matches(&query("jane doe", vec![])));
        assert!(study("Müller^Jörg", "P1").matches(&query("muller", vec![])));
        assert!(study("DOE^JANE", "P1").matches(&query("p1 doe acc7", vec![])));
        assert!(!study("DOE^JANE", "P1").matches(&query("doe john", vec![])));
        assert!(study("DOE^JANE", "P1").matches(&query("d*e", vec![])));
        let head = |text: &str| Key {
            attribute: Attribute::StudyDescription,
            matching: Matching::Contains(text.to_owned()),
        };
        assert!(study("Doe", "1").matches(&query("", vec![head("head")])));
        assert!(!study("Doe", "1").matches(&query("", vec![head("chest")])));
    }
}
