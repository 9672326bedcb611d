//! Our SCU against DCMTK's storescp, and against peers that misbehave, scripted byte by byte.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use dicom_dictionary_std::{tags, uids};
use filmroom::demo;
use filmroom::dicom::uid::{SopClassUid, SopInstanceUid};
use filmroom::dimse::command::{self, CommandSet};
use filmroom::dimse::scu::{Association, Error, Parameters, Proposal, Response, StoreRequest, Timeouts};

const SUCCESS: Response = Response { status: 0x0000, error_comment: None };

#[tokio::test]
async fn an_echo_is_answered() {
    let peer = StoreScp::start(&[]);
    let mut association = associate(peer.address, vec![Proposal::verification()]).await.expect("accepted");

    assert_eq!(association.echo().await.expect("an answer"), SUCCESS);
    assert_eq!(association.echo().await.expect("an answer"), SUCCESS);
    association.release().await.expect("released");
}

#[tokio::test]
async fn an_instance_arrives_byte_for_byte_whatever_its_length() {
    let peer = StoreScp::start(&["--bit-preserving", "--max-pdu", "4096"]);
    let mut association = associate(peer.address, ct_and_verification()).await.expect("accepted");

    // One fragment holds 4090 bytes: just below, exactly, just above one and two of them, and many.
    for (number, length) in [4088, 4090, 4092, 8178, 8180, 8182, 1_000_000].into_iter().enumerate() {
        let instance = Instance::of_length(&format!("1.2.3.{number}"), length);
        assert_eq!(instance.store(&mut association).await.expect("an answer"), SUCCESS, "{length} bytes");
        assert!(peer.received(&instance.uid) == instance.data_set, "{length} bytes came as others");
    }
    association.release().await.expect("released");
}

#[tokio::test]
async fn a_full_size_pdu_is_used_where_the_peer_allows_it() {
    let peer = StoreScp::start(&["--bit-preserving", "--max-pdu", "131072"]);
    let mut association = associate(peer.address, ct_and_verification()).await.expect("accepted");
    let instance = Instance::of_length("1.2.3", 10_000_000);

    assert_eq!(instance.store(&mut association).await.expect("an answer"), SUCCESS);
    assert!(peer.received(&instance.uid) == instance.data_set);
    association.release().await.expect("released");
}

#[tokio::test]
async fn a_refused_association_says_why() {
    let peer = StoreScp::start(&["--refuse"]);
    let err = associate(peer.address, vec![Proposal::verification()]).await.expect_err("refused");
    assert_eq!(err.to_string(), "the peer refused the association for good: it gives no reason");
}

#[tokio::test]
async fn a_sop_class_the_peer_does_not_take_costs_the_instance_and_not_the_association() {
    let peer = StoreScp::start(&[]);
    let private: SopClassUid = uid("1.2.3.4.5.6.7");
    let explicit = uid(uids::EXPLICIT_VR_LITTLE_ENDIAN);
    let mut contexts = Proposal::for_instances([(&private, &explicit)]);
    contexts.push(Proposal::verification());
    let mut association = associate(peer.address, contexts).await.expect("accepted");

    let instance = Instance { class: private, ..Instance::of_length("1.2.3", 100) };
    let err = instance.store(&mut association).await.expect_err("not accepted");

    assert!(matches!(err, Error::NotAccepted { .. }), "{err}");
    assert!(err.to_string().contains("it does not support the SOP class"), "{err}");
    assert_eq!(association.echo().await.expect("still open"), SUCCESS);
    association.release().await.expect("released");
}

#[tokio::test]
async fn an_association_in_which_nothing_is_accepted_says_so() {
    let peer = StoreScp::start(&[]);
    let proposals = Proposal::for_instances([(&uid("1.2.3.4.5.6.7"), &uid(uids::EXPLICIT_VR_LITTLE_ENDIAN))]);
    let err = associate(peer.address, proposals).await.expect_err("nothing accepted");
    assert!(matches!(err, Error::NothingAccepted(_)), "{err}");
}

#[tokio::test]
async fn more_than_128_presentation_contexts_are_not_sent() {
    let proposals = vec![Proposal::verification(); 129];
    let err = associate(([127, 0, 0, 1], 9).into(), proposals).await.expect_err("too many");
    assert!(matches!(err, Error::TooManyPresentationContexts(129)), "{err}");
}

#[tokio::test]
async fn a_peer_that_aborts_while_it_receives_ends_the_association_in_words() {
    for abort in ["--abort-after", "--abort-during"] {
        let peer = StoreScp::start(&[abort]);
        let mut association = associate(peer.address, ct_and_verification()).await.expect("accepted");
        let instance = Instance::of_length("1.2.3", 10_000_000);

        let err = instance.store(&mut association).await.expect_err("aborted");

        let words = err.to_string();
        assert_eq!(words, "the peer aborted the association: its program wants no more of it", "{abort}");
        assert!(matches!(association.echo().await, Err(Error::Closed)), "it is over");
    }
}

#[tokio::test]
async fn nothing_listening_is_told_with_the_address() {
    let address = free_address();
    let err = associate(address, vec![Proposal::verification()]).await.expect_err("nobody there");
    assert!(err.to_string().starts_with(&format!("cannot connect to {address}: ")), "{err}");
}

#[tokio::test]
async fn a_silent_peer_costs_one_deadline() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("bound");
    let started = Instant::now();

    let err = associate(address, vec![Proposal::verification()]).await.expect_err("silence");

    assert_eq!(err.to_string(), "the peer did not answer the association request within 1.5 s");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_response_that_does_not_come_ends_the_wait() {
    let peer = StoreScp::start(&["--sleep-during", "30"]);
    let mut association = associate(peer.address, ct_and_verification()).await.expect("accepted");

    let err = Instance::of_length("1.2.3", 100).store(&mut association).await.expect_err("no response");

    assert_eq!(err.to_string(), "the peer did not respond within 1.5 s");
}

#[tokio::test]
async fn a_response_split_over_pdus_is_put_together() {
    let address = scripted(|mut stream| {
        accept_verification(&mut stream);
        read_pdu(&mut stream);
        let response = echo_response(1, Some(0xC000));
        let (first, last) = response.split_at(15);
        stream.write_all(&p_data(1, 0b01, first)).expect("sent");
        stream.write_all(&p_data(1, 0b11, last)).expect("sent");
        read_pdu(&mut stream)
    });
    let mut association = associate(address.0, vec![Proposal::verification()]).await.expect("accepted");

    let response = association.echo().await.expect("an answer");

    assert_eq!(response, Response { status: 0xC000, error_comment: Some("not today".to_owned()) });
}

#[tokio::test]
async fn an_answer_to_another_message_is_not_taken_for_ours() {
    let peer = scripted(|mut stream| {
        accept_verification(&mut stream);
        read_pdu(&mut stream);
        stream.write_all(&p_data(1, 0b11, &echo_response(7, Some(0)))).expect("sent");
        read_pdu(&mut stream)
    });
    let mut association = associate(peer.0, vec![Proposal::verification()]).await.expect("accepted");

    let err = association.echo().await.expect_err("not ours");

    assert_eq!(err.to_string(), "the peer sent a response to something that was not asked");
    assert_eq!(peer.1.join().expect("the peer ends").first(), Some(&0x07), "it was told by an A-ABORT");
}

#[tokio::test]
async fn a_response_without_a_status_and_one_that_never_ends_are_errors() {
    let without = scripted(|mut stream| {
        accept_verification(&mut stream);
        read_pdu(&mut stream);
        stream.write_all(&p_data(1, 0b11, &echo_response(1, None))).expect("sent");
        read_pdu(&mut stream)
    });
    let mut association = associate(without.0, vec![Proposal::verification()]).await.expect("accepted");
    let err = association.echo().await.expect_err("no status");
    assert_eq!(err.to_string(), "the peer sent a response without a status");

    let endless = scripted(|mut stream| {
        accept_verification(&mut stream);
        read_pdu(&mut stream);
        while stream.write_all(&p_data(1, 0b01, &[0; 10_000])).is_ok() {}
        Vec::new()
    });
    let mut association = associate(endless.0, vec![Proposal::verification()]).await.expect("accepted");
    let err = association.echo().await.expect_err("no end");
    assert_eq!(err.to_string(), "the peer sent a response that does not end");
}

#[tokio::test]
async fn the_demo_stores_as_many_instances_as_it_announces() {
    let peer = StoreScp::start(&["--bit-preserving", "--max-pdu", "131072"]);
    let called = "ANY-SCP".parse().expect("an AE title");

    let summary = demo::fill(peer.address, &called).await.expect("stored");

    let files: Vec<u64> = std::fs::read_dir(peer.folder.path())
        .expect("a folder")
        .map(|file| file.and_then(|file| file.metadata()).expect("a file").len())
        .collect();
    assert_eq!(files.len(), demo::count(), "each under a UID of its own");
    assert_eq!(summary.instances, demo::count());
    assert!(files.iter().sum::<u64>() > summary.bytes, "the data sets and what stands before them");
}

#[tokio::test]
async fn an_association_that_is_dropped_is_aborted() {
    let peer = scripted(|mut stream| {
        accept_verification(&mut stream);
        read_pdu(&mut stream)
    });
    let association = associate(peer.0, vec![Proposal::verification()]).await.expect("accepted");

    drop(association);

    assert_eq!(peer.1.join().expect("the peer ends"), [7, 0, 0, 0, 0, 4, 0, 0, 0, 0], "an A-ABORT");
}

async fn associate(address: SocketAddr, presentation_contexts: Vec<Proposal>) -> Result<Association, Error> {
    let parameters = Parameters {
        calling_ae_title: "TEST".parse().expect("an AE title"),
        called_ae_title: "STORESCP".parse().expect("an AE title"),
        presentation_contexts,
        tls: None,
        timeouts: Timeouts {
            association: Duration::from_millis(1500),
            response: Duration::from_millis(1500),
            ..Timeouts::default()
        },
    };
    Association::request(address, parameters).await
}

fn ct_and_verification() -> Vec<Proposal> {
    let (ct, explicit) = (uid(uids::CT_IMAGE_STORAGE), uid(uids::EXPLICIT_VR_LITTLE_ENDIAN));
    let mut proposals = Proposal::for_instances([(&ct, &explicit)]);
    proposals.push(Proposal::verification());
    proposals
}

/// A CT instance of which only the identification and the length matter.
struct Instance {
    class: SopClassUid,
    uid: SopInstanceUid,
    data_set: Vec<u8>,
}

impl Instance {
    fn of_length(sop_instance_uid: &str, length: usize) -> Instance {
        let mut data_set = Vec::new();
        put(&mut data_set, 0x0008_0016, b"UI", uids::CT_IMAGE_STORAGE.as_bytes());
        put(&mut data_set, 0x0008_0018, b"UI", sop_instance_uid.as_bytes());
        data_set.extend_from_slice(&[0xE0, 0x7F, 0x10, 0x00, b'O', b'W', 0, 0]);
        let rest = length - data_set.len() - 4;
        data_set.extend_from_slice(&u32::try_from(rest).expect("short").to_le_bytes());
        data_set.extend((0..rest).map(|at| (at / 7 % 251) as u8));
        assert_eq!(data_set.len(), length);
        Instance { class: uid(uids::CT_IMAGE_STORAGE), uid: uid(sop_instance_uid), data_set }
    }

    async fn store(&self, association: &mut Association) -> Result<Response, Error> {
        let request = StoreRequest {
            sop_class_uid: &self.class,
            sop_instance_uid: &self.uid,
            transfer_syntax_uid: &uid(uids::EXPLICIT_VR_LITTLE_ENDIAN),
            move_originator: None,
        };
        association.store(&request, self.data_set.as_slice()).await
    }
}

fn put(data_set: &mut Vec<u8>, tag: u32, vr: &[u8; 2], value: &[u8]) {
    let (group, element) = ((tag >> 16) as u16, tag as u16);
    let length = value.len() + value.len() % 2;
    data_set.extend_from_slice(&group.to_le_bytes());
    data_set.extend_from_slice(&element.to_le_bytes());
    data_set.extend_from_slice(vr);
    data_set.extend_from_slice(&u16::try_from(length).expect("short").to_le_bytes());
    data_set.extend_from_slice(value);
    data_set.resize(data_set.len() + value.len() % 2, 0);
}

fn uid<T: FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("a UID")
}

/// DCMTK's storescp, with a folder of its own; killed when dropped.
pub struct StoreScp {
    child: Child,
    folder: tempfile::TempDir,
    pub address: SocketAddr,
}

impl StoreScp {
    /// Starts it and waits until it listens.
    pub fn start(options: &[&str]) -> StoreScp {
        let folder = tempfile::tempdir().expect("a folder");
        let address = free_address();
        let mut command = Command::new("storescp");
        command.args(options).arg("--output-directory").arg(folder.path()).arg(address.port().to_string());
        let child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("storescp, of the Debian package dcmtk");
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(started.elapsed() < Duration::from_secs(20), "storescp does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        StoreScp { child, folder, address }
    }

    /// The data set of the file storescp made of it: what follows preamble, prefix and group 0002.
    fn received(&self, uid: &SopInstanceUid) -> Vec<u8> {
        let name = format!("CT.{uid}");
        let file = std::fs::read(self.folder.path().join(&name)).expect("storescp has stored it");
        let group_length = file.get(140..144).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
        let offset = 144 + usize::try_from(group_length.expect("file meta information")).expect("short");
        file.get(offset..).expect("a data set").to_vec()
    }
}

impl Drop for StoreScp {
    fn drop(&mut self) {
        self.child.kill().expect("it runs until it is killed");
        self.child.wait().expect("it ends");
    }
}

/// Where nothing listens.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("bound")
}

/// A peer that takes one connection and does this with it.
fn scripted(
    script: impl FnOnce(TcpStream) -> Vec<u8> + Send + 'static,
) -> (SocketAddr, std::thread::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("bound");
    let peer = std::thread::spawn(move || script(listener.accept().expect("a connection").0));
    (address, peer)
}

fn read_pdu(stream: &mut TcpStream) -> Vec<u8> {
    let mut pdu = vec![0; 6];
    stream.read_exact(&mut pdu).expect("a PDU");
    let length = u32::from_be_bytes([pdu[2], pdu[3], pdu[4], pdu[5]]);
    pdu.resize(6 + usize::try_from(length).expect("short"), 0);
    stream.read_exact(&mut pdu[6..]).expect("the whole PDU");
    pdu
}

/// Reads an A-ASSOCIATE-RQ and accepts its presentation context 1 in Implicit VR Little Endian.
fn accept_verification(stream: &mut TcpStream) {
    let request = read_pdu(stream);
    assert_eq!(request[0], 0x01, "an A-ASSOCIATE-RQ");
    let mut body = request[6..74].to_vec(); // version, AE titles and reserved bytes come back as they are
    let item = |body: &mut Vec<u8>, kind: u8, value: &[u8]| {
        body.extend_from_slice(&[kind, 0]);
        body.extend_from_slice(&u16::try_from(value.len()).expect("short").to_be_bytes());
        body.extend_from_slice(value);
    };
    item(&mut body, 0x10, b"1.2.840.10008.3.1.1.1");
    let mut context = vec![1, 0, 0, 0];
    item(&mut context, 0x40, uids::IMPLICIT_VR_LITTLE_ENDIAN.as_bytes());
    item(&mut body, 0x21, &context);
    let mut user = Vec::new();
    item(&mut user, 0x51, &16_384_u32.to_be_bytes());
    item(&mut body, 0x50, &user);
    let mut pdu = vec![0x02, 0];
    pdu.extend_from_slice(&u32::try_from(body.len()).expect("short").to_be_bytes());
    pdu.extend_from_slice(&body);
    stream.write_all(&pdu).expect("sent");
}

fn p_data(context: u8, control: u8, data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).expect("short");
    let mut pdu = vec![0x04, 0];
    pdu.extend_from_slice(&(length + 6).to_be_bytes());
    pdu.extend_from_slice(&(length + 2).to_be_bytes());
    pdu.extend_from_slice(&[context, control]);
    pdu.extend_from_slice(data);
    pdu
}

fn echo_response(to: u16, status: Option<u16>) -> Vec<u8> {
    let mut response = CommandSet::new();
    response.set_u16(tags::COMMAND_FIELD, command::C_ECHO_RSP);
    response.set_u16(tags::MESSAGE_ID_BEING_RESPONDED_TO, to);
    response.set_u16(tags::COMMAND_DATA_SET_TYPE, command::NO_DATA_SET);
    if let Some(status) = status {
        response.set_u16(tags::STATUS, status);
        response.set_error_comment("not today");
    }
    response.encode()
}
