//! The OHIF viewer below `/ohif/`: whom it is for, and how its files are sent.

use std::io::Read;

use filmroom::db::role::Role;

use crate::support::instance::slice;
use crate::support::person::Person;
use crate::support::{TestServer, ohif_folder};
use crate::web_study::{all, texts};

async fn with_viewer() -> TestServer {
    TestServer::start_with(|config| config.ohif_dir = Some(ohif_folder())).await
}

fn header(response: &reqwest::Response, name: &str) -> String {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

/// The file of the published bundle that begins and ends so.
fn file(begins: &str, ends: &str) -> String {
    let names =
        std::fs::read_dir(ohif_folder()).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    let names = names.map(|name| name.into_string().expect("a name"));
    names
        .into_iter()
        .find(|name| name.starts_with(begins) && name.ends_with(ends))
        .expect("a file of that name")
}

#[tokio::test]
async fn without_a_folder_there_is_no_viewer_and_no_link_to_it() {
    let pacs = TestServer::start().await;
    pacs.store(&slice(1, 1, 1, 1).build()).await;
    for path in ["/ohif", "/ohif/", "/ohif/viewer", "/ohif/app-config.js"] {
        assert_eq!(pacs.get(path).await.status(), 404, "{path}");
    }
    let page = pacs.page("/studies/1.2.3.1").await;
    assert!(all(&page, "a[href^='/ohif']").is_empty());
}

#[tokio::test]
async fn a_study_opens_in_the_viewer_from_its_page() {
    let pacs = with_viewer().await;
    pacs.store(&slice(1, 1, 1, 1).build()).await;
    let page = pacs.page("/studies/1.2.3.1").await;
    assert_eq!(texts(&page, "a[href='/ohif/viewer?StudyInstanceUIDs=1.2.3.1']"), ["Open in OHIF"]);
    let viewer = pacs.page("/ohif/viewer?StudyInstanceUIDs=1.2.3.1").await;
    assert_eq!(texts(&viewer, "title"), ["OHIF Viewer"]);
}

#[tokio::test]
async fn whoever_is_not_signed_in_is_led_to_the_page_for_it_and_back_to_the_study() {
    let pacs = with_viewer().await;
    let nobody = Person::nobody(&pacs);
    let path = "/ohif/viewer?StudyInstanceUIDs=1.2.3.1";
    let asked = nobody.get_with(path, &[("accept", "text/html")]).await;
    assert_eq!(asked.status(), 303);
    assert_eq!(
        header(&asked, "location"),
        "/login?next=%2Fohif%2Fviewer%3FStudyInstanceUIDs%3D1%2E2%2E3%2E1"
    );
    for path in ["/ohif/app-config.js", "/ohif/app.bundle.css"] {
        assert_eq!(nobody.status(path).await, 401, "{path}");
    }
}

#[tokio::test]
async fn its_pages_keep_to_themselves_and_load_nothing_from_elsewhere() {
    let pacs = with_viewer().await;
    let worker = format!("/ohif/{}", file("compute.bundle.", ".js"));
    for path in ["/ohif/", "/ohif/viewer?StudyInstanceUIDs=1.2.3.1", &worker] {
        let answer = pacs.get(path).await;
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(header(&answer, "cross-origin-opener-policy"), "same-origin", "{path}");
        assert_eq!(header(&answer, "cross-origin-embedder-policy"), "require-corp", "{path}");
        assert_eq!(header(&answer, "cross-origin-resource-policy"), "same-origin", "{path}");
        assert_eq!(header(&answer, "x-content-type-options"), "nosniff", "{path}");
        let policy = header(&answer, "content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self' 'unsafe-eval'"),
            "{path}: {policy}"
        );
        assert!(policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        for open in ["http:", "https:", "*", "script-src 'self' 'unsafe-inline'"] {
            assert!(!policy.contains(open), "{path}: {open} in {policy}");
        }
    }
    let policy = header(&pacs.get("/studies").await, "content-security-policy");
    assert!(!policy.contains("unsafe"), "our own pages keep theirs: {policy}");
}

#[tokio::test]
async fn every_bundle_looks_for_its_parts_below_its_own_address() {
    let pacs = with_viewer().await;
    let app = file("app.bundle.", ".js");
    for name in [app.as_str(), &file("compute.bundle.", ".js"), &file("polySeg.bundle.", ".js")] {
        let text = pacs.get(&format!("/ohif/{name}")).await.text().await.expect("text");
        assert!(text.contains("__webpack_require__.p = \"/ohif/\""), "{name}");
        assert!(!text.contains("__webpack_require__.p = \"/\""), "{name}");
    }
    let page = pacs.page("/ohif/").await;
    for (selector, attribute) in [("script[src]", "src"), ("link[href]", "href")] {
        for element in all(&page, selector) {
            let address = element.attr(attribute).expect("an address");
            assert!(address.starts_with("/ohif/"), "{address}");
        }
    }
    let style = pacs.get("/ohif/app.bundle.css").await.text().await.expect("text");
    assert!(style.contains("url(/ohif/") && !style.contains("url(/a"));
}

#[tokio::test]
async fn files_are_zipped_for_who_takes_it_and_kept_by_their_names() {
    let pacs = with_viewer().await;
    let name = file("12.bundle.", ".js");
    let path = format!("/ohif/{name}");
    let zipped = pacs.admin.get_with(&path, &[("accept-encoding", "gzip, deflate, br")]).await;
    assert_eq!(header(&zipped, "content-encoding"), "gzip");
    assert_eq!(header(&zipped, "content-type"), "text/javascript; charset=utf-8");
    assert_eq!(header(&zipped, "cache-control"), "private, max-age=31536000, immutable");
    let tag = header(&zipped, "etag");
    let zipped = zipped.bytes().await.expect("bytes");
    let plain = pacs.get(&path).await;
    assert_eq!(header(&plain, "content-encoding"), "");
    let plain = plain.bytes().await.expect("bytes");
    assert_eq!(plain, std::fs::read(ohif_folder().join(&name)).expect("the file"));
    assert!(zipped.len() * 2 < plain.len(), "{} of {}", zipped.len(), plain.len());
    let mut unzipped = Vec::new();
    flate2::read::GzDecoder::new(zipped.as_ref()).read_to_end(&mut unzipped).expect("gzip");
    assert_eq!(unzipped, plain);

    let again = pacs.admin.get_with(&path, &[("if-none-match", &tag)]).await;
    assert_eq!((again.status().as_u16(), header(&again, "etag")), (304, tag));
    for (path, caching) in [
        ("/ohif/", "private, no-cache"),
        ("/ohif/viewer", "private, no-cache"),
        ("/ohif/app.bundle.css", "private, no-cache"),
        ("/ohif/app-config.js", "no-store"),
    ] {
        assert_eq!(header(&pacs.get(path).await, "cache-control"), caching, "{path}");
    }
    for (name, kind) in [
        (file("0", ".wasm"), "application/wasm"),
        (file("a", ".woff2"), "font/woff2"),
        ("ohif-logo.svg".into(), "image/svg+xml"),
        ("manifest.json".into(), "application/json"),
        ("assets/favicon.ico".into(), "image/x-icon"),
    ] {
        assert_eq!(header(&pacs.get(&format!("/ohif/{name}")).await, "content-type"), kind, "{name}");
    }
}

#[tokio::test]
async fn nothing_outside_the_folder_is_sent() {
    let pacs = with_viewer().await;
    for path in [
        "/ohif/%2e%2e/Cargo.toml",
        "/ohif/..%2fCargo.toml",
        "/ohif/assets/..%2f..%2fCargo.toml",
        "/ohif/%2Fetc%2Fissue.net",
        "/ohif/.package",
        "/ohif/no-such-file.js",
    ] {
        assert_eq!(pacs.get(path).await.status(), 404, "{path}");
    }
}

#[tokio::test]
async fn the_viewer_is_told_where_the_archive_is_and_what_the_caller_may_do() {
    let pacs = with_viewer().await;
    let settings =
        async |person: &Person| person.get("/ohif/app-config.js").await.text().await.expect("text");
    let administrators = settings(&pacs.admin).await;
    for part in [
        "routerBasename: '/ohif'",
        "qidoRoot: '/dicom-web'",
        "wadoRoot: '/dicom-web'",
        "option: 'never'",
        "dicomUploadEnabled: true",
        "loadMultiframeAsPart10: true",
    ] {
        assert!(administrators.contains(part), "{part}");
    }
    assert!(!administrators.contains("https:"), "nothing is asked of other sites");
    let referrer = pacs.referring("smith", Role::Referrer, "Smith^John").await;
    assert!(settings(&referrer).await.contains("dicomUploadEnabled: false"));
}
