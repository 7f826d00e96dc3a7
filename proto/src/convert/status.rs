//! A [`Rejected`] as a gRPC status, and back: the code for everybody, the typed reason in `grpc-status-details-bin`.

use bytes::Bytes;
use holdfast_types::Rejected;
use prost::Message;
use tonic::{Code, Status};

use crate::v1;

/// The type URL under which the reason travels.
const TYPE_URL: &str = "type.googleapis.com/holdfast.v1.Rejection";

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
    let code = code(&rejected);
    let message = rejected.to_string();
    let value = Bytes::from(v1::Rejection::from(rejected).encode_to_vec());
    let details = vec![AnyMessage { type_url: TYPE_URL.to_owned(), value }];
    let details = RpcStatus { code: code as i32, message: message.clone(), details }.encode_to_vec();
    Status::with_details(code, message, details.into())
}

/// The refusal in a status; `None` when the status is the gRPC library's own or the details are not ours.
#[must_use]
pub fn from_status(status: &Status) -> Option<Rejected> {
    let details = RpcStatus::decode(status.details()).ok()?.details;
    let ours = details.into_iter().find(|detail| detail.type_url == TYPE_URL)?;
    v1::Rejection::decode(ours.value).ok()?.try_into().ok()
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
    }
}
