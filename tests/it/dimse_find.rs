//! C-FIND, PS3.4 C.4.1: each way of matching against the real database, each level and model, what is answered with
//! which keys and in which character set, and how it ends. The SCUs are pynetdicom and DCMTK's findscu.

use dicom_core::VR;
use dicom_dictionary_std::tags;
use mysql_async::prelude::Queryable;
use serde_json::{Value, json};

use crate::rows;
use crate::support::TestServer;
use crate::support::instance::{Builder, Instance, slice};
use crate::support::qr::{Outcome, allow, ask, ask_all, text};

/// A study with one slice; what is not said is as [`slice`] has it.
fn study(number: u32, name: &str, more: impl Fn(Builder) -> Builder) -> Instance {
    let utf8 = slice(number, number, 1, 1).text(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192").text(
        tags::PATIENT_NAME,
        VR::PN,
        name,
    );
    more(utf8).build()
}

/// The archive that the table below is about.
async fn archive() -> TestServer {
    let pacs = TestServer::start().await;
    allow(&pacs, "TESTSCU", "echo,store,find", None).await;
    let date = |date: &'static str, time: &'static str| {
        move |slice: Builder| slice.text(tags::STUDY_DATE, VR::DA, date).text(tags::STUDY_TIME, VR::TM, time)
    };
    let instances = [
        study(1, "Doe^Jane", date("20260101", "080000")),
        study(2, "Müller^Jörg", date("20260102", "120000")),
        study(3, "Yamada^Tarou=山田^太郎=やまだ^たろう", date("20260103", "235959.5")),
        study(4, "100%_a\\", |slice| {
            slice
                .text(tags::PATIENT_NAME, VR::PN, "Percent^Under")
                .text(tags::PATIENT_ID, VR::LO, "100%_a!b")
                .text(tags::ACCESSION_NUMBER, VR::SH, "")
                .without(tags::STUDY_DATE)
                .without(tags::STUDY_TIME)
        }),
        study(5, "Doe^John", |slice| {
            slice
                .text(tags::MODALITY, VR::CS, "MR")
                .text(tags::STUDY_DESCRIPTION, VR::LO, "Knee left")
                .text(tags::STUDY_DATE, VR::DA, "20260105")
                .text(tags::STUDY_TIME, VR::TM, "070000")
        }),
        // A second series of the first study, of another modality.
        slice(1, 1, 2, 1)
            .text(tags::MODALITY, VR::CS, "SR")
            .text(tags::SERIES_DESCRIPTION, VR::LO, "Report")
            .build(),
        slice(1, 1, 1, 2).build(),
    ];
    for answer in pacs.store_all(&instances).await {
        assert!(answer.is_success(), "{answer:?}");
    }
    pacs
}

fn request(level: &str, keys: &Value, more: &Value) -> Value {
    let mut keys = keys.as_object().expect("keys").clone();
    keys.insert("QueryRetrieveLevel".into(), level.into());
    let mut request = json!({ "keys": keys, "set": "ISO_IR 192" });
    let fields = request.as_object_mut().expect("an object");
    fields.extend(more.as_object().expect("an object").clone());
    request
}

async fn find(pacs: &TestServer, level: &str, keys: Value, more: Value) -> Outcome {
    ask(pacs, "find", request(level, &keys, &more)).await
}

/// Studies are known by their numbers.
fn numbers(outcome: &Outcome) -> Vec<u32> {
    let uids = outcome.all("StudyInstanceUID");
    let mut numbers: Vec<u32> = uids
        .iter()
        .map(|uid| uid.rsplit('.').next().and_then(|n| n.parse().ok()).expect("a number"))
        .collect();
    numbers.sort_unstable();
    numbers
}

#[tokio::test]
async fn every_way_of_matching_finds_what_it_should_and_nothing_else() {
    let pacs = archive().await;
    let plain = json!({});
    let combined = json!({ "extended": [0, 1, 0] });
    let fuzzy = json!({ "extended": [0, 0, 1] });
    let table = [
        // Universal, C.2.2.2.3.
        (json!({}), &plain, vec![1, 2, 3, 4, 5]),
        (json!({ "PatientID": "", "PatientName": "*" }), &plain, vec![1, 2, 3, 4, 5]),
        // Single value, C.2.2.2.1: to the letter but for names.
        (json!({ "PatientID": "P1" }), &plain, vec![1]),
        (json!({ "PatientID": "p1" }), &plain, vec![]),
        (json!({ "AccessionNumber": "ACC2" }), &plain, vec![2]),
        (json!({ "StudyDescription": "Knee left" }), &plain, vec![5]),
        (json!({ "StudyDescription": "knee left" }), &plain, vec![]),
        (json!({ "StudyDescription": "Knee" }), &plain, vec![]),
        (json!({ "PatientName": "DOE^JANE" }), &plain, vec![1]),
        (json!({ "PatientName": "doe^jane^^^" }), &plain, vec![1]),
        (json!({ "PatientName": "Doe" }), &plain, vec![]),
        (json!({ "PatientName": "muller^jorg" }), &plain, vec![2]),
        (json!({ "PatientName": "山田^太郎" }), &plain, vec![3]),
        (json!({ "PatientName": "やまだ^たろう" }), &plain, vec![3]),
        (json!({ "PatientSex": "F", "PatientBirthDate": "19700101" }), &plain, vec![1, 2, 3, 4, 5]),
        (json!({ "PatientSex": "M" }), &plain, vec![]),
        // List of UID, C.2.2.2.2.
        (json!({ "StudyInstanceUID": "1.2.3.2" }), &plain, vec![2]),
        (json!({ "StudyInstanceUID": "1.2.3.1\\1.2.3.5\\1.2.9" }), &plain, vec![1, 5]),
        (json!({ "StudyInstanceUID": "1.2.3.*" }), &plain, vec![]),
        // Wild card, C.2.2.2.4, with what SQL would take for one.
        (json!({ "PatientName": "DOE*" }), &plain, vec![1, 5]),
        (json!({ "PatientName": "doe^j?n*" }), &plain, vec![1]),
        (json!({ "PatientName": "*jane" }), &plain, vec![1]),
        (json!({ "PatientName": "*o*" }), &plain, vec![1, 2, 3, 5]),
        (json!({ "PatientName": "Doe^*" }), &plain, vec![1, 5]),
        (json!({ "PatientName": "山*" }), &plain, vec![3]),
        (json!({ "PatientID": "P?" }), &plain, vec![1, 2, 3, 5]),
        (json!({ "PatientID": "100%_a!b" }), &plain, vec![4]),
        (json!({ "PatientID": "100%*" }), &plain, vec![4]),
        (json!({ "PatientID": "1%" }), &plain, vec![]),
        (json!({ "PatientID": "P_" }), &plain, vec![]),
        (json!({ "PatientID": "*_a*" }), &plain, vec![4]),
        (json!({ "StudyDescription": "*left" }), &plain, vec![5]),
        (json!({ "StudyDescription": "*LEFT" }), &plain, vec![]),
        (json!({ "ModalitiesInStudy": "?R" }), &plain, vec![1, 5]),
        // Range, C.2.2.2.5.
        (json!({ "StudyDate": "20260102" }), &plain, vec![2]),
        (json!({ "StudyDate": "20260102-20260103" }), &plain, vec![2, 3]),
        (json!({ "StudyDate": "20260103-" }), &plain, vec![3, 5]),
        (json!({ "StudyDate": "-20260102" }), &plain, vec![1, 2]),
        (json!({ "StudyTime": "0800" }), &plain, vec![1]),
        (json!({ "StudyTime": "07-12" }), &plain, vec![1, 2, 5]),
        (json!({ "StudyTime": "235959" }), &plain, vec![3]),
        (json!({ "StudyDate": "20260101-20260103", "StudyTime": "1100-2200" }), &plain, vec![2]),
        (json!({ "StudyDate": "20260101-20260103", "StudyTime": "1100-2200" }), &combined, vec![2]),
        (json!({ "StudyDate": "20260102-20260105", "StudyTime": "1300-0630" }), &plain, vec![]),
        (json!({ "StudyDate": "20260102-20260105", "StudyTime": "1300-0630" }), &combined, vec![3]),
        (json!({ "StudyDate": "20260102-20260105", "StudyTime": "1200-0700" }), &combined, vec![2, 3, 5]),
        // Modalities in Study, C.6.2.1: any of them, and several values.
        (json!({ "ModalitiesInStudy": "SR" }), &plain, vec![1]),
        (json!({ "ModalitiesInStudy": "MR\\SR" }), &plain, vec![1, 5]),
        (json!({ "ModalitiesInStudy": "R" }), &plain, vec![]),
        // Multiple values, C.2.2.2.8, and the empty value, C.2.2.2.7.
        (json!({ "PatientID": "P1\\P5" }), &plain, vec![1, 5]),
        (json!({ "AccessionNumber": "\"\"" }), &plain, vec![4]),
        (json!({ "StudyID": "\"\"" }), &plain, vec![]),
        // Names by their words, where that was agreed on.
        (json!({ "PatientName": "jane doe" }), &fuzzy, vec![1]),
        (json!({ "PatientName": "jane doe" }), &plain, vec![]),
        // All keys have to match.
        (json!({ "PatientName": "DOE*", "ModalitiesInStudy": "MR" }), &plain, vec![5]),
        (json!({ "PatientName": "DOE*", "StudyDate": "20260102" }), &plain, vec![]),
        (json!({ "NumberOfStudyRelatedInstances": "3" }), &plain, vec![1]),
        // What nobody would ask and somebody will try.
        (json!({ "PatientID": "' OR '1'='1" }), &plain, vec![]),
        (json!({ "PatientName": "*'; DROP TABLE study; --*" }), &plain, vec![]),
    ];
    let requests = table.iter().map(|(keys, more, _)| {
        let mut keys = keys.clone();
        keys.as_object_mut().expect("keys").entry("StudyInstanceUID").or_insert_with(|| "".into());
        request("STUDY", &keys, more)
    });
    let outcomes = ask_all(&pacs, "find", requests.collect()).await;
    let mut wrong = Vec::new();
    for ((keys, more, expected), outcome) in table.iter().zip(&outcomes) {
        let found = numbers(outcome);
        if found != *expected || outcome.status() != Some(0) {
            wrong.push(format!("{keys} {more}: {found:?} with {:04X?}, not {expected:?}", outcome.status()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn each_level_of_each_model_is_answered_with_its_keys_and_those_that_are_worked_out() {
    let pacs = archive().await;
    let counts = json!({
        "PatientID": "P1", "PatientName": "", "NumberOfPatientRelatedStudies": "",
        "NumberOfPatientRelatedSeries": "", "NumberOfPatientRelatedInstances": "", "PatientBirthDate": ""
    });
    let patients = find(&pacs, "PATIENT", counts, json!({ "model": "patient" })).await;
    assert_eq!(patients.status(), Some(0), "{patients:?}");
    let [patient] = patients.matches().collect::<Vec<_>>()[..] else { panic!("{patients:?}") };
    for (keyword, expected) in [
        ("PatientName", "Doe^Jane"),
        ("PatientBirthDate", "19700101"),
        ("NumberOfPatientRelatedStudies", "1"),
        ("NumberOfPatientRelatedSeries", "2"),
        ("NumberOfPatientRelatedInstances", "3"),
        ("QueryRetrieveLevel", "PATIENT"),
        ("RetrieveAETitle", "FILMROOM"),
    ] {
        assert_eq!(text(patient, keyword), expected, "{keyword}");
    }
    let by_name = find(&pacs, "PATIENT", json!({ "PatientName": "山田*" }), json!({ "model": "only" })).await;
    assert_eq!(by_name.all("PatientID"), ["P3"]);

    let keys = json!({
        "StudyInstanceUID": "1.2.3.1", "ModalitiesInStudy": "", "SOPClassesInStudy": "",
        "NumberOfStudyRelatedSeries": "", "NumberOfStudyRelatedInstances": "", "InstanceAvailability": "",
        "StudyDate": "", "StudyTime": "", "ReferringPhysicianName": "", "OtherPatientIDs": ""
    });
    let studies = find(&pacs, "STUDY", keys, json!({ "model": "study" })).await;
    let [study] = studies.matches().collect::<Vec<_>>()[..] else { panic!("{studies:?}") };
    for (keyword, expected) in [
        ("ModalitiesInStudy", "CT\\SR"),
        ("SOPClassesInStudy", "1.2.840.10008.5.1.4.1.1.2"),
        ("NumberOfStudyRelatedSeries", "2"),
        ("NumberOfStudyRelatedInstances", "3"),
        ("InstanceAvailability", "ONLINE"),
        ("StudyDate", "20260101"),
        ("StudyTime", "080000"),
        ("ReferringPhysicianName", "House^Gregory"),
        ("OtherPatientIDs", ""),
    ] {
        assert!(study.contains_key(keyword), "{keyword} was asked for");
        assert_eq!(text(study, keyword), expected, "{keyword}");
    }
    assert_eq!(studies.responses.first().and_then(|r| r.status), Some(0xFF01), "one key is not known here");

    let keys = json!({
        "StudyInstanceUID": "1.2.3.1", "SeriesInstanceUID": "", "Modality": "", "SeriesNumber": "",
        "SeriesDescription": "", "NumberOfSeriesRelatedInstances": "", "Manufacturer": ""
    });
    let series = find(&pacs, "SERIES", keys, json!({})).await;
    assert_eq!(series.all("SeriesInstanceUID"), ["1.2.3.1.1", "1.2.3.1.2"]);
    assert_eq!(series.all("Modality"), ["CT", "SR"]);
    assert_eq!(series.all("NumberOfSeriesRelatedInstances"), ["1", "2"]);
    assert_eq!(series.responses.first().and_then(|r| r.status), Some(0xFF00));

    let keys = json!({
        "StudyInstanceUID": "1.2.3.1", "SeriesInstanceUID": "1.2.3.1.1", "SOPInstanceUID": "", "InstanceNumber": "",
        "SOPClassUID": "", "Rows": "", "AvailableTransferSyntaxUID": ""
    });
    let images = find(&pacs, "IMAGE", keys, json!({})).await;
    assert_eq!(images.all("SOPInstanceUID"), ["1.2.3.1.1.1", "1.2.3.1.1.2"]);
    assert_eq!(images.all("InstanceNumber"), ["1", "2"]);
    assert_eq!(images.all("Rows"), ["16", "16"]);
    assert_eq!(images.all("AvailableTransferSyntaxUID"), ["1.2.840.10008.1.2.1"; 2]);
}

#[tokio::test]
async fn what_stands_in_request_attributes_is_matched_and_returned_there() {
    let pacs = TestServer::start().await;
    allow(&pacs, "TESTSCU", "echo,store,find", None).await;
    let of_request = |series: u32, procedure: &'static str, step: &'static str| {
        slice(1, 1, series, 1)
            .item(
                tags::REQUEST_ATTRIBUTES_SEQUENCE,
                &[
                    (tags::REQUESTED_PROCEDURE_ID, VR::SH, procedure),
                    (tags::SCHEDULED_PROCEDURE_STEP_ID, VR::SH, step),
                ],
            )
            .build()
    };
    let instances = [of_request(1, "RP1", "S1"), of_request(2, "RP1", "S2"), slice(1, 1, 3, 1).build()];
    for answer in pacs.store_all(&instances).await {
        assert!(answer.is_success(), "{answer:?}");
    }
    for (item, expected) in [
        (
            json!({ "RequestedProcedureID": "RP1", "ScheduledProcedureStepID": "" }),
            vec!["1.2.3.1.1", "1.2.3.1.2"],
        ),
        (json!({ "RequestedProcedureID": "RP*", "ScheduledProcedureStepID": "S2" }), vec!["1.2.3.1.2"]),
        (json!({ "ScheduledProcedureStepID": "S3" }), vec![]),
        (json!({ "RequestedProcedureID": "" }), vec!["1.2.3.1.1", "1.2.3.1.2", "1.2.3.1.3"]),
    ] {
        let keys = json!({
            "StudyInstanceUID": "1.2.3.1", "SeriesInstanceUID": "", "RequestAttributesSequence": [item]
        });
        let series = find(&pacs, "SERIES", keys, json!({})).await;
        assert_eq!(series.all("SeriesInstanceUID"), expected, "{item}");
        for found in series.matches().filter(|found| text(found, "SeriesInstanceUID") == "1.2.3.1.2") {
            let answered = &found["RequestAttributesSequence"][0];
            for keyword in item.as_object().expect("keys").keys() {
                let expected = if keyword == "RequestedProcedureID" { "RP1" } else { "S2" };
                assert_eq!(answered[keyword], expected, "{item}: {answered}");
            }
        }
    }
}

#[tokio::test]
async fn find_at_series_level_without_study_uid_is_refused_unless_relational_queries_were_agreed_on() {
    let pacs = archive().await;
    let keys = || json!({ "SeriesInstanceUID": "", "Modality": "MR" });
    let refused = find(&pacs, "SERIES", keys(), json!({})).await;
    assert_eq!(refused.status(), Some(0xA900));
    assert_eq!(refused.last().comment, "At SERIES level there must be one Study Instance UID");
    let relational = find(&pacs, "SERIES", keys(), json!({ "extended": [1] })).await;
    assert_eq!(relational.extended, Some(vec![1]));
    assert_eq!(
        (relational.status(), relational.all("SeriesInstanceUID")),
        (Some(0), vec!["1.2.3.5.1".into()])
    );
    let images = json!({ "SOPInstanceUID": "1.2.3.5.1.1", "PatientName": "" });
    let images = find(&pacs, "IMAGE", images, json!({ "extended": [1] })).await;
    assert_eq!(images.all("PatientName"), ["Doe^John"]);
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_in_words() {
    let pacs = archive().await;
    for (level, keys, model, comment) in [
        ("PATIENT", json!({}), "study", "This information model has no PATIENT level"),
        ("SERIES", json!({}), "only", "This information model has no SERIES level"),
        ("FRAME", json!({}), "study", "The Query/Retrieve Level is none of the standard's"),
        ("", json!({}), "study", "There is no Query/Retrieve Level"),
        ("STUDY", json!({ "StudyDate": "soon" }), "study", "Study Date is not a date or a range of dates"),
    ] {
        let refused = find(&pacs, level, keys, json!({ "model": model })).await;
        assert_eq!(refused.status(), Some(0xA900), "{level} {model}");
        assert!(refused.last().comment.contains(comment), "{level} {model}: {}", refused.last().comment);
    }
}

#[tokio::test]
async fn answers_are_in_the_character_set_of_the_question_where_it_has_the_letters() {
    let pacs = archive().await;
    for (set, key, name, answered) in [
        ("ISO_IR 100", "M*", "Müller^Jörg", "ISO_IR 100"),
        ("ISO_IR 100", "YAMADA*", "Yamada^Tarou=山田^太郎=やまだ^たろう", "ISO_IR 192"),
        ("\\ISO 2022 IR 87", "YAMADA*", "Yamada^Tarou=山田^太郎=やまだ^たろう", "\\ISO 2022 IR 87"),
        ("ISO_IR 192", "山田*", "Yamada^Tarou=山田^太郎=やまだ^たろう", "ISO_IR 192"),
        ("GB18030", "山田*", "Yamada^Tarou=山田^太郎=やまだ^たろう", "GB18030"),
    ] {
        let keys = json!({ "QueryRetrieveLevel": "STUDY", "PatientName": key });
        let set_of = if set.starts_with('\\') { json!(["", "ISO 2022 IR 87"]) } else { json!(set) };
        let outcome = ask(&pacs, "find", json!({ "keys": keys, "set": set_of })).await;
        let [found] = outcome.matches().collect::<Vec<_>>()[..] else { panic!("{set}: {outcome:?}") };
        assert_eq!(text(found, "PatientName"), name, "{set}");
        assert_eq!(text(found, "SpecificCharacterSet"), answered, "{set}");
    }
    let keys = json!({ "QueryRetrieveLevel": "STUDY", "PatientName": "DOE^JANE" });
    let outcome = ask(&pacs, "find", json!({ "keys": keys })).await;
    assert!(outcome.matches().all(|keys| !keys.contains_key("SpecificCharacterSet")), "{outcome:?}");
}

#[tokio::test]
async fn a_query_leaves_one_line_in_the_audit_trail() {
    let pacs = archive().await;
    find(&pacs, "STUDY", json!({ "PatientName": "DOE*", "StudyInstanceUID": "" }), json!({})).await;
    let details: String =
        pacs.value("SELECT details FROM audit WHERE action = 'query' AND actor = 'TESTSCU'").await;
    assert_eq!(details, "STUDY: Patient Name DOE*");
}

#[tokio::test]
async fn a_query_is_cancelled_within_a_second_and_ends_as_cancelled() {
    let pacs = TestServer::start().await;
    allow(&pacs, "TESTSCU", "echo,find", None).await;
    let mut conn = pacs.database.connect().await;
    rows::fill(&mut conn, 20_000, |_, _, _| {}).await.expect("rows");
    let keys = json!({ "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "", "PatientName": "" });
    let outcome = ask(&pacs, "find", json!({ "keys": keys, "cancel_after": 10 })).await;
    assert_eq!(outcome.status(), Some(0xFE00), "{:?}", outcome.last());
    let found = outcome.matches().count();
    assert!((10..20_000).contains(&found), "{found} were sent before the end");
    // The association goes on, and so does the server.
    let all = ask(&pacs, "find", json!({ "keys": keys })).await;
    assert_eq!((all.status(), all.matches().count()), (Some(0), 20_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_more_than_is_answered_gets_that_much_and_out_of_resources() {
    let pacs = TestServer::start().await;
    allow(&pacs, "TESTSCU", "echo,find", None).await;
    let mut conn = pacs.database.connect().await;
    rows::fill(&mut conn, 51_000, |_, _, _| {}).await.expect("rows");
    let keys = json!({ "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "" });
    let all = ask(&pacs, "find", json!({ "keys": keys })).await;
    assert_eq!(all.status(), Some(0xA700));
    assert_eq!(all.last().comment, "More than 50000 match, ask for less");
    assert_eq!(all.matches().count(), 50_000);
    // Instances are more than that in every archive; one study of them is not.
    let study: String = pacs.value("SELECT study_instance_uid FROM study LIMIT 1").await;
    let keys = json!({ "QueryRetrieveLevel": "IMAGE", "StudyInstanceUID": study, "SOPInstanceUID": "" });
    let some = ask(&pacs, "find", json!({ "keys": keys, "extended": [1] })).await;
    assert_eq!(some.status(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_the_database_does_not_get_done_with_is_ended_there_too_and_out_of_resources() {
    let pacs = archive().await;
    let mut conn = pacs.database.connect().await;
    conn.query_drop("LOCK TABLES study WRITE").await.expect("a lock");
    let keys = json!({ "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "" });
    let asked = ask(&pacs, "find", json!({ "keys": keys })).await;
    assert_eq!(asked.status(), Some(0xA700), "{asked:?}");
    assert_eq!(asked.last().comment, "This query takes too long here, ask for less");
    assert!((25.0..60.0).contains(&asked.last().after), "{} s", asked.last().after);
    // It is not waiting behind the lock any more.
    let waiting = "SELECT COUNT(*) FROM information_schema.processlist
                    WHERE db = DATABASE() AND id <> CONNECTION_ID() AND info LIKE '%FROM study%'";
    let waiting: Option<u32> = conn.query_first(waiting).await.expect("a count");
    assert_eq!(waiting, Some(0));
    conn.query_drop("UNLOCK TABLES").await.expect("no lock");
    let again = ask(&pacs, "find", json!({ "keys": keys })).await;
    assert_eq!((again.status(), again.matches().count()), (Some(0), 5));
}
