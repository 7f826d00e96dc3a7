//! `holdfast export`: writes the rows of a keyspace to a file, which `holdfast import` reads back to the same rows.
//!
//! - [`args`]: the command line
//! - [`reading`]: pages, some ahead of the writer
//! - [`target`], [`place`]: the file until it is whole, and where a run that was broken off stands
//! - [`printed`]: standard output

mod args;
mod place;
mod printed;
mod reading;
mod target;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use holdfast_client::{Client, ClientError, KeySpan, KeyValue, Rejected, Scan, ScanPlace, Timestamp};
use holdfast_output::{Unwritten, errln, outln};
use holdfast_rows::Format;
use holdfast_rows::export_file::{Bound, End, ExportedRow, Head, Writer};
use holdfast_types::limits;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::sync::mpsc::Receiver;

pub use self::args::ExportArgs;

use self::args::format_name;
use self::place::{Place, Recipe, to_hex};
use self::printed::Printed;
use self::reading::{Read, read_ahead};
use self::target::{Begun, Names, Target};

/// How often the bar moves.
const BAR_EVERY: Duration = Duration::from_millis(250);

/// Runs the export.
pub async fn run(args: &ExportArgs) -> anyhow::Result<()> {
    let (form, span) = (args.form()?, args.keys.span()?);
    let names = if args.is_printed() { None } else { Some(Names::of(&args.output)?) };
    let client = crate::oneshot::connect(&args.through, &args.keyspace).await?;
    let client = client.with_deadline(limits::EXPORT_PAGE_WITHIN);
    let head = head(args, &client, &span);
    let scan = scan(&client, &span, args.at);
    let Some(names) = names else {
        let pages = read_ahead(scan);
        let end = tokio::task::spawn_blocking(move || print(pages, form.0, &head)).await??;
        errln!("{} rows exported.", end.rows);
        return Ok(());
    };
    let recipe = Recipe {
        fleet: client.fleet_id().to_string(),
        keyspace: client.keyspace_id().0,
        start: to_hex(span.start()),
        end: span.end().map(to_hex),
        at: args.at.map(|at| at.0),
        format: format_name(form.0).to_owned(),
        compression: form.1.name().to_owned(),
    };
    let file = names.file().to_owned();
    let restart = args.restart;
    let begun = tokio::task::spawn_blocking(move || Target::begin(names, recipe, form, &head, restart)).await??;
    let scan = match begun.place.next()? {
        None => scan,
        Some(next) => {
            errln!("Going on after {} rows (--restart begins anew).", begun.place.rows);
            scan.go_on(next)
        }
    };
    let pages = read_ahead(scan);
    let (end, file_bytes) = tokio::task::spawn_blocking(move || write(pages, begun)).await??;
    if args.json {
        let file = file.to_string_lossy();
        outln!("{}", json!({ "file": file, "rows": end.rows, "bytes": file_bytes, "sha256": end.sha256 }))?;
    } else {
        outln!("{} rows exported to {}, {}.", end.rows, args.output.display(), HumanBytes(file_bytes))?;
    }
    Ok(())
}

fn scan(client: &Client, span: &KeySpan, at: Option<Timestamp>) -> Scan {
    let scan = client.scan(span.clone());
    match at {
        Some(at) => scan.at(at),
        None => scan,
    }
}

fn head(args: &ExportArgs, client: &Client, span: &KeySpan) -> Head {
    Head {
        keyspace: args.keyspace.clone(),
        fleet: Some(client.fleet_id().to_string()),
        start: Some(span.start()).filter(|start| !start.is_empty()).map(bound),
        end: span.end().map(bound),
        at: args.at.map(|at| at.0.to_string()),
        program: Some(concat!("holdfast ", env!("CARGO_PKG_VERSION")).to_owned()),
    }
}

fn bound(key: &[u8]) -> Bound {
    Bound(Bytes::copy_from_slice(key))
}

/// The earliest and the latest version that something was read at.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
struct ReadAt(Option<(u64, u64)>);

impl ReadAt {
    fn observe(&mut self, at: Option<Timestamp>) {
        if let Some(Timestamp(at)) = at {
            self.0 = Some(self.0.map_or((at, at), |(first, last)| (first.min(at), last.max(at))));
        }
    }

    fn end(self) -> End {
        let text = |version: u64| version.to_string();
        let (read_from, read_to) = (self.0.map(|(first, _)| text(first)), self.0.map(|(_, last)| text(last)));
        End { read_from, read_to, ..End::default() }
    }
}

fn exported(row: KeyValue) -> ExportedRow {
    ExportedRow { line: 0, key: row.key, value: row.value, version: row.version, expires_at: row.expires_at }
}

/// Writes pages to standard output.
fn print(mut pages: Receiver<Read>, format: Format, head: &Head) -> anyhow::Result<End> {
    let mut read_at = ReadAt::default();
    let mut writer = Writer::new(Printed::default(), format, head).map_err(unprinted)?;
    loop {
        match pages.blocking_recv() {
            Some(Read::Page { rows, at, .. }) => {
                read_at.observe(at);
                rows.into_iter().try_for_each(|row| writer.row(&exported(row))).map_err(unprinted)?;
            }
            Some(Read::Done { at }) => {
                read_at.observe(at);
                break;
            }
            Some(Read::Failed(error)) => return Err(unread(error, "reading rows")),
            None => bail!("reading was broken off"),
        }
    }
    let (mut out, end) = writer.finish(read_at.end()).map_err(unprinted)?;
    std::io::Write::flush(&mut out).map_err(unprinted)?;
    Ok(end)
}

/// Why standard output took no more, as commands end by it.
fn unprinted(error: std::io::Error) -> anyhow::Error {
    error.downcast::<Unwritten>().map_or_else(Into::into, Into::into)
}

/// Writes pages to a file, and puts it in its place.
fn write(mut pages: Receiver<Read>, begun: Begun) -> anyhow::Result<(End, u64)> {
    let Begun { mut target, mut writer, place } = begun;
    let mut read_at = ReadAt(place.read);
    let mut keeping = Keeping { kept: Instant::now(), kept_bytes: writer.digest().bytes() };
    // Where the file stands, when that is not kept yet.
    let mut unkept: Option<ScanPlace> = None;
    let bar = bar()?;
    bar.set_position(writer.rows());
    bar.reset_eta();
    loop {
        match pages.blocking_recv() {
            Some(Read::Page { rows, at, next }) => {
                read_at.observe(at);
                bar.inc(rows.len() as u64);
                rows.into_iter().try_for_each(|row| writer.row(&exported(row))).context("writing rows")?;
                bar.set_message(HumanBytes(writer.digest().bytes()).to_string());
                unkept = next;
                if keeping.is_due(writer.digest().bytes())
                    && let Some(next) = unkept.take()
                {
                    let place = Place::between(target.recipe().clone(), &next, read_at.0);
                    target.keep(&mut writer, place)?;
                    keeping = Keeping { kept: Instant::now(), kept_bytes: writer.digest().bytes() };
                }
            }
            Some(Read::Done { at }) => {
                read_at.observe(at);
                break;
            }
            Some(Read::Failed(error)) => {
                bar.finish_and_clear();
                if let Some(next) = unkept {
                    let place = Place::between(target.recipe().clone(), &next, read_at.0);
                    target.keep(&mut writer, place)?;
                }
                return Err(unread(error, "reading rows; run the export again to go on"));
            }
            None => bail!("reading was broken off; run the export again to go on"),
        }
    }
    bar.finish_and_clear();
    target.finish(writer, read_at.end())
}

/// When the place was kept.
struct Keeping {
    kept: Instant,
    kept_bytes: u64,
}

impl Keeping {
    fn is_due(&self, bytes: u64) -> bool {
        bytes.saturating_sub(self.kept_bytes) >= limits::EXPORT_KEEP_BYTES
            || self.kept.elapsed() >= limits::EXPORT_KEEP_EVERY
    }
}

fn bar() -> anyhow::Result<ProgressBar> {
    let template = "{spinner} {pos} rows, {msg}, {per_sec}, {elapsed}";
    let bar =
        ProgressBar::new_spinner().with_style(ProgressStyle::with_template(template).context("the template is legal")?);
    bar.enable_steady_tick(BAR_EVERY);
    Ok(bar)
}

/// `otherwise` is what was done when the error came, unless time alone made the export impossible.
fn unread(error: ClientError, otherwise: &'static str) -> anyhow::Error {
    let is_too_old = matches!(error, ClientError::Rejected(Rejected::BelowGcThreshold { .. }));
    anyhow::Error::from(error).context(match is_too_old {
        true => "what was to be read is no longer kept: begin anew with --restart, at a newer version if one was named",
        false => otherwise,
    })
}
