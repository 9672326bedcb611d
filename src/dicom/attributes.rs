//! What the index keeps of an instance: one typed field for each column of `schema.sql` that comes from the data set
//! (PS3.3 C.7, PS3.4 C.6), cut to the column's length.
//!
//! Nothing but an unusable UID is refused. What is missing and must be there gets a stand-in, and a [`Note`] says so.

use std::fmt;

use chrono::{NaiveDate, NaiveTime};
use dicom_core::Tag;
use dicom_dictionary_std::tags;

use self::columns::{
    CODE, LONG, NAME, SHORT, all, cut, date, document_title, either, folded, hash, integer, modality, number,
    slice_position, stand_in, text, time, told_apart, uid_of, unsigned,
};
use super::data_set::DataSet;
use super::dictionary;
use super::prescan::Scan;
use super::uid::{self, SeriesInstanceUid, SopClassUid, SopInstanceUid, StudyInstanceUid};

mod columns;
#[cfg(test)]
mod tests;

/// All that the index keeps of an instance.
#[derive(Debug, Clone, PartialEq)]
pub struct Attributes {
    /// Table `patient`.
    pub patient: Patient,
    /// Table `study`, together with [`patient`](Self::patient).
    pub study: Study,
    /// Table `series`.
    pub series: Series,
    /// Table `equipment`.
    pub equipment: Equipment,
    /// Table `instance`.
    pub instance: Instance,
    /// What had to be made up, or could not be read.
    pub notes: Vec<Note>,
}

/// Who was examined: the columns of `patient`, which `study` repeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patient {
    /// (0010,0020). Longer than 64 characters: the first 47, an ellipsis, and 16 digits of the SHA-256 of all;
    /// likewise where bytes cannot be decoded.
    pub patient_id: String,
    /// (0010,0021), shortened alike.
    pub issuer_of_patient_id: String,
    /// The Study Instance UID where there is no Patient ID, else empty.
    pub unidentified_study: String,
    /// (0010,0010), all component groups, at most 324 characters.
    pub patient_name: String,
    /// (0010,0030)
    pub patient_birth_date: Option<NaiveDate>,
    /// (0010,0040)
    pub patient_sex: String,
}

/// The columns of `study` that `patient` has not.
#[derive(Debug, Clone, PartialEq)]
pub struct Study {
    /// (0020,000D)
    pub study_instance_uid: StudyInstanceUid,
    /// Patient's Name as it is searched, at most 1000 characters.
    pub patient_name_folded: String,
    /// Its first 64 characters.
    pub patient_name_sort: String,
    /// (0010,0032)
    pub patient_birth_time: Option<NaiveTime>,
    /// (0010,1010)
    pub patient_age: String,
    /// (0010,1020), m
    pub patient_size: Option<f64>,
    /// (0010,1030), kg
    pub patient_weight: Option<f64>,
    /// (0010,4000)
    pub patient_comments: String,
    /// (0008,0020)
    pub study_date: Option<NaiveDate>,
    /// (0008,0030)
    pub study_time: Option<NaiveTime>,
    /// (0020,0010)
    pub study_id: String,
    /// (0008,0050)
    pub accession_number: String,
    /// (0008,1030)
    pub study_description: String,
    /// (0008,0090), all component groups
    pub referring_physician_name: String,
    /// Referring Physician's Name as it is searched.
    pub referring_physician_name_folded: String,
    /// (0008,1048), a backslash between names
    pub physicians_of_record: String,
    /// (0008,1060), a backslash between names
    pub name_of_physicians_reading_study: String,
    /// (0008,1080)
    pub admitting_diagnoses_description: String,
    /// (0008,0080)
    pub institution_name: String,
}

/// The columns of `series`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    /// (0020,000E)
    pub series_instance_uid: SeriesInstanceUid,
    /// (0008,0060), upper case ASCII without commas
    pub modality: String,
    /// (0020,0011)
    pub series_number: Option<i32>,
    /// (0008,103E)
    pub series_description: String,
    /// (0008,0021)
    pub series_date: Option<NaiveDate>,
    /// (0008,0031)
    pub series_time: Option<NaiveTime>,
    /// (0018,0015)
    pub body_part_examined: String,
    /// (0018,1030)
    pub protocol_name: String,
    /// (0020,0060), else (0020,0062)
    pub laterality: String,
    /// (0018,5100)
    pub patient_position: String,
    /// (0008,1050), a backslash between names
    pub performing_physician_name: String,
    /// (0008,1070), a backslash between names
    pub operators_name: String,
    /// (0020,0052), empty if it is no UID
    pub frame_of_reference_uid: String,
    /// (0040,0244)
    pub performed_procedure_step_start_date: Option<NaiveDate>,
    /// (0040,0245)
    pub performed_procedure_step_start_time: Option<NaiveTime>,
    /// (0040,0253)
    pub performed_procedure_step_id: String,
    /// (0040,1001) of the first item of Request Attributes Sequence
    pub requested_procedure_id: String,
    /// (0040,0009) likewise
    pub scheduled_procedure_step_id: String,
}

/// The columns of `equipment`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Equipment {
    /// (0008,0070)
    pub manufacturer: String,
    /// (0008,1090)
    pub manufacturer_model_name: String,
    /// (0008,1010)
    pub station_name: String,
    /// (0008,0080)
    pub institution_name: String,
    /// (0008,0081)
    pub institution_address: String,
    /// (0008,1040)
    pub institutional_department_name: String,
    /// (0018,1000)
    pub device_serial_number: String,
    /// (0018,1020), a backslash between values
    pub software_versions: String,
}

/// The columns of `instance` that the data set fills.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    /// (0008,0018)
    pub sop_instance_uid: SopInstanceUid,
    /// (0008,0016)
    pub sop_class_uid: SopClassUid,
    /// (0020,0013)
    pub instance_number: Option<i32>,
    /// (0008,0023)
    pub content_date: Option<NaiveDate>,
    /// (0008,0033)
    pub content_time: Option<NaiveTime>,
    /// (0008,0022)
    pub acquisition_date: Option<NaiveDate>,
    /// (0008,0032)
    pub acquisition_time: Option<NaiveTime>,
    /// (0020,0012)
    pub acquisition_number: Option<i32>,
    /// (0008,0008), a backslash between values
    pub image_type: String,
    /// (0028,0010)
    pub rows: Option<u32>,
    /// (0028,0011)
    pub columns: Option<u32>,
    /// (0028,0008); 1 where there are pixels and no usable number, 0 where there are no pixels
    pub number_of_frames: u32,
    /// (0028,0100)
    pub bits_allocated: Option<u16>,
    /// (0028,0004)
    pub photometric_interpretation: String,
    /// (0018,0050), mm
    pub slice_thickness: Option<f64>,
    /// (0020,1041), mm
    pub slice_location: Option<f64>,
    /// Image Position (Patient) along the normal of Image Orientation (Patient), mm
    pub slice_position: Option<f64>,
    /// (0040,A491)
    pub completion_flag: String,
    /// (0040,A493)
    pub verification_flag: String,
    /// (0042,0010), or the meaning of Concept Name Code Sequence, or (0070,0080)
    pub document_title: String,
}

/// Something the data set should have said, and what was put in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// There is no Study Instance UID.
    StandInStudyInstanceUid(StudyInstanceUid),
    /// There is no Series Instance UID.
    StandInSeriesInstanceUid(SeriesInstanceUid),
    /// There is no SOP Instance UID; the one it was sent under counts.
    SopInstanceUidOfCommand,
    /// There is no SOP Class UID; the one it was sent under counts.
    SopClassUidOfCommand,
    /// The Patient ID has more characters than the column.
    ShortenedPatientId,
    /// The Patient ID has bytes its character set has not.
    UnreadablePatientId,
    /// A sequence contradicts itself; only the items before the mistake were read.
    DamagedSequence(Tag),
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StandInStudyInstanceUid(uid) => {
                write!(f, "Study Instance UID is missing, filed under {uid}")
            }
            Self::StandInSeriesInstanceUid(uid) => {
                write!(f, "Series Instance UID is missing, filed under {uid}")
            }
            Self::SopInstanceUidOfCommand => {
                f.write_str("SOP Instance UID is missing, taken from the request")
            }
            Self::SopClassUidOfCommand => f.write_str("SOP Class UID is missing, taken from the request"),
            Self::ShortenedPatientId => {
                f.write_str("Patient ID is longer than 64 characters and was shortened")
            }
            Self::DamagedSequence(tag) => {
                write!(f, "{} {tag} contradicts itself, only its beginning was read", dictionary::name(*tag))
            }
            Self::UnreadablePatientId => f.write_str("Patient ID is not in its Specific Character Set"),
        }
    }
}

/// Why an instance cannot be filed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A UID that cannot be one.
    #[error("{} {tag} is not usable: {reason}", dictionary::name(*.tag))]
    UnusableUid {
        /// Which one.
        tag: Tag,
        /// What is wrong with it.
        reason: uid::Invalid,
    },
    /// Neither the data set nor the request has it.
    #[error("{} {tag} is missing", dictionary::name(*.tag))]
    Missing {
        /// Which one.
        tag: Tag,
    },
}

impl Attributes {
    /// Collects what the index keeps. The SOP class and instance UIDs of the request, or of the file meta
    /// information, count only where the data set has none; whether they agree is for the caller to compare.
    ///
    /// # Errors
    /// A UID of study, series, instance or SOP class that is there and cannot be one, and no UID of the instance or
    /// its SOP class anywhere.
    pub fn from_scan(
        scan: &Scan,
        affected_sop_class: Option<&SopClassUid>,
        affected_sop_instance: Option<&SopInstanceUid>,
    ) -> Result<Self, Error> {
        let set = &scan.data_set;
        let mut notes: Vec<Note> = scan.damaged.iter().copied().map(Note::DamagedSequence).collect();
        let sop_class_uid = match uid_of(set, tags::SOP_CLASS_UID)? {
            Some(uid) => uid,
            None => {
                notes.push(Note::SopClassUidOfCommand);
                affected_sop_class.cloned().ok_or(Error::Missing { tag: tags::SOP_CLASS_UID })?
            }
        };
        let sop_instance_uid: SopInstanceUid = match uid_of(set, tags::SOP_INSTANCE_UID)? {
            Some(uid) => uid,
            None => {
                notes.push(Note::SopInstanceUidOfCommand);
                affected_sop_instance.cloned().ok_or(Error::Missing { tag: tags::SOP_INSTANCE_UID })?
            }
        };
        let modality = modality(set);
        let series_uid: Option<SeriesInstanceUid> = uid_of(set, tags::SERIES_INSTANCE_UID)?;
        let study_uid = match uid_of(set, tags::STUDY_INSTANCE_UID)? {
            Some(uid) => uid,
            None => {
                // The instances of a series that names no study stay together.
                let known = series_uid.as_ref().map_or(sop_instance_uid.as_str(), SeriesInstanceUid::as_str);
                let uid: StudyInstanceUid = stand_in(tags::STUDY_INSTANCE_UID, &["study", known])?;
                notes.push(Note::StandInStudyInstanceUid(uid.clone()));
                uid
            }
        };
        let series_uid = match series_uid {
            Some(uid) => uid,
            None => {
                let known = ["series", study_uid.as_str(), &modality];
                let uid: SeriesInstanceUid = stand_in(tags::SERIES_INSTANCE_UID, &known)?;
                notes.push(Note::StandInSeriesInstanceUid(uid.clone()));
                uid
            }
        };
        let patient = Patient::of(set, &study_uid, &mut notes);
        Ok(Self {
            study: Study::of(set, study_uid),
            patient,
            series: Series::of(set, series_uid, modality),
            equipment: Equipment::of(set),
            instance: Instance::of(scan, sop_instance_uid, sop_class_uid),
            notes,
        })
    }
}

impl Patient {
    fn of(set: &DataSet, study: &StudyInstanceUid, notes: &mut Vec<Note>) -> Self {
        let full = text(set, tags::PATIENT_ID, usize::MAX);
        let patient_id = if full.contains(char::REPLACEMENT_CHARACTER) {
            notes.push(Note::UnreadablePatientId);
            told_apart(&full, set.bytes(tags::PATIENT_ID).unwrap_or_default())
        } else if full.chars().count() > SHORT {
            notes.push(Note::ShortenedPatientId);
            told_apart(&full, full.as_bytes())
        } else {
            full
        };
        Self {
            unidentified_study: if patient_id.is_empty() { study.as_str().to_owned() } else { String::new() },
            patient_id,
            issuer_of_patient_id: match text(set, tags::ISSUER_OF_PATIENT_ID, usize::MAX) {
                issuer if issuer.chars().count() > SHORT => told_apart(&issuer, issuer.as_bytes()),
                issuer => issuer,
            },
            patient_name: text(set, tags::PATIENT_NAME, NAME),
            patient_birth_date: date(set, tags::PATIENT_BIRTH_DATE),
            patient_sex: text(set, tags::PATIENT_SEX, CODE),
        }
    }
}

impl Study {
    fn of(set: &DataSet, study_instance_uid: StudyInstanceUid) -> Self {
        let patient_name_folded = folded(set, tags::PATIENT_NAME);
        Self {
            study_instance_uid,
            patient_name_sort: cut(&patient_name_folded, SHORT),
            patient_name_folded,
            patient_birth_time: time(set, tags::PATIENT_BIRTH_TIME),
            patient_age: text(set, tags::PATIENT_AGE, CODE),
            patient_size: number(set, tags::PATIENT_SIZE),
            patient_weight: number(set, tags::PATIENT_WEIGHT),
            patient_comments: text(set, tags::PATIENT_COMMENTS, 1024),
            study_date: date(set, tags::STUDY_DATE),
            study_time: time(set, tags::STUDY_TIME),
            study_id: text(set, tags::STUDY_ID, SHORT),
            accession_number: text(set, tags::ACCESSION_NUMBER, SHORT),
            study_description: text(set, tags::STUDY_DESCRIPTION, LONG),
            referring_physician_name: text(set, tags::REFERRING_PHYSICIAN_NAME, NAME),
            referring_physician_name_folded: folded(set, tags::REFERRING_PHYSICIAN_NAME),
            physicians_of_record: all(set, tags::PHYSICIANS_OF_RECORD, NAME),
            name_of_physicians_reading_study: all(set, tags::NAME_OF_PHYSICIANS_READING_STUDY, NAME),
            admitting_diagnoses_description: all(set, tags::ADMITTING_DIAGNOSES_DESCRIPTION, LONG),
            institution_name: text(set, tags::INSTITUTION_NAME, SHORT),
        }
    }
}

impl Series {
    fn of(set: &DataSet, series_instance_uid: SeriesInstanceUid, modality: String) -> Self {
        let nothing = DataSet::default();
        let request = set.first_item(tags::REQUEST_ATTRIBUTES_SEQUENCE).unwrap_or(&nothing);
        let frame_of_reference = uid_of::<SopInstanceUid>(set, tags::FRAME_OF_REFERENCE_UID);
        Self {
            series_instance_uid,
            modality,
            series_number: integer(set, tags::SERIES_NUMBER),
            series_description: text(set, tags::SERIES_DESCRIPTION, LONG),
            series_date: date(set, tags::SERIES_DATE),
            series_time: time(set, tags::SERIES_TIME),
            body_part_examined: text(set, tags::BODY_PART_EXAMINED, SHORT),
            protocol_name: text(set, tags::PROTOCOL_NAME, SHORT),
            laterality: either(set, tags::LATERALITY, tags::IMAGE_LATERALITY, CODE),
            patient_position: text(set, tags::PATIENT_POSITION, CODE),
            performing_physician_name: all(set, tags::PERFORMING_PHYSICIAN_NAME, NAME),
            operators_name: all(set, tags::OPERATORS_NAME, NAME),
            // It only groups; one that cannot be a UID groups nothing.
            frame_of_reference_uid: frame_of_reference
                .ok()
                .flatten()
                .map_or(String::new(), |uid| uid.to_string()),
            performed_procedure_step_start_date: date(set, tags::PERFORMED_PROCEDURE_STEP_START_DATE),
            performed_procedure_step_start_time: time(set, tags::PERFORMED_PROCEDURE_STEP_START_TIME),
            performed_procedure_step_id: text(set, tags::PERFORMED_PROCEDURE_STEP_ID, SHORT),
            requested_procedure_id: text(request, tags::REQUESTED_PROCEDURE_ID, SHORT),
            scheduled_procedure_step_id: text(request, tags::SCHEDULED_PROCEDURE_STEP_ID, SHORT),
        }
    }
}

impl Equipment {
    fn of(set: &DataSet) -> Self {
        Self {
            manufacturer: text(set, tags::MANUFACTURER, SHORT),
            manufacturer_model_name: text(set, tags::MANUFACTURER_MODEL_NAME, SHORT),
            station_name: text(set, tags::STATION_NAME, SHORT),
            institution_name: text(set, tags::INSTITUTION_NAME, SHORT),
            institution_address: text(set, tags::INSTITUTION_ADDRESS, LONG),
            institutional_department_name: text(set, tags::INSTITUTIONAL_DEPARTMENT_NAME, SHORT),
            device_serial_number: text(set, tags::DEVICE_SERIAL_NUMBER, SHORT),
            software_versions: all(set, tags::SOFTWARE_VERSIONS, LONG),
        }
    }

    /// SHA-256 over the columns, by which series of one device find its row.
    pub fn identity(&self) -> [u8; 32] {
        let columns = [
            &self.manufacturer,
            &self.manufacturer_model_name,
            &self.station_name,
            &self.institution_name,
            &self.institution_address,
            &self.institutional_department_name,
            &self.device_serial_number,
            &self.software_versions,
        ];
        hash(&columns.map(String::as_str))
    }
}

impl Instance {
    fn of(scan: &Scan, sop_instance_uid: SopInstanceUid, sop_class_uid: SopClassUid) -> Self {
        let set = &scan.data_set;
        let has_pixels = scan.pixel_data.as_ref().is_some_and(|pixels| match pixels.length {
            Some(length) => length > 0,
            None => !pixels.fragments.is_empty(),
        });
        let frames = set.integer(tags::NUMBER_OF_FRAMES).filter(|&frames| frames > 0);
        Self {
            sop_instance_uid,
            sop_class_uid,
            instance_number: integer(set, tags::INSTANCE_NUMBER),
            content_date: date(set, tags::CONTENT_DATE),
            content_time: time(set, tags::CONTENT_TIME),
            acquisition_date: date(set, tags::ACQUISITION_DATE),
            acquisition_time: time(set, tags::ACQUISITION_TIME),
            acquisition_number: integer(set, tags::ACQUISITION_NUMBER),
            image_type: all(set, tags::IMAGE_TYPE, LONG),
            rows: unsigned(set, tags::ROWS),
            columns: unsigned(set, tags::COLUMNS),
            number_of_frames: match (has_pixels, frames) {
                (false, _) => 0,
                (true, None) => 1,
                (true, Some(frames)) => u32::try_from(frames).unwrap_or(u32::MAX),
            },
            bits_allocated: unsigned(set, tags::BITS_ALLOCATED).and_then(|bits| u16::try_from(bits).ok()),
            photometric_interpretation: text(set, tags::PHOTOMETRIC_INTERPRETATION, CODE),
            slice_thickness: number(set, tags::SLICE_THICKNESS),
            slice_location: number(set, tags::SLICE_LOCATION),
            slice_position: slice_position(set),
            completion_flag: text(set, tags::COMPLETION_FLAG, CODE),
            verification_flag: text(set, tags::VERIFICATION_FLAG, CODE),
            document_title: document_title(set),
        }
    }
}
