//! What becomes of records that are not stored: the first ones are shown, all are counted, and their lines go to a file if one is wanted.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek as _, SeekFrom, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use bytes::Bytes;
use holdfast_rows::Encoding;
use ring::digest;

use super::progress::{Progress, RejectsMark};

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
    /// That of the input, whose lines these are.
    encoding: Encoding,
    id: (u64, u64),
    bytes: u64,
    digest: digest::Context,
    /// The last line has no end yet.
    is_open: bool,
}

fn is_empty(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && found.len() == 0)
}

/// The same file has the same name from every folder.
fn name(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

impl RejectsFile {
    /// The file that is wished, of an import that goes on from `earlier`, or begins. Where lines of before are not in it, that is said.
    ///
    /// # Errors
    /// When lines of before are in no file, or the file is somebody's.
    pub fn open(
        path: Option<&Path>,
        earlier: Option<&Progress>,
        encoding: Encoding,
    ) -> anyhow::Result<(Option<Self>, Option<String>)> {
        let line = earlier.map_or(0, |earlier| earlier.line);
        let mark = earlier.and_then(|earlier| earlier.rejects.as_ref());
        let Some(path) = path else {
            let said = mark.filter(|mark| mark.bytes > 0).map(|mark| {
                format!(
                    "lines that were rejected up to line {line} are in {}: without --rejects later ones go to no file",
                    mark.path
                )
            });
            return Ok((None, said));
        };
        let unfiled = earlier.map_or(0, |earlier| earlier.unfiled);
        anyhow::ensure!(
            unfiled == 0,
            "{unfiled} records up to line {line} were not stored, and are in no file, because this import was begun without --rejects: leave it out, or begin at the first row by --restart"
        );
        let Some(mark) = mark else { return Ok((Some(Self::create(path, encoding)?), None)) };
        let is_moved = || std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        let said = if mark.path != name(path) {
            format!("lines that were rejected up to line {line} are in {}, and not in {}", mark.path, path.display())
        } else if is_moved() {
            // Whoever has moved it away has what was in it.
            format!(
                "{} is not there any more: lines that were rejected up to line {line} were in it, and it begins anew",
                path.display()
            )
        } else {
            return Ok((Some(Self::go_on(path, mark, encoding)?), None));
        };
        Ok((Some(Self::create(path, encoding)?), Some(said).filter(|_| mark.bytes > 0)))
    }

    /// A new file: one that is there already must be empty, as an import without a bad line, or one that was ended early, leaves it.
    fn create(path: &Path, encoding: Encoding) -> anyhow::Result<Self> {
        let mut options = OpenOptions::new();
        let file = match options.write(true).read(true).create_new(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_empty(path) => {
                options.create_new(false).open(path)
            }
            opened => opened,
        };
        let file =
            file.with_context(|| format!("{}: rejected lines go to a new file, so that none is lost", path.display()))?;
        // The progress names it from now on. Not every folder that takes files can be opened.
        drop(holdfast_files::sync_folder(holdfast_files::parent(path)));
        Self::of(path, file, encoding)
    }

    fn of(path: &Path, file: File, encoding: Encoding) -> anyhow::Result<Self> {
        let found = file.metadata().with_context(|| path.display().to_string())?;
        Ok(Self {
            path: path.to_owned(),
            file: BufWriter::new(file),
            encoding,
            id: (found.dev(), found.ino()),
            bytes: 0,
            digest: digest::Context::new(&digest::SHA256),
            is_open: false,
        })
    }

    /// The file of an import that goes on. What was written behind the mark belongs to records that come again, and is cut off.
    fn go_on(path: &Path, mark: &RejectsMark, encoding: Encoding) -> anyhow::Result<Self> {
        let mut file =
            OpenOptions::new().read(true).write(true).open(path).with_context(|| path.display().to_string())?;
        let found = file.metadata().with_context(|| path.display().to_string())?;
        // An empty one holds nothing of anybody's.
        let is_ours = (found.dev(), found.ino()) == mark.file || found.len() == 0;
        let mut digest = digest::Context::new(&digest::SHA256);
        let (read, last) =
            read_into(&mut digest, (&mut file).take(mark.bytes)).with_context(|| path.display().to_string())?;
        anyhow::ensure!(
            read == mark.bytes && hex(&digest) == mark.digest && is_ours,
            "{} was changed since the import stopped: move it away, and the lines that are rejected from here on go to a new one",
            path.display()
        );
        file.set_len(mark.bytes)
            .and_then(|()| file.seek(SeekFrom::Start(mark.bytes)))
            .with_context(|| path.display().to_string())?;
        let opened = Self::of(path, file, encoding)?;
        let is_open = !last.is_empty() && !encoding.ends_line(&last);
        Ok(Self { bytes: read, digest, is_open, ..opened })
    }

    /// Adds a record, or a further piece of the one before it.
    pub fn add(&mut self, raw: &[u8], is_piece: bool) -> anyhow::Result<()> {
        // The last line of an input may have no end, and is not the last one here.
        if self.is_open && !is_piece && !raw.is_empty() {
            let end = self.encoding.line_end();
            let unit_bytes = u64::try_from(end.len()).unwrap_or(1);
            if !self.bytes.is_multiple_of(unit_bytes) {
                // Of its last letter a half was there: without another one all that follows would be read as other letters.
                self.write(b"\0")?;
            }
            self.write(end)?;
        }
        self.write(raw)?;
        self.is_open = if raw.is_empty() { self.is_open } else { !self.encoding.ends_line(raw) };
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
        RejectsMark { path: name(&self.path), file: self.id, bytes: self.bytes, digest: hex(&self.digest) }
    }
}

/// Reads everything into a digest; how many bytes that were, and the last two of them.
fn read_into(digest: &mut digest::Context, mut from: impl Read) -> io::Result<(u64, Vec<u8>)> {
    let mut buffer = vec![0; 64 << 10];
    let (mut all, mut last) = (0_u64, Vec::new());
    loop {
        let read = from.read(&mut buffer)?;
        let Some(part) = buffer.get(..read).filter(|part| !part.is_empty()) else { return Ok((all, last)) };
        digest.update(part);
        last.extend_from_slice(part);
        last.drain(..last.len().saturating_sub(2));
        all = all.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
    }
}

fn hex(digest: &digest::Context) -> String {
    digest.clone().finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[path = "rejects_tests.rs"]
mod tests;
