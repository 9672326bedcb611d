//! The patients, their names in the scripts they are written in, and who sent them. Nobody here exists.

use chrono::NaiveDate;
use encoding_rs::Encoding;

/// How a data set writes its text, PS3.3 C.12.1.1.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CharacterSet {
    /// ISO 8859-1.
    Latin1,
    /// ISO 8859-5.
    Cyrillic,
    /// ISO 8859-6.
    Arabic,
    /// ISO 8859-7.
    Greek,
    /// TIS 620-2533.
    Thai,
    /// JIS X 0208 by code extensions, PS3.5 H.3.
    Japanese,
    /// Unicode.
    Utf8,
}

impl CharacterSet {
    /// The value of Specific Character Set (0008,0005).
    pub fn defined_term(self) -> &'static str {
        match self {
            CharacterSet::Latin1 => "ISO_IR 100",
            CharacterSet::Cyrillic => "ISO_IR 144",
            CharacterSet::Arabic => "ISO_IR 127",
            CharacterSet::Greek => "ISO_IR 126",
            CharacterSet::Thai => "ISO_IR 166",
            CharacterSet::Japanese => "\\ISO 2022 IR 87",
            CharacterSet::Utf8 => "ISO_IR 192",
        }
    }

    /// The text in this character set. ISO-2022-JP goes back to ASCII before each delimiter, as PS3.5 6.1.2.5.3 wants.
    pub fn encode(self, text: &str) -> Vec<u8> {
        self.encoding().encode(text).0.into_owned()
    }

    fn encoding(self) -> &'static Encoding {
        match self {
            CharacterSet::Latin1 => encoding_rs::WINDOWS_1252, // the same where ISO 8859-1 has letters
            CharacterSet::Cyrillic => encoding_rs::ISO_8859_5,
            CharacterSet::Arabic => encoding_rs::ISO_8859_6,
            CharacterSet::Greek => encoding_rs::ISO_8859_7,
            CharacterSet::Thai => encoding_rs::WINDOWS_874,
            CharacterSet::Japanese => encoding_rs::ISO_2022_JP,
            CharacterSet::Utf8 => encoding_rs::UTF_8,
        }
    }
}

/// A patient, with what their data sets say of them.
#[derive(Debug)]
pub struct Patient {
    /// Patient ID (0010,0020).
    pub id: &'static str,
    /// Patient's Name (0010,0010), component groups separated by `=`.
    pub name: &'static str,
    /// How their data sets are written.
    pub character_set: CharacterSet,
    /// Year, month, day.
    pub born: (i32, u32, u32),
    /// Patient's Sex (0010,0040).
    pub sex: &'static str,
    /// m.
    pub size: f64,
    /// kg.
    pub weight: f64,
    /// Patient Comments (0010,4000).
    pub comments: &'static str,
    /// Referring Physician's Name (0008,0090).
    pub referred_by: &'static str,
}

impl Patient {
    /// When they were born.
    pub fn birth_date(&self) -> NaiveDate {
        let (year, month, day) = self.born;
        NaiveDate::from_ymd_opt(year, month, day).unwrap_or_default()
    }
}

/// The head with a bleeding.
pub static LEFEVRE: Patient = Patient {
    id: "100482",
    name: "Lefèvre^Amélie^Noëlle^Mme",
    character_set: CharacterSet::Latin1,
    born: (1961, 5, 3),
    sex: "F",
    size: 1.66,
    weight: 63.0,
    comments: "",
    referred_by: "Béranger^Hélène^^Dr",
};

/// The brain with plaques.
pub static SUZUKI: Patient = Patient {
    id: "100517",
    name: "Suzuki^Haruka=鈴木^遥=すずき^はるか",
    character_set: CharacterSet::Japanese,
    born: (1988, 11, 21),
    sex: "F",
    size: 1.58,
    weight: 51.5,
    comments: "",
    referred_by: "Sato^Ichiro=佐藤^一郎=さとう^いちろう",
};

/// The nodule that grows.
pub static SOKOLOV: Patient = Patient {
    id: "100133",
    name: "Соколов^Виктор^Андреевич",
    character_set: CharacterSet::Cyrillic,
    born: (1957, 2, 14),
    sex: "M",
    size: 1.79,
    weight: 84.0,
    comments: "",
    referred_by: "Орлова^Мария^Павловна^д-р",
};

/// The heart with a leaking valve.
pub static NUNEZ: Patient = Patient {
    id: "100609",
    name: "Núñez Ibáñez^José María",
    character_set: CharacterSet::Latin1,
    born: (1949, 9, 30),
    sex: "M",
    size: 1.71,
    weight: 77.0,
    comments: "Hard of hearing",
    referred_by: "Gómez^Inés^^Dra",
};

/// The breasts.
pub static PAPADOPOULOU: Patient = Patient {
    id: "100588",
    name: "Παπαδοπούλου^Ελένη",
    character_set: CharacterSet::Greek,
    born: (1970, 7, 8),
    sex: "F",
    size: 1.63,
    weight: 68.0,
    comments: "",
    referred_by: "Νικολάου^Σοφία",
};

/// The cracked hand.
pub static MANSOUR: Patient = Patient {
    id: "100621",
    name: "منصور^ليلى",
    character_set: CharacterSet::Arabic,
    born: (2009, 12, 1),
    sex: "F",
    size: 1.55,
    weight: 47.0,
    comments: "",
    referred_by: "حداد^سامي",
};

/// The chest with a pacemaker.
pub static RATTANAKUL: Patient = Patient {
    id: "100644",
    name: "รัตนกุล^สมชาย",
    character_set: CharacterSet::Thai,
    born: (1944, 4, 13),
    sex: "M",
    size: 1.68,
    weight: 71.0,
    comments: "",
    referred_by: "Fischer^Karin^^Dr",
};

/// The healthy chest.
pub static WANG: Patient = Patient {
    id: "100630",
    name: "Wang^Xiaodong=王^小东",
    character_set: CharacterSet::Utf8,
    born: (1994, 8, 17),
    sex: "F",
    size: 1.64,
    weight: 55.0,
    comments: "",
    referred_by: "Fischer^Karin^^Dr",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_can_be_written_in_its_character_set() {
        for patient in [&LEFEVRE, &SUZUKI, &SOKOLOV, &NUNEZ, &PAPADOPOULOU, &MANSOUR, &RATTANAKUL, &WANG] {
            for name in [patient.name, patient.referred_by] {
                let (bytes, _, replaced) = patient.character_set.encoding().encode(name);
                assert!(!replaced, "{name}");
                assert!(name.split('=').all(|group| group.chars().count() <= 64), "{name} fits a PN");
                assert_eq!(bytes.into_owned(), patient.character_set.encode(name));
            }
        }
    }

    #[test]
    fn japanese_names_switch_back_to_ascii_before_each_delimiter() {
        let bytes = CharacterSet::Japanese.encode("山田^太郎");
        assert_eq!(bytes, b"\x1B$B;3ED\x1B(B^\x1B$BB@O:\x1B(B");
    }
}
