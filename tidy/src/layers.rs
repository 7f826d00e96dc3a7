//! The layer table: which crate may name which, and what must not come in behind its back.

use crate::Problem;
use crate::cargo::{Kind, Package, Workspace, run};
use std::path::Path;

/// One row of the layer table.
struct Row {
    /// The crate.
    package: &'static str,
    /// Its layer; a dev-dependency never points upwards.
    layer: u8,
    /// First-party crates that it may depend on.
    may: &'static [&'static str],
    /// Packages that must not be anywhere below it, with default features.
    never: &'static [&'static str],
}

const BASE: &[&str] = &["holdfast-types", "holdfast-proto"];
/// What lies on disks.
const KEPT: &[&str] = &["holdfast-types", "holdfast-proto", "holdfast-files"];
const CORES: &[&str] =
    &["holdfast-types", "holdfast-proto", "holdfast-engine", "holdfast-replica", "holdfast-placement"];
/// A port knows who is connected to it.
const PORT: &[&str] = &["holdfast-types", "holdfast-proto", "holdfast-trust"];
/// The streams between stores come by a port too.
const TRANSPORT: &[&str] = &["holdfast-types", "holdfast-proto", "holdfast-trust", "holdfast-edge"];
/// Clients prove who they are, and the mock evaluates as stores do.
const CALLS: &[&str] =
    &["holdfast-types", "holdfast-proto", "holdfast-files", "holdfast-trust", "holdfast-engine", "holdfast-replica"];
/// What is measured may have certificates.
const MEASURES: &[&str] = &["holdfast-types", "holdfast-proto", "holdfast-trust", "holdfast-client", "holdfast-output"];
const PARTS: &[&str] = &[
    "holdfast-types",
    "holdfast-proto",
    "holdfast-engine",
    "holdfast-replica",
    "holdfast-placement",
    "holdfast-raft-transport",
    "holdfast-kv",
    "holdfast-client",
    "holdfast-output",
    "holdfast-rows",
];
/// Whatever reads what comes from outside, without RocksDB.
const FED: &[&str] = &[
    "holdfast-types",
    "holdfast-proto",
    "holdfast-trust",
    "holdfast-engine",
    "holdfast-replica",
    "holdfast-placement",
    "holdfast-raft-transport",
    "holdfast-kv",
    "holdfast-client",
    "holdfast-shell",
    "holdfast-k8s",
    "holdfast-output",
    "holdfast-rows",
];
const SERVED: &[&str] = &[
    "holdfast-types",
    "holdfast-proto",
    "holdfast-trust",
    "holdfast-edge",
    "holdfast-engine",
    "holdfast-replica",
    "holdfast-placement",
    "holdfast-raft-transport",
    "holdfast-kv",
    "holdfast-client",
    "holdfast-shell",
    "holdfast-benches",
    "holdfast-k8s",
    "holdfast-control",
    "holdfast-output",
    "holdfast-files",
    "holdfast-rows",
];
const EVERYTHING: &[&str] = &[
    "holdfast-types",
    "holdfast-proto",
    "holdfast-trust",
    "holdfast-edge",
    "holdfast-engine",
    "holdfast-replica",
    "holdfast-placement",
    "holdfast-raft-transport",
    "holdfast-kv",
    "holdfast-client",
    "holdfast-shell",
    "holdfast-benches",
    "holdfast-k8s",
    "holdfast-control",
    "holdfast-testkit",
    "holdfast-stage",
    "holdfast-sim",
    "holdfast-output",
    "holdfast-files",
    "holdfast",
    "holdfast-rows",
];
/// The control plane stands on the fleet file.
const CONTROL: &[&str] = &["holdfast-types", "holdfast-k8s"];
/// Kubernetes clusters, whose containers are packed as the program's are.
const BUILDS: &[&str] = &["holdfast-image", "holdfast-files", "holdfast-output"];
/// A fleet on them.
const STAGE: &[&str] = &["holdfast-benches", "holdfast-testkit", "holdfast-output"];
/// What makes a crate impure: threads, sockets, disks, randomness.
const IMPURE: &[&str] = &[
    "tokio",
    "tonic",
    "rocksdb",
    "librocksdb-sys",
    "rand",
    "getrandom",
    "parking_lot",
    "crossbeam-channel",
    "arc-swap",
];

#[rustfmt::skip]
const TABLE: &[Row] = &[
    Row { package: "holdfast-types", layer: 0, may: &[], never: &["tokio", "tonic", "rocksdb", "raft"] },
    Row { package: "holdfast-proto", layer: 0, may: &["holdfast-types"], never: &["tokio", "rocksdb", "raft"] },
    Row { package: "holdfast-output", layer: 0, may: &[], never: &["tokio", "tonic", "rocksdb", "raft"] },
    Row { package: "holdfast-files", layer: 0, may: &[], never: &["tokio", "tonic", "rocksdb", "raft"] },
    Row { package: "holdfast-rows", layer: 0, may: &["holdfast-types"], never: &["tokio", "tonic", "rocksdb", "raft"] },
    Row { package: "holdfast-trust", layer: 0, may: &["holdfast-types", "holdfast-files"], never: &["tokio", "tonic", "rocksdb", "raft"] },
    Row { package: "holdfast-edge", layer: 1, may: PORT, never: &["rocksdb", "librocksdb-sys", "raft"] },
    Row { package: "holdfast-engine", layer: 1, may: KEPT, never: &["tokio", "tonic", "raft"] },
    Row { package: "holdfast-replica", layer: 1, may: BASE, never: IMPURE },
    Row { package: "holdfast-placement", layer: 1, may: BASE, never: IMPURE },
    Row { package: "holdfast-raft-transport", layer: 2, may: TRANSPORT, never: &["raft", "rocksdb", "librocksdb-sys"] },
    Row { package: "holdfast-kv", layer: 2, may: CORES, never: &["tokio", "tonic", "rocksdb", "librocksdb-sys"] },
    Row { package: "holdfast-client", layer: 2, may: CALLS, never: &["rocksdb", "librocksdb-sys", "raft"] },
    Row { package: "holdfast-sim", layer: 3, may: PARTS, never: &["tokio", "tonic", "rocksdb", "librocksdb-sys"] },
    Row { package: "holdfast-shell", layer: 3, may: PARTS, never: &["rocksdb", "librocksdb-sys", "raft"] },
    Row { package: "holdfast-benches", layer: 3, may: MEASURES, never: &["rocksdb", "librocksdb-sys"] },
    Row { package: "holdfast-k8s", layer: 3, may: PARTS, never: &["rocksdb", "librocksdb-sys"] },
    Row { package: "holdfast-control", layer: 3, may: CONTROL, never: &["rocksdb", "librocksdb-sys", "raft"] },
    Row { package: "holdfast-image", layer: 2, may: &["holdfast-files", "holdfast-output"], never: &["tokio", "rocksdb"] },
    Row { package: "holdfast-testkit", layer: 3, may: BUILDS, never: &["rocksdb", "librocksdb-sys"] },
    Row { package: "holdfast-stage", layer: 4, may: STAGE, never: &["rocksdb"] },
    Row { package: "holdfast", layer: 4, may: SERVED, never: &[] },
    Row { package: "holdfast-hostile", layer: 3, may: FED, never: &["rocksdb", "librocksdb-sys"] },
    Row { package: "holdfast-tests", layer: 5, may: EVERYTHING, never: &[] },
    Row { package: "holdfast-tidy", layer: 5, may: &["holdfast-output"], never: &["tokio", "rocksdb"] },
];

/// Third-party crates that only one of ours may name.
const ONE_HOME: &[(&str, &str)] =
    &[("raft", "holdfast-replica"), ("protobuf", "holdfast-replica"), ("rocksdb", "holdfast-engine")];

/// A banned package that is let through when it comes in below another one.
struct Exception {
    package: &'static str,
    banned: &'static str,
    below: &'static str,
    /// Why it does no harm.
    #[expect(dead_code, reason = "for the reader of the table")]
    reason: &'static str,
}

const EXCEPTIONS: &[Exception] = &[
    Exception {
        package: "holdfast-replica",
        banned: "rand",
        below: "raft",
        reason: "raft draws its election timeouts from it, and no follower is ever ticked",
    },
    Exception { package: "holdfast-replica", banned: "getrandom", below: "raft", reason: "under raft's rand" },
];

fn row(package: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.package == package)
}

/// Checks the manifests against the table.
pub(crate) fn direct(workspace: &Workspace) -> Vec<Problem> {
    workspace.packages.iter().flat_map(direct_of).collect()
}

fn direct_of(package: &Package) -> Vec<Problem> {
    let Some(row) = row(&package.name) else {
        return vec![format!("{}/Cargo.toml: {} has no row in tidy/src/layers.rs", package.folder, package.name)];
    };
    let mut problems = Vec::new();
    for dependency in &package.dependencies {
        let name = dependency.package.as_str();
        let is_ours = name == "holdfast" || name.starts_with("holdfast-");
        if is_ours && !allows(row, name, dependency.kind) {
            problems.push(format!("{}/Cargo.toml: {} must not depend on {name}", package.folder, package.name));
        }
        if let Some((_, home)) = ONE_HOME.iter().find(|(banned, home)| *banned == name && *home != package.name) {
            problems.push(format!("{}/Cargo.toml: {name} is named in {home} only", package.folder));
        }
    }
    problems
}

/// Tests of a crate may also use crates of its own layer, for example the in-memory twin of the engine.
fn allows(from: &Row, name: &str, kind: Kind) -> bool {
    from.may.contains(&name) || kind == Kind::Dev && row(name).is_some_and(|to| to.layer <= from.layer)
}

/// Checks everything that comes in below each crate, with its default features.
pub(crate) fn resolved(root: &Path, workspace: &Workspace) -> Result<Vec<Problem>, String> {
    let mut problems = Vec::new();
    for package in &workspace.packages {
        let Some(row) = row(&package.name).filter(|row| !row.never.is_empty()) else { continue };
        let arguments = [
            "tree",
            "--locked",
            "-p",
            row.package,
            "-e",
            "normal",
            "--prefix",
            "depth",
            "--no-dedupe",
            "--format",
            " {p}",
        ];
        let text = run(root, &arguments)?;
        problems.extend(banned_in(row, &text));
    }
    Ok(problems)
}

/// Walks `cargo tree --prefix depth`, one package a line: `2 name v1.0.0`.
fn banned_in(row: &Row, text: &str) -> Vec<Problem> {
    let mut path: Vec<&str> = Vec::new();
    let mut problems: Vec<Problem> = Vec::new();
    for line in text.lines() {
        let mut parts = line.split_whitespace();
        let (Some(depth), Some(name)) = (parts.next().and_then(|depth| depth.parse::<usize>().ok()), parts.next())
        else {
            continue;
        };
        path.truncate(depth);
        path.push(name);
        if row.never.contains(&name) && !is_excepted(row, name, &path) {
            let problem = format!("{}: {name} must not be below it, but is: {}", row.package, path.join(" > "));
            problems.push(problem);
        }
    }
    problems.sort();
    problems.dedup();
    problems
}

fn is_excepted(row: &Row, banned: &str, path: &[&str]) -> bool {
    let mut rules = EXCEPTIONS.iter().filter(|rule| rule.package == row.package && rule.banned == banned);
    rules.any(|rule| path.contains(&rule.below))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cargo::Dependency;

    fn package(name: &str, dependencies: &[(&str, Kind)]) -> Package {
        let dependencies =
            dependencies.iter().map(|(name, kind)| Dependency { package: (*name).to_owned(), kind: *kind }).collect();
        Package { name: name.to_owned(), folder: "x".to_owned(), dependencies }
    }

    #[test]
    fn an_arrow_that_points_upwards_is_refused() {
        assert_eq!(direct_of(&package("holdfast-replica", &[("holdfast-kv", Kind::Normal)])).len(), 1);
        assert_eq!(direct_of(&package("holdfast-replica", &[("holdfast-kv", Kind::Dev)])).len(), 1);
        assert_eq!(direct_of(&package("holdfast-kv", &[("holdfast-client", Kind::Normal)])).len(), 1);
        assert_eq!(direct_of(&package("holdfast", &[("holdfast-sim", Kind::Normal)])).len(), 1);
    }

    #[test]
    fn tests_may_use_a_crate_of_their_own_layer() {
        assert!(direct_of(&package("holdfast-replica", &[("holdfast-engine", Kind::Dev)])).is_empty());
        assert_eq!(direct_of(&package("holdfast-replica", &[("holdfast-engine", Kind::Normal)])).len(), 1);
    }

    #[test]
    fn raft_and_rocksdb_have_one_home_each() {
        assert_eq!(direct_of(&package("holdfast-kv", &[("raft", Kind::Normal)])).len(), 1);
        assert_eq!(direct_of(&package("holdfast-kv", &[("rocksdb", Kind::Dev)])).len(), 1);
        assert!(direct_of(&package("holdfast-replica", &[("raft", Kind::Normal)])).is_empty());
    }

    #[test]
    fn a_crate_without_a_row_is_refused() {
        assert_eq!(direct_of(&package("holdfast-new", &[])).len(), 1);
    }

    #[test]
    fn what_comes_in_below_is_found_with_its_path() {
        let sim = row("holdfast-sim").unwrap();
        let problems =
            banned_in(sim, "0 holdfast-sim v0.1.0 (/x)\n1 holdfast-kv v0.1.0\n2 tokio v1.0.0\n1 bytes v1.0.0\n");
        assert_eq!(problems.len(), 1);
        assert!(problems[0].contains("holdfast-sim > holdfast-kv > tokio"));
    }

    #[test]
    fn randomness_is_let_through_below_raft_only() {
        let replica = row("holdfast-replica").unwrap();
        assert!(banned_in(replica, "0 holdfast-replica v0\n1 raft v0.7.0\n2 rand v0.8.5\n").is_empty());
        assert_eq!(banned_in(replica, "0 holdfast-replica v0\n1 raft v0.7.0\n1 rand v0.8.5\n").len(), 1);
    }
}
