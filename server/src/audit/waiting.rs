//! Entries that are not written yet.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::collections::VecDeque;

use holdfast_proto::v1;
use holdfast_types::limits;
use tokio::sync::OwnedSemaphorePermit;

use super::Counters;

/// An entry on its way.
pub(super) struct Item {
    pub(super) entry: v1::AuditEntry,
    /// The place of an act, which is free again once the act is on record.
    pub(super) _seat: Option<OwnedSemaphorePermit>,
}

/// Entries that are not written yet.
///
/// Invariants:
/// - no act is ever left out: each came with a place, and there are [`limits::AUDIT_ACTS`] of those
/// - everything else is bounded, and what is left out is counted
/// - what is being written stays here until it is known to be written
#[derive(Default)]
pub(super) struct Waiting {
    /// What an earlier start could not write.
    restored: VecDeque<Item>,
    acts: VecDeque<Item>,
    changes: VecDeque<Item>,
    refusals: VecDeque<Item>,
    /// What is being written.
    under_way: Vec<Item>,
    written: u64,
    lost: u64,
    /// Counts what changes here, for whoever keeps a copy.
    generation: u64,
}

impl Waiting {
    /// Takes what an earlier start left.
    pub(super) fn restore(&mut self, entries: Vec<v1::AuditEntry>) {
        self.restored.extend(entries.into_iter().map(|entry| Item { entry, _seat: None }));
    }

    /// Takes an act. True: it is kept.
    pub(super) fn acted(&mut self, item: Item) -> bool {
        self.change();
        self.acts.push_back(item);
        true
    }

    /// Takes a change of trust; the oldest gives way. False: one had to.
    pub(super) fn changed(&mut self, item: Item) -> bool {
        self.change();
        self.changes.push_back(item);
        if self.changes.len() <= limits::AUDIT_CHANGES {
            return true;
        }
        self.changes.pop_front();
        self.lost = self.lost.saturating_add(1);
        false
    }

    /// Takes a refusal, if there is room.
    pub(super) fn refused(&mut self, item: Item) -> bool {
        if self.refusals.len() >= limits::AUDIT_REFUSALS {
            self.lost = self.lost.saturating_add(1);
            return false;
        }
        self.change();
        self.refusals.push_back(item);
        true
    }

    /// True when there is nothing to be written.
    pub(super) fn is_empty(&self) -> bool {
        self.count() == 0
    }

    fn count(&self) -> usize {
        let queues = [&self.restored, &self.acts, &self.changes, &self.refusals];
        queues.iter().map(|queue| queue.len()).fold(self.under_way.len(), usize::saturating_add)
    }

    /// What is to be written next: what was under way before, if anything.
    pub(super) fn next_batch(&mut self) -> Vec<v1::AuditEntry> {
        if self.under_way.is_empty() {
            for queue in [&mut self.restored, &mut self.acts, &mut self.changes, &mut self.refusals] {
                let room = limits::AUDIT_BATCH.saturating_sub(self.under_way.len());
                self.under_way.extend(queue.drain(..room.min(queue.len())));
            }
        }
        self.under_way.iter().map(|item| item.entry.clone()).collect()
    }

    /// An entry that is being written has another number from here on.
    pub(super) fn renumber(&mut self, at: u64, number: u64, now: u64) {
        let mut under_way = self.under_way.iter_mut().map(|item| &mut item.entry);
        if let Some(entry) = under_way.find(|entry| entry.at == at && entry.number == number) {
            entry.number = now;
            self.change();
        }
    }

    /// One of them is in the log only.
    pub(super) fn lose(&mut self) {
        self.lost = self.lost.saturating_add(1);
    }

    /// The batch is written.
    pub(super) fn written(&mut self) {
        self.change();
        let written = u64::try_from(self.under_way.len()).unwrap_or(u64::MAX);
        self.written = self.written.saturating_add(written);
        self.under_way.clear();
    }

    /// All of it, the oldest first, to be kept elsewhere; and how often it had changed.
    pub(super) fn all(&self) -> (Vec<v1::AuditEntry>, u64) {
        let queues = [&self.restored, &self.acts, &self.changes, &self.refusals];
        let items = self.under_way.iter().chain(queues.into_iter().flatten());
        let mut entries: Vec<_> = items.map(|item| item.entry.clone()).collect();
        entries.sort_by_key(|entry| (entry.at, entry.number));
        // The newest, if an earlier start left more than fits beside what has come since.
        let old = entries.len().saturating_sub(limits::AUDIT_FILE_ENTRIES);
        entries.drain(..old);
        (entries, self.generation)
    }

    fn change(&mut self) {
        self.generation = self.generation.saturating_add(1);
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn counters(&self) -> Counters {
        let waiting = u64::try_from(self.count()).unwrap_or(u64::MAX);
        Counters { waiting, written: self.written, lost: self.lost, summed: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(number: u64) -> Item {
        Item { entry: v1::AuditEntry { number, ..v1::AuditEntry::default() }, _seat: None }
    }

    #[test]
    fn refusals_give_way_to_none_and_changes_and_acts_are_kept_whatever_is_refused() {
        let mut waiting = Waiting::default();
        let refused = (0..100_000).filter(|number| waiting.refused(item(*number))).count();
        assert_eq!(refused, limits::AUDIT_REFUSALS);
        assert!(waiting.acted(item(1_000_001)) && waiting.changed(item(1_000_002)));
        let batch = waiting.next_batch();
        assert_eq!((batch[0].number, batch[1].number, batch.len()), (1_000_001, 1_000_002, limits::AUDIT_BATCH));
        assert_eq!(waiting.counters().lost, 100_000 - limits::AUDIT_REFUSALS as u64);
    }

    #[test]
    fn of_changes_the_newest_are_kept() {
        let mut waiting = Waiting::default();
        let kept = (0..1_000).filter(|number| waiting.changed(item(*number))).count();
        assert_eq!(kept, limits::AUDIT_CHANGES);
        assert_eq!(waiting.all().0[0].number, 1_000 - limits::AUDIT_CHANGES as u64);
        assert_eq!(waiting.counters().lost, 1_000 - limits::AUDIT_CHANGES as u64);
    }

    #[test]
    fn what_is_being_written_is_the_same_until_it_is_written() {
        let mut waiting = Waiting::default();
        waiting.restore(vec![item(7).entry]);
        assert!(waiting.acted(item(8)));
        let batch = waiting.next_batch();
        assert!(waiting.acted(item(9)));
        assert_eq!(waiting.next_batch(), batch, "its write may have been done, and is repeated as it is");
        assert_eq!(waiting.all().0.len(), 3, "the file has what is under way too");
        waiting.written();
        assert_eq!(waiting.next_batch().iter().map(|entry| entry.number).collect::<Vec<_>>(), [9]);
        waiting.written();
        assert!(waiting.is_empty());
        assert_eq!(waiting.counters().written, 3);
    }
}
