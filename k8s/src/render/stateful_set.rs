//! The stores of a site.
//!
//! - All pods start at once: none waits for another one to be ready, which could wait for a quorum.
//! - At rest the partition is above every pod, so a changed template restarts nothing until somebody lowers it, pod by pod.
//! - Volumes outlive everything: they are deleted by hand.

use k8s_openapi::api::apps::v1::{
    RollingUpdateStatefulSetStrategy, StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec,
    StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Scene, pod};

/// A store that was ready for so long has taken leaders again.
const MIN_READY_SECONDS: i32 = 30;

/// The StatefulSet of a site.
pub(super) fn stateful_set(scene: &Scene<'_>, config_name: &str) -> StatefulSet {
    let stores = i32::try_from(scene.shape.stores).unwrap_or(i32::MAX);
    let retain = || Some("Retain".to_owned());
    let spec = StatefulSetSpec {
        min_ready_seconds: Some(MIN_READY_SECONDS),
        persistent_volume_claim_retention_policy: Some(StatefulSetPersistentVolumeClaimRetentionPolicy {
            when_deleted: retain(),
            when_scaled: retain(),
        }),
        pod_management_policy: Some("Parallel".to_owned()),
        replicas: Some(stores),
        selector: scene.stores(),
        service_name: Some(scene.set_name()),
        template: pod::template(scene, config_name),
        update_strategy: Some(StatefulSetUpdateStrategy {
            rolling_update: Some(RollingUpdateStatefulSetStrategy {
                partition: Some(stores),
                ..RollingUpdateStatefulSetStrategy::default()
            }),
            type_: Some("RollingUpdate".to_owned()),
        }),
        volume_claim_templates: Some(vec![claim(scene)]),
        ..StatefulSetSpec::default()
    };
    StatefulSet { metadata: scene.metadata(scene.set_name()), spec: Some(spec), status: None }
}

/// The volume of each store. One pod at a time, in the whole Kubernetes cluster: a store never runs twice on one disk.
fn claim(scene: &Scene<'_>) -> PersistentVolumeClaim {
    let size = Quantity(scene.shape.storage.size.text().to_owned());
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            labels: Some(scene.store_selector()),
            name: Some(pod::VOLUME.to_owned()),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOncePod".to_owned()]),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), size)].into()),
                ..VolumeResourceRequirements::default()
            }),
            storage_class_name: scene.shape.storage.class.clone(),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}
