//! Latencies of one interval, in microseconds.

use std::time::Duration;

use hdrhistogram::Histogram;

/// A histogram of latencies with three significant digits, up to two minutes.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

/// Anything slower counts as this.
const MAX_US: u64 = 120_000_000;

impl Default for Latencies {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, MAX_US, 3).expect("the bounds are legal"))
    }
}

impl Latencies {
    /// Counts one.
    pub fn record(&mut self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(MAX_US);
        self.0.saturating_record(us.clamp(1, MAX_US));
    }

    /// Adds another interval's.
    pub fn add(&mut self, other: &Latencies) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    /// How many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency that so many percent stayed at or below, in milliseconds.
    #[must_use]
    pub fn percentile_ms(&self, percent: f64) -> f64 {
        if self.0.is_empty() { 0.0 } else { us_to_ms(self.0.value_at_percentile(percent)) }
    }

    /// The average, in milliseconds.
    #[must_use]
    pub fn mean_ms(&self) -> f64 {
        self.0.mean() / 1_000.0
    }

    /// How many took longer than this.
    #[must_use]
    pub fn slower_than(&self, limit: Duration) -> u64 {
        let us = u64::try_from(limit.as_micros()).unwrap_or(MAX_US);
        self.0.len() - self.0.count_between(0, us)
    }

    /// The slowest, in milliseconds.
    #[must_use]
    pub fn max_ms(&self) -> f64 {
        if self.0.is_empty() { 0.0 } else { us_to_ms(self.0.max()) }
    }
}

#[expect(clippy::cast_precision_loss, reason = "two minutes of microseconds are exact in a double")]
fn us_to_ms(us: u64) -> f64 {
    us as f64 / 1_000.0
}
