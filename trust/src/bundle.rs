//! What somebody believes who has no certificate of his own: the roots of a bundle, and one trust domain.
//!
//! Whoever comes by a bearer token proves who he is in each call, and not in the handshake. He looks all the closer at who answers: without
//! that he would give his token to whoever has his address.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Weak};
use std::thread;

use arc_swap::ArcSwap;
use holdfast_types::{TrustDomain, limits};
use parking_lot::Mutex;
use rustls::ClientConfig;

use crate::error::TrustError;
use crate::pem;
use crate::place::Place;
use crate::trust::{Callee, Reloaded, RootInfo, Speaks, client_config};
use crate::verify::{BundleCheck, Roots};
use crate::watch::WatchEvent;

/// The roots that are believed, and the trust domain whose stores are. Shared by all who call.
///
/// - What is in use was read as a whole, and is replaced as a whole.
/// - The domain stays what it was: a new bundle makes nobody a client of another fleet.
#[derive(Debug)]
pub struct Bundle {
    live: Arc<LiveRoots>,
    place: Place,
    seen: Mutex<Seen>,
}

/// What is believed now. Configurations share it, and ask it at each handshake.
#[derive(Debug)]
pub(crate) struct LiveRoots {
    pub(crate) domain: TrustDomain,
    pub(crate) roots: ArcSwap<Roots>,
}

#[derive(Debug, Default)]
struct Seen {
    /// The file in use.
    taken: Vec<u8>,
    /// Why the last look took nothing, and how many looks in a row it was so.
    refused: Option<(String, u32)>,
}

impl Bundle {
    /// Reads a bundle: the one in a folder, whether there is a certificate beside it or not. `domain`: whose stores are believed; `None`: those of
    /// the domain that the roots themselves name, as those of `holdfast ca` and SPIRE do.
    ///
    /// # Errors
    /// When there is none, it cannot be read, or it does not say which domain is meant.
    pub fn open(place: &Place, domain: Option<TrustDomain>) -> Result<Arc<Self>, TrustError> {
        let taken = place.read_bundle()?;
        let roots = read(&taken).map_err(|why| why.within(place.path()))?;
        let domain = match domain {
            Some(domain) => domain,
            None => the_domain_of(&roots).map_err(|why| why.within(place.path()))?,
        };
        let live = Arc::new(LiveRoots { domain, roots: ArcSwap::from_pointee(roots) });
        Ok(Arc::new(Self { live, place: place.clone(), seen: Mutex::new(Seen { taken, refused: None }) }))
    }

    /// The trust domain whose stores are believed.
    #[must_use]
    pub fn domain(&self) -> &TrustDomain {
        &self.live.domain
    }

    /// All roots that are believed.
    #[must_use]
    pub fn roots(&self) -> Vec<RootInfo> {
        self.live.roots.load().infos()
    }

    /// Looks at the file, and takes what is there if it is good and new.
    ///
    /// # Errors
    /// Why it is not good; the old stays.
    pub fn reload(&self) -> Result<Reloaded, TrustError> {
        self.look(&mut self.seen.lock())
    }

    fn look(&self, seen: &mut Seen) -> Result<Reloaded, TrustError> {
        let found = self.place.read_bundle()?;
        if found == seen.taken {
            return Ok(Reloaded::Unchanged);
        }
        let roots = read(&found).map_err(|why| why.within(self.place.path()))?;
        self.live.roots.store(Arc::new(roots));
        seen.taken = found;
        Ok(Reloaded::Taken)
    }

    /// Begins to look at the file every [`limits::TRUST_LOOK_EVERY`], on a thread of its own. It ends when nobody has this any more.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn watch(self: &Arc<Self>, told: impl Fn(WatchEvent) + Send + 'static) -> io::Result<()> {
        let watched = Arc::downgrade(self);
        thread::Builder::new().name("bundle".to_owned()).spawn(move || watch(&watched, told)).map(drop)
    }

    /// What there is to tell of one more look. What is not good is told when the next look finds the same: whoever writes the file is not blamed
    /// for the moment in which half of it is there.
    fn news(&self) -> Option<WatchEvent> {
        let mut seen = self.seen.lock();
        match self.look(&mut seen) {
            Ok(looked) => {
                seen.refused = None;
                (looked == Reloaded::Taken).then_some(WatchEvent::Taken)
            }
            Err(why) => {
                let why = why.to_string();
                let before = seen.refused.take().filter(|(said, _)| *said == why).map_or(0, |(_, looks)| looks);
                seen.refused = Some((why.clone(), before.saturating_add(1)));
                (before == 1).then_some(WatchEvent::Refused(why))
            }
        }
    }

    /// How a store is called that speaks gRPC. Stays right when the bundle changes.
    #[must_use]
    pub fn client(&self, callee: Callee) -> Arc<ClientConfig> {
        let check = Arc::new(BundleCheck { live: self.live.clone(), callee });
        client_config(check, None, Speaks::Grpc)
    }
}

fn watch(watched: &Weak<Bundle>, told: impl Fn(WatchEvent)) {
    while let Some(bundle) = watched.upgrade() {
        bundle.news().into_iter().for_each(&told);
        drop(bundle);
        thread::sleep(limits::TRUST_LOOK_EVERY);
    }
}

fn read(text: &[u8]) -> Result<Roots, TrustError> {
    Roots::of(&pem::certificates(text, "bundle", limits::TRUST_ROOTS)?)
}

/// The one domain that the roots speak for.
fn the_domain_of(roots: &Roots) -> Result<TrustDomain, TrustError> {
    let named: BTreeSet<&str> = roots.uris().filter_map(domain_in).collect();
    let legal: Vec<_> = named.iter().filter_map(|name| TrustDomain::new(name).ok()).collect();
    match legal.as_slice() {
        [domain] if named.len() == 1 => Ok(domain.clone()),
        _ => Err(TrustError::WhichDomain { named: legal.iter().map(ToString::to_string).collect() }),
    }
}

fn domain_in(uri: &str) -> Option<&str> {
    uri.strip_prefix("spiffe://").and_then(|rest| rest.split('/').next())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;
    use crate::authority::Root;

    const DAY: Duration = Duration::from_secs(86_400);

    fn domain(name: &str) -> TrustDomain {
        TrustDomain::new(name).unwrap()
    }

    fn root(name: &str) -> String {
        Root::new(&domain(name), DAY).unwrap().certificate_pem()
    }

    #[test]
    fn the_roots_say_whose_stores_are_believed_and_where_they_do_not_it_has_to_be_named() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::folder(folder.path());
        let none = Bundle::open(&place, None).unwrap_err().to_string();
        assert!(none.contains("ca.crt") && none.contains(folder.path().to_str().unwrap()), "{none}");
        fs::write(folder.path().join("ca.crt"), root("f.example") + &root("f.example")).unwrap();
        let bundle = Bundle::open(&place, None).unwrap();
        assert_eq!((bundle.domain(), bundle.roots().len()), (&domain("f.example"), 2));
        fs::write(folder.path().join("ca.crt"), root("f.example") + &root("g.example")).unwrap();
        let which = Bundle::open(&place, None).unwrap_err().to_string();
        assert!(which.contains("f.example, g.example") && which.contains("--trust-domain"), "{which}");
        assert_eq!(Bundle::open(&place, Some(domain("g.example"))).unwrap().domain(), &domain("g.example"));
    }

    #[test]
    fn what_is_bad_at_two_looks_is_told_once_and_the_old_roots_stay() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.crt");
        fs::write(&file, root("f.example")).unwrap();
        let bundle = Bundle::open(&Place::folder(folder.path()), None).unwrap();
        let before = bundle.roots();
        assert_eq!(bundle.news(), None);
        fs::write(&file, "half").unwrap();
        assert_eq!(bundle.news(), None, "a moment of writing");
        assert!(matches!(bundle.news(), Some(WatchEvent::Refused(_))));
        assert_eq!((bundle.news(), bundle.roots()), (None, before.clone()));
        // A new bundle makes nobody a client of another fleet.
        fs::write(&file, root("g.example")).unwrap();
        assert_eq!(bundle.news(), Some(WatchEvent::Taken));
        assert_eq!(bundle.domain(), &domain("f.example"));
        assert_ne!(bundle.roots(), before);
    }
}
