//! What the store needs from outside; adapters live in the server, twins in the simulator.

use bytes::Bytes;
use holdfast_types::{Incarnation, Moment, Rejected, Response, StoreId, Timestamp};

use crate::core::effect::{AdminOutcome, TrafficCause};

/// The class of a stream between two stores: one ordered stream each.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Class {
    /// Votes, pings, forwards, look-ups, reports.
    Control,
    /// Entries and their acknowledgements.
    Log,
    /// Chunks of snapshots.
    Snapshot,
}

/// Sends to other stores; never blocks. What cannot be queued is dropped and counted: every protocol above sends again.
pub trait RaftSender: Send + Sync {
    /// Queues one message.
    fn send(&self, to: StoreId, class: Class, cause: TrafficCause, payload: Bytes);
}

/// Support heartbeats: a connection of their own, used by the support thread alone.
pub trait SupportLink: Send {
    /// Sends, best effort, without blocking.
    fn send(&mut self, to: StoreId, payload: Bytes);
    /// Waits up to `wait` for heartbeats and returns them; empty when none came.
    fn poll(&mut self, wait: std::time::Duration) -> Vec<(StoreId, Incarnation, Bytes)>;
    /// Who refused connections because it has seen a later incarnation of this store, and which.
    fn refused(&self) -> Option<(StoreId, Incarnation)> {
        None
    }
}

/// The clocks of a store.
pub trait Clock: Send + Sync {
    /// Monotonic, running through suspends (CLOCK_BOOTTIME).
    fn now(&self) -> Moment;
    /// Milliseconds since the Unix epoch.
    fn wall_ms(&self) -> u64;
}

/// Takes the answer of one client request, exactly once.
pub trait Reply: Send {
    /// The answer, with fleet time at this store.
    fn answer(self: Box<Self>, outcome: Result<Response, Rejected>, fleet_now: Timestamp);
}

/// Takes the answer of one administrative request, exactly once.
pub trait AdminReply: Send {
    /// The answer.
    fn answer(self: Box<Self>, outcome: Result<AdminOutcome, Rejected>);
}

/// Hears of what placement and clients should know: leaders that changed, stores that joined.
pub trait PlacementLink: Send + Sync {
    /// The address book changed: these are all stores of the fleet.
    fn directory(&self, stores: &[holdfast_placement::StoreRecord]);
    /// What was heard of ranges elsewhere.
    fn learned(&self, hints: &[crate::core::message::RangeHint]);
    /// A range looks different now: bounds, replicas or leader.
    fn standing(&self, standing: &holdfast_replica::Standing);
}
