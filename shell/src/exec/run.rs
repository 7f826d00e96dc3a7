//! One statement being carried out: every request goes through here, so that it can be cancelled, counted and timed.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_client::admin::{RangeStatus, Ranges, SilentStore};
use holdfast_types::{Key, KeyRange, KeyspaceId, RangeId, Timestamp, VersionedValue};
use tokio::time::Instant;

use super::error::ShellError;
use super::session::Cancel;
use super::sink::{Progress, Sink};
use crate::backend::{Backend, BackendError, Change, Deleted, Page, ScanPage, Written};

/// Ranges asked for at a time.
const PAGE_RANGES: u32 = 500;

/// Said of a change that was cancelled under way.
const IN_FLIGHT: &str = "whether the batch in flight was written is not known";

/// What was done in one range.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Tally {
    pub(super) requests: u64,
    pub(super) rows: u64,
    pub(super) bytes: u64,
    pub(super) time: Duration,
}

/// Reads ranges in the order of their keys, page by page.
pub(super) struct RangePages {
    which: Ranges,
    resume: Option<Key>,
    is_over: bool,
    /// The stores that did not answer so far, each once.
    pub(super) silent: Vec<SilentStore>,
}

impl RangePages {
    pub(super) fn new(which: Ranges) -> Self {
        Self { which, resume: None, is_over: false, silent: vec![] }
    }

    /// The next ranges; `None`: all were read.
    pub(super) async fn next(&mut self, run: &mut Run<'_>) -> Result<Option<Vec<RangeStatus>>, ShellError> {
        if self.is_over {
            return Ok(None);
        }
        let backend = run.backend;
        let page = run.look(backend.ranges(self.which.clone(), self.resume.take(), PAGE_RANGES)).await?;
        for silent in page.silent {
            if self.silent.iter().all(|known| known.store != silent.store) {
                self.silent.push(silent);
            }
        }
        self.is_over = page.resume.is_none();
        self.resume = page.resume;
        Ok(Some(page.ranges))
    }
}

/// Which range holds what, as it was when the statement began.
#[derive(Clone, Default, Debug)]
pub(super) struct Layout {
    /// In the order of their keys.
    pub(super) ranges: Vec<RangeStatus>,
    pub(super) silent: Vec<SilentStore>,
}

impl Layout {
    pub(super) fn holding(&self, key: &Key) -> Option<&RangeStatus> {
        let behind = self.ranges.partition_point(|range| range.descriptor.bounds.start <= *key);
        let range = self.ranges.get(behind.checked_sub(1)?)?;
        range.descriptor.bounds.contains(key).then_some(range)
    }

    /// The ranges that hold keys of an interval.
    pub(super) fn within(&self, bounds: &KeyRange) -> &[RangeStatus] {
        let is_before =
            |range: &RangeStatus| range.descriptor.bounds.end.as_ref().is_some_and(|end| *end <= bounds.start);
        let first = self.ranges.partition_point(is_before);
        let behind = self.ranges.partition_point(|range| bounds.is_before_end(&range.descriptor.bounds.start));
        self.ranges.get(first..behind).unwrap_or_default()
    }
}

/// What is watched for EXPLAIN ANALYZE.
#[derive(Default, Debug)]
pub(super) struct Watch {
    pub(super) layout: Layout,
    /// By the ranges that a call goes to; none: they are not known.
    pub(super) tallies: BTreeMap<Vec<RangeId>, Tally>,
}

/// One statement being carried out.
pub(super) struct Run<'a> {
    pub(super) backend: &'a dyn Backend,
    cancel: &'a Cancel,
    pub(super) sink: &'a mut dyn Sink,
    pub(super) progress: Progress,
    /// When the statement began, in fleet time.
    pub(super) now: Timestamp,
    pub(super) watch: Option<Watch>,
    /// Nothing is given out: EXPLAIN ANALYZE.
    pub(super) quiet: bool,
}

impl<'a> Run<'a> {
    pub(super) fn new(backend: &'a dyn Backend, cancel: &'a Cancel, sink: &'a mut dyn Sink) -> Self {
        let (progress, now) = (Progress::default(), backend.fleet_now());
        Self { backend, cancel, sink, progress, now, watch: None, quiet: false }
    }

    /// Carries out one request, unless the statement is cancelled first; then the request is dropped.
    pub(super) async fn look<T>(
        &mut self,
        request: impl Future<Output = Result<T, BackendError>>,
    ) -> Result<T, ShellError> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(ShellError::Cancelled { done: None }),
            answer = request => Ok(answer?),
        }
    }

    async fn request<T>(
        &mut self,
        ranges: &[RangeId],
        requests: u64,
        request: impl Future<Output = Result<T, BackendError>>,
    ) -> Result<T, ShellError> {
        let began = Instant::now();
        let answer = self.look(request).await;
        self.progress.requests += requests;
        if let Some(watch) = &mut self.watch {
            let tally = watch.tallies.entry(ranges.to_vec()).or_default();
            tally.requests += requests;
            tally.time += began.elapsed();
        }
        answer
    }

    /// A request that changes something: cancelled under way, nobody knows whether it did.
    async fn change<T>(
        &mut self,
        ranges: &[RangeId],
        request: impl Future<Output = Result<T, BackendError>>,
    ) -> Result<T, ShellError> {
        if self.cancel.is_cancelled() {
            return Err(ShellError::Cancelled { done: None });
        }
        self.request(ranges, 1, request).await.map_err(|error| match error {
            ShellError::Cancelled { .. } => ShellError::Cancelled { done: Some(IN_FLIGHT.into()) },
            other => other,
        })
    }

    fn count(&mut self, ranges: Vec<RangeId>, rows: u64, bytes: u64) {
        if let Some(watch) = &mut self.watch {
            let tally = watch.tallies.entry(ranges).or_default();
            tally.rows += rows;
            tally.bytes += bytes;
        }
    }

    /// The ranges that hold these keys, while they are watched.
    fn ranges_of<'k>(&self, keys: impl Iterator<Item = &'k Key>) -> Vec<RangeId> {
        let Some(watch) = &self.watch else { return vec![] };
        let mut ranges: Vec<RangeId> =
            keys.filter_map(|key| Some(watch.layout.holding(key)?.descriptor.range)).collect();
        ranges.sort();
        ranges.dedup();
        ranges
    }

    pub(super) async fn scan_page(&mut self, page: ScanPage) -> Result<Page, ShellError> {
        let ranges = match (&self.watch, page.reverse) {
            (Some(watch), true) => {
                watch.layout.within(&page.bounds).last().map(|range| range.descriptor.range).into_iter().collect()
            }
            _ => self.ranges_of(std::iter::once(&page.bounds.start)),
        };
        let backend = self.backend;
        let page = self.request(&ranges, 1, backend.scan_page(page)).await?;
        let rows = u64::try_from(page.rows.len()).unwrap_or(u64::MAX).saturating_add(page.counted);
        let bytes = page.rows.iter().map(crate::backend::StoredRow::size_bytes).sum();
        self.progress.rows_scanned += rows;
        self.progress.bytes_scanned += bytes;
        self.count(ranges, rows, bytes);
        Ok(page)
    }

    pub(super) async fn batch_get(&mut self, keys: Vec<Key>) -> Result<Vec<Option<VersionedValue>>, ShellError> {
        let ranges = self.ranges_of(keys.iter());
        let key_bytes: usize = keys.iter().map(|key| key.user_key().len()).sum();
        let backend = self.backend;
        // The client sends a request to each range of the keys; how many these are is known while they are watched.
        let requests = u64::try_from(ranges.len().max(1)).unwrap_or(u64::MAX);
        let values = self.request(&ranges, requests, backend.batch_get(keys)).await?;
        let found = u64::try_from(values.iter().flatten().count()).unwrap_or(u64::MAX);
        let value_bytes: usize = values.iter().flatten().map(|value| value.value.len()).sum();
        let bytes = u64::try_from(key_bytes + value_bytes).unwrap_or(u64::MAX);
        self.progress.rows_scanned += found;
        self.progress.bytes_scanned += bytes;
        self.count(ranges, found, bytes);
        Ok(values)
    }

    pub(super) async fn write(&mut self, changes: Vec<Change>) -> Result<Written, ShellError> {
        let ranges = self.ranges_of(changes.iter().map(|change| &change.key));
        let count = u64::try_from(changes.len()).unwrap_or(u64::MAX);
        let size = |change: &Change| change.key.user_key().len() + change.value.as_ref().map_or(0, bytes::Bytes::len);
        let bytes = u64::try_from(changes.iter().map(size).sum::<usize>()).unwrap_or(u64::MAX);
        let backend = self.backend;
        let written = self.change(&ranges, backend.write(changes)).await?;
        if matches!(written, Written::Done { .. }) {
            self.progress.rows_changed += count;
            self.count(ranges, count, bytes);
        }
        Ok(written)
    }

    pub(super) async fn delete_page(&mut self, bounds: KeyRange) -> Result<Deleted, ShellError> {
        let ranges = self.ranges_of(std::iter::once(&bounds.start));
        let backend = self.backend;
        let deleted = self.change(&ranges, backend.delete_page(bounds)).await?;
        self.progress.rows_changed += deleted.keys;
        self.count(ranges, deleted.keys, 0);
        Ok(deleted)
    }

    /// All ranges that hold keys of a keyspace.
    pub(super) async fn layout(&mut self, keyspace: KeyspaceId) -> Result<Layout, ShellError> {
        let bounds = KeyRange { start: Key::bound(keyspace, b""), end: Key::keyspace_end(keyspace) };
        let mut pages = RangePages::new(Ranges::Within(bounds));
        let mut ranges = Vec::new();
        while let Some(page) = pages.next(self).await? {
            ranges.extend(page);
        }
        Ok(Layout { ranges, silent: pages.silent })
    }

    /// Tells how far it has come.
    pub(super) fn tell(&mut self) {
        self.sink.progress(&self.progress);
    }
}
