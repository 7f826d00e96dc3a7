//! Folders as others write them: cert-manager and `holdfast ca`, SPIRE, volumes of Kubernetes.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use holdfast_types::limits;

use crate::error::TrustError;
use crate::material::{Digest, Material, digest};
use crate::trust::Refused;

/// Certificate, key, bundle: by whom they are called so.
const NAMES: &[[&str; 3]] = &[
    // Secrets of cert-manager, and `holdfast ca`.
    ["tls.crt", "tls.key", "ca.crt"],
    // spiffe-helper, by the names of its documents.
    ["svid.pem", "svid_key.pem", "bundle.pem"],
    ["svid.pem", "svid_key.pem", "svid_bundle.pem"],
    // `spire-agent api fetch x509 -write`, and `spire-server x509 mint -write`.
    ["svid.0.pem", "svid.0.key", "bundle.0.pem"],
    ["svid.pem", "key.pem", "bundle.pem"],
];
/// Bundles alone, where there is no certificate: by the same names.
const BUNDLES: [&str; 4] = ["ca.crt", "bundle.pem", "svid_bundle.pem", "bundle.0.pem"];
/// Kubernetes writes new files into a new folder, and then turns this link to it: what is read through it once belongs together.
const DATA: &str = "..data";
/// Everybody's permissions on a file.
const EVERYBODY: u32 = 0o007;

/// Where certificate, key and bundle are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    folder: PathBuf,
}

/// The files as they were at one look.
pub(crate) struct Found<'a> {
    place: &'a Place,
    certificate: Vec<u8>,
    key: Vec<u8>,
    bundle: Vec<u8>,
}

impl Place {
    /// A folder; what the files in it are called is found out at each look.
    #[must_use]
    pub fn folder(path: impl Into<PathBuf>) -> Self {
        Self { folder: path.into() }
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// True: there is a bundle of roots, and no certificate beside it. So it is for whoever comes by a bearer token.
    #[must_use]
    pub fn holds_bundle_alone(&self) -> bool {
        let is_there = |name: &str| self.folder.join(name).exists();
        BUNDLES.into_iter().any(is_there)
            && !NAMES.iter().any(|[certificate, key, _]| is_there(certificate) || is_there(key))
    }

    /// The bundle that is there now, whatever else is. One file: what is read of it belongs together, however links are turned meanwhile.
    pub(crate) fn read_bundle(&self) -> Result<Vec<u8>, TrustError> {
        let name = BUNDLES.into_iter().find(|name| self.folder.join(name).exists());
        self.read_file(&self.folder, name.ok_or_else(|| TrustError::NoBundle { folder: self.folder.clone() })?)
    }

    /// Reads what is there now, and judges none of it.
    pub(crate) fn look(&self) -> Result<Found<'_>, Refused> {
        self.read().map_err(|why| Refused { digest: None, why })
    }

    fn read(&self) -> Result<Found<'_>, TrustError> {
        let real = self.real();
        let [certificate, key, bundle] = self.names(&real)?;
        Ok(Found {
            place: self,
            certificate: self.read_file(&real, certificate)?,
            key: read_secret(&real.join(key), &self.folder.join(key))?,
            bundle: self.read_file(&real, bundle)?,
        })
    }

    /// The folder that all files of this look are read from: that which the link leads to now, when the files are reached through it. Somebody
    /// may have put others in their place.
    fn real(&self) -> PathBuf {
        let is_within = |data: &Path, name: &str| {
            fs::canonicalize(self.folder.join(name)).map_or(true, |file| file.parent() == Some(data))
        };
        let data = fs::canonicalize(self.folder.join(DATA)).ok();
        let data = data.filter(|data| NAMES.iter().flatten().all(|name| is_within(data, name)));
        data.unwrap_or_else(|| self.folder.clone())
    }

    fn names(&self, real: &Path) -> Result<&'static [&'static str; 3], TrustError> {
        let has = |name: &str| real.join(name).exists();
        let count = |names: &[&str; 3]| names.iter().filter(|name| has(name)).count();
        // What is missing is named by the attempt to read it. Of equals the first counts, and `max_by_key` returns the last.
        let begun = NAMES.iter().rev().filter(|[certificate, ..]| has(certificate));
        begun.max_by_key(|names| count(names)).ok_or_else(|| TrustError::Empty { folder: self.folder.clone() })
    }

    fn read_file(&self, real: &Path, name: &str) -> Result<Vec<u8>, TrustError> {
        let shown = self.folder.join(name);
        let read = holdfast_files::read(&real.join(name), limits::TRUST_FILE_BYTES);
        let read = read.map_err(|why| TrustError::unreadable(&shown, &why))?;
        read.ok_or_else(|| TrustError::unreadable(&shown, &"there is no such file"))
    }
}

impl Found<'_> {
    pub(crate) fn digest(&self) -> Digest {
        digest([&self.certificate, &self.key, &self.bundle])
    }

    /// Checks that it all fits.
    pub(crate) fn material(&self) -> Result<Material, Refused> {
        let material = Material::from_pem(&self.certificate, &self.key, &self.bundle);
        material.map_err(|why| Refused { digest: Some(self.digest()), why: why.within(&self.place.folder) })
    }
}

/// A key, whose permissions are those of the very file that is read. In errors it is called `shown`.
pub(crate) fn read_secret(path: &Path, shown: &Path) -> Result<Vec<u8>, TrustError> {
    let bad = |why: &dyn std::fmt::Display| TrustError::unreadable(shown, why);
    let file = File::open(path).map_err(|why| bad(&why))?;
    check_readers(&file, shown)?;
    let most = u64::try_from(limits::TRUST_FILE_BYTES).unwrap_or(u64::MAX);
    let mut key = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut key).map_err(|why| bad(&why))?;
    if key.len() > limits::TRUST_FILE_BYTES {
        return Err(bad(&format_args!("it has more than the {most} B that a key can have")));
    }
    Ok(key)
}

/// A key is for its owner, and for the group that Kubernetes gives it to.
fn check_readers(file: &File, shown: &Path) -> Result<(), TrustError> {
    let metadata = file.metadata().map_err(|why| TrustError::unreadable(shown, &why))?;
    let mode = metadata.permissions().mode() & 0o7777;
    if metadata.is_file() && mode & EVERYBODY != 0 {
        return Err(TrustError::OpenToAll { path: shown.to_owned(), mode });
    }
    Ok(())
}
