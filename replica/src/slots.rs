//! Exactly once: one record for each slot of a client says what its newest request came to.
//!
//! A client that hears no answer must send its write again, and must not write twice. So a write has an id: a client
//! (128 random bits), one of that client's 1,024 slots, and a sequence that only grows in the slot. A slot has one
//! request at a time. The range keeps the newest outcome of each slot, in the same batch as the write itself
//! (docs/replication.md#record-with-the-write). An attempt with the same sequence is answered with that outcome, one
//! with a lower sequence is stale, and one with a higher sequence is new and replaces the record. A hash tells another
//! request under the same id from a repetition.
//!
//! Why it is right. Three ways lead past a record, and each is closed. Two attempts at once both find none: so an
//! attempt latches its slot from look-up to apply (docs/replication.md#one-attempt-at-a-time). A split moves the keys:
//! so both sides get the records (docs/replication.md#records-go-to-both-sides). The record is gone: so it stays until
//! nothing that it must answer, or refuse, can still arrive.
//!
//! That last bound is the delicate one. A client sends all attempts of a request within 60 s, and gives each a last
//! moment at most 60 s ahead of its own, monotone view of fleet time. So the last moment of any attempt of this request
//! or an earlier one in the slot lies at most 60 s behind the record's. A record goes by a replicated deletion whose
//! timestamp lies further ahead than that, plus the tolerated offset of clocks. That timestamp counts as applied, every
//! later leader's clock starts past it, and what arrives then is past its last moment
//! (docs/replication.md#record-outlives-every-attempt, docs/replication.md#no-write-past-its-last-moment).
//!
//! An outcome that wrote nothing leaves no record on the first attempt, which keeps failed conditions cheap. It is
//! answered like a read instead, and the client does not believe it while a later attempt may still write
//! (docs/replication.md#empty-outcome-is-a-read).
//!
//! What it does not do. A write without an id happens at most once for each time that it is sent, and no more is
//! promised. A record does not make a batch over several ranges one write. Reads have no ids.
//!
//! `SlotCache` saves the look-up for slots that this leader has seen. It is memory of one leadership, bounded, and may
//! forget anything.
//!
//! Where it is from. Completion records that are written with the object are RIFL's (Lee et al., SOSP 2015); slots with
//! sequences, so that a server keeps a bounded number of replies, are those of sessions in NFSv4.1 (RFC 8881).

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::collections::BTreeMap;

use bytes::Bytes;
use holdfast_proto::convert::BadMessage;
use holdfast_proto::convert::storage::expect_version;
use holdfast_proto::v1;
use holdfast_types::{ClientId, Expected, KeyRange, Rejected, Request, Response, Sequence, Slot, Timestamp, limits};
use prost::Message;
use xxhash_rust::xxh3::Xxh3;

use crate::command::{Completion, EvaluatedWrite, WriteOutcome, decode_outcome, encode_outcome};

const VERSION: u32 = 1;

/// What the newest request of a slot came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CompletionRecord {
    /// The request.
    pub sequence: Sequence,
    /// The last moment of the attempt that was evaluated.
    pub last_moment: Timestamp,
    /// Hash of the request.
    pub request_hash: u64,
    /// The timestamp of the write.
    pub timestamp: Timestamp,
    /// Its outcome.
    pub outcome: WriteOutcome,
}

/// What a record says about an attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// New: evaluate it.
    Evaluate,
    /// Decided: answer this.
    Known(Result<Response, Rejected>),
}

impl CompletionRecord {
    /// The record of an evaluated write, if it has an id.
    #[must_use]
    pub fn of(write: &EvaluatedWrite) -> Option<(Completion, Self)> {
        let completion = write.completion?;
        let record = Self {
            sequence: completion.sequence,
            last_moment: completion.last_moment,
            request_hash: completion.request_hash,
            timestamp: write.timestamp,
            outcome: write.outcome.clone(),
        };
        Some((completion, record))
    }

    /// The record of a write that was answered with `response` when it was applied.
    #[must_use]
    pub fn answered(completion: &Completion, response: &Response) -> Self {
        let (timestamp, outcome) = match response {
            Response::Written { timestamp } => (*timestamp, WriteOutcome::Written),
            Response::RangeDeleted { deleted, resume, timestamp } => {
                (*timestamp, WriteOutcome::RangeDeleted { deleted: *deleted, resume: resume.clone() })
            }
            Response::ConditionFailed { index, actual } => {
                (Timestamp::ZERO, WriteOutcome::ConditionFailed { index: *index, actual: actual.clone() })
            }
            Response::Got { .. } | Response::Scanned { .. } => unreachable!("a write is not answered like a read"),
        };
        let Completion { sequence, last_moment, request_hash, .. } = *completion;
        Self { sequence, last_moment, request_hash, timestamp, outcome }
    }

    /// The bytes stored in the data instance.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let stored = v1::StoredCompletionRecord {
            version: VERSION,
            sequence: self.sequence.0,
            last_moment: self.last_moment.0,
            request_hash: self.request_hash,
            timestamp: self.timestamp.0,
            outcome: encode_outcome(&self.outcome),
        };
        stored.encode_to_vec().into()
    }

    /// Reads what [`CompletionRecord::encode`] wrote.
    pub fn decode(bytes: Bytes) -> Result<Self, BadMessage> {
        let stored = v1::StoredCompletionRecord::decode(bytes)?;
        expect_version("completion record", stored.version, VERSION)?;
        Ok(Self {
            sequence: Sequence::bounded(stored.sequence)?,
            last_moment: Timestamp::compared(stored.last_moment),
            request_hash: stored.request_hash,
            timestamp: Timestamp::bounded(stored.timestamp)?,
            outcome: decode_outcome(stored.outcome)?,
        })
    }

    /// True when it carries no value and no key, whose memory would outlive the request.
    fn is_slim(&self) -> bool {
        match &self.outcome {
            WriteOutcome::Written => true,
            WriteOutcome::ConditionFailed { actual, .. } => actual.is_none(),
            WriteOutcome::RangeDeleted { resume, .. } => resume.is_none(),
        }
    }

    /// True when a deletion with this timestamp may remove the record (see the module).
    #[must_use]
    pub fn may_go(&self, at: Timestamp) -> bool {
        at > self.last_moment.after(limits::MAX_LAST_MOMENT_AHEAD).after(limits::MAX_CLOCK_OFFSET)
    }
}

/// What the slot's record (if there is one) says about a request.
#[must_use]
pub fn judge(record: Option<&CompletionRecord>, request: &Completion) -> Verdict {
    let Some(record) = record else {
        return Verdict::Evaluate;
    };
    if record.sequence < request.sequence {
        return Verdict::Evaluate;
    }
    if record.sequence > request.sequence {
        return Verdict::Known(Err(Rejected::StaleSequence));
    }
    if record.request_hash != request.request_hash {
        return Verdict::Known(Err(Rejected::RequestReused));
    }
    Verdict::Known(Ok(record.outcome.response(record.timestamp)))
}

/// Tells a request from another one under the same id: xxh3 over its parts, each with its length or a tag. Stored, so its
/// definition must not change.
#[must_use]
pub fn request_hash(request: &Request) -> u64 {
    let mut hash = Xxh3::new();
    let mut part = |tag: u8, bytes: &[u8]| {
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
        let [a, b, c, d] = len;
        hash.update(&[tag, a, b, c, d]);
        hash.update(bytes);
    };
    match request {
        Request::Write { conditions, mutations } => {
            for condition in conditions {
                part(1, condition.key.raw());
                match &condition.expected {
                    Expected::Absent => part(2, &[]),
                    Expected::Value(value) => part(3, value),
                    Expected::Version(version) => part(4, &version.0.to_le_bytes()),
                }
            }
            for mutation in mutations {
                part(5, mutation.key.raw());
                match &mutation.value {
                    Some(value) => part(6, value),
                    None => part(7, &[]),
                }
                if let Some(expires_at) = mutation.expires_at {
                    part(8, &expires_at.0.to_le_bytes());
                }
            }
        }
        Request::DeleteRange { bounds: KeyRange { start, end }, max_keys } => {
            part(9, start.raw());
            if let Some(end) = end {
                part(10, end.raw());
            }
            part(11, &max_keys.to_le_bytes());
        }
        Request::Get { .. } | Request::Scan { .. } => part(12, &[]),
    }
    hash.digest()
}

/// What the leader knows of the records in the data instance. Bounded: of two halves the older is forgotten when the
/// younger is full, and records are small.
///
/// Invariants:
/// - what it says of a slot is what is applied, or a record that was removed since, which decides as well; while the slot is
///   latched by a write on its way, nobody asks
/// - `Some(None)`: there is no record; `None`: not known, look it up
#[derive(Clone, Debug, Default)]
pub struct SlotCache {
    young: BTreeMap<(ClientId, Slot), Option<CompletionRecord>>,
    old: BTreeMap<(ClientId, Slot), Option<CompletionRecord>>,
}

impl SlotCache {
    /// What is known of a slot.
    pub fn get(&mut self, client: ClientId, slot: Slot) -> Option<Option<&CompletionRecord>> {
        let key = (client, slot);
        if let Some(record) = self.old.remove(&key) {
            self.put(client, slot, record);
        }
        self.young.get(&key).or_else(|| self.old.get(&key)).map(Option::as_ref)
    }

    /// What was read or applied. A record with a value or key in it is not kept.
    pub fn put(&mut self, client: ClientId, slot: Slot, record: Option<CompletionRecord>) {
        if record.as_ref().is_some_and(|record| !record.is_slim()) {
            return self.forget(client, slot);
        }
        self.old.remove(&(client, slot));
        self.young.insert((client, slot), record);
        if self.young.len() > limits::SLOT_CACHE_RECORDS / 2 {
            self.old = std::mem::take(&mut self.young);
        }
    }

    /// Forgets one slot: its record has to be looked up again.
    pub fn forget(&mut self, client: ClientId, slot: Slot) {
        self.young.remove(&(client, slot));
        self.old.remove(&(client, slot));
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Slots known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.young.len().saturating_add(self.old.len())
    }

    /// True when nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
