use holdfast_types::{StoreId, Timestamp};

use super::*;

const ROOT: Fingerprint = Fingerprint([1; 32]);
const NEW: Fingerprint = Fingerprint([2; 32]);
const NOW: u64 = 1_800_000_000;
const DAY: u64 = 86_400;

fn site(name: &str) -> SiteName {
    SiteName::new(name).unwrap()
}

fn root(days_left: u64) -> Root {
    Root { subject: "CN=root".into(), expires_at: NOW + days_left * DAY }
}

/// A store of site b with a certificate of thirty days, of which so many are left.
fn store(id: u64, days_left: u64) -> Shown {
    let certificates = Certificates {
        issued_at: (NOW + days_left * DAY).saturating_sub(30 * DAY),
        expires_at: NOW + days_left * DAY,
        root_in_use: Some(ROOT),
        roots: BTreeMap::from([(ROOT, root(1_000))]),
        ..Certificates::default()
    };
    Shown { store: StoreId(id), site: site("b"), what: What::Certificates(Box::new(certificates)) }
}

fn with(mut shown: Shown, change: impl FnOnce(&mut Certificates)) -> Shown {
    let What::Certificates(certificates) = &mut shown.what else { panic!("it shows some") };
    change(certificates);
    shown
}

fn due_of(shown: &[Shown], rotation: Option<&Rotation>, sites: &[SiteTrust]) -> Vec<String> {
    due(&Picture { shown, rotation, sites, now: NOW })
}

/// One sentence is due, and begins like this.
fn assert_due(shown: &[Shown], begins: &str) {
    let due = due_of(shown, None, &[]);
    assert!(due.len() == 1 && due[0].starts_with(begins), "{due:?}");
}

#[test]
fn a_fleet_in_order_owes_nothing() {
    assert!(due_of(&[store(1, 20), store(2, 11)], None, &[]).is_empty());
    assert!(due_of(&[], None, &[]).is_empty());
}

#[test]
fn each_thing_that_is_wrong_with_a_store_is_named() {
    let silent = Shown { what: What::Silent("no answer within 800 ms".into()), ..store(4, 20) };
    assert_due(&[store(1, 20), silent], "s4 (b) does not answer, and shows nothing: no answer");
    let plain = Shown { what: What::Plain, ..store(4, 20) };
    assert_due(&[store(1, 20), plain.clone()], "s4 (b) runs without TLS");
    assert_due(&[plain.clone(), plain], "this fleet runs without TLS");
    assert_due(&[store(1, 10)], "the certificate of s1 (b) ends at 2027-01-25T08:00:00Z, and was not renewed yet");
    assert_due(&[store(1, 0)], "the certificate of s1 (b) ended at 2027-01-15T08:00:00Z: have a new one made");
    let refuses = with(store(1, 20), |certificates| certificates.refused = Some("the key is not the one".into()));
    assert_due(
        &[refuses],
        "s1 (b) goes on with the certificate that it had, and refuses what lies in its folder: the key",
    );
}

#[test]
fn a_root_that_ends_is_told_of_once_and_only_where_it_is_in_use() {
    let ends = |id, days| with(store(id, 20), |certificates| certificates.roots = [(ROOT, root(days))].into());
    assert_due(&[ends(1, 89), ends(2, 89)], "the root 01010101 (CN=root) ends at ");
    assert_due(&[ends(1, 0)], "the root 01010101 (CN=root) ended at ");
    let unused = with(store(1, 20), |certificates| drop(certificates.roots.insert(NEW, root(3))));
    assert!(due_of(&[unused], None, &[]).is_empty());
}

#[test]
fn stores_that_would_not_believe_each_other_are_named_whatever_rotation_there_is() {
    let moved = with(store(2, 20), |certificates| {
        certificates.root_in_use = Some(NEW);
        certificates.roots.insert(NEW, root(1_000));
    });
    let due = due_of(&[store(1, 20), moved], None, &[]);
    assert!(due.len() == 1 && due[0].starts_with("s1 (b) does not have the root 02020202 in its bundle"), "{due:?}");
    assert!(due[0].contains("the certificate of s2 (b) leads"), "{due:?}");
}

#[test]
fn the_next_step_of_a_rotation_is_due_until_it_is_over() {
    let rotation = |phase| {
        let at = Timestamp(5);
        Rotation { phase, new_root: NEW, old_roots: [ROOT].into(), begun_at: at, phase_at: at }
    };
    let both = |id| with(store(id, 20), |certificates| drop(certificates.roots.insert(NEW, root(1_000))));
    let new = |id| {
        with(store(id, 20), |certificates| {
            (certificates.root_in_use, certificates.roots) = (Some(NEW), [(NEW, root(1_000))].into());
        })
    };
    let said = |phase, shown: &[Shown]| due_of(shown, Some(&rotation(phase)), &[]).join("\n");
    let waits = said(RotationPhase::Add, &[both(1), store(2, 20)]);
    assert_eq!(
        waits,
        "the rotation of the root to 02020202 is in phase `add`: 1 store has not shown it yet (`holdfast trust status`)"
    );
    assert!(said(RotationPhase::Add, &[both(1), both(2)]).ends_with("`holdfast trust rotate switch`"));
    assert!(said(RotationPhase::Switch, &[new(1)]).ends_with("`holdfast trust rotate remove`"));
    assert_eq!(said(RotationPhase::Remove, &[new(1), new(2)]), "");
    assert_eq!(said(RotationPhase::Aborted, &[store(1, 20)]), "");
    assert!(said(RotationPhase::Aborted, &[both(1)]).contains("in phase `abort`: 1 store has not shown it yet"));
}

#[test]
fn a_distrusted_site_is_due_and_its_stores_are_asked_nothing() {
    let at = |seconds: u64| Some(Timestamp::from_ms(seconds * 1_000));
    let said = SiteTrust { distrusted_at: at(NOW), ..SiteTrust::never_doubted(site("c")) };
    let of_c = Shown { site: site("c"), what: What::Silent("site c is distrusted".into()), ..store(3, 20) };
    let knows = with(store(1, 20), |certificates| certificates.distrusted = [site("c")].into());
    let due = due_of(&[knows.clone(), of_c.clone()], None, std::slice::from_ref(&said));
    assert!(
        due.len() == 1 && due[0].starts_with("site c is distrusted since 2027-01-15T08:00:00Z: replace it"),
        "{due:?}"
    );
    let due = due_of(&[knows.clone(), store(2, 20), of_c.clone()], None, std::slice::from_ref(&said));
    assert!(due.len() == 2 && due[1].starts_with("s2 (b) has not heard yet that site c is distrusted"), "{due:?}");
    let restored = SiteTrust { restored_at: at(NOW + 1), ..said };
    let due = due_of(&[knows], None, &[restored]);
    assert_eq!(due, ["s1 (b) has not heard yet that site c is trusted again"]);
}
