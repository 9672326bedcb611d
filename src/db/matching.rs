//! A [`Query`] becomes the FROM, WHERE and ORDER BY of a SELECT. Pure.
//!
//! What a person or a peer wrote is only ever bound; column names and directions are literals of these files.

mod column;
mod pattern;

use mysql_async::Value;

use self::column::{Column, Text, column};
pub(super) use self::pattern::literally;
use self::pattern::{beginning, containing, fold_around_wild_cards, folded_words, is_wild, like};
use super::visibility::Visibility;
use crate::dicom::query::{Attribute, Direction, Key, Kind, Level, Matching, Query, Sort, SortKey, Word};

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

/// The WHERE of `query` over the tables of its level, among the studies that are visible.
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
        of_key(&mut conditions, key, query.level);
    }
    if let Some(newest) = query.page.as_of {
        // Plus nothing, or the servers would take it for a range of the table and read that instead of an index.
        conditions.add("study.study_key + 0 <= ?", [newest.into()]);
    }
    conditions
}

/// The tables of a level, joined from the top down.
pub fn tables(level: Level) -> &'static str {
    match level {
        Level::Patient => "patient",
        Level::Study => "study",
        Level::Series => {
            "study
             JOIN series ON series.study_key = study.study_key
             JOIN equipment ON equipment.equipment_key = series.equipment_key"
        }
        Level::Image => {
            "study
             JOIN series ON series.study_key = study.study_key
             JOIN equipment ON equipment.equipment_key = series.equipment_key
             JOIN instance ON instance.series_key = series.series_key"
        }
    }
}

/// What the value of an attribute is read from.
pub fn value_of(attribute: Attribute, level: Level) -> &'static str {
    column::sql(attribute, level)
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

/// The ORDER BY of a level: studies as `sort` says, what is in them by its number, and in the end by what no two share.
pub fn order_of(level: Level, sort: Sort) -> String {
    let of_studies = order(sort);
    let of_series = "series.series_number IS NULL, series.series_number, series.series_key";
    match level {
        Level::Patient => "patient.patient_key".to_owned(),
        Level::Study => of_studies.to_owned(),
        Level::Series => format!("{of_studies}, {of_series}"),
        Level::Image => format!(
            "{of_studies}, {of_series}, instance.instance_number IS NULL, instance.instance_number, \
             instance.instance_key"
        ),
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

fn of_key(conditions: &mut Conditions, key: &Key, level: Level) {
    if level == Level::Patient && key.attribute.kind() == Kind::PersonName {
        return of_name_of_patient(conditions, key);
    }
    let column = column(key.attribute, level);
    match &key.matching {
        Matching::Universal => {}
        Matching::SingleValue(value) => any_of(conditions, key.attribute, &column, &[value.as_str()]),
        Matching::WildCard(value) => any_of(conditions, key.attribute, &column, &[value.as_str()]),
        Matching::ListOfUid(values) | Matching::MultipleValue(values) => {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            any_of(conditions, key.attribute, &column, &values);
        }
        Matching::Contains(text) => {
            let sql = format!("{} LIKE ? ESCAPE '!'", column.as_text("utf8mb4_unicode_520_ci"));
            conditions.add(sql, [containing(text).into()]);
        }
        Matching::Range(from, to) => between(conditions, &column, *from, *to),
        Matching::TimeRange(from, to) => between(conditions, &column, *from, *to),
        Matching::DateTimeRange(from, to) => {
            let time = key.attribute.time().map_or("'00:00'", |time| column::sql(time, level));
            moments(conditions, &column, time, *from, *to);
        }
        Matching::Number(number) => conditions.add(format!("{} = ?", column.sql), [(*number).into()]),
        Matching::Empty => conditions.add(is_empty(key.attribute, &column), []),
        Matching::Words(words) => {
            let folded = match column.text {
                Text::Folded { folded, .. } => folded.to_owned(),
                _ => column.as_text("utf8mb4_unicode_520_ci"),
            };
            for part in words.iter().flat_map(|word| folded_words(word.as_str())) {
                conditions.add(format!("{folded} LIKE ? ESCAPE '!'"), [containing(&part).into()]);
            }
        }
    }
}

/// A patient has the names that stand in their studies, of which the index has the folded ones.
fn of_name_of_patient(conditions: &mut Conditions, key: &Key) {
    let mut named = Conditions { sql: Vec::new(), params: Vec::new() };
    of_key(&mut named, key, Level::Study);
    if !named.sql.is_empty() {
        let sql =
            format!("patient.patient_key IN (SELECT study.patient_key FROM study WHERE {})", named.sql());
        conditions.add(sql, named.params);
    }
}

fn between<T: Into<Value>>(conditions: &mut Conditions, column: &Column, from: Option<T>, to: Option<T>) {
    if let Some(from) = from {
        conditions.add(format!("{} >= ?", column.sql), [from.into()]);
    }
    if let Some(to) = to {
        conditions.add(format!("{} <= ?", column.sql), [to.into()]);
    }
}

/// A date and the time beside it are one. The date alone is said first, because that is what an index tells.
fn moments(
    conditions: &mut Conditions,
    column: &Column,
    time: &str,
    from: Option<chrono::NaiveDateTime>,
    to: Option<chrono::NaiveDateTime>,
) {
    let date = column.sql;
    if let Some(from) = from {
        let sql = format!("{date} >= ? AND ({date} > ? OR COALESCE({time}, '00:00') >= ?)");
        conditions.add(sql, [from.date().into(), from.date().into(), from.time().into()]);
    }
    if let Some(to) = to {
        let sql = format!("{date} <= ? AND ({date} < ? OR COALESCE({time}, '00:00') <= ?)");
        conditions.add(sql, [to.date().into(), to.date().into(), to.time().into()]);
    }
}

fn is_empty(attribute: Attribute, column: &Column) -> String {
    match attribute.kind() {
        Kind::Date | Kind::Time => format!("{} IS NULL", column.sql),
        Kind::Number => format!("COALESCE({}, 0) = 0", column.sql),
        Kind::PersonName | Kind::Uid | Kind::Text => format!("{} = ''", column.sql),
    }
}

/// One of these values, with wild cards or without.
fn any_of(conditions: &mut Conditions, attribute: Attribute, column: &Column, values: &[&str]) {
    let takes_wild_cards = attribute.kind() != Kind::Uid;
    let (patterns, exact): (Vec<&str>, Vec<&str>) =
        values.iter().partition(|value| takes_wild_cards && value.contains(is_wild));
    let mut any = Conditions { sql: Vec::new(), params: Vec::new() };
    match column.text {
        Text::Folded { folded, starts } => {
            values.iter().for_each(|value| group_like(&mut any, folded, starts, value));
        }
        Text::Names => values.iter().for_each(|value| name_like(&mut any, column, value)),
        Text::AsciiList if attribute == Attribute::ModalitiesInStudy => modalities(&mut any, values),
        Text::AsciiList => values.iter().for_each(|value| part_like(&mut any, column, "','", value)),
        // CHAR(92), because whether a backslash is one in a literal depends on the SQL mode.
        Text::List => values.iter().for_each(|value| part_like(&mut any, column, "CHAR(92)", value)),
        Text::Exact | Text::Loose | Text::Ascii => {
            one_of(&mut any, column, &exact);
            for pattern in patterns {
                let sql = format!("{} LIKE ? ESCAPE '!'", column.as_text("utf8mb4_bin"));
                any.add(sql, [like(pattern).into()]);
            }
        }
    }
    let sql = match any.sql.len() {
        0 => "FALSE".to_owned(),
        1 => any.sql.concat(),
        _ => format!("({})", any.sql.join(" OR ")),
    };
    conditions.add(sql, any.params);
}

/// Exactly one of these values, which an index can tell.
fn one_of(any: &mut Conditions, column: &Column, values: &[&str]) {
    let is_ascii = column.text == Text::Ascii;
    let values: Vec<Value> =
        values.iter().filter(|value| !is_ascii || value.is_ascii()).map(|&value| value.into()).collect();
    if values.is_empty() {
        return;
    }
    let marks = vec!["?"; values.len()].join(", ");
    let loosely = format!("{} IN ({marks})", column.sql);
    if column.text == Text::Loose {
        let exactly = format!("{} IN ({marks})", column.as_text("utf8mb4_bin"));
        any.add(format!("({loosely} AND {exactly})"), [values.clone(), values].concat());
    } else {
        any.add(loosely, values);
    }
}

/// One of the values of a column is like `value`, to the letter.
fn part_like(any: &mut Conditions, column: &Column, separator: &str, value: &str) {
    let sql = format!(
        "CONCAT({separator}, {}, {separator}) LIKE CONCAT('%', {separator}, ?, {separator}, '%') ESCAPE '!'",
        column.as_text("utf8mb4_bin")
    );
    any.add(sql, [like(value).into()]);
}

/// Modalities in Study: there are a few dozen sets of them whatever the number of studies, and the index has them
/// sorted.
fn modalities(any: &mut Conditions, values: &[&str]) {
    let mut each = Vec::new();
    let mut params: Vec<Value> = Vec::new();
    for &value in values.iter().filter(|value| value.is_ascii()) {
        if value.contains(is_wild) {
            each.push("CONCAT(',', held.modalities, ',') LIKE ? ESCAPE '!'");
            params.push(format!("%,{},%", like(value)).into());
        } else {
            each.push("FIND_IN_SET(?, held.modalities)");
            params.push(value.into());
        }
    }
    if each.is_empty() {
        return;
    }
    let each = each.join(" OR ");
    let sql = format!(
        "study.modalities_in_study IN (SELECT held.modalities
                                              FROM (SELECT DISTINCT modalities_in_study AS modalities
                                                      FROM study) AS held
                                             WHERE {each})"
    );
    any.add(sql, params);
}

/// A whole component group of a person name is like `pattern`, folded. The groups stand between bars. Where the
/// pattern says how the group begins, the columns that begin with one each are said too: they have indexes.
fn group_like(any: &mut Conditions, folded: &str, starts: &[&str], pattern: &str) {
    let pattern = fold_around_wild_cards(pattern);
    let start = beginning(&pattern).trim_end();
    let mut params: Vec<Value> = Vec::new();
    let mut sql = String::new();
    if !start.is_empty() {
        // The columns hold 64 characters.
        let start: String = start.chars().take(64).collect();
        let begins = starts.iter().map(|column| format!("{column} LIKE ? ESCAPE '!'"));
        sql = format!("({}) AND ", begins.collect::<Vec<_>>().join(" OR "));
        params.extend(starts.iter().map(|_| Value::from(format!("{}%", literally(&start)))));
    }
    // What follows the last component that is written may be nothing at all.
    let alternatives = match pattern.strip_suffix(" *") {
        Some(whole) => vec![whole.to_owned(), pattern.clone()],
        None => vec![pattern.trim().to_owned()],
    };
    let each = vec![format!("CONCAT('|', {folded}, '|') LIKE ? ESCAPE '!'"); alternatives.len()];
    params.extend(alternatives.iter().map(|pattern| Value::from(format!("%|{}|%", like(pattern)))));
    any.add(format!("({sql}({}))", each.join(" OR ")), params);
}

/// One component group of one name is like `pattern`, whatever the case and the accents, in a column without folded
/// names.
fn name_like(any: &mut Conditions, column: &Column, pattern: &str) {
    let sql = format!(
        "CONCAT('|', REPLACE(REPLACE({}, CHAR(92), '|'), '=', '|'), '|') LIKE ? ESCAPE '!'",
        column.as_text("utf8mb4_unicode_520_ci")
    );
    any.add(sql, [format!("%|{}|%", like(pattern.trim_end_matches('^'))).into()]);
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
    for attribute in [Attribute::PatientId, Attribute::AccessionNumber] {
        let column = column(attribute, Level::Study);
        any.push(format!("{} LIKE ? ESCAPE '!'", column.as_text("utf8mb4_unicode_520_ci")));
        params.push(containing(word.as_str()).into());
    }
    conditions.add(format!("({})", any.join("\n     OR ")), params);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::query::Page;
    use chrono::NaiveDate;

    fn query(text: &str, keys: Vec<Key>) -> Query {
        Query {
            level: Level::Study,
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
            Matching::Number(1),
            Matching::Empty,
            Matching::TimeRange(None, chrono::NaiveTime::from_hms_opt(10, 0, 0)),
            Matching::DateTimeRange(day.and_then(|day| day.and_hms_opt(10, 0, 0)), None),
        ];
        for &attribute in Attribute::ALL {
            for level in Level::ALL {
                for matching in &all {
                    let keys = vec![Key { attribute, matching: matching.clone() }];
                    let conditions = conditions(&Query { level, ..query("", keys) }, &Visibility::All);
                    let marks = conditions.sql().matches('?').count();
                    assert_eq!(marks, conditions.params.len(), "{conditions:?}");
                }
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
        assert_eq!(texts(&conditions), ["doe j%", "doe j%", "doe j%", "%|doe j%|%"]);
        let conditions = of(Attribute::PatientName, Matching::WildCard("*DOE".into()));
        assert_eq!(texts(&conditions), ["%|%doe|%"], "there is no beginning to look for");
        let conditions = of(Attribute::PatientName, Matching::WildCard("DOE^*".into()));
        assert_eq!(texts(&conditions), ["doe%", "doe%", "doe%", "%|doe|%", "%|doe %|%"], "or Doe alone");
    }

    #[test]
    fn what_compares_loosely_is_compared_to_the_letter_too() {
        let conditions = of(Attribute::StudyDescription, Matching::SingleValue("Head".into()));
        assert_eq!(texts(&conditions), ["Head", "Head"]);
        assert!(conditions.sql().contains("COLLATE utf8mb4_bin"));
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
