//! The Go modules that the programs come from, pinned by their go.mod and go.sum.

use super::Extra;

/// One Go module with a main package, built to one file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Module {
    /// Its name: that of its folder here, and of its folder in the cache.
    pub(super) name: &'static str,
    /// What is built, for people.
    pub(super) about: &'static str,
    /// Its files.
    pub(super) files: &'static [(&'static str, &'static str)],
    /// The package to build.
    pub(super) package: &'static str,
    /// Values for the linker's -X.
    pub(super) values: &'static [(&'static str, &'static str)],
    /// The names under which the one file does its jobs.
    pub(super) programs: &'static [&'static str],
    /// Folders of other modules that are kept beside the programs.
    pub(super) folders: &'static [ModuleFolder],
    /// What needs it; `None`: every instance does.
    pub(super) extra: Option<Extra>,
}

/// A folder of a module that the built one depends on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ModuleFolder {
    /// The module, in the version that go.mod pins.
    pub(super) module: &'static str,
    /// The folder in it.
    pub(super) path: &'static str,
    /// Its name beside the programs.
    pub(super) name: &'static str,
}

/// The name of the folder with the definitions of cert-manager's kinds.
pub(super) const CERTIFICATE_KINDS: &str = "crds";

/// The modules that an instance with these extras needs.
pub(super) fn modules_for(extras: &[Extra]) -> impl Iterator<Item = &'static Module> {
    MODULES.iter().filter(|module| module.extra.is_none_or(|extra| extras.contains(&extra)))
}

/// Without a version the API server would refuse to start.
const KUBERNETES_VERSION: [(&str, &str); 6] = [
    ("k8s.io/component-base/version.gitVersion", "v1.37.2"),
    ("k8s.io/component-base/version.gitMajor", "1"),
    ("k8s.io/component-base/version.gitMinor", "37"),
    ("k8s.io/component-base/version.gitTreeState", "clean"),
    ("k8s.io/component-base/version.gitCommit", "none"),
    ("k8s.io/component-base/version.buildDate", "1970-01-01T00:00:00Z"),
];

pub(super) static MODULES: [Module; 5] = [
    Module {
        name: "pause",
        about: "the pods' first process",
        files: &[
            ("go.mod", include_str!("../../modules/pause/go.mod")),
            ("main.go", include_str!("../../modules/pause/main.go")),
        ],
        package: ".",
        values: &[],
        programs: &["pause"],
        folders: &[],
        extra: None,
    },
    Module {
        name: "kubernetes",
        about: "etcd, the control plane, kubelet, kube-proxy and kubectl; 15 minutes of two cores",
        files: &[
            ("go.mod", include_str!("../../modules/kubernetes/go.mod")),
            ("go.sum", include_str!("../../modules/kubernetes/go.sum")),
            ("main.go", include_str!("../../modules/kubernetes/main.go")),
        ],
        package: ".",
        values: &KUBERNETES_VERSION,
        programs: &[
            "etcd",
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
            "kubelet",
            "kube-proxy",
            "kubectl",
        ],
        folders: &[],
        extra: None,
    },
    Module {
        name: "dns",
        about: "CoreDNS; 1 minute of two cores",
        files: &[
            ("go.mod", include_str!("../../modules/dns/go.mod")),
            ("go.sum", include_str!("../../modules/dns/go.sum")),
            ("main.go", include_str!("../../modules/dns/main.go")),
        ],
        package: ".",
        values: &[],
        programs: &["coredns"],
        folders: &[],
        extra: None,
    },
    Module {
        name: "router",
        about: "kube-router, for network policies; 3 minutes of two cores",
        files: &[
            ("go.mod", include_str!("../../modules/router/go.mod")),
            ("go.sum", include_str!("../../modules/router/go.sum")),
        ],
        package: "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router",
        values: &[],
        programs: &["kube-router"],
        folders: &[],
        extra: None,
    },
    Module {
        name: "cert-manager",
        about: "cert-manager's controllers; 4 minutes of two cores",
        files: &[
            ("go.mod", include_str!("../../modules/cert-manager/go.mod")),
            ("go.sum", include_str!("../../modules/cert-manager/go.sum")),
            ("main.go", include_str!("../../modules/cert-manager/main.go")),
        ],
        package: ".",
        values: &[],
        programs: &["cert-manager"],
        folders: &[ModuleFolder {
            module: "github.com/cert-manager/cert-manager",
            path: "deploy/crds",
            name: CERTIFICATE_KINDS,
        }],
        extra: Some(Extra::CertManager),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cert_manager_is_built_for_those_alone_who_ask_for_it() {
        let names = |extras: &[Extra]| modules_for(extras).map(|module| module.name).collect::<Vec<_>>();
        assert_eq!(names(&[]), ["pause", "kubernetes", "dns", "router"]);
        assert_eq!(names(&[Extra::CertManager]), ["pause", "kubernetes", "dns", "router", "cert-manager"]);
    }
}
