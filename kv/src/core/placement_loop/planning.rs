//! A plan as a job for another thread.
//!
//! A plan looks at every range of the fleet, and the worker that leads the system range has other things to do: its rounds must end in
//! time, or its store stops leading. So the worker hands out what is known, which costs it a count of references for each range, and goes
//! on. What comes back is about the fleet as it was; whoever takes it in looks whether the ranges are as they were.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_placement::{Headroom, Operator, Policies, StoreRecord, headroom, plan};
use holdfast_types::{Moment, RangeId};

use super::facts::Known;

/// What a plan is made from.
#[derive(Clone, Debug)]
pub struct PlanTask {
    /// Comes back.
    pub(super) call: u64,
    pub(super) known: Known,
    pub(super) stores: Arc<Vec<StoreRecord>>,
    pub(super) stores_asked_at: Moment,
    pub(super) policies: Policies,
    pub(super) in_flight: BTreeMap<RangeId, Operator>,
    /// The loss of each site is to be played through too.
    pub(super) asks_headroom: bool,
    pub(super) now: Moment,
}

/// What came out of a [`PlanTask`].
#[derive(Clone, Debug)]
pub struct Planned {
    pub(super) call: u64,
    pub(super) operators: Vec<Operator>,
    pub(super) headroom: Option<Vec<Headroom>>,
}

impl PlanTask {
    /// Makes the plan. The same task gives the same plan.
    #[must_use]
    pub fn run(self) -> Planned {
        let mut view = self.known.view((&self.stores, self.stores_asked_at), self.now);
        for (range, operator) in self.in_flight {
            if let Some(known) = view.ranges.get_mut(&range) {
                known.pending = Some(operator);
            }
        }
        Planned {
            call: self.call,
            operators: plan(&view, &self.policies),
            headroom: self.asks_headroom.then(|| headroom(&view)),
        }
    }
}
