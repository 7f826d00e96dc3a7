//! `holdfast start`: from an empty process to a serving store, and back.
//!
//! ```text
//! certificate ─▶ open engines ─▶ services listen ─▶ member? ─ no ─▶ wait for Init, or join by another store ─┐
//!                                      └─ yes ──────────────────────────────────────────────▶ recover ─▶ run ─▶ stop
//! ```

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context;
use holdfast_client::Security as Proofs;
use holdfast_edge::bucket::Bucket;
use holdfast_edge::descriptors::{self, Shares};
use holdfast_edge::gate::Gate;
use holdfast_edge::handshake::Security as PortSecurity;
use holdfast_engine::{EngineOptions, Engines, Fault};
use holdfast_kv::core::identity::Identity;
use holdfast_kv::core::recovery::{self, WorkerSetup};
use holdfast_kv::core::support::Support;
use holdfast_kv::driver::{FaultSink, Ports, Pulse, SLOW_BEAT, Store, StoreEnv, StoreOptions, SystemClock};
use holdfast_kv::ports::{Clock, Note};
use holdfast_placement::StoreRecord;
use holdfast_proto::v1;
use holdfast_proto::v1::admin_server::AdminServer;
use holdfast_proto::v1::fleet_server::FleetServer;
use holdfast_proto::v1::kv_server::KvServer;
use holdfast_raft_transport::{
    Addresses, Format, Identity as StreamIdentity, Process, Security as StreamSecurity, SupportConfig, SupportLink,
    Transport, TransportConfig,
};
use holdfast_replica::{CheckLevel, SurvivalGoal};
use holdfast_trust::{Callers, Trust};
use holdfast_types::{StoreId, Timestamp, limits};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use crate::announcing;
use crate::audit;
use crate::bearer::Bearers;
use crate::cli::StartArgs;
use crate::config::{self, Config, in_kubernetes};
use crate::directory::{Directory, OnChange};
use crate::ending::Ending;
use crate::events::{self, EventLog};
use crate::joining::{become_member, own_record, random_128, stay_member};
use crate::membership;
use crate::ports;
use crate::private;
use crate::proof;
use crate::retiring::{LeadersOf, SUCCEED_WITHIN, until};
use crate::running::{Link, Running, ServerState};
use crate::services::access::Access;
use crate::services::admin::AdminService;
use crate::services::allowed::Allowed;
use crate::services::bounded::bounded;
use crate::services::fleet::{FleetService, InitCommand};
use crate::services::kv::KvService;
use crate::services::{health, http};
use crate::shunned::Shunned;
use crate::trust::acting;
use crate::trusting;
use crate::wire::{HeartbeatLink, Incoming, StreamSender, support_address};

/// How long a store that failed waits for what it heard of others to be on its disk.
const SAVED_WITHIN: Duration = Duration::from_secs(1);

/// How long a stopping store waits until others lead its ranges.
const RETIRE_WITHIN: Duration = Duration::from_secs(5);
/// How long it waits until what it took in is answered: a write that a new leader decides takes an election at most. What has no
/// quorum will not be answered, however long one waits.
const DRAIN_WITHIN: Duration = Duration::from_secs(1);

/// Runs a store until it is told to stop or its disk fails.
pub async fn run(args: &StartArgs) -> anyhow::Result<()> {
    let trust = trusting::open(&config::security_of(args)?, in_kubernetes()).await?;
    let own = trust.as_ref().map(|trust| trust.own().principal);
    let config = Config::load(args, own.as_deref())?;
    trusting::introduce(&config.security, trust.as_deref());
    check_proof(&config, in_kubernetes())?;
    private::begin(&config.data_dir).with_context(|| format!("opening {}", config.data_dir.display()))?;
    trust.iter().for_each(|trust| acting::remember(trust, &config.data_dir));
    let shares = Shares::of(descriptors::raise_limit())?;
    let data_dir = config.data_dir.clone();
    let engine_options = EngineOptions { open_files: shares.engine, ..EngineOptions::default() };
    let engines = tokio::task::spawn_blocking(move || holdfast_engine::rocks::open(&data_dir, &engine_options))
        .await?
        .with_context(|| format!("opening {}", config.data_dir.display()))?;
    let ports = ports::Ports::new(&shares);
    let state = ServerState::new(ports, trust);
    state.rights.keep_in(&config.data_dir);
    state.audit.keep_in(&config.data_dir);
    for port in state.ports.secured() {
        audit::witness::handshakes(&state.audit, port.name, port.handshakes());
    }
    if Identity::read(&*engines.log)?.is_some() {
        state.set_member();
    }
    let (init, inits) = mpsc::channel(1);
    let stream_listener = listen(&config, &state, &shares, init).await?;

    let (faults, mut fault) = fault_sink();
    let ended = tokio::select! {
        ended = live(&config, engines, &state, inits, stream_listener, faults) => ended,
        () = told_to_stop(config.end_with_stdin) => Ok(()),
        fault = fault_of(&mut fault) => Err(fault),
    };
    match (&ended, state.running()) {
        (Ok(()), _) => stop(&state, &config).await,
        // What was heard of the other stores, and of its own end, is no less true for the fault.
        (Err(_), Some(running)) => {
            state.set_stopping();
            // The disk may be what failed: it is not waited for.
            let saved = tokio::task::spawn_blocking(move || running.directory.save());
            let _ = tokio::time::timeout(SAVED_WITHIN, saved).await;
        }
        (Err(_), None) => {}
    }
    match (ended, state.running()) {
        (Err(why), Some(running)) if running.directory.is_over() => Err(Ending::Forgotten(format!("{why:#}")).into()),
        (ended, _) => ended,
    }
}

/// Opens the ports, and serves all of them but that for other stores, whose listener is returned: nobody is heard there before the store runs.
async fn listen(
    config: &Config,
    state: &Arc<ServerState>,
    shares: &Shares,
    init: mpsc::Sender<InitCommand>,
) -> anyhow::Result<TcpListener> {
    let bearers = match (state.trust(), &config.bearer_keys) {
        (Some(trust), Some(path)) => Some(Bearers::open(path.clone(), trust.own().principal.domain.clone())?),
        _ => None,
    };
    let client_listener = tokio::net::TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("listening for clients on {}", config.listen))?;
    let bind = |what, address| TcpListener::bind(address).with_context(|| format!("listening for {what} on {address}"));
    let http_listener = bind("HTTP", config.listen_http)?;
    let stream_listener = bind("stores", config.listen_store)?;
    http::serve(http_listener, state)?;
    if let (Some(trust), Some(address)) = (state.trust(), config.listen_metrics) {
        let security = PortSecurity { trust: Arc::clone(trust), callers: Callers::Anyone };
        http::serve_metrics(bind("those who read metrics", address)?, state, security)?;
        trusting::watch(trust, state)?;
    }
    if let Some(bearers) = &bearers {
        tokio::spawn(Arc::clone(bearers).keep_looking());
    }
    tokio::spawn(serve_clients(client_listener, Arc::clone(state), init, config.clone(), bearers));
    tracing::info!(
        clients = %config.listen, stores = %config.listen_store, http = %config.listen_http,
        metrics = %config.listen_metrics.unwrap_or(config.listen_http), files = shares.all, connections = shares.clients, "listening"
    );
    Ok(stream_listener)
}

/// How this store proves to others who it is when it asks them, and whom it believes.
fn proofs(trust: Option<&Arc<Trust>>) -> Proofs {
    trust.map_or(Proofs::Plain, |trust| Proofs::tls(Arc::clone(trust)))
}

/// A label alone is a promise of whoever wrote the manifest. In Kubernetes there is a proof to be had, and two Kubernetes clusters with one
/// label would be taken for one site: no store runs there without it.
fn check_proof(config: &Config, in_kubernetes: bool) -> Result<(), Ending> {
    if in_kubernetes && config.site_id.as_deref().is_none_or(str::is_empty) {
        return Err(Ending::NoProof(config.site.clone()));
    }
    Ok(())
}

/// Becomes a member and runs. Never returns while all is well.
async fn live(
    config: &Config,
    engines: Engines,
    state: &Arc<ServerState>,
    inits: mpsc::Receiver<InitCommand>,
    stream_listener: TcpListener,
    faults: FaultSink,
) -> anyhow::Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let known = Identity::read(&*engines.log)?;
    let proofs = proofs(state.trust());
    let stores = match known {
        None => become_member(config, &engines, inits, &*clock, &proofs).await?,
        Some(identity) => {
            // Nobody will answer: whoever founds from now on hears at once that there is a fleet already.
            drop(inits);
            proof::check(config, &*engines.log, &identity, &proofs).await?;
            Vec::new()
        }
    };
    let (running, stopped) = start_store(config, engines, clock, (stream_listener, state), faults, &stores)?;
    let running = Arc::new(running);
    tracing::info!(fleet = %running.fleet, store = %running.store_id, site = %running.site, incarnation = running.incarnation.0, "the store runs");
    note_start(&running);
    if let Some(trust) = state.trust() {
        trusting::note_standing(&running, trust);
    }
    state.keep(stopped);
    state.set_running(Arc::clone(&running));
    begin_audit(config, state, &running);
    tokio::spawn(beat(running.store.watch("runtime")));
    tokio::spawn(Arc::clone(&state.rights).run(Arc::clone(&running)));
    tokio::spawn(announcing::run(config.clone(), Arc::clone(&running), proofs));
    Err(stay_member(config, &running).await.into())
}

/// The pulse of the runtime: streams, services and timers all stand still with it.
async fn beat(pulse: Arc<Pulse>) {
    loop {
        pulse.beat(SystemClock.now());
        tokio::time::sleep(SLOW_BEAT).await;
    }
}

/// From here on what is on record has a home, and is written there.
fn begin_audit(config: &Config, state: &ServerState, running: &Arc<Running>) {
    let (store, clock) = (running.store_id, Arc::clone(running));
    state.audit.belong_to(store, running.site.clone(), move || clock.fleet_now());
    tokio::spawn(audit::run(Arc::clone(&state.audit), Arc::clone(running), config.audit_retention));
}

/// The first event of this start; from now on events are kept.
fn note_start(running: &Arc<Running>) {
    let (version, incarnation) = (env!("CARGO_PKG_VERSION"), running.incarnation.0);
    let message = format!("{} started, for the {incarnation}. time, with version {version}", running.store_id);
    running.events.note(v1::EventKind::StoreStarted, None, None, message);
    let kept = Arc::clone(&running.events);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(events::SAVE_EVERY).await;
            let kept = Arc::clone(&kept);
            if tokio::task::spawn_blocking(move || kept.save()).await.is_err() {
                return;
            }
        }
    });
}

/// Recovers what is on disk and starts streams, support and threads.
fn start_store(
    config: &Config,
    engines: Engines,
    clock: Arc<dyn Clock>,
    (stream_listener, state): (TcpListener, &ServerState),
    faults: FaultSink,
    stores: &[StoreRecord],
) -> anyhow::Result<(Running, watch::Sender<bool>)> {
    let recovered = recovery::recover(&engines)?;
    let identity = recovered.identity.clone();
    anyhow::ensure!(identity.site == config.site, "{}", of_another_site(config, &identity));
    let known = recovered.support();
    let own = own_record(config, identity.store, Timestamp::ZERO);
    let stream_identity = introduce(&identity, &own, known.started_at)?;
    let directory = Arc::new(Directory::open(&config.data_dir, own, identity.incarnation, Arc::clone(&clock)));
    let incoming = Arc::new(Incoming::new(Arc::clone(&directory)));
    incoming.keep_record(Arc::clone(&state.audit));
    let mut transport_config =
        TransportConfig::new(stream_identity.clone(), stream_listener, tokio::runtime::Handle::current());
    transport_config.port = Arc::clone(&state.ports.stores);
    let security = state.trust().map_or(StreamSecurity::Plain, |trust| StreamSecurity::Tls(Arc::clone(trust)));
    transport_config.security = security.clone();
    for (store, seen) in &known.seen {
        transport_config.incarnations.remember(*store, seen.incarnation, seen.counter);
    }
    directory.prove_to(transport_config.incarnations.clone());
    let support_config = support_config(stream_identity, &transport_config, security, state);
    let inbound: Arc<dyn holdfast_raft_transport::Inbound> = Arc::clone(&incoming) as _;
    let transport =
        Arc::new(Transport::start(transport_config, inbound).context("starting the streams between stores")?);
    let support_link = start_support(config, support_config, &transport)?;
    if let Some(handshakes) = support_link.handshakes() {
        audit::witness::handshakes(&state.audit, "heartbeats", &handshakes);
        state.ports.hear_heartbeats(handshakes);
    }
    directory.learn(stores);
    let carried = state.ports.stores_carried();
    directory.begin(tell_streams(identity.store, carried, &transport, &support_link, faults.clone()));
    let events = Arc::new(open_events(config, &identity, &clock));
    let (trust, site, audit) = (state.trust().cloned(), identity.site.clone(), Arc::clone(&state.audit));
    directory.begin_doubting(acting::on_doubt(trust, site, Arc::clone(&events), audit));
    let link = Arc::new(Link::new(Arc::clone(&directory), identity.store, Arc::clone(&events)));
    let env = StoreEnv { clock: &*clock, engines: &engines };
    let support = Support::new(known, clock.now());
    let setup = worker_setup(config, identity.store);
    let (workers, map) = recovered.into_workers(&setup, &env);
    let ports = Ports {
        sender: Arc::new(StreamSender { transport: Arc::clone(&transport) }),
        support: Box::new(HeartbeatLink(support_link)),
        clock: Arc::clone(&clock),
        placement: Arc::clone(&link) as _,
        faults,
    };
    let store = Store::start(&store_options(), engines, workers, map, support, ports)?;
    // Before anybody is heard: until then nothing is let through.
    store.set_rights(&state.rights.now());
    store.directory(Arc::new(directory.records()));
    let history = Arc::clone(&link.history);
    incoming.open(Arc::clone(&store), Box::new(move |what| history.noted(Note::Alarm(None, what))));
    let (stop, stopped) = watch::channel(false);
    let notices = link.notices.clone();
    let Identity { fleet, store: store_id, site, incarnation, .. } = identity;
    let running = Running {
        fleet,
        store_id,
        site,
        incarnation,
        store,
        transport,
        incoming,
        directory,
        notices,
        stopped,
        requests: Arc::default(),
        events,
        history: Arc::clone(&link.history),
        shunned: Shunned::default(),
    };
    Ok((running, stop))
}

fn of_another_site(config: &Config, identity: &Identity) -> String {
    let (data, site) = (config.data_dir.display(), &identity.site);
    let what_to_do = match config.security.folder() {
        Some(folder) => {
            format!("put the certificate of a store of {site} into {}, or point --data-dir elsewhere", folder.display())
        }
        None => format!("start it with --site {site}"),
    };
    format!("the data in {data} belongs to a store of site {site}: {what_to_do}")
}

/// What this process says of itself in every handshake. `started_at`: how far the log had come.
fn introduce(identity: &Identity, own: &StoreRecord, started_at: u64) -> anyhow::Result<StreamIdentity> {
    let number = u64::try_from(random_128()? >> 64).unwrap_or(u64::MAX);
    Ok(StreamIdentity {
        fleet: identity.fleet,
        store: identity.store,
        incarnation: identity.incarnation,
        process: Process { number, started_at },
        site: identity.site.clone(),
        addresses: Addresses {
            client: own.addresses.client.clone(),
            store_to_store: own.addresses.store_to_store.clone(),
        },
        formats: formats(),
    })
}

/// Heartbeats count bytes and remember incarnations where streams do.
fn support_config(
    identity: StreamIdentity,
    streams: &TransportConfig,
    security: StreamSecurity,
    state: &ServerState,
) -> SupportConfig {
    let mut support = SupportConfig::new(identity);
    support.traffic = Arc::clone(&streams.traffic);
    support.incarnations = streams.incarnations.clone();
    support.max_incoming = state.ports.heartbeats;
    support.security = security;
    support.witness = Some(audit::witness::heartbeats(&state.audit));
    support
}

/// The heartbeats between stores, on the port after the one for streams.
fn start_support(config: &Config, support: SupportConfig, transport: &Transport) -> anyhow::Result<SupportLink> {
    let mut address: SocketAddr = config.listen_store;
    let port = transport.local_address().port().checked_add(1);
    let port =
        port.with_context(|| format!("{} has no next port, on which heartbeats are heard", config.listen_store))?;
    address.set_port(port);
    SupportLink::start(support, address).with_context(|| format!("listening for support heartbeats on {address}"))
}

/// What happened here before, and what is going to.
fn open_events(config: &Config, identity: &Identity, clock: &Arc<dyn Clock>) -> EventLog {
    let (store, site) = (identity.store, identity.site.clone());
    EventLog::open(&config.data_dir, store, site, identity.incarnation, Arc::clone(clock))
}

fn worker_setup(config: &Config, store: StoreId) -> WorkerSetup {
    WorkerSetup {
        workers: u16::try_from(config.workers).expect("bounded by the configuration"),
        seed: store.0,
        quorum_reads: config.quorum_reads,
        check: CheckLevel::Cheap,
        survival: SurvivalGoal::Site,
    }
}

/// The formats that cross between stores; a store that knows none of ours in common is refused at the handshake.
fn formats() -> Vec<Format> {
    ["store-message", "command", "snapshot"].map(|name| Format { name: name.into(), oldest: 1, newest: 1 }).into()
}

fn store_options() -> StoreOptions {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    StoreOptions {
        appliers: (cores / 4).clamp(1, 4),
        readers: (cores / 2).clamp(2, 8),
        flush_every: EngineOptions::default().flush_every,
        cores: u32::try_from(cores).unwrap_or(u32::MAX),
    }
}

/// The directory tells streams and heartbeats where the other stores are, and which of them are no more. A store that is itself no
/// more ends. `carried`: how many there are connections for.
fn tell_streams(
    own: StoreId,
    carried: usize,
    transport: &Arc<Transport>,
    support: &SupportLink,
    faults: FaultSink,
) -> OnChange {
    let transport = Arc::clone(transport);
    let heartbeats = support.addresses();
    let most = AtomicUsize::new(carried.saturating_add(1));
    Box::new(move |records| {
        let (forgotten, members): (Vec<_>, Vec<_>) = records.iter().partition(|record| record.is_forgotten());
        // Once, and again whenever there are more.
        if members.len() > most.fetch_max(members.len(), Ordering::Relaxed) {
            tracing::warn!(
                members = members.len(),
                carried,
                "this process may have too few files open for connections of all stores: raise the limit (`ulimit -n`, LimitNOFILE=)"
            );
        }
        for record in forgotten {
            if record.store == own {
                faults.report(&Fault::Identity(membership::is_over(own)));
            } else {
                transport.forget(record.store);
                heartbeats.forget(record.store);
            }
        }
        for record in members.into_iter().filter(|record| record.store != own) {
            let address = &record.addresses.store_to_store;
            transport.set_address(record.store, record.site.clone(), address);
            if let Some(address) = support_address(address) {
                heartbeats.set(record.store, record.site.clone(), &address);
            }
        }
    })
}

async fn serve_clients(
    listener: tokio::net::TcpListener,
    state: Arc<ServerState>,
    init: mpsc::Sender<InitCommand>,
    config: Config,
    bearers: Option<Arc<Bearers>>,
) {
    let max = limits::MAX_MESSAGE_BYTES;
    // Whoever may come by a token need not have a certificate.
    let callers = if bearers.is_some() { Callers::AnyoneOrNobody } else { Callers::Anyone };
    let security = state.trust().map(|trust| PortSecurity { trust: Arc::clone(trust), callers });
    let gate = Gate::secured(listener, Arc::clone(&state.ports.clients), security);
    let kv = KvServer::new(KvService { state: Arc::clone(&state) })
        .max_decoding_message_size(max)
        .max_encoding_message_size(max);
    let admin = AdminServer::new(AdminService::new(Arc::clone(&state), config.settings(), proofs(state.trust())))
        .max_decoding_message_size(max)
        .max_encoding_message_size(max);
    let (health, health_service) = tonic_health::server::health_reporter();
    health::tell(&health, state.readiness().is_ok()).await;
    tokio::spawn(health::keep_telling(health, Arc::clone(&state)));
    let access = Access { state: Arc::clone(&state), bearers };
    let allowed = Allowed { state: Arc::clone(&state) };
    let fleet = FleetService {
        state,
        init,
        fleet_token: config.fleet_token.clone(),
        site: config.site.clone(),
        announcements: Mutex::new(Bucket::new(std::time::Instant::now())),
        joins: Mutex::new(Bucket::new(std::time::Instant::now())),
        renewals: Mutex::new(Bucket::new(std::time::Instant::now())),
    };
    let reflected = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(v1::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    // Python's library and older tools ask by the name that the service had before it was stable.
    let reflection_alpha = reflected().build_v1alpha().expect("the descriptors are those that were compiled in");
    let reflection = reflected().build_v1().expect("the descriptors are those that were compiled in");
    let served = ports::client_server()
        .layer(tower::util::MapResponseLayer::new(bounded))
        .layer(access)
        .layer(allowed)
        .add_service(kv)
        .add_service(FleetServer::new(fleet))
        .add_service(admin)
        .add_service(health_service)
        .add_service(reflection)
        .add_service(reflection_alpha)
        .serve_with_incoming(gate.incoming());
    if let Err(error) = served.await {
        tracing::error!(%error, "the client port is gone");
    }
}

/// Where faults of the store's threads come to be heard, as sentences.
fn fault_sink() -> (FaultSink, watch::Receiver<Option<String>>) {
    let (sender, receiver) = watch::channel(None);
    let sink = FaultSink::new(Arc::new(move |fault| {
        let advice = match fault {
            // It says itself what to do.
            Fault::Identity(_) => "",
            _ => "; start the store again when that is mended",
        };
        // The receiver lives as long as the process.
        let _ = sender.send(Some(format!("{fault}{advice}")));
    }));
    (sink, receiver)
}

/// Waits for a fault: the process ends with it, and its exit code is not 0.
async fn fault_of(faults: &mut watch::Receiver<Option<String>>) -> anyhow::Error {
    match faults.wait_for(Option::is_some).await {
        Ok(fault) => anyhow::anyhow!("{}", fault.as_deref().unwrap_or("a fault")),
        // Nobody is left who could report one.
        Err(_) => std::future::pending().await,
    }
}

/// Returns on SIGTERM, on an interrupt, and at the end of standard input if that was asked for.
async fn told_to_stop(with_stdin: bool) {
    let mut terminated = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(signal) => signal,
        Err(error) => {
            tracing::error!(%error, "SIGTERM cannot be listened for");
            return std::future::pending().await;
        }
    };
    let stdin_ended = async {
        if !with_stdin {
            return std::future::pending().await;
        }
        stdin_end().await;
    };
    tokio::select! {
        _ = terminated.recv() => tracing::info!("told to stop"),
        _ = tokio::signal::ctrl_c() => tracing::info!("interrupted"),
        () = stdin_ended => tracing::info!("standard input ended"),
    }
}

/// Waits for the end of standard input on a thread that nobody waits for: a read of it cannot be broken off.
async fn stdin_end() {
    let (ended, end) = tokio::sync::oneshot::channel();
    let read = std::thread::Builder::new().name("stdin".into()).spawn(move || {
        // Any end or error of standard input means that the parent is gone.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = ended.send(());
    });
    match read {
        // The thread sends before it ends.
        Ok(_) => drop(end.await),
        Err(error) => {
            tracing::error!(%error, "standard input cannot be watched");
            std::future::pending().await
        }
    }
}

/// Goes on serving for those who have not heard yet that the store stops; a second signal ends that.
async fn serve_on(lasting: Duration) {
    if lasting.is_zero() {
        return;
    }
    tracing::info!(?lasting, "not ready any more; serving on for those who do not know it yet");
    tokio::select! {
        () = tokio::time::sleep(lasting) => {}
        () = told_to_stop(false) => {}
    }
}

/// Says that it stops, serves on for a while, hands leaders over, ends streams, flushes. `config.ready_pause`: how long it takes until nobody is
/// sent here any more, after probes were told.
async fn stop(state: &ServerState, config: &Config) {
    // Before anything else: from here on probes and health say so, and everything is still served.
    state.set_stopping();
    let Some(running) = state.running() else { return audit::stop(&state.audit, None, config.audit_retention).await };
    let leaders = LeadersOf::of(&running);
    running.store.retire();
    tokio::join!(serve_on(config.ready_pause), until(RETIRE_WITHIN, || !leaders.any_left()));
    let still_leading = leaders.any_left();
    // Whoever leads now says so at once; by then nobody comes here any more, and our last words have arrived.
    until(SUCCEED_WITHIN, || leaders.without_successor() == 0).await;
    let without_leader = leaders.without_successor();
    audit::stop(&state.audit, Some(Arc::clone(&running)), config.audit_retention).await;
    running.store.refuse_new();
    until(DRAIN_WITHIN, || running.store.is_drained()).await;
    let unanswered = running.store.open_requests();
    state.stop_streams();
    let store = Arc::clone(&running.store);
    if tokio::task::spawn_blocking(move || store.stop()).await.is_err() {
        tracing::error!("the store did not stop in order");
    }
    running.transport.stop().await;
    running.events.note(v1::EventKind::StoreStopped, None, None, format!("{} stopped in order", running.store_id));
    running.events.save();
    running.directory.save();
    tracing::info!(
        handed_over = leaders.led.len().saturating_sub(without_leader),
        without_leader,
        unanswered,
        still_leading,
        "stopped"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_fault_of_any_thread_ends_the_process_with_its_words() {
        let (sink, mut faults) = fault_sink();
        sink.report(&Fault::Bug("thread worker 1 panicked: no replica 7".into()));
        sink.report(&Fault::Full("flushing".into()));
        let error = fault_of(&mut faults).await.to_string();
        assert!(error.starts_with("a bug in Holdfast: thread worker 1 panicked: no replica 7;"), "{error}");
    }

    #[test]
    fn in_kubernetes_no_store_runs_without_the_proof_of_its_site() {
        let with = |site_id: Option<&str>| {
            let args = StartArgs {
                site: Some("a".into()),
                data_dir: Some("/tmp/x".into()),
                site_id: site_id.map(str::to_owned),
                insecure: 1,
                ..StartArgs::default()
            };
            Config::load(&args, None).unwrap()
        };
        for (site_id, in_kubernetes, runs) in
            [(None, true, false), (Some(""), true, false), (Some("7f9a"), true, true), (None, false, true)]
        {
            let outcome = check_proof(&with(site_id), in_kubernetes);
            assert_eq!(outcome.is_ok(), runs, "{site_id:?} {in_kubernetes}");
        }
        let said = check_proof(&with(None), true).unwrap_err().to_string();
        assert!(said.contains("HOLDFAST_SITE_ID") && said.contains("kube-system"), "{said}");
    }

    #[tokio::test]
    async fn a_forgotten_store_is_told_to_begin_anew_and_not_to_start_again() {
        let (sink, mut faults) = fault_sink();
        sink.report(&Fault::Identity(membership::is_over(StoreId(4))));
        let error = fault_of(&mut faults).await.to_string();
        assert!(error.starts_with("s4 was forgotten") && error.ends_with("to join as a new store"), "{error}");
    }
}
