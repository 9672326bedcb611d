//! Who may ask: this machine under its own name, and forms of our own pages.

use reqwest::header::{HOST, ORIGIN};
use reqwest::redirect::Policy;

use crate::support::TestServer;
use crate::web_study::{all, texts};

/// Every page, with what it answers on an empty archive.
const PAGES: &[(&str, u16)] = &[
    ("/", 303),
    ("/studies", 200),
    ("/admin", 303),
    ("/admin/peers", 200),
    ("/admin/quarantine", 200),
    ("/admin/system", 200),
    ("/healthz", 200),
    ("/readyz", 200),
    ("/static/app.css", 200),
    ("/static/app.js", 200),
    ("/static/icons.svg", 200),
    ("/static/favicon.svg", 200),
    ("/nowhere", 404),
];

fn browser() -> reqwest::Client {
    reqwest::Client::builder().redirect(Policy::none()).build().expect("a client")
}

#[tokio::test]
async fn every_page_is_there_and_carries_the_security_headers() {
    let pacs = TestServer::start().await;
    for &(path, status) in PAGES {
        let response = browser().get(pacs.address(path)).send().await.expect("an answer");
        assert_eq!(response.status().as_u16(), status, "{path}");
        let policy = response.headers()["content-security-policy"].to_str().expect("text");
        assert!(policy.starts_with("default-src 'none';"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff", "{path}");
    }
}

#[tokio::test]
async fn a_name_of_another_machine_is_refused() {
    let pacs = TestServer::start().await;
    for &(path, _) in PAGES {
        let request = browser().get(pacs.address(path)).header(HOST, "rebound.example.org");
        assert_eq!(request.send().await.expect("an answer").status(), 403, "{path}");
    }
}

#[tokio::test]
async fn an_error_is_a_page_for_a_browser_and_a_sentence_for_a_program() {
    let pacs = TestServer::start().await;
    let page = browser()
        .get(pacs.address("/nowhere"))
        .header("accept", "text/html")
        .send()
        .await
        .expect("an answer");
    assert_eq!(page.status(), 404);
    let page = scraper::Html::parse_document(&page.text().await.expect("text"));
    assert_eq!(texts(&page, "h1"), ["Not found"]);
    let plain = browser().get(pacs.address("/nowhere")).send().await.expect("an answer");
    assert_eq!(plain.headers()["content-type"], "text/plain; charset=utf-8");
}

#[tokio::test]
async fn a_form_without_our_token_or_from_another_site_changes_nothing() {
    let pacs = TestServer::start().await;
    let page = pacs.page("/admin/peers").await;
    let token = all(&page, "input[name=token]")
        .first()
        .and_then(|input| input.attr("value"))
        .expect("a token")
        .to_owned();
    let post = |token: &str| {
        let form = format!("token={token}&ae_title=EVIL&may_store=on");
        let request = browser().post(pacs.address("/admin/peers")).body(form);
        request.header("content-type", "application/x-www-form-urlencoded")
    };

    for request in [
        post(""),
        post("0123456789abcdef0123456789abcdef"),
        post(&token).header("sec-fetch-site", "cross-site"),
        post(&token).header(ORIGIN, "http://example.org"),
        post(&token).header(HOST, "rebound.example.org"),
    ] {
        assert_eq!(request.send().await.expect("an answer").status(), 403);
    }
    let bare = browser().post(pacs.address("/admin/peers")).send().await.expect("an answer");
    assert_eq!(bare.status(), 400);
    assert_eq!(pacs.count("peer").await, 0);

    let ours = post(&token).header("sec-fetch-site", "same-origin").send().await.expect("an answer");
    assert_eq!(ours.status(), 303);
    assert_eq!(pacs.count("peer").await, 1);
}

#[tokio::test]
async fn the_theme_is_remembered_without_script() {
    let pacs = TestServer::start().await;
    let page = pacs.page("/admin/system").await;
    let value = |name: &str| {
        let selector = format!("form.theme-switch input[name={name}]");
        all(&page, &selector).first().and_then(|input| input.attr("value")).expect("a value").to_owned()
    };
    let form = format!("token={}&back={}&theme=dark", value("token"), value("back"));
    let request = browser().post(pacs.address("/theme")).body(form);
    let response =
        request.header("content-type", "application/x-www-form-urlencoded").send().await.expect("an answer");
    assert_eq!(
        (response.status().as_u16(), response.headers()["location"].to_str().expect("text")),
        (303, "/admin/system")
    );

    let cookie = response.headers()["set-cookie"]
        .to_str()
        .expect("text")
        .split(';')
        .next()
        .expect("a value")
        .to_owned();
    let page =
        browser().get(pacs.address("/studies")).header("cookie", cookie).send().await.expect("an answer");
    assert!(page.text().await.expect("text").contains("data-theme=\"dark\""));
}

#[tokio::test]
async fn a_static_file_is_kept_for_ever_only_under_its_hash() {
    let pacs = TestServer::start().await;
    let page = pacs.page("/studies").await;
    let hashed = all(&page, "link[rel=stylesheet]")
        .first()
        .and_then(|link| link.attr("href"))
        .expect("a link")
        .to_owned();
    let caching =
        async |path: &str| pacs.get(path).await.headers()["cache-control"].to_str().expect("text").to_owned();
    assert!(caching(&hashed).await.contains("immutable"));
    assert_eq!(caching("/static/app.css").await, "no-cache");
    assert_eq!(caching("/static/app.css?v=old").await, "no-cache");
    assert_eq!(caching("/studies").await, "no-store");
}
