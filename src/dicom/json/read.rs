//! From the DICOM JSON Model to a data set in Explicit VR Little Endian, PS3.18 annex F: what a client sends as metadata
//! beside its bulk data (PS3.18 section 10.5.1).
//!
//! How long bulk data is, and whether it is encapsulated, only its owner knows. So the data set comes in pieces: bytes,
//! and between them what stands elsewhere, which [`Reference`] gives its element headers. Sequences and items have
//! undefined lengths, because of what may be in them. Text is UTF-8, whatever the object says of itself.

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use serde_json::{Map, Value};

use super::{ElementPath, tag};
use crate::dicom::dictionary;
use crate::dicom::prescan::header::UNDEFINED;
use crate::dicom::prescan::{MAX_DEPTH, named};
use crate::dicom::reencode::{Delimiter, Target, ValueHeader, delimiter, item};

#[cfg(test)]
mod tests;
mod value;

const UTF8: &str = "ISO_IR 192";

/// A data set in pieces, and what the object has beside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// One behind the other they are the data set.
    pub pieces: Vec<Piece>,
    /// Attributes of group 0002 with values that are text, a backslash between them. They are in no data set, but
    /// Transfer Syntax UID (0002,0010) says how bulk data of the pixels is compressed.
    pub file_meta: Vec<(Tag, String)>,
}

/// A part of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Elements, and of those around what stands elsewhere their beginnings and ends.
    Bytes(Vec<u8>),
    /// A whole element, whose value is to be got.
    BulkData(Reference),
}

/// An element whose value stands elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The element, and the items around it.
    pub path: ElementPath,
    /// Its VR, as the object says.
    pub vr: VR,
    /// Where its value is, as the object says.
    pub uri: String,
}

/// What stands before and behind bytes that are written as they come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Around {
    /// A header.
    pub before: Vec<u8>,
    /// Padding, or a delimiter.
    pub after: Vec<u8>,
}

/// Why an object is no data set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Something else than an object.
    #[error("{0} is no object of attributes")]
    NoObject(&'static str),
    /// A name that is no tag.
    #[error("{0:?} is no tag of eight hexadecimal digits")]
    NoTag(String),
    /// A command, or a delimiter.
    #[error("{0} cannot be in a data set")]
    Misplaced(Tag),
    /// Once in capital letters, for example, and once in small ones.
    #[error("{} is there twice", named(*.0))]
    Twice(Tag),
    /// No VR, or none that there is.
    #[error("{} has no usable vr", named(*.0))]
    NoVr(Tag),
    /// The value is not what the VR asks for.
    #[error("{} of VR {vr}: {why}", named(*.tag))]
    Value {
        /// The attribute.
        tag: Tag,
        /// Its VR.
        vr: VR,
        /// What is wrong.
        why: &'static str,
    },
    /// More bytes than an element can have.
    #[error("{} is {length} bytes long, which no element can be", named(*.tag))]
    TooLong {
        /// The attribute.
        tag: Tag,
        /// Of its value.
        length: u64,
    },
    /// More nesting than any real device writes.
    #[error("sequences are nested more than {MAX_DEPTH} deep at {}", named(*.0))]
    TooDeep(Tag),
}

/// The data set that an object is.
///
/// Specific Character Set is written as ISO_IR 192 where the object names any, and where its text needs it. Group
/// lengths are left out.
///
/// # Errors
/// When the object cannot be one. Text is taken as it is: whether it is a date is not asked here.
pub fn plan(object: &Value) -> Result<Plan, Error> {
    let object = object.as_object().ok_or(Error::NoObject("the data set"))?;
    let path = ElementPath { items: Vec::new(), tag: Tag(0, 0) };
    let mut writer = Writer { plan: Plan::default(), bytes: Vec::new(), path };
    writer.data_set(object)?;
    writer.flush();
    Ok(writer.plan)
}

impl Plan {
    /// Transfer Syntax UID (0002,0010), if the object has any.
    pub fn transfer_syntax_uid(&self) -> Option<&str> {
        let found = self.file_meta.iter().find(|(tag, _)| *tag == tags::TRANSFER_SYNTAX_UID);
        found.map(|(_, uid)| uid.as_str())
    }
}

impl Reference {
    /// What stands around a value of so many bytes, in little endian.
    ///
    /// # Errors
    /// [`Error::TooLong`].
    pub fn native(&self, length: u64) -> Result<Around, Error> {
        let mut before = Vec::with_capacity(12);
        let header = header(self.path.tag, self.vr, length)?;
        header.write(Target::ExplicitVrLittleEndian, &mut before);
        Ok(Around { before, after: header.padding().into_iter().collect() })
    }

    /// What stands around the fragments of an encapsulated value, whose first is an offset table, PS3.5 A.4. Each of
    /// them has its own around it: [`Around::fragment`].
    pub fn encapsulated(&self) -> Around {
        let (mut before, mut after) = (Vec::with_capacity(12), Vec::with_capacity(8));
        let header = ValueHeader { tag: self.path.tag, vr: VR::OB, length: UNDEFINED };
        header.write(Target::ExplicitVrLittleEndian, &mut before);
        delimiter(Delimiter::Sequence, &mut after);
        Around { before, after }
    }
}

impl Around {
    /// What stands around a fragment of so many bytes; `None` where it is too long for one.
    pub fn fragment(length: u64) -> Option<Around> {
        let padding = length % 2;
        let even = u32::try_from(length + padding).ok().filter(|&length| length < UNDEFINED)?;
        let mut before = Vec::with_capacity(8);
        item(even, &mut before);
        Some(Around { before, after: if padding == 1 { vec![0] } else { Vec::new() } })
    }
}

fn header(tag: Tag, vr: VR, length: u64) -> Result<ValueHeader, Error> {
    let fitting = u32::try_from(length).ok().filter(|&length| length < UNDEFINED);
    fitting.map(|length| ValueHeader { tag, vr, length }).ok_or(Error::TooLong { tag, length })
}

/// What an attribute has beside its VR.
enum Content<'v> {
    Values(&'v [Value]),
    Bytes(Vec<u8>),
    Elsewhere(&'v str),
}

struct Writer {
    plan: Plan,
    /// Written since the last piece.
    bytes: Vec<u8>,
    /// Where the writer stands.
    path: ElementPath,
}

impl Writer {
    fn data_set(&mut self, object: &Map<String, Value>) -> Result<(), Error> {
        let is_top = self.path.items.is_empty();
        let mut attributes = Vec::with_capacity(object.len() + 1);
        for (name, attribute) in object {
            let tag = tag(name).map_err(|_| Error::NoTag(name.chars().take(64).collect()))?;
            attributes.push((tag, attribute));
        }
        let charset = charset(object, is_top);
        if charset.is_some() && !object.contains_key("00080005") {
            attributes.push((tags::SPECIFIC_CHARACTER_SET, &Value::Null));
        }
        attributes.sort_by_key(|(tag, _)| *tag);
        let twice = attributes.iter().zip(attributes.iter().skip(1)).find(|(one, next)| one.0 == next.0);
        if let Some((&(twice, _), _)) = twice {
            return Err(Error::Twice(twice));
        }
        for (tag, attribute) in attributes {
            match (tag.group(), tag.element(), charset) {
                (0xFFFE, ..) => return Err(Error::Misplaced(tag)),
                (0, ..) if is_top => return Err(Error::Misplaced(tag)),
                (_, 0, _) => {}
                (2, ..) if is_top => self.file_meta(tag, attribute)?,
                (8, 5, Some(charset)) => self.element(tag, VR::CS, charset.as_bytes())?,
                _ => self.attribute(tag, attribute)?,
            }
        }
        Ok(())
    }

    fn file_meta(&mut self, tag: Tag, attribute: &Value) -> Result<(), Error> {
        // Bytes are not ours to keep there.
        if let (vr, Content::Values(values)) = parts(tag, attribute)?
            && let Ok(text) = String::from_utf8(encoded(tag, vr, values)?)
        {
            self.plan.file_meta.push((tag, text));
        }
        Ok(())
    }

    fn attribute(&mut self, tag: Tag, attribute: &Value) -> Result<(), Error> {
        self.path.tag = tag;
        let (vr, content) = parts(tag, attribute)?;
        match content {
            Content::Values(items) if vr == VR::SQ => self.sequence(tag, items),
            Content::Values(values) => self.element(tag, vr, &encoded(tag, vr, values)?),
            _ if vr == VR::SQ => Err(Error::Value { tag, vr, why: "it is not made of items" }),
            Content::Bytes(bytes) => self.element(tag, vr, &bytes),
            Content::Elsewhere(uri) => {
                self.flush();
                let reference = Reference { path: self.path.clone(), vr, uri: uri.to_owned() };
                self.plan.pieces.push(Piece::BulkData(reference));
                Ok(())
            }
        }
    }

    fn element(&mut self, tag: Tag, vr: VR, value: &[u8]) -> Result<(), Error> {
        let header = header(tag, vr, value.len() as u64)?;
        header.write(Target::ExplicitVrLittleEndian, &mut self.bytes);
        self.bytes.extend_from_slice(value);
        self.bytes.extend(header.padding());
        Ok(())
    }

    fn sequence(&mut self, tag: Tag, items: &[Value]) -> Result<(), Error> {
        if items.is_empty() {
            return self.element(tag, VR::SQ, &[]);
        }
        if self.path.items.len() >= MAX_DEPTH {
            return Err(Error::TooDeep(tag));
        }
        let header = ValueHeader { tag, vr: VR::SQ, length: UNDEFINED };
        header.write(Target::ExplicitVrLittleEndian, &mut self.bytes);
        for (number, object) in (1..).zip(items) {
            self.path.items.push((tag, number));
            item(UNDEFINED, &mut self.bytes);
            match object {
                // An item that is empty, as some say it.
                Value::Null => {}
                Value::Object(object) => self.data_set(object)?,
                _ => return Err(Error::Value { tag, vr: VR::SQ, why: "an item is no object" }),
            }
            delimiter(Delimiter::Item, &mut self.bytes);
            self.path.items.pop();
        }
        delimiter(Delimiter::Sequence, &mut self.bytes);
        Ok(())
    }

    fn flush(&mut self) {
        if !self.bytes.is_empty() {
            self.plan.pieces.push(Piece::Bytes(std::mem::take(&mut self.bytes)));
        }
    }
}

fn encoded(tag: Tag, vr: VR, values: &[Value]) -> Result<Vec<u8>, Error> {
    value::encode(vr, values).map_err(|why| Error::Value { tag, vr, why })
}

/// The VR of an attribute, and what it has beside.
fn parts(tag: Tag, attribute: &Value) -> Result<(VR, Content<'_>), Error> {
    let object = attribute.as_object().ok_or(Error::NoObject("an attribute"))?;
    let vr = match object.get("vr") {
        Some(Value::String(vr)) => vr.parse().ok(),
        Some(_) => None,
        None => Some(dictionary::vr(tag, false)).filter(|&vr| vr != VR::UN),
    };
    let vr = vr.ok_or(Error::NoVr(tag))?;
    let wrong = |why| Error::Value { tag, vr, why };
    let content = match (object.get("Value"), object.get("InlineBinary"), object.get("BulkDataURI")) {
        (None | Some(Value::Null), None, None) => Content::Values(&[]),
        (Some(Value::Array(values)), None, None) => Content::Values(values),
        (Some(_), None, None) => return Err(wrong("Value is no array")),
        (None, Some(Value::String(text)), None) => Content::Bytes(value::bytes(text).map_err(wrong)?),
        (None, Some(_), None) => return Err(wrong("InlineBinary is no text")),
        (None, None, Some(Value::String(uri))) => Content::Elsewhere(uri),
        (None, None, Some(_)) => return Err(wrong("BulkDataURI is no text")),
        _ => return Err(wrong("it has several values: Value, InlineBinary, BulkDataURI")),
    };
    Ok((vr, content))
}

/// What Specific Character Set is written as: it is kept empty where that is all that is said and needed. `None`: it is
/// not written, because none is named, or because that of what is around holds.
fn charset(object: &Map<String, Value>, is_top: bool) -> Option<&'static str> {
    match object.get("00080005").map(|attribute| attribute.get("Value").and_then(Value::as_array)) {
        Some(Some(values)) if values.iter().any(|value| !value.is_null()) => Some(UTF8),
        Some(_) => Some(if object.values().any(is_beyond_ascii) { UTF8 } else { "" }),
        None => (is_top && object.values().any(is_beyond_ascii)).then_some(UTF8),
    }
}

/// Whether there is text that needs a character set, outside of items that name one themselves.
fn is_beyond_ascii(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.is_ascii(),
        Value::Array(values) => values.iter().any(is_beyond_ascii),
        Value::Object(object) if object.contains_key("00080005") => false,
        Value::Object(object) => {
            object.iter().any(|(name, value)| name != "BulkDataURI" && is_beyond_ascii(value))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
