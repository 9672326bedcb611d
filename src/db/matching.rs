//! A [`Query`] becomes the WHERE and ORDER BY of a SELECT over `study`. Pure.
//!
//! What a person or a peer wrote is only ever bound; column names and directions are literals of this file. LIKE
//! patterns are escaped with `!`, said explicitly, so that no SQL mode changes what they mean.

use mysql_async::Value;

use super::visibility::Visibility;
use crate::dicom::person_name;
use crate::dicom::query::{Attribute, Direction, Key, Kind, Matching, Query, Sort, SortKey, Word};

/// Conditions joined by AND, with a question mark for each of `params`.
#[derive(Debug, Clone, PartialEq)]
pub struct Conditions {
    sql: Vec<String>,
    params: Vec<Value>,
}

impl Conditions {
    /// What stands after WHERE. Always something.
    pub fn sql(&self) -> String {
        if self.sql.is_empty() { "TRUE".to_owned() } else { self.sql.join("\n   AND ") }
    }

    /// The values, in the order of the question marks.
    pub fn params(&self) -> Vec<Value> {
        self.params.clone()
    }

    fn add(&mut self, sql: impl Into<String>, params: impl IntoIterator<Item = Value>) {
        self.sql.push(sql.into());
        self.params.extend(params);
    }
}

/// The WHERE of `query` over `study`, among the studies that are visible.
pub fn conditions(query: &Query, visibility: &Visibility) -> Conditions {
    let mut conditions = Conditions { sql: Vec::new(), params: Vec::new() };
    if *visibility != Visibility::All {
        let visible = visibility.of_many();
        conditions.add(visible.sql, visible.params);
    }
    for word in &query.words {
        anywhere(&mut conditions, word);
    }
    for key in &query.keys {
        of_key(&mut conditions, key);
    }
    if let Some(newest) = query.page.as_of {
        // Plus nothing, or the servers would take it for a range of the table and read that instead of an index.
        conditions.add("study.study_key + 0 <= ?", [newest.into()]);
    }
    conditions
}

/// The ORDER BY of `sort`, ending in what no two studies share.
pub fn order(sort: Sort) -> &'static str {
    use Direction::{Ascending, Descending};
    match (sort.by, sort.direction) {
        (SortKey::PatientName, Ascending) => "study.patient_name_sort, study.study_key",
        (SortKey::PatientName, Descending) => "study.patient_name_sort DESC, study.study_key DESC",
        (SortKey::PatientBirthDate, Ascending) => "study.patient_birth_date, study.study_key",
        (SortKey::PatientBirthDate, Descending) => "study.patient_birth_date DESC, study.study_key DESC",
        (SortKey::StudyDate, Ascending) => "study.study_date, study.study_time, study.study_key",
        (SortKey::StudyDate, Descending) => {
            "study.study_date DESC, study.study_time DESC, study.study_key DESC"
        }
        (SortKey::Modality, Ascending) => "study.modalities_in_study, study.study_key",
        (SortKey::Modality, Descending) => "study.modalities_in_study DESC, study.study_key DESC",
        (SortKey::StudyDescription, Ascending) => "study.study_description, study.study_key",
        (SortKey::StudyDescription, Descending) => "study.study_description DESC, study.study_key DESC",
        (SortKey::ReferringPhysicianName, Ascending) => "study.referring_physician_name, study.study_key",
        (SortKey::ReferringPhysicianName, Descending) => {
            "study.referring_physician_name DESC, study.study_key DESC"
        }
        (SortKey::AccessionNumber, Ascending) => "study.accession_number, study.study_key",
        (SortKey::AccessionNumber, Descending) => "study.accession_number DESC, study.study_key DESC",
        (SortKey::Instances, Ascending) => "study.number_of_study_related_instances, study.study_key",
        (SortKey::Instances, Descending) => {
            "study.number_of_study_related_instances DESC, study.study_key DESC"
        }
    }
}

/// The index that is in the order of `by`, in either direction.
pub fn index(by: SortKey) -> &'static str {
    match by {
        SortKey::PatientName => "study_by_name",
        SortKey::PatientBirthDate => "study_by_birth_date",
        SortKey::StudyDate => "study_by_date",
        SortKey::Modality => "study_by_modality",
        SortKey::StudyDescription => "study_by_description",
        SortKey::ReferringPhysicianName => "study_by_referring_physician",
        SortKey::AccessionNumber => "study_by_accession_number",
        SortKey::Instances => "study_by_images",
    }
}

/// Where an attribute stands, and how its column compares.
struct Column {
    name: &'static str,
    /// For person names, the column that is searched.
    folded: &'static str,
    /// ASCII columns must not be compared with anything else: the server would refuse the mix.
    ascii: bool,
}

impl Column {
    /// The column for comparing with text under this collation.
    fn as_text(&self, collation: &str) -> String {
        match self.ascii {
            true => format!("CONVERT({} USING utf8mb4) COLLATE {collation}", self.name),
            false => format!("{} COLLATE {collation}", self.name),
        }
    }
}

fn column(attribute: Attribute) -> Column {
    let text = |name| Column { name, folded: name, ascii: false };
    let ascii = |name| Column { name, folded: name, ascii: true };
    match attribute {
        Attribute::PatientName => {
            Column { name: "study.patient_name", folded: "study.patient_name_folded", ascii: false }
        }
        Attribute::ReferringPhysicianName => Column {
            name: "study.referring_physician_name",
            folded: "study.referring_physician_name_folded",
            ascii: false,
        },
        Attribute::PatientId => text("study.patient_id"),
        Attribute::PatientBirthDate => text("study.patient_birth_date"),
        Attribute::PatientSex => text("study.patient_sex"),
        Attribute::StudyInstanceUid => ascii("study.study_instance_uid"),
        Attribute::StudyDate => text("study.study_date"),
        Attribute::AccessionNumber => text("study.accession_number"),
        Attribute::StudyId => text("study.study_id"),
        Attribute::StudyDescription => text("study.study_description"),
        Attribute::ModalitiesInStudy => ascii("study.modalities_in_study"),
        Attribute::InstitutionName => text("study.institution_name"),
    }
}

fn of_key(conditions: &mut Conditions, key: &Key) {
    let column = column(key.attribute);
    match &key.matching {
        Matching::Universal => {}
        Matching::SingleValue(value) => one_of(conditions, key.attribute, &column, &[value.as_str()]),
        Matching::ListOfUid(values) | Matching::MultipleValue(values) => {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            one_of(conditions, key.attribute, &column, &values);
        }
        Matching::WildCard(pattern) if key.attribute.kind() == Kind::PersonName => {
            group_like(conditions, &column, pattern);
        }
        Matching::WildCard(pattern) => {
            let sql = format!("{} LIKE ? ESCAPE '!'", column.as_text("utf8mb4_bin"));
            conditions.add(sql, [like(pattern).into()]);
        }
        Matching::Contains(text) => {
            let sql = format!("{} LIKE ? ESCAPE '!'", column.as_text("utf8mb4_unicode_520_ci"));
            conditions.add(sql, [containing(text).into()]);
        }
        Matching::Range(from, to) => {
            if let Some(from) = from {
                conditions.add(format!("{} >= ?", column.name), [(*from).into()]);
            }
            if let Some(to) = to {
                conditions.add(format!("{} <= ?", column.name), [(*to).into()]);
            }
        }
        Matching::Words(words) => {
            for part in words.iter().flat_map(|word| folded_words(word.as_str())) {
                let sql = format!("{} LIKE ? ESCAPE '!'", column.folded);
                conditions.add(sql, [containing(&part).into()]);
            }
        }
    }
}

/// Single values, lists of UIDs, and the lists that Modalities in Study is matched with.
fn one_of(conditions: &mut Conditions, attribute: Attribute, column: &Column, values: &[&str]) {
    if attribute.kind() == Kind::PersonName {
        return values.iter().for_each(|value| group_like(conditions, column, value));
    }
    let values: Vec<Value> =
        values.iter().filter(|value| !column.ascii || value.is_ascii()).map(|&value| value.into()).collect();
    let sql = if values.is_empty() {
        "FALSE".to_owned()
    } else if attribute == Attribute::ModalitiesInStudy {
        let each = vec!["FIND_IN_SET(?, held.modalities)"; values.len()].join(" OR ");
        // There are a few dozen sets of modalities whatever the number of studies, and the index has them sorted.
        format!(
            "study.modalities_in_study IN (SELECT held.modalities
                                              FROM (SELECT DISTINCT modalities_in_study AS modalities
                                                      FROM study) AS held
                                             WHERE {each})"
        )
    } else {
        format!("{} IN ({})", column.name, vec!["?"; values.len()].join(", "))
    };
    conditions.add(sql, values);
}

/// A whole component group of a person name is like `pattern`, folded. The groups stand between bars.
fn group_like(conditions: &mut Conditions, column: &Column, pattern: &str) {
    let pattern = fold_around_wild_cards(pattern);
    let sql = format!("CONCAT('|', {}, '|') LIKE ? ESCAPE '!'", column.folded);
    conditions.add(sql, [format!("%|{}|%", like(pattern.trim())).into()]);
}

/// The word is in the patient's name, the Patient ID or the Accession Number.
fn anywhere(conditions: &mut Conditions, word: &Word) {
    let mut any = Vec::new();
    let mut params: Vec<Value> = Vec::new();
    let name = folded_words(word.as_str());
    if !name.is_empty() {
        let each = vec!["study.patient_name_folded LIKE ? ESCAPE '!'"; name.len()];
        any.push(format!("({})", each.join(" AND ")));
        params.extend(name.iter().map(|part| Value::from(containing(part))));
    }
    for column in [column(Attribute::PatientId), column(Attribute::AccessionNumber)] {
        any.push(format!("{} LIKE ? ESCAPE '!'", column.as_text("utf8mb4_unicode_520_ci")));
        params.push(containing(word.as_str()).into());
    }
    conditions.add(format!("({})", any.join("\n     OR ")), params);
}

/// What a typed word becomes in a folded name: none, one, or several where it held punctuation.
fn folded_words(word: &str) -> Vec<String> {
    fold_around_wild_cards(word)
        .split(' ')
        .filter(|part| part.chars().any(|c| !is_wild(c)))
        .map(str::to_owned)
        .collect()
}

fn fold_around_wild_cards(text: &str) -> String {
    let mut folded = String::new();
    let mut plain = String::new();
    for c in text.chars() {
        if is_wild(c) {
            folded.push_str(&person_name::fold(&std::mem::take(&mut plain)));
            folded.push(c);
        } else {
            plain.push(c);
        }
    }
    folded.push_str(&person_name::fold(&plain));
    folded
}

fn is_wild(c: char) -> bool {
    matches!(c, '*' | '?')
}

fn containing(text: &str) -> String {
    format!("%{}%", like(text))
}

/// The LIKE pattern of a text in which nothing stands for anything else.
pub(super) fn literally(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    for c in text.chars() {
        if matches!(c, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(c);
    }
    pattern
}

/// The LIKE pattern of a text with DICOM's wild cards.
fn like(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    for c in text.chars() {
        match c {
            '*' => pattern.push('%'),
            '?' => pattern.push('_'),
            '%' | '_' | '!' => pattern.extend(['!', c]),
            c => pattern.push(c),
        }
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::query::Page;
    use chrono::NaiveDate;

    fn query(text: &str, keys: Vec<Key>) -> Query {
        Query {
            words: Word::all(text),
            keys,
            sort: Sort { by: SortKey::StudyDate, direction: Direction::Descending },
            page: Page { number: 1, size: 25, as_of: None },
        }
    }

    fn of(attribute: Attribute, matching: Matching) -> Conditions {
        conditions(&query("", vec![Key { attribute, matching }]), &Visibility::All)
    }

    fn texts(conditions: &Conditions) -> Vec<String> {
        let text = |value: &Value| match value {
            Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            value => value.as_sql(true),
        };
        conditions.params.iter().map(text).collect()
    }

    #[test]
    fn nothing_asked_is_everything() {
        assert_eq!(conditions(&query("", vec![]), &Visibility::All).sql(), "TRUE");
        assert_eq!(of(Attribute::PatientId, Matching::Universal).sql(), "TRUE");
    }

    #[test]
    fn there_is_a_value_for_each_question_mark() {
        let day = NaiveDate::from_ymd_opt(2026, 1, 2);
        let all = [
            Matching::SingleValue("a".into()),
            Matching::ListOfUid(vec!["1.2".into(), "1.3".into()]),
            Matching::WildCard("a*".into()),
            Matching::Range(day, day),
            Matching::MultipleValue(vec!["CT".into(), "MR".into()]),
            Matching::Contains("a".into()),
            Matching::Words(Word::all("a b-c")),
        ];
        for attribute in [Attribute::PatientName, Attribute::PatientId, Attribute::ModalitiesInStudy] {
            for matching in &all {
                let conditions = of(attribute, matching.clone());
                assert_eq!(conditions.sql().matches('?').count(), conditions.params.len(), "{conditions:?}");
            }
        }
    }

    #[test]
    fn what_was_typed_is_never_part_of_the_statement() {
        let hostile = "'; DROP TABLE study; --";
        let query = query(
            hostile,
            vec![
                Key { attribute: Attribute::PatientId, matching: Matching::SingleValue(hostile.into()) },
                Key { attribute: Attribute::StudyDescription, matching: Matching::Contains(hostile.into()) },
            ],
        );
        assert!(!conditions(&query, &Visibility::All).sql().contains("DROP"));
    }

    #[test]
    fn what_means_something_to_like_is_escaped_and_dicoms_wild_cards_are_not() {
        assert_eq!(like("50%_!*?\\"), "50!%!_!!%_\\");
    }

    #[test]
    fn each_word_is_looked_for_in_name_id_and_accession_number() {
        let conditions = conditions(&query("Müller 4711", vec![]), &Visibility::All);
        assert_eq!(texts(&conditions), ["%muller%", "%Müller%", "%Müller%", "%4711%", "%4711%", "%4711%"]);
        assert_eq!(conditions.sql.len(), 2);
    }

    #[test]
    fn a_word_with_a_hyphen_is_two_words_of_a_name_and_one_of_an_id() {
        let conditions = conditions(&query("Meyer-Lansky", vec![]), &Visibility::All);
        assert_eq!(texts(&conditions), ["%meyer%", "%lansky%", "%Meyer-Lansky%", "%Meyer-Lansky%"]);
    }

    #[test]
    fn a_name_pattern_is_anchored_to_a_component_group() {
        let conditions = of(Attribute::PatientName, Matching::WildCard("DOE^J*".into()));
        assert_eq!(texts(&conditions), ["%|doe j%|%"]);
    }

    #[test]
    fn ascii_columns_are_not_compared_with_other_text() {
        let conditions =
            of(Attribute::ModalitiesInStudy, Matching::MultipleValue(vec!["日本".into(), "CT".into()]));
        assert_eq!(texts(&conditions), ["CT"]);
        assert_eq!(of(Attribute::StudyInstanceUid, Matching::SingleValue("é".into())).sql(), "FALSE");
    }

    #[test]
    fn every_order_ends_in_what_no_two_studies_share() {
        for by in SortKey::ALL {
            assert!(order(Sort { by, direction: Direction::Ascending }).ends_with("study.study_key"));
            let descending = order(Sort { by, direction: Direction::Descending });
            assert!(descending.ends_with("study.study_key DESC"));
            assert_eq!(descending.matches("DESC").count(), descending.split(", ").count());
        }
    }
}
