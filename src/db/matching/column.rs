//! Where each attribute stands in the index, and how its column compares.

use crate::dicom::query::{Attribute, Level};

/// A column, or what is worked out in place of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Column {
    /// As it stands in a statement.
    pub sql: &'static str,
    pub text: Text,
}

/// How the text of a column compares. Dates, times and numbers are `Exact`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Text {
    /// Bytewise.
    Exact,
    /// Without regard to case and accents, so that it has to be compared bytewise beside.
    Loose,
    /// UIDs and codes in ASCII, which must not be compared with anything else: the server would refuse the mix.
    Ascii,
    /// The same, several of them with commas between.
    AsciiList,
    /// Bytewise, several of them with backslashes between.
    List,
    /// Person names, of which this column has the folded groups; each of `starts` begins with one of them.
    Folded { folded: &'static str, starts: &'static [&'static str] },
    /// Person names that have no folded column, several of them with backslashes between.
    Names,
}

impl Column {
    /// The column for comparing with text under this collation.
    pub fn as_text(&self, collation: &str) -> String {
        match self.text {
            Text::Ascii | Text::AsciiList => {
                format!("CONVERT({} USING utf8mb4) COLLATE {collation}", self.sql)
            }
            _ => format!("{} COLLATE {collation}", self.sql),
        }
    }
}

/// Where an attribute stands when this level is asked for.
pub(super) fn column(attribute: Attribute, level: Level) -> Column {
    let of = |sql, text| Column { sql, text };
    // Where patients are asked for they are what the patient table says; below, what each study says.
    if level == Level::Patient
        && let Some(sql) = of_patient(attribute)
    {
        let text = if attribute == Attribute::PatientComments { Text::Loose } else { Text::Exact };
        return of(sql, text);
    }
    match attribute {
        Attribute::PatientName => {
            let folded = Text::Folded {
                folded: "study.patient_name_folded",
                starts: &["study.patient_name_sort", "study.patient_name_second", "study.patient_name_third"],
            };
            of(sql(attribute, level), folded)
        }
        Attribute::ReferringPhysicianName => {
            let folded = Text::Folded {
                folded: "study.referring_physician_name_folded",
                starts: &[
                    "study.referring_physician_name_folded",
                    "study.referring_physician_name_second",
                    "study.referring_physician_name_third",
                ],
            };
            of(sql(attribute, level), folded)
        }
        Attribute::PhysiciansOfRecord
        | Attribute::NameOfPhysiciansReadingStudy
        | Attribute::PerformingPhysicianName
        | Attribute::OperatorsName => of(sql(attribute, level), Text::Names),
        Attribute::ModalitiesInStudy | Attribute::SopClassesInStudy => {
            of(sql(attribute, level), Text::AsciiList)
        }
        Attribute::ImageType | Attribute::SoftwareVersions => of(sql(attribute, level), Text::List),
        Attribute::StudyInstanceUid
        | Attribute::SeriesInstanceUid
        | Attribute::FrameOfReferenceUid
        | Attribute::Modality
        | Attribute::SopInstanceUid
        | Attribute::SopClassUid
        | Attribute::AvailableTransferSyntaxUid => of(sql(attribute, level), Text::Ascii),
        Attribute::PatientComments
        | Attribute::StudyDescription
        | Attribute::AdmittingDiagnosesDescription
        | Attribute::InstitutionName
        | Attribute::SeriesDescription
        | Attribute::BodyPartExamined
        | Attribute::ProtocolName
        | Attribute::Laterality
        | Attribute::PatientPosition
        | Attribute::PerformedProcedureStepId
        | Attribute::RequestedProcedureId
        | Attribute::ScheduledProcedureStepId
        | Attribute::Manufacturer
        | Attribute::ManufacturerModelName
        | Attribute::StationName
        | Attribute::InstitutionalDepartmentName
        | Attribute::DeviceSerialNumber => of(sql(attribute, level), Text::Loose),
        _ => of(sql(attribute, level), Text::Exact),
    }
}

/// What the value of an attribute is read from when this level is asked for.
pub(super) fn sql(attribute: Attribute, level: Level) -> &'static str {
    if level == Level::Patient
        && let Some(sql) = of_patient(attribute)
    {
        return sql;
    }
    match attribute {
        Attribute::PatientName => "study.patient_name",
        Attribute::PatientId => "study.patient_id",
        Attribute::IssuerOfPatientId => "study.issuer_of_patient_id",
        Attribute::PatientBirthDate => "study.patient_birth_date",
        Attribute::PatientBirthTime => "study.patient_birth_time",
        Attribute::PatientSex => "study.patient_sex",
        Attribute::PatientComments => "study.patient_comments",
        Attribute::NumberOfPatientRelatedStudies => {
            "(SELECT COUNT(*) FROM study AS theirs WHERE theirs.patient_key = study.patient_key)"
        }
        Attribute::NumberOfPatientRelatedSeries => {
            "(SELECT CAST(SUM(theirs.number_of_study_related_series) AS UNSIGNED)
                 FROM study AS theirs WHERE theirs.patient_key = study.patient_key)"
        }
        Attribute::NumberOfPatientRelatedInstances => {
            "(SELECT CAST(SUM(theirs.number_of_study_related_instances) AS UNSIGNED)
                 FROM study AS theirs WHERE theirs.patient_key = study.patient_key)"
        }
        Attribute::StudyInstanceUid => "study.study_instance_uid",
        Attribute::StudyDate => "study.study_date",
        Attribute::StudyTime => "study.study_time",
        Attribute::AccessionNumber => "study.accession_number",
        Attribute::StudyId => "study.study_id",
        Attribute::StudyDescription => "study.study_description",
        Attribute::ReferringPhysicianName => "study.referring_physician_name",
        Attribute::PhysiciansOfRecord => "study.physicians_of_record",
        Attribute::NameOfPhysiciansReadingStudy => "study.name_of_physicians_reading_study",
        Attribute::AdmittingDiagnosesDescription => "study.admitting_diagnoses_description",
        Attribute::PatientAge => "study.patient_age",
        Attribute::PatientSize => "study.patient_size",
        Attribute::PatientWeight => "study.patient_weight",
        Attribute::ModalitiesInStudy => "study.modalities_in_study",
        Attribute::SopClassesInStudy => "study.sop_classes_in_study",
        Attribute::NumberOfStudyRelatedSeries => "study.number_of_study_related_series",
        Attribute::NumberOfStudyRelatedInstances => "study.number_of_study_related_instances",
        Attribute::InstitutionName if level <= Level::Study => "study.institution_name",
        Attribute::InstitutionName => "equipment.institution_name",
        Attribute::SeriesInstanceUid => "series.series_instance_uid",
        Attribute::Modality => "series.modality",
        Attribute::SeriesNumber => "series.series_number",
        Attribute::SeriesDescription => "series.series_description",
        Attribute::SeriesDate => "series.series_date",
        Attribute::SeriesTime => "series.series_time",
        Attribute::BodyPartExamined => "series.body_part_examined",
        Attribute::ProtocolName => "series.protocol_name",
        Attribute::Laterality => "series.laterality",
        Attribute::PatientPosition => "series.patient_position",
        Attribute::PerformingPhysicianName => "series.performing_physician_name",
        Attribute::OperatorsName => "series.operators_name",
        Attribute::FrameOfReferenceUid => "series.frame_of_reference_uid",
        Attribute::PerformedProcedureStepStartDate => "series.performed_procedure_step_start_date",
        Attribute::PerformedProcedureStepStartTime => "series.performed_procedure_step_start_time",
        Attribute::PerformedProcedureStepId => "series.performed_procedure_step_id",
        Attribute::RequestedProcedureId => "series.requested_procedure_id",
        Attribute::ScheduledProcedureStepId => "series.scheduled_procedure_step_id",
        Attribute::NumberOfSeriesRelatedInstances => "series.number_of_series_related_instances",
        Attribute::Manufacturer => "equipment.manufacturer",
        Attribute::ManufacturerModelName => "equipment.manufacturer_model_name",
        Attribute::StationName => "equipment.station_name",
        Attribute::InstitutionalDepartmentName => "equipment.institutional_department_name",
        Attribute::DeviceSerialNumber => "equipment.device_serial_number",
        Attribute::SoftwareVersions => "equipment.software_versions",
        Attribute::SopInstanceUid => "instance.sop_instance_uid",
        Attribute::SopClassUid => "instance.sop_class_uid",
        Attribute::AvailableTransferSyntaxUid => "instance.transfer_syntax_uid",
        Attribute::InstanceNumber => "instance.instance_number",
        Attribute::ContentDate => "instance.content_date",
        Attribute::ContentTime => "instance.content_time",
        Attribute::AcquisitionDate => "instance.acquisition_date",
        Attribute::AcquisitionTime => "instance.acquisition_time",
        Attribute::AcquisitionNumber => "instance.acquisition_number",
        Attribute::ImageType => "instance.image_type",
        Attribute::Rows => "instance.`rows`",
        Attribute::Columns => "instance.`columns`",
        Attribute::NumberOfFrames => "instance.number_of_frames",
        Attribute::BitsAllocated => "instance.bits_allocated",
        Attribute::PhotometricInterpretation => "instance.photometric_interpretation",
        Attribute::SliceThickness => "instance.slice_thickness",
        Attribute::SliceLocation => "instance.slice_location",
        Attribute::CompletionFlag => "instance.completion_flag",
        Attribute::VerificationFlag => "instance.verification_flag",
    }
}

/// What patients have of their own, and what is worked out of their studies.
fn of_patient(attribute: Attribute) -> Option<&'static str> {
    Some(match attribute {
        Attribute::PatientName => "patient.patient_name",
        Attribute::PatientId => "patient.patient_id",
        Attribute::IssuerOfPatientId => "patient.issuer_of_patient_id",
        Attribute::PatientBirthDate => "patient.patient_birth_date",
        Attribute::PatientSex => "patient.patient_sex",
        Attribute::PatientBirthTime => {
            "(SELECT MAX(theirs.patient_birth_time) FROM study AS theirs
                WHERE theirs.patient_key = patient.patient_key)"
        }
        Attribute::PatientComments => {
            "(SELECT MAX(theirs.patient_comments) FROM study AS theirs
                WHERE theirs.patient_key = patient.patient_key)"
        }
        Attribute::NumberOfPatientRelatedStudies => {
            "(SELECT COUNT(*) FROM study AS theirs WHERE theirs.patient_key = patient.patient_key)"
        }
        Attribute::NumberOfPatientRelatedSeries => {
            "(SELECT CAST(SUM(theirs.number_of_study_related_series) AS UNSIGNED)
                 FROM study AS theirs WHERE theirs.patient_key = patient.patient_key)"
        }
        Attribute::NumberOfPatientRelatedInstances => {
            "(SELECT CAST(SUM(theirs.number_of_study_related_instances) AS UNSIGNED)
                 FROM study AS theirs WHERE theirs.patient_key = patient.patient_key)"
        }
        _ => return None,
    })
}
