//! The streams of a client to stores: opened when first used, opened again after they broke.

use std::collections::btree_map::Entry;
use std::time::Duration;

use holdfast_client::core::{AttemptId, Event, LocateId};
use holdfast_types::{KeyRange, Moment, RangeRequest, StoreId, limits};

use super::{Client, ClientTask};
use crate::hub::Hub;
use crate::network::{Lane, Parcel, Place, Sent};

/// How often a stream is asked whether it stands; it is given up after twice that in silence.
const KEEPALIVE: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Connecting,
    Up,
    Down,
}

/// The stream to one store.
#[derive(Debug)]
pub(super) struct Link {
    /// Counts the streams that were opened.
    session: u64,
    state: State,
    /// Calls that wait for the stream.
    outbox: Vec<(AttemptId, RangeRequest, Duration)>,
    failures: u32,
    last_heard: Moment,
}

impl Client {
    pub(super) fn send(
        &mut self,
        store: StoreId,
        attempt: AttemptId,
        request: RangeRequest,
        timeout: Duration,
        events: &mut Vec<Event>,
        hub: &mut Hub,
    ) {
        if let Entry::Vacant(vacant) = self.links.entry(store) {
            vacant.insert(Link {
                session: 0,
                state: State::Down,
                outbox: Vec::new(),
                failures: 0,
                last_heard: hub.now,
            });
            self.connect(store, 0, hub);
        }
        let Some(link) = self.links.get_mut(&store) else { return };
        match link.state {
            State::Down => events.push(Event::Unsent { store, attempt }),
            State::Connecting => link.outbox.push((attempt, request, timeout)),
            State::Up => {
                let session = link.session;
                self.say(store, Parcel::Call { session, attempt, request, timeout }, hub);
            }
        }
    }

    pub(super) fn abandon(&mut self, store: StoreId, attempt: AttemptId, hub: &mut Hub) {
        let Some(link) = self.links.get_mut(&store) else { return };
        link.outbox.retain(|(waiting, ..)| *waiting != attempt);
        if link.state == State::Up {
            let session = link.session;
            self.say(store, Parcel::Cancel { session, attempt }, hub);
        }
    }

    pub(super) fn locate(&mut self, locate: LocateId, via: StoreId, bounds: KeyRange, reverse: bool, hub: &mut Hub) {
        self.say(via, Parcel::Locate { locate, bounds, reverse }, hub);
    }

    fn say(&self, store: StoreId, parcel: Parcel, hub: &mut Hub) {
        hub.send((self.place(), Place::Store(store), Lane::Client), parcel);
    }

    /// Opens the next stream after the one named, if that is still the newest.
    pub(super) fn connect(&mut self, store: StoreId, after: u64, hub: &mut Hub) {
        let Some(link) = self.links.get_mut(&store) else { return };
        if link.session != after || link.state != State::Down {
            return;
        }
        link.session += 1;
        link.state = State::Connecting;
        let session = link.session;
        self.say(store, Parcel::Hello(session), hub);
        self.after(limits::CLIENT_CONNECT_TIMEOUT, ClientTask::ConnectTimeout(store, session), hub);
    }

    pub(super) fn connect_timeout(&mut self, store: StoreId, session: u64, hub: &mut Hub) {
        let late = |link: &&Link| link.session == session && link.state == State::Connecting;
        if self.links.get(&store).filter(late).is_some() {
            self.lose(store, hub);
        }
    }

    pub(super) fn keepalive(&mut self, store: StoreId, session: u64, hub: &mut Hub) {
        let Some(link) = self.links.get(&store).filter(|l| l.session == session && l.state == State::Up) else {
            return;
        };
        if hub.now.since(link.last_heard) > 2 * KEEPALIVE {
            return self.lose(store, hub);
        }
        self.say(store, Parcel::Ping(session), hub);
        self.after(KEEPALIVE, ClientTask::Keepalive(store, session), hub);
    }

    /// The stream is gone; calls that never left are told so.
    fn lose(&mut self, store: StoreId, hub: &mut Hub) {
        let Some(link) = self.links.get_mut(&store) else { return };
        link.state = State::Down;
        link.failures += 1;
        let session = link.session;
        let wait = limits::CLIENT_RECONNECT_MIN * (1 << link.failures.min(5));
        let unsent = std::mem::take(&mut link.outbox);
        self.after(wait.min(limits::CLIENT_RECONNECT_MAX), ClientTask::Connect(store, session), hub);
        for (attempt, ..) in unsent {
            self.tell(Event::Unsent { store, attempt }, hub);
        }
        self.tell(Event::StreamDown { store }, hub);
    }

    fn welcome(&mut self, store: StoreId, hub: &mut Hub) {
        let Some(link) = self.links.get_mut(&store) else { return };
        link.state = State::Up;
        link.failures = 0;
        let session = link.session;
        for (attempt, request, timeout) in std::mem::take(&mut link.outbox) {
            self.say(store, Parcel::Call { session, attempt, request, timeout }, hub);
        }
        self.after(KEEPALIVE, ClientTask::Keepalive(store, session), hub);
        self.tell(Event::StreamUp { store }, hub);
    }

    /// A message arrives.
    pub fn arrive(&mut self, sent: Sent, hub: &mut Hub) {
        let Place::Store(store) = sent.stream.0 else { return };
        match sent.parcel {
            Parcel::Located { locate, found, fleet_now } => {
                return self.tell(Event::Located { locate, found, fleet_now }, hub);
            }
            Parcel::NotLocated(locate) => return self.tell(Event::LocateFailed { locate }, hub),
            _ => {}
        }
        let of = match &sent.parcel {
            Parcel::Welcome { session, .. }
            | Parcel::Broken(session)
            | Parcel::Pong(session)
            | Parcel::Answer { session, .. }
            | Parcel::Alive { session, .. }
            | Parcel::Notice { session, .. } => *session,
            _ => return hub.violate(format!("{store} sent client {} what is for stores", self.index)),
        };
        let Some(link) = self.links.get_mut(&store).filter(|l| l.session == of && l.state != State::Down) else {
            return;
        };
        link.last_heard = hub.now;
        match sent.parcel {
            Parcel::Welcome { fleet_now, notices, .. } => {
                self.welcome(store, hub);
                notices.into_iter().for_each(|located| self.tell(Event::Notice(located), hub));
                self.tell(Event::Heard { store, fleet_now }, hub);
            }
            Parcel::Broken(_) => self.lose(store, hub),
            Parcel::Answer { attempt, outcome, fleet_now, .. } => {
                self.tell(Event::Answer { store, attempt, outcome, fleet_now }, hub);
            }
            Parcel::Alive { fleet_now, .. } => self.tell(Event::Heard { store, fleet_now }, hub),
            Parcel::Notice { located, .. } => self.tell(Event::Notice(located), hub),
            _ => {}
        }
    }
}
