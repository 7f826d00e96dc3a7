//! Pods of all sites route to each other, and each site has a Service for every store of the others.
//!
//! The Services select nothing: `holdfast fleet sync` keeps an EndpointSlice with the pod's address for each. Addresses are not known when this is
//! rendered, so the slices are not here. No DNS is asked beyond the site, and the last addresses outlive the site that they lead to.

use k8s_openapi::api::core::v1::{Service, ServiceSpec};

use super::super::labels::{SITE, labels};
use super::super::services::{HEADLESS, store_ports};
use super::{FILE, Scene, SiteTree};

/// Says who writes the addresses.
const KEPT_BY: (&str, &str) = ("holdfast.dev/endpoints", "kept by: holdfast fleet sync");

/// Adds a Service without a selector for each store of the other sites.
pub(super) fn add(scene: &Scene<'_>, tree: &mut SiteTree) {
    for (site, ordinal) in scene.fleet.remote_pods(scene.site) {
        let mut metadata = scene.metadata(scene.fleet.pod_name(site, ordinal));
        metadata.annotations = Some(labels([KEPT_BY]));
        metadata.labels.get_or_insert_default().insert(SITE.to_owned(), site.name.clone());
        let service = Service {
            metadata,
            spec: Some(ServiceSpec {
                cluster_ip: Some(HEADLESS.to_owned()),
                ports: Some(store_ports(scene)),
                ..ServiceSpec::default()
            }),
            status: None,
        };
        tree.add(FILE, &service);
    }
}
