//! DICOM on the wire, PS3.7 and PS3.8: a file per service.

pub mod command;
pub mod scu;
