//! A file that takes space away while there is enough of it, and is given up when a store cannot be opened for want of space: opening
//! writes (what the write-ahead log held becomes a file), and a store that cannot be opened can neither free space nor hand on what it has.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};

use super::files::{disk_space, io_fault, sync_folder};
use crate::contract::{DiskSpace, Fault};

const NAME: &str = "RESERVE";
/// As much as an opening writes: a full memtable of the log instance, and some.
const RESERVE_BYTES: u64 = 64 << 20;
/// On a small disk no more than this part of it.
const RESERVE_PART: u64 = 16;
/// It is made only where this many times its size are free.
const ROOM: u64 = 8;

fn size(space: DiskSpace) -> u64 {
    RESERVE_BYTES.min(space.total_bytes / RESERVE_PART)
}

/// Makes the reserve if it is not there and there is room for it.
pub(super) fn keep(dir: &Path) -> Result<(), Fault> {
    let path = dir.join(NAME);
    if path.exists() {
        return Ok(());
    }
    let space = disk_space(dir)?;
    let size = size(space);
    if space.free_bytes < size * ROOM {
        return Ok(());
    }
    let doing = "keeping a reserve of disk space";
    let make = || {
        let file = File::create(&path)?;
        fallocate(&file, FallocateFlags::empty(), 0, size).map_err(io::Error::from)
    };
    if let Err(error) = make() {
        // Half a reserve would pass for a whole one.
        let _ = fs::remove_file(&path);
        return Err(io_fault(doing, &path, &error));
    }
    sync_folder(dir)
}

/// Gives the reserve up. False: there is none.
pub(super) fn give_up(dir: &Path) -> Result<bool, Fault> {
    let path = dir.join(NAME);
    match fs::remove_file(&path) {
        Ok(()) => sync_folder(dir).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(io_fault("giving the reserve of disk space up", &path, &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserve_is_made_given_up_once_and_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        keep(dir.path()).unwrap();
        let expected = size(disk_space(dir.path()).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().len(), expected);
        keep(dir.path()).unwrap();
        assert!(give_up(dir.path()).unwrap());
        assert!(!path.exists() && !give_up(dir.path()).unwrap());
        keep(dir.path()).unwrap();
        assert!(path.exists());
    }

    #[test]
    fn reserve_of_a_small_disk_is_small() {
        let disk = |total_bytes| DiskSpace { total_bytes, free_bytes: 0 };
        assert_eq!(size(disk(320 << 20)), 20 << 20);
        assert_eq!(size(disk(1 << 40)), RESERVE_BYTES);
    }
}
