//! The stores of the fleet, and those that are no more.

use std::collections::BTreeSet;
use std::sync::Arc;

use holdfast_placement::StoreRecord;
use holdfast_replica::{AdminRequest, MembershipChange, SurvivalGoal};
use holdfast_types::{RangeId, Rejected, StoreId};

use super::Worker;

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
        let sites: BTreeSet<_> = self.directory.iter().map(|record| &record.site).collect();
        let goal = if sites.len() == 1 { SurvivalGoal::Store } else { self.config.survival };
        if self.replica_config.survival != goal {
            self.replica_config.survival = goal;
            for held in self.held.values_mut() {
                held.replica.set_survival(goal);
            }
        }
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
