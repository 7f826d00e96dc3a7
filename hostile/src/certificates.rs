//! Certificates that the other end of a connection shows, files of a folder, and requests to an authority.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use holdfast_trust::authority::{Request, Shown};
use holdfast_trust::{Material, Party};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::memory;
use crate::pieces::{self, Piece};

/// Certificates that were sent are read within so many times their size.
const PARTS: usize = 256;
/// A moment at which the seeds are valid, and one later than anything that is.
const TIMES: [u64; 2] = [1_800_000_000, 1 << 40];

/// A piece is, by its tag: 0 a certificate of a chain, 1 one of a bundle, 2 a key, 3 a text. All of them together are then what a folder holds.
pub(crate) fn run(input: &[u8]) {
    let (mut chain, mut bundle, mut key) = (Vec::new(), Vec::new(), Vec::new());
    for Piece { tag, bytes } in pieces::cut(input) {
        match tag {
            0 => chain.push(CertificateDer::from(bytes.to_vec())),
            1 => bundle.push(CertificateDer::from(bytes.to_vec())),
            2 => key = bytes.to_vec(),
            _ => text(&bytes),
        }
    }
    let sent = chain.iter().map(|certificate| certificate.len()).sum();
    if let Ok(party) = memory::within(PARTS, sent, || Party::of(&chain)) {
        let uri = party.principal.to_string();
        assert_eq!(uri.parse().ok().as_ref(), Some(&*party.principal), "an identity reads as it is written");
        // Times that were read can be told, and compared with the clock.
        let _ = format!("{party:?} {}", party.is_near_its_end(SystemTime::now()));
    }
    for seconds in TIMES {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.clone()));
        let now = UNIX_EPOCH + Duration::from_secs(seconds);
        if let Err(why) = Material::from_der(chain.clone(), key, &bundle, now) {
            assert!(why.to_string().len() < 4_096, "whoever reads it has a line, and no page");
        }
    }
}

fn text(bytes: &[u8]) {
    let _ = Material::from_pem(bytes, bytes, bytes);
    let _ = Shown::of_pem(bytes);
    let _ = CertificateDer::from_pem_slice(bytes);
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(request) = Request::read(text)
    {
        let _ = format!("{request:?} {:?} {}", request.names(), request.key_fingerprint());
    }
}
