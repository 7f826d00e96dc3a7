//! Reading rows, page by page or as a stream.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use holdfast_types::{KeyRange, Row, Timestamp};

use super::client::Client;
use crate::core::ScanPager;
use crate::{ClientError, KeySpan};

/// A row, with its key as the application knows it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct KeyValue {
    /// The key, without its keyspace.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
    /// When it was written.
    pub version: Timestamp,
    /// From this point of fleet time on it is gone; `None`: never.
    pub expires_at: Option<Timestamp>,
}

impl From<Row> for KeyValue {
    fn from(row: Row) -> Self {
        let raw = row.key.raw();
        let key = raw.slice(raw.len() - row.key.user_key().len()..);
        let expires_at = row.value.expires_at;
        Self { key, value: row.value.value, version: row.value.timestamp, expires_at }
    }
}

/// A scan: set it up, then read it by pages ([`Scan::next_page`]), as a stream of rows ([`Scan::stream`]), or at once
/// ([`Scan::collect`]).
///
/// Each range is read at one timestamp, that of its first page, however many pages it takes; so a batch is seen whole or not at all. A
/// scan over several ranges is not one snapshot over all, unless [`Scan::at`] names a timestamp that has passed. A row that is
/// written or deleted meanwhile may be seen or not; all others are seen once. A scan that takes longer than versions are kept (an
/// hour, unless policy says otherwise) is refused with [`Rejected::BelowGcThreshold`](crate::Rejected::BelowGcThreshold): begin
/// another one.
///
/// ```
/// # use holdfast_client::mock::Mock;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mock = Mock::start()?;
/// # let client = mock.client().await?;
/// for i in 0..10 {
///     client.put(format!("row/{i}"), "v").await?;
/// }
/// let mut scan = client.scan_prefix("row/").reverse().limit(4).pages(3, 1 << 20);
/// let mut sizes = vec![];
/// while let Some(page) = scan.next_page().await? {
///     sizes.push(page.len());
/// }
/// assert_eq!(sizes, [3, 1]);
/// # Ok(())
/// # }
/// ```
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
    pub(super) fn new(client: Client, span: &KeySpan) -> Self {
        let bounds = span.within(client.keyspace_id());
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

    /// As of this timestamp; without it the newest of each range. Versions are kept for an hour, unless policy says
    /// otherwise; below that the scan is refused.
    pub fn at(mut self, timestamp: Timestamp) -> Self {
        self.at = Some(timestamp);
        self
    }

    /// Bounds each page in rows and in bytes; what is beyond the limits of the fleet (10,000 rows, 1 MiB) is cut to them, and is
    /// the default.
    pub fn pages(mut self, rows: u32, bytes: u32) -> Self {
        self.pages = (rows, bytes);
        self
    }

    /// The next rows, at least one; `None`: all are read. Each page has the client's deadline for itself. After an error the same
    /// page can be asked for again. Cancel-safe: dropping the future loses nothing.
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

    /// The rows as a stream, which holds one page in memory. After an error the stream goes on: the next item is the same page,
    /// asked for again. Stop at the first error (as `try_next` in `while let` does) unless you want that.
    ///
    /// ```
    /// use futures::TryStreamExt;
    /// # use holdfast_client::mock::Mock;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mock = Mock::start()?;
    /// # let client = mock.client().await?;
    /// # for i in 0..10 { client.put(format!("row/{i}"), "v").await?; }
    /// let mut rows = client.scan("row/3"..).stream();
    /// while let Some(row) = rows.try_next().await? {
    ///     println!("{} = {}", row.key.escape_ascii(), row.value.escape_ascii());
    /// }
    /// let bytes: usize = client.scan(..).stream().try_fold(0, |sum, row| async move { Ok(sum + row.value.len()) }).await?;
    /// assert_eq!(bytes, 10);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "a stream reads nothing until it is polled"]
    pub fn stream(self) -> RowStream {
        RowStream { pages: self.stream_pages(), page: VecDeque::new() }
    }

    /// The pages as a stream; the same rules as for [`Scan::stream`].
    ///
    /// ```
    /// use futures::TryStreamExt;
    /// # use holdfast_client::mock::Mock;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mock = Mock::start()?;
    /// # let client = mock.client().await?;
    /// # for i in 0..5 { client.put(format!("row/{i}"), "v").await?; }
    /// let pages: Vec<_> = client.scan(..).pages(2, 1 << 20).stream_pages().try_collect().await?;
    /// assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "a stream reads nothing until it is polled"]
    pub fn stream_pages(self) -> PageStream {
        PageStream(Reading::Idle(Box::new(self)))
    }
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan")
            .field("bounds", &self.bounds)
            .field("reverse", &self.reverse)
            .field("at", &self.at)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

type Page = Result<Option<Vec<KeyValue>>, ClientError>;
type NextPage = Pin<Box<dyn Future<Output = (Box<Scan>, Page)> + Send>>;

enum Reading {
    Idle(Box<Scan>),
    Asked(NextPage),
    Done,
}

async fn read_page(mut scan: Box<Scan>) -> (Box<Scan>, Page) {
    let page = scan.next_page().await;
    (scan, page)
}

/// The pages of a scan, as a stream. Made by [`Scan::stream_pages`].
#[must_use = "a stream reads nothing until it is polled"]
pub struct PageStream(Reading);

impl Stream for PageStream {
    type Item = Result<Vec<KeyValue>, ClientError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match std::mem::replace(&mut self.0, Reading::Done) {
                Reading::Done => return Poll::Ready(None),
                Reading::Idle(scan) => self.0 = Reading::Asked(Box::pin(read_page(scan))),
                Reading::Asked(mut page) => {
                    let Poll::Ready((scan, page)) = page.as_mut().poll(context) else {
                        self.0 = Reading::Asked(page);
                        return Poll::Pending;
                    };
                    if !matches!(page, Ok(None)) {
                        self.0 = Reading::Idle(scan);
                    }
                    return Poll::Ready(page.transpose());
                }
            }
        }
    }
}

impl fmt::Debug for PageStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.0 {
            Reading::Idle(_) => "idle",
            Reading::Asked(_) => "asked",
            Reading::Done => "done",
        };
        f.debug_tuple("PageStream").field(&state).finish()
    }
}

/// The rows of a scan, as a stream. Made by [`Scan::stream`].
#[derive(Debug)]
#[must_use = "a stream reads nothing until it is polled"]
pub struct RowStream {
    pages: PageStream,
    page: VecDeque<KeyValue>,
}

impl Stream for RowStream {
    type Item = Result<KeyValue, ClientError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(row) = self.page.pop_front() {
                return Poll::Ready(Some(Ok(row)));
            }
            match ready!(Pin::new(&mut self.pages).poll_next(context)) {
                Some(Ok(page)) => self.page = page.into(),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}
