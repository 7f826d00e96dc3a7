//! Notices "I do not lead it any more", repeated until noted: a voter that follows a living store which gave its leadership up
//! would otherwise refuse every candidate for ever. The store speaks for its replica: that one may be gone, or in quarantine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use holdfast_types::{Moment, RangeId, StoreId, Term, limits};

/// Notices that are sent again in one round: a store that gives up all that it led has tens of thousands.
const SENT_PER_ROUND: usize = 1_024;

/// Notices of one worker that have not been noted.
///
/// Invariant: `by_time` has one entry for each of them, at the moment when it is sent again.
#[derive(Default, Debug)]
pub struct UnledNotices {
    open: BTreeMap<(StoreId, RangeId), Notice>,
    by_time: BTreeSet<(Moment, StoreId, RangeId)>,
}

#[derive(Clone, Copy, Debug)]
struct Notice {
    term: Term,
    again_at: Moment,
    wait: Duration,
    until: Moment,
}

impl UnledNotices {
    /// A notice was sent for the first time. A newer term takes the place of an older one.
    pub fn begin(&mut self, store: StoreId, range: RangeId, term: Term, now: Moment) {
        let wait = limits::UNLED_AGAIN;
        let notice = Notice { term, again_at: now.after(wait), wait, until: now.after(limits::UNLED_FOR) };
        if self.open.get(&(store, range)).is_none_or(|known| known.term < term) {
            self.forget(store, range);
            self.open.insert((store, range), notice);
            self.by_time.insert((notice.again_at, store, range));
        }
    }

    fn forget(&mut self, store: StoreId, range: RangeId) {
        if let Some(notice) = self.open.remove(&(store, range)) {
            self.by_time.remove(&(notice.again_at, store, range));
        }
    }

    /// The store has noted it.
    pub fn noted(&mut self, store: StoreId, range: RangeId, term: Term) {
        if self.open.get(&(store, range)).is_some_and(|notice| notice.term <= term) {
            self.forget(store, range);
        }
    }

    /// What must be sent again in this round. `promises` tells whether a store promises its support to this one: for as long as it does, its
    /// replicas may follow what was led here.
    pub fn due(&mut self, now: Moment, promises: impl Fn(StoreId) -> bool) -> Vec<(StoreId, RangeId, Term)> {
        let mut due = Vec::new();
        while due.len() < SENT_PER_ROUND
            && let Some(&(at, store, range)) = self.by_time.first()
            && at <= now
        {
            self.by_time.pop_first();
            let Some(notice) = self.open.get_mut(&(store, range)) else { continue };
            due.push((store, range, notice.term));
            if promises(store) {
                notice.until = now.after(limits::UNLED_FOR);
            } else if notice.until <= now {
                self.open.remove(&(store, range));
                continue;
            }
            notice.wait = (notice.wait * 2).min(limits::UNLED_AGAIN_AT_MOST);
            notice.again_at = now.after(notice.wait);
            self.by_time.insert((notice.again_at, store, range));
        }
        due
    }

    /// When something must be sent again.
    #[must_use]
    pub fn next_wake(&self) -> Option<Moment> {
        self.by_time.first().map(|(at, ..)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notice_is_repeated_until_noted() {
        let mut notices = UnledNotices::default();
        notices.begin(StoreId(1), RangeId(7), Term(5), Moment(0));
        assert!(notices.due(Moment(1), |_| true).is_empty());
        let later = Moment(0).after(limits::UNLED_AGAIN);
        assert_eq!(notices.due(later, |_| true), [(StoreId(1), RangeId(7), Term(5))]);
        notices.noted(StoreId(1), RangeId(7), Term(4));
        assert!(notices.next_wake().is_some(), "a note of an older term is not enough");
        notices.begin(StoreId(1), RangeId(7), Term(4), later);
        notices.noted(StoreId(1), RangeId(7), Term(4));
        assert!(notices.next_wake().is_some(), "an older notice does not take the place of a newer one");
        notices.noted(StoreId(1), RangeId(7), Term(5));
        assert_eq!(notices.next_wake(), None);
    }

    #[test]
    fn of_thousands_of_notices_that_are_due_at_once_a_round_sends_some() {
        const RANGES: u64 = 3_000;
        let mut notices = UnledNotices::default();
        (0..RANGES).for_each(|range| notices.begin(StoreId(1), RangeId(range), Term(5), Moment(0)));
        let at = notices.next_wake().unwrap();
        let rounds: Vec<_> = std::iter::from_fn(|| {
            let due = notices.due(at, |_| true);
            (!due.is_empty()).then_some(due)
        })
        .collect();
        assert_eq!(rounds.iter().map(Vec::len).collect::<Vec<_>>(), [SENT_PER_ROUND, SENT_PER_ROUND, 952]);
        let mut ranges: Vec<_> = rounds.iter().flatten().map(|(_, range, _)| range.0).collect();
        ranges.sort_unstable();
        assert_eq!(ranges, (0..RANGES).collect::<Vec<_>>(), "each has its turn, once");
        assert!(notices.next_wake() > Some(at));
        (0..RANGES).for_each(|range| notices.noted(StoreId(1), RangeId(range), Term(5)));
        assert_eq!((notices.next_wake(), notices.open.len()), (None, 0));
    }

    #[test]
    fn notice_ends_only_when_the_store_promises_nothing() {
        let mut notices = UnledNotices::default();
        notices.begin(StoreId(1), RangeId(7), Term(5), Moment(0));
        let mut now = Moment(0);
        let mut sent = 0;
        while now < Moment(0).after(limits::UNLED_FOR * 10) {
            now = notices.next_wake().expect("it is repeated as long as it is not noted");
            sent += notices.due(now, |_| true).len();
        }
        assert!((150..170).contains(&sent), "about every two seconds in five minutes: {sent}");
        let end = now.after(limits::UNLED_FOR).after(limits::UNLED_AGAIN_AT_MOST);
        while let Some(at) = notices.next_wake() {
            assert!(at <= end, "it goes on for a store that promises nothing");
            notices.due(at, |_| false);
        }
    }
}
