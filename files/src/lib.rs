//! Files that are replaced in one step. Layer 0.
//!
//! A [`Draft`] is written under a name of its own in the same folder, synced, and renamed over the file; then the folder is synced.
//! After a crash or a loss of power the file is the old one or the new one, whole. Names of drafts are random (`tempfile`), so that two
//! processes never write the same one, and no file of anybody else is overwritten. A process that is killed leaves its draft behind:
//! [`sweep`] removes those of a folder that only one process uses.
//!
//! A [`Held`] file lies in a folder of somebody else's. It has a draft with one name, and a lock in place of the random one.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod held;

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

pub use self::held::{DRAFT_ENDING, Held};

/// What the names of drafts begin with.
const PREFIX: &str = ".draft-";

/// Who may read a file, beside its owner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Readers {
    /// Nobody.
    Owner,
    /// Whoever the process lets read new files (its umask).
    AsUsual,
}

/// The next content of a file. Dropped without [`Draft::place`], it leaves the file as it was.
#[derive(Debug)]
pub struct Draft {
    file: NamedTempFile,
    path: PathBuf,
}

impl Draft {
    /// Begins an empty one for the file at `path`.
    ///
    /// # Errors
    /// When the folder takes no file.
    pub fn of(path: &Path, readers: Readers) -> io::Result<Self> {
        let mode = match readers {
            Readers::Owner => 0o600,
            Readers::AsUsual => 0o666,
        };
        let file = Builder::new().prefix(PREFIX).permissions(Permissions::from_mode(mode)).tempfile_in(parent(path))?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Puts it in the place of the file, durably.
    ///
    /// # Errors
    /// When it cannot be synced or renamed: the file is as it was, unless only the folder could not be synced.
    pub fn place(self) -> io::Result<()> {
        self.file.as_file().sync_all()?;
        self.file.persist(&self.path).map_err(|failed| failed.error)?;
        sync_folder(parent(&self.path))
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Writes a whole file that only its owner can read, in one step.
///
/// # Errors
/// As [`Draft::of`] and [`Draft::place`].
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut draft = Draft::of(path, Readers::Owner)?;
    draft.write_all(bytes)?;
    draft.place()
}

/// The bytes of a file; `None` when there is none. One with more than `most_bytes` is refused before it takes memory: nobody wrote it here.
///
/// # Errors
/// When it cannot be read, or is too large ([`io::ErrorKind::FileTooLarge`]).
pub fn read(path: &Path, most_bytes: usize) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    let most = u64::try_from(most_bytes).unwrap_or(u64::MAX);
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() > most_bytes {
        let text = format!("it has more than the {most_bytes} B that it can have");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(Some(bytes))
}

/// Makes names created, renamed or removed in `folder` durable.
///
/// # Errors
/// When it cannot be opened or synced.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The folder that holds `path`: of a bare name it is the current one, of the root the root.
#[must_use]
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => path,
    }
}

/// Removes the drafts that processes left behind in `folder` when they were killed. Only for a folder that nobody else writes to now.
///
/// # Errors
/// When the folder cannot be read or a draft cannot be removed.
pub fn sweep(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(PREFIX) && entry.file_type()?.is_file() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
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

    #[test]
    fn a_file_is_replaced_as_a_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        replace(&path, b"old").unwrap();
        let mut draft = Draft::of(&path, Readers::Owner).unwrap();
        draft.write_all(b"half").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old", "not placed yet");
        drop(draft);
        assert_eq!((fs::read(&path).unwrap(), names(dir.path())), (b"old".to_vec(), vec!["state.json".to_owned()]));
        replace(&path, b"new").unwrap();
        assert_eq!((fs::read(&path).unwrap(), names(dir.path())), (b"new".to_vec(), vec!["state.json".to_owned()]));
    }

    #[test]
    fn files_beside_it_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let others = ["state.next", "state.tmp", "state.json.next", ".draft"];
        for other in others {
            fs::write(dir.path().join(other), other).unwrap();
        }
        replace(&dir.path().join("state.json"), b"new").unwrap();
        sweep(dir.path()).unwrap();
        for other in others {
            assert_eq!(fs::read(dir.path().join(other)).unwrap(), other.as_bytes());
        }
    }

    #[test]
    fn only_the_owner_reads_it_unless_it_is_for_others() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let (own, plain, usual) = (dir.path().join("own"), dir.path().join("plain"), dir.path().join("usual"));
        fs::write(&own, b"readable by others before").unwrap();
        replace(&own, b"").unwrap();
        fs::write(&plain, b"").unwrap();
        Draft::of(&usual, Readers::AsUsual).unwrap().place().unwrap();
        assert_eq!((mode(&own), mode(&usual)), (0o600, mode(&plain)));
    }

    #[test]
    fn what_a_killed_process_left_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        replace(&path, b"old").unwrap();
        std::mem::forget(Draft::of(&path, Readers::Owner).unwrap());
        assert_eq!(names(dir.path()).len(), 2);
        sweep(dir.path()).unwrap();
        assert_eq!(names(dir.path()), ["state.json"]);
    }

    #[test]
    fn a_folder_that_is_gone_is_an_error_with_its_kind() {
        let dir = tempfile::tempdir().unwrap();
        let error = replace(&dir.path().join("gone/state.json"), b"").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_file_is_read_whole_or_refused_as_too_large() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        assert_eq!(read(&path, 3).unwrap(), None);
        fs::write(&path, b"abc").unwrap();
        assert_eq!(read(&path, 3).unwrap(), Some(b"abc".to_vec()));
        assert_eq!(read(&path, 2).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert!(read(dir.path(), 3).is_err(), "a folder is no file");
    }

    #[test]
    fn a_bare_name_lies_in_the_current_folder() {
        assert_eq!(parent(Path::new("data")), Path::new("."));
        assert_eq!(parent(Path::new("a/data")), Path::new("a"));
        assert_eq!(parent(Path::new("/")), Path::new("/"));
    }
}
