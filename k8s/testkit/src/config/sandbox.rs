//! What the first process of a node does: mounts, programs and their order. Written by `up`, read by `node-init`.

use super::{Context, cni, components, containerd, dns, kubeconfig, kubelet, proxy};
use crate::error::{Error, Result};
use crate::state::{self, make_folder};
use crate::tools::Extra;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;

/// One node's sandbox.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SandboxSpec {
    /// The name of the host in its UTS namespace.
    pub(crate) host_name: String,
    /// Folders that take the place of those of the same name in /var/lib.
    pub(crate) libraries: Vec<PathBuf>,
    /// The folder of logs, a file for each service.
    pub(crate) logs: PathBuf,
    /// Where the API server listens.
    pub(crate) api_server: SocketAddr,
    /// kubectl and a kubeconfig, to ask whether the API server is ready.
    pub(crate) kubectl: Vec<PathBuf>,
    /// containerd's socket.
    pub(crate) containerd_socket: PathBuf,
    /// The folder of image archives, and the one that says which were imported.
    pub(crate) images: PathBuf,
    /// See `NodeFolder::imported`.
    pub(crate) imported: PathBuf,
    /// Written once containerd answers and has the images.
    pub(crate) started_marker: PathBuf,
    /// The programs.
    pub(crate) services: Vec<Service>,
}

/// A program that is started again when it ends.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Service {
    /// The name of its log.
    pub(crate) name: String,
    /// The file.
    pub(crate) program: PathBuf,
    /// Its arguments.
    pub(crate) arguments: Vec<String>,
    /// The user that it runs as, with the right to read and write everything; `None` is root. The machine limits inotify instances for each
    /// user, and root's are for the kubelets.
    pub(crate) user: Option<u32>,
    /// What must have been reached before it starts.
    pub(crate) after: Stage,
}

/// The stages of a node's start, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// At once.
    Begin,
    /// The site's API server answers that it is ready.
    ApiServer,
    /// containerd has the images.
    Images,
}

/// Writes all configuration of a node and returns the path of its sandbox's description.
pub(crate) fn write_node(context: &Context<'_>) -> Result<PathBuf> {
    let Context { state, site, node, .. } = context;
    let folder = state.node(site, node);
    make_folder(&folder.logs())?;
    make_folder(&folder.imported())?;
    make_folder(&state.site(site).zones())?;
    let libraries: Vec<_> = ["kubelet", "containerd", "cni"].map(|name| folder.library(name)).to_vec();
    libraries.iter().try_for_each(|library| make_folder(library))?;
    let spec = SandboxSpec {
        host_name: node.name.clone(),
        libraries,
        logs: folder.logs(),
        api_server: SocketAddr::new(site.nodes[0].address.into(), crate::plan::API_PORT),
        kubectl: vec![context.instance.tools.program("kubectl"), kubeconfig::write_of(state, site, "admin")?],
        containerd_socket: folder.containerd_socket(),
        images: state.images(),
        imported: folder.imported(),
        started_marker: folder.started_marker(),
        services: services(context)?,
    };
    let path = folder.config("sandbox.json");
    state::write_json(&path, &spec)?;
    Ok(path)
}

fn services(context: &Context<'_>) -> Result<Vec<Service>> {
    let Context { state, instance, site, node, .. } = context;
    let folder = state.node(site, node);
    let file = |name: &str, text: &str| -> Result<PathBuf> {
        let path = folder.config(name);
        state::write_file(&path, text)?;
        Ok(path)
    };
    let json = |name: &str, value: serde_json::Value| file(name, &format!("{value:#}"));
    file("resolv.conf", &format!("nameserver {}\n", site.dns_address()))?;
    json("cni/10-pods.conflist", cni::configuration(context))?;
    let toml = toml::to_string(&containerd::configuration(context));
    let toml = toml.map_err(|e| Error::Invalid(format!("containerd's configuration: {e}")))?;
    let mut services = vec![components::containerd(&file("containerd.toml", &toml)?)];
    if node.has_control_plane() {
        services.extend([components::etcd(context), components::api_server(context)]);
        services.extend([components::controllers(context)?, components::scheduler(context)?]);
        if instance.has(Extra::CertManager) {
            services.push(components::cert_manager(context)?);
        }
    }
    services.push(components::kubelet(context, &json("kubelet.json", kubelet::configuration(context))?)?);
    let proxy_user = kubeconfig::write_of(state, site, "proxy")?;
    services.push(components::proxy(context, &json("proxy.json", proxy::configuration(context, &proxy_user))?));
    let others: Vec<_> = instance.sites().into_iter().filter(|other| other.name != site.name).collect();
    let dns_user = kubeconfig::write_of(state, site, "dns")?;
    services.push(components::dns(context, &file("Corefile", &dns::corefile(context, &dns_user, &others))?));
    if instance.policies {
        services.push(components::policies(context)?);
    }
    Ok(services)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::plan::{Instance, Options};
    use crate::state::State;
    use crate::tools::Tools;

    /// Calls with the context of the first node of the first site.
    pub(in crate::config) fn with_context(check: impl FnOnce(&Context<'_>)) {
        with_context_of(&Options::default(), 0, check);
    }

    /// Calls with the context of a node of the first site, whose files lie in a folder that is gone afterwards.
    fn with_context_of(options: &Options, node: usize, check: impl FnOnce(&Context<'_>)) {
        let folder = tempfile::tempdir().unwrap();
        let instance = Instance::new(options, PathBuf::from("/p"), Tools::default()).unwrap();
        let (state, sites) = (State::at(folder.path()), instance.sites());
        check(&Context { state: &state, instance: &instance, site: &sites[0], node: &sites[0].nodes[node] });
    }

    fn cert_manager_of(extras: &[Extra], node: usize, check: impl FnOnce(&Context<'_>, Option<Service>)) {
        let options = Options { nodes: 2, extras: extras.to_vec(), ..Options::default() };
        with_context_of(&options, node, |context| {
            let mut services = services(context).unwrap().into_iter();
            check(context, services.find(|service| service.name == "cert-manager"));
        });
    }

    #[test]
    fn cert_manager_runs_once_in_a_site_and_only_when_it_is_asked_for() {
        cert_manager_of(&[], 0, |_, service| assert!(service.is_none()));
        cert_manager_of(&[Extra::CertManager], 0, |_, service| assert!(service.is_some()));
        cert_manager_of(&[Extra::CertManager], 1, |_, service| assert!(service.is_none()));
    }

    #[test]
    fn cert_manager_comes_after_the_api_server_as_a_user_of_its_own() {
        cert_manager_of(&[Extra::CertManager], 0, |context, service| {
            let service = service.unwrap();
            let kubeconfig = context.state.site(context.site).kubeconfig("cert-manager");
            let option = format!("--kubeconfig={}", kubeconfig.display());
            assert_eq!(service.arguments, [option.as_str(), "--cluster-resource-namespace=cert-manager"]);
            assert_eq!((service.after, service.user), (Stage::ApiServer, Some(64_101)));
            let read: serde_json::Value = state::read_json(&kubeconfig).unwrap();
            let certificate = read["users"][0]["user"]["client-certificate"].as_str().unwrap();
            assert!(certificate.ends_with("east/pki/cert-manager.crt"), "{certificate}");
        });
    }
}
