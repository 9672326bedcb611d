//! What is acknowledged survives: SIGKILL at random moments, many rounds, parallel senders. The negative control
//! is the same test on a server that answers before it commits. And no row is committed before its file is durable.

use std::collections::HashMap;
use std::io::Cursor;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dicom_dictionary_std::uids;
use filmroom::archive::activity::Activity;
use filmroom::archive::commit::{Committer, Durable, NewInstance, Outcome};
use filmroom::archive::receive::LIMITS;
use filmroom::db;
use filmroom::db::role::Role;
use filmroom::dicom::attributes::Attributes;
use filmroom::dicom::prescan;
use filmroom::dicom::uid::Encoding;
use mysql_async::prelude::Queryable;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use crate::support::database::{self, TestDatabase};
use crate::support::files_below;
use crate::support::instance::{Instance, slice};
use crate::support::peer::Peer;
use crate::support::person::{Person, account, session_of};
use crate::support::process::{self, Process};
use crate::web_stow::post;

const SENDERS: u32 = 4;

/// What a number of kills brought to light.
#[derive(Debug, Default)]
struct Findings {
    acknowledged: usize,
    /// Acknowledged and not in the index.
    lost: usize,
    /// Rows whose file is missing or another one.
    without_file: usize,
    /// Studies or series whose counts are wrong.
    miscounted: usize,
}

/// How instances are sent.
#[derive(Debug, Clone)]
enum Way {
    /// C-STORE.
    Dimse,
    /// STOW-RS, in this session.
    Stow(String),
}

async fn kill_rounds(rounds: u32, by_stow: bool, acknowledge_early: bool, stop_when_lost: bool) -> Findings {
    let database = database::fresh().await;
    let mut way = Way::Dimse;
    let folder = tempfile::tempdir().unwrap();
    let acknowledged: Arc<Mutex<HashMap<String, [u8; 32]>>> = Arc::default();
    let mut findings = Findings::default();
    for round in 0..rounds {
        let mut command = process::serve(&database.url.with_password(), folder.path());
        if acknowledge_early {
            command.env("FILMROOM_TEST_ACKNOWLEDGE_BEFORE_COMMIT", "1");
        }
        let process = Process::start(command).await;
        if by_stow && matches!(way, Way::Dimse) {
            let user_key = account(&database, "technologist", Role::Technologist, "").await;
            way = Way::Stow(session_of(&database, user_key).await);
        }
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let acknowledged = acknowledged.clone();
                match way.clone() {
                    Way::Dimse => tokio::spawn(send(process.dicom, round, sender, acknowledged)),
                    Way::Stow(session) => {
                        let person = Person::at(process.http, "session", &session);
                        tokio::spawn(put(person, round, sender, acknowledged))
                    }
                }
            })
            .collect();
        let pause = 50 + u64::from(getrandom::u32().unwrap() % 400);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        process.kill().await;
        for sender in senders {
            sender.await.unwrap();
        }
        let acknowledged = acknowledged.lock().unwrap().clone();
        examine(&database, folder.path(), &acknowledged, &mut findings).await;
        if stop_when_lost && findings.lost > 0 {
            break;
        }
    }
    // A start after all this sweeps what was being received.
    let process = Process::start(process::serve(&database.url.with_password(), folder.path())).await;
    assert!(files_below(&folder.path().join("incoming")).is_empty(), "unfinished files are swept");
    assert_eq!(process.terminate().await, Some(0));
    findings
}

/// Sends new instances until the connection breaks, and notes each that was acknowledged.
async fn send(
    to: std::net::SocketAddr,
    round: u32,
    sender: u32,
    acknowledged: Arc<Mutex<HashMap<String, [u8; 32]>>>,
) {
    let mut peer = Peer::associate(to).await;
    for instance in 0.. {
        let slice = slice(sender, 1 + sender, 1, round * 100_000 + instance).side(64).build();
        match peer.store(&slice, 16_000).await {
            Some(0) => {
                acknowledged.lock().unwrap().insert(slice.sop_instance_uid.clone(), slice.hash());
            }
            Some(status) => panic!("{status:04X}"),
            None => return,
        }
    }
}

/// The same by STOW-RS, three instances in a request.
async fn put(person: Person, round: u32, sender: u32, acknowledged: Arc<Mutex<HashMap<String, [u8; 32]>>>) {
    for request in 0.. {
        let slices: Vec<Instance> = (0..3)
            .map(|part| slice(sender, 1 + sender, 1, round * 100_000 + request * 3 + part).side(64).build())
            .collect();
        let Ok(answer) = post(&person, "/dicom-web/studies", &slices).send().await else { return };
        assert_eq!(answer.status(), 200);
        // The answer may be cut off: what it does not name was not acknowledged.
        let Ok(answer) = answer.json::<serde_json::Value>().await else { return };
        assert_eq!(answer["00081199"]["Value"].as_array().map(Vec::len), Some(3));
        let stored = slices.iter().map(|slice| (slice.sop_instance_uid.clone(), slice.hash()));
        acknowledged.lock().unwrap().extend(stored);
    }
}

async fn examine(
    database: &TestDatabase,
    folder: &std::path::Path,
    acknowledged: &HashMap<String, [u8; 32]>,
    findings: &mut Findings,
) {
    let mut conn = database.connect().await;
    let rows: Vec<(String, String, u64, Vec<u8>)> = conn
        .query("SELECT sop_instance_uid, path, data_set_offset, data_set_sha256 FROM instance")
        .await
        .unwrap();
    let mut held = HashMap::new();
    for (uid, path, offset, hash) in rows {
        let right = std::fs::read(folder.join(path)).is_ok_and(|bytes| {
            let offset = usize::try_from(offset).unwrap();
            bytes.get(offset..).is_some_and(|data_set| Sha256::digest(data_set)[..] == hash[..])
        });
        findings.without_file += usize::from(!right);
        held.insert(uid, hash);
    }
    findings.acknowledged = acknowledged.len();
    findings.lost = acknowledged
        .iter()
        .filter(|(uid, hash)| held.get(*uid).is_none_or(|held| held[..] != hash[..]))
        .count();
    let miscounted: Option<usize> = conn
        .query_first(
            "SELECT COUNT(*)
               FROM study
              WHERE number_of_study_related_instances <> (
                        SELECT COUNT(*)
                          FROM instance
                          JOIN series USING (series_key)
                         WHERE series.study_key = study.study_key)",
        )
        .await
        .unwrap();
    findings.miscounted += miscounted.unwrap();
    conn.disconnect().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_loses_nothing_that_was_acknowledged() {
    let findings = kill_rounds(12, false, false, false).await;
    assert!(findings.acknowledged > 100, "{findings:?}");
    assert_eq!((findings.lost, findings.without_file, findings.miscounted), (0, 0, 0), "{findings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_shows_a_server_that_answers_before_it_commits() {
    let findings = kill_rounds(40, false, true, true).await;
    assert!(findings.lost > 0, "the negative control lost nothing: {findings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_loses_nothing_that_stow_rs_acknowledged() {
    let findings = kill_rounds(8, true, false, false).await;
    assert!(findings.acknowledged > 50, "{findings:?}");
    assert_eq!((findings.lost, findings.without_file, findings.miscounted), (0, 0, 0), "{findings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_shows_stow_rs_that_answers_before_it_commits() {
    let findings = kill_rounds(40, true, true, true).await;
    assert!(findings.lost > 0, "the negative control lost nothing: {findings:?}");
}

/// An instance whose rows could be written, of which no file exists.
fn without_file(number: u32) -> NewInstance {
    let data_set = slice(1, 1, 1, number).build().data_set;
    let encoding = Encoding::ExplicitVrLittleEndian;
    let scan = prescan::scan(Cursor::new(&data_set), data_set.len() as u64, encoding, &LIMITS).unwrap();
    NewInstance {
        attributes: Attributes::from_scan(&scan, None, None).unwrap(),
        path: format!("archive/{number}"),
        size_bytes: 1,
        data_set_offset: 0,
        data_set_sha256: Sha256::digest(&data_set).into(),
        pixel_data_offset: None,
        pixel_data_length: None,
        frame_index: None,
        transfer_syntax_uid: uids::EXPLICIT_VR_LITTLE_ENDIAN.into(),
        source_ae_title: "TEST".into(),
        source_address: "127.0.0.1".into(),
        audit: None,
        received_at: chrono::Utc::now(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_wait_for_their_file_and_a_file_that_is_lost_costs_its_own_rows_alone() {
    let database = database::fresh().await;
    db::schema::prepare(&database.url).await.unwrap();
    let pool = db::connect(&database.url).await.unwrap();
    let committer = Committer::start(pool.clone(), Activity::default()).unwrap();
    let mut conn = database.connect().await;
    let mut rows = async || -> Vec<String> {
        conn.query("SELECT path FROM instance ORDER BY path").await.expect("the table")
    };

    let (first_is_durable, first) = oneshot::channel();
    let (second_is_durable, second) = oneshot::channel();
    let (third_is_durable, third) = oneshot::channel();
    let first = committer.commit(without_file(1), Durable::Soon(first)).await;
    let second = committer.commit(without_file(2), Durable::Soon(second)).await;
    let third = committer.commit(without_file(3), Durable::Soon(third)).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(rows().await.is_empty(), "rows were committed before their files");

    first_is_durable.send(()).unwrap();
    drop(second_is_durable);
    third_is_durable.send(()).unwrap();
    assert_eq!(first.await.unwrap(), Outcome::Stored);
    assert!(second.await.unwrap_err().nothing_was_committed);
    assert_eq!(third.await.unwrap(), Outcome::Stored);
    assert_eq!(rows().await, ["archive/1", "archive/3"]);
    let counts: Option<(u32, u32)> = conn
        .query_first("SELECT number_of_study_related_series, number_of_study_related_instances FROM study")
        .await
        .unwrap();
    assert_eq!(counts, Some((1, 2)));
}
