//! What each site gets: typed objects, written as YAML whose bytes are the same for the same fleet.
//!
//! One folder a site, which `kubectl apply -k` takes as it is. One file here for one kind of object there; what a way of connecting the sites adds
//! is in [`connectivity`]. Names that a site's objects share are the fleet's, so that the same object has the same name in all sites.

mod accounts;
pub mod admission;
mod certificates;
mod config;
pub mod connectivity;
mod dashboard;
mod disruption;
mod kustomization;
pub mod labels;
mod monitoring;
mod namespace;
mod network_policy;
mod operator;
mod pod;
mod priority;
mod services;
mod stateful_set;
mod tree;
pub mod written;

pub use tree::SiteTree;

use crate::fleet::{Fleet, Shape, Site};

/// One site of the fleet, and what it consists of.
pub(crate) struct Scene<'a> {
    pub(crate) fleet: &'a Fleet,
    pub(crate) site: &'a Site,
    pub(crate) shape: Shape,
}

/// Renders all sites of a fleet that has passed [`validate`](crate::validate).
#[must_use]
pub fn render(fleet: &Fleet) -> Vec<SiteTree> {
    fleet.sites.iter().map(|site| render_site(&Scene { fleet, site, shape: fleet.shape(site) })).collect()
}

fn render_site(scene: &Scene<'_>) -> SiteTree {
    let mut tree = SiteTree::new(&scene.site.name);
    tree.add("namespace.yaml", &namespace::namespace(scene));
    tree.add("priority-class.yaml", &priority::class(scene));
    admission::add(scene, &mut tree);
    accounts::add(scene, &mut tree);
    let config = config::config_map(scene);
    let config_name = config.metadata.name.clone().unwrap_or_default();
    tree.add("config-map.yaml", &config);
    certificates::add(scene, &mut tree);
    tree.add("stateful-set.yaml", &stateful_set::stateful_set(scene, &config_name));
    services::add(scene, &mut tree);
    connectivity::add(scene, &mut tree);
    tree.add("pod-disruption-budget.yaml", &disruption::budget(scene));
    network_policy::add(scene, &mut tree);
    monitoring::add(scene, &mut tree);
    if scene.fleet.observability.dashboard {
        tree.add("dashboard.yaml", &dashboard::config_map(scene));
    }
    kustomization::add(&mut tree);
    tree
}
