//! Unique identifiers (PS3.5 section 9 and 6.2, VR UI), one Rust type for each thing that has one.
//!
//! The standard wants digits and dots. Devices exist that write letters, hyphens or empty components, and refusing
//! their images helps nobody, so a UID here is 1 to 64 characters of `[A-Za-z0-9._-]` that does not begin with a dot
//! or hold two in a row. Nothing in filmroom makes a path of a UID.

use std::fmt;
use std::str::FromStr;

use dicom_dictionary_std::uids;

/// The longest UID, PS3.5 section 9.1.
pub const MAX_LENGTH: usize = 64;

/// Why a text is not a UID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// There is nothing but padding.
    #[error("it is empty")]
    Empty,
    /// More than 64 characters.
    #[error("it has {0} characters where 64 are allowed")]
    TooLong(usize),
    /// A character no device has an honest reason to send.
    #[error("it contains {0:?}")]
    Character(char),
    /// A dot at the start, or two dots in a row.
    #[error("it begins with a dot or has two dots in a row")]
    Dots,
}

/// Components of digits, at least two, the first a root of the tree of object identifiers.
fn is_possible(text: &str) -> bool {
    let mut components = text.split('.');
    let root = components.next().is_some_and(|root| matches!(root, "0" | "1" | "2"));
    let mut rest = components.peekable();
    root && rest.peek().is_some()
        && rest.all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
}

/// The text without the padding UI values carry, if it can stand for a UID.
fn checked(text: &str) -> Result<&str, Invalid> {
    let text = text.trim_end_matches(['\0', ' ']).trim_start_matches(' ');
    if text.is_empty() {
        return Err(Invalid::Empty);
    }
    if let Some(bad) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))) {
        return Err(Invalid::Character(bad));
    }
    if text.len() > MAX_LENGTH {
        return Err(Invalid::TooLong(text.len()));
    }
    if text.starts_with('.') || text.contains("..") {
        return Err(Invalid::Dots);
    }
    Ok(text)
}

macro_rules! uid_types {
    ($($(#[$meta:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// The UID as text, without padding.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Whether the text can be a UID at all, PS3.5 section 9.1: several components of digits, the first of
            /// them 0, 1 or 2. Devices write others too; this tells those that are only noise.
            pub fn is_possible(&self) -> bool {
                is_possible(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                checked(text).map(|text| Self(text.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+};
}

uid_types! {
    /// Study Instance UID (0020,000D).
    StudyInstanceUid,
    /// Series Instance UID (0020,000E).
    SeriesInstanceUid,
    /// SOP Instance UID (0008,0018).
    SopInstanceUid,
    /// SOP Class UID (0008,0016).
    SopClassUid,
    /// Transfer Syntax UID (0002,0010).
    TransferSyntaxUid,
    /// Transaction UID (0008,1195).
    TransactionUid,
}

impl TransactionUid {
    /// The UID of these random bits, PS3.5 B.2.
    pub fn of_random(bits: u128) -> TransactionUid {
        TransactionUid(format!("2.25.{bits}"))
    }
}

/// How the elements of a data set are written, PS3.5 section 7 and annex A.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// No VR in the element header, little endian.
    ImplicitVrLittleEndian,
    /// VR in the element header, little endian; every encapsulated transfer syntax too.
    ExplicitVrLittleEndian,
    /// VR in the element header, big endian (retired, still on old tapes).
    ExplicitVrBigEndian,
    /// Explicit VR little endian, the whole data set compressed with deflate.
    Deflated,
}

/// The retired big endian syntax, PS3.5 A.3 of editions before 2006.
pub(super) const EXPLICIT_VR_BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";

/// GE's private syntax: an implicit little endian data set around big endian pixels.
const GE_PRIVATE_IMPLICIT_VR_BIG_ENDIAN_PIXELS: &str = "1.2.840.113619.5.2";

impl TransferSyntaxUid {
    /// One of the standard's own.
    pub(super) fn standard(uid: &'static str) -> TransferSyntaxUid {
        TransferSyntaxUid(uid.to_owned())
    }

    /// How a data set of this transfer syntax is written. What we do not know is explicit VR little endian, as
    /// PS3.5 A.4 demands of every syntax since 1996.
    pub fn encoding(&self) -> Encoding {
        match self.as_str() {
            uids::IMPLICIT_VR_LITTLE_ENDIAN | GE_PRIVATE_IMPLICIT_VR_BIG_ENDIAN_PIXELS => {
                Encoding::ImplicitVrLittleEndian
            }
            EXPLICIT_VR_BIG_ENDIAN => Encoding::ExplicitVrBigEndian,
            uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN
            | uids::JPIP_REFERENCED_DEFLATE
            | uids::JPIPHTJ2K_REFERENCED_DEFLATE => Encoding::Deflated,
            _ => Encoding::ExplicitVrLittleEndian,
        }
    }

    /// Whether native pixels are big endian: the retired big endian syntax, and GE's private one.
    pub fn has_big_endian_pixels(&self) -> bool {
        matches!(self.as_str(), EXPLICIT_VR_BIG_ENDIAN | GE_PRIVATE_IMPLICIT_VR_BIG_ENDIAN_PIXELS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_told_from_the_sloppy_uids_of_devices() {
        let possible = |text: &str| text.parse::<SopInstanceUid>().unwrap().is_possible();
        assert!(possible("1.2.3") && possible("2.25.0123") && possible("0.9"));
        assert!(
            !possible("31") && !possible("1") && !possible("3.1") && !possible("1.2.x") && !possible("1.")
        );
    }

    #[test]
    fn padding_is_not_part_of_a_uid() {
        for text in ["1.2.3", "1.2.3\0", "1.2.3 ", " 1.2.3\0\0"] {
            assert_eq!(text.parse::<SopInstanceUid>().unwrap().as_str(), "1.2.3", "{text:?}");
        }
    }

    #[test]
    fn sloppy_uids_are_accepted_and_dangerous_ones_are_not() {
        for text in ["1.2.03", "1.2.", "ABC-1_2", &"1".repeat(64)] {
            assert!(text.parse::<StudyInstanceUid>().is_ok(), "{text:?}");
        }
        let refused = [
            ("", Invalid::Empty),
            ("\0\0", Invalid::Empty),
            ("../../etc/passwd", Invalid::Character('/')),
            ("1.2\0.3", Invalid::Character('\0')),
            ("1.2\n", Invalid::Character('\n')),
            (".1.2", Invalid::Dots),
            ("1..2", Invalid::Dots),
            ("1.2.é", Invalid::Character('é')),
        ];
        for (text, why) in refused {
            assert_eq!(text.parse::<StudyInstanceUid>(), Err(why), "{text:?}");
        }
        assert_eq!("1".repeat(200).parse::<StudyInstanceUid>(), Err(Invalid::TooLong(200)));
    }

    #[test]
    fn unknown_transfer_syntaxes_are_explicit_little_endian() {
        let encoding = |text: &str| text.parse::<TransferSyntaxUid>().unwrap().encoding();
        assert_eq!(encoding("1.2.840.10008.1.2"), Encoding::ImplicitVrLittleEndian);
        assert_eq!(encoding("1.2.840.10008.1.2.2"), Encoding::ExplicitVrBigEndian);
        assert_eq!(encoding("1.2.840.10008.1.2.1.99"), Encoding::Deflated);
        assert_eq!(encoding("1.2.840.10008.1.2.4.95"), Encoding::Deflated);
        assert_eq!(encoding("1.2.840.113619.5.2"), Encoding::ImplicitVrLittleEndian);
        assert_eq!(encoding("1.2.3.4.5"), Encoding::ExplicitVrLittleEndian);
    }
}
