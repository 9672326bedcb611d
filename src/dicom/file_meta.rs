//! The head of a file (PS3.10 section 7.1): where its data set begins and in which transfer syntax it is written; and
//! the one we write.

use std::io::{self, Read, Seek, SeekFrom};

use dicom_core::{Tag, VR};
use dicom_dictionary_std::uids;

use dicom_object::meta::FileMetaTableBuilder;

use super::implementation::{IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME};
use super::uid::{SopClassUid, SopInstanceUid, TransferSyntaxUid};

/// How much of a file is looked at for its meta information. Real ones have a few hundred bytes.
const LONGEST_META: u64 = 64 * 1024;

/// Preamble, prefix and group 0002 of a file that holds this instance, received from this AE.
pub fn head(
    sop_class: &SopClassUid,
    sop_instance: &SopInstanceUid,
    transfer_syntax: &TransferSyntaxUid,
    source_ae_title: &str,
) -> io::Result<Vec<u8>> {
    let mut head = vec![0u8; 128];
    head.extend_from_slice(b"DICM");
    FileMetaTableBuilder::new()
        .media_storage_sop_class_uid(sop_class.as_str())
        .media_storage_sop_instance_uid(sop_instance.as_str())
        .transfer_syntax(transfer_syntax.as_str())
        .implementation_class_uid(IMPLEMENTATION_CLASS_UID)
        .implementation_version_name(IMPLEMENTATION_VERSION_NAME)
        .source_application_entity_title(source_ae_title)
        .build()
        .map_err(io::Error::other)?
        .write(&mut head)
        .map_err(io::Error::other)?;
    Ok(head)
}

/// Where the data set begins in this file, counted from the file's start, and its transfer syntax.
///
/// Files without preamble, without meta information or without a transfer syntax in it are opened too: the first
/// elements show how they are written. `None` for what is no DICOM file, or cannot be read.
pub fn file_meta<R: Read + Seek>(mut file: R) -> Option<(TransferSyntaxUid, u64)> {
    file.seek(SeekFrom::Start(0)).ok()?;
    let mut head = Vec::new();
    file.take(LONGEST_META).read_to_end(&mut head).ok()?;
    let start = match (head.get(128..132), head.get(..4)) {
        (Some(b"DICM"), _) => 132,
        (_, Some(b"DICM")) => 4,
        _ => 0,
    };
    let (declared, length) = meta_elements(head.get(start..)?)?;
    let offset = start + length;
    let transfer_syntax = match declared {
        Some(uid) => uid,
        None => guessed(head.get(offset..)?)?,
    };
    Some((transfer_syntax, offset as u64))
}

/// Walks over group 0002, explicit VR little endian, and finds the transfer syntax and the group's length. The group
/// length element is not believed: it is missing in some files and wrong in others.
fn meta_elements(bytes: &[u8]) -> Option<(Option<TransferSyntaxUid>, usize)> {
    let mut transfer_syntax = None;
    let mut at = 0;
    while let Some(&[2, 0, e, f, first, second, g, h]) =
        bytes.get(at..at + 8).and_then(|header| header.first_chunk())
    {
        let (length, size) = match VR::from_binary([first, second]) {
            Some(VR::OB | VR::UN | VR::UT | VR::OW | VR::SQ) => {
                (u32::from_le_bytes(*bytes.get(at + 8..)?.first_chunk()?), 12)
            }
            Some(_) => (u32::from(u16::from_le_bytes([g, h])), 8),
            None => (u32::from_le_bytes([first, second, g, h]), 8),
        };
        let from = at + size;
        let to = from.checked_add(usize::try_from(length).ok()?)?;
        let value = bytes.get(from..to)?;
        if Tag(2, u16::from_le_bytes([e, f])) == Tag(2, 0x10) {
            transfer_syntax = str::from_utf8(value).ok().and_then(|text| text.parse().ok());
        }
        at = to;
    }
    Some((transfer_syntax, at))
}

/// The transfer syntax by the look of the first element, whose group is 0008 in every data set of a composite
/// instance, and may be 0004 or 0010 elsewhere.
fn guessed(data_set: &[u8]) -> Option<TransferSyntaxUid> {
    let &[a, b, _, _, first, second, ..] = data_set.first_chunk::<8>()?;
    let has_vr = VR::from_binary([first, second]).is_some();
    let plausible = |group: u16| (1..=0x0020).contains(&group);
    let uid = if plausible(u16::from_le_bytes([a, b])) {
        if has_vr { uids::EXPLICIT_VR_LITTLE_ENDIAN } else { uids::IMPLICIT_VR_LITTLE_ENDIAN }
    } else if plausible(u16::from_be_bytes([a, b])) && has_vr {
        super::uid::EXPLICIT_VR_BIG_ENDIAN
    } else {
        return None;
    };
    uid.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    const EXPLICIT: &[u8] = b"\x08\x00\x60\x00CS\x02\x00CT";
    const IMPLICIT: &[u8] = b"\x08\x00\x60\x00\x02\x00\x00\x00CT";
    const BIG_ENDIAN: &[u8] = b"\x00\x08\x00\x60CS\x00\x02CT";
    const META: &[u8] =
        b"\x02\x00\x01\x00OB\0\0\x02\0\0\0\x00\x01\x02\x00\x10\x00UI\x14\x001.2.840.10008.1.2.1\0";

    fn opened(parts: &[&[u8]]) -> Option<(String, u64)> {
        file_meta(Cursor::new(parts.concat())).map(|(uid, offset)| (uid.to_string(), offset))
    }

    #[test]
    fn a_file_of_part_10_says_its_transfer_syntax() {
        let start = 132 + META.len() as u64;
        assert_eq!(
            opened(&[&[0; 128], b"DICM", META, EXPLICIT]),
            Some(("1.2.840.10008.1.2.1".into(), start))
        );
    }

    #[test]
    fn without_preamble_or_meta_information_the_first_element_tells() {
        assert_eq!(opened(&[META, EXPLICIT]), Some(("1.2.840.10008.1.2.1".into(), META.len() as u64)));
        assert_eq!(opened(&[EXPLICIT]), Some(("1.2.840.10008.1.2.1".into(), 0)));
        assert_eq!(opened(&[IMPLICIT]), Some(("1.2.840.10008.1.2".into(), 0)));
        assert_eq!(opened(&[BIG_ENDIAN]), Some(("1.2.840.10008.1.2.2".into(), 0)));
        assert_eq!(opened(&[&[0; 128], b"DICM", IMPLICIT]), Some(("1.2.840.10008.1.2".into(), 132)));
    }

    #[test]
    fn what_is_no_dicom_file_is_none() {
        for bytes in [&b""[..], b"GIF89a______", b"\x89PNG\r\n\x1a\n", &[0; 200], b"DICM", &META[..20]] {
            assert_eq!(opened(&[bytes]), None, "{bytes:?}");
        }
    }
}
