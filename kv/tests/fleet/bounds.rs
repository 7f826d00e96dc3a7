//! What of a fleet concerns what its stores keep: logs, memory, disks.

use holdfast_kv::core::event::{Event, Measurements};
use holdfast_kv::core::routing::worker_of;
use holdfast_kv::core::shared::Shared;
use holdfast_replica::RangeState;
use holdfast_types::{LogIndex, RangeId, SiteName, StoreId};

use super::{Fleet, REST, healthy, put, spread, store};

/// A fleet at rest, and a store that leads neither of its ranges.
pub fn at_rest(workers: u16) -> (Fleet, StoreId) {
    let mut fleet = spread(3, workers);
    fleet.run(10_000);
    let leads = |id: &StoreId| [REST, RangeId::SYSTEM].iter().any(|range| fleet.leader(*range) == Some(*id));
    let follower = (1..=3).map(store).find(|id| !leads(id)).expect("two ranges, three stores");
    (fleet, follower)
}

/// Writes so many values of a million bytes.
pub fn fill(fleet: &mut Fleet, prefix: &str, count: usize) {
    let large = "x".repeat(1_000_000);
    for n in 0..count {
        let leader = fleet.leader_in_reach(REST);
        fleet.must(leader, put(&format!("{prefix}{n}"), &large));
    }
}

impl Fleet {
    /// The store measures its disks and ranges.
    pub(super) fn measured(&mut self, id: StoreId, measured: &Measurements) {
        let store = self.stores.get_mut(&id).expect("it is running");
        for mailbox in &mut store.mailboxes {
            mailbox.push_back(Event::Measured(measured.clone()));
        }
    }

    /// The store measures that its disk is so large, and empty.
    pub fn measure_disk_of(&mut self, id: StoreId, total_bytes: u64) {
        let measured = Measurements { disk_free_bytes: total_bytes, disk_total_bytes: total_bytes, ..healthy() };
        self.measured(id, &measured);
    }

    /// The store measures that a range is so large.
    pub fn measure_range(&mut self, id: StoreId, range: RangeId, bytes: u64) {
        self.measured(id, &Measurements { range_bytes: vec![(range, bytes)], ..healthy() });
    }

    /// Nothing passes between a store and the others.
    pub fn isolate(&mut self, lonely: StoreId) {
        for other in self.ids().into_iter().filter(|other| *other != lonely) {
            self.cut.insert((lonely, other));
            self.cut.insert((other, lonely));
        }
    }

    /// The data instance persists what it has, and the workers hear of it.
    pub fn persist(&mut self, id: StoreId) {
        self.flush(id);
        let store = self.stores.get_mut(&id).expect("it is running");
        let states = store.engines.data.range_states().unwrap();
        for (range, state) in states {
            let indexes = vec![(range, RangeState::decode(state).unwrap().applied)];
            let worker = usize::from(worker_of(range, self.workers));
            store.mailboxes[worker].push_back(Event::AppliedPersisted { indexes });
        }
        self.settle();
    }

    /// The same as a real store hears it: of all ranges of a worker at once.
    pub fn persist_at_once(&mut self, id: StoreId) {
        self.flush(id);
        let store = self.stores.get_mut(&id).expect("it is running");
        let mut by_worker = vec![Vec::new(); store.mailboxes.len()];
        for (range, state) in store.engines.data.range_states().unwrap() {
            let index = RangeState::decode(state).unwrap().applied;
            by_worker[usize::from(worker_of(range, self.workers))].push((range, index));
        }
        for (mailbox, indexes) in store.mailboxes.iter_mut().zip(by_worker) {
            mailbox.push_back(Event::AppliedPersisted { indexes });
        }
        self.settle();
    }

    /// The next flush of the data instance fails, and with it all that is written later.
    pub fn fail_next_flush(&self, id: StoreId) {
        self.disks[&id].fail_next_flush();
    }

    /// Bytes that the log of a range takes on a store's disk.
    pub fn log_bytes(&self, id: StoreId, range: RangeId) -> u64 {
        let logs = self.stores[&id].engines.log.load().unwrap();
        logs.into_iter().find(|log| log.range == range).map_or(0, |log| log.sizes.total_bytes())
    }

    /// The apply pool of a store goes on.
    pub fn release_applies(&mut self, id: StoreId) {
        self.holds_applies.remove(&id);
        for (of, worker, effect) in std::mem::take(&mut self.held_applies) {
            if of == id {
                self.carry(id, worker, effect);
            } else {
                self.held_applies.push((of, worker, effect));
            }
        }
        self.settle();
    }

    /// An event of a range comes to its worker.
    pub fn happens(&mut self, id: StoreId, range: RangeId, event: Event) {
        let worker = usize::from(worker_of(range, self.workers));
        self.stores.get_mut(&id).expect("it is running").mailboxes[worker].push_back(event);
        self.settle();
    }

    /// Spoils an entry of a log; false when there is none.
    pub fn damage_log(&self, id: StoreId, range: RangeId, index: u64) -> bool {
        self.disks[&id].corrupt_log_entry(range, LogIndex(index))
    }

    /// What the workers of a store share.
    pub fn shared(&self, id: StoreId) -> &Shared {
        &self.stores[&id].shared
    }

    /// The site of a store.
    pub fn site(&self, id: StoreId) -> SiteName {
        self.directory.iter().find(|record| record.store == id).expect("it is one of the fleet").site.clone()
    }

    /// Of how many ranges a store's log instance knows.
    pub fn log_records(&self, id: StoreId) -> usize {
        self.stores[&id].engines.log.load().unwrap().len()
    }

    /// The store that leads a range and is not cut off.
    pub fn leader_in_reach(&self, range: RangeId) -> StoreId {
        let lonely = |id: &StoreId| self.ids().iter().filter(|o| *o != id).all(|o| self.cut.contains(&(*id, *o)));
        let leads = |id: &StoreId| self.standing(*id, range).is_some_and(|standing| standing.leads) && !lonely(id);
        self.ids().into_iter().find(leads).expect("somebody leads")
    }
}
