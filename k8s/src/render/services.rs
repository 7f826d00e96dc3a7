//! Names in DNS: of all stores of the site together, of each alone, and of any that is ready.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::connectivity::{self, PodServices};
use super::labels::{SCRAPED, labels};
use super::{Scene, SiteTree};
use crate::fleet::names::Ordinal;

/// The label by which a Service selects one pod of a StatefulSet.
const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
/// What makes a Service a name and nothing more.
pub(super) const HEADLESS: &str = "None";

/// The Services of the site's own stores.
pub(super) fn add(scene: &Scene<'_>, tree: &mut SiteTree) {
    tree.add("service-stores.yaml", &of_set(scene));
    let style = connectivity::pod_services(scene);
    for ordinal in scene.fleet.ordinals(scene.site) {
        tree.add("services-store.yaml", &of_pod(scene, ordinal, &style));
    }
    tree.add("service-clients.yaml", &of_clients(scene));
}

/// Ports that stores of other sites need.
pub(super) fn store_ports(scene: &Scene<'_>) -> Vec<ServicePort> {
    let ports = scene.fleet.ports;
    vec![port("clients", ports.clients), port("stores", ports.stores), port("heartbeats", ports.heartbeats())]
}

fn port(name: &str, number: u16) -> ServicePort {
    ServicePort {
        // A mesh must pass it on as it is: it would take gRPC apart, and heartbeats are none.
        app_protocol: Some("tcp".to_owned()),
        name: Some(name.to_owned()),
        port: number.into(),
        target_port: Some(IntOrString::Int(number.into())),
        ..ServicePort::default()
    }
}

/// The headless Service that gives the pods their names. Not ready ones too: a store that starts must find those that start.
fn of_set(scene: &Scene<'_>) -> Service {
    let mut metadata = scene.metadata(scene.set_name());
    metadata.labels.get_or_insert_default().insert(SCRAPED.to_owned(), scene.name().to_owned());
    let mut ports = store_ports(scene);
    let (name, number) = scene.metrics_port();
    ports.push(port(name, number));
    Service {
        metadata,
        spec: Some(ServiceSpec {
            cluster_ip: Some(HEADLESS.to_owned()),
            ports: Some(ports),
            publish_not_ready_addresses: Some(true),
            selector: Some(scene.store_selector()),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// The Service of one store, which bears its name.
fn of_pod(scene: &Scene<'_>, ordinal: Ordinal, style: &PodServices) -> Service {
    let name = scene.fleet.pod_name(scene.site, ordinal);
    let mut metadata = scene.metadata(&name);
    metadata.annotations = (!style.annotations.is_empty()).then(|| style.annotations.clone());
    if let Some((keys, zone)) = &style.published {
        let host = format!("{name}.{zone}");
        metadata.annotations.get_or_insert_default().extend(labels(keys.map(|key| (key, host.as_str()))));
    }
    metadata.labels.get_or_insert_default().extend(style.labels.clone());
    Service {
        metadata,
        spec: Some(ServiceSpec {
            cluster_ip: style.is_headless.then(|| HEADLESS.to_owned()),
            external_traffic_policy: style.is_load_balancer.then(|| "Local".to_owned()),
            ports: Some(store_ports(scene)),
            publish_not_ready_addresses: Some(true),
            selector: Some(labels([(POD_NAME, &name)])),
            type_: style.is_load_balancer.then(|| "LoadBalancer".to_owned()),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// What programs connect to: a store that is ready, in their own zone when there is one.
fn of_clients(scene: &Scene<'_>) -> Service {
    Service {
        metadata: scene.metadata(scene.name()),
        spec: Some(ServiceSpec {
            ports: Some(vec![port("clients", scene.fleet.ports.clients)]),
            selector: Some(scene.store_selector()),
            traffic_distribution: Some("PreferClose".to_owned()),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}
