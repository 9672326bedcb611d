//! The study list's form: its address becomes [`Filters`], those become a [`Query`], and every state of the list has
//! an address again. Pure.

use chrono::{Days, NaiveDate};
use percent_encoding::percent_decode_str;

use super::study::Choice;
use crate::dicom::query::{Attribute, Direction, Key, Level, Matching, Page, Query, Sort, SortKey, Word};
use crate::dicom::value;

/// Studies on a page of the list: what can be chosen, the usual number first.
pub const PAGE_SIZES: [u64; 3] = [25, 50, 100];
/// Characters of a field that are looked at.
const FIELD_LENGTH: usize = 200;
/// Modalities that can be chosen at once.
const MOST_MODALITIES: usize = 20;
/// The order of a list for which none was asked: what was made last comes first.
const USUAL: Sort = Sort { by: SortKey::StudyDate, direction: Direction::Descending };

/// What the form of the study list says, as it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filters {
    /// Name, ID or accession number.
    pub text: String,
    /// Which dates.
    pub period: Period,
    /// First day of a range, as typed.
    pub from: String,
    /// Last day of a range, as typed.
    pub to: String,
    /// Chosen modalities; none means any.
    pub modalities: Vec<String>,
    /// In the study description.
    pub description: String,
    /// In the referring physician's name.
    pub referring: String,
    /// In the accession number.
    pub accession: String,
    /// In the Patient ID.
    pub id: String,
    /// In the institution's name.
    pub institution: String,
    /// The order.
    pub sort: Sort,
    /// Studies on a page, one of [`PAGE_SIZES`].
    pub rows: u64,
    /// The page, from 1.
    pub page: u64,
    /// See [`Page::as_of`].
    pub as_of: Option<u64>,
}

/// Which study dates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// Any, also none.
    Any,
    /// Today.
    Today,
    /// Today and the six days before.
    SevenDays,
    /// Today and the 29 days before.
    ThirtyDays,
    /// From a day to a day.
    Range,
}

impl Period {
    /// In the order of the chips.
    pub const ALL: [Period; 5] =
        [Period::Any, Period::Today, Period::SevenDays, Period::ThirtyDays, Period::Range];

    /// The chips of a form.
    pub fn choices(filters: &Filters) -> Vec<Choice> {
        let choice = |period: Period| Choice {
            value: period.name().to_owned(),
            label: period.label().to_owned(),
            chosen: period == filters.period,
        };
        Period::ALL.into_iter().map(choice).collect()
    }

    /// The word in the address.
    pub fn name(self) -> &'static str {
        match self {
            Period::Any => "",
            Period::Today => "today",
            Period::SevenDays => "7d",
            Period::ThirtyDays => "30d",
            Period::Range => "range",
        }
    }

    /// The word on the chip.
    pub fn label(self) -> &'static str {
        match self {
            Period::Any => "Any date",
            Period::Today => "Today",
            Period::SevenDays => "7 days",
            Period::ThirtyDays => "30 days",
            Period::Range => "Range",
        }
    }
}

/// The columns that can be sorted by: word in the address, heading, and the direction of the first click.
pub const COLUMNS: [(SortKey, &str, &str, Direction); 8] = [
    (SortKey::PatientName, "patient", "Patient", Direction::Ascending),
    (SortKey::PatientBirthDate, "born", "Born", Direction::Ascending),
    (SortKey::StudyDate, "date", "Study date", Direction::Descending),
    (SortKey::Modality, "modality", "Modality", Direction::Ascending),
    (SortKey::StudyDescription, "description", "Description", Direction::Ascending),
    (SortKey::ReferringPhysicianName, "referring", "Referring", Direction::Ascending),
    (SortKey::AccessionNumber, "accession", "Accession", Direction::Ascending),
    (SortKey::Instances, "images", "Images", Direction::Descending),
];

impl Default for Filters {
    fn default() -> Filters {
        Filters {
            text: String::new(),
            period: Period::Any,
            from: String::new(),
            to: String::new(),
            modalities: Vec::new(),
            description: String::new(),
            referring: String::new(),
            accession: String::new(),
            id: String::new(),
            institution: String::new(),
            sort: USUAL,
            rows: PAGE_SIZES[0],
            page: 1,
            as_of: None,
        }
    }
}

impl Filters {
    /// Reads the part of an address behind the question mark. What it does not know it leaves out.
    pub fn parse(address: &str) -> Filters {
        let mut filters = Filters::default();
        let mut direction = None;
        for pair in address.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decoded(value);
            match name {
                "q" => filters.text = value,
                "date" => filters.period = period(&value),
                "from" => filters.from = value,
                "to" => filters.to = value,
                "modality" => filters.add_modality(value),
                "description" => filters.description = value,
                "referring" => filters.referring = value,
                "accession" => filters.accession = value,
                "id" => filters.id = value,
                "institution" => filters.institution = value,
                "sort" => filters.sort = sort_by(&value),
                "order" => direction = order(&value),
                "rows" => filters.rows = value.parse().unwrap_or_default(),
                "page" => filters.page = value.parse().unwrap_or(1).max(1),
                "as_of" => filters.as_of = value.parse().ok(),
                _ => {}
            }
        }
        if filters.period == Period::Any && !(filters.from.is_empty() && filters.to.is_empty()) {
            filters.period = Period::Range;
        }
        filters.rows = PAGE_SIZES.into_iter().find(|size| *size == filters.rows).unwrap_or(PAGE_SIZES[0]);
        if let Some(direction) = direction {
            filters.sort.direction = direction;
        }
        filters
    }

    fn add_modality(&mut self, modality: String) {
        let written = modality.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" _".contains(&byte));
        let fits = (1..=16).contains(&modality.len()) && self.modalities.len() < MOST_MODALITIES;
        if written && fits && !self.modalities.contains(&modality) {
            self.modalities.push(modality);
        }
    }

    /// What is to be looked for, if today is `today`.
    pub fn query(&self, today: NaiveDate) -> Query {
        let mut keys = Vec::new();
        let mut key = |attribute, matching| keys.push(Key { attribute, matching });
        if let Some((from, to)) = self.days(today) {
            key(Attribute::StudyDate, Matching::Range(from, to));
        }
        if !self.modalities.is_empty() {
            key(Attribute::ModalitiesInStudy, Matching::MultipleValue(self.modalities.clone()));
        }
        if !self.referring.is_empty() {
            key(Attribute::ReferringPhysicianName, Matching::Words(Word::all(&self.referring)));
        }
        for (attribute, text) in [
            (Attribute::StudyDescription, &self.description),
            (Attribute::AccessionNumber, &self.accession),
            (Attribute::PatientId, &self.id),
            (Attribute::InstitutionName, &self.institution),
        ] {
            if !text.is_empty() {
                key(attribute, Matching::Contains(text.clone()));
            }
        }
        let page = Page { number: self.page, size: self.rows, as_of: self.as_of };
        Query { level: Level::Study, words: Word::all(&self.text), keys, sort: self.sort, page }
    }

    fn days(&self, today: NaiveDate) -> Option<(Option<NaiveDate>, Option<NaiveDate>)> {
        let since = |days| Some((today.checked_sub_days(Days::new(days)), Some(today)));
        match self.period {
            Period::Any => None,
            Period::Today => since(0),
            Period::SevenDays => since(6),
            Period::ThirtyDays => since(29),
            Period::Range => Some((day(&self.from), day(&self.to))).filter(|days| *days != (None, None)),
        }
    }

    /// What is wrong with the dates of a range, in words.
    pub fn mistake(&self) -> Option<&'static str> {
        if self.period != Period::Range {
            return None;
        }
        let is_wrong = |text: &str| !text.is_empty() && day(text).is_none();
        match (day(&self.from), day(&self.to)) {
            _ if is_wrong(&self.from) || is_wrong(&self.to) => Some("Dates are written like 2026-01-31."),
            (Some(from), Some(to)) if from > to => Some("The first day is after the last one."),
            _ => None,
        }
    }

    /// Whether anything is asked of the studies at all.
    pub fn is_narrowed(&self) -> bool {
        let everything =
            Filters { sort: self.sort, page: self.page, as_of: self.as_of, ..Filters::default() };
        *self != everything
    }

    /// What is asked, to be read: `"doe", the last 7 days, CT or MR, description with "head"`.
    pub fn in_words(&self) -> String {
        let mut parts = Vec::new();
        if !self.text.is_empty() {
            parts.push(format!("\u{201c}{}\u{201d}", self.text));
        }
        match (self.period, self.from.as_str(), self.to.as_str()) {
            (Period::Any, ..) | (Period::Range, "", "") => {}
            (Period::Today, ..) => parts.push("today".to_owned()),
            (Period::SevenDays, ..) => parts.push("the last 7 days".to_owned()),
            (Period::ThirtyDays, ..) => parts.push("the last 30 days".to_owned()),
            (Period::Range, from, "") => parts.push(format!("from {from} on")),
            (Period::Range, "", to) => parts.push(format!("up to {to}")),
            (Period::Range, from, to) => parts.push(format!("from {from} to {to}")),
        }
        if !self.modalities.is_empty() {
            parts.push(self.modalities.join(" or "));
        }
        for (what, text) in [
            ("description", &self.description),
            ("referring physician", &self.referring),
            ("accession number", &self.accession),
            ("patient ID", &self.id),
            ("institution", &self.institution),
        ] {
            if !text.is_empty() {
                parts.push(format!("{what} with \u{201c}{text}\u{201d}"));
            }
        }
        if parts.is_empty() { "all studies".to_owned() } else { parts.join(", ") }
    }

    /// Whether one of the fields behind "More" is in use.
    pub fn uses_more(&self) -> bool {
        [&self.description, &self.referring, &self.accession, &self.id, &self.institution]
            .into_iter()
            .any(|text| !text.is_empty())
    }

    /// The address of this state of the list.
    pub fn address(&self) -> String {
        match self.fields() {
            fields if fields.is_empty() => "/studies".to_owned(),
            fields => format!("/studies?{fields}"),
        }
    }

    /// The part of an address behind the question mark.
    pub fn fields(&self) -> String {
        let mut pairs: Vec<(&str, String)> = Vec::new();
        let mut text = |name, value: &str| {
            if !value.is_empty() {
                pairs.push((name, value.to_owned()));
            }
        };
        text("q", &self.text);
        text("date", self.period.name());
        if self.period == Period::Range {
            text("from", &self.from);
            text("to", &self.to);
        }
        for modality in &self.modalities {
            text("modality", modality);
        }
        text("description", &self.description);
        text("referring", &self.referring);
        text("accession", &self.accession);
        text("id", &self.id);
        text("institution", &self.institution);
        if self.sort != USUAL {
            text("sort", self.sort_name());
            text("order", self.order_name());
        }
        if self.rows != PAGE_SIZES[0] {
            text("rows", &self.rows.to_string());
        }
        if self.page > 1 {
            text("page", &self.page.to_string());
            if let Some(as_of) = self.as_of {
                text("as_of", &as_of.to_string());
            }
        }
        serde_urlencoded::to_string(&pairs).unwrap_or_default()
    }

    /// The same search from its first page, in another order.
    pub fn sorted(&self, by: SortKey, direction: Direction) -> Filters {
        Filters { sort: Sort { by, direction }, ..self.first_page() }
    }

    /// The same search, another page of it.
    pub fn turned_to(&self, page: u64, as_of: Option<u64>) -> Filters {
        Filters { page, as_of, ..self.clone() }
    }

    /// The same search from its first page, with this many studies on each.
    pub fn with_rows(&self, rows: u64) -> Filters {
        Filters { rows, ..self.first_page() }
    }

    /// The same search on any date.
    pub fn of_any_date(&self) -> Filters {
        Filters { period: Period::Any, from: String::new(), to: String::new(), ..self.first_page() }
    }

    /// The same search in all modalities.
    pub fn of_any_modality(&self) -> Filters {
        Filters { modalities: Vec::new(), ..self.first_page() }
    }

    fn first_page(&self) -> Filters {
        Filters { page: 1, as_of: None, ..self.clone() }
    }

    /// The order's column, for the address.
    pub fn sort_name(&self) -> &'static str {
        COLUMNS.iter().find(|column| column.0 == self.sort.by).map_or("date", |column| column.1)
    }

    /// The order's direction, for the address.
    pub fn order_name(&self) -> &'static str {
        match self.sort.direction {
            Direction::Ascending => "asc",
            Direction::Descending => "desc",
        }
    }

    /// Whether the pages are of the usual size.
    pub fn is_usual_size(&self) -> bool {
        self.rows == PAGE_SIZES[0]
    }

    /// Whether the list is in its usual order.
    pub fn is_usual_order(&self) -> bool {
        self.sort == USUAL
    }
}

fn decoded(value: &str) -> String {
    let value = value.replace('+', " ");
    let value = percent_decode_str(&value).decode_utf8_lossy();
    let plain = value.chars().filter(|c| !c.is_control()).take(FIELD_LENGTH);
    plain.collect::<String>().trim().to_owned()
}

fn period(name: &str) -> Period {
    Period::ALL.into_iter().find(|period| period.name() == name).unwrap_or(Period::Any)
}

fn sort_by(name: &str) -> Sort {
    COLUMNS
        .iter()
        .find(|column| column.1 == name)
        .map_or(USUAL, |&(by, _, _, direction)| Sort { by, direction })
}

fn order(name: &str) -> Option<Direction> {
    match name {
        "asc" => Some(Direction::Ascending),
        "desc" => Some(Direction::Descending),
        _ => None,
    }
}

/// `2026-01-31` as browsers send it, or DICOM's `20260131`.
fn day(text: &str) -> Option<NaiveDate> {
    value::date(text)
}

#[cfg(test)]
mod tests;
