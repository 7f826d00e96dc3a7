//! A plan's cost is linear in the ranges, whatever happened to the fleet: counted in looks at ranges, since no test asserts a time.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use holdfast_placement::{FleetView, Plan, Policies, RangeLoad, StoreView, explain};
use holdfast_types::{Key, KeyRange, KeyspaceId, Moment, RangeId, SiteName, StoreId};

const SITES: u64 = 3;
const STORES_EACH: u64 = 3;
const FIRST: StoreId = StoreId(1);

/// Voters in three sites and leaders, shared out evenly.
fn balanced(ranges: u64) -> FleetView {
    let mut view = FleetView::new(Moment::ZERO.after(Duration::from_secs(3_600)));
    for store in 0..SITES * STORES_EACH {
        let site = SiteName::new(&format!("site-{}", store / STORES_EACH)).unwrap();
        view.stores.insert(StoreId(store + 1), StoreView::alive_at(site));
    }
    let bound = |n: u64| Key::bound(KeyspaceId::DEFAULT, &n.to_be_bytes());
    for range in 0..ranges {
        let voter = |i| StoreId(1 + (range + i) % SITES * STORES_EACH + range / SITES % STORES_EACH);
        let voters: Vec<_> = (0..SITES).map(voter).collect();
        let (id, bounds) = (RangeId(range + 10), KeyRange { start: bound(range), end: Some(bound(range + 1)) });
        view = view.with_range(id, bounds, &voters);
        view.ranges.get_mut(&id).unwrap().load =
            RangeLoad { requests_millis_per_second: 2_000 + range % 7, write_bytes_per_second: 100 };
    }
    view
}

fn add_a_store(view: &mut FleetView) {
    let id = StoreId(view.stores.len() as u64 + 1);
    let site = view.stores[&FIRST].site.clone();
    view.stores.insert(id, StoreView::alive_at(site));
}

fn lead_all_by_the_first(view: &mut FleetView) {
    for range in view.ranges.values_mut().filter(|range| range.descriptor.replica_on(FIRST).is_some()) {
        range.leader = Some(FIRST);
    }
}

fn lose(view: &mut FleetView, lost: impl Fn(StoreId) -> bool) {
    for (id, store) in view.stores.iter_mut().filter(|(id, _)| lost(**id)) {
        (store.alive, store.silent_since) = (false, Some(Moment::ZERO));
        for range in view.ranges.values_mut().filter(|range| range.leader == Some(*id)) {
            range.leader = range.descriptor.voters().map(|r| r.store).find(|store| !lost(*store));
        }
    }
}

/// What happens to a balanced fleet, and its name.
type Situation = (&'static str, fn(&mut FleetView));

const SITUATIONS: [Situation; 8] = [
    ("balanced", |_| {}),
    ("a new store", add_a_store),
    ("a lost store", |view| lose(view, |store| store == FIRST)),
    ("a lost site", |view| lose(view, |store| store.0 <= STORES_EACH)),
    ("a store drains", |view| view.stores.get_mut(&FIRST).unwrap().draining = true),
    ("a store leaves", |view| view.stores.get_mut(&FIRST).unwrap().leaving = true),
    ("one store leads all it can", lead_all_by_the_first),
    ("leaders should move and nobody may take one", |view| {
        add_a_store(view);
        lead_all_by_the_first(view);
        let now = view.now;
        view.stores.iter_mut().filter(|(id, _)| **id != FIRST).for_each(|(_, store)| store.alive_since = Some(now));
    }),
];

fn plan_of(ranges: u64, happens: fn(&mut FleetView)) -> Plan {
    let mut view = balanced(ranges);
    happens(&mut view);
    explain(&view, &Policies::default())
}

#[test]
fn twice_the_ranges_are_at_most_twice_the_looks() {
    for (name, happens) in SITUATIONS {
        let (few, many) = (plan_of(4_500, happens), plan_of(9_000, happens));
        println!("{name}: {} and {} looks, {} operators", few.looks, many.looks, many.operators.len());
        assert!(many.looks <= 2 * few.looks + few.looks / 8, "{name}: {} and {} looks", few.looks, many.looks);
        assert!(few.looks >= 4_500, "{name}: every range is looked at");
    }
}

#[test]
fn what_is_settled_is_looked_at_once() {
    let plan = plan_of(9_000, |_| {});
    assert_eq!((plan.operators, plan.held, plan.looks), (vec![], vec![], 9_000));
}

#[test]
fn copies_that_have_no_room_all_wait_and_those_that_have_begun_go_on() {
    let mut view = balanced(9_000);
    lose(&mut view, |store| store == FIRST);
    let lost = view.ranges.values().filter(|range| range.descriptor.replica_on(FIRST).is_some()).count();
    // The last of them has got its replacement, which has caught up.
    let (last, range) =
        view.ranges.iter_mut().rfind(|(_, range)| range.descriptor.replica_on(FIRST).is_some()).unwrap();
    let (last, replica) = (*last, range.descriptor.next_replica);
    range.descriptor.next_replica = replica.next();
    let site = range.descriptor.replica_on(FIRST).unwrap().site.clone();
    let (store, role) = (StoreId(2), holdfast_types::Role::Learner);
    range.descriptor.replicas.push(holdfast_types::ReplicaDescriptor { replica, store, site, role });
    range.caught_up.insert(replica);
    let plan = explain(&view, &Policies::default());
    assert!(plan.operators.iter().any(|operator| operator.range == last), "it ends, whatever waits before it");
    let told = plan.operators.iter().map(|operator| operator.range).chain(plan.held.iter().map(|held| held.range));
    let concerned = told.filter(|id| view.ranges[id].descriptor.replica_on(FIRST).is_some());
    assert_eq!(concerned.count(), lost, "each is planned for or waits");
}
