//! What placement knows of the fleet: plain data, put together from the reports of stores.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_types::{
    KeyRange, Moment, RangeDescriptor, RangeEpoch, RangeId, ReplicaDescriptor, ReplicaId, Role, SiteName, StoreId,
};

use crate::operator::Operator;
use crate::policy::MoveLimits;

/// The fleet as the store that plans sees it. All moments are of that store's clock.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct FleetView {
    /// When this view was taken.
    pub now: Moment,
    /// Every store that is a member of the fleet, alive or not.
    pub stores: BTreeMap<StoreId, StoreView>,
    /// Every range that was reported.
    pub ranges: BTreeMap<RangeId, RangeView>,
}

/// One store.
///
/// - One that is distrusted is not alive ([`StoreView::distrust`]).
#[derive(Clone, PartialEq, Debug)]
pub struct StoreView {
    /// Its site.
    pub site: SiteName,
    /// True while it reports in time.
    pub alive: bool,
    /// True when its site is distrusted: whatever it says, nobody hears it, and it is lost at once.
    pub distrusted: bool,
    /// False until the records of stores were read since it was heard again: it may have been forgotten meanwhile, and gets no
    /// replicas.
    pub is_confirmed: bool,
    /// Since when it has not reported; `None` while it is alive.
    pub silent_since: Option<Moment>,
    /// Since when it has been alive without a break; `None` means for as long as anyone remembers.
    pub alive_since: Option<Moment>,
    /// True when it is to be stopped: it gets no leaders and no replicas.
    pub draining: bool,
    /// True when an operator said that it leaves the fleet: whatever it leads and holds goes elsewhere, and nothing new comes.
    pub leaving: bool,
    /// What it can do, in thousandths of a core.
    pub capacity_millicores: u64,
    /// What it is doing, in thousandths of a core.
    pub used_millicores: u64,
    /// The size of its disk.
    pub disk_total_bytes: u64,
    /// What is free of it.
    pub disk_free_bytes: u64,
    /// False when its disk stalls or fails, or its wall clock is off.
    pub disk_ok: bool,
}

/// The measured load of one range at its leader.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RangeLoad {
    /// Requests per 1,000 seconds.
    pub requests_millis_per_second: u64,
    /// Bytes of log entries per second.
    pub write_bytes_per_second: u64,
}

/// One range, as its leader reported it last.
#[derive(Clone, PartialEq, Debug)]
pub struct RangeView {
    /// Bounds, replicas and epoch.
    pub descriptor: RangeDescriptor,
    /// The store that leads it, as far as known.
    pub leader: Option<StoreId>,
    /// Since when that store has led it; `None` means for as long as anyone remembers.
    pub led_since: Option<Moment>,
    /// True when that leader holds its lease.
    pub leader_has_lease: bool,
    /// Replicas whose log matches the leader's closely; the leader's own counts even when it is not named here.
    pub caught_up: BTreeSet<ReplicaId>,
    /// Replicas that their stores found damaged: dead for good, whatever the leader knows of them.
    pub damaged: BTreeSet<ReplicaId>,
    /// Bytes of data.
    pub size_bytes: u64,
    /// The measured load.
    pub load: RangeLoad,
    /// The operator that was last handed to the leader, if it is not known to be over.
    pub pending: Option<Operator>,
    /// When the leader reported.
    pub reported_at: Moment,
}

impl FleetView {
    /// An empty fleet.
    #[must_use]
    pub fn new(now: Moment) -> Self {
        Self { now, ..Self::default() }
    }

    /// Adds a live store with four cores and a disk of 100 GiB.
    #[must_use]
    pub fn with_store(mut self, store: StoreId, site: SiteName) -> Self {
        self.stores.insert(store, StoreView::alive_at(site));
        self
    }

    /// Adds an idle range of `bounds` with one caught-up voter on each of `voters`, led by the first.
    ///
    /// Panics when a store is not known.
    #[must_use]
    pub fn with_range(mut self, range: RangeId, bounds: KeyRange, voters: &[StoreId]) -> Self {
        let replicas: Vec<_> = (1..)
            .zip(voters)
            .map(|(id, store)| ReplicaDescriptor {
                replica: ReplicaId(id),
                store: *store,
                site: self.stores[store].site.clone(),
                role: Role::Voter,
            })
            .collect();
        let caught_up = replicas.iter().map(|r| r.replica).collect();
        let next_replica = ReplicaId(replicas.len() as u64 + 1);
        let descriptor = RangeDescriptor { range, bounds, epoch: RangeEpoch::default(), replicas, next_replica };
        let view = RangeView::idle(descriptor, voters.first().copied(), caught_up, self.now);
        self.ranges.insert(range, view);
        self
    }

    /// Sites with at least one live store.
    #[must_use]
    pub fn live_sites(&self) -> BTreeSet<&SiteName> {
        self.stores.values().filter(|s| s.alive).map(|s| &s.site).collect()
    }

    /// All sites of the fleet.
    #[must_use]
    pub fn sites(&self) -> BTreeSet<&SiteName> {
        self.stores.values().map(|s| &s.site).collect()
    }

    /// True when the store is a member and reports.
    #[must_use]
    pub fn is_alive(&self, store: StoreId) -> bool {
        self.stores.get(&store).is_some_and(|s| s.alive)
    }

    /// True when the store is to leave the fleet.
    #[must_use]
    pub fn is_leaving(&self, store: StoreId) -> bool {
        self.stores.get(&store).is_some_and(|s| s.leaving)
    }

    /// True when the store has been silent for the whole grace time, is distrusted, or is no member any more.
    #[must_use]
    pub fn is_lost(&self, store: StoreId, limits: &MoveLimits) -> bool {
        self.stores.get(&store).is_none_or(|s| {
            let is_over = |since| self.now.since(since) >= limits.replace_after;
            s.distrusted || (!s.alive && s.silent_since.is_some_and(is_over))
        })
    }

    /// Counts the stores of these sites as lost. Nobody waits for them: who said that they are not to be believed has decided.
    pub fn distrust(&mut self, sites: &BTreeSet<SiteName>) {
        self.stores.values_mut().filter(|store| sites.contains(&store.site)).for_each(StoreView::distrust);
    }

    /// True when the store may be given replicas.
    #[must_use]
    pub fn takes_replicas(&self, store: StoreId, limits: &MoveLimits) -> bool {
        self.takes_replicas_beside(store, 0, limits)
    }

    /// The same with so many bytes on its disk that are not there yet.
    #[must_use]
    pub fn takes_replicas_beside(&self, store: StoreId, promised_bytes: u64, limits: &MoveLimits) -> bool {
        self.stores.get(&store).is_some_and(|s| {
            let free_bytes = s.disk_free_bytes.saturating_sub(promised_bytes);
            s.could_take_replicas() && !limits.is_short_of_disk(free_bytes, s.disk_total_bytes)
        })
    }

    /// True when the store may be given leaders.
    #[must_use]
    pub fn takes_leaders(&self, store: StoreId, limits: &MoveLimits) -> bool {
        self.stores.get(&store).is_some_and(|s| {
            let settled = s.alive_since.is_none_or(|since| self.now.since(since) >= limits.lead_again_after);
            s.alive && !s.draining && !s.leaving && s.disk_ok && settled
        })
    }
}

impl StoreView {
    /// Nobody is to hear it any more.
    pub fn distrust(&mut self) {
        (self.distrusted, self.alive, self.alive_since) = (true, false, None);
    }

    /// True when nothing but a lack of space keeps replicas from it.
    #[must_use]
    pub fn could_take_replicas(&self) -> bool {
        self.alive && self.is_confirmed && !self.draining && !self.leaving && self.disk_ok
    }

    /// A live store with four cores and a disk of 100 GiB.
    #[must_use]
    pub fn alive_at(site: SiteName) -> Self {
        Self {
            site,
            alive: true,
            distrusted: false,
            is_confirmed: true,
            silent_since: None,
            alive_since: None,
            draining: false,
            leaving: false,
            capacity_millicores: 4_000,
            used_millicores: 0,
            disk_total_bytes: 100 << 30,
            disk_free_bytes: 100 << 30,
            disk_ok: true,
        }
    }
}

impl RangeView {
    /// A range without load whose leader, if any, holds its lease.
    #[must_use]
    pub fn idle(
        descriptor: RangeDescriptor,
        leader: Option<StoreId>,
        caught_up: BTreeSet<ReplicaId>,
        reported_at: Moment,
    ) -> Self {
        Self {
            descriptor,
            leader,
            led_since: None,
            leader_has_lease: leader.is_some(),
            caught_up,
            damaged: BTreeSet::new(),
            size_bytes: 0,
            load: RangeLoad::default(),
            pending: None,
            reported_at,
        }
    }

    /// True when its leadership has moved so lately that balance alone is no reason to move it again: the load that it was moved
    /// for is still being measured where it went. A range without load has none that could be measured wrong.
    #[must_use]
    pub fn leader_just_moved(&self, now: Moment, limits: &MoveLimits) -> bool {
        self.load != RangeLoad::default()
            && self.led_since.is_some_and(|since| now.since(since) < limits.balance_again_after)
    }

    /// True when the replica's log is close to the leader's, and sound as far as known.
    #[must_use]
    pub fn is_caught_up(&self, replica: &ReplicaDescriptor) -> bool {
        let close = self.leader == Some(replica.store) || self.caught_up.contains(&replica.replica);
        close && !self.is_damaged(replica)
    }

    /// True when its store found the replica damaged.
    #[must_use]
    pub fn is_damaged(&self, replica: &ReplicaDescriptor) -> bool {
        self.damaged.contains(&replica.replica)
    }

    /// The site of the leader.
    #[must_use]
    pub fn leader_site(&self) -> Option<&SiteName> {
        self.leader.and_then(|leader| self.descriptor.replica_on(leader)).map(|r| &r.site)
    }

    /// Learners, arriving or leaving.
    pub fn learners(&self) -> impl Iterator<Item = &ReplicaDescriptor> {
        self.descriptor.replicas.iter().filter(|r| r.role == Role::Learner)
    }

    /// Stores with a voter of either half.
    #[must_use]
    pub fn voter_stores(&self) -> BTreeSet<StoreId> {
        self.descriptor.voters().map(|r| r.store).collect()
    }

    /// What leading it costs: requests, and a little for the range itself, so that idle ranges are balanced by count.
    #[must_use]
    pub fn leader_weight(&self) -> u64 {
        /// Ten requests per second.
        const RANGE_ITSELF: u64 = 10_000;
        RANGE_ITSELF.saturating_add(self.load.requests_millis_per_second)
    }

    /// What holding a replica costs: MiB of data, writes, and a little for the range itself.
    #[must_use]
    pub fn replica_weight(&self) -> u64 {
        /// As much as 16 MiB of data.
        const RANGE_ITSELF: u64 = 16;
        RANGE_ITSELF + (self.size_bytes >> 20) + (self.load.write_bytes_per_second >> 14)
    }
}
