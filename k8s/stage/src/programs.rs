//! The programs that were built with this one, and the image of one of them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::command;

/// What the image is called on the nodes.
const NAME: &str = "holdfast.test/holdfast";

/// The programs of the workspace.
pub struct Programs {
    /// `holdfast`.
    pub holdfast: PathBuf,
    image: PathBuf,
}

/// An image that was packed.
pub struct Packed {
    /// The archive.
    pub archive: PathBuf,
    /// Its name and digest, as a fleet file wants it.
    pub reference: String,
}

impl Programs {
    /// The programs beside the running one, or one folder above it, where tests run.
    pub fn beside() -> Result<Programs> {
        let own = std::env::current_exe()?;
        let folders: Vec<_> = own.ancestors().skip(1).take(2).collect();
        let find = |name: &str| {
            let found = folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
            found.with_context(|| format!("there is no program {name} beside this one: make build"))
        };
        Ok(Programs { holdfast: find("holdfast")?, image: find("holdfast-image")? })
    }

    /// Packs the image.
    pub(crate) fn image(&self, out: &Path) -> Result<Packed> {
        let mut pack = Command::new(&self.image);
        pack.arg("--binary").arg(&self.holdfast).arg("--out").arg(out).args(["--name", &format!("{NAME}:test")]);
        command::output(&mut pack)?;
        let path = out.join("digest");
        let digest = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Packed { archive: out.join("holdfast.tar"), reference: format!("{NAME}@{}", digest.trim()) })
    }
}
