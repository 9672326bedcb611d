//! How often one may guess a password, and how somebody who guesses does not lock out the one who knows it.
//!
//! Failures are counted for the browser they come from, for the account at that address, for the address and for the
//! account, each with a number that is free; beyond it one has to wait, twice as long after each further failure, up to
//! half a minute. Attempts that are told to wait do not make the wait longer. A browser in which somebody has signed in
//! to the account before is counted by itself alone, so that what others do elsewhere does not touch it; and a wrong
//! password that is tried again does not count for the account, because nothing is learnt from it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::sync::Cache;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Failures are forgotten when there has been none for this long.
const FORGOTTEN: Duration = Duration::from_secs(15 * 60);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(30);
/// Counters kept; the least used go first.
const COUNTERS: u64 = 200_000;

/// Who tries what from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// What was typed as the name, however written.
    pub name: String,
    /// Where it comes from.
    pub address: IpAddr,
    /// What tells one browser from another at the same address; none for a program. Of a browser that is known, what
    /// shows that it is, which it cannot make up.
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
    turn: Mutex<()>,
}

impl Default for Throttle {
    fn default() -> Throttle {
        let failures = Cache::builder().max_capacity(COUNTERS).time_to_idle(FORGOTTEN).build();
        Throttle { failures, turn: Mutex::default() }
    }
}

impl Throttle {
    /// Lets an attempt be looked at, or says how long it has to wait. It counts as a failure from now on, until
    /// [`Throttle::succeeded`] takes that back: of attempts that come at once only those that are free are looked at.
    pub fn begin(&self, attempt: &Attempt, now: Instant) -> Result<(), Duration> {
        let all: Vec<(Counted, Arc<Mutex<Failures>>)> = counted(attempt)
            .into_iter()
            .map(|counted| {
                let fresh = || Arc::new(Mutex::new(Failures { count: 0, last: now }));
                let failures = self.failures.get_with(counted.clone(), fresh);
                (counted, failures)
            })
            .collect();
        // One after the other, so that what is read here is what is counted.
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = all.iter().filter_map(|(counted, failures)| {
            let failures = *locked(failures);
            let open_at = failures.last + delay(failures.count, counted.free());
            open_at.checked_duration_since(now).filter(|wait| !wait.is_zero())
        });
        if let Some(wait) = waits.max() {
            return Err(wait);
        }
        for (_, failures) in &all {
            let mut failures = locked(failures);
            failures.count = failures.count.saturating_add(1);
            failures.last = now;
        }
        Ok(())
    }

    /// The guess of an attempt that began was wrong before: nothing was learnt, and it counts for the browser and the
    /// address alone.
    pub fn was_repeated(&self, attempt: &Attempt) {
        for counted in counted(attempt) {
            if matches!(counted, Counted::AccountAt(..) | Counted::Account(_)) {
                self.take_back(&counted);
            }
        }
    }

    /// An attempt that began was none to count; and the browser it came from is free again.
    pub fn succeeded(&self, attempt: &Attempt) {
        for counted in counted(attempt) {
            match counted {
                Counted::KnownBrowser(..) | Counted::Browser(_) | Counted::Program(..) => {
                    self.failures.invalidate(&counted);
                }
                Counted::AccountAt(..) | Counted::Address(_) | Counted::Account(_) => {
                    self.take_back(&counted)
                }
            }
        }
    }

    fn take_back(&self, counted: &Counted) {
        if let Some(failures) = self.failures.get(counted) {
            let mut failures = locked(&failures);
            failures.count = failures.count.saturating_sub(1);
        }
    }
}

fn locked(failures: &Mutex<Failures>) -> MutexGuard<'_, Failures> {
    failures.lock().unwrap_or_else(PoisonError::into_inner)
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
        let throttle = Throttle::default();
        let mut now = Instant::now();
        for _ in 0..10 {
            assert_eq!(throttle.begin(&attempt(1), now), Ok(()));
        }
        let mut waits = Vec::new();
        for _ in 0..8 {
            let wait = throttle.begin(&attempt(1), now).expect_err("a wait");
            assert_eq!(throttle.begin(&attempt(1), now), Err(wait), "asking does not make it longer");
            waits.push(wait.as_secs());
            now += wait;
            assert_eq!(throttle.begin(&attempt(1), now), Ok(()), "and it ends by itself");
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
    }

    #[test]
    fn attempts_that_come_at_once_are_counted_before_they_are_looked_at() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        let looked_at = (0..200).filter(|_| throttle.begin(&attempt(1), now).is_ok()).count();
        assert_eq!(looked_at, 10);
    }

    #[test]
    fn another_browser_at_the_same_address_is_not_touched_at_first() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..50 {
            let _ = throttle.begin(&attempt(1), now); // refused after the tenth
        }
        assert_eq!(throttle.begin(&attempt(2), now), Ok(()));
        for browser in 3..=120 {
            let _ = throttle.begin(&attempt(browser), now); // until the account is closed at this address
        }
        assert!(throttle.begin(&attempt(200), now).is_err(), "a hundred failures count for every browser");
    }

    #[test]
    fn a_browser_that_is_known_is_never_kept_out_by_others() {
        let throttle = Throttle::default();
        let mut now = Instant::now();
        for number in 0..2000_u32 {
            let [.., high, low] = number.to_be_bytes();
            let elsewhere = Attempt { address: IpAddr::from([10, 0, high, low]), ..attempt(low) };
            let browser = Some(secret_of(number));
            let _ = throttle.begin(&Attempt { browser, ..elsewhere }, now); // until the account is closed
        }
        now += Duration::from_millis(1);
        let known = Attempt { is_known: true, ..attempt(1) };
        assert_eq!(throttle.begin(&known, now), Ok(()));
        let unknown = Attempt { address: IpAddr::from([198, 51, 100, 1]), ..attempt(7) };
        assert!(throttle.begin(&unknown, now).is_err(), "the account itself is guessed at");
        // Nor is it free to guess for that.
        for _ in 0..19 {
            assert_eq!(throttle.begin(&known, now), Ok(()));
        }
        assert!(throttle.begin(&known, now).is_err());
    }

    fn secret_of(number: u32) -> [u8; 32] {
        let mut secret = [0; 32];
        secret[..4].copy_from_slice(&number.to_be_bytes());
        secret
    }

    #[test]
    fn a_guess_that_was_made_before_counts_for_browser_and_address_alone() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for number in 0..200 {
            let again = Attempt { browser: Some(secret_of(number)), ..attempt(1) };
            assert_eq!(throttle.begin(&again, now), Ok(()), "{number}");
            throttle.was_repeated(&again);
        }
        assert_eq!(throttle.begin(&attempt(2), now), Ok(()), "the account is not closed at this address");
        for number in 200..300 {
            let again = Attempt { browser: Some(secret_of(number)), ..attempt(1) };
            let _ = throttle.begin(&again, now).map(|()| throttle.was_repeated(&again)); // until the address is
        }
        assert!(throttle.begin(&attempt(3), now).is_err(), "nor are they without end");
    }

    #[test]
    fn a_success_makes_the_browser_free_again_and_counts_for_nobody() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for number in 0..1000 {
            let right = Attempt { browser: Some(secret_of(number)), ..attempt(1) };
            assert_eq!(throttle.begin(&right, now), Ok(()), "{number}");
            throttle.succeeded(&right);
        }
    }

    #[test]
    fn neighbours_in_one_ipv6_network_are_one() {
        let one = network_of("2001:db8::1".parse().expect("an address"));
        assert_eq!(one, network_of("2001:db8::ffff:1".parse().expect("an address")));
        assert_ne!(one, network_of("2001:db8:0:1::1".parse().expect("an address")));
    }
}
