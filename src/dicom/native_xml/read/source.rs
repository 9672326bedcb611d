//! The tokens of an XML document, as far as the model has any.

use std::borrow::Cow;

use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use super::Error;

const VERSION: XmlVersion = XmlVersion::Implicit1_0;

/// What stands in a document.
pub(super) enum Token<'x> {
    Start(BytesStart<'x>),
    End,
    Text(Cow<'x, str>),
    Eof,
}

impl Token<'_> {
    /// It cannot be there.
    pub(super) fn misplaced(&self, within: &str) -> Error {
        let found = match self {
            Token::Start(start) => format!("an element {}", shortened(start.local_name().as_ref())),
            Token::End => "an end".to_owned(),
            Token::Text(_) => "text".to_owned(),
            Token::Eof => "the end of the document".to_owned(),
        };
        Error::Misplaced { found, within: within.to_owned() }
    }
}

/// A document on the way through it.
pub(super) struct Source<'x> {
    reader: Reader<&'x [u8]>,
    /// Whether the root element has begun.
    has_begun: bool,
}

impl<'x> Source<'x> {
    pub(super) fn new(xml: &'x [u8]) -> Result<Self, Error> {
        let text = str::from_utf8(xml).map_err(|_| Error::Encoding)?;
        let mut reader = Reader::from_str(text.trim_start_matches('\u{FEFF}'));
        reader.config_mut().expand_empty_elements = true;
        Ok(Source { reader, has_begun: false })
    }

    /// The next token. Comments and instructions are none, nor is what stands before the root element and is blank.
    pub(super) fn token(&mut self) -> Result<Token<'x>, Error> {
        loop {
            let event = self.reader.read_event().map_err(|err| Error::Malformed(err.to_string()))?;
            let text = match event {
                Event::Start(start) => {
                    self.has_begun = true;
                    return Ok(Token::Start(start));
                }
                Event::End(_) => return Ok(Token::End),
                Event::Eof => return Ok(Token::Eof),
                Event::Text(text) => text.xml_content(VERSION),
                Event::CData(text) => text.xml_content(VERSION),
                Event::GeneralRef(reference) => {
                    let c = reference.resolve_char_ref().map_err(|err| Error::Malformed(err.to_string()))?;
                    match c {
                        Some(c) => Cow::Owned(c.to_string()),
                        None => resolve_predefined_entity(&reference).ok_or(Error::Entity)?.into(),
                    }
                }
                Event::Decl(declaration) => {
                    let encoding = declaration.encoding().transpose();
                    let encoding = encoding.map_err(|err| Error::Malformed(err.to_string()))?;
                    if encoding.is_some_and(|encoding| !is_utf8(&encoding)) {
                        return Err(Error::Encoding);
                    }
                    continue;
                }
                Event::DocType(_) => return Err(Error::DocumentType),
                Event::Comment(_) | Event::PI(_) | Event::Empty(_) => continue,
            };
            if self.has_begun || !text.trim().is_empty() {
                return Ok(Token::Text(text));
            }
        }
    }

    /// The value of an attribute, by its name.
    pub(super) fn attribute(&self, start: &BytesStart<'x>, name: &str) -> Result<Option<String>, Error> {
        // One after the other is compared with one name, not with all before it.
        for attribute in start.attributes().with_checks(false) {
            let attribute = attribute.map_err(|err| Error::Malformed(err.to_string()))?;
            if attribute.key.as_ref() == name {
                let value = attribute.normalized_value(VERSION);
                return value.map(|value| Some(value.into_owned())).map_err(|_| Error::Entity);
            }
        }
        Ok(None)
    }
}

/// ASCII is UTF-8 too.
fn is_utf8(encoding: &str) -> bool {
    ["UTF-8", "US-ASCII", "ASCII"].iter().any(|known| encoding.eq_ignore_ascii_case(known))
}

fn shortened(name: &str) -> String {
    name.chars().take(64).collect()
}
