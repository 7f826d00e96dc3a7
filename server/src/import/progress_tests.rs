use super::*;

fn binding(keyspace: u32, key: &str) -> Binding {
    let options = BTreeMap::from([("key".to_owned(), key.to_owned())]);
    Binding { fleet: "f00d".into(), keyspace, options }
}

fn first(keyspace: u32, key: &str) -> Progress {
    Progress::begin("a.csv".into(), binding(keyspace, key), 7, "d0".into())
}

fn at(folder: &Path) -> Vec<Place> {
    places(&folder.join("a.csv"), |_| None)
}

fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

#[test]
fn the_same_import_finds_what_it_kept_and_nothing_is_left_when_it_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let mut found = find(&at(dir.path()), &first(1, "id"), false).unwrap();
    assert_eq!((found.progress, found.keeper.remarks.len()), (None, 0));
    let further = Progress { records: 9, line: 10, digest: "d9".into(), ..first(1, "id") };
    found.keeper.keep(&further);
    drop(found.keeper);
    let again = find(&at(dir.path()), &first(1, "id"), false).unwrap();
    assert_eq!(again.progress, Some(further));
    let said = find(&at(dir.path()), &first(1, "id"), true).unwrap_err();
    assert!(said.contains("is running in another process"), "{said}");
    drop(again.keeper);
    let again = find(&at(dir.path()), &first(1, "id"), true).unwrap();
    assert_eq!(again.progress, None, "--restart");
    again.keeper.end().unwrap();
    assert_eq!(names(dir.path()), [""; 0]);
}

#[test]
fn another_target_or_option_is_another_import_and_is_told_of_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let mut one = find(&at(dir.path()), &first(1, "id"), false).unwrap().keeper;
    one.keep(&Progress { records: 9, line: 10, ..first(1, "id") });
    drop(one);
    for (keyspace, key, differs) in [(2, "id", "with keyspace number 1:"), (1, "name", "with key \"id\":")] {
        let other = find(&at(dir.path()), &first(keyspace, key), false).unwrap();
        assert_eq!(other.progress, None);
        let remark = &other.keeper.remarks[0];
        assert!(remark.contains("stopped after line 10") && remark.contains(differs), "{remark}");
        other.keeper.end().unwrap();
    }
    assert_eq!(find(&at(dir.path()), &first(1, "id"), false).unwrap().progress.unwrap().line, 10);
}

#[test]
fn files_of_somebody_else_are_never_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let state = tempfile::tempdir().unwrap();
    let path = at(dir.path())[0].path(&binding(1, "id"));
    for theirs in ["theirs", "{\"line\":7}", ""] {
        fs::write(&path, theirs).unwrap();
        let places = places(&dir.path().join("a.csv"), |name| {
            (name == "XDG_STATE_HOME").then(|| state.path().to_str().unwrap().to_owned())
        });
        let mut found = find(&places, &first(1, "id"), false).unwrap();
        assert!(found.keeper.remarks[0].contains("left alone"), "{:?}", found.keeper.remarks);
        found.keeper.keep(&Progress { records: 1, ..first(1, "id") });
        assert!(found.keeper.path().unwrap().starts_with(state.path()));
        assert_eq!(fs::read_to_string(&path).unwrap(), theirs);
        drop(found);
        let again = find(&places, &first(1, "id"), false).unwrap();
        assert_eq!(again.progress.unwrap().records, 1, "found again there");
        again.keeper.end().unwrap();
        assert_eq!(names(dir.path()).len(), 1);
    }
}

#[test]
fn where_the_folder_takes_no_file_it_is_kept_in_that_of_the_user_and_else_nowhere() {
    // Not even root makes files there.
    let input = Path::new("/proc/self/fd/0");
    let state = tempfile::tempdir().unwrap();
    let home = state.path().to_str().unwrap().to_owned();
    let user = places(input, |name| (name == "HOME").then(|| home.clone()));
    let mut found = find(&user, &first(1, "id"), false).unwrap();
    let path = found.keeper.path().unwrap().to_owned();
    assert!(path.starts_with(state.path().join(".local/state/holdfast/imports")), "{}", path.display());
    found.keeper.keep(&Progress { records: 3, ..first(1, "id") });
    drop(found);
    assert_eq!(find(&user, &first(1, "id"), false).unwrap().progress.unwrap().records, 3);

    let nowhere = places(input, |_| None);
    let mut found = find(&nowhere, &first(1, "id"), false).unwrap();
    assert!(found.keeper.path().is_none() && !found.keeper.is_kept());
    assert!(found.keeper.remarks.last().unwrap().contains("begins anew the next time"));
    found.keeper.keep(&first(1, "id"));
    found.keeper.end().unwrap();
}

#[test]
fn a_folder_that_goes_away_ends_no_import_and_is_told_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut keeper = find(&at(dir.path()), &first(1, "id"), false).unwrap().keeper;
    assert!(keeper.is_kept());
    drop(dir);
    keeper.keep(&first(1, "id"));
    assert!(!keeper.is_kept());
    keeper.keep(&first(1, "id"));
    assert_eq!(keeper.remarks.len(), 1);
    keeper.end().unwrap();
}

#[test]
fn one_that_was_killed_while_it_kept_leaves_nothing_once_the_next_has_ended() {
    let dir = tempfile::tempdir().unwrap();
    let mut found = find(&at(dir.path()), &first(1, "id"), false).unwrap();
    found.keeper.keep(&Progress { records: 3, ..first(1, "id") });
    let path = found.keeper.path().unwrap().to_owned();
    drop(found);
    let mut draft = path.into_os_string();
    draft.push(DRAFT_ENDING);
    for content in ["", "{\"holdf", &serde_json::to_string(&Progress { records: 9, ..first(2, "id") }).unwrap()] {
        fs::write(&draft, content).unwrap();
        let other = find(&at(dir.path()), &first(2, "id"), false).unwrap().keeper;
        assert_eq!(other.remarks.len(), 1, "a draft is nobody's progress: {:?}", other.remarks);
        other.end().unwrap();
        let mut again = find(&at(dir.path()), &first(1, "id"), false).unwrap();
        assert_eq!(again.progress.as_ref().unwrap().records, 3);
        again.keeper.keep(&Progress { records: 3, ..first(1, "id") });
        assert_eq!(names(dir.path()).len(), 1, "{:?}", names(dir.path()));
    }
    fs::write(&draft, "").unwrap();
    find(&at(dir.path()), &first(1, "id"), false).unwrap().keeper.end().unwrap();
    assert_eq!(names(dir.path()), [""; 0]);
}

#[test]
fn damaged_progress_is_refused_or_taken_for_somebody_elses() {
    let whole = serde_json::to_vec(&Progress { records: 77, line: 78, ..first(1, "id") }).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = at(dir.path())[0].path(&binding(1, "id"));
    for damaged in crate::damage::versions_of(&whole) {
        fs::write(&path, &damaged).unwrap();
        match find(&at(dir.path()), &first(1, "id"), false) {
            // A digest that does not fit the input is found out there.
            Ok(Found { progress: Some(progress), .. }) => assert_eq!(progress.binding, binding(1, "id")),
            Ok(Found { progress: None, keeper }) => assert!(keeper.path().is_none(), "{}", damaged.escape_ascii()),
            Err(said) => assert!(said.contains("--restart"), "{said}"),
        }
        assert_eq!(fs::read(&path).unwrap(), damaged, "it is left as it was");
    }
    fs::write(&path, r#"{"holdfast_import":3}"#).unwrap();
    assert!(find(&at(dir.path()), &first(1, "id"), false).unwrap_err().contains("version 3"));
    assert!(find(&at(dir.path()), &first(1, "id"), true).unwrap().keeper.path().is_some(), "--restart");
}
