//! Who still turns its rounds: the store asks others for support only while it is fit to lead.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use holdfast_types::{Moment, StoreId, limits};

use crate::core::clocks::FleetClock;
use crate::core::support::Silent;
use crate::ports::Clock;

/// What a complaint is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ComplaintKind {
    /// The disk is slow, or full.
    Disk,
    /// A worker does not finish its rounds in time.
    Workers,
    /// The wall clock is away from those of most other stores.
    Clock,
    /// Another thread is late.
    Threads,
    /// Heartbeats of another store arrive, but nothing on the streams to or from it.
    Streams,
}

/// Something that is wrong with a store; shown as a sentence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Complaint {
    /// About what.
    pub kind: ComplaintKind,
    /// A sentence.
    pub message: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The pulse of one thread. It beats at least every [`IDLE_BEAT`] while the thread turns its rounds.
#[derive(Debug)]
pub struct Pulse {
    name: String,
    /// What it is about when the thread is late.
    kind: ComplaintKind,
    last_beat: AtomicU64,
    /// When the fsync that is outstanding began; 0: none is.
    fsync_since: AtomicU64,
}

/// A thread without work beats this often.
pub const IDLE_BEAT: std::time::Duration = std::time::Duration::from_millis(100);

impl Pulse {
    /// Says that a round was finished.
    pub fn beat(&self, now: Moment) {
        self.last_beat.store(now.0, Ordering::Release);
    }

    /// Says that an fsync begins. Until it ends, the round is judged by the fsync's own bound.
    pub fn fsync_begins(&self, now: Moment) {
        self.fsync_since.store(now.0.max(1), Ordering::Release);
    }

    /// Says that the fsync ended, and with it the round.
    pub fn fsync_ends(&self, now: Moment) {
        self.beat(now);
        self.fsync_since.store(0, Ordering::Release);
    }

    fn stalls(&self, now: Moment) -> bool {
        let since = self.fsync_since.load(Ordering::Acquire);
        since != 0 && now.since(Moment(since)) > limits::FSYNC_STALLED
    }

    fn complaint(&self, now: Moment) -> Option<Complaint> {
        let (name, fsync_since) = (&self.name, self.fsync_since.load(Ordering::Acquire));
        if fsync_since != 0 {
            let out = now.since(Moment(fsync_since));
            let message = || format!("{name}: fsync outstanding for {out:?}");
            return (out > limits::FSYNC_STALLED).then(|| Complaint { kind: ComplaintKind::Disk, message: message() });
        }
        let late = now.since(Moment(self.last_beat.load(Ordering::Acquire)));
        let message = || format!("{name}: no round finished for {late:?}");
        (late > limits::WORKER_ROUND_LATE).then(|| Complaint { kind: self.kind, message: message() })
    }
}

/// All pulses of a store.
#[derive(Debug, Default)]
pub struct Health {
    pulses: parking_lot::RwLock<Vec<Arc<Pulse>>>,
    clock_ahead_ms: parking_lot::RwLock<Option<i64>>,
    silent: parking_lot::RwLock<BTreeMap<StoreId, Silent>>,
    fleet_clock: parking_lot::RwLock<FleetClock>,
    prepares_to_stop: AtomicBool,
}

impl Health {
    /// Whether the store is about to be told to stop.
    pub fn set_prepares_to_stop(&self, prepares: bool) {
        self.prepares_to_stop.store(prepares, Ordering::Relaxed);
    }

    /// True while others are to hand it no leadership for that.
    pub fn prepares_to_stop(&self) -> bool {
        self.prepares_to_stop.load(Ordering::Relaxed)
    }

    /// A pulse for a new thread; it counts as beating now.
    pub fn pulse(&self, name: impl Into<String>, kind: ComplaintKind, clock: &dyn Clock) -> Arc<Pulse> {
        let pulse = Arc::new(Pulse {
            name: name.into(),
            kind,
            last_beat: AtomicU64::new(clock.now().0),
            fsync_since: AtomicU64::new(0),
        });
        self.pulses.write().push(Arc::clone(&pulse));
        pulse
    }

    /// True while a sync is outstanding for longer than a sound disk takes.
    #[must_use]
    pub fn disk_stalls(&self, now: Moment) -> bool {
        self.pulses.read().iter().any(|pulse| pulse.stalls(now))
    }

    /// The wall clock was compared with other stores'; gives what was known before.
    pub fn note_clock(&self, ahead_ms: Option<i64>) -> Option<i64> {
        std::mem::replace(&mut self.clock_ahead_ms.write(), ahead_ms)
    }

    /// Fleet time was judged.
    pub fn note_fleet_clock(&self, clock: FleetClock) {
        *self.fleet_clock.write() = clock;
    }

    /// Fleet time, as judged.
    #[must_use]
    pub fn fleet_clock(&self) -> FleetClock {
        *self.fleet_clock.read()
    }

    /// How far the wall clock is ahead of the other stores' (behind: negative), when it is off by more than the bound.
    #[must_use]
    pub fn clock_ahead_ms(&self) -> Option<i64> {
        *self.clock_ahead_ms.read()
    }

    /// Which neighbours' streams are silent though their heartbeats arrive; gives what was known before.
    pub fn note_silent(&self, silent: BTreeMap<StoreId, Silent>) -> BTreeMap<StoreId, Silent> {
        std::mem::replace(&mut self.silent.write(), silent)
    }

    /// Neighbours whose streams are silent though their heartbeats arrive.
    #[must_use]
    pub fn silent(&self) -> BTreeMap<StoreId, Silent> {
        self.silent.read().clone()
    }

    /// What is wrong, one sentence a thread; nothing: the store is fit to lead.
    #[must_use]
    pub fn complaints(&self, now: Moment) -> Vec<Complaint> {
        self.pulses.read().iter().filter_map(|pulse| pulse.complaint(now)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    struct Fixed;

    impl Clock for Fixed {
        fn now(&self) -> Moment {
            Moment(1_000_000)
        }

        fn wall_ms(&self) -> u64 {
            0
        }
    }

    #[test]
    fn a_stalled_fsync_is_a_complaint_and_a_slow_one_is_not() {
        let health = Health::default();
        let pulse = health.pulse("log", ComplaintKind::Threads, &Fixed);
        let start = Fixed.now();
        pulse.fsync_begins(start);
        assert!(health.complaints(start.after(Duration::from_millis(1_900))).is_empty());
        assert!(!health.disk_stalls(start.after(Duration::from_millis(1_900))));
        assert!(health.disk_stalls(start.after(Duration::from_millis(2_100))));
        let complaints = health.complaints(start.after(Duration::from_millis(2_100)));
        assert_eq!(complaints.iter().map(|c| c.kind).collect::<Vec<_>>(), [ComplaintKind::Disk]);
        pulse.fsync_ends(start.after(Duration::from_millis(2_100)));
        assert!(health.complaints(start.after(Duration::from_millis(2_200))).is_empty());
        assert!(!health.disk_stalls(start.after(Duration::from_secs(9))), "a late thread is not a bad disk");
    }

    #[test]
    fn a_thread_that_stands_still_is_a_complaint() {
        let health = Health::default();
        let pulse = health.pulse("worker", ComplaintKind::Workers, &Fixed);
        let late = Fixed.now().after(limits::WORKER_ROUND_LATE + Duration::from_millis(1));
        let complaints = health.complaints(late);
        assert_eq!(complaints.iter().map(|c| c.kind).collect::<Vec<_>>(), [ComplaintKind::Workers]);
        pulse.beat(late);
        assert!(health.complaints(late).is_empty());
    }
}
