//! How often one may guess a password, and how somebody who guesses does not lock out the one who knows it.
//!
//! Failures are counted for the browser they come from, for the account at that address, for the address and for the
//! account, each with a number that is free; beyond it one has to wait, twice as long after each further failure, up to
//! half a minute. Attempts that are told to wait do not make the wait longer. A browser in which somebody has signed in
//! to the account before is counted by itself alone, so that what others do elsewhere does not touch it; and a wrong
//! password that is tried again counts for the browser alone, because nothing is learnt from it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::sync::Cache;
use std::sync::{Mutex, PoisonError};

/// Failures are forgotten when there has been none for this long.
const FORGOTTEN: Duration = Duration::from_secs(15 * 60);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(30);
/// Counters kept; the least used go first.
const COUNTERS: u64 = 50_000;

/// Who tries what from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// What was typed as the name, however written.
    pub name: String,
    /// Where it comes from.
    pub address: IpAddr,
    /// What tells one browser from another at the same address; none for a program.
    pub browser: Option<[u8; 32]>,
    /// Somebody has signed in to this account with this browser before.
    pub is_known: bool,
}

/// What is counted, and how many failures are free.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Counted {
    KnownBrowser([u8; 32], String),
    Browser([u8; 32]),
    Program(IpAddr, String),
    AccountAt(IpAddr, String),
    Address(IpAddr),
    Account(String),
}

impl Counted {
    fn free(&self) -> u32 {
        match self {
            Counted::KnownBrowser(..) => 20,
            Counted::Browser(_) | Counted::Program(..) => 10,
            Counted::AccountAt(..) => 100,
            Counted::Address(_) => 300,
            Counted::Account(_) => 1000,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
}

/// The counters.
pub struct Throttle {
    failures: Cache<Counted, Arc<Mutex<Failures>>>,
}

impl Default for Throttle {
    fn default() -> Throttle {
        Throttle { failures: Cache::builder().max_capacity(COUNTERS).time_to_idle(FORGOTTEN).build() }
    }
}

impl Throttle {
    /// How long this attempt has to wait, if at all.
    pub fn wait(&self, attempt: &Attempt, now: Instant) -> Option<Duration> {
        let waits = counted(attempt).into_iter().filter_map(|counted| {
            let failures = self.failures.get(&counted)?;
            let failures = *failures.lock().unwrap_or_else(PoisonError::into_inner);
            let open_at = failures.last + delay(failures.count, counted.free());
            open_at.checked_duration_since(now).filter(|wait| !wait.is_zero())
        });
        waits.max()
    }

    /// Counts a failure. A guess that was wrong before counts for the browser alone.
    pub fn failed(&self, attempt: &Attempt, is_repeated: bool, now: Instant) {
        let all = counted(attempt);
        let most = if is_repeated { 1 } else { all.len() };
        for counted in all.into_iter().take(most) {
            let fresh = || Arc::new(Mutex::new(Failures { count: 0, last: now }));
            let failures = self.failures.get_with(counted, fresh);
            let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
            failures.count = failures.count.saturating_add(1);
            failures.last = now;
        }
    }

    /// Forgets the failures of a browser that has signed in.
    pub fn succeeded(&self, attempt: &Attempt) {
        if let Some(first) = counted(attempt).first() {
            self.failures.invalidate(first);
        }
    }
}

/// What an attempt is counted for, the browser first.
fn counted(attempt: &Attempt) -> Vec<Counted> {
    let name = attempt.name.trim().to_lowercase();
    let address = network_of(attempt.address);
    match attempt.browser {
        Some(browser) if attempt.is_known => vec![Counted::KnownBrowser(browser, name)],
        browser => vec![
            browser.map_or_else(|| Counted::Program(address, name.clone()), Counted::Browser),
            Counted::AccountAt(address, name.clone()),
            Counted::Address(address),
            Counted::Account(name),
        ],
    }
}

/// One subscriber has a whole /64 of IPv6.
fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
    }
}

fn delay(count: u32, free: u32) -> Duration {
    match count.checked_sub(free) {
        None => Duration::ZERO,
        Some(beyond) => Duration::from_secs(1 << beyond.min(5)).min(LONGEST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(browser: u8) -> Attempt {
        Attempt {
            name: "anna".into(),
            address: IpAddr::from([192, 0, 2, 1]),
            browser: Some([browser; 32]),
            is_known: false,
        }
    }

    #[test]
    fn ten_guesses_are_free_and_then_each_costs_twice_the_wait() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..9 {
            throttle.failed(&attempt(1), false, now);
        }
        assert_eq!(throttle.wait(&attempt(1), now), None);
        let mut waits = Vec::new();
        for _ in 0..8 {
            throttle.failed(&attempt(1), false, now);
            waits.push(throttle.wait(&attempt(1), now).map_or(0, |wait| wait.as_secs()));
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(throttle.wait(&attempt(1), now + LONGEST), None, "and it ends by itself");
    }

    #[test]
    fn another_browser_at_the_same_address_is_not_touched_at_first() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..50 {
            throttle.failed(&attempt(1), false, now);
        }
        assert!(throttle.wait(&attempt(1), now).is_some());
        assert_eq!(throttle.wait(&attempt(2), now), None);
        for browser in 3..=60 {
            throttle.failed(&attempt(browser), false, now);
        }
        assert!(throttle.wait(&attempt(2), now).is_some(), "a hundred failures count for every browser");
    }

    #[test]
    fn a_browser_that_is_known_is_never_kept_out_by_others() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for browser in 0..=255 {
            for _ in 0..10 {
                throttle.failed(&attempt(browser), false, now);
            }
        }
        let known = Attempt { is_known: true, ..attempt(1) };
        assert_eq!(throttle.wait(&known, now), None);
        let elsewhere = Attempt { address: IpAddr::from([198, 51, 100, 1]), ..attempt(7) };
        assert!(throttle.wait(&elsewhere, now).is_some(), "the account itself is guessed at");
    }

    #[test]
    fn a_guess_that_was_made_before_counts_for_the_browser_alone() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..5000 {
            throttle.failed(&attempt(1), true, now);
        }
        assert!(throttle.wait(&attempt(1), now).is_some());
        assert_eq!(throttle.wait(&attempt(2), now), None);
    }

    #[test]
    fn a_success_makes_the_browser_free_again() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..20 {
            throttle.failed(&attempt(1), false, now);
        }
        throttle.succeeded(&attempt(1));
        assert_eq!(throttle.wait(&attempt(1), now), None);
    }

    #[test]
    fn neighbours_in_one_ipv6_network_are_one() {
        let one = network_of("2001:db8::1".parse().expect("an address"));
        assert_eq!(one, network_of("2001:db8::ffff:1".parse().expect("an address")));
        assert_ne!(one, network_of("2001:db8:0:1::1".parse().expect("an address")));
    }
}
