//! Table `role`: what the people of each role may do.

use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{FromRowError, Result, Row, params};

use super::row::{column, parsed};

/// What a person is here for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Looks after people, peers and settings.
    Administrator,
    /// Reads studies.
    Reader,
    /// Makes them, and corrects them.
    Technologist,
    /// Sent the patient, and sees their own.
    Referrer,
}

/// Something a role may or may not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Look at studies.
    View,
    /// Every study, and not only those that are one's own.
    SeeAll,
    /// Take files away.
    Download,
    /// Put files in.
    Upload,
    /// Correct what is stored, quarantine included.
    Edit,
    /// Delete what is stored.
    Delete,
    /// Send to other AEs.
    Send,
    /// Make links for people without an account.
    Share,
    /// Ask other archives.
    QueryRemote,
    /// People, peers, settings and the audit trail.
    Administer,
}

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rights(u16);

impl Role {
    /// Every role, the mightiest first.
    pub const ALL: [Role; 4] = [Role::Administrator, Role::Reader, Role::Technologist, Role::Referrer];

    /// The word in the table and in forms.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Administrator => "administrator",
            Role::Reader => "reader",
            Role::Technologist => "technologist",
            Role::Referrer => "referrer",
        }
    }

    /// The word on a page.
    pub fn label(self) -> &'static str {
        match self {
            Role::Administrator => "Administrator",
            Role::Reader => "Reader",
            Role::Technologist => "Technologist",
            Role::Referrer => "Referrer",
        }
    }

    /// What the role may do whatever somebody sets: administrators administer.
    pub fn kept_right(self) -> Option<Right> {
        (self == Role::Administrator).then_some(Right::Administer)
    }

    /// What the role may do until somebody changes it.
    pub fn usual_rights(self) -> Rights {
        use Right::{Download, Edit, QueryRemote, SeeAll, Send, Share, Upload, View};
        match self {
            Role::Administrator => Rights::of(&Right::ALL),
            Role::Reader => Rights::of(&[View, SeeAll, Download, Share, QueryRemote]),
            Role::Technologist => Rights::of(&[View, SeeAll, Upload, Edit, Send, QueryRemote]),
            Role::Referrer => Rights::of(&[View, Download]),
        }
    }
}

impl std::str::FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Role, String> {
        let found = Role::ALL.into_iter().find(|role| role.as_str() == text.trim());
        found.ok_or_else(|| format!("must be administrator, reader, technologist or referrer, not {text:?}"))
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Right {
    /// Every right, in the order of the page.
    pub const ALL: [Right; 10] = [
        Right::View,
        Right::SeeAll,
        Right::Download,
        Right::Upload,
        Right::Edit,
        Right::Delete,
        Right::Send,
        Right::Share,
        Right::QueryRemote,
        Right::Administer,
    ];

    /// The word in forms and in the scope of a token.
    pub fn as_str(self) -> &'static str {
        match self {
            Right::View => "view",
            Right::SeeAll => "see-all",
            Right::Download => "download",
            Right::Upload => "upload",
            Right::Edit => "edit",
            Right::Delete => "delete",
            Right::Send => "send",
            Right::Share => "share",
            Right::QueryRemote => "query-remote",
            Right::Administer => "administer",
        }
    }

    /// The words on a page.
    pub fn label(self) -> &'static str {
        match self {
            Right::View => "View",
            Right::SeeAll => "All studies",
            Right::Download => "Download",
            Right::Upload => "Upload",
            Right::Edit => "Edit",
            Right::Delete => "Delete",
            Right::Send => "Send",
            Right::Share => "Share",
            Right::QueryRemote => "Query remote",
            Right::Administer => "Administer",
        }
    }

    fn column(self) -> &'static str {
        match self {
            Right::View => "may_view",
            Right::SeeAll => "sees_all",
            Right::Download => "may_download",
            Right::Upload => "may_upload",
            Right::Edit => "may_edit",
            Right::Delete => "may_delete",
            Right::Send => "may_send",
            Right::Share => "may_share",
            Right::QueryRemote => "may_query_remote",
            Right::Administer => "may_administer",
        }
    }

    fn bit(self) -> u16 {
        1 << (self as u16)
    }

    /// The right of this word.
    pub fn parse(text: &str) -> Option<Right> {
        Right::ALL.into_iter().find(|right| right.as_str() == text)
    }
}

impl Rights {
    /// Nothing.
    pub const NONE: Rights = Rights(0);

    /// These.
    pub fn of(rights: &[Right]) -> Rights {
        Rights(rights.iter().fold(0, |bits, right| bits | right.bit()))
    }

    /// Whether this is among them.
    pub fn has(self, right: Right) -> bool {
        self.0 & right.bit() != 0
    }

    /// What both may.
    pub fn and(self, others: Rights) -> Rights {
        Rights(self.0 & others.0)
    }

    /// These and one more, if there is one.
    pub fn with(self, right: Option<Right>) -> Rights {
        Rights(self.0 | right.map_or(0, Right::bit))
    }

    /// What remains for somebody who may not view: nothing that shows a study or is done with one.
    pub fn without_what_needs_view(self) -> Rights {
        const NEED_VIEW: [Right; 5] =
            [Right::Download, Right::Edit, Right::Delete, Right::Send, Right::Share];
        match self.has(Right::View) {
            true => self,
            false => Rights(self.0 & !Rights::of(&NEED_VIEW).0),
        }
    }

    /// In the order of the page.
    pub fn list(self) -> Vec<Right> {
        Right::ALL.into_iter().filter(|right| self.has(*right)).collect()
    }

    /// Their words with commas between.
    pub fn words(self) -> String {
        self.list().iter().map(|right| right.as_str()).collect::<Vec<_>>().join(",")
    }

    /// The rights of such a list. Words that are none any more give nothing.
    pub fn of_words(words: &str) -> Rights {
        words.split(',').filter_map(Right::parse).fold(Rights::NONE, |rights, right| rights.with(Some(right)))
    }

    /// Of a row that has the columns of `role`.
    pub(super) fn from_row(row: &Row) -> std::result::Result<Rights, FromRowError> {
        let mut rights = Rights::NONE;
        for right in Right::ALL {
            if column::<bool>(row, right.column())? {
                rights = rights.with(Some(right));
            }
        }
        Ok(rights)
    }
}

/// The columns that [`Rights::from_row`] reads.
macro_rules! rights_columns {
    () => {
        "role.sees_all,
         role.may_view,
         role.may_download,
         role.may_upload,
         role.may_edit,
         role.may_delete,
         role.may_send,
         role.may_share,
         role.may_query_remote,
         role.may_administer"
    };
}
pub(super) use rights_columns;

/// Makes the rows of roles that have none.
pub async fn ensure(conn: &mut impl Queryable) -> Result<()> {
    let present: Vec<String> = conn.query("SELECT role FROM role").await?;
    for role in Role::ALL.into_iter().filter(|role| !present.iter().any(|name| name == role.as_str())) {
        set(conn, role, role.usual_rights()).await?;
    }
    Ok(())
}

/// A role and what it may do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoleRights {
    /// The role.
    pub role: Role,
    /// What it may do.
    pub rights: Rights,
}

impl FromRow for RoleRights {
    fn from_row_opt(row: Row) -> std::result::Result<RoleRights, FromRowError> {
        Ok(RoleRights { role: parsed(&row, "role")?, rights: Rights::from_row(&row)? })
    }
}

/// What each role may do, the mightiest first.
pub async fn list(conn: &mut impl Queryable) -> Result<Vec<RoleRights>> {
    let mut roles: Vec<RoleRights> =
        conn.query(concat!("SELECT role.role, ", rights_columns!(), " FROM role")).await?;
    roles.sort_by_key(|row| Role::ALL.iter().position(|role| *role == row.role));
    Ok(roles)
}

/// Gives a role these rights, the one it keeps, and no others.
pub async fn set(conn: &mut impl Queryable, role: Role, rights: Rights) -> Result<()> {
    let rights = rights.with(role.kept_right());
    conn.exec_drop(
        "INSERT INTO role (role, sees_all, may_view, may_download, may_upload, may_edit, may_delete, may_send,
                           may_share, may_query_remote, may_administer, changed_at)
         VALUES (:role, :sees_all, :may_view, :may_download, :may_upload, :may_edit, :may_delete, :may_send,
                 :may_share, :may_query_remote, :may_administer, UTC_TIMESTAMP(6))
             ON DUPLICATE KEY UPDATE sees_all = :sees_all,
                                     may_view = :may_view,
                                     may_download = :may_download,
                                     may_upload = :may_upload,
                                     may_edit = :may_edit,
                                     may_delete = :may_delete,
                                     may_send = :may_send,
                                     may_share = :may_share,
                                     may_query_remote = :may_query_remote,
                                     may_administer = :may_administer,
                                     changed_at = UTC_TIMESTAMP(6)",
        params! {
            "role" => role.as_str(),
            "sees_all" => rights.has(Right::SeeAll),
            "may_view" => rights.has(Right::View),
            "may_download" => rights.has(Right::Download),
            "may_upload" => rights.has(Right::Upload),
            "may_edit" => rights.has(Right::Edit),
            "may_delete" => rights.has(Right::Delete),
            "may_send" => rights.has(Right::Send),
            "may_share" => rights.has(Right::Share),
            "may_query_remote" => rights.has(Right::QueryRemote),
            "may_administer" => rights.has(Right::Administer),
        },
    )
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_administrators_administer_and_only_referrers_do_not_see_everything() {
        for role in Role::ALL {
            let rights = role.usual_rights();
            assert_eq!(rights.has(Right::Administer), role == Role::Administrator, "{role}");
            assert_eq!(rights.has(Right::SeeAll), role != Role::Referrer, "{role}");
            assert!(rights.has(Right::View), "{role}");
        }
    }

    #[test]
    fn without_view_nothing_is_done_with_studies() {
        let all = Rights::of(&Right::ALL);
        assert_eq!(all.without_what_needs_view(), all);
        let most: Vec<Right> = Right::ALL.into_iter().filter(|right| *right != Right::View).collect();
        let left = Rights::of(&most).without_what_needs_view();
        assert_eq!(left.words(), "see-all,upload,query-remote,administer");
    }

    #[test]
    fn rights_survive_their_words() {
        for role in Role::ALL {
            assert_eq!(Rights::of_words(&role.usual_rights().words()), role.usual_rights());
        }
        assert_eq!(Rights::of_words("view,fly"), Rights::of(&[Right::View]));
    }

    #[test]
    fn what_both_may_is_no_more_than_either() {
        let (one, other) =
            (Rights::of(&[Right::View, Right::Send]), Rights::of(&[Right::View, Right::Share]));
        assert_eq!(one.and(other), Rights::of(&[Right::View]));
    }
}
