//! Reads the rows of a set of keys, page by page, in order or against it.

use std::collections::VecDeque;

use bytes::Bytes;
use holdfast_client::core::ScanPart;
use holdfast_types::{Key, KeyRange, KeyspaceId, ScanMode, limits};

use super::error::ShellError;
use super::run::Run;
use crate::backend::{ScanPage, StoredRow};
use crate::plan::{KeySet, Step};

/// Single keys that are read with one request.
pub(super) const KEYS_AT_A_TIME: usize = 512;
/// Rows of the first page of a scan: something is seen at once. Later pages are full ones.
const FIRST_PAGE_ROWS: u32 = 500;

/// Rows of a set of keys, still to be read.
pub(super) struct RowReader {
    keyspace: KeyspaceId,
    descending: bool,
    steps: VecDeque<Step>,
    /// What is left of the scan that is under way.
    rest: Option<KeyRange>,
    /// The part of it that is read at one timestamp.
    part: Option<ScanPart>,
    page_rows: u32,
    /// Single keys that are read at a time; fewer once their values were more than one answer takes.
    page_keys: usize,
    mode: ScanMode,
    /// Rows that were counted, and not given out.
    counted: u64,
}

impl RowReader {
    pub(super) fn new(keyspace: KeyspaceId, keys: &KeySet, descending: bool) -> Self {
        let steps = keys.steps(descending, KEYS_AT_A_TIME).into();
        Self {
            keyspace,
            descending,
            steps,
            rest: None,
            part: None,
            page_rows: FIRST_PAGE_ROWS,
            page_keys: KEYS_AT_A_TIME,
            mode: ScanMode::Rows,
            counted: 0,
        }
    }

    /// Intervals are read so. Single keys come with their rows, however few of them are wanted.
    pub(super) fn with_mode(self, mode: ScanMode) -> Self {
        Self { mode, ..self }
    }

    /// Rows that were counted so far, beside those that were given out.
    pub(super) fn counted(&self) -> u64 {
        self.counted
    }

    /// The next rows; `None`: all are read. May be empty although more is to come. `wanted` bounds what is asked for, where no more
    /// rows are of use.
    pub(super) async fn next_page(
        &mut self,
        run: &mut Run<'_>,
        wanted: Option<u64>,
    ) -> Result<Option<Vec<StoredRow>>, ShellError> {
        let wanted = wanted.map_or(u32::MAX, |wanted| u32::try_from(wanted.max(1)).unwrap_or(u32::MAX));
        if let Some(bounds) = self.rest.take() {
            return self.scan(run, bounds, wanted).await.map(Some);
        }
        match self.steps.pop_front() {
            None => Ok(None),
            Some(Step::Scan(interval)) => self.scan(run, interval.within(self.keyspace), wanted).await.map(Some),
            Some(Step::Keys(mut keys)) => {
                let at_once = usize::try_from(wanted).unwrap_or(usize::MAX).min(self.page_keys);
                if keys.len() > at_once {
                    self.steps.push_front(Step::Keys(keys.split_off(at_once)));
                }
                self.get(run, keys).await.map(Some)
            }
        }
    }

    async fn scan(&mut self, run: &mut Run<'_>, bounds: KeyRange, wanted: u32) -> Result<Vec<StoredRow>, ShellError> {
        let max_rows = self.page_rows.min(wanted);
        self.page_rows = limits::MAX_SCAN_ROWS;
        let (part, mode) = (self.part.take(), self.mode);
        let page = run.scan_page(ScanPage { bounds, reverse: self.descending, max_rows, part, mode }).await?;
        self.counted += page.counted;
        (self.rest, self.part) = (page.rest, page.part);
        Ok(page.rows)
    }

    async fn get(&mut self, run: &mut Run<'_>, keys: Vec<Bytes>) -> Result<Vec<StoredRow>, ShellError> {
        let raw: Vec<Key> = keys.iter().map(|key| Key::bound(self.keyspace, key)).collect();
        let values = match run.batch_get(raw.clone()).await {
            // Large values: how large is not known before they are read.
            Err(ShellError::Fleet { source, .. }) if source.is_invalid() && keys.len() > 1 => {
                self.page_keys = keys.len().div_ceil(2);
                self.steps.push_front(Step::Keys(keys));
                return Ok(vec![]);
            }
            values => values?,
        };
        Ok(raw.into_iter().zip(values).filter_map(|(key, value)| Some(StoredRow { key, value: value? })).collect())
    }
}
