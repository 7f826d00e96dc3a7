//! The Kubernetes programs: built once from pinned Go modules, kept in a folder of the user's cache named by what they are built from.

mod build;
mod modules;

use crate::error::{At, Error, Result};
use build::Builder;
use holdfast_image::{Image, Recipe, archive};
use modules::{CERTIFICATE_KINDS, modules_for};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The image that holds a pod's namespaces.
pub(crate) const PAUSE: &str = "holdfast.test/pause:1";

/// What an instance may have beyond Kubernetes, each with programs of its own that are built only for those who ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Extra {
    /// cert-manager's controllers for CA and self-signed issuers, and its kinds of objects.
    CertManager,
}

/// All programs, built.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Tools {
    /// The file of each program.
    programs: BTreeMap<String, PathBuf>,
}

impl Tools {
    /// Finds the programs of Kubernetes and of some extras in the cache and builds those that are missing, which takes about 20 minutes of two
    /// cores the first time. Progress goes to the error output. A build that was interrupted goes on where it stopped.
    pub fn build(extras: &[Extra]) -> Result<Tools> {
        let cache = cache_folder()?;
        fs::create_dir_all(&cache).at(&cache)?;
        let builder = Builder::new()?;
        let mut programs = BTreeMap::new();
        for module in modules_for(extras) {
            let folder = cache.join(format!("{}-{}", module.name, builder.fingerprint(module)));
            build_once(module.name, &folder, || builder.build(module, &folder))?;
            programs.extend(module.programs.iter().map(|name| ((*name).to_owned(), folder.join(name))));
        }
        Ok(Tools { programs })
    }

    /// Whether the programs of Kubernetes and of some extras are in the cache, so that nothing is left to build.
    pub fn are_built(extras: &[Extra]) -> bool {
        let (Ok(cache), Ok(builder)) = (cache_folder(), Builder::new()) else { return false };
        modules_for(extras)
            .all(|module| cache.join(format!("{}-{}", module.name, builder.fingerprint(module))).exists())
    }

    /// The file of a program.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.programs.get(name).cloned().unwrap_or_else(|| PathBuf::from(name))
    }

    /// A folder with kubectl and nothing else, for a PATH.
    pub(crate) fn client_folder(&self) -> PathBuf {
        let kubectl = self.program("kubectl");
        kubectl.parent().expect("a program lies in a folder").join("client")
    }

    /// The folder with the definitions of cert-manager's kinds.
    pub(crate) fn certificate_kinds(&self) -> PathBuf {
        self.program("cert-manager").with_file_name(CERTIFICATE_KINDS)
    }

    /// Writes the archive of the image that holds each pod's namespaces.
    pub(crate) fn write_pause_image(&self, path: &Path) -> Result<()> {
        let program = self.program("pause");
        let bytes = fs::read(&program).at(&program)?;
        let files = vec![holdfast_image::File { path: "/pause", bytes: &bytes, executable: true }];
        let layers = vec![("the program that holds a pod's namespaces", files)];
        let recipe = Recipe { name: PAUSE, entrypoint: "/pause", layers, ..Recipe::default() };
        let written = Image::build(&recipe).and_then(|image| archive::write(path, &image));
        written.map(drop).map_err(|error| Error::Invalid(format!("{error:#}")))
    }
}

/// Makes the folder of a module with `build`, unless it is there. One process at a time builds a module, and nobody waits who does not need it: those
/// who want Kubernetes alone go on while cert-manager is built.
fn build_once(name: &str, folder: &Path, build: impl FnOnce() -> Result<()>) -> Result<()> {
    if folder.exists() {
        return Ok(());
    }
    let lock_path = folder.with_file_name(format!("{name}.lock"));
    let lock = File::create(&lock_path).at(&lock_path)?;
    if lock.try_lock().is_err() {
        eprintln!("another process builds {name}: waiting for it");
        lock.lock().at(&lock_path)?;
    }
    // It may have been built in the meantime.
    if folder.exists() { Ok(()) } else { build() }
}

/// Where built programs are kept, outside of any checkout.
fn cache_folder() -> Result<PathBuf> {
    let from = |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = from("XDG_CACHE_HOME").or_else(|| from("HOME").map(|home| home.join(".cache")));
    let cache =
        cache.ok_or_else(|| Error::Invalid("set HOME or XDG_CACHE_HOME: programs are kept there".to_owned()))?;
    Ok(cache.join("holdfast").join("clusters"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    /// Calls `build_once` while another process, as it were, holds a module's lock; `None`: it waits for that.
    fn while_locked(locked: &str, name: &'static str, exists: bool) -> Option<bool> {
        let cache = tempfile::tempdir().unwrap();
        let lock = File::create(cache.path().join(format!("{locked}.lock"))).unwrap();
        lock.lock().unwrap();
        let folder = cache.path().join(format!("{name}-0"));
        if exists {
            fs::create_dir(&folder).unwrap();
        }
        let (sender, receiver) = channel();
        let caller = std::thread::spawn(move || {
            let mut built = false;
            let build = || {
                built = true;
                Ok(())
            };
            build_once(name, &folder, build).unwrap();
            sender.send(built).ok();
        });
        let patience = if locked == name && !exists { Duration::from_millis(300) } else { Duration::from_secs(30) };
        let outcome = receiver.recv_timeout(patience).ok();
        drop(lock);
        caller.join().unwrap();
        outcome
    }

    #[test]
    fn a_build_holds_up_only_those_who_need_it() {
        assert_eq!(while_locked("cert-manager", "kubernetes", false), Some(true));
        assert_eq!(while_locked("kubernetes", "kubernetes", true), Some(false));
        assert_eq!(while_locked("kubernetes", "kubernetes", false), None);
    }
}
