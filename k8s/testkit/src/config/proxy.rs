//! kube-proxy's configuration.

use super::Context;
use serde_json::{Value, json};
use std::path::Path;

pub(super) fn configuration(context: &Context<'_>, kubeconfig: &Path) -> Value {
    let Context { site, node, .. } = context;
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": { "kubeconfig": kubeconfig },
        "clusterCIDR": site.pod_cidr(),
        "hostnameOverride": node.name,
        "bindAddress": node.address,
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        // Zeros: it would write the machine's sysctls.
        "conntrack": { "maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s" },
    })
}
