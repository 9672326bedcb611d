//! Jobs: what is sent and retrieved arrives in the end, whatever the other side does meanwhile.

use std::time::Duration;

use filmroom::config::Config;
use filmroom::db::role::Role;

use crate::support::instance::{Instance, slice};
use crate::support::process::{Process, serve};
use crate::support::remote::{Remote, add_peer, free_port};
use crate::support::{TestServer, database, eventually, person, store_files};
use crate::web_peer::press;

/// Pauses short enough for a test.
pub fn impatient(config: &mut Config) {
    config.jobs.pauses = [100, 200, 500].map(Duration::from_millis).to_vec();
    config.jobs.look = Duration::from_millis(100);
    config.jobs.grace = Duration::from_secs(2);
    config.patience.response = Duration::from_secs(2);
    config.patience.association = Duration::from_secs(5);
}

/// A server that is impatient, with a study of so many slices.
async fn with_study(slices: u32) -> TestServer {
    let pacs = TestServer::start_with(impatient).await;
    let instances: Vec<Instance> = (1..=slices).map(|number| slice(1, 1, 1, number).build()).collect();
    pacs.store_all(&instances).await;
    pacs
}

/// Asks for the study to be sent, as a person does, and returns the address of the job.
pub async fn send(pacs: &TestServer, ae_title: &str) -> String {
    let sent =
        pacs.admin.post("/send?study=1.2.3.1", "/send", &[("study", "1.2.3.1"), ("peer", ae_title)]).await;
    assert_eq!(sent.status(), 303, "{:?}", sent.text().await);
    sent.headers()["location"].to_str().expect("an address").to_owned()
}

/// State, completed, failed and error of the newest job.
pub async fn newest(pacs: &TestServer) -> (String, u32, u32, String) {
    use mysql_async::prelude::Queryable;
    let mut conn = pacs.database.connect().await;
    let row = conn
        .query_first("SELECT state, completed, failed, last_error FROM job ORDER BY job_key DESC LIMIT 1")
        .await
        .expect("a statement that runs");
    conn.disconnect().await.expect("a goodbye");
    row.expect("a job")
}

/// Waits until the newest job is this far.
pub async fn until(pacs: &TestServer, state: &str) {
    let mut last = None;
    for _ in 0..600 {
        let now = newest(pacs).await;
        if now.0 == state {
            return;
        }
        last = Some(now);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the job did not become {state} within 30 s: {last:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_study_is_sent_and_every_instance_counted() {
    let pacs = with_study(5).await;
    let remote = Remote::scripted(&["store", "good"]).await;
    remote.become_peer(&pacs.database).await;
    send(&pacs, "SCRIPTED").await;
    until(&pacs, "done").await;
    assert_eq!(remote.taken(), 5);
    assert_eq!(newest(&pacs).await, ("done".into(), 5, 0, String::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_is_down_gets_everything_when_it_is_up() {
    let pacs = with_study(3).await;
    let port = free_port();
    add_peer(&pacs.database, "SCRIPTED", port).await;
    send(&pacs, "SCRIPTED").await;
    eventually("an attempt has failed", async || newest(&pacs).await.3.contains("cannot connect")).await;
    let remote = Remote::scripted(&["store", "good"]).await;
    let mut conn = pacs.database.connect().await;
    mysql_async::prelude::Queryable::exec_drop(&mut conn, "UPDATE peer SET port = ?", (remote.port,))
        .await
        .expect("a new port");
    until(&pacs, "done").await;
    assert_eq!(remote.taken(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn out_of_resources_is_tried_again_until_it_is_taken() {
    let pacs = with_study(4).await;
    let remote = Remote::scripted(&["store", "busy", "3"]).await;
    remote.become_peer(&pacs.database).await;
    send(&pacs, "SCRIPTED").await;
    until(&pacs, "done").await;
    assert_eq!(remote.taken(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_association_that_is_aborted_in_the_middle_goes_on_with_the_rest() {
    let pacs = with_study(6).await;
    let remote = Remote::scripted(&["store", "abort", "3"]).await;
    remote.become_peer(&pacs.database).await;
    send(&pacs, "SCRIPTED").await;
    until(&pacs, "done").await;
    assert_eq!(remote.taken(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_instance_fails_alone_with_the_peers_words() {
    let pacs = with_study(5).await;
    let remote = Remote::scripted(&["store", "poison", "1.2.3.1.1.2"]).await;
    remote.become_peer(&pacs.database).await;
    let job = send(&pacs, "SCRIPTED").await;
    until(&pacs, "failed").await;
    assert_eq!(remote.taken(), 4);
    let (_, completed, failed, error) = newest(&pacs).await;
    assert_eq!((completed, failed), (4, 1));
    assert_eq!(error, "1 of 5 instances were not sent: it cannot understand or process it (C000H)");
    // What failed, and nothing else, is tried again.
    pacs.admin.post(&job, &format!("{job}/try-again"), &[]).await;
    eventually("it is tried and fails again", async || {
        let (state, completed, failed, _) = newest(&pacs).await;
        state == "failed" && (completed, failed) == (4, 1) && pacs.count("job WHERE attempts = 0").await == 1
    })
    .await;
    assert_eq!(remote.lines().len(), 4, "nothing was sent twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_ends_every_association_does_not_hold_up_the_others() {
    let pacs = with_study(5).await;
    let remote = Remote::scripted(&["store", "breaks", "1.2.3.1.1.1"]).await;
    remote.become_peer(&pacs.database).await;
    send(&pacs, "SCRIPTED").await;
    eventually("the others have arrived", async || remote.taken() == 4).await;
    until(&pacs, "failed").await;
    let (_, completed, failed, error) = newest(&pacs).await;
    assert_eq!((completed, failed), (4, 1), "{error}");
    assert!(error.contains("aborted"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_never_answers_is_waited_for_again_and_again_and_a_job_can_be_cancelled() {
    let pacs = with_study(2).await;
    let remote = Remote::scripted(&["store", "silent"]).await;
    remote.become_peer(&pacs.database).await;
    let job = send(&pacs, "SCRIPTED").await;
    eventually("an attempt has failed", async || newest(&pacs).await.3.contains("did not respond")).await;
    pacs.admin.post(&job, &format!("{job}/cancel"), &[]).await;
    until(&pacs, "cancelled").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_in_the_middle_loses_no_instance() {
    let database = database::fresh().await;
    let folder = tempfile::tempdir().expect("a folder");
    let url = database.url.with_password();
    let pacs = Process::start(serve(&url, folder.path())).await;
    let instances: Vec<Instance> = (1..=30).map(|number| slice(1, 1, 1, number).build()).collect();
    let files: Vec<_> = instances.iter().map(Instance::file).collect();
    let paths: Vec<_> = files.iter().map(|file| file.path()).collect();
    store_files(pacs.dicom, &paths).await;
    let remote = Remote::scripted(&["store", "slow", "0.1"]).await;
    remote.become_peer(&database).await;
    let admin = person::administrator(&database, pacs.http).await;
    let fields = [("study", "1.2.3.1"), ("peer", "SCRIPTED")];
    assert_eq!(admin.post("/send?study=1.2.3.1", "/send", &fields).await.status(), 303);
    eventually("a few have been sent", async || remote.taken() >= 5).await;
    pacs.kill().await;

    // The lease of whoever was killed is not waited for.
    let again = Process::start(serve(&url, folder.path())).await;
    eventually("a few more have been sent", async || remote.taken() >= 10).await;
    assert_eq!(again.terminate().await, Some(0), "it ends well in the middle of a job");
    let state = |sql: &'static str| {
        let url = database.url.clone();
        async move {
            let mut conn = filmroom::db::open(&url).await.expect("a connection");
            let value: Option<String> =
                mysql_async::prelude::Queryable::query_first(&mut conn, sql).await.expect("a row");
            value.unwrap_or_default()
        }
    };
    assert_eq!(state("SELECT state FROM job").await, "waiting", "and gives it back");

    let last = Process::start(serve(&url, folder.path())).await;
    eventually("the rest has been sent", async || state("SELECT state FROM job").await == "done").await;
    assert_eq!(remote.taken(), 30);
    assert!(remote.lines().len() < 60, "what was acknowledged is not sent again: {}", remote.lines().len());
    drop(last);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_being_sent_when_the_job_is_cancelled_is_finished_and_nothing_more_begun() {
    let pacs = with_study(20).await;
    let remote = Remote::scripted(&["store", "slow", "0.2"]).await;
    remote.become_peer(&pacs.database).await;
    let job = send(&pacs, "SCRIPTED").await;
    eventually("it has begun", async || remote.taken() >= 2).await;
    pacs.admin.post(&job, &format!("{job}/cancel"), &[]).await;
    until(&pacs, "cancelled").await;
    let (_, completed, ..) = newest(&pacs).await;
    assert!(completed < 20, "{completed}");
    assert_eq!(remote.taken(), completed as usize, "what has arrived is what is counted");
    // Begun again, it goes on where it was.
    pacs.admin.post(&job, &format!("{job}/try-again"), &[]).await;
    until(&pacs, "done").await;
    assert_eq!((remote.taken(), remote.lines().len()), (20, 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_somebody_left_behind_is_taken_up_and_one_that_is_worked_on_is_not() {
    let pacs = with_study(2).await;
    let remote = Remote::scripted(&["store", "good"]).await;
    let port = remote.port;
    add_peer(&pacs.database, "SCRIPTED", port).await;
    pacs.person("anna", Role::Technologist).await;
    let insert = "INSERT INTO job (job_key, kind, ae_title, asked_by, state, next_attempt_at, gives_up_at, lease, leased_until,
                                   expected, created_at)
                  VALUES (77, 'send', 'SCRIPTED', 'anna', 'running', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6) + INTERVAL 1 DAY,
                          REPEAT('x', 16), UTC_TIMESTAMP(6) + INTERVAL 1 DAY, 1, UTC_TIMESTAMP(6))";
    database::statement(&pacs.database.url, insert).await;
    let item = "INSERT INTO job_item (job_key, item_number, study_instance_uid, series_instance_uid, sop_instance_uid, expected)
                VALUES (77, 1, '1.2.3.1', '1.2.3.1.1', '1.2.3.1.1.2', 1)";
    database::statement(&pacs.database.url, item).await;
    // Another job for the same peer waits for it.
    send(&pacs, "SCRIPTED").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(pacs.count("job WHERE state = 'waiting'").await, 1);
    assert_eq!(remote.taken(), 0);
    let over = "UPDATE job SET leased_until = UTC_TIMESTAMP(6) - INTERVAL 1 SECOND WHERE job_key = 77";
    database::statement(&pacs.database.url, over).await;
    until(&pacs, "done").await;
    eventually("both are done", async || pacs.count("job WHERE state = 'done'").await == 2).await;
    assert_eq!(
        remote.lines().first().map(String::as_str),
        Some("1.2.3.1.1.2"),
        "the one left behind went first"
    );
}

/// A server that retrieves a study of fifty slices from a peer that takes its time.
async fn retrieving() -> (TestServer, Remote, String) {
    let pacs = TestServer::start_with(impatient).await;
    let remote = Remote::scripted(&["get", "50"]).await;
    remote.become_peer(&pacs.database).await;
    let fields = [("peer", "SCRIPTED"), ("study", "1.2.3.1"), ("method", "get")];
    let made = pacs.admin.post("/remote", "/remote/retrieve", &fields).await;
    let job = made.headers()["location"].to_str().expect("an address").to_owned();
    eventually("a few have come", async || pacs.count("instance").await >= 3).await;
    (pacs, remote, job)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retrieve_that_is_cancelled_in_the_middle_tells_the_peer_and_keeps_what_has_come() {
    let (pacs, remote, job) = retrieving().await;
    pacs.admin.post(&job, &format!("{job}/cancel"), &[]).await;
    until(&pacs, "cancelled").await;
    eventually("the peer was told", async || !remote.lines().is_empty()).await;
    assert_eq!(remote.lines(), ["cancelled"]);
    let kept = pacs.count("instance").await;
    assert!((3..50).contains(&kept), "{kept}");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(pacs.count("instance").await, kept, "nothing comes any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retrieve_whose_association_is_ended_on_the_peers_page_is_tried_again() {
    let (pacs, remote, job) = retrieving().await;
    assert_eq!(press(&pacs, ".associations form[action$='/abort']").await.status(), 303);
    eventually("the peer was told", async || remote.lines().first().is_some_and(|line| line == "aborted"))
        .await;
    eventually("it goes on from the beginning", async || {
        pacs.count("audit WHERE action = 'abort-association'").await == 1
            && newest(&pacs).await.0 == "running"
    })
    .await;
    pacs.admin.post(&job, &format!("{job}/cancel"), &[]).await;
    until(&pacs, "cancelled").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_away_fails_no_instance_and_a_file_that_is_gone_fails_alone() {
    let pacs = with_study(3).await;
    let remote = Remote::scripted(&["store", "good"]).await;
    remote.become_peer(&pacs.database).await;
    let gone = pacs.value::<String>("SELECT path FROM instance ORDER BY instance_key LIMIT 1").await;
    std::fs::remove_file(pacs.folder.path().join(gone)).expect("a file");
    let (folder, away) = (pacs.folder.path().join("archive"), pacs.folder.path().join("away"));
    std::fs::rename(&folder, &away).expect("moved");
    send(&pacs, "SCRIPTED").await;
    eventually("an attempt has failed", async || !newest(&pacs).await.3.is_empty()).await;
    let (state, completed, failed, error) = newest(&pacs).await;
    assert!(state != "failed" && (completed, failed) == (0, 0), "{state} {completed} {failed}: {error}");
    std::fs::rename(&away, &folder).expect("moved");
    until(&pacs, "failed").await;
    let (_, completed, failed, error) = newest(&pacs).await;
    assert_eq!((completed, failed), (2, 1), "{error}");
    assert_eq!(remote.taken(), 2);
}
