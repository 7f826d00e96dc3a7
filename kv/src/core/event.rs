//! Everything that can happen to one worker of a store.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use holdfast_engine::{Fault, LogEntry, SnapshotId, SnapshotManifest};
use holdfast_placement::StoreRecord;
use holdfast_replica::{AdminRequest, Applied, Evaluated, Standing};
use holdfast_types::storage::{HardState, LogStart};
use holdfast_types::{
    Incarnation, Key, LogIndex, Moment, RangeDescriptor, RangeId, Rejected, ReplicaId, Response, StoreId, Timestamp,
    limits,
};

use super::garbage::{GarbagePage, GarbageSearch};
use super::message::{RangeHint, StoreMessage};
use super::permit::Permitted;
use super::placement_loop::Planned;
use super::rights::Rights;
use super::seen::{Outdated, Seen};
use super::support::SupportChange;

/// The driver's handle for an open client or administrative request; answered exactly once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestTicket(pub u64);

/// Names one synced log batch of one worker; batches complete in order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct BatchId(pub u64);

/// Everything that can happen to one worker of a store.
#[derive(Clone, Debug)]
pub enum Event {
    /// A request of a client, or of the fleet itself. The worker serves it, forwards it, or refuses it.
    Request {
        /// To answer by.
        ticket: RequestTicket,
        /// What is asked.
        request: Permitted,
        /// When nobody waits for it any more.
        deadline: Moment,
    },
    /// The caller of a request went away: nobody needs the answer.
    Cancel {
        /// Which.
        ticket: RequestTicket,
    },
    /// An administrative request for a range; forwarded to its leader when that is elsewhere.
    Admin {
        /// To answer by.
        ticket: RequestTicket,
        /// Which range.
        range: RangeId,
        /// What.
        request: AdminRequest,
        /// When nobody waits for it any more.
        deadline: Moment,
    },
    /// A message from another store, decoded; the sender comes from the connection's handshake.
    Message {
        /// The store at the other end.
        from: StoreId,
        /// Its incarnation.
        incarnation: Incarnation,
        /// What it says.
        message: StoreMessage,
    },
    /// The log batches up to this one are synced.
    Persisted {
        /// Which.
        batch: BatchId,
    },
    /// An apply task is done.
    Applied {
        /// The range.
        range: RangeId,
        /// Its state and results, or the fault that stops the replica.
        applied: Result<Box<Applied>, Fault>,
    },
    /// An evaluation is done.
    Evaluated {
        /// The range.
        range: RangeId,
        /// What came out.
        evaluated: Box<Evaluated>,
    },
    /// A read is done; its answer goes out through the worker so that forwarded reads find their way.
    ReadDone {
        /// Which request.
        ticket: ReadTicket,
        /// What was read.
        outcome: Result<Response, ReadFailure>,
    },
    /// Log entries for a follower that lags.
    EntriesFetched {
        /// The range.
        range: RangeId,
        /// For whom.
        to: ReplicaId,
        /// What was read.
        entries: Result<Vec<LogEntry>, Fault>,
    },
    /// The support table changed.
    Support(SupportChange),
    /// What was seen of other stores is to be saved.
    Seen(BTreeMap<StoreId, Seen>),
    /// Another store has seen more of this one than its disk knows.
    Outdated(Outdated),
    /// A split on another worker made a range that belongs to this one; both instances have it.
    Born(Box<Newborn>),
    /// A key that cuts bounds into halves was looked for.
    MiddleFound {
        /// The question.
        ticket: ReadTicket,
        /// The key; `None`: there is none strictly inside.
        key: Result<Option<Key>, Fault>,
    },
    /// A page was looked through for garbage.
    GarbageFound {
        /// What was asked for.
        search: GarbageSearch,
        /// What is there.
        page: Result<GarbagePage, Fault>,
    },
    /// A plan was made.
    Planned(Box<Planned>),
    /// Another worker's range looks different now.
    Standing(Box<Standing>),
    /// What another worker heard of ranges elsewhere.
    Learned(Vec<RangeHint>),
    /// A snapshot was built.
    SnapshotBuilt {
        /// The range.
        range: RangeId,
        /// For whom.
        to: ReplicaId,
        /// What was built.
        manifest: Result<SnapshotManifest, Fault>,
    },
    /// A piece of a built snapshot was read.
    SnapshotRead {
        /// Which snapshot.
        snapshot: SnapshotId,
        /// The file.
        file: usize,
        /// Where in it.
        offset: u64,
        /// The bytes.
        data: Result<Bytes, Fault>,
    },
    /// A received piece was stored, or the whole was verified.
    SnapshotStored {
        /// Which snapshot.
        snapshot: SnapshotId,
        /// Bytes of each file that are there now.
        received: Result<Vec<u64>, Fault>,
        /// True when every file is there and verified.
        verified: bool,
    },
    /// A staged snapshot is in place.
    SnapshotInstalled {
        /// The range.
        range: RangeId,
        /// Which.
        snapshot: SnapshotId,
        /// The range state now in the data instance.
        range_state: Result<Bytes, Fault>,
    },
    /// The data of a destroyed replica is gone, persisted.
    Cleared {
        /// The range.
        range: RangeId,
        /// How it ended.
        outcome: Result<(), Fault>,
    },
    /// What the data instance has persisted.
    AppliedPersisted {
        /// Applied index by range.
        indexes: Vec<(RangeId, LogIndex)>,
    },
    /// Facts measured by the driver now and then.
    Measured(Measurements),
    /// The stores of the fleet, as the server knows them (at start, after a join), and those that were forgotten.
    Directory(Arc<Vec<StoreRecord>>),
    /// What callers may has changed: requests that other stores pass on are judged by it from here on.
    Rights(Arc<Rights>),
    /// The store begins to stop: hand leaders over.
    Retire,
    /// The store is about to be told to stop (or, false, is not any more): it hands over what others can take, and keeps the rest.
    Prepare(bool),
    /// Time has come.
    Tick,
}

/// The right side of a split that was applied: both instances have it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Newborn {
    /// The new range.
    pub right: RangeDescriptor,
    /// Its replica here.
    pub replica: ReplicaId,
    /// Where its log begins.
    pub start: LogStart,
    /// Its hard state, with the vote that makes its first leader.
    pub hard_state: HardState,
}

/// The worker's handle for a read in the read pool.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ReadTicket(pub u64);

/// How a read failed: an answer, or a fault that stops the replica.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReadFailure {
    /// An answer.
    Rejected(Rejected),
    /// It met a value that has expired by now, though not yet by the range's time.
    TimeMustPass {
        /// How far the range's time must pass.
        to: Timestamp,
    },
    /// The disk or the data is broken.
    Fault(Fault),
}

/// Facts measured by the driver now and then.
#[derive(Clone, Debug, Default)]
pub struct Measurements {
    /// Free and total bytes of the fuller disk.
    pub disk_free_bytes: u64,
    /// All of it.
    pub disk_total_bytes: u64,
    /// Approximate bytes by range: where there are many, of some of them each time.
    pub range_bytes: Vec<(RangeId, u64)>,
    /// Capacity of this store: cores.
    pub cores: u32,
    /// What it is doing, in thousandths of a core.
    pub used_millicores: u64,
    /// A sync stalls, or stalled a moment ago.
    pub disk_stalls: bool,
}

impl Measurements {
    /// True while writes of clients are to be refused for want of disk.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        self.disk_total_bytes > 0 && self.disk_free_bytes < limits::disk_wanted_bytes(self.disk_total_bytes)
    }
}
