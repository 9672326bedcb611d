//! What was found becomes the answer to an identifier: the elements it asked for in their order, in a character set that
//! the asker reads.

use dicom_core::VR;
use dicom_dictionary_std::tags;

use super::{Identifier, Return, Returned};
use crate::dicom::charset::Writing;
use crate::dicom::query::Level;
use crate::dicom::uid::Encoding;
use crate::dicom::writer::Writer;

impl Identifier {
    /// An answer: `values` has one text for each attribute that is [`wanted`](Identifier::wanted), several values with
    /// backslashes between, empty where there is none.
    pub fn answer(&self, values: &[String], retrieve_ae_title: &str, encoding: Encoding) -> Vec<u8> {
        let utf8 = Writing::utf8();
        let fits = values.iter().all(|value| value.is_ascii() || self.writing.encode(value).is_some());
        let writing = if fits { &self.writing } else { &utf8 };
        let answer = Answer { level: self.level, values, retrieve_ae_title, encoding, writing };
        let mut writer = Writer::new(encoding);
        if !writing.value().is_empty() {
            writer.put(tags::SPECIFIC_CHARACTER_SET, writing.value().as_bytes());
        }
        answer.write(&mut writer, &self.returns);
        writer.finish()
    }
}

/// What an answer is written from.
struct Answer<'a> {
    level: Level,
    values: &'a [String],
    retrieve_ae_title: &'a str,
    encoding: Encoding,
    writing: &'a Writing,
}

impl Answer<'_> {
    fn write(&self, writer: &mut Writer, returns: &[Return]) {
        for Return { tag, vr, value } in returns {
            match value {
                Returned::Held(at) => {
                    let value = self.values.get(*at).map(String::as_str).unwrap_or_default();
                    writer.put_as(*tag, *vr, &self.bytes(*vr, value));
                }
                Returned::Level => writer.put_as(*tag, *vr, self.level.as_str().as_bytes()),
                Returned::RetrieveAeTitle => writer.put_as(*tag, *vr, self.retrieve_ae_title.as_bytes()),
                Returned::Availability => writer.put_as(*tag, *vr, b"ONLINE"),
                Returned::Item(elements) if self.is_empty(elements) => writer.put_sequence(*tag, []),
                Returned::Item(elements) => {
                    let mut item = Writer::new(self.encoding);
                    self.write(&mut item, elements);
                    writer.put_sequence(*tag, [item]);
                }
                Returned::Nothing if *vr == VR::SQ => writer.put_sequence(*tag, []),
                Returned::Nothing => writer.put_as(*tag, *vr, b""),
            }
        }
    }

    fn bytes(&self, vr: VR, value: &str) -> Vec<u8> {
        match vr {
            VR::US => value.parse::<u16>().map(|number| number.to_le_bytes().to_vec()).unwrap_or_default(),
            // Whether everything fits was looked at before.
            _ => self.writing.encode(value).unwrap_or_default(),
        }
    }

    fn is_empty(&self, elements: &[Return]) -> bool {
        elements.iter().all(|element| match element.value {
            Returned::Held(at) => self.values.get(at).is_none_or(String::is_empty),
            _ => true,
        })
    }
}
