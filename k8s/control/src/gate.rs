//! When it is safe to go on: between two pods of a site, and between two sites.
//!
//! A gate asks both who Kubernetes believes is well and what the stores say, because neither knows enough: a pod may be ready while its ranges are
//! still short of a replica, and a store may answer whose pod is about to be replaced. It opens only when nothing speaks against it in
//! [`LOOKS`] looks one after the other.

use std::time::Duration;

use crate::stores::StoreView;
use crate::views::{PodView, SetView};

/// One good look may be luck: a store that was just killed still counts as alive until its silence is noticed.
pub const LOOKS: u32 = 2;

/// What Kubernetes and the stores say of a site.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SiteView {
    /// Its StatefulSet; `None`: it has none.
    pub set: Option<SetView>,
    /// Its pods.
    pub pods: Vec<PodView>,
    /// The fleet.
    pub stores: StoreView,
}

impl SiteView {
    fn is_founded(&self) -> bool {
        self.stores != StoreView::NotFounded
    }

    /// What speaks against going on to the next site.
    #[must_use]
    pub fn unsettled(&self) -> Vec<String> {
        let Some(set) = &self.set else { return vec!["the site has no StatefulSet".to_owned()] };
        let mut reasons = Vec::new();
        if set.observed < set.generation {
            reasons.push("the StatefulSet's controller has not seen the last change yet".to_owned());
        }
        // The StatefulSet itself counts ready pods only, and nobody is ready before the fleet is founded.
        let is_old = |pod: &PodView| pod.ordinal < set.replicas && pod.revision != set.update_revision;
        if self.pods.iter().any(is_old) || self.is_founded() && set.current_revision != set.update_revision {
            reasons.push("not all pods have the newest template".to_owned());
        }
        let beyond = self.pods.iter().filter(|pod| pod.ordinal >= set.replicas);
        reasons.extend(beyond.map(|pod| format!("{} is still there", pod.name)));
        reasons.extend(self.pods_missing(set, None));
        // Nobody is ready before the fleet is founded, so nobody is available either.
        if self.is_founded() && set.available < set.replicas {
            reasons.push(format!("{} of {} pods are available", set.available, set.replicas));
        }
        reasons.extend(troubles(&self.stores, None));
        reasons
    }

    /// What speaks against replacing a pod.
    #[must_use]
    pub fn against_replacing(&self, ordinal: u32) -> Vec<String> {
        if !self.is_founded() {
            return Vec::new();
        }
        let Some(set) = &self.set else { return vec!["the site has no StatefulSet".to_owned()] };
        let pod = self.pods.iter().find(|pod| pod.ordinal == ordinal);
        let is_broken = pod.is_some_and(|pod| !pod.is_ready);
        // A pod whose store is gone already takes nothing away, and may be the very thing that is to be mended.
        if is_broken && self.is_dead(pod) {
            return Vec::new();
        }
        let without = pod.filter(|_| is_broken);
        let mut reasons = self.pods_missing(set, without.map(|pod| pod.ordinal));
        let wanted = set.replicas.saturating_sub(u32::from(without.is_some()));
        if set.available < wanted {
            reasons.push(format!("{} of {wanted} pods are available", set.available));
        }
        reasons.extend(troubles(&self.stores, without.map(|pod| pod.name.as_str())));
        reasons
    }

    /// Whether the fleet counts the store of a pod as gone, or never knew it.
    fn is_dead(&self, pod: Option<&PodView>) -> bool {
        let (StoreView::Known(fleet), Some(pod)) = (&self.stores, pod) else { return false };
        match fleet.of_pod(&pod.name) {
            Some(store) => !store.is_alive,
            // A store that advertises another address may be in any pod.
            None => fleet.stores.iter().all(|store| store.pod.is_some()),
        }
    }

    fn pods_missing(&self, set: &SetView, without: Option<u32>) -> Vec<String> {
        let wanted = (0..set.replicas).filter(|ordinal| Some(*ordinal) != without);
        let fault = |ordinal| match self.pods.iter().find(|pod| pod.ordinal == ordinal) {
            None => Some(format!("pod {ordinal} is missing")),
            Some(pod) if pod.is_leaving => Some(format!("{} is being deleted", pod.name)),
            Some(pod) if self.is_founded() && !pod.is_ready => Some(format!("{} is not ready{}", pod.name, why(pod))),
            Some(pod) if !pod.is_started => Some(format!("{} has not started{}", pod.name, why(pod))),
            Some(_) => None,
        };
        wanted.filter_map(fault).collect()
    }
}

fn why(pod: &PodView) -> String {
    pod.reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"))
}

/// What the stores say against it. `without`: a pod that is not counted on any more.
pub(crate) fn troubles(stores: &StoreView, without: Option<&str>) -> Vec<String> {
    match stores {
        StoreView::NotFounded => Vec::new(),
        StoreView::Unknown(why) => vec![format!("the stores could not be asked: {why}")],
        StoreView::Known(fleet) => {
            let counted =
                fleet.troubles.iter().filter(|trouble| without.is_none() || trouble.pod.as_deref() != without);
            counted.map(|trouble| trouble.what.clone()).collect()
        }
    }
}

/// A gate that is being watched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gate {
    patience: Duration,
    good: u32,
}

/// What a look at a gate says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Look {
    /// Go on.
    Open,
    /// Look again.
    Wait,
    /// It did not open in time.
    Late,
}

impl Gate {
    /// A gate that may take so long to open.
    #[must_use]
    pub fn new(patience: Duration) -> Self {
        Self { patience, good: 0 }
    }

    /// Takes what speaks against going on, `waited` after the gate was come to.
    pub fn look(&mut self, reasons: &[String], waited: Duration) -> Look {
        self.good = if reasons.is_empty() { self.good + 1 } else { 0 };
        match (self.good >= LOOKS, waited >= self.patience) {
            (true, _) => Look::Open,
            (false, true) => Look::Late,
            (false, false) => Look::Wait,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::stores::{FleetView, StoreLine, Trouble};

    pub(crate) fn pod(ordinal: u32, revision: &str) -> PodView {
        PodView {
            name: format!("prod-a-{ordinal}"),
            ordinal,
            is_started: true,
            is_ready: true,
            revision: revision.into(),
            ..PodView::default()
        }
    }

    /// A site of three pods that is well.
    pub(crate) fn well() -> SiteView {
        let set = SetView {
            generation: 1,
            observed: 1,
            replicas: 3,
            present: 3,
            available: 3,
            partition: 3,
            current_revision: "r1".into(),
            update_revision: "r1".into(),
        };
        let store =
            |ordinal| StoreLine { pod: Some(format!("prod-a-{ordinal}")), is_alive: true, ..StoreLine::default() };
        let stores = (0..3).map(store).collect();
        SiteView {
            set: Some(set),
            pods: (0..3).map(|ordinal| pod(ordinal, "r1")).collect(),
            stores: StoreView::Known(FleetView { stores, ..FleetView::default() }),
        }
    }

    pub(crate) fn fleet(view: &mut SiteView) -> &mut FleetView {
        let StoreView::Known(fleet) = &mut view.stores else { panic!("founded") };
        fleet
    }

    fn trouble(pod: Option<&str>) -> Trouble {
        Trouble { pod: pod.map(Into::into), what: "3 ranges lack a replica".into() }
    }

    #[test]
    fn a_site_that_is_well_is_settled() {
        assert!(well().unsettled().is_empty() && well().against_replacing(2).is_empty());
    }

    #[test]
    fn each_thing_that_is_wrong_keeps_the_gate_shut() {
        type Change = fn(&mut SiteView);
        let changes: [(&str, Change); 7] = [
            ("has not seen", |view| view.set.as_mut().unwrap().generation = 2),
            ("newest template", |view| view.set.as_mut().unwrap().update_revision = "r2".into()),
            ("2 of 3 pods are available", |view| view.set.as_mut().unwrap().available = 2),
            ("pod 1 is missing", |view| drop(view.pods.remove(1))),
            ("prod-a-0 is not ready", |view| view.pods[0].is_ready = false),
            ("could not be asked", |view| view.stores = StoreView::Unknown("no answer".into())),
            ("lack a replica", |view| fleet(view).troubles.push(trouble(None))),
        ];
        for (reason, change) in changes {
            let mut view = well();
            change(&mut view);
            let reasons = view.unsettled();
            assert!(reasons.iter().any(|said| said.contains(reason)), "{reason}: {reasons:?}");
        }
    }

    #[test]
    fn a_fleet_that_is_not_founded_waits_for_processes_and_not_for_readiness() {
        let mut view = well();
        view.stores = StoreView::NotFounded;
        view.pods.iter_mut().for_each(|pod| pod.is_ready = false);
        view.set.as_mut().unwrap().available = 0;
        assert!(view.unsettled().is_empty());
        view.pods[1].is_started = false;
        assert_eq!(view.unsettled(), ["prod-a-1 has not started"]);
        assert!(view.against_replacing(1).is_empty(), "there is nothing to lose yet");
    }

    #[test]
    fn a_pod_whose_store_is_gone_may_be_replaced_and_others_may_not() {
        let mut view = well();
        view.pods[2].is_ready = false;
        view.set.as_mut().unwrap().available = 2;
        fleet(&mut view).stores[2].is_alive = false;
        fleet(&mut view).troubles.push(trouble(Some("prod-a-2")));
        assert!(view.against_replacing(2).is_empty());
        assert!(!view.against_replacing(1).is_empty());
        // It is not ready, but its store lives: others must be well before it goes.
        fleet(&mut view).stores[2].is_alive = true;
        assert!(view.against_replacing(2).is_empty(), "its own trouble does not count");
        fleet(&mut view).troubles.push(trouble(Some("prod-b-0")));
        assert!(!view.against_replacing(2).is_empty());
    }

    #[test]
    fn a_gate_opens_after_two_good_looks_and_is_late_after_its_patience() {
        let bad = ["x".to_owned()];
        let second = Duration::from_secs(1);
        let mut gate = Gate::new(10 * second);
        assert_eq!(gate.look(&[], Duration::ZERO), Look::Wait);
        assert_eq!(gate.look(&bad, second), Look::Wait);
        assert_eq!(gate.look(&[], 2 * second), Look::Wait);
        assert_eq!(gate.look(&[], 3 * second), Look::Open);
        assert_eq!(Gate::new(second).look(&bad, second), Look::Late);
    }
}
