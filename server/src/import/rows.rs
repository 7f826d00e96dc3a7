//! Rows of a CSV, TSV or JSON-lines file, each as a key and a value.
//!
//! The key is one column; the value is the whole row as a JSON object, so that nothing of it is lost.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, bail};
use bytes::Bytes;
use holdfast_types::limits;
use serde_json::{Map, Value};

/// A row that can be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadableRow {
    /// Its line in the file, from 1.
    pub line: u64,
    /// The key.
    pub key: Bytes,
    /// The whole row as a JSON object.
    pub value: Bytes,
}

/// A row that cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRow {
    /// Its line in the file, from 1.
    pub line: u64,
    /// What is wrong.
    pub reason: String,
}

/// Reads a file row by row. Damage in one row is that row's alone.
pub struct Rows {
    source: Source,
    key: Option<String>,
}

enum Source {
    Separated {
        reader: Box<csv::Reader<File>>,
        heading: csv::StringRecord,
        key: usize,
    },
    JsonLines {
        reader: BufReader<File>,
        line: u64,
    },
    /// The file could not be read any further.
    Failed,
}

impl Rows {
    /// Opens a file by its ending: .csv, .tsv, .jsonl or .ndjson. `key`: the key column, by default the first one.
    pub fn open(path: &Path, key: Option<&str>) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let separator = match ending {
            "csv" => b',',
            "tsv" | "tab" => b'\t',
            "jsonl" | "ndjson" | "json" => {
                let source = Source::JsonLines { reader: BufReader::new(file), line: 0 };
                return Ok(Self { source, key: key.map(ToOwned::to_owned) });
            }
            _ => bail!("{}: the ending must be .csv, .tsv, .jsonl or .ndjson", path.display()),
        };
        let mut reader = Box::new(csv::ReaderBuilder::new().delimiter(separator).flexible(true).from_reader(file));
        let heading = reader.headers().with_context(|| format!("reading the heading of {}", path.display()))?.clone();
        let index = match key {
            None => 0,
            Some(name) => heading.iter().position(|column| column == name).with_context(|| {
                format!(
                    "{} has no column {name:?}; it has: {}",
                    path.display(),
                    heading.iter().collect::<Vec<_>>().join(", ")
                )
            })?,
        };
        Ok(Self { source: Source::Separated { reader, heading, key: index }, key: key.map(ToOwned::to_owned) })
    }
}

impl Iterator for Rows {
    type Item = Result<LoadableRow, BadRow>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.source {
            Source::Separated { reader, heading, key } => next_separated(reader, heading, *key),
            Source::JsonLines { reader, line } => match next_json(reader, line, self.key.as_deref()) {
                Ok(row) => row,
                Err(error) => {
                    let row = BadRow { line: *line, reason: format!("the file cannot be read any further: {error}") };
                    self.source = Source::Failed;
                    Some(Err(row))
                }
            },
            Source::Failed => None,
        }
    }
}

fn next_separated(
    reader: &mut csv::Reader<File>,
    heading: &csv::StringRecord,
    key: usize,
) -> Option<Result<LoadableRow, BadRow>> {
    let mut record = csv::ByteRecord::new();
    let line = reader.position().line();
    match reader.read_byte_record(&mut record) {
        Ok(false) => return None,
        Ok(true) => {}
        Err(error) => return Some(Err(BadRow { line, reason: error.to_string() })),
    }
    let line = record.position().map_or(line, csv::Position::line);
    if record.len() != heading.len() {
        let reason = format!("{} columns where the heading has {}", record.len(), heading.len());
        return Some(Err(BadRow { line, reason }));
    }
    let text = |cell: &[u8]| Value::String(String::from_utf8_lossy(cell).into_owned());
    let row: Map<_, _> = heading.iter().zip(&record).map(|(name, cell)| (name.to_owned(), text(cell))).collect();
    let key = record.get(key).map(Bytes::copy_from_slice).unwrap_or_default();
    Some(loadable(line, key, &row))
}

/// The next row; an error is that of the file, behind which there is no row.
fn next_json(
    reader: &mut BufReader<File>,
    line: &mut u64,
    key: Option<&str>,
) -> io::Result<Option<Result<LoadableRow, BadRow>>> {
    let mut text = String::new();
    loop {
        text.clear();
        *line += 1;
        match reader.read_line(&mut text) {
            Ok(0) => return Ok(None),
            Ok(_) if text.trim().is_empty() => {}
            Ok(_) => break,
            // The line is read, and is no text.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Ok(Some(Err(BadRow { line: *line, reason: error.to_string() })));
            }
            Err(error) => return Err(error),
        }
    }
    let bad = |reason: String| Ok(Some(Err(BadRow { line: *line, reason })));
    let row: Map<String, Value> = match serde_json::from_str(&text) {
        Ok(row) => row,
        Err(error) => return bad(format!("not a JSON object: {error}")),
    };
    let found = match key {
        Some(name) => row.get(name),
        None => row.values().next(),
    };
    match found {
        Some(Value::String(text)) => Ok(Some(loadable(*line, Bytes::copy_from_slice(text.as_bytes()), &row))),
        Some(Value::Number(number)) => Ok(Some(loadable(*line, Bytes::from(number.to_string()), &row))),
        Some(_) => bad("the key is neither text nor a number".into()),
        None => bad(format!("no field {:?}", key.unwrap_or("(first)"))),
    }
}

fn loadable(line: u64, key: Bytes, row: &Map<String, Value>) -> Result<LoadableRow, BadRow> {
    if key.is_empty() || key.len() > limits::MAX_KEY_BYTES {
        return Err(BadRow {
            line,
            reason: format!("the key has {} B: a key is 1 B to {} B", key.len(), limits::MAX_KEY_BYTES),
        });
    }
    let value = Bytes::from(serde_json::to_vec(row).map_err(|error| BadRow { line, reason: error.to_string() })?);
    if value.len() > limits::MAX_VALUE_BYTES {
        return Err(BadRow {
            line,
            reason: format!("the row has {} B: a value is at most {} B", value.len(), limits::MAX_VALUE_BYTES),
        });
    }
    Ok(LoadableRow { line, key, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(name: &str, text: &str, key: Option<&str>) -> Vec<Result<LoadableRow, BadRow>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        Rows::open(&path, key).unwrap().collect()
    }

    #[test]
    fn a_bad_row_is_reported_by_its_line_and_the_rest_is_read() {
        let rows = rows("a.csv", "id,name\n1,one\n2\n,none\n3,three\n", None);
        let keys: Vec<_> = rows.iter().flatten().map(|row| row.key.clone()).collect();
        assert_eq!(keys, ["1", "3"]);
        let bad: Vec<_> = rows.iter().filter_map(|row| row.as_ref().err()).map(|bad| bad.line).collect();
        assert_eq!(bad, [3, 4]);
    }

    #[test]
    fn any_column_may_be_the_key() {
        let rows = rows("a.tsv", "id\tname\n1\tone\n", Some("name"));
        let row = rows[0].as_ref().unwrap();
        assert_eq!(row.key, "one");
        assert_eq!(row.value, r#"{"id":"1","name":"one"}"#);
    }

    #[test]
    fn json_lines_need_an_object_with_the_key() {
        let rows = rows("a.jsonl", "{\"k\":1}\n\nnonsense\n{\"x\":2}\n{\"k\":\"b\"}\n", Some("k"));
        let lines: Vec<_> = rows.iter().map(|row| row.as_ref().map(|row| row.line).map_err(|bad| bad.line)).collect();
        assert_eq!(lines, [Ok(1), Err(3), Err(4), Ok(5)]);
    }

    #[test]
    fn whatever_is_in_a_file_its_rows_come_to_an_end_and_can_be_loaded_or_are_named() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("a.csv", "id,name\n1,\"a \"\"b\"\"\"\n2,two\n"),
            ("a.tsv", "id\tname\n1\tone\n"),
            ("a.jsonl", "{\"k\":1,\"v\":[\"\\u00eb\"]}\n{\"k\":\"b\"}\n"),
        ] {
            let path = dir.path().join(name);
            for damaged in crate::damage::versions_of(text.as_bytes()) {
                std::fs::write(&path, &damaged).unwrap();
                let Ok(rows) = Rows::open(&path, None) else { continue };
                let rows: Vec<_> = rows.take(damaged.len() + 1).collect();
                assert!(rows.len() <= damaged.len(), "{}", damaged.escape_ascii());
                for row in rows {
                    match row {
                        Ok(row) => {
                            assert!((1..=limits::MAX_KEY_BYTES).contains(&row.key.len()));
                            assert!(serde_json::from_slice::<Map<String, Value>>(&row.value).is_ok());
                        }
                        Err(bad) => assert!(!bad.reason.is_empty()),
                    }
                }
            }
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_one_bad_row_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("folder.jsonl");
        std::fs::create_dir(&path).unwrap();
        let rows: Vec<_> = Rows::open(&path, None).unwrap().take(3).collect();
        let [Err(bad)] = &rows[..] else { panic!("{rows:?}") };
        assert!(bad.reason.contains("cannot be read any further"), "{}", bad.reason);
    }
}
