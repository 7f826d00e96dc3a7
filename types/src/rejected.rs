//! Every typed refusal. A [`Rejected`] is an answer: the request was understood, and this is why it was not done. Faults (a
//! failing disk, damage, a bug) are no answers; they stop a replica or a store and reach callers as `Unavailable`.

use std::time::Duration;

use crate::ids::RangeId;
use crate::key::Key;
use crate::range::RangeDescriptor;
use crate::request::LeaderHint;
use crate::time::Timestamp;

/// Why a request was not done, and what to do.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Rejected {
    /// The request itself is wrong. Sending it again does not help.
    #[error("invalid request: {0}")]
    Invalid(String),
    /// Another replica leads the range. Nothing was done here; ask the leader, or wait for one.
    #[error("{range} is not led here: {}", whom_to_ask(leader.as_ref()))]
    NotLeader {
        /// The range.
        range: RangeId,
        /// Who does, if known.
        leader: Option<LeaderHint>,
    },
    /// The key is not in the range that the sender named. Nothing was done; here is what this store knows.
    #[error("the key has moved to another range: use the descriptors given")]
    WrongRange {
        /// Descriptors for the key or near it, newest known.
        known: Vec<RangeDescriptor>,
    },
    /// An atomic request touches two ranges. Nothing was done; split it at the key given.
    #[error("the request spans two ranges that meet at {split_key}: send one request for each side")]
    SpansRanges {
        /// The first key of the second range.
        split_key: Key,
    },
    /// A bound was reached: this attempt did nothing. Try again after the time given.
    #[error("busy: try again in {retry_after:?}")]
    Busy {
        /// How long to wait.
        retry_after: Duration,
    },
    /// A newer request of the same slot was seen: this one is over, and its outcome is no longer known.
    #[error("a newer request was seen in this slot: this attempt is too late")]
    StaleSequence,
    /// The request id was used before for another request: a defect of the client.
    #[error("the request id was used for a different request: use a new sequence")]
    RequestReused,
    /// The attempt arrived after its last moment and was not evaluated.
    #[error("the attempt arrived after its last moment, at {now}: send it again with a later one")]
    PastLastMoment {
        /// Fleet time at the store.
        now: Timestamp,
    },
    /// A read below what garbage collection may have removed.
    #[error("versions before {threshold} are gone: read at a later timestamp")]
    BelowGcThreshold {
        /// The oldest timestamp that can be read.
        threshold: Timestamp,
    },
    /// The attempt's outcome is not known: it may have been applied, or may still be.
    #[error("the outcome is not known ({0}): the write may have been applied")]
    Ambiguous(String),
    /// The deadline passed before the request was begun; nothing was done.
    #[error("the deadline passed before the request was begun")]
    DeadlineExceeded,
    /// Nobody may do this by this way, however often it is asked. Nothing was done.
    #[error("not allowed: {0}")]
    Forbidden(String),
    /// The store cannot serve this now (no quorum, quarantined replica, stopping, disk full). Nothing was done.
    #[error("unavailable: {0}")]
    Unavailable(String),
}

impl Rejected {
    /// A refusal that the request itself caused.
    pub fn invalid(what: impl Into<String>) -> Self {
        Self::Invalid(what.into())
    }

    /// True when sending the same request again, here or elsewhere, may succeed.
    #[must_use]
    pub fn may_retry(&self) -> bool {
        match self {
            Self::NotLeader { .. }
            | Self::WrongRange { .. }
            | Self::Busy { .. }
            | Self::PastLastMoment { .. }
            | Self::Ambiguous(_)
            | Self::Unavailable(_) => true,
            Self::Invalid(_)
            | Self::Forbidden(_)
            | Self::SpansRanges { .. }
            | Self::StaleSequence
            | Self::RequestReused
            | Self::BelowGcThreshold { .. }
            | Self::DeadlineExceeded => false,
        }
    }

    /// True when this attempt may have been applied, or may yet be.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        matches!(self, Self::Ambiguous(_))
    }
}

fn whom_to_ask(leader: Option<&LeaderHint>) -> String {
    match leader {
        Some(LeaderHint { store, address: Some(address) }) => format!("ask {store} at {address}"),
        Some(LeaderHint { store, address: None }) => format!("ask {store}"),
        None => "no leader is known yet, try again".into(),
    }
}
