use super::super::reading::What;
use super::super::tests::{entries, field, file};
use super::*;

/// Key and value of each row, or the line of a record that is none.
fn rows(name: &str, text: impl AsRef<[u8]>, options: &[&str]) -> Vec<Result<(String, String), u64>> {
    let (_dir, path) = file(name, text);
    read(&path, options)
}

fn read(path: &std::path::Path, options: &[&str]) -> Vec<Result<(String, String), u64>> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let entries = entries(path, options).unwrap().into_iter();
    let read = entries.map(|entry| match entry.what {
        What::Row(row) => Ok((text(&row.key), text(&row.value))),
        _ => Err(entry.line),
    });
    read.collect()
}

fn row(key: &str, value: &str) -> Result<(String, String), u64> {
    Ok((key.into(), value.into()))
}

fn refused(name: &str, text: &str, options: &[&str]) -> String {
    let (_dir, path) = file(name, text);
    format!("{:#}", entries(&path, options).unwrap_err())
}

#[test]
fn the_value_is_all_columns_in_their_order_and_the_key_any_of_them() {
    let text = "zid,name,alpha\n1,\"a \"\"b\"\"\",ü\n";
    assert_eq!(rows("a.csv", text, &[]), [row("1", r#"{"zid":"1","name":"a \"b\"","alpha":"ü"}"#)]);
    assert_eq!(rows("a.csv", text, &["--key", "alpha"])[0].as_ref().unwrap().0, "ü");
    let said = refused("a.csv", text, &["--key", "Name"]);
    assert!(said.contains(r#"no column "Name" for --key; there are: zid, name, alpha"#), "{said}");
}

#[test]
fn raw_values_are_what_the_column_holds_byte_for_byte() {
    let text = "id,n,until\na,\"x\ny\",\nb,,60\n";
    assert_eq!(rows("a.csv", text, &["--raw", "--expires", "until"]), [row("a", "x\ny"), row("b", "")]);
    assert_eq!(rows("a.csv", text, &["--raw", "--value", "id"]), [row("a", "a"), row("b", "b")]);
    let said = refused("a.csv", text, &["--raw"]);
    assert!(said.contains("there are n, until: name it by --value"), "{said}");
    assert!(refused("a.csv", "id\n1\n", &["--raw"]).contains("there are none"));
    assert!(refused("a.csv", text, &["--raw", "--value", "x"]).contains("for --value"));
}

#[test]
fn null_is_null_in_the_object_and_nothing_that_could_be_a_key_or_a_value() {
    let text = "id,n\na,NULL\nNULL,b\nc,\"NULL\"\n";
    assert_eq!(
        rows("a.csv", text, &["--null", "NULL"]),
        [row("a", r#"{"id":"a","n":null}"#), Err(3), row("c", r#"{"id":"c","n":"NULL"}"#)]
    );
    assert_eq!(rows("a.csv", text, &["--null", "NULL", "--raw"]), [Err(2), Err(3), row("c", "NULL")]);
    assert_eq!(rows("a.csv", text, &[])[0], row("a", r#"{"id":"a","n":"NULL"}"#));
}

#[test]
fn json_lines_need_a_key_and_are_stored_digit_for_digit() {
    let said = format!("{:#}", entries(&field("a14"), &[]).unwrap_err());
    assert!(said.contains("need --key FIELD"), "{said}");
    let rows_of_a14 = read(&field("a14"), &["--key", "zid"]);
    assert_eq!(rows_of_a14.iter().flatten().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["a14-1", "a14-2"]);
    assert_eq!(
        read(&field("a10"), &["--key", "id"]),
        [
            row("100000000000000000000001", r#"{"id":100000000000000000000001,"who":"ann"}"#),
            row("100000000000000000000002", r#"{"id":100000000000000000000002,"who":"bob"}"#),
        ]
    );
    let text = r#"{ "k": 1.10, "v": [1e2, -0] }"#;
    assert_eq!(rows("a.ndjson", text, &["--key", "k"]), [row("1.10", text)]);
}

#[test]
fn a_key_of_json_is_a_text_a_number_or_bytes_and_nothing_else() {
    assert_eq!(read(&field("a34"), &["--key", "id"]), [Err(1), Err(2), Err(3), Err(4)]);
    let text = "{\"k\":\"a\\u00e9\"}\n{\"x\":1}\n{\"k\":{\"base64\":\"aGk=\"}}\n{\"k\":{\"a\":1}}\n";
    let rows = rows("a.jsonl", text, &["--key", "k"]);
    assert_eq!(
        rows.iter().map(|row| row.as_ref().map(|(key, _)| key.as_str()).map_err(|line| *line)).collect::<Vec<_>>(),
        [Ok("aé"), Err(2), Ok("hi"), Err(4)]
    );
}

#[test]
fn raw_values_of_json_are_what_the_text_says_or_the_digits_as_they_stand() {
    let text = "{\"k\":1,\"v\":\"a\\n\"}\n{\"k\":2,\"v\":1.10}\n{\"k\":3,\"v\":{\"base64\":\"aGk=\"}}\n{\"k\":4,\"v\":null}\n{\"k\":5}\n{\"k\":6,\"v\":[1, 2]}\n";
    assert_eq!(
        rows("a.jsonl", text, &["--key", "k", "--raw", "--value", "v"]),
        [row("1", "a\n"), row("2", "1.10"), row("3", "hi"), Err(4), Err(5), row("6", "[1, 2]")]
    );
    assert!(refused("a.jsonl", text, &["--key", "k", "--raw"]).contains("needs --value FIELD"));
}

#[test]
fn bytes_are_read_from_cells_when_that_is_wished() {
    let text = "id,n\na,base64:aGk=\nb,base64:/w==\nc,base64:!\n";
    assert_eq!(
        rows("a.csv", text, &["--base64"]),
        [row("a", r#"{"id":"a","n":"hi"}"#), row("b", r#"{"id":"b","n":{"base64":"/w=="}}"#), Err(4)]
    );
    assert_eq!(rows("a.csv", text, &["--raw"])[0], row("a", "base64:aGk="));
    let (_dir, path) = file("a.csv", text);
    let raw = entries(&path, &["--raw", "--base64"]).unwrap();
    assert!(matches!(&raw[1].what, What::Row(row) if row.value == b"\xff"[..]));
}

#[test]
fn a_key_or_a_value_that_no_fleet_takes_is_rejected() {
    let long = "k".repeat(limits::MAX_KEY_BYTES + 1);
    let fits = "k".repeat(limits::MAX_KEY_BYTES);
    let text = format!("id,n\n{long},1\n{fits},2\n,3\n");
    let rows = rows("a.csv", text, &[]);
    assert_eq!(rows.iter().map(|row| row.as_ref().map_or_else(|line| *line, |_| 0)).collect::<Vec<_>>(), [2, 0, 4]);
}

#[test]
fn one_column_is_not_key_and_expiry_at_once() {
    for options in [&["--expires", "id"][..], &["--expires", "id", "--key", "id"]] {
        assert!(refused("a.csv", "id,n\n", options).contains("both --key and --expires"));
    }
    assert!(refused("a.jsonl", "{}\n", &["--expires", "id", "--key", "id"]).contains("both"));
    assert!(refused("a.csv", "id,n\n", &["--expires", "x"]).contains("for --expires"));
}

#[test]
fn an_expiry_of_json_is_a_number_a_text_or_nothing() {
    let text = "{\"k\":1,\"e\":60}\n{\"k\":2,\"e\":\"2999-01-01T00:00:00Z\"}\n{\"k\":3,\"e\":null}\n{\"k\":4}\n{\"k\":5,\"e\":true}\n";
    let (_dir, path) = file("a.jsonl", text);
    let found = entries(&path, &["--key", "k", "--expires", "e"]).unwrap().into_iter().map(|entry| match entry.what {
        What::Row(row) => Ok(row.expires),
        _ => Err(entry.line),
    });
    let found: Vec<_> = found.collect();
    assert!(
        matches!(found[..], [Ok(Some(Expiry::After(_))), Ok(Some(Expiry::At(_))), Ok(None), Ok(None), Err(5)]),
        "{found:?}"
    );
}
