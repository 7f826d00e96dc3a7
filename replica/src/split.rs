//! The right side of a split: its raft state is fixed beforehand, so that it is led from its first moment without an election.

use holdfast_types::limits;
use holdfast_types::storage::{HardState, LogOp, LogStart, ReplicaRecord};
use holdfast_types::{LogIndex, RangeDescriptor, ReplicaId, Term};
use raft::StateRole;

use crate::command::Split;
use crate::effect::Effect;
use crate::replica::Replica;
use crate::view::StoreView;

/// The position before the first entry of a range that a split or `init` made.
pub(crate) const FIRST_START: LogStart =
    LogStart { index: LogIndex(limits::FIRST_LOG_INDEX), term: Term(limits::FIRST_LOG_TERM) };

/// What the log instance must know of the right side before the split is applied. Every vote of its first term is given to
/// its first leader: nobody else can win that term.
pub(crate) fn right_log(split: &Split, replica: ReplicaId) -> Vec<LogOp> {
    let range = split.right;
    let state =
        HardState { term: Term(limits::FIRST_LOG_TERM).next(), vote: split.right_leader, commit: FIRST_START.index };
    vec![
        LogOp::SetReplica { range, record: ReplicaRecord::Live { replica } },
        LogOp::SetStart { range, start: FIRST_START },
        LogOp::SetHardState { range, state },
    ]
}

impl Replica {
    /// The left side: a split was applied here.
    pub(crate) fn split_applied(&mut self, right: &RangeDescriptor, right_leader: ReplicaId) {
        let leads = right_leader == self.id;
        self.effects.push(Effect::Born { right: Box::new(right.clone()), leads });
    }

    /// The right side, once, right after its first creation (`Effect::Born`): on the store that the split named it leads its
    /// first term without an election; elsewhere it follows that leader for an interval, and so does not stand against it. Later it does
    /// nothing.
    pub fn lead_after_split(&mut self, view: &StoreView<'_>) -> Vec<Effect> {
        let raft = &self.raw.raft;
        let first_term = limits::FIRST_LOG_TERM + 1;
        let fresh = raft.raft_log.last_index() == limits::FIRST_LOG_INDEX
            && raft.term == first_term
            && raft.state == StateRole::Follower
            && self.following.follows.is_none();
        let first_leader = ReplicaId(raft.vote);
        if fresh && self.is_live() && first_leader != self.id {
            if let Some(store) = self.descriptor.replica(first_leader).map(|r| r.store) {
                self.following.named_leader(first_leader, store, Term(first_term), view);
            }
        } else if fresh && self.is_live() && self.raw.raft.promotable() {
            // The disk knows term and vote already; in memory they are reached by raft's own steps.
            self.raw.raft.term = limits::FIRST_LOG_TERM;
            self.raw.raft.vote = raft::INVALID_ID;
            self.raw.raft.become_candidate();
            self.raw.raft.become_leader();
            self.raw.raft.bcast_append();
        }
        self.settle_guarded(view)
    }
}
