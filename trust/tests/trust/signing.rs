//! The certificate authority: what it signs, and what it does not.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::SystemTime;

use holdfast_trust::authority::{Asked, Issuer, Request, Root, Scope, Validity, csr, csr_of_authority};
use holdfast_trust::{Callee, Callers, Material, TrustError};
use holdfast_types::principal::Kind;
use holdfast_types::{Principal, PrincipalName, TrustDomain};

use crate::forge::{DAY, Fleet, site, trust};
use crate::shaking::shake;

fn domain() -> TrustDomain {
    TrustDomain::new("f.example").unwrap()
}

fn store(name: &str) -> Kind {
    Kind::Store(site(name))
}

fn operator() -> Kind {
    Kind::Operator(PrincipalName::new("ann").unwrap())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_key_that_stays_where_it_was_made_gets_its_certificate() {
    let fleet = Fleet::new("f.example");
    let (key, request) =
        csr(&store("a"), &domain(), &["store-0.a.f.example".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let read = Request::read(&request).unwrap();
    assert_eq!(*read.asked(), Asked::Party(Principal { domain: domain(), kind: store("a") }));
    assert_eq!(read.names(), ["store-0.a.f.example", "127.0.0.1"]);
    let signed = fleet.a.sign(&request, &store("a"), DAY).unwrap();
    let material =
        Material::from_pem(signed.certificate_pem.as_bytes(), key.as_bytes(), signed.bundle_pem.as_bytes()).unwrap();
    let own = holdfast_trust::Trust::from_material(material);
    assert!(shake(trust(&fleet.store_b()).client(Callee::StoreOf(site("a"))), own.server(Callers::Stores)).is_good());
}

#[test]
fn an_authority_signs_for_its_scope_alone() {
    let fleet = Fleet::new("f.example");
    let request = |kind: &Kind| csr(kind, &domain(), &[]).unwrap().1;
    for (issuer, kind) in [(&fleet.a, store("b")), (&fleet.a, operator()), (&fleet.people, store("a"))] {
        for why in [issuer.leaf(&kind, &[], DAY).unwrap_err(), issuer.sign(&request(&kind), &kind, DAY).unwrap_err()] {
            assert!(matches!(why, TrustError::BeyondScope(_)) && why.to_string().contains("speaks for"), "{why}");
        }
    }
    let other = csr(&store("a"), &TrustDomain::new("g.example").unwrap(), &[]).unwrap().1;
    assert!(fleet.a.sign(&other, &store("a"), DAY).unwrap_err().to_string().contains("belongs to f.example"));
    assert!(fleet.a.sign(&request(&store("b")), &store("a"), DAY).is_err(), "of somebody else than was said");
}

#[test]
fn names_of_hosts_are_those_of_the_site() {
    let root = Root::new(&domain(), DAY).unwrap();
    let named = ["svc.example".to_owned(), "10.1.0.0/16".to_owned()];
    let plain = root.issuer(Scope::Site(site("a")), DAY).unwrap();
    let more = root.issuer_within(Scope::Site(site("a")), &named, Validity::from_now(DAY)).unwrap();
    let leaf = |issuer: &Issuer, name: &str| issuer.leaf(&store("a"), &[name.to_owned()], DAY);
    for name in ["a.f.example", "x.y.a.f.example", "localhost", "127.0.0.1", "::1", "*.a.f.example"] {
        assert!(leaf(&plain, name).is_ok() && leaf(&more, name).is_ok(), "{name}");
    }
    for name in ["b.f.example", "f.example", "xa.f.example", "x.svc.example", "10.1.2.3", "::2"] {
        let why = leaf(&plain, name).unwrap_err().to_string();
        assert!(
            why.contains("a name that its authority may not give") && why.contains("a.f.example, localhost"),
            "{why}"
        );
    }
    assert!(leaf(&more, "x.svc.example").is_ok() && leaf(&more, "10.1.2.3").is_ok());
    assert!(leaf(&more, "10.2.0.1").is_err() && leaf(&more, "svcxexample").is_err());
    for bad in ["", "a b", "-", "https://x", "a/b", "*"] {
        assert!(leaf(&more, bad).is_err(), "{bad:?}");
    }
    for bad in ["10.0.0.0/33", "x/8", "*.x", "::/129", ""] {
        let made = root.issuer_within(Scope::Site(site("a")), &[bad.to_owned()], Validity::from_now(DAY));
        assert!(made.is_err(), "{bad:?}");
    }
    let people = root.issuer(Scope::People, DAY).unwrap();
    assert!(people.leaf(&operator(), &["localhost".to_owned()], DAY).is_err(), "nobody calls people");
}

#[test]
fn an_authority_gets_its_certificate_by_a_request_too() {
    let (root, folder) = (Root::new(&domain(), DAY).unwrap(), tempfile::tempdir().unwrap());
    let (key, request) = csr_of_authority(&Scope::Site(site("a")), &domain()).unwrap();
    let request = Request::read(&request).unwrap();
    assert_eq!(*request.asked(), Asked::Authority(domain(), Scope::Site(site("a"))));
    let signed = root.sign_issuer(&request, &[], DAY).unwrap();
    fs::write(folder.path().join("issuer.key"), key).unwrap();
    fs::set_permissions(folder.path().join("issuer.key"), Permissions::from_mode(0o600)).unwrap();
    fs::write(folder.path().join("issuer.crt"), signed.certificate_pem).unwrap();
    fs::write(folder.path().join("ca.crt"), signed.bundle_pem).unwrap();
    let issuer = Issuer::read(folder.path()).unwrap();
    assert_eq!((issuer.scope(), issuer.domain()), (&Scope::Site(site("a")), &domain()));
    assert!(issuer.leaf(&store("a"), &[], DAY).unwrap().material().is_ok());
    assert!(issuer.sign_request(&request, DAY).unwrap_err().to_string().contains("the root signs it"));
    let party = Request::read(&csr(&store("a"), &domain(), &[]).unwrap().1).unwrap();
    assert!(root.sign_issuer(&party, &[], DAY).unwrap_err().to_string().contains("a root signs authorities"));
    let other = Root::new(&TrustDomain::new("g.example").unwrap(), DAY).unwrap();
    assert!(other.sign_issuer(&request, &[], DAY).unwrap_err().to_string().contains("speaks for g.example"));
}

#[test]
fn what_is_kept_is_read_again_and_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let (at_root, at_site) = (folder.path().join("ca/root"), folder.path().join("ca/a"));
    let root = Root::new(&domain(), DAY).unwrap();
    root.write(&at_root).unwrap();
    assert_eq!((mode(&at_root), mode(&at_root.join("root.key"))), (0o700, 0o600));
    let again = Root::read(&at_root).unwrap();
    assert_eq!((again.domain(), again.certificate_pem()), (&domain(), root.certificate_pem()));
    let why = Root::new(&domain(), DAY).unwrap().write(&at_root).unwrap_err();
    assert_eq!(why, TrustError::Exists { path: at_root.join("root.key") });
    assert_eq!(Root::read(&at_root).unwrap().certificate_pem(), root.certificate_pem());

    let issuer = again.issuer(Scope::Site(site("a")), DAY).unwrap();
    issuer.write(&at_site).unwrap();
    assert_eq!((mode(&at_site), mode(&at_site.join("issuer.key"))), (0o700, 0o600));
    assert!(matches!(issuer.write(&at_site).unwrap_err(), TrustError::Exists { .. }));
    let issued = Issuer::read(&at_site).unwrap().leaf(&store("a"), &[], DAY).unwrap();
    assert!(issued.material().is_ok());
    assert_eq!(issued.bundle_pem, root.certificate_pem());

    fs::set_permissions(at_site.join("issuer.key"), Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(Issuer::read(&at_site).unwrap_err(), TrustError::OpenToAll { .. }));
    let open = folder.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, Permissions::from_mode(0o755)).unwrap();
    assert!(root.write(&open).unwrap_err().to_string().contains("chmod 0700"));
}

#[test]
fn a_folder_of_another_kind_is_not_taken_for_an_authority() {
    let (fleet, folder) = (Fleet::new("f.example"), tempfile::tempdir().unwrap());
    let at = |name: &str| folder.path().join(name);
    fleet.root.write(&at("root")).unwrap();
    fleet.a.write(&at("a")).unwrap();
    assert!(matches!(Root::read(&at("a")).unwrap_err(), TrustError::Unreadable { .. }));
    fs::rename(at("a").join("issuer.crt"), at("a").join("root.crt")).unwrap();
    fs::rename(at("a").join("issuer.key"), at("a").join("root.key")).unwrap();
    assert!(Root::read(&at("a")).unwrap_err().to_string().contains("does not say spiffe://DOMAIN"));
    let key = fs::read(at("a").join("root.key")).unwrap();
    fs::write(at("root").join("root.key"), key).unwrap();
    assert!(Root::read(&at("root")).unwrap_err().to_string().contains("the key is not the one"));
}

#[test]
fn nobody_outlives_who_signed_him() {
    let fleet = Fleet::new("f.example");
    let long = fleet.a.leaf(&store("a"), &[], DAY * 3_650).unwrap().material().unwrap();
    let left = long.own().expires_at.duration_since(SystemTime::now()).unwrap();
    assert!(left <= DAY * 5, "{left:?}");
    let ten = fleet.root.issuer(Scope::People, DAY * 3_650).unwrap();
    let left = ten.leaf(&operator(), &[], DAY * 3_650).unwrap().material().unwrap().own().expires_at;
    assert!(left.duration_since(SystemTime::now()).unwrap() <= DAY * 10);
}

#[test]
fn two_certificates_of_one_key_have_two_numbers() {
    let fleet = Fleet::new("f.example");
    let (_, request) = csr(&store("a"), &domain(), &[]).unwrap();
    let sign = || fleet.a.sign(&request, &store("a"), DAY).unwrap().certificate_pem;
    assert_ne!(sign(), sign());
}

#[test]
fn a_request_that_is_none_of_ours_is_refused() {
    let (key, params) = (rcgen::KeyPair::generate().unwrap(), rcgen::CertificateParams::default);
    let refused = |params: rcgen::CertificateParams| {
        Request::read(&params.serialize_request(&key).unwrap().pem().unwrap()).unwrap_err().to_string()
    };
    let with = |uris: &[&str]| {
        let mut params = params();
        params.subject_alt_names = uris.iter().map(|uri| rcgen::SanType::URI((*uri).try_into().unwrap())).collect();
        params
    };
    assert!(refused(params()).contains("names no identity"));
    assert!(refused(with(&["https://x"])).contains("another kind of identity"));
    assert!(
        refused(with(&["spiffe://f.example/site/a/store", "spiffe://f.example/operator/x"])).contains("names 2 URIs")
    );
    assert!(refused(with(&["spiffe://f.example"])).contains("another kind of identity"), "a root signs itself");
    let mut authority = with(&["spiffe://f.example/site/a/store"]);
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    assert!(refused(authority).contains("asks to be an authority"));
    let mut mail = with(&["spiffe://f.example/site/a/store"]);
    mail.subject_alt_names.push(rcgen::SanType::Rfc822Name("a@b".try_into().unwrap()));
    assert!(refused(mail).contains("neither a URI nor of a host"));
    for text in ["", "nothing", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"] {
        assert!(matches!(Request::read(text).unwrap_err(), TrustError::Malformed { what: "request", .. }));
    }
}

#[test]
fn a_request_that_was_changed_on_the_way_is_refused() {
    let (_, request) = csr(&store("a"), &domain(), &[]).unwrap();
    let der =
        <rustls::pki_types::CertificateSigningRequestDer<'_> as rustls::pki_types::pem::PemObject>::from_pem_slice(
            request.as_bytes(),
        )
        .unwrap();
    let mut changed = der.to_vec();
    let at = changed.windows(8).position(|window| window == b"/site/a/").unwrap() + 6;
    changed[at] = b'b';
    let lines = pem_lines(&changed);
    let why = Request::read(&lines).unwrap_err().to_string();
    assert!(why.contains("not signed with the key that it names"), "{why}");
    assert!(Request::read(&pem_lines(&der)).is_ok());
}

fn pem_lines(der: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = der.chunks(3).flat_map(|three| {
        let bits = three.iter().fold(0_u32, |bits, byte| (bits << 8) | u32::from(*byte)) << (8 * (3 - three.len()));
        (0..4).map(
            move |at| {
                if at <= three.len() { char::from(DIGITS[(bits >> (18 - 6 * at)) as usize & 63]) } else { '=' }
            },
        )
    });
    format!("-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n", digits.collect::<String>())
}
