//! The study list, the page of a study and the page of a patient.

use std::time::Duration;

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use mysql_async::prelude::Queryable;
use scraper::{ElementRef, Html, Selector};

use crate::support::TestServer;
use crate::support::instance::{Instance, slice};

pub(crate) fn all<'a>(page: &'a Html, selector: &str) -> Vec<ElementRef<'a>> {
    page.select(&Selector::parse(selector).expect("a selector")).collect()
}

pub(crate) fn texts(page: &Html, selector: &str) -> Vec<String> {
    let text = |element: &ElementRef| element.text().collect::<String>();
    let squeezed = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    all(page, selector).iter().map(text).map(squeezed).collect()
}

/// Studies as the list shows them: the number in `1.2.3.{study}`.
async fn listed(pacs: &TestServer, query: &str) -> Vec<String> {
    let page = pacs.page(&format!("/studies?{query}")).await;
    let uid = |row: &ElementRef| row.attr("data-study").expect("a UID").to_owned();
    let number = |uid: String| uid.trim_start_matches("1.2.3.").to_owned();
    all(&page, "[data-study]").iter().map(uid).map(number).collect()
}

/// Five studies that differ in everything one can look for.
fn five() -> Vec<Instance> {
    let study = |number: u32, name: &str, date: &str, modality: &str, description: &str| {
        slice(number, number, 1, 1)
            .text(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192")
            .text(tags::PATIENT_NAME, VR::PN, name)
            .text(tags::STUDY_DATE, VR::DA, date)
            .text(tags::MODALITY, VR::CS, modality)
            .text(tags::STUDY_DESCRIPTION, VR::LO, description)
            .build()
    };
    vec![
        study(1, "Müller^Änne", "20260101", "CT", "Head 100%"),
        study(2, "Yamada^Tarou=山田^太郎=やまだ^たろう", "20260102", "MR", "Knee"),
        study(3, "O'Hara^Scarlett", "20260103", "CT", "Head_neck"),
        study(4, "Doe^Jane", "20260104", "US", "Abdomen"),
        study(5, "Doe^John", "20260105", "MR", "Brain"),
    ]
}

#[tokio::test]
async fn the_list_finds_what_a_person_means() {
    let pacs = TestServer::start().await;
    assert!(pacs.store_all(&five()).await.iter().all(|answer| answer.is_success()));

    for (query, expected) in [
        ("", vec!["5", "4", "3", "2", "1"]),
        ("q=muller", vec!["1"]),
        ("q=M%C3%9CLLER+anne", vec!["1"]),
        ("q=ohara", vec!["3"]),
        ("q=o%27hara", vec!["3"]),
        ("q=%E5%B1%B1%E7%94%B0", vec!["2"]),
        ("q=%E3%81%9F%E3%82%8D%E3%81%86", vec!["2"]),
        ("q=doe", vec!["5", "4"]),
        ("q=Jane+Doe", vec!["4"]),
        ("q=Doe%2C+J*n", vec!["5", "4"]),
        ("q=p3", vec!["3"]),
        ("q=acc2", vec!["2"]),
        ("q=doe+acc5", vec!["5"]),
        ("q=%25", vec![]),
        ("q=_", vec![]),
        ("modality=CT", vec!["3", "1"]),
        ("modality=CT&modality=US", vec!["4", "3", "1"]),
        ("date=range&from=2026-01-02&to=2026-01-03", vec!["3", "2"]),
        ("from=2026-01-04", vec!["5", "4"]),
        ("description=100%25", vec!["1"]),
        ("description=head_", vec!["3"]),
        ("description=HEAD", vec!["3", "1"]),
        ("referring=gregory+house", vec!["5", "4", "3", "2", "1"]),
        ("referring=wilson", vec![]),
        ("accession=ACC4&id=p4", vec!["4"]),
        ("institution=none", vec![]),
    ] {
        assert_eq!(listed(&pacs, query).await, expected, "{query}");
    }
}

#[tokio::test]
async fn the_list_sorts_by_every_heading_in_both_directions() {
    let pacs = TestServer::start().await;
    pacs.store_all(&five()).await;

    let page = pacs.page("/studies").await;
    let headings: Vec<String> = all(&page, "thead th a")
        .iter()
        .map(|link| link.attr("href").expect("an address").to_owned())
        .collect();
    assert_eq!(headings.len(), 8);
    for heading in headings {
        let page = pacs.page(&heading).await;
        assert_eq!(all(&page, "[data-study]").len(), 5, "{heading}");
        assert_eq!(all(&page, "th[aria-sort]").len(), 1, "{heading}");
    }
    assert_eq!(listed(&pacs, "sort=patient").await, ["4", "5", "1", "3", "2"]);
    assert_eq!(listed(&pacs, "sort=patient&order=desc").await, ["2", "3", "1", "5", "4"]);
    assert_eq!(listed(&pacs, "sort=date&order=asc").await, ["1", "2", "3", "4", "5"]);
    assert_eq!(listed(&pacs, "sort=description").await, ["4", "5", "1", "3", "2"]);
}

#[tokio::test]
async fn turning_pages_shows_every_study_once_while_others_arrive() {
    let pacs = TestServer::start().await;
    let studies: Vec<Instance> = (1..=60).map(|number| slice(number, number, 1, 1).build()).collect();
    pacs.store_all(&studies).await;

    let mut seen = Vec::new();
    let mut address = Some("/studies".to_owned());
    while let Some(here) = address {
        let page = pacs.page(&here).await;
        seen.extend(
            all(&page, "[data-study]").iter().map(|row| row.attr("data-study").expect("a UID").to_owned()),
        );
        let position = texts(&page, ".list-status .position").concat();
        assert!(position.ends_with("of 60"), "{position}");
        address =
            all(&page, "a[rel=next]").first().map(|link| link.attr("href").expect("an address").to_owned());
        // One more arrives in front of those on the next page.
        let number = 100 + u32::try_from(seen.len()).expect("few");
        pacs.store(&slice(number, number, 1, 1).text(tags::STUDY_DATE, VR::DA, "20261123").build()).await;
    }

    let mut unique = seen.clone();
    unique.sort();
    unique.dedup();
    assert_eq!((seen.len(), unique.len()), (60, 60));
}

/// SELECTs that a page costs. Other tests share the server, so the least of many tries is the page's own.
async fn selects(pacs: &TestServer, path: &str) -> u64 {
    let mut conn = pacs.database.connect().await;
    let mut least = u64::MAX;
    for _ in 0..25 {
        let mut counted = async || {
            let row: Option<(String, u64)> =
                conn.query_first("SHOW GLOBAL STATUS LIKE 'Com_select'").await.expect("a status");
            row.expect("a row").1
        };
        let before = counted().await;
        pacs.page(path).await;
        least = least.min(counted().await - before);
    }
    least
}

#[tokio::test]
async fn fifty_rows_cost_no_more_statements_than_one() {
    let pacs = TestServer::start().await;
    pacs.store(&slice(1, 1, 1, 1).build()).await;
    let (list, study) = (selects(&pacs, "/studies").await, selects(&pacs, "/studies/1.2.3.1").await);
    let more: Vec<Instance> = (2..=50)
        .flat_map(|number| [slice(number, number, 1, 1).build(), slice(1, 1, number, 1).build()])
        .collect();
    pacs.store_all(&more).await;

    assert_eq!(all(&pacs.page("/studies").await, "[data-study]").len(), 25);
    assert_eq!(all(&pacs.page("/studies/1.2.3.1").await, ".series-card").len(), 50);
    assert_eq!((selects(&pacs, "/studies").await, selects(&pacs, "/studies/1.2.3.1").await), (list, study));
    // Whose session it is, and whether an administrator needs a second factor, are two of them.
    assert!(list <= 6, "{list} statements for a list");
}

#[tokio::test]
async fn nothing_found_says_what_was_looked_for_and_offers_to_widen() {
    let pacs = TestServer::start().await;
    pacs.store(&slice(1, 1, 1, 1).build()).await;

    let page = pacs.page("/studies?q=nobody&date=today&modality=CT").await;
    assert_eq!(texts(&page, ".notice h2"), ["No study matches"]);
    assert!(texts(&page, ".notice p").concat().contains("\u{201c}nobody\u{201d}, today, CT"));
    let offers: Vec<_> = all(&page, ".notice a").iter().filter_map(|link| link.attr("href")).collect();
    assert_eq!(offers, ["/studies?q=nobody&modality=CT", "/studies?q=nobody&date=today", "/studies"]);
}

#[tokio::test]
async fn an_empty_archive_says_how_to_fill_it() {
    let pacs = TestServer::start().await;
    let page = pacs.page("/studies").await;
    let commands = texts(&page, ".commands").concat();
    let port = pacs.dicom.port();
    assert!(commands.contains(&format!("echoscu -aec FILMROOM 127.0.0.1 {port}")), "{commands}");
    assert!(commands.contains(&format!("storescu -aec FILMROOM 127.0.0.1 {port}")), "{commands}");
}

#[tokio::test]
async fn a_name_that_is_markup_stays_text() {
    let pacs = TestServer::start().await;
    let name = "<script>alert(1)</script>^\"onload=x";
    let hostile = slice(1, 1, 1, 1)
        .text(tags::PATIENT_NAME, VR::PN, name)
        .text(tags::STUDY_DESCRIPTION, VR::LO, "<img src=x>")
        .build();
    pacs.store(&hostile).await;
    for address in ["/studies", "/studies/1.2.3.1", "/patients/1", "/studies?q=%3Cscript%3E%22"] {
        let page = pacs.page(address).await;
        assert!(all(&page, "script").iter().all(|script| script.attr("src").is_some()), "{address}");
        assert!(all(&page, "img[src=x]").is_empty(), "{address}");
    }
}

#[tokio::test]
async fn a_study_shows_its_series_documents_and_the_patients_other_studies() {
    let pacs = TestServer::start().await;
    let report = slice(1, 1, 9, 1)
        .text(tags::SOP_CLASS_UID, VR::UI, uids::BASIC_TEXT_SR_STORAGE)
        .text(tags::MODALITY, VR::CS, "SR")
        .without(tags::PIXEL_DATA)
        .build();
    let mut instances = vec![
        slice(1, 1, 2, 1).text(tags::SERIES_DESCRIPTION, VR::LO, "Coronal").build(),
        slice(1, 1, 1, 1).text(tags::SERIES_DESCRIPTION, VR::LO, "Axial").build(),
        slice(1, 1, 1, 2).text(tags::SERIES_DESCRIPTION, VR::LO, "Axial").build(),
        without_pixels(report),
    ];
    for study in 2..=8 {
        let modality = if study == 8 { "CT" } else { "MR" };
        let date = format!("2026010{study}");
        let other = slice(1, study, 1, 1).text(tags::MODALITY, VR::CS, modality);
        instances.push(other.text(tags::STUDY_DATE, VR::DA, &date).build());
    }
    assert!(pacs.store_all(&instances).await.iter().all(|answer| answer.is_success()));

    let page = pacs.page("/studies/1.2.3.1").await;
    assert_eq!(texts(&page, "h1"), ["Doe, Jane1"]);
    assert_eq!(texts(&page, ".series-title"), ["1 Axial", "2 Coronal"]);
    assert_eq!(texts(&page, ".series-facts"), ["CT 2 images", "CT 1 image"]);
    let viewer: Vec<_> = all(&page, ".series-card a").iter().filter_map(|link| link.attr("href")).collect();
    assert_eq!(viewer[0], "/studies/1.2.3.1/viewer?series=1.2.3.1.1");
    let documents: Vec<_> = all(&page, ".documents a").iter().filter_map(|link| link.attr("href")).collect();
    assert_eq!(documents, ["/instances/1.2.3.1.9.1", "/instances/1.2.3.1.9.1.dcm"]);
    assert!(texts(&page, ".documents .muted").concat().contains("Structured report"));
    // Same modality first, then by date; five are shown at once and the rest is folded away.
    let others: Vec<_> = all(&page, ".other-studies a").iter().filter_map(|link| link.attr("href")).collect();
    assert_eq!(others[..2], ["/studies/1.2.3.8", "/studies/1.2.3.7"]);
    assert_eq!((others.len(), all(&page, ".more-others li").len()), (7, 2));

    let page = pacs.page("/patients/1").await;
    assert_eq!(all(&page, "[data-study]").len(), 8);
}

/// The test's own builder always adds pixels; a report has none.
fn without_pixels(mut instance: Instance) -> Instance {
    let pixels = [0xE0, 0x7F, 0x10, 0x00];
    if let Some(at) = instance.data_set.windows(4).position(|window| window == pixels) {
        instance.data_set.truncate(at);
    }
    instance
}

#[tokio::test]
async fn a_study_under_two_patients_names_both() {
    let pacs = TestServer::start().await;
    let stranger = slice(2, 1, 1, 2).build();
    pacs.store_all(&[slice(1, 1, 1, 1).build(), stranger]).await;

    let page = pacs.page("/studies/1.2.3.1").await;
    let flag = texts(&page, ".banner.warning").concat();
    assert!(
        flag.contains("2 patients") && flag.contains("Doe, Jane1") && flag.contains("Doe, Jane2"),
        "{flag}"
    );
    // And the other patient's page leads to it.
    let page = pacs.page("/patients/2").await;
    assert_eq!(all(&page, "[data-study='1.2.3.1']").len(), 1);
}

#[tokio::test]
async fn addresses_that_make_no_sense_are_not_found_and_never_a_fault() {
    let pacs = TestServer::start().await;
    let long = format!("/studies/{}", "1".repeat(200));
    for address in [
        "/nowhere",
        "/studies/9.9.9",
        "/studies/..%2f..%2fetc%2fpasswd",
        "/studies/%00",
        "/studies/%FF%FE",
        "/studies/1'%20OR%20'1'='1",
        long.as_str(),
        "/patients/0",
        "/patients/x",
        "/patients/99999999999999999999999999",
        "/admin/quarantine/7",
        "/admin/peers/7",
        "/static/../Cargo.toml",
        "/static/nothing.css",
    ] {
        let status = pacs.get(address).await.status().as_u16();
        assert!([400, 404].contains(&status), "{address}: {status}");
    }
    for query in
        ["page=99999999999999999999", "page=18446744073709551615&as_of=0", "q=%F0%9F%92%80", "sort=%00"]
    {
        assert_eq!(pacs.get(&format!("/studies?{query}")).await.status(), 200, "{query}");
    }
}

#[tokio::test]
async fn an_arrival_is_told_to_open_pages_and_the_stream_ends_with_the_server() {
    let mut pacs = TestServer::start().await;
    let mut events = pacs.get("/events").await;
    assert_eq!(events.headers()["content-type"], "text/event-stream; charset=utf-8");

    let mut told = String::new();
    pacs.store(&slice(1, 1, 1, 1).build()).await;
    while !told.contains("event: stored\ndata: 1.2.3.1\n") {
        let chunk = tokio::time::timeout(Duration::from_secs(10), events.chunk()).await;
        let chunk = chunk.expect("an event in time").expect("a stream").expect("more");
        told.push_str(&String::from_utf8_lossy(&chunk));
    }
    assert!(told.contains("event: receiving\n"), "{told}");

    let stopping = tokio::time::timeout(Duration::from_secs(20), pacs.stop());
    stopping.await.expect("a stop that does not wait for open pages").expect("a clean end");
}
