//! What a worker remembers of ranges that have no living replica here.

use std::time::Duration;

use holdfast_engine::{LogOp, ReplicaRecord};
use holdfast_replica::Input;
use holdfast_types::storage::{HardState, LogStart};
use holdfast_types::{KeyRange, Moment, RangeDescriptor, RangeId, ReplicaId, StoreId};

use super::{Cx, Worker};
use crate::core::message::{CallId, StoreMessage};

/// How often the fleet is asked about damaged replicas,
const ASK_FOR_DAMAGED_EVERY: Duration = Duration::from_secs(5);
/// and about how many at once.
const ASK_FOR_DAMAGED_AT_ONCE: usize = 32;

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
    /// Replicas that wait to be replaced.
    pub(super) fn damaged_replicas(&self) -> Vec<(RangeId, ReplicaId)> {
        let damaged = self.absent.iter().filter_map(|(range, absent)| match absent {
            Absent::Quarantined { replica, .. } => Some((*range, *replica)),
            Absent::Clearing { .. } | Absent::Tombstone { .. } => None,
        });
        damaged.collect()
    }

    /// Asks now and then what became of ranges whose replica here is damaged. One that was replaced on another store would not
    /// be heard of any more, and its keys and its disk space stay taken.
    pub(super) fn ask_for_damaged(&mut self, cx: &Cx<'_>) {
        if cx.now < self.damaged_asked_at {
            return;
        }
        self.damaged_asked_at = cx.now.after(ASK_FOR_DAMAGED_EVERY);
        let damaged = self.damaged_replicas().into_iter().take(ASK_FOR_DAMAGED_AT_ONCE);
        let starts: Vec<_> =
            damaged.filter_map(|(range, _)| self.shared.spans.of(range)).map(|span| span.start).collect();
        for key in starts {
            for store in self.stores_to_ask() {
                self.send(store, StoreMessage::Locate { id: CallId::new(self.config.worker, 0), key: key.clone() });
            }
        }
    }

    /// What is heard of a range may say that the damaged replica here is no part of it any more. Ids are never used again, so
    /// an old hint says that as well as a new one.
    pub(super) fn bury_replaced(&mut self, descriptor: &RangeDescriptor) {
        let range = descriptor.range;
        if let Some(Absent::Quarantined { replica, .. }) = self.absent.get(&range)
            && descriptor.next_replica > *replica
            && descriptor.replica(*replica).is_none()
        {
            let next = replica.next();
            self.bury(range, next);
        }
    }

    /// What is heard of a range may say that the replica here is no part of it any more: it missed its own removal.
    pub(super) fn tell_of_removal(&mut self, descriptor: &RangeDescriptor) {
        let removed = |id: ReplicaId| descriptor.next_replica > id && descriptor.replica(id).is_none();
        if self.held.get(&descriptor.range).is_some_and(|held| removed(held.id)) {
            self.push(descriptor.range, Input::Heard { descriptor: Box::new(descriptor.clone()) });
        }
    }

    /// A replica of another range holds the keys of one that wants to come here. It may have missed its own removal: who knows
    /// of its range is asked, now and then.
    pub(super) fn ask_about_what_is_in_the_way(&mut self, from: StoreId, other: RangeId, now: Moment) {
        let Some(span) = self.shared.spans.of(other).filter(|_| now >= self.in_the_way_asked_at) else { return };
        self.in_the_way_asked_at = now.after(ASK_FOR_DAMAGED_EVERY);
        let id = CallId::new(self.config.worker, 0);
        let mut stores = self.stores_to_ask();
        if !stores.contains(&from) {
            stores.push(from);
        }
        for store in stores {
            self.send(store, StoreMessage::Locate { id, key: span.start.clone() });
        }
    }

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
