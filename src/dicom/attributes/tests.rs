//! Data sets that devices send, and what the index makes of them.

use dicom_core::VR;
use dicom_dictionary_std::uids;

use super::*;
use crate::dicom::data_set::{Element, Value};
use crate::dicom::prescan::PixelData;

fn element(tag: Tag, vr: VR, value: &str) -> Element {
    Element { tag, vr, value: Value::Bytes(value.as_bytes().to_vec()) }
}

fn scan(elements: impl IntoIterator<Item = Element>) -> Scan {
    Scan { data_set: DataSet::of(elements), pixel_data: None, damaged: Vec::new(), length: 0 }
}

/// The UIDs every instance has, except those of `without`.
fn uids(without: &[Tag]) -> Vec<Element> {
    let all = [
        (tags::SOP_CLASS_UID, uids::CT_IMAGE_STORAGE),
        (tags::SOP_INSTANCE_UID, "1.2.3"),
        (tags::STUDY_INSTANCE_UID, "1.2"),
        (tags::SERIES_INSTANCE_UID, "1.2.1"),
    ];
    let kept = all.into_iter().filter(|(tag, _)| !without.contains(tag));
    kept.map(|(tag, uid)| element(tag, VR::UI, uid)).collect()
}

fn attributes(more: impl IntoIterator<Item = Element>) -> Attributes {
    Attributes::from_scan(&scan(uids(&[]).into_iter().chain(more)), None, None).unwrap()
}

fn pixels(length: Option<u64>) -> Option<PixelData> {
    Some(PixelData {
        tag: tags::PIXEL_DATA,
        vr: VR::OW,
        offset: 0,
        length,
        fragments: Vec::new(),
        basic_offset_table: Vec::new(),
        extended_offset_table: Vec::new(),
    })
}

#[test]
fn what_a_ct_says_is_typed() {
    let found = attributes([
        element(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192"),
        element(tags::PATIENT_NAME, VR::PN, "Møller^Jörg"),
        element(tags::PATIENT_ID, VR::LO, "4711 "),
        element(tags::PATIENT_BIRTH_DATE, VR::DA, "19700229"),
        element(tags::PATIENT_WEIGHT, VR::DS, "81.5"),
        element(tags::STUDY_DATE, VR::DA, "20240131"),
        element(tags::STUDY_TIME, VR::TM, "235960"),
        element(tags::MODALITY, VR::CS, "ct"),
        element(tags::SERIES_NUMBER, VR::IS, "3"),
        element(tags::OPERATORS_NAME, VR::PN, "A^B\\C^D"),
        element(tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY"),
        element(tags::IMAGE_POSITION_PATIENT, VR::DS, "-100\\-120\\37.5"),
        element(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, "1\\0\\0\\0\\1\\0"),
    ]);
    assert_eq!(found.patient.patient_name, "Møller^Jörg");
    assert_eq!(found.patient.patient_id, "4711");
    assert_eq!(found.patient.unidentified_study, "");
    assert_eq!(found.patient.patient_birth_date, None, "1970 was no leap year");
    assert_eq!(found.study.patient_name_folded, "moller jorg");
    assert_eq!(found.study.patient_name_sort, "moller jorg");
    assert_eq!(found.study.patient_weight, Some(81.5));
    assert_eq!(found.study.study_date, NaiveDate::from_ymd_opt(2024, 1, 31));
    assert_eq!(found.study.study_time, NaiveTime::from_hms_micro_opt(23, 59, 59, 999_999));
    assert_eq!(found.series.modality, "CT");
    assert_eq!(found.series.series_number, Some(3));
    assert_eq!(found.series.operators_name, "A^B\\C^D");
    assert_eq!(found.instance.image_type, "ORIGINAL\\PRIMARY");
    assert_eq!(found.instance.slice_position, Some(37.5));
    assert_eq!(found.instance.number_of_frames, 0);
    assert_eq!(found.notes, []);
}

#[test]
fn an_instance_without_patient_id_belongs_to_its_study_alone() {
    assert_eq!(attributes([]).patient.unidentified_study, "1.2");
    assert_eq!(attributes([element(tags::PATIENT_ID, VR::LO, "  ")]).patient.unidentified_study, "1.2");
}

#[test]
fn long_patient_ids_are_shortened_and_stay_different() {
    let long = "9".repeat(70);
    let ids = [format!("{long}1"), format!("{long}2")].map(|id| {
        let found = attributes([element(tags::PATIENT_ID, VR::LO, &id)]);
        assert_eq!(found.notes, [Note::ShortenedPatientId]);
        assert_eq!(found.patient.unidentified_study, "");
        found.patient.patient_id
    });
    assert_ne!(ids[0], ids[1]);
    assert!(ids.iter().all(|id| id.chars().count() == 64 && id.starts_with(&long[..47])), "{ids:?}");
    let just = "é".repeat(64);
    let fits = attributes([
        element(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192"),
        element(tags::PATIENT_ID, VR::LO, &just),
    ]);
    assert_eq!(fits.patient.patient_id, just);
}

#[test]
fn patient_ids_with_undecodable_bytes_stay_different() {
    let ids = [b"A\xe9", b"A\xe8"].map(|id| {
        let value = Value::Bytes(id.to_vec());
        let found = attributes([
            element(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192"),
            Element { tag: tags::PATIENT_ID, vr: VR::LO, value },
        ]);
        assert_eq!(found.notes, [Note::UnreadablePatientId]);
        found.patient.patient_id
    });
    assert_ne!(ids[0], ids[1]);
    assert!(ids[0].starts_with("A\u{FFFD}…"));
}

#[test]
fn missing_uids_get_stand_ins_that_keep_a_series_together() {
    let found = |without: &[Tag], sop: &str| {
        let elements = uids(without).into_iter().filter(|element| element.tag != tags::SOP_INSTANCE_UID);
        let scan =
            scan(elements.chain([
                element(tags::SOP_INSTANCE_UID, VR::UI, sop),
                element(tags::MODALITY, VR::CS, "CT"),
            ]));
        Attributes::from_scan(&scan, None, None).unwrap()
    };
    let one = found(&[tags::STUDY_INSTANCE_UID], "1.2.3");
    let other = found(&[tags::STUDY_INSTANCE_UID], "1.2.4");
    assert!(one.study.study_instance_uid.as_str().starts_with("2.25."));
    assert_eq!(one.study.study_instance_uid, other.study.study_instance_uid);
    assert_eq!(one.notes, [Note::StandInStudyInstanceUid(one.study.study_instance_uid.clone())]);

    let one = found(&[tags::SERIES_INSTANCE_UID], "1.2.3");
    let other = found(&[tags::SERIES_INSTANCE_UID], "1.2.4");
    assert_eq!(one.series.series_instance_uid, other.series.series_instance_uid);
    assert!(one.notes[0].to_string().starts_with("Series Instance UID is missing, filed under 2.25."));

    let both = [tags::STUDY_INSTANCE_UID, tags::SERIES_INSTANCE_UID];
    let (one, other) = (found(&both, "1.2.3"), found(&both, "1.2.4"));
    assert_ne!(one.study.study_instance_uid, other.study.study_instance_uid);
    assert_eq!(one.notes.len(), 2);
}

#[test]
fn the_request_says_what_instance_it_is_only_where_the_data_set_does_not() {
    let class: SopClassUid = "9.1".parse().unwrap();
    let instance: SopInstanceUid = "9.2".parse().unwrap();
    let bare = scan(uids(&[tags::SOP_CLASS_UID, tags::SOP_INSTANCE_UID]));
    let found = Attributes::from_scan(&bare, Some(&class), Some(&instance)).unwrap();
    assert_eq!((&found.instance.sop_class_uid, &found.instance.sop_instance_uid), (&class, &instance));
    assert_eq!(found.notes, [Note::SopClassUidOfCommand, Note::SopInstanceUidOfCommand]);
    assert_eq!(
        Attributes::from_scan(&bare, Some(&class), None).unwrap_err().to_string(),
        "SOP Instance UID (0008,0018) is missing"
    );
    let full = Attributes::from_scan(&scan(uids(&[])), Some(&class), Some(&instance)).unwrap();
    assert_eq!(full.instance.sop_instance_uid.as_str(), "1.2.3");
}

#[test]
fn a_uid_that_cannot_be_one_is_refused_by_name() {
    for (tag, bad, sentence) in [
        (tags::STUDY_INSTANCE_UID, "../1", "Study Instance UID (0020,000D) is not usable: it contains '/'"),
        (
            tags::SERIES_INSTANCE_UID,
            "1.2\0.3",
            "Series Instance UID (0020,000E) is not usable: it contains '\\0'",
        ),
        (
            tags::SOP_INSTANCE_UID,
            &"1".repeat(200),
            "SOP Instance UID (0008,0018) is not usable: it has 200 characters where 64 are allowed",
        ),
    ] {
        let elements = uids(&[tag]).into_iter().chain([element(tag, VR::UI, bad)]);
        let error = Attributes::from_scan(&scan(elements), None, None).unwrap_err();
        assert_eq!(error.to_string(), sentence);
    }
    let odd = attributes([element(tags::FRAME_OF_REFERENCE_UID, VR::UI, "not a uid!")]);
    assert_eq!(odd.series.frame_of_reference_uid, "");
}

#[test]
fn frames_are_counted_only_where_there_are_pixels() {
    let frames = |number: &str, pixel_data: Option<PixelData>| {
        let elements = uids(&[]).into_iter().chain([element(tags::NUMBER_OF_FRAMES, VR::IS, number)]);
        let scan = Scan { pixel_data, ..scan(elements) };
        Attributes::from_scan(&scan, None, None).unwrap().instance.number_of_frames
    };
    assert_eq!(frames("5", None), 0);
    assert_eq!(frames("5", pixels(Some(0))), 0);
    assert_eq!(frames("5", pixels(None)), 0, "no fragments");
    assert_eq!(frames("5", pixels(Some(9))), 5);
    for garbage in ["", "1A", "0", "-3"] {
        assert_eq!(frames(garbage, pixels(Some(9))), 1, "{garbage:?}");
    }
    assert_eq!(frames("4000000000", pixels(Some(9))), 4_000_000_000);
    assert_eq!(frames("99999999999", pixels(Some(9))), u32::MAX);
}

#[test]
fn texts_fit_their_columns_and_show_no_control_characters() {
    let long = "ü".repeat(2_000);
    let found = attributes([
        element(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192"),
        element(tags::PATIENT_NAME, VR::PN, &long),
        element(tags::STUDY_DESCRIPTION, VR::LO, &long),
        element(tags::PATIENT_COMMENTS, VR::LT, &long),
        element(tags::MODALITY, VR::CS, "c,t\u{7}ü_1234567890123456789"),
        element(tags::STATION_NAME, VR::SH, "CT\u{7}1"),
    ]);
    assert_eq!(found.patient.patient_name.chars().count(), 324);
    assert_eq!(found.study.patient_name_folded, "u".repeat(1000));
    assert_eq!(found.study.patient_name_sort, "u".repeat(64));
    assert_eq!(found.study.study_description.chars().count(), 255);
    assert_eq!(found.study.patient_comments.chars().count(), 1024);
    assert_eq!(found.series.modality, "CT_1234567890123");
    assert_eq!(found.equipment.station_name, "CT\u{FFFD}1");
}

#[test]
fn a_damaged_sequence_is_noted() {
    let scan = Scan { damaged: vec![tags::REQUEST_ATTRIBUTES_SEQUENCE], ..scan(uids(&[])) };
    let notes = Attributes::from_scan(&scan, None, None).unwrap().notes;
    let sentence = "Request Attributes Sequence (0040,0275) contradicts itself, only its beginning was read";
    assert_eq!(notes.iter().map(Note::to_string).collect::<Vec<_>>(), [sentence]);
}

#[test]
fn a_document_is_titled_by_what_it_has() {
    let concept = DataSet::of([element(tags::CODE_MEANING, VR::LO, "Radiology report")]);
    let concept =
        Element { tag: tags::CONCEPT_NAME_CODE_SEQUENCE, vr: VR::SQ, value: Value::Sequence(vec![concept]) };
    let label = element(tags::CONTENT_LABEL, VR::CS, "LABEL");
    let title = element(tags::DOCUMENT_TITLE, VR::ST, "Letter");
    let titled = |elements: &[Element]| attributes(elements.to_vec()).instance.document_title;
    assert_eq!(titled(&[title, concept.clone(), label.clone()]), "Letter");
    assert_eq!(titled(&[concept, label.clone()]), "Radiology report");
    assert_eq!(titled(&[label]), "LABEL");
    assert_eq!(titled(&[]), "");
}

#[test]
fn the_request_of_a_series_is_that_of_its_first_item() {
    let item = |id: &str| {
        DataSet::of([
            element(tags::SCHEDULED_PROCEDURE_STEP_ID, VR::SH, id),
            element(tags::REQUESTED_PROCEDURE_ID, VR::SH, "R1"),
        ])
    };
    let value = Value::Sequence(vec![item("S1"), item("S2")]);
    let found = attributes([Element { tag: tags::REQUEST_ATTRIBUTES_SEQUENCE, vr: VR::SQ, value }]);
    assert_eq!(found.series.scheduled_procedure_step_id, "S1");
    assert_eq!(found.series.requested_procedure_id, "R1");
}

#[test]
fn equipment_is_the_same_when_all_its_words_are() {
    let device = |station: &str, maker: &str| {
        let words =
            [element(tags::STATION_NAME, VR::SH, station), element(tags::MANUFACTURER, VR::LO, maker)];
        attributes(words).equipment.identity()
    };
    assert_eq!(device("CT1", "Acme"), device("CT1 ", "Acme"));
    assert_ne!(device("CT1", "Acme"), device("CT2", "Acme"));
    assert_ne!(device("CT1", "Acme"), device("CT1Acme", ""));
}
