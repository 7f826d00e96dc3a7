//! The namespace of the fleet, in which nothing runs with more rights than it needs.

use k8s_openapi::api::core::v1::Namespace;

use super::Scene;
use super::connectivity;

/// What no pod of the namespace may be without.
const LEVEL: &str = "restricted";

/// The namespace, which refuses pods that are not restricted.
pub(super) fn namespace(scene: &Scene<'_>) -> Namespace {
    let mut metadata = scene.metadata_outside(&scene.fleet.namespace);
    let labels = metadata.labels.get_or_insert_default();
    for mode in ["enforce", "audit", "warn"] {
        labels.insert(format!("pod-security.kubernetes.io/{mode}"), LEVEL.to_owned());
        labels.insert(format!("pod-security.kubernetes.io/{mode}-version"), "latest".to_owned());
    }
    labels.extend(connectivity::namespace_labels(scene));
    Namespace { metadata, ..Namespace::default() }
}
