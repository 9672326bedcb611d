//! The list and the page of a study in a real browser, with a person's hands on keyboard and mouse.

use dicom_core::VR;
use dicom_dictionary_std::tags;

use crate::support::TestServer;
use crate::support::browser::Browser;
use crate::support::instance::slice;

#[tokio::test]
async fn the_list_is_searched_walked_and_opened_by_hand() {
    let pacs = TestServer::start().await;
    let named = |number: u32, name: &str, modality: &str| {
        let instance = slice(number, number, 1, 1).text(tags::PATIENT_NAME, VR::PN, name);
        instance.text(tags::MODALITY, VR::CS, modality).build()
    };
    pacs.store_all(&[named(1, "Doe^Jane", "CT"), named(2, "Roe^Richard", "MR"), named(3, "Doe^John", "MR")])
        .await;
    let browser = Browser::start(1440, 1000).await;
    browser.sign_in(&pacs, "admin").await;
    browser.open(&pacs.address("/studies")).await;

    // "/" goes to the field, and typing is enough.
    browser.type_keys("/doe").await;
    browser.until("document.querySelectorAll('[data-study]').length === 2").await;
    assert!(browser.script("return location.search").await.as_str().is_some_and(|search| search == "?q=doe"));
    // A chip narrows it at once.
    browser.click("label.chip:has(input[value=CT])").await;
    browser.until("document.querySelectorAll('[data-study]').length === 1").await;

    // j goes to the first row and Enter opens it. A click anywhere in a row does too.
    browser.click("h1, .list-status").await;
    browser.type_keys("j\u{E007}").await;
    browser.until("location.pathname === '/studies/1.2.3.1'").await;
    browser.open(&pacs.address("/studies?q=roe")).await;
    browser.click("td.description").await;
    browser.until("location.pathname === '/studies/1.2.3.2'").await;
    browser.until("[...document.images].every((image) => image.complete && image.naturalWidth > 0)").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

#[tokio::test]
async fn an_arrival_appears_by_itself_and_is_announced() {
    let pacs = TestServer::start().await;
    let browser = Browser::start(1440, 1000).await;
    browser.sign_in(&pacs, "admin").await;
    browser.open(&pacs.address("/studies")).await;
    browser.until("document.body.innerText.includes('The archive is empty')").await;

    pacs.store(&slice(1, 1, 1, 1).build()).await;
    browser.until("document.querySelector('tr.arrived[data-study=\"1.2.3.1\"]')").await;
    let announced = browser.script("return document.querySelector('[data-announce]').textContent").await;
    assert_eq!(announced, "New: Doe, Jane1");
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

#[tokio::test]
async fn no_page_is_wider_than_its_window() {
    let pacs = TestServer::start().await;
    let long = "สมชาย".repeat(12) + "สมชา";
    let instance = slice(1, 1, 1, 1)
        .text(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192")
        .text(tags::PATIENT_NAME, VR::PN, &long)
        .text(tags::STUDY_DESCRIPTION, VR::LO, &"W".repeat(64))
        .text(tags::ACCESSION_NUMBER, VR::SH, &"8".repeat(16));
    pacs.store(&instance.clone().build()).await;
    pacs.store(&instance.side(20).build()).await;
    let browser = Browser::start(1440, 1000).await;
    browser.sign_in(&pacs, "admin").await;
    for width in [360, 900] {
        browser.resize(width, 800).await;
        for path in [
            "/studies",
            "/studies?q=nothing",
            "/studies/1.2.3.1",
            "/studies/1.2.3.1/access",
            "/patients/1",
            "/admin/users",
            "/admin/users/1",
            "/admin/groups",
            "/admin/roles",
            "/admin/sign-in",
            "/admin/peers",
            "/admin/quarantine",
            "/admin/quarantine/1",
            "/admin/system",
            "/upload",
        ] {
            browser.open(&pacs.address(path)).await;
            let root = "document.documentElement";
            let hidden = browser.script(&format!("return {root}.scrollWidth - {root}.clientWidth")).await;
            assert_eq!(hidden, 0, "{path} at {width}");
        }
    }
}
