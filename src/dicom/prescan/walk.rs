//! The walk itself: elements, sequences, items and fragments, one header after the other.

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

use super::header::{Header, Scope, UNDEFINED};
use super::reader::Reader;
use super::source::Stream;
use super::{Error, Fragment, ITEM, ITEM_DELIMITER, Limits, MAX_DEPTH, PixelData, SEQUENCE_DELIMITER, Scan};
use crate::dicom::data_set::{DataSet, Element, Value};
use crate::dicom::dictionary;

/// More damaged sequences are passed over without being named.
const MOST_DAMAGED: usize = 16;

pub(super) struct Walk<S> {
    reader: Reader<S>,
    limits: Limits,
    /// Memory of the tree so far.
    spent: u64,
    /// A nested data set did not fit: nothing is kept until the sequence at the top is through.
    overflowing: bool,
    pixel_data: Option<PixelData>,
    extended_offset_table: Vec<u64>,
    damaged: Vec<Tag>,
}

impl<S: Stream> Walk<S> {
    pub(super) fn new(stream: S, limits: &Limits) -> Self {
        let limits = Limits { depth: limits.depth.min(MAX_DEPTH), ..*limits };
        Self {
            reader: Reader::new(stream),
            limits,
            spent: 0,
            overflowing: false,
            pixel_data: None,
            extended_offset_table: Vec::new(),
            damaged: Vec::new(),
        }
    }

    pub(super) fn run(mut self, explicit: bool, big_endian: bool) -> Result<Scan, Error> {
        let mut data_set = DataSet::new(Default::default(), big_endian);
        let scope = Scope {
            explicit,
            big_endian,
            end: self.reader.left(),
            delimited: false,
            depth: 0,
            signed: false,
        };
        match self.data_set(scope, &mut data_set) {
            // All pixels are there: a stump behind them takes nothing from the picture.
            Err(Error::Truncated { .. }) if self.pixel_data.is_some() => {}
            done => done?,
        }
        if let Some(pixel_data) = &mut self.pixel_data {
            pixel_data.extended_offset_table = self.extended_offset_table;
        }
        let length = self.reader.position();
        Ok(Scan { data_set, pixel_data: self.pixel_data, damaged: self.damaged, length })
    }

    /// Reads elements up to the end of the data set.
    fn data_set(&mut self, mut scope: Scope, into: &mut DataSet) -> Result<(), Error> {
        self.reader.settle(&mut scope)?;
        while let Some(header) = self.reader.header(&scope)? {
            match header.tag {
                ITEM_DELIMITER if scope.delimited => {
                    self.reader.pass(header.size)?;
                    return Ok(());
                }
                // The item delimiter is missing: the sequence goes on, or ends, and sees to it itself.
                ITEM | SEQUENCE_DELIMITER if scope.delimited => return Ok(()),
                ITEM => return Err(Error::Unexpected { tag: ITEM, position: self.reader.position() }),
                // A delimiter nobody needs.
                ITEM_DELIMITER | SEQUENCE_DELIMITER => {
                    self.reader.pass(header.size)?;
                }
                Tag(0, 0) if scope.depth == 0 && header.length == 0 => return self.reader.padding(),
                _ => self.element(&mut scope, header, into)?,
            }
        }
        Ok(())
    }

    /// Reads one element and adds it.
    fn element(&mut self, scope: &mut Scope, header: Header, into: &mut DataSet) -> Result<(), Error> {
        let Header { tag, vr, length, size } = header;
        self.reader.pass(size)?;
        let is_pixel_data =
            matches!(tag, tags::PIXEL_DATA | tags::FLOAT_PIXEL_DATA | tags::DOUBLE_FLOAT_PIXEL_DATA);
        let is_bulk = is_pixel_data || matches!(vr, VR::OB | VR::OW | VR::OF | VR::OD | VR::OL | VR::OV);

        let value = if length == UNDEFINED && is_bulk {
            self.encapsulated(scope, tag, vr)?
        } else if length == UNDEFINED || vr == VR::SQ || self.is_sequence_in_disguise(tag, vr, length)? {
            self.sequence(scope, header, into)?
        } else if is_pixel_data && scope.depth == 0 {
            self.native(scope, tag, vr, length)?
        } else {
            self.value(scope, tag, length)?
        };

        self.reader.last = tag;
        if !self.charge(0) {
            if scope.depth == 0 {
                return Err(Error::TooLarge { limit: self.limits.tree_bytes });
            }
            self.overflowing = true;
            return Ok(());
        }
        into.push(Element { tag, vr, value });
        if tag == tags::PIXEL_REPRESENTATION {
            scope.signed = into.integer(tag) == Some(1);
        }
        Ok(())
    }

    /// A value of defined length: its bytes, or that it is there.
    fn value(&mut self, scope: &Scope, tag: Tag, length: u32) -> Result<Value, Error> {
        let length = u64::from(length);
        self.reader.expect(scope, tag, length)?;
        let is_offset_table = tag == tags::EXTENDED_OFFSET_TABLE && scope.depth == 0;
        if is_offset_table && self.charge(length) {
            let bytes = self.reader.take(tag, length)?;
            let (entries, _) = bytes.as_chunks::<8>();
            let order = if scope.big_endian { u64::from_be_bytes } else { u64::from_le_bytes };
            self.extended_offset_table = entries.iter().map(|&entry| order(entry)).collect();
            return Ok(if length > self.limits.value_bytes {
                Value::Omitted { length }
            } else {
                Value::Bytes(bytes)
            });
        }
        if length > self.limits.value_bytes || !self.charge(length) {
            self.reader.skip(tag, length)?;
            return Ok(Value::Omitted { length });
        }
        Ok(Value::Bytes(self.reader.take(tag, length)?))
    }

    /// Pixels that are not encapsulated.
    fn native(&mut self, scope: &Scope, tag: Tag, vr: VR, length: u32) -> Result<Value, Error> {
        let length = u64::from(length);
        self.reader.expect(scope, tag, length)?;
        let offset = self.reader.position();
        self.reader.skip(tag, length)?;
        self.found(PixelData {
            tag,
            vr,
            offset,
            length: Some(length),
            fragments: Vec::new(),
            basic_offset_table: Vec::new(),
            extended_offset_table: Vec::new(),
        });
        Ok(Value::Omitted { length })
    }

    fn found(&mut self, pixel_data: PixelData) {
        if self.pixel_data.is_none() {
            self.pixel_data = Some(pixel_data);
        }
    }

    /// Fragments, PS3.5 A.4: the first item is the offset table.
    fn encapsulated(&mut self, scope: &Scope, tag: Tag, vr: VR) -> Result<Value, Error> {
        let keep = scope.depth == 0 && tag.group() == 0x7FE0 && self.pixel_data.is_none();
        let offset = self.reader.position();
        let mut table: Option<(Fragment, Vec<u32>)> = None;
        let mut fragments = Vec::new();
        let mut total: u64 = 0;
        while let Some(item) = self.reader.header(scope)? {
            match item.tag {
                ITEM => {}
                SEQUENCE_DELIMITER => {
                    self.reader.pass(item.size)?;
                    break;
                }
                ITEM_DELIMITER => {
                    self.reader.pass(item.size)?;
                    continue;
                }
                // The delimiter is missing, and the next element follows.
                _ => break,
            }
            if item.length == UNDEFINED {
                return Err(Error::Unexpected { tag: ITEM, position: self.reader.position() });
            }
            self.reader.pass(item.size)?;
            let length = u64::from(item.length);
            self.reader.expect(scope, tag, length)?;
            let fragment = Fragment { offset: self.reader.position(), length: item.length };
            if !keep {
                self.reader.skip(tag, length)?;
            } else if table.is_none() {
                if !self.charge(length) {
                    return Err(Error::TooLarge { limit: self.limits.tree_bytes });
                }
                let bytes = self.reader.take(tag, length)?;
                let (entries, _) = bytes.as_chunks::<4>();
                let order = if scope.big_endian { u32::from_be_bytes } else { u32::from_le_bytes };
                table = Some((fragment, entries.iter().map(|&entry| order(entry)).collect()));
            } else {
                if !self.charge(0) {
                    return Err(Error::TooLarge { limit: self.limits.tree_bytes });
                }
                self.reader.skip(tag, length)?;
                fragments.push(fragment);
            }
            total += length;
        }
        if keep {
            let mut basic_offset_table = Vec::new();
            match table {
                // One item and no other: there is no table, it is the pixels.
                Some((only, _)) if fragments.is_empty() && only.length > 0 => fragments.push(only),
                Some((_, entries)) => basic_offset_table = entries,
                None => {}
            }
            self.found(PixelData {
                tag,
                vr,
                offset,
                length: None,
                fragments,
                basic_offset_table,
                extended_offset_table: Vec::new(),
            });
        }
        Ok(Value::Omitted { length: total })
    }

    /// A UN of defined length that the dictionary knows as a sequence and that begins with an item. Its elements are
    /// implicit VR little endian, PS3.5 section 6.2.2.
    fn is_sequence_in_disguise(&mut self, tag: Tag, vr: VR, length: u32) -> Result<bool, Error> {
        if vr != VR::UN || length < 8 || dictionary::vr(tag, false) != VR::SQ {
            return Ok(false);
        }
        Ok(self.reader.peek::<4>()?.0 == [0xFE, 0xFF, 0x00, 0xE0])
    }

    /// The items of a sequence.
    fn sequence(&mut self, scope: &Scope, header: Header, parent: &DataSet) -> Result<Value, Error> {
        let Header { tag, vr, length, .. } = header;
        let mut inner = Scope { depth: scope.depth + 1, delimited: true, ..*scope };
        if inner.depth > self.limits.depth {
            return Err(Error::TooDeep { tag, limit: self.limits.depth });
        }
        if vr == VR::UN {
            inner.explicit = false;
            inner.big_endian = false;
        }
        let start = self.reader.position();
        if length != UNDEFINED {
            self.reader.expect(scope, tag, u64::from(length))?;
            inner.end = Some(start + u64::from(length));
            inner.delimited = false;
        }
        let spent = self.spent;
        let mut items = Vec::new();
        let read = self
            .items(&inner, tag, parent, &mut items)
            .and_then(|()| self.reader.is_through(&inner, tag, start));
        match read {
            Err(Error::LengthBeyondEnd { .. } | Error::Truncated { .. } | Error::Unexpected { .. })
                if !inner.delimited =>
            {
                self.pass_over(tag, start, u64::from(length))?;
            }
            read => read?,
        }
        if self.overflowing && scope.depth == 0 {
            self.overflowing = false;
            self.spent = spent;
            return Ok(Value::Omitted { length: self.reader.position() - start });
        }
        Ok(Value::Sequence(items))
    }

    /// Leaves a sequence whose inside contradicts itself. Its own length is known and is there, so that what follows
    /// can be read: one mistake in a private corner must not cost the instance.
    fn pass_over(&mut self, tag: Tag, start: u64, length: u64) -> Result<(), Error> {
        let read = self.reader.position() - start;
        self.reader.skip(tag, length.saturating_sub(read))?;
        if self.damaged.len() < MOST_DAMAGED {
            self.damaged.push(tag);
        }
        Ok(())
    }

    /// Reads items until the sequence ends: at its delimiter, at its end, or, where the delimiter is missing, at the
    /// end of what is around it or before an element that is no item.
    fn items(
        &mut self,
        sequence: &Scope,
        tag: Tag,
        parent: &DataSet,
        into: &mut Vec<DataSet>,
    ) -> Result<(), Error> {
        while let Some(item) = self.reader.header(sequence)? {
            match item.tag {
                ITEM => {}
                SEQUENCE_DELIMITER if sequence.delimited => {
                    self.reader.pass(item.size)?;
                    return Ok(());
                }
                ITEM_DELIMITER | SEQUENCE_DELIMITER => {
                    self.reader.pass(item.size)?;
                    continue;
                }
                _ if sequence.delimited => return Ok(()),
                found => return Err(Error::Unexpected { tag: found, position: self.reader.position() }),
            }
            self.reader.pass(item.size)?;
            let start = self.reader.position();
            let mut inner = Scope { delimited: true, ..*sequence };
            if item.length != UNDEFINED {
                self.reader.expect(sequence, tag, u64::from(item.length))?;
                inner.end = Some(start + u64::from(item.length));
                inner.delimited = false;
            }
            let mut data_set = DataSet::new(parent.charset(), sequence.big_endian);
            self.data_set(inner, &mut data_set)?;
            self.reader.is_through(&inner, tag, start)?;
            match self.charge(0) {
                true => into.push(data_set),
                false => self.overflowing = true,
            }
        }
        Ok(())
    }

    /// Accounts for an element, item or fragment with `bytes` of value. `false`: it does not fit.
    fn charge(&mut self, bytes: u64) -> bool {
        /// Twice, because vectors grow by doubling.
        const OVERHEAD: u64 = 2 * size_of::<Element>() as u64;
        let cost = if bytes == 0 { OVERHEAD } else { bytes };
        if self.overflowing || self.spent + cost > self.limits.tree_bytes {
            return false;
        }
        self.spent += cost;
        true
    }
}
