//! The load of stores and sites as it will be when everything planned is done, and how good that is.
//!
//! Goodness is one number to make small: the sum, over stores and over sites, of load squared by capacity. It is smallest
//! when load is in proportion to capacity everywhere. Every balancing move makes it smaller by at least the hysteresis, so
//! balancing comes to an end and never moves anything there and back.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_types::{RangeId, SiteName, StoreId};

use crate::policy::MoveLimits;
use crate::view::FleetView;

/// Fixed point of costs.
const SCALE: i128 = 1_000_000;

/// Which of the two loads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Replicas,
    Leaders,
}

#[derive(Clone, Copy, Debug, Default)]
struct Load {
    capacity: i128,
    replicas: i128,
    leaders: i128,
}

impl Load {
    fn of(&self, kind: Kind) -> i128 {
        match kind {
            Kind::Replicas => self.replicas,
            Kind::Leaders => self.leaders,
        }
    }

    fn add(&mut self, kind: Kind, weight: i128) {
        match kind {
            Kind::Replicas => self.replicas += weight,
            Kind::Leaders => self.leaders += weight,
        }
    }

    /// How much the sum of squares grows when `weight` (negative: goes away) is added.
    fn growth(&self, kind: Kind, weight: i128) -> i128 {
        weight * (2 * self.of(kind) + weight) * SCALE / self.capacity.max(1)
    }
}

/// Loads per store and site.
#[derive(Debug)]
pub(crate) struct Layout {
    stores: BTreeMap<StoreId, (SiteName, Load)>,
    sites: BTreeMap<SiteName, Load>,
    pairs: BTreeMap<(SiteName, SiteName), i128>,
}

impl Layout {
    /// The layout of the voters and leaders as they are.
    pub fn of(view: &FleetView) -> Self {
        let mut layout = Self { stores: BTreeMap::new(), sites: BTreeMap::new(), pairs: BTreeMap::new() };
        for (id, store) in &view.stores {
            let capacity = i128::from(store.capacity_millicores.max(1));
            layout.stores.insert(*id, (store.site.clone(), Load { capacity, ..Load::default() }));
            let site = layout.sites.entry(store.site.clone()).or_default();
            // What leaves is no place to put anything, however much of it there is.
            site.capacity += if store.alive && !store.leaving { capacity } else { 0 };
        }
        for range in view.ranges.values() {
            let sites: Vec<_> = range.descriptor.incoming_voters().map(|r| r.site.clone()).collect();
            for voter in range.descriptor.incoming_voters() {
                layout.shift(Kind::Replicas, None, Some(voter.store), range.replica_weight());
            }
            layout.count_pairs(&sites, 1);
            layout.shift(Kind::Leaders, None, range.leader, range.leader_weight());
        }
        layout
    }

    /// Moves load. A store that is not known carries none.
    pub fn shift(&mut self, kind: Kind, from: Option<StoreId>, to: Option<StoreId>, weight: u64) {
        for (store, weight) in [(from, -i128::from(weight)), (to, i128::from(weight))] {
            let Some((site, load)) = store.and_then(|store| self.stores.get_mut(&store)) else { continue };
            load.add(kind, weight);
            self.sites.entry(site.clone()).or_default().add(kind, weight);
        }
    }

    /// How much worse (positive) or better (negative) the layout gets by moving load.
    pub fn cost(&self, kind: Kind, from: Option<StoreId>, to: StoreId, weight: u64) -> i128 {
        let weight = i128::from(weight);
        let Some((to_site, to_load)) = self.stores.get(&to) else { return i128::MAX / 2 };
        let mut cost = to_load.growth(kind, weight);
        let from = from.and_then(|from| self.stores.get(&from));
        if let Some((_, load)) = from {
            cost += load.growth(kind, -weight);
        }
        if from.is_none_or(|(site, _)| site != to_site) {
            cost += self.sites[to_site].growth(kind, weight);
            cost += from.map_or(0, |(site, _)| self.sites[site].growth(kind, -weight));
        }
        cost
    }

    /// How full a store is for one more replica of this weight, in steps of a few such replicas: within a step it matters
    /// more which sites share ranges.
    pub fn steps_above_empty(&self, to: StoreId, weight: u64) -> i128 {
        let Some((site, load)) = self.stores.get(&to) else { return i128::MAX };
        let empty = Load { capacity: load.capacity, ..Load::default() };
        let empty_site = Load { capacity: self.sites[site].capacity, ..Load::default() };
        let weight_signed = i128::from(weight);
        let least = empty.growth(Kind::Replicas, weight_signed) + empty_site.growth(Kind::Replicas, weight_signed);
        self.cost(Kind::Replicas, None, to, weight) / (4 * least.max(1))
    }

    /// True when a move that costs this much is worth making.
    pub fn is_worth(&self, cost: i128, kind: Kind, weight: u64, limits: &MoveLimits) -> bool {
        // Division rounds each of at most four terms by less than one.
        -cost > self.margin(kind, weight, limits).max(4)
    }

    /// Pairs of stores between which moving something, however small, can be worth it: none in a balanced fleet, so that
    /// ranges need not be looked at one by one.
    pub fn slopes(&self, kind: Kind, limits: &MoveLimits) -> BTreeSet<(StoreId, StoreId)> {
        let ids = || self.stores.keys().copied();
        let pairs = ids().flat_map(|from| ids().map(move |to| (from, to)));
        // The cost of a move is its weight times the slope, and something on top.
        let least = self.margin(kind, 1, limits);
        pairs.filter(|(from, to)| from != to && -self.slope(kind, *from, *to) >= least).collect()
    }

    fn slope(&self, kind: Kind, from: StoreId, to: StoreId) -> i128 {
        let ((from_site, from), (to_site, to)) = (&self.stores[&from], &self.stores[&to]);
        let density = |load: &Load| 2 * load.of(kind) * SCALE / load.capacity.max(1);
        let sites =
            if from_site == to_site { 0 } else { density(&self.sites[to_site]) - density(&self.sites[from_site]) };
        // Four divisions, each rounded by less than one.
        density(to) - density(from) + sites - 4
    }

    /// What moving this weight must gain.
    fn margin(&self, kind: Kind, weight: u64, limits: &MoveLimits) -> i128 {
        let total: i128 = self.sites.values().map(|s| s.of(kind)).sum();
        let capacity: i128 = self.sites.values().map(|s| s.capacity).sum::<i128>().max(1);
        2 * i128::from(weight) * i128::from(limits.hysteresis_percent) * total * SCALE / (100 * capacity)
    }

    /// How many ranges already share `site` with one of `others`.
    pub fn shared_with(&self, site: &SiteName, others: &[SiteName]) -> i128 {
        others.iter().map(|other| self.pairs.get(&pair(site, other)).copied().unwrap_or(0)).sum()
    }

    /// Counts a range with voters in these sites (or, with -1, no longer).
    pub fn count_pairs(&mut self, sites: &[SiteName], by: i128) {
        for (i, left) in sites.iter().enumerate() {
            for right in sites.iter().skip(i + 1) {
                *self.pairs.entry(pair(left, right)).or_default() += by;
            }
        }
    }
}

fn pair(left: &SiteName, right: &SiteName) -> (SiteName, SiteName) {
    if left <= right { (left.clone(), right.clone()) } else { (right.clone(), left.clone()) }
}

/// Breaks ties so that different ranges prefer different stores. Steele et al., "Fast splittable pseudorandom number
/// generators", 2014 (SplitMix64).
pub(crate) fn tie(range: RangeId, store: StoreId) -> u64 {
    fn mix(mut z: u64) -> u64 {
        z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    mix(mix(range.0) ^ store.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_types::Moment;

    #[test]
    fn moving_there_is_never_as_good_as_moving_back() {
        let site = |name| SiteName::new(name).unwrap();
        let view = FleetView::new(Moment::ZERO).with_store(StoreId(1), site("a")).with_store(StoreId(2), site("b"));
        let mut layout = Layout::of(&view);
        layout.shift(Kind::Leaders, None, Some(StoreId(1)), 30);
        let there = layout.cost(Kind::Leaders, Some(StoreId(1)), StoreId(2), 10);
        assert!(layout.is_worth(there, Kind::Leaders, 10, &MoveLimits::default()));
        layout.shift(Kind::Leaders, Some(StoreId(1)), Some(StoreId(2)), 10);
        let back = layout.cost(Kind::Leaders, Some(StoreId(2)), StoreId(1), 10);
        assert_eq!(there, -back);
        let more = layout.cost(Kind::Leaders, Some(StoreId(1)), StoreId(2), 10);
        assert!(!layout.is_worth(more, Kind::Leaders, 10, &MoveLimits::default()), "20 and 10: nothing to gain");
    }
}
