//! Labels and metadata that all objects have, and names that several of them share.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use super::Scene;

/// The label of the fleet.
pub const FLEET: &str = "holdfast.dev/fleet";
/// Says who made an object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// What `MANAGED_BY` says, and who writes by server-side apply.
pub const MANAGER: &str = "holdfast";
/// The label of the site.
pub const SITE: &str = "holdfast.dev/site";
/// The label of a program's pods that may reach the stores; its value is the name of the fleet.
pub(crate) const CLIENT: &str = "holdfast.dev/client";
/// The label of the Service by which Prometheus finds the stores.
pub(crate) const SCRAPED: &str = "holdfast.dev/scraped";
/// What the pods of stores are, among the objects of the fleet.
const STORE: &str = "store";

/// Labels as Kubernetes keeps them.
pub(crate) type Labels = BTreeMap<String, String>;

/// Labels from pairs.
pub(crate) fn labels<const N: usize>(pairs: [(&str, &str); N]) -> Labels {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

impl Scene<'_> {
    /// Labels of every object.
    pub(crate) fn labels(&self) -> Labels {
        labels([
            ("app.kubernetes.io/name", "holdfast"),
            ("app.kubernetes.io/instance", &self.fleet.name),
            (MANAGED_BY, MANAGER),
            (FLEET, &self.fleet.name),
            (SITE, &self.site.name),
        ])
    }

    /// Labels by which the stores of this site are selected. They never change: a StatefulSet keeps its selector.
    pub(crate) fn store_selector(&self) -> Labels {
        labels([("app.kubernetes.io/component", STORE), (FLEET, &self.fleet.name), (SITE, &self.site.name)])
    }

    /// The same as a selector.
    pub(crate) fn stores(&self) -> LabelSelector {
        LabelSelector { match_labels: Some(self.store_selector()), ..LabelSelector::default() }
    }

    /// Labels of the pods of stores.
    pub(crate) fn store_labels(&self) -> Labels {
        let mut all = self.labels();
        all.extend(self.store_selector());
        all
    }

    /// Metadata of an object in the namespace of the fleet.
    pub(crate) fn metadata(&self, name: impl Into<String>) -> ObjectMeta {
        ObjectMeta { namespace: Some(self.fleet.namespace.clone()), ..self.metadata_outside(name) }
    }

    /// Metadata of an object in no namespace.
    pub(crate) fn metadata_outside(&self, name: impl Into<String>) -> ObjectMeta {
        ObjectMeta { name: Some(name.into()), labels: Some(self.labels()), ..ObjectMeta::default() }
    }

    /// The name that most objects of the fleet share.
    pub(crate) fn name(&self) -> &str {
        &self.fleet.name
    }

    /// The port that Prometheus asks, by its name in Services and pods and by its number.
    pub(crate) fn metrics_port(&self) -> (&'static str, u16) {
        let ports = self.fleet.ports;
        if self.fleet.trust.is_in_force() { ("metrics", ports.metrics) } else { ("http", ports.http) }
    }

    /// The name of the StatefulSet of this site.
    pub(crate) fn set_name(&self) -> String {
        self.fleet.set_name(self.site)
    }
}
