//! The handle that applications hold.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use holdfast_proto::v1;
use holdfast_types::{
    ClientId, Expected, FleetId, Key, KeyspaceId, Mutation, Request, Response, Timestamp, VersionedValue, limits,
};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use super::admin::{Admin, AdminError};
use super::batch::{Batch, WriteOutcome};
use super::driver::{Command, Driver};
use super::fleet::describe_patiently;
use super::link;
use super::links::Links;
use super::options::Options;
use super::scan::Scan;
use crate::core::{ClientCore, CoreOptions, DeletePager, RetryPolicy};
use crate::{ClientError, KeySpan};

/// What all clones of a client share.
pub(super) struct Shared {
    /// Unbounded, but holds no more calls than there are permits, and a cancellation for each.
    pub(super) commands: mpsc::UnboundedSender<Command>,
    pub(super) permits: Semaphore,
    pub(super) last_call: AtomicU64,
    start: Instant,
    fleet_ahead_ms: Arc<AtomicU64>,
    /// The furthest fleet time that a handle was told: it never goes back.
    told_ms: AtomicU64,
    /// Knows keyspaces by name.
    admin: Admin,
    fleet: FleetId,
}

/// A client of one fleet. Cheap to clone, and clones share everything; the last one that is dropped closes it.
///
/// - Every operation on keys of one range is linearizable.
/// - Every write is applied at most once however often it had to be tried; when the client could not find out in time, it says
///   [`ClientError::Ambiguous`].
/// - Every call ends by the deadline of the [`Options`].
/// - Every call is cancel-safe: dropping its future ends it at once, and leaves the client as it was. A write that was dropped
///   may or may not be applied, once at most, perhaps a little later.
///
/// It must be made within a tokio runtime, and lives as long as that; calls may come from any task.
///
/// ```
/// # use holdfast_client::mock::Mock;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mock = Mock::start()?;
/// # let addresses = mock.addresses();
/// use holdfast_client::{Client, Options};
///
/// let client = Client::connect(addresses, Options::new()).await?;
/// client.put("greeting", "hello").await?;
/// let greeting = client.get("greeting").await?.expect("just written");
/// assert_eq!(&greeting.value[..], b"hello");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    pub(super) shared: Arc<Shared>,
    pub(super) options: Options,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let in_flight = limits::CLIENT_MAX_CALLS - self.shared.permits.available_permits();
        f.debug_struct("Client").field("options", &self.options).field("calls_in_flight", &in_flight).finish()
    }
}

impl Client {
    /// Learns the fleet from any of these addresses (host:port); one that answers is enough. Tries for as long as the deadline of
    /// the options, because stores may be starting.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] when no store answered that belongs to a fleet; [`ClientError::Untrusted`], at once, when each that answered
    /// was not believed or did not believe us.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use holdfast_client::{Client, Options, SiteName};
    ///
    /// let options = Options::new().site(SiteName::new("site-a")?);
    /// let client = Client::connect(["store-0.site-a:7300", "store-0.site-b:7300"], options).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect<A: Into<String>>(
        addresses: impl IntoIterator<Item = A>,
        options: Options,
    ) -> Result<Self, ClientError> {
        let seeds: Vec<String> = addresses.into_iter().map(Into::into).collect();
        let dialer = link::dialer(options.security.clone());
        let picture = describe_patiently(&seeds, &dialer, options.deadline).await?;
        let fleet = picture.fleet;
        let dialer = dialer.fleet(fleet);
        let random = random_128().map_err(|e| ClientError::Unreachable(format!("no random numbers: {e}")))?;
        let client = ClientId(random);
        let seed = u64::try_from(random >> 64).expect("64 bits");
        let (commands, asked) = mpsc::unbounded_channel();
        let (inbound, heard) = mpsc::channel(1_024);
        let start = Instant::now();
        let fleet_ahead_ms = Arc::new(AtomicU64::new(picture.now.ms()));
        let site = options.site.as_ref().map(|site| site.to_string()).unwrap_or_default();
        let hello = v1::StreamHello { fleet: Some(picture.fleet.into()), site };
        let driver = Driver {
            core: ClientCore::new(CoreOptions { client, site: options.site.clone(), seed }),
            start,
            links: Links::new(seeds.clone(), dialer.clone(), hello, seed, inbound.clone()),
            replies: BTreeMap::new(),
            inbound,
            fleet_ahead_ms: Arc::clone(&fleet_ahead_ms),
            observer: options.observer.clone(),
            is_asking: false,
            is_in_a_hurry: false,
        };
        tokio::spawn(driver.run(picture, asked, heard));
        let permits = Semaphore::new(limits::CLIENT_MAX_CALLS);
        let (last_call, admin) = (AtomicU64::new(0), Admin::dialing(seeds, dialer));
        let told_ms = AtomicU64::new(0);
        let shared = Shared { commands, permits, last_call, start, fleet_ahead_ms, told_ms, admin, fleet };
        Ok(Self { shared: Arc::new(shared), options })
    }

    // ---- the same client, otherwise

    /// The same client with another deadline for each call.
    ///
    /// ```
    /// # use holdfast_client::mock::Mock;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mock = Mock::start()?;
    /// # let client = mock.client().await?;
    /// use std::time::Duration;
    ///
    /// let quick = client.with_deadline(Duration::from_millis(500));
    /// quick.get("k").await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        let mut other = self.clone();
        other.options.deadline = deadline;
        other
    }

    /// The same client, reading and writing in another keyspace.
    ///
    /// ```
    /// # use holdfast_client::mock::Mock;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mock = Mock::start()?;
    /// # let client = mock.client().await?;
    /// use holdfast_client::KeyspaceId;
    ///
    /// let sessions = client.with_keyspace(KeyspaceId(7));
    /// sessions.put("k", "v").await?;
    /// assert!(client.get("k").await?.is_none(), "the default keyspace has its own keys");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_keyspace(&self, keyspace: KeyspaceId) -> Self {
        let mut other = self.clone();
        other.options.keyspace = keyspace;
        other
    }

    /// The same client, reading and writing in the keyspace of this name. Asks a store once; keep the handle.
    ///
    /// # Errors
    /// [`AdminError::NotFound`] when there is none: [`Admin::create_keyspace`] makes one.
    ///
    /// ```
    /// # use holdfast_client::mock::Mock;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mock = Mock::start()?;
    /// # let client = mock.client().await?;
    /// client.admin().create_keyspace("orders").await?;
    /// let orders = client.keyspace("orders").await?;
    /// orders.put("17", "two apples").await?;
    /// assert!(client.get("17").await?.is_none(), "the default keyspace has its own keys");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn keyspace(&self, name: &str) -> Result<Self, AdminError> {
        let found = self.shared.admin.keyspace(name).await?;
        let missing =
            || AdminError::NotFound(format!("there is no keyspace {name:?}: create it, or list those there are"));
        Ok(self.with_keyspace(found.ok_or_else(missing)?.id))
    }

    /// The admin API of the same fleet, at the addresses with which the client was connected.
    #[must_use]
    pub fn admin(&self) -> &Admin {
        &self.shared.admin
    }

    /// The same client with another retry policy.
    ///
    /// ```
    /// # use holdfast_client::mock::{Fault, Mock};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mock = Mock::start()?;
    /// # let client = mock.client().await?;
    /// # mock.inject(Fault::busy(std::time::Duration::from_secs(1)));
    /// use holdfast_client::RetryPolicy;
    ///
    /// let hasty = client.with_retry(RetryPolicy::none());
    /// let error = hasty.get("k").await.unwrap_err();
    /// println!("{error}; come back in {:?}", error.retry_after());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_retry(&self, retry: RetryPolicy) -> Self {
        let mut other = self.clone();
        other.options.retry = retry;
        other
    }

    /// How this handle behaves. Its site and observer are those with which the client was connected.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The fleet that this is a client of: another one at the same addresses has another id.
    #[must_use]
    pub fn fleet_id(&self) -> FleetId {
        self.shared.fleet
    }

    /// Where this handle reads and writes.
    #[must_use]
    pub fn keyspace_id(&self) -> KeyspaceId {
        self.options.keyspace
    }

    /// Fleet time, as far as this client knows: what versions are compared with. Never less than before.
    ///
    /// ```
    /// # use holdfast_client::mock::Mock;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mock = Mock::start()?;
    /// # let client = mock.client().await?;
    /// client.put("k", "old").await?;
    /// let before = client.get("k").await?.expect("written").timestamp;
    /// client.put("k", "new").await?;
    /// let old = client.get_at("k", before).await?.expect("still kept");
    /// assert_eq!(&old.value[..], b"old");
    /// assert!(client.fleet_now().ms().abs_diff(before.ms()) < 60_000);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn fleet_now(&self) -> Timestamp {
        let local_ms = u64::try_from(self.shared.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let now_ms = self.shared.fleet_ahead_ms.load(Ordering::Relaxed).saturating_add(local_ms);
        Timestamp::from_ms(self.shared.told_ms.fetch_max(now_ms, Ordering::Relaxed).max(now_ms))
    }

    // ---- reading

    /// Reads a key. `None`: it does not exist.
    ///
    /// ```
    /// # use holdfast_client::mock::Mock;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mock = Mock::start()?;
    /// # let client = mock.client().await?;
    /// let version = client.put("k", "v").await?;
    /// let found = client.get("k").await?.expect("just written");
    /// assert_eq!((&found.value[..], found.timestamp), (&b"v"[..], version));
    /// assert_eq!(client.get("nothing").await?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<VersionedValue>, ClientError> {
        self.value(self.key(key), None).await
    }

    /// Reads a key as of a timestamp that has passed. Versions are kept for an hour, unless policy says otherwise; below that the
    /// read is refused with [`Rejected::BelowGcThreshold`](crate::Rejected::BelowGcThreshold).
    pub async fn get_at(&self, key: impl AsRef<[u8]>, at: Timestamp) -> Result<Option<VersionedValue>, ClientError> {
        self.value(self.key(key), Some(at)).await
    }

    /// Reads keys, over any number of ranges; one answer a key, in order. Keys of one range are read at one timestamp.
    /// 1 to 4,096 keys; the values of one range have at most 6 MiB together, else the call is refused: scan, or read fewer.
    ///
    /// ```
    /// # use holdfast_client::mock::Mock;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mock = Mock::start()?;
    /// # let client = mock.client().await?;
    /// client.put("a", "1").await?;
    /// let found = client.batch_get(["a", "b"]).await?;
    /// assert!(found[0].is_some() && found[1].is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn batch_get<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<VersionedValue>>, ClientError> {
        self.values(keys.into_iter().map(|key| self.key(key)).collect(), None).await
    }

    /// Reads keys as of a timestamp: one snapshot, over any number of ranges.
    ///
    /// ```
    /// # use holdfast_client::mock::Mock;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mock = Mock::start()?;
    /// # let client = mock.client().await?;
    /// client.put("a", "1").await?;
    /// let then = client.put("b", "1").await?;
    /// client.delete("a").await?;
    /// let found = client.batch_get_at(["a", "b"], then).await?;
    /// assert!(found.iter().all(Option::is_some));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn batch_get_at<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
        at: Timestamp,
    ) -> Result<Vec<Option<VersionedValue>>, ClientError> {
        self.values(keys.into_iter().map(|key| self.key(key)).collect(), Some(at)).await
    }

    /// Reads rows in the order of their keys.
    ///
    /// ```
    /// # use holdfast_client::mock::Mock;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mock = Mock::start()?;
    /// # let client = mock.client().await?;
    /// client.batch(holdfast_client::Batch::new().put("a", "1").put("b", "2").put("c", "3")).await?;
    /// let rows = client.scan("a".."c").collect().await?;
    /// assert_eq!(rows.iter().map(|row| &row.key[..]).collect::<Vec<_>>(), [b"a", b"b"]);
    /// let last = client.scan(..).reverse().limit(1).collect().await?;
    /// assert_eq!(&last[0].key[..], b"c");
    /// # Ok(())
    /// # }
    /// ```
    pub fn scan(&self, span: impl Into<KeySpan>) -> Scan {
        Scan::new(self.clone(), &span.into())
    }

    /// Reads the rows whose keys begin with `prefix`.
    pub fn scan_prefix(&self, prefix: impl AsRef<[u8]>) -> Scan {
        self.scan(KeySpan::prefix(prefix))
    }

    // ---- writing

    /// Writes a key. Gives its version.
    ///
    /// ```
    /// # use holdfast_client::mock::Mock;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mock = Mock::start()?;
    /// # let client = mock.client().await?;
    /// let first = client.put("k", "v").await?;
    /// let second = client.put(b"k", vec![0u8; 100]).await?;
    /// assert!(second > first, "versions of a key grow");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn put(&self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Result<Timestamp, ClientError> {
        self.write(self.key(key), Some(value.into()), None).await
    }

    /// Writes a key whose value vanishes after a while of fleet time. Gives its version.
    ///
    /// ```
    /// # use holdfast_client::mock::Mock;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mock = Mock::start()?;
    /// # let client = mock.client().await?;
    /// use std::time::Duration;
    ///
    /// client.put_for("session", "s", Duration::from_secs(600)).await?;
    /// assert!(client.get("session").await?.expect("it lives").expires_at.is_some());
    /// # mock.advance(Duration::from_secs(601));
    /// # assert!(client.get("session").await?.is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn put_for(
        &self,
        key: impl AsRef<[u8]>,
        value: impl Into<Bytes>,
        lives: Duration,
    ) -> Result<Timestamp, ClientError> {
        let expires_at = self.fleet_now().after(lives);
        self.write(self.key(key), Some(value.into()), Some(expires_at)).await
    }

    /// Deletes a key, whether it exists or not. Gives the version of the deletion.
    ///
    /// ```
    /// # use holdfast_client::mock::Mock;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mock = Mock::start()?;
    /// # let client = mock.client().await?;
    /// client.put("k", "v").await?;
    /// client.delete("k").await?;
    /// assert_eq!(client.get("k").await?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn delete(&self, key: impl AsRef<[u8]>) -> Result<Timestamp, ClientError> {
        self.write(self.key(key), None, None).await
    }

    /// Writes a key (`None` deletes it) if it looks as expected.
    ///
    /// ```
    /// # use holdfast_client::mock::Mock;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mock = Mock::start()?;
    /// # let client = mock.client().await?;
    /// use holdfast_client::Expected;
    ///
    /// // A counter: read, and write if nobody was faster.
    /// client.put("count", "41").await?;
    /// loop {
    ///     let old = client.get("count").await?.expect("it exists");
    ///     let next = std::str::from_utf8(&old.value)?.parse::<u64>()? + 1;
    ///     let expected = Expected::Version(old.timestamp);
    ///     if client.compare_and_set("count", expected, Some(next.to_string().into())).await?.is_written() {
    ///         break;
    ///     }
    /// }
    /// assert_eq!(&client.get("count").await?.expect("it exists").value[..], b"42");
    /// # Ok(())
    /// # }
    /// ```
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

    /// Changes keys of one range, all or nothing. See [`Batch`] for examples and limits. Keys of two ranges are refused with
    /// [`Rejected::SpansRanges`](crate::Rejected::SpansRanges), which says where they meet; nothing is done then.
    pub async fn batch(&self, batch: Batch) -> Result<WriteOutcome, ClientError> {
        let keys = batch.condition_keys();
        let request = batch.into_request(self.options.keyspace, self.fleet_now());
        WriteOutcome::from_response(self.call(request).await?, &keys)
    }

    /// Deletes all keys of a span, page by page, each page atomic and with the client's deadline for itself. Gives how many
    /// existed. After an error, or when the future is dropped, some pages are deleted: call again.
    ///
    /// ```
    /// # use holdfast_client::mock::Mock;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mock = Mock::start()?;
    /// # let client = mock.client().await?;
    /// use holdfast_client::KeySpan;
    ///
    /// for i in 0..3 {
    ///     client.put(format!("tmp/{i}"), "v").await?;
    /// }
    /// assert_eq!(client.delete_range("tmp/1"..).await?, 2);
    /// assert_eq!(client.delete_range(KeySpan::prefix("tmp/")).await?, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn delete_range(&self, span: impl Into<KeySpan>) -> Result<u64, ClientError> {
        let mut pager = DeletePager::new(span.into().within(self.options.keyspace));
        while let Some(request) = pager.next_request() {
            let response = self.call(request).await?;
            pager.take(&response).map_err(|misfit| ClientError::Protocol(misfit.0))?;
        }
        Ok(pager.deleted())
    }

    // ---- what these are made of

    fn key(&self, user_key: impl AsRef<[u8]>) -> Key {
        // Checked with the rest of the request.
        Key::bound(self.options.keyspace, user_key.as_ref())
    }

    async fn write(
        &self,
        key: Key,
        value: Option<Bytes>,
        expires_at: Option<Timestamp>,
    ) -> Result<Timestamp, ClientError> {
        let mutations = vec![Mutation { key, value, expires_at }];
        match self.call(Request::Write { conditions: vec![], mutations }).await? {
            Response::Written { timestamp } => Ok(timestamp),
            _ => Err(ClientError::Protocol("the outcome of a write was expected".into())),
        }
    }

    async fn value(&self, key: Key, at: Option<Timestamp>) -> Result<Option<VersionedValue>, ClientError> {
        let values = self.values(vec![key], at).await?;
        values.into_iter().next().ok_or_else(|| ClientError::Protocol("one value was expected".into()))
    }

    async fn values(&self, keys: Vec<Key>, at: Option<Timestamp>) -> Result<Vec<Option<VersionedValue>>, ClientError> {
        let asked = keys.len();
        match self.call(Request::Get { keys, at }).await? {
            Response::Got { values } if values.len() == asked => Ok(values),
            _ => Err(ClientError::Protocol("values were expected".into())),
        }
    }
}

fn random_128() -> Result<u128, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    // 0 means "none"; one draw in 2^128 gets its neighbour.
    Ok(u128::from_le_bytes(bytes).max(1))
}
