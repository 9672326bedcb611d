//! People and programs: how they sign in, what that gives them, and the trail they leave.
//!
//! `web` asks here who somebody is; what they may do stands in `db::role`, whose studies they see in `db::visibility`.
//! Passwords are hashed with Argon2id; of sessions, tokens and links only SHA-256 is kept, because those are random.

pub mod accounts;
pub mod own;
pub mod password;
pub mod roles;
pub mod second_factor;
pub mod secret;
pub mod set_up;
pub mod sign_in;
pub mod throttle;
pub mod trail;

use std::time::Duration;

use moka::sync::Cache;

use crate::db::role::{self, Right};
pub use crate::db::setting::{Rules, set_rules};
use crate::db::user::User;
use crate::db::visibility::Visibility;
use crate::db::{self, Pool, setting};
use password::Passwords;
use set_up::SetUp;
use throttle::Throttle;
use trail::Trail;

/// How long a password that a program sent with a request is known to be right.
const REMEMBERED: Duration = Duration::from_secs(5 * 60);
/// How long a wrong guess is remembered.
const WRONG: Duration = Duration::from_secs(15 * 60);

/// What went wrong beside the person's part in it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database could not be reached or refused.
    #[error("the database cannot be used")]
    Database(#[from] db::Error),
    /// A password could not be hashed or checked.
    #[error("{0}")]
    Password(#[from] password::Error),
    /// The system has no random bytes.
    #[error("cannot make random bytes")]
    Random(#[from] std::io::Error),
}

impl From<mysql_async::Error> for Error {
    fn from(err: mysql_async::Error) -> Error {
        Error::Database(err.into())
    }
}

/// Everybody who may come in, and how.
pub struct People {
    pool: Pool,
    /// Who did what.
    pub trail: Trail,
    /// Where passwords are hashed.
    pub passwords: Passwords,
    /// How the first administrator is made.
    pub set_up: SetUp,
    throttle: Throttle,
    /// For marks that only this process has to recognise.
    key: [u8; 16],
    wrong: Cache<[u8; 32], ()>,
    right: Cache<[u8; 32], ()>,
}

impl People {
    /// Those in this database.
    pub fn new(pool: Pool) -> std::io::Result<People> {
        let remembering = |time| Cache::builder().max_capacity(100_000).time_to_live(time).build();
        Ok(People {
            trail: Trail::new(pool.clone()),
            passwords: Passwords::default(),
            set_up: SetUp::default(),
            throttle: Throttle::default(),
            key: secret::random()?,
            wrong: remembering(WRONG),
            right: remembering(REMEMBERED),
            pool,
        })
    }

    /// Makes the rows the program relies on, and forgets the sessions that are over.
    pub async fn prepare(&self) -> Result<(), Error> {
        let mut conn = db::acquire(&self.pool).await?;
        role::ensure(&mut conn).await?;
        db::session::sweep(&mut conn).await?;
        Ok(())
    }

    /// Whether there is an account.
    pub async fn is_anybody_there(&self) -> Result<bool, Error> {
        let mut conn = db::acquire(&self.pool).await?;
        Ok(db::user::count(&mut conn).await? > 0)
    }

    /// What is set for signing in.
    pub async fn rules(&self) -> Result<Rules, Error> {
        let mut conn = db::acquire(&self.pool).await?;
        Ok(setting::rules(&mut conn).await?)
    }
}

/// Whose studies a program of theirs sees: one of a person's, where its token is for one.
pub fn visibility_of_program(user: &User, study_key: Option<u64>) -> Visibility {
    match study_key {
        Some(study_key) => Visibility::OneOf { study_key, of: Box::new(visibility(user)) },
        None => visibility(user),
    }
}

/// Whose studies a person sees.
pub fn visibility(user: &User) -> Visibility {
    match user.rights.has(Right::SeeAll) {
        true => Visibility::All,
        false => Visibility::Own { user_key: user.user_key, referring_names: user.referring_names.clone() },
    }
}
