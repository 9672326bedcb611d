//! STOW-RS, PS3.18 section 10.5: what is put in is kept as by C-STORE, each instance is answered for, and bodies that are
//! odd, broken or hostile cost one request.

use dicom_core::VR;
use dicom_dictionary_std::tags;
use filmroom::db::role::{Right, Rights, Role};
use filmroom::db::token;
use filmroom::people::secret::Secret;
use filmroom::people::sign_in::TOKEN_PREFIX;
use serde_json::{Value, json};

use crate::pydicom_files::storable;
use crate::support::instance::{Instance, data_set_of, slice};
use crate::support::person::{Person, account};
use crate::support::{TestServer, pydicom_data, python};

/// A request with these instances.
pub fn post(person: &Person, path: &str, instances: &[Instance]) -> reqwest::RequestBuilder {
    let files: Vec<Vec<u8>> = instances.iter().map(Instance::part10).collect();
    post_files(person, path, &files)
}

fn post_files(person: &Person, path: &str, files: &[Vec<u8>]) -> reqwest::RequestBuilder {
    let mut body = Vec::new();
    for file in files {
        body.extend_from_slice(b"--gap\r\nContent-Type: application/dicom\r\n\r\n");
        body.extend_from_slice(file);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--gap--\r\n");
    post_body(person, path, "multipart/related; type=\"application/dicom\"; boundary=gap", body)
}

fn post_body(person: &Person, path: &str, kind: &str, body: Vec<u8>) -> reqwest::RequestBuilder {
    person.request("POST", path).header("content-type", kind).body(body)
}

async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    let is_json = response.headers()["content-type"] == "application/dicom+json";
    let text = response.text().await.expect("text");
    (status, if is_json { serde_json::from_str(&text).expect("JSON") } else { json!(text) })
}

/// The values of an attribute in the items of a sequence.
fn each(answer: &Value, sequence: &str, name: &str) -> Vec<Value> {
    let items = answer[sequence]["Value"].as_array().cloned().unwrap_or_default();
    items.iter().map(|item| item[name]["Value"][0].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_in_is_kept_found_and_answered_for() {
    let pacs = TestServer::start().await;
    let person = pacs.person("technologist", Role::Technologist).await;
    let instances = [slice(1, 1, 1, 1).build(), slice(1, 1, 1, 2).build()];
    let (status, body) = answer(post(&person, "/dicom-web/studies", &instances)).await;
    let root = pacs.address("/dicom-web/studies/1.2.3.1");
    let item = |number: u32| {
        json!({
            "00081150": { "vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2"] },
            "00081155": { "vr": "UI", "Value": [format!("1.2.3.1.1.{number}")] },
            "00081190": { "vr": "UR", "Value": [format!("{root}/series/1.2.3.1.1/instances/1.2.3.1.1.{number}")] },
        })
    };
    let expected = json!({
        "00081190": { "vr": "UR", "Value": [root] },
        "00081199": { "vr": "SQ", "Value": [item(1), item(2)] },
    });
    assert_eq!((status, body), (200, expected));
    let mut kept: Vec<Vec<u8>> = Vec::new();
    for file in pacs.files() {
        kept.push(data_set_of(&std::fs::read(file).expect("a file")).to_vec());
    }
    kept.sort();
    let mut sent: Vec<Vec<u8>> = instances.iter().map(|instance| instance.data_set.clone()).collect();
    sent.sort();
    assert_eq!(kept, sent, "byte for byte");
    assert_eq!(pacs.get("/dicom-web/studies?PatientID=P1").await.headers()["x-total-count"], "1");
    assert_eq!(pacs.count("audit WHERE action = 'receive' AND actor = 'technologist'").await, 1);

    // Twice is once.
    let (status, _) = answer(post(&person, "/dicom-web/studies/1.2.3.1", &instances)).await;
    assert_eq!((status, pacs.files().len(), pacs.count("quarantine").await), (200, 2, 0));
    // Another content under a known UID is kept beside it, and that is a warning.
    let other = slice(1, 1, 1, 1).text(tags::STUDY_DESCRIPTION, VR::LO, "other").build();
    let (status, body) = answer(post(&person, "/dicom-web/studies", &[other])).await;
    assert_eq!((status, each(&body, "00081199", "00081196")), (202, vec![json!(0xB000)]));
    assert_eq!(pacs.count("quarantine").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_has_its_reason_and_the_rest_is_kept() {
    let pacs = TestServer::start().await;
    let admin = &pacs.admin;
    let good = slice(1, 1, 1, 1).build();
    let elsewhere = slice(2, 2, 1, 1).build();
    let (status, body) =
        answer(post(admin, "/dicom-web/studies/1.2.3.1", std::slice::from_ref(&elsewhere))).await;
    assert_eq!(status, 409);
    assert_eq!(each(&body, "00081198", "00081155"), ["1.2.3.2.1.1"]);
    assert_eq!(each(&body, "00081198", "00081197"), [json!(0xA900)]);
    assert_eq!(body.get("00081199"), None, "an empty sequence is none");

    let files = [good.part10(), b"hello".to_vec(), good.part10()[..900].to_vec()];
    let (status, body) = answer(post_files(admin, "/dicom-web/studies", &files)).await;
    assert_eq!(status, 202);
    assert_eq!(each(&body, "00081199", "00081155"), ["1.2.3.1.1.1"]);
    assert_eq!(each(&body, "0008119A", "00081197"), [json!(0xC000)], "nobody knows which instance");
    assert_eq!(each(&body, "0008119A", "00000902"), ["this is not a DICOM file"]);
    assert_eq!(each(&body, "00081198", "00081155"), ["1.2.3.1.1.1"], "cut off");

    let (status, body) = answer(post_files(admin, "/dicom-web/studies", &[b"hello".to_vec()])).await;
    assert_eq!((status, each(&body, "0008119A", "00081197")), (409, vec![json!(0xC000)]));
    assert_eq!(pacs.count("instance").await, 1);

    // Which right it takes is in the table of `web_access`; a page of another site has none.
    let request = post(admin, "/dicom-web/studies", &[elsewhere]).header("origin", "http://example.org");
    assert_eq!(request.send().await.expect("an answer").status(), 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_bodies_are_understood() {
    let pacs = TestServer::start().await;
    let file = |number: u32| slice(1, 1, 1, number).build().part10();
    let part = |start: &str, file: Vec<u8>, end: &str| [start.as_bytes(), &file, end.as_bytes()].concat();
    for (number, kind, start, end) in [
        // As OHIF sends it: quoted, a line first, none at the end.
        (
            1,
            "multipart/related; type=\"application/dicom\"; boundary=\"a b\"",
            "\r\n--a b\r\nContent-Type: application/dicom\r\n\r\n",
            "\r\n--a b--",
        ),
        (
            2,
            "multipart/related;boundary=x;type=application/dicom",
            "--x\r\nContent-Type: application/dicom\r\n\r\n",
            "\r\n--x--",
        ),
        (
            3,
            "multipart/related; type=application/dicom; transfer-syntax=1.2.840.10008.1.2.1; boundary=x",
            "--x\r\n\r\n",
            "\r\n--x--\r\n",
        ),
        (
            4,
            "Multipart/Related; Type=\"Application/DICOM\"; start=\"<1>\"; Boundary=x",
            "preamble\r\n--x\r\ncontent-type:application/dicom; transfer-syntax=1.2.840.10008.1.2.1\r\nContent-ID: <1>\r\n\r\n",
            "\r\n--x--\r\nepilogue",
        ),
        (5, "multipart/related; boundary=x", "--x\nContent-Type: application/dicom\n\n", "\n--x--\n"),
        (6, "application/dicom", "", ""),
    ] {
        let (status, body) =
            answer(post_body(&pacs.admin, "/dicom-web/studies", kind, part(start, file(number), end))).await;
        assert_eq!(status, 200, "{kind}: {body}");
        assert_eq!(each(&body, "00081199", "00081155"), [format!("1.2.3.1.1.{number}")], "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_bodies_cost_one_request_and_say_what_is_wrong() {
    let pacs = TestServer::start().await;
    let related = "multipart/related; type=\"application/dicom\"; boundary=x";
    let whole = slice(1, 1, 1, 1).build().part10();
    let part = b"--x\r\nContent-Type: application/dicom\r\n\r\n";
    for (kind, body, status, words) in [
        (related, Vec::new(), 400, "The boundary x of the Content-Type does not stand in the body."),
        (related, b"--x--\r\n".to_vec(), 400, "There is no instance in the body."),
        (related, [part, &whole[..700]].concat(), 400, "The body ends before its last boundary."),
        (related, [&b"--x\r\n"[..], &[b'a'; 40_000]].concat(), 400, "The header of a part has no end."),
        ("multipart/related; type=\"application/dicom\"", Vec::new(), 400, "names no boundary"),
        (
            "multipart/related; type=\"image/png\"; boundary=x",
            Vec::new(),
            415,
            "not as multipart/related of image/png",
        ),
        ("application/x-www-form-urlencoded", Vec::new(), 415, "not as application/x-www-form-urlencoded"),
        ("multipart/form-data; boundary=x", Vec::new(), 415, "not as multipart/form-data"),
        ("text/plain", Vec::new(), 415, "not as text/plain"),
        (";;;=\"", Vec::new(), 415, "Instances are put in as"),
    ] {
        let (found, said) = answer(post_body(&pacs.admin, "/dicom-web/studies", kind, body)).await;
        assert_eq!(found, status, "{kind}: {said}");
        assert!(said.as_str().is_some_and(|said| said.contains(words)), "{kind}: {said}");
    }
    let zipped =
        post_body(&pacs.admin, "/dicom-web/studies", related, vec![1]).header("content-encoding", "gzip");
    assert_eq!(answer(zipped).await.0, 415);
    assert_eq!(pacs.count("instance").await, 0);

    // What was complete is kept, what was not is not, and both are said.
    let body = [part, &whole[..], b"\r\n", part, &whole[..700]].concat();
    let response =
        post_body(&pacs.admin, "/dicom-web/studies", related, body).send().await.expect("an answer");
    assert_eq!(response.status(), 202);
    let warning = response.headers()["warning"].to_str().expect("text").to_owned();
    assert!(warning.contains("The body ends before its last boundary."), "{warning}");
    assert_eq!(pacs.count("instance").await, 1);

    // A file alone has no end but that of the body: one that breaks off is no instance, wherever that is.
    let at = whole.windows(4).position(|tag| tag == [0xE0, 0x7F, 0x10, 0x00]).expect("Pixel Data");
    let mut lost = tokio::net::TcpStream::connect(pacs.http).await.expect("a connection");
    let cookie = &pacs.admin.headers[0].1;
    let head = format!(
        "POST /dicom-web/studies HTTP/1.1\r\nhost: {}\r\ncookie: {cookie}\r\ncontent-type: application/dicom\r\ncontent-length: {}\r\n\r\n",
        pacs.http,
        whole.len()
    );
    let other = slice(1, 1, 1, 7).build().part10();
    tokio::io::AsyncWriteExt::write_all(&mut lost, &[head.as_bytes(), &other[..at]].concat())
        .await
        .expect("bytes");
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    drop(lost);
    tokio::time::sleep(std::time::Duration::from_millis(700)).await;
    assert_eq!(pacs.count("instance").await, 1, "an instance without its pixels");

    // More parts than anybody has.
    let body = b"--x\r\n\r\n\r\n".repeat(100_001);
    let response =
        post_body(&pacs.admin, "/dicom-web/studies", related, body).send().await.expect("an answer");
    assert_eq!(response.status(), 409);
    assert!(
        response.headers()["warning"].to_str().is_ok_and(|said| said.contains("at most 100000 instances"))
    );
    assert_eq!(pacs.get("/healthz").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_of_pydicom_is_kept_byte_for_byte() {
    let pacs = TestServer::start().await;
    let files = storable();
    let mut sent = Vec::new();
    for chunk in files.chunks(50) {
        let bytes: Vec<Vec<u8>> = chunk.iter().map(|file| std::fs::read(file).expect("a file")).collect();
        let (status, _) = answer(post_files(&pacs.admin, "/dicom-web/studies", &bytes)).await;
        assert!(status == 200 || status == 202, "{status}");
        sent.extend(bytes.iter().map(|file| data_set_of(file).to_vec()));
    }
    let kept: Vec<Vec<u8>> = pacs.files().iter().map(|file| std::fs::read(file).expect("a file")).collect();
    for file in &kept {
        assert!(sent.contains(&data_set_of(file).to_vec()), "a data set that nobody sent");
    }
    // The others are cut off, or repeat the UID of another with the same content.
    let held = pacs.count("instance").await + pacs.count("quarantine").await;
    assert_eq!(u64::try_from(kept.len()).expect("few"), held);
    assert!(kept.len() > 150, "{} of {}", kept.len(), files.len());
}

/// Of each kind: native and compressed pixels, of one frame and several, in colour, other languages, deep sequences.
const AS_METADATA: [&str; 11] = [
    "CT_small.dcm",
    "MR_small_RLE.dcm",
    "JPEG2000.dcm",
    "SC_rgb_rle_2frame.dcm",
    "examples_overlay.dcm",
    "SC_jpeg_no_color_transform.dcm",
    "rtplan.dcm",
    "rtdose.dcm",
    "reportsi.dcm",
    "liver_1frame.dcm",
    "test-SR.dcm",
];

#[tokio::test(flavor = "multi_thread")]
async fn dicomweb_client_stores_files_and_metadata_with_bulk_data_becomes_the_same() {
    let pacs = TestServer::start().await;
    let token = program(&pacs, &[Right::View, Right::SeeAll, Right::Upload, Right::Download]).await;
    let path = |name: &str| pydicom_data().join("test_files").join(name).display().to_string();
    let mut arguments = vec![pacs.address("/dicom-web"), token, "2".to_owned()];
    arguments.extend(["693_J2KI.dcm", "JPEGLSNearLossless_16.dcm"].map(path));
    arguments.extend(AS_METADATA.map(path));
    let answer: Value = serde_json::from_str(&python("stow.py", &arguments).await).expect("JSON");
    assert_eq!(answer["files"], 2);
    let all = answer["rest"].as_object().expect("an object");
    assert_eq!(all.len(), AS_METADATA.len());
    for (name, result) in all {
        assert_eq!(result, &json!([200, []]), "{name}");
    }
}

/// A token of an administrator with these rights.
async fn program(pacs: &TestServer, rights: &[Right]) -> String {
    let user_key = account(&pacs.database, "program", Role::Administrator, "").await;
    let token = Secret::random_with(TOKEN_PREFIX).expect("random");
    let mut conn = pacs.database.connect().await;
    token::add(&mut conn, &token.hash(), user_key, "stow", Rights::of(rights), 1).await.expect("a token");
    conn.disconnect().await.expect("a goodbye");
    token.text().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_that_is_no_instance_is_refused_in_words() {
    let pacs = TestServer::start().await;
    let kind = "multipart/related; type=\"application/dicom+json\"; boundary=x";
    let request = |metadata: &str, rest: &str| {
        let body = format!("--x\r\nContent-Type: application/dicom+json\r\n\r\n{metadata}{rest}\r\n--x--");
        post_body(&pacs.admin, "/dicom-web/studies", kind, body.into_bytes())
    };
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for (metadata, status, words) in [
        ("{", 400, "The metadata is no JSON"),
        ("7", 400, "The metadata is no array of data sets."),
        ("[]", 400, "There is no instance in the body."),
    ] {
        let (found, said) = answer(request(metadata, "")).await;
        assert!(found == status && said.as_str().is_some_and(|said| said.contains(words)), "{found} {said}");
    }
    // One that cannot be read is that one alone.
    let (status, said) = answer(request(&format!("[{deep}]"), "")).await;
    assert_eq!((status, each(&said, "0008119A", "00081197")), (409, vec![json!(0xC000)]), "{said}");
    let uids = r#""00080016":{"vr":"UI","Value":["1.2.840.10008.5.1.4.1.1.2"]},"00080018":{"vr":"UI","Value":["1.2.3.4"]},
        "0020000D":{"vr":"UI","Value":["1.2.3"]},"0020000E":{"vr":"UI","Value":["1.2.3.1"]}"#;
    for (more, words) in [
        (
            r#","7FE00010":{"vr":"OW","BulkDataURI":"nowhere"}"#,
            "the bulk data of (7FE0,0010) is not in the request",
        ),
        (r#","00280010":{"vr":"US","Value":["many"]}"#, "(0028,0010)"),
        (r#","xyz":{"vr":"US"}"#, "\"xyz\" is no tag"),
    ] {
        let (status, said) = answer(request(&format!("[{{{uids}{more}}}]"), "")).await;
        assert_eq!((status, each(&said, "00081198", "00081155")), (409, vec![json!("1.2.3.4")]), "{said}");
        let comment = each(&said, "00081198", "00000902");
        assert!(comment[0].as_str().is_some_and(|said| said.contains(words)), "{comment:?}");
    }
    let (status, said) = answer(request(&format!("[{{{uids}}}]"), "")).await;
    assert_eq!(status, 200, "{said}");
    // What a part is, its type says, whatever the metadata tells of where it came from; and it is used once.
    let pixels = |of: &str, uri: &str| {
        format!(
            r#"{{{},"00083002":{{"vr":"UI","Value":["1.2.840.10008.1.2.1"]}},"7FE00010":{{"vr":"OB","BulkDataURI":"{uri}"}}}}"#,
            uids.replace("1.2.3.4", of)
        )
    };
    let part = "\r\n--x\r\nContent-Type: image/jpeg\r\nContent-Location: a\r\n\r\nnot really";
    let (status, said) =
        answer(request(&format!("[{},{}]", pixels("1.2.3.8", "a"), pixels("1.2.3.9", "a")), part)).await;
    assert_eq!((status, each(&said, "00081199", "00081155")), (202, vec![json!("1.2.3.8")]), "{said}");
    assert_eq!(each(&said, "00081198", "00081155"), ["1.2.3.9"]);
    let kept: String =
        pacs.value("SELECT transfer_syntax_uid FROM instance WHERE sop_instance_uid = '1.2.3.8'").await;
    assert_eq!(kept, "1.2.840.10008.1.2.4.70");
    let xml = "<?xml version=\"1.0\"?><NativeDicomModel xml:space=\"preserve\">\
        <DicomAttribute tag=\"00080016\" vr=\"UI\"><Value number=\"1\">1.2.840.10008.5.1.4.1.1.2</Value></DicomAttribute>\
        <DicomAttribute tag=\"00080018\" vr=\"UI\"><Value number=\"1\">1.2.3.5</Value></DicomAttribute>\
        <DicomAttribute tag=\"0020000D\" vr=\"UI\"><Value number=\"1\">1.2.3</Value></DicomAttribute>\
        <DicomAttribute tag=\"0020000E\" vr=\"UI\"><Value number=\"1\">1.2.3.1</Value></DicomAttribute>\
        </NativeDicomModel>";
    let body = format!("--x\r\nContent-Type: application/dicom+xml\r\n\r\n{xml}\r\n--x--");
    let kind = kind.replace("json", "xml");
    let request = post_body(&pacs.admin, "/dicom-web/studies", &kind, body.into_bytes());
    let response = request.header("accept", "application/dicom+xml").send().await.expect("an answer");
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (200, &"application/dicom+xml".parse().unwrap())
    );
    assert!(response.text().await.expect("text").contains("1.2.3.5"));
}
