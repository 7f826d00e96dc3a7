//! The same client for programs without an async runtime. Must not be called from within one: it would panic.
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "a runtime lives here")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holdfast_types::{Expected, KeyspaceId, Timestamp, VersionedValue};
use tokio::runtime::Runtime;

use crate::{Batch, ClientError, KeyValue, Options, WriteOutcome};

/// A client of one fleet that blocks the calling thread. Cheap to clone, and may be shared by threads.
#[derive(Clone)]
pub struct Client {
    // Before the runtime, so that it goes first.
    inner: crate::Client,
    runtime: Arc<Runtime>,
}

impl Client {
    /// Learns the fleet from any of these addresses (host:port), on a runtime with one thread of its own.
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
        let inner = runtime.block_on(crate::Client::connect(addresses, options))?;
        Ok(Self { inner, runtime: Arc::new(runtime) })
    }

    /// The same client with another deadline for each call.
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        Self { inner: self.inner.with_deadline(deadline), runtime: Arc::clone(&self.runtime) }
    }

    /// The same client, reading and writing in another keyspace.
    #[must_use]
    pub fn with_keyspace(&self, keyspace: KeyspaceId) -> Self {
        Self { inner: self.inner.with_keyspace(keyspace), runtime: Arc::clone(&self.runtime) }
    }

    /// Reads a key.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<VersionedValue>, ClientError> {
        self.runtime.block_on(self.inner.get(key))
    }

    /// Reads keys, over any number of ranges; one answer a key, in order.
    pub fn batch_get<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<VersionedValue>>, ClientError> {
        self.runtime.block_on(self.inner.batch_get(keys))
    }

    /// Writes a key. Gives its version.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Result<Timestamp, ClientError> {
        self.runtime.block_on(self.inner.put(key, value))
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

    /// Deletes all keys from `start` to before `end`, page by page. Gives how many existed.
    pub fn delete_range(&self, start: impl AsRef<[u8]>, end: Option<&[u8]>) -> Result<u64, ClientError> {
        self.runtime.block_on(self.inner.delete_range_bytes(start, end))
    }

    /// Reads rows from `start` to before `end`, page by page; `adjust` may set direction, limit and pages.
    pub fn scan(
        &self,
        start: impl AsRef<[u8]>,
        end: Option<&[u8]>,
        adjust: impl FnOnce(crate::Scan) -> crate::Scan,
    ) -> Scan {
        Scan { inner: adjust(self.inner.scan_bytes(start, end)), runtime: Arc::clone(&self.runtime) }
    }
}

/// A scan under way: an iterator over pages.
pub struct Scan {
    inner: crate::Scan,
    runtime: Arc<Runtime>,
}

impl Iterator for Scan {
    type Item = Result<Vec<KeyValue>, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.runtime.block_on(self.inner.next_page()).transpose()
    }
}
