//! The life of a write on the leader.
//!
//! ```text
//! admit ─▶ latches ─▶ evaluate (when something must be read) ─▶ ready ─▶ batch ─▶ proposed ─▶ applied ─▶ answered
//!            │              └─ wrote nothing, first attempt: confirmed like a read ──────────────────────▶ answered
//!            └─ the slot's record decides ───────────────────────────────────────────────────────────────▶ answered
//! ```
//!
//! What was written is answered before anything else is said of its duplicate: a refusal that no other range or later attempt
//! can undo (keys that a split has put into two ranges, a last moment that has passed) waits for the slot's record.
//!
//! A blind write whose slot's record is known goes from its latches to ready at once. Latches are held until the entry is applied.
//! A leader that steps down refuses what was not proposed; what was is answered when an entry is applied that says what became of it.

mod admission;
mod outputs;
mod settle;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use holdfast_types::{
    Hlc, LeaderHint, LogIndex, Moment, RangeDescriptor, RangeId, RangeRequest, Rejected, Request, Response, Term,
    Timestamp, limits,
};

use self::admission::{charged_bytes, check_evaluable, latch_of_slot, latches_of, record_decides_first};
pub use self::admission::{check_bounds, check_read};
pub use self::outputs::{AdminWrite, Batch, Now, PipelineOutput};
use crate::command::{Command, CommandBody, Completion, EvaluatedWrite, WriteOutcome};
use crate::effect::Outcome;
use crate::evaluate::{Draft, Evaluated, Evaluation, EvaluationToken, Found, FoundWhat};
use crate::input::Ticket;
use crate::latches::{LatchId, Latches, Span, Wanted};
use crate::range_state::RangeState;
use crate::reader::ReadFault;
use crate::slots::{SlotCache, Verdict, judge, request_hash};

/// A write on its way.
#[derive(Clone, Debug)]
struct Write {
    /// `None`: answered already, because its deadline passed after it was proposed.
    ticket: Option<Ticket>,
    deadline: Moment,
    size_bytes: usize,
    completion: Option<Completion>,
    first_attempt: bool,
    is_split: bool,
    stage: Stage,
}

#[derive(Clone, Debug)]
enum Stage {
    /// For its latches.
    Waiting(Asked),
    /// Off the worker.
    Evaluating,
    /// For the next batch.
    Ready(Ready),
    /// In a batch or in the log.
    Proposed,
    /// It wrote nothing; without latches.
    Confirming(Response),
}

#[derive(Clone, Debug)]
enum Asked {
    Request(Box<RangeRequest>),
    /// A request that cannot be evaluated, for this reason. It may be the duplicate of one that was, so its slot's record is
    /// looked up before it is refused.
    Refused(Box<RangeRequest>, Rejected),
    Admin(AdminWrite),
}

#[derive(Clone, Debug)]
enum Ready {
    Draft(Draft),
    Admin(AdminWrite),
}

/// An entry in the log that is not applied yet.
#[derive(Clone, Debug)]
struct InFlight {
    index: LogIndex,
    term: Term,
    writes: Vec<LatchId>,
}

/// What a leader knows of its range.
#[derive(Clone, Debug)]
struct Leading {
    descriptor: RangeDescriptor,
    last_timestamp: Timestamp,
}

/// The writes of one range, from admission to answer.
///
/// Invariants (see [`Pipeline::check`]):
/// - every ticket is answered exactly once
/// - without leadership there are no latches, no known slots, and only proposed writes
/// - entries in flight are in the order of the log
/// - the number and the bytes of writes stay within their limits
#[derive(Clone, Debug)]
pub struct Pipeline {
    range: RangeId,
    leading: Option<Leading>,
    writes: BTreeMap<LatchId, Write>,
    bytes: usize,
    latches: Latches,
    slots: SlotCache,
    ready: BTreeSet<LatchId>,
    in_flight: VecDeque<InFlight>,
    confirming: BTreeMap<Ticket, LatchId>,
    deadlines: BTreeSet<(Moment, LatchId)>,
    splits: usize,
}

impl Pipeline {
    /// A pipeline that refuses everything until it leads.
    #[must_use]
    pub fn new(range: RangeId) -> Self {
        Self {
            range,
            leading: None,
            writes: BTreeMap::new(),
            bytes: 0,
            latches: Latches::default(),
            slots: SlotCache::default(),
            ready: BTreeSet::new(),
            in_flight: VecDeque::new(),
            confirming: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            splits: 0,
        }
    }

    /// Begins to take writes. To be called when the first entry of the leader's own term is applied, with the state after it: then
    /// every earlier write is applied or lost. The range's clock must have observed `state.last_timestamp`.
    pub fn lead(&mut self, state: &RangeState) {
        let descriptor = state.descriptor.clone();
        self.leading = Some(Leading { descriptor, last_timestamp: state.last_timestamp });
    }

    /// Takes a client's write in. Reads do not come here.
    pub fn admit(&mut self, ticket: Ticket, request: RangeRequest, deadline: Moment, now: Now) -> Vec<PipelineOutput> {
        let Some(leading) = &self.leading else {
            return vec![PipelineOutput::refused(ticket, self.not_leader(None))];
        };
        let size_bytes = charged_bytes(&request.request);
        if let Err(rejected) = self.check_admission(size_bytes, deadline, now) {
            return vec![PipelineOutput::refused(ticket, rejected)];
        }
        let refused = check_evaluable(&request, &leading.descriptor, now).err();
        if let Some(rejected) = &refused
            && !record_decides_first(&request, rejected)
        {
            return vec![PipelineOutput::refused(ticket, rejected.clone())];
        }
        let wanted = match &refused {
            None => latches_of(&request, &leading.descriptor.bounds),
            Some(_) => latch_of_slot(&request),
        };
        let write = Write {
            ticket: Some(ticket),
            deadline,
            size_bytes,
            completion: request.write.map(|write| Completion {
                client: write.id.client,
                slot: write.id.slot,
                sequence: write.id.sequence,
                last_moment: write.last_moment,
                request_hash: request_hash(&request.request),
            }),
            first_attempt: request.write.is_none_or(|write| write.attempt <= 1),
            is_split: false,
            stage: Stage::Waiting(match refused {
                None => Asked::Request(Box::new(request)),
                Some(rejected) => Asked::Refused(Box::new(request), rejected),
            }),
        };
        self.enter(write, wanted, now)
    }

    /// Takes an administrative write in. It is answered with the descriptor when it is applied.
    pub fn admit_admin(
        &mut self,
        ticket: Ticket,
        write: AdminWrite,
        deadline: Moment,
        now: Now,
    ) -> Vec<PipelineOutput> {
        if self.leading.is_none() {
            return vec![PipelineOutput::refused(ticket, self.not_leader(None))];
        }
        let size_bytes = write.size_bytes();
        if let Err(rejected) = self.check_admission(size_bytes, deadline, now) {
            return vec![PipelineOutput::refused(ticket, rejected)];
        }
        let mut wanted = Wanted::default();
        let is_split = matches!(write, AdminWrite::Split(_));
        if is_split {
            wanted.set_span(Span::All);
            self.splits += 1;
        }
        let stage = Stage::Waiting(Asked::Admin(write));
        let ticket = Some(ticket);
        let write = Write { ticket, deadline, size_bytes, completion: None, first_attempt: true, is_split, stage };
        self.enter(write, wanted, now)
    }

    fn check_admission(&self, size_bytes: usize, deadline: Moment, now: Now) -> Result<(), Rejected> {
        if deadline <= now.moment {
            return Err(Rejected::DeadlineExceeded);
        }
        let full = self.writes.len() >= limits::PIPELINE_REQUESTS || self.bytes + size_bytes > limits::PIPELINE_BYTES;
        if full {
            return Err(Rejected::Busy { retry_after: limits::BUSY_RETRY_AFTER });
        }
        Ok(())
    }

    fn enter(&mut self, write: Write, wanted: Wanted, now: Now) -> Vec<PipelineOutput> {
        let (id, granted) = self.latches.acquire(wanted);
        self.deadlines.insert((write.deadline, id));
        self.bytes += write.size_bytes;
        self.writes.insert(id, write);
        let mut outputs = Vec::new();
        if granted {
            self.start_all(vec![id], now, &mut outputs);
        }
        outputs
    }

    /// Goes on with writes whose latches were granted; who is decided at once lets others pass.
    fn start_all(&mut self, granted: Vec<LatchId>, now: Now, outputs: &mut Vec<PipelineOutput>) {
        let mut waiting = VecDeque::from(granted);
        while let Some(id) = waiting.pop_front() {
            if let Err(outcome) = self.start(id, now, outputs) {
                waiting.extend(self.finish(id, outcome, outputs));
            }
        }
    }

    /// Brings a write that has its latches to the next stage; the error is the answer of one that is decided.
    fn start(
        &mut self,
        id: LatchId,
        now: Now,
        outputs: &mut Vec<PipelineOutput>,
    ) -> Result<(), Result<Outcome, Rejected>> {
        let (Some(leading), Some(write)) = (&self.leading, self.writes.get_mut(&id)) else {
            return Ok(());
        };
        // Whatever is left here is overwritten on every way on.
        let Stage::Waiting(asked) = std::mem::replace(&mut write.stage, Stage::Proposed) else {
            unreachable!("latches are granted once");
        };
        let (request, refused) = match asked {
            // It may have waited for a split, or for long.
            Asked::Request(request) => {
                let refused = check_evaluable(&request, &leading.descriptor, now).err();
                (*request, refused)
            }
            Asked::Refused(request, rejected) => (*request, Some(rejected)),
            Asked::Admin(admin) => {
                if let AdminWrite::Split(split) = &admin
                    && split.sides(&leading.descriptor).is_none()
                {
                    let bounds = &leading.descriptor.bounds;
                    return Err(Err(Rejected::invalid(format!("{} does not cut {bounds:?} in two", split.at))));
                }
                write.stage = Stage::Ready(Ready::Admin(admin));
                self.ready.insert(id);
                return Ok(());
            }
        };
        let lookup = match &write.completion {
            None => None,
            Some(completion) => match self.slots.get(completion.client, completion.slot) {
                None => Some(*completion),
                Some(record) => match judge(record, completion) {
                    Verdict::Known(outcome) => return Err(outcome.map(Outcome::Response)),
                    Verdict::Evaluate => None,
                },
            },
        };
        if let Some(rejected) = &refused
            && (lookup.is_none() || !record_decides_first(&request, rejected))
        {
            return Err(Err(rejected.clone()));
        }
        match request.request {
            Request::Write { conditions, mutations } if conditions.is_empty() && lookup.is_none() => {
                write.stage = Stage::Ready(Ready::Draft(Draft::blind(mutations)));
                self.ready.insert(id);
            }
            request => {
                write.stage = Stage::Evaluating;
                let bounds = leading.descriptor.bounds.clone();
                let (token, range, now) = (EvaluationToken(id.0), self.range, now.fleet);
                let settled = leading.last_timestamp;
                let evaluation = Evaluation { token, range, bounds, now, settled, lookup, refused, request };
                outputs.push(PipelineOutput::Evaluate(Box::new(evaluation)));
            }
        }
        Ok(())
    }

    /// Goes on with an evaluated write. A fault means that the replica must be quarantined.
    pub fn evaluated(&mut self, evaluated: Evaluated, now: Now) -> Result<Vec<PipelineOutput>, ReadFault> {
        let id = LatchId(evaluated.token.0);
        let Found { record, what } = match evaluated.found {
            Ok(found) => found,
            Err(ReadFault::Exhausted(_)) => return Ok(self.not_evaluated(id, now)),
            Err(fault) => return Err(fault),
        };
        let Some(write) = self.writes.get_mut(&id).filter(|write| matches!(write.stage, Stage::Evaluating)) else {
            return Ok(Vec::new());
        };
        if let (Some(record), Some(completion)) = (record, &write.completion) {
            self.slots.put(completion.client, completion.slot, record);
        }
        let mut outputs = Vec::new();
        // The look-up took its time: the record may have been removed before it, but then the last moment has passed.
        let late = write.completion.is_some_and(|completion| completion.last_moment < now.fleet);
        let decided = match what {
            FoundWhat::Known(outcome) => Some(outcome.map(Outcome::Response)),
            FoundWhat::Draft(_) if late => Some(Err(Rejected::PastLastMoment { now: now.fleet })),
            FoundWhat::Draft(draft) => {
                let granted = self.drafted(id, draft, &mut outputs);
                self.start_all(granted, now, &mut outputs);
                None
            }
        };
        if let Some(outcome) = decided {
            let granted = self.finish(id, outcome, &mut outputs);
            self.start_all(granted, now, &mut outputs);
        }
        Ok(outputs)
    }

    /// The store could not look at the data just now: nothing was done.
    fn not_evaluated(&mut self, id: LatchId, now: Now) -> Vec<PipelineOutput> {
        let mut outputs = Vec::new();
        if self.writes.get(&id).is_some_and(|write| matches!(write.stage, Stage::Evaluating)) {
            let busy = Err(Rejected::Busy { retry_after: limits::BUSY_RETRY_AFTER });
            let granted = self.finish(id, busy, &mut outputs);
            self.start_all(granted, now, &mut outputs);
        }
        outputs
    }

    /// A draft that writes, whose outcome must be recorded, or that time decided, is ready. Else the answer is a read: it needs no latches any
    /// more, but a proof that this leader was not replaced before it looked.
    fn drafted(&mut self, id: LatchId, draft: Draft, outputs: &mut Vec<PipelineOutput>) -> Vec<LatchId> {
        let write = self.writes.get_mut(&id).expect("the caller looked it up");
        let more_bytes = draft.size_bytes().saturating_sub(write.size_bytes);
        write.size_bytes += more_bytes;
        self.bytes += more_bytes;
        let recorded = write.completion.is_some() && !write.first_attempt;
        if draft.mutations.is_empty() && !recorded && draft.decided_at.is_none() {
            let at = self.leading.as_ref().map_or(Timestamp::ZERO, |leading| leading.last_timestamp);
            write.stage = Stage::Confirming(draft.outcome.response(at));
            let ticket = write.ticket.expect("only a proposed write lives on without its ticket");
            self.confirming.insert(ticket, id);
            outputs.push(PipelineOutput::ConfirmOutcome { ticket });
            return self.latches.release(id);
        }
        let granted = match &draft.outcome {
            WriteOutcome::RangeDeleted { resume: Some(resume), .. } => self.latches.narrow_end(id, resume),
            _ => Vec::new(),
        };
        write.stage = Stage::Ready(Ready::Draft(draft));
        self.ready.insert(id);
        granted
    }

    /// True when there is something to propose.
    #[must_use]
    pub fn has_batch(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Takes requests that are ready, in the order of arrival, up to about `max_bytes` and at least one, for one entry. Their timestamps
    /// come from the range's clock, so the order of the log is the order of timestamps.
    pub fn take_batch(&mut self, hlc: &mut Hlc, wall_ms: u64, max_bytes: usize) -> Option<Batch> {
        let bounds_epoch = self.leading.as_ref()?.descriptor.epoch.bounds;
        let mut taken = Vec::new();
        let mut evaluated = Vec::new();
        let mut size_bytes = 0;
        while let Some(id) = self.ready.first().copied() {
            let write = self.writes.get_mut(&id).expect("what is ready is on its way");
            let (alone, more_bytes) = match &write.stage {
                Stage::Ready(Ready::Draft(draft)) => (false, draft.size_bytes()),
                _ => (true, 0),
            };
            if !taken.is_empty() && (alone || size_bytes + more_bytes > max_bytes) {
                break;
            }
            size_bytes += more_bytes;
            self.ready.pop_first();
            taken.push(id);
            let Stage::Ready(ready) = std::mem::replace(&mut write.stage, Stage::Proposed) else {
                unreachable!("it is in the list of what is ready");
            };
            let draft = match ready {
                Ready::Draft(draft) => draft,
                Ready::Admin(admin) => {
                    let command = Command { bounds_epoch, body: admin.into_body(hlc.next(wall_ms)) };
                    return Some(Batch { command: command.encode(), writes: taken });
                }
            };
            let Draft { mutations, outcome, decided_at } = draft;
            hlc.observe(decided_at.unwrap_or(Timestamp::ZERO));
            let (timestamp, completion) = (hlc.next(wall_ms), write.completion);
            evaluated.push(EvaluatedWrite { timestamp, mutations, outcome, completion });
        }
        if taken.is_empty() {
            return None;
        }
        let command: Bytes = Command { bounds_epoch, body: CommandBody::Writes(evaluated) }.encode();
        Some(Batch { command, writes: taken })
    }

    /// The batch is in the log. Indexes grow; `term` is the leader's.
    pub fn proposed(&mut self, batch: Batch, index: LogIndex, term: Term) {
        assert!(self.in_flight.back().is_none_or(|last| last.index < index), "proposals come in the order of the log");
        self.in_flight.push_back(InFlight { index, term, writes: batch.writes });
    }

    fn not_leader(&self, leader: Option<LeaderHint>) -> Rejected {
        Rejected::NotLeader { range: self.range, leader }
    }
}
