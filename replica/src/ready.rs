//! Between raft-rs and the disk: what is written, what is sent, and what waits for what.
//!
//! raft-rs hands out a *ready*: entries and a hard state to write, messages to send at once, messages that wait for the
//! write, committed entries. This file turns each into a batch of log operations with a token, and keeps, in a queue by
//! token, what follows when that write is synced. The worker's batch carries the operations of all of its ranges, so
//! nobody waits for a disk here: `persisted` comes back as an input.
//!
//! Three orders make it safe.
//!
//! - **Disk before word** (docs/replication.md#disk-before-word). A follower's acknowledgement and a vote wait in the
//!   queue until their write is synced. A ready that needs no write of its own waits behind the one before it, since it
//!   may speak of that.
//! - **Report before release.** raft-rs is told of a finished write before the messages that waited for it leave. The
//!   other way round an answer could arrive that speaks of a write of which raft-rs does not know, and it panics.
//! - **Term before append** (docs/replication.md#term-on-disk-before-append). A leader's appends leave at once, beside
//!   its own write, so that its own disk is only one of the quorum. But nothing leaves in a term that the disk does not
//!   know yet.
//!
//! While a snapshot is being installed, everything behind it waits, and the hard state keeps its old commit index: the
//! log on disk does not reach the new one. Before an entry that changes configuration or bounds is applied,
//! `commit_is_durable` asks for a hard state that commits it (docs/replication.md#commit-synced-before-change).
//!
//! Envelopes are made here as well: to each message the range, both ends, the stamp on acknowledgements, and the
//! descriptor, for whoever may not know it. Some messages are seen to as they pass. A snapshot becomes a request to the
//! store, which builds and sends one. Proposals and reads are dropped: they are never forwarded as raft messages. The
//! word to campaign ends the lease before it leaves.
//!
//! What it does not do. It does not decide what to write; raft-rs does. It does not sync; one thread does that for all
//! ranges (docs/replication.md#one-sync-for-all). It does not read entries from disk: what a lagging follower needs is
//! asked for, and offered to raft-rs when it is there.
//!
//! Where it is from. The leader that writes in parallel with its followers is in chapter 10 of Ongaro's dissertation
//! (2014); asynchronous writes with numbered readies are raft-rs's, made for TiKV.

use std::collections::VecDeque;

use holdfast_types::storage::{HardState, LogEntry, LogOp, ReplicaRecord, SnapshotId};
use holdfast_types::{LogIndex, StoreId, Term};
use raft::eraftpb::{Message, MessageType};
use raft::{Ready, StateRole};

use crate::convert;
use crate::effect::Effect;
use crate::gate::is_response;
use crate::input::{PersistToken, RaftEnvelope};
use crate::replica::Replica;
use crate::view::StoreView;

/// What else follows when a write is synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum After {
    /// Nothing.
    Nothing,
    /// Everything behind it waits until this snapshot is installed.
    Install(SnapshotId),
    /// The snapshot is in place, and so says the log instance.
    Installed,
    /// The tombstone stands.
    Destroyed,
    /// What a split needs in the log instance is there.
    SplitPrepared(LogIndex),
}

#[derive(Debug)]
struct Write {
    token: PersistToken,
    /// raft's number of what is written; 0 when raft did not ask for it.
    ready: u64,
    hard_state: Option<HardState>,
    after: After,
    synced: bool,
    held: Vec<(StoreId, RaftEnvelope, MessageType)>,
}

/// What is on its way to the log instance.
///
/// Invariants:
/// - tokens grow; writes are released in their order
/// - `durable` was synced; `written` is what the newest write says
#[derive(Debug)]
pub(crate) struct Disk {
    next_token: u64,
    outstanding: VecDeque<Write>,
    pub(crate) written: HardState,
    pub(crate) durable: HardState,
    /// The write of the tombstone, while it is on its way.
    pub(crate) tombstone: Option<PersistToken>,
}

impl Disk {
    pub(crate) fn new(durable: HardState) -> Self {
        Self { next_token: 1, outstanding: VecDeque::new(), written: durable, durable, tombstone: None }
    }

    pub(crate) fn is_synced(&self) -> bool {
        self.outstanding.is_empty()
    }

    /// Writes that are on their way.
    pub(crate) fn depth(&self) -> usize {
        self.outstanding.iter().filter(|w| !w.synced).count()
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        if self.durable.commit > self.written.commit || self.durable.term > self.written.term {
            return Err(format!("durable {:?} is ahead of written {:?}", self.durable, self.written));
        }
        if !self.outstanding.iter().zip(self.outstanding.iter().skip(1)).all(|(a, b)| a.token <= b.token) {
            return Err("writes are out of order".into());
        }
        Ok(())
    }
}

impl Replica {
    /// Takes everything out of raft that it has ready.
    pub(crate) fn drain_raft(&mut self, view: &StoreView<'_>) {
        while self.raw.has_ready() {
            let ready = self.raw.ready();
            self.take_ready(ready, view);
            self.sync_role(view);
        }
        self.follow_up_fetches();
    }

    fn take_ready(&mut self, mut ready: Ready, view: &StoreView<'_>) {
        // Role first: what a new leader sends is stamped and filtered as a leader's.
        self.sync_role(view);
        for state in ready.take_read_states() {
            self.read_confirmed(state.index, &state.request_ctx);
        }
        let number = ready.number();
        let at_once = ready.take_messages();
        let persisted = ready.take_persisted_messages();
        let committed = ready.take_committed_entries();
        self.enqueue_committed(committed);

        let mut ops = Vec::new();
        let mut after = After::Nothing;
        if !ready.snapshot().is_empty() {
            let (op, snapshot) = self.begin_install(ready.snapshot());
            ops.push(op);
            after = After::Install(snapshot);
        }
        if !ready.entries().is_empty() {
            let entries: Vec<LogEntry> = ready.entries().iter().map(convert::to_log_entry).collect();
            ops.push(LogOp::Append { range: self.descriptor.range, entries });
            self.raw.mut_store().append(ready.entries());
        }
        let must_sync = ready.must_sync();
        let raw = self.raw.raft.hard_state();
        self.raw.advance_append_async(ready);

        let state = self.hard_state_to_write(&raw);
        // A leader sends before its own write, but nothing in a term that the disk does not know yet.
        let known_term = (state.term, state.vote) == (self.disk.durable.term, self.disk.durable.vote);
        let (now, later) = if known_term { (at_once, Vec::new()) } else { (Vec::new(), at_once) };
        self.send_all(now, view);
        let held = self.envelopes(later.into_iter().chain(persisted), view);
        if must_sync || !ops.is_empty() {
            self.write(ops, state, number, after, held);
        } else {
            self.hold_or_send(number, held);
        }
    }

    /// What waits for the disk but needs no write of its own waits for the writes before it.
    fn hold_or_send(&mut self, number: u64, held: Vec<(StoreId, RaftEnvelope, MessageType)>) {
        let Some(last) = self.disk.outstanding.back() else {
            self.raw.on_persist_ready(number);
            self.release(held);
            return;
        };
        let (token, synced) = (last.token, last.synced);
        let after = After::Nothing;
        self.disk.outstanding.push_back(Write { token, ready: number, hard_state: None, after, synced, held });
    }

    /// Asks for a write; the hard state goes along when it changed.
    fn write(
        &mut self,
        mut ops: Vec<LogOp>,
        state: HardState,
        ready: u64,
        after: After,
        held: Vec<(StoreId, RaftEnvelope, MessageType)>,
    ) {
        let hard_state = (state != self.disk.written).then_some(state);
        if let Some(state) = hard_state {
            ops.push(LogOp::SetHardState { range: self.descriptor.range, state });
            self.disk.written = state;
        }
        let token = PersistToken(self.disk.next_token);
        self.disk.next_token += 1;
        if after == After::Destroyed {
            self.disk.tombstone = Some(token);
        }
        self.disk.outstanding.push_back(Write { token, ready, hard_state, after, synced: false, held });
        self.effects.push(Effect::Persist { token, ops });
    }

    /// A write that raft did not ask for, with today's hard state.
    pub(crate) fn write_aside(&mut self, ops: Vec<LogOp>, after: After) {
        let raw = self.raw.raft.hard_state();
        let state = match after {
            After::Installed => convert::to_hard_state(&raw),
            // A tombstone removes the hard state with the log: nothing may be written beside it.
            After::Destroyed => self.disk.written,
            _ => self.hard_state_to_write(&raw),
        };
        self.write(ops, state, 0, after, Vec::new());
    }

    /// While a snapshot is being installed the log does not reach it: the commit index must not either.
    fn hard_state_to_write(&self, raw: &raft::eraftpb::HardState) -> HardState {
        let state = convert::to_hard_state(raw);
        if self.phase.is_installing() { HardState { commit: self.disk.written.commit, ..state } } else { state }
    }

    /// True when the commit index up to `index` would survive a crash; asks for it when not.
    pub(crate) fn commit_is_durable(&mut self, index: LogIndex) -> bool {
        if self.disk.durable.commit >= index {
            return true;
        }
        if self.disk.written.commit < index {
            self.write_aside(Vec::new(), After::Nothing);
        }
        false
    }

    /// Writes up to `token` are synced.
    pub(crate) fn persisted(&mut self, token: PersistToken, view: &StoreView<'_>) {
        let mut afters = Vec::new();
        for write in self.disk.outstanding.iter_mut().filter(|w| w.token <= token && !w.synced) {
            write.synced = true;
            if let Some(state) = write.hard_state {
                self.disk.durable = state;
            }
            afters.push(write.after);
        }
        for after in afters {
            match after {
                After::Nothing => {}
                After::Install(snapshot) => self.effects.push(Effect::InstallSnapshot { snapshot }),
                After::Installed => self.finish_install(),
                // A destroyed replica takes no more steps: see `persisted_dead`.
                After::Destroyed => {}
                After::SplitPrepared(index) => self.applying.split_prepared = Some(index),
            }
        }
        self.release_writes(view);
    }

    /// Releases what is synced, in order; an install holds back all that follows until it is finished.
    pub(crate) fn release_writes(&mut self, view: &StoreView<'_>) {
        while self.disk.outstanding.front().is_some_and(|w| w.synced) {
            let waits = matches!(self.disk.outstanding[0].after, After::Install(_)) && self.phase.is_installing();
            if waits {
                return;
            }
            let write = self.disk.outstanding.pop_front().expect("just seen");
            if write.ready != 0 {
                self.raw.on_persist_ready(write.ready);
            }
            if let (After::Install(_), Some(state)) = (write.after, &self.state) {
                self.raw.advance_apply_to(state.applied.0);
            }
            self.release(write.held);
            self.drain_raft(view);
        }
    }

    fn release(&mut self, held: Vec<(StoreId, RaftEnvelope, MessageType)>) {
        let sends =
            held.into_iter().map(|(to, envelope, kind)| Effect::Send { to, cause: convert::cause(kind), envelope });
        self.effects.extend(sends);
    }

    fn send_all(&mut self, messages: Vec<Message>, view: &StoreView<'_>) {
        let envelopes = self.envelopes(messages, view);
        self.release(envelopes);
    }

    /// Puts messages into envelopes, and takes those out that do not travel as messages.
    fn envelopes(
        &mut self,
        messages: impl IntoIterator<Item = Message>,
        view: &StoreView<'_>,
    ) -> Vec<(StoreId, RaftEnvelope, MessageType)> {
        let mut out = Vec::new();
        for message in messages {
            let Some(kind) = convert::message_type(&message) else { continue };
            match kind {
                // Proposals are never forwarded; reads neither.
                MessageType::MsgPropose | MessageType::MsgReadIndex | MessageType::MsgReadIndexResp => continue,
                MessageType::MsgSnapshot => {
                    self.request_snapshot_for(&message);
                    continue;
                }
                MessageType::MsgTimeoutNow => self.transfer_told(),
                MessageType::MsgRequestVoteResponse | MessageType::MsgRequestPreVoteResponse => {
                    let in_pre_vote = kind == MessageType::MsgRequestPreVoteResponse;
                    self.answered_candidate(message.reject, in_pre_vote, view.now);
                }
                _ => {}
            }
            let Some(to) = self.store_of(message.to) else { continue };
            let envelope = self.envelope(&message, kind);
            out.push((to, envelope, kind));
        }
        out
    }

    /// Where a replica lives: by the descriptor, else the leader that we hear, which may be newer than it.
    fn store_of(&self, replica: u64) -> Option<StoreId> {
        let named = self.descriptor.replica(holdfast_types::ReplicaId(replica)).map(|r| r.store);
        let strangers = self.following.strangers.get(&holdfast_types::ReplicaId(replica)).copied();
        named.or(strangers)
    }

    fn envelope(&self, message: &Message, kind: MessageType) -> RaftEnvelope {
        let behind = || {
            let progress = self.raw.raft.prs().get(message.to);
            progress.is_none_or(|p| p.committed_index < self.applying.descriptor_index.0)
        };
        let tell = match kind {
            _ if is_response(kind) => false,
            MessageType::MsgAppend | MessageType::MsgHeartbeat => behind(),
            _ => true,
        };
        let acknowledges = matches!(kind, MessageType::MsgAppendResponse | MessageType::MsgHeartbeatResponse);
        RaftEnvelope {
            range: self.descriptor.range,
            from: self.id,
            to: holdfast_types::ReplicaId(message.to),
            descriptor: tell.then(|| self.descriptor.clone()),
            stamp: self.following.stamp.filter(|_| acknowledges),
            message: convert::encode_message(message),
        }
    }

    /// Sends a message that raft did not make.
    pub(crate) fn send_to_store(&mut self, to: StoreId, message: &Message) {
        let Some(kind) = convert::message_type(message) else { return };
        let envelope = self.envelope(message, kind);
        self.effects.push(Effect::Send { to, cause: convert::cause(kind), envelope });
    }

    /// Hands a message to raft. What raft refuses is as good as lost on the way.
    pub(crate) fn step_raft(&mut self, message: Message) {
        if let Err(error) = self.raw.step(message) {
            tracing::debug!(range = %self.descriptor.range, %error, "raft refused a message");
        }
    }

    /// Asks for entries on disk that a follower needs; one request a follower at a time.
    fn follow_up_fetches(&mut self) {
        let wanted = self.raw.store().take_wanted();
        if wanted.is_empty() || self.raw.raft.state != StateRole::Leader {
            return;
        }
        let last = self.raw.store().last();
        let laggards: Vec<(u64, u64)> = self
            .raw
            .raft
            .prs()
            .iter()
            .filter(|(id, progress)| **id != self.id.0 && wanted.contains(&progress.next_idx))
            .map(|(id, progress)| (*id, progress.next_idx))
            .collect();
        for (id, first) in laggards {
            let to = holdfast_types::ReplicaId(id);
            if self.applying.fetching.insert(to, first).is_some_and(|before| before == first) {
                continue;
            }
            let max_bytes = usize::try_from(holdfast_types::limits::RAFT_MAX_MESSAGE_BYTES).expect("a small bound");
            let (first, last) = (LogIndex(first), LogIndex(last));
            self.effects.push(Effect::FetchEntries { to, first, last, max_bytes });
        }
    }

    /// Entries from disk are here: raft is given the chance to send them. Where they are not, it asks again with the follower's next
    /// answer.
    pub(crate) fn entries_fetched(&mut self, to: holdfast_types::ReplicaId, entries: Option<&[LogEntry]>) {
        let Some(first) = self.applying.fetching.remove(&to) else { return };
        let Some(entries) = entries else { return };
        if self.raw.raft.state != StateRole::Leader || self.raw.raft.prs().get(to.0).is_none() {
            return;
        }
        self.raw.mut_store().offer_fetched(first, entries);
        self.raw.raft.send_append(to.0);
        self.raw.mut_store().drop_fetched();
    }

    pub(crate) fn record_live(&self) -> LogOp {
        LogOp::SetReplica { range: self.descriptor.range, record: ReplicaRecord::Live { replica: self.id } }
    }

    pub(crate) fn term(&self) -> Term {
        Term(self.raw.raft.term)
    }
}
