//! Who still turns its rounds. Two questions are asked, with bounds that lie far apart:
//!
//! - Is the store *fit to lead*? It asks others for support, and calls itself ready, only while no thread is late and no fsync hangs:
//!   others lead meanwhile, which costs little and ends by itself ([`Health::complaints`]).
//! - Does a thread *hang*, so that nothing but a new start helps? Then whoever watches the process ends it ([`Health::hung`]). A thread that
//!   waits for the disk does not count, however long: a new start would wait for the same disk, and the store has long handed its leaders
//!   over. [`super::watched`] notes when a thread waits for it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

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

/// The pulse of one thread. It beats at least every `IDLE_BEAT` while the thread turns its rounds, or every [`SLOW_BEAT`] where a late
/// round harms nobody.
#[derive(Debug)]
pub struct Pulse {
    name: String,
    /// What it is about when the thread is late.
    kind: ComplaintKind,
    /// A thread that has finished no round for longer than this makes the store unfit to lead.
    late_after: Duration,
    last_beat: AtomicU64,
    /// The last sign of life: a beat, or the end of a wait for the disk in the midst of a round.
    alive_at: AtomicU64,
    /// The thread waits for the disk.
    on_disk: AtomicBool,
    /// When the fsync that is outstanding began; 0: none is.
    fsync_since: AtomicU64,
    /// The thread came to its end.
    has_ended: AtomicBool,
}

/// A thread without work beats this often.
pub const IDLE_BEAT: Duration = Duration::from_millis(100);
/// One that is waited for by nobody beats this often: it is only watched for hanging.
pub const SLOW_BEAT: Duration = Duration::from_secs(1);

impl Pulse {
    fn new(name: String, kind: ComplaintKind, late_after: Duration, now: Moment) -> Self {
        Self {
            name,
            kind,
            late_after,
            last_beat: AtomicU64::new(now.0),
            alive_at: AtomicU64::new(now.0),
            on_disk: AtomicBool::new(false),
            fsync_since: AtomicU64::new(0),
            has_ended: AtomicBool::new(false),
        }
    }

    /// Says that the thread has come to its end, and is expected to do nothing any more.
    pub(super) fn ends(&self) {
        self.has_ended.store(true, Ordering::Release);
    }

    /// Says that a round was finished.
    pub fn beat(&self, now: Moment) {
        self.last_beat.store(now.0, Ordering::Release);
        self.alive_at.store(now.0, Ordering::Release);
    }

    /// Says that the thread waits for the disk from now on. Returns whether it said so already.
    pub(super) fn disk_begins(&self) -> bool {
        self.on_disk.swap(true, Ordering::AcqRel)
    }

    /// Says that the disk has done it. The round goes on.
    pub(super) fn disk_ends(&self, now: Moment) {
        self.alive_at.store(now.0, Ordering::Release);
        self.on_disk.store(false, Ordering::Release);
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

    fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
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
        let (kind, why) = if self.on_disk.load(Ordering::Acquire) {
            (ComplaintKind::Disk, ": it waits for the disk")
        } else {
            (self.kind, "")
        };
        let message = || format!("{name}: no round finished for {late:?}{why}");
        (late > self.late_after).then(|| Complaint { kind, message: message() })
    }

    /// Says what hangs, if the thread does.
    fn hung(&self, now: Moment) -> Option<String> {
        let silent = now.since(Moment(self.alive_at.load(Ordering::Acquire)));
        let hangs = silent > limits::THREAD_HANGS && !self.on_disk.load(Ordering::Acquire);
        hangs.then(|| format!("{}: stands still for {silent:?}", self.name))
    }
}

/// All pulses of a store.
#[derive(Debug, Default)]
pub struct Health {
    pulses: parking_lot::RwLock<Vec<Arc<Pulse>>>,
    clock_ahead_ms: parking_lot::RwLock<Option<i64>>,
    silent: parking_lot::RwLock<BTreeMap<StoreId, Silent>>,
    neighbours: parking_lot::RwLock<BTreeSet<StoreId>>,
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

    /// A pulse for a new thread, on whose rounds others wait; it counts as beating now.
    pub fn pulse(&self, name: impl Into<String>, kind: ComplaintKind, clock: &dyn Clock) -> Arc<Pulse> {
        self.add(Pulse::new(name.into(), kind, limits::WORKER_ROUND_LATE, clock.now()))
    }

    /// A pulse for a thread whose rounds may take their time: it is only watched for hanging.
    pub fn slow_pulse(&self, name: impl Into<String>, clock: &dyn Clock) -> Arc<Pulse> {
        self.add(Pulse::new(name.into(), ComplaintKind::Threads, limits::THREAD_HANGS, clock.now()))
    }

    fn add(&self, pulse: Pulse) -> Arc<Pulse> {
        let pulse = Arc::new(pulse);
        self.pulses.write().push(Arc::clone(&pulse));
        pulse
    }

    /// The threads that hang, one sentence each: only a new start helps.
    #[must_use]
    pub fn hung(&self, now: Moment) -> Vec<String> {
        self.pulses.read().iter().filter(|pulse| !pulse.has_ended()).filter_map(|pulse| pulse.hung(now)).collect()
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

    /// The stores with which support is exchanged.
    pub fn note_neighbours(&self, neighbours: BTreeSet<StoreId>) {
        *self.neighbours.write() = neighbours;
    }

    /// True for a store that replicas here have for company.
    #[must_use]
    pub fn is_neighbour(&self, store: StoreId) -> bool {
        self.neighbours.read().contains(&store)
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
        self.pulses.read().iter().filter(|pulse| !pulse.has_ended()).filter_map(|pulse| pulse.complaint(now)).collect()
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn a_thread_that_hangs_is_named_and_one_that_waits_for_the_disk_is_not() {
        let health = Health::default();
        let (worker, reader) =
            (health.pulse("worker 0", ComplaintKind::Workers, &Fixed), health.slow_pulse("read 1", &Fixed));
        let after = |wait: Duration| Fixed.now().after(wait);
        let (late, hung) = (limits::WORKER_ROUND_LATE * 2, limits::THREAD_HANGS + Duration::from_millis(1));
        assert_eq!(health.hung(after(late)), Vec::<String>::new(), "late is not hung");
        assert_eq!(health.complaints(after(late)).len(), 1, "the reader may take its time");
        let said = health.hung(after(hung));
        assert!(said.len() == 2 && said[0].starts_with("worker 0: ") && said[1].starts_with("read 1: "), "{said:?}");
        // Whatever the disk takes, no new start makes it faster; but the store leads nothing meanwhile.
        assert!(!worker.disk_begins() && !reader.disk_begins());
        assert_eq!(health.hung(after(hung * 100)), Vec::<String>::new());
        let kinds: Vec<_> = health.complaints(after(hung)).iter().map(|complaint| complaint.kind).collect();
        assert_eq!(kinds, [ComplaintKind::Disk, ComplaintKind::Disk]);
        // The disk came back in the midst of a round: the thread has its time again, and then hangs for what it does itself.
        reader.disk_ends(after(hung));
        worker.disk_ends(after(hung));
        assert!(health.hung(after(hung + limits::THREAD_HANGS)).is_empty());
        assert_eq!(health.hung(after(hung * 2)).len(), 2);
        reader.beat(after(hung * 2));
        assert_eq!(health.hung(after(hung * 2)).len(), 1);
        worker.ends();
        assert!(health.hung(after(hung * 2)).is_empty(), "a thread that has ended does not hang");
    }
}
