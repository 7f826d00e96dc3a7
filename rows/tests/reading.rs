//! What records are, whatever the input is.

#![allow(clippy::unwrap_used)]

use std::io::{self, Cursor, Read, Write as _};

use bytes::Bytes;
use holdfast_rows::{
    BadRecord, Content, Dialect, Encoding, Extent, Format, Heading, HeadingError, Record, Records, Source,
};
use holdfast_types::limits;

fn open(bytes: &[u8], encoding: &str, format: Format, dialect: &Dialect) -> Result<Records, HeadingError> {
    let reader = Cursor::new(bytes.to_vec());
    Records::new(Source::from_reader("it", reader, None, encoding.parse().unwrap()).unwrap(), format, dialect)
}

fn csv(bytes: &[u8]) -> Vec<Record> {
    open(bytes, "utf-8", Format::Csv, &Dialect::csv()).unwrap().collect()
}

/// The line of each record, and its cells or its reason.
fn told(records: impl IntoIterator<Item = Record>) -> Vec<(u64, Result<Vec<String>, String>)> {
    let cell = |cell: Option<Bytes>| cell.map_or("NULL".to_owned(), |cell| String::from_utf8(cell.to_vec()).unwrap());
    records
        .into_iter()
        .map(|record| {
            let content = match record.content {
                Ok(Content::Cells(cells)) => Ok(cells.into_iter().map(cell).collect()),
                Ok(Content::Object(row)) => Ok(vec![row.text().to_owned()]),
                Err(bad) => Err(bad.reason),
            };
            (record.line, content)
        })
        .collect()
}

fn good(line: u64, cells: &[&str]) -> (u64, Result<Vec<String>, String>) {
    (line, Ok(cells.iter().map(|cell| (*cell).to_owned()).collect()))
}

fn bad(line: u64, reason: &str) -> (u64, Result<Vec<String>, String>) {
    (line, Err(reason.to_owned()))
}

#[test]
fn lines_are_counted_alike_whatever_ends_them() {
    for end in ["\n", "\r\n", "\r"] {
        let text = format!("{end}id,note{end}1,a{end}{end}2,\"b{end}b\"{end}3{end}4,d");
        let expected = [
            good(3, &["1", "a"]),
            good(5, &["2", &format!("b{end}b")]),
            bad(7, "1 column where the heading has 2"),
            good(8, &["4", "d"]),
        ];
        assert_eq!(told(csv(text.as_bytes())), expected, "{end:?}");
        let text = format!("{{\"a\":1}}{end}  {end}nonsense{end}{{\"a\":2}}");
        let records = told(open(text.as_bytes(), "utf-8", Format::JsonLines, &Dialect::csv()).unwrap());
        assert_eq!(records.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 3, 4], "{end:?}");
    }
}

#[test]
fn what_is_reported_is_what_the_file_holds() {
    let text = b"id,note\r\n1,\"a\r\nb\"\r\n\r\n2,\xff\r3\n4,\"x\n5,y";
    let raw: Vec<_> = csv(text).into_iter().map(|record| record.raw).collect();
    assert_eq!(raw, [&b"1,\"a\r\nb\"\r\n"[..], b"2,\xff\r", b"3\n", b"4,\"x\n", b"5,y"]);
}

#[test]
fn a_quote_that_ends_before_text_is_taken_for_one_without_an_end() {
    let text = b"id,note\n1,\"oops\n2,b\n3,\"c\"\n4,d\n5,\"e\" \n";
    let expected = [
        bad(2, "column 2 (note): its quote has no end: the next one, on line 4, is followed by text"),
        good(3, &["2", "b"]),
        good(4, &["3", "c"]),
        good(5, &["4", "d"]),
        bad(6, "column 2 (note): text follows its closing quote"),
    ];
    assert_eq!(told(csv(text)), expected);
}

#[test]
fn a_record_of_several_lines_says_which_when_it_is_bad() {
    let text = b"id,note\n1,\"a\nb\",c\n2,\"a\n\xff\"\n3,d\n";
    let read = told(csv(text));
    assert_eq!(read[0], bad(2, "3 columns where the heading has 2, on lines 2 to 3"));
    let (4, Err(reason)) = &read[1] else { panic!("{read:?}") };
    assert!(reason.starts_with("byte 1 of line 5, 0xff, is no UTF-8"), "{reason}");
    assert_eq!(read[2], good(6, &["3", "d"]));
}

#[test]
fn a_quote_is_not_looked_for_again_where_it_was_not_found() {
    // Each line opens a quote that every later one keeps open. Were the rest of the file read for each of them, this would take hours.
    let count = 200_000;
    let text = format!("id,note\n{}", "x\",\"\n".repeat(count));
    let read = told(csv(text.as_bytes()));
    assert_eq!(read.len(), count);
    assert!((2..).zip(&read).all(|(expected, (line, content))| *line == expected && content.is_err()));
}

#[test]
fn the_heading_may_be_given_and_then_every_line_is_a_row() {
    let names = |names: &[&str]| Heading::Given(names.iter().map(|name| (*name).to_owned()).collect());
    let dialect = Dialect { heading: names(&["id", "note"]), ..Dialect::csv() };
    let records = open(b"1,a\n2,b\n", "utf-8", Format::Csv, &dialect).unwrap();
    assert_eq!(records.heading(), ["id", "note"]);
    assert_eq!(told(records), [good(1, &["1", "a"]), good(2, &["2", "b"])]);
    let dialect = Dialect { heading: names(&["id", "id"]), ..Dialect::csv() };
    assert!(matches!(open(b"", "utf-8", Format::Csv, &dialect), Err(HeadingError::Twice { .. })));
    let dialect = Dialect { heading: names(&[]), ..Dialect::csv() };
    assert!(matches!(open(b"", "utf-8", Format::Csv, &dialect), Err(HeadingError::Dialect(_))));
}

#[test]
fn a_heading_that_cannot_be_read_is_refused_by_its_line() {
    let refused = |bytes: &[u8]| open(bytes, "utf-8", Format::Csv, &Dialect::csv()).err().unwrap().to_string();
    assert!(refused(b"").contains("the input is empty"));
    assert!(refused(b"\n\r\n").contains("the input is empty"));
    assert!(refused(b"\n\"id,note\n1,a\n").contains("line 2 is no heading: column 1: its quote has no end"));
    assert!(refused(b"id,\xff\n").contains("line 1 is no heading: byte 4 of line 1, 0xff"));
    let utf_16: Vec<u8> = "id,note\n1,a\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(refused(&utf_16).contains("line 1 is no heading: it holds zero bytes: perhaps the encoding is utf-16le"));
    assert!(refused(b"sep=;\nid;note\n").contains("line 1 is no heading: it tells spreadsheets the delimiter"));
    assert!(refused(b"sep=,\nid,note\n").contains("line 1 is no heading: it tells spreadsheets the delimiter"));
    let columns = (0..=limits::MAX_ROW_COLUMNS).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    assert!(refused(columns.as_bytes()).contains("more than 16384 columns"));
}

#[test]
fn a_heading_may_hold_what_a_cell_may() {
    let records = open(b"\"a,b\",\"two\nlines\",\n1,2,3\n", "utf-8", Format::Csv, &Dialect::csv()).unwrap();
    assert_eq!(records.heading(), ["a,b", "two\nlines", ""]);
    assert_eq!(told(records), [good(3, &["1", "2", "3"])]);
    let null = Dialect { null: Some(b"id".to_vec()), ..Dialect::csv() };
    let records = open(b"id,note\nid,\"id\"\n", "utf-8", Format::Csv, &null).unwrap();
    assert_eq!(records.heading(), ["id", "note"]);
    assert_eq!(told(records), [good(2, &["NULL", "id"])]);
}

#[test]
fn other_delimiters_and_quotes_are_taken_and_what_cannot_be_one_is_refused() {
    let dialect = Dialect { delimiter: b';', quote: Some(b'\''), ..Dialect::csv() };
    let records = open(b"id;note\n1;'a;''b'\n2;\"c\n", "utf-8", Format::Csv, &dialect).unwrap();
    assert_eq!(told(records), [good(2, &["1", "a;'b"]), good(3, &["2", "\"c"])]);
    for dialect in [
        Dialect { delimiter: b'\n', ..Dialect::csv() },
        Dialect { delimiter: 0xe9, ..Dialect::csv() },
        Dialect { delimiter: b'"', ..Dialect::csv() },
        Dialect { quote: Some(b'\r'), ..Dialect::csv() },
        Dialect { delimiter: b'\\', ..Dialect::tsv() },
        Dialect { quote: Some(b'\\'), ..Dialect::tsv() },
    ] {
        assert!(matches!(open(b"a\n", "utf-8", Format::Csv, &dialect), Err(HeadingError::Dialect(_))), "{dialect:?}");
    }
}

#[test]
fn the_only_column_may_be_empty_where_nothing_can_stand_around_it() {
    let records = open(b"id\na\n\nb\n", "utf-8", Format::Tsv, &Dialect::tsv()).unwrap();
    assert_eq!(told(records), [good(2, &["a"]), good(3, &[""]), good(4, &["b"])]);
    assert_eq!(told(csv(b"id\na\n\n\"\"\n")), [good(2, &["a"]), good(4, &[""])]);
}

#[test]
fn any_encoding_is_read_and_reported_as_it_is() {
    let text = "id,note\r\n1,\"é,\n\u{a0d}\"\n2,b\"\u{20ac}\n3\n";
    let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let records: Vec<_> = open(&little, "utf-16le", Format::Csv, &Dialect::csv()).unwrap().collect();
    let rows: Vec<u8> = records.iter().flat_map(|record| record.raw.to_vec()).collect();
    assert_eq!(rows, little[2 * "id,note\r\n".len()..]);
    let expected =
        [good(2, &["1", "é,\n\u{a0d}"]), good(4, &["2", "b\"\u{20ac}"]), bad(5, "1 column where the heading has 2")];
    assert_eq!(told(records), expected);
    // In Shift JIS the second byte of a letter may be a backslash or a bar.
    let dialect = Dialect { delimiter: b'|', ..Dialect::csv() };
    let records = open(b"id|note\n1|\x83\x7c\x95\x5c\n2|\x83\n", "shift_jis", Format::Csv, &dialect).unwrap();
    assert_eq!(told(records), [good(2, &["1", "ポ表"]), bad(3, "bytes that mean nothing in Shift_JIS")]);
    let records =
        open(b"{\"a\":\"\xe9\"}\n\n{\"a\":\"\x80\"}\n", "latin1", Format::JsonLines, &Dialect::csv()).unwrap();
    assert_eq!(told(records), [good(1, &["{\"a\":\"é\"}"]), good(3, &["{\"a\":\"€\"}"])]);
}

#[test]
fn half_a_letter_at_the_end_of_utf_16_is_a_bad_row() {
    let mut bytes: Vec<u8> = "a,b\n1,2\n3,4".encode_utf16().flat_map(u16::to_le_bytes).collect();
    bytes.push(b'x');
    let records = open(&bytes, "utf-16le", Format::Csv, &Dialect::csv()).unwrap();
    assert_eq!(told(records), [good(2, &["1", "2"]), bad(3, "bytes that mean nothing in UTF-16LE")]);
}

/// Reads what it has, and then fails.
struct Failing(Cursor<Vec<u8>>);

impl Read for Failing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::Error::other("the disk is gone")),
            read => Ok(read),
        }
    }
}

#[test]
fn an_input_that_cannot_be_read_any_further_says_so_once_and_does_not_pass_half_a_line_for_a_row() {
    for (format, bytes) in [
        (Format::Csv, &b"id,note\n1,a\n2,\"b\n3,c\n4,half"[..]),
        (Format::JsonLines, b"{\"id\":1}\n{\"id\":\n{\"id\":3}\n{\"id\":4}"),
    ] {
        let source =
            Source::from_reader("it", Failing(Cursor::new(bytes.to_vec())), None, Encoding::default()).unwrap();
        let records: Vec<_> = Records::new(source, format, &Dialect::csv()).unwrap().collect();
        let [.., last] = &records[..] else { panic!() };
        let reason = "the input cannot be read any further: the disk is gone".to_owned();
        assert_eq!(last.content, Err(BadRecord { reason, extent: Extent::Rest }));
        assert!(bytes.ends_with(&last.raw) && last.raw.len() >= 6, "{last:?}");
        let good: Vec<_> = records.iter().filter(|record| record.content.is_ok()).map(|record| record.line).collect();
        assert_eq!(good.len(), 2, "{records:?}");
        assert_eq!(records.iter().map(|record| record.line).max(), Some(last.line));
    }
}

#[test]
fn a_packed_file_that_is_cut_short_or_damaged_is_not_taken_for_a_whole_one() {
    let text = (0..50_000).map(|n| format!("{{\"id\":{n}}}\n")).collect::<String>();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    for packed in [gzip.finish().unwrap(), zstd::encode_all(text.as_bytes(), 1).unwrap()] {
        let read = |packed: &[u8]| -> Vec<_> {
            open(packed, "utf-8", Format::JsonLines, &Dialect::csv()).unwrap().map(|record| record.content).collect()
        };
        assert_eq!(read(&packed).iter().filter(|content| content.is_ok()).count(), 50_000);
        let cut = read(&packed[..packed.len() - 5]);
        let extent = cut.last().unwrap().as_ref().unwrap_err().extent;
        assert_eq!(extent, Extent::Rest);
        assert!(cut[..cut.len() - 1].iter().all(Result::is_ok));
    }
}

#[test]
fn a_line_that_is_too_long_is_one_bad_row_whose_bytes_come_in_pieces() {
    let long = "x".repeat(limits::MAX_RECORD_BYTES * 2 + 9);
    let text = format!("id,note\n1,a\n{long}\r\n2,b\n");
    let records = csv(text.as_bytes());
    let extents: Vec<_> =
        records.iter().map(|record| (record.line, record.content.as_ref().map_err(|bad| bad.extent).err())).collect();
    let (whole, piece) = (Some(Extent::Record), Some(Extent::Piece));
    assert_eq!(extents, [(2, None), (3, whole), (3, piece), (3, piece), (4, None)]);
    let raw: usize = records.iter().map(|record| record.raw.len()).sum();
    assert_eq!(raw, text.len() - "id,note\n".len());
    // At the very end of the input too, where nothing follows.
    let text = format!("id,note\n{}", "x".repeat(limits::MAX_RECORD_BYTES * 2));
    let lines: Vec<_> = csv(text.as_bytes()).into_iter().map(|record| (record.line, record.raw.len())).collect();
    assert_eq!(lines.iter().map(|(_, size)| size).sum::<usize>(), limits::MAX_RECORD_BYTES * 2);
    assert!(lines.iter().all(|(line, _)| *line == 2));
}

#[test]
fn a_quote_is_looked_for_no_further_than_a_record_is_long() {
    let count = limits::MAX_RECORD_BYTES / 1_024;
    let filler = format!("{},y\n", "x".repeat(1_021)).repeat(count);
    let records = csv(format!("id,note\n1,\"a\n{filler}\"\n2,b\n").as_bytes());
    assert_eq!(told(records[..1].to_vec()), [bad(2, "column 2 (note): its quote has no end")]);
    assert_eq!(records.len(), 1 + count + 2);
    assert!(records[1..=count].iter().all(|record| record.content.is_ok()));
    let last = told(records[1 + count..].to_vec());
    let line = u64::try_from(count).unwrap() + 3;
    assert_eq!(last, [bad(line, "column 1 (id): its quote has no end"), good(line + 1, &["2", "b"])]);
}

#[test]
fn the_position_is_where_the_newest_record_ends() {
    let text = b"\xef\xbb\xbfid,note\n1,a\n\n2,\"b\nb\"\r\n3,c";
    let mut records = open(text, "utf-8", Format::Csv, &Dialect::csv()).unwrap();
    let mut positions = vec![records.position()];
    while records.next().is_some() {
        positions.push(records.position());
    }
    assert_eq!(positions, [11, 15, 25, 28]);
}
