//! The world: a fleet, its clients, and time. Everything that happens comes out of one queue, in one order.

mod acting;
mod founding;
mod looking;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use holdfast_kv::core::recovery::WorkerSetup;
use holdfast_placement::StoreRecord;
use holdfast_replica::{CheckLevel, SurvivalGoal};
use holdfast_types::{Key, KeyspaceId, Moment, SiteName, StoreId};

use crate::checkers::leases;
use crate::client::{Client, ClientSetup};
use crate::clock::StoreClock;
use crate::disk::Disk;
use crate::faults::Swarm;
use crate::hub::{Happening, Hub};
use crate::network::{Network, Place, Sent};
use crate::options::{Options, Shape};
use crate::rng::Rng;
use crate::store::{Store, StoreSetup};

/// A fleet, its clients, and time.
pub struct World {
    /// What everything shares.
    pub hub: Hub,
    pub(crate) stores: BTreeMap<StoreId, Store>,
    /// Stores whose disk is lost.
    pub(crate) gone: BTreeSet<StoreId>,
    pub(crate) clients: Vec<Client>,
    pub(crate) directory: Arc<Vec<StoreRecord>>,
    pub(crate) keys: Vec<Key>,
    pub(crate) options: Options,
    pub(crate) swarm: Swarm,
    /// Faults happen until then.
    pub(crate) faults_until: Moment,
    pub(crate) requests: u64,
    quorum_reads: bool,
}

impl World {
    /// A fleet that is founded and not started yet. `seed` decides everything that the options leave open.
    #[must_use]
    pub fn new(seed: u64, options: &Options) -> Self {
        let mut rng = Rng::new(seed);
        let swarm = if options.faults { Swarm::choose(&mut rng) } else { Swarm::none() };
        let shapes = [Shape::THREE_BY_ONE, Shape::THREE_BY_ONE, Shape::THREE_BY_TWO, Shape::FIVE_BY_ONE];
        let shape = options.shape.unwrap_or(shapes[rng.index(shapes.len())]);
        let quorum_reads = options.quorum_reads.unwrap_or(rng.below(8) == 0);
        let network = Network::new(swarm.weather, rng.fork());
        let mut world = Self {
            hub: Hub::new(rng.fork(), network),
            stores: BTreeMap::new(),
            gone: BTreeSet::new(),
            clients: Vec::new(),
            directory: Arc::default(),
            keys: (0..options.keys).map(|n| Key::bound(KeyspaceId::DEFAULT, format!("k{n:03}").as_bytes())).collect(),
            options: options.clone(),
            swarm,
            faults_until: Moment::ZERO,
            requests: 0,
            quorum_reads,
        };
        world.build_stores(shape, &mut rng);
        world.build_clients(shape);
        world
    }

    fn build_stores(&mut self, shape: Shape, rng: &mut Rng) {
        for n in 0..shape.stores() {
            let id = StoreId(n + 1);
            let clock = StoreClock::new(rng, self.swarm.drift_ppm, self.swarm.offset);
            let sync = Duration::from_micros([150, 400, 2_000][rng.index(3)]);
            let setup = StoreSetup {
                workers: WorkerSetup {
                    workers: if rng.coin() { 1 } else { 2 },
                    seed: rng.bits(),
                    quorum_reads: self.quorum_reads,
                    check: CheckLevel::Full,
                    survival: SurvivalGoal::Site,
                },
                appliers: 1 + rng.index(2),
                flush_every: Duration::from_secs([1, 5, 30][rng.index(3)]),
            };
            let disk = Disk::new(sync, rng.fork());
            self.stores.insert(id, Store::new(id, site(n % shape.sites), clock, disk, setup));
        }
    }

    fn build_clients(&mut self, shape: Shape) {
        for n in 0..self.options.clients {
            let setup = ClientSetup {
                index: self.clients.len(),
                site: site(n % shape.sites),
                keys: self.keys.clone(),
                think: self.options.think,
            };
            let client = Client::new(setup, &mut self.hub);
            self.clients.push(client);
        }
    }

    /// Lets time pass.
    pub fn run_for(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    /// Lets time pass until something is so, at most for `within`; false when it never was. Ends early after a violation.
    pub fn run_until(&mut self, within: Duration, mut is_so: impl FnMut(&World) -> bool) -> bool {
        /// How often it is looked at.
        const LOOK: Duration = Duration::from_millis(5);
        let end = self.hub.now.after(within);
        loop {
            if is_so(self) {
                return true;
            }
            if self.hub.now >= end || self.is_broken() {
                return false;
            }
            let until = self.hub.now.after(LOOK).min(end);
            while let Some(what) = self.hub.next(until) {
                self.happen(what);
                if self.is_broken() {
                    return false;
                }
            }
        }
    }

    /// True after a violation.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        !self.hub.checks.violations().is_empty()
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Arrive(sent) => self.arrive(*sent),
            Happening::Store { store, life, task } => {
                if let Some(store) = self.stores.get_mut(&store) {
                    store.happen(life, task, &mut self.hub);
                }
            }
            Happening::Client { client, task } => {
                if let Some(client) = self.clients.get_mut(client) {
                    client.happen(task, &mut self.hub);
                }
            }
            Happening::Fault => self.next_fault(),
            Happening::Repair(repair) => self.repair(repair),
        }
        if self.hub.counts.steps.is_multiple_of(self.options.check_leases_every) {
            self.check_leases();
        }
    }

    fn arrive(&mut self, sent: Sent) {
        let Some(sent) = self.hub.network.arrives(sent) else { return };
        match sent.stream.1 {
            Place::Store(store) => {
                if let Some(store) = self.stores.get_mut(&store) {
                    store.arrive(sent, &mut self.hub);
                }
            }
            Place::Client(client) => {
                if let Some(client) = self.clients.get_mut(client) {
                    client.arrive(sent, &mut self.hub);
                }
            }
        }
    }

    fn next_fault(&mut self) {
        if self.hub.now >= self.faults_until {
            return;
        }
        let mut rng = self.hub.rng.fork();
        if let Some(kind) = self.swarm.next(&mut rng) {
            self.make_fault(kind);
        }
        let wait = rng.around(self.swarm.every);
        self.hub.after(wait, Happening::Fault);
    }

    fn check_leases(&mut self) {
        let hub = &self.hub;
        let all = self
            .stores
            .values()
            .flat_map(|store| store.status(hub).into_iter().map(|(range, status)| (store.id, range, status)));
        if let Err(what) = leases::check(all) {
            self.hub.violate(what);
        }
    }
}

fn site(n: u64) -> SiteName {
    SiteName::new(&format!("site-{n}")).expect("a legal name")
}
