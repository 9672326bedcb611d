//! Changes of what the people of a role may do, with what follows from them. Runs within the caller's transaction.

use mysql_async::prelude::Queryable;

use super::accounts::Refused;
use crate::db::audit::{self, Action, Actor, Entry};
use crate::db::role::{self, Right, Rights, RoleRights};
use crate::db::{session, user};

/// Gives roles these rights, and ends the sessions of the people of those that change, but not this session, which is
/// the one the change is made in. One row of the audit trail tells all changes; where there are none, nothing is done.
pub async fn change(
    conn: &mut impl Queryable,
    by: Actor,
    wanted: &[RoleRights],
    own_session: u64,
) -> Result<(), Refused> {
    let mut changes = Vec::new();
    for before in role::list(conn).await? {
        let Some(after) = wanted.iter().find(|after| after.role == before.role) else { continue };
        let rights = after.rights.with(before.role.kept_right());
        if rights == before.rights {
            continue;
        }
        role::set(conn, before.role, rights).await?;
        session::end_all_of_role(conn, before.role, own_session).await?;
        changes.push(format!("{}: {}", before.role, difference(before.rights, rights)));
    }
    if changes.is_empty() {
        return Ok(());
    }
    // No account has the number 0.
    if user::other_administrators(conn, 0).await? == 0 {
        return Err(Refused::LastAdministrator);
    }
    Ok(audit::append(conn, &[Entry::of(by, Action::ChangeRole, changes.join("; "))]).await?)
}

/// `+delete -send`
fn difference(before: Rights, after: Rights) -> String {
    let words = Right::ALL.into_iter().filter_map(|right| match (before.has(right), after.has(right)) {
        (false, true) => Some(format!("+{}", right.as_str())),
        (true, false) => Some(format!("-{}", right.as_str())),
        (true, true) | (false, false) => None,
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_what_came_and_what_went() {
        let before = Rights::of(&[Right::View, Right::Send]);
        let after = Rights::of(&[Right::View, Right::Delete]);
        assert_eq!(difference(before, after), "+delete -send");
        assert_eq!(difference(before, before), "");
    }
}
