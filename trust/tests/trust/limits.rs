//! What is too much of anything.

use holdfast_trust::{Callers, Material, TrustError};
use holdfast_types::limits;

use crate::forge::{Fleet, Forger, Leaf, caller, trust};
use crate::shaking::shake;

const STORE: &str = "spiffe://f.example/site/a/store";

#[test]
fn a_chain_that_is_longer_than_any_path_is_refused_unread() {
    let root = Forger::root(&[]);
    let own = trust(&root.leaf(&Leaf::of(&[STORE]), &root));
    let mut long = root.leaf(&Leaf::of(&[STORE]), &root);
    // The root came along already.
    while long.certificate_pem.matches("BEGIN").count() < limits::TRUST_CHAIN_CERTIFICATES {
        long.certificate_pem += &root.pem();
    }
    assert!(shake(caller(Some(&long)), own.server(Callers::Stores)).is_good());
    long.certificate_pem += &root.pem();
    let says = shake(caller(Some(&long)), own.server(Callers::Stores)).server_says();
    assert!(says.contains("more than any path has"), "{says}");
    let own = Material::from_pem(long.certificate_pem.as_bytes(), long.key_pem.as_bytes(), long.bundle_pem.as_bytes());
    assert!(matches!(own.unwrap_err(), TrustError::TooMany { what: "certificate", .. }));
}

#[test]
fn a_bundle_has_so_many_roots_and_no_more() {
    let fleet = Fleet::new("f.example");
    let mut issued = fleet.store_a();
    issued.bundle_pem = fleet.root.certificate_pem().repeat(limits::TRUST_ROOTS);
    assert_eq!(trust(&issued).standing().roots.len(), limits::TRUST_ROOTS);
    issued.bundle_pem += &fleet.root.certificate_pem();
    assert!(matches!(issued.material().unwrap_err(), TrustError::TooMany { what: "bundle", .. }));
}
