//! How many stores of a site may be taken away on purpose. Kubernetes knows nothing of other sites: that one site at a time is disturbed is for
//! whoever disturbs it.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::Scene;

/// One at a time, of all stores of the site. A pod that is not ready may always go: readiness does not depend on others, so this cannot take two.
pub(super) fn budget(scene: &Scene<'_>) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: scene.metadata(scene.name()),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(scene.stores()),
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    }
}
