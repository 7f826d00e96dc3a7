//! An OCI archive: the layout of an image as one tar, as `skopeo`, `podman load`, `ctr images import` and `docker load` read it.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result};
use oci_spec::image::{
    DescriptorBuilder, Digest, ImageIndexBuilder, MediaType, OciLayoutBuilder, Os, PlatformBuilder, SCHEMA_VERSION,
};
use tar::EntryType;

use crate::image::{self, Image};
use crate::layer;

/// Writes the archive, and says how many bytes its blobs have.
pub fn write(path: &Path, image: &Image) -> Result<u64> {
    // Beside its name first: an image that is half written is not there.
    let beside = path.with_extension("tar.new");
    let file = File::create(&beside).with_context(|| format!("cannot write {}", beside.display()))?;
    let mut archive = tar::Builder::new(BufWriter::new(file));
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
    let file = archive.into_inner().and_then(|buffer| buffer.into_inner().map_err(std::io::IntoInnerError::into_error));
    file.and_then(|file| file.sync_all()).with_context(|| format!("cannot write {}", beside.display()))?;
    std::fs::rename(&beside, path).with_context(|| format!("cannot rename to {}", path.display()))?;
    Ok(blobs.iter().map(|blob| blob.len()).sum())
}

fn index(image: &Image) -> Result<Vec<u8>> {
    let (_, tag) = image.name.rsplit_once(':').unwrap_or(("", "latest"));
    let named: HashMap<_, _> = [
        ("org.opencontainers.image.ref.name".to_owned(), tag.to_owned()),
        ("io.containerd.image.name".to_owned(), image.name.clone()),
    ]
    .into();
    let manifest = DescriptorBuilder::default()
        .media_type(MediaType::ImageManifest)
        .digest(Digest::from_str(image.digest())?)
        .size(image.manifest().len())
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
