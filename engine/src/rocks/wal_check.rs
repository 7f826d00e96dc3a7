//! The check of the write-ahead log's files before RocksDB opens them: see [`crate::wal`].

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use holdfast_types::LogCounter;

use super::files::{io_fault, sync_folder};
use crate::contract::Fault;
use crate::wal::{Damaged, WalCheck};

/// The files of the write-ahead log in `dir`, oldest first.
fn wal_files(dir: &Path) -> Result<Vec<PathBuf>, Fault> {
    let doing = "looking for the write-ahead log";
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(|error| io_fault(doing, dir, &error))? {
        let path = entry.map_err(|error| io_fault(doing, dir, &error))?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<u64>().ok());
        if let (Some(number), Some("log")) = (number, path.extension().and_then(|end| end.to_str())) {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// Checks the write-ahead log in `dir` and cuts off a torn tail. Returns the counter of the newest batch in it.
pub(super) fn check(dir: &Path) -> Result<Option<LogCounter>, Fault> {
    let doing = "checking the write-ahead log";
    let paths = wal_files(dir)?;
    let mut check = WalCheck::default();
    for path in &paths {
        let bytes = fs::read(path).map_err(|error| io_fault(doing, path, &error))?;
        check.take(&bytes).map_err(|Damaged { file, detail }| Fault::Damage {
            doing: doing.to_owned(),
            detail: format!("{}: {detail}", paths.get(file).unwrap_or(path).display()),
        })?;
    }
    let (newest, torn) = check.finish();
    if let Some((path, at)) = torn.and_then(|torn| Some((paths.get(torn.file)?, torn.at))) {
        cut(path, at)?;
    }
    Ok(newest)
}

fn cut(path: &Path, at: usize) -> Result<(), Fault> {
    let cut = || {
        let file = File::options().write(true).open(path)?;
        file.set_len(at as u64)?;
        file.sync_all()
    };
    cut().map_err(|error| io_fault("cutting off a torn write", path, &error))?;
    path.parent().map_or(Ok(()), sync_folder)
}
