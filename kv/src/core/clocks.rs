//! Fleet time on one store, and whose wall clock is off: the only place to which a wall clock's time comes.
//!
//! ```text
//! the wall clock ──▶ ┌────────┐ ──▶ FleetClock: what is to be added to the monotonic clock   (stamps, thresholds, expiries)
//! others' clocks ──▶ │ Clocks │ ──▶ how far this store's clock is ahead of most others'      (alarms; it does not lead)
//! monotonic clock ─▶ └────────┘
//! ```
//!
//! A clock that was set wrong must not have given a single stamp before somebody notices: stamps cannot be taken back. So nobody reads
//! the wall clock for them. Fleet time runs with the monotonic clock, and this judge alone, several times a second, moves it
//! towards the wall clock: only after that was compared with the clocks of a majority of the stores that share ranges, and never by
//! more than the bound at once. What would take it further (all clocks were set, or there is nobody to compare with) must last
//! for [`limits::CLOCK_STEP_AFTER`]. It never goes back: where it is ahead it runs at half speed until it is not.
//!
//! An answer tells the other store's wall clock at some moment between our question and now, so it bounds how far that is ahead of our
//! monotonic clock from both sides, however slow the way was. A store is off when more than half of those that answer, itself counted
//! too, certainly have another time, all on the same side: the one in the middle of three that disagree is not. Of two stores
//! that disagree nobody can say which is right: neither is off, and neither has its time taken; fleet time runs on as it is, and
//! begins with the earlier one, for a stamp that lies behind does no harm.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_types::{Moment, StoreId, Timestamp, limits};

/// Fleet time as a store has judged it. Unknown until there was something to judge.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FleetClock(Option<Course>);

/// How fleet time runs until it is judged otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Course {
    /// What it should be ahead of the store's monotonic clock, in microseconds.
    ahead_us: i64,
    /// It has come so far by then: from there on it runs at half speed until that is where it should be.
    since: Moment,
    reached_us: u64,
}

impl FleetClock {
    /// Fleet time at a moment of the store's monotonic clock. Moments of before the last judgement are told the time of that.
    #[must_use]
    pub fn at(self, now: Moment) -> Option<Timestamp> {
        self.0.map(|course| Timestamp::from_ms(course.at_us(now) / 1_000))
    }

    /// True once there was something to judge.
    #[must_use]
    pub fn is_known(self) -> bool {
        self.0.is_some()
    }
}

impl Course {
    fn at_us(self, now: Moment) -> u64 {
        let slowly = u64::try_from(now.since(self.since).as_micros() / 2).unwrap_or(u64::MAX);
        now.0.saturating_add_signed(self.ahead_us).max(self.reached_us.saturating_add(slowly))
    }
}

/// Between what another store's wall clock is ahead of our monotonic one, in microseconds, and since when that is known.
#[derive(Clone, Copy, Debug)]
struct Reading {
    least_us: i64,
    most_us: i64,
    at: Moment,
}

impl Reading {
    /// Between what a clock that is `mine_us` ahead of our monotonic one is ahead of the other store's.
    fn ahead_ms(self, mine_us: i64) -> (i64, i64) {
        ((mine_us - self.most_us).div_euclid(1_000), (mine_us - self.least_us).div_euclid(1_000) + 1)
    }

    fn differs_by(self, mine_us: i64, bound_ms: i64) -> bool {
        let (least, most) = self.ahead_ms(mine_us);
        least > bound_ms || most < -bound_ms
    }

    fn middle_us(self) -> i64 {
        self.least_us.midpoint(self.most_us)
    }
}

/// With whom a store's clock is to be compared.
#[derive(Clone, Copy, Debug)]
pub struct Company {
    /// Other stores that share a range with it.
    pub neighbours: usize,
    /// It has run for so long that it knows them, and that those that live have answered.
    pub is_settled: bool,
    /// What was read before is not counted any more.
    pub fresh: Duration,
}

/// Where fleet time should be.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    /// What it is ahead of the monotonic clock then.
    ahead_us: i64,
    /// A majority says so.
    is_certain: bool,
}

/// What a store knows of its own clock.
///
/// Invariants:
/// - fleet time never goes back, and is never more than the bound ahead of where the monotonic clock takes it from the last
///   judgement, unless the clocks have said so for [`limits::CLOCK_STEP_AFTER`]
/// - a clock is judged off only by a majority that certainly has another time
/// - it is judged right again only when a majority of those that answer is within half of the bound, so that a clock at the bound
///   does not pass leaders to and fro
#[derive(Clone, Debug, Default)]
pub struct Clocks {
    readings: BTreeMap<StoreId, Reading>,
    ahead_ms: Option<i64>,
    fleet: FleetClock,
    /// Fleet time was once what a majority said, not only the best of a few.
    is_certain: bool,
    /// Fleet time is to step ahead to this, if that is what the clocks still say some time after they said so first.
    step: Option<(i64, Moment)>,
}

impl Clocks {
    /// Another store read `theirs_ms` on its wall clock after `asked_at` and before `now`.
    pub fn read(&mut self, store: StoreId, theirs_ms: u64, asked_at: Moment, now: Moment) {
        // A millisecond for what their clock cut off.
        let least_us = ahead_of(now, theirs_ms);
        let most_us = ahead_of(asked_at.min(now), theirs_ms).saturating_add(1_000);
        self.readings.insert(store, Reading { least_us, most_us, at: now });
    }

    /// This store's wall clock shows `mine_ms`: judges it by what was read of others, and moves fleet time.
    pub fn judge(&mut self, mine_ms: u64, company: Company, now: Moment) {
        self.readings.retain(|_, reading| now.since(reading.at) <= company.fresh);
        let mine_us = ahead_of(now, mine_ms);
        self.judge_mine(mine_us);
        if let Some(wanted) = self.wanted(mine_us, company) {
            self.steer(wanted, now);
        }
    }

    /// Fleet time as it is judged now.
    #[must_use]
    pub fn fleet(&self) -> FleetClock {
        self.fleet
    }

    /// How far this store's clock is ahead of the others' (behind: negative) when it is off by more than [`limits::MAX_CLOCK_OFFSET`].
    #[must_use]
    pub fn ahead_ms(&self) -> Option<i64> {
        self.ahead_ms
    }

    fn judge_mine(&mut self, mine_us: i64) {
        let all = self.readings.len() + 1;
        let readings = self.readings.values();
        if let Some(known) = self.ahead_ms {
            let agree = 1 + readings.filter(|reading| !reading.differs_by(mine_us, BOUND_MS / 2)).count();
            if agree * 2 > all && agree > 1 {
                self.ahead_ms = None;
            } else if let Some(ahead) =
                self.middle_ms(mine_us).filter(|ahead| known.abs_diff(*ahead) > BOUND_MS.unsigned_abs() / 2)
            {
                self.ahead_ms = Some(ahead);
            }
        } else {
            let ahead = readings.clone().filter(|reading| reading.ahead_ms(mine_us).0 > BOUND_MS).count();
            let behind = readings.filter(|reading| reading.ahead_ms(mine_us).1 < -BOUND_MS).count();
            if ahead * 2 > all || behind * 2 > all {
                self.ahead_ms = self.middle_ms(mine_us);
            }
        }
    }

    /// How far this clock is ahead of the one in the middle of those that differ.
    fn middle_ms(&self, mine_us: i64) -> Option<i64> {
        let differing = self.readings.values().filter(|reading| reading.differs_by(mine_us, BOUND_MS));
        let mut all: Vec<i64> =
            differing.map(|reading| (mine_us - reading.middle_us() + 500).div_euclid(1_000)).collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied()
    }

    /// Where fleet time should be, as far as that can be said now.
    fn wanted(&self, mine_us: i64, company: Company) -> Option<Wanted> {
        let heard = self.readings.len();
        let is_quorum = match company.neighbours {
            0 => company.is_settled,
            others => (heard + 1) * 2 > others + 1,
        };
        // Those that answer are all that is left: better their time than none.
        let are_left = company.is_settled && heard > 0 && !self.fleet.is_known();
        if !is_quorum && !are_left {
            return None;
        }
        let mut others: Vec<i64> = self.readings.values().map(|reading| reading.middle_us()).collect();
        if self.ahead_ms.is_some() {
            others.sort_unstable();
            let middle = others.get(others.len().saturating_sub(1) / 2);
            return middle.map(|ahead_us| Wanted { ahead_us: *ahead_us, is_certain: is_quorum });
        }
        let differing = self.readings.values().filter(|reading| reading.differs_by(mine_us, BOUND_MS)).count();
        if differing * 2 <= heard {
            return Some(Wanted { ahead_us: mine_us, is_certain: is_quorum });
        }
        if self.fleet.is_known() {
            return None;
        }
        others.push(mine_us);
        others.sort_unstable();
        others.get((others.len() - 1) / 2).map(|ahead_us| Wanted { ahead_us: *ahead_us, is_certain: false })
    }

    fn steer(&mut self, wanted: Wanted, now: Moment) {
        let Wanted { ahead_us, is_certain } = wanted;
        let was_certain = self.is_certain;
        self.is_certain |= is_certain;
        let Some(course) = self.fleet.0 else {
            self.fleet = FleetClock(Some(Course { ahead_us, since: now, reached_us: 0 }));
            return;
        };
        let reached_us = course.at_us(now);
        let by_us = now.0.saturating_add_signed(ahead_us).saturating_sub(reached_us);
        if by_us > BOUND_US && (was_certain || !is_certain) {
            let same = self.step.filter(|(to, _)| to.abs_diff(ahead_us) <= BOUND_US);
            let (_, since) = *self.step.insert(same.unwrap_or((ahead_us, now)));
            if now.since(since) < limits::CLOCK_STEP_AFTER {
                return;
            }
        }
        self.step = None;
        if course.ahead_us.abs_diff(ahead_us) >= NUDGE_US {
            self.fleet = FleetClock(Some(Course { ahead_us, since: now, reached_us }));
        }
    }
}

const BOUND_MS: i64 = limits::MAX_CLOCK_OFFSET_MS;
const BOUND_US: u64 = BOUND_MS.unsigned_abs() * 1_000;
/// Less than this is not worth telling the workers.
const NUDGE_US: u64 = 5_000;

/// What a wall clock is ahead of our monotonic clock.
fn ahead_of(now: Moment, wall_ms: u64) -> i64 {
    let signed = |us: u64| i64::try_from(us).unwrap_or(i64::MAX / 4).min(i64::MAX / 4);
    signed(wall_ms.saturating_mul(1_000)) - signed(now.0)
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
            clocks.read(StoreId(*store), *theirs_ms, asked_at, NOW);
        }
        clocks.judge(100_000, Company { neighbours: others.len(), is_settled: true, fresh: FRESH }, NOW);
        clocks.ahead_ms()
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

    /// A store at its monotonic clock's second `at`, whose wall clock shows `mine_ms` more than true time, among others that
    /// show so much more; true time is 100 s ahead of the monotonic clock. Gives what fleet time is ahead of true time.
    fn passes(clocks: &mut Clocks, at: f64, mine_ms: i64, others: &[i64], neighbours: usize) -> Option<i64> {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few seconds")]
        let now = Moment((at * 1e6) as u64);
        let true_ms = now.0 / 1_000 + 100_000;
        for (store, ahead_ms) in (2..).zip(others) {
            clocks.read(StoreId(store), true_ms.saturating_add_signed(*ahead_ms), now, now);
        }
        let company = Company { neighbours, is_settled: at >= 1.0, fresh: FRESH };
        clocks.judge(true_ms.saturating_add_signed(mine_ms), company, now);
        let fleet_ms = clocks.fleet().at(now)?.ms();
        Some(i64::try_from(fleet_ms).unwrap() - i64::try_from(true_ms).unwrap())
    }

    /// Within what one reading leaves open.
    fn about(found: Option<i64>, expected: i64) {
        let found = found.expect("fleet time is known");
        assert!(found.abs_diff(expected) <= 10, "{found} ms ahead, not {expected}");
    }

    #[test]
    fn clock_that_jumps_for_a_moment_takes_nobody_along() {
        for others in [vec![100, -100], vec![], vec![600_000, 600_000]] {
            let mut clocks = Clocks::default();
            let right = vec![0; others.len()];
            about(passes(&mut clocks, 1.0, 50, &right, right.len()), 50);
            for tick in 0..10 {
                let ahead = passes(&mut clocks, 1.1 + f64::from(tick) * 0.075, 600_000, &others, others.len()).unwrap();
                assert!(ahead <= 150, "{ahead} ms ahead among {others:?}");
            }
            about(passes(&mut clocks, 2.0, 50, &right, right.len()), 50);
        }
    }

    #[test]
    fn clock_is_not_used_before_it_was_compared() {
        let mut clocks = Clocks::default();
        assert_eq!(passes(&mut clocks, 0.1, 600_000, &[], 0), None, "the neighbours are not known yet");
        assert_eq!(passes(&mut clocks, 0.2, 600_000, &[600_000], 4), None, "two of five are no majority");
        about(passes(&mut clocks, 0.3, 600_000, &[600_000, 0, 0], 4), 0);
        let mut alone = Clocks::default();
        assert_eq!(passes(&mut alone, 2.0, 7_000, &[], 4), None, "nobody answers");
        about(passes(&mut alone, 2.1, 7_000, &[0], 4), 0);
        let mut only = Clocks::default();
        about(passes(&mut only, 1.0, 7_000, &[], 0), 7_000);
    }

    #[test]
    fn time_runs_on_while_nobody_answers() {
        let mut clocks = Clocks::default();
        about(passes(&mut clocks, 1.0, 0, &[0, 0], 2), 0);
        about(passes(&mut clocks, 9.0, 400, &[], 2), 0);
        about(passes(&mut clocks, 9.1, 90_000, &[0], 2), 0);
        about(passes(&mut clocks, 9.2, 400, &[0, 0], 2), 400);
    }

    #[test]
    fn clocks_that_were_all_set_are_followed_once_they_stay() {
        let (mut clocks, mut before) = (Clocks::default(), 0);
        about(passes(&mut clocks, 1.0, 0, &[0, 0], 2), 0);
        for second in 2..=11 {
            about(passes(&mut clocks, f64::from(second), 60_000, &[60_000, 60_000], 2), 0);
        }
        about(passes(&mut clocks, 12.1, 60_000, &[60_000, 60_000], 2), 60_000);
        for second in 13_u32..=200 {
            let ahead = passes(&mut clocks, f64::from(second), 0, &[0, 0], 2).unwrap();
            let fleet = ahead + i64::from(second) * 1_000;
            assert!(fleet > before, "it goes back");
            before = fleet;
        }
        about(passes(&mut clocks, 201.0, 0, &[0, 0], 2), 0);
    }
}
