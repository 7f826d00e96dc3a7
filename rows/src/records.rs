//! The records of a source, one after another.
//!
//! - Every line of the input is part of the heading, of exactly one record, or blank.
//! - Records come in the order of the file, each with the number of the line on which it begins.
//! - A quote without an end spoils its own line. Where it ends is looked for ahead, and what was looked at is read anew if it does not. A
//!   search that failed tells how every search would end that begins before the same place, so no line is searched more than twice.
//! - What is held is one record of the largest size, whatever the input is.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

use std::collections::HashMap;

use bytes::Bytes;
use holdfast_types::limits;
use thiserror::Error;

use crate::encoding::Encoding;
use crate::format::{Dialect, Format, Heading};
use crate::json::JsonRow;
use crate::lines::{Ahead, Lines};
use crate::record::{BadRecord, Content, Extent, Record};
use crate::separated::{Fed, Splitter};
use crate::source::Source;

/// A file whose columns have no names that tell them apart.
#[derive(Debug, Error)]
pub enum HeadingError {
    /// There is no line.
    #[error("there is no heading: the input is empty, and its first line names the columns")]
    Missing,
    /// The line is no heading.
    #[error("line {line} is no heading: {reason}")]
    Bad {
        /// Its line, from 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// Two columns have the same name.
    #[error("columns {first} and {second} are both called {name:?}: give each column a name of its own")]
    Twice {
        /// The name.
        name: String,
        /// The first column of that name, from 1.
        first: usize,
        /// The second one.
        second: usize,
    },
    /// There are more columns than any file has.
    #[error("there are more than {} columns", limits::MAX_ROW_COLUMNS)]
    TooMany,
    /// The dialect is no dialect.
    #[error("{0}")]
    Dialect(String),
    /// The input cannot be read.
    #[error("reading the heading: {0}")]
    Unread(String),
}

/// The records of a source.
pub struct Records {
    lines: Lines,
    kind: Kind,
    heading: Vec<String>,
    /// The record before this one was too long, and goes on.
    is_within_long: bool,
    is_done: bool,
}

enum Kind {
    Separated(Separated),
    JsonLines,
}

struct Separated {
    dialect: Dialect,
    splitter: Splitter,
    /// Blank lines are rows: there is one column, which has no quotes to tell an empty text from nothing.
    are_blanks_rows: bool,
    /// A quote that is open at the end of a line before this one has no end.
    open_until_line: u64,
}

impl Records {
    /// Reads the heading, if the format has one. `dialect` means nothing to JSON lines.
    pub fn new(source: Source, format: Format, dialect: &Dialect) -> Result<Self, HeadingError> {
        let mut lines = Lines::new(source);
        if format == Format::JsonLines {
            let kind = Kind::JsonLines;
            return Ok(Self { lines, kind, heading: Vec::new(), is_within_long: false, is_done: false });
        }
        check(dialect)?;
        let most = limits::MAX_ROW_COLUMNS.saturating_add(1);
        let mut separated = Separated {
            dialect: dialect.clone(),
            splitter: Splitter::new(dialect, most),
            are_blanks_rows: false,
            open_until_line: 0,
        };
        let heading = match &dialect.heading {
            Heading::Given(names) => names.clone(),
            Heading::FirstLine => separated.read_heading(&mut lines)?,
        };
        check_names(&heading)?;
        separated.splitter = Splitter::new(dialect, heading.len());
        separated.are_blanks_rows = heading.len() == 1 && dialect.quote.is_none();
        let kind = Kind::Separated(separated);
        Ok(Self { lines, kind, heading, is_within_long: false, is_done: false })
    }

    /// The names of the columns; none for JSON lines.
    pub fn heading(&self) -> &[String] {
        &self.heading
    }

    /// The encoding of the records as they are in the file.
    pub fn encoding(&self) -> Encoding {
        self.lines.encoding()
    }

    /// Bytes of the unpacked input up to the end of the newest record.
    pub fn position(&self) -> u64 {
        self.lines.position()
    }

    /// What looks wrong and need not be, as a sentence for the user: a heading of one column that another delimiter would make several.
    pub fn doubt(&self) -> Option<String> {
        let Kind::Separated(Separated { dialect, .. }) = &self.kind else { return None };
        let ([name], Heading::FirstLine) = (&self.heading[..], &dialect.heading) else { return None };
        let other = [';', '\t', ',', '|'].into_iter().find(|other| name.contains(*other))?;
        Some(format!("the heading is one column, {name:?}: perhaps the delimiter is {other:?}"))
    }

    /// The next piece of a record that is too long to be held.
    fn next_piece(&mut self) -> Option<Record> {
        let line = self.lines.line();
        let raw = match self.lines.look(0) {
            Ahead::Line { end, .. } => {
                self.is_within_long = false;
                self.lines.take(end, 1)
            }
            Ahead::TooLong => self.lines.take(limits::MAX_RECORD_BYTES, 0),
            Ahead::End => {
                self.is_within_long = false;
                return self.last();
            }
        };
        Some(bad(line, raw, format!("line {line} goes on"), Extent::Piece))
    }

    /// What is said when no line is left: nothing, or why there is none.
    fn last(&mut self) -> Option<Record> {
        self.is_done = true;
        let reason = format!("the input cannot be read any further: {}", self.lines.failure()?);
        let line = self.lines.line();
        Some(bad(line, self.lines.take_rest(), reason, Extent::Rest))
    }
}

impl Iterator for Records {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        if self.is_within_long {
            return self.next_piece();
        }
        while !self.is_done {
            let (content_end, end) = match self.lines.look(0) {
                Ahead::Line { content_end, end } => (content_end, end),
                Ahead::TooLong => {
                    self.is_within_long = true;
                    let line = self.lines.line();
                    let raw = self.lines.take(limits::MAX_RECORD_BYTES, 0);
                    return Some(bad(line, raw, too_long(), Extent::Record));
                }
                Ahead::End => return self.last(),
            };
            match &mut self.kind {
                Kind::Separated(separated) => {
                    if content_end == 0 && !separated.are_blanks_rows {
                        self.lines.take(end, 1);
                        continue;
                    }
                    let found = separated.read(&mut self.lines, content_end, end);
                    return Some(found.into_record(&self.heading));
                }
                Kind::JsonLines => {
                    if let Some(record) = read_json(&mut self.lines, content_end, end) {
                        return Some(record);
                    }
                }
            }
        }
        None
    }
}

/// How many cells a record has, and those that were kept; or the number of the bad one, if it is one that is bad, and why.
type Cells = Result<(usize, Vec<Option<Bytes>>), (Option<usize>, String)>;

/// A record whose cells are not yet compared with the heading.
struct Found {
    line: u64,
    last_line: u64,
    raw: Bytes,
    cells: Cells,
}

impl Found {
    fn into_record(self, heading: &[String]) -> Record {
        let Self { line, last_line, raw, cells } = self;
        let lines = if last_line > line { format!(", on lines {line} to {last_line}") } else { String::new() };
        match cells {
            Ok((count, cells)) if count == heading.len() => Record { line, raw, content: Ok(Content::Cells(cells)) },
            Ok((count, _)) => {
                let plural = if count == 1 { "" } else { "s" };
                let reason = format!("{count} column{plural} where the heading has {}{lines}", heading.len());
                bad(line, raw, reason, Extent::Record)
            }
            Err((cell, reason)) => {
                let place = cell.map(|cell| place(cell, heading)).unwrap_or_default();
                bad(line, raw, format!("{place}{reason}{lines}"), Extent::Record)
            }
        }
    }
}

impl Separated {
    fn read_heading(&mut self, lines: &mut Lines) -> Result<Vec<String>, HeadingError> {
        let found = loop {
            match lines.look(0) {
                // A blank line has no content; a heading has.
                Ahead::Line { content_end: 0, end } => {
                    lines.take(end, 1);
                }
                Ahead::Line { content_end, end } => break self.read(lines, content_end, end),
                Ahead::TooLong => return Err(HeadingError::Bad { line: lines.line(), reason: too_long() }),
                Ahead::End => {
                    return Err(match lines.failure() {
                        Some(error) => HeadingError::Unread(error.to_string()),
                        None => HeadingError::Missing,
                    });
                }
            }
        };
        let line = found.line;
        let (_, cells) = found.cells.map_err(|(cell, reason)| {
            let reason = format!("{}{reason}", cell.map(|cell| place(cell, &[])).unwrap_or_default());
            HeadingError::Bad { line, reason }
        })?;
        // The text that stands for null is a name like any other.
        let null = self.dialect.null.clone().unwrap_or_default();
        let name = |cell: Option<Bytes>| cell.map_or_else(|| null.clone(), |cell| cell.to_vec());
        let names = cells.into_iter().map(|cell| String::from_utf8(name(cell)));
        let names: Vec<String> =
            names.collect::<Result<_, _>>().map_err(|error| HeadingError::Bad { line, reason: error.to_string() })?;
        match not_a_heading(&names) {
            Some(reason) => Err(HeadingError::Bad { line, reason }),
            None => Ok(names),
        }
    }

    /// Takes the record that begins with the line ahead.
    fn read(&mut self, lines: &mut Lines, content_end: usize, end: usize) -> Found {
        if lines.encoding().is_utf8() {
            self.read_utf8(lines, content_end, end)
        } else {
            self.read_other(lines, content_end, end)
        }
    }

    fn read_utf8(&mut self, lines: &mut Lines, content_end: usize, end: usize) -> Found {
        let mut extent = Extents { from: 0, content_end, end, lines: 1 };
        self.splitter.clear();
        let fed = loop {
            let fed = self.splitter.feed(lines.bytes(0, extent.end), extent.from, extent.content_end, extent.end);
            if fed != Fed::Open || !self.may_go_on(lines, &mut extent) {
                break fed;
            }
        };
        if let Some(refused) = self.refuse(lines, fed, &extent, end) {
            return refused;
        }
        let line = lines.line();
        let raw = lines.take(extent.end, extent.lines);
        let cells = match std::str::from_utf8(&raw) {
            Ok(_) => self.cells(&raw),
            Err(error) => Err((None, not_utf8(&raw, line, error.valid_up_to()))),
        };
        Found { line, last_line: line.saturating_add(extent.lines).saturating_sub(1), raw, cells }
    }

    /// As above, with a text of its own for the record.
    fn read_other(&mut self, lines: &mut Lines, content_end: usize, end: usize) -> Found {
        let mut extent = Extents { from: 0, content_end, end, lines: 1 };
        let (mut text, mut is_sound) = (String::new(), true);
        self.splitter.clear();
        let fed = loop {
            let from = text.len();
            let (content, is_content_sound) = lines.text(extent.from, extent.content_end);
            text.push_str(&content);
            let content_end = text.len();
            text.push_str(&lines.text(extent.content_end, extent.end).0);
            is_sound &= is_content_sound;
            let fed = self.splitter.feed(text.as_bytes(), from, content_end, text.len());
            if fed != Fed::Open || text.len() > limits::MAX_RECORD_BYTES || !self.may_go_on(lines, &mut extent) {
                break fed;
            }
        };
        if let Some(refused) = self.refuse(lines, fed, &extent, end) {
            return refused;
        }
        let line = lines.line();
        let cells = if is_sound {
            self.cells(&Bytes::from(text))
        } else {
            Err((None, format!("bytes that mean nothing in {}", lines.encoding().name())))
        };
        let raw = lines.take(extent.end, extent.lines);
        Found { line, last_line: line.saturating_add(extent.lines).saturating_sub(1), raw, cells }
    }

    fn cells(&self, text: &Bytes) -> Cells {
        let cells = self.splitter.cells(text, &self.dialect).map_err(|(cell, reason)| (Some(cell), reason))?;
        Ok((self.splitter.count(), cells))
    }

    /// Goes to the next line of a record whose quote is open, if there is one in which it may end.
    fn may_go_on(&self, lines: &mut Lines, extent: &mut Extents) -> bool {
        if lines.line().saturating_add(extent.lines) <= self.open_until_line {
            return false;
        }
        let Ahead::Line { content_end, end } = lines.look(extent.end) else { return false };
        *extent = Extents { from: extent.end, content_end, end, lines: extent.lines.saturating_add(1) };
        true
    }

    /// Takes the first line alone if its quote has no end, or if text follows one that has.
    fn refuse(&mut self, lines: &mut Lines, fed: Fed, extent: &Extents, first_end: usize) -> Option<Found> {
        let line = lines.line();
        let last_line = line.saturating_add(extent.lines).saturating_sub(1);
        let (cell, reason) = match fed {
            Fed::Whole => return None,
            Fed::Open => (self.splitter.count().saturating_add(1), "its quote has no end".to_owned()),
            Fed::Trailing { cell } if extent.lines == 1 => (cell, "text follows its closing quote".to_owned()),
            Fed::Trailing { cell } => {
                (cell, format!("its quote has no end: the next one, on line {last_line}, is followed by text"))
            }
        };
        if extent.lines > 1 {
            self.open_until_line = self.open_until_line.max(last_line);
        }
        let raw = lines.take(first_end, 1);
        Some(Found { line, last_line: line, raw, cells: Err((Some(cell), reason)) })
    }
}

/// The newest line of a record that is being looked at, in bytes from where the record begins, and how many lines it has so far.
struct Extents {
    from: usize,
    content_end: usize,
    end: usize,
    lines: u64,
}

/// Takes the line ahead; `None` if it is blank.
fn read_json(lines: &mut Lines, content_end: usize, end: usize) -> Option<Record> {
    let line = lines.line();
    if lines.encoding().is_utf8() {
        let raw = lines.take(end, 1);
        let content = raw.slice(..content_end.min(raw.len()));
        if content.trim_ascii().is_empty() {
            return None;
        }
        let content = match std::str::from_utf8(&content) {
            Ok(_) => JsonRow::parse(&content),
            Err(error) => Err(not_utf8(&content, line, error.valid_up_to())),
        };
        return Some(json_record(line, raw, content));
    }
    let (text, is_sound) = lines.text(0, content_end);
    let content = match is_sound {
        true if text.trim_ascii().is_empty() => None,
        true => Some(JsonRow::parse(&Bytes::from(text.into_owned()))),
        false => Some(Err(format!("bytes that mean nothing in {}", lines.encoding().name()))),
    };
    let raw = lines.take(end, 1);
    content.map(|content| json_record(line, raw, content))
}

fn json_record(line: u64, raw: Bytes, content: Result<JsonRow, String>) -> Record {
    match content {
        Ok(row) => Record { line, raw, content: Ok(Content::Object(row)) },
        Err(reason) => bad(line, raw, reason, Extent::Record),
    }
}

fn bad(line: u64, raw: Bytes, reason: String, extent: Extent) -> Record {
    Record { line, raw, content: Err(BadRecord { reason, extent }) }
}

fn too_long() -> String {
    format!("the line is longer than {} MiB", limits::MAX_RECORD_BYTES >> 20)
}

fn place(cell: usize, heading: &[String]) -> String {
    match cell.checked_sub(1).and_then(|index| heading.get(index)) {
        Some(name) => format!("column {cell} ({name}): "),
        None => format!("column {cell}: "),
    }
}

/// Says which byte is no UTF-8. The line may be a later one than that on which the record begins.
fn not_utf8(bytes: &[u8], line: u64, at: usize) -> String {
    let (before, rest) = bytes.split_at_checked(at).unwrap_or_default();
    let (mut ends, mut start) = (0_u64, 0);
    for end in memchr::memchr2_iter(b'\n', b'\r', before) {
        let next = end.saturating_add(1);
        if before.get(end) == Some(&b'\n') || bytes.get(next) != Some(&b'\n') {
            ends = ends.saturating_add(1);
            start = next;
        }
    }
    let line = line.saturating_add(ends);
    let column = before.len().saturating_sub(start).saturating_add(1);
    let byte = rest.first().copied().unwrap_or_default();
    format!("byte {column} of line {line}, 0x{byte:02x}, is no UTF-8: perhaps the encoding is another one")
}

fn check(dialect: &Dialect) -> Result<(), HeadingError> {
    let refuse = |said: &str| Err(HeadingError::Dialect(said.to_owned()));
    let is_letter = |byte: u8| byte.is_ascii() && !matches!(byte, b'\n' | b'\r' | 0);
    if !is_letter(dialect.delimiter) {
        return refuse("the delimiter must be one ASCII character that ends no line");
    }
    if dialect.quote.is_some_and(|quote| !is_letter(quote) || quote == dialect.delimiter) {
        return refuse("the quote must be one ASCII character that ends no line, and not the delimiter");
    }
    if dialect.escapes && (dialect.delimiter == b'\\' || dialect.quote == Some(b'\\')) {
        return refuse("where a backslash begins an escape it is neither delimiter nor quote");
    }
    Ok(())
}

/// What a first line is that names no columns, although it can be read.
fn not_a_heading(names: &[String]) -> Option<String> {
    if names.iter().any(|name| name.contains('\0')) {
        return Some("it holds zero bytes: perhaps the encoding is utf-16le or utf-16be".to_owned());
    }
    match names {
        [name] if name.starts_with("sep=") && name.chars().count() <= 5 => {
            Some("it tells spreadsheets the delimiter: leave it out, and name the delimiter yourself".to_owned())
        }
        [name, rest] if name == "sep=" && rest.is_empty() => {
            Some("it tells spreadsheets the delimiter: leave it out".to_owned())
        }
        _ => None,
    }
}

fn check_names(names: &[String]) -> Result<(), HeadingError> {
    match names.len() {
        0 => return Err(HeadingError::Dialect("name at least one column".to_owned())),
        count if count > limits::MAX_ROW_COLUMNS => return Err(HeadingError::TooMany),
        _ => {}
    }
    let mut seen: HashMap<&str, usize> = HashMap::with_capacity(names.len());
    for (second, name) in (1..).zip(names) {
        if let Some(first) = seen.insert(name, second) {
            return Err(HeadingError::Twice { name: name.clone(), first, second });
        }
    }
    Ok(())
}
