//! One simulated client: the real core, simulated streams, and an application that asks at random.

mod links;
mod workload;

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_client::core::{Action, CallId, ClientCore, CoreOptions, Event, KnownStore, RetryPolicy};
use holdfast_types::{ClientId, Key, Moment, SiteName, StoreId, limits};

use self::links::Link;
use self::workload::{Open, Workload};
use crate::hub::{Happening, Hub};
use crate::network::Place;

/// What happens within a client.
#[derive(Clone, Debug)]
pub enum ClientTask {
    /// The application asks again.
    Ask,
    /// The core's timer.
    Timer,
    /// The application loses patience with a call.
    GiveUp(CallId),
    /// A stream is opened again.
    Connect(StoreId, u64),
    /// A stream should be open by now.
    ConnectTimeout(StoreId, u64),
    /// Look whether a stream still stands.
    Keepalive(StoreId, u64),
}

/// What a client is to be.
#[derive(Clone, Debug)]
pub struct ClientSetup {
    /// Its number among the clients.
    pub index: usize,
    /// Where it runs.
    pub site: SiteName,
    /// The keys that it uses.
    pub keys: Vec<Key>,
    /// The mean wait between two operations.
    pub think: Duration,
}

/// One simulated client.
pub struct Client {
    /// Its site.
    pub site: SiteName,
    index: usize,
    core: ClientCore,
    links: BTreeMap<StoreId, Link>,
    workload: Workload,
    open: BTreeMap<CallId, Open>,
    next_call: u64,
    timer: Moment,
    busy: bool,
}

impl Client {
    /// A client that asks nothing yet.
    pub fn new(setup: ClientSetup, hub: &mut Hub) -> Self {
        let mut rng = hub.rng.fork();
        let client = ClientId(u128::from(rng.bits()) << 64 | u128::from(rng.bits()) | 1);
        let core = ClientCore::new(CoreOptions { client, site: Some(setup.site.clone()), seed: rng.bits() });
        Self {
            site: setup.site,
            index: setup.index,
            core,
            links: BTreeMap::new(),
            workload: Workload::new(setup.index, setup.keys, setup.think, rng),
            open: BTreeMap::new(),
            next_call: 0,
            timer: Moment::MAX,
            busy: false,
        }
    }

    /// The stores of the fleet are these.
    pub fn learn_stores(&mut self, stores: Vec<KnownStore>, hub: &mut Hub) {
        self.tell(Event::FleetLearned { stores }, hub);
    }

    /// The application begins to ask, or stops.
    pub fn set_busy(&mut self, busy: bool, hub: &mut Hub) {
        if busy && !self.busy {
            self.after(Duration::ZERO, ClientTask::Ask, hub);
        }
        self.busy = busy;
    }

    /// True while calls are open.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.open.is_empty()
    }

    /// Writes and reads one key; [`Hub::violate`] when that does not succeed in time.
    pub fn probe(&mut self, key: &Key, within: Duration, hub: &mut Hub) {
        for (request, open) in self.workload.probe(key, hub) {
            self.call(request, open, within, hub);
        }
    }

    /// A task is due.
    pub fn happen(&mut self, task: ClientTask, hub: &mut Hub) {
        match task {
            ClientTask::Ask => self.ask(hub),
            ClientTask::Timer => {
                if self.timer <= hub.now {
                    self.timer = Moment::MAX;
                    self.tell(Event::Timer, hub);
                }
            }
            ClientTask::GiveUp(call) => {
                if let Some(open) = self.open.remove(&call) {
                    open.give_up(hub);
                    self.tell(Event::Cancel { call }, hub);
                }
            }
            ClientTask::Connect(store, session) => self.connect(store, session, hub),
            ClientTask::ConnectTimeout(store, session) => self.connect_timeout(store, session, hub),
            ClientTask::Keepalive(store, session) => self.keepalive(store, session, hub),
        }
    }

    fn ask(&mut self, hub: &mut Hub) {
        /// Calls of one client at a time: more would only wait for each other.
        const MAX_OPEN: usize = 8;
        if !self.busy {
            return;
        }
        if self.open.len() < MAX_OPEN {
            let (request, open, within, patience) = self.workload.next(hub);
            let call = self.call(request, open, within, hub);
            if let Some(patience) = patience {
                self.after(patience, ClientTask::GiveUp(call), hub);
            }
        }
        let wait = self.workload.think();
        self.after(wait, ClientTask::Ask, hub);
    }

    fn call(&mut self, request: holdfast_types::Request, open: Open, within: Duration, hub: &mut Hub) -> CallId {
        self.next_call += 1;
        let call = CallId(self.next_call);
        hub.note(|| format!("client {} call {}: {request:?}", self.index, call.0));
        self.open.insert(call, open);
        let deadline = hub.now.after(within);
        self.tell(Event::Call { call, request, deadline, retry: RetryPolicy::default() }, hub);
        call
    }

    /// Gives the core an event and carries its actions out; some lead to more events at once.
    fn tell(&mut self, event: Event, hub: &mut Hub) {
        let mut events = vec![event];
        let mut actions = Vec::new();
        while !events.is_empty() {
            events.drain(..).for_each(|event| self.core.handle(event, hub.now, &mut actions));
            for action in actions.drain(..) {
                self.carry_out(action, &mut events, hub);
            }
        }
    }

    fn carry_out(&mut self, action: Action, events: &mut Vec<Event>, hub: &mut Hub) {
        match action {
            Action::Send { store, attempt, request, timeout } => {
                self.send(store, attempt, request, timeout, events, hub);
            }
            Action::Abandon { store, attempt } => self.abandon(store, attempt, hub),
            Action::Locate { locate, via, bounds, reverse } => self.locate(locate, via, bounds, reverse, hub),
            Action::Finish { call, outcome, .. } => {
                hub.note(|| format!("client {} call {} ends: {outcome:?}", self.index, call.0));
                if let Some(open) = self.open.remove(&call)
                    && let Some((request, open)) = self.workload.finish(open, outcome, hub)
                {
                    self.next_call += 1;
                    let (call, deadline) = (CallId(self.next_call), hub.now.after(limits::DEFAULT_DEADLINE));
                    hub.note(|| format!("client {} call {}: {request:?}", self.index, call.0));
                    self.open.insert(call, open);
                    events.push(Event::Call { call, request, deadline, retry: RetryPolicy::default() });
                }
            }
            Action::SetTimer { at } => {
                self.timer = at;
                let (client, task) = (self.index, ClientTask::Timer);
                hub.at(at, Happening::Client { client, task });
            }
        }
    }

    fn after(&self, wait: Duration, task: ClientTask, hub: &mut Hub) {
        hub.after(wait, Happening::Client { client: self.index, task });
    }

    fn place(&self) -> Place {
        Place::Client(self.index)
    }
}
