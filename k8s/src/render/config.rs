//! The configuration file of the stores of a site, in a ConfigMap that never changes: another content has another name, so that no pod is
//! ever restarted into a configuration that nobody rolled out.

use k8s_openapi::api::core::v1::ConfigMap;
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use super::Scene;
use super::labels::labels;

/// The file's name in the ConfigMap.
pub(super) const FILE: &str = "holdfast.toml";
/// Where the volume is mounted. The store has a folder of its own in it: the top of a volume is not always its owner's.
pub(super) const VOLUME_DIR: &str = "/var/lib/holdfast";
const DATA_DIR: &str = "/var/lib/holdfast/store";

/// What `holdfast start --config` reads. What a store does not share with the others of its site comes from its environment.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct StoreFile {
    site: String,
    site_id: String,
    data_dir: String,
    listen: String,
    listen_store: String,
    listen_http: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    listen_metrics: Option<String>,
    join: Vec<String>,
}

/// The ConfigMap, named by its content.
pub(super) fn config_map(scene: &Scene<'_>) -> ConfigMap {
    let text = toml::to_string(&store_file(scene)).expect("texts and a list of texts");
    let name = format!("{}-config-{:016x}", scene.set_name(), xxh3_64(text.as_bytes()));
    ConfigMap {
        data: Some(labels([(FILE, &text)])),
        immutable: Some(true),
        metadata: scene.metadata(name),
        ..ConfigMap::default()
    }
}

fn store_file(scene: &Scene<'_>) -> StoreFile {
    let ports = scene.fleet.ports;
    let everywhere = if has_ipv6(scene) { "[::]" } else { "0.0.0.0" };
    let listen = |port: u16| format!("{everywhere}:{port}");
    StoreFile {
        site: scene.site.name.clone(),
        site_id: scene.site.uid.clone(),
        data_dir: DATA_DIR.to_owned(),
        listen: listen(ports.clients),
        listen_store: listen(ports.stores),
        listen_http: listen(ports.http),
        listen_metrics: scene.fleet.trust.is_in_force().then(|| listen(ports.metrics)),
        join: scene.fleet.join_addresses(),
    }
}

/// Where pods may have addresses of version 6, sockets take both.
fn has_ipv6(scene: &Scene<'_>) -> bool {
    scene.site.pod_cidrs.iter().filter_map(crate::fleet::amounts::Cidr::net).any(|net| net.addr().is_ipv6())
}
