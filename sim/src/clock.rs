//! The clocks of one store: a monotonic one that runs a little fast or slow from a beginning of its own, and a wall clock that is
//! off and jumps.

use std::time::Duration;

use holdfast_types::{Moment, limits};

use crate::rng::Rng;

/// When the simulated world begins, in milliseconds since the Unix epoch.
pub const EPOCH_MS: u64 = 1_800_000_000_000;
/// A clock's rate differs by at most this from true time, in millionths: promises give away 5 % against it.
pub const MAX_DRIFT_PPM: i64 = 10_000;

/// The clocks of one store.
#[derive(Clone, Copy, Debug)]
pub struct StoreClock {
    /// What the monotonic clock showed when the world began, in microseconds.
    base: u64,
    drift_ppm: i64,
    wall_offset_ms: i64,
    /// Set to a time beyond the bound: so far from what it would show.
    wrong_ms: i64,
}

impl StoreClock {
    /// A clock with its own beginning; its rate differs by at most `max_drift_ppm`, its wall clock by `max_offset`.
    pub fn new(rng: &mut Rng, max_drift_ppm: i64, max_offset: Duration) -> Self {
        let mut clock =
            Self { base: rng.between(1_000_000, 10_000_000_000), drift_ppm: 0, wall_offset_ms: 0, wrong_ms: 0 };
        let range = u64::try_from(2 * max_drift_ppm.min(MAX_DRIFT_PPM)).expect("not negative");
        clock.drift_ppm = signed(rng.between(0, range)) - max_drift_ppm.min(MAX_DRIFT_PPM);
        clock.jump(rng, max_offset);
        clock
    }

    /// The wall clock is set to another time, within the bound.
    pub fn jump(&mut self, rng: &mut Rng, max_offset: Duration) {
        // Two clocks that are off in opposite directions are still within the bound of each other.
        let most = max_offset.min(limits::MAX_CLOCK_OFFSET / 2);
        let most = u64::try_from(most.as_millis()).expect("a bound is small");
        self.wall_offset_ms = signed(rng.between(0, 2 * most)) - signed(most);
    }

    /// The wall clock is set beyond the bound: so many milliseconds ahead, or behind. 0: it is right again.
    pub fn set_wrong(&mut self, ahead_ms: i64) {
        self.wrong_ms = ahead_ms;
    }

    /// True while the wall clock is beyond the bound.
    #[must_use]
    pub fn is_wrong(&self) -> bool {
        self.wrong_ms != 0
    }

    /// The monotonic clock at a true moment.
    #[must_use]
    pub fn local(&self, at: Moment) -> Moment {
        Moment(self.base + self.scale(at.0))
    }

    /// The first true moment at which the monotonic clock shows `local`, or a little later.
    #[must_use]
    pub fn global(&self, local: Moment) -> Moment {
        let Some(passed) = local.0.checked_sub(self.base) else { return Moment::ZERO };
        if local == Moment::MAX {
            return Moment::MAX;
        }
        let rate = i128::from(1_000_000 + self.drift_ppm);
        let at = (i128::from(passed) * 1_000_000).div_euclid(rate) + 1;
        Moment(u64::try_from(at).unwrap_or(u64::MAX))
    }

    /// The wall clock at a true moment.
    #[must_use]
    pub fn wall_ms(&self, at: Moment) -> u64 {
        (EPOCH_MS + at.0 / 1_000).saturating_add_signed(self.wall_offset_ms + self.wrong_ms)
    }

    fn scale(&self, micros: u64) -> u64 {
        let drift = i128::from(micros) * i128::from(self.drift_ppm) / 1_000_000;
        u64::try_from(i128::from(micros) + drift).expect("the rate is near one")
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).expect("small numbers only")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarm_never_rings_early_nor_much_too_late() {
        let mut rng = Rng::new(3);
        for _ in 0..100 {
            let clock = StoreClock::new(&mut rng, MAX_DRIFT_PPM, Duration::from_millis(100));
            let local = clock.local(Moment(rng.below(10_000_000_000)));
            let rings = clock.global(local);
            assert!(clock.local(rings) >= local);
            assert!(clock.local(rings).0 - local.0 <= 4);
        }
    }
}
