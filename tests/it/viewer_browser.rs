//! The viewer in a real browser: wheel, keys, presets and cine, each state an address; and the same pages with
//! scripts off.

use dicom_core::VR;
use dicom_dictionary_std::tags;

use crate::support::TestServer;
use crate::support::browser::Browser;
use crate::support::instance::slice;

const VIEWER: &str = "/studies/1.2.3.1/viewer";
const ARROW_DOWN: &str = "\u{E015}";
const END: &str = "\u{E010}";
const HOME: &str = "\u{E011}";

/// A CT series of eight slices and a clip of six frames.
async fn study() -> TestServer {
    let pacs = TestServer::start().await;
    let mut instances: Vec<_> = (1..=8).map(|number| slice(1, 1, 1, number).side(64).build()).collect();
    let clip = slice(1, 1, 2, 1)
        .side(32)
        .text(tags::MODALITY, VR::CS, "US")
        .text(tags::NUMBER_OF_FRAMES, VR::IS, "6")
        .text(tags::FRAME_TIME, VR::DS, "50")
        .bytes(
            tags::PIXEL_DATA,
            VR::OB,
            (0..6 * 32 * 32_u32).map(|n| (n / 1024 * 40 + n % 40) as u8).collect(),
        );
    instances.push(clip.build());
    for answer in pacs.store_all(&instances).await {
        assert!(answer.is_success(), "{answer:?}");
    }
    pacs
}

/// The address of the picture that is shown, behind its last slash.
async fn shown(browser: &Browser) -> String {
    let script = "return document.querySelector('[data-image]').getAttribute('src')";
    browser.script(script).await.as_str().expect("a picture").to_owned()
}

#[tokio::test]
async fn keys_and_wheel_walk_through_a_series_and_every_state_is_an_address() {
    let pacs = study().await;
    let browser = Browser::start(1440, 1000).await;
    browser.sign_in(&pacs, "admin").await;
    browser.open(&pacs.address(VIEWER)).await;
    browser.until("document.querySelector('[data-image]').naturalWidth > 0").await;
    assert!(shown(&browser).await.contains("/instances/1.2.3.1.1.1/frames/1.png"));

    browser.type_keys(ARROW_DOWN).await;
    browser.until("document.querySelector('[data-image]').src.includes('/instances/1.2.3.1.1.2/')").await;
    browser.type_keys(END).await;
    browser.until("document.querySelector('[data-image]').src.includes('/instances/1.2.3.1.1.8/')").await;
    browser.until("location.search.includes('n=8')").await;
    let at_the_end = browser.script("return location.href").await;
    browser.type_keys(HOME).await;
    browser.until("document.querySelector('[data-image]').src.includes('/instances/1.2.3.1.1.1/')").await;

    browser.type_keys("i").await;
    browser.until("location.search.includes('invert')").await;
    browser.type_keys("r").await;
    browser.until("!location.search.includes('invert')").await;

    let wheel = "document.querySelector('[data-image]').dispatchEvent(\
        new WheelEvent('wheel', { deltaY: 120, bubbles: true, cancelable: true }))";
    browser.script(wheel).await;
    browser.until("document.querySelector('[data-image]').src.includes('/instances/1.2.3.1.1.2/')").await;

    // The address that was shown at the end leads there again.
    browser.open(at_the_end.as_str().expect("an address")).await;
    browser.until("document.querySelector('[data-image]').src.includes('/instances/1.2.3.1.1.8/')").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_clip_plays_and_stops() {
    let pacs = study().await;
    let browser = Browser::start(1440, 1000).await;
    browser.sign_in(&pacs, "admin").await;
    browser.open(&pacs.address(&format!("{VIEWER}?series=1.2.3.1.2"))).await;
    browser.until("document.querySelector('[data-image]').naturalWidth > 0").await;
    assert!(shown(&browser).await.contains("/instances/1.2.3.1.2.1/frames/1.png"));

    browser.until("document.querySelector('[data-play]').offsetWidth > 0").await;
    browser.click("[data-play]").await;
    browser.until("document.querySelector('[data-image]').src.includes('/frames/4.png')").await;
    browser.click("[data-play]").await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let stopped = shown(&browser).await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(shown(&browser).await, stopped);
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

#[tokio::test]
async fn with_scripts_off_the_same_controls_are_links_and_forms() {
    let pacs = study().await;
    let link = |page: &scraper::Html, step: &str| {
        let selector = scraper::Selector::parse(&format!("a[data-step={step}]")).expect("a selector");
        page.select(&selector).next().and_then(|link| link.attr("href")).map(str::to_owned)
    };
    let picture = |page: &scraper::Html| {
        let selector = scraper::Selector::parse("img[data-image]").expect("a selector");
        let image = page.select(&selector).next().expect("a picture");
        image.attr("src").expect("its address").to_owned()
    };
    // From the list to the study to the viewer, and through it, by links alone.
    let mut address = VIEWER.to_owned();
    for number in 1..=8 {
        let page = pacs.page(&address).await;
        let src = picture(&page);
        assert!(src.contains(&format!("/instances/1.2.3.1.1.{number}/")), "{src}");
        let bytes = pacs.get(&src).await.bytes().await.expect("bytes");
        assert_eq!(bytes.get(..4), Some(b"\x89PNG".as_slice()), "{src}");
        match link(&page, "next") {
            Some(next) => address = next,
            None => assert_eq!(number, 8, "only the last has no next"),
        }
    }
    let typed = pacs.page(&format!("{VIEWER}?series=1.2.3.1.1&wc=100&ww=50&invert=1")).await;
    let src = picture(&typed);
    assert!(src.contains("wc=100") && src.contains("ww=50") && src.contains("invert"), "{src}");
    let wrong = pacs.get(&format!("{VIEWER}?wc=much&ww=50")).await;
    assert_eq!(wrong.status(), 400);
}
