//! The attributes that can be asked for, PS3.4 C.6.1.1 and C.6.2.1: what the index keeps in a column, and what follows
//! from it.

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

/// Query/Retrieve Level (0008,0052), from the top.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Patients.
    Patient,
    /// Studies.
    Study,
    /// Series.
    Series,
    /// Instances.
    Image,
}

impl Level {
    /// From the top.
    pub const ALL: [Level; 4] = [Level::Patient, Level::Study, Level::Series, Level::Image];

    /// The value of (0008,0052).
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Patient => "PATIENT",
            Level::Study => "STUDY",
            Level::Series => "SERIES",
            Level::Image => "IMAGE",
        }
    }

    /// The unique key of the level.
    pub fn unique_key(self) -> Attribute {
        match self {
            Level::Patient => Attribute::PatientId,
            Level::Study => Attribute::StudyInstanceUid,
            Level::Series => Attribute::SeriesInstanceUid,
            Level::Image => Attribute::SopInstanceUid,
        }
    }
}

impl std::str::FromStr for Level {
    type Err = ();

    fn from_str(text: &str) -> Result<Level, ()> {
        Level::ALL.into_iter().find(|level| level.as_str() == text).ok_or(())
    }
}

/// How the values of an attribute are written, as far as matching depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// VR PN.
    PersonName,
    /// VR DA.
    Date,
    /// VR TM.
    Time,
    /// VR UI.
    Uid,
    /// VR IS, US, DS: a number, however it is written.
    Number,
    /// VR CS, LO, SH, AS, LT, ST.
    Text,
}

macro_rules! attributes {
    ($($(#[doc = $doc:literal])* $name:ident = $tag:ident, $vr:ident, $level:ident;)*) => {
        /// An attribute that can be asked for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Attribute {
            $($(#[doc = $doc])* $name,)*
        }

        impl Attribute {
            /// Every one of them, from the top level down.
            pub const ALL: &[Attribute] = &[$(Attribute::$name,)*];

            /// Its tag.
            pub fn tag(self) -> Tag {
                match self { $(Attribute::$name => tags::$tag,)* }
            }

            /// Its value representation.
            pub fn vr(self) -> VR {
                match self { $(Attribute::$name => VR::$vr,)* }
            }

            /// Of what it is an attribute.
            pub fn level(self) -> Level {
                match self { $(Attribute::$name => Level::$level,)* }
            }
        }
    };
}

attributes! {
    /// (0010,0010)
    PatientName = PATIENT_NAME, PN, Patient;
    /// (0010,0020)
    PatientId = PATIENT_ID, LO, Patient;
    /// (0010,0021)
    IssuerOfPatientId = ISSUER_OF_PATIENT_ID, LO, Patient;
    /// (0010,0030)
    PatientBirthDate = PATIENT_BIRTH_DATE, DA, Patient;
    /// (0010,0032)
    PatientBirthTime = PATIENT_BIRTH_TIME, TM, Patient;
    /// (0010,0040)
    PatientSex = PATIENT_SEX, CS, Patient;
    /// (0010,4000)
    PatientComments = PATIENT_COMMENTS, LT, Patient;
    /// (0020,1200)
    NumberOfPatientRelatedStudies = NUMBER_OF_PATIENT_RELATED_STUDIES, IS, Patient;
    /// (0020,1202)
    NumberOfPatientRelatedSeries = NUMBER_OF_PATIENT_RELATED_SERIES, IS, Patient;
    /// (0020,1204)
    NumberOfPatientRelatedInstances = NUMBER_OF_PATIENT_RELATED_INSTANCES, IS, Patient;

    /// (0020,000D)
    StudyInstanceUid = STUDY_INSTANCE_UID, UI, Study;
    /// (0008,0020)
    StudyDate = STUDY_DATE, DA, Study;
    /// (0008,0030)
    StudyTime = STUDY_TIME, TM, Study;
    /// (0008,0050)
    AccessionNumber = ACCESSION_NUMBER, SH, Study;
    /// (0020,0010)
    StudyId = STUDY_ID, SH, Study;
    /// (0008,1030)
    StudyDescription = STUDY_DESCRIPTION, LO, Study;
    /// (0008,0090)
    ReferringPhysicianName = REFERRING_PHYSICIAN_NAME, PN, Study;
    /// (0008,1048)
    PhysiciansOfRecord = PHYSICIANS_OF_RECORD, PN, Study;
    /// (0008,1060)
    NameOfPhysiciansReadingStudy = NAME_OF_PHYSICIANS_READING_STUDY, PN, Study;
    /// (0008,1080)
    AdmittingDiagnosesDescription = ADMITTING_DIAGNOSES_DESCRIPTION, LO, Study;
    /// (0010,1010)
    PatientAge = PATIENT_AGE, AS, Study;
    /// (0010,1020), m
    PatientSize = PATIENT_SIZE, DS, Study;
    /// (0010,1030), kg
    PatientWeight = PATIENT_WEIGHT, DS, Study;
    /// (0008,0061)
    ModalitiesInStudy = MODALITIES_IN_STUDY, CS, Study;
    /// (0008,0062)
    SopClassesInStudy = SOP_CLASSES_IN_STUDY, UI, Study;
    /// (0020,1206)
    NumberOfStudyRelatedSeries = NUMBER_OF_STUDY_RELATED_SERIES, IS, Study;
    /// (0020,1208)
    NumberOfStudyRelatedInstances = NUMBER_OF_STUDY_RELATED_INSTANCES, IS, Study;
    /// (0008,0080): of the study where studies are asked for, of the device below.
    InstitutionName = INSTITUTION_NAME, LO, Study;

    /// (0020,000E)
    SeriesInstanceUid = SERIES_INSTANCE_UID, UI, Series;
    /// (0008,0060)
    Modality = MODALITY, CS, Series;
    /// (0020,0011)
    SeriesNumber = SERIES_NUMBER, IS, Series;
    /// (0008,103E)
    SeriesDescription = SERIES_DESCRIPTION, LO, Series;
    /// (0008,0021)
    SeriesDate = SERIES_DATE, DA, Series;
    /// (0008,0031)
    SeriesTime = SERIES_TIME, TM, Series;
    /// (0018,0015)
    BodyPartExamined = BODY_PART_EXAMINED, CS, Series;
    /// (0018,1030)
    ProtocolName = PROTOCOL_NAME, LO, Series;
    /// (0020,0060)
    Laterality = LATERALITY, CS, Series;
    /// (0018,5100)
    PatientPosition = PATIENT_POSITION, CS, Series;
    /// (0008,1050)
    PerformingPhysicianName = PERFORMING_PHYSICIAN_NAME, PN, Series;
    /// (0008,1070)
    OperatorsName = OPERATORS_NAME, PN, Series;
    /// (0020,0052)
    FrameOfReferenceUid = FRAME_OF_REFERENCE_UID, UI, Series;
    /// (0040,0244)
    PerformedProcedureStepStartDate = PERFORMED_PROCEDURE_STEP_START_DATE, DA, Series;
    /// (0040,0245)
    PerformedProcedureStepStartTime = PERFORMED_PROCEDURE_STEP_START_TIME, TM, Series;
    /// (0040,0253)
    PerformedProcedureStepId = PERFORMED_PROCEDURE_STEP_ID, SH, Series;
    /// (0040,1001), in an item of Request Attributes Sequence
    RequestedProcedureId = REQUESTED_PROCEDURE_ID, SH, Series;
    /// (0040,0009), likewise
    ScheduledProcedureStepId = SCHEDULED_PROCEDURE_STEP_ID, SH, Series;
    /// (0020,1209)
    NumberOfSeriesRelatedInstances = NUMBER_OF_SERIES_RELATED_INSTANCES, IS, Series;
    /// (0008,0070)
    Manufacturer = MANUFACTURER, LO, Series;
    /// (0008,1090)
    ManufacturerModelName = MANUFACTURER_MODEL_NAME, LO, Series;
    /// (0008,1010)
    StationName = STATION_NAME, SH, Series;
    /// (0008,1040)
    InstitutionalDepartmentName = INSTITUTIONAL_DEPARTMENT_NAME, LO, Series;
    /// (0018,1000)
    DeviceSerialNumber = DEVICE_SERIAL_NUMBER, LO, Series;
    /// (0018,1020)
    SoftwareVersions = SOFTWARE_VERSIONS, LO, Series;

    /// (0008,0018)
    SopInstanceUid = SOP_INSTANCE_UID, UI, Image;
    /// (0008,0016)
    SopClassUid = SOP_CLASS_UID, UI, Image;
    /// (0008,3002): what it is stored in.
    AvailableTransferSyntaxUid = AVAILABLE_TRANSFER_SYNTAX_UID, UI, Image;
    /// (0020,0013)
    InstanceNumber = INSTANCE_NUMBER, IS, Image;
    /// (0008,0023)
    ContentDate = CONTENT_DATE, DA, Image;
    /// (0008,0033)
    ContentTime = CONTENT_TIME, TM, Image;
    /// (0008,0022)
    AcquisitionDate = ACQUISITION_DATE, DA, Image;
    /// (0008,0032)
    AcquisitionTime = ACQUISITION_TIME, TM, Image;
    /// (0020,0012)
    AcquisitionNumber = ACQUISITION_NUMBER, IS, Image;
    /// (0008,0008)
    ImageType = IMAGE_TYPE, CS, Image;
    /// (0028,0010)
    Rows = ROWS, US, Image;
    /// (0028,0011)
    Columns = COLUMNS, US, Image;
    /// (0028,0008)
    NumberOfFrames = NUMBER_OF_FRAMES, IS, Image;
    /// (0028,0100)
    BitsAllocated = BITS_ALLOCATED, US, Image;
    /// (0028,0004)
    PhotometricInterpretation = PHOTOMETRIC_INTERPRETATION, CS, Image;
    /// (0018,0050), mm
    SliceThickness = SLICE_THICKNESS, DS, Image;
    /// (0020,1041), mm
    SliceLocation = SLICE_LOCATION, DS, Image;
    /// (0040,A491)
    CompletionFlag = COMPLETION_FLAG, CS, Image;
    /// (0040,A493)
    VerificationFlag = VERIFICATION_FLAG, CS, Image;
}

impl Attribute {
    /// The attribute with this tag, within Request Attributes Sequence (0040,0275) or not.
    pub fn of(tag: Tag, in_request: InRequest) -> Option<Attribute> {
        let wanted = |attribute: &Attribute| {
            attribute.tag() == tag && attribute.in_request() == (in_request == InRequest::Yes)
        };
        Attribute::ALL.iter().copied().find(wanted)
    }

    /// Whether it stands in an item of Request Attributes Sequence (0040,0275).
    pub fn in_request(self) -> bool {
        matches!(self, Attribute::RequestedProcedureId | Attribute::ScheduledProcedureStepId)
    }

    /// How its values are written.
    pub fn kind(self) -> Kind {
        match self.vr() {
            VR::PN => Kind::PersonName,
            VR::DA => Kind::Date,
            VR::TM => Kind::Time,
            VR::UI => Kind::Uid,
            VR::IS | VR::DS | VR::US => Kind::Number,
            _ => Kind::Text,
        }
    }

    /// The time that belongs to a date.
    pub fn time(self) -> Option<Attribute> {
        Some(match self {
            Attribute::PatientBirthDate => Attribute::PatientBirthTime,
            Attribute::StudyDate => Attribute::StudyTime,
            Attribute::SeriesDate => Attribute::SeriesTime,
            Attribute::PerformedProcedureStepStartDate => Attribute::PerformedProcedureStepStartTime,
            Attribute::ContentDate => Attribute::ContentTime,
            Attribute::AcquisitionDate => Attribute::AcquisitionTime,
            _ => return None,
        })
    }
}

/// Whether an attribute stands in an item of Request Attributes Sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InRequest {
    /// It does.
    Yes,
    /// It stands in the data set itself.
    No,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tag_is_of_one_attribute() {
        for &attribute in Attribute::ALL {
            let in_request = if attribute.in_request() { InRequest::Yes } else { InRequest::No };
            assert_eq!(Attribute::of(attribute.tag(), in_request), Some(attribute));
        }
        assert_eq!(Attribute::of(tags::REQUESTED_PROCEDURE_ID, InRequest::No), None);
        assert_eq!(Attribute::of(tags::PIXEL_DATA, InRequest::No), None);
    }

    #[test]
    fn levels_are_in_order_and_have_a_unique_key_each() {
        assert!(Level::Patient < Level::Study && Level::Series < Level::Image);
        for level in Level::ALL {
            assert_eq!(level.as_str().parse(), Ok(level));
            assert_eq!(level.unique_key().level(), level);
        }
        assert_eq!("IMAGES".parse::<Level>(), Err(()));
    }
}
