//! Who still turns its rounds: the store asks others for support only while it is fit to lead.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_types::{Moment, limits};

use crate::ports::Clock;

/// The pulse of one thread. It beats at least every [`IDLE_BEAT`] while the thread turns its rounds.
#[derive(Debug)]
pub struct Pulse {
    name: String,
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

    fn complaint(&self, now: Moment) -> Option<String> {
        let fsync_since = self.fsync_since.load(Ordering::Acquire);
        if fsync_since != 0 {
            let out = now.since(Moment(fsync_since));
            return (out > limits::FSYNC_STALLED).then(|| format!("{}: fsync outstanding for {out:?}", self.name));
        }
        let late = now.since(Moment(self.last_beat.load(Ordering::Acquire)));
        (late > limits::WORKER_ROUND_LATE).then(|| format!("{}: no round finished for {late:?}", self.name))
    }
}

/// All pulses of a store.
#[derive(Debug, Default)]
pub struct Health {
    pulses: parking_lot::RwLock<Vec<Arc<Pulse>>>,
}

impl Health {
    /// A pulse for a new thread; it counts as beating now.
    pub fn pulse(&self, name: impl Into<String>, clock: &dyn Clock) -> Arc<Pulse> {
        let pulse = Arc::new(Pulse {
            name: name.into(),
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

    /// What is wrong, one sentence a thread; nothing: the store is fit to lead.
    #[must_use]
    pub fn complaints(&self, now: Moment) -> Vec<String> {
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
        let pulse = health.pulse("log", &Fixed);
        let start = Fixed.now();
        pulse.fsync_begins(start);
        assert!(health.complaints(start.after(Duration::from_millis(1_900))).is_empty());
        assert!(!health.disk_stalls(start.after(Duration::from_millis(1_900))));
        assert!(health.disk_stalls(start.after(Duration::from_millis(2_100))));
        assert_eq!(health.complaints(start.after(Duration::from_millis(2_100))).len(), 1);
        pulse.fsync_ends(start.after(Duration::from_millis(2_100)));
        assert!(health.complaints(start.after(Duration::from_millis(2_200))).is_empty());
        assert!(!health.disk_stalls(start.after(Duration::from_secs(9))), "a late thread is not a bad disk");
    }

    #[test]
    fn a_thread_that_stands_still_is_a_complaint() {
        let health = Health::default();
        let pulse = health.pulse("worker", &Fixed);
        let late = Fixed.now().after(limits::WORKER_ROUND_LATE + Duration::from_millis(1));
        assert_eq!(health.complaints(late).len(), 1);
        pulse.beat(late);
        assert!(health.complaints(late).is_empty());
    }
}
