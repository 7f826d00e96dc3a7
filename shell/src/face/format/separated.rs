//! Values between commas (RFC 4180) or tabs.

use std::borrow::Cow;
use std::io::{self, Write};

/// What stands for null between tabs; the same as in PostgreSQL's COPY and MySQL's dumps.
const TSV_NULL: &str = "\\N";

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Separator {
    Comma,
    Tab,
}

/// A field; `None`: null.
pub(super) type Field<'a> = Option<Cow<'a, str>>;

/// Rows between commas or tabs, one a line unless a csv field holds a line feed.
pub(super) struct Separated {
    separator: Separator,
    line: String,
}

impl Separated {
    pub(super) fn csv(heading: &[String], out: &mut dyn Write) -> io::Result<Self> {
        Self::begin(Separator::Comma, heading, out)
    }

    pub(super) fn tsv(heading: &[String], out: &mut dyn Write) -> io::Result<Self> {
        Self::begin(Separator::Tab, heading, out)
    }

    fn begin(separator: Separator, heading: &[String], out: &mut dyn Write) -> io::Result<Self> {
        let mut begun = Self { separator, line: String::new() };
        let heading: Vec<_> = heading.iter().map(|name| Some(Cow::Borrowed(name.as_str()))).collect();
        begun.row(&heading, out)?;
        Ok(begun)
    }

    pub(super) fn row(&mut self, fields: &[Field<'_>], out: &mut dyn Write) -> io::Result<()> {
        self.line.clear();
        for (index, field) in fields.iter().enumerate() {
            match self.separator {
                Separator::Comma => {
                    if index > 0 {
                        self.line.push(',');
                    }
                    push_quoted(&mut self.line, field.as_deref());
                }
                Separator::Tab => {
                    if index > 0 {
                        self.line.push('\t');
                    }
                    push_escaped(&mut self.line, field.as_deref());
                }
            }
        }
        self.line.push('\n');
        out.write_all(self.line.as_bytes())
    }
}

/// Quotes are written where they are needed, and around an empty text, which would otherwise be null.
fn push_quoted(line: &mut String, field: Option<&str>) {
    let Some(text) = field else { return };
    let is_plain = !text.is_empty()
        && !text.contains(['"', ',', '\n', '\r'])
        && !text.starts_with(char::is_whitespace)
        && !text.ends_with(char::is_whitespace);
    if is_plain {
        line.push_str(text);
        return;
    }
    line.push('"');
    line.push_str(&text.replace('"', "\"\""));
    line.push('"');
}

fn push_escaped(line: &mut String, field: Option<&str>) {
    let Some(text) = field else {
        line.push_str(TSV_NULL);
        return;
    };
    for c in text.chars() {
        match c {
            '\t' => line.push_str("\\t"),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\\' => line.push_str("\\\\"),
            c => line.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(separator: Separator, rows: &[&[Option<&str>]]) -> String {
        let mut out = Vec::new();
        let mut separated = Separated::begin(separator, &["a".into(), "b".into()], &mut out).unwrap();
        for row in rows {
            let fields: Vec<_> = row.iter().map(|field| field.map(Cow::Borrowed)).collect();
            separated.row(&fields, &mut out).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn csv_quotes_what_needs_quotes_and_tells_null_from_empty() {
        let rows: &[&[Option<&str>]] = &[
            &[Some("plain"), Some("a,b")],
            &[Some("say \"hi\""), Some("two\nlines")],
            &[None, Some("")],
            &[Some(" x"), Some("é")],
        ];
        let expected = "a,b\nplain,\"a,b\"\n\"say \"\"hi\"\"\",\"two\nlines\"\n,\"\"\n\" x\",é\n";
        assert_eq!(written(Separator::Comma, rows), expected);
    }

    #[test]
    fn csv_is_read_back_by_another_reader() {
        let texts = ["a,b", "\"", "x\r\ny", "", "  ", "ends\n", "\u{1}"];
        for text in texts {
            let written = written(Separator::Comma, &[&[Some(text), Some("last")]]);
            let mut reader = csv::Reader::from_reader(written.as_bytes());
            let record = reader.records().next().unwrap().unwrap();
            assert_eq!((&record[0], &record[1]), (text, "last"));
        }
    }

    #[test]
    fn tsv_is_one_line_a_row_whatever_it_holds() {
        let rows: &[&[Option<&str>]] =
            &[&[Some("a\tb"), Some("c\nd\r\\")], &[None, Some("\\N")], &[Some(""), Some("z")]];
        assert_eq!(written(Separator::Tab, rows), "a\tb\na\\tb\tc\\nd\\r\\\\\n\\N\t\\\\N\n\tz\n");
    }
}
