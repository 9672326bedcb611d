//! The command line as a process: what it says, what it ends with, and that a running server believes it at once.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use filmroom::dimse::access::UnknownPeers;
use tokio::process::Command;

use crate::support::database::{self, TestDatabase};
use crate::support::instance::slice;
use crate::support::peer::{self, Peer};
use crate::support::process::Process;
use crate::support::tls::Pair;
use crate::support::{FILMROOM, TestServer};

/// What a command said and ended with.
#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

/// Runs `filmroom` to its end.
async fn filmroom(arguments: &[&str]) -> Said {
    let child = Command::new(FILMROOM)
        .args(arguments)
        .env("FILMROOM_LOG", "error")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("filmroom starts");
    let ended = tokio::time::timeout(Duration::from_secs(60), child.wait_with_output());
    let ended = ended.await.expect("it ends by itself").expect("its output");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Said { code: ended.status.code().expect("a code"), out: text(ended.stdout), err: text(ended.stderr) }
}

/// Runs `filmroom peer` on a database.
async fn peer_command(database: &TestDatabase, arguments: &[&str]) -> Said {
    let url = database.url.with_password();
    let mut all = vec!["peer", "--database-url", &url];
    all.extend(arguments);
    filmroom(&all).await
}

async fn done(database: &TestDatabase, arguments: &[&str]) -> String {
    let said = peer_command(database, arguments).await;
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{arguments:?}: {said:?}");
    said.out
}

/// The one sentence on standard error.
async fn refused(database: &TestDatabase, arguments: &[&str], code: i32) -> String {
    let said = peer_command(database, arguments).await;
    assert_eq!((said.code, said.out.as_str()), (code, ""), "{arguments:?}: {said:?}");
    said.err
}

#[tokio::test]
async fn version_and_help_are_answered_without_a_database() {
    let said = filmroom(&["--version"]).await;
    assert_eq!(
        (said.code, said.out.trim()),
        (0, concat!("filmroom ", env!("CARGO_PKG_VERSION"))),
        "{said:?}"
    );
    let said = filmroom(&["--help"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    for command in ["serve", "demo", "peer"] {
        assert!(
            said.out.lines().any(|line| line.trim_start().starts_with(command)),
            "{command}: {}",
            said.out
        );
    }
    assert!(!said.out.contains("decode-worker"), "what it calls itself with is not for people");
    let said = filmroom(&["serve", "--help"]).await;
    for words in ["--database-url", "FILMROOM_DATA_DIR", "[default: 0.0.0.0:11112]", "--unknown-peers"] {
        assert!(said.out.contains(words), "{words}: {}", said.out);
    }
}

#[tokio::test]
async fn nothing_to_do_and_an_unknown_command_end_with_2() {
    for arguments in [&[][..], &["sevre"], &["peer"], &["serve", "--no-such-flag"]] {
        let said = filmroom(arguments).await;
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{arguments:?}: {said:?}");
        assert!(said.err.contains("Usage:"), "{arguments:?}: {said:?}");
    }
}

#[tokio::test]
async fn peers_are_added_listed_and_removed() {
    let database = database::fresh().await;
    assert_eq!(done(&database, &["list"]).await, "there are no peers\n");

    let said =
        done(&database, &["add", "CT1", "--host", "10.0.0.7", "--port", "104", "--description", "big CT"]);
    assert_eq!(said.await, "CT1 is a peer now\n");
    assert_eq!(done(&database, &["add", "VIEWER", "--may", "echo"]).await, "VIEWER is a peer now\n");

    let listed = done(&database, &["list"]).await;
    let rows: Vec<Vec<&str>> = listed.lines().map(|line| line.split("  ").collect()).collect();
    let rows: Vec<Vec<&str>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| cell.trim()).filter(|cell| !cell.is_empty()).collect())
        .collect();
    assert_eq!(
        rows,
        [
            vec!["CT1", "10.0.0.7", "104", "echo, store, commit", "plain or TLS", "big CT"],
            vec!["VIEWER", "any address", "-", "echo", "plain or TLS"]
        ]
    );

    assert_eq!(done(&database, &["remove", "CT1"]).await, "CT1 is no peer any more\n");
    assert!(!done(&database, &["list"]).await.contains("CT1"));
}

#[tokio::test]
async fn a_wrong_peer_is_one_sentence_and_changes_nothing() {
    let database = database::fresh().await;
    done(&database, &["add", "CT1", "--port", "104"]).await;

    let twice = refused(&database, &["add", "CT1", "--port", "105"], 1).await;
    assert_eq!(twice, "filmroom: CT1 is a peer already: `filmroom peer change` changes it\n");
    assert_eq!(refused(&database, &["remove", "MR1"], 1).await, "filmroom: MR1 is no peer\n");
    for title in ["", "   ", "TITLE-OF-MORE-THAN-16", "BACK\\SLASH", "UML\u{c4}UT", "NEW\nLINE"] {
        for command in ["add", "remove"] {
            let said = refused(&database, &[command, title], 1).await;
            assert!(said.starts_with("filmroom: ") && said.contains("AE title"), "{title:?}: {said}");
            assert_eq!(said.lines().count(), 1, "{title:?}: {said}");
        }
    }
    for port in ["0", "65536", "-1", "http"] {
        let said = refused(&database, &["add", "MR1", &format!("--port={port}")], 2).await;
        assert!(said.contains("--port"), "{port}: {said}");
    }
    let long = "h".repeat(256);
    for host in ["two words", "http://ct1", "10.0.0.300", long.as_str()] {
        let said = refused(&database, &["add", "MR1", "--host", host], 1).await;
        assert!(said.starts_with("filmroom: ") && said.contains("host"), "{host:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{host:?}: {said}");
    }
    let said = refused(&database, &["add", "MR1", "--description", &"d".repeat(256)], 1).await;
    assert!(said.contains("description"), "{said}");

    assert_eq!(done(&database, &["list"]).await.lines().count(), 1);
}

#[tokio::test]
async fn what_is_given_of_a_peer_is_changed_and_nothing_else() {
    let database = database::fresh().await;
    let first =
        ["add", "VIEWER", "--host", "10.0.0.9", "--port", "104", "--may", "echo,find", "--destination"];
    done(&database, &[&first[..], &["--description", "reading room"]].concat()).await;
    let row = async || {
        let mut conn = database.connect().await;
        let peers = filmroom::db::peer::list(&mut conn).await.expect("peers");
        assert_eq!(peers.len(), 1);
        peers.into_iter().next().expect("a peer")
    };
    let before = row().await.details();
    assert!(before.is_destination && !before.offers_commitment);

    let said = done(&database, &["change", "VIEWER", "--may", "echo,find,move"]).await;
    assert_eq!(
        said,
        "VIEWER is now VIEWER at 10.0.0.9 port 104, may verify, search and have studies sent, is a destination\n"
    );
    let after = row().await.details();
    assert_eq!(after.services.to_string(), "echo, find, move");
    assert_eq!(
        filmroom::db::peer::PeerDetails { services: before.services, ..after },
        before,
        "all else is as it was"
    );

    done(&database, &["change", "VIEWER", "--offers-commitment", "--host", "viewer.local"]).await;
    let listed = done(&database, &["list"]).await;
    assert!(listed.contains("  destination, offers commitment  "), "{listed}");
    done(&database, &["change", "VIEWER", "--destination=no", "--offers-commitment=no", "--port", "none"])
        .await;
    let last = row().await;
    assert_eq!((last.is_destination, last.offers_commitment, last.port), (false, false, None));
    assert_eq!((last.host.as_str(), last.description.as_str()), ("viewer.local", "reading room"));
    done(&database, &["change", "VIEWER", "--rename", "VIEWER2", "--may", ""]).await;
    assert_eq!((row().await.ae_title.as_str(), row().await.services.is_empty()), ("VIEWER2", true));
}

#[tokio::test]
async fn a_change_that_cannot_be_is_one_sentence_and_changes_nothing() {
    let database = database::fresh().await;
    done(&database, &["add", "CT1", "--host", "10.0.0.7"]).await;
    done(&database, &["add", "CT2", "--destination", "--host", "10.0.0.8", "--port", "104"]).await;
    let before = done(&database, &["list"]).await;
    for (arguments, says) in [
        (&["change", "MR1", "--may", "echo"][..], "MR1 is no peer"),
        (&["change", "CT1"], "say what to change of CT1"),
        (&["change", "CT1", "--destination"], "--destination: CT1 needs --host and --port"),
        (&["change", "CT1", "--offers-commitment"], "--offers-commitment: CT1 needs --host and --port"),
        (&["change", "CT2", "--port", "none"], "--destination: CT2 needs --host and --port"),
        (
            &["change", "CT2", "--tls", "required"],
            "--tls required: we send to CT2 by TLS, so give --certificate FILE",
        ),
        (&["change", "CT2", "--host", ""], "--destination: CT2 needs --host and --port"),
        (&["add", "CT3", "--destination", "--port", "104"], "--destination: CT3 needs --host and --port"),
        (&["change", "CT1", "--host", "a b"], "--host: \"a b\" is not a host name"),
        (&["change", "CT1", "--rename", "CT2"], "--rename: CT2 is a peer already"),
        (&["change", "CT1", "--rename", "A\\B"], "--rename: an AE title is made of"),
        (&["change", "CT1", "--tls", "certificate"], "give the certificate too"),
        (&["change", "CT1", "--tls", "perhaps"], "--tls: must be optional, required or certificate"),
    ] {
        let said = refused(&database, arguments, 1).await;
        assert!(said.contains(says) && said.lines().count() == 1, "{arguments:?}: {said}");
    }
    for (arguments, says) in [
        (&["change", "CT1", "--may", "print"][..], "must be one of echo, store, find, get, move, commit"),
        (&["change", "CT1", "--port", "0"], "must be between 1 and 65535, or none"),
        (&["change", "CT1", "--destination=maybe"], "[possible values: yes, no]"),
    ] {
        let said = refused(&database, arguments, 2).await;
        assert!(said.contains(says), "{arguments:?}: {said}");
    }
    assert_eq!(done(&database, &["list"]).await, before);
}

#[tokio::test]
async fn a_peer_is_added_with_what_it_has_to_use() {
    let database = database::fresh().await;
    let pair = Pair::named("ct1");
    let certificate = pair.certificate().display().to_string();
    done(&database, &["add", "CT1", "--tls", "required"]).await;
    done(&database, &["add", "CT2", "--tls", "certificate", "--certificate", &certificate]).await;

    let listed = done(&database, &["list"]).await;
    assert!(
        listed.lines().any(|line| line.starts_with("CT1 ") && line.trim_end().ends_with("  TLS")),
        "{listed}"
    );
    assert!(
        listed.lines().any(|line| line.starts_with("CT2 ") && line.contains("TLS, its certificate")),
        "{listed}"
    );
    let stored = {
        let mut conn = database.connect().await;
        let title = "CT2".parse().expect("an AE title");
        filmroom::db::peer::by_ae_title(&mut conn, &title)
            .await
            .expect("an answer")
            .expect("a peer")
            .certificate
    };
    assert_eq!(stored, Some(pair.fingerprint()));

    let key = pair.key().display().to_string();
    for (arguments, says) in [
        (&["--tls", "perhaps"][..], "--tls: must be optional, required or certificate"),
        (&["--tls", "certificate"], "give the certificate too"),
        (&["--certificate", &certificate], "--tls required or --tls certificate alone"),
        (&["--tls", "certificate", "--certificate", "/nowhere"], "cannot read /nowhere"),
        (&["--tls", "certificate", "--certificate", &key], "it is a private key"),
    ] {
        let said = refused(&database, &[&["add", "MR1"][..], arguments].concat(), 1).await;
        assert!(said.contains(says) && said.lines().count() == 1, "{arguments:?}: {said}");
    }
    assert_eq!(done(&database, &["list"]).await.lines().count(), 2);
}

/// An association of this calling AE title. `None` where it is rejected.
async fn call(pacs: &TestServer, title: &str) -> Option<Peer> {
    use dicom_ul::Pdu;
    let mut request = peer::request();
    request.calling_ae_title = title.into();
    let mut peer = Peer::connect(pacs.dicom).await;
    peer.send_pdu(&Pdu::AssociationRQ(request)).await;
    match peer.read_pdu().await {
        Some(Pdu::AssociationAC(_)) => Some(peer),
        Some(Pdu::AssociationRJ(_)) => None,
        other => panic!("neither accepted nor rejected: {other:?}"),
    }
}

/// The status of a C-STORE over an association; none where its presentation context was not accepted.
async fn stores(mut peer: Peer, instance: u32) -> Option<u16> {
    peer.store(&slice(1, 1, 1, instance).build(), 16_000).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_server_believes_a_peer_from_the_moment_it_is_added() {
    let pacs = TestServer::start_with(|config| config.unknown_peers = UnknownPeers::Ask).await;
    let stranger = call(&pacs, "CT1").await.expect("a stranger may echo");
    assert_eq!(stores(stranger, 1).await, None, "a stranger does not store");

    done(&pacs.database, &["add", "CT1"]).await;
    let known = call(&pacs, "CT1").await.expect("a peer");
    assert_eq!(stores(known, 1).await, Some(0));

    done(&pacs.database, &["add", "VIEWER", "--may", "echo"]).await;
    let mut viewer = call(&pacs, "VIEWER").await.expect("a peer");
    assert!(viewer.echoes().await);
    assert_eq!(stores(viewer, 2).await, None, "it may only echo");

    done(&pacs.database, &["add", "MR1", "--host", "127.0.0.1"]).await;
    assert_eq!(stores(call(&pacs, "MR1").await.expect("from where it should be"), 3).await, Some(0));
    for elsewhere in ["10.9.8.7", "::1", "no-such-host.invalid"] {
        done(&pacs.database, &["add", "US1", "--host", elsewhere]).await;
        assert!(call(&pacs, "US1").await.is_none(), "US1 is at {elsewhere}, and calls from 127.0.0.1");
        done(&pacs.database, &["remove", "US1"]).await;
    }

    done(&pacs.database, &["remove", "CT1"]).await;
    let stranger = call(&pacs, "CT1").await.expect("a stranger may echo");
    assert_eq!(stores(stranger, 4).await, None, "what was removed is a stranger again");
    assert_eq!(pacs.count("instance").await, 2);
}

/// Database servers that work in a folder.
fn database_servers_in(folder: &Path) -> Vec<u32> {
    let folder = folder.canonicalize().expect("a folder").display().to_string();
    let processes = std::fs::read_dir("/proc").expect("processes").flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|id| {
            let command = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).into_owned();
            let program = command.split('\0').next().unwrap_or("");
            (program.ends_with("mariadbd") || program.ends_with("mysqld")) && command.contains(&folder)
        })
        .collect()
}

fn serve_in(folder: &Path) -> Command {
    let mut command = Command::new(FILMROOM);
    command.args(["serve", "--dicom-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]);
    command.args(["--unknown-peers", "store"]).arg("--data-dir").arg(folder);
    command
        .env("FILMROOM_LOG", "info")
        .env_remove("FILMROOM_DATABASE_URL")
        .env_remove("FILMROOM_DATABASE_URL_FILE");
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_database_url_the_server_brings_its_own_and_takes_it_along() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let process = Process::start(serve_in(&data)).await;
    assert_eq!(database_servers_in(&data).len(), 1);
    assert_eq!(Peer::associate(process.dicom).await.store(&slice(1, 1, 1, 1).build(), 16_000).await, Some(0));

    // The administrator's commands reach the private database while it runs, and without the server.
    let data_dir = data.display().to_string();
    let peers = ["peer", "--data-dir", &data_dir];
    let running = filmroom(&[&peers[..], &["add", "CT1"]].concat()).await;
    assert_eq!(process.terminate().await, Some(0));
    assert_eq!(database_servers_in(&data), Vec::<u32>::new(), "a database server was left behind");
    assert_eq!((running.code, running.out.as_str()), (0, "CT1 is a peer now\n"), "{running:?}");
    let stopped = filmroom(&[&peers[..], &["list"]].concat()).await;
    assert!(stopped.out.starts_with("CT1 "), "{stopped:?}");
    assert_eq!(database_servers_in(&data), Vec::<u32>::new(), "a database server was left behind");

    // What was stored is there after a new start.
    let process = Process::start(serve_in(&data)).await;
    let again = Peer::associate(process.dicom).await.store(&slice(1, 1, 1, 1).build(), 16_000).await;
    assert_eq!(again, Some(0));
    assert_eq!(process.terminate().await, Some(0));
}
