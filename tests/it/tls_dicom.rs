//! DICOM over TLS: who is let in, with DCMTK as the independent other end, and our SCU against storescp.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dicom_dictionary_std::uids;
use dicom_ul::Pdu;
use filmroom::config::Config;
use filmroom::db::peer::{self, Encryption, PeerDetails};
use filmroom::dimse::access::UnknownPeers;
use filmroom::dimse::scu::{Association, Error, Parameters, Proposal, StoreRequest, Timeouts, Tls};
use filmroom::tls::{Fingerprint, Identity};
use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::database::{self, TestDatabase};
use crate::support::instance::slice;
use crate::support::peer::{Peer, request};
use crate::support::process::{self, Process};
use crate::support::tls::{Pair, s_client};
use crate::support::{TestServer, eventually};

/// A server with a port for TLS, on which nobody is let in who is not a peer.
async fn pacs(pair: &Pair, change: impl FnOnce(&mut Config)) -> TestServer {
    let identity = pair.identity();
    TestServer::start_with(|config| {
        config.tls = Some(identity);
        config.dicom_tls_listen = Some("127.0.0.1:0".parse().expect("an address"));
        config.unknown_peers = UnknownPeers::Deny;
        change(config);
    })
    .await
}

fn tls_port(pacs: &TestServer) -> SocketAddr {
    pacs.dicom_tls.expect("a port for TLS")
}

async fn add_peer(
    database: &TestDatabase,
    ae_title: &str,
    encryption: Encryption,
    certificate: Option<Fingerprint>,
) {
    let details = PeerDetails {
        ae_title: ae_title.parse().expect("an AE title"),
        host: String::new(),
        port: None,
        services: "echo,store".parse().expect("services"),
        is_destination: false,
        offers_commitment: false,
        encryption,
        certificate,
        description: String::new(),
    };
    let mut conn = database.connect().await;
    peer::add(&mut conn, &details).await.expect("a peer");
    conn.disconnect().await.expect("a goodbye");
}

/// What a program of DCMTK ended with and said.
async fn dcmtk(
    program: &str,
    title: &str,
    to: SocketAddr,
    options: &[&str],
    file: Option<&Path>,
) -> (bool, String) {
    let mut command = tokio::process::Command::new(program);
    command.args(["-v", "-to", "20", "-aet", title, "-aec", "FILMROOM"]).args(options);
    command.arg(to.ip().to_string()).arg(to.port().to_string()).args(file);
    let out = command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .expect("DCMTK, of the Debian package dcmtk");
    let said = [out.stdout, out.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (out.status.success(), said)
}

/// The options of DCMTK for a connection with this certificate.
fn with_certificate(pair: &Pair) -> Vec<String> {
    let path = |path: std::path::PathBuf| path.display().to_string();
    vec!["+tls".into(), path(pair.key()), path(pair.certificate())]
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_let_in_is_what_the_peer_has_to_use() {
    let (server, own, other) = (Pair::new(), Pair::named("ct01"), Pair::named("somebody"));
    let pacs = pacs(&server, |_| {}).await;
    add_peer(&pacs.database, "ANY", Encryption::Optional, None).await;
    add_peer(&pacs.database, "TLS", Encryption::Required, None).await;
    add_peer(&pacs.database, "PINNED", Encryption::Certificate, Some(own.fingerprint())).await;
    add_peer(&pacs.database, "UNPINNED", Encryption::Certificate, None).await;

    let authority = server.certificate().display().to_string();
    let (own, other) = (with_certificate(&own), with_certificate(&other));
    let (plain, anonymous) = (Vec::new(), vec!["+tla".to_owned(), "-ic".to_owned()]);
    let believing = |options: &[String]| {
        let mut options = options.to_vec();
        options.extend(["+cf".to_owned(), authority.clone()]);
        options
    };
    let ways = [
        ("plain", pacs.dicom, plain),
        ("anonymous", tls_port(&pacs), anonymous),
        ("other certificate", tls_port(&pacs), believing(&other)),
        ("own certificate", tls_port(&pacs), believing(&own)),
    ];
    for (title, let_in) in [
        ("ANY", [true, true, true, true]),
        ("TLS", [false, true, true, true]),
        ("PINNED", [false, false, false, true]),
        ("UNPINNED", [false, false, false, false]),
        ("STRANGER", [false, false, false, false]),
    ] {
        for ((way, to, options), expected) in ways.iter().zip(let_in) {
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            let (is_in, said) = dcmtk("echoscu", title, *to, &options, None).await;
            assert_eq!(is_in, expected, "{title}, {way}: {said}");
            assert!(is_in || said.contains("Calling AE Title Not Recognized"), "{title}, {way}: {said}");
        }
    }
    // Peers that came in another way than they have to are shown with that, and not as strangers.
    let exposed = "unknown_caller WHERE refusal LIKE 'This peer has to %'";
    assert_eq!(pacs.count(&format!("{exposed} AND calling_ae_title <> 'STRANGER'")).await, 3);
    assert_eq!(pacs.count("unknown_caller").await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_over_tls_is_stored() {
    let (server, own) = (Pair::new(), Pair::named("ct01"));
    let pacs = pacs(&server, |_| {}).await;
    add_peer(&pacs.database, "CT01", Encryption::Certificate, Some(own.fingerprint())).await;
    let file = slice(1, 1, 1, 1).side(512).build().file();
    let mut options = with_certificate(&own);
    options.push("-ic".into());
    let options: Vec<&str> = options.iter().map(String::as_str).collect();

    let (is_stored, said) = dcmtk("storescu", "CT01", tls_port(&pacs), &options, Some(file.path())).await;

    assert!(is_stored, "{said}");
    assert_eq!((pacs.count("instance").await, pacs.files().len()), (1, 1));
}

/// Shows a certificate with a key that is not its own.
#[derive(Debug)]
struct Stolen(Arc<CertifiedKey>);

impl ResolvesClientCert for Stolen {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn a_certificate_without_its_key_is_not_believed() {
    let (server, own, thief) = (Pair::new(), Pair::named("ct01"), Pair::named("thief"));
    let pacs = pacs(&server, |_| {}).await;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let shown = |key: &Pair| {
        let certificate = CertificateDer::from_pem_file(own.certificate()).expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(key.key()).expect("a key");
        let key = provider.key_provider.load_private_key(key).expect("a key");
        Arc::new(Stolen(Arc::new(CertifiedKey::new(vec![certificate], key))))
    };
    for version in [&TLS13, &TLS12] {
        for (key, is_believed) in [(&own, true), (&thief, false)] {
            let mut roots = rustls::RootCertStore::empty();
            roots
                .add(CertificateDer::from_pem_file(server.certificate()).expect("a certificate"))
                .expect("a root");
            let config = rustls::ClientConfig::builder_with_provider(provider.clone())
                .with_protocol_versions(&[version])
                .expect("a version")
                .with_root_certificates(roots)
                .with_client_cert_resolver(shown(key));
            let socket = TcpStream::connect(tls_port(&pacs)).await.expect("a connection");
            let name = ServerName::try_from("localhost").expect("a name");
            // In TLS 1.3 the refusal comes after our end of the handshake; a PDU that is none has an A-ABORT for an
            // answer where there is no refusal.
            let answered = async {
                let mut stream = TlsConnector::from(Arc::new(config)).connect(name, socket).await?;
                stream.write_all(&[9, 0, 0, 0, 0, 0]).await?;
                stream.flush().await?;
                stream.read_u8().await
            };
            let answer: std::io::Result<u8> = answered.await;
            assert_eq!(matches!(answer, Ok(7)), is_believed, "{version:?}: {answer:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_says_why_somebody_is_not_let_in() {
    let (server, own, other) = (Pair::new(), Pair::named("ct01"), Pair::named("somebody"));
    let (database, folder) = (database::fresh().await, tempfile::tempdir().expect("a folder"));
    let mut command = process::serve(&database.url.with_password(), folder.path());
    command.arg("--tls-certificate").arg(server.certificate()).arg("--tls-key").arg(server.key());
    command.args(["--dicom-tls-listen", "127.0.0.1:0"]);
    let process = Process::start(command).await;
    let (plain, tls) = (process.dicom, process.dicom_tls.expect("a port for TLS"));
    add_peer(&database, "CT01", Encryption::Certificate, Some(own.fingerprint())).await;

    let mut other_certificate = with_certificate(&other);
    other_certificate.push("-ic".into());
    let other_certificate: Vec<&str> = other_certificate.iter().map(String::as_str).collect();
    let shown = format!("it showed another one (SHA-256 {})", other.fingerprint());
    for (title, to, options, says) in [
        ("ANY", tls, &[][..], "no TLS with the peer: it does not speak TLS"),
        ("ANY", plain, &["+tla", "-ic"], "a TLS handshake, which has a port of its own"),
        ("CT01", plain, &[], "This peer has to use TLS, and it called in plain"),
        ("CT01", tls, &["+tla", "-ic"], "This peer has to show its certificate, and it showed none"),
        ("CT01", tls, &other_certificate, &shown),
    ] {
        let (is_in, said) = dcmtk("echoscu", title, to, options, None).await;
        assert!(!is_in, "{says}: {said}");
        eventually(says, async || process.said(says)).await;
    }
    let (is_in, said) = dcmtk("echoscu", "ANY", tls, &["+tla", "-ic"], None).await;
    assert!(is_in, "{said}");
    assert_eq!(process.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_does_not_go_on_is_ended_and_counts_as_an_association() {
    let server = Pair::new();
    let pacs = pacs(&server, |config| {
        config.unknown_peers = UnknownPeers::Store;
        config.max_associations = 1;
        config.timeouts.association = Duration::from_secs(2);
    })
    .await;
    let began = Instant::now();
    let mut silent = TcpStream::connect(tls_port(&pacs)).await.expect("a connection");
    silent.write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3]).await.expect("sent");
    tokio::time::sleep(Duration::from_millis(300)).await;

    let (is_in, said) = dcmtk("echoscu", "CT01", pacs.dicom, &[], None).await;
    assert!(!is_in && said.contains("Local Limit Exceeded"), "{said}");

    let closed = tokio::time::timeout(Duration::from_secs(10), silent.read(&mut [0; 64])).await;
    assert!(matches!(closed.expect("closed"), Ok(_) | Err(_)));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    // The place is given back a moment after the connection is closed.
    let mut plain = loop {
        let mut peer = Peer::connect(pacs.dicom).await;
        peer.send_pdu(&Pdu::AssociationRQ(request())).await;
        if let Some(Pdu::AssociationAC(_)) = peer.read_pdu().await {
            break peer;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "its place is not free again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(plain.echoes().await);
    let (is_in, said) = dcmtk("echoscu", "CT01", tls_port(&pacs), &["+tla", "-ic"], None).await;
    assert!(!is_in && said.contains("Local Limit Exceeded"), "{said}");
}

/// DCMTK's storescp with TLS; killed when dropped.
struct StoreScp {
    _child: tokio::process::Child,
    address: SocketAddr,
    folder: tempfile::TempDir,
}

impl StoreScp {
    async fn start(pair: &Pair, options: &[&str]) -> StoreScp {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("bound");
        drop(listener);
        let mut command = tokio::process::Command::new("storescp");
        command.args(with_certificate(pair)).args(options).arg("--output-directory").arg(folder.path());
        command
            .arg(address.port().to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let child = command.spawn().expect("storescp, of the Debian package dcmtk");
        eventually("storescp listens", async || TcpStream::connect(address).await.is_ok()).await;
        StoreScp { _child: child, address, folder }
    }
}

async fn associate(to: SocketAddr, tls: Option<Tls>) -> Result<Association, Error> {
    let (class, syntax) = (uids::CT_IMAGE_STORAGE, uids::EXPLICIT_VR_LITTLE_ENDIAN);
    let mut contexts =
        Proposal::for_instances([(&class.parse().expect("a UID"), &syntax.parse().expect("a UID"))]);
    contexts.push(Proposal::verification());
    let parameters = Parameters {
        calling_ae_title: "TEST".parse().expect("an AE title"),
        called_ae_title: "FILMROOM".parse().expect("an AE title"),
        presentation_contexts: contexts,
        tls,
        timeouts: Timeouts {
            connect: Duration::from_secs(5),
            association: Duration::from_secs(5),
            response: Duration::from_secs(10),
            ..Timeouts::default()
        },
    };
    Association::request(to, parameters).await
}

#[tokio::test(flavor = "multi_thread")]
async fn our_scu_stores_over_tls_and_believes_the_pinned_certificate_alone() {
    let (theirs, ours, other) = (Pair::new(), Pair::named("filmroom"), Pair::new());
    let ours_file = ours.certificate().display().to_string();
    let scp = StoreScp::start(&theirs, &["+cf", &ours_file]).await;
    let identity = ours.identity();

    let pinned = |pair: &Pair, identity: Option<&Identity>| {
        Some(Tls::pinned(pair.fingerprint(), identity).expect("a client"))
    };
    let mut association = associate(scp.address, pinned(&theirs, Some(&identity))).await.expect("accepted");
    let instance = slice(1, 1, 1, 1).side(512).build();
    let request = StoreRequest {
        sop_class_uid: &instance.sop_class_uid.parse().expect("a UID"),
        sop_instance_uid: &instance.sop_instance_uid.parse().expect("a UID"),
        transfer_syntax_uid: &uids::EXPLICIT_VR_LITTLE_ENDIAN.parse().expect("a UID"),
        move_originator: None,
    };
    let response = association.store(&request, instance.data_set.as_slice()).await.expect("an answer");
    assert_eq!(response.status, 0);
    association.release().await.expect("released");
    assert_eq!(std::fs::read_dir(scp.folder.path()).expect("a folder").count(), 1);

    let err = associate(scp.address, pinned(&other, Some(&identity))).await.expect_err("another certificate");
    let words = format!(
        "cannot connect to {} by TLS: its certificate is not the one that is expected of it",
        scp.address
    );
    assert_eq!(err.to_string(), words);
    let err = associate(scp.address, pinned(&theirs, None)).await.expect_err("storescp wants a certificate");
    assert!(
        err.to_string().contains("it asks for a certificate of ours") || err.to_string().contains("cipher"),
        "{err}"
    );
    // An association that is dropped is aborted; by TLS, too.
    drop(associate(scp.address, pinned(&theirs, Some(&identity))).await.expect("accepted"));
}

#[tokio::test(flavor = "multi_thread")]
async fn our_scu_believes_an_authority_for_the_name_it_connects_to() {
    let theirs = Pair::named("ct01.local");
    let scp = StoreScp::start(&theirs, &["-ic"]).await;
    let trusting =
        |pair: &Pair, name: &str| Some(Tls::trusting(&pair.certificate(), name, None).expect("a client"));

    for name in ["ct01.local", "127.0.0.1"] {
        let mut association = associate(scp.address, trusting(&theirs, name)).await.expect("accepted");
        assert_eq!(association.echo().await.expect("an answer").status, 0);
        association.release().await.expect("released");
    }
    let err = associate(scp.address, trusting(&theirs, "mr01.local")).await.expect_err("another name");
    assert!(err.to_string().contains("its certificate is not for mr01.local, but for "), "{err}");
    let err =
        associate(scp.address, trusting(&Pair::new(), "ct01.local")).await.expect_err("another authority");
    assert!(err.to_string().contains("its certificate is from no authority that is trusted"), "{err}");

    let err = Tls::trusting(&theirs.key(), "ct01.local", None).expect_err("no certificate");
    assert!(err.to_string().starts_with("there is no certificate of an authority in "), "{err}");
    let err = Tls::trusting(&theirs.certificate(), "no name", None).expect_err("no name");
    assert!(err.to_string().contains("is not a name that a certificate can be for"), "{err}");
}

#[tokio::test]
async fn our_scu_says_so_where_nobody_speaks_tls() {
    let server = Pair::new();
    let pacs = pacs(&server, |_| {}).await;
    let tls = Tls::pinned(server.fingerprint(), None).expect("a client");
    let err = associate(pacs.dicom, Some(tls)).await.expect_err("plain");
    assert_eq!(err.to_string(), format!("cannot connect to {} by TLS: it does not speak TLS", pacs.dicom));

    let silent = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let tls = Tls::pinned(server.fingerprint(), None).expect("a client");
    let err = associate(silent.local_addr().expect("bound"), Some(tls)).await.expect_err("silence");
    assert_eq!(err.to_string(), "the peer did not answer the TLS handshake within 5 s");
}

#[tokio::test]
async fn the_port_for_tls_asks_for_a_certificate_and_names_no_authority() {
    let server = Pair::new();
    let pacs = pacs(&server, |_| {}).await;
    let said = s_client(tls_port(&pacs), &["-tls1_2"]).await;
    assert!(said.text.contains("Client Certificate Types"), "{}", said.text);
    assert!(said.text.contains("No client certificate CA names sent"), "{}", said.text);
}
