//! Reads over several ranges on behalf of thin clients. Reads only: they may be repeated until the deadline.

use std::time::Duration;

use holdfast_types::validate::check_got;
use holdfast_types::{Key, RangeRequest, Rejected, Request, Response, Timestamp, VersionedValue, limits};
use tokio::time::Instant;

use crate::running::Running;

/// How long to wait before a read is sent again.
const RETRY_AFTER: Duration = Duration::from_millis(25);

/// Reads keys, those of one range at one timestamp.
pub async fn get(
    running: &Running,
    keys: &[Key],
    at: Option<Timestamp>,
    deadline: Instant,
) -> Result<Vec<Option<VersionedValue>>, Rejected> {
    let mut values = vec![None; keys.len()];
    let mut open: Vec<usize> = (0..keys.len()).collect();
    open.sort_by(|left, right| keys[*left].cmp(&keys[*right]));
    let mut at_most = usize::MAX;
    let mut bytes = 0;
    while let Some(first) = open.first() {
        let end = running.store.locate(&keys[*first]).and_then(|found| found.descriptor.bounds.end);
        let within = |i: &&usize| end.as_ref().is_none_or(|end| keys[**i] < *end);
        let group: Vec<usize> = open.iter().take_while(within).take(at_most).copied().collect();
        let group = if group.is_empty() { vec![*first] } else { group };
        let request = Request::Get { keys: group.iter().map(|i| keys[*i].clone()).collect(), at };
        match ask(running, request, deadline).await {
            Ok(Response::Got { values: got }) => {
                for (i, value) in group.iter().zip(got) {
                    bytes += value.as_ref().map_or(0, |found| found.value.len());
                    values[*i] = value;
                }
                // What each range may answer may still be too much together.
                check_got(bytes)?;
                open.drain(..group.len());
                at_most = usize::MAX;
            }
            Ok(other) => return Err(Rejected::Unavailable(format!("unexpected answer: {other:?}"))),
            // The range was cut meanwhile: take only the keys of its left part.
            Err(Rejected::SpansRanges { split_key }) => {
                at_most = group.iter().take_while(|i| keys[**i] < split_key).count().max(1);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(values)
}

/// Reads one page of a scan.
pub async fn page(running: &Running, request: Request, deadline: Instant) -> Result<Response, Rejected> {
    ask(running, request, deadline).await
}

/// Sends a read until it is answered for good or the deadline passes.
async fn ask(running: &Running, request: Request, deadline: Instant) -> Result<Response, Rejected> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Rejected::DeadlineExceeded);
        }
        let range = last_range(running, &request);
        let asked = RangeRequest { range, write: None, request: request.clone() };
        match running.ask(asked, left.min(limits::DEFAULT_DEADLINE)).await {
            Err(rejected) if rejected.may_retry() => tokio::time::sleep(RETRY_AFTER.min(left)).await,
            answer => return answer,
        }
    }
}

/// A reverse scan begins in the range that holds its last keys, which its start does not tell.
fn last_range(running: &Running, request: &Request) -> Option<(holdfast_types::RangeId, holdfast_types::RangeEpoch)> {
    let Request::Scan { bounds, reverse: true, .. } = request else { return None };
    let ranges = running.store.ranges();
    let last = ranges.iter().rev().find(|found| found.descriptor.bounds.overlaps(bounds))?;
    Some((last.descriptor.range, last.descriptor.epoch))
}
