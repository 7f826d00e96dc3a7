//! Reads: the view of the data first, then the clock, then one check of lease, epoch and state together. All reads of a round
//! share the view, which was taken after all of them came in.

use holdfast_engine::Fault;
use holdfast_replica::{Input, ReadVerdict, Ticket};
use holdfast_types::{RangeId, Rejected, Response, Timestamp, limits};

use super::{Cx, Worker};
use crate::core::desk::{Asked, Place};
use crate::core::effect::{Effect, ReadTask};
use crate::core::event::{ReadFailure, ReadTicket};

impl Worker {
    pub(super) fn finish_reads(&mut self, cx: &Cx<'_>) {
        // A read that must be confirmed may be confirmed at once (a range of one voter), and so come back.
        while !self.reads.is_empty() {
            let reads = std::mem::take(&mut self.reads);
            let snapshot = cx.env.snapshot();
            let after = self.cx(cx.env);
            for (range, ticket, confirmed) in reads {
                let Some(task) = self.check_read(range, ticket, confirmed, &after) else { continue };
                let (request, bounds, at, now) = task;
                let snapshot = std::sync::Arc::clone(&snapshot);
                let ticket = ReadTicket(ticket.0);
                self.out.push(Effect::Read(ReadTask { ticket, range, request, bounds, at, now, snapshot }));
            }
            self.run_inputs(&after);
        }
    }

    fn check_read(
        &mut self,
        range: RangeId,
        ticket: Ticket,
        confirmed: bool,
        cx: &Cx<'_>,
    ) -> Option<(holdfast_types::RangeRequest, holdfast_types::KeyRange, Timestamp, Timestamp)> {
        let Some(Asked::Data(asked)) = self.desk.get(ticket).map(|open| open.asked.clone()) else { return None };
        let request = asked.into_request();
        let Some(held) = self.held.get(&range) else {
            self.answer(ticket, Err(Rejected::Unavailable("the replica is gone".into())), cx);
            return None;
        };
        let view = Self::view(&self.support, self.own(), cx);
        match held.replica.may_read(&request, confirmed, &view) {
            ReadVerdict::Serve { at, now } => {
                let bounds = held.standing.descriptor.bounds.clone();
                // A read that has waited for the range's time once is decided by that time: values that expire meanwhile would
                // keep it waiting.
                let now = self.desk.get(ticket).and_then(|open| open.decided_at).unwrap_or(now);
                Some((request, bounds, at, now))
            }
            ReadVerdict::PassTime { to } => {
                self.push(range, Input::PassTime { ticket, to });
                None
            }
            ReadVerdict::Confirm => {
                self.push(range, Input::ConfirmRead { ticket });
                None
            }
            ReadVerdict::Refuse(rejected) => {
                let moved = matches!(rejected, Rejected::NotLeader { .. });
                if moved && self.desk.may_reroute(ticket) {
                    self.route(ticket, cx);
                } else {
                    self.answer(ticket, Err(rejected), cx);
                }
                None
            }
        }
    }

    fn let_time_pass(&mut self, ticket: Ticket, to: Timestamp) {
        if let Some(Place::Replica(range)) = self.desk.decide_at(ticket, to) {
            // A replica that is gone answers whatever it had.
            self.push(range, Input::PassTime { ticket, to });
        }
    }

    pub(super) fn read_done(&mut self, ticket: ReadTicket, outcome: Result<Response, ReadFailure>, cx: &Cx<'_>) {
        let ticket = Ticket(ticket.0);
        match outcome {
            Ok(response) => self.answer(ticket, Ok(response), cx),
            Err(ReadFailure::Rejected(rejected)) => self.answer(ticket, Err(rejected), cx),
            Err(ReadFailure::TimeMustPass { to }) => self.let_time_pass(ticket, to),
            Err(ReadFailure::Fault(fault)) => {
                let place = self.desk.get(ticket).map(|open| open.place);
                if let Some(Place::Replica(range)) = place {
                    self.damaged(range, &fault, cx);
                }
                let rejected = match fault {
                    Fault::Exhausted { .. } => Rejected::Busy { retry_after: limits::BUSY_RETRY_AFTER },
                    _ => Rejected::Unavailable("the data could not be read".into()),
                };
                self.answer(ticket, Err(rejected), cx);
            }
        }
    }
}
