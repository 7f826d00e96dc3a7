//! The contract of the storage of a store, over both twins. A test is a function of a [`twin::Twin`]; `both!` runs it over the
//! in-memory twin and, with feature `rocksdb`, over RocksDB.

#![allow(clippy::unwrap_used)]
#![allow(clippy::cast_possible_truncation, reason = "small numbers, on machines of 64 bits")]

/// Runs each function over both twins.
macro_rules! both {
    ($($name:ident),* $(,)?) => {
        mod memory {
            $(#[test] fn $name() { super::$name(&mut crate::twin::MemoryTwin::new()); })*
        }
        #[cfg(feature = "rocksdb")]
        mod rocks {
            $(#[test] fn $name() { super::$name(&mut crate::rocks_twin::RocksTwin::new()); })*
        }
    };
}

mod build;
mod crash;
mod data;
mod gc;
mod log;
mod memory_faults;
mod model_data;
mod model_log;
mod scan;
mod snapshot;
mod twin;

#[cfg(feature = "rocksdb")]
mod rocks_files;
#[cfg(feature = "rocksdb")]
mod rocks_twin;
