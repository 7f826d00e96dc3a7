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

/// What the system says when it is short of something: RocksDB passes on the words, not the number.
const EXHAUSTED: [rustix::io::Errno; 5] = [
    rustix::io::Errno::MFILE,
    rustix::io::Errno::NFILE,
    rustix::io::Errno::NOMEM,
    rustix::io::Errno::INTR,
    rustix::io::Errno::AGAIN,
];

fn is_exhausted(detail: &str) -> bool {
    EXHAUSTED.iter().any(|errno| {
        let text = std::io::Error::from(*errno).to_string();
        let words = text.split(" (os error").next().unwrap_or(&text);
        detail.contains(words)
    })
}

/// What RocksDB says, as a fault.
fn fault(doing: &str, error: &rocksdb::Error) -> Fault {
    let detail = error.to_string();
    let doing = doing.to_owned();
    match error.kind() {
        rocksdb::ErrorKind::Corruption => Fault::Damage { doing, detail },
        _ if is_exhausted(&detail) => Fault::Exhausted { doing, detail },
        _ if detail.contains("No space left") || detail.contains("Disk quota exceeded") => Fault::Full(doing),
        _ => Fault::Io { doing, detail },
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use super::*;

    #[test]
    fn being_short_of_descriptors_or_memory_is_no_damage() {
        let opening = "IO error: While open a file for random read: /data/000012.sst: Too many open files";
        assert!(is_exhausted(opening));
        assert!(is_exhausted("IO error: mmap: Cannot allocate memory"));
        for broken in ["IO error: pread: Input/output error", "Corruption: block checksum mismatch in /data/000012.sst"]
        {
            assert!(!is_exhausted(broken), "{broken}");
        }
        let of_system =
            |errno: rustix::io::Errno| files::io_fault("reading a file", Path::new("x"), &io::Error::from(errno));
        for errno in EXHAUSTED {
            let fault = of_system(errno);
            assert!(matches!(fault, Fault::Exhausted { .. }) && !fault.is_of_data(), "{fault}");
        }
        assert!(of_system(rustix::io::Errno::IO).is_of_data(), "a sector that cannot be read is lost");
    }
}
