//! Everything that a replica asks its store to do. Effects of one step are carried out in order.

use holdfast_types::storage::{LogOp, SnapshotId};
use holdfast_types::{LogIndex, RangeDescriptor, Rejected, ReplicaId, Response, StoreId, Term};

use crate::apply::ApplyTask;
use crate::evaluate::Evaluation;
use crate::input::{PersistToken, RaftEnvelope, Ticket};

/// Why a message is sent; bytes between sites are counted by it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Cause {
    /// Entries and their acknowledgements.
    Append,
    /// Heartbeats, pings and their answers.
    Heartbeat,
    /// Votes, transfers.
    Election,
}

/// What a request or an administrative request was answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Of a client's request.
    Response(Response),
    /// Of an administrative request: the descriptor as it is now.
    Changed(RangeDescriptor),
}

/// What a replica looks like from outside; sent whenever it changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    /// Bounds, replicas and epoch, as applied here.
    pub descriptor: RangeDescriptor,
    /// This replica's term.
    pub term: Term,
    /// Who leads in that term, as far as this replica knows.
    pub leader: Option<(ReplicaId, StoreId)>,
    /// True when it is this replica and it has applied an entry of its own term.
    pub leads: bool,
}

/// Everything that a replica asks its store to do.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// Send a raft message to a store.
    Send {
        /// Where to.
        to: StoreId,
        /// Why.
        cause: Cause,
        /// What.
        envelope: RaftEnvelope,
    },
    /// Write to the log instance, synced, together with the other ranges of the round; then `Input::Persisted(token)`.
    Persist {
        /// Comes back.
        token: PersistToken,
        /// The operations.
        ops: Vec<LogOp>,
    },
    /// Apply committed entries (see [`crate::apply::run`]); then `Input::Applied`.
    Apply(Box<ApplyTask>),
    /// Evaluate a request on a snapshot of the data instance taken now or later (see [`crate::evaluate::run`]), off the
    /// worker if it may read from disk; then `Input::Evaluated`.
    Evaluate(Box<Evaluation>),
    /// Serve a read: take a snapshot of the data instance, *then* read the clock and ask [`crate::Replica::may_read`]; if it may,
    /// read (off the worker) and answer the ticket; if not, `Input::ConfirmRead`.
    Read {
        /// To answer by; the store kept the request.
        ticket: Ticket,
        /// True when a quorum has confirmed the read: the lease is not asked for again, bounds and state still are.
        confirmed: bool,
    },
    /// Answer a ticket.
    Answer {
        /// Which.
        ticket: Ticket,
        /// What.
        outcome: Result<Outcome, Rejected>,
    },
    /// Read entries of the log for a follower that lags, off the worker; then `Input::EntriesFetched`.
    FetchEntries {
        /// For whom.
        to: ReplicaId,
        /// From here,
        first: LogIndex,
        /// to here, both included,
        last: LogIndex,
        /// up to about this size.
        max_bytes: usize,
    },
    /// Build a snapshot of the range from a view that has applied at least `at_least`, send it to a store together with the
    /// raft message (whose snapshot metadata is filled in by [`crate::Replica::snapshot_message`]), and report `Input::SnapshotSent`.
    SendSnapshot {
        /// To which store.
        to_store: StoreId,
        /// To which replica.
        to: ReplicaId,
        /// The view must have applied this.
        at_least: LogIndex,
    },
    /// Install a staged snapshot; then `Input::SnapshotInstalled`. The "installing" mark is already synced.
    InstallSnapshot {
        /// Which.
        snapshot: SnapshotId,
    },
    /// A staged snapshot is not taken (raft has all of it, or it belongs to a term that is over): forget it, so that another one
    /// can come.
    DeclineSnapshot {
        /// Which.
        snapshot: SnapshotId,
    },
    /// Tell other stores that this store does not lead the range in `term` any more; repeat until acknowledged.
    Unled {
        /// The term that was led.
        term: Term,
        /// Whom to tell.
        stores: Vec<StoreId>,
    },
    /// Ask a store whether it leads the range in `term`: it is followed, and something speaks against it.
    AskLeader {
        /// The store.
        store: StoreId,
        /// The term.
        term: Term,
    },
    /// The replica looks different from outside now.
    Standing(Box<Standing>),
    /// A split was applied here: the right range's replica exists in both instances. Open it (`crate::Replica::open`) and let it
    /// lead at once when `leads` (see [`crate::Replica::lead_after_split`]).
    Born {
        /// The right range.
        right: Box<RangeDescriptor>,
        /// True on the store that led the left.
        leads: bool,
    },
    /// This replica was removed from its range, or saw proof of it: its tombstone is synced; delete its data, then forget it.
    Destroyed,
    /// This replica cannot go on (damage, a panic inside, a leader's commit beyond its log): it is quarantined, recorded as such.
    Quarantined {
        /// What was found.
        reason: String,
    },
}
