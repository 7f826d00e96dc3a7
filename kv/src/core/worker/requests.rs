//! Requests: taken in, routed to a replica here, to another store, or kept waiting; answered once.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_replica::{AdminRequest, Input, Ticket};
use holdfast_types::{Key, LeaderHint, Moment, RangeId, Rejected, Response, StoreId, limits};

use super::ways::Way;
use super::{Cx, Worker};
use crate::core::desk::{Asked, Open, Origin, Place, Search, Wait};
use crate::core::effect::{AdminOutcome, Effect};
use crate::core::event::RequestTicket;
use crate::core::message::{CallId, RangeHint, StoreMessage};
use crate::core::permit::Permitted;
use crate::core::routing::Found;

/// Keys whose range is being looked for, with the requests that wait for it.
#[derive(Default, Debug)]
pub(super) struct Located {
    pub(super) asked: BTreeMap<Key, Moment>,
}

impl Worker {
    pub(super) fn take_request(&mut self, client: RequestTicket, request: Permitted, deadline: Moment, cx: &Cx<'_>) {
        let size_bytes = request.request().request.size_bytes();
        if let Err(rejected) = self.shared.admission.admit(size_bytes) {
            let fleet_now = Self::fleet_now(cx);
            self.out.push(Effect::Answer { ticket: client, outcome: Err(rejected), fleet_now });
            return;
        }
        self.open_and_route(Origin::Client(client), Asked::Data(request), deadline, 0, size_bytes, cx);
    }

    pub(super) fn take_admin(
        &mut self,
        ticket: RequestTicket,
        range: RangeId,
        request: AdminRequest,
        deadline: Moment,
        cx: &Cx<'_>,
    ) {
        if let Err(rejected) = self.shared.admission.admit(0) {
            self.out.push(Effect::AnswerAdmin { ticket, outcome: Err(rejected) });
            return;
        }
        self.open_and_route(Origin::Administrator(ticket), Asked::Admin(range, request), deadline, 0, 0, cx);
    }

    pub(super) fn open_and_route(
        &mut self,
        origin: Origin,
        asked: Asked,
        deadline: Moment,
        hops: u32,
        size_bytes: usize,
        cx: &Cx<'_>,
    ) {
        let (place, search) = (Place::New, Search::default());
        let open = Open { origin, asked, deadline, hops, size_bytes, place, rerouted: 0, decided_at: None, search };
        let ticket = self.desk.take_in(open);
        self.route(ticket, cx);
    }

    /// Nobody waits any more. What a replica or another store has goes on; its answer is dropped.
    pub(super) fn cancel(&mut self, client: RequestTicket) {
        let Some(ticket) = self.desk.of_client(client) else { return };
        let waits = self
            .desk
            .get(ticket)
            .is_some_and(|o| matches!(o.place, Place::New | Place::Leader(_) | Place::Located | Place::Prepared(_)));
        if waits && let Some(open) = self.desk.close(ticket) {
            self.shared.admission.release(open.size_bytes);
        }
    }

    /// Sends an open request where it belongs, as far as that is known now.
    pub(super) fn route(&mut self, ticket: Ticket, cx: &Cx<'_>) {
        let Some(open) = self.desk.get(ticket) else { return };
        if open.deadline <= cx.now {
            return self.answer(ticket, Err(Rejected::DeadlineExceeded), cx);
        }
        let upkeep = matches!(open.origin, Origin::Upkeep);
        match self.way_of(open) {
            Way::Here(range) => self.give_to_replica(ticket, range, cx),
            // It is for whoever leads, and that store sees to it by itself.
            Way::Wait(range) | Way::Nowhere(range) if upkeep => self.not_leader(ticket, range, cx),
            Way::Away(_) if upkeep => self.not_leader(ticket, open.asked.range().unwrap_or_default(), cx),
            Way::Wait(range) => self.wait_for_leader(ticket, range, cx),
            Way::Away(to) => self.forward(ticket, to, cx),
            Way::Nowhere(range) => self.not_leader(ticket, range, cx),
            Way::Unknown => self.locate(ticket, cx),
        }
    }

    pub(super) fn not_leader(&mut self, ticket: Ticket, range: RangeId, cx: &Cx<'_>) {
        self.answer(ticket, Err(Rejected::NotLeader { range, leader: None }), cx);
    }

    fn give_to_replica(&mut self, ticket: Ticket, range: RangeId, cx: &Cx<'_>) {
        let Some(open) = self.desk.get(ticket) else { return };
        let deadline = open.deadline;
        // Placement may write what helps: it is what brings leaders and replicas to other stores.
        let wants_disk = open.asked.is_write() && !matches!(open.origin, Origin::Placement(_));
        if let Err(rejected) = self.shared.admission.admit_to_disk(wants_disk) {
            return self.answer(ticket, Err(rejected), cx);
        }
        if let Asked::Admin(_, request) = &open.asked
            && let Err(rejected) = self.check_members(range, request)
        {
            return self.answer(ticket, Err(rejected), cx);
        }
        let input = match open.asked.clone() {
            Asked::Data(asked) => {
                let request = asked.into_request();
                if let Some(held) = self.held.get_mut(&range) {
                    held.load.count(&request.request);
                }
                Input::Request { ticket, request, deadline }
            }
            Asked::Admin(_, request) => match self.prepare_admin(ticket, range, request) {
                Ok(Some(request)) => Input::Admin { ticket, request, deadline },
                Ok(None) => return self.desk.put(ticket, Place::Prepared(range), Some(deadline)),
                Err(rejected) => return self.answer(ticket, Err(rejected), cx),
            },
        };
        self.desk.put(ticket, Place::Replica(range), None);
        self.inputs.push_back((range, input));
        self.run_inputs(cx);
    }

    pub(super) fn wait(&mut self, ticket: Ticket, place: Place, most: Duration, cx: &Cx<'_>) {
        if self.desk.waiting() >= limits::WAITING_REQUESTS {
            return self.answer(ticket, Err(Rejected::Busy { retry_after: limits::BUSY_RETRY_AFTER }), cx);
        }
        let Some(open) = self.desk.get(ticket) else { return };
        let until = open.deadline.min(cx.now.after(most));
        self.desk.put(ticket, place, Some(until));
    }

    /// A range says who leads it: what waited for that goes on.
    pub(super) fn wake_waiting(&mut self, range: RangeId, cx: &Cx<'_>) {
        let Some(held) = self.held.get(&range) else { return };
        let known = held.standing.leader.is_some_and(|(_, store)| !self.support.lost.contains_key(&store));
        if known && self.desk.waiting() > 0 {
            for ticket in self.desk.waiting_for(Wait::Leader(range)) {
                self.route(ticket, cx);
            }
        }
    }

    /// Something was heard of ranges elsewhere: what waited for that goes on.
    pub(super) fn wake_located(&mut self, cx: &Cx<'_>) {
        if self.desk.waiting() == 0 {
            return;
        }
        for ticket in self.desk.waiting_for(Wait::Located) {
            let goes_on = self.desk.get(ticket).is_some_and(|open| match self.way_of(open) {
                Way::Here(_) | Way::Away(_) => true,
                // Whoever sent it looks elsewhere.
                Way::Nowhere(_) => self.is_passed_on(open),
                Way::Unknown | Way::Wait(_) => false,
            });
            if goes_on {
                self.route(ticket, cx);
            }
        }
    }

    fn locate(&mut self, ticket: Ticket, cx: &Cx<'_>) {
        let Some(key) = self.desk.get(ticket).and_then(|open| open.asked.key().cloned()) else { return };
        let asked = self.located.asked.get(&key).is_some_and(|at| cx.now.since(*at) < limits::ATTEMPT_TIMEOUT);
        if !asked {
            let stores = self.stores_to_ask();
            if stores.is_empty() {
                let rejected = Rejected::Unavailable("no other store is known that could know the range".into());
                return self.answer(ticket, Err(rejected), cx);
            }
            self.located.asked.retain(|_, at| cx.now.since(*at) < limits::WAIT_FOR_LEADER);
            self.located.asked.insert(key.clone(), cx.now);
            let id = CallId::new(self.config.worker, ticket.0);
            for store in stores {
                self.send(store, StoreMessage::Locate { id, key: key.clone() });
            }
        }
        let passed_on = self.desk.get(ticket).is_some_and(|open| self.is_passed_on(open));
        let most = if passed_on { limits::ATTEMPT_TIMEOUT } else { limits::WAIT_FOR_LEADER };
        self.wait(ticket, Place::Located, most, cx);
    }

    /// Stores that may know more: first those that live, first in our site.
    pub(super) fn stores_to_ask(&self) -> Vec<StoreId> {
        let me = self.config.store;
        let known = self.directory.iter().map(|record| (record.store, record.site == self.config.site));
        let neighbours = self.support.view.given.keys().map(|store| (*store, false));
        // Who leads the system range has heard of every range.
        let placement = self.map.get(RangeId::SYSTEM).and_then(|found| found.leader);
        let mut stores: Vec<_> = known
            .chain(neighbours)
            .filter(|(store, _)| *store != me)
            .map(|(store, near)| (Some(store) != placement, !self.support.view.supports(store), !near, store))
            .collect();
        stores.sort_unstable();
        let mut stores: Vec<_> = stores.into_iter().map(|(.., store)| store).collect();
        stores.dedup();
        stores.truncate(limits::LOCATE_STORES);
        stores
    }

    pub(super) fn requests_due(&mut self, cx: &Cx<'_>) {
        for ticket in self.desk.due(cx.now) {
            let Some(open) = self.desk.get(ticket) else { continue };
            let late = open.deadline <= cx.now;
            match open.place {
                Place::Sent(sent) => self.sent_due(ticket, sent, cx),
                _ if late => self.answer(ticket, Err(Rejected::DeadlineExceeded), cx),
                Place::Leader(range) => self.look_elsewhere(ticket, range, cx),
                Place::Located => {
                    let rejected = Rejected::Unavailable("no store answered who holds the key".into());
                    self.answer(ticket, Err(rejected), cx);
                }
                Place::New | Place::Replica(_) | Place::Prepared(_) => {}
            }
        }
    }

    /// Answers a request, wherever its caller is.
    pub(super) fn answer(&mut self, ticket: Ticket, outcome: Result<Response, Rejected>, cx: &Cx<'_>) {
        let Some(open) = self.desk.close(ticket) else { return };
        self.shared.admission.release(open.size_bytes);
        let fleet_now = Self::fleet_now(cx);
        let outcome = outcome.map_err(|rejected| self.with_address(rejected));
        match open.origin {
            Origin::Client(ticket) => self.out.push(Effect::Answer { ticket, outcome, fleet_now }),
            Origin::Administrator(ticket) => {
                let outcome = Err(outcome.err().unwrap_or_else(wrong_kind));
                self.out.push(Effect::AnswerAdmin { ticket, outcome });
            }
            Origin::Store { store, id } => {
                let hints = self.hints_for(&open, outcome.as_ref().err());
                let message = match open.asked {
                    Asked::Data(_) => StoreMessage::ForwardAnswer { id, outcome, fleet_now, hints },
                    Asked::Admin(..) => {
                        StoreMessage::AdminAnswer { id, outcome: Err(outcome.err().unwrap_or_else(wrong_kind)) }
                    }
                };
                self.send(store, message);
            }
            Origin::Placement(call) => self.placement.answered(call, outcome, cx.now),
            Origin::Upkeep => self.upkeep_answered(&open.asked, false, cx),
        }
    }

    pub(super) fn answer_admin(&mut self, ticket: Ticket, outcome: Result<AdminOutcome, Rejected>, cx: &Cx<'_>) {
        let outcome = match outcome {
            Ok(done) => done,
            Err(rejected) => return self.answer(ticket, Err(rejected), cx),
        };
        let Some(open) = self.desk.close(ticket) else { return };
        self.shared.admission.release(open.size_bytes);
        match open.origin {
            Origin::Administrator(ticket) => self.out.push(Effect::AnswerAdmin { ticket, outcome: Ok(outcome) }),
            Origin::Store { store, id } => self.send(store, StoreMessage::AdminAnswer { id, outcome: Ok(outcome) }),
            Origin::Placement(call) => self.placement.admin_answered(call, Ok(outcome)),
            Origin::Upkeep => self.upkeep_answered(&open.asked, true, cx),
            Origin::Client(_) => {}
        }
    }

    /// Where to ask next time, for a store that asked the wrong one, or that this one has passed the request on for.
    fn hints_for(&self, open: &Open, rejected: Option<&Rejected>) -> Vec<RangeHint> {
        let misled = matches!(
            rejected,
            Some(Rejected::NotLeader { .. } | Rejected::WrongRange { .. } | Rejected::Unavailable(_))
        );
        let by_range = open.asked.range().and_then(|range| self.map.get(range));
        let by_key = open.asked.key().and_then(|key| self.map.lookup(key));
        match open.place {
            _ if misled => by_range.into_iter().chain(by_key).map(Found::hint).collect(),
            Place::Sent(_) => by_range.or(by_key).into_iter().map(Found::hint).collect(),
            _ => Vec::new(),
        }
    }

    /// Clients are told an address, not a number.
    fn with_address(&self, rejected: Rejected) -> Rejected {
        let Rejected::NotLeader { range, leader } = rejected else { return rejected };
        let known = self.map.get(range).and_then(|found| found.leader);
        let store = leader.map(|hint| hint.store).or(known).filter(|store| !self.support.lost.contains_key(store));
        let leader = store.map(|store| {
            let record = self.directory.iter().find(|record| record.store == store);
            LeaderHint { store, address: record.map(|record| record.addresses.client.clone()) }
        });
        Rejected::NotLeader { range, leader }
    }

    /// Sends a message of our own; its stream and cause follow from what it is.
    pub(super) fn send(&mut self, to: StoreId, message: StoreMessage) {
        let (class, cause) = (message.class(), message.cause());
        self.out.push(Effect::Send { to, class, cause, message });
    }
}

fn wrong_kind() -> Rejected {
    Rejected::Ambiguous("an administrative request was answered like a read".into())
}
