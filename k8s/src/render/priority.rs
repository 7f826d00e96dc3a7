//! The priority of stores: above what can be started anew elsewhere, below what keeps the machines running.

use k8s_openapi::api::scheduling::v1::PriorityClass;

use super::Scene;

/// The PriorityClass of the fleet.
pub(super) fn class(scene: &Scene<'_>) -> PriorityClass {
    PriorityClass {
        description: Some(format!("Stores of the Holdfast fleet {}", scene.name())),
        global_default: Some(false),
        metadata: scene.metadata_outside(name(scene)),
        preemption_policy: Some("PreemptLowerPriority".to_owned()),
        value: i32::try_from(scene.fleet.priority).expect("checked to be no more than a thousand million"),
    }
}

/// Its name.
pub(super) fn name(scene: &Scene<'_>) -> String {
    format!("{}-store", scene.name())
}
