//! How writes end: applied, lost, expired, refused.

use holdfast_types::{LeaderHint, Moment, RangeDescriptor, Rejected, Response};

use super::{InFlight, Now, Pipeline, PipelineOutput, Stage};
use crate::apply::{Applied, AppliedChange, AppliedEntry};
use crate::effect::Outcome;
use crate::input::Ticket;
use crate::latches::LatchId;
use crate::pipeline::Batch;
use crate::slots::CompletionRecord;

impl Pipeline {
    /// Raft did not take the batch: nothing of it happened, or will.
    pub fn not_proposed(&mut self, batch: Batch, why: &Rejected, now: Now) -> Vec<PipelineOutput> {
        let mut outputs = Vec::new();
        let mut granted = Vec::new();
        for id in batch.writes {
            granted.extend(self.finish(id, Err(why.clone()), &mut outputs));
        }
        self.start_all(granted, now, &mut outputs);
        outputs
    }

    /// Entries were applied here, on the leader or not.
    pub fn applied(&mut self, applied: &Applied, now: Now) -> Vec<PipelineOutput> {
        if let Some(leading) = &mut self.leading {
            leading.last_timestamp = applied.state.last_timestamp;
            if leading.descriptor.epoch != applied.state.descriptor.epoch {
                leading.descriptor = applied.state.descriptor.clone();
            }
        }
        let mut outputs = Vec::new();
        let mut granted = Vec::new();
        for entry in &applied.results {
            while let Some(front) = self.in_flight.front() {
                if front.index > entry.index && front.term >= entry.term {
                    break;
                }
                let settled = self.in_flight.pop_front().expect("there is a front");
                if (settled.index, settled.term) == (entry.index, entry.term) {
                    self.settle(settled, entry, &applied.state.descriptor, &mut granted, &mut outputs);
                } else {
                    let outcome = self.outcome_of_unseen(&settled, entry);
                    self.give_up(&settled, &outcome, &mut granted, &mut outputs);
                }
            }
        }
        self.start_all(granted, now, &mut outputs);
        outputs
    }

    fn settle(
        &mut self,
        settled: InFlight,
        entry: &AppliedEntry,
        descriptor: &RangeDescriptor,
        granted: &mut Vec<LatchId>,
        outputs: &mut Vec<PipelineOutput>,
    ) {
        if let AppliedChange::Writes(responses) = &entry.change {
            assert!(responses.len() == settled.writes.len(), "an entry answers the requests that it was made of");
            for (id, response) in settled.writes.into_iter().zip(responses) {
                self.remember(id, Some(response));
                granted.extend(self.finish(id, Ok(Outcome::Response(response.clone())), outputs));
            }
            return;
        }
        for id in settled.writes {
            let outcome = match &entry.change {
                AppliedChange::Dropped => Err(Rejected::WrongRange { known: vec![descriptor.clone()] }),
                AppliedChange::Split { left, .. } => Ok(Outcome::Changed(left.clone())),
                _ => Ok(Outcome::Changed(descriptor.clone())),
            };
            self.remember(id, None);
            granted.extend(self.finish(id, outcome, outputs));
        }
    }

    /// What an applied entry says about a proposal that it is not. Terms never fall along the log: at or behind an entry of a
    /// later term there is none of an earlier one, so the write never happened. An entry that was passed over unseen may have been it.
    fn outcome_of_unseen(&self, proposed: &InFlight, entry: &AppliedEntry) -> Rejected {
        if proposed.index >= entry.index {
            return self.not_leader(None);
        }
        Rejected::Ambiguous("the entry was passed over".to_string())
    }

    fn give_up(
        &mut self,
        proposed: &InFlight,
        why: &Rejected,
        granted: &mut Vec<LatchId>,
        outputs: &mut Vec<PipelineOutput>,
    ) {
        for id in &proposed.writes {
            self.remember(*id, None);
            granted.extend(self.finish(*id, Err(why.clone()), outputs));
        }
    }

    /// Notes the new record of a write's slot, or that it must be looked up again.
    fn remember(&mut self, id: LatchId, response: Option<&Response>) {
        let Some(completion) = self.writes.get(&id).and_then(|write| write.completion) else {
            return;
        };
        match response {
            Some(response) if self.leading.is_some() => {
                let record = CompletionRecord::answered(&completion, response);
                self.slots.put(completion.client, completion.slot, Some(record));
            }
            _ => self.slots.forget(completion.client, completion.slot),
        }
    }

    /// Takes a write out and answers it, unless it was answered before. Gives whose latches are granted now.
    pub(super) fn finish(
        &mut self,
        id: LatchId,
        outcome: Result<Outcome, Rejected>,
        outputs: &mut Vec<PipelineOutput>,
    ) -> Vec<LatchId> {
        let Some(write) = self.writes.remove(&id) else {
            return Vec::new();
        };
        self.bytes -= write.size_bytes;
        self.splits -= usize::from(write.is_split);
        self.deadlines.remove(&(write.deadline, id));
        match write.stage {
            Stage::Ready(_) => {
                self.ready.remove(&id);
            }
            Stage::Confirming(_) => {
                let ticket = write.ticket.expect("only a proposed write lives on without its ticket");
                self.confirming.remove(&ticket);
            }
            Stage::Waiting(_) | Stage::Evaluating | Stage::Proposed => {}
        }
        outputs.extend(write.ticket.map(|ticket| PipelineOutput::Answer { ticket, outcome }));
        self.latches.release(id)
    }

    /// The leader led still after it had looked: the outcome that wrote nothing may be answered.
    pub fn confirmed(&mut self, ticket: Ticket) -> Vec<PipelineOutput> {
        let mut outputs = Vec::new();
        let Some(id) = self.confirming.remove(&ticket) else {
            return outputs;
        };
        let write = self.writes.get_mut(&id).expect("what is confirmed is on its way");
        let Stage::Confirming(response) = std::mem::replace(&mut write.stage, Stage::Proposed) else {
            unreachable!("it is in the list of what is confirmed");
        };
        self.finish(id, Ok(Outcome::Response(response)), &mut outputs);
        outputs
    }

    /// It could not be confirmed: nothing was written, and the attempt is refused.
    pub fn unconfirmed(&mut self, ticket: Ticket, why: Rejected) -> Vec<PipelineOutput> {
        let mut outputs = Vec::new();
        if let Some(id) = self.confirming.remove(&ticket) {
            self.finish(id, Err(why), &mut outputs);
        }
        outputs
    }

    /// The leadership is over. Everything that is not in the log is refused; the rest waits for what is applied.
    pub fn step_down(&mut self, leader: Option<LeaderHint>) -> Vec<PipelineOutput> {
        self.leading = None;
        self.latches.clear();
        self.slots.clear();
        let logged: std::collections::BTreeSet<LatchId> =
            self.in_flight.iter().flat_map(|entry| entry.writes.iter().copied()).collect();
        let refused: Vec<LatchId> = self.writes.keys().copied().filter(|id| !logged.contains(id)).collect();
        let mut outputs = Vec::new();
        for id in refused {
            self.finish(id, Err(self.not_leader(leader.clone())), &mut outputs);
        }
        outputs
    }

    /// What becomes of proposed writes cannot be seen here any more (the replica is gone, quarantined, or was given a
    /// snapshot): steps down, and their outcome is not known.
    pub fn abandon(&mut self, why: &str) -> Vec<PipelineOutput> {
        let mut outputs = self.step_down(None);
        for entry in std::mem::take(&mut self.in_flight) {
            self.give_up(&entry, &Rejected::Ambiguous(why.to_string()), &mut Vec::new(), &mut outputs);
        }
        outputs
    }

    /// Answers whose deadline has passed. What was proposed goes on without its ticket.
    pub fn expire(&mut self, now: Now) -> Vec<PipelineOutput> {
        let mut outputs = Vec::new();
        let mut granted = Vec::new();
        while let Some((_, id)) = self.deadlines.first().copied().filter(|(deadline, _)| *deadline <= now.moment) {
            self.deadlines.pop_first();
            let write = self.writes.get_mut(&id).expect("a deadline belongs to a write on its way");
            if matches!(write.stage, Stage::Proposed) {
                let why = "the deadline passed while it was being replicated".to_string();
                outputs.extend(
                    write.ticket.take().map(|ticket| PipelineOutput::refused(ticket, Rejected::Ambiguous(why))),
                );
            } else {
                granted.extend(self.finish(id, Err(Rejected::DeadlineExceeded), &mut outputs));
            }
        }
        self.start_all(granted, now, &mut outputs);
        outputs
    }

    /// When [`Pipeline::expire`] has something to do, at the earliest.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// True when no write is on its way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.writes.is_empty()
    }

    /// True from the admission of a split until it is applied or refused: the replicas must not be changed meanwhile.
    #[must_use]
    pub fn splitting(&self) -> bool {
        self.splits > 0
    }

    /// Gives the memory of known slots back, when the range falls asleep.
    pub fn forget_slots(&mut self) {
        self.slots.clear();
    }

    /// Checks the invariants; slow.
    pub fn check(&self) -> Result<(), String> {
        self.latches.check()?;
        let bytes: usize = self.writes.values().map(|write| write.size_bytes).sum();
        if bytes != self.bytes {
            return Err(format!("{} bytes are on their way, counted {}", bytes, self.bytes));
        }
        if self.leading.is_none() && !(self.latches.is_empty() && self.slots.is_empty() && self.ready.is_empty()) {
            return Err("something is latched, known or ready without leadership".to_string());
        }
        if !self.in_flight.iter().is_sorted_by_key(|entry| entry.index) {
            return Err("entries in flight are not in the order of the log".to_string());
        }
        for (id, write) in &self.writes {
            let listed = match write.stage {
                Stage::Ready(_) => self.ready.contains(id),
                Stage::Confirming(_) => write.ticket.is_some_and(|ticket| self.confirming.get(&ticket) == Some(id)),
                Stage::Waiting(_) | Stage::Evaluating => self.leading.is_some(),
                Stage::Proposed => true,
            };
            if !listed {
                return Err(format!("{id:?} is not where it should be: {write:?}"));
            }
        }
        Ok(())
    }
}
