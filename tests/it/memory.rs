//! Memory is bounded, whatever is sent.

use crate::support::database;
use crate::support::instance::slice;
use crate::support::peer::{Peer, fragments, store_command};
use crate::support::process::{self, Process};

use dicom_core::VR;
use dicom_dictionary_std::tags;

#[tokio::test(flavor = "multi_thread")]
async fn eight_associations_with_100_mb_instances_stay_under_200_mb() {
    const FRAMES: usize = 1600;
    const SENDERS: u32 = 8;
    let database = database::fresh().await;
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(process::serve(&database.url.with_password(), folder.path())).await;
    // 1,600 frames of 256 by 256 bytes: 105 MB.
    let pixels = vec![7u8; 256 * 256 * FRAMES];
    let template = slice(1, 1, 1, 1)
        .side(256)
        .text(tags::NUMBER_OF_FRAMES, VR::IS, &FRAMES.to_string())
        .bytes(tags::PIXEL_DATA, VR::OB, pixels)
        .build();
    assert!(template.data_set.len() > 100_000_000);
    let template = std::sync::Arc::new(template);
    let mut senders = Vec::new();
    for sender in 0..SENDERS {
        let (to, template) = (process.dicom, template.clone());
        senders.push(tokio::spawn(async move {
            // The UID is the same length for all, so it can be written over.
            let uid = format!("1.2.3.1.1.{sender}");
            let mut head = template.data_set[..4096].to_vec();
            let at = String::from_utf8_lossy(&head).find("1.2.3.1.1").expect("its UID");
            head[at..at + uid.len()].copy_from_slice(uid.as_bytes());
            let mut peer = Peer::associate(to).await;
            let mut named = template.clone_head();
            named.sop_instance_uid = uid;
            peer.send(&fragments(1, true, &store_command(&named).encode(), 16_000)).await;
            let length = template.data_set.len();
            for start in (0..length).step_by(120_000) {
                let end = (start + 120_000).min(length);
                let mut piece = template.data_set[start..end].to_vec();
                if start == 0 {
                    piece[..head.len()].copy_from_slice(&head);
                }
                let mut pdu = fragments(1, false, &piece, piece.len());
                if end < length {
                    pdu[11] = 0; // not the last one
                }
                assert!(peer.send(&pdu).await);
            }
            peer.read_command().await.expect("an answer").u16(tags::STATUS)
        }));
    }
    for sender in senders {
        assert_eq!(sender.await.unwrap(), Some(0));
    }
    let peak = process.peak_memory();
    assert!(peak < 200_000_000, "{} MB", peak / 1_000_000);
    assert_eq!(process.terminate().await, Some(0));
}
