//! What is in the image of the program.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result};
use holdfast_image::{File, Recipe};

use crate::elf::Library;

/// The user that the program runs as; the rendered pods name the same.
pub const USER: u32 = 65_532;
/// The program.
pub const PROGRAM: &str = "/holdfast";
/// The bill of materials, as CycloneDX JSON.
pub const BILL: &str = "/usr/share/sbom/holdfast.cdx.json";

/// What the image says of itself.
pub struct Labels {
    /// When, as RFC 3339.
    pub created: String,
    /// Which commit.
    pub revision: Option<String>,
}

/// The image of the program. The libraries change only with the system that it is built on, so they are a layer of their own, which a new version of
/// the program does not have to transfer again.
pub fn recipe<'a>(name: &'a str, base: Vec<File<'a>>, program: Vec<File<'a>>, labels: &Labels) -> Recipe<'a> {
    let mut said: HashMap<String, String> = [
        ("org.opencontainers.image.title", "holdfast"),
        ("org.opencontainers.image.description", "An ordered key-value store whose unit of failure is a whole site"),
        ("org.opencontainers.image.version", env!("CARGO_PKG_VERSION")),
        ("org.opencontainers.image.licenses", "Apache-2.0"),
        ("org.opencontainers.image.created", &labels.created),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    if let Some(revision) = &labels.revision {
        said.insert("org.opencontainers.image.revision".to_owned(), revision.clone());
    }
    Recipe {
        name,
        entrypoint: PROGRAM,
        user: Some(USER),
        ports: &[7300, 7400, 7401, 7500],
        labels: said,
        created: Some(labels.created.clone()),
        layers: vec![
            ("the libraries that the program names", base),
            ("the program and its bill of materials", program),
        ],
    }
}

/// Names the user, for programs that ask who they are.
const PASSWD: &str = "root:x:0:0:root:/:/nologin\nholdfast:x:65532:65532:holdfast:/var/lib/holdfast:/nologin\n";
const GROUP: &str = "root:x:0:\nholdfast:x:65532:\n";
/// Without it the C library asks DNS before `/etc/hosts`.
const NSSWITCH: &str = "hosts: files dns\n";

/// The libraries and the small files.
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
