//! `holdfast import`: loads CSV, TSV, JSON lines, and what `holdfast export` wrote.
//!
//! Every record of the input is a row that is stored, or is told with its line; what is stored is what was written. An import that was broken
//! off goes on where it was, with the same input into the same target.
//!
//! ```text
//! input --reading--> entries --feed--> queue --load--> chunks --batches--> fleet
//!                       |                                 |
//!                   duplicates                    report, progress, rejects
//! ```
//!
//! - [`args`]: the command line
//! - [`reading`], [`recipe`], [`expiry`]: from an input to rows
//! - [`duplicates`]: which keys stand there twice
//! - [`feed`], [`queue`]: the thread that reads
//! - [`load`], [`batches`], [`stop`]: the order of writes, and the writes themselves
//! - [`progress`], [`rejects`], [`report`]: what is kept and what is said

pub mod args;
mod batches;
mod duplicates;
mod expiry;
mod feed;
mod load;
mod progress;
mod queue;
mod reading;
mod recipe;
mod rejects;
mod report;
mod stop;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use holdfast_client::{Client, Timestamp};
use holdfast_output::{errln, outln, visible};
use holdfast_rows::Format;
use holdfast_types::limits;
use serde_json::json;

pub use self::args::ImportArgs;
use self::args::OnDuplicate;
use self::batches::Writer;
use self::duplicates::LaterOnes;
use self::feed::Feed;
use self::load::{Ended, Load, Pace};
use self::progress::{Binding, Keeper, Progress};
use self::reading::{Digest, FileKind, Input, Manner, Opened, What};
pub use self::recipe::Row;
use self::rejects::RejectsFile;
use self::report::{Bar, Report};
use self::stop::Stop;

/// Runs the import; true when every record is stored, or was left out as it was wished.
pub async fn run(args: &ImportArgs) -> anyhow::Result<bool> {
    let manner = Manner::of(args);
    let mut input = Input::of(&args.file)?;
    if args.on_duplicate != OnDuplicate::Last {
        input = aside(|| input.spool()).await?;
    }
    let opened = manner.open(&input)?;
    if let Some(doubt) = opened.reading.doubt() {
        errln!("warning: {}", visible(&doubt));
    }
    if args.dry_run {
        return check(args, &manner, &input, opened).await;
    }
    let client = crate::oneshot::connect(&args.at, &args.connecting, &args.keyspace).await?;
    let client = client.with_deadline(limits::MAX_DEADLINE);
    let job = Job { args, manner: &manner, input: &input };
    let opened = if let FileKind::Export(_) = opened.kind { job.verified(opened).await? } else { opened };
    let (progress, before, result) = job.load(client, opened).await?;
    said(args, &progress, &before)?;
    result.map(|()| progress.rejected == 0).map_err(|ended| with_advice(&input, ended))
}

/// The rows of a file, read as without options; of a record that is none, its line.
pub fn rows_of(path: &Path, key: Option<&str>) -> anyhow::Result<impl Iterator<Item = Result<Row, u64>>> {
    let reading = Manner::without_options(path, key).open(&Input::of(path)?)?.reading;
    Ok(reading.map(|entry| match entry.what {
        What::Row(row) => Ok(row),
        What::Rejected(_) | What::Piece | What::Broken(_) => Err(entry.line),
    }))
}

/// Runs what waits for a disk where nobody else waits.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(failed) => std::panic::resume_unwind(failed.into_panic()),
    }
}

/// One import.
struct Job<'a> {
    args: &'a ImportArgs,
    manner: &'a Manner,
    input: &'a Input,
}

impl Job<'_> {
    /// Reads an export to its end, where its checksum is, before anything of it is stored; and opens it again. One that can be read only once is
    /// loaded as it comes.
    async fn verified(&self, opened: Opened) -> anyhow::Result<Opened> {
        anyhow::ensure!(
            self.args.rejects.is_none(),
            "a row of an export that the fleet refuses is named with its line: leave out --rejects"
        );
        if !self.input.can_repeat() {
            return Ok(opened);
        }
        let mut reading = opened.reading;
        let damage = aside(move || {
            reading.find_map(|entry| match entry.what {
                What::Broken(reason) => Some(format!("line {}: {reason}", entry.line)),
                What::Row(_) | What::Rejected(_) | What::Piece => None,
            })
        });
        if let Some(damage) = damage.await {
            anyhow::bail!("{}: {damage}. Nothing of it was loaded", self.input.name());
        }
        self.manner.open(self.input)
    }

    /// Loads the input, from where the same import stopped before. How far it got now and before, and how it ended.
    async fn load(&self, client: Client, opened: Opened) -> anyhow::Result<(Progress, Progress, Result<(), Ended>)> {
        let first = self.first_progress(&client, &opened.kind);
        let (keeper, earlier) = self.find_progress(&first)?;
        let (feed, earlier, read) = self.feed_from(opened, earlier).await?;
        let mut progress = match &earlier {
            Some(earlier) => {
                if earlier.records > 0 {
                    errln!("Going on after line {} (--restart begins anew).", earlier.line);
                }
                earlier.clone()
            }
            None => first,
        };
        let rejects = match self.open_rejects(earlier.as_ref()) {
            Ok(rejects) => rejects,
            Err(error) => {
                // Nothing was begun that could be gone on with.
                if earlier.is_none() {
                    keeper.end()?;
                }
                return Err(error);
            }
        };
        progress.rejects = rejects.as_ref().map(RejectsFile::mark);
        let before = progress.clone();
        let mut report = Report::new(progress, keeper, rejects, Bar::new(read, before.stored)?);
        report.keep()?;
        let (sender, receiver) = queue::queue();
        let reads = tokio::task::spawn_blocking(move || feed.run(&sender));
        let pace = Pace { strict: self.args.strict, rate: self.args.rate.map(Into::into) };
        let writer = Writer::new(client, Timestamp::from_ms(before.began_ms));
        let stop = Stop::on_signals().context("listening for signals")?;
        let result = Load::new(writer, pace, stop, &mut report).run(receiver).await;
        if result.is_ok() {
            // What it could not read it has not sent, and the end of the input was taken for it.
            reads.await?.context("reading temporary files")?;
        }
        let progress = report.end(result.is_ok())?;
        Ok((progress, before, result))
    }

    /// That of an import which begins now.
    fn first_progress(&self, client: &Client, kind: &FileKind) -> Progress {
        let binding = Binding {
            fleet: client.fleet_id().to_string(),
            keyspace: client.keyspace_id().0,
            options: options(self.args, self.manner, kind),
        };
        let digest = Digest::of_heading(kind).hex();
        Progress::begin(self.input.name(), binding, client.fleet_now().ms(), digest)
    }

    /// Where the progress is kept from now on, and that of the same import before.
    fn find_progress(&self, first: &Progress) -> anyhow::Result<(Keeper, Option<Progress>)> {
        let Some(path) = self.input.kept_path() else { return Ok((Keeper::none(), None)) };
        let places = progress::places(path, |name| std::env::var(name).ok());
        let mut found = progress::find(&places, first, self.args.restart).map_err(anyhow::Error::msg)?;
        for remark in std::mem::take(&mut found.keeper.remarks) {
            errln!("warning: {}", visible(&remark));
        }
        Ok((found.keeper, found.progress))
    }

    /// What reads the input from where an earlier import stopped. If it is another input now, from its beginning.
    async fn feed_from(
        &self,
        opened: Opened,
        earlier: Option<Progress>,
    ) -> anyhow::Result<(Feed, Option<Progress>, holdfast_rows::Progress)> {
        let mut later = self.later_ones().await?;
        let (mut feed, read) = self.feed(opened, later.take());
        let Some(earlier) = earlier else { return Ok((feed, None, read)) };
        let (gone, earlier) = aside(move || {
            let is_same = feed.go_to(&earlier);
            (is_same.map(|is_same| is_same.then_some(feed)), earlier)
        })
        .await;
        if let Some(feed) = gone.context("reading temporary files")? {
            return Ok((feed, Some(earlier), read));
        }
        // Where nothing was loaded there is nothing to tell.
        if earlier.records > 0 {
            errln!(
                "{} is not what it was when the import stopped after line {}: this one begins at the first row.",
                visible(&self.input.name()),
                earlier.line
            );
        }
        let later = self.later_ones().await?;
        let (feed, read) = self.feed(self.manner.open(self.input)?, later);
        Ok((feed, None, read))
    }

    fn feed(&self, opened: Opened, later: Option<LaterOnes>) -> (Feed, holdfast_rows::Progress) {
        let digest = Digest::of_heading(&opened.kind);
        let feed = Feed::new(opened.reading, digest, self.args.on_duplicate, self.args.rejects.is_some());
        let feed = match later {
            Some(later) => feed.with_later(later),
            None => feed,
        };
        (feed, opened.progress)
    }

    async fn later_ones(&self) -> anyhow::Result<Option<LaterOnes>> {
        if self.args.on_duplicate == OnDuplicate::Last {
            return Ok(None);
        }
        let Opened { reading, progress, .. } = self.manner.open(self.input)?;
        let bar = Bar::new(progress, 0)?;
        let later = aside(move || {
            let later = duplicates::later(bar.watch(reading));
            bar.clear();
            later
        });
        let later = later.await;
        Ok(Some(later.context("looking for keys that are there twice, in temporary files (TMPDIR says where)")?))
    }

    fn open_rejects(&self, earlier: Option<&Progress>) -> anyhow::Result<Option<RejectsFile>> {
        let Some(path) = &self.args.rejects else { return Ok(None) };
        let opened = match earlier {
            Some(earlier) => RejectsFile::go_on(path, earlier.rejects.as_ref()),
            None => RejectsFile::create(path),
        };
        opened.map(Some)
    }
}

/// Everything that decides what of an input is stored.
fn options(args: &ImportArgs, manner: &Manner, kind: &FileKind) -> BTreeMap<String, String> {
    let mut options = BTreeMap::new();
    let mut set = |name: &str, value: String| drop(options.insert(name.to_owned(), value));
    set("on-duplicate", args.on_duplicate.as_str().to_owned());
    let FileKind::Rows { recipe, dialect, format, heading } = kind else {
        set("format", "export".to_owned());
        return options;
    };
    for (name, column) in recipe.names() {
        if let Some(column) = column {
            set(name, column.to_owned());
        }
    }
    set("encoding", manner.encoding().to_owned());
    if *format == Format::JsonLines {
        set("format", "jsonl".to_owned());
        return options;
    }
    set("format", if *format == Format::Csv { "csv" } else { "tsv" }.to_owned());
    set("columns", heading.join("\n"));
    set("delimiter", dialect.delimiter.to_string());
    set("quote", dialect.quote.map_or("none".to_owned(), |quote| quote.to_string()));
    set("escapes", dialect.escapes.to_string());
    set("base64", manner.is_base64().to_string());
    if let Some(null) = &dialect.null {
        set("null", String::from_utf8_lossy(null).into_owned());
    }
    options
}

/// `--dry-run`: reads and checks everything, and stores nothing.
async fn check(args: &ImportArgs, manner: &Manner, input: &Input, opened: Opened) -> anyhow::Result<bool> {
    let job = Job { args, manner, input };
    let later = job.later_ones().await?;
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let binding = Binding { fleet: String::new(), keyspace: 0, options: BTreeMap::new() };
    let began_ms = u64::try_from(now_ms).unwrap_or_default();
    let progress = Progress::begin(input.name(), binding, began_ms, String::new());
    let (mut feed, read) = job.feed(opened, later);
    let mut report = Report::new(progress, Keeper::none(), job.open_rejects(None)?, Bar::new(read, 0)?);
    let strict = args.strict;
    let (progress, ended) = aside(move || {
        let mut ended = None;
        while let Some(item) = feed.next_item().context("reading temporary files")? {
            match item.what {
                queue::Fate::Row(_) => report.done(|progress| progress.stored = progress.stored.saturating_add(1))?,
                queue::Fate::Rejected(why) => {
                    let is_end = strict && matches!(why, rejects::Why::Wrong(_));
                    report.rejected(&rejects::Rejected { line: item.line, raw: item.raw, why })?;
                    if is_end {
                        ended = Some(Ended::Strict(item.line));
                        break;
                    }
                }
                queue::Fate::Broken(reason) => {
                    ended = Some(Ended::Broken { line: item.line, reason });
                    break;
                }
            }
        }
        anyhow::Ok((report.end(true)?, ended))
    })
    .await?;
    let (loadable, bad, left_out) = (progress.stored, progress.rejected, progress.left_out);
    if args.json {
        outln!("{}", json!({ "dry_run": true, "loadable": loadable, "bad": bad, "left_out": left_out }))?;
    } else {
        outln!("{loadable} rows can be loaded, {bad} bad rows{}. Nothing was stored.", left_out_text(left_out))?;
    }
    match ended {
        Some(ended) => Err(ended.into()),
        None => Ok(bad == 0),
    }
}

fn left_out_text(left_out: u64) -> String {
    if left_out == 0 { String::new() } else { format!(", {left_out} rows whose key stands on an earlier line") }
}

/// What came of it.
fn said(args: &ImportArgs, progress: &Progress, before: &Progress) -> anyhow::Result<()> {
    let loaded = progress.stored.saturating_sub(before.stored);
    let (earlier, bad, left_out) = (before.stored, progress.rejected, progress.left_out);
    if args.json {
        outln!("{}", json!({ "loaded": loaded, "loaded_before": earlier, "bad": bad, "left_out": left_out }))?;
        return Ok(());
    }
    let earlier = if earlier == 0 { String::new() } else { format!(" ({earlier} before it was broken off)") };
    outln!("{loaded} rows loaded{earlier}, {bad} bad rows left out{}.", left_out_text(left_out))?;
    Ok(())
}

/// What ended it, and how to go on.
fn with_advice(input: &Input, ended: Ended) -> anyhow::Error {
    let advice = match (&ended, input.kept_path()) {
        (Ended::Broken { .. } | Ended::Strict(_), Some(_)) => {
            "What stands before it is loaded; once that is mended, the same command goes on there"
        }
        (_, Some(_)) => "The same command goes on where this one stopped",
        (Ended::Broken { .. }, None) => "What came before it is loaded, and is not all there was",
        (_, None) => "What came before is loaded; an import of standard input begins anew each time",
    };
    anyhow::anyhow!("{:#}. {advice}", anyhow::Error::new(ended))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
