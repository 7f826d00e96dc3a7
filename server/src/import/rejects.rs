//! What becomes of records that are not stored: the first ones are shown, all are counted, and their lines go to a file if one is wanted.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use bytes::Bytes;
use ring::digest;

use super::progress::RejectsMark;

/// A record that is not stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rejected {
    /// The line where it begins, from 1.
    pub line: u64,
    /// The record as it is in the file.
    pub raw: Bytes,
    /// Why.
    pub why: Why,
}

/// Why a record is not stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Why {
    /// It cannot be.
    Wrong(String),
    /// It goes with the one before it, which cannot be.
    Piece,
    /// An earlier line has its key, and the first one counts.
    LeftOut(u64),
}

/// The file of rejected lines.
pub struct RejectsFile {
    path: PathBuf,
    file: BufWriter<File>,
    bytes: u64,
    digest: digest::Context,
    /// The last line has no end yet.
    is_open: bool,
}

fn is_empty(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && found.len() == 0)
}

impl RejectsFile {
    /// A new file: one that is there already must be empty, as an import without a bad line, or one that was ended early, leaves it.
    pub fn create(path: &Path) -> anyhow::Result<Self> {
        let mut options = OpenOptions::new();
        let file = match options.write(true).read(true).create_new(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_empty(path) => {
                options.create_new(false).open(path)
            }
            opened => opened,
        };
        let file =
            file.with_context(|| format!("{}: rejected lines go to a new file, so that none is lost", path.display()))?;
        Ok(Self::of(path, file))
    }

    fn of(path: &Path, file: File) -> Self {
        Self {
            path: path.to_owned(),
            file: BufWriter::new(file),
            bytes: 0,
            digest: digest::Context::new(&digest::SHA256),
            is_open: false,
        }
    }

    /// The file of an import that goes on. What was written behind the mark belongs to records that come again, and is cut off.
    pub fn go_on(path: &Path, mark: Option<&RejectsMark>) -> anyhow::Result<Self> {
        let Some(mark) = mark.filter(|mark| Path::new(&mark.path) == path) else { return Self::create(path) };
        let mut file = match OpenOptions::new().read(true).write(true).open(path) {
            // Whoever has moved it away has what was in it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::create(path),
            opened => opened.with_context(|| path.display().to_string())?,
        };
        let mut digest = digest::Context::new(&digest::SHA256);
        let (read, last) =
            read_into(&mut digest, (&mut file).take(mark.bytes)).with_context(|| path.display().to_string())?;
        anyhow::ensure!(
            read == mark.bytes && hex(&digest) == mark.digest,
            "{} was changed since the import stopped: move it away, and the lines that are rejected from here on go to a new one",
            path.display()
        );
        file.set_len(mark.bytes)
            .and_then(|()| file.seek(SeekFrom::Start(mark.bytes)))
            .with_context(|| path.display().to_string())?;
        let is_open = last.is_some_and(|last| !ends_line(last));
        Ok(Self { path: path.to_owned(), file: BufWriter::new(file), bytes: read, digest, is_open })
    }

    /// Adds a record, or a further piece of the one before it.
    pub fn add(&mut self, raw: &[u8], is_piece: bool) -> anyhow::Result<()> {
        // The last line of an input may have no end, and is not the last one here.
        if self.is_open && !is_piece && !raw.is_empty() {
            self.write(b"\n")?;
        }
        self.write(raw)?;
        self.is_open = raw.last().map_or(self.is_open, |last| !ends_line(*last));
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.file.write_all(bytes).with_context(|| format!("writing to {}", self.path.display()))?;
        self.digest.update(bytes);
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        Ok(())
    }

    /// Has everything on the disk.
    pub fn sync(&mut self) -> anyhow::Result<()> {
        let synced = self.file.flush().and_then(|()| self.file.get_ref().sync_data());
        synced.with_context(|| format!("writing to {}", self.path.display()))
    }

    /// How far it is.
    pub fn mark(&self) -> RejectsMark {
        RejectsMark { path: self.path.display().to_string(), bytes: self.bytes, digest: hex(&self.digest) }
    }
}

fn ends_line(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// Reads everything into a digest; how many bytes that were, and the last one.
fn read_into(digest: &mut digest::Context, mut from: impl Read) -> io::Result<(u64, Option<u8>)> {
    let mut buffer = vec![0; 64 << 10];
    let (mut all, mut last) = (0_u64, None);
    loop {
        let read = from.read(&mut buffer)?;
        let Some(part) = buffer.get(..read).filter(|part| !part.is_empty()) else { return Ok((all, last)) };
        digest.update(part);
        last = part.last().copied();
        all = all.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
    }
}

fn hex(digest: &digest::Context) -> String {
    digest.clone().finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejected_lines_stand_as_they_were_each_on_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bad.csv");
        let mut file = RejectsFile::create(&path).unwrap();
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
        let mut again = RejectsFile::go_on(&path, Some(&mark)).unwrap();
        again.add(b"more\n", false).unwrap();
        again.sync().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), [&expected[..], b"\nmore\n"].concat());
    }

    fn said(opened: anyhow::Result<RejectsFile>) -> String {
        opened.map_or_else(|error| format!("{error:#}"), |_| String::new())
    }

    #[test]
    fn a_file_that_is_there_is_not_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bad.csv");
        std::fs::write(&path, "theirs").unwrap();
        let refused = said(RejectsFile::create(&path));
        assert!(refused.contains("go to a new file"), "{refused}");
        assert_eq!(std::fs::read(&path).unwrap(), b"theirs");
        std::fs::write(&path, "").unwrap();
        assert_eq!(said(RejectsFile::create(&path)), "", "an import without a bad line leaves it so");
    }

    #[test]
    fn an_import_that_goes_on_takes_what_comes_again_out_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bad.csv");
        let mut file = RejectsFile::create(&path).unwrap();
        file.add(b"one\n", false).unwrap();
        let mark = file.mark();
        file.add(b"two\n", false).unwrap();
        file.sync().unwrap();
        let mut again = RejectsFile::go_on(&path, Some(&mark)).unwrap();
        assert_eq!(again.mark(), mark);
        again.add(b"two\n", false).unwrap();
        again.sync().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one\ntwo\n");
    }

    #[test]
    fn a_file_that_somebody_has_worked_on_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bad.csv");
        let mut file = RejectsFile::create(&path).unwrap();
        file.add(b"one\n", false).unwrap();
        file.sync().unwrap();
        let mark = file.mark();
        for changed in ["One\n more", "on", ""] {
            std::fs::write(&path, changed).unwrap();
            let refused = said(RejectsFile::go_on(&path, Some(&mark)));
            assert!(refused.contains("move it away"), "{refused}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), changed);
        }
        std::fs::remove_file(&path).unwrap();
        RejectsFile::go_on(&path, Some(&mark)).unwrap();
        std::fs::write(&path, "theirs").unwrap();
        assert!(RejectsFile::go_on(&path, None).is_err(), "the import before had none: it is somebody's");
    }
}
