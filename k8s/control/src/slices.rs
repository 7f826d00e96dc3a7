//! EndpointSlices that lead to the stores of other sites: what they are called, what is in them, and whether one must be written.
//!
//! They only ever gain and change addresses. A store whose address is not known now, because its pod is gone or its site is not reached, keeps
//! the last one that was known: nothing that happens in one site takes anything away in another.

use std::collections::BTreeMap;
use std::net::IpAddr;

use holdfast_k8s::Fleet;
use holdfast_k8s::fleet::Site;
use holdfast_k8s::fleet::names::Ordinal;
use serde_json::{Value, json};

use crate::diff;
use crate::kinds::SLICE;
use crate::objects::{Address, FLEET, MANAGED_BY, MANAGER, Object, SITE};
use crate::views::PodView;

/// The label by which Kubernetes and we tell whose a slice is.
const KEEPER_LABEL: &str = "endpointslice.kubernetes.io/managed-by";
/// What that label says of ours.
const KEEPER: &str = "sync.holdfast.dev";
/// The label with the Service of a slice.
const SERVICE: &str = "kubernetes.io/service-name";

/// The two kinds of addresses: a slice has one only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Family {
    V4,
    V6,
}

impl Family {
    const ALL: [Self; 2] = [Self::V4, Self::V6];

    fn of(address: &str) -> Option<Self> {
        match address.parse().ok()? {
            IpAddr::V4(_) => Some(Self::V4),
            IpAddr::V6(_) => Some(Self::V6),
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    fn slice(self, pod: &str) -> String {
        format!("{pod}-{}", self.kind().to_lowercase())
    }
}

/// All slices that may be in a site.
pub(crate) fn addresses(fleet: &Fleet, site: &str) -> Vec<Address> {
    let Some(own) = fleet.sites.iter().find(|own| own.name == site).filter(|_| fleet.is_mirrored()) else {
        return Vec::new();
    };
    let pods = fleet.remote_pods(own).map(|(site, ordinal)| fleet.pod_name(site, ordinal));
    let names = pods.flat_map(|pod| Family::ALL.map(|family| family.slice(&pod)));
    names.map(|name| Address::within(SLICE, &fleet.namespace, &name)).collect()
}

/// False for a slice that a controller of Kubernetes keeps: it copies the labels of its Service, ours too.
pub(crate) fn is_no_foreign(body: &Value) -> bool {
    body["kind"] != SLICE.kind || body["metadata"]["labels"][KEEPER_LABEL] == KEEPER
}

/// The addresses in a live slice of ours, each with the pod that it leads to.
pub(crate) fn leads_to(body: &Value) -> Vec<(String, String)> {
    let pod = body["metadata"]["labels"][SERVICE].as_str().filter(|_| is_no_foreign(body)).unwrap_or_default();
    let endpoints = body["endpoints"].as_array().into_iter().flatten();
    let addresses = endpoints.flat_map(|endpoint| endpoint["addresses"].as_array().into_iter().flatten());
    addresses.filter_map(Value::as_str).map(|address| (address.to_owned(), pod.to_owned())).collect()
}

/// The slices of one site's stores, for any other site: those whose addresses are known.
#[must_use]
pub fn wanted(fleet: &Fleet, source: &Site, pods: &[PodView]) -> Vec<Object> {
    let mut all = Vec::new();
    for ordinal in fleet.ordinals(source) {
        // A pod that has ended keeps its address on paper, and another pod may have it by now.
        let pod = pods.iter().find(|pod| pod.ordinal == ordinal.0 && pod.phase != "Failed" && pod.phase != "Succeeded");
        let mut families: BTreeMap<Family, Vec<&str>> = BTreeMap::new();
        for address in pod.iter().flat_map(|pod| &pod.addresses) {
            if let Some(family) = Family::of(address) {
                families.entry(family).or_default().push(address);
            }
        }
        all.extend(families.iter().map(|(family, addresses)| slice(fleet, source, ordinal, *family, addresses)));
    }
    all
}

fn slice(fleet: &Fleet, source: &Site, ordinal: Ordinal, family: Family, addresses: &[&str]) -> Object {
    let pod = fleet.pod_name(source, ordinal);
    let address = Address::within(SLICE, &fleet.namespace, &family.slice(&pod));
    let ports = fleet.ports;
    let port = |name: &str, number: u16| json!({"name": name, "port": number, "protocol": "TCP", "appProtocol": "tcp"});
    let body = json!({
        "apiVersion": SLICE.api_version,
        "kind": SLICE.kind,
        "metadata": {
            "name": address.name,
            "namespace": fleet.namespace,
            "labels": {
                "app.kubernetes.io/name": "holdfast",
                "app.kubernetes.io/instance": fleet.name,
                MANAGED_BY: MANAGER,
                FLEET: fleet.name,
                SITE: source.name,
                SERVICE: pod,
                KEEPER_LABEL: KEEPER,
            },
        },
        "addressType": family.kind(),
        // Ready whether it is or not: a store that starts must be found by those that start.
        "endpoints": [{"addresses": addresses, "conditions": {"ready": true}}],
        "ports": [port("clients", ports.clients), port("stores", ports.stores), port("heartbeats", ports.heartbeats())],
    });
    Object { address, body }
}

/// Of the wanted slices, those that a site does not have like that.
#[must_use]
pub fn outdated<'a>(wanted: &'a [Object], live: &[Value]) -> Vec<&'a Object> {
    let is_there = |object: &&Object| {
        let same = live.iter().find(|body| body["metadata"]["name"] == object.address.name.as_str());
        same.is_some_and(|body| diff::lacking(body, &object.body).is_empty())
    };
    wanted.iter().filter(|object| !is_there(object)).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn fleet() -> Fleet {
        let text = std::fs::read_to_string("../examples/flat-mirror/fleet.yaml").unwrap();
        holdfast_k8s::validate(&text).fleet.unwrap()
    }

    fn pod(ordinal: u32, addresses: &[&str]) -> PodView {
        PodView { ordinal, addresses: addresses.iter().map(ToString::to_string).collect(), ..PodView::default() }
    }

    #[test]
    fn a_slice_leads_to_the_pod_of_its_service() {
        let fleet = fleet();
        let west = &fleet.sites[1];
        let wanted = wanted(&fleet, west, &[pod(0, &["10.20.0.7"]), pod(1, &[])]);
        assert_eq!(wanted.len(), 1, "a pod without an address has no slice");
        let body = &wanted[0].body;
        assert_eq!(body["metadata"]["labels"][SERVICE], "prod-west-0");
        assert_eq!((&body["addressType"], &body["endpoints"][0]["addresses"]), (&json!("IPv4"), &json!(["10.20.0.7"])));
        let numbers: Vec<_> =
            body["ports"].as_array().unwrap().iter().map(|port| port["port"].as_u64().unwrap()).collect();
        assert_eq!(numbers, [7300, 7400, 7401]);
        assert_eq!(leads_to(body), [("10.20.0.7".to_owned(), "prod-west-0".to_owned())]);
        // It is one of those that are no orphans in the other sites, and is one here.
        assert!(addresses(&fleet, "east").contains(&wanted[0].address));
        assert!(!addresses(&fleet, "west").contains(&wanted[0].address));
        // What is built here is what Kubernetes has: a wrong field would not be read.
        let typed: k8s_openapi::api::discovery::v1::EndpointSlice = serde_json::from_value(body.clone()).unwrap();
        assert_eq!(serde_json::to_value(typed).unwrap(), *body);
    }

    #[test]
    fn a_pod_that_is_not_ready_is_led_to_and_one_that_has_ended_is_not() {
        let fleet = fleet();
        let not_ready = PodView { is_ready: false, ..pod(0, &["10.20.0.7"]) };
        let failed = PodView { phase: "Failed".into(), ..pod(1, &["10.20.0.8"]) };
        let wanted = wanted(&fleet, &fleet.sites[1], &[not_ready, failed]);
        assert_eq!(wanted.len(), 1);
        assert_eq!(wanted[0].body["endpoints"][0]["conditions"]["ready"], true);
    }

    #[test]
    fn both_kinds_of_addresses_have_a_slice_each() {
        let fleet = fleet();
        let wanted = wanted(&fleet, &fleet.sites[1], &[pod(0, &["10.20.0.7", "fd00::7"])]);
        let names: Vec<_> = wanted.iter().map(|object| object.address.name.as_str()).collect();
        assert_eq!(names, ["prod-west-0-ipv4", "prod-west-0-ipv6"]);
    }

    #[test]
    fn only_what_differs_is_written() {
        let fleet = fleet();
        let wanted = wanted(&fleet, &fleet.sites[1], &[pod(0, &["10.20.0.7"]), pod(1, &["10.20.0.8"])]);
        let mut live: Vec<_> = wanted.iter().map(|object| object.body.clone()).collect();
        live[0]["metadata"]["resourceVersion"] = json!("7");
        assert!(outdated(&wanted, &live).is_empty());
        live[1]["endpoints"][0]["addresses"] = json!(["10.20.0.99"]);
        assert_eq!(outdated(&wanted, &live), [&wanted[1]]);
        assert_eq!(outdated(&wanted, &[]).len(), 2);
    }

    #[test]
    fn slices_of_kubernetes_own_controllers_are_left_alone() {
        let labels = json!({KEEPER_LABEL: "endpointslice-controller.k8s.io", FLEET: "prod"});
        assert!(!is_no_foreign(&json!({"kind": "EndpointSlice", "metadata": {"labels": labels}})));
        assert!(is_no_foreign(&json!({"kind": "Service", "metadata": {}})));
    }
}
