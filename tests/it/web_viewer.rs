//! The viewer and the page of an instance, as a browser without a script sees them.

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use reqwest::StatusCode;
use scraper::{Html, Selector};

use crate::support::TestServer;
use crate::support::instance::slice;

fn selected<'a>(page: &'a Html, selector: &str) -> Vec<scraper::ElementRef<'a>> {
    page.select(&Selector::parse(selector).expect("a selector")).collect()
}

fn one<'a>(page: &'a Html, selector: &str) -> scraper::ElementRef<'a> {
    selected(page, selector).into_iter().next().unwrap_or_else(|| panic!("the page has no {selector}"))
}

fn text(page: &Html, selector: &str) -> String {
    one(page, selector).text().collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn attribute(page: &Html, selector: &str, name: &str) -> String {
    one(page, selector).attr(name).unwrap_or_default().to_owned()
}

/// Three slices whose order by number is not their order of arrival.
async fn three_slices() -> TestServer {
    let pacs = TestServer::start().await;
    let slices: Vec<_> = [3, 1, 2]
        .into_iter()
        .map(|number| {
            slice(1, 1, 1, number)
                .text(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, "1\\0\\0\\0\\1\\0")
                .text(tags::IMAGE_POSITION_PATIENT, VR::DS, &format!("0\\0\\{}", number * 5))
                .text(tags::PIXEL_SPACING, VR::DS, "0.5\\0.5")
                .text(tags::INSTITUTION_NAME, VR::LO, "Practice <b>at</b> the Park")
                .build()
        })
        .collect();
    let answers = pacs.store_all(&slices).await;
    assert!(answers.iter().all(crate::support::Answer::is_success), "{answers:?}");
    pacs
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_is_a_link_and_the_ends_are_ends() {
    let pacs = three_slices().await;
    let first = pacs.page("/studies/1.2.3.1/viewer").await;
    assert_eq!(text(&first, "[data-text=place]"), "Image 1 of 3");
    assert_eq!(attribute(&first, "[data-image]", "src"), "/instances/1.2.3.1.1.1/frames/1.png");
    assert!(one(&first, "[data-step=previous]").attr("href").is_none());
    assert!(one(&first, "[data-step=first]").attr("href").is_none());

    let second = pacs.page(&attribute(&first, "[data-step=next]", "href")).await;
    assert_eq!(attribute(&second, "[data-image]", "src"), "/instances/1.2.3.1.1.2/frames/1.png");
    assert_eq!(text(&second, "[data-text=position]"), "Position 10 mm");
    let last = pacs.page(&attribute(&second, "[data-step=last]", "href")).await;
    assert_eq!(text(&last, "[data-text=place]"), "Image 3 of 3");
    assert!(one(&last, "[data-step=next]").attr("href").is_none());
    // A number past the end, from an address somebody kept, is the end.
    let past = pacs.page("/studies/1.2.3.1/viewer?n=99").await;
    assert_eq!(text(&past, "[data-text=place]"), "Image 3 of 3");
    let named = pacs.page("/studies/1.2.3.1/viewer?instance=1.2.3.1.1.2").await;
    assert_eq!(text(&named, "[data-text=place]"), "Image 2 of 3");
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_inversion_and_size_are_addresses_that_keep_the_rest() {
    let pacs = three_slices().await;
    let page = pacs.page("/studies/1.2.3.1/viewer?n=2").await;
    let lung = selected(&page, ".window-list a")
        .into_iter()
        .find(|link| link.text().any(|text| text.contains("Lung")))
        .and_then(|link| link.attr("href"))
        .expect("a lung window for CT");

    let page = pacs.page(lung).await;
    assert_eq!(text(&page, "[data-text=window]"), "C -600 W 1500");
    assert_eq!(text(&page, "[data-text=place]"), "Image 2 of 3");
    let page = pacs.page(&attribute(&page, "[data-invert]", "href")).await;
    assert_eq!(attribute(&page, "[data-invert]", "aria-pressed"), "true");
    assert!(attribute(&page, "[data-image]", "src").ends_with("?wc=-600&ww=1500&invert=1"));
    let page = pacs.page(&attribute(&page, "a[data-zoom='1']", "href")).await;
    assert_eq!(selected(&page, ".pane-actual").len(), 1);
    let page = pacs.page(&attribute(&page, "[data-reset]", "href")).await;
    assert_eq!(text(&page, "[data-text=window]"), "C 128 W 256");
    assert_eq!(attribute(&page, "[data-invert]", "aria-pressed"), "false");
    assert_eq!(text(&page, "[data-text=place]"), "Image 2 of 3");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_corners_edges_and_ruler_come_from_the_image() {
    let pacs = three_slices().await;
    let page = pacs.page("/studies/1.2.3.1/viewer").await;
    let edges: Vec<String> = ["left", "right", "top", "bottom"]
        .iter()
        .map(|edge| text(&page, &format!("[data-edge={edge}]")))
        .collect();
    assert_eq!(edges, ["R", "L", "A", "P"]);
    assert!(text(&page, ".corner-top-left").starts_with("Doe, Jane1"));
    assert_eq!(text(&page, ".corner-top-right p"), "Practice <b>at</b> the Park", "hostile text stays text");
    assert_eq!(text(&page, ".scale-wide"), "2 mm");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clip_is_stepped_by_frames_with_a_slider_that_is_a_form() {
    let pacs = TestServer::start().await;
    let clip = slice(1, 1, 1, 1)
        .text(tags::NUMBER_OF_FRAMES, VR::IS, "5")
        .text(tags::FRAME_TIME, VR::DS, "40")
        .bytes(tags::PIXEL_DATA, VR::OB, vec![7; 5 * 256])
        .build();
    assert!(pacs.store(&clip).await.is_success());

    let page = pacs.page("/studies/1.2.3.1/viewer?frame=2").await;
    assert_eq!(text(&page, "[data-text=place]"), "Frame 2 of 5");
    assert_eq!(attribute(&page, "[data-slider] input[type=range]", "name"), "frame");
    assert_eq!(attribute(&page, "[data-slider] input[type=range]", "max"), "5");
    assert_eq!(attribute(&page, "[data-rate]", "value"), "25");
    let next = pacs.page(&attribute(&page, "[data-step=next]", "href")).await;
    assert_eq!(attribute(&next, "[data-image]", "src"), "/instances/1.2.3.1.1.1/frames/3.png");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_addresses_are_refused_in_words() {
    let pacs = three_slices().await;
    for (path, status) in [
        ("/studies/9.9/viewer", StatusCode::NOT_FOUND),
        ("/studies/1.2.3.1/viewer?series=9.9", StatusCode::NOT_FOUND),
        ("/studies/1.2.3.1/viewer?n=none", StatusCode::BAD_REQUEST),
        ("/studies/1.2.3.1/viewer?wc=40", StatusCode::BAD_REQUEST),
        ("/studies/1.2.3.1/viewer?zoom=7", StatusCode::BAD_REQUEST),
        ("/studies/1.2.3.1/viewer/stack.json?series=9.9", StatusCode::NOT_FOUND),
        ("/instances/9.9", StatusCode::NOT_FOUND),
        ("/instances/..%2f..%2fetc", StatusCode::NOT_FOUND),
    ] {
        assert_eq!(pacs.get(path).await.status(), status, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_script_gets_the_same_order_and_the_same_words() {
    let pacs = three_slices().await;
    let stack: serde_json::Value =
        pacs.get("/studies/1.2.3.1/viewer/stack.json?series=1.2.3.1.1").await.json().await.expect("JSON");
    let uids: Vec<&str> =
        stack.as_array().expect("a list").iter().filter_map(|entry| entry["uid"].as_str()).collect();
    assert_eq!(uids, ["1.2.3.1.1.1", "1.2.3.1.1.2", "1.2.3.1.1.3"]);
    let caption: serde_json::Value =
        pacs.get("/instances/1.2.3.1.1.2/frames/1/caption.json").await.json().await.expect("JSON");
    assert_eq!(caption["position"], "Position 10 mm");
    assert_eq!(caption["window_range"], serde_json::json!([128.0, 256.0]));
    assert_eq!(caption["problem"], serde_json::Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_says_in_words_why_a_frame_cannot_be_shown() {
    let pacs = TestServer::start().await;
    let unknown = slice(1, 1, 1, 1).text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "SEPIA").build();
    assert!(pacs.store(&unknown).await.is_success());

    let page = pacs.page("/studies/1.2.3.1/viewer").await;
    let sentence = text(&page, "[data-problem-text]");
    assert!(sentence.contains("Photometric Interpretation") && sentence.ends_with('.'), "{sentence}");
    assert!(one(&page, "[data-problem]").attr("hidden").is_none());
    assert_eq!(attribute(&page, "[data-problem] a", "href"), "/instances/1.2.3.1.1.1.dcm");
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_are_listed_with_what_they_are() {
    let pacs = three_slices().await;
    let report = slice(1, 1, 7, 1)
        .text(tags::SOP_CLASS_UID, VR::UI, uids::BASIC_TEXT_SR_STORAGE)
        .text(tags::MODALITY, VR::CS, "SR")
        .build();
    let mut report = report;
    let at = report.data_set.windows(4).rposition(|tag| tag == [0xE0, 0x7F, 0x10, 0x00]).expect("Pixel Data");
    report.data_set.truncate(at);
    assert!(pacs.store(&report).await.is_success());

    let page = pacs.page("/studies/1.2.3.1/viewer").await;
    let entries = selected(&page, ".strip-entry");
    assert_eq!(entries.len(), 2);
    let entry = entries.get(1).expect("the report");
    assert!(entry.text().collect::<String>().contains("Structured report"));
    let page = pacs.page(entry.attr("href").expect("a link")).await;
    assert_eq!(text(&page, ".document-card h2"), "Structured report");
    assert!(selected(&page, "a[href='/instances/1.2.3.1.7.1']").len() == 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_attributes_are_shown_and_found() {
    let pacs = TestServer::start().await;
    let instance = slice(1, 1, 1, 1)
        .text(dicom_core::Tag(0x0029, 0x0010), VR::LO, "ACME 1.0")
        .text(dicom_core::Tag(0x0029, 0x1001), VR::LO, "<script>alert(1)</script>")
        .build();
    assert!(pacs.store(&instance).await.is_success());

    let page = pacs.page("/instances/1.2.3.1.1.1").await;
    let rows: Vec<String> = selected(&page, ".attributes tbody tr")
        .iter()
        .map(|row| row.text().collect::<String>().split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    for wanted in [
        "(0002,0010) UI Transfer Syntax UID 1.2.840.10008.1.2.1",
        "(0010,0010) PN Patient Name Doe^Jane1",
        "(0029,1001) LO Private, ACME 1.0 <script>alert(1)</script>",
        "(7FE0,0010) OB Pixel Data Pixels, 0.1 MB",
    ] {
        assert!(rows.iter().any(|row| row == wanted), "{wanted} is not among {rows:#?}");
    }
    let found = pacs.page("/instances/1.2.3.1.1.1?q=0010,0010").await;
    assert_eq!(selected(&found, ".attributes tbody tr").len(), 1);
    let none = pacs.page("/instances/1.2.3.1.1.1?q=%3Cb%3Enowhere").await;
    assert!(text(&none, ".attributes-none").contains("<b>nowhere"));
}
