//! What Kubernetes and the stores say of the fleet, side by side.

use holdfast_k8s::Fleet;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::apply::set_address;
use crate::connect::{Limits, Reach};
use crate::failure::Failure;
use crate::plan::Verdict;
use crate::stores::{StoreLine, StoreView};
use crate::sync;
use crate::unfinished::{self, Unfinished};
use crate::views::{PodView, SetView};

/// A site as its API server has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SiteStatus {
    /// The site.
    pub site: String,
    /// What is there, or why that is not known.
    pub seen: Result<Seen, Failure>,
}

/// What is in a site.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Its StatefulSet, if there is one.
    pub set: Option<SetView>,
    /// Its pods.
    pub pods: Vec<PodView>,
}

/// The rollouts that are not done, site by site.
#[must_use]
pub fn rollouts(fleet: &Fleet, sites: &[SiteStatus]) -> Vec<(String, Unfinished)> {
    let both = fleet.sites.iter().zip(sites);
    both.filter_map(|(site, status)| Some((status.site.clone(), rollout(&fleet.set_name(site), status)?))).collect()
}

fn rollout(set: &str, status: &SiteStatus) -> Option<Unfinished> {
    let seen = status.seen.as_ref().ok()?;
    unfinished::rollout(set, seen.set.as_ref()?, &seen.pods, &Verdict::Unchanged)
}

/// Looks at all sites at once.
pub async fn status(fleet: &Fleet, reaches: &[Reach], limits: &Limits) -> Vec<SiteStatus> {
    let sites = reaches.iter().map(|reach| async move {
        let site = reach.site.name.clone();
        let late = || Failure::TimedOut { what: format!("status of {site}"), after: limits.site };
        let seen = timeout(limits.site, look(fleet, reach)).await.unwrap_or_else(|_| Err(late()));
        SiteStatus { site, seen }
    });
    futures::future::join_all(sites).await
}

async fn look(fleet: &Fleet, reach: &Reach) -> Result<Seen, Failure> {
    let link = reach.link.as_ref().map_err(Clone::clone)?;
    link.check_uid().await?;
    let set = link.get(&set_address(fleet, reach)).await?.as_ref().map(SetView::of);
    Ok(Seen { set, pods: sync::pods(fleet, &reach.site, link).await? })
}

/// The heading of [`rows`].
pub const HEADING: [&str; 11] =
    ["site", "pod", "ready", "restarts", "machine", "image", "store", "alive", "replicas", "leaders", "note"];

/// A row for each pod that is there or should be, and for each store that is in no pod of the fleet file.
#[must_use]
pub fn rows(fleet: &Fleet, sites: &[SiteStatus], stores: &StoreView) -> Vec<Vec<String>> {
    let lines: &[StoreLine] = if let StoreView::Known(known) = stores { &known.stores } else { &[] };
    let mut rows = Vec::new();
    let mut shown = Vec::new();
    for (site, status) in fleet.sites.iter().zip(sites) {
        for name in pod_names(fleet, site, status) {
            let line = lines.iter().find(|line| line.pod.as_ref() == Some(&name));
            let (pod, note) = match &status.seen {
                Ok(seen) => (seen.pods.iter().find(|pod| pod.name == name), note(seen, &name)),
                Err(_) => (None, "its API server is not seen".to_owned()),
            };
            let mut row = vec![site.name.clone(), name.clone()];
            row.extend(pod_cells(pod, status.seen.is_ok()));
            row.extend(store_cells(line));
            row.push(note);
            rows.push(row);
            shown.push(name);
        }
    }
    for line in lines.iter().filter(|line| line.pod.as_ref().is_none_or(|pod| !shown.contains(pod))) {
        let mut row = vec![line.site.clone(), line.pod.clone().unwrap_or_else(|| "-".into())];
        row.extend(pod_cells(None, false));
        row.extend(store_cells(Some(line)));
        row.push("in no pod of the fleet file".into());
        rows.push(row);
    }
    rows
}

fn pod_names(fleet: &Fleet, site: &holdfast_k8s::fleet::Site, status: &SiteStatus) -> Vec<String> {
    let mut names: Vec<_> = fleet.ordinals(site).map(|ordinal| fleet.pod_name(site, ordinal)).collect();
    let there = status.seen.iter().flat_map(|seen| &seen.pods).map(|pod| pod.name.clone());
    let beyond: Vec<_> = there.filter(|name| !names.contains(name)).collect();
    names.extend(beyond);
    names
}

fn note(seen: &Seen, name: &str) -> String {
    let Some(pod) = seen.pods.iter().find(|pod| pod.name == name) else { return "no pod".to_owned() };
    let mut notes: Vec<String> = pod.reason.iter().cloned().collect();
    if pod.is_leaving {
        notes.push("being deleted".to_owned());
    }
    if seen.set.as_ref().is_some_and(|set| pod.revision != set.update_revision) {
        notes.push("older template".to_owned());
    }
    notes.join(", ")
}

/// The part of an image's name by which people tell two of them apart.
fn short(image: &str) -> String {
    image.split_once("@sha256:").map_or_else(|| image.to_owned(), |(_, digest)| digest.chars().take(12).collect())
}

fn yes(is_so: bool) -> String {
    if is_so { "yes" } else { "no" }.to_owned()
}

/// `is_seen`: the API server answered, so that a pod that is not there is not ready.
fn pod_cells(pod: Option<&PodView>, is_seen: bool) -> [String; 4] {
    let Some(pod) = pod else {
        let ready = if is_seen { "no" } else { "?" };
        return [ready.into(), "-".into(), "-".into(), "-".into()];
    };
    let machine = pod.machine.clone().unwrap_or_else(|| "-".into());
    [yes(pod.is_ready), pod.restarts.to_string(), machine, short(&pod.image)]
}

fn store_cells(line: Option<&StoreLine>) -> [String; 4] {
    let Some(line) = line else { return ["-".into(), "?".into(), "-".into(), "-".into()] };
    let alive = match (line.is_alive, line.is_leaving, line.is_draining) {
        (true, true, _) => "leaving".to_owned(),
        (true, false, true) => "stopping".to_owned(),
        (is_alive, ..) => yes(is_alive),
    };
    [line.store.clone(), alive, line.replicas.to_string(), line.leaders.to_string()]
}

/// The same for programs.
#[must_use]
pub fn as_json(fleet: &Fleet, sites: &[SiteStatus], stores: &StoreView) -> Value {
    let pod = |pod: &PodView| {
        json!({
            "pod": pod.name, "ready": pod.is_ready, "started": pod.is_started, "deleting": pod.is_leaving,
            "phase": pod.phase, "reason": pod.reason, "restarts": pod.restarts, "machine": pod.machine,
            "image": pod.image, "revision": pod.revision, "addresses": pod.addresses,
        })
    };
    let site = |status: &SiteStatus| match &status.seen {
        Err(failure) => json!({"site": status.site, "error": failure.to_string()}),
        Ok(seen) => json!({
            "site": status.site,
            "replicas": seen.set.as_ref().map(|set| set.replicas),
            "available": seen.set.as_ref().map(|set| set.available),
            "partition": seen.set.as_ref().map(|set| set.partition),
            "settled": seen.set.as_ref().is_some_and(|set| set.current_revision == set.update_revision),
            "pods": seen.pods.iter().map(pod).collect::<Vec<_>>(),
        }),
    };
    let rollout = |(site, rollout): &(String, Unfinished)| (site.clone(), rollout.as_json());
    json!({
        "fleet": fleet.name,
        "sites": sites.iter().map(site).collect::<Vec<_>>(),
        "rollouts": rollouts(fleet, sites).iter().map(rollout).collect::<serde_json::Map<_, _>>(),
        "stores": stores_json(stores),
    })
}

fn stores_json(stores: &StoreView) -> Value {
    let line = |line: &StoreLine| {
        json!({
            "store": line.store, "pod": line.pod, "site": line.site, "alive": line.is_alive, "leaving": line.is_leaving,
            "stopping": line.is_draining, "replicas": line.replicas, "leaders": line.leaders, "version": line.version,
        })
    };
    match stores {
        StoreView::NotFounded => json!({"founded": false}),
        StoreView::Unknown(why) => json!({"founded": null, "error": why}),
        StoreView::Known(fleet) => json!({
            "founded": true,
            "ranges": fleet.ranges,
            "ranges_led": fleet.ranges_led,
            "troubles": fleet.troubles.iter().map(|trouble| &trouble.what).collect::<Vec<_>>(),
            "stores": fleet.stores.iter().map(line).collect::<Vec<_>>(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slices::tests::fleet;
    use crate::stores::FleetView;

    fn sites() -> Vec<SiteStatus> {
        let pod = PodView {
            name: "prod-east-0".into(),
            is_ready: true,
            image: "x@sha256:0123456789abcdef".into(),
            ..PodView::default()
        };
        let east = Ok(Seen { set: None, pods: vec![pod] });
        let gone = || Err(Failure::NoContext("x".into()));
        let site = |site: &str, seen| SiteStatus { site: site.into(), seen };
        vec![site("east", east), site("west", gone()), site("north", gone())]
    }

    #[test]
    fn every_pod_and_every_store_has_a_row_and_what_is_not_seen_is_not_called_well() {
        let line = |pod: &str, site: &str| StoreLine {
            pod: Some(pod.into()),
            site: site.into(),
            is_alive: true,
            ..StoreLine::default()
        };
        let stores = vec![line("prod-west-0", "west"), line("old-3", "east")];
        let rows = rows(&fleet(), &sites(), &StoreView::Known(FleetView { stores, ..FleetView::default() }));
        assert_eq!(rows.len(), 7, "{rows:#?}");
        assert!(rows.iter().all(|row| row.len() == HEADING.len()));
        assert_eq!(rows[0][1..6], ["prod-east-0", "yes", "0", "-", "0123456789ab"].map(str::to_owned));
        assert_eq!((rows[1][2].as_str(), rows[1][10].as_str()), ("no", "no pod"));
        assert_eq!(
            (rows[2][2].as_str(), rows[2][7].as_str()),
            ("?", "yes"),
            "the store answers though its API server does not"
        );
        assert_eq!(rows[6][10], "in no pod of the fleet file");
    }

    #[test]
    fn a_rollout_that_is_half_done_is_told_for_its_site() {
        let mut sites = sites();
        let Ok(seen) = &mut sites[0].seen else { panic!("seen") };
        let revisions = |current: &str, update: &str| (current.to_owned(), update.to_owned());
        let (current_revision, update_revision) = revisions("r1", "r2");
        let set = SetView { replicas: 2, partition: 2, current_revision, update_revision, ..SetView::default() };
        seen.set = Some(set);
        seen.pods[0].revision = "r1".into();
        let told = rollouts(&fleet(), &sites);
        assert!(told.len() == 1 && told[0].0 == "east" && told[0].1.to_string().contains("not begun"), "{told:?}");
        let json = as_json(&fleet(), &sites, &StoreView::NotFounded);
        assert_eq!(json["rollouts"]["east"]["left"], json!(["prod-east-1", "prod-east-0"]));
    }

    #[test]
    fn programs_are_told_what_was_not_seen() {
        let told = as_json(&fleet(), &sites(), &StoreView::Unknown("nobody".into()));
        assert!(told["sites"][1]["error"].as_str().unwrap().contains("kubeconfig"));
        assert_eq!((&told["stores"]["founded"], &told["stores"]["error"]), (&Value::Null, &json!("nobody")));
    }
}
