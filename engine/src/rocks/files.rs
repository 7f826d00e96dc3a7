//! Files and folders that survive a loss of power, and their errors as faults.

use std::fs::{self, File};
use std::io::{self, Read, Write};
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
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| io_fault("syncing a folder", folder, &error))
}

/// Creates a folder and its parents, durably.
pub(super) fn make_folder(folder: &Path) -> Result<(), Fault> {
    fs::create_dir_all(folder).map_err(|error| io_fault("creating a folder", folder, &error))?;
    parent(folder).map_or(Ok(()), sync_folder)
}

/// The folder that holds `path`: of a bare name it is the current one.
fn parent(path: &Path) -> Option<&Path> {
    path.parent().map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder })
}

/// Writes a whole file in one step: after a crash it is there as a whole or not at all.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Fault> {
    let temporary = path.with_extension("tmp");
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(|error| io_fault("writing a file", path, &error))?;
    parent(path).map_or(Ok(()), sync_folder)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_lies_in_the_current_folder() {
        assert_eq!(parent(Path::new("data")), Some(Path::new(".")));
        assert_eq!(parent(Path::new("a/data")), Some(Path::new("a")));
        assert_eq!(parent(Path::new("/")), None);
    }
}
