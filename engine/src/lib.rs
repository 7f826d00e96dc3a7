//! Storage of one store: the raft log instance and the range data instance behind one contract. Layer 1.
//!
//! ```text
//!   contract   traits, operations, faults
//!      |   spans     where each log begins and ends, checked before a write     \
//!      |   layout    bytes of keys and values of the data instance               | shared by
//!      |   manifest  bytes of a snapshot's manifest                              | both twins
//!      |   read      gets and scans over a cursor of versions                   /
//!      +-- memory    the in-memory twin: loses unsynced writes, tears, lies, fails, corrupts, fills up
//!      +-- rocks     (feature `rocksdb`) the real thing
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod contract;
#[cfg_attr(not(feature = "rocksdb"), allow(dead_code, reason = "only RocksDB needs the spans of raw keys"))]
mod layout;
pub mod manifest;
pub mod memory;
mod read;
#[cfg(feature = "rocksdb")]
pub mod rocks;
mod spans;

pub use contract::*;
