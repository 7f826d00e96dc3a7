//! Whatever bytes come: an answer, and never a panic.

use holdfast_trust::authority::{Request, csr};
use holdfast_trust::{Material, Party};
use holdfast_types::{SiteName, TrustDomain, principal::Kind};
use proptest::prelude::*;
use proptest::sample::Index;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::forge::Fleet;

/// A chain of a store, as it is sent.
fn chain() -> Vec<Vec<u8>> {
    let issued = Fleet::new("f.example").store_a();
    let certificates = CertificateDer::pem_slice_iter(issued.certificate_pem.as_bytes());
    certificates.map(|certificate| certificate.unwrap().to_vec()).collect()
}

fn change(bytes: &mut Vec<u8>, changes: &[(Index, u8, u8)]) {
    for (at, to, how) in changes {
        let at = at.index(bytes.len().max(1));
        match how % 4 {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, *to),
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = *to;
                }
            }
        }
    }
}

fn changes() -> impl Strategy<Value = Vec<(Index, u8, u8)>> {
    prop::collection::vec(any::<(Index, u8, u8)>(), 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_bytes_are_a_party_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(Party::of(&[CertificateDer::from(bytes)]).is_err());
    }

    #[test]
    fn a_certificate_with_other_bytes_is_a_party_or_an_error(changes in changes()) {
        let mut leaf = chain().remove(0);
        let before = Party::of(&[CertificateDer::from(leaf.clone())]).unwrap();
        let as_sent = leaf.clone();
        change(&mut leaf, &changes);
        if let Ok(party) = Party::of(&[CertificateDer::from(leaf.clone())]) {
            prop_assert_eq!(party.fingerprint == before.fingerprint, leaf == as_sent);
            // Times stay within what can be told.
            let _ = format!("{party:?} {}", party.is_near_its_end(std::time::SystemTime::now()));
        }
    }

    #[test]
    fn any_text_is_material_or_an_error(changes in changes(), which in 0..3_usize) {
        let issued = Fleet::new("f.example").store_a();
        let mut texts = [issued.certificate_pem.into_bytes(), issued.key_pem.into_bytes(), issued.bundle_pem.into_bytes()];
        change(&mut texts[which], &changes);
        let [certificate, key, bundle] = texts;
        if let Err(why) = Material::from_pem(&certificate, &key, &bundle) {
            prop_assert!(why.to_string().len() < 2_000);
        }
    }

    #[test]
    fn any_text_is_a_request_or_an_error(changes in changes()) {
        let kind = Kind::Store(SiteName::new("a").unwrap());
        let (_, request) = csr(&kind, &TrustDomain::new("f.example").unwrap(), &["localhost".to_owned()]).unwrap();
        let mut text = request.into_bytes();
        change(&mut text, &changes);
        let text = String::from_utf8_lossy(&text).into_owned();
        if let Err(why) = Request::read(&text) {
            prop_assert!(why.to_string().len() < 2_000);
        }
    }
}
