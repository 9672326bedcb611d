//! What can be done, as the audit trail names it.

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Signed in, or tried to.
    SignIn,
    /// Signed out.
    SignOut,
    /// Looked for studies and was shown what matches.
    Query,
    /// Was shown a study.
    ViewStudy,
    /// Was shown the pictures of a series.
    ViewSeries,
    /// Was shown a patient and their studies.
    ViewPatient,
    /// Was shown the attributes of an instance.
    ViewInstance,
    /// Was shown what is in quarantine.
    ViewQuarantine,
    /// Was shown the audit trail.
    ViewAudit,
    /// Took a file away.
    Download,
    /// Sent us instances of a study.
    Receive,
    /// Had instances of a study sent to another AE.
    Send,
    /// Asked another AE which studies it has.
    QueryRemote,
    /// Had a study retrieved from another AE.
    Retrieve,
    /// Ended a job, or let it begin again.
    ChangeJob,
    /// Deleted something.
    Delete,
    /// Made, changed or disabled an account.
    ChangeUser,
    /// Changed a password, a second factor, a session or a token of their own.
    ChangeAccount,
    /// Made or changed a group.
    ChangeGroup,
    /// Changed what a role may do.
    ChangeRole,
    /// Gave or took a study or a patient.
    Grant,
    /// Made or revoked a link to a study.
    Share,
    /// Opened such a link, or tried to.
    OpenShare,
    /// Changed a peer.
    ChangePeer,
    /// Ended an association of another AE.
    AbortAssociation,
    /// Changed a setting.
    ChangeSetting,
}

impl Action {
    /// Every action, in the order of the page.
    pub const ALL: [Action; 26] = [
        Action::SignIn,
        Action::SignOut,
        Action::Query,
        Action::ViewStudy,
        Action::ViewSeries,
        Action::ViewPatient,
        Action::ViewInstance,
        Action::ViewQuarantine,
        Action::ViewAudit,
        Action::Download,
        Action::Receive,
        Action::Send,
        Action::QueryRemote,
        Action::Retrieve,
        Action::ChangeJob,
        Action::Delete,
        Action::ChangeUser,
        Action::ChangeAccount,
        Action::ChangeGroup,
        Action::ChangeRole,
        Action::Grant,
        Action::Share,
        Action::OpenShare,
        Action::ChangePeer,
        Action::AbortAssociation,
        Action::ChangeSetting,
    ];

    /// The word in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::SignIn => "sign-in",
            Action::SignOut => "sign-out",
            Action::Query => "query",
            Action::ViewStudy => "view-study",
            Action::ViewSeries => "view-series",
            Action::ViewPatient => "view-patient",
            Action::ViewInstance => "view-instance",
            Action::ViewQuarantine => "view-quarantine",
            Action::ViewAudit => "view-audit",
            Action::Download => "download",
            Action::Receive => "receive",
            Action::Send => "send",
            Action::QueryRemote => "query-remote",
            Action::Retrieve => "retrieve",
            Action::ChangeJob => "change-job",
            Action::Delete => "delete",
            Action::ChangeUser => "change-user",
            Action::ChangeAccount => "change-account",
            Action::ChangeGroup => "change-group",
            Action::ChangeRole => "change-role",
            Action::Grant => "grant",
            Action::Share => "share",
            Action::OpenShare => "open-share",
            Action::ChangePeer => "change-peer",
            Action::AbortAssociation => "abort-association",
            Action::ChangeSetting => "change-setting",
        }
    }

    /// The words on a page.
    pub fn label(self) -> &'static str {
        match self {
            Action::SignIn => "Sign-in",
            Action::SignOut => "Sign-out",
            Action::Query => "Search",
            Action::ViewStudy => "Study viewed",
            Action::ViewSeries => "Series viewed",
            Action::ViewPatient => "Patient viewed",
            Action::ViewInstance => "Attributes viewed",
            Action::ViewQuarantine => "Quarantine viewed",
            Action::ViewAudit => "Audit trail viewed",
            Action::Download => "Download",
            Action::Receive => "Received",
            Action::Send => "Sent",
            Action::QueryRemote => "Remote search",
            Action::Retrieve => "Retrieved",
            Action::ChangeJob => "Job changed",
            Action::Delete => "Deleted",
            Action::ChangeUser => "User changed",
            Action::ChangeAccount => "Own account changed",
            Action::ChangeGroup => "Group changed",
            Action::ChangeRole => "Role changed",
            Action::Grant => "Access given or taken",
            Action::Share => "Share link",
            Action::OpenShare => "Share link opened",
            Action::ChangePeer => "Peer changed",
            Action::AbortAssociation => "Association aborted",
            Action::ChangeSetting => "Setting changed",
        }
    }

    /// The action of this word.
    pub fn parse(text: &str) -> Option<Action> {
        Action::ALL.into_iter().find(|action| action.as_str() == text)
    }
}
