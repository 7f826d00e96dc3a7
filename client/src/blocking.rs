//! The same client for programs without an async runtime: every operation of [`crate::Client`], blocking the calling thread.
//!
//! ```
//! # use holdfast_client::mock::Mock;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mock = Mock::start()?;
//! # let addresses = mock.addresses();
//! use holdfast_client::{Options, blocking::Client};
//!
//! let client = Client::connect(addresses, Options::new())?;
//! client.put("a", "1")?;
//! client.put("b", "2")?;
//! for row in client.scan("a"..) {
//!     let row = row?;
//!     println!("{} = {}", row.key.escape_ascii(), row.value.escape_ascii());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A client runs a small runtime with one thread of its own; clones share it, and many threads may call at a time, which also
//! batches their calls. Calls must not be made from within an async runtime (they would block it, and panic instead): use
//! [`crate::Client`] there. Dropping a client is safe anywhere.
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "a runtime lives here")]

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holdfast_types::{Expected, KeyspaceId, Timestamp, VersionedValue};
use tokio::runtime::{Handle, Runtime};

use crate::admin::AdminError;
use crate::{Batch, ClientError, KeySpan, KeyValue, Options, RetryPolicy, ScanPlace, WriteOutcome};

/// The runtime of a client and its clones. Its end does not wait for anything, so it may come within another runtime.
struct Background(Option<Runtime>);

impl Background {
    #[track_caller]
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        assert!(
            Handle::try_current().is_err(),
            "a blocking client was called within an async runtime: use holdfast_client::Client there"
        );
        self.0.as_ref().expect("taken only when dropped").block_on(future)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A client of one fleet that blocks the calling thread. Cheap to clone, and may be shared by threads.
///
/// # Panics
/// Every operation panics when it is called within an async runtime.
#[derive(Clone)]
pub struct Client {
    // Before the runtime, so that it goes first.
    inner: crate::Client,
    runtime: Arc<Background>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("blocking::Client").field(&self.inner).finish()
    }
}

impl Client {
    /// Learns the fleet from any of these addresses (host:port), on a runtime with one thread of its own.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] when no store answered that belongs to a fleet.
    pub fn connect<A: Into<String>>(
        addresses: impl IntoIterator<Item = A>,
        options: Options,
    ) -> Result<Self, ClientError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("holdfast-client")
            .enable_all()
            .build()
            .map_err(|e| ClientError::Unreachable(format!("no runtime: {e}")))?;
        let runtime = Background(Some(runtime));
        let inner = runtime.block_on(crate::Client::connect(addresses, options))?;
        Ok(Self { inner, runtime: Arc::new(runtime) })
    }

    fn with(&self, inner: crate::Client) -> Self {
        Self { inner, runtime: Arc::clone(&self.runtime) }
    }

    /// The same client with another deadline for each call.
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        self.with(self.inner.with_deadline(deadline))
    }

    /// The same client, reading and writing in another keyspace.
    #[must_use]
    pub fn with_keyspace(&self, keyspace: KeyspaceId) -> Self {
        self.with(self.inner.with_keyspace(keyspace))
    }

    /// The same client, reading and writing in the keyspace of this name. Asks a store once; keep the handle.
    ///
    /// # Errors
    /// [`AdminError::NotFound`] when there is none.
    pub fn keyspace(&self, name: &str) -> Result<Self, AdminError> {
        Ok(self.with(self.runtime.block_on(self.inner.keyspace(name))?))
    }

    /// The same client with another retry policy.
    #[must_use]
    pub fn with_retry(&self, retry: RetryPolicy) -> Self {
        self.with(self.inner.with_retry(retry))
    }

    /// How this handle behaves.
    #[must_use]
    pub fn options(&self) -> &Options {
        self.inner.options()
    }

    /// Where this handle reads and writes.
    #[must_use]
    pub fn keyspace_id(&self) -> KeyspaceId {
        self.inner.keyspace_id()
    }

    /// Fleet time, as far as this client knows: what versions are compared with.
    #[must_use]
    pub fn fleet_now(&self) -> Timestamp {
        self.inner.fleet_now()
    }

    /// The asynchronous client behind this one, for calls within a runtime. It works as long as this one or a clone lives.
    #[must_use]
    pub fn as_async(&self) -> &crate::Client {
        &self.inner
    }

    /// Reads a key.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<VersionedValue>, ClientError> {
        self.runtime.block_on(self.inner.get(key))
    }

    /// Reads a key as of a timestamp.
    pub fn get_at(&self, key: impl AsRef<[u8]>, at: Timestamp) -> Result<Option<VersionedValue>, ClientError> {
        self.runtime.block_on(self.inner.get_at(key, at))
    }

    /// Reads keys, over any number of ranges; one answer a key, in order.
    pub fn batch_get<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<VersionedValue>>, ClientError> {
        self.runtime.block_on(self.inner.batch_get(keys))
    }

    /// Reads keys as of a timestamp: one snapshot, over any number of ranges.
    pub fn batch_get_at<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
        at: Timestamp,
    ) -> Result<Vec<Option<VersionedValue>>, ClientError> {
        self.runtime.block_on(self.inner.batch_get_at(keys, at))
    }

    /// Reads rows in the order of their keys. Iterate over the scan for rows, or call [`Scan::next_page`].
    ///
    /// ```
    /// # use holdfast_client::mock::Mock;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mock = Mock::start()?;
    /// # let client = mock.blocking_client()?;
    /// for i in 0..5 {
    ///     client.put(format!("row/{i}"), "v")?;
    /// }
    /// let newest_first: Vec<_> = client.scan_prefix("row/").reverse().limit(2).into_iter().collect::<Result<_, _>>()?;
    /// assert_eq!(&newest_first[1].key[..], b"row/3");
    /// # Ok(())
    /// # }
    /// ```
    pub fn scan(&self, span: impl Into<KeySpan>) -> Scan {
        Scan { inner: self.inner.scan(span), runtime: Arc::clone(&self.runtime) }
    }

    /// Reads the rows whose keys begin with `prefix`.
    pub fn scan_prefix(&self, prefix: impl AsRef<[u8]>) -> Scan {
        self.scan(KeySpan::prefix(prefix))
    }

    /// Writes a key. Gives its version.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Result<Timestamp, ClientError> {
        self.runtime.block_on(self.inner.put(key, value))
    }

    /// Writes a key whose value vanishes after a while of fleet time. Gives its version.
    pub fn put_for(
        &self,
        key: impl AsRef<[u8]>,
        value: impl Into<Bytes>,
        lives: Duration,
    ) -> Result<Timestamp, ClientError> {
        self.runtime.block_on(self.inner.put_for(key, value, lives))
    }

    /// Deletes a key, whether it exists or not. Gives the version of the deletion.
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<Timestamp, ClientError> {
        self.runtime.block_on(self.inner.delete(key))
    }

    /// Writes a key (`None` deletes it) if it looks as expected.
    pub fn compare_and_set(
        &self,
        key: impl AsRef<[u8]>,
        expected: Expected,
        value: Option<Bytes>,
    ) -> Result<WriteOutcome, ClientError> {
        self.runtime.block_on(self.inner.compare_and_set(key, expected, value))
    }

    /// Changes keys of one range, all or nothing.
    pub fn batch(&self, batch: Batch) -> Result<WriteOutcome, ClientError> {
        self.runtime.block_on(self.inner.batch(batch))
    }

    /// Deletes all keys of a span, page by page. Gives how many existed. After an error some pages are deleted: call again.
    pub fn delete_range(&self, span: impl Into<KeySpan>) -> Result<u64, ClientError> {
        self.runtime.block_on(self.inner.delete_range(span))
    }
}

/// A scan: set it up, then iterate over its rows, or read it by pages. The rules are those of [`crate::Scan`].
#[must_use = "a scan reads nothing until a row or a page is asked for"]
pub struct Scan {
    inner: crate::Scan,
    runtime: Arc<Background>,
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("blocking::Scan").field(&self.inner).finish()
    }
}

impl Scan {
    fn with(self, change: impl FnOnce(crate::Scan) -> crate::Scan) -> Self {
        Self { inner: change(self.inner), runtime: self.runtime }
    }

    /// From the end to the start.
    pub fn reverse(self) -> Self {
        self.with(crate::Scan::reverse)
    }

    /// At most this many rows in all.
    pub fn limit(self, rows: u64) -> Self {
        self.with(|scan| scan.limit(rows))
    }

    /// As of this timestamp; without it the newest of each range.
    pub fn at(self, timestamp: Timestamp) -> Self {
        self.with(|scan| scan.at(timestamp))
    }

    /// Bounds each page in rows and in bytes.
    pub fn pages(self, rows: u32, bytes: u32) -> Self {
        self.with(|scan| scan.pages(rows, bytes))
    }

    /// Rows without their values, which are empty.
    pub fn keys_only(self) -> Self {
        self.with(crate::Scan::keys_only)
    }

    /// Goes on where another scan of the same keys, direction and timestamp stood.
    pub fn go_on(self, place: ScanPlace) -> Self {
        self.with(|scan| scan.go_on(place))
    }

    /// Where to go on after the last page. `None`: everything has been read, or nothing yet.
    #[must_use]
    pub fn place(&self) -> Option<ScanPlace> {
        self.inner.place()
    }

    /// The timestamp that the last page was read at. `None`: none was read.
    #[must_use]
    pub fn page_at(&self) -> Option<Timestamp> {
        self.inner.page_at()
    }

    /// How many rows there are, or are left; they are counted where they are stored.
    pub fn count(self) -> Result<u64, ClientError> {
        self.runtime.block_on(self.inner.count())
    }

    /// Counts the rows of the next page, at least one; `None`: all are counted.
    pub fn next_count(&mut self) -> Result<Option<u64>, ClientError> {
        self.runtime.block_on(self.inner.next_count())
    }

    /// The next rows, at least one; `None`: all are read. After an error the same page can be asked for again.
    pub fn next_page(&mut self) -> Result<Option<Vec<KeyValue>>, ClientError> {
        self.runtime.block_on(self.inner.next_page())
    }

    /// All rows that are left. Give a limit first: they are all held in memory.
    pub fn collect(self) -> Result<Vec<KeyValue>, ClientError> {
        self.runtime.block_on(self.inner.collect())
    }
}

impl IntoIterator for Scan {
    type Item = Result<KeyValue, ClientError>;
    type IntoIter = Rows;

    fn into_iter(self) -> Rows {
        Rows { scan: self, page: Vec::new().into_iter() }
    }
}

/// The rows of a scan; holds one page in memory. After an error the next item is the same page, asked for again.
#[derive(Debug)]
#[must_use = "iterators read nothing until they are asked"]
pub struct Rows {
    scan: Scan,
    page: std::vec::IntoIter<KeyValue>,
}

impl Iterator for Rows {
    type Item = Result<KeyValue, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.page.next() {
                return Some(Ok(row));
            }
            match self.scan.next_page() {
                Ok(Some(page)) => self.page = page.into_iter(),
                Ok(None) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl std::iter::FusedIterator for Rows {}
