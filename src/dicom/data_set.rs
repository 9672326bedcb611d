//! A data set in memory (PS3.5 section 7): elements in file order with their bytes as received, and typed access to
//! their values. [`crate::dicom::prescan`] makes them; sizes and depth were bounded there.

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

use super::charset::CharacterSet;
use super::{dictionary, value};

/// Elements in file order, with what is needed to understand their bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct DataSet {
    elements: Vec<Element>,
    /// Every tag is greater than the one before, so that a tag can be searched for by halves.
    ascending: bool,
    charset: CharacterSet,
    big_endian: bool,
}

/// One data element.
#[derive(Debug, Clone, PartialEq)]
pub struct Element {
    /// The attribute.
    pub tag: Tag,
    /// As the data set says it; from the dictionary where the data set does not say it.
    pub vr: VR,
    /// The value.
    pub value: Value,
}

/// The value of an element.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// The bytes as received, padding and byte order included.
    Bytes(Vec<u8>),
    /// The items of a sequence.
    Sequence(Vec<DataSet>),
    /// Not kept: Pixel Data, or longer than the caller's limit.
    Omitted {
        /// Bytes of the value; for encapsulated pixel data of all its fragments.
        length: u64,
    },
}

/// How many values of a long binary element are shown to a person.
const SHOWN_VALUES: usize = 64;

impl Default for DataSet {
    fn default() -> Self {
        Self::new(CharacterSet::default(), false)
    }
}

impl DataSet {
    /// An empty data set that inherits its character set and byte order.
    pub fn new(charset: CharacterSet, big_endian: bool) -> Self {
        Self { elements: Vec::new(), ascending: true, charset, big_endian }
    }

    /// A little endian data set of these elements; its character set is the one they name.
    pub fn of(elements: impl IntoIterator<Item = Element>) -> Self {
        let mut data_set = Self::default();
        for element in elements {
            data_set.push(element);
        }
        data_set
    }

    /// Adds an element at the end. A Specific Character Set holds from here on.
    pub fn push(&mut self, element: Element) {
        if element.tag == tags::SPECIFIC_CHARACTER_SET
            && let Value::Bytes(bytes) = &element.value
        {
            self.charset = CharacterSet::from_value(bytes);
        }
        self.ascending = self.ascending && self.elements.last().is_none_or(|last| last.tag < element.tag);
        self.elements.push(element);
    }

    /// The character set in force at the end of the data set.
    pub fn charset(&self) -> CharacterSet {
        self.charset
    }

    /// Whether binary values are big endian.
    pub fn is_big_endian(&self) -> bool {
        self.big_endian
    }

    /// All elements in file order.
    pub fn elements(&self) -> &[Element] {
        &self.elements
    }

    /// The (first) element with this tag.
    pub fn element(&self, tag: Tag) -> Option<&Element> {
        if self.ascending {
            let at = self.elements.binary_search_by(|element| element.tag.cmp(&tag)).ok()?;
            self.elements.get(at)
        } else {
            self.elements.iter().find(|element| element.tag == tag)
        }
    }

    /// The first value as text, decoded, without padding; `None` if absent or empty.
    pub fn text(&self, tag: Tag) -> Option<String> {
        self.texts(tag).into_iter().next().filter(|text| !text.is_empty())
    }

    /// All values as text, decoded, without padding. Values may be empty; an empty element has none.
    pub fn texts(&self, tag: Tag) -> Vec<String> {
        match self.element(tag) {
            Some(Element { vr, value: Value::Bytes(bytes), .. }) if !bytes.is_empty() => {
                self.decoded(known_vr(tag, *vr), bytes, usize::MAX)
            }
            _ => Vec::new(),
        }
    }

    /// All values as numbers, whatever numeric representation they have. A value that is no number ends the list, so
    /// that positions in it keep their meaning.
    pub fn numbers(&self, tag: Tag) -> Vec<f64> {
        let Some(Element { vr, value: Value::Bytes(bytes), .. }) = self.element(tag) else {
            return Vec::new();
        };
        let vr = known_vr(tag, *vr);
        match numeric(vr) {
            Some(kind) => kind.values(bytes, self.big_endian).map(Number::as_f64).collect(),
            None => self.texts(tag).iter().map_while(|text| value::decimal(text)).collect(),
        }
    }

    /// The first value as a number.
    pub fn number(&self, tag: Tag) -> Option<f64> {
        let Element { vr, value: Value::Bytes(bytes), .. } = self.element(tag)? else {
            return None;
        };
        match numeric(known_vr(tag, *vr)) {
            Some(kind) => kind.values(bytes, self.big_endian).next().map(Number::as_f64),
            None => value::decimal(&self.text(tag)?),
        }
    }

    /// The first value as a whole number; the fraction some devices write is cut off.
    pub fn integer(&self, tag: Tag) -> Option<i64> {
        let Element { vr, value: Value::Bytes(bytes), .. } = self.element(tag)? else {
            return None;
        };
        match numeric(known_vr(tag, *vr)) {
            Some(kind) => kind.values(bytes, self.big_endian).next().and_then(Number::as_i64),
            None => value::integer(&self.text(tag)?),
        }
    }

    /// The value as received; `None` for sequences and for what was not kept.
    pub fn bytes(&self, tag: Tag) -> Option<&[u8]> {
        match &self.element(tag)?.value {
            Value::Bytes(bytes) => Some(bytes),
            Value::Sequence(_) | Value::Omitted { .. } => None,
        }
    }

    /// The value as 16-bit words in the order of this machine, whatever the VR. An odd last byte is left out.
    pub fn words(&self, tag: Tag) -> Vec<u16> {
        let order = if self.big_endian { u16::from_be_bytes } else { u16::from_le_bytes };
        let (words, _) = self.bytes(tag).unwrap_or_default().as_chunks::<2>();
        words.iter().map(|&word| order(word)).collect()
    }

    /// The items of a sequence; none if it is absent.
    pub fn items(&self, tag: Tag) -> &[DataSet] {
        match self.element(tag) {
            Some(Element { value: Value::Sequence(items), .. }) => items,
            _ => &[],
        }
    }

    /// The first item of a sequence.
    pub fn first_item(&self, tag: Tag) -> Option<&DataSet> {
        self.items(tag).first()
    }

    /// An element of this data set as a person reads it. Long binary values are cut, and say so.
    pub fn value_texts(&self, element: &Element) -> Vec<String> {
        match &element.value {
            Value::Bytes(bytes) => self.decoded(known_vr(element.tag, element.vr), bytes, SHOWN_VALUES),
            Value::Sequence(items) if items.len() == 1 => vec!["1 item".to_owned()],
            Value::Sequence(items) => vec![format!("{} items", items.len())],
            Value::Omitted { length } => vec![format!("{length} bytes")],
        }
    }

    fn decoded(&self, vr: VR, bytes: &[u8], most: usize) -> Vec<String> {
        if bytes.is_empty() {
            return Vec::new();
        }
        if let Some(kind) = numeric(vr) {
            return cut(kind.values(bytes, self.big_endian).map(|number| number.to_string()), most);
        }
        match vr {
            VR::ST | VR::LT | VR::UT | VR::UR => {
                vec![self.charset.decode(bytes).trim_end_matches(is_padding).to_owned()]
            }
            VR::AT => cut(attribute_tags(bytes, self.big_endian), most),
            VR::OB | VR::OD | VR::OF | VR::OL | VR::OV | VR::OW => vec![hexadecimal(bytes)],
            VR::UN if !is_readable(bytes) => vec![hexadecimal(bytes)],
            _ => {
                let values = self.charset.decode_values(bytes);
                values.into_iter().map(|text| text.trim_matches(is_padding).to_owned()).collect()
            }
        }
    }
}

fn is_padding(c: char) -> bool {
    matches!(c, ' ' | '\0')
}

/// The first `most` of the values, and how many there are if that is more.
fn cut(mut values: impl Iterator<Item = String>, most: usize) -> Vec<String> {
    let mut texts: Vec<String> = values.by_ref().take(most).collect();
    let rest = values.count();
    if rest > 0 {
        texts.push(format!("… ({} values)", texts.len() + rest));
    }
    texts
}

/// UN says nothing; for an attribute of the standard the dictionary does, PS3.5 section 6.2.2 note 5.
fn known_vr(tag: Tag, vr: VR) -> VR {
    if vr == VR::UN { dictionary::vr(tag, false) } else { vr }
}

/// Attribute tags, each two 16-bit numbers in the byte order of the data set.
fn attribute_tags(bytes: &[u8], big_endian: bool) -> impl Iterator<Item = String> {
    let (tags, _) = bytes.as_chunks::<4>();
    let order = if big_endian { u16::from_be_bytes } else { u16::from_le_bytes };
    tags.iter().map(move |&[a, b, c, d]| Tag(order([a, b]), order([c, d])).to_string())
}

/// Whether bytes of unknown kind look like text.
fn is_readable(bytes: &[u8]) -> bool {
    let text = match bytes {
        [text @ .., 0] => text,
        text => text,
    };
    !text.is_empty() && text.iter().all(|&byte| matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~'))
}

fn hexadecimal(bytes: &[u8]) -> String {
    const SHOWN_BYTES: usize = 32;
    let mut text = String::new();
    for (at, byte) in bytes.iter().take(SHOWN_BYTES).enumerate() {
        let gap = if at == 0 { "" } else { " " };
        text.push_str(&format!("{gap}{byte:02X}"));
    }
    if bytes.len() > SHOWN_BYTES {
        text.push_str(&format!(" … ({} bytes)", bytes.len()));
    }
    text
}

/// The binary numeric representations of PS3.5 table 6.2-1.
#[derive(Clone, Copy)]
pub(super) enum Numeric {
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F32,
    F64,
}

/// How the numbers of this VR are stored; `None` where they are not binary.
pub(super) fn numeric(vr: VR) -> Option<Numeric> {
    Some(match vr {
        VR::US => Numeric::U16,
        VR::SS => Numeric::I16,
        VR::UL => Numeric::U32,
        VR::SL => Numeric::I32,
        VR::UV => Numeric::U64,
        VR::SV => Numeric::I64,
        VR::FL => Numeric::F32,
        VR::FD => Numeric::F64,
        _ => return None,
    })
}

impl Numeric {
    /// The numbers in these bytes; what is left over at the end is no number.
    pub(super) fn values(self, bytes: &[u8], big_endian: bool) -> impl Iterator<Item = Number> {
        let width = match self {
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        };
        bytes.chunks_exact(width).map(move |chunk| {
            let bits = if big_endian {
                chunk.iter().fold(0_u64, |bits, &byte| bits << 8 | u64::from(byte))
            } else {
                chunk.iter().rev().fold(0_u64, |bits, &byte| bits << 8 | u64::from(byte))
            };
            self.number(bits)
        })
    }

    /// The number whose bits stand at the low end of `bits`: the narrowing here takes exactly those bits.
    fn number(self, bits: u64) -> Number {
        match self {
            Self::U16 | Self::U32 | Self::U64 => Number::Unsigned(bits),
            Self::I16 => Number::Signed(i64::from(bits as u16 as i16)),
            Self::I32 => Number::Signed(i64::from(bits as u32 as i32)),
            Self::I64 => Number::Signed(bits as i64),
            Self::F32 => Number::Single(f32::from_bits(bits as u32)),
            Self::F64 => Number::Double(f64::from_bits(bits)),
        }
    }
}

#[derive(Clone, Copy)]
pub(super) enum Number {
    Unsigned(u64),
    Signed(i64),
    Single(f32),
    Double(f64),
}

impl Number {
    pub(super) fn as_f64(self) -> f64 {
        match self {
            Self::Unsigned(number) => number as f64,
            Self::Signed(number) => number as f64,
            Self::Single(number) => f64::from(number),
            Self::Double(number) => number,
        }
    }

    fn as_i64(self) -> Option<i64> {
        match self {
            Self::Unsigned(number) => i64::try_from(number).ok(),
            Self::Signed(number) => Some(number),
            Self::Single(number) => value::whole(f64::from(number)),
            Self::Double(number) => value::whole(number),
        }
    }
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unsigned(number) => number.fmt(f),
            Self::Signed(number) => number.fmt(f),
            Self::Single(number) => number.fmt(f),
            Self::Double(number) => number.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(tag: Tag, vr: VR, bytes: &[u8]) -> Element {
        Element { tag, vr, value: Value::Bytes(bytes.to_vec()) }
    }

    #[test]
    fn padding_is_trimmed_and_an_empty_value_is_no_text() {
        let data_set = DataSet::of([
            element(tags::STUDY_ID, VR::SH, b" 17 "),
            element(tags::STUDY_INSTANCE_UID, VR::UI, b"1.2.3\0"),
            element(tags::ACCESSION_NUMBER, VR::SH, b"  "),
        ]);
        assert_eq!(data_set.text(tags::STUDY_ID).as_deref(), Some("17"));
        assert_eq!(data_set.text(tags::STUDY_INSTANCE_UID).as_deref(), Some("1.2.3"));
        assert_eq!(data_set.text(tags::ACCESSION_NUMBER), None);
        assert_eq!(data_set.text(tags::PATIENT_ID), None);
    }

    #[test]
    fn elements_out_of_order_are_still_found() {
        let data_set = DataSet::of([
            element(tags::STUDY_ID, VR::SH, b"1"),
            element(tags::MODALITY, VR::CS, b"CT"),
            element(tags::PATIENT_ID, VR::LO, b"x"),
        ]);
        for tag in [tags::STUDY_ID, tags::MODALITY, tags::PATIENT_ID] {
            assert!(data_set.element(tag).is_some(), "{tag}");
        }
        assert_eq!(data_set.text(tags::MODALITY).as_deref(), Some("CT"));
    }

    #[test]
    fn numbers_of_every_representation_are_numbers() {
        let tag = Tag(0x0029, 0x1010);
        let numbers = |vr, bytes: &[u8]| DataSet::of([element(tag, vr, bytes)]).numbers(tag);
        assert_eq!(numbers(VR::DS, b"1.5\\-2e1 \\ 3"), [1.5, -20.0, 3.0]);
        assert_eq!(numbers(VR::IS, b"7\\x\\9"), [7.0]);
        assert_eq!(numbers(VR::US, &[1, 2, 3]), [513.0]);
        assert_eq!(numbers(VR::SS, &[0xFF, 0xFF]), [-1.0]);
        assert_eq!(numbers(VR::SL, &[0xFE, 0xFF, 0xFF, 0xFF]), [-2.0]);
        assert_eq!(numbers(VR::FL, &1.5_f32.to_le_bytes()), [1.5]);
        assert_eq!(numbers(VR::FD, &2.5_f64.to_le_bytes()), [2.5]);
        assert_eq!(numbers(VR::UV, &7_u64.to_le_bytes()), [7.0]);
        assert_eq!(numbers(VR::US, &[]), [0.0; 0]);
    }

    #[test]
    fn big_endian_numbers_and_words_are_turned() {
        let mut data_set = DataSet::new(CharacterSet::default(), true);
        data_set.push(element(tags::ROWS, VR::US, &[1, 0]));
        assert_eq!(data_set.integer(tags::ROWS), Some(256));
        assert_eq!(data_set.words(tags::ROWS), [256]);
    }

    #[test]
    fn a_value_of_unknown_representation_is_read_by_the_dictionary() {
        let data_set = DataSet::of([element(tags::ROWS, VR::UN, &[0, 2])]);
        assert_eq!(data_set.integer(tags::ROWS), Some(512));
    }

    #[test]
    fn a_fraction_in_an_integer_string_is_cut() {
        let data_set = DataSet::of([element(tags::SERIES_NUMBER, VR::IS, b"4.0 ")]);
        assert_eq!(data_set.integer(tags::SERIES_NUMBER), Some(4));
        assert_eq!(
            DataSet::of([element(tags::SERIES_NUMBER, VR::IS, b"1A")]).integer(tags::SERIES_NUMBER),
            None
        );
    }

    #[test]
    fn a_person_sees_text_numbers_tags_and_a_glimpse_of_bytes() {
        let tag = Tag(0x0029, 0x1010);
        let shown = |vr, bytes: &[u8]| {
            let element = element(tag, vr, bytes);
            DataSet::default().value_texts(&element)
        };
        assert_eq!(shown(VR::AT, &[0x18, 0, 0x80, 0]), ["(0018,0080)"]);
        assert_eq!(shown(VR::UN, b"SIEMENS CSA "), ["SIEMENS CSA"]);
        assert_eq!(shown(VR::OB, &[1, 255]), ["01 FF"]);
        assert_eq!(shown(VR::UN, &[0; 40]).concat().matches("00").count(), 32);
        assert!(shown(VR::UN, &[0; 40]).concat().ends_with("… (40 bytes)"));
        assert_eq!(shown(VR::US, &[1; 1000]).last().unwrap(), "… (500 values)");
        assert_eq!(shown(VR::LT, b"a\\b "), ["a\\b"]);
        let omitted = Element { tag, vr: VR::OB, value: Value::Omitted { length: 9 } };
        assert_eq!(DataSet::default().value_texts(&omitted), ["9 bytes"]);
    }
}
