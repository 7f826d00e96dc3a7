//! The sandbox of one node: cgroups, namespaces, mounts, and a first process that supervises the node's programs.

mod cgroup;
mod images;
mod init;
mod launch;
mod stages;
mod supervise;

pub(crate) use cgroup::{Cgroup, missing as missing_cgroups, names_with_prefix};
pub(crate) use images::{import, name_of};
pub use init::node_init;
pub(crate) use launch::{find_program, start};
pub use launch::{node_enter, node_launch};
pub use supervise::node_run;
