//! Sites that an operator had distrusted: whoever plans hears of it from the records, tells every store, and gives such a site nothing.
//!
//! Nothing is cut here: that connections end is the server's. So what these stores still say must not count.

#![allow(clippy::unwrap_used, reason = "tests")]

mod fleet;

use std::time::Duration;

use fleet::{Fleet, REST, store};
use holdfast_placement::{MoveLimits, Policies};
use holdfast_types::{RangeId, StoreId};

/// Four stores, one a site, whose lost ones are replaced after a time.
fn four_stores(replace_after: Duration) -> Fleet {
    let mut fleet = Fleet::new(4, 2);
    let limits = MoveLimits { replace_after, ..MoveLimits::default() };
    fleet.set_policies(&Policies { limits, ..Policies::default() });
    fleet.run_until(60_000, "spreading", |f| f.voters(REST) == 3 && f.voters(RangeId::SYSTEM) == 3);
    fleet
}

fn votes(fleet: &Fleet, range: RangeId, store: StoreId) -> Option<bool> {
    let leader = fleet.leader(range)?;
    Some(fleet.standing(leader, range)?.descriptor.voters().any(|voter| voter.store == store))
}

#[test]
fn every_store_hears_of_it_from_whoever_plans_and_its_voters_are_replaced_without_a_wait() {
    let mut fleet = four_stores(Duration::from_secs(600));
    // Whoever leads goes on leading here, since nothing is cut: so no lead may be on its way to the doubted store.
    fleet.run(30_000);
    let leads = |id| [REST, RangeId::SYSTEM].iter().any(|range| fleet.leader(*range) == Some(id));
    let doubted = (1..=4).map(store).find(|id| votes(&fleet, REST, *id) == Some(true) && !leads(*id)).unwrap();
    let site = fleet.site(doubted);
    fleet.distrust(&site);
    fleet.run_until(10_000, "everybody is told", |f| {
        let says = |id| f.stores[&store(id)].sites.iter().any(|said| said.site == site && said.is_distrusted());
        (1..=4).all(says)
    });
    fleet.run_until(60_000, "others vote in its place", |f| {
        [REST, RangeId::SYSTEM].iter().all(|range| votes(f, *range, doubted) == Some(false) && f.voters(*range) == 3)
    });
}

#[test]
fn a_store_that_restarts_and_begins_to_plan_reads_it_before_it_plans() {
    let mut fleet = four_stores(Duration::from_secs(3));
    let spare = (1..=4).map(store).find(|id| votes(&fleet, REST, *id) == Some(false)).unwrap();
    let site = fleet.site(spare);
    fleet.distrust(&site);
    // Whoever planned is gone, and so is what it knew; the lost one is to be replaced, and nobody but the distrusted store has a place.
    let planner = fleet.leader(RangeId::SYSTEM).unwrap();
    assert_ne!(planner, spare, "it would plan itself");
    fleet.crash(planner);
    fleet.run(15_000);
    assert_eq!(votes(&fleet, REST, spare), Some(false));
    fleet.start(planner);
    fleet.run_until(30_000, "it votes again", |f| f.voters(REST) == 3 && f.leader(RangeId::SYSTEM).is_some());
    assert_eq!(votes(&fleet, REST, spare), Some(false));
}
