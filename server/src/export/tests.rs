//! Files from their first row to their place, without a fleet.

use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Barrier;

use bytes::Bytes;
use holdfast_client::{ClientError, ScanPlace, ScanPlacePart, Timestamp};
use holdfast_rows::export_file::{Form, verify};
use holdfast_rows::write::{Compression, unpacked};
use tokio::sync::mpsc;

use super::place::Recipe;
use super::target::{Begun, Names, Target};
use super::*;

const PLAIN: (Format, Compression) = (Format::JsonLines, Compression::None);
const DONE: Read = Read::Done { at: Some(Timestamp(502)) };
const ALL: [(Format, Compression); 4] =
    [PLAIN, (Format::Csv, Compression::Gzip), (Format::Tsv, Compression::Zstd), (Format::Csv, Compression::None)];

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.0.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn begin_as(&self, recipe: Recipe, form: (Format, Compression), restart: bool) -> anyhow::Result<Begun> {
        let head = Head { keyspace: "default".into(), ..Head::default() };
        Target::begin(Names::of(&self.path("file"))?, recipe, form, &head, restart)
    }

    fn begin(&self, form: (Format, Compression)) -> anyhow::Result<Begun> {
        self.begin_as(recipe(form), form, false)
    }
}

fn recipe((format, compression): (Format, Compression)) -> Recipe {
    Recipe {
        fleet: "f".into(),
        keyspace: 1,
        start: String::new(),
        end: None,
        at: None,
        format: format_name(format).into(),
        compression: compression.name().into(),
    }
}

/// The pages of three rows each from `first` on, and what comes behind them.
fn pages(first: u32, count: u32, last: Read) -> Receiver<Read> {
    let key = |index: u32| Bytes::from(format!("key {index:05}\n"));
    let (sender, receiver) = mpsc::channel(usize::try_from(count).unwrap() + 1);
    for page in first..first + count {
        let rows = (page * 3..page * 3 + 3).map(|index| row(key(index), index)).collect();
        let part = Some(ScanPlacePart { at: Timestamp(500 + u64::from(page)), until: None });
        let next = Some(ScanPlace { next: key(page * 3 + 3), part });
        sender.try_send(Read::Page { rows, at: Some(Timestamp(500 + u64::from(page))), next }).unwrap();
    }
    sender.try_send(last).unwrap();
    receiver
}

fn row(key: Bytes, index: u32) -> KeyValue {
    let row = holdfast_types::Row {
        key: holdfast_types::Key::bound(holdfast_types::KeyspaceId(1), &key),
        value: holdfast_types::VersionedValue {
            value: Bytes::from(vec![u8::try_from(index % 256).unwrap(); 20]),
            timestamp: Timestamp(u64::from(index)),
            expires_at: index.is_multiple_of(2).then_some(Timestamp(u64::MAX - u64::from(index))),
        },
    };
    row.into()
}

fn text(path: &Path, compression: Compression) -> String {
    let mut text = Vec::new();
    let file = BufReader::new(fs::File::open(path).unwrap());
    std::io::Read::read_to_end(&mut unpacked(file, compression).unwrap(), &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// The rows that the file proves to have.
fn rows_of(path: &Path, (format, compression): (Format, Compression)) -> u64 {
    let text = text(path, compression);
    let form = Form::of_beginning(text.as_bytes()).unwrap();
    assert_eq!(form.format, format);
    verify(text.as_bytes(), form).unwrap().1.rows
}

#[test]
fn a_file_is_replaced_when_all_is_read_and_not_before() {
    for form in ALL {
        let folder = Folder::new();
        fs::write(folder.path("file"), "old").unwrap();
        let begun = folder.begin(form).unwrap();
        assert_eq!(fs::read(folder.path("file")).unwrap(), b"old");
        let (end, bytes) = write(pages(0, 5, DONE), begun).unwrap();
        assert_eq!((end.rows, rows_of(&folder.path("file"), form)), (15, 15));
        assert_eq!((end.read_from.as_deref(), end.read_to.as_deref()), (Some("500"), Some("504")));
        assert_eq!(fs::metadata(folder.path("file")).unwrap().len(), bytes);
        assert_eq!(folder.names(), ["file"], "nothing is left beside it");
    }
}

#[test]
fn an_export_of_nothing_is_a_whole_file() {
    for form in ALL {
        let folder = Folder::new();
        let (end, _) = write(pages(0, 0, DONE), folder.begin(form).unwrap()).unwrap();
        assert_eq!((end.read_from.as_deref(), end.read_to.as_deref()), (Some("502"), Some("502")));
        assert_eq!(rows_of(&folder.path("file"), form), 0);
    }
}

#[test]
fn an_export_that_was_broken_off_goes_on_and_is_what_it_would_have_been() {
    for form in ALL {
        let folder = Folder::new();
        write(pages(0, 5, DONE), folder.begin(form).unwrap()).unwrap();
        let whole = text(&folder.path("file"), form.1);
        fs::remove_file(folder.path("file")).unwrap();

        let failed = write(pages(0, 2, Read::Failed(ClientError::TooManyCalls)), folder.begin(form).unwrap());
        assert!(format!("{:#}", failed.unwrap_err()).contains("run the export again"));
        assert_eq!(folder.names(), ["file.holdfast-export", "file.holdfast-export.part"]);
        let begun = folder.begin(form).unwrap();
        assert_eq!((begun.place.rows, begun.writer.rows()), (6, 6));
        let next = begun.place.next().unwrap().unwrap();
        assert_eq!((&next.next[..], next.part.unwrap().at), (&b"key 00006\n"[..], Timestamp(501)));
        let (end, _) = write(pages(2, 3, DONE), begun).unwrap();
        assert_eq!(text(&folder.path("file"), form.1), whole, "{form:?}");
        assert_eq!((end.read_from.as_deref(), end.read_to.as_deref()), (Some("500"), Some("504")));
    }
}

#[test]
fn what_was_written_behind_the_kept_place_is_written_anew() {
    for form in ALL {
        let folder = Folder::new();
        write(pages(0, 2, Read::Failed(ClientError::TooManyCalls)), folder.begin(form).unwrap()).unwrap_err();
        // As a kill leaves it.
        let part = folder.path("file.holdfast-export.part");
        let mut bytes = fs::read(&part).unwrap();
        bytes.extend_from_slice(b"half a row");
        fs::write(&part, bytes).unwrap();
        write(pages(2, 1, DONE), folder.begin(form).unwrap()).unwrap();
        assert_eq!(rows_of(&folder.path("file"), form), 9);
    }
}

#[test]
fn a_run_that_was_killed_before_its_first_place_begins_anew() {
    let folder = Folder::new();
    let begun = folder.begin(PLAIN).unwrap();
    drop(begun);
    let begun = folder.begin(PLAIN).unwrap();
    assert_eq!(begun.place.next().unwrap(), None);
    write(pages(0, 1, DONE), begun).unwrap();
    assert_eq!(rows_of(&folder.path("file"), PLAIN), 3);
}

#[test]
fn a_part_that_is_not_what_was_written_is_left_alone_until_it_is_removed() {
    for form in ALL {
        let folder = Folder::new();
        write(pages(0, 2, Read::Failed(ClientError::TooManyCalls)), folder.begin(form).unwrap()).unwrap_err();
        let part = folder.path("file.holdfast-export.part");
        let whole = fs::read(&part).unwrap();
        let mut changed = whole.clone();
        changed[0] ^= 1;
        for other in [changed, whole[..1].to_vec(), b"theirs".to_vec(), Vec::new()] {
            fs::write(&part, &other).unwrap();
            for restart in [false, true] {
                let refused = folder.begin_as(recipe(form), form, restart).err().unwrap();
                assert!(format!("{refused:#}").contains("move it away"), "{refused:#}");
                assert_eq!(fs::read(&part).unwrap(), other);
            }
        }
        fs::remove_file(&part).unwrap();
        let begun = folder.begin(form).unwrap();
        assert_eq!(begun.place.next().unwrap(), None);
        write(pages(0, 1, DONE), begun).unwrap();
        assert_eq!(rows_of(&folder.path("file"), form), 3);
    }
}

#[test]
fn a_restart_begins_anew_whatever_was_exported_before() {
    let folder = Folder::new();
    write(pages(0, 2, Read::Failed(ClientError::TooManyCalls)), folder.begin(PLAIN).unwrap()).unwrap_err();
    let other = Recipe { keyspace: 2, ..recipe(PLAIN) };
    let begun = folder.begin_as(other, PLAIN, true).unwrap();
    assert_eq!((begun.place.next().unwrap(), begun.place.recipe.keyspace, begun.writer.rows()), (None, 2, 0));
    write(pages(0, 1, DONE), begun).unwrap();
    assert_eq!((rows_of(&folder.path("file"), PLAIN), folder.names()), (3, vec!["file".to_owned()]));
}

/// The place that an export of this form leaves which wrote nothing.
fn place_of_nothing(form: (Format, Compression)) -> Vec<u8> {
    Place::before_all(recipe(form)).encode().unwrap()
}

#[test]
fn a_part_of_somebody_else_is_not_cut_where_an_export_left_nothing_but_its_place() {
    for form in ALL {
        for restart in [false, true] {
            let folder = Folder::new();
            fs::write(folder.path("file.holdfast-export"), place_of_nothing(form)).unwrap();
            let part = folder.path("file.holdfast-export.part");
            fs::write(&part, "theirs").unwrap();
            let refused = folder.begin_as(recipe(form), form, restart).err().unwrap();
            assert!(format!("{refused:#}").contains("move it away"), "{refused:#}");
            assert_eq!(fs::read(&part).unwrap(), b"theirs");
            // One without a byte is nobody's loss.
            fs::write(&part, "").unwrap();
            write(pages(0, 1, DONE), folder.begin_as(recipe(form), form, restart).unwrap()).unwrap();
            assert_eq!(rows_of(&folder.path("file"), form), 3);
        }
    }
}

#[test]
fn an_empty_place_is_named_with_what_to_do() {
    for restart in [false, true] {
        let folder = Folder::new();
        drop(folder.begin(PLAIN).unwrap());
        fs::write(folder.path("file.holdfast-export"), "").unwrap();
        let refused = format!("{:#}", folder.begin_as(recipe(PLAIN), PLAIN, restart).err().unwrap());
        assert!(refused.contains("is empty") && refused.contains("file.holdfast-export.part"), "{refused}");
        fs::remove_file(folder.path("file.holdfast-export")).unwrap();
        let refused = format!("{:#}", folder.begin_as(recipe(PLAIN), PLAIN, restart).err().unwrap());
        assert!(refused.contains("remove it if an export was ended in its first moment"), "{refused}");
        fs::remove_file(folder.path("file.holdfast-export.part")).unwrap();
        write(pages(0, 1, DONE), folder.begin(PLAIN).unwrap()).unwrap();
        assert_eq!(rows_of(&folder.path("file"), PLAIN), 3);
    }
}

#[test]
fn a_place_of_another_export_is_refused_and_says_what_is_different() {
    let folder = Folder::new();
    write(pages(0, 2, Read::Failed(ClientError::TooManyCalls)), folder.begin(PLAIN).unwrap()).unwrap_err();
    let other = |change: fn(&mut Recipe)| {
        let mut recipe = recipe(PLAIN);
        change(&mut recipe);
        format!("{:#}", folder.begin_as(recipe, PLAIN, false).err().unwrap())
    };
    assert!(other(|recipe| recipe.keyspace = 2).contains("another keyspace"));
    assert!(other(|recipe| recipe.fleet = "g".into()).contains("another fleet"));
    assert!(other(|recipe| recipe.start = "61".into()).contains("other keys"));
    assert!(other(|recipe| recipe.at = Some(7)).contains("another version"));
    assert_eq!(folder.begin(PLAIN).unwrap().place.rows, 6, "the first one still goes on");
}

#[test]
fn files_that_no_export_made_are_left_alone() {
    for theirs in ["file.holdfast-export", "file.holdfast-export.part"] {
        for restart in [false, true] {
            let folder = Folder::new();
            fs::write(folder.path(theirs), "theirs").unwrap();
            let refused = folder.begin_as(recipe(PLAIN), PLAIN, restart).err().unwrap();
            assert!(format!("{refused:#}").contains(theirs), "{refused:#}");
            assert_eq!(
                (fs::read(folder.path(theirs)).unwrap(), folder.names()),
                (b"theirs".to_vec(), vec![theirs.to_owned()])
            );
        }
    }
}

#[test]
fn two_exports_never_write_the_same_file() {
    let folder = Folder::new();
    let first = folder.begin(PLAIN).unwrap();
    for restart in [false, true] {
        let refused = folder.begin_as(recipe(PLAIN), PLAIN, restart).err().unwrap();
        assert!(format!("{refused:#}").contains("another export"), "{refused:#}");
    }
    write(pages(0, 1, DONE), first).unwrap();
    assert_eq!(rows_of(&folder.path("file"), PLAIN), 3);
}

#[test]
fn of_exports_that_begin_in_one_moment_one_writes_and_the_others_are_told_of_it() {
    for round in 0..20 {
        let folder = Folder::new();
        if round % 2 == 1 {
            // And so where all of them could go on.
            write(pages(0, 1, Read::Failed(ClientError::TooManyCalls)), folder.begin(PLAIN).unwrap()).unwrap_err();
        }
        let together = Barrier::new(8);
        let begun: Vec<_> = std::thread::scope(|scope| {
            let begin = || {
                together.wait();
                folder.begin(PLAIN)
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(begin)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let (writing, refused): (Vec<_>, Vec<_>) = begun.into_iter().partition(Result::is_ok);
        assert_eq!(writing.len(), 1);
        for refused in refused.into_iter().filter_map(Result::err) {
            assert!(format!("{refused:#}").contains("another export is writing"), "{refused:#}");
        }
        for begun in writing.into_iter().flatten() {
            write(pages(2, 1, DONE), begun).unwrap();
        }
        assert_eq!(folder.names(), ["file"]);
    }
}

#[test]
fn names_are_from_the_root_whichever_way_leads_there_and_whether_the_file_is_there() {
    let folder = Folder::new();
    let real = folder.0.path().canonicalize().unwrap();
    fs::create_dir(folder.path("in")).unwrap();
    let roundabout = folder.path("in/../file");
    assert_eq!(Names::of(&roundabout).unwrap().file(), real.join("file"));
    fs::write(folder.path("file"), "old").unwrap();
    assert_eq!(Names::of(&roundabout).unwrap().file(), real.join("file"));
    let bare = Names::of(Path::new("no-such-file-here")).unwrap();
    assert_eq!(bare.file(), std::env::current_dir().unwrap().canonicalize().unwrap().join("no-such-file-here"));
}

#[test]
fn what_is_replaced_is_read_by_whom_it_was_and_a_link_that_leads_nowhere_is_refused() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let folder = Folder::new();
    fs::write(folder.path("file"), "private").unwrap();
    fs::set_permissions(folder.path("file"), fs::Permissions::from_mode(0o600)).unwrap();
    let _begun = folder.begin(PLAIN).unwrap();
    let part = fs::metadata(folder.path("file.holdfast-export.part")).unwrap();
    assert_eq!(part.permissions().mode() & 0o777, 0o600);
    symlink("nowhere", folder.path("link")).unwrap();
    assert!(Names::of(&folder.path("link")).unwrap_err().to_string().contains("leads nowhere"));
}

#[test]
fn what_cannot_be_replaced_is_refused() {
    let folder = Folder::new();
    let refused = |path: &Path| format!("{:#}", Names::of(path).unwrap_err());
    assert!(refused(folder.0.path()).contains("is a folder"));
    assert!(refused(Path::new("/dev/null")).contains("no regular file"));
    let missing = Names::of(&folder.path("missing/file")).unwrap();
    let head = Head::default();
    let refused = Target::begin(missing, recipe(PLAIN), PLAIN, &head, false).err().unwrap();
    assert!(format!("{refused:#}").contains("missing/file"), "{refused:#}");
}

#[test]
fn a_link_goes_on_pointing_to_its_file() {
    let folder = Folder::new();
    fs::write(folder.path("real"), "old").unwrap();
    std::os::unix::fs::symlink("real", folder.path("file")).unwrap();
    write(pages(0, 1, DONE), folder.begin(PLAIN).unwrap()).unwrap();
    assert!(folder.path("file").is_symlink());
    assert_eq!(rows_of(&folder.path("real"), PLAIN), 3);
}

#[test]
fn the_place_is_kept_after_so_many_bytes_or_so_long() {
    let keeping = Keeping { kept: Instant::now(), kept_bytes: 100 };
    assert!(!keeping.is_due(100 + limits::EXPORT_KEEP_BYTES - 1));
    assert!(keeping.is_due(100 + limits::EXPORT_KEEP_BYTES));
    let long_ago = Instant::now().checked_sub(limits::EXPORT_KEEP_EVERY).unwrap();
    assert!(Keeping { kept: long_ago, kept_bytes: 100 }.is_due(100));
}

#[test]
fn an_export_that_took_too_long_is_told_to_begin_anew_and_not_to_go_on() {
    let folder = Folder::new();
    let gone = ClientError::Rejected(Rejected::BelowGcThreshold { threshold: Timestamp(9) });
    let failed = write(pages(0, 1, Read::Failed(gone)), folder.begin(PLAIN).unwrap());
    let said = format!("{:#}", failed.unwrap_err());
    assert!(said.contains("--restart") && !said.contains("to go on"), "{said}");
}
