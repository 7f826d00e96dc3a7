//! What can be done to the world from outside: faults, repairs, administrative requests, load.

use std::collections::BTreeSet;
use std::time::Duration;

use holdfast_kv::core::records::encode_store;
use holdfast_placement::{StateKey, StoreRecord};
use holdfast_replica::AdminRequest;
use holdfast_types::{Mutation, RangeId, RangeRequest, Request, StoreId, Timestamp};

use super::World;
use crate::clock::EPOCH_MS;
use crate::disk::{Disk, Ending};
use crate::faults::Repair;
use crate::hub::Happening;
use crate::network::{Cut, Lanes, Place, Weather};
use crate::rng::Rng;

/// A store that could not start tries again after this.
const START_AGAIN: Duration = Duration::from_millis(500);

impl World {
    /// Ends a store's process.
    pub fn end_store(&mut self, store: StoreId, ending: Ending) {
        if let Some(known) = self.stores.get_mut(&store) {
            known.end(ending, &mut self.hub);
        }
    }

    /// Starts a store, unless its disk is lost.
    pub fn start_store(&mut self, store: StoreId) {
        if self.gone.contains(&store) {
            return;
        }
        let Some(known) = self.stores.get_mut(&store) else { return };
        if let Err(fault) = known.start(&self.directory, &mut self.hub) {
            self.hub.start_failed(store, &fault);
            // Whatever the attempt left behind in memory is gone with it.
            self.end_store(store, Ending::Killed);
            self.repair_after(START_AGAIN, Repair::Start(store));
        }
    }

    /// Stops a process (SIGSTOP).
    pub fn freeze(&mut self, store: StoreId) {
        if let Some(known) = self.stores.get_mut(&store) {
            known.freeze(&mut self.hub);
        }
    }

    /// Lets a process go on.
    pub fn thaw(&mut self, store: StoreId) {
        if let Some(known) = self.stores.get_mut(&store) {
            known.thaw(&mut self.hub);
        }
    }

    /// A store hands its leaders over.
    pub fn retire(&mut self, store: StoreId) {
        if let Some(known) = self.stores.get_mut(&store) {
            known.retire(&mut self.hub);
        }
    }

    /// The process of a store ends after a while and starts again.
    pub(crate) fn restart_after(&mut self, wait: Duration, store: StoreId) {
        self.repair_after(wait, Repair::Restart(store));
    }

    /// The disk of a store is lost with everything on it.
    pub fn wipe(&mut self, store: StoreId) {
        self.end_store(store, Ending::PowerLost);
        self.gone.insert(store);
        self.disk(store, Disk::wipe);
    }

    /// Does something to a disk.
    pub fn disk(&mut self, store: StoreId, change: impl FnOnce(&mut Disk)) {
        if let Some(known) = self.stores.get_mut(&store) {
            change(&mut known.disk);
        }
    }

    /// No sync of a store ends for so long.
    pub fn stall_disk(&mut self, store: StoreId, time: Duration) {
        let until = self.hub.now.after(time);
        self.disk(store, |disk| disk.stalled_until = until);
    }

    /// Sets a wall clock.
    pub fn jump_clock(&mut self, store: StoreId, rng: &mut Rng) {
        if let Some(known) = self.stores.get_mut(&store) {
            known.clock.jump(rng, self.swarm.offset);
        }
    }

    /// Sets a wall clock beyond the bound: so many milliseconds ahead, or behind; 0: it is right again.
    pub fn set_clock_wrong(&mut self, store: StoreId, ahead_ms: i64) {
        if let Some(known) = self.stores.get_mut(&store) {
            self.hub.note(|| format!("the clock of {store} is {ahead_ms} ms ahead"));
            known.clock.set_wrong(ahead_ms);
        }
    }

    pub(crate) fn is_any_clock_wrong(&self) -> bool {
        self.stores.values().any(|store| store.clock.is_wrong())
    }

    /// Cuts directions.
    pub fn cut(&mut self, pairs: &BTreeSet<(Place, Place)>, how: Cut) {
        self.cut_lanes(pairs, how, Lanes::All);
    }

    /// Cuts some of the streams in these directions.
    pub fn cut_lanes(&mut self, pairs: &BTreeSet<(Place, Place)>, how: Cut, lanes: Lanes) {
        self.hub.note(|| format!("cut ({how:?}, {lanes:?}): {pairs:?}"));
        for (from, to) in pairs {
            self.hub.network.cut(*from, *to, how, lanes);
        }
    }

    /// Heals cuts.
    pub fn heal(&mut self, pairs: &BTreeSet<(Place, Place)>) {
        self.hub.note(|| format!("healed: {pairs:?}"));
        for (sent, at) in self.hub.network.heal(pairs, self.hub.now) {
            self.hub.at(at, Happening::Arrive(Box::new(sent)));
        }
    }

    /// The connections between two stores break.
    pub fn reset(&mut self, one: StoreId, two: StoreId) {
        self.hub.network.reset(Place::Store(one), Place::Store(two));
        self.hub.network.reset(Place::Store(two), Place::Store(one));
    }

    pub(crate) fn repair_after(&mut self, wait: Duration, repair: Repair) {
        self.hub.after(wait, Happening::Repair(repair));
    }

    /// Everything that is wrong ends now; the network is quiet.
    pub fn heal_everything(&mut self) {
        self.hub.note(|| "everything heals".to_owned());
        self.faults_until = self.hub.now;
        self.hub.network.weather = Weather { delay: self.hub.network.weather.delay, ..Weather::QUIET };
        let cuts = self.hub.network.all_cuts();
        self.heal(&cuts);
        let stores: Vec<StoreId> = self.living().collect();
        for store in stores {
            self.disk(store, |disk| disk.stalled_until = holdfast_types::Moment::ZERO);
            self.repair(Repair::Disk(store));
            self.repair(Repair::Clock(store));
            self.thaw(store);
            self.start_store(store);
        }
    }

    /// Faults begin, and go on for so long.
    pub fn begin_faults(&mut self, time: Duration) {
        self.faults_until = self.hub.now.after(time);
        let wait = self.hub.rng.wait(Duration::ZERO, self.swarm.every);
        self.hub.after(wait, Happening::Fault);
    }

    /// Clients begin to ask, or stop.
    pub fn set_busy(&mut self, busy: bool) {
        for client in &mut self.clients {
            client.set_busy(busy, &mut self.hub);
        }
    }

    /// Every key is written and read; each must succeed within that time.
    pub fn probe(&mut self, within: Duration) {
        let count = self.clients.len().max(1);
        for (n, key) in self.keys.clone().iter().enumerate() {
            if let Some(client) = self.clients.get_mut(n % count) {
                client.probe(key, within, &mut self.hub);
            }
        }
    }

    /// Asks the leader of a range as an administrator would; gives the name of the request.
    pub fn ask_leader(&mut self, range: RangeId, request: AdminRequest) -> u64 {
        self.requests += 1;
        let id = self.requests;
        let leader = self.leader_of(range).or_else(|| self.running().next());
        if let Some(store) = leader.and_then(|leader| self.stores.get_mut(&leader)) {
            self.hub.note(|| format!("request {id} of the world to {}: {range} {request:?}", store.id));
            store.admin(id, range, request, &mut self.hub);
        }
        id
    }

    /// Writes that a store leaves, or stays, as the admin service does. Nobody hears whether it came to be: look at
    /// [`World::knows_leaving`], and ask again; it does no harm.
    pub fn mark_leaving(&mut self, store: StoreId, leaves: bool) {
        let leaving_at = leaves.then(|| Timestamp::from_ms(EPOCH_MS));
        let Some(known) = self.directory.iter().find(|record| record.store == store) else { return };
        let value = encode_store(&StoreRecord { leaving_at, ..known.clone() });
        let mutation = Mutation { key: StateKey::Store(store).key(), value: Some(value), expires_at: None };
        let request = Request::Write { conditions: Vec::new(), mutations: vec![mutation] };
        let request = RangeRequest { range: None, write: None, request };
        let asked = self.leader_of(RangeId::SYSTEM).or_else(|| self.running().next());
        if let Some(asked) = asked.and_then(|asked| self.stores.get_mut(&asked)) {
            asked.write(request, &mut self.hub);
        }
    }

    /// Whether the store that plans has read that another one leaves: then that is on record.
    #[must_use]
    pub fn knows_leaving(&self, store: StoreId) -> bool {
        let planner = self.leader_of(RangeId::SYSTEM).and_then(|planner| self.stores.get(&planner));
        planner.is_some_and(|planner| planner.knows_leaving(store))
    }

    /// Splits some range in the middle of what it holds.
    pub(crate) fn split_somewhere(&mut self, rng: &mut Rng) {
        let Some(at) = rng.pick(&self.keys).cloned() else { return };
        let Some(range) = self.range_of(&at).filter(|d| d.bounds.start != at).map(|d| d.range) else { return };
        self.ask_leader(range, AdminRequest::Split { at, right: RangeId(0) });
    }

    /// Hands some leadership to another voter.
    pub(crate) fn transfer_somewhere(&mut self, rng: &mut Rng) {
        let ranges: Vec<_> = self.ranges().cloned().collect();
        let Some(range) = rng.pick(&ranges) else { return };
        let leader = self.leader_of(range.range);
        let voters: Vec<_> = range.voters().filter(|voter| Some(voter.store) != leader).collect();
        let Some(to) = rng.pick(&voters).map(|voter| voter.replica) else { return };
        self.ask_leader(range.range, AdminRequest::Transfer { to });
    }
}
