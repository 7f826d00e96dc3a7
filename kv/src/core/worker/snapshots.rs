//! Snapshots: between replicas, the transfer machines and the disk.

use bytes::Bytes;
use holdfast_engine::{Fault, SnapshotId, SnapshotManifest};
use holdfast_replica::{Input, RaftEnvelope, RangeState, StagedSnapshot};
use holdfast_types::{RangeId, ReplicaId, StoreId};

use super::log::Then;
use super::{Cx, Worker};
use crate::core::effect::Effect;
use crate::core::message::{SnapshotState, StoreMessage};
use crate::core::snapshots::{SendTask, Taken};

impl Worker {
    /// A leader wants to send a snapshot; when too many are on their way it waits for its turn.
    pub(super) fn send_snapshot(&mut self, range: RangeId, to: ReplicaId, to_store: StoreId, cx: &Cx<'_>) {
        let queued = self.queued_snapshots.iter().any(|(r, t, _)| (*r, *t) == (range, to));
        if !queued && !self.sending.serves(range, to) {
            self.queued_snapshots.push_back((range, to, to_store));
        }
        self.begin_sending(cx);
    }

    fn begin_sending(&mut self, cx: &Cx<'_>) {
        while let Some((range, to, to_store)) = self.queued_snapshots.front().copied() {
            let Some(held) = self.held.get(&range) else {
                self.queued_snapshots.pop_front();
                continue;
            };
            if !self.shared.sending.take() {
                return;
            }
            self.queued_snapshots.pop_front();
            let bounds = held.standing.descriptor.bounds.clone();
            self.next_snapshot += 1;
            let snapshot = SnapshotId(
                u128::from(self.config.store.0) << 96
                    | u128::from(self.config.incarnation.0 & 0xffff_ffff) << 64
                    | u128::from(self.config.worker) << 48
                    | u128::from(self.next_snapshot),
            );
            self.sending.begin(snapshot, range, to, to_store, cx.now);
            self.out.push(Effect::BuildSnapshot { range, to, snapshot, bounds });
        }
    }

    pub(super) fn snapshot_built(
        &mut self,
        range: RangeId,
        to: ReplicaId,
        manifest: Result<SnapshotManifest, Fault>,
        cx: &Cx<'_>,
    ) {
        let made = manifest.map_err(|fault| fault.to_string()).and_then(|manifest| {
            let state = RangeState::decode(manifest.range_state.clone()).map_err(|bad| bad.to_string())?;
            let held = self.held.get(&range).ok_or("the replica is gone")?;
            let envelope = held.replica.snapshot_message(to, &state)?;
            Ok::<_, String>((manifest, envelope))
        });
        let tasks = match made {
            Ok((manifest, envelope)) => self.sending.built(manifest.id, manifest, envelope, cx.now),
            Err(why) => {
                tracing::warn!(%range, %to, why, "a snapshot was not made");
                self.sending.fail_of(range, to)
            }
        };
        self.do_send_tasks(tasks, cx);
    }

    pub(super) fn snapshot_read(
        &mut self,
        snapshot: SnapshotId,
        file: usize,
        offset: u64,
        data: Result<Bytes, Fault>,
        cx: &Cx<'_>,
    ) {
        let tasks = match data {
            Ok(data) => self.sending.read(snapshot, file, offset, data),
            Err(fault) => {
                tracing::warn!(?snapshot, %fault, "a snapshot could not be read");
                self.sending.fail(snapshot)
            }
        };
        self.do_send_tasks(tasks, cx);
    }

    /// The receiver of a snapshot says how far it is.
    pub(super) fn take_progress(
        &mut self,
        range: RangeId,
        snapshot: SnapshotId,
        state: SnapshotState,
        received: &[u64],
        cx: &Cx<'_>,
    ) {
        let bounds = self.held.get(&range).map(|held| &held.standing.descriptor.bounds);
        let tasks = if state == SnapshotState::Busy && self.sending.is_outdated(snapshot, bounds) {
            // The range was split since: its right side may live there already, and what was built would never be taken.
            self.sending.fail(snapshot)
        } else {
            self.sending.progress(snapshot, state, received, cx.now)
        };
        self.do_send_tasks(tasks, cx);
    }

    pub(super) fn do_send_tasks(&mut self, tasks: Vec<SendTask>, cx: &Cx<'_>) {
        for task in tasks {
            match task {
                SendTask::Offer(to, envelope, manifest) => {
                    self.send(to, StoreMessage::SnapshotOffer { envelope, manifest });
                }
                SendTask::Read { snapshot, file, offset, max_bytes } => {
                    self.out.push(Effect::ReadSnapshot { snapshot, file, offset, max_bytes });
                }
                SendTask::Chunk { to_store, range, snapshot, file, offset, data, last } => {
                    self.send(to_store, StoreMessage::SnapshotChunk { range, snapshot, file, offset, data, last });
                }
                SendTask::Over { snapshot, range, to, delivered } => {
                    self.shared.sending.give_back();
                    self.out.push(Effect::DropSnapshot { snapshot });
                    self.push(range, Input::SnapshotSent { to, delivered });
                    self.begin_sending(cx);
                }
            }
        }
    }

    /// Another store offers a snapshot.
    pub(super) fn take_offer(
        &mut self,
        from: StoreId,
        envelope: RaftEnvelope,
        manifest: SnapshotManifest,
        cx: &Cx<'_>,
    ) {
        let (range, snapshot) = (manifest.range, manifest.id);
        if range != envelope.range {
            return;
        }
        if !self.held.contains_key(&range) {
            // It may be the first that is heard of the range. The offer is repeated; by then the learner is there.
            self.take_stranger(from, envelope, cx);
            return self.tell_progress(from, range, snapshot, SnapshotState::Busy);
        }
        let fits = self.held.get(&range).is_some_and(|held| held.id == envelope.to && held.recorded);
        if !fits || self.shared.spans.holder(range, &manifest.bounds).is_some() {
            return self.tell_progress(from, range, snapshot, SnapshotState::Busy);
        }
        let known = self.receiving.get(snapshot).is_some();
        if !known && !self.shared.receiving.take() {
            return self.tell_progress(from, range, snapshot, SnapshotState::Busy);
        }
        let (taken, gave_way) = self.receiving.offer(from, envelope, &manifest, cx.now);
        for other in gave_way {
            self.end_receiving(other);
        }
        match taken {
            Taken::Begin => self.out.push(Effect::BeginInstall { manifest: Box::new(manifest) }),
            Taken::Known => self.tell_received(snapshot),
            Taken::Busy => {
                self.shared.receiving.give_back();
                self.tell_progress(from, range, snapshot, SnapshotState::Busy);
            }
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of one message")]
    pub(super) fn take_chunk(
        &mut self,
        from: StoreId,
        range: RangeId,
        snapshot: SnapshotId,
        file: usize,
        offset: u64,
        data: Bytes,
        last: bool,
        cx: &Cx<'_>,
    ) {
        if self.receiving.get(snapshot).is_none() {
            self.tell_progress(from, range, snapshot, SnapshotState::Refused);
        } else if self.receiving.chunk(snapshot, file, offset, data.len(), cx.now) {
            self.out.push(Effect::StoreSnapshot { snapshot, file, offset, data, last });
        }
        // A piece out of its turn is not answered: it may be small, and the answer has a number for every file. The sender hears of what is
        // missing by the answer to its next offer.
    }

    pub(super) fn snapshot_stored(
        &mut self,
        snapshot: SnapshotId,
        received: Result<Vec<u64>, Fault>,
        verified: bool,
        cx: &Cx<'_>,
    ) {
        let received = match received {
            Ok(received) => received,
            Err(fault) => {
                tracing::warn!(?snapshot, %fault, "a snapshot could not be stored");
                if let Some(incoming) = self.receiving.end(snapshot) {
                    self.end_receiving(snapshot);
                    self.tell_progress(incoming.from, incoming.manifest.range, snapshot, SnapshotState::Refused);
                }
                return;
            }
        };
        let Some(incoming) = self.receiving.stored(snapshot, received) else { return };
        if !verified {
            let files = incoming.manifest.files.len();
            let last = incoming.received.last().copied().unwrap_or(0);
            self.tell_received(snapshot);
            if self.receiving.ask_to_verify(snapshot) {
                // All of it was here before (a transfer that was cut short at its very end): only the check is missing.
                let (file, data) = (files.saturating_sub(1), Bytes::new());
                self.out.push(Effect::StoreSnapshot { snapshot, file, offset: last, data, last: true });
            }
            return;
        }
        if std::mem::replace(&mut incoming.staged, true) {
            return;
        }
        let (from_store, envelope, range) = (incoming.from, incoming.envelope.clone(), incoming.manifest.range);
        let staged = StagedSnapshot { snapshot, range_state: incoming.manifest.range_state.clone() };
        let bounds = incoming.manifest.bounds.clone();
        // From here on its keys are this range's, and so is whatever the range held before: the replica may decline the snapshot, and
        // until it is in place a split may still be applied that gives a part of them to another range.
        if !self.held.contains_key(&range) || self.shared.spans.claim_too(range, &bounds).is_err() {
            self.receiving.end(snapshot);
            self.end_receiving(snapshot);
            return self.tell_progress(from_store, range, snapshot, SnapshotState::Refused);
        }
        self.tell_progress(from_store, range, snapshot, SnapshotState::Complete);
        self.push(range, Input::SnapshotStaged { from_store, envelope, staged });
        self.run_inputs(cx);
    }

    pub(super) fn snapshot_installed(
        &mut self,
        range: RangeId,
        snapshot: SnapshotId,
        range_state: Result<Bytes, Fault>,
        cx: &Cx<'_>,
    ) {
        if self.receiving.end(snapshot).is_some() {
            self.shared.receiving.give_back();
        }
        match range_state.map(|bytes| RangeState::decode(bytes).map_err(|bad| bad.to_string())) {
            Ok(Ok(state)) => {
                self.note_versions(range, &state);
                // What it held before and the snapshot does not is gone: whoever is to have that may come.
                if self.held.contains_key(&range) && self.shared.spans.claim(range, &state.descriptor.bounds).is_err() {
                    let what = format!("a snapshot of {range} was installed over keys of another range");
                    self.out.push(Effect::Alarm { range: Some(range), what });
                }
                self.push(range, Input::SnapshotInstalled { snapshot });
                self.unpark_all(cx);
            }
            // Nothing is wrong with the data, and there may be room later. Until then the replica waits, and so do its messages.
            Err(fault) if !fault.is_of_data() => {
                tracing::warn!(%range, %fault, "a snapshot is not in place yet");
                return self.installs_again.push((range, snapshot));
            }
            Err(fault) => self.install_failed(range, &fault.to_string()),
            Ok(Err(bad)) => self.install_failed(range, &bad),
        }
        self.run_inputs(cx);
        // What was staged is needed until the log instance, too, says that it is in place: then a restart does not repeat it.
        self.log.add(Vec::new(), Then::Drop(snapshot));
    }

    /// Tries again what failed for want of space, descriptors or memory.
    pub(super) fn install_again(&mut self) {
        for (range, snapshot) in std::mem::take(&mut self.installs_again) {
            if self.held.contains_key(&range) {
                self.out.push(Effect::InstallSnapshot { range, snapshot });
            } else {
                self.out.push(Effect::DropSnapshot { snapshot });
            }
        }
    }

    fn install_failed(&mut self, range: RangeId, reason: &str) {
        self.push(range, Input::Damaged { reason: format!("a snapshot could not be installed: {reason}") });
    }

    pub(super) fn snapshots_due(&mut self, cx: &Cx<'_>) {
        let tasks = self.sending.tick(cx.now);
        self.do_send_tasks(tasks, cx);
        self.begin_sending(cx);
        for snapshot in self.receiving.expire(cx.now) {
            self.end_receiving(snapshot);
        }
    }

    /// The replica did not take what was staged: its keys are what they were.
    pub(super) fn snapshot_declined(&mut self, range: RangeId, snapshot: SnapshotId) {
        if let Some(held) = self.held.get(&range) {
            // Nobody else can have come to hold its own keys meanwhile.
            let _ = self.shared.spans.claim(range, &held.standing.descriptor.bounds);
        }
        if let Some(incoming) = self.receiving.end(snapshot) {
            self.end_receiving(snapshot);
            self.tell_progress(incoming.from, range, snapshot, SnapshotState::Refused);
        }
    }

    /// A received snapshot is over without having been installed.
    pub(super) fn end_receiving(&mut self, snapshot: SnapshotId) {
        self.shared.receiving.give_back();
        self.out.push(Effect::DropSnapshot { snapshot });
    }

    fn tell_received(&mut self, snapshot: SnapshotId) {
        let Some(incoming) = self.receiving.get(snapshot) else { return };
        let state = if incoming.staged { SnapshotState::Complete } else { SnapshotState::Receiving };
        let (to, range, received) = (incoming.from, incoming.manifest.range, incoming.received.clone());
        self.send(to, StoreMessage::SnapshotProgress { range, snapshot, state, received });
    }

    fn tell_progress(&mut self, to: StoreId, range: RangeId, snapshot: SnapshotId, state: SnapshotState) {
        self.send(to, StoreMessage::SnapshotProgress { range, snapshot, state, received: Vec::new() });
    }
}
