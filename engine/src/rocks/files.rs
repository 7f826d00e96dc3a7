//! Files and folders that survive a loss of power, and their errors as faults.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use super::is_exhausted;
use crate::contract::{DiskSpace, Fault};

const COPY_BYTES: usize = 256 << 10;

/// What the system says, as a fault.
pub(super) fn io_fault(doing: &str, path: &Path, error: &io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Fault::Full(doing.to_owned()),
        _ if is_exhausted(&error.to_string()) => {
            Fault::Exhausted { doing: doing.to_owned(), detail: format!("{}: {error}", path.display()) }
        }
        _ => Fault::Io { doing: doing.to_owned(), detail: format!("{}: {error}", path.display()) },
    }
}

/// Makes names created, renamed or removed in `folder` durable.
pub(super) fn sync_folder(folder: &Path) -> Result<(), Fault> {
    holdfast_files::sync_folder(folder).map_err(|error| io_fault("syncing a folder", folder, &error))
}

/// Creates a folder and its parents, durably.
pub(super) fn make_folder(folder: &Path) -> Result<(), Fault> {
    fs::create_dir_all(folder).map_err(|error| io_fault("creating a folder", folder, &error))?;
    sync_folder(holdfast_files::parent(folder))
}

/// Writes a whole file in one step: after a crash it is there as a whole or not at all.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Fault> {
    holdfast_files::replace(path, bytes).map_err(|error| io_fault("writing a file", path, &error))
}

/// The bytes of a file; `None` when there is none.
pub(super) fn read_whole(path: &Path) -> Result<Option<Vec<u8>>, Fault> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_fault("reading a file", path, &error)),
    }
}

/// Length and xxh3-64 of a file.
pub(super) fn measure(path: &Path) -> Result<(u64, u64), Fault> {
    let measure = || {
        let (mut file, mut hash, mut size) = (File::open(path)?, Xxh3::new(), 0_u64);
        let mut buffer = vec![0; COPY_BYTES];
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                return Ok((size, hash.digest()));
            }
            hash.update(&buffer[..read]);
            size += read as u64;
        }
    };
    measure().map_err(|error| io_fault("reading a file", path, &error))
}

/// Space on the disk of a folder.
pub(super) fn disk_space(folder: &Path) -> Result<DiskSpace, Fault> {
    let figures =
        rustix::fs::statvfs(folder).map_err(|error| io_fault("asking for space", folder, &io::Error::from(error)))?;
    let bytes = |blocks: u64| blocks.saturating_mul(figures.f_frsize);
    Ok(DiskSpace { total_bytes: bytes(figures.f_blocks), free_bytes: bytes(figures.f_bavail) })
}
