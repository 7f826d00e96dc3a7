//! What an authority may not sign, even when it does.

use holdfast_trust::{Callee, Callers};

use crate::forge::{Forger, Leaf, callee, caller, trust};
use crate::shaking::shake;

const STORE_A: &str = "spiffe://f.example/site/a/store";
const STORE_B: &str = "spiffe://f.example/site/b/store";
const OPERATOR: &str = "spiffe://f.example/operator/ann";

/// What is said of a leaf of `identity` that an authority with `scopes` has signed; `None`: it is believed.
fn judged(root: &Forger, scopes: &[&str], identity: &'static str) -> Option<String> {
    let honest = trust(&root.below(&["spiffe://f.example/site/a"]).leaf(&Leaf::of(&[STORE_A]), root));
    let forged = root.below(scopes).leaf(&Leaf::of(&[identity]), root);
    let by_server = shake(caller(Some(&forged)), honest.server(Callers::Anyone));
    let is_store = identity.ends_with("/store");
    if is_store {
        let by_client = shake(honest.client(Callee::Store), callee(&forged));
        assert_eq!(by_server.server.is_err(), by_client.client.is_err(), "both sides judge alike");
    }
    by_server.server.is_err().then(|| by_server.server_says())
}

#[test]
fn the_authority_of_a_site_speaks_for_its_stores_alone() {
    let root = Forger::root(&["spiffe://f.example"]);
    let of_b: &[&str] = &["spiffe://f.example/site/b"];
    assert_eq!(judged(&root, of_b, STORE_B), None);
    for identity in [STORE_A, OPERATOR, "spiffe://f.example/site/bb/store", "spiffe://f.example/client/x"] {
        let says = judged(&root, of_b, identity).expect(identity);
        assert!(says.contains("may not speak for") && says.contains("forged authority"), "{says}");
    }
}

#[test]
fn the_authority_of_people_speaks_for_no_store() {
    let root = Forger::root(&["spiffe://f.example"]);
    let people: &[&str] = &["spiffe://f.example/client", "spiffe://f.example/operator"];
    assert_eq!(judged(&root, people, OPERATOR), None);
    assert!(judged(&root, people, STORE_B).unwrap().contains("may not speak for"));
}

#[test]
fn an_authority_without_uris_is_bound_by_those_above_it_alone() {
    let root = Forger::root(&[]);
    assert_eq!(judged(&root, &[], STORE_B), None, "cert-manager's");
    assert_eq!(judged(&root, &["https://ca.example"], STORE_B), None);
    assert_eq!(judged(&root, &["spiffe://f.example"], STORE_B), None, "SPIRE's");
    assert!(judged(&root, &["SPIFFE://f.example/site/b"], STORE_B).is_some(), "not quite right binds to nothing");
}

#[test]
fn a_scope_binds_every_authority_below_it() {
    let root = Forger::root(&[]);
    let honest = trust(&root.leaf(&Leaf::of(&[STORE_A]), &root));
    let of_b = root.below(&["spiffe://f.example/site/b"]);
    let below = of_b.below(&[]);
    let mut forged = below.leaf(&Leaf::of(&[STORE_A]), &root);
    forged.certificate_pem += &of_b.pem();
    let says = shake(caller(Some(&forged)), honest.server(Callers::Stores)).server_says();
    assert!(says.contains("may not speak for"), "{says}");
    let mut fine = below.leaf(&Leaf::of(&[STORE_B]), &root);
    fine.certificate_pem += &of_b.pem();
    assert!(shake(caller(Some(&fine)), honest.server(Callers::Stores)).is_good());
}

#[test]
fn a_root_in_the_bundle_is_held_to_its_own_uris() {
    let (of_a, of_b) = (Forger::root(&["spiffe://f.example/site/a"]), Forger::root(&["spiffe://f.example/site/b"]));
    let mut own = of_a.leaf(&Leaf::of(&[STORE_A]), &of_a);
    own.bundle_pem += &of_b.pem();
    let own = trust(&own);
    assert!(shake(caller(Some(&of_b.leaf(&Leaf::of(&[STORE_B]), &of_b))), own.server(Callers::Stores)).is_good());
    let says = shake(caller(Some(&of_b.leaf(&Leaf::of(&[STORE_A]), &of_b))), own.server(Callers::Stores)).server_says();
    assert!(says.contains("may not speak for"), "{says}");
}
