//! The elements of a data set one after the other, with the sequences and items around them, as
//! [`prescan`](crate::dicom::prescan) reads them. Whoever looks at a value takes it; others are passed over.

use std::io::{Read, Seek};

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

use super::path::ElementPath;
use crate::dicom::dictionary;
use crate::dicom::prescan::header::{Header, Scope, UNDEFINED};
use crate::dicom::prescan::reader::Reader;
use crate::dicom::prescan::source::{Inflated, Plain, Stream};
use crate::dicom::prescan::{
    Encoding, Error, Fragment, ITEM, ITEM_DELIMITER, Limits, MAX_DEPTH, SEQUENCE_DELIMITER,
};
use crate::dicom::reencode::is_pixel_data;

/// A data set on the way through it.
pub(super) struct Walk<'s> {
    reader: Reader<Box<dyn Stream + 's>>,
    /// Elements of the data set itself that nobody is told of.
    left_out: Vec<Tag>,
    /// From the data set itself to where the reader stands.
    levels: Vec<Level>,
    /// Where the reader stands: the last element that was met, and the items around it.
    path: ElementPath,
    /// The value that comes next, if nobody has taken it.
    value: Option<Value>,
    /// A damaged sequence is left until there are only so many levels.
    leaving: Option<usize>,
    /// Nobody is told of anything until there are only so many levels again.
    hidden: Option<usize>,
    pixels_passed: bool,
}

/// What is met on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// An element with a value, which can be taken now.
    Value(Value),
    /// An element whose value is fragments; each follows.
    Encapsulated(Value),
    /// A fragment, the first one an offset table (PS3.5 A.4).
    Fragment(Fragment),
    Sequence(Tag),
    Item,
    ItemEnd,
    SequenceEnd,
    /// All was met.
    End,
}

/// An element and where its value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) tag: Tag,
    /// As it was declared; for UN what the dictionary knows; for what is encapsulated without any, OB.
    pub(super) vr: VR,
    /// Counted from where the source stood.
    pub(super) offset: u64,
    /// 0 where it is not known because the value is encapsulated.
    pub(super) length: u64,
    pub(super) big_endian: bool,
    /// It belongs to the data set itself, not to an item.
    pub(super) is_top: bool,
}

#[derive(Clone, Copy)]
struct Level {
    kind: Kind,
    scope: Scope,
    /// The sequence, or element with fragments; of an item its sequence.
    tag: Tag,
    /// Where its value begins.
    start: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    DataSet,
    Items,
    Fragments,
}

impl<'s> Walk<'s> {
    /// Over `length` bytes of `source`, from where it stands, without these elements of the data set itself.
    pub(super) fn new<R: Read + Seek + 's>(
        source: R,
        length: u64,
        encoding: Encoding,
        left_out: Vec<Tag>,
    ) -> Result<Self, Error> {
        let stream: Box<dyn Stream + 's> = match encoding {
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
        Ok(Walk {
            reader,
            left_out,
            levels: vec![Level { kind: Kind::DataSet, scope, tag: Tag(0, 0), start: 0 }],
            path: ElementPath { items: Vec::new(), tag: Tag(0, 0) },
            value: None,
            leaving: None,
            hidden: None,
            pixels_passed: false,
        })
    }

    /// The way to the element that was met last.
    pub(super) fn path(&self) -> &ElementPath {
        &self.path
    }

    /// What comes next.
    ///
    /// # Errors
    /// When the data set cannot be followed. A sequence that knows its length is left where it contradicts itself.
    pub(super) fn next(&mut self) -> Result<Event, Error> {
        loop {
            let was_hidden = self.hidden.is_some();
            let stepped = self.pass_value().and_then(|()| self.step());
            match stepped {
                Ok(Some(event)) if !was_hidden && self.hidden.is_none() => return Ok(event),
                Ok(_) => {}
                Err(err) => self.leave_damaged(err)?,
            }
        }
    }

    /// All bytes of the value that was met just now. `None`: there is none, or it turned out to be damaged.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub(super) fn take(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let Some(value) = self.value.take() else { return Ok(None) };
        match self.reader.take(value.tag, value.length) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(err) => self.leave_damaged(err).map(|()| None),
        }
    }

    fn pass_value(&mut self) -> Result<(), Error> {
        match self.value.take() {
            Some(value) => self.reader.skip(value.tag, value.length),
            None => Ok(()),
        }
    }

    fn step(&mut self) -> Result<Option<Event>, Error> {
        if let Some(remaining) = self.leaving {
            if self.levels.len() > remaining {
                return Ok(self.close());
            }
            self.leaving = None;
        }
        match self.levels.last().copied() {
            None => Ok(Some(Event::End)),
            Some(level) => match level.kind {
                Kind::DataSet => self.data_set(level),
                Kind::Items => self.items(level),
                Kind::Fragments => self.fragments(level),
            },
        }
    }

    fn data_set(&mut self, level: Level) -> Result<Option<Event>, Error> {
        let scope = level.scope;
        let Some(header) = self.reader.header(&scope)? else { return self.close_whole(level) };
        match header.tag {
            ITEM_DELIMITER if scope.delimited => {
                self.reader.pass(header.size)?;
                self.close_whole(level)
            }
            // The item delimiter is missing: the sequence goes on, or ends, and sees to it itself.
            ITEM | SEQUENCE_DELIMITER if scope.delimited => self.close_whole(level),
            ITEM => Err(Error::Unexpected { tag: ITEM, position: self.reader.position() }),
            // A delimiter nobody needs.
            ITEM_DELIMITER | SEQUENCE_DELIMITER => {
                self.reader.pass(header.size)?;
                Ok(None)
            }
            Tag(0, 0) if scope.depth == 0 && header.length == 0 => {
                self.reader.padding()?;
                self.close_whole(level)
            }
            _ => self.element(scope, header),
        }
    }

    fn element(&mut self, scope: Scope, header: Header) -> Result<Option<Event>, Error> {
        let Header { tag, vr, length, size } = header;
        self.reader.pass(size)?;
        let is_top = scope.depth == 0;
        let is_pixels = is_pixel_data(tag);
        let is_bulk = is_pixels || matches!(vr, VR::OB | VR::OW | VR::OF | VR::OD | VR::OL | VR::OV);
        let mut value = Value {
            tag,
            vr: known_vr(tag, vr, scope.signed),
            offset: self.reader.position(),
            length: 0,
            big_endian: scope.big_endian && vr != VR::UN,
            is_top,
        };
        let event = if length == UNDEFINED && is_bulk {
            self.hide(tag, is_top);
            // Without a VR of their own fragments are bytes, whatever the dictionary says of pixels: PS3.5 A.4.
            if size == 8 {
                value.vr = VR::OB;
            }
            self.levels.push(Level { kind: Kind::Fragments, scope, tag, start: value.offset });
            Some(Event::Encapsulated(value))
        } else if length == UNDEFINED || vr == VR::SQ || self.is_sequence_in_disguise(tag, vr, length)? {
            return self.sequence(scope, header).map(Some);
        } else {
            value.length = u64::from(length);
            self.reader.expect(&scope, tag, value.length)?;
            self.note_pixel_representation(&value)?;
            self.value = Some(value);
            (!self.is_left_out(tag, is_top)).then_some(Event::Value(value))
        };
        self.pixels_passed |= is_top && is_pixels;
        self.reader.last = tag;
        self.path.tag = tag;
        Ok(event)
    }

    /// For "US or SS" further on in this data set and in its items.
    fn note_pixel_representation(&mut self, value: &Value) -> Result<(), Error> {
        if value.tag == tags::PIXEL_REPRESENTATION
            && value.length == 2
            && let Some(level) = self.levels.last_mut()
        {
            let (bytes, _) = self.reader.peek::<2>()?;
            level.scope.signed = bytes == if value.big_endian { [0, 1] } else { [1, 0] };
        }
        Ok(())
    }

    /// A UN of defined length that the dictionary knows as a sequence and that begins with an item.
    fn is_sequence_in_disguise(&mut self, tag: Tag, vr: VR, length: u32) -> Result<bool, Error> {
        if vr != VR::UN || length < 8 || dictionary::vr(tag, false) != VR::SQ {
            return Ok(false);
        }
        Ok(self.reader.peek::<4>()?.0 == [0xFE, 0xFF, 0x00, 0xE0])
    }

    fn sequence(&mut self, scope: Scope, header: Header) -> Result<Event, Error> {
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
        self.hide(tag, scope.depth == 0);
        self.levels.push(Level { kind: Kind::Items, scope: inner, tag, start });
        self.path.tag = tag;
        self.path.items.push((tag, 0));
        Ok(Event::Sequence(tag))
    }

    fn items(&mut self, level: Level) -> Result<Option<Event>, Error> {
        let Level { scope: sequence, tag, .. } = level;
        let Some(item) = self.reader.header(&sequence)? else { return self.close_whole(level) };
        match item.tag {
            ITEM => {}
            SEQUENCE_DELIMITER if sequence.delimited => {
                self.reader.pass(item.size)?;
                return self.close_whole(level);
            }
            ITEM_DELIMITER | SEQUENCE_DELIMITER => {
                self.reader.pass(item.size)?;
                return Ok(None);
            }
            _ if sequence.delimited => return self.close_whole(level),
            found => return Err(Error::Unexpected { tag: found, position: self.reader.position() }),
        }
        self.reader.pass(item.size)?;
        let start = self.reader.position();
        let mut scope = Scope { delimited: true, ..sequence };
        if item.length != UNDEFINED {
            self.reader.expect(&sequence, tag, u64::from(item.length))?;
            scope.end = Some(start + u64::from(item.length));
            scope.delimited = false;
        }
        self.reader.settle(&mut scope)?;
        self.levels.push(Level { kind: Kind::DataSet, scope, tag, start });
        if let Some((_, number)) = self.path.items.last_mut() {
            *number = number.saturating_add(1);
        }
        Ok(Some(Event::Item))
    }

    /// The next fragment, PS3.5 A.4.
    fn fragments(&mut self, level: Level) -> Result<Option<Event>, Error> {
        let Some(item) = self.reader.header(&level.scope)? else { return self.close_whole(level) };
        match item.tag {
            ITEM if item.length == UNDEFINED => {
                Err(Error::Unexpected { tag: ITEM, position: self.reader.position() })
            }
            ITEM => {
                self.reader.pass(item.size)?;
                let fragment = Fragment { offset: self.reader.position(), length: item.length };
                self.reader.expect(&level.scope, level.tag, u64::from(item.length))?;
                self.reader.skip(level.tag, u64::from(item.length))?;
                Ok(Some(Event::Fragment(fragment)))
            }
            SEQUENCE_DELIMITER => {
                self.reader.pass(item.size)?;
                self.close_whole(level)
            }
            ITEM_DELIMITER => {
                self.reader.pass(item.size)?;
                Ok(None)
            }
            // The delimiter is missing, and the next element follows.
            _ => self.close_whole(level),
        }
    }

    /// Closes a level that must have been there to its end.
    fn close_whole(&mut self, level: Level) -> Result<Option<Event>, Error> {
        if level.scope.depth > 0 && level.kind != Kind::Fragments {
            self.reader.is_through(&level.scope, level.tag, level.start)?;
        }
        Ok(self.close())
    }

    /// Leaves the innermost level.
    fn close(&mut self) -> Option<Event> {
        let level = self.levels.pop()?;
        if self.hidden == Some(self.levels.len()) {
            self.hidden = None;
        }
        match level.kind {
            Kind::DataSet if self.levels.is_empty() => Some(Event::End),
            Kind::DataSet => Some(Event::ItemEnd),
            Kind::Fragments => None,
            Kind::Items => {
                self.reader.last = level.tag;
                self.path.items.pop();
                Some(Event::SequenceEnd)
            }
        }
    }

    /// Goes to the end of the innermost sequence whose own length is known: one mistake in a private corner must not
    /// cost the instance.
    fn leave_damaged(&mut self, mut err: Error) -> Result<(), Error> {
        self.value = None;
        if !matches!(err, Error::LengthBeyondEnd { .. } | Error::Truncated { .. } | Error::Unexpected { .. })
        {
            return Err(err);
        }
        for (remaining, level) in self.levels.iter().enumerate().rev() {
            if level.kind != Kind::Items || level.scope.delimited {
                continue;
            }
            let end = level.scope.end.unwrap_or(0);
            match self.reader.skip(level.tag, end.saturating_sub(self.reader.position())) {
                Ok(()) => {
                    self.leaving = Some(remaining);
                    return Ok(());
                }
                Err(further) => err = further,
            }
        }
        match err {
            // All pixels are there: a stump behind them takes nothing from the picture.
            Error::Truncated { .. } if self.pixels_passed => {
                self.leaving = Some(0);
                Ok(())
            }
            err => Err(err),
        }
    }

    /// Lets nobody see what is inside of an element that is left out.
    fn hide(&mut self, tag: Tag, is_top: bool) {
        if self.is_left_out(tag, is_top) {
            self.hidden = self.hidden.or(Some(self.levels.len()));
        }
    }

    /// Group lengths, what belongs to a command or a file, and what the caller named. Of group FFFE there are no
    /// elements, only what delimits them.
    fn is_left_out(&self, tag: Tag, is_top: bool) -> bool {
        tag.element() == 0
            || tag.group() == 0xFFFE
            || (is_top && (matches!(tag.group(), 0 | 2) || self.left_out.contains(&tag)))
    }
}

/// UN says nothing; for an attribute of the standard the dictionary does, PS3.5 section 6.2.2 note 5. A value that is
/// no sequence cannot be made one.
fn known_vr(tag: Tag, vr: VR, signed: bool) -> VR {
    match vr {
        VR::UN => Some(dictionary::vr(tag, signed)).filter(|&vr| vr != VR::SQ).unwrap_or(VR::UN),
        vr => vr,
    }
}
