//! The Kubernetes programs: built once from pinned Go modules, kept in a folder of the user's cache named by what they are built from.

mod build;
mod modules;

use crate::error::{At, Error, Result};
use build::Builder;
use holdfast_image::{Image, Recipe, archive};
use holdfast_output::errln;
use modules::MODULES;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The image that holds a pod's namespaces.
pub(crate) const PAUSE: &str = "holdfast.test/pause:1";

/// All programs, built.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Tools {
    /// The file of each program.
    programs: BTreeMap<String, PathBuf>,
}

impl Tools {
    /// Finds the programs in the cache and builds those that are missing, which takes about 20 minutes of two cores the first time.
    /// Progress goes to the error output. A build that was interrupted goes on where it stopped.
    pub fn build() -> Result<Tools> {
        let cache = cache_folder()?;
        fs::create_dir_all(&cache).at(&cache)?;
        let builder = Builder::new()?;
        // Whoever finds all of it waits for nobody.
        let _lock = if Self::are_built() { None } else { Some(lock(&cache)?) };
        let mut programs = BTreeMap::new();
        for module in &MODULES {
            let folder = cache.join(format!("{}-{}", module.name, builder.fingerprint(module)));
            if !folder.exists() {
                builder.build(module, &folder)?;
            }
            programs.extend(module.programs.iter().map(|name| ((*name).to_owned(), folder.join(name))));
        }
        Ok(Tools { programs })
    }

    /// Whether all programs are in the cache, so that nothing is left to build.
    pub fn are_built() -> bool {
        let (Ok(cache), Ok(builder)) = (cache_folder(), Builder::new()) else { return false };
        MODULES.iter().all(|module| cache.join(format!("{}-{}", module.name, builder.fingerprint(module))).exists())
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

/// The right to build, for as long as it is held.
fn lock(cache: &Path) -> Result<File> {
    let path = cache.join("lock");
    let lock = File::create(&path).at(&path)?;
    if lock.try_lock().is_err() {
        errln!("another process builds the Kubernetes programs: waiting for it");
        lock.lock().at(&path)?;
    }
    Ok(lock)
}

/// Where built programs are kept, outside of any checkout.
fn cache_folder() -> Result<PathBuf> {
    let from = |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = from("XDG_CACHE_HOME").or_else(|| from("HOME").map(|home| home.join(".cache")));
    let cache =
        cache.ok_or_else(|| Error::Invalid("set HOME or XDG_CACHE_HOME: programs are kept there".to_owned()))?;
    Ok(cache.join("holdfast").join("clusters"))
}
