//! Rows and values as they are printed.
//!
//! | where | a row | a value by itself |
//! |---|---|---|
//! | terminal | key, tab, value, line end; control characters and what is no text escaped | the same |
//! | pipe, file | key, tab, value, line end; tab, line end, carriage return and backslash as `\t \n \r \\` | its bytes, and nothing else |
//! | `--hex` | the same with hexadecimal digits | digits, line end |
//! | `--print0` | key, zero byte, value, zero byte | value, zero byte |
//! | `--json` | an object in a line | |
//!
//! So a row ends where it seems to end, whatever is in it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use holdfast_client::Timestamp;
use holdfast_output::{Unwritten, is_terminal, out, print_raw, readable, visible};
use serde_json::{Map, Value, json};

use super::words::hex;

/// How rows and values are to be printed.
#[derive(Args, Debug, Clone, Copy, Default)]
pub struct Shape {
    /// Print keys and values as hexadecimal digits
    #[arg(long, conflicts_with_all = ["json", "print0"])]
    pub hex: bool,
    /// End each key and each value with a zero byte; those that have one are refused
    #[arg(long, conflicts_with = "json")]
    pub print0: bool,
}

/// How rows and values are printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// For people.
    Terminal,
    /// For programs.
    Bytes,
    /// Digits.
    Hex,
    /// Ended by zero bytes.
    Zeros,
    /// Objects.
    Json,
}

/// A row, or what is to be shown of it.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// Its key.
    pub key: &'a [u8],
    /// Its value; `None`: it is not to be shown.
    pub value: Option<&'a [u8]>,
    /// Its version.
    pub version: Timestamp,
    /// When it expires; `None`: never.
    pub expires_at: Option<Timestamp>,
}

impl Shape {
    /// What is printed where standard output leads.
    pub fn form(self, is_json: bool) -> Form {
        match (is_json, self.hex, self.print0) {
            (true, _, _) => Form::Json,
            (_, true, _) => Form::Hex,
            (_, _, true) => Form::Zeros,
            _ if is_terminal() => Form::Terminal,
            _ => Form::Bytes,
        }
    }
}

impl Form {
    /// Adds a row to what will be printed; nothing of one that cannot be.
    pub fn row(self, row: &Shown<'_>, out: &mut Vec<u8>) -> anyhow::Result<()> {
        let before = out.len();
        let added = self.add(row, out);
        if added.is_err() {
            out.truncate(before);
        }
        added
    }

    fn add(self, row: &Shown<'_>, out: &mut Vec<u8>) -> anyhow::Result<()> {
        if self == Self::Json {
            out.extend(row_json(row).to_string().into_bytes());
            out.push(b'\n');
            return Ok(());
        }
        self.field(row.key, out)?;
        if let Some(value) = row.value {
            if self != Self::Zeros {
                out.push(b'\t');
            }
            self.field(value, out)?;
        }
        if self != Self::Zeros {
            out.push(b'\n');
        }
        Ok(())
    }

    /// Adds a value that stands for itself.
    pub fn value(self, value: &[u8], out: &mut Vec<u8>) -> anyhow::Result<()> {
        match self {
            Self::Bytes => out.extend(value),
            Self::Terminal => {
                // Its lines stay lines: there is nothing else to take them for.
                out.extend(readable(value).as_bytes());
                out.push(b'\n');
            }
            Self::Zeros => self.field(value, out)?,
            Self::Hex | Self::Json => {
                self.field(value, out)?;
                out.push(b'\n');
            }
        }
        Ok(())
    }

    fn field(self, bytes: &[u8], out: &mut Vec<u8>) -> anyhow::Result<()> {
        match self {
            Self::Terminal => out.extend(visible(&readable(bytes)).as_bytes()),
            Self::Bytes => escape(bytes, out),
            Self::Hex => hex(bytes, out),
            Self::Zeros => {
                if bytes.contains(&0) {
                    let shown = readable(bytes);
                    let beginning: String = visible(&shown).chars().take(60).collect();
                    anyhow::bail!(
                        "there is a zero byte in {beginning:?}, by which --print0 ends it: use --hex or --json"
                    );
                }
                out.extend(bytes);
                out.push(0);
            }
            Self::Json => out.extend(bytes_json(bytes).to_string().into_bytes()),
        }
        Ok(())
    }

    /// Prints what was added.
    pub fn print(self, text: &[u8]) -> Result<(), Unwritten> {
        match self {
            Self::Terminal => out!("{}", readable(text)),
            _ => print_raw(text),
        }
    }
}

/// As `sql --format tsv` does: what would end a field or a line is written otherwise, and everything else stays.
fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        match byte {
            b'\t' => out.extend(b"\\t"),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\\' => out.extend(b"\\\\"),
            byte => out.push(*byte),
        }
    }
}

/// Bytes in JSON: a string, or `{"base64": "..."}` where they are no text. The two cannot be mistaken for each other.
pub fn bytes_json(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
    }
}

/// A string, as in the JSON of protobuf: programs that read JSON numbers as floats would round one of 64 bits.
pub fn version_json(version: Timestamp) -> Value {
    version.0.to_string().into()
}

/// A time as people write it; `null`: never.
pub fn expiry_json(expires_at: Option<Timestamp>) -> Value {
    let time = |at: Timestamp| std::time::UNIX_EPOCH.checked_add(std::time::Duration::from_millis(at.ms()));
    let text = |at: Timestamp| match time(at) {
        // The last time that can be written has four digits of a year.
        Some(time) if at.ms() <= LAST_WRITTEN_MS => humantime::format_rfc3339_millis(time).to_string(),
        _ => "9999-12-31T23:59:59.999Z".to_owned(),
    };
    expires_at.map_or(Value::Null, |at| text(at).into())
}

/// The end of the year 9999, in milliseconds.
const LAST_WRITTEN_MS: u64 = 253_402_300_799_999;

fn row_json(row: &Shown<'_>) -> Value {
    let mut fields = Map::new();
    fields.insert("key".into(), bytes_json(row.key));
    if let Some(value) = row.value {
        fields.insert("value".into(), bytes_json(value));
    }
    fields.insert("version".into(), version_json(row.version));
    fields.insert("expires_at".into(), expiry_json(row.expires_at));
    fields.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMS: [Form; 5] = [Form::Terminal, Form::Bytes, Form::Hex, Form::Zeros, Form::Json];

    fn row(form: Form, key: &[u8], value: Option<&[u8]>) -> Vec<u8> {
        let mut out = Vec::new();
        form.row(&Shown { key, value, version: Timestamp(7), expires_at: None }, &mut out).unwrap();
        out
    }

    #[test]
    fn rows_cannot_be_mistaken_for_others() {
        let pairs: [(&[u8], &[u8]); 6] =
            [(b"a\tb", b"c"), (b"a", b"b\tc"), (b"a\\tb", b"c"), (b"a", b"b\nc\td"), (b"a\rb", b"c"), (b"a\\", b"\\n")];
        for form in FORMS {
            let mut seen = std::collections::BTreeSet::new();
            for (key, value) in pairs {
                // For people a tab and its escape look alike.
                let is_new = seen.insert(row(form, key, Some(value)));
                assert!(is_new || form == Form::Terminal, "{form:?} {key:?} {value:?}");
            }
        }
        assert_eq!(row(Form::Bytes, b"a\tb", Some(b"c\nd\\\xff")), b"a\\tb\tc\\nd\\\\\xff\n");
        assert_eq!(row(Form::Terminal, b"a\tb", Some(b"c\nd\xff")), b"a\\tb\tc\\nd\\xff\n");
        assert_eq!(row(Form::Hex, b"a", Some(b"\0")), b"61\t00\n");
        assert_eq!(row(Form::Zeros, b"a\nb", Some(b"c")), b"a\nb\0c\0");
        assert_eq!(row(Form::Zeros, b"a", None), b"a\0");
        assert_eq!(row(Form::Bytes, b"a", None), b"a\n");
        let (mut out, zero) = (b"before".to_vec(), Some(&b"\0"[..]));
        let shown = Shown { key: b"k", value: zero, version: Timestamp(7), expires_at: None };
        assert!(Form::Zeros.row(&shown, &mut out).is_err());
        assert_eq!(out, b"before", "half a row would be another row");
    }

    #[test]
    fn json_says_what_is_no_text() {
        let line = |key: &[u8], value: Option<&[u8]>| String::from_utf8(row(Form::Json, key, value)).unwrap();
        assert_eq!(
            line(b"k", Some(b"\xff\0")),
            "{\"expires_at\":null,\"key\":\"k\",\"value\":{\"base64\":\"/wA=\"},\"version\":\"7\"}\n"
        );
        assert_eq!(line(b"\xfe", None), "{\"expires_at\":null,\"key\":{\"base64\":\"/g==\"},\"version\":\"7\"}\n");
        assert_eq!(bytes_json("Zo\u{eb}".as_bytes()), json!("Zo\u{eb}"));
        assert_eq!(expiry_json(Some(Timestamp::from_ms(1_001))), json!("1970-01-01T00:00:01.001Z"));
        assert_eq!(expiry_json(Some(Timestamp(u64::MAX))), json!("9999-12-31T23:59:59.999Z"));
    }

    #[test]
    fn a_value_by_itself_is_what_is_stored() {
        let value = |form: Form, value: &[u8]| {
            let mut out = Vec::new();
            form.value(value, &mut out).map(|()| out)
        };
        assert_eq!(value(Form::Bytes, b"a\t\n\\\xff\0").unwrap(), b"a\t\n\\\xff\0");
        assert_eq!(value(Form::Bytes, b"").unwrap(), b"");
        assert_eq!(value(Form::Terminal, b"a\nb\xff").unwrap(), b"a\nb\\xff\n");
        assert_eq!(value(Form::Hex, b"a\n").unwrap(), b"610a\n");
        assert_eq!(value(Form::Zeros, b"a\n").unwrap(), b"a\n\0");
        let refused = value(Form::Zeros, b"a\0b").unwrap_err().to_string();
        assert!(refused.contains("--hex"), "{refused}");
    }
}
