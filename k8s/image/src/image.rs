//! An image: its layers, its configuration, its manifest.

use anyhow::{Context, Result};
use oci_spec::image::{
    Arch, ConfigBuilder, DescriptorBuilder, Digest, HistoryBuilder, ImageConfigurationBuilder, ImageManifestBuilder,
    MediaType, Os, RootFsBuilder, SCHEMA_VERSION,
};
use std::collections::HashMap;
use std::str::FromStr;

use crate::contents::File;
use crate::layer::{self, Blob, Layer};

/// What an image is made of.
#[derive(Default)]
pub struct Recipe<'a> {
    /// The name that it has once it is loaded, with a tag.
    pub name: &'a str,
    /// The program that it runs.
    pub entrypoint: &'a str,
    /// The user and group that it runs as; `None`: root.
    pub user: Option<u32>,
    /// The TCP ports that it listens at.
    pub ports: &'a [u16],
    /// What it says of itself.
    pub labels: HashMap<String, String>,
    /// When it was made, as RFC 3339.
    pub created: Option<String>,
    /// Its layers: what each is, and its files, sorted by path.
    pub layers: Vec<(&'a str, Vec<File<'a>>)>,
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
    /// Makes an image.
    pub fn build(recipe: &Recipe<'_>) -> Result<Image> {
        let layers: Result<Vec<_>> = recipe.layers.iter().map(|(_, files)| layer::layer(files)).collect();
        let layers = layers?;
        let config = Blob::new(config(recipe, &layers)?);
        let manifest = Blob::new(manifest(&config, &layers)?);
        Ok(Image { name: recipe.name.to_owned(), manifest, config, layers })
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

fn config(recipe: &Recipe<'_>, layers: &[Layer]) -> Result<Vec<u8>> {
    let ports: Vec<_> = recipe.ports.iter().map(|port| format!("{port}/tcp")).collect();
    let mut run = ConfigBuilder::default()
        .entrypoint([recipe.entrypoint.to_owned()])
        .working_dir("/")
        .stop_signal("SIGTERM")
        .exposed_ports(ports)
        .labels(recipe.labels.clone());
    if let Some(user) = recipe.user {
        run = run.user(format!("{user}:{user}"));
    }
    let step = |what: &str| {
        let step = HistoryBuilder::default().created_by(what);
        let step = if let Some(created) = &recipe.created { step.created(created.clone()) } else { step };
        step.build()
    };
    let history: Result<Vec<_>, _> = recipe.layers.iter().map(|(what, _)| step(what)).collect();
    let mut config = ImageConfigurationBuilder::default()
        .architecture(architecture())
        .os(Os::Linux)
        .config(run.build()?)
        .rootfs(
            RootFsBuilder::default()
                .typ("layers")
                .diff_ids(layers.iter().map(|layer| layer.diff_id.clone()).collect::<Vec<_>>())
                .build()?,
        )
        .history(history?);
    if let Some(created) = &recipe.created {
        config = config.created(created.clone());
    }
    sorted(&config.build()?)
}

fn manifest(config: &Blob, layers: &[Layer]) -> Result<Vec<u8>> {
    let describe = |blob: &Blob, kind: MediaType| -> Result<_> {
        Ok(DescriptorBuilder::default()
            .media_type(kind)
            .digest(Digest::from_str(&blob.digest)?)
            .size(blob.size())
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
