//! What a range is asked for, smoothed: counted by its leader, reported to placement.

use std::time::Duration;

use holdfast_types::{Moment, Request};

/// Requests of one range.
#[derive(Clone, Copy, Default, Debug)]
pub struct Load {
    reads: u64,
    writes: u64,
    write_bytes: u64,
    since: Moment,
    rates: Rates,
}

/// Smoothed rates.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Rates {
    /// Reads a second.
    pub reads: u64,
    /// Writes a second.
    pub writes: u64,
    /// Bytes written a second.
    pub write_bytes: u64,
}

impl Load {
    /// Counts from now on: a leadership begins, and what was counted under an earlier one is told by whoever plans.
    #[must_use]
    pub fn since(now: Moment) -> Self {
        Self { since: now, ..Self::default() }
    }

    /// What is left, in a look at what is counted since a leadership began, of the rates that the range had before: the looks weigh
    /// as if they had gone on from there.
    #[must_use]
    pub fn fade(before: u64) -> u64 {
        before - before.div_ceil(4)
    }

    /// Counts a request.
    pub fn count(&mut self, request: &Request) {
        if request.is_write() {
            self.writes += 1;
            self.write_bytes += request.size_bytes() as u64;
        } else {
            self.reads += 1;
        }
    }

    /// The rates now: each look weighs a quarter, so that a burst of a second does not move leaders.
    pub fn look(&mut self, now: Moment) -> Rates {
        let passed = now.since(self.since);
        if passed >= Duration::from_millis(100) {
            let micros = u64::try_from(passed.as_micros()).unwrap_or(u64::MAX);
            let smooth = |old: u64, count: u64| (old * 3 + count.saturating_mul(1_000_000) / micros).div_ceil(4);
            self.rates = Rates {
                reads: smooth(self.rates.reads, self.reads),
                writes: smooth(self.rates.writes, self.writes),
                write_bytes: smooth(self.rates.write_bytes, self.write_bytes),
            };
            (self.reads, self.writes, self.write_bytes, self.since) = (0, 0, 0, now);
        }
        self.rates
    }
}
