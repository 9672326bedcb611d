//! Our SCU asks other archives, retrieves from them and sends to them: DCMTK's dcmqrscp, Orthanc, and pynetdicom with
//! answers in three character sets or without end.

use std::time::Duration;

use dicom_dictionary_std::tags;
use filmroom::dicom::query::Level;
use filmroom::dicom::query::remote::{Identifier, RemoteStudy};
use filmroom::dicom::service::Service;
use filmroom::dimse::scu::{Association, Called, FindLimits, Found, Proposal, Requestor, Timeouts};
use tokio::time::Instant;

use crate::jobs::{impatient, newest, send, until};
use crate::support::instance::{Instance, slice};
use crate::support::remote::Remote;
use crate::support::{TestServer, eventually};

async fn associate(remote: &Remote, sop_class: &str) -> Association {
    let requestor = Requestor {
        ae_title: "FILMROOM".parse().expect("an AE title"),
        identity: None,
        timeouts: Timeouts { response: Duration::from_secs(20), ..Timeouts::default() },
    };
    let called: Called = remote.address().parse().expect("an address");
    requestor.associate(&called, vec![Proposal::asking(sop_class)]).await.expect("an association")
}

fn every_study() -> Identifier {
    [
        tags::PATIENT_NAME,
        tags::PATIENT_ID,
        tags::STUDY_DATE,
        tags::MODALITIES_IN_STUDY,
        tags::NUMBER_OF_STUDY_RELATED_INSTANCES,
    ]
    .into_iter()
    .fold(Identifier::new(Level::Study), Identifier::returning)
}

async fn find(remote: &Remote, identifier: &Identifier, most: usize) -> (Vec<RemoteStudy>, Found) {
    let mut association = associate(remote, identifier.sop_class(Service::Find)).await;
    let limits = FindLimits { matches: most, until: Instant::now() + Duration::from_secs(20) };
    let mut studies = Vec::new();
    let found = association.find(identifier, limits, |answer| studies.extend(RemoteStudy::of(&answer)));
    let found = found.await.expect("an answer");
    association.release().await.expect("released");
    studies.sort_by(|a, b| a.study_instance_uid.cmp(&b.study_instance_uid));
    (studies, found)
}

fn two_studies() -> Vec<Instance> {
    let one = (1..=3).map(|number| slice(1, 1, 1, number).build());
    one.chain([slice(2, 2, 1, 1).build()]).collect()
}

#[tokio::test]
async fn answers_are_read_in_the_character_set_each_of_them_names() {
    let remote = Remote::scripted(&["find", "charsets"]).await;
    let (studies, found) = find(&remote, &every_study(), 100).await;
    assert_eq!(found, Found::All);
    let names: Vec<&str> = studies.iter().map(|study| study.patient_name.as_str()).collect();
    assert_eq!(names, ["Müller^Jörg", "Łukasz^Żółć", "Yamada^Tarou=山田^太郎=やまだ^たろう"]);
    assert_eq!(studies[2].number_of_instances, Some(3));
}

#[tokio::test]
async fn a_query_without_end_is_cancelled_when_there_is_enough_and_the_association_goes_on() {
    let remote = Remote::scripted(&["find", "endless"]).await;
    let identifier = every_study();
    let mut association = associate(&remote, identifier.sop_class(Service::Find)).await;
    for _ in 0..2 {
        let limits = FindLimits { matches: 10, until: Instant::now() + Duration::from_secs(20) };
        let mut count = 0;
        let found = association.find(&identifier, limits, |_| count += 1).await.expect("an answer");
        assert_eq!((found, count), (Found::Enough, 10));
    }
    let limits = FindLimits { matches: usize::MAX, until: Instant::now() + Duration::from_millis(300) };
    assert_eq!(association.find(&identifier, limits, |_| {}).await.expect("an answer"), Found::Late);
    association.release().await.expect("released");
    eventually("it was told to stop each time", async || remote.lines() == ["cancelled"; 3]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dcmqrscp_is_asked_retrieved_from_both_ways_and_sent_to() {
    let pacs = TestServer::start_with(impatient).await;
    let remote = Remote::dcmqrscp(pacs.dicom).await;
    remote.fill(&two_studies()).await;
    remote.become_peer(&pacs.database).await;
    both_ways(&pacs, &remote).await;
    pacs.store(&slice(1, 1, 1, 9).build()).await;
    let before = remote.files();
    send(&pacs, remote.ae_title).await;
    until(&pacs, "done").await;
    assert_eq!(remote.files(), before + 1, "of four instances it lacked one");
}

#[tokio::test(flavor = "multi_thread")]
async fn orthanc_is_asked_retrieved_from_both_ways_and_sent_to() {
    let pacs = TestServer::start_with(impatient).await;
    let remote = Remote::orthanc(pacs.dicom).await;
    remote.fill(&two_studies()).await;
    remote.become_peer(&pacs.database).await;
    both_ways(&pacs, &remote).await;
    pacs.store(&slice(1, 1, 1, 9).build()).await;
    send(&pacs, remote.ae_title).await;
    until(&pacs, "done").await;
    let one = every_study().matching(tags::STUDY_INSTANCE_UID, "1.2.3.1");
    let (studies, _) = find(&remote, &one, 10).await;
    assert_eq!(studies[0].number_of_instances, Some(4));
}

/// The study 1.2.3.1 by C-GET and 1.2.3.2 by C-MOVE.
async fn both_ways(pacs: &TestServer, remote: &Remote) {
    let (studies, found) = find(remote, &every_study(), 100).await;
    assert_eq!((studies.len(), found), (2, Found::All));
    assert_eq!(studies[0].patient_name, "Doe^Jane1");
    for (study, method, instances) in [("1.2.3.1", "get", 3_u32), ("1.2.3.2", "move", 1)] {
        let fields = [("peer", remote.ae_title), ("study", study), ("method", method)];
        let made = pacs.admin.post("/remote", "/remote/retrieve", &fields).await;
        assert_eq!(made.status(), 303, "{:?}", made.text().await);
        until(pacs, "done").await;
        assert_eq!(newest(pacs).await, ("done".into(), instances, 0, String::new()), "{method}");
        let sql = format!(
            "SELECT CAST(number_of_study_related_instances AS UNSIGNED) FROM study WHERE study_instance_uid = '{study}'"
        );
        assert_eq!(pacs.value::<u32>(&sql).await, instances, "{method}");
        let source: String =
            pacs.value("SELECT source_ae_title FROM instance ORDER BY instance_key DESC LIMIT 1").await;
        assert_eq!(source, remote.ae_title, "{method}");
    }
    let fields = [("peer", remote.ae_title), ("study", "1.2.3.99"), ("method", "get")];
    pacs.admin.post("/remote", "/remote/retrieve", &fields).await;
    until(pacs, "failed").await;
    let error = newest(pacs).await.3;
    assert!(error.starts_with("The study was not retrieved: "), "{error}");
}
