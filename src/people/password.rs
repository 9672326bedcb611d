//! Passwords: which are good enough, and Argon2id (RFC 9106) for keeping and checking them.

use std::sync::LazyLock;
use std::time::Duration;

use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Argon2, PasswordHash};
use tokio::sync::Semaphore;

/// Fewer characters are refused.
pub const SHORTEST: usize = 12;
/// More are refused, because somebody has to read them.
const LONGEST: usize = 200;
/// Each takes 19 MiB and a core for some 25 ms.
const AT_A_TIME: usize = 2;
/// How many may wait for that.
const WAITING: usize = 200;
/// And for how long.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a password is not good enough, as a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Weak {
    /// Too few characters.
    #[error(
        "A password has at least {SHORTEST} characters. A few words one after the other are easy to remember."
    )]
    Short,
    /// Too many characters.
    #[error("A password has at most {LONGEST} characters.")]
    Long,
    /// On a list of common passwords, or made like one.
    #[error(
        "This password is easy to guess: it is common, or made of something common. Choose another, such as a few words that do not belong together."
    )]
    Common,
}

/// Why a password could not be hashed or checked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Too many wait.
    #[error("too many sign-ins at once")]
    Busy,
    /// The library or the system failed.
    #[error("cannot hash a password: {0}")]
    Failed(String),
}

/// Where passwords are hashed and checked: off the async threads, a few at a time.
pub struct Passwords {
    cores: Semaphore,
    queue: Semaphore,
}

impl Default for Passwords {
    fn default() -> Passwords {
        Passwords { cores: Semaphore::new(AT_A_TIME), queue: Semaphore::new(WAITING) }
    }
}

/// What a password is checked against where there is no such user, so that the answer takes as long.
static NOBODYS: LazyLock<Option<String>> = LazyLock::new(|| hashed("the password of nobody").ok());

/// Whether this may be the password of somebody with these names.
pub fn check(password: &str, names: &[&str]) -> Result<(), Weak> {
    match password.chars().count() {
        ..SHORTEST => return Err(Weak::Short),
        SHORTEST..=LONGEST => {}
        _ => return Err(Weak::Long),
    }
    // What is known of the person and of this program is no secret either.
    let known: Vec<&str> = names.iter().copied().chain(["filmroom", "radiology", "dicom", "pacs"]).collect();
    match zxcvbn::zxcvbn(password, &known).score() {
        zxcvbn::Score::Three | zxcvbn::Score::Four => Ok(()),
        _ => Err(Weak::Common),
    }
}

impl Passwords {
    /// The hash of a password, in PHC string format.
    pub async fn hash(&self, password: String) -> Result<String, Error> {
        self.work(move || hashed(&password)).await?
    }

    /// Whether this is the password of this hash; without a hash it never is, and takes as long.
    pub async fn verify(&self, password: String, hash: Option<String>) -> Result<bool, Error> {
        self.work(move || {
            let Some(hash) = hash.as_deref().or(NOBODYS.as_deref().filter(|_| hash.is_none())) else {
                return false;
            };
            let is_right = verified(&password, hash);
            is_right && hash != NOBODYS.as_deref().unwrap_or_default()
        })
        .await
    }

    async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        let _place = self.queue.try_acquire().map_err(|_| Error::Busy)?;
        let waiting = tokio::time::timeout(PATIENCE, self.cores.acquire());
        let _core = waiting.await.map_err(|_| Error::Busy)?.map_err(|_| Error::Busy)?;
        tokio::task::spawn_blocking(work).await.map_err(|err| Error::Failed(err.to_string()))
    }
}

fn hashed(password: &str) -> Result<String, Error> {
    let hash = Argon2::default().hash_password(password.as_bytes());
    hash.map(|hash: argon2::password_hash::phc::PasswordHash| hash.to_string())
        .map_err(|err| Error::Failed(err.to_string()))
}

fn verified(password: &str, hash: &str) -> bool {
    let Ok(hash) = PasswordHash::new(hash) else { return false };
    Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_long_and_common_passwords_are_refused() {
        assert_eq!(check("elevenchars", &[]), Err(Weak::Short));
        assert_eq!(check(&"ab9".repeat(70), &[]), Err(Weak::Long));
        for common in [
            "passwordpassword",
            "123456789012",
            "qwertyuiop[]",
            "iloveyou1234",
            "aaaaaaaaaaaaaaaa",
            "filmroomfilmroom",
        ] {
            assert_eq!(check(common, &[]), Err(Weak::Common), "{common}");
        }
        assert_eq!(check("anna.berg.2026", &["anna.berg", "Anna Berg"]), Err(Weak::Common));
    }

    #[test]
    fn words_that_do_not_belong_together_are_a_password() {
        assert_eq!(check("tulip gravel sideways", &["anna"]), Ok(()));
        assert_eq!(check("Ω≈ç√∫˜µ≤≥÷å", &[]), Err(Weak::Short));
    }

    #[tokio::test]
    async fn a_password_fits_its_own_hash_alone() {
        let passwords = Passwords::default();
        let hash = passwords.hash("tulip gravel sideways".into()).await.expect("a hash");
        assert!(hash.starts_with("$argon2id$v=19$"), "{hash}");
        let fits = async |password: &str, hash: Option<&str>| {
            passwords.verify(password.into(), hash.map(str::to_owned)).await.expect("an answer")
        };
        assert!(fits("tulip gravel sideways", Some(&hash)).await);
        assert!(!fits("tulip gravel sidewayz", Some(&hash)).await);
        assert!(!fits("tulip gravel sideways", None).await);
        assert!(!fits("the password of nobody", None).await);
        assert!(!fits("", Some("")).await);
    }
}
