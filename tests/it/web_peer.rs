//! The peers page and the quarantine page.

use dicom_core::VR;
use dicom_dictionary_std::tags;
use filmroom::dimse::access::UnknownPeers;

use crate::support::TestServer;
use crate::support::instance::slice;
use crate::support::tls::Pair;
use crate::web_study::{all, texts};

/// Posts a form of the page at `from` to `to`, with the page's own token.
async fn post(pacs: &TestServer, from: &str, to: &str, fields: &str) -> reqwest::Response {
    let fields: Vec<(String, String)> = serde_urlencoded::from_str(fields).expect("fields");
    let fields: Vec<(&str, &str)> =
        fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    pacs.admin.post(from, to, &fields).await
}

#[tokio::test]
async fn a_stranger_is_shown_and_one_click_lets_it_store() {
    let pacs = TestServer::start_with(|config| config.unknown_peers = UnknownPeers::Ask).await;
    let instance = slice(1, 1, 1, 1).build();
    assert!(!pacs.store(&instance).await.is_success());

    let page = pacs.page("/admin/peers").await;
    let field = |name: &str| {
        let selector = format!("form[action='/admin/callers/allow'] input[name={name}]");
        all(&page, &selector).first().and_then(|input| input.attr("value")).expect("a caller").to_owned()
    };
    let fields = format!("calling_ae_title={}&address={}", field("calling_ae_title"), field("address"));
    let response = post(&pacs, "/admin/peers", "/admin/callers/allow", &fields).await;
    assert_eq!(response.status(), 303);

    assert!(pacs.store(&instance).await.is_success());
    let page = pacs.page("/admin/peers").await;
    assert!(all(&page, "form[action='/admin/callers/allow']").is_empty());
    assert_eq!(texts(&page, ".peers .ae-title").len(), 1);
}

#[tokio::test]
async fn a_peer_is_added_changed_and_removed_by_forms() {
    let pacs = TestServer::start().await;
    let added =
        post(&pacs, "/admin/peers", "/admin/peers", "ae_title=CT01&host=10.0.0.7&port=104&may_store=on")
            .await;
    assert_eq!(added.status(), 303);
    let twice = post(&pacs, "/admin/peers", "/admin/peers", "ae_title=CT01").await;
    assert_eq!(twice.status(), 200);
    assert!(twice.text().await.expect("text").contains("There is a peer CT01 already."));

    let key: u64 = pacs.value("SELECT peer_key FROM peer").await;
    let edit = format!("/admin/peers/{key}");
    assert_eq!(post(&pacs, &edit, &edit, "ae_title=CT02&host=&port=").await.status(), 303);
    assert_eq!(pacs.count("peer WHERE ae_title = 'CT02' AND port IS NULL AND NOT may_store").await, 1);
    // Saving without a change is no error.
    assert_eq!(post(&pacs, &edit, &edit, "ae_title=CT02&host=&port=").await.status(), 303);

    let remove = format!("/admin/peers/{key}/remove");
    assert!(texts(&pacs.page(&remove).await, "h1").concat().contains("CT02"));
    assert_eq!(pacs.count("peer").await, 1);
    assert_eq!(post(&pacs, &remove, &remove, "").await.status(), 303);
    assert_eq!(pacs.count("peer").await, 0);
}

#[tokio::test]
async fn a_certificate_is_pasted_shown_by_its_fingerprint_and_kept() {
    let pacs = TestServer::start().await;
    let pair = Pair::named("ct01");
    let pem: String =
        percent_encoding::utf8_percent_encode(&pair.pem(), percent_encoding::NON_ALPHANUMERIC).collect();
    let missing = post(&pacs, "/admin/peers", "/admin/peers", "ae_title=CT01&tls=certificate").await;
    let page = scraper::Html::parse_document(&missing.text().await.expect("text"));
    assert_eq!(texts(&page, "#certificate-mistake"), ["Paste the certificate that the device shows."]);
    assert_eq!(all(&page, "#tls option[value=certificate][selected]").len(), 1);
    let wrong =
        post(&pacs, "/admin/peers", "/admin/peers", "ae_title=CT01&tls=certificate&certificate=CT01").await;
    let page = scraper::Html::parse_document(&wrong.text().await.expect("text"));
    assert!(texts(&page, "#certificate-mistake").concat().starts_with("There is no certificate in it"));
    assert_eq!(texts(&page, "#certificate"), ["CT01"], "what was typed is kept");

    let fields = format!("ae_title=CT01&tls=certificate&certificate={pem}");
    assert_eq!(post(&pacs, "/admin/peers", "/admin/peers", &fields).await.status(), 303);
    assert!(
        texts(&pacs.page("/admin/peers").await, ".peers td").contains(&"TLS, its certificate".to_owned())
    );
    let key: u64 = pacs.value("SELECT peer_key FROM peer").await;
    let edit = format!("/admin/peers/{key}");
    assert_eq!(texts(&pacs.page(&edit).await, ".fingerprint"), [pair.fingerprint().to_string()]);

    assert_eq!(post(&pacs, &edit, &edit, "ae_title=CT01&tls=certificate&certificate=").await.status(), 303);
    let stored: Vec<u8> = pacs.value("SELECT certificate_sha256 FROM peer WHERE tls = 'certificate'").await;
    assert_eq!(stored, pair.fingerprint().as_bytes());
}

#[tokio::test]
async fn mistakes_stand_beside_their_fields_and_what_was_typed_is_kept() {
    let pacs = TestServer::start().await;
    let answer = post(
        &pacs,
        "/admin/peers",
        "/admin/peers",
        "ae_title=THIS-TITLE-IS-TOO-LONG&port=70000&description=Room+%3C4%3E",
    )
    .await;
    assert_eq!(answer.status(), 200);
    let page = scraper::Html::parse_document(&answer.text().await.expect("text"));
    assert_eq!(texts(&page, "#port-mistake"), ["Port must be between 1 and 65535."]);
    assert_eq!(all(&page, "#ae_title-mistake").len(), 1);
    let kept = all(&page, "#description").first().and_then(|input| input.attr("value")).map(str::to_owned);
    assert_eq!(kept.as_deref(), Some("Room <4>"));
    assert_eq!(pacs.count("peer").await, 0);
}

#[tokio::test]
async fn quarantine_shows_both_and_what_differs_and_the_second_can_be_discarded() {
    let pacs = TestServer::start().await;
    let second = slice(1, 1, 1, 1).text(tags::SERIES_DESCRIPTION, VR::LO, "Other").side(20).build();
    pacs.store(&slice(1, 1, 1, 1).build()).await;
    pacs.store(&second).await;
    let key: u64 = pacs.value("SELECT quarantine_key FROM quarantine").await;
    assert_eq!(pacs.files().len(), 2);

    let study = texts(&pacs.page("/studies/1.2.3.1").await, ".banner").concat();
    assert!(study.contains("One instance came twice"), "{study}");
    let list = pacs.page("/admin/quarantine").await;
    assert_eq!(all(&list, &format!("a[href='/admin/quarantine/{key}']")).len(), 1);

    let page = pacs.page(&format!("/admin/quarantine/{key}")).await;
    for picture in all(&page, ".side img") {
        let answer = pacs.get(picture.attr("src").expect("an address")).await;
        assert_eq!(
            (answer.status().as_u16(), answer.headers()["content-type"].to_str().expect("text")),
            (200, "image/png")
        );
    }
    for download in all(&page, ".side a.button") {
        assert_eq!(pacs.get(download.attr("href").expect("an address")).await.status(), 200);
    }
    let differences = texts(&page, ".differences .attribute-name");
    assert!(differences.iter().any(|name| name == "Series Description"), "{differences:?}");
    assert!(differences.iter().any(|name| name == "Rows"), "{differences:?}");
    assert!(texts(&page, ".admin-section p").concat().contains("The pixel data differ."));

    let discard = format!("/admin/quarantine/{key}/discard");
    assert!(texts(&pacs.page(&discard).await, ".destructive").concat().contains("CT Image Storage"));
    assert_eq!(pacs.count("quarantine").await, 1);
    assert_eq!(post(&pacs, &discard, &discard, "").await.status(), 303);
    assert_eq!((pacs.count("quarantine").await, pacs.count("instance").await, pacs.files().len()), (0, 1, 1));
    assert_eq!(pacs.get(&format!("/admin/quarantine/{key}")).await.status(), 404);
}
