//! The standard's vocabulary: values in, values out. No I/O beyond `Read`, no async, SQL or HTML.

pub mod ae_title;
pub mod attributes;
pub mod charset;
pub mod cine;
pub mod commitment;
pub mod data_set;
pub mod dictionary;
pub mod difference;
pub mod file_meta;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod frame_index;
pub mod implementation;
pub mod json;
pub mod native_xml;
pub mod person_name;
pub mod prescan;
pub mod query;
pub mod reencode;
pub mod service;
pub mod sop_class;
pub mod uid;
pub mod value;
pub mod writer;
