//! The kubelet's configuration.

use super::Context;
use crate::pki::Pki;
use serde_json::{Value, json};

pub(super) fn configuration(context: &Context<'_>) -> Value {
    let Context { state, site, node, .. } = context;
    let (pki, folder) = (Pki::of(&state.site(site)), state.node(site, node));
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "failCgroupV1": false,
        "cgroupDriver": "cgroupfs",
        "containerRuntimeEndpoint": format!("unix://{}", folder.containerd_socket().display()),
        "address": node.address,
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true },
            "x509": { "clientCAFile": pki.authority() },
        },
        "authorization": { "mode": "Webhook" },
        "tlsCertFile": pki.certificate(&Pki::kubelet(node)),
        "tlsPrivateKeyFile": pki.key(&Pki::kubelet(node)),
        "clusterDNS": [site.dns_address()],
        "clusterDomain": site.domain(),
        "resolvConf": folder.config("resolv.conf"),
        "volumePluginDir": folder.library("kubelet").join("volume-plugins"),
        // Images have no registry to come from again, and the machine's disk is not this node's alone.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {
            "memory.available": "50Mi",
            "nodefs.available": "0%",
            "nodefs.inodesFree": "0%",
            "imagefs.available": "0%",
            "imagefs.inodesFree": "0%",
        },
        "failSwapOn": false,
        // Going below needs CAP_SYS_RESOURCE.
        "oomScoreAdj": 0,
        "maxPods": 60,
        "readOnlyPort": 0,
        "shutdownGracePeriod": "0s",
    })
}
