use std::collections::BTreeMap;

use super::*;
use crate::trust::shown::Root;

const OLD: Fingerprint = Fingerprint([1; 32]);
const NEW: Fingerprint = Fingerprint([2; 32]);
const OTHER: Fingerprint = Fingerprint([3; 32]);
const NOW: Timestamp = Timestamp(500);

/// A store with these roots in its bundle, whose certificate leads to the last one named.
fn store(id: u64, in_use: Fingerprint, bundle: &[Fingerprint]) -> Shown {
    let roots: BTreeMap<_, _> = bundle.iter().map(|root| (*root, Root::default())).collect();
    let certificates = Certificates { root_in_use: Some(in_use), roots, ..Certificates::default() };
    Shown { store: StoreId(id), site: SiteName::new("b").unwrap(), what: What::Certificates(Box::new(certificates)) }
}

fn without(id: u64, what: What) -> Shown {
    Shown { what, ..store(id, OLD, &[]) }
}

fn in_phase(phase: RotationPhase) -> Rotation {
    let at = Timestamp(100);
    Rotation { phase, new_root: NEW, old_roots: [OLD].into(), begun_at: at, phase_at: at }
}

/// The stores that are behind, each with what is said of it.
fn late(phase: RotationPhase, shown: &[Shown]) -> Vec<(u64, String)> {
    behind(&in_phase(phase), shown).into_iter().map(|behind| (behind.store.0, behind.what)).collect()
}

#[test]
fn what_a_store_lacks_of_each_phase_is_said_with_what_to_do() {
    use RotationPhase::{Aborted, Add, Remove, Switch};
    let only_old = || store(1, OLD, &[OLD]);
    let both = || store(1, OLD, &[OLD, NEW]);
    let switched = || store(1, NEW, &[OLD, NEW]);
    let only_new = || store(1, NEW, &[NEW]);
    for (phase, shown, expected) in [
        (Add, only_old(), Some("lacks the new root 02020202: add it there")),
        (Add, both(), None),
        (Add, switched(), None),
        (Switch, both(), Some("leads to 01010101: have a new one made below 02020202")),
        (Switch, only_old(), Some("lacks the new root")),
        (Switch, switched(), None),
        (Switch, only_new(), None),
        (Remove, switched(), Some("still has the old root 01010101: take it out")),
        (Remove, both(), Some("leads to 01010101")),
        (Remove, only_old(), Some("lacks the new root")),
        (Remove, only_new(), None),
        (Aborted, both(), Some("02020202 that was given up: take it out")),
        (Aborted, only_old(), None),
    ] {
        let late = late(phase, std::slice::from_ref(&shown));
        let said = late.first().map(|(_, what)| what.as_str());
        match expected {
            None => assert_eq!(said, None, "{phase:?}"),
            Some(expected) => assert!(said.is_some_and(|said| said.contains(expected)), "{phase:?}: {said:?}"),
        }
    }
}

#[test]
fn who_is_silent_plain_or_refuses_what_lies_there_has_shown_nothing() {
    let silent = without(4, What::Silent("no answer within 800 ms".into()));
    let plain = without(5, What::Plain);
    let mut stuck = store(6, OLD, &[OLD]);
    let What::Certificates(certificates) = &mut stuck.what else { panic!("it shows some") };
    certificates.refused = Some("the key is not the one".into());
    let late = late(RotationPhase::Add, &[silent, plain, stuck, store(7, OLD, &[OLD, NEW])]);
    assert_eq!(late.iter().map(|(store, _)| *store).collect::<Vec<_>>(), [4, 5, 6]);
    assert!(late[0].1.contains("holdfast forget s4") && late[1].1.contains("--tls"), "{late:?}");
    assert!(late[2].1.contains("lacks the new root") && late[2].1.ends_with("refused: the key is not the one"));
    let ready = store(6, OLD, &[OLD, NEW]);
    assert!(behind(&in_phase(RotationPhase::Add), &[ready]).is_empty(), "what it shows counts, whatever lies there");
}

/// Where a step leads: the phase, `None` where it was before, or the beginning of the refusal.
fn leads_to(from: Option<RotationPhase>, step: Step, shown: &[Shown]) -> Result<Option<RotationPhase>, String> {
    let rotation = from.map(in_phase);
    let taken = take(rotation.as_ref(), step, shown, NOW);
    if let (Some(before), Ok(Some(after))) = (&rotation, &taken)
        && !matches!(step, Step::Add(_))
    {
        let expected = Rotation { phase: after.phase, phase_at: NOW, ..before.clone() };
        assert_eq!(*after, expected, "nothing else changes");
    }
    taken.map(|taken| taken.map(|rotation| rotation.phase)).map_err(|why| why.to_string())
}

#[test]
fn each_step_waits_for_the_one_before() {
    use RotationPhase as Phase;
    type Outcome = Result<Option<Phase>, String>;
    let old = [store(1, OLD, &[OLD]), store(2, OLD, &[OLD])];
    let one_added = [store(1, OLD, &[OLD, NEW]), store(2, OLD, &[OLD])];
    let added = [store(1, OLD, &[OLD, NEW]), store(2, OLD, &[OLD, NEW])];
    let one_switched = [store(1, NEW, &[OLD, NEW]), store(2, OLD, &[OLD, NEW])];
    let switched = [store(1, NEW, &[OLD, NEW]), store(2, NEW, &[OLD, NEW])];
    let one_removed = [store(1, NEW, &[NEW]), store(2, NEW, &[OLD, NEW])];
    let removed = [store(1, NEW, &[NEW]), store(2, NEW, &[NEW])];
    let went = |phase| Ok(Some(phase));
    let stays = Ok(None);
    let refused = |why: &str| Err(why.to_owned());
    let add = Step::Add(NEW);
    let other = Step::Add(OTHER);
    let rows: &[(Option<Phase>, Step, &[Shown], Outcome)] = &[
        (None, add, &old, went(Phase::Add)),
        (None, Step::Switch, &old, refused("no rotation of the root is under way")),
        (None, Step::Remove, &old, refused("no rotation")),
        (None, Step::Abort, &old, refused("no rotation")),
        (None, Step::Add(OLD), &old, refused("the certificates of all stores lead to 01010101 already")),
        // Running it again says where it stands.
        (Some(Phase::Add), add, &one_added, stays.clone()),
        (Some(Phase::Switch), add, &added, stays.clone()),
        (Some(Phase::Remove), add, &removed, stays.clone()),
        (Some(Phase::Add), other, &old, refused("a rotation to 02020202 is under way, in phase `add`")),
        (Some(Phase::Switch), other, &switched, refused("a rotation to 02020202 is under way, in phase `switch`")),
        (
            Some(Phase::Add),
            Step::Switch,
            &one_added,
            refused("1 of 2 stores has not shown `add` yet: s2 (b): its bundle lacks"),
        ),
        (Some(Phase::Add), Step::Switch, &old, refused("2 of 2 stores have not shown `add` yet: s1 (b)")),
        (Some(Phase::Add), Step::Switch, &added, went(Phase::Switch)),
        (Some(Phase::Add), Step::Remove, &switched, refused("the new root is still to be added")),
        (Some(Phase::Switch), Step::Switch, &old, stays.clone()),
        (Some(Phase::Switch), Step::Remove, &one_switched, refused("1 of 2 stores has not shown `switch` yet: s2")),
        (Some(Phase::Switch), Step::Remove, &switched, went(Phase::Remove)),
        (Some(Phase::Remove), Step::Switch, &removed, stays.clone()),
        (Some(Phase::Remove), Step::Remove, &one_removed, stays.clone()),
        // The next one, when this one is over.
        (Some(Phase::Remove), other, &one_removed, refused("a rotation to 02020202 is under way, in phase `remove`")),
        (Some(Phase::Remove), other, &removed, went(Phase::Add)),
        (Some(Phase::Aborted), Step::Switch, &added, refused("no rotation")),
        (Some(Phase::Aborted), Step::Remove, &added, refused("no rotation")),
        (Some(Phase::Aborted), Step::Abort, &added, stays.clone()),
        (Some(Phase::Aborted), add, &added, went(Phase::Add)),
        (Some(Phase::Aborted), other, &added, refused("2 of 2 stores have not shown `abort` yet")),
        (Some(Phase::Aborted), other, &old, went(Phase::Add)),
    ];
    for (from, step, shown, expected) in rows {
        match (leads_to(*from, *step, shown), expected) {
            (Err(why), Err(expected)) => assert!(why.starts_with(expected.as_str()), "{from:?} {step:?}: {why}"),
            (found, expected) => assert_eq!(found, *expected, "{from:?} {step:?}"),
        }
    }
}

#[test]
fn it_is_given_up_only_where_nobody_is_cut_off_by_that() {
    use RotationPhase as Phase;
    let added = [store(1, OLD, &[OLD, NEW]), store(2, OLD, &[OLD])];
    let one_switched = [store(1, NEW, &[OLD, NEW]), store(2, OLD, &[OLD, NEW])];
    let one_lacks_old = [store(1, OLD, &[OLD, NEW]), store(2, OLD, &[NEW])];
    let removed = [store(1, NEW, &[NEW]), store(2, NEW, &[NEW])];
    for phase in [Phase::Add, Phase::Switch, Phase::Remove] {
        assert_eq!(leads_to(Some(phase), Step::Abort, &added), Ok(Some(Phase::Aborted)), "{phase:?}");
        let why = leads_to(Some(phase), Step::Abort, &one_switched).unwrap_err();
        assert!(
            why.starts_with("1 of 2 stores has not gone back to the old root: s1 (b)")
                && why.contains("made below the old root"),
            "{why}"
        );
        let why = leads_to(Some(phase), Step::Abort, &one_lacks_old).unwrap_err();
        assert!(why.contains("s2 (b): its bundle lacks the old root 01010101: put it back"), "{why}");
    }
    let why = leads_to(Some(Phase::Remove), Step::Abort, &removed).unwrap_err();
    assert!(why.starts_with("the rotation to 02020202 is over"), "{why}");
    let silent = [store(1, OLD, &[OLD]), without(2, What::Silent("no answer".into()))];
    assert!(leads_to(Some(Phase::Add), Step::Abort, &silent).unwrap_err().contains("s2 (b): it does not answer"));
}

#[test]
fn it_begins_only_when_it_is_known_where_every_store_stands_and_takes_all_roots_in_use_out() {
    let begun = take(None, Step::Add(NEW), &[store(1, OLD, &[OLD, OTHER]), store(2, NEW, &[OLD, NEW])], NOW);
    let begun = begun.unwrap().unwrap();
    assert_eq!(
        begun,
        Rotation { begun_at: NOW, phase_at: NOW, ..in_phase(RotationPhase::Add) },
        "a root that nobody uses stays"
    );
    let two = take(None, Step::Add(NEW), &[store(1, OLD, &[OLD]), store(2, OTHER, &[OTHER])], NOW).unwrap().unwrap();
    assert_eq!(two.old_roots, [OLD, OTHER].into());
    let silent = [store(1, OLD, &[OLD]), without(2, What::Silent("no answer".into()))];
    let why = take(None, Step::Add(NEW), &silent, NOW).unwrap_err().to_string();
    assert!(why.starts_with("1 of 2 stores has not shown which root is in use: s2 (b): it does not answer"), "{why}");
    let many: Vec<_> = (10..).map(|byte| Fingerprint([byte; 32])).take(limits::ROTATION_OLD_ROOTS + 1).collect();
    let many: Vec<_> = (1..).zip(many).map(|(id, root)| store(id, root, &[root])).collect();
    assert_eq!(take(None, Step::Add(NEW), &many, NOW), Err(CannotRotate::ManyRoots(limits::ROTATION_OLD_ROOTS + 1)));
}

#[test]
fn a_refusal_names_some_stores_and_says_how_many_there_are() {
    let many: Vec<_> = (1..=9).map(|id| store(id, OLD, &[OLD])).collect();
    let why = leads_to(Some(RotationPhase::Add), Step::Switch, &many).unwrap_err();
    assert!(why.starts_with("9 of 9 stores have") && why.contains("s5 (b)") && !why.contains("s6"), "{why}");
    assert!(why.ends_with("and 4 more (`holdfast trust status` shows all)"), "{why}");
}

#[test]
fn it_is_over_when_the_last_phase_is_shown_by_all() {
    use RotationPhase as Phase;
    let (mixed, done) = ([store(1, NEW, &[OLD, NEW])], [store(1, NEW, &[NEW])]);
    assert!(is_over(&in_phase(Phase::Remove), &done) && !is_over(&in_phase(Phase::Remove), &mixed));
    assert!(!is_over(&in_phase(Phase::Switch), &done), "the old root is still to go");
    assert!(is_over(&in_phase(Phase::Aborted), &[store(1, OLD, &[OLD])]));
}
