//! From the values of a data set to what fits a column.

use chrono::{NaiveDate, NaiveTime};
use dicom_core::Tag;
use dicom_dictionary_std::tags;
use sha2::{Digest, Sha256};

use super::Error;
use crate::dicom::data_set::DataSet;
use crate::dicom::person_name::PersonName;
use crate::dicom::{uid, value};

/// Columns for codes, short texts, descriptions and names, characters.
pub(super) const CODE: usize = 16;
pub(super) const SHORT: usize = 64;
pub(super) const LONG: usize = 255;
pub(super) const NAME: usize = 324;
pub(super) const FOLDED: usize = 1000;

/// The UID of this attribute; `None` where it is absent or empty.
pub(super) fn uid_of<T: std::str::FromStr<Err = uid::Invalid>>(
    set: &DataSet,
    tag: Tag,
) -> Result<Option<T>, Error> {
    match set.text(tag).map(|text| text.parse()) {
        None | Some(Err(uid::Invalid::Empty)) => Ok(None),
        Some(Ok(uid)) => Ok(Some(uid)),
        Some(Err(reason)) => Err(Error::UnusableUid { tag, reason }),
    }
}

/// A UID made of what is known, the same for the same: 2.25 and 128 bits of a hash, as PS3.5 B.2 makes them of UUIDs.
pub(super) fn stand_in<T: std::str::FromStr<Err = uid::Invalid>>(
    tag: Tag,
    known: &[&str],
) -> Result<T, Error> {
    let [bits @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = hash(known);
    let number = u128::from_be_bytes(bits);
    format!("2.25.{number}").parse().map_err(|reason| Error::UnusableUid { tag, reason })
}

/// SHA-256 over texts; a zero byte, which none of them holds, ends each.
pub(super) fn hash(texts: &[&str]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for text in texts {
        hasher.update(text.as_bytes());
        hasher.update([0]);
    }
    hasher.finalize().into()
}

/// The beginning of an identifier that the column cannot hold as it is, and a hash of all of it, so that two people
/// never become one.
pub(super) fn told_apart(text: &str, whole: &[u8]) -> String {
    let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(Sha256::digest(whole));
    format!("{}…{}", cut(text, 47), hex::encode([a, b, c, d, e, f, g, h]))
}

pub(super) fn cut(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}

/// The first value, at most so many characters. Control characters, which no page and no query can show, become
/// U+FFFD.
pub(super) fn text(set: &DataSet, tag: Tag, characters: usize) -> String {
    clean(&set.text(tag).unwrap_or_default(), characters)
}

pub(super) fn clean(text: &str, characters: usize) -> String {
    let shown = text.chars().map(|c| match c {
        '\t' | '\n' | '\r' => c,
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    });
    shown.take(characters).collect()
}

/// All values, a backslash between them.
pub(super) fn all(set: &DataSet, tag: Tag, characters: usize) -> String {
    clean(&set.texts(tag).join("\\"), characters)
}

pub(super) fn either(set: &DataSet, tag: Tag, otherwise: Tag, characters: usize) -> String {
    clean(&set.text(tag).or_else(|| set.text(otherwise)).unwrap_or_default(), characters)
}

pub(super) fn folded(set: &DataSet, tag: Tag) -> String {
    cut(&PersonName::parse(&text(set, tag, FOLDED)).folded(), FOLDED)
}

pub(super) fn date(set: &DataSet, tag: Tag) -> Option<NaiveDate> {
    value::date(&set.text(tag)?)
}

pub(super) fn time(set: &DataSet, tag: Tag) -> Option<NaiveTime> {
    value::time(&set.text(tag)?)
}

pub(super) fn number(set: &DataSet, tag: Tag) -> Option<f64> {
    set.number(tag).filter(|number| number.is_finite())
}

pub(super) fn integer(set: &DataSet, tag: Tag) -> Option<i32> {
    set.integer(tag).and_then(|number| i32::try_from(number).ok())
}

pub(super) fn unsigned(set: &DataSet, tag: Tag) -> Option<u32> {
    set.integer(tag).and_then(|number| u32::try_from(number).ok())
}

/// Modality in ASCII capitals. A comma would part it in `modalities_in_study`.
pub(super) fn modality(set: &DataSet) -> String {
    let text = set.text(tags::MODALITY).unwrap_or_default();
    let ascii = text.chars().filter(|&c| c.is_ascii_graphic() && c != ',' || c == ' ');
    let capitals: String = ascii.map(|c| c.to_ascii_uppercase()).take(CODE).collect();
    capitals.trim().to_owned()
}

/// How far along the normal of its plane an image lies, PS3.3 C.7.6.2.1.1.
pub(super) fn slice_position(set: &DataSet) -> Option<f64> {
    let position = set.numbers(tags::IMAGE_POSITION_PATIENT);
    let orientation = set.numbers(tags::IMAGE_ORIENTATION_PATIENT);
    let (&[x, y, z], &[a, b, c, d, e, f]) = (position.as_slice(), orientation.as_slice()) else {
        return None;
    };
    let along = x * (b * f - c * e) + y * (c * d - a * f) + z * (a * e - b * d);
    along.is_finite().then_some(along)
}

pub(super) fn document_title(set: &DataSet) -> String {
    let meaning = || {
        set.first_item(tags::CONCEPT_NAME_CODE_SEQUENCE).and_then(|concept| concept.text(tags::CODE_MEANING))
    };
    let title = set.text(tags::DOCUMENT_TITLE).or_else(meaning).or_else(|| set.text(tags::CONTENT_LABEL));
    clean(&title.unwrap_or_default(), LONG)
}
