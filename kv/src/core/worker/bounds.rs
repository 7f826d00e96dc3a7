//! What the replicas of a store may keep together: logs on its disk.

use holdfast_types::{LogIndex, RangeId};

use super::walks::Errand;
use super::{Cx, Worker};

impl Worker {
    /// The data instance has persisted so much: logs are cut behind it, but for what followers that lag may take. A range keeps
    /// [`holdfast_types::limits::LOG_KEEP_BYTES`] for them or its own size, as long as all ranges of the store together keep to their part of
    /// the disk: what all logs take is found out first.
    pub(super) fn cut_logs(&mut self, indexes: Vec<(RangeId, LogIndex)>, cx: &Cx<'_>) {
        self.walks.begin(Errand::NoteLogs(indexes.into_iter().collect()));
        self.walk_on(cx);
    }
}
