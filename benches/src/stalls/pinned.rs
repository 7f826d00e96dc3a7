//! A thin client that only ever talks to one store: unary calls, request ids, retries as docs/client-protocol.md has them.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use holdfast_client::Security;
use holdfast_client::channel::{Dialer, StoreChannel};
use holdfast_proto::convert::status::from_status;
use holdfast_proto::v1;
use holdfast_proto::v1::fleet_client::FleetClient;
use holdfast_proto::v1::key_condition::Expected;
use holdfast_proto::v1::kv_client::KvClient;
use holdfast_proto::v1::write_response::Outcome;
use holdfast_types::{ClientId, Rejected, RequestId, Sequence, Slot, Timestamp, WriteAttempt};
use tokio::time::{Instant, sleep, timeout};
use tonic::Status;

use super::{Failed, Outcome as CallOutcome};
use crate::record::WriteEnd;
use crate::workload::random_client;

/// How long a call may take, retries included: the default of the Rust client.
pub const DEADLINE: Duration = Duration::from_secs(10);
/// How long one attempt waits for its answer: what the protocol advises.
const ATTEMPT: Duration = Duration::from_secs(2);
/// A store on this machine that takes longer to take a connection is not in reach.
const CONNECT_WITHIN: Duration = Duration::from_millis(300);
/// Between pings of a connection, so that one that was cut is noticed.
const PING_EVERY: Duration = Duration::from_secs(2);
/// The first wait before an attempt is repeated, and the longest.
const WAITS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(400));
/// A last moment lies this far behind the deadline, for clocks that differ.
const MOMENT_SLACK: Duration = Duration::from_millis(500);

/// A client of one store.
pub struct Pinned {
    kv: KvClient<StoreChannel>,
    session: ClientId,
    sequence: u64,
    /// Fleet time, and when it was that.
    clock: (Timestamp, Instant),
}

/// What one refused attempt means for the call.
enum Next {
    /// Again; `unknown`: the attempt may have been applied.
    Again { unknown: bool, wait: Duration },
    /// The call is over.
    Over { unknown: bool },
}

impl Pinned {
    /// Connects, and learns fleet time.
    pub async fn connect(address: SocketAddr, security: Security) -> anyhow::Result<Self> {
        let dialer = Dialer::new(security, CONNECT_WITHIN).pinging_every(PING_EVERY);
        let channel = dialer.connect(&address.to_string()).await?;
        let described = FleetClient::new(channel.clone()).describe(v1::DescribeRequest {}).await?.into_inner();
        let clock = (Timestamp(described.now), Instant::now());
        Ok(Self { kv: KvClient::new(channel), session: random_client()?, sequence: 0, clock })
    }

    /// Reads a key.
    pub async fn get(&mut self, key: Bytes) -> CallOutcome<Option<Bytes>> {
        let kv = self.kv.clone();
        let answer = repeat(|_| {
            let mut kv = kv.clone();
            let request = v1::GetRequest { key: key.clone(), ..v1::GetRequest::default() };
            async move { kv.get(request).await }
        });
        Ok(answer.await?.value.map(|found| found.value))
    }

    /// Writes a key, once.
    pub async fn put(&mut self, key: Bytes, value: Bytes) -> CallOutcome<WriteEnd> {
        let (id, last_moment) = self.next_write();
        let kv = self.kv.clone();
        let answer = repeat(|attempt| {
            let mut kv = kv.clone();
            let write = Some(WriteAttempt { id, attempt, last_moment }.into());
            let (key, value) = (key.clone(), value.clone());
            let request = v1::PutRequest { key, value, write, ..v1::PutRequest::default() };
            async move { kv.put(request).await }
        });
        Ok(end_of(&answer.await?))
    }

    /// Sets a key if it holds what is expected, once. `Refused`: it does not.
    pub async fn set(&mut self, key: Bytes, expected: Option<Bytes>, value: Bytes) -> CallOutcome<WriteEnd> {
        let (id, last_moment) = self.next_write();
        let kv = self.kv.clone();
        let expected = expected.map_or(Expected::Absent(true), Expected::Value);
        let answer = repeat(|attempt| {
            let mut kv = kv.clone();
            let condition = v1::KeyCondition { key: key.clone(), expected: Some(expected.clone()) };
            let mutation = v1::KeyMutation { key: key.clone(), value: Some(value.clone()), expires_at_ms: 0 };
            let write = Some(WriteAttempt { id, attempt, last_moment }.into());
            let (condition, mutation) = (Some(condition), Some(mutation));
            let request = v1::CompareAndSetRequest { keyspace: 0, condition, mutation, write };
            async move { kv.compare_and_set(request).await }
        });
        Ok(end_of(&answer.await?))
    }

    /// A new request, in the one slot that a client with one call at a time needs.
    fn next_write(&mut self) -> (RequestId, Timestamp) {
        self.sequence += 1;
        let id = RequestId { client: self.session, slot: Slot(0), sequence: Sequence(self.sequence) };
        let (told, at) = self.clock;
        (id, told.after(at.elapsed() + DEADLINE + MOMENT_SLACK))
    }
}

/// How an answered write ended. A condition that fails is an answer: attempts come one after the other.
fn end_of(answer: &v1::WriteResponse) -> WriteEnd {
    match answer.outcome {
        Some(Outcome::Written(_)) => WriteEnd::Acknowledged,
        Some(Outcome::ConditionFailed(_)) => WriteEnd::Refused,
        // A client treats what it does not understand as unknown.
        None => WriteEnd::Ambiguous,
    }
}

/// Sends a call until it is answered or its deadline passes.
async fn repeat<T, F>(mut send: impl FnMut(u32) -> F) -> CallOutcome<T>
where
    F: Future<Output = Result<tonic::Response<T>, Status>>,
{
    let deadline = Instant::now() + DEADLINE;
    let (mut pause, longest) = WAITS;
    let mut was_unknown = false;
    let mut last = String::new();
    let failed = |unknown, what| Failed { end: if unknown { WriteEnd::Ambiguous } else { WriteEnd::Refused }, what };
    for attempt in 1.. {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        let next = match timeout(ATTEMPT.min(left), send(attempt)).await {
            Ok(Ok(answer)) => return Ok(answer.into_inner()),
            Ok(Err(status)) => {
                last = format!("{:?}: {}", status.code(), status.message());
                judge(&status)
            }
            Err(_) => {
                last = format!("no answer within {ATTEMPT:?}");
                Next::Again { unknown: true, wait: Duration::ZERO }
            }
        };
        match next {
            Next::Over { unknown } => return Err(failed(was_unknown || unknown, last)),
            Next::Again { unknown, wait } => {
                was_unknown |= unknown;
                sleep(pause.max(wait).min(left)).await;
                pause = (pause * 2).min(longest);
            }
        }
    }
    Err(failed(was_unknown, format!("not within {DEADLINE:?}, at last {last}")))
}

/// The table of errors in docs/client-protocol.md.
fn judge(status: &Status) -> Next {
    let again = |unknown| Next::Again { unknown, wait: Duration::ZERO };
    let Some(rejected) = from_status(status) else {
        use tonic::Code;
        return match status.code() {
            Code::Unavailable | Code::Cancelled | Code::Internal | Code::Unknown | Code::DeadlineExceeded => {
                again(true)
            }
            _ => Next::Over { unknown: false },
        };
    };
    match rejected {
        Rejected::NotLeader { .. } | Rejected::WrongRange { .. } | Rejected::Unavailable(_) => again(false),
        Rejected::Busy { retry_after } => Next::Again { unknown: false, wait: retry_after },
        Rejected::DeadlineExceeded => again(false),
        Rejected::Ambiguous(_) => again(true),
        Rejected::StaleSequence => Next::Over { unknown: true },
        Rejected::Invalid(_)
        | Rejected::RequestReused
        | Rejected::Forbidden(_)
        | Rejected::SpansRanges { .. }
        | Rejected::BelowGcThreshold { .. }
        | Rejected::PastLastMoment { .. } => Next::Over { unknown: false },
    }
}
