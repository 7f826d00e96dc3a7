//! A planned change as data.

use std::fmt;
use std::time::Duration;

use holdfast_types::{Key, Moment, RangeEpoch, RangeId, ReplicaId, Role, SiteName, StoreId};

use crate::view::RangeView;

/// One planned change of one range.
///
/// The range's leader carries out the first step; what follows is what is expected then, and is planned again from the range's
/// next descriptor. Every step is idempotent: a leader that finds it done does nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operator {
    /// The range.
    pub range: RangeId,
    /// The epoch that it was planned for; a leader with a newer one drops it.
    pub epoch: RangeEpoch,
    /// When its first step was planned first, on the planning store's clock.
    pub planned_at: Moment,
    /// Why.
    pub reason: Reason,
    /// What to do, in this order; never empty.
    pub steps: Vec<Step>,
}

/// Why an operator was planned, the most urgent first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Reason {
    /// A voter's store is lost, or a replica is damaged.
    Repair,
    /// The voters are fewer, more, or closer together than they should be.
    Spread,
    /// The leader's store is to be stopped, or a replica's store leaves the fleet.
    Drain,
    /// A learner is no longer wanted.
    Tidy,
    /// The leader is not where the policy prefers it.
    LeaderPreference,
    /// Leaders are not where the capacity is.
    BalanceLeaders,
    /// The range is too large, too busy, or spans keyspaces of different policies.
    Split,
    /// Replicas are not where the capacity is.
    BalanceReplicas,
}

/// Where a range is cut.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SplitPoint {
    /// The right part begins at this key.
    Key(Key),
    /// The leader looks for the middle of the data.
    Middle,
}

/// One step of an operator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Make a learner and wait until it has caught up.
    AddLearner {
        /// Where.
        store: StoreId,
        /// That store's site.
        site: SiteName,
    },
    /// One joint change: learners become voters, voters become learners. The leader is never among the latter.
    PromoteAndDemote {
        /// Learners that become voters.
        promote: Vec<ReplicaId>,
        /// Voters that become learners.
        demote: Vec<ReplicaId>,
    },
    /// Remove a learner.
    RemoveLearner {
        /// Which.
        replica: ReplicaId,
    },
    /// Hand the leadership over.
    TransferLeader {
        /// The voter.
        replica: ReplicaId,
        /// Its store.
        store: StoreId,
    },
    /// Cut the range in two.
    Split {
        /// Where.
        at: SplitPoint,
    },
}

/// What a step adds to the load of others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Influence {
    /// The site that gives.
    pub from_site: SiteName,
    /// The site that gets.
    pub to_site: SiteName,
    /// The store that gets.
    pub to_store: StoreId,
    /// Bytes that travel.
    pub copied_bytes: u64,
    /// Weight of the leader that moves (see [`RangeView::leader_weight`]); 0 when none does.
    pub leader_weight: u64,
}

impl Operator {
    /// True when its first step can no longer be expected to end.
    #[must_use]
    pub fn is_timed_out(&self, range: &RangeView, now: Moment) -> bool {
        self.steps.first().is_none_or(|step| now.since(self.planned_at) > step.timeout(range))
    }

    /// True when its first step is still to be done on the range as it is now.
    #[must_use]
    pub fn is_current(&self, range: &RangeView, now: Moment) -> bool {
        self.epoch == range.descriptor.epoch
            && !self.is_timed_out(range, now)
            && self.steps.first().is_some_and(|step| !step.is_finished(range, self.epoch))
    }
}

impl Step {
    /// True when the range shows that the step is done; `planned_for` is the operator's epoch.
    #[must_use]
    pub fn is_finished(&self, range: &RangeView, planned_for: RangeEpoch) -> bool {
        let descriptor = &range.descriptor;
        match self {
            Self::AddLearner { store, .. } => descriptor.replica_on(*store).is_some_and(|r| range.is_caught_up(r)),
            Self::PromoteAndDemote { promote, demote } => {
                let role = |id: &ReplicaId| descriptor.replica(*id).map(|r| r.role);
                promote.iter().all(|id| role(id) == Some(Role::Voter))
                    && demote.iter().all(|id| matches!(role(id), None | Some(Role::Learner)))
            }
            Self::RemoveLearner { replica } => descriptor.replica(*replica).is_none(),
            Self::TransferLeader { store, .. } => range.leader == Some(*store),
            Self::Split { .. } => descriptor.epoch.bounds > planned_for.bounds,
        }
    }

    /// How long the step may take before it is planned anew.
    #[must_use]
    pub fn timeout(&self, range: &RangeView) -> Duration {
        /// A change of the configuration or a transfer is a few round trips; more means that it was refused or lost.
        const CHANGE: Duration = Duration::from_secs(10);
        /// A split may have to read the data to find its middle.
        const SPLIT: Duration = Duration::from_secs(30);
        /// The slowest copying that is still waited for.
        const COPY_BYTES_PER_SECOND: u64 = 1 << 20;
        match self {
            Self::AddLearner { .. } => {
                Duration::from_secs(60).saturating_add(Duration::from_secs(range.size_bytes / COPY_BYTES_PER_SECOND))
            }
            Self::Split { .. } => SPLIT,
            Self::PromoteAndDemote { .. } | Self::RemoveLearner { .. } | Self::TransferLeader { .. } => CHANGE,
        }
    }

    /// What the step adds to the load of the store and the pair of sites it touches; `None` when next to nothing.
    #[must_use]
    pub fn influence(&self, range: &RangeView) -> Option<Influence> {
        let from_site = range.leader_site()?.clone();
        match self {
            Self::AddLearner { store, site } => Some(Influence {
                from_site,
                to_site: site.clone(),
                to_store: *store,
                copied_bytes: range.size_bytes,
                leader_weight: 0,
            }),
            Self::TransferLeader { store, .. } => Some(Influence {
                from_site,
                to_site: range.descriptor.replica_on(*store)?.site.clone(),
                to_store: *store,
                copied_bytes: 0,
                leader_weight: range.leader_weight(),
            }),
            Self::PromoteAndDemote { .. } | Self::RemoveLearner { .. } | Self::Split { .. } => None,
        }
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}:", self.range, self.reason)?;
        for (i, step) in self.steps.iter().enumerate() {
            write!(f, "{} {step}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddLearner { store, site } => write!(f, "add learner on {store} ({site})"),
            Self::PromoteAndDemote { promote, demote } => {
                write!(f, "promote {promote:?}")?;
                if demote.is_empty() { Ok(()) } else { write!(f, " demote {demote:?}") }
            }
            Self::RemoveLearner { replica } => write!(f, "remove learner {replica}"),
            Self::TransferLeader { replica, store } => write!(f, "transfer leader to {replica}@{store}"),
            Self::Split { at: SplitPoint::Middle } => write!(f, "split in the middle"),
            Self::Split { at: SplitPoint::Key(key) } => write!(f, "split at {key}"),
        }
    }
}
