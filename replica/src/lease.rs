//! The leader's lease: when a leader may read locally, and when it is of no use any more.
//!
//! Raft tells a leader that it was deposed only when a message says so. A leader that is cut off would go on reading
//! while its successor writes. The lease closes that gap. A leader holds it while a quorum of voters, itself among
//! them, *counts*. A voter counts when its latest acknowledgement in this term bears a stamp (the incarnation of its
//! store, and the generation of the promise that its store had given to ours), and that same promise holds now, by our
//! clock, less the margin. In a joint configuration both halves need such a quorum.
//!
//! Why it is right (docs/replication.md#lease-is-support). Suppose that a leader of a later term exists. Some voter of
//! our quorum voted for it. That voter follows us, and a follower votes only after its store withdrew the generation on
//! its stamp, or after we gave the term up (`follow`). In the first case our count of the voter had ended before,
//! because we count from when we asked and its store from when it heard
//! (docs/replication.md#count-ends-before-promise), and the generation never comes back, however often the store
//! promises anew. In the second case we ended the lease before we said so. The stamp is what ties a promise between
//! stores to a vote of a replica: support alone is not enough, since a store may withdraw, let its replica vote, and
//! promise again (docs/replication.md#withdrawn-stays-withdrawn).
//!
//! The second half of this file finds leaders that are of no use: one without a lease for an interval, and one that no
//! quorum answers while work waits. Both step down and say so. The second watch exists because support, even with
//! streams that work, says nothing about replicas that do not answer.
//!
//! What it does not do. It does not decide who may lead: terms and votes do, without a clock. It does not extend
//! anything; the support table does. It serves no read by itself: `read` asks it after the view of the data was taken.
//! It does not protect a machine that is paused without its clock noticing; `reads = "quorum"` does.
//!
//! Where it is from. Leases are Gray and Cheriton's (SOSP 1989). That a store is supported, rather than each range for
//! itself, and that the promise has an epoch which the follower's acknowledgement must match, is the idea of
//! CockroachDB's store liveness and leader leases. raft-rs's own `LeaseBased` reads are not used: they count ticks, and
//! were stale when we tried them.

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
    /// When each replica last answered in this term.
    heard: BTreeMap<ReplicaId, Moment>,
    /// Entries or reads that wait for a quorum, and since when.
    stuck: Option<Stuck>,
}

impl Lease {
    pub(crate) fn new(now: Moment) -> Self {
        Self { stamps: BTreeMap::new(), given_up: false, lost_since: Some(now), heard: BTreeMap::new(), stuck: None }
    }

    pub(crate) fn acknowledged(&mut self, from: ReplicaId, stamp: Option<Stamp>, now: Moment) {
        self.heard.insert(from, now);
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
        quorum(me, range, |voter| self.counted_until(voter, view))
    }

    /// Since when at the latest a quorum of both halves has spoken to this leader; nothing when one never did.
    pub(crate) fn heard_quorum_at(&self, me: ReplicaId, range: &RangeDescriptor) -> Option<Moment> {
        quorum(me, range, |voter| self.heard.get(&voter.replica).copied())
    }
}

/// The latest moment that a quorum of both halves reaches, this replica always among it.
fn quorum(me: ReplicaId, range: &RangeDescriptor, of: impl Fn(&ReplicaDescriptor) -> Option<Moment>) -> Option<Moment> {
    let half = |voters: Vec<&ReplicaDescriptor>| {
        let mut moments: Vec<Moment> =
            voters.iter().filter_map(|v| if v.replica == me { Some(Moment::MAX) } else { of(v) }).collect();
        moments.sort_unstable_by(|a, b| b.cmp(a));
        moments.get(voters.len() / 2).copied()
    };
    let incoming = half(range.incoming_voters().collect())?;
    let outgoing = half(range.outgoing_voters().collect())?;
    Some(incoming.min(outgoing))
}

/// Work that waits for a quorum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stuck {
    /// Nothing was committed beyond this,
    committed: u64,
    /// since then.
    since: Moment,
}

impl Replica {
    /// True while no later leader can exist: docs/replication.md#lease-is-support.
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

    /// A lease says that a quorum of stores lives, not that anything reaches their replicas. A leader whose entries or reads wait, and
    /// which a quorum has not answered meanwhile, makes room for one that a quorum hears.
    pub(crate) fn watch_quorum(&mut self, view: &StoreView<'_>) {
        let log = &self.raw.raft.raft_log;
        let (committed, last) = (log.committed, log.last_index());
        let Some(leading) = &mut self.leading else { return };
        if committed == last && leading.reads.is_idle() {
            leading.lease.stuck = None;
            return;
        }
        let fresh = Stuck { committed, since: view.now };
        let stuck = *leading.lease.stuck.get_or_insert(fresh);
        if stuck.committed != committed {
            leading.lease.stuck = Some(fresh);
            return;
        }
        let heard = leading.lease.heard_quorum_at(self.id, &self.descriptor).is_some_and(|at| at > stuck.since);
        if heard {
            leading.lease.stuck = Some(fresh);
        } else if view.now.since(stuck.since) >= limits::QUORUM_SILENT {
            tracing::warn!(
                range = %self.descriptor.range,
                "a quorum has not answered this leader though work waits: it gives the leadership up"
            );
            self.step_down(view);
            // Whoever is heard by a quorum goes first.
            self.election.stand_at = Some(view.now.after(limits::SUPPORT_INTERVAL));
        }
    }
}
