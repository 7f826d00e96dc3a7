//! Cutting the log: only behind what the data instance has persisted, and behind what followers may still need.

use holdfast_types::LogIndex;
use holdfast_types::limits;
use holdfast_types::storage::{LogOp, LogStart};
use raft::ProgressState;

use crate::ready::After;
use crate::replica::Replica;

impl Replica {
    /// The data instance would survive a crash with everything up to `persisted` applied. What lies behind that is kept for
    /// followers only as far as the log takes `keep_bytes` at most: beyond it they get a snapshot.
    pub(crate) fn truncate_behind(&mut self, persisted: LogIndex, keep_bytes: u64) {
        if !self.is_live() || self.phase.is_installing() {
            return;
        }
        let start = self.raw.store().start().index.0;
        let applied = self.raw.raft.raft_log.applied;
        let needed = self.needed_from().max(self.raw.store().sizes().first_within(keep_bytes).0);
        let cut = persisted.0.min(applied).min(needed.saturating_sub(1));
        if cut <= start {
            return;
        }
        let Some(term) = self.raw.store().term_of(cut) else { return };
        let start = LogStart { index: LogIndex(cut), term: holdfast_types::Term(term) };
        self.raw.mut_store().set_start(start);
        self.write_aside(vec![LogOp::SetStart { range: self.descriptor.range, start }], After::Nothing);
    }

    /// The first index that somebody may still ask for. A leader knows what its followers have; a follower keeps a tail, for
    /// the case that it leads next.
    fn needed_from(&self) -> u64 {
        let last = self.raw.raft.raft_log.last_index();
        if self.leading.is_none() {
            return (last + 1).saturating_sub(limits::LOG_KEEP_FOLLOWER_ENTRIES);
        }
        let oldest_kept = (last + 1).saturating_sub(limits::LOG_KEEP_ENTRIES);
        let needs = self.raw.raft.prs().iter().map(|(_, p)| match p.state {
            ProgressState::Snapshot => p.pending_snapshot.max(p.matched) + 1,
            ProgressState::Probe | ProgressState::Replicate => p.matched + 1,
        });
        needs.min().unwrap_or(last + 1).max(oldest_kept)
    }
}
