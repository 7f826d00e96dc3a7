//! Files that `holdfast export` writes, and `holdfast import` knows again by themselves.
//!
//! An export is a text that begins with a mark which no file has by accident, says where its rows come from, and ends with their number and the
//! SHA-256 of everything before: a file that was cut off, or changed by one byte, is not taken for whole. Keys, values and expiries are those
//! that were stored, whatever their bytes.
//!
//! ```text
//! {"holdfast_export":1,"keyspace":"default"}                                 holdfast_export_1,key,value,version,expires_at
//! {"key":"a","value":"red","version":"115343360000000000"}                   head,"{""keyspace"":""default""}",,,
//! {"key":"b","value":{"base64":"/w=="},"version":"115343360000000001",...}   row,a,red,115343360000000000,
//! {"holdfast_export_end":{"rows":2,"sha256":"..."}}                          row,b,base64:/w==,115343360000000001,2026-12-01T00:00:00.000Z
//!                                                                            end,"{""rows"":2,""sha256"":""...""}",,,
//! ```
//!
//! - [`Writer`]: writes one; it can be left and gone on with
//! - [`recognise`]: tells an export from another source; [`Reader`]: reads one, and checks all of it; [`verify`]: checks alone
//! - [`Head`], [`End`], [`ExportedRow`]: what is in it

mod head;
mod moment;
mod reader;
mod record;
mod writer;

pub use self::head::{Bound, End, Head};
pub use self::reader::{Damage, Reader, Recognised, recognise, verify};
pub use self::record::ExportedRow;
pub use self::writer::{TextDigest, Writer};

use bytes::Bytes;

use crate::format::Format;
use crate::json::{JsonField, JsonKind, JsonRow};

/// The version of the format.
pub const FORMAT_VERSION: u32 = 1;
/// How much of a text tells whether it is an export.
pub const BEGINNING_BYTES: usize = 64;

const JSON_MARK: &[u8] = b"{\"holdfast_export\":";
const COLUMN_MARK: &[u8] = b"holdfast_export_";
/// The columns behind the mark.
const COLUMNS: [&str; 4] = ["key", "value", "version", "expires_at"];

/// How an export is written: its format, and the version of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// The format.
    pub format: Format,
    /// The version that the file names.
    pub version: u32,
}

impl Form {
    /// What a text is that begins so; `None`: no export.
    #[must_use]
    pub fn of_beginning(beginning: &[u8]) -> Option<Self> {
        let (rest, is_json) = match beginning.strip_prefix(JSON_MARK) {
            Some(rest) => (rest, true),
            None => (beginning.strip_prefix(COLUMN_MARK)?, false),
        };
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (number, behind) = rest.split_at_checked(digits)?;
        let version = std::str::from_utf8(number).ok()?.parse().ok()?;
        let format = match (is_json, behind.first()?) {
            (true, b',' | b'}') => Format::JsonLines,
            (false, b',') => Format::Csv,
            (false, b'\t') => Format::Tsv,
            _ => return None,
        };
        Some(Self { format, version })
    }
}

/// True of the decoded beginning of a text that was an export, and whose encoding, quotes, delimiter or spaces somebody has changed. Of an export
/// as it was written it is true too: see [`recognise`].
#[must_use]
pub fn was_export(beginning: &str) -> bool {
    let beginning = beginning.trim_start_matches(|letter: char| letter.is_whitespace() || letter == '\u{feff}');
    let line = beginning.lines().next().unwrap_or_default();
    if let Some(object) = line.strip_prefix('{') {
        let first = object.trim_start().strip_prefix("\"holdfast_export\"");
        let version = first.and_then(|rest| rest.trim_start().strip_prefix(':'));
        let is_number = |field: JsonField<'_>| field.kind() == JsonKind::Number;
        return version.is_some_and(|rest| rest.trim_start().starts_with(|letter: char| letter.is_ascii_digit()))
            || JsonRow::parse(&Bytes::copy_from_slice(line.as_bytes()))
                .is_ok_and(|object| object.field("holdfast_export").is_some_and(is_number));
    }
    let name = line.trim_start_matches(|letter: char| letter.is_ascii_punctuation());
    name.strip_prefix("holdfast_export_").is_some_and(|rest| rest.starts_with(|letter: char| letter.is_ascii_digit()))
}

/// The delimiter of a format with columns.
fn delimiter(format: Format) -> u8 {
    match format {
        Format::Tsv => b'\t',
        Format::Csv | Format::JsonLines => b',',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_is_known_though_it_was_changed() {
        for changed in [
            "{\"holdfast_export\": 1, \"keyspace\": \"a\"}\n",
            "{ \"holdfast_export\" :1,\"keyspace",
            "\n{\"fleet\":\"f\",\"holdfast_export\":1}\n",
            "\u{feff}\"holdfast_export_1\";\"key\"\n",
            "'holdfast_export_1'|key\n",
            "holdfast_export_1,key,value\n",
        ] {
            assert!(was_export(changed), "{changed}");
        }
        for other in [
            "",
            "id,holdfast_export_1\n",
            "holdfast_export_day,key\n",
            "{\"id\":\"holdfast_export\"}\n",
            "{\"a\":{\"holdfast_export\":1}}\n",
            "{\"holdfast_export\":true}\n",
            "a\nholdfast_export_1,key\n",
        ] {
            assert!(!was_export(other), "{other}");
        }
    }

    #[test]
    fn an_export_is_known_by_its_beginning_and_nothing_else_is() {
        let of = |text: &str| Form::of_beginning(text.as_bytes());
        let form = |format, version| Some(Form { format, version });
        assert_eq!(of("{\"holdfast_export\":1,\"keyspace\":\"a\"}\n"), form(Format::JsonLines, 1));
        assert_eq!(of("holdfast_export_1,key,"), form(Format::Csv, 1));
        assert_eq!(of("holdfast_export_27\tkey\t"), form(Format::Tsv, 27), "a later one is known too");
        for other in [
            "",
            "key,value\n",
            "{\"holdfast_export\":\"1\"}",
            "{\"holdfast_export\":",
            "holdfast_export_,key",
            "holdfast_export_1;key",
            " holdfast_export_1,",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
