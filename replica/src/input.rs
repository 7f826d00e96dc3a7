//! Everything that can happen to a replica.

use bytes::Bytes;
use holdfast_types::storage::{LogEntry, SnapshotId};
use holdfast_types::{
    Generation, Incarnation, Key, LogIndex, Moment, RangeDescriptor, RangeId, RangeRequest, ReplicaId, SiteName,
    StoreId, Term, Timestamp,
};

use crate::apply::Applied;
use crate::evaluate::Evaluated;

/// The store's handle for an open request. Every request that went in with a ticket is answered exactly once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(pub u64);

/// Names a log write that was asked for; tokens of one replica grow, and writes complete in order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PersistToken(pub u64);

/// Under which promise an acknowledgement was given: the acknowledging store's incarnation and the generation of its
/// promise to the leader's store. Absent when there was no unbroken promise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// The acknowledging store's incarnation.
    pub incarnation: Incarnation,
    /// The promise.
    pub generation: Generation,
}

/// A raft message with its envelope. `message` is opaque outside of this crate.
#[derive(Clone, PartialEq, Debug)]
pub struct RaftEnvelope {
    /// The range.
    pub range: RangeId,
    /// The sending replica.
    pub from: ReplicaId,
    /// The receiving replica.
    pub to: ReplicaId,
    /// The sender's descriptor, when the receiver may not know it yet (new replicas, after a membership change).
    pub descriptor: Option<RangeDescriptor>,
    /// On acknowledgements.
    pub stamp: Option<Stamp>,
    /// The raft message, encoded by raft's own codec.
    pub message: Bytes,
}

/// A change of the replicas, to be made by joint consensus. Refused (typed) when it is not safe now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MembershipChange {
    /// Adds a learner on a store that has no replica yet.
    AddLearner {
        /// Where.
        store: StoreId,
        /// Its site.
        site: SiteName,
    },
    /// One joint change: learners become voters and voters become learners, together. The leader leaves the joint
    /// configuration by itself.
    Reconfigure {
        /// Learners that become voters.
        promote: Vec<ReplicaId>,
        /// Voters that become learners; never the leader.
        demote: Vec<ReplicaId>,
    },
    /// Removes a learner.
    RemoveLearner {
        /// Which.
        replica: ReplicaId,
    },
}

/// What the store asks of a replica on behalf of an operator or of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AdminRequest {
    /// Cut the range in two; the right part begins at `at` and gets the id `right`.
    Split {
        /// The first key of the right part; strictly inside the bounds.
        at: Key,
        /// The new range's id, from this store's synced counter.
        right: RangeId,
    },
    /// Change the replicas.
    ChangeMembership(MembershipChange),
    /// Hand the leadership over. Answered once this replica leads no more: the target was told to stand and may not win. The admin
    /// service looks for the new leader before it answers.
    Transfer {
        /// To which voter.
        to: ReplicaId,
    },
    /// Raise the threshold below which old versions may be collected and reads are refused.
    RaiseGcThreshold {
        /// The new threshold.
        threshold: Timestamp,
    },
    /// Collect garbage: removes tombstones, expired newest versions and old completion records found by the store.
    CollectGarbage(crate::command::Garbage),
}

/// A received snapshot of the range that is staged and verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StagedSnapshot {
    /// Its name.
    pub snapshot: SnapshotId,
    /// The range state in it.
    pub range_state: Bytes,
}

/// Everything that can happen to a replica.
#[derive(Clone, PartialEq, Debug)]
pub enum Input {
    /// A client's request, routed here.
    Request {
        /// To answer it by.
        ticket: Ticket,
        /// The request; valid by `holdfast_types`' rules.
        request: RangeRequest,
        /// When nobody waits for it any more.
        deadline: Moment,
    },
    /// An administrative request.
    Admin {
        /// To answer it by.
        ticket: Ticket,
        /// The request.
        request: AdminRequest,
        /// When nobody waits for it any more.
        deadline: Moment,
    },
    /// A raft message from another store; `from_store` comes from the connection's handshake.
    Message {
        /// The store at the other end of the connection.
        from_store: StoreId,
        /// What it sent.
        envelope: RaftEnvelope,
    },
    /// The log writes up to this token are synced.
    Persisted(PersistToken),
    /// An apply task is done; its state comes back.
    Applied(Box<Applied>),
    /// An evaluation is done.
    Evaluated(Box<Evaluated>),
    /// Log entries that were asked for, for a follower that lags.
    EntriesFetched {
        /// For which follower they are.
        to: ReplicaId,
        /// The entries: empty when the log does not have them any more, `None` when they could not be read just now.
        entries: Option<Vec<LogEntry>>,
    },
    /// A read found that it may not be served with the lease (see [`crate::Replica::may_read`]): confirm it by a quorum.
    ConfirmRead {
        /// The read.
        ticket: Ticket,
    },
    /// A read found that what it is to say depends on the time, and that the range's time has not come so far (see
    /// [`crate::ReadVerdict`]): let it pass, then read again.
    PassTime {
        /// The read.
        ticket: Ticket,
        /// How far.
        to: Timestamp,
    },
    /// This store withdrew a promise.
    Withdrawn {
        /// From which store.
        store: StoreId,
        /// Which promise.
        generation: Generation,
    },
    /// The support table changed in a way that may matter: support, generation or incarnation of some store.
    SupportChanged,
    /// A leader's own word that it leads this term no more.
    Unled {
        /// The store it came from.
        from_store: StoreId,
        /// The term that it led.
        term: Term,
    },
    /// A store did not do what only the leader does: if that one is followed, it is asked whether it leads.
    LeaderDoubted {
        /// The store.
        store: StoreId,
    },
    /// A follower's store asks whether this replica leads a term.
    AskedWhetherLeading {
        /// Whom to answer.
        from_store: StoreId,
        /// The term.
        term: Term,
    },
    /// Time has come: [`crate::Replica::next_wake`] lies behind.
    Tick,
    /// The store's knowledge of what the data instance has persisted.
    AppliedPersisted {
        /// The applied index readable with `ReadTier::Persisted`.
        index: LogIndex,
        /// How many bytes of log behind it may be kept for followers that lag.
        keep_bytes: u64,
    },
    /// A snapshot for this replica arrived whole, and is staged and verified. `envelope` is the raft snapshot message.
    SnapshotStaged {
        /// The store at the other end of the connection.
        from_store: StoreId,
        /// The raft message that announced it.
        envelope: RaftEnvelope,
        /// What was staged.
        staged: StagedSnapshot,
    },
    /// The staged snapshot is in place (the data instance says so, persisted).
    SnapshotInstalled {
        /// Which.
        snapshot: SnapshotId,
    },
    /// How the sending of a snapshot ended.
    SnapshotSent {
        /// To which replica.
        to: ReplicaId,
        /// Whether the target has all of it.
        delivered: bool,
    },
    /// A local fault hit this replica (damage found while applying, a read that failed): it is quarantined.
    Damaged {
        /// What was found.
        reason: String,
    },
    /// The store heard, from another store, how the range looks: a replica that missed its own removal learns of it here.
    Heard {
        /// The range's descriptor as it was told.
        descriptor: Box<RangeDescriptor>,
    },
    /// The store is in want of something (its disk is full): hand the leadership over to a voter that may live, if there is one.
    Yield,
    /// The store is stopping: hand the leadership over if possible, and stop counting on it.
    Retire,
}
