//! Presentation contexts that are proposed, PS3.8 section 7.1.1.13 and PS3.7 Annex D.3.

use std::collections::BTreeSet;

use dicom_dictionary_std::uids;

use super::MAXIMUM_PRESENTATION_CONTEXTS;
use crate::dicom::uid::{SopClassUid, TransferSyntaxUid};

/// What we are for a SOP class, PS3.7 D.3.3.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// We ask.
    Scu,
    /// We are asked: what is retrieved by C-GET is sent to us.
    Scp,
}

/// Transfer syntaxes of native pixels.
const NATIVE: &[&str] = &[uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN];

/// The others that are met with, those that most archives hold first.
const ENCAPSULATED: &[&str] = &[
    uids::JPEG_LOSSLESS_SV1,
    uids::JPEG_BASELINE8_BIT,
    uids::JPEG2000_LOSSLESS,
    uids::JPEG2000,
    uids::JPEGLS_LOSSLESS,
    uids::RLE_LOSSLESS,
    uids::JPEG_EXTENDED12_BIT,
    uids::JPEG_LOSSLESS,
    uids::JPEGLS_NEAR_LOSSLESS,
    uids::MPEG4HP41,
    uids::MPEG2MPML,
    uids::HTJ2K_LOSSLESS,
    uids::HTJ2K_LOSSLESS_RPCL,
    uids::HTJ2K,
    uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
];

/// What most studies have beside their images.
const COMPANIONS: &[&str] = &[
    uids::SECONDARY_CAPTURE_IMAGE_STORAGE,
    uids::GRAYSCALE_SOFTCOPY_PRESENTATION_STATE_STORAGE,
    uids::KEY_OBJECT_SELECTION_DOCUMENT_STORAGE,
    uids::BASIC_TEXT_SR_STORAGE,
    uids::ENHANCED_SR_STORAGE,
    uids::COMPREHENSIVE_SR_STORAGE,
    uids::ENCAPSULATED_PDF_STORAGE,
];

/// What studies are made of, where nothing is known of this one.
const USUAL: &[&str] = &[
    uids::CT_IMAGE_STORAGE,
    uids::ENHANCED_CT_IMAGE_STORAGE,
    uids::MR_IMAGE_STORAGE,
    uids::ENHANCED_MR_IMAGE_STORAGE,
    uids::MR_SPECTROSCOPY_STORAGE,
    uids::COMPUTED_RADIOGRAPHY_IMAGE_STORAGE,
    uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION,
    uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PROCESSING,
    uids::DIGITAL_MAMMOGRAPHY_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION,
    uids::DIGITAL_MAMMOGRAPHY_X_RAY_IMAGE_STORAGE_FOR_PROCESSING,
    uids::DIGITAL_INTRA_ORAL_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION,
    uids::BREAST_TOMOSYNTHESIS_IMAGE_STORAGE,
    uids::X_RAY_ANGIOGRAPHIC_IMAGE_STORAGE,
    uids::ENHANCED_XA_IMAGE_STORAGE,
    uids::X_RAY_RADIOFLUOROSCOPIC_IMAGE_STORAGE,
    uids::ENHANCED_XRF_IMAGE_STORAGE,
    uids::X_RAY3_D_ANGIOGRAPHIC_IMAGE_STORAGE,
    uids::ULTRASOUND_IMAGE_STORAGE,
    uids::ULTRASOUND_MULTI_FRAME_IMAGE_STORAGE,
    uids::ENHANCED_US_VOLUME_STORAGE,
    uids::NUCLEAR_MEDICINE_IMAGE_STORAGE,
    uids::POSITRON_EMISSION_TOMOGRAPHY_IMAGE_STORAGE,
    uids::ENHANCED_PET_IMAGE_STORAGE,
    uids::SECONDARY_CAPTURE_IMAGE_STORAGE,
    uids::MULTI_FRAME_GRAYSCALE_BYTE_SECONDARY_CAPTURE_IMAGE_STORAGE,
    uids::MULTI_FRAME_GRAYSCALE_WORD_SECONDARY_CAPTURE_IMAGE_STORAGE,
    uids::MULTI_FRAME_TRUE_COLOR_SECONDARY_CAPTURE_IMAGE_STORAGE,
    uids::VL_ENDOSCOPIC_IMAGE_STORAGE,
    uids::VIDEO_ENDOSCOPIC_IMAGE_STORAGE,
    uids::VL_MICROSCOPIC_IMAGE_STORAGE,
    uids::VL_PHOTOGRAPHIC_IMAGE_STORAGE,
    uids::VIDEO_PHOTOGRAPHIC_IMAGE_STORAGE,
    uids::VL_WHOLE_SLIDE_MICROSCOPY_IMAGE_STORAGE,
    uids::OPHTHALMIC_PHOTOGRAPHY8_BIT_IMAGE_STORAGE,
    uids::OPHTHALMIC_TOMOGRAPHY_IMAGE_STORAGE,
    uids::GRAYSCALE_SOFTCOPY_PRESENTATION_STATE_STORAGE,
    uids::COLOR_SOFTCOPY_PRESENTATION_STATE_STORAGE,
    uids::KEY_OBJECT_SELECTION_DOCUMENT_STORAGE,
    uids::BASIC_TEXT_SR_STORAGE,
    uids::ENHANCED_SR_STORAGE,
    uids::COMPREHENSIVE_SR_STORAGE,
    uids::COMPREHENSIVE3_DSR_STORAGE,
    uids::X_RAY_RADIATION_DOSE_SR_STORAGE,
    uids::MAMMOGRAPHY_CADSR_STORAGE,
    uids::ENCAPSULATED_PDF_STORAGE,
    uids::ENCAPSULATED_CDA_STORAGE,
    uids::RT_IMAGE_STORAGE,
    uids::RT_DOSE_STORAGE,
    uids::RT_STRUCTURE_SET_STORAGE,
    uids::RT_PLAN_STORAGE,
    uids::SEGMENTATION_STORAGE,
    uids::SPATIAL_REGISTRATION_STORAGE,
    uids::PARAMETRIC_MAP_STORAGE,
    uids::RAW_DATA_STORAGE,
    uids::TWELVE_LEAD_ECG_WAVEFORM_STORAGE,
    uids::GENERAL_ECG_WAVEFORM_STORAGE,
];

/// One presentation context: a SOP class in any of these transfer syntaxes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The SOP class, by its UID.
    pub abstract_syntax: String,
    /// The peer chooses one of these.
    pub transfer_syntaxes: Vec<String>,
    /// What we are for it.
    pub role: Role,
}

impl Proposal {
    /// What C-ECHO needs.
    pub fn verification() -> Proposal {
        Proposal {
            abstract_syntax: uids::VERIFICATION.to_owned(),
            transfer_syntaxes: vec![uids::IMPLICIT_VR_LITTLE_ENDIAN.to_owned()],
            role: Role::Scu,
        }
    }

    /// What it needs to send instances as they are: a context for each pair of SOP class and transfer syntax, so
    /// that the peer cannot choose another syntax than the one an instance has.
    pub fn for_instances<'a>(
        instances: impl IntoIterator<Item = (&'a SopClassUid, &'a TransferSyntaxUid)>,
    ) -> Vec<Proposal> {
        let mut proposals = Vec::new();
        for (sop_class, transfer_syntax) in instances {
            let proposal = Proposal {
                abstract_syntax: sop_class.as_str().to_owned(),
                transfer_syntaxes: vec![transfer_syntax.as_str().to_owned()],
                role: Role::Scu,
            };
            if !proposals.contains(&proposal) {
                proposals.push(proposal);
            }
        }
        proposals
    }

    /// What it needs to ask with this query or retrieve SOP class.
    pub fn asking(sop_class: &str) -> Proposal {
        Proposal {
            abstract_syntax: sop_class.to_owned(),
            transfer_syntaxes: [uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN]
                .map(str::to_owned)
                .to_vec(),
            role: Role::Scu,
        }
    }

    /// What it needs to be sent instances over the association they are asked for on, beside the context they are
    /// asked for with. The peer chooses one transfer syntax of each context and may not be able to convert: so each
    /// SOP class gets as many contexts as there is room for, the syntaxes parted among them.
    ///
    /// `sop_classes` are those of the study, where they are known; without any, the usual ones.
    pub fn for_retrieval(sop_classes: &[SopClassUid]) -> Vec<Proposal> {
        let room = MAXIMUM_PRESENTATION_CONTEXTS - 1;
        let mut classes: Vec<&str> = sop_classes.iter().map(SopClassUid::as_str).collect();
        classes.extend(if sop_classes.is_empty() { USUAL } else { COMPANIONS });
        let mut seen = BTreeSet::new();
        classes.retain(|class| seen.insert(*class));
        classes.truncate(room);
        let each = (room / classes.len().max(1)).max(1);
        let groups = parted(each);
        let proposal = |class: &str, syntaxes: &Vec<&str>| Proposal {
            abstract_syntax: class.to_owned(),
            transfer_syntaxes: syntaxes.iter().map(|syntax| (*syntax).to_owned()).collect(),
            role: Role::Scp,
        };
        classes.iter().flat_map(|class| groups.iter().map(|group| proposal(class, group))).collect()
    }
}

/// The transfer syntaxes in so many groups: one for all, one for native and one for compressed ones, or finer.
fn parted(groups: usize) -> Vec<Vec<&'static str>> {
    match groups {
        0 | 1 => vec![[NATIVE, ENCAPSULATED].concat()],
        2 | 3 => vec![NATIVE.to_vec(), ENCAPSULATED.to_vec()],
        groups => {
            let mut parted: Vec<Vec<&str>> = NATIVE.iter().map(|syntax| vec![*syntax]).collect();
            let room = groups.saturating_sub(parted.len()).max(1);
            let size = ENCAPSULATED.len().div_ceil(room);
            parted.extend(ENCAPSULATED.chunks(size.max(1)).map(<[&str]>::to_vec));
            parted
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uid<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
        text.parse().expect("a UID")
    }

    #[test]
    fn each_pair_of_sop_class_and_transfer_syntax_is_proposed_once() {
        let (ct, mr): (SopClassUid, SopClassUid) = (uid(uids::CT_IMAGE_STORAGE), uid(uids::MR_IMAGE_STORAGE));
        let (explicit, jpeg): (TransferSyntaxUid, TransferSyntaxUid) =
            (uid(uids::EXPLICIT_VR_LITTLE_ENDIAN), uid(uids::JPEG_BASELINE8_BIT));

        let proposals =
            Proposal::for_instances([(&ct, &explicit), (&mr, &explicit), (&ct, &explicit), (&ct, &jpeg)]);

        let seen: Vec<_> =
            proposals.iter().map(|p| (p.abstract_syntax.as_str(), p.transfer_syntaxes.join(" "))).collect();
        assert_eq!(
            seen,
            [
                (uids::CT_IMAGE_STORAGE, uids::EXPLICIT_VR_LITTLE_ENDIAN.to_owned()),
                (uids::MR_IMAGE_STORAGE, uids::EXPLICIT_VR_LITTLE_ENDIAN.to_owned()),
                (uids::CT_IMAGE_STORAGE, uids::JPEG_BASELINE8_BIT.to_owned()),
            ]
        );
    }

    #[test]
    fn what_is_retrieved_fits_into_one_association_however_much_of_it_is_known() {
        let ct: SopClassUid = uid(uids::CT_IMAGE_STORAGE);
        let many: Vec<SopClassUid> = (0..300).map(|n| uid(&format!("1.2.3.{n}"))).collect();
        for known in [&[][..], std::slice::from_ref(&ct), &many] {
            let proposals = Proposal::for_retrieval(known);
            assert!(proposals.len() < MAXIMUM_PRESENTATION_CONTEXTS, "{}", proposals.len());
            assert!(proposals.iter().all(|one| one.role == Role::Scp && !one.transfer_syntaxes.is_empty()));
        }
        let of_ct = Proposal::for_retrieval(std::slice::from_ref(&ct));
        let of_ct: Vec<_> = of_ct.iter().filter(|one| one.abstract_syntax == ct.as_str()).collect();
        assert!(of_ct.iter().filter(|one| one.transfer_syntaxes.len() == 1).count() >= 2, "{of_ct:?}");
        let syntaxes: usize = of_ct.iter().map(|one| one.transfer_syntaxes.len()).sum();
        assert_eq!(syntaxes, NATIVE.len() + ENCAPSULATED.len());
    }
}
