//! Kubeconfigs: one of each component, and one of all sites for people and tests.

use crate::error::Result;
use crate::pki::Pki;
use crate::plan::Site;
use crate::state::{self, State};
use serde::Serialize;
use std::path::{Path, PathBuf};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Kubeconfig {
    api_version: &'static str,
    kind: &'static str,
    clusters: Vec<Named<Server>>,
    users: Vec<Named<User>>,
    contexts: Vec<Named<Context>>,
    #[serde(rename = "current-context")]
    current_context: String,
}

/// An entry of a list: its name, and under a key of the list's own the rest.
#[derive(Serialize)]
struct Named<T> {
    name: String,
    #[serde(flatten)]
    value: T,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum Server {
    Cluster {
        server: String,
        #[serde(rename = "certificate-authority")]
        certificate_authority: PathBuf,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum User {
    User {
        #[serde(rename = "client-certificate")]
        client_certificate: PathBuf,
        #[serde(rename = "client-key")]
        client_key: PathBuf,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum Context {
    Context { cluster: String, user: String },
}

impl Kubeconfig {
    /// A context for each of the sites, named by it; the first one is current.
    fn new(state: &State, sites: &[Site], file: &str) -> Kubeconfig {
        let (mut clusters, mut users, mut contexts) = (Vec::new(), Vec::new(), Vec::new());
        for site in sites {
            let pki = Pki::of(&state.site(site));
            let name = || site.name.clone();
            let server = Server::Cluster { server: site.api_server(), certificate_authority: pki.authority() };
            clusters.push(Named { name: name(), value: server });
            let user = User::User { client_certificate: pki.certificate(file), client_key: pki.key(file) };
            users.push(Named { name: name(), value: user });
            contexts.push(Named { name: name(), value: Context::Context { cluster: name(), user: name() } });
        }
        let current_context = sites.first().map(|site| site.name.clone()).unwrap_or_default();
        Kubeconfig { api_version: "v1", kind: "Config", clusters, users, contexts, current_context }
    }

    fn write(&self, path: &Path) -> Result<()> {
        state::write_json(path, self)
    }
}

/// Writes the kubeconfig of all sites.
pub(crate) fn write_kubeconfigs(state: &State, sites: &[Site]) -> Result<()> {
    Kubeconfig::new(state, sites, "admin").write(&state.kubeconfig())
}

/// Writes what a component of one site finds its API server by, and returns the path.
pub(super) fn write_of(state: &State, site: &Site, user: &str) -> Result<PathBuf> {
    let path = state.site(site).kubeconfig(user);
    Kubeconfig::new(state, std::slice::from_ref(site), user).write(&path)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_site_is_a_context_and_keys_are_named_as_kubectl_reads_them() {
        let sites = [Site::new("east", 1, 1), Site::new("west", 2, 1)];
        let text = serde_json::to_value(Kubeconfig::new(&State::of("x"), &sites, "admin")).unwrap();
        assert_eq!(text["contexts"][1]["name"], "west");
        assert_eq!(text["contexts"][1]["context"]["cluster"], "west");
        assert_eq!(text["clusters"][0]["cluster"]["server"], "https://10.80.1.1:6443");
        assert!(text["users"][0]["user"]["client-key"].as_str().unwrap().ends_with("east/pki/admin.key"));
        assert_eq!(text["current-context"], "east");
        assert_eq!(text["apiVersion"], "v1");
    }
}
