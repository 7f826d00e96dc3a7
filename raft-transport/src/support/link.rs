//! The support link: all its sockets, and the one poll over them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use holdfast_edge::handshake::Handshakes;
use holdfast_trust::Party;
use holdfast_types::{Incarnation, StoreId, limits};
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token, Waker};

use super::incoming::{Heard, IncomingSet};
use super::outgoing::{Outgoing, Sockets};
use super::prover::{Found, Prover};
use super::resolver::SupportAddresses;
use crate::handshake::{Identity, Incarnations, Refusal};
use crate::security::Security;
use crate::traffic::Traffic;

const LISTENER: Token = Token(0);
const WAKER: Token = Token(1);
const FIRST_TOKEN: usize = 2;
/// Ready sockets looked at in one go.
const EVENTS: usize = 256;

/// What a support link is started with.
#[derive(Clone)]
pub struct SupportConfig {
    /// Who this store is.
    pub identity: Identity,
    /// How long a connection may be silent towards its sender, and how long a hello and its answer may take. The support interval: with
    /// sites far apart both grow together. What TLS needs before that has `limits::SUPPORT_HANDSHAKE_WITHIN`.
    pub interval: Duration,
    /// How connections are protected.
    pub security: Security,
    /// Where bytes are counted; shared with the transport.
    pub traffic: Arc<Traffic>,
    /// The newest starts of other stores; shared with the transport.
    pub incarnations: Incarnations,
    /// Connections accepted at a time; `limits::SUPPORT_MAX_INCOMING` by default.
    pub max_incoming: usize,
    /// Hears of callers whose hello was refused.
    pub witness: Option<OnRefused>,
}

/// Hears of a caller whose hello was refused: from where, whom his certificate proved, and why. Called by the support thread: must not block.
pub type OnRefused = Arc<dyn Fn(SocketAddr, Option<&Party>, &Refusal) + Send + Sync>;

impl SupportConfig {
    /// With the defaults.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Self {
            identity,
            interval: limits::SUPPORT_INTERVAL,
            security: Security::Plain,
            traffic: Arc::default(),
            incarnations: Incarnations::default(),
            max_incoming: limits::SUPPORT_MAX_INCOMING,
            witness: None,
        }
    }
}

/// What happened to connections and heartbeats since the start.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SupportCounters {
    /// Heartbeats that were not sent: a newer one took their place, or the address is not known.
    pub dropped: u64,
    /// Connections opened by this store.
    pub opened: u64,
    /// Connections that others tried to open with something that is no proper hello.
    pub refused: u64,
}

/// Heartbeats to and from all other stores, driven by the one thread that calls [`SupportLink::poll`]. Nothing here blocks beyond
/// the time given to `poll`. Connections are opened by the first send, and closed when none follows for long.
///
/// - With TLS, handshakes are the business of another thread. This one seals and opens what connections carry whose ends are proved.
/// - Connections with a site that is distrusted end with the next `poll`.
pub struct SupportLink {
    config: SupportConfig,
    poll: Poll,
    events: Events,
    sockets: Sockets,
    /// `None`: connections come from the prover.
    listener: Option<TcpListener>,
    prover: Option<Prover>,
    /// The generation of trust that was looked at last.
    seen_trust: u64,
    local_address: SocketAddr,
    addresses: SupportAddresses,
    seen_addresses: u64,
    outgoing: BTreeMap<StoreId, Outgoing>,
    incoming: IncomingSet,
    /// Sockets whose readiness was not used up; they will not be reported again.
    unfinished: BTreeSet<Token>,
    /// The stranger that was read last: the next one's turn comes first.
    last_stranger: Token,
    heard: Vec<Heard>,
    counters: SupportCounters,
}

impl SupportLink {
    /// Listens on `listen`, and starts the thread that looks names up, and with TLS the one for handshakes.
    pub fn start(config: SupportConfig, listen: SocketAddr) -> std::io::Result<SupportLink> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(listen)?;
        let local_address = listener.local_addr()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let (listener, prover) = match config.security.trust() {
            Some(trust) => (None, Some(Prover::start(Arc::clone(trust), listener, Arc::clone(&waker))?)),
            None => {
                poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
                (Some(listener), None)
            }
        };
        let addresses = SupportAddresses::start(waker)?;
        let sockets = Sockets::new(poll.registry().try_clone()?, FIRST_TOKEN);
        Ok(SupportLink {
            config,
            poll,
            events: Events::with_capacity(EVENTS),
            sockets,
            listener,
            prover,
            seen_trust: 0,
            local_address,
            addresses,
            seen_addresses: 0,
            outgoing: BTreeMap::new(),
            incoming: IncomingSet::default(),
            unfinished: BTreeSet::new(),
            last_stranger: Token(FIRST_TOKEN),
            heard: Vec::new(),
            counters: SupportCounters::default(),
        })
    }

    /// Where this store listens.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// The address book: to be filled from any thread.
    #[must_use]
    pub fn addresses(&self) -> SupportAddresses {
        self.addresses.clone()
    }

    /// What it was started with.
    #[must_use]
    pub fn config(&self) -> &SupportConfig {
        &self.config
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> SupportCounters {
        self.counters
    }

    /// What became of handshakes, of both sides; `None` without TLS. Those of others that failed are counted, and our own that succeeded.
    #[must_use]
    pub fn handshakes(&self) -> Option<Arc<Handshakes>> {
        self.prover.as_ref().map(|prover| Arc::clone(prover.handshakes()))
    }

    /// Why a store does not take our connection, if that is so.
    #[must_use]
    pub fn refusal(&self, store: StoreId) -> Option<&Refusal> {
        self.outgoing.get(&store).and_then(|outgoing| outgoing.refusal.as_ref())
    }

    /// Sends one heartbeat, best effort: never blocks; at most a few wait for a connection, of which the oldest go first.
    ///
    /// Panics when the payload is larger than `limits::SUPPORT_FRAME_BYTES`.
    pub fn send(&mut self, to: StoreId, payload: Bytes) {
        assert!(payload.len() <= limits::SUPPORT_FRAME_BYTES, "a heartbeat of {} bytes", payload.len());
        let now = Instant::now();
        self.take_addresses(now);
        match self.outgoing.get_mut(&to) {
            Some(outgoing) => outgoing.send(payload, now, &mut self.counters),
            None => self.counters.dropped += 1,
        }
    }

    /// Drives all connections until heartbeats have come, `wait` at most. With a wait of zero it takes what is there.
    pub fn poll(&mut self, wait: Duration) -> Vec<(StoreId, Incarnation, Bytes)> {
        let mut now = Instant::now();
        let until = now + wait;
        loop {
            self.take_addresses(now);
            self.turn(now);
            self.wait_for_sockets(until, now);
            now = Instant::now();
            self.handle_sockets(now);
            if !self.heard.is_empty() || now >= until {
                return std::mem::take(&mut self.heard);
            }
        }
    }

    fn take_addresses(&mut self, now: Instant) {
        let Some(book) = self.addresses.newer(&mut self.seen_addresses) else { return };
        self.outgoing.retain(|store, _| book.contains_key(store));
        self.incoming.end_forgotten(&self.config.incarnations);
        for (store, place) in book {
            if store == self.config.identity.store {
                continue;
            }
            match self.outgoing.get_mut(&store) {
                Some(outgoing) => outgoing.set_place(place, &self.config, now),
                None => {
                    self.outgoing.insert(store, Outgoing::new(store, place, &self.config, now));
                }
            }
        }
    }

    /// Does what is due by time.
    fn turn(&mut self, now: Instant) {
        self.look_at_trust(now);
        self.incoming.expire(&self.config, now);
        for (store, outgoing) in &mut self.outgoing {
            outgoing.turn(&self.config, now, &mut self.sockets, self.prover.as_mut(), &mut self.counters);
            if std::mem::take(&mut outgoing.is_lost) {
                self.addresses.look_up(*store);
            }
        }
    }

    /// Ends connections with those who are not trusted any more.
    fn look_at_trust(&mut self, now: Instant) {
        let Some(trust) = self.config.security.trust() else { return };
        let generation = trust.generation();
        if std::mem::replace(&mut self.seen_trust, generation) == generation {
            return;
        }
        self.incoming.end_distrusted(|party| trust.is_distrusted(&party.principal));
        for outgoing in self.outgoing.values_mut() {
            outgoing.end_distrusted(&self.config, now, &mut self.counters);
        }
    }

    /// Takes over connections whose other ends were proved.
    fn take_proved(&mut self, now: Instant) {
        let Some(prover) = &self.prover else { return };
        // Heartbeats are not to wait behind a flood of newcomers.
        for _ in 0..limits::SUPPORT_PROVED_TURN {
            let (attempt, proved) = match prover.next() {
                None => return,
                Some(Found::Called(proved, from)) => {
                    let taken = self.incoming.proved(proved, from, &self.config, now, &mut self.sockets);
                    self.unfinished.extend(taken);
                    continue;
                }
                Some(Found::Reached(attempt, proved)) => (attempt, Ok(proved)),
                Some(Found::NotReached(attempt, failed)) => (attempt, Err(failed)),
            };
            // Nobody waits for it any more when the store has moved or was forgotten.
            if let Some(outgoing) = self.outgoing.values_mut().find(|outgoing| outgoing.waits_for(attempt)) {
                outgoing.proved(proved, &self.config, now, &mut self.sockets, &mut self.counters);
                self.unfinished.extend(outgoing.token());
            }
        }
        self.unfinished.insert(WAKER);
    }

    fn wait_for_sockets(&mut self, until: Instant, now: Instant) {
        let due = self.outgoing.values().filter_map(|outgoing| outgoing.deadline(self.config.interval));
        let next = due.chain(self.incoming.deadline(&self.config)).fold(until, Instant::min);
        let wait = if self.unfinished.is_empty() { next.saturating_duration_since(now) } else { Duration::ZERO };
        match self.poll.poll(&mut self.events, Some(wait)) {
            Ok(()) => {}
            Err(error) => {
                // The kernel clears nothing on an error, neither may we use what is left of the last time.
                self.events.clear();
                if error.kind() != ErrorKind::Interrupted {
                    tracing::error!(%error, "support sockets cannot be polled");
                }
            }
        }
    }

    fn handle_sockets(&mut self, now: Instant) {
        let mut ready = std::mem::take(&mut self.unfinished);
        ready.extend(self.events.iter().map(|event| event.token()));
        let mut later = ready.split_off(&self.last_stranger);
        // That one itself comes last.
        ready.extend(later.take(&self.last_stranger));
        let mut strangers = 0;
        for token in later.into_iter().chain(ready) {
            if self.incoming.is_stranger(token, &self.config) {
                if strangers == limits::SUPPORT_STRANGERS_TURN {
                    self.unfinished.insert(token);
                    continue;
                }
                strangers += 1;
                self.last_stranger = token;
            }
            match token {
                LISTENER => {
                    let Some(listener) = &self.listener else { continue };
                    if self.incoming.accept(listener, &self.config, now, &mut self.sockets) {
                        self.unfinished.insert(LISTENER);
                    }
                }
                WAKER => self.take_proved(now),
                token => {
                    if self.handle_socket(token, now) {
                        self.unfinished.insert(token);
                    }
                }
            }
        }
    }

    fn handle_socket(&mut self, token: Token, now: Instant) -> bool {
        let (config, counters) = (&self.config, &mut self.counters);
        if let Some(has_more) = self.incoming.ready(token, config, now, &mut self.heard, counters) {
            return has_more;
        }
        let outgoing = self.outgoing.values_mut().find(|outgoing| outgoing.token() == Some(token));
        outgoing.is_some_and(|outgoing| outgoing.ready(config, now, counters))
    }
}

impl Drop for SupportLink {
    fn drop(&mut self) {
        self.addresses.close();
    }
}
