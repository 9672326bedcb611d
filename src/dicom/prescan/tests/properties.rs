//! Whatever the bytes, a scan ends in a result and within its limits.

use proptest::prelude::*;

use super::*;

/// A data set with a little of everything.
fn sample() -> Vec<u8> {
    let step = explicit(STEP_ID, "SH", b"S1");
    let table = [0_u32, 12].map(u32::to_le_bytes).concat();
    [
        explicit(tags::SPECIFIC_CHARACTER_SET, "CS", b"\\ISO 2022 IR 87"),
        modality(),
        explicit(tags::PATIENT_NAME, "PN", b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B"),
        rows(),
        explicit(REQUEST, "SQ", &[item(&step), open_item(&step)].concat()),
        open_sequence(Tag(0x0029, 0x1010), "UN", &open_item(&implicit(STEP_ID, b"S1"))),
        open_sequence(tags::PIXEL_DATA, "OB", &[item(&table), item(&[1; 4]), item(&[2; 5])].concat()),
        explicit(Tag(0xFFFC, 0xFFFC), "OB", &[0; 6]),
    ]
    .concat()
}

fn memory(data_set: &DataSet) -> usize {
    data_set
        .elements()
        .iter()
        .map(|element| {
            size_of_val(element)
                + match &element.value {
                    Value::Bytes(bytes) => bytes.len(),
                    Value::Sequence(items) => items.iter().map(|item| size_of_val(item) + memory(item)).sum(),
                    Value::Omitted { .. } => 0,
                }
        })
        .sum()
}

fn encodings() -> impl Strategy<Value = Encoding> {
    prop::sample::select(vec![EXPLICIT, IMPLICIT, Encoding::ExplicitVrBigEndian, Encoding::Deflated])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_bytes_end_in_a_result_within_the_limits(bytes in prop::collection::vec(any::<u8>(), 0..2000), encoding in encodings()) {
        let limits = Limits { tree_bytes: 4096, value_bytes: 512, ..Limits::default() };
        if let Ok(scan) = scan(Cursor::new(&bytes), bytes.len() as u64, encoding, &limits) {
            prop_assert!(memory(&scan.data_set) <= 4096);
            for element in scan.data_set.elements() {
                scan.data_set.value_texts(element);
            }
        }
    }

    #[test]
    fn a_damaged_data_set_ends_in_a_result_within_the_limits(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
        encoding in encodings(),
    ) {
        let mut bytes = sample();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.index(bytes.len() * 2));
        if encoding == Encoding::Deflated {
            bytes = deflated(&bytes);
        }
        let limits = Limits { tree_bytes: 2048, value_bytes: 64, ..Limits::default() };
        if let Ok(scan) = scan(Cursor::new(&bytes), bytes.len() as u64, encoding, &limits) {
            prop_assert!(memory(&scan.data_set) <= 2048);
            if encoding != Encoding::Deflated {
                prop_assert!(scan.length <= bytes.len() as u64);
            }
            let pixels = scan.pixel_data.iter().flat_map(|pixel_data| &pixel_data.fragments);
            for fragment in pixels {
                prop_assert!(fragment.offset + u64::from(fragment.length) <= scan.length);
            }
        }
    }

    #[test]
    fn only_the_whole_of_a_data_set_gives_all_of_it(cut in 0..sample().len()) {
        let whole = scanned(&sample(), EXPLICIT).unwrap();
        if let Ok(part) = scanned(&sample()[..cut], EXPLICIT) {
            prop_assert!(part.data_set.elements().len() <= whole.data_set.elements().len());
            prop_assert!(whole.data_set.elements().starts_with(part.data_set.elements().split_last().map_or(&[], |(_, rest)| rest)));
        }
    }
}
