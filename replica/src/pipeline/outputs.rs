//! What goes into and comes out of the pipeline.

use bytes::Bytes;
use holdfast_types::{Hlc, Moment, Rejected, Timestamp};

use crate::command::{CommandBody, Garbage, Split};
use crate::effect::Outcome;
use crate::evaluate::Evaluation;
use crate::input::Ticket;
use crate::latches::LatchId;
use crate::view::StoreView;

/// Both kinds of time, as one step sees them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// On the store's clock: deadlines.
    pub moment: Moment,
    /// Fleet time: last moments, expiry of values.
    pub fleet: Timestamp,
}

impl Now {
    /// The time of a step of a leader whose range has this clock.
    #[must_use]
    pub fn of(view: &StoreView<'_>, hlc: &Hlc) -> Self {
        Self { moment: view.now, fleet: hlc.last().max(Timestamp::from_ms(view.fleet_ms)) }
    }
}

/// What the pipeline asks of the replica.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PipelineOutput {
    /// Answer a ticket.
    Answer {
        /// Which.
        ticket: Ticket,
        /// What.
        outcome: Result<Outcome, Rejected>,
    },
    /// Evaluate a write on a snapshot taken from now on.
    Evaluate(Box<Evaluation>),
    /// A write came to nothing, and that is to be answered. Confirm, as a read is confirmed, that this leader leads still; then
    /// [`super::Pipeline::confirmed`] or [`super::Pipeline::unconfirmed`].
    ConfirmOutcome {
        /// Which.
        ticket: Ticket,
    },
}

impl PipelineOutput {
    pub(super) fn refused(ticket: Ticket, rejected: Rejected) -> Self {
        Self::Answer { ticket, outcome: Err(rejected) }
    }
}

/// An administrative request that goes through the range's log as an ordinary entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AdminWrite {
    /// Cuts the range in two. Waits for all writes before it; all after it wait.
    Split(Split),
    /// Raises the threshold of garbage collection.
    RaiseGcThreshold(Timestamp),
    /// Removes garbage.
    CollectGarbage(Garbage),
}

impl AdminWrite {
    pub(super) fn size_bytes(&self) -> usize {
        const SMALL_BYTES: usize = 128;
        match self {
            Self::Split(split) => SMALL_BYTES + split.at.raw().len(),
            Self::RaiseGcThreshold(_) => SMALL_BYTES,
            Self::CollectGarbage(garbage) => SMALL_BYTES + garbage.size_bytes(),
        }
    }

    pub(super) fn into_body(self, timestamp: Timestamp) -> CommandBody {
        match self {
            Self::Split(split) => CommandBody::Split(split),
            Self::RaiseGcThreshold(threshold) => CommandBody::RaiseGcThreshold(threshold),
            Self::CollectGarbage(garbage) => CommandBody::CollectGarbage { timestamp, garbage },
        }
    }
}

/// Requests that share one entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    /// The data of the entry.
    pub command: Bytes,
    /// Whose requests they are.
    pub(super) writes: Vec<LatchId>,
}

impl Batch {
    /// How many requests it carries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Never true: a batch has a request.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }
}
