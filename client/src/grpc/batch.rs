//! Several changes of one range, all or nothing.

use std::time::Duration;

use bytes::Bytes;
use holdfast_types::{
    Condition, Expected, Key, KeyspaceId, Mutation, RangeRequest, Request, Response, Timestamp, VersionedValue, limits,
    validate,
};

use crate::ClientError;

/// What a conditional write came to. Both are answers; neither is an error.
///
/// ```
/// use holdfast_client::{Batch, Expected, WriteOutcome};
/// # use holdfast_client::mock::Mock;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mock = Mock::start()?;
/// # let client = mock.client().await?;
/// client.put("lock", "mine").await?;
/// match client.compare_and_set("lock", Expected::Absent, Some("yours".into())).await? {
///     WriteOutcome::Written { timestamp } => println!("taken at {timestamp}"),
///     WriteOutcome::ConditionFailed(failed) => {
///         assert_eq!(&failed.key[..], b"lock");
///         assert_eq!(&failed.actual.expect("it exists").value[..], b"mine");
///     }
/// }
/// // Where a condition that does not hold is an error to you, say so:
/// let batch = Batch::new().require_absent("lock").put("lock", "yours");
/// let refused = client.batch(batch).await?.into_result().unwrap_err();
/// assert_eq!(refused.to_string(), "condition 0 does not hold: lock exists");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WriteOutcome {
    /// It happened.
    Written {
        /// The version of every key written.
        timestamp: Timestamp,
    },
    /// A condition did not hold; nothing was written.
    ConditionFailed(FailedCondition),
}

/// The first condition of a write that did not hold, and what was found.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("condition {index} does not hold: {} {}", key.escape_ascii(), found(.actual.as_ref()))]
#[non_exhaustive]
pub struct FailedCondition {
    /// Which of the conditions, from 0, in the order in which they were required.
    pub index: usize,
    /// The key that it is about.
    pub key: Bytes,
    /// What the key looked like; `None`: it does not exist.
    pub actual: Option<VersionedValue>,
}

fn found(actual: Option<&VersionedValue>) -> String {
    actual.map_or_else(|| "does not exist".to_owned(), |_| "exists".to_owned())
}

impl WriteOutcome {
    /// True when it happened.
    #[must_use]
    pub fn is_written(&self) -> bool {
        matches!(self, Self::Written { .. })
    }

    /// The version of every key written, or the condition that did not hold as an error.
    pub fn into_result(self) -> Result<Timestamp, FailedCondition> {
        match self {
            Self::Written { timestamp } => Ok(timestamp),
            Self::ConditionFailed(failed) => Err(failed),
        }
    }

    /// `keys` are those of the conditions, in order.
    pub(super) fn from_response(response: Response, keys: &[Bytes]) -> Result<Self, ClientError> {
        match response {
            Response::Written { timestamp } => Ok(Self::Written { timestamp }),
            Response::ConditionFailed { index, actual } => {
                let index = usize::try_from(index).expect("32 bits fit");
                let unknown = || ClientError::Protocol(format!("condition {index} failed, of {}", keys.len()));
                let key = keys.get(index).cloned().ok_or_else(unknown)?;
                Ok(Self::ConditionFailed(FailedCondition { index, key, actual }))
            }
            _ => Err(ClientError::Protocol("the outcome of a write was expected".into())),
        }
    }
}

/// One change of a batch.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Change {
    key: Bytes,
    /// `None` deletes.
    value: Option<Bytes>,
    lives: Option<Duration>,
}

/// Changes of keys of one range, all or nothing, if all conditions hold.
///
/// Keys that are changed are distinct. At most 4,096 changes, as many conditions, and 4 MiB together: what no store would take
/// is refused before it is sent, by [`Batch::check`]. Keys of two ranges are refused by the fleet, with the key where the
/// ranges meet; nothing is done then.
///
/// ```
/// use std::time::Duration;
/// use holdfast_client::Batch;
/// # use holdfast_client::mock::Mock;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mock = Mock::start()?;
/// # let client = mock.client().await?;
/// let from = client.put("account/1", "100").await?;
/// let to = client.put("account/2", "0").await?;
/// let transfer = Batch::new()
///     .require_version("account/1", from)
///     .require_version("account/2", to)
///     .put("account/1", "90")
///     .put("account/2", "10")
///     .put_for("receipt/77", "1 to 2: 10", Duration::from_secs(3_600));
/// assert!(client.batch(transfer.clone()).await?.is_written());
/// assert!(!client.batch(transfer).await?.is_written(), "the versions are others now");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default, PartialEq, Eq, Debug)]
#[must_use = "a batch does nothing until it is given to a client"]
pub struct Batch {
    conditions: Vec<(Bytes, Expected)>,
    changes: Vec<Change>,
}

impl Batch {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition.
    pub fn require(mut self, key: impl AsRef<[u8]>, expected: Expected) -> Self {
        self.conditions.push((Bytes::copy_from_slice(key.as_ref()), expected));
        self
    }

    /// The key must not exist.
    pub fn require_absent(self, key: impl AsRef<[u8]>) -> Self {
        self.require(key, Expected::Absent)
    }

    /// The key must have this value.
    pub fn require_value(self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Self {
        self.require(key, Expected::Value(value.into()))
    }

    /// The newest version of the key must be this one.
    pub fn require_version(self, key: impl AsRef<[u8]>, version: Timestamp) -> Self {
        self.require(key, Expected::Version(version))
    }

    /// Writes a key.
    pub fn put(self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Self {
        self.change(key.as_ref(), Some(value.into()), None)
    }

    /// Writes a key whose value vanishes after a while of fleet time, counted from when the batch is given to the client.
    pub fn put_for(self, key: impl AsRef<[u8]>, value: impl Into<Bytes>, lives: Duration) -> Self {
        self.change(key.as_ref(), Some(value.into()), Some(lives))
    }

    /// Deletes a key, whether it exists or not.
    pub fn delete(self, key: impl AsRef<[u8]>) -> Self {
        self.change(key.as_ref(), None, None)
    }

    fn change(mut self, key: &[u8], value: Option<Bytes>, lives: Option<Duration>) -> Self {
        self.changes.push(Change { key: Bytes::copy_from_slice(key), value, lives });
        self
    }

    /// Changes so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// True when nothing would be changed; such a batch is refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Refuses what no store would take: no change at all, too many, too large, a key twice, a key of no byte.
    /// [`Client::batch`](crate::Client::batch) does the same before it sends.
    ///
    /// ```
    /// use holdfast_client::Batch;
    ///
    /// let twice = Batch::new().put("k", "1").delete("k");
    /// assert!(twice.check().unwrap_err().to_string().contains("twice"));
    /// ```
    pub fn check(&self) -> Result<(), ClientError> {
        let request = self.clone().into_request(KeyspaceId::DEFAULT, Timestamp::ZERO);
        let request = RangeRequest { range: None, write: None, request };
        Ok(validate(&request, limits::HARD_MAX_VALUE_BYTES)?)
    }

    /// The keys of the conditions, in order.
    pub(super) fn condition_keys(&self) -> Vec<Bytes> {
        self.conditions.iter().map(|(key, _)| key.clone()).collect()
    }

    pub(super) fn into_request(self, keyspace: KeyspaceId, fleet_now: Timestamp) -> Request {
        let conditions = self.conditions.into_iter();
        let changes = self.changes.into_iter();
        Request::Write {
            conditions: conditions
                .map(|(key, expected)| Condition { key: Key::bound(keyspace, &key), expected })
                .collect(),
            mutations: changes
                .map(|Change { key, value, lives }| Mutation {
                    key: Key::bound(keyspace, &key),
                    value,
                    expires_at: lives.map(|lives| fleet_now.after(lives)),
                })
                .collect(),
        }
    }
}
