//! What we answer to an A-ASSOCIATE-RQ, PS3.8 section 9.3 and PS3.7 Annex D. Pure: a request and a decision in, an
//! acceptance out.

use dicom_dictionary_std::uids;
use dicom_ul::pdu::{
    AssociationAC, AssociationRQ, PresentationContextProposed, PresentationContextResult,
    PresentationContextResultReason, UserIdentityType, UserVariableItem,
};

use super::access::Access;
use crate::dicom::implementation::{IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME};
use crate::dicom::sop_class;

/// The longest P-DATA-TF PDU we take, bytes after its header. DCMTK and most modalities go up to this.
pub const MAXIMUM_PDU_LENGTH: u32 = 128 * 1024;

/// The only application context there is, PS3.7 A.2.1.
pub const APPLICATION_CONTEXT_NAME: &str = "1.2.840.10008.3.1.1.1";

/// User-information items that dicom-ul hands on as they are, PS3.7 Annex D.3.3.
const ASYNCHRONOUS_OPERATIONS_WINDOW: u8 = 0x53;
const USER_IDENTITY_RESPONSE: u8 = 0x59;

/// Storage service extended negotiation, PS3.4 Table B.3-1: level 2 (all attributes kept), digital signatures
/// level 3 (bit preserving), no coercion of elements.
const STORAGE_EXTENDED_NEGOTIATION: [u8; 6] = [2, 0, 3, 0, 0, 0];

/// What a requestor may send over a presentation context that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresentationContext {
    /// Odd, 1 to 255.
    pub id: u8,
    /// UID of the SOP class.
    pub abstract_syntax: String,
    /// UID of the one transfer syntax accepted.
    pub transfer_syntax: String,
    /// Which service it is for.
    pub service: Service,
}

/// The services of this SCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// PS3.4 Annex A.
    Verification,
    /// PS3.4 Annex B.
    Storage,
}

/// Retired, and still what some devices prefer.
const EXPLICIT_VR_BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";

/// Native transfer syntaxes first, then lossless, then lossy ones. Where a requestor offers a choice within one
/// context it is ready to convert, and converting to lossy is a loss; between the rest nothing is lost.
const PREFERENCE: &[&str] = &[
    uids::EXPLICIT_VR_LITTLE_ENDIAN,
    uids::IMPLICIT_VR_LITTLE_ENDIAN,
    uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    uids::JPEGLS_LOSSLESS,
    uids::HTJ2K_LOSSLESS,
    uids::HTJ2K_LOSSLESS_RPCL,
    uids::JPEG2000_LOSSLESS,
    uids::JPEG_LOSSLESS_SV1,
    uids::JPEG_LOSSLESS,
    uids::RLE_LOSSLESS,
];

/// The service behind an abstract syntax, if it is one of ours. Private and unknown SOP classes count as storage:
/// what a device wants kept is kept.
pub fn service(abstract_syntax: &str) -> Option<Service> {
    if abstract_syntax == uids::VERIFICATION {
        Some(Service::Verification)
    } else if sop_class::is_storage(abstract_syntax) {
        Some(Service::Storage)
    } else {
        None
    }
}

/// The acceptance of a request by a peer with this access, and the contexts it opens.
pub fn accept(rq: &AssociationRQ, access: Access) -> (AssociationAC, Vec<PresentationContext>) {
    let mut contexts = Vec::new();
    let mut results = Vec::new();
    for proposed in &rq.presentation_contexts {
        let (reason, transfer_syntax) = match judge(proposed, access) {
            Ok(context) if contexts.iter().all(|c: &PresentationContext| c.id != context.id) => {
                let transfer_syntax = context.transfer_syntax.clone();
                contexts.push(context);
                (PresentationContextResultReason::Acceptance, transfer_syntax)
            }
            Ok(_) => (PresentationContextResultReason::NoReason, String::new()),
            Err(reason) => (reason, String::new()),
        };
        // The field is not significant in a rejection, but some requestors refuse to read an empty one.
        let transfer_syntax = if transfer_syntax.is_empty() {
            proposed
                .transfer_syntaxes
                .first()
                .cloned()
                .unwrap_or_else(|| uids::IMPLICIT_VR_LITTLE_ENDIAN.into())
        } else {
            transfer_syntax
        };
        results.push(PresentationContextResult { id: proposed.id, reason, transfer_syntax });
    }
    let ac = AssociationAC {
        protocol_version: 1,
        calling_ae_title: rq.calling_ae_title.clone(),
        called_ae_title: rq.called_ae_title.clone(),
        application_context_name: APPLICATION_CONTEXT_NAME.into(),
        presentation_contexts: results,
        user_variables: user_information(rq, &contexts),
    };
    (ac, contexts)
}

fn judge(
    proposed: &PresentationContextProposed,
    access: Access,
) -> Result<PresentationContext, PresentationContextResultReason> {
    let abstract_syntax = trim(&proposed.abstract_syntax);
    let service =
        service(abstract_syntax).ok_or(PresentationContextResultReason::AbstractSyntaxNotSupported)?;
    if service == Service::Storage && access != Access::Store {
        return Err(PresentationContextResultReason::UserRejection);
    }
    let transfer_syntax = choose(service, &proposed.transfer_syntaxes)
        .ok_or(PresentationContextResultReason::TransferSyntaxesNotSupported)?;
    Ok(PresentationContext {
        id: proposed.id,
        abstract_syntax: abstract_syntax.to_owned(),
        transfer_syntax: transfer_syntax.to_owned(),
        service,
    })
}

/// The transfer syntax we take of those offered: by our preference, and for storage any other one, in the
/// requestor's order, because nothing but the file's readers needs to know it.
fn choose(service: Service, offered: &[String]) -> Option<&str> {
    let offered: Vec<&str> = offered.iter().map(|uid| trim(uid)).filter(|uid| !uid.is_empty()).collect();
    let preferred = PREFERENCE.iter().find_map(|preferred| offered.iter().find(|uid| *uid == preferred));
    match service {
        Service::Verification => preferred.copied(),
        Service::Storage => {
            preferred.or_else(|| offered.iter().find(|uid| !is_lossy(uid))).or(offered.first()).copied()
        }
    }
}

fn is_lossy(uid: &str) -> bool {
    matches!(
        uid,
        uids::JPEG_BASELINE8_BIT
            | uids::JPEG_EXTENDED12_BIT
            | uids::JPEGLS_NEAR_LOSSLESS
            | uids::JPEG2000
            | uids::HTJ2K
            | "1.2.840.10008.1.2.4.111"
            | "1.2.840.10008.1.2.4.112"
    )
}

fn user_information(rq: &AssociationRQ, contexts: &[PresentationContext]) -> Vec<UserVariableItem> {
    let mut items = vec![
        UserVariableItem::MaxLength(MAXIMUM_PDU_LENGTH),
        UserVariableItem::ImplementationClassUID(IMPLEMENTATION_CLASS_UID.into()),
        UserVariableItem::ImplementationVersionName(IMPLEMENTATION_VERSION_NAME.into()),
    ];
    for item in &rq.user_variables {
        match item {
            // We answer one message after the other, PS3.7 D.3.3.3.2.
            UserVariableItem::Unknown(ASYNCHRONOUS_OPERATIONS_WINDOW, _) => {
                items.push(UserVariableItem::Unknown(ASYNCHRONOUS_OPERATIONS_WINDOW, vec![0, 1, 0, 1]));
            }
            // We are SCP alone, so of the roles offered the requestor may keep that of SCU, PS3.7 D.3.3.4.2.
            UserVariableItem::ScuScpRoleSelectionSubItem(uid, roles)
                if contexts.iter().any(|context| context.abstract_syntax == trim(uid)) =>
            {
                let roles = dicom_ul::pdu::RequestorRoles { scu: roles.scu, scp: false };
                items.push(UserVariableItem::ScuScpRoleSelectionSubItem(uid.clone(), roles));
            }
            UserVariableItem::SopClassExtendedNegotiationSubItem(uid, _)
                if contexts.iter().any(|context| {
                    context.abstract_syntax == trim(uid) && context.service == Service::Storage
                }) =>
            {
                items.push(UserVariableItem::SopClassExtendedNegotiationSubItem(
                    uid.clone(),
                    STORAGE_EXTENDED_NEGOTIATION.to_vec(),
                ));
            }
            // A name, with or without a passcode, is taken as it is: who may call is decided by AE title and
            // address. A ticket, an assertion or a token needs a real answer, which we cannot give, so there is
            // none, and the requestor decides (PS3.7 D.3.3.7.2).
            UserVariableItem::UserIdentityItem(identity)
                if identity.positive_response_requested()
                    && matches!(
                        identity.identity_type(),
                        UserIdentityType::Username | UserIdentityType::UsernamePassword
                    ) =>
            {
                items.push(UserVariableItem::Unknown(USER_IDENTITY_RESPONSE, vec![0, 0]));
            }
            _ => {}
        }
    }
    items
}

/// UIDs in PDUs carry no padding, but some requestors pad them as in a data set.
pub fn trim(uid: &str) -> &str {
    uid.trim_matches(|c: char| c == '\0' || c.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CT: &str = uids::CT_IMAGE_STORAGE;

    fn proposed(abstract_syntax: &str, transfer_syntaxes: &[&str]) -> PresentationContextProposed {
        PresentationContextProposed {
            id: 1,
            abstract_syntax: abstract_syntax.into(),
            transfer_syntaxes: transfer_syntaxes.iter().map(|uid| (*uid).to_owned()).collect(),
        }
    }

    fn request(
        contexts: Vec<PresentationContextProposed>,
        user_variables: Vec<UserVariableItem>,
    ) -> AssociationRQ {
        AssociationRQ {
            protocol_version: 1,
            calling_ae_title: "CT01".into(),
            called_ae_title: "FILMROOM".into(),
            application_context_name: APPLICATION_CONTEXT_NAME.into(),
            presentation_contexts: contexts,
            user_variables,
        }
    }

    #[test]
    fn our_preference_wins_over_the_order_of_the_requestor() {
        let offered = proposed(CT, &[uids::JPEG_BASELINE8_BIT, uids::IMPLICIT_VR_LITTLE_ENDIAN]);
        assert_eq!(judge(&offered, Access::Store).unwrap().transfer_syntax, uids::IMPLICIT_VR_LITTLE_ENDIAN);
    }

    #[test]
    fn an_unknown_transfer_syntax_is_taken_for_storage_and_not_for_verification() {
        assert_eq!(judge(&proposed(CT, &["1.2.3.4"]), Access::Store).unwrap().transfer_syntax, "1.2.3.4");
        assert_eq!(
            judge(&proposed(uids::VERIFICATION, &["1.2.3.4"]), Access::Store),
            Err(PresentationContextResultReason::TransferSyntaxesNotSupported)
        );
    }

    #[test]
    fn a_private_sop_class_is_storage_and_a_query_is_refused() {
        assert!(
            judge(&proposed("1.2.826.0.1.999", &[uids::IMPLICIT_VR_LITTLE_ENDIAN]), Access::Store).is_ok()
        );
        let find = uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND;
        assert_eq!(
            judge(&proposed(find, &[uids::IMPLICIT_VR_LITTLE_ENDIAN]), Access::Store),
            Err(PresentationContextResultReason::AbstractSyntaxNotSupported)
        );
    }

    #[test]
    fn who_may_only_echo_gets_verification_and_nothing_else() {
        let storage = proposed(CT, &[uids::IMPLICIT_VR_LITTLE_ENDIAN]);
        assert_eq!(judge(&storage, Access::Echo), Err(PresentationContextResultReason::UserRejection));
        assert!(
            judge(&proposed(uids::VERIFICATION, &[uids::IMPLICIT_VR_LITTLE_ENDIAN]), Access::Echo).is_ok()
        );
    }

    #[test]
    fn asynchronous_operations_are_answered_with_one_at_a_time() {
        let rq = request(
            vec![proposed(CT, &[uids::IMPLICIT_VR_LITTLE_ENDIAN])],
            vec![UserVariableItem::Unknown(0x53, vec![0, 8, 0, 8])],
        );
        let (ac, _) = accept(&rq, Access::Store);
        assert!(ac.user_variables.contains(&UserVariableItem::Unknown(0x53, vec![0, 1, 0, 1])));
    }

    #[test]
    fn the_same_context_id_twice_opens_one_context() {
        let one = proposed(CT, &[uids::IMPLICIT_VR_LITTLE_ENDIAN]);
        let (ac, contexts) = accept(&request(vec![one.clone(), one], vec![]), Access::Store);
        assert_eq!(contexts.len(), 1);
        assert_eq!(ac.presentation_contexts.len(), 2);
    }

    #[test]
    fn the_version_name_fits_its_sixteen_characters() {
        assert!(IMPLEMENTATION_VERSION_NAME.len() <= 16);
    }
}
