//! Reads back everything that was acknowledged.

use std::sync::Arc;

use bytes::Bytes;
use holdfast_client::{Client, Timestamp};
use tokio::task::JoinSet;

use super::client::count;
use crate::record::{KeyRecord, Record, Verdict};

/// Reads in flight.
const LANES: usize = 128;
/// A key with more versions than this is not counted to the end: far more than any client writes.
const MAX_VERSIONS: u64 = 100_000;

/// Judges every key (value and number of versions) and every counter.
pub async fn verify(connections: &[Client], record: &Record, progress: impl Fn(u64, u64)) -> anyhow::Result<Verdict> {
    let keys: Arc<Vec<(Bytes, KeyRecord)>> =
        Arc::new(record.keys.iter().map(|(k, r)| (k.clone(), r.clone())).collect());
    let mut tasks = JoinSet::new();
    for lane in 0..LANES {
        let (client, keys) = (connections[lane % connections.len()].clone(), Arc::clone(&keys));
        tasks.spawn(async move {
            let mut verdict = Verdict::default();
            let mut done = 0u64;
            for (key, known) in keys.iter().skip(lane).step_by(LANES) {
                let (found, versions) = versions_of(&client, key).await?;
                verdict.count(known.judge(found.as_ref(), Some(versions)));
                done += 1;
            }
            anyhow::Ok((verdict, done))
        });
    }
    let mut verdict = Verdict::default();
    let mut done = 0;
    while let Some(ended) = tasks.join_next().await {
        let (part, read) = ended??;
        verdict.lost += part.lost;
        verdict.duplicated += part.duplicated;
        done += read;
        progress(done, u64::try_from(keys.len()).unwrap_or(u64::MAX));
    }
    for counter in record.counters.keys() {
        let (found, _) = versions_of(&connections[0], counter).await?;
        verdict.count(record.judge_counter(counter, found.as_ref().map_or(0, count)));
    }
    Ok(verdict)
}

/// The newest value of a key, and how many versions it has: each read just below the version found before.
async fn versions_of(client: &Client, key: &Bytes) -> anyhow::Result<(Option<Bytes>, u64)> {
    let Some(newest) = client.get(key.clone()).await? else { return Ok((None, 0)) };
    let mut versions = 1;
    let mut below = newest.timestamp;
    while versions < MAX_VERSIONS
        && let Some(older) = client.batch_get_at([key], Timestamp(below.0 - 1)).await?.pop().flatten()
    {
        versions += 1;
        below = older.timestamp;
    }
    Ok((Some(newest.value), versions))
}
