//! What stores answer to operators, and refusals in the status of a call: read by clients, from whoever answers.

use bytes::Bytes;
use holdfast_client::admin::{
    AuditPage, Drained, Events, Forgotten, Keyspace, MovedSite, Prepared, RangePage, Settings, Sites, Split, Stores,
    TokenInfo, Transferred,
};
use holdfast_proto::convert::status;
use holdfast_proto::v1;
use prost::Message;
use tonic::{Code, Status};

use crate::pieces;

/// Every one of them. The tag of a piece says which.
const ANSWERS: &[fn(&Bytes)] = &[
    refusal,
    |bytes| read::<v1::ListSitesResponse, Sites>(bytes),
    |bytes| read::<v1::MoveSiteResponse, MovedSite>(bytes),
    |bytes| read::<v1::ListStoresResponse, Stores>(bytes),
    |bytes| read::<v1::ListRangesResponse, RangePage>(bytes),
    |bytes| read::<v1::ListSettingsResponse, Settings>(bytes),
    |bytes| read::<v1::Keyspace, Keyspace>(bytes),
    |bytes| read::<v1::SplitRangeResponse, Split>(bytes),
    |bytes| read::<v1::ForgetStoreResponse, Forgotten>(bytes),
    |bytes| read::<v1::DrainStoresResponse, Drained>(bytes),
    |bytes| read::<v1::PrepareToStopResponse, Prepared>(bytes),
    |bytes| read::<v1::TransferLeaderResponse, Transferred>(bytes),
    |bytes| read::<v1::ListEventsResponse, Events>(bytes),
    |bytes| read::<v1::ListAuditResponse, AuditPage>(bytes),
    |bytes| read::<v1::JoinToken, TokenInfo>(bytes),
];

/// How many kinds there are.
pub(crate) fn kinds() -> u8 {
    u8::try_from(ANSWERS.len()).expect("few")
}

/// Each piece is an answer of the kind that its tag says.
pub(crate) fn run(input: &[u8]) {
    for piece in pieces::cut(input) {
        ANSWERS[usize::from(piece.tag) % ANSWERS.len()](&piece.bytes);
    }
}

fn read<M: Message + Default, A: TryFrom<M> + std::fmt::Debug>(bytes: &Bytes) {
    if let Some(answer) = M::decode(bytes.clone()).ok().and_then(|answer| A::try_from(answer).ok()) {
        let _ = format!("{answer:?}");
    }
}

/// The details of a status, which may come with any answer.
fn refusal(bytes: &Bytes) {
    let told = Status::with_details(Code::Unavailable, String::from_utf8_lossy(bytes), bytes.clone());
    let _ = status::why_cannot_leave(&told);
    if let Some(rejected) = status::from_status(&told) {
        assert!(status::from_status(&status::to_status(rejected)).is_some(), "a refusal can be passed on");
    }
    let sent = status::bounded(told);
    assert_eq!(status::bounded(sent.clone()).message(), sent.message(), "what fits is left as it is");
}
