//! From any legal layout, planning and doing comes to an end, through legal shapes only, with the right number of voters.

#![allow(clippy::unwrap_used)]

mod model;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use holdfast_placement::{
    CannotLeave, FleetView, Policies, RangeLoad, RangeView, Reason, StoreView, judge_distrust, judge_leaving,
};
use holdfast_types::{Key, KeyRange, KeyspaceId, Moment, RangeId, SiteName, StoreId};
use model::Model;
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct Start {
    /// Cores of each store of each site.
    sites: Vec<Vec<u64>>,
    /// Per range: an order of sites, which store in each, how many voters, size in MiB, requests per second.
    ranges: Vec<(Vec<u8>, u8, usize, u64, u64)>,
    /// Stores that are dead for longer than the grace time.
    dead: Vec<u8>,
    draining: Option<u8>,
    replicas: usize,
}

fn start() -> impl Strategy<Value = Start> {
    let sites = proptest::collection::vec(proptest::collection::vec(1u64..9, 1..4), 1..7);
    let range = (proptest::collection::vec(any::<u8>(), 6), any::<u8>(), 1usize..6, 0u64..60, 0u64..3_000);
    let ranges = proptest::collection::vec(range, 1..24);
    let dead = proptest::collection::vec(any::<u8>(), 0..3);
    (sites, ranges, dead, proptest::option::of(any::<u8>()), prop_oneof![Just(1usize), Just(3), Just(5)])
        .prop_map(|(sites, ranges, dead, draining, replicas)| Start { sites, ranges, dead, draining, replicas })
}

fn build(start: &Start) -> Model {
    let mut view = FleetView::new(Moment::ZERO);
    let mut by_site: Vec<Vec<StoreId>> = Vec::new();
    for (i, cores) in start.sites.iter().enumerate() {
        let site = SiteName::new(&format!("site-{i}")).unwrap();
        by_site.push(Vec::new());
        for cores in cores {
            let id = StoreId(view.stores.len() as u64 + 1);
            view.stores
                .insert(id, StoreView { capacity_millicores: cores * 1_000, ..StoreView::alive_at(site.clone()) });
            by_site[i].push(id);
        }
    }
    for (i, (order, pick, voters, size_mib, rps)) in start.ranges.iter().enumerate() {
        let mut sites: Vec<usize> = (0..by_site.len()).collect();
        sites.sort_by_key(|s| (order[*s], *s));
        let stores: Vec<_> =
            sites.iter().take(*voters).map(|s| by_site[*s][usize::from(*pick) % by_site[*s].len()]).collect();
        let id = RangeId(10 + i as u64);
        let bounds = KeyRange { start: Key::bound(KeyspaceId::DEFAULT, &id.0.to_be_bytes()), end: None };
        view = view.with_range(id, bounds, &stores);
        let range = view.ranges.get_mut(&id).unwrap();
        range.size_bytes = size_mib << 20;
        range.load = RangeLoad { requests_millis_per_second: rps * 1_000, write_bytes_per_second: rps * 100 };
    }
    let mut policies = Policies::default();
    policies.default.replicas = start.replicas;
    let mut model = Model { view, policies, ..Model::default() };
    let ids: Vec<_> = model.view.stores.keys().copied().collect();
    for dead in &start.dead {
        model.set_alive(ids[usize::from(*dead) % ids.len()], false);
    }
    if let Some(draining) = start.draining {
        model.view.stores.get_mut(&ids[usize::from(draining) % ids.len()]).unwrap().draining = true;
    }
    model.view.now = model.view.now.after(model.policies.limits.replace_after);
    model
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn plans_settle_through_legal_shapes(start in start()) {
        let mut model = build(&start);
        let rounds = model.settle(400);
        prop_assert!(rounds.is_some(), "still moving:\n{}", model.show());
        let before = model.show();
        prop_assert_eq!(model.settle(0), Some(0));
        prop_assert_eq!(before, model.show(), "what has settled stays");

        let view = &model.view;
        let eligible: BTreeSet<&SiteName> =
            view.stores.values().filter(|s| s.alive && !s.draining).map(|s| &s.site).collect();
        for range in view.ranges.values().filter(|r| r.leader.is_some()) {
            let voters: Vec<_> = range.descriptor.voters().collect();
            if start.dead.is_empty() {
                let with_voters = voters.iter().map(|r| &r.site);
                let places: BTreeSet<&SiteName> = eligible.iter().copied().chain(with_voters).collect();
                if places.len() >= start.replicas {
                    prop_assert_eq!(voters.len(), start.replicas, "{:?}", range.descriptor);
                }
                prop_assert!(range.learners().next().is_none(), "{:?}", range.descriptor);
            }
            prop_assert!(voters.len() <= start.replicas || !model.held().is_empty());
            if eligible.len() >= start.replicas && voters.len() >= 3 && voters.len() == start.replicas {
                for voter in &voters {
                    prop_assert!(view.is_alive(voter.store), "{:?} is not repaired: {:?}", range.descriptor, model.held());
                }
            }
        }
    }

    /// The model panics when a step is illegal or lacks a live quorum; afterwards nothing half done is left.
    #[test]
    fn stores_come_and_go_between_any_two_steps(start in start(), events in proptest::collection::vec((any::<u8>(), 0u64..700), 0..40)) {
        let mut model = build(&Start { dead: vec![], draining: None, ..start });
        let ids: Vec<_> = model.view.stores.keys().copied().collect();
        for (store, seconds) in events {
            let store = ids[usize::from(store) % ids.len()];
            let alive = model.view.is_alive(store);
            model.set_alive(store, !alive);
            model.round();
            model.view.now = model.view.now.after(Duration::from_secs(seconds));
        }
        for store in &ids {
            if !model.view.is_alive(*store) {
                model.set_alive(*store, true);
            }
        }
        model.view.now = model.view.now.after(model.policies.limits.replace_after);
        prop_assert!(model.settle(400).is_some(), "still moving:\n{}", model.show());
        for range in model.view.ranges.values() {
            prop_assert!(range.learners().next().is_none() && !range.descriptor.is_joint(), "{:?}", range.descriptor);
        }
    }

    /// The model panics when something is copied or handed over to a store that is not believed. What was said before it was done is what
    /// becomes of it: ranges that go on have a leader elsewhere, and those that are to be replaced end with no voter there.
    #[test]
    fn a_distrusted_site_ends_without_leaders_and_without_voters_that_have_another_place(
        start in start(),
        which in any::<u8>(),
        copy_rounds in 0usize..4,
    ) {
        let mut model = build(&Start { dead: vec![], draining: None, ..start });
        prop_assert!(model.settle(400).is_some());
        let sites: Vec<SiteName> = model.view.sites().into_iter().cloned().collect();
        let site = sites[usize::from(which) % sites.len()].clone();
        let meaning = judge_distrust(&model.view, &model.policies, &site);
        model.distrust(&site);
        model.copy_rounds = copy_rounds;
        prop_assert!(model.settle(4_000).is_some(), "still moving:\n{}", model.show());
        let there = |range: &RangeView| range.descriptor.voters().filter(|voter| voter.site == site).count();
        let mut left = 0;
        for (id, range) in &model.view.ranges {
            prop_assert_eq!(range.leader.is_none(), meaning.stopped.contains(id), "{}:\n{}", id, model.show());
            prop_assert!(range.leader.is_none_or(|leader| model.view.is_alive(leader)));
            left += usize::from(there(range) > 0 && range.leader.is_some());
        }
        let stopped = meaning.stopped.len();
        prop_assert!(left <= meaning.without_replacement, "{left} keep a voter there, {stopped} stopped: {:?}\n{}", model.held(), model.show());
        prop_assert_eq!(meaning.is_last, sites.len() == 1);
    }

    /// Whatever was judged about them, no range is ever weaker than before; and those that may leave end with nothing.
    #[test]
    fn stores_that_may_leave_end_empty_and_no_range_is_weaker_meanwhile(
        start in start(),
        leaving in proptest::collection::btree_set(any::<u8>(), 1..3),
        copy_rounds in 0usize..4,
    ) {
        let mut model = build(&Start { dead: vec![], draining: None, ..start });
        prop_assert!(model.settle(400).is_some());
        let ids: Vec<_> = model.view.stores.keys().copied().collect();
        let leaving: BTreeSet<_> = leaving.iter().map(|store| ids[usize::from(*store) % ids.len()]).collect();
        let verdict = judge_leaving(&model.view, &model.policies, &leaving);
        for store in &leaving {
            model.view.stores.get_mut(store).unwrap().leaving = true;
        }
        let voters = |range: &RangeView| range.voter_stores().len();
        // An even number counts as the odd one below it.
        let odd = |n: usize| if n.is_multiple_of(2) { n - 1 } else { n };
        let wanted = |range: &RangeView| odd(voters(range)).min(model.policies.of(&range.descriptor).voters());
        model.floor = model.view.ranges.iter().map(|(id, range)| (*id, wanted(range))).collect();
        model.copy_rounds = copy_rounds;
        // Which of two voters that both leave goes last is chance, so it is judged as if it were the worse one.
        let leave = |range: &RangeView| range.voter_stores().iter().all(|store| leaving.contains(store));
        let by_chance = model.view.ranges.values().any(|range| voters(range) == 2 && leave(range));
        prop_assert!(model.settle(4_000).is_some(), "still moving:\n{}", model.show());
        let held_by = |store: &StoreId| model.view.ranges.values().filter(|r| r.descriptor.replica_on(*store).is_some()).count();
        let left: usize = leaving.iter().map(held_by).sum();
        match verdict {
            Ok(()) => prop_assert_eq!(left, 0, "{:?} are not empty: {:?}\n{}", leaving, model.held(), model.show()),
            Err(CannotLeave::Places { .. }) => prop_assert!(left > 0 || by_chance, "they could have left:\n{}", model.show()),
            Err(_) => {}
        }
        for range in model.view.ranges.values() {
            prop_assert!(range.learners().next().is_none() || left > 0, "{:?}", range.descriptor);
        }
    }

    /// However loads change from one plan to the next.
    #[test]
    fn no_leader_is_moved_twice_for_balance_before_its_load_is_measured(
        loads in proptest::collection::vec(proptest::collection::vec(1u64..5_000, 6), 1..60),
    ) {
        let sites = vec![vec![4]; 3];
        let one = (vec![0, 1, 2, 3, 4, 5], 0, 3, 0, 0);
        let mut model = build(&Start { sites, ranges: vec![one; 6], dead: vec![], draining: None, replicas: 3 });
        prop_assert!(model.settle(400).is_some());
        let (every, again_after) = (Duration::from_millis(500), model.policies.limits.balance_again_after);
        let mut moved: BTreeMap<RangeId, Moment> = BTreeMap::new();
        for loads in loads {
            for (range, load) in model.view.ranges.values_mut().zip(loads) {
                range.load.requests_millis_per_second = load * 1_000;
            }
            model.view.now = model.view.now.after(every);
            for operator in model.round() {
                prop_assert_eq!(operator.reason, Reason::BalanceLeaders);
                let now = model.view.now;
                if let Some(before) = moved.insert(operator.range, now) {
                    prop_assert!(now.since(before) >= again_after, "{} moved again after {:?}", operator.range, now.since(before));
                }
            }
        }
    }

    #[test]
    fn healthy_fleet_of_equal_sites_ends_balanced(sites in 3u64..6, stores in 1u64..4, ranges in 1u64..40) {
        let equal = vec![vec![4; usize::try_from(stores).unwrap()]; usize::try_from(sites).unwrap()];
        let one = (vec![0, 1, 2, 3, 4, 5], 0, 1, 0, 0);
        let ranges = vec![one; usize::try_from(ranges).unwrap()];
        let mut model = build(&Start { sites: equal, ranges, dead: vec![], draining: None, replicas: 3 });
        prop_assert!(model.settle(400).is_some());
        let counts = |of: &dyn Fn(StoreId) -> usize| {
            let all: Vec<usize> = model.view.stores.keys().map(|s| of(*s)).collect();
            all.iter().max().unwrap() - all.iter().min().unwrap()
        };
        let ranges = || model.view.ranges.values();
        prop_assert!(counts(&|s| ranges().filter(|r| r.voter_stores().contains(&s)).count()) <= 1, "{}", model.counts());
        prop_assert!(counts(&|s| ranges().filter(|r| r.leader == Some(s)).count()) <= 1, "{}", model.counts());
    }
}

/// Found by chance: one fleet in 25,000 in which three ranges took turns for ever.
#[test]
fn half_done_moves_of_several_ranges_do_not_undo_each_other_for_ever() {
    let range =
        |order: [u8; 6], pick: u8, voters: usize, size_mib: u64, rps: u64| (order.into(), pick, voters, size_mib, rps);
    let start = Start {
        sites: vec![vec![5, 6], vec![4, 4, 3], vec![3, 4], vec![5], vec![1, 1, 3], vec![1]],
        ranges: vec![
            range([53, 53, 0, 0, 32, 0], 5, 3, 9, 164),
            range([151, 80, 80, 0, 0, 0], 46, 4, 45, 2_786),
            range([13, 13, 13, 13, 0, 0], 235, 1, 15, 2_130),
            range([12, 133, 0, 0, 0, 0], 47, 5, 22, 984),
            range([30, 0, 191, 0, 0, 0], 68, 5, 15, 582),
            range([0, 78, 0, 0, 78, 0], 104, 3, 47, 745),
            range([0, 0, 85, 0, 0, 0], 230, 3, 1, 104),
            range([0, 95, 95, 0, 0, 0], 220, 2, 33, 708),
            range([30, 0, 30, 30, 0, 0], 204, 2, 21, 2_489),
        ],
        dead: vec![],
        draining: None,
        replicas: 3,
    };
    let mut model = build(&start);
    assert!(model.settle(400).is_some());
    model.view.stores.get_mut(&StoreId(7)).unwrap().leaving = true;
    model.copy_rounds = 2;
    assert!(model.settle(400).is_some(), "still moving:\n{}", model.show());
}
