//! What the store needs from outside; adapters live in the server, twins in the simulator.

use bytes::Bytes;
use holdfast_types::{Incarnation, Moment, RangeId, Rejected, Response, StoreId, Timestamp};

use crate::core::effect::{AdminOutcome, PlacementNews, TrafficCause};
use crate::core::seen::Outdated;

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
    /// Who refused connections because it has seen more of this store than its disk knows.
    fn refused(&self) -> Option<Outdated> {
        None
    }
    /// The stores that the fleet has forgotten.
    fn forgotten(&self) -> std::collections::BTreeSet<StoreId> {
        std::collections::BTreeSet::new()
    }
    /// A store that is not outdated told in this incarnation how far its log has come.
    fn note(&mut self, _store: StoreId, _incarnation: Incarnation, _counter: u64) {}
}

/// The clocks of a store.
pub trait Clock: Send + Sync {
    /// Monotonic, running through suspends (CLOCK_BOOTTIME).
    fn now(&self) -> Moment;
    /// Milliseconds since the Unix epoch, as the machine has it: for records that people read, and to be judged. What stamps, expires or
    /// falls due goes by [`crate::core::clocks::FleetClock`].
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

/// Something that happened in the store and that an operator may want to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Note {
    /// A replica is damaged; no reason: it was found before this start.
    Quarantined(RangeId, Option<String>),
    /// The data of a destroyed or replaced replica is gone.
    Cleared(RangeId),
    /// Another store is silent: what it led is led by others from here on.
    StoreLost(StoreId),
    /// Its heartbeats arrive, but its streams or ours carry nothing; which, in words.
    StreamsSilent(StoreId, String),
    /// It speaks again.
    StoreHeard(StoreId),
    /// The disk is so full that writes are refused.
    DiskFull,
    /// There is room again.
    DiskOk,
    /// This store is not fit to lead, and why.
    Unfit(String),
    /// It is again.
    Fit,
    /// The placement loop runs here, and did something.
    Placement(PlacementNews),
    /// Something that must not happen.
    Alarm(Option<RangeId>, String),
}

/// Hears of what placement and clients should know: leaders that changed, stores that joined.
pub trait PlacementLink: Send + Sync {
    /// The records of the stores of the fleet changed: these are all of them, also those of stores that were forgotten.
    fn directory(&self, stores: &[holdfast_placement::StoreRecord]);
    /// What was last said of the sites that were distrusted once, by who leads the system range.
    fn sites(&self, _sites: &[holdfast_placement::SiteTrust]) {}
    /// What was heard of ranges elsewhere.
    fn learned(&self, hints: &[crate::core::message::RangeHint]);
    /// A range looks different now: bounds, replicas or leader.
    fn standing(&self, standing: &holdfast_replica::Standing);
    /// Something happened. Called by all threads of the store: it must not wait.
    fn noted(&self, note: Note);
}
