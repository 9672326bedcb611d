//! C-GET and C-MOVE, PS3.4 C.4.2 and C.4.3: what arrives is what was stored, what is not taken as it is stored is
//! converted, every sub-operation is counted, and a destination that is unknown, down, silent or rude costs no more
//! than its own instances. The SCUs and destinations are pynetdicom and DCMTK.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use mysql_async::prelude::Queryable;
use serde_json::json;
use tokio::process::{Child, Command};

use crate::support::instance::{Instance, slice};
use crate::support::qr::{Outcome, allow, ask};
use crate::support::remote::{Remote, free_port};
use crate::support::{TestServer, eventually, pydicom_data, store_files};

const CT: &str = uids::CT_IMAGE_STORAGE;
const EXPLICIT: &str = uids::EXPLICIT_VR_LITTLE_ENDIAN;
const IMPLICIT: &str = uids::IMPLICIT_VR_LITTLE_ENDIAN;

/// A study of `count` slices, stored.
async fn study_of(pacs: &TestServer, count: u32) -> Vec<Instance> {
    let slices: Vec<Instance> = (1..=count).map(|number| slice(1, 1, 1, number).build()).collect();
    for answer in pacs.store_all(&slices).await {
        assert!(answer.is_success(), "{answer:?}");
    }
    slices
}

async fn archive() -> TestServer {
    let pacs = TestServer::start().await;
    allow(&pacs, "TESTSCU", "echo,store,find,get,move", None).await;
    pacs
}

fn keys_of_study() -> serde_json::Value {
    json!({ "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "1.2.3.1" })
}

async fn get(pacs: &TestServer, into: &Path, more: serde_json::Value) -> Outcome {
    let mut request = json!({ "keys": keys_of_study(), "contexts": { CT: [EXPLICIT] }, "into": into });
    request.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    ask(pacs, "get", request).await
}

/// Completed, failed, warning.
fn counts(outcome: &Outcome) -> [u16; 3] {
    ["Completed", "Failed", "Warning"].map(|name| outcome.last().counts[name].expect("a count"))
}

/// The data set of a Part 10 file.
fn data_set_of(file: &Path) -> Vec<u8> {
    let bytes = std::fs::read(file).expect("a file");
    let length = bytes.get(140..144).expect("the length of group 0002");
    let length = u32::from_le_bytes(length.try_into().expect("four bytes"));
    bytes.get(144 + usize::try_from(length).expect("small")..).expect("a data set").to_vec()
}

#[tokio::test]
async fn what_comes_by_c_get_is_what_was_stored_byte_for_byte_and_every_sub_operation_is_counted() {
    let pacs = archive().await;
    let slices = study_of(&pacs, 5).await;
    let folder = tempfile::tempdir().expect("a folder");
    for maximum_pdu in [0, 128, 16_382, 131_072] {
        let outcome = get(&pacs, folder.path(), json!({ "maximum_pdu": maximum_pdu })).await;
        assert_eq!(outcome.status(), Some(0), "{outcome:?}");
        assert_eq!(counts(&outcome), [5, 0, 0]);
        let remaining: Vec<_> = outcome.responses.iter().filter_map(|r| r.counts["Remaining"]).collect();
        assert_eq!(remaining, [4, 3, 2, 1, 0], "a Pending response for each");
        for slice in &slices {
            let arrived = &outcome.stored[&slice.sop_instance_uid];
            assert_eq!(arrived.syntax, EXPLICIT);
            assert!(std::fs::read(&arrived.file).expect("a file") == slice.data_set, "{arrived:?}");
        }
    }
    assert_eq!(pacs.count("audit WHERE action = 'send' AND study_instance_uid = '1.2.3.1'").await, 4);
}

#[tokio::test]
async fn compressed_instances_go_as_they_are_where_that_is_taken_and_native_where_it_is_not() {
    let pacs = archive().await;
    let file = pydicom_data().join("test_files/JPEG2000.dcm");
    let answers = store_files(pacs.dicom, &[&file]).await;
    assert!(answers.iter().all(|answer| answer.is_success()), "{answers:?}");
    let study: String = pacs.value("SELECT study_instance_uid FROM study").await;
    let class: String = pacs.value("SELECT sop_class_uid FROM instance").await;
    let stored: String = pacs.value("SELECT transfer_syntax_uid FROM instance").await;
    let keys = json!({ "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": study });
    let folder = tempfile::tempdir().expect("a folder");
    for (offered, expected) in [
        (vec![stored.as_str(), EXPLICIT], stored.as_str()),
        (vec![EXPLICIT, IMPLICIT], EXPLICIT),
        (vec![IMPLICIT], IMPLICIT),
    ] {
        let more = json!({ "keys": keys, "contexts": { class.as_str(): offered } });
        let outcome = get(&pacs, folder.path(), more).await;
        assert_eq!(outcome.status(), Some(0), "{offered:?}: {outcome:?}");
        let arrived = outcome.stored.values().next().expect("an instance");
        assert_eq!(arrived.syntax, expected, "{offered:?}");
        let length = std::fs::metadata(&arrived.file).expect("a file").len();
        if expected == stored {
            assert!(std::fs::read(&arrived.file).expect("a file") == data_set_of(&file), "byte for byte");
        } else {
            assert!(length > 1024 * 256 * 2, "1024 x 256 pixels of 16 bits are native now: {length} bytes");
        }
    }
    // Another compressed syntax helps nobody, and says so.
    let more = json!({ "keys": keys, "contexts": { class.as_str(): [uids::RLE_LOSSLESS] } });
    let outcome = get(&pacs, folder.path(), more).await;
    assert_eq!((outcome.status(), counts(&outcome)), (Some(0xA702), [0, 1, 0]));
    assert!(
        outcome.last().comment.contains("is not taken, nor is anything native"),
        "{}",
        outcome.last().comment
    );
}

#[tokio::test]
async fn one_instance_that_is_not_taken_does_not_keep_the_rest() {
    let pacs = archive().await;
    let slices = study_of(&pacs, 4).await;
    let folder = tempfile::tempdir().expect("a folder");
    let answer = json!({ &slices[1].sop_instance_uid: 0xC123, &slices[2].sop_instance_uid: 0xB000 });
    let outcome = get(&pacs, folder.path(), json!({ "answer": answer })).await;
    assert_eq!((outcome.status(), counts(&outcome)), (Some(0xB000), [2, 1, 1]));
    assert_eq!(outcome.stored.len(), 3);
    let failed = outcome.last().keys.as_ref().and_then(|keys| keys["FailedSOPInstanceUIDList"].as_str());
    assert_eq!(failed, Some(slices[1].sop_instance_uid.as_str()));

    let nothing =
        get(&pacs, folder.path(), json!({ "contexts": { uids::MR_IMAGE_STORAGE: [EXPLICIT] } })).await;
    assert_eq!((nothing.status(), counts(&nothing)), (Some(0xA702), [0, 4, 0]));
    assert!(nothing.last().comment.contains("SOP class"), "{}", nothing.last().comment);

    let other = json!({ "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "1.2.9" });
    let other = get(&pacs, folder.path(), json!({ "keys": other })).await;
    assert_eq!((other.status(), counts(&other)), (Some(0), [0, 0, 0]), "what is not there is no failure");
}

#[tokio::test]
async fn a_file_that_is_gone_fails_by_itself_and_the_rest_arrive() {
    let pacs = archive().await;
    let slices = study_of(&pacs, 3).await;
    let uid = &slices[1].sop_instance_uid;
    let path: String =
        pacs.value(&format!("SELECT path FROM instance WHERE sop_instance_uid = '{uid}'")).await;
    std::fs::remove_file(pacs.folder.path().join(path)).expect("a file");
    let folder = tempfile::tempdir().expect("a folder");
    let outcome = get(&pacs, folder.path(), json!({})).await;
    assert_eq!((outcome.status(), counts(&outcome)), (Some(0xB000), [2, 1, 0]), "{outcome:?}");
}

#[tokio::test]
async fn a_retrieve_is_cancelled_between_two_instances() {
    let pacs = archive().await;
    study_of(&pacs, 60).await;
    let folder = tempfile::tempdir().expect("a folder");
    let outcome = get(&pacs, folder.path(), json!({ "cancel_after": 2, "slow": 0.02 })).await;
    assert_eq!(outcome.status(), Some(0xFE00), "{outcome:?}");
    let [completed, failed, warning] = counts(&outcome);
    assert!((2..60).contains(&completed), "{completed} were sent");
    let remaining = outcome.last().counts["Remaining"].expect("a count");
    assert_eq!(completed + failed + warning + remaining, 60);
}

#[tokio::test]
async fn a_retrieve_needs_the_unique_keys_and_takes_lists_of_them() {
    let pacs = archive().await;
    let slices = study_of(&pacs, 3).await;
    let folder = tempfile::tempdir().expect("a folder");
    let series = "1.2.3.1.1";
    let two = format!("{}\\{}", slices[0].sop_instance_uid, slices[2].sop_instance_uid);
    for (keys, status, arrived) in [
        (json!({ "QueryRetrieveLevel": "STUDY" }), 0xA900, 0),
        (json!({ "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "" }), 0xA900, 0),
        (json!({ "QueryRetrieveLevel": "SERIES", "SeriesInstanceUID": series }), 0xA900, 0),
        (
            json!({ "QueryRetrieveLevel": "SERIES", "StudyInstanceUID": "1.2.3.1", "SeriesInstanceUID": series }),
            0,
            3,
        ),
        (
            json!({ "QueryRetrieveLevel": "IMAGE", "StudyInstanceUID": "1.2.3.1", "SeriesInstanceUID": series,
                "SOPInstanceUID": two }),
            0,
            2,
        ),
    ] {
        let outcome = get(&pacs, folder.path(), json!({ "keys": keys })).await;
        assert_eq!((outcome.status(), outcome.stored.len()), (Some(status), arrived), "{keys}: {outcome:?}");
    }
    let patient = json!({ "QueryRetrieveLevel": "PATIENT", "PatientID": "P1" });
    let outcome = get(&pacs, folder.path(), json!({ "keys": patient, "model": "patient" })).await;
    assert_eq!(outcome.stored.len(), 3, "all of a patient: {outcome:?}");
    let relational = json!({ "QueryRetrieveLevel": "SERIES", "SeriesInstanceUID": series });
    let outcome = get(&pacs, folder.path(), json!({ "keys": relational, "extended": [1] })).await;
    assert_eq!(outcome.stored.len(), 3, "{outcome:?}");
}

/// A storage SCP of DCMTK, and where what it takes goes.
pub struct Destination {
    _process: Child,
    folder: tempfile::TempDir,
    pub port: u16,
}

impl Destination {
    pub async fn start(options: &[&str]) -> Destination {
        let folder = tempfile::tempdir().expect("a folder");
        let port = free_port();
        let process = Command::new("storescp")
            .args(["-od", &folder.path().display().to_string()])
            .args(options)
            .arg(port.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("storescp runs");
        let address: SocketAddr = ([127, 0, 0, 1], port).into();
        eventually(
            "storescp listens",
            || async move { tokio::net::TcpStream::connect(address).await.is_ok() },
        )
        .await;
        Destination { _process: process, folder, port }
    }

    /// Data sets of what has arrived, by SOP Instance UID.
    pub fn arrived(&self) -> BTreeMap<String, Vec<u8>> {
        let files = std::fs::read_dir(self.folder.path()).expect("a folder").flatten();
        files
            .map(|file| {
                let object = dicom_object::open_file(file.path()).expect("a DICOM file");
                let uid = object.meta().media_storage_sop_instance_uid().trim_end_matches('\0').to_owned();
                (uid, data_set_of(&file.path()))
            })
            .collect()
    }
}

async fn move_to(pacs: &TestServer, destination: &str, more: serde_json::Value) -> Outcome {
    let mut request = json!({ "keys": keys_of_study(), "destination": destination });
    request.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    ask(pacs, "move", request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_by_c_move_is_what_was_stored_byte_for_byte() {
    let pacs = archive().await;
    let slices = study_of(&pacs, 5).await;
    let destination = Destination::start(&["+B", "+xa"]).await;
    allow(&pacs, "VIEWER", "echo", Some(destination.port)).await;
    let outcome = move_to(&pacs, "VIEWER", json!({})).await;
    assert_eq!((outcome.status(), counts(&outcome)), (Some(0), [5, 0, 0]), "{outcome:?}");
    let arrived = destination.arrived();
    for slice in &slices {
        assert!(arrived[&slice.sop_instance_uid] == slice.data_set, "{}", slice.sop_instance_uid);
    }
    let details: String = pacs.value("SELECT details FROM audit WHERE action = 'send'").await;
    assert_eq!(details, "to VIEWER for TESTSCU");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_takes_implicit_vr_alone_gets_that() {
    let pacs = archive().await;
    study_of(&pacs, 2).await;
    let file = pydicom_data().join("test_files/MR_small_jpeg_ls_lossless.dcm");
    assert!(store_files(pacs.dicom, &[&file]).await.iter().all(|answer| answer.is_success()));
    let destination = Destination::start(&["+xi"]).await;
    allow(&pacs, "VIEWER", "echo", Some(destination.port)).await;
    let studies: Vec<String> = {
        let mut conn = pacs.database.connect().await;
        conn.query("SELECT study_instance_uid FROM study").await.expect("studies")
    };
    let keys = json!({ "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": studies.join("\\") });
    let outcome = move_to(&pacs, "VIEWER", json!({ "keys": keys })).await;
    assert_eq!((outcome.status(), counts(&outcome)), (Some(0), [3, 0, 0]), "{outcome:?}");
    assert_eq!(destination.arrived().len(), 3);
}

#[tokio::test]
async fn a_destination_that_is_no_peer_or_may_not_be_one_is_a801_and_shows_on_the_peers_page() {
    let pacs = archive().await;
    study_of(&pacs, 1).await;
    allow(&pacs, "CT01", "echo,store", None).await;
    for (title, comment) in
        [("NOBODY", "NOBODY is no peer of this archive"), ("CT01", "CT01 may not be a move destination here")]
    {
        let outcome = move_to(&pacs, title, json!({})).await;
        assert_eq!((outcome.status(), outcome.last().comment.as_str()), (Some(0xA801), comment));
        let shown = format!("unknown_caller WHERE calling_ae_title = '{title}' AND address = ''");
        assert_eq!(pacs.count(&shown).await, 1, "{title}");
    }
    let page = pacs.get("/admin/peers").await.text().await.expect("text");
    assert!(page.contains("NOBODY") && page.contains("destination of a C-MOVE"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_is_down_or_rude_fails_in_words_and_soon() {
    let pacs = archive().await;
    study_of(&pacs, 3).await;
    allow(&pacs, "DOWN", "echo", Some(free_port())).await;
    let rude = Destination::start(&["--abort-after"]).await;
    allow(&pacs, "RUDE", "echo", Some(rude.port)).await;
    for (title, comment) in [("DOWN", "cannot connect to"), ("RUDE", "the peer aborted")] {
        let started = Instant::now();
        let outcome = move_to(&pacs, title, json!({})).await;
        assert_eq!((outcome.status(), counts(&outcome)), (Some(0xA702), [0, 3, 0]), "{title}: {outcome:?}");
        assert!(outcome.last().comment.contains(comment), "{title}: {}", outcome.last().comment);
        assert!(started.elapsed() < Duration::from_secs(60), "{title} took {:?}", started.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_is_cancelled_while_the_destination_says_nothing() {
    let pacs = archive().await;
    study_of(&pacs, 3).await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    allow(&pacs, "SILENT", "echo", Some(silent.local_addr().expect("an address").port())).await;
    let started = Instant::now();
    let outcome = move_to(&pacs, "SILENT", json!({ "cancel_at": 1.0 })).await;
    assert_eq!(outcome.status(), Some(0xFE00), "{outcome:?}");
    let after = outcome.last().after;
    assert!(after < 20.0, "{after} s, of which one was waited for before the cancel");
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_falls_silent_is_waited_for_twice_and_what_is_left_fails_in_words() {
    let pacs = TestServer::start_with(|config| config.patience.response = Duration::from_secs(2)).await;
    allow(&pacs, "TESTSCU", "echo,store,move", None).await;
    let slices = study_of(&pacs, 5).await;
    let remote = Remote::scripted(&["store", "falls-silent", "3"]).await;
    allow(&pacs, remote.ae_title, "echo", Some(remote.port)).await;
    let started = Instant::now();
    let outcome = move_to(&pacs, remote.ae_title, json!({})).await;
    assert_eq!((outcome.status(), counts(&outcome)), (Some(0xB000), [2, 3, 0]), "{outcome:?}");
    assert!(outcome.last().comment.contains("did not respond"), "{}", outcome.last().comment);
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    let failed = outcome.last().keys.as_ref().and_then(|keys| keys["FailedSOPInstanceUIDList"].as_str());
    let expected: Vec<&str> = slices[2..].iter().map(|slice| slice.sop_instance_uid.as_str()).collect();
    assert_eq!(failed, Some(expected.join("\\").as_str()));
}

/// A study of one instance of each of so many SOP classes.
async fn study_of_classes(pacs: &TestServer, count: u32) -> Vec<Instance> {
    let instances: Vec<Instance> = (1..=count)
        .map(|number| {
            let class = format!("1.2.826.0.1.3680043.8.498.900.{number}");
            slice(1, 1, 1, number).text(tags::SOP_CLASS_UID, VR::UI, &class).build()
        })
        .collect();
    for answer in pacs.store_all(&instances).await {
        assert!(answer.is_success(), "{answer:?}");
    }
    instances
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_more_contexts_than_an_association_has_is_moved_over_two() {
    let pacs = archive().await;
    // Two contexts each: as stored, and as the other native transfer syntax.
    study_of_classes(&pacs, 70).await;
    let remote = Remote::scripted(&["store", "good"]).await;
    allow(&pacs, remote.ae_title, "echo", Some(remote.port)).await;
    let outcome = move_to(&pacs, remote.ae_title, json!({})).await;
    assert_eq!((outcome.status(), counts(&outcome)), (Some(0), [70, 0, 0]), "{:?}", outcome.last());
    assert_eq!(remote.taken(), 70);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_association_of_128_contexts_gets_by_each_of_them() {
    let pacs = archive().await;
    let instances = study_of_classes(&pacs, 127).await;
    let folder = tempfile::tempdir().expect("a folder");
    let contexts: serde_json::Map<String, serde_json::Value> =
        instances.iter().map(|instance| (instance.sop_class_uid.clone(), json!([EXPLICIT]))).collect();
    let outcome = get(&pacs, folder.path(), json!({ "contexts": contexts })).await;
    assert_eq!(outcome.accepted.len(), 128);
    assert_eq!((outcome.status(), counts(&outcome)), (Some(0), [127, 0, 0]), "{:?}", outcome.last());
    for instance in &instances {
        let arrived = &outcome.stored[&instance.sop_instance_uid];
        assert!(std::fs::read(&arrived.file).expect("a file") == instance.data_set, "{arrived:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dcmtk_finds_gets_and_moves() {
    let pacs = archive().await;
    study_of(&pacs, 3).await;
    let destination = Destination::start(&["+xa"]).await;
    allow(&pacs, "VIEWER", "echo", Some(destination.port)).await;
    let port = pacs.dicom.port().to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let into = folder.path().display().to_string();
    let study =
        ["-S", "-aet", "TESTSCU", "-aec", "FILMROOM", "-k", "0008,0052=STUDY", "-k", "0020,000d=1.2.3.1"];
    let run = async |program: &str, options: &[&str]| {
        let out = Command::new(program).args(study).args(options).args(["127.0.0.1", &port]).output().await;
        let out = out.expect("DCMTK runs");
        let said =
            format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert!(out.status.success(), "{program} {options:?}: {said}");
        said
    };
    for syntax in ["-x=", "-xe", "-xb", "-xi"] {
        let said = run("findscu", &["-v", syntax, "-k", "0010,0010"]).await;
        assert!(said.contains("Doe^Jane1"), "{syntax}: {said}");
    }
    run("getscu", &["-od", &into]).await;
    assert_eq!(std::fs::read_dir(&into).expect("a folder").count(), 3);
    run("movescu", &["-aem", "VIEWER"]).await;
    assert_eq!(destination.arrived().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn dcmtk_stores_gets_and_moves_whatever_transfer_syntax_it_prefers() {
    let pacs = archive().await;
    let port = pacs.dicom.port().to_string();
    let run = async |program: &str, options: &[&str], more: &[String]| {
        let mut command = Command::new(program);
        command
            .args(["-aet", "TESTSCU", "-aec", "FILMROOM"])
            .args(options)
            .args(["127.0.0.1", &port])
            .args(more);
        let out = command.output().await.expect("DCMTK runs");
        let said =
            format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert!(out.status.success(), "{program} {options:?} {more:?}: {said}");
    };
    let mut files = 0;
    for (option, file) in [
        ("-x=", "CT_small.dcm"),
        ("-xi", "rtplan.dcm"),
        ("-xb", "ExplVR_BigEnd.dcm"),
        ("-xs", "SC_rgb_jpeg_gdcm.dcm"),
        ("-xx", "JPEG-lossy.dcm"),
        ("-xv", "GDCMJ2K_TextGBR.dcm"),
        ("-xw", "JPEG2000.dcm"),
        ("-xu", "JPEGLSNearLossless_08.dcm"),
        ("-xr", "MR_small_RLE.dcm"),
        ("-xd", "image_dfl.dcm"),
    ] {
        let path = pydicom_data().join("test_files").join(file);
        run("storescu", &[option], &[path.display().to_string()]).await;
        files += 1;
        assert_eq!(pacs.count("instance").await, files, "{option} {file}");
    }
    let mut conn = pacs.database.connect().await;
    let studies: Vec<String> =
        conn.query("SELECT DISTINCT study_instance_uid FROM study").await.expect("studies");
    let key = format!("0020,000d={}", studies.join("\\"));
    let study = ["-S", "-k", "0008,0052=STUDY", "-k", key.as_str()];
    let mover = free_port();
    allow(&pacs, "MOVESCU", "echo", Some(mover)).await;
    for preferred in
        ["+x=", "+xe", "+xb", "+xi", "+xs", "+xy", "+xx", "+xv", "+xw", "+xt", "+xu", "+xr", "+xd"]
    {
        for program in ["getscu", "movescu"] {
            let folder = tempfile::tempdir().expect("a folder");
            let (into, own) = (folder.path().display().to_string(), mover.to_string());
            let mut options = vec![preferred, "-od", &into];
            options.extend(study);
            if program == "movescu" {
                options.extend(["-aem", "MOVESCU", "+P", &own]);
            }
            run(program, &options, &[]).await;
            let arrived = std::fs::read_dir(folder.path()).expect("a folder").count();
            assert_eq!(u64::try_from(arrived), Ok(files), "{program} {preferred}");
        }
    }
}

#[tokio::test]
async fn who_has_not_the_right_gets_no_context_and_shows_on_the_peers_page() {
    let pacs = TestServer::start().await;
    allow(&pacs, "TESTSCU", "echo,store", None).await;
    study_of(&pacs, 1).await;
    for (service, right) in [("find", "search"), ("get", "fetch"), ("move", "have studies sent")] {
        let root = match service {
            "find" => uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND,
            "get" => uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_GET,
            _ => uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_MOVE,
        };
        let outcome =
            ask(&pacs, "refused", json!({ "abstract": [root], "contexts": { CT: [EXPLICIT] } })).await;
        assert!(!outcome.accepted.iter().any(|uid| uid == root), "{service}: {outcome:?}");
        let refusal: String = pacs.value("SELECT refusal FROM unknown_caller").await;
        assert!(refusal.contains(right), "{service}: {refusal}");
    }
}
