//! One record of an export as a line of its format, there and back.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::borrow::Cow;
use std::io;

use bytes::Bytes;
use holdfast_types::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::head::Bound;
use super::moment::{number, time_text, timestamp};
use super::{COLUMNS, End, FORMAT_VERSION, Head, delimiter};
use crate::format::Format;
use crate::write::push_json;
use crate::write::{decode_cell, encode_cell};

/// A row as it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportedRow {
    /// The line of the file on which it begins, from 1.
    pub line: u64,
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
    /// The version that it had in the fleet that it comes from.
    pub version: Timestamp,
    /// From this point of fleet time on it is gone; `None`: never.
    pub expires_at: Option<Timestamp>,
}

/// What a record is.
#[derive(Debug)]
pub(super) enum Said {
    Head(Head),
    Row(ExportedRow),
    End(End),
}

/// Appends a row.
pub(super) fn push_row(line: &mut Vec<u8>, format: Format, row: &ExportedRow) -> io::Result<()> {
    let version = row.version.0.to_string();
    let expires_at = row.expires_at.map(time_text);
    if format == Format::JsonLines {
        line.extend_from_slice(b"{\"key\":");
        push_json(line, Some(&row.key))?;
        line.extend_from_slice(b",\"value\":");
        push_json(line, Some(&row.value))?;
        line.extend_from_slice(b",\"version\":\"");
        line.extend_from_slice(version.as_bytes());
        if let Some(expires_at) = expires_at {
            line.extend_from_slice(b"\",\"expires_at\":\"");
            line.extend_from_slice(expires_at.as_bytes());
        }
        line.extend_from_slice(b"\"}\n");
    } else {
        let (key, value) = (encode_cell(&row.key), encode_cell(&row.value));
        push_cells(line, format, ["row", &key, &value, &version, expires_at.as_deref().unwrap_or_default()]);
    }
    Ok(())
}

/// Appends what stands before the rows: in formats with columns also the heading.
pub(super) fn push_head(line: &mut Vec<u8>, format: Format, head: &Head) -> io::Result<()> {
    if format != Format::JsonLines {
        let mark = format!("holdfast_export_{FORMAT_VERSION}");
        let [key, value, version, expires_at] = COLUMNS;
        push_cells(line, format, [&mark, key, value, version, expires_at]);
        push_cells(line, format, ["head", &serde_json::to_string(head)?, "", "", ""]);
        return Ok(());
    }
    let said = serde_json::to_string(head)?;
    // The mark is the first field, whatever the others are.
    line.extend_from_slice(format!("{{\"holdfast_export\":{FORMAT_VERSION},").as_bytes());
    line.extend_from_slice(said.strip_prefix('{').unwrap_or_default().as_bytes());
    line.push(b'\n');
    Ok(())
}

/// Appends what stands behind the rows.
pub(super) fn push_end(line: &mut Vec<u8>, format: Format, end: &End) -> io::Result<()> {
    let said = serde_json::to_string(end)?;
    if format == Format::JsonLines {
        line.extend_from_slice(format!("{{\"holdfast_export_end\":{said}}}\n").as_bytes());
    } else {
        push_cells(line, format, ["end", &said, "", "", ""]);
    }
    Ok(())
}

fn push_cells(line: &mut Vec<u8>, format: Format, cells: [&str; 5]) {
    for (index, cell) in cells.into_iter().enumerate() {
        if index > 0 {
            line.push(delimiter(format));
        }
        match format {
            Format::Tsv => push_escaped(line, cell),
            Format::Csv | Format::JsonLines => push_quoted(line, cell),
        }
    }
    line.push(b'\n');
}

fn push_escaped(line: &mut Vec<u8>, cell: &str) {
    for byte in cell.bytes() {
        match byte {
            b'\t' => line.extend_from_slice(b"\\t"),
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            b'\\' => line.extend_from_slice(b"\\\\"),
            byte => line.push(byte),
        }
    }
}

fn push_quoted(line: &mut Vec<u8>, cell: &str) {
    let is_outer = |c: char| c.is_whitespace();
    let is_plain = !cell.bytes().any(|byte| matches!(byte, b'"' | b',' | b'\n' | b'\r'))
        && !cell.starts_with(is_outer)
        && !cell.ends_with(is_outer);
    if is_plain {
        line.extend_from_slice(cell.as_bytes());
        return;
    }
    line.push(b'"');
    for byte in cell.bytes() {
        if byte == b'"' {
            line.push(b'"');
        }
        line.push(byte);
    }
    line.push(b'"');
}

/// A line of JSON: which of its fields are there says what it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonRecord {
    key: Option<Bound>,
    value: Option<Bound>,
    version: Option<String>,
    expires_at: Option<String>,
    holdfast_export_end: Option<End>,
}

/// What a record says; the error is a reason. `line` is where it begins.
pub(super) fn parse(record: &[u8], format: Format, line: u64) -> Result<Said, String> {
    let record = record.strip_suffix(b"\n").ok_or("the file ends within it")?;
    if format == Format::JsonLines {
        return parse_json(record, line);
    }
    let [kind, key, value, version, expires_at] = cells(record, format)?;
    match &*kind {
        b"head" => said(&key).map(Said::Head),
        b"end" => said(&key).map(Said::End),
        b"row" => {
            let bytes =
                |cell: &[u8]| decode_cell(cell).map(|bytes| Bytes::copy_from_slice(&bytes)).map_err(|e| e.to_string());
            let expires_at = Some(text(&expires_at)?).filter(|text| !text.is_empty());
            row(line, bytes(&key)?, bytes(&value)?, text(&version)?, expires_at).map(Said::Row)
        }
        _ => Err("its first cell is none of head, row and end".into()),
    }
}

/// What the heading of an export with columns must be.
pub(super) fn is_heading(record: &[u8], format: Format) -> bool {
    let mut heading = Vec::new();
    let mark = format!("holdfast_export_{FORMAT_VERSION}");
    let [key, value, version, expires_at] = COLUMNS;
    push_cells(&mut heading, format, [&mark, key, value, version, expires_at]);
    record == heading
}

fn parse_json(record: &[u8], line: u64) -> Result<Said, String> {
    let record: JsonRecord = serde_json::from_slice(record).map_err(|e| e.to_string())?;
    match record {
        JsonRecord {
            key: Some(key),
            value: Some(value),
            version: Some(version),
            expires_at,
            holdfast_export_end: None,
        } => row(line, key.0, value.0, &version, expires_at.as_deref()).map(Said::Row),
        JsonRecord { key: None, value: None, version: None, expires_at: None, holdfast_export_end: Some(end) } => {
            Ok(Said::End(end))
        }
        _ => Err("it is neither a row nor the end".into()),
    }
}

fn row(line: u64, key: Bytes, value: Bytes, version: &str, expires_at: Option<&str>) -> Result<ExportedRow, String> {
    let version = number(version).ok_or("its version is no number")?;
    let expires_at = expires_at.map(|text| timestamp(text).ok_or("its expiry is no time")).transpose()?;
    Ok(ExportedRow { line, key, value, version, expires_at })
}

fn text(cell: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(cell).map_err(|_| "it is not UTF-8".into())
}

fn said<T: DeserializeOwned>(cell: &[u8]) -> Result<T, String> {
    serde_json::from_slice(cell).map_err(|e| e.to_string())
}

type Cells<'a> = [Cow<'a, [u8]>; 5];

fn cells(record: &[u8], format: Format) -> Result<Cells<'_>, String> {
    let mut rest = record;
    let mut cells: Cells<'_> = Default::default();
    let last = cells.len().saturating_sub(1);
    for (index, cell) in cells.iter_mut().enumerate() {
        let behind;
        (*cell, behind) = match format {
            Format::Tsv => unescaped(rest)?,
            Format::Csv | Format::JsonLines => unquoted(rest)?,
        };
        rest = match behind.split_first() {
            None if index == last => behind,
            Some((byte, behind)) if *byte == delimiter(format) && index < last => behind,
            _ => return Err("it has not the columns of an export".into()),
        };
    }
    cells.iter().all(|cell| std::str::from_utf8(cell).is_ok()).then_some(cells).ok_or_else(|| "it is not UTF-8".into())
}

/// What stands before the first of this byte, and what begins with it; all and nothing when there is none.
fn until(byte: u8, text: &[u8]) -> (&[u8], &[u8]) {
    let at = memchr::memchr(byte, text).unwrap_or(text.len());
    text.split_at_checked(at).unwrap_or((text, &[]))
}

/// A cell, and what is behind it: nothing, or a delimiter first.
fn unescaped(rest: &[u8]) -> Result<(Cow<'_, [u8]>, &[u8]), String> {
    let (cell, behind) = until(b'\t', rest);
    if memchr::memchr(b'\\', cell).is_none() {
        return Ok((Cow::Borrowed(cell), behind));
    }
    let mut plain = Vec::new();
    let mut bytes = cell.iter();
    while let Some(byte) = bytes.next() {
        plain.push(match (byte, byte == &b'\\') {
            (byte, false) => *byte,
            (_, true) => match bytes.next() {
                Some(b't') => b'\t',
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b'\\') => b'\\',
                _ => return Err("it has an escape that no export has".into()),
            },
        });
    }
    Ok((Cow::Owned(plain), behind))
}

fn unquoted(rest: &[u8]) -> Result<(Cow<'_, [u8]>, &[u8]), String> {
    let Some(quoted) = rest.strip_prefix(b"\"") else {
        let (cell, behind) = until(b',', rest);
        return match memchr::memchr(b'"', cell) {
            None => Ok((Cow::Borrowed(cell), behind)),
            Some(_) => Err("it has a quote within a cell that has none around it".into()),
        };
    };
    let mut plain = Vec::new();
    let mut rest = quoted;
    loop {
        let (before, behind) = until(b'"', rest);
        plain.extend_from_slice(before);
        let behind = behind.strip_prefix(b"\"").ok_or("it has a quote without an end")?;
        match behind.strip_prefix(b"\"") {
            Some(more) => {
                plain.push(b'"');
                rest = more;
            }
            None => return Ok((Cow::Owned(plain), behind)),
        }
    }
}
