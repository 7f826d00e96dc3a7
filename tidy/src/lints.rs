//! Every crate takes the workspace's lints; pure code bans what pure code may not use.

use crate::Problem;
use crate::cargo::Workspace;
use crate::tree::File;

/// Crates with a `clippy.toml` of their own, which replaces the root's.
const PURE_CRATES: &[&str] = &["replica", "placement", "kv", "sim"];
/// Folders whose code runs in the simulator, so that a seed replays it.
const PURE_FOLDERS: &[&str] =
    &["types/src/", "replica/src/", "placement/src/", "kv/src/core/", "client/src/core/", "sim/src/"];
/// What such code may not name.
const IMPURE: &[&str] = &[
    "HashMap",
    "HashSet",
    "std::thread",
    "std::time::Instant",
    "SystemTime",
    "Instant::now",
    "std::fs",
    "std::net",
    "std::env",
    "tokio::",
    "getrandom",
];

/// Checks manifests, `clippy.toml` files and the text of pure folders.
pub(crate) fn check(workspace: &Workspace, files: &[File]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for package in &workspace.packages {
        let manifest = format!("{}/Cargo.toml", package.folder);
        if !text_of(files, &manifest).is_some_and(takes_workspace_lints) {
            problems.push(format!("{manifest}: add `[lints] workspace = true`"));
        }
    }
    problems.extend(PURE_CRATES.iter().flat_map(|folder| check_clippy(folder, files)));
    problems.extend(files.iter().filter(|file| is_pure(file)).flat_map(impure_names));
    problems
}

fn text_of<'a>(files: &'a [File], path: &str) -> Option<&'a str> {
    files.iter().find(|file| file.path == path).map(|file| file.text.as_str())
}

fn takes_workspace_lints(manifest: &str) -> bool {
    manifest
        .lines()
        .skip_while(|line| line.trim() != "[lints]")
        .nth(1)
        .is_some_and(|line| line.trim() == "workspace = true")
}

/// Clippy reads the nearest `clippy.toml` only, so a crate's own one must repeat the root's settings.
fn check_clippy(folder: &str, files: &[File]) -> Vec<Problem> {
    let path = format!("{folder}/clippy.toml");
    let Some(own) = text_of(files, &path) else {
        return vec![format!("{path}: missing; a pure crate bans clocks, randomness, threads and HashMap there")];
    };
    let root = text_of(files, "clippy.toml").unwrap_or_default();
    let mut problems = Vec::new();
    for setting in root.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if !own.lines().any(|line| line == setting) {
            problems.push(format!("{path}: repeat `{setting}` of the root's clippy.toml"));
        }
    }
    for banned in ["std::time::Instant", "std::time::SystemTime", "std::thread::spawn", "std::collections::HashMap"] {
        if !own.contains(banned) {
            problems.push(format!("{path}: ban {banned}"));
        }
    }
    problems
}

fn is_pure(file: &File) -> bool {
    // A binary reads its arguments; what it calls is pure.
    !file.path.contains("/src/bin/")
        && (file.is_rust() && PURE_FOLDERS.iter().any(|folder| file.path.starts_with(folder)) && !file.is_tests())
}

fn impure_names(file: &File) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (number, line) in file.lines_without_tests() {
        let code = line.split("//").next().unwrap_or_default();
        for name in IMPURE.iter().filter(|name| code.contains(**name)) {
            problems.push(format!("{}:{number}: pure code must not name {name}", file.path));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn a_clock_in_the_pure_core_is_found_and_one_in_the_driver_is_not() {
        let text = "fn f() {\n    let now = Instant::now();\n}\n// Instant::now\n";
        assert_eq!(impure_names(&file("kv/src/core/store.rs", text)).len(), 1);
        assert!(is_pure(&file("kv/src/core/store.rs", text)) && !is_pure(&file("kv/src/driver/worker.rs", text)));
    }

    #[test]
    fn a_crates_own_clippy_file_repeats_the_roots_settings() {
        let bans = "std::time::Instant std::time::SystemTime std::thread::spawn std::collections::HashMap";
        let files = [file("clippy.toml", "# why\na = 1\n"), file("kv/clippy.toml", bans)];
        assert_eq!(check_clippy("kv", &files), ["kv/clippy.toml: repeat `a = 1` of the root's clippy.toml"]);
        assert_eq!(check_clippy("sim", &files).len(), 1);
    }
}
