//! Support links with TLS over loopback, and who is not heard.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use holdfast_edge::handshake::Failure;
use holdfast_trust::authority::{Issued, Root, Scope, Validity};
use holdfast_trust::{Callee, Material, Place, Speaks, Trust, server_name};
use holdfast_types::principal::Kind;
use holdfast_types::{Incarnation, PrincipalName, SiteName, StoreId, TrustDomain, limits};
use rustls::{ClientConfig, ClientConnection};

use super::tests::{TURN, any_port, exchange, identity, introduce, start, until, until_closed};
use super::{SupportConfig, SupportLink};
use crate::handshake::{Identity, Refusal};
use crate::security::Security;

const HOUR: Duration = Duration::from_secs(3_600);

fn site(store: u64) -> SiteName {
    SiteName::new(&format!("site-{store}")).unwrap()
}

fn root() -> Root {
    Root::new(&TrustDomain::new("f.example").unwrap(), HOUR).unwrap()
}

fn issued(root: &Root, kind: &Kind, validity: Validity) -> Issued {
    let scope = kind_scope(kind);
    root.issuer(scope, HOUR).unwrap().leaf_within(kind, &[], validity).unwrap()
}

fn kind_scope(kind: &Kind) -> Scope {
    match kind {
        Kind::Store(site) => Scope::Site(site.clone()),
        Kind::Client(_) | Kind::Operator(_) => Scope::People,
    }
}

/// With the certificate of a store of site `of`, good for an hour.
fn trust(root: &Root, of: u64) -> Arc<Trust> {
    Trust::from_material(issued(root, &Kind::Store(site(of)), Validity::from_now(HOUR)).material().unwrap())
}

/// With one that expires after so long.
fn mortal(root: &Root, of: u64, after: Duration) -> Issued {
    let now = SystemTime::now();
    issued(root, &Kind::Store(site(of)), Validity::between(now - HOUR, now + after))
}

fn secured(identity: Identity, trust: &Arc<Trust>) -> SupportLink {
    secured_at(identity, trust, any_port())
}

fn secured_at(identity: Identity, trust: &Arc<Trust>, address: SocketAddr) -> SupportLink {
    let mut config = SupportConfig::new(identity);
    config.security = Security::Tls(Arc::clone(trust));
    SupportLink::start(config, address).unwrap()
}

/// Two stores of one fleet, of which the first knows the second.
fn pair(root: &Root) -> (SupportLink, SupportLink) {
    let (a, b) = (secured(identity(1, 5), &trust(root, 1)), secured(identity(2, 6), &trust(root, 2)));
    introduce(&a, 2, b.local_address());
    b.config().incarnations.prove_of(StoreId(1), &site(1));
    (a, b)
}

fn failed(link: &SupportLink, why: Failure) -> u64 {
    link.handshakes().unwrap().failed(why)
}

/// Sends from `a` to store 2, which is `b`, as often as any store says something; returns how many were heard.
fn beat(a: &mut SupportLink, b: &mut SupportLink) -> usize {
    a.send(StoreId(2), Bytes::from_static(b"beat"));
    a.poll(limits::SUPPORT_FRAME_EVERY);
    b.poll(TURN).len()
}

/// The same until something becomes so; nothing is heard meanwhile.
fn unheard_until<T>(
    a: &mut SupportLink,
    b: &mut SupportLink,
    step: impl Fn(&SupportLink, &SupportLink) -> Option<T>,
) -> T {
    until(|| {
        assert_eq!(beat(a, b), 0);
        step(a, b)
    })
}

/// The same until that leads to nothing.
fn until_lost(a: &mut SupportLink, b: &mut SupportLink) {
    let dropped = a.counters().dropped;
    until(|| {
        beat(a, b);
        (a.counters().dropped > dropped).then_some(())
    });
}

#[test]
fn heartbeats_travel_both_ways_over_tls() {
    let root = root();
    let (mut a, mut b) = pair(&root);
    introduce(&b, 1, a.local_address());
    let beat = Bytes::from_static(b"beat");
    assert_eq!(exchange(&mut a, &mut b, 2), (StoreId(1), Incarnation(5), beat.clone()));
    assert_eq!(exchange(&mut b, &mut a, 1), (StoreId(2), Incarnation(6), beat));
    assert_eq!((a.counters().opened, b.counters().opened), (1, 1));
    assert_eq!(a.handshakes().unwrap().done(), 2, "one of each side");
    // The largest there is, many times.
    let largest = Bytes::from(vec![7; limits::SUPPORT_FRAME_BYTES]);
    let dropped = a.counters().dropped;
    for _ in 0..50 {
        a.send(StoreId(2), largest.clone());
        let heard = until(|| {
            a.poll(Duration::ZERO);
            b.poll(TURN).pop().filter(|(_, _, heard)| heard.len() > 4)
        });
        assert!(heard.2 == largest);
    }
    assert_eq!(a.counters().dropped, dropped);
}

/// A connection from an address of the loopback network.
fn connect(to: SocketAddr, from: u8) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, from], 0))).unwrap();
        socket.connect(to).await.unwrap().into_std().unwrap()
    });
    stream.set_nonblocking(false).unwrap();
    stream
}

/// The caller's half of a handshake.
fn shake(to: SocketAddr, config: Arc<ClientConfig>) -> (ClientConnection, TcpStream) {
    let mut stream = TcpStream::connect(to).unwrap();
    let mut session = ClientConnection::new(config, server_name("127.0.0.1")).unwrap();
    while session.is_handshaking() {
        session.complete_io(&mut stream).unwrap();
    }
    (session, stream)
}

fn as_caller(trust: &Trust) -> Arc<ClientConfig> {
    trust.client_for(Callee::Store, Speaks::Support)
}

/// Somebody with a certificate of another root, who believes `root` nevertheless.
fn stranger(root: &Root, other: &Root) -> Arc<Trust> {
    let of = |root| issued(root, &Kind::Store(site(1)), Validity::from_now(HOUR));
    let (stranger, bundle) = (of(other), of(other).bundle_pem + &of(root).bundle_pem);
    let (certificate, key) = (stranger.certificate_pem.as_bytes(), stranger.key_pem.as_bytes());
    Trust::from_material(Material::from_pem(certificate, key, bundle.as_bytes()).unwrap())
}

#[test]
fn who_cannot_prove_who_he_is_is_heard_by_nobody() {
    let (root, other) = (root(), root());
    let client = Kind::Client(PrincipalName::new("billing").unwrap());
    let client = Trust::from_material(issued(&root, &client, Validity::from_now(HOUR)).material().unwrap());
    let mut nobody = (*as_caller(&trust(&root, 1))).clone();
    nobody.client_auth_cert_resolver = Arc::new(NoCertificate);
    let callers = [
        (as_caller(&stranger(&root, &other)), Failure::Untrusted),
        (as_caller(&client), Failure::Unfit),
        (Arc::new(nobody), Failure::NoCertificate),
    ];
    for (config, why) in callers {
        let mut b = secured(identity(2, 6), &trust(&root, 2));
        let (mut session, mut stream) = shake(b.local_address(), config);
        session.writer().write_all(&[0, 0, 0, 4, 1, 2, 3, 4]).unwrap();
        let _ = session.complete_io(&mut stream);
        until(|| {
            assert_eq!(b.poll(TURN), []);
            (failed(&b, why) > 0).then_some(())
        });
        let handshakes = b.handshakes().unwrap();
        assert_eq!((handshakes.done(), handshakes.all_failed(), b.counters().refused), (0, 1, 0), "{why:?}");
    }
}

#[derive(Debug)]
struct NoCertificate;

impl rustls::client::ResolvesClientCert for NoCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

#[test]
fn a_store_says_heartbeats_for_its_own_site_alone() {
    let root = root();
    let mut b = secured(identity(2, 6), &trust(&root, 2));
    // Its certificate is of site 3, and it says another site.
    let mut liar = secured(identity(1, 5), &trust(&root, 3));
    introduce(&liar, 2, b.local_address());
    let refusal = unheard_until(&mut liar, &mut b, |liar, _| liar.refusal(StoreId(2)).cloned());
    assert_eq!(refusal, Refusal::NotItsSite { certificate: site(3), said: site(1) });
    drop(liar);
    // It says site 3, under the name of a store that is on record as one of site 1.
    b.config().incarnations.prove_of(StoreId(1), &site(1));
    let mut liar = secured(Identity { site: site(3), ..identity(1, 9) }, &trust(&root, 3));
    introduce(&liar, 2, b.local_address());
    let refusal = unheard_until(&mut liar, &mut b, |liar, _| liar.refusal(StoreId(2)).cloned());
    assert_eq!(refusal, Refusal::NotItsSite { certificate: site(3), said: site(1) });
    let mut a = secured(identity(1, 5), &trust(&root, 1));
    introduce(&a, 2, b.local_address());
    exchange(&mut a, &mut b, 2);
}

#[test]
fn nothing_is_said_to_a_store_of_another_site_than_it_is_known_by() {
    let root = root();
    let (mut a, mut b) = (secured(identity(1, 5), &trust(&root, 1)), secured(identity(2, 6), &trust(&root, 4)));
    introduce(&a, 2, b.local_address());
    unheard_until(&mut a, &mut b, |_, b| (failed(b, Failure::Refused) > 0).then_some(()));
    assert_eq!(a.counters().opened, 0);
}

#[test]
fn a_plain_store_and_one_with_tls_do_not_hear_each_other() {
    let root = root();
    let (mut plain, mut secured) = (start(identity(1, 5)), secured(identity(2, 6), &trust(&root, 2)));
    introduce(&plain, 2, secured.local_address());
    unheard_until(&mut plain, &mut secured, |_, secured| (failed(secured, Failure::Protocol) > 0).then_some(()));
    introduce(&secured, 1, plain.local_address());
    until(|| {
        secured.send(StoreId(1), Bytes::from_static(b"beat"));
        secured.poll(TURN);
        assert_eq!(plain.poll(TURN), []);
        (plain.counters().refused > 0).then_some(())
    });
    assert_eq!((plain.counters().opened, secured.counters().opened), (0, 0));
}

#[test]
fn whoever_is_distrusted_is_heard_no_more_and_others_are() {
    let root = root();
    let (mut a, mut b) = pair(&root);
    let mut c = secured(identity(3, 5), &trust(&root, 3));
    introduce(&c, 2, b.local_address());
    exchange(&mut a, &mut b, 2);
    exchange(&mut c, &mut b, 2);
    b.config().security.trust().unwrap().distrust([site(1)].into());
    // Beginning with this: what lies on the way is not read any more.
    a.send(StoreId(2), Bytes::from_static(b"late"));
    unheard_until(&mut a, &mut b, |_, b| (failed(b, Failure::Distrusted) > 0).then_some(()));
    let opened = c.counters().opened;
    exchange(&mut c, &mut b, 2);
    assert_eq!(c.counters().opened, opened, "over the same connection");
    b.config().security.trust().unwrap().distrust([].into());
    exchange(&mut a, &mut b, 2);
}

#[test]
fn nothing_is_said_to_whoever_is_distrusted() {
    let root = root();
    let (mut a, mut b) = pair(&root);
    exchange(&mut a, &mut b, 2);
    let done = b.handshakes().unwrap().done();
    a.config().security.trust().unwrap().distrust([site(2)].into());
    until_lost(&mut a, &mut b);
    assert_eq!((0..20).map(|_| beat(&mut a, &mut b)).sum::<usize>(), 0);
    let handshakes = b.handshakes().unwrap();
    assert_eq!((handshakes.done(), handshakes.all_failed()), (done, 0), "it is not even called");
}

#[test]
fn a_connection_ends_when_a_certificate_expires_and_none_begins_with_it() {
    let root = root();
    let own = Trust::from_material(mortal(&root, 1, Duration::from_secs(3)).material().unwrap());
    let (mut a, mut b) = (secured(identity(1, 5), &own), secured(identity(2, 6), &trust(&root, 2)));
    introduce(&a, 2, b.local_address());
    exchange(&mut a, &mut b, 2);
    until(|| {
        beat(&mut a, &mut b);
        (failed(&b, Failure::Expired) > 0).then_some(())
    });
    assert_eq!((0..20).map(|_| beat(&mut a, &mut b)).sum::<usize>(), 0);
}

#[test]
fn a_connection_is_opened_anew_with_the_certificate_that_took_the_place_of_one_that_expires() {
    let (root, folder) = (root(), tempfile::tempdir().unwrap());
    mortal(&root, 1, Duration::from_secs(3)).write(folder.path()).unwrap();
    let own = Trust::open(Place::folder(folder.path())).unwrap();
    let (mut a, mut b) = (secured(identity(1, 5), &own), secured(identity(2, 6), &trust(&root, 2)));
    introduce(&a, 2, b.local_address());
    exchange(&mut a, &mut b, 2);
    mortal(&root, 1, HOUR / 2).write(folder.path()).unwrap();
    own.reload().unwrap();
    until(|| {
        beat(&mut a, &mut b);
        (a.counters().opened == 2).then_some(())
    });
    exchange(&mut a, &mut b, 2);
    assert_eq!(b.handshakes().unwrap().all_failed(), 0);
}

#[test]
fn a_restarted_store_is_reached_again_at_the_port_that_it_left() {
    let root = root();
    let (mut a, mut b) = pair(&root);
    let address = b.local_address();
    exchange(&mut a, &mut b, 2);
    drop(b);
    until(|| {
        a.send(StoreId(2), Bytes::from_static(b"lost"));
        a.poll(TURN);
        (a.counters().dropped > 0).then_some(())
    });
    let mut b = secured_at(identity(2, 7), &trust(&root, 2), address);
    exchange(&mut a, &mut b, 2);
    assert_eq!(a.counters().opened, 2);
}

#[test]
fn what_cannot_be_opened_ends_its_connection() {
    let root = root();
    let mut b = secured(identity(2, 6), &trust(&root, 2));
    let (_, mut stream) = shake(b.local_address(), as_caller(&trust(&root, 1)));
    stream.write_all(&[23, 3, 3, 0, 32]).unwrap();
    stream.write_all(&[7; 32]).unwrap();
    until_closed(&mut b, &mut stream);
    assert_eq!((b.handshakes().unwrap().done(), b.counters().refused), (1, 1));
}

#[test]
fn who_has_proved_who_he_is_and_says_no_hello_is_closed() {
    let root = root();
    let mut config = SupportConfig::new(identity(2, 6));
    (config.security, config.interval) = (Security::Tls(trust(&root, 2)), Duration::from_millis(20));
    let mut b = SupportLink::start(config, any_port()).unwrap();
    let (_, mut silent) = shake(b.local_address(), as_caller(&trust(&root, 1)));
    until_closed(&mut b, &mut silent);
}

#[test]
fn who_begins_handshakes_and_never_ends_them_keeps_no_store_out() {
    let root = root();
    let (mut a, mut b) = pair(&root);
    let more = 20;
    let idle: Vec<_> =
        (0..limits::SUPPORT_HANDSHAKES_PER_ADDRESS + more).map(|_| connect(b.local_address(), 2)).collect();
    let crowded = u64::try_from(more).unwrap();
    until(|| {
        b.poll(TURN);
        (failed(&b, Failure::Crowded) >= crowded).then_some(())
    });
    exchange(&mut a, &mut b, 2);
    assert_eq!(failed(&b, Failure::Crowded), crowded, "nobody made room for it");
    drop(idle);
}

/// Makes handshakes that fail, one after the other, each until it was refused, for as long as it is told to; returns how many.
fn hammer(to: SocketAddr, config: &Arc<ClientConfig>, go_on: impl Fn(u64) -> bool) -> u64 {
    let mut made = 0;
    while go_on(made) {
        let (mut session, mut stream) = shake(to, Arc::clone(config));
        let mut refused = false;
        while !refused {
            refused = session.complete_io(&mut stream).map_or(true, |(read, _)| read == 0);
        }
        let _ = stream.read(&mut [0]);
        made += 1;
    }
    made
}

#[test]
fn heartbeats_go_on_over_their_connection_while_a_thousand_handshakes_are_hammered() {
    let (root, other) = (root(), root());
    let (mut a, mut b) = pair(&root);
    exchange(&mut a, &mut b, 2);
    let (to, config) = (b.local_address(), as_caller(&stranger(&root, &other)));
    let dropped = a.counters().dropped;
    // Both are counts, so that a fast machine waits for the heartbeats and a slow one for the handshakes.
    let (threads, handshakes_each, beats_beside) = (4, 250, 20);
    let beats = AtomicU64::new(0);
    let go_on = |made| made < handshakes_each || beats.load(Ordering::Relaxed) < beats_beside;
    let refused: u64 = std::thread::scope(|scope| {
        let hammers: Vec<_> = (0..threads).map(|_| scope.spawn(|| hammer(to, &config, go_on))).collect();
        while !hammers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            let beat = Bytes::from(format!("beat {}", beats.load(Ordering::Relaxed)));
            a.send(StoreId(2), beat.clone());
            until(|| {
                // As often as any store says something.
                a.poll(limits::SUPPORT_FRAME_EVERY);
                b.poll(TURN).into_iter().find(|(_, _, heard)| *heard == beat)
            });
            beats.fetch_add(1, Ordering::Relaxed);
        }
        hammers.into_iter().map(|hammer| hammer.join().unwrap()).sum()
    });
    until(|| {
        b.poll(TURN);
        (failed(&b, Failure::Untrusted) >= refused).then_some(())
    });
    assert_eq!((a.counters().opened, a.counters().dropped), (1, dropped), "over the one connection, and none was lost");
}
