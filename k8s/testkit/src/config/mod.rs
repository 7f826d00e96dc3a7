//! What the programs of a node are told: files of configuration, arguments, and the order in which they start. Pure, but for `write`.

mod cni;
mod components;
mod containerd;
mod dns;
mod kubeconfig;
mod kubelet;
mod proxy;
mod sandbox;

pub(crate) use containerd::CNI_PLUGINS;
pub(crate) use kubeconfig::write_kubeconfigs;
pub(crate) use sandbox::{SandboxSpec, Service, Stage, write_node};

use crate::plan::{Instance, Node, Site};
use crate::state::State;

/// Everything that a node's configuration follows from.
pub(crate) struct Context<'a> {
    pub(crate) state: &'a State,
    pub(crate) instance: &'a Instance,
    pub(crate) site: &'a Site,
    pub(crate) node: &'a Node,
}
