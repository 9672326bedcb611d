//! The calls that OHIF makes, in the order in which a person causes them and with the headers it sends: what a build of it
//! that is not ours to run would be answered.

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use filmroom::db::role::Role;
use serde_json::{Value, json};

use crate::support::TestServer;
use crate::support::instance::{Builder, slice};
use crate::support::person::Person;
use crate::web_picture::without_pixels;
use crate::web_stow::post;

const JSON: &str = "application/dicom+json";
/// Of builds up to 3.11: one client's header is added to the other's.
const BOTH: &str =
    "application/dicom+json, multipart/related; type=application/octet-stream; transfer-syntax=*";
const LIST: &str = "limit=101&offset=0&fuzzymatching=false&includefield=00081030,00080060,00080090,00100030";

fn named(patient: u32, study: u32, name: &str) -> Builder {
    slice(patient, study, 1, 1).text(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192").text(
        tags::PATIENT_NAME,
        VR::PN,
        name,
    )
}

/// Four studies, one of them of two modalities.
async fn archive() -> TestServer {
    let pacs = TestServer::start().await;
    let instances = [
        named(1, 1, "Doe^Jane").build(),
        slice(1, 1, 1, 2).text(tags::PATIENT_NAME, VR::PN, "Doe^Jane").build(),
        slice(1, 1, 2, 1)
            .text(tags::PATIENT_NAME, VR::PN, "Doe^Jane")
            .text(tags::MODALITY, VR::CS, "MR")
            .build(),
        named(2, 2, "Иванов^Пётр").text(tags::STUDY_DATE, VR::DA, "20240115").build(),
        named(3, 3, "Yamada^Tarou=山田^太郎=やまだ^たろう")
            .text(tags::STUDY_DATE, VR::DA, "20240301")
            .build(),
        named(1, 4, "Doe^Jane").text(tags::MODALITY, VR::CS, "MR").build(),
    ];
    for answer in pacs.store_all(&instances).await {
        assert!(answer.is_success(), "{answer:?}");
    }
    pacs
}

async fn found(person: &Person, query: &str) -> Vec<Value> {
    let path = format!("/dicom-web/{query}");
    let response = person.get_with(&path, &[("accept", JSON)]).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (200, &JSON.parse().unwrap()),
        "{path}"
    );
    response.json::<Vec<Value>>().await.expect("an array")
}

fn studies(found: &[Value]) -> Vec<&str> {
    found.iter().map(|one| one["0020000D"]["Value"][0].as_str().expect("a UID")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_is_searched_as_its_fields_are_filled_in() {
    let pacs = archive().await;
    let all = found(&pacs.admin, &format!("studies?{LIST}")).await;
    assert_eq!(all.len(), 4);
    for study in &all {
        for (tag, vr) in [
            ("0020000D", "UI"),
            ("00080020", "DA"),
            ("00080030", "TM"),
            ("00080050", "SH"),
            ("00100020", "LO"),
            ("00100010", "PN"),
            ("00100030", "DA"),
            ("00201208", "IS"),
            ("00081030", "LO"),
            ("00080061", "CS"),
            ("00080090", "PN"),
        ] {
            assert_eq!(study[tag]["vr"], vr, "{tag} of {study}");
            assert!(!study[tag]["Value"][0].is_null(), "{tag} of {study}");
        }
        assert!(study["00201208"]["Value"][0].is_u64(), "a count is a number");
        assert!(study["00100010"]["Value"][0]["Alphabetic"].is_string(), "a name is an object");
    }
    let names: Vec<&Value> = all.iter().map(|study| &study["00100010"]["Value"][0]).collect();
    assert!(names.contains(&&json!({ "Alphabetic": "Иванов^Пётр" })), "{names:?}");
    let groups =
        json!({ "Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう" });
    assert!(names.contains(&&groups), "{names:?}");
    let both = all.iter().find(|study| study["0020000D"]["Value"][0] == "1.2.3.1").expect("the study");
    assert_eq!(both["00080061"]["Value"], json!(["CT", "MR"]));

    for (fields, expected) in [
        ("PatientName=*doe*", vec!["1.2.3.1", "1.2.3.4"]),
        ("PatientName=*%D0%98%D0%92%D0%90%D0%9D%D0%9E%D0%92*", vec!["1.2.3.2"]),
        ("PatientName=*%E5%B1%B1%E7%94%B0*", vec!["1.2.3.3"]),
        ("00100020=*P3*", vec!["1.2.3.3"]),
        ("00100020=P1", vec!["1.2.3.1", "1.2.3.4"]),
        ("AccessionNumber=*ACC2*", vec!["1.2.3.2"]),
        ("StudyDescription=*ea*&StudyDate=20240101-20240131", vec!["1.2.3.2"]),
        ("ModalitiesInStudy=MR", vec!["1.2.3.1", "1.2.3.4"]),
        ("ModalitiesInStudy=CT,MR&00100020=P1", vec!["1.2.3.1", "1.2.3.4"]),
        ("StudyInstanceUID=1.2.3.1%5C1.2.3.3", vec!["1.2.3.1", "1.2.3.3"]),
        ("StudyInstanceUID=1.2.3.2", vec!["1.2.3.2"]),
        ("PatientName=*nobody*", vec![]),
    ] {
        let mut one = found(&pacs.admin, &format!("studies?{fields}&{LIST}")).await;
        one.sort_by_key(|study| study["0020000D"]["Value"][0].to_string());
        assert_eq!(studies(&one), expected, "{fields}");
    }
    // Pages hold still while others arrive: the newest stands first, so that those behind it move by one.
    let first = found(&pacs.admin, "studies?limit=2&offset=0").await;
    let second = found(&pacs.admin, "studies?limit=2&offset=2").await;
    let mut paged = [studies(&first), studies(&second)].concat();
    assert_eq!(paged, studies(&all));
    pacs.store(&named(9, 9, "Roe^Rick").text(tags::STUDY_DATE, VR::DA, "19990101").build()).await;
    let again = found(&pacs.admin, "studies?limit=4&offset=0").await;
    assert_eq!(studies(&again), paged, "an older study comes behind them");
    paged.push("1.2.3.9");
    assert_eq!(studies(&found(&pacs.admin, &format!("studies?{LIST}")).await), paged);

    for path in [
        "/dicom-web/studies",
        "/dicom-web/studies/1.2.3.1/series",
        "/dicom-web/studies/1.2.3.1/series/1.2.3.1.1/metadata",
    ] {
        let nobody = Person::nobody(&pacs).get_with(path, &[("accept", JSON)]).await;
        assert_eq!(nobody.status(), 401, "{path}");
    }
    let referrer = pacs.referring("referrer", Role::Referrer, "Smith^John").await;
    assert!(found(&referrer, "studies").await.is_empty(), "nobody's studies of theirs");
    assert_eq!(referrer.status("/dicom-web/studies/1.2.3.1/metadata").await, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_study_is_opened_series_by_series_and_frame_by_frame() {
    let pacs = archive().await;
    let study = "/dicom-web/studies/1.2.3.1";
    let series = found(&pacs.admin, "studies/1.2.3.1/series?includefield=0008103E,00080021").await;
    assert_eq!(series.len(), 2);
    for one in &series {
        for tag in ["0020000D", "0020000E", "00080060", "00200011", "00201209"] {
            assert!(!one[tag]["Value"][0].is_null(), "{tag} of {one}");
        }
    }
    let only = found(&pacs.admin, "studies/1.2.3.1/series?SeriesInstanceUID=1.2.3.1.2").await;
    assert_eq!(only.len(), 1);
    // All series at once.
    let metadata = |path: String| {
        let admin = pacs.admin.clone();
        async move { admin.get_with(&path, &[("accept", BOTH)]).await }
    };
    let (first, second) = tokio::join!(
        metadata(format!("{study}/series/1.2.3.1.1/metadata")),
        metadata(format!("{study}/series/1.2.3.1.2/metadata")),
    );
    for (response, count) in [(first, 2), (second, 1), (metadata(format!("{study}/metadata")).await, 3)] {
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (200, &JSON.parse().unwrap())
        );
        let all: Vec<Value> = response.json().await.expect("JSON");
        assert_eq!(all.len(), count);
        for instance in &all {
            let pixels = instance["7FE00010"]["BulkDataURI"].as_str().expect("an address");
            assert!(
                pixels.starts_with(&pacs.address("/dicom-web/studies/1.2.3.1/")) && !pixels.contains('?'),
                "{pixels}"
            );
            assert_eq!(instance["00083002"]["Value"][0], uids::EXPLICIT_VR_LITTLE_ENDIAN);
            assert_eq!(instance["00281050"]["Value"][0], 128, "a number");
        }
    }
    let instance = format!("{study}/series/1.2.3.1.1/instances/1.2.3.1.1.1");
    let pixels: Vec<u8> = (0..256_u32).map(|at| (at % 251) as u8).collect();
    for accept in [
        "multipart/related; type=application/octet-stream; transfer-syntax=*",
        "multipart/related; type=\"application/octet-stream\"; transfer-syntax=*",
        "multipart/related; type=\"image/jls\"; transfer-syntax=1.2.840.10008.1.2.4.80, multipart/related; type=application/octet-stream; transfer-syntax=*",
    ] {
        let response = pacs.admin.get_with(&format!("{instance}/frames/1"), &[("accept", accept)]).await;
        assert_eq!(response.status(), 200, "{accept}");
        assert!(response.headers().get("content-encoding").is_none_or(|coding| coding == "identity"));
        let tag = response.headers()["etag"].to_str().expect("text").to_owned();
        // Read as Cornerstone3D reads it: the first boundary, the first Content-Type, and the boundary again.
        let body = response.bytes().await.expect("bytes");
        let end_of_head = body.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head");
        let head = std::str::from_utf8(&body[..end_of_head]).expect("text");
        let boundary = head.lines().find(|line| line.starts_with("--")).expect("a boundary");
        let kind = head.lines().find(|line| line.starts_with("Content-Type:")).expect("a type");
        assert!(kind.contains("transfer-syntax=1.2.840.10008.1.2.1"), "{kind}");
        let rest = &body[end_of_head + 4..];
        let end =
            rest.windows(boundary.len()).position(|bytes| bytes == boundary.as_bytes()).expect("an end");
        assert_eq!(&rest[..end - 2], pixels, "{accept}");
        let seen = [("accept", accept), ("if-none-match", &tag)];
        assert_eq!(pacs.admin.get_with(&format!("{instance}/frames/1"), &seen).await.status(), 304);
    }
    for missing in ["0", "2", "x", "1,2", "-1", "4294967297"] {
        assert_eq!(pacs.admin.status(&format!("{instance}/frames/{missing}")).await, 404, "frame {missing}");
    }
    // The whole, as for segmentations, and WADO-URI.
    let whole = [("accept", "multipart/related; type=\"application/dicom\"")];
    let response = pacs.admin.get_with(&instance, &whole).await;
    assert_eq!(crate::web_wado::parts(response).await.len(), 1);
    let by_uri = "/wado?requestType=WADO&studyUID=1.2.3.1&seriesUID=1.2.3.1.1&objectUID=1.2.3.1.1.1&contentType=application/dicom&transferSyntax=*";
    let response = pacs.admin.get(by_uri).await;
    let kind = response.headers()["content-type"].to_str().expect("text").to_owned();
    assert_eq!((response.status().as_u16(), kind.split(';').next()), (200, Some("application/dicom")));
}

#[tokio::test(flavor = "multi_thread")]
async fn small_pictures_documents_clips_and_bulk_data_come_as_they_are_asked_for() {
    let pacs = archive().await;
    let document = slice(8, 8, 1, 1)
        .text(tags::SOP_CLASS_UID, VR::UI, uids::ENCAPSULATED_PDF_STORAGE)
        .text(tags::MODALITY, VR::CS, "DOC")
        .text(tags::MIME_TYPE_OF_ENCAPSULATED_DOCUMENT, VR::LO, "application/pdf")
        .bytes(tags::ENCAPSULATED_DOCUMENT, VR::OB, [b"%PDF-1.4".to_vec(), vec![b' '; 4000]].concat());
    let document = without_pixels(document.build());
    let clip = slice(6, 6, 1, 1)
        .text(tags::NUMBER_OF_FRAMES, VR::IS, "5")
        .bytes(tags::PIXEL_DATA, VR::OB, vec![9; 5 * 256])
        .build();
    let private = slice(7, 7, 1, 1).bytes(dicom_core::Tag(0x0099, 0x1001), VR::UN, vec![7; 3000]).build();
    for answer in pacs.store_all(&[document.clone(), private, clip]).await {
        assert!(answer.is_success(), "{answer:?}");
    }
    let bulk = "multipart/related; type=\"application/octet-stream\"";
    let study = "/dicom-web/studies/1.2.3.1";
    let series = format!("{study}/series/1.2.3.1.1");
    let instance = format!("{series}/instances/1.2.3.1.1.1");
    for of in [study, &series, &instance, &format!("{instance}/frames/1")] {
        for (what, accept) in [
            ("thumbnail?accept=image/jpeg", bulk),
            ("thumbnail?viewport=256,256", "image/jpeg"),
            ("rendered?accept=image/jpeg", bulk),
            ("thumbnail?accept=image/jpeg", "*/*"),
        ] {
            let response = pacs.admin.get_with(&format!("{of}/{what}"), &[("accept", accept)]).await;
            let kind = (
                response.status().as_u16(),
                response.headers()["content-type"].to_str().expect("text").to_owned(),
            );
            assert_eq!(kind, (200, "image/jpeg".to_owned()), "{of}/{what}");
            assert!(response.bytes().await.expect("bytes").starts_with(&[0xFF, 0xD8]), "{of}/{what}");
        }
    }
    let fallback =
        found(&pacs.admin, "studies/1.2.3.1/series/1.2.3.1.1/instances?limit=1&includefield=00080018").await;
    assert_eq!(fallback.len(), 1);

    // The document: from its bulk data, with and without a header, all of it or a range, and as what it is.
    let of_document =
        format!("/dicom-web/studies/1.2.3.8/series/1.2.3.8.1/instances/{}", document.sop_instance_uid);
    let metadata: Value = pacs.get(&format!("{of_document}/metadata")).await.json().await.expect("JSON");
    let address = metadata[0]["00420011"]["BulkDataURI"].as_str().expect("an address");
    let small = without_pixels(
        slice(8, 8, 1, 2)
            .text(tags::SOP_CLASS_UID, VR::UI, uids::ENCAPSULATED_PDF_STORAGE)
            .bytes(tags::ENCAPSULATED_DOCUMENT, VR::OB, b"%PDF-1.4".to_vec())
            .build(),
    );
    pacs.store(&small).await;
    let metadata: Value = pacs
        .get(&format!("{}/metadata", of_document.replace(".1.1", ".1.2")))
        .await
        .json()
        .await
        .expect("JSON");
    assert!(metadata[0]["00420011"]["BulkDataURI"].is_string(), "also a short one is no metadata");
    let path = address.strip_prefix(&pacs.address("")).expect("of ours").to_owned();
    for accept in ["*/*", "application/octet-stream"] {
        let response = pacs.admin.get_with(&path, &[("accept", accept)]).await;
        assert!(response.bytes().await.expect("bytes").starts_with(b"%PDF-1.4"), "{accept}");
    }
    assert_eq!(pacs.audited("download").await, 2, "each time it is taken away, and not once for all");
    let both = "multipart/related; type=\"video/mp4\", multipart/related; type=\"application/octet-stream\"";
    let response = pacs.admin.get_with(&path, &[("accept", both)]).await;
    assert!(crate::web_wado::parts(response).await[0].1.starts_with(b"%PDF-1.4"));
    let range = pacs.admin.get_with(&path, &[("range", "bytes=0-3"), ("accept", "*/*")]).await;
    assert_eq!((range.status().as_u16(), range.bytes().await.expect("bytes").as_ref()), (206, &b"%PDF"[..]));
    let changed = [("range", "bytes=0-3"), ("if-range", "\"other\"")];
    assert_eq!(pacs.admin.get_with(&path, &changed).await.status(), 200, "it may be another one by now");
    let rendered = pacs.admin.get_with(&format!("{of_document}/rendered"), &[("accept", "*/*")]).await;
    assert_eq!(rendered.headers()["content-type"], "application/pdf");
    let policy = rendered.headers()["content-security-policy"].to_str().expect("text");
    for part in ["sandbox", "default-src 'none'", "frame-ancestors 'self'", "base-uri 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    // Without the right to take files away there is no document, by no way.
    let technologist = pacs.person("technologist", Role::Technologist).await;
    for way in [
        path.clone(),
        format!("{of_document}/rendered"),
        of_document.clone(),
        format!("{of_document}/bulkdata"),
    ] {
        assert_eq!(technologist.get_with(&way, &[("accept", "*/*")]).await.status(), 403, "{way}");
    }
    // Something private that is long, and the last frame of a clip.
    let value =
        pacs.get("/dicom-web/studies/1.2.3.7/series/1.2.3.7.1/instances/1.2.3.7.1.1/bulkdata/00991001").await;
    assert_eq!(value.bytes().await.expect("bytes").as_ref(), [7; 3000]);
    let clip = "/dicom-web/studies/1.2.3.6/series/1.2.3.6.1/instances/1.2.3.6.1.1/frames";
    assert_eq!(pacs.admin.status(&format!("{clip}/5")).await, 200);
    assert_eq!(pacs.admin.status(&format!("{clip}/6")).await, 404);

    // What it stores is there when it asks again, and twice is once.
    let new = [slice(1, 1, 3, 1).build(), slice(1, 1, 3, 2).build()];
    for _ in 0..2 {
        assert_eq!(
            post(&pacs.admin, "/dicom-web/studies", &new).send().await.expect("an answer").status(),
            200
        );
    }
    let series = found(&pacs.admin, "studies/1.2.3.1/series").await;
    assert_eq!(series.len(), 3);
    assert!(
        series
            .iter()
            .any(|one| one["00201209"]["Value"][0] == 2 && one["0020000E"]["Value"][0] == "1.2.3.1.3")
    );
    // It asks whether studies can be rejected, and hears that they cannot.
    let reject =
        pacs.admin.request("POST", "/dicom-web/studies/1.2.3.1/series/1.2.3.1.1/reject/113001%5EDCM");
    assert_eq!(reject.send().await.expect("an answer").status(), 404);
}
