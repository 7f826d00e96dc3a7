//! What a split needs before the replica can propose it: a number for the new range, and a key to cut at.

use bytes::Bytes;
use holdfast_engine::{Fault, LogOp};
use holdfast_replica::{AdminRequest, Ticket};
use holdfast_types::{Key, RangeId, Rejected};

use super::log::Then;
use super::{Cx, Worker};
use crate::core::desk::Asked;
use crate::core::effect::Effect;
use crate::core::event::ReadTicket;
use crate::core::identity;

/// Numbers for new ranges that this worker may use.
#[derive(Debug)]
pub(super) struct RangeIds {
    worker: u16,
    used: u64,
    last: u64,
}

impl RangeIds {
    pub(super) fn new(worker: u16) -> Self {
        Self { worker, used: 0, last: 0 }
    }

    /// A block of numbers is reserved on disk.
    pub(super) fn reserved(&mut self, before: u64, last: u64) {
        (self.used, self.last) = (before, last);
    }

    fn take(&mut self) -> Option<u64> {
        (self.used < self.last).then(|| {
            self.used += 1;
            self.used
        })
    }
}

impl Worker {
    /// Fills in what a split leaves open, or refuses it. `None`: the request goes on when that has been found.
    pub(super) fn prepare_admin(
        &mut self,
        ticket: Ticket,
        range: RangeId,
        request: AdminRequest,
    ) -> Result<Option<AdminRequest>, Rejected> {
        let AdminRequest::Split { at, right } = request else { return Ok(Some(request)) };
        if at == Key::MIN {
            let Some(held) = self.held.get(&range) else { return Ok(None) };
            let bounds = held.standing.descriptor.bounds.clone();
            self.out.push(Effect::FindMiddle { ticket: ReadTicket(ticket.0), bounds });
            return Ok(None);
        }
        if right != RangeId(0) {
            return Ok(Some(AdminRequest::Split { at, right }));
        }
        if let Some(number) = self.ids.take() {
            return Ok(Some(AdminRequest::Split { at, right: RangeId::made_by(self.config.store, number) }));
        }
        let Some((before, last)) = self.shared.range_counter.reserve() else {
            return Err(Rejected::Unavailable("this store has made as many ranges as a store can".into()));
        };
        let name = identity::counter_name(self.ids.worker);
        let value: Bytes = identity::encode_counter(last);
        self.log.add(vec![LogOp::SetStoreRecord { name, value }], Then::Reserved(before, last));
        self.log.add(Vec::new(), Then::Split(ticket));
        Ok(None)
    }

    pub(super) fn middle_found(&mut self, ticket: ReadTicket, key: Result<Option<Key>, Fault>, cx: &Cx<'_>) {
        let ticket = Ticket(ticket.0);
        let Some(Asked::Admin(range, AdminRequest::Split { right, .. })) =
            self.desk.get(ticket).map(|open| open.asked.clone())
        else {
            return;
        };
        match key {
            Ok(Some(at)) => {
                self.desk.amend(ticket, Asked::Admin(range, AdminRequest::Split { at, right }));
                self.route(ticket, cx);
            }
            Ok(None) => {
                let rejected = Rejected::invalid("the range has no key to be split at");
                self.answer(ticket, Err(rejected), cx);
            }
            Err(fault) => {
                self.damaged(range, &fault, cx);
                self.answer(ticket, Err(Rejected::Unavailable("the data could not be read".into())), cx);
            }
        }
    }
}
