//! Nothing is lost without a word: inputs and mistakes that once ended well.

use std::path::Path;

use holdfast_client::Rejected;
use holdfast_client::mock::{Fault, Mock};
use holdfast_client::observe::Operation;
use holdfast_types::limits;

use super::tests::{args, entries, file, import, names_beside, rows};
use super::*;

fn utf_16(text: &str) -> Vec<u8> {
    "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
}

/// What an import ends with, and the keys that are stored then.
async fn ended(path: &Path, options: &[&str]) -> (Result<bool, String>, Vec<String>) {
    let mock = Mock::start().unwrap();
    let ended = import(&mock, path, options).await.map_err(|error| format!("{error:#}"));
    let rows = rows(&mock.client().await.unwrap()).await;
    (ended, rows.into_iter().map(|(key, _)| key).collect())
}

fn refused(path: &Path, options: &[&str]) -> String {
    format!("{:#}", entries(path, options).unwrap_err())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_of_expiries_that_no_object_has_is_told_at_the_end() {
    let (_dir, path) = file("a.jsonl", "{\"k\":1,\"until\":60}\n{\"k\":2}\n{\"k\":3,\"until\":null}\nbad\n");
    let key = ["--key", "k"];
    for wrong in ["untl", "Until"] {
        let (ended, keys) = ended(&path, &[&key[..], &["--expires", wrong]].concat()).await;
        let said = ended.unwrap_err();
        assert!(said.contains(&format!("no object has a field {wrong:?}")), "{said}");
        assert_eq!(keys, ["1", "2", "3"]);
        assert_eq!(names_beside(&path), ["a.jsonl"], "it came to its end");
        let dry = args(&[&[path.to_str().unwrap(), "--dry-run", "--expires", wrong], &key[..]].concat());
        assert_eq!(run(&dry).await.unwrap_err().to_string(), said);
    }
    for (text, is_well) in [
        ("{\"k\":1,\"until\":60}\n{\"k\":2}\n", true),
        ("{\"k\":1}\n{\"k\":2,\"until\":null}\n", true),
        ("", true),
        ("\n", true),
        // Nothing is stored, and that is told already.
        ("bad\n", false),
    ] {
        std::fs::write(&path, text).unwrap();
        let (ended, _) = ended(&path, &[&key[..], &["--expires", "until"]].concat()).await;
        assert_eq!(ended, Ok(is_well), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_loaded_before_counts_for_the_field_of_expiries() {
    let (_dir, path) = file("a.jsonl", "{\"k\":1,\"until\":60}\nbad\n");
    let mock = Mock::start().unwrap();
    let options = ["--key", "k", "--expires", "until", "--strict"];
    import(&mock, &path, &options).await.unwrap_err();
    std::fs::write(&path, "{\"k\":1,\"until\":60}\n{\"k\":2}\n").unwrap();
    assert!(import(&mock, &path, &options).await.unwrap());
}

#[test]
fn columns_that_are_not_there_are_an_error_at_once() {
    let (_dir, path) = file("a.csv", "id,n,until\na,1,\n");
    for options in [
        &["--key", "ID"][..],
        &["--expires", "untl"],
        &["--raw", "--value", "m"],
        &["--raw", "--expires", "untl"],
        &["--columns", "a,b,c", "--key", "id"],
    ] {
        let said = refused(&path, options);
        assert!(said.contains("there is no column"), "{options:?}: {said}");
    }
    assert!(refused(&path, &["--raw"]).contains("name it by --value"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_line_that_no_store_takes_leaves_its_key_to_the_next() {
    let large = "x".repeat(limits::MAX_VALUE_BYTES + 1);
    let (_dir, path) = file("a.csv", format!("id,n\na,{large}\na,2\nb,1\n"));
    for which in ["first", "error"] {
        let mock = Mock::start().unwrap();
        let options = ["--raw", "--on-duplicate", which];
        assert!(!import(&mock, &path, &options).await.unwrap(), "one is rejected");
        let rows = rows(&mock.client().await.unwrap()).await;
        assert_eq!(rows, [("a".into(), "2".into()), ("b".into(), "1".into())], "{which}");
    }
    // And nothing behind it is on its way when it ends the import.
    let (ended, keys) = ended(&path, &["--raw", "--strict"]).await;
    assert!(ended.unwrap_err().contains("line 2 was rejected"));
    assert_eq!(keys, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_in_another_encoding_is_refused_before_anything_is_loaded() {
    use holdfast_rows::export_file::{End, ExportedRow, Head, Writer};
    let row = ExportedRow {
        line: 0,
        key: b"a".to_vec().into(),
        value: b"1".to_vec().into(),
        version: Timestamp(7),
        expires_at: None,
    };
    for (name, format) in [("a.jsonl", Format::JsonLines), ("a.csv", Format::Csv), ("a.tsv", Format::Tsv)] {
        let mut text = Vec::new();
        let mut writer =
            Writer::new(&mut text, format, &Head { keyspace: "default".into(), ..Head::default() }).unwrap();
        writer.row(&row).unwrap();
        writer.finish(End::default()).unwrap();
        let text = String::from_utf8(text).unwrap();
        let spaced = text.replace("\":", "\": ").replace("holdfast_export_1,", "\"holdfast_export_1\",");
        let changed = [utf_16(&text), utf_16(&text[..text.len() / 2]), spaced.into_bytes()];
        for changed in changed.into_iter().take(if format == Format::Tsv { 2 } else { 3 }) {
            let (_dir, path) = file(name, &changed);
            let options = match format {
                Format::JsonLines => &["--key", "key"][..],
                Format::Csv | Format::Tsv => &["--columns", "what,key,value,version,expires_at", "--key", "key"],
            };
            let (ended, keys) = ended(&path, options).await;
            let said = ended.unwrap_err();
            assert!(said.contains("An export is UTF-8") && said.contains("import it as it was"), "{name}: {said}");
            assert_eq!(keys, [""; 0]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_lines_of_utf_16_can_be_imported_themselves() {
    let (dir, path) = file("a.csv", utf_16("id,n\na,1\nb\n\u{0a61}\nc,3\nd"));
    let rejects = dir.path().join("bad.csv");
    let mock = Mock::start().unwrap();
    assert!(!import(&mock, &path, &["--rejects", rejects.to_str().unwrap()]).await.unwrap());
    assert_eq!(std::fs::read(&rejects).unwrap(), utf_16("b\n\u{0a61}\nd")[2..]);
    let (ended, keys) = ended(&rejects, &["--columns", "id", "--encoding", "utf-16le"]).await;
    assert_eq!((ended, keys), (Ok(true), vec!["b".into(), "d".into(), "\u{0a61}".into()]));
}

#[test]
fn text_of_another_width_than_the_encoding_is_refused() {
    let (_dir, path) = file("a.csv", "id,n\na,1\nb,2\n");
    for encoding in ["utf-16le", "utf-16be"] {
        let said = refused(&path, &["--encoding", encoding]);
        assert!(said.contains("it is no UTF-16") && said.contains("--encoding"), "{said}");
    }
    let (_dir, path) = file("a.csv", &utf_16("a,1\nb,2\n")[2..]);
    for options in [&["--columns", "id,n"][..], &["--columns", "id,n", "--encoding", "utf-16be"], &[]] {
        let said = refused(&path, options);
        assert!(said.contains("those of UTF-16LE without a mark"), "{options:?}: {said}");
    }
    assert_eq!(entries(&path, &["--columns", "id,n", "--encoding", "utf-16le"]).unwrap().len(), 2);
    let (_dir, path) = file("a.csv", "a,\0\nb,\0\n");
    assert_eq!(entries(&path, &["--columns", "id,n", "--encoding", "utf-8"]).unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_that_are_named_later_miss_no_line_without_a_word() {
    let (dir, path) = file("a.csv", "id,n\na,1\na,2\nb\nc,3\n");
    let rejects = dir.path().join("bad.csv");
    let named = ["--rejects", rejects.to_str().unwrap()];
    let options = ["--on-duplicate", "first", "--strict"];
    let mock = Mock::start().unwrap();
    import(&mock, &path, &options).await.unwrap_err();
    std::fs::write(&path, "id,n\na,1\na,2\nb,2\nc,3\n").unwrap();
    let kept = names_beside(&path);
    let said = import(&mock, &path, &[&options[..], &named].concat()).await.unwrap_err().to_string();
    assert!(said.contains("1 records up to line 3 were not stored"), "{said}");
    assert_eq!(names_beside(&path), kept, "it is as it was");
    assert!(import(&mock, &path, &[&options[..], &named, &["--restart"]].concat()).await.unwrap());
    assert_eq!(std::fs::read_to_string(&rejects).unwrap(), "a,2\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_write_leaves_nothing_to_go_on_with() {
    let (_dir, path) = file("a.csv", "id,n\na,1\n");
    let mock = Mock::start().unwrap();
    mock.inject(Fault::reject(Rejected::Forbidden("no right".into())).on(Operation::Put).forever());
    let said = import(&mock, &path, &[]).await.unwrap_err().to_string();
    assert!(said.contains("not allowed") && !said.contains("goes on"), "{said}");
    assert_eq!(names_beside(&path), ["a.csv"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_import_of_the_same_file_waits_for_nobody_and_is_refused() {
    let (_dir, path) = file("a.csv", "id,n\na,1\n");
    let mock = Mock::start().unwrap();
    mock.inject(Fault::hold().on(Operation::Put).forever());
    let second = async {
        while mock.stats().calls == 0 {
            tokio::task::yield_now().await;
        }
        import(&mock, &path, &[]).await.unwrap_err().to_string()
    };
    tokio::select! {
        ended = import(&mock, &path, &[]) => panic!("nothing answers it: {ended:?}"),
        said = second => assert!(said.contains("is running in another process"), "{said}"),
    }
}

#[test]
fn nobody_is_told_to_go_on_where_nothing_is_kept() {
    let (_dir, path) = file("a.csv", "id\n");
    let regular = Input::of(&path).unwrap();
    let pipe = Input::of(Path::new("-")).unwrap();
    let ends = || {
        let broken = Ended::Broken { line: 1, reason: "it was cut off".into() };
        [Ended::Interrupted, Ended::Strict(1), Ended::Refused(1), Ended::Changed("it has grown".into()), broken]
    };
    for ended in ends() {
        let said = with_advice(&regular, ended, true).to_string();
        assert!(said.contains("the same command goes on") || said.contains("The same command goes on"), "{said}");
    }
    for ended in ends().into_iter().chain(ends()).enumerate() {
        let (number, ended) = ended;
        let said = with_advice(if number < 5 { &regular } else { &pipe }, ended, false).to_string();
        assert!(!said.contains("command goes on"), "{said}");
    }
}
