//! What a worker remembers of ranges that have no living replica here.

use holdfast_engine::{LogOp, ReplicaRecord};
use holdfast_types::storage::{HardState, LogStart};
use holdfast_types::{KeyRange, RangeId, ReplicaId};

use super::Worker;

/// Raft state of a right side whose split is not applied yet: it neither votes nor acknowledges.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Unborn {
    pub(super) replica: ReplicaId,
    pub(super) start: LogStart,
    pub(super) hard_state: HardState,
}

/// A range whose replica here is dead.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Absent {
    /// Its data is being deleted, or will be as soon as its last apply task is back.
    Clearing { next: ReplicaId, bounds: Option<KeyRange>, applying: bool },
    /// Ids below `next` never live here again.
    Tombstone { next: ReplicaId },
    /// Damaged: it waits to be replaced under a new id. Its keys stay claimed until then.
    Quarantined { replica: ReplicaId, applying: bool },
}

impl Absent {
    /// True when a replica of this id may live here now.
    pub(super) fn admits(&self, replica: ReplicaId) -> bool {
        match self {
            Self::Tombstone { next } => replica >= *next,
            Self::Clearing { .. } | Self::Quarantined { .. } => false,
        }
    }
}

impl Worker {
    /// Notes what a log batch says of ranges that do not live here: a split writes the right side's raft state beforehand.
    pub(super) fn note_log_op(&mut self, of: RangeId, op: &LogOp) {
        match op {
            LogOp::SetReplica { range, record: ReplicaRecord::Live { replica } } if *range != of => {
                let unborn = Unborn { replica: *replica, start: LogStart::default(), hard_state: HardState::default() };
                self.unborn.insert(*range, unborn);
            }
            LogOp::SetStart { range, start } => {
                if let Some(unborn) = self.unborn.get_mut(range) {
                    unborn.start = *start;
                }
            }
            LogOp::SetHardState { range, state } => {
                if let Some(unborn) = self.unborn.get_mut(range) {
                    unborn.hard_state = *state;
                }
            }
            _ => {}
        }
    }
}
