//! One file per concern; this one orders them and holds what they share.
//!
//! Each concern looks at ranges that no concern before it has claimed, and proposes for a range a set of stores that should hold
//! its voters, or another leader. `propose_voters` finds the steps that lead there from where the range is.

mod balance_leaders;
mod balance_replicas;
mod drain;
mod in_flight;
mod leaving;
mod repair;
mod shortlist;
mod split;
mod spread;
mod survey;
mod tidy;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use holdfast_types::{RangeId, ReplicaDescriptor, ReplicaId, Role, SiteName, StoreId};

use crate::guards::{self, Budget, Refusal};
use crate::layout::{Kind, Layout, tie};
use crate::operator::{Operator, Reason, Step};
use crate::policy::{MoveLimits, Policies, Policy, SurvivalGoal, odd_at_most};
use crate::view::{FleetView, RangeView};

use self::survey::{Open, Survey};

pub use self::leaving::{CannotLeave, judge_leaving};

/// Voters that the system range keeps when stores leave: it has five where there are five sites, and every range bears the loss of one
/// with three.
const SYSTEM_VOTERS_KEPT: usize = 3;
/// Copies that one plan finds no room for in the limits of moving before it looks for places for no more. They wait, in the order of
/// their ranges, for copies that are under way and come to an end: a store that died had a replica of tens of thousands of ranges, and a
/// place for one is the best of a hundred stores.
const MAX_COPIES_REFUSED: usize = 1_024;

/// A range that is not as it should be, and why nothing is done about it now. It stays in its safe shape.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// The range.
    pub range: RangeId,
    /// What would be done.
    pub reason: Reason,
    /// Why it is not.
    pub why: String,
}

/// What to do, and what cannot be done.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// At most one per range, the most urgent first.
    pub operators: Vec<Operator>,
    /// Ranges that wait.
    pub held: Vec<Held>,
    /// How often a range was looked at: what the plan has cost. A small multiple of the number of ranges.
    pub looks: u64,
}

/// Plans for the view: at most one operator per range, the most urgent first. The same view gives the same plan.
#[must_use]
pub fn plan(view: &FleetView, policies: &Policies) -> Vec<Operator> {
    explain(view, policies).operators
}

/// Like [`plan`], and says what is held back.
#[must_use]
pub fn explain(view: &FleetView, policies: &Policies) -> Plan {
    let policies = policies.within_sites(view.sites().len());
    let mut planner = Planner::new(view, &policies);
    in_flight::plan(&mut planner);
    repair::plan(&mut planner);
    spread::plan(&mut planner);
    drain::plan(&mut planner);
    tidy::plan(&mut planner);
    balance_leaders::plan(&mut planner);
    split::plan(&mut planner);
    balance_replicas::plan(&mut planner);
    Plan { looks: planner.looks.get(), operators: planner.operators, held: planner.held.into_values().collect() }
}

/// What the concerns share during one plan.
struct Planner<'a> {
    view: &'a FleetView,
    policies: &'a Policies,
    /// Loads as they will be when all operators planned so far are done.
    layout: Layout,
    survey: Survey<'a>,
    /// Where replicas may go while nothing is promised.
    open: Open<'a>,
    live_sites: usize,
    live_stores: usize,
    budget: Budget,
    copies_refused: usize,
    looks: Cell<u64>,
    operators: Vec<Operator>,
    claimed: BTreeSet<RangeId>,
    held: BTreeMap<RangeId, Held>,
    /// Held ranges whose next step is known and waits for the guards: their learners are needed yet.
    waiting: BTreeSet<RangeId>,
    /// Bytes that a plan played through to its end would copy to each store.
    promised: BTreeMap<StoreId, u64>,
    /// Bytes of the replica for which such a plan looks for room.
    room_wanted: u64,
}

impl<'a> Planner<'a> {
    fn new(view: &'a FleetView, policies: &'a Policies) -> Self {
        let mut planner = Self {
            view,
            policies,
            layout: Layout::empty(view),
            survey: Survey::default(),
            open: Open::of(view, |store| view.takes_replicas(store, &policies.limits)),
            live_sites: view.live_sites().len(),
            live_stores: view.stores.values().filter(|s| s.alive).count(),
            budget: Budget::default(),
            copies_refused: 0,
            looks: Cell::new(0),
            operators: Vec::new(),
            claimed: BTreeSet::new(),
            held: BTreeMap::new(),
            waiting: BTreeSet::new(),
            promised: BTreeMap::new(),
            room_wanted: 0,
        };
        planner.survey = survey::look(&mut planner);
        planner
    }

    fn limits(&self) -> &'a MoveLimits {
        &self.policies.limits
    }

    fn policy(&self, range: &RangeView) -> &'a Policy {
        self.policies.of(&range.descriptor)
    }

    /// A range was looked at.
    fn looked(&self) {
        self.looks.set(self.looks.get() + 1);
    }

    /// Ranges that are not as they should be, and that no concern has claimed yet.
    fn unsettled(&self) -> Vec<(RangeId, &'a RangeView)> {
        self.looks.set(self.looks.get() + self.survey.unsettled.len() as u64);
        self.survey.unsettled.iter().filter(|(id, _)| !self.claimed.contains(id)).copied().collect()
    }

    /// All ranges that no concern has claimed yet.
    fn free_ranges(&self) -> impl Iterator<Item = (RangeId, &'a RangeView)> {
        let view = self.view;
        let ranges = view.ranges.iter().inspect(|_| self.looked());
        ranges.filter(|(id, _)| !self.claimed.contains(id)).map(|(id, range)| (*id, range))
    }

    fn hold(&mut self, range: RangeId, reason: Reason, why: impl std::fmt::Display) {
        self.held.entry(range).or_insert_with(|| Held { range, reason, why: why.to_string() });
    }

    /// Like [`Planner::hold`], for a step that will be taken as soon as it may.
    fn wait(&mut self, range: RangeId, reason: Reason, refusal: Refusal) {
        self.hold(range, reason, refusal);
        self.waiting.insert(range);
    }

    /// False, and the range waits, when so many copies had no room already that none is begun any more. What has begun goes on.
    fn may_copy(&mut self, id: RangeId, range: &RangeView, reason: Reason) -> bool {
        let may = self.copies_refused < MAX_COPIES_REFUSED || range.learners().next().is_some();
        if !may {
            self.wait(id, reason, Refusal::Limit);
        }
        may
    }

    fn takes_replicas(&self, store: StoreId) -> bool {
        if self.promised.is_empty() && self.room_wanted == 0 {
            return self.open.stores.contains(&store);
        }
        let promised = self.promised.get(&store).copied().unwrap_or(0);
        self.view.takes_replicas_beside(store, promised.saturating_add(self.room_wanted), self.limits())
    }

    /// How many voters the range should have: what the policy wants as far as there are places for them, always odd when it
    /// grows; and never fewer than now, unless the policy wants fewer. When voters leave, an even number counts as the odd one below it,
    /// and the system range is as wide as the fleet that stays.
    fn wanted_voters(&self, range: &RangeView) -> usize {
        self.wanted_among(&self.open, range)
    }

    fn wanted_among(&self, open: &Open<'_>, range: &RangeView) -> usize {
        let policy = self.policy(range);
        let stays = |r: &&ReplicaDescriptor| !self.view.is_leaving(r.store);
        let staying = || range.descriptor.voters().filter(stays);
        let voters = range.descriptor.voters().count();
        let mut places = match policy.goal {
            SurvivalGoal::Site => open.sites.len(),
            SurvivalGoal::Store => open.stores.len(),
        };
        // Those that have a place keep it, though nothing new may go there.
        if places < policy.voters() {
            places += match policy.goal {
                SurvivalGoal::Site => {
                    let sites: BTreeSet<_> = staying().map(|r| &r.site).filter(|s| !open.sites.contains(s)).collect();
                    sites.len()
                }
                SurvivalGoal::Store => staying().filter(|r| !open.stores.contains(&r.store)).count(),
            };
        }
        let reachable = odd_at_most(policy.voters().min(places));
        let kept = match (staying().count() < voters, range.descriptor.range) {
            (false, _) => voters,
            (true, RangeId::SYSTEM) => odd_at_most(voters.min(SYSTEM_VOTERS_KEPT)),
            // Of two voters one may go: it was the only one a moment ago, or the other was never of use.
            (true, _) => odd_at_most(voters),
        };
        reachable.max(kept.min(policy.voters()))
    }

    /// The best store for one more voter beside those on `others`; a learner that is there already goes first, then a store of
    /// `near`, the site of the voter that is replaced.
    fn best_store(
        &self,
        id: RangeId,
        range: &RangeView,
        others: &BTreeSet<StoreId>,
        near: Option<&SiteName>,
    ) -> Option<StoreId> {
        let goal = self.policy(range).goal;
        let site_of = |store: &StoreId| self.view.stores.get(store).map(|s| &s.site);
        // A store that left the fleet is known by the descriptor only.
        let site_known = |s: &StoreId| range.descriptor.replica_on(*s).map(|r| &r.site).or_else(|| site_of(s));
        let taken: Vec<&SiteName> = others.iter().filter_map(site_known).collect();
        let candidates = self.view.stores.iter().filter(|(store, seen)| {
            let crowds = goal == SurvivalGoal::Site && taken.contains(&&seen.site);
            let here = range.descriptor.replica_on(**store);
            let free = here.is_none_or(|r| r.role == Role::Learner && !range.is_damaged(r)) && !others.contains(store);
            free && !crowds && self.takes_replicas(**store)
        });
        let weight = range.replica_weight();
        let key = |(store, seen): &(&StoreId, &crate::view::StoreView)| {
            let learner = range.descriptor.replica_on(**store).is_some();
            (
                !learner,
                taken.iter().filter(|site| ***site == seen.site).count(),
                near != Some(&seen.site),
                self.layout.steps_above_empty(**store, weight),
                self.layout.shared_with(&seen.site, &taken),
                self.layout.cost(Kind::Replicas, None, **store, weight),
                tie(id, **store),
            )
        };
        candidates.min_by_key(key).map(|(store, _)| *store)
    }

    /// The best voter to lead the range among those that `may`: by preference, then load. Not the present leader.
    fn best_leader(
        &self,
        id: RangeId,
        range: &RangeView,
        may: impl Fn(&ReplicaDescriptor) -> bool,
    ) -> Option<ReplicaDescriptor> {
        let policy = self.policy(range);
        let key = |r: &&ReplicaDescriptor| {
            let cost = self.layout.cost(Kind::Leaders, range.leader, r.store, range.leader_weight());
            (policy.leader_rank(&r.site), cost, tie(id, r.store))
        };
        self.possible_leaders(range).filter(|r| may(r)).min_by_key(key).cloned()
    }

    /// Voters other than the leader that could take over now.
    fn possible_leaders<'r>(&self, range: &'r RangeView) -> impl Iterator<Item = &'r ReplicaDescriptor> {
        range.descriptor.replicas.iter().filter(|r| {
            r.role == Role::Voter
                && range.leader != Some(r.store)
                && range.is_caught_up(r)
                && self.view.takes_leaders(r.store, self.limits())
        })
    }

    /// Plans the next steps towards voters on exactly these stores.
    fn propose_voters(&mut self, id: RangeId, reason: Reason, target: &BTreeSet<StoreId>) -> bool {
        let range = &self.view.ranges[&id];
        let steps = match self.steps_towards(id, range, target) {
            Ok(steps) => steps,
            Err(refusal) => {
                self.wait(id, reason, refusal);
                return false;
            }
        };
        if !self.propose(id, reason, steps) {
            return false;
        }
        let now: BTreeSet<StoreId> = range.voter_stores();
        for store in now.difference(target) {
            self.layout.shift(Kind::Replicas, Some(*store), None, range.replica_weight());
        }
        for store in target.difference(&now) {
            self.layout.shift(Kind::Replicas, None, Some(*store), range.replica_weight());
        }
        self.layout.count_pairs(&now, -1);
        self.layout.count_pairs(target, 1);
        true
    }

    /// Plans a transfer of the leadership.
    fn propose_leader(&mut self, id: RangeId, reason: Reason, to: &ReplicaDescriptor) -> bool {
        let step = Step::TransferLeader { replica: to.replica, store: to.store };
        let range = &self.view.ranges[&id];
        let done = self.propose(id, reason, vec![step]);
        if done {
            self.layout.shift(Kind::Leaders, range.leader, Some(to.store), range.leader_weight());
        }
        done
    }

    /// Claims the range with an operator, when there are steps and all pass the guards.
    fn propose(&mut self, id: RangeId, reason: Reason, steps: Vec<Step>) -> bool {
        let view = self.view;
        let range = &view.ranges[&id];
        let Some(first) = steps.first() else { return false };
        if let Err(refusal) = guards::check(view, self.policy(range), range, &steps) {
            self.wait(id, reason, refusal);
            return false;
        }
        if let Some(influence) = first.influence(range).filter(|_| !in_flight::is_begun(range, first)) {
            if !self.budget.has_room(&influence, self.limits()) {
                self.copies_refused += usize::from(influence.leader_weight == 0);
                self.wait(id, reason, Refusal::Limit);
                return false;
            }
            self.budget.charge(&influence);
        }
        let planned_at = range
            .pending
            .as_ref()
            .filter(|p| p.steps.first() == Some(first) && !p.is_timed_out(range, view.now))
            .map_or(view.now, |p| p.planned_at);
        self.operators.push(Operator { range: id, epoch: range.descriptor.epoch, planned_at, reason, steps });
        self.claimed.insert(id);
        self.held.remove(&id);
        true
    }

    /// The steps that are left until the voters are on exactly these stores, from whatever state the range is in.
    fn steps_towards(&self, id: RangeId, range: &RangeView, target: &BTreeSet<StoreId>) -> Result<Vec<Step>, Refusal> {
        let descriptor = &range.descriptor;
        let mut steps = Vec::new();
        let mut promote = Vec::new();
        let mut next_replica = descriptor.next_replica;
        for store in target {
            let here = descriptor.replica_on(*store);
            if here.is_some_and(|r| r.role == Role::Voter) {
                continue;
            }
            if !here.is_some_and(|r| range.is_caught_up(r)) {
                let site = self.view.stores.get(store).ok_or(Refusal::Unfit)?.site.clone();
                steps.push(Step::AddLearner { store: *store, site });
            }
            promote.push(here.map_or(next_replica, |r| r.replica));
            if here.is_none() {
                next_replica = next_replica.next();
            }
        }
        let leaving = |r: &&ReplicaDescriptor| !target.contains(&r.store);
        let demote: Vec<ReplicaId> = descriptor.voters().filter(leaving).map(|r| r.replica).collect();
        if range.leader.is_some_and(|leader| !target.contains(&leader)) {
            let heir = self.best_leader(id, range, |r| target.contains(&r.store)).ok_or(Refusal::LeaderCannotMove)?;
            steps.push(Step::TransferLeader { replica: heir.replica, store: heir.store });
        }
        if !promote.is_empty() || !demote.is_empty() {
            steps.push(Step::PromoteAndDemote { promote, demote });
        }
        let left = descriptor.replicas.iter().filter(leaving);
        steps.extend(left.map(|r| Step::RemoveLearner { replica: r.replica }));
        Ok(steps)
    }
}

/// `stores` without one, with another.
fn swapped(stores: &BTreeSet<StoreId>, out: StoreId, into: StoreId) -> BTreeSet<StoreId> {
    stores.iter().copied().filter(|s| *s != out).chain([into]).collect()
}
