//! How far an import got, kept in a file, so that it goes on there when it was broken off.
//!
//! - It is bound to the target (fleet and keyspace), and to every option that changes what is stored: the name of the file has a digest of
//!   them, so that imports of one input into two targets know nothing of each other.
//! - It is bound to what was read: the digest of every record up to there. An input that has changed before that place is loaded from its first
//!   record; one that has changed or grown behind it goes on.
//! - The file is created as a new one, beside the input or, where that cannot be, in the user's folder for state. What has its name already is
//!   replaced only if it was written by an import.
//! - One import at a time keeps it: it is locked, and whoever begins the same one meanwhile is refused. Killed, an import leaves it, and at most one
//!   draft with a name of its own, which the next one takes away.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use holdfast_files::{DRAFT_ENDING, Held};
use holdfast_output::visible;
use holdfast_types::limits;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

/// The version of the file.
const VERSION: u32 = 2;
/// Digits of a digest in the name of a file.
const NAME_DIGITS: usize = 12;
/// What is between the name of the input and those digits.
const ENDING: &str = "holdfast-import";

/// What an import is bound to.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Binding {
    /// The fleet, by its id.
    pub fleet: String,
    /// The keyspace, by its number.
    pub keyspace: u32,
    /// All that decides what is stored, by name.
    pub options: BTreeMap<String, String>,
}

/// How far it got.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Progress {
    /// The version of this file; that it has this name marks the file as ours.
    pub holdfast_import: u32,
    /// The input, for people.
    pub file: String,
    /// What all of this holds for.
    pub binding: Binding,
    /// Fleet time at which it began, in milliseconds: expiries in seconds count from there.
    pub began_ms: u64,
    /// Records up to here are stored, or were rejected, or left out.
    pub records: u64,
    /// The line of the last of them.
    pub line: u64,
    /// The digest of all of them.
    pub digest: String,
    /// Rows that were stored.
    pub stored: u64,
    /// Records that were rejected.
    pub rejected: u64,
    /// Rows that were left out for an earlier one of the same key.
    pub left_out: u64,
    /// Of the records that were rejected or left out, those that went to no file.
    #[serde(default)]
    pub unfiled: u64,
    /// The file of rejected lines: how many bytes it had, and their digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejects: Option<RejectsMark>,
}

/// A file of rejected lines at some point.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct RejectsMark {
    /// Its path, from the root.
    pub path: String,
    /// Which file it is for the system: device and number.
    #[serde(default)]
    pub file: (u64, u64),
    /// Bytes up to there.
    pub bytes: u64,
    /// Their digest.
    pub digest: String,
}

impl Progress {
    /// That of an import that begins.
    pub fn begin(file: String, binding: Binding, began_ms: u64, digest: String) -> Self {
        Self {
            holdfast_import: VERSION,
            file,
            binding,
            began_ms,
            records: 0,
            line: 0,
            digest,
            stored: 0,
            rejected: 0,
            left_out: 0,
            unfiled: 0,
            rejects: None,
        }
    }

    /// Reads one; `None`: these bytes are somebody else's.
    fn decode(bytes: &[u8]) -> Option<Result<Self, String>> {
        #[derive(Deserialize)]
        struct Mark {
            holdfast_import: u32,
        }
        let Ok(Mark { holdfast_import: version }) = serde_json::from_slice(bytes) else { return None };
        if version != VERSION {
            return Some(Err(format!("it has version {version}, this program knows {VERSION}")));
        }
        Some(serde_json::from_slice(bytes).map_err(|error| format!("it is damaged: {error}")))
    }
}

/// Where the progress of an import may be kept, in this order: beside the input, in the user's folder for state.
pub fn places(input: &Path, variable: impl Fn(&str) -> Option<String>) -> Vec<Place> {
    let Some(name) = input.file_name() else { return Vec::new() };
    let mut stem = name.to_owned();
    stem.push(".");
    stem.push(ENDING);
    let mut places = vec![Place { folder: holdfast_files::parent(input).to_owned(), stem: stem.into() }];
    // The specification of XDG asks to ignore folders that are not absolute.
    let folder = variable("XDG_STATE_HOME").map(PathBuf::from).filter(|folder| folder.is_absolute());
    let folder = folder.or_else(|| {
        let home = variable("HOME").map(PathBuf::from).filter(|home| home.is_absolute())?;
        Some(home.join(".local").join("state"))
    });
    if let Some(folder) = folder {
        // Inputs of the same name lie in many folders.
        let whole = fs::canonicalize(input).unwrap_or_else(|_| input.to_owned());
        let digits = digits(whole.as_os_str().as_bytes());
        let stem = PathBuf::from(format!("{digits}.{ENDING}"));
        places.push(Place { folder: folder.join("holdfast").join("imports"), stem });
    }
    places
}

fn digits(bytes: &[u8]) -> String {
    let digest = digest(&SHA256, bytes);
    digest
        .as_ref()
        .iter()
        .flat_map(|byte| format!("{byte:02x}").into_bytes())
        .map(char::from)
        .take(NAME_DIGITS)
        .collect()
}

/// A folder, and what the names of files in it begin with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    folder: PathBuf,
    stem: PathBuf,
}

impl Place {
    fn path(&self, binding: &Binding) -> PathBuf {
        let whole = serde_json::to_vec(binding).unwrap_or_default();
        let mut name = self.stem.clone().into_os_string();
        name.push("-");
        name.push(digits(&whole));
        self.folder.join(name)
    }

    /// Progress of the same input with another binding.
    fn others(&self, own: &Path) -> Vec<(PathBuf, Progress)> {
        let Ok(entries) = fs::read_dir(&self.folder) else { return Vec::new() };
        let mut begin = self.stem.as_os_str().as_bytes().to_vec();
        begin.push(b'-');
        let paths = entries.flatten().filter(|entry| entry.file_name().as_bytes().starts_with(&begin));
        let paths = paths.map(|entry| entry.path()).filter(|path| path != own);
        let paths = paths.filter(|path| !path.as_os_str().as_bytes().ends_with(DRAFT_ENDING.as_bytes()));
        let others = paths.filter_map(|path| {
            let bytes = holdfast_files::read(&path, limits::IMPORT_PROGRESS_BYTES).ok()??;
            Some((path, Progress::decode(&bytes)?.ok()?))
        });
        let mut others: Vec<_> = others.filter(|(_, progress)| progress.records > 0).collect();
        others.sort_by(|(left, _), (right, _)| left.cmp(right));
        others.truncate(limits::IMPORT_OTHERS_SHOWN);
        others
    }
}

/// Keeps the progress of one import.
#[derive(Debug)]
pub struct Keeper {
    held: Option<Held>,
    /// What was to be kept last is not.
    has_failed: bool,
    /// Why it is not kept where it would be, or not at all.
    pub remarks: Vec<String>,
}

/// What was found where the progress of an import is kept.
#[derive(Debug)]
pub struct Found {
    /// Keeps it from now on.
    pub keeper: Keeper,
    /// Where the same import stopped before.
    pub progress: Option<Progress>,
}

/// Looks for the progress of an import with this binding, and makes sure that it can be kept: where there is none, `first` is written to a new file.
///
/// # Errors
/// When there is one that cannot be read, unless it is not to be (`restart`), and when another import keeps it just now.
pub fn find(places: &[Place], first: &Progress, restart: bool) -> Result<Found, String> {
    let mut remarks = Vec::new();
    for place in places {
        let path = place.path(&first.binding);
        let (found, held) = look_held(&path)?;
        match found {
            Look::Ours(progress) if progress.binding == first.binding => {
                let progress = Some(*progress).filter(|_| !restart);
                return Ok(Found { keeper: Keeper { held, has_failed: false, remarks }, progress });
            }
            Look::Ours(_) | Look::Damaged(_) if restart => {
                return Ok(Found { keeper: Keeper { held, has_failed: false, remarks }, progress: None });
            }
            Look::Ours(_) => {
                return Err(format!("{}: it is of another import: remove it or pass --restart", path.display()));
            }
            Look::Damaged(why) => return Err(format!("{}: {why}: remove it or pass --restart", path.display())),
            Look::Theirs => {
                remarks.push(format!("{} was written by something else, and is left alone", path.display()))
            }
            Look::Nothing => {}
            Look::Unreadable(error) => remarks.push(format!("{}: {error}", path.display())),
        }
    }
    for place in places {
        let path = place.path(&first.binding);
        match create(&path, first) {
            Ok(held) => {
                remarks.extend(place.others(&path).iter().map(|(path, other)| told(path, other, &first.binding)));
                return Ok(Found { keeper: Keeper { held: Some(held), has_failed: false, remarks }, progress: None });
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(in_use(&path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => remarks.push(format!("the progress cannot be kept in {}: {error}", path.display())),
        }
    }
    if !places.is_empty() {
        remarks.push("the progress is kept nowhere: broken off, this import begins anew the next time".to_owned());
    }
    Ok(Found { keeper: Keeper { remarks, ..Keeper::none() }, progress: None })
}

fn in_use(path: &Path) -> String {
    format!("{}: the same import is running in another process: wait until it has ended", path.display())
}

/// Why what another import came to is of no use to this one.
fn told(path: &Path, other: &Progress, own: &Binding) -> String {
    let theirs = &other.binding;
    let mut differ = Vec::new();
    if theirs.fleet != own.fleet {
        differ.push(format!("fleet {}", theirs.fleet));
    }
    if theirs.keyspace != own.keyspace {
        differ.push(format!("keyspace number {}", theirs.keyspace));
    }
    let names: std::collections::BTreeSet<_> = theirs.options.keys().chain(own.options.keys()).collect();
    for name in names {
        let (their, own) = (theirs.options.get(name), own.options.get(name));
        if their != own {
            differ.push(match their {
                Some(their) => format!("{name} {their:?}"),
                None => format!("no {name}"),
            });
        }
    }
    format!(
        "an import of this file stopped after line {}, with {}: its progress ({}) is not that of this import, which begins at the first row",
        other.line,
        differ.iter().map(|part| visible(part).into_owned()).collect::<Vec<_>>().join(", "),
        path.display()
    )
}

enum Look {
    Nothing,
    Ours(Box<Progress>),
    Damaged(String),
    Theirs,
    Unreadable(io::Error),
}

fn look(path: &Path) -> Look {
    match holdfast_files::read(path, limits::IMPORT_PROGRESS_BYTES) {
        Ok(None) => Look::Nothing,
        Ok(Some(bytes)) => match Progress::decode(&bytes) {
            None => Look::Theirs,
            Some(Ok(progress)) => Look::Ours(Box::new(progress)),
            Some(Err(why)) => Look::Damaged(why),
        },
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Look::Theirs,
        Err(error) => Look::Unreadable(error),
    }
}

/// What is there, and held where it is ours. Whoever holds it writes it, so it is looked at once it is held.
fn look_held(path: &Path) -> Result<(Look, Option<Held>), String> {
    let found = look(path);
    if !matches!(found, Look::Ours(_) | Look::Damaged(_)) {
        return Ok((found, None));
    }
    match Held::take(path) {
        Ok(held) => Ok((look(path), Some(held))),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(in_use(path)),
        // That import has ended just now.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((Look::Nothing, None)),
        Err(error) => Ok((Look::Unreadable(error), None)),
    }
}

fn create(path: &Path, first: &Progress) -> io::Result<Held> {
    let folder = holdfast_files::parent(path);
    if !folder.exists() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    Held::create(path, &serde_json::to_vec(first)?)
}

impl Keeper {
    /// One that keeps nothing.
    pub fn none() -> Self {
        Self { held: None, has_failed: false, remarks: Vec::new() }
    }

    /// The file; `None`: it keeps nothing.
    #[cfg(test)]
    pub fn path(&self) -> Option<&Path> {
        self.held.as_ref().map(Held::path)
    }

    /// True when what was to be kept last is: whoever comes next goes on there.
    pub fn is_kept(&self) -> bool {
        self.held.is_some() && !self.has_failed
    }

    /// Keeps it. What cannot be kept ends no import: it is said once, and the next ones are tried all the same.
    pub fn keep(&mut self, progress: &Progress) {
        let Some(held) = &mut self.held else { return };
        let kept = serde_json::to_vec(progress).map_err(io::Error::from).and_then(|bytes| held.replace(&bytes));
        self.has_failed = kept.is_err();
        if let Err(error) = kept
            && self.remarks.is_empty()
        {
            self.remarks.push(format!("the progress cannot be kept in {}: {error}", held.path().display()));
        }
    }

    /// Removes the file of an import that is over.
    pub fn end(self) -> io::Result<()> {
        self.held.map_or(Ok(()), Held::remove)
    }
}

#[cfg(test)]
#[path = "progress_tests.rs"]
mod tests;
