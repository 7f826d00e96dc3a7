//! The command line of `holdfast import`.

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};
use holdfast_rows::{Encoding, Format};
use holdfast_types::KeyspaceName;

use crate::connecting::{ADDRESSES, ANY_STORE, Through, saying};

/// `holdfast import`.
#[derive(Args, Debug, Clone)]
#[command(mut_arg(ADDRESSES, saying(ANY_STORE)))]
pub struct ImportArgs {
    /// The file: .csv, .tsv, .jsonl or .ndjson, packed with gzip or zstd or not, or what `holdfast export` wrote; `-` is standard input
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// The column that is the key. JSON lines need it [default: the first column]
    #[arg(long, value_name = "COLUMN")]
    pub key: Option<String>,
    /// Where it goes
    #[command(flatten)]
    pub through: Through,
    /// The keyspace to load into, by its name or its number
    #[arg(long, value_name = "NAME", default_value = KeyspaceName::DEFAULT)]
    pub keyspace: String,
    /// What becomes of rows whose key stands on an earlier line too
    #[arg(long, value_enum, value_name = "WHICH", default_value_t = OnDuplicate::Last)]
    pub on_duplicate: OnDuplicate,
    /// The column that says when the row is gone: a time like 2026-12-24T18:00:00Z, or seconds from now; empty or null: never
    #[arg(long, value_name = "COLUMN")]
    pub expires: Option<String>,
    /// The value is what one column holds, and no JSON object of all columns
    #[arg(long)]
    pub raw: bool,
    /// With --raw: the column that is the value [default: the only one beside those of --key and --expires]
    #[arg(long, value_name = "COLUMN", requires = "raw")]
    pub value: Option<String>,
    /// Stop at the first row that is rejected; what stands before it is loaded
    #[arg(long)]
    pub strict: bool,
    /// Read and check everything, and store nothing; needs no fleet
    #[arg(long)]
    pub dry_run: bool,
    /// Write rejected lines, as they are, to this file, which must not exist yet
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub rejects: Option<PathBuf>,
    /// Load at most so many rows in a second [default: as fast as the fleet takes them]
    #[arg(long, value_name = "ROWS")]
    pub rate: Option<NonZeroU32>,
    /// Begin at the first row, wherever an earlier import stopped
    #[arg(long)]
    pub restart: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// How the file is written
    #[command(flatten)]
    pub written: Written,
}

/// How the file is written.
#[derive(Args, Debug, Clone, Default)]
pub struct Written {
    /// What the file is [default: by its ending]
    #[arg(long, value_enum, value_name = "FORMAT", help_heading = "The file")]
    pub format: Option<FormatName>,
    /// What stands between two cells: one character, `tab` or `\t` [default: a comma, in TSV a tab]
    #[arg(long, value_name = "CHARACTER", value_parser = delimiter, help_heading = "The file")]
    pub delimiter: Option<u8>,
    /// What stands around cells that hold delimiters or line ends: one character, or `none` [default: ", in TSV none]
    #[arg(long, value_name = "CHARACTER", value_parser = quote, help_heading = "The file")]
    pub quote: Option<Quote>,
    /// The text of an unquoted cell that has no value: null in the JSON object [default: none, in TSV \N]
    #[arg(long, value_name = "TEXT", help_heading = "The file")]
    pub null: Option<String>,
    /// A backslash is a letter in TSV, and no beginning of \t, \n, \r or \\
    #[arg(long, help_heading = "The file")]
    pub no_escapes: bool,
    /// Cells that begin with `base64:` are bytes, as `sql --format csv` and tsv write what is no text
    #[arg(long, help_heading = "The file")]
    pub base64: bool,
    /// The encoding of the text, by its name: windows-1252, utf-16le, shift_jis, ... [default: utf-8]
    #[arg(long, value_name = "NAME", value_parser = encoding, help_heading = "The file")]
    pub encoding: Option<Encoding>,
    /// The first line names the columns, which is so unless --columns are given
    #[arg(long, conflicts_with = "columns", help_heading = "The file")]
    pub header: bool,
    /// The names of the columns of a file whose first line is a row already
    #[arg(long, value_name = "NAMES", value_delimiter = ',', help_heading = "The file")]
    pub columns: Vec<String>,
}

/// Which of the rows with the same key is stored in the end.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnDuplicate {
    /// The last one; the earlier ones are overwritten
    #[default]
    Last,
    /// The first one; later ones are left out, and counted
    First,
    /// The first one; later ones are rejected
    Error,
}

impl OnDuplicate {
    /// As on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Last => "last",
            Self::First => "first",
            Self::Error => "error",
        }
    }
}

/// The name of a format.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum FormatName {
    /// Cells between commas
    Csv,
    /// Cells between tabs
    Tsv,
    /// A JSON object on each line
    Jsonl,
}

impl From<FormatName> for Format {
    fn from(name: FormatName) -> Self {
        match name {
            FormatName::Csv => Self::Csv,
            FormatName::Tsv => Self::Tsv,
            FormatName::Jsonl => Self::JsonLines,
        }
    }
}

/// What stands around cells, if anything does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quote(pub Option<u8>);

fn delimiter(text: &str) -> Result<u8, String> {
    match text {
        "tab" | "\\t" => Ok(b'\t'),
        _ => one_character(text),
    }
}

fn quote(text: &str) -> Result<Quote, String> {
    match text {
        "none" => Ok(Quote(None)),
        _ => one_character(text).map(|byte| Quote(Some(byte))),
    }
}

fn one_character(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        [b'\n' | b'\r' | 0] => Err("a line end or a zero byte cannot be it".to_owned()),
        [byte] if byte.is_ascii() => Ok(*byte),
        _ => Err("it is one character of ASCII".to_owned()),
    }
}

fn encoding(name: &str) -> Result<Encoding, String> {
    name.parse::<Encoding>().map_err(|unknown| unknown.to_string())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ImportArgs,
    }

    fn of(line: &[&str]) -> Result<ImportArgs, String> {
        let line = std::iter::once(&"x").chain(line);
        Line::try_parse_from(line).map(|line| line.args).map_err(|error| error.to_string())
    }

    #[test]
    fn characters_have_names_where_a_shell_makes_them_hard_to_type() {
        let written = |line: &[&str]| of(&[&["a.csv"], line].concat()).map(|args| args.written);
        assert_eq!(written(&["--delimiter", "tab"]).unwrap().delimiter, Some(b'\t'));
        assert_eq!(written(&["--delimiter", "\\t"]).unwrap().delimiter, Some(b'\t'));
        assert_eq!(written(&["--delimiter", ";"]).unwrap().delimiter, Some(b';'));
        assert_eq!(written(&["--quote", "none"]).unwrap().quote, Some(Quote(None)));
        assert_eq!(written(&["--quote", "'"]).unwrap().quote, Some(Quote(Some(b'\''))));
        for wrong in [["--delimiter", "::"], ["--delimiter", ""], ["--delimiter", "ß"], ["--quote", "\n"]] {
            assert!(written(&wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_encoding_that_nobody_knows_is_refused_with_some_that_are_known() {
        let said = of(&["a.csv", "--encoding", "latin-9000"]).unwrap_err();
        assert!(said.contains("windows-1252"), "{said}");
        assert_eq!(of(&["a.csv", "--encoding", "latin1"]).unwrap().written.encoding.unwrap().name(), "windows-1252");
    }

    #[test]
    fn options_that_contradict_each_other_are_refused() {
        assert!(of(&["a.csv", "--columns", "a,b", "--header"]).is_err());
        assert!(of(&["a.csv", "--value", "v"]).is_err(), "only with --raw");
        assert!(of(&["a.csv", "--rate", "0"]).is_err());
        assert_eq!(of(&["a.csv", "--columns", "a,b"]).unwrap().written.columns, ["a", "b"]);
    }
}
