//! Peers that break the rules: one association is lost at most, memory stays bounded, and nothing is written
//! outside the data folder.

use std::time::Duration;

use dicom_core::VR;
use dicom_dictionary_std::tags;
use dicom_ul::Pdu;

use crate::support::instance::{Instance, slice};
use crate::support::peer::{self, Peer, fragments, store_command};
use crate::support::{TestServer, files_below};

/// Another peer gets its work done: the server lives.
async fn assert_alive(pacs: &TestServer) {
    let probe = slice(9, 9, 9, 9).build();
    let status = Peer::associate(pacs.dicom).await.store(&probe, 16_000).await;
    assert_eq!(status, Some(0), "the server stores");
}

/// An instance whose data set is a good one with these bytes behind it.
fn with_tail(tail: &[u8]) -> Instance {
    let mut instance = slice(1, 1, 1, 1).without(tags::PIXEL_DATA).build();
    // The builder adds Pixel Data; take it away again, it is the last element.
    let at = instance.data_set.windows(4).rposition(|bytes| bytes == [0xE0, 0x7F, 0x10, 0x00]).unwrap();
    instance.data_set.truncate(at);
    instance.data_set.extend_from_slice(tail);
    instance
}

#[tokio::test(flavor = "multi_thread")]
async fn nested_sequences_are_refused_with_a_status() {
    let pacs = TestServer::start().await;
    let mut tail = Vec::new();
    for _ in 0..3200 {
        tail.extend_from_slice(&[0x99, 0x7F, 0x10, 0x00, b'S', b'Q', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]);
        tail.extend_from_slice(&[0xFE, 0xFF, 0x00, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF]);
    }
    let mut peer = Peer::associate(pacs.dicom).await;

    assert_eq!(peer.store(&with_tail(&tail), 16_000).await, Some(0xC000));
    assert!(peer.echoes().await, "the association lives");
    assert!(pacs.files().is_empty());
    assert_alive(&pacs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lengths_that_lie_are_refused_with_a_status() {
    let pacs = TestServer::start().await;
    for vr in [b"OB", b"UT", b"SQ", b"UN"] {
        let mut tail = vec![0x99, 0x7F, 0x10, 0x00, vr[0], vr[1], 0, 0];
        tail.extend_from_slice(&0xFFFF_FFF0_u32.to_le_bytes());
        tail.extend_from_slice(&[1, 2, 3, 4, 5]);
        let mut peer = Peer::associate(pacs.dicom).await;
        assert_eq!(peer.store(&with_tail(&tail), 16_000).await, Some(0xC000), "{vr:?}");
        assert!(peer.echoes().await, "the association lives");
    }
    assert!(pacs.files().is_empty());
    assert_alive(&pacs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deflate_bomb_is_refused_with_a_status() {
    use std::io::Write;
    let pacs = TestServer::start().await;
    let mut deflate = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    let head = with_tail(&[0x99, 0x7F, 0x10, 0x00, b'O', b'B', 0, 0, 0x00, 0x00, 0x00, 0xF0]);
    deflate.write_all(&head.data_set).unwrap();
    let zeros = vec![0u8; 1 << 20];
    for _ in 0..512 {
        deflate.write_all(&zeros).unwrap();
    }
    let bomb = deflate.finish().unwrap();
    assert!(bomb.len() < 4 << 20, "{}", bomb.len());
    let mut instance = head;
    instance.data_set = bomb;
    instance.transfer_syntax_uid = dicom_dictionary_std::uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN.into();

    let answer = pacs.store(&instance).await;

    assert_eq!(answer.status, Some(0xC000), "{answer:?}");
    assert!(pacs.files().is_empty());
    assert_alive(&pacs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uids_that_are_paths_or_too_long_are_refused_and_nothing_is_written_outside() {
    let pacs = TestServer::start().await;
    let long = "1.".repeat(100) + "1";
    for uid in ["../../../../tmp/filmroom-was-here", "/etc/passwd", "1.2\0.3", &long, "", ".."] {
        for (number, tag) in
            [(1, tags::SOP_INSTANCE_UID), (2, tags::STUDY_INSTANCE_UID), (3, tags::SERIES_INSTANCE_UID)]
        {
            let instance = slice(1, 1, 1, number).text(tag, VR::UI, uid).build();
            let mut peer = Peer::associate(pacs.dicom).await;
            let status = peer.store(&instance, 16_000).await;
            if uid.is_empty() && tag != tags::SOP_INSTANCE_UID {
                assert_eq!(status, Some(0xB007), "{tag} empty is kept with a warning");
            } else {
                assert!(matches!(status, Some(0xC000 | 0xA900)), "{tag} {uid:?}: {status:04X?}");
            }
        }
    }
    assert!(!std::path::Path::new("/tmp/filmroom-was-here").exists());
    for file in files_below(pacs.folder.path()) {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let is_ours = name == "lock" || (name.len() == 36 && name.ends_with(".dcm"));
        assert!(is_ours, "{}", file.display());
    }
    assert_alive(&pacs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn split_and_merged_fragments_make_the_same_instance() {
    let pacs = TestServer::start().await;
    let one = slice(1, 1, 1, 1).build();
    let two = slice(1, 1, 1, 2).build();
    let mut peer = Peer::associate(pacs.dicom).await;

    // A byte a fragment, commands too.
    assert_eq!(peer.store(&one, 1).await, Some(0));
    // Command and data set in one PDU.
    let command = store_command(&two).encode();
    let mut values = Vec::new();
    for (is_command, bytes) in [(true, &command), (false, &two.data_set)] {
        values.extend_from_slice(&fragments(1, is_command, bytes, 100_000)[6..]);
    }
    let mut pdu = vec![4, 0];
    pdu.extend_from_slice(&u32::try_from(values.len()).unwrap().to_be_bytes());
    pdu.extend_from_slice(&values);
    peer.send(&pdu).await;
    assert_eq!(peer.read_command().await.unwrap().u16(tags::STATUS), Some(0));
    // An empty last fragment.
    let three = slice(1, 1, 1, 3).build();
    peer.send(&fragments(1, true, &store_command(&three).encode(), 100)).await;
    let mut data = fragments(1, false, &three.data_set, three.data_set.len());
    data[11] = 0; // not the last one
    peer.send(&data).await;
    peer.send(&[4, 0, 0, 0, 0, 6, 0, 0, 0, 2, 1, 2]).await;
    assert_eq!(peer.read_command().await.unwrap().u16(tags::STATUS), Some(0));

    assert_eq!(pacs.count("instance").await, 3);
    let hash: Vec<u8> =
        pacs.value("SELECT data_set_sha256 FROM instance WHERE sop_instance_uid = '1.2.3.1.1.1'").await;
    assert_eq!(hash, one.hash());
}

#[tokio::test(flavor = "multi_thread")]
async fn pdus_that_break_the_protocol_are_aborted() {
    let pacs = TestServer::start().await;
    let broken: [(&str, Vec<u8>); 9] = [
        ("a PDU longer than agreed", vec![4, 0, 0xFF, 0xFF, 0xFF, 0xF0, 0, 0]),
        ("a fragment longer than its PDU", vec![4, 0, 0, 0, 0, 8, 0, 0, 1, 0, 1, 1, 0, 0]),
        ("a fragment of no length", vec![4, 0, 0, 0, 0, 6, 0, 0, 0, 0, 1, 1]),
        ("a PDU that ends within a fragment's header", vec![4, 0, 0, 0, 0, 3, 0, 0, 0]),
        (
            "a context that was not accepted",
            fragments(77, true, &store_command(&slice(1, 1, 1, 1).build()).encode(), 500),
        ),
        ("data before a command", fragments(1, false, &[0; 64], 64)),
        ("a command that is none", fragments(1, true, &[0xFF; 64], 64)),
        ("a PDU of no known type", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("another association request", {
            let mut bytes = Vec::new();
            dicom_ul::write_pdu(&mut bytes, &Pdu::AssociationRQ(peer::request())).unwrap();
            bytes
        }),
    ];
    for (what, bytes) in broken {
        let mut peer = Peer::associate(pacs.dicom).await;
        peer.send(&bytes).await;
        let answer = peer.read_pdu().await;
        assert!(matches!(answer, Some(Pdu::AbortRQ { .. })), "{what}: {answer:?}");
        assert_eq!(peer.read_pdu().await, None, "{what}: the connection is closed");
    }
    assert_alive(&pacs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn association_requests_that_cannot_be_read_cost_one_connection() {
    let pacs = TestServer::start().await;
    let mut good = Vec::new();
    dicom_ul::write_pdu(&mut good, &Pdu::AssociationRQ(peer::request())).unwrap();
    for cut in (6..good.len()).step_by(7) {
        // The length says that this is all, so what is cut is missing.
        let mut bytes = good[..cut].to_vec();
        bytes[2..6].copy_from_slice(&u32::try_from(cut - 6).unwrap().to_be_bytes());
        let mut peer = Peer::connect(pacs.dicom).await;
        peer.send(&bytes).await;
        if let Some(Pdu::AssociationAC(_)) = peer.read_pdu().await {
            continue; // cut behind what matters
        }
        assert_eq!(peer.read_pdu().await, None);
    }
    assert_alive(&pacs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_and_trickling_run_out_of_time() {
    let pacs = TestServer::start_with(|config| {
        config.timeouts.association = Duration::from_secs(2);
        config.timeouts.message = Duration::from_secs(2);
        config.timeouts.idle = Duration::from_secs(2);
    })
    .await;
    let one = slice(1, 1, 1, 1).build();
    let within = Duration::from_secs(10);

    // Nothing at all, before and after the association.
    let mut silent = Peer::connect(pacs.dicom).await;
    assert!(tokio::time::timeout(within, silent.read_pdu()).await.is_ok());
    let mut idle = Peer::associate(pacs.dicom).await;
    let answer = tokio::time::timeout(within, idle.read_pdu()).await.unwrap();
    assert!(matches!(answer, Some(Pdu::AbortRQ { .. })), "{answer:?}");

    // A byte at a time keeps no connection open.
    let mut request = Vec::new();
    dicom_ul::write_pdu(&mut request, &Pdu::AssociationRQ(peer::request())).unwrap();
    let mut message = fragments(1, true, &store_command(&one).encode(), 16_000);
    message.extend_from_slice(&fragments(1, false, &one.data_set, 16_000));
    for (associated, bytes) in [(false, request), (true, message)] {
        let mut slow =
            if associated { Peer::associate(pacs.dicom).await } else { Peer::connect(pacs.dicom).await };
        let began = std::time::Instant::now();
        for byte in bytes {
            if !slow.send(&[byte]).await || began.elapsed() > within {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(began.elapsed() < within, "a byte at a time was given up after {:?}", began.elapsed());
    }
    assert!(pacs.files().is_empty());
    assert!(files_below(&pacs.folder.path().join("incoming")).is_empty());
    assert_alive(&pacs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_ends_within_an_instance_leaves_nothing() {
    let pacs = TestServer::start().await;
    let one = slice(1, 1, 1, 1).side(1024).build();
    let mut message = fragments(1, true, &store_command(&one).encode(), 16_000);
    message.extend_from_slice(&fragments(1, false, &one.data_set, 16_000));
    for cut in [7, 90, 300, 20_000, 400_000, message.len() - 1] {
        let mut peer = Peer::associate(pacs.dicom).await;
        peer.send(&message[..cut]).await;
        drop(peer);
    }
    let incoming = pacs.folder.path().join("incoming");
    crate::support::eventually("temporary files are gone", || {
        let gone = files_below(&incoming).is_empty();
        async move { gone }
    })
    .await;
    assert!(pacs.files().is_empty());
    assert_eq!(pacs.count("instance").await, 0);
    assert_alive(&pacs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_opens_all_it_can_and_says_nothing_leaves_room_for_others() {
    let pacs = TestServer::start().await;
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(Peer::connect(pacs.dicom).await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut same = Peer::connect(pacs.dicom).await;
    same.send_pdu(&Pdu::AssociationRQ(peer::request())).await;
    let answer = same.read_pdu().await;
    assert!(matches!(answer, None | Some(Pdu::AssociationRJ(_))), "it has its share: {answer:?}");

    let mut other = Peer::connect_from([127, 0, 0, 2].into(), pacs.dicom).await;
    other.send_pdu(&Pdu::AssociationRQ(peer::request())).await;
    let answer = other.read_pdu().await;
    assert!(matches!(answer, Some(Pdu::AssociationAC(_))), "{answer:?}");
    drop(silent);
}
