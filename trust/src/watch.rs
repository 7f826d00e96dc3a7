//! New material is taken while the process runs: the folder is looked at again and again.
//!
//! Looked at, and not watched by the system's notices: they do not come through the links that Kubernetes turns, nor from network file systems,
//! and three small files a second cost nothing.

use std::io;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::SystemTime;

use holdfast_types::{Fingerprint, limits};

use crate::trust::{Refused, Trust};

/// What the watching thread has to tell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WatchEvent {
    /// New material is in use.
    Taken,
    /// What lies in the folder is not used, and why: the old stays in use.
    Refused(String),
    /// The certificate in use has a third of its life left, or less: whatever renews it has not done so. Told once for each.
    ThirdLeft {
        /// When it expires.
        expires_at: SystemTime,
    },
}

/// What was told already.
#[derive(Default)]
struct Watching {
    suspect: Option<Refused>,
    near_its_end: Option<Fingerprint>,
}

impl Trust {
    /// Begins to look at the folder every [`limits::TRUST_LOOK_EVERY`], on a thread of its own. It ends when nobody has this any more.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn watch(self: &Arc<Self>, told: impl Fn(WatchEvent) + Send + 'static) -> io::Result<()> {
        let watched = Arc::downgrade(self);
        thread::Builder::new().name("trust".to_owned()).spawn(move || watch(&watched, told)).map(drop)
    }
}

fn watch(watched: &Weak<Trust>, told: impl Fn(WatchEvent)) {
    let mut watching = Watching::default();
    while let Some(trust) = watched.upgrade() {
        watching.look(&trust, SystemTime::now()).into_iter().for_each(&told);
        drop(trust);
        thread::sleep(limits::TRUST_LOOK_EVERY);
    }
}

impl Watching {
    fn look(&mut self, trust: &Trust, now: SystemTime) -> Vec<WatchEvent> {
        let mut events = Vec::new();
        events.extend(trust.look_again(&mut self.suspect).map(|looked| match looked {
            Ok(()) => WatchEvent::Taken,
            Err(why) => WatchEvent::Refused(why),
        }));
        let own = trust.own();
        if own.is_near_its_end(now) && self.near_its_end.replace(own.fingerprint) != Some(own.fingerprint) {
            events.push(WatchEvent::ThirdLeft { expires_at: own.expires_at });
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use holdfast_types::principal::Kind;
    use holdfast_types::{PrincipalName, TrustDomain};

    use super::*;
    use crate::Place;
    use crate::authority::{Issued, Root, Scope};

    const DAY: Duration = Duration::from_secs(86_400);

    fn issued() -> [Issued; 2] {
        let root = Root::new(&TrustDomain::new("f.example").unwrap(), DAY).unwrap();
        let people = root.issuer(Scope::People, DAY).unwrap();
        let kind = Kind::Operator(PrincipalName::new("ann").unwrap());
        [0, 1].map(|_| people.leaf(&kind, &[], DAY).unwrap())
    }

    #[test]
    fn what_is_bad_at_one_look_and_good_at_the_next_is_no_refusal() {
        let (folder, [first, second]) = (tempfile::tempdir().unwrap(), issued());
        first.write(folder.path()).unwrap();
        let trust = Trust::open(Place::folder(folder.path())).unwrap();
        let (mut watching, now) = (Watching::default(), SystemTime::now());
        assert_eq!(watching.look(&trust, now), []);
        fs::write(folder.path().join("tls.key"), &second.key_pem).unwrap();
        assert_eq!(watching.look(&trust, now), [], "a moment between two files");
        fs::write(folder.path().join("tls.crt"), &second.certificate_pem).unwrap();
        assert_eq!(watching.look(&trust, now), [WatchEvent::Taken]);
        assert_eq!(trust.standing().refusals, 0);
    }

    #[test]
    fn what_stays_bad_is_told_of_once_and_so_is_what_becomes_bad_in_another_way() {
        let (folder, [first, second]) = (tempfile::tempdir().unwrap(), issued());
        first.write(folder.path()).unwrap();
        let trust = Trust::open(Place::folder(folder.path())).unwrap();
        let (mut watching, now) = (Watching::default(), SystemTime::now());
        for (file, text) in [("tls.key", &second.key_pem), ("ca.crt", &String::new())] {
            fs::write(folder.path().join(file), text).unwrap();
            assert_eq!(watching.look(&trust, now), []);
            assert!(matches!(watching.look(&trust, now).as_slice(), [WatchEvent::Refused(_)]), "{file}");
            assert_eq!(watching.look(&trust, now), []);
        }
        assert_eq!(trust.standing().refusals, 2);
    }

    #[test]
    fn the_last_third_of_a_life_is_told_of_once_for_each_certificate() {
        let (folder, [first, second]) = (tempfile::tempdir().unwrap(), issued());
        first.write(folder.path()).unwrap();
        let trust = Trust::open(Place::folder(folder.path())).unwrap();
        let mut watching = Watching::default();
        let told = |own: &crate::Party| WatchEvent::ThirdLeft { expires_at: own.expires_at };
        let own = trust.own();
        let third = (own.expires_at.duration_since(own.issued_at).unwrap()) / 3;
        assert_eq!(watching.look(&trust, own.expires_at - third - Duration::from_secs(1)), []);
        assert_eq!(watching.look(&trust, own.expires_at - third), [told(&own)]);
        assert_eq!(watching.look(&trust, own.expires_at + DAY), []);
        second.write(folder.path()).unwrap();
        let late = own.expires_at + DAY;
        let events = watching.look(&trust, late);
        assert_eq!(events, [WatchEvent::Taken, told(&trust.own())]);
    }
}
