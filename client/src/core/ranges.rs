//! The ranges that a client remembers, by their first key. Everything here is a hint: a store refuses what was sent under an
//! old epoch and says what it knows.

use std::collections::BTreeMap;

use holdfast_types::{
    Key, KeyRange, Located, Moment, RangeDescriptor, RangeEpoch, RangeId, Request, StoreId, Term, limits,
};

/// Where in the key space a request begins to be served.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Point {
    /// At this key.
    At(Key),
    /// At the last key before this one; `None`: at the last of all. Reverse scans begin there.
    Before(Option<Key>),
}

impl Point {
    /// Where `request` begins.
    pub(crate) fn of(request: &Request) -> Self {
        match request {
            Request::Scan { bounds, reverse: true, .. } => Point::Before(bounds.end.clone()),
            other => Point::At(other.routing_key().cloned().unwrap_or(Key::MIN)),
        }
    }

    /// True when a range with these bounds serves the point.
    pub(crate) fn lies_in(&self, bounds: &KeyRange) -> bool {
        match self {
            Point::At(key) => bounds.contains(key),
            Point::Before(None) => bounds.end.is_none(),
            Point::Before(Some(end)) => bounds.start < *end && bounds.end.as_ref().is_none_or(|mine| end <= mine),
        }
    }

    /// What to ask for in a look-up: the bounds, and whether their last range comes first.
    pub(crate) fn to_look_up(&self) -> (KeyRange, bool) {
        match self {
            Point::At(key) => (KeyRange { start: key.clone(), end: None }, false),
            Point::Before(end) => (KeyRange { start: Key::MIN, end: end.clone() }, true),
        }
    }
}

/// A remembered range.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct CachedRange {
    pub(crate) descriptor: RangeDescriptor,
    pub(crate) leader: Option<StoreId>,
    /// The term of `leader` or a lower bound of it.
    pub(crate) term: Term,
    /// When this client heard of that leader.
    pub(crate) led_since: Moment,
}

/// The ranges that a client remembers.
///
/// Invariant: they do not overlap.
#[derive(Clone, Debug, Default)]
pub(crate) struct RangeCache {
    by_start: BTreeMap<Key, CachedRange>,
    /// Where each range starts.
    starts: BTreeMap<RangeId, Key>,
}

impl RangeCache {
    /// The range that serves `point`.
    pub(crate) fn find(&self, point: &Point) -> Option<&CachedRange> {
        let candidate = match point {
            Point::At(key) => self.by_start.range(..=key).next_back(),
            Point::Before(Some(end)) => self.by_start.range(..end).next_back(),
            Point::Before(None) => self.by_start.last_key_value(),
        };
        candidate.map(|(_, range)| range).filter(|range| point.lies_in(&range.descriptor.bounds))
    }

    /// Takes news of a range. True when something changed.
    ///
    /// Of two descriptors that overlap the one whose bounds changed more often is newer, also when they name different ranges:
    /// the parts of a split both count on from the whole.
    pub(crate) fn learn(&mut self, news: &Located, now: Moment) -> bool {
        let descriptor = &news.descriptor;
        let leader = news.leader.as_ref().map(|hint| hint.store);
        if let Some(known) = self.get_mut(descriptor.range)
            && !descriptor.epoch.is_newer_than(&known.descriptor.epoch)
        {
            return known.take_leader(leader, news.term, now);
        }
        let overlapping: Vec<RangeId> = self.overlapping(&descriptor.bounds).collect();
        let is_older = |range: &RangeId| {
            let known = self.get(*range).map(|known| known.descriptor.epoch.bounds);
            *range != descriptor.range && known.is_some_and(|known| known > descriptor.epoch.bounds)
        };
        if overlapping.iter().any(is_older) {
            return false;
        }
        let mut range = CachedRange { descriptor: descriptor.clone(), leader: None, term: Term(0), led_since: now };
        if let Some(known) = self.get(descriptor.range) {
            (range.leader, range.term, range.led_since) = (known.leader, known.term, known.led_since);
        }
        range.take_leader(leader, news.term, now);
        overlapping.into_iter().chain([descriptor.range]).for_each(|old| self.forget(old));
        self.starts.insert(descriptor.range, descriptor.bounds.start.clone());
        self.by_start.insert(descriptor.bounds.start.clone(), range);
        self.keep_the_bound();
        true
    }

    /// Somebody says that `leader` leads, without saying since when. Gives the bounds when there is a new leader to ask.
    pub(crate) fn hint(&mut self, range: RangeId, leader: Option<StoreId>, now: Moment) -> Option<KeyRange> {
        let known = self.get_mut(range)?;
        let is_new = leader.is_some() && known.leader != leader;
        if known.leader != leader {
            (known.leader, known.led_since) = (leader, now);
        }
        is_new.then(|| known.descriptor.bounds.clone())
    }

    /// True when another leader than `store` was heard of after `since`: what that store says of an earlier moment is no news.
    pub(crate) fn has_newer_leader(&self, point: &Point, store: StoreId, since: Moment) -> bool {
        self.find(point)
            .is_some_and(|known| known.leader.is_some_and(|leader| leader != store) && known.led_since > since)
    }

    /// A store says that a request under this epoch was sent to the wrong range: what was remembered is worth nothing.
    pub(crate) fn refuted(&mut self, range: RangeId, epoch: RangeEpoch) {
        if self.get(range).is_some_and(|known| known.descriptor.epoch == epoch) {
            self.forget(range);
        }
    }

    fn get(&self, range: RangeId) -> Option<&CachedRange> {
        self.by_start.get(self.starts.get(&range)?)
    }

    fn get_mut(&mut self, range: RangeId) -> Option<&mut CachedRange> {
        self.by_start.get_mut(self.starts.get(&range)?)
    }

    fn overlapping(&self, bounds: &KeyRange) -> impl Iterator<Item = RangeId> {
        let before = self.by_start.range(..&bounds.start).next_back();
        let within = self.by_start.range(&bounds.start..).take_while(|(start, _)| bounds.is_before_end(start));
        let all = before.into_iter().chain(within).map(|(_, range)| &range.descriptor);
        all.filter(|known| known.bounds.overlaps(bounds)).map(|known| known.range)
    }

    fn forget(&mut self, range: RangeId) {
        if let Some(start) = self.starts.remove(&range) {
            self.by_start.remove(&start);
        }
    }

    fn keep_the_bound(&mut self) {
        while self.by_start.len() > limits::CLIENT_CACHED_RANGES {
            if let Some((_, range)) = self.by_start.pop_first() {
                self.starts.remove(&range.descriptor.range);
            }
        }
    }
}

impl CachedRange {
    fn take_leader(&mut self, leader: Option<StoreId>, term: Term, now: Moment) -> bool {
        if term < self.term || (leader.is_none() && term == self.term) {
            return false;
        }
        let changed = (self.leader, self.term) != (leader, term);
        if changed {
            self.led_since = now;
        }
        (self.leader, self.term) = (leader, term);
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::fixture::{key, located};

    #[test]
    fn the_newest_descriptor_wins() {
        let mut cache = RangeCache::default();
        assert!(cache.learn(&located(1, 2, "a", "m", Some(1)), Moment(0)));
        assert!(!cache.learn(&located(1, 1, "a", "z", None), Moment(0)));
        let found = cache.find(&Point::At(key("b"))).unwrap();
        assert_eq!((found.descriptor.epoch.bounds, found.leader), (2, Some(StoreId(1))));
        assert_eq!(cache.find(&Point::At(key("m"))), None);
    }

    #[test]
    fn the_parts_of_a_split_replace_the_whole() {
        let mut cache = RangeCache::default();
        cache.learn(&located(1, 1, "a", "z", Some(1)), Moment(0));
        assert!(cache.learn(&located(2, 2, "m", "z", None), Moment(0)), "the right part alone");
        assert_eq!(cache.find(&Point::At(key("b"))), None, "the whole is gone, its left part not known yet");
        assert!(!cache.learn(&located(1, 1, "a", "z", Some(1)), Moment(0)), "old news");
        cache.learn(&located(1, 2, "a", "m", None), Moment(0));
        assert_eq!(cache.find(&Point::At(key("b"))).unwrap().descriptor.range, RangeId(1));
        assert_eq!(cache.find(&Point::At(key("m"))).unwrap().descriptor.range, RangeId(2));
    }

    #[test]
    fn a_reverse_scan_begins_in_the_range_of_its_last_key() {
        let mut cache = RangeCache::default();
        cache.learn(&located(1, 1, "a", "m", None), Moment(0));
        cache.learn(&located(2, 1, "m", "z", None), Moment(0));
        let at = |end: Option<&str>| cache.find(&Point::Before(end.map(key))).map(|r| r.descriptor.range.0);
        assert_eq!((at(Some("m")), at(Some("n")), at(Some("z"))), (Some(1), Some(2), Some(2)));
        assert_eq!((at(None), at(Some("a"))), (None, None));
    }

    #[test]
    fn news_of_an_older_term_does_not_bring_an_old_leader_back() {
        let mut cache = RangeCache::default();
        let news = |leader, term| Located { term: Term(term), ..located(1, 1, "a", "z", Some(leader)) };
        cache.learn(&news(1, 5), Moment(0));
        assert!(cache.learn(&news(2, 6), Moment(0)));
        assert!(!cache.learn(&news(1, 5), Moment(0)));
        assert_eq!(cache.find(&Point::At(key("b"))).unwrap().leader, Some(StoreId(2)));
    }
}
