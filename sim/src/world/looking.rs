//! What can be seen of the world from outside.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use holdfast_types::{Key, KeyRange, RangeDescriptor, RangeId, SiteName, StoreId};

use super::World;
use crate::checkers::convergence;
use crate::checkers::history::Versions;
use crate::linearizability::versions::Version;
use crate::network::Place;

impl World {
    /// Stores that are not gone for good.
    pub fn living(&self) -> impl Iterator<Item = StoreId> + '_ {
        self.stores.keys().copied().filter(|store| !self.gone.contains(store))
    }

    /// Stores whose process runs and is not stopped.
    pub fn running(&self) -> impl Iterator<Item = StoreId> + '_ {
        self.stores.values().filter(|store| store.is_running() && !store.is_frozen()).map(|store| store.id)
    }

    pub(crate) fn is_any_gone(&self) -> bool {
        !self.gone.is_empty()
    }

    /// The site of a store.
    #[must_use]
    pub fn site_of(&self, store: StoreId) -> SiteName {
        self.stores.get(&store).map(|store| store.site.clone()).expect("the store exists")
    }

    /// All ends of links, with their sites.
    pub(crate) fn places(&self) -> impl Iterator<Item = (Place, SiteName)> + '_ {
        let stores = self.stores.values().map(|store| (Place::Store(store.id), store.site.clone()));
        let clients = self.clients.iter().enumerate();
        stores.chain(clients.map(|(n, client)| (Place::Client(n), client.site.clone())))
    }

    /// The newest shapes of all ranges.
    pub fn ranges(&self) -> impl Iterator<Item = &RangeDescriptor> {
        self.hub.checks.tiling.ranges()
    }

    /// The range that holds a key.
    #[must_use]
    pub fn range_of(&self, key: &Key) -> Option<&RangeDescriptor> {
        self.ranges().find(|descriptor| descriptor.bounds.contains(key))
    }

    /// The store that leads a range and serves it, as far as it knows itself; of several the one with the newest term.
    #[must_use]
    pub fn leader_of(&self, range: RangeId) -> Option<StoreId> {
        let standings = self.running().filter_map(|id| Some((id, self.stores.get(&id)?.standing(range)?)));
        standings.filter(|(_, s)| s.leads).max_by_key(|(_, s)| s.term).map(|(store, _)| store)
    }

    /// Every range is led.
    #[must_use]
    pub fn is_led(&self) -> bool {
        self.ranges().all(|descriptor| self.leader_of(descriptor.range).is_some())
    }

    /// Every range has the voters that its policy wants, and no other replicas.
    #[must_use]
    pub fn is_placed(&self) -> bool {
        let sites: std::collections::BTreeSet<_> = self.stores.values().map(|store| &store.site).collect();
        let wanted = |range: RangeId| match (range, sites.len()) {
            (RangeId::SYSTEM, 5..) => 5,
            (_, 3..) => 3,
            _ => 1,
        };
        self.ranges()
            .all(|d| !d.is_joint() && d.replicas.len() == d.voters().count() && d.voters().count() == wanted(d.range))
    }

    /// The request was answered, however.
    #[must_use]
    pub fn is_answered(&self, request: u64) -> bool {
        self.hub.admin_answers.contains_key(&request)
    }

    /// No client waits for an answer.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.clients.iter().all(|client| !client.is_waiting())
    }

    /// Every replica on a store that is not gone has applied what the furthest one has. The error names one that differs.
    pub fn is_converged(&self) -> Result<bool, String> {
        let data: BTreeMap<_, _> = self.stores.values().filter_map(|store| Some((store.id, store.data()?))).collect();
        let mut behind = 0;
        for descriptor in self.ranges() {
            let gone = descriptor.replicas.iter().filter(|replica| self.gone.contains(&replica.store)).count();
            behind += convergence::check(descriptor, &data)?.saturating_sub(gone);
        }
        Ok(behind == 0)
    }

    /// All versions of all keys of clients, as some replica has them; for when all have the same.
    #[must_use]
    pub fn versions(&self) -> BTreeMap<Key, Versions> {
        let mut found = BTreeMap::new();
        for key in &self.keys {
            let replicas = self.range_of(key).into_iter().flat_map(RangeDescriptor::voters);
            let data = replicas.filter_map(|replica| self.stores.get(&replica.store)?.data()).next();
            let Some(data) = data else { continue };
            let bounds = KeyRange { start: key.clone(), end: Some(key.next()) };
            let versions = data.versions(&bounds, usize::MAX).unwrap_or_default();
            let version = |(_, timestamp, version)| {
                let value = match version {
                    holdfast_engine::Version::Value { value, .. } => Some(String::from_utf8_lossy(&value).into_owned()),
                    holdfast_engine::Version::Tombstone => None,
                };
                Version { timestamp, value }
            };
            found.insert(key.clone(), versions.into_iter().rev().map(version).collect());
        }
        found
    }

    /// How everything is, to read.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut text = format!("at {:?}\n", self.hub.now);
        for descriptor in self.ranges() {
            let leader = self.leader_of(descriptor.range);
            let _ = writeln!(text, "  {descriptor:?} leader {leader:?}");
        }
        for store in self.stores.values() {
            let state = match (store.is_running(), store.is_frozen()) {
                (false, _) => "down",
                (true, true) => "stopped",
                (true, false) => "up",
            };
            let _ = writeln!(text, "  {} in {}: {state}", store.id, store.site);
            for (range, status) in store.status(&self.hub) {
                let _ = writeln!(text, "    {range} {status}");
            }
        }
        text
    }

    /// Checks the invariants of all workers.
    pub fn check(&self) -> Result<(), String> {
        self.stores.values().try_for_each(|store| store.check().map_err(|what| format!("{}: {what}", store.id)))
    }
}
