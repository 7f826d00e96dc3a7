//! The text files of the checkout, read once.

use std::fs;
use std::path::Path;

/// Folders that hold nothing of ours.
const SKIPPED_FOLDERS: [&str; 4] = ["target", ".git", ".work", "node_modules"];
/// What the checks read.
const ENDINGS: [&str; 4] = ["rs", "proto", "md", "toml"];

/// One text file.
pub(crate) struct File {
    /// Its path below the root, with `/`.
    pub(crate) path: String,
    /// All of it.
    pub(crate) text: String,
}

impl File {
    /// Whether the file is Rust.
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether the whole file is tests: an integration test, or a test module in a file of its own.
    pub(crate) fn is_tests(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        self.path.contains("/tests/")
            || self.path.starts_with("tests/")
            || name == "tests.rs"
            || name.ends_with("_tests.rs")
    }

    /// The lines before the test module at the end of the file, numbered from 1.
    pub(crate) fn lines_without_tests(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines: Vec<&str> = self.text.lines().collect();
        let end = (0..lines.len()).find(|at| starts_test_module(&lines[*at..])).unwrap_or(lines.len());
        lines.into_iter().take(end).enumerate().map(|(at, line)| (at + 1, line))
    }
}

/// A `#[cfg(test)]` at the margin whose item is a module with a body.
fn starts_test_module(lines: &[&str]) -> bool {
    let is_marker = lines.first().is_some_and(|line| *line == "#[cfg(test)]");
    let item = lines.iter().skip(1).find(|line| !line.starts_with("#["));
    is_marker && item.is_some_and(|line| line.starts_with("mod ") && line.ends_with('{'))
}

/// Reads every text file below `root`, sorted by path.
pub(crate) fn read(root: &Path) -> Result<Vec<File>, String> {
    let mut files = Vec::new();
    collect(root, root, &mut files)?;
    files.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(files)
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<File>) -> Result<(), String> {
    let entries = fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    for entry in entries {
        let entry = entry.map_err(|e| format!("{}: {e}", folder.display()))?;
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type().map_err(|e| format!("{}: {e}", path.display()))?;
        if kind.is_dir() && !SKIPPED_FOLDERS.contains(&name.as_str()) {
            collect(root, &path, files)?;
        } else if kind.is_file() && ENDINGS.iter().any(|ending| name.ends_with(&format!(".{ending}"))) {
            let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            let below = path.strip_prefix(root).expect("the walk started at the root");
            files.push(File { path: below.to_string_lossy().replace('\\', "/"), text });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stop_at_the_test_module_and_not_at_a_test_only_import() {
        let text = "#[cfg(test)]\nuse a::b;\nfn f() {}\n#[cfg(test)]\nmod tests {\n}\n".to_owned();
        let file = File { path: "kv/src/a.rs".to_owned(), text };
        assert_eq!(file.lines_without_tests().count(), 3);
    }

    #[test]
    fn files_of_tests_are_known_by_their_place_or_name() {
        let is_tests = |path: &str| File { path: path.to_owned(), text: String::new() }.is_tests();
        assert!(
            is_tests("replica/tests/scripts.rs") && is_tests("kv/src/core/tests.rs") && is_tests("tests/src/lib.rs")
        );
        assert!(!is_tests("kv/src/core/latches.rs"));
    }
}
