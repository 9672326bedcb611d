//! The DIMSE services a remote AE can use here, PS3.4 annexes A, B, C and J, and sets of them.

use std::fmt;

use dicom_dictionary_std::uids;

use super::sop_class;

/// A service of PS3.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    /// Verification, annex A.
    Echo,
    /// Storage, annex B.
    Store,
    /// Query, C.4.1.
    Find,
    /// Retrieve to the AE that asks, C.4.3.
    Get,
    /// Retrieve to an AE that is named, C.4.2.
    Move,
    /// Storage Commitment Push Model, annex J.
    Commit,
}

/// Retired, and still what some workstations ask with.
const PATIENT_STUDY_ONLY_FIND: &str = "1.2.840.10008.5.1.4.1.2.3.1";
const PATIENT_STUDY_ONLY_MOVE: &str = "1.2.840.10008.5.1.4.1.2.3.2";
const PATIENT_STUDY_ONLY_GET: &str = "1.2.840.10008.5.1.4.1.2.3.3";

/// The three models of what can be asked, PS3.4 C.6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Model {
    /// C.6.1: patients at the top.
    PatientRoot,
    /// C.6.2: studies at the top, patients' attributes among theirs.
    StudyRoot,
    /// C.6.3, retired: patients and studies and nothing below.
    PatientStudyOnly,
}

impl Service {
    /// Every service, in the order of the pages.
    pub const ALL: [Service; 6] =
        [Service::Echo, Service::Store, Service::Find, Service::Get, Service::Move, Service::Commit];

    /// The word on pages, in commands and in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Service::Echo => "echo",
            Service::Store => "store",
            Service::Find => "find",
            Service::Get => "get",
            Service::Move => "move",
            Service::Commit => "commit",
        }
    }

    /// What an AE does with it, for people.
    pub fn verb(self) -> &'static str {
        match self {
            Service::Echo => "verify",
            Service::Store => "store",
            Service::Find => "search",
            Service::Get => "fetch",
            Service::Move => "have studies sent",
            Service::Commit => "ask for storage commitment",
        }
    }

    /// The service an abstract syntax is of, if it is one of ours. Private and unknown SOP classes count as storage:
    /// what a device wants kept is kept.
    pub fn of(abstract_syntax: &str) -> Option<Service> {
        match abstract_syntax {
            uids::VERIFICATION => Some(Service::Echo),
            uids::STORAGE_COMMITMENT_PUSH_MODEL => Some(Service::Commit),
            uids::PATIENT_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND
            | uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND
            | PATIENT_STUDY_ONLY_FIND => Some(Service::Find),
            uids::PATIENT_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_MOVE
            | uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_MOVE
            | PATIENT_STUDY_ONLY_MOVE => Some(Service::Move),
            uids::PATIENT_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_GET
            | uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_GET
            | PATIENT_STUDY_ONLY_GET => Some(Service::Get),
            other if sop_class::is_storage(other) => Some(Service::Store),
            _ => None,
        }
    }
}

impl Model {
    /// The model of a query or retrieve SOP class.
    pub fn of(abstract_syntax: &str) -> Option<Model> {
        match abstract_syntax {
            uids::PATIENT_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND
            | uids::PATIENT_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_MOVE
            | uids::PATIENT_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_GET => Some(Model::PatientRoot),
            uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND
            | uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_MOVE
            | uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_GET => Some(Model::StudyRoot),
            PATIENT_STUDY_ONLY_FIND | PATIENT_STUDY_ONLY_MOVE | PATIENT_STUDY_ONLY_GET => {
                Some(Model::PatientStudyOnly)
            }
            _ => None,
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Service {
    type Err = String;

    fn from_str(text: &str) -> Result<Service, String> {
        let known = || Service::ALL.map(Service::as_str).join(", ");
        Service::ALL
            .into_iter()
            .find(|service| service.as_str() == text)
            .ok_or_else(|| format!("must be one of {}, not {text:?}", known()))
    }
}

/// A set of services.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Services(u8);

impl Services {
    /// None of them.
    pub const NONE: Services = Services(0);

    /// The set with this service too.
    pub const fn with(self, service: Service) -> Services {
        Services(self.0 | 1 << service as u8)
    }

    /// The set with all of these too.
    pub fn and(self, others: Services) -> Services {
        Services(self.0 | others.0)
    }

    /// The set without any of these.
    pub fn without(self, others: Services) -> Services {
        Services(self.0 & !others.0)
    }

    /// Those that are in both sets.
    pub fn only(self, others: Services) -> Services {
        Services(self.0 & others.0)
    }

    /// What an AE does with them, for people: `store, search and fetch`; with none, `nothing`. `last` stands before the
    /// last of several.
    pub fn verbs(self, last: &str) -> String {
        let mut verbs: Vec<&str> = self.iter().map(Service::verb).collect();
        match (verbs.pop(), verbs.as_slice()) {
            (None, _) => "nothing".to_owned(),
            (Some(only), []) => only.to_owned(),
            (Some(final_one), others) => format!("{} {last} {final_one}", others.join(", ")),
        }
    }

    /// Whether this service is in it.
    pub fn has(self, service: Service) -> bool {
        self.0 & 1 << service as u8 != 0
    }

    /// Whether none is.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those that are in it, in the order of [`Service::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Service> {
        Service::ALL.into_iter().filter(move |service| self.has(*service))
    }
}

impl FromIterator<Service> for Services {
    fn from_iter<I: IntoIterator<Item = Service>>(services: I) -> Services {
        services.into_iter().fold(Services::NONE, Services::with)
    }
}

/// The words with commas between.
impl fmt::Display for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.iter().map(Service::as_str).collect::<Vec<_>>().join(", "))
    }
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Services({self})")
    }
}

/// Words with commas or blanks between.
impl std::str::FromStr for Services {
    type Err = String;

    fn from_str(text: &str) -> Result<Services, String> {
        text.split([',', ' ']).filter(|word| !word.is_empty()).map(str::parse).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_written_and_read_in_words() {
        let set: Services = "find, echo,move".parse().expect("words");
        assert_eq!(set.to_string(), "echo, find, move");
        assert!(set.has(Service::Move) && !set.has(Service::Store));
        assert_eq!("".parse(), Ok(Services::NONE));
        assert!("echo,print".parse::<Services>().is_err());
        assert_eq!(set.verbs("and"), "verify, search and have studies sent");
        assert_eq!(Services::NONE.with(Service::Find).verbs("or"), "search");
        assert_eq!(Services::NONE.verbs("and"), "nothing");
        assert_eq!(set.only(Services::NONE.with(Service::Find)).to_string(), "find");
    }

    #[test]
    fn each_abstract_syntax_is_of_one_service() {
        assert_eq!(Service::of(uids::VERIFICATION), Some(Service::Echo));
        assert_eq!(Service::of(uids::CT_IMAGE_STORAGE), Some(Service::Store));
        assert_eq!(Service::of("1.2.826.0.1.999"), Some(Service::Store), "private");
        assert_eq!(Service::of(PATIENT_STUDY_ONLY_GET), Some(Service::Get));
        assert_eq!(Service::of(uids::MODALITY_WORKLIST_INFORMATION_MODEL_FIND), None);
        assert_eq!(Model::of(PATIENT_STUDY_ONLY_FIND), Some(Model::PatientStudyOnly));
        assert_eq!(Model::of(uids::CT_IMAGE_STORAGE), None);
    }
}
