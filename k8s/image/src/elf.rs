//! The binary as the image wants it: without debug lines, and with every library that it names.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use lddtree::DependencyAnalyzer;

/// A shared library, or the loader.
pub struct Library {
    /// Where the binary looks for it: links stay unresolved.
    pub path: PathBuf,
    /// What it holds.
    pub bytes: Vec<u8>,
}

/// Moves the debug lines of a binary into a file of their own, which names it, and gives what is left.
pub fn strip(binary: &Path, debug: &Path) -> Result<Vec<u8>> {
    if !binary.exists() {
        bail!("there is no binary at {}: build it first (make build)", binary.display());
    }
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let stripped = folder.path().join("holdfast");
    objcopy(&["--only-keep-debug".as_ref(), binary, debug])?;
    let link = format!("--add-gnu-debuglink={}", debug.display());
    objcopy(&["--strip-all".as_ref(), link.as_ref(), binary, &stripped])?;
    fs::read(&stripped).context("cannot read the stripped binary")
}

fn objcopy(arguments: &[&Path]) -> Result<()> {
    let output = Command::new("objcopy").args(arguments).output().context("objcopy is missing: install binutils")?;
    if !output.status.success() {
        bail!("objcopy: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Every library that the binary names, those that they name in turn, and the loader; by path.
pub fn libraries(binary: &Path) -> Result<Vec<Library>> {
    let tree = DependencyAnalyzer::new("/".into())
        .analyze(binary)
        .with_context(|| format!("cannot read {} as a program", binary.display()))?;
    let mut found = BTreeMap::new();
    for (name, library) in &tree.libraries {
        let Some(path) = &library.realpath else { bail!("{name} is needed and not on this system") };
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        found.insert(library.path.clone(), bytes);
    }
    if let Some(loader) = &tree.interpreter {
        let bytes = fs::read(loader).with_context(|| format!("cannot read the loader {loader}"))?;
        let loader = PathBuf::from(loader);
        // The program names it by this path; that its libraries name it too needs no second copy.
        found.retain(|path: &PathBuf, _| path.file_name() != loader.file_name());
        found.insert(loader, bytes);
    }
    Ok(found.into_iter().map(|(path, bytes)| Library { path, bytes }).collect())
}
