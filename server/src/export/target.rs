//! The file of an export, until it is whole.
//!
//! ```text
//! FILE                        what was there before, untouched until all is read
//! FILE.holdfast-export        the place: what is exported, and how far it came
//! FILE.holdfast-export.part   what is written so far
//! ```
//!
//! The place is kept before the part is made. So a part without a place is somebody else's, and is left alone; so is a file in the place of the place
//! that no export wrote.

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
    /// The names for a file, which is there already or is not; a link leads to where it points.
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
                file.to_owned()
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

impl Target {
    /// Begins the file, or goes on where an earlier export of the same rows stopped.
    pub fn begin(
        names: Names,
        recipe: Recipe,
        (format, compression): (Format, Compression),
        head: &Head,
        restart: bool,
    ) -> anyhow::Result<Begun> {
        let kept = kept(&names)?;
        match kept {
            Some(kept) if !restart => Self::go_on(names, recipe, format, compression, kept, head),
            Some(_) => {
                if let Some(part) = open_part(&names)? {
                    // Not under the hands of who writes it.
                    lock(&part, &names)?;
                    fs::remove_file(&names.part).with_context(|| format!("removing {}", names.part.display()))?;
                }
                Self::begin_anew(names, recipe, format, compression, head)
            }
            None => Self::begin_anew(names, recipe, format, compression, head),
        }
    }

    fn begin_anew(
        names: Names,
        recipe: Recipe,
        format: Format,
        compression: Compression,
        head: &Head,
    ) -> anyhow::Result<Begun> {
        let shown = names.part.display();
        ensure!(
            !names.part.exists(),
            "{shown} is there already, and no export made it: move it away, since rows are collected under that name"
        );
        let place = Place::before_all(recipe.clone());
        keep(&names, &place)?;
        let made = OpenOptions::new().read(true).write(true).create_new(true).open(&names.part);
        let part = made.with_context(|| format!("making {shown}"))?;
        lock(&part, &names)?;
        // What nobody else could read is not read by everybody because it was written anew.
        if let Ok(replaced) = fs::metadata(&names.file) {
            part.set_permissions(replaced.permissions()).with_context(|| format!("narrowing {shown}"))?;
        }
        let out = written_to(&part, compression)?;
        let writer = Writer::new(out, format, head).with_context(|| format!("writing {shown}"))?;
        Ok(Begun { target: Self { names, recipe, part }, writer, place })
    }

    fn go_on(
        names: Names,
        recipe: Recipe,
        format: Format,
        compression: Compression,
        place: Place,
        head: &Head,
    ) -> anyhow::Result<Begun> {
        if let Some(difference) = place.recipe.difference(&recipe) {
            let kept = names.place.display();
            bail!(
                "{kept} belongs to an export of {difference} that was not finished: finish that one, or begin anew with --restart"
            );
        }
        let Some(mut part) = open_part(&names)? else {
            return Self::begin_anew(names, recipe, format, compression, head);
        };
        lock(&part, &names)?;
        let shown = names.part.display();
        let digest = text_of(&part, compression, place.part_bytes).with_context(|| format!("reading {shown}"))?;
        let is_same = digest.as_ref().is_some_and(|digest| digest.hex() == place.sha256);
        ensure!(is_same, "{shown} is not what was written there: begin anew with --restart");
        part.set_len(place.part_bytes).with_context(|| format!("cutting {shown}"))?;
        part.seek(SeekFrom::End(0)).with_context(|| format!("writing {shown}"))?;
        let out = written_to(&part, compression)?;
        let writer = match place.part_bytes {
            0 => Writer::new(out, format, head).with_context(|| format!("writing {shown}"))?,
            _ => Writer::go_on(out, format, digest.unwrap_or_default(), place.rows),
        };
        Ok(Begun { target: Self { names, recipe, part }, writer, place })
    }

    /// Makes what was written durable, and keeps the place behind it.
    pub fn keep(&mut self, writer: &mut FileWriter, place: Place) -> anyhow::Result<()> {
        let shown = self.names.part.display();
        let written =
            settle(writer.out()).and_then(|()| self.part.sync_data()).and_then(|()| self.part.stream_position());
        let part_bytes = written.with_context(|| format!("writing {shown}"))?;
        let place = place.written(writer.rows(), part_bytes, writer.digest().hex());
        keep(&self.names, &place)
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
        fs::rename(&self.names.part, file).with_context(|| format!("replacing {}", file.display()))?;
        holdfast_files::sync_folder(folder).with_context(|| format!("syncing {}", folder.display()))?;
        fs::remove_file(&self.names.place).with_context(|| format!("removing {}", self.names.place.display()))?;
        Ok((end, bytes))
    }
}

/// What an earlier export kept; `None`: there is none.
fn kept(names: &Names) -> anyhow::Result<Option<Place>> {
    let shown = names.place.display();
    let bytes = holdfast_files::read(&names.place, limits::CONFIG_FILE_BYTES);
    let Some(bytes) = bytes.with_context(|| format!("reading {shown}"))? else { return Ok(None) };
    let place = Place::decode(&bytes);
    place
        .map(Some)
        .with_context(|| format!("{shown} is in the way: remove it, and {} if it is there", names.part.display()))
}

fn keep(names: &Names, place: &Place) -> anyhow::Result<()> {
    let kept = holdfast_files::replace(&names.place, &place.encode()?);
    kept.with_context(|| format!("keeping the place in {}", names.place.display()))
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
