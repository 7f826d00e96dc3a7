//! containerd's configuration.

use super::Context;
use crate::tools::PAUSE;
use serde_json::{Value, json};

/// Debian's package containernetworking-plugins puts them here.
pub(crate) const CNI_PLUGINS: &str = "/usr/lib/cni";

pub(super) fn configuration(context: &Context<'_>) -> Value {
    let folder = context.state.node(context.site, context.node);
    json!({
        "version": 2,
        "root": folder.library("containerd"),
        "state": "/run/containerd",
        // Would make /opt/containerd on the machine.
        "disabled_plugins": ["io.containerd.internal.v1.opt"],
        "grpc": { "address": folder.containerd_socket() },
        "plugins": {
            "io.containerd.grpc.v1.cri": {
                "sandbox_image": PAUSE,
                "restrict_oom_score_adj": true,
                "disable_apparmor": true,
                "containerd": {
                    "snapshotter": "overlayfs",
                    "default_runtime_name": "runc",
                    "runtimes": { "runc": {
                        "runtime_type": "io.containerd.runc.v2",
                        "options": { "SystemdCgroup": false, "BinaryName": "runc" },
                    } },
                },
                "cni": { "bin_dir": CNI_PLUGINS, "conf_dir": folder.config("cni") },
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use crate::config::sandbox::tests::with_context;

    #[test]
    fn the_configuration_is_toml() {
        with_context(|context| {
            let text = toml::to_string(&super::configuration(context)).unwrap();
            assert!(text.contains("[plugins.\"io.containerd.grpc.v1.cri\".cni]"), "{text}");
        });
    }
}
