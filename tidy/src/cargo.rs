//! What cargo knows of the workspace.

use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// The kind of a dependency in a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Part of what the crate is.
    Normal,
    /// For its build script.
    Build,
    /// For its tests.
    Dev,
}

/// One dependency as a manifest names it.
#[derive(Clone, Debug)]
pub(crate) struct Dependency {
    /// The package's own name, whatever the manifest calls it.
    pub(crate) package: String,
    /// What it is needed for.
    pub(crate) kind: Kind,
}

/// One crate of the workspace.
#[derive(Clone, Debug)]
pub(crate) struct Package {
    /// Its name, `holdfast-kv`.
    pub(crate) name: String,
    /// Its folder below the root, `kv`.
    pub(crate) folder: String,
    /// Its direct dependencies.
    pub(crate) dependencies: Vec<Dependency>,
}

/// All crates of the workspace.
pub(crate) struct Workspace {
    /// In the order of the root manifest.
    pub(crate) packages: Vec<Package>,
}

impl Workspace {
    /// Asks cargo for the manifests; resolves and downloads nothing.
    pub(crate) fn load(root: &Path) -> Result<Workspace, String> {
        let text = run(root, &["metadata", "--no-deps", "--format-version", "1", "--offline"])?;
        let metadata: Value = serde_json::from_str(&text).map_err(|e| format!("cargo metadata: {e}"))?;
        let packages = array(&metadata, "packages").iter().map(|package| read_package(root, package)).collect();
        Ok(Workspace { packages })
    }
}

/// Runs cargo in the checkout and returns what it prints.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> Result<String, String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo).args(arguments).current_dir(root).output().map_err(|e| format!("cargo: {e}"))?;
    if !output.status.success() {
        return Err(format!("cargo {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr)));
    }
    String::from_utf8(output.stdout).map_err(|e| format!("cargo {}: {e}", arguments.join(" ")))
}

fn read_package(root: &Path, package: &Value) -> Package {
    let manifest = Path::new(string(package, "manifest_path"));
    let folder = manifest.parent().and_then(|folder| folder.strip_prefix(root).ok());
    Package {
        name: string(package, "name").to_owned(),
        folder: folder.map(|folder| folder.display().to_string()).unwrap_or_default(),
        dependencies: array(package, "dependencies").iter().map(read_dependency).collect(),
    }
}

fn read_dependency(dependency: &Value) -> Dependency {
    let kind = match string(dependency, "kind") {
        "build" => Kind::Build,
        "dev" => Kind::Dev,
        _ => Kind::Normal,
    };
    Dependency { package: string(dependency, "name").to_owned(), kind }
}

fn array<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn string<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}
