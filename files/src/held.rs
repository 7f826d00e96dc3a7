//! A file that one process at a time keeps, and replaces again and again.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::{parent, sync_folder};

/// What stands behind the name of a file in that of its draft.
pub const DRAFT_ENDING: &str = ".draft";
/// How often a file that its keeper replaces meanwhile is looked at again.
const LOOKS: usize = 64;

/// A file that this process keeps.
///
/// - It is replaced in one step, as by [`replace`](super::replace); only its owner reads it.
/// - It is locked as long as this lives, and the next content is locked before it takes the name: so the file is never there without its lock. Where
///   a file system knows no locks, nobody is kept away.
/// - The draft has one name, [`DRAFT_ENDING`] behind that of the file. A process that is killed leaves no more than that, and whoever keeps the
///   file next takes it away.
#[derive(Debug)]
pub struct Held {
    path: PathBuf,
    file: File,
}

impl Held {
    /// Makes the file.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] when it is there, [`io::ErrorKind::WouldBlock`] when another process makes it just now; others when the
    /// folder takes no file.
    pub fn create(path: &Path, bytes: &[u8]) -> io::Result<Self> {
        if fs::symlink_metadata(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let (draft, file) = written(path, bytes, None)?;
        let linked = match fs::hard_link(&draft, path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                // A file system without links. Whoever makes the file at the same time makes its draft first, and that is locked.
                fs::rename(&draft, path)
            }
            linked => linked,
        };
        let removed = match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        linked.and(removed)?;
        sync_folder(parent(path))?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Keeps a file that is there.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when another process keeps it, [`io::ErrorKind::NotFound`] when it is not there (any more).
    pub fn take(path: &Path) -> io::Result<Self> {
        for _ in 0..LOOKS {
            let file = File::open(path)?;
            lock(&file)?;
            // Whoever kept it may have replaced it between the two.
            if is_at(&file, path)? {
                return Ok(Self { path: path.to_owned(), file });
            }
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces its content.
    ///
    /// # Errors
    /// When the folder takes no file: it is as it was, unless only the folder could not be synced.
    pub fn replace(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (draft, file) = written(&self.path, bytes, Some(&self.file))?;
        if let Err(error) = fs::rename(&draft, &self.path) {
            drop(fs::remove_file(&draft));
            return Err(error);
        }
        // The lock of the earlier one goes when the next one has the name.
        self.file = file;
        sync_folder(parent(&self.path))
    }

    /// Removes it, and a draft of it that was left behind.
    ///
    /// # Errors
    /// When one of them is there and stays.
    pub fn remove(self) -> io::Result<()> {
        let Self { path, file } = self;
        // As long as the file is there nobody else makes a draft of it.
        let cleared = clear(&draft_of(&path), Some(&file));
        let removed = match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        };
        removed.and(cleared)
    }
}

fn draft_of(path: &Path) -> PathBuf {
    let mut draft = path.as_os_str().to_owned();
    draft.push(DRAFT_ENDING);
    draft.into()
}

/// A whole draft, locked and synced; `held` is the file, if it is there.
fn written(path: &Path, bytes: &[u8], held: Option<&File>) -> io::Result<(PathBuf, File)> {
    let draft = draft_of(path);
    clear(&draft, held)?;
    // What has the name is never followed or written over.
    let mut file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(io::Error::other(format!("{} is no draft of this program: move it away", draft.display())));
        }
        file => file?,
    };
    lock(&file)?;
    if !is_at(&file, &draft)? {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    if let Err(error) = file.write_all(bytes).and_then(|()| file.sync_all()) {
        drop(fs::remove_file(&draft));
        return Err(error);
    }
    Ok((draft, file))
}

/// Removes a draft that nobody writes any more; `held` is the file whose draft it is.
fn clear(draft: &Path, held: Option<&File>) -> io::Result<()> {
    match fs::symlink_metadata(draft) {
        Ok(found) if found.is_file() => {}
        _ => return Ok(()),
    }
    // Of a process that was killed between the two steps of making the file, both names are there.
    if held.is_some_and(|held| is_at(held, draft).unwrap_or(false)) {
        return fs::remove_file(draft);
    }
    let file = match File::open(draft) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    lock(&file)?;
    if is_at(&file, draft).unwrap_or(false) { fs::remove_file(draft) } else { Ok(()) }
}

fn lock(file: &File) -> io::Result<()> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
        // It has none: then nobody has.
        Err(TryLockError::Error(_)) | Ok(()) => Ok(()),
    }
}

/// True when the file that is open still has its name.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let (open, named) = (file.metadata()?, fs::symlink_metadata(path)?);
    Ok((open.dev(), open.ino()) == (named.dev(), named.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    fn kind(result: io::Result<Held>) -> io::ErrorKind {
        result.unwrap_err().kind()
    }

    #[test]
    fn one_at_a_time_keeps_it_and_the_lock_outlives_each_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        assert_eq!(kind(Held::take(&path)), io::ErrorKind::NotFound);
        let mut held = Held::create(&path, b"one").unwrap();
        assert_eq!(kind(Held::create(&path, b"other")), io::ErrorKind::AlreadyExists);
        for content in ["two", "three"] {
            assert_eq!(kind(Held::take(&path)), io::ErrorKind::WouldBlock);
            held.replace(content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        assert_eq!(kind(Held::take(&path)), io::ErrorKind::WouldBlock);
        drop(held);
        let held = Held::take(&path).unwrap();
        assert_eq!(names(dir.path()), ["state"]);
        held.remove().unwrap();
        assert_eq!(names(dir.path()), [""; 0]);
    }

    #[test]
    fn the_draft_of_a_process_that_was_killed_is_taken_away_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let draft = draft_of(&path);
        fs::write(&draft, "hal").unwrap();
        let mut held = Held::create(&path, b"one").unwrap();
        assert_eq!(names(dir.path()), ["state"]);
        fs::write(&draft, "hal").unwrap();
        held.replace(b"two").unwrap();
        assert_eq!((names(dir.path()), fs::read(&path).unwrap()), (vec!["state".to_owned()], b"two".to_vec()));
        fs::write(&draft, "hal").unwrap();
        held.remove().unwrap();
        assert_eq!(names(dir.path()), [""; 0]);
        let ends: [fn(Held) -> io::Result<()>; 2] = [Held::remove, |mut held| held.replace(b"two")];
        for end in ends {
            drop(Held::create(&path, b"one"));
            fs::hard_link(&path, &draft).unwrap();
            end(Held::take(&path).unwrap()).unwrap();
            assert!(!draft.exists(), "it was killed while it made the file");
        }
    }

    #[test]
    fn a_draft_that_is_being_written_and_what_is_no_file_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let (draft, writing) = written(&path, b"half", None).unwrap();
        assert_eq!(kind(Held::create(&path, b"other")), io::ErrorKind::WouldBlock);
        assert_eq!(fs::read(&draft).unwrap(), b"half");
        drop(writing);
        fs::remove_file(&draft).unwrap();
        let theirs = dir.path().join("theirs");
        fs::write(&theirs, "theirs").unwrap();
        std::os::unix::fs::symlink(&theirs, &draft).unwrap();
        assert!(Held::create(&path, b"one").is_err());
        assert_eq!(fs::read(&theirs).unwrap(), b"theirs");
    }
}
