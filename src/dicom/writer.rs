//! Data sets that this program makes itself: queries, answers, reports. Little endian, with or without the value
//! representation in writing (PS3.5 section 7.1), elements in the order they are put in, which is the caller's care.

use dicom_core::{Tag, VR};

use super::dictionary;
use super::uid::Encoding;

const ITEM: Tag = Tag(0xFFFE, 0xE000);

/// A data set being written. Values are bytes in the character set that the data set names.
#[derive(Debug, Clone)]
pub struct Writer {
    explicit: bool,
    bytes: Vec<u8>,
}

impl Writer {
    /// An empty data set, explicit or implicit; big endian and deflated are read and not written.
    pub fn new(encoding: Encoding) -> Writer {
        Writer { explicit: encoding != Encoding::ImplicitVrLittleEndian, bytes: Vec::with_capacity(512) }
    }

    /// Puts an element with the value representation the dictionary gives its tag.
    pub fn put(&mut self, tag: Tag, value: &[u8]) {
        self.put_as(tag, dictionary::vr(tag, false), value);
    }

    /// Puts an element, padded to an even length: UIDs and bytes with a NUL, text with a blank.
    pub fn put_as(&mut self, tag: Tag, vr: VR, value: &[u8]) {
        let is_odd = value.len() % 2 == 1;
        self.header(tag, vr, value.len() + usize::from(is_odd));
        self.bytes.extend_from_slice(value);
        if is_odd {
            self.bytes.push(if matches!(vr, VR::UI | VR::OB | VR::UN) { 0 } else { b' ' });
        }
    }

    /// Puts a sequence of items that are whole data sets of the same encoding.
    pub fn put_sequence(&mut self, tag: Tag, items: impl IntoIterator<Item = Writer>) {
        let mut content = Vec::new();
        for item in items {
            content.extend_from_slice(&ITEM.group().to_le_bytes());
            content.extend_from_slice(&ITEM.element().to_le_bytes());
            content.extend_from_slice(&length(item.bytes.len()).to_le_bytes());
            content.extend_from_slice(&item.bytes);
        }
        self.header(tag, VR::SQ, content.len());
        self.bytes.extend_from_slice(&content);
    }

    /// The data set.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }

    fn header(&mut self, tag: Tag, vr: VR, value_length: usize) {
        self.bytes.extend_from_slice(&tag.group().to_le_bytes());
        self.bytes.extend_from_slice(&tag.element().to_le_bytes());
        if !self.explicit {
            self.bytes.extend_from_slice(&length(value_length).to_le_bytes());
            return;
        }
        match u16::try_from(value_length) {
            Ok(short) if !has_long_length(vr) => {
                self.bytes.extend(vr.to_bytes());
                self.bytes.extend_from_slice(&short.to_le_bytes());
            }
            _ => {
                // A value too long for its VR, such as a list of a thousand UIDs, is of VR UN: PS3.5 section 6.2.2.
                let vr = if has_long_length(vr) { vr } else { VR::UN };
                self.bytes.extend(vr.to_bytes());
                self.bytes.extend_from_slice(&[0, 0]);
                self.bytes.extend_from_slice(&length(value_length).to_le_bytes());
            }
        }
    }
}

/// PS3.5 section 7.1.2: these have two bytes of nothing and a length of four.
fn has_long_length(vr: VR) -> bool {
    matches!(
        vr,
        VR::OB
            | VR::OD
            | VR::OF
            | VR::OL
            | VR::OV
            | VR::OW
            | VR::SQ
            | VR::SV
            | VR::UC
            | VR::UN
            | VR::UR
            | VR::UT
            | VR::UV
    )
}

/// What is written is in memory and far below 4 GiB.
fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::prescan::{self, Limits};
    use dicom_dictionary_std::tags;

    #[test]
    fn a_value_too_long_for_its_vr_is_of_unknown_vr_and_breaks_nothing_behind_it() {
        let uids = vec!["1.2.840.10008.1234567890.1234567890.1234567890.1234567890.1"; 1200].join("\\");
        let mut writer = Writer::new(Encoding::ExplicitVrLittleEndian);
        writer.put(tags::FAILED_SOP_INSTANCE_UID_LIST, uids.as_bytes());
        writer.put(tags::PATIENT_ID, b"P1");
        let bytes = writer.finish();
        assert_eq!(bytes.get(4..6), Some(&b"UN"[..]));
        let limits = Limits {
            depth: 4,
            value_bytes: 1 << 20,
            tree_bytes: 1 << 20,
            inflated_bytes: 0,
            inflate_ratio: 1,
        };
        let length = bytes.len() as u64;
        let scan =
            prescan::scan(std::io::Cursor::new(bytes), length, Encoding::ExplicitVrLittleEndian, &limits);
        let data_set = scan.expect("a data set").data_set;
        assert_eq!(data_set.text(tags::PATIENT_ID).as_deref(), Some("P1"));
        let read = data_set.bytes(tags::FAILED_SOP_INSTANCE_UID_LIST).expect("a value");
        assert_eq!(read.get(..uids.len()), Some(uids.as_bytes()));
    }

    #[test]
    fn what_is_written_is_read_again_in_both_encodings() {
        for encoding in [Encoding::ExplicitVrLittleEndian, Encoding::ImplicitVrLittleEndian] {
            let mut item = Writer::new(encoding);
            item.put(tags::REFERENCED_SOP_INSTANCE_UID, b"1.2.3");
            let mut writer = Writer::new(encoding);
            writer.put(tags::PATIENT_NAME, b"Doe^Jane");
            writer.put(tags::PATIENT_ID, b"odd");
            writer.put(tags::NUMBER_OF_FRAMES, b"12");
            writer.put_sequence(tags::REFERENCED_SOP_SEQUENCE, [item]);
            let bytes = writer.finish();

            let length = u64::try_from(bytes.len()).unwrap();
            let scan =
                prescan::scan(std::io::Cursor::new(bytes), length, encoding, &Limits::default()).unwrap();

            let set = scan.data_set;
            assert_eq!(set.text(tags::PATIENT_NAME).as_deref(), Some("Doe^Jane"));
            assert_eq!(set.text(tags::PATIENT_ID).as_deref(), Some("odd"));
            let items = set.items(tags::REFERENCED_SOP_SEQUENCE);
            assert_eq!(items[0].text(tags::REFERENCED_SOP_INSTANCE_UID).as_deref(), Some("1.2.3"));
        }
    }
}
