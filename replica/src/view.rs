//! What the store knows and a replica may look at while it steps.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_types::{Generation, Incarnation, Moment, StoreId};

/// A promise of support that this store gives to another one and has not withdrawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Promise {
    /// The incarnation of the supported store.
    pub incarnation: Incarnation,
    /// The generation of the promise. When it is withdrawn, it never comes back.
    pub generation: Generation,
}

/// The newest answer that this store has from another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Support {
    /// The incarnation of the supporting store.
    pub incarnation: Incarnation,
    /// The generation of its promise.
    pub generation: Generation,
    /// Until then the promise counts: send time of the question answered + interval - margin.
    pub until: Moment,
}

/// A picture of the store's support table. Workers get a new one whenever it changes; an old picture is safe (it only
/// shows promises that end earlier, or withdrawals that are still on their way as [`crate::Input::Withdrawn`]).
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct SupportView {
    /// This store's incarnation.
    pub incarnation: Incarnation,
    /// Unbroken promises that this store gives.
    pub given: BTreeMap<StoreId, Promise>,
    /// Promises that this store has.
    pub received: BTreeMap<StoreId, Support>,
    /// Stores that say of their disk that it takes no writes: no leadership is handed to them.
    pub full: BTreeSet<StoreId>,
}

impl SupportView {
    /// True while this store promises support to `store`: as far as we know it lives.
    #[must_use]
    pub fn supports(&self, store: StoreId) -> bool {
        self.given.contains_key(&store)
    }

    /// True when a leadership may be handed to `store`: it lives, and its disk takes writes, as far as we know.
    #[must_use]
    pub fn can_take_over(&self, store: StoreId) -> bool {
        self.supports(store) && !self.full.contains(&store)
    }
}

/// How much memory the store has left for entries of all its replicas.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum EntryRoom {
    /// Enough.
    #[default]
    Plenty,
    /// Not enough for applied entries that somebody may still ask for: they are read from disk.
    Scarce,
    /// None: a follower that has something to apply takes no more until it has applied it.
    Full,
}

/// What the store knows, handed to every step.
#[derive(Clone, Copy, Debug)]
pub struct StoreView<'a> {
    /// The store's monotonic clock, read just before the step (and after a read's snapshot was taken, see
    /// [`crate::Replica::may_read`]).
    pub now: Moment,
    /// Fleet time as the store has judged it, in milliseconds since the Unix epoch: for new timestamps, last moments and expiry.
    /// Never what a wall clock shows. 0: not known yet.
    pub fleet_ms: u64,
    /// The support table.
    pub support: &'a SupportView,
    /// The store neither votes nor stands: it has just started, or its disk is in doubt.
    pub abstains: bool,
    /// The store's wall clock is off by more than the bound, or the time is not known yet: it votes, but stands only where its log is needed, and takes no
    /// leadership that is handed to it.
    pub clock_off: bool,
    /// What is left for entries in memory.
    pub room: EntryRoom,
    /// The store counts itself last among candidates (large apply lag, little headroom, draining).
    pub reluctant: bool,
}
