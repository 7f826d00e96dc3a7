//! An OCI archive: the layout of an image as one tar, as `skopeo`, `podman load`, `ctr images import` and `docker load` read it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Read};
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use holdfast_files::{Draft, Readers};
use oci_spec::image::{
    DescriptorBuilder, Digest, ImageIndex, ImageIndexBuilder, MediaType, OciLayoutBuilder, Os, PlatformBuilder,
    SCHEMA_VERSION,
};
use tar::EntryType;

use crate::image::{self, Image};
use crate::layer;

/// Writes the archive, and says how many bytes its blobs have.
pub fn write(path: &Path, image: &Image) -> Result<u64> {
    // Beside its name first: an image that is half written is not there.
    let writing = || format!("cannot write {}", path.display());
    let draft = Draft::of(path, Readers::AsUsual).with_context(writing)?;
    let mut archive = tar::Builder::new(BufWriter::new(draft));
    let layout = OciLayoutBuilder::default().image_layout_version("1.0.0").build()?;
    layer::append(&mut archive, "oci-layout", EntryType::Regular, 0o644, &image::sorted(&layout)?)?;
    layer::append(&mut archive, "index.json", EntryType::Regular, 0o644, &index(image)?)?;
    let mut blobs: Vec<_> = image.blobs().collect();
    blobs.sort_by_key(|blob| &blob.digest);
    for folder in ["blobs/", "blobs/sha256/"] {
        layer::append(&mut archive, folder, EntryType::Directory, 0o755, &[])?;
    }
    for blob in &blobs {
        let path = format!("blobs/{}", blob.digest.replace(':', "/"));
        layer::append(&mut archive, &path, EntryType::Regular, 0o644, &blob.bytes)?;
    }
    let draft =
        archive.into_inner().and_then(|buffer| buffer.into_inner().map_err(std::io::IntoInnerError::into_error));
    draft.and_then(Draft::place).with_context(writing)?;
    Ok(blobs.iter().map(|blob| blob.size()).sum())
}

/// Under this annotation containerd looks for the full name.
const NAME: &str = "io.containerd.image.name";

/// The full name of the image in an archive.
pub fn name_in(path: &Path) -> Result<String> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut archive = tar::Archive::new(file);
    for entry in archive.entries().with_context(|| format!("{} is no archive", path.display()))? {
        let mut entry = entry.with_context(|| format!("{} is no archive", path.display()))?;
        if entry.path()?.as_ref() != Path::new("index.json") {
            continue;
        }
        let mut text = String::new();
        entry.read_to_string(&mut text)?;
        let index: ImageIndex =
            serde_json::from_str(&text).with_context(|| format!("index.json in {}", path.display()))?;
        let named = index.manifests().iter().find_map(|manifest| manifest.annotations().as_ref()?.get(NAME));
        return named
            .cloned()
            .with_context(|| format!("the index of {} names no image: give it the annotation {NAME}", path.display()));
    }
    bail!("{} is no OCI archive: it has no index.json", path.display())
}

/// A name without its tag: what a digest is appended to.
#[must_use]
pub fn base_name(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((base, tag)) if !tag.contains('/') => base,
        _ => name,
    }
}

fn index(image: &Image) -> Result<Vec<u8>> {
    let (_, tag) = image.name.rsplit_once(':').unwrap_or(("", "latest"));
    let named: HashMap<_, _> =
        [("org.opencontainers.image.ref.name".to_owned(), tag.to_owned()), (NAME.to_owned(), image.name.clone())]
            .into();
    let manifest = DescriptorBuilder::default()
        .media_type(MediaType::ImageManifest)
        .digest(Digest::from_str(image.digest())?)
        .size(image.manifest().size())
        .platform(PlatformBuilder::default().architecture(image::architecture()).os(Os::Linux).build()?)
        .annotations(named)
        .build()?;
    let index = ImageIndexBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageIndex)
        .manifests([manifest])
        .build()?;
    image::sorted(&index)
}

#[cfg(test)]
mod tests {
    use crate::{File, Recipe};

    use super::*;

    #[test]
    fn the_same_files_make_the_same_archive_and_its_name_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let pack = |name: &str| {
            let files = vec![File { path: "/program", bytes: b"#!", executable: true }];
            let recipe = Recipe {
                name: "holdfast.test/a:1",
                entrypoint: "/program",
                layers: vec![("all of it", files)],
                ..Recipe::default()
            };
            let path = folder.path().join(name);
            write(&path, &Image::build(&recipe).unwrap()).unwrap();
            path
        };
        let (first, second) = (pack("1.tar"), pack("2.tar"));
        assert_eq!(std::fs::read(&first).unwrap(), std::fs::read(second).unwrap());
        assert_eq!(name_in(&first).unwrap(), "holdfast.test/a:1");
        let other = folder.path().join("other");
        std::fs::write(&other, "#!").unwrap();
        assert!(name_in(&other).is_err());
    }

    #[test]
    fn a_tag_is_told_from_a_port() {
        assert_eq!(base_name("holdfast.test/a:1"), "holdfast.test/a");
        assert_eq!(base_name("holdfast.test:80/a"), "holdfast.test:80/a");
    }
}
