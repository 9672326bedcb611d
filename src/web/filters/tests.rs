//! What addresses become, and what they are made of.

use super::*;

fn today() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 3, 1).expect("a date")
}

fn keys(address: &str) -> Vec<Key> {
    Filters::parse(address).query(today()).keys
}

#[test]
fn every_state_survives_its_address() {
    for address in [
        "/studies",
        "/studies?q=M%C3%BCller+4711",
        "/studies?date=7d&modality=CT&modality=MR",
        "/studies?date=range&from=2026-01-01&to=2026-01-31",
        "/studies?description=50%25&referring=a%26b&accession=x&id=y&institution=z",
        "/studies?sort=patient&order=desc&page=3&as_of=77",
        "/studies?rows=100&page=2&as_of=77",
    ] {
        let query = address.split_once('?').map_or("", |(_, query)| query);
        assert_eq!(Filters::parse(query).address(), address);
    }
}

#[test]
fn nonsense_in_an_address_is_the_plain_list() {
    for query in [
        "page=0",
        "page=-1&as_of=x",
        "rows=1000000",
        "rows=0",
        "sort=password&order=sideways",
        "date=tomorrow",
        "modality=%27OR&modality=&modality=%E6%97%A5%E6%9C%AC",
        "q=%FF%00",
        "&&=&=x",
    ] {
        let filters = Filters::parse(query);
        assert_eq!(filters.page, 1, "{query}");
        assert!(filters.modalities.is_empty(), "{query}");
        assert_eq!(filters.sort, USUAL, "{query}");
    }
}

#[test]
fn seven_days_are_today_and_the_six_before() {
    let first = NaiveDate::from_ymd_opt(2026, 2, 23);
    let matching = Matching::Range(first, Some(today()));
    assert_eq!(keys("date=7d"), [Key { attribute: Attribute::StudyDate, matching }]);
    let matching = Matching::Range(Some(today()), Some(today()));
    assert_eq!(keys("date=today"), [Key { attribute: Attribute::StudyDate, matching }]);
}

#[test]
fn a_range_may_be_open_and_an_empty_one_asks_nothing() {
    let matching = Matching::Range(NaiveDate::from_ymd_opt(2026, 1, 1), None);
    assert_eq!(keys("from=2026-01-01"), [Key { attribute: Attribute::StudyDate, matching }]);
    assert!(keys("date=range&from=&to=").is_empty());
}

#[test]
fn wrong_dates_are_said_in_words() {
    assert!(Filters::parse("date=range&from=31.1.2026").mistake().is_some());
    assert!(Filters::parse("date=range&from=2026-02-01&to=2026-01-01").mistake().is_some());
    assert!(Filters::parse("date=range&from=2026-01-01&to=2026-02-01").mistake().is_none());
    assert!(Filters::parse("date=today&from=31.1.2026").mistake().is_none());
}

#[test]
fn a_first_click_on_a_heading_sorts_as_one_expects() {
    assert_eq!(Filters::parse("sort=patient").sort.direction, Direction::Ascending);
    assert_eq!(Filters::parse("sort=images").sort.direction, Direction::Descending);
}

#[test]
fn another_order_or_a_wider_search_starts_at_page_one() {
    let filters = Filters::parse("q=a&date=today&modality=CT&page=4&as_of=9");
    assert_eq!(filters.of_any_date().address(), "/studies?q=a&modality=CT");
    assert_eq!(filters.of_any_modality().address(), "/studies?q=a&date=today");
    assert_eq!(
        filters.sorted(SortKey::PatientName, Direction::Ascending).address(),
        "/studies?q=a&date=today&modality=CT&sort=patient&order=asc"
    );
}

#[test]
fn a_search_can_be_read_back() {
    let words = |query| Filters::parse(query).in_words();
    assert_eq!(words(""), "all studies");
    assert_eq!(
        words("q=doe&date=7d&modality=CT&modality=MR"),
        "\u{201c}doe\u{201d}, the last 7 days, CT or MR"
    );
    assert_eq!(words("from=2026-01-01&id=4"), "from 2026-01-01 on, patient ID with \u{201c}4\u{201d}");
}

#[test]
fn a_list_that_is_only_sorted_is_not_narrowed() {
    assert!(!Filters::parse("sort=patient&page=2").is_narrowed());
    assert!(Filters::parse("modality=CT").is_narrowed());
}
