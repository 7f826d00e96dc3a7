//! The kinds of objects that a fleet consists of: a closed list, so that nothing has to be discovered before it can be asked for.

/// One kind.
#[derive(PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Kind {
    /// Its place in the order of writing: what others need comes first, the stores last.
    rank: u8,
    /// Its name.
    pub kind: &'static str,
    /// Its name in paths.
    pub plural: &'static str,
    /// The version that is rendered, or the first of them.
    pub api_version: &'static str,
    /// Whether it lies in a namespace.
    pub is_namespaced: bool,
}

const fn within(rank: u8, api_version: &'static str, kind: &'static str, plural: &'static str) -> Kind {
    Kind { rank, kind, plural, api_version, is_namespaced: true }
}

const fn outside(rank: u8, api_version: &'static str, kind: &'static str, plural: &'static str) -> Kind {
    Kind { rank, kind, plural, api_version, is_namespaced: false }
}

const RBAC: &str = "rbac.authorization.k8s.io/v1";
const ADMISSION: &str = "admissionregistration.k8s.io/v1";

/// All of them.
pub const KINDS: &[Kind] = &[
    outside(0, "v1", "Namespace", "namespaces"),
    outside(1, "scheduling.k8s.io/v1", "PriorityClass", "priorityclasses"),
    within(2, "v1", "ServiceAccount", "serviceaccounts"),
    outside(3, RBAC, "ClusterRole", "clusterroles"),
    outside(4, RBAC, "ClusterRoleBinding", "clusterrolebindings"),
    within(3, RBAC, "Role", "roles"),
    within(4, RBAC, "RoleBinding", "rolebindings"),
    within(5, "networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
    within(5, "cilium.io/v2", "CiliumNetworkPolicy", "ciliumnetworkpolicies"),
    outside(5, "projectcalico.org/v3", "IPPool", "ippools"),
    outside(5, ADMISSION, "ValidatingAdmissionPolicy", "validatingadmissionpolicies"),
    outside(6, ADMISSION, "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings"),
    within(6, "v1", "ConfigMap", "configmaps"),
    within(6, "cert-manager.io/v1", "Certificate", "certificates"),
    within(7, "v1", "Service", "services"),
    within(7, "multicluster.x-k8s.io/v1alpha1", "ServiceExport", "serviceexports"),
    within(7, "skupper.io/v2alpha1", "Site", "sites"),
    within(8, "skupper.io/v2alpha1", "Connector", "connectors"),
    within(8, "skupper.io/v2alpha1", "Listener", "listeners"),
    within(8, "policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    within(8, "monitoring.coreos.com/v1", "ServiceMonitor", "servicemonitors"),
    within(8, "monitoring.coreos.com/v1", "PrometheusRule", "prometheusrules"),
    within(9, "apps/v1", "StatefulSet", "statefulsets"),
];

/// Slices are written by `sync` alone and rendered by nobody.
pub const SLICE: &Kind = &within(9, "discovery.k8s.io/v1", "EndpointSlice", "endpointslices");
/// Pods are read, never written.
pub const POD: &Kind = &within(9, "v1", "Pod", "pods");

/// The kind of this name, as the fleet has it.
#[must_use]
pub fn of(name: &str) -> Option<&'static Kind> {
    KINDS.iter().chain([SLICE, POD]).find(|kind| kind.kind == name)
}

impl Kind {
    /// The path of its collection. `api_version`: the one that is served, which may differ from the first.
    #[must_use]
    pub fn path(&self, api_version: &str, namespace: Option<&str>) -> String {
        let root = if api_version.contains('/') { "apis" } else { "api" };
        match namespace.filter(|_| self.is_namespaced) {
            Some(namespace) => format!("/{root}/{api_version}/namespaces/{namespace}/{}", self.plural),
            None => format!("/{root}/{api_version}/{}", self.plural),
        }
    }

    /// The group of an `apiVersion`; empty for the core.
    #[must_use]
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_api() {
        let path = |kind: &str| of(kind).map(|kind| kind.path(kind.api_version, Some("holdfast"))).unwrap();
        assert_eq!(path("Pod"), "/api/v1/namespaces/holdfast/pods");
        assert_eq!(path("StatefulSet"), "/apis/apps/v1/namespaces/holdfast/statefulsets");
        assert_eq!(path("Namespace"), "/api/v1/namespaces");
        assert_eq!(of("Pod").unwrap().group(), "");
    }

    #[test]
    fn the_stores_come_last_and_what_they_need_first() {
        let mut sorted: Vec<_> = KINDS.iter().collect();
        sorted.sort();
        assert_eq!(sorted.first().unwrap().kind, "Namespace");
        assert_eq!(sorted.last().unwrap().kind, "StatefulSet");
    }
}
