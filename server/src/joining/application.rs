//! The name under which a store asks to be let in, as long as it is no member: `joining.json`.
//!
//! A store that ends while it asks, and is started again, asks under the same name. It is let in once; under another name each start would
//! be another store, which the fleet waits for in vain.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// The version of the file that this program writes.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    /// 128 bits in hexadecimal digits.
    application: String,
}

fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("joining.json")
}

/// The name that was used before, or a new one, which is on the disk when this returns.
pub fn keep(data_dir: &Path) -> anyhow::Result<u128> {
    let path = path(data_dir);
    match std::fs::read_to_string(&path) {
        Ok(text) => match read(&text).with_context(|| format!("reading {}", path.display()))? {
            Some(application) => return Ok(application),
            // It was made up here, and says nothing that another one would not say.
            None => {
                tracing::warn!(file = %path.display(), "under which name this store asked to be let in cannot be read: it takes another one")
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    }
    let application = super::random_128()?;
    let file = File { version: VERSION, application: format!("{application:032x}") };
    holdfast_files::replace(&path, &serde_json::to_vec_pretty(&file)?)?;
    Ok(application)
}

/// `None`: it is damaged.
fn read(text: &str) -> anyhow::Result<Option<u128>> {
    let Ok(file) = serde_json::from_str::<File>(text) else { return Ok(None) };
    anyhow::ensure!(file.version == VERSION, "it has version {}, this program knows {VERSION}", file.version);
    Ok(u128::from_str_radix(&file.application, 16).ok())
}

/// The name has done what it was for, or is worth nothing any more.
pub fn forget(data_dir: &Path) {
    let path = path(data_dir);
    if let Err(error) = std::fs::remove_file(&path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(file = %path.display(), %error, "a file that is not needed any more cannot be removed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_is_started_again_asks_under_the_same_name_until_that_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let first = keep(dir.path()).unwrap();
        assert_eq!(keep(dir.path()).unwrap(), first);
        forget(dir.path());
        assert_ne!(keep(dir.path()).unwrap(), first);
        forget(dir.path());
        forget(dir.path());
    }

    #[test]
    fn a_damaged_name_is_replaced_and_one_of_a_newer_program_refused() {
        let dir = tempfile::tempdir().unwrap();
        for damaged in ["", "{", r#"{"version":1,"application":"no digits"}"#] {
            std::fs::write(path(dir.path()), damaged).unwrap();
            let kept = keep(dir.path()).unwrap();
            assert_eq!(keep(dir.path()).unwrap(), kept, "{damaged}");
        }
        std::fs::write(path(dir.path()), r#"{"version":2,"application":"7"}"#).unwrap();
        assert!(format!("{:#}", keep(dir.path()).unwrap_err()).contains("version 2"));
    }
}
