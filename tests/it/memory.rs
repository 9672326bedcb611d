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
            let at = template.data_set.windows(9).position(|bytes| bytes == b"1.2.3.1.1").expect("its UID");
            let mut head = template.data_set[..4096].to_vec();
            head[at..at + uid.len()].copy_from_slice(uid.as_bytes());
            let mut peer = Peer::associate(to).await;
            let mut named = template.clone_head();
            named.sop_instance_uid = uid;
            peer.send(&fragments(1, true, &store_command(&named).encode(), 16_000)).await;
            let pieces = std::iter::once(head.as_slice()).chain(template.data_set[4096..].chunks(120_000));
            let mut pieces = pieces.peekable();
            while let Some(piece) = pieces.next() {
                let mut pdu = fragments(1, false, piece, piece.len());
                if pieces.peek().is_some() {
                    pdu[11] = 0;
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
