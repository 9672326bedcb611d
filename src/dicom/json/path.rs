//! The way to an element inside a data set, as the addresses of bulk data spell it.

use std::fmt;
use std::str::FromStr;

use dicom_core::Tag;

use crate::dicom::prescan::MAX_DEPTH;

/// An element, with the items around it: `00400275/1/00420011` is Encapsulated Document in the first item of Request
/// Attributes Sequence, `7FE00010` the Pixel Data of the instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ElementPath {
    /// From the data set inwards: a sequence, and which of its items, counted from 1 as PS3.5 section 7.5 counts.
    pub items: Vec<(Tag, u32)>,
    /// The element.
    pub tag: Tag,
}

/// Why a text is no path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not made of tags of eight hexadecimal digits with item numbers between them")]
pub struct InvalidPath;

impl fmt::Display for ElementPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (Tag(group, element), number) in &self.items {
            write!(f, "{group:04X}{element:04X}/{number}/")?;
        }
        write!(f, "{:04X}{:04X}", self.tag.group(), self.tag.element())
    }
}

impl FromStr for ElementPath {
    type Err = InvalidPath;

    fn from_str(text: &str) -> Result<Self, InvalidPath> {
        let mut parts = text.split('/');
        let mut path = ElementPath { items: Vec::new(), tag: tag(parts.next().unwrap_or_default())? };
        while let Some(number) = parts.next() {
            if path.items.len() >= MAX_DEPTH || !number.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(InvalidPath);
            }
            let number = number.parse().ok().filter(|&number| number > 0).ok_or(InvalidPath)?;
            path.items.push((path.tag, number));
            path.tag = tag(parts.next().unwrap_or_default())?;
        }
        Ok(path)
    }
}

/// A tag as eight hexadecimal digits.
pub(in crate::dicom) fn tag(text: &str) -> Result<Tag, InvalidPath> {
    let is_tag = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u32::from_str_radix(text, 16).ok().filter(|_| is_tag).ok_or(InvalidPath)?;
    let [a, b, c, d] = number.to_be_bytes();
    Ok(Tag(u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_as_it_is_written() {
        for text in ["7FE00010", "00400275/1/00420011", "00400275/12/00400275/3/0042FFFF"] {
            assert_eq!(text.parse::<ElementPath>().unwrap().to_string(), text);
        }
        assert_eq!("7fe00010".parse::<ElementPath>().unwrap().tag, Tag(0x7FE0, 0x0010));
    }

    #[test]
    fn what_is_no_path_is_refused() {
        let deep = "00400275/1/".repeat(MAX_DEPTH + 1) + "00420011";
        for text in [
            "",
            "/",
            "7FE0010",
            "+FE00010",
            "7FE00010/",
            "00400275/1",
            "00400275/1/",
            "00400275/0/00420011",
            "00400275/+1/00420011",
            "00400275/-1/00420011",
            "00400275/4294967296/00420011",
            "00400275//00420011",
            "PatientName",
            &deep,
        ] {
            assert_eq!(text.parse::<ElementPath>(), Err(InvalidPath), "{text}");
        }
    }
}
