//! What the replicas of a store may keep together: logs on its disk.

use holdfast_replica::Input;
use holdfast_types::{LogIndex, RangeId, limits};

use super::Worker;

impl Worker {
    /// The data instance has persisted so much: logs are cut behind it, but for what followers that lag may take. A range keeps
    /// [`limits::LOG_KEEP_BYTES`] for them or its own size, as long as all ranges of the store together keep to their part of
    /// the disk.
    pub(super) fn cut_logs(&mut self, indexes: Vec<(RangeId, LogIndex)>) {
        for (range, held) in &self.held {
            self.shared.logs.note(*range, held.replica.log_bytes());
        }
        let of_the_store = self.shared.logs.largest_kept();
        for (range, index) in indexes {
            let Some(held) = self.held.get(&range) else { continue };
            let keep_bytes = held.size_bytes.max(limits::LOG_KEEP_BYTES).min(of_the_store);
            self.push(range, Input::AppliedPersisted { index, keep_bytes });
        }
    }
}
