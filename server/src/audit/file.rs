//! The file of entries that could not be written yet.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use holdfast_proto::convert::BadMessage;
use holdfast_proto::v1;
use holdfast_types::limits;

/// Where it is.
pub(super) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("audit.bin")
}

/// Reads it; there may be none. One that cannot be read is put aside, for people: the next one does not take its place.
pub(super) fn read(
    path: &Path,
    decode: impl Fn(&[u8]) -> Result<Vec<v1::AuditEntry>, BadMessage>,
) -> anyhow::Result<Vec<v1::AuditEntry>> {
    let shown = || format!("reading {}", path.display());
    let bytes = holdfast_files::read(path, limits::AUDIT_FILE_BYTES).with_context(shown)?;
    let Some(bytes) = bytes else { return Ok(Vec::new()) };
    match decode(&bytes) {
        Ok(entries) => Ok(entries),
        Err(bad) => {
            let aside = path.with_extension("damaged");
            std::fs::rename(path, &aside).with_context(|| format!("putting {} aside", path.display()))?;
            Err(bad).with_context(|| format!("{}, which is {} now", shown(), aside.display()))
        }
    }
}

/// Writes it; no entries, no file.
pub(super) fn write(path: &Path, bytes: Option<&[u8]>) -> std::io::Result<()> {
    match bytes {
        Some(bytes) => holdfast_files::replace(path, bytes),
        None => match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => holdfast_files::sync_folder(holdfast_files::parent(path)),
        },
    }
}
