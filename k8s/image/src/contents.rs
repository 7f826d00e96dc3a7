//! The files of an image.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};

/// A file of the image.
pub struct File<'a> {
    /// From the root, with a slash.
    pub path: &'a str,
    /// What it holds.
    pub bytes: &'a [u8],
    /// Whether it is run.
    pub executable: bool,
}

impl File<'_> {
    /// Writes the file where it would be if the root were this folder.
    pub fn write_below(&self, root: &Path) -> Result<()> {
        let path = root.join(self.path.trim_start_matches('/'));
        let write = || {
            fs::create_dir_all(path.parent().unwrap_or(root))?;
            fs::write(&path, self.bytes)?;
            fs::set_permissions(&path, Permissions::from_mode(self.mode()))
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }

    /// Its permissions.
    pub fn mode(&self) -> u32 {
        if self.executable { 0o755 } else { 0o644 }
    }
}
