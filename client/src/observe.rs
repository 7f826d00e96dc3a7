//! What a program can see of its client at work: numbers through [`Observer`], spans and events through `tracing`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use holdfast_types::{Expected, KeyspaceId, Rejected, Request, Response, StoreId};

use crate::ClientError;

/// What a call asks for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Operation {
    /// Reads one key.
    Get,
    /// Reads several keys.
    BatchGet,
    /// Reads one page of rows.
    Scan,
    /// Writes one key.
    Put,
    /// Deletes one key.
    Delete,
    /// Changes one key if it looks as expected.
    CompareAndSet,
    /// Changes several keys, or one under conditions on others.
    Batch,
    /// Deletes one page of keys.
    DeleteRange,
}

impl Operation {
    /// Its name in metrics and spans.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::BatchGet => "batch_get",
            Self::Scan => "scan",
            Self::Put => "put",
            Self::Delete => "delete",
            Self::CompareAndSet => "compare_and_set",
            Self::Batch => "batch",
            Self::DeleteRange => "delete_range",
        }
    }

    pub(crate) fn of(request: &Request) -> Self {
        match request {
            Request::Get { keys, .. } if keys.len() == 1 => Self::Get,
            Request::Get { .. } => Self::BatchGet,
            Request::Scan { .. } => Self::Scan,
            Request::DeleteRange { .. } => Self::DeleteRange,
            Request::Write { conditions, mutations } => match (conditions.as_slice(), mutations.as_slice()) {
                ([], [only]) if only.value.is_some() => Self::Put,
                ([], [_]) => Self::Delete,
                ([condition], [only]) if condition.key == only.key => Self::CompareAndSet,
                _ => Self::Batch,
            },
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a call ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// It was done.
    Done,
    /// A condition did not hold; nothing was written.
    ConditionFailed,
    /// The fleet, or a check before sending, refused it.
    Rejected,
    /// Not known.
    Ambiguous,
    /// The deadline passed; nothing was done.
    DeadlineExceeded,
    /// The caller dropped the future of the call.
    Cancelled,
    /// This client had too many calls in flight.
    TooManyCalls,
    /// Anything else.
    Failed,
}

impl Outcome {
    /// Its name in metrics and spans.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::ConditionFailed => "condition_failed",
            Self::Rejected => "rejected",
            Self::Ambiguous => "ambiguous",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::Cancelled => "cancelled",
            Self::TooManyCalls => "too_many_calls",
            Self::Failed => "failed",
        }
    }

    pub(crate) fn of(outcome: &Result<Response, ClientError>) -> Self {
        match outcome {
            Ok(Response::ConditionFailed { .. }) => Self::ConditionFailed,
            Ok(_) => Self::Done,
            Err(ClientError::Rejected(_)) => Self::Rejected,
            Err(ClientError::Ambiguous(_)) => Self::Ambiguous,
            Err(ClientError::DeadlineExceeded { .. }) => Self::DeadlineExceeded,
            Err(ClientError::TooManyCalls) => Self::TooManyCalls,
            Err(
                ClientError::Closed
                | ClientError::Unreachable(_)
                | ClientError::Untrusted(_)
                | ClientError::Protocol(_),
            ) => Self::Failed,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A call has ended. A scan or a deletion of a range is one call a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct CallEnded {
    /// What was asked.
    pub operation: Operation,
    /// Of which keyspace.
    pub keyspace: KeyspaceId,
    /// How it ended.
    pub outcome: Outcome,
    /// From the call to its answer: waits and retries included.
    pub latency: Duration,
    /// Attempts sent to stores; not known (0) of a call that was dropped.
    pub attempts: u32,
    /// Of these, those that repeat an attempt that was refused for a while, or lost. The others followed redirections.
    pub retries: u32,
    /// Bytes of keys and values asked with.
    pub request_bytes: usize,
    /// Bytes of keys and values answered.
    pub response_bytes: usize,
}

/// An attempt goes to a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct AttemptSent {
    /// Where to.
    pub store: StoreId,
    /// Counts the attempts of its call (of its part, when a get was cut) from 1.
    pub number: u32,
}

/// A store refused an attempt; the call may go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct AttemptRefused<'a> {
    /// Who.
    pub store: StoreId,
    /// Which attempt of its call.
    pub number: u32,
    /// Why.
    pub reason: &'a Rejected,
}

/// Hears what a client does, for metrics. Every method has a body that does nothing: implement what you count.
///
/// Methods are called on the client's own task and on the tasks of callers: they must be quick and must not block.
/// A client without an observer pays one comparison a call.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use holdfast_client::observe::{CallEnded, Observer};
/// # use holdfast_client::{Options, mock::Mock};
///
/// #[derive(Default)]
/// struct Retries(AtomicU64);
///
/// impl Observer for Retries {
///     fn call_ended(&self, call: &CallEnded) {
///         self.0.fetch_add(call.retries.into(), Ordering::Relaxed);
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mock = Mock::start()?;
/// let retries = Arc::new(Retries::default());
/// let client = mock.client_with(Options::new().observer(retries.clone())).await?;
/// client.put("k", "v").await?;
/// assert_eq!(retries.0.load(Ordering::Relaxed), 0);
/// # Ok(())
/// # }
/// ```
pub trait Observer: Send + Sync {
    /// A call has ended.
    fn call_ended(&self, call: &CallEnded) {
        let _ = call;
    }

    /// An attempt goes to a store.
    fn attempt_sent(&self, attempt: &AttemptSent) {
        let _ = attempt;
    }

    /// A store refused an attempt.
    fn attempt_refused(&self, refused: &AttemptRefused<'_>) {
        let _ = refused;
    }

    /// The stream to a store is open.
    fn connected(&self, store: StoreId) {
        let _ = store;
    }

    /// The stream to a store broke or could not be opened.
    fn disconnected(&self, store: StoreId) {
        let _ = store;
    }
}

/// What calls of one operation and outcome came to.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Total {
    /// Calls.
    pub calls: u64,
    /// Their attempts.
    pub attempts: u64,
    /// Of these, repeated ones.
    pub retries: u64,
    /// Bytes asked with.
    pub request_bytes: u64,
    /// Bytes answered.
    pub response_bytes: u64,
    /// The sum of their latencies.
    pub latency: Duration,
    /// The longest of them.
    pub longest: Duration,
}

/// An observer that adds up by operation and outcome: enough for a small program, and for tests.
///
/// ```
/// use std::sync::Arc;
/// use holdfast_client::observe::{Operation, Outcome, Totals};
/// # use holdfast_client::{Options, mock::Mock};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mock = Mock::start()?;
/// let totals = Arc::new(Totals::default());
/// let client = mock.client_with(Options::new().observer(totals.clone())).await?;
/// client.put("k", "v").await?;
/// let puts = totals.get(Operation::Put, Outcome::Done);
/// assert_eq!((puts.calls, puts.attempts), (1, 1));
/// for ((operation, outcome), total) in totals.snapshot() {
///     println!("{operation} {outcome}: {} calls, longest {:?}", total.calls, total.longest);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Default, Debug)]
pub struct Totals(Mutex<BTreeMap<(Operation, Outcome), Total>>);

impl Totals {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Operation, Outcome), Total>> {
        // Sums are whole at every moment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What calls of this kind came to.
    #[must_use]
    pub fn get(&self, operation: Operation, outcome: Outcome) -> Total {
        self.lock().get(&(operation, outcome)).copied().unwrap_or_default()
    }

    /// Everything so far.
    #[must_use]
    pub fn snapshot(&self) -> BTreeMap<(Operation, Outcome), Total> {
        self.lock().clone()
    }
}

impl Observer for Totals {
    fn call_ended(&self, call: &CallEnded) {
        let mut totals = self.lock();
        let total = totals.entry((call.operation, call.outcome)).or_default();
        total.calls += 1;
        total.attempts += u64::from(call.attempts);
        total.retries += u64::from(call.retries);
        total.request_bytes += call.request_bytes as u64;
        total.response_bytes += call.response_bytes as u64;
        total.latency = total.latency.saturating_add(call.latency);
        total.longest = total.longest.max(call.latency);
    }
}

/// Bytes of keys and values in a request.
pub(crate) fn request_bytes(request: &Request) -> usize {
    match request {
        Request::Get { keys, .. } => keys.iter().map(|key| key.user_key().len()).sum(),
        Request::Scan { bounds, .. } | Request::DeleteRange { bounds, .. } => {
            bounds.start.user_key().len() + bounds.end.as_ref().map_or(0, |end| end.user_key().len())
        }
        Request::Write { conditions, mutations } => {
            let expected = |expected: &Expected| match expected {
                Expected::Value(value) => value.len(),
                Expected::Absent | Expected::Version(_) => 0,
            };
            let required = conditions.iter().map(|c| c.key.user_key().len() + expected(&c.expected));
            let changed = mutations.iter().map(|m| m.key.user_key().len() + m.value.as_ref().map_or(0, Bytes::len));
            required.sum::<usize>() + changed.sum::<usize>()
        }
    }
}

/// Bytes of keys and values in an answer.
pub(crate) fn response_bytes(outcome: &Result<Response, ClientError>) -> usize {
    match outcome {
        Ok(Response::Got { values }) => values.iter().flatten().map(|value| value.value.len()).sum(),
        Ok(Response::Scanned { rows, .. }) => {
            rows.iter().map(|row| row.key.user_key().len() + row.value.value.len()).sum()
        }
        Ok(Response::ConditionFailed { actual, .. }) => actual.as_ref().map_or(0, |actual| actual.value.len()),
        Ok(Response::Written { .. } | Response::RangeDeleted { .. }) | Err(_) => 0,
    }
}

/// The keyspace that a request is about.
pub(crate) fn keyspace_of(request: &Request) -> KeyspaceId {
    match request {
        Request::Scan { bounds, reverse: true, .. } => bounds.start.keyspace(),
        other => other.routing_key().map_or(KeyspaceId::DEFAULT, holdfast_types::Key::keyspace),
    }
}
