//! Events in, actions out.

use std::collections::{BTreeMap, VecDeque};

use holdfast_types::{
    ClientId, KeyRange, Located, Moment, RangeRequest, Rejected, Request, Response, StoreId, Timestamp, limits,
    validate,
};

use super::calls::{Calls, LookUp, Part, Pending, State};
use super::clock::FleetClock;
use super::event::{Action, CallId, CoreOptions, Effort, Event, LocateId};
use super::locates::Locates;
use super::policy::{RetryCause, RetryPolicy};
use super::ranges::{Point, RangeCache};
use super::slots::{Session, Slots};
use super::spanning::Gather;
use super::stores::Stores;
use crate::ClientError;

/// One client, as a state machine.
///
/// Invariants:
/// - every call is finished exactly once, at the latest by its deadline, unless it was cancelled
/// - all attempts of a write carry one request id; two writes never share one
/// - a write fails with anything but `Ambiguous` only if no attempt of it can have been applied
pub struct ClientCore {
    pub(super) session: Session,
    pub(super) seed: u64,
    pub(super) ranges: RangeCache,
    pub(super) stores: Stores,
    pub(super) slots: Slots,
    pub(super) fleet: FleetClock,
    pub(super) calls: Calls,
    pub(super) locates: Locates,
    gathers: BTreeMap<CallId, Gather>,
    for_slot: VecDeque<CallId>,
    last_part: u64,
    /// When the driver will wake us, as asked last.
    timer: Option<Moment>,
}

impl ClientCore {
    /// A client that knows nothing yet. Tell it of stores with [`Event::FleetLearned`].
    #[must_use]
    pub fn new(options: CoreOptions) -> Self {
        assert!(options.client != ClientId::default(), "a client session is 128 random bits");
        Self {
            session: Session::new(options.client),
            seed: options.seed,
            ranges: RangeCache::default(),
            stores: Stores::new(options.site),
            slots: Slots::default(),
            fleet: FleetClock::default(),
            calls: Calls::default(),
            locates: Locates::default(),
            gathers: BTreeMap::new(),
            for_slot: VecDeque::new(),
            last_part: CallId::FIRST_INTERNAL.0,
            timer: None,
        }
    }

    /// Takes an event and adds what is to be done to `actions`. `now` never goes back.
    pub fn handle(&mut self, event: Event, now: Moment, actions: &mut Vec<Action>) {
        match event {
            Event::Call { call, request, deadline, retry } => {
                self.begin(call, request, deadline, retry, now, actions);
            }
            Event::Cancel { call } => self.cancel(call, now, actions),
            Event::Answer { store, attempt, outcome, fleet_now } => {
                self.stores.heard(store, now);
                self.fleet.learn(fleet_now, now);
                self.answered(store, attempt, outcome, now, actions);
            }
            Event::Unsent { store, attempt } => {
                let refusal = self.stores.unreached(store);
                self.answered(store, attempt, Err(refusal), now, actions);
            }
            Event::Heard { store, fleet_now } => {
                self.stores.heard(store, now);
                self.learn_time(fleet_now, now, actions);
            }
            Event::StreamUp { store } => self.stores.up(store),
            Event::Why { store, why } => self.stores.note_why(store, why),
            Event::StreamDown { store } => {
                self.stores.down(store, now);
                for call in self.calls.lose(store) {
                    self.lost(call, store, now, actions);
                }
            }
            Event::Located { locate, found, fleet_now } => {
                if let Some(via) = self.locates.end(locate) {
                    self.stores.heard(via, now);
                }
                self.learn_time(fleet_now, now, actions);
                self.learn(&found, now, actions);
                self.wake_all(now, actions);
            }
            Event::Hidden { locate, why } => self.hidden(locate, &why, now, actions),
            Event::LocateFailed { locate } => {
                if let Some(via) = self.locates.end(locate) {
                    self.stores.suspect(via, now);
                }
            }
            Event::Notice(located) => self.learn(&[located], now, actions),
            Event::FleetLearned { stores } => {
                self.stores.learn(stores);
                self.wake_all(now, actions);
            }
            Event::Timer => {
                self.timer = None;
                self.time_passes(now, actions);
            }
        }
        self.arm(actions);
    }

    /// Fleet time as far as this client knows.
    #[must_use]
    pub fn fleet_now(&self, now: Moment) -> Option<Timestamp> {
        self.fleet.now(now)
    }

    /// Calls that are not finished, the parts of cut ones included.
    #[must_use]
    pub fn calls_open(&self) -> usize {
        self.calls.len()
    }

    /// Checks what must hold between two events; the error names what does not. For tests: it looks at every call.
    pub fn check(&self) -> Result<(), String> {
        self.calls.check()?;
        match self.timer {
            Some(timer) if self.calls.first_wake().is_some_and(|wake| wake < timer) => Err("a call oversleeps".into()),
            None if self.calls.len() > 0 => Err("calls are open and no timer is set".into()),
            _ => Ok(()),
        }
    }

    // ---- beginning and ending

    fn begin(
        &mut self,
        call: CallId,
        request: Request,
        deadline: Moment,
        retry: RetryPolicy,
        now: Moment,
        actions: &mut Vec<Action>,
    ) {
        assert!(call < CallId::FIRST_INTERNAL, "the upper names are the core's");
        let effort = Effort::default();
        let request = RangeRequest { range: None, write: None, request };
        // Stores may be configured to less; that they say themselves.
        if let Err(rejected) = validate(&request, limits::HARD_MAX_VALUE_BYTES) {
            actions.push(Action::Finish { call, outcome: Err(ClientError::Rejected(rejected)), effort });
        } else if self.calls.len() >= limits::CLIENT_MAX_CALLS {
            actions.push(Action::Finish { call, outcome: Err(ClientError::TooManyCalls), effort });
        } else {
            let deadline = deadline.min(now.after(limits::MAX_DEADLINE));
            self.calls.insert(call, Pending::new(request.request, deadline, now, retry));
            self.route(call, now, actions);
        }
    }

    fn cancel(&mut self, call: CallId, now: Moment, actions: &mut Vec<Action>) {
        let parts = self.gathers.remove(&call).map(|gather| gather.parts).unwrap_or_default();
        for call in parts.into_iter().chain([call]) {
            self.take_out(call, now, actions);
        }
    }

    /// Ends a call, and the whole that it is the last or a failed part of.
    pub(super) fn finish(
        &mut self,
        call: CallId,
        outcome: Result<Response, ClientError>,
        now: Moment,
        actions: &mut Vec<Action>,
    ) {
        let Some(pending) = self.take_out(call, now, actions) else { return };
        let effort = pending.effort();
        match pending.part {
            None => actions.push(Action::Finish { call, outcome, effort }),
            Some(part) => {
                if let Some(gather) = self.gathers.get_mut(&part.whole) {
                    gather.effort.add(effort);
                }
                self.finish_part(call, &part, outcome, now, actions);
            }
        }
    }

    /// The stream that carried the current attempt of a call is gone.
    fn lost(&mut self, call: CallId, store: StoreId, now: Moment, actions: &mut Vec<Action>) {
        let Some(pending) = self.calls.get_mut(call) else { return };
        pending.last = Some(Rejected::Unavailable(format!("the connection to {store} broke")));
        self.avoid(call, store);
        if self.may_retry(call, RetryCause::Lost, now, actions) {
            self.route(call, now, actions);
        }
    }

    fn finish_part(
        &mut self,
        call: CallId,
        part: &Part,
        outcome: Result<Response, ClientError>,
        now: Moment,
        actions: &mut Vec<Action>,
    ) {
        let Some(gather) = self.gathers.get_mut(&part.whole) else { return };
        let effort = gather.effort;
        gather.parts.remove(&call);
        let taken = outcome.and_then(|response| {
            gather.take(&part.positions, response).map_err(|misfit| ClientError::Protocol(misfit.0))
        });
        let whole = match taken {
            Ok(()) => match gather.answer() {
                Some(answer) => Ok(answer),
                None => return,
            },
            Err(error) => Err(error),
        };
        self.cancel(part.whole, now, actions);
        actions.push(Action::Finish { call: part.whole, outcome: whole, effort });
    }

    /// Takes a call out of everything: nobody waits for its attempts any more, its slot is free.
    fn take_out(&mut self, call: CallId, now: Moment, actions: &mut Vec<Action>) -> Option<Pending> {
        let pending = self.calls.remove(call)?;
        let open = pending.attempts.older.iter().chain(&pending.attempts.current);
        actions.extend(open.map(|open| Action::Abandon { store: open.store, attempt: Calls::attempt(call, open) }));
        if pending.state() == State::ForSlot {
            self.for_slot.retain(|waiting| *waiting != call);
        }
        if let Some(write) = &pending.write {
            self.slots.give_back(write.slot);
            self.serve_slots(now, actions);
        }
        Some(pending)
    }

    /// The deadline passed.
    fn expire(&mut self, call: CallId, now: Moment, actions: &mut Vec<Action>) {
        let Some(pending) = self.calls.get_mut(call) else { return };
        let last = pending.last.take();
        let error = if pending.request.is_write() && pending.attempts.is_uncertain() {
            let heard = last.map_or_else(String::new, |last| format!("; last heard: {last}"));
            ClientError::Ambiguous(format!("no answer by the deadline in {} attempts{heard}", pending.attempts.count))
        } else if let Some(busy @ Rejected::Busy { .. }) = last {
            ClientError::Rejected(busy)
        } else {
            // Who was refused by nobody may have waited for a store that nobody reaches.
            ClientError::DeadlineExceeded { last: last.or_else(|| self.stores.any_unreached()).map(Box::new) }
        };
        self.finish(call, Err(error), now, actions);
    }

    // ---- parts

    /// Replaces a get by gets of its parts; each group holds positions of its keys.
    pub(super) fn split_get(&mut self, call: CallId, groups: Vec<Vec<usize>>, now: Moment, actions: &mut Vec<Action>) {
        let Some(pending) = self.calls.remove(call) else { return };
        let Request::Get { keys, at } = &pending.request else { unreachable!("only gets are cut") };
        let (whole, positions) = match &pending.part {
            Some(part) => (part.whole, part.positions.clone()),
            None => (call, (0..keys.len()).collect()),
        };
        let gather = self.gathers.entry(whole).or_insert_with(|| Gather::new(keys.len()));
        gather.parts.remove(&call);
        gather.effort.add(pending.effort());
        let mut parts = Vec::with_capacity(groups.len());
        for group in groups {
            self.last_part += 1;
            let part = CallId(self.last_part);
            gather.parts.insert(part);
            let request = Request::Get { keys: group.iter().map(|i| keys[*i].clone()).collect(), at: *at };
            let positions = group.iter().map(|i| positions[*i]).collect();
            self.calls.insert(part, pending.part(request, Part { whole, positions }));
            parts.push(part);
        }
        parts.into_iter().for_each(|part| self.route(part, now, actions));
    }

    // ---- slots

    /// The call waits until a slot is free.
    pub(super) fn wait_for_slot(&mut self, call: CallId) {
        self.calls.set(call, State::ForSlot, Moment::MAX);
        self.for_slot.push_back(call);
    }

    fn serve_slots(&mut self, now: Moment, actions: &mut Vec<Action>) {
        while self.slots.has_free()
            && let Some(call) = self.for_slot.pop_front()
        {
            self.calls.set(call, State::Paused, now);
            self.route(call, now, actions);
        }
    }

    // ---- news

    fn learn_time(&mut self, fleet_now: Timestamp, now: Moment, actions: &mut Vec<Action>) {
        let was_known = self.fleet.now(now).is_some();
        self.fleet.learn(fleet_now, now);
        if !was_known {
            self.wake_all(now, actions);
        }
    }

    /// Takes news of ranges, all of them, before calls that wait for one of them go on.
    fn learn(&mut self, news: &[Located], now: Moment, actions: &mut Vec<Action>) {
        let mut led = Vec::new();
        for located in news {
            if let Some(hint) = located.leader.as_ref().filter(|hint| hint.address.is_some()) {
                self.stores.learn_one(hint.store);
            }
            if self.ranges.learn(located, now) && located.leader.is_some() {
                led.push(&located.descriptor.bounds);
            }
        }
        led.into_iter().for_each(|bounds| self.wake_range(bounds, now, actions));
    }

    /// Reverse scans that begin where we may not read are over. Everything else is sent without a range, and hears it from who refuses it; they are
    /// not, since without its range a store does not know where they begin.
    fn hidden(&mut self, locate: LocateId, why: &str, now: Moment, actions: &mut Vec<Action>) {
        let Some(point) = self.locates.point(locate).filter(|point| matches!(point, Point::Before(_))).cloned() else {
            return;
        };
        for call in self.calls.waiting_for(&KeyRange::all()) {
            let waits = |pending: &Pending| pending.look_up == LookUp::UnderWay && Point::of(&pending.request) == point;
            if self.calls.get(call).is_some_and(waits) {
                let refused = ClientError::Rejected(Rejected::Forbidden(why.to_owned()));
                self.finish(call, Err(refused), now, actions);
            }
        }
    }

    /// There is a new leader to ask: calls that wait for one go there, also those to which it said no before.
    pub(super) fn wake_range(&mut self, bounds: &KeyRange, now: Moment, actions: &mut Vec<Action>) {
        for call in self.calls.waiting_for(bounds) {
            if let Some(pending) = self.calls.get_mut(call) {
                pending.avoid = None;
            }
            self.route(call, now, actions);
        }
    }

    fn wake_all(&mut self, now: Moment, actions: &mut Vec<Action>) {
        for call in self.calls.waiting_for(&KeyRange::all()) {
            // A call that waits after a refusal keeps its wait: this is no news of its range.
            let concerned = |pending: &Pending| pending.attempts.count == 0 || pending.look_up == LookUp::UnderWay;
            if self.calls.get(call).is_some_and(concerned) {
                self.route(call, now, actions);
            }
        }
    }

    // ---- time

    fn time_passes(&mut self, now: Moment, actions: &mut Vec<Action>) {
        for via in self.locates.expire(now) {
            self.stores.suspect(via, now);
        }
        while let Some(call) = self.calls.due(now) {
            let Some(pending) = self.calls.get(call) else { break };
            match pending.state() {
                _ if pending.deadline <= now => self.expire(call, now, actions),
                State::Sent => self.check_attempt(call, now, actions),
                State::Waiting | State::Paused => self.route(call, now, actions),
                State::ForSlot => unreachable!("a call without a slot sleeps until its deadline"),
            }
        }
    }

    fn arm(&mut self, actions: &mut Vec<Action>) {
        let wakes = self.calls.first_wake().into_iter().chain(self.locates.first_wake());
        if let Some(at) = wakes.min()
            && self.timer.is_none_or(|timer| at < timer)
        {
            self.timer = Some(at);
            actions.push(Action::SetTimer { at });
        }
    }
}
