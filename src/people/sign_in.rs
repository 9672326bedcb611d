//! Signing in: with a name, a password and a code in a browser; with a token, or a name and a password, from a program.
//!
//! Whatever is wrong, the answer is the same and takes as long. Every attempt that was looked at leaves a row in the
//! audit trail.

use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

use mysql_async::prelude::Queryable;

use super::throttle::Attempt;
use super::{Error, People, second_factor, secret};
use crate::db::audit::{self, Action, Actor, ActorKind, Entry};
use crate::db::session::{self, Session};
use crate::db::token::{self, Token};
use crate::db::user::{self, Credentials, User, UserName};
use crate::db::{self, share};

/// What tokens begin with, so that people and scanners of source code know one when they see it.
pub const TOKEN_PREFIX: &str = "filmroom_";

/// What somebody typed, and from where.
pub struct Typed<'a> {
    /// The user name.
    pub name: &'a str,
    /// The password.
    pub password: &'a str,
    /// The code of an authenticator, or one to recover by.
    pub code: &'a str,
    /// Where it comes from.
    pub address: IpAddr,
    /// What tells one browser from another.
    pub browser: [u8; 32],
    /// What a browser in which this person has signed in before remembers of that.
    pub device: &'a str,
    /// As the browser calls itself.
    pub user_agent: &'a str,
}

/// Somebody who is signed in now.
pub struct SignedIn {
    /// Who.
    pub user: User,
    /// For the cookie of the session.
    pub session: String,
    /// For the browser to remember, see [`Typed::device`].
    pub device: String,
}

/// Why somebody is not signed in.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Something is wrong; which, is not told.
    #[error("The name, the password or the code is wrong.")]
    Wrong,
    /// Too many guesses.
    #[error("There were too many tries. Try again in {} seconds.", .0.as_secs().max(1))]
    Wait(Duration),
    /// Not the person's fault.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl From<mysql_async::Error> for Refusal {
    fn from(err: mysql_async::Error) -> Refusal {
        Refusal::Failed(err.into())
    }
}

impl From<db::Error> for Refusal {
    fn from(err: db::Error) -> Refusal {
        Refusal::Failed(err.into())
    }
}

impl From<std::io::Error> for Refusal {
    fn from(err: std::io::Error) -> Refusal {
        Refusal::Failed(err.into())
    }
}

impl People {
    /// Signs somebody in with a new session.
    pub async fn sign_in(&self, typed: &Typed<'_>) -> Result<SignedIn, Refusal> {
        let credentials = self.credentials(typed.name).await?;
        let is_known = credentials.as_ref().is_some_and(|known| is_device_of(known, typed.device));
        let attempt = Attempt {
            name: typed.name.to_owned(),
            address: typed.address,
            browser: Some(if is_known { secret::hash(typed.device) } else { typed.browser }),
            is_known,
        };
        let credentials = self.with_password(&attempt, credentials, typed.password).await?;
        if !self.has_code(&credentials, typed.code).await? {
            return self.refuse(&attempt, "wrong code").await;
        }
        let Some(session) = self.begin_session(&credentials, typed).await? else {
            return self.refuse(&attempt, "the account was changed meanwhile").await;
        };
        self.throttle.succeeded(&attempt);
        let device = device_of(&credentials.password_hash, credentials.totp_secret.as_deref())?;
        Ok(SignedIn { user: credentials.user, session, device })
    }

    /// Begins a session for somebody who has shown who they are, and returns what its cookie holds. None where what they
    /// have shown is not theirs any more: sessions that ended with the old password do not come back.
    async fn begin_session(&self, shown: &Credentials, typed: &Typed<'_>) -> Result<Option<String>, Error> {
        let user = &shown.user;
        let mut conn = db::acquire(&self.pool).await?;
        let mut change = conn.start_transaction(Default::default()).await?;
        let now = user::credentials_for_change(&mut change, &user.name).await?;
        let is_the_same = now.is_some_and(|now| {
            now.password_hash == shown.password_hash
                && now.totp_secret == shown.totp_secret
                && !now.user.is_disabled
        });
        if !is_the_same {
            return Ok(None);
        }
        let session = begin_session(&mut change, user.user_key, typed.address, typed.user_agent).await?;
        let entry = Entry::of(person(user, typed.address), Action::SignIn, "");
        audit::append(&mut change, &[entry]).await?;
        change.commit().await?;
        Ok(Some(session))
    }

    /// The session of this cookie, while it lasts, which is longer where it is used by somebody.
    pub async fn session(&self, cookie: &str, is_somebody: bool) -> Result<Option<Session>, Error> {
        let mut conn = db::acquire(&self.pool).await?;
        let session = session::by_hash(&mut conn, &secret::hash(cookie)).await?;
        if let Some(session) = &session
            && session.is_to_be_noted
            && is_somebody
        {
            session::used(&mut conn, session.session_key).await?;
        }
        Ok(session)
    }

    /// The person a program acts for, while they and the token it has are good.
    pub async fn behind_program(&self, user_key: u64, token_key: Option<u64>) -> Result<Option<User>, Error> {
        let mut conn = db::acquire(&self.pool).await?;
        let user = match token_key {
            Some(token_key) => token::owner(&mut conn, token_key).await?,
            None => user::by_key(&mut conn, user_key).await?,
        };
        Ok(user.filter(|user| !user.is_disabled))
    }

    /// The visit of this cookie, while it and its link last.
    pub async fn visit(&self, cookie: &str, is_somebody: bool) -> Result<Option<share::Visit>, Error> {
        let mut conn = db::acquire(&self.pool).await?;
        let visit = share::visit_by_hash(&mut conn, &secret::hash(cookie)).await?;
        if let Some(visit) = &visit
            && visit.is_to_be_noted
            && is_somebody
        {
            share::visited(&mut conn, visit.visit_key).await?;
        }
        Ok(visit)
    }

    /// The token that a program sent, if it is good.
    pub async fn token(&self, text: &str, address: IpAddr) -> Result<Token, Refusal> {
        let mut conn = db::acquire(&self.pool).await?;
        let Some(token) = token::by_hash(&mut conn, &secret::hash(text)).await? else {
            drop(conn);
            let nobody = Attempt { name: "token".into(), address, browser: None, is_known: false };
            self.throttle.begin(&nobody, Instant::now()).map_err(Refusal::Wait)?;
            return self.refuse(&nobody, "unknown, expired or revoked token").await;
        };
        if token.is_to_be_noted {
            token::used(&mut conn, token.token_key).await?;
        }
        Ok(token)
    }

    /// Whoever this name and password are of, where a program sends them with each request, if that is let. Somebody
    /// with a second factor needs a token instead.
    pub async fn basic(&self, name: &str, password: &str, address: IpAddr) -> Result<User, Refusal> {
        let credentials = self.credentials(name).await?;
        let is_taken = match &credentials {
            Some(credentials) => credentials.user.rules.basic,
            None => self.rules().await?.basic,
        };
        if !is_taken {
            return Err(Refusal::Wrong);
        }
        let attempt = Attempt { name: name.to_owned(), address, browser: None, is_known: false };
        let mark = credentials.as_ref().map(|credentials| {
            secret::mark(&self.key, &[b"right", credentials.password_hash.as_bytes(), password.as_bytes()])
        });
        let is_remembered = mark.is_some_and(|mark| self.right.contains_key(&mark));
        let credentials = match credentials {
            Some(credentials) if is_remembered && !credentials.user.is_disabled => credentials,
            credentials => self.with_password(&attempt, credentials, password).await?,
        };
        if credentials.user.has_totp {
            return self.refuse(&attempt, "a password alone, where a second factor is set up").await;
        }
        if !is_remembered {
            self.throttle.succeeded(&attempt);
        }
        if let Some(mark) = mark {
            self.right.insert(mark, ());
        }
        Ok(credentials.user)
    }

    /// Whether this is the person's password.
    pub async fn is_password(&self, user: &User, password: &str) -> Result<bool, Error> {
        let mut conn = db::acquire(&self.pool).await?;
        let credentials = user::credentials(&mut conn, &user.name).await?;
        drop(conn);
        let hash = credentials.map(|credentials| credentials.password_hash);
        Ok(self.passwords.verify(password.to_owned(), hash).await?)
    }

    /// Lets somebody who is signed in go on with their account after they typed their password once more. Wrong ones
    /// are counted for their browser, and each leaves this entry, as refused.
    pub async fn confirm(
        &self,
        user: &User,
        password: &str,
        address: IpAddr,
        browser: [u8; 32],
        entry: Entry,
    ) -> Result<(), Refusal> {
        let attempt =
            Attempt { name: user.name.to_string(), address, browser: Some(browser), is_known: true };
        self.throttle.begin(&attempt, Instant::now()).map_err(Refusal::Wait)?;
        if self.is_password(user, password).await? {
            self.throttle.succeeded(&attempt);
            return Ok(());
        }
        self.trail.record(entry.refused()).await?;
        Err(Refusal::Wrong)
    }

    /// Whether this is the password of a link. Wrong ones are counted as those of an account are.
    pub async fn is_password_of_link(
        &self,
        attempt: &Attempt,
        password: &str,
        password_hash: &str,
    ) -> Result<(), Refusal> {
        self.throttle.begin(attempt, Instant::now()).map_err(Refusal::Wait)?;
        let verified = self.passwords.verify(password.to_owned(), Some(password_hash.to_owned()));
        match verified.await.map_err(Error::from)? {
            true => self.throttle.succeeded(attempt),
            false => return Err(Refusal::Wrong),
        }
        Ok(())
    }

    async fn credentials(&self, name: &str) -> Result<Option<Credentials>, Error> {
        let Ok(name) = name.parse::<UserName>() else { return Ok(None) };
        let mut conn = db::acquire(&self.pool).await?;
        Ok(user::credentials(&mut conn, &name).await?)
    }

    /// The credentials, after the password proved to be theirs.
    async fn with_password(
        &self,
        attempt: &Attempt,
        credentials: Option<Credentials>,
        password: &str,
    ) -> Result<Credentials, Refusal> {
        self.throttle.begin(attempt, Instant::now()).map_err(Refusal::Wait)?;
        let hash = credentials.as_ref().map(|credentials| credentials.password_hash.clone());
        let known = hash.clone().unwrap_or_default();
        let guess = secret::mark(
            &self.key,
            &[b"wrong", attempt.name.as_bytes(), known.as_bytes(), password.as_bytes()],
        );
        let is_right = self.passwords.verify(password.to_owned(), hash).await.map_err(Error::from)?;
        match credentials {
            Some(credentials) if is_right && !credentials.user.is_disabled => Ok(credentials),
            Some(_) if is_right => self.refuse(attempt, "disabled").await,
            _ => {
                if self.wrong.contains_key(&guess) {
                    self.throttle.was_repeated(attempt);
                }
                self.wrong.insert(guess, ());
                self.refuse(attempt, "wrong name or password").await
            }
        }
    }

    /// Whether the code is good, where one is needed. A code is taken once.
    async fn has_code(&self, credentials: &Credentials, code: &str) -> Result<bool, Error> {
        let Some(secret) = &credentials.totp_secret else { return Ok(true) };
        let user_key = credentials.user.user_key;
        let mut conn = db::acquire(&self.pool).await?;
        match second_factor::step_of(secret, code, seconds()) {
            Some(step) => Ok(user::take_totp_step(&mut conn, user_key, step).await?),
            None => {
                let hash = second_factor::recovery_hash(user_key, code);
                Ok(user::take_recovery_code(&mut conn, user_key, &hash).await?)
            }
        }
    }

    async fn refuse<T>(&self, attempt: &Attempt, why: &str) -> Result<T, Refusal> {
        // What is no user name may be a password in the wrong field, and the trail is kept for ever.
        let name = attempt.name.parse::<UserName>().map(|name| name.to_string());
        let actor = Actor {
            kind: ActorKind::Nobody,
            name: name.unwrap_or_else(|_| "(not a user name)".to_owned()),
            address: attempt.address.to_string(),
        };
        self.trail.record(Entry::of(actor, Action::SignIn, why).refused()).await?;
        Err(Refusal::Wrong)
    }
}

/// Begins a session within a change, and returns what its cookie holds.
pub async fn begin_session(
    conn: &mut impl Queryable,
    user_key: u64,
    address: IpAddr,
    user_agent: &str,
) -> Result<String, Error> {
    let secret = secret::Secret::random()?;
    session::begin(conn, &secret.hash(), user_key, &address.to_string(), user_agent).await?;
    user::signed_in(conn, user_key).await?;
    Ok(secret.text().to_owned())
}

/// A person as the one who does something.
pub fn person(user: &User, address: IpAddr) -> Actor {
    Actor { kind: ActorKind::User, name: user.name.to_string(), address: address.to_string() }
}

/// Whoever came by a share link as the one who does something.
pub fn visitor(share_key: u64, address: IpAddr) -> Actor {
    Actor { kind: ActorKind::Visitor, name: format!("share {share_key}"), address: address.to_string() }
}

/// Seconds since 1970, UTC.
pub fn seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// What a browser remembers of somebody who has signed in: worthless once the password or the second factor is another.
pub(super) fn device_of(password_hash: &str, totp_secret: Option<&[u8]>) -> std::io::Result<String> {
    let salt = hex::encode(secret::random::<16>()?);
    Ok(format!("{salt}.{}", hex::encode(device_mark(password_hash, totp_secret, &salt))))
}

fn device_mark(password_hash: &str, totp_secret: Option<&[u8]>, salt: &str) -> [u8; 32] {
    let parts = [&b"device"[..], totp_secret.unwrap_or_default(), salt.as_bytes()];
    secret::mark(password_hash.as_bytes(), &parts)
}

fn is_device_of(credentials: &Credentials, device: &str) -> bool {
    let Some((salt, mark)) = device.split_once('.') else { return false };
    let expected = device_mark(&credentials.password_hash, credentials.totp_secret.as_deref(), salt);
    secret::is_equal(hex::encode(expected).as_bytes(), mark.as_bytes())
}
