//! Reads: with the lease at once, else confirmed by a quorum (raft's ReadIndex), many under one fresh context.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::collections::{BTreeMap, VecDeque};

use holdfast_types::limits;
use holdfast_types::{Moment, RangeRequest, Rejected, Request, Timestamp};

use crate::effect::Effect;
use crate::input::Ticket;
use crate::pipeline::check_bounds;
use crate::replica::{Replica, Summary};
use crate::view::StoreView;

/// Contexts out at a time: reads that come meanwhile share the next one.
const MAX_ROUNDS: usize = 2;
/// Reads that wait for a quorum at a time; more are refused as busy.
const MAX_WAITING_READS: usize = 16_384;

/// What [`Replica::may_read`] says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReadVerdict {
    /// Read from the snapshot what the range is at this timestamp.
    Serve {
        /// Versions at or before this, as far as they have not expired at it.
        at: Timestamp,
        /// Fleet time. A value that expires after `at` and has expired by now must neither be shown nor be left out: let the range's
        /// time pass first (`Input::PassTime`). See [`crate::evaluate::Unserved`].
        now: Timestamp,
    },
    /// Let the range's time pass first (`Input::PassTime`): the timestamp asked for lies ahead of it.
    PassTime {
        /// How far.
        to: Timestamp,
    },
    /// Not with the lease: ask a quorum first (`Input::ConfirmRead`).
    Confirm,
    /// Answer this.
    Refuse(Rejected),
}

/// What waits for a confirmation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum WaitingFor {
    /// A read that the store will serve.
    Read,
    /// The outcome of a write that wrote nothing.
    Outcome,
}

/// A read that waits, and until when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaitingRead {
    pub(crate) ticket: Ticket,
    pub(crate) deadline: Moment,
    pub(crate) what: WaitingFor,
}

#[derive(Debug)]
struct Round {
    asked_at: Moment,
    reads: Vec<WaitingRead>,
}

/// Reads of one leadership that wait for a quorum.
#[derive(Default, Debug)]
pub(crate) struct QuorumReads {
    forming: Vec<WaitingRead>,
    rounds: BTreeMap<u64, Round>,
    confirmed: VecDeque<(u64, Vec<WaitingRead>)>,
    /// Contexts of a term are numbered and never used again, not even for the same reads.
    next_context: u64,
}

impl QuorumReads {
    fn len(&self) -> usize {
        let asked = self.rounds.values().map(|round| round.reads.len());
        let confirmed = self.confirmed.iter().map(|(_, reads)| reads.len());
        asked.chain(confirmed).fold(self.forming.len(), usize::saturating_add)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.forming.is_empty() && self.rounds.is_empty() && self.confirmed.is_empty()
    }

    pub(crate) fn next_wake(&self) -> Option<Moment> {
        let asked = self.rounds.values().map(|r| r.asked_at.after(limits::READ_INDEX_TIMEOUT));
        asked.chain(self.forming.iter().map(|r| r.deadline)).min()
    }

    /// Everything that waits, when the leadership ends.
    pub(crate) fn drain(self) -> impl Iterator<Item = WaitingRead> {
        let rounds = self.rounds.into_values().flat_map(|r| r.reads);
        self.forming.into_iter().chain(rounds).chain(self.confirmed.into_iter().flat_map(|(_, reads)| reads))
    }
}

fn context(term: u64, number: u64) -> Vec<u8> {
    [term.to_be_bytes(), number.to_be_bytes()].concat()
}

fn context_number(term: u64, context: &[u8]) -> Option<u64> {
    let (head, tail) = context.split_first_chunk::<8>()?;
    let number: [u8; 8] = tail.try_into().ok()?;
    (u64::from_be_bytes(*head) == term).then(|| u64::from_be_bytes(number))
}

impl Replica {
    /// Whether a read may be served from a snapshot of the data instance that was taken *before* this call, with `view.now`
    /// read after it. `confirmed`: a quorum has confirmed the read already.
    #[must_use]
    pub fn may_read(&self, request: &RangeRequest, confirmed: bool, view: &StoreView<'_>) -> ReadVerdict {
        if !self.is_live() {
            return ReadVerdict::Refuse(Rejected::Unavailable("the replica is gone".into()));
        }
        if !confirmed {
            if !self.leads() {
                return ReadVerdict::Refuse(self.not_leader());
            }
            if !self.may_read_with_lease(view) {
                return ReadVerdict::Confirm;
            }
        }
        self.serve_at(request, view)
    }

    /// While a split is on its way a follower may have applied it before us, and the right side may be led elsewhere: the
    /// lease says nothing of that.
    pub(crate) fn may_read_with_lease(&self, view: &StoreView<'_>) -> bool {
        self.leads() && !self.config.quorum_reads && !self.pipeline.splitting() && self.holds_lease(view)
    }

    fn serve_at(&self, request: &RangeRequest, view: &StoreView<'_>) -> ReadVerdict {
        if let Err(rejected) = check_bounds(request, &self.descriptor) {
            return ReadVerdict::Refuse(rejected);
        }
        let asked = match &request.request {
            Request::Get { at, .. } | Request::Scan { at, .. } => *at,
            Request::Write { .. } | Request::DeleteRange { .. } => None,
        };
        let Summary { gc_threshold, last_timestamp } = self.summary;
        if asked.is_some_and(|at| at < gc_threshold) {
            return ReadVerdict::Refuse(Rejected::BelowGcThreshold { threshold: gc_threshold });
        }
        let now = last_timestamp.max(Timestamp::from_ms(view.fleet_ms));
        let Some(at) = asked else {
            // The other pages of a scan are read at the timestamp of the first, so that must stay readable for a while. A range that
            // was not written for long lets its time pass for that, once.
            let is_old = last_timestamp.after(limits::SCAN_READABLE_FOR) < now;
            let begins_scan = matches!(request.request, Request::Scan { .. });
            if begins_scan && is_old {
                return ReadVerdict::PassTime { to: now };
            }
            return ReadVerdict::Serve { at: last_timestamp, now };
        };
        if at > now.after(limits::MAX_CLOCK_OFFSET) {
            let what = format!("the read's timestamp lies ahead of fleet time, which is {now}: read at an earlier one");
            return ReadVerdict::Refuse(Rejected::invalid(what));
        }
        // Below the range's time nothing is written any more and everything has ended that ends: the read can be repeated.
        if at > last_timestamp { ReadVerdict::PassTime { to: at } } else { ReadVerdict::Serve { at, now: at } }
    }

    fn refuse_waiting(&mut self, read: WaitingRead, rejected: Rejected) {
        match read.what {
            WaitingFor::Read => self.answer(read.ticket, Err(rejected)),
            WaitingFor::Outcome => self.outcome_unconfirmed(read.ticket, rejected),
        }
    }

    /// A read that needs a quorum.
    pub(crate) fn confirm_read(&mut self, read: WaitingRead, view: &StoreView<'_>) {
        self.wake(view.now);
        let leads = self.leads();
        let Some(leading) = self.leading.as_mut().filter(|_| leads) else {
            let rejected = self.not_leader();
            self.refuse_waiting(read, rejected);
            return;
        };
        let reads = &mut leading.reads;
        if reads.len() >= MAX_WAITING_READS {
            self.refuse_waiting(read, Rejected::Busy { retry_after: limits::BUSY_RETRY_AFTER });
            return;
        }
        reads.forming.push(read);
    }

    /// Asks for what waits, asks again what was not answered, and lets go what is confirmed and applied.
    pub(crate) fn pump_reads(&mut self, view: &StoreView<'_>) {
        let (leads, term) = (self.leads(), self.raw.raft.term);
        let applied = self.raw.raft.raft_log.applied;
        let Some(leading) = &mut self.leading else { return };
        let reads = &mut leading.reads;
        let late: Vec<u64> = reads
            .rounds
            .iter()
            .filter(|(_, r)| view.now.since(r.asked_at) >= limits::READ_INDEX_TIMEOUT)
            .map(|(number, _)| *number)
            .collect();
        for number in late {
            let Some(round) = reads.rounds.remove(&number) else { continue };
            reads.forming.extend(round.reads);
        }
        let (expired, waiting) = reads.forming.drain(..).partition(|r| r.deadline <= view.now);
        reads.forming = waiting;
        if leads && !reads.forming.is_empty() && reads.rounds.len() < MAX_ROUNDS {
            let number = reads.next_context;
            reads.next_context = number.wrapping_add(1);
            let round = Round { asked_at: view.now, reads: std::mem::take(&mut reads.forming) };
            reads.rounds.insert(number, round);
            self.raw.read_index(context(term, number));
        }
        let mut ready = Vec::new();
        while reads.confirmed.front().is_some_and(|(index, _)| *index <= applied) {
            ready.extend(reads.confirmed.pop_front().into_iter().flat_map(|(_, reads)| reads));
        }
        let expired: Vec<WaitingRead> = expired;
        for read in ready {
            match read.what {
                WaitingFor::Read => self.effects.push(Effect::Read { ticket: read.ticket, confirmed: true }),
                WaitingFor::Outcome => self.outcome_confirmed(read.ticket),
            }
        }
        for read in expired {
            self.refuse_waiting(read, Rejected::DeadlineExceeded);
        }
    }

    /// A quorum confirmed that we led when the context was made; serve once `index` is applied.
    pub(crate) fn read_confirmed(&mut self, index: u64, request_context: &[u8]) {
        let term = self.raw.raft.term;
        let Some(leading) = &mut self.leading else { return };
        let Some(number) = context_number(term, request_context) else { return };
        if let Some(round) = leading.reads.rounds.remove(&number) {
            leading.reads.confirmed.push_back((index, round.reads));
        }
    }
}
