//! `filmroom echo`, `find`, `get`, `move` and `send` at a terminal.

use std::path::Path;

use dicom_dictionary_std::uids;

use crate::dimse_retrieve::Destination;
use crate::jobs::impatient;
use crate::support::instance::{Instance, slice};
use crate::support::remote::{Remote, free_port};
use crate::support::{FILMROOM, TestServer, database, files_below, pydicom_data, store_files};

/// Exit code, what it printed, and what it said.
async fn filmroom(arguments: &[&str]) -> (Option<i32>, String, String) {
    let out = tokio::process::Command::new(FILMROOM)
        .args(arguments)
        .env("FILMROOM_LOG", "error")
        .kill_on_drop(true)
        .output()
        .await
        .expect("filmroom runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (out.status.code(), text(out.stdout), text(out.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn echo_says_whether_somebody_answers() {
    let remote = Remote::scripted(&["find", "charsets"]).await;
    let (code, out, _) = filmroom(&["echo", &remote.address()]).await;
    assert_eq!(code, Some(0));
    assert!(out.starts_with("SCRIPTED at 127.0.0.1:") && out.contains("answers, in "), "{out}");
    let (code, _, said) = filmroom(&["echo", &format!("GONE@127.0.0.1:{}", free_port())]).await;
    assert_eq!(code, Some(1));
    assert!(said.starts_with("filmroom: cannot connect to 127.0.0.1:"), "{said}");
    for wrong in ["GONE@nowhere", "much too long for a title"] {
        assert_eq!(filmroom(&["echo", wrong]).await.0, Some(2), "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn find_prints_a_table_or_lines_of_json() {
    let remote = Remote::scripted(&["find", "charsets"]).await;
    let (code, out, said) = filmroom(&["find", &remote.address(), "PatientName=*"]).await;
    assert_eq!(code, Some(0), "{said}");
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].starts_with("PatientName ") && lines[0].ends_with("StudyInstanceUID"), "{out}");
    assert!(lines[1].starts_with("Müller^Jörg ") && lines[1].ends_with("1.2.3.1"), "{out}");
    assert_eq!(lines.len(), 4);
    let (code, out, _) = filmroom(&["find", &remote.address(), "--json", "--most", "2"]).await;
    assert_eq!(code, Some(0));
    let lines: Vec<serde_json::Value> =
        out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1]["PatientName"], "Łukasz^Żółć");
    assert_eq!(filmroom(&["find", &remote.address(), "Shoesize=12"]).await.0, Some(2));
    assert_eq!(filmroom(&["find", &remote.address(), "--level", "shelf"]).await.0, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn send_takes_studies_of_the_archive_and_files_and_names_what_is_refused() {
    let pacs = TestServer::start_with(impatient).await;
    pacs.store_all(&[slice(1, 1, 1, 1).build(), slice(1, 1, 1, 2).build()]).await;
    let remote = Remote::scripted(&["store", "poison", "1.2.3.7.1.2"]).await;
    remote.become_peer(&pacs.database).await;
    let (url, folder) = (pacs.database.url.with_password(), pacs.folder.path().display().to_string());
    let archive = ["--database-url", &url, "--data-dir", &folder];
    let (code, out, said) = filmroom(&[&["send", "SCRIPTED", "1.2.3.1"][..], &archive].concat()).await;
    assert_eq!((code, out.as_str()), (Some(0), "sent 2 of 2 instances to SCRIPTED\n"), "{said}");
    assert_eq!(pacs.audited("send").await, 1);

    let files: Vec<_> = (1..=3).map(|number| slice(7, 7, 1, number).build().file()).collect();
    let paths: Vec<String> = files.iter().map(|file| file.path().display().to_string()).collect();
    let address = remote.address();
    let mut arguments = vec!["send", address.as_str()];
    arguments.extend(paths.iter().map(String::as_str));
    let (code, out, said) = filmroom(&arguments).await;
    assert_eq!((code, out.as_str()), (Some(1), "sent 2 of 3 instances to SCRIPTED\n"));
    assert!(said.contains("1.2.3.7.1.2: it cannot understand or process it (C000H)"), "{said}");
    assert_eq!(remote.taken(), 4);
    let missing = filmroom(&[&["send", "SCRIPTED", "1.2.3.99"][..], &archive].concat()).await;
    assert_eq!(missing.0, Some(1));
    assert!(missing.2.contains("1.2.3.99 is not in the archive"), "{}", missing.2);
    assert_eq!(filmroom(&["send", &address, "no file"]).await.0, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn send_converts_for_a_peer_that_takes_nothing_but_native() {
    let pacs = TestServer::start_with(impatient).await;
    let file = pydicom_data().join("test_files/JPEG2000.dcm");
    assert!(store_files(pacs.dicom, &[&file]).await.iter().all(|answer| answer.is_success()));
    let study: String = pacs.value("SELECT study_instance_uid FROM study").await;
    let uid: String = pacs.value("SELECT sop_instance_uid FROM instance").await;
    let (url, folder) = (pacs.database.url.with_password(), pacs.folder.path().display().to_string());
    let archive = ["--database-url", &url, "--data-dir", &folder];
    for what in [study.as_str(), &file.display().to_string()] {
        let destination = Destination::start(&["+xe"]).await;
        let address = format!("STORESCP@127.0.0.1:{}", destination.port);
        let (code, out, said) = filmroom(&[&["send", &address, what][..], &archive].concat()).await;
        assert_eq!((code, out.as_str()), (Some(0), "sent 1 of 1 instances to STORESCP\n"), "{said}");
        let arrived = destination.arrived();
        assert!(
            arrived[&uid].len() > 1024 * 256 * 2,
            "1024 x 256 pixels of 16 bits: {}",
            arrived[&uid].len()
        );
    }
    // What cannot be converted is said, and the rest is sent.
    let video = slice(3, 3, 1, 1).build();
    let mut film = video.clone();
    film.transfer_syntax_uid = uids::MPEG4HP41.to_owned();
    let (film, other) = (film.file(), slice(3, 3, 1, 2).build().file());
    let destination = Destination::start(&["+xe"]).await;
    let address = format!("STORESCP@127.0.0.1:{}", destination.port);
    let paths = [film.path().display().to_string(), other.path().display().to_string()];
    let (code, out, said) = filmroom(&["send", &address, &paths[0], &paths[1]]).await;
    assert_eq!((code, out.as_str()), (Some(1), "sent 1 of 2 instances to STORESCP\n"), "{said}");
    assert!(said.contains("has no native form"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn get_fills_a_folder_or_an_archive_nobody_serves_and_move_has_a_server_receive() {
    let mut pacs = TestServer::start_with(impatient).await;
    let remote = Remote::dcmqrscp(pacs.dicom).await;
    let instances: Vec<Instance> = (1..=3).map(|number| slice(1, 1, 1, number).build()).collect();
    remote.fill(&instances).await;
    let (url, folder) = (pacs.database.url.with_password(), pacs.folder.path().display().to_string());
    let archive = ["--database-url", &url, "--data-dir", &folder];
    let address = remote.address();

    let into = tempfile::tempdir().expect("a folder");
    let path = into.path().display().to_string();
    let (code, out, said) = filmroom(&["get", &address, "1.2.3.1", "--into", &path]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(out.contains("1.2.3.1: 3 instances"), "{out}");
    let mut hashes: Vec<Vec<u8>> = files_below(into.path()).iter().map(|file| data_set(file)).collect();
    hashes.sort();
    let mut sent: Vec<Vec<u8>> = instances.iter().map(|instance| instance.data_set.clone()).collect();
    sent.sort();
    assert_eq!(hashes.len(), 3);
    assert!(hashes.iter().zip(&sent).all(|(got, sent)| got.len() == sent.len()), "whole data sets");

    let (code, _, said) = filmroom(&[&["get", &address, "1.2.3.1"][..], &archive].concat()).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("filmroom move"), "a server works on it: {said}");
    let (code, out, said) = filmroom(&["move", &address, "1.2.3.1"]).await;
    assert_eq!((code, out.as_str()), (Some(0), "1.2.3.1: 3 instances\n"), "{said}");
    assert_eq!(pacs.count("instance").await, 3);
    let (code, _, said) = filmroom(&["move", &address, "1.2.3.1", "--to", "NOBODY"]).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("it does not know the destination"), "{said}");
    let (code, _, said) = filmroom(&["move", &address, "1.2.3.99"]).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("has no such study"), "{said}");

    // While nobody serves it, the archive takes what is retrieved.
    pacs.stop().await.expect("stopped");
    remote.fill(&[slice(2, 2, 1, 1).build()]).await;
    let (code, _, said) = filmroom(&[&["get", &address, "1.2.3.2"][..], &archive].concat()).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(pacs.count("instance").await, 4);
    database::statement(&pacs.database.url, "SELECT 1").await;
}

fn data_set(file: &Path) -> Vec<u8> {
    crate::support::instance::data_set_of(&std::fs::read(file).expect("a file")).to_vec()
}
