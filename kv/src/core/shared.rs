//! What the workers of one store share: the admission budget, the ids of new ranges, the snapshot slots, which replica holds
//! which keys, and what logs take on disk and entries in memory. No worker waits for another here.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use holdfast_replica::EntryRoom;
use holdfast_types::{Key, KeyRange, RangeId, limits};

use super::admission::Admission;
use super::event::Measurements;

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
    /// What logs take on disk.
    pub logs: Logs,
    /// What entries take in memory.
    pub entries: EntryMemory,
    /// Messages that were dropped because their senders are not known here as stores of the fleet.
    pub of_strangers: AtomicU64,
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

    /// A block of numbers, as (last used before it, last of it); `None` when there are no more that could be read again.
    pub fn reserve(&self) -> Option<(u64, u64)> {
        let last_of = |before: u64| before.checked_add(Self::BLOCK).filter(|last| *last <= limits::MAX_RANGES_MADE);
        let before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, last_of).ok()?;
        Some((before, before + Self::BLOCK))
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
pub struct Spans(Mutex<Claims>);

/// Invariants:
/// - of ranges that are held no two overlap
/// - `held_starts` and `awaited_starts` name the same ranges as `held` and `awaited`, by their first keys
#[derive(Debug, Default)]
struct Claims {
    held: BTreeMap<RangeId, KeyRange>,
    held_starts: BTreeSet<(Key, RangeId)>,
    /// Where the keys begin of replicas that wait for their first snapshot. They hold none yet; but whatever has such a key strictly
    /// inside of its bounds is from before the split that made that range.
    awaited: BTreeMap<RangeId, Key>,
    awaited_starts: BTreeSet<(Key, RangeId)>,
}

impl Claims {
    fn hold(&mut self, range: RangeId, bounds: &KeyRange) {
        self.let_go(range);
        self.held_starts.insert((bounds.start.clone(), range));
        self.held.insert(range, bounds.clone());
    }

    fn let_go(&mut self, range: RangeId) {
        if let Some(before) = self.held.remove(&range) {
            self.held_starts.remove(&(before.start, range));
        }
    }

    fn wait_for(&mut self, range: RangeId, start: &Key) {
        self.await_no_more(range);
        self.awaited_starts.insert((start.clone(), range));
        self.awaited.insert(range, start.clone());
    }

    fn await_no_more(&mut self, range: RangeId) {
        if let Some(before) = self.awaited.remove(&range) {
            self.awaited_starts.remove(&(before, range));
        }
    }

    fn holder(&self, range: RangeId, bounds: &KeyRange) -> Option<RangeId> {
        let held = self.held_near(range, bounds).find(|other| self.held[other].overlaps(bounds));
        let behind_start = (Bound::Excluded((bounds.start.clone(), RangeId(u64::MAX))), Bound::Unbounded);
        let awaited = || {
            let starts = self.awaited_starts.range(behind_start);
            let mut inside = starts.take_while(|(start, _)| bounds.contains(start));
            inside.find(|(_, other)| *other != range).map(|(_, other)| *other)
        };
        held.or_else(awaited)
    }

    /// Of the other ranges that are held those that may overlap these bounds: the last one that begins before them, and the first one
    /// that begins inside. The ones before and behind do not reach so far.
    fn held_near(&self, range: RangeId, bounds: &KeyRange) -> impl Iterator<Item = RangeId> {
        let start = (bounds.start.clone(), RangeId(u64::MAX));
        let before = self.held_starts.range(..=&start).rev().find(|(_, other)| *other != range);
        let inside = self.held_starts.range((Bound::Excluded(start), Bound::Unbounded));
        let mut inside = inside.take_while(|(start, _)| bounds.is_before_end(start));
        let inside = inside.find(|(_, other)| *other != range);
        before.into_iter().chain(inside).map(|(_, other)| *other)
    }
}

impl Spans {
    fn lock(&self) -> MutexGuard<'_, Claims> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Claims keys for a range, in place of those that it had; the error names who is in the way.
    pub fn claim(&self, range: RangeId, bounds: &KeyRange) -> Result<(), RangeId> {
        let mut claims = self.lock();
        if let Some(other) = claims.holder(range, bounds) {
            return Err(other);
        }
        claims.await_no_more(range);
        claims.hold(range, bounds);
        Ok(())
    }

    /// Claims keys for a range beside those that it has, and what lies between.
    pub fn claim_too(&self, range: RangeId, bounds: &KeyRange) -> Result<(), RangeId> {
        let both = self.lock().held.get(&range).map_or_else(|| bounds.clone(), |held| held.hull(bounds));
        self.claim(range, &both)
    }

    /// How many replicas wait for their first snapshot.
    #[must_use]
    pub fn awaited(&self) -> usize {
        self.lock().awaited.len()
    }

    /// A replica is made that waits for a snapshot of these keys; the error names who is in the way.
    pub fn wait_for(&self, range: RangeId, bounds: &KeyRange) -> Result<(), RangeId> {
        let mut claims = self.lock();
        if let Some(other) = claims.holder(range, bounds) {
            return Err(other);
        }
        claims.wait_for(range, &bounds.start);
        Ok(())
    }

    /// A split: the left keeps what it says, the right gets the rest, in one step.
    pub fn split(&self, left: RangeId, left_bounds: &KeyRange, right: RangeId, right_bounds: &KeyRange) {
        let mut claims = self.lock();
        claims.await_no_more(right);
        claims.hold(left, left_bounds);
        claims.hold(right, right_bounds);
    }

    /// Who is in the way of a range that is to have these keys.
    #[must_use]
    pub fn holder(&self, range: RangeId, bounds: &KeyRange) -> Option<RangeId> {
        self.lock().holder(range, bounds)
    }

    /// What a range holds.
    #[must_use]
    pub fn of(&self, range: RangeId) -> Option<KeyRange> {
        self.lock().held.get(&range).cloned()
    }

    /// The range holds nothing any more, and waits for nothing.
    pub fn release(&self, range: RangeId) {
        let mut claims = self.lock();
        claims.let_go(range);
        claims.await_no_more(range);
    }
}

/// What the log of each replica takes on disk, and how much of the disk all of them may take.
#[derive(Debug, Default)]
pub struct Logs {
    bytes: Mutex<LogBytes>,
    /// 0 while the disk has not been measured.
    disk_bytes: AtomicU64,
}

/// Invariant: `total` is the sum of all.
#[derive(Debug, Default)]
struct LogBytes {
    of: BTreeMap<RangeId, u64>,
    total: u64,
}

impl Logs {
    /// Looks at the disk.
    pub fn measure(&self, measured: &Measurements) {
        self.disk_bytes.store(measured.disk_total_bytes, Ordering::Relaxed);
    }

    /// The log of a range takes so much now.
    pub fn note(&self, range: RangeId, bytes: u64) {
        let mut logs = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let before = logs.of.insert(range, bytes).unwrap_or(0);
        logs.total = logs.total - before + bytes;
    }

    /// The log of a range is gone, or will be.
    pub fn forget(&self, range: RangeId) {
        let mut logs = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let before = logs.of.remove(&range).unwrap_or(0);
        logs.total -= before;
    }

    /// The largest log that may be kept, so that all of them fit into [`limits::LOG_KEEP_DISK_PERCENT`] of the disk: what is larger
    /// is cut to it, what is smaller stays as it is.
    #[must_use]
    pub fn largest_kept(&self) -> u64 {
        let disk = self.disk_bytes.load(Ordering::Relaxed);
        if disk == 0 {
            return u64::MAX;
        }
        let logs = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left = disk / 100 * limits::LOG_KEEP_DISK_PERCENT;
        if logs.total <= left {
            return u64::MAX;
        }
        let mut ascending: Vec<u64> = logs.of.values().copied().collect();
        ascending.sort_unstable();
        let mut larger = ascending.len() as u64;
        for bytes in ascending {
            if bytes > left / larger {
                return left / larger;
            }
            left -= bytes;
            larger -= 1;
        }
        u64::MAX
    }
}

/// What the replicas of a store keep of entries in memory, together.
#[derive(Debug)]
pub struct EntryMemory {
    max_bytes: AtomicUsize,
    bytes: AtomicUsize,
}

impl Default for EntryMemory {
    fn default() -> Self {
        Self { max_bytes: AtomicUsize::new(limits::ENTRY_CACHES_BYTES), bytes: AtomicUsize::new(0) }
    }
}

impl EntryMemory {
    /// Another bound than [`limits::ENTRY_CACHES_BYTES`].
    pub fn set_max(&self, bytes: usize) {
        self.max_bytes.store(bytes, Ordering::Relaxed);
    }

    /// A replica that kept `before` keeps `after` now.
    pub fn change(&self, before: usize, after: usize) {
        if after >= before {
            self.bytes.fetch_add(after - before, Ordering::Relaxed);
        } else {
            let held = self.bytes.fetch_sub(before - after, Ordering::Relaxed);
            debug_assert!(held >= before - after, "more was given back than was kept");
        }
    }

    /// What all replicas keep.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// What is left.
    #[must_use]
    pub fn room(&self) -> EntryRoom {
        let (bytes, max) = (self.bytes(), self.max_bytes.load(Ordering::Relaxed));
        if bytes >= max {
            EntryRoom::Full
        } else if bytes >= max / 100 * limits::ENTRY_CACHES_TAILS_PERCENT {
            EntryRoom::Scarce
        } else {
            EntryRoom::Plenty
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_types::KeyspaceId;

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
    fn what_is_from_before_a_split_gives_way_to_the_range_that_the_split_made() {
        let spans = Spans::default();
        spans.wait_for(RangeId(1), &bounds(b"a", b"z")).unwrap();
        spans.wait_for(RangeId(2), &bounds(b"m", b"z")).unwrap();
        assert_eq!(spans.claim(RangeId(1), &bounds(b"a", b"z")), Err(RangeId(2)), "it has the other's first key");
        spans.claim(RangeId(2), &bounds(b"m", b"z")).unwrap();
        spans.claim(RangeId(1), &bounds(b"a", b"m")).unwrap();
        spans.release(RangeId(2));
        spans.claim_too(RangeId(1), &bounds(b"a", b"c")).unwrap();
        assert_eq!(spans.of(RangeId(1)), Some(bounds(b"a", b"m")), "what it had it has until the snapshot is in place");
        spans.claim_too(RangeId(1), &bounds(b"k", b"p")).unwrap();
        assert_eq!(spans.of(RangeId(1)), Some(bounds(b"a", b"p")));
    }

    #[test]
    fn of_ten_thousand_ranges_two_are_looked_at_for_a_claim() {
        const RANGES: u64 = 10_000;
        let spans = Spans::default();
        let bounds_of = |n: u64| bounds(format!("{n:05}").as_bytes(), format!("{:05}", n + 1).as_bytes());
        // The ids do not follow the keys.
        let id = |n: u64| RangeId(n * 7_919 % RANGES + 1);
        for n in 0..RANGES {
            spans.claim(id(n), &bounds_of(n)).unwrap();
        }
        for n in (1..RANGES - 1).step_by(97) {
            let wide = bounds(format!("{:05}", n - 1).as_bytes(), format!("{:05}", n + 2).as_bytes());
            assert!(spans.lock().held_near(id(n), &wide).count() <= 2);
            assert!([id(n - 1), id(n + 1)].contains(&spans.claim(id(n), &wide).unwrap_err()));
            spans.claim(id(n), &bounds_of(n)).unwrap();
            assert_eq!(spans.holder(RangeId(0), &bounds_of(n)), Some(id(n)));
            spans.release(id(n));
            assert_eq!(spans.holder(RangeId(0), &bounds_of(n)), None);
        }
    }

    #[test]
    fn largest_logs_are_cut_first_when_all_do_not_fit() {
        let logs = Logs::default();
        for (range, bytes) in [(1, 10), (2, 400), (3, 90), (4, 1_000)] {
            logs.note(RangeId(range), bytes);
        }
        let of_a_disk = |total| {
            logs.measure(&Measurements { disk_total_bytes: total, ..Measurements::default() });
            logs.largest_kept()
        };
        assert_eq!(of_a_disk(0), u64::MAX, "nothing is known of the disk yet");
        assert_eq!(of_a_disk(15_000), u64::MAX, "1,500 B take exactly a tenth");
        assert_eq!(of_a_disk(12_000), 700, "10 + 400 + 90 + 700");
        assert_eq!(of_a_disk(7_000), 300, "10 + 90 + 2 x 300");
        assert_eq!(of_a_disk(2_500), 80, "10 + 3 x 80");
        logs.forget(RangeId(4));
        assert_eq!(of_a_disk(7_000), u64::MAX);
    }

    #[test]
    fn entries_of_all_replicas_share_one_bound() {
        let entries = EntryMemory::default();
        entries.set_max(1_000);
        entries.change(0, 400);
        assert_eq!(entries.room(), EntryRoom::Plenty);
        entries.change(0, 300);
        assert_eq!(entries.room(), EntryRoom::Scarce, "of two replicas");
        entries.change(300, 700);
        assert_eq!(entries.room(), EntryRoom::Full);
        entries.change(400, 0);
        entries.change(700, 0);
        assert_eq!((entries.bytes(), entries.room()), (0, EntryRoom::Plenty));
    }

    #[test]
    fn numbers_are_handed_out_once() {
        let counter = RangeCounter::default();
        assert_eq!(counter.reserve(), Some((0, 64)));
        assert_eq!(counter.reserve(), Some((64, 128)));
        let last = RangeCounter(AtomicU64::new(limits::MAX_RANGES_MADE - 64));
        assert_eq!(last.reserve(), Some((limits::MAX_RANGES_MADE - 64, limits::MAX_RANGES_MADE)));
        assert_eq!(last.reserve(), None, "the next start would not take it");
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
