//! The audit trail: each action has one row, and a row that was changed shows.

use dicom_core::VR;
use dicom_dictionary_std::tags;
use filmroom::db::audit::{self, Action, Actor, ActorKind, Entry};
use filmroom::db::role::Role;
use mysql_async::prelude::Queryable;

use crate::jobs::{impatient, until};
use crate::support::database::{self, TestDatabase, statement};
use crate::support::instance::{Instance, slice};
use crate::support::peer::Peer;
use crate::support::person::{PASSWORD, Person};
use crate::support::remote::Remote;
use crate::support::{FILMROOM, TestServer};
use crate::web_peer::press;
use crate::web_study::{all, texts};

/// Action, who, outcome, patient, study and details of the last rows, the last first.
async fn last(pacs: &TestServer, count: usize) -> Vec<(String, String, String, String, String, String)> {
    let mut conn = pacs.database.connect().await;
    let rows = conn
        .query(format!(
            "SELECT action, actor, outcome, patient_id, study_instance_uid, details
               FROM audit ORDER BY audit_key DESC LIMIT {count}"
        ))
        .await
        .expect("rows");
    conn.disconnect().await.expect("a goodbye");
    rows
}

/// Does something, and returns the rows it left in the trail: action, outcome, patient and study.
async fn trace<F: Future>(pacs: &TestServer, what: F) -> Vec<(String, String, String, String)> {
    let before = pacs.count("audit").await;
    what.await;
    let added = usize::try_from(pacs.count("audit").await - before).expect("a few");
    let rows = last(pacs, added).await;
    rows.into_iter()
        .rev()
        .map(|(action, _, outcome, patient, study, _)| (action, outcome, patient, study))
        .collect()
}

fn one(action: &str, outcome: &str, patient: &str, study: &str) -> Vec<(String, String, String, String)> {
    vec![(action.to_owned(), outcome.to_owned(), patient.to_owned(), study.to_owned())]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_action_leaves_exactly_one_row() {
    let pacs = TestServer::start().await;
    let slices: Vec<Instance> = (1..=3).map(|number| slice(1, 1, 1, number).build()).collect();
    // Three instances of one study in one association, and of another study in the same.
    let mut sent = slices.clone();
    sent.push(slice(2, 2, 1, 1).build());
    let received = trace(&pacs, pacs.store_all(&sent)).await;
    let receipt =
        |patient: &str, study: &str| ("receive".into(), "done".into(), patient.into(), study.into());
    assert_eq!(received, [receipt("P1", "1.2.3.1"), receipt("P2", "1.2.3.2")]);
    let again = trace(&pacs, pacs.store(&slices[0])).await;
    assert_eq!(again, [receipt("P1", "1.2.3.1")], "another association is another receipt");
    let second = slice(1, 1, 1, 1).bytes(tags::PIXEL_DATA, VR::OB, vec![9; 256]).build();
    pacs.store(&second).await;

    let admin = &pacs.admin;
    let seen = |action: &str| one(action, "done", "P1", "1.2.3.1");
    for (path, expected) in [
        ("/studies", one("query", "done", "", "")),
        ("/studies?q=doe", one("query", "done", "", "")),
        ("/studies?q=doe", one("query", "done", "", "")),
        ("/studies/1.2.3.1", seen("view-study")),
        ("/studies/1.2.3.1", seen("view-study")),
        ("/studies/1.2.3.1/viewer", seen("view-series")),
        ("/patients/1", one("view-patient", "done", "P1", "")),
        ("/instances/1.2.3.1.1.1", seen("view-instance")),
        ("/instances/1.2.3.1.1.1.dcm", seen("download")),
        ("/admin/quarantine", one("view-quarantine", "done", "", "")),
        ("/admin/quarantine/1", seen("view-quarantine")),
        ("/quarantine/1.dcm", seen("download")),
        ("/admin/audit", one("view-audit", "done", "", "")),
        ("/admin/audit.csv", one("download", "done", "", "")),
        ("/studies/1.2.3.1/audit", seen("view-audit")),
        // What is not there, or shows nobody's data, leaves none.
        ("/studies/1.2.3.9", vec![]),
        ("/instances/1.2.3.9", vec![]),
        ("/admin/peers", vec![]),
        ("/admin/system", vec![]),
        ("/login", vec![]),
        ("/healthz", vec![]),
    ] {
        assert_eq!(trace(&pacs, admin.get(path)).await, expected, "{path}");
    }
    let mut peer = Peer::associate(pacs.dicom).await;
    let aborted = trace(&pacs, press(&pacs, ".associations form[action$='/abort']")).await;
    assert_eq!(aborted, one("abort-association", "done", "", ""));
    let details: String = pacs.value("SELECT details FROM audit ORDER BY audit_key DESC LIMIT 1").await;
    assert_eq!(details, "SCRIPT from 127.0.0.1, nothing was sent");
    assert!(peer.read_pdu().await.is_some(), "an A-ABORT");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_series_is_one_row_however_many_pictures_are_looked_at() {
    let pacs = TestServer::start().await;
    let slices: Vec<Instance> = (1..=5).map(|number| slice(1, 1, 1, number).build()).collect();
    pacs.store_all(&slices).await;
    let program = pacs.person("anna", Role::Reader).await;
    let pictures = async |person: &Person| {
        let asked = (1..=5).flat_map(|number| {
            let instance = format!("/instances/1.2.3.1.1.{number}/frames/1");
            [format!("{instance}.png"), format!("{instance}/caption.json")]
        });
        // All at once, as a browser does.
        let answers = futures_util::future::join_all(asked.map(|path| {
            let person = person.clone();
            async move { person.status(&path).await }
        }));
        assert!(answers.await.iter().all(|&status| status == 200));
    };
    let row = one("view-series", "done", "P1", "1.2.3.1");
    assert_eq!(trace(&pacs, pictures(&program)).await, row, "pictures without a viewer leave their row");
    assert_eq!(trace(&pacs, pictures(&program)).await, [], "and no other soon after");
    assert_eq!(trace(&pacs, program.get("/studies/1.2.3.1/viewer")).await, row, "the viewer is opened");
    assert_eq!(trace(&pacs, pictures(&program)).await, []);
    let somebody_else = pacs.person("berta", Role::Reader).await;
    assert_eq!(trace(&pacs, pictures(&somebody_else)).await, row);
    // Small pictures alone are a view of the study; on a list they belong to its row.
    let third = pacs.person("carla", Role::Reader).await;
    let small = "/studies/1.2.3.1/thumbnail.png";
    assert_eq!(trace(&pacs, third.get(small)).await, one("view-study", "done", "P1", "1.2.3.1"));
    assert_eq!(trace(&pacs, third.get(small)).await, []);
    let fourth = pacs.person("dora", Role::Reader).await;
    fourth.get("/studies").await;
    assert_eq!(trace(&pacs, fourth.get(small)).await, []);
}

/// A list stands for the small pictures of the studies that were in it, and for those alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_picture_of_a_study_that_was_in_no_list_leaves_a_row() {
    let pacs = TestServer::start().await;
    pacs.store_all(&[slice(1, 1, 1, 1).build(), slice(2, 2, 1, 1).build()]).await;
    let look = async |path: &str| {
        let status = pacs.admin.status(path).await;
        assert_eq!(status, 200, "{path}");
    };
    look("/studies?q=nobody-of-this-name").await;
    let seen = one("view-study", "done", "P1", "1.2.3.1");
    assert_eq!(trace(&pacs, look("/studies/1.2.3.1/thumbnail.png")).await, seen);
    look("/studies").await;
    assert_eq!(trace(&pacs, look("/studies/1.2.3.2/thumbnail.png")).await, [], "it was in the list");
    let larger = trace(&pacs, look("/studies/1.2.3.2/thumbnail.png?w=512")).await;
    assert_eq!(larger, one("view-study", "done", "P2", "1.2.3.2"), "no list has one so large");
    assert_eq!(trace(&pacs, look("/series/1.2.3.2.1/thumbnail.png")).await, [], "now the study was seen");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_looks_again_by_itself_leaves_one_row() {
    let pacs = TestServer::start().await;
    let again = || pacs.admin.request("GET", "/studies?q=doe").header("x-refresh", "1").send();
    assert_eq!(trace(&pacs, again()).await.len(), 1, "nothing was shown before, whatever the header says");
    assert_eq!(trace(&pacs, again()).await.len(), 0);
    let other = pacs.admin.request("GET", "/studies?q=roe").header("x-refresh", "1").send();
    assert_eq!(trace(&pacs, other).await.len(), 1, "another list");
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_in_and_out_and_changes_leave_their_rows() {
    let pacs = TestServer::start().await;
    pacs.person("anna", Role::Reader).await;
    let signed_in = trace(&pacs, pacs.sign_in("anna", PASSWORD, "")).await;
    assert_eq!(signed_in, one("sign-in", "done", "", ""));
    let failed = trace(&pacs, pacs.sign_in("anna", "not this one", "")).await;
    assert_eq!(failed, one("sign-in", "refused", "", ""));
    let unknown = trace(&pacs, pacs.sign_in("nobody-here", PASSWORD, "")).await;
    assert_eq!(unknown, one("sign-in", "refused", "", ""));
    let who: String = pacs.value("SELECT actor FROM audit ORDER BY audit_key DESC LIMIT 1").await;
    assert_eq!(who, "nobody-here");

    let admin = &pacs.admin;
    let add = [("ae_title", "CT01"), ("host", "10.0.0.7"), ("may_store", "on")];
    let peer = || one("change-peer", "done", "", "");
    assert_eq!(trace(&pacs, admin.post("/admin/peers", "/admin/peers", &add)).await, peer());
    assert_eq!(
        trace(&pacs, admin.post("/admin/peers", "/admin/peers", &add)).await,
        [],
        "a mistake changes nothing"
    );
    assert_eq!(
        trace(&pacs, admin.post("/admin/peers", "/admin/peers/1", &[("ae_title", "CT02")])).await,
        peer()
    );
    let details: String = pacs.value("SELECT details FROM audit ORDER BY audit_key DESC LIMIT 1").await;
    assert_eq!(details, "CT01 is now CT02 at anywhere, may do nothing");
    assert_eq!(trace(&pacs, admin.post("/admin/peers", "/admin/peers/1/remove", &[])).await, peer());
    pacs.store(&slice(1, 1, 1, 1).build()).await;
    pacs.store(&slice(1, 1, 1, 1).bytes(tags::PIXEL_DATA, VR::OB, vec![9; 256]).build()).await;
    let discard = admin.post("/admin/quarantine", "/admin/quarantine/1/discard", &[]);
    // The page its token is read from leaves a row of its own.
    let rows = trace(&pacs, discard).await;
    assert_eq!(rows[1..], one("delete", "done", "P1", "1.2.3.1"));
    let rows = trace(&pacs, admin.post("/studies", "/logout", &[])).await;
    assert_eq!(rows[1..], one("sign-out", "done", "", ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_finds_rows_by_patient_user_and_action_and_gives_them_as_csv() {
    let pacs = TestServer::start().await;
    let hostile = slice(1, 1, 1, 1).text(tags::PATIENT_NAME, VR::PN, "=cmd|'/c calc'!A1^Jane");
    pacs.store_all(&[hostile.build(), slice(2, 2, 1, 1).build()]).await;
    let anna = pacs.person("anna", Role::Reader).await;
    anna.get("/studies/1.2.3.1").await;
    anna.get("/studies/1.2.3.2").await;
    pacs.get("/studies/1.2.3.2").await;

    let rows = async |query: &str| {
        let page = pacs.page(&format!("/admin/audit?{query}")).await;
        all(&page, "table.audit tbody tr").len()
    };
    assert_eq!(rows("user=anna").await, 2);
    assert_eq!(rows("user=anna&action=view-study&patient=P2").await, 1);
    assert_eq!(rows("patient=calc&action=receive").await, 1);
    assert_eq!(rows("action=view-study&from=2199-01-01").await, 0);
    let page = pacs.page("/admin/audit?from=yesterday").await;
    assert!(texts(&page, ".form-mistake").concat().contains("2026-11-22"));
    let who = texts(&pacs.page("/studies/1.2.3.2/audit").await, "table.audit td[data-label=Who]").concat();
    assert!(who.contains("anna") && who.contains("admin"), "{who}");

    let file = pacs.get("/admin/audit.csv?user=anna").await;
    assert_eq!(file.headers()["content-type"], "text/csv; charset=utf-8");
    let text = file.text().await.expect("text");
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(text.contains(",'=cmd|'/c calc'!A1^Jane,"), "a name is no formula: {text}");
}

/// What `filmroom check` says of this database, and its exit code.
async fn check(database: &TestDatabase) -> (Option<i32>, String) {
    let out = tokio::process::Command::new(FILMROOM)
        .args(["check", "--database-url", &database.url.with_password()])
        .env("FILMROOM_LOG", "error")
        .kill_on_drop(true)
        .output()
        .await
        .expect("filmroom runs");
    let said = [out.stdout, out.stderr].concat();
    (out.status.code(), String::from_utf8(said).expect("text"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_was_changed_put_in_or_taken_out_is_found() {
    let pacs = TestServer::start().await;
    pacs.store(&slice(1, 1, 1, 1).build()).await;
    for _ in 0..4 {
        pacs.get("/studies/1.2.3.1").await;
    }
    let (code, said) = check(&pacs.database).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("the audit trail is whole: 5 entries, the last has the hash "), "{said}");

    let url = &pacs.database.url;
    let columns = "recorded_at, actor_kind, actor, address, action, patient_id, issuer_of_patient_id, patient_name, \
                   study_instance_uid, series_instance_uid, details, outcome, hash";
    for (change, back, says) in [
        (
            "UPDATE audit SET actor = 'somebody else' WHERE audit_key = 3".to_owned(),
            "UPDATE audit SET actor = 'admin' WHERE audit_key = 3".to_owned(),
            "entry 3",
        ),
        (
            "UPDATE audit SET recorded_at = recorded_at + INTERVAL 1 SECOND WHERE audit_key = 2".into(),
            "UPDATE audit SET recorded_at = recorded_at - INTERVAL 1 SECOND WHERE audit_key = 2".into(),
            "entry 2",
        ),
        (
            "UPDATE audit SET audit_key = 40 WHERE audit_key = 4".into(),
            "UPDATE audit SET audit_key = 4 WHERE audit_key = 40".into(),
            "entries 4 to 4",
        ),
        (
            format!("INSERT INTO audit SELECT 6, {columns} FROM audit WHERE audit_key = 5"),
            "DELETE FROM audit WHERE audit_key = 6".into(),
            "entry 6",
        ),
    ] {
        statement(url, &change).await;
        let (code, said) = check(&pacs.database).await;
        assert_eq!(code, Some(1), "{change}: {said}");
        assert!(said.contains(says), "{change}: {said}");
        statement(url, &back).await;
        assert_eq!(check(&pacs.database).await.0, Some(0), "{back}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_written_at_once_form_one_chain() {
    let database = database::fresh().await;
    filmroom::db::schema::prepare(&database.url).await.expect("tables");
    let writers = (0..8).map(|writer| {
        let url = database.url.clone();
        tokio::spawn(async move {
            let mut conn = filmroom::db::open(&url).await.expect("a connection");
            for number in 0..20 {
                let actor = Actor {
                    kind: ActorKind::Terminal,
                    name: format!("writer {writer}"),
                    address: String::new(),
                };
                let entry = Entry::of(actor, Action::Query, format!("{number} äöü \u{1F600}"));
                // Where one gives its number up, a server may end another that waits for it, to be tried again.
                loop {
                    let mut change = conn.start_transaction(Default::default()).await.expect("begun");
                    match audit::append(&mut change, std::slice::from_ref(&entry)).await {
                        Ok(()) if number % 5 == 4 => break change.rollback().await.expect("given up"),
                        Ok(()) => break change.commit().await.expect("committed"),
                        Err(err) => assert!(filmroom::db::is_transient(&err), "{err}"),
                    }
                }
            }
            conn.disconnect().await.expect("a goodbye");
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("no panic");
    }
    let (code, said) = check(&database).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("whole: 128 entries"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_retrieving_sending_and_ending_a_job_leave_one_row_each() {
    let pacs = TestServer::start_with(impatient).await;
    pacs.store_all(&[slice(1, 1, 1, 1).build(), slice(1, 1, 1, 2).build(), slice(2, 2, 1, 1).build()]).await;
    let remote = Remote::scripted(&["find", "charsets"]).await;
    remote.become_peer(&pacs.database).await;
    let admin = &pacs.admin;
    assert_eq!(trace(&pacs, admin.get("/remote")).await, [], "nobody was asked yet");
    let asked = trace(&pacs, admin.get("/remote?peer=SCRIPTED&q=doe")).await;
    assert_eq!(asked, one("query-remote", "done", "", ""));
    let token = admin.token("/remote").await;

    let fields = [("peer", "SCRIPTED"), ("study", "1.2.3.77"), ("study", "1.2.3.78"), ("method", "get")];
    let retrieved = trace(&pacs, admin.post_with(&token, "/remote/retrieve", &fields)).await;
    let row = |action: &str, patient: &str, study: &str| one(action, "done", patient, study).remove(0);
    assert_eq!(retrieved, [row("retrieve", "", "1.2.3.77"), row("retrieve", "", "1.2.3.78")]);

    let seen = trace(&pacs, admin.get("/send?study=1.2.3.1&study=1.2.3.2")).await;
    assert_eq!(seen, [row("view-study", "P1", "1.2.3.1"), row("view-study", "P2", "1.2.3.2")]);
    let fields = [("peer", "SCRIPTED"), ("study", "1.2.3.1"), ("study", "1.2.3.2")];
    let sent = trace(&pacs, admin.post_with(&token, "/send", &fields)).await;
    assert_eq!(
        sent,
        [row("send", "P1", "1.2.3.1"), row("send", "P2", "1.2.3.2")],
        "not one for each instance"
    );
    let details: String =
        pacs.value("SELECT details FROM audit WHERE action = 'send' ORDER BY audit_key LIMIT 1").await;
    assert_eq!(details, "2 instances to SCRIPTED, job 2");

    // A job that shows patients is a list of them; one that looks again by itself is not another.
    assert_eq!(trace(&pacs, admin.get("/jobs")).await, one("query", "done", "", ""));
    assert_eq!(trace(&pacs, admin.get("/jobs")).await, []);
    until(&pacs, "failed").await;
    let again = trace(&pacs, admin.post_with(&token, "/jobs/2/try-again", &[])).await;
    assert_eq!(again, one("change-job", "done", "", ""));
    until(&pacs, "failed").await;
    let nothing = trace(&pacs, admin.post_with(&token, "/jobs/2/cancel", &[])).await;
    assert_eq!(nothing, [], "there was nothing to cancel any more");
}
