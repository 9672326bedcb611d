//! SOP classes (PS3.6 annex A, PS3.4 annex B.5): their names, what kind of thing each stores, and which of them are
//! storage at all.

use dicom_core::dictionary::UidDictionary;
use dicom_dictionary_std::{StandardSopClassDictionary, uids};

use super::uid::SopClassUid;

/// What an instance is to the person who looks at a study.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// One or more frames.
    Image,
    /// Frames that only a video player shows; the transfer syntax decides that, never the SOP class.
    Video,
    /// Structured report.
    Report,
    /// Encapsulated PDF.
    Pdf,
    /// Encapsulated CDA.
    Cda,
    /// Encapsulated STL, OBJ or MTL, and scanned surfaces.
    Model,
    /// Key object selection: "look at these".
    KeyObjects,
    /// How images are to be shown.
    PresentationState,
    /// Plan of a radiotherapy.
    RtPlan,
    /// Contours of organs and targets.
    RtStructureSet,
    /// What was irradiated.
    RtTreatmentRecord,
    /// Other objects of radiotherapy.
    Radiotherapy,
    /// Electrocardiogram.
    Ecg,
    /// Audio recording.
    Audio,
    /// Other signals over time.
    Waveform,
    /// Segmentation of images, as pixels or surfaces.
    Segmentation,
    /// Registration and fiducials.
    Registration,
    /// Measurements of an eye and the like, without a picture.
    Measurements,
    /// Spectroscopy.
    Spectroscopy,
    /// What only the maker's software understands.
    RawData,
    /// How images are to be made, laid out or coloured.
    Protocol,
    /// A storage SOP class that fits nowhere else, private ones too.
    Other,
}

impl Kind {
    /// The kind in plain words, as pages show it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Image => "Image",
            Self::Video => "Video",
            Self::Report => "Structured report",
            Self::Pdf => "PDF document",
            Self::Cda => "Encapsulated CDA",
            Self::Model => "3D model",
            Self::KeyObjects => "Key object selection",
            Self::PresentationState => "Presentation state",
            Self::RtPlan => "RT plan",
            Self::RtStructureSet => "RT structure set",
            Self::RtTreatmentRecord => "RT treatment record",
            Self::Radiotherapy => "Radiotherapy object",
            Self::Ecg => "ECG waveform",
            Self::Audio => "Audio recording",
            Self::Waveform => "Waveform",
            Self::Segmentation => "Segmentation",
            Self::Registration => "Registration",
            Self::Measurements => "Measurements",
            Self::Spectroscopy => "Spectroscopy",
            Self::RawData => "Raw data",
            Self::Protocol => "Protocol",
            Self::Other => "Other object",
        }
    }

    /// Whether it is read like a document, and so stands after the images of a study.
    pub fn is_document(self) -> bool {
        matches!(self, Self::Report | Self::Pdf | Self::Cda)
    }
}

/// The SOP class's name in the standard, without the remark that it is retired: "CT Image Storage".
pub fn name(uid: &SopClassUid) -> Option<&'static str> {
    dictionary_name(uid.as_str())
}

fn dictionary_name(uid: &str) -> Option<&'static str> {
    let name = StandardSopClassDictionary.by_uid(uid)?.name;
    Some(name.strip_suffix(" (Retired)").unwrap_or(name))
}

/// What instances of this SOP class are. An instance of an unknown class may still hold pixels.
pub fn kind(uid: &SopClassUid) -> Kind {
    let uid = uid.as_str();
    let Some(number) = uid.strip_prefix("1.2.840.10008.5.1.4.") else {
        return Kind::Other;
    };
    let is = |prefix: &str| {
        number == prefix || number.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.'))
    };
    match uid {
        uids::ENCAPSULATED_PDF_STORAGE => return Kind::Pdf,
        uids::ENCAPSULATED_CDA_STORAGE => return Kind::Cda,
        uids::KEY_OBJECT_SELECTION_DOCUMENT_STORAGE => return Kind::KeyObjects,
        uids::RT_PLAN_STORAGE | uids::RT_ION_PLAN_STORAGE => return Kind::RtPlan,
        uids::RT_STRUCTURE_SET_STORAGE => return Kind::RtStructureSet,
        uids::RT_BEAMS_TREATMENT_RECORD_STORAGE
        | uids::RT_BRACHY_TREATMENT_RECORD_STORAGE
        | uids::RT_TREATMENT_SUMMARY_RECORD_STORAGE
        | uids::RT_ION_BEAMS_TREATMENT_RECORD_STORAGE => return Kind::RtTreatmentRecord,
        uids::RAW_DATA_STORAGE => return Kind::RawData,
        uids::MR_SPECTROSCOPY_STORAGE => return Kind::Spectroscopy,
        // They have pixels, whatever family their number is in.
        uids::RT_IMAGE_STORAGE
        | uids::RT_DOSE_STORAGE
        | uids::ENHANCED_RT_IMAGE_STORAGE
        | uids::ENHANCED_CONTINUOUS_RT_IMAGE_STORAGE
        | uids::PARAMETRIC_MAP_STORAGE => return Kind::Image,
        _ => {}
    }
    let families: [(&[&str], Kind); 13] = [
        (&["1.1.88", "1.1.79.1", "1.1.78.6", "1.1.501.3"], Kind::Report),
        (&["1.1.104", "1.1.68"], Kind::Model),
        (&["1.1.11.1", "1.1.11.2", "1.1.11.3", "1.1.11.4", "1.1.11.5", "1.1.11.6"], Kind::PresentationState),
        (
            &["1.1.11.7", "1.1.11.8", "1.1.11.9", "1.1.11.10", "1.1.11.11", "1.1.11.12"],
            Kind::PresentationState,
        ),
        (&["1.1.9.100", "1.1.131"], Kind::PresentationState),
        (&["1.1.481", "34"], Kind::Radiotherapy),
        (&["1.1.9.1"], Kind::Ecg),
        (&["1.1.9.4"], Kind::Audio),
        (&["1.1.9", "1.1.601.5"], Kind::Waveform),
        (&["1.1.66.4", "1.1.66.5", "1.1.66.7", "1.1.66.8"], Kind::Segmentation),
        (&["1.1.66.1", "1.1.66.2", "1.1.66.3", "1.1.77.1.5.3"], Kind::Registration),
        (&["1.1.78", "1.1.80", "1.1.90", "1.1.91", "1.1.67"], Kind::Measurements),
        (&["1.1.200", "38", "39", "43", "44", "45"], Kind::Protocol),
    ];
    if let Some((_, kind)) = families.iter().find(|(prefixes, _)| prefixes.iter().any(|prefix| is(prefix))) {
        return *kind;
    }
    match dictionary_name(uid) {
        Some(name) if name.contains("Image") || name.contains("Map") || name.contains("Volume") => {
            Kind::Image
        }
        _ => Kind::Other,
    }
}

/// Whether an abstract syntax is stored with C-STORE. The standard's other services are not; everything else is,
/// private and future SOP classes too.
pub fn is_storage(abstract_syntax: &str) -> bool {
    let uid = abstract_syntax.trim_end_matches(['\0', ' ']);
    match dictionary_name(uid) {
        // The directory is a file of a medium and never sent.
        Some(_) if uid == uids::MEDIA_STORAGE_DIRECTORY_STORAGE => false,
        Some(name) => name.contains("Storage") && !name.starts_with("Storage Commitment"),
        // The standard's storage classes stand below this root, its queries in one branch of it.
        None if uid.starts_with("1.2.840.10008.") => {
            uid.starts_with("1.2.840.10008.5.1.4.") && !uid.starts_with("1.2.840.10008.5.1.4.1.2.")
        }
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind_of(uid: &str) -> Kind {
        kind(&uid.parse().unwrap())
    }

    #[test]
    fn every_kind_of_instance_has_plain_words() {
        for (uid, label) in [
            (uids::CT_IMAGE_STORAGE, "Image"),
            (uids::RT_DOSE_STORAGE, "Image"),
            (uids::OPHTHALMIC_THICKNESS_MAP_STORAGE, "Image"),
            (uids::ENHANCED_US_VOLUME_STORAGE, "Image"),
            (uids::BASIC_TEXT_SR_STORAGE, "Structured report"),
            (uids::X_RAY_RADIATION_DOSE_SR_STORAGE, "Structured report"),
            (uids::ENCAPSULATED_PDF_STORAGE, "PDF document"),
            (uids::ENCAPSULATED_CDA_STORAGE, "Encapsulated CDA"),
            (uids::ENCAPSULATED_STL_STORAGE, "3D model"),
            (uids::KEY_OBJECT_SELECTION_DOCUMENT_STORAGE, "Key object selection"),
            (uids::GRAYSCALE_SOFTCOPY_PRESENTATION_STATE_STORAGE, "Presentation state"),
            (uids::RT_PLAN_STORAGE, "RT plan"),
            (uids::RT_STRUCTURE_SET_STORAGE, "RT structure set"),
            (uids::RT_BEAMS_TREATMENT_RECORD_STORAGE, "RT treatment record"),
            (uids::RT_RADIATION_SET_STORAGE, "Radiotherapy object"),
            ("1.2.840.10008.5.1.4.1.1.9.1.1", "ECG waveform"),
            (uids::BASIC_VOICE_AUDIO_WAVEFORM_STORAGE, "Audio recording"),
            (uids::HEMODYNAMIC_WAVEFORM_STORAGE, "Waveform"),
            (uids::SEGMENTATION_STORAGE, "Segmentation"),
            (uids::SPATIAL_REGISTRATION_STORAGE, "Registration"),
            (uids::RAW_DATA_STORAGE, "Raw data"),
            (uids::MR_SPECTROSCOPY_STORAGE, "Spectroscopy"),
            (uids::HANGING_PROTOCOL_STORAGE, "Protocol"),
            ("1.3.12.2.1107.5.9.1", "Other object"),
        ] {
            assert_eq!(kind_of(uid).label(), label, "{uid}");
        }
    }

    #[test]
    fn names_are_the_standards() {
        assert_eq!(name(&uids::CT_IMAGE_STORAGE.parse().unwrap()), Some("CT Image Storage"));
        assert_eq!(name(&"1.2.840.10008.5.1.4.1.1.6".parse().unwrap()), Some("Ultrasound Image Storage"));
        assert_eq!(name(&"1.3.12.2.1107.5.9.1".parse().unwrap()), None);
    }

    #[test]
    fn storage_classes_of_the_standard_and_of_makers_are_storage() {
        for uid in [
            uids::CT_IMAGE_STORAGE,
            uids::HANGING_PROTOCOL_STORAGE,
            uids::COLOR_PALETTE_STORAGE,
            uids::GENERIC_IMPLANT_TEMPLATE_STORAGE,
            uids::RT_BEAMS_DELIVERY_INSTRUCTION_STORAGE,
            uids::INVENTORY_STORAGE,
            "1.2.840.10008.5.1.4.1.1.6",
            "1.2.840.10008.5.1.4.1.1.999.7",
            "1.3.12.2.1107.5.9.1",
            "1.2.840.10008.5.1.4.1.1.2\0",
        ] {
            assert!(is_storage(uid), "{uid}");
        }
    }

    #[test]
    fn services_that_store_nothing_are_not_storage() {
        for uid in [
            uids::VERIFICATION,
            uids::STORAGE_COMMITMENT_PUSH_MODEL,
            uids::MEDIA_STORAGE_DIRECTORY_STORAGE,
            uids::MODALITY_PERFORMED_PROCEDURE_STEP,
            uids::MODALITY_WORKLIST_INFORMATION_MODEL_FIND,
            uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND,
            uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_GET,
            uids::COMPOSITE_INSTANCE_ROOT_RETRIEVE_MOVE,
            uids::HANGING_PROTOCOL_INFORMATION_MODEL_FIND,
            uids::COLOR_PALETTE_QUERY_RETRIEVE_INFORMATION_MODEL_GET,
            uids::PROTOCOL_APPROVAL_INFORMATION_MODEL_MOVE,
            uids::INVENTORY_CREATION,
            uids::REPOSITORY_QUERY,
            uids::UNIFIED_PROCEDURE_STEP_PUSH,
            uids::INSTANCE_AVAILABILITY_NOTIFICATION,
            uids::GENERAL_RELEVANT_PATIENT_INFORMATION_QUERY,
            uids::SUBSTANCE_ADMINISTRATION_LOGGING,
            uids::SUBSTANCE_APPROVAL_QUERY,
            uids::RT_CONVENTIONAL_MACHINE_VERIFICATION,
            uids::BASIC_FILM_SESSION,
            "1.2.840.10008.5.1.1.9",
            "1.2.840.10008.5.1.4.1.2.9.9",
        ] {
            assert!(!is_storage(uid), "{uid}");
        }
    }
}
