//! What stores say to each other: [`StoreMessage`], its versioned envelope, and which worker it is for.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

mod wire;

use bytes::Bytes;
use holdfast_engine::{SnapshotId, SnapshotManifest};
use holdfast_placement::SiteTrust;
use holdfast_proto::convert::BadMessage;
use holdfast_proto::fields;
use holdfast_replica::{AdminRequest, RaftEnvelope};
use holdfast_types::{
    Incarnation, Key, RangeDescriptor, RangeId, RangeRequest, Rejected, ReplicaId, Response, SiteName, StoreId, Term,
    Timestamp, limits,
};
use prost::Message as _;

use super::effect::{AdminOutcome, TrafficCause};
use super::permit::Authority;
use super::report_parts::ReportPart;
use crate::ports::Class;

/// The version of the envelope that this program writes.
const VERSION: u32 = 1;

/// Names a question of one worker to other stores; the answer carries it back. The upper 16 bits are the worker.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CallId(u64);

impl CallId {
    /// The `number`-th question of a worker.
    #[must_use]
    pub fn new(worker: u16, number: u64) -> Self {
        Self(u64::from(worker) << 48 | (number & ((1 << 48) - 1)))
    }

    /// The worker that asked.
    #[must_use]
    pub fn worker(self) -> u16 {
        let [high, low, ..] = self.0.to_be_bytes();
        u16::from_be_bytes([high, low])
    }

    /// Its number within the worker.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0 & ((1 << 48) - 1)
    }
}

/// What a store knows of a range: its shape, and who leads it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RangeHint {
    /// Bounds and replicas.
    pub descriptor: RangeDescriptor,
    /// The term in which `leader` was heard of.
    pub term: Term,
    /// The leader's store, when known.
    pub leader: Option<StoreId>,
}

/// What the leader of a range tells placement about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RangeReport {
    /// The range as applied.
    pub descriptor: RangeDescriptor,
    /// The leader's term.
    pub term: Term,
    /// The leader holds its lease.
    pub has_lease: bool,
    /// Roughly its bytes.
    pub size_bytes: u64,
    /// Reads a second.
    pub reads_per_second: u64,
    /// Writes a second.
    pub writes_per_second: u64,
    /// Bytes written a second.
    pub write_bytes_per_second: u64,
    /// Replicas that have nearly all of the log.
    pub caught_up: Vec<ReplicaId>,
}

/// What one worker of a store tells placement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoreReport {
    /// The store.
    pub store: StoreId,
    /// Its site.
    pub site: SiteName,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// Which worker speaks,
    pub worker: u16,
    /// of how many.
    pub workers: u16,
    /// All of the disk.
    pub disk_total_bytes: u64,
    /// What is free of it.
    pub disk_free_bytes: u64,
    /// False when the disk stalls or fails, or the wall clock is off: others are to hold and lead more.
    pub disk_ok: bool,
    /// Cores it may use.
    pub cores: u32,
    /// What it is doing, in thousandths of a core.
    pub used_millicores: u64,
    /// Replicas on this worker.
    pub replicas: u64,
    /// It hands its leaders over.
    pub draining: bool,
    /// The version of the directory that it knows.
    pub directory_version: u64,
    /// The ranges that this worker leads.
    pub ranges: Vec<RangeReport>,
    /// Replicas of this worker that are damaged and wait to be replaced.
    pub damaged: Vec<(RangeId, ReplicaId)>,
    /// Which part of which report `ranges` and `damaged` are.
    pub part: ReportPart,
}

/// A message that must not exist: whoever made it knows a bound too few. It is not sent; see [`StoreMessage::encode`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "a {what} of {bytes} bytes is larger than a message between stores may be ({} bytes), and was not sent",
    limits::MAX_MESSAGE_BYTES
)]
pub struct TooLarge {
    /// What it is.
    pub what: &'static str,
    /// Its size.
    pub bytes: usize,
}

/// How far a snapshot has come at its receiver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SnapshotState {
    /// Pieces are wanted.
    Receiving,
    /// All of it is there and verified.
    Complete,
    /// It is not wanted.
    Refused,
    /// Not now; offer it again later.
    Busy,
}

/// One message between stores.
#[derive(Clone, PartialEq, Debug)]
pub enum StoreMessage {
    /// A raft message of one range.
    Raft(RaftEnvelope),
    /// The sender does not lead a range in a term any more.
    Unled {
        /// The range.
        range: RangeId,
        /// The term that it led.
        term: Term,
    },
    /// The receiver of `Unled` has noted it.
    UnledNoted {
        /// The range.
        range: RangeId,
        /// The term.
        term: Term,
    },
    /// Asks whether the receiver leads a range in a term: a replica follows it, and something speaks against it. `Unled` says no; a
    /// leader that is one pings its followers.
    AskLeader {
        /// The range.
        range: RangeId,
        /// The term.
        term: Term,
    },
    /// A request passed on.
    Forward {
        /// Comes back.
        id: CallId,
        /// The request. Not to be taken in as it is: see [`super::permit`].
        request: RangeRequest,
        /// For whom it is asked, by word of the sender; whether he may is looked at anew.
        authority: Authority,
        /// How long its caller still waits.
        timeout_ms: u64,
        /// How often it has been passed on, this time included.
        hops: u32,
    },
    /// The answer to a request passed on.
    ForwardAnswer {
        /// Which.
        id: CallId,
        /// What it was answered.
        outcome: Result<Response, Rejected>,
        /// Fleet time at the answering store.
        fleet_now: Timestamp,
        /// Where to ask next time.
        hints: Vec<RangeHint>,
    },
    /// Asks who holds a key.
    Locate {
        /// Comes back.
        id: CallId,
        /// The key.
        key: Key,
    },
    /// Says who holds a key.
    Located {
        /// Which question.
        id: CallId,
        /// What is known; empty: nothing.
        hints: Vec<RangeHint>,
    },
    /// An administrative request passed on. A split with `right` 0 lets the leader name the new range; one at [`Key::MIN`] is
    /// made in the middle of the data.
    Admin {
        /// Comes back.
        id: CallId,
        /// The range.
        range: RangeId,
        /// What is asked.
        request: AdminRequest,
        /// How long its caller still waits.
        timeout_ms: u64,
        /// How often it has been passed on, this time included.
        hops: u32,
    },
    /// The answer to an administrative request.
    AdminAnswer {
        /// Which.
        id: CallId,
        /// What it came to.
        outcome: Result<AdminOutcome, Rejected>,
    },
    /// Facts for placement.
    Report(Box<StoreReport>),
    /// The answer to a report.
    ReportAnswer {
        /// Who leads the system range.
        leader: Option<StoreId>,
        /// Version of the directory.
        directory_version: u64,
        /// Every store of the fleet as placement encodes it; empty when the version was known.
        directory: Vec<Bytes>,
        /// The sites that were distrusted once.
        sites: Vec<SiteTrust>,
    },
    /// A snapshot is ready to be sent.
    SnapshotOffer {
        /// The raft message it belongs to.
        envelope: RaftEnvelope,
        /// What it consists of.
        manifest: Box<SnapshotManifest>,
    },
    /// A piece of a snapshot.
    SnapshotChunk {
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
    /// What has arrived of a snapshot.
    SnapshotProgress {
        /// The range.
        range: RangeId,
        /// Which snapshot.
        snapshot: SnapshotId,
        /// How far it has come.
        state: SnapshotState,
        /// Bytes of each file that are there.
        received: Vec<u64>,
    },
}

/// Which worker a message or request is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Route {
    /// The worker that owns (or would own) this range: `range id % workers`.
    Range(RangeId),
    /// Whoever holds the key, by the range map; any worker when that is not known.
    Key(Key),
    /// This worker.
    Worker(u16),
}

impl StoreMessage {
    /// The bytes on the wire: the one way there, so that nothing larger than a message may be is ever queued.
    pub fn encode(&self) -> Result<Bytes, TooLarge> {
        let message = holdfast_proto::v1::StoreMessage { version: VERSION, body: Some(wire::body_of(self.clone())) };
        let bytes = message.encoded_len();
        if bytes > limits::MAX_MESSAGE_BYTES {
            return Err(TooLarge { what: self.name(), bytes });
        }
        Ok(message.encode_to_vec().into())
    }

    /// What it is, for people.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Raft(_) => "raft message",
            Self::Unled { .. } => "last word of a leader",
            Self::UnledNoted { .. } => "note of a leader's last word",
            Self::AskLeader { .. } => "question who leads",
            Self::Forward { .. } => "forwarded request",
            Self::ForwardAnswer { .. } => "answer to a forwarded request",
            Self::Locate { .. } => "look-up of a key",
            Self::Located { .. } => "answer to a look-up",
            Self::Admin { .. } => "forwarded administrative request",
            Self::AdminAnswer { .. } => "answer to an administrative request",
            Self::Report(_) => "report to placement",
            Self::ReportAnswer { .. } => "list of stores",
            Self::SnapshotOffer { .. } => "offer of a snapshot",
            Self::SnapshotChunk { .. } => "piece of a snapshot",
            Self::SnapshotProgress { .. } => "progress of a snapshot",
        }
    }

    /// Reads what [`StoreMessage::encode`] wrote; refuses unknown versions and malformed messages.
    pub fn decode(bytes: &Bytes) -> Result<Self, BadMessage> {
        if !fields::are_within::<holdfast_proto::v1::StoreMessage>(bytes, limits::MAX_REQUEST_FIELDS) {
            let most = limits::MAX_REQUEST_FIELDS;
            return Err(BadMessage::Malformed(format!("a message between stores has more than {most} fields")));
        }
        let message = holdfast_proto::v1::StoreMessage::decode(bytes.clone())?;
        if message.version != VERSION {
            let found = message.version;
            return Err(BadMessage::UnknownVersion { what: "message between stores", found, known: VERSION });
        }
        wire::message_of(message.body.ok_or_else(|| BadMessage::malformed("message between stores has no body"))?)
    }

    /// Which worker of the receiving store it is for.
    #[must_use]
    pub fn route(&self) -> Route {
        match self {
            Self::Raft(envelope) | Self::SnapshotOffer { envelope, .. } => Route::Range(envelope.range),
            Self::Unled { range, .. }
            | Self::UnledNoted { range, .. }
            | Self::AskLeader { range, .. }
            | Self::Admin { range, .. }
            | Self::SnapshotChunk { range, .. }
            | Self::SnapshotProgress { range, .. } => Route::Range(*range),
            Self::Forward { request, .. } => route_of(request),
            Self::Locate { key, .. } => Route::Key(key.clone()),
            Self::ForwardAnswer { id, .. } | Self::Located { id, .. } | Self::AdminAnswer { id, .. } => {
                Route::Worker(id.worker())
            }
            Self::Report(_) | Self::ReportAnswer { .. } => Route::Range(RangeId::SYSTEM),
        }
    }

    /// The range by which it finds its worker.
    #[must_use]
    pub fn range(&self) -> Option<RangeId> {
        match self.route() {
            Route::Range(range) => Some(range),
            Route::Key(_) | Route::Worker(_) => None,
        }
    }

    /// The key by which it finds its worker, when it names no range.
    #[must_use]
    pub fn key(&self) -> Option<Key> {
        match self.route() {
            Route::Key(key) => Some(key),
            Route::Range(_) | Route::Worker(_) => None,
        }
    }

    /// The stream it travels on.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            // Requests carry values, and may wait behind entries; votes may not wait behind either.
            Self::Forward { .. } | Self::ForwardAnswer { .. } => Class::Log,
            Self::SnapshotChunk { .. } => Class::Snapshot,
            _ => Class::Control,
        }
    }

    /// Why it is sent, for everything but raft messages.
    #[must_use]
    pub fn cause(&self) -> TrafficCause {
        match self {
            Self::Raft(_) => TrafficCause::Append,
            Self::Unled { .. } | Self::UnledNoted { .. } | Self::AskLeader { .. } => TrafficCause::Election,
            Self::Forward { .. } | Self::ForwardAnswer { .. } => TrafficCause::Forward,
            Self::Locate { .. }
            | Self::Located { .. }
            | Self::Admin { .. }
            | Self::AdminAnswer { .. }
            | Self::Report(_)
            | Self::ReportAnswer { .. } => TrafficCause::Placement,
            Self::SnapshotOffer { .. } | Self::SnapshotChunk { .. } | Self::SnapshotProgress { .. } => {
                TrafficCause::Snapshot
            }
        }
    }
}

/// Which worker a client's request is for.
#[must_use]
pub fn route_of(request: &RangeRequest) -> Route {
    match (&request.range, request.request.routing_key()) {
        (Some((range, _)), _) => Route::Range(*range),
        (None, Some(key)) => Route::Key(key.clone()),
        (None, None) => Route::Worker(0),
    }
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
