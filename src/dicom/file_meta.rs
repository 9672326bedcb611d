//! The head of a file (PS3.10 section 7.1): where its data set begins and in which transfer syntax it is written; and
//! the one we write.

use std::io::{self, Read, Seek, SeekFrom};

use dicom_core::VR;
use dicom_dictionary_std::uids;

use dicom_object::meta::FileMetaTableBuilder;

use super::implementation::{IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME};
use super::uid::{SopClassUid, SopInstanceUid, TransferSyntaxUid};

/// How much of a file is looked at for its meta information. Real ones have a few hundred bytes.
pub const LONGEST_META: u64 = 64 * 1024;

/// What stands before the data set of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileMeta {
    /// How the data set is written.
    pub transfer_syntax: TransferSyntaxUid,
    /// Where it begins, counted from the file's start.
    pub offset: u64,
    /// Media Storage SOP Class UID (0002,0002), where it is there.
    pub sop_class: Option<SopClassUid>,
    /// Media Storage SOP Instance UID (0002,0003), likewise.
    pub sop_instance: Option<SopInstanceUid>,
}

/// Preamble, prefix and group 0002 of a file that holds this instance, received from this AE.
pub fn head(
    sop_class: Option<&SopClassUid>,
    sop_instance: Option<&SopInstanceUid>,
    transfer_syntax: &TransferSyntaxUid,
    source_ae_title: &str,
) -> io::Result<Vec<u8>> {
    let mut head = vec![0u8; 128];
    head.extend_from_slice(b"DICM");
    FileMetaTableBuilder::new()
        .media_storage_sop_class_uid(sop_class.map_or("", SopClassUid::as_str))
        .media_storage_sop_instance_uid(sop_instance.map_or("", SopInstanceUid::as_str))
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

/// What stands before the data set of this file; see [`FileMeta::of`].
pub fn file_meta<R: Read + Seek>(mut file: R) -> Option<FileMeta> {
    file.seek(SeekFrom::Start(0)).ok()?;
    let mut head = Vec::new();
    file.take(LONGEST_META).read_to_end(&mut head).ok()?;
    FileMeta::of(&head)
}

impl FileMeta {
    /// By the first [`LONGEST_META`] bytes of a file, or all where it has fewer.
    ///
    /// Files without preamble, without meta information or without a transfer syntax in it are read too: the first
    /// elements show how they are written. `None` for what is no DICOM file.
    pub fn of(head: &[u8]) -> Option<FileMeta> {
        let start = match (head.get(128..132), head.get(..4)) {
            (Some(b"DICM"), _) => 132,
            (_, Some(b"DICM")) => 4,
            _ => 0,
        };
        let (said, length) = Said::read(head.get(start..)?)?;
        let offset = start + length;
        let transfer_syntax = match said.transfer_syntax {
            Some(uid) => uid,
            None => guessed(head.get(offset..)?)?,
        };
        let offset = u64::try_from(offset).ok()?;
        Some(FileMeta { transfer_syntax, offset, sop_class: said.sop_class, sop_instance: said.sop_instance })
    }
}

/// What group 0002 says.
#[derive(Default)]
struct Said {
    transfer_syntax: Option<TransferSyntaxUid>,
    sop_class: Option<SopClassUid>,
    sop_instance: Option<SopInstanceUid>,
}

impl Said {
    /// Walks over group 0002, explicit VR little endian, and finds its length too. The group length element is not
    /// believed: it is missing in some files and wrong in others.
    fn read(bytes: &[u8]) -> Option<(Said, usize)> {
        let mut said = Said::default();
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
            let text = str::from_utf8(bytes.get(from..to)?).unwrap_or_default();
            match u16::from_le_bytes([e, f]) {
                0x0002 => said.sop_class = text.parse().ok(),
                0x0003 => said.sop_instance = text.parse().ok(),
                0x0010 => said.transfer_syntax = text.parse().ok(),
                _ => {}
            }
            at = to;
        }
        Some((said, at))
    }
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
        let meta = file_meta(Cursor::new(parts.concat()));
        meta.map(|meta| (meta.transfer_syntax.to_string(), meta.offset))
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
