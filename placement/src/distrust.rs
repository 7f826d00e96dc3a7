//! What it means to distrust a site: whoever does it is told before it is done.
//!
//! Every store of the site is taken away in thought, all at once, and as lost: what has a live quorum without them goes on, and what has not
//! stands still until the site is trusted again. Whether placement can make the lost voters anew is a question of places; the loss itself is
//! the one that [`mod@crate::headroom`] plays through for every site all the time.

use std::collections::BTreeSet;

use holdfast_types::{RangeId, SiteName, StoreId};

use crate::headroom::{Headroom, headroom};
use crate::policy::{Policies, SurvivalGoal};
use crate::view::{FleetView, RangeView};

/// What becomes of the fleet when a site is distrusted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Meaning {
    /// The stores of the site, those that are dead too.
    pub stores: BTreeSet<StoreId>,
    /// Ranges that are led there.
    pub led: usize,
    /// Ranges with a voter there.
    pub losing_a_voter: usize,
    /// Of these, ranges that would be without a live quorum. Those that are without one already count: the site could have given it back.
    pub stopped: Vec<RangeId>,
    /// Of those that lose a voter, ranges for which there is no other place: they stay a voter short.
    pub without_replacement: usize,
    /// What the other sites have to spare without it; `None` when none of its stores lives, or no other site's.
    pub headroom: Option<Headroom>,
    /// No other site is trusted.
    pub is_last: bool,
}

impl Meaning {
    /// True when ranges would stand still.
    #[must_use]
    pub fn stops_ranges(&self) -> bool {
        !self.stopped.is_empty()
    }
}

/// Plays the distrust of a site through, on the fleet as it is. Sites that are distrusted already count as such in the view.
#[must_use]
pub fn judge_distrust(view: &FleetView, policies: &Policies, site: &SiteName) -> Meaning {
    let policies = policies.within_sites(view.sites().len());
    let is_there = |store: StoreId| view.stores.get(&store).is_some_and(|s| s.site == *site);
    let lives = |store: StoreId| view.is_alive(store) && !is_there(store);
    let stores = view.stores.keys().copied().filter(|store| is_there(*store)).collect();
    let left = Left::of(view, site);
    let (mut led, mut losing_a_voter, mut stopped, mut without_replacement) = (0, 0, Vec::new(), 0);
    for (id, range) in &view.ranges {
        led += usize::from(range.leader.is_some_and(is_there));
        // A store that left the fleet is known by the descriptor only.
        if !range.descriptor.voters().any(|voter| voter.site == *site) {
            continue;
        }
        losing_a_voter += 1;
        if !range.descriptor.is_quorum(|replica| lives(replica.store) && !range.is_damaged(replica)) {
            stopped.push(*id);
        }
        without_replacement += usize::from(!left.has_places_for(range, &policies));
    }
    let headroom = headroom(view).into_iter().find(|lost| lost.lost == *site);
    let is_last = !view.stores.values().any(|store| store.site != *site && !store.distrusted);
    Meaning { stores, led, losing_a_voter, stopped, without_replacement, headroom, is_last }
}

/// What lives without the site.
struct Left {
    sites: usize,
    stores: usize,
}

impl Left {
    fn of(view: &FleetView, site: &SiteName) -> Self {
        let alive = || view.stores.values().filter(|store| store.alive && store.site != *site);
        Self { sites: alive().map(|store| &store.site).collect::<BTreeSet<_>>().len(), stores: alive().count() }
    }

    /// As repair judges it: whether as many places are left as the range has voters.
    fn has_places_for(&self, range: &RangeView, policies: &Policies) -> bool {
        let policy = policies.of(&range.descriptor);
        let wanted = policy.voters().min(range.descriptor.voters().count());
        let places = match policy.goal {
            SurvivalGoal::Site => self.sites,
            SurvivalGoal::Store => self.stores,
        };
        places >= wanted
    }
}

#[cfg(test)]
mod tests {
    use holdfast_types::{KeyRange, Moment, ReplicaId};

    use super::*;

    fn site(name: &str) -> SiteName {
        SiteName::new(name).unwrap()
    }

    /// A store in each of the sites a, b, c, ..., and ranges of which the first store named leads.
    fn fleet(sites: usize, ranges: &[&[u64]]) -> FleetView {
        let mut view = FleetView::new(Moment::ZERO);
        for (id, name) in (1..).zip(["a", "b", "c", "d"]).take(sites) {
            view = view.with_store(StoreId(id), site(name));
        }
        for (id, voters) in (10..).zip(ranges) {
            let voters: Vec<_> = voters.iter().copied().map(StoreId).collect();
            view = view.with_range(RangeId(id), KeyRange::all(), &voters);
        }
        view
    }

    fn judge(view: &FleetView, name: &str) -> Meaning {
        judge_distrust(view, &Policies::default(), &site(name))
    }

    #[test]
    fn one_site_of_three_is_borne_and_nothing_takes_its_place() {
        let meaning = judge(&fleet(3, &[&[2, 1, 3], &[1, 2, 3]]), "b");
        assert_eq!((meaning.led, meaning.losing_a_voter, meaning.without_replacement), (1, 2, 2));
        assert!(!meaning.stops_ranges() && !meaning.is_last);
        assert_eq!(meaning.stores, BTreeSet::from([StoreId(2)]));
        assert_eq!(meaning.headroom.unwrap().lost, site("b"));
    }

    #[test]
    fn with_a_fourth_site_there_is_another_place() {
        let meaning = judge(&fleet(4, &[&[2, 1, 3], &[1, 3, 4]]), "b");
        assert_eq!((meaning.losing_a_voter, meaning.without_replacement), (1, 0));
    }

    #[test]
    fn a_second_site_takes_the_quorum_whether_the_first_is_dead_or_distrusted() {
        let view = fleet(3, &[&[1, 2, 3], &[1]]);
        let mut dead = view.clone();
        dead.stores.get_mut(&StoreId(3)).unwrap().alive = false;
        let mut doubted = view;
        doubted.distrust(&[site("c")].into());
        for view in [dead, doubted] {
            let meaning = judge(&view, "b");
            assert_eq!(meaning.stopped, [RangeId(10)], "and the range that is not there stays out of it");
        }
    }

    #[test]
    fn a_damaged_replica_elsewhere_is_no_voter_that_counts() {
        let mut view = fleet(3, &[&[1, 2, 3]]);
        view.ranges.get_mut(&RangeId(10)).unwrap().damaged.insert(ReplicaId(3));
        assert_eq!(judge(&view, "b").stopped, [RangeId(10)]);
        assert_eq!(judge(&view, "c").stopped, [], "the damaged one goes");
    }

    #[test]
    fn what_is_without_a_quorum_already_counts_when_the_site_could_have_given_it_back() {
        let mut view = fleet(3, &[&[1, 2, 3]]);
        for id in [2, 3] {
            view.stores.get_mut(&StoreId(id)).unwrap().alive = false;
        }
        let meaning = judge(&view, "b");
        assert_eq!((meaning.stopped.as_slice(), meaning.headroom), ([RangeId(10)].as_slice(), None));
    }

    #[test]
    fn the_last_site_is_the_one_beside_which_none_is_trusted() {
        let mut view = fleet(2, &[&[1]]);
        assert!(!judge(&view, "a").is_last);
        view.distrust(&[site("b")].into());
        assert!(judge(&view, "a").is_last && judge(&view, "a").stops_ranges());
        assert!(judge(&fleet(1, &[]), "a").is_last);
    }
}
