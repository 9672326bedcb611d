//! The peers page and the quarantine page.

use dicom_core::VR;
use dicom_dictionary_std::tags;
use filmroom::dimse::access::UnknownPeers;

use crate::dimse_scu::{StoreScp, free_address};
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

/// Presses the button of a form of the peers page that has no fields to type in.
pub async fn press(pacs: &TestServer, form: &str) -> reqwest::Response {
    let (to, fields) = {
        let page = pacs.page("/admin/peers").await;
        let found = all(&page, form);
        assert_eq!(found.len(), 1, "{form} in {}", page.html());
        let hidden = scraper::Selector::parse("input[type=hidden]").expect("a selector");
        let attribute =
            |element: &scraper::ElementRef, name: &str| element.attr(name).expect("one").to_owned();
        let fields: Vec<(String, String)> = found[0]
            .select(&hidden)
            .map(|input| (attribute(&input, "name"), attribute(&input, "value")))
            .filter(|(name, _)| name != "token")
            .collect();
        (attribute(&found[0], "action"), fields)
    };
    let fields: Vec<(&str, &str)> =
        fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    pacs.admin.post("/admin/peers", &to, &fields).await
}

const ALLOW: &str = "form[action='/admin/callers/allow']";

#[tokio::test]
async fn a_stranger_is_shown_and_one_click_lets_it_store() {
    let pacs = TestServer::start_with(|config| config.unknown_peers = UnknownPeers::Ask).await;
    let instance = slice(1, 1, 1, 1).build();
    assert!(!pacs.store(&instance).await.is_success());

    assert_eq!(press(&pacs, ALLOW).await.status(), 303);

    assert!(pacs.store(&instance).await.is_success());
    let page = pacs.page("/admin/peers").await;
    assert!(all(&page, ALLOW).is_empty());
    assert_eq!(texts(&page, ".known-peers .ae-title").len(), 1);
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
        texts(&pacs.page("/admin/peers").await, ".known-peers td")
            .contains(&"TLS, its certificate".to_owned())
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

/// Adds a peer CT01 that listens here, and presses its Echo button: what the banner says, and whether it is good.
async fn echo(pacs: &TestServer, host: &str, port: u16, more: &str) -> (String, bool) {
    let fields = format!("ae_title=CT01&host={host}&port={port}&may_echo=on&{more}");
    let added = post(pacs, "/admin/peers", "/admin/peers", &fields).await;
    assert_eq!(added.status(), 303, "{}", added.text().await.expect("text"));
    let answer = press(pacs, "form[action$='/echo']").await;
    assert_eq!(answer.status(), 200);
    let page = scraper::Html::parse_document(&answer.text().await.expect("text"));
    let banner = texts(&page, ".banner").concat();
    assert_eq!(texts(&page, ".known-peers .ae-title"), ["CT01"], "the page is there beneath the banner");
    (banner, all(&page, ".banner.danger").is_empty())
}

fn milliseconds(banner: &str) -> Option<u64> {
    banner.strip_prefix("CT01 answered after ")?.split_once(" ms")?.0.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_answers_says_after_how_long() {
    let storescp = StoreScp::start(&[]);
    let pacs = TestServer::start().await;
    let (banner, is_good) = echo(&pacs, "127.0.0.1", storescp.address.port(), "").await;
    assert!(is_good && milliseconds(&banner).is_some_and(|took| took < 5_000), "{banner}");
    assert!(banner.ends_with(" ms."), "{banner}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_refuses_says_why() {
    let pacs = TestServer::start().await;
    // Our own port, called by another name.
    let (banner, is_good) = echo(&pacs, "localhost", pacs.dicom.port(), "").await;
    assert!(!is_good);
    assert_eq!(
        banner,
        "CT01 did not answer: the peer refused the association for good: the called AE title is not its own."
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_listens_and_where_nobody_is_it_says_so() {
    let pacs = TestServer::start().await;
    let port = free_address().port();
    let (banner, is_good) = echo(&pacs, "127.0.0.1", port, "").await;
    assert_eq!(banner, format!("CT01 did not answer: nothing listens at 127.0.0.1 on port {port}."));
    assert!(!is_good);
    let key: u64 = pacs.value("SELECT peer_key FROM peer").await;
    let edit = format!("/admin/peers/{key}");
    post(&pacs, &edit, &edit, "ae_title=CT01&host=no-such-machine.invalid&port=104").await;
    let answer = press(&pacs, "form[action$='/echo']").await.text().await.expect("text");
    let banner = texts(&scraper::Html::parse_document(&answer), ".banner").concat();
    assert_eq!(banner, "CT01 did not answer: no machine with the name no-such-machine.invalid is known.");
    // One that is nowhere has no button, and calling it by hand is answered in words.
    post(&pacs, &edit, &edit, "ae_title=CT01&host=&port=104").await;
    assert!(all(&pacs.page("/admin/peers").await, "form[action$='/echo']").is_empty());
    let answer = post(&pacs, "/admin/peers", &format!("{edit}/echo"), "").await.text().await.expect("text");
    assert!(answer.contains("CT01 has no host and port to be called at"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_never_answers_costs_five_seconds_at_the_most() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let pacs = TestServer::start().await;
    let began = std::time::Instant::now();
    let (banner, is_good) = echo(&pacs, "127.0.0.1", port, "").await;
    assert!(began.elapsed() < std::time::Duration::from_secs(8), "{:?}", began.elapsed());
    assert_eq!(banner, "CT01 did not answer: the peer did not answer the association request within 4 s.");
    assert!(!is_good);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_has_to_use_tls_is_called_by_tls_and_known_by_its_certificate() {
    let (server, own) = (Pair::new(), Pair::named("ct01"));
    let identity = own.identity();
    // The peer: another filmroom with a port for TLS.
    let peer = TestServer::start_with(|config| {
        config.tls = Some(identity);
        config.dicom_tls_listen = Some("127.0.0.1:0".parse().expect("an address"));
        config.ae_title = "CT01".parse().expect("an AE title");
    })
    .await;
    let port = peer.dicom_tls.expect("a port for TLS").port();
    let pem = |pair: &Pair| -> String {
        percent_encoding::utf8_percent_encode(&pair.pem(), percent_encoding::NON_ALPHANUMERIC).collect()
    };
    let pacs = TestServer::start().await;
    let pinned = format!("tls=certificate&certificate={}", pem(&own));
    let (banner, is_good) = echo(&pacs, "127.0.0.1", port, &pinned).await;
    assert!(is_good && banner.ends_with(" ms by TLS, with its certificate."), "{banner}");

    let key: u64 = pacs.value("SELECT peer_key FROM peer").await;
    let edit = format!("/admin/peers/{key}");
    let again = async |fields: &str| {
        let fields = format!("ae_title=CT01&host=127.0.0.1&port={port}&{fields}");
        assert_eq!(post(&pacs, &edit, &edit, &fields).await.status(), 303);
        let answer = press(&pacs, "form[action$='/echo']").await.text().await.expect("text");
        texts(&scraper::Html::parse_document(&answer), ".banner").concat()
    };
    let other = again(&format!("tls=certificate&certificate={}", pem(&server))).await;
    assert!(other.ends_with("by TLS: its certificate is not the one that is expected of it."), "{other}");
    assert!(again("tls=optional").await.contains("did not answer"), "in plain it is not heard there");

    post(&pacs, &format!("{edit}/remove"), &format!("{edit}/remove"), "").await;
    let (banner, is_good) = echo(&pacs, "127.0.0.1", port, "tls=required").await;
    assert!(!is_good && banner.contains("no certificate of it is known"), "{banner}");
    let key: u64 = pacs.value("SELECT peer_key FROM peer").await;
    let edit = format!("/admin/peers/{key}");
    let pinned = format!("tls=required&certificate={}", pem(&own));
    post(&pacs, &edit, &edit, &format!("ae_title=CT01&host=127.0.0.1&port={}&{pinned}", peer.dicom.port()))
        .await;
    let answer = press(&pacs, "form[action$='/echo']").await.text().await.expect("text");
    let plain = texts(&scraper::Html::parse_document(&answer), ".banner").concat();
    assert!(plain.contains("cannot connect to 127.0.0.1") && plain.contains("by TLS"), "{plain}");
}
