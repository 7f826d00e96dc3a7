//! Messages that have no decoder of their own behind them here: batches of streams, what joins and announces itself, what operators ask and
//! are answered. Their fields are counted before they are decoded, and what has a type of ours becomes one.

use bytes::Bytes;
use holdfast_proto::fields;
use holdfast_proto::v1;
use holdfast_types::{Located, RangeDescriptor, limits};
use prost::{Message, Name};

use crate::pieces;

/// What reads a message.
type Read = fn(&Bytes);

/// Every one of them. The tag of a piece says which.
const MESSAGES: &[Read] = &[
    only::<v1::LinkFrame>,
    only::<v1::LinkBatch>,
    only::<v1::StoreMessage>,
    only::<v1::JoinRequest>,
    only::<v1::JoinResponse>,
    only::<v1::AnnounceRequest>,
    only::<v1::AnnounceResponse>,
    only::<v1::InitRequest>,
    only::<v1::DescribeResponse>,
    only::<v1::LocateRequest>,
    |bytes| {
        let Some(located) = read::<v1::LocateResponse>(bytes) else { return };
        located.ranges.into_iter().for_each(|range| drop(Located::try_from(range)));
    },
    only::<v1::ScanRequest>,
    only::<v1::ScanResponse>,
    only::<v1::StreamRequest>,
    only::<v1::CreateKeyspaceRequest>,
    only::<v1::SplitRangeRequest>,
    only::<v1::ChangeReplicasRequest>,
    only::<v1::TransferLeaderRequest>,
    only::<v1::ForgetStoreRequest>,
    only::<v1::MoveSiteRequest>,
    only::<v1::DrainStoresRequest>,
    only::<v1::PrepareToStopRequest>,
    only::<v1::ListEventsRequest>,
    only::<v1::ListStoresResponse>,
    |bytes| {
        let Some(descriptor) = read::<v1::RangeDescriptor>(bytes) else { return };
        if let Ok(descriptor) = RangeDescriptor::try_from(descriptor) {
            descriptor.check().expect("what converts keeps its invariants");
            let _ = descriptor.told();
        }
    },
    only::<v1::ListAuditRequest>,
    only::<v1::CreateJoinTokenRequest>,
    only::<v1::RevokeJoinTokenRequest>,
];

/// How many kinds there are.
pub(crate) fn kinds() -> u8 {
    u8::try_from(MESSAGES.len()).expect("few")
}

/// Each piece is a message of the kind that its tag says.
pub(crate) fn run(input: &[u8]) {
    for piece in pieces::cut(input) {
        MESSAGES[usize::from(piece.tag) % MESSAGES.len()](&piece.bytes);
    }
}

fn only<M: Message + Name + Default>(bytes: &Bytes) {
    let _ = read::<M>(bytes);
}

fn read<M: Message + Name + Default>(bytes: &Bytes) -> Option<M> {
    // Every field takes a byte at least: what has more of them than bytes has a group, and is refused whatever the bound is; or it is
    // malformed in a field before that one, which is what the decoder says then.
    if !fields::are_within::<M>(bytes, bytes.len()) || !fields::are_few(bytes, bytes.len()) {
        let passes = fields::are_within::<M>(bytes, limits::MAX_REQUEST_FIELDS) && M::decode(bytes.clone()).is_ok();
        assert!(!passes, "a group passed");
        return None;
    }
    for most in [0, 1, 7] {
        let (fewer, more) = (fields::are_within::<M>(bytes, most), fields::are_within::<M>(bytes, most + 1));
        assert!(more || !fewer, "more than {most} fields, and not more than {}", most + 1);
    }
    let message =
        fields::are_within::<M>(bytes, limits::MAX_REQUEST_FIELDS).then(|| M::decode(bytes.clone()).ok())??;
    let again = message.encode_to_vec();
    assert!(M::decode(&again[..]).is_ok(), "what was read can be written and read again");
    Some(message)
}
