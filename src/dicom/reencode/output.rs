//! Element headers as they are written, PS3.5 section 7.1, and what the value representations ask of values.

use dicom_core::{Tag, VR};

use super::Target;
use crate::dicom::prescan::header::{UNDEFINED, has_long_length};
use crate::dicom::prescan::{ITEM, ITEM_DELIMITER, SEQUENCE_DELIMITER};

/// An element without its value.
#[derive(Clone, Copy)]
pub(in crate::dicom) struct ValueHeader {
    pub(in crate::dicom) tag: Tag,
    pub(in crate::dicom) vr: VR,
    /// As the value was received: odd lengths are written even.
    pub(in crate::dicom) length: u32,
}

/// What ends something of undefined length.
#[derive(Clone, Copy)]
pub(in crate::dicom) enum Delimiter {
    Item,
    Sequence,
}

impl ValueHeader {
    pub(in crate::dicom) fn write(self, target: Target, out: &mut Vec<u8>) {
        // Of the lengths that are odd, only the undefined one has no even one above it.
        let length = if self.length == UNDEFINED { UNDEFINED } else { self.length + self.length % 2 };
        put_tag(self.tag, out);
        if target == Target::ImplicitVrLittleEndian {
            out.extend(length.to_le_bytes());
            return;
        }
        match u16::try_from(length) {
            Ok(short) if !has_long_length(self.vr) => {
                out.extend(self.vr.to_bytes());
                out.extend(short.to_le_bytes());
            }
            _ => {
                // PS3.5 section 6.2.2: what is too long for the length field of its VR is UN.
                let vr = if has_long_length(self.vr) { self.vr } else { VR::UN };
                out.extend(vr.to_bytes());
                out.extend([0, 0]);
                out.extend(length.to_le_bytes());
            }
        }
    }

    /// The byte that makes the length of the value even, PS3.5 section 6.2.
    pub(in crate::dicom) fn padding(self) -> Option<u8> {
        use VR::{AE, AS, CS, DA, DS, DT, IS, LO, LT, PN, SH, ST, TM, UC, UR, UT};
        let is_text =
            matches!(self.vr, AE | AS | CS | DA | DS | DT | IS | LO | LT | PN | SH | ST | TM | UC | UR | UT);
        (self.length % 2 == 1).then_some(if is_text { b' ' } else { 0 })
    }
}

/// A whole element of the data set itself.
pub(super) fn element(target: Target, tag: Tag, vr: VR, value: &[u8], out: &mut Vec<u8>) {
    let header = ValueHeader { tag, vr, length: u32::try_from(value.len()).unwrap_or(0) };
    header.write(target, out);
    out.extend_from_slice(value);
    out.extend(header.padding());
}

/// The header of an item, or of a fragment.
pub(in crate::dicom) fn item(length: u32, out: &mut Vec<u8>) {
    put_tag(ITEM, out);
    out.extend(length.to_le_bytes());
}

pub(in crate::dicom) fn delimiter(delimiter: Delimiter, out: &mut Vec<u8>) {
    let tag = match delimiter {
        Delimiter::Item => ITEM_DELIMITER,
        Delimiter::Sequence => SEQUENCE_DELIMITER,
    };
    put_tag(tag, out);
    out.extend([0; 4]);
}

/// How many bytes each change their order between big and little endian, PS3.5 section 7.3.
pub(in crate::dicom) fn unit(vr: VR) -> usize {
    match vr {
        VR::AT | VR::OW | VR::SS | VR::US => 2,
        VR::FL | VR::OF | VR::OL | VR::SL | VR::UL => 4,
        VR::FD | VR::OD | VR::OV | VR::SV | VR::UV => 8,
        _ => 1,
    }
}

fn put_tag(tag: Tag, out: &mut Vec<u8>) {
    out.extend(tag.group().to_le_bytes());
    out.extend(tag.element().to_le_bytes());
}
