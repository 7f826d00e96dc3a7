//! Notices "I do not lead it any more", repeated until noted: a voter that follows a living store which gave its leadership up
//! would otherwise refuse every candidate for ever. The store speaks for its replica: that one may be gone, or in quarantine.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_types::{Moment, RangeId, StoreId, Term, limits};

/// Notices of one worker that have not been noted.
#[derive(Default, Debug)]
pub struct UnledNotices {
    open: BTreeMap<(StoreId, RangeId), Notice>,
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
        let known = self.open.entry((store, range)).or_insert(notice);
        if known.term < term {
            *known = notice;
        }
    }

    /// The store has noted it.
    pub fn noted(&mut self, store: StoreId, range: RangeId, term: Term) {
        if self.open.get(&(store, range)).is_some_and(|notice| notice.term <= term) {
            self.open.remove(&(store, range));
        }
    }

    /// What must be sent again. `promises` tells whether a store promises its support to this one: for as long as it does, its
    /// replicas may follow what was led here.
    pub fn due(&mut self, now: Moment, promises: impl Fn(StoreId) -> bool) -> Vec<(StoreId, RangeId, Term)> {
        let mut due = Vec::new();
        for ((store, range), notice) in self.open.iter_mut().filter(|(_, notice)| notice.again_at <= now) {
            if promises(*store) {
                notice.until = now.after(limits::UNLED_FOR);
            }
            notice.wait = (notice.wait * 2).min(limits::UNLED_AGAIN_AT_MOST);
            notice.again_at = now.after(notice.wait);
            due.push((*store, *range, notice.term));
        }
        self.open.retain(|_, notice| notice.until > now);
        due
    }

    /// When something must be sent again.
    #[must_use]
    pub fn next_wake(&self) -> Option<Moment> {
        self.open.values().map(|notice| notice.again_at).min()
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
