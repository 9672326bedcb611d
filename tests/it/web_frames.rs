//! Frames, pixel data and bulk data of every file of pydicom: as they are stored, byte for byte, and without compression,
//! as pydicom decodes them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use filmroom::db::role::{Right, Role};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::pydicom_files::storable;
use crate::support::instance::slice;
use crate::support::person::{account, administrator};
use crate::support::process::{self, Process};
use crate::support::{TestServer, database, python, store_files};
use crate::web_dicomweb::{json_of, token_of};
use crate::web_picture::{clip, encapsulated, rle};
use crate::web_wado::parts;

const STORED: &str = "multipart/related; type=\"application/octet-stream\"; transfer-syntax=*";
const NATIVE: &str = "multipart/related; type=\"application/octet-stream\"";
const EXPLICIT: &str = "1.2.840.10008.1.2.1";

/// Files with frames that cannot be decoded, with a part of the sentence.
const UNDECODABLE: [(&str, &str); 1] =
    [("JPEG2000-embedded-sequence-delimiter.dcm", "holds a picture of 3722445056 x 1024 pixels")];
/// Decoders round what was compressed with loss differently.
const LOSSY_TOLERANCE: f64 = 3.0;
const LOSSY: [&str; 4] =
    ["1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.81", "1.2.840.10008.1.2.4.91"];

#[derive(Deserialize)]
struct File {
    file: PathBuf,
    instance: Option<String>,
    #[serde(default)]
    syntax: String,
    #[serde(default)]
    frames: Vec<String>,
    problem: Option<String>,
}

#[derive(Deserialize)]
struct Compared {
    file: PathBuf,
    frames: usize,
    most: f64,
    problems: Vec<String>,
    unknown: Option<String>,
}

fn hash(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The address of each instance there is.
async fn addresses(pacs: &TestServer) -> BTreeMap<String, String> {
    let found = json_of(pacs, "/dicom-web/instances").await;
    let address = |row: &serde_json::Value| {
        let uid = |tag: &str| row[tag]["Value"][0].as_str().expect("a UID").to_owned();
        let (study, series, instance) = (uid("0020000D"), uid("0020000E"), uid("00080018"));
        (instance.clone(), format!("/dicom-web/studies/{study}/series/{series}/instances/{instance}"))
    };
    found.as_array().expect("instances").iter().map(address).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_frame_of_pydicom_comes_as_it_is_stored_and_without_compression() {
    let pacs = TestServer::start().await;
    let out = tempfile::tempdir().expect("a folder");
    let mut arguments = vec!["copies".to_owned(), out.path().display().to_string()];
    arguments.extend(storable().iter().map(|file| file.display().to_string()));
    let copies = python("native_frames.py", &arguments).await;
    let files: Vec<File> =
        copies.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let usable: Vec<&File> = files.iter().filter(|file| file.problem.is_none()).collect();
    let paths: Vec<&Path> = usable.iter().map(|file| file.file.as_path()).collect();
    store_files(pacs.dicom, &paths).await;
    let addresses = addresses(&pacs).await;

    let (mut wrong, mut compared) =
        (Vec::new(), vec!["compare".to_owned(), out.path().display().to_string()]);
    let (mut seen, mut unheld) = (0, 0);
    for file in usable {
        let name = file.file.file_name().expect("a name").to_string_lossy().into_owned();
        let instance = file.instance.as_deref().expect("a UID");
        let Some(at) = addresses.get(instance) else {
            unheld += 1;
            continue;
        };
        let list: Vec<String> = (1..=file.frames.len()).map(|number| number.to_string()).collect();
        let path = format!("{at}/frames/{}", list.join(","));
        let stored = parts(pacs.admin.get_with(&path, &[("accept", STORED)]).await).await;
        let hashes: Vec<String> = stored.iter().map(|(_, frame)| hash(frame)).collect();
        if hashes != file.frames {
            wrong.push(format!("{name}: frames are not as they are stored"));
        }
        seen += stored.len();
        let response = pacs.admin.get_with(&path, &[("accept", NATIVE)]).await;
        if let Some((_, sentence)) = UNDECODABLE.iter().find(|(known, _)| name.ends_with(known)) {
            let said = (response.status().as_u16(), response.text().await.expect("text"));
            assert!(said.0 == 400 && said.1.contains(sentence), "{name}: {said:?}");
            continue;
        }
        if response.status() != 200 {
            wrong.push(format!("{name}: {} {}", response.status(), response.text().await.expect("text")));
            continue;
        }
        for (number, (kind, frame)) in parts(response).await.iter().enumerate() {
            assert_eq!(kind, &format!("application/octet-stream; transfer-syntax={EXPLICIT}"), "{name}");
            let raw = out.path().join(format!("{instance}-{}.raw", number + 1));
            std::fs::write(raw, frame).expect("a file that takes it");
        }
        compared.push(file.file.display().to_string());
    }
    assert!(seen > 150 && unheld < 10, "{seen} frames, {unheld} files are not held");

    let (mut frames, mut exact) = (0, 0);
    for line in python("native_frames.py", &compared).await.lines() {
        let compared: Compared = serde_json::from_str(line).expect("a line of JSON");
        let name = compared.file.file_name().expect("a name").to_string_lossy().into_owned();
        let file = files.iter().find(|file| file.file == compared.file).expect("one of them");
        let is_lossy = LOSSY.contains(&file.syntax.as_str());
        if compared.most > if is_lossy { LOSSY_TOLERANCE } else { 0.0 } {
            wrong.push(format!("{name} ({}): samples differ by up to {}", file.syntax, compared.most));
        }
        wrong.extend(compared.problems.iter().map(|problem| format!("{name}: {problem}")));
        frames += compared.frames;
        exact += if is_lossy { 0 } else { compared.frames };
        if let Some(unknown) = compared.unknown {
            println!("{name}: pydicom cannot decode it: {unknown}");
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(frames > 150 && exact > 100, "{frames} frames were compared, {exact} of them exactly");
}

#[tokio::test(flavor = "multi_thread")]
async fn pixel_data_is_all_frames_of_an_instance_a_series_and_a_study() {
    let pacs = TestServer::start().await;
    let other = slice(1, 1, 2, 1).bytes(tags::PIXEL_DATA, VR::OB, vec![7; 256]).build();
    let stream: Vec<u8> = b"\0\0\0\x18ftypmp42".iter().copied().chain([5; 100]).collect();
    let film = slice(2, 2, 1, 1).text(tags::NUMBER_OF_FRAMES, VR::IS, "20").build();
    let film = encapsulated(film, "1.2.840.10008.1.2.4.102", &[&stream]);
    let answers = pacs.store_all(&[clip(), other, film]).await;
    assert!(answers.iter().all(crate::support::Answer::is_success), "{answers:?}");
    let study = "/dicom-web/studies/1.2.3.1";
    let greys = |frames: &[(String, Vec<u8>)]| frames.iter().map(|(_, frame)| frame[0]).collect::<Vec<u8>>();
    for (path, expected) in [
        (format!("{study}/series/1.2.3.1.1/instances/1.2.3.1.1.1/pixeldata"), [10, 60, 110, 160].as_slice()),
        (format!("{study}/series/1.2.3.1.2/pixeldata"), &[7]),
        (format!("{study}/pixeldata"), &[10, 60, 110, 160, 7]),
    ] {
        let frames = parts(pacs.admin.get_with(&path, &[("accept", STORED)]).await).await;
        assert_eq!(greys(&frames), expected, "{path}");
        assert!(frames.iter().all(|(_, frame)| frame.len() == 256));
    }
    let single = [("accept", "application/octet-stream")];
    let one = pacs.admin.get_with(&format!("{study}/series/1.2.3.1.2/pixeldata"), &single).await;
    assert_eq!(one.bytes().await.expect("bytes").as_ref(), [7; 256]);
    assert_eq!(pacs.admin.get_with(&format!("{study}/pixeldata"), &single).await.status(), 406);

    let film = "/dicom-web/studies/1.2.3.2/series/1.2.3.2.1/instances/1.2.3.2.1.1/pixeldata";
    let range = [("accept", "*/*"), ("range", "bytes=4-7")];
    let part = pacs.admin.get_with(&format!("{film}?accept=video/mp4"), &range).await;
    assert_eq!(
        (part.status().as_u16(), &part.headers()["content-type"]),
        (206, &"video/mp4".parse().unwrap())
    );
    assert_eq!(part.bytes().await.expect("bytes").as_ref(), b"ftyp");
    let whole = parts(pacs.admin.get_with(film, &[("accept", STORED)]).await).await;
    assert!(
        whole == [("application/octet-stream; transfer-syntax=1.2.840.10008.1.2.4.102".to_owned(), stream)]
    );
    let native = pacs.admin.get_with(film, &[("accept", NATIVE)]).await;
    assert_eq!(native.status(), 406, "a video has no uncompressed form");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_bulk_data_comes_in_one_answer_and_says_where_each_is() {
    let pacs = TestServer::start().await;
    let private = slice(1, 1, 1, 2).bytes(dicom_core::Tag(0x0099, 0x1001), VR::OB, vec![7; 3000]).build();
    let all = [slice(1, 1, 1, 1).build(), private];
    assert!(pacs.store_all(&all).await.iter().all(crate::support::Answer::is_success));
    let at = "/dicom-web/studies/1.2.3.1/series/1.2.3.1.1";
    let whole = parts(pacs.admin.get_with(&format!("{at}/bulkdata"), &[("accept", NATIVE)]).await).await;
    let lengths: Vec<usize> = whole.iter().map(|(_, value)| value.len()).collect();
    assert_eq!(lengths, [256, 3000, 256]);
    let one = format!("{at}/instances/1.2.3.1.1.2/bulkdata");
    let text = pacs.get(&one).await.bytes().await.expect("bytes");
    let text = String::from_utf8_lossy(&text);
    for path in ["00991001", "7FE00010"] {
        let location = format!("Content-Location: {}\r\n", pacs.address(&format!("{one}/{path}")));
        assert!(text.contains(&location), "{location}");
    }
    assert_eq!(pacs.count("audit WHERE action = 'download'").await, 2);
    let single = pacs.admin.get_with(&one, &[("accept", "application/octet-stream")]).await;
    assert_eq!(single.status(), 406);
    let both = [("accept", "application/octet-stream, multipart/related; type=\"application/octet-stream\"")];
    assert_eq!(parts(pacs.admin.get_with(&one, &both).await).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn long_frames_come_from_the_file_as_they_stand_there() {
    let pacs = TestServer::start().await;
    let bytes =
        |seed: usize, count: usize| (0..count).map(|at| ((at * 7 + seed) % 251) as u8).collect::<Vec<u8>>();
    let (side, frame) = (1100_u16, 1100 * 1100);
    let native = slice(1, 1, 1, 1).side(side).text(tags::NUMBER_OF_FRAMES, VR::IS, "2");
    let native = native.bytes(tags::PIXEL_DATA, VR::OB, bytes(0, 2 * frame)).build();
    let fragments = [bytes(1, 900_000), bytes(2, 600_000)];
    let fragments: Vec<&[u8]> = fragments.iter().map(Vec::as_slice).collect();
    let image = slice(1, 1, 1, 2).side(side).build();
    let image = encapsulated(image, "1.2.840.10008.1.2.4.90", &fragments);
    let all = [native, image];
    assert!(pacs.store_all(&all).await.iter().all(crate::support::Answer::is_success));
    let at = "/dicom-web/studies/1.2.3.1/series/1.2.3.1.1/instances/1.2.3.1.1";
    let expected = bytes(0, 2 * frame);
    let expected: Vec<&[u8]> = expected.chunks(frame).collect();
    let whole = parts(pacs.admin.get_with(&format!("{at}.1/frames/2,1"), &[("accept", STORED)]).await).await;
    assert!(whole.len() == 2 && whole[0].1 == expected[1] && whole[1].1 == expected[0]);
    for (path, expected) in
        [(format!("{at}.1/frames/2"), expected[1].to_vec()), (format!("{at}.2/frames/1"), fragments.concat())]
    {
        let alone = [("accept", "application/octet-stream; transfer-syntax=*")];
        let response = pacs.admin.get_with(&path, &alone).await;
        assert_eq!(response.headers()["content-length"], expected.len().to_string().as_str());
        assert!(response.bytes().await.expect("bytes") == expected, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dicomweb_client_and_pillow_read_pictures_films_and_frames() {
    let pacs = TestServer::start().await;
    let frames: Vec<Vec<u8>> = [10, 60, 110, 160].into_iter().map(rle).collect();
    let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    assert!(pacs.store(&encapsulated(clip(), uids::RLE_LOSSLESS, &frames)).await.is_success());
    let key = account(&pacs.database, "reader", Role::Reader, "").await;
    let token = token_of(&pacs, key, &[Right::View]).await;
    let url = pacs.address("/dicom-web");
    let arguments = [url, token, "1.2.3.1".into(), "1.2.3.1.1".into(), "1.2.3.1.1.1".into()];
    let out = python("rendered.py", &arguments).await;
    let out: serde_json::Value = serde_json::from_str(&out).expect("rendered.py prints JSON");
    assert_eq!(out["instance"], json!(["JPEG", 16, 16, 1, null, null]));
    assert_eq!(out["profile"], json!(["JPEG", 16, 16, 1, null, "sRGB"]));
    assert_eq!(out["frame"], json!(["PNG", 8, 8, 1, null, null]));
    assert_eq!(out["series"], json!(["PNG", 16, 16, 1, null, null]));
    assert_eq!(out["film"], json!(["GIF", 16, 16, 4, 100, null]));
    assert_eq!(out["native"], hash(&[10; 256]));
    assert_eq!(out["stored"], hash(frames[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn long_answers_take_no_more_memory_than_a_frame_of_them() {
    const FRAMES: usize = 1600;
    let database = database::fresh().await;
    let folder = tempfile::tempdir().expect("a folder");
    let process = Process::start(process::serve(&database.url.with_password(), folder.path())).await;
    let clip = slice(1, 1, 1, 1)
        .side(256)
        .text(tags::NUMBER_OF_FRAMES, VR::IS, &FRAMES.to_string())
        .bytes(tags::PIXEL_DATA, VR::OB, (0..256 * 256 * FRAMES).map(|at| (at % 253) as u8).collect())
        .build();
    let file = clip.file();
    assert!(store_files(process.dicom, &[file.path()]).await[0].is_success());
    let admin = administrator(&database, process.http).await;
    let before = process.peak_memory();
    let at = "/dicom-web/studies/1.2.3.1/series/1.2.3.1.1/instances/1.2.3.1.1.1";
    let list: Vec<String> = (1..=400).map(|number| number.to_string()).collect();
    for (path, accept, least) in [
        (format!("{at}/pixeldata"), STORED, 100_000_000),
        (format!("{at}/frames/{}/rendered", list.join(",")), "image/gif", 2_000_000),
        (format!("{at}/frames/{}/rendered", list.join(",")), "multipart/related; type=image/png", 400_000),
    ] {
        let mut response = admin.get_with(&path, &[("accept", accept)]).await;
        assert_eq!(response.status(), 200, "{accept}");
        let mut length = 0;
        while let Some(piece) = response.chunk().await.expect("bytes") {
            length += piece.len();
        }
        assert!(length > least, "{accept}: {length} bytes");
    }
    let more = process.peak_memory().saturating_sub(before);
    assert!(more < 60_000_000, "{} MB more", more / 1_000_000);
    let all = admin.get_with(&format!("{at}/rendered"), &[("accept", "image/gif")]).await;
    assert_eq!(all.status(), 400, "more frames than a GIF may have");
    assert_eq!(process.terminate().await, Some(0));
}
