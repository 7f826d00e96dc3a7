//! The pods' network: a bridge on each node, addresses from the node's range, routed flat and never translated.

use super::Context;
use serde_json::{Value, json};

pub(super) fn configuration(context: &Context<'_>) -> Value {
    json!({
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [{
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": true,
            "ipMasq": false,
            "hairpinMode": true,
            "mtu": 1500,
            "ipam": {
                "type": "host-local",
                "ranges": [[{ "subnet": context.node.pod_cidr }]],
                "routes": [{ "dst": "0.0.0.0/0" }],
                // In memory: after a loss of power no pod is left to hold an address.
                "dataDir": "/run/pod-addresses",
            },
        }],
    })
}
