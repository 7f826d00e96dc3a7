//! Requests passed on to other stores, and those that other stores pass on to us. Nothing is ever repeated here: whoever asked
//! knows whether it may be.

use std::time::Duration;

use holdfast_replica::{AdminRequest, Input, Ticket};
use holdfast_types::{Moment, RangeId, RangeRequest, Rejected, Response, StoreId, limits};

use super::{Cx, Worker};
use crate::core::desk::{Asked, Origin, Place, Wait};
use crate::core::effect::{AdminOutcome, Effect};
use crate::core::message::{CallId, RangeHint, StoreMessage};

impl Worker {
    pub(super) fn forward(&mut self, ticket: Ticket, store: StoreId, cx: &Cx<'_>) {
        if self.desk.waiting() >= limits::WAITING_REQUESTS {
            return self.answer(ticket, Err(Rejected::Busy { retry_after: limits::BUSY_RETRY_AFTER }), cx);
        }
        let Some(open) = self.desk.get(ticket) else { return };
        let id = CallId::new(self.config.worker, ticket.0);
        let timeout_ms = u64::try_from(open.deadline.since(cx.now).as_millis()).unwrap_or(u64::MAX);
        // Another worker of this store is no hop.
        let hops = open.hops + u32::from(store != self.config.store);
        let deadline = open.deadline;
        let message = match open.asked.clone() {
            Asked::Data(request) => StoreMessage::Forward { id, request, timeout_ms, hops },
            Asked::Admin(range, request) => StoreMessage::Admin { id, range, request, timeout_ms, hops },
        };
        let look_at = deadline.min(cx.now.after(limits::ATTEMPT_TIMEOUT));
        self.desk.put(ticket, Place::Sent(store, cx.now), Some(look_at));
        self.send(store, message);
    }

    /// A request sent to a store has had no answer for a while.
    pub(super) fn sent_due(&mut self, ticket: Ticket, store: StoreId, sent_at: Moment, cx: &Cx<'_>) {
        let Some(open) = self.desk.get(ticket) else { return };
        let (deadline, changes) = (open.deadline, open.asked.changes());
        let by_key = || open.asked.key().and_then(|key| Some(self.map.lookup(key)?.descriptor.range));
        let asked_range = open.asked.range().or_else(by_key);
        let heard = self.heard.get(&store).is_some_and(|at| *at >= sent_at);
        let lives = store == self.config.store || heard || self.support.view.supports(store);
        if deadline <= cx.now {
            let late = if changes { unknown("no answer came in time") } else { Rejected::DeadlineExceeded };
            self.answer(ticket, Err(late), cx);
        } else if lives {
            let again = deadline.min(cx.now.after(limits::ATTEMPT_TIMEOUT));
            self.desk.put(ticket, Place::Sent(store, sent_at), Some(again));
            if let Some(range) = asked_range {
                self.push(range, Input::LeaderDoubted { store });
            }
        } else {
            self.fail_sent(ticket, "a store did not answer", cx);
        }
    }

    /// A store is lost: what waits for its answers does not wait on.
    pub(super) fn store_lost(&mut self, store: StoreId, cx: &Cx<'_>) {
        for ticket in self.desk.waiting_for(Wait::Store(store)) {
            self.fail_sent(ticket, "the store that it was sent to is lost", cx);
        }
    }

    fn fail_sent(&mut self, ticket: Ticket, why: &str, cx: &Cx<'_>) {
        let changes = self.desk.get(ticket).is_some_and(|open| open.asked.changes());
        let rejected = if changes { unknown(why) } else { Rejected::Unavailable(why.to_owned()) };
        self.answer(ticket, Err(rejected), cx);
    }

    /// Another store passes a request on.
    pub(super) fn take_forward(
        &mut self,
        from: StoreId,
        id: CallId,
        request: RangeRequest,
        timeout_ms: u64,
        hops: u32,
        cx: &Cx<'_>,
    ) {
        let size_bytes = request.request.size_bytes();
        // From a worker of this store it is admitted already.
        let admitted = if from == self.config.store {
            self.shared.admission.admit(0, false)
        } else {
            self.shared.admission.admit(size_bytes, request.request.is_write())
        };
        if let Err(rejected) = admitted {
            let (outcome, fleet_now) = (Err(rejected), Self::fleet_now(cx));
            return self.send(from, StoreMessage::ForwardAnswer { id, outcome, fleet_now, hints: Vec::new() });
        }
        self.correct_mistaken(from, request.range.map(|(range, _)| range));
        let size_bytes = if from == self.config.store { 0 } else { size_bytes };
        let deadline = deadline_of(timeout_ms, cx);
        let origin = Origin::Store { store: from, id };
        self.open_and_route(origin, Asked::Data(request), deadline, hops, size_bytes, cx);
    }

    /// Another store passes an administrative request on.
    #[allow(clippy::too_many_arguments, reason = "the fields of one message")]
    pub(super) fn take_forwarded_admin(
        &mut self,
        from: StoreId,
        id: CallId,
        range: RangeId,
        request: AdminRequest,
        timeout_ms: u64,
        hops: u32,
        cx: &Cx<'_>,
    ) {
        if let Err(rejected) = self.shared.admission.admit(0, false) {
            return self.send(from, StoreMessage::AdminAnswer { id, outcome: Err(rejected) });
        }
        self.correct_mistaken(from, Some(range));
        let origin = Origin::Store { store: from, id };
        self.open_and_route(origin, Asked::Admin(range, request), deadline_of(timeout_ms, cx), hops, 0, cx);
    }

    /// Who sends us a request for a range that we led once and lead no more has not heard that it is over.
    fn correct_mistaken(&mut self, from: StoreId, range: Option<RangeId>) {
        let Some((range, held)) = range.and_then(|range| Some((range, self.held.get(&range)?))) else { return };
        let leads_here = held.standing.leader.is_some_and(|(_, store)| store == self.config.store);
        if let Some(term) = held.led.filter(|_| !leads_here && from != self.config.store) {
            self.send(from, StoreMessage::Unled { range, term });
        }
    }

    pub(super) fn forward_answered(
        &mut self,
        from: StoreId,
        id: CallId,
        outcome: Result<Response, Rejected>,
        hints: Vec<RangeHint>,
        cx: &Cx<'_>,
    ) {
        let ticket = Ticket(id.number());
        if let Err(Rejected::NotLeader { range, .. }) = &outcome {
            self.map.forget_leader(*range, from);
            self.push(*range, Input::LeaderDoubted { store: from });
        }
        self.learn(hints, cx);
        if self.desk.get(ticket).is_some_and(|open| matches!(open.place, Place::Sent(to, _) if to == from)) {
            self.answer(ticket, outcome, cx);
        }
    }

    pub(super) fn admin_answered(
        &mut self,
        from: StoreId,
        id: CallId,
        outcome: Result<AdminOutcome, Rejected>,
        cx: &Cx<'_>,
    ) {
        let ticket = Ticket(id.number());
        if self.desk.get(ticket).is_some_and(|open| matches!(open.place, Place::Sent(to, _) if to == from)) {
            self.answer_admin(ticket, outcome, cx);
        }
    }

    /// Takes in what was heard of ranges elsewhere.
    pub(super) fn learn(&mut self, hints: Vec<RangeHint>, cx: &Cx<'_>) {
        for hint in &hints {
            self.bury_replaced(&hint.descriptor);
            self.tell_of_removal(&hint.descriptor);
        }
        let new: Vec<_> = hints.into_iter().filter(|hint| self.map.learn(hint.clone())).collect();
        if !new.is_empty() {
            self.out.push(Effect::Learned(new));
            self.wake_located(cx);
        }
    }

    /// Takes in what another worker of this store heard.
    pub(super) fn learn_quietly(&mut self, hints: Vec<RangeHint>, cx: &Cx<'_>) {
        for hint in hints {
            self.bury_replaced(&hint.descriptor);
            self.tell_of_removal(&hint.descriptor);
            self.map.learn(hint);
        }
        self.wake_located(cx);
    }

    pub(super) fn take_locate(&mut self, from: StoreId, id: CallId, key: &holdfast_types::Key) {
        let hints = self.map.lookup(key).map(|found| found.hint()).into_iter().collect();
        self.send(from, StoreMessage::Located { id, hints });
    }
}

fn deadline_of(timeout_ms: u64, cx: &Cx<'_>) -> Moment {
    cx.now.after(Duration::from_millis(timeout_ms).min(limits::MAX_DEADLINE))
}

fn unknown(why: &str) -> Rejected {
    Rejected::Ambiguous(why.to_owned())
}
