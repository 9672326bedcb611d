//! What we answer to an A-ASSOCIATE-RQ, PS3.8 section 9.3 and PS3.7 Annex D. Pure: a request and a decision in, an
//! acceptance out.

use dicom_dictionary_std::uids;
use dicom_ul::pdu::{
    AssociationAC, AssociationRQ, PresentationContextProposed, PresentationContextResult,
    PresentationContextResultReason, RequestorRoles, UserIdentityType, UserVariableItem,
};

use crate::dicom::implementation::{IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME};
use crate::dicom::query::identifier::Options;
use crate::dicom::service::{Service, Services};

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

/// What may go over a presentation context that was accepted.
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
    /// The requestor may ask for what the SOP class does.
    pub requestor_is_scu: bool,
    /// The requestor may be asked: what it retrieves by C-GET is sent to it over this.
    pub requestor_is_scp: bool,
    /// How queries and retrieves over it are understood.
    pub options: Options,
}

/// What a peer may do here, and what we want of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// What it may use.
    pub services: Services,
    /// It is asked for storage commitment, and may report that over an association of its own.
    pub offers_commitment: bool,
}

impl From<Services> for Rights {
    fn from(services: Services) -> Rights {
        Rights { services, offers_commitment: false }
    }
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

/// In which data sets of queries and reports are read and written; Implicit VR has to be, PS3.5 section 10.1.
const MESSAGES: &[&str] = &[uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN];

/// The acceptance of a request by a peer with these rights, and the contexts it opens.
pub fn accept(rq: &AssociationRQ, rights: impl Into<Rights>) -> (AssociationAC, Vec<PresentationContext>) {
    let rights = rights.into();
    let mut contexts = Vec::new();
    let mut results = Vec::new();
    for proposed in &rq.presentation_contexts {
        let (reason, transfer_syntax) = match judge(rq, proposed, rights) {
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

/// The services a request proposes.
pub fn proposed_services(rq: &AssociationRQ) -> Services {
    let syntaxes = rq.presentation_contexts.iter().map(|context| trim(&context.abstract_syntax));
    let is_for_get = |syntax: &str| roles(rq, syntax).is_some_and(|roles| roles.scp && !roles.scu);
    syntaxes.filter(|syntax| !is_for_get(syntax)).filter_map(Service::of).collect()
}

fn judge(
    rq: &AssociationRQ,
    proposed: &PresentationContextProposed,
    rights: Rights,
) -> Result<PresentationContext, PresentationContextResultReason> {
    let abstract_syntax = trim(&proposed.abstract_syntax);
    let service =
        Service::of(abstract_syntax).ok_or(PresentationContextResultReason::AbstractSyntaxNotSupported)?;
    let roles = granted(service, roles(rq, abstract_syntax), rights)
        .ok_or(PresentationContextResultReason::UserRejection)?;
    let transfer_syntax = choose(service, &proposed.transfer_syntaxes)
        .ok_or(PresentationContextResultReason::TransferSyntaxesNotSupported)?;
    Ok(PresentationContext {
        id: proposed.id,
        abstract_syntax: abstract_syntax.to_owned(),
        transfer_syntax: transfer_syntax.to_owned(),
        service,
        requestor_is_scu: roles.scu,
        requestor_is_scp: roles.scp,
        options: options(rq, abstract_syntax, service),
    })
}

/// The roles a requestor wants for a SOP class, where it says so.
fn roles(rq: &AssociationRQ, abstract_syntax: &str) -> Option<RequestorRoles> {
    rq.user_variables.iter().find_map(|item| match item {
        UserVariableItem::ScuScpRoleSelectionSubItem(uid, roles) if trim(uid) == abstract_syntax => {
            Some(*roles)
        }
        _ => None,
    })
}

/// The roles it gets, if any is left: to store it needs that right, to be sent what it retrieves that of C-GET, and who
/// is asked for storage commitment may report it. Without a word of roles a requestor is SCU, PS3.7 D.3.3.4.
fn granted(service: Service, asked: Option<RequestorRoles>, rights: Rights) -> Option<RequestorRoles> {
    let asked = asked.unwrap_or(RequestorRoles { scu: true, scp: false });
    let may_be_scp = match service {
        Service::Store => rights.services.has(Service::Get),
        Service::Commit => rights.offers_commitment,
        Service::Echo | Service::Find | Service::Get | Service::Move => false,
    };
    let scp = asked.scp && may_be_scp;
    // Asking for no role at all means the default one.
    let scu = (asked.scu || !asked.scp) && rights.services.has(service);
    (scu || scp).then_some(RequestorRoles { scu, scp })
}

/// What we agree on, of what is asked for.
fn options(rq: &AssociationRQ, abstract_syntax: &str, service: Service) -> Options {
    let asked = rq.user_variables.iter().find_map(|item| match item {
        UserVariableItem::SopClassExtendedNegotiationSubItem(uid, bytes) if trim(uid) == abstract_syntax => {
            Some(bytes.as_slice())
        }
        _ => None,
    });
    let is_asked = |byte: usize| asked.and_then(|bytes| bytes.get(byte)) == Some(&1);
    match service {
        Service::Find => {
            Options { relational: is_asked(0), combined_date_time: is_asked(1), fuzzy: is_asked(2) }
        }
        Service::Get | Service::Move => Options { relational: is_asked(0), ..Options::default() },
        Service::Echo | Service::Store | Service::Commit => Options::default(),
    }
}

/// The transfer syntax we take of those offered: by our preference, and for storage any other one, in the
/// requestor's order, because nothing but the file's readers needs to know it. Where we are the one to send, over the
/// same contexts, a native syntax is what most of what is stored can be sent in.
fn choose(service: Service, offered: &[String]) -> Option<&str> {
    let offered: Vec<&str> = offered.iter().map(|uid| trim(uid)).filter(|uid| !uid.is_empty()).collect();
    let first_of =
        |wanted: &[&str]| wanted.iter().find_map(|wanted| offered.iter().find(|uid| *uid == wanted)).copied();
    match service {
        Service::Store => first_of(PREFERENCE)
            .or_else(|| offered.iter().find(|uid| !is_lossy(uid)).copied())
            .or(offered.first().copied()),
        _ => first_of(MESSAGES),
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
            // PS3.7 D.3.3.4.2: of the roles proposed, those that are accepted.
            UserVariableItem::ScuScpRoleSelectionSubItem(uid, _) => {
                if let Some(context) = contexts.iter().find(|context| context.abstract_syntax == trim(uid)) {
                    let roles =
                        RequestorRoles { scu: context.requestor_is_scu, scp: context.requestor_is_scp };
                    items.push(UserVariableItem::ScuScpRoleSelectionSubItem(uid.clone(), roles));
                }
            }
            UserVariableItem::SopClassExtendedNegotiationSubItem(uid, asked) => {
                let context = contexts.iter().find(|context| context.abstract_syntax == trim(uid));
                let answer = context.and_then(|context| agreed(context, asked));
                items.extend(
                    answer.map(|answer| {
                        UserVariableItem::SopClassExtendedNegotiationSubItem(uid.clone(), answer)
                    }),
                );
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

/// The answer to a SOP Class Extended Negotiation, where the service has one: not longer than what was asked.
fn agreed(context: &PresentationContext, asked: &[u8]) -> Option<Vec<u8>> {
    let Options { relational, combined_date_time, fuzzy } = context.options;
    let answer = match context.service {
        Service::Store => return Some(STORAGE_EXTENDED_NEGOTIATION.to_vec()),
        // No adjustment of time zones and no conversion of enhanced multi-frame images, bytes four and five; empty
        // values and lists of values match whether they were negotiated or not.
        Service::Find => {
            let is_asked = |byte: usize| u8::from(asked.get(byte) == Some(&1));
            let [empty, multiple] = [5, 6].map(is_asked);
            vec![u8::from(relational), u8::from(combined_date_time), u8::from(fuzzy), 0, 0, empty, multiple]
        }
        Service::Get | Service::Move => vec![u8::from(relational), 0],
        Service::Echo | Service::Commit => return None,
    };
    Some(answer.into_iter().take(asked.len().max(1)).collect())
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

    const EVERY: fn() -> Services = || Service::ALL.into_iter().collect();

    fn of(services: &[Service]) -> Services {
        services.iter().copied().collect()
    }

    fn judged(
        proposed: PresentationContextProposed,
        services: Services,
    ) -> Result<PresentationContext, PresentationContextResultReason> {
        judge(&request(vec![proposed.clone()], vec![]), &proposed, services.into())
    }

    fn role(uid: &str, scu: bool, scp: bool) -> UserVariableItem {
        UserVariableItem::ScuScpRoleSelectionSubItem(uid.into(), RequestorRoles { scu, scp })
    }

    #[test]
    fn our_preference_wins_over_the_order_of_the_requestor() {
        let offered = proposed(CT, &[uids::JPEG_BASELINE8_BIT, uids::IMPLICIT_VR_LITTLE_ENDIAN]);
        assert_eq!(judged(offered, EVERY()).unwrap().transfer_syntax, uids::IMPLICIT_VR_LITTLE_ENDIAN);
    }

    #[test]
    fn an_unknown_transfer_syntax_is_taken_for_storage_and_for_nothing_else() {
        assert_eq!(judged(proposed(CT, &["1.2.3.4"]), EVERY()).unwrap().transfer_syntax, "1.2.3.4");
        for uid in [uids::VERIFICATION, uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND] {
            assert_eq!(
                judged(proposed(uid, &["1.2.3.4", uids::JPEGLS_LOSSLESS]), EVERY()),
                Err(PresentationContextResultReason::TransferSyntaxesNotSupported)
            );
        }
    }

    #[test]
    fn a_private_sop_class_is_storage_and_a_worklist_is_not_there() {
        let offered = |uid| proposed(uid, &[uids::IMPLICIT_VR_LITTLE_ENDIAN]);
        assert!(judged(offered("1.2.826.0.1.999"), EVERY()).is_ok());
        assert_eq!(
            judged(offered(uids::MODALITY_WORKLIST_INFORMATION_MODEL_FIND), EVERY()),
            Err(PresentationContextResultReason::AbstractSyntaxNotSupported)
        );
    }

    #[test]
    fn a_peer_gets_the_services_it_may_use_and_no_others() {
        let move_uid = uids::PATIENT_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_MOVE;
        let syntaxes = [
            (uids::VERIFICATION, Service::Echo),
            (CT, Service::Store),
            (uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND, Service::Find),
            (uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_GET, Service::Get),
            (move_uid, Service::Move),
            (uids::STORAGE_COMMITMENT_PUSH_MODEL, Service::Commit),
        ];
        for (uid, own) in syntaxes {
            for (_, given) in syntaxes {
                let answer = judged(proposed(uid, &[uids::IMPLICIT_VR_LITTLE_ENDIAN]), of(&[given]));
                let refused = Err(PresentationContextResultReason::UserRejection);
                assert_eq!(answer.is_ok(), own == given, "{uid} for who may {given}");
                assert!(answer.is_ok() || answer == refused);
            }
        }
    }

    #[test]
    fn who_retrieves_to_itself_is_sent_instances_without_the_right_to_store_them_here() {
        let get = proposed(
            uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_GET,
            &[uids::IMPLICIT_VR_LITTLE_ENDIAN],
        );
        let ct = PresentationContextProposed { id: 3, ..proposed(CT, &[uids::EXPLICIT_VR_LITTLE_ENDIAN]) };
        let rq = request(vec![get, ct], vec![role(CT, true, true)]);
        assert_eq!(proposed_services(&rq), of(&[Service::Get, Service::Store]));

        let (ac, contexts) = accept(&rq, of(&[Service::Get]));
        let sent: Vec<_> = contexts.iter().map(|c| (c.id, c.requestor_is_scu, c.requestor_is_scp)).collect();
        assert_eq!(sent, [(1, true, false), (3, false, true)]);
        assert!(ac.user_variables.contains(&role(CT, false, true)));

        let (_, contexts) = accept(&rq, of(&[Service::Store]));
        let sent: Vec<_> = contexts.iter().map(|c| (c.id, c.requestor_is_scu, c.requestor_is_scp)).collect();
        assert_eq!(sent, [(3, true, false)], "and nothing is sent to who may not retrieve");
    }

    #[test]
    fn who_is_asked_for_storage_commitment_may_report_it_and_nobody_else() {
        let commit = uids::STORAGE_COMMITMENT_PUSH_MODEL;
        let offered = proposed(commit, &[uids::IMPLICIT_VR_LITTLE_ENDIAN]);
        let roles = |scu, services: &[Service], offers_commitment| {
            let rq = request(vec![offered.clone()], vec![role(commit, scu, true)]);
            let (_, contexts) = accept(&rq, Rights { services: of(services), offers_commitment });
            contexts.first().map(|context| (context.requestor_is_scu, context.requestor_is_scp))
        };
        assert_eq!(roles(false, &[], true), Some((false, true)));
        assert_eq!(roles(false, &[Service::Commit], false), None);
        assert_eq!(roles(true, &[Service::Commit], false), Some((true, false)));
        assert_eq!(roles(true, &[Service::Commit], true), Some((true, true)));
        assert_eq!(roles(true, &[Service::Store, Service::Get], false), None);
    }

    #[test]
    fn extended_negotiation_is_answered_with_what_we_do() {
        let find = uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND;
        let answered = |asked: &[u8]| {
            let item = UserVariableItem::SopClassExtendedNegotiationSubItem(find.into(), asked.to_vec());
            let rq = request(vec![proposed(find, &[uids::IMPLICIT_VR_LITTLE_ENDIAN])], vec![item]);
            let (ac, contexts) = accept(&rq, EVERY());
            let answer = ac.user_variables.into_iter().find_map(|item| match item {
                UserVariableItem::SopClassExtendedNegotiationSubItem(_, bytes) => Some(bytes),
                _ => None,
            });
            (answer.expect("an answer"), contexts[0].options)
        };
        assert_eq!(answered(&[1]).0, [1]);
        assert_eq!(answered(&[1, 1, 1, 1, 1]).0, [1, 1, 1, 0, 0]);
        assert_eq!(answered(&[0, 0, 0, 0, 0, 1, 0]).0, [0, 0, 0, 0, 0, 1, 0]);
        let (answer, options) = answered(&[0, 1, 0]);
        assert_eq!(answer, [0, 1, 0]);
        assert_eq!(options, Options { combined_date_time: true, ..Options::default() });
    }

    #[test]
    fn asynchronous_operations_are_answered_with_one_at_a_time() {
        let rq = request(
            vec![proposed(CT, &[uids::IMPLICIT_VR_LITTLE_ENDIAN])],
            vec![UserVariableItem::Unknown(0x53, vec![0, 8, 0, 8])],
        );
        let (ac, _) = accept(&rq, EVERY());
        assert!(ac.user_variables.contains(&UserVariableItem::Unknown(0x53, vec![0, 1, 0, 1])));
    }

    #[test]
    fn the_same_context_id_twice_opens_one_context() {
        let one = proposed(CT, &[uids::IMPLICIT_VR_LITTLE_ENDIAN]);
        let (ac, contexts) = accept(&request(vec![one.clone(), one], vec![]), EVERY());
        assert_eq!(contexts.len(), 1);
        assert_eq!(ac.presentation_contexts.len(), 2);
    }

    #[test]
    fn the_version_name_fits_its_sixteen_characters() {
        assert!(IMPLEMENTATION_VERSION_NAME.len() <= 16);
    }
}
