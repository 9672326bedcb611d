//! Token streams, well-formed and not, and what the walk makes of them.

use std::io::Cursor;
use std::time::Instant;

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

use super::*;
use crate::dicom::data_set::Value;
use crate::dicom::fixtures::{deflated, explicit, implicit, item, lying, open_item, open_sequence};

mod properties;

const EXPLICIT: Encoding = Encoding::ExplicitVrLittleEndian;
const IMPLICIT: Encoding = Encoding::ImplicitVrLittleEndian;

fn scanned(bytes: &[u8], encoding: Encoding) -> Result<Scan, Error> {
    scan(Cursor::new(bytes), bytes.len() as u64, encoding, &Limits::default())
}

fn modality() -> Vec<u8> {
    explicit(tags::MODALITY, "CS", b"CT")
}

fn rows() -> Vec<u8> {
    explicit(tags::ROWS, "US", &[0, 2])
}

const REQUEST: Tag = tags::REQUEST_ATTRIBUTES_SEQUENCE;
const STEP_ID: Tag = tags::SCHEDULED_PROCEDURE_STEP_ID;

#[test]
fn the_same_data_set_reads_the_same_in_every_encoding() {
    let little = [modality(), explicit(tags::PATIENT_ID, "LO", b"4711"), rows()].concat();
    let implicit =
        [implicit(tags::MODALITY, b"CT"), implicit(tags::PATIENT_ID, b"4711"), implicit(tags::ROWS, &[0, 2])]
            .concat();
    let big = b"\x00\x08\x00\x60CS\x00\x02CT\x00\x10\x00\x20LO\x00\x044711\x00\x28\x00\x10US\x00\x02\x02\x00";
    let encoded = [
        (EXPLICIT, little.clone()),
        (IMPLICIT, implicit),
        (Encoding::ExplicitVrBigEndian, big.to_vec()),
        (Encoding::Deflated, deflated(&little)),
    ];
    for (encoding, bytes) in encoded {
        let scan = scanned(&bytes, encoding).unwrap();
        assert_eq!(scan.data_set.elements().len(), 3, "{encoding:?}");
        assert_eq!(scan.data_set.text(tags::MODALITY).as_deref(), Some("CT"), "{encoding:?}");
        assert_eq!(scan.data_set.text(tags::PATIENT_ID).as_deref(), Some("4711"), "{encoding:?}");
        assert_eq!(scan.data_set.integer(tags::ROWS), Some(512), "{encoding:?}");
        assert_eq!(scan.pixel_data, None);
    }
}

#[test]
fn elements_without_the_vr_they_should_have_are_read_and_the_reverse() {
    let bare = [implicit(tags::MODALITY, b"CT"), implicit(tags::ROWS, &[0, 2])].concat();
    let with_vr = [modality(), rows()].concat();
    for (bytes, encoding) in [(bare, EXPLICIT), (with_vr, IMPLICIT)] {
        let data_set = scanned(&bytes, encoding).unwrap().data_set;
        assert_eq!(data_set.text(tags::MODALITY).as_deref(), Some("CT"), "{encoding:?}");
        assert_eq!(data_set.integer(tags::ROWS), Some(512), "{encoding:?}");
    }
}

#[test]
fn sequences_are_followed_whatever_kind_of_length_they_have() {
    let step = explicit(STEP_ID, "SH", b"S1");
    let with_items = [
        explicit(REQUEST, "SQ", &[item(&step), item(&[])].concat()),
        explicit(REQUEST, "SQ", &[open_item(&step), open_item(&[])].concat()),
        open_sequence(REQUEST, "SQ", &[item(&step), item(&[])].concat()),
        open_sequence(REQUEST, "SQ", &[open_item(&step), open_item(&[])].concat()),
    ];
    for bytes in with_items {
        let bytes = [bytes, explicit(tags::PIXEL_PADDING_VALUE, "US", &[1, 0])].concat();
        let data_set = scanned(&bytes, EXPLICIT).unwrap().data_set;
        assert_eq!(data_set.items(REQUEST).len(), 2, "{bytes:x?}");
        assert_eq!(data_set.first_item(REQUEST).unwrap().text(STEP_ID).as_deref(), Some("S1"));
        assert_eq!(data_set.integer(tags::PIXEL_PADDING_VALUE), Some(1));
    }
}

#[test]
fn delimiters_missing_at_the_end_cut_nothing() {
    let step = explicit(STEP_ID, "SH", b"S1");
    let mut whole = open_sequence(REQUEST, "SQ", &open_item(&step));
    for _ in 0..2 {
        whole.truncate(whole.len() - 8);
        let data_set = scanned(&whole, EXPLICIT).unwrap().data_set;
        assert_eq!(data_set.first_item(REQUEST).unwrap().text(STEP_ID).as_deref(), Some("S1"));
    }
}

#[test]
fn a_missing_item_delimiter_does_not_swallow_the_next_item_or_element() {
    let step = explicit(STEP_ID, "SH", b"S1");
    let undelimited = [&[0xFE, 0xFF, 0x00, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF], step.as_slice()].concat();
    for items in
        [[undelimited.clone(), undelimited.clone()].concat(), [undelimited.clone(), item(&step)].concat()]
    {
        for bytes in [open_sequence(REQUEST, "SQ", &items), explicit(REQUEST, "SQ", &items)] {
            let bytes = [bytes, explicit(tags::PIXEL_PADDING_VALUE, "US", &[1, 0])].concat();
            let data_set = scanned(&bytes, EXPLICIT).unwrap().data_set;
            assert_eq!(data_set.items(REQUEST).len(), 2);
            assert_eq!(data_set.integer(tags::PIXEL_PADDING_VALUE), Some(1));
        }
    }
}

#[test]
fn unknown_of_undefined_length_is_an_implicit_sequence() {
    let private = Tag(0x0029, 0x1010);
    let bytes = open_sequence(private, "UN", &open_item(&implicit(STEP_ID, b"S1")));
    let data_set = scanned(&bytes, EXPLICIT).unwrap().data_set;
    assert_eq!(data_set.first_item(private).unwrap().text(STEP_ID).as_deref(), Some("S1"));
}

#[test]
fn unknown_of_defined_length_is_a_sequence_where_the_dictionary_says_so() {
    let bytes = explicit(REQUEST, "UN", &item(&implicit(STEP_ID, b"S1")));
    let data_set = scanned(&bytes, EXPLICIT).unwrap().data_set;
    assert_eq!(data_set.first_item(REQUEST).unwrap().text(STEP_ID).as_deref(), Some("S1"));
}

#[test]
fn an_unknown_vr_does_not_lose_the_rest() {
    for odd in [lying(Tag(0x0008, 0x0100), "ZZ", 2, b"xy"), explicit(Tag(0x0008, 0x0100), "??", b"xy")] {
        let bytes = [modality(), odd, rows()].concat();
        let data_set = scanned(&bytes, EXPLICIT).unwrap().data_set;
        assert_eq!(data_set.elements().len(), 3, "{bytes:x?}");
        assert_eq!(data_set.bytes(Tag(0x0008, 0x0100)), Some(&b"xy"[..]));
        assert_eq!(data_set.integer(tags::ROWS), Some(512));
    }
}

#[test]
fn us_or_ss_is_signed_where_the_pixels_are_also_in_items() {
    let lut =
        implicit(tags::MODALITY_LUT_SEQUENCE, &item(&implicit(tags::PIXEL_PADDING_VALUE, &[0xFF, 0xFF])));
    let bytes = [implicit(tags::PIXEL_REPRESENTATION, &[1, 0]), lut].concat();
    let data_set = scanned(&bytes, IMPLICIT).unwrap().data_set;
    let item = data_set.first_item(tags::MODALITY_LUT_SEQUENCE).unwrap();
    assert_eq!(item.integer(tags::PIXEL_PADDING_VALUE), Some(-1));
}

#[test]
fn native_pixel_data_is_found_and_what_follows_it_kept() {
    let head = rows();
    let tail = explicit(Tag(0xFFFC, 0xFFFC), "OB", &[0; 6]);
    let bytes = [head.clone(), explicit(tags::PIXEL_DATA, "OW", &[7; 100]), tail].concat();
    let scan = scanned(&bytes, EXPLICIT).unwrap();
    let pixel_data = scan.pixel_data.unwrap();
    assert_eq!((pixel_data.tag, pixel_data.vr), (tags::PIXEL_DATA, VR::OW));
    assert_eq!((pixel_data.offset, pixel_data.length), (head.len() as u64 + 12, Some(100)));
    assert_eq!(scan.data_set.element(tags::PIXEL_DATA).unwrap().value, Value::Omitted { length: 100 });
    assert!(scan.data_set.element(Tag(0xFFFC, 0xFFFC)).is_some());
    assert_eq!(scan.length, bytes.len() as u64);
}

#[test]
fn a_cut_rest_behind_whole_pixels_is_forgiven_a_lying_one_is_not() {
    let pixels = explicit(tags::PIXEL_DATA, "OW", &[7; 100]);
    let stump = [pixels.clone(), vec![0xFC, 0xFF, 0xFC]].concat();
    assert!(scanned(&stump, EXPLICIT).unwrap().pixel_data.is_some());
    let lie = [pixels, lying(Tag(0xFFFC, 0xFFFC), "OB", 1000, &[0; 6])].concat();
    assert!(matches!(
        scanned(&lie, EXPLICIT),
        Err(Error::LengthBeyondEnd { declared: 1000, available: 6, .. })
    ));
}

#[test]
fn zeros_that_fill_the_last_block_are_no_elements() {
    let bytes = [modality(), vec![0; 509]].concat();
    assert_eq!(scanned(&bytes, EXPLICIT).unwrap().data_set.elements().len(), 1);
    let bytes = [modality(), vec![0; 50], vec![1; 50]].concat();
    assert!(matches!(scanned(&bytes, EXPLICIT), Err(Error::Unexpected { .. })));
}

#[test]
fn fragments_and_offset_tables_are_found() {
    let table = [0_u32, 12].map(u32::to_le_bytes).concat();
    let extended = [0_u64, 12].map(u64::to_le_bytes).concat();
    let items = [item(&table), item(&[1; 4]), item(&[2; 5])].concat();
    let head = explicit(tags::EXTENDED_OFFSET_TABLE, "OV", &extended);
    let bytes = [head.clone(), open_sequence(tags::PIXEL_DATA, "OB", &items), modality()].concat();
    for bytes in [bytes.clone(), deflated(&bytes)] {
        let encoding = if bytes.starts_with(&head) { EXPLICIT } else { Encoding::Deflated };
        let scan = scanned(&bytes, encoding).unwrap();
        let pixel_data = scan.pixel_data.unwrap();
        let start = head.len() as u64 + 12;
        assert_eq!(pixel_data.offset, start);
        assert_eq!(pixel_data.length, None);
        assert_eq!(pixel_data.basic_offset_table, [0, 12]);
        assert_eq!(pixel_data.extended_offset_table, [0, 12]);
        let expected =
            [Fragment { offset: start + 24, length: 4 }, Fragment { offset: start + 36, length: 5 }];
        assert_eq!(pixel_data.fragments, expected);
        assert_eq!(scan.data_set.text(tags::MODALITY).as_deref(), Some("CT"));
    }
}

#[test]
fn fragments_without_their_final_delimiter_are_whole() {
    let bytes = lying(tags::PIXEL_DATA, "OB", 0xFFFF_FFFF, &[item(&[]), item(&[1; 4])].concat());
    assert_eq!(scanned(&bytes, EXPLICIT).unwrap().pixel_data.unwrap().fragments.len(), 1);
    let cut = &bytes[..bytes.len() - 1];
    assert!(matches!(scanned(cut, EXPLICIT), Err(Error::LengthBeyondEnd { declared: 4, available: 3, .. })));
}

#[test]
fn an_icon_is_not_taken_for_the_picture() {
    let icon = explicit(tags::PIXEL_DATA, "OW", &[7; 4]);
    let fragments = open_sequence(tags::PIXEL_DATA, "OB", &[item(&[]), item(&[1; 4])].concat());
    for icon in [icon, fragments] {
        let bytes = explicit(tags::ICON_IMAGE_SEQUENCE, "SQ", &item(&icon));
        let scan = scanned(&bytes, EXPLICIT).unwrap();
        assert_eq!(scan.pixel_data, None);
        assert!(
            scan.data_set.first_item(tags::ICON_IMAGE_SEQUENCE).unwrap().element(tags::PIXEL_DATA).is_some()
        );
    }
}

#[test]
fn long_values_are_passed_over() {
    let limits = Limits { value_bytes: 10, ..Limits::default() };
    let bytes = [explicit(tags::STUDY_DESCRIPTION, "LO", &[b'x'; 11]), rows()].concat();
    let scan = scan(Cursor::new(&bytes), bytes.len() as u64, EXPLICIT, &limits).unwrap();
    let value = &scan.data_set.element(tags::STUDY_DESCRIPTION).unwrap().value;
    assert_eq!(*value, Value::Omitted { length: 11 });
    assert_eq!(scan.data_set.integer(tags::ROWS), Some(512));
}

#[test]
fn lengths_that_lie_name_the_element_and_allocate_nothing() {
    for encoding in [EXPLICIT, Encoding::Deflated] {
        for vr in ["OB", "UT", "UN", "SQ"] {
            let lie = [modality(), lying(tags::TEXT_VALUE, vr, 0xFFFF_FFF0, b"abcde")].concat();
            let bytes = if encoding == EXPLICIT { lie } else { deflated(&lie) };
            let limits = Limits { value_bytes: u64::MAX, tree_bytes: u64::MAX, ..Limits::default() };
            let error = scan(Cursor::new(&bytes), bytes.len() as u64, encoding, &limits).unwrap_err();
            assert!(
                matches!(
                    error,
                    Error::LengthBeyondEnd { declared: 0xFFFF_FFF0, .. } | Error::Truncated { .. }
                ),
                "{encoding:?} {vr}: {error}"
            );
        }
    }
}

#[test]
fn a_value_that_leaves_its_item_is_a_lie() {
    let cut = item(&explicit(STEP_ID, "SH", b"S1")[..9]);
    let error = scanned(&open_sequence(REQUEST, "SQ", &cut), EXPLICIT).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Scheduled Procedure Step ID (0040,0009) declares 2 bytes, but only 1 follow"
    );
}

#[test]
fn a_sequence_of_known_length_that_contradicts_itself_costs_only_itself() {
    let cut = item(&explicit(STEP_ID, "SH", b"S1")[..9]);
    let too_long = lying(Tag(0xFFFE, 0xE000), "\u{10}\0", 0, b"");
    let inner = item(&[explicit(REQUEST, "SQ", &cut), explicit(STEP_ID, "SH", b"S2")].concat());
    for (content, tag) in [
        (cut, tags::SOURCE_IMAGE_SEQUENCE),
        (too_long, tags::SOURCE_IMAGE_SEQUENCE),
        (b"no items".to_vec(), tags::SOURCE_IMAGE_SEQUENCE),
        (inner, REQUEST),
    ] {
        let bytes = [explicit(tags::SOURCE_IMAGE_SEQUENCE, "SQ", &content), rows()].concat();
        let scan = scanned(&bytes, EXPLICIT).unwrap();
        assert_eq!(scan.damaged, [tag]);
        assert_eq!(scan.data_set.integer(tags::ROWS), Some(512), "{content:x?}");
        let item = scan.data_set.first_item(tags::SOURCE_IMAGE_SEQUENCE);
        assert_eq!(item.and_then(|item| item.text(STEP_ID)).as_deref(), (tag == REQUEST).then_some("S2"));
    }
    let deep = explicit(tags::SOURCE_IMAGE_SEQUENCE, "SQ", &item(&nested(64)));
    assert!(matches!(scanned(&deep, EXPLICIT), Err(Error::TooDeep { .. })), "nesting is no mere mistake");
}

#[test]
fn a_header_that_is_cut_says_where() {
    let bytes = [modality(), rows()[..5].to_vec()].concat();
    let error = scanned(&bytes, EXPLICIT).unwrap_err();
    assert_eq!(error.to_string(), "the data set is cut off after 15 bytes, behind Modality (0008,0060)");
}

fn nested(levels: usize) -> Vec<u8> {
    let open = lying(REQUEST, "SQ", 0xFFFF_FFFF, &[0xFE, 0xFF, 0x00, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF]);
    open.repeat(levels)
}

#[test]
fn sixty_four_levels_are_read_on_a_small_stack_and_one_more_is_refused() {
    let read = |levels| {
        let bytes = nested(levels);
        std::thread::Builder::new()
            .stack_size(512 * 1024)
            .spawn(move || scanned(&bytes, EXPLICIT).map(|scan| scan.data_set))
            .unwrap()
            .join()
            .unwrap()
    };
    let mut depth = 0;
    let whole = read(64).unwrap();
    let mut level = &whole;
    while let Some(inner) = level.first_item(REQUEST) {
        level = inner;
        depth += 1;
    }
    assert_eq!(depth, 64);
    for levels in [65, 3_200, 100_000] {
        assert!(matches!(read(levels), Err(Error::TooDeep { tag: REQUEST, limit: 64 })), "{levels}");
    }
}

#[test]
fn a_deflate_bomb_is_stopped_by_its_ratio_and_by_its_size() {
    let megabyte = explicit(tags::PIXEL_DATA, "OB", &vec![0; 64 << 20]);
    let bytes = deflated(&megabyte);
    let limits = Limits { inflate_ratio: 100, ..Limits::default() };
    let ratio = scan(Cursor::new(&bytes), bytes.len() as u64, Encoding::Deflated, &limits);
    assert!(
        matches!(ratio, Err(Error::InflatedTooLarge { inflated, .. }) if inflated < 18 << 20),
        "{ratio:?}"
    );
    let limits = Limits { inflated_bytes: 1 << 20, ..Limits::default() };
    let size = scan(Cursor::new(&bytes), bytes.len() as u64, Encoding::Deflated, &limits);
    assert!(matches!(size, Err(Error::InflatedTooLarge { inflated, .. }) if inflated < 2 << 20), "{size:?}");
    let limits = Limits { inflate_ratio: 2_000, ..Limits::default() };
    assert!(scan(Cursor::new(&bytes), bytes.len() as u64, Encoding::Deflated, &limits).is_ok());
}

#[test]
fn deflate_that_is_cut_or_none_is_refused() {
    let bytes = deflated(&[modality(), explicit(tags::PIXEL_DATA, "OB", &[5; 5000])].concat());
    let cut = &bytes[..bytes.len() - 4];
    assert!(matches!(scanned(cut, Encoding::Deflated), Err(Error::InflateTruncated)));
    assert!(matches!(scanned(&[0xFF; 100], Encoding::Deflated), Err(Error::Inflate)));
    let padded = [bytes, vec![0]].concat();
    assert!(scanned(&padded, Encoding::Deflated).is_ok());
}

#[test]
fn a_sequence_that_would_break_the_memory_limit_is_passed_over() {
    let step = explicit(STEP_ID, "SH", b"S1");
    let bytes = [explicit(REQUEST, "SQ", &item(&step).repeat(5_000)), rows()].concat();
    let limits = Limits { tree_bytes: 100_000, ..Limits::default() };
    let scan = scan(Cursor::new(&bytes), bytes.len() as u64, EXPLICIT, &limits).unwrap();
    assert_eq!(scan.data_set.element(REQUEST).unwrap().value, Value::Omitted { length: 5_000 * 18 });
    assert_eq!(scan.data_set.integer(tags::ROWS), Some(512));
}

#[test]
fn a_million_elements_stop_at_the_memory_limit_and_take_no_time() {
    let bytes = explicit(tags::MODALITY, "CS", b"").repeat(1_000_000);
    let limits = Limits { tree_bytes: 1 << 20, ..Limits::default() };
    let started = Instant::now();
    let scanned = scan(Cursor::new(&bytes), bytes.len() as u64, EXPLICIT, &limits);
    assert!(matches!(scanned, Err(Error::TooLarge { .. })));
    let fragments = [explicit(Tag(0x0008, 0x0008), "CS", b""), {
        lying(tags::PIXEL_DATA, "OB", 0xFFFF_FFFF, &item(&[]).repeat(1_000_000))
    }]
    .concat();
    let scanned = scan(Cursor::new(&fragments), fragments.len() as u64, EXPLICIT, &limits);
    assert!(matches!(scanned, Err(Error::TooLarge { .. })));
    assert!(started.elapsed().as_secs() < 5);
}

#[test]
fn offsets_count_from_where_the_source_stood() {
    let bytes = [vec![9; 33], explicit(tags::PIXEL_DATA, "OW", &[7; 4])].concat();
    let mut source = Cursor::new(&bytes);
    source.set_position(33);
    let scan = scan(source, bytes.len() as u64 - 33, EXPLICIT, &Limits::default()).unwrap();
    assert_eq!(scan.pixel_data.unwrap().offset, 12);
}
