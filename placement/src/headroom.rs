//! What the survivors have to spare when a site is lost, on the layout as it is.
//!
//! The loss of each site is played through: every range that it leads goes to the voters that remain, in equal parts, and
//! takes with it its share of what its leader's store uses. What a follower costs is counted with the leader, so the figures
//! err towards too little headroom.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use holdfast_types::{Role, SiteName, StoreId};

use crate::view::{FleetView, RangeView};

/// What the loss of one site would do to the store that it strains most.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Headroom {
    /// The site whose loss was played through.
    pub lost: SiteName,
    /// The site of the store that binds.
    pub binds: SiteName,
    /// That store.
    pub store: StoreId,
    /// What it would use, in thousandths of what it uses now.
    pub needs_permille: u64,
    /// What it could use, in thousandths of what it uses now.
    pub has_permille: u64,
    /// What it would use, in thousandths of what it can.
    pub utilisation_permille: u64,
    /// Ranges that would be without a quorum.
    pub ranges_without_quorum: usize,
    /// Of these, ranges whose voters are not spread over the sites yet, though there are sites enough.
    pub ranges_not_spread: usize,
}

impl Headroom {
    /// True when the loss can be borne: nothing is cut off, and nobody needs more than there is.
    #[must_use]
    pub fn is_enough(&self) -> bool {
        self.ranges_without_quorum == 0 && self.utilisation_permille <= 1_000
    }

    /// True when the loss cannot be borne only because voters are not spread yet, which placement sees to: so every fleet begins.
    #[must_use]
    pub fn is_spreading(&self) -> bool {
        let not_spread = self.ranges_not_spread;
        not_spread > 0 && not_spread == self.ranges_without_quorum && self.utilisation_permille <= 1_000
    }
}

impl fmt::Display for Headroom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let times = |permille: u64| format!("{}.{:02}x", (permille + 5) / 1_000, (permille + 5) % 1_000 / 10);
        let (needs, has) = (times(self.needs_permille), times(self.has_permille));
        write!(f, "lose {}: needs {needs}, has {has}, site {} binds", self.lost, self.binds)?;
        match self.ranges_not_spread {
            0 => {}
            1 => f.write_str("; not spread yet: 1 range has fewer voters than wanted")?,
            n => write!(f, "; not spread yet: {n} ranges have fewer voters than wanted")?,
        }
        match self.ranges_without_quorum - self.ranges_not_spread {
            0 => Ok(()),
            1 => f.write_str("; 1 range would be without a quorum"),
            n => write!(f, "; {n} ranges would be without a quorum"),
        }
    }
}

/// One entry per live site whose loss leaves a store: the loss of that site.
#[must_use]
pub fn headroom(view: &FleetView) -> Vec<Headroom> {
    let led = led_weight(view);
    let lost_sites: BTreeSet<&SiteName> = view.live_sites();
    lost_sites.into_iter().filter_map(|lost| lose(view, &led, lost)).collect()
}

/// The weight of all leaders of each store.
fn led_weight(view: &FleetView) -> BTreeMap<StoreId, u128> {
    let mut led = BTreeMap::new();
    for range in view.ranges.values() {
        if let Some(leader) = range.leader {
            *led.entry(leader).or_default() += u128::from(range.leader_weight());
        }
    }
    led
}

fn lose(view: &FleetView, led: &BTreeMap<StoreId, u128>, lost: &SiteName) -> Option<Headroom> {
    let mut extra: BTreeMap<StoreId, u128> = BTreeMap::new();
    let (mut ranges_without_quorum, mut ranges_not_spread) = (0, 0);
    for range in view.ranges.values() {
        let survives = |store: StoreId| view.stores.get(&store).is_some_and(|s| s.alive && s.site != *lost);
        if !range.descriptor.is_quorum(|r| survives(r.store) && !range.is_damaged(r)) {
            ranges_without_quorum += 1;
            ranges_not_spread += usize::from(!is_spread(view, range));
        }
        if range.leader_site() != Some(lost) {
            continue;
        }
        let heirs = range
            .descriptor
            .voters()
            .filter(|r| r.role != Role::OutgoingVoter && survives(r.store) && !range.is_damaged(r));
        let heirs: Vec<StoreId> = heirs.map(|r| r.store).collect();
        for heir in &heirs {
            *extra.entry(*heir).or_default() += cost_micros(view, led, range) / heirs.len() as u128;
        }
    }
    let survivors = view.stores.iter().filter(|(_, s)| s.alive && s.site != *lost);
    let strained = survivors.map(|(id, store)| {
        let used = u128::from(store.used_millicores) * 1_000;
        let after = used + extra.get(id).copied().unwrap_or(0);
        let capacity = u128::from(store.capacity_millicores.max(1)) * 1_000;
        (permille(after, capacity), *id, &store.site, permille(after, used), permille(capacity, used))
    });
    // Of equals, the first store.
    let (utilisation_permille, store, site, needs_permille, has_permille) =
        strained.max_by_key(|(utilisation, id, ..)| (*utilisation, std::cmp::Reverse(*id)))?;
    let binds = site.clone();
    Some(Headroom {
        lost: lost.clone(),
        binds,
        store,
        needs_permille,
        has_permille,
        utilisation_permille,
        ranges_without_quorum,
        ranges_not_spread,
    })
}

/// True when the range has voters in as many sites as it takes to lose one, or there are not so many sites.
fn is_spread(view: &FleetView, range: &RangeView) -> bool {
    /// Of three voters two are a quorum.
    const SITES: usize = 3;
    let sites: BTreeSet<&SiteName> = range.descriptor.voters().map(|voter| &voter.site).collect();
    sites.len() >= SITES || view.live_sites().len() < SITES
}

/// The range's share of what its leader's store uses, in millionths of a core.
fn cost_micros(view: &FleetView, led: &BTreeMap<StoreId, u128>, range: &RangeView) -> u128 {
    let Some((leader, store)) = range.leader.and_then(|id| Some((id, view.stores.get(&id)?))) else { return 0 };
    let all = led.get(&leader).copied().unwrap_or(0).max(1);
    u128::from(store.used_millicores) * 1_000 * u128::from(range.leader_weight()) / all
}

/// Rounded to the nearest; nothing of nothing is one, something of nothing is capped.
fn permille(part: u128, whole: u128) -> u64 {
    /// A thousand times as much: more says nothing.
    const MOST: u128 = 1_000_000;
    if whole == 0 {
        return if part == 0 { 1_000 } else { u64::try_from(MOST).expect("small") };
    }
    u64::try_from(((part * 1_000 + whole / 2) / whole).min(MOST)).expect("capped")
}
