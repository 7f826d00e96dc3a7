//! Reading and writing what the fleet keeps in the system range, by requests like any client's.

use std::time::Duration;

use bytes::Bytes;
use holdfast_client::core::ScanPager;
use holdfast_kv::core::permit::Authority;
use holdfast_proto::convert::BadMessage;
use holdfast_types::{Condition, Key, KeyRange, Mutation, RangeRequest, Rejected, Request, Response, VersionedValue};

use crate::running::Running;

/// How long one request to the system range may take.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// A mutation that puts a record.
pub fn put(key: Key, value: Bytes) -> Mutation {
    Mutation { key, value: Some(value), expires_at: None }
}

/// A record that this program cannot read.
pub fn damaged(bad: BadMessage) -> Rejected {
    Rejected::Unavailable(format!("a record of the system range cannot be read: {bad}"))
}

fn unexpected(response: &Response) -> Rejected {
    Rejected::Unavailable(format!("the system range gave an unexpected answer: {response:?}"))
}

fn request(request: Request) -> RangeRequest {
    RangeRequest { range: None, write: None, request }
}

/// One record.
pub async fn get(running: &Running, key: &Key) -> Result<Option<VersionedValue>, Rejected> {
    match running.ask(request(Request::Get { keys: vec![key.clone()], at: None }), Authority::Fleet, PATIENCE).await? {
        Response::Got { mut values } => Ok(values.pop().flatten()),
        other => Err(unexpected(&other)),
    }
}

/// True when it was written, false when a condition did not hold.
pub async fn write(running: &Running, conditions: Vec<Condition>, mutations: Vec<Mutation>) -> Result<bool, Rejected> {
    match running.ask(request(Request::Write { conditions, mutations }), Authority::Fleet, PATIENCE).await? {
        Response::Written { .. } => Ok(true),
        Response::ConditionFailed { .. } => Ok(false),
        other => Err(unexpected(&other)),
    }
}

/// All records within bounds, page by page, each within `patience`.
pub async fn all<T>(
    running: &Running,
    bounds: KeyRange,
    patience: Duration,
    decode: impl Fn(&[u8]) -> Result<T, BadMessage>,
) -> Result<Vec<T>, Rejected> {
    rows(running, bounds, patience).await?.into_iter().map(|(_, value)| decode(&value).map_err(damaged)).collect()
}

/// The same as they are kept, with their keys.
pub async fn rows(running: &Running, bounds: KeyRange, patience: Duration) -> Result<Vec<(Key, Bytes)>, Rejected> {
    let mut found = Vec::new();
    let mut pager = ScanPager::new(bounds, false, None, None);
    while let Some(scan) = pager.next_request() {
        let page = running.ask(request(scan), Authority::Fleet, patience).await?;
        let rows = pager.take(page).map_err(|misfit| Rejected::Unavailable(misfit.0))?;
        found.extend(rows.into_iter().map(|row| (row.key, row.value.value)));
    }
    Ok(found)
}
