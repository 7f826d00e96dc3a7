//! The files of the image.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};

use crate::elf::Library;

/// The user that the program runs as; the rendered pods name the same.
pub const USER: u32 = 65_532;
/// The program.
pub const PROGRAM: &str = "/holdfast";
/// The bill of materials, as CycloneDX JSON.
pub const BILL: &str = "/usr/share/sbom/holdfast.cdx.json";

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

/// Names the user, for programs that ask who they are.
const PASSWD: &str = "root:x:0:0:root:/:/nologin\nholdfast:x:65532:65532:holdfast:/var/lib/holdfast:/nologin\n";
const GROUP: &str = "root:x:0:\nholdfast:x:65532:\n";
/// Without it the C library asks DNS before `/etc/hosts`.
const NSSWITCH: &str = "hosts: files dns\n";

/// What changes only with the system that the image is built on: the libraries and the small files. A layer of its own, which a new
/// version of the program does not have to transfer again.
pub fn base(libraries: &[Library]) -> Result<Vec<File<'_>>> {
    let mut files = vec![
        File { path: "/etc/group", bytes: GROUP.as_bytes(), executable: false },
        File { path: "/etc/nsswitch.conf", bytes: NSSWITCH.as_bytes(), executable: false },
        File { path: "/etc/passwd", bytes: PASSWD.as_bytes(), executable: false },
    ];
    for library in libraries {
        files.push(File { path: text(&library.path)?, bytes: &library.bytes, executable: true });
    }
    files.sort_by_key(|file| file.path);
    Ok(files)
}

/// What changes with every version.
pub fn program<'a>(binary: &'a [u8], bill: &'a [u8]) -> Vec<File<'a>> {
    vec![File { path: PROGRAM, bytes: binary, executable: true }, File { path: BILL, bytes: bill, executable: false }]
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not text", path.display()))
}
