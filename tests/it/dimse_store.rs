//! C-STORE: what is acknowledged, what it is answered, and what it leaves behind.

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use sha2::{Digest, Sha256};

use crate::support::instance::{data_set_of, slice};
use crate::support::peer::{self, Peer};
use crate::support::process::{self, Process};
use crate::support::{TestServer, database};

#[tokio::test(flavor = "multi_thread")]
async fn a_data_set_is_stored_byte_for_byte() {
    let pacs = TestServer::start().await;
    let odd = slice(1, 1, 1, 1)
        .bytes(dicom_core::Tag(0x0009, 0x0010), VR::LO, b"ACME PRIVATE".to_vec())
        .bytes(dicom_core::Tag(0x0009, 0x1001), VR::UN, vec![1, 2, 3, 4])
        .build();

    assert!(pacs.store(&odd).await.is_success());

    let files = pacs.files();
    assert_eq!(files.len(), 1);
    let file = std::fs::read(&files[0]).unwrap();
    assert_eq!(data_set_of(&file), odd.data_set);
    let hash: Vec<u8> = pacs.value("SELECT data_set_sha256 FROM instance").await;
    assert_eq!(hash, odd.hash());
    let offset: u64 = pacs.value("SELECT data_set_offset FROM instance").await;
    assert_eq!(Sha256::digest(&file[usize::try_from(offset).unwrap()..])[..], odd.hash());
}

#[tokio::test(flavor = "multi_thread")]
async fn storing_the_same_instance_twice_keeps_one() {
    let pacs = TestServer::start().await;
    let one = slice(1, 1, 1, 1).build();

    assert!(pacs.store(&one).await.is_success());
    let received_at: String = pacs.value("SELECT CAST(received_at AS CHAR) FROM instance").await;
    assert!(pacs.store(&one).await.is_success());

    assert_eq!(pacs.files().len(), 1);
    assert_eq!(pacs.count("instance").await, 1);
    assert_eq!(pacs.count("quarantine").await, 0);
    let after: String = pacs.value("SELECT CAST(received_at AS CHAR) FROM instance").await;
    assert_eq!(after, received_at);
    assert_eq!(pacs.value::<u64>("SELECT number_of_study_related_instances FROM study").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_instance_twice_at_once_keeps_one() {
    let pacs = TestServer::start().await;
    let one = slice(1, 1, 1, 1).build();
    let mut senders = Vec::new();
    for _ in 0..8 {
        let (to, one) = (pacs.dicom, one.clone());
        senders.push(tokio::spawn(async move { Peer::associate(to).await.store(&one, 16_000).await }));
    }
    for sender in senders {
        assert_eq!(sender.await.unwrap(), Some(0));
    }
    assert_eq!(pacs.count("instance").await, 1);
    assert_eq!(pacs.files().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_content_under_a_known_uid_leaves_the_first_and_goes_to_quarantine() {
    let pacs = TestServer::start().await;
    let first = slice(1, 1, 1, 1).build();
    let second = slice(1, 1, 1, 1).text(tags::PATIENT_NAME, VR::PN, "Doe^John").build();

    assert!(pacs.store(&first).await.is_success());
    let answer = pacs.store(&second).await;
    assert_eq!(answer.status, Some(0xB000), "{answer:?}");
    assert!(answer.comment.contains("quarantine"), "{answer:?}");
    // Sent once more it changes nothing.
    assert_eq!(pacs.store(&second).await.status, Some(0xB000));

    assert_eq!(pacs.files().len(), 2);
    assert_eq!(pacs.count("instance").await, 1);
    assert_eq!(pacs.count("quarantine").await, 1);
    assert_eq!(pacs.value::<Vec<u8>>("SELECT data_set_sha256 FROM instance").await, first.hash());
    assert_eq!(pacs.value::<Vec<u8>>("SELECT data_set_sha256 FROM quarantine").await, second.hash());
    assert_eq!(pacs.value::<String>("SELECT patient_name FROM study").await, "Doe^Jane1");
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_senders_of_one_study_get_exact_counts() {
    let pacs = TestServer::start().await;
    let mut senders = Vec::new();
    for sender in 0..20 {
        let to = pacs.dicom;
        senders.push(tokio::spawn(async move {
            let mut peer = Peer::associate(to).await;
            for instance in 0..10 {
                let slice = slice(1, 1, 1 + sender % 4, sender * 100 + instance).build();
                assert_eq!(peer.store(&slice, 16_000).await, Some(0));
            }
        }));
    }
    for sender in senders {
        sender.await.unwrap();
    }
    assert_eq!(pacs.count("patient").await, 1);
    assert_eq!(pacs.count("study").await, 1);
    assert_eq!(pacs.count("series").await, 4);
    assert_eq!(pacs.count("instance").await, 200);
    assert_eq!(pacs.value::<u64>("SELECT number_of_study_related_instances FROM study").await, 200);
    assert_eq!(pacs.value::<u64>("SELECT number_of_study_related_series FROM study").await, 4);
    assert_eq!(pacs.value::<u64>("SELECT MIN(number_of_series_related_instances) FROM series").await, 50);
    assert_eq!(pacs.files().len(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn four_senders_of_four_studies_of_one_new_patient_make_one_patient() {
    let pacs = TestServer::start().await;
    let mut senders = Vec::new();
    for study in 1..=4 {
        let to = pacs.dicom;
        senders.push(tokio::spawn(async move {
            let mut peer = Peer::associate(to).await;
            for instance in 0..10 {
                assert_eq!(peer.store(&slice(1, study, 1, instance).build(), 16_000).await, Some(0));
            }
        }));
    }
    for sender in senders {
        sender.await.unwrap();
    }
    assert_eq!(pacs.count("patient").await, 1);
    assert_eq!(pacs.count("study").await, 4);
    assert_eq!(pacs.value::<u64>("SELECT SUM(number_of_study_related_instances) FROM study").await, 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_instance_than_the_command_names_is_refused() {
    let pacs = TestServer::start().await;
    let mut liar = slice(1, 1, 1, 1).build();
    liar.sop_instance_uid = "1.2.3.999".into();
    let mut peer = Peer::associate(pacs.dicom).await;

    assert_eq!(peer.store(&liar, 16_000).await, Some(0xA900));
    assert!(peer.echoes().await);
    assert!(pacs.files().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_sop_class_than_was_negotiated_is_kept_with_a_warning() {
    let pacs = TestServer::start().await;
    let mr = slice(1, 1, 1, 1).text(tags::SOP_CLASS_UID, VR::UI, uids::MR_IMAGE_STORAGE).build();
    let mut named_ct = mr.clone();
    named_ct.sop_class_uid = uids::CT_IMAGE_STORAGE.into();
    let mut peer = Peer::associate(pacs.dicom).await;

    assert_eq!(peer.store(&named_ct, 16_000).await, Some(0xB007));

    assert_eq!(pacs.value::<String>("SELECT sop_class_uid FROM instance").await, uids::MR_IMAGE_STORAGE);
    assert_eq!(pacs.value::<Vec<u8>>("SELECT data_set_sha256 FROM instance").await, mr.hash());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_without_study_is_kept_under_one_of_its_own_with_a_warning() {
    let pacs = TestServer::start().await;
    let stray = slice(1, 1, 1, 1).without(tags::STUDY_INSTANCE_UID).build();

    let answer = pacs.store(&stray).await;

    assert_eq!(answer.status, Some(0xB007), "{answer:?}");
    assert!(pacs.value::<String>("SELECT study_instance_uid FROM study").await.starts_with("2.25."));
    assert_eq!(pacs.files().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_transfer_syntax_is_stored_as_it_is() {
    let pacs = TestServer::start().await;
    let slice = slice(1, 1, 1, 1).build();
    let mut request = peer::request();
    request.presentation_contexts[0].transfer_syntaxes = vec!["1.2.840.113619.99.1".into()];
    let mut peer = Peer::associate_with(pacs.dicom, request).await;

    assert_eq!(peer.store(&slice, 16_000).await, Some(0));

    assert_eq!(pacs.value::<String>("SELECT transfer_syntax_uid FROM instance").await, "1.2.840.113619.99.1");
    assert_eq!(pacs.value::<Vec<u8>>("SELECT data_set_sha256 FROM instance").await, slice.hash());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_and_twenty_eight_contexts_are_answered() {
    use dicom_ul::Pdu;
    let pacs = TestServer::start().await;
    let mut rq = peer::request();
    let syntaxes: Vec<String> =
        (0..30).map(|n| format!("1.2.840.10008.1.2.4.{n}.123456789.123456789")).collect();
    rq.presentation_contexts = (0..128u8)
        .map(|n| dicom_ul::pdu::PresentationContextProposed {
            id: 2 * n + 1,
            abstract_syntax: format!("{}.{n}", uids::CT_IMAGE_STORAGE),
            transfer_syntaxes: syntaxes.clone(),
        })
        .collect();
    let mut peer = Peer::connect(pacs.dicom).await;
    peer.send_pdu(&Pdu::AssociationRQ(rq)).await;
    let Some(Pdu::AssociationAC(ac)) = peer.read_pdu().await else { panic!("not accepted") };
    assert_eq!(ac.presentation_contexts.len(), 128);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_association_more_than_allowed_is_told_to_try_again() {
    use dicom_ul::Pdu;
    use dicom_ul::pdu::AssociationRJResult;
    let pacs = TestServer::start_with(|config| config.max_associations = 2).await;
    let _first = Peer::associate(pacs.dicom).await;
    let mut second = Peer::associate(pacs.dicom).await;

    let mut third = Peer::connect(pacs.dicom).await;
    third.send_pdu(&Pdu::AssociationRQ(peer::request())).await;
    let Some(Pdu::AssociationRJ(rj)) = third.read_pdu().await else { panic!("not rejected") };

    assert_eq!(rj.result, AssociationRJResult::Transient);
    assert!(second.echoes().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_finishes_what_is_in_flight_and_exits_with_zero() {
    let database = database::fresh().await;
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(process::serve(&database.url.with_password(), folder.path())).await;
    let one = slice(1, 1, 1, 1).build();
    let mut sender = Peer::associate(process.dicom).await;
    // Half an instance, then the signal, then the other half.
    sender.send(&peer::fragments(1, true, &peer::store_command(&one).encode(), 16_000)).await;
    let data = peer::fragments(1, false, &one.data_set, 64);
    let (before, after) = data.split_at(data.len() / 2);
    sender.send(before).await;
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let dicom = process.dicom;
    let ending = tokio::spawn(process.terminate());
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;

    let mut late = Peer::connect(dicom).await;
    late.send_pdu(&dicom_ul::Pdu::AssociationRQ(peer::request())).await;
    assert!(
        matches!(late.read_pdu().await, Some(dicom_ul::Pdu::AssociationRJ(_))),
        "a new association is refused"
    );
    sender.send(after).await;
    let answer = sender.read_command().await.expect("an answer");

    assert_eq!(answer.u16(tags::STATUS), Some(0));
    assert_eq!(ending.await.unwrap(), Some(0));
    let mut conn = database.connect().await;
    let count: Option<u64> =
        mysql_async::prelude::Queryable::query_first(&mut conn, "SELECT COUNT(*) FROM instance")
            .await
            .unwrap();
    assert_eq!(count, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_caller_may_echo_and_is_shown_when_it_wants_to_store() {
    use filmroom::dimse::access::UnknownPeers;
    let pacs = TestServer::start_with(|config| config.unknown_peers = UnknownPeers::Ask).await;
    let one = slice(1, 1, 1, 1).build();
    let mut peer = Peer::associate(pacs.dicom).await;
    assert!(peer.echoes().await);

    assert_eq!(pacs.store(&one).await.status, None);

    let titles: String = pacs
        .value("SELECT GROUP_CONCAT(calling_ae_title ORDER BY calling_ae_title) FROM unknown_caller")
        .await;
    assert_eq!(titles, "SCRIPT,TESTSCU");
    assert_eq!(pacs.count("instance").await, 0);
}
