//! The storage engine on RocksDB.
