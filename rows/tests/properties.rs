//! What holds of every input.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::io::{self, Cursor, Read};

use holdfast_rows::{Content, Dialect, Encoding, Format, Heading, Records, Source};
use proptest::prelude::*;

/// Gives so many bytes at a time, so that the end of what is known lies everywhere.
struct InSteps(Cursor<Vec<u8>>, usize);

impl Read for InSteps {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(self.1);
        self.0.read(&mut buffer[..most])
    }
}

/// Texts that are mostly made of what means something.
fn texts() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => Just(&b"\""[..]),
        3 => Just(&b","[..]),
        3 => Just(&b"\n"[..]),
        1 => Just(&b"\r\n"[..]),
        1 => Just(&b"\r"[..]),
        1 => Just(&b"\t"[..]),
        1 => Just(&b"\\"[..]),
        1 => Just(&b"\xff"[..]),
        2 => Just(&b"{\"a\":1}"[..]),
        4 => Just(&b"a"[..]),
        1 => Just("é".as_bytes()),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

fn formats() -> impl Strategy<Value = (Format, Dialect)> {
    let given = Heading::Given(vec!["a".into(), "b".into()]);
    let csv = Dialect { heading: given.clone(), ..Dialect::csv() };
    let tsv = Dialect { heading: given, ..Dialect::tsv() };
    prop_oneof![Just((Format::Csv, csv)), Just((Format::Tsv, tsv)), Just((Format::JsonLines, Dialect::csv()))]
}

fn encodings() -> impl Strategy<Value = Encoding> {
    prop_oneof![Just("utf-8"), Just("latin1"), Just("shift_jis"), Just("utf-16le"), Just("gb18030")]
        .prop_map(|name| name.parse().unwrap())
}

/// The lines of a text in UTF-8, found letter by letter: where each begins, and where its line end does.
fn lines(text: &[u8]) -> Vec<(usize, usize)> {
    let (mut lines, mut start, mut at) = (Vec::new(), 0, 0);
    while at < text.len() {
        let end = match &text[at..] {
            [b'\r', b'\n', ..] => 2,
            [b'\r' | b'\n', ..] => 1,
            _ => 0,
        };
        if end > 0 {
            lines.push((start, at));
            start = at + end;
        }
        at += end.max(1);
    }
    if start < text.len() {
        lines.push((start, text.len()));
    }
    lines
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_line_is_part_of_one_record_or_blank(text in texts(), (format, dialect) in formats(), step in 1_usize..9) {
        let source = Source::from_reader("it", InSteps(Cursor::new(text.clone()), step), None, Encoding::default());
        let mut records = Records::new(source.unwrap(), format, &dialect).unwrap();
        let lines = lines(&text);
        let mut covered = BTreeSet::new();
        while let Some(record) = records.next() {
            let end = usize::try_from(records.position()).unwrap();
            let start = end - record.raw.len();
            prop_assert_eq!(&text[start..end], &record.raw[..]);
            let number = usize::try_from(record.line).unwrap() - 1;
            prop_assert_eq!(lines[number].0, start, "line {}", record.line);
            for (index, (at, _)) in lines.iter().enumerate().skip(number).take_while(|(_, (at, _))| *at < end) {
                prop_assert!(covered.insert(index), "line {} twice", index + 1);
                prop_assert!(*at >= start);
            }
            match record.content {
                Ok(Content::Cells(cells)) => {
                    prop_assert_eq!(cells.len(), 2);
                    prop_assert!(cells.iter().flatten().all(|cell| std::str::from_utf8(cell).is_ok()));
                }
                Ok(Content::Object(row)) => {
                    prop_assert!(serde_json::from_str::<serde_json::Value>(row.text()).unwrap().is_object());
                }
                Err(bad) => prop_assert!(!bad.reason.is_empty()),
            }
        }
        for (index, (start, end)) in lines.iter().enumerate() {
            let content = &text[*start..*end];
            let is_blank = content.is_empty() || format == Format::JsonLines && content.trim_ascii().is_empty();
            prop_assert!(covered.contains(&index) || is_blank, "line {} is lost", index + 1);
        }
    }

    #[test]
    fn whatever_the_encoding_no_byte_is_lost_but_those_of_blank_lines(
        text in texts(), (format, dialect) in formats(), encoding in encodings(), step in 1_usize..9,
    ) {
        let whole = InSteps(Cursor::new(text.clone()), step);
        let mut records = Records::new(Source::from_reader("it", whole, None, encoding).unwrap(), format, &dialect).unwrap();
        let (mut at, mut line) = (0, 0);
        while let Some(record) = records.next() {
            let end = usize::try_from(records.position()).unwrap();
            let start = end - record.raw.len();
            prop_assert_eq!(&text[start..end], &record.raw[..]);
            let between = &text[at..start];
            prop_assert!(between.iter().all(|byte| b"\r\n\t\0".contains(byte)), "{}", between.escape_ascii());
            prop_assert!(record.line > line);
            (at, line) = (end, record.line);
        }
        prop_assert!(text[at..].iter().all(|byte| b"\r\n\t\0".contains(byte)));
    }

    #[test]
    fn how_much_is_read_at_once_changes_nothing(
        text in texts(), (format, dialect) in formats(), encoding in encodings(), step in 1_usize..9,
    ) {
        let read = |step: usize| -> Vec<_> {
            let steps = InSteps(Cursor::new(text.clone()), step);
            Records::new(Source::from_reader("it", steps, None, encoding).unwrap(), format, &dialect).unwrap().collect()
        };
        prop_assert_eq!(read(step), read(usize::MAX));
    }

    #[test]
    fn what_is_well_formed_is_read_as_the_csv_crate_reads_it(
        rows in prop::collection::vec(prop::collection::vec("[a\",\r\né; ]{0,6}", 2), 0..6),
    ) {
        let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
        for row in &rows {
            writer.write_record(row).unwrap();
        }
        let text = writer.into_inner().unwrap();
        let dialect = Dialect { heading: Heading::Given(vec!["a".into(), "b".into()]), ..Dialect::csv() };
        let source = Source::from_reader("it", Cursor::new(text.clone()), None, Encoding::default()).unwrap();
        let ours: Vec<Vec<Vec<u8>>> = Records::new(source, Format::Csv, &dialect)
            .unwrap()
            .map(|record| match record.content.unwrap() {
                Content::Cells(cells) => cells.into_iter().map(|cell| cell.unwrap().to_vec()).collect(),
                Content::Object(_) => unreachable!(),
            })
            .collect();
        let theirs: Vec<Vec<Vec<u8>>> = csv::ReaderBuilder::new()
            .has_headers(false)
            .from_reader(&text[..])
            .byte_records()
            .map(|record| record.unwrap().iter().map(<[u8]>::to_vec).collect())
            .collect();
        prop_assert_eq!(ours, theirs);
    }
}
