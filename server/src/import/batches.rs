//! Rows of distinct keys on their way to the fleet: cut into writes of one range each, and told one by one from those that a fleet refuses.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use holdfast_client::{Client, ClientError, Rejected as Refusal, Timestamp};
use holdfast_types::{Key, Mutation, Request, Response, limits};
use parking_lot::Mutex;

use super::expiry::Expiry;
use super::rejects::{Rejected, Why};

/// A key, and what the lines say it is to be, the last one last. Only that is stored, unless the fleet refuses it.
#[derive(Clone, Debug)]
pub struct Pending {
    /// The key.
    pub key: Bytes,
    /// Never empty.
    pub lines: Vec<Line>,
}

/// What one line says.
#[derive(Clone, Debug)]
pub struct Line {
    /// Which line it is.
    pub line: u64,
    /// The record as it is in the file, if its rejection would want it.
    pub raw: Bytes,
    /// The value.
    pub value: Bytes,
    /// When it is gone.
    pub expires: Option<Expiry>,
}

impl Pending {
    fn cost(&self) -> usize {
        let value = self.lines.last().map_or(0, |line| line.value.len());
        self.key.len().saturating_add(value).saturating_add(limits::IMPORT_ROW_OVERHEAD_BYTES)
    }

    fn line(&self) -> u64 {
        self.lines.last().map_or(0, |line| line.line)
    }
}

/// Rows could not be stored, and the same rows may be later.
#[derive(Debug, thiserror::Error)]
#[error("loading line {line}")]
pub struct Failed {
    /// The first line of those.
    line: u64,
    /// Why.
    #[source]
    error: ClientError,
}

impl Failed {
    /// True when the fleet will say the same to the next one: he has no right to write here.
    pub fn is_forbidden(&self) -> bool {
        matches!(self.error, ClientError::Rejected(Refusal::Forbidden(_)))
    }
}

/// Stores rows.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    began: Timestamp,
    /// First keys of ranges, as far as the fleet has told them.
    bounds: Arc<Mutex<BTreeSet<Bytes>>>,
}

impl Writer {
    /// Writes with this client; expiries in seconds count from `began`.
    pub fn new(client: Client, began: Timestamp) -> Self {
        Self { client, began, bounds: Arc::default() }
    }

    /// Stores rows of distinct keys; gives those that the fleet refuses. Returns when nothing of it is under way any more.
    pub async fn store(self, rows: Vec<Pending>) -> Result<Vec<Rejected>, Failed> {
        let writes = self.cut(rows).into_iter().map(|batch| self.store_batch(batch));
        let ended = futures::future::join_all(writes).await;
        let mut refused = Vec::new();
        for ended in ended {
            refused.extend(ended?);
        }
        Ok(refused)
    }

    /// Cuts rows into writes, where ranges meet and where one is large enough.
    fn cut(&self, mut rows: Vec<Pending>) -> Vec<Vec<Pending>> {
        rows.sort_unstable_by(|left, right| left.key.cmp(&right.key));
        let bounds = self.bounds.lock();
        let mut batches = Vec::new();
        let mut batch: Vec<Pending> = Vec::new();
        let (mut bytes, mut end) = (0_usize, None);
        for row in rows {
            let cost = row.cost();
            let is_full = batch.len() >= limits::IMPORT_BATCH_ROWS
                || bytes.saturating_add(cost) > limits::IMPORT_BATCH_BYTES
                || end.is_some_and(|end: &Bytes| row.key >= end);
            if is_full && !batch.is_empty() {
                batches.push(std::mem::take(&mut batch));
            }
            if batch.is_empty() {
                bytes = 0;
                end = bounds.range::<Bytes, _>((Bound::Excluded(&row.key), Bound::Unbounded)).next();
            }
            bytes = bytes.saturating_add(cost);
            batch.push(row);
        }
        if !batch.is_empty() {
            batches.push(batch);
        }
        batches
    }

    async fn store_batch(&self, batch: Vec<Pending>) -> Result<Vec<Rejected>, Failed> {
        let mut refused = Vec::new();
        let mut left = vec![batch];
        while let Some(mut batch) = left.pop() {
            let request = self.request(&batch);
            let error = match Box::pin(self.client.call(request)).await {
                Ok(Response::Written { .. }) => continue,
                Ok(_) => ClientError::Protocol("the outcome of a write was expected".into()),
                Err(error) => error,
            };
            match error {
                ClientError::Rejected(Refusal::SpansRanges { split_key }) if batch.len() > 1 => {
                    let bound = split_key.user_key().to_vec();
                    let at = batch.partition_point(|row| row.key < bound);
                    // A key that lies outside would be cut off for ever.
                    let at = if at == 0 || at == batch.len() { batch.len() / 2 } else { at };
                    self.learn(bound.into());
                    let right = batch.split_off(at);
                    left.extend([right, batch]);
                }
                // One of them is the reason.
                ClientError::Rejected(Refusal::Invalid(_)) if batch.len() > 1 => {
                    let right = batch.split_off(batch.len() / 2);
                    left.extend([right, batch]);
                }
                ClientError::Rejected(Refusal::Invalid(reason)) => {
                    let Some(mut row) = batch.pop() else { continue };
                    if let Some(Line { line, raw, .. }) = row.lines.pop() {
                        refused.push(Rejected { line, raw, why: Why::Wrong(reason) });
                    }
                    // What an earlier line says would have been stored before it, and stayed.
                    if !row.lines.is_empty() {
                        left.push(vec![row]);
                    }
                }
                error => {
                    let line = batch.iter().map(Pending::line).min().unwrap_or_default();
                    return Err(Failed { line, error });
                }
            }
        }
        Ok(refused)
    }

    fn request(&self, batch: &[Pending]) -> Request {
        let keyspace = self.client.keyspace_id();
        let mutations = batch.iter().filter_map(|row| {
            let line = row.lines.last()?;
            let expires_at = line.expires.map(|expires| expires.at(self.began));
            Some(Mutation { key: Key::bound(keyspace, &row.key), value: Some(line.value.clone()), expires_at })
        });
        Request::Write { conditions: Vec::new(), mutations: mutations.collect() }
    }

    fn learn(&self, bound: Bytes) {
        let mut bounds = self.bounds.lock();
        if bounds.len() >= limits::IMPORT_KNOWN_BOUNDS {
            bounds.clear();
        }
        bounds.insert(bound);
    }
}

#[cfg(test)]
#[path = "batches_tests.rs"]
mod tests;
