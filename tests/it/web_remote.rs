//! Asking other archives from a page.

use filmroom::db::role::Role;

use crate::jobs::{impatient, newest, until};
use crate::support::instance::slice;
use crate::support::remote::{Remote, add_peer, free_port};
use crate::support::{TestServer, eventually};
use crate::web_study::{all, texts};

#[tokio::test(flavor = "multi_thread")]
async fn the_form_asks_the_peer_and_shows_what_is_here_already() {
    let pacs = TestServer::start_with(impatient).await;
    pacs.store(&slice(2, 2, 1, 1).build()).await;
    let page = pacs.page("/remote").await;
    assert!(texts(&page, "main").concat().contains("peers page"), "nobody can be asked yet");
    let remote = Remote::scripted(&["find", "charsets"]).await;
    remote.become_peer(&pacs.database).await;

    let page = pacs.page("/remote?peer=SCRIPTED").await;
    assert_eq!(all(&page, "[data-remote-study]").len(), 3);
    assert_eq!(
        texts(&page, "label.name"),
        ["Yamada, Tarou", "Łukasz, Żółć", "Müller, Jörg"],
        "the last first"
    );
    let here: Vec<String> = texts(&page, "td.here a");
    assert_eq!(here, ["1 of 2 here"]);
    // The form's own words, which no peer knows, are matched here.
    let page = pacs.page("/remote?peer=SCRIPTED&q=muller").await;
    assert_eq!(texts(&page, "label.name"), ["Müller, Jörg"]);
    let page = pacs.page("/remote?peer=SCRIPTED&q=nobody").await;
    assert!(texts(&page, "h2").contains(&"No study matches".to_owned()));
    assert_eq!(pacs.audited("query-remote").await, 3, "each question has its row");
    let details: String = pacs.value("SELECT details FROM audit WHERE action = 'query-remote' LIMIT 1").await;
    assert_eq!(details, "SCRIPTED: all studies");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_study_that_is_here_and_not_for_ones_eyes_is_not_said_to_be_here() {
    let pacs = TestServer::start_with(impatient).await;
    pacs.store(&slice(2, 2, 1, 1).build()).await;
    let remote = Remote::scripted(&["find", "charsets"]).await;
    remote.become_peer(&pacs.database).await;
    pacs.admin
        .post("/admin/roles", "/admin/roles", &[("referrer", "view"), ("referrer", "query-remote")])
        .await;
    let referrer = pacs.referring("smith", Role::Referrer, "Smith^John").await;
    let page = referrer.page("/remote?peer=SCRIPTED").await;
    assert_eq!((all(&page, "[data-remote-study]").len(), all(&page, "td.here a").len()), (3, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_of_the_peer_is_told_in_words() {
    let pacs = TestServer::start_with(impatient).await;
    add_peer(&pacs.database, "GONE", free_port()).await;
    let page = pacs.page("/remote?peer=GONE").await;
    assert!(
        texts(&page, "[role=alert]").concat().contains("Cannot connect to 127.0.0.1:"),
        "{}",
        page.html()
    );
    let endless = Remote::scripted(&["find", "endless"]).await;
    endless.become_peer(&pacs.database).await;
    let page = pacs.page("/remote?peer=SCRIPTED").await;
    assert_eq!(all(&page, "[data-remote-study]").len(), 500);
    assert!(texts(&page, "[role=alert]").concat().contains("Narrow the search"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_ticked_and_no_such_peer_are_mistakes() {
    let pacs = TestServer::start_with(impatient).await;
    add_peer(&pacs.database, "GONE", free_port()).await;
    let post =
        async |fields: &[(&str, &str)]| pacs.admin.post("/remote", "/remote/retrieve", fields).await.status();
    assert_eq!(post(&[("peer", "GONE")]).await, 400);
    assert_eq!(post(&[("peer", "OTHER"), ("study", "1.2.3")]).await, 400);
    assert_eq!(pacs.count("job").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retrieve_leaves_a_row_for_each_study_and_can_be_cancelled() {
    let pacs = TestServer::start_with(impatient).await;
    let remote = Remote::scripted(&["store", "good"]).await;
    remote.become_peer(&pacs.database).await;
    let fields = [("peer", "SCRIPTED"), ("study", "1.2.3.1"), ("study", "1.2.3.2"), ("method", "move")];
    let made = pacs.admin.post("/remote", "/remote/retrieve", &fields).await;
    let job = made.headers()["location"].to_str().expect("an address").to_owned();
    assert_eq!(pacs.audited("retrieve").await, 2);
    // It does not offer C-MOVE, which will not change.
    until(&pacs, "failed").await;
    let error = newest(&pacs).await.3;
    assert!(error.contains("C-GET may work"), "{error}");
    let page = pacs.page(&job).await;
    assert_eq!(all(&page, ".job-failures tbody tr").len(), 2);

    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    add_peer(&pacs.database, "SILENT", silent.local_addr().expect("bound").port()).await;
    let fields = [("peer", "SILENT"), ("study", "1.2.3.1"), ("method", "get")];
    let made = pacs.admin.post("/remote", "/remote/retrieve", &fields).await;
    let job = made.headers()["location"].to_str().expect("an address").to_owned();
    eventually("it is worked on", async || newest(&pacs).await.0 == "running").await;
    let cancelled = pacs.admin.post(&job, &format!("{job}/cancel"), &[]).await;
    assert_eq!(cancelled.status(), 303);
    until(&pacs, "cancelled").await;
    assert_eq!(pacs.audited("change-job").await, 1);
}
