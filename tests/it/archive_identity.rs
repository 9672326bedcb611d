//! Who is who in the archive: a patient is (PatientID, IssuerOfPatientID), nobody is merged by accident, and what
//! contradicts itself is kept and shown.

use dicom_core::VR;
use dicom_dictionary_std::tags;
use mysql_async::prelude::Queryable;

use crate::support::TestServer;
use crate::support::instance::{Builder, Instance, slice};
use crate::support::peer::Peer;
use crate::web_study::{all, texts};

/// Stores instances over one association; each must be kept, with or without a word on how.
async fn store(pacs: &TestServer, instances: impl IntoIterator<Item = Builder>) {
    let mut peer = Peer::associate(pacs.dicom).await;
    for (number, instance) in instances.into_iter().enumerate() {
        let instance: Instance = instance.build();
        let status = peer.store(&instance, 16_000).await;
        assert!(matches!(status, Some(0 | 0xB007)), "instance {number}: {status:04X?}");
    }
}

fn with_id(builder: Builder, id: &str) -> Builder {
    builder.text(tags::PATIENT_ID, VR::LO, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_id_of_one_issuer_is_one_patient_in_any_study() {
    let pacs = TestServer::start().await;
    let issued = |builder: Builder| builder.text(tags::ISSUER_OF_PATIENT_ID, VR::LO, "Clinic");
    // What pads a value is no part of it.
    store(&pacs, [issued(slice(1, 1, 1, 1)), issued(with_id(slice(1, 2, 1, 1), " P1  "))]).await;

    assert_eq!(pacs.count("patient").await, 1);
    assert_eq!(pacs.count("study WHERE patient_key = 1 AND NOT demographics_differ").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_id_of_another_issuer_is_another_patient() {
    let pacs = TestServer::start().await;
    let issued = |study, issuer| slice(1, study, 1, 1).text(tags::ISSUER_OF_PATIENT_ID, VR::LO, issuer);
    store(&pacs, [issued(1, "Clinic"), issued(2, "Hospital"), issued(3, ""), issued(4, "clinic")]).await;

    assert_eq!(pacs.count("patient").await, 4);
    assert_eq!(pacs.count("patient_conflict").await, 0);
    let page = pacs.page("/studies/1.2.3.2").await;
    assert!(
        texts(&page, ".banner-facts").concat().contains("P1 of Hospital"),
        "the page says whose ID it is"
    );
    assert_eq!(texts(&page, ".other-studies .muted"), ["None of this patient."]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_differ_in_case_or_accents_are_different_patients() {
    let pacs = TestServer::start().await;
    let ids = ["abc", "ABC", "\u{e4}bc", "a\u{308}bc", "ab c"];
    let studies = (1..).zip(ids).map(|(study, id)| {
        with_id(slice(1, study, 1, 1).text(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192"), id)
    });
    store(&pacs, studies).await;
    assert_eq!(pacs.count("patient").await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_without_an_id_are_never_one_patient() {
    let pacs = TestServer::start().await;
    // Even with the same name and birth date: nothing says that they are one.
    store(&pacs, [with_id(slice(1, 1, 1, 1), ""), with_id(slice(1, 2, 1, 1), "")]).await;
    store(&pacs, [with_id(slice(1, 3, 1, 1), "   "), slice(1, 4, 1, 1).without(tags::PATIENT_ID)]).await;

    assert_eq!(pacs.count("patient").await, 4);
    assert_eq!(pacs.value::<u64>("SELECT COUNT(DISTINCT patient_key) FROM study").await, 4);
    for study in 1..=4 {
        let page = pacs.page(&format!("/studies/1.2.3.{study}")).await;
        assert_eq!(texts(&page, ".other-studies .muted"), ["None of this patient."], "study {study}");
        assert!(all(&page, ".banner").is_empty(), "study {study} warns of nothing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_study_without_an_id_is_of_one_patient() {
    let pacs = TestServer::start().await;
    let nameless = |series, instance| with_id(slice(1, 1, series, instance), "");
    store(&pacs, [nameless(1, 1), nameless(1, 2)]).await;
    store(&pacs, [nameless(2, 1), nameless(2, 2).text(tags::PATIENT_NAME, VR::PN, "")]).await;

    assert_eq!(pacs.count("patient").await, 1);
    assert_eq!(pacs.count("patient_conflict").await, 0);
    assert_eq!(pacs.value::<u64>("SELECT number_of_study_related_instances FROM study").await, 4);
    let page = pacs.page("/studies/1.2.3.1").await;
    let facts = texts(&page, ".banner-facts dd");
    assert_eq!(facts[0], "none", "{facts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_study_that_came_under_two_patients_is_kept_whole_and_flagged() {
    let pacs = TestServer::start().await;
    store(&pacs, [slice(1, 1, 1, 1), slice(2, 1, 1, 2), slice(2, 1, 2, 1)]).await;
    store(&pacs, [slice(1, 1, 1, 3), slice(2, 1, 2, 2)]).await;

    assert_eq!(pacs.count("study").await, 1);
    assert_eq!(pacs.count("patient").await, 2);
    assert_eq!(pacs.value::<u64>("SELECT number_of_study_related_instances FROM study").await, 5);
    assert_eq!(pacs.value::<u64>("SELECT number_of_study_related_series FROM study").await, 2);
    let filed: u64 = pacs
        .value(
            "SELECT patient_key
               FROM patient JOIN study USING (patient_key)
              WHERE patient.patient_id = 'P1'",
        )
        .await;
    let (study, other, first): (u64, u64, String) = {
        let mut conn = pacs.database.connect().await;
        let rows: Vec<_> = conn
            .query("SELECT study_key, patient_key, sop_instance_uid FROM patient_conflict")
            .await
            .expect("rows");
        assert_eq!(rows.len(), 1, "one row for the other patient: {rows:?}");
        rows.into_iter().next().expect("a row")
    };
    assert_eq!((study, first.as_str()), (1, "1.2.3.1.1.2"));
    assert_ne!(other, filed);

    let page = pacs.page("/studies/1.2.3.1").await;
    let banner = texts(&page, ".banner.warning").concat();
    for words in ["came under 2 patients", "Doe, Jane1", "ID P1", "Doe, Jane2", "ID P2"] {
        assert!(banner.contains(words), "{words}: {banner}");
    }
    let links: Vec<_> = all(&page, ".banner a").iter().filter_map(|link| link.attr("href")).collect();
    assert_eq!(links, [format!("/patients/{filed}"), format!("/patients/{other}")]);
    let page = pacs.page(&format!("/patients/{filed}")).await;
    assert_eq!(all(&page, "[data-study='1.2.3.1']").len(), 1);
    assert_eq!(texts(&page, ".row-flag").len(), 0);
    let page = pacs.page(&format!("/patients/{other}")).await;
    assert_eq!(texts(&page, "h1"), ["Doe, Jane2"]);
    assert_eq!(all(&page, "[data-study='1.2.3.1']").len(), 1);
    let flags = texts(&page, ".row-flag").join("; ");
    assert!(flags.contains("filed under another patient, ID P1"), "{flags}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_name_birth_date_or_sex_under_a_known_id_is_flagged_and_not_split() {
    let pacs = TestServer::start().await;
    store(
        &pacs,
        [
            slice(1, 1, 1, 1),
            slice(1, 2, 1, 1).text(tags::PATIENT_NAME, VR::PN, "Roe^Jane"),
            slice(1, 3, 1, 1).text(tags::PATIENT_BIRTH_DATE, VR::DA, "19710101"),
            slice(1, 4, 1, 1).text(tags::PATIENT_SEX, VR::CS, "M"),
            // The same name, written by another machine.
            slice(1, 5, 1, 1).text(tags::PATIENT_NAME, VR::PN, "DOE^JANE1^^"),
        ],
    )
    .await;

    assert_eq!(pacs.count("patient").await, 1);
    let differ: String = pacs
        .value("SELECT GROUP_CONCAT(study_key ORDER BY study_key) FROM study WHERE demographics_differ")
        .await;
    assert_eq!(differ, "2,3,4");
    for study in 1..=5 {
        let page = pacs.page(&format!("/studies/1.2.3.{study}")).await;
        let banner = texts(&page, ".banner.warning").concat();
        let is_told = banner.contains("Name, birth date or sex differ");
        assert_eq!(is_told, (2..=4).contains(&study), "study {study}: {banner}");
    }
    // Each study shows its own words, and the patient's page which one is named otherwise.
    assert_eq!(texts(&pacs.page("/studies/1.2.3.2").await, "h1"), ["Roe, Jane"]);
    let flags = texts(&pacs.page("/patients/1").await, ".row-flag");
    assert!(flags.iter().any(|flag| flag.contains("named Roe, Jane in this study")), "{flags:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_says_no_id_is_no_conflict_unless_its_name_is() {
    let pacs = TestServer::start().await;
    store(&pacs, [slice(1, 1, 1, 1), with_id(slice(1, 1, 1, 2), "")]).await;
    store(&pacs, [slice(1, 1, 1, 3).without(tags::PATIENT_ID).without(tags::PATIENT_NAME)]).await;
    assert_eq!(pacs.count("patient_conflict").await, 0);
    assert_eq!(pacs.count("patient").await, 1);

    store(&pacs, [with_id(slice(1, 1, 1, 4), "").text(tags::PATIENT_NAME, VR::PN, "Somebody^Else")]).await;
    assert_eq!(pacs.count("patient_conflict").await, 1);
    assert_eq!(pacs.value::<u64>("SELECT number_of_study_related_instances FROM study").await, 4);
    let banner = texts(&pacs.page("/studies/1.2.3.1").await, ".banner.warning").concat();
    assert!(banner.contains("Somebody, Else, without an ID"), "{banner}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_longer_than_a_column_do_not_merge() {
    let pacs = TestServer::start().await;
    let long = "LONG-ID-".repeat(12);
    let ids = [format!("{long}1"), format!("{long}2"), format!("{long}1")];
    let studies = (1..).zip(&ids).map(|(study, id)| with_id(slice(1, study, 1, 1), id));
    store(&pacs, studies).await;
    let issuers =
        (4..).zip(&ids).map(|(study, id)| slice(1, study, 1, 1).text(tags::ISSUER_OF_PATIENT_ID, VR::LO, id));
    store(&pacs, issuers).await;

    assert_eq!(pacs.count("patient").await, 4);
    let filed: String = pacs.value("SELECT GROUP_CONCAT(patient_key ORDER BY study_key) FROM study").await;
    assert_eq!(filed, "1,2,1,3,4,3");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_series_uid_in_two_studies_is_two_series() {
    let pacs = TestServer::start().await;
    let uid = |builder: Builder| builder.text(tags::SERIES_INSTANCE_UID, VR::UI, "1.2.3.4.5");
    store(&pacs, [uid(slice(1, 1, 1, 1)), uid(slice(2, 2, 1, 1)), uid(slice(2, 2, 1, 2))]).await;

    let series: String = pacs
        .value(
            "SELECT GROUP_CONCAT(study_key, ':', number_of_series_related_instances ORDER BY study_key)
               FROM series
              WHERE series_instance_uid = '1.2.3.4.5'",
        )
        .await;
    assert_eq!(series, "1:1,2:2");
    for (study, count) in [(1, "CT 1 image"), (2, "CT 2 images")] {
        let page = pacs.page(&format!("/studies/1.2.3.{study}")).await;
        assert_eq!(texts(&page, ".series-facts"), [count]);
        let picture = all(&page, ".series-card img")[0].attr("src").expect("a picture").to_owned();
        assert_eq!(pacs.get(&picture).await.status(), 200, "{picture}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn series_of_equal_words_share_their_equipment() {
    let pacs = TestServer::start().await;
    let device = |study, serial: &str, station: &str| {
        slice(study, study, 1, 1).text(tags::DEVICE_SERIAL_NUMBER, VR::LO, serial).text(
            tags::STATION_NAME,
            VR::SH,
            station,
        )
    };
    store(
        &pacs,
        [device(1, "7", "CT1"), device(2, "7", "CT1"), device(3, "8", "CT1"), device(4, "7", "CT2")],
    )
    .await;
    // One word is not moved into the next column.
    store(&pacs, [device(5, "", "7CT1"), device(6, "7CT1", "")]).await;

    assert_eq!(pacs.count("equipment").await, 5);
    let devices: String =
        pacs.value("SELECT GROUP_CONCAT(equipment_key ORDER BY study_key) FROM series").await;
    assert_eq!(devices, "1,1,2,3,4,5");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_administrators_query_in_the_readme_counts_right() {
    let pacs = TestServer::start().await;
    let readme =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("a README");
    let (_, from) = readme.split_once("SELECT referring_physician_name").expect("the query");
    let (query, _) = from.split_once(';').expect("its end");
    let query = format!("SELECT referring_physician_name{query}");
    assert_eq!(query.matches("SELECT").count(), 1, "one plain SELECT: {query}");
    let mut days = Vec::new();
    for back in [0, 1, 7, 8] {
        let sql = format!("SELECT DATE_FORMAT(CURDATE() - INTERVAL {back} DAY, '%Y%m%d')");
        days.push(pacs.value::<String>(&sql).await);
    }
    let study = |study, day: usize, modality, physician| {
        slice(study, study, 1, 1)
            .text(tags::STUDY_DATE, VR::DA, &days[day])
            .text(tags::MODALITY, VR::CS, modality)
            .text(tags::REFERRING_PHYSICIAN_NAME, VR::PN, physician)
    };
    let other_series = slice(5, 5, 2, 1).text(tags::MODALITY, VR::CS, "MR");
    store(
        &pacs,
        [
            study(1, 0, "CT", "House^Gregory"),
            study(2, 1, "CT", "House^Gregory"),
            study(3, 2, "CT", "House^Gregory"),
            study(4, 0, "CT", "Wilson^James"),
            // Of two modalities, and it counts once.
            study(5, 1, "CT", "Wilson^James"),
            other_series,
            study(6, 0, "MR", "Wilson^James"),
            // A modality that only begins the same.
            study(7, 0, "CTX", "Wilson^James"),
            study(8, 3, "CT", "House^Gregory"),
        ],
    )
    .await;

    let mut conn = pacs.database.connect().await;
    let counted: Vec<(String, u64)> = conn.query(&query).await.unwrap_or_else(|err| panic!("{query}: {err}"));
    assert_eq!(counted, [("House^Gregory".to_owned(), 3), ("Wilson^James".to_owned(), 2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_value_of_an_attribute_keeps_an_instance_out() {
    let pacs = TestServer::start().await;
    let long = "x\u{1f480}".repeat(3000);
    let utf8 = |study| slice(study, study, 1, 1).text(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192");
    let texts = [
        (tags::PATIENT_NAME, VR::PN),
        (tags::PATIENT_SEX, VR::CS),
        (tags::ACCESSION_NUMBER, VR::SH),
        (tags::STUDY_DESCRIPTION, VR::LO),
        (tags::MODALITY, VR::CS),
        (tags::MANUFACTURER, VR::LO),
        (tags::STATION_NAME, VR::SH),
        (tags::IMAGE_TYPE, VR::CS),
        (tags::PHOTOMETRIC_INTERPRETATION, VR::CS),
        (tags::FRAME_OF_REFERENCE_UID, VR::UI),
        (tags::LATERALITY, VR::CS),
    ];
    let mut hostile = Vec::new();
    for value in
        [long.as_str(), "\u{1f480}", "'\\\"; DROP TABLE study; --", "a\u{0}b\u{1b}[31m", "\u{feff}\u{202e}x"]
    {
        let study = u32::try_from(hostile.len() + 1).expect("few");
        hostile.push(
            texts
                .iter()
                .fold(utf8(study), |builder, (tag, vr)| builder.bytes(*tag, *vr, value.as_bytes().to_vec())),
        );
    }
    let broken = texts
        .iter()
        .fold(utf8(50), |builder, (tag, vr)| builder.bytes(*tag, *vr, vec![0xC3, 0xFF, 0xED, 0xA0]));
    hostile.push(broken);
    for (number, [date, time, integer, decimal]) in (60..).zip([
        ["00000000", "240000", "99999999999999999999", "1e400"],
        ["99999999", "235960.999999", "-99999999999", "NaN"],
        ["00010101", "99", "2147483648", "-inf"],
        ["2026.02.30", "12:30", "1.5", "1e-320"],
        ["00000101", "::", "", "-"],
    ]) {
        hostile.push(
            [tags::STUDY_DATE, tags::PATIENT_BIRTH_DATE, tags::SERIES_DATE, tags::CONTENT_DATE]
                .into_iter()
                .fold(utf8(number), |builder, tag| builder.text(tag, VR::DA, date))
                .text(tags::STUDY_TIME, VR::TM, time)
                .text(tags::PATIENT_BIRTH_TIME, VR::TM, time)
                .text(tags::SERIES_NUMBER, VR::IS, integer)
                .text(tags::INSTANCE_NUMBER, VR::IS, integer)
                .text(tags::NUMBER_OF_FRAMES, VR::IS, integer)
                .text(tags::PATIENT_WEIGHT, VR::DS, decimal)
                .text(tags::SLICE_THICKNESS, VR::DS, decimal),
        );
    }
    let count = u64::try_from(hostile.len()).expect("few");
    store(&pacs, hostile).await;

    assert_eq!(pacs.count("study").await, count);
    let page = pacs.page("/studies").await;
    assert_eq!(u64::try_from(all(&page, "[data-study]").len()).expect("few"), count);
}
