//! Fleet time as one client knows it: learnt from answers, carried on by the monotonic clock, never by the wall clock.
//!
//! What is told never goes back. The estimate behind it may: a store whose clock was far ahead must not bring a client to name last
//! moments that no other store takes, for as long as the clock was ahead. See [`super::slots::Session`] for what that asks of writes.

use std::time::Duration;

use holdfast_types::{Moment, Timestamp, limits};

/// An estimate of fleet time.
#[derive(Clone, Debug, Default)]
pub(crate) struct FleetClock {
    seen: Option<(Timestamp, Moment)>,
    /// The furthest estimate that was put back: until fleet time has come there, it is told to stand still.
    furthest: Timestamp,
}

impl FleetClock {
    /// A store said that it is `fleet_now`. Stores differ by up to the clock bound; the estimate follows the furthest one, and
    /// is put back only when it is further ahead than stores may differ.
    pub(crate) fn learn(&mut self, fleet_now: Timestamp, now: Moment) {
        if fleet_now == Timestamp::ZERO {
            return;
        }
        if let Some(estimate) = self.estimate(now) {
            if estimate >= fleet_now && estimate < fleet_now.after(limits::MAX_CLOCK_OFFSET * 2) {
                return;
            }
            self.furthest = self.furthest.max(estimate);
        }
        self.seen = Some((fleet_now, now));
    }

    /// Fleet time now, never less than before; `None` before any store was heard.
    pub(crate) fn now(&self, now: Moment) -> Option<Timestamp> {
        self.estimate(now).map(|estimate| estimate.max(self.furthest))
    }

    fn estimate(&self, now: Moment) -> Option<Timestamp> {
        self.seen.map(|(seen, at)| seen.after(now.since(at)))
    }

    /// Until when stores may evaluate a write whose caller waits for `remaining`: the difference between stores' clocks is
    /// added, and the bound of the stores kept with some room for the error of the estimate.
    pub(crate) fn last_moment(&self, now: Moment, remaining: Duration) -> Option<Timestamp> {
        let ahead = remaining + limits::MAX_CLOCK_OFFSET;
        let most = limits::MAX_LAST_MOMENT_AHEAD - limits::MAX_CLOCK_OFFSET * 2;
        self.estimate(now).map(|fleet_now| fleet_now.after(ahead.min(most)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fleet_time_goes_on_between_answers_and_follows_the_furthest_store() {
        let mut clock = FleetClock::default();
        let at = |ms: u64| Moment(ms * 1_000);
        assert_eq!(clock.now(at(5)), None);
        clock.learn(Timestamp::from_ms(1_000), at(5));
        assert_eq!(clock.now(at(105)), Some(Timestamp::from_ms(1_100)));
        clock.learn(Timestamp::from_ms(900), at(105));
        assert_eq!(clock.now(at(105)), Some(Timestamp::from_ms(1_100)), "another store is a little behind");
        clock.learn(Timestamp::from_ms(1_300), at(105));
        assert_eq!(clock.now(at(105)), Some(Timestamp::from_ms(1_300)));
        clock.learn(Timestamp::from_ms(100), at(105));
        assert_eq!(clock.now(at(105)), Some(Timestamp::from_ms(1_300)), "what was told stands");
        assert_eq!(clock.now(at(1_205)), Some(Timestamp::from_ms(1_300)), "until time has come there");
        assert_eq!(clock.now(at(1_405)), Some(Timestamp::from_ms(1_400)));
        let soon = clock.last_moment(at(105), Duration::ZERO);
        assert_eq!(
            soon,
            Some(Timestamp::from_ms(600)),
            "the estimate had run away, and writes are named by what stores say"
        );
    }

    #[test]
    fn last_moment_lies_within_the_bound_of_the_stores() {
        let mut clock = FleetClock::default();
        assert_eq!(clock.last_moment(Moment::ZERO, Duration::ZERO), None);
        clock.learn(Timestamp::from_ms(1_000), Moment::ZERO);
        let short = clock.last_moment(Moment::ZERO, Duration::from_millis(200));
        assert_eq!(short, Some(Timestamp::from_ms(1_700)));
        let long = clock.last_moment(Moment::ZERO, Duration::from_secs(3_600));
        assert_eq!(long, Some(Timestamp::from_ms(60_000)));
    }
}
