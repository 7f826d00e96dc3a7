//! What the workers of one store share: the admission budget, the ids of new ranges, the snapshot slots, and which replica holds
//! which keys. No worker waits for another here.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use holdfast_types::{KeyRange, RangeId, limits};

use super::admission::Admission;

/// What the workers of one store share.
#[derive(Debug, Default)]
pub struct Shared {
    /// The budget of requests.
    pub admission: Admission,
    /// Where ids of new ranges come from.
    pub range_counter: RangeCounter,
    /// Snapshots being sent.
    pub sending: Slots<{ limits::MAX_SNAPSHOTS_SENT }>,
    /// Snapshots being received.
    pub receiving: Slots<{ limits::MAX_SNAPSHOTS_RECEIVED }>,
    /// Which replicas hold which keys.
    pub spans: Spans,
}

impl Shared {
    /// For a store whose highest reserved range counter is `reserved`.
    #[must_use]
    pub fn new(reserved: u64) -> Self {
        Self { range_counter: RangeCounter(AtomicU64::new(reserved)), ..Self::default() }
    }
}

/// Numbers for new ranges, handed out to workers in blocks; a worker syncs the end of its block before it uses it.
#[derive(Debug, Default)]
pub struct RangeCounter(AtomicU64);

impl RangeCounter {
    /// How many numbers a worker reserves at a time: one sync for so many splits.
    pub const BLOCK: u64 = 64;

    /// A block of numbers, as (last used before it, last of it).
    pub fn reserve(&self) -> (u64, u64) {
        let before = self.0.fetch_add(Self::BLOCK, Ordering::Relaxed);
        (before, before + Self::BLOCK)
    }
}

/// At most `MAX` of something at a time.
#[derive(Debug, Default)]
pub struct Slots<const MAX: usize>(AtomicUsize);

impl<const MAX: usize> Slots<MAX> {
    /// Takes a slot if one is free.
    pub fn take(&self) -> bool {
        let free = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < MAX).then_some(n + 1));
        free.is_ok()
    }

    /// Gives a slot back.
    pub fn give_back(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Which replicas of this store hold which keys: two never hold the same one, whatever worker they belong to.
#[derive(Debug, Default)]
pub struct Spans(Mutex<BTreeMap<RangeId, KeyRange>>);

impl Spans {
    /// Claims keys for a range, in place of those that it had; the error names who holds some of them.
    pub fn claim(&self, range: RangeId, bounds: &KeyRange) -> Result<(), RangeId> {
        let mut spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((other, _)) = spans.iter().find(|(r, held)| **r != range && held.overlaps(bounds)) {
            return Err(*other);
        }
        spans.insert(range, bounds.clone());
        Ok(())
    }

    /// A split: the left keeps what it says, the right gets the rest, in one step.
    pub fn split(&self, left: RangeId, left_bounds: &KeyRange, right: RangeId, right_bounds: &KeyRange) {
        let mut spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spans.insert(left, left_bounds.clone());
        spans.insert(right, right_bounds.clone());
    }

    /// Who else holds some of the keys.
    #[must_use]
    pub fn holder(&self, range: RangeId, bounds: &KeyRange) -> Option<RangeId> {
        let spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spans.iter().find(|(r, held)| **r != range && held.overlaps(bounds)).map(|(r, _)| *r)
    }

    /// What a range holds.
    #[must_use]
    pub fn of(&self, range: RangeId) -> Option<KeyRange> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&range).cloned()
    }

    /// The range holds nothing any more.
    pub fn release(&self, range: RangeId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&range);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_types::{Key, KeyspaceId};

    fn bounds(start: &[u8], end: &[u8]) -> KeyRange {
        let key = |user| Key::bound(KeyspaceId(1), user);
        KeyRange { start: key(start), end: Some(key(end)) }
    }

    #[test]
    fn two_ranges_never_hold_the_same_key() {
        let spans = Spans::default();
        spans.claim(RangeId(1), &bounds(b"a", b"m")).unwrap();
        assert_eq!(spans.claim(RangeId(2), &bounds(b"k", b"z")), Err(RangeId(1)));
        spans.claim(RangeId(1), &bounds(b"a", b"k")).unwrap();
        spans.claim(RangeId(2), &bounds(b"k", b"z")).unwrap();
        spans.release(RangeId(1));
        spans.claim(RangeId(3), &bounds(b"a", b"k")).unwrap();
    }

    #[test]
    fn numbers_are_handed_out_once() {
        let counter = RangeCounter::default();
        assert_eq!(counter.reserve(), (0, 64));
        assert_eq!(counter.reserve(), (64, 128));
    }

    #[test]
    fn slots_come_back() {
        let slots = Slots::<1>::default();
        assert!(slots.take());
        assert!(!slots.take());
        slots.give_back();
        assert!(slots.take());
    }
}
