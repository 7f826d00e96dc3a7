//! A [`Rejected`] as a gRPC status, and back: the code for everybody, the typed reason in `grpc-status-details-bin`.
//!
//! A status travels in the headers of a response, and gRPC libraries bound those: at 8 KiB unless they are told otherwise, and beyond
//! that the caller sees a refusal of its own library instead of ours. [`bounded`] keeps any status within
//! [`limits::MAX_STATUS_BYTES`]: texts are cut, and what only saves the caller a look-up is left out. The reason always stays.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use holdfast_types::{Rejected, limits};
use http::HeaderMap;
use prost::Message;
use prost_types::Any;
use tonic::{Code, Status};
use tonic_types::Status as RpcStatus;

use crate::v1;
use crate::v1::rejection::Reason;

/// The type URL under which the reason travels.
const TYPE_URL: &str = "type.googleapis.com/holdfast.v1.Rejection";
/// The same of why a store cannot leave.
const CANNOT_LEAVE_URL: &str = "type.googleapis.com/holdfast.v1.CannotLeave";
/// What a text ends with that was cut.
const CUT: &str = " [cut]";
/// What HTTP/2 counts for a header beside its name and value.
const HEADER_OVERHEAD_BYTES: usize = 32;
/// Bytes of keys and bytes of each text that are tried for a status that is too large, until it is not.
const TRIED: [(usize, usize); 8] =
    [(2_048, 1_024), (2_048, 512), (2_048, 256), (2_048, 128), (1_024, 512), (1_024, 256), (0, 512), (0, 64)];

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
    with_detail(code, message, TYPE_URL, &v1::Rejection::from(rejected))
}

/// The refusal in a status; `None` when the status is the gRPC library's own or the details are not ours.
#[must_use]
pub fn from_status(status: &Status) -> Option<Rejected> {
    detail::<v1::Rejection>(status, TYPE_URL)?.try_into().ok()
}

/// The status that answers a drain which was refused.
#[must_use]
pub fn cannot_leave(refusal: &v1::CannotLeave) -> Status {
    with_detail(Code::FailedPrecondition, refusal.message.clone(), CANNOT_LEAVE_URL, refusal)
}

/// Why stores cannot leave, if that is what a status says.
#[must_use]
pub fn why_cannot_leave(status: &Status) -> Option<v1::CannotLeave> {
    detail(status, CANNOT_LEAVE_URL)
}

fn with_detail(code: Code, message: String, type_url: &str, value: &impl Message) -> Status {
    let details = vec![Any { type_url: type_url.to_owned(), value: value.encode_to_vec() }];
    let details = RpcStatus { code: code as i32, message: message.clone(), details }.encode_to_vec();
    bounded(Status::with_details(code, message, details.into()))
}

fn detail<M: Message + Default>(status: &Status, type_url: &str) -> Option<M> {
    let details = RpcStatus::decode(status.details()).ok()?.details;
    let detail = details.into_iter().find(|detail| detail.type_url == type_url)?;
    M::decode(detail.value.as_slice()).ok()
}

/// The status as it may be sent: itself, or a shorter one with the same code and reason. What it loses on the way, in this order: keys of more
/// than 1 or 2 KiB, ends of texts, all keys. A `wrong_range` that names fewer ranges, or a `spans_ranges` without its key, costs the caller a
/// look-up.
#[must_use]
pub fn bounded(status: Status) -> Status {
    if sent_bytes(&status) <= limits::MAX_STATUS_BYTES {
        return status;
    }
    let details = RpcStatus::decode(status.details()).unwrap_or_default();
    let mut shorter = TRIED.iter().map(|(keys, text)| shortened(&status, &details, *keys, *text));
    let fitting = shorter.find(|shorter| sent_bytes(shorter) <= limits::MAX_STATUS_BYTES);
    // Details that are not ours, or metadata.
    fitting.unwrap_or_else(|| Status::new(status.code(), cut(status.message(), 64)))
}

/// What a status takes in the headers of a response.
fn sent_bytes(status: &Status) -> usize {
    let mut headers = HeaderMap::new();
    if status.add_header(&mut headers).is_err() {
        return usize::MAX;
    }
    let sizes = headers.iter().flat_map(|(name, value)| [name.as_str().len(), value.len(), HEADER_OVERHEAD_BYTES]);
    sizes.fold(0, usize::saturating_add)
}

fn shortened(status: &Status, details: &RpcStatus, keys: usize, text: usize) -> Status {
    let message = cut(status.message(), text);
    let shorter = |detail: &Any| {
        let value = match detail.type_url.as_str() {
            TYPE_URL => {
                shorter_rejection(v1::Rejection::decode(detail.value.as_slice()).ok()?, keys, text).encode_to_vec()
            }
            CANNOT_LEAVE_URL => {
                let refusal = v1::CannotLeave::decode(detail.value.as_slice()).ok()?;
                v1::CannotLeave { message: cut(&refusal.message, text), ..refusal }.encode_to_vec()
            }
            _ => detail.value.clone(),
        };
        Some(Any { type_url: detail.type_url.clone(), value })
    };
    let details: Vec<_> = details.details.iter().filter_map(shorter).collect();
    if details.is_empty() {
        return Status::with_metadata(status.code(), message, status.metadata().clone());
    }
    let details = RpcStatus { code: status.code() as i32, message: message.clone(), details }.encode_to_vec();
    Status::with_details_and_metadata(status.code(), message, details.into(), status.metadata().clone())
}

fn shorter_rejection(mut rejection: v1::Rejection, keys: usize, text: usize) -> v1::Rejection {
    rejection.message = cut(&rejection.message, text);
    match &mut rejection.reason {
        Some(Reason::WrongRange(wrong)) => {
            let mut bytes = 0_usize;
            wrong.known.retain(|known| {
                bytes = bytes.saturating_add(known.encoded_len());
                bytes <= keys
            });
        }
        Some(Reason::SpansRanges(spans)) if spans.split_key.len() > keys => spans.split_key.clear(),
        // Half an address leads nowhere.
        Some(Reason::NotLeader(v1::NotLeader { leader: Some(leader), .. })) if leader.address.len() > text => {
            leader.address.clear();
        }
        _ => {}
    }
    rejection
}

/// The first `most` bytes of a text, or a little less, with a mark when that is not all.
fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let kept = text.get(..text.floor_char_boundary(most.saturating_sub(CUT.len()))).unwrap_or_default();
    format!("{kept}{CUT}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use holdfast_types::{
        Key, KeyRange, KeyspaceId, LeaderHint, RangeDescriptor, RangeEpoch, RangeId, ReplicaDescriptor, ReplicaId,
        Role, SiteName, StoreId,
    };
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_refusal_comes_back_from_its_status() {
        let refusals = [
            Rejected::invalid("no"),
            Rejected::Busy { retry_after: Duration::from_millis(25) },
            Rejected::Ambiguous("lost".into()),
            Rejected::SpansRanges { split_key: Key::bound(KeyspaceId(1), &[0xff; 1_024]) },
            Rejected::WrongRange { known: vec![range(1, 100), range(2, 100)] },
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

    /// Bytes that clients in other languages rely on.
    #[test]
    fn the_details_are_a_status_of_google_rpc() {
        let status = to_status(Rejected::StaleSequence);
        let rejection = v1::Rejection::from(Rejected::StaleSequence).encode_to_vec();
        // A tag and a length below 128, as protobuf writes a field of bytes.
        let field = |tag: u8, bytes: &[u8]| [&[tag, u8::try_from(bytes.len()).unwrap()], bytes].concat();
        assert!(rejection.len() + TYPE_URL.len() < 120);
        let any = [field(0x0a, TYPE_URL.as_bytes()), field(0x12, &rejection)].concat();
        let wanted = [vec![0x08, 10], field(0x12, status.message().as_bytes()), field(0x1a, &any)].concat();
        assert_eq!(status.details(), wanted);
    }

    fn range(id: u64, key_bytes: usize) -> RangeDescriptor {
        let bound = |last| Key::bound(KeyspaceId(1), &[vec![0xff; key_bytes - 1], vec![last]].concat());
        let site = SiteName::new(&"s".repeat(63)).unwrap();
        let replicas = (1..=5).map(|n| ReplicaDescriptor {
            replica: ReplicaId(n),
            store: StoreId(n),
            site: site.clone(),
            role: Role::Voter,
        });
        RangeDescriptor {
            range: RangeId(id),
            bounds: KeyRange { start: bound(0), end: Some(bound(1)) },
            epoch: RangeEpoch::default(),
            replicas: replicas.collect(),
            next_replica: ReplicaId(6),
        }
    }

    fn is_sent(status: &Status) -> bool {
        sent_bytes(status) <= limits::MAX_STATUS_BYTES
    }

    #[test]
    fn the_largest_refusals_keep_their_reason_and_fit() {
        let long = |text: &str| text.repeat(limits::MAX_MESSAGE_BYTES / text.len());
        let nested = (0..1_000).fold("disk".to_owned(), |text, _| Rejected::Unavailable(text).to_string());
        let hint = LeaderHint { store: StoreId::MAX, address: Some(long("a")) };
        let longest = Key::bound(KeyspaceId(u32::MAX), &[0xff; limits::MAX_KEY_BYTES + 1]);
        let refusals = [
            Rejected::invalid(long("\u{1b}[2J")),
            Rejected::Forbidden(long("ключ ")),
            Rejected::Ambiguous(long("a")),
            Rejected::Unavailable(nested),
            Rejected::NotLeader { range: RangeId::MAX, leader: Some(hint) },
            Rejected::WrongRange { known: (1..200).map(|id| range(id, limits::MAX_KEY_BYTES)).collect() },
            Rejected::WrongRange { known: (1..200).map(|id| range(id, 100)).collect() },
            Rejected::SpansRanges { split_key: longest },
        ];
        for rejected in refusals {
            let status = to_status(rejected.clone());
            assert!(is_sent(&status), "{} bytes", sent_bytes(&status));
            assert_eq!(status.code(), code(&rejected));
            let kept = from_status(&status).unwrap();
            assert_eq!(std::mem::discriminant(&kept), std::mem::discriminant(&rejected));
            match (rejected, kept) {
                (Rejected::WrongRange { known }, Rejected::WrongRange { known: kept }) => {
                    // Those that fit, in their order.
                    assert_eq!(kept, known[..kept.len()]);
                    assert_eq!(kept.is_empty(), known[0].bounds.start.user_key().len() > 1_000);
                }
                (_, Rejected::SpansRanges { split_key }) => {
                    assert_eq!(split_key, Key::MIN);
                    assert!(status.message().contains("...(4097 B)"), "{}", status.message());
                }
                (Rejected::NotLeader { .. }, Rejected::NotLeader { leader, .. }) => {
                    assert_eq!(leader.unwrap(), LeaderHint { store: StoreId::MAX, address: None });
                }
                _ => assert!(status.message().ends_with(CUT) && status.message().len() > 200, "{}", status.message()),
            }
        }
        let sentence = v1::CannotLeave { reason: v1::CannotLeaveReason::Load.into(), message: long("s1 and ") };
        let status = cannot_leave(&sentence);
        assert!(is_sent(&status));
        assert_eq!(why_cannot_leave(&status).unwrap().reason(), v1::CannotLeaveReason::Load);
    }

    #[test]
    fn statuses_of_any_make_fit_and_are_left_alone_when_they_do() {
        let short = Status::not_found("there is no keyspace");
        let same = bounded(short.clone());
        assert_eq!((same.code(), same.message(), same.details()), (Code::NotFound, short.message(), &[][..]));
        let foreign = Status::with_details(Code::Internal, "x".repeat(9_000), vec![0xff; 9_000].into());
        let kept = bounded(foreign);
        assert!(is_sent(&kept) && kept.code() == Code::Internal && kept.message().ends_with(CUT));
        let mut much = Status::unknown("why");
        much.metadata_mut().insert("x-much", "y".repeat(9_000).parse().unwrap());
        assert!(is_sent(&bounded(much)));
    }

    proptest! {
        #[test]
        fn every_status_fits_and_is_the_same_when_it_is_bounded_again(
            text in ".{0,3000}",
            key in proptest::collection::vec(any::<u8>(), 1..4_200),
            spans in any::<bool>(),
        ) {
            let split_key = Key::bound(KeyspaceId(1), &key);
            let status = to_status(if spans { Rejected::SpansRanges { split_key } } else { Rejected::Unavailable(text) });
            prop_assert!(is_sent(&status));
            prop_assert!(from_status(&status).is_some());
            let again = bounded(status.clone());
            prop_assert_eq!((again.message(), again.details()), (status.message(), status.details()));
        }
    }
}
