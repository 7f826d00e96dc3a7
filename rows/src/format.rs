//! What a file is, and how its columns are told apart.

use std::path::Path;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Cells between commas, quoted where they hold what would end them (RFC 4180).
    Csv,
    /// Cells between tabs, which quote nothing.
    Tsv,
    /// One JSON object on each line.
    JsonLines,
}

impl Format {
    /// The format by the ending of a file's name, in any case, below `.gz` or `.zst`; `None` for any other ending.
    pub fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let name = [".gz", ".zst", ".zstd"].iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(&name);
        let (_, ending) = name.rsplit_once('.')?;
        match ending {
            "csv" => Some(Self::Csv),
            "tsv" | "tab" => Some(Self::Tsv),
            "jsonl" | "ndjson" | "json" => Some(Self::JsonLines),
            _ => None,
        }
    }
}

/// Where the names of the columns come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heading {
    /// The first line that is not blank.
    FirstLine,
    /// Names that were given: every line is a row.
    Given(Vec<String>),
}

/// How a file with columns is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// What stands between two cells.
    pub delimiter: u8,
    /// What stands around a cell that holds a delimiter, a quote or a line end; a quote within it is doubled. `None`: quotes are letters.
    pub quote: Option<u8>,
    /// Whether a backslash begins an escape: `\t`, `\n`, `\r` and `\\`, as `sql --format tsv` writes them.
    pub escapes: bool,
    /// The text of a cell, without quotes and before its escapes are read, that stands for no value at all.
    pub null: Option<Vec<u8>>,
    /// Where the names of the columns come from.
    pub heading: Heading,
}

impl Dialect {
    /// Commas and double quotes. No text stands for null.
    pub fn csv() -> Self {
        Self { delimiter: b',', quote: Some(b'"'), escapes: false, null: None, heading: Heading::FirstLine }
    }

    /// Tabs, escapes, and `\N` for null, as `sql --format tsv` writes it.
    pub fn tsv() -> Self {
        Self { delimiter: b'\t', quote: None, escapes: true, null: Some(b"\\N".to_vec()), heading: Heading::FirstLine }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_says_the_format_in_any_case_and_below_what_it_is_packed_with() {
        for (name, format) in [
            ("a.csv", Some(Format::Csv)),
            ("dir.jsonl/A06-UPPER.CSV", Some(Format::Csv)),
            ("a.Tab", Some(Format::Tsv)),
            ("a.csv.tsv", Some(Format::Tsv)),
            ("a.JSONL.GZ", Some(Format::JsonLines)),
            ("a.ndjson.zst", Some(Format::JsonLines)),
            ("a.csv.gz.txt", None),
            ("a.gz", None),
            ("csv", None),
            ("-", None),
            ("", None),
        ] {
            assert_eq!(Format::of(Path::new(name)), format, "{name}");
        }
    }
}
