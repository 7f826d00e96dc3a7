//! OCI image archives of programs of this machine: one layer, no builder, the same bytes from the same files.

use crate::command;
use crate::error::{At, Error, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The image that holds a pod's namespaces.
pub(crate) const PAUSE: &str = "holdfast.test/pause:1";
/// The user of images whose programs need no rights.
const USER: u32 = 65532;
/// Under this annotation containerd looks for the full name.
const NAME: &str = "io.containerd.image.name";

const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";

/// An image that is being put together.
pub struct Image {
    name: String,
    entrypoint: Vec<String>,
    /// By path without the leading slash; sorted, so that folders come before what is in them.
    files: BTreeMap<String, (u32, Vec<u8>)>,
}

impl Image {
    /// An image with its full name and tag, such as `holdfast.test/holdfast:1`.
    pub fn new(name: &str) -> Image {
        let passwd = format!("root:x:0:0::/:/\nuser:x:{USER}:{USER}::/:/\n");
        let group = format!("root:x:0:\nuser:x:{USER}:\n");
        let files = [("etc/passwd", passwd), ("etc/group", group)];
        let files = files.map(|(path, text)| (path.to_owned(), (0o644, text.into_bytes())));
        Image { name: name.to_owned(), entrypoint: Vec::new(), files: files.into() }
    }

    /// Adds a file as it is, executable, at a path without a leading slash.
    pub fn file(mut self, path: &str, source: &Path) -> Result<Image> {
        let bytes = fs::read(source).at(source)?;
        self.files.insert(path.to_owned(), (0o755, bytes));
        Ok(self)
    }

    /// Adds a program of this machine at `/NAME`, with the libraries that it is linked with; the first one is the entrypoint.
    pub fn program(mut self, source: &Path) -> Result<Image> {
        let name = source.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for library in libraries(source)? {
            let path = library.to_string_lossy().trim_start_matches('/').to_owned();
            self = self.file(&path, &library)?;
        }
        if self.entrypoint.is_empty() {
            self.entrypoint = vec![format!("/{name}")];
        }
        self.file(&name, source)
    }

    /// Sets the words that begin the command line.
    pub fn entrypoint(mut self, words: &[&str]) -> Image {
        self.entrypoint = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Writes the archive.
    pub fn write(&self, path: &Path) -> Result<()> {
        let layer = self.layer().at(path)?;
        let config = json_bytes(&json!({
            "architecture": architecture(),
            "os": "linux",
            "config": { "Entrypoint": self.entrypoint, "WorkingDir": "/" },
            "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
        }));
        let manifest = json_bytes(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": descriptor(CONFIG_TYPE, &config),
            "layers": [descriptor(LAYER_TYPE, &layer)],
        }));
        let mut entry = descriptor(MANIFEST_TYPE, &manifest);
        entry["platform"] = json!({ "architecture": architecture(), "os": "linux" });
        entry["annotations"] = json!({ NAME: self.name });
        let index = json_bytes(&json!({ "schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [entry] }));
        let mut archive = Archive::new();
        archive.file("oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#).at(path)?;
        archive.file("index.json", 0o644, &index).at(path)?;
        for blob in [&manifest, &config, &layer] {
            let name = digest(blob).replace(':', "/");
            archive.file(&format!("blobs/{name}"), 0o644, blob).at(path)?;
        }
        fs::write(path, archive.finish().at(path)?).at(path)
    }

    fn layer(&self) -> std::io::Result<Vec<u8>> {
        let mut archive = Archive::new();
        archive.folder("tmp", 0o1777)?;
        let mut folders: Vec<&Path> = self.files.keys().flat_map(|path| Path::new(path).ancestors().skip(1)).collect();
        folders.sort();
        folders.dedup();
        for folder in folders.into_iter().filter(|folder| !folder.as_os_str().is_empty()) {
            archive.folder(&folder.to_string_lossy(), 0o755)?;
        }
        for (path, (mode, bytes)) in &self.files {
            archive.file(path, *mode, bytes)?;
        }
        archive.finish()
    }
}

/// A tar archive without times and owners.
struct Archive(tar::Builder<Vec<u8>>);

impl Archive {
    fn new() -> Archive {
        Archive(tar::Builder::new(Vec::new()))
    }

    fn file(&mut self, path: &str, mode: u32, bytes: &[u8]) -> std::io::Result<()> {
        self.entry(tar::EntryType::Regular, path, mode, bytes)
    }

    fn folder(&mut self, path: &str, mode: u32) -> std::io::Result<()> {
        self.entry(tar::EntryType::Directory, path, mode, &[])
    }

    fn entry(&mut self, kind: tar::EntryType, path: &str, mode: u32, bytes: &[u8]) -> std::io::Result<()> {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(bytes.len() as u64);
        self.0.append_data(&mut header, path, bytes)
    }

    fn finish(self) -> std::io::Result<Vec<u8>> {
        self.0.into_inner()
    }
}

fn json_bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest(bytes), "size": bytes.len() })
}

/// The processor, as Go calls it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The shared libraries of a program, its loader among them; empty for a static one.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let Ok(listed) = command::output(Command::new("ldd").arg(program)) else {
        // ldd fails on static programs, and these need nothing.
        return Ok(Vec::new());
    };
    if let Some(missing) = listed.lines().find(|line| line.contains("not found")) {
        return Err(Error::Invalid(format!("{}: {}", program.display(), missing.trim())));
    }
    // `name => /path (0x...)`, or `/path (0x...)` for the loader.
    let words = listed.lines().flat_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    Ok(words.map(PathBuf::from).collect())
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// The full name of the image in an archive, from its index.
pub(crate) fn name_in_archive(path: &Path) -> Result<String> {
    let file = fs::File::open(path).at(path)?;
    let mut archive = tar::Archive::new(file);
    for entry in archive.entries().at(path)? {
        let mut entry = entry.at(path)?;
        if entry.path().at(path)?.as_ref() != Path::new("index.json") {
            continue;
        }
        let mut text = String::new();
        entry.read_to_string(&mut text).at(path)?;
        let what = format!("index.json in {}", path.display());
        let index: Index = serde_json::from_str(&text).map_err(|source| Error::Json { what, source })?;
        let name = index.manifests.into_iter().find_map(|mut manifest| manifest.annotations.remove(NAME));
        return name.ok_or_else(|| {
            Error::Invalid(format!("{}: its index names no image: give it the annotation {NAME}", path.display()))
        });
    }
    Err(Error::Invalid(format!("{}: no OCI archive: it has no index.json", path.display())))
}

/// A name without its tag: what a digest is appended to.
pub(crate) fn base_name(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((base, tag)) if !tag.contains('/') => base,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_files_make_the_same_archive_and_its_name_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("program");
        fs::write(&source, "#!").unwrap();
        let write = |name: &str| {
            let path = folder.path().join(name);
            let image = Image::new("holdfast.test/a:1").file("usr/bin/program", &source).unwrap();
            image.entrypoint(&["/usr/bin/program"]).write(&path).unwrap();
            path
        };
        let (first, second) = (write("1.tar"), write("2.tar"));
        assert_eq!(fs::read(&first).unwrap(), fs::read(second).unwrap());
        assert_eq!(name_in_archive(&first).unwrap(), "holdfast.test/a:1");
        assert!(name_in_archive(&source).is_err());
    }

    #[test]
    fn a_tag_is_told_from_a_port() {
        assert_eq!(base_name("holdfast.test/a:1"), "holdfast.test/a");
        assert_eq!(base_name("holdfast.test:80/a"), "holdfast.test:80/a");
    }
}
