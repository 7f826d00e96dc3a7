//! The file of an export, until it is whole.
//!
//! ```text
//! FILE                        what was there before, untouched until all is read
//! FILE.holdfast-export        the place: what is exported, and how far it came
//! FILE.holdfast-export.part   what is written so far
//! ```
//!
//! The part is made where there is none, its first record is written, and then the place is kept. From then on a part that does not begin with what the
//! place says is somebody else's, and is left alone; so is a part without a place, and a file in the place of the place that no export wrote. Of an
//! export that is killed before it kept its place a part remains that it takes a human to remove.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use holdfast_rows::Format;
use holdfast_rows::export_file::{End, Head, TextDigest, Writer};
use holdfast_rows::write::{Compression, Packer, unpacked};
use holdfast_types::limits;

use super::place::{Place, Recipe};

/// What is read and written at a time.
const CHUNK_BYTES: usize = 256 << 10;

/// The writer of a file's rows.
pub type FileWriter = Writer<BufWriter<Packer<File>>>;

/// The names that an export uses.
#[derive(Debug)]
pub struct Names {
    file: PathBuf,
    place: PathBuf,
    part: PathBuf,
}

impl Names {
    /// The names for a file, which is there already or is not: from the root, with links followed, so that they are the same whichever way leads there.
    pub fn of(file: &Path) -> anyhow::Result<Self> {
        let shown = file.display();
        let file = match fs::metadata(file) {
            Ok(found) => {
                ensure!(!found.is_dir(), "{shown} is a folder: name a file in it");
                ensure!(
                    found.is_file(),
                    "{shown} is no regular file, and cannot be replaced: write to it by -o - > {shown}"
                );
                file.canonicalize().with_context(|| format!("looking at {shown}"))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                ensure!(
                    fs::symlink_metadata(file).is_err(),
                    "{shown} is a link that leads nowhere: name the file itself, or make what it leads to"
                );
                whole(file).with_context(|| format!("looking at {shown}"))?
            }
            Err(error) => return Err(error).with_context(|| format!("looking at {shown}")),
        };
        let beside = |ending: &str| {
            let mut name = file.as_os_str().to_owned();
            name.push(ending);
            PathBuf::from(name)
        };
        Ok(Self { place: beside(".holdfast-export"), part: beside(".holdfast-export.part"), file })
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.file
    }
}

/// The path of a file that is not there yet. Where its folder is missing too, that shows when it is made.
fn whole(file: &Path) -> io::Result<PathBuf> {
    match (holdfast_files::parent(file).canonicalize(), file.file_name()) {
        (Ok(folder), Some(name)) => Ok(folder.join(name)),
        _ => std::path::absolute(file),
    }
}

/// A file that is being exported.
pub struct Target {
    names: Names,
    recipe: Recipe,
    /// The same file as the writer's, for its lock and to sync it.
    part: File,
}

/// What was begun, and where it stands.
pub struct Begun {
    /// The file.
    pub target: Target,
    /// Its writer, behind the rows that it has.
    pub writer: FileWriter,
    /// Where to go on reading.
    pub place: Place,
}

/// What is written, and how.
struct Manner<'a> {
    format: Format,
    compression: Compression,
    head: &'a Head,
}

impl Target {
    /// Begins the file, or goes on where an earlier export of the same rows stopped.
    pub fn begin(
        names: Names,
        recipe: Recipe,
        (format, compression): (Format, Compression),
        head: &Head,
        restart: bool,
    ) -> anyhow::Result<Begun> {
        let manner = Manner { format, compression, head };
        let turn = Turn::in_folder_of(&names);
        let kept = kept(&names)?;
        let Some(part) = open_part(&names)? else {
            return Self::make(names, recipe, &manner);
        };
        lock(&part, &names)?;
        // From here on no other export touches it.
        drop(turn);
        let shown = names.part.display();
        let Some(place) = kept else {
            bail!(
                "{shown} is there already, and nothing beside it says that an export made it: move it away if it is yours, or remove it if an export was ended in its first moment, since rows are collected under that name"
            );
        };
        if let Some(difference) = place.recipe.difference(&recipe).filter(|_| !restart) {
            let kept = names.place.display();
            bail!(
                "{kept} belongs to an export of {difference} that was not finished: finish that one, or begin anew with --restart"
            );
        }
        let digest = what_was_written(&part, compression, &place).with_context(|| format!("reading {shown}"))?;
        let Some(digest) = digest else {
            bail!(
                "{shown} is not what an export wrote there: move it away if it is yours, or remove it, and run the export again, which begins anew then"
            );
        };
        let target = Self { names, recipe, part };
        if restart || place.part_bytes == 0 {
            return target.begin_anew(&manner);
        }
        target.go_on(&manner, place, digest)
    }

    /// Begins a file whose part is not there. Without a turn another export may be as far.
    fn make(names: Names, recipe: Recipe, manner: &Manner<'_>) -> anyhow::Result<Begun> {
        let shown = names.part.display();
        let part = match OpenOptions::new().read(true).write(true).create_new(true).open(&names.part) {
            Ok(part) => part,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                bail!("another export is beginning to write {} now", names.file.display())
            }
            Err(error) => return Err(error).with_context(|| format!("making {shown}")),
        };
        lock(&part, &names)?;
        let made = names.part.clone();
        let begun = Self { names, recipe, part }.begin_anew(manner);
        if begun.is_err() {
            // Nobody could tell later that it is an export's. What went wrong is said in any case.
            let _ = fs::remove_file(made);
        }
        begun
    }

    /// Writes the beginning, and keeps the place behind it: by its beginning a part is known as the export's.
    fn begin_anew(mut self, manner: &Manner<'_>) -> anyhow::Result<Begun> {
        let shown = self.names.part.display();
        self.part.set_len(0).with_context(|| format!("emptying {shown}"))?;
        self.part.rewind().with_context(|| format!("emptying {shown}"))?;
        // What nobody else could read is not read by everybody because it was written anew.
        if let Ok(replaced) = fs::metadata(&self.names.file) {
            self.part.set_permissions(replaced.permissions()).with_context(|| format!("narrowing {shown}"))?;
        }
        let out = written_to(&self.part, manner.compression)?;
        let writer = Writer::new(out, manner.format, manner.head).with_context(|| format!("writing {shown}"));
        let mut writer = writer?;
        let place = Place::before_all(self.recipe.clone());
        let place = self.keep(&mut writer, place)?;
        Ok(Begun { target: self, writer, place })
    }

    /// Goes on behind the rows that the part is known to have.
    fn go_on(mut self, manner: &Manner<'_>, place: Place, digest: TextDigest) -> anyhow::Result<Begun> {
        let shown = self.names.part.display();
        self.part.set_len(place.part_bytes).with_context(|| format!("cutting {shown}"))?;
        self.part.seek(SeekFrom::End(0)).with_context(|| format!("writing {shown}"))?;
        let out = written_to(&self.part, manner.compression)?;
        let writer = Writer::go_on(out, manner.format, digest, place.rows);
        Ok(Begun { target: self, writer, place })
    }

    /// Makes what was written durable, and keeps the place behind it.
    pub fn keep(&mut self, writer: &mut FileWriter, place: Place) -> anyhow::Result<Place> {
        let shown = self.names.part.display();
        let written =
            settle(writer.out()).and_then(|()| self.part.sync_data()).and_then(|()| self.part.stream_position());
        let part_bytes = written.with_context(|| format!("writing {shown}"))?;
        let place = place.written(writer.rows(), part_bytes, writer.digest().hex());
        let kept = holdfast_files::replace(&self.names.place, &place.encode()?);
        kept.with_context(|| format!("keeping the place in {}", self.names.place.display()))?;
        Ok(place)
    }

    /// What is exported.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// Ends the export: the file is replaced. Returns its end and its bytes.
    pub fn finish(self, writer: FileWriter, end: End) -> anyhow::Result<(End, u64)> {
        let writing = || format!("writing {}", self.names.part.display());
        let (mut out, end) = writer.finish(end).with_context(writing)?;
        settle(&mut out).with_context(writing)?;
        self.part.sync_all().with_context(writing)?;
        let bytes = self.part.metadata().with_context(writing)?.len();
        let (file, folder) = (&self.names.file, holdfast_files::parent(&self.names.file));
        // Whoever begins between the two would have his place removed.
        let _turn = Turn::in_folder_of(&self.names);
        fs::rename(&self.names.part, file).with_context(|| format!("replacing {}", file.display()))?;
        holdfast_files::sync_folder(folder).with_context(|| format!("syncing {}", folder.display()))?;
        fs::remove_file(&self.names.place).with_context(|| format!("removing {}", self.names.place.display()))?;
        Ok((end, bytes))
    }
}

/// A turn to begin or to end: whoever has it finds no export in the same folder that has made a part and not locked it yet, or has put its file in its
/// place and not removed the rest.
struct Turn {
    /// Locked until it is dropped.
    _folder: File,
}

impl Turn {
    /// Waits for it. `None`: the folder cannot be locked, as those of some file systems. Then exports that begin in one moment still never write the same
    /// file, since only one can make the part.
    fn in_folder_of(names: &Names) -> Option<Self> {
        let folder = File::open(holdfast_files::parent(&names.file)).ok()?;
        folder.lock().ok()?;
        Some(Self { _folder: folder })
    }
}

/// What an earlier export kept; `None`: there is none.
fn kept(names: &Names) -> anyhow::Result<Option<Place>> {
    let (shown, part) = (names.place.display(), names.part.display());
    let bytes = holdfast_files::read(&names.place, limits::CONFIG_FILE_BYTES);
    let Some(bytes) = bytes.with_context(|| format!("reading {shown}"))? else { return Ok(None) };
    ensure!(
        !bytes.is_empty(),
        "{shown} is empty, so no export can go on by it: remove it, and {part} if an export wrote it, and run the export again"
    );
    let place = Place::decode(&bytes);
    place.map(Some).with_context(|| format!("{shown} is in the way: remove it, and {part} if an export wrote it"))
}

/// The digest of what is known to be written to a part; `None`: something else is in it.
fn what_was_written(part: &File, compression: Compression, place: &Place) -> io::Result<Option<TextDigest>> {
    if place.part_bytes == 0 && part.metadata()?.len() > 0 {
        return Ok(None);
    }
    let digest = text_of(part, compression, place.part_bytes)?;
    Ok(digest.filter(|digest| digest.hex() == place.sha256))
}

fn open_part(names: &Names) -> anyhow::Result<Option<File>> {
    match OpenOptions::new().read(true).write(true).open(&names.part) {
        Ok(part) => Ok(Some(part)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("opening {}", names.part.display())),
    }
}

fn lock(part: &File, names: &Names) -> anyhow::Result<()> {
    match part.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => bail!("another export is writing {} now", names.file.display()),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("locking {}", names.part.display())),
    }
}

fn written_to(part: &File, compression: Compression) -> anyhow::Result<BufWriter<Packer<File>>> {
    let part = part.try_clone().context("using a file twice")?;
    Ok(BufWriter::with_capacity(CHUNK_BYTES, Packer::new(part, compression)))
}

/// Hands everything on, so that it can be unpacked.
fn settle(out: &mut BufWriter<Packer<File>>) -> io::Result<()> {
    out.flush()?;
    out.get_mut().cut().map(|_| ())
}

/// The digest of the first bytes of a part, unpacked; `None`: it does not have so many, or they cannot be unpacked.
fn text_of(mut part: &File, compression: Compression, bytes: u64) -> io::Result<Option<TextDigest>> {
    if part.metadata()?.len() < bytes {
        return Ok(None);
    }
    let mut digest = TextDigest::default();
    if bytes == 0 {
        return Ok(Some(digest));
    }
    part.seek(SeekFrom::Start(0))?;
    let mut text = unpacked(BufReader::with_capacity(CHUNK_BYTES, part.take(bytes)), compression)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match text.read(&mut chunk) {
            Ok(0) => return Ok(Some(digest)),
            Ok(read) => digest.update(chunk.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // What cannot be unpacked was not written so.
            Err(_) => return Ok(None),
        }
    }
}
