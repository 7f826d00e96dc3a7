//! Requests on their way in: who is served now, who waits for the leader's first entry, who is refused; and what the pipeline
//! of writes asks for.

use std::collections::VecDeque;

use holdfast_types::limits;
use holdfast_types::{LogIndex, Moment, RangeRequest, Rejected};

use crate::apply::Applied;
use crate::command::Split;
use crate::effect::{Effect, Outcome};
use crate::evaluate::Evaluated;
use crate::input::{AdminRequest, PersistToken, Ticket};
use crate::pipeline::{AdminWrite, Now, Pipeline, PipelineOutput};
use crate::range_state::RangeState;
use crate::read::{WaitingFor, WaitingRead};
use crate::replica::Replica;
use crate::view::StoreView;

/// Requests that wait for a new leader's first applied entry.
const MAX_WAITING_REQUESTS: usize = 1_024;
/// Log writes of one range under way at a time: requests that come meanwhile share the next entry.
const MAX_LOG_WRITES: usize = 2;

/// A request that came before the leader could serve.
#[derive(Debug)]
pub(crate) enum WaitingRequest {
    Client { ticket: Ticket, request: Box<RangeRequest>, deadline: Moment },
    Admin { ticket: Ticket, request: Box<AdminRequest>, deadline: Moment },
}

impl WaitingRequest {
    pub(crate) fn into_ticket(self) -> Ticket {
        match self {
            Self::Client { ticket, .. } | Self::Admin { ticket, .. } => ticket,
        }
    }

    pub(crate) fn deadline(&self) -> Moment {
        match self {
            Self::Client { deadline, .. } | Self::Admin { deadline, .. } => *deadline,
        }
    }
}

impl Replica {
    pub(crate) fn new_pipeline(state: &RangeState) -> Pipeline {
        Pipeline::new(state.descriptor.range)
    }

    fn now(&self, view: &StoreView<'_>) -> Now {
        Now::of(view, &self.hlc)
    }

    pub(crate) fn request(&mut self, ticket: Ticket, request: RangeRequest, deadline: Moment, view: &StoreView<'_>) {
        if deadline <= view.now {
            self.answer(ticket, Err(Rejected::DeadlineExceeded));
        } else if !self.leads() {
            self.wait(WaitingRequest::Client { ticket, request: Box::new(request), deadline });
        } else if request.request.is_write() {
            self.wake(view.now);
            if self.raw.store().is_full() {
                self.answer(ticket, Err(Rejected::Busy { retry_after: limits::BUSY_RETRY_AFTER }));
                return;
            }
            let outputs = self.pipeline.admit(ticket, request, deadline, self.now(view));
            self.follow_pipeline(outputs, view);
        } else if self.may_read_with_lease(view) {
            self.effects.push(Effect::Read { ticket, confirmed: false });
        } else {
            self.confirm_read(WaitingRead { ticket, deadline, what: WaitingFor::Read }, view);
        }
    }

    pub(crate) fn admin(&mut self, ticket: Ticket, request: AdminRequest, deadline: Moment, view: &StoreView<'_>) {
        if deadline <= view.now {
            self.answer(ticket, Err(Rejected::DeadlineExceeded));
            return;
        }
        if !self.leads() {
            self.wait(WaitingRequest::Admin { ticket, request: Box::new(request), deadline });
            return;
        }
        self.wake(view.now);
        let write = match request {
            AdminRequest::ChangeMembership(change) => return self.change_membership(ticket, &change, view),
            // Whoever asks wants it to lead, and so it does.
            AdminRequest::Transfer { to } if to == self.id => {
                self.answer(ticket, Ok(Outcome::Changed(self.descriptor.clone())));
                return;
            }
            AdminRequest::Transfer { to } => {
                if let Err(rejected) = self.begin_transfer(to, Some(ticket), view) {
                    self.answer(ticket, Err(rejected));
                }
                return;
            }
            AdminRequest::Split { .. } if self.is_changing() => {
                self.answer(ticket, Err(Rejected::Busy { retry_after: limits::BUSY_RETRY_AFTER }));
                return;
            }
            AdminRequest::Split { at, right } => AdminWrite::Split(Split { at, right, right_leader: self.id }),
            AdminRequest::RaiseGcThreshold { threshold } => AdminWrite::RaiseGcThreshold(threshold),
            AdminRequest::CollectGarbage(garbage) => AdminWrite::CollectGarbage(garbage),
        };
        let outputs = self.pipeline.admit_admin(ticket, write, deadline, self.now(view));
        self.follow_pipeline(outputs, view);
    }

    /// True while the replicas or the leader are about to change: bounds must not change at the same time.
    fn is_changing(&self) -> bool {
        let pending = self.leading.as_ref().is_some_and(|l| l.change.is_some() || l.transfer.is_some());
        pending || self.descriptor.is_joint() || self.raw.raft.has_pending_conf()
    }

    /// A new leader serves when its first entry is applied; until then requests wait. Elsewhere they are refused.
    fn wait(&mut self, waiting: WaitingRequest) {
        match &mut self.leading {
            None => {
                let rejected = self.not_leader();
                self.answer(waiting.into_ticket(), Err(rejected));
            }
            Some(leading) if leading.waiting.len() >= MAX_WAITING_REQUESTS => {
                self.answer(waiting.into_ticket(), Err(Rejected::Busy { retry_after: limits::BUSY_RETRY_AFTER }));
            }
            Some(leading) => leading.waiting.push_back(waiting),
        }
    }

    pub(crate) fn begin_serving(&mut self, waiting: VecDeque<WaitingRequest>, view: &StoreView<'_>) {
        self.hlc.observe(self.summary.last_timestamp);
        if let Some(state) = &self.state {
            self.pipeline.lead(state);
        }
        for request in waiting {
            match request {
                WaitingRequest::Client { ticket, request, deadline } => self.request(ticket, *request, deadline, view),
                WaitingRequest::Admin { ticket, request, deadline } => self.admin(ticket, *request, deadline, view),
            }
        }
    }

    /// Proposes what is ready, and answers what waited too long.
    pub(crate) fn pump_requests(&mut self, view: &StoreView<'_>) {
        self.expire_waiting(view.now);
        if self.pipeline.next_deadline().is_some_and(|at| at <= view.now) {
            let outputs = self.pipeline.expire(self.now(view));
            self.follow_pipeline(outputs, view);
        }
        while self.may_propose() {
            let Some(batch) = self.pipeline.take_batch(&mut self.hlc, view.fleet_ms, limits::ENTRY_TARGET_BYTES) else {
                return;
            };
            if self.raw.propose(Vec::new(), batch.command.to_vec()).is_ok() {
                let index = LogIndex(self.raw.raft.raft_log.last_index());
                self.pipeline.proposed(batch, index, self.term());
                self.drain_raft(view);
            } else {
                let busy = Rejected::Busy { retry_after: limits::BUSY_RETRY_AFTER };
                let outputs = self.pipeline.not_proposed(batch, &busy, self.now(view));
                self.follow_pipeline(outputs, view);
            }
        }
    }

    fn may_propose(&self) -> bool {
        self.pipeline.has_batch() && self.has_room()
    }

    /// True when an entry may be proposed.
    pub(crate) fn has_room(&self) -> bool {
        let room = u64::try_from(self.raw.raft.uncommitted_size() + limits::MAX_ENTRY_BYTES).unwrap_or(u64::MAX);
        self.leads()
            && self.raw.raft.lead_transferee.is_none()
            && self.disk.depth() < MAX_LOG_WRITES
            && room <= limits::RAFT_MAX_UNCOMMITTED_BYTES
    }

    fn expire_waiting(&mut self, now: Moment) {
        let Some(leading) = &mut self.leading else { return };
        let (late, waiting) = std::mem::take(&mut leading.waiting).into_iter().partition(|w| w.deadline() <= now);
        leading.waiting = waiting;
        let late: VecDeque<WaitingRequest> = late;
        for request in late {
            self.answer(request.into_ticket(), Err(Rejected::DeadlineExceeded));
        }
    }

    pub(crate) fn evaluated(&mut self, evaluated: Evaluated, view: &StoreView<'_>) {
        match self.pipeline.evaluated(evaluated, self.now(view)) {
            Ok(outputs) => self.follow_pipeline(outputs, view),
            Err(fault) => self.quarantine(fault.to_string()),
        }
    }

    pub(crate) fn pipeline_applied(&mut self, applied: &Applied, view: &StoreView<'_>) {
        let outputs = self.pipeline.applied(applied, self.now(view));
        self.follow_pipeline(outputs, view);
    }

    fn follow_pipeline(&mut self, outputs: Vec<PipelineOutput>, view: &StoreView<'_>) {
        for output in outputs {
            match output {
                PipelineOutput::Answer { ticket, outcome } => self.answer(ticket, outcome),
                PipelineOutput::Evaluate(evaluation) => self.effects.push(Effect::Evaluate(evaluation)),
                PipelineOutput::ConfirmOutcome { ticket } => self.confirm_outcome(ticket, view),
            }
        }
    }

    /// An outcome that wrote nothing is a read: it needs the lease, now, or a quorum.
    fn confirm_outcome(&mut self, ticket: Ticket, view: &StoreView<'_>) {
        if self.may_read_with_lease(view) {
            self.outcome_confirmed(ticket);
        } else {
            let deadline = view.now.after(limits::MAX_DEADLINE);
            self.confirm_read(WaitingRead { ticket, deadline, what: WaitingFor::Outcome }, view);
        }
    }

    pub(crate) fn outcome_confirmed(&mut self, ticket: Ticket) {
        let outputs = self.pipeline.confirmed(ticket);
        self.answer_all(outputs);
    }

    pub(crate) fn outcome_unconfirmed(&mut self, ticket: Ticket, why: Rejected) {
        let outputs = self.pipeline.unconfirmed(ticket, why);
        self.answer_all(outputs);
    }

    /// Outputs of a pipeline that asks for nothing more.
    fn answer_all(&mut self, outputs: Vec<PipelineOutput>) {
        for output in outputs {
            if let PipelineOutput::Answer { ticket, outcome } = output {
                self.answer(ticket, outcome);
            }
        }
    }

    pub(crate) fn pipeline_step_down(&mut self) {
        let outputs = self.pipeline.step_down(self.leader_hint());
        self.answer_all(outputs);
    }

    /// What was proposed cannot be followed any more.
    pub(crate) fn abandon_pipeline(&mut self, why: &str) {
        let outputs = self.pipeline.abandon(why);
        self.answer_all(outputs);
    }

    /// A read that was to be served with the lease may not.
    pub(crate) fn confirm_again(&mut self, ticket: Ticket, view: &StoreView<'_>) {
        let deadline = view.now.after(limits::MAX_DEADLINE);
        self.confirm_read(WaitingRead { ticket, deadline, what: WaitingFor::Read }, view);
    }

    /// Of a replica that is destroyed: its tombstone is synced.
    pub(crate) fn persisted_dead(&mut self, token: PersistToken) {
        if self.disk.tombstone.is_some_and(|written| written <= token) {
            self.disk.tombstone = None;
            self.effects.push(Effect::Destroyed);
        }
    }
}
