//! New material while the process runs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use holdfast_trust::authority::Issued;
use holdfast_trust::{Callee, Callers, Place, Reloaded, Trust, TrustError, WatchEvent};

use crate::forge::{Fleet, Forger, Leaf, trust};
use crate::shaking::shake;

/// As long as anybody waits for the watching thread, which looks every second.
const LONG: Duration = Duration::from_secs(60);

fn open(folder: &Path) -> std::sync::Arc<Trust> {
    Trust::open(Place::folder(folder)).unwrap()
}

#[test]
fn what_is_new_is_taken_and_shown_in_configurations_that_were_made_before() {
    let (fleet, folder) = (Fleet::new("f.example"), tempfile::tempdir().unwrap());
    fleet.store_a().write(folder.path()).unwrap();
    let own = open(folder.path());
    let (server, before) = (own.server(Callers::Stores), own.own().fingerprint);
    assert_eq!(own.reload().unwrap(), Reloaded::Unchanged);
    assert_eq!((own.generation(), own.standing().reloads), (1, 0));
    let next = fleet.store_a();
    next.write(folder.path()).unwrap();
    assert_eq!(own.reload().unwrap(), Reloaded::Taken);
    let standing = own.standing();
    assert_eq!((own.generation(), standing.reloads, standing.refusals), (2, 1, 0));
    let (shown, _) = shake(trust(&fleet.store_b()).client(Callee::Store), server).parties();
    let shown = shown.unwrap();
    assert!(shown.fingerprint == standing.own.fingerprint && shown.fingerprint != before);
}

#[test]
fn a_bad_pair_is_refused_and_the_old_one_is_kept() {
    let (fleet, folder) = (Fleet::new("f.example"), tempfile::tempdir().unwrap());
    let good = fleet.store_a();
    good.write(folder.path()).unwrap();
    let own = open(folder.path());
    let before = own.own();
    let stranger = Fleet::new("f.example");
    let root = Forger::root(&[]);
    let expired =
        Leaf { until: SystemTime::now() - Duration::from_secs(9), ..Leaf::of(&["spiffe://f.example/site/a/store"]) };
    let bad = [
        (Issued { key_pem: fleet.store_a().key_pem, ..good.clone() }, "the key is not the one"),
        (
            Issued { bundle_pem: stranger.root.certificate_pem(), ..good.clone() },
            "does not lead to a root of the bundle",
        ),
        (Issued { bundle_pem: String::new(), ..good.clone() }, "the bundle cannot be read"),
        (Issued { key_pem: "nothing".to_owned(), ..good.clone() }, "the key cannot be read"),
        (
            Issued { certificate_pem: good.certificate_pem[..200].to_owned(), ..good.clone() },
            "the certificate cannot be read",
        ),
        (fleet.store_b(), "start it again for it to become somebody else"),
        (root.leaf(&expired, &root), "expired at"),
    ];
    for (at, (bad, expected)) in (1..).zip(bad) {
        bad.write(folder.path()).unwrap();
        let why = own.reload().unwrap_err().to_string();
        assert!(why.contains(expected) && why.contains(folder.path().to_str().unwrap()), "{why}");
        let standing = own.standing();
        assert_eq!((standing.refused.as_ref(), standing.refusals, standing.own), (Some(&why), at, before.clone()));
        own.reload().unwrap_err();
        assert_eq!(own.standing().refusals, at, "the same is counted once");
    }
    assert_eq!(own.generation(), 1);
    assert!(shake(trust(&fleet.store_b()).client(Callee::Store), own.server(Callers::Stores)).is_good());
    good.write(folder.path()).unwrap();
    assert_eq!(own.reload().unwrap(), Reloaded::Unchanged, "what is in use has come back");
    assert_eq!(own.standing().refused, None);
}

#[test]
fn a_key_that_cannot_be_read_any_more_is_refused_and_the_old_one_is_kept() {
    let (fleet, folder) = (Fleet::new("f.example"), tempfile::tempdir().unwrap());
    fleet.store_a().write(folder.path()).unwrap();
    let own = open(folder.path());
    fs::remove_file(folder.path().join("tls.key")).unwrap();
    let why = own.reload().unwrap_err();
    assert!(matches!(why, TrustError::Unreadable { .. }) && why.to_string().contains("tls.key"), "{why}");
    assert!(own.standing().refused.is_some());
    fs::create_dir(folder.path().join("tls.key")).unwrap();
    assert!(matches!(own.reload().unwrap_err(), TrustError::Unreadable { .. }));
    assert_eq!(own.standing().refusals, 2);
    fs::remove_dir(folder.path().join("tls.key")).unwrap();
    fleet.store_a().write(folder.path()).unwrap();
    assert_eq!(own.reload().unwrap(), Reloaded::Taken);
    assert_eq!(own.standing().refused, None);
}

/// A volume as the kubelet writes it: files are links into `..data`, which is a link that is turned.
fn turn(volume: &Path, version: &str, issued: &Issued) {
    issued.write(&volume.join(version)).unwrap();
    let link = volume.join("..data_tmp");
    symlink(version, &link).unwrap();
    fs::rename(&link, volume.join("..data")).unwrap();
    for name in ["tls.crt", "tls.key", "ca.crt"] {
        let file = volume.join(name);
        if !file.exists() {
            symlink(Path::new("..data").join(name), &file).unwrap();
        }
    }
}

#[test]
fn a_volume_of_kubernetes_is_followed_when_its_link_turns() {
    let (fleet, folder) = (Fleet::new("f.example"), tempfile::tempdir().unwrap());
    turn(folder.path(), "..2026_11_30_01", &fleet.store_a());
    let own = open(folder.path());
    let before = own.own().fingerprint;
    assert_eq!(own.reload().unwrap(), Reloaded::Unchanged);
    turn(folder.path(), "..2026_11_30_02", &fleet.store_a());
    fs::remove_dir_all(folder.path().join("..2026_11_30_01")).unwrap();
    assert_eq!(own.reload().unwrap(), Reloaded::Taken);
    assert_ne!(own.own().fingerprint, before);
}

#[test]
fn files_that_somebody_puts_in_the_place_of_the_links_are_read_too() {
    let (fleet, folder) = (Fleet::new("f.example"), tempfile::tempdir().unwrap());
    turn(folder.path(), "..2026_11_30_01", &fleet.store_a());
    let own = open(folder.path());
    fleet.store_a().write(folder.path()).unwrap();
    assert_eq!(own.reload().unwrap(), Reloaded::Taken);
}

#[test]
fn a_root_is_rotated_by_bundles_that_have_both() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (Fleet::new("f.example"), Fleet::new("f.example"));
    let both =
        |issued: Issued| Issued { bundle_pem: old.root.certificate_pem() + &new.root.certificate_pem(), ..issued };
    let first = old.store_a();
    first.write(folder.path()).unwrap();
    let own = open(folder.path());
    let (calls, answers) = (own.client(Callee::Store), own.server(Callers::Stores));
    let meets = |other: &Issued| {
        let other = trust(other);
        shake(calls.clone(), other.server(Callers::Stores)).is_good()
            && shake(other.client(Callee::Store), answers.clone()).is_good()
    };
    assert!(meets(&old.store_b()) && !meets(&both(new.store_b())));
    // Add: everybody believes both, and shows the old.
    both(first).write(folder.path()).unwrap();
    assert_eq!(own.reload().unwrap(), Reloaded::Taken);
    assert!(meets(&old.store_b()) && meets(&both(old.store_b())) && meets(&both(new.store_b())));
    let standing = own.standing();
    assert_eq!((standing.roots.len(), standing.own_root), (2, standing.roots[0].fingerprint));
    // Switch: everybody shows the new.
    let second = new.store_a();
    both(second.clone()).write(folder.path()).unwrap();
    assert_eq!(own.reload().unwrap(), Reloaded::Taken);
    assert!(meets(&both(old.store_b())) && meets(&both(new.store_b())) && meets(&new.store_b()));
    assert_eq!(own.standing().own_root, standing.roots[1].fingerprint);
    // Remove.
    second.write(folder.path()).unwrap();
    assert_eq!(own.reload().unwrap(), Reloaded::Taken);
    assert!(meets(&new.store_b()) && !meets(&both(old.store_b())));
}

#[test]
fn distrust_outlives_a_reload() {
    let (fleet, folder) = (Fleet::new("f.example"), tempfile::tempdir().unwrap());
    fleet.store_a().write(folder.path()).unwrap();
    let (own, b) = (open(folder.path()), trust(&fleet.store_b()));
    own.distrust([crate::forge::site("b")].into());
    fleet.store_a().write(folder.path()).unwrap();
    assert_eq!(own.reload().unwrap(), Reloaded::Taken);
    assert!(own.is_distrusted(&b.own().principal));
    assert!(shake(b.client(Callee::Store), own.server(Callers::Stores)).server_says().contains("is distrusted"));
}

#[test]
fn whoever_watches_is_told_what_was_taken_what_was_refused_and_when_the_end_is_near() {
    let folder = tempfile::tempdir().unwrap();
    let root = Forger::root(&[]);
    let leaf = || Leaf::of(&["spiffe://f.example/site/a/store"]);
    let hour = Duration::from_secs(3_600);
    // By links that turn: however slow the disk is, nobody sees one file of two.
    turn(folder.path(), "..1", &root.leaf(&leaf(), &root));
    let own = open(folder.path());
    let (tell, told) = mpsc::channel();
    own.watch(move |event| tell.send(event).unwrap_or_default()).unwrap();
    // An hour of four is less than a third.
    let now = SystemTime::now();
    let short = Leaf { from: now - hour * 3, until: now + hour, ..leaf() };
    turn(folder.path(), "..2", &root.leaf(&short, &root));
    assert_eq!(told.recv_timeout(LONG).unwrap(), WatchEvent::Taken);
    let WatchEvent::ThirdLeft { expires_at } = told.recv_timeout(LONG).unwrap() else { panic!("its end is near") };
    assert_eq!(expires_at, own.own().expires_at);
    turn(folder.path(), "..3", &Issued { bundle_pem: "nothing".to_owned(), ..root.leaf(&leaf(), &root) });
    let WatchEvent::Refused(why) = told.recv_timeout(LONG).unwrap() else { panic!("it is no bundle") };
    assert_eq!(own.standing().refused, Some(why));
    turn(folder.path(), "..4", &root.leaf(&leaf(), &root));
    assert_eq!(told.recv_timeout(LONG).unwrap(), WatchEvent::Taken, "and nothing was told twice");
    drop(own);
    assert_eq!(told.recv_timeout(LONG), Err(mpsc::RecvTimeoutError::Disconnected), "the thread ends");
}

/// Files that are written one after the other, as spiffe-helper does, are seen between as well.
#[test]
fn what_was_bad_for_a_moment_only_is_not_told_of() {
    let (fleet, folder) = (Fleet::new("f.example"), tempfile::tempdir().unwrap());
    fleet.store_a().write(folder.path()).unwrap();
    let own = open(folder.path());
    let next = fleet.store_a();
    fs::write(folder.path().join("tls.key"), &next.key_pem).unwrap();
    let why = own.reload().unwrap_err().to_string();
    assert!(why.contains("the certificate last"), "whoever asks is told at once: {why}");
    fs::write(folder.path().join("tls.crt"), &next.certificate_pem).unwrap();
    assert_eq!((own.reload().unwrap(), own.standing().refused), (Reloaded::Taken, None));
}
