//! Whether a disk has room for a fleet. Stores on a disk that is nearly full refuse writes, those of their own fleet too, so none would ever be spread.

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use holdfast_types::limits;
use rustix::fs::statvfs;

/// Refuses a disk on which stores would refuse writes.
pub(super) fn ensure(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let figures = statvfs(folder).with_context(|| format!("asking for the space in {}", folder.display()))?;
    let [total, free] = [figures.f_blocks, figures.f_bavail].map(|blocks| blocks.saturating_mul(figures.f_frsize));
    let wanted = limits::disk_wanted_bytes(total);
    ensure!(
        free >= wanted,
        "the disk of {} has {} MiB free, and stores refuse writes below {} MiB: free some, or name a folder on another disk (TMPDIR)",
        folder.display(),
        free >> 20,
        wanted >> 20
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_without_space_is_named_before_anything_starts() {
        // A file system without blocks.
        let refused = ensure(Path::new("/proc/self")).unwrap_err().to_string();
        assert!(refused.contains("/proc/self has 0 MiB free") && refused.contains("below 64 MiB"), "{refused}");
    }
}
