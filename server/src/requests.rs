//! Counts and durations of the requests that clients send to this store.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use holdfast_types::{Rejected, Request, Response};

/// Upper bounds of the buckets, in microseconds. From a read in memory to a deadline.
pub const BUCKETS_US: [u64; 14] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 10_000_000];

/// What was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Keys read.
    Get,
    /// A page of a scan.
    Scan,
    /// Keys written, with conditions or without.
    Write,
    /// A page deleted.
    DeleteRange,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 4] = [Kind::Get, Kind::Scan, Kind::Write, Kind::DeleteRange];

    /// The kind of a request.
    pub fn of(request: &Request) -> Self {
        match request {
            Request::Get { .. } => Kind::Get,
            Request::Scan { .. } => Kind::Scan,
            Request::Write { .. } => Kind::Write,
            Request::DeleteRange { .. } => Kind::DeleteRange,
        }
    }

    /// As the label of a metric.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Get => "get",
            Kind::Scan => "scan",
            Kind::Write => "write",
            Kind::DeleteRange => "delete_range",
        }
    }
}

/// How a request ended, as the label of a metric.
fn ending(outcome: &Result<Response, Rejected>) -> usize {
    match outcome {
        Ok(_) => 0,
        Err(Rejected::Busy { .. }) => 1,
        Err(Rejected::NotLeader { .. } | Rejected::WrongRange { .. }) => 2,
        Err(Rejected::Ambiguous(_)) => 3,
        Err(Rejected::Unavailable(_) | Rejected::DeadlineExceeded) => 4,
        Err(_) => 5,
    }
}

/// The names of the endings.
pub const ENDINGS: [&str; 6] = ["ok", "busy", "elsewhere", "ambiguous", "unavailable", "refused"];

/// Counters of one kind.
#[derive(Default, Debug)]
pub struct KindCounters {
    /// By ending.
    pub endings: [AtomicU64; ENDINGS.len()],
    /// By bucket; what is slower is only in the count.
    pub buckets: [AtomicU64; BUCKETS_US.len()],
    /// Sum of all durations, in microseconds.
    pub sum_us: AtomicU64,
}

/// Counters of all kinds, since the store's start.
#[derive(Default, Debug)]
pub struct RequestCounters([KindCounters; Kind::ALL.len()]);

impl RequestCounters {
    /// Counts a request that began at `begun` and ends now.
    pub fn ended(&self, kind: Kind, begun: Instant, outcome: &Result<Response, Rejected>) {
        self.count(kind, begun.elapsed(), outcome);
    }

    fn count(&self, kind: Kind, took: Duration, outcome: &Result<Response, Rejected>) {
        let counters = self.of(kind);
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        counters.endings[ending(outcome)].fetch_add(1, Ordering::Relaxed);
        counters.sum_us.fetch_add(took_us, Ordering::Relaxed);
        if let Some(bucket) = BUCKETS_US.iter().position(|bound| took_us <= *bound) {
            counters.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The counters of one kind.
    pub fn of(&self, kind: Kind) -> &KindCounters {
        let index = match kind {
            Kind::Get => 0,
            Kind::Scan => 1,
            Kind::Write => 2,
            Kind::DeleteRange => 3,
        };
        &self.0[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_counted_by_kind_ending_and_duration() {
        let counters = RequestCounters::default();
        counters.count(Kind::Write, Duration::from_micros(600), &Err(Rejected::StaleSequence));
        counters.count(Kind::Write, Duration::from_secs(60), &Err(Rejected::DeadlineExceeded));
        let write = counters.of(Kind::Write);
        let endings: Vec<_> = write.endings.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        assert_eq!(endings, [0, 0, 0, 0, 1, 1]);
        let bucketed: u64 = write.buckets.iter().map(|count| count.load(Ordering::Relaxed)).sum();
        assert_eq!(bucketed, 1, "a minute is beyond every bucket");
        assert_eq!(write.buckets[3].load(Ordering::Relaxed), 1, "0.6 ms is in the bucket up to 1 ms");
    }
}
