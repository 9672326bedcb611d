//! Changes that people make to their own account: the password, the second factor, tokens. Each runs within the caller's
//! transaction, and leaves the entry it is given as the last thing before the commit.

use std::net::IpAddr;

use mysql_async::prelude::Queryable;

use super::secret::Secret;
use super::sign_in::{TOKEN_PREFIX, begin_session, device_of};
use super::{Error, second_factor};
use crate::db::audit::{self, Entry};
use crate::db::role::Rights;
use crate::db::user::User;
use crate::db::{session, token, user};

/// The browser somebody changes their account with.
pub struct Browser<'a> {
    /// Where it is.
    pub address: IpAddr,
    /// As it calls itself.
    pub user_agent: &'a str,
}

/// What the cookies of a browser hold after a new password or another second factor.
pub struct Renewed {
    /// Of the session.
    pub session: String,
    /// What the browser remembers of who has signed in with it.
    pub device: String,
}

/// What follows from a second factor.
pub struct Enrolled {
    /// For the cookies.
    pub renewed: Renewed,
    /// Codes to recover by. Only their hashes are kept.
    pub recovery_codes: Vec<String>,
}

/// A token to be.
pub struct NewToken<'a> {
    /// What it is for.
    pub name: &'a str,
    /// What it may do.
    pub scope: Rights,
    /// How long it lasts.
    pub days: u32,
}

/// Gives a person the password they chose. All their sessions end, and one begins in this browser.
pub async fn set_password(
    conn: &mut impl Queryable,
    user: &User,
    password_hash: &str,
    browser: &Browser<'_>,
    entry: Entry,
) -> Result<Renewed, Error> {
    user::set_password(conn, user.user_key, password_hash).await?;
    let renewed = only_session(conn, user, browser).await?;
    audit::append(conn, &[entry]).await?;
    Ok(renewed)
}

/// Sets up a second factor that the code of `step` has proved. All sessions of the person end, and one begins in this
/// browser. None where there is a second factor already.
pub async fn set_second_factor(
    conn: &mut impl Queryable,
    user: &User,
    secret: &[u8],
    step: u64,
    browser: &Browser<'_>,
    entry: Entry,
) -> Result<Option<Enrolled>, Error> {
    if user::has_totp(conn, user.user_key).await? {
        return Ok(None);
    }
    let (recovery_codes, hashes) = recovery_codes(user)?;
    user::set_totp(conn, user.user_key, Some(secret), step, &hashes).await?;
    let renewed = only_session(conn, user, browser).await?;
    audit::append(conn, &[entry]).await?;
    Ok(Some(Enrolled { renewed, recovery_codes }))
}

/// Takes a person's second factor away, with the codes to recover by. All their sessions end, and one begins in this
/// browser.
pub async fn remove_second_factor(
    conn: &mut impl Queryable,
    user: &User,
    browser: &Browser<'_>,
    entry: Entry,
) -> Result<Renewed, Error> {
    user::set_totp(conn, user.user_key, None, 0, &[]).await?;
    let renewed = only_session(conn, user, browser).await?;
    audit::append(conn, &[entry]).await?;
    Ok(renewed)
}

/// Gives a person new codes to recover by, in place of those they had. None where there is no second factor.
pub async fn renew_recovery_codes(
    conn: &mut impl Queryable,
    user: &User,
    entry: Entry,
) -> Result<Option<Vec<String>>, Error> {
    if !user::has_totp(conn, user.user_key).await? {
        return Ok(None);
    }
    let (codes, hashes) = recovery_codes(user)?;
    user::set_recovery_codes(conn, user.user_key, &hashes).await?;
    audit::append(conn, &[entry]).await?;
    Ok(Some(codes))
}

/// Makes a token, and returns its text.
pub async fn add_token(
    conn: &mut impl Queryable,
    user: &User,
    new: &NewToken<'_>,
    entry: Entry,
) -> Result<String, Error> {
    let secret = Secret::random_with(TOKEN_PREFIX)?;
    token::add(conn, &secret.hash(), user.user_key, new.name, new.scope, new.days).await?;
    audit::append(conn, &[entry]).await?;
    Ok(secret.text().to_owned())
}

/// Makes a token for one study, and returns its text.
pub async fn add_token_for_study(
    conn: &mut impl Queryable,
    user: &User,
    name: &str,
    scope: Rights,
    study_key: u64,
    entry: Entry,
) -> Result<String, Error> {
    let secret = Secret::random_with(TOKEN_PREFIX)?;
    token::add_for_study(conn, &secret.hash(), user.user_key, name, scope, study_key).await?;
    audit::append(conn, &[entry]).await?;
    Ok(secret.text().to_owned())
}

/// Ends all sessions of a person and begins one in this browser.
async fn only_session(
    conn: &mut impl Queryable,
    user: &User,
    browser: &Browser<'_>,
) -> Result<Renewed, Error> {
    session::end_all(conn, user.user_key).await?;
    let session = begin_session(conn, user.user_key, browser.address, browser.user_agent).await?;
    let device = match user::credentials(conn, &user.name).await? {
        Some(known) => device_of(&known.password_hash, known.totp_secret.as_deref())?,
        None => String::new(),
    };
    Ok(Renewed { session, device })
}

/// New codes to recover by, and what is kept of them.
fn recovery_codes(user: &User) -> Result<(Vec<String>, Vec<[u8; 32]>), Error> {
    let codes = second_factor::recovery_codes()?;
    let hashes = codes.iter().map(|code| second_factor::recovery_hash(user.user_key, code)).collect();
    Ok((codes, hashes))
}
