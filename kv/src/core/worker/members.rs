//! The stores of the fleet, and those that are no more.

use std::collections::BTreeSet;
use std::sync::Arc;

use holdfast_placement::StoreRecord;
use holdfast_replica::{AdminRequest, MembershipChange, SurvivalGoal};
use holdfast_types::{RangeId, Rejected, StoreId, Timestamp};

use super::Worker;
use crate::core::effect::Effect;

impl Worker {
    /// The stores of the fleet. Where all are in one site, its loss cannot be survived, and voters may share it. A store that was
    /// forgotten stays so, whatever an older list says.
    pub(super) fn set_directory(&mut self, stores: Arc<Vec<StoreRecord>>) {
        let forgotten = stores.iter().filter(|record| record.is_forgotten()).map(|record| record.store);
        self.forgotten.extend(forgotten);
        self.directory = if self.forgotten.is_empty() {
            stores
        } else {
            let members = stores.iter().filter(|record| !self.forgotten.contains(&record.store));
            Arc::new(members.cloned().collect())
        };
        self.note_members();
        let sites: BTreeSet<_> = self.directory.iter().map(|record| &record.site).collect();
        let goal = if sites.len() == 1 { SurvivalGoal::Store } else { self.config.survival };
        if self.replica_config.survival != goal {
            self.replica_config.survival = goal;
            for held in self.held.values_mut() {
                held.replica.set_survival(goal);
            }
        }
    }

    /// Of some stores nothing but an address was heard, from whoever calls himself so: their records do not say when they joined. A member
    /// stays one until it is forgotten, though an older list comes after a newer one.
    fn note_members(&mut self) {
        let on_record = self.directory.iter().filter(|record| record.joined_at != Timestamp::ZERO);
        let known = self.members.iter().copied().chain(on_record.map(|record| record.store));
        let members: BTreeSet<_> = known.filter(|store| !self.forgotten.contains(store)).collect();
        if self.members != members {
            self.members.clone_from(&members);
            self.out.push(Effect::Members(members));
        }
    }

    /// True for a store of the fleet. A store that has just joined knows none and has nothing to lose: for it any may be one.
    pub(super) fn is_member(&self, store: StoreId) -> bool {
        let is_new = || !self.map.has_own() && !self.knows_members();
        store == self.config.store || self.members.contains(&store) || is_new()
    }

    /// True once it was told which stores the fleet has on record.
    pub(super) fn knows_members(&self) -> bool {
        self.members.iter().any(|member| *member != self.config.store)
    }

    /// True for a store whose word counts here: one of the fleet, or one that a replica here has for company. That one descriptor says
    /// so which came with a message is not enough: it is the sender's own word.
    ///
    /// Anybody who knows the fleet can connect under a name that nobody has, and with it could say of a range that the replicas here are no
    /// part of it any more, lead it, or make up ranges without end. A true newcomer is on record everywhere within a few seconds; until
    /// then what it says is lost, and it says all of that again. It is judged here, and not where connections are accepted, because here
    /// are the descriptors: so a store that starts again believes those it shares ranges with, whoever tells it of the fleet or does not.
    pub(super) fn knows(&self, store: StoreId) -> bool {
        self.is_member(store) || self.company.has(store)
    }

    /// A store that was forgotten gets no replica and no vote: nobody reaches it there, should it ever come back. One that leaves gets
    /// none either: it would have to be taken away again, and the store may be stopped for good at any moment.
    pub(super) fn check_members(&self, range: RangeId, request: &AdminRequest) -> Result<(), Rejected> {
        let AdminRequest::ChangeMembership(change) = request else { return Ok(()) };
        let leaves = |store: &StoreId| self.directory.iter().any(|known| known.store == *store && known.is_leaving());
        if let MembershipChange::AddLearner { store, site } = change
            && let Some(known) = self.directory.iter().find(|known| known.store == *store && known.site != *site)
        {
            let home = &known.site;
            return Err(Rejected::invalid(format!(
                "{store} is a store of site {home}, not {site}: name it with its own site"
            )));
        }
        let gets_none = |store: &StoreId| self.forgotten.contains(store) || leaves(store);
        let refused = match change {
            MembershipChange::AddLearner { store, .. } => Some(*store).filter(gets_none),
            MembershipChange::Reconfigure { promote, .. } => {
                let descriptor = self.held.get(&range).map(|held| &held.standing.descriptor);
                let promoted = promote.iter().filter_map(|replica| descriptor?.replica(*replica));
                promoted.map(|replica| replica.store).find(gets_none)
            }
            MembershipChange::RemoveLearner { .. } => None,
        };
        match refused {
            Some(store) if leaves(&store) => Err(Rejected::invalid(format!(
                "{store} leaves the fleet and gets no replica: choose another store, or take that back with `holdfast drain {store} --cancel`"
            ))),
            Some(store) => Err(Rejected::invalid(format!(
                "{store} was forgotten by the fleet and gets no replica: choose another store"
            ))),
            None => Ok(()),
        }
    }
}
