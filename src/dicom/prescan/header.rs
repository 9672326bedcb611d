//! Element headers, PS3.5 section 7.1: with and without a VR, whichever was declared.

use dicom_core::{Tag, VR};

use crate::dicom::dictionary;

/// The length that says there is none.
pub(in crate::dicom) const UNDEFINED: u32 = 0xFFFF_FFFF;

/// What is known of the data set the walk is in.
#[derive(Clone, Copy)]
pub(in crate::dicom) struct Scope {
    pub(in crate::dicom) explicit: bool,
    pub(in crate::dicom) big_endian: bool,
    /// Where it, or what is around it, ends, if that is known.
    pub(in crate::dicom) end: Option<u64>,
    /// Its length is undefined: a delimiter ends it.
    pub(in crate::dicom) delimited: bool,
    pub(in crate::dicom) depth: usize,
    /// Pixel Representation, for "US or SS".
    pub(in crate::dicom) signed: bool,
}

/// The header of an element, an item or a delimiter.
#[derive(Clone, Copy)]
pub(in crate::dicom) struct Header {
    pub(in crate::dicom) tag: Tag,
    pub(in crate::dicom) vr: VR,
    pub(in crate::dicom) length: u32,
    pub(in crate::dicom) size: u64,
}

impl Scope {
    /// Decides by the first eight bytes of a data set whether its elements carry their VR. Where they should, a
    /// length stands in its place; where they should not, the VR that the dictionary has for the tag.
    pub(in crate::dicom) fn settle(&mut self, bytes: [u8; 8], room: Option<u64>) {
        let [a, b, c, d, first, second, ..] = bytes;
        let tag = tag_of([a, b, c, d], self.big_endian);
        if tag.group() == 0xFFFE {
            return;
        }
        let fits = fits(implicit_length(bytes, self.big_endian), 8, room);
        let vr = VR::from_binary([first, second]);
        if self.explicit && !are_letters(first, second) && fits {
            self.explicit = false;
        } else if !self.explicit && vr.is_some() && (!fits || vr == Some(dictionary::vr(tag, self.signed))) {
            self.explicit = true;
        }
    }
}

impl Header {
    /// The header in these bytes, of which `count` are there and `room` are left in the data set. `None`: it is cut.
    pub(in crate::dicom) fn read(
        bytes: [u8; 12],
        count: usize,
        room: Option<u64>,
        scope: &Scope,
    ) -> Option<Self> {
        let [a, b, c, d, first, second, e, f, g, h, i, j] = bytes;
        if count < 8 {
            return None;
        }
        let big_endian = scope.big_endian;
        let tag = tag_of([a, b, c, d], big_endian);
        let implicit = implicit_length([a, b, c, d, first, second, e, f], big_endian);
        if tag.group() == 0xFFFE {
            return Some(Self { tag, vr: VR::UN, length: implicit, size: 8 });
        }
        let short =
            u32::from(if big_endian { u16::from_be_bytes([e, f]) } else { u16::from_le_bytes([e, f]) });
        let long =
            if big_endian { u32::from_be_bytes([g, h, i, j]) } else { u32::from_le_bytes([g, h, i, j]) };
        let vr = VR::from_binary([first, second]);
        Some(match vr {
            // Without a VR, or with one that is really part of a length.
            _ if !scope.explicit && (vr.is_none() || fits(implicit, 8, room)) => {
                Self { tag, vr: dictionary::vr(tag, scope.signed), length: implicit, size: 8 }
            }
            Some(vr) if has_long_length(vr) => {
                return (count == 12).then_some(Self { tag, vr, length: long, size: 12 });
            }
            Some(vr) => Self { tag, vr, length: short, size: 8 },
            // A VR of a later edition of the standard: those have long lengths, PS3.5 section 7.1.2.
            None if are_letters(first, second) && short == 0 && count == 12 && fits(long, 12, room) => {
                Self { tag, vr: VR::UN, length: long, size: 12 }
            }
            None if !are_letters(first, second) && fits(implicit, 8, room) => {
                Self { tag, vr: dictionary::vr(tag, scope.signed), length: implicit, size: 8 }
            }
            None => Self { tag, vr: VR::UN, length: short, size: 8 },
        })
    }
}

fn are_letters(first: u8, second: u8) -> bool {
    first.is_ascii_uppercase() && second.is_ascii_uppercase()
}

/// Whether a value of this length behind a header of this size can be there.
fn fits(length: u32, size: u64, room: Option<u64>) -> bool {
    length == UNDEFINED || room.is_none_or(|room| u64::from(length) + size <= room)
}

fn tag_of([a, b, c, d]: [u8; 4], big_endian: bool) -> Tag {
    match big_endian {
        true => Tag(u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])),
        false => Tag(u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])),
    }
}

fn implicit_length([_, _, _, _, e, f, g, h]: [u8; 8], big_endian: bool) -> u32 {
    if big_endian { u32::from_be_bytes([e, f, g, h]) } else { u32::from_le_bytes([e, f, g, h]) }
}

/// PS3.5 section 7.1.2: these have two reserved bytes and a length of four.
pub(in crate::dicom) fn has_long_length(vr: VR) -> bool {
    use VR::{OB, OD, OF, OL, OV, OW, SQ, SV, UC, UN, UR, UT, UV};
    matches!(vr, OB | OD | OF | OL | OV | OW | SQ | SV | UC | UN | UR | UT | UV)
}
