//! Every rendered tree against the schemas of Kubernetes, strictly: a field that a version does not know is an error.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The versions that the trees must suit.
const VERSIONS: [&str; 5] = ["1.33", "1.34", "1.35", "1.36", "1.37"];
/// What `tests/strict/run` ends with when its package cannot be had.
const CANNOT_RUN: i32 = 77;
/// Kinds that Kubernetes itself does not have: their schemas are those of whoever makes them.
const OF_OTHERS: [&str; 9] = [
    "Kustomization",
    "ServiceMonitor",
    "PrometheusRule",
    "CiliumNetworkPolicy",
    "IPPool",
    "ServiceExport",
    "Site",
    "Connector",
    "Listener",
];

/// Runs the validator; `None` when it cannot be had here, which is told.
fn run(version: &str, files: &[PathBuf]) -> Option<Output> {
    let output = Command::new("tests/strict/run").arg(version).args(files).output().unwrap();
    if output.status.code() != Some(CANNOT_RUN) {
        return Some(output);
    }
    let complained = String::from_utf8_lossy(&output.stderr);
    let reason = complained.lines().last().unwrap_or("no reason was given");
    println!("SKIPPED: {reason}");
    assert!(std::env::var("CI").as_deref() != Ok("true"), "CI runs every test: {reason}");
    None
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned()).concat()
}

fn rendered(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(rendered(&path));
        } else if path.file_name().is_some_and(|name| name != "fleet.yaml") {
            found.push(path);
        }
    }
    found
}

#[test]
fn every_tree_is_valid_in_every_version() {
    let files = rendered(Path::new("examples"));
    for version in VERSIONS {
        let Some(output) = run(version, &files) else { return };
        let said = said(&output);
        assert!(output.status.success(), "{version}:\n{said}");
        let unknown = said.lines().filter(|line| line.contains("find schema for kind"));
        let unknown: Vec<_> =
            unknown.filter(|line| !OF_OTHERS.iter().any(|kind| line.contains(&format!("kind {kind} ")))).collect();
        assert!(unknown.is_empty(), "{version}: not validated: {unknown:#?}");
        let passed = said.lines().filter(|line| line.contains("passed for resource")).count();
        assert!(passed > files.len(), "{version}: only {passed} objects were looked at");
    }
}

#[test]
fn a_field_that_does_not_exist_is_caught() {
    let text = std::fs::read_to_string("examples/flat-mirror/rendered/east/stateful-set.yaml").unwrap();
    let wrong = text.replace("serviceName:", "serviceNames:");
    assert_ne!(text, wrong);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stateful-set.yaml");
    std::fs::write(&file, wrong).unwrap();
    let Some(output) = run("1.37", &[file]) else { return };
    assert!(!output.status.success() && said(&output).contains("serviceNames"), "{}", said(&output));
}
