//! The state of a range next to its data: the same bytes on every replica that has applied the same entries.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use bytes::Bytes;
use holdfast_proto::convert::BadMessage;
use holdfast_proto::convert::common::required;
use holdfast_proto::convert::storage::expect_version;
use holdfast_proto::v1;
use holdfast_types::{LogIndex, OutOfBounds, RangeDescriptor, RangeEpoch, ReplicaId, Term, Timestamp};
use prost::Message;

const VERSION: u32 = 1;

/// What a range is, as of one applied entry. Written in the batch of the data that the entry wrote.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RangeState {
    /// Bounds, replicas, epoch. Raft's configuration is derived from it.
    pub descriptor: RangeDescriptor,
    /// Everything up to here is in the data.
    pub applied: LogIndex,
    /// The term of that entry.
    pub applied_term: Term,
    /// Versions shadowed before it may be gone: reads below are refused.
    pub gc_threshold: Timestamp,
    /// The newest timestamp applied: the range's time. A leader's clock starts past it, and a value has expired for readers when
    /// its end lies at or before it: so expiry moves one way, whoever leads.
    pub last_timestamp: Timestamp,
}

impl RangeState {
    /// True when it can be read again once it is written; the error says why not. To be asked before anything is written with it: a store
    /// does not start that cannot read the state of one of its ranges.
    pub fn check(&self) -> Result<(), String> {
        self.descriptor.check()?;
        let out = |bad: OutOfBounds| bad.to_string();
        let epoch = self.descriptor.epoch;
        RangeEpoch::bounded(epoch.membership, epoch.bounds).map_err(out)?;
        ReplicaId::bounded(self.descriptor.next_replica.0).map_err(out)?;
        LogIndex::bounded(self.applied.0).map_err(out)?;
        Term::bounded(self.applied_term.0).map_err(out)?;
        Timestamp::bounded(self.gc_threshold.0).map_err(out)?;
        Timestamp::bounded(self.last_timestamp.0).map_err(out)?;
        Ok(())
    }

    /// True when every number in it is one that a socket may say: of what comes in a snapshot.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.descriptor.clone().told().is_ok()
            && LogIndex::told(self.applied.0).is_ok()
            && Term::told(self.applied_term.0).is_ok()
            && Timestamp::told(self.gc_threshold.0).is_ok()
            && Timestamp::told(self.last_timestamp.0).is_ok()
    }

    /// The bytes stored in the data instance.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let stored = v1::StoredRangeState {
            version: VERSION,
            descriptor: Some(self.descriptor.clone().into()),
            applied_index: self.applied.0,
            applied_term: self.applied_term.0,
            gc_threshold: self.gc_threshold.0,
            last_timestamp: self.last_timestamp.0,
        };
        stored.encode_to_vec().into()
    }

    /// Reads what [`RangeState::encode`] wrote. Refuses other versions, and descriptors that break their invariants.
    pub fn decode(bytes: Bytes) -> Result<Self, BadMessage> {
        let stored = v1::StoredRangeState::decode(bytes)?;
        expect_version("range state", stored.version, VERSION)?;
        let descriptor: RangeDescriptor = required(stored.descriptor, "the descriptor of a range state")?.try_into()?;
        descriptor.check().map_err(BadMessage::malformed)?;
        Ok(Self {
            descriptor,
            applied: LogIndex::bounded(stored.applied_index)?,
            applied_term: Term::bounded(stored.applied_term)?,
            gc_threshold: Timestamp::bounded(stored.gc_threshold)?,
            last_timestamp: Timestamp::bounded(stored.last_timestamp)?,
        })
    }
}
