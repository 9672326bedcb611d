//! From XML to the DICOM JSON Model. Of XML it takes what the model needs: no document type, and so no entities but
//! those of XML itself, no other elements. Text is what stands there; blanks between elements are nothing.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use dicom_core::{Tag, VR};
use quick_xml::events::BytesStart;
use serde_json::{Map, Value, json};

use super::{COMPONENTS, GROUPS, block, created_block, in_block};
use crate::dicom::dictionary;
use crate::dicom::json::{number, tag};
use crate::dicom::prescan::MAX_DEPTH;
use source::{Source, Token};

mod source;

/// Empty values that a document may have by leaving them out.
const MOST_LEFT_OUT: usize = 1 << 16;

/// Why something is no Native DICOM Model.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// XML has rules, and this is outside of them.
    #[error("it is not well-formed XML: {0}")]
    Malformed(String),
    /// Another encoding than UTF-8.
    #[error("its characters are not UTF-8")]
    Encoding,
    /// A document type declaration, which nobody needs here, and others have used for harm.
    #[error("it has a document type declaration")]
    DocumentType,
    /// Not one of the five of XML.
    #[error("it refers to an entity that is not one of XML's own")]
    Entity,
    /// An element or text that the model does not know, or not there.
    #[error("{found} cannot stand in {within}")]
    Misplaced {
        /// What it is.
        found: String,
        /// The element around it.
        within: String,
    },
    /// An XML attribute is missing, or makes no sense.
    #[error("{element} has no usable {attribute}")]
    Attribute {
        /// The element.
        element: String,
        /// Its attribute.
        attribute: &'static str,
    },
    /// More nesting than any real device writes.
    #[error("sequences are nested more than {MAX_DEPTH} deep")]
    TooDeep,
    /// An attribute of DICOM, or a value of one, is there twice.
    #[error("{0} is there twice")]
    Twice(String),
    /// Numbers that leave out more values than there are.
    #[error("too many values are left out")]
    LeftOut,
    /// No block of a group is left for a private creator.
    #[error("group {0:04X} has no block left for a private creator")]
    NoBlock(u16),
}

/// The object of the DICOM JSON Model that a document is. How long it may be is the caller's care; what comes of it is
/// not much longer.
///
/// # Errors
/// When it is no Native DICOM Model. Values are not looked at: numbers that are none are strings.
pub fn read(xml: &[u8]) -> Result<Value, Error> {
    let mut source = Source::new(xml)?;
    let root = match source.token()? {
        Token::Start(root) => root,
        token => return Err(token.misplaced("the document")),
    };
    if root.local_name().as_ref() != "NativeDicomModel" {
        return Err(Token::Start(root).misplaced("the document"));
    }
    let mut reading = Reading { source, left_out: 0 };
    let object = reading.data_set("NativeDicomModel", 0)?;
    loop {
        match reading.source.token()? {
            Token::Eof => return Ok(Value::Object(object)),
            Token::Text(text) if text.trim().is_empty() => {}
            token => return Err(token.misplaced("the document")),
        }
    }
}

struct Reading<'x> {
    source: Source<'x>,
    /// Values that were left out so far.
    left_out: usize,
}

/// An attribute and the creator of the block it is in, where its tag does not say the block.
struct Attribute {
    tag: Tag,
    creator: Option<String>,
    content: Map<String, Value>,
}

impl<'x> Reading<'x> {
    /// All attributes up to the end of the element they are in.
    fn data_set(&mut self, within: &str, depth: usize) -> Result<Map<String, Value>, Error> {
        if depth > MAX_DEPTH {
            return Err(Error::TooDeep);
        }
        let mut attributes = Vec::new();
        while let Some(start) = self.child(within)? {
            match start.local_name().as_ref() {
                "DicomAttribute" => attributes.push(self.attribute(&start, depth)?),
                _ => return Err(Token::Start(start).misplaced(within)),
            }
        }
        in_their_blocks(attributes)
    }

    /// The next element within another, or none at its end.
    fn child(&mut self, within: &str) -> Result<Option<BytesStart<'x>>, Error> {
        loop {
            match self.source.token()? {
                Token::Start(start) => return Ok(Some(start)),
                Token::End => return Ok(None),
                Token::Text(text) if text.trim().is_empty() => {}
                token => return Err(token.misplaced(within)),
            }
        }
    }

    fn attribute(&mut self, start: &BytesStart<'x>, depth: usize) -> Result<Attribute, Error> {
        let missing = |attribute| Error::Attribute { element: "DicomAttribute".to_owned(), attribute };
        let tag = self.source.attribute(start, "tag")?.and_then(|text| tag(&text).ok());
        let tag = tag.ok_or_else(|| missing("tag"))?;
        let creator = self.source.attribute(start, "privateCreator")?;
        let creator = creator.filter(|_| tag.group() % 2 == 1 && tag.element() < 0x0100);
        let vr: VR = match self.source.attribute(start, "vr")? {
            Some(text) => text.parse().map_err(|_| missing("vr"))?,
            None => {
                Some(dictionary::vr(tag, false)).filter(|vr| *vr != VR::UN).ok_or_else(|| missing("vr"))?
            }
        };
        let mut content = self.content(tag, vr, depth)?;
        content.insert("vr".to_owned(), vr.to_string().into());
        Ok(Attribute { tag, creator, content })
    }

    /// What an attribute has beside its VR.
    fn content(&mut self, tag: Tag, vr: VR, depth: usize) -> Result<Map<String, Value>, Error> {
        let within = format!("DicomAttribute {tag} of VR {vr}");
        let mut content = Map::new();
        let mut values = BTreeMap::new();
        while let Some(child) = self.child(&within)? {
            let name = child.local_name().as_ref().to_owned();
            let is_value = match name.as_str() {
                "Value" => vr != VR::SQ && vr != VR::PN,
                "PersonName" => vr == VR::PN,
                "Item" => vr == VR::SQ,
                _ => false,
            };
            let is_alone = content.is_empty() && values.is_empty();
            match name.as_str() {
                _ if is_value && content.is_empty() => {
                    let at = self.number(&child)?;
                    let value = self.value(&name, vr, depth)?;
                    if values.insert(at, value).is_some() {
                        return Err(Error::Twice(format!("{name} {at} of {tag}")));
                    }
                }
                "InlineBinary" if vr != VR::SQ && is_alone => {
                    let text = self.text(&name)?;
                    let text: String = text.split_ascii_whitespace().collect();
                    content.insert(name, text.into());
                }
                "BulkData" if vr != VR::SQ && is_alone => {
                    content.insert("BulkDataURI".to_owned(), self.bulk_data(&child)?.into());
                }
                _ => return Err(Token::Start(child).misplaced(&within)),
            }
        }
        let values = self.in_order(values, if vr == VR::SQ { json!({}) } else { Value::Null })?;
        if !values.is_empty() {
            content.insert("Value".to_owned(), Value::Array(values));
        }
        Ok(content)
    }

    fn number(&mut self, start: &BytesStart<'x>) -> Result<usize, Error> {
        let number = self.source.attribute(start, "number")?.and_then(|text| text.trim().parse().ok());
        number.filter(|&number| number > 0).ok_or_else(|| Error::Attribute {
            element: start.local_name().as_ref().to_owned(),
            attribute: "number",
        })
    }

    fn value(&mut self, name: &str, vr: VR, depth: usize) -> Result<Value, Error> {
        match vr {
            VR::SQ => Ok(Value::Object(self.data_set(name, depth + 1)?)),
            VR::PN => self.person_name(),
            vr => {
                let text = self.text(name)?;
                Ok(match number(vr, &text) {
                    _ if text.is_empty() => Value::Null,
                    Some(number) => Value::Number(number),
                    None => Value::String(text),
                })
            }
        }
    }

    fn person_name(&mut self) -> Result<Value, Error> {
        let mut groups = Map::new();
        while let Some(start) = self.child("PersonName")? {
            let name = start.local_name().as_ref().to_owned();
            // So it was called before 2013.
            let group = if name == "SingleByte" { GROUPS.first().copied() } else { Some(name.as_str()) };
            let Some(group) = group.filter(|group| GROUPS.contains(group)) else {
                return Err(Token::Start(start).misplaced("PersonName"));
            };
            let text = self.component_group(&name)?;
            if !text.is_empty() && groups.insert(group.to_owned(), text.into()).is_some() {
                return Err(Error::Twice(group.to_owned()));
            }
        }
        Ok(if groups.is_empty() { Value::Null } else { Value::Object(groups) })
    }

    /// The components with carets between them, up to the last one that is there.
    fn component_group(&mut self, within: &str) -> Result<String, Error> {
        let mut components = Vec::new();
        while let Some(start) = self.child(within)? {
            let name = start.local_name().as_ref().to_owned();
            let Some(at) = COMPONENTS.iter().position(|component| *component == name) else {
                return Err(Token::Start(start).misplaced(within));
            };
            let text = self.text(&name)?;
            components.resize(components.len().max(at + 1), None);
            match components.get_mut(at) {
                Some(place @ None) => *place = Some(text),
                _ => return Err(Error::Twice(name)),
            }
        }
        let components: Vec<String> = components.into_iter().map(Option::unwrap_or_default).collect();
        Ok(components.join("^"))
    }

    fn bulk_data(&mut self, start: &BytesStart<'x>) -> Result<String, Error> {
        let uri = self.source.attribute(start, "uri")?;
        let uuid = self.source.attribute(start, "uuid")?;
        let uri = uri.or_else(|| uuid.map(|uuid| format!("urn:uuid:{uuid}")));
        match self.child("BulkData")? {
            Some(child) => Err(Token::Start(child).misplaced("BulkData")),
            None => uri.ok_or(Error::Attribute { element: "BulkData".to_owned(), attribute: "uri" }),
        }
    }

    /// All text up to the end of the element it is in.
    fn text(&mut self, within: &str) -> Result<String, Error> {
        let mut all = String::new();
        loop {
            match self.source.token()? {
                Token::Text(text) => all.push_str(&text),
                Token::End => return Ok(all),
                token => return Err(token.misplaced(within)),
            }
        }
    }

    /// The values by their numbers; what has none is empty.
    fn in_order(&mut self, values: BTreeMap<usize, Value>, empty: Value) -> Result<Vec<Value>, Error> {
        let last = values.last_key_value().map_or(0, |(&last, _)| last);
        self.left_out = self.left_out.saturating_add(last.saturating_sub(values.len()));
        if self.left_out > MOST_LEFT_OUT {
            return Err(Error::LeftOut);
        }
        let mut all = Vec::with_capacity(last);
        for (number, value) in values {
            all.resize(number.saturating_sub(1), empty.clone());
            all.push(value);
        }
        // Of one value that is empty there is none.
        if matches!(all.as_slice(), [Value::Null]) {
            all.clear();
        }
        Ok(all)
    }
}

/// The attributes by their names. Where a creator stands for a block, that is the block it has in this data set, or gets.
fn in_their_blocks(attributes: Vec<Attribute>) -> Result<Map<String, Value>, Error> {
    let mut blocks: BTreeMap<(u16, String), u8> = BTreeMap::new();
    let mut taken: BTreeSet<(u16, u8)> = BTreeSet::new();
    for Attribute { tag, content, .. } in attributes.iter().filter(|one| one.creator.is_none()) {
        taken.extend(block(*tag).or(created_block(*tag)).map(|block| (tag.group(), block)));
        let values = content.get("Value").and_then(Value::as_array).map(Vec::as_slice);
        if let (Some(block), Some([Value::String(name)])) = (created_block(*tag), values) {
            let first = blocks.entry((tag.group(), name.clone())).or_insert(block);
            *first = block.min(*first);
        }
    }
    let mut all = Map::new();
    for Attribute { tag, creator, content } in attributes {
        let tag = match creator {
            None => tag,
            Some(name) => {
                let group = tag.group();
                let block = match blocks.entry((group, name)) {
                    Entry::Occupied(entry) => *entry.get(),
                    Entry::Vacant(entry) => {
                        let free = (0x10..=0xFF).find(|block| !taken.contains(&(group, *block)));
                        let block = free.ok_or(Error::NoBlock(group))?;
                        taken.insert((group, block));
                        let created = json!({ "vr": "LO", "Value": [entry.key().1] });
                        put(&mut all, Tag(group, u16::from(block)), created)?;
                        *entry.insert(block)
                    }
                };
                in_block(tag, block)
            }
        };
        put(&mut all, tag, Value::Object(content))?;
    }
    Ok(all)
}

fn put(all: &mut Map<String, Value>, tag: Tag, content: Value) -> Result<(), Error> {
    match all.insert(format!("{:04X}{:04X}", tag.group(), tag.element()), content) {
        None => Ok(()),
        Some(_) => Err(Error::Twice(tag.to_string())),
    }
}
