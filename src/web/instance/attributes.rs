//! A data set as rows of a table: every element, sequences with their items beneath, private ones with their creator.

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use crate::dicom::data_set::{DataSet, Element, Value};
use crate::dicom::dictionary;
use crate::web::text;

/// Characters of a value that a row shows.
const SHOWN: usize = 400;
/// Rows that are looked at. The walk is over a tree that is bounded already; this bounds its time.
const MOST: usize = 2_000_000;

/// A row: an element, or the line before an item of a sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// How deep in sequences.
    pub depth: usize,
    /// `(0010,0010)`; empty for an item.
    pub tag: String,
    /// `PN`
    pub vr: &'static str,
    /// `Patient Name`, `Item 2`, or the creator of a private element.
    pub name: String,
    /// `PatientName`; empty where the dictionary has none.
    pub keyword: &'static str,
    /// The values, decoded, a backslash between them; for what is long a summary.
    pub value: String,
    /// There is more of the value than is shown.
    pub cut: bool,
}

/// Rows of a data set, of which only some are kept.
#[derive(Debug, Default)]
pub struct Listing {
    /// Those of the page that was asked for.
    pub rows: Vec<Row>,
    /// How many there are that match.
    pub matching: usize,
    /// How many there are.
    pub total: usize,
}

/// The rows that match `query` (tag, keyword, name or value; all of them if it is empty), without the first `skip`,
/// and at most `take`.
pub fn list(data_sets: &[&DataSet], query: &str, skip: usize, take: usize) -> Listing {
    let mut walk = Walk { query: Query::of(query), skip, take, listing: Listing::default() };
    for data_set in data_sets {
        walk.data_set(data_set, 0);
    }
    walk.listing
}

struct Walk {
    query: Query,
    skip: usize,
    take: usize,
    listing: Listing,
}

impl Walk {
    /// Recursion is bounded by the depth the scan allows.
    fn data_set(&mut self, data_set: &DataSet, depth: usize) {
        for element in data_set.elements() {
            if self.listing.total >= MOST {
                return;
            }
            self.row(|| row(data_set, element, depth));
            if let Value::Sequence(items) = &element.value {
                for (index, item) in items.iter().enumerate() {
                    self.row(|| item_row(index, item, depth + 1));
                    self.data_set(item, depth + 2);
                }
            }
        }
    }

    /// Counts a row, and makes it only if it may be wanted.
    fn row(&mut self, make: impl FnOnce() -> Row) {
        self.listing.total += 1;
        let is_full = self.listing.rows.len() >= self.take;
        if self.query.is_empty() && (is_full || self.listing.matching < self.skip) {
            self.listing.matching += 1;
            return;
        }
        let row = make();
        if self.query.matches(&row) {
            if self.listing.matching >= self.skip && !is_full {
                self.listing.rows.push(row);
            }
            self.listing.matching += 1;
        }
    }
}

fn row(data_set: &DataSet, element: &Element, depth: usize) -> Row {
    let (value, cut) = value(data_set, element);
    Row {
        depth,
        tag: element.tag.to_string(),
        vr: element.vr.to_string(),
        name: name(data_set, element.tag),
        keyword: dictionary::keyword(element.tag).unwrap_or_default(),
        value,
        cut,
    }
}

fn item_row(index: usize, item: &DataSet, depth: usize) -> Row {
    let attributes = u64::try_from(item.elements().len()).unwrap_or(u64::MAX);
    Row {
        depth,
        tag: String::new(),
        vr: "",
        name: format!("Item {}", index + 1),
        keyword: "",
        value: text::counted(attributes, "attribute", "attributes"),
        cut: false,
    }
}

fn name(data_set: &DataSet, tag: Tag) -> String {
    match creator(data_set, tag) {
        Some(creator) => format!("Private, {creator}"),
        None => dictionary::name(tag),
    }
}

/// Who reserved the block of a private element: PS3.5 section 7.8.1.
fn creator(data_set: &DataSet, Tag(group, element): Tag) -> Option<String> {
    let block = element >> 8;
    if group % 2 == 0 || block < 0x10 {
        return None;
    }
    data_set.text(Tag(group, block))
}

fn value(data_set: &DataSet, element: &Element) -> (String, bool) {
    let is_pixels =
        matches!(element.tag, tags::PIXEL_DATA | tags::FLOAT_PIXEL_DATA | tags::DOUBLE_FLOAT_PIXEL_DATA);
    match &element.value {
        Value::Omitted { length } if is_pixels => (format!("Pixels, {}", text::size(*length)), false),
        Value::Omitted { length } => (format!("Not shown here, {}", text::size(*length)), false),
        Value::Bytes(_) | Value::Sequence(_) => shortened(&data_set.value_texts(element).join("\\")),
    }
}

/// At most [`SHOWN`] characters. Control characters, line ends apart, become a blank.
fn shortened(text: &str) -> (String, bool) {
    let mut letters = text.chars();
    let shown = letters.by_ref().take(SHOWN);
    let shown = shown.map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect();
    (shown, letters.next().is_some())
}

/// What is searched for, in a form that compares.
struct Query {
    text: String,
    /// `0010,0010` and `00100010` find `(0010,0010)`.
    digits: Option<String>,
}

impl Query {
    fn of(text: &str) -> Query {
        let text = text.trim().to_lowercase();
        let digits: String = text.chars().filter(|c| !matches!(c, '(' | ')' | ',' | ' ')).collect();
        let is_tag = digits.len() >= 4 && digits.chars().all(|c| c.is_ascii_hexdigit());
        Query { digits: is_tag.then_some(digits), text }
    }

    fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    fn matches(&self, row: &Row) -> bool {
        let has = |text: &str| text.to_lowercase().contains(&self.text);
        let tag = || row.tag.to_lowercase().replace(['(', ')', ','], "");
        self.digits.as_ref().is_some_and(|digits| tag().starts_with(digits.as_str()))
            || has(&row.name)
            || has(row.keyword)
            || has(&row.value)
            || has(&row.tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dicom_core::VR;

    fn text(tag: Tag, vr: VR, value: &str) -> Element {
        Element { tag, vr, value: Value::Bytes(value.as_bytes().to_vec()) }
    }

    fn sample() -> DataSet {
        let item = DataSet::of([text(tags::CODE_MEANING, VR::LO, "Chest")]);
        DataSet::of([
            text(tags::PATIENT_NAME, VR::PN, "Doe^Jane"),
            Element {
                tag: tags::PROCEDURE_CODE_SEQUENCE,
                vr: VR::SQ,
                value: Value::Sequence(vec![item.clone(), item]),
            },
            text(Tag(0x0029, 0x0010), VR::LO, "ACME 1.0"),
            text(Tag(0x0029, 0x1001), VR::LO, "secret"),
            Element { tag: tags::PIXEL_DATA, vr: VR::OW, value: Value::Omitted { length: 524_288 } },
        ])
    }

    fn found(query: &str) -> Vec<String> {
        list(&[&sample()], query, 0, 100)
            .rows
            .into_iter()
            .map(|row| format!("{} {}", row.name, row.value))
            .collect()
    }

    #[test]
    fn every_element_has_a_row_and_items_stand_beneath_their_sequence() {
        let listing = list(&[&sample()], "", 0, 100);
        let depths: Vec<usize> = listing.rows.iter().map(|row| row.depth).collect();
        assert_eq!(depths, [0, 0, 1, 2, 1, 2, 0, 0, 0]);
        assert_eq!((listing.total, listing.matching), (9, 9));
        assert_eq!(listing.rows.last().map(|row| row.value.as_str()), Some("Pixels, 0.5 MB"));
    }

    #[test]
    fn rows_are_found_by_tag_keyword_name_and_value() {
        for query in ["(0010,0010)", "0010,0010", "00100010", "patientname", "Patient N", "doe^j"] {
            assert_eq!(found(query), ["Patient Name Doe^Jane"], "{query}");
        }
        assert_eq!(found("chest").len(), 2);
        assert!(found("nowhere").is_empty());
    }

    #[test]
    fn private_elements_say_whose_they_are() {
        assert_eq!(found("secret"), ["Private, ACME 1.0 secret"]);
    }

    #[test]
    fn pages_cut_the_rows_but_not_the_count() {
        let page = list(&[&sample()], "", 2, 3);
        assert_eq!(page.rows.len(), 3);
        assert_eq!(page.matching, 9);
        assert_eq!(page.rows.first().map(|row| row.name.as_str()), Some("Item 1"));
        assert_eq!(list(&[&sample()], "chest", 1, 5).rows.len(), 1);
    }

    #[test]
    fn long_values_are_cut_and_say_so() {
        assert_eq!(shortened("a\u{7}b\nc"), ("a b\nc".to_owned(), false));
        let (shown, cut) = shortened(&"é".repeat(401));
        assert_eq!((shown.chars().count(), cut), (400, true));
    }
}
