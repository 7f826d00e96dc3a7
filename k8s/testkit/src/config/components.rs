//! The arguments of each program of a node.

use super::Context;
use super::kubeconfig::write_of;
use super::sandbox::{Service, Stage};
use crate::cert_manager;
use crate::error::Result;
use crate::pki::Pki;
use crate::plan::API_PORT;
use std::fmt::Display;
use std::path::Path;

/// With a site's number, the user of its control plane: free on Debian, whose packages' users end at 59999.
const CONTROL_PLANE_USERS: u32 = 64_100;

/// A long option with its value.
fn option(name: &str, value: impl Display) -> String {
    format!("--{name}={value}")
}

/// An option that is a path.
fn path(name: &str, value: &Path) -> String {
    option(name, value.display())
}

pub(super) fn etcd(context: &Context<'_>) -> Service {
    let client = "http://127.0.0.1:2379";
    let others = "http://127.0.0.1:2380";
    let arguments = vec![
        option("name", "etcd"),
        path("data-dir", &context.state.site(context.site).etcd()),
        option("listen-client-urls", client),
        option("advertise-client-urls", client),
        option("listen-peer-urls", others),
        option("initial-advertise-peer-urls", others),
        option("initial-cluster", format!("etcd={others}")),
        // What is killed here are processes, never the machine.
        "--unsafe-no-fsync".to_owned(),
        option("log-level", "warn"),
    ];
    context.control_plane(Stage::Begin, "etcd", arguments)
}

pub(super) fn api_server(context: &Context<'_>) -> Service {
    let Context { state, site, node, .. } = context;
    let pki = Pki::of(&state.site(site));
    let arguments = vec![
        option("etcd-servers", "http://127.0.0.1:2379"),
        option("bind-address", "0.0.0.0"),
        option("advertise-address", node.address),
        option("secure-port", API_PORT),
        path("cert-dir", &state.node(site, node).config("api-server")),
        path("tls-cert-file", &pki.certificate("apiserver")),
        path("tls-private-key-file", &pki.key("apiserver")),
        path("client-ca-file", &pki.authority()),
        path("kubelet-client-certificate", &pki.certificate("kubelet-client")),
        path("kubelet-client-key", &pki.key("kubelet-client")),
        path("kubelet-certificate-authority", &pki.authority()),
        option("kubelet-preferred-address-types", "InternalIP"),
        option("service-cluster-ip-range", site.service_cidr()),
        option("authorization-mode", "Node,RBAC"),
        option("enable-admission-plugins", "NodeRestriction"),
        option("allow-privileged", true),
        option("service-account-issuer", format_args!("https://kubernetes.default.svc.{}", site.domain())),
        path("service-account-key-file", &pki.service_account_public_key()),
        path("service-account-signing-key-file", &pki.key("service-accounts")),
    ];
    context.control_plane(Stage::Begin, "kube-apiserver", arguments)
}

/// The options by which a program of the control plane finds the API server and trusts its callers.
fn connection(kubeconfig: &Path) -> Vec<String> {
    let names = ["kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"];
    let mut arguments: Vec<_> = names.iter().map(|name| path(name, kubeconfig)).collect();
    arguments.push(option("leader-elect", false));
    arguments.push(option("bind-address", "127.0.0.1"));
    arguments
}

pub(super) fn controllers(context: &Context<'_>) -> Result<Service> {
    let Context { state, site, node, .. } = context;
    let pki = Pki::of(&state.site(site));
    let mut arguments = connection(&write_of(state, site, "controllers")?);
    arguments.extend([
        path("cert-dir", &state.node(site, node).config("controllers")),
        // It would make the default one on the machine.
        path("flex-volume-plugin-dir", &state.node(site, node).library("kubelet").join("volume-plugins")),
        option("use-service-account-credentials", true),
        path("service-account-private-key-file", &pki.key("service-accounts")),
        path("root-ca-file", &pki.authority()),
        path("cluster-signing-cert-file", &pki.authority()),
        path("cluster-signing-key-file", &pki.key("ca")),
        // Half of the defaults: tests wait for lost nodes to be noticed.
        option("node-monitor-grace-period", "20s"),
        option("node-monitor-period", "2s"),
    ]);
    Ok(context.control_plane(Stage::ApiServer, "kube-controller-manager", arguments))
}

pub(super) fn scheduler(context: &Context<'_>) -> Result<Service> {
    let Context { state, site, node, .. } = context;
    let mut arguments = connection(&write_of(state, site, "scheduler")?);
    arguments.push(path("cert-dir", &state.node(site, node).config("scheduler")));
    Ok(context.control_plane(Stage::ApiServer, "kube-scheduler", arguments))
}

pub(super) fn cert_manager(context: &Context<'_>) -> Result<Service> {
    let Context { state, site, .. } = context;
    let arguments = vec![
        path("kubeconfig", &write_of(state, site, cert_manager::USER)?),
        option("cluster-resource-namespace", cert_manager::NAMESPACE),
    ];
    Ok(context.control_plane(Stage::ApiServer, "cert-manager", arguments))
}

pub(super) fn containerd(configuration: &Path) -> Service {
    let program = Path::new("/usr/bin/containerd").to_owned();
    let arguments = vec!["--config".to_owned(), configuration.display().to_string()];
    Service { name: "containerd".to_owned(), program, arguments, user: None, after: Stage::Begin }
}

pub(super) fn kubelet(context: &Context<'_>, configuration: &Path) -> Result<Service> {
    let Context { state, site, node, .. } = context;
    let region = format!("topology.kubernetes.io/region={}", site.name);
    let zone = format!("topology.kubernetes.io/zone={}", node.zone);
    let arguments = vec![
        path("config", configuration),
        path("kubeconfig", &write_of(state, site, &Pki::node_user(node))?),
        option("hostname-override", &node.name),
        option("node-ip", node.address),
        path("cert-dir", &state.node(site, node).config("kubelet")),
        option("node-labels", format_args!("{region},{zone}")),
    ];
    Ok(context.tool(Stage::Images, "kubelet", arguments))
}

pub(super) fn proxy(context: &Context<'_>, configuration: &Path) -> Service {
    context.tool(Stage::Images, "kube-proxy", vec![path("config", configuration)])
}

pub(super) fn dns(context: &Context<'_>, corefile: &Path) -> Service {
    let arguments = vec!["-conf".to_owned(), corefile.display().to_string()];
    context.tool(Stage::Images, "coredns", arguments)
}

pub(super) fn policies(context: &Context<'_>) -> Result<Service> {
    let Context { state, site, node, .. } = context;
    let arguments = vec![
        path("kubeconfig", &write_of(state, site, "policies")?),
        option("hostname-override", &node.name),
        option("run-router", false),
        option("run-service-proxy", false),
        option("run-firewall", true),
        option("service-cluster-ip-range", site.service_cidr()),
        option("health-port", 0),
        option("iptables-sync-period", "1m"),
    ];
    Ok(context.tool(Stage::Images, "kube-router", arguments))
}

impl Context<'_> {
    fn tool(&self, after: Stage, name: &str, arguments: Vec<String>) -> Service {
        Service { name: name.to_owned(), program: self.instance.tools.program(name), arguments, user: None, after }
    }

    /// A program of the control plane, which has a user of its own.
    fn control_plane(&self, after: Stage, name: &str, arguments: Vec<String>) -> Service {
        Service { user: Some(CONTROL_PLANE_USERS + u32::from(self.site.number)), ..self.tool(after, name, arguments) }
    }
}
