//! Stores that write down what they hear.

use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use holdfast_raft_transport::{
    Addresses, Class, Identity, Inbound, Incarnations, Intake, Introduction, Process, Refusal, Transport,
    TransportConfig,
};
use holdfast_types::{FleetId, Incarnation, SiteName, StoreId};
use tokio::runtime::Runtime;
use tokio::sync::Notify;

/// A test that waits longer has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    Received(StoreId, Incarnation, Class, Vec<Bytes>),
    Connected(StoreId, Class),
    Disconnected(StoreId, Class),
    Refused(StoreId, Refusal),
    Lives(StoreId, Class),
    Called(Introduction),
    TurnedAway(StoreId, Refusal),
    Unreached(StoreId, String),
}

struct Recorder {
    events: Mutex<Sender<Event>>,
    gate: Option<Arc<Notify>>,
}

impl Recorder {
    fn record(&self, event: Event) {
        // Nobody may listen any more.
        let _ = self.events.lock().unwrap().send(event);
    }
}

impl Inbound for Recorder {
    fn receive(&self, from: StoreId, incarnation: Incarnation, class: Class, payloads: Vec<Bytes>) -> Intake {
        self.record(Event::Received(from, incarnation, class, payloads));
        match self.gate.clone() {
            Some(gate) => Intake::Wait(Box::pin(async move { gate.notified().await })),
            None => Intake::Ready,
        }
    }

    fn lives(&self, from: StoreId, class: Class) {
        self.record(Event::Lives(from, class));
    }

    fn called(&self, introduction: &Introduction) {
        self.record(Event::Called(introduction.clone()));
    }

    fn turned_away(&self, store: StoreId, _from: Option<std::net::IpAddr>, refusal: &Refusal) {
        self.record(Event::TurnedAway(store, refusal.clone()));
    }

    fn unreached(&self, store: StoreId, class: Class, address: &str, reason: &str) {
        assert!(!reason.is_empty());
        if class == Class::Control {
            self.record(Event::Unreached(store, address.to_owned()));
        }
    }

    fn connected(&self, store: StoreId, _incarnation: Incarnation, class: Class, _address: &str) {
        self.record(Event::Connected(store, class));
    }

    fn disconnected(&self, store: StoreId, class: Class) {
        self.record(Event::Disconnected(store, class));
    }

    fn refused(&self, store: StoreId, _class: Class, _address: &str, refusal: &Refusal) {
        self.record(Event::Refused(store, refusal.clone()));
    }
}

pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

pub fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

pub fn site(store: u64) -> SiteName {
    SiteName::new(&format!("site-{store}")).unwrap()
}

pub fn identity(store: u64, incarnation: u64) -> Identity {
    Identity {
        fleet: FleetId(7),
        store: StoreId(store),
        incarnation: Incarnation(incarnation),
        site: site(store),
        process: Process::default(),
        addresses: Addresses { client: format!("client-{store}:1"), store_to_store: format!("store-{store}:2") },
        formats: Vec::new(),
    }
}

pub struct Store {
    pub transport: Transport,
    incarnations: Incarnations,
    events: Receiver<Event>,
}

impl Store {
    pub fn start(runtime: &Runtime, store: u64) -> Store {
        Store::start_as(TransportConfig::new(identity(store, 1), listener(), runtime.handle().clone()), None)
    }

    pub fn start_as(config: TransportConfig, gate: Option<Arc<Notify>>) -> Store {
        let (sender, events) = channel();
        let recorder = Arc::new(Recorder { events: Mutex::new(sender), gate });
        let incarnations = config.incarnations.clone();
        Store { transport: Transport::start(config, recorder).unwrap(), incarnations, events }
    }

    /// The fleet has that store on record, and this is where it is.
    pub fn knows(&self, store: u64, address: SocketAddr) {
        self.incarnations.prove(StoreId(store));
        self.transport.set_address(StoreId(store), site(store), &address.to_string());
    }

    pub fn next_event(&self) -> Event {
        self.events.recv_timeout(PATIENCE).expect("an event in time")
    }

    /// The first event that `select` takes; others are passed over.
    pub fn wait_for<T>(&self, select: impl Fn(Event) -> Option<T>) -> T {
        loop {
            if let Some(found) = select(self.next_event()) {
                return found;
            }
        }
    }

    pub fn wait_until(&self, expected: &Event) {
        self.wait_for(|event| (event == *expected).then_some(()));
    }

    pub fn wait_for_refusal(&self) -> Refusal {
        self.wait_for(|event| match event {
            Event::Refused(_, refusal) => Some(refusal),
            _ => None,
        })
    }

    /// The next batch of a class.
    pub fn wait_for_batch(&self, class: Class) -> Vec<Bytes> {
        self.wait_for(|event| match event {
            Event::Received(_, _, of, payloads) if of == class => Some(payloads),
            _ => None,
        })
    }
}
