//! What every site has from the beginning: a default storage class, and volumes in the instance's folder.

use crate::error::Result;
use crate::plan::{Node, Site};
use crate::state::{State, make_folder};
use k8s_openapi::api::core::v1::{
    LocalVolumeSource, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PersistentVolume, PersistentVolumeSpec,
    VolumeNodeAffinity,
};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

/// The default storage class: volumes that stay on their node, as disks do.
const CLASS: &str = "local";
/// Volumes that follow their pods to any node of the site, as those of a storage network do: all nodes see the instance's folder.
const SHARED: &str = "shared";
/// What a volume says it holds; nothing measures it.
const CAPACITY: &str = "10Gi";
/// Volumes of each access mode on each node. ReadWriteOncePod may not stand beside another mode.
const VOLUMES: u8 = 4;
/// Volumes of each site that follow their pods.
const SHARED_VOLUMES: u8 = 8;
const MODES: [(&str, &str); 2] = [("once", "ReadWriteOnce"), ("pod", "ReadWriteOncePod")];

/// Makes the folders of some nodes' volumes and returns the manifest of these and of the storage class.
pub(crate) fn manifest(state: &State, site: &Site, nodes: &[Node]) -> Result<String> {
    let mut items = vec![value(&storage_class(CLASS, true)), value(&storage_class(SHARED, false))];
    for number in 0..SHARED_VOLUMES {
        let path = state.site(site).shared_volume(number);
        make_folder(&path)?;
        let anywhere = ("topology.kubernetes.io/region", site.name.as_str());
        let name = format!("{}-shared-{number}", site.name);
        items.push(value(&volume(&name, "ReadWriteOncePod", &path.to_string_lossy(), SHARED, anywhere)));
    }
    for node in nodes {
        for (short, mode) in MODES {
            for number in 0..VOLUMES {
                let path = state.node(site, node).volume(&format!("{short}-{number}"));
                make_folder(&path)?;
                let name = format!("{}-{short}-{number}", node.name);
                let there = ("kubernetes.io/hostname", node.name.as_str());
                items.push(value(&volume(&name, mode, &path.to_string_lossy(), CLASS, there)));
            }
        }
    }
    Ok(json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string())
}

fn value(object: &impl serde::Serialize) -> Value {
    serde_json::to_value(object).expect("Kubernetes' objects are JSON")
}

fn storage_class(name: &str, is_default: bool) -> StorageClass {
    let default = ("storageclass.kubernetes.io/is-default-class".to_owned(), is_default.to_string());
    StorageClass {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            annotations: Some([default].into()),
            ..ObjectMeta::default()
        },
        provisioner: "kubernetes.io/no-provisioner".to_owned(),
        volume_binding_mode: Some("WaitForFirstConsumer".to_owned()),
        ..StorageClass::default()
    }
}

/// A volume of a class, for pods on nodes with this label.
fn volume(name: &str, mode: &str, path: &str, class: &str, (label, value): (&str, &str)) -> PersistentVolume {
    let on_node = NodeSelectorRequirement {
        key: label.to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![value.to_owned()]),
    };
    let term = NodeSelectorTerm { match_expressions: Some(vec![on_node]), ..NodeSelectorTerm::default() };
    let spec = PersistentVolumeSpec {
        access_modes: Some(vec![mode.to_owned()]),
        capacity: Some([("storage".to_owned(), Quantity(CAPACITY.to_owned()))].into()),
        local: Some(LocalVolumeSource { path: path.to_owned(), ..LocalVolumeSource::default() }),
        node_affinity: Some(VolumeNodeAffinity { required: Some(NodeSelector { node_selector_terms: vec![term] }) }),
        persistent_volume_reclaim_policy: Some("Retain".to_owned()),
        storage_class_name: Some(class.to_owned()),
        ..PersistentVolumeSpec::default()
    };
    let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    PersistentVolume { metadata, spec: Some(spec), ..PersistentVolume::default() }
}
