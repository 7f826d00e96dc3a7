//! A [`Rejected`] as a gRPC status, and back: the code for everybody, the typed reason in `grpc-status-details-bin`.

#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use bytes::Bytes;
use holdfast_types::Rejected;
use prost::Message;
use tonic::{Code, Status};

use crate::v1;

/// The type URL under which the reason travels.
const TYPE_URL: &str = "type.googleapis.com/holdfast.v1.Rejection";
/// The same of why a store cannot leave.
const CANNOT_LEAVE_URL: &str = "type.googleapis.com/holdfast.v1.CannotLeave";

/// google.rpc.Status, which gRPC libraries of all languages look for in the details.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<AnyMessage>,
}

/// google.protobuf.Any.
#[derive(Clone, PartialEq, Message)]
struct AnyMessage {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

/// The code of a refusal, for clients that look at nothing else.
#[must_use]
pub fn code(rejected: &Rejected) -> Code {
    match rejected {
        Rejected::Invalid(_) | Rejected::RequestReused => Code::InvalidArgument,
        Rejected::SpansRanges { .. } => Code::FailedPrecondition,
        Rejected::Busy { .. } => Code::ResourceExhausted,
        Rejected::NotLeader { .. } | Rejected::WrongRange { .. } | Rejected::Unavailable(_) => Code::Unavailable,
        Rejected::StaleSequence | Rejected::PastLastMoment { .. } => Code::Aborted,
        Rejected::BelowGcThreshold { .. } => Code::OutOfRange,
        Rejected::Ambiguous(_) => Code::Unknown,
        Rejected::Forbidden(_) => Code::PermissionDenied,
        Rejected::DeadlineExceeded => Code::DeadlineExceeded,
    }
}

/// The status that answers a unary call which was refused.
#[must_use]
pub fn to_status(rejected: Rejected) -> Status {
    let (code, message) = (code(&rejected), rejected.to_string());
    with_detail(code, message, TYPE_URL, v1::Rejection::from(rejected).encode_to_vec())
}

/// The refusal in a status; `None` when the status is the gRPC library's own or the details are not ours.
#[must_use]
pub fn from_status(status: &Status) -> Option<Rejected> {
    v1::Rejection::decode(detail(status, TYPE_URL)?).ok()?.try_into().ok()
}

/// The status that answers a drain which was refused.
#[must_use]
pub fn cannot_leave(refusal: &v1::CannotLeave) -> Status {
    with_detail(Code::FailedPrecondition, refusal.message.clone(), CANNOT_LEAVE_URL, refusal.encode_to_vec())
}

/// Why stores cannot leave, if that is what a status says.
#[must_use]
pub fn why_cannot_leave(status: &Status) -> Option<v1::CannotLeave> {
    v1::CannotLeave::decode(detail(status, CANNOT_LEAVE_URL)?).ok()
}

fn with_detail(code: Code, message: String, type_url: &str, value: Vec<u8>) -> Status {
    let details = vec![AnyMessage { type_url: type_url.to_owned(), value: value.into() }];
    let details = RpcStatus { code: code as i32, message: message.clone(), details }.encode_to_vec();
    Status::with_details(code, message, details.into())
}

fn detail(status: &Status, type_url: &str) -> Option<Bytes> {
    let details = RpcStatus::decode(status.details()).ok()?.details;
    details.into_iter().find(|detail| detail.type_url == type_url).map(|detail| detail.value)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_refusal_comes_back_from_its_status() {
        let refusals = [
            Rejected::invalid("no"),
            Rejected::Busy { retry_after: Duration::from_millis(25) },
            Rejected::Ambiguous("lost".into()),
        ];
        for rejected in refusals {
            let status = to_status(rejected.clone());
            assert_eq!(status.code(), code(&rejected));
            assert_eq!(from_status(&status), Some(rejected));
        }
        assert_eq!(from_status(&Status::unavailable("connection refused")), None);
        let refusal = v1::CannotLeave { reason: v1::CannotLeaveReason::Places.into(), message: "add a store".into() };
        let status = cannot_leave(&refusal);
        assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "add a store"));
        assert_eq!((why_cannot_leave(&status), from_status(&status)), (Some(refusal), None));
    }
}
