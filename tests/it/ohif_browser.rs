//! The published OHIF viewer in a real browser, at our archive: the list, pictures, clips, documents and segmentations, as
//! whoever has signed in or came by a link.

use std::path::PathBuf;
use std::time::Duration;

use filmroom::db::role::Role;
use serde_json::Value;

use crate::support::browser::Browser;
use crate::support::{TestServer, files_below, ohif_folder, pydicom_data, python, store_files};

/// What `support/ohif.py` writes: twelve slices, a segmentation and a PDF.
const STUDY: &str = "1.2.826.0.1.3680043.10.43.1";
/// A clip of thirty frames of an ultrasound, JPEG, and a report; files of pydicom.
const CLIP: &str = "1.2.840.114340.3.8251017118051.1.20160503.120850.2171";
const REPORT: &str = "1.2.276.0.7230010.3.1.2.1787205428.166.1117461927.5";

/// The viewer is much code, and several windows draw at the same time.
const PATIENCE: Duration = Duration::from_secs(90);

/// A server with the viewer and the three studies, of which the first is referred by Smith^John.
async fn archive() -> TestServer {
    let pacs = TestServer::start_with(|config| config.ohif_dir = Some(ohif_folder())).await;
    let folder = tempfile::tempdir().expect("a folder");
    python("ohif.py", &[folder.path().display().to_string()]).await;
    let mut files = files_below(folder.path());
    files.extend(
        ["examples_ybr_color.dcm", "reportsi.dcm"].map(|name| pydicom_data().join("test_files").join(name)),
    );
    let paths: Vec<_> = files.iter().map(PathBuf::as_path).collect();
    for answer in store_files(pacs.dicom, &paths).await {
        assert!(answer.is_success(), "{answer:?}");
    }
    pacs
}

async fn signed_in(pacs: &TestServer, name: &str) -> Browser {
    let browser = Browser::start_drawing(1440, 900).await;
    browser.sign_in(pacs, name).await;
    browser
}

fn viewer(pacs: &TestServer, study: &str) -> String {
    pacs.address(&format!("/ohif/viewer?StudyInstanceUIDs={study}"))
}

/// Whether the page says this.
fn says(text: &str) -> String {
    format!("document.body.innerText.includes({text:?})")
}

/// A picture as numbers: how many shades there are, how many pixels are rather red, and a sum that changes with any. All
/// are 0 while the viewer changes what it draws on.
async fn picture(browser: &Browser) -> (u64, u64, u64) {
    let script = "
        const canvas = document.querySelector('canvas.cornerstone-canvas');
        if (!canvas?.width) return [0, 0, 0];
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        const shades = new Set();
        let red = 0, sum = 0;
        for (let at = 0; at < data.length; at += 4) {
            shades.add(data[at]);
            if (data[at] > data[at + 1] + 64 && data[at] > data[at + 2] + 64) red += 1;
            sum = (sum * 31 + data[at] * 65536 + data[at + 1] * 256 + data[at + 2]) % 4294967291;
        }
        return [shades.size, red, sum];";
    let found = browser.script(script).await;
    let number = |at: usize| found[at].as_u64().unwrap_or_else(|| panic!("numbers: {found}"));
    (number(0), number(1), number(2))
}

/// The one picture that is shown, when it is drawn.
async fn drawn(browser: &Browser) -> (u64, u64, u64) {
    for _ in 0..100 {
        let found = picture(browser).await;
        if found.0 > 16 {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("the picture stays blank");
}

/// Opens what stands in the list of series without a picture, by its place.
async fn open_document(browser: &Browser, modality: &str) {
    let mark = format!(
        "[...document.querySelectorAll('[data-cy=study-browser-thumbnail-no-image]')]
            .filter(card => card.innerText.startsWith('{modality}')).map(card => card.id = 'wanted').length === 1"
    );
    browser.within(PATIENCE, &mark).await;
    browser.double_click("#wanted").await;
}

/// What the browser did not let the viewer do, and what was not there.
async fn refusals(browser: &Browser) -> Vec<String> {
    let words = ["Content Security Policy", "Failed to load resource", "EvalError", "blocked", "ERR_"];
    let complaints = browser.complaints().await;
    complaints.into_iter().filter(|line| words.iter().any(|word| line.contains(word))).collect()
}

#[tokio::test]
async fn the_list_shows_the_studies_and_finds_them_by_name() {
    let pacs = archive().await;
    let browser = signed_in(&pacs, "admin").await;
    browser.open(&pacs.address("/ohif/")).await;
    for text in ["1-3 of 3", "Sailor, Anna", "CT head", "PLA", "Last Name, First Name"] {
        browser.within(PATIENCE, &says(text)).await;
    }
    assert_eq!(browser.script(&format!("return {}", says("Upload"))).await, Value::Bool(true));
    browser.click("input").await;
    browser.type_keys("sail").await;
    browser.within(PATIENCE, &says("1-1 of 1")).await;
    browser.within(PATIENCE, &says("Sailor, Anna")).await;
    assert_eq!(browser.script(&format!("return {}", says("PLA"))).await, Value::Bool(false));
    assert_eq!(refusals(&browser).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_series_opens_from_the_page_of_its_study_and_scrolls() {
    let pacs = archive().await;
    let browser = signed_in(&pacs, "admin").await;
    browser.open(&pacs.address(&format!("/studies/{STUDY}"))).await;
    browser.click("a[href^='/ohif/viewer']").await;
    browser.within(PATIENCE, &says("(1/12)")).await;
    let first = drawn(&browser).await;
    assert_eq!(browser.script("return self.crossOriginIsolated").await, Value::Bool(true));

    browser.click("canvas.cornerstone-canvas").await;
    let mut seen = vec![first.2];
    for slice in 2..=4 {
        browser.type_keys("\u{E015}").await;
        browser.within(PATIENCE, &says(&format!("({slice}/12)"))).await;
        let last = *seen.last().expect("one");
        for _ in 0..50 {
            if picture(&browser).await.2 != last {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let shown = drawn(&browser).await;
        assert!(!seen.contains(&shown.2), "slice {slice} is another picture");
        seen.push(shown.2);
    }
    assert_eq!(refusals(&browser).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_clip_plays() {
    let pacs = archive().await;
    let browser = signed_in(&pacs, "admin").await;
    browser.open(&viewer(&pacs, CLIP)).await;
    browser.within(PATIENCE, &says("(1/30)")).await;
    let first = drawn(&browser).await;
    browser.click("[data-cy=cine-player-play-pause]").await;
    browser.within(PATIENCE, r"/\((1\d|2\d)\/30\)/.test(document.body.innerText)").await;
    browser.click("[data-cy=cine-player-play-pause]").await;
    assert_ne!(drawn(&browser).await.2, first.2, "another frame is another picture");
    assert_eq!(refusals(&browser).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_segmentation_and_a_pdf_open() {
    let pacs = archive().await;
    let browser = signed_in(&pacs, "admin").await;
    browser.open(&viewer(&pacs, STUDY)).await;
    browser.within(PATIENCE, &says("(1/12)")).await;
    assert_eq!(drawn(&browser).await.1, 0, "a slice is grey");

    open_document(&browser, "SEG").await;
    browser.within(PATIENCE, &says("Do you want to open this Segmentation?")).await;
    segmented(&browser).await;

    open_document(&browser, "DOC").await;
    browser.within(PATIENCE, "(document.querySelector('object')?.data ?? '').startsWith('blob:')").await;
    let begins = "return fetch(document.querySelector('object').data).then(file => file.text()).then(text => text.slice(0, 5))";
    assert_eq!(browser.script(begins).await, Value::from("%PDF-"));
    assert_eq!(refusals(&browser).await, Vec::<String>::new());
}

/// Waits for the red square.
async fn segmented(browser: &Browser) {
    for _ in 0..100 {
        if picture(browser).await.1 > 10_000 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("no segment is drawn: {:?}", refusals(browser).await);
}

#[tokio::test]
async fn a_structured_report_is_read() {
    let pacs = archive().await;
    let browser = signed_in(&pacs, "admin").await;
    browser.open(&viewer(&pacs, REPORT)).await;
    for text in ["Document Title", "Section Heading", "Report Text"] {
        browser.within(PATIENCE, &says(text)).await;
    }
    assert_eq!(refusals(&browser).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_referrer_finds_their_own_studies_alone_and_uploads_nothing() {
    let pacs = archive().await;
    pacs.referring("smith", Role::Referrer, "Smith^John").await;
    let browser = signed_in(&pacs, "smith").await;
    browser.open(&pacs.address("/ohif/")).await;
    browser.within(PATIENCE, &says("1-1 of 1")).await;
    browser.within(PATIENCE, &says("Sailor, Anna")).await;
    let text = browser.script("return document.body.innerText").await.to_string();
    for hidden in ["PLA", "Last Name", "Upload"] {
        assert!(!text.contains(hidden), "{hidden} in {text}");
    }
    browser.open(&viewer(&pacs, CLIP)).await;
    browser.within(PATIENCE, "location.pathname.includes('notfound')").await;
    browser.open(&viewer(&pacs, STUDY)).await;
    browser.within(PATIENCE, &says("(1/12)")).await;
    drawn(&browser).await;
}

#[tokio::test]
async fn whoever_has_a_share_link_opens_its_study_with_segmentations_too() {
    let pacs = archive().await;
    let shares = format!("/studies/{STUDY}/shares");
    let made = pacs.admin.post(&shares, &shares, &[("days", "7")]).await.text().await.expect("text");
    let (_, link) = made.split_once("/share/").expect("a link");
    let link: String = link.chars().take_while(char::is_ascii_alphanumeric).collect();
    let browser = Browser::start_drawing(1440, 900).await;
    browser.open(&pacs.address(&format!("/share/{link}"))).await;
    browser.click("main form button").await;
    browser.within(PATIENCE, &format!("location.pathname === '/studies/{STUDY}'")).await;
    browser.click("a[href^='/ohif/viewer']").await;
    browser.within(PATIENCE, &says("(1/12)")).await;
    drawn(&browser).await;
    open_document(&browser, "SEG").await;
    segmented(&browser).await;
    // The document, which OHIF gets before anybody asks for it: the link is for looking.
    let refused = refusals(&browser).await;
    assert!(
        refused.iter().all(|line| line.contains("/bulkdata/00420011") && line.contains("403")),
        "{refused:?}"
    );
    browser.open(&pacs.address("/ohif/")).await;
    browser.within(PATIENCE, &says("1-1 of 1")).await;
}

#[tokio::test]
async fn a_file_is_uploaded_from_the_list_and_is_there() {
    let pacs = archive().await;
    let browser = signed_in(&pacs, "admin").await;
    browser.open(&pacs.address("/ohif/")).await;
    browser.within(PATIENCE, &says("1-3 of 3")).await;
    let mark = "[...document.querySelectorAll('button')]
        .filter(button => button.innerText.trim() === 'Upload').map(button => button.id = 'wanted').length === 1";
    browser.within(PATIENCE, mark).await;
    browser.click("#wanted").await;
    browser.within(PATIENCE, "document.querySelector('input[type=file]')").await;
    browser.choose_file("input[type=file]", &pydicom_data().join("test_files/MR_small.dcm")).await;
    browser.within(PATIENCE, &says("Completed!")).await;
    let uid = "1.3.6.1.4.1.5962.1.1.4.1.1.20040826185059.5457";
    assert_eq!(pacs.count(&format!("instance WHERE sop_instance_uid = '{uid}'")).await, 1);
    browser.open(&pacs.address("/ohif/")).await;
    browser.within(PATIENCE, &says("CompressedSamples, MR1")).await;
    assert_eq!(refusals(&browser).await, Vec::<String>::new());
}

#[tokio::test]
async fn who_is_signed_out_meanwhile_is_led_to_the_page_for_it() {
    let pacs = archive().await;
    let browser = signed_in(&pacs, "admin").await;
    browser.open(&pacs.address("/ohif/")).await;
    browser.within(PATIENCE, &says("1-3 of 3")).await;
    browser
        .script(
            "return fetch('/account').then(page => page.text()).then(text => {
        const page = new DOMParser().parseFromString(text, 'text/html');
        const token = page.querySelector('input[name=token]').value;
        return fetch('/logout', { method: 'POST', body: new URLSearchParams({ token }) });
    }).then(answer => answer.status)",
        )
        .await;
    browser.click("input").await;
    browser.type_keys("sail").await;
    browser.within(PATIENCE, "location.pathname === '/login'").await;
    browser.within(PATIENCE, "location.search.startsWith('?next=%2Fohif')").await;
}
