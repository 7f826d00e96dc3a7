//! The calls that are not finished yet, each with what has become of its attempts.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_types::{
    ClientId, Key, KeyRange, KeyspaceId, Moment, RangeEpoch, RangeId, Rejected, Request, Sequence, Slot, StoreId,
    Timestamp,
};

use super::event::{AttemptId, CallId, Effort};
use super::policy::RetryPolicy;
use super::ranges::Point;

/// An attempt without an answer.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    pub(crate) number: u32,
    pub(crate) store: StoreId,
    pub(crate) sent_at: Moment,
    /// As the request named it.
    pub(crate) range: Option<(RangeId, RangeEpoch)>,
}

/// The attempts of one call. The current one decides what happens next; an older one was given up but may still answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attempts {
    pub(crate) count: u32,
    pub(crate) current: Option<Open>,
    pub(crate) older: Vec<Open>,
    /// An attempt ended without a word on what became of it.
    pub(crate) lost: bool,
}

impl Attempts {
    /// Takes out an attempt that has been answered; true when it was the current one.
    pub(crate) fn close(&mut self, number: u32) -> Option<(Open, bool)> {
        if self.current.as_ref().is_some_and(|open| open.number == number) {
            return self.current.take().map(|open| (open, true));
        }
        let at = self.older.iter().position(|open| open.number == number)?;
        Some((self.older.swap_remove(at), false))
    }

    /// The current attempt is given up; its answer is still welcome.
    pub(crate) fn give_up(&mut self) {
        self.older.extend(self.current.take());
    }

    /// No attempt on `store` will be answered any more. Returns whether one of them was the current one.
    pub(crate) fn lose(&mut self, store: StoreId) -> bool {
        let before = self.older.len();
        self.older.retain(|open| open.store != store);
        let current = self.current.take_if(|open| open.store == store).is_some();
        self.lost |= current || self.older.len() != before;
        current
    }

    /// True when some attempt may have been applied, or may yet be.
    pub(crate) fn is_uncertain(&self) -> bool {
        self.lost || self.current.is_some() || !self.older.is_empty()
    }
}

/// What a write is known by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WriteName {
    pub(crate) client: ClientId,
    pub(crate) slot: Slot,
    pub(crate) sequence: Sequence,
    /// The same for all attempts that may meet each other: a record that is kept until then covers them all.
    pub(crate) last_moment: Timestamp,
}

/// What a call is waiting for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// An answer.
    Sent,
    /// News: a leader, a look-up, a store; or its next unbidden try.
    Waiting,
    /// Time.
    Paused,
    /// A slot.
    ForSlot,
}

/// Whether a look-up was made on behalf of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LookUp {
    None,
    /// The call waits for it, but not for ever.
    UnderWay,
    /// It ended, or the call waited long enough: without a range known the call goes to some store, which looks itself.
    Over,
}

/// How often a call has waited for what.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Patience {
    pub(crate) waits: u32,
    pub(crate) redirects: u32,
    pub(crate) slow: u32,
    /// Attempts granted by the policy.
    pub(crate) retries: u32,
}

/// A part of a get over several ranges.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// What the application asked.
    pub(crate) whole: CallId,
    /// Where each key of the part stands in the whole.
    pub(crate) positions: Vec<usize>,
}

/// A call that is not finished.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) request: Request,
    pub(crate) deadline: Moment,
    pub(crate) retry: RetryPolicy,
    /// No attempt but the first begins at or after it.
    pub(crate) last_start: Moment,
    pub(crate) write: Option<WriteName>,
    pub(crate) attempts: Attempts,
    pub(crate) patience: Patience,
    pub(crate) look_up: LookUp,
    /// The store that failed last.
    pub(crate) avoid: Option<StoreId>,
    /// The last refusal.
    pub(crate) last: Option<Rejected>,
    pub(crate) part: Option<Part>,
    state: State,
    /// When the call wants to be looked at.
    wake: Moment,
}

impl Pending {
    pub(crate) fn new(request: Request, deadline: Moment, now: Moment, retry: RetryPolicy) -> Self {
        Self {
            request,
            deadline,
            retry,
            last_start: now.after(retry.budget_left_from_start()),
            write: None,
            attempts: Attempts::default(),
            patience: Patience::default(),
            look_up: LookUp::None,
            avoid: None,
            last: None,
            part: None,
            state: State::Paused,
            wake: deadline,
        }
    }

    /// A part of this call, which takes over what is left of its patience.
    pub(crate) fn part(&self, request: Request, part: Part) -> Self {
        Self {
            last_start: self.last_start,
            patience: Patience { retries: 0, ..self.patience },
            part: Some(part),
            ..Self::new(request, self.deadline, Moment::ZERO, self.retry)
        }
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// What it took so far.
    pub(crate) fn effort(&self) -> Effort {
        Effort { attempts: self.attempts.count, retries: self.patience.retries }
    }
}

/// All calls that are not finished.
///
/// Invariants:
/// - `timers` has each call once, at its `wake`
/// - `waiting` has each call in state `Waiting` once
#[derive(Clone, Debug, Default)]
pub(crate) struct Calls {
    pending: BTreeMap<CallId, Pending>,
    timers: BTreeSet<(Moment, CallId)>,
    waiting: BTreeSet<(Key, CallId)>,
}

impl Calls {
    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    pub(crate) fn get(&self, call: CallId) -> Option<&Pending> {
        self.pending.get(&call)
    }

    pub(crate) fn get_mut(&mut self, call: CallId) -> Option<&mut Pending> {
        self.pending.get_mut(&call)
    }

    /// Adds a call, which is then to be routed.
    pub(crate) fn insert(&mut self, call: CallId, pending: Pending) {
        self.timers.insert((pending.wake, call));
        let twin = self.pending.insert(call, pending);
        assert!(twin.is_none(), "the name of a call is used once");
    }

    /// Takes a call out.
    pub(crate) fn remove(&mut self, call: CallId) -> Option<Pending> {
        let pending = self.pending.remove(&call)?;
        self.timers.remove(&(pending.wake, call));
        if pending.state == State::Waiting {
            self.waiting.remove(&(waiting_at(&pending.request), call));
        }
        Some(pending)
    }

    /// From now on `call` is in `state` and is looked at again at `wake`, or at its deadline if that is earlier.
    pub(crate) fn set(&mut self, call: CallId, state: State, wake: Moment) {
        let Some(pending) = self.pending.get_mut(&call) else { return };
        let mut wake = wake.min(pending.deadline);
        if state != State::Sent && pending.attempts.count > 0 {
            wake = wake.min(pending.last_start);
        }
        if wake != pending.wake {
            self.timers.remove(&(pending.wake, call));
            self.timers.insert((wake, call));
            pending.wake = wake;
        }
        if (state == State::Waiting) != (pending.state == State::Waiting) {
            let entry = (waiting_at(&pending.request), call);
            match state {
                State::Waiting => self.waiting.insert(entry),
                _ => self.waiting.remove(&entry),
            };
        }
        pending.state = state;
    }

    /// When the first call wants to be looked at.
    pub(crate) fn first_wake(&self) -> Option<Moment> {
        self.timers.first().map(|(wake, _)| *wake)
    }

    /// The first call that wants to be looked at by now.
    pub(crate) fn due(&self, now: Moment) -> Option<CallId> {
        self.timers.first().filter(|(wake, _)| *wake <= now).map(|(_, call)| *call)
    }

    /// The waiting calls that `bounds` concerns.
    pub(crate) fn waiting_for(&self, bounds: &KeyRange) -> Vec<CallId> {
        let from = (bounds.start.clone(), CallId(0));
        // The end is included: a reverse scan waits at the key before which it begins.
        let concerned = |key: &Key| bounds.end.as_ref().is_none_or(|end| key <= end);
        self.waiting.range(from..).take_while(|(key, _)| concerned(key)).map(|(_, call)| *call).collect()
    }

    /// The attempts on `store` are lost. Returns the calls of which one was the current one.
    pub(crate) fn lose(&mut self, store: StoreId) -> Vec<CallId> {
        let losing = |(call, pending): (&CallId, &mut Pending)| pending.attempts.lose(store).then_some(*call);
        self.pending.iter_mut().filter_map(losing).collect()
    }

    /// Checks the invariants; the error names the one that is broken.
    pub(crate) fn check(&self) -> Result<(), String> {
        let mut slots = BTreeSet::new();
        for (call, pending) in &self.pending {
            if !self.timers.contains(&(pending.wake, *call)) {
                return Err(format!("{call:?} has no timer"));
            }
            let waits = self.waiting.contains(&(waiting_at(&pending.request), *call));
            if waits != (pending.state == State::Waiting) {
                return Err(format!("{call:?} is {:?} and waits: {waits}", pending.state));
            }
            if pending.attempts.current.is_some() != (pending.state == State::Sent) {
                return Err(format!("{call:?} is {:?} with {:?}", pending.state, pending.attempts));
            }
            if pending.write.is_some_and(|write| !slots.insert(write.slot)) {
                return Err(format!("{call:?} shares its slot"));
            }
        }
        let counted = self.timers.len() == self.pending.len() && self.waiting.len() <= self.pending.len();
        counted.then_some(()).ok_or_else(|| "an index names a call that is gone".to_owned())
    }

    /// Names an attempt.
    pub(crate) fn attempt(call: CallId, open: &Open) -> AttemptId {
        AttemptId::new(call, open.number)
    }
}

fn waiting_at(request: &Request) -> Key {
    match Point::of(request) {
        Point::At(key) | Point::Before(Some(key)) => key,
        // Behind every key that is in use; the range without an end includes it.
        Point::Before(None) => Key::bound(KeyspaceId(u32::MAX), b""),
    }
}
