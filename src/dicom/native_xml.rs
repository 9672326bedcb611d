//! The Native DICOM Model, PS3.19 annex A.1: data sets as XML, from the DICOM JSON Model and back to it.
//!
//! Both models hold the same, so what is true of the one is not said again of the other. A private attribute has the
//! number `gggg00ee` and the name of its creator, which stands for the block; the creator elements are written too, so
//! that a data set comes back with the blocks it had. Characters that XML 1.0 cannot hold become U+FFFD.

pub use self::read::{Error, read};
pub use self::write::write;
use dicom_core::Tag;

mod read;
#[cfg(test)]
mod tests;
mod write;

/// PS3.19 A.1.6.
const NAMESPACE: &str = "http://dicom.nema.org/PS3.19/models/NativeDICOM";

/// The component groups of a name, PS3.5 section 6.2.1, as both models call them.
const GROUPS: [&str; 3] = ["Alphabetic", "Ideographic", "Phonetic"];

/// The components of each, in their order.
const COMPONENTS: [&str; 5] = ["FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix"];

/// The block whose creator this element names, PS3.5 section 7.8.1.
fn created_block(tag: Tag) -> Option<u8> {
    let block = u8::try_from(tag.element()).ok().filter(|&block| block >= 0x10)?;
    (tag.group() % 2 == 1).then_some(block)
}

/// The block that this element is in, likewise.
fn block(tag: Tag) -> Option<u8> {
    let [block, _] = tag.element().to_be_bytes();
    (tag.group() % 2 == 1 && block >= 0x10).then_some(block)
}

/// The element of this number in a block.
fn in_block(tag: Tag, block: u8) -> Tag {
    let [_, number] = tag.element().to_be_bytes();
    Tag(tag.group(), u16::from_be_bytes([block, number]))
}
