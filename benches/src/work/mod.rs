//! What clients of a measurement do: which operations, on which keys, with which values. Pure; random numbers come from a seed.
//!
//! The load of the demo ([`crate::workload`]) is another thing: it judges what it reads, this measures.

mod keys;
mod mix;
mod operation;

pub use self::keys::{Chooser, Distribution, Population, cuts, interval, key};
pub use self::mix::{Kind, Mix, Preset, Work};
pub use self::operation::{Operation, Operations, Values};
