//! The connections over which other stores' heartbeats come.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use holdfast_edge::bucket::Bucket;
use holdfast_proto::v1;
use holdfast_trust::Party;
use holdfast_types::{Incarnation, StoreId, limits};
use mio::Token;
use mio::net::TcpListener;
use prost::Message;

use super::connection::Connection;
use super::link::{SupportConfig, SupportCounters};
use super::outgoing::Sockets;
use super::proving::Proved;
use super::wire::Wire;
use crate::class::Cause;
use crate::handshake::{self, Caller, Incarnations, Refusal};
use crate::traffic::{Counters, Direction};

/// A heartbeat with the store and incarnation of the handshake.
pub(crate) type Heard = (StoreId, Incarnation, Bytes);

struct Incoming {
    connection: Connection,
    from: SocketAddr,
    /// Whose certificate stands behind it; `None` on a plain connection.
    party: Option<Party>,
    welcomed: Option<(Caller, Arc<Counters>)>,
    last_heard: Instant,
    /// Of its heartbeats.
    allowance: Bucket,
}

impl Incoming {
    /// Not welcomed, or of a store that nothing on record names.
    fn is_stranger(&self, config: &SupportConfig) -> bool {
        self.welcomed.as_ref().is_none_or(|(caller, _)| !config.incarnations.is_proved(caller.store))
    }

    fn deadline(&self, config: &SupportConfig) -> Instant {
        let silent = match self.welcomed {
            Some(_) => self.last_heard + 3 * limits::SUPPORT_CONNECTION_IDLE,
            None => self.connection.began + config.interval,
        };
        self.connection.ends_at.map_or(silent, |ends_at| ends_at.min(silent))
    }
}

/// - At most `SupportConfig::max_incoming` connections, of which each store has one that was welcomed.
/// - At most half of them are *strangers*: not welcomed, or of a store that nothing on record names. The oldest of these makes room for the next.
/// - Strangers are read a little at a time, and a few of them before the others have their turn again.
/// - A connection that brings more heartbeats than any store sends is closed.
/// - A connection that says no hello within the support interval is closed. So is one whose certificates are about to expire.
#[derive(Default)]
pub(crate) struct IncomingSet {
    by_token: BTreeMap<Token, Incoming>,
}

impl IncomingSet {
    /// Takes connections that wait; returns whether there may be more.
    pub(crate) fn accept(
        &mut self,
        listener: &TcpListener,
        config: &SupportConfig,
        now: Instant,
        sockets: &mut Sockets,
    ) -> bool {
        // Heartbeats are not to wait behind a flood of newcomers.
        for _ in 0..limits::SUPPORT_ACCEPT_TURN {
            let (stream, from) = match listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => continue,
                Err(error) => {
                    // Mostly too many open files. The next one that connects tries again.
                    tracing::warn!(%error, "a support connection could not be accepted");
                    return false;
                }
            };
            if let Err(error) = stream.set_nodelay(true) {
                tracing::warn!(%from, %error, "a support connection could not be accepted");
                continue;
            }
            self.take(Connection::new(Wire::Plain(stream), now, None), from, None, config, sockets);
        }
        true
    }

    /// Takes a connection whose other end has proved who it is. Returns its socket: what it brought with the handshake is not reported again.
    pub(crate) fn proved(
        &mut self,
        proved: Proved,
        from: SocketAddr,
        config: &SupportConfig,
        now: Instant,
        sockets: &mut Sockets,
    ) -> Option<Token> {
        let Proved { sealed, party, ends_at } = proved;
        self.take(Connection::new(Wire::Sealed(Box::new(sealed)), now, ends_at), from, Some(party), config, sockets)
    }

    fn take(
        &mut self,
        mut connection: Connection,
        from: SocketAddr,
        party: Option<Party>,
        config: &SupportConfig,
        sockets: &mut Sockets,
    ) -> Option<Token> {
        if !self.make_room(config) {
            tracing::warn!(%from, "too many support connections");
            return None;
        }
        let now = connection.began;
        match sockets.register(connection.wire.stream()) {
            Ok(token) => {
                let allowance = Bucket::new(now);
                let incoming = Incoming { connection, from, party, welcomed: None, last_heard: now, allowance };
                self.by_token.insert(token, incoming);
                Some(token)
            }
            Err(error) => {
                tracing::warn!(%from, %error, "a support connection could not be accepted");
                None
            }
        }
    }

    /// Sees to it that one more stranger can be let in; false: those who are there all have more right to it.
    fn make_room(&mut self, config: &SupportConfig) -> bool {
        let strangers = self.by_token.iter().filter(|(_, incoming)| incoming.is_stranger(config));
        let is_full = self.by_token.len() >= config.max_incoming;
        if !is_full && strangers.clone().count() < (config.max_incoming / 2).max(1) {
            return true;
        }
        // Those who have not said who they are go first, and of each kind the one that was silent for longest.
        let oldest = strangers.min_by_key(|(_, incoming)| (incoming.welcomed.is_some(), incoming.last_heard));
        let Some(token) = oldest.map(|(token, _)| *token) else { return false };
        self.by_token.remove(&token);
        true
    }

    /// True for the socket of a stranger.
    pub(crate) fn is_stranger(&self, token: Token, config: &SupportConfig) -> bool {
        self.by_token.get(&token).is_some_and(|incoming| incoming.is_stranger(config))
    }

    /// The socket is ready for something. Returns whether there is more to read, or none when it is not one of these.
    pub(crate) fn ready(
        &mut self,
        token: Token,
        config: &SupportConfig,
        now: Instant,
        heard: &mut Vec<Heard>,
        counters: &mut SupportCounters,
    ) -> Option<bool> {
        let incoming = self.by_token.get_mut(&token)?;
        let greeted_before = incoming.welcomed.is_some();
        match read(incoming, config, now, heard) {
            Ok(has_more) => {
                if let Some((caller, _)) = incoming.welcomed.as_ref().filter(|_| !greeted_before) {
                    let store = caller.store;
                    self.by_token.retain(|other, incoming| {
                        *other == token || incoming.welcomed.as_ref().is_none_or(|(caller, _)| caller.store != store)
                    });
                }
                Some(has_more)
            }
            Err(reason) => {
                counters.refused += u64::from(!greeted_before);
                tracing::debug!(from = %incoming.from, reason, "support connection closed");
                self.by_token.remove(&token);
                Some(false)
            }
        }
    }

    /// Closes connections of stores that were forgotten since they were welcomed.
    pub(crate) fn end_forgotten(&mut self, incarnations: &Incarnations) {
        let is_forgotten = |caller: &Caller| incarnations.is_forgotten(caller.store);
        self.by_token.retain(|_, incoming| incoming.welcomed.as_ref().is_none_or(|(caller, _)| !is_forgotten(caller)));
    }

    /// Closes connections of those who are not trusted any more.
    pub(crate) fn end_distrusted(&mut self, is_distrusted: impl Fn(&Party) -> bool) {
        self.by_token.retain(|_, incoming| !incoming.party.as_ref().is_some_and(&is_distrusted));
    }

    /// Closes connections that have been silent for too long, and those that must not last longer.
    pub(crate) fn expire(&mut self, config: &SupportConfig, now: Instant) {
        self.by_token.retain(|_, incoming| now < incoming.deadline(config));
    }

    pub(crate) fn deadline(&self, config: &SupportConfig) -> Option<Instant> {
        self.by_token.values().map(|incoming| incoming.deadline(config)).min()
    }
}

fn read(incoming: &mut Incoming, config: &SupportConfig, now: Instant, heard: &mut Vec<Heard>) -> Result<bool, String> {
    incoming.connection.flush().map_err(|broken| broken.to_string())?;
    let (most_bytes, burst) = if incoming.is_stranger(config) {
        (limits::SUPPORT_STRANGER_TURN_BYTES, limits::SUPPORT_STRANGER_FRAMES_BURST)
    } else {
        (limits::SUPPORT_READ_TURN_BYTES, limits::SUPPORT_FRAMES_BURST)
    };
    let turn = incoming.connection.read(most_bytes).map_err(|broken| broken.to_string())?;
    let mut has_heard = false;
    for frame in turn.frames {
        if let Some((caller, traffic)) = &incoming.welcomed {
            if !incoming.allowance.admits(burst, limits::SUPPORT_FRAME_EVERY, now) {
                return Err("it brings more heartbeats than any store sends".to_owned());
            }
            traffic.count(Cause::Support, frame.len());
            heard.push((caller.store, caller.incarnation, frame));
            has_heard = true;
        } else {
            greet(incoming, config, frame)?;
        }
    }
    if has_heard {
        incoming.last_heard = now;
        // One answer that is still on its way says as much as two.
        if incoming.connection.is_flushed() {
            incoming.connection.writer.push(&[]).map_err(|oversized| oversized.to_string())?;
        }
        incoming.connection.flush().map_err(|broken| broken.to_string())?;
    }
    Ok(turn.has_more)
}

fn greet(incoming: &mut Incoming, config: &SupportConfig, frame: Bytes) -> Result<(), String> {
    let judged = v1::LinkFrame::decode(frame)
        .map_err(|error| Refusal::malformed(error.to_string()))
        .and_then(|first| {
            handshake::judge_hello(&config.identity, &config.incarnations, first, incoming.party.as_ref())
        })
        .and_then(|caller| match caller.class {
            v1::LinkClass::Support => Ok(caller),
            class => Err(Refusal::malformed(format!("{class:?} streams have a port of their own"))),
        });
    let caller = match judged {
        Ok(caller) => caller,
        Err(refusal) => {
            tracing::warn!(from = %incoming.from, %refusal, "support connection refused");
            if let Some(hears) = &config.witness {
                hears(incoming.from, incoming.party.as_ref(), &refusal);
            }
            incoming.connection.say(&handshake::refused(&refusal)).map_err(|broken| broken.to_string())?;
            return Err(refusal.to_string());
        }
    };
    incoming.connection.say(&handshake::welcome(&config.identity)).map_err(|broken| broken.to_string())?;
    let traffic = config.traffic.between(Direction::Received, &caller.site, &config.identity.site);
    incoming.welcomed = Some((caller, traffic));
    Ok(())
}
