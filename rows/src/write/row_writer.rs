//! One writer for all formats.

use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::separated::push_row;
use crate::format::{Dialect, Format, Heading};

/// Writes rows of cells, each with one `write_all` that ends with its line. [`Records`](crate::Records) with the same dialect reads the same
/// cells back; those that are no text as [`cell`](super::cell) says, or in JSON lines as `{"base64": "..."}`.
#[derive(Debug)]
pub struct RowWriter<W: Write> {
    out: W,
    form: Form,
    columns: usize,
    line: Vec<u8>,
}

#[derive(Debug)]
enum Form {
    Separated(Dialect),
    /// The names of the fields as JSON, each with its colon.
    JsonLines(Vec<Vec<u8>>),
}

impl<W: Write> RowWriter<W> {
    /// Begins with the heading, if the format has one and its names are not given elsewhere. `dialect` means nothing to JSON lines.
    ///
    /// # Errors
    /// When the heading cannot be written.
    pub fn new(out: W, format: Format, dialect: &Dialect, columns: &[String]) -> io::Result<Self> {
        let form = match format {
            Format::Csv | Format::Tsv => Form::Separated(dialect.clone()),
            Format::JsonLines => {
                Form::JsonLines(columns.iter().map(|name| field_name(name)).collect::<io::Result<_>>()?)
            }
        };
        let mut writer = Self { out, form, columns: columns.len(), line: Vec::new() };
        if format != Format::JsonLines && dialect.heading == Heading::FirstLine {
            writer.row(&columns.iter().map(|name| Some(name.as_bytes())).collect::<Vec<_>>())?;
        }
        Ok(writer)
    }

    /// Writes a row. `None` is no value.
    ///
    /// # Errors
    /// When it is not taken; [`io::ErrorKind::InvalidInput`], and nothing is written, when there is not one cell a column, or when the dialect
    /// cannot hold a cell.
    pub fn row(&mut self, cells: &[Option<&[u8]>]) -> io::Result<()> {
        if cells.len() != self.columns {
            let why = format!("a row of {} cells among {} columns", cells.len(), self.columns);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        self.line.clear();
        match &self.form {
            Form::Separated(dialect) => push_row(&mut self.line, dialect, cells)?,
            Form::JsonLines(names) => {
                self.line.push(b'{');
                for (index, (name, cell)) in names.iter().zip(cells).enumerate() {
                    if index > 0 {
                        self.line.push(b',');
                    }
                    self.line.extend_from_slice(name);
                    push_json(&mut self.line, *cell)?;
                }
                self.line.extend_from_slice(b"}\n");
            }
        }
        self.out.write_all(&self.line)
    }

    /// What it writes to; between two rows, all of a row is there.
    pub fn out_mut(&mut self) -> &mut W {
        &mut self.out
    }

    /// Flushes, and returns what it wrote to.
    ///
    /// # Errors
    /// When that cannot be flushed.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }
}

fn field_name(name: &str) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec(name)?;
    text.push(b':');
    Ok(text)
}

/// Appends a text, `{"base64": ...}` for what is none, or null.
pub(crate) fn push_json(line: &mut Vec<u8>, cell: Option<&[u8]>) -> io::Result<()> {
    let Some(bytes) = cell else {
        line.extend_from_slice(b"null");
        return Ok(());
    };
    match std::str::from_utf8(bytes) {
        Ok(text) => serde_json::to_writer(line, text)?,
        Err(_) => {
            line.extend_from_slice(b"{\"base64\":\"");
            line.extend_from_slice(STANDARD.encode(bytes).as_bytes());
            line.extend_from_slice(b"\"}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn written(format: Format, dialect: &Dialect, rows: &[&[Option<&[u8]>]]) -> io::Result<String> {
        let mut writer = RowWriter::new(Vec::new(), format, dialect, &columns(&["a", "b"]))?;
        rows.iter().try_for_each(|row| writer.row(row))?;
        Ok(String::from_utf8(writer.finish()?).unwrap())
    }

    fn csv() -> Dialect {
        Dialect { null: Some(Vec::new()), ..Dialect::csv() }
    }

    #[test]
    fn csv_quotes_what_needs_quotes_and_tells_no_value_from_an_empty_text() {
        let rows: &[&[Option<&[u8]>]] = &[
            &[Some(b"plain"), Some(b"a,b")],
            &[Some(b"say \"hi\""), Some(b"two\nlines")],
            &[None, Some(b"")],
            &[Some(b" x"), Some("é".as_bytes())],
            &[Some(b"\xff"), Some(b"\r")],
        ];
        let expected = "a,b\nplain,\"a,b\"\n\"say \"\"hi\"\"\",\"two\nlines\"\n,\"\"\n\" x\",é\nbase64:/w==,\"\r\"\n";
        assert_eq!(written(Format::Csv, &csv(), rows).unwrap(), expected);
    }

    #[test]
    fn tsv_is_one_line_a_row_whatever_it_holds() {
        let rows: &[&[Option<&[u8]>]] =
            &[&[Some(b"a\tb"), Some(b"c\nd\r\\")], &[None, Some(b"\\N")], &[Some(b""), Some(b"\"z\"")]];
        let expected = "a\tb\na\\tb\tc\\nd\\r\\\\\n\\N\t\\\\N\n\t\"z\"\n";
        assert_eq!(written(Format::Tsv, &Dialect::tsv(), rows).unwrap(), expected);
    }

    #[test]
    fn json_lines_mark_what_is_no_text() {
        let rows: &[&[Option<&[u8]>]] = &[&[Some(b"\"\n"), Some(b"\xfe")], &[None, Some(b"null")]];
        let expected = "{\"a\":\"\\\"\\n\",\"b\":{\"base64\":\"/g==\"}}\n{\"a\":null,\"b\":\"null\"}\n";
        assert_eq!(written(Format::JsonLines, &csv(), rows).unwrap(), expected);
    }

    #[test]
    fn a_row_alone_in_its_line_is_never_a_blank_line() {
        let mut writer = RowWriter::new(Vec::new(), Format::Csv, &Dialect::csv(), &columns(&["a"])).unwrap();
        writer.row(&[Some(b"")]).unwrap();
        assert_eq!(writer.finish().unwrap(), b"a\n\"\"\n");
    }

    #[test]
    fn a_given_heading_is_not_written() {
        let names = columns(&["a", "b"]);
        let dialect = Dialect { heading: Heading::Given(names.clone()), ..csv() };
        let mut writer = RowWriter::new(Vec::new(), Format::Csv, &dialect, &names).unwrap();
        writer.row(&[Some(b"1"), Some(b"2")]).unwrap();
        assert_eq!(writer.finish().unwrap(), b"1,2\n");
    }

    #[test]
    fn what_a_dialect_cannot_hold_is_refused_and_nothing_of_it_is_written() {
        let bare = Dialect { escapes: false, null: Some(b"-".to_vec()), ..Dialect::tsv() };
        for cell in ["a\tb", "a\nb", "a\rb", "-"] {
            let row: &[Option<&[u8]>] = &[Some(b"x"), Some(cell.as_bytes())];
            assert_eq!(
                written(Format::Tsv, &bare, &[row]).unwrap_err().kind(),
                io::ErrorKind::InvalidInput,
                "{cell:?}"
            );
        }
        let row: &[Option<&[u8]>] = &[None, Some(b"x")];
        assert!(written(Format::Csv, &Dialect::csv(), &[row]).is_err(), "nothing stands for no value");
        let short: &[Option<&[u8]>] = &[Some(b"x")];
        assert!(written(Format::Csv, &csv(), &[short]).is_err());
        let semicolons = Dialect { delimiter: b';', ..Dialect::tsv() };
        let row: &[Option<&[u8]>] = &[Some(b"a\tb\n"), Some(b"c")];
        assert_eq!(written(Format::Tsv, &semicolons, &[row]).unwrap(), "a;b\na\\tb\\n;c\n");
    }
}
