//! Storage of one store: the raft log instance and the range data instance behind one contract. Layer 1.
//!
//! - [`contract`]: the traits, operations and faults
//! - `memory`: the in-memory twin, which can lose unsynced writes, tear them, fail, stall, corrupt and fill up
//! - `rocks` (feature `rocksdb`): the real thing

pub mod contract;

pub use contract::*;
