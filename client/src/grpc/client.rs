//! The handle that applications hold.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use holdfast_proto::convert::kv::bounds;
use holdfast_types::{
    ClientId, Expected, Key, KeyspaceId, Mutation, Request, Response, SiteName, Timestamp, VersionedValue, limits,
};
use tokio::sync::{Semaphore, SemaphorePermit, mpsc, oneshot};
use tokio::time::Instant;

use super::batch::{Batch, WriteOutcome};
use super::driver::{Command, Driver};
use super::fleet::describe_patiently;
use super::scan::Scan;
use crate::ClientError;
use crate::core::{CallId, ClientCore, CoreOptions, DeletePager};

/// How a client behaves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Where the client runs; its stores are preferred. `None`: outside of every site.
    pub site: Option<SiteName>,
    /// Where keys are.
    pub keyspace: KeyspaceId,
    /// How long a call may take, retries included; at most [`limits::MAX_DEADLINE`].
    pub deadline: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { site: None, keyspace: KeyspaceId::DEFAULT, deadline: limits::DEFAULT_DEADLINE }
    }
}

struct Shared {
    /// Unbounded, but holds no more calls than there are permits, and a cancellation for each.
    commands: mpsc::UnboundedSender<Command>,
    permits: Semaphore,
    last_call: AtomicU64,
    start: Instant,
    fleet_ahead_ms: Arc<AtomicU64>,
}

/// A client of one fleet. Cheap to clone; the last clone that is dropped closes it.
///
/// Every write is applied at most once however often it had to be tried. Dropping the future of a call is safe: its answer is
/// ignored, and a write may or may not be applied.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    options: Options,
}

impl Client {
    /// Learns the fleet from any of these addresses (host:port). Tries for as long as the deadline of the options.
    pub async fn connect<A: Into<String>>(
        addresses: impl IntoIterator<Item = A>,
        options: Options,
    ) -> Result<Self, ClientError> {
        let seeds: Vec<String> = addresses.into_iter().map(Into::into).collect();
        let picture = describe_patiently(&seeds, options.deadline).await?;
        let random = random_128().map_err(|e| ClientError::Unreachable(format!("no random numbers: {e}")))?;
        let client = ClientId(random);
        let seed = u64::try_from(random >> 64).expect("64 bits");
        let (commands, asked) = mpsc::unbounded_channel();
        let (inbound, heard) = mpsc::channel(1_024);
        let start = Instant::now();
        let fleet_ahead_ms = Arc::new(AtomicU64::new(picture.now.ms()));
        let driver = Driver {
            core: ClientCore::new(CoreOptions { client, site: options.site.clone(), seed }),
            start,
            fleet: picture.fleet,
            site: options.site.clone(),
            seed,
            seeds,
            addresses: BTreeMap::new(),
            links: BTreeMap::new(),
            replies: BTreeMap::new(),
            inbound,
            fleet_ahead_ms: Arc::clone(&fleet_ahead_ms),
        };
        tokio::spawn(driver.run(picture, asked, heard));
        let permits = Semaphore::new(limits::CLIENT_MAX_CALLS);
        let shared = Shared { commands, permits, last_call: AtomicU64::new(0), start, fleet_ahead_ms };
        Ok(Self { shared: Arc::new(shared), options })
    }

    /// The same client with another deadline for each call.
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        let mut other = self.clone();
        other.options.deadline = deadline;
        other
    }

    /// The same client, reading and writing in another keyspace.
    #[must_use]
    pub fn with_keyspace(&self, keyspace: KeyspaceId) -> Self {
        let mut other = self.clone();
        other.options.keyspace = keyspace;
        other
    }

    /// Fleet time, as far as this client knows: what versions are compared with.
    #[must_use]
    pub fn fleet_now(&self) -> Timestamp {
        let local_ms = u64::try_from(self.shared.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        Timestamp::from_ms(self.shared.fleet_ahead_ms.load(Ordering::Relaxed).saturating_add(local_ms))
    }

    /// Reads a key.
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<VersionedValue>, ClientError> {
        let values = self.values(vec![self.key(key)], None).await?;
        values.into_iter().next().ok_or_else(|| ClientError::Protocol("one value was expected".into()))
    }

    /// Reads keys, over any number of ranges; one answer a key, in order. Keys of one range are read at one timestamp.
    pub async fn batch_get<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<VersionedValue>>, ClientError> {
        self.values(keys.into_iter().map(|key| self.key(key)).collect(), None).await
    }

    /// Reads keys as of a timestamp.
    pub async fn batch_get_at<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
        at: Timestamp,
    ) -> Result<Vec<Option<VersionedValue>>, ClientError> {
        self.values(keys.into_iter().map(|key| self.key(key)).collect(), Some(at)).await
    }

    /// Writes a key. Gives its version.
    pub async fn put(&self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Result<Timestamp, ClientError> {
        self.write(self.key(key), Some(value.into())).await
    }

    /// Deletes a key, whether it exists or not. Gives the version of the deletion.
    pub async fn delete(&self, key: impl AsRef<[u8]>) -> Result<Timestamp, ClientError> {
        self.write(self.key(key), None).await
    }

    /// Writes a key (`None` deletes it) if it looks as expected.
    pub async fn compare_and_set(
        &self,
        key: impl AsRef<[u8]>,
        expected: Expected,
        value: Option<Bytes>,
    ) -> Result<WriteOutcome, ClientError> {
        let batch = Batch::new().require(&key, expected);
        let batch = match value {
            Some(value) => batch.put(&key, value),
            None => batch.delete(&key),
        };
        self.batch(batch).await
    }

    /// Changes keys of one range, all or nothing. Keys of two ranges are refused with `SpansRanges`; nothing is done then.
    pub async fn batch(&self, batch: Batch) -> Result<WriteOutcome, ClientError> {
        let request = batch.into_request(self.options.keyspace, self.fleet_now());
        WriteOutcome::from_response(self.call(request).await?)
    }

    /// Deletes all keys from `start` to before `end` (`None`: to the end of the keyspace), page by page, each page atomic and with
    /// the client's deadline for itself. Gives how many existed. After an error some pages are deleted; call again.
    pub async fn delete_range(&self, start: impl AsRef<[u8]>, end: Option<&str>) -> Result<u64, ClientError> {
        self.delete_range_bytes(start, end.map(str::as_bytes)).await
    }

    /// The same, for an end that is not text.
    pub async fn delete_range_bytes(&self, start: impl AsRef<[u8]>, end: Option<&[u8]>) -> Result<u64, ClientError> {
        let mut pager = DeletePager::new(bounds(self.options.keyspace, start.as_ref(), end));
        while let Some(request) = pager.next_request() {
            let response = self.call(request).await?;
            pager.take(&response).map_err(|misfit| ClientError::Protocol(misfit.0))?;
        }
        Ok(pager.deleted())
    }

    /// Reads rows from `start` to before `end` (`None`: to the end of the keyspace).
    pub fn scan(&self, start: impl AsRef<[u8]>, end: Option<&str>) -> Scan {
        self.scan_bytes(start, end.map(str::as_bytes))
    }

    /// The same, for an end that is not text.
    pub fn scan_bytes(&self, start: impl AsRef<[u8]>, end: Option<&[u8]>) -> Scan {
        Scan::new(self.clone(), bounds(self.options.keyspace, start.as_ref(), end))
    }

    /// Any request, in raw keys. What all other calls are made of.
    pub async fn call(&self, request: Request) -> Result<Response, ClientError> {
        let deadline = Instant::now() + self.options.deadline.min(limits::MAX_DEADLINE);
        let _permit = self.permit(deadline).await?;
        let call = CallId(self.shared.last_call.fetch_add(1, Ordering::Relaxed) + 1);
        let (reply, answer) = oneshot::channel();
        let command = Command::Call { call, request, deadline, reply };
        self.shared.commands.send(command).map_err(|_| ClientError::Closed)?;
        let mut guard = CancelOnDrop { shared: &self.shared, call: Some(call) };
        let outcome = answer.await.map_err(|_| ClientError::Closed);
        guard.call = None;
        outcome?
    }

    async fn permit(&self, deadline: Instant) -> Result<SemaphorePermit<'_>, ClientError> {
        if let Ok(permit) = self.shared.permits.try_acquire() {
            return Ok(permit);
        }
        match tokio::time::timeout_at(deadline, self.shared.permits.acquire()).await {
            Ok(permit) => permit.map_err(|_| ClientError::Closed),
            Err(_) => Err(ClientError::TooManyCalls),
        }
    }

    fn key(&self, user_key: impl AsRef<[u8]>) -> Key {
        // Checked with the rest of the request.
        Key::bound(self.options.keyspace, user_key.as_ref())
    }

    async fn write(&self, key: Key, value: Option<Bytes>) -> Result<Timestamp, ClientError> {
        let mutations = vec![Mutation { key, value, expires_at: None }];
        match self.call(Request::Write { conditions: vec![], mutations }).await? {
            Response::Written { timestamp } => Ok(timestamp),
            _ => Err(ClientError::Protocol("the outcome of a write was expected".into())),
        }
    }

    async fn values(&self, keys: Vec<Key>, at: Option<Timestamp>) -> Result<Vec<Option<VersionedValue>>, ClientError> {
        let asked = keys.len();
        match self.call(Request::Get { keys, at }).await? {
            Response::Got { values } if values.len() == asked => Ok(values),
            _ => Err(ClientError::Protocol("values were expected".into())),
        }
    }
}

/// Tells the driver when the caller went away.
struct CancelOnDrop<'a> {
    shared: &'a Shared,
    call: Option<CallId>,
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(call) = self.call {
            // A closed driver has nothing left to cancel.
            let _ = self.shared.commands.send(Command::Cancel { call });
        }
    }
}

fn random_128() -> Result<u128, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    // 0 means "none"; one draw in 2^128 gets its neighbour.
    Ok(u128::from_le_bytes(bytes).max(1))
}
