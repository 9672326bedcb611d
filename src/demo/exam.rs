//! What every instance of a study says of its patient, study, series and equipment: the modules of PS3.3 C.7.

use std::fmt::Debug;
use std::str::FromStr;

use chrono::{Datelike, NaiveDate, NaiveTime};
use dicom_core::Tag;
use dicom_dictionary_std::{tags, uids};
use sha2::{Digest, Sha256};

use super::Instance;
use super::data_set::DataSet;
use super::people::Patient;

/// A device, as it describes itself.
pub struct Equipment {
    /// Manufacturer (0008,0070).
    pub manufacturer: &'static str,
    /// Manufacturer's Model Name (0008,1090).
    pub model: &'static str,
    /// Station Name (0008,1010).
    pub station: &'static str,
    /// Device Serial Number (0018,1000).
    pub serial_number: &'static str,
    /// Software Versions (0018,1020).
    pub software: &'static str,
    /// Institutional Department Name (0008,1040).
    pub department: &'static str,
}

/// A study.
#[derive(Clone, Copy)]
pub struct Exam {
    /// What its UIDs are made of, together with its date.
    pub key: &'static str,
    /// Whose it is.
    pub patient: &'static Patient,
    /// Study Date (0008,0020).
    pub date: NaiveDate,
    /// Hour and minute.
    pub time: (u32, u32),
    /// Study Description (0008,1030).
    pub description: &'static str,
    /// What the referrer wants to know.
    pub reason: &'static str,
    /// Of the day.
    pub number: u32,
    /// What it was made with.
    pub equipment: &'static Equipment,
}

/// A series of a study.
pub struct Series {
    /// Series Number (0020,0011).
    pub number: u32,
    /// Modality (0008,0060).
    pub modality: &'static str,
    /// Series Description (0008,103E).
    pub description: &'static str,
    /// Body Part Examined (0018,0015).
    pub body_part: &'static str,
    /// Protocol Name (0018,1030).
    pub protocol: &'static str,
    /// Left, right, or empty where there is only one.
    pub laterality: &'static str,
    /// Minutes after the study began.
    pub after: u32,
}

impl Series {
    /// Reports are not acquired by a modality, and have none of its attributes.
    fn is_document(&self) -> bool {
        matches!(self.modality, "SR" | "DOC")
    }
}

const INSTITUTION: &str = "Harbour Street Imaging";

impl Exam {
    /// Starts an instance: everything but what is in the picture. The last part of its UIDs is `series.number` and `number`.
    pub fn instance(&self, series: &Series, sop_class_uid: &'static str, number: u32) -> Draft {
        let patient = self.patient;
        let mut data_set = DataSet::new(patient.character_set);
        let sop_instance_uid = self.uid(&format!("{}/{number}", series.number));
        data_set
            .text(tags::SPECIFIC_CHARACTER_SET, patient.character_set.defined_term())
            .text(tags::SOP_CLASS_UID, sop_class_uid)
            .text(tags::SOP_INSTANCE_UID, &sop_instance_uid)
            .text(tags::PATIENT_NAME, patient.name)
            .text(tags::PATIENT_ID, patient.id)
            .text(tags::ISSUER_OF_PATIENT_ID, "HARBOUR")
            .text(tags::PATIENT_BIRTH_DATE, &date(patient.birth_date()))
            .text(tags::PATIENT_SEX, patient.sex)
            .text(tags::PATIENT_AGE, &age(patient.birth_date(), self.date))
            .number(tags::PATIENT_SIZE, patient.size)
            .number(tags::PATIENT_WEIGHT, patient.weight)
            .text(tags::PATIENT_COMMENTS, patient.comments);
        self.study(&mut data_set);
        self.series(&mut data_set, series);
        data_set.number(tags::INSTANCE_NUMBER, f64::from(number));
        self.moment(&mut data_set, series, number);
        Draft { sop_class_uid, sop_instance_uid, label: format!("{} {}", self.description, number), data_set }
    }

    fn study(&self, data_set: &mut DataSet) {
        let equipment = self.equipment;
        data_set
            .text(tags::STUDY_INSTANCE_UID, &self.uid("study"))
            .text(tags::STUDY_DATE, &date(self.date))
            .text(tags::STUDY_TIME, &time(self.at(0, 0)))
            .text(tags::STUDY_ID, &format!("{:03}", self.number))
            .text(tags::ACCESSION_NUMBER, &self.accession_number())
            .text(tags::STUDY_DESCRIPTION, self.description)
            .text(tags::ADMITTING_DIAGNOSES_DESCRIPTION, self.reason)
            .text(tags::REFERRING_PHYSICIAN_NAME, self.patient.referred_by)
            .text(tags::PHYSICIANS_OF_RECORD, self.patient.referred_by)
            .text(tags::NAME_OF_PHYSICIANS_READING_STUDY, "Okafor^Chidi^^Dr")
            .text(tags::MANUFACTURER, equipment.manufacturer)
            .text(tags::MANUFACTURER_MODEL_NAME, equipment.model)
            .text(tags::STATION_NAME, equipment.station)
            .text(tags::DEVICE_SERIAL_NUMBER, equipment.serial_number)
            .text(tags::SOFTWARE_VERSIONS, equipment.software)
            .text(tags::INSTITUTION_NAME, INSTITUTION)
            .text(tags::INSTITUTION_ADDRESS, "12 Harbour Street, Portside")
            .text(tags::INSTITUTIONAL_DEPARTMENT_NAME, equipment.department);
    }

    fn series(&self, data_set: &mut DataSet, series: &Series) {
        data_set
            .text(tags::MODALITY, series.modality)
            .text(tags::SERIES_INSTANCE_UID, &self.uid(&format!("series/{}", series.number)))
            .number(tags::SERIES_NUMBER, f64::from(series.number))
            .text(tags::SERIES_DESCRIPTION, series.description)
            .text(tags::SERIES_DATE, &date(self.date))
            .text(tags::SERIES_TIME, &time(self.at(series.after, 0)));
        if !series.is_document() {
            self.procedure(data_set, series);
        }
    }

    /// What was done for the picture, and at whose request.
    fn procedure(&self, data_set: &mut DataSet, series: &Series) {
        data_set
            .text(tags::BODY_PART_EXAMINED, series.body_part)
            .text(tags::PROTOCOL_NAME, series.protocol)
            .text(tags::PERFORMING_PHYSICIAN_NAME, "Okafor^Chidi^^Dr")
            .text(tags::OPERATORS_NAME, "Lindqvist^Maja")
            .text(tags::PERFORMED_PROCEDURE_STEP_START_DATE, &date(self.date))
            .text(tags::PERFORMED_PROCEDURE_STEP_START_TIME, &time(self.at(0, 0)))
            .text(tags::PERFORMED_PROCEDURE_STEP_ID, &format!("PPS{}", self.accession_number()))
            .text(tags::PERFORMED_PROCEDURE_STEP_DESCRIPTION, self.description);
        if !series.laterality.is_empty() {
            data_set.text(tags::LATERALITY, series.laterality);
        }
        let mut request = data_set.item();
        request
            .text(tags::REQUESTED_PROCEDURE_ID, &format!("RP{}", self.accession_number()))
            .text(tags::REQUESTED_PROCEDURE_DESCRIPTION, self.description)
            .text(tags::SCHEDULED_PROCEDURE_STEP_ID, &format!("SPS{}", self.accession_number()))
            .text(tags::SCHEDULED_PROCEDURE_STEP_DESCRIPTION, series.protocol)
            .text(tags::REASON_FOR_THE_REQUESTED_PROCEDURE, self.reason);
        data_set.sequence(tags::REQUEST_ATTRIBUTES_SEQUENCE, vec![request]);
    }

    fn moment(&self, data_set: &mut DataSet, series: &Series, number: u32) {
        let (day, moment) = (date(self.date), time(self.at(series.after, number)));
        data_set.text(tags::CONTENT_DATE, &day).text(tags::CONTENT_TIME, &moment);
        if !series.is_document() {
            data_set.text(tags::ACQUISITION_DATE, &day).text(tags::ACQUISITION_TIME, &moment);
        }
    }

    /// At most 16 characters, one for each study.
    fn accession_number(&self) -> String {
        format!("{}{:03}", self.date.format("%y%m%d"), self.number)
    }

    fn at(&self, minutes: u32, seconds: u32) -> NaiveTime {
        let begun = self.time.0 * 3600 + self.time.1 * 60 + 17;
        NaiveTime::from_num_seconds_from_midnight_opt((begun + minutes * 60 + seconds) % 86_400, 0)
            .unwrap_or_default()
    }

    /// The same for the same study, day and part, PS3.5 B.2: a number of 128 bits below 2.25.
    pub fn uid(&self, part: &str) -> String {
        let digest = Sha256::digest(format!("filmroom demo/{}/{}/{part}", self.key, date(self.date)));
        let number = digest.iter().take(16).fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
        format!("2.25.{number}")
    }
}

/// An instance that is being made.
pub struct Draft {
    sop_class_uid: &'static str,
    sop_instance_uid: String,
    label: String,
    /// To be completed.
    pub data_set: DataSet,
}

impl Draft {
    /// Puts an attribute into it.
    pub fn text(&mut self, tag: Tag, text: &str) -> &mut Draft {
        self.data_set.text(tag, text);
        self
    }

    /// Puts numbers into it.
    pub fn numbers(&mut self, tag: Tag, numbers: &[f64]) -> &mut Draft {
        self.data_set.numbers(tag, numbers);
        self
    }

    /// The grey pixels, PS3.3 C.7.6.3: two bytes each.
    pub fn pixels(&mut self, layout: &Layout, pixels: Vec<u8>) -> &mut Draft {
        self.data_set
            .number(tags::SAMPLES_PER_PIXEL, 1.0)
            .text(tags::PHOTOMETRIC_INTERPRETATION, layout.photometric)
            .number(tags::ROWS, layout.rows as f64)
            .number(tags::COLUMNS, layout.columns as f64)
            .number(tags::BITS_ALLOCATED, 16.0)
            .number(tags::BITS_STORED, f64::from(layout.bits_stored))
            .number(tags::HIGH_BIT, f64::from(layout.bits_stored - 1))
            .number(tags::PIXEL_REPRESENTATION, if layout.signed { 1.0 } else { 0.0 })
            .bytes(tags::PIXEL_DATA, dicom_core::VR::OW, pixels);
        self
    }

    /// Ready to be sent.
    pub fn finish(self) -> Instance {
        Instance {
            sop_class_uid: known(self.sop_class_uid),
            sop_instance_uid: known(&self.sop_instance_uid),
            transfer_syntax_uid: known(uids::EXPLICIT_VR_LITTLE_ENDIAN),
            data_set: self.data_set.encode(),
            label: self.label,
        }
    }
}

/// A UID of the standard, or one made by [`Exam::uid`].
pub fn known<T: FromStr<Err: Debug>>(uid: &str) -> T {
    uid.parse().expect("a UID of our own making is valid")
}

/// How grey pixels are laid out.
pub struct Layout {
    /// Rows (0028,0010).
    pub rows: usize,
    /// Columns (0028,0011).
    pub columns: usize,
    /// Bits Stored (0028,0101).
    pub bits_stored: u16,
    /// Pixel Representation (0028,0103).
    pub signed: bool,
    /// Photometric Interpretation (0028,0004).
    pub photometric: &'static str,
}

fn date(date: NaiveDate) -> String {
    date.format("%Y%m%d").to_string()
}

fn time(time: NaiveTime) -> String {
    time.format("%H%M%S").to_string()
}

/// PS3.5 AS, in years, which is what everybody here has enough of.
fn age(born: NaiveDate, on: NaiveDate) -> String {
    let had_birthday = (on.month(), on.day()) >= (born.month(), born.day());
    let years = on.year() - born.year() - i32::from(!had_birthday);
    format!("{:03}Y", years.clamp(0, 999))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn age_counts_birthdays() {
        let day = |y, m, d| NaiveDate::from_ymd_opt(y, m, d).expect("a day");
        assert_eq!(age(day(1961, 5, 3), day(2026, 5, 2)), "064Y");
        assert_eq!(age(day(1961, 5, 3), day(2026, 5, 3)), "065Y");
    }
}
