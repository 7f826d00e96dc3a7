//! A fleet of real `holdfast` processes on loopback: started, killed, paused and started again.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use holdfast_client::Security;
use holdfast_client::channel::{Dialer, StoreChannel};
use holdfast_proto::v1;
use holdfast_proto::v1::admin_client::AdminClient;
use holdfast_proto::v1::fleet_client::FleetClient;
use holdfast_types::{Key, KeyspaceId};
use rustix::process::{Pid, Signal, kill_process};

use self::certificates::Certificates;
pub(crate) use self::ports::FreePorts;
use crate::wires::{Place, Wires, program_in};

mod certificates;
mod moving;
mod ports;
mod ranges;
mod room;

/// How often a state that another process must reach is asked for.
const POLL_EVERY: Duration = Duration::from_millis(20);
/// How long a new fleet takes at most until its ranges are spread.
const SPREAD_WITHIN: Duration = Duration::from_secs(60);
/// With fixed ports each store has this many: clients, store streams, heartbeats, HTTP, metrics, and some to spare.
const PORTS_OF_A_STORE: u16 = 10;
/// Ports of a store that has an address of its own: those that are the defaults.
pub const CLIENT_PORT: u16 = 7300;
/// Streams between stores.
pub const STORE_PORT: u16 = 7400;
/// Support heartbeats.
pub const HEARTBEAT_PORT: u16 = STORE_PORT + 1;
/// Health, and metrics where there is no TLS.
pub const HTTP_PORT: u16 = 7500;
/// Metrics where there is.
pub const METRICS_PORT: u16 = 7600;
/// A store may take so long to take a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);
/// And so long for what it is asked to do.
const DONE_WITHIN: Duration = Duration::from_secs(20);

/// What kind of fleet is wanted.
#[derive(Clone, Debug)]
pub struct FleetOptions {
    /// The `holdfast` program.
    pub binary: PathBuf,
    /// Where the stores keep their data: one folder each.
    pub dir: PathBuf,
    /// How many sites: `site-a`, `site-b`, ...
    pub sites: usize,
    /// Stores of each site.
    pub stores_per_site: usize,
    /// More arguments of `holdfast start`.
    pub extra_args: Vec<String>,
    /// With certificates of an authority of its own; else the stores are told that they need none.
    pub tls: bool,
}

/// One store of the fleet.
#[derive(Debug)]
pub struct StoreProcess {
    /// Its site.
    pub site: String,
    /// Its data directory.
    pub data_dir: PathBuf,
    /// Where clients reach it.
    pub client: SocketAddr,
    /// Where stores reach it.
    pub store: SocketAddr,
    /// Health, and metrics where there is no TLS.
    pub http: SocketAddr,
    /// Metrics where there is.
    pub metrics: SocketAddr,
    /// The network namespace that it runs in, if not this process's own.
    namespace: Option<String>,
    /// The folder with its certificate; `None`: it has no TLS.
    tls: Option<PathBuf>,
    /// Arguments of this store alone.
    arguments: Vec<String>,
    child: Option<Child>,
}

/// A fleet of real processes. Dropping it kills them all; the data stays.
pub struct LocalFleet {
    options: FleetOptions,
    stores: Vec<StoreProcess>,
    /// How the stores are asked here.
    security: Security,
    certificates: Option<Certificates>,
    /// Never goes back: a store that moves gets ports that none had before.
    ports: FreePorts,
}

impl LocalFleet {
    /// Chooses ports and folders, and makes certificates if there are to be any; starts nothing.
    pub fn new(options: FleetOptions) -> anyhow::Result<Self> {
        ensure!((1..=26).contains(&options.sites), "a local fleet has 1 to 26 sites");
        ensure!((1..=16).contains(&options.stores_per_site), "a site of a local fleet has 1 to 16 stores");
        let mut ports = FreePorts::new();
        let mut stores = Vec::new();
        for store in 0..options.stores_per_site {
            for site in 0..options.sites {
                let letter = char::from(b'a' + u8::try_from(site).expect("at most 26 sites"));
                let streams = ports.next_pair()?;
                stores.push(StoreProcess {
                    site: format!("site-{letter}"),
                    data_dir: options.dir.join(format!("site-{letter}-{store}")),
                    client: ports.next()?,
                    store: streams,
                    http: ports.next()?,
                    metrics: ports.next()?,
                    namespace: None,
                    tls: None,
                    arguments: Vec::new(),
                    child: None,
                });
            }
        }
        let mut fleet = Self { options, stores, security: Security::Plain, certificates: None, ports };
        if fleet.options.tls {
            fleet.make_certificates()?;
        }
        Ok(fleet)
    }

    /// Gives the stores fixed ports instead of free ones, ten each: store `i` serves clients at `first + 10 i`, stores at the next
    /// two, HTTP at the one after, metrics behind it. To be called before the start.
    pub fn use_ports_from(&mut self, first: u16) -> anyhow::Result<()> {
        let mut base = first;
        for store in &mut self.stores {
            let end = base.checked_add(PORTS_OF_A_STORE).context("there are no ports beyond 65535")?;
            for port in base..base + 5 {
                ensure!(FreePorts::is_free(port), "port {port} is in use");
            }
            let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
            (store.client, store.store) = (at(base), at(base + 1));
            (store.http, store.metrics) = (at(base + 3), at(base + 4));
            base = end;
        }
        Ok(())
    }

    /// Starts stores with another program from now on: one that ends up as `holdfast`.
    pub fn use_program(&mut self, program: PathBuf) {
        self.options.binary = program;
    }

    /// Puts each store into the namespace of its site, one in each, with the default ports. To be called before the start, and
    /// by who reaches the namespaces.
    pub fn place(&mut self, wires: &Wires) -> anyhow::Result<()> {
        ensure!(self.options.stores_per_site == 1, "a namespace has one address and room for one store");
        for (site, store) in self.stores.iter_mut().enumerate() {
            let Place { namespace, address } = wires.site(site).clone();
            let at = |port: u16| SocketAddr::from((address, port));
            (store.client, store.store) = (at(CLIENT_PORT), at(STORE_PORT));
            (store.http, store.metrics) = (at(HTTP_PORT), at(METRICS_PORT));
            store.namespace = Some(namespace);
        }
        Ok(())
    }

    /// Starts every store, founds the fleet on the first if its data knows of none, and waits until all are members and every
    /// range is spread.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        room::ensure(&self.options.dir)?;
        let is_founded = self.stores[0].data_dir.join("directory.json").exists();
        for index in 0..self.stores.len() {
            self.start_store(index)?;
        }
        if is_founded {
            self.wait_listening(0).await?;
            return self.wait_spread(SPREAD_WITHIN).await;
        }
        self.found().await
    }

    /// Founds the fleet on the first of the stores, which have been started, and waits until all are members and every range is spread.
    pub async fn found(&mut self) -> anyhow::Result<()> {
        self.wait_listening(0).await?;
        let mut fleet = self.fleet_client(0).await?;
        let founded = fleet.init(v1::InitRequest::default()).await;
        founded.map_err(|status| anyhow::anyhow!("the fleet cannot be founded: {}", status.message()))?;
        self.wait_spread(SPREAD_WITHIN).await
    }

    /// More arguments of `holdfast start`, for stores that are started from here on.
    pub fn add_args(&mut self, args: &[&str]) {
        self.options.extra_args.extend(args.iter().map(|arg| (*arg).to_owned()));
    }

    /// From its next start on a store has these arguments, which no other has.
    pub fn give(&mut self, index: usize, arguments: &[&str]) {
        self.stores[index].arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
    }

    /// Starts one store, or starts it again on the same ports and data.
    pub fn start_store(&mut self, index: usize) -> anyhow::Result<()> {
        let join = self.join_of(index);
        self.start_joining(index, &join)
    }

    /// The same, with these addresses to join by.
    pub fn start_joining(&mut self, index: usize, join: &[String]) -> anyhow::Result<()> {
        let log_path = self.stores[index].data_dir.with_extension("log");
        if let Some(folder) = log_path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let log = std::fs::File::options().create(true).append(true).open(&log_path)?;
        self.start_saying(index, join, log.into())
    }

    /// The same, with its log to `log`.
    pub fn start_saying(&mut self, index: usize, join: &[String], log: Stdio) -> anyhow::Result<()> {
        let security = self.security_arguments(index);
        let store = &mut self.stores[index];
        ensure!(store.child.is_none(), "store {index} runs already");
        std::fs::create_dir_all(&store.data_dir)?;
        let program = &self.options.binary;
        let mut command = match &store.namespace {
            Some(namespace) => program_in(namespace, program),
            None => Command::new(program),
        };
        command
            // Sites of one machine are told apart by their labels alone, also where that machine is a pod.
            .env_remove("KUBERNETES_SERVICE_HOST")
            // What commands here prove themselves with is no store's.
            .env_remove("HOLDFAST_TLS")
            .env_remove("HOLDFAST_INSECURE")
            // A flag among the further arguments wins.
            .env("HOLDFAST_LOG", "info")
            .args(["start", "--end-with-stdin", "--site", &store.site])
            .args(["--listen", &store.client.to_string(), "--listen-store", &store.store.to_string()])
            .args(["--listen-http", &store.http.to_string(), "--data-dir"])
            .arg(&store.data_dir)
            .args(security)
            .args(&self.options.extra_args)
            .args(&store.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log);
        if !join.is_empty() {
            command.args(["--join", &join.join(",")]);
        }
        let child = command.spawn().with_context(|| format!("starting {}", self.options.binary.display()))?;
        store.child = Some(child);
        Ok(())
    }

    /// What a store is told of TLS, unless its further arguments say it.
    fn security_arguments(&self, index: usize) -> Vec<String> {
        let store = &self.stores[index];
        let mut further = self.options.extra_args.iter().chain(&store.arguments);
        if further.any(|argument| argument.starts_with("--tls") || argument.starts_with("--insecure")) {
            return Vec::new();
        }
        match &store.tls {
            Some(folder) => {
                let metrics = store.metrics.to_string();
                vec!["--tls".to_owned(), folder.display().to_string(), "--listen-metrics".to_owned(), metrics]
            }
            // Addresses of other machines want to be confirmed.
            None => vec!["--insecure".to_owned(); if store.client.ip().is_loopback() { 1 } else { 2 }],
        }
    }

    fn make_certificates(&mut self) -> anyhow::Result<()> {
        let sites: Vec<_> = self.stores.iter().take(self.options.sites).map(|store| store.site.clone()).collect();
        let certificates = Certificates::of(&self.options.dir, &sites)?;
        self.secure(certificates.operator()?, |site| certificates.folder_of(site));
        self.certificates = Some(certificates);
        Ok(())
    }

    /// From their next start on stores have the certificate in the folder of their site, and are asked here by `security`.
    pub fn secure(&mut self, security: Security, folder_of: impl Fn(&str) -> PathBuf) {
        for store in &mut self.stores {
            store.tls = Some(folder_of(&store.site));
        }
        self.security = security;
    }

    /// How the stores are asked here: in a fleet that makes its own certificates, by its operator.
    #[must_use]
    pub fn security(&self) -> &Security {
        &self.security
    }

    /// How a client connects that is called so, where the fleet makes its own certificates; elsewhere as everybody here.
    pub fn security_of_client(&self, name: &str) -> anyhow::Result<Security> {
        self.certificates.as_ref().map_or_else(|| Ok(self.security.clone()), |certificates| certificates.client(name))
    }

    /// Makes a certificate for a client of this name, and returns its folder; `None`: the fleet makes none.
    pub fn client_folder(&self, name: &str) -> anyhow::Result<Option<PathBuf>> {
        let Some(certificates) = &self.certificates else { return Ok(None) };
        certificates.client(name)?;
        Ok(Some(certificates.client_folder(name)))
    }

    /// The folder with the operator's certificate, for commands; `None`: the fleet makes none.
    #[must_use]
    pub fn operator_folder(&self) -> Option<PathBuf> {
        self.certificates.as_ref().map(Certificates::operator_folder)
    }

    /// The client addresses that a store is started with to join by: those of all others. The first store waits for `init`; it finds its
    /// fleet by its own data afterwards.
    #[must_use]
    pub fn join_of(&self, index: usize) -> Vec<String> {
        let others = self.stores.iter().enumerate().filter(|(other, _)| index != 0 && *other != index);
        others.map(|(_, store)| store.client.to_string()).collect()
    }

    /// All stores, running or not. Store `i` is in site `i % sites`.
    #[must_use]
    pub fn stores(&self) -> &[StoreProcess] {
        &self.stores
    }

    /// The stores of one site.
    pub fn stores_of_site(&self, site: usize) -> Vec<usize> {
        (0..self.stores.len()).filter(|index| index % self.options.sites == site).collect()
    }

    /// Client addresses of all stores.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        self.stores.iter().map(|store| store.client.to_string()).collect()
    }

    /// Kills a store with SIGKILL and waits for its end.
    pub fn kill(&mut self, index: usize) -> anyhow::Result<()> {
        let mut child = self.stores[index].child.take().context("the store does not run")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Kills several stores at once: all signals first, then the waiting.
    pub fn kill_all(&mut self, indexes: &[usize]) -> anyhow::Result<()> {
        for index in indexes {
            self.signal(*index, Signal::KILL)?;
        }
        for index in indexes {
            if let Some(mut child) = self.stores[*index].child.take() {
                child.wait()?;
            }
        }
        Ok(())
    }

    /// Asks a store to stop (SIGTERM) and waits for its end, up to `within`.
    pub async fn stop(&mut self, index: usize, within: Duration) -> anyhow::Result<()> {
        self.signal(index, Signal::TERM)?;
        let deadline = Instant::now() + within;
        let mut child = self.stores[index].child.take().context("the store does not run")?;
        while child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                child.kill()?;
                child.wait()?;
                bail!("store {index} did not stop within {within:?} and was killed");
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
        Ok(())
    }

    /// Sends a signal to a running store (STOP, CONT, TERM, KILL).
    pub fn signal(&self, index: usize, signal: Signal) -> anyhow::Result<()> {
        let child = self.stores[index].child.as_ref().context("the store does not run")?;
        let pid = Pid::from_raw(child.id().try_into()?).context("a process id is not 0")?;
        kill_process(pid, signal)?;
        Ok(())
    }

    /// The process id of a store that was started and whose end was not seen yet.
    #[must_use]
    pub fn pid(&self, index: usize) -> Option<u32> {
        self.stores[index].child.as_ref().map(Child::id)
    }

    /// Kills every store that runs.
    pub fn kill_running(&mut self) {
        for store in &mut self.stores {
            if let Some(mut child) = store.child.take() {
                // It may have ended by itself.
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }

    /// The processes of all stores that were started and not ended.
    #[must_use]
    pub fn process_ids(&self) -> Vec<u32> {
        self.stores.iter().filter_map(|store| store.child.as_ref().map(Child::id)).collect()
    }

    /// True while the store's process runs.
    pub fn is_running(&mut self, index: usize) -> bool {
        self.stores[index].child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Waits for the end of a store's process that is expected to end by itself.
    pub async fn wait_ended(&mut self, index: usize, within: Duration) -> anyhow::Result<std::process::ExitStatus> {
        let deadline = Instant::now() + within;
        let child = self.stores[index].child.as_mut().context("the store does not run")?;
        loop {
            if let Some(status) = child.try_wait()? {
                self.stores[index].child = None;
                return Ok(status);
            }
            ensure!(Instant::now() < deadline, "store {index} still runs after {within:?}");
            tokio::time::sleep(POLL_EVERY).await;
        }
    }

    /// What a store wrote to its log.
    pub fn log(&self, index: usize) -> String {
        std::fs::read_to_string(self.stores[index].data_dir.with_extension("log")).unwrap_or_default()
    }

    /// Connects to the fleet service of a store.
    pub async fn fleet_client(&self, index: usize) -> anyhow::Result<FleetClient<StoreChannel>> {
        Ok(FleetClient::new(self.channel(index).await?))
    }

    /// Connects to a store.
    pub async fn channel(&self, index: usize) -> anyhow::Result<StoreChannel> {
        let dialer = Dialer::new(self.security.clone(), CONNECT_WITHIN).answered_within(DONE_WITHIN);
        Ok(dialer.connect(&self.stores[index].client.to_string()).await?)
    }

    /// Connects to the admin service of a store.
    pub async fn admin_client(&self, index: usize) -> anyhow::Result<AdminClient<StoreChannel>> {
        Ok(AdminClient::new(self.channel(index).await?))
    }

    /// Waits until a store answers.
    pub async fn wait_listening(&mut self, index: usize) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.fleet_client(index).await.is_err() {
            if !self.is_running(index) {
                bail!("store {index} ended at its start:\n{}", tail(&self.log(index)));
            }
            ensure!(Instant::now() < deadline, "store {index} does not listen:\n{}", tail(&self.log(index)));
            tokio::time::sleep(POLL_EVERY).await;
        }
        Ok(())
    }

    /// Cuts the default keyspace at these keys, one after the other.
    pub async fn split_at(&mut self, keys: &[bytes::Bytes]) -> anyhow::Result<()> {
        for key in keys {
            let raw = Key::bound(KeyspaceId::DEFAULT, key).raw().clone();
            let deadline = Instant::now() + Duration::from_secs(20);
            while let Err(error) = self.split_once(&raw).await {
                ensure!(Instant::now() < deadline, "splitting at {:?}: {error:#}", key.escape_ascii().to_string());
                tokio::time::sleep(POLL_EVERY).await;
            }
        }
        Ok(())
    }

    async fn split_once(&mut self, key: &bytes::Bytes) -> anyhow::Result<()> {
        let mut admin = self.admin_client(0).await?;
        // A range that begins there already is left as it is.
        admin.split_range(v1::SplitRangeRequest { key: key.clone(), expected_epoch: None }).await?;
        Ok(())
    }
}

impl Drop for LocalFleet {
    fn drop(&mut self) {
        self.kill_running();
    }
}

/// The last lines of a log.
fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().rev().take(30).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// Done when this process is told to end, by Ctrl-C or SIGTERM. Who runs a fleet of its own drops it then: nothing stays behind.
pub async fn interrupted() {
    let terminated = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signals) => drop(signals.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        Ok(()) = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
}

/// A folder for one run under the system's temporary one; removed when dropped.
pub fn scratch(prefix: &str) -> anyhow::Result<tempfile::TempDir> {
    Ok(tempfile::Builder::new().prefix(prefix).tempdir()?)
}

/// The same below another folder, if one is given.
pub fn scratch_in(folder: Option<&Path>, prefix: &str) -> anyhow::Result<tempfile::TempDir> {
    let Some(folder) = folder else { return scratch(prefix) };
    let made = tempfile::Builder::new().prefix(prefix).tempdir_in(folder);
    made.with_context(|| format!("making a folder in {}", folder.display()))
}

/// The `holdfast` program beside the running one (both built by the same cargo call).
pub fn binary_beside(current: &Path) -> anyhow::Result<PathBuf> {
    let folder = current.parent().context("a program lies in a folder")?;
    for folder in [Some(folder), folder.parent()].into_iter().flatten() {
        let candidate = folder.join("holdfast");
        if candidate.is_file() {
            return Ok(candidate);
        }
    }
    bail!("no program `holdfast` beside {}: build the workspace first", current.display())
}
