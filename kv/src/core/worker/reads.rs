//! Reads: the view of the data first, then the clock, then one check of lease, epoch and state together. All reads of a round
//! share the view, which was taken after all of them came in.

use holdfast_replica::{Input, ReadVerdict, Ticket};
use holdfast_types::{RangeId, Rejected, Response};

use super::{Cx, Worker};
use crate::core::desk::Asked;
use crate::core::effect::{Effect, ReadTask};
use crate::core::event::{ReadFailure, ReadTicket};

impl Worker {
    pub(super) fn finish_reads(&mut self, cx: &Cx<'_>) {
        // A read that must be confirmed may be confirmed at once (a range of one voter), and so come back.
        while !self.reads.is_empty() {
            let reads = std::mem::take(&mut self.reads);
            let snapshot = cx.env.snapshot();
            let after = Cx { env: cx.env, now: cx.env.now(), wall_ms: cx.env.wall_ms() };
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
    ) -> Option<(
        holdfast_types::RangeRequest,
        holdfast_types::KeyRange,
        holdfast_types::Timestamp,
        holdfast_types::Timestamp,
    )> {
        let Some(Asked::Data(request)) = self.desk.get(ticket).map(|open| open.asked.clone()) else { return None };
        let Some(held) = self.held.get(&range) else {
            self.answer(ticket, Err(Rejected::Unavailable("the replica is gone".into())), cx);
            return None;
        };
        let view = Self::view(&self.support, self.is_reluctant(), cx);
        match held.replica.may_read(&request, confirmed, &view) {
            ReadVerdict::Serve { at, now } => {
                let bounds = held.standing.descriptor.bounds.clone();
                Some((request, bounds, at, now))
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

    pub(super) fn read_done(&mut self, ticket: ReadTicket, outcome: Result<Response, ReadFailure>, cx: &Cx<'_>) {
        let ticket = Ticket(ticket.0);
        match outcome {
            Ok(response) => self.answer(ticket, Ok(response), cx),
            Err(ReadFailure::Rejected(rejected)) => self.answer(ticket, Err(rejected), cx),
            Err(ReadFailure::Fault(fault)) => {
                let place = self.desk.get(ticket).map(|open| open.place);
                if let Some(crate::core::desk::Place::Replica(range)) = place {
                    self.damaged(range, &fault, cx);
                }
                self.answer(ticket, Err(Rejected::Unavailable("the data could not be read".into())), cx);
            }
        }
    }
}
