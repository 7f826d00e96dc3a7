//! Deletes configurations that nothing uses any more: the only thing that an apply ever deletes, and only when it is asked to.

use holdfast_k8s::Fleet;
use holdfast_k8s::fleet::Site;
use serde_json::Value;

use crate::failure::Failure;
use crate::kinds;
use crate::link::Link;
use crate::objects::{self, Address, SITE};
use crate::plan;
use crate::sync;
use crate::views::{PodView, SetView};

/// Configurations of this site that may go, each with its UID. `keep`: those that are rendered.
#[must_use]
pub fn unused(live: &[Value], site: &str, set: &str, keep: &[Address], pods: &[PodView]) -> Vec<(Address, String)> {
    let ours = live.iter().filter(|body| body["metadata"]["labels"][SITE] == site);
    let all = ours.filter_map(|body| Some((Address::of(body).ok()?, body["metadata"]["uid"].as_str()?.to_owned())));
    let is_config = |address: &Address| address.name.starts_with(&format!("{set}-config-"));
    let is_used = |address: &Address| pods.iter().any(|pod| pod.config_maps.contains(&address.name));
    all.filter(|(address, _)| is_config(address) && !keep.contains(address) && !is_used(address)).collect()
}

/// Deletes them, if all pods of the site have the newest template: an older one may still be needed for a pod that is made anew.
pub(crate) async fn prune(fleet: &Fleet, site: &Site, link: &Link, set: &Address) -> Result<Vec<Address>, Failure> {
    let settled =
        link.get(set).await?.map(|live| SetView::of(&live)).filter(|set| set.current_revision == set.update_revision);
    if settled.is_none() {
        return Ok(Vec::new());
    }
    let kind = kinds::of("ConfigMap").expect("it is in the table");
    let live =
        link.list(kind, kind.api_version, &fleet.namespace, &objects::owned_by(&fleet.name)).await?.unwrap_or_default();
    let pods = sync::pods(fleet, site, link).await?;
    let keep: Vec<_> = plan::rendered(fleet, &site.name)?.into_iter().map(|object| object.address).collect();
    let mut deleted = Vec::new();
    for (address, uid) in unused(&live, &site.name, &set.name, &keep, &pods) {
        link.delete(&address, &uid).await?;
        deleted.push(address);
    }
    Ok(deleted)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_old_configurations_of_this_site_that_no_pod_mounts_may_go() {
        let map = |name: &str, site: &str| {
            let metadata = json!({"name": name, "namespace": "holdfast", "uid": name, "labels": {SITE: site}});
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
        };
        let live = [
            map("prod-a-config-old", "a"),
            map("prod-a-config-used", "a"),
            map("prod-a-config-new", "a"),
            map("prod-a-config-other", "b"),
            map("prod-dashboard", "a"),
        ];
        let keep = [Address::within(kinds::of("ConfigMap").unwrap(), "holdfast", "prod-a-config-new")];
        let pods = [PodView { config_maps: vec!["prod-a-config-used".into()], ..PodView::default() }];
        let gone: Vec<_> =
            unused(&live, "a", "prod-a", &keep, &pods).into_iter().map(|(address, _)| address.name).collect();
        assert_eq!(gone, ["prod-a-config-old"]);
    }
}
