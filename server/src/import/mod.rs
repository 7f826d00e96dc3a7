//! `holdfast import`: loads CSV, TSV or JSON lines. Bad rows are reported by their line and left out; an import that was broken
//! off goes on where it was.

pub mod rows;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueHint};
use holdfast_client::Client;
use holdfast_output::{errln, outln, visible};
use holdfast_types::{KeyspaceName, limits};
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::task::JoinSet;

use self::rows::{LoadableRow, Rows};
use crate::connecting::Connecting;

/// Writes in flight.
const IN_FLIGHT: usize = 128;
/// How often (in rows) the progress is kept.
const KEEP_EVERY: u64 = 1_000;
/// Bad rows that are shown one by one; more are only counted.
const SHOW_BAD: u64 = 20;
/// The version of the progress file.
const VERSION: u32 = 1;

/// `holdfast import`.
#[derive(Args, Debug, Clone)]
pub struct ImportArgs {
    /// The file: .csv, .tsv, .jsonl or .ndjson
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// The column that is the key [default: the first one; of JSON lines the first by name]
    #[arg(long, value_name = "COLUMN")]
    pub key: Option<String>,
    /// Client addresses of stores, separated by commas; any store takes any request
    #[arg(long, value_name = "ADDRESS", env = "HOLDFAST_AT", default_value = "127.0.0.1:7300", value_delimiter = ',')]
    pub at: Vec<String>,
    /// How it connects
    #[command(flatten)]
    pub connecting: Connecting,
    /// The keyspace to load into, by its name or its number
    #[arg(long, value_name = "NAME", default_value = KeyspaceName::DEFAULT)]
    pub keyspace: String,
    /// Begin at the first row, wherever an earlier import stopped
    #[arg(long)]
    pub restart: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// How far an import got: every row up to and including `line` is loaded or was reported as bad.
#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Progress {
    version: u32,
    size_bytes: u64,
    line: u64,
}

/// Runs the import; true when no row was bad.
pub async fn run(args: &ImportArgs) -> anyhow::Result<bool> {
    let size_bytes = std::fs::metadata(&args.file).with_context(|| format!("opening {}", args.file.display()))?.len();
    let kept = progress_file(&args.file);
    let begin_after = if args.restart { 0 } else { reached(&kept, size_bytes)? };
    let client = crate::oneshot::connect(&args.at, &args.connecting, &args.keyspace).await?;
    let bar = ProgressBar::new_spinner();
    let style =
        ProgressStyle::with_template("{spinner} {pos} rows, {per_sec} {msg}").context("the template is legal")?;
    bar.set_style(style);
    if begin_after > 0 {
        errln!("Going on after line {begin_after} (--restart begins anew).");
    }
    let (mut loaded, mut bad) = (0u64, 0u64);
    let mut flight = Flight::default();
    for row in Rows::open(&args.file, args.key.as_deref())? {
        match row {
            Ok(row) if row.line <= begin_after => {}
            Ok(row) => {
                flight.send(&client, row).await?;
                loaded += 1;
                bar.inc(1);
                if loaded.is_multiple_of(KEEP_EVERY) {
                    keep(&kept, size_bytes, flight.all_done_below())?;
                }
            }
            Err(row) if row.line <= begin_after => {}
            Err(row) => {
                bad += 1;
                if bad <= SHOW_BAD {
                    bar.suspend(|| errln!("line {}: {}", row.line, visible(&row.reason)));
                }
            }
        }
    }
    flight.finish().await.inspect_err(|_| drop(keep(&kept, size_bytes, flight.all_done_below())))?;
    bar.finish_and_clear();
    if kept.exists() {
        std::fs::remove_file(&kept)?;
    }
    if bad > SHOW_BAD {
        errln!("... and {} more bad rows", bad - SHOW_BAD);
    }
    if args.json {
        outln!("{}", json!({ "loaded": loaded, "bad": bad }))?;
    } else {
        outln!("{loaded} rows loaded, {bad} bad rows left out.")?;
    }
    Ok(bad == 0)
}

/// Rows on their way; knows below which line everything has arrived.
#[derive(Default)]
struct Flight {
    tasks: JoinSet<Result<u64, (u64, holdfast_client::ClientError)>>,
    open: BTreeSet<u64>,
    newest: u64,
}

impl Flight {
    async fn send(&mut self, client: &Client, row: LoadableRow) -> anyhow::Result<()> {
        while self.tasks.len() >= IN_FLIGHT {
            self.land().await?;
        }
        self.open.insert(row.line);
        self.newest = row.line;
        let client = client.clone();
        self.tasks.spawn(async move {
            match client.put(row.key, row.value).await {
                Ok(_) => Ok(row.line),
                Err(error) => Err((row.line, error)),
            }
        });
        Ok(())
    }

    async fn land(&mut self) -> anyhow::Result<()> {
        match self.tasks.join_next().await {
            None => Ok(()),
            Some(ended) => match ended? {
                Ok(line) => {
                    self.open.remove(&line);
                    Ok(())
                }
                Err((line, error)) => {
                    Err(error).with_context(|| format!("loading line {line}; run the import again to go on"))
                }
            },
        }
    }

    async fn finish(&mut self) -> anyhow::Result<()> {
        while !self.tasks.is_empty() {
            self.land().await?;
        }
        Ok(())
    }

    /// Every row at or before this line has arrived.
    fn all_done_below(&self) -> u64 {
        self.open.first().map_or(self.newest, |first| first - 1)
    }
}

fn progress_file(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".holdfast-import");
    PathBuf::from(name)
}

/// Where an earlier import of the same file stopped; 0 when there was none or the file has changed.
fn reached(kept: &Path, size_bytes: u64) -> anyhow::Result<u64> {
    let bytes = holdfast_files::read(kept, limits::CONFIG_FILE_BYTES);
    let Some(bytes) = bytes.with_context(|| format!("reading {}", kept.display()))? else { return Ok(0) };
    Progress::decode(&bytes, size_bytes).with_context(|| format!("{}: remove it or pass --restart", kept.display()))
}

impl Progress {
    /// How far an import of a file of this size got.
    fn decode(bytes: &[u8], size_bytes: u64) -> anyhow::Result<u64> {
        let progress: Self = serde_json::from_slice(bytes).context("it is damaged")?;
        let version = progress.version;
        anyhow::ensure!(version == VERSION, "it has version {version}, this program knows {VERSION}");
        if progress.size_bytes != size_bytes {
            return Ok(0);
        }
        // All rows would be left out, and none missed.
        anyhow::ensure!(
            progress.line <= size_bytes,
            "it is damaged: a file of {size_bytes} B has no line {}",
            progress.line
        );
        Ok(progress.line)
    }
}

fn keep(kept: &Path, size_bytes: u64, line: u64) -> anyhow::Result<()> {
    let progress = serde_json::to_vec(&Progress { version: VERSION, size_bytes, line })?;
    holdfast_files::replace(kept, &progress).with_context(|| format!("keeping the progress in {}", kept.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_of_another_file_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let kept = dir.path().join("a.csv.holdfast-import");
        assert_eq!(reached(&kept, 10).unwrap(), 0);
        keep(&kept, 10, 7).unwrap();
        assert_eq!(reached(&kept, 10).unwrap(), 7);
        assert_eq!(reached(&kept, 11).unwrap(), 0);
    }

    #[test]
    fn damaged_progress_is_refused_or_lies_within_the_file() {
        let whole = br#"{"version":1,"size_bytes":100,"line":77}"#;
        assert_eq!(Progress::decode(whole, 100).unwrap(), 77);
        for damaged in crate::damage::versions_of(whole) {
            assert!(
                Progress::decode(&damaged, 100).is_ok_and(|line| line <= 100)
                    || Progress::decode(&damaged, 100).is_err()
            );
        }
        let refused = |text: &str| format!("{:#}", Progress::decode(text.as_bytes(), 100).unwrap_err());
        let largest = format!(r#"{{"version":1,"size_bytes":100,"line":{}}}"#, u64::MAX);
        assert!(
            refused(&largest).contains("has no line 18446744073709551615"),
            "nothing would be loaded, and nothing said"
        );
        assert!(refused(r#"{"version":2,"size_bytes":100,"line":7}"#).contains("version 2"));
    }

    #[test]
    fn files_beside_the_input_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let theirs = dir.path().join("a.csv.next");
        std::fs::write(&theirs, "theirs").unwrap();
        keep(&progress_file(&dir.path().join("a.csv")), 10, 7).unwrap();
        assert_eq!(std::fs::read(theirs).unwrap(), b"theirs");
    }
}
