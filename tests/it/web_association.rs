//! Associations on the peers page: who is connected, and the button that ends one.

use std::time::{Duration, Instant};

use dicom_core::VR;
use dicom_dictionary_std::tags;
use dicom_ul::Pdu;
use dicom_ul::pdu::AbortRQSource;

use crate::support::instance::slice;
use crate::support::peer::{Peer, fragments, request, store_command};
use crate::support::{TestServer, eventually, python};
use crate::web_peer::press;
use crate::web_study::{all, texts};

const ABORT: &str = ".associations form[action$='/abort']";

/// The texts of the one row of the associations that are open; none where nobody is connected.
async fn row(pacs: &TestServer) -> Option<Vec<String>> {
    let page = pacs.page("/admin/peers").await;
    let cells = texts(&page, ".associations td");
    assert!(cells.len() <= 6, "one row: {cells:?}");
    (!cells.is_empty()).then_some(cells)
}

async fn does(pacs: &TestServer, what: &str) -> bool {
    row(pacs).await.is_some_and(|cells| cells[2] == what)
}

/// Presses Abort, and returns what the peer is sent, and after how long.
async fn abort(pacs: &TestServer, peer: &mut Peer) -> (Option<Pdu>, Duration) {
    let began = Instant::now();
    let (pressed, sent) =
        tokio::join!(press(pacs, ABORT), async { (peer.read_pdu().await, began.elapsed()) });
    assert_eq!(pressed.status(), 303);
    assert_eq!(pressed.headers()["location"], "/admin/peers");
    sent
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_connected_is_shown_with_what_it_does_and_has_done() {
    let pacs = TestServer::start().await;
    assert_eq!(row(&pacs).await, None);
    let mut named = request();
    named.calling_ae_title = "CT01".into();
    let mut peer = Peer::associate_with(pacs.dicom, named).await;
    let cells = row(&pacs).await.expect("a row");
    assert_eq!(cells[0], "CT01");
    assert!(cells[1].starts_with("127.0.0.1") && cells[1].ends_with("plain"), "{cells:?}");
    assert_eq!((cells[2].as_str(), cells[3].as_str()), ("Idle", "nothing yet"));

    assert_eq!(peer.store(&slice(1, 1, 1, 1).build(), 16_000).await, Some(0));
    assert_eq!(peer.store(&slice(1, 1, 1, 2).build(), 16_000).await, Some(0));
    assert_eq!(row(&pacs).await.expect("a row")[3], "2 instances stored");
    eventually("it is idle after a moment", async || does(&pacs, "Idle").await).await;

    peer.send_pdu(&Pdu::ReleaseRQ).await;
    assert!(matches!(peer.read_pdu().await, Some(Pdu::ReleaseRP)));
    assert_eq!(row(&pacs).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_association_is_aborted_within_a_second() {
    let pacs = TestServer::start().await;
    let mut peer = Peer::associate(pacs.dicom).await;
    assert!(peer.echoes().await);

    let (sent, took) = abort(&pacs, &mut peer).await;

    assert!(matches!(sent, Some(Pdu::AbortRQ { source: AbortRQSource::ServiceUser })), "{sent:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(row(&pacs).await, None, "it is off the page when that is shown again");
    assert!(peer.read_pdu().await.is_none(), "and the connection is closed");
    assert_eq!(pacs.audited("abort-association").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_association_in_the_middle_of_a_data_set_is_aborted_and_nothing_of_it_is_kept() {
    let pacs = TestServer::start().await;
    let instance = slice(1, 1, 1, 1).bytes(tags::PIXEL_DATA, VR::OB, vec![9; 3_000_000]).build();
    let mut peer = Peer::associate(pacs.dicom).await;
    let data_set = fragments(1, false, &instance.data_set, 16_000);
    peer.send(&fragments(1, true, &store_command(&instance).encode(), 16_000)).await;
    peer.send(&data_set[..data_set.len() / 2]).await;
    eventually("it stores", async || does(&pacs, "Stores").await).await;

    let (sent, took) = abort(&pacs, &mut peer).await;

    assert!(matches!(sent, Some(Pdu::AbortRQ { source: AbortRQSource::ServiceUser })), "{sent:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(pacs.count("instance").await, 0);
    eventually("what had come is removed", async || {
        let left = crate::support::files_below(pacs.folder.path());
        left.iter().all(|file| std::fs::metadata(file).is_ok_and(|file| file.len() < 1_000_000))
    })
    .await;
    // The next one of the same peer is as good as ever.
    assert_eq!(Peer::associate(pacs.dicom).await.store(&instance, 16_000).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn pynetdicom_is_told_of_the_abort() {
    let pacs = TestServer::start().await;
    let arguments = ["wait".to_owned(), pacs.dicom.port().to_string(), "WORKSTATION".to_owned()];
    let waiting = tokio::spawn(async move { python("scu.py", &arguments).await });
    eventually("it is connected and idle", async || does(&pacs, "Idle").await).await;

    assert_eq!(press(&pacs, ABORT).await.status(), 303);

    let said: serde_json::Value = serde_json::from_str(&waiting.await.expect("no panic")).expect("JSON");
    assert_eq!((&said["echoed"], &said["end"]), (&true.into(), &"aborted".into()), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_the_one_that_was_meant_is_aborted() {
    let pacs = TestServer::start().await;
    let mut peers = Vec::new();
    for title in ["CT01", "CT02", "CT03"] {
        let mut named = request();
        named.calling_ae_title = title.into();
        peers.push(Peer::associate_with(pacs.dicom, named).await);
    }
    let second = format!(".associations tr:nth-child(2) {}", ABORT.trim_start_matches(".associations "));
    press(&pacs, &second).await;
    assert!(matches!(peers[1].read_pdu().await, Some(Pdu::AbortRQ { .. })));
    assert!(peers[0].echoes().await && peers[2].echoes().await);
    assert_eq!(texts(&pacs.page("/admin/peers").await, ".associations .ae-title"), ["CT01", "CT03"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_over_by_itself_is_no_error_and_leaves_no_row() {
    let pacs = TestServer::start().await;
    let peer = Peer::associate(pacs.dicom).await;
    let action = {
        let page = pacs.page("/admin/peers").await;
        all(&page, ABORT)[0].attr("action").expect("an address").to_owned()
    };
    drop(peer);
    eventually("it is gone", async || row(&pacs).await.is_none()).await;
    assert_eq!(pacs.admin.post("/admin/peers", &action, &[]).await.status(), 303);
    assert_eq!(pacs.audited("abort-association").await, 0);
    let nonsense = pacs.admin.post("/admin/peers", "/admin/associations/x/abort", &[]).await;
    assert_eq!(nonsense.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_told_when_somebody_connects_or_is_refused() {
    let pacs = TestServer::start().await;
    let mut events = pacs.get("/admin/associations/events").await;
    assert_eq!(events.headers()["content-type"], "text/event-stream; charset=utf-8");
    let mut told = async |what: &str| {
        let waiting = async {
            let mut text = String::new();
            while !text.contains(what) {
                let chunk = events.chunk().await.expect("a stream").expect("it goes on");
                text.push_str(&String::from_utf8_lossy(&chunk));
            }
        };
        tokio::time::timeout(Duration::from_secs(10), waiting)
            .await
            .unwrap_or_else(|_| panic!("not told: {what}"));
    };
    told("event: associations\ndata: 0\n").await;
    let peer = Peer::associate(pacs.dicom).await;
    told("event: associations\ndata: 1\n").await;
    drop(peer);
    told("event: associations\ndata: 0\n").await;
    let mut elsewhere = request();
    elsewhere.called_ae_title = "OTHER".into();
    let mut refused = Peer::connect(pacs.dicom).await;
    refused.send_pdu(&Pdu::AssociationRQ(elsewhere)).await;
    told("event: associations\n").await;
}
