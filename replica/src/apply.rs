//! Applying committed entries: the same entries give the same operations on every replica.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use holdfast_types::storage::{DataOp, Version};
use holdfast_types::{
    ClientId, Key, LogIndex, RangeDescriptor, RangeId, ReplicaId, Response, Slot, Term, Timestamp, limits,
};

use crate::command::{Command, CommandBody, EvaluatedWrite, Garbage, GarbageKey, MembershipCommand, Split};
use crate::range_state::RangeState;
use crate::reader::{ReadFault, Reader};
use crate::slots::CompletionRecord;

/// Committed entries to apply. The range's state travels with it, so there is one task of a range at a time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApplyTask {
    /// The state before the first entry.
    pub state: RangeState,
    /// Contiguous, beginning after `state.applied`.
    pub entries: Vec<CommittedEntry>,
}

/// A committed entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommittedEntry {
    /// Its position.
    pub index: LogIndex,
    /// Its term.
    pub term: Term,
    /// What it says.
    pub kind: EntryKind,
}

/// What a committed entry says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EntryKind {
    /// Nothing: a new leader's first entry.
    Empty,
    /// An encoded [`Command`].
    Normal(Bytes),
    /// A change of the replicas.
    Membership(MembershipCommand),
}

/// What applying a task came to. The operations must be written, as one batch, before it is handed back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Applied {
    /// The state after the last entry.
    pub state: RangeState,
    /// One for each entry, in order.
    pub results: Vec<AppliedEntry>,
}

/// What one entry came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AppliedEntry {
    /// Its position.
    pub index: LogIndex,
    /// Its term.
    pub term: Term,
    /// What it did.
    pub change: AppliedChange,
}

/// What one entry did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AppliedChange {
    /// Nothing, as meant.
    Empty,
    /// Writes of clients: one answer each, in the order of the command.
    Writes(Vec<Response>),
    /// The range was cut in two.
    Split {
        /// This range, as it is now.
        left: RangeDescriptor,
        /// The new one, whose range state is part of the batch.
        right: RangeDescriptor,
        /// Who leads it first.
        right_leader: ReplicaId,
    },
    /// The replicas changed.
    Membership(RangeDescriptor),
    /// The threshold of garbage collection, as it is now.
    GcThreshold(Timestamp),
    /// Garbage was removed.
    Collected,
    /// The range's time moved on.
    TimePassed,
    /// Nothing was done: the command was evaluated under other bounds, or does not fit the descriptor.
    Dropped,
}

/// Applies the entries. The operations are to be written as one batch; they end with the range's new state.
///
/// `reader` must show everything that earlier tasks wrote. A command that cannot be read is a fault: dropping it would make this
/// replica differ from the others.
pub fn run(task: ApplyTask, reader: &dyn Reader) -> Result<(Vec<DataOp>, Applied), ReadFault> {
    let ApplyTask { state, entries } = task;
    let mut applier = Applier { state, ops: Vec::with_capacity(2 * entries.len() + 1), reader };
    let mut results = Vec::with_capacity(entries.len());
    for CommittedEntry { index, term, kind } in entries {
        assert!(index == applier.state.applied.next(), "entries are applied without a gap");
        let change = applier.apply(index, kind)?;
        applier.state.applied = index;
        applier.state.applied_term = term;
        results.push(AppliedEntry { index, term, change });
    }
    let Applier { state, mut ops, .. } = applier;
    check(&state)?;
    ops.push(DataOp::SetRangeState { range: state.descriptor.range, state: state.encode() });
    Ok((ops, Applied { state, results }))
}

/// What could not be read again is not written: the store would not start any more, and here only this replica is damaged.
fn check(state: &RangeState) -> Result<(), ReadFault> {
    let place = state.descriptor.range;
    state
        .check()
        .map_err(|why| ReadFault::Damaged(format!("after entry {} {place} would be impossible: {why}", state.applied)))
}

struct Applier<'a> {
    state: RangeState,
    ops: Vec<DataOp>,
    reader: &'a dyn Reader,
}

impl Applier<'_> {
    fn range(&self) -> RangeId {
        self.state.descriptor.range
    }

    fn apply(&mut self, index: LogIndex, kind: EntryKind) -> Result<AppliedChange, ReadFault> {
        match kind {
            EntryKind::Empty => Ok(AppliedChange::Empty),
            EntryKind::Membership(command) => self.membership(index, command),
            EntryKind::Normal(bytes) => {
                let command = Command::decode(bytes)
                    .map_err(|bad| ReadFault::unreadable(format_args!("entry {index} of {}", self.range()), bad))?;
                self.command(command)
            }
        }
    }

    fn membership(&mut self, index: LogIndex, command: MembershipCommand) -> Result<AppliedChange, ReadFault> {
        command.change(&mut self.state.descriptor);
        let after = &self.state.descriptor;
        after.check().map_err(|why| ReadFault::Damaged(format!("entry {index} of {}: {why}", after.range)))?;
        Ok(AppliedChange::Membership(after.clone()))
    }

    fn command(&mut self, command: Command) -> Result<AppliedChange, ReadFault> {
        if command.bounds_epoch != self.state.descriptor.epoch.bounds {
            return Ok(AppliedChange::Dropped);
        }
        match command.body {
            CommandBody::Writes(writes) => {
                let answers = writes.into_iter().map(|write| self.write(write)).collect();
                Ok(AppliedChange::Writes(answers))
            }
            CommandBody::Split(split) => self.split(&split),
            CommandBody::RaiseGcThreshold(threshold) => {
                self.state.gc_threshold = self.state.gc_threshold.max(threshold);
                // A value that ends before the threshold may be removed: it must have ended for every reader.
                self.state.last_timestamp = self.state.last_timestamp.max(threshold);
                Ok(AppliedChange::GcThreshold(self.state.gc_threshold))
            }
            CommandBody::PassTime(timestamp) => {
                self.state.last_timestamp = self.state.last_timestamp.max(timestamp);
                Ok(AppliedChange::TimePassed)
            }
            CommandBody::CollectGarbage { timestamp, garbage } => self.collect(timestamp, garbage),
        }
    }

    fn write(&mut self, write: EvaluatedWrite) -> Response {
        let timestamp = write.timestamp;
        self.state.last_timestamp = self.state.last_timestamp.max(timestamp);
        if let Some((completion, record)) = CompletionRecord::of(&write) {
            self.ops.push(DataOp::PutCompletion {
                range: self.range(),
                client: completion.client,
                slot: completion.slot,
                record: record.encode(),
            });
        }
        let response = write.outcome.response(timestamp);
        self.ops.extend(write.mutations.into_iter().map(|mutation| {
            let expires_at = mutation.expires_at;
            let version = mutation.value.map_or(Version::Tombstone, |value| Version::Value { value, expires_at });
            DataOp::PutVersion { key: mutation.key, timestamp, version }
        }));
        response
    }

    /// Keys stay where they are: they are stored by key. The right side gets its state and a copy of every completion record.
    fn split(&mut self, split: &Split) -> Result<AppliedChange, ReadFault> {
        let Some((left, right)) = split.sides(&self.state.descriptor) else {
            return Ok(AppliedChange::Dropped);
        };
        self.copy_completions(right.range)?;
        let right_state = RangeState {
            descriptor: right.clone(),
            applied: LogIndex(limits::FIRST_LOG_INDEX),
            applied_term: Term(limits::FIRST_LOG_TERM),
            ..self.state
        };
        check(&right_state)?;
        self.ops.push(DataOp::SetRangeState { range: right.range, state: right_state.encode() });
        self.state.descriptor = left.clone();
        Ok(AppliedChange::Split { left, right, right_leader: split.right_leader })
    }

    fn copy_completions(&mut self, to: RangeId) -> Result<(), ReadFault> {
        let range = self.range();
        let mut records = BTreeMap::new();
        let mut after = None;
        loop {
            let page = self.reader.completions(range, after, limits::COMPLETIONS_PAGE)?;
            let Some((client, slot, _)) = page.last() else { break };
            after = Some((*client, *slot));
            records.extend(page.into_iter().map(|(client, slot, record)| ((client, slot), record)));
        }
        for (slot, record) in self.own_records() {
            match record {
                Some(record) => records.insert(slot, record),
                None => records.remove(&slot),
            };
        }
        let copies = records.into_iter();
        self.ops.extend(copies.map(|((client, slot), record)| DataOp::PutCompletion {
            range: to,
            client,
            slot,
            record,
        }));
        Ok(())
    }

    /// Removes only what still is what the store saw: keys within the bounds, versions below the threshold, records of the
    /// same sequence that have outlived their last moment.
    fn collect(&mut self, timestamp: Timestamp, garbage: Garbage) -> Result<AppliedChange, ReadFault> {
        self.state.last_timestamp = self.state.last_timestamp.max(timestamp);
        let own = self.own_records();
        for record in garbage.records {
            let stored = match own.get(&(record.client, record.slot)) {
                Some(own) => own.clone(),
                None => self.reader.completion(self.range(), record.client, record.slot)?,
            };
            let Some(stored) = stored else { continue };
            let stored = CompletionRecord::decode(stored)
                .map_err(|bad| ReadFault::unreadable(format_args!("completion record in {}", self.range()), bad))?;
            if stored.sequence == record.sequence && stored.may_go(timestamp) {
                let (client, slot) = (record.client, record.slot);
                self.ops.push(DataOp::RemoveCompletion { range: self.range(), client, slot });
            }
        }
        let own = self.own_old_versions();
        for found in garbage.keys {
            self.remove_versions(found, &own)?;
        }
        Ok(AppliedChange::Collected)
    }

    /// Removes the versions that were found and whatever this replica has below them. Compactions drop shadowed versions on each
    /// replica in their own time: what the finder did not see any more may still lie here, and must not come back to light.
    fn remove_versions(&mut self, found: GarbageKey, own: &BTreeSet<(Key, Timestamp)>) -> Result<(), ReadFault> {
        let GarbageKey { key, timestamps } = found;
        let all_old = timestamps.iter().all(|timestamp| *timestamp < self.state.gc_threshold);
        let Some(newest) = timestamps.first().copied() else { return Ok(()) };
        if !all_old || !self.state.descriptor.bounds.contains(&key) {
            return Ok(());
        }
        let mut doomed: BTreeSet<Timestamp> = timestamps.into_iter().collect();
        let own = own.range((key.clone(), Timestamp::ZERO)..=(key.clone(), newest));
        doomed.extend(own.map(|(_, timestamp)| *timestamp));
        let mut at = Some(newest);
        while let Some(before) = at
            && let Some((timestamp, _)) = self.reader.newest_version(&key, before)?
        {
            doomed.insert(timestamp);
            at = timestamp.0.checked_sub(1).map(Timestamp);
        }
        self.ops.extend(doomed.into_iter().map(|timestamp| DataOp::RemoveVersion { key: key.clone(), timestamp }));
        Ok(())
    }

    /// Versions older than the threshold that this very task wrote: the reader does not show them.
    fn own_old_versions(&self) -> BTreeSet<(Key, Timestamp)> {
        let threshold = self.state.gc_threshold;
        let old = self.ops.iter().filter_map(|op| match op {
            DataOp::PutVersion { key, timestamp, .. } if *timestamp < threshold => Some((key.clone(), *timestamp)),
            _ => None,
        });
        old.collect()
    }

    /// What this task did to records before: the reader does not show it. `None`: removed.
    fn own_records(&self) -> BTreeMap<(ClientId, Slot), Option<Bytes>> {
        let own = self.ops.iter().filter_map(|op| match op {
            DataOp::PutCompletion { range, client, slot, record } if *range == self.range() => {
                Some(((*client, *slot), Some(record.clone())))
            }
            DataOp::RemoveCompletion { range, client, slot } if *range == self.range() => {
                Some(((*client, *slot), None))
            }
            _ => None,
        });
        own.collect()
    }
}
