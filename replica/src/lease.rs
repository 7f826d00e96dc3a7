//! The leader's lease: a quorum of voters that acknowledged it, in its term, under promises that still hold.

use std::collections::BTreeMap;

use holdfast_types::limits;
use holdfast_types::{Moment, RangeDescriptor, ReplicaDescriptor, ReplicaId};

use crate::input::Stamp;
use crate::replica::Replica;
use crate::view::StoreView;

/// What a leader knows of its lease in one term.
#[derive(Debug)]
pub(crate) struct Lease {
    /// Of each voter, the stamp on its latest acknowledgement in this term.
    stamps: BTreeMap<ReplicaId, Stamp>,
    /// Ended for the rest of the term: a transfer's last message has left.
    given_up: bool,
    /// Since when there is no quorum.
    pub(crate) lost_since: Option<Moment>,
}

impl Lease {
    pub(crate) fn new(now: Moment) -> Self {
        Self { stamps: BTreeMap::new(), given_up: false, lost_since: Some(now) }
    }

    pub(crate) fn acknowledged(&mut self, from: ReplicaId, stamp: Option<Stamp>) {
        match stamp {
            Some(stamp) => self.stamps.insert(from, stamp),
            None => self.stamps.remove(&from),
        };
    }

    pub(crate) fn give_up(&mut self) {
        self.given_up = true;
    }

    pub(crate) fn is_given_up(&self) -> bool {
        self.given_up
    }

    /// Until when a voter counts; nothing when it does not.
    pub(crate) fn counted_until(&self, voter: &ReplicaDescriptor, view: &StoreView<'_>) -> Option<Moment> {
        let stamp = self.stamps.get(&voter.replica)?;
        let support = view.support.received.get(&voter.store)?;
        let same = support.incarnation == stamp.incarnation && support.generation == stamp.generation;
        (same && support.until > view.now).then_some(support.until)
    }

    /// Until when a quorum of both halves counts; nothing when there is none.
    pub(crate) fn held_until(&self, me: ReplicaId, range: &RangeDescriptor, view: &StoreView<'_>) -> Option<Moment> {
        if self.given_up {
            return None;
        }
        let half = |voters: Vec<&ReplicaDescriptor>| {
            let mut until: Vec<Moment> = voters
                .iter()
                .filter_map(|v| if v.replica == me { Some(Moment::MAX) } else { self.counted_until(v, view) })
                .collect();
            until.sort_unstable_by(|a, b| b.cmp(a));
            until.get(voters.len() / 2).copied()
        };
        let incoming = half(range.incoming_voters().collect())?;
        let outgoing = half(range.outgoing_voters().collect())?;
        Some(incoming.min(outgoing))
    }
}

impl Replica {
    /// True while no later leader can exist: see REPLICATION.md section 3.
    pub(crate) fn holds_lease(&self, view: &StoreView<'_>) -> bool {
        let held = |leading: &crate::replica::Leading| leading.lease.held_until(self.id, &self.descriptor, view);
        self.leading.as_ref().and_then(held).is_some_and(|until| until > view.now)
    }

    /// A leader that has no lease quorum for a whole interval is of no use: it steps down and says so.
    pub(crate) fn watch_lease(&mut self, view: &StoreView<'_>) {
        let held = self.holds_lease(view);
        let Some(leading) = &mut self.leading else { return };
        if held || leading.lease.is_given_up() {
            leading.lease.lost_since = None;
            return;
        }
        let since = *leading.lease.lost_since.get_or_insert(view.now);
        if view.now.since(since) >= limits::SUPPORT_INTERVAL {
            self.step_down(view);
        }
    }
}
