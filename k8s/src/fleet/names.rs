//! Names and addresses that follow from the file.
//!
//! A StatefulSet is called `FLEET-SITE`, so that no two pods of the fleet have the same name, whichever Kubernetes cluster they are
//! in: meshes copy host names from one to the other as they are. Each pod has a Service of its own name, in every site; that shape works in
//! every mode. A store tells all others *one* address, so the address of a mode must lead to it from its own site too.

use super::model::{Connectivity, Fleet, Site, Trust};

/// How many stores of each site a new store asks to join by: the second is for when the first is away.
const JOIN_BY: u32 = 2;

/// The number of a pod in its StatefulSet, from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Ordinal(pub u32);

impl Fleet {
    /// Name of the StatefulSet of a site and of its headless Service.
    #[must_use]
    pub fn set_name(&self, site: &Site) -> String {
        format!("{}-{}", self.name, site.name)
    }

    /// Name of the Secret with the certificate of a site's stores, their key and the roots.
    #[must_use]
    pub fn certificate_name(&self, site: &Site) -> String {
        match &self.trust {
            Trust::Secret { secret: Some(secret), .. } => secret.clone(),
            _ => format!("{}-tls", self.set_name(site)),
        }
    }

    /// What the certificate of a site's stores says that they are; `None` where nothing is encrypted.
    #[must_use]
    pub fn identity(&self, site: &Site) -> Option<String> {
        self.trust.domain().map(|domain| format!("spiffe://{domain}/site/{}/store", site.name))
    }

    /// The name in DNS that the same certificate has, for those who compare names, such as Prometheus. Nothing needs to resolve it.
    #[must_use]
    pub fn certified_host(&self, site: &Site) -> Option<String> {
        self.trust.domain().map(|domain| format!("{}.{domain}", site.name))
    }

    /// The numbers of the pods of a site.
    pub fn ordinals(&self, site: &Site) -> impl Iterator<Item = Ordinal> + use<> {
        (0..self.shape(site).stores).map(Ordinal)
    }

    /// Name of a pod, and of the Service that leads to it.
    #[must_use]
    pub fn pod_name(&self, site: &Site, ordinal: Ordinal) -> String {
        format!("{}-{}", self.set_name(site), ordinal.0)
    }

    /// The name that every store of the fleet, and every client, reaches a store by.
    #[must_use]
    pub fn host(&self, site: &Site, ordinal: Ordinal) -> String {
        self.host_of(site, &self.pod_name(site, ordinal))
    }

    /// The same with whatever stands for the name of the pod, such as a variable of its environment.
    #[must_use]
    pub fn host_of(&self, site: &Site, pod: &str) -> String {
        let namespace = &self.namespace;
        match &self.connectivity {
            Connectivity::FlatDns => format!("{pod}.{}.{namespace}.svc.{}", self.set_name(site), site.domain),
            Connectivity::Mcs { .. } => {
                format!("{pod}.{}.{}.{namespace}.svc.clusterset.local", site.name, self.set_name(site))
            }
            Connectivity::Loadbalancer { zone, .. } => format!("{pod}.{zone}"),
            // Without the domain of the site: its resolvers add their own, so one text works in all.
            Connectivity::FlatMirror
            | Connectivity::CiliumGlobal
            | Connectivity::CalicoBgp
            | Connectivity::Skupper
            | Connectivity::Istio => format!("{pod}.{namespace}.svc"),
        }
    }

    /// Client addresses that a new store asks to join by: some of every site, so that any site may be away.
    #[must_use]
    pub fn join_addresses(&self) -> Vec<String> {
        let of_site = |site| {
            let first = self.ordinals(site).filter(|ordinal| ordinal.0 < JOIN_BY);
            first.map(move |ordinal| format!("{}:{}", self.host(site, ordinal), self.ports.clients)).collect::<Vec<_>>()
        };
        self.sites.iter().flat_map(of_site).collect()
    }

    /// Every pod of every site but one.
    pub fn remote_pods<'a>(&'a self, own: &'a Site) -> impl Iterator<Item = (&'a Site, Ordinal)> {
        let others = self.sites.iter().filter(|site| site.name != own.name);
        others.flat_map(|site| self.ordinals(site).map(move |ordinal| (site, ordinal)))
    }
}
