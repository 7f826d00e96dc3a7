//! A file of many rows into three stores: by `holdfast import`, by puts one at a time as scripts around `etcdctl put` do, and by `COPY` into PostgreSQL.

pub mod postgres;

use std::fmt::Write as _;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::Serialize;
use tokio::time::Instant;

use self::postgres::Postgres;
use crate::contest::Peer;
use crate::contest::Session;
use crate::contest::etcd::{self, Etcd};
use crate::contest::holdfast::Holdfast;
use crate::machine::Machine;
use crate::report::{Table, rounded};

/// Bytes of a key: `row` and digits.
const KEY_BYTES: usize = 12;
/// Letters of values, which no format quotes.
const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 _";

/// What is measured.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Rows of the file.
    pub rows: u64,
    /// Bytes of a line, without its end.
    pub row_bytes: usize,
    /// Ranges that Holdfast's keys are cut into before.
    pub ranges: u64,
    /// How long single puts are counted.
    pub singles: Duration,
    /// What all values come from.
    pub seed: u64,
}

/// One way to load, and how fast it was.
#[derive(Clone, Debug, Serialize)]
pub struct Way {
    /// What was done.
    pub name: String,
    /// Rows that were loaded.
    pub rows: u64,
    /// In how long.
    pub seconds: f64,
    /// Rows in a second.
    pub rows_per_second: f64,
}

impl Way {
    fn new(name: String, rows: u64, took: Duration) -> Self {
        let seconds = took.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let rate = rows as f64 / seconds;
        Self { name, rows, seconds: rounded(seconds, 2), rows_per_second: rounded(rate, 0) }
    }
}

/// All ways, on one machine.
#[derive(Clone, Debug, Serialize)]
pub struct Loading {
    /// The machine.
    pub machine: Machine,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// The first is the import.
    pub ways: Vec<Way>,
    /// Ways that could not be tried, and why.
    pub skipped: Vec<String>,
}

/// Measures one way after the other: each has the machine for itself. `say` hears what is done.
pub async fn measure(
    binary: &Path,
    folder: &Path,
    options: &LoadOptions,
    say: &dyn Fn(&str),
) -> anyhow::Result<Loading> {
    let file = folder.join("rows.csv");
    write_rows(&file, options).context("writing the file of rows")?;
    let machine = Machine::look(folder)?;
    let (mut ways, mut skipped) = (Vec::new(), Vec::new());

    let mut holdfast = Holdfast::new(binary.to_owned(), folder.join("holdfast"), 3, 1, options.ranges, false)?;
    say("a fleet of three stores");
    holdfast.start().await?;
    let addresses = holdfast.fleet_mut().addresses();
    say("holdfast import");
    ways.push(import(binary, &addresses, &file, options).await?);
    say("puts into Holdfast, one at a time");
    ways.push(singles(&holdfast, options).await?);
    holdfast.stop();
    drop(holdfast);

    if etcd::is_installed() {
        say("puts into etcd, one at a time");
        let mut etcd = Etcd::new(folder.join("etcd"))?;
        etcd.start().await?;
        ways.push(singles(&etcd, options).await?);
        etcd.stop();
    } else {
        skipped.push(format!("etcd is missing; install it: {}", etcd::INSTALL_LINE));
    }
    match Postgres::find(folder.join("postgres")) {
        Ok(mut postgres) => {
            say("COPY into PostgreSQL");
            ways.push(postgres.copy(&file, options.rows).await?);
        }
        Err(missing) => skipped.push(missing.to_string()),
    }
    let file_bytes = std::fs::metadata(&file)?.len();
    Ok(Loading { machine, file_bytes, ways, skipped })
}

/// Rows in no order of their keys, as files come.
fn write_rows(path: &Path, options: &LoadOptions) -> anyhow::Result<()> {
    let mut file = BufWriter::new(std::fs::File::create(path)?);
    let mut random = SmallRng::seed_from_u64(options.seed);
    writeln!(file, "id,note")?;
    let mut value = vec![0; options.row_bytes.saturating_sub(KEY_BYTES + 1).max(1)];
    for row in 0..options.rows {
        value.fill_with(|| LETTERS[random.random_range(0..LETTERS.len())]);
        file.write_all(key(row, options.rows).as_bytes())?;
        file.write_all(b",")?;
        file.write_all(&value)?;
        file.write_all(b"\n")?;
    }
    Ok(file.into_inner()?.sync_all()?)
}

/// The key of a row: each once, spread over all.
fn key(row: u64, rows: u64) -> String {
    // A prime that divides no number of rows that anybody asks for.
    let spread = u128::from(row) * 1_000_000_007 % u128::from(rows.max(1));
    format!("row{spread:09}")
}

async fn import(binary: &Path, addresses: &[String], file: &Path, options: &LoadOptions) -> anyhow::Result<Way> {
    let mut command = tokio::process::Command::new(binary);
    command.arg("import").arg(file).args(["--raw", "--json", "--at", &addresses.join(",")]).kill_on_drop(true);
    let begun = Instant::now();
    let ended = command.stdin(Stdio::null()).output().await.context("starting holdfast import")?;
    let took = begun.elapsed();
    ensure!(ended.status.success(), "holdfast import: {}", String::from_utf8_lossy(&ended.stderr));
    let said: serde_json::Value = serde_json::from_slice(&ended.stdout)?;
    ensure!(said["loaded"] == options.rows, "not all rows were loaded: {said}");
    Ok(Way::new("holdfast import".to_owned(), options.rows, took))
}

/// One put after the other, for a while.
async fn singles(store: &dyn Peer, options: &LoadOptions) -> anyhow::Result<Way> {
    let sessions = store.connect(1).await?;
    let session: &dyn Session = &**sessions.first().context("one session was asked for")?;
    let value = Bytes::from(vec![b'v'; options.row_bytes.saturating_sub(KEY_BYTES + 1).max(1)]);
    let begun = Instant::now();
    let mut rows = 0;
    while begun.elapsed() < options.singles && rows < options.rows {
        session.put(key(rows, options.rows).into(), value.clone()).await?;
        rows += 1;
    }
    Ok(Way::new(format!("{}: put, one at a time", store.name()), rows, begun.elapsed()))
}

/// As a table, with how many times as quick the import is.
#[must_use]
pub fn table(loading: &Loading) -> String {
    let mut table = Table::new(&["way", "rows", "seconds", "rows a second", "import to it"]);
    let import = loading.ways.first().map_or(0.0, |way| way.rows_per_second);
    for way in &loading.ways {
        table.row(vec![
            way.name.clone(),
            way.rows.to_string(),
            format!("{:.2}", way.seconds),
            format!("{:.0}", way.rows_per_second),
            format!("{:.2}", import / way.rows_per_second),
        ]);
    }
    let Machine { cores, processor, memory_mib, kernel, file_system, fdatasync_ms } = &loading.machine;
    let mut said = format!(
        "{table}\nThe file has {} B. {cores} cores ({processor}), {memory_mib} MiB, Linux {kernel}, {file_system}; fdatasync of 4 KiB: {fdatasync_ms:.3} ms.\n",
        loading.file_bytes
    );
    for skipped in &loading.skipped {
        let _ = writeln!(said, "Left out: {skipped}");
    }
    said
}

/// Where a program may be that comes with another one.
fn found(folders: impl IntoIterator<Item = PathBuf>, program: &str) -> Option<PathBuf> {
    folders.into_iter().find(|folder| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_each_key_once_and_lines_of_the_length_that_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        let options = LoadOptions { rows: 1_000, row_bytes: 100, ranges: 1, singles: Duration::ZERO, seed: 1 };
        write_rows(&path, &options).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let (heading, rows) = text.split_once('\n').unwrap();
        assert_eq!(heading, "id,note");
        assert!(rows.lines().all(|line| line.len() == 100 && line.matches(',').count() == 1));
        let keys: std::collections::BTreeSet<_> = rows.lines().map(|line| &line[..KEY_BYTES]).collect();
        assert_eq!(keys.len(), 1_000);
    }
}
