//! The data directory is nobody's business but the store's: it holds all keys and values as they are.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::Mode;

/// What the owner may do.
const OWNER: u32 = 0o700;
/// What the group may do.
const GROUP: u32 = 0o070;
/// What everybody else may do.
const OTHERS: u32 = 0o007;
/// Whatever is made in such a folder belongs to the folder's group.
const SET_GROUP: u32 = 0o2000;

/// From here on whatever this process creates is its user's alone; so is the data directory, which is created when it is not there.
///
/// One that was there and is wider is narrowed, with one exception: a folder that hands its group on was given to this group on purpose, as
/// Kubernetes does with volumes (`fsGroup`), and the group keeps what it may do. One that belongs to another user cannot be narrowed; that is
/// only logged: what the store creates in it is its own.
pub fn begin(data_dir: &Path) -> io::Result<()> {
    // Of this process: files of the engines, too, are created by it.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    narrow(data_dir)
}

fn narrow(dir: &Path) -> io::Result<()> {
    let found = match std::fs::metadata(dir) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return std::fs::DirBuilder::new().recursive(true).mode(OWNER).create(dir);
        }
        Err(error) => return Err(error),
    };
    let mode = found.mode() & 0o7777;
    let kept = if mode & SET_GROUP == 0 { mode & !(GROUP | OTHERS) } else { mode & !OTHERS };
    if kept == mode || !found.is_dir() {
        return Ok(());
    }
    let (was, dir_shown) = (format!("{mode:04o}"), dir.display());
    if found.uid() != rustix::process::geteuid().as_raw() {
        let owner = found.uid();
        tracing::warn!(
            was,
            owner,
            "others may look into {dir_shown}, which belongs to another user and so cannot be narrowed: give it to the user of this store"
        );
        return Ok(());
    }
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(kept))?;
    tracing::info!(was, now = format!("{kept:04o}"), "others could look into {dir_shown}: it was narrowed");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(dir: &Path) -> u32 {
        std::fs::metadata(dir).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_data_directory_is_its_owners_alone_unless_it_was_given_to_a_group() {
        let dir = tempfile::tempdir().unwrap();
        let new = dir.path().join("a/b");
        narrow(&new).unwrap();
        assert_eq!((mode(&new), mode(new.parent().unwrap())), (0o700, 0o700));
        for (was, now) in [
            (0o755, 0o700),
            (0o777, 0o700),
            (0o750, 0o700),
            (0o700, 0o700),
            (0o2775, 0o2770),
            (0o2770, 0o2770),
            (0o2700, 0o2700),
        ] {
            let old = dir.path().join(format!("{was:o}"));
            std::fs::create_dir(&old).unwrap();
            std::fs::set_permissions(&old, std::fs::Permissions::from_mode(was)).unwrap();
            narrow(&old).unwrap();
            assert_eq!(mode(&old), now, "{was:o}");
        }
    }
}
