//! The page that files are put in by: with and without scripts, plain and in ZIP files, over connections that are lost.

use std::io::{Cursor, Write};

use filmroom::db::role::Role;
use serde_json::{Value, json};
use zip::write::SimpleFileOptions;

use crate::support::TestServer;
use crate::support::browser::Browser;
use crate::support::instance::slice;
use crate::support::person::Person;
use crate::web_study::{all, texts};

/// A ZIP file of these.
fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        zip.start_file(*name, SimpleFileOptions::default()).expect("an entry");
        zip.write_all(bytes).expect("bytes");
    }
    zip.finish().expect("a ZIP file").into_inner()
}

fn form(token: &str, files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body =
        format!("--b\r\nContent-Disposition: form-data; name=\"token\"\r\n\r\n{token}\r\n").into_bytes();
    for (name, bytes) in files {
        let head = format!(
            "--b\r\nContent-Disposition: form-data; name=\"files\"; filename=\"{name}\"\r\nContent-Type: application/octet-stream\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--b--\r\n");
    body
}

async fn post_form(person: &Person, body: Vec<u8>) -> reqwest::Response {
    let request = person.request("POST", "/upload").header("content-type", "multipart/form-data; boundary=b");
    request.body(body).send().await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_without_scripts_brings_files_and_zips_and_says_what_became_of_each() {
    let pacs = TestServer::start().await;
    let person = pacs.person("technologist", Role::Technologist).await;
    let token = person.token("/upload").await;
    let file = |number: u32| slice(1, 1, 1, number).build().part10();
    let (first, second) = (file(1), file(2));
    let data_set = slice(1, 1, 1, 3).build().data_set;
    let zipped = zip(&[
        ("disc/IM2", &second),
        ("disc/DICOMDIR", b"not really"),
        ("disc/readme.txt", b"hello"),
        ("__MACOSX/disc/._IM2", b"x"),
        ("disc/.DS_Store", b"x"),
        // Without preamble and group 0002.
        ("disc/bare.dcm", &data_set),
    ]);
    let bombs = zip(&[("zeros", &vec![0; 50 << 20])]);
    let files: [(&str, &[u8]); 6] = [
        ("Müller \"1\".dcm".replace('"', "%22").leak(), &first),
        ("disc.zip", &zipped),
        ("bomb.zip", &bombs),
        ("half.zip", &zipped[..200]),
        ("holiday.jpg", b"\xff\xd8\xff\xe0"),
        ("", b""),
    ];
    let response = post_form(&person, form(&token, &files)).await;
    assert_eq!(response.status(), 200);
    let page = scraper::Html::parse_document(&response.text().await.expect("text"));
    let rows: Vec<String> = texts(&page, ".upload-file");
    for expected in [
        "Müller \"1\".dcm Stored.",
        "disc/IM2 Stored.",
        "disc/bare.dcm Stored.",
        "disc/readme.txt Not stored: this is not a DICOM file.",
        "zeros Not stored: this is not a DICOM file.",
        "holiday.jpg Not stored: this is not a DICOM file.",
    ] {
        assert!(rows.iter().any(|row| row == expected), "{expected}: {rows:?}");
    }
    assert!(
        rows.iter().any(|row| row.starts_with("half.zip Not stored: the ZIP file cannot be read here")),
        "{rows:?}"
    );
    assert_eq!(rows.len(), 8, "{rows:?}");
    assert_eq!(texts(&page, "#done-title"), ["3 stored, 5 not stored"]);
    assert_eq!(all(&page, ".upload-studies a").len(), 1);
    assert_eq!(pacs.count("instance").await, 3);
    assert_eq!(pacs.count("audit WHERE action = 'receive' AND actor = 'technologist'").await, 1);

    let again = post_form(&person, form(&token, &[("a", &first)])).await.text().await.expect("text");
    assert!(again.contains("Was here already, and is the same."), "{again}");

    // The token stands first, or nothing is read.
    for wrong in [form("", &[("a", &file(9))]), form(&"0".repeat(32), &[("a", &file(9))]), b"--b--".to_vec()]
    {
        let status = post_form(&person, wrong).await.status();
        assert!(status == 403 || status == 400, "{status}");
    }
    assert_eq!(pacs.count("instance").await, 3);
}

/// Brings a piece of a file.
async fn piece(
    person: &Person,
    token: &str,
    name: &str,
    (offset, size): (usize, usize),
    bytes: &[u8],
) -> (u16, Value) {
    let path = format!("/upload/pieces/{name}?offset={offset}&size={size}&name={name}.dcm");
    let request = person.request("POST", &path).header("x-form-token", token).body(bytes.to_vec());
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or(Value::Null))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_pieces_goes_on_where_it_stopped() {
    let pacs = TestServer::start().await;
    let person = pacs.person("technologist", Role::Technologist).await;
    let token = person.token("/upload").await;
    let file = slice(1, 1, 1, 1).side(400).build().part10();
    let size = file.len();
    assert_eq!(
        piece(&person, &token, "a", (0, size), &file[..1000]).await,
        (200, json!({ "received": 1000 }))
    );
    // Of another place than where it stopped, or of a file that is not known.
    assert_eq!(
        piece(&person, &token, "a", (500, size), &file[500..]).await,
        (409, json!({ "received": 1000 }))
    );
    assert_eq!(piece(&person, &token, "b", (500, size), &file[500..]).await, (409, json!({ "received": 0 })));

    // A connection that is lost in the middle of a piece: what came of it counts.
    use tokio::io::AsyncWriteExt;
    let mut lost = tokio::net::TcpStream::connect(pacs.http).await.expect("a connection");
    let cookie = &person.headers[0].1;
    let head = format!(
        "POST /upload/pieces/a?offset=1000&size={size} HTTP/1.1\r\nhost: {}\r\ncookie: {cookie}\r\nx-form-token: {token}\r\ncontent-length: {}\r\n\r\n",
        pacs.http,
        size - 1000
    );
    lost.write_all(head.as_bytes()).await.expect("a head");
    lost.write_all(&file[1000..90_000]).await.expect("bytes");
    lost.flush().await.expect("sent");
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    drop(lost);
    let mut received = 0;
    for _ in 0..100 {
        let answer: Value = person.get("/upload/pieces/a").await.json().await.expect("JSON");
        received = usize::try_from(answer["received"].as_u64().unwrap_or_default()).expect("small");
        if received > 1000 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(received > 1000 && received <= 90_000, "{received}");
    // Somebody else's session does not see it.
    let other = pacs.person("other", Role::Technologist).await;
    assert_eq!(
        other.get("/upload/pieces/a").await.json::<Value>().await.expect("JSON"),
        json!({ "received": 0 })
    );
    assert_eq!(piece(&person, "wrong", "a", (received, size), &file[received..]).await.0, 403);

    let (status, answer) = piece(&person, &token, "a", (received, size), &file[received..]).await;
    assert_eq!(status, 200);
    assert_eq!((&answer["done"]["stored"], &answer["done"]["studies"]), (&json!(1), &json!(["1.2.3.1"])));
    assert_eq!(answer["done"]["files"][0]["words"], "Stored.");
    // Whose answer was lost asks, and hears it again.
    let again: Value = person.get("/upload/pieces/a").await.json().await.expect("JSON");
    assert_eq!(again, answer);
    assert_eq!(pacs.count("instance").await, 1);
    let stored = std::fs::read(&pacs.files()[0]).expect("a file");
    assert!(stored.ends_with(&file[file.len() - 160_000..]), "what was put together is what was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_begun_and_left_are_so_many_and_no_more() {
    let pacs = TestServer::start().await;
    let person = pacs.person("technologist", Role::Technologist).await;
    let token = person.token("/upload").await;
    for number in 0..40 {
        let begun = piece(&person, &token, &format!("f{number}"), (0, 1000), b"DICM").await;
        assert_eq!(begun, (200, json!({ "received": 4 })), "{number}");
    }
    assert_eq!(piece(&person, &token, "one-more", (0, 1000), b"DICM").await.0, 503);
    // The same one anew is no other one, and somebody else is not in the way.
    assert_eq!(piece(&person, &token, "f1", (0, 1000), b"DI").await, (200, json!({ "received": 2 })));
    let other = pacs.person("other", Role::Technologist).await;
    let others = other.token("/upload").await;
    assert_eq!(piece(&other, &others, "f1", (0, 1000), b"DICM").await.0, 200);
    // One that comes to its end makes room, and is still told of.
    let whole = slice(1, 1, 1, 1).build().part10();
    let (status, done) = piece(&person, &token, "f2", (0, whole.len()), &whole).await;
    assert_eq!((status, &done["done"]["stored"]), (200, &json!(1)));
    assert_eq!(piece(&person, &token, "one-more", (0, 1000), b"DICM").await.0, 200);
    assert_eq!(person.get("/upload/pieces/f2").await.json::<Value>().await.expect("JSON"), done);
}

/// Gives a file to the input of the page, as choosing it does.
const CHOOSE: &str = "
    const [selector, files] = arguments;
    const chosen = new DataTransfer();
    for (const [name, text] of files) {
      const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
      chosen.items.add(new File([bytes], name));
    }
    const input = document.querySelector(selector);
    input.files = chosen.files;
    input.dispatchEvent(new Event('change'));";

#[tokio::test]
async fn a_person_uploads_by_choosing_and_by_dropping() {
    use base64::Engine;
    let pacs = TestServer::start().await;
    let browser = Browser::start(1440, 1000).await;
    browser.sign_in(&pacs, "admin").await;
    browser.open(&pacs.address("/upload")).await;
    // Nothing is said before there is something, and the button of the form is for those without scripts.
    browser.until("document.querySelector('[data-upload-drop]').checkVisibility()").await;
    for hidden in ["[data-upload-report]", "[data-upload-again]", "form.upload button"] {
        let script = format!("return document.querySelector('{hidden}').checkVisibility()");
        assert_eq!(browser.script(&script).await, false, "{hidden}");
    }
    let text = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let files = json!([
        ["IM1", text(&slice(1, 1, 1, 1).build().part10())],
        ["disc.zip", text(&zip(&[("IM2", &slice(1, 1, 1, 2).build().part10()), ("x.txt", b"hello")]))],
    ]);
    let choose = |script: &str| {
        format!("const run = function () {{ {script} }}; run('[data-upload-choice] input', {files})")
    };
    browser.script(&choose(CHOOSE)).await;
    browser
        .until("document.querySelector('[data-upload-summary]').textContent === '2 stored, 1 not stored'")
        .await;
    assert_eq!(pacs.count("instance").await, 2);
    let first = browser.script("return document.querySelector('.upload-file').innerText").await;
    assert!(first.as_str().is_some_and(|words| words.contains("x.txt")), "what failed stands first: {first}");

    let dropped = json!([["IM3", text(&slice(2, 2, 1, 1).build().part10())]]);
    let drop = format!(
        "const run = function (files) {{
           const transfer = new DataTransfer();
           for (const [name, text] of files)
             transfer.items.add(new File([Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))], name));
           document.dispatchEvent(new DragEvent('drop', {{ dataTransfer: transfer, bubbles: true, cancelable: true }}));
         }}; run({dropped})"
    );
    browser.script(&drop).await;
    browser
        .until("document.querySelector('[data-upload-summary]').textContent === '3 stored, 1 not stored'")
        .await;
    assert_eq!(browser.script("return document.querySelectorAll('[data-upload-studies] a').length").await, 2);
    browser.click("[data-upload-studies] a").await;
    browser.until("location.pathname === '/studies/1.2.3.1'").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}
