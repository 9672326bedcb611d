//! An instance in the DICOM JSON Model, PS3.18 annex F, and the values that are too long for that, one by one.

use std::fs::File;
use std::io::{Seek, SeekFrom};

use dicom_core::Tag;

use super::{Holding, Unreadable, pixels, unreadable};
use crate::archive::{Archive, Error};
use crate::dicom::json::{self, ElementPath};
use crate::dicom::prescan::Encoding;

/// Bulk data that has to be read whole, bytes.
const LONGEST_READ: u64 = 256 << 20;

/// A value that is sent by itself.
#[derive(Debug)]
pub enum Bulk {
    /// It stands in a file as it is sent.
    Stored {
        /// The file.
        file: File,
        /// Where it begins.
        offset: u64,
        /// Its bytes.
        length: u64,
    },
    /// Its bytes.
    Read(Vec<u8>),
}

impl Archive {
    /// An instance in the DICOM JSON Model, PS3.18 annex F, behind what `out` has. Blocks. Nothing that is long is read;
    /// `bulk_data_uri` tells where it will be found.
    pub fn json(
        &self,
        holding: &Holding,
        added: &[(Tag, String)],
        bulk_data_uri: impl FnMut(&ElementPath) -> String,
        out: &mut Vec<u8>,
    ) -> Result<(), Unreadable> {
        let mut file = self.open(holding)?;
        file.seek(SeekFrom::Start(holding.start())).map_err(Error::File)?;
        let (length, encoding) = (holding.length(), holding.encoding());
        let written = json::write(&file, length, encoding, added, bulk_data_uri, out);
        written.map_err(unreadable)
    }

    /// A value of an instance by its path; none where there is no such element, or a sequence. Blocks. A value that is
    /// not there as it is sent, because it is encapsulated, deflated or big endian, is read whole.
    pub fn bulk_data(&self, holding: &Holding, path: &ElementPath) -> Result<Option<Bulk>, Unreadable> {
        let mut file = self.open(holding)?;
        file.seek(SeekFrom::Start(holding.start())).map_err(Error::File)?;
        let found = json::bulk_data(&file, holding.length(), holding.encoding(), path).map_err(unreadable)?;
        let Some(json::BulkData { swapped, place, .. }) = found else { return Ok(None) };
        let total = match &place {
            json::Place::Native { length, .. } => *length,
            json::Place::Encapsulated(all) => all.iter().map(|fragment| u64::from(fragment.length)).sum(),
        };
        let is_read = match &place {
            json::Place::Native { .. } => holding.encoding() == Encoding::Deflated || swapped > 1,
            json::Place::Encapsulated(fragments) => fragments.len() > 2,
        };
        if is_read && total > LONGEST_READ {
            return Err(Unreadable::TooLong(total));
        }
        Ok(Some(match place {
            json::Place::Native { offset, length } if holding.encoding() == Encoding::Deflated => {
                Bulk::Read(pixels::inflate(&file, holding, offset, length)?)
            }
            json::Place::Native { offset, length } if swapped == 1 => {
                Bulk::Stored { file, offset: holding.start().saturating_add(offset), length }
            }
            json::Place::Native { offset, length } => {
                let mut bytes = Vec::new();
                pixels::append(&file, holding.start().saturating_add(offset), length, &mut bytes)?;
                bytes.chunks_mut(swapped).for_each(<[u8]>::reverse);
                Bulk::Read(bytes)
            }
            json::Place::Encapsulated(fragments) => {
                // The first of several is the offset table, PS3.5 A.4.
                let table = usize::from(fragments.len() > 1);
                if let [one] = fragments.get(table..).unwrap_or_default() {
                    let offset = holding.start().saturating_add(one.offset);
                    return Ok(Some(Bulk::Stored { file, offset, length: one.length.into() }));
                }
                let mut bytes = Vec::new();
                for fragment in fragments.iter().skip(table) {
                    let offset = holding.start().saturating_add(fragment.offset);
                    pixels::append(&file, offset, u64::from(fragment.length), &mut bytes)?;
                }
                Bulk::Read(bytes)
            }
        }))
    }
}
