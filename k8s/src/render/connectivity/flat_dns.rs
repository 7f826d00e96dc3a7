//! Pods of all sites route to each other, and the DNS of each site forwards the domains of the others.
//!
//! CoreDNS is the site's own and not ours to change: what it needs is rendered into a ConfigMap of the fleet, for whoever runs it to copy
//! into the namespace of CoreDNS, which mounts nothing from another one (`import /etc/coredns/custom/*.server`). A site that is gone takes its names with it after an hour: until then
//! the last answers are served.

use std::fmt::Write as _;

use k8s_openapi::api::core::v1::ConfigMap;

use super::super::labels::labels;
use super::{FILE, Scene, SiteTree};

/// Adds the server blocks for the domains of the other sites.
pub(super) fn add(scene: &Scene<'_>, tree: &mut SiteTree) {
    let mut blocks = String::new();
    for site in scene.fleet.sites.iter().filter(|site| site.name != scene.site.name) {
        let servers: Vec<_> = site.dns.iter().map(ToString::to_string).collect();
        let written = write!(
            blocks,
            "{}:53 {{\n    errors\n    cache 10 {{\n        serve_stale 1h immediate\n    }}\n    forward . {} {{\n        max_concurrent 1000\n    }}\n}}\n",
            site.domain,
            servers.join(" ")
        );
        written.expect("a string takes everything");
    }
    let map = ConfigMap {
        data: Some(labels([("holdfast.server", &blocks)])),
        metadata: scene.metadata(format!("{}-dns-forwarding", scene.name())),
        ..ConfigMap::default()
    };
    tree.add(FILE, &map);
}
