//! Committed entries on their way to the data instance: one task at a time, barriers before what changes configuration or
//! bounds.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use holdfast_types::limits;
use holdfast_types::storage::LogOp;
use holdfast_types::{LogIndex, ReplicaId, Term};
use raft::eraftpb::{ConfChangeV2, Entry, EntryType};

use crate::apply::{Applied, AppliedChange, ApplyTask, CommittedEntry, EntryKind};
use crate::command::{Command, CommandBody, MembershipCommand, Split};
use crate::convert;
use crate::effect::Effect;
use crate::reader::ReadFault;
use crate::ready::After;
use crate::replica::{Replica, Summary};
use crate::split;
use crate::view::StoreView;

/// A committed entry with what must happen before it is applied.
#[derive(Debug)]
struct Waiting {
    entry: CommittedEntry,
    size_bytes: usize,
    barrier: Barrier,
}

#[derive(Debug)]
enum Barrier {
    None,
    Membership(ConfChangeV2),
    Split(Split),
}

/// Committed entries that wait, and what is being applied.
#[derive(Default, Debug)]
pub(crate) struct Applying {
    queue: VecDeque<Waiting>,
    /// Of the queue, and of the task that is out.
    queued_bytes: usize,
    out_bytes: usize,
    /// Changes of the configuration in the task that is out, by index.
    changes: BTreeMap<LogIndex, ConfChangeV2>,
    /// The log instance knows of the right side of the split at this index.
    pub(crate) split_prepared: Option<LogIndex>,
    split_asked: Option<LogIndex>,
    /// The entry that made the descriptor what it is: whoever has not committed it may not know the descriptor.
    pub(crate) descriptor_index: LogIndex,
    /// First indexes that are being read from disk, by follower.
    pub(crate) fetching: BTreeMap<ReplicaId, u64>,
}

impl Applying {
    /// Everything up to `applied` is in the data.
    pub(crate) fn new(applied: LogIndex) -> Self {
        Self { descriptor_index: applied, ..Self::default() }
    }

    /// Bytes of committed entries that are not applied yet.
    pub(crate) fn backlog_bytes(&self) -> usize {
        self.queued_bytes + self.out_bytes
    }

    pub(crate) fn drop_queue(&mut self) {
        self.queue.clear();
        self.queued_bytes = 0;
    }
}

/// Reads a raft entry as what apply and its barriers need; nothing when it is not one of ours.
fn read_entry(entry: &Entry) -> Result<(EntryKind, Barrier), ReadFault> {
    let place = format_args!("entry i{} t{}", entry.index, entry.term);
    match EntryType::from_i32(entry.entry_type) {
        Some(EntryType::EntryNormal) if entry.data.is_empty() => Ok((EntryKind::Empty, Barrier::None)),
        Some(EntryType::EntryNormal) => {
            let bytes = Bytes::copy_from_slice(&entry.data);
            let command = Command::decode(bytes.clone()).map_err(|bad| ReadFault::unreadable(place, bad))?;
            let barrier = match command.body {
                CommandBody::Split(split) => Barrier::Split(split),
                _ => Barrier::None,
            };
            Ok((EntryKind::Normal(bytes), barrier))
        }
        Some(EntryType::EntryConfChangeV2) => {
            let command = MembershipCommand::decode(Bytes::copy_from_slice(&entry.context))
                .map_err(|bad| ReadFault::unreadable(place, bad))?;
            let change = convert::decode_conf_change(&entry.data)
                .ok_or_else(|| ReadFault::Damaged(format!("{place}: no change of configuration")))?;
            Ok((EntryKind::Membership(command), Barrier::Membership(change)))
        }
        _ => Err(ReadFault::Damaged(format!("{place}: unknown type"))),
    }
}

/// An entry as apply sees it, for replay at start.
pub(crate) fn committed_entry(entry: &Entry) -> Result<(CommittedEntry, Option<Split>), ReadFault> {
    let (kind, barrier) = read_entry(entry)?;
    let split = if let Barrier::Split(split) = barrier { Some(split) } else { None };
    Ok((CommittedEntry { index: LogIndex(entry.index), term: Term(entry.term), kind }, split))
}

impl Replica {
    pub(crate) fn enqueue_committed(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            match read_entry(&entry) {
                Ok((kind, barrier)) => {
                    let committed = CommittedEntry { index: LogIndex(entry.index), term: Term(entry.term), kind };
                    let size_bytes = convert::entry_bytes(&entry);
                    self.applying.queued_bytes += size_bytes;
                    self.applying.queue.push_back(Waiting { entry: committed, size_bytes, barrier });
                }
                Err(fault) => {
                    self.quarantine(fault.to_string());
                    return;
                }
            }
        }
    }

    /// Hands the next entries to the apply pool, if none are out and nothing must be synced before.
    pub(crate) fn pump_apply(&mut self) {
        if self.state.is_none() || !self.is_live() {
            return;
        }
        let mut entries = Vec::new();
        let mut bytes = 0;
        while let Some(next) = self.applying.queue.front() {
            if bytes > 0 && bytes + next.size_bytes > limits::REPLAY_PAGE_BYTES {
                break;
            }
            if !self.may_apply_next() {
                break;
            }
            let next = self.applying.queue.pop_front().expect("just seen");
            bytes += next.size_bytes;
            if let Barrier::Membership(change) = next.barrier {
                self.applying.changes.insert(next.entry.index, change);
            }
            entries.push(next.entry);
        }
        if !entries.is_empty() {
            let state = self.state.take().expect("checked above");
            self.applying.queued_bytes -= bytes;
            self.applying.out_bytes = bytes;
            self.effects.push(Effect::Apply(Box::new(ApplyTask { state, entries })));
        }
    }

    /// Before an entry that changes configuration or bounds is applied, a hard state that commits it is synced: after a
    /// restart the old configuration must not come back. Before a split, the log instance must know the right side too.
    fn may_apply_next(&mut self) -> bool {
        let Some(next) = self.applying.queue.front() else { return false };
        let index = next.entry.index;
        match &next.barrier {
            Barrier::None => true,
            Barrier::Membership(_) => self.commit_is_durable(index),
            Barrier::Split(split) => {
                if self.applying.split_prepared == Some(index) && self.disk.durable.commit >= index {
                    return true;
                }
                if self.applying.split_asked != Some(index) {
                    let ops: Vec<LogOp> = split::right_log(split, self.id);
                    self.applying.split_asked = Some(index);
                    self.write_aside(ops, After::SplitPrepared(index));
                }
                false
            }
        }
    }

    /// A task is done. A result that is not of the task that is out (of an earlier replica on this store) is none of ours.
    pub(crate) fn applied(&mut self, applied: Applied, view: &StoreView<'_>) {
        let next = self.raw.raft.raft_log.applied + 1;
        let first = applied.results.first().map(|r| r.index.0);
        if self.state.is_some() || self.phase.is_installing() || first.is_some_and(|first| first != next) {
            tracing::warn!(range = %self.descriptor.range, ?first, next, "a stray result of apply");
            return;
        }
        self.applying.out_bytes = 0;
        let Some(last) = applied.results.last().map(|r| r.index) else {
            self.state = Some(applied.state);
            return;
        };
        self.summary = Summary::of(&applied.state);
        self.hlc.observe(applied.state.last_timestamp);
        for result in &applied.results {
            let changed = match &result.change {
                AppliedChange::Membership(descriptor) | AppliedChange::Split { left: descriptor, .. } => descriptor,
                _ => continue,
            };
            let before = std::mem::replace(&mut self.descriptor, changed.clone());
            self.applying.descriptor_index = result.index;
            if let Err(reason) = self.reconfigure_raft(result.index) {
                self.quarantine(reason);
                return;
            }
            let removed: Vec<_> =
                before.replicas.into_iter().filter(|r| changed.replica(r.replica).is_none()).collect();
            self.bid_farewell(&removed);
        }
        self.pipeline_applied(&applied, view);
        let Applied { state, results } = applied;
        self.state = Some(state);
        self.raw.advance_apply_to(last.0);
        let conf = convert::conf_state(&self.descriptor);
        self.raw.mut_store().applied_to(last, &conf, view.room);
        self.note_leadership(view);
        for result in &results {
            self.follow_change(result, view);
        }
    }

    /// Tells raft of a change of the configuration that was applied, and compares what it makes of it.
    fn reconfigure_raft(&mut self, index: LogIndex) -> Result<(), String> {
        let Some(change) = self.applying.changes.remove(&index) else { return Ok(()) };
        let raft =
            self.raw.apply_conf_change(&change).map_err(|e| format!("raft refuses the change at {index}: {e}"))?;
        let ours = convert::conf_state(&self.descriptor);
        if !convert::same_configuration(&raft, &ours) {
            return Err(format!("raft's configuration {raft:?} is not the descriptor's {ours:?}"));
        }
        Ok(())
    }
}
