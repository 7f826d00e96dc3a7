//! What an answer leads to.

use holdfast_types::{
    LeaderHint, Located, Moment, RangeDescriptor, RangeId, Rejected, Request, Response, StoreId, Term, limits,
};

use super::calls::{LookUp, Open};
use super::event::{Action, AttemptId, CallId};
use super::machine::ClientCore;
use super::policy::RetryCause;
use super::ranges::Point;
use crate::ClientError;

impl ClientCore {
    /// A store answered an attempt.
    pub(super) fn answered(
        &mut self,
        store: StoreId,
        attempt: AttemptId,
        outcome: Result<Response, Rejected>,
        now: Moment,
        actions: &mut Vec<Action>,
    ) {
        let call = attempt.call();
        let Some(pending) = self.calls.get_mut(call) else { return };
        let closed = pending.attempts.close(attempt.number());
        match outcome {
            // A first attempt that wrote nothing leaves no record: a later attempt may have written, or may yet.
            Ok(response) if attempt.number() == 1 && wrote_nothing(&response) && pending.attempts.is_uncertain() => {}
            // Else any attempt's answer will do: a write is applied once, and one read is as good as another.
            Ok(response) => self.finish(call, Ok(response), now, actions),
            Err(rejected) => {
                pending.attempts.lost |= rejected.is_ambiguous();
                if let Some((open, true)) = closed {
                    self.refused(call, store, &open, rejected, now, actions);
                }
            }
        }
    }

    /// The current attempt was refused: go on as the reason says.
    fn refused(
        &mut self,
        call: CallId,
        store: StoreId,
        open: &Open,
        rejected: Rejected,
        now: Moment,
        actions: &mut Vec<Action>,
    ) {
        let Some(pending) = self.calls.get_mut(call) else { return };
        pending.last = Some(rejected.clone());
        match rejected {
            Rejected::NotLeader { range, leader } => self.not_leader(call, store, (range, leader), open, now, actions),
            Rejected::WrongRange { known } => self.wrong_range(call, open, known, now, actions),
            Rejected::SpansRanges { split_key } if matches!(pending.request, Request::Get { .. }) => {
                self.cut_at(call, open, &split_key, now, actions);
            }
            Rejected::Busy { retry_after } => {
                if self.may_retry(call, RetryCause::Busy, now, actions) {
                    self.pause(call, retry_after, now);
                }
            }
            Rejected::PastLastMoment { .. } => self.past_last_moment(call, now, actions),
            Rejected::DeadlineExceeded => {
                if self.may_retry(call, RetryCause::Unavailable, now, actions) {
                    self.pause(call, limits::CLIENT_POLL_MIN, now);
                }
            }
            Rejected::Ambiguous(_) | Rejected::Unavailable(_) => {
                let is_lost = rejected.is_ambiguous();
                let cause = if is_lost { RetryCause::Lost } else { RetryCause::Unavailable };
                // The store may have passed it on in vain: whoever it believed to lead does not.
                self.avoid(call, store);
                let better = self.knows_better(call, store, open);
                if self.may_retry(call, cause, now, actions) {
                    if better { self.redirect(call, now, actions) } else { self.wait(call, now) }
                }
            }
            Rejected::Invalid(_)
            | Rejected::Forbidden(_)
            | Rejected::SpansRanges { .. }
            | Rejected::StaleSequence
            | Rejected::RequestReused
            | Rejected::BelowGcThreshold { .. } => self.refused_for_good(call, rejected, now, actions),
        }
    }

    fn not_leader(
        &mut self,
        call: CallId,
        store: StoreId,
        (range, leader): (RangeId, Option<LeaderHint>),
        open: &Open,
        now: Moment,
        actions: &mut Vec<Action>,
    ) {
        let leader = leader.filter(|hint| hint.store != store);
        if let Some(hint) = leader.as_ref().filter(|hint| hint.address.is_some()) {
            self.stores.learn_one(hint.store);
        }
        self.avoid(call, store);
        if self.knows_better(call, store, open) {
            return self.redirect(call, now, actions);
        }
        if let Some(bounds) = self.ranges.hint(range, leader.as_ref().map(|hint| hint.store), now) {
            self.wake_range(&bounds, now, actions);
        }
        match leader {
            Some(_) => self.redirect(call, now, actions),
            None => {
                if self.may_retry(call, RetryCause::Unavailable, now, actions) {
                    self.wait(call, now);
                }
            }
        }
    }

    /// Since the attempt was sent, another store was heard of as the leader: a refusal says nothing of that one.
    fn knows_better(&self, call: CallId, store: StoreId, open: &Open) -> bool {
        let point = self.calls.get(call).map(|pending| Point::of(&pending.request));
        point.is_some_and(|point| self.ranges.has_newer_leader(&point, store, open.sent_at))
    }

    fn wrong_range(
        &mut self,
        call: CallId,
        open: &Open,
        known: Vec<RangeDescriptor>,
        now: Moment,
        actions: &mut Vec<Action>,
    ) {
        if let Some((range, epoch)) = open.range {
            self.ranges.refuted(range, epoch);
        }
        for descriptor in known {
            self.ranges.learn(&Located { descriptor, leader: None, term: Term(0) }, now);
        }
        if let Some(pending) = self.calls.get_mut(call) {
            pending.look_up = LookUp::None;
        }
        self.redirect(call, now, actions);
    }

    /// A get whose keys lie in two ranges by now, cut where the store says.
    fn cut_at(
        &mut self,
        call: CallId,
        open: &Open,
        split_key: &holdfast_types::Key,
        now: Moment,
        actions: &mut Vec<Action>,
    ) {
        if let Some((range, epoch)) = open.range {
            self.ranges.refuted(range, epoch);
        }
        let Some(pending) = self.calls.get_mut(call) else { return };
        pending.look_up = LookUp::None;
        let Request::Get { keys, .. } = &pending.request else { return };
        let (left, right): (Vec<usize>, Vec<usize>) = (0..keys.len()).partition(|i| keys[*i] < *split_key);
        if left.is_empty() || right.is_empty() {
            return self.redirect(call, now, actions);
        }
        self.split_get(call, vec![left, right], now, actions);
    }

    fn past_last_moment(&mut self, call: CallId, now: Moment, actions: &mut Vec<Action>) {
        let Some(pending) = self.calls.get_mut(call) else { return };
        if pending.attempts.is_uncertain() {
            // The record of an earlier attempt may be gone by now: under a later moment the write could be applied again.
            let error = ClientError::Ambiguous("an earlier attempt is lost and its last moment has passed".into());
            return self.finish(call, Err(error), now, actions);
        }
        // Nothing was evaluated under this name: only the estimate of fleet time was wrong, and has been put right.
        let last_moment = self.fleet.last_moment(now, pending.deadline.since(now));
        if let (Some(write), Some(last_moment)) = (&mut pending.write, last_moment) {
            write.last_moment = write.last_moment.max(last_moment);
        }
        self.redirect(call, now, actions);
    }

    fn refused_for_good(&mut self, call: CallId, rejected: Rejected, now: Moment, actions: &mut Vec<Action>) {
        let Some(pending) = self.calls.get(call) else { return };
        let uncertain = pending.attempts.is_uncertain() || rejected == Rejected::StaleSequence;
        let error = if pending.request.is_write() && uncertain {
            ClientError::Ambiguous(format!("an attempt is lost, and a later one was refused: {rejected}"))
        } else {
            ClientError::Rejected(rejected)
        };
        self.finish(call, Err(error), now, actions);
    }

    /// Whether the policy of a call lets it be sent again. If not, the call is over.
    pub(super) fn may_retry(
        &mut self,
        call: CallId,
        cause: RetryCause,
        now: Moment,
        actions: &mut Vec<Action>,
    ) -> bool {
        let Some(pending) = self.calls.get_mut(call) else { return false };
        let allowed = pending.retry.allows(cause, pending.patience.retries);
        if allowed {
            pending.patience.retries += 1;
        } else {
            self.give_up(call, now, actions);
        }
        allowed
    }

    /// Ends a call that may not be sent again, though its deadline lies ahead.
    pub(super) fn give_up(&mut self, call: CallId, now: Moment, actions: &mut Vec<Action>) {
        let Some(pending) = self.calls.get_mut(call) else { return };
        let last = pending.last.take();
        let error = if pending.request.is_write() && pending.attempts.is_uncertain() {
            let attempts = pending.attempts.count;
            ClientError::Ambiguous(format!("an attempt is lost, and the retry policy ends after {attempts} of them"))
        } else {
            match last {
                Some(last) => ClientError::Rejected(last),
                None => ClientError::DeadlineExceeded { last: None },
            }
        };
        self.finish(call, Err(error), now, actions);
    }

    /// Sends again at once, unless stores send the call around in circles.
    fn redirect(&mut self, call: CallId, now: Moment, actions: &mut Vec<Action>) {
        let Some(pending) = self.calls.get_mut(call) else { return };
        pending.patience.redirects += 1;
        if pending.patience.redirects % (limits::CLIENT_MAX_REDIRECTS + 1) == 0 {
            if self.may_retry(call, RetryCause::Unavailable, now, actions) {
                self.wait(call, now);
            }
        } else {
            self.route(call, now, actions);
        }
    }
}

fn wrote_nothing(response: &Response) -> bool {
    matches!(response, Response::ConditionFailed { .. } | Response::RangeDeleted { deleted: 0, .. })
}
