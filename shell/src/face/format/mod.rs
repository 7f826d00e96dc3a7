//! The forms that results are written in, row by row.
//!
//! - [`table`]: for people
//! - [`separated`]: csv and tsv
//! - [`json`]: one array, or one object a line

mod json;
mod separated;
mod table;
pub(super) mod values;

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use self::json::Json;
use self::separated::Separated;
use self::table::Table;
use crate::{Column, Value};

/// How results are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Lined up for people; wide cells are cut. The default on a terminal.
    Table,
    /// RFC 4180, with a heading; lines end with a line feed. Null is empty, an empty text is `""`.
    Csv,
    /// Separated by tabs, with a heading; one line a row. Tab, line feed, carriage return and backslash are written `\t`, `\n`, `\r`
    /// and `\\`; null is `\N`. The default where results do not go to a terminal.
    Tsv,
    /// One array of objects.
    Json,
    /// One object a line.
    JsonLines,
}

impl Format {
    /// Every format, by the name that people type.
    pub const NAMES: [(&'static str, Format); 5] = [
        ("table", Format::Table),
        ("csv", Format::Csv),
        ("tsv", Format::Tsv),
        ("json", Format::Json),
        ("jsonl", Format::JsonLines),
    ];

    /// What results are written in when nothing is said: a table for people, lines for programs.
    #[must_use]
    pub fn usual(output_is_terminal: bool) -> Self {
        if output_is_terminal { Format::Table } else { Format::Tsv }
    }

    /// True when no more than the rows may be written to standard output.
    pub(super) fn is_for_programs(self) -> bool {
        self != Format::Table
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = text.to_ascii_lowercase();
        let found = Format::NAMES.iter().find(|(name, _)| *name == wanted);
        found.map(|(_, format)| *format).ok_or_else(|| {
            let names: Vec<_> = Format::NAMES.iter().map(|(name, _)| *name).collect();
            format!("{text:?} is no format; there are {}", names.join(", "))
        })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Format::NAMES.iter().find(|(_, format)| format == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

/// What a table may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Layout {
    /// Columns of the screen that rows must fit; `None`: they may be as wide as they get.
    pub(super) screen: Option<usize>,
    /// Columns that one cell may take.
    pub(super) cell: Option<usize>,
}

/// The head of a column.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Heading {
    pub(super) name: String,
    /// Numbers stand right.
    pub(super) is_number: bool,
}

/// One value of a table.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Cell {
    pub(super) text: String,
}

impl Cell {
    fn made_visible(mut self) -> Self {
        if let Cow::Owned(shown) = holdfast_output::visible(&self.text) {
            self.text = shown;
        }
        self
    }
}

/// A result that is being written.
pub(super) struct Writer {
    form: Form,
    rows: u64,
}

enum Form {
    Table(Table),
    Separated(Separated),
    Json(Json),
}

impl Writer {
    /// Begins a result; machine formats write their heading at once.
    pub(super) fn begin(format: Format, columns: &[Column], layout: Layout, out: &mut dyn Write) -> io::Result<Self> {
        let names = || columns.iter().map(values::name).collect::<Vec<_>>();
        let form = match format {
            Format::Table => {
                let headings: Vec<_> = columns.iter().map(values::heading).collect();
                Form::Table(Table::new(&headings, layout))
            }
            Format::Csv => Form::Separated(Separated::csv(&names(), out)?),
            Format::Tsv => Form::Separated(Separated::tsv(&names(), out)?),
            Format::Json => Form::Json(Json::array(names(), out)?),
            Format::JsonLines => Form::Json(Json::lines(names())),
        };
        Ok(Self { form, rows: 0 })
    }

    /// Writes a row, or keeps it for a moment.
    pub(super) fn row(&mut self, row: &[Value], out: &mut dyn Write) -> io::Result<()> {
        self.rows += 1;
        match &mut self.form {
            Form::Table(table) => table.row(row.iter().map(values::cell).collect(), out),
            Form::Separated(separated) => separated.row(&row.iter().map(values::field).collect::<Vec<_>>(), out),
            Form::Json(json) => json.row(row.iter().map(values::json), out),
        }
    }

    /// Writes what was kept for a moment.
    pub(super) fn settle(&mut self, out: &mut dyn Write) -> io::Result<()> {
        match &mut self.form {
            Form::Table(table) => table.settle(out),
            Form::Separated(_) | Form::Json(_) => Ok(()),
        }
    }

    /// Rows so far.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Ends the result; gives how many cells were cut.
    pub(super) fn finish(self, out: &mut dyn Write) -> io::Result<u64> {
        match self.form {
            Form::Table(table) => table.finish(out),
            Form::Separated(_) => Ok(0),
            Form::Json(json) => json.finish(out).map(|()| 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_known_by_their_names() {
        for (name, format) in Format::NAMES {
            assert_eq!(name.to_uppercase().parse(), Ok(format));
            assert_eq!(format.to_string(), name);
        }
        assert!("xml".parse::<Format>().unwrap_err().ends_with("there are table, csv, tsv, json, jsonl"));
    }

    #[test]
    fn people_get_tables_and_programs_get_lines() {
        assert_eq!((Format::usual(true), Format::usual(false)), (Format::Table, Format::Tsv));
    }
}
