use std::collections::BTreeMap;

use super::super::progress::Binding;
use super::*;

fn create(path: &Path) -> anyhow::Result<RejectsFile> {
    RejectsFile::create(path, Encoding::default())
}

fn go_on(path: &Path, mark: &RejectsMark) -> anyhow::Result<RejectsFile> {
    RejectsFile::go_on(path, mark, Encoding::default())
}

#[test]
fn rejected_lines_stand_as_they_were_each_on_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bad.csv");
    let mut file = create(&path).unwrap();
    for raw in [&b"a,\xff\r\n"[..], b"b\r", b"\"two\nlines\"\n", b"last"] {
        file.add(raw, false).unwrap();
    }
    file.add(b"long", false).unwrap();
    file.add(b" one\n", true).unwrap();
    file.add(b"end", false).unwrap();
    file.sync().unwrap();
    let expected = b"a,\xff\r\nb\r\"two\nlines\"\nlast\nlong one\nend";
    assert_eq!(std::fs::read(&path).unwrap(), expected);
    // Gone on with, the last line gets its end.
    let mark = file.mark();
    let mut again = go_on(&path, &mark).unwrap();
    again.add(b"more\n", false).unwrap();
    again.sync().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), [&expected[..], b"\nmore\n"].concat());
}

#[test]
fn lines_of_utf_16_end_with_its_own_line_end_and_stay_whole() {
    for (name, unit) in [("utf-16le", u16::to_le_bytes as fn(u16) -> [u8; 2]), ("utf-16be", u16::to_be_bytes)] {
        let encoding: Encoding = name.parse().unwrap();
        let bytes = |text: &str| text.encode_utf16().flat_map(unit).collect::<Vec<u8>>();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bad.csv");
        let mut file = RejectsFile::create(&path, encoding).unwrap();
        // The last two are letters with the byte of a newline at either end.
        for line in ["a\n", "b\r\n", "\u{0a61}", "\u{610a}"] {
            file.add(&bytes(line), false).unwrap();
        }
        file.sync().unwrap();
        let mark = file.mark();
        let mut again = RejectsFile::go_on(&path, &mark, encoding).unwrap();
        again.add(&bytes("c\n"), false).unwrap();
        // Cut off within a letter.
        again.add(&bytes("d")[..1], false).unwrap();
        again.add(&bytes("e\n"), false).unwrap();
        again.sync().unwrap();
        let found = std::fs::read(&path).unwrap();
        assert!(found.starts_with(&bytes("a\nb\r\n\u{0a61}\n\u{610a}\nc\n")), "{name}: {}", found.escape_ascii());
        assert!(found.ends_with(&bytes("\ne\n")) && found.len().is_multiple_of(2), "{name}: {}", found.escape_ascii());
    }
}

fn said(opened: anyhow::Result<RejectsFile>) -> String {
    opened.map_or_else(|error| format!("{error:#}"), |_| String::new())
}

#[test]
fn a_file_that_is_there_is_not_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bad.csv");
    std::fs::write(&path, "theirs").unwrap();
    let refused = said(create(&path));
    assert!(refused.contains("go to a new file"), "{refused}");
    assert_eq!(std::fs::read(&path).unwrap(), b"theirs");
    std::fs::write(&path, "").unwrap();
    assert_eq!(said(create(&path)), "", "an import without a bad line leaves it so");
}

#[test]
fn an_import_that_goes_on_takes_what_comes_again_out_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bad.csv");
    let mut file = create(&path).unwrap();
    file.add(b"one\n", false).unwrap();
    let mark = file.mark();
    file.add(b"two\n", false).unwrap();
    file.sync().unwrap();
    let mut again = go_on(&path, &mark).unwrap();
    assert_eq!(again.mark(), mark);
    again.add(b"two\n", false).unwrap();
    again.sync().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"one\ntwo\n");
}

#[test]
fn a_file_that_somebody_has_worked_on_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bad.csv");
    let mut file = create(&path).unwrap();
    file.add(b"one\n", false).unwrap();
    file.sync().unwrap();
    let mark = file.mark();
    for changed in ["One\n more", "on", ""] {
        std::fs::write(&path, changed).unwrap();
        let refused = said(go_on(&path, &mark));
        assert!(refused.contains("move it away"), "{refused}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), changed);
    }
}

#[test]
fn another_file_of_the_same_name_is_not_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bad.csv");
    // No line was rejected before it stopped.
    let mark = create(&path).unwrap().mark();
    let theirs = dir.path().join("theirs.csv");
    std::fs::write(&theirs, "theirs").unwrap();
    std::fs::rename(&theirs, &path).unwrap();
    let refused = said(go_on(&path, &mark));
    assert!(refused.contains("move it away"), "{refused}");
    assert_eq!(std::fs::read(&path).unwrap(), b"theirs");
}

/// An import that stopped after line 7.
fn earlier(rejects: Option<RejectsMark>, unfiled: u64) -> Progress {
    let binding = Binding { fleet: String::new(), keyspace: 0, options: BTreeMap::new() };
    let begun = Progress::begin("a".into(), binding, 0, String::new());
    Progress { line: 7, rejected: unfiled, unfiled, rejects, ..begun }
}

/// What is said where it is opened, or why it is not.
fn opened(path: Option<&Path>, earlier: &Progress) -> Result<String, String> {
    let opened = RejectsFile::open(path, Some(earlier), Encoding::default());
    opened.map(|(_, said)| said.unwrap_or_default()).map_err(|error| format!("{error:#}"))
}

#[test]
fn no_line_of_before_is_missing_from_the_file_without_a_word() {
    let dir = tempfile::tempdir().unwrap();
    let (path, other) = (dir.path().join("bad.csv"), dir.path().join("other.csv"));
    let refused = opened(Some(&path), &earlier(None, 2)).unwrap_err();
    assert!(refused.contains("2 records up to line 7 were not stored") && refused.contains("--restart"), "{refused}");
    assert!(!path.exists());
    assert_eq!(opened(None, &earlier(None, 2)).unwrap(), "", "without the option it goes on as it was");
    assert_eq!(opened(Some(&path), &earlier(None, 0)).unwrap(), "", "none was rejected");

    let mut file = create(&path).unwrap();
    file.add(b"one\n", false).unwrap();
    file.sync().unwrap();
    let before = earlier(Some(file.mark()), 0);
    assert_eq!(opened(Some(&path), &before).unwrap(), "");
    let said = opened(Some(&other), &before).unwrap();
    assert!(said.contains("up to line 7 are in") && said.contains("bad.csv, and not in"), "{said}");
    let said = opened(None, &before).unwrap();
    assert!(said.contains("bad.csv") && said.contains("go to no file"), "{said}");
    std::fs::remove_file(&path).unwrap();
    let said = opened(Some(&path), &before).unwrap();
    assert!(said.contains("is not there any more"), "{said}");
    std::fs::write(&path, "theirs").unwrap();
    assert!(opened(Some(&path), &earlier(None, 0)).is_err(), "the import before had none: it is somebody's");
}
