//! Fragments and their lengths.

use dicom_ul::pdu::PDataValueType;

use super::*;

fn answer(user_variables: Vec<UserVariableItem>) -> AssociationAC {
    AssociationAC {
        protocol_version: 1,
        calling_ae_title: "A".to_owned(),
        called_ae_title: "B".to_owned(),
        application_context_name: APPLICATION_CONTEXT.to_owned(),
        presentation_contexts: Vec::new(),
        user_variables,
    }
}

#[test]
fn fragments_are_even_and_within_the_peers_maximum() {
    let length = |maximum| fragment_length(&answer(vec![UserVariableItem::MaxLength(maximum)])).ok();
    assert_eq!(length(16_384), Some(16_378));
    assert_eq!(length(16_385), Some(16_378));
    assert_eq!(length(8), Some(2));
    assert_eq!(length(7), None);
    assert_eq!(length(0), Some(MAXIMUM_PDU - PDV_HEADER));
    assert_eq!(length(u32::MAX), Some(MAXIMUM_PDU - PDV_HEADER));
    assert_eq!(fragment_length(&answer(Vec::new())).ok(), Some(MAXIMUM_PDU - PDV_HEADER));
}

#[test]
fn a_framed_fragment_is_what_the_codec_reads() {
    let mut fragment = vec![0; FRAGMENT_HEADER];
    fragment.extend_from_slice(b"abcd");
    frame(&mut fragment, 3, COMMAND | LAST);

    let pdu = dicom_ul::pdu::read_pdu(fragment.as_slice(), pdu_length(MAXIMUM_PDU), true);

    let value = PDataValue {
        presentation_context_id: 3,
        value_type: PDataValueType::Command,
        is_last: true,
        data: b"abcd".to_vec(),
    };
    assert_eq!(pdu.expect("valid"), Some(Pdu::PData { data: vec![value] }));
}
