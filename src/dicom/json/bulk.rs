//! Bulk data found again in the stored file, PS3.18 F.2.6.

use std::io::{Read, Seek};

use dicom_core::VR;

use super::path::ElementPath;
use super::walk::{Event, Value, Walk};
use crate::dicom::prescan::{Encoding, Error, Fragment};
use crate::dicom::reencode::unit;

/// More fragments than any real instance has, in bytes of memory.
const MOST_FRAGMENTS: u64 = 64 << 20;

/// A value and where it is. Offsets count from where the source stood, for a deflated data set from the start of the
/// inflated bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkData {
    /// Its value representation, as the JSON has it.
    pub vr: VR,
    /// So many bytes each are in big endian order, and are to be turned before they are sent; 1 if none are.
    pub swapped: usize,
    /// Where it is.
    pub place: Place,
}

/// The bytes of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// They stand together.
    Native {
        /// Where they begin.
        offset: u64,
        /// How many there are.
        length: u64,
    },
    /// They are encapsulated (PS3.5 A.4): these fragments, the first one an offset table if there are several.
    Encapsulated(Vec<Fragment>),
}

/// Finds the value of the element with this path in `length` bytes of `source`, from where it stands. `None`: there
/// is no such element, or it is a sequence, or nothing that the JSON shows.
///
/// # Errors
/// Those of [`prescan`](crate::dicom::prescan), up to where the element is.
pub fn bulk_data<R: Read + Seek>(
    source: R,
    length: u64,
    encoding: Encoding,
    path: &ElementPath,
) -> Result<Option<BulkData>, Error> {
    let mut walk = Walk::new(source, length, encoding, Vec::new())?;
    loop {
        let event = walk.next()?;
        match event {
            Event::Value(value) if walk.path() == path => {
                let place = Place::Native { offset: value.offset, length: value.length };
                return Ok(Some(found(&value, place)));
            }
            Event::Encapsulated(value) if walk.path() == path => {
                let fragments = fragments(&mut walk)?;
                return Ok(Some(found(&value, Place::Encapsulated(fragments))));
            }
            Event::End => return Ok(None),
            _ => {}
        }
    }
}

fn found(value: &Value, place: Place) -> BulkData {
    let swapped = if value.big_endian { unit(value.vr) } else { 1 };
    BulkData { vr: value.vr, swapped, place }
}

fn fragments(walk: &mut Walk<'_>) -> Result<Vec<Fragment>, Error> {
    let mut fragments = Vec::new();
    while let Event::Fragment(fragment) = walk.next()? {
        if fragments.len() as u64 * size_of::<Fragment>() as u64 >= MOST_FRAGMENTS {
            return Err(Error::TooLarge { limit: MOST_FRAGMENTS });
        }
        fragments.push(fragment);
    }
    Ok(fragments)
}
