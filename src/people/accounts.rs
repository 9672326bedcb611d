//! Changes of accounts, as pages and commands make them: what must not happen does not, and what follows from a change
//! (sessions that end) happens with it. Each runs within the caller's transaction.

use mysql_async::prelude::Queryable;

use super::password::{self, Weak};
use super::{Error, People, Rules, secret, set_rules};
use crate::db::audit::{self, Action, Actor, Entry};
use crate::db::role::{Right, Role};
use crate::db::user::{self, NewUser, User, UserName};
use crate::db::visibility::ReferringNames;
use crate::db::{self, role, session, token};

/// Why an account was not changed.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Nobody could administer any more.
    #[error("this is the last account that can administer: make another administrator first")]
    LastAdministrator,
    /// The name is taken.
    #[error("there is a user {0} already")]
    Taken(UserName),
    /// The password is not good enough.
    #[error("{0}")]
    Weak(#[from] Weak),
    /// Not the person's fault.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl From<mysql_async::Error> for Refused {
    fn from(err: mysql_async::Error) -> Refused {
        Refused::Failed(err.into())
    }
}

/// Makes an account, and returns its number.
pub async fn add(conn: &mut impl Queryable, by: Actor, new: &NewUser) -> Result<u64, Refused> {
    let user_key = match user::add(conn, new).await {
        Err(err) if db::is_duplicate(&err) => return Err(Refused::Taken(new.name.clone())),
        added => added?,
    };
    record(conn, by, format!("made {} as {}", new.name, new.role)).await?;
    Ok(user_key)
}

/// Gives a person another full name, role and names of a referring physician. Another role, or other names, end their
/// sessions. Where nothing is different, nothing is done.
pub async fn change(
    conn: &mut impl Queryable,
    by: Actor,
    before: &User,
    full_name: &str,
    role: Role,
    names: &ReferringNames,
) -> Result<(), Refused> {
    let changes = changes(before, full_name, role, names);
    if changes.is_empty() {
        return Ok(());
    }
    if role != before.role && !administers(conn, role).await? {
        keep_an_administrator(conn, before).await?;
    }
    user::change(conn, before.user_key, full_name, role, names).await?;
    if role != before.role || *names != before.referring_names {
        session::end_all(conn, before.user_key).await?;
    }
    record(conn, by, format!("changed {}: {}", before.name, changes.join("; "))).await
}

/// What is different, from what to what.
fn changes(before: &User, full_name: &str, role: Role, names: &ReferringNames) -> Vec<String> {
    let mut changes = Vec::new();
    if role != before.role {
        changes.push(format!("role {} to {role}", before.role));
    }
    if full_name != before.full_name {
        changes.push(format!("full name \"{}\" to \"{full_name}\"", before.full_name));
    }
    if *names != before.referring_names {
        let listed = |names: &ReferringNames| names.lines().replace('\n', ", ");
        let (from, to) = (listed(&before.referring_names), listed(names));
        changes.push(format!("names as referring physician \"{from}\" to \"{to}\""));
    }
    changes
}

/// Keeps a person from signing in, or lets them again. Sessions end and tokens are taken back either way. Where that is so already, nothing is done.
pub async fn set_disabled(
    conn: &mut impl Queryable,
    by: Actor,
    user: &User,
    is_disabled: bool,
) -> Result<(), Refused> {
    if is_disabled == user.is_disabled {
        return Ok(());
    }
    if is_disabled {
        keep_an_administrator(conn, user).await?;
    }
    user::set_disabled(conn, user.user_key, is_disabled).await?;
    end_everything(conn, user).await?;
    let what = if is_disabled { "disabled" } else { "enabled" };
    record(conn, by, format!("{what} {}", user.name)).await
}

/// Gives a person another password, by an administrator. Their sessions end, and their tokens are taken back.
pub async fn set_password(
    conn: &mut impl Queryable,
    by: Actor,
    user: &User,
    password_hash: &str,
) -> Result<(), Refused> {
    user::set_password(conn, user.user_key, password_hash).await?;
    end_everything(conn, user).await?;
    record(conn, by, format!("set a new password for {}", user.name)).await
}

/// Takes a person's second factor away, by an administrator, and ends their sessions. Where there is none, nothing is
/// done.
pub async fn remove_second_factor(conn: &mut impl Queryable, by: Actor, user: &User) -> Result<(), Refused> {
    if !user.has_totp {
        return Ok(());
    }
    user::set_totp(conn, user.user_key, None, 0, &[]).await?;
    session::end_all(conn, user.user_key).await?;
    record(conn, by, format!("removed the second factor of {}", user.name)).await
}

impl People {
    /// The hash of a new password, if it is good enough for somebody with these names.
    pub async fn new_password(&self, password: &str, names: &[&str]) -> Result<String, Refused> {
        password::check(password, names)?;
        Ok(self.passwords.hash(password.to_owned()).await.map_err(Error::from)?)
    }

    /// The administrator of the demo, with a new password, which is returned. No second factor is asked for there.
    pub async fn demo_account(&self, by: Actor, name: &UserName) -> Result<String, Refused> {
        let password = secret::readable(3).map_err(Error::from)?;
        let password_hash = self.new_password(&password, &[]).await?;
        let mut conn = db::acquire(&self.pool).await.map_err(Error::from)?;
        let mut change = conn.start_transaction(Default::default()).await?;
        let rules = Rules { second_factor_for_administrators: false, basic: true };
        set_rules(&mut change, rules).await?;
        match user::credentials(&mut change, name).await? {
            Some(known) => set_password(&mut change, by, &known.user, &password_hash).await?,
            None => {
                let new = NewUser {
                    name: name.clone(),
                    full_name: "Demo administrator".to_owned(),
                    role: Role::Administrator,
                    password_hash,
                    referring_names: ReferringNames::default(),
                };
                add(&mut change, by, &new).await?;
            }
        }
        change.commit().await?;
        self.set_up.end();
        Ok(password)
    }
}

/// Ends the sessions of a person and takes their tokens back: whoever had the account has it no more.
async fn end_everything(conn: &mut impl Queryable, user: &User) -> Result<(), Refused> {
    session::end_all(conn, user.user_key).await?;
    Ok(token::remove_all(conn, user.user_key).await?)
}

async fn keep_an_administrator(conn: &mut impl Queryable, user: &User) -> Result<(), Refused> {
    let is_one = user.rights.has(Right::Administer) && !user.is_disabled;
    match is_one && user::other_administrators(conn, user.user_key).await? == 0 {
        true => Err(Refused::LastAdministrator),
        false => Ok(()),
    }
}

async fn administers(conn: &mut impl Queryable, role: Role) -> Result<bool, Refused> {
    let roles = role::list(conn).await?;
    Ok(roles.iter().any(|row| row.role == role && row.rights.has(Right::Administer)))
}

async fn record(conn: &mut impl Queryable, by: Actor, details: String) -> Result<(), Refused> {
    Ok(audit::append(conn, &[Entry::of(by, Action::ChangeUser, details)]).await?)
}
