//! So many at once, then one every so often.

use std::time::{Duration, Instant};

/// Says whether one more may pass. Remembers one moment, whatever it counts.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    /// When all that may pass at once may pass again.
    full_at: Instant,
}

impl Bucket {
    /// A full one.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// True when one more may pass now: `burst` of them at once, and then one `every` so often.
    pub fn admits(&mut self, burst: u32, every: Duration, now: Instant) -> bool {
        let next = self.full_at.max(now) + every;
        let passes = next.duration_since(now) <= every * burst;
        if passes {
            self.full_at = next;
        }
        passes
    }

    /// Counts what has come already; returns for how long nothing more is to be taken, so that there are no more than `burst` at once and one
    /// `every` so often in the long run.
    pub fn owe(&mut self, count: u32, burst: u32, every: Duration, now: Instant) -> Duration {
        self.full_at = self.full_at.max(now) + every * count;
        self.full_at.duration_since(now).saturating_sub(every * burst)
    }

    /// True when it is full: a new one would be the same.
    #[must_use]
    pub fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_one_at_a_time() {
        let start = Instant::now();
        let every = Duration::from_secs(5);
        let mut bucket = Bucket::new(start);
        let passed = |bucket: &mut Bucket, now| (0..100).filter(|_| bucket.admits(3, every, now)).count();
        assert_eq!(passed(&mut bucket, start), 3);
        assert_eq!(passed(&mut bucket, start + Duration::from_secs(4)), 0);
        assert_eq!(passed(&mut bucket, start + Duration::from_secs(5)), 1);
        assert!(!bucket.is_full(start + Duration::from_secs(19)));
        assert!(bucket.is_full(start + Duration::from_secs(20)));
        assert_eq!(passed(&mut bucket, start + Duration::from_secs(60)), 3, "what was not used does not add up");
    }

    #[test]
    fn what_has_come_already_is_waited_for() {
        let start = Instant::now();
        let every = Duration::from_secs(5);
        let mut bucket = Bucket::new(start);
        assert_eq!(bucket.owe(3, 3, every, start), Duration::ZERO);
        assert_eq!(bucket.owe(2, 3, every, start), Duration::from_secs(10));
        assert_eq!(bucket.owe(1, 3, every, start + Duration::from_secs(15)), Duration::ZERO);
    }
}
