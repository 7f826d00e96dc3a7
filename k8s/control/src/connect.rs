//! From the fleet file and a kubeconfig to the API server of each site.

use std::path::Path;
use std::time::Duration;

use holdfast_k8s::Fleet;
use holdfast_k8s::fleet::Site;
use kube::config::KubeConfigOptions;
pub use kube::config::Kubeconfig;
use kube::{Client, Config};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::failure::Failure;
use crate::link::Link;

/// How long the control plane waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// For one answer of an API server.
    pub call: Duration,
    /// For all looks at one site together.
    pub site: Duration,
    /// For a gate to open.
    pub gate: Duration,
    /// Between two looks at what is awaited.
    pub poll: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // An API server that is this slow is as good as gone.
            call: Duration::from_secs(10),
            site: Duration::from_secs(60),
            // A store that opens a large log is given half an hour by its probe; most are there within one minute.
            gate: Duration::from_secs(15 * 60),
            poll: Duration::from_secs(2),
        }
    }
}

/// A site, and the way to it or why there is none.
pub struct Reach {
    /// The site.
    pub site: Site,
    /// How it is reached.
    pub link: Result<Link, Failure>,
}

/// Reads the kubeconfig: the file, or what `KUBECONFIG` or the home directory have.
pub fn kubeconfig(file: Option<&Path>) -> Result<Kubeconfig, Failure> {
    let read = file.map_or_else(Kubeconfig::read, Kubeconfig::read_from);
    read.map_err(|error| Failure::Kubeconfig(error.to_string()))
}

/// Makes a client for each site of the fleet, all at once. Asks no API server yet: what is wrong with one context is told for that site alone.
pub async fn reach(fleet: &Fleet, kubeconfig: &Kubeconfig, limits: &Limits) -> Vec<Reach> {
    let sites = fleet.sites.iter().map(|site| async move {
        let late = || Failure::TimedOut { what: format!("credentials for {}", site.context), after: limits.call };
        let link = timeout(limits.call, link(site, kubeconfig, limits)).await.unwrap_or_else(|_| Err(late()));
        Reach { site: site.clone(), link }
    });
    futures::future::join_all(sites).await
}

async fn link(site: &Site, kubeconfig: &Kubeconfig, limits: &Limits) -> Result<Link, Failure> {
    let context = &site.context;
    if !kubeconfig.contexts.iter().any(|known| known.name == *context) {
        return Err(Failure::NoContext(context.clone()));
    }
    let unusable = |why: String| Failure::Context { context: context.clone(), why };
    let options = KubeConfigOptions { context: Some(context.clone()), ..KubeConfigOptions::default() };
    let config = Config::from_custom_kubeconfig(kubeconfig.clone(), &options).await;
    let mut config = config.map_err(|error| unusable(error.to_string()))?;
    config.connect_timeout = Some(limits.call);
    // A context may name a program that gets the credentials. It is waited for here, and not by those of other sites.
    let client = spawn_blocking(|| Client::try_from(config)).await.map_err(|error| unusable(error.to_string()))?;
    let client = client.map_err(|error| unusable(error.to_string()))?;
    Ok(Link::new(site, client, limits.call))
}
