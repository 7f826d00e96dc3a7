//! The forms that results are written in, row by row.
//!
//! - [`table`]: for people
//! - [`json`]: one array, or one object a line
//! - csv and tsv are written by `holdfast-rows`, which reads them too

mod json;
mod table;
pub(super) mod values;

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use holdfast_rows::write::RowWriter;
use holdfast_rows::{Dialect, Format as FileFormat};

use self::json::Json;
use self::table::Table;
use crate::Value;

/// How results are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Lined up for people; wide cells are cut. The default on a terminal.
    Table,
    /// RFC 4180, with a heading; lines end with a line feed. Null is empty, an empty text is `""`. Bytes that are no text are `base64:...`.
    Csv,
    /// Separated by tabs, with a heading; one line a row. Tab, line feed, carriage return and backslash are written `\t`, `\n`, `\r`
    /// and `\\`; null is `\N`, bytes are as in csv. The default where results do not go to a terminal.
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

/// A result that is being written.
pub(super) struct Writer {
    form: Form,
    rows: u64,
}

enum Form {
    Table(Table),
    /// What it has written is taken from it row by row.
    Separated(RowWriter<Vec<u8>>),
    Json(Json),
}

impl Writer {
    /// Begins a result; machine formats write their heading at once.
    pub(super) fn begin(format: Format, names: &[String], layout: Layout, out: &mut dyn Write) -> io::Result<Self> {
        let form = match format {
            Format::Table => Form::Table(Table::new(names, layout)),
            Format::Csv | Format::Tsv => {
                let (format, dialect) = match format {
                    Format::Csv => (FileFormat::Csv, Dialect { null: Some(Vec::new()), ..Dialect::csv() }),
                    _ => (FileFormat::Tsv, Dialect::tsv()),
                };
                let mut separated = RowWriter::new(Vec::new(), format, &dialect, names)?;
                take(&mut separated, out)?;
                Form::Separated(separated)
            }
            Format::Json => Form::Json(Json::array(names.to_vec(), out)?),
            Format::JsonLines => Form::Json(Json::lines(names.to_vec())),
        };
        Ok(Self { form, rows: 0 })
    }

    /// Writes a row, or keeps it for a moment.
    pub(super) fn row(&mut self, row: &[Value], out: &mut dyn Write) -> io::Result<()> {
        self.rows += 1;
        match &mut self.form {
            Form::Table(table) => table.row(row, out),
            Form::Separated(separated) => {
                let fields: Vec<_> = row.iter().map(values::field).collect();
                separated.row(&fields.iter().map(Option::as_deref).collect::<Vec<_>>())?;
                take(separated, out)
            }
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

fn take(separated: &mut RowWriter<Vec<u8>>, out: &mut dyn Write) -> io::Result<()> {
    let written = separated.out_mut();
    out.write_all(written)?;
    written.clear();
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use holdfast_rows::write::decode_cell;
    use holdfast_rows::{Content, Encoding, Records, Source};
    use proptest::prelude::*;

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

    fn written(format: Format, rows: &[[Value; 2]]) -> Vec<u8> {
        let columns = ["key", "value"].map(str::to_owned);
        let (mut out, layout) = (Vec::new(), Layout { screen: None, cell: None });
        let mut writer = Writer::begin(format, &columns, layout, &mut out).unwrap();
        rows.iter().for_each(|row| writer.row(row, &mut out).unwrap());
        writer.finish(&mut out).unwrap();
        out
    }

    /// Reads what was written as `import` does.
    fn read(format: FileFormat, dialect: &Dialect, written: Vec<u8>) -> Vec<Vec<Option<Bytes>>> {
        let source = Source::from_reader("written", io::Cursor::new(written), None, Encoding::default()).unwrap();
        let cells = |content| match content {
            Content::Cells(cells) => cells,
            Content::Object(_) => panic!("cells were written"),
        };
        let decoded = |cell: Bytes| Bytes::from(decode_cell(&cell).unwrap().into_owned());
        Records::new(source, format, dialect)
            .unwrap()
            .map(|record| cells(record.content.unwrap()).into_iter().map(|cell| cell.map(decoded)).collect())
            .collect()
    }

    fn cell() -> impl Strategy<Value = Option<Vec<u8>>> {
        let nasty = prop::sample::select(vec![
            "\\N",
            "\\",
            "\\\\",
            "\\t",
            "\t",
            "\n",
            "\r\n",
            "\r",
            "\"",
            "\"\"",
            ",",
            "",
            " ",
            "base64:",
            "base64:AP8=",
            "NULL",
            "x'00ff'",
            "\u{feff}",
            "\u{1b}[2J",
            "\u{2028}",
            "ë",
        ]);
        let nasty = prop::collection::vec(nasty, 0..4).prop_map(|parts| parts.concat().into_bytes());
        prop::option::of(prop_oneof![nasty, prop::collection::vec(any::<u8>(), 0..8)])
    }

    proptest! {
        #[test]
        fn csv_and_tsv_are_read_back_to_the_same_bytes(rows in prop::collection::vec((cell(), cell()), 0..5)) {
            let value = |cell: &Option<Vec<u8>>| match cell {
                Some(bytes) => Value::from_bytes(&Bytes::copy_from_slice(bytes)),
                None => Value::Null,
            };
            let values: Vec<_> = rows.iter().map(|(key, other)| [value(key), value(other)]).collect();
            let wanted: Vec<Vec<Option<Bytes>>> =
                rows.into_iter().map(|(key, other)| vec![key.map(Bytes::from), other.map(Bytes::from)]).collect();
            let csv = Dialect { null: Some(Vec::new()), ..Dialect::csv() };
            prop_assert_eq!(&read(FileFormat::Csv, &csv, written(Format::Csv, &values)), &wanted);
            prop_assert_eq!(&read(FileFormat::Tsv, &Dialect::tsv(), written(Format::Tsv, &values)), &wanted);
        }
    }

    #[test]
    fn what_is_no_text_and_what_is_null_are_written_as_the_page_says() {
        let rows = [
            [Value::Text("a,b\t".into()), Value::Null],
            [Value::Text(String::new()), Value::Bytes(Bytes::from_static(&[0, 255]))],
        ];
        assert_eq!(written(Format::Csv, &rows), b"key,value\n\"a,b\t\",\n\"\",base64:AP8=\n");
        assert_eq!(written(Format::Tsv, &rows), b"key\tvalue\na,b\\t\t\\N\n\tbase64:AP8=\n");
    }
}
