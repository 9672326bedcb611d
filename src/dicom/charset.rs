//! Specific Character Set (0008,0005) and its code extensions, PS3.5 section 6.1.2.

/// The character sets in force in a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CharacterSet {
    utf8: bool,
}

impl CharacterSet {
    /// Reads the value of Specific Character Set.
    pub fn from_value(value: &[u8]) -> Self {
        Self { utf8: value.starts_with(b"ISO_IR 192") }
    }

    /// A text of one value: ST, LT, UT, where the backslash is a letter like others.
    pub fn decode(&self, bytes: &[u8]) -> String {
        match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) if self.utf8 => String::from_utf8_lossy(bytes).into_owned(),
            Err(_) => bytes.iter().map(|&byte| char::from(byte)).collect(),
        }
    }

    /// The values of a text whose values a backslash separates.
    pub fn decode_values(&self, bytes: &[u8]) -> Vec<String> {
        self.decode(bytes).split('\\').map(str::to_owned).collect()
    }
}
