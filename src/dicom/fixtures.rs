//! Data sets for tests, token by token: well-formed ones and others.

use std::io::Write;

use dicom_core::Tag;
use flate2::Compression;
use flate2::write::DeflateEncoder;

fn group_and_element(tag: Tag) -> Vec<u8> {
    [tag.group().to_le_bytes(), tag.element().to_le_bytes()].concat()
}

/// An element in explicit VR little endian.
pub fn explicit(tag: Tag, vr: &str, value: &[u8]) -> Vec<u8> {
    let mut bytes = group_and_element(tag);
    bytes.extend(vr.as_bytes());
    if matches!(vr, "OB" | "OW" | "SQ" | "UN" | "UT" | "OV") {
        bytes.extend([0, 0]);
        bytes.extend((value.len() as u32).to_le_bytes());
    } else {
        bytes.extend((value.len() as u16).to_le_bytes());
    }
    bytes.extend(value);
    bytes
}

/// The same with a length that need not be true.
pub fn lying(tag: Tag, vr: &str, length: u32, value: &[u8]) -> Vec<u8> {
    let mut bytes = group_and_element(tag);
    bytes.extend(vr.as_bytes());
    bytes.extend([0, 0]);
    bytes.extend(length.to_le_bytes());
    bytes.extend(value);
    bytes
}

pub fn implicit(tag: Tag, value: &[u8]) -> Vec<u8> {
    [group_and_element(tag), (value.len() as u32).to_le_bytes().to_vec(), value.to_vec()].concat()
}

/// An item of defined length, also a fragment.
pub fn item(content: &[u8]) -> Vec<u8> {
    implicit(Tag(0xFFFE, 0xE000), content)
}

pub fn open_item(content: &[u8]) -> Vec<u8> {
    [&[0xFE, 0xFF, 0x00, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF], content, &[0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0]]
        .concat()
}

pub const SEQUENCE_END: [u8; 8] = [0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0];

pub fn open_sequence(tag: Tag, vr: &str, items: &[u8]) -> Vec<u8> {
    lying(tag, vr, 0xFFFF_FFFF, &[items, &SEQUENCE_END].concat())
}

pub fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
