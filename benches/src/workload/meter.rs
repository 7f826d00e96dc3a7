//! What a running load measures.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::latency::Latencies;

/// The parts of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Nothing counts for the throughput yet.
    Loading,
    /// All sites up.
    Before,
    /// One site gone.
    During,
    /// The site is back.
    After,
    /// The load has ended.
    Done,
}

const PHASES: usize = 5;

/// What the clients of one site saw since it was looked at last.
#[derive(Clone, Debug)]
pub struct SiteSample {
    /// The operations.
    pub latencies: Latencies,
    /// Over how long.
    pub lasting: Duration,
}

impl SiteSample {
    /// Operations a second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        per_second(self.latencies.count(), self.lasting)
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of operations are far below 2^52")]
fn per_second(count: u64, lasting: Duration) -> f64 {
    if lasting.is_zero() { 0.0 } else { count as f64 / lasting.as_secs_f64() }
}

/// The slowest operation of a run.
#[derive(Clone, Copy, Debug)]
pub struct Slowest {
    /// How long it took.
    pub latency: Duration,
    /// The part of the run in which it ended.
    pub phase: Phase,
    /// How long that part had lasted when the operation began; zero when it began in an earlier part.
    pub began: Duration,
}

/// Counts operations; shared by all clients of a load.
pub struct Meter {
    sites: Vec<Mutex<SiteMeter>>,
    phase: Mutex<PhaseMeter>,
    slowest: Mutex<Option<Slowest>>,
    counts: [AtomicU64; PHASES],
    errors: AtomicU64,
    ambiguous: AtomicU64,
    stale_reads: AtomicU64,
}

#[derive(Default)]
struct SiteMeter {
    since_last: Latencies,
    all: Latencies,
    looked_at: Option<Instant>,
}

struct PhaseMeter {
    now: Phase,
    since: Instant,
    lasted: [Duration; PHASES],
}

fn index(phase: Phase) -> usize {
    match phase {
        Phase::Loading => 0,
        Phase::Before => 1,
        Phase::During => 2,
        Phase::After => 3,
        Phase::Done => 4,
    }
}

impl Meter {
    /// A meter for clients in so many sites.
    #[must_use]
    pub fn new(sites: usize) -> Self {
        Self {
            sites: (0..sites.max(1)).map(|_| Mutex::default()).collect(),
            phase: Mutex::new(PhaseMeter {
                now: Phase::Loading,
                since: Instant::now(),
                lasted: [Duration::ZERO; PHASES],
            }),
            slowest: Mutex::new(None),
            counts: Default::default(),
            errors: AtomicU64::new(0),
            ambiguous: AtomicU64::new(0),
            stale_reads: AtomicU64::new(0),
        }
    }

    /// Begins a part of the run.
    pub fn enter(&self, phase: Phase) {
        let mut meter = self.phase.lock();
        let lasted = meter.since.elapsed();
        let ended = index(meter.now);
        meter.lasted[ended] += lasted;
        meter.now = phase;
        meter.since = Instant::now();
    }

    /// Counts an operation that succeeded.
    pub fn succeeded(&self, site: usize, latency: Duration) {
        let phase = index(self.phase.lock().now);
        self.counts[phase].fetch_add(1, Ordering::Relaxed);
        self.took(site, latency);
    }

    /// Counts an operation that did not; `ambiguous`: a write of which the outcome is not known.
    pub fn failed(&self, site: usize, latency: Duration, ambiguous: bool) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        self.ambiguous.fetch_add(u64::from(ambiguous), Ordering::Relaxed);
        self.took(site, latency);
    }

    /// Counts a read that gave what its key cannot hold.
    pub fn stale_read(&self) {
        self.stale_reads.fetch_add(1, Ordering::Relaxed);
    }

    /// The slowest operation so far.
    #[must_use]
    pub fn slowest(&self) -> Option<Slowest> {
        *self.slowest.lock()
    }

    fn took(&self, site: usize, latency: Duration) {
        let mut slowest = self.slowest.lock();
        if slowest.is_none_or(|s| latency > s.latency) {
            let phase = self.phase.lock();
            let began = phase.since.elapsed().saturating_sub(latency);
            *slowest = Some(Slowest { latency, phase: phase.now, began });
        }
        drop(slowest);
        self.sites[site % self.sites.len()].lock().since_last.record(latency);
    }

    /// What each site's clients saw since this was asked last.
    pub fn sites_since_last(&self) -> Vec<SiteSample> {
        let sample = |site: &Mutex<SiteMeter>| {
            let mut site = site.lock();
            let lasting = site.looked_at.map_or(Duration::ZERO, |at| at.elapsed());
            site.looked_at = Some(Instant::now());
            let latencies = std::mem::take(&mut site.since_last);
            site.all.add(&latencies);
            SiteSample { latencies, lasting }
        };
        self.sites.iter().map(sample).collect()
    }

    /// Everything since the start.
    pub fn latencies(&self) -> Latencies {
        let mut all = Latencies::default();
        for site in &self.sites {
            let site = site.lock();
            all.add(&site.all);
            all.add(&site.since_last);
        }
        all
    }

    /// Operations a second in one part of the run; a part that still runs counts up to now.
    pub fn throughput(&self, phase: Phase) -> f64 {
        let meter = self.phase.lock();
        let mut lasted = meter.lasted[index(phase)];
        if meter.now == phase {
            lasted += meter.since.elapsed();
        }
        per_second(self.counts[index(phase)].load(Ordering::Relaxed), lasted)
    }

    /// Operations that did not succeed.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// Of these, writes of which the outcome is not known.
    #[must_use]
    pub fn ambiguous(&self) -> u64 {
        self.ambiguous.load(Ordering::Relaxed)
    }

    /// Reads that gave what their key cannot hold.
    #[must_use]
    pub fn stale_reads(&self) -> u64 {
        self.stale_reads.load(Ordering::Relaxed)
    }
}
