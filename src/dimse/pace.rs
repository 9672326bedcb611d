//! How long a message may take: what it has to be quick in at first, and more as more of it has gone. A peer that
//! trickles runs out of time, however often it sends or takes a byte.

use std::time::Duration;

use tokio::time::Instant;

/// A message that goes slower than this runs out of time: bytes in a second.
const SLOWEST: u64 = 16 * 1024;

/// A message that has begun.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    began: Instant,
    patience: Duration,
    bytes: u64,
}

impl Pace {
    /// A message begins, which has this long before anything of it has gone.
    pub fn begin(patience: Duration) -> Pace {
        Pace { began: Instant::now(), patience, bytes: 0 }
    }

    /// So many bytes of it have gone.
    pub fn add(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// Until when more of it has to have gone.
    pub fn deadline(&self) -> Instant {
        self.began + self.patience + Duration::from_secs(self.bytes / SLOWEST)
    }

    /// How long that is, and at most this long.
    pub fn left(&self, at_most: Duration) -> Duration {
        self.deadline().saturating_duration_since(Instant::now()).min(at_most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_earns_time_with_its_bytes() {
        let mut pace = Pace::begin(Duration::from_secs(10));
        let at_first = pace.deadline();
        pace.add(1);
        assert_eq!(pace.deadline(), at_first, "a byte earns nothing");
        pace.add(5 * 16 * 1024);
        assert_eq!(pace.deadline() - at_first, Duration::from_secs(5));
        assert_eq!(pace.left(Duration::from_secs(2)), Duration::from_secs(2));
        let over = Pace::begin(Duration::ZERO);
        assert_eq!(over.left(Duration::from_secs(2)), Duration::ZERO);
    }
}
