//! The way through the data set, a header or a piece of a value at a time. Where it stands is on a stack of its own, so
//! that it can be left and gone on with whenever the reader of its output wants more.

use std::io::{Read, Seek};

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

use super::output::{self, Delimiter, ValueHeader};
use super::{Changes, Pixels, Step, Survey, Target};
use crate::dicom::data_set::{Element, Value};
use crate::dicom::prescan::header::{Header, Scope, UNDEFINED};
use crate::dicom::prescan::reader::Reader;
use crate::dicom::prescan::source::{Inflated, Plain, Stream};
use crate::dicom::prescan::{Encoding, Error, ITEM, ITEM_DELIMITER, Limits, MAX_DEPTH, SEQUENCE_DELIMITER};

/// Bytes of a value that are read at once; whole numbers of every size.
pub(super) const PIECE: u64 = 32 << 10;
/// More elements without native form than any real instance has.
const MOST_LEFT_OUT: usize = 4096;

/// A data set on its way from one encoding into another.
pub struct Reencoding {
    reader: Reader<Box<dyn Stream + Send>>,
    target: Target,
    /// Those not yet written, the next one last.
    elements: Vec<Element>,
    replaced: Vec<Tag>,
    pixels: Pixels,
    left_out: Vec<u64>,
    /// From the data set itself to where the reader stands.
    levels: Vec<Level>,
    /// Nothing is written until there are only so many levels again.
    muted: Option<usize>,
    copying: Option<Copying>,
    pixels_passed: bool,
    /// Notes what has no native form, and writes nothing.
    surveying: Option<Survey>,
}

#[derive(Clone, Copy)]
struct Level {
    kind: Kind,
    scope: Scope,
    /// The sequence, or element with fragments; of an item its sequence.
    tag: Tag,
    /// Where its header stands.
    header: u64,
    /// Where its value begins.
    start: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    DataSet,
    Items,
    Fragments,
}

/// A value that is being copied.
#[derive(Clone, Copy)]
struct Copying {
    tag: Tag,
    left: u64,
    swapped: usize,
    padding: Option<u8>,
}

impl Reencoding {
    /// A data set of `length` bytes that begins where `source` stands, in another encoding. What a `survey` found
    /// must be of the same bytes.
    ///
    /// # Errors
    /// When the source cannot be read.
    pub fn new<R: Read + Seek + Send + 'static>(
        source: R,
        length: u64,
        encoding: Encoding,
        survey: Survey,
        target: Target,
        changes: Changes,
    ) -> Result<Reencoding, Error> {
        let stream: Box<dyn Stream + Send> = match encoding {
            Encoding::Deflated => Box::new(Inflated::new(source, length, &Limits::default())),
            _ => Box::new(Plain::new(source, length)),
        };
        let mut reader = Reader::new(stream);
        let mut scope = Scope {
            explicit: encoding != Encoding::ImplicitVrLittleEndian,
            big_endian: encoding == Encoding::ExplicitVrBigEndian,
            end: reader.left(),
            delimited: false,
            depth: 0,
            signed: false,
        };
        reader.settle(&mut scope)?;
        let Changes { mut elements, pixels } = changes;
        elements.sort_by_key(|element| std::cmp::Reverse(element.tag));
        let replaced = elements.iter().map(|element| element.tag).collect();
        let root = Level { kind: Kind::DataSet, scope, tag: Tag(0, 0), header: 0, start: 0 };
        Ok(Reencoding {
            reader,
            target,
            elements,
            replaced,
            pixels,
            left_out: survey.left_out,
            levels: vec![root],
            muted: None,
            copying: None,
            pixels_passed: false,
            surveying: None,
        })
    }

    /// All of the way without writing, and what has no native form on it.
    pub(super) fn survey(mut self) -> Result<Survey, Error> {
        self.surveying = Some(Survey::default());
        let mut nothing = Vec::new();
        while self.step(&mut nothing)? != Step::End {
            nothing.clear();
        }
        let mut survey = self.surveying.unwrap_or_default();
        survey.left_out.sort_unstable();
        Ok(survey)
    }

    /// Goes on by a header or a piece of a value, and appends what that becomes.
    ///
    /// # Errors
    /// When the data set cannot be followed. What was written is of no use then.
    pub fn step(&mut self, out: &mut Vec<u8>) -> Result<Step, Error> {
        if let Some(copying) = self.copying {
            return self.copy(copying, out);
        }
        let Some(&level) = self.levels.last() else { return Ok(Step::End) };
        let stepped = match level.kind {
            Kind::DataSet => self.data_set(level, out),
            Kind::Items => self.items(level, out),
            Kind::Fragments => self.fragments(level, out),
        };
        match stepped {
            Err(
                err @ (Error::LengthBeyondEnd { .. } | Error::Truncated { .. } | Error::Unexpected { .. }),
            ) => self.leave_damaged(err, out),
            stepped => stepped,
        }
    }

    fn data_set(&mut self, level: Level, out: &mut Vec<u8>) -> Result<Step, Error> {
        let scope = level.scope;
        let Some(header) = self.reader.header(&scope)? else { return self.close(level, out) };
        match header.tag {
            ITEM_DELIMITER if scope.delimited => {
                self.reader.pass(header.size)?;
                self.close(level, out)
            }
            // The item delimiter is missing: the sequence goes on, or ends, and sees to it itself.
            ITEM | SEQUENCE_DELIMITER if scope.delimited => self.close(level, out),
            ITEM => Err(Error::Unexpected { tag: ITEM, position: self.reader.position() }),
            // A delimiter nobody needs.
            ITEM_DELIMITER | SEQUENCE_DELIMITER => {
                self.reader.pass(header.size)?;
                Ok(Step::Bytes)
            }
            Tag(0, 0) if scope.depth == 0 && header.length == 0 => {
                self.reader.padding()?;
                self.close(level, out)
            }
            _ => self.element(scope, header, out),
        }
    }

    fn element(&mut self, scope: Scope, header: Header, out: &mut Vec<u8>) -> Result<Step, Error> {
        let Header { tag, vr, length, size } = header;
        let position = self.reader.position();
        self.reader.pass(size)?;
        let is_top = scope.depth == 0;
        if is_top {
            self.put_elements(Some(tag), out);
        }
        let is_pixels = is_pixel_data(tag);
        let is_bulk = is_pixels || matches!(vr, VR::OB | VR::OW | VR::OF | VR::OD | VR::OL | VR::OV);
        let stepped = if length == UNDEFINED && is_bulk {
            self.encapsulated(scope, header, position, out)?
        } else if length == UNDEFINED || vr == VR::SQ {
            self.sequence(scope, header, position, out)?
        } else {
            self.reader.expect(&scope, tag, u64::from(length))?;
            if self.is_left_out(tag, is_top, position) {
                self.reader.skip(tag, u64::from(length))?;
            } else {
                self.value(scope, header, is_top && is_pixels, out)?;
            }
            Step::Bytes
        };
        self.pixels_passed |= is_top && is_pixels;
        self.reader.last = tag;
        Ok(stepped)
    }

    fn value(
        &mut self,
        scope: Scope,
        header: Header,
        is_pixel_data: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let Header { tag, mut vr, length, .. } = header;
        let mut swapped = if scope.big_endian { output::unit(vr) } else { 1 };
        if is_pixel_data && let Pixels::Native { vr: known, swapped: unit } = self.pixels {
            (vr, swapped) = (known, unit);
        }
        if tag == tags::PIXEL_REPRESENTATION
            && length == 2
            && let Some(level) = self.levels.last_mut()
        {
            let (bytes, _) = self.reader.peek::<2>()?;
            level.scope.signed = bytes == if scope.big_endian { [0, 1] } else { [1, 0] };
        }
        let value = ValueHeader { tag, vr, length };
        if self.writes() {
            value.write(self.target, out);
        }
        let padding = value.padding();
        self.copying = Some(Copying { tag, left: u64::from(length), swapped, padding });
        Ok(())
    }

    fn sequence(
        &mut self,
        scope: Scope,
        header: Header,
        position: u64,
        out: &mut Vec<u8>,
    ) -> Result<Step, Error> {
        let Header { tag, vr, length, .. } = header;
        let mut inner = Scope { depth: scope.depth + 1, delimited: true, ..scope };
        if inner.depth > MAX_DEPTH {
            return Err(Error::TooDeep { tag, limit: MAX_DEPTH });
        }
        // PS3.5 section 6.2.2: implicit VR little endian, whatever is around it.
        if vr == VR::UN {
            inner.explicit = false;
            inner.big_endian = false;
        }
        let start = self.reader.position();
        if length != UNDEFINED {
            self.reader.expect(&scope, tag, u64::from(length))?;
            inner.end = Some(start + u64::from(length));
            inner.delimited = false;
        }
        if self.is_left_out(tag, scope.depth == 0, position) {
            self.mute();
        }
        if self.writes() {
            ValueHeader { tag, vr: VR::SQ, length: UNDEFINED }.write(self.target, out);
        }
        self.levels.push(Level { kind: Kind::Items, scope: inner, tag, header: position, start });
        Ok(Step::Bytes)
    }

    fn encapsulated(
        &mut self,
        scope: Scope,
        header: Header,
        position: u64,
        out: &mut Vec<u8>,
    ) -> Result<Step, Error> {
        let tag = header.tag;
        let level =
            Level { kind: Kind::Fragments, scope, tag, header: position, start: self.reader.position() };
        let stepped = match self.pixels {
            Pixels::Decoded { tag: decoded, vr, length }
                if decoded == tag && scope.depth == 0 && !self.pixels_passed =>
            {
                ValueHeader { tag, vr, length }.write(self.target, out);
                Step::Pixels
            }
            _ => Step::Bytes,
        };
        let around = self.levels.iter().rev().find(|level| level.kind == Kind::Items);
        if let Some(survey) = &mut self.surveying
            && !(scope.depth == 0 && is_pixel_data(tag))
        {
            survey.compressed += 1;
            if let Some(icon) = around.filter(|sequence| sequence.tag == tags::ICON_IMAGE_SEQUENCE) {
                if survey.left_out.len() >= MOST_LEFT_OUT {
                    return Err(Error::TooLarge { limit: MOST_LEFT_OUT as u64 });
                }
                survey.left_out.push(icon.header);
            }
        }
        self.mute();
        self.levels.push(level);
        Ok(stepped)
    }

    fn items(&mut self, level: Level, out: &mut Vec<u8>) -> Result<Step, Error> {
        let Level { scope: sequence, tag, .. } = level;
        let Some(item) = self.reader.header(&sequence)? else { return self.close(level, out) };
        match item.tag {
            ITEM => {}
            SEQUENCE_DELIMITER if sequence.delimited => {
                self.reader.pass(item.size)?;
                return self.close(level, out);
            }
            ITEM_DELIMITER | SEQUENCE_DELIMITER => {
                self.reader.pass(item.size)?;
                return Ok(Step::Bytes);
            }
            _ if sequence.delimited => return self.close(level, out),
            found => return Err(Error::Unexpected { tag: found, position: self.reader.position() }),
        }
        let header = self.reader.position();
        self.reader.pass(item.size)?;
        let start = self.reader.position();
        let mut scope = Scope { delimited: true, ..sequence };
        if item.length != UNDEFINED {
            self.reader.expect(&sequence, tag, u64::from(item.length))?;
            scope.end = Some(start + u64::from(item.length));
            scope.delimited = false;
        }
        self.reader.settle(&mut scope)?;
        if self.writes() {
            output::item(UNDEFINED, out);
        }
        self.levels.push(Level { kind: Kind::DataSet, scope, tag, header, start });
        Ok(Step::Bytes)
    }

    /// Passes over a fragment, PS3.5 A.4.
    fn fragments(&mut self, level: Level, out: &mut Vec<u8>) -> Result<Step, Error> {
        let Some(item) = self.reader.header(&level.scope)? else { return self.close(level, out) };
        match item.tag {
            ITEM if item.length == UNDEFINED => {
                Err(Error::Unexpected { tag: ITEM, position: self.reader.position() })
            }
            ITEM => {
                self.reader.pass(item.size)?;
                self.reader.expect(&level.scope, level.tag, u64::from(item.length))?;
                self.reader.skip(level.tag, u64::from(item.length))?;
                Ok(Step::Bytes)
            }
            SEQUENCE_DELIMITER => {
                self.reader.pass(item.size)?;
                self.close(level, out)
            }
            ITEM_DELIMITER => {
                self.reader.pass(item.size)?;
                Ok(Step::Bytes)
            }
            // The delimiter is missing, and the next element follows.
            _ => self.close(level, out),
        }
    }

    fn close(&mut self, level: Level, out: &mut Vec<u8>) -> Result<Step, Error> {
        if level.scope.depth > 0 && level.kind != Kind::Fragments {
            self.reader.is_through(&level.scope, level.tag, level.start)?;
        }
        self.levels.pop();
        self.write_end(level, out);
        Ok(Step::Bytes)
    }

    /// Writes what stands at the end of a level that was left.
    fn write_end(&mut self, level: Level, out: &mut Vec<u8>) {
        match level.kind {
            Kind::DataSet if self.levels.is_empty() => self.put_elements(None, out),
            Kind::DataSet if self.writes() => output::delimiter(Delimiter::Item, out),
            Kind::Items if self.writes() => output::delimiter(Delimiter::Sequence, out),
            _ => {}
        }
        if self.muted == Some(self.levels.len()) {
            self.muted = None;
        }
    }

    /// Leaves the innermost sequence whose own length is known: one mistake in a private corner must not cost the
    /// instance.
    fn leave_damaged(&mut self, mut err: Error, out: &mut Vec<u8>) -> Result<Step, Error> {
        if let Some(survey) = &mut self.surveying {
            survey.damaged += 1;
        }
        while let Some(level) = self.levels.pop() {
            self.write_end(level, out);
            if level.kind != Kind::Items || level.scope.delimited {
                continue;
            }
            let end = level.scope.end.unwrap_or(0);
            match self.reader.skip(level.tag, end.saturating_sub(self.reader.position())) {
                Ok(()) => return Ok(Step::Bytes),
                Err(further) => err = further,
            }
        }
        match err {
            // All pixels are there: a stump behind them takes nothing from the picture.
            Error::Truncated { .. } if self.pixels_passed => Ok(Step::Bytes),
            err => Err(err),
        }
    }

    fn copy(&mut self, mut copying: Copying, out: &mut Vec<u8>) -> Result<Step, Error> {
        if !self.writes() {
            self.copying = None;
            self.reader.skip(copying.tag, copying.left)?;
            return Ok(Step::Bytes);
        }
        let mut piece = self.reader.take(copying.tag, copying.left.min(PIECE))?;
        if copying.swapped > 1 {
            piece.chunks_exact_mut(copying.swapped).for_each(<[u8]>::reverse);
        }
        out.append(&mut piece);
        copying.left = copying.left.saturating_sub(PIECE);
        if copying.left == 0 {
            out.extend(copying.padding);
        }
        self.copying = (copying.left > 0).then_some(copying);
        Ok(Step::Bytes)
    }

    /// Writes the new elements whose place is before what follows, or all that are left.
    fn put_elements(&mut self, before: Option<Tag>, out: &mut Vec<u8>) {
        while let Some(element) = self.elements.pop_if(|next| before.is_none_or(|tag| next.tag <= tag)) {
            if let Value::Bytes(bytes) = &element.value {
                output::element(self.target, element.tag, element.vr, bytes, out);
            }
        }
    }

    fn is_left_out(&self, tag: Tag, is_top: bool, position: u64) -> bool {
        const OFFSET_TABLES: [Tag; 3] =
            [tags::EXTENDED_OFFSET_TABLE, tags::EXTENDED_OFFSET_TABLE_LENGTHS, Tag(0x7FE0, 0x0003)];
        let is_table = matches!(self.pixels, Pixels::Decoded { .. }) && OFFSET_TABLES.contains(&tag);
        // Of group FFFE there are no elements, only what delimits them.
        tag.element() == 0
            || tag.group() == 0xFFFE
            || tag == tags::DATA_SET_TRAILING_PADDING
            || (is_top && (is_table || matches!(tag.group(), 0 | 2) || self.replaced.contains(&tag)))
            || self.left_out.binary_search(&position).is_ok()
    }

    fn writes(&self) -> bool {
        self.muted.is_none() && self.surveying.is_none()
    }

    fn mute(&mut self) {
        self.muted = self.muted.or(Some(self.levels.len()));
    }
}

/// Pixel Data, Float Pixel Data or Double Float Pixel Data.
pub(in crate::dicom) fn is_pixel_data(tag: Tag) -> bool {
    matches!(tag, tags::PIXEL_DATA | tags::FLOAT_PIXEL_DATA | tags::DOUBLE_FLOAT_PIXEL_DATA)
}
