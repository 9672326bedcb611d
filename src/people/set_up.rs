//! The first administrator: whoever can read the log of a server without users may make one, once, within an hour.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::secret::{self, Secret};

/// How long the address in the log is good.
const LASTS: Duration = Duration::from_secs(60 * 60);

/// The one-time token of the set-up page.
#[derive(Default)]
pub struct SetUp {
    token: Mutex<Option<([u8; 32], Instant)>>,
}

impl SetUp {
    /// Makes a token, good for an hour from `now`, in place of the one before.
    pub fn begin(&self, now: Instant) -> std::io::Result<String> {
        let token = Secret::random()?;
        *self.lock() = Some((token.hash(), now + LASTS));
        Ok(token.text().to_owned())
    }

    /// Whether this is the token, and still good.
    pub fn is_token(&self, text: &str, now: Instant) -> bool {
        let token = *self.lock();
        token.is_some_and(|(hash, until)| secret::is_equal(&hash, &secret::hash(text)) && now < until)
    }

    /// The first administrator is there: nobody else is made that way.
    pub fn end(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<([u8; 32], Instant)>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_good_for_an_hour_and_until_it_was_used() {
        let (set_up, now) = (SetUp::default(), Instant::now());
        assert!(!set_up.is_token("", now));
        let token = set_up.begin(now).expect("random");
        assert!(set_up.is_token(&token, now + Duration::from_secs(3599)));
        assert!(!set_up.is_token(&token, now + LASTS));
        assert!(!set_up.is_token("another", now));
        let newer = set_up.begin(now).expect("random");
        assert!(!set_up.is_token(&token, now));
        assert!(set_up.is_token(&newer, now));
        set_up.end();
        assert!(!set_up.is_token(&newer, now));
    }
}
