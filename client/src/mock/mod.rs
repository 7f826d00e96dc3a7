//! A fleet within the process, for tests of programs that use the client (feature `mock`).
//!
//! A [`Mock`] listens on loopback and speaks the protocol of real stores, so a test runs the real client against it. What it
//! answers is evaluated by the code of real stores on an engine in memory: versions, conditions, expiry, scans, ranges that
//! split, request ids and completion records behave as they do in a fleet. Raft, disks and placement are left out: a write is
//! committed when it is evaluated, and stores are all on one machine. Of the admin API it serves keyspaces, by name.
//!
//! [`Fault`]s make calls go wrong: delays, refusals, lost requests, lost answers. They are how a program's handling of
//! [`ClientError::Ambiguous`] is tested.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use holdfast_client::mock::{Fault, Mock};
//!
//! let mock = Mock::start()?;
//! let client = mock.client().await?.with_deadline(Duration::from_millis(300));
//!
//! // A lost answer is nothing to worry about: the client finds out what became of the write.
//! mock.inject(Fault::lose_answer());
//! client.put("k", "v").await?;
//! assert_eq!(mock.versions("k").len(), 1);
//!
//! // When every answer is lost until the deadline, it cannot.
//! mock.inject(Fault::lose_answer().forever());
//! let error = client.put("k", "w").await.unwrap_err();
//! assert!(error.is_ambiguous());
//! assert_eq!(mock.versions("k").len(), 2, "it was written, once");
//! # Ok(())
//! # }
//! ```
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "clocks, sockets and threads live here")]

mod admin;
mod authority;
mod data;
mod fault;
mod port;
mod reader;
mod service;

use std::io;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use holdfast_proto::v1::admin_server::AdminServer;
use holdfast_proto::v1::fleet_server::FleetServer;
use holdfast_proto::v1::kv_server::KvServer;
use holdfast_trust::authority::Issued;
use holdfast_trust::{Party, Trust, TrustError};
use holdfast_types::{FleetId, Key, KeyspaceId, SiteName, StoreId, Timestamp, limits};
use tokio::sync::oneshot;
use tonic::service::InterceptorLayer;

use self::authority::Authority;
pub use self::data::MockStats;
use self::data::{Member, MockData};
pub use self::fault::Fault;
use self::port::Gate;
use self::service::{Service, Shared};
use crate::{Client, ClientError, Options, Security, blocking};

/// Who a client is that the mock made.
const CLIENT: &str = "mock";
/// Mocks of this process, which are as many fleets.
static MOCKS: AtomicU64 = AtomicU64::new(0);

/// A fleet within the process. See the [module](self) for what it can do. Ends when it is dropped.
pub struct Mock {
    shared: Arc<Shared>,
    /// What each store shows.
    trust: Vec<Option<Arc<Trust>>>,
    authority: Option<Authority>,
    running: Mutex<Vec<Option<Running>>>,
}

/// How a mock is made. Begin with [`Mock::builder`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use holdfast_client::{Batch, ClientError, Rejected, mock::Mock};
///
/// // Three sites, and two ranges that meet at "m".
/// let mock = Mock::builder().sites(["a", "b", "c"]).split_at("m").start()?;
/// let client = mock.client().await?;
/// let over_both = client.batch(Batch::new().put("b", "1").put("x", "2")).await;
/// assert!(matches!(over_both, Err(ClientError::Rejected(Rejected::SpansRanges { .. }))));
///
/// // A store dies: others take over what it led.
/// client.put("b", "1").await?;
/// mock.stop_store(0);
/// assert!(client.get("b").await?.is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder starts nothing"]
pub struct MockBuilder {
    sites: Vec<String>,
    stores_per_site: usize,
    splits: Vec<Vec<u8>>,
    addresses: Vec<String>,
    advertised: Vec<String>,
    proof: Proof,
}

/// What the store of each site shows.
type Shown = Vec<Option<Arc<Trust>>>;

/// How the stores prove who they are.
#[derive(Clone, Debug)]
enum Proof {
    /// Not at all.
    None,
    /// By an authority of the mock's own.
    Own,
    /// All alike.
    Given(Arc<Trust>),
}

impl MockBuilder {
    /// The labels of its sites; one, called `local`, by default.
    pub fn sites<S: Into<String>>(mut self, sites: impl IntoIterator<Item = S>) -> Self {
        self.sites = sites.into_iter().map(Into::into).collect();
        self
    }

    /// Stores in each site; one by default.
    pub fn stores_per_site(mut self, stores: usize) -> Self {
        self.stores_per_site = stores;
        self
    }

    /// Two ranges meet at this key of the default keyspace.
    pub fn split_at(mut self, key: impl AsRef<[u8]>) -> Self {
        self.splits.push(key.as_ref().to_vec());
        self
    }

    /// Its stores listen at these addresses, one after the other; those for which none is left at free ports of loopback.
    pub fn listen_at<A: Into<String>>(mut self, addresses: impl IntoIterator<Item = A>) -> Self {
        self.addresses = addresses.into_iter().map(Into::into).collect();
        self
    }

    /// Its stores tell clients that they are at these addresses, one after the other, wherever they listen; those for which none is left tell the truth.
    pub fn advertise<A: Into<String>>(mut self, addresses: impl IntoIterator<Item = A>) -> Self {
        self.advertised = addresses.into_iter().map(Into::into).collect();
        self
    }

    /// Its stores speak TLS, with certificates of an authority that is the mock's own. [`Mock::client`] makes clients with one of it too, and
    /// [`Mock::certificate`] is for all others.
    pub fn tls(mut self) -> Self {
        self.proof = Proof::Own;
        self
    }

    /// Its stores speak TLS, all with this certificate, and let in whoever proves by his own that he belongs to their trust domain.
    pub fn trust(mut self, trust: Arc<Trust>) -> Self {
        self.proof = Proof::Given(trust);
        self
    }

    /// Starts its stores, each on a thread and a port of its own.
    ///
    /// # Errors
    /// When there is no port or thread to be had, or no site; a label must be one of a site.
    pub fn start(self) -> io::Result<Mock> {
        let mut members = Vec::new();
        let mut listeners = Vec::new();
        for site in &self.sites {
            let site = SiteName::new(site).map_err(io::Error::other)?;
            for _ in 0..self.stores_per_site {
                let address = self.addresses.get(members.len()).map_or("127.0.0.1:0", String::as_str);
                let listener = TcpListener::bind(address)?;
                let address = listener.local_addr()?.to_string();
                let store = StoreId(members.len() as u64 + 1);
                let advertised = self.advertised.get(members.len()).unwrap_or(&address).clone();
                members.push(Member { store, site: site.clone(), address, advertised, lives: true });
                listeners.push(listener);
            }
        }
        let sites: Vec<_> = members.iter().map(|member| member.site.clone()).collect();
        let epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let epoch_ms = u64::try_from(epoch.as_millis()).unwrap_or_default();
        let port = listeners.first().map(TcpListener::local_addr).transpose()?.map_or(0, |address| address.port());
        let mut data = MockData::new(members, epoch_ms).map_err(io::Error::other)?;
        for key in &self.splits {
            data.split(Key::bound(KeyspaceId::DEFAULT, key)).map_err(io::Error::other)?;
        }
        // Two processes of one machine have different ports, and two mocks of one process different numbers.
        let number = MOCKS.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::new(Shared::new(FleetId((u128::from(number) << 16 | u128::from(port)).max(1)), data));
        let (authority, trust) = self.proofs(&sites).map_err(io::Error::other)?;
        let mock = Mock { shared, trust, authority, running: Mutex::default() };
        for (store, listener) in listeners.into_iter().enumerate() {
            let running = mock.run(store, listener)?;
            mock.lock_running().push(Some(running));
        }
        Ok(mock)
    }

    /// The mock's own authority, if it is to have one, and what the store of each of these sites shows.
    fn proofs(&self, sites: &[SiteName]) -> Result<(Option<Authority>, Shown), TrustError> {
        match &self.proof {
            Proof::None => Ok((None, vec![None; sites.len()])),
            Proof::Given(trust) => Ok((None, vec![Some(Arc::clone(trust)); sites.len()])),
            Proof::Own => {
                let authority = Authority::new()?;
                let shown = sites.iter().map(|site| authority.store(site).map(Some)).collect::<Result<_, _>>()?;
                Ok((Some(authority), shown))
            }
        }
    }
}

impl Mock {
    /// One store in one site, one range over everything.
    ///
    /// # Errors
    /// When there is no port or thread to be had.
    pub fn start() -> io::Result<Self> {
        Self::builder().start()
    }

    /// A mock of another shape.
    pub fn builder() -> MockBuilder {
        let (sites, splits, addresses) = (vec!["local".to_owned()], Vec::new(), Vec::new());
        MockBuilder { sites, stores_per_site: 1, splits, addresses, advertised: Vec::new(), proof: Proof::None }
    }

    /// Starts the store at this place of the list.
    fn run(&self, store: usize, listener: TcpListener) -> io::Result<Running> {
        let id = StoreId(store as u64 + 1);
        Running::start(id, Arc::clone(&self.shared), self.trust[store].clone(), listener)
    }

    fn lock_running(&self) -> std::sync::MutexGuard<'_, Vec<Option<Running>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ---- clients

    /// Where its stores listen: host:port, in the order of the sites.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        self.shared.lock().members.iter().map(|member| member.address.clone()).collect()
    }

    /// A client of it, at the defaults.
    pub async fn client(&self) -> Result<Client, ClientError> {
        self.client_with(Options::new()).await
    }

    /// A client of it. Where the mock has an authority of its own and the options say nothing of TLS, with a certificate of it.
    pub async fn client_with(&self, options: Options) -> Result<Client, ClientError> {
        Client::connect(self.addresses(), self.secured(options)).await
    }

    /// A blocking client of it, at the defaults.
    pub fn blocking_client(&self) -> Result<blocking::Client, ClientError> {
        self.blocking_client_with(Options::new())
    }

    /// A blocking client of it.
    pub fn blocking_client_with(&self, options: Options) -> Result<blocking::Client, ClientError> {
        blocking::Client::connect(self.addresses(), self.secured(options))
    }

    fn secured(&self, options: Options) -> Options {
        match (&options.security, &self.authority) {
            (Security::Plain, Some(_)) => {
                let material = self.certificate(CLIENT).and_then(|issued| issued.material());
                options.security(Trust::from_material(material.expect("an authority in memory does not fail")))
            }
            _ => options,
        }
    }

    /// A certificate with its key for a client of this name, by the authority of a mock that has [one of its own](MockBuilder::tls).
    ///
    /// # Errors
    /// When the name is none.
    ///
    /// # Panics
    /// When the mock has no such authority.
    pub fn certificate(&self, name: &str) -> Result<Issued, TrustError> {
        self.authority.as_ref().expect("the mock was made with tls()").client(name)
    }

    // ---- what goes wrong

    /// The next call that the fault fits has it. Faults are taken in the order in which they came.
    pub fn inject(&self, fault: Fault) {
        self.shared.lock().faults.push(fault);
    }

    /// Forgets the faults that were not taken.
    pub fn clear_faults(&self) {
        self.shared.lock().faults.clear();
    }

    /// Kills a store, counted from 0 as in [`Mock::addresses`]: its connections break and its port refuses new ones. The first
    /// store that lives leads what it led.
    ///
    /// # Panics
    /// When there is no such store.
    pub fn stop_store(&self, store: usize) {
        let running = self.lock_running()[store].take();
        drop(running);
        let mut data = self.shared.lock();
        data.members[store].lives = false;
        let stopped = data.members[store].store;
        let heir = data.members.iter().find(|member| member.lives).map(|member| member.store);
        if let Some(heir) = heir {
            data.lead(heir, |_, leader| leader == stopped);
        }
        drop(data);
        self.shared.news.send_modify(|changes| *changes += 1);
    }

    /// Starts a store again that was stopped, at its old address.
    ///
    /// # Errors
    /// When its port was taken by somebody else.
    ///
    /// # Panics
    /// When there is no such store.
    pub fn start_store(&self, store: usize) -> io::Result<()> {
        let member = self.shared.lock().members[store].clone();
        let mut running = self.lock_running();
        if running[store].is_none() {
            let listener = TcpListener::bind(&member.address)?;
            running[store] = Some(self.run(store, listener)?);
            self.shared.lock().members[store].lives = true;
        }
        Ok(())
    }

    /// The store, counted from 0, tells clients from now on that it is at this address, wherever it listens. Those that are connected hear of it if it
    /// leads.
    ///
    /// # Panics
    /// When there is no such store.
    pub fn advertise(&self, store: usize, address: impl Into<String>) {
        self.shared.lock().members[store].advertised = address.into();
        self.shared.news.send_modify(|changes| *changes += 1);
    }

    /// The store, counted from 0, leads the range of this key of the default keyspace from now on.
    ///
    /// # Panics
    /// When there is no such store.
    pub fn move_leader(&self, key: impl AsRef<[u8]>, store: usize) {
        let key = Key::bound(KeyspaceId::DEFAULT, key.as_ref());
        let mut data = self.shared.lock();
        let to = data.members[store].store;
        data.lead(to, |descriptor, _| descriptor.bounds.contains(&key));
        drop(data);
        self.shared.news.send_modify(|changes| *changes += 1);
    }

    /// Two ranges meet at this key of the default keyspace from now on. Clients find out when they are refused.
    ///
    /// # Panics
    /// When the engine in memory fails, which is a defect.
    pub fn split_at(&self, key: impl AsRef<[u8]>) {
        let split = self.shared.lock().split(Key::bound(KeyspaceId::DEFAULT, key.as_ref()));
        split.expect("a split in memory does not fail");
    }

    // ---- who calls

    /// From the next call on each has to carry this bearer token. Open streams go on; [`Mock::stop_store`] ends them.
    pub fn take_token(&self, token: impl Into<String>) {
        self.shared.access().token = Some(token.into());
    }

    /// Whoever has called so far and proved who he is: one for each certificate.
    #[must_use]
    pub fn callers(&self) -> Vec<Party> {
        self.shared.access().callers.values().cloned().collect()
    }

    // ---- time

    /// Fleet time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.shared.lock().now()
    }

    /// Moves fleet time on, for values that expire.
    pub fn advance(&self, by: Duration) {
        self.shared.lock().advance(by);
    }

    /// Reads below this timestamp are refused from now on, as after garbage collection.
    ///
    /// # Panics
    /// When the engine in memory fails, which is a defect.
    pub fn forget_before(&self, threshold: Timestamp) {
        self.shared.lock().forget_before(threshold).expect("raising a threshold in memory does not fail");
    }

    // ---- what happened

    /// What was counted so far.
    #[must_use]
    pub fn stats(&self) -> MockStats {
        self.shared.lock().stats
    }

    /// Waits until what was counted is so.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use holdfast_client::mock::{Fault, Mock};
    /// let mock = Mock::start()?;
    /// let client = mock.client().await?;
    /// mock.inject(Fault::hold());
    /// let call = tokio::spawn(async move { client.put("k", "v").await });
    /// mock.until(|stats| stats.calls == 1).await;
    /// call.abort();
    /// mock.until(|stats| stats.cancelled == 1).await;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn until(&self, mut so: impl FnMut(&MockStats) -> bool) {
        let mut stats = self.shared.stats.subscribe();
        // The sender lives as long as the mock.
        let _ = stats.wait_for(|stats| so(stats)).await;
    }

    /// The versions of a key of the default keyspace, deletions included, the oldest first: how often it was written.
    #[must_use]
    pub fn versions(&self, key: impl AsRef<[u8]>) -> Vec<Timestamp> {
        self.shared.lock().versions(&Key::bound(KeyspaceId::DEFAULT, key.as_ref()))
    }
}

impl std::fmt::Debug for Mock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mock").field("addresses", &self.addresses()).field("stats", &self.stats()).finish()
    }
}

/// A store at work, on a thread and a runtime of its own. Dropping it kills it, connections and all.
struct Running {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start(
        store: StoreId,
        shared: Arc<Shared>,
        trust: Option<Arc<Trust>>,
        listener: TcpListener,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let serve = async move {
            let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
            let gate = Gate { shared: Arc::clone(&shared), asks: trust.is_some() };
            let service = Service { store, shared };
            let most = limits::MAX_MESSAGE_BYTES;
            let server = tonic::transport::Server::builder()
                .layer(InterceptorLayer::new(gate))
                .add_service(KvServer::new(service.clone()).max_decoding_message_size(most))
                .add_service(FleetServer::new(service.clone()))
                .add_service(AdminServer::new(service))
                .serve_with_incoming(port::incoming(listener, trust));
            tokio::select! {
                // What ends it early shows in clients that cannot connect.
                _ = server => {}
                _ = stopped => {}
            }
        };
        let run = move || {
            runtime.block_on(serve);
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name(format!("holdfast-mock-{}", store.0)).spawn(run)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It ends as soon as it is told; a panic in it has shown in the calls already.
            let _ = thread.join();
        }
    }
}
