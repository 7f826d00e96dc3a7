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
//! - [`duplicates`], [`marks`]: which keys stand there twice, and that the input is the same when it is read again
//! - [`watched`]: that a file stays what it is while it is read
//! - [`feed`], [`queue`]: the thread that reads
//! - [`load`], [`batches`], [`stop`]: the order of writes, and the writes themselves
//! - [`progress`], [`rejects`], [`report`]: what is kept and what is said

pub mod args;
mod batches;
mod duplicates;
mod expiry;
mod feed;
mod load;
mod marks;
mod progress;
mod queue;
mod reading;
mod recipe;
mod rejects;
mod report;
mod stop;
mod watched;

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
use self::duplicates::Looked;
use self::feed::Feed;
use self::load::{Ended, Load, Pace};
use self::progress::{Binding, Keeper, Progress};
use self::reading::{Digest, FileKind, Input, Manner, Opened, What};
pub use self::recipe::Row;
use self::rejects::RejectsFile;
use self::report::{Bar, Report};
use self::stop::Stop;
use self::watched::Watched;

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
    let client = crate::oneshot::connect(&args.through, &args.keyspace).await?;
    let client = client.with_deadline(limits::MAX_DEADLINE);
    let job = Job { args, manner: &manner, input: &input };
    let opened = if let FileKind::Export(_) = opened.kind { job.verified(opened).await? } else { opened };
    let Outcome { progress, before, lack, result, is_kept } = job.load(client, opened).await?;
    said(args, &progress, &before)?;
    result.map_err(|ended| with_advice(&input, ended, is_kept))?;
    lack.map_or(Ok(progress.rejected == 0), |lack| Err(anyhow::Error::msg(lack)))
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

/// What came of an import.
struct Outcome {
    /// How far it got.
    progress: Progress,
    /// How far the same one had got before.
    before: Progress,
    /// What the input, which was read to its end, turned out to lack.
    lack: Option<String>,
    result: Result<(), Ended>,
    /// The next one goes on where this one is.
    is_kept: bool,
}

/// What reads an input, and what is known of that input.
struct Source {
    feed: Feed,
    read: holdfast_rows::Progress,
    encoding: holdfast_rows::Encoding,
    watched: Option<Watched>,
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

    /// Loads the input, from where the same import stopped before.
    async fn load(&self, client: Client, opened: Opened) -> anyhow::Result<Outcome> {
        let first = self.first_progress(&client, &opened.kind);
        let (keeper, earlier) = self.find_progress(&first)?;
        let is_new = earlier.is_none();
        let (source, earlier, rejects) = match self.prepare(opened, earlier).await {
            Ok(prepared) => prepared,
            Err(error) => {
                // Nothing was begun that could be gone on with.
                if is_new {
                    keeper.end()?;
                }
                return Err(error);
            }
        };
        let mut progress = match &earlier {
            Some(earlier) => {
                if earlier.records > 0 {
                    errln!("Going on after line {} (--restart begins anew).", earlier.line);
                }
                earlier.clone()
            }
            None => first,
        };
        if let Some(rejects) = &rejects {
            progress.rejects = Some(rejects.mark());
        }
        let before = progress.clone();
        let Source { feed, read, watched, .. } = source;
        let mut report = Report::new(progress, keeper, rejects, Bar::new(read, before.stored)?);
        report.keep()?;
        let (sender, receiver) = queue::queue();
        let reads = tokio::task::spawn_blocking(move || feed.run(&sender));
        let pace = Pace { strict: self.args.strict, rate: self.args.rate.map(Into::into) };
        let writer = Writer::new(client, Timestamp::from_ms(before.began_ms));
        let stop = Stop::on_signals().context("listening for signals")?;
        let mut result = Load::new(writer, pace, stop, &mut report).run(receiver).await;
        let mut lack = None;
        if result.is_ok() {
            // What it could not read it has not sent, and the end of the input was taken for it.
            lack = reads.await?.context("reading temporary files")?;
            if let Some(change) = watched.and_then(|watched| watched.change()) {
                result = Err(Ended::Changed(change));
            }
        }
        // Who may not write at all has begun nothing that could be gone on with.
        let is_refused = matches!(&result, Err(Ended::Failed(failed)) if failed.is_forbidden());
        let is_over = result.is_ok() || (is_refused && report.progress.records == 0);
        let is_kept = !is_over && report.is_kept();
        let progress = report.end(is_over)?;
        Ok(Outcome { progress, before, lack, result, is_kept })
    }

    /// What is read, from where it is read, and where its rejected lines go.
    async fn prepare(
        &self,
        opened: Opened,
        earlier: Option<Progress>,
    ) -> anyhow::Result<(Source, Option<Progress>, Option<RejectsFile>)> {
        let (source, earlier) = self.source_from(opened, earlier).await?;
        let rejects = self.open_rejects(earlier.as_ref(), &source)?;
        Ok((source, earlier, rejects))
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
    async fn source_from(
        &self,
        opened: Opened,
        earlier: Option<Progress>,
    ) -> anyhow::Result<(Source, Option<Progress>)> {
        let mut source = self.source(opened, self.looked().await?);
        let Some(earlier) = earlier else { return Ok((source, None)) };
        let bar = Bar::new(source.read.clone(), 0)?;
        let (gone, earlier) = aside(move || {
            let is_same = source.feed.go_to(&earlier, |records| bar.pass(records));
            bar.clear();
            (is_same.map(|is_same| is_same.then_some(source)), earlier)
        })
        .await;
        if let Some(source) = gone.context("reading temporary files")? {
            return Ok((source, Some(earlier)));
        }
        // Where nothing was loaded there is nothing to tell.
        if earlier.records > 0 {
            errln!(
                "{} is not what it was when the import stopped after line {}: this one begins at the first row.",
                visible(&self.input.name()),
                earlier.line
            );
        }
        let looked = self.looked().await?;
        Ok((self.source(self.manner.open(self.input)?, looked), None))
    }

    fn source(&self, opened: Opened, looked: Option<Looked>) -> Source {
        let Opened { reading, progress: read, kind, encoding, watched } = opened;
        let digest = Digest::of_heading(&kind);
        let feed = Feed::new(reading, digest, self.args.on_duplicate, self.args.rejects.is_some());
        let feed = match looked {
            Some(looked) => feed.with_looked(looked),
            None => feed,
        };
        Source { feed, read, encoding, watched }
    }

    /// What a first pass over the input finds, if one is needed.
    async fn looked(&self) -> anyhow::Result<Option<Looked>> {
        if self.args.on_duplicate == OnDuplicate::Last {
            return Ok(None);
        }
        let Opened { reading, progress, kind, .. } = self.manner.open(self.input)?;
        let bar = Bar::new(progress, 0)?;
        let looked = aside(move || {
            let looked = duplicates::look(bar.watch(reading), Digest::of_heading(&kind));
            bar.clear();
            looked
        });
        let looked = looked.await;
        Ok(Some(looked.context("looking for keys that are there twice, in temporary files (TMPDIR says where)")?))
    }

    fn open_rejects(&self, earlier: Option<&Progress>, source: &Source) -> anyhow::Result<Option<RejectsFile>> {
        let (rejects, remark) = RejectsFile::open(self.args.rejects.as_deref(), earlier, source.encoding)?;
        if let Some(remark) = remark {
            errln!("warning: {}", visible(&remark));
        }
        Ok(rejects)
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
    let looked = job.looked().await?;
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let binding = Binding { fleet: String::new(), keyspace: 0, options: BTreeMap::new() };
    let began_ms = u64::try_from(now_ms).unwrap_or_default();
    let progress = Progress::begin(input.name(), binding, began_ms, String::new());
    let source = job.source(opened, looked);
    let rejects = job.open_rejects(None, &source)?;
    let Source { mut feed, read, watched, .. } = source;
    let mut report = Report::new(progress, Keeper::none(), rejects, Bar::new(read, 0)?);
    let strict = args.strict;
    let (progress, ended, lack) = aside(move || {
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
        if ended.is_none() {
            ended = watched.and_then(|watched| watched.change()).map(Ended::Changed);
        }
        let lack = feed.lack().filter(|_| ended.is_none());
        anyhow::Ok((report.end(true)?, ended, lack))
    })
    .await?;
    let (loadable, bad, left_out) = (progress.stored, progress.rejected, progress.left_out);
    if args.json {
        outln!("{}", json!({ "dry_run": true, "loadable": loadable, "bad": bad, "left_out": left_out }))?;
    } else {
        outln!("{loadable} rows can be loaded, {bad} bad rows{}. Nothing was stored.", left_out_text(left_out))?;
    }
    match (ended, lack) {
        (Some(ended), _) => Err(ended.into()),
        (None, Some(lack)) => Err(anyhow::Error::msg(lack)),
        (None, None) => Ok(bad == 0),
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
fn with_advice(input: &Input, ended: Ended, is_kept: bool) -> anyhow::Error {
    let advice = match (&ended, is_kept) {
        (Ended::Broken { .. } | Ended::Strict(_) | Ended::Refused(_), true) => {
            "What stands before it is loaded; once that is mended, the same command goes on there"
        }
        (Ended::Changed(_), true) => {
            "What was read is loaded; the same command goes on behind it, or begins at the first row where that has changed"
        }
        (_, true) => "The same command goes on where this one stopped",
        (Ended::Failed(failed), false) if failed.is_forbidden() => "The same command begins at the first row",
        (Ended::Broken { .. }, false) => "What came before it is loaded, and is not all there was",
        (_, false) if input.kept_path().is_none() => {
            "What came before is loaded; an import of standard input begins anew each time"
        }
        (_, false) => {
            "What came before is loaded; how far it got is kept nowhere, so the same command begins at the first row"
        }
    };
    anyhow::anyhow!("{:#}. {advice}", anyhow::Error::new(ended))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

#[cfg(test)]
#[path = "honesty_tests.rs"]
mod honesty_tests;
