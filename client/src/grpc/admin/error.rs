//! What an operator is told when a call of the admin API did not succeed.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use holdfast_proto::convert::BadMessage;
use holdfast_proto::convert::status::{from_status, why_cannot_leave};
use holdfast_types::Rejected;
use tonic::{Code, Status};

use crate::untrusted::Untrusted;

pub use holdfast_proto::v1::CannotLeaveReason;

/// Why a call failed, and what to do.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AdminError {
    /// No address answered. Nothing was done.
    #[error("no store could be reached ({0}): check the addresses")]
    Unreachable(String),
    /// Stores answered, and one end of each connection did not believe the other. Nothing was done. The text says whose certificate or token it
    /// is, and what to do about it.
    #[error("no store could be trusted, or none trusts this client ({0})")]
    Untrusted(#[from] Untrusted),
    /// The fleet refused. Nothing was done, unless the refusal is that the outcome is not known.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// There is no such keyspace, range or store.
    #[error("{0}")]
    NotFound(String),
    /// There is one already.
    #[error("{0}")]
    AlreadyExists(String),
    /// The fleet is not as it would have to be: another epoch, no live voter there.
    #[error("{0}")]
    FailedPrecondition(String),
    /// Stores cannot be drained; nothing has moved.
    #[error("{message}")]
    CannotLeave {
        /// What is in the way.
        reason: CannotLeaveReason,
        /// The same in a sentence, with what it would take.
        message: String,
    },
    /// It did not come about in time. It may yet.
    #[error("{0}")]
    DeadlineExceeded(String),
    /// The connection broke while a change was being made: look before asking again.
    #[error("the outcome is not known ({0}): look before asking again")]
    Ambiguous(String),
    /// A store answered something that this client does not understand.
    #[error("a store gave an answer that does not fit ({0}): client and stores must be of neighbouring versions")]
    Protocol(String),
}

impl AdminError {
    /// True when a change may have been made although the call failed.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        match self {
            Self::Ambiguous(_) | Self::DeadlineExceeded(_) | Self::Protocol(_) => true,
            Self::Rejected(rejected) => rejected.is_ambiguous(),
            Self::Unreachable(_)
            | Self::Untrusted(_)
            | Self::NotFound(_)
            | Self::AlreadyExists(_)
            | Self::FailedPrecondition(_)
            | Self::CannotLeave { .. } => false,
        }
    }

    pub(super) fn from_status(status: &Status, is_change: bool) -> Self {
        if let Some(rejected) = from_status(status) {
            return Self::Rejected(rejected);
        }
        if let Some(refusal) = why_cannot_leave(status) {
            return Self::CannotLeave { reason: refusal.reason(), message: refusal.message };
        }
        let message = status.message().to_owned();
        match status.code() {
            Code::NotFound => Self::NotFound(message),
            Code::AlreadyExists => Self::AlreadyExists(message),
            Code::FailedPrecondition => Self::FailedPrecondition(message),
            Code::InvalidArgument => Self::Rejected(Rejected::Invalid(message)),
            Code::PermissionDenied => Self::Rejected(Rejected::Forbidden(message)),
            Code::DeadlineExceeded => Self::DeadlineExceeded(message),
            Code::Unavailable => Self::Rejected(Rejected::Unavailable(message)),
            Code::Unknown | Code::Internal | Code::Cancelled if is_change => Self::Ambiguous(message),
            code => Self::Protocol(format!("{code:?}: {message}")),
        }
    }
}

impl From<BadMessage> for AdminError {
    fn from(bad: BadMessage) -> Self {
        Self::Protocol(bad.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_its_error() {
        let of = |status: Status| AdminError::from_status(&status, true);
        assert_eq!(of(Status::not_found("x")), AdminError::NotFound("x".into()));
        assert_eq!(of(Status::already_exists("x")), AdminError::AlreadyExists("x".into()));
        assert_eq!(of(Status::failed_precondition("x")), AdminError::FailedPrecondition("x".into()));
        assert!(of(Status::cancelled("x")).is_ambiguous());
        assert!(!AdminError::from_status(&Status::invalid_argument("x"), false).is_ambiguous());
        let rejected = Rejected::Ambiguous("x".into());
        let status = holdfast_proto::convert::status::to_status(rejected.clone());
        assert_eq!(AdminError::from_status(&status, true), AdminError::Rejected(rejected));
    }
}
