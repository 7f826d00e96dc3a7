//! Whether stores can leave the fleet: their replicas are given places, all of them at once and in thought only.
//!
//! It is the planner itself that chooses the places, on a view in which the stores leave already, so what is allowed here is what
//! [`super::drain`] will do. What happens on the way (a store that dies, a disk that fills) is not foreseen: then the stores that
//! leave keep what cannot go.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use holdfast_types::{RangeId, ReplicaDescriptor, ReplicaId, Role, SiteName, StoreId};

use super::survey::Open;
use super::{Planner, SurvivalGoal};
use crate::headroom::headroom;
use crate::layout::Kind;
use crate::policy::{Policies, odd_at_most};
use crate::view::{FleetView, RangeView};

/// Why stores cannot leave, and what it would take.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CannotLeave {
    /// Too few sites, or stores, are left for the voters that a range has and its policy wants.
    Places {
        /// What the policy tells voters to be spread over.
        goal: SurvivalGoal,
        /// Voters of the range that lacks most.
        wanted: usize,
        /// Places that are left for it.
        left: usize,
        /// The sites that still have a store that takes replicas.
        sites: Vec<SiteName>,
        /// Ranges that lack a place.
        ranges: usize,
    },
    /// There are places enough, and no room on their disks.
    Disk {
        /// Bytes of the replicas that find none.
        bytes: u64,
        /// Where they could go.
        sites: Vec<SiteName>,
        /// What must stay free of a disk, in percent or in bytes, whichever is less.
        kept_free: (u64, u64),
    },
    /// Those that stay could not do the work, now or with a site lost.
    Load(String),
}

impl fmt::Display for CannotLeave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Places { goal, wanted, left, sites, ranges } => {
                let (what, advice) = match goal {
                    SurvivalGoal::Site => {
                        ("different sites", "add a store beside those that leave, or in another site, first")
                    }
                    SurvivalGoal::Store => ("different stores", "add a store first"),
                };
                let (which, need) = if *ranges == 1 { ("range", "needs") } else { ("ranges", "need") };
                write!(
                    f,
                    "{ranges} {which} {need} {wanted} {what}, and {left} would be left (sites whose stores take replicas: {}): {advice}",
                    listed(sites)
                )
            }
            Self::Disk { bytes, sites, kept_free: (percent, ample) } => write!(
                f,
                "{} MiB of replicas would find no room: the stores of {} must keep {percent} % or {} GiB of their disks free; add \
                 space or a store there, first",
                bytes.div_ceil(1 << 20),
                listed(sites),
                ample >> 30
            ),
            Self::Load(what) => write!(f, "the stores that stay could not do the work: {what}; add a store, first"),
        }
    }
}

fn listed(sites: &[SiteName]) -> String {
    let names: Vec<_> = sites.iter().map(SiteName::as_str).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// Decides whether the stores `leaving`, and those that leave already, can be emptied: every range keeps as many voters as it has and
/// its policy wants, spread as the survival goal says, on stores with room, and the loss of a site can be borne if it can be now.
pub fn judge_leaving(view: &FleetView, policies: &Policies, leaving: &BTreeSet<StoreId>) -> Result<(), CannotLeave> {
    let mut without = view.clone();
    for store in leaving {
        if let Some(seen) = without.stores.get_mut(store) {
            seen.leaving = true;
        }
    }
    let policies = policies.within_sites(without.sites().len());
    let mut planner = Planner::new(&without, &policies);
    let mut judge = Judge::default();
    for (id, range) in &without.ranges {
        judge.place(&mut planner, *id, range);
    }
    judge.verdict(&planner)?;
    bears_the_load(view, &without, &judge.targets)
}

/// What the ranges were given.
#[derive(Default)]
struct Judge {
    targets: BTreeMap<RangeId, BTreeSet<StoreId>>,
    lacking: Vec<Lacking>,
}

struct Lacking {
    goal: SurvivalGoal,
    wanted: usize,
    /// Places if disks had no bounds.
    places: usize,
    bytes: u64,
    /// Sites in which the store that is missing might be.
    sites: BTreeSet<SiteName>,
}

impl Judge {
    fn place(&mut self, planner: &mut Planner<'_>, id: RangeId, range: &RangeView) {
        let view = planner.view;
        let voters = range.voter_stores();
        let mut target: BTreeSet<_> = voters.iter().copied().filter(|store| !view.is_leaving(*store)).collect();
        if target == voters {
            return;
        }
        // More than it has is given by and by, where there is room.
        // What was promised to the ranges before it is no room any more.
        let open = Open::of(view, |store| planner.takes_replicas(store));
        let wanted = odd_at_most(planner.wanted_among(&open, range).min(voters.len()));
        planner.room_wanted = range.size_bytes;
        while target.len() < wanted {
            let gone = range.descriptor.voters().find(|r| view.is_leaving(r.store)).map(|r| r.site.clone());
            let beside = neighbours(&voters, &target);
            let places: Vec<_> =
                beside.iter().map(|others| planner.best_store(id, range, others, gone.as_ref())).collect();
            if let Some((others, _)) = beside.iter().zip(&places).find(|(_, place)| place.is_none()) {
                self.lacking.push(lack(planner, range, others, wanted));
                return;
            }
            let Some(store) = places.into_iter().flatten().next() else { return };
            *planner.promised.entry(store).or_default() += range.size_bytes;
            planner.layout.shift(Kind::Replicas, None, Some(store), range.replica_weight());
            target.insert(store);
        }
        self.targets.insert(id, target);
    }

    fn verdict(&self, planner: &Planner<'_>) -> Result<(), CannotLeave> {
        let without_place: Vec<_> = self.lacking.iter().filter(|lack| lack.places < lack.wanted).collect();
        if let Some(most) = without_place.iter().max_by_key(|lack| lack.wanted - lack.places) {
            let open = planner.view.stores.values().filter(|s| s.could_take_replicas());
            let sites: BTreeSet<_> = open.map(|s| s.site.clone()).collect();
            return Err(CannotLeave::Places {
                goal: most.goal,
                wanted: most.wanted,
                left: most.places,
                sites: sites.into_iter().collect(),
                ranges: without_place.len(),
            });
        }
        if self.lacking.is_empty() {
            return Ok(());
        }
        let sites: BTreeSet<_> = self.lacking.iter().flat_map(|lack| lack.sites.iter().cloned()).collect();
        let limits = planner.limits();
        Err(CannotLeave::Disk {
            bytes: self.lacking.iter().map(|lack| lack.bytes).sum(),
            sites: sites.into_iter().collect(),
            kept_free: (limits.low_space_percent, limits.ample_space_bytes),
        })
    }
}

/// Beside whom there must be a place for one more voter. Where all leave and there is one at most in the end, it comes beside the last
/// of them before that one goes; which of two is the last, placement decides by load, so there must be a place beside either.
fn neighbours(voters: &BTreeSet<StoreId>, target: &BTreeSet<StoreId>) -> Vec<BTreeSet<StoreId>> {
    if target.is_empty() && voters.len() <= 2 {
        voters.iter().map(|last| BTreeSet::from([*last])).collect()
    } else {
        vec![target.clone()]
    }
}

/// Why there is no store for one more voter beside those on `taken`.
fn lack(planner: &Planner<'_>, range: &RangeView, taken: &BTreeSet<StoreId>, wanted: usize) -> Lacking {
    let view = planner.view;
    let goal = planner.policy(range).goal;
    let sites_taken: BTreeSet<_> = taken.iter().filter_map(|store| view.stores.get(store)).map(|s| &s.site).collect();
    let crowds = |site: &SiteName| goal == SurvivalGoal::Site && sites_taken.contains(site);
    let open = view.stores.iter().filter(|(store, s)| s.could_take_replicas() && !taken.contains(store));
    let fits: Vec<_> = open.filter(|(_, s)| !crowds(&s.site)).collect();
    let sites: BTreeSet<_> = fits.iter().map(|(_, s)| s.site.clone()).collect();
    let more = if goal == SurvivalGoal::Site { sites.len() } else { fits.len() };
    // Of one voter that leaves, the place that it has is none.
    let kept = taken.iter().filter(|store| !view.is_leaving(**store)).count();
    Lacking { goal, wanted, places: kept + more, bytes: range.size_bytes, sites }
}

/// The layout as it will be, judged like the one that is.
fn bears_the_load(
    before: &FleetView,
    without: &FleetView,
    targets: &BTreeMap<RangeId, BTreeSet<StoreId>>,
) -> Result<(), CannotLeave> {
    let after = emptied(without, targets);
    let over = |view: &FleetView, id: &StoreId| {
        view.stores.get(id).is_some_and(|s| s.used_millicores > s.capacity_millicores.max(1))
    };
    let strained = after.stores.iter().find(|(id, s)| s.alive && over(&after, id) && !over(before, id));
    if let Some((id, s)) = strained {
        let (used, has) = (s.used_millicores, s.capacity_millicores);
        return Err(CannotLeave::Load(format!("{id} ({}) would use {used} of {has} thousandths of a core", s.site)));
    }
    let is_borne = |view: &FleetView| headroom(view).iter().all(|lost| lost.utilisation_permille <= 1_000);
    match headroom(&after).iter().find(|lost| lost.utilisation_permille > 1_000) {
        Some(lost) if is_borne(before) => Err(CannotLeave::Load(lost.to_string())),
        _ => Ok(()),
    }
}

/// The fleet when the stores that leave are empty and gone: what they did is done by those that lead in their place.
fn emptied(without: &FleetView, targets: &BTreeMap<RangeId, BTreeSet<StoreId>>) -> FleetView {
    let mut after = without.clone();
    let mut led: BTreeMap<StoreId, u128> = BTreeMap::new();
    for range in without.ranges.values() {
        if let Some(leader) = range.leader.filter(|leader| without.is_leaving(*leader)) {
            *led.entry(leader).or_default() += u128::from(range.leader_weight());
        }
    }
    let mut extra: BTreeMap<StoreId, u128> = BTreeMap::new();
    for (id, target) in targets {
        let Some(range) = after.ranges.get_mut(id) else { continue };
        if let Some(leader) = range.leader.filter(|leader| without.is_leaving(*leader)) {
            let used = without.stores.get(&leader).map_or(0, |s| u128::from(s.used_millicores));
            let share = used * u128::from(range.leader_weight()) / led.get(&leader).copied().unwrap_or(1).max(1);
            // Any of them may lead; the one with the least on top so far.
            range.leader = target.iter().copied().min_by_key(|store| extra.get(store).copied().unwrap_or(0));
            *extra.entry(range.leader.unwrap_or(leader)).or_default() += share;
        }
        range.descriptor.replicas = voters_on(without, range, target);
        range.caught_up = range.descriptor.replicas.iter().map(|r| r.replica).collect();
    }
    for (store, seen) in &mut after.stores {
        let more = u64::try_from(extra.get(store).copied().unwrap_or(0)).unwrap_or(u64::MAX);
        seen.used_millicores = seen.used_millicores.saturating_add(more);
        seen.alive &= !seen.leaving;
    }
    after
}

fn voters_on(view: &FleetView, range: &RangeView, target: &BTreeSet<StoreId>) -> Vec<ReplicaDescriptor> {
    let mut next: ReplicaId = range.descriptor.next_replica;
    let on = |store: &StoreId| {
        let known = range.descriptor.replica_on(*store).cloned();
        let site = view.stores.get(store).map(|s| s.site.clone()).or_else(|| known.as_ref().map(|r| r.site.clone()))?;
        let replica = known.map_or(next, |r| r.replica);
        next = next.next();
        Some(ReplicaDescriptor { replica, store: *store, site, role: Role::Voter })
    };
    target.iter().filter_map(on).collect()
}
