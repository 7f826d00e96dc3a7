//! The command line of `holdfast export`.

use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use clap::{Args, ValueEnum, ValueHint};
use holdfast_client::{KeySpan, Timestamp};
use holdfast_rows::Format;
use holdfast_rows::write::Compression;
use holdfast_types::KeyspaceName;

use crate::connecting::{ADDRESSES, ANY_STORE, Through, saying};
use crate::oneshot::{parse_key, parse_version};

/// `holdfast export`.
// Its --at is a version.
#[derive(Args, Debug, Clone)]
#[command(mut_arg(ADDRESSES, |at| saying(ANY_STORE)(at).long("connect").short('c')))]
pub struct ExportArgs {
    /// The file to write, replaced when all is read; - is standard output. .gz and .zst are packed
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: PathBuf,
    /// What the file is [default: by its ending; of standard output jsonl]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub format: Option<FormatName>,
    /// Where it goes
    #[command(flatten)]
    pub through: Through,
    /// The keyspace to read, by its name or its number
    #[arg(long, value_name = "NAME", default_value = KeyspaceName::DEFAULT)]
    pub keyspace: String,
    /// Which keys
    #[command(flatten)]
    pub keys: Keys,
    /// Read everything as of this version, as `get --json` and the shell show it, or of a time like 2026-12-24T18:00:00Z [default: the newest of
    /// each range]
    #[arg(long, value_name = "VERSION", value_parser = version)]
    pub at: Option<Timestamp>,
    /// Begin at the first row, wherever an earlier export stopped
    #[arg(long)]
    pub restart: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// Which keys are read.
#[derive(Args, Debug, Clone, Default)]
pub struct Keys {
    /// The first key [default: the start of the keyspace]
    #[arg(long, value_name = "KEY", conflicts_with_all = ["start_hex", "prefix", "prefix_hex"], help_heading = "Keys")]
    pub start: Option<String>,
    /// The same as hexadecimal digits
    #[arg(long, value_name = "HEX", conflicts_with_all = ["prefix", "prefix_hex"], help_heading = "Keys")]
    pub start_hex: Option<String>,
    /// The first key that is not read any more [default: the end of the keyspace]
    #[arg(long, value_name = "KEY", conflicts_with_all = ["end_hex", "prefix", "prefix_hex"], help_heading = "Keys")]
    pub end: Option<String>,
    /// The same as hexadecimal digits
    #[arg(long, value_name = "HEX", conflicts_with_all = ["prefix", "prefix_hex"], help_heading = "Keys")]
    pub end_hex: Option<String>,
    /// Only keys that begin with this
    #[arg(long, value_name = "KEY", conflicts_with = "prefix_hex", help_heading = "Keys")]
    pub prefix: Option<String>,
    /// The same as hexadecimal digits
    #[arg(long, value_name = "HEX", help_heading = "Keys")]
    pub prefix_hex: Option<String>,
}

/// The name of a format.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum FormatName {
    /// A JSON object on each line
    Jsonl,
    /// Cells between commas
    Csv,
    /// Cells between tabs
    Tsv,
}

impl From<FormatName> for Format {
    fn from(name: FormatName) -> Self {
        match name {
            FormatName::Jsonl => Self::JsonLines,
            FormatName::Csv => Self::Csv,
            FormatName::Tsv => Self::Tsv,
        }
    }
}

/// The name of a format on the command line.
pub fn format_name(format: Format) -> &'static str {
    match format {
        Format::JsonLines => "jsonl",
        Format::Csv => "csv",
        Format::Tsv => "tsv",
    }
}

impl ExportArgs {
    /// True when rows go to standard output.
    pub fn is_printed(&self) -> bool {
        self.output.as_os_str() == "-"
    }

    /// What is written, and how it is packed.
    pub fn form(&self) -> anyhow::Result<(Format, Compression)> {
        let asked = self.format.map(Format::from);
        if self.is_printed() {
            ensure!(
                !self.json,
                "--json prints a result, and standard output gets the rows: name a file, or leave --json out"
            );
            return Ok((asked.unwrap_or(Format::JsonLines), Compression::None));
        }
        let by_ending = Format::of(&self.output);
        if let (Some(asked), Some(by_ending)) = (asked, by_ending) {
            let (asked_name, file) = (format_name(asked), self.output.display());
            ensure!(
                asked == by_ending,
                "{file} does not end as a file of --format {asked_name} does: change one of them"
            );
        }
        let Some(format) = asked.or(by_ending) else {
            anyhow::bail!("{} does not end with .jsonl, .csv or .tsv: say --format", self.output.display());
        };
        Ok((format, Compression::of(&self.output)))
    }
}

impl Keys {
    /// The keys as a span, which holds some.
    pub fn span(&self) -> anyhow::Result<KeySpan> {
        let prefix = key("--prefix", self.prefix.as_deref(), self.prefix_hex.as_deref())?;
        if let Some(prefix) = prefix {
            return Ok(KeySpan::prefix(prefix));
        }
        let start = key("--start", self.start.as_deref(), self.start_hex.as_deref())?;
        let end = key("--end", self.end.as_deref(), self.end_hex.as_deref())?;
        let span = KeySpan::new(start.unwrap_or_default(), end.as_deref());
        ensure!(
            !span.is_empty(),
            "no key lies between --start and --end: the end is the first key that is not read any more"
        );
        Ok(span)
    }
}

fn key(option: &str, text: Option<&str>, hex: Option<&str>) -> anyhow::Result<Option<Bytes>> {
    let key = match (text, hex) {
        (Some(text), _) => parse_key(text, false),
        (None, Some(hex)) => parse_key(hex, true).with_context(|| format!("{option}-hex")),
        (None, None) => return Ok(None),
    }?;
    ensure!(!key.is_empty(), "{option} is empty: leave it out to read from one end of the keyspace to the other");
    Ok(Some(key))
}

/// No version that a fleet gave is smaller: it would be of February 1970.
const SMALLEST_VERSION: u64 = 1 << 48;

/// A version as commands print it, or a time.
fn version(text: &str) -> Result<Timestamp, String> {
    if text.contains('T') {
        let time =
            humantime::parse_rfc3339(text).map_err(|_| "a time is written as in 2026-12-24T18:00:00Z".to_owned())?;
        let since = time.duration_since(UNIX_EPOCH).map_err(|_| "it lies before 1970".to_owned())?;
        return Ok(Timestamp::from_ms(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)));
    }
    let version = parse_version(text).map_err(|wrong| match text.contains(':') {
        true => format!("{wrong}. Addresses of stores are given by --connect"),
        false => wrong,
    })?;
    if version.0 < SMALLEST_VERSION {
        return Err(format!("no fleet gave that version, which is of 1970: milliseconds alone are written {text}.0"));
    }
    Ok(version)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ExportArgs,
    }

    fn of(line: &[&str]) -> Result<ExportArgs, String> {
        let line = ["x", "-o", "a.jsonl"].iter().chain(line);
        Line::try_parse_from(line).map(|line| line.args).map_err(|error| error.to_string())
    }

    #[test]
    fn a_version_is_taken_as_any_command_prints_it() {
        let at = |text: &str| of(&["--at", text]).map(|args| args.at.unwrap());
        let version = Timestamp(Timestamp::from_ms(1_763_841_600_123).0 | 7);
        assert_eq!(at(&version.0.to_string()), Ok(version));
        assert_eq!(at(&version.to_string()), Ok(version));
        assert_eq!(at("2025-11-22T20:00:00.123Z"), Ok(Timestamp::from_ms(1_763_841_600_123)));
        assert!(at("1763841600123").unwrap_err().contains("1763841600123.0"), "milliseconds, or a version of 1970");
        assert!(at("10.0.1.5:7300").unwrap_err().contains("--connect"));
        for wrong in ["", "yesterday", "1.65536", "1763841600123.x", "281474976710656.0"] {
            assert!(at(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn keys_are_texts_or_hexadecimal_digits() {
        let span = |line: &[&str]| of(line).unwrap().keys.span().unwrap();
        assert_eq!(span(&[]), KeySpan::all());
        assert_eq!(span(&["--start", "A", "--end-hex", "61fF"]), KeySpan::new("A", Some(b"a\xff")));
        assert_eq!(span(&["--prefix-hex", "ff"]), KeySpan::prefix([0xff]));
        assert_eq!(span(&["--prefix", "user/"]), KeySpan::prefix("user/"));
    }

    #[test]
    fn bounds_that_hold_nothing_or_say_two_things_are_refused() {
        let refused = |line: &[&str]| of(line).unwrap().keys.span().unwrap_err().to_string();
        for empty in ["--start", "--start-hex", "--end", "--end-hex", "--prefix", "--prefix-hex"] {
            assert!(refused(&[empty, ""]).contains("empty"), "{empty}");
        }
        assert!(refused(&["--start", "b", "--end", "b"]).contains("no key lies between"));
        for wrong in ["f", "0g"] {
            assert!(refused(&["--start-hex", wrong]).contains("--start-hex"), "{wrong}");
        }
        assert!(of(&["--start", "a", "--prefix", "a"]).is_err());
        assert!(of(&["--start", "a", "--start-hex", "61"]).is_err());
        assert!(of(&["--prefix", "a", "--end", "b"]).is_err());
    }

    #[test]
    fn the_ending_says_what_a_file_is_and_how_it_is_packed() {
        let form = |output: &str, format: Option<FormatName>| {
            ExportArgs { output: output.into(), format, ..of(&[]).unwrap() }.form()
        };
        assert_eq!(form("a.CSV.gz", None).unwrap(), (Format::Csv, Compression::Gzip));
        assert_eq!(form("a.tsv.zst", Some(FormatName::Tsv)).unwrap(), (Format::Tsv, Compression::Zstd));
        assert_eq!(form("a.bak", Some(FormatName::Csv)).unwrap(), (Format::Csv, Compression::None));
        assert_eq!(form("-", None).unwrap(), (Format::JsonLines, Compression::None));
        assert!(form("a.bak", None).unwrap_err().to_string().contains("--format"));
        assert!(form("a.csv", Some(FormatName::Jsonl)).unwrap_err().to_string().contains("a.csv"));
        let printed = ExportArgs { output: "-".into(), json: true, ..of(&[]).unwrap() };
        assert!(printed.form().unwrap_err().to_string().contains("--json"));
    }
}
