//! A test for each fault that was met: what it is that must not come back.

use std::io::Write;
use std::time::{Duration, Instant};

use dicom_core::{Tag, VR};
use dicom_dictionary_std::{tags, uids};
use filmroom::dicom::person_name;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use mysql_async::prelude::Queryable;

use crate::support::instance::{Instance, data_set_of, slice};
use crate::support::peer::{self, Peer, fragments, store_command};
use crate::support::process::{self, Process};
use crate::support::{TestServer, database, files_below, store_files};
use crate::web_study::{all, texts};

/// Sends an instance in this transfer syntax.
async fn store_as(pacs: &TestServer, transfer_syntax: &str, instance: &Instance) -> Option<u16> {
    let mut request = peer::request();
    request.presentation_contexts[0].transfer_syntaxes = vec![transfer_syntax.into()];
    Peer::associate_with(pacs.dicom, request).await.store(instance, 16_000).await
}

/// Deletes a study with everything below it, as an administrator does by hand.
async fn delete_by_hand(pacs: &TestServer, study: &str) {
    let mut conn = pacs.database.connect().await;
    let of_study = format!(
        "series_key IN (SELECT series_key
                          FROM series JOIN study USING (study_key)
                         WHERE study_instance_uid = '{study}')"
    );
    for statement in [
        format!("DELETE FROM instance WHERE {of_study}"),
        format!(
            "DELETE series FROM series JOIN study USING (study_key) WHERE study_instance_uid = '{study}'"
        ),
        "DELETE FROM patient_conflict".to_owned(),
        format!("DELETE FROM study WHERE study_instance_uid = '{study}'"),
        "DELETE FROM patient WHERE patient_key NOT IN (SELECT patient_key FROM study)".to_owned(),
        "DELETE FROM equipment WHERE equipment_key NOT IN (SELECT equipment_key FROM series)".to_owned(),
    ] {
        conn.query_drop(&statement).await.unwrap_or_else(|err| panic!("{statement}: {err}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pixels_in_an_unknown_transfer_syntax_are_a_sentence_and_not_a_fault() {
    let pacs = TestServer::start().await;
    // An encapsulated image whose fragment is in nobody's format.
    let mut private = slice(1, 1, 1, 1).build();
    let pixels =
        private.data_set.windows(4).rposition(|bytes| bytes == [0xE0, 0x7F, 0x10, 0x00]).expect("pixels");
    private.data_set.truncate(pixels);
    private.data_set.extend_from_slice(&[0xE0, 0x7F, 0x10, 0x00, b'O', b'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]);
    private.data_set.extend_from_slice(&[0xFE, 0xFF, 0x00, 0xE0, 0, 0, 0, 0]);
    private.data_set.extend_from_slice(&[0xFE, 0xFF, 0x00, 0xE0, 4, 0, 0, 0, 1, 2, 3, 4]);
    private.data_set.extend_from_slice(&[0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
    let syntax = "1.2.840.113619.99.1";
    assert_eq!(store_as(&pacs, syntax, &private).await, Some(0));

    let picture = pacs.get("/instances/1.2.3.1.1.1/frames/1.png").await;
    let status = picture.status().as_u16();
    assert!(status < 500, "{status}");
    let thumbnail = pacs.get("/studies/1.2.3.1/thumbnail.png").await;
    assert_eq!(thumbnail.status(), 200);
    let page = pacs.page("/studies/1.2.3.1/viewer").await;
    let text = texts(&page, "main").concat();
    assert!(text.contains(syntax) && text.contains("compressed in a way"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blank_image_that_deflates_a_thousandfold_is_stored() {
    let pacs = TestServer::start().await;
    let mut blank =
        slice(1, 1, 1, 1).bytes(tags::PIXEL_DATA, VR::OB, vec![0; 2048 * 2048]).side(2048).build();
    let plain = blank.data_set.len();
    let mut deflate = DeflateEncoder::new(Vec::new(), Compression::best());
    deflate.write_all(&blank.data_set).expect("deflated");
    blank.data_set = deflate.finish().expect("deflated");
    assert!(plain / blank.data_set.len() > 500, "{plain} bytes became {}", blank.data_set.len());

    assert_eq!(store_as(&pacs, uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, &blank).await, Some(0));

    assert_eq!(pacs.value::<Vec<u8>>("SELECT data_set_sha256 FROM instance").await, blank.hash());
    assert_eq!(pacs.get("/instances/1.2.3.1.1.1/frames/1.png").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_study_that_was_deleted_by_hand_is_made_again() {
    let pacs = TestServer::start().await;
    let mut sender = Peer::associate(pacs.dicom).await;
    assert_eq!(sender.store(&slice(1, 1, 1, 1).build(), 16_000).await, Some(0));
    delete_by_hand(&pacs, "1.2.3.1").await;

    // The same series, in the association that began before and in a new one.
    assert_eq!(sender.store(&slice(1, 1, 1, 2).build(), 16_000).await, Some(0));
    delete_by_hand(&pacs, "1.2.3.1").await;
    assert_eq!(Peer::associate(pacs.dicom).await.store(&slice(1, 1, 1, 3).build(), 16_000).await, Some(0));
    // Another study of the patient who went with it.
    delete_by_hand(&pacs, "1.2.3.1").await;
    assert_eq!(sender.store(&slice(1, 2, 1, 1).build(), 16_000).await, Some(0));
    assert_eq!(sender.store(&slice(1, 1, 1, 4).build(), 16_000).await, Some(0));

    assert_eq!(pacs.count("study").await, 2);
    assert_eq!(pacs.count("patient").await, 1);
    assert_eq!(pacs.value::<u64>("SELECT SUM(number_of_study_related_instances) FROM study").await, 2);
    assert_eq!(pacs.value::<u64>("SELECT SUM(number_of_study_related_series) FROM study").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflicting_patient_that_was_deleted_by_hand_is_noted_again() {
    let pacs = TestServer::start().await;
    let mut sender = Peer::associate(pacs.dicom).await;
    for instance in [slice(1, 1, 1, 1), slice(2, 1, 1, 2)] {
        assert_eq!(sender.store(&instance.build(), 16_000).await, Some(0));
    }
    let mut conn = pacs.database.connect().await;
    conn.query_drop("DELETE FROM patient_conflict").await.expect("deleted");
    conn.query_drop("DELETE FROM patient WHERE patient_id = 'P2'").await.expect("deleted");

    // The same study says so once more, and so does another one.
    for instance in [slice(1, 3, 1, 1), slice(2, 3, 1, 2)] {
        assert_eq!(sender.store(&instance.build(), 16_000).await, Some(0));
    }
    let conflicts = "patient_conflict JOIN patient USING (patient_key) WHERE patient_id = 'P2'";
    assert_eq!(pacs.count(conflicts).await, 1, "what is noted is of a patient who is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_other_contents_of_one_uid_are_two_in_quarantine_however_often_they_come() {
    let pacs = TestServer::start().await;
    let named = |name| slice(1, 1, 1, 1).text(tags::PATIENT_NAME, VR::PN, name).build();
    let contents = [slice(1, 1, 1, 1).build(), named("Roe^Jane"), named("Roe^John")];
    let expected = [0, 0xB000, 0xB000];
    for round in 1..=3 {
        let mut sender = Peer::associate(pacs.dicom).await;
        for (content, expected) in contents.iter().zip(expected) {
            assert_eq!(sender.store(content, 16_000).await, Some(expected), "round {round}");
        }
        assert_eq!(pacs.count("quarantine").await, 2, "round {round}");
        assert_eq!(pacs.count("instance").await, 1, "round {round}");
        assert_eq!(pacs.files().len(), 3, "round {round}");
    }
    assert_eq!(pacs.value::<u64>("SELECT number_of_study_related_instances FROM study").await, 1);
    let page = pacs.page("/admin/quarantine").await;
    let links: Vec<_> = all(&page, "a[href^='/admin/quarantine/']");
    assert!(links.len() >= 2, "both are shown");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_echo_is_answered_with_its_own_message_id() {
    use filmroom::dimse::command::CommandSet;
    let pacs = TestServer::start().await;
    let mut peer = Peer::associate(pacs.dicom).await;
    for id in [1, 0, 77, 0xFFFF] {
        let mut command = CommandSet::new();
        command.set_uid(tags::AFFECTED_SOP_CLASS_UID, uids::VERIFICATION);
        command.set_u16(tags::COMMAND_FIELD, 0x30);
        command.set_u16(tags::MESSAGE_ID, id);
        command.set_u16(tags::COMMAND_DATA_SET_TYPE, 0x0101);
        assert!(peer.send(&fragments(3, true, &command.encode(), 16_000)).await);
        let answer = peer.read_command().await.expect("an answer");
        assert_eq!(answer.u16(tags::MESSAGE_ID_BEING_RESPONDED_TO), Some(id));
        assert_eq!(answer.u16(tags::COMMAND_FIELD), Some(0x8030));
        assert_eq!(answer.u16(tags::STATUS), Some(0));
        assert_eq!(answer.u16(tags::COMMAND_DATA_SET_TYPE), Some(0x0101));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_answered_with_its_own_message_id() {
    let pacs = TestServer::start().await;
    let mut peer = Peer::associate(pacs.dicom).await;
    for id in [9, 0, 0xFFFF] {
        let instance = slice(1, 1, 1, u32::from(id) + 1).build();
        let mut command = store_command(&instance);
        command.set_u16(tags::MESSAGE_ID, id);
        peer.send(&fragments(1, true, &command.encode(), 16_000)).await;
        peer.send(&fragments(1, false, &instance.data_set, 16_000)).await;
        let answer = peer.read_command().await.expect("an answer");
        assert_eq!(answer.u16(tags::MESSAGE_ID_BEING_RESPONDED_TO), Some(id));
        assert_eq!(answer.u16(tags::STATUS), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_meta_group_whose_length_lies_is_read_and_sent_all_the_same() {
    let pacs = TestServer::start().await;
    let honest = slice(1, 1, 1, 1).build();
    assert_eq!(Peer::associate(pacs.dicom).await.store(&honest, 16_000).await, Some(0));
    // What is on disk is ours; an administrator's tool may have rewritten its group 0002 with a wrong length.
    let path = pacs.files().pop().expect("a file");
    let mut file = std::fs::read(&path).expect("a file");
    assert_eq!(file[132..140], [2, 0, 0, 0, b'U', b'L', 4, 0]);
    for lie in [0, 1, 0xFFFF_FFFF_u32] {
        file[140..144].copy_from_slice(&lie.to_le_bytes());
        std::fs::write(&path, &file).expect("written");
        assert_eq!(pacs.get("/instances/1.2.3.1.1.1").await.status(), 200, "length {lie}");
        assert_eq!(pacs.get("/instances/1.2.3.1.1.1/frames/1.png").await.status(), 200, "length {lie}");
        let sent = pacs.get("/instances/1.2.3.1.1.1.dcm").await.bytes().await.expect("bytes");
        assert_eq!(data_set_of(&sent), honest.data_set, "length {lie}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_set_that_begins_with_group_0002_is_stored_or_refused_and_nothing_else() {
    let pacs = TestServer::start().await;
    // Some senders forget to leave the file meta group out of what they send, and its length lies as well.
    let mut twice = slice(1, 1, 1, 1).build();
    let mut data_set = vec![2, 0, 0, 0, b'U', b'L', 4, 0, 0xF0, 0xFF, 0xFF, 0xFF];
    data_set.extend_from_slice(&[2, 0, 0x10, 0, b'U', b'I', 4, 0, b'1', b'.', b'2', 0]);
    data_set.append(&mut twice.data_set);
    twice.data_set = data_set;
    let mut peer = Peer::associate(pacs.dicom).await;

    let status = peer.store(&twice, 16_000).await.expect("an answer");

    assert!(peer.echoes().await);
    let stored = u64::from(status == 0 || status & 0xF000 == 0xB000);
    assert!(stored == 1 || status & 0xF000 == 0xC000, "{status:04X}");
    assert_eq!(pacs.count("instance").await, stored);
    if stored == 1 {
        assert_eq!(pacs.value::<Vec<u8>>("SELECT data_set_sha256 FROM instance").await, twice.hash());
        assert!(pacs.get("/instances/1.2.3.1.1.1").await.status().as_u16() < 500);
        assert!(pacs.get("/instances/1.2.3.1.1.1/frames/1.png").await.status().as_u16() < 500);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_date_before_the_year_1000_stops_neither_the_committer_nor_a_page() {
    let pacs = TestServer::start().await;
    let mut sender = Peer::associate(pacs.dicom).await;
    for (number, date) in (1..).zip(["00010101", "0000.01.01", "09991231"]) {
        let old = [tags::STUDY_DATE, tags::PATIENT_BIRTH_DATE, tags::SERIES_DATE, tags::ACQUISITION_DATE]
            .into_iter()
            .fold(slice(number, number, 1, 1), |builder, tag| builder.text(tag, VR::DA, date));
        assert_eq!(sender.store(&old.build(), 16_000).await, Some(0), "{date}");
    }
    assert_eq!(sender.store(&slice(9, 9, 1, 1).build(), 16_000).await, Some(0), "the next one");
    for address in
        ["/studies?from=0001-01-01", "/studies?to=-0005-01-01", "/studies?from=00010101&date=range"]
    {
        assert_eq!(pacs.get(address).await.status(), 200, "{address}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_element_without_its_creator_is_sent_on_as_it_came() {
    let pacs = TestServer::start().await;
    // By way of a file and another SCU: dcmread and dcmwrite would have tidied it.
    let odd = slice(1, 1, 1, 1).bytes(Tag(0x0011, 0x1001), VR::UN, vec![1, 2, 3, 4]).build();
    let file = odd.file();
    assert!(store_files(pacs.dicom, &[file.path()]).await[0].is_success());
    let sent = pacs.get("/instances/1.2.3.1.1.1.dcm").await.bytes().await.expect("bytes");
    assert_eq!(data_set_of(&sent), odd.data_set);
}

/// The loop that takes a fragment once waited for ever for room in a chunk that nobody wrote any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_written_to_its_end_is_answered_and_costs_one_instance() {
    let database = database::fresh().await;
    let folder = tempfile::tempdir().unwrap();
    let mut command = process::serve(&database.url.with_password(), folder.path());
    // SAFETY: both calls may be made between fork and exec, and change only the new process.
    unsafe {
        command.pre_exec(|| {
            let limit = libc::rlimit { rlim_cur: 2 << 20, rlim_max: 2 << 20 };
            if libc::setrlimit(libc::RLIMIT_FSIZE, &limit) != 0
                || libc::signal(libc::SIGXFSZ, libc::SIG_IGN) == libc::SIG_ERR
            {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        })
    };
    let process = Process::start(command).await;
    let mut peer = Peer::associate(process.dicom).await;

    let large = slice(1, 1, 1, 1).side(2048).build();
    assert_eq!(peer.store(&large, 16_000).await, Some(0xA700));
    assert_eq!(peer.store(&slice(1, 1, 1, 2).build(), 16_000).await, Some(0));

    assert!(files_below(&folder.path().join("incoming")).is_empty(), "nothing of it is left");
    assert_eq!(files_below(&folder.path().join("archive")).len(), 1);
    assert_eq!(process.terminate().await, Some(0));
}

/// DCMTK 3.6 names the instance "31" where a UID has the VR of bytes in an explicit data set.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_names_no_possible_uid_is_stored_under_that_of_its_data_set() {
    let pacs = TestServer::start().await;
    let good = slice(1, 1, 1, 1).build();
    let mut named_31 = good.clone();
    named_31.sop_instance_uid = "31".into();
    named_31.sop_class_uid = "31".into();

    assert_eq!(Peer::associate(pacs.dicom).await.store(&named_31, 16_000).await, Some(0xB007));

    let files = pacs.files();
    let file = std::fs::read(&files[0]).unwrap();
    assert_eq!(data_set_of(&file), good.data_set);
    let meta = dicom_object::open_file(&files[0]).unwrap().meta().clone();
    assert_eq!(meta.media_storage_sop_instance_uid(), good.sop_instance_uid);
    assert_eq!(meta.media_storage_sop_class_uid(), good.sop_class_uid);
    let offset: usize = pacs.value("SELECT data_set_offset FROM instance").await;
    assert_eq!(&file[offset..], good.data_set);
    assert_eq!(pacs.get("/instances/1.2.3.1.1.1/frames/1.png").await.status(), 200);
    assert_eq!(files.len(), 1);
}

#[test]
fn signs_that_come_together_when_an_apostrophe_goes_are_in_one_order() {
    let once = person_name::fold("a\u{1E026}'\u{16AF0}");
    assert_eq!(person_name::fold(&once), once);
    assert_eq!(once, person_name::fold("a\u{16AF0}\u{1E026}"));
    // The acute accent that a keyboard gives for an apostrophe.
    assert_eq!(person_name::fold("O´Neill"), "oneill");
}

/// An answer in several pieces waited 40 ms for the client to acknowledge the first (Nagle's algorithm and delayed
/// acknowledgements). Of many, half tell, however busy the machine is: the first are
/// acknowledged at once.
#[tokio::test]
async fn an_answer_in_pieces_does_not_wait_for_the_client() {
    let pacs = TestServer::start().await;
    let page = pacs.admin.page("/studies").await;
    let style =
        all(&page, "link[rel='stylesheet']").first().and_then(|link| link.attr("href")).map(str::to_owned);
    let address = pacs.address(&style.expect("a style sheet"));
    let client = reqwest::Client::new();
    let mut took = Vec::new();
    for _ in 0..40 {
        let began = Instant::now();
        let answer = client.get(&address).send().await.expect("an answer");
        let length = answer.bytes().await.expect("a body").len();
        assert!(length > 20_000, "more than one piece: {length}");
        took.push(began.elapsed());
    }
    took.sort();
    assert!(took[took.len() / 2] < Duration::from_millis(35), "{took:?}");
}
