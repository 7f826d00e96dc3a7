//! Streams between stores with TLS over loopback, and who gets none.

#![allow(clippy::unwrap_used)]

mod harness;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use harness::{Event, PATIENCE, Store, identity, listener, runtime, site};
use holdfast_edge::gate::Port;
use holdfast_edge::handshake::Failure;
use holdfast_raft_transport::{Cause, Class, Identity, Refusal, Security, TransportConfig};
use holdfast_trust::authority::{Root, Scope, Validity};
use holdfast_trust::{Material, Trust};
use holdfast_types::principal::Kind;
use holdfast_types::{Incarnation, PrincipalName, StoreId, TrustDomain};
use tokio::runtime::Runtime;

const A: StoreId = StoreId(1);
const B: StoreId = StoreId(2);
const C: StoreId = StoreId(3);
const HOUR: Duration = Duration::from_secs(3_600);

fn root() -> Root {
    Root::new(&TrustDomain::new("f.example").unwrap(), HOUR).unwrap()
}

fn material(root: &Root, kind: &Kind, validity: Validity) -> Material {
    let scope = match kind {
        Kind::Store(site) => Scope::Site(site.clone()),
        Kind::Client(_) | Kind::Operator(_) => Scope::People,
    };
    root.issuer(scope, HOUR).unwrap().leaf_within(kind, &[], validity).unwrap().material().unwrap()
}

/// With the certificate of a store of the site that store `of` is at, good for an hour.
fn trust(root: &Root, of: u64) -> Arc<Trust> {
    Trust::from_material(material(root, &Kind::Store(site(of)), Validity::from_now(HOUR)))
}

/// A store, what it believes, and its port.
struct Secured {
    store: Store,
    trust: Arc<Trust>,
    port: Arc<Port>,
}

impl Secured {
    fn start(runtime: &Runtime, store: u64, trust: Arc<Trust>) -> Self {
        Self::start_as(runtime, identity(store, 1), trust)
    }

    fn start_as(runtime: &Runtime, identity: Identity, trust: Arc<Trust>) -> Self {
        let mut config = TransportConfig::new(identity, listener(), runtime.handle().clone());
        config.security = Security::Tls(Arc::clone(&trust));
        let port = Arc::clone(&config.port);
        Self { store: Store::start_as(config, None), trust, port }
    }

    fn knows(&self, other: u64, at: &Store) {
        self.store.knows(other, at.transport.local_address());
    }

    fn until_failed(&self, why: Failure) {
        let begin = std::time::Instant::now();
        while self.port.handshakes().failed(why) == 0 {
            assert!(begin.elapsed() < PATIENCE, "nobody failed for being {}", why.as_str());
            std::thread::yield_now();
        }
    }
}

fn unreached(store: &Store, other: StoreId) {
    store.wait_for(|event| match event {
        Event::Connected(to, _) => panic!("{to} was reached"),
        Event::Unreached(to, _) if to == other => Some(()),
        _ => None,
    });
}

fn send(from: &Secured, said: &'static [u8]) {
    from.store.transport.send(B, Class::Log, Cause::Append, Bytes::from_static(said)).unwrap();
}

/// Sends to store 2 until a message arrives there.
fn hears(from: &Secured, of: StoreId, at: &Secured) {
    send(from, b"heard");
    let said = Event::Received(of, Incarnation(1), Class::Log, vec![Bytes::from_static(b"heard")]);
    at.store.wait_until(&said);
}

/// Two stores of one fleet, of which the first has both of its streams to the second open.
fn pair(runtime: &Runtime, root: &Root) -> (Secured, Secured) {
    let (a, b) = (Secured::start(runtime, 1, trust(root, 1)), Secured::start(runtime, 2, trust(root, 2)));
    a.knows(2, &b.store);
    let mut open = BTreeSet::new();
    while open.len() < 2 {
        open.insert(a.store.wait_for(|event| match event {
            Event::Connected(B, class) => Some(class),
            _ => None,
        }));
    }
    (a, b)
}

#[test]
fn messages_travel_both_ways_over_tls() {
    let (runtime, root) = (runtime(), root());
    let (a, b) = pair(&runtime, &root);
    hears(&a, A, &b);
    b.knows(1, &a.store);
    b.store.wait_until(&Event::Connected(A, Class::Log));
    let chunk = Bytes::from(vec![7; 3 << 20]);
    b.store.transport.send(A, Class::Snapshot, Cause::Snapshot, chunk.clone()).unwrap();
    assert!(a.store.wait_for_batch(Class::Snapshot) == [chunk]);
    assert_eq!((a.port.handshakes().all_failed(), b.port.handshakes().all_failed()), (0, 0));
}

#[test]
fn whoever_is_no_store_of_the_fleet_gets_no_stream() {
    let (runtime, root, other) = (runtime(), root(), root());
    let client = Kind::Client(PrincipalName::new("billing").unwrap());
    let client = Trust::from_material(material(&root, &client, Validity::from_now(HOUR)));
    for (caller, why) in [(client, Failure::Unfit), (trust(&other, 1), Failure::Refused)] {
        let (a, b) = (Secured::start(&runtime, 1, caller), Secured::start(&runtime, 2, trust(&root, 2)));
        a.knows(2, &b.store);
        unreached(&a.store, B);
        b.until_failed(why);
        assert_eq!(b.port.handshakes().done(), 0);
    }
    let (plain, b) = (Store::start(&runtime, 1), Secured::start(&runtime, 2, trust(&root, 2)));
    plain.knows(2, b.store.transport.local_address());
    unreached(&plain, B);
    b.until_failed(Failure::Protocol);
    b.knows(1, &plain);
    unreached(&b.store, A);
}

#[test]
fn a_store_with_the_certificate_of_another_site_is_refused_and_told_why() {
    let (runtime, root) = (runtime(), root());
    let b = Secured::start(&runtime, 2, trust(&root, 2));
    let liar = Secured::start(&runtime, 1, trust(&root, 3));
    liar.knows(2, &b.store);
    let refusal = Refusal::NotItsSite { certificate: site(3), said: site(1) };
    assert_eq!(liar.store.wait_for_refusal(), refusal);
    b.store.wait_for(|event| match event {
        Event::Called(introduction) => panic!("{introduction:?}"),
        Event::TurnedAway(A, why) if why == refusal => Some(()),
        _ => None,
    });
}

#[test]
fn a_store_that_says_where_its_certificate_is_from_takes_no_other_stores_name() {
    let (runtime, root) = (runtime(), root());
    let mut config = TransportConfig::new(identity(2, 1), listener(), runtime.handle().clone());
    config.security = Security::Tls(trust(&root, 2));
    config.incarnations.prove_of(A, &site(1));
    let b = Store::start_as(config, None);
    let liar = Secured::start_as(&runtime, Identity { site: site(3), ..identity(1, 9) }, trust(&root, 3));
    liar.knows(2, &b);
    assert_eq!(liar.store.wait_for_refusal(), Refusal::NotItsSite { certificate: site(3), said: site(1) });
    let a = Secured::start(&runtime, 1, trust(&root, 1));
    a.knows(2, &b);
    a.store.wait_until(&Event::Connected(B, Class::Log));
}

#[test]
fn nothing_is_sent_to_a_store_of_another_site_than_it_is_known_by() {
    let (runtime, root) = (runtime(), root());
    let (a, b) = (Secured::start(&runtime, 1, trust(&root, 1)), Secured::start(&runtime, 2, trust(&root, 4)));
    a.knows(2, &b.store);
    unreached(&a.store, B);
    b.until_failed(Failure::Refused);
}

#[test]
fn streams_from_a_site_that_is_distrusted_end_and_those_of_others_go_on() {
    let (runtime, root) = (runtime(), root());
    let (a, b) = pair(&runtime, &root);
    let c = Secured::start(&runtime, 3, trust(&root, 3));
    c.knows(2, &b.store);
    c.store.wait_until(&Event::Connected(B, Class::Log));
    hears(&a, A, &b);
    b.trust.distrust([site(1)].into());
    a.store.wait_until(&Event::Disconnected(B, Class::Log));
    unreached(&a.store, B);
    b.until_failed(Failure::Distrusted);
    hears(&c, C, &b);
    assert!(!b.store.transport.hears(A, Duration::ZERO), "its streams are over here too");
    // Trusted again, it is heard again.
    b.trust.distrust([].into());
    a.store.wait_until(&Event::Connected(B, Class::Log));
    hears(&a, A, &b);
}

#[test]
fn streams_to_a_site_that_is_distrusted_end_and_none_begins() {
    let (runtime, root) = (runtime(), root());
    let (a, b) = pair(&runtime, &root);
    hears(&a, A, &b);
    let done = b.port.handshakes().done();
    a.trust.distrust([site(2)].into());
    a.store.wait_until(&Event::Disconnected(B, Class::Log));
    unreached(&a.store, B);
    let handshakes = b.port.handshakes();
    assert_eq!((handshakes.done(), handshakes.all_failed()), (done, 0), "it is not even called");
}

#[test]
fn a_stream_ends_when_a_certificate_expires_and_none_begins_with_it() {
    let (runtime, root, now) = (runtime(), root(), SystemTime::now());
    let validity = Validity::between(now - HOUR, now + Duration::from_secs(3));
    let mortal = Trust::from_material(material(&root, &Kind::Store(site(1)), validity));
    let (a, b) = (Secured::start(&runtime, 1, mortal), Secured::start(&runtime, 2, trust(&root, 2)));
    a.knows(2, &b.store);
    a.store.wait_until(&Event::Connected(B, Class::Log));
    hears(&a, A, &b);
    a.store.wait_until(&Event::Disconnected(B, Class::Log));
    b.until_failed(Failure::Expired);
}
