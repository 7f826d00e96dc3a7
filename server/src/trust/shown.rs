//! What a store shows of its certificate and its bundle: as it is told, and as it is judged.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use holdfast_proto::convert::trust::{fingerprint, fingerprint_bytes};
use holdfast_proto::v1;
use holdfast_trust::Standing;
use holdfast_types::bounds::cut;
use holdfast_types::{Fingerprint, SiteName, StoreId, limits};

use crate::services::fitting::short;

/// A store, and what it shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    /// Which.
    pub store: StoreId,
    /// Its site, as the fleet has it on record.
    pub site: SiteName,
    /// What it shows.
    pub what: What,
}

/// What a store shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// It answered.
    Certificates(Box<Certificates>),
    /// It answered, and runs without TLS.
    Plain,
    /// It did not answer, and why.
    Silent(String),
}

/// The certificate and the bundle of a store.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Certificates {
    /// From when on its certificate is valid, in seconds since 1970.
    pub issued_at: u64,
    /// Until when it is.
    pub expires_at: u64,
    /// The root of its bundle that its certificate leads to.
    pub root_in_use: Option<Fingerprint>,
    /// The roots of its bundle.
    pub roots: BTreeMap<Fingerprint, Root>,
    /// Why it did not take what is in its folder now.
    pub refused: Option<String>,
    /// Sites that it distrusts.
    pub distrusted: BTreeSet<SiteName>,
}

/// A root of a bundle.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Root {
    /// As people read it.
    pub subject: String,
    /// Until when it is valid, in seconds since 1970.
    pub expires_at: u64,
}

impl Shown {
    /// `s4 (d)`.
    pub fn name(&self) -> String {
        format!("{} ({})", self.store, self.site)
    }

    /// What it shows, if it shows anything.
    pub fn certificates(&self) -> Option<&Certificates> {
        match &self.what {
            What::Certificates(certificates) => Some(certificates),
            What::Plain | What::Silent(_) => None,
        }
    }
}

impl Certificates {
    /// What a store tells. What is not readable of it is left out: then it has not been shown.
    pub fn of(told: &v1::StoreTrust) -> Self {
        let root = |root: &v1::TrustedRoot| {
            let print = fingerprint(&root.fingerprint).ok()?;
            Some((print, Root { subject: root.subject.clone(), expires_at: seconds(root.expires_at) }))
        };
        Self {
            issued_at: seconds(told.issued_at),
            expires_at: seconds(told.expires_at),
            root_in_use: fingerprint(&told.root_in_use).ok(),
            roots: told.roots.iter().filter_map(root).collect(),
            refused: (!told.refused.is_empty()).then(|| told.refused.clone()),
            distrusted: told.distrusted.iter().filter_map(|site| SiteName::new(site).ok()).collect(),
        }
    }
}

/// No later than clocks can say.
fn seconds(raw: u64) -> u64 {
    cut(raw, limits::MAX_WALL_MS / 1_000)
}

/// Seconds since 1970.
pub fn since_1970(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// What this store tells of itself.
pub fn told(standing: &Standing, distrusted: &BTreeSet<SiteName>) -> v1::StoreTrust {
    let roots = standing.roots.iter().map(|root| v1::TrustedRoot {
        fingerprint: fingerprint_bytes(&root.fingerprint),
        subject: root.subject.clone(),
        expires_at: since_1970(root.expires_at),
    });
    v1::StoreTrust {
        identity: standing.own.principal.to_string(),
        certificate: fingerprint_bytes(&standing.own.fingerprint),
        issued_at: since_1970(standing.own.issued_at),
        expires_at: since_1970(standing.own.expires_at),
        root_in_use: fingerprint_bytes(&standing.own_root),
        roots: roots.collect(),
        refused: standing.refused.clone().map(short).unwrap_or_default(),
        reloads: standing.reloads,
        refusals: standing.refusals,
        distrusted: distrusted.iter().map(ToString::to_string).collect(),
    }
}

/// What another store tells of its certificates, cut to what an honest one tells: its word is told on with everybody's.
pub fn plausible(told: &mut v1::StoreTrust) {
    /// Of a SPIFFE id.
    const IDENTITY_BYTES: usize = 2_048;
    const PRINT_BYTES: usize = 32;
    if told.identity.len() > IDENTITY_BYTES {
        told.identity.clear();
    }
    for print in [&mut told.certificate, &mut told.root_in_use] {
        if print.len() > PRINT_BYTES {
            print.clear();
        }
    }
    told.refused = short(std::mem::take(&mut told.refused));
    told.roots.truncate(limits::TRUST_ROOTS);
    told.roots
        .retain(|root| root.fingerprint.len() == PRINT_BYTES && root.subject.len() <= limits::TRUST_SUBJECT_BYTES);
    told.distrusted.truncate(limits::SITES_DOUBTED);
    told.distrusted.retain(|site| site.len() <= SiteName::MAX_BYTES);
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    fn honest() -> v1::StoreTrust {
        let root = |byte| v1::TrustedRoot {
            fingerprint: vec![byte; 32].into(),
            subject: "CN=Holdfast root".into(),
            expires_at: 2_000_000_000,
        };
        v1::StoreTrust {
            identity: "spiffe://f.example/site/b/store".into(),
            certificate: vec![7; 32].into(),
            issued_at: 1_700_000_000,
            expires_at: 1_800_000_000,
            root_in_use: vec![1; 32].into(),
            roots: vec![root(1), root(2)],
            refused: "the key is not the one".into(),
            reloads: 3,
            refusals: 1,
            distrusted: vec!["c".into()],
        }
    }

    #[test]
    fn an_honest_word_stays_as_it_is_and_is_read() {
        let mut told = honest();
        plausible(&mut told);
        assert_eq!(told, honest());
        let read = Certificates::of(&told);
        assert_eq!(read.root_in_use, Some(Fingerprint([1; 32])));
        assert_eq!(read.roots.keys().copied().collect::<Vec<_>>(), [Fingerprint([1; 32]), Fingerprint([2; 32])]);
        assert_eq!((read.expires_at, read.distrusted.len(), read.refused.is_some()), (1_800_000_000, 1, true));
    }

    #[test]
    fn what_no_honest_store_says_is_cut_and_shows_nothing() {
        let mut told = v1::StoreTrust {
            identity: "s".repeat(1 << 20),
            certificate: vec![7; 1 << 20].into(),
            root_in_use: vec![1; 31].into(),
            refused: "r".repeat(1 << 20),
            distrusted: vec!["x".repeat(1_000); 10_000],
            expires_at: u64::MAX,
            ..honest()
        };
        let long = v1::TrustedRoot { subject: "s".repeat(1 << 20), ..honest().roots[0].clone() };
        told.roots.extend(vec![long; 10]);
        told.roots.extend(vec![honest().roots[0].clone(); 10_000]);
        plausible(&mut told);
        assert!(told.encoded_len() < 64 << 10, "{}", told.encoded_len());
        let read = Certificates::of(&told);
        assert_eq!((read.root_in_use, read.distrusted.len()), (None, 0));
        assert_eq!(read.expires_at, limits::MAX_WALL_MS / 1_000);
    }
}
