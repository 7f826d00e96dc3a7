//! Who holds which keys, as far as this store knows: its own ranges, and what it heard of others.
//!
//! Invariants:
//! - ranges in the map never overlap: a newer descriptor removes what it overlaps
//! - of one range only the newest epoch is kept; its leader hint only goes to newer terms
//! - a range of this store is removed only by word of this store, or by a newer descriptor of itself

use std::collections::BTreeMap;

use holdfast_replica::Standing;
use holdfast_types::{Key, KeyRange, RangeDescriptor, RangeEpoch, RangeId, StoreId, Term, limits};

use super::message::RangeHint;

/// Ranges heard of and not held here, at most: 64 MiB of descriptors; beyond it arbitrary ones are forgotten.
const MAX_REMOTE: usize = 131_072;

/// What is known of one range.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Bounds and replicas.
    pub descriptor: RangeDescriptor,
    /// The term in which `leader` was heard of.
    pub term: Term,
    /// The leader's store, when known.
    pub leader: Option<StoreId>,
    /// A replica of it lives on this store.
    pub own: bool,
}

/// How much of what is known of ranges is asked for at a time.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// From the last range to the first.
    pub reverse: bool,
    /// At most so many ranges.
    pub limit: usize,
    /// About so many bytes, as they are told; one range always fits.
    pub max_bytes: usize,
}

/// How many ranges there are.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Those with a replica here,
    pub own: usize,
    /// of these those that this store leads,
    pub led: usize,
    /// and those of which no leader is known.
    pub leaderless: usize,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        self.own += more.own;
        self.led += more.led;
        self.leaderless += more.leaderless;
    }
}

/// Who holds which keys.
#[derive(Clone, Default, Debug)]
pub struct RangeMap {
    by_start: BTreeMap<Key, RangeId>,
    ranges: BTreeMap<RangeId, Found>,
    own: usize,
}

impl Found {
    /// What other stores and clients are told.
    #[must_use]
    pub fn hint(&self) -> RangeHint {
        RangeHint { descriptor: self.descriptor.clone(), term: self.term, leader: self.leader }
    }
}

impl Found {
    /// No less than what it takes to tell of it, with the address of its leader.
    #[must_use]
    pub fn told_bytes(&self) -> usize {
        const FIXED: usize = 128 + limits::MAX_ADDRESS_BYTES;
        const REPLICA: usize = 40;
        let bounds = &self.descriptor.bounds;
        let keys = bounds.start.raw().len() + bounds.end.as_ref().map_or(0, |end| end.raw().len());
        let replicas = self.descriptor.replicas.iter().map(|replica| REPLICA + replica.site.as_str().len());
        FIXED + keys + replicas.sum::<usize>()
    }
}

impl RangeMap {
    /// An empty map.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in what a replica of this store says of its range.
    pub fn learn_own(&mut self, hint: RangeHint) {
        self.take(hint, true);
    }

    /// Takes in how a replica of this store looks now.
    pub fn standing(&mut self, standing: &Standing) {
        let leader = standing.leader.map(|(_, store)| store);
        self.learn_own(RangeHint { descriptor: standing.descriptor.clone(), term: standing.term, leader });
        // That nobody leads is news too: else a store that gave its leadership up would be taken for the leader on.
        if leader.is_none()
            && let Some(known) = self.ranges.get_mut(&standing.descriptor.range)
            && known.term <= standing.term
        {
            known.leader = None;
        }
    }

    /// Takes in what another store said. Older news than known are dropped; true when something changed.
    pub fn learn(&mut self, hint: RangeHint) -> bool {
        self.take(hint, false)
    }

    /// No replica of the range lives here any more; what is known of it stays as hearsay.
    pub fn gone(&mut self, range: RangeId) {
        if let Some(known) = self.ranges.get_mut(&range)
            && known.own
        {
            known.own = false;
            self.own -= 1;
        }
    }

    /// Somebody who should know named the leader of a range, without a term.
    pub fn note_leader(&mut self, range: RangeId, store: StoreId) {
        if let Some(known) = self.ranges.get_mut(&range)
            && !known.own
        {
            known.leader = Some(store);
        }
    }

    /// Forgets a leader that turned out not to lead.
    pub fn forget_leader(&mut self, range: RangeId, store: StoreId) {
        if let Some(known) = self.ranges.get_mut(&range)
            && known.leader == Some(store)
        {
            known.leader = None;
        }
    }

    /// The range with that key.
    #[must_use]
    pub fn lookup(&self, key: &Key) -> Option<&Found> {
        let (_, range) = self.by_start.range(..=key).next_back()?;
        self.ranges.get(range).filter(|known| known.descriptor.bounds.contains(key))
    }

    /// The range with that key, copied.
    #[must_use]
    pub fn find(&self, key: &Key) -> Option<Found> {
        self.lookup(key).cloned()
    }

    /// All ranges in the order of their keys, copied.
    #[must_use]
    pub fn all(&self) -> Vec<Found> {
        self.by_start.values().filter_map(|range| self.ranges.get(range)).cloned().collect()
    }

    /// What is known of a range.
    #[must_use]
    pub fn get(&self, range: RangeId) -> Option<&Found> {
        self.ranges.get(&range)
    }

    /// Ranges that hold keys within bounds, in order, at most `max`.
    pub fn within<'a>(&'a self, bounds: &'a KeyRange, max: usize) -> impl Iterator<Item = &'a Found> {
        let first = self.by_start.range(..=&bounds.start).next_back().map_or(&bounds.start, |(start, _)| start);
        let in_order = self.by_start.range(first..).filter_map(|(_, range)| self.ranges.get(range));
        in_order
            .take_while(|known| bounds.is_before_end(&known.descriptor.bounds.start))
            .filter(|known| known.descriptor.bounds.overlaps(bounds))
            .take(max)
    }

    /// A page of the ranges that hold keys within bounds and are wanted, copied. With it the bound from which the next page goes on:
    /// its start, or in reverse its end.
    pub fn page(&self, bounds: &KeyRange, page: Page, wanted: impl Fn(&Found) -> bool) -> (Vec<Found>, Option<Key>) {
        if page.reverse {
            let last_first = match &bounds.end {
                Some(end) => self.by_start.range::<Key, _>(..end),
                None => self.by_start.range::<Key, _>(..),
            };
            let known = last_first.rev().filter_map(|(_, range)| self.ranges.get(range));
            // Ranges do not overlap: the first one that ends before the bounds is followed by none that reaches into them.
            let within = known.take_while(|known| known.descriptor.bounds.overlaps(bounds));
            return cut(within.filter(|known| wanted(known)), page);
        }
        cut(self.within(bounds, usize::MAX).filter(|known| wanted(known)), page)
    }

    /// True when the store whose map this is holds a range.
    #[must_use]
    pub fn has_own(&self) -> bool {
        self.own > 0
    }

    /// How many ranges `store`, whose map this is, holds and leads.
    #[must_use]
    pub fn counts(&self, store: StoreId) -> Counts {
        self.counts_from(store, RangeId(0), usize::MAX).0
    }

    /// The same of so many of the ranges that are known, in the order of their ids; and which one is next.
    #[must_use]
    pub fn counts_from(&self, store: StoreId, first: RangeId, most: usize) -> (Counts, Option<RangeId>) {
        let mut counts = Counts::default();
        let mut ranges = self.ranges.range(first..);
        for (_, known) in ranges.by_ref().take(most).filter(|(_, known)| known.own) {
            counts.own += 1;
            counts.led += usize::from(known.leader == Some(store));
            counts.leaderless += usize::from(known.leader.is_none());
        }
        (counts, ranges.next().map(|(range, _)| *range))
    }

    /// All ranges.
    pub fn iter(&self) -> impl Iterator<Item = &Found> {
        self.ranges.values()
    }

    /// The worker of this store that serves a key: that of its range, else any fixed one.
    #[must_use]
    pub fn worker_of_key(&self, key: &Key, workers: u16) -> u16 {
        self.lookup(key).map_or(0, |known| worker_of(known.descriptor.range, workers))
    }

    fn take(&mut self, hint: RangeHint, own: bool) -> bool {
        let range = hint.descriptor.range;
        if hint.descriptor.check().is_err() {
            return false;
        }
        if let Some(known) = self.ranges.get_mut(&range) {
            let (old, new) = (known.descriptor.epoch, hint.descriptor.epoch);
            if new == old || !is_no_older(new, old) {
                let leads = refresh_leader(known, &hint);
                let becomes_own = own && !known.own;
                if becomes_own {
                    known.own = true;
                    self.own += 1;
                }
                return leads || becomes_own;
            }
        }
        if !own && self.is_outdated(&hint.descriptor) {
            return false;
        }
        self.insert(hint, own);
        true
    }

    /// True when newer or own ranges hold its keys. Of two different ranges the one with more changes of bounds is newer: a
    /// right side of a split starts with the count of its left.
    fn is_outdated(&self, descriptor: &RangeDescriptor) -> bool {
        self.within(&descriptor.bounds, usize::MAX).any(|known| {
            let other = &known.descriptor;
            other.range != descriptor.range && (known.own || other.epoch.bounds > descriptor.epoch.bounds)
        })
    }

    fn insert(&mut self, mut hint: RangeHint, own: bool) {
        let range = hint.descriptor.range;
        let mut own = own;
        if let Some(old) = self.remove(range) {
            own |= old.own;
            if hint.leader.is_none() && old.term >= hint.term {
                hint.term = old.term;
                hint.leader = old.leader.filter(|s| hint.descriptor.replica_on(*s).is_some());
            }
        }
        let crossed: Vec<_> = self.within(&hint.descriptor.bounds, usize::MAX).map(|k| k.descriptor.range).collect();
        for other in crossed {
            self.remove(other);
        }
        if !own && self.ranges.len() - self.own >= MAX_REMOTE {
            let victim = self.ranges.iter().find(|(_, k)| !k.own).map(|(r, _)| *r);
            victim.map(|r| self.remove(r));
        }
        self.by_start.insert(hint.descriptor.bounds.start.clone(), range);
        let RangeHint { descriptor, term, leader } = hint;
        self.ranges.insert(range, Found { descriptor, term, leader, own });
        self.own += usize::from(own);
    }

    fn remove(&mut self, range: RangeId) -> Option<Found> {
        let known = self.ranges.remove(&range)?;
        self.own -= usize::from(known.own);
        self.by_start.remove(&known.descriptor.bounds.start);
        Some(known)
    }
}

fn cut<'a>(known: impl Iterator<Item = &'a Found>, page: Page) -> (Vec<Found>, Option<Key>) {
    let (mut found, mut bytes) = (Vec::<Found>::new(), 0);
    for known in known {
        bytes += known.told_bytes();
        if let Some(last) = found.last()
            && (found.len() >= page.limit || bytes > page.max_bytes)
        {
            let next = if page.reverse { &last.descriptor.bounds.start } else { &known.descriptor.bounds.start };
            let next = next.clone();
            return (found, Some(next));
        }
        found.push(known.clone());
    }
    (found, None)
}

/// The worker that owns a range: fixed by its id, so that every thread of the store agrees.
#[must_use]
pub fn worker_of(range: RangeId, workers: u16) -> u16 {
    u16::try_from(range.0 % u64::from(workers.max(1))).expect("a remainder below a u16")
}

fn is_no_older(new: RangeEpoch, old: RangeEpoch) -> bool {
    new.membership >= old.membership && new.bounds >= old.bounds
}

fn refresh_leader(known: &mut Found, heard: &RangeHint) -> bool {
    let newer = heard.term > known.term || (heard.term == known.term && known.leader.is_none());
    let changes = newer && heard.leader.is_some();
    if changes {
        known.leader = heard.leader;
        known.term = heard.term;
    }
    changes
}

#[cfg(test)]
#[path = "routing_tests.rs"]
mod tests;
