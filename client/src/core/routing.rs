//! Which range, which store, under which name.

use std::time::Duration;

use holdfast_types::{KeyRange, Moment, RangeRequest, Rejected, Request, RequestId, StoreId, WriteAttempt, limits};

use super::calls::{Calls, LookUp, Open, State, WriteName};
use super::event::{Action, AttemptId, CallId};
use super::machine::ClientCore;
use super::policy::RetryCause;
use super::ranges::Point;
use super::spanning;
use super::stores::{Choice, doubled, mix};

impl ClientCore {
    /// Sends a call to where it belongs, or lets it wait for what is missing. After this the call is no longer due.
    pub(super) fn route(&mut self, call: CallId, now: Moment, actions: &mut Vec<Action>) {
        let Some(pending) = self.calls.get_mut(call).filter(|pending| pending.attempts.current.is_none()) else {
            return;
        };
        if pending.look_up == LookUp::UnderWay {
            pending.look_up = LookUp::Over;
        }
        let Some(pending) = self.calls.get(call) else { return };
        if pending.deadline <= now || pending.attempts.count >= AttemptId::MAX_NUMBER {
            // Expires at the deadline, by the timer.
            return self.calls.set(call, State::Paused, pending_deadline(&self.calls, call));
        }
        if pending.attempts.count > 0 && pending.last_start <= now {
            return self.give_up(call, now, actions);
        }
        if let Some(groups) = self.groups(&pending.request) {
            return self.split_get(call, groups, now, actions);
        }
        let point = Point::of(&pending.request);
        let target = self.ranges.find(&point);
        let needs_time = pending.request.is_write() && self.fleet.now(now).is_none();
        let may_go_blind = pending.look_up == LookUp::Over && !matches!(point, Point::Before(_));
        if needs_time || (target.is_none() && !may_go_blind) {
            return self.look_up(call, &point, now, actions);
        }
        let choice = Choice {
            range: target.map(|range| &range.descriptor),
            leader: target.and_then(|range| range.leader),
            avoid: pending.avoid,
            salt: self.salt(call, pending.attempts.count),
            now,
        };
        let Some(store) = self.stores.choose(choice) else { return self.wait(call, now) };
        let range = target.map(|range| (range.descriptor.range, range.descriptor.epoch));
        if pending.request.is_write() && pending.write.is_none() && !self.name_write(call, now) {
            return self.wait_for_slot(call);
        }
        self.send(call, store, range, now, actions);
    }

    /// The groups of keys of a get over several ranges; what is not known is one group, which is looked up or sent as it is.
    fn groups(&self, request: &Request) -> Option<Vec<Vec<usize>>> {
        let Request::Get { keys, .. } = request else { return None };
        if keys.len() < 2 {
            return None;
        }
        spanning::cut(keys, |key| self.ranges.find(&Point::At(key.clone())).map(|range| range.descriptor.range))
    }

    /// Gives a write its name. False while no slot is free.
    fn name_write(&mut self, call: CallId, now: Moment) -> bool {
        let Some(pending) = self.calls.get_mut(call) else { return false };
        let Some(last_moment) = self.fleet.last_moment(now, pending.deadline.since(now)) else { return false };
        let Some((slot, sequence)) = self.slots.take() else { return false };
        let client = self.session.name(last_moment);
        pending.write = Some(WriteName { client, slot, sequence, last_moment });
        true
    }

    fn send(
        &mut self,
        call: CallId,
        store: StoreId,
        range: Option<(holdfast_types::RangeId, holdfast_types::RangeEpoch)>,
        now: Moment,
        actions: &mut Vec<Action>,
    ) {
        let Some(pending) = self.calls.get_mut(call) else { return };
        assert!(pending.attempts.current.is_none(), "one current attempt at a time");
        pending.attempts.count += 1;
        let open = Open { number: pending.attempts.count, store, sent_at: now, range };
        let attempt = Calls::attempt(call, &open);
        let write = pending.write.map(|name| WriteAttempt {
            id: RequestId { client: name.client, slot: name.slot, sequence: name.sequence },
            attempt: pending.attempts.count,
            last_moment: name.last_moment,
        });
        let request = RangeRequest { range, write, request: pending.request.clone() };
        let timeout = pending.deadline.since(now);
        pending.attempts.current = Some(open);
        self.calls.set(call, State::Sent, now.after(limits::ATTEMPT_TIMEOUT));
        actions.push(Action::Send { store, attempt, request, timeout });
    }

    /// Asks where a call belongs (and what time it is), once for all that ask the same.
    fn look_up(&mut self, call: CallId, point: &Point, now: Moment, actions: &mut Vec<Action>) {
        let Some(pending) = self.calls.get_mut(call) else { return };
        pending.look_up = LookUp::UnderWay;
        let (avoid, tries) = (pending.avoid, pending.patience.waits);
        self.wait(call, now);
        let choice = Choice { range: None, leader: None, avoid, salt: self.salt(call, tries), now };
        let Some(via) = self.stores.choose(choice) else { return };
        if let Some(locate) = self.locates.begin(point, via, now) {
            let (bounds, reverse): (KeyRange, bool) = point.to_look_up();
            actions.push(Action::Locate { locate, via, bounds, reverse });
        }
    }

    /// Lets a call wait for news; it goes on unbidden after a while that grows.
    pub(super) fn wait(&mut self, call: CallId, now: Moment) {
        let first = self.calls.get(call).map_or(limits::CLIENT_POLL_MIN, |pending| pending.retry.backoff_bounds().0);
        let wait = self.next_wait(call, first);
        self.calls.set(call, State::Waiting, now.after(wait));
    }

    /// Lets a call pause, at least `least`; news do not wake it.
    pub(super) fn pause(&mut self, call: CallId, least: Duration, now: Moment) {
        let wait = self.next_wait(call, least.max(limits::CLIENT_BUSY_MIN));
        self.calls.set(call, State::Paused, now.after(wait));
    }

    /// `first`, doubled with each wait of the call up to the longest wait of its policy, and up to half as much again, by hash.
    fn next_wait(&mut self, call: CallId, first: Duration) -> Duration {
        let Some(pending) = self.calls.get_mut(call) else { return first };
        let waits = pending.patience.waits;
        pending.patience.waits += 1;
        let (_, longest) = pending.retry.backoff_bounds();
        let wait = doubled(first, waits, longest.max(first));
        let percent = u32::try_from(self.salt(call, waits) % 50).expect("below 50");
        wait + wait * percent / 100
    }

    /// The call prefers other stores than this one from now on.
    pub(super) fn avoid(&mut self, call: CallId, store: StoreId) {
        if let Some(pending) = self.calls.get_mut(call) {
            pending.avoid = Some(store);
        }
    }

    /// Looks at a call whose attempt is not answered yet: a silent store is given up soon, a living one later.
    pub(super) fn check_attempt(&mut self, call: CallId, now: Moment, actions: &mut Vec<Action>) {
        let Some(pending) = self.calls.get_mut(call) else { return };
        let Some(open) = &pending.attempts.current else { return };
        let (store, sent_at) = (open.store, open.sent_at);
        let slow = doubled(limits::CLIENT_SLOW_ATTEMPT, pending.patience.slow, limits::MAX_DEADLINE);
        let silent = now.since(sent_at) >= limits::ATTEMPT_TIMEOUT
            && self.stores.silent_since(store, Moment(now.0.saturating_sub(micros(limits::ATTEMPT_TIMEOUT))));
        if !silent && now < sent_at.after(slow) {
            let look_again = now.after(limits::ATTEMPT_TIMEOUT).min(sent_at.after(slow));
            return self.calls.set(call, State::Sent, look_again);
        }
        if silent {
            pending.last = Some(Rejected::Unavailable(format!("{store} did not answer")));
            self.stores.suspect(store, now);
        }
        if !pending.retry.allows(RetryCause::Lost, pending.patience.retries) || pending.last_start <= now {
            // Another attempt is not allowed: this one may still be answered.
            return self.calls.set(call, State::Sent, Moment::MAX);
        }
        pending.patience.retries += 1;
        pending.attempts.give_up();
        pending.avoid = Some(store);
        if !silent {
            pending.patience.slow += 1;
        }
        self.route(call, now, actions);
    }

    fn salt(&self, call: CallId, times: u32) -> u64 {
        mix(self.seed ^ mix(call.0 << 16 | u64::from(times & 0xffff)))
    }
}

fn pending_deadline(calls: &Calls, call: CallId) -> Moment {
    calls.get(call).map_or(Moment::MAX, |pending| pending.deadline)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
