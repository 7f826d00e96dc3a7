//! What is written is read back: every cell of every dialect, and every row of every export.

#![allow(clippy::unwrap_used)]

use std::io::{Cursor, Write as _};

use bytes::Bytes;
use holdfast_rows::export_file::{
    Bound, Damage, End, ExportedRow, Form, Head, Reader, Recognised, TextDigest, Writer, recognise, verify,
};
use holdfast_rows::write::{Compression, Packer, RowWriter, decode_cell};
use holdfast_rows::{Content, Dialect, Encoding, Format, Records, Source};
use holdfast_types::Timestamp;
use proptest::collection::vec;
use proptest::prelude::*;

const FORMATS: [Format; 3] = [Format::Csv, Format::Tsv, Format::JsonLines];

/// Bytes of any kind, and texts that mean something to some format.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let nasty = prop::sample::select(vec![
        "",
        " ",
        "\t",
        "\n",
        "\r",
        "\r\n",
        "\"",
        "\"\"",
        "'",
        ",",
        ";",
        "\\",
        "\\N",
        "\\t",
        "\\\\N",
        "NULL",
        "null",
        "base64:",
        "base64:/w==",
        "\u{feff}",
        "\u{feff}x",
        "\u{85}",
        "\u{2028}",
        "\0",
        "{",
        "[",
        "#",
        "=1+1",
        "-",
        "é",
        "a,b\n\"c\"",
        "end",
        "row",
        "holdfast_export_1,",
        "🦀",
    ]);
    prop_oneof![
        vec(any::<u8>(), 0..40),
        nasty.prop_map(|text| text.as_bytes().to_vec()),
        any::<String>().prop_map(String::into_bytes),
        vec(prop::sample::select(b" \t\r\n\",\\N;'x\xff".to_vec()), 0..12),
    ]
}

fn source(text: Vec<u8>) -> Source {
    Source::from_reader("test", Cursor::new(text), None, Encoding::default()).unwrap()
}

fn dialect(format: Format) -> Dialect {
    match format {
        // As the shell writes it: no value is no text.
        Format::Csv => Dialect { null: Some(Vec::new()), ..Dialect::csv() },
        Format::Tsv | Format::JsonLines => Dialect::tsv(),
    }
}

fn columns() -> Vec<String> {
    ["id", "a name, with \"all\"", "c"].map(str::to_owned).to_vec()
}

fn written(format: Format, rows: &[Vec<Option<Vec<u8>>>]) -> Vec<u8> {
    let mut writer = RowWriter::new(Vec::new(), format, &dialect(format), &columns()).unwrap();
    for row in rows {
        writer.row(&row.iter().map(Option::as_deref).collect::<Vec<_>>()).unwrap();
    }
    writer.finish().unwrap()
}

/// The cells of a file, with the bytes that those stand for that are no text.
fn read(format: Format, text: Vec<u8>) -> Vec<Vec<Option<Vec<u8>>>> {
    let records = Records::new(source(text), format, &dialect(format)).unwrap();
    if format != Format::JsonLines {
        assert_eq!(records.heading(), columns());
    }
    let content = |content| match content {
        Content::Cells(cells) => cells
            .into_iter()
            .map(|cell: Option<Bytes>| cell.map(|cell| decode_cell(&cell).unwrap().into_owned()))
            .collect(),
        Content::Object(object) => {
            columns().iter().map(|name| object.field(name).unwrap().bytes().map(|bytes| bytes.to_vec())).collect()
        }
    };
    records.map(|record| content(record.content.unwrap())).collect()
}

/// What `holdfast import` of a file comes to.
fn import(file: Vec<u8>) -> Result<(Head, Vec<ExportedRow>, End), Damage> {
    let Ok(Recognised::Export { form, input }) = recognise(source(file)) else { panic!("it is an export") };
    let mut reader = Reader::new(input, form)?;
    let rows: Vec<_> = reader.by_ref().collect::<Result<_, _>>()?;
    Ok((reader.head().clone(), rows, reader.end().unwrap().clone()))
}

fn export(format: Format, head: &Head, rows: &[ExportedRow]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), format, head).unwrap();
    rows.iter().for_each(|row| writer.row(row).unwrap());
    writer.finish(End::default()).unwrap().0
}

fn row() -> impl Strategy<Value = ExportedRow> {
    let expires_at = prop_oneof![Just(None), any::<u64>().prop_map(Some), (0..1_u64 << 62).prop_map(Some)];
    (bytes(), bytes(), any::<u64>(), expires_at).prop_map(|(key, value, version, expires_at)| ExportedRow {
        line: 0,
        key: key.into(),
        value: value.into(),
        version: Timestamp(version),
        expires_at: expires_at.map(Timestamp),
    })
}

fn head() -> impl Strategy<Value = Head> {
    (any::<String>(), prop::option::of(bytes()), prop::option::of(bytes())).prop_map(|(keyspace, start, end)| {
        let bound = |bytes: Vec<u8>| Bound(bytes.into());
        Head { keyspace, start: start.map(bound), end: end.map(bound), ..Head::default() }
    })
}

fn without_lines(rows: Vec<ExportedRow>) -> Vec<ExportedRow> {
    rows.into_iter().map(|row| ExportedRow { line: 0, ..row }).collect()
}

proptest! {
    #[test]
    fn every_cell_is_read_back_from_every_format(rows in vec(vec(prop::option::of(bytes()), 3), 0..8)) {
        for format in FORMATS {
            prop_assert_eq!(&read(format, written(format, &rows)), &rows, "{:?}", format);
        }
    }

    #[test]
    fn csv_and_json_lines_say_the_same_to_other_readers(rows in vec(vec(bytes(), 3), 0..8)) {
        let rows: Vec<Vec<_>> = rows.into_iter().map(|row| row.into_iter().map(Some).collect()).collect();
        let text = written(Format::Csv, &rows);
        let mut reader = csv::ReaderBuilder::new().has_headers(true).from_reader(&text[..]);
        let cells = |record: csv::ByteRecord| record.iter().map(|cell| Some(decode_cell(cell).unwrap().into_owned())).collect();
        let read: Vec<Vec<_>> = reader.byte_records().map(|record| cells(record.unwrap())).collect();
        prop_assert_eq!(&read, &rows);
        for line in String::from_utf8(written(Format::JsonLines, &rows)).unwrap().lines() {
            prop_assert!(serde_json::from_str::<serde_json::Value>(line).unwrap().is_object());
        }
    }

    #[test]
    fn every_row_of_an_export_is_read_back_with_its_version_and_expiry(head in head(), rows in vec(row(), 0..8)) {
        for format in FORMATS {
            let file = export(format, &head, &rows);
            let (read_head, read, end) = import(file).unwrap();
            prop_assert_eq!(&read_head, &head);
            prop_assert_eq!(end.rows, rows.len() as u64);
            prop_assert_eq!(&without_lines(read), &rows, "{:?}", format);
        }
    }

    #[test]
    fn an_export_that_was_packed_and_cut_anywhere_is_the_same_text(rows in vec(row(), 0..8), cuts in any::<[bool; 8]>()) {
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let mut writer = Writer::new(Packer::new(Vec::new(), compression), Format::JsonLines, &Head::default()).unwrap();
            for (row, cut) in rows.iter().zip(cuts) {
                writer.row(row).unwrap();
                if cut {
                    writer.out().cut().unwrap();
                }
            }
            let (mut packer, _) = writer.finish(End::default()).unwrap();
            packer.flush().unwrap();
            let file = packer.cut().unwrap().clone();
            prop_assert_eq!(&without_lines(import(file).unwrap().1), &rows, "{:?}", compression);
        }
    }

    #[test]
    fn a_file_that_is_changed_or_cut_off_anywhere_is_never_taken_for_whole(
        rows in vec(row(), 0..4), at in any::<prop::sample::Index>(), flip in 1..=255_u8,
    ) {
        for format in FORMATS {
            let file = export(format, &Head::default(), &rows);
            let at = at.index(file.len());
            let form = Form::of_beginning(&file).unwrap();
            prop_assert!(verify(&file[..at], form).is_err(), "cut off at {}", at);
            let mut changed = file.clone();
            changed[at] ^= flip;
            prop_assert!(verify(&changed[..], form).is_err(), "changed at {} of {}", at, file.len());
            prop_assert!(verify(&[&file[..], b"\n"].concat()[..], form).is_err(), "something follows");
        }
    }

    #[test]
    fn a_reader_of_exports_survives_anything(text in bytes(), format in prop::sample::select(FORMATS.to_vec())) {
        let form = Form { format, version: 1 };
        let _ = verify(&text[..], form);
        let mut file = export(format, &Head::default(), &[]);
        file.truncate(file.iter().position(|byte| *byte == b'\n').unwrap() + 1);
        file.extend_from_slice(&text);
        prop_assert!(verify(&file[..], form).is_err());
    }

    #[test]
    fn what_is_no_export_is_read_as_if_nobody_had_looked(text in vec(any::<u8>(), 0..200)) {
        let Ok(Recognised::Other(looked_at)) = recognise(source(text.clone())) else { panic!("no export begins so") };
        let raw = |source| {
            let records = Records::new(source, Format::Csv, &Dialect { quote: None, ..Dialect::csv() }).ok()?;
            Some(records.map(|record| record.raw.to_vec()).collect::<Vec<_>>())
        };
        prop_assert_eq!(raw(looked_at), raw(source(text)));
    }
}

fn sample() -> Vec<ExportedRow> {
    let row = |key: &'static [u8], value: &'static [u8], expires_at| ExportedRow {
        line: 0,
        key: Bytes::from_static(key),
        value: Bytes::from_static(value),
        version: Timestamp(115_343_360_000_000_007),
        expires_at,
    };
    vec![
        row(b"a", b"red, or\n\"green\"\t\\", None),
        row(b"b\xff", b"", Some(Timestamp::from_ms(1_764_547_200_000))),
        row(b"c", b"base64:", Some(Timestamp::MAX)),
    ]
}

/// The digest of these lines, and what stands there in the last one.
fn file(lines: &[&str], end: impl Fn(&str) -> String) -> String {
    let text = lines.concat();
    let mut digest = TextDigest::default();
    digest.update(text.as_bytes());
    text + &end(&digest.hex())
}

#[test]
fn exports_look_as_they_are_documented() {
    let head = Head { keyspace: "default".into(), ..Head::default() };
    let json = file(
        &[
            "{\"holdfast_export\":1,\"keyspace\":\"default\"}\n",
            "{\"key\":\"a\",\"value\":\"red, or\\n\\\"green\\\"\\t\\\\\",\"version\":\"115343360000000007\"}\n",
            "{\"key\":{\"base64\":\"Yv8=\"},\"value\":\"\",\"version\":\"115343360000000007\",\"expires_at\":\"2025-12-01T00:00:00.000Z\"}\n",
            "{\"key\":\"c\",\"value\":\"base64:\",\"version\":\"115343360000000007\",\"expires_at\":\"18446744073709551615\"}\n",
        ],
        |sum| format!("{{\"holdfast_export_end\":{{\"rows\":3,\"sha256\":\"{sum}\"}}}}\n"),
    );
    assert_eq!(String::from_utf8(export(Format::JsonLines, &head, &sample())).unwrap(), json);
    let csv = file(
        &[
            "holdfast_export_1,key,value,version,expires_at\n",
            "head,\"{\"\"keyspace\"\":\"\"default\"\"}\",,,\n",
            "row,a,\"red, or\n\"\"green\"\"\t\\\",115343360000000007,\n",
            "row,base64:Yv8=,,115343360000000007,2025-12-01T00:00:00.000Z\n",
            "row,c,base64:YmFzZTY0Og==,115343360000000007,18446744073709551615\n",
        ],
        |sum| format!("end,\"{{\"\"rows\"\":3,\"\"sha256\"\":\"\"{sum}\"\"}}\",,,\n"),
    );
    assert_eq!(String::from_utf8(export(Format::Csv, &head, &sample())).unwrap(), csv);
    let tsv = file(
        &[
            "holdfast_export_1\tkey\tvalue\tversion\texpires_at\n",
            "head\t{\"keyspace\":\"default\"}\t\t\t\n",
            "row\ta\tred, or\\n\"green\"\\t\\\\\t115343360000000007\t\n",
            "row\tbase64:Yv8=\t\t115343360000000007\t2025-12-01T00:00:00.000Z\n",
            "row\tc\tbase64:YmFzZTY0Og==\t115343360000000007\t18446744073709551615\n",
        ],
        |sum| format!("end\t{{\"rows\":3,\"sha256\":\"{sum}\"}}\t\t\t\n"),
    );
    assert_eq!(String::from_utf8(export(Format::Tsv, &head, &sample())).unwrap(), tsv);
}

#[test]
fn rows_of_an_export_stand_on_their_lines() {
    let lines = |format| {
        let rows = import(export(format, &Head::default(), &sample())).unwrap().1;
        rows.iter().map(|row| row.line).collect::<Vec<_>>()
    };
    assert_eq!(lines(Format::JsonLines), [2, 3, 4]);
    assert_eq!(lines(Format::Tsv), [3, 4, 5]);
    assert_eq!(lines(Format::Csv), [3, 5, 6], "the first value has a line end");
}

#[test]
fn damage_is_told_by_its_line_and_its_kind() {
    let whole = String::from_utf8(export(Format::JsonLines, &Head::default(), &sample())).unwrap();
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let told = |lines: &[&str]| {
        let text = lines.concat();
        verify(text.as_bytes(), Form::of_beginning(text.as_bytes()).unwrap()).unwrap_err().to_string()
    };
    assert!(told(&lines[..3]).contains("line 4 of the export: the file ends here"), "{}", told(&lines[..3]));
    assert!(told(&[lines[0], lines[1], lines[3], lines[4]]).contains("had 3 rows, and the file has 2"));
    assert!(
        told(&[lines[0], lines[2], lines[1], lines[3], lines[4]]).contains("the checksum does not fit"),
        "rows in another order"
    );
    assert!(told(&[lines[0], lines[1], "{\"key\":1}\n"]).starts_with("line 3 of the export"));
    assert!(told(&[&whole, lines[1]]).contains("more behind the end"));
    let later = whole.replacen("\"holdfast_export\":1", "\"holdfast_export\":2", 1);
    assert!(told(&[&later]).contains("version 2"), "{}", told(&[&later]));
    let twice = lines[1].replacen("{", "{\"key\":\"x\",", 1);
    assert!(told(&[lines[0], &twice]).contains("duplicate"), "{}", told(&[lines[0], &twice]));
}

#[test]
fn line_ends_that_an_editor_changed_are_damage() {
    for format in FORMATS {
        let whole = String::from_utf8(export(format, &Head::default(), &sample()[1..])).unwrap();
        let form = Form::of_beginning(whole.as_bytes()).unwrap();
        assert!(verify(whole.replace('\n', "\r\n").as_bytes(), form).is_err(), "{format:?}");
    }
}

#[test]
fn a_mark_of_the_byte_order_before_an_export_is_no_part_of_it() {
    let file = [b"\xef\xbb\xbf", &export(Format::Csv, &Head::default(), &sample())[..]].concat();
    assert_eq!(import(file).unwrap().1.len(), 3);
}

#[test]
fn a_value_of_many_lines_takes_time_that_grows_with_its_length_alone() {
    let row = ExportedRow { value: Bytes::from(vec![b'\n'; 4 << 20]), ..sample()[0].clone() };
    let file = export(Format::Csv, &Head::default(), &[row]);
    // A reader that looked at the whole record again at each line end would take hours.
    let (_, rows, _) = import(file).unwrap();
    assert_eq!(rows[0].value.len(), 4 << 20);
}

#[test]
fn a_record_without_end_takes_no_more_memory_than_the_longest_one() {
    let endless = std::io::repeat(b'x');
    let begun = Cursor::new(b"holdfast_export_1,key,value,version,expires_at\n\"".to_vec());
    let input = std::io::BufReader::new(std::io::Read::chain(begun, endless));
    let damage = verify(input, Form { format: Format::Csv, version: 1 }).unwrap_err();
    assert!(damage.to_string().contains("longer than any"), "{damage}");
}
