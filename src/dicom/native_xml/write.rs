//! From the text of the DICOM JSON Model, as [`json`](crate::dicom::json) writes it, to XML. It is read and written in
//! one go, so numbers keep the digits they have.

use std::borrow::Cow;
use std::fmt;
use std::io::Write;

use dicom_core::Tag;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{COMPONENTS, GROUPS, NAMESPACE, block, created_block, in_block};
use crate::dicom::prescan::MAX_DEPTH;
use crate::dicom::{dictionary, json};

/// No real data set becomes a document that long, bytes.
const LONGEST: usize = 256 << 20;

/// Appends to `out` the XML document of a data set, whose text in the DICOM JSON Model this is, with its attributes in
/// ascending order.
///
/// # Errors
/// When it is no such text, or the document would be too long. Nothing is appended then.
pub fn write(object: &[u8], out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    write_within(LONGEST, object, out)
}

/// The same, with a limit of the document's length.
pub(super) fn write_within(limit: usize, object: &[u8], out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    let start = out.len();
    let longest = start.saturating_add(limit);
    let mut source = serde_json::Deserializer::from_slice(object);
    // Depth is limited by `DataSet`.
    source.disable_recursion_limit();
    out.extend_from_slice(b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    open(out, "NativeDicomModel", &[("xmlns", NAMESPACE), ("xml:space", "preserve")]);
    let written = DataSet { out, longest, depth: 0 }.deserialize(&mut source).and_then(|()| source.end());
    match written {
        Ok(()) => close(out, "NativeDicomModel"),
        Err(_) => out.truncate(start),
    }
    written
}

/// A data set: an object with an attribute for each name.
struct DataSet<'o> {
    out: &'o mut Vec<u8>,
    /// What `out` may be long.
    longest: usize,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for DataSet<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, source: D) -> Result<(), D::Error> {
        if self.depth > MAX_DEPTH {
            return Err(D::Error::custom(format!("sequences are nested more than {MAX_DEPTH} deep")));
        }
        source.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for DataSet<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a data set")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut attributes: M) -> Result<(), M::Error> {
        let mut creators = Vec::new();
        while let Some(name) = attributes.next_key::<Cow<'de, str>>()? {
            let tag = json::tag(&name).map_err(M::Error::custom)?;
            let (longest, depth) = (self.longest, self.depth);
            let attribute = Attribute { out: self.out, longest, depth, tag, creators: &mut creators };
            attributes.next_value_seed(attribute)?;
        }
        Ok(())
    }
}

/// The creator of a block of a group.
struct Creator {
    group: u16,
    block: u8,
    name: String,
}

/// An attribute: an object with a VR and perhaps a value.
struct Attribute<'o, 'c> {
    out: &'o mut Vec<u8>,
    longest: usize,
    depth: usize,
    tag: Tag,
    /// Those of the data set that came before.
    creators: &'c mut Vec<Creator>,
}

impl<'de> DeserializeSeed<'de> for Attribute<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, source: D) -> Result<(), D::Error> {
        source.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Attribute<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an attribute")
    }

    fn visit_map<M: MapAccess<'de>>(mut self, mut members: M) -> Result<(), M::Error> {
        let mut vr: Option<Cow<'de, str>> = None;
        // What comes before the VR can only be read when that is known.
        let mut early: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::new();
        while let Some(name) = members.next_key::<Cow<'de, str>>()? {
            match &vr {
                _ if name == "vr" => {
                    let said: Cow<'de, str> = members.next_value()?;
                    self.begin(&said);
                    vr = Some(said);
                }
                Some(vr) => members.next_value_seed(Member { attribute: &mut self, name: &name, vr })?,
                None => early.push((name, members.next_value()?)),
            }
        }
        let vr = vr.ok_or_else(|| M::Error::custom("an attribute without vr"))?;
        for (name, value) in early {
            let mut source = serde_json::Deserializer::from_str(value.get());
            source.disable_recursion_limit();
            let member = Member { attribute: &mut self, name: &name, vr: &vr };
            member.deserialize(&mut source).map_err(M::Error::custom)?;
        }
        close(self.out, "DicomAttribute");
        is_within(self.out, self.longest)
    }
}

/// What an attribute has beside its VR.
struct Member<'a, 'o, 'c> {
    attribute: &'a mut Attribute<'o, 'c>,
    name: &'a str,
    vr: &'a str,
}

impl<'de> DeserializeSeed<'de> for Member<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, source: D) -> Result<(), D::Error> {
        let attribute = self.attribute;
        match (self.name, self.vr) {
            ("Value", "SQ") => {
                let Attribute { out, longest, depth, .. } = attribute;
                Items { out, longest: *longest, depth: *depth }.deserialize(source)?;
            }
            ("Value", "PN") => {
                let names: Vec<Option<Name>> = Deserialize::deserialize(source)?;
                for (at, name) in names.iter().enumerate() {
                    attribute.person_name(at + 1, name.as_ref());
                    is_within(attribute.out, attribute.longest)?;
                }
            }
            ("Value", _) => attribute.values(&Vec::<&RawValue>::deserialize(source)?)?,
            ("InlineBinary", _) => element(attribute.out, "InlineBinary", &String::deserialize(source)?),
            ("BulkDataURI", _) => {
                empty(attribute.out, "BulkData", &[("uri", &String::deserialize(source)?)]);
            }
            _ => {
                IgnoredAny::deserialize(source)?;
            }
        }
        Ok(())
    }
}

impl Attribute<'_, '_> {
    fn begin(&mut self, vr: &str) {
        let tag = self.tag;
        let creator = block(tag).and_then(|block| {
            let name = &self.creators.iter().find(|one| (one.group, one.block) == (tag.group(), block))?.name;
            // Of two blocks of one creator the name tells the first.
            let first = self.creators.iter().find(|one| one.group == tag.group() && one.name == *name)?;
            Some((first.block == block, name.as_str()))
        });
        let shown = if creator.is_some_and(|(is_first, _)| is_first) { in_block(tag, 0) } else { tag };
        let shown = format!("{:04X}{:04X}", shown.group(), shown.element());
        let mut attributes = vec![("tag", shown.as_str()), ("vr", vr)];
        let keyword = dictionary::keyword(tag).filter(|_| tag.group().is_multiple_of(2));
        attributes.extend(keyword.map(|keyword| ("keyword", keyword)));
        attributes.extend(creator.map(|(_, name)| ("privateCreator", name)));
        open(self.out, "DicomAttribute", &attributes);
    }

    fn values<E: serde::de::Error>(&mut self, values: &[&RawValue]) -> Result<(), E> {
        for (at, value) in values.iter().enumerate() {
            let text = match value.get() {
                "null" => Cow::Borrowed(""),
                text if text.starts_with('"') => {
                    Cow::Owned(serde_json::from_str::<String>(text).map_err(E::custom)?)
                }
                number => Cow::Borrowed(number),
            };
            numbered(self.out, "Value", at + 1, &text);
            is_within(self.out, self.longest)?;
            if let Some(block) = created_block(self.tag)
                && values.len() == 1
                && !text.is_empty()
            {
                let name = text.into_owned();
                self.creators.push(Creator { group: self.tag.group(), block, name });
            }
        }
        Ok(())
    }

    fn person_name(&mut self, number: usize, name: Option<&Name>) {
        let number = number.to_string();
        open(self.out, "PersonName", &[("number", &number)]);
        let groups = name.map(|name| [&name.alphabetic, &name.ideographic, &name.phonetic]);
        for (group, text) in GROUPS.iter().zip(groups.into_iter().flatten()) {
            if let Some(text) = text {
                open(self.out, group, &[]);
                // Also those that are empty: their carets were there.
                for (component, text) in COMPONENTS.iter().zip(text.splitn(COMPONENTS.len(), '^')) {
                    element(self.out, component, text);
                }
                close(self.out, group);
            }
        }
        close(self.out, "PersonName");
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Name {
    alphabetic: Option<String>,
    ideographic: Option<String>,
    phonetic: Option<String>,
}

/// The items of a sequence.
struct Items<'o> {
    out: &'o mut Vec<u8>,
    longest: usize,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Items<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, source: D) -> Result<(), D::Error> {
        source.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("items")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut items: S) -> Result<(), S::Error> {
        for number in 1_u64.. {
            let start = self.out.len();
            open(self.out, "Item", &[("number", &number.to_string())]);
            let data_set = DataSet { out: self.out, longest: self.longest, depth: self.depth + 1 };
            if items.next_element_seed(data_set)?.is_none() {
                self.out.truncate(start);
                break;
            }
            close(self.out, "Item");
            is_within(self.out, self.longest)?;
        }
        Ok(())
    }
}

fn is_within<E: serde::de::Error>(out: &[u8], longest: usize) -> Result<(), E> {
    match out.len() <= longest {
        true => Ok(()),
        false => Err(E::custom("the document is longer than filmroom writes")),
    }
}

fn open(out: &mut Vec<u8>, name: &str, attributes: &[(&str, &str)]) {
    start(out, name, attributes);
    out.extend_from_slice(b">");
}

fn empty(out: &mut Vec<u8>, name: &str, attributes: &[(&str, &str)]) {
    start(out, name, attributes);
    out.extend_from_slice(b"/>");
}

fn start(out: &mut Vec<u8>, name: &str, attributes: &[(&str, &str)]) {
    out.push(b'<');
    out.extend_from_slice(name.as_bytes());
    for (name, value) in attributes {
        out.push(b' ');
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"=\"");
        text(value, out);
        out.push(b'"');
    }
}

fn close(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b"</");
    out.extend_from_slice(name.as_bytes());
    out.push(b'>');
}

fn numbered(out: &mut Vec<u8>, name: &str, number: usize, value: &str) {
    // A vector takes whatever is written.
    let _ = write!(out, "<{name} number=\"{number}\">");
    text(value, out);
    close(out, name);
}

fn element(out: &mut Vec<u8>, name: &str, value: &str) {
    open(out, name, &[]);
    text(value, out);
    close(out, name);
}

/// Writes text so that a parser gives it back, in an element and in an attribute: it would take a line end for another,
/// and in an attribute for a blank.
fn text(value: &str, out: &mut Vec<u8>) {
    let mut buffer = [0; 4];
    for c in value.chars() {
        let written = match c {
            '<' => "&lt;",
            '>' => "&gt;",
            '&' => "&amp;",
            '"' => "&quot;",
            '\t' => "&#9;",
            '\n' => "&#10;",
            '\r' => "&#13;",
            // XML 1.0 section 2.2.
            '\0'..='\u{1F}' | '\u{FFFE}' | '\u{FFFF}' => "\u{FFFD}",
            c => c.encode_utf8(&mut buffer),
        };
        out.extend_from_slice(written.as_bytes());
    }
}
