//! Reading rows page by page.

use bytes::Bytes;
use holdfast_types::{KeyRange, Row, Timestamp};

use super::client::Client;
use crate::ClientError;
use crate::core::ScanPager;

/// A row, with its key as the application knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyValue {
    /// The key, without its keyspace.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
    /// When it was written.
    pub version: Timestamp,
}

impl From<Row> for KeyValue {
    fn from(row: Row) -> Self {
        let raw = row.key.raw();
        let key = raw.slice(raw.len() - row.key.user_key().len()..);
        Self { key, value: row.value.value, version: row.value.timestamp }
    }
}

/// A scan under way. Each range is read at one timestamp; a scan over several ranges is not one snapshot over all.
#[must_use = "a scan reads nothing until a page is asked for"]
pub struct Scan {
    client: Client,
    bounds: KeyRange,
    reverse: bool,
    at: Option<Timestamp>,
    limit: Option<u64>,
    pages: (u32, u32),
    pager: Option<ScanPager>,
}

impl Scan {
    pub(super) fn new(client: Client, bounds: KeyRange) -> Self {
        Self { client, bounds, reverse: false, at: None, limit: None, pages: (u32::MAX, u32::MAX), pager: None }
    }

    /// From the end to the start.
    pub fn reverse(mut self) -> Self {
        self.reverse = true;
        self
    }

    /// At most this many rows in all.
    pub fn limit(mut self, rows: u64) -> Self {
        self.limit = Some(rows);
        self
    }

    /// As of this timestamp; without it the newest of each range.
    pub fn at(mut self, timestamp: Timestamp) -> Self {
        self.at = Some(timestamp);
        self
    }

    /// Bounds each page; what is beyond the limits of the fleet is cut to them.
    pub fn pages(mut self, rows: u32, bytes: u32) -> Self {
        self.pages = (rows, bytes);
        self
    }

    /// The next rows, at least one; `None`: all are read. Each page has the client's deadline for itself. After an error the same
    /// page can be asked for again. Dropping the future loses nothing.
    pub async fn next_page(&mut self) -> Result<Option<Vec<KeyValue>>, ClientError> {
        let pager = self.pager.get_or_insert_with(|| {
            let (rows, bytes) = self.pages;
            ScanPager::new(self.bounds.clone(), self.reverse, self.at, self.limit).with_pages(rows, bytes)
        });
        while let Some(request) = pager.next_request() {
            let response = self.client.call(request).await?;
            let rows = pager.take(response).map_err(|misfit| ClientError::Protocol(misfit.0))?;
            if !rows.is_empty() {
                return Ok(Some(rows.into_iter().map(Into::into).collect()));
            }
        }
        Ok(None)
    }

    /// All rows that are left. Give a limit first: they are all held in memory.
    pub async fn collect(mut self) -> Result<Vec<KeyValue>, ClientError> {
        let mut rows = Vec::new();
        while let Some(page) = self.next_page().await? {
            rows.extend(page);
        }
        Ok(rows)
    }
}
