//! Data sets in the DICOM JSON Model, PS3.18 annex F.
//!
//! The text is made while the data set is read, in whatever encoding that is, and nothing that is bulk data is read at
//! all: it is passed over, and its place is taken by an address ([`ElementPath`]), under which [`bulk_data`] finds it
//! again. Text is UTF-8, and so says Specific Character Set (F.2). Group lengths and file meta information are left
//! out (F.2.2). Whatever can be read becomes JSON: a value that contradicts its VR is a string or InlineBinary.
//! The other way is [`read`].

use std::io::{Read, Seek};

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

pub use self::bulk::{BulkData, Place, bulk_data};
use self::object::Objects;
pub(super) use self::path::tag;
pub use self::path::{ElementPath, InvalidPath};
pub(super) use self::value::number;
use self::walk::{Event, Value, Walk};
use super::charset::CharacterSet;
use super::dictionary;
use super::prescan::{Encoding, Error};
use super::reencode::is_pixel_data;

mod bulk;
mod object;
mod path;
pub mod read;
#[cfg(test)]
mod tests;
mod value;
mod walk;

/// Longer values of OB, OD, OF, OL, OV, OW and UN are bulk data, bytes.
const LONGEST_INLINE: u64 = 1024;

/// Longer values of every VR are: nobody sends such a text.
const LONGEST_VALUE: u64 = 4 << 20;

/// No real data set becomes a text that long.
const LONGEST_TEXT: u64 = 256 << 20;

/// Appends to `out` the DICOM JSON Model object of the data set in `length` bytes of `source`, from where it stands.
///
/// The attributes `added`, each with its values as text and a backslash between them, take the place of those that are
/// there: RetrieveURL, Available Transfer Syntax UID. Long binary values, and Pixel Data of any length, are given as
/// the address that `bulk_data_uri` makes of their path.
///
/// # Errors
/// Those of [`prescan`](super::prescan): what passes there can be written. Nothing is appended then.
pub fn write<R: Read + Seek>(
    source: R,
    length: u64,
    encoding: Encoding,
    added: &[(Tag, String)],
    bulk_data_uri: impl FnMut(&ElementPath) -> String,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    write_within(LONGEST_TEXT, source, length, encoding, added, bulk_data_uri, out)
}

/// The same, with a limit of the text's length.
fn write_within<R: Read + Seek>(
    limit: u64,
    source: R,
    length: u64,
    encoding: Encoding,
    added: &[(Tag, String)],
    bulk_data_uri: impl FnMut(&ElementPath) -> String,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let start = out.len();
    let mut added: Vec<(Tag, &str)> = added.iter().map(|(tag, text)| (*tag, text.as_str())).collect();
    added.sort_by_key(|&(tag, _)| std::cmp::Reverse(tag));
    let replaced = added.iter().map(|&(tag, _)| tag).collect();
    let written = Walk::new(source, length, encoding, replaced).and_then(|walk| {
        let objects = Objects::new(out);
        Writer { walk, objects, charsets: Vec::new(), added, bulk_data_uri, start, limit }.run()
    });
    if written.is_err() {
        out.truncate(start);
    }
    written
}

struct Writer<'s, 'o, F> {
    walk: Walk<'s>,
    objects: Objects<'o>,
    /// Of the data set and of each open item.
    charsets: Vec<CharacterSet>,
    /// Those not yet written, the next one last.
    added: Vec<(Tag, &'s str)>,
    bulk_data_uri: F,
    /// Where the text begins.
    start: usize,
    limit: u64,
}

impl<F: FnMut(&ElementPath) -> String> Writer<'_, '_, F> {
    fn run(mut self) -> Result<(), Error> {
        self.begin_data_set();
        loop {
            match self.walk.next()? {
                Event::Value(value) => self.value(value)?,
                Event::Encapsulated(value) => {
                    self.put_added(Some(value.tag), value.is_top);
                    self.bulk_data(value);
                }
                Event::Fragment(_) => {}
                Event::Sequence(tag) => {
                    self.put_added(Some(tag), self.charsets.len() == 1);
                    self.objects.attribute(tag, VR::SQ);
                }
                Event::Item => self.item(),
                Event::ItemEnd => {
                    self.charsets.pop();
                    self.objects.end();
                }
                Event::SequenceEnd => {
                    // Without items there is no array (F.2.5).
                    let text: &[u8] = if self.objects.out.ends_with(b"}") { b"]}" } else { b"}" };
                    self.objects.out.extend_from_slice(text);
                }
                Event::End => {
                    self.put_added(None, true);
                    self.objects.end();
                    return Ok(());
                }
            }
            if self.objects.out.len().saturating_sub(self.start) as u64 > self.limit {
                return Err(Error::TooLarge { limit: self.limit });
            }
        }
    }

    fn begin_data_set(&mut self) {
        self.charsets.push(self.charsets.last().copied().unwrap_or_default());
        self.objects.begin();
    }

    fn item(&mut self) {
        let is_first = self.walk.path().items.last().is_none_or(|&(_, number)| number == 1);
        let text: &[u8] = if is_first { b",\"Value\":[" } else { b"," };
        self.objects.out.extend_from_slice(text);
        self.begin_data_set();
    }

    fn value(&mut self, value: Value) -> Result<(), Error> {
        self.put_added(Some(value.tag), value.is_top);
        let is_bulk = match value.vr {
            _ if is_pixel_data(value.tag) && value.is_top => value.length > 0,
            // Who may look at metadata may not take every document away.
            _ if value.tag == tags::ENCAPSULATED_DOCUMENT && value.is_top => value.length > 0,
            vr if value::is_binary(vr) => value.length > LONGEST_INLINE,
            _ => value.length > LONGEST_VALUE,
        };
        if is_bulk {
            self.bulk_data(value);
            return Ok(());
        }
        let Some(bytes) = self.walk.take()? else { return Ok(()) };
        self.objects.attribute(value.tag, value.vr);
        let charset = self.charsets.last_mut();
        if value.tag == tags::SPECIFIC_CHARACTER_SET
            && let Some(charset) = charset
        {
            *charset = CharacterSet::from_value(&bytes);
            let declared: &[u8] = if bytes.is_empty() { b"" } else { b"ISO_IR 192" };
            value::texts(VR::CS, declared, *charset, self.objects.out);
        } else {
            let charset = charset.map(|charset| *charset).unwrap_or_default();
            value::write(value.vr, bytes, value.big_endian, charset, self.objects.out);
        }
        self.objects.out.push(b'}');
        Ok(())
    }

    fn bulk_data(&mut self, value: Value) {
        self.objects.attribute(value.tag, value.vr);
        let uri = (self.bulk_data_uri)(self.walk.path());
        value::write_bulk_data_uri(&uri, self.objects.out);
        self.objects.out.push(b'}');
    }

    /// Writes the added attributes whose place is before what follows in the data set, or all that are left.
    fn put_added(&mut self, before: Option<Tag>, is_top: bool) {
        while let Some((tag, text)) =
            self.added.pop_if(|next| is_top && before.is_none_or(|before| next.0 < before))
        {
            let vr = dictionary::vr(tag, false);
            self.objects.attribute(tag, vr);
            value::texts(vr, text.as_bytes(), CharacterSet::from_value(b"ISO_IR 192"), self.objects.out);
            self.objects.out.push(b'}');
        }
    }
}
