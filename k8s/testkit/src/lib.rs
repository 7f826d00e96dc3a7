//! Three real Kubernetes clusters side by side on one Linux machine, in network namespaces: for tests and for development.
//!
//! Layer 3, beside `k8s`; it knows nothing of Holdfast. [`Clusters`] is the whole of it. Each node is a sandbox: a process tree with mounts,
//! processes, cgroups and a network of its own, whose pid 1 is the binary `holdfast-clusters`. All nodes hang on one network namespace, the
//! *fabric*, which routes between pods of all sites, and in which links are cut and delayed.
//!
//! ```text
//!   clusters      up, kill, bring back, cut, delay, freeze, down
//!   plan          names and addresses        config    what each program is told       pki    keys and certificates
//!   network       the fabric, its rules      sandbox   cgroups, mounts, supervision
//!   tools         builds etcd, Kubernetes, CoreDNS and kube-router from pinned Go modules
//!   cert_manager  what an instance with cert-manager has besides its process
//! ```
//!
//! `k8s/testkit/README.md` shows the interface in use, `docs/clusters.md` the command.

mod cert_manager;
mod clusters;
mod command;
mod config;
mod error;
mod network;
mod objects;
mod pki;
mod plan;
mod ready;
pub mod requirements;
mod sandbox;
mod state;
mod tools;

pub use clusters::{Clusters, NodeState};
pub use error::{Error, Result};
pub use network::Delay;
pub use plan::{Node, Options, Site};
pub use tools::{Extra, Tools};

/// The hidden subcommands of `holdfast-clusters`: what runs inside of namespaces.
#[doc(hidden)]
pub mod inside {
    pub use crate::network::{delay_lines, fabric_init};
    pub use crate::sandbox::{node_enter, node_init, node_launch, node_run};
}
