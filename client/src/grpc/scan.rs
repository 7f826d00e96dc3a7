//! Reading rows, page by page or as a stream.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use holdfast_types::{Key, KeyRange, Row, ScanMode, Timestamp};

use super::client::Client;
use crate::core::{ScanPager, ScanPart};
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

/// Where a scan stands after a page: see [`Scan::place`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ScanPlace {
    /// Forward: the first key that is still to be read. Reverse: the first that is not read any more.
    pub next: Bytes,
    /// The rest of the range that the scan stands in; `None`: the next page begins another one.
    pub part: Option<ScanPlacePart>,
}

/// The rest of a range that a scan has begun to read.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ScanPlacePart {
    /// The timestamp that all of it is read at.
    pub at: Timestamp,
    /// Where it ends: the first key behind it, in reverse its first key. `None`: with the scan.
    pub until: Option<Bytes>,
}

/// The key as the application knows it.
fn user_key(key: &Key) -> Bytes {
    key.raw().slice_ref(key.user_key())
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
    mode: ScanMode,
    part: Option<ScanPart>,
    pager: Option<ScanPager>,
}

impl Scan {
    pub(super) fn new(client: Client, span: &KeySpan) -> Self {
        let bounds = span.within(client.keyspace_id());
        Self {
            client,
            bounds,
            reverse: false,
            at: None,
            limit: None,
            pages: (u32::MAX, u32::MAX),
            mode: ScanMode::Rows,
            part: None,
            pager: None,
        }
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

    /// Rows without their values: those stay where they are, and each [`KeyValue::value`] is empty.
    ///
    /// ```
    /// # use holdfast_client::mock::Mock;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mock = Mock::start()?;
    /// # let client = mock.client().await?;
    /// client.put("photo/1", vec![7; 100_000]).await?;
    /// let found = client.scan_prefix("photo/").keys_only().collect().await?;
    /// assert_eq!((&found[0].key[..], found[0].value.len()), (&b"photo/1"[..], 0));
    /// # Ok(())
    /// # }
    /// ```
    pub fn keys_only(mut self) -> Self {
        self.mode = ScanMode::Keys;
        self
    }

    /// Goes on where another scan of the same keys, direction and timestamp [stood](Scan::place).
    ///
    /// ```
    /// # use holdfast_client::mock::Mock;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mock = Mock::start()?;
    /// # let client = mock.client().await?;
    /// # for i in 0..5 { client.put(format!("row/{i}"), "v").await?; }
    /// let mut scan = client.scan(..).pages(2, 1 << 20);
    /// scan.next_page().await?;
    /// let place = scan.place().expect("three rows are left");
    /// client.delete("row/3").await?;
    /// let rest = client.scan(..).go_on(place).collect().await?;
    /// assert_eq!(rest.len(), 3, "as of the first page");
    /// # Ok(())
    /// # }
    /// ```
    pub fn go_on(mut self, place: ScanPlace) -> Self {
        let bound = |user: &[u8]| Key::bound(self.client.keyspace_id(), user);
        let (next, part) = (bound(&place.next), place.part);
        self.part = part.map(|part| ScanPart { at: part.at, until: part.until.as_deref().map(bound) });
        match self.reverse {
            false => self.bounds.start = next,
            true => self.bounds.end = Some(next),
        }
        self
    }

    /// Where to go on after the last page, in another process too. `None`: everything has been read, or nothing yet.
    #[must_use]
    pub fn place(&self) -> Option<ScanPlace> {
        let pager = self.pager.as_ref().filter(|pager| pager.read_at().is_some())?;
        let rest = pager.rest()?;
        let next = if self.reverse { rest.end.as_ref()? } else { &rest.start };
        // A range that goes on into another keyspace has all that is left of the scan.
        let own = self.client.keyspace_id();
        let until = |part: &ScanPart| part.until.as_ref().filter(|until| until.keyspace() == own).map(user_key);
        let part = pager.part().map(|part| ScanPlacePart { at: part.at, until: until(part) });
        Some(ScanPlace { next: user_key(next), part })
    }

    /// The timestamp that the last page was read at. `None`: none was read.
    #[must_use]
    pub fn page_at(&self) -> Option<Timestamp> {
        self.pager.as_ref()?.read_at()
    }

    /// The pager, made for the first page, and whom it asks.
    fn pager(&mut self, mode: ScanMode) -> (&Client, &mut ScanPager) {
        let pager = self.pager.get_or_insert_with(|| {
            let (rows, bytes) = self.pages;
            ScanPager::new(self.bounds.clone(), self.reverse, self.at, self.limit)
                .with_pages(rows, bytes)
                .within(self.part.take())
        });
        pager.set_mode(mode);
        (&self.client, pager)
    }

    /// How many rows there are, or are left. They are counted where they are stored: neither keys nor values come here. Takes a limit.
    ///
    /// ```
    /// # use holdfast_client::mock::Mock;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mock = Mock::start()?;
    /// # let client = mock.client().await?;
    /// # for i in 0..10 { client.put(format!("row/{i}"), "v").await?; }
    /// assert_eq!(client.scan_prefix("row/").count().await?, 10);
    /// assert_eq!(client.scan("row/7"..).limit(2).count().await?, 2);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn count(mut self) -> Result<u64, ClientError> {
        let mut rows = 0;
        while let Some(counted) = self.next_count().await? {
            rows += counted;
        }
        Ok(rows)
    }

    /// Counts the rows of the next page, at least one; `None`: all are counted. The rules of [`Scan::next_page`] hold.
    pub async fn next_count(&mut self) -> Result<Option<u64>, ClientError> {
        let (client, pager) = self.pager(ScanMode::Count);
        while let Some(request) = pager.next_request() {
            let before = pager.counted();
            let response = client.call(request).await?;
            pager.take(response).map_err(|misfit| ClientError::Protocol(misfit.0))?;
            let counted = pager.counted() - before;
            if counted > 0 {
                return Ok(Some(counted));
            }
        }
        Ok(None)
    }

    /// The next rows, at least one; `None`: all are read. Each page has the client's deadline for itself. After an error the same
    /// page can be asked for again. Cancel-safe: dropping the future loses nothing.
    pub async fn next_page(&mut self) -> Result<Option<Vec<KeyValue>>, ClientError> {
        let (client, pager) = self.pager(self.mode);
        while let Some(request) = pager.next_request() {
            let response = client.call(request).await?;
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
