//! One synced log batch a round, for all ranges of the worker; and what follows when it is synced.

use std::collections::VecDeque;

use holdfast_engine::{Fault, LogEntry, LogOp, SnapshotId};
use holdfast_replica::{Input, PersistToken, Ticket};
use holdfast_types::{RangeId, ReplicaId};

use super::{Cx, Worker};
use crate::core::effect::Effect;
use crate::core::event::BatchId;
use crate::core::seen::Outdated;

/// What follows when a batch is synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Then {
    /// A replica is told; unless another one lives there by then.
    Replica(RangeId, ReplicaId, PersistToken),
    /// A new learner may be told what waits for it.
    Recorded(RangeId, ReplicaId),
    /// Numbers for new ranges may be used.
    Reserved(u64, u64),
    /// The tombstone of a replaced replica stands.
    Buried(RangeId),
    /// A snapshot is in place: what was staged goes.
    Drop(SnapshotId),
    /// It is noted that this disk is an old one: nothing more is to be done with it.
    Outdated(Outdated),
    /// A split that waited for a number goes on.
    Split(Ticket),
}

/// The log batches of a worker.
#[derive(Default, Debug)]
pub(super) struct LogOut {
    next: BatchId,
    ops: Vec<LogOp>,
    then: Vec<Then>,
    waiting: VecDeque<(BatchId, Vec<Then>)>,
}

impl LogOut {
    /// Adds operations to the batch of this round.
    pub(super) fn add(&mut self, ops: Vec<LogOp>, then: Then) {
        self.ops.extend(ops);
        self.then.push(then);
    }

    /// Adds operations that nothing waits for.
    pub(super) fn add_aside(&mut self, op: LogOp) {
        self.ops.push(op);
    }
}

impl Worker {
    pub(super) fn finish_log(&mut self) {
        if self.log.ops.is_empty() && self.log.then.is_empty() {
            return;
        }
        let batch = self.log.next;
        self.log.next = BatchId(batch.0 + 1);
        let ops = std::mem::take(&mut self.log.ops);
        self.log.waiting.push_back((batch, std::mem::take(&mut self.log.then)));
        // Not last: what a replica said after its write is already among the effects, and may leave together with it. What must
        // wait for the disk waits inside of the replica.
        self.out.push(Effect::WriteLog { batch, ops });
    }

    pub(super) fn persisted(&mut self, up_to: BatchId, cx: &Cx<'_>) {
        while self.log.waiting.front().is_some_and(|(batch, _)| *batch <= up_to) {
            let (_, then) = self.log.waiting.pop_front().expect("just seen");
            for then in then {
                self.follow(then, cx);
            }
        }
    }

    /// Entries that a follower lacks were read. A damaged log is no empty log: the replica that has it stops. What could not be read
    /// just now is asked for again.
    pub(super) fn entries_fetched(
        &mut self,
        range: RangeId,
        to: ReplicaId,
        entries: Result<Vec<LogEntry>, Fault>,
        cx: &Cx<'_>,
    ) {
        let entries = entries.map_err(|fault| self.damaged(range, &fault, cx)).ok();
        self.push(range, Input::EntriesFetched { to, entries });
    }

    fn follow(&mut self, then: Then, cx: &Cx<'_>) {
        match then {
            Then::Replica(range, replica, token) => {
                if self.held.get(&range).is_some_and(|held| held.id == replica) {
                    self.push(range, Input::Persisted(token));
                }
            }
            Then::Recorded(range, replica) => {
                if let Some(held) = self.held.get_mut(&range).filter(|held| held.id == replica) {
                    if !std::mem::replace(&mut held.recorded, true) {
                        self.company.record(&held.standing.descriptor);
                    }
                    self.unpark(range, cx);
                }
            }
            Then::Buried(range) => self.no_longer_applying(range),
            Then::Drop(snapshot) => self.out.push(Effect::DropSnapshot { snapshot }),
            Then::Reserved(before, last) => self.ids.reserved(before, last),
            Then::Outdated(outdated) => self.out.push(Effect::Outdated(outdated)),
            Then::Split(ticket) => self.route(ticket, cx),
        }
    }
}
