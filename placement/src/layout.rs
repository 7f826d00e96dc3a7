//! The load of stores and sites as it will be when everything planned is done, and how good that is.
//!
//! Goodness is one number to make small: the sum, over stores and over sites, of load squared by capacity. It is smallest
//! when load is in proportion to capacity everywhere. Every balancing move makes it smaller by at least the hysteresis, so
//! balancing comes to an end and never moves anything there and back.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_types::{RangeId, SiteName, StoreId};

use crate::policy::MoveLimits;
use crate::view::{FleetView, RangeView};

/// Fixed point of costs.
const SCALE: i128 = 1_000_000;

/// Pairs of stores between which load can go downhill: for each store that would give, those that would get.
pub(crate) type Slopes = BTreeMap<StoreId, BTreeSet<StoreId>>;

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

/// A site within a [`Layout`].
type SiteIndex = usize;

/// Loads per store and site.
///
/// Every range is counted in it with every plan, so sites go by number: their names are compared once a range, and never copied.
#[derive(Debug)]
pub(crate) struct Layout {
    stores: BTreeMap<StoreId, (SiteIndex, Load)>,
    /// Also sites that only descriptors name: those of stores that left the fleet.
    names: BTreeMap<SiteName, SiteIndex>,
    sites: Vec<Load>,
    /// How many ranges have voters in both of two sites.
    pairs: BTreeMap<(SiteIndex, SiteIndex), i128>,
}

impl Layout {
    /// The layout of the voters and leaders as they are.
    #[cfg(test)]
    pub fn of(view: &FleetView) -> Self {
        let mut layout = Self::empty(view);
        view.ranges.values().for_each(|range| layout.count(range));
        layout
    }

    /// The stores of the fleet, holding nothing.
    pub fn empty(view: &FleetView) -> Self {
        let mut layout =
            Self { stores: BTreeMap::new(), names: BTreeMap::new(), sites: Vec::new(), pairs: BTreeMap::new() };
        for (id, store) in &view.stores {
            let capacity = i128::from(store.capacity_millicores.max(1));
            let site = layout.site(&store.site);
            layout.stores.insert(*id, (site, Load { capacity, ..Load::default() }));
            // What leaves is no place to put anything, however much of it there is.
            layout.sites[site].capacity += if store.alive && !store.leaving { capacity } else { 0 };
        }
        layout
    }

    /// Counts the voters and the leader of a range.
    pub fn count(&mut self, range: &RangeView) {
        let voters = || range.descriptor.incoming_voters();
        let weight = range.replica_weight();
        for (i, voter) in voters().enumerate() {
            self.shift(Kind::Replicas, None, Some(voter.store), weight);
            let site = self.site(&voter.site);
            for other in voters().take(i) {
                let other = self.site(&other.site);
                *self.pairs.entry(pair(site, other)).or_default() += 1;
            }
        }
        self.shift(Kind::Leaders, None, range.leader, range.leader_weight());
    }

    fn site(&mut self, name: &SiteName) -> SiteIndex {
        if let Some(known) = self.names.get(name) {
            return *known;
        }
        self.names.insert(name.clone(), self.sites.len());
        self.sites.push(Load::default());
        self.sites.len() - 1
    }

    /// Moves load. A store that is not known carries none.
    pub fn shift(&mut self, kind: Kind, from: Option<StoreId>, to: Option<StoreId>, weight: u64) {
        for (store, weight) in [(from, -i128::from(weight)), (to, i128::from(weight))] {
            let Some((site, load)) = store.and_then(|store| self.stores.get_mut(&store)) else { continue };
            load.add(kind, weight);
            self.sites[*site].add(kind, weight);
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
            cost += self.sites[*to_site].growth(kind, weight);
            cost += from.map_or(0, |(site, _)| self.sites[*site].growth(kind, -weight));
        }
        cost
    }

    /// How full a store is for one more replica of this weight, in steps of a few such replicas: within a step it matters
    /// more which sites share ranges.
    pub fn steps_above_empty(&self, to: StoreId, weight: u64) -> i128 {
        let Some((site, load)) = self.stores.get(&to) else { return i128::MAX };
        let empty = Load { capacity: load.capacity, ..Load::default() };
        let empty_site = Load { capacity: self.sites[*site].capacity, ..Load::default() };
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
    /// ranges need not be looked at one by one. By the store that would give.
    pub fn slopes(&self, kind: Kind, limits: &MoveLimits) -> Slopes {
        let density = |load: &Load| 2 * load.of(kind) * SCALE / load.capacity.max(1);
        let sites: Vec<i128> = self.sites.iter().map(density).collect();
        let stores: Vec<_> =
            self.stores.iter().map(|(id, (site, load))| (*id, *site, density(load), sites[*site])).collect();
        // The cost of a move is its weight times the slope, and something on top.
        let least = self.margin(kind, 1, limits);
        let mut slopes = Slopes::new();
        for (from, from_site, from_density, from_site_density) in &stores {
            let falls = |(to, to_site, to_density, to_site_density): &&(StoreId, SiteIndex, i128, i128)| {
                let sites = if from_site == to_site { 0 } else { to_site_density - from_site_density };
                // Four divisions, each rounded by less than one.
                from != to && -(to_density - from_density + sites - 4) >= least
            };
            let to: BTreeSet<StoreId> = stores.iter().filter(falls).map(|(to, ..)| *to).collect();
            if !to.is_empty() {
                slopes.insert(*from, to);
            }
        }
        slopes
    }

    /// What moving this weight must gain.
    fn margin(&self, kind: Kind, weight: u64, limits: &MoveLimits) -> i128 {
        let total: i128 = self.sites.iter().map(|s| s.of(kind)).sum();
        let capacity: i128 = self.sites.iter().map(|s| s.capacity).sum::<i128>().max(1);
        2 * i128::from(weight) * i128::from(limits.hysteresis_percent) * total * SCALE / (100 * capacity)
    }

    /// How many ranges already share `site` with one of `others`.
    pub fn shared_with(&self, site: &SiteName, others: &[&SiteName]) -> i128 {
        let Some(site) = self.names.get(site) else { return 0 };
        let others = others.iter().filter_map(|other| self.names.get(*other));
        others.map(|other| self.pairs.get(&pair(*site, *other)).copied().unwrap_or(0)).sum()
    }

    /// Counts a range with voters on these stores (or, with -1, no longer).
    pub fn count_pairs(&mut self, stores: &BTreeSet<StoreId>, by: i128) {
        let sites: Vec<SiteIndex> =
            stores.iter().filter_map(|store| self.stores.get(store)).map(|(site, _)| *site).collect();
        for (i, left) in sites.iter().enumerate() {
            for right in sites.iter().skip(i + 1) {
                *self.pairs.entry(pair(*left, *right)).or_default() += by;
            }
        }
    }
}

fn pair(left: SiteIndex, right: SiteIndex) -> (SiteIndex, SiteIndex) {
    (left.min(right), left.max(right))
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
