//! Whether a file stays what it is while it is read.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use holdfast_rows::Progress;

/// A file that is being read.
#[derive(Debug)]
pub struct Watched {
    file: File,
    before: Seen,
    /// Its path, and what is read of it; none for what was open before, and perhaps read in part.
    opened: Option<(PathBuf, Progress)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Seen {
    file: (u64, u64),
    size_bytes: u64,
    written: (i64, i64),
}

impl Seen {
    fn of(metadata: &Metadata) -> Self {
        Self {
            file: (metadata.dev(), metadata.ino()),
            size_bytes: metadata.len(),
            written: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

impl Watched {
    /// Of a file that has just been opened, before anything of it is read; `metadata` is what it is now, `read` counts what is read of it.
    pub fn new(path: &Path, file: File, metadata: &Metadata, read: Progress) -> Self {
        Self { file, before: Seen::of(metadata), opened: Some((path.to_owned(), read)) }
    }

    /// Standard input, if that is a file.
    pub fn stdin() -> Option<Self> {
        let file = File::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
        let metadata = file.metadata().ok()?;
        metadata.is_file().then(|| Self { file, before: Seen::of(&metadata), opened: None })
    }

    /// What has become of it, now that it was read to its end; `None`: nothing.
    pub fn change(&self) -> Option<String> {
        match self.seen() {
            Ok(now) => self.change_to(now),
            Err(error) => Some(format!("whether it was changed cannot be seen: {error}")),
        }
    }

    fn seen(&self) -> io::Result<Seen> {
        Ok(Seen::of(&self.file.metadata()?))
    }

    fn change_to(&self, now: Seen) -> Option<String> {
        let size_bytes = self.before.size_bytes;
        if now.size_bytes < size_bytes {
            return Some(format!("it had {size_bytes} B, and was cut off to {} B", now.size_bytes));
        }
        if now.size_bytes > size_bytes {
            return Some(format!("it has grown from {size_bytes} B to {} B", now.size_bytes));
        }
        if now.written != self.before.written {
            return Some("it was written to".to_owned());
        }
        let (path, read) = self.opened.as_ref()?;
        let read_bytes = read.read_bytes();
        if read_bytes < size_bytes {
            return Some(format!("of its {size_bytes} B no more than {read_bytes} B could be read"));
        }
        // One that is gone was read as a whole, and nobody has another one in mind.
        let named = std::fs::metadata(path).ok()?;
        let is_other = Seen::of(&named).file != self.before.file;
        is_other.then(|| "another file has taken its place, and the earlier one was read".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::time::{Duration, SystemTime};

    use holdfast_rows::{Encoding, Format, Records, Source};

    use super::super::tests::file;
    use super::*;

    /// Reads a file after it was opened, while `meanwhile` happens.
    fn change(meanwhile: impl FnOnce(&Path)) -> Option<String> {
        let (_dir, path) = file("a.jsonl", "{\"k\":1}\n".repeat(100_000));
        let open = File::open(&path).unwrap();
        let metadata = open.metadata().unwrap();
        let again = open.try_clone().unwrap();
        let source = Source::from_reader("it", open, Some(metadata.len()), Encoding::default()).unwrap();
        let watched = Watched::new(&path, again, &metadata, source.progress());
        let mut records = Records::new(source, Format::JsonLines, &holdfast_rows::Dialect::csv()).unwrap();
        records.next().unwrap();
        meanwhile(&path);
        records.count();
        watched.change()
    }

    #[test]
    fn a_file_that_is_cut_off_grows_or_is_written_to_while_it_is_read_is_told() {
        assert_eq!(change(|_| {}), None);
        assert_eq!(change(|path| std::fs::remove_file(path).unwrap()), None, "all of it was read");
        let open = |path: &Path| std::fs::OpenOptions::new().append(true).open(path).unwrap();
        assert!(change(|path| open(path).set_len(80_000).unwrap()).unwrap().contains("cut off to 80000 B"));
        assert!(change(|path| open(path).write_all(b"{}\n").unwrap()).unwrap().contains("has grown"));
        let later = SystemTime::now() + Duration::from_secs(5);
        assert!(change(|path| open(path).set_modified(later).unwrap()).unwrap().contains("written to"));
        let replaced = change(|path| {
            std::fs::write(path.with_extension("new"), "{}").unwrap();
            std::fs::rename(path.with_extension("new"), path).unwrap();
        });
        assert!(replaced.unwrap().contains("another file"));
    }

    #[test]
    fn a_file_of_which_less_could_be_read_than_it_has_is_told() {
        let (_dir, path) = file("a.csv", "id\n1\n");
        let open = File::open(&path).unwrap();
        let metadata = open.metadata().unwrap();
        let source = Source::from_reader("it", &b"id\n"[..], Some(5), Encoding::default()).unwrap();
        let watched = Watched::new(&path, open, &metadata, source.progress());
        assert!(watched.change().unwrap().contains("of its 5 B no more than 3 B"));
    }
}
