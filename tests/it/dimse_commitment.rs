//! Storage commitment, PS3.4 annex J: what we say is safely stored is read again from the disk, and the report arrives in
//! the end; what a peer says of what was sent to it stands on the page of the study. The peers are pynetdicom.

use std::collections::BTreeMap;
use std::time::Duration;

use dicom_dictionary_std::uids;
use filmroom::config::Config;
use filmroom::db::peer::{self, Encryption, PeerDetails};
use serde_json::{Value, json};

use crate::jobs::{impatient, send, until};
use crate::support::database::{self, TestDatabase, statement};
use crate::support::instance::{Instance, slice};
use crate::support::process::{Process, serve};
use crate::support::remote::{Remote, free_port};
use crate::support::{TestServer, eventually, python, store_files};

const CT: &str = uids::CT_IMAGE_STORAGE;

/// How an association with a request went.
#[derive(Debug, serde::Deserialize)]
struct Outcome {
    accepted: bool,
    status: Option<u16>,
    comment: String,
    reports: Vec<Report>,
}

#[derive(Debug, serde::Deserialize)]
struct Report {
    /// `same` or `another` association.
    over: String,
    event: u16,
    transaction: String,
    retrieve: String,
    committed: Vec<String>,
    failed: BTreeMap<String, u16>,
}

impl Outcome {
    /// The one report there has to be.
    fn report(&self) -> &Report {
        assert_eq!((self.status, self.reports.len()), (Some(0), 1), "{self:?}");
        &self.reports[0]
    }

    /// Why each of these instances failed.
    fn failed(&self) -> Vec<(&str, u16)> {
        self.report().failed.iter().map(|(uid, reason)| (uid.as_str(), *reason)).collect()
    }
}

/// Asks; `more` is put over the keys of a usual request.
async fn ask(port: u16, more: Value) -> Outcome {
    let mut request = json!({ "transaction": "1.2.3.4", "stay": 15 });
    request.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), request.to_string()).expect("a file that takes it");
    let request = format!("@{}", file.path().display());
    let out = python("commitment.py", &["ask".to_owned(), port.to_string(), request]).await;
    serde_json::from_str(&out).unwrap_or_else(|err| panic!("commitment.py answers JSON: {err}\n{out}"))
}

/// The instances of the study with these numbers.
fn items(numbers: &[u32]) -> Vec<[String; 2]> {
    numbers.iter().map(|number| [CT.to_owned(), uid(*number)]).collect()
}

fn uid(number: u32) -> String {
    format!("1.2.3.1.1.{number}")
}

fn quick(config: &mut Config) {
    impatient(config);
    config.jobs.commitment.pauses = vec![Duration::from_millis(200)];
    config.jobs.commitment.on_the_spot = Duration::from_secs(2);
}

/// A peer on this machine.
async fn add_peer(database: &TestDatabase, ae_title: &str, services: &str, port: Option<u16>) {
    let mut conn = database.connect().await;
    let details = PeerDetails {
        ae_title: ae_title.parse().expect("an AE title"),
        host: "127.0.0.1".to_owned(),
        port,
        services: services.parse().expect("services"),
        is_destination: false,
        offers_commitment: ae_title == "SCRIPTED",
        encryption: Encryption::Optional,
        certificate: None,
        description: String::new(),
    };
    peer::add(&mut conn, &details).await.expect("a peer");
    conn.disconnect().await.expect("a goodbye");
}

/// A server with a study of so many slices, and the peer TESTSCU, which may ask and listens on this port.
async fn archive(slices: u32, port: Option<u16>) -> TestServer {
    let pacs = TestServer::start_with(quick).await;
    add_peer(&pacs.database, "TESTSCU", "echo,store,commit", port).await;
    let instances: Vec<Instance> = (1..=slices).map(|number| slice(1, 1, 1, number).build()).collect();
    for answer in pacs.store_all(&instances).await {
        assert!(answer.is_success(), "{answer:?}");
    }
    pacs
}

async fn path_of(pacs: &TestServer, number: u32) -> std::path::PathBuf {
    let path: String =
        pacs.value(&format!("SELECT path FROM instance WHERE sop_instance_uid = '{}'", uid(number))).await;
    pacs.folder.path().join(path)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_is_committed_over_the_same_association() {
    let pacs = archive(3, None).await;
    for syntax in [uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN] {
        let transaction = format!("1.2.{}", syntax.len());
        let request = json!({ "items": items(&[1, 2, 3]), "syntax": [syntax], "transaction": transaction });
        let outcome = ask(pacs.dicom.port(), request).await;
        let report = outcome.report();
        assert_eq!((report.over.as_str(), report.event), ("same", 1));
        assert_eq!(report.transaction, transaction);
        assert_eq!(report.retrieve, "FILMROOM");
        assert_eq!(report.committed, [uid(1), uid(2), uid(3)]);
        assert!(report.failed.is_empty());
    }
    eventually("that it was taken is written down", async || {
        pacs.count("commitment WHERE state = 'ended'").await == 2
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_requestor_that_releases_at_once_is_called() {
    let port = free_port();
    let pacs = archive(2, Some(port)).await;
    let request = json!({ "items": items(&[1, 2]), "release": true, "listen": port });
    let mut asked = 1;
    let mut outcome = ask(pacs.dicom.port(), request.clone()).await;
    // Two instances are read again so soon that the report may come before the release.
    while outcome.report().over == "same" && asked < 10 {
        asked += 1;
        outcome = ask(pacs.dicom.port(), request.clone()).await;
    }
    let report = outcome.report();
    assert_eq!((report.over.as_str(), report.event), ("another", 1));
    assert_eq!(report.committed, [uid(1), uid(2)]);
    eventually("it is over", async || pacs.count("commitment WHERE state = 'ended'").await == asked).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_is_not_taken_is_sent_again() {
    let port = free_port();
    let pacs = archive(1, Some(port)).await;
    let request = json!({ "items": items(&[1]), "listen": port, "answer": [0x0110, 0x0213, 0] });
    let outcome = ask(pacs.dicom.port(), request).await;
    let over: Vec<&str> = outcome.reports.iter().map(|report| report.over.as_str()).collect();
    assert_eq!(over, ["same", "another", "another"]);
    eventually("it is over", async || pacs.count("commitment WHERE state = 'ended'").await == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reason_why_an_instance_is_not_committed() {
    let pacs = archive(5, None).await;
    // The negative control: all are there before the files are touched.
    let before =
        ask(pacs.dicom.port(), json!({ "items": items(&[1, 2, 3, 4, 5]), "transaction": "1.2.1" })).await;
    assert_eq!(before.report().committed.len(), 5);

    let changed = path_of(&pacs, 2).await;
    let mut bytes = std::fs::read(&changed).expect("a file");
    *bytes.last_mut().expect("a byte") ^= 1;
    std::fs::write(&changed, bytes).expect("a file");
    std::fs::remove_file(path_of(&pacs, 3).await).expect("a file");
    let cut = path_of(&pacs, 4).await;
    let bytes = std::fs::read(&cut).expect("a file");
    std::fs::write(&cut, &bytes[..bytes.len() - 2]).expect("a file");
    let mut asked = items(&[1, 2, 3, 4]);
    asked.push([uids::MR_IMAGE_STORAGE.to_owned(), uid(5)]);
    asked.push([CT.to_owned(), "1.2.3.99".to_owned()]);
    asked.push([uids::VERIFICATION.to_owned(), "1.2.3.98".to_owned()]);
    let outcome = ask(pacs.dicom.port(), json!({ "items": asked, "transaction": "1.2.2" })).await;
    assert_eq!(outcome.report().event, 2);
    assert_eq!(outcome.report().committed, [uid(1)]);
    assert_eq!(
        outcome.failed(),
        [
            (uid(2).as_str(), 0x0110),
            (uid(3).as_str(), 0x0110),
            (uid(4).as_str(), 0x0110),
            (uid(5).as_str(), 0x0119),
            ("1.2.3.98", 0x0122),
            ("1.2.3.99", 0x0112),
        ]
    );

    // A data folder that is not there now is no verdict on the instance.
    let (folder, away) = (pacs.folder.path().join("archive"), pacs.folder.path().join("away"));
    std::fs::rename(&folder, &away).expect("moved");
    let outcome = ask(pacs.dicom.port(), json!({ "items": items(&[1]), "transaction": "1.2.3" })).await;
    assert_eq!(outcome.failed(), [(uid(1).as_str(), 0x0213)]);
    std::fs::rename(&away, &folder).expect("moved");
    let outcome = ask(pacs.dicom.port(), json!({ "items": items(&[1]), "transaction": "1.2.4" })).await;
    assert_eq!(outcome.report().event, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_uid_that_is_in_use_commits_nothing_and_that_of_another_ae_does() {
    let pacs = archive(2, None).await;
    add_peer(&pacs.database, "OTHER", "commit", None).await;
    let request = |calling: &str| json!({ "items": items(&[1, 2]), "calling": calling });
    assert_eq!(ask(pacs.dicom.port(), request("TESTSCU")).await.report().event, 1);
    let again = ask(pacs.dicom.port(), request("TESTSCU")).await;
    assert_eq!(again.failed(), [(uid(1).as_str(), 0x0131), (uid(2).as_str(), 0x0131)]);
    assert_eq!(ask(pacs.dicom.port(), request("OTHER")).await.report().event, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_none_is_refused_with_a_status_and_words() {
    let pacs = archive(1, None).await;
    let one = items(&[1]);
    for (request, status, words) in [
        (json!({ "items": one, "instance": "1.2.3" }), 0x0112, "Requested SOP Instance UID"),
        (json!({ "items": one, "action": 2 }), 0x0123, "Action Type ID"),
        (json!({ "items": one, "without": ["TransactionUID"] }), 0x0115, "Transaction UID"),
        (json!({ "items": one, "transaction": "a b" }), 0x0115, "Transaction UID"),
        (json!({ "items": one, "without": ["ReferencedSOPSequence"] }), 0x0115, "no instance"),
        (json!({ "items": [] }), 0x0115, "no instance"),
        (json!({ "items": [[CT, ""]] }), 0x0115, "Item 1"),
        (json!({ "items": one, "empty": true }), 0x0115, "no data set"),
    ] {
        let outcome = ask(pacs.dicom.port(), request.clone()).await;
        assert_eq!(outcome.status, Some(status), "{request}: {outcome:?}");
        assert!(outcome.comment.contains(words), "{request}: {}", outcome.comment);
        assert!(outcome.reports.is_empty());
    }
    assert_eq!(pacs.count("commitment").await, 0, "nothing is written down");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_ask_gets_no_context() {
    let pacs = archive(1, None).await;
    add_peer(&pacs.database, "NOTTHIS", "echo,store,find,get,move", None).await;
    for calling in ["NOTTHIS", "NOBODY"] {
        let outcome = ask(pacs.dicom.port(), json!({ "items": items(&[1]), "calling": calling })).await;
        assert!(!outcome.accepted && outcome.status.is_none(), "{outcome:?}");
    }
    let outcome = ask(pacs.dicom.port(), json!({ "items": items(&[1]) })).await;
    assert!(outcome.accepted, "and who may does");
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_instances_are_answered_and_one_more_is_refused() {
    let pacs = archive(1, None).await;
    let many = |count: u32| json!({ "items": items(&(1..=count).collect::<Vec<_>>()), "stay": 60, "transaction": format!("1.2.{count}") });
    let refused = ask(pacs.dicom.port(), many(20_001)).await;
    assert_eq!(refused.status, Some(0x0213));
    assert!(refused.comment.contains("20000 are the most"), "{}", refused.comment);
    let outcome = ask(pacs.dicom.port(), many(20_000)).await;
    assert_eq!(outcome.report().committed, [uid(1)]);
    assert_eq!(outcome.report().failed.len(), 19_999);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_down_gets_its_report_when_it_is_up_also_after_a_restart() {
    let database = database::fresh().await;
    let folder = tempfile::tempdir().expect("a folder");
    let url = database.url.with_password();
    let pacs = Process::start(serve(&url, folder.path())).await;
    let port = free_port();
    add_peer(&database, "TESTSCU", "echo,store,commit", Some(port)).await;
    let file = slice(1, 1, 1, 1).build().file();
    assert!(store_files(pacs.dicom, &[file.path()]).await.iter().all(|answer| answer.is_success()));
    let left = ask(pacs.dicom.port(), json!({ "items": items(&[1]), "release": true, "stay": 0 })).await;
    assert_eq!((left.status, left.reports.len()), (Some(0), 0));
    eventually("it was tried in vain", async || pacs.said("trying storage commitment again")).await;
    pacs.kill().await;

    let again = Process::start(serve(&url, folder.path())).await;
    // It asks nothing more, it only listens again; the next attempt is not waited for here.
    let due = async {
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        statement(&database.url, "UPDATE commitment SET next_attempt_at = UTC_TIMESTAMP(6)").await;
    };
    let listens = ask(again.dicom.port(), json!({ "items": null, "listen": port }));
    let (outcome, ()) = tokio::join!(listens, due);
    assert_eq!(outcome.reports.len(), 1, "{outcome:?}");
    let report = &outcome.reports[0];
    assert_eq!((report.over.as_str(), report.event, report.transaction.as_str()), ("another", 1, "1.2.3.4"));
    assert_eq!(report.committed, [uid(1)]);
    assert_eq!(again.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_reported_for_seven_days_is_given_up_in_words() {
    let pacs = archive(1, Some(free_port())).await;
    ask(pacs.dicom.port(), json!({ "items": items(&[1]), "release": true, "stay": 0 })).await;
    eventually("it was tried", async || pacs.count("commitment WHERE attempts > 1").await == 1).await;
    statement(&pacs.database.url, "UPDATE commitment SET gives_up_at = UTC_TIMESTAMP(6)").await;
    eventually("it is given up", async || pacs.count("commitment WHERE state = 'given-up'").await == 1).await;
    let error: String = pacs.value("SELECT last_error FROM commitment").await;
    assert!(error.starts_with("Given up; the last attempt ended like this: cannot connect"), "{error}");
}

/// A server with a study of three slices, which were sent to an archive with these manners.
async fn sent_to(manners: &[&str]) -> (TestServer, Remote) {
    let pacs = archive(3, None).await;
    let remote = Remote::committing(pacs.dicom, manners).await;
    add_peer(&pacs.database, "SCRIPTED", "echo", Some(remote.port)).await;
    send(&pacs, "SCRIPTED").await;
    until(&pacs, "done").await;
    (pacs, remote)
}

/// What the page of the study says of it.
async fn said(pacs: &TestServer) -> String {
    let page = pacs.page("/studies/1.2.3.1").await;
    let selector = scraper::Selector::parse(".commitment").expect("a selector");
    let text: String = page.select(&selector).flat_map(|one| one.text()).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_reports_at_once_is_said_to_have_stored_the_study_safely() {
    let (pacs, remote) = sent_to(&["good"]).await;
    eventually("the page says so", async || said(&pacs).await.contains("Safely stored at SCRIPTED since 20"))
        .await;
    eventually("and the peer was told", async || remote.lines() == ["asked 3", "reported 0"]).await;
    // What arrives later is not stored there yet.
    pacs.store(&slice(1, 1, 1, 4).build()).await;
    let now = said(&pacs).await;
    assert!(now.contains("3 of 4 images are safely stored at SCRIPTED"), "{now}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_over_an_association_of_the_peer_is_taken() {
    let (pacs, remote) = sent_to(&["later"]).await;
    eventually("the page says so", async || said(&pacs).await.contains("Safely stored at SCRIPTED since 20"))
        .await;
    eventually("and the peer was told", async || remote.lines() == ["asked 3", "reported 0"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_the_peer_has_not_is_a_warning_on_the_page() {
    let (pacs, _remote) = sent_to(&["partly", "1.2.3.1.1.2"]).await;
    eventually("the page says so", async || {
        let said = said(&pacs).await;
        said.contains("2 of 3 images are safely stored at SCRIPTED.")
            && said.contains("SCRIPTED says that it has not stored 1 image safely")
    })
    .await;
    assert_eq!(pacs.count("commitment_item WHERE result = 274").await, 1, "0112H");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_never_reports_is_asked_again_and_given_up_in_words() {
    let (pacs, remote) = sent_to(&["silent"]).await;
    eventually("it was asked", async || pacs.count("commitment WHERE state = 'asked'").await == 1).await;
    assert_eq!(said(&pacs).await, "Storage commitment0 of 3 images are safely stored at SCRIPTED");
    let an_hour_later = "UPDATE commitment SET next_attempt_at = UTC_TIMESTAMP(6) WHERE state = 'asked'";
    statement(&pacs.database.url, an_hour_later).await;
    eventually("it was asked again", async || remote.lines().len() == 2).await;
    assert_eq!(pacs.count("commitment WHERE is_ours").await, 2, "with another Transaction UID");
    eventually("and is waited for", async || pacs.count("commitment WHERE state = 'asked'").await == 1).await;
    let seven_days_later = "UPDATE commitment SET next_attempt_at = UTC_TIMESTAMP(6), gives_up_at = UTC_TIMESTAMP(6) WHERE state = 'asked'";
    statement(&pacs.database.url, seven_days_later).await;
    eventually("the page says so", async || {
        let said = said(&pacs).await;
        said.contains("did not say whether it has stored 3 images safely") && said.contains("never reported")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_cannot_be_asked_now_is_asked_later() {
    let (pacs, remote) = sent_to(&["refuse", "2"]).await;
    eventually("the page says so", async || said(&pacs).await.contains("Safely stored at SCRIPTED since 20"))
        .await;
    assert_eq!(remote.lines(), ["refused", "refused", "asked 3", "reported 0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_of_something_that_was_never_asked_is_refused_and_the_right_one_taken() {
    let (_pacs, remote) = sent_to(&["wrong"]).await;
    eventually("the right one is taken", async || remote.lines().len() == 3).await;
    assert_eq!(
        remote.lines(),
        ["asked 3".to_owned(), format!("reported {}", 0x0115), "reported 0".to_owned()]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_does_not_offer_commitment_is_not_asked() {
    let pacs = archive(2, None).await;
    let remote = Remote::scripted(&["store", "good"]).await;
    remote.become_peer(&pacs.database).await;
    send(&pacs, "SCRIPTED").await;
    until(&pacs, "done").await;
    assert_eq!(pacs.count("commitment").await, 0);
    assert_eq!(said(&pacs).await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_may_have_been_heard_is_put_again_under_another_transaction_uid() {
    let (pacs, remote) = sent_to(&["lost"]).await;
    eventually("the page says so", async || said(&pacs).await.contains("Safely stored at SCRIPTED since 20"))
        .await;
    let lines = remote.lines();
    let [lost, asked, reported] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!(reported, "reported 0");
    let (lost, asked) = (lost.strip_prefix("lost "), asked.strip_prefix("asked 3 "));
    assert!(lost.is_some() && asked.is_some() && lost != asked, "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_silent_keeps_nobody_elses_report() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let pacs = archive(1, Some(silent.local_addr().expect("an address").port())).await;
    let port = free_port();
    add_peer(&pacs.database, "OTHER", "echo,commit", Some(port)).await;
    for number in 1..=5 {
        let transaction = format!("1.2.{number}");
        let request = json!({ "items": items(&[1]), "release": true, "stay": 0, "transaction": transaction });
        assert_eq!(ask(pacs.dicom.port(), request).await.status, Some(0));
    }
    let request = json!({ "items": items(&[1]), "release": true, "listen": port, "calling": "OTHER" });
    let outcome = ask(pacs.dicom.port(), request).await;
    assert_eq!(outcome.report().over, "another");
    // Of five that are due for the silent one, one was tried; then it is left alone for a while.
    let waiting = "commitment WHERE ae_title = 'TESTSCU' AND state = 'waiting'";
    assert_eq!(pacs.count(waiting).await, 5);
}
