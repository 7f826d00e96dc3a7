//! Files that somebody wants to load: rows in every format and encoding, packed or not, and what `holdfast export` wrote and somebody changed.

use std::io::Cursor;

use bytes::Bytes;
use holdfast_rows::export_file::{ExportedRow, Form, Reader, Recognised, Writer, recognise, verify};
use holdfast_rows::write::{RowWriter, decode_cell};
use holdfast_rows::{Content, Dialect, Encoding, Format, Heading, Record, Records, Source};

use crate::memory;

/// Records of one input that are looked at: a packed one may unpack to more than there is memory.
const MOST_RECORDS: usize = 10_000;
/// Bytes in which to read and to unpack, whatever the input is, as a part of it.
const BUFFERS_BYTES: usize = 4 << 10;

/// The first byte says how the rest is read.
pub(crate) fn row_files(input: &[u8]) {
    let Some((tag, file)) = input.split_first() else { return };
    let (format, dialect) = dialect(*tag);
    let encodings = ["utf-8", "latin1", "utf-16le", "shift_jis"];
    let encoding: Encoding = encodings[usize::from(tag >> 6)].parse().unwrap();
    let file = Bytes::copy_from_slice(file);
    export_again(&file);
    let Ok(source) = Source::from_reader("it", Cursor::new(file.clone()), None, encoding) else { return };
    match recognise(source) {
        Ok(Recognised::Export { form, input }) => {
            if let Ok(reader) = Reader::new(input, form) {
                reader.take(MOST_RECORDS).for_each(drop);
            }
        }
        Ok(Recognised::Other(source)) => {
            let is_packed = matches!(file.first(), Some(0x1f | 0x28 | 0x50..=0x5f));
            let walk = || walk(source, format, &dialect);
            // What is packed may be a thousand times what it was given.
            if is_packed {
                walk()
            } else {
                memory::within(512, file.len() + BUFFERS_BYTES, walk)
            }
            if encoding == Encoding::default() {
                write_back(file, format, &dialect);
            }
        }
        Err(_) => {}
    }
}

/// What is taken for a whole export is one that could have been written: its rows, written again, are read as the same ones.
fn export_again(file: &[u8]) {
    for format in [Format::Csv, Format::Tsv, Format::JsonLines] {
        let form = Form { format, version: 1 };
        let Ok((head, end)) = verify(file, form) else { continue };
        let read = |file: &[u8]| -> Vec<ExportedRow> {
            let rows = Reader::new(file, form).unwrap().map(|row| row.unwrap());
            rows.map(|row| ExportedRow { line: 0, ..row }).collect()
        };
        let rows = read(file);
        let mut writer = Writer::new(Vec::new(), format, &head).unwrap();
        rows.iter().for_each(|row| writer.row(row).unwrap());
        let (written, written_end) = writer.finish(end.clone()).unwrap();
        assert_eq!((verify(&written[..], form).unwrap(), written_end.rows), ((head, written_end.clone()), end.rows));
        assert_eq!(read(&written), rows);
    }
}

fn dialect(tag: u8) -> (Format, Dialect) {
    let given = Heading::Given(vec!["a".into(), "b".into()]);
    match tag & 7 {
        0 => (Format::Csv, Dialect::csv()),
        1 => (Format::Tsv, Dialect::tsv()),
        2 => (Format::Csv, Dialect { null: Some(Vec::new()), heading: given, ..Dialect::csv() }),
        3 => (Format::Tsv, Dialect { heading: given, ..Dialect::tsv() }),
        4 => (Format::Csv, Dialect { delimiter: b';', quote: Some(b'\''), escapes: true, ..Dialect::csv() }),
        5 => (Format::Tsv, Dialect { escapes: false, null: None, ..Dialect::tsv() }),
        _ => (Format::JsonLines, Dialect::csv()),
    }
}

/// Each record lies behind the one before it, and is as long as it says; one at a time is held.
fn walk(source: Source, format: Format, dialect: &Dialect) {
    let Ok(mut records) = Records::new(source, format, dialect) else { return };
    let (mut line, mut position) = (0, records.position());
    for _ in 0..MOST_RECORDS {
        let Some(record) = records.next() else { return };
        let size = u64::try_from(record.raw.len()).unwrap();
        assert!(records.position() >= position + size, "a record is read once");
        position = records.position();
        match &record.content {
            Ok(content) => {
                assert!(record.line > line, "each record begins on a line of its own");
                check(content, records.heading().len());
            }
            Err(bad) => assert!(record.line >= line && !bad.reason.is_empty()),
        }
        line = record.line;
    }
}

fn check(content: &Content, columns: usize) {
    match content {
        Content::Cells(cells) => {
            assert_eq!(cells.len(), columns);
            assert!(cells.iter().flatten().all(|cell| std::str::from_utf8(cell).is_ok()), "cells are text");
        }
        Content::Object(row) => {
            assert!(row.text().starts_with('{') && row.text().ends_with('}'));
            for field in row.fields() {
                assert!(row.field(&field.name()) == Some(field), "a field is found by its name, and no other one is");
                let _ = (field.kind(), field.string(), field.bytes());
            }
        }
    }
}

/// A heading, and rows of cells.
type Table = (Vec<String>, Vec<Vec<Option<Bytes>>>);

/// What was read is read again when it is written.
fn write_back(file: Bytes, format: Format, dialect: &Dialect) {
    let read = |file: Bytes| -> Option<Table> {
        let source = Source::from_reader("it", Cursor::new(file), None, Encoding::default()).ok()?;
        let records = Records::new(source, format, dialect).ok()?;
        let heading = records.heading().to_vec();
        let cells = |record: Record| match record.content {
            Ok(Content::Cells(cells)) => Some(cells),
            _ => None,
        };
        Some((heading, records.take(MOST_RECORDS).filter_map(cells).collect()))
    };
    let Some((heading, rows)) = read(file) else { return };
    // A blank line first, so that the first name is not taken for a byte order mark or a packer's.
    let mut written = b"\n".to_vec();
    let Ok(mut writer) = RowWriter::new(&mut written, format, dialect, &heading) else { return };
    for row in &rows {
        let cells: Vec<_> = row.iter().map(Option::as_deref).collect();
        // Without escapes or quotes there are cells that no file can hold.
        if writer.row(&cells).is_err() {
            return;
        }
    }
    if format == Format::JsonLines || heading.iter().any(|name| name.starts_with("base64:")) {
        return;
    }
    let (heading_again, rows_again) = read(Bytes::from(written)).expect("what was written has a heading");
    assert_eq!(heading_again, heading);
    let decoded = |cell: Option<Bytes>| cell.map(|cell| Bytes::from(decode_cell(&cell).unwrap().into_owned()));
    let rows_again: Vec<Vec<_>> = rows_again.into_iter().map(|row| row.into_iter().map(decoded).collect()).collect();
    assert_eq!(rows_again, rows);
}
