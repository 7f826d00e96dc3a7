//! Clients of a store: their streams, their open calls, what they are told unasked.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_client::core::AttemptId;
use holdfast_kv::core::event::{Event, RequestTicket};
use holdfast_kv::core::permit::{Authority, Permitted};
use holdfast_kv::core::rights::{Asker, Rights};
use holdfast_kv::core::routing::Found;
use holdfast_types::{
    KeyRange, LeaderHint, Located, RangeId, RangeRequest, Rejected, Response, StoreId, Timestamp, limits,
};

use super::process::Process;
use super::{At, StoreTask};
use crate::hub::Hub;
use crate::network::{Lane, Parcel, Place};

/// Who waits for an answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Waiter {
    /// A client's call.
    Client { client: usize, session: u64, attempt: AttemptId },
    /// The world itself.
    World(u64),
}

#[derive(Debug)]
struct Session {
    session: u64,
    open: BTreeMap<AttemptId, (u16, RequestTicket)>,
}

/// All streams of clients.
#[derive(Default, Debug)]
pub(super) struct Sessions {
    by_client: BTreeMap<usize, Session>,
    waiting: BTreeMap<RequestTicket, Waiter>,
    tickets: u64,
}

impl Sessions {
    /// A ticket for somebody who waits.
    pub(super) fn wait(&mut self, waiter: Waiter) -> RequestTicket {
        self.tickets += 1;
        let ticket = RequestTicket(self.tickets);
        self.waiting.insert(ticket, waiter);
        ticket
    }

    /// Whoever waits for this is answered now.
    pub(super) fn take(&mut self, ticket: RequestTicket) -> Option<Waiter> {
        self.waiting.remove(&ticket)
    }

    fn of(&mut self, client: usize, session: u64) -> Option<&mut Session> {
        self.by_client.get_mut(&client).filter(|known| known.session == session)
    }
}

fn located(found: &Found) -> Located {
    let leader = found.leader.map(|store| LeaderHint { store, address: None });
    Located { descriptor: found.descriptor.clone(), leader, term: found.term }
}

impl Process {
    pub(super) fn client_says(&mut self, client: usize, parcel: Parcel, at: &mut At<'_>) {
        match parcel {
            Parcel::Hello(session) => {
                self.drop_session(client, at);
                self.sessions.by_client.insert(client, Session { session, open: BTreeMap::new() });
                let notices = self.map.all().iter().filter(|found| found.own).map(located).collect();
                let fleet_now = self.fleet_now(at);
                at.send(Place::Client(client), Lane::Client, Parcel::Welcome { session, fleet_now, notices });
            }
            Parcel::Call { session, attempt, request, timeout } => {
                self.call(client, session, attempt, request, timeout, at);
            }
            Parcel::Cancel { session, attempt } => {
                let open = self.sessions.of(client, session).and_then(|known| known.open.remove(&attempt));
                if let Some((worker, ticket)) = open {
                    self.sessions.take(ticket);
                    self.cancel(worker, ticket, at);
                }
            }
            Parcel::Locate { locate, bounds, reverse } => {
                let found = self.locate(&bounds, reverse);
                let fleet_now = self.fleet_now(at);
                at.send(Place::Client(client), Lane::Client, Parcel::Located { locate, found, fleet_now });
            }
            Parcel::Ping(session) => {
                let known = self.sessions.of(client, session).is_some();
                let answer = if known { Parcel::Pong(session) } else { Parcel::Broken(session) };
                at.send(Place::Client(client), Lane::Client, answer);
            }
            other => at.hub.violate(format!("client {client} sent what only stores send: {other:?}")),
        }
    }

    /// The process ends and the machine closes its connections.
    pub(super) fn break_sessions(&self, me: StoreId, hub: &mut Hub) {
        for (client, known) in &self.sessions.by_client {
            let stream = (Place::Store(me), Place::Client(*client), Lane::Client);
            hub.send(stream, Parcel::Broken(known.session));
        }
    }

    fn drop_session(&mut self, client: usize, at: &mut At<'_>) {
        let Some(old) = self.sessions.by_client.remove(&client) else { return };
        for (worker, ticket) in old.open.into_values() {
            self.sessions.take(ticket);
            self.cancel(worker, ticket, at);
        }
    }

    fn call(
        &mut self,
        client: usize,
        session: u64,
        attempt: AttemptId,
        request: RangeRequest,
        timeout: Duration,
        at: &mut At<'_>,
    ) {
        let to = Place::Client(client);
        if self.sessions.of(client, session).is_none() {
            return at.send(to, Lane::Client, Parcel::Broken(session));
        }
        let request = match Permitted::check(request, &Asker::of(Authority::Client, &Rights::insecure())) {
            Ok(request) => request,
            Err(rejected) => {
                let fleet_now = self.fleet_now(at);
                let outcome = Err(rejected);
                return at.send(to, Lane::Client, Parcel::Answer { session, attempt, outcome, fleet_now });
            }
        };
        let worker = self.worker_of_request(request.request());
        let ticket = self.sessions.wait(Waiter::Client { client, session, attempt });
        let Some(known) = self.sessions.of(client, session) else { return };
        let first = known.open.is_empty();
        known.open.insert(attempt, (worker, ticket));
        if first {
            let soon = at.hub.now.after(limits::STREAM_SIGN_OF_LIFE);
            at.task_at(soon, StoreTask::SignOfLife { client, session });
        }
        let deadline = at.now().after(timeout.min(limits::MAX_DEADLINE));
        self.deliver(worker, Event::Request { ticket, request, deadline }, at);
    }

    pub(super) fn answer(
        &mut self,
        ticket: RequestTicket,
        outcome: Result<Response, Rejected>,
        fleet_now: Timestamp,
        at: &mut At<'_>,
    ) {
        let Some(Waiter::Client { client, session, attempt }) = self.sessions.take(ticket) else { return };
        if let Some(known) = self.sessions.of(client, session) {
            known.open.remove(&attempt);
            at.send(Place::Client(client), Lane::Client, Parcel::Answer { session, attempt, outcome, fleet_now });
        }
    }

    pub(super) fn sign_of_life(&mut self, client: usize, session: u64, at: &mut At<'_>) {
        if self.sessions.of(client, session).is_some_and(|known| !known.open.is_empty()) {
            let fleet_now = self.fleet_now(at);
            at.send(Place::Client(client), Lane::Client, Parcel::Alive { session, fleet_now });
            let next = at.hub.now.after(limits::STREAM_SIGN_OF_LIFE);
            at.task_at(next, StoreTask::SignOfLife { client, session });
        }
    }

    /// Every client is told how a range looks now.
    pub(super) fn notify(&mut self, range: RangeId, at: &mut At<'_>) {
        let Some(located) = self.map.get(range).map(located) else { return };
        for (client, known) in &self.sessions.by_client {
            let notice = Parcel::Notice { session: known.session, located: located.clone() };
            at.send(Place::Client(*client), Lane::Client, notice);
        }
    }

    fn locate(&self, bounds: &KeyRange, reverse: bool) -> Vec<Located> {
        let limit = usize::try_from(limits::CLIENT_LOCATE_RANGES).expect("a small number");
        let mut found: Vec<_> = self.map.within(bounds, usize::MAX).map(located).collect();
        if reverse {
            found.reverse();
        }
        found.truncate(limit);
        found
    }
}
