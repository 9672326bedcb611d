//! Small data sets and frames for the tests of this module.

use dicom_core::{Tag, VR};

use crate::codec::{Decoded, Photometric, Samples};
use crate::dicom::data_set::{DataSet, Element, Value};

/// A value of an attribute.
pub enum Is {
    /// DS, IS, CS, LO ...
    Text(&'static str),
    /// US or SS, or words of OW.
    Words(Vec<u16>),
    /// OB.
    Bytes(Vec<u8>),
    /// SQ.
    Items(Vec<DataSet>),
}

/// A little endian data set of these attributes, in any order.
pub fn attributes<const N: usize>(mut values: [(Tag, Is); N]) -> DataSet {
    values.sort_by_key(|(tag, _)| *tag);
    DataSet::of(values.into_iter().map(|(tag, value)| {
        let (vr, value) = match value {
            Is::Text(text) => (VR::LO, Value::Bytes(text.as_bytes().to_vec())),
            Is::Words(words) => {
                (VR::US, Value::Bytes(words.into_iter().flat_map(u16::to_le_bytes).collect()))
            }
            Is::Bytes(bytes) => (VR::OB, Value::Bytes(bytes)),
            Is::Items(items) => (VR::SQ, Value::Sequence(items)),
        };
        Element { tag, vr, value }
    }))
}

/// A frame of one row.
pub fn row(photometric: Photometric, bits_stored: u16, samples: Samples) -> Decoded {
    let columns = samples.len() / usize::from(photometric.samples_per_pixel());
    Decoded {
        rows: 1,
        columns: u32::try_from(columns).unwrap(),
        samples_per_pixel: photometric.samples_per_pixel(),
        bits_stored,
        photometric,
        samples,
        unused_bits: None,
    }
}
