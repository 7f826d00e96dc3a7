use super::super::tests::{args, entries, field, file};
use super::*;

fn refused(path: &Path, options: &[&str]) -> String {
    format!("{:#}", entries(path, options).unwrap_err())
}

/// The lines of rows, and of records that are none.
fn lines(path: &Path, options: &[&str]) -> (Vec<u64>, Vec<u64>) {
    let (rows, bad): (Vec<_>, Vec<_>) =
        entries(path, options).unwrap().into_iter().partition(|entry| matches!(entry.what, What::Row(_)));
    let lines = |entries: Vec<Entry>| entries.into_iter().map(|entry| entry.line).collect();
    (lines(rows), lines(bad))
}

#[test]
fn inputs_of_the_field_are_rows_or_told_by_their_line() {
    for (name, options, rows, bad) in [
        ("a02", &[][..], &[3, 4][..], &[2][..]),
        ("a03", &[], &[], &[2, 3]),
        ("a03", &["--encoding", "latin1"], &[2, 3], &[]),
        ("A06", &[], &[2], &[]),
        ("a08", &["--key", "id"], &[1, 2], &[]),
        ("a11", &["--key", "id"], &[], &[1]),
        ("a15", &[], &[2, 3, 4, 5], &[]),
        ("a16", &[], &[2, 3], &[]),
        ("a17", &[], &[2, 3], &[]),
        ("a21", &[], &[4], &[2, 3]),
        ("a26", &["--key", "id"], &[2], &[1]),
        ("a27", &["--key", "id"], &[2], &[1]),
    ] {
        assert_eq!(lines(&field(name), options), (rows.to_vec(), bad.to_vec()), "{name} {options:?}");
    }
    assert!(refused(&field("a01"), &[]).contains("tel"), "{}", refused(&field("a01"), &[]));
}

#[test]
fn a_semicolon_in_the_heading_is_a_doubt_and_not_one_with_the_option() {
    let doubt = |options: &[&str]| {
        let path = field("a19");
        let args = args(&[&[path.to_str().unwrap()], options].concat());
        Manner::of(&args).open(&Input::of(&path).unwrap()).unwrap().reading.doubt()
    };
    assert!(doubt(&[]).is_some());
    assert_eq!(doubt(&["--delimiter", ";"]), None);
    assert_eq!(lines(&field("a19"), &["--delimiter", ";"]), (vec![2, 3], vec![]));
}

#[test]
fn a_folder_is_refused_at_once_and_a_name_without_an_ending_needs_the_format() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("folder.jsonl");
    std::fs::create_dir(&folder).unwrap();
    assert!(Input::of(&folder).unwrap_err().to_string().ends_with("is a folder: name a file"));
    let (_dir, path) = file("data", "id,n\n1,2\n");
    assert!(refused(&path, &[]).contains("--format"));
    assert_eq!(lines(&path, &["--format", "csv"]), (vec![2], vec![]));
    assert!(Input::of(&dir.path().join("none.csv")).unwrap_err().to_string().contains("none.csv"));
}

#[test]
fn an_export_that_was_changed_is_no_table() {
    let quoted = "\"holdfast_export_1\",\"key\",\"value\"\n\"row\",\"a\",\"1\"\n";
    let (_dir, path) = file("a.csv", quoted);
    assert!(refused(&path, &[]).contains("import it as it was"));
    let (_dir, path) = file("b.csv", format!("\n{quoted}"));
    assert!(refused(&path, &[]).contains("import it as it was"));
    let (_dir, path) = file("c.csv", "holdfast_export_1;key;value\nrow;a;1\n");
    assert!(refused(&path, &["--delimiter", ";"]).contains("import it as it was"));
}

#[test]
fn columns_may_be_named_and_then_the_first_line_is_a_row() {
    let (_dir, path) = file("a.csv", "1,2\n3,4\n");
    assert_eq!(lines(&path, &["--columns", "a,b"]), (vec![1, 2], vec![]));
    assert_eq!(lines(&path, &["--header"]), (vec![2], vec![]));
    assert!(refused(&path, &["--columns", "a,a"]).contains("both called"));
}

#[test]
fn options_of_cells_mean_nothing_to_json_lines_and_are_refused() {
    let (_dir, path) = file("a.jsonl", "{\"k\":1}\n");
    for option in [
        &["--delimiter", ";"][..],
        &["--quote", "'"],
        &["--null", "x"],
        &["--no-escapes"],
        &["--base64"],
        &["--header"],
    ] {
        let said = refused(&path, &[&["--key", "k"], option].concat());
        assert!(said.contains("JSON lines have no cells") && said.contains(option[0]), "{said}");
    }
}

#[test]
fn a_backslash_is_a_letter_where_that_is_wished() {
    let (_dir, path) = file("a.tsv", "id\tpath\n1\tC:\\data\n2\ta\\tb\n");
    let value = |options: &[&str], at: usize| match &entries(&path, options).unwrap()[at].what {
        What::Row(row) => String::from_utf8(row.value.to_vec()).unwrap(),
        other => format!("{other:?}"),
    };
    assert!(value(&["--raw"], 0).starts_with("Rejected"));
    assert_eq!(value(&["--raw"], 1), "a\tb");
    assert_eq!(
        (value(&["--raw", "--no-escapes"], 0), value(&["--raw", "--no-escapes"], 1)),
        ("C:\\data".into(), "a\\tb".into())
    );
}

#[test]
fn a_pipe_is_read_again_from_a_temporary_file_by_two_at_a_time() {
    let (_dir, path) = file("a.csv", "id,n\n1,2\n3,4\n");
    let pipe = Input { path: path.clone(), kind: Kind::Pipe };
    assert!(!pipe.can_repeat() && pipe.kept_path().is_none());
    let spooled = pipe.spool().unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(spooled.can_repeat() && spooled.kept_path().is_none());
    let manner = Manner::of(&args(&[path.to_str().unwrap()]));
    let (left, right) = (manner.open(&spooled).unwrap(), manner.open(&spooled).unwrap());
    assert_eq!((left.reading.count(), right.reading.count()), (2, 2));
}

#[test]
fn a_digest_tells_every_difference_up_to_a_record_and_none_behind_it() {
    let digest = |text: &str| {
        let (_dir, path) = file("a.csv", text);
        let args = args(&[path.to_str().unwrap()]);
        let opened = Manner::of(&args).open(&Input::of(&path).unwrap()).unwrap();
        let first = Digest::of_heading(&opened.kind);
        opened.reading.take(2).fold(first, |digest, entry| digest.with(&entry))
    };
    let whole = digest("id,n\n1,2\n3,4\n5,6\n");
    assert_eq!(whole, digest("id,n\n1,2\n3,4\n7,8\n9,9\n"));
    assert_eq!(whole, digest("id,n\n1,2\n3,4\n"));
    for other in ["id,m\n1,2\n3,4\n", "id,n\n1,3\n3,4\n", "id,n\n1,2\n3,4\r\n", "id,n\n\n1,2\n3,4\n", "id,n\n1,23,4\n"]
    {
        assert_ne!(whole, digest(other), "{other:?}");
    }
}
