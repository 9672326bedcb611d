//! DICOMweb, PS3.18, below `/dicom-web`: for viewers and programs. What is found and shown is what the pages find and
//! show, with the same rights and the same trace.

mod media;
mod parameters;
pub mod qido;
pub mod wado;

use super::access::Caller;

/// Where all of it is.
pub const ROOT: &str = "/dicom-web";

/// The beginning of the addresses of a caller's own view: `https://pacs.local/dicom-web`.
fn root(caller: &Caller) -> String {
    format!("{}{ROOT}", caller.client.site())
}
