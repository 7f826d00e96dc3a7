//! Several changes of one range, all or nothing.

use std::time::Duration;

use bytes::Bytes;
use holdfast_types::{Condition, Expected, Key, KeyspaceId, Mutation, Request, Response, Timestamp, VersionedValue};

use crate::ClientError;

/// What a conditional write came to. Both are answers; neither is an error.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WriteOutcome {
    /// It happened.
    Written {
        /// The version of every key written.
        timestamp: Timestamp,
    },
    /// A condition did not hold; nothing was written.
    ConditionFailed {
        /// Which of the conditions, from 0.
        index: usize,
        /// What the key looked like; `None`: it does not exist.
        actual: Option<VersionedValue>,
    },
}

impl WriteOutcome {
    /// True when it happened.
    #[must_use]
    pub fn is_written(&self) -> bool {
        matches!(self, Self::Written { .. })
    }

    pub(super) fn from_response(response: Response) -> Result<Self, ClientError> {
        match response {
            Response::Written { timestamp } => Ok(Self::Written { timestamp }),
            Response::ConditionFailed { index, actual } => {
                let index = usize::try_from(index).expect("32 bits fit");
                Ok(Self::ConditionFailed { index, actual })
            }
            _ => Err(ClientError::Protocol("the outcome of a write was expected".into())),
        }
    }
}

/// Changes of keys of one range, all or nothing, if all conditions hold. Keys are distinct.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Batch {
    conditions: Vec<(Bytes, Expected)>,
    mutations: Vec<(Bytes, Option<Bytes>, Option<Duration>)>,
}

impl Batch {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition.
    #[must_use]
    pub fn require(mut self, key: impl AsRef<[u8]>, expected: Expected) -> Self {
        self.conditions.push((Bytes::copy_from_slice(key.as_ref()), expected));
        self
    }

    /// Writes a key.
    #[must_use]
    pub fn put(mut self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Self {
        self.mutations.push((Bytes::copy_from_slice(key.as_ref()), Some(value.into()), None));
        self
    }

    /// Writes a key whose value vanishes after a while of fleet time.
    #[must_use]
    pub fn put_for(mut self, key: impl AsRef<[u8]>, value: impl Into<Bytes>, lives: Duration) -> Self {
        self.mutations.push((Bytes::copy_from_slice(key.as_ref()), Some(value.into()), Some(lives)));
        self
    }

    /// Deletes a key.
    #[must_use]
    pub fn delete(mut self, key: impl AsRef<[u8]>) -> Self {
        self.mutations.push((Bytes::copy_from_slice(key.as_ref()), None, None));
        self
    }

    pub(super) fn into_request(self, keyspace: KeyspaceId, fleet_now: Timestamp) -> Request {
        let conditions = self.conditions.into_iter();
        let mutations = self.mutations.into_iter();
        Request::Write {
            conditions: conditions
                .map(|(key, expected)| Condition { key: Key::bound(keyspace, &key), expected })
                .collect(),
            mutations: mutations
                .map(|(key, value, lives)| Mutation {
                    key: Key::bound(keyspace, &key),
                    value,
                    expires_at: lives.map(|lives| fleet_now.after(lives)),
                })
                .collect(),
        }
    }
}
