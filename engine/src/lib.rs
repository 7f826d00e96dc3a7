//! Storage of one store: the raft log instance and the range data instance behind one contract. Layer 1.
//!
//! ```text
//!   contract   traits, operations, faults
//!      |   spans     where each log begins and ends, checked before a write     \
//!      |   manifest  bytes of a snapshot's manifest                              | shared by
//!      |   read      gets and scans over a cursor of versions                   /  both twins
//!      |   layout      bytes of keys and values of the data instance            \
//!      |   log_layout  bytes of keys and values of the log instance              | what lies on a real disk,
//!      |   wal         bytes of the files of its write-ahead log                 | read without one
//!      |   format      the file that says which version wrote all of it         /
//!      |   hostile   feeds all of these with whatever a disk may hold
//!      +-- memory    the in-memory twin: loses unsynced writes, tears, lies, fails, corrupts, fills up
//!      +-- rocks     (feature `rocksdb`) the real thing
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod contract;
#[cfg_attr(not(feature = "rocksdb"), allow(dead_code, reason = "only RocksDB writes the file"))]
mod format;
pub mod hostile;
#[cfg_attr(not(feature = "rocksdb"), allow(dead_code, reason = "only RocksDB needs the spans of raw keys"))]
mod layout;
#[cfg_attr(not(feature = "rocksdb"), allow(dead_code, reason = "only RocksDB needs single keys"))]
mod log_layout;
pub mod manifest;
pub mod memory;
mod read;
#[cfg(feature = "rocksdb")]
pub mod rocks;
mod spans;
#[cfg_attr(not(feature = "rocksdb"), allow(dead_code, reason = "only RocksDB cuts a torn write off"))]
mod wal;

pub use contract::*;
