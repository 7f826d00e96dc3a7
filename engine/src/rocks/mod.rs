//! Both instances of a store on RocksDB.
//!
//! ```text
//! DIR/LOCK              held by the process that has the store open
//! DIR/FORMAT            format version of everything below
//! DIR/RESERVE           disk space that is given up when the store cannot be opened without
//! DIR/log/              log instance: write-ahead log, every batch synced
//! DIR/data/             data instance: no write-ahead log, one column family
//! DIR/snapshots/        built-ID: being sent; staged-ID: being received
//! ```
//!
//! - `open`: the directory, its lock and format, the options of both instances
//! - `reserve`: disk space for the worst moment
//! - `wal_check`: damage or torn tail, before RocksDB looks at the write-ahead log and stays silent
//! - `log`: the log instance
//! - `data`, `view`: the data instance, and consistent views of it
//! - `gc`: the compaction filter that drops shadowed versions
//! - `snapshot`: sorted files, built, staged, verified and ingested

mod data;
mod files;
mod gc;
mod log;
mod open;
mod reserve;
mod snapshot;
mod view;
mod wal_check;

pub use data::RocksData;
pub use log::RocksLog;
pub use open::{RocksStore, open, open_store};

use crate::contract::Fault;

/// What RocksDB says, as a fault.
fn fault(doing: &str, error: &rocksdb::Error) -> Fault {
    let detail = error.to_string();
    let doing = doing.to_owned();
    match error.kind() {
        rocksdb::ErrorKind::Corruption => Fault::Damage { doing, detail },
        _ if detail.contains("No space left") || detail.contains("Disk quota exceeded") => Fault::Full(doing),
        _ => Fault::Io { doing, detail },
    }
}
