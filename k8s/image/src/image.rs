//! The image: its layers, its configuration, its manifest.

use anyhow::{Context, Result};
use oci_spec::image::{
    Arch, ConfigBuilder, DescriptorBuilder, Digest, HistoryBuilder, ImageConfigurationBuilder, ImageManifestBuilder,
    MediaType, Os, RootFsBuilder, SCHEMA_VERSION,
};
use std::collections::HashMap;
use std::str::FromStr;

use crate::contents;
use crate::elf::Library;
use crate::layer::{self, Blob, Layer};

/// What the image says of itself.
pub struct Labels {
    /// When, as RFC 3339.
    pub created: String,
    /// Which commit.
    pub revision: Option<String>,
}

/// An image.
pub struct Image {
    /// The name that it has once it is loaded.
    pub name: String,
    manifest: Blob,
    config: Blob,
    layers: Vec<Layer>,
}

impl Image {
    /// Makes an image of the binary, its libraries and the bill of materials.
    pub fn build(name: &str, binary: &[u8], libraries: &[Library], bill: &[u8], labels: &Labels) -> Result<Image> {
        let layers = vec![layer::layer(&contents::base(libraries)?)?, layer::layer(&contents::program(binary, bill))?];
        let config = Blob::new(config(&layers, labels)?);
        let manifest = Blob::new(manifest(&config, &layers)?);
        Ok(Image { name: name.to_owned(), manifest, config, layers })
    }

    /// The digest of the manifest: what a fleet file names.
    pub fn digest(&self) -> &str {
        &self.manifest.digest
    }

    /// The manifest itself.
    pub fn manifest(&self) -> &Blob {
        &self.manifest
    }

    /// Everything that the archive holds, once.
    pub fn blobs(&self) -> impl Iterator<Item = &Blob> {
        let layers = self.layers.iter().map(|layer| &layer.blob);
        [&self.manifest, &self.config].into_iter().chain(layers)
    }

    /// The size of its files.
    pub fn unpacked(&self) -> u64 {
        self.layers.iter().map(|layer| layer.unpacked).sum()
    }
}

/// The processor that this tool, and so the binary beside it, was built for.
pub fn architecture() -> Arch {
    match std::env::consts::ARCH {
        "x86_64" => Arch::Amd64,
        "aarch64" => Arch::ARM64,
        other => Arch::Other(other.to_owned()),
    }
}

fn config(layers: &[Layer], labels: &Labels) -> Result<Vec<u8>> {
    let mut said: HashMap<String, String> = [
        ("org.opencontainers.image.title", "holdfast"),
        ("org.opencontainers.image.description", "An ordered key-value store whose unit of failure is a whole site"),
        ("org.opencontainers.image.version", env!("CARGO_PKG_VERSION")),
        ("org.opencontainers.image.licenses", "Apache-2.0"),
        ("org.opencontainers.image.created", &labels.created),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    if let Some(revision) = &labels.revision {
        said.insert("org.opencontainers.image.revision".to_owned(), revision.clone());
    }
    let run = ConfigBuilder::default()
        .user(format!("{0}:{0}", contents::USER))
        .entrypoint([contents::PROGRAM.to_owned()])
        .working_dir("/")
        .stop_signal("SIGTERM")
        .exposed_ports(["7300/tcp".to_owned(), "7400/tcp".to_owned(), "7401/tcp".to_owned(), "7500/tcp".to_owned()])
        .labels(said)
        .build()?;
    let step = |what: &str| HistoryBuilder::default().created(labels.created.clone()).created_by(what).build();
    let config = ImageConfigurationBuilder::default()
        .created(labels.created.clone())
        .architecture(architecture())
        .os(Os::Linux)
        .config(run)
        .rootfs(
            RootFsBuilder::default()
                .typ("layers")
                .diff_ids(layers.iter().map(|layer| layer.diff_id.clone()).collect::<Vec<_>>())
                .build()?,
        )
        .history([step("the libraries that the program names")?, step("the program and its bill of materials")?])
        .build()?;
    sorted(&config)
}

fn manifest(config: &Blob, layers: &[Layer]) -> Result<Vec<u8>> {
    let describe = |blob: &Blob, kind: MediaType| -> Result<_> {
        Ok(DescriptorBuilder::default()
            .media_type(kind)
            .digest(Digest::from_str(&blob.digest)?)
            .size(blob.len())
            .build()?)
    };
    let layers: Result<Vec<_>> = layers.iter().map(|layer| describe(&layer.blob, MediaType::ImageLayerGzip)).collect();
    let manifest = ImageManifestBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageManifest)
        .config(describe(config, MediaType::ImageConfig)?)
        .layers(layers?)
        .build()?;
    sorted(&manifest)
}

/// JSON with the keys of every object in order: the maps in between have none.
pub fn sorted(value: &impl serde::Serialize) -> Result<Vec<u8>> {
    let value = serde_json::to_value(value).context("cannot write JSON")?;
    serde_json::to_vec(&value).context("cannot write JSON")
}
