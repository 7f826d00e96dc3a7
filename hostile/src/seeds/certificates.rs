//! Certificates, keys, bundles and requests: real ones.

use std::time::{Duration, UNIX_EPOCH};

use holdfast_trust::authority::{Issued, Root, Scope, Validity, csr, csr_of_authority};
use holdfast_types::principal::Kind;
use holdfast_types::{PrincipalName, SiteName, TrustDomain};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{Seed, add};

const TARGET: &str = "certificates";

pub(super) fn seeds(seeds: &mut Vec<Seed>) {
    let domain = TrustDomain::new("f.example").expect("a domain");
    let site = SiteName::new("b").expect("a name");
    let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    let validity = Validity::between(at(1_700_000_000), at(1_900_000_000));
    let root = Root::new_within(&domain, validity).expect("a root");
    let names = ["store-0.b.f.example".to_owned(), "127.0.0.1".to_owned()];
    let (stores, people) = (Scope::Site(site.clone()), Scope::People);
    let parties = [
        (stores.clone(), Kind::Store(site), &names[..]),
        (people.clone(), Kind::Client(PrincipalName::new("billing").expect("a name")), &[]),
        (people.clone(), Kind::Operator(PrincipalName::new("ann").expect("a name")), &[]),
    ];
    for (scope, kind, names) in parties {
        let issuer = root.issuer_within(scope, &[], validity).expect("an authority");
        let issued = issuer.leaf_within(&kind, names, validity).expect("a certificate");
        whole(seeds, &kind.to_string(), &issued);
        let (_, request) = csr(&kind, &domain, names).expect("a request");
        add(seeds, TARGET, format!("a request of {kind}"), &[(3, request.as_bytes())]);
    }
    for scope in [stores, people] {
        let (_, request) = csr_of_authority(&scope, &domain).expect("a request");
        add(seeds, TARGET, format!("a request of an authority for {scope}"), &[(3, request.as_bytes())]);
    }
}

/// All that a folder holds, decoded and as text.
fn whole(seeds: &mut Vec<Seed>, name: &str, issued: &Issued) {
    let decoded = |pem: &str| -> Vec<_> {
        CertificateDer::pem_slice_iter(pem.as_bytes()).map(|certificate| certificate.expect("made here")).collect()
    };
    let (chain, bundle) = (decoded(&issued.certificate_pem), decoded(&issued.bundle_pem));
    let key = PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).expect("made here");
    let mut pieces: Vec<(u8, &[u8])> = chain.iter().map(|certificate| (0, certificate.as_ref())).collect();
    pieces.extend(bundle.iter().map(|certificate| (1, certificate.as_ref())));
    pieces.push((2, key.secret_der()));
    add(seeds, TARGET, format!("what {name} has"), &pieces);
    let text = [&issued.certificate_pem, &issued.key_pem, &issued.bundle_pem].map(String::as_str).concat();
    add(seeds, TARGET, format!("what {name} has, as text"), &[(3, text.as_bytes())]);
}
