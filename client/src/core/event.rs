//! What goes into the core and what comes out.

use std::time::Duration;

use holdfast_types::{
    ClientId, KeyRange, Located, Moment, RangeRequest, Rejected, Request, Response, SiteName, StoreId, Timestamp,
};

use super::policy::RetryPolicy;
use crate::ClientError;

/// Names a call of this client. The caller counts them; ids from [`CallId::FIRST_INTERNAL`] on are the core's own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CallId(pub u64);

impl CallId {
    /// The parts of calls that the core cuts are named from here on.
    pub const FIRST_INTERNAL: CallId = CallId(1 << 47);
}

/// Names one attempt of one call for ever: the call and the attempt's number within it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AttemptId(pub u64);

impl AttemptId {
    const NUMBER_BITS: u32 = 16;
    /// A call has at most this many attempts; the shortest wait and the longest deadline allow fewer.
    pub const MAX_NUMBER: u32 = (1 << Self::NUMBER_BITS) - 1;

    pub(super) fn new(call: CallId, number: u32) -> Self {
        assert!(number <= Self::MAX_NUMBER && call.0 < 1 << 48, "ids of calls and attempts are bounded");
        Self(call.0 << Self::NUMBER_BITS | u64::from(number))
    }

    /// The call.
    #[must_use]
    pub fn call(self) -> CallId {
        CallId(self.0 >> Self::NUMBER_BITS)
    }

    /// Counts the attempts of the call from 1.
    #[must_use]
    pub fn number(self) -> u32 {
        u32::try_from(self.0 & u64::from(Self::MAX_NUMBER)).expect("16 bits")
    }
}

/// Names one look-up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LocateId(pub u64);

/// What one client needs to know about itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CoreOptions {
    /// The client session: 128 random bits, never used before.
    pub client: ClientId,
    /// Where the client runs; its stores are preferred. `None`: outside of every site.
    pub site: Option<SiteName>,
    /// Spreads waits and choices among clients.
    pub seed: u64,
}

/// What a call took.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Effort {
    /// Attempts sent to stores, redirected ones and those of parts included.
    pub attempts: u32,
    /// Of these, the ones that were sent because an earlier one was refused for a while, or lost.
    pub retries: u32,
}

impl Effort {
    pub(crate) fn add(&mut self, other: Effort) {
        self.attempts = self.attempts.saturating_add(other.attempts);
        self.retries = self.retries.saturating_add(other.retries);
    }
}

/// A store of the fleet, as the core must know it. Addresses are the driver's affair.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownStore {
    /// Which.
    pub store: StoreId,
    /// Its site.
    pub site: SiteName,
}

/// Everything that can happen to a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The application asks. A get may have keys of several ranges; everything else concerns one range, or the part of its bounds
    /// within one range.
    Call {
        /// Its name, not used before, below [`CallId::FIRST_INTERNAL`].
        call: CallId,
        /// What is asked.
        request: Request,
        /// Until when an answer is of use.
        deadline: Moment,
        /// How it is tried again.
        retry: RetryPolicy,
    },
    /// Nobody waits for the call any more; it is not finished.
    Cancel {
        /// Which.
        call: CallId,
    },
    /// A store answered an attempt.
    Answer {
        /// Which store.
        store: StoreId,
        /// Which attempt.
        attempt: AttemptId,
        /// What it said.
        outcome: Result<Response, Rejected>,
        /// Fleet time at the store.
        fleet_now: Timestamp,
    },
    /// An attempt could not be sent: nothing was done about it, and nothing was heard of the store.
    Unsent {
        /// Which store.
        store: StoreId,
        /// Which attempt.
        attempt: AttemptId,
    },
    /// A store gave a sign of life.
    Heard {
        /// Which store.
        store: StoreId,
        /// Fleet time there.
        fleet_now: Timestamp,
    },
    /// The stream to a store is open.
    StreamUp {
        /// Which store.
        store: StoreId,
    },
    /// The stream to a store broke, or could not be opened: attempts sent there are not answered any more.
    StreamDown {
        /// Which store.
        store: StoreId,
    },
    /// Why the stream to a store is about to break, or cannot be opened: for those who wait for the store in vain.
    Why {
        /// Which store.
        store: StoreId,
        /// A clause, of bounded length.
        why: String,
    },
    /// A look-up was answered.
    Located {
        /// Which look-up.
        locate: LocateId,
        /// What the store knows.
        found: Vec<Located>,
        /// Fleet time at the store.
        fleet_now: Timestamp,
    },
    /// A look-up was answered that no range is there for us: we may do nothing with these keys. [`Event::Located`] of the same follows.
    Hidden {
        /// Which look-up.
        locate: LocateId,
        /// What the store says.
        why: String,
    },
    /// A look-up could not be made.
    LocateFailed {
        /// Which look-up.
        locate: LocateId,
    },
    /// A store tells of a range and its leader unasked.
    Notice(Located),
    /// These are the stores of the fleet, all of them.
    FleetLearned {
        /// The stores.
        stores: Vec<KnownStore>,
    },
    /// The moment of the last [`Action::SetTimer`] has come.
    Timer,
}

/// Everything that a client's core asks its driver to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Send an attempt on the stream of a store; open the stream if need be. When that is impossible: [`Event::Unsent`].
    Send {
        /// Where to.
        store: StoreId,
        /// Comes back with the answer.
        attempt: AttemptId,
        /// What is asked.
        request: RangeRequest,
        /// How long the store may take.
        timeout: Duration,
    },
    /// Nobody waits for the answer of an attempt any more: tell the store if the stream is open.
    Abandon {
        /// Which store.
        store: StoreId,
        /// Which attempt.
        attempt: AttemptId,
    },
    /// Ask a store which ranges hold these keys; then [`Event::Located`] or [`Event::LocateFailed`].
    Locate {
        /// Comes back.
        locate: LocateId,
        /// Whom to ask.
        via: StoreId,
        /// From the start on; with `reverse` from the end backwards.
        bounds: KeyRange,
        /// The last ranges first.
        reverse: bool,
    },
    /// A call is over; its name is never heard of again.
    Finish {
        /// Which.
        call: CallId,
        /// How it ended.
        outcome: Result<Response, ClientError>,
        /// What it took.
        effort: Effort,
    },
    /// Send [`Event::Timer`] at this moment; replaces the timer before.
    SetTimer {
        /// When.
        at: Moment,
    },
}
