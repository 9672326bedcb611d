//! An instance in the DICOM JSON Model, PS3.18 annex F, and the values that are too long for that, one by one.

use std::fs::File;
use std::io::{Seek, SeekFrom};

use dicom_core::Tag;

use super::{Holding, Unreadable, pixels, unreadable};
use crate::archive::{Archive, Error};
use crate::dicom::json::{self, ElementPath};
use crate::dicom::prescan::{Encoding, Fragment};

/// Bulk data that has to be read whole, bytes.
const LONGEST_READ: u64 = 256 << 20;

/// A value that is sent by itself.
#[derive(Debug)]
pub enum Bulk {
    /// It stands in a file as it is sent, in one piece or in fragments.
    Stored {
        /// The file.
        file: File,
        /// Where, in order.
        stretches: Vec<Stretch>,
        /// Whether it is encapsulated pixel data, in the transfer syntax of the instance.
        is_encapsulated: bool,
    },
    /// Its bytes.
    Read(Vec<u8>),
}

/// Bytes of a file that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Where they begin.
    pub offset: u64,
    /// How many there are.
    pub length: u64,
}

impl Bulk {
    /// Bytes of the value.
    pub fn length(&self) -> u64 {
        match self {
            Bulk::Stored { stretches, .. } => {
                stretches.iter().fold(0, |total, stretch| total.saturating_add(stretch.length))
            }
            Bulk::Read(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        }
    }

    /// Whether it is encapsulated pixel data, in the transfer syntax of the instance.
    pub fn is_encapsulated(&self) -> bool {
        matches!(self, Bulk::Stored { is_encapsulated: true, .. })
    }
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
        let is_deflated = holding.encoding() == Encoding::Deflated;
        Ok(Some(match place {
            json::Place::Native { length, .. } if (is_deflated || swapped > 1) && length > LONGEST_READ => {
                return Err(Unreadable::TooLong(length));
            }
            json::Place::Native { offset, length } if is_deflated => {
                Bulk::Read(pixels::inflate(&file, holding, offset, length)?)
            }
            json::Place::Native { offset, length } if swapped == 1 => {
                let offset = holding.start().saturating_add(offset);
                Bulk::Stored { file, stretches: vec![Stretch { offset, length }], is_encapsulated: false }
            }
            json::Place::Native { offset, length } => {
                let mut bytes = Vec::new();
                pixels::append(&file, holding.start().saturating_add(offset), length, &mut bytes)?;
                bytes.chunks_mut(swapped).for_each(<[u8]>::reverse);
                Bulk::Read(bytes)
            }
            json::Place::Encapsulated(_) if is_deflated => {
                let words = "fragments within a deflated data set cannot be read";
                return Err(Unreadable::Frames(words.to_owned()));
            }
            json::Place::Encapsulated(fragments) => {
                // The first of several is the offset table, PS3.5 A.4.
                let table = usize::from(fragments.len() > 1);
                let stretch = |fragment: &Fragment| Stretch {
                    offset: holding.start().saturating_add(fragment.offset),
                    length: fragment.length.into(),
                };
                let stretches = fragments.iter().skip(table).map(stretch).collect();
                Bulk::Stored { file, stretches, is_encapsulated: true }
            }
        }))
    }
}
