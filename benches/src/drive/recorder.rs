//! What the clients of a measurement saw.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;

use crate::latency::Latencies;
use crate::report::rounded;
use crate::work::Kind;

/// Clients share so many recorders, so that they seldom wait for each other.
const LANES: usize = 16;

/// How an operation ended.
#[derive(Debug)]
pub enum Ended {
    /// As asked for; `conflicts`: how often another client was faster and it began anew.
    Well {
        /// See above.
        conflicts: u64,
        /// A read that found nothing.
        missing: bool,
    },
    /// With an error.
    Badly(anyhow::Error),
}

/// What was seen in one second.
#[derive(Clone, Debug, Serialize)]
pub struct SecondSample {
    /// Seconds since the measurement began, at the end of this one.
    pub at_s: f64,
    /// Operations that ended well, a second.
    pub per_second: f64,
    /// Operations that ended with an error.
    pub errors: u64,
    /// Half were at least this fast.
    pub p50_ms: f64,
    /// All but one in a hundred were at least this fast.
    pub p99_ms: f64,
    /// The slowest.
    pub max_ms: f64,
}

#[derive(Default)]
struct Lane {
    kinds: [Option<Latencies>; 5],
    second: Latencies,
    second_well: u64,
    second_errors: u64,
    well: u64,
    errors: u64,
}

/// The parts of a run.
const WARMING_UP: u8 = 0;
const MEASURING: u8 = 1;
const ENDED: u8 = 2;

/// Counts operations; shared by all clients.
///
/// - Nothing counts before [`Recorder::begin`].
/// - What ends after [`Recorder::end`] counts for the latencies and not for the throughput.
pub struct Recorder {
    lanes: Vec<Mutex<Lane>>,
    part: AtomicU8,
    conflicts: AtomicU64,
    missing: AtomicU64,
    first_error: Mutex<Option<String>>,
    unserved: Mutex<Latencies>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            lanes: (0..LANES).map(|_| Mutex::default()).collect(),
            part: AtomicU8::new(WARMING_UP),
            conflicts: AtomicU64::new(0),
            missing: AtomicU64::new(0),
            first_error: Mutex::new(None),
            unserved: Mutex::default(),
        }
    }
}

impl Recorder {
    /// The warm-up is over.
    pub fn begin(&self) {
        self.part.store(MEASURING, Ordering::Release);
    }

    /// The time is over; what is under way still counts for the latencies.
    pub fn end(&self) {
        self.part.store(ENDED, Ordering::Release);
    }

    /// Takes in an operation of one client.
    pub fn record(&self, client: usize, kind: Kind, latency: Duration, ended: Ended) {
        let part = self.part.load(Ordering::Acquire);
        if part == WARMING_UP {
            return;
        }
        let in_time = u64::from(part == MEASURING);
        let mut lane = self.lanes[client % LANES].lock();
        lane.kinds[kind.index()].get_or_insert_default().record(latency);
        lane.second.record(latency);
        match ended {
            Ended::Well { conflicts, missing } => {
                lane.well += in_time;
                lane.second_well += in_time;
                self.conflicts.fetch_add(conflicts, Ordering::Relaxed);
                self.missing.fetch_add(u64::from(missing), Ordering::Relaxed);
            }
            Ended::Badly(error) => {
                lane.errors += 1;
                lane.second_errors += 1;
                self.first_error.lock().get_or_insert_with(|| format!("{error:#}"));
            }
        }
    }

    /// Takes in an operation that was due so long ago, and that no client came to.
    pub fn record_unserved(&self, waited: Duration) {
        self.unserved.lock().record(waited);
    }

    /// What was seen since this was asked last, `lasting` ago.
    pub fn sample(&self, at: Duration, lasting: Duration) -> SecondSample {
        let (mut latencies, mut well, mut errors) = (Latencies::default(), 0, 0);
        for lane in &self.lanes {
            let mut lane = lane.lock();
            latencies.add(&std::mem::take(&mut lane.second));
            well += std::mem::take(&mut lane.second_well);
            errors += std::mem::take(&mut lane.second_errors);
        }
        SecondSample {
            at_s: rounded(at.as_secs_f64(), 3),
            per_second: rounded(per_second(well, lasting), 1),
            errors,
            p50_ms: latencies.percentile_ms(50.0),
            p99_ms: latencies.percentile_ms(99.0),
            max_ms: latencies.max_ms(),
        }
    }

    /// All that was seen in a measurement that lasted so long.
    pub fn outcome(&self, lasted: Duration, samples: Vec<SecondSample>) -> Outcome {
        let mut kinds: Vec<(Kind, Latencies)> = Vec::new();
        let (mut all, mut well, mut errors) = (self.unserved.lock().clone(), 0, 0);
        let unserved = all.count();
        for kind in Kind::ALL {
            let mut of_kind = Latencies::default();
            for lane in &self.lanes {
                if let Some(latencies) = &lane.lock().kinds[kind.index()] {
                    of_kind.add(latencies);
                }
            }
            if of_kind.count() > 0 {
                all.add(&of_kind);
                kinds.push((kind, of_kind));
            }
        }
        for lane in &self.lanes {
            let lane = lane.lock();
            well += lane.well;
            errors += lane.errors;
        }
        Outcome {
            lasted,
            well,
            errors,
            unserved,
            conflicts: self.conflicts.load(Ordering::Relaxed),
            missing: self.missing.load(Ordering::Relaxed),
            first_error: self.first_error.lock().clone(),
            all,
            kinds,
            samples,
        }
    }
}

/// What a measurement found.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How long it lasted, without warm-up.
    pub lasted: Duration,
    /// Operations that ended well in this time.
    pub well: u64,
    /// Operations that ended with an error.
    pub errors: u64,
    /// Open loop: operations that were due and that no client came to. Their waiting counts as a latency.
    pub unserved: u64,
    /// Read-modify-writes that began anew.
    pub conflicts: u64,
    /// Reads that found nothing.
    pub missing: u64,
    /// The first error, in words.
    pub first_error: Option<String>,
    /// Latencies of all operations.
    pub all: Latencies,
    /// Those of each kind that occurred.
    pub kinds: Vec<(Kind, Latencies)>,
    /// Second by second.
    pub samples: Vec<SecondSample>,
}

impl Outcome {
    /// Operations that ended well, a second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        per_second(self.well, self.lasted)
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of operations are far below 2^52")]
fn per_second(count: u64, lasting: Duration) -> f64 {
    if lasting.is_zero() { 0.0 } else { count as f64 / lasting.as_secs_f64() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: fn() -> Ended = || Ended::Well { conflicts: 0, missing: false };

    #[test]
    fn the_warm_up_does_not_count_and_the_last_operation_under_way_does() {
        let recorder = Recorder::default();
        recorder.record(0, Kind::Read, Duration::from_secs(9), WELL());
        recorder.begin();
        recorder.record(0, Kind::Read, Duration::from_millis(1), WELL());
        recorder.record(17, Kind::Update, Duration::from_millis(2), Ended::Badly(anyhow::anyhow!("no")));
        recorder.end();
        recorder.record(1, Kind::Read, Duration::from_secs(3), WELL());
        let outcome = recorder.outcome(Duration::from_secs(2), vec![]);
        assert_eq!((outcome.well, outcome.errors, outcome.all.count()), (1, 1, 3));
        assert!((outcome.per_second() - 0.5).abs() < 1e-9);
        assert!(outcome.all.max_ms() > 2_900.0 && outcome.all.max_ms() < 3_100.0);
        assert_eq!(outcome.first_error.as_deref(), Some("no"));
        assert_eq!(outcome.kinds.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [Kind::Read, Kind::Update]);
    }

    #[test]
    fn a_second_is_seen_once() {
        let recorder = Recorder::default();
        recorder.begin();
        recorder.record(3, Kind::Scan, Duration::from_millis(5), WELL());
        let second = Duration::from_secs(1);
        assert!(recorder.sample(second, second).max_ms > 4.0);
        let next = recorder.sample(second * 2, second);
        assert!(next.max_ms == 0.0 && next.per_second == 0.0);
    }
}
