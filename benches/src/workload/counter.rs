//! Increments of counters by clients that retry on purpose: every compare-and-set goes to two stores at once, under one request
//! id. Exactly-once means that the counter moves by one.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use holdfast_client::Expected;
use holdfast_proto::v1;
use holdfast_proto::v1::write_response::Outcome;
use holdfast_types::{ClientId, RequestId, Sequence, Slot, Timestamp, WriteAttempt};
use tokio::time::{Instant, sleep, timeout};

use super::stores::Stores;
use crate::record::WriteEnd;

/// How long an increment may take, retries included.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long one attempt waits for its answer, before the pair goes to other stores: a store that lost its power never says so.
const ATTEMPT: Duration = Duration::from_millis(500);
/// How long to wait before the next pair of attempts.
const PAUSE: Duration = Duration::from_millis(25);

/// Sends each increment twice at once, by unary calls of the public service.
pub struct TwiceSender {
    stores: Stores,
    client: ClientId,
    sequence: u64,
    next_store: usize,
}

/// What one pair of attempts came to.
enum Pair {
    Ended(WriteEnd),
    /// Nothing is known; `sent`: an attempt may have been applied.
    Open {
        sent: bool,
    },
}

impl TwiceSender {
    /// A sender of its own client session.
    pub fn new(stores: Stores, client: ClientId, next_store: usize) -> Self {
        Self { stores, client, sequence: 0, next_store }
    }

    /// Sets `key` to `value` if it looks as expected. `Refused`: another client was faster.
    pub async fn set(
        &mut self,
        key: Bytes,
        expected: Expected,
        value: Bytes,
        fleet_now: Timestamp,
    ) -> anyhow::Result<WriteEnd> {
        self.sequence += 1;
        let id = RequestId { client: self.client, slot: Slot(0), sequence: Sequence(self.sequence) };
        let last_moment = fleet_now.after(DEADLINE + ATTEMPT);
        let begun = Instant::now();
        let mut attempt = 1;
        let mut sent = false;
        while begun.elapsed() < DEADLINE {
            let pair = [attempt, attempt + 1].map(|attempt| {
                let write = WriteAttempt { id, attempt, last_moment };
                request(&key, &expected, &value, write)
            });
            attempt += 2;
            match self.send_pair(pair).await? {
                Pair::Ended(end) => return Ok(end),
                Pair::Open { sent: maybe } => sent |= maybe,
            }
            sleep(PAUSE).await;
        }
        anyhow::bail!("no answer within {DEADLINE:?}{}", if sent { ": the outcome is not known" } else { "" })
    }

    /// Sends two attempts to two stores at once and looks at both answers.
    async fn send_pair(&mut self, [first, second]: [v1::CompareAndSetRequest; 2]) -> anyhow::Result<Pair> {
        let [mut left, mut right] = self.stores.pair(self.next_store);
        self.next_store += 1;
        let may_be_final = first.write.as_ref().is_some_and(|write| write.attempt > 1);
        let first = async move { (timeout(ATTEMPT, left.compare_and_set(first)).await, may_be_final) };
        let second = async move { (timeout(ATTEMPT, right.compare_and_set(second)).await, true) };
        let mut open = false;
        // The first definite word counts. What a first attempt did not write leaves no record: only the second one's counts then.
        let mut attempts: FuturesUnordered<BoxFuture<'_, _>> = FuturesUnordered::new();
        attempts.push(first.boxed());
        attempts.push(second.boxed());
        while let Some((answer, is_final)) = attempts.next().await {
            match answer {
                Ok(Ok(answer)) => match answer.into_inner().outcome.context("an outcome is set")? {
                    Outcome::Written(_) => return Ok(Pair::Ended(WriteEnd::Acknowledged)),
                    Outcome::ConditionFailed(_) if is_final => return Ok(Pair::Ended(WriteEnd::Refused)),
                    Outcome::ConditionFailed(_) => {}
                },
                Ok(Err(_)) | Err(_) => open = true,
            }
        }
        Ok(Pair::Open { sent: open })
    }
}

fn request(key: &Bytes, expected: &Expected, value: &Bytes, write: WriteAttempt) -> v1::CompareAndSetRequest {
    use v1::key_condition::Expected as Wire;
    let expected = match expected {
        Expected::Absent => Wire::Absent(true),
        Expected::Value(value) => Wire::Value(value.clone()),
        Expected::Version(version) => Wire::Version(version.0),
    };
    v1::CompareAndSetRequest {
        keyspace: 0,
        condition: Some(v1::KeyCondition { key: key.clone(), expected: Some(expected) }),
        mutation: Some(v1::KeyMutation { key: key.clone(), value: Some(value.clone()), expires_at_ms: 0 }),
        write: Some(write.into()),
    }
}
