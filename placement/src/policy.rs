//! What is wanted of a keyspace, and the limits of moving things about.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_types::{KeyspaceId, RangeDescriptor, RangeId, SiteName, limits};

/// What a range must survive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SurvivalGoal {
    /// The loss of a site: never two voters in one.
    Site,
    /// The loss of a store: voters on different stores, over as many sites as there are.
    Store,
}

/// How the ranges of a keyspace are placed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Voters per range. An even number gives nothing over the odd one below it, and counts as that.
    pub replicas: usize,
    /// What a range must survive.
    pub goal: SurvivalGoal,
    /// Sites that leaders go to, the first that can; empty: anywhere.
    pub leader_preference: Vec<SiteName>,
    /// A range larger than this is split.
    pub split_bytes: u64,
    /// A range with more requests per 1,000 seconds than this is split.
    pub split_requests_millis_per_second: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            replicas: 3,
            goal: SurvivalGoal::Site,
            leader_preference: Vec::new(),
            split_bytes: limits::SPLIT_RANGE_BYTES,
            // 5,000 requests per second: well below what one leader can do, so that its parts can be spread in time.
            split_requests_millis_per_second: 5_000_000,
        }
    }
}

impl Policy {
    /// How many voters are wanted at most: `replicas`, made odd.
    #[must_use]
    pub fn voters(&self) -> usize {
        odd_at_most(self.replicas)
    }

    /// How much the policy likes leaders at `site`; less is better.
    #[must_use]
    pub fn leader_rank(&self, site: &SiteName) -> usize {
        self.leader_preference.iter().position(|s| s == site).unwrap_or(self.leader_preference.len())
    }
}

/// The largest odd number that is not above `n`; 1 for 0.
pub(crate) fn odd_at_most(n: usize) -> usize {
    if n.is_multiple_of(2) { n.saturating_sub(1).max(1) } else { n }
}

/// How much may move at a time, and how soon.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MoveLimits {
    /// Replicas that one store receives at a time: catching up takes its disk from its clients.
    pub moves_per_store: u32,
    /// Replicas on their way from one site to another at a time: the link carries the replication too.
    pub moves_per_site_pair: u32,
    /// Leaders that one store gets per plan: each comes with its clients' load.
    pub transfers_per_store: u32,
    /// Leaders that go from one site to another per plan.
    pub transfers_per_site_pair: u32,
    /// Ranges split per plan: each split latches its range for a moment.
    pub splits_per_plan: usize,
    /// A store silent for this long is replaced: shorter, and a restart would cause copying for nothing.
    pub replace_after: Duration,
    /// A store that came back gets leaders after this long: it has caches to fill and logs to catch up.
    pub lead_again_after: Duration,
    /// A leadership that moved is not moved again for balance before this long: ten reports, after which its load is measured anew
    /// but for a twentieth of what it was.
    pub balance_again_after: Duration,
    /// A store with less free disk than this gets no more replicas, unless it has `ample_space_bytes`.
    pub low_space_percent: u64,
    /// A store with this much free disk is never short of it: the rest of a large disk may belong to others.
    pub ample_space_bytes: u64,
    /// A move must gain more than this part of the mean load: measured loads are never equal.
    pub hysteresis_percent: u64,
}

impl MoveLimits {
    /// True when a store with so much free disk gets no more replicas.
    #[must_use]
    pub fn is_short_of_disk(&self, free_bytes: u64, total_bytes: u64) -> bool {
        let low = u128::from(free_bytes) * 100 < u128::from(total_bytes) * u128::from(self.low_space_percent);
        low && free_bytes < self.ample_space_bytes
    }
}

impl Default for MoveLimits {
    fn default() -> Self {
        Self {
            moves_per_store: 2,
            moves_per_site_pair: 4,
            transfers_per_store: 2,
            transfers_per_site_pair: 4,
            splits_per_plan: 4,
            replace_after: Duration::from_secs(600),
            lead_again_after: Duration::from_secs(5),
            balance_again_after: Duration::from_secs(5),
            low_space_percent: 15,
            ample_space_bytes: 16 << 30,
            hysteresis_percent: 5,
        }
    }
}

/// All policies of the fleet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policies {
    /// Of the system range.
    pub system: Policy,
    /// Of keyspaces without one of their own.
    pub default: Policy,
    /// Of single keyspaces.
    pub keyspaces: BTreeMap<KeyspaceId, Policy>,
    /// The limits of moving.
    pub limits: MoveLimits,
}

impl Default for Policies {
    fn default() -> Self {
        Self {
            system: Policy { replicas: 5, ..Policy::default() },
            default: Policy::default(),
            keyspaces: BTreeMap::new(),
            limits: MoveLimits::default(),
        }
    }
}

impl Policies {
    /// The policies as they can be kept in a fleet of so many sites: where there is one only, no range survives its loss whatever
    /// is done, and the loss of a store is what can be borne.
    #[must_use]
    pub fn within_sites(&self, sites: usize) -> Cow<'_, Self> {
        if sites > 1 {
            return Cow::Borrowed(self);
        }
        let mut adapted = self.clone();
        for policy in [&mut adapted.system, &mut adapted.default].into_iter().chain(adapted.keyspaces.values_mut()) {
            policy.goal = SurvivalGoal::Store;
        }
        Cow::Owned(adapted)
    }

    /// These with what the system range says over them. Keyspace 0 is the system's own.
    #[must_use]
    pub fn overlaid(&self, recorded: &BTreeMap<KeyspaceId, Policy>) -> Self {
        let mut policies = self.clone();
        for (keyspace, policy) in recorded {
            if *keyspace == KeyspaceId::SYSTEM {
                policies.system = policy.clone();
            } else {
                policies.keyspaces.insert(*keyspace, policy.clone());
            }
        }
        policies
    }

    /// The policy of a range: that of the keyspace in which it begins.
    #[must_use]
    pub fn of(&self, descriptor: &RangeDescriptor) -> &Policy {
        let keyspace = descriptor.bounds.start.keyspace();
        if descriptor.range == RangeId::SYSTEM || keyspace == KeyspaceId::SYSTEM {
            return &self.system;
        }
        self.keyspaces.get(&keyspace).unwrap_or(&self.default)
    }
}
