//! WADO-URI, PS3.18 section 9, asked for as old viewers and OHIF ask.

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use filmroom::db::role::Role;

use crate::support::instance::{data_set_of, slice};
use crate::support::person::{Person, account, session_of};
use crate::support::{TestServer, pydicom_data, store_files};
use crate::web_dicomweb::json_of;
use crate::web_picture::{clip, decoded, without_pixels};
use crate::web_rendered::jpeg_size;

const ONE: &str = "/wado?requestType=WADO&studyUID=1.2.3.1&seriesUID=1.2.3.1.1&objectUID=1.2.3.1.1.1";

/// Status, media type and body.
async fn taken(person: &Person, path: &str) -> (u16, String, Vec<u8>) {
    let response = person.get(path).await;
    let kind = response.headers().get("content-type").map(|kind| kind.to_str().expect("text").to_owned());
    let status = response.status().as_u16();
    (status, kind.unwrap_or_default(), response.bytes().await.expect("bytes").to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_a_jpeg_unless_something_else_is_asked_for() {
    let pacs = TestServer::start().await;
    let native = slice(1, 1, 1, 1).side(64).build();
    assert!(pacs.store(&native).await.is_success());
    let (status, kind, bytes) = taken(&pacs.admin, ONE).await;
    assert_eq!((status, kind.as_str(), jpeg_size(&bytes)), (200, "image/jpeg", (64, 64)));

    let page = decoded(&taken(&pacs.admin, "/instances/1.2.3.1.1.1/frames/1.png").await.2);
    let (_, kind, bytes) = taken(&pacs.admin, &format!("{ONE}&contentType=image%2Fpng")).await;
    assert_eq!(kind, "image/png");
    assert!(decoded(&bytes) == page, "the picture of the pages");
    let (.., bytes) =
        taken(&pacs.admin, &format!("{ONE}&contentType=image/png&region=0.25,0.5,0.75,1")).await;
    let expected: Vec<u8> = (32..64).flat_map(|row| page.2[row * 64 + 16..row * 64 + 48].to_vec()).collect();
    assert!(decoded(&bytes) == (32, 32, expected), "the part that was asked for");
    for (more, size) in [("rows=32", (32, 32)), ("rows=128&columns=96", (96, 96)), ("columns=16", (16, 16))] {
        let (.., bytes) = taken(&pacs.admin, &format!("{ONE}&{more}&imageQuality=70")).await;
        assert_eq!(jpeg_size(&bytes), size, "{more}");
    }
    let (.., white) =
        taken(&pacs.admin, &format!("{ONE}&contentType=image/png&windowCenter=-5&windowWidth=2")).await;
    assert!(decoded(&white).2.iter().all(|&grey| grey == 255));
    let (_, kind, _) = taken(&pacs.admin, &format!("{ONE}&contentType=image/gif")).await;
    assert_eq!(kind, "image/gif");
    let (_, plain, annotated) = (
        0,
        page.2,
        decoded(&taken(&pacs.admin, &format!("{ONE}&contentType=image/png&annotation=patient")).await.2).2,
    );
    assert!(plain != annotated);

    // The header counts where the parameter says nothing.
    let header = pacs.admin.get_with(ONE, &[("accept", "application/dicom")]).await;
    assert_eq!(header.headers()["content-type"], "application/dicom; transfer-syntax=1.2.840.10008.1.2.1");
    let both = pacs
        .admin
        .get_with(&format!("{ONE}&contentType=image/jpeg"), &[("accept", "application/dicom")])
        .await;
    assert_eq!(both.headers()["content-type"], "image/jpeg");
    for (more, status) in [
        ("&contentType=image/webp", 406),
        ("&frameNumber=2", 404),
        ("&anonymize=yes", 400),
        ("&region=0,0,2,2", 400),
        ("&windowCenter=40", 400),
    ] {
        assert_eq!(taken(&pacs.admin, &format!("{ONE}{more}")).await.0, status, "{more}");
    }
    for (path, status) in [
        (ONE.replace("requestType=WADO&", ""), 400),
        (ONE.replace("1.2.3.1.1.1", "9.9"), 404),
        (ONE.replace("studyUID=1.2.3.1", "studyUID=1.2.3.2"), 404),
        ("/wado".to_owned(), 400),
    ] {
        assert_eq!(taken(&pacs.admin, &path).await.0, status, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_comes_as_stored_or_converted_to_those_who_may_take_it() {
    let pacs = TestServer::start().await;
    let native = slice(1, 1, 1, 1).build();
    assert!(pacs.store(&native).await.is_success());
    let compressed = pydicom_data().join("test_files/JPEG2000.dcm");
    assert!(store_files(pacs.dicom, &[&compressed]).await[0].is_success());
    // As OHIF asks.
    let path = format!("{ONE}&contentType=application/dicom&transferSyntax=*&frame=1");
    let (status, kind, bytes) = taken(&pacs.admin, &path).await;
    assert_eq!((status, kind.as_str()), (200, "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"));
    assert!(data_set_of(&bytes) == native.data_set);
    assert_eq!(pacs.count("audit WHERE action = 'download'").await, 1);

    let found = json_of(&pacs, "/dicom-web/instances").await;
    let other =
        found.as_array().expect("instances").iter().find(|row| row["0020000D"]["Value"][0] != "1.2.3.1");
    let uid = |tag: &str| other.expect("another")[tag]["Value"][0].as_str().expect("a UID").to_owned();
    let at = format!(
        "/wado?requestType=WADO&studyUID={}&seriesUID={}&objectUID={}&contentType=application/dicom",
        uid("0020000D"),
        uid("0020000E"),
        uid("00080018")
    );
    for (more, syntax) in [
        ("", "1.2.840.10008.1.2.1"),
        ("&transferSyntax=1.2.840.10008.1.2", "1.2.840.10008.1.2"),
        ("&transferSyntax=*", "1.2.840.10008.1.2.4.91"),
    ] {
        let (status, kind, bytes) = taken(&pacs.admin, &format!("{at}{more}")).await;
        assert_eq!((status, kind), (200, format!("application/dicom; transfer-syntax={syntax}")), "{more}");
        let object = dicom_object::from_reader(bytes.as_slice()).expect("a Part 10 file");
        assert_eq!(object.meta().transfer_syntax().trim_end_matches('\0'), syntax);
    }
    assert_eq!(taken(&pacs.admin, &format!("{at}&transferSyntax=1.2.840.10008.1.2.5")).await.0, 406);

    // Technologists may look and not take away.
    let user_key = account(&pacs.database, "tech", Role::Technologist, "").await;
    let tech = Person::with_cookie(&pacs, "session", &session_of(&pacs.database, user_key).await);
    assert_eq!(taken(&tech, &path).await.0, 403);
    let before = pacs.count("audit WHERE action = 'view-series'").await;
    assert_eq!(taken(&tech, ONE).await.0, 200);
    assert_eq!(pacs.count("audit WHERE action = 'view-series'").await, before + 1);
    let nobody = Person::nobody(&pacs);
    assert_eq!(taken(&nobody, ONE).await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn clips_reports_and_documents_come_as_what_they_are() {
    let pacs = TestServer::start().await;
    let report = without_pixels(
        slice(1, 1, 2, 1)
            .text(tags::SOP_CLASS_UID, VR::UI, uids::BASIC_TEXT_SR_STORAGE)
            .item(
                tags::CONTENT_SEQUENCE,
                &[(tags::VALUE_TYPE, VR::CS, "TEXT"), (tags::TEXT_VALUE, VR::UT, "No nodule.")],
            )
            .build(),
    );
    let document = without_pixels(
        slice(1, 1, 3, 1)
            .text(tags::SOP_CLASS_UID, VR::UI, uids::ENCAPSULATED_PDF_STORAGE)
            .bytes(tags::ENCAPSULATED_DOCUMENT, VR::OB, b"%PDF-1.4".to_vec())
            .text(tags::MIME_TYPE_OF_ENCAPSULATED_DOCUMENT, VR::LO, "application/pdf")
            .build(),
    );
    let answers = pacs.store_all(&[clip(), report, document]).await;
    assert!(answers.iter().all(crate::support::Answer::is_success));
    let of_series = |series: u32| {
        ONE.replace("1.2.3.1.1.1", &format!("1.2.3.1.{series}.1"))
            .replace("seriesUID=1.2.3.1.1", &format!("seriesUID=1.2.3.1.{series}"))
    };
    let page = "text/html; charset=utf-8";
    for (path, kind) in [
        // Several frames are no picture until one is named, or a form that has several.
        (ONE.to_owned(), "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"),
        (format!("{ONE}&frameNumber=2"), "image/jpeg"),
        (format!("{ONE}&contentType=image/gif"), "image/gif"),
        (of_series(2), page),
        (format!("{}&contentType=text/html&charset=UTF-8", of_series(2)), page),
        (
            format!("{}&contentType=application/dicom", of_series(2)),
            "application/dicom; transfer-syntax=1.2.840.10008.1.2.1",
        ),
        (of_series(3), "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"),
        (format!("{}&contentType=application/pdf", of_series(3)), "application/pdf"),
    ] {
        let (status, found, _) = taken(&pacs.admin, &path).await;
        assert_eq!((status, found.as_str()), (200, kind), "{path}");
    }
    let (.., frame) = taken(&pacs.admin, &format!("{ONE}&frameNumber=2&contentType=image/png")).await;
    assert!(decoded(&frame).2.iter().all(|shown| shown.abs_diff(60) <= 1));
    for path in
        [format!("{}&contentType=image/jpeg", of_series(2)), format!("{}&charset=latin1", of_series(2))]
    {
        assert_eq!(taken(&pacs.admin, &path).await.0, 406, "{path}");
    }
}
