//! Who is let in, and who is refused, each with a real handshake.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use holdfast_trust::authority::{Issued, Validity};
use holdfast_trust::{Bundle, Callee, Callers, Material, Place, Speaks, Trust, TrustError, explain};
use holdfast_types::TrustDomain;
use holdfast_types::principal::Kind;
use rustls::server::Acceptor;
use rustls::{Error, ServerConnection};

use crate::forge::{DAY, Fleet, Forger, Leaf, callee, caller, site, trust};
use crate::shaking::shake;

const STORE: &str = "spiffe://f.example/site/a/store";

fn name(party: &Option<holdfast_trust::Party>) -> String {
    party.as_ref().unwrap().principal.to_string()
}

#[test]
fn two_stores_prove_themselves_to_each_other() {
    let fleet = Fleet::new("f.example");
    let (a, b) = (trust(&fleet.store_a()), trust(&fleet.store_b()));
    let shaken = shake(a.client(Callee::StoreOf(site("b"))), b.server(Callers::Stores));
    let (callee, caller) = shaken.parties();
    assert_eq!((name(&callee), name(&caller)), ("spiffe://f.example/site/b/store".into(), STORE.into()));
    assert_eq!(callee.unwrap().fingerprint, b.own().fingerprint);
}

#[test]
fn people_reach_ports_for_anyone_and_not_those_of_stores() {
    let fleet = Fleet::new("f.example");
    let store = trust(&fleet.store_a());
    for issued in [fleet.client(), fleet.operator()] {
        let person = trust(&issued);
        for callers in [Callers::Anyone, Callers::AnyoneOrNobody] {
            let (_, caller) = shake(person.client(Callee::Store), store.server(callers)).parties();
            assert_eq!(caller.unwrap().principal, person.own().principal);
        }
        let refused = shake(person.client(Callee::Store), store.server(Callers::Stores));
        assert!(refused.server_says().contains("is no store"), "{}", refused.server_says());
        assert!(refused.client_says().contains("refuses our certificate"), "{}", refused.client_says());
    }
}

#[test]
fn nobody_is_let_in_only_where_he_may_prove_himself_otherwise() {
    let store = trust(&Fleet::new("f.example").store_a());
    let (_, nobody) = shake(caller(None), store.server(Callers::AnyoneOrNobody)).parties();
    assert_eq!(nobody, None);
    for callers in [Callers::Anyone, Callers::Stores] {
        let refused = shake(caller(None), store.server(callers));
        assert_eq!(refused.server_says(), "the other end showed no certificate");
        assert!(refused.client_says().contains("wants a certificate"), "{}", refused.client_says());
    }
}

#[test]
fn a_store_of_another_site_than_the_one_called_is_refused() {
    let fleet = Fleet::new("f.example");
    let (a, b) = (trust(&fleet.store_a()), trust(&fleet.store_b()));
    let refused = shake(a.client(Callee::StoreOf(site("c"))), b.server(Callers::Stores));
    assert!(refused.client_says().contains("/site/b/store is not of site c"), "{}", refused.client_says());
    assert!(shake(a.client(Callee::Store), b.server(Callers::Stores)).is_good());
}

#[test]
fn whoever_pretends_to_be_a_store_is_refused_by_those_who_call_one() {
    let fleet = Fleet::new("f.example");
    let a = trust(&fleet.store_a());
    // A person's certificate is not even made to be called with; one that is for both is still not a store's.
    let refused = shake(a.client(Callee::Store), callee(&fleet.client()));
    assert!(refused.client_says().contains("not made for this use"), "{}", refused.client_says());
    let root = Forger::root(&["spiffe://f.example"]);
    let own = trust(&root.leaf(&Leaf::of(&[STORE]), &root));
    let person = root.leaf(&Leaf::of(&["spiffe://f.example/client/x"]), &root);
    let refused = shake(own.client(Callee::Store), callee(&person));
    assert!(refused.client_says().contains("is no store"), "{}", refused.client_says());
}

#[test]
fn another_authority_is_not_believed() {
    let (fleet, other) = (Fleet::new("f.example"), Fleet::new("f.example"));
    let (ours, theirs) = (trust(&fleet.store_a()), other.store_a());
    let refused = shake(caller(Some(&theirs)), ours.server(Callers::Anyone));
    assert!(refused.server_says().contains("leads to no root of our bundle"), "{}", refused.server_says());
    assert!(refused.client_says().contains("no root of its bundle"), "{}", refused.client_says());
    let refused = shake(ours.client(Callee::Store), callee(&theirs));
    assert!(refused.client_says().contains("leads to no root of our bundle"), "{}", refused.client_says());
}

#[test]
fn another_trust_domain_is_refused_below_the_same_root_too() {
    let root = Forger::root(&[]);
    let ours = trust(&root.leaf(&Leaf::of(&[STORE]), &root));
    let theirs = root.leaf(&Leaf::of(&["spiffe://g.example/site/a/store"]), &root);
    for says in [
        shake(caller(Some(&theirs)), ours.server(Callers::Anyone)).server_says(),
        shake(ours.client(Callee::Store), callee(&theirs)).client_says(),
    ] {
        assert!(says.contains("another trust domain than f.example"), "{says}");
    }
}

#[test]
fn a_certificate_names_exactly_one_identity() {
    let root = Forger::root(&[]);
    let ours = trust(&root.leaf(&Leaf::of(&[STORE]), &root));
    let cases: [(&[&str], &str); 5] = [
        (&[], "names no identity"),
        (&[STORE, "spiffe://f.example/operator/ann"], "names 2 URIs"),
        (&[STORE, "https://f.example"], "names 2 URIs"),
        (&["https://f.example"], "another kind of identity"),
        (&["spiffe://f.example/ns/default/sa/holdfast"], "another kind of identity"),
    ];
    for (uris, expected) in cases {
        let bad = root.leaf(&Leaf { names: vec!["store.f.example"], ..Leaf::of(uris) }, &root);
        for says in [
            shake(caller(Some(&bad)), ours.server(Callers::AnyoneOrNobody)).server_says(),
            shake(ours.client(Callee::Store), callee(&bad)).client_says(),
        ] {
            assert!(says.contains(expected), "{uris:?}: {says}");
        }
    }
}

#[test]
fn a_certificate_that_has_expired_or_is_not_valid_yet_is_refused() {
    let root = Forger::root(&[]);
    let (minute, now) = (Duration::from_secs(60), SystemTime::now());
    let ours = trust(&root.leaf(&Leaf::of(&[STORE]), &root));
    let old = Leaf { until: now - minute, ..Leaf::of(&[STORE]) };
    let early = Leaf { from: now + minute, ..Leaf::of(&[STORE]) };
    for (leaf, expected) in [(old, "expired at"), (early, "is valid from")] {
        let bad = root.leaf(&leaf, &root);
        let by_server = shake(caller(Some(&bad)), ours.server(Callers::Stores));
        assert!(by_server.server_says().contains(expected), "{}", by_server.server_says());
        assert!(by_server.client_says().contains("our certificate has expired, or is not valid yet"));
        let by_client = shake(ours.client(Callee::Store), callee(&bad));
        assert!(by_client.client_says().contains(expected), "{}", by_client.client_says());
    }
}

#[test]
fn a_root_that_has_expired_is_believed_no_more() {
    let soon = SystemTime::now() + Duration::from_secs(60);
    let (old, young) =
        (Forger::root_until(&[], SystemTime::now() - Duration::from_secs(1)), Forger::root_until(&[], soon));
    let ours = young.leaf(&Leaf::of(&[STORE]), &young);
    let ours = Issued { bundle_pem: young.pem() + &old.pem(), ..ours };
    let theirs = old.leaf(&Leaf::of(&[STORE]), &old);
    let says = shake(caller(Some(&theirs)), trust(&ours).server(Callers::Stores)).server_says();
    assert!(says.contains("the root") && says.contains("expired at"), "{says}");
}

#[test]
fn a_certificate_for_another_use_is_refused() {
    let root = Forger::root(&[]);
    let ours = trust(&root.leaf(&Leaf::of(&[STORE]), &root));
    let only =
        |uses: &[rcgen::ExtendedKeyUsagePurpose]| root.leaf(&Leaf { uses: uses.to_vec(), ..Leaf::of(&[STORE]) }, &root);
    let called = only(&[rcgen::ExtendedKeyUsagePurpose::ServerAuth]);
    let says = shake(caller(Some(&called)), ours.server(Callers::Stores)).server_says();
    assert!(says.contains("not made for this use"), "{says}");
    let calls = only(&[rcgen::ExtendedKeyUsagePurpose::ClientAuth]);
    let says = shake(ours.client(Callee::Store), callee(&calls)).client_says();
    assert!(says.contains("not made for this use"), "{says}");
}

#[test]
fn a_stolen_certificate_without_its_key_proves_nothing() {
    let fleet = Fleet::new("f.example");
    let ours = trust(&fleet.store_a());
    let thief = Issued { key_pem: fleet.store_b().key_pem, ..fleet.store_b() };
    let says = shake(caller(Some(&thief)), ours.server(Callers::Stores)).server_says();
    assert!(says.contains("does not have the key"), "{says}");
    let says = shake(ours.client(Callee::Store), callee(&thief)).client_says();
    assert!(says.contains("does not have the key"), "{says}");
    assert_eq!(thief.material().unwrap_err(), TrustError::OtherKey);
}

#[test]
fn a_distrusted_site_is_refused_from_the_next_handshake_on_and_let_in_again_when_it_is_trusted() {
    let fleet = Fleet::new("f.example");
    let (a, b) = (trust(&fleet.store_a()), trust(&fleet.store_b()));
    // Configurations that are made once, and kept.
    let (calls, answers) = (a.client(Callee::StoreOf(site("b"))), a.server(Callers::Stores));
    let back = b.client(Callee::StoreOf(site("a")));
    let generation = a.generation();
    a.distrust(BTreeSet::from([site("b")]));
    assert!(a.generation() > generation && a.is_distrusted(&b.own().principal) && !a.is_distrusted(&a.own().principal));
    let says = shake(calls.clone(), b.server(Callers::Stores)).client_says();
    assert!(says.contains("site b is distrusted"), "{says}");
    let refused = shake(back.clone(), answers.clone());
    assert!(refused.server_says().contains("of a site that is distrusted"), "{}", refused.server_says());
    let heard = refused.client_says();
    assert!(heard.contains("the fleet distrusts the site of this store"), "the refused store is told why: {heard}");
    // People are not of a site.
    assert!(shake(trust(&fleet.client()).client(Callee::Store), a.server(Callers::Anyone)).is_good());
    let generation = a.generation();
    a.distrust(BTreeSet::from([site("b")]));
    assert_eq!(a.generation(), generation, "nothing has changed");
    a.distrust(BTreeSet::new());
    assert!(shake(calls, b.server(Callers::Stores)).is_good() && shake(back, answers).is_good());
}

#[test]
fn nothing_is_resumed() {
    let fleet = Fleet::new("f.example");
    let (a, b) = (trust(&fleet.store_a()), trust(&fleet.store_b()));
    let (client, server) = (a.client(Callee::Store), b.server(Callers::Stores));
    for _ in 0..2 {
        let shaken = shake(client.clone(), server.clone());
        let kind = shaken.client.unwrap().handshake_kind();
        assert_eq!(kind, Some(rustls::HandshakeKind::Full));
    }
    assert_eq!((server.send_tls13_tickets, server.max_early_data_size), (0, 0));
}

#[test]
fn ends_that_speak_something_else_do_not_come_together() {
    let fleet = Fleet::new("f.example");
    let (a, b) = (trust(&fleet.store_a()), trust(&fleet.store_b()));
    let refused = shake(a.client_for(Callee::Store, Speaks::Support), b.server(Callers::Stores));
    assert!(refused.server_says().contains("is this the right port"), "{}", refused.server_says());
    assert!(refused.client_says().contains("is this the right port"), "{}", refused.client_says());
    let support = b.server_for(Callers::Stores, Speaks::Support);
    assert!(shake(a.client_for(Callee::Store, Speaks::Support), support.clone()).is_good());
    assert!(shake(caller(Some(&fleet.store_a())), support).is_good(), "whoever names nothing is let through");
}

/// The hello of a client that knows TLS 1.2 and nothing later.
fn hello_of_tls12() -> Vec<u8> {
    let groups: &[u8] = &[0, 10, 0, 4, 0, 2, 0, 23];
    let signatures: &[u8] = &[0, 13, 0, 6, 0, 4, 4, 3, 8, 4];
    let extensions = [groups, signatures].concat();
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0xc0, 0x2b, 1, 0]);
    body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
    body.extend(extensions);
    let mut hello = vec![1, 0];
    hello.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    hello.extend(body);
    let mut record = vec![22, 3, 1];
    record.extend(u16::try_from(hello.len()).unwrap().to_be_bytes());
    record.extend(hello);
    record
}

#[test]
fn tls_1_2_is_not_spoken() {
    let hello = hello_of_tls12();
    // It is a hello that can be read, and not merely bytes.
    let mut acceptor = Acceptor::default();
    acceptor.read_tls(&mut hello.as_slice()).unwrap();
    assert!(acceptor.accept().unwrap().is_some());
    let store = trust(&Fleet::new("f.example").store_a());
    let mut server = ServerConnection::new(store.server(Callers::AnyoneOrNobody)).unwrap();
    server.read_tls(&mut hello.as_slice()).unwrap();
    let error = server.process_new_packets().unwrap_err();
    assert!(matches!(error, Error::PeerIncompatible(_)), "{error:?}");
    assert!(explain(&error).contains("TLS 1.3"), "{}", explain(&error));
    let mut alert = Vec::new();
    server.write_tls(&mut alert).unwrap();
    assert_eq!(alert, [21, 3, 3, 0, 2, 2, 70], "fatal: protocol_version");
}

#[test]
fn plain_text_is_recognized() {
    let store = trust(&Fleet::new("f.example").store_a());
    let mut server = ServerConnection::new(store.server(Callers::Anyone)).unwrap();
    server.read_tls(&mut b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice()).unwrap();
    let error = server.process_new_packets().unwrap_err();
    assert!(explain(&error).contains("does not speak TLS"), "{error:?}");
}

#[test]
fn a_certificate_that_expires_meanwhile_is_shown_until_there_is_a_new_one_and_refused() {
    let fleet = Fleet::new("f.example");
    let now = SystemTime::now();
    let hour = Duration::from_secs(3_600);
    let short =
        fleet.a.leaf_within(&Kind::Store(site("a")), &[], Validity::between(now - hour, now - hour / 2)).unwrap();
    let then = now - hour / 4 * 3;
    let bytes = |issued: &Issued| (issued.certificate_pem.clone(), issued.key_pem.clone(), issued.bundle_pem.clone());
    let (certificate, key, bundle) = bytes(&short);
    // The authority itself was not valid then.
    assert!(Material::from_pem_at(certificate.as_bytes(), key.as_bytes(), bundle.as_bytes(), then).is_err());
    let root = Forger::root(&[]);
    let short = root.leaf(&Leaf { until: now - hour / 2, ..Leaf::of(&[STORE]) }, &root);
    let (certificate, key, bundle) = bytes(&short);
    let material = Material::from_pem_at(certificate.as_bytes(), key.as_bytes(), bundle.as_bytes(), then).unwrap();
    let (expired, good) = (Trust::from_material(material), trust(&root.leaf(&Leaf::of(&[STORE]), &root)));
    let says = shake(expired.client(Callee::Store), good.server(Callers::Stores)).server_says();
    assert!(says.contains("expired at"), "{says}");
    assert!(expired.own().is_near_its_end(now) && !good.own().is_near_its_end(now - DAY));
}

#[test]
fn who_has_no_certificate_believes_stores_of_his_domain_and_is_let_in_where_nobody_need_have_one() {
    let folder = tempfile::tempdir().unwrap();
    let (fleet, stranger) = (Fleet::new("f.example"), Fleet::new("f.example"));
    std::fs::write(folder.path().join("ca.crt"), fleet.root.certificate_pem()).unwrap();
    let place = Place::folder(folder.path());
    assert!(place.holds_bundle_alone());
    let bundle = Bundle::open(&place, None).unwrap();
    let store = || trust(&fleet.store_a());
    let shaken = shake(bundle.client(Callee::Store), store().server(Callers::AnyoneOrNobody));
    assert!(matches!(shaken.parties(), (Some(_), None)));
    let refused = shake(bundle.client(Callee::Store), store().server(Callers::Anyone));
    assert!(refused.client_says().contains("wants a certificate"), "{}", refused.client_says());
    // He gives his token to no stranger: to nobody of another root, of another domain, or who is no store.
    let open = |issued: &Issued| trust(issued).server(Callers::AnyoneOrNobody);
    let of_stranger = shake(bundle.client(Callee::Store), open(&stranger.store_a()));
    assert!(of_stranger.client_says().contains("no root of our bundle"), "{}", of_stranger.client_says());
    let elsewhere = Bundle::open(&place, Some(TrustDomain::new("g.example").unwrap())).unwrap();
    let of_domain = shake(elsewhere.client(Callee::Store), open(&fleet.store_a()));
    assert!(of_domain.client_says().contains("another trust domain"), "{}", of_domain.client_says());
    let no_store = shake(bundle.client(Callee::Store), open(&fleet.client()));
    assert!(!no_store.is_good());
    // Roots that are replaced are those of the next handshake, in configurations that were made before.
    let calls = bundle.client(Callee::Store);
    std::fs::write(folder.path().join("ca.crt"), stranger.root.certificate_pem()).unwrap();
    bundle.reload().unwrap();
    assert!(shake(calls.clone(), open(&stranger.store_a())).is_good());
    assert!(!shake(calls, open(&fleet.store_a())).is_good());
}
