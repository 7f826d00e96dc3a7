//! A changed template, pod by pod: what to do next, given what is seen.
//!
//! At rest the partition is above every pod, so nothing is replaced. It is lowered by one pod, from the highest number on, each time behind a
//! [gate](crate::gate), and goes back up when all pods have the newest template. Only what is seen decides: an `apply` that was broken off
//! is gone on with by the next one.

use crate::gate::SiteView;
use crate::views::SetView;

/// What comes next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Next {
    /// Every pod has the newest template, and the partition is at rest.
    Done,
    /// Something is under way.
    Wait(Vec<String>),
    /// Lower the partition to this pod, when nothing speaks against it.
    Replace(u32),
    /// Put the partition back above all pods.
    Rest,
}

/// Decides from a look at the site.
#[must_use]
pub fn next(view: &SiteView) -> Next {
    let wait = |why: &str| Next::Wait(vec![why.to_owned()]);
    let Some(set) = &view.set else { return wait("the site has no StatefulSet") };
    if set.observed < set.generation || set.update_revision.is_empty() {
        return wait("the StatefulSet's controller has not seen the last change yet");
    }
    let is_old = |ordinal: &u32| {
        let pod = view.pods.iter().find(|pod| pod.ordinal == *ordinal);
        pod.is_none_or(|pod| pod.revision != set.update_revision || pod.is_leaving)
    };
    let missing = (0..set.replicas).find(|ordinal| view.pods.iter().all(|pod| pod.ordinal != *ordinal));
    match (0..set.replicas).rev().find(is_old) {
        Some(old) if set.partition <= old => Next::Wait(vec![format!("pod {old} is being replaced")]),
        Some(_) if missing.is_some() => Next::Wait(vec![format!("pod {} is missing", missing.unwrap_or(0))]),
        Some(old) => Next::Replace(old),
        None if set.current_revision != set.update_revision => settling(set, view),
        None if set.partition != set.replicas => Next::Rest,
        None => Next::Done,
    }
}

/// All pods are new; the StatefulSet says so itself when all of them are ready. It does not while the partition is above a pod and some are not
/// counted, so a fleet that nobody has founded is not waited for.
fn settling(set: &SetView, view: &SiteView) -> Next {
    let is_founded = view.stores != crate::stores::StoreView::NotFounded;
    if is_founded {
        return Next::Wait(vec![format!("{} of {} pods are available", set.available, set.replicas)]);
    }
    if set.partition == 0 { Next::Done } else { Next::Replace(0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::tests::{pod, well};
    use crate::stores::StoreView;

    /// A site of three pods whose template has changed.
    fn changed() -> SiteView {
        let mut view = well();
        view.set.as_mut().unwrap().update_revision = "r2".into();
        view
    }

    fn set(view: &mut SiteView) -> &mut SetView {
        view.set.as_mut().unwrap()
    }

    #[test]
    fn an_unchanged_template_replaces_nothing() {
        assert_eq!(next(&well()), Next::Done);
    }

    #[test]
    fn pods_are_replaced_one_by_one_from_the_highest_on() {
        let mut view = changed();
        let mut order = Vec::new();
        for _ in 0..20 {
            match next(&view) {
                Next::Replace(ordinal) => {
                    order.push(ordinal);
                    set(&mut view).partition = ordinal;
                    view.pods.retain(|pod| pod.ordinal != ordinal);
                }
                Next::Wait(why) => {
                    let missing = (0..3).find(|ordinal| view.pods.iter().all(|pod| pod.ordinal != *ordinal));
                    match missing {
                        Some(ordinal) => view.pods.push(pod(ordinal, "r2")),
                        // The controller counts.
                        None => set(&mut view).current_revision = "r2".into(),
                    }
                    assert!(!why.is_empty());
                }
                Next::Rest => set(&mut view).partition = 3,
                Next::Done => break,
            }
        }
        assert_eq!(order, [2, 1, 0]);
        assert_eq!((next(&view), set(&mut view).partition), (Next::Done, 3));
    }

    #[test]
    fn a_rollout_that_was_broken_off_is_gone_on_with() {
        let mut view = changed();
        set(&mut view).partition = 2;
        view.pods[2] = pod(2, "r2");
        assert_eq!(next(&view), Next::Replace(1));
        // The same, after somebody put the partition back.
        set(&mut view).partition = 3;
        assert_eq!(next(&view), Next::Replace(1));
    }

    #[test]
    fn nothing_is_decided_before_the_controller_has_seen_the_change() {
        let mut view = changed();
        set(&mut view).generation = 2;
        assert!(matches!(next(&view), Next::Wait(_)));
    }

    #[test]
    fn no_pod_is_replaced_while_another_one_is_missing() {
        let mut view = changed();
        view.pods.remove(0);
        assert_eq!(next(&view), Next::Wait(vec!["pod 0 is missing".into()]));
    }

    #[test]
    fn a_fleet_that_is_not_founded_is_not_waited_for() {
        let mut view = changed();
        view.stores = StoreView::NotFounded;
        view.pods = (0..3).map(|ordinal| pod(ordinal, "r2")).collect();
        set(&mut view).partition = 1;
        assert_eq!(next(&view), Next::Replace(0));
        set(&mut view).partition = 0;
        assert_eq!(next(&view), Next::Done);
    }
}
