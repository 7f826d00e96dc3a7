//! Requests passed on to other stores, and those that other stores pass on to us.
//!
//! What may have been done is never repeated here: whoever asked knows whether it may be. A read, and what was refused before
//! anything was done, goes on to the next store that may lead.

use std::time::Duration;

use holdfast_replica::{AdminRequest, Input, Ticket};
use holdfast_types::{Moment, RangeId, Rejected, Response, StoreId, limits};

use super::{Cx, Worker};
use crate::core::desk::{Asked, Origin, Place, Sent, To, Wait};
use crate::core::effect::{AdminOutcome, Effect};
use crate::core::message::{CallId, RangeHint, StoreMessage};
use crate::core::permit::{Permitted, check_admin};

impl Worker {
    pub(super) fn forward(&mut self, ticket: Ticket, to: To, cx: &Cx<'_>) {
        if self.desk.waiting() >= limits::WAITING_REQUESTS {
            return self.answer(ticket, Err(Rejected::Busy { retry_after: limits::BUSY_RETRY_AFTER }), cx);
        }
        let Some(open) = self.desk.get(ticket) else { return };
        let id = CallId::new(self.config.worker, ticket.0);
        let timeout_ms = u64::try_from(open.deadline.since(cx.now).as_millis()).unwrap_or(u64::MAX);
        // Another worker of this store is no hop.
        let hops = open.hops + u32::from(to.store != self.config.store);
        let look_at = open.deadline.min(cx.now.after(limits::FORWARD_LOOK_EVERY));
        let message = match open.asked.clone() {
            Asked::Data(asked) => {
                let authority = asked.authority().clone();
                StoreMessage::Forward { id, request: asked.into_request(), authority, timeout_ms, hops }
            }
            Asked::Admin(range, request) => StoreMessage::Admin { id, range, request, timeout_ms, hops },
        };
        self.desk.put(ticket, Place::Sent(Sent { to, at: cx.now, over: None }), Some(look_at));
        self.send(to.store, message);
    }

    /// A request sent to a store has had no answer for a while.
    pub(super) fn sent_due(&mut self, ticket: Ticket, sent: Sent, cx: &Cx<'_>) {
        let Some(open) = self.desk.get(ticket) else { return };
        let (deadline, changes, store) = (open.deadline, open.asked.changes(), sent.to.store);
        let waited = cx.now.since(sent.at);
        let heard_since = |since: Moment| self.heard.get(&store).is_some_and(|at| *at >= since);
        // A word since the request was sent is not enough: a store may say something and die.
        let heard_lately = self.heard.get(&store).is_some_and(|at| cx.now.since(*at) < limits::ATTEMPT_TIMEOUT);
        let lives = store == self.config.store || heard_lately || self.support.view.supports(store);
        let over = sent.over.or_else(|| self.is_over(open, &sent.to).then_some(cx.now));
        // Whoever gives a leadership up sends what it has on to the next leader; the answer then comes by two hops.
        let patience = |since: Moment| match changes && heard_since(since) {
            true => limits::WAIT_FOR_LEADER,
            false => limits::ATTEMPT_TIMEOUT,
        };
        if deadline <= cx.now {
            let late = if changes { unknown("no answer came in time") } else { Rejected::DeadlineExceeded };
            self.answer(ticket, Err(late), cx);
        } else if !lives && waited >= limits::ATTEMPT_TIMEOUT {
            self.silent.insert(store, cx.now);
            self.fail_sent(ticket, "a store did not answer", cx);
        } else if over.is_some_and(|since| cx.now.since(since) >= patience(since)) {
            self.fail_sent(ticket, "the range is led by another store than the one that it was sent to", cx);
        } else {
            let again = deadline.min(cx.now.after(limits::FORWARD_LOOK_EVERY));
            self.desk.put(ticket, Place::Sent(Sent { over, ..sent }), Some(again));
            if let Some(range) = sent.to.range.filter(|_| waited >= limits::ATTEMPT_TIMEOUT) {
                self.push(range, Input::LeaderDoubted { store });
            }
        }
    }

    /// A store is lost: what waits for its answers does not wait on.
    pub(super) fn store_lost(&mut self, store: StoreId, cx: &Cx<'_>) {
        self.relays.retain(|_, relay| *relay != store);
        for ticket in self.desk.waiting_for(Wait::Store(store)) {
            self.fail_sent(ticket, "the store that it was sent to is lost", cx);
        }
    }

    /// No answer will come. What may have been done is for the caller to try again; a read goes elsewhere.
    fn fail_sent(&mut self, ticket: Ticket, why: &str, cx: &Cx<'_>) {
        let Some(open) = self.desk.get(ticket) else { return };
        let (changes, Place::Sent(sent)) = (open.asked.changes(), open.place) else { return };
        if let Some(range) = sent.to.range {
            self.map.forget_leader(range, sent.to.store);
            self.forget_relay(range, sent.to.store);
        }
        if changes {
            self.answer(ticket, Err(unknown(why)), cx);
        } else if !self.goes_on(ticket, sent.to.store, cx) {
            self.answer(ticket, Err(Rejected::Unavailable(why.to_owned())), cx);
        }
    }

    /// Another store passes a request on; what its author may not ask is refused here as at the port of clients.
    pub(super) fn take_forward(
        &mut self,
        from: StoreId,
        id: CallId,
        request: Result<Permitted, Rejected>,
        timeout_ms: u64,
        hops: u32,
        cx: &Cx<'_>,
    ) {
        // From a worker of this store it is admitted already.
        let size_of =
            |asked: &Permitted| if from == self.config.store { 0 } else { asked.request().request.size_bytes() };
        let admitted = request.and_then(|asked| {
            let size_bytes = size_of(&asked);
            self.shared.admission.admit(size_bytes).map(|()| (asked, size_bytes))
        });
        let (request, size_bytes) = match admitted {
            Ok(admitted) => admitted,
            Err(rejected) => {
                let (outcome, fleet_now) = (Err(rejected), Self::fleet_now(cx));
                return self.send(from, StoreMessage::ForwardAnswer { id, outcome, fleet_now, hints: Vec::new() });
            }
        };
        self.correct_mistaken(from, request.request().range.map(|(range, _)| range));
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
        let permitted = check_admin(&request).and_then(|()| self.shared.admission.admit(0));
        if let Err(rejected) = permitted {
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
        if let Err(Rejected::NotLeader { range, .. }) = &outcome
            && self.knows(from)
        {
            self.map.forget_leader(*range, from);
            self.push(*range, Input::LeaderDoubted { store: from });
        }
        if self.knows(from) {
            self.learn(hints, cx);
        }
        let Some(to) = self.sent_to(ticket, from) else { return };
        let in_vain = outcome.as_ref().err().is_some_and(|rejected| is_in_vain(&to, rejected));
        self.note_relay(to, outcome.is_ok());
        if !in_vain || !self.goes_on(ticket, from, cx) {
            self.answer(ticket, outcome, cx);
        }
    }

    /// Where a request went, while the answer of that store is the one that is waited for.
    fn sent_to(&self, ticket: Ticket, from: StoreId) -> Option<To> {
        match self.desk.get(ticket)?.place {
            Place::Sent(sent) if sent.to.store == from => Some(sent.to),
            _ => None,
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
        let Some(to) = self.sent_to(ticket, from) else { return };
        let in_vain = outcome.as_ref().err().is_some_and(|rejected| is_in_vain(&to, rejected));
        self.note_relay(to, outcome.is_ok());
        if !in_vain || !self.goes_on(ticket, from, cx) {
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
            let ranges: Vec<_> = new.iter().map(|hint| hint.descriptor.range).collect();
            self.out.push(Effect::Learned(new));
            self.wake_located(cx);
            self.wake_for_leaders(&ranges, cx);
        }
    }

    /// Takes in what another worker of this store heard.
    pub(super) fn learn_quietly(&mut self, hints: Vec<RangeHint>, cx: &Cx<'_>) {
        let ranges: Vec<_> = hints.iter().map(|hint| hint.descriptor.range).collect();
        for hint in hints {
            self.bury_replaced(&hint.descriptor);
            self.tell_of_removal(&hint.descriptor);
            self.map.learn(hint);
        }
        self.wake_located(cx);
        self.wake_for_leaders(&ranges, cx);
    }

    pub(super) fn take_locate(&mut self, from: StoreId, id: CallId, key: &holdfast_types::Key) {
        let hints = self.map.lookup(key).map(|found| found.hint()).into_iter().collect();
        self.send(from, StoreMessage::Located { id, hints });
    }
}

fn deadline_of(timeout_ms: u64, cx: &Cx<'_>) -> Moment {
    cx.now.after(Duration::from_millis(timeout_ms).min(limits::MAX_DEADLINE))
}

/// The store says that nothing was done there, and another may do better: the request goes on to who is known to lead by now, or
/// by another way. What a leader cannot do is answered.
fn is_in_vain(to: &To, rejected: &Rejected) -> bool {
    match rejected {
        Rejected::NotLeader { .. } => true,
        Rejected::Unavailable(_) => to.leads.is_none(),
        _ => false,
    }
}

fn unknown(why: &str) -> Rejected {
    Rejected::Ambiguous(why.to_owned())
}
