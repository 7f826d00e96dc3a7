//! The sending half.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use holdfast_engine::{SnapshotId, SnapshotManifest};
use holdfast_replica::RaftEnvelope;
use holdfast_types::{KeyRange, Moment, RangeId, ReplicaId, StoreId, limits};

use super::{place_of, total_bytes};
use crate::core::message::SnapshotState;

/// Pieces on their way at a time: keeps a link of 50 ms and 40 MB/s busy.
const WINDOW_CHUNKS: u64 = 4;
/// An offer or a piece without progress is followed by a new offer after this, whose answer says where to go on.
const OFFER_AGAIN: Duration = Duration::from_secs(1);

/// One snapshot on its way out.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The range.
    pub range: RangeId,
    /// For which replica.
    pub to: ReplicaId,
    /// On which store.
    pub to_store: StoreId,
    stage: Stage,
    heard_at: Moment,
    offered_at: Moment,
}

#[derive(Clone, Debug)]
enum Stage {
    Building,
    Streaming {
        envelope: Box<RaftEnvelope>,
        manifest: Box<SnapshotManifest>,
        position: u64,
        acked: u64,
        accepted: bool,
    },
}

/// What the worker has to do for it.
#[derive(Clone, PartialEq, Debug)]
pub enum SendTask {
    /// Send the offer.
    Offer(StoreId, RaftEnvelope, Box<SnapshotManifest>),
    /// Read a piece.
    Read {
        /// Which snapshot.
        snapshot: SnapshotId,
        /// The file.
        file: usize,
        /// Where in it.
        offset: u64,
        /// At most this much.
        max_bytes: usize,
    },
    /// Send a piece.
    Chunk {
        /// Where to.
        to_store: StoreId,
        /// The range.
        range: RangeId,
        /// Which snapshot.
        snapshot: SnapshotId,
        /// The file.
        file: usize,
        /// Where in it.
        offset: u64,
        /// The bytes.
        data: Bytes,
        /// The last piece of the last file.
        last: bool,
    },
    /// Over: tell the replica, and drop what was built.
    Over {
        /// Which snapshot.
        snapshot: SnapshotId,
        /// The range.
        range: RangeId,
        /// For which replica.
        to: ReplicaId,
        /// Whether it has all of it.
        delivered: bool,
    },
}

/// Snapshots that a worker sends.
///
/// Invariants:
/// - at most one per (range, replica)
/// - of each at most `WINDOW_CHUNKS` pieces are unacknowledged
#[derive(Default, Debug)]
pub struct Sending {
    outgoing: BTreeMap<SnapshotId, Outgoing>,
    allowance: Allowance,
}

/// A bucket of bytes that fills with time.
#[derive(Default, Debug)]
struct Allowance {
    bytes: u64,
    filled_at: Moment,
}

impl Allowance {
    fn fill(&mut self, now: Moment) {
        let micros = u64::try_from(now.since(self.filled_at).as_micros()).unwrap_or(u64::MAX).min(1_000_000);
        self.bytes = (self.bytes + limits::SNAPSHOT_BYTES_PER_SECOND / 1_000_000 * micros)
            .min(limits::SNAPSHOT_BYTES_PER_SECOND / 4);
        self.filled_at = now;
    }
}

impl Sending {
    /// True when a snapshot for that replica is on its way.
    #[must_use]
    pub fn serves(&self, range: RangeId, to: ReplicaId) -> bool {
        self.outgoing.values().any(|o| o.range == range && o.to == to)
    }

    /// True when it was built of other bounds than the range has now.
    #[must_use]
    pub fn is_outdated(&self, snapshot: SnapshotId, bounds: Option<&KeyRange>) -> bool {
        let Some(Stage::Streaming { manifest, .. }) = self.outgoing.get(&snapshot).map(|out| &out.stage) else {
            return false;
        };
        bounds != Some(&manifest.bounds)
    }

    /// A snapshot is being built.
    pub fn begin(&mut self, snapshot: SnapshotId, range: RangeId, to: ReplicaId, to_store: StoreId, now: Moment) {
        let stage = Stage::Building;
        self.outgoing.insert(snapshot, Outgoing { range, to, to_store, stage, heard_at: now, offered_at: now });
    }

    /// What is known of one.
    #[must_use]
    pub fn get(&self, snapshot: SnapshotId) -> Option<&Outgoing> {
        self.outgoing.get(&snapshot)
    }

    /// It is built: offer it.
    pub fn built(
        &mut self,
        snapshot: SnapshotId,
        manifest: SnapshotManifest,
        envelope: RaftEnvelope,
        now: Moment,
    ) -> Vec<SendTask> {
        let Some(out) = self.outgoing.get_mut(&snapshot) else { return Vec::new() };
        let manifest = Box::new(manifest);
        let offer = SendTask::Offer(out.to_store, envelope.clone(), manifest.clone());
        out.stage = Stage::Streaming { envelope: Box::new(envelope), manifest, position: 0, acked: 0, accepted: false };
        (out.heard_at, out.offered_at) = (now, now);
        vec![offer]
    }

    /// The receiver says how far it has come.
    pub fn progress(
        &mut self,
        snapshot: SnapshotId,
        state: SnapshotState,
        received: &[u64],
        now: Moment,
    ) -> Vec<SendTask> {
        let Some(out) = self.outgoing.get_mut(&snapshot) else { return Vec::new() };
        let Stage::Streaming { position, acked, accepted, .. } = &mut out.stage else { return Vec::new() };
        match state {
            SnapshotState::Complete => return self.end(snapshot, true),
            SnapshotState::Refused => return self.end(snapshot, false),
            SnapshotState::Busy => return Vec::new(),
            SnapshotState::Receiving => {}
        }
        let there = received.iter().fold(0_u64, |sum, bytes| sum.saturating_add(*bytes));
        if !*accepted || there > *acked {
            out.heard_at = now;
        }
        // An answer to a repeated offer shows what got lost on the way.
        let stalled = now.since(out.offered_at) < OFFER_AGAIN && there < *position && there == *acked;
        *acked = there;
        if !*accepted || stalled {
            *position = there;
        }
        *accepted = true;
        self.pump(now)
    }

    /// A piece was read.
    pub fn read(&mut self, snapshot: SnapshotId, file: usize, offset: u64, data: Bytes) -> Vec<SendTask> {
        let Some(out) = self.outgoing.get(&snapshot) else { return Vec::new() };
        let Stage::Streaming { manifest, .. } = &out.stage else { return Vec::new() };
        let end = offset + data.len() as u64;
        let last = file + 1 >= manifest.files.len() && manifest.files.last().is_none_or(|f| end >= f.size_bytes);
        vec![SendTask::Chunk { to_store: out.to_store, range: out.range, snapshot, file, offset, data, last }]
    }

    /// It could not be built or read, or the replica does not lead any more.
    pub fn fail(&mut self, snapshot: SnapshotId) -> Vec<SendTask> {
        self.end(snapshot, false)
    }

    /// What was being built for a replica could not be.
    pub fn fail_of(&mut self, range: RangeId, to: ReplicaId) -> Vec<SendTask> {
        let found = self.outgoing.iter().find(|(_, o)| o.range == range && o.to == to).map(|(id, _)| *id);
        found.map_or_else(Vec::new, |snapshot| self.end(snapshot, false))
    }

    /// The range is gone from here: nothing of it is sent any more.
    pub fn forget_range(&mut self, range: RangeId) -> Vec<SendTask> {
        let of_range: Vec<_> = self.outgoing.iter().filter(|(_, o)| o.range == range).map(|(id, _)| *id).collect();
        of_range.into_iter().flat_map(|id| self.end(id, false)).collect()
    }

    /// Time has come: goes on with what the rate held back, offers again, gives up what is idle.
    pub fn tick(&mut self, now: Moment) -> Vec<SendTask> {
        let mut tasks = Vec::new();
        let idle =
            |o: &Outgoing| matches!(o.stage, Stage::Streaming { .. }) && now.since(o.heard_at) >= limits::SNAPSHOT_IDLE;
        let given_up: Vec<_> = self.outgoing.iter().filter(|(_, o)| idle(o)).map(|(id, _)| *id).collect();
        for snapshot in given_up {
            tasks.extend(self.end(snapshot, false));
        }
        for out in self.outgoing.values_mut() {
            let Stage::Streaming { envelope, manifest, .. } = &out.stage else { continue };
            let quiet_since = out.heard_at.max(out.offered_at);
            if now.since(quiet_since) >= OFFER_AGAIN {
                out.offered_at = now;
                tasks.push(SendTask::Offer(out.to_store, (**envelope).clone(), manifest.clone()));
            }
        }
        tasks.extend(self.pump(now));
        tasks
    }

    /// When [`Sending::tick`] has something to do.
    #[must_use]
    pub fn next_wake(&self, now: Moment) -> Option<Moment> {
        /// How long the bucket takes to fill for a piece.
        const FILL: Duration = Duration::from_millis(10);
        (!self.outgoing.is_empty()).then(|| now.after(if self.is_held_back() { FILL } else { OFFER_AGAIN / 4 }))
    }

    fn is_held_back(&self) -> bool {
        self.outgoing.values().any(|o| o.wants_piece()) && self.allowance.bytes < limits::SNAPSHOT_CHUNK_BYTES as u64
    }

    fn pump(&mut self, now: Moment) -> Vec<SendTask> {
        self.allowance.fill(now);
        let mut tasks = Vec::new();
        for (snapshot, out) in &mut self.outgoing {
            while out.wants_piece() && self.allowance.bytes >= limits::SNAPSHOT_CHUNK_BYTES as u64 {
                let Stage::Streaming { manifest, position, .. } = &mut out.stage else { break };
                let chunk = limits::SNAPSHOT_CHUNK_BYTES;
                let Some((file, offset)) = place_of(manifest, *position) else { break };
                let left = manifest.files[file].size_bytes - offset;
                let size = left.min(chunk as u64);
                *position += size;
                self.allowance.bytes -= size.min(self.allowance.bytes);
                tasks.push(SendTask::Read { snapshot: *snapshot, file, offset, max_bytes: chunk });
            }
        }
        tasks
    }

    fn end(&mut self, snapshot: SnapshotId, delivered: bool) -> Vec<SendTask> {
        let Some(out) = self.outgoing.remove(&snapshot) else { return Vec::new() };
        vec![SendTask::Over { snapshot, range: out.range, to: out.to, delivered }]
    }
}

impl Outgoing {
    fn wants_piece(&self) -> bool {
        let Stage::Streaming { manifest, position, acked, accepted, .. } = &self.stage else { return false };
        let window = WINDOW_CHUNKS * limits::SNAPSHOT_CHUNK_BYTES as u64;
        let total = total_bytes(manifest);
        *accepted && position.saturating_sub(*acked) < window && *position < total
    }
}
