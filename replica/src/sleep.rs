//! Sleeping: an idle range costs nothing. Only leaders sleep; followers have no timers to begin with.

use holdfast_types::limits;
use holdfast_types::{Moment, Role};

use crate::replica::Replica;
use crate::view::StoreView;

/// Whether a leader is awake, and its clock while it is.
#[derive(Debug)]
pub(crate) struct Rest {
    pub(crate) awake: bool,
    /// The last time something was asked of the range or its surroundings changed.
    active_at: Moment,
    pub(crate) next_tick: Moment,
}

impl Rest {
    pub(crate) fn new(now: Moment) -> Self {
        Self { awake: true, active_at: now, next_tick: now.after(limits::LEADER_TICK) }
    }
}

impl Replica {
    /// Something happened that a leader must be awake for.
    pub(crate) fn wake(&mut self, now: Moment) {
        if let Some(leading) = &mut self.leading {
            leading.rest.active_at = now;
            if !leading.rest.awake {
                leading.rest.awake = true;
                leading.rest.next_tick = now.after(limits::LEADER_TICK);
            }
        }
    }

    /// Support, a generation or an incarnation changed somewhere: a voter that is not counted is asked to acknowledge again.
    pub(crate) fn support_changed(&mut self, view: &StoreView<'_>) {
        let Some(leading) = &self.leading else { return };
        let uncounted = self.descriptor.replicas.iter().any(|r| {
            r.replica != self.id
                && view.support.received.get(&r.store).is_some_and(|s| s.until > view.now)
                && leading.lease.counted_until(r, view).is_none()
        });
        self.wake(view.now);
        if uncounted {
            self.raw.ping();
        }
    }

    /// raft's clock, for awake leaders alone: heartbeats, and the end of a transfer that does not succeed.
    pub(crate) fn tick_leader(&mut self, view: &StoreView<'_>) {
        let Some(leading) = &mut self.leading else { return };
        if !leading.rest.awake || leading.rest.next_tick > view.now {
            return;
        }
        leading.rest.next_tick = view.now.after(limits::LEADER_TICK);
        self.raw.tick();
    }

    /// Goes to sleep when nothing is left to do for anybody.
    pub(crate) fn consider_sleep(&mut self, view: &StoreView<'_>) {
        let idle = self.leading.as_ref().is_some_and(|leading| {
            leading.rest.awake
                && view.now.since(leading.rest.active_at) >= limits::SLEEP_AFTER
                && leading.leads
                && leading.reads.is_idle()
                && leading.passing.is_idle()
                && leading.waiting.is_empty()
                && leading.transfer.is_none()
                && leading.change.is_none()
        });
        if idle && self.pipeline.is_idle() && !self.descriptor.is_joint() && self.all_have_all(view) {
            self.leading.as_mut().expect("it is idle").rest.awake = false;
        }
    }

    /// Every replica on a supported store has everything and knows that it is committed; every such voter is counted.
    fn all_have_all(&self, view: &StoreView<'_>) -> bool {
        let Some(leading) = &self.leading else { return false };
        let last = self.raw.raft.raft_log.last_index();
        if self.raw.raft.raft_log.applied < last || !self.disk.is_synced() || !self.holds_lease(view) {
            return false;
        }
        self.descriptor.replicas.iter().filter(|r| r.replica != self.id && view.support.supports(r.store)).all(|r| {
            let up_to_date =
                self.raw.raft.prs().get(r.replica.0).is_some_and(|p| p.matched >= last && p.committed_index >= last);
            up_to_date && (r.role == Role::Learner || leading.lease.counted_until(r, view).is_some())
        })
    }
}
