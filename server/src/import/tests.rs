//! What the tests of the modules share, and tests of the whole against a fleet within the process.

use std::path::PathBuf;

use clap::Parser;
use holdfast_client::mock::Mock;
use holdfast_client::{Client, KeyspaceId};
use tempfile::TempDir;

use super::reading::Entry;
use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: ImportArgs,
}

/// The arguments of a command line.
pub(super) fn args(line: &[&str]) -> ImportArgs {
    Line::try_parse_from(std::iter::once(&"import").chain(line)).unwrap().args
}

/// An input of the field, by the beginning of its name.
pub(super) fn field(begins: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rows/tests/field");
    let mut found = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    found.find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(begins)).unwrap()
}

/// The entries of a file, read as a command line says.
pub(super) fn entries(path: &Path, options: &[&str]) -> anyhow::Result<Vec<Entry>> {
    let args = args(&[&[path.to_str().unwrap()], options].concat());
    Ok(Manner::of(&args).open(&Input::of(path)?)?.reading.collect())
}

/// A file in a folder of its own.
pub(super) fn file(name: &str, content: impl AsRef<[u8]>) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, content).unwrap();
    (dir, path)
}

/// Runs an import into a mock.
pub(super) async fn import(mock: &Mock, path: &Path, options: &[&str]) -> anyhow::Result<bool> {
    let at = mock.addresses().join(",");
    run(&args(&[&[path.to_str().unwrap(), "--at", &at], options].concat())).await
}

pub(super) async fn rows(client: &Client) -> Vec<(String, String)> {
    let rows = client.scan(..).collect().await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    rows.iter().map(|row| (text(&row.key), text(&row.value))).collect()
}

pub(super) fn names_beside(path: &Path) -> Vec<String> {
    let names = std::fs::read_dir(path.parent().unwrap()).unwrap();
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_lines_with_one_key_the_last_is_stored_unless_another_is_wished() {
    let path = field("a12");
    let mock = Mock::builder().split_at("a12-5").split_at("a12-7").start().unwrap();
    let client = mock.client().await.unwrap();
    for (options, rev, is_well) in [
        (&[][..], "new", true),
        (&["--on-duplicate", "last"], "new", true),
        (&["--on-duplicate", "first"], "old", true),
        (&["--on-duplicate", "error"], "old", false),
    ] {
        client.delete_range(..).await.unwrap();
        assert_eq!(import(&mock, &path, options).await.unwrap(), is_well, "{options:?}");
        let rows = rows(&client).await;
        assert_eq!(rows.len(), 2_000, "{options:?}");
        let wrong = rows.iter().find(|(key, value)| *value != format!(r#"{{"id":"{key}","rev":"{rev}"}}"#));
        assert_eq!(wrong, None, "{options:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_is_stored_or_told_and_the_lines_that_are_not_go_to_a_file() {
    let text = "id,name\na,one\nb\n,nobody\nc,three\nd,four,5";
    let (dir, path) = file("a.csv", text);
    let rejects = dir.path().join("bad.csv");
    let mock = Mock::start().unwrap();
    let is_well = import(&mock, &path, &["--rejects", rejects.to_str().unwrap()]).await.unwrap();
    assert!(!is_well);
    let keys: Vec<_> = rows(&mock.client().await.unwrap()).await.into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["a", "c"]);
    assert_eq!(std::fs::read_to_string(&rejects).unwrap(), "b\n,nobody\nd,four,5");
    assert_eq!(names_beside(&path), ["a.csv", "bad.csv"], "no progress is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_are_left_out_for_an_earlier_one_go_to_the_file_too() {
    let (dir, path) = file("a.csv", "id,n\na,1\na,2\nb,3\na,4\n");
    let rejects = dir.path().join("later.csv");
    let mock = Mock::start().unwrap();
    let options = ["--on-duplicate", "first", "--rejects", rejects.to_str().unwrap()];
    assert!(import(&mock, &path, &options).await.unwrap(), "it was wished");
    assert_eq!(std::fs::read_to_string(&rejects).unwrap(), "a,2\na,4\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_strict_the_first_bad_row_ends_it_and_mended_it_goes_on_there() {
    let (_dir, path) = file("a.csv", "id,n\na,1\nb\nc,3\n");
    let mock = Mock::start().unwrap();
    let client = mock.client().await.unwrap();
    let said = import(&mock, &path, &["--strict"]).await.unwrap_err().to_string();
    assert!(said.starts_with("line 3 was rejected") && said.contains("the same command goes on"), "{said}");
    assert_eq!(rows(&client).await, [("a".into(), r#"{"id":"a","n":"1"}"#.into())]);
    std::fs::write(&path, "id,n\na,1\nb,2\nc,3\n").unwrap();
    assert!(import(&mock, &path, &["--strict"]).await.unwrap());
    assert_eq!(rows(&client).await.len(), 3);
    assert_eq!(mock.versions("a").len(), 1, "it was not loaded again");
    assert_eq!(names_beside(&path), ["a.csv"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_the_same_and_stores_nothing_without_any_fleet() {
    let (_dir, path) = file("a.csv", "id,n\na,1\nb\na,3\n");
    let nowhere =
        |options: &[&str]| args(&[&[path.to_str().unwrap(), "--at", "127.0.0.1:1", "--dry-run"], options].concat());
    assert!(!run(&nowhere(&[])).await.unwrap(), "line 3 is bad");
    assert!(!run(&nowhere(&["--on-duplicate", "error"])).await.unwrap());
    let said = run(&nowhere(&["--strict"])).await.unwrap_err().to_string();
    assert!(said.contains("line 3 was rejected"), "{said}");
    let (_dir, good) = file("b.csv", "id,n\na,1\n");
    assert!(run(&args(&[good.to_str().unwrap(), "--at", "127.0.0.1:1", "--dry-run"])).await.unwrap());
    assert_eq!(names_beside(&path), ["a.csv"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_gone_when_their_column_says_so() {
    let text = "id,until\nnever,\nlater,3600\nat,2999-01-01T00:00:00+02:00\npast,1969-01-01T00:00:00Z\nwrong,10m\n";
    let (_dir, path) = file("a.csv", text);
    let mock = Mock::start().unwrap();
    let client = mock.client().await.unwrap();
    let now_ms = client.fleet_now().ms();
    assert!(!import(&mock, &path, &["--expires", "until"]).await.unwrap(), "10m is no time");
    let expiry = async |key: &str| client.get(key).await.unwrap().map(|row| row.expires_at.map(Timestamp::ms));
    assert_eq!(expiry("never").await, Some(None));
    let later = expiry("later").await.flatten().unwrap();
    assert!((now_ms + 3_600_000..now_ms + 3_700_000).contains(&later), "{later}");
    assert_eq!(expiry("at").await, Some(Some(32_472_136_800_000)));
    assert_eq!(expiry("past").await, None, "gone at once");
    assert_eq!(expiry("wrong").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn imports_into_two_keyspaces_know_nothing_of_each_other() {
    let (_dir, path) = file("a.csv", "id,n\na,1\nb\nc,3\n");
    let mock = Mock::start().unwrap();
    let client = mock.client().await.unwrap();
    client.admin().create_keyspace("two").await.unwrap();
    import(&mock, &path, &["--strict"]).await.unwrap_err();
    let left = names_beside(&path);
    assert_eq!(left.len(), 2, "{left:?}");
    std::fs::write(&path, "id,n\na,1\nb,2\nc,3\n").unwrap();
    assert!(import(&mock, &path, &["--keyspace", "two"]).await.unwrap());
    assert_eq!(rows(&client.keyspace("two").await.unwrap()).await.len(), 3, "nothing was skipped");
    assert_eq!(names_beside(&path), left, "the progress of the first is still there");
    assert_ne!(client.keyspace("two").await.unwrap().keyspace_id(), KeyspaceId::DEFAULT);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_with_another_option_or_into_another_fleet_begins_at_the_first_row() {
    let (_dir, path) = file("a.csv", "id,name\na,x\nb\nc,z\n");
    let (mock, other) = (Mock::start().unwrap(), Mock::start().unwrap());
    import(&mock, &path, &["--strict"]).await.unwrap_err();
    std::fs::write(&path, "id,name\na,x\nb,y\nc,z\n").unwrap();
    assert!(import(&other, &path, &["--strict"]).await.unwrap());
    assert_eq!(rows(&other.client().await.unwrap()).await.len(), 3);
    let client = mock.client().await.unwrap();
    client.delete_range(..).await.unwrap();
    assert!(import(&mock, &path, &["--strict", "--key", "name"]).await.unwrap());
    assert_eq!(rows(&client).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_has_changed_where_it_was_read_is_loaded_from_its_first_row() {
    let (_dir, path) = file("a.csv", "id,n\na,1\nb\n");
    let mock = Mock::start().unwrap();
    let client = mock.client().await.unwrap();
    import(&mock, &path, &["--strict"]).await.unwrap_err();
    // The same size.
    std::fs::write(&path, "id,n\nA,1\nB\n").unwrap();
    import(&mock, &path, &["--strict"]).await.unwrap_err();
    let keys: Vec<_> = rows(&client).await.into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["A", "a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_restores_itself_and_takes_no_options_of_columns() {
    use holdfast_rows::export_file::{End, ExportedRow, Head, Writer};
    for format in [Format::Csv, Format::Tsv, Format::JsonLines] {
        let row = ExportedRow {
            line: 0,
            key: b"\xff\x00".to_vec().into(),
            value: b"1,\"2\"\n\\N".to_vec().into(),
            version: Timestamp(7),
            expires_at: Some(Timestamp(u64::MAX / 2)),
        };
        let mut text = Vec::new();
        write_export(
            &mut text,
            format,
            &Head { keyspace: "default".into(), ..Head::default() },
            std::slice::from_ref(&row),
        );
        let (_dir, path) = file("anything", &text);
        let mock = Mock::start().unwrap();
        assert!(import(&mock, &path, &[]).await.unwrap());
        let found = mock.client().await.unwrap().get(&row.key).await.unwrap().unwrap();
        assert_eq!((found.value, found.expires_at), (row.value, row.expires_at), "{format:?}");
        let said = import(&mock, &path, &["--key", "key"]).await.unwrap_err().to_string();
        assert!(said.contains("leave out the options"), "{said}");

        // Cut off, and changed: nothing of it is stored.
        let cut = text[..text.len() - 20].to_vec();
        let mut changed = text.clone();
        let at = text.windows(2).rposition(|pair| pair == b"1,").unwrap();
        changed[at] = b'2';
        for damaged in [cut, changed] {
            std::fs::write(&path, damaged).unwrap();
            let mock = Mock::start().unwrap();
            let said = import(&mock, &path, &[]).await.unwrap_err().to_string();
            assert!(said.contains("Nothing of it was loaded"), "{said}");
            assert_eq!(mock.client().await.unwrap().scan(..).collect().await.unwrap(), []);
        }
    }

    fn write_export(text: &mut Vec<u8>, format: Format, head: &Head, rows: &[ExportedRow]) {
        let mut writer = Writer::new(text, format, head).unwrap();
        rows.iter().for_each(|row| writer.row(row).unwrap());
        writer.finish(End::default()).unwrap();
    }
}
