//! The connection over which one store's heartbeats leave.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use holdfast_proto::v1;
use holdfast_types::{StoreId, limits};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use prost::Message;

use super::connection::{Broken, Connection};
use super::link::{SupportConfig, SupportCounters};
use super::prover::{Attempt, Prover};
use super::proving::{Failed, Proved};
use super::resolver::Place;
use super::wire::Wire;
use crate::class::Cause;
use crate::handshake::{self, Refusal};
use crate::traffic::{Counters, Direction};

/// How long a connection may take to be open, and both ends to prove who they are, before the support thread gives up by itself.
fn proved_within(interval: Duration) -> Duration {
    limits::SUPPORT_HANDSHAKE_WITHIN + interval
}

/// Gives sockets their tokens and asks for their readiness.
pub(crate) struct Sockets {
    registry: Registry,
    next_token: usize,
}

impl Sockets {
    pub(crate) fn new(registry: Registry, first_token: usize) -> Self {
        Self { registry, next_token: first_token }
    }

    pub(crate) fn register(&mut self, stream: &mut TcpStream) -> std::io::Result<Token> {
        let token = Token(self.next_token);
        self.registry.register(stream, token, Interest::READABLE | Interest::WRITABLE)?;
        self.next_token += 1;
        Ok(token)
    }
}

/// Why a connection was given up.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Broken(#[from] Broken),
    #[error("{0}")]
    Refused(Refusal),
    /// One of both does not believe who the other is.
    #[error("{0}")]
    Unproved(String),
    #[error("{0}")]
    Silent(&'static str),
}

impl From<Failed> for Failure {
    fn from((failure, says): Failed) -> Self {
        match failure {
            // The same again might lead further.
            holdfast_edge::handshake::Failure::Late
            | holdfast_edge::handshake::Failure::Gone
            | holdfast_edge::handshake::Failure::Crowded => Self::Broken(Broken::Sealed(says)),
            _ => Self::Unproved(says),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Broken(error.into())
    }
}

enum State {
    /// Nothing was sent for long, or the address is not known.
    Idle,
    /// Tried again at this time.
    Waiting(Instant),
    /// With TLS: both ends prove who they are, since then.
    Proving(Attempt, Instant),
    /// Said hello, or is about to.
    Greeting(Token, Connection),
    /// Welcomed. With the time of the oldest send that no empty frame has answered.
    Open(Token, Connection, Option<Instant>),
}

/// - Never blocks and never grows: one heartbeat waits for the handshake, a few for the socket.
/// - A connection that is not answered for the support interval is replaced, and so is one whose certificates are about to expire.
pub(crate) struct Outgoing {
    store: StoreId,
    place: Place,
    state: State,
    /// The newest heartbeat while there is no open connection.
    pending: Option<Bytes>,
    wanted_until: Instant,
    reported: Option<String>,
    pub(crate) refusal: Option<Refusal>,
    /// The store did not answer at its address.
    pub(crate) is_lost: bool,
    traffic: Arc<Counters>,
}

impl Outgoing {
    pub(crate) fn new(store: StoreId, place: Place, config: &SupportConfig, now: Instant) -> Self {
        let traffic = config.traffic.between(Direction::Sent, &config.identity.site, &place.site);
        Self {
            store,
            place,
            state: State::Idle,
            pending: None,
            wanted_until: now,
            reported: None,
            refusal: None,
            is_lost: false,
            traffic,
        }
    }

    pub(crate) fn token(&self) -> Option<Token> {
        match &self.state {
            State::Greeting(token, _) | State::Open(token, ..) => Some(*token),
            State::Idle | State::Waiting(_) | State::Proving(..) => None,
        }
    }

    /// True when this is the attempt that is waited for.
    pub(crate) fn waits_for(&self, attempt: Attempt) -> bool {
        matches!(self.state, State::Proving(waited_for, _) if waited_for == attempt)
    }

    /// The store moved, or its name was looked up anew: a connection to the old place ends. So does one that was proved to be with another site.
    pub(crate) fn set_place(&mut self, place: Place, config: &SupportConfig, now: Instant) {
        if self.place == place {
            return;
        }
        let is_proved_for_another = config.security.trust().is_some() && self.place.site != place.site;
        if self.place.resolved != place.resolved || is_proved_for_another {
            self.state = State::Waiting(now);
        }
        self.traffic = config.traffic.between(Direction::Sent, &config.identity.site, &place.site);
        self.place = place;
    }

    pub(crate) fn send(&mut self, payload: Bytes, now: Instant, counters: &mut SupportCounters) {
        self.wanted_until = now + limits::SUPPORT_CONNECTION_IDLE;
        let State::Open(_, connection, unanswered) = &mut self.state else {
            if matches!(self.state, State::Idle) {
                self.state = State::Waiting(now);
            }
            counters.dropped += u64::from(self.pending.replace(payload).is_some());
            return;
        };
        if let Err(oversized) = connection.writer.push(&payload) {
            return self.fail(Broken::from(oversized).into(), now, counters);
        }
        unanswered.get_or_insert(now);
        self.traffic.count(Cause::Support, payload.len());
        counters.dropped += connection.writer.take_dropped();
        if let Err(broken) = connection.flush() {
            self.fail(broken.into(), now, counters);
        }
    }

    /// The socket is ready for something. Returns whether there is more to read.
    pub(crate) fn ready(&mut self, config: &SupportConfig, now: Instant, counters: &mut SupportCounters) -> bool {
        self.try_ready(config, now, counters).unwrap_or_else(|failure| {
            self.fail(failure, now, counters);
            false
        })
    }

    fn try_ready(
        &mut self,
        config: &SupportConfig,
        now: Instant,
        counters: &mut SupportCounters,
    ) -> Result<bool, Failure> {
        let (State::Greeting(_, connection) | State::Open(_, connection, _)) = &mut self.state else {
            return Ok(false);
        };
        if let Some(error) = connection.wire.stream().take_error()? {
            return Err(error.into());
        }
        connection.flush()?;
        let turn = match connection.read(limits::SUPPORT_READ_TURN_BYTES) {
            Err(Broken::Socket(error)) if error.kind() == std::io::ErrorKind::NotConnected => return Ok(false),
            turn => turn?,
        };
        for frame in turn.frames {
            match &mut self.state {
                State::Open(_, _, unanswered) => *unanswered = None,
                _ => self.welcomed(config, &frame, now, counters)?,
            }
        }
        Ok(turn.has_more)
    }

    fn welcomed(
        &mut self,
        config: &SupportConfig,
        frame: &Bytes,
        now: Instant,
        counters: &mut SupportCounters,
    ) -> Result<(), Failure> {
        let answer = v1::LinkFrame::decode(frame.clone())
            .map_err(|error| Failure::Refused(Refusal::malformed(error.to_string())))?;
        handshake::judge_answer(&config.identity, &config.incarnations, self.store, answer)
            .map_err(Failure::Refused)?;
        tracing::info!(store = %self.store, "support connection opened");
        counters.opened += 1;
        (self.reported, self.refusal) = (None, None);
        if let State::Greeting(token, connection) = std::mem::replace(&mut self.state, State::Idle) {
            self.state = State::Open(token, connection, None);
        }
        if let Some(payload) = self.pending.take() {
            self.send(payload, now, counters);
        }
        Ok(())
    }

    /// The store's end has proved whose it is, or has not.
    pub(crate) fn proved(
        &mut self,
        proved: Result<Proved, Failed>,
        config: &SupportConfig,
        now: Instant,
        sockets: &mut Sockets,
        counters: &mut SupportCounters,
    ) {
        let greeted = proved.map_err(Failure::from).and_then(|proved| {
            let Proved { sealed, ends_at, .. } = proved;
            self.greet(Connection::new(Wire::Sealed(Box::new(sealed)), now, ends_at), config, sockets)
        });
        if let Err(failure) = greeted {
            self.fail(failure, now, counters);
        }
    }

    /// Ends what there is when the store's site is not trusted any more.
    pub(crate) fn end_distrusted(&mut self, config: &SupportConfig, now: Instant, counters: &mut SupportCounters) {
        let is_there = !matches!(self.state, State::Idle | State::Waiting(_));
        if is_there && config.security.is_distrusted(&self.place.site) {
            self.fail(self.distrusted(), now, counters);
        }
    }

    fn distrusted(&self) -> Failure {
        Failure::Unproved(format!("site {} is distrusted", self.place.site))
    }

    /// When `turn` has something to do.
    pub(crate) fn deadline(&self, interval: Duration) -> Option<Instant> {
        match &self.state {
            State::Idle => None,
            State::Waiting(until) => self.place.resolved.map(|_| *until),
            State::Proving(_, since) => Some(*since + proved_within(interval)),
            State::Greeting(_, connection) => Some(connection.began + interval),
            State::Open(_, connection, unanswered) => {
                let answer = unanswered.map(|since| since + interval);
                [answer, connection.ends_at].into_iter().flatten().chain([self.wanted_until]).min()
            }
        }
    }

    /// Does what is due.
    pub(crate) fn turn(
        &mut self,
        config: &SupportConfig,
        now: Instant,
        sockets: &mut Sockets,
        prover: Option<&mut Prover>,
        counters: &mut SupportCounters,
    ) {
        if self.deadline(config.interval).is_none_or(|deadline| now < deadline) {
            return;
        }
        match &self.state {
            _ if now >= self.wanted_until => {
                self.state = State::Idle;
                self.pending = None;
            }
            State::Waiting(_) => {
                if let Err(failure) = self.connect(config, now, sockets, prover) {
                    self.fail(failure, now, counters);
                }
            }
            State::Open(_, connection, _) if connection.ends_at.is_some_and(|ends_at| now >= ends_at) => {
                tracing::debug!(store = %self.store, "a certificate of the support connection expires: it is opened anew");
                self.state = State::Waiting(now);
            }
            State::Proving(..) => self.fail(Failure::Silent("who is there was not proved in time"), now, counters),
            State::Greeting(..) => self.fail(Failure::Silent("the handshake is not answered"), now, counters),
            State::Open(..) => self.fail(Failure::Silent("heartbeats are not answered"), now, counters),
            State::Idle => {}
        }
    }

    fn connect(
        &mut self,
        config: &SupportConfig,
        now: Instant,
        sockets: &mut Sockets,
        prover: Option<&mut Prover>,
    ) -> Result<(), Failure> {
        let Some(address) = self.place.resolved else { return Ok(()) };
        if config.security.is_distrusted(&self.place.site) {
            return Err(self.distrusted());
        }
        if let Some(prover) = prover {
            self.state = State::Proving(prover.reach(address, &self.place.site)?, now);
            return Ok(());
        }
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        self.greet(Connection::new(Wire::Plain(stream), now, None), config, sockets)
    }

    fn greet(
        &mut self,
        mut connection: Connection,
        config: &SupportConfig,
        sockets: &mut Sockets,
    ) -> Result<(), Failure> {
        let token = sockets.register(connection.wire.stream())?;
        connection.say(&handshake::hello(&config.identity, self.store, v1::LinkClass::Support))?;
        self.state = State::Greeting(token, connection);
        Ok(())
    }

    fn fail(&mut self, failure: Failure, now: Instant, counters: &mut SupportCounters) {
        let text = failure.to_string();
        if self.reported.as_ref() != Some(&text) {
            tracing::warn!(store = %self.store, target = self.place.target, reason = text, "no support connection");
            self.reported = Some(text);
        }
        let wait = match failure {
            // The other store does not believe who this one is, and says so after this end was content.
            Failure::Broken(Broken::Sealed(_)) if matches!(self.state, State::Greeting(..)) => {
                limits::STREAM_RECONNECT_MAX
            }
            Failure::Unproved(_) => limits::STREAM_RECONNECT_MAX,
            Failure::Refused(refusal) => {
                self.refusal = Some(refusal);
                limits::STREAM_RECONNECT_MAX
            }
            Failure::Broken(_) | Failure::Silent(_) => limits::SUPPORT_RECONNECT,
        };
        // A heartbeat waits for one attempt, no longer.
        counters.dropped += u64::from(self.pending.take().is_some());
        self.is_lost = true;
        self.state = State::Waiting(now + with_jitter(wait));
    }
}

/// `wait`, give or take a quarter of it.
fn with_jitter(wait: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or(u32::MAX / 2);
    wait * 3 / 4 + (wait / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
}
