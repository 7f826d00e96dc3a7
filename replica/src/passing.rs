//! The passing of time as the range has it: what a read says of the end of a value.
//!
//! Clocks of two leaders differ. If each of them judged by its own whether a value has expired, a value that one was seen to be
//! without would be there again under the next. So a value has expired when its end lies at or before the range's time, the newest
//! timestamp applied, which is the same for every leader and only grows. An ordinary write moves it on. A read that comes upon a value
//! that has expired by the leader's clock, but not yet by the range's time, waits here for an entry that says how late it is, and
//! is served then. All such reads share one entry; other reads never wait for it, and a range at rest writes none.

use holdfast_types::{LogIndex, Moment, Rejected, Timestamp, limits};

use crate::command::{Command, CommandBody};
use crate::effect::Effect;
use crate::input::Ticket;
use crate::replica::Replica;
use crate::view::StoreView;

/// Reads that wait for the range's time at once; more are refused as busy.
const MAX_WAITING: usize = 16_384;

#[derive(Debug)]
struct Waiting {
    ticket: Ticket,
    to: Timestamp,
    deadline: Moment,
}

/// Reads of one leadership that wait until the range's time has come so far.
#[derive(Default, Debug)]
pub(crate) struct Passing {
    waiting: Vec<Waiting>,
    /// The entry that is on its way to be applied.
    proposed: Option<LogIndex>,
}

impl Passing {
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn next_wake(&self) -> Option<Moment> {
        self.waiting.iter().map(|read| read.deadline).min()
    }

    /// Everything that waits, when the leadership ends.
    pub(crate) fn drain(self) -> impl Iterator<Item = Ticket> {
        self.waiting.into_iter().map(|read| read.ticket)
    }
}

impl Replica {
    /// A read that must not be served before the range's time has come so far.
    pub(crate) fn pass_time(&mut self, ticket: Ticket, to: Timestamp, view: &StoreView<'_>) {
        self.wake(view.now);
        let Some(leading) = self.leading.as_mut().filter(|leading| leading.leads) else {
            let rejected = self.not_leader();
            return self.answer(ticket, Err(rejected));
        };
        if leading.passing.waiting.len() >= MAX_WAITING {
            return self.answer(ticket, Err(Rejected::Busy { retry_after: limits::BUSY_RETRY_AFTER }));
        }
        leading.passing.waiting.push(Waiting { ticket, to, deadline: view.now.after(limits::MAX_DEADLINE) });
    }

    /// Lets go whom the range's time has reached, and proposes how late it is for the rest.
    pub(crate) fn pump_passing(&mut self, view: &StoreView<'_>) {
        let (reached, applied) = (self.summary.last_timestamp, LogIndex(self.raw.raft.raft_log.applied));
        let Some(leading) = self.leading.as_mut().filter(|leading| !leading.passing.waiting.is_empty()) else { return };
        let passing = &mut leading.passing;
        // An entry that a split before it made void is proposed anew.
        passing.proposed = passing.proposed.filter(|index| *index > applied);
        let (ready, waiting): (Vec<_>, Vec<_>) = passing.waiting.drain(..).partition(|read| read.to <= reached);
        let (late, waiting): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|read| read.deadline <= view.now);
        let furthest = waiting.iter().map(|read| read.to).max();
        passing.waiting = waiting;
        let is_proposed = passing.proposed.is_some();
        self.effects.extend(ready.into_iter().map(|read| Effect::Read { ticket: read.ticket, confirmed: false }));
        for read in late {
            self.answer(read.ticket, Err(Rejected::DeadlineExceeded));
        }
        if let Some(to) = furthest.filter(|_| !is_proposed && self.has_room()) {
            self.propose_time(to, view);
        }
    }

    fn propose_time(&mut self, to: Timestamp, view: &StoreView<'_>) {
        self.hlc.observe(to);
        let body = CommandBody::PassTime(self.hlc.next(view.fleet_ms));
        let command = Command { bounds_epoch: self.descriptor.epoch.bounds, body }.encode();
        if self.raw.propose(Vec::new(), command.to_vec()).is_ok() {
            let index = LogIndex(self.raw.raft.raft_log.last_index());
            if let Some(leading) = &mut self.leading {
                leading.passing.proposed = Some(index);
            }
            self.drain_raft(view);
        }
    }
}
