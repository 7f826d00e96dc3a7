//! Importing image archives into a node's containerd, through its socket.

use crate::command;
use crate::error::{At, Error, Result};
use crate::state;
use std::fs;
use std::path::Path;
use std::process::Command;

use holdfast_image::archive;

/// Imports all archives of a folder that have not been imported under their present modification time.
pub(crate) fn import(socket: &Path, images: &Path, imported: &Path) -> Result<()> {
    let mut archives: Vec<_> = fs::read_dir(images).at(images)?.flatten().map(|entry| entry.path()).collect();
    archives.retain(|path| path.extension().is_some_and(|extension| extension == "tar"));
    archives.sort();
    for path in archives {
        let changed = fs::metadata(&path).and_then(|data| data.modified()).at(&path)?;
        let marker = imported.join(path.file_name().unwrap_or_default());
        if fs::metadata(&marker).and_then(|data| data.modified()).is_ok_and(|at| at >= changed) {
            continue;
        }
        let name = name_of(&path)?;
        let mut ctr = Command::new("ctr");
        ctr.arg("--address").arg(socket).args(["--namespace", "k8s.io", "images", "import"]);
        // Named by its digest too: Kubernetes' manifests pin images so.
        ctr.args(["--digests", "--base-name", archive::base_name(&name)]).arg(&path);
        command::output(&mut ctr)?;
        state::write_file(&marker, "")?;
    }
    Ok(())
}

/// The full name of the image in an archive.
pub(crate) fn name_of(path: &Path) -> Result<String> {
    archive::name_in(path).map_err(|error| Error::Invalid(format!("{error:#}")))
}
