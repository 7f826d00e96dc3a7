//! Snapshots as a replica sees them: asking for one to be sent, and taking one in. The data travels beside raft-rs,
//! which sees positions only.
//!
//! When the log does not reach back to what a follower needs, raft-rs makes a snapshot message. It is empty here: the
//! store builds the data from one view, and the message gets its index, term and configuration from what was built, not
//! from what raft-rs thought a moment before (docs/replication.md#snapshot-is-one-view). The transfer itself (`kv`)
//! goes in acknowledged pieces. When all of them are on the receiver's disk and verified, the snapshot is *staged*, and
//! this file decides.
//!
//! Taking it in has five steps, and a crash between any two of them is harmless
//! (docs/replication.md#mark-before-install):
//!
//! 1. The message passes the gate like any other, and must agree with the staged data, which must name this replica.
//!    Nothing is being applied meanwhile.
//! 2. raft-rs takes it, or ignores it because it has as much. If it does, the replica's memory moves to the new
//!    position, and a mark that an install is under way is written.
//! 3. The mark is synced. Only then does the store put the data in place, by one ingest that replaces the whole span.
//! 4. The log instance is told: the log starts at the snapshot's position, and the mark goes.
//! 5. That is synced. The replica goes on from there, and everything that waited behind the install is released.
//!
//! Before step 3 the old data and the old log are whole. After it, the mark makes the next start repeat the ingest,
//! which is idempotent. Until step 5 the hard state keeps its old commit index, because the log on disk does not reach
//! the new one.
//!
//! Whatever comes of a transfer is reported, to raft-rs on the leader and to the store on the receiver
//! (docs/replication.md#snapshot-outcome-is-reported). A leader that hears of no outcome would wait for ever, and a
//! staged snapshot that nobody takes or declines would keep its keys from all others.
//!
//! What it does not do. It does not move bytes or limit rates; `kv/src/core/snapshots.rs` does. It does not decide
//! which keys it may write over; `kv/src/core/shared.rs` does (docs/replication.md#keys-have-one-owner). It takes no
//! snapshot from anybody but a leader, and sends none from followers.
//!
//! Where it is from. Log compaction by snapshots is Raft's (Ongaro and Ousterhout, USENIX ATC 2014). Data beside the
//! log, in sorted files that are ingested behind a persistent mark, follows TiKV.

use holdfast_types::storage::{LogOp, LogStart, ReplicaRecord, SnapshotId};
use holdfast_types::{ReplicaId, StoreId};
use raft::SnapshotStatus;
use raft::eraftpb::{Message, MessageType, Snapshot};

use crate::convert;
use crate::effect::Effect;
use crate::gate::Verdict;
use crate::input::{RaftEnvelope, StagedSnapshot};
use crate::range_state::RangeState;
use crate::ready::After;
use crate::replica::{Phase, Replica, Summary};
use crate::view::{EntryRoom, StoreView};

/// A snapshot that arrived while entries are being applied.
#[derive(Debug)]
pub(crate) struct Arrived {
    from_store: StoreId,
    envelope: RaftEnvelope,
    staged: StagedSnapshot,
}

/// A snapshot on its way into the data instance.
#[derive(Debug)]
pub(crate) struct Install {
    snapshot: SnapshotId,
    state: RangeState,
}

impl Replica {
    /// raft wants `message.to` to have a snapshot: the store builds and sends it.
    pub(crate) fn request_snapshot_for(&mut self, message: &Message) {
        let to = ReplicaId(message.to);
        let at_least = message.snapshot.as_ref().and_then(|s| s.metadata.as_ref()).map_or(0, |m| m.index);
        let Some(target) = self.descriptor.replica(to) else { return };
        let at_least = holdfast_types::LogIndex(at_least);
        self.effects.push(Effect::SendSnapshot { to_store: target.store, to, at_least });
    }

    /// The raft message that goes with a built snapshot, its position read from what was built. Refused when this replica does
    /// not lead any more.
    pub fn snapshot_message(&self, to: ReplicaId, range_state: &RangeState) -> Result<RaftEnvelope, String> {
        if self.leading.is_none() {
            return Err(format!("{} is not led here any more", self.descriptor.range));
        }
        let mut snapshot = Snapshot::default();
        let metadata = snapshot.mut_metadata();
        metadata.index = range_state.applied.0;
        metadata.term = range_state.applied_term.0;
        metadata.conf_state = Some(convert::conf_state(&range_state.descriptor));
        let message = Message {
            msg_type: MessageType::MsgSnapshot.into(),
            to: to.0,
            from: self.id.0,
            term: self.raw.raft.term,
            snapshot: Some(snapshot),
            ..Message::default()
        };
        Ok(RaftEnvelope {
            range: self.descriptor.range,
            from: self.id,
            to,
            descriptor: Some(self.descriptor.clone()),
            stamp: None,
            message: convert::encode_message(&message),
        })
    }

    pub(crate) fn snapshot_sent(&mut self, to: ReplicaId, delivered: bool) {
        let status = if delivered { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
        self.raw.report_snapshot(to.0, status);
    }

    /// A snapshot is staged. It waits for the apply task that is out: both would write the range's state.
    pub(crate) fn snapshot_staged(
        &mut self,
        from_store: StoreId,
        envelope: RaftEnvelope,
        staged: StagedSnapshot,
        view: &StoreView<'_>,
    ) {
        if let Some(earlier) = self.incoming.arrived.replace(Arrived { from_store, envelope, staged }) {
            self.decline(earlier.staged.snapshot);
        }
        self.take_arrived(view);
    }

    pub(crate) fn take_arrived(&mut self, view: &StoreView<'_>) {
        if self.state.is_none() || !self.is_live() || self.phase.is_installing() {
            return;
        }
        let Some(Arrived { from_store, envelope, staged }) = self.incoming.arrived.take() else { return };
        let Ok(state) = RangeState::decode(staged.range_state.clone()) else {
            tracing::warn!(range = %self.descriptor.range, "a staged snapshot has no readable range state");
            return self.decline(staged.snapshot);
        };
        match self.judge(from_store, &envelope) {
            Verdict::Pass(MessageType::MsgSnapshot, message) if fits(&message, &state, self.id) => {
                self.incoming.staged = Some(Install { snapshot: staged.snapshot, state });
                self.following.remember_stranger(ReplicaId(message.from), from_store);
                self.step_leader_message(from_store, *message, view);
                self.drain_raft(view);
                if self.incoming.staged.take().is_some() {
                    // raft ignored it: it has all of that already, or has heard of a later term.
                    self.decline(staged.snapshot);
                }
            }
            Verdict::Removed => self.destroy(),
            verdict => {
                tracing::debug!(range = %self.descriptor.range, ?verdict, "a snapshot was not taken");
                self.decline(staged.snapshot);
            }
        }
    }

    fn decline(&mut self, snapshot: SnapshotId) {
        self.effects.push(Effect::DeclineSnapshot { snapshot });
    }

    /// raft took the staged snapshot: the mark that it is being installed is written first.
    pub(crate) fn begin_install(&mut self, _snapshot: &Snapshot) -> (LogOp, SnapshotId) {
        let install = self.incoming.staged.take().expect("raft only sees snapshots that are staged");
        let snapshot = install.snapshot;
        self.applying.drop_queue();
        self.abandon_pipeline("the range was given a snapshot");
        self.state = None;
        let start = LogStart { index: install.state.applied, term: install.state.applied_term };
        self.raw.mut_store().reset_to(start);
        self.phase = Phase::Installing(Box::new(install));
        let record = ReplicaRecord::Installing { replica: self.id, snapshot };
        (LogOp::SetReplica { range: self.descriptor.range, record }, snapshot)
    }

    /// The data instance has it: the log instance follows.
    pub(crate) fn snapshot_installed(&mut self, snapshot: SnapshotId) {
        let Phase::Installing(install) = &self.phase else { return };
        if install.snapshot != snapshot {
            return;
        }
        let start = LogStart { index: install.state.applied, term: install.state.applied_term };
        let range = self.descriptor.range;
        // What the snapshot replaced goes: the log's term at its position differs.
        let ops = vec![LogOp::SetStart { range, start }, self.record_live()];
        self.write_aside(ops, After::Installed);
    }

    /// Both instances have it: go on from there.
    pub(crate) fn finish_install(&mut self) {
        let Phase::Installing(install) = std::mem::replace(&mut self.phase, Phase::Live) else { return };
        let state = install.state;
        self.descriptor = state.descriptor.clone();
        self.applying.descriptor_index = state.applied;
        self.summary = Summary::of(&state);
        self.hlc.observe(state.last_timestamp);
        let conf = convert::conf_state(&state.descriptor);
        self.raw.mut_store().applied_to(state.applied, &conf, EntryRoom::Plenty);
        self.state = Some(state);
    }
}

/// The message and the data must be of the same position, and the data must know us.
fn fits(message: &Message, state: &RangeState, me: ReplicaId) -> bool {
    let Some(metadata) = message.snapshot.as_ref().and_then(|s| s.metadata.as_ref()) else { return false };
    let conf = convert::conf_state(&state.descriptor);
    state.is_told()
        && metadata.index == state.applied.0
        && metadata.term == state.applied_term.0
        && metadata.conf_state.as_ref().is_some_and(|c| convert::same_configuration(c, &conf))
        && state.descriptor.replica(me).is_some()
}
