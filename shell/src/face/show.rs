//! Shows the result of one statement: rows in the chosen format, progress while nothing is seen, a footer for people.

use holdfast_output::{Output, errln};
use std::io::{self, Write};
use std::time::{Duration, Instant};

use super::format::{Format, Layout, Writer};
use super::pager::Destination;
use super::progress::Progress;
use super::settings::Settings;
use super::terminal;
use crate::text;
use crate::{Sink, Summary, Value, exec};

/// A table that waits for its widths is shown after this, with the rows that there are.
const SETTLE_AFTER: Duration = Duration::from_secs(1);
/// In tables that go to a file a cell may take so many columns, unless `\width` says otherwise.
const FILE_CELL_COLUMNS: usize = 100;

/// The sink of one statement.
///
/// Invariants:
/// - in formats for programs nothing but rows goes to standard output
/// - the progress line is gone before anything is written to the same terminal
pub(super) struct Show {
    format: Format,
    layout: Layout,
    destination: Destination,
    writer: Option<Writer>,
    progress: Progress,
    output_is_terminal: bool,
    begun: Instant,
}

impl Show {
    pub(super) fn begin(settings: &Settings) -> Self {
        let size = terminal::size();
        let on_terminal = settings.terminals.output;
        let pager = if settings.is_interactive { settings.pager_command() } else { None };
        let layout = match (settings.width, on_terminal) {
            (Some(0), _) => Layout { screen: None, cell: None },
            (Some(columns), _) => Layout { screen: None, cell: Some(columns) },
            (None, true) => Layout { screen: Some(size.columns), cell: None },
            (None, false) => Layout { screen: None, cell: Some(FILE_CELL_COLUMNS) },
        };
        Self {
            format: settings.format,
            layout,
            destination: Destination::new(Box::new(Output::new()), pager, size, on_terminal),
            writer: None,
            progress: Progress::begin(settings.terminals.errors && !settings.is_quiet),
            output_is_terminal: on_terminal,
            begun: Instant::now(),
        }
    }

    /// Ends the result of a statement that was done.
    pub(super) fn finish(mut self, summary: &Summary, settings: &Settings) -> io::Result<()> {
        self.progress.hide(true);
        let mut notes = summary.notes.clone();
        if let Some(writer) = self.writer.take() {
            let rows = writer.rows();
            let cut = writer.finish(&mut self.destination)?;
            if self.format == Format::Table {
                let footer = format!("({})\n", text::counted(rows, "row"));
                self.destination.write_all(footer.as_bytes())?;
            }
            if cut > 0 {
                notes.push(format!("{} cut to fit: \\width 0 shows all, and so does \\format json", were_cut(cut)));
            }
        }
        let tag = tag(summary);
        if !tag.is_empty() && !self.format.is_for_programs() {
            writeln!(self.destination, "{tag}")?;
        }
        let is_broken = self.destination.is_broken();
        self.destination.finish()?;
        if settings.is_quiet || is_broken {
            return Ok(());
        }
        if !tag.is_empty() && self.format.is_for_programs() && settings.is_interactive {
            errln!("{tag}");
        }
        for note in notes {
            errln!("note: {note}");
        }
        Ok(())
    }

    /// Ends the result of a statement that failed: what had come is shown.
    pub(super) fn abandon(mut self) {
        self.progress.hide(true);
        if let Some(writer) = self.writer.take() {
            // The error itself says more than a result that cannot be written.
            let _ = writer.finish(&mut self.destination);
        }
        let _ = self.destination.finish();
    }
}

fn were_cut(cells: u64) -> String {
    format!("{} {}", text::counted(cells, "value"), if cells == 1 { "was" } else { "were" })
}

/// What a statement without rows says: `UPDATE 3`, or its own sentence.
fn tag(summary: &Summary) -> String {
    match (&summary.message, summary.rows_affected) {
        (Some(message), _) => message.clone(),
        (None, Some(rows)) => format!("{} {rows}", summary.verb),
        (None, None) if summary.rows_returned.is_some() => String::new(),
        (None, None) => summary.verb.to_owned(),
    }
}

impl Sink for Show {
    fn columns(&mut self, names: &[String]) -> io::Result<()> {
        self.writer = Some(Writer::begin(self.format, names, self.layout, &mut self.destination)?);
        Ok(())
    }

    fn rows(&mut self, rows: Vec<Vec<Value>>) -> io::Result<()> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        if self.output_is_terminal {
            self.progress.hide(true);
        }
        for row in &rows {
            writer.row(row, &mut self.destination)?;
        }
        if self.output_is_terminal && self.begun.elapsed() >= SETTLE_AFTER {
            writer.settle(&mut self.destination)?;
        }
        // Once rows reach the terminal, or a pager has it, they are the progress.
        if self.output_is_terminal {
            self.progress.hide(!self.destination.is_holding());
        }
        Ok(())
    }

    fn progress(&mut self, progress: &exec::Progress) {
        self.progress.note(progress.rows_scanned.max(progress.rows_changed), progress.bytes_scanned);
    }
}
