//! Orthanc as SCU: it asks filmroom, has studies sent to itself, stores here and asks whether that is safe; and it
//! answers when we ask it the same.

use std::collections::BTreeSet;

use filmroom::db::peer::{self, Encryption, PeerDetails};
use serde_json::{Value, json};

use crate::jobs::{impatient, send, until};
use crate::support::instance::{Instance, slice};
use crate::support::remote::Remote;
use crate::support::{TestServer, eventually};

/// A server and an Orthanc that know each other.
async fn both() -> (TestServer, Remote) {
    let pacs = TestServer::start_with(impatient).await;
    let orthanc = Remote::orthanc(pacs.dicom).await;
    let details = PeerDetails {
        ae_title: "ORTHANC".parse().expect("an AE title"),
        host: "127.0.0.1".to_owned(),
        port: Some(orthanc.port),
        services: "echo,store,find,get,move,commit".parse().expect("services"),
        is_destination: true,
        offers_commitment: true,
        encryption: Encryption::Optional,
        certificate: None,
        description: String::new(),
    };
    let mut conn = pacs.database.connect().await;
    peer::add(&mut conn, &details).await.expect("a peer");
    conn.disconnect().await.expect("a goodbye");
    (pacs, orthanc)
}

async fn filled() -> (TestServer, Remote) {
    let (pacs, orthanc) = both().await;
    let one = (1..=3).map(|number| slice(1, 1, 1, number).build());
    let instances: Vec<Instance> = one.chain([slice(2, 2, 1, 1).build()]).collect();
    for answer in pacs.store_all(&instances).await {
        assert!(answer.is_success(), "{answer:?}");
    }
    (pacs, orthanc)
}

/// Asks through Orthanc, and returns the path of the query and what it found.
async fn query(orthanc: &Remote, level: &str, keys: Value) -> (String, Vec<Value>) {
    let asked = orthanc.has_done("/modalities/us/query", json!({ "Level": level, "Query": keys })).await;
    let path = asked["Path"].as_str().expect("a path").to_owned();
    let mut found = Vec::new();
    for answer in orthanc.says(&format!("{path}/answers")).await.as_array().expect("answers") {
        let number = answer.as_str().expect("a number");
        found.push(orthanc.says(&format!("{path}/answers/{number}/content?simplify")).await);
    }
    (path, found)
}

fn all<'a>(found: &'a [Value], keyword: &str) -> BTreeSet<&'a str> {
    found.iter().filter_map(|answer| answer[keyword].as_str()).collect()
}

/// SOP Instance UIDs of what Orthanc has.
async fn held(orthanc: &Remote) -> BTreeSet<String> {
    let instances = orthanc.says("/instances?expand").await;
    let instances = instances.as_array().expect("instances").clone();
    instances
        .iter()
        .filter_map(|one| Some(one["MainDicomTags"]["SOPInstanceUID"].as_str()?.to_owned()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_echoes_and_finds_at_each_level() {
    let (_pacs, orthanc) = filled().await;
    orthanc.has_done("/modalities/us/echo", json!({})).await;
    let keys = json!({ "PatientName": "doe*", "StudyInstanceUID": "", "ModalitiesInStudy": "" });
    let (_, studies) = query(&orthanc, "Study", keys).await;
    assert_eq!(all(&studies, "StudyInstanceUID"), ["1.2.3.1", "1.2.3.2"].into());
    assert_eq!(all(&studies, "ModalitiesInStudy"), ["CT"].into());
    let (_, none) = query(&orthanc, "Study", json!({ "PatientID": "nobody" })).await;
    assert!(none.is_empty(), "{none:?}");
    let (_, patients) = query(&orthanc, "Patient", json!({ "PatientID": "P2", "PatientName": "" })).await;
    assert_eq!(all(&patients, "PatientName"), ["Doe^Jane2"].into());
    let keys = json!({ "StudyInstanceUID": "1.2.3.1", "Modality": "CT" });
    let (_, series) = query(&orthanc, "Series", keys).await;
    assert_eq!(all(&series, "SeriesInstanceUID"), ["1.2.3.1.1"].into());
    let keys =
        json!({ "StudyInstanceUID": "1.2.3.1", "SeriesInstanceUID": "1.2.3.1.1", "SOPInstanceUID": "" });
    let (_, instances) = query(&orthanc, "Instance", keys).await;
    assert_eq!(instances.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_has_what_it_found_sent_to_itself() {
    let (pacs, orthanc) = filled().await;
    let (path, found) = query(&orthanc, "Study", json!({ "StudyInstanceUID": "1.2.3.1" })).await;
    assert_eq!(found.len(), 1);
    let target = json!({ "TargetAet": "ORTHANC", "Synchronous": true });
    orthanc.has_done(&format!("{path}/retrieve"), target).await;
    let expected: BTreeSet<String> = (1..=3).map(|number| format!("1.2.3.1.1.{number}")).collect();
    assert_eq!(held(&orthanc).await, expected);

    let request = json!({
        "Level": "Series",
        "Resources": [{ "StudyInstanceUID": "1.2.3.2", "SeriesInstanceUID": "1.2.3.2.1" }],
        "TargetAet": "ORTHANC",
        "Synchronous": true,
    });
    orthanc.has_done("/modalities/us/move", request).await;
    assert_eq!(held(&orthanc).await.len(), 4);
    let details: String = pacs.value("SELECT details FROM audit WHERE action = 'send' LIMIT 1").await;
    assert_eq!(details, "to ORTHANC for ORTHANC");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_stores_here_and_is_told_what_is_safe() {
    let (pacs, orthanc) = both().await;
    let sent = [slice(1, 1, 1, 1).build(), slice(1, 1, 1, 2).build()];
    orthanc.fill(&sent).await;
    let resources = orthanc.says("/studies").await;
    let request = json!({ "Resources": resources, "Synchronous": true });
    let stored = orthanc.has_done("/modalities/us/store", request).await;
    assert_eq!(
        (&stored["InstancesCount"], &stored["FailedInstancesCount"]),
        (&json!(2), &json!(0)),
        "{stored}"
    );
    for instance in &sent {
        let sql = format!(
            "SELECT data_set_sha256 FROM instance WHERE sop_instance_uid = '{}'",
            instance.sop_instance_uid
        );
        assert_eq!(pacs.value::<Vec<u8>>(&sql).await, instance.hash(), "byte for byte");
    }

    let class = &sent[0].sop_class_uid;
    let asked = json!({ "DicomInstances": [[class, "1.2.3.1.1.1"], [class, "1.2.3.1.1.99"]] });
    let asked = orthanc.has_done("/modalities/us/storage-commitment", asked).await;
    let path = asked["Path"].as_str().expect("a path").to_owned();
    eventually("the report has come", async || orthanc.says(&path).await["Status"] != "Pending").await;
    let report = orthanc.says(&path).await;
    assert_eq!(report["Status"], "Failure", "{report}");
    assert_eq!(report["Success"][0]["SOPInstanceUID"], "1.2.3.1.1.1", "{report}");
    assert_eq!(report["Failures"][0]["SOPInstanceUID"], "1.2.3.1.1.99", "{report}");
    assert_eq!(report["Failures"][0]["FailureReason"], 0x0112, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_to_it_is_safely_stored_there() {
    let (pacs, orthanc) = filled().await;
    send(&pacs, "ORTHANC").await;
    until(&pacs, "done").await;
    assert_eq!(held(&orthanc).await.len(), 3);
    eventually("the page of the study says so", async || {
        let page = pacs.get("/studies/1.2.3.1").await.text().await.expect("text");
        page.contains("Safely stored at ORTHANC")
    })
    .await;
}
