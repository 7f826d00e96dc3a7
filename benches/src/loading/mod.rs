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

/// Bytes of a key: [`ROW`] or [`PUT`], and digits.
const KEY_BYTES: usize = 12;
/// What the keys of the file begin with.
const ROW: &str = "row";
/// What the keys of single puts begin with: none of them is there before, in any store.
const PUT: &str = "put";
/// Letters of values, which no format quotes.
const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 _";

/// Intervals of keys that single puts are counted in: no answer is large.
const COUNTED_IN: u64 = 64;

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
    /// How often each way is gone, each time into a store that has nothing.
    pub rounds: u8,
    /// What all values come from.
    pub seed: u64,
}

/// What one round of one way loaded; the rows were counted afterwards, by reading them.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Round {
    /// Rows that were loaded.
    pub rows: u64,
    /// In how long.
    pub seconds: f64,
    /// Rows in a second.
    pub rows_per_second: f64,
}

impl Round {
    fn new(rows: u64, took: Duration) -> Self {
        let seconds = took.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let rate = rows as f64 / seconds;
        Self { rows, seconds: rounded(seconds, 2), rows_per_second: rounded(rate, 0) }
    }
}

/// One way to load, and how fast it was.
#[derive(Clone, Debug, Serialize)]
pub struct Way {
    /// What was done.
    pub name: String,
    /// Every round, in their order.
    pub rounds: Vec<Round>,
    /// Rows in a second: the median of all rounds.
    pub rows_per_second: f64,
    /// The least and the most of them.
    pub spread: [f64; 2],
    /// How many times as many rows a second the import loads, by the medians.
    pub import_to_it: f64,
}

impl Way {
    fn new(name: String, rounds: Vec<Round>, import: Option<f64>) -> Self {
        let mut rates: Vec<_> = rounds.iter().map(|round| round.rows_per_second).collect();
        rates.sort_by(f64::total_cmp);
        let at = |index: usize| rates.get(index).copied().unwrap_or(0.0);
        let (median, spread) = (at(rates.len() / 2), [at(0), at(rates.len().saturating_sub(1))]);
        let import_to_it = rounded(import.unwrap_or(median) / median, 2);
        Self { name, rounds, rows_per_second: median, spread, import_to_it }
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

/// The rounds of ways by their names, in the order in which these were gone first.
#[derive(Default)]
struct Rounds(Vec<(String, Vec<Round>)>);

impl Rounds {
    fn add(&mut self, name: String, round: Round) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, rounds)) => rounds.push(round),
            None => self.0.push((name, vec![round])),
        }
    }

    /// The ways; the first is what the others are compared with.
    fn ways(self) -> Vec<Way> {
        let mut import = None;
        let way = |(name, rounds)| {
            let way = Way::new(name, rounds, import);
            import.get_or_insert(way.rows_per_second);
            way
        };
        self.0.into_iter().map(way).collect()
    }
}

/// Measures one way after the other, and all of them again: each has the machine for itself. `say` hears what is done.
pub async fn measure(
    binary: &Path,
    folder: &Path,
    options: &LoadOptions,
    say: &dyn Fn(&str),
) -> anyhow::Result<Loading> {
    let file = folder.join("rows.csv");
    write_rows(&file, options).context("writing the file of rows")?;
    let machine = Machine::look(folder)?;
    let mut skipped = Vec::new();
    let has_etcd = etcd::is_installed();
    if !has_etcd {
        skipped.push(format!("etcd is missing; install it: {}", etcd::INSTALL_LINE));
    }
    let has_postgres = match Postgres::find(folder.join("postgres")) {
        Ok(_) => true,
        Err(missing) => {
            skipped.push(missing.to_string());
            false
        }
    };
    let mut rounds = Rounds::default();
    for round in 1..=options.rounds {
        say(&format!("round {round} of {}", options.rounds));
        let at = folder.join("holdfast");
        into_holdfast(binary, &at, &file, options, &mut rounds, say).await?;
        removed(&at)?;
        if has_etcd {
            say("puts into etcd, one at a time");
            let at = folder.join("etcd");
            let mut etcd = Etcd::new(at.clone())?;
            etcd.start().await?;
            rounds.add(singles_into(&etcd), singles(&etcd, options).await?);
            etcd.stop();
            drop(etcd);
            removed(&at)?;
        }
        if has_postgres {
            say("COPY into PostgreSQL");
            let at = folder.join("postgres");
            let mut postgres = Postgres::find(at.clone())?;
            rounds.add("PostgreSQL: COPY, one server".to_owned(), postgres.copy(&file, options.rows).await?);
            drop(postgres);
            removed(&at)?;
        }
    }
    let file_bytes = std::fs::metadata(&file)?.len();
    Ok(Loading { machine, file_bytes, ways: rounds.ways(), skipped })
}

async fn into_holdfast(
    binary: &Path,
    folder: &Path,
    file: &Path,
    options: &LoadOptions,
    rounds: &mut Rounds,
    say: &dyn Fn(&str),
) -> anyhow::Result<()> {
    let mut holdfast = Holdfast::new(binary.to_owned(), folder.to_owned(), 3, 1, options.ranges, false)?;
    say("a fleet of three stores");
    holdfast.start().await?;
    let addresses = holdfast.fleet_mut().addresses();
    say("holdfast import");
    rounds.add("holdfast import".to_owned(), import(binary, &addresses, file, options).await?);
    say("puts into Holdfast, one at a time");
    rounds.add(singles_into(&holdfast), singles(&holdfast, options).await?);
    holdfast.stop();
    Ok(())
}

/// Removes what a store left, so that the next one finds as much room as it did.
fn removed(folder: &Path) -> anyhow::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Rows in no order of their keys, as files come.
fn write_rows(path: &Path, options: &LoadOptions) -> anyhow::Result<()> {
    let mut file = BufWriter::new(std::fs::File::create(path)?);
    let mut random = SmallRng::seed_from_u64(options.seed);
    writeln!(file, "id,note")?;
    let mut value = vec![0; options.row_bytes.saturating_sub(KEY_BYTES + 1).max(1)];
    for row in 0..options.rows {
        value.fill_with(|| LETTERS[random.random_range(0..LETTERS.len())]);
        file.write_all(key(ROW, spread(row, options.rows)).as_bytes())?;
        file.write_all(b",")?;
        file.write_all(&value)?;
        file.write_all(b"\n")?;
    }
    Ok(file.into_inner()?.sync_all()?)
}

/// The number in a row's key: each once, spread over all.
fn spread(row: u64, rows: u64) -> u64 {
    // A prime that divides no number of rows that anybody asks for.
    let spread = u128::from(row) * 1_000_000_007 % u128::from(rows.max(1));
    u64::try_from(spread).unwrap_or(u64::MAX)
}

fn key(begins: &str, number: u64) -> String {
    format!("{begins}{number:09}")
}

async fn import(binary: &Path, addresses: &[String], file: &Path, options: &LoadOptions) -> anyhow::Result<Round> {
    let at = addresses.join(",");
    let begun = Instant::now();
    let said = asked(binary, &["import", &file.display().to_string(), "--raw", "--json", "--at", &at]).await?;
    let took = begun.elapsed();
    ensure!(said["loaded"] == options.rows, "not all rows were loaded: {said}");
    let counted = asked(binary, &["scan", "--prefix", ROW, "--count", "--json", "--at", &at]).await?;
    ensure!(counted["count"] == options.rows, "not all rows that were loaded are there: {counted}");
    Ok(Round::new(options.rows, took))
}

/// Runs `holdfast`, and returns what it prints.
async fn asked(binary: &Path, arguments: &[&str]) -> anyhow::Result<serde_json::Value> {
    let mut command = tokio::process::Command::new(binary);
    let ended = command.args(arguments).kill_on_drop(true).stdin(Stdio::null()).output();
    let ended = ended.await.with_context(|| format!("starting holdfast {arguments:?}"))?;
    ensure!(ended.status.success(), "holdfast {arguments:?}: {}", String::from_utf8_lossy(&ended.stderr));
    Ok(serde_json::from_slice(&ended.stdout)?)
}

fn singles_into(store: &dyn Peer) -> String {
    format!("{}: put, one at a time", store.name())
}

/// One put after the other, for a while, of keys that are not there.
async fn singles(store: &dyn Peer, options: &LoadOptions) -> anyhow::Result<Round> {
    let sessions = store.connect(1).await?;
    let session: &dyn Session = &**sessions.first().context("one session was asked for")?;
    let value = Bytes::from(vec![b'v'; options.row_bytes.saturating_sub(KEY_BYTES + 1).max(1)]);
    let begun = Instant::now();
    let mut rows = 0;
    while begun.elapsed() < options.singles && rows < options.rows {
        session.put(key(PUT, spread(rows, options.rows)).into(), value.clone()).await?;
        rows += 1;
    }
    let took = begun.elapsed();
    let mut counted = 0;
    for interval in 0..COUNTED_IN {
        let bound = |interval: u64| Bytes::from(key(PUT, interval * options.rows.div_ceil(COUNTED_IN)));
        counted += session.scan(bound(interval), bound(interval + 1), u32::MAX).await?;
    }
    ensure!(u64::try_from(counted) == Ok(rows), "of {rows} rows that {} took {counted} are there", store.name());
    Ok(Round::new(rows, took))
}

/// As a table, with how many times as quick the import is.
#[must_use]
pub fn table(loading: &Loading) -> String {
    let mut table = Table::new(&["way", "rows", "seconds", "rows a second", "spread", "import to it"]);
    for way in &loading.ways {
        let all = |value: fn(&Round) -> String| way.rounds.iter().map(value).collect::<Vec<_>>().join(", ");
        let mut rows = all(|round| round.rows.to_string());
        if let [first, others @ ..] = way.rounds.as_slice()
            && others.iter().all(|other| other.rows == first.rows)
        {
            rows = first.rows.to_string();
        }
        table.row(vec![
            way.name.clone(),
            rows,
            all(|round| format!("{:.2}", round.seconds)),
            format!("{:.0}", way.rows_per_second),
            format!("{:.0} to {:.0}", way.spread[0], way.spread[1]),
            format!("{:.2}", way.import_to_it),
        ]);
    }
    let Machine { cores, processor, memory_mib, kernel, file_system, fdatasync_ms } = &loading.machine;
    let rounds = loading.ways.first().map_or(0, |way| way.rounds.len());
    let mut said = format!(
        "{table}\nRows a second are medians of {rounds} rounds, each into stores that had nothing; the rows of each were counted afterwards. The last column is how many times as many the import loads.\nThe file has {} B. {cores} cores ({processor}), {memory_mib} MiB, Linux {kernel}, {file_system}; fdatasync of 4 KiB: {fdatasync_ms:.3} ms.\n",
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
        let options =
            LoadOptions { rows: 1_000, row_bytes: 100, ranges: 1, singles: Duration::ZERO, rounds: 1, seed: 1 };
        write_rows(&path, &options).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let (heading, rows) = text.split_once('\n').unwrap();
        assert_eq!(heading, "id,note");
        assert!(rows.lines().all(|line| line.len() == 100 && line.matches(',').count() == 1));
        let keys: std::collections::BTreeSet<_> = rows.lines().map(|line| &line[..KEY_BYTES]).collect();
        assert_eq!(keys.len(), 1_000);
    }

    fn round(rows: u64, seconds: u64) -> Round {
        Round::new(rows, Duration::from_secs(seconds))
    }

    #[test]
    fn ways_are_compared_by_the_medians_of_their_rounds() {
        let mut rounds = Rounds::default();
        for (import, puts) in [(10, 5), (40, 5), (20, 1)] {
            rounds.add("import".to_owned(), round(4_000, import));
            rounds.add("puts".to_owned(), round(100, puts));
        }
        let [import, puts] = <[Way; 2]>::try_from(rounds.ways()).unwrap();
        let about = |figure: f64, wanted: f64| (figure - wanted).abs() < 1e-9;
        assert!(about(import.rows_per_second, 200.0) && about(import.import_to_it, 1.0), "{import:?}");
        assert!(about(import.spread[0], 100.0) && about(import.spread[1], 400.0), "{import:?}");
        assert!(about(puts.rows_per_second, 20.0) && about(puts.import_to_it, 10.0), "{puts:?}");
    }

    #[test]
    fn the_table_has_every_round_and_says_what_was_left_out() {
        let mut rounds = Rounds::default();
        rounds.add("import".to_owned(), round(4_000, 10));
        rounds.add("import".to_owned(), round(4_000, 20));
        rounds.add("puts".to_owned(), round(10, 1));
        rounds.add("puts".to_owned(), round(30, 1));
        let machine = Machine {
            cores: 2,
            processor: "p".to_owned(),
            memory_mib: 1,
            kernel: "6".to_owned(),
            file_system: "ext4".to_owned(),
            fdatasync_ms: 0.5,
        };
        let loading =
            Loading { machine, file_bytes: 1, ways: rounds.ways(), skipped: vec!["etcd is missing".to_owned()] };
        let said = table(&loading);
        assert!(said.contains(" 4000 |") && said.contains("10.00, 20.00") && said.contains("10, 30"), "{said}");
        assert!(said.contains("medians of 2 rounds") && said.contains("Left out: etcd is missing"), "{said}");
    }
}
