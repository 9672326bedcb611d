//! WADO-RS, PS3.18 section 10.4: metadata, bulk data, frames and instances, asked for as viewers ask.

use std::io::Read;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::instance::slice;
use crate::support::{TestServer, eventually, files_below, pydicom_data, python, store_files};
use crate::web_dicomweb::{archive, compare_with_xml, json_of};

#[tokio::test(flavor = "multi_thread")]
async fn metadata_is_whole_zipped_tagged_and_follows_what_is_stored() {
    let pacs = archive().await;
    let path = "/dicom-web/studies/1.2.3.1/series/1.2.3.1.1/metadata";
    // As OHIF's older builds ask.
    let mixed = "application/dicom+json, multipart/related; type=application/octet-stream; transfer-syntax=*";
    let response = pacs.admin.get_with(path, &[("accept", mixed), ("accept-encoding", "gzip")]).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-encoding"]),
        (200, &"gzip".parse().unwrap())
    );
    let tag = response.headers()["etag"].clone();
    let zipped = response.bytes().await.expect("bytes");
    let mut text = String::new();
    flate2::read::GzDecoder::new(zipped.as_ref()).read_to_string(&mut text).expect("gzip");
    let metadata: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(metadata.as_array().map(Vec::len), Some(2));
    let first = &metadata[0];
    assert_eq!(first["00280010"]["Value"][0], 16);
    assert_eq!(first["00281050"]["Value"][0], 128);
    assert_eq!(first["00083002"]["Value"][0], "1.2.840.10008.1.2.1");
    let at = pacs.address("/dicom-web/studies/1.2.3.1/series/1.2.3.1.1/instances/1.2.3.1.1.1");
    assert_eq!(first["7FE00010"], json!({ "vr": "OB", "BulkDataURI": format!("{at}/bulkdata/7FE00010") }));
    let plain: Value = pacs.admin.get_with(path, &[]).await.json().await.expect("JSON");
    assert_eq!(plain, metadata);
    let tag = tag.to_str().expect("text");
    let again = pacs.admin.get_with(path, &[("if-none-match", tag), ("accept-encoding", "gzip")]).await;
    assert_eq!(again.status(), 304);
    let unzipped = pacs.admin.get_with(path, &[("if-none-match", tag)]).await;
    assert_eq!(unzipped.status(), 200, "these are other bytes");
    for (path, accept, kind) in [
        (path.to_owned(), "application/json", "application/json"),
        // A plus that nobody escaped.
        (format!("{path}?accept=application/dicom+json"), "text/html", "application/dicom+json"),
    ] {
        let response = pacs.admin.get_with(&path, &[("accept", accept)]).await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (200, &kind.parse().unwrap()),
            "{path}"
        );
    }
    pacs.store(&slice(1, 1, 1, 3).build()).await;
    let after = pacs.admin.get_with(path, &[("if-none-match", tag)]).await;
    assert_eq!(after.status(), 200);
    assert_eq!(after.json::<Value>().await.expect("JSON").as_array().map(Vec::len), Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_in_xml_is_that_in_json() {
    let pacs = archive().await;
    let files =
        ["CT_small.dcm", "MR_small_RLE.dcm", "test-SR.dcm", "rtplan.dcm", "waveform_ecg.dcm", "JPEG2000.dcm"];
    let paths: Vec<_> = files.iter().map(|file| pydicom_data().join("test_files").join(file)).collect();
    let paths: Vec<_> = paths.iter().map(|path| path.as_path()).collect();
    for (answer, file) in store_files(pacs.dicom, &paths).await.iter().zip(files) {
        assert!(matches!(answer.status, Some(0 | 0xB007)), "{file}: {answer:?}");
    }
    let studies = json_of(&pacs, "/dicom-web/studies").await;
    let mut compared = 0;
    for study in studies.as_array().expect("studies") {
        let uid = study["0020000D"]["Value"][0].as_str().expect("a UID");
        compared += compare_with_xml(&pacs, &format!("/dicom-web/studies/{uid}/metadata")).await;
    }
    assert!(compared > 1_000, "{compared} attributes");
    let series = "/dicom-web/studies/1.2.3.1/series/1.2.3.1.1";
    compare_with_xml(&pacs, &format!("{series}/metadata")).await;
    let instance = format!("{series}/instances/1.2.3.1.1.1/metadata");
    compare_with_xml(&pacs, &instance).await;

    let single = [("accept", "application/dicom+xml")];
    let several = pacs.admin.get_with(&format!("{series}/metadata"), &single).await;
    assert_eq!(parts(several).await.len(), 2, "several cannot come alone");
    let one = pacs.admin.get_with(&instance, &single).await;
    assert_eq!(one.headers()["content-type"], "application/dicom+xml");
    let tag = one.headers()["etag"].to_str().expect("text").to_owned();
    let seen = [("accept", "application/dicom+xml"), ("if-none-match", &tag)];
    assert_eq!(pacs.admin.get_with(&instance, &seen).await.status(), 304);
    // The JSON is other bytes.
    let other = [("accept", "application/dicom+json"), ("if-none-match", &tag)];
    assert_eq!(pacs.admin.get_with(&instance, &other).await.status(), 200);
    assert_eq!(pacs.admin.get_with(&instance, &[("accept", "text/csv")]).await.status(), 406);
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_that_was_made_is_kept_and_opens_no_file_again() {
    let pacs = archive().await;
    let path = "/dicom-web/studies/1.2.3.1/series/1.2.3.1.1/metadata";
    let first: Value = pacs.get(path).await.json().await.expect("JSON");
    let kept = pacs.folder.path().join("metadata");
    let is_kept = async || {
        let files = if kept.exists() { files_below(&kept) } else { Vec::new() };
        files.len() == 1 && files.iter().all(|file| file.extension().is_none())
    };
    eventually("the metadata is on the disk", is_kept).await;
    let away = pacs.folder.path().join("away");
    std::fs::rename(pacs.folder.path().join("archive"), &away).expect("another name");
    // Under another name of ours nothing is in memory.
    let port = pacs.http.port();
    let other = [("host", format!("localhost:{port}"))];
    let other: Vec<(&str, &str)> = other.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let again: Value = pacs.admin.get_with(path, &other).await.json().await.expect("JSON");
    let text = first.to_string().replace(&format!("127.0.0.1:{port}"), &format!("localhost:{port}"));
    assert_eq!(again, serde_json::from_str::<Value>(&text).expect("JSON"));
    // What was not asked for has no other place than the files.
    assert_eq!(pacs.get("/dicom-web/studies/1.2.3.2/metadata").await.status(), 503);
    std::fs::rename(&away, pacs.folder.path().join("archive")).expect("the old name");
    pacs.store(&slice(1, 1, 1, 3).build()).await;
    let after: Value = pacs.get(path).await.json().await.expect("JSON");
    assert_eq!(after.as_array().map(Vec::len), Some(3), "another instance makes it new");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_away_for_a_while_is_not_called_broken() {
    let pacs = archive().await;
    let series = "/dicom-web/studies/1.2.3.1/series/1.2.3.1.1";
    let instance = format!("{series}/instances/1.2.3.1.1.1");
    let both = [("accept", "application/dicom, multipart/related; type=\"application/dicom\"")];
    let whole = parts(pacs.admin.get_with(series, &both).await).await;
    assert_eq!(whole.len(), 2, "several come in parts");
    let folder = pacs.folder.path().join("archive");
    std::fs::rename(&folder, pacs.folder.path().join("away")).expect("another name");
    for (path, accept) in [
        (instance.clone(), "application/dicom; transfer-syntax=*"),
        (instance.clone(), "application/dicom; transfer-syntax=1.2.840.10008.1.2"),
        (format!("{instance}/frames/1"), "application/octet-stream"),
        (format!("{instance}/bulkdata/7FE00010"), "*/*"),
    ] {
        assert_eq!(pacs.admin.get_with(&path, &[("accept", accept)]).await.status(), 503, "{path} {accept}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bulk_data_comes_in_ranges_and_in_parts() {
    let pacs = archive().await;
    let path = "/dicom-web/studies/1.2.3.3/series/1.2.3.3.1/instances/1.2.3.3.1.1/bulkdata/00991001";
    let whole = pacs.get(path).await;
    assert_eq!(whole.headers()["content-type"], "application/octet-stream");
    assert_eq!(whole.bytes().await.expect("bytes").as_ref(), [7; 3000]);
    for (range, status, said, length) in [
        ("bytes=0-9", 206, "bytes 0-9/3000", 10),
        ("bytes=2990-", 206, "bytes 2990-2999/3000", 10),
        ("bytes=-1", 206, "bytes 2999-2999/3000", 1),
        ("bytes=3000-", 416, "bytes */3000", 0),
    ] {
        let part = pacs.admin.get_with(path, &[("range", range)]).await;
        assert_eq!(
            (part.status().as_u16(), part.headers()["content-range"].as_bytes()),
            (status, said.as_bytes())
        );
        assert_eq!(part.bytes().await.expect("bytes").len(), length, "{range}");
    }
    let multipart = [("accept", "multipart/related; type=\"application/octet-stream\"")];
    let parts = parts(pacs.admin.get_with(path, &multipart).await).await;
    assert_eq!(parts, [("application/octet-stream".to_owned(), vec![7; 3000])]);
    for wrong in
        ["00991002", "0099", "x", "00400275/1/00400009", "00400275/0/00400009", "7FE00010/1/00080018"]
    {
        let path = path.replace("00991001", wrong);
        assert_eq!(pacs.get(&path).await.status(), 404, "{wrong}");
    }
}

/// Content types and bodies of a multipart answer.
pub async fn parts(response: reqwest::Response) -> Vec<(String, Vec<u8>)> {
    assert_eq!(response.status(), 200);
    let kind = response.headers()["content-type"].to_str().expect("text").to_owned();
    let boundary = kind.split("boundary=").nth(1).unwrap_or_else(|| panic!("{kind}")).trim_matches('"');
    let body = response.bytes().await.expect("bytes");
    let mark = format!("--{boundary}");
    let find = |from: usize, wanted: &[u8]| {
        body[from..].windows(wanted.len()).position(|window| window == wanted).map(|at| from + at)
    };
    let mut parts = Vec::new();
    let mut at = find(0, mark.as_bytes()).expect("a boundary") + mark.len();
    while body[at..].starts_with(b"\r\n") {
        let head_end = find(at, b"\r\n\r\n").expect("the end of a head");
        let head = String::from_utf8(body[at..head_end].to_vec()).expect("text");
        let kind = head.split("Content-Type: ").nth(1).expect("a type").lines().next().expect("a line");
        let end = find(head_end, format!("\r\n{mark}").as_bytes()).expect("the end of a part");
        parts.push((kind.to_owned(), body[head_end + 4..end].to_vec()));
        at = end + 2 + mark.len();
    }
    assert!(body[at..].starts_with(b"--"), "it ends");
    parts
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_of_every_kind_come_as_they_are_stored() {
    let pacs = TestServer::start().await;
    // Each of another SOP Instance UID.
    let files = [
        "CT_small.dcm",
        "MR_small_RLE.dcm",
        "ExplVR_BigEnd.dcm",
        "JPEG2000.dcm",
        "JPEG-lossy.dcm",
        "JPEGLSNearLossless_08.dcm",
        "SC_rgb_jpeg.dcm",
        "SC_rgb_rle_2frame.dcm",
        "examples_rgb_color.dcm",
        "image_dfl.dcm",
        "rtdose.dcm",
    ];
    let paths: Vec<_> = files.iter().map(|file| pydicom_data().join("test_files").join(file)).collect();
    let paths: Vec<_> = paths.iter().map(|path| path.as_path()).collect();
    for (answer, file) in store_files(pacs.dicom, &paths).await.iter().zip(files) {
        assert!(matches!(answer.status, Some(0 | 0xB007)), "{file}: {answer:?}");
    }
    let instances = json_of(&pacs, "/dicom-web/instances").await;
    let arguments: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    let expected: Value =
        serde_json::from_str(&python("frames.py", &arguments).await).expect("frames.py prints JSON");
    let mut seen = 0;
    for instance in instances.as_array().expect("instances") {
        let text = |tag: &str| instance[tag]["Value"][0].as_str().expect("a text").to_owned();
        let uid = text("00080018");
        let at =
            format!("/dicom-web/studies/{}/series/{}/instances/{uid}", text("0020000D"), text("0020000E"));
        let frames = expected[&uid].as_array().expect("frames of each file");
        let list: Vec<String> = (1..=frames.len()).map(|number| number.to_string()).collect();
        let path = format!("{at}/frames/{}", list.join(","));
        for accept in [
            "multipart/related; type=application/octet-stream; transfer-syntax=*",
            "multipart/related; type=\"application/octet-stream\"; transfer-syntax=*",
        ] {
            let parts = parts(pacs.admin.get_with(&path, &[("accept", accept)]).await).await;
            assert_eq!(parts.len(), frames.len(), "{uid}");
            for ((kind, bytes), expected) in parts.iter().zip(frames) {
                // A frame of a deflated data set is not deflated.
                let syntax = text("00083002").replace("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.1");
                assert_eq!(kind, &format!("application/octet-stream; transfer-syntax={syntax}"));
                assert_eq!(hex::encode(Sha256::digest(bytes)), expected.as_str().expect("a hash"), "{uid}");
            }
        }
        let alone = [("accept", "application/octet-stream; transfer-syntax=*")];
        let single = pacs.admin.get_with(&format!("{at}/frames/1"), &alone).await;
        let bytes = single.bytes().await.expect("bytes");
        assert_eq!(hex::encode(Sha256::digest(&bytes)), frames[0].as_str().expect("a hash"), "{uid}");
        for (wrong, status) in [(frames.len() + 1, 404), (0, 404)] {
            assert_eq!(pacs.get(&format!("{at}/frames/{wrong}")).await.status(), status, "{uid}");
        }
        seen += 1;
    }
    assert_eq!(seen, paths.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_come_as_stored_or_converted_and_never_as_something_else() {
    let pacs = TestServer::start().await;
    let file = pydicom_data().join("test_files/JPEG2000.dcm");
    let native = slice(1, 1, 1, 1).build();
    assert!(pacs.store(&native).await.is_success());
    assert!(store_files(pacs.dicom, &[&file]).await[0].is_success());
    let at = "/dicom-web/studies/1.2.3.1/series/1.2.3.1.1/instances/1.2.3.1.1.1";
    let one = pacs.admin.get_with(at, &[("accept", "application/dicom")]).await;
    assert_eq!(one.headers()["content-type"], "application/dicom; transfer-syntax=1.2.840.10008.1.2.1");
    assert_eq!(one.headers()["cache-control"], "no-store");
    assert!(crate::support::instance::data_set_of(&one.bytes().await.expect("bytes")) == native.data_set);
    let study: String =
        pacs.value("SELECT study_instance_uid FROM study WHERE study_instance_uid <> '1.2.3.1'").await;
    let stored: String =
        pacs.value("SELECT transfer_syntax_uid FROM instance ORDER BY instance_key DESC LIMIT 1").await;
    let at = format!("/dicom-web/studies/{study}");
    for (accept, syntax) in [
        ("multipart/related; type=\"application/dicom\"; transfer-syntax=*", Some(stored.as_str())),
        (
            &format!("multipart/related; type=\"application/dicom\"; transfer-syntax={stored}"),
            Some(stored.as_str()),
        ),
        ("multipart/related; type=\"application/dicom\"", Some("1.2.840.10008.1.2.1")),
        // What cannot be answered is passed over.
        (
            "multipart/related; type=\"application/dicom\"; transfer-syntax=1.2.840.10008.1.2.4.50, \
             multipart/related; type=\"application/dicom\"; transfer-syntax=*",
            Some(stored.as_str()),
        ),
        (
            "multipart/related; type=\"application/dicom\"; transfer-syntax=1.2.840.10008.1.2",
            Some("1.2.840.10008.1.2"),
        ),
        ("multipart/related; type=\"application/dicom\"; transfer-syntax=1.2.840.10008.1.2.5", None),
    ] {
        let response = pacs.admin.get_with(&at, &[("accept", accept)]).await;
        let Some(syntax) = syntax else {
            assert_eq!(response.status(), 406, "{accept}");
            continue;
        };
        assert_eq!(response.headers()["cache-control"], "no-store");
        let parts = parts(response).await;
        let [(kind, bytes)] = parts.as_slice() else { panic!("{accept}: {} parts", parts.len()) };
        assert_eq!(kind, &format!("application/dicom; transfer-syntax={syntax}"), "{accept}");
        let object = dicom_object::from_reader(bytes.as_slice()).expect("a Part 10 file");
        assert_eq!(object.meta().transfer_syntax().trim_end_matches('\0'), syntax);
        if syntax == stored {
            let file = std::fs::read(&file).expect("a file");
            assert!(
                crate::support::instance::data_set_of(bytes) == crate::support::instance::data_set_of(&file)
            );
        }
    }
}
