//! DICOMweb, PS3.18: searches (QIDO-RS), who finds what, and dicomweb-client as a user agent.

use dicom_core::VR;
use dicom_dictionary_std::tags;
use filmroom::db::role::{Right, Rights, Role};
use filmroom::db::token;
use filmroom::people::secret::Secret;
use filmroom::people::sign_in::TOKEN_PREFIX;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::instance::{Instance, slice};
use crate::support::person::{Person, account};
use crate::support::{TestServer, python};
use crate::web_wado::parts;

/// Three studies: two slices and a report, one of somebody with an umlaut, one with a name in three groups.
pub async fn archive() -> TestServer {
    let pacs = TestServer::start().await;
    let named = |study: u32, name: &str, date: &str| {
        slice(study, study, 1, 1)
            .text(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192")
            .text(tags::PATIENT_NAME, VR::PN, name)
            .text(tags::STUDY_DATE, VR::DA, date)
    };
    let instances = [
        slice(1, 1, 1, 1).text(tags::STUDY_DATE, VR::DA, "20260101").build(),
        slice(1, 1, 1, 2).text(tags::STUDY_DATE, VR::DA, "20260101").build(),
        slice(1, 1, 2, 1)
            .text(tags::STUDY_DATE, VR::DA, "20260101")
            .text(tags::MODALITY, VR::CS, "SR")
            .build(),
        named(2, "Müller^Jörg", "20260102").build(),
        named(3, "Yamada^Tarou=山田^太郎=やまだ^たろう", "20260103")
            .text(tags::MODALITY, VR::CS, "MR")
            .bytes(dicom_core::Tag(0x0099, 0x1001), VR::UN, vec![7; 3000])
            .build(),
    ];
    for answer in pacs.store_all(&instances).await {
        assert!(answer.is_success(), "{answer:?}");
    }
    pacs
}

/// What is at an address as DICOM JSON.
pub async fn json_of(pacs: &TestServer, path: &str) -> Value {
    let response = pacs.get(path).await;
    assert_eq!(response.status(), 200, "{path}");
    assert_eq!(response.headers()["content-type"], "application/dicom+json", "{path}");
    response.json().await.unwrap_or_else(|err| panic!("{path}: {err}"))
}

/// Last parts of the Study Instance UIDs, in the order they came.
fn studies(found: &Value) -> Vec<&str> {
    let uids = found.as_array().expect("an array").iter().map(|one| one["0020000D"]["Value"][0].as_str());
    uids.map(|uid| uid.and_then(|uid| uid.strip_prefix("1.2.3.")).expect("a UID")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_finds_what_it_should_in_an_order_that_stays() {
    let pacs = archive().await;
    for (query, expected) in [
        ("", vec!["3", "2", "1"]),
        ("?limit=2", vec!["3", "2"]),
        ("?limit=1&offset=1", vec!["2"]),
        ("?limit=25&offset=3", vec![]),
        ("?limit=0", vec![]),
        ("?PatientName=*jane*", vec!["1"]),
        ("?00100010=M%C3%BCller*", vec!["2"]),
        ("?PatientName=muller*", vec!["2"]),
        ("?PatientName=%E5%B1%B1%E7%94%B0*", vec!["3"]),
        ("?00100020=P2", vec!["2"]),
        ("?StudyDate=20260102-20260103", vec!["3", "2"]),
        ("?StudyDate=20260102-", vec!["3", "2"]),
        ("?ModalitiesInStudy=SR,MR", vec!["3", "1"]),
        ("?ModalitiesInStudy=SR%5CMR", vec!["3", "1"]),
        ("?StudyInstanceUID=1.2.3.1%5C1.2.3.2", vec!["2", "1"]),
        ("?StudyInstanceUID=1.2.3.1,1.2.3.9", vec!["1"]),
        ("?AccessionNumber=ACC3", vec!["3"]),
        ("?orderby=PatientName", vec!["1", "2", "3"]),
        ("?orderby=-PatientName&limit=1", vec!["3"]),
        // As OHIF asks.
        (
            "?PatientName=*doe*&00100020=*P1*&limit=101&offset=0&fuzzymatching=false&includefield=00081030,00080060",
            vec!["1"],
        ),
        ("?PatientID=nobody", vec![]),
        ("?PatientID=%27%20OR%201=1", vec![]),
    ] {
        let found = json_of(&pacs, &format!("/dicom-web/studies{query}")).await;
        assert_eq!(studies(&found), expected, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_have_what_viewers_read_of_them() {
    let pacs = archive().await;
    let found = json_of(&pacs, "/dicom-web/studies?PatientID=P3").await;
    let study = &found[0];
    for (tag, expected) in [
        ("00080020", json!({ "vr": "DA", "Value": ["20260103"] })),
        ("00080050", json!({ "vr": "SH", "Value": ["ACC3"] })),
        ("00080056", json!({ "vr": "CS", "Value": ["ONLINE"] })),
        ("00080061", json!({ "vr": "CS", "Value": ["MR"] })),
        ("00080090", json!({ "vr": "PN", "Value": [{ "Alphabetic": "House^Gregory" }] })),
        ("00081030", json!({ "vr": "LO", "Value": ["Head"] })),
        (
            "00100010",
            json!({ "vr": "PN", "Value": [{
                "Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう"
            }] }),
        ),
        ("00201206", json!({ "vr": "IS", "Value": [1] })),
        ("00201208", json!({ "vr": "IS", "Value": [1] })),
    ] {
        assert_eq!(study[tag], expected, "{tag}");
    }
    assert_eq!(study["00081190"]["Value"][0], pacs.address("/dicom-web/studies/1.2.3.3"));
    let series = json_of(&pacs, "/dicom-web/studies/1.2.3.1/series?includefield=0008103E,00080021").await;
    let numbers: Vec<&Value> =
        series.as_array().expect("series").iter().map(|one| &one["00200011"]["Value"][0]).collect();
    assert_eq!(numbers, [&json!(1), &json!(2)]);
    assert_eq!(series[0]["00201209"]["Value"][0], 2);
    assert!(series[0]["00080060"]["Value"][0] == "CT" && series[1]["00080060"]["Value"][0] == "SR");
    let instances = json_of(&pacs, "/dicom-web/studies/1.2.3.1/series/1.2.3.1.1/instances").await;
    let uids: Vec<&Value> =
        instances.as_array().expect("instances").iter().map(|one| &one["00080018"]["Value"][0]).collect();
    assert_eq!(uids, [&json!("1.2.3.1.1.1"), &json!("1.2.3.1.1.2")]);
    assert_eq!(instances[0]["00280010"], json!({ "vr": "US", "Value": [16] }));
    // Across all, what is above is said of each.
    let all = json_of(&pacs, "/dicom-web/instances?Modality=SR").await;
    assert_eq!(all[0]["00100020"]["Value"][0], "P1");
    assert_eq!(json_of(&pacs, "/dicom-web/studies/1.2.9/series").await, json!([]));
}

/// What an XML answer has is what the JSON has, by Python's reading of both: how many attributes that were.
pub async fn compare_with_xml(pacs: &TestServer, path: &str) -> u64 {
    let json = json_of(pacs, path).await;
    let objects = json.as_array().expect("an array");
    let accept = [("accept", "multipart/related; type=\"application/dicom+xml\"")];
    let parts = parts(pacs.admin.get_with(path, &accept).await).await;
    assert_eq!(parts.len(), objects.len(), "{path}");
    let folder = tempfile::tempdir().expect("a folder");
    let mut pairs = Vec::new();
    for (number, ((kind, document), object)) in parts.iter().zip(objects).enumerate() {
        assert_eq!(kind, "application/dicom+xml");
        for (name, bytes) in [("xml", document.clone()), ("json", object.to_string().into_bytes())] {
            let file = folder.path().join(format!("{number}.{name}"));
            std::fs::write(&file, bytes).expect("a file");
            pairs.push(file.display().to_string());
        }
    }
    let found: Value = serde_json::from_str(&python("native_xml.py", &pairs).await).expect("JSON");
    assert_eq!(found["differences"], json!([]), "{path}");
    found["compared"].as_u64().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_in_xml_finds_what_it_finds_in_json() {
    let pacs = archive().await;
    for (path, least) in [
        ("/dicom-web/studies", 3 * 15),
        ("/dicom-web/studies?limit=2&offset=1&includefield=all", 2 * 15),
        ("/dicom-web/studies?00100020=P3", 15),
        ("/dicom-web/studies/1.2.3.1/series", 2 * 8),
        ("/dicom-web/instances?includefield=00081030", 5 * 20),
    ] {
        let compared = compare_with_xml(&pacs, path).await;
        assert!(compared >= least, "{path}: {compared}");
    }
    // One alone may come alone; several cannot, and none is no part.
    let xml = [("accept", "application/dicom+xml")];
    let one = pacs.admin.get_with("/dicom-web/studies?PatientName=%E5%B1%B1%E7%94%B0*", &xml).await;
    assert_eq!(one.headers()["content-type"], "application/dicom+xml");
    assert_eq!(one.headers()["x-total-count"], "1");
    let text = one.text().await.expect("text");
    for part in [
        "<NativeDicomModel xmlns=\"http://dicom.nema.org/PS3.19/models/NativeDICOM\" xml:space=\"preserve\">",
        "<Ideographic><FamilyName>山田</FamilyName><GivenName>太郎</GivenName></Ideographic>",
        "<Phonetic><FamilyName>やまだ</FamilyName><GivenName>たろう</GivenName></Phonetic>",
    ] {
        assert!(text.contains(part), "{text}");
    }
    for (query, count) in
        [("?accept=application/dicom%2Bxml", 3), ("?PatientID=nobody&accept=application/dicom%2Bxml", 0)]
    {
        let parts = parts(pacs.get(&format!("/dicom-web/studies{query}")).await).await;
        assert_eq!(parts.len(), count, "{query}");
    }
    // Who takes both gets JSON, as who takes anything.
    let both = [("accept", "application/dicom+xml, application/dicom+json")];
    let both = pacs.admin.get_with("/dicom-web/studies", &both).await;
    assert_eq!(both.headers()["content-type"], "application/dicom+json");
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_and_warnings_stand_in_headers() {
    let pacs = archive().await;
    let response = pacs.get("/dicom-web/studies?limit=1&fuzzymatching=true&Rows=16").await;
    assert_eq!(response.headers()["x-total-count"], "3");
    let warnings: Vec<&str> =
        response.headers().get_all("warning").iter().map(|value| value.to_str().expect("text")).collect();
    assert!(
        warnings[0].starts_with("299 ") && warnings[0].contains("Only literal matching has been performed")
    );
    assert!(warnings[1].contains("the index has no Rows"), "{warnings:?}");
    for (path, accept, status, words) in [
        ("/dicom-web/studies?Shoesize=12", "*/*", 400, "Shoesize is no attribute"),
        ("/dicom-web/studies?StudyDate=soon", "*/*", 400, "Study Date is not a date"),
        ("/dicom-web/studies?limit=-1", "*/*", 400, "limit must be a whole number"),
        ("/dicom-web/studies", "image/png", 406, "comes as application/dicom+json"),
        ("/dicom-web/studies?accept=image/png", "application/dicom+json", 406, "comes as"),
        ("/dicom-web/studies/1.2.3.9/metadata", "*/*", 404, "nothing at this address"),
        ("/dicom-web/studies/..%2f..%2fetc/metadata", "*/*", 404, ""),
    ] {
        let response = pacs.admin.get_with(path, &[("accept", accept)]).await;
        assert_eq!(response.status(), status, "{path}");
        let text = response.text().await.expect("text");
        assert!(text.contains(words), "{path}: {text}");
    }
    let table = pacs.get("/dicom-web/studies?accept=text/csv&PatientID=P2").await;
    assert_eq!(table.headers()["content-type"], "text/csv; charset=utf-8");
    let table = table.text().await.expect("text");
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].contains("PatientName") && lines[1].contains("Müller^Jörg"), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_referrer_finds_and_gets_own_studies_alone() {
    let pacs = TestServer::start().await;
    let by = |study: u32, name: &str| {
        slice(study, study, 1, 1).text(tags::REFERRING_PHYSICIAN_NAME, VR::PN, name).build()
    };
    pacs.store_all(&[by(1, "Smith^John"), by(2, "Jones^Mary")]).await;
    let key = account(&pacs.database, "smith", Role::Referrer, "Smith, John").await;
    let token = token_of(&pacs, key, &[Right::View, Right::Download]).await;
    let get = async |path: &str| {
        let request = reqwest::Client::new().get(pacs.address(path)).bearer_auth(&token);
        request.send().await.expect("an answer")
    };
    let found: Value = get("/dicom-web/studies").await.json().await.expect("JSON");
    assert_eq!(studies(&found), ["1"]);
    let found: Value = get("/dicom-web/instances").await.json().await.expect("JSON");
    assert_eq!(studies(&found), ["1"]);
    let below = "/dicom-web/studies/1.2.3.2/series/1.2.3.2.1/instances/1.2.3.2.1.1";
    for path in [
        "/dicom-web/studies/1.2.3.2",
        "/dicom-web/studies/1.2.3.2/metadata",
        below,
        &format!("{below}/frames/1"),
        &format!("{below}/bulkdata/7FE00010"),
        // The right instance under another study is none.
        "/dicom-web/studies/1.2.3.1/series/1.2.3.2.1/instances/1.2.3.2.1.1/frames/1",
    ] {
        assert_eq!(get(path).await.status(), 404, "{path}");
    }
    assert_eq!(get(&format!("{}/frames/1", below.replace("1.2.3.2", "1.2.3.1"))).await.status(), 200);
    let details: String = pacs
        .value(
            "SELECT details FROM audit WHERE action = 'query' AND actor = 'smith' ORDER BY audit_key LIMIT 1",
        )
        .await;
    assert_eq!(details, "token a program; STUDY: everything; 1 found");
}

pub async fn token_of(pacs: &TestServer, user_key: u64, rights: &[Right]) -> String {
    let mut conn = pacs.database.connect().await;
    let secret = Secret::random_with(TOKEN_PREFIX).expect("random");
    token::add(&mut conn, &secret.hash(), user_key, "a program", Rights::of(rights), 1)
        .await
        .expect("a token");
    secret.text().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn dicomweb_client_searches_and_retrieves() {
    let pacs = archive().await;
    let key = account(&pacs.database, "reader", Role::Reader, "").await;
    let token = token_of(&pacs, key, &[Right::View, Right::Download]).await;
    let url = pacs.address("/dicom-web");
    let arguments = [url, token, "1.2.3.1".into(), "1.2.3.1.1".into(), "1.2.3.1.1.2".into()];
    let out: Value = serde_json::from_str(&python("web.py", &arguments).await).expect("web.py prints JSON");
    assert_eq!(studies(&out["studies"]), ["3", "2", "1"]);
    assert_eq!(studies(&out["by_name"]), ["1"]);
    assert_eq!(out["series"].as_array().map(Vec::len), Some(2));
    assert_eq!(out["instances"].as_array().map(Vec::len), Some(2));
    assert_eq!(out["metadata"].as_array().map(Vec::len), Some(2));
    let stored: Vec<Instance> = (1..=2)
        .map(|number| slice(1, 1, 1, number).text(tags::STUDY_DATE, VR::DA, "20260101").build())
        .collect();
    let hashes: Vec<String> = stored.iter().map(|instance| hex::encode(instance.hash())).collect();
    assert_eq!(out["retrieved"], hashes[1].as_str());
    assert_eq!(out["of_series"], json!(hashes));
    let pixels: Vec<u8> = (0..256_u32).map(|n| u8::try_from(n % 251).expect("small")).collect();
    let pixels = hex::encode(Sha256::digest(pixels));
    assert_eq!((&out["frame"], &out["bulk"]), (&json!(pixels), &json!(pixels)));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_address_says_to_anybody_what_can_be_done_there_and_lets_no_other_site_in() {
    let pacs = TestServer::start().await;
    let nobody = Person::nobody(&pacs);
    for (path, methods) in [
        ("/dicom-web/studies", "GET, HEAD, POST"),
        ("/dicom-web/studies/1.2/series/1.3/metadata", "GET, HEAD"),
        ("/wado", "GET, HEAD"),
        ("/logout", "POST"),
    ] {
        let asked = nobody.request("OPTIONS", path).header("origin", "https://viewer.example.org");
        let asked = asked.header("access-control-request-method", "GET").send().await.expect("an answer");
        assert_eq!(
            (asked.status().as_u16(), &asked.headers()["allow"]),
            (204, &methods.parse().unwrap()),
            "{path}"
        );
        assert!(asked.headers().get("access-control-allow-origin").is_none(), "{path}");
        assert_eq!(asked.headers()["cross-origin-resource-policy"], "same-origin");
    }
    let deleted = nobody.request("DELETE", "/dicom-web/studies/1.2").send().await.expect("an answer");
    assert_eq!(
        (deleted.status().as_u16(), &deleted.headers()["allow"]),
        (405, &"GET, HEAD, POST".parse().unwrap())
    );
    assert_eq!(nobody.request("OPTIONS", "/nowhere").send().await.expect("an answer").status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_no_good_leads_no_browser_round_in_circles() {
    let pacs = TestServer::start().await;
    let asked = pacs.admin.get_with(
        "/dicom-web/studies?access_token=filmroom_00000000000000000000000000000000",
        &[("accept", "text/html")],
    );
    assert_eq!(asked.await.status(), 401);
    assert_eq!(pacs.admin.get_with("/dicom-web/studies", &[("host", "a\"b")]).await.status(), 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_proxy_addresses_are_those_of_the_proxy() {
    let trusted = vec!["127.0.0.1/32".parse().expect("a net")];
    let pacs = TestServer::start_with(|config| config.behind_proxy = trusted).await;
    pacs.store(&slice(1, 1, 1, 1).build()).await;
    let through = [
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "pacs.example.org"),
        ("x-forwarded-for", "203.0.113.7"),
        ("x-forwarded-prefix", "/pacs"),
    ];
    let root = "https://pacs.example.org/pacs/dicom-web/studies/1.2.3.1";
    let found: Value = pacs.admin.get_with("/dicom-web/studies", &through).await.json().await.expect("JSON");
    assert_eq!(found[0]["00081190"]["Value"][0], root);
    let metadata: Value = pacs
        .admin
        .get_with("/dicom-web/studies/1.2.3.1/metadata", &through)
        .await
        .json()
        .await
        .expect("JSON");
    let instance = format!("{root}/series/1.2.3.1.1/instances/1.2.3.1.1.1");
    assert_eq!(metadata[0]["7FE00010"]["BulkDataURI"], format!("{instance}/bulkdata/7FE00010"));
    assert_eq!(metadata[0]["00081190"]["Value"][0], instance);
}
