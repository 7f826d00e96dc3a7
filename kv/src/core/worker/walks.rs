//! What concerns all replicas of a worker, done a few a round.
//!
//! A store may hold a hundred thousand replicas. A round that steps all of them ends too late: the store is taken for one that hangs, others
//! withdraw their support, and it loses whatever it leads. So what concerns all of them is a walk in the order of their ids. It goes on from
//! round to round, and other events are taken in between. The first stretch is walked at once: where there are few ranges, that is all of it.
//!
//! A replica that is told late that a promise was withdrawn follows its leader for so much longer, and refuses votes meanwhile: that is
//! always safe. It acknowledges nothing under the promise either, since the view of support says at once that the promise is over.
//!
//! A replica that comes to this worker during a walk may be passed over: it begins with the view as it is by then.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

use holdfast_replica::Input;
use holdfast_types::{Generation, LogIndex, RangeId, StoreId, limits};

use super::{Cx, Held, Worker};

/// Replicas that walks look at in one round: a look takes less than a microsecond.
pub(super) const LOOKS_PER_ROUND: usize = 1_024;
/// Replicas that walks step in one round: each may campaign, and so write and send.
pub(super) const STEPS_PER_ROUND: usize = 512;
/// Replicas whose timers go off in one round: after a site is lost, all that it led stand within a moment.
pub(super) const TIMERS_PER_ROUND: usize = 512;

/// What a round did with replicas of its own accord, beside what the events of single ranges asked for.
#[derive(Clone, Copy, Default, Debug)]
pub struct RoundWork {
    /// Replicas looked at.
    pub looks: usize,
    /// Inputs given to replicas because of something that concerns all of them, or of time.
    pub steps: usize,
}

impl RoundWork {
    /// Counts an input if no event of its own range brought it.
    pub(super) fn count(&mut self, input: &Input) {
        let concerns_many = matches!(
            input,
            Input::Tick
                | Input::Withdrawn { .. }
                | Input::SupportChanged
                | Input::AppliedPersisted { .. }
                | Input::Yield
                | Input::Retire
        );
        self.steps += usize::from(concerns_many);
    }
}

/// What is done with each replica.
#[derive(Debug)]
pub(super) enum Errand {
    /// The promise to a store was withdrawn.
    Withdrawn(StoreId, Generation),
    /// Support changed of these stores, or in a way that concerns all.
    Support(Option<BTreeSet<StoreId>>),
    /// Whatever is led here is handed over, where there is somebody to take it;
    Yield,
    /// only to stores that are known to be willing, so that nothing is passed round where none is.
    YieldToWilling,
    /// The worker retires.
    Retire,
    /// What the log takes is noted; then these logs are cut.
    NoteLogs(BTreeMap<RangeId, LogIndex>),
    /// Logs are cut behind what the data instance has persisted, to a size that all logs of the store may have.
    CutLogs(BTreeMap<RangeId, LogIndex>, u64),
}

impl Errand {
    /// Nobody waits for it.
    fn is_housekeeping(&self) -> bool {
        matches!(self, Self::NoteLogs(_) | Self::CutLogs(..))
    }

    /// Takes in another one of its kind that begins now as well; what cannot be taken in is returned.
    fn join(&mut self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::Withdrawn(store, newest), Self::Withdrawn(other, generation)) if *store == other => {
                *newest = (*newest).max(generation);
            }
            (Self::Support(Some(stores)), Self::Support(Some(others))) => stores.extend(others),
            (all @ Self::Support(_), Self::Support(_)) => *all = Self::Support(None),
            (Self::Yield, Self::Yield) | (Self::YieldToWilling, Self::YieldToWilling) => {}
            (Self::Retire, Self::Retire) => {}
            (Self::NoteLogs(persisted), Self::NoteLogs(newer)) => persisted.extend(newer),
            (Self::CutLogs(persisted, largest), Self::CutLogs(newer, size)) => {
                persisted.extend(newer);
                *largest = size;
            }
            (_, other) => return Some(other),
        }
        None
    }
}

#[derive(Debug)]
struct Walk {
    errand: Errand,
    /// The replica that was looked at last.
    behind: Option<RangeId>,
}

/// The walks of a worker.
///
/// Invariant: of walks of one kind that are not begun there is one (of lost promises one a store), so that they do not add up.
#[derive(Default, Debug)]
pub(super) struct Walks {
    waiting: VecDeque<Walk>,
    looks: usize,
    steps: usize,
}

impl Walks {
    /// True when nothing is left to be done.
    pub(super) fn are_over(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn begin_round(&mut self) {
        (self.looks, self.steps) = (LOOKS_PER_ROUND, STEPS_PER_ROUND);
    }

    /// Counts a look; false: this round has looked at enough.
    pub(super) fn may_look(&mut self, round: &mut RoundWork) -> bool {
        let Some(left) = self.looks.checked_sub(1) else { return false };
        self.looks = left;
        round.looks += 1;
        true
    }

    /// Begins a walk behind those that are under way. The loss of promises goes before everything else: ranges without a leader wait for it;
    /// and what logs take goes behind everything else.
    pub(super) fn begin(&mut self, errand: Errand) {
        let mut errand = Some(errand);
        for waiting in self.waiting.iter_mut().filter(|walk| walk.behind.is_none()) {
            errand = errand.and_then(|errand| waiting.errand.join(errand));
        }
        let Some(errand) = errand else { return };
        let walk = Walk { errand, behind: None };
        let is_first = matches!(walk.errand, Errand::Withdrawn(..));
        let is_last = walk.errand.is_housekeeping();
        let behind_all_but_those = |waiting: &Walk| !is_last && waiting.errand.is_housekeeping();
        let at = self.waiting.iter().position(behind_all_but_those).unwrap_or(self.waiting.len());
        self.waiting.insert(if is_first { 0 } else { at }, walk);
    }
}

impl Worker {
    /// Goes on with the walks, as far as this round may.
    pub(super) fn walk_on(&mut self, cx: &Cx<'_>) {
        while let Some(mut walk) = self.walks.waiting.pop_front() {
            if !self.walk(&mut walk) {
                self.walks.waiting.push_front(walk);
                break;
            }
            if let Errand::NoteLogs(persisted) = walk.errand {
                let of_the_store = self.shared.logs.largest_kept();
                self.walks.begin(Errand::CutLogs(persisted, of_the_store));
            }
        }
        self.run_inputs(cx);
    }

    /// Walks a stretch; true when the walk is over.
    fn walk(&mut self, walk: &mut Walk) -> bool {
        let behind = walk.behind.map_or(Bound::Unbounded, Bound::Excluded);
        for (range, held) in self.held.range((behind, Bound::Unbounded)) {
            if self.walks.steps == 0 || !self.walks.may_look(&mut self.round) {
                return false;
            }
            walk.behind = Some(*range);
            if let Some(input) = self.errand_of(*range, held, &mut walk.errand) {
                self.walks.steps -= 1;
                self.inputs.push_back((*range, input));
            }
        }
        true
    }

    /// What a replica is told on a walk.
    fn errand_of(&self, range: RangeId, held: &Held, errand: &mut Errand) -> Option<Input> {
        let (me, leads) = (self.config.store, held.standing.leads);
        match errand {
            Errand::Withdrawn(store, generation) => Some(Input::Withdrawn { store: *store, generation: *generation }),
            Errand::Support(None) => Some(Input::SupportChanged),
            Errand::Support(Some(stores)) => {
                let mut replicas = held.standing.descriptor.replicas.iter();
                replicas.any(|replica| stores.contains(&replica.store)).then_some(Input::SupportChanged)
            }
            Errand::Yield => leads.then_some(Input::Yield),
            Errand::YieldToWilling => {
                let is_willing = |store| store != me && self.support.view.can_take_over(store);
                let has_willing = || held.standing.descriptor.voters().any(|replica| is_willing(replica.store));
                (leads && has_willing()).then_some(Input::Yield)
            }
            Errand::Retire => Some(Input::Retire),
            Errand::NoteLogs(_) => {
                self.shared.logs.note(range, held.replica.log_bytes());
                None
            }
            Errand::CutLogs(persisted, of_the_store) => persisted.remove(&range).map(|index| {
                let keep_bytes = held.size_bytes.max(limits::LOG_KEEP_BYTES).min(*of_the_store);
                Input::AppliedPersisted { index, keep_bytes }
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_leader_is_waited_for_goes_before_what_logs_take() {
        let mut walks = Walks::default();
        walks.begin(Errand::NoteLogs(BTreeMap::new()));
        walks.waiting[0].behind = Some(RangeId(7));
        walks.begin(Errand::Support(None));
        walks.begin(Errand::Withdrawn(StoreId(2), Generation::default()));
        walks.begin(Errand::Yield);
        let order: Vec<_> = walks.waiting.iter().map(|walk| &walk.errand).collect();
        assert!(
            matches!(order[..], [Errand::Withdrawn(..), Errand::Support(None), Errand::Yield, Errand::NoteLogs(_)]),
            "{order:?}"
        );
    }
}
