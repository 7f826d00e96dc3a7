//! The network between all nodes: one namespace that routes everything, so that one table of rules there can cut, lose or delay any pair.

mod delay;
mod fabric;
mod links;

pub use delay::delay_lines;
pub(crate) use delay::{is_running as delay_is_running, set as set_delays, start as start_delay_lines};
pub use fabric::fabric_init;
pub(crate) use fabric::{Fabric, remove_namespace, remove_namespaces};
pub use links::Delay;
pub(crate) use links::{Link, Links};
