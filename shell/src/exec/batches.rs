//! Changes of many keys, cut into batches that one range takes.

use std::collections::VecDeque;

use holdfast_types::{Key, limits};

use crate::backend::Change;

/// Rows of one batch: enough to pay for the way, few enough for a range to take between others.
const BATCH_ROWS: usize = 500;
/// Bytes of one batch, as long as it has more than one row.
const BATCH_BYTES: usize = limits::MAX_BATCH_BYTES / 4;

/// Changes that are still to be made, in the order of their keys.
pub(super) struct Batches {
    waiting: VecDeque<Change>,
    /// Cut already: they lie in one range, as far as is known.
    cut: Vec<Vec<Change>>,
}

impl Batches {
    pub(super) fn new(changes: Vec<Change>) -> Self {
        Self { waiting: changes.into(), cut: vec![] }
    }

    /// The next batch.
    pub(super) fn next(&mut self) -> Option<Vec<Change>> {
        if let Some(batch) = self.cut.pop() {
            return Some(batch);
        }
        let mut bytes = 0;
        let mut batch = Vec::new();
        while let Some(change) = self.waiting.front() {
            bytes += change.key.raw().len() + change.value.as_ref().map_or(0, bytes::Bytes::len);
            if batch.len() == BATCH_ROWS || (bytes > BATCH_BYTES && !batch.is_empty()) {
                break;
            }
            batch.extend(self.waiting.pop_front());
        }
        (!batch.is_empty()).then_some(batch)
    }

    /// A batch that was refused for one of its changes, which is made anew (`None`: not at all). It stands alone from then on: those
    /// before and behind it do not wait for it.
    pub(super) fn put_back_around(&mut self, mut batch: Vec<Change>, index: usize, anew: Option<Change>) {
        let behind = batch.split_off(index + 1);
        batch.truncate(index);
        self.put_back(behind);
        self.put_back(anew.into_iter().collect());
        self.put_back(batch);
    }

    fn put_back(&mut self, batch: Vec<Change>) {
        if !batch.is_empty() {
            self.cut.push(batch);
        }
    }

    /// A batch that lies in two ranges, which meet at a key.
    pub(super) fn put_back_cut(&mut self, mut batch: Vec<Change>, split_key: &Key) {
        let at = batch.partition_point(|change| change.key < *split_key);
        // A split key outside of the batch is no news of it: halves get smaller in any case.
        let at = if at == 0 || at == batch.len() { batch.len().div_ceil(2) } else { at };
        let right = batch.split_off(at);
        self.put_back(right);
        self.put_back(batch);
    }
}
