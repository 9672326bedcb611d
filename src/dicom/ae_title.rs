//! Application entity titles (PS3.5 section 6.2, VR AE).

use std::fmt;
use std::str::FromStr;

/// The name of an application entity: 1 to 16 printable ASCII characters without backslash, blanks around it removed.
/// Upper and lower case are different, PS3.8 section 9.3.2.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AeTitle(String);

/// Why a text is not an AE title.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Nothing but blanks.
    #[error("an AE title must not be empty")]
    Empty,
    /// More than 16 characters.
    #[error("an AE title has at most 16 characters, this one has {0}")]
    TooLong(usize),
    /// Not printable ASCII, or the backslash that separates values.
    #[error("an AE title is made of printable ASCII without backslash, this one contains {0:?}")]
    Character(char),
}

impl AeTitle {
    /// The title without padding.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AeTitle {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let text = text.trim_matches([' ', '\0']);
        if text.is_empty() {
            return Err(Invalid::Empty);
        }
        if let Some(bad) = text.chars().find(|&c| !(c == ' ' || c.is_ascii_graphic()) || c == '\\') {
            return Err(Invalid::Character(bad));
        }
        match text.len() {
            1..=16 => Ok(Self(text.to_owned())),
            length => Err(Invalid::TooLong(length)),
        }
    }
}

impl fmt::Display for AeTitle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_around_a_title_do_not_count() {
        assert_eq!("  CT 01  ".parse::<AeTitle>().unwrap().as_str(), "CT 01");
        assert_eq!("FILMROOM        ".parse::<AeTitle>().unwrap().to_string(), "FILMROOM");
    }

    #[test]
    fn what_is_no_title_says_why() {
        assert_eq!("   ".parse::<AeTitle>(), Err(Invalid::Empty));
        assert_eq!("SEVENTEEN_LETTERS".parse::<AeTitle>(), Err(Invalid::TooLong(17)));
        assert_eq!("A\\B".parse::<AeTitle>(), Err(Invalid::Character('\\')));
        assert_eq!("A\r\nB".parse::<AeTitle>(), Err(Invalid::Character('\r')));
        assert_eq!("Röntgen".parse::<AeTitle>(), Err(Invalid::Character('ö')));
    }
}
