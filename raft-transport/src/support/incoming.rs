//! The connections over which other stores' heartbeats come.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use holdfast_proto::v1;
use holdfast_types::{Incarnation, StoreId, limits};
use mio::Token;
use mio::net::TcpListener;
use prost::Message;

use super::connection::Connection;
use super::link::{SupportConfig, SupportCounters};
use super::outgoing::Sockets;
use crate::class::Cause;
use crate::handshake::{self, Caller, Incarnations, Refusal};
use crate::traffic::{Counters, Direction};

/// A heartbeat with the store and incarnation of the handshake.
pub(crate) type Heard = (StoreId, Incarnation, Bytes);

struct Incoming {
    connection: Connection,
    from: SocketAddr,
    welcomed: Option<(Caller, Arc<Counters>)>,
    last_heard: Instant,
}

impl Incoming {
    fn deadline(&self, config: &SupportConfig) -> Instant {
        match self.welcomed {
            Some(_) => self.last_heard + 3 * limits::SUPPORT_CONNECTION_IDLE,
            None => self.connection.began + config.interval,
        }
    }
}

/// - At most `SupportConfig::max_incoming` connections, of which each store has one that was welcomed.
/// - A connection that says no hello within the support interval is closed.
#[derive(Default)]
pub(crate) struct IncomingSet {
    by_token: BTreeMap<Token, Incoming>,
}

impl IncomingSet {
    /// Takes all connections that wait.
    pub(crate) fn accept(&mut self, listener: &TcpListener, most: usize, now: Instant, sockets: &mut Sockets) {
        loop {
            let (mut stream, from) = match listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => continue,
                Err(error) => {
                    // Mostly too many open files. The next one that connects tries again.
                    tracing::warn!(%error, "a support connection could not be accepted");
                    return;
                }
            };
            if self.by_token.len() >= most {
                tracing::warn!(%from, "too many support connections");
                continue;
            }
            match stream.set_nodelay(true).and_then(|()| sockets.register(&mut stream)) {
                Ok(token) => {
                    let connection = Connection::new(stream, now);
                    self.by_token.insert(token, Incoming { connection, from, welcomed: None, last_heard: now });
                }
                Err(error) => tracing::warn!(%from, %error, "a support connection could not be accepted"),
            }
        }
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

    /// Closes connections that have been silent for too long.
    pub(crate) fn expire(&mut self, config: &SupportConfig, now: Instant) {
        self.by_token.retain(|_, incoming| now < incoming.deadline(config));
    }

    pub(crate) fn deadline(&self, config: &SupportConfig) -> Option<Instant> {
        self.by_token.values().map(|incoming| incoming.deadline(config)).min()
    }
}

fn read(incoming: &mut Incoming, config: &SupportConfig, now: Instant, heard: &mut Vec<Heard>) -> Result<bool, String> {
    incoming.connection.flush().map_err(|broken| broken.to_string())?;
    let turn = incoming.connection.read().map_err(|broken| broken.to_string())?;
    let mut has_heard = false;
    for frame in turn.frames {
        if let Some((caller, traffic)) = &incoming.welcomed {
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
        if incoming.connection.writer.is_empty() {
            incoming.connection.writer.push(&[]).map_err(|oversized| oversized.to_string())?;
        }
        incoming.connection.flush().map_err(|broken| broken.to_string())?;
    }
    Ok(turn.has_more)
}

fn greet(incoming: &mut Incoming, config: &SupportConfig, frame: Bytes) -> Result<(), String> {
    let judged = v1::LinkFrame::decode(frame)
        .map_err(|error| Refusal::malformed(error.to_string()))
        .and_then(|first| handshake::judge_hello(&config.identity, &config.incarnations, first))
        .and_then(|caller| match caller.class {
            v1::LinkClass::Support => Ok(caller),
            class => Err(Refusal::malformed(format!("{class:?} streams have a port of their own"))),
        });
    let caller = match judged {
        Ok(caller) => caller,
        Err(refusal) => {
            tracing::warn!(from = %incoming.from, %refusal, "support connection refused");
            incoming.connection.say(&handshake::refused(&refusal)).map_err(|broken| broken.to_string())?;
            return Err(refusal.to_string());
        }
    };
    incoming.connection.say(&handshake::welcome(&config.identity)).map_err(|broken| broken.to_string())?;
    let traffic = config.traffic.between(Direction::Received, &caller.site, &config.identity.site);
    incoming.welcomed = Some((caller, traffic));
    Ok(())
}
