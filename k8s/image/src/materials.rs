//! The bill of materials: every crate that the binary is made of, and the packages of its libraries, as CycloneDX.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, MetadataCommand, Package, PackageId};
use cyclonedx_bom::models::component::{Classification, Component, Components};
use cyclonedx_bom::models::license::{LicenseChoice, Licenses};
use cyclonedx_bom::models::metadata::Metadata;
use cyclonedx_bom::prelude::*;

use crate::elf::Library;

/// The bill of the binary and its libraries, as JSON. It has no time and no random number: the same parts, the same bill.
pub fn bill(libraries: &[Library]) -> Result<Vec<u8>> {
    let mut components = crates()?;
    for package in system_packages(libraries) {
        let purl = Purl::new("deb", &package.name, &package.version).ok();
        let mut component = component(&package.name, &package.version, purl);
        component.scope = None;
        components.push(component);
    }
    let mut program = component("holdfast", env!("CARGO_PKG_VERSION"), None);
    program.component_type = Classification::Application;
    let bom = Bom {
        serial_number: None,
        metadata: Some(Metadata { component: Some(program), ..Metadata::default() }),
        components: Some(Components(components)),
        ..Bom::default()
    };
    let mut json = Vec::new();
    bom.output_as_json_v1_5(&mut json).context("cannot write the bill of materials")?;
    Ok(json)
}

fn component(name: &str, version: &str, purl: Option<Purl>) -> Component {
    let reference = purl.as_ref().map_or_else(|| name.to_owned(), ToString::to_string);
    let mut component = Component::new(Classification::Library, name, version, Some(reference));
    component.purl = purl;
    component
}

/// The third-party crates that are compiled into the binary: what is only needed to build or to test it is not in the image.
fn crates() -> Result<Vec<Component>> {
    let metadata = MetadataCommand::new()
        .other_options(["--locked".to_owned(), "--offline".to_owned()])
        .exec()
        .context("cargo cannot tell what the binary is made of: run this in the checkout")?;
    let packages: HashMap<&PackageId, &Package> = metadata.packages.iter().map(|found| (&found.id, found)).collect();
    let resolved = metadata.resolve.as_ref().context("cargo resolved nothing")?;
    let needs: HashMap<_, _> = resolved.nodes.iter().map(|found| (&found.id, &found.deps)).collect();
    let program =
        metadata.packages.iter().find(|found| *found.name == "holdfast").context("there is no crate holdfast")?;
    let (mut seen, mut open) = (BTreeSet::new(), vec![&program.id]);
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        let Some(deps) = needs.get(id) else { continue };
        let linked = deps.iter().filter(|found| found.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal));
        open.extend(linked.map(|found| &found.pkg));
    }
    let mut found: Vec<_> =
        seen.into_iter().filter_map(|id| packages.get(id)).filter(|found| found.source.is_some()).collect();
    found.sort_by_key(|package| (package.name.to_string(), package.version.clone()));
    Ok(found.into_iter().map(|package| third_party(package)).collect())
}

fn third_party(package: &Package) -> Component {
    let version = package.version.to_string();
    let mut component = component(&package.name, &version, Purl::new("cargo", &package.name, &version).ok());
    let license = package.license.as_deref().and_then(|license| SpdxExpression::try_from(license.to_owned()).ok());
    component.licenses = license.map(|license| Licenses(vec![LicenseChoice::Expression(license)]));
    component
}

/// A package of the system that the image is built on.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct SystemPackage {
    name: String,
    version: String,
}

/// The packages that the libraries came with. Where there is no dpkg, none are known.
fn system_packages(libraries: &[Library]) -> BTreeSet<SystemPackage> {
    libraries.iter().filter_map(|library| owner(&library.path)).collect()
}

fn owner(library: &Path) -> Option<SystemPackage> {
    // dpkg knows the files by the paths that they had before /lib became a link to /usr/lib; either may be the one.
    let real = library.canonicalize().ok()?;
    let candidates = [
        library.to_path_buf(),
        real.clone(),
        Path::new("/").join(real.strip_prefix("/usr").unwrap_or(&real).strip_prefix("/").unwrap_or(Path::new(""))),
    ];
    let name = candidates.iter().find_map(|path| {
        let told = dpkg_query(&["--search", path.to_str()?])?;
        Some(told.split_once(": ")?.0.split(',').next()?.to_owned())
    })?;
    let version = dpkg_query(&["--show", "--showformat=${Version}", &name])?;
    Some(SystemPackage { name: name.split(':').next()?.to_owned(), version })
}

fn dpkg_query(arguments: &[&str]) -> Option<String> {
    let output = Command::new("dpkg-query").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
