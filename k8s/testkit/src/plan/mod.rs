//! What an instance consists of: names and addresses. Pure.

mod instance;
mod site;

pub use instance::Options;
pub(crate) use instance::{Instance, unknown_site, validate_instance_name};
pub use site::{Node, Site};

/// The fabric's address on every link to a node.
pub(crate) const GATEWAY: &str = "10.80.0.1";
/// Everything that addresses of any site come from; what is not there is dropped silently.
pub(crate) const ALL_ADDRESSES: &str = "10.80.0.0/12";
/// The port of every API server.
pub(crate) const API_PORT: u16 = 6443;
