//! The types of `fleet.yaml`. Their doc comments are the descriptions in the JSON schema.
//!
//! A site may differ from the fleet in what [`Overrides`] names, and in nothing else: that no site is less secure than another is so by
//! type, because security has no field there.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::net::IpAddr;
use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::Deserialize;

use super::amounts::{Cidr, Lifetime, Quantity};

/// The version of the file that this program reads.
pub const API_VERSION: &str = "holdfast.dev/v1";
/// The kind of the file.
pub const KIND: &str = "Fleet";

/// One Holdfast deployment over all of its sites
#[derive(Deserialize, JsonSchema, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Fleet {
    /// Version of this format
    pub api_version: ApiVersion,
    /// What the file describes
    pub kind: Kind,
    /// Name of the fleet: part of the name of every object. a-z, 0-9 and '-'
    pub name: String,
    /// The image of the program, by digest: REPOSITORY@sha256:...
    pub image: String,
    /// Namespace in every site, which belongs to the fleet alone
    #[serde(default = "default_namespace")]
    pub namespace: String,
    /// Ports of every store
    #[serde(default)]
    pub ports: Ports,
    /// What data survives, unless its keyspace says otherwise
    #[serde(default)]
    pub policy: Policy,
    /// Stores in each site
    #[serde(default = "default_stores")]
    pub stores: NonZeroU32,
    /// How stores of different sites reach each other
    #[serde(default)]
    pub connectivity: Connectivity,
    /// The disk of each store
    pub storage: Storage,
    /// What each store may use, all of it reserved
    pub resources: Resources,
    /// What the fleet is meant to hold and to do, so that it can be checked that it still can with one site lost
    pub expected: Option<Expected>,
    /// Value of the PriorityClass of the stores
    #[serde(default = "default_priority")]
    pub priority: u32,
    /// How stores and clients prove who they are: {mode: cert-manager, ...}, {mode: secret, ...}, or {mode: insecure} if whoever reaches a port may do all
    pub trust: Trust,
    /// The Secret with the shared secret of the fleet: a store joins only with the same one
    pub fleet_token: Option<SecretKey>,
    /// Where backups go
    pub backup: Option<Backup>,
    /// Objects for Prometheus and Grafana
    #[serde(default)]
    pub observability: Observability,
    /// The Kubernetes clusters, each one site
    #[schemars(length(min = 1))]
    pub sites: Vec<Site>,
}

/// Version of the format
#[derive(Deserialize, JsonSchema, Clone, Copy, PartialEq, Eq, Debug)]
pub enum ApiVersion {
    /// The first
    #[serde(rename = "holdfast.dev/v1")]
    V1,
}

/// Kind of the file
#[derive(Deserialize, JsonSchema, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A fleet
    Fleet,
}

/// Ports of every store
#[derive(Deserialize, JsonSchema, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct Ports {
    /// Clients, and stores that join (gRPC)
    pub clients: u16,
    /// Other stores: streams here, heartbeats on the next port
    pub stores: u16,
    /// Probes, and metrics where nothing is encrypted
    pub http: u16,
    /// Metrics for Prometheus, by TLS
    pub metrics: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self { clients: 7300, stores: 7400, http: 7500, metrics: 7600 }
    }
}

impl Ports {
    /// Support heartbeats between stores: the port after the one for streams.
    #[must_use]
    pub fn heartbeats(self) -> u16 {
        self.stores.saturating_add(1)
    }
}

/// What data survives, unless its keyspace says otherwise
#[derive(Deserialize, JsonSchema, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct Policy {
    /// What a range survives the loss of
    pub survive: Survive,
    /// Copies of each range; odd
    pub replicas: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self { survive: Survive::Site, replicas: 3 }
    }
}

/// What a range survives the loss of
#[derive(Deserialize, JsonSchema, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "camelCase")]
pub enum Survive {
    /// Any one site: never two copies in one
    Site,
    /// Any one store
    Store,
}

/// How stores of different sites reach each other
#[derive(Deserialize, JsonSchema, Clone, PartialEq, Eq, Debug, Default)]
#[serde(tag = "mode", deny_unknown_fields, rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Connectivity {
    /// Pods of all sites route to each other; the addresses of the others are mirrored into each site
    #[default]
    FlatMirror,
    /// Pods of all sites route to each other; the DNS of each site forwards the domains of the others
    FlatDns,
    /// Cilium ClusterMesh: Services of the same name are one over all sites
    CiliumGlobal,
    /// The MCS API, by Submariner, Cilium or GKE: exported Services
    Mcs {
        /// The version that the sites' implementation serves
        #[serde(default)]
        api_version: McsVersion,
    },
    /// Calico: pod networks announced to each other by BGP; addresses mirrored as in flat-mirror
    CalicoBgp,
    /// Skupper v2: links over one TLS port, no flat network
    Skupper,
    /// Istio multi-primary: Services of the same name are one over all sites
    Istio,
    /// A load balancer for each pod, with a name in a DNS zone that external-dns writes
    Loadbalancer {
        /// The zone below which each pod gets its name
        zone: String,
        /// Networks that the other sites' connections come from
        source_cidrs: Vec<Cidr>,
        /// Annotations for every such Service, such as the cloud's for an internal load balancer
        #[serde(default)]
        annotations: std::collections::BTreeMap<String, String>,
    },
}

/// The version of the MCS API
#[derive(Deserialize, JsonSchema, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum McsVersion {
    /// Submariner, and Cilium before it serves the next
    #[default]
    #[serde(rename = "multicluster.x-k8s.io/v1alpha1")]
    V1Alpha1,
    /// mcs-api 0.5 and later
    #[serde(rename = "multicluster.x-k8s.io/v1beta1")]
    V1Beta1,
    /// GKE
    #[serde(rename = "net.gke.io/v1")]
    Gke,
}

/// The disk of each store
#[derive(Deserialize, JsonSchema, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Storage {
    /// StorageClass; without one that of the site
    pub class: Option<String>,
    /// Size of the volume: 200Gi
    pub size: Quantity,
}

/// What each store may use, all of it reserved
#[derive(Deserialize, JsonSchema, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Resources {
    /// Processors: 4
    pub cpu: Quantity,
    /// Memory: 16Gi
    pub memory: Quantity,
    /// Disk of the machine itself, for logs of the container: 1Gi
    #[serde(default = "default_ephemeral_storage")]
    pub ephemeral_storage: Quantity,
}

/// What the fleet is meant to hold and to do
#[derive(Deserialize, JsonSchema, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Expected {
    /// Data of all keyspaces, each byte counted once
    pub data: Option<Quantity>,
    /// Processors busy in the whole fleet at the peak
    pub cpu: Option<Quantity>,
}

/// How stores and clients prove who they are
#[derive(Deserialize, JsonSchema, Clone, PartialEq, Eq, Debug)]
#[serde(tag = "mode", deny_unknown_fields, rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Trust {
    /// Not at all, and nothing is encrypted: whoever reaches a port owns the fleet
    Insecure,
    /// By certificates that lie in a Secret of each site, under the keys of cert-manager: tls.crt, tls.key, ca.crt
    Secret {
        /// The trust domain in every identity: spiffe://DOMAIN/...
        domain: String,
        /// Name of the Secret in every site; without one FLEET-SITE-tls
        secret: Option<String>,
        /// Where the roots come from, if not from the Secret
        bundle: Option<Bundle>,
    },
    /// By certificates that cert-manager issues in each site
    CertManager {
        /// The trust domain in every identity: spiffe://DOMAIN/...
        domain: String,
        /// What issues the stores' certificates in each site
        issuer: Issuer,
        /// How long a certificate is valid: 30d
        #[serde(default = "default_duration")]
        duration: Lifetime,
        /// How long before its end it is replaced; without a value at a third of its life
        renew_before: Option<Lifetime>,
        /// Where the roots come from, if not from the Secret that cert-manager writes
        bundle: Option<Bundle>,
    },
}

/// A ConfigMap with the roots that are trusted, in every site, as trust-manager writes it
#[derive(Deserialize, JsonSchema, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Bundle {
    /// Its name
    pub config_map: String,
    /// The key in it
    #[serde(default = "default_bundle_key")]
    pub key: String,
}

/// What issues the stores' certificates, of cert-manager
#[derive(Deserialize, JsonSchema, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Issuer {
    /// Its kind
    pub kind: IssuerKind,
    /// Its name
    pub name: String,
}

/// Kind of an issuer
#[derive(Deserialize, JsonSchema, Clone, Copy, PartialEq, Eq, Debug)]
pub enum IssuerKind {
    /// In the namespace of the fleet
    Issuer,
    /// For the whole Kubernetes cluster
    #[serde(rename = "ClusterIssuer")]
    Everywhere,
}

/// A key of a Secret, in every site
#[derive(Deserialize, JsonSchema, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SecretKey {
    /// Name of the Secret
    pub secret: String,
    /// The key in it
    #[serde(default = "default_secret_key")]
    pub key: String,
}

/// Where backups go
#[derive(Deserialize, JsonSchema, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Backup {
    /// URL of the target
    pub target: String,
    /// The failure domain that the target lies in; none of the sites' own
    pub failure_domain: String,
}

/// Objects for Prometheus and Grafana
#[derive(Deserialize, JsonSchema, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct Observability {
    /// A ServiceMonitor for the Prometheus operator
    pub service_monitor: bool,
    /// A PrometheusRule with the alerts
    pub rules: bool,
    /// A ConfigMap with a Grafana dashboard
    pub dashboard: bool,
    /// The namespace that Prometheus runs in: it alone may read the metrics
    pub namespace: String,
    /// The Secret with the certificate that Prometheus shows the stores, under tls.crt, tls.key and ca.crt
    pub certificate: Option<String>,
}

impl Default for Observability {
    fn default() -> Self {
        let namespace = "monitoring".to_owned();
        Self { service_monitor: false, rules: false, dashboard: false, namespace, certificate: None }
    }
}

/// One Kubernetes cluster
#[derive(Deserialize, JsonSchema, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Site {
    /// Name of the site: the label of its stores. a-z, 0-9 and '-'
    pub name: String,
    /// Context in the kubeconfig
    pub context: String,
    /// UID of its kube-system namespace, by which it is known: kubectl get namespace kube-system -o jsonpath={.metadata.uid}
    pub uid: String,
    /// Where it is, as its provider calls it
    pub region: Option<String>,
    /// Zones that its machines are in
    #[serde(default)]
    pub zones: Vec<String>,
    /// Its DNS domain
    #[serde(default = "default_domain")]
    pub domain: String,
    /// Addresses of its DNS that the other sites reach, for mode flat-dns
    #[serde(default)]
    pub dns: Vec<IpAddr>,
    /// Networks of its pods
    #[schemars(length(min = 1))]
    pub pod_cidrs: Vec<Cidr>,
    /// In what it differs from the fleet
    #[serde(default)]
    pub overrides: Overrides,
}

/// In what a site may differ from the fleet
#[derive(Deserialize, JsonSchema, Clone, PartialEq, Eq, Debug, Default)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Overrides {
    /// Stores in this site
    pub stores: Option<NonZeroU32>,
    /// The disk of each of its stores
    #[serde(default)]
    pub storage: StorageOverrides,
    /// What each of its stores may use
    #[serde(default)]
    pub resources: ResourcesOverrides,
}

/// The disk of each store of a site
#[derive(Deserialize, JsonSchema, Clone, PartialEq, Eq, Debug, Default)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct StorageOverrides {
    /// StorageClass
    pub class: Option<String>,
    /// Size of the volume
    pub size: Option<Quantity>,
}

/// What each store of a site may use
#[derive(Deserialize, JsonSchema, Clone, PartialEq, Eq, Debug, Default)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ResourcesOverrides {
    /// Processors
    pub cpu: Option<Quantity>,
    /// Memory
    pub memory: Option<Quantity>,
    /// Disk of the machine itself
    pub ephemeral_storage: Option<Quantity>,
}

/// A site with what it overrides and what it takes from the fleet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shape {
    /// Stores.
    pub stores: u32,
    /// The disk of each.
    pub storage: Storage,
    /// What each may use.
    pub resources: Resources,
}

impl Trust {
    /// False where nothing is encrypted.
    #[must_use]
    pub fn is_in_force(&self) -> bool {
        *self != Self::Insecure
    }

    /// Where the roots come from, if not from the Secrets.
    #[must_use]
    pub fn bundle(&self) -> Option<&Bundle> {
        match self {
            Self::Insecure => None,
            Self::Secret { bundle, .. } | Self::CertManager { bundle, .. } => bundle.as_ref(),
        }
    }

    /// The trust domain; `None` where nothing is encrypted.
    #[must_use]
    pub fn domain(&self) -> Option<&str> {
        match self {
            Self::Insecure => None,
            Self::Secret { domain, .. } | Self::CertManager { domain, .. } => Some(domain),
        }
    }
}

impl Fleet {
    /// Whether the addresses of other sites' stores are written into each site (`holdfast fleet sync`).
    #[must_use]
    pub fn is_mirrored(&self) -> bool {
        matches!(self.connectivity, Connectivity::FlatMirror | Connectivity::CalicoBgp)
    }

    /// What a site consists of.
    #[must_use]
    pub fn shape(&self, site: &Site) -> Shape {
        let Overrides { stores, storage, resources } = &site.overrides;
        let or = |own: &Option<Quantity>, fleets: &Quantity| own.clone().unwrap_or_else(|| fleets.clone());
        Shape {
            stores: stores.unwrap_or(self.stores).get(),
            storage: Storage {
                class: storage.class.clone().or_else(|| self.storage.class.clone()),
                size: or(&storage.size, &self.storage.size),
            },
            resources: Resources {
                cpu: or(&resources.cpu, &self.resources.cpu),
                memory: or(&resources.memory, &self.resources.memory),
                ephemeral_storage: or(&resources.ephemeral_storage, &self.resources.ephemeral_storage),
            },
        }
    }
}

fn default_namespace() -> String {
    "holdfast".to_owned()
}

fn default_stores() -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(2)
}

/// Below a thousand million, where Kubernetes' own begin.
fn default_priority() -> u32 {
    900_000_000
}

fn default_ephemeral_storage() -> Quantity {
    Quantity::new("1Gi")
}

fn default_secret_key() -> String {
    "token".to_owned()
}

/// Long enough that an issuer may be away over a holiday, short enough that a stolen key is worth little.
fn default_duration() -> Lifetime {
    Lifetime::new("30d")
}

fn default_bundle_key() -> String {
    "ca.crt".to_owned()
}

fn default_domain() -> String {
    "cluster.local".to_owned()
}
