//! Everything that a worker asks its driver to do. Effects of one round are carried out in order.

use std::sync::Arc;

use bytes::Bytes;
use holdfast_engine::{DataSnapshot, Fault, LogOp, SnapshotId, SnapshotManifest};
use holdfast_placement::{Headroom, SiteTrust, StoreRecord};
use holdfast_replica::{ApplyTask, Evaluation, Standing};
use holdfast_types::{
    KeyRange, LogIndex, RangeDescriptor, RangeId, RangeRequest, Rejected, ReplicaId, Response, StoreId, Timestamp,
};
use std::collections::BTreeSet;

use super::event::{BatchId, Newborn, ReadTicket, RequestTicket};
use super::garbage::GarbageSearch;
use super::message::{RangeHint, StoreMessage};
use super::placement_loop::PlanTask;
use super::seen::Outdated;
use crate::ports::Class;

/// Why bytes cross between stores.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TrafficCause {
    /// Entries and acknowledgements.
    Append,
    /// Heartbeats and pings.
    Heartbeat,
    /// Votes and transfers.
    Election,
    /// Requests and answers passed on.
    Forward,
    /// Snapshots.
    Snapshot,
    /// Reports, operators, look-ups.
    Placement,
}

/// What an administrative request was answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AdminOutcome {
    /// The range as it is now.
    pub descriptor: RangeDescriptor,
}

/// What the placement loop does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PlacementNews {
    /// It began to change a range.
    Begun {
        /// Which.
        range: RangeId,
        /// The operator, for people.
        what: String,
    },
    /// A change that was told of is over.
    Ended {
        /// Of which range.
        range: RangeId,
        /// The operator, for people.
        what: String,
        /// `None`: its first step is done; else why it is not.
        why_not: Option<String>,
    },
    /// What the survivors have to spare, for the loss of each site.
    Headroom(Vec<Headroom>),
}

/// A read that may be served: run `holdfast_replica::serve_read` on the snapshot.
#[derive(Clone)]
pub struct ReadTask {
    /// Comes back in `Event::ReadDone`.
    pub ticket: ReadTicket,
    /// The range.
    pub range: RangeId,
    /// What to read.
    pub request: RangeRequest,
    /// The range's bounds at the check: a scan is cut to them.
    pub bounds: KeyRange,
    /// Read at this timestamp.
    pub at: Timestamp,
    /// Fleet time: what has expired since `at` must not be told apart before the range's time has passed.
    pub now: Timestamp,
    /// The view that was taken before the lease was checked.
    pub snapshot: Arc<dyn DataSnapshot>,
}

/// Everything that a worker asks its driver to do.
#[derive(Clone)]
pub enum Effect {
    /// Send to another store.
    Send {
        /// Where to.
        to: StoreId,
        /// On which stream.
        class: Class,
        /// Why.
        cause: TrafficCause,
        /// What.
        message: StoreMessage,
    },
    /// Write one batch for all ranges of the round, synced; then `Event::Persisted`.
    WriteLog {
        /// Comes back.
        batch: BatchId,
        /// The operations.
        ops: Vec<LogOp>,
    },
    /// Apply committed entries in order (per range at most one task is out), write the data batch, then `Event::Applied`.
    Apply {
        /// The range.
        range: RangeId,
        /// The work.
        task: Box<ApplyTask>,
    },
    /// Evaluate on a snapshot taken no earlier than now; then `Event::Evaluated`.
    Evaluate {
        /// The range.
        range: RangeId,
        /// The work.
        evaluation: Box<Evaluation>,
    },
    /// Read; then `Event::ReadDone`.
    Read(ReadTask),
    /// Answer a client.
    Answer {
        /// Whom.
        ticket: RequestTicket,
        /// What.
        outcome: Result<Response, Rejected>,
        /// Fleet time here.
        fleet_now: Timestamp,
    },
    /// Answer an administrator.
    AnswerAdmin {
        /// Whom.
        ticket: RequestTicket,
        /// What.
        outcome: Result<AdminOutcome, Rejected>,
    },
    /// Read log entries; then `Event::EntriesFetched`.
    FetchEntries {
        /// The range.
        range: RangeId,
        /// For whom.
        to: ReplicaId,
        /// From here,
        first: LogIndex,
        /// to here, both included,
        last: LogIndex,
        /// about this much.
        max_bytes: usize,
    },
    /// Build a snapshot from a view taken now; then `Event::SnapshotBuilt`.
    BuildSnapshot {
        /// The range.
        range: RangeId,
        /// For whom.
        to: ReplicaId,
        /// Its name.
        snapshot: SnapshotId,
        /// Its bounds as applied now.
        bounds: KeyRange,
    },
    /// Read a piece of a built snapshot; then `Event::SnapshotRead`.
    ReadSnapshot {
        /// Which.
        snapshot: SnapshotId,
        /// The file.
        file: usize,
        /// Where in it.
        offset: u64,
        /// At most this much.
        max_bytes: usize,
    },
    /// Begin to receive (idempotent); then `Event::SnapshotStored` with what is there already.
    BeginInstall {
        /// What is coming.
        manifest: Box<SnapshotManifest>,
    },
    /// Store a piece; when it was the last one, verify; then `Event::SnapshotStored`.
    StoreSnapshot {
        /// Which.
        snapshot: SnapshotId,
        /// The file.
        file: usize,
        /// Where in it.
        offset: u64,
        /// The bytes.
        data: Bytes,
        /// True for the last piece of the last file.
        last: bool,
    },
    /// Install a staged snapshot; then `Event::SnapshotInstalled`.
    InstallSnapshot {
        /// The range.
        range: RangeId,
        /// Which.
        snapshot: SnapshotId,
    },
    /// Forget a built or staged snapshot.
    DropSnapshot {
        /// Which.
        snapshot: SnapshotId,
    },
    /// Delete the data of a destroyed replica and persist that; then `Event::Cleared`.
    Clear {
        /// The range.
        range: RangeId,
        /// Its keys; `None` when it never had data.
        bounds: Option<KeyRange>,
    },
    /// Tell the data instance the GC threshold of a range.
    SetGcThreshold {
        /// The range.
        range: RangeId,
        /// Its bounds and threshold; `None`: the range is gone.
        threshold: Option<(KeyRange, Timestamp)>,
    },
    /// A split of a range of this worker made a range that belongs to another one: hand it over as `Event::Born`.
    Born {
        /// Which worker.
        worker: u16,
        /// The new range.
        newborn: Box<Newborn>,
    },
    /// Look for a key that cuts the bounds into halves, off the worker; then `Event::MiddleFound`.
    FindMiddle {
        /// Comes back.
        ticket: ReadTicket,
        /// The bounds.
        bounds: KeyRange,
    },
    /// Look through a page for garbage, off the worker, on a view taken no earlier than now; then `Event::GarbageFound`.
    FindGarbage(GarbageSearch),
    /// Plan where replicas and leaders go, off the worker: it looks at every range of the fleet. Then `Event::Planned`.
    Plan(Box<PlanTask>),
    /// What was heard of ranges elsewhere: for the shared range map (`RangeMap::learn`), and as `Event::Learned` for the other
    /// workers.
    Learned(Vec<RangeHint>),
    /// A range looks different: update the shared range map, tell the other workers and the server.
    Standing(Box<Standing>),
    /// A range is no longer here.
    Gone {
        /// Which.
        range: RangeId,
    },
    /// The stores with which this worker's ranges share replicas: exchange support with them.
    Neighbours(BTreeSet<StoreId>),
    /// The stores that the fleet has on record: what they say of this one is believed.
    Members(BTreeSet<StoreId>),
    /// Everything known of the fleet's stores (from the placement loop).
    Directory(Arc<Vec<StoreRecord>>),
    /// What was last said of the sites that were distrusted once (from the placement loop).
    Sites(Arc<Vec<SiteTrust>>),
    /// This store's disk is older than what others have seen of it, and that is noted on it: end the process. Its next start
    /// begins anew.
    Outdated(Outdated),
    /// This store cannot go on, though nothing is wrong with its data: end the process. The next start takes up what was begun.
    Fail(Fault),
    /// A replica is damaged: it is kept, not used, and waits to be replaced.
    Quarantined {
        /// Its range.
        range: RangeId,
        /// What was found now; `None`: it was found before this start.
        reason: Option<String>,
    },
    /// The data of a destroyed or replaced replica is gone.
    Cleared {
        /// Its range.
        range: RangeId,
    },
    /// What the placement loop does, for whoever looks at the fleet.
    Placement(PlacementNews),
    /// Something is wrong that an operator must see: log it at error level and count it.
    Alarm {
        /// The range, if one.
        range: Option<RangeId>,
        /// What.
        what: String,
    },
}
