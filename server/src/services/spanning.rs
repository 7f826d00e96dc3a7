//! Gets over several ranges on behalf of thin clients.

use std::sync::Arc;

use holdfast_edge::ledger::Ledger;
use holdfast_kv::core::rights::Asker;
use holdfast_types::validate::check_got;
use holdfast_types::{Key, RangeRequest, Rejected, Request, Response, Timestamp, VersionedValue};
use tokio::time::Instant;

use super::repeat;
use crate::running::Running;

/// Reads keys, those of one range at one timestamp.
pub async fn get(
    running: &Running,
    asker: &mut Asker,
    client: &Arc<Ledger>,
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
        match repeat::ask(running, asker, Some(client), RangeRequest { range: None, write: None, request }, deadline)
            .await
        {
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
