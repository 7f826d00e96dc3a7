//! Whose wall clock is off: what stores read of each other's in their support messages.
//!
//! An answer tells the other store's wall clock at some moment between our question and now, so it bounds how far our own clock is
//! ahead from both sides, however slow the way was. A store is off when more than half of those that answer, itself counted too,
//! certainly have another time, all on the same side: the one in the middle of three that disagree is not. Of two stores that
//! disagree nobody can say which is right, and neither is judged.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_types::{Moment, StoreId, limits};

/// Between what one store's clock is ahead of another's, and since when that is known.
#[derive(Clone, Copy, Debug)]
struct Reading {
    least_ms: i64,
    most_ms: i64,
    at: Moment,
}

impl Reading {
    fn differs_by(self, bound_ms: i64) -> bool {
        self.least_ms > bound_ms || self.most_ms < -bound_ms
    }
}

/// What a store knows of its own clock.
///
/// Invariants:
/// - a clock is judged off only by a majority that certainly has another time
/// - it is judged right again only when a majority of those that answer is within half of the bound, so that a clock at the bound
///   does not pass leaders to and fro
#[derive(Clone, Debug, Default)]
pub struct Clocks {
    readings: BTreeMap<StoreId, Reading>,
    ahead_ms: Option<i64>,
}

impl Clocks {
    /// Another store read `theirs_ms` on its wall clock after `asked_at` and before `now`, when ours shows `mine_ms`.
    pub fn read(&mut self, store: StoreId, theirs_ms: u64, mine_ms: u64, asked_at: Moment, now: Moment) {
        let ahead = signed(mine_ms) - signed(theirs_ms);
        let way = i64::try_from(now.since(asked_at).as_millis()).unwrap_or(i64::MAX);
        // A millisecond for what both clocks cut off.
        let reading = Reading { least_ms: ahead.saturating_sub(way).saturating_sub(1), most_ms: ahead + 1, at: now };
        self.readings.insert(store, reading);
    }

    /// Judges this store's clock by what was read within `fresh`. Gives how far the clock is ahead of the others' (behind: negative) when it is off by more than [`limits::MAX_CLOCK_OFFSET`].
    pub fn judge(&mut self, fresh: Duration, now: Moment) -> Option<i64> {
        self.readings.retain(|_, reading| now.since(reading.at) <= fresh);
        let bound = i64::try_from(limits::MAX_CLOCK_OFFSET.as_millis()).unwrap_or(i64::MAX);
        let all = self.readings.len() + 1;
        let readings = self.readings.values();
        if let Some(known) = self.ahead_ms {
            let agree = 1 + readings.filter(|reading| !reading.differs_by(bound / 2)).count();
            if agree * 2 > all && agree > 1 {
                self.ahead_ms = None;
            } else if let Some(ahead) = self.middle().filter(|ahead| known.abs_diff(*ahead) > bound.unsigned_abs() / 2)
            {
                self.ahead_ms = Some(ahead);
            }
        } else {
            let ahead = readings.clone().filter(|reading| reading.least_ms > bound).count();
            let behind = readings.filter(|reading| reading.most_ms < -bound).count();
            if ahead * 2 > all || behind * 2 > all {
                self.ahead_ms = self.middle();
            }
        }
        self.ahead_ms
    }

    /// How far this clock is ahead of the one in the middle of those that differ.
    fn middle(&self) -> Option<i64> {
        let bound = i64::try_from(limits::MAX_CLOCK_OFFSET.as_millis()).unwrap_or(i64::MAX);
        let differing = self.readings.values().filter(|reading| reading.differs_by(bound));
        let mut all: Vec<i64> = differing.map(|reading| reading.least_ms.midpoint(reading.most_ms)).collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied()
    }
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: Duration = Duration::from_millis(600);
    const NOW: Moment = Moment(10_000_000);

    /// Judges a clock that shows 100 s, by stores that show these times and answer after `way_ms`.
    fn judged(clocks: &mut Clocks, others: &[(u64, u64)], way_ms: u64) -> Option<i64> {
        clocks.readings.clear();
        for (store, theirs_ms) in others {
            let asked_at = Moment(NOW.0 - way_ms * 1_000);
            clocks.read(StoreId(*store), *theirs_ms, 100_000, asked_at, NOW);
        }
        clocks.judge(FRESH, NOW)
    }

    #[test]
    fn clock_that_a_majority_contradicts_is_off() {
        let judge = |others: &[(u64, u64)]| judged(&mut Clocks::default(), others, 0);
        assert_eq!(judge(&[(2, 100_300), (3, 99_600)]), None, "within the bound");
        assert_eq!(judge(&[(2, 90_000), (3, 90_000)]), Some(10_000));
        assert_eq!(judge(&[(2, 110_000), (3, 111_000)]), Some(-10_000));
    }

    #[test]
    fn clock_that_some_contradict_is_not_off() {
        let judge = |others: &[(u64, u64)]| judged(&mut Clocks::default(), others, 0);
        assert_eq!(judge(&[(2, 90_000)]), None, "of two nobody knows which is right");
        assert_eq!(judge(&[(2, 90_000), (3, 110_000)]), None, "the one in the middle");
        assert_eq!(judge(&[(2, 90_000), (3, 90_000), (4, 100_000), (5, 100_000)]), None);
    }

    #[test]
    fn slow_ways_do_not_make_a_clock_look_wrong() {
        let mut clocks = Clocks::default();
        assert_eq!(judged(&mut clocks, &[(2, 99_400), (3, 99_400)], 550), None, "they read it 600 ms ago");
        assert_eq!(judged(&mut clocks, &[(2, 98_000), (3, 98_000)], 550), Some(1_725));
    }

    #[test]
    fn clock_is_right_again_only_well_within_the_bound() {
        let mut clocks = Clocks::default();
        assert!(judged(&mut clocks, &[(2, 90_000), (3, 90_000)], 0).is_some());
        assert!(judged(&mut clocks, &[(2, 99_600), (3, 99_600)], 0).is_some(), "within the bound, but hardly");
        assert!(judged(&mut clocks, &[], 0).is_some(), "nobody says that it is right");
        assert!(judged(&mut clocks, &[(2, 90_000), (3, 99_900)], 0).is_none(), "two of three agree");
    }
}
