//! Files that loaders of many makes lost rows of, without a word. Each stands for its kind.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use holdfast_rows::{Content, Dialect, Encoding, Format, HeadingError, Records, Source};

fn records(name: &str, encoding: Encoding) -> Result<Records, HeadingError> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/field").join(name);
    let format = Format::of(&path).unwrap();
    let dialect = if format == Format::Tsv { Dialect::tsv() } else { Dialect::csv() };
    Records::new(Source::open(&path, encoding).unwrap(), format, &dialect)
}

/// Each record as a line: its number, and its cells between bars, its text, or what is wrong with it.
fn read_as(name: &str, encoding: &str) -> Vec<String> {
    let told = |content: Result<Content, holdfast_rows::BadRecord>| match content {
        Ok(Content::Cells(cells)) => {
            let cell = |cell: Option<bytes::Bytes>| {
                cell.map_or("(null)".to_owned(), |cell| String::from_utf8(cell.to_vec()).unwrap())
            };
            cells.into_iter().map(cell).collect::<Vec<_>>().join("|")
        }
        Ok(Content::Object(row)) => row.text().to_owned(),
        Err(bad) => format!("bad: {}", bad.reason),
    };
    let records = records(name, encoding.parse().unwrap()).unwrap();
    records.map(|record| format!("{} {}", record.line, told(record.content))).collect()
}

fn read(name: &str) -> Vec<String> {
    read_as(name, "utf-8")
}

#[test]
fn two_columns_of_one_name_are_refused_at_the_heading() {
    let refused = records("a01-duplicate-heading.csv", Encoding::default()).err().unwrap();
    assert_eq!(refused.to_string(), "columns 2 and 3 are both called \"tel\": give each column a name of its own");
}

#[test]
fn a_quote_without_an_end_spoils_its_own_line() {
    let expected = ["2 bad: column 2 (note): its quote has no end", "3 a02-2|b", "4 a02-3|c"];
    assert_eq!(read("a02-unclosed-quote.csv"), expected);
}

#[test]
fn what_is_no_utf8_is_a_bad_row_unless_its_encoding_is_named() {
    let expected = [
        "2 bad: byte 10 of line 2, 0xe9, is no UTF-8: perhaps the encoding is another one",
        "3 bad: byte 9 of line 3, 0xeb, is no UTF-8: perhaps the encoding is another one",
    ];
    assert_eq!(read("a03-latin1.csv"), expected);
    assert_eq!(read_as("a03-latin1.csv", "latin1"), ["2 a03-1|José", "3 a03-2|Zoë"]);
}

#[test]
fn an_ending_in_capitals_is_the_same_ending() {
    assert_eq!(read("A06-UPPER.CSV"), ["2 a06-1|one"]);
}

#[test]
fn a_byte_order_mark_is_not_part_of_the_first_row() {
    assert_eq!(read("a08-bom.jsonl"), ["1 {\"id\":\"a08j-1\",\"n\":1}", "2 {\"id\":\"a08j-2\",\"n\":2}"]);
}

#[test]
fn digits_stay_as_they_were_written() {
    let expected =
        ["1 {\"id\":100000000000000000000001,\"who\":\"ann\"}", "2 {\"id\":100000000000000000000002,\"who\":\"bob\"}"];
    assert_eq!(read("a10-bigint.jsonl"), expected);
}

#[test]
fn two_names_alike_in_one_object_are_a_bad_row() {
    assert_eq!(read("a11-dup-json-key.jsonl"), ["1 bad: the name \"role\" stands twice in one object"]);
}

#[test]
fn rows_come_in_the_order_of_the_file() {
    let read = read("a12-same-key-twice.csv");
    assert_eq!(read.len(), 4_000);
    for (index, pair) in read.chunks(2).enumerate() {
        let line = 2 + 2 * index;
        assert_eq!(pair, [format!("{line} a12-{index}|old"), format!("{} a12-{index}|new", line + 1)]);
    }
}

#[test]
fn fields_keep_their_order() {
    assert_eq!(
        read("a14-key-order.jsonl"),
        ["1 {\"zid\":\"a14-1\",\"alpha\":\"x\"}", "2 {\"zid\":\"a14-2\",\"beta\":\"y\"}"]
    );
}

#[test]
fn quotes_are_letters_between_tabs() {
    let expected = ["2 a15-1|\"5 inch\" nail", "3 a15-2|5\" nail", "4 a15-3|\"dangling", "5 a15-4|lost?"];
    assert_eq!(read("a15-tsv-quote.tsv"), expected);
}

#[test]
fn escapes_between_tabs_are_read_as_the_shell_writes_them() {
    assert_eq!(read("a16-tsv-escaped.tsv"), ["2 a16-1|line one\nline two", "3 a16-2|(null)"]);
}

#[test]
fn space_within_a_cell_is_part_of_it() {
    assert_eq!(read("a17-trailing-space-key.csv"), ["2 a17 |padded", "3 a17|plain"]);
}

#[test]
fn a_heading_that_another_delimiter_would_divide_is_doubted() {
    let doubt = records("a19-semicolon.csv", Encoding::default()).unwrap().doubt().unwrap();
    assert_eq!(doubt, "the heading is one column, \"id;name\": perhaps the delimiter is ';'");
    assert_eq!(records("a02-unclosed-quote.csv", Encoding::default()).unwrap().doubt(), None);
}

#[test]
fn rows_of_another_length_than_the_heading_are_bad() {
    let expected =
        ["2 bad: 2 columns where the heading has 3", "3 bad: 4 columns where the heading has 3", "4 a21-3|three|3"];
    assert_eq!(read("a21-ragged.csv"), expected);
}

#[test]
fn a_line_end_within_quotes_is_kept_and_lines_are_counted_on() {
    let expected =
        ["2 a22-1|line one\r\nline two, with \"quotes\"", "4 a22-2|plain", "5 bad: 1 column where the heading has 2"];
    assert_eq!(read("a22-embedded-newline.csv"), expected);
}

#[test]
fn json_that_is_no_utf8_is_a_bad_row() {
    let read = read("a26-invalid-utf8.jsonl");
    assert!(read[0].starts_with("1 bad: byte 23 of line 1, 0xe9, is no UTF-8"), "{}", read[0]);
    assert_eq!(read[1..], ["2 {\"id\":\"a26-2\",\"n\":\"ok\"}"]);
}

#[test]
fn half_a_surrogate_pair_is_a_bad_row_and_a_whole_one_stays_as_it_was_written() {
    let expected = ["1 bad: \"\\ud83d\" is no Unicode", "2 {\"id\":\"a27-2\",\"n\":\"\\ud83d\\ude00\"}"];
    assert_eq!(read("a27-lone-surrogate.jsonl"), expected);
}

#[test]
fn what_is_no_number_in_json_is_a_bad_row_and_what_no_float_holds_is_kept() {
    let expected = [
        "1 bad: not a JSON object: expected value at column 19",
        "2 {\"id\":\"a32-2\",\"n\":1e400}",
        "3 bad: not a JSON object: invalid number at column 20",
    ];
    assert_eq!(read("a32-nan.jsonl"), expected);
}

#[test]
fn the_kinds_of_keys_are_told_apart() {
    let records = records("a34-null-key.jsonl", Encoding::default()).unwrap();
    let kinds: Vec<_> = records
        .map(|record| match record.content.unwrap() {
            Content::Object(row) => row.field("id").unwrap().kind(),
            Content::Cells(_) => unreachable!(),
        })
        .collect();
    use holdfast_rows::JsonKind::{Array, Bool, Null, Text};
    assert_eq!(kinds, [Null, Bool, Text, Array]);
}
