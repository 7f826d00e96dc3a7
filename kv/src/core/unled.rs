//! Notices "I do not lead it any more", repeated until noted: a voter that follows a living store which gave its leadership up
//! would otherwise refuse every candidate for ever.

use std::collections::BTreeMap;

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
    until: Moment,
}

impl UnledNotices {
    /// A notice was sent for the first time. A newer term takes the place of an older one.
    pub fn begin(&mut self, store: StoreId, range: RangeId, term: Term, now: Moment) {
        let notice = Notice { term, again_at: now.after(limits::UNLED_AGAIN), until: now.after(limits::UNLED_FOR) };
        self.open.insert((store, range), notice);
    }

    /// The store has noted it.
    pub fn noted(&mut self, store: StoreId, range: RangeId, term: Term) {
        if self.open.get(&(store, range)).is_some_and(|notice| notice.term <= term) {
            self.open.remove(&(store, range));
        }
    }

    /// What must be sent again.
    pub fn due(&mut self, now: Moment) -> Vec<(StoreId, RangeId, Term)> {
        self.open.retain(|_, notice| notice.until > now);
        let mut due = Vec::new();
        for ((store, range), notice) in self.open.iter_mut().filter(|(_, notice)| notice.again_at <= now) {
            notice.again_at = now.after(limits::UNLED_AGAIN);
            due.push((*store, *range, notice.term));
        }
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
        assert!(notices.due(Moment(1)).is_empty());
        let later = Moment(0).after(limits::UNLED_AGAIN);
        assert_eq!(notices.due(later), [(StoreId(1), RangeId(7), Term(5))]);
        notices.noted(StoreId(1), RangeId(7), Term(4));
        assert!(notices.next_wake().is_some(), "a note of an older term is not enough");
        notices.noted(StoreId(1), RangeId(7), Term(5));
        assert_eq!(notices.next_wake(), None);
    }

    #[test]
    fn notice_ends_when_it_has_become_old() {
        let mut notices = UnledNotices::default();
        notices.begin(StoreId(1), RangeId(7), Term(5), Moment(0));
        assert!(notices.due(Moment(0).after(limits::UNLED_FOR)).is_empty());
        assert_eq!(notices.next_wake(), None);
    }
}
